/* /v1/status: of the options that reads have, these take the datacenter only. */
#include "http/handlers.h"

const char *handle_leader_address(const struct http_request *req) {
    struct backend_server servers[LIMIT_RAFT_SERVERS];
    const struct backend *backend = req->backend;
    uint32_t count =
        backend->has_leader(backend->context) ? backend->get_servers(backend->context, servers) : 0;
    for (uint32_t i = 0; i < count; i++) {
        if (servers[i].leader) {
            return arena_strdup(req->arena, servers[i].address);
        }
    }
    return "";
}

void handle_status_leader(const struct http_request *req, struct http_response *res) {
    struct json json;
    if (!http_query_accept_dc(req, res)) {
        return;
    }
    http_response_json(res, req, &json);
    json_str(&json, handle_leader_address(req));
    http_response_json_end(res, req);
}

void handle_status_peers(const struct http_request *req, struct http_response *res) {
    struct backend_server servers[LIMIT_RAFT_SERVERS];
    struct json json;
    if (!http_query_accept_dc(req, res)) {
        return;
    }
    uint32_t count = req->backend->get_servers(req->backend->context, servers);
    http_response_json(res, req, &json);
    json_array_begin(&json);
    for (uint32_t i = 0; i < count; i++) {
        json_str(&json, servers[i].address);
    }
    json_array_end(&json);
    http_response_json_end(res, req);
}
