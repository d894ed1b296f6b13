/* The whole catalog as one archive, out and in (contract 16). */
#include "http/handlers.h"

static bool judge(const struct http_request *req, struct http_query *query,
                  struct http_response *res) {
    struct err_text text = {""};
    enum err err = http_query_parse(req, 0, 0, query, &text);
    if (err != ERR_OK) {
        http_response_error(res, err, &text);
    }
    return err == ERR_OK;
}

bool handle_snapshot_save(const struct http_request *req, struct backend_call *call,
                          struct http_response *res) {
    struct http_query query;
    if (!judge(req, &query, res)) {
        return false;
    }
    call->kind = BACKEND_SNAPSHOT;
    call->snapshot.stale = query.stale;
    return true;
}

void finish_snapshot_save(const struct http_request *req, struct backend_call *call,
                          struct http_response *res) {
    const struct backend *backend = req->backend;
    buf_append(&res->body, call->answer, call->answer_size);
    if (res->body.failed) {
        http_response_text(res, 500, "the answer is larger than this server sends");
        return;
    }
    res->status = 200;
    res->content_type = "application/x-gzip";
    http_response_header(
        res, "X-Consul-Index",
        arena_format(req->arena, "%llu", (unsigned long long)call->snapshot.index));
    http_response_header(res, "X-Consul-KnownLeader",
                         backend->has_leader(backend->context) ? "true" : "false");
    http_response_header(res, "X-Consul-LastContact",
                         arena_format(req->arena, "%lld", (long long)call->snapshot.contact_ms));
}

bool handle_snapshot_restore(const struct http_request *req, struct backend_call *call,
                             struct http_response *res) {
    struct http_query query;
    if (!judge(req, &query, res)) {
        return false;
    }
    if (query.stale) {
        http_response_text(res, 500, "stale not allowed for restore");
        return false;
    }
    call->kind = BACKEND_RESTORE;
    call->snapshot.data = req->body;
    call->snapshot.size = req->body_size;
    return true;
}
