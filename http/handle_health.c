#include <stdlib.h>
#include <string.h>

#include "http/handlers.h"
#include "http/near.h"

struct listing {
    const struct http_request *req;
    const struct catalog_view *view;
    struct json json;
    struct http_near near;
    const char *dc;
    const char *state; /* "any" or a status */
    bool passing;
};

static void begin(struct listing *list, const struct http_request *req, struct http_read *read,
                  struct http_response *res) {
    *list = (struct listing){.req = req, .view = read->view, .dc = req->datacenter};
    http_response_json(res, req, &list->json);
    json_array_begin(&list->json);
    http_near_begin(&list->near, req, read->view);
}

/* put writes the rows that wait for their order. */
static void end(struct listing *list, void (*put)(const void *row, void *context),
                struct http_response *res) {
    http_near_end(&list->near, put, list);
    json_array_end(&list->json);
    http_response_json_end(res, list->req);
}

static void write_check(const void *row, void *context) {
    encode_check(&((struct listing *)context)->json, row);
}

static bool put_check(const struct catalog_check *check, void *context) {
    struct listing *list = context;
    if (filter_keeps(list->req->filter, check)) {
        write_check(check, list);
    }
    return true;
}

void handle_health_node(const struct http_request *req, struct http_read *read,
                        struct http_response *res) {
    struct listing list;
    read->index = view_index_node(read->view, req->rest);
    begin(&list, req, read, res);
    view_walk_node_checks(read->view, req->rest, put_check, &list);
    end(&list, write_check, res);
}

static bool put_state(const struct catalog_check *check, void *context) {
    struct listing *list = context;
    if (strcmp(list->state, "any") == 0 || strcmp(list->state, check->status) == 0) {
        const struct catalog_node *node = view_get_node(list->view, check->node);
        if (node != NULL && http_match_node_meta(list->req, node) &&
            filter_keeps(list->req->filter, check) &&
            !http_near_take(&list->near, check->node, check)) {
            write_check(check, list);
        }
    }
    return true;
}

void handle_health_state(const struct http_request *req, struct http_read *read,
                         struct http_response *res) {
    struct listing list;
    read->index = view_index_checks(read->view);
    begin(&list, req, read, res);
    list.state = req->rest;
    view_walk_all_checks(read->view, put_state, &list);
    end(&list, write_check, res);
}

/* Checks of one service, gathered because they come by instance and go out by check id. */
struct gather {
    const struct http_request *req;
    const struct catalog_check **v;
    size_t count, capacity;
};

static bool gather_checks(const struct catalog_instance *instance, void *context) {
    struct gather *gather = context;
    if (!http_match_node_meta(gather->req, instance->node)) {
        return true;
    }
    for (uint32_t i = 0; i < instance->check_count; i++) {
        if (*instance->checks[i]->service_id == '\0' ||
            !filter_keeps(gather->req->filter, instance->checks[i])) {
            continue;
        }
        if (gather->count == gather->capacity) {
            size_t capacity = gather->capacity == 0 ? 32 : gather->capacity * 2;
            const struct catalog_check **v = arena_alloc(gather->req->arena, capacity * sizeof *v);
            if (gather->count > 0) {
                memcpy(v, gather->v, gather->count * sizeof *v);
            }
            gather->v = v;
            gather->capacity = capacity;
        }
        gather->v[gather->count++] = instance->checks[i];
    }
    return true;
}

static int compare_fold(const char *a, const char *b) {
    for (; *a != '\0' && str_lower_char(*a) == str_lower_char(*b); a++, b++) {
    }
    return (unsigned char)str_lower_char(*a) - (unsigned char)str_lower_char(*b);
}

static int compare_checks(const void *a, const void *b) {
    const struct catalog_check *x = *(const struct catalog_check *const *)a;
    const struct catalog_check *y = *(const struct catalog_check *const *)b;
    int order = compare_fold(x->node, y->node);
    return order != 0 ? order : compare_fold(x->id, y->id);
}

void handle_health_checks(const struct http_request *req, struct http_read *read,
                          struct http_response *res) {
    struct listing list;
    struct gather gather = {.req = req};
    read->index = view_index_service(read->view, req->rest);
    view_walk_instances(read->view, req->rest, gather_checks, &gather);
    if (gather.count > 0) {
        qsort(gather.v, gather.count, sizeof *gather.v, compare_checks);
    }
    begin(&list, req, read, res);
    for (size_t i = 0; i < gather.count; i++) {
        if (!http_near_take(&list.near, gather.v[i]->node, gather.v[i])) {
            write_check(gather.v[i], &list);
        }
    }
    end(&list, write_check, res);
}

static void write_instance(const void *row, void *context) {
    const struct catalog_instance *instance = row;
    struct listing *list = context;
    encode_instance(&list->json, list->req, instance, list->dc);
}

static bool put_instance(const struct catalog_instance *instance, void *context) {
    struct listing *list = context;
    if ((list->passing && instance->health != HEALTH_PASSING) ||
        !http_match_tags(list->req, &instance->service->tags) ||
        !http_match_node_meta(list->req, instance->node) ||
        !filter_keeps(list->req->filter, instance)) {
        return true;
    }
    if (!http_near_take(&list->near, instance->node->name, instance)) {
        write_instance(instance, list);
    }
    return true;
}

/* ---- failover: on request alone ---- */

static bool is_usable(const struct catalog_view *view, void *context) {
    const struct listing *list = context;
    return failover_is_healthy(view, list->req->rest, list->passing);
}

static void choose_place(struct listing *list, struct http_read *read, struct http_response *res) {
    const struct http_request *req = list->req;
    struct failover_place place =
        failover_find(req->backend->failover, read->view, req->rest, is_usable, list, req->arena);
    if (place.datacenter != NULL) {
        list->dc = place.datacenter;
        list->view = place.view;
        http_response_mirrored(res, req, read, place.age_ms);
    }
    http_response_header(res, HTTP_DATACENTER, arena_strdup(req->arena, list->dc));
}

void handle_health_service(const struct http_request *req, struct http_read *read,
                           struct http_response *res) {
    struct listing list;
    const char *passing = http_request_param(req, "passing");
    bool wanted = passing != NULL;
    read->index = view_index_service(read->view, req->rest);
    if (wanted && *passing != '\0' && !str_parse_bool(passing, &wanted)) {
        http_response_text(res, 400, "Invalid value for ?passing");
        return;
    }
    begin(&list, req, read, res);
    list.passing = wanted;
    if (http_request_has(req, "failover") && !read->mirrored) {
        choose_place(&list, read, res);
    }
    view_walk_instances(list.view, req->rest, put_instance, &list);
    end(&list, write_instance, res);
}
