/* /v1/session (contract, kv 2). */
#include <string.h>

#include "http/handlers.h"

/* ---- writes ---- */

bool handle_session_create(const struct http_request *req, struct backend_call *call,
                           struct http_response *res) {
    const struct backend_facts *facts = req->backend->facts;
    const char *dc = "";
    call->kind = BACKEND_COMMAND;
    call->command.kind = COMMAND_SESSION;
    enum err err = definition_parse_session(req->body, req->body_size, req->agent_node,
                                            facts->session_ttl_min_ns, req->arena,
                                            &call->command.session, &dc, &call->text);
    if (err != ERR_OK) {
        http_response_error(res, err, &call->text);
        return false;
    }
    http_carry_wanted(req, call, dc);
    return true;
}

void finish_session_create(const struct http_request *req, struct backend_call *call,
                           struct http_response *res) {
    struct json json;
    http_response_json(res, req, &json);
    json_object_begin(&json);
    json_member_str(&json, "ID", call->command.session.id);
    json_object_end(&json);
    http_response_json_end(res, req);
}

bool handle_session_destroy(const struct http_request *req, struct backend_call *call,
                            struct http_response *res) {
    call->kind = BACKEND_COMMAND;
    call->command.kind = COMMAND_SESSION_END;
    call->command.session_id = req->rest;
    (void)res;
    return true;
}

bool handle_session_renew(const struct http_request *req, struct backend_call *call,
                          struct http_response *res) {
    call->kind = BACKEND_RENEW_SESSION;
    call->id = req->rest;
    (void)res;
    return true;
}

static void put_one(const struct catalog_view *view, const struct http_request *req,
                    struct http_response *res) {
    struct json json;
    const struct catalog_session *session = view_get_session(view, req->rest);
    http_response_json(res, req, &json);
    json_array_begin(&json);
    if (session != NULL) {
        encode_session(&json, session);
    }
    json_array_end(&json);
    http_response_json_end(res, req);
}

/* It may have ended since. */
void finish_session_renew(const struct http_request *req, struct backend_call *call,
                          struct http_response *res) {
    (void)call;
    epoch_enter(req->backend->epoch);
    const struct catalog_view *view = catalog_view(req->backend->catalog);
    if (view_get_session(view, req->rest) != NULL) {
        put_one(view, req, res);
    } else {
        http_response_text(res, 404, "Session id '%.128s' not found", req->rest);
    }
    epoch_exit(req->backend->epoch);
}

/* ---- reads ---- */

void handle_session_info(const struct http_request *req, struct http_read *read,
                         struct http_response *res) {
    read->index = view_index_sessions(read->view);
    put_one(read->view, req, res);
}

static bool put_session(const struct catalog_session *session, void *context) {
    encode_session(context, session);
    return true;
}

void handle_session_list(const struct http_request *req, struct http_read *read,
                         struct http_response *res) {
    struct json json;
    read->index = view_index_sessions(read->view);
    http_response_json(res, req, &json);
    json_array_begin(&json);
    view_walk_sessions(read->view, put_session, &json);
    json_array_end(&json);
    http_response_json_end(res, req);
}

void handle_session_node(const struct http_request *req, struct http_read *read,
                         struct http_response *res) {
    struct json json;
    read->index = view_index_sessions(read->view);
    http_response_json(res, req, &json);
    json_array_begin(&json);
    view_walk_node_sessions(read->view, req->rest, put_session, &json);
    json_array_end(&json);
    http_response_json_end(res, req);
}
