/* /v1/txn (contract, kv 3). */
#include "base/limits.h"
#include "http/handlers.h"

static void put_answer(struct json *json, const struct catalog_answer *answer, const char *dc) {
    static const char *const names[] = {
        [ROW_KV] = "KV", [ROW_NODE] = "Node", [ROW_SERVICE] = "Service", [ROW_CHECK] = "Check"};
    json_object_begin(json);
    json_key(json, names[answer->kind]);
    switch (answer->kind) {
    case ROW_KV:
        encode_kv(json, answer->row, answer->with_value);
        break;
    case ROW_NODE:
        encode_node(json, answer->row, dc);
        break;
    case ROW_SERVICE:
        encode_node_service(json, answer->row);
        break;
    case ROW_CHECK:
        encode_check(json, answer->row);
        break;
    }
    json_object_end(json);
}

/* reads: the answer of one that only read, with more members. */
static void put_result(const struct http_request *req, const struct catalog_result *result,
                       bool reads, struct http_response *res) {
    struct json json;
    const char *dc = req->backend->facts->datacenter;
    http_response_json(res, req, &json);
    json_object_begin(&json);
    json_key(&json, "Results");
    if (result->failure_count > 0) {
        json_null(&json);
    } else {
        json_array_begin(&json);
        for (uint32_t i = 0; i < result->answer_count; i++) {
            put_answer(&json, &result->answers[i], dc);
        }
        json_array_end(&json);
    }
    json_key(&json, "Errors");
    if (result->failure_count == 0) {
        json_null(&json);
    } else {
        json_array_begin(&json);
        for (uint32_t i = 0; i < result->failure_count; i++) {
            json_object_begin(&json);
            json_member_u64(&json, "OpIndex", result->failures[i].operation);
            json_member_str(&json, "What", result->failures[i].sentence);
            json_object_end(&json);
        }
        json_array_end(&json);
    }
    if (reads) {
        http_response_put_meta(&json, req, 1);
    }
    json_object_end(&json);
    http_response_json_end(res, req);
    if (result->failure_count > 0 && res->status == 200) {
        res->status = 409;
    }
}

/* One that only reads is answered here, from the view. */
static void read_now(const struct http_request *req, const struct catalog_transaction *txn,
                     struct http_response *res) {
    const struct backend *backend = req->backend;
    struct http_query query;
    struct err_text text = {""};
    enum err err = http_query_parse(req, 0, 0, &query, &text);
    bool leader = backend->has_leader(backend->context);
    bool may = query.stale ? backend->had_leader(backend->context) : leader;
    if (err == ERR_OK && !may) {
        err = err_set(&text, ERR_NO_LEADER, "No cluster leader");
    }
    if (err != ERR_OK) {
        http_response_error(res, err, &text);
        return;
    }
    struct catalog_result result = {0};
    epoch_enter(backend->epoch);
    view_run_transaction(catalog_view(backend->catalog), txn, &result);
    epoch_exit(backend->epoch);
    put_result(req, &result, true, res);
    http_response_header(res, "X-Consul-LastContact", "0");
    http_response_header(res, "X-Consul-KnownLeader", leader ? "true" : "false");
    catalog_result_clear(&result);
}

/* Reads alone need no entry of the log, unless this server would have to ask the leader anyway. */
bool handle_txn(const struct http_request *req, struct backend_call *call,
                struct http_response *res) {
    const struct backend_facts *facts = req->backend->facts;
    struct catalog_transaction *txn = &call->command.transaction;
    struct catalog_result failures = {0};
    uint64_t most = facts->txn_bytes_max > facts->kv_value_bytes_max ? facts->txn_bytes_max
                                                                     : facts->kv_value_bytes_max;
    enum err err = http_query_judge_dc(req, &call->text);
    if (err == ERR_OK && req->body_size > most) {
        http_response_text(res, 413, HTTP_BODY_TOO_LARGE, req->body_size, (unsigned long long)most,
                           "txn_max_req_len");
        return false;
    }
    if (err == ERR_OK) {
        err = definition_parse_transaction(req->body, req->body_size, facts->kv_value_bytes_max,
                                           req->arena, txn, &failures, &call->text);
    }
    bool go_on = false;
    if (err != ERR_OK) {
        http_response_error(res, err, &call->text);
    } else if (failures.failure_count > 0) {
        put_result(req, &failures, false, res);
    } else if (transaction_is_read(txn) && (http_request_has(req, "stale") ||
                                            req->backend->may_read(req->backend->context, false))) {
        read_now(req, txn, res);
    } else {
        call->kind = BACKEND_COMMAND;
        call->command.kind = COMMAND_TRANSACTION;
        go_on = true;
    }
    catalog_result_clear(&failures);
    return go_on;
}

void finish_txn(const struct http_request *req, struct backend_call *call,
                struct http_response *res) {
    put_result(req, &call->result, false, res);
}
