/* User events (contract 14). */
#include <string.h>

#include "base/base64.h"
#include "catalog/pattern.h"
#include "http/handlers.h"

/* ---- PUT /v1/event/fire/:name ---- */

/* False: an answer is set. */
static bool judge_filter(const struct http_request *req, struct pattern_set *set,
                         const char *parameter, struct http_response *res) {
    const char *pattern = str_or_empty(http_request_param(req, parameter));
    const struct pattern *compiled;
    struct err_text reason = {""};
    if (*pattern == '\0' || pattern_compile(set, pattern, &compiled, &reason) == ERR_OK) {
        return true;
    }
    http_response_text(res, 500, "Invalid %s filter: %s", parameter, reason.s);
    return false;
}

static bool judge_filters(const struct http_request *req, struct http_response *res) {
    struct pattern_set *set = pattern_set_create(req->arena);
    if (*str_or_empty(http_request_param(req, "tag")) != '\0' &&
        *str_or_empty(http_request_param(req, "service")) == '\0') {
        http_response_text(res, 500, "Cannot provide tag filter without service filter");
        return false;
    }
    return judge_filter(req, set, "node", res) && judge_filter(req, set, "service", res) &&
           judge_filter(req, set, "tag", res);
}

bool handle_event_fire(const struct http_request *req, struct backend_call *call,
                       struct http_response *res) {
    if (!http_query_accept_dc(req, res) || !judge_filters(req, res)) {
        return false;
    }
    call->kind = BACKEND_FIRE_EVENT;
    call->fire.name = req->rest;
    call->fire.node = str_or_empty(http_request_param(req, "node"));
    call->fire.service = str_or_empty(http_request_param(req, "service"));
    call->fire.tag = str_or_empty(http_request_param(req, "tag"));
    size_t size = strlen(call->fire.name) + strlen(call->fire.node) + strlen(call->fire.service) +
                  strlen(call->fire.tag) + req->body_size;
    if (size > LIMIT_EVENT_BYTES) {
        http_response_text(res, 500,
                           "error broadcasting event: user event exceeds configured limit of %d "
                           "bytes before encoding",
                           LIMIT_EVENT_BYTES);
        return false;
    }
    call->fire.payload =
        (struct catalog_bytes){(const uint8_t *)req->body, (uint32_t)req->body_size};
    return true;
}

static void encode_event(struct json *json, const struct http_request *req,
                         const struct backend_event *event) {
    json_object_begin(json);
    json_member_str(json, "ID", event->id);
    json_member_str(json, "Name", event->name);
    json_key(json, "Payload");
    if (event->payload.size == 0) {
        json_null(json);
    } else {
        struct buf text;
        buf_init(&text, 2 * LIMIT_EVENT_BYTES + 8);
        base64_encode(&text, event->payload.data, event->payload.size);
        json_str(json, arena_strndup(req->arena, text.data, text.count));
        buf_clear(&text);
    }
    json_member_str(json, "NodeFilter", event->node_filter);
    json_member_str(json, "ServiceFilter", event->service_filter);
    json_member_str(json, "TagFilter", event->tag_filter);
    json_member_u64(json, "Version", 1);
    json_member_u64(json, "LTime", event->ltime);
    json_object_end(json);
}

void finish_event_fire(const struct http_request *req, struct backend_call *call,
                       struct http_response *res) {
    struct json json;
    struct backend_event event = {.name = call->fire.name,
                                  .node_filter = call->fire.node,
                                  .service_filter = call->fire.service,
                                  .tag_filter = call->fire.tag,
                                  .payload = call->fire.payload};
    memcpy(event.id, call->made_id, sizeof event.id);
    http_response_json(res, req, &json);
    encode_event(&json, req, &event);
    http_response_json_end(res, req);
}

/* ---- GET /v1/event/list ---- */

void handle_event_list(const struct http_request *req, struct http_response *res) {
    const struct backend_events *events = req->backend->events;
    const char *name = str_or_empty(http_request_param(req, "name"));
    uint64_t index = 1;
    struct json json;
    http_response_json(res, req, &json);
    json_array_begin(&json);
    for (uint32_t i = 0; events != NULL && i < events->count; i++) {
        if (*name == '\0' || strcmp(events->v[i]->name, name) == 0) {
            encode_event(&json, req, events->v[i]);
            index = events->v[i]->index;
        }
    }
    json_array_end(&json);
    http_response_json_end(res, req);
    http_response_header(res, HTTP_INDEX,
                         arena_format(req->arena, "%llu", (unsigned long long)index));
}
