#include <string.h>

#include "base/duration.h"
#include "base/limits.h"
#include "checks/watchers.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define REQUEST_TIMEOUT_NS (10 * DURATION_S)

#define REQUEST(member, name_, kind_) DECODE_FIELD(struct watch_request, member, name_, kind_)

static const struct decode_field request_fields[] = {
    REQUEST(path, "path", DECODE_STR),
    REQUEST(method, "method", DECODE_STR),
    REQUEST(timeout_ns, "timeout", DECODE_DURATION),
    REQUEST(header, "header", DECODE_MULTIMAP),
    REQUEST(tls_skip_verify, "tls_skip_verify", DECODE_BOOL),
};
static const struct decode_spec request_spec = {"http_handler_config", sizeof(struct watch_request),
                                                request_fields, COUNT(request_fields), false};

#define FIELD(member, name_, kind_) DECODE_FIELD(struct watch_definition, member, name_, kind_)

static const struct decode_field fields[] = {
    FIELD(plan.type, "type", DECODE_STR),
    FIELD(plan.key, "key", DECODE_STR),
    FIELD(plan.prefix, "prefix", DECODE_STR),
    FIELD(plan.service, "service", DECODE_STR),
    FIELD(plan.state, "state", DECODE_STR),
    FIELD(plan.name, "name", DECODE_STR),
    FIELD(plan.filter, "filter", DECODE_STR),
    FIELD(plan.tags, "tag", DECODE_STR_LIST),
    FIELD(plan.passing_only, "passingonly", DECODE_BOOL),
    FIELD(plan.stale, "stale", DECODE_BOOL),
    FIELD(plan.datacenter, "datacenter", DECODE_STR),
    FIELD(plan.token, "token", DECODE_STR),
    FIELD(handler_type, "handler_type", DECODE_STR),
    FIELD(handler, "handler", DECODE_STR),
    FIELD(args, "args", DECODE_STR_LIST),
    {.name = "http_handler_config",
     .kind = DECODE_OBJECT,
     .spec = &request_spec,
     .offset = offsetof(struct watch_definition, request)},
};
const struct decode_spec watch_definition_spec = {"watch", sizeof(struct watch_definition), fields,
                                                  COUNT(fields), false};

static bool has_break(const char *s) {
    return s[strcspn(s, "\r\n")] != '\0';
}

static enum err judge_request(struct watch_request *request, struct err_text *text) {
    request->path = str_or_empty(request->path);
    request->method = *str_or_empty(request->method) != '\0' ? request->method : "POST";
    request->timeout_ns = request->timeout_ns > 0 ? request->timeout_ns : REQUEST_TIMEOUT_NS;
    if (*request->path == '\0') {
        return err_set(text, ERR_INVALID, "Requires 'path' to be set");
    }
    bool broken = has_break(request->method);
    for (uint32_t i = 0; i < request->header.count; i++) {
        const struct str_list_pair *header = &request->header.v[i];
        broken = broken || has_break(header->key);
        for (uint32_t j = 0; j < header->values.count; j++) {
            broken = broken || has_break(header->values.v[j]);
        }
    }
    return broken ? err_set(text, ERR_INVALID,
                            "http_handler_config: a line break in a header or the method")
                  : ERR_OK;
}

static enum err judge_handler(struct watch_definition *definition, struct arena *arena,
                              struct err_text *text) {
    bool http = strcmp(definition->handler_type, "http") == 0;
    if (!http && strcmp(definition->handler_type, "script") != 0) {
        return err_set(text, ERR_INVALID, "Handler type '%.64s' not recognized",
                       definition->handler_type);
    }
    int handlers = (*definition->handler != '\0') + (definition->args.count > 0) +
                   (definition->request != NULL);
    if (handlers > 1) {
        return err_set(text, ERR_INVALID, "Only one watch handler allowed");
    }
    if (handlers == 0 || http != (definition->request != NULL)) {
        return err_set(text, ERR_INVALID, "Must define a watch handler");
    }
    if (http) {
        struct watch_request *request = arena_alloc(arena, sizeof *request);
        *request = *definition->request;
        definition->request = request;
        return judge_request(request, text);
    }
    if (definition->args.count > 0 && *definition->args.v[0] == '\0') {
        return err_set(text, ERR_INVALID, "Must define a watch handler");
    }
    return ERR_OK;
}

enum err watch_definition_judge(struct watch_definition *definition, struct arena *arena,
                                struct err_text *text) {
    const char *type = str_or_empty(definition->plan.type);
    definition->handler = str_or_empty(definition->handler);
    if (*str_or_empty(definition->handler_type) == '\0') {
        definition->handler_type = "script";
    }
    if (strncmp(type, "connect_", 8) == 0 || strcmp(type, "agent_service") == 0) {
        return err_set(text, ERR_INVALID, "Watch type %.64s is not allowed in agent config", type);
    }
    enum err err = watch_plan_judge(&definition->plan, text);
    return err == ERR_OK ? judge_handler(definition, arena, text) : err;
}
