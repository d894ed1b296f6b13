#include "http/handlers.h"

/* Of the options that reads have, these take the datacenter only. */
static bool judge_dc(const struct http_request *req, struct http_response *res) {
    const char *dc = str_or_empty(http_request_param(req, "datacenter"));
    if (*dc == '\0') {
        dc = str_or_empty(http_request_param(req, "dc"));
    }
    if (*dc != '\0' && !str_equal_fold(dc, req->backend->facts->datacenter)) {
        http_response_text(res, 500, "No path to datacenter");
        return false;
    }
    return true;
}

void handle_status_leader(const struct http_request *req, struct http_response *res) {
    const struct backend *backend = req->backend;
    struct json json;
    if (!judge_dc(req, res)) {
        return;
    }
    http_response_json(res, req, &json);
    json_str(&json, backend->has_leader(backend->context) ? backend->facts->leader_address : "");
    http_response_json_end(res, req);
}

void handle_status_peers(const struct http_request *req, struct http_response *res) {
    struct json json;
    if (!judge_dc(req, res)) {
        return;
    }
    http_response_json(res, req, &json);
    json_array_begin(&json);
    if (req->backend->had_leader(req->backend->context)) {
        json_str(&json, req->backend->facts->leader_address);
    }
    json_array_end(&json);
    http_response_json_end(res, req);
}
