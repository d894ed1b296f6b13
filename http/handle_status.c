#include "http/handlers.h"

void handle_status_leader(const struct http_request *req, struct http_response *res) {
    const struct backend *backend = req->backend;
    struct json json;
    http_response_json(res, req, &json);
    json_str(&json, backend->has_leader(backend->context) ? backend->facts->leader_address : "");
    http_response_json_end(res, req);
}

void handle_status_peers(const struct http_request *req, struct http_response *res) {
    struct json json;
    http_response_json(res, req, &json);
    json_array_begin(&json);
    if (req->backend->had_leader(req->backend->context)) {
        json_str(&json, req->backend->facts->leader_address);
    }
    json_array_end(&json);
    http_response_json_end(res, req);
}
