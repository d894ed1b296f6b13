/* /v1/query: prepared queries (contract, kv 4). */
#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "catalog/query.h"
#include "http/handlers.h"
#include "net/crypto.h"

/* ---- writes ---- */

static bool parse(const struct http_request *req, struct backend_call *call,
                  enum catalog_query_verb verb, struct http_response *res) {
    struct catalog_set_query *set = &call->command.set_query;
    call->kind = BACKEND_COMMAND;
    call->command.kind = COMMAND_QUERY;
    set->verb = verb;
    enum err err = query_parse(req->body, req->body_size, req->arena, &set->query, &call->text);
    if (err == ERR_OK && verb == QUERY_CREATE && *set->query.id != '\0') {
        err = err_set(&call->text, ERR_REFUSED,
                      "ID must be empty when creating a new prepared query");
    }
    if (err != ERR_OK) {
        http_response_error(res, err, &call->text);
        return false;
    }
    return http_query_accept_dc(req, res);
}

bool handle_query_create(const struct http_request *req, struct backend_call *call,
                         struct http_response *res) {
    return parse(req, call, QUERY_CREATE, res);
}

void finish_query_create(const struct http_request *req, struct backend_call *call,
                         struct http_response *res) {
    struct json json;
    http_response_json(res, req, &json);
    json_object_begin(&json);
    json_member_str(&json, "ID", call->command.set_query.query.id);
    json_object_end(&json);
    http_response_json_end(res, req);
}

bool handle_query_update(const struct http_request *req, struct backend_call *call,
                         struct http_response *res) {
    bool good = parse(req, call, QUERY_UPDATE, res);
    call->command.set_query.query.id = req->rest;
    return good;
}

bool handle_query_delete(const struct http_request *req, struct backend_call *call,
                         struct http_response *res) {
    call->kind = BACKEND_COMMAND;
    call->command.kind = COMMAND_QUERY;
    call->command.set_query.verb = QUERY_DELETE;
    call->command.set_query.query.id = req->rest;
    return http_query_accept_dc(req, res);
}

/* ---- reads ---- */

static bool put_query(const struct catalog_query *query, void *context) {
    query_write(context, query);
    return true;
}

void handle_query_list(const struct http_request *req, struct http_read *read,
                       struct http_response *res) {
    struct json json;
    read->index = view_index_queries(read->view);
    http_response_json(res, req, &json);
    json_array_begin(&json);
    view_walk_queries(read->view, put_query, &json);
    json_array_end(&json);
    http_response_json_end(res, req);
}

void handle_query_get(const struct http_request *req, struct http_read *read,
                      struct http_response *res) {
    struct json json;
    struct uuid uuid;
    const struct catalog_query *query = view_get_query(read->view, req->rest);
    read->index = view_index_queries(read->view);
    if (query == NULL && !uuid_parse(req->rest, &uuid)) {
        http_response_text(res, 500, "failed prepared query lookup: index error: %s",
                           strlen(req->rest) + 1 != UUID_TEXT_BYTES ? "UUID must be 36 characters"
                                                                    : "Invalid UUID");
    } else if (query == NULL) {
        http_response_text(res, 404, "Query not found");
    } else {
        http_response_json(res, req, &json);
        json_array_begin(&json);
        query_write(&json, query);
        json_array_end(&json);
        http_response_json_end(res, req);
    }
}

static void put_meta(struct json *json, const struct http_read *read) {
    json_member_u64(json, "Index", 0); /* these answers have none */
    json_key(json, "LastContact");
    json_i64(json, read->contact_ms * 1000000);
    json_member_bool(json, "KnownLeader", read->known_leader);
    json_member_str(json, "ConsistencyLevel", read->consistency);
    json_member_bool(json, "NotModified", false);
    json_member_u64(json, "Backend", 0);
    json_member_bool(json, "ResultsFilteredByACLs", false);
}

void handle_query_explain(const struct http_request *req, struct http_read *read,
                          struct http_response *res) {
    struct json json;
    struct catalog_query query;
    struct err_text text = {""};
    enum err err = query_find(read->view, req->rest, req->arena, &query, &text);
    if (err != ERR_OK) {
        http_response_error(res, err, &text);
        return;
    }
    http_response_json(res, req, &json);
    json_object_begin(&json);
    json_key(&json, "Query");
    query_write(&json, &query);
    put_meta(&json, read);
    json_object_end(&json);
    http_response_json_end(res, req);
}

/* ---- execute ---- */

struct execution {
    int64_t limit;    /* <= 0: all */
    const char *near; /* of the request, "" = that of the query */
};

/* As strconv.Atoi takes it: digits with or without a sign. */
static bool parse_limit(const char *s, int64_t *ret_limit) {
    size_t sign = *s == '-' || *s == '+';
    uint64_t value;
    if (!str_parse_u64(s + sign, &value) || value > INT64_MAX) {
        return false;
    }
    *ret_limit = *s == '-' ? -(int64_t)value : (int64_t)value;
    return true;
}

static enum err parse_execution(const struct http_request *req, struct execution *execution,
                                struct err_text *text) {
    const char *limit = str_or_empty(http_request_param(req, "limit"));
    const char *connect = str_or_empty(http_request_param(req, "connect"));
    bool ignored;
    *execution = (struct execution){.near = str_or_empty(http_request_param(req, "near"))};
    if (*limit != '\0' && !parse_limit(limit, &execution->limit)) {
        return err_set(text, ERR_REFUSED,
                       "Bad limit: strconv.Atoi: parsing \"%.64s\": invalid syntax", limit);
    }
    if (*connect != '\0' && !str_parse_bool(connect, &ignored)) {
        return err_set(text, ERR_REFUSED,
                       "Error parsing 'connect' value: strconv.ParseBool: parsing \"%.64s\": "
                       "invalid syntax",
                       connect);
    }
    return ERR_OK;
}

static const char *client_node(const struct http_request *req, const struct catalog_view *view) {
    uint8_t ip[16];
    uint8_t bytes = 0;
    return ip_parse(req->client_ip, ip, &bytes) ? query_node_at(view, ip, bytes) : "";
}

static const char *source_of(const struct http_request *req, const struct catalog_view *view,
                             const char *near) {
    return strcmp(near, "_agent") == 0 ? req->agent_node
           : strcmp(near, "_ip") == 0  ? client_node(req, view)
                                       : near;
}

static struct rand make_rand(void) {
    struct rand rand;
    rand_init(&rand, crypto_random_u64());
    return rand;
}

struct outcome {
    struct query_instances instances;
    struct failover_place place;
    uint32_t tried;
};

static void put_execution(const struct http_request *req, const struct http_read *read,
                          const struct catalog_query *query, const struct outcome *outcome,
                          struct http_response *res) {
    struct json json;
    const char *dc = outcome->place.datacenter;
    dc = dc != NULL ? dc : req->datacenter;
    http_response_json(res, req, &json);
    json_object_begin(&json);
    json_member_str(&json, "Service", query->service);
    json_key(&json, "Nodes");
    json_array_begin(&json);
    for (size_t i = 0; i < outcome->instances.count; i++) {
        encode_instance(&json, req, outcome->instances.v[i], dc);
    }
    json_array_end(&json);
    json_key(&json, "DNS");
    json_object_begin(&json);
    json_member_str(&json, "TTL", query->dns_ttl);
    json_object_end(&json);
    json_member_str(&json, "Datacenter", dc);
    json_member_str(&json, "PeerName", "");
    json_member_u64(&json, "Failovers", outcome->tried);
    put_meta(&json, read);
    json_object_end(&json);
    http_response_json_end(res, req);
}

void handle_query_execute(const struct http_request *req, struct http_read *read,
                          struct http_response *res) {
    struct execution execution;
    struct catalog_query query;
    struct outcome outcome;
    struct err_text text = {""};
    enum err err = parse_execution(req, &execution, &text);
    err = err == ERR_OK ? query_find(read->view, req->rest, req->arena, &query, &text) : err;
    if (err != ERR_OK) {
        http_response_error(res, err, &text);
        return;
    }
    struct rand rand = make_rand();
    const char *near = *execution.near != '\0' ? execution.near : query.near_node;
    outcome.place =
        query_run(req->backend->failover, read->view, &query, source_of(req, read->view, near),
                  &rand, req->arena, &outcome.instances, &outcome.tried);
    if (execution.limit > 0 && outcome.instances.count > (uint64_t)execution.limit) {
        outcome.instances.count = (size_t)execution.limit;
    }
    if (outcome.place.datacenter != NULL) {
        http_response_mirrored(res, req, read, outcome.place.age_ms);
    }
    put_execution(req, read, &query, &outcome, res);
}
