/* Who belongs to this agent's pools, and what operators do to them (contract 10.4, 10.5, 17.3). */
#include <string.h>

#include "base/decode.h"
#include "http/handlers.h"

struct filter_member handle_member(const struct backend_member *member) {
    return (struct filter_member){
        .name = member->name,
        .address = member->ip,
        .port = member->port,
        .tags = member->tags,
        .status = member->status,
        .protocol_min = 1,
        .protocol_max = 5,
        .protocol_current = 2,
        .delegate_min = 2,
        .delegate_max = 5,
        .delegate_current = 4,
    };
}

void encode_member(struct json *json, const struct filter_member *member) {
    json_object_begin(json);
    json_member_str(json, "Name", member->name);
    json_member_str(json, "Addr", member->address);
    json_member_u64(json, "Port", member->port);
    json_member_map(json, "Tags", &member->tags);
    json_member_u64(json, "Status", member->status);
    json_member_u64(json, "ProtocolMin", member->protocol_min);
    json_member_u64(json, "ProtocolMax", member->protocol_max);
    json_member_u64(json, "ProtocolCur", member->protocol_current);
    json_member_u64(json, "DelegateMin", member->delegate_min);
    json_member_u64(json, "DelegateMax", member->delegate_max);
    json_member_u64(json, "DelegateCur", member->delegate_current);
    json_object_end(json);
}

static bool refuse_segment(const struct http_request *req, bool wan, struct http_response *res) {
    const char *segment = str_or_empty(http_request_param(req, "segment"));
    bool named = *segment != '\0' && strcmp(segment, "_all") != 0;
    if (wan && named) {
        http_response_text(res, 400, "Cannot provide a segment with wan=true");
    } else if (named) {
        http_response_text(res, 500,
                           "Network segments are not supported in this version of Consul");
    }
    return named;
}

void handle_agent_members(const struct http_request *req, struct http_response *res) {
    bool wan = *str_or_empty(http_request_param(req, "wan")) != '\0';
    struct json json;
    if (refuse_segment(req, wan, res)) {
        return;
    }
    http_response_json(res, req, &json);
    const struct backend_pool *pool = wan ? req->backend->wan : req->backend->lan;
    if (pool == NULL) {
        json_null(&json);
        http_response_json_end(res, req);
        return;
    }
    json_array_begin(&json);
    for (uint32_t i = 0; i < pool->count; i++) {
        struct filter_member member = handle_member(&pool->members[i]);
        if (filter_keeps(req->filter, &member)) {
            encode_member(&json, &member);
        }
    }
    json_array_end(&json);
    http_response_json_end(res, req);
}

bool handle_agent_join(const struct http_request *req, struct backend_call *call,
                       struct http_response *res) {
    (void)res;
    call->kind = BACKEND_JOIN;
    call->join.address = req->rest;
    call->join.wan = *str_or_empty(http_request_param(req, "wan")) != '\0';
    return true;
}

bool handle_agent_force_leave(const struct http_request *req, struct backend_call *call,
                              struct http_response *res) {
    (void)res;
    call->kind = BACKEND_FORCE_LEAVE;
    call->force_leave.name = req->rest;
    call->force_leave.wan = http_request_param(req, "wan") != NULL;
    call->force_leave.prune = http_request_param(req, "prune") != NULL;
    return true;
}

/* ---- keys ---- */

/* False: an answer is set. relay-factor has no effect: members are asked directly. */
static bool judge_keyring(const struct http_request *req, bool list, struct backend_call *call,
                          struct http_response *res) {
    const char *relay = str_or_empty(http_request_param(req, "relay-factor"));
    const char *local = str_or_empty(http_request_param(req, "local-only"));
    uint64_t factor = 0;
    bool local_only = false;
    if (*relay != '\0' && !str_parse_u64(relay, &factor)) {
        http_response_text(res, 400,
                           "Error parsing relay factor: strconv.Atoi: parsing \"%.64s\": invalid "
                           "syntax",
                           relay);
        return false;
    }
    if (factor > 5) {
        http_response_text(res, 400, "Invalid relay-factor: Relay factor must be in range: [0, 5]");
        return false;
    }
    if (*local != '\0' && !str_parse_bool(local, &local_only)) {
        http_response_text(res, 400,
                           "Error parsing local-only: strconv.ParseBool: parsing \"%.64s\": "
                           "invalid syntax",
                           local);
        return false;
    }
    if (local_only && !list) {
        http_response_text(
            res, 400, "Invalid use of local-only: local-only can only be set for list requests");
        return false;
    }
    call->kind = BACKEND_KEYRING;
    call->keyring.local_only = local_only;
    call->keyring.key = "";
    return true;
}

bool handle_keyring_list(const struct http_request *req, struct backend_call *call,
                         struct http_response *res) {
    call->keyring.action = BACKEND_KEYS_LIST;
    return judge_keyring(req, true, call, res);
}

void finish_json(const struct http_request *req, struct backend_call *call,
                 struct http_response *res) {
    struct json json;
    const char *text = arena_strndup(req->arena, call->answer, call->answer_size);
    http_response_json(res, req, &json);
    json_raw(&json, text);
    http_response_json_end(res, req);
}

struct key_body {
    const char *key;
};

static const struct decode_field key_fields[] = {
    DECODE_FIELD(struct key_body, key, "Key", DECODE_STR)};
static const struct decode_spec key_spec = {"keyringArgs", sizeof(struct key_body), key_fields, 1,
                                            true};

static bool change_keys(const struct http_request *req, struct backend_call *call,
                        struct http_response *res, enum backend_keys_action action) {
    struct key_body body = {""};
    if (!judge_keyring(req, false, call, res)) {
        return false;
    }
    if (decode_json(&key_spec, DECODE_BODY, req->body, req->body_size, req->arena, &body,
                    &call->text) != ERR_OK) {
        http_response_text(res, 400, "Request decode failed: %s", call->text.s);
        return false;
    }
    call->keyring.action = action;
    call->keyring.key = body.key;
    return true;
}

bool handle_keyring_install(const struct http_request *req, struct backend_call *call,
                            struct http_response *res) {
    return change_keys(req, call, res, BACKEND_KEYS_INSTALL);
}

bool handle_keyring_use(const struct http_request *req, struct backend_call *call,
                        struct http_response *res) {
    return change_keys(req, call, res, BACKEND_KEYS_USE);
}

bool handle_keyring_remove(const struct http_request *req, struct backend_call *call,
                           struct http_response *res) {
    return change_keys(req, call, res, BACKEND_KEYS_REMOVE);
}
