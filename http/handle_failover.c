/* /v1/config/failover: where services are looked up when home has none that is healthy. */
#include "http/handlers.h"

bool handle_failover_set(const struct http_request *req, struct backend_call *call,
                         struct http_response *res) {
    struct catalog_set_failover *set = &call->command.set_failover;
    call->kind = BACKEND_COMMAND;
    call->command.kind = COMMAND_FAILOVER;
    enum err err =
        failover_parse(req->rest, req->body, req->body_size, &req->backend->failover->defaults,
                       req->arena, &set->policy, &call->text);
    if (err != ERR_OK) {
        http_response_error(res, err, &call->text);
        return false;
    }
    return http_query_accept_dc(req, res);
}

bool handle_failover_remove(const struct http_request *req, struct backend_call *call,
                            struct http_response *res) {
    call->kind = BACKEND_COMMAND;
    call->command.kind = COMMAND_FAILOVER;
    call->command.set_failover =
        (struct catalog_set_failover){.remove = true, .policy = {.service = req->rest}};
    return http_query_accept_dc(req, res);
}

static bool put_policy(const struct catalog_failover *policy, void *context) {
    failover_write(context, policy);
    return true;
}

void handle_failover_list(const struct http_request *req, struct http_read *read,
                          struct http_response *res) {
    struct json json;
    read->index = view_index_failovers(read->view);
    http_response_json(res, req, &json);
    json_array_begin(&json);
    view_walk_failovers(read->view, put_policy, &json);
    json_array_end(&json);
    http_response_json_end(res, req);
}

void handle_failover_get(const struct http_request *req, struct http_read *read,
                         struct http_response *res) {
    struct json json;
    const struct catalog_failover *policy = view_get_failover(read->view, req->rest);
    read->index = view_index_failovers(read->view);
    if (policy == NULL) {
        http_response_text(res, 404, "there is no failover policy of \"%.128s\"", req->rest);
        return;
    }
    http_response_json(res, req, &json);
    failover_write(&json, policy);
    http_response_json_end(res, req);
}
