#include <stdlib.h>
#include <string.h>

#include "http/datacenters.h"
#include "http/handlers.h"
#include "http/near.h"

/* ---- writes ---- */

bool handle_catalog_register(const struct http_request *req, struct backend_call *call,
                             struct http_response *res) {
    const char *dc = "";
    call->kind = BACKEND_COMMAND;
    call->command.kind = COMMAND_REGISTER;
    enum err err = definition_parse_register(req->body, req->body_size, req->arena,
                                             &call->command.reg, &dc, &call->text);
    if (err != ERR_OK) {
        http_response_error(res, err, &call->text);
        return false;
    }
    http_carry_wanted(req, call, dc);
    return true;
}

bool handle_catalog_deregister(const struct http_request *req, struct backend_call *call,
                               struct http_response *res) {
    const char *dc = "";
    call->kind = BACKEND_COMMAND;
    call->command.kind = COMMAND_DEREGISTER;
    enum err err = definition_parse_deregister(req->body, req->body_size, req->arena,
                                               &call->command.dereg, &dc, &call->text);
    if (err != ERR_OK) {
        http_response_error(res, err, &call->text);
        return false;
    }
    http_carry_wanted(req, call, dc);
    return true;
}

/* ---- reads ---- */

void handle_catalog_datacenters(const struct http_request *req, struct http_response *res) {
    struct json json;
    struct http_query query = {0};
    struct err_text text = {""};
    enum err err = http_query_parse_modes(req, &query, &text);
    if (err != ERR_OK) {
        http_response_error(res, err, &text);
        return;
    }
    http_response_json(res, req, &json);
    json_array_begin(&json);
    struct http_datacenters all = http_datacenters_list(req->backend, req->arena);
    for (uint32_t i = 0; i < all.count; i++) {
        json_str(&json, all.v[i].name);
    }
    json_array_end(&json);
    http_response_json_end(res, req);
    http_response_cache(res, req, query.revalidate);
}

struct listing {
    const struct http_request *req;
    struct json json;
    struct http_near near;
    const char *dc;
};

static void begin(struct listing *list, const struct http_request *req, struct http_response *res) {
    list->req = req;
    list->dc = req->datacenter;
    http_response_json(res, req, &list->json);
}

static void write_node(const void *row, void *context) {
    struct listing *list = context;
    encode_node(&list->json, http_seen_node(list->req, list->dc, row), list->dc);
}

static bool put_node(const struct catalog_node *node, void *context) {
    struct listing *list = context;
    if (http_match_node_meta(list->req, node) && filter_keeps(list->req->filter, node) &&
        !http_near_take(&list->near, node->name, node)) {
        write_node(node, list);
    }
    return true;
}

void handle_catalog_nodes(const struct http_request *req, struct http_read *read,
                          struct http_response *res) {
    struct listing list;
    read->index = view_index_nodes(read->view);
    begin(&list, req, res);
    json_array_begin(&list.json);
    http_near_begin(&list.near, req, read->view);
    view_walk_nodes(read->view, put_node, &list);
    http_near_end(&list.near, write_node, &list);
    json_array_end(&list.json);
    http_response_json_end(res, req);
}

/* Instances come by service name, so one service's tags are gathered and written at its end. */
struct tags {
    struct listing list;
    const char *service; /* NULL before the first */
    const char **v;
    size_t count, capacity;
};

static int compare(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static void put_tags(struct tags *tags) {
    if (tags->service == NULL) {
        return;
    }
    if (tags->count > 0) {
        qsort(tags->v, tags->count, sizeof *tags->v, compare);
    }
    json_key(&tags->list.json, tags->service);
    json_array_begin(&tags->list.json);
    for (size_t i = 0; i < tags->count; i++) {
        if (i == 0 || strcmp(tags->v[i], tags->v[i - 1]) != 0) {
            json_str(&tags->list.json, tags->v[i]);
        }
    }
    json_array_end(&tags->list.json);
    tags->count = 0;
}

static void add_tag(struct tags *tags, const char *tag) {
    if (tags->count > 0 && strcmp(tags->v[tags->count - 1], tag) == 0) {
        return;
    }
    if (tags->count == tags->capacity) {
        size_t capacity = tags->capacity == 0 ? 32 : tags->capacity * 2;
        const char **v = arena_alloc(tags->list.req->arena, capacity * sizeof *v);
        if (tags->count > 0) {
            memcpy(v, tags->v, tags->count * sizeof *v);
        }
        tags->v = v;
        tags->capacity = capacity;
    }
    tags->v[tags->count++] = tag;
}

static bool gather_tags(const struct catalog_instance *instance, void *context) {
    struct tags *tags = context;
    if (!http_match_node_meta(tags->list.req, instance->node) ||
        !filter_keeps(tags->list.req->filter, instance)) {
        return true;
    }
    if (tags->service == NULL || !str_equal_fold(tags->service, instance->service->name)) {
        put_tags(tags);
        tags->service = instance->service->name;
    }
    for (uint32_t i = 0; i < instance->service->tags.count; i++) {
        add_tag(tags, instance->service->tags.v[i]);
    }
    return true;
}

void handle_catalog_services(const struct http_request *req, struct http_read *read,
                             struct http_response *res) {
    struct tags tags = {0};
    read->index = view_index_services(read->view);
    if (http_request_has(req, "node-meta") && view_index_nodes(read->view) > read->index) {
        read->index = view_index_nodes(read->view);
    }
    begin(&tags.list, req, res);
    json_object_begin(&tags.list.json);
    view_walk_all_instances(read->view, gather_tags, &tags);
    put_tags(&tags);
    json_object_end(&tags.list.json);
    http_response_json_end(res, req);
}

static void write_service_node(const void *row, void *context) {
    struct listing *list = context;
    const struct catalog_instance *instance = row;
    struct catalog_instance seen = {.node = http_seen_node(list->req, list->dc, instance->node),
                                    .service =
                                        http_seen_service(list->req, list->dc, instance->service)};
    encode_service_node(&list->json, &seen, list->dc);
}

static bool put_service_node(const struct catalog_instance *instance, void *context) {
    struct listing *list = context;
    if (http_match_tags(list->req, &instance->service->tags) &&
        http_match_node_meta(list->req, instance->node) &&
        filter_keeps(list->req->filter, instance) &&
        !http_near_take(&list->near, instance->node->name, instance)) {
        write_service_node(instance, list);
    }
    return true;
}

void handle_catalog_service(const struct http_request *req, struct http_read *read,
                            struct http_response *res) {
    struct listing list;
    read->index = view_index_service(read->view, req->rest);
    begin(&list, req, res);
    json_array_begin(&list.json);
    http_near_begin(&list.near, req, read->view);
    view_walk_instances(read->view, req->rest, put_service_node, &list);
    http_near_end(&list.near, write_service_node, &list);
    json_array_end(&list.json);
    http_response_json_end(res, req);
}

static const struct catalog_node *find_node(const struct http_request *req,
                                            struct http_read *read) {
    const struct catalog_node *node = view_get_node(read->view, req->rest);
    if (node == NULL) {
        node = view_find_node_by_id_prefix(read->view, req->rest);
    }
    read->index = view_index_node(read->view, node != NULL ? node->name : req->rest);
    return node;
}

static bool put_service_member(const struct catalog_service *service, void *context) {
    struct listing *list = context;
    if (filter_keeps(list->req->filter, service)) {
        json_key(&list->json, service->id);
        encode_node_service(&list->json, http_seen_service(list->req, list->dc, service));
    }
    return true;
}

static bool put_service(const struct catalog_service *service, void *context) {
    struct listing *list = context;
    if (filter_keeps(list->req->filter, service)) {
        encode_node_service(&list->json, http_seen_service(list->req, list->dc, service));
    }
    return true;
}

void handle_catalog_node(const struct http_request *req, struct http_read *read,
                         struct http_response *res) {
    struct listing list;
    const struct catalog_node *node = find_node(req, read);
    begin(&list, req, res);
    if (node == NULL) {
        json_null(&list.json);
    } else {
        json_object_begin(&list.json);
        json_key(&list.json, "Node");
        encode_node(&list.json, http_seen_node(req, list.dc, node), list.dc);
        json_key(&list.json, "Services");
        json_object_begin(&list.json);
        view_walk_node_services(read->view, node->name, put_service_member, &list);
        json_object_end(&list.json);
        json_object_end(&list.json);
    }
    http_response_json_end(res, req);
}

void handle_catalog_node_services(const struct http_request *req, struct http_read *read,
                                  struct http_response *res) {
    struct listing list;
    const struct catalog_node *node = find_node(req, read);
    begin(&list, req, res);
    json_object_begin(&list.json);
    json_key(&list.json, "Node");
    if (node == NULL) {
        json_null(&list.json);
        json_key(&list.json, "Services");
        json_null(&list.json);
    } else {
        encode_node(&list.json, http_seen_node(req, list.dc, node), list.dc);
        json_key(&list.json, "Services");
        json_array_begin(&list.json);
        view_walk_node_services(read->view, node->name, put_service, &list);
        json_array_end(&list.json);
    }
    json_object_end(&list.json);
    http_response_json_end(res, req);
}
