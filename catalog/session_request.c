/* The request that makes a session (contract, kv 2.2). */
#include <string.h>

#include "base/duration.h"
#include "base/limits.h"
#include "catalog/definition_parts.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct service_check {
    const char *id, *name_space;
};

struct session_input {
    const char *dc, *name, *node, *behavior, *ttl;
    int64_t lock_delay_ns;
    struct str_list checks, node_checks;
    struct decode_objects service_checks;
};

static const struct decode_field service_check_fields[] = {
    DECODE_FIELD(struct service_check, id, "ID", DECODE_STR),
    DECODE_FIELD(struct service_check, name_space, "Namespace", DECODE_STR),
};

static const struct decode_spec service_check_spec = {"ServiceCheck", sizeof(struct service_check),
                                                      service_check_fields,
                                                      COUNT(service_check_fields), true};

#define FIELD(member, name_, kind_) DECODE_FIELD(struct session_input, member, name_, kind_)

static const struct decode_field session_fields[] = {
    FIELD(dc, "Datacenter", DECODE_STR),
    FIELD(name, "Name", DECODE_STR),
    FIELD(node, "Node", DECODE_STR),
    FIELD(behavior, "Behavior", DECODE_STR),
    FIELD(ttl, "TTL", DECODE_STR),
    FIELD(lock_delay_ns, "LockDelay", DECODE_DURATION),
    FIELD(checks, "Checks", DECODE_STR_LIST),
    FIELD(node_checks, "NodeChecks", DECODE_STR_LIST),
    {.name = "ServiceChecks",
     .kind = DECODE_OBJECTS,
     .spec = &service_check_spec,
     .offset = offsetof(struct session_input, service_checks)},
};

static const struct decode_spec session_spec = {"SessionRequest", sizeof(struct session_input),
                                                session_fields, COUNT(session_fields), true};

static struct str_list take_service_checks(const struct decode_objects *from, struct arena *arena) {
    const struct service_check *checks = from->v;
    const char **ids = arena_alloc(arena, (from->count + 1) * sizeof *ids);
    for (uint32_t i = 0; i < from->count; i++) {
        ids[i] = str_or_empty(checks[i].id);
    }
    return (struct str_list){ids, from->count};
}

/* Numbers this small are meant as seconds. */
static int64_t lock_delay(int64_t ns) {
    return ns > 0 && ns < 1000 ? ns * DURATION_S : ns > 0 ? ns : 0;
}

/* The rules of the contract's check lists, in its order. */
static void settle_checks(const struct session_input *in, struct catalog_session *out) {
    bool plain = in->checks.count == 1 && strcmp(in->checks.v[0], CATALOG_AGENT_CHECK) == 0;
    out->node_checks = in->node_checks;
    out->node_checks_present = in->node_checks.v != NULL;
    if (in->checks.count == 0) {
        out->node_checks.count = 0;
        out->node_checks_present = true;
    } else if (!plain && in->node_checks.count > 0) {
        out->checks = in->checks;
    }
}

static enum err judge_ttl(struct catalog_session *session, int64_t ttl_min_ns,
                          struct err_text *text) {
    if (*session->ttl == '\0') {
        return ERR_OK;
    }
    struct err_text reason = {""};
    int64_t ns = 0, most = (int64_t)LIMIT_SESSION_TTL_MAX_S * DURATION_S;
    if (duration_parse(session->ttl, &ns, &reason) != ERR_OK) {
        return err_set(text, ERR_REFUSED, "Session TTL '%.64s' invalid: %.200s", session->ttl,
                       reason.s);
    }
    if (ns != 0 && (ns < ttl_min_ns || ns > most)) {
        char low[DURATION_TEXT_BYTES], high[DURATION_TEXT_BYTES];
        duration_format(ttl_min_ns, low);
        duration_format(most, high);
        return err_set(text, ERR_REFUSED, "Invalid Session TTL '%lld', must be between [%s=%s]",
                       (long long)ns, low, high);
    }
    session->ttl_ns = ns;
    return ERR_OK;
}

static bool fits(const struct str_list *list) {
    bool fit = list->count <= LIMIT_SESSION_CHECKS;
    for (uint32_t i = 0; fit && i < list->count; i++) {
        fit = strlen(list->v[i]) <= LIMIT_NAME_BYTES;
    }
    return fit;
}

static enum err judge(const struct catalog_session *session, struct err_text *text) {
    if (*session->node == '\0') {
        return err_set(text, ERR_REFUSED, "Must provide Node");
    }
    if (strcmp(session->behavior, "release") != 0 && strcmp(session->behavior, "delete") != 0) {
        return err_set(text, ERR_REFUSED, "Invalid Behavior setting '%.64s'", session->behavior);
    }
    if (!fits(&session->checks) || !fits(&session->node_checks) ||
        !fits(&session->service_checks) || strlen(session->name) > LIMIT_NAME_BYTES ||
        strlen(session->node) > LIMIT_NAME_BYTES) {
        return err_set(text, ERR_REFUSED,
                       "a session watches up to %d checks of a kind, and names are limited to %d "
                       "bytes",
                       LIMIT_SESSION_CHECKS, LIMIT_NAME_BYTES);
    }
    return ERR_OK;
}

enum err definition_parse_session(const char *json, size_t size, const char *node,
                                  int64_t ttl_min_ns, struct arena *arena,
                                  struct catalog_session *ret_session, const char **ret_dc,
                                  struct err_text *text) {
    const char **usual = arena_alloc(arena, sizeof *usual);
    *usual = CATALOG_AGENT_CHECK;
    struct session_input in = {.node = node,
                               .lock_delay_ns = 15 * DURATION_S,
                               .checks = {usual, 1},
                               .node_checks = {usual, 1}};
    if (size > 0 &&
        decode_json(&session_spec, DECODE_BODY, json, size, arena, &in, text) != ERR_OK) {
        return definition_decode_failed(text);
    }
    struct catalog_session out = {.id = "",
                                  .name = str_or_empty(in.name),
                                  .node = str_or_empty(in.node),
                                  .behavior =
                                      *str_or_empty(in.behavior) != '\0' ? in.behavior : "release",
                                  .ttl = str_or_empty(in.ttl),
                                  .lock_delay_ns = lock_delay(in.lock_delay_ns),
                                  .service_checks = take_service_checks(&in.service_checks, arena),
                                  .service_checks_present = in.service_checks.v != NULL};
    settle_checks(&in, &out);
    enum err err = judge(&out, text);
    if (err == ERR_OK) {
        err = judge_ttl(&out, ttl_min_ns, text);
    }
    *ret_session = out;
    *ret_dc = str_or_empty(in.dc);
    return err;
}
