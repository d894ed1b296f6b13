#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/decode.h"

#include "http/datacenters.h"
#include "http/handlers.h"

/* ---- what this agent is ---- */

static void stat_u64(struct json *json, const char *key, uint64_t value) {
    char text[24];
    snprintf(text, sizeof text, "%llu", (unsigned long long)value);
    json_member_str(json, key, text);
}

static void stat_bool(struct json *json, const char *key, bool value) {
    json_member_str(json, key, value ? "true" : "false");
}

static bool count_one(const struct catalog_service *service, void *context) {
    (void)service;
    (*(uint64_t *)context)++;
    return true;
}

struct check_counts {
    uint64_t checks, ttls;
};

static bool count_check(const struct catalog_check *check, void *context) {
    struct check_counts *counts = context;
    counts->checks++;
    counts->ttls += strcmp(check->type, "ttl") == 0;
    return true;
}

static void put_agent_stats(struct json *json, const struct backend *backend) {
    const struct local_view *view = local_view(backend->local);
    uint64_t services = 0;
    struct check_counts counts = {0};
    local_walk_services(view, count_one, &services);
    local_walk_checks(view, count_check, &counts);
    json_key(json, "agent");
    json_object_begin(json);
    stat_u64(json, "check_monitors", counts.checks - counts.ttls);
    stat_u64(json, "check_ttls", counts.ttls);
    stat_u64(json, "checks", counts.checks);
    stat_u64(json, "services", services);
    json_object_end(json);
    json_key(json, "build");
    json_object_begin(json);
    json_member_str(json, "prerelease", "");
    json_member_str(json, "revision", "");
    json_member_str(json, "version", backend->facts->version);
    json_member_str(json, "version_metadata", "");
    json_object_end(json);
}

static const char *list_servers(const struct http_request *req) {
    struct backend_server servers[LIMIT_RAFT_SERVERS];
    uint32_t count = req->backend->get_servers(req->backend->context, servers);
    const char *list = "[";
    for (uint32_t i = 0; i < count; i++) {
        list = arena_format(req->arena, "%s%s{Suffrage:%s ID:%s Address:%s}", list,
                            i > 0 ? " " : "", servers[i].voter ? "Voter" : "Nonvoter",
                            servers[i].id, servers[i].address);
    }
    return arena_format(req->arena, "%s]", list);
}

/* Of an agent without -server. */
static void put_client_stats(struct json *json, const struct backend *backend) {
    const struct backend_pool *pool = backend->lan;
    uint64_t servers = 0;
    for (uint32_t i = 0; pool != NULL && i < pool->count; i++) {
        servers += pool->members[i].server && pool->members[i].status == MEMBER_ALIVE;
    }
    json_key(json, "consul");
    json_object_begin(json);
    json_member_str(json, "acl", "disabled");
    stat_u64(json, "known_servers", servers);
    stat_bool(json, "server", false);
    json_object_end(json);
}

static void put_raft_stats(struct json *json, const struct http_request *req) {
    const struct backend *backend = req->backend;
    struct backend_stats stats;
    backend->get_stats(backend->context, &stats);
    json_key(json, "consul");
    json_object_begin(json);
    json_member_str(json, "acl", "disabled");
    stat_bool(json, "bootstrap", backend->facts->bootstrap);
    stat_u64(json, "known_datacenters", http_datacenters_list(req->backend, req->arena).count);
    stat_bool(json, "leader", stats.leader);
    json_member_str(json, "leader_addr", handle_leader_address(req));
    stat_bool(json, "server", backend->facts->server);
    json_object_end(json);
    json_key(json, "raft");
    json_object_begin(json);
    stat_u64(json, "applied_index", stats.applied_index);
    stat_u64(json, "commit_index", stats.commit_index);
    json_member_str(json, "fsm_pending", "0");
    json_member_str(json, "last_contact",
                    stats.contact_ms == 0 ? "0"
                    : stats.contact_ms < 0
                        ? "never"
                        : arena_format(req->arena, "%lldms", (long long)stats.contact_ms));
    stat_u64(json, "last_log_index", stats.last_index);
    stat_u64(json, "last_log_term", stats.last_term);
    stat_u64(json, "last_snapshot_index", stats.snapshot_index);
    stat_u64(json, "last_snapshot_term", stats.snapshot_term);
    json_member_str(json, "latest_configuration", list_servers(req));
    stat_u64(json, "latest_configuration_index", stats.configuration_index);
    stat_u64(json, "num_peers", stats.peers);
    json_member_str(json, "protocol_version", "3");
    json_member_str(json, "protocol_version_max", "3");
    json_member_str(json, "protocol_version_min", "0");
    json_member_str(json, "snapshot_version_max", "1");
    json_member_str(json, "snapshot_version_min", "0");
    json_member_str(json, "state",
                    strcmp(stats.role, "leader") == 0      ? "Leader"
                    : strcmp(stats.role, "candidate") == 0 ? "Candidate"
                                                           : "Follower");
    stat_u64(json, "term", stats.term);
    json_object_end(json);
}

static const char *architecture(const struct http_request *req) {
    struct utsname host;
    const char *machine = uname(&host) == 0 ? host.machine : "";
    return strcmp(machine, "x86_64") == 0    ? "amd64" /* the names that clients know */
           : strcmp(machine, "aarch64") == 0 ? "arm64"
                                             : arena_strdup(req->arena, machine);
}

/* Of this process. */
static uint64_t count_threads(void) {
    unsigned long long threads = 0;
    char line[128];
    FILE *file = fopen("/proc/self/status", "re");
    while (file != NULL && threads == 0 && fgets(line, sizeof line, file) != NULL) {
        sscanf(line, "Threads: %llu", &threads);
    }
    if (file != NULL) {
        fclose(file);
    }
    return threads;
}

static void put_runtime_stats(struct json *json, const struct http_request *req) {
    uint64_t processors = (uint64_t)sysconf(_SC_NPROCESSORS_ONLN);
    json_key(json, "runtime");
    json_object_begin(json);
    json_member_str(json, "arch", architecture(req));
    stat_u64(json, "cpu_count", processors);
    stat_u64(json, "goroutines", count_threads());
    stat_u64(json, "max_procs", processors);
    json_member_str(json, "os", "linux");
    json_member_str(json, "version", "C11, compiler " __VERSION__);
    json_object_end(json);
}

static void put_pool_stats(struct json *json, const struct backend *backend, bool wan) {
    const struct backend_pool *pool = wan ? backend->wan : backend->lan;
    struct backend_pool_stats stats;
    if (pool == NULL) {
        return;
    }
    backend->get_pool_stats(backend->context, wan, &stats);
    json_key(json, wan ? "serf_wan" : "serf_lan");
    json_object_begin(json);
    json_member_str(json, "coordinate_resets", "0");
    stat_bool(json, "encrypted", pool->encrypted);
    stat_u64(json, "event_queue", stats.events_queued);
    stat_u64(json, "event_time", stats.event_clock + 1); /* the next one's */
    stat_u64(json, "failed", stats.failed);
    stat_u64(json, "frozen", stats.frozen);
    stat_u64(json, "health_score", stats.health_score);
    json_member_str(json, "intent_queue", "0");
    stat_u64(json, "left", stats.left);
    stat_bool(json, "mass_failure_guard", stats.guard);
    json_member_str(json, "member_time", "1");
    stat_u64(json, "members", pool->count);
    json_member_str(json, "query_queue", "0");
    json_member_str(json, "query_time", "1");
    json_object_end(json);
}

static void put_coordinate(struct json *json, const struct backend *backend) {
    struct backend_pool_stats stats;
    backend->get_pool_stats(backend->context, false, &stats);
    if (backend->facts->coordinates_off) {
        json_null(json);
    } else {
        definition_write_coordinate(json, &stats.at);
    }
}

void handle_agent_self(const struct http_request *req, struct http_response *res) {
    const struct backend *backend = req->backend;
    const struct backend_live *live = backend->live;
    struct json json;
    http_response_json(res, req, &json);
    json_object_begin(&json);
    json_key(&json, "Config");
    json_raw(&json, backend->facts->config_json);
    json_key(&json, "DebugConfig");
    json_raw(&json, live->debug_config_json);
    json_key(&json, "Coord");
    put_coordinate(&json, backend);
    json_key(&json, "Member");
    struct filter_member own = handle_member(&backend->lan->members[backend->lan->self]);
    encode_member(&json, &own);
    json_key(&json, "Stats");
    json_object_begin(&json);
    put_agent_stats(&json, backend);
    if (req->backend->facts->server) {
        put_raft_stats(&json, req);
    } else {
        put_client_stats(&json, req->backend);
    }
    put_runtime_stats(&json, req);
    put_pool_stats(&json, backend, false);
    put_pool_stats(&json, backend, true);
    json_object_end(&json);
    json_member_map(&json, "Meta", &live->node_meta);
    json_object_end(&json);
    http_response_json_end(res, req);
}

void handle_agent_version(const struct http_request *req, struct http_response *res) {
    struct json json;
    http_response_json(res, req, &json);
    json_object_begin(&json);
    json_member_str(&json, "SHA", "");
    json_member_str(&json, "BuildDate", req->backend->facts->build_date);
    json_member_str(&json, "HumanVersion", req->backend->facts->version);
    json_member_str(&json, "FIPS", "");
    json_object_end(&json);
    http_response_json_end(res, req);
}

/* ---- its registrations ---- */

struct members {
    const struct http_request *req;
    struct json json;
    const char *dc;
};

static bool put_service(const struct catalog_service *service, void *context) {
    struct members *members = context;
    if (filter_keeps(members->req->filter, service)) {
        json_key(&members->json, service->id);
        encode_agent_service(&members->json, service, members->dc, NULL);
    }
    return true;
}

static bool put_check(const struct catalog_check *check, void *context) {
    struct members *members = context;
    if (filter_keeps(members->req->filter, check)) {
        json_key(&members->json, check->id);
        encode_check(&members->json, check);
    }
    return true;
}

void handle_agent_services(const struct http_request *req, struct http_response *res) {
    struct members members = {.req = req, .dc = req->backend->facts->datacenter};
    http_response_json(res, req, &members.json);
    json_object_begin(&members.json);
    local_walk_services(local_view(req->backend->local), put_service, &members);
    json_object_end(&members.json);
    http_response_json_end(res, req);
}

void handle_agent_checks(const struct http_request *req, struct http_response *res) {
    struct members members = {.req = req};
    http_response_json(res, req, &members.json);
    json_object_begin(&members.json);
    local_walk_checks(local_view(req->backend->local), put_check, &members);
    json_object_end(&members.json);
    http_response_json_end(res, req);
}

/* ---- writes ---- */

bool handle_agent_leave(const struct http_request *req, struct backend_call *call,
                        struct http_response *res) {
    (void)req;
    (void)res;
    call->kind = BACKEND_LEAVE;
    return true;
}

bool handle_agent_reload(const struct http_request *req, struct backend_call *call,
                         struct http_response *res) {
    (void)req;
    (void)res;
    call->kind = BACKEND_RELOAD;
    return true;
}

bool handle_agent_service_register(const struct http_request *req, struct backend_call *call,
                                   struct http_response *res) {
    const char *replace = http_request_param(req, "replace-existing-checks");
    call->kind = BACKEND_SET_SERVICE;
    call->set_service.replace_checks =
        replace != NULL && (*replace == '\0' || strcmp(replace, "true") == 0);
    enum err err = definition_parse_service(req->body, req->body_size, req->arena,
                                            &call->set_service.definition, &call->text);
    if (err != ERR_OK) {
        http_response_error(res, err, &call->text);
        return false;
    }
    if (*req->authz.token != '\0') {
        call->set_service.definition.token = req->authz.token;
    }
    return true;
}

bool handle_agent_service_deregister(const struct http_request *req, struct backend_call *call,
                                     struct http_response *res) {
    (void)res;
    call->kind = BACKEND_REMOVE_SERVICE;
    call->id = req->rest;
    return true;
}

bool handle_agent_check_register(const struct http_request *req, struct backend_call *call,
                                 struct http_response *res) {
    call->kind = BACKEND_SET_CHECK;
    enum err err = definition_parse_check(req->body, req->body_size, req->arena, &call->set_check,
                                          &call->text);
    if (err != ERR_OK) {
        http_response_error(res, err, &call->text);
        return false;
    }
    if (*req->authz.token != '\0') {
        call->set_check.token = req->authz.token;
    }
    return true;
}

bool handle_agent_check_deregister(const struct http_request *req, struct backend_call *call,
                                   struct http_response *res) {
    (void)res;
    call->kind = BACKEND_REMOVE_CHECK;
    call->id = req->rest;
    return true;
}

static bool update(const struct http_request *req, struct backend_call *call, const char *status,
                   const char *output) {
    call->kind = BACKEND_UPDATE_CHECK;
    call->update.id = req->rest;
    call->update.status = status;
    call->update.output = output;
    return true;
}

bool handle_agent_check_pass(const struct http_request *req, struct backend_call *call,
                             struct http_response *res) {
    (void)res;
    return update(req, call, "passing", str_or_empty(http_request_param(req, "note")));
}

bool handle_agent_check_warn(const struct http_request *req, struct backend_call *call,
                             struct http_response *res) {
    (void)res;
    return update(req, call, "warning", str_or_empty(http_request_param(req, "note")));
}

bool handle_agent_check_fail(const struct http_request *req, struct backend_call *call,
                             struct http_response *res) {
    (void)res;
    return update(req, call, "critical", str_or_empty(http_request_param(req, "note")));
}

struct check_update {
    const char *status, *output;
};

static const struct decode_field check_update_fields[] = {
    DECODE_FIELD(struct check_update, status, "Status", DECODE_STR),
    DECODE_FIELD(struct check_update, output, "Output", DECODE_STR),
};

static const struct decode_spec check_update_spec = {"checkUpdate", sizeof(struct check_update),
                                                     check_update_fields, 2, false};

bool handle_agent_check_update(const struct http_request *req, struct backend_call *call,
                               struct http_response *res) {
    struct check_update in = {"", ""};
    if (decode_json(&check_update_spec, DECODE_BODY, req->body, req->body_size, req->arena, &in,
                    &call->text) != ERR_OK) {
        http_response_text(res, 400, "Request decode failed: %s", call->text.s);
        return false;
    }
    if (strcmp(in.status, "passing") != 0 && strcmp(in.status, "warning") != 0 &&
        strcmp(in.status, "critical") != 0) {
        http_response_text(res, 400, "Invalid check status: '%s'", in.status);
        return false;
    }
    return update(req, call, in.status, in.output);
}
