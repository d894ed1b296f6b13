/* /v1/coordinate (contract 13). */
#include <stdlib.h>
#include <string.h>

#include "http/datacenters.h"
#include "http/handlers.h"

/* ---- reads ---- */

struct listing {
    const struct http_request *req;
    struct json json;
    size_t count;
};

static void put(struct json *json, const char *node, const char *segment,
                const struct coordinate *at) {
    json_object_begin(json);
    json_member_str(json, "Node", node);
    json_member_str(json, "Segment", segment);
    json_key(json, "Coord");
    definition_write_coordinate(json, at);
    json_object_end(json);
}

static bool put_row(const struct catalog_coordinate *row, void *context) {
    struct listing *list = context;
    if (strcmp(row->segment, str_or_empty(http_request_param(list->req, "segment"))) == 0) {
        put(&list->json, row->node, row->segment, &row->at);
        list->count++;
    }
    return true;
}

static void list_rows(const struct http_request *req, struct http_read *read,
                      struct http_response *res, const char *node) {
    struct listing list = {.req = req};
    read->index = view_index_coordinates(read->view);
    http_response_json(res, req, &list.json);
    json_array_begin(&list.json);
    view_walk_coordinates(read->view, node, put_row, &list);
    json_array_end(&list.json);
    http_response_json_end(res, req);
    if (node != NULL && list.count == 0) {
        http_response_absent(res);
    }
}

void handle_coordinate_nodes(const struct http_request *req, struct http_read *read,
                             struct http_response *res) {
    list_rows(req, read, res, NULL);
}

void handle_coordinate_node(const struct http_request *req, struct http_read *read,
                            struct http_response *res) {
    list_rows(req, read, res, req->rest);
}

void handle_coordinate_datacenters(const struct http_request *req, struct http_response *res) {
    struct json json;
    struct http_datacenters all = http_datacenters_list(req->backend, req->arena);
    http_response_json(res, req, &json);
    json_array_begin(&json);
    for (uint32_t i = 0; i < all.count; i++) {
        const struct http_datacenter *dc = &all.v[i];
        json_object_begin(&json);
        json_member_str(&json, "Datacenter", dc->name);
        json_member_str(&json, "AreaID", "wan");
        json_key(&json, "Coordinates");
        json_array_begin(&json);
        for (uint32_t s = 0; s < dc->count; s++) {
            put(&json, dc->servers[s], "", dc->coordinates[s]);
        }
        json_array_end(&json);
        json_object_end(&json);
    }
    json_array_end(&json);
    http_response_json_end(res, req);
}

/* ---- the write ---- */

bool handle_coordinate_update(const struct http_request *req, struct backend_call *call,
                              struct http_response *res) {
    const char *dc = "";
    call->kind = BACKEND_COORDINATE;
    enum err err = definition_parse_coordinate(req->body, req->body_size, req->arena,
                                               &call->coordinate, &dc, &call->text);
    if (err != ERR_OK) {
        http_response_error(res, err, &call->text);
        return false;
    }
    http_carry_wanted(req, call, dc);
    return true;
}
