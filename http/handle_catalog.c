#include <stdlib.h>
#include <string.h>

#include "http/handlers.h"

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

static int compare_names(const void *left, const void *right) {
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

/* Whose servers have not left; those of a datacenter that is cut off count. */
struct str_list handle_list_datacenters(const struct http_request *req) {
    const struct backend_pool *wan = req->backend->wan;
    uint32_t members = wan != NULL ? wan->count : 0, count = 0, kept = 0;
    const char **names = arena_alloc(req->arena, (members + 1) * sizeof *names);
    for (uint32_t i = 0; i < members; i++) {
        const char *name = str_or_empty(str_map_get(&wan->members[i].tags, "dc"));
        if (wan->members[i].status != 3 && *name != '\0' &&
            strcmp(name, req->backend->facts->datacenter) != 0) {
            names[1 + count++] = name;
        }
    }
    names[kept++] = req->backend->facts->datacenter;
    qsort(names + 1, count, sizeof *names, compare_names);
    for (uint32_t i = 1; i <= count; i++) {
        if (kept == 1 || strcmp(names[kept - 1], names[i]) != 0) {
            names[kept++] = names[i];
        }
    }
    return (struct str_list){.v = names, .count = kept};
}

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
    struct str_list names = handle_list_datacenters(req);
    for (uint32_t i = 0; i < names.count; i++) {
        json_str(&json, names.v[i]);
    }
    json_array_end(&json);
    http_response_json_end(res, req);
    http_response_cache(res, req, query.revalidate);
}

struct listing {
    const struct http_request *req;
    struct json json;
    const char *dc;
};

static void begin(struct listing *list, const struct http_request *req, struct http_response *res) {
    list->req = req;
    list->dc = req->datacenter;
    http_response_json(res, req, &list->json);
}

static bool put_node(const struct catalog_node *node, void *context) {
    struct listing *list = context;
    if (http_match_node_meta(list->req, node) && filter_keeps(list->req->filter, node)) {
        encode_node(&list->json, http_seen_node(list->req, node), list->dc);
    }
    return true;
}

void handle_catalog_nodes(const struct http_request *req, struct http_read *read,
                          struct http_response *res) {
    struct listing list;
    read->index = view_index_nodes(read->view);
    begin(&list, req, res);
    json_array_begin(&list.json);
    view_walk_nodes(read->view, put_node, &list);
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

static bool put_service_node(const struct catalog_instance *instance, void *context) {
    struct listing *list = context;
    if (http_match_tags(list->req, &instance->service->tags) &&
        http_match_node_meta(list->req, instance->node) &&
        filter_keeps(list->req->filter, instance)) {
        struct catalog_instance seen = {.node = http_seen_node(list->req, instance->node),
                                        .service = http_seen_service(list->req, instance->service)};
        encode_service_node(&list->json, &seen, list->dc);
    }
    return true;
}

void handle_catalog_service(const struct http_request *req, struct http_read *read,
                            struct http_response *res) {
    struct listing list;
    read->index = view_index_service(read->view, req->rest);
    begin(&list, req, res);
    json_array_begin(&list.json);
    view_walk_instances(read->view, req->rest, put_service_node, &list);
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
        encode_node_service(&list->json, http_seen_service(list->req, service));
    }
    return true;
}

static bool put_service(const struct catalog_service *service, void *context) {
    struct listing *list = context;
    if (filter_keeps(list->req->filter, service)) {
        encode_node_service(&list->json, http_seen_service(list->req, service));
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
        encode_node(&list.json, http_seen_node(req, node), list.dc);
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
        encode_node(&list.json, http_seen_node(req, node), list.dc);
        json_key(&list.json, "Services");
        json_array_begin(&list.json);
        view_walk_node_services(read->view, node->name, put_service, &list);
        json_array_end(&list.json);
    }
    json_object_end(&list.json);
    http_response_json_end(res, req);
}
