/* What operators ask about the Raft group, and of it (contract 17.1, 17.2). */
#include <string.h>

#include "base/decode.h"
#include "base/duration.h"
#include "http/handlers.h"

static bool begin(const struct http_request *req, enum backend_operator_action action,
                  struct backend_call *call, struct http_response *res) {
    struct http_query query;
    struct err_text text = {""};
    enum err err = http_query_parse(req, 0, 0, &query, &text);
    if (err != ERR_OK) {
        http_response_error(res, err, &text);
        return false;
    }
    call->kind = BACKEND_OPERATOR;
    call->operate.action = action;
    call->operate.server_id = str_or_empty(http_request_param(req, "id"));
    call->operate.address = str_or_empty(http_request_param(req, "address"));
    call->operate.stale = query.stale;
    return true;
}

bool handle_operator_raft_configuration(const struct http_request *req, struct backend_call *call,
                                        struct http_response *res) {
    return begin(req, BACKEND_SHOW_RAFT, call, res);
}

bool handle_operator_remove_peer(const struct http_request *req, struct backend_call *call,
                                 struct http_response *res) {
    if (!begin(req, BACKEND_REMOVE_SERVER, call, res)) {
        return false;
    }
    bool by_id = *call->operate.server_id != '\0', by_address = *call->operate.address != '\0';
    if (by_id == by_address) {
        http_response_text(res, 400,
                           by_id ? "Must specify only one of ?id or ?address"
                                 : "Must specify either ?id with the server's ID or ?address with "
                                   "IP:port of peer to remove");
    }
    return by_id != by_address;
}

bool handle_operator_transfer_leader(const struct http_request *req, struct backend_call *call,
                                     struct http_response *res) {
    (void)res;
    call->kind = BACKEND_OPERATOR;
    call->operate.action = BACKEND_TRANSFER_LEADER;
    call->operate.server_id = str_or_empty(http_request_param(req, "id"));
    call->operate.address = "";
    return true; /* always of this datacenter */
}

/* ---- autopilot ---- */

bool handle_autopilot_get(const struct http_request *req, struct backend_call *call,
                          struct http_response *res) {
    return begin(req, BACKEND_SHOW_AUTOPILOT, call, res);
}

bool handle_autopilot_health(const struct http_request *req, struct backend_call *call,
                             struct http_response *res) {
    return begin(req, BACKEND_SHOW_HEALTH, call, res);
}

void finish_autopilot_health(const struct http_request *req, struct backend_call *call,
                             struct http_response *res) {
    static const char healthy[] = "{\"Healthy\":true";
    bool is_healthy = call->answer_size >= sizeof healthy - 1 &&
                      memcmp(call->answer, healthy, sizeof healthy - 1) == 0;
    finish_json(req, call, res);
    if (!is_healthy && res->status == 200) {
        res->status = 429;
    }
}

bool handle_autopilot_state(const struct http_request *req, struct backend_call *call,
                            struct http_response *res) {
    return begin(req, BACKEND_SHOW_STATE, call, res);
}

/* The numbers of the row are narrower. */
struct autopilot_body {
    bool cleanup_dead_servers;
    int64_t last_contact_ns, stabilization_ns, max_trailing_logs, min_quorum;
};

#define FIELD(member, name, kind) DECODE_FIELD(struct autopilot_body, member, name, kind)
#define NUMBER(member_, name_, max_)                                                               \
    {                                                                                              \
        .name = (name_), .kind = DECODE_INT, .offset = offsetof(struct autopilot_body, member_),   \
        .min = 0, .max = (max_)                                                                    \
    }

#define TIME(member_, name_)                                                                       \
    {                                                                                              \
        .name = (name_), .kind = DECODE_DURATION, .null_is_zero = true,                            \
        .offset = offsetof(struct autopilot_body, member_)                                         \
    }

static const struct decode_field autopilot_fields[] = {
    FIELD(cleanup_dead_servers, "CleanupDeadServers", DECODE_BOOL),
    TIME(last_contact_ns, "LastContactThreshold"),
    TIME(stabilization_ns, "ServerStabilizationTime"),
    NUMBER(max_trailing_logs, "MaxTrailingLogs", INT64_MAX),
    NUMBER(min_quorum, "MinQuorum", LIMIT_RAFT_SERVERS),
    {.name = "RedundancyZoneTag", .kind = DECODE_IGNORE},
    {.name = "DisableUpgradeMigration", .kind = DECODE_IGNORE},
    {.name = "UpgradeVersionTag", .kind = DECODE_IGNORE},
    {.name = "CreateIndex", .kind = DECODE_IGNORE},
    {.name = "ModifyIndex", .kind = DECODE_IGNORE},
};
static const struct decode_spec autopilot_spec = {
    "AutopilotConfiguration", sizeof(struct autopilot_body), autopilot_fields,
    sizeof autopilot_fields / sizeof autopilot_fields[0], false};

bool handle_autopilot_set(const struct http_request *req, struct backend_call *call,
                          struct http_response *res) {
    struct http_query query;
    struct autopilot_body body = {.cleanup_dead_servers = true,
                                  .last_contact_ns = 200 * DURATION_MS,
                                  .stabilization_ns = 10 * DURATION_S,
                                  .max_trailing_logs = 250};
    uint64_t index = 0;
    const char *cas = str_or_empty(http_request_param(req, "cas"));
    enum err err = http_query_parse(req, 0, 0, &query, &call->text);
    if (err != ERR_OK) {
        http_response_error(res, err, &call->text);
        return false;
    }
    if (*cas != '\0' && !str_parse_u64(cas, &index)) {
        http_response_text(res, 400,
                           "Error parsing cas value: strconv.ParseUint: parsing \"%.64s\": "
                           "invalid syntax",
                           cas);
        return false;
    }
    if (decode_json(&autopilot_spec, DECODE_BODY, req->body, req->body_size, req->arena, &body,
                    &call->text) != ERR_OK) {
        http_response_text(res, 400, "Error parsing autopilot config: %s", call->text.s);
        return false;
    }
    call->kind = BACKEND_COMMAND;
    call->command.kind = COMMAND_AUTOPILOT;
    call->command.set_autopilot = (struct catalog_set_autopilot){
        .autopilot = {.cleanup_dead_servers = body.cleanup_dead_servers,
                      .last_contact_ns = body.last_contact_ns,
                      .stabilization_ns = body.stabilization_ns,
                      .max_trailing_logs = (uint64_t)body.max_trailing_logs,
                      .min_quorum = (uint32_t)body.min_quorum},
        .cas = *cas != '\0',
        .index = index};
    return true;
}

void finish_autopilot_set(const struct http_request *req, struct backend_call *call,
                          struct http_response *res) {
    struct json json;
    http_response_json(res, req, &json);
    json_bool(&json, !call->result.unchanged);
    http_response_json_end(res, req);
}

/* ---- usage ---- */

struct usage {
    const char *last_service; /* instances come by service */
    uint64_t services, instances, billable, nodes;
};

static bool count_instance(const struct catalog_instance *instance, void *context) {
    struct usage *usage = context;
    const struct catalog_service *service = instance->service;
    if (usage->last_service == NULL || !str_equal_fold(usage->last_service, service->name)) {
        usage->services++;
        usage->last_service = service->name;
    }
    usage->instances++;
    usage->billable += *service->kind == '\0' && !str_equal_fold(service->name, "consul");
    return true;
}

static bool count_node(const struct catalog_node *node, void *context) {
    (void)node;
    ((struct usage *)context)->nodes++;
    return true;
}

static void put_mesh_counts(struct json *json) {
    static const char *const kinds[] = {"api-gateway",     "connect-native", "connect-proxy",
                                        "ingress-gateway", "mesh-gateway",   "terminating-gateway"};
    json_key(json, "ConnectServiceInstances");
    json_object_begin(json);
    for (size_t i = 0; i < sizeof kinds / sizeof kinds[0]; i++) {
        json_member_u64(json, kinds[i], 0);
    }
    json_object_end(json);
}

void handle_operator_usage(const struct http_request *req, struct http_read *read,
                           struct http_response *res) {
    struct usage usage = {0};
    struct json json;
    read->index = view_index_nodes(read->view); /* any service moves it, too */
    view_walk_all_instances(read->view, count_instance, &usage);
    view_walk_nodes(read->view, count_node, &usage);
    http_response_json(res, req, &json);
    json_object_begin(&json);
    json_key(&json, "Usage");
    json_object_begin(&json);
    json_key(&json, req->datacenter);
    json_object_begin(&json);
    json_member_u64(&json, "Services", usage.services);
    json_member_u64(&json, "ServiceInstances", usage.instances);
    put_mesh_counts(&json);
    json_member_u64(&json, "BillableServiceInstances", usage.billable);
    json_member_u64(&json, "Nodes", usage.nodes);
    json_object_end(&json);
    json_object_end(&json);
    http_response_put_meta(&json, req, read->index);
    json_object_end(&json);
    http_response_json_end(res, req);
}
