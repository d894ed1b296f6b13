/* One service of this agent's own: its definition, its health, maintenance mode (contract 10.6,
 * 10.7, 10.9). */
#include <string.h>

#include "http/handlers.h"

/* ---- GET /v1/agent/service/:id ---- */

void handle_agent_service(const struct http_request *req, struct http_response *res) {
    struct json json;
    const struct catalog_service *service =
        local_get_service(local_view(req->backend->local), req->rest);
    if (service == NULL) {
        http_response_text(res, 404, "unknown service ID: %s", req->rest);
        return;
    }
    const char *hash =
        arena_format(req->arena, "%llx", (unsigned long long)http_content_hash(service));
    http_response_json(res, req, &json);
    encode_agent_service(&json, service, req->backend->facts->datacenter, hash);
    http_response_json_end(res, req);
    http_response_header(res, HTTP_CONTENT_HASH, hash);
}

/* ---- health ---- */

enum { LEVEL_PASSING, LEVEL_WARNING, LEVEL_CRITICAL, LEVEL_MAINTENANCE };

static const struct {
    const char *word;
    int code;
} levels[] = {[LEVEL_PASSING] = {"passing", 200},
              [LEVEL_WARNING] = {"warning", 429},
              [LEVEL_CRITICAL] = {"critical", 503},
              [LEVEL_MAINTENANCE] = {"maintenance", 503}};

static bool worsen(const struct catalog_check *check, void *context) {
    unsigned *worst = context;
    unsigned level = strcmp(check->type, "maintenance") == 0              ? LEVEL_MAINTENANCE
                     : catalog_health_of(check->status) == HEALTH_PASSING ? LEVEL_PASSING
                     : catalog_health_of(check->status) == HEALTH_WARNING ? LEVEL_WARNING
                                                                          : LEVEL_CRITICAL;
    *worst = level > *worst ? level : *worst;
    return true;
}

/* Of the service's checks and the node's own. */
static unsigned judge(const struct local_view *view, const struct catalog_service *service) {
    unsigned worst = LEVEL_PASSING;
    local_walk_service_checks(view, service->id, worsen, &worst);
    local_walk_service_checks(view, "", worsen, &worst);
    return worst;
}

static bool put_check(const struct catalog_check *check, void *context) {
    struct json *json = context;
    struct catalog_check shown = *check;
    shown.type = shown.interval = shown.timeout = "";
    shown.definition = "";
    shown.create_index = shown.modify_index = 0;
    encode_check(json, &shown);
    return true;
}

static void put_health(struct json *json, const struct http_request *req,
                       const struct local_view *view, const struct catalog_service *service,
                       unsigned level) {
    json_object_begin(json);
    json_member_str(json, "AggregatedStatus", levels[level].word);
    json_key(json, "Service");
    encode_agent_service(json, service, req->backend->facts->datacenter, NULL);
    json_key(json, "Checks");
    json_array_begin(json);
    local_walk_service_checks(view, service->id, put_check, json);
    local_walk_service_checks(view, "", put_check, json);
    json_array_end(json);
    json_object_end(json);
}

static bool wants_text(const struct http_request *req) {
    return strcmp(str_or_empty(http_request_param(req, "format")), "text") == 0 ||
           str_starts_with(str_or_empty(req->accept), "text/plain");
}

static void answer_text(struct http_response *res, int code, const char *text) {
    http_response_text(res, code, "%s", text);
    res->content_type = "text/plain";
    http_response_header(res, "X-Consul-Reason", text);
}

/* The JSON is written; its code and reason. */
static void end_json(struct http_response *res, const struct http_request *req, int code,
                     const char *reason) {
    http_response_json_end(res, req);
    if (res->status == 200) {
        res->status = code;
        http_response_header(res, "X-Consul-Reason", reason);
    }
}

void handle_agent_health_by_id(const struct http_request *req, struct http_response *res) {
    const struct local_view *view = local_view(req->backend->local);
    const struct catalog_service *service = local_get_service(view, req->rest);
    const char *reason = arena_format(req->arena, "ServiceId %s not found", req->rest);
    struct json json;
    unsigned level = service != NULL ? judge(view, service) : LEVEL_CRITICAL;
    int code = service != NULL ? levels[level].code : 404;
    reason = service != NULL ? levels[level].word : reason;
    if (wants_text(req)) {
        answer_text(res, code, reason);
        return;
    }
    http_response_json(res, req, &json);
    if (service != NULL) {
        put_health(&json, req, view, service, level);
    } else {
        json_object_begin(&json);
        json_member_str(&json, "AggregatedStatus", levels[level].word);
        json_key(&json, "Service");
        json_null(&json);
        json_key(&json, "Checks");
        json_null(&json);
        json_object_end(&json);
    }
    end_json(res, req, code, reason);
}

struct named {
    const struct http_request *req;
    const struct local_view *view;
    struct json *json; /* NULL: only the worst is wanted */
    unsigned worst, count;
};

static bool put_named(const struct catalog_service *service, void *context) {
    struct named *named = context;
    if (strcmp(service->name, named->req->rest) == 0) {
        unsigned level = judge(named->view, service);
        named->worst = level > named->worst ? level : named->worst;
        named->count++;
        if (named->json != NULL) {
            put_health(named->json, named->req, named->view, service, level);
        }
    }
    return true;
}

void handle_agent_health_by_name(const struct http_request *req, struct http_response *res) {
    struct json json;
    bool text = wants_text(req);
    struct named named = {
        .req = req, .view = local_view(req->backend->local), .json = text ? NULL : &json};
    if (!text) {
        http_response_json(res, req, &json);
        json_array_begin(&json);
    }
    local_walk_services(named.view, put_named, &named);
    int code = named.count > 0 ? levels[named.worst].code : 404;
    const char *reason = named.count > 0
                             ? levels[named.worst].word
                             : arena_format(req->arena, "ServiceName %s Not Found", req->rest);
    if (text) {
        answer_text(res, code, reason);
    } else {
        json_array_end(&json);
        end_json(res, req, code, reason);
    }
}

/* ---- maintenance mode ---- */

static bool maintain(const struct http_request *req, struct backend_call *call,
                     struct http_response *res) {
    const char *enable = str_or_empty(http_request_param(req, "enable"));
    if (*enable == '\0') {
        http_response_text(res, 400, "Missing value for enable");
        return false;
    }
    if (!str_parse_bool(enable, &call->maintenance.enable)) {
        http_response_text(res, 400, "Invalid value for enable: \"%s\"", enable);
        return false;
    }
    call->kind = BACKEND_SET_MAINTENANCE;
    call->maintenance.service_id = req->rest;
    call->maintenance.reason = str_or_empty(http_request_param(req, "reason"));
    call->maintenance.token = req->authz.token;
    return true;
}

bool handle_agent_maintenance(const struct http_request *req, struct backend_call *call,
                              struct http_response *res) {
    return maintain(req, call, res);
}

bool handle_agent_service_maintenance(const struct http_request *req, struct backend_call *call,
                                      struct http_response *res) {
    return maintain(req, call, res);
}
