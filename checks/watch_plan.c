#include "checks/watch_plan.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/decode.h"
#include "base/hash.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/uuid.h"

#define RETRY_S 5 /* after a failure, times the square of how many came in a row */
#define RETRY_MAX_S 180
/* A byte may become three, as in `%3c`; and path, names, index and wait. */
#define TARGET_BYTES (3 * LIMIT_WATCH_PARAMETERS_BYTES + 1024)

/* ---- types ---- */

enum type { KEY, KEYPREFIX, SERVICES, NODES, SERVICE, CHECKS, EVENT, TYPES };

/* Parameters as bits. */
enum {
    HAS_KEY = 1,
    HAS_PREFIX = 2,
    HAS_SERVICE = 4,
    HAS_STATE = 8,
    HAS_NAME = 16,
    HAS_FILTER = 32,
    HAS_TAG = 64,
    HAS_PASSING = 128,
    HAS_STALE = 256
};

static const struct {
    const char *name;
    unsigned takes;
} types[TYPES] = {
    [KEY] = {"key", HAS_KEY | HAS_STALE},
    [KEYPREFIX] = {"keyprefix", HAS_PREFIX | HAS_STALE},
    [SERVICES] = {"services", HAS_FILTER | HAS_STALE},
    [NODES] = {"nodes", HAS_FILTER | HAS_STALE},
    [SERVICE] = {"service", HAS_SERVICE | HAS_TAG | HAS_PASSING | HAS_FILTER | HAS_STALE},
    [CHECKS] = {"checks", HAS_SERVICE | HAS_STATE | HAS_FILTER | HAS_STALE},
    [EVENT] = {"event", HAS_NAME},
};

static enum type find_type(const char *name) {
    enum type type = KEY;
    while (type < TYPES && strcmp(types[type].name, name) != 0) {
        type++;
    }
    return type;
}

static unsigned given(const struct watch_plan *plan) {
    return (*plan->key != '\0' ? HAS_KEY : 0u) | (*plan->prefix != '\0' ? HAS_PREFIX : 0u) |
           (*plan->service != '\0' ? HAS_SERVICE : 0u) | (*plan->state != '\0' ? HAS_STATE : 0u) |
           (*plan->name != '\0' ? HAS_NAME : 0u) | (*plan->filter != '\0' ? HAS_FILTER : 0u) |
           (plan->tags.count > 0 ? HAS_TAG : 0u) | (plan->passing_only ? HAS_PASSING : 0u) |
           (plan->stale ? HAS_STALE : 0u);
}

static void name_parameters(unsigned bits, struct err_text *text) {
    static const char *const names[] = {"key",    "prefix", "service",     "state", "name",
                                        "filter", "tag",    "passingonly", "stale"};
    struct buf list;
    buf_init(&list, 256);
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        if ((bits >> i & 1) != 0) {
            buf_append_format(&list, "%s%s", list.count > 0 ? " " : "", names[i]);
        }
    }
    err_set(text, ERR_INVALID, "Invalid parameters: [%.*s]", (int)list.count, list.data);
    buf_clear(&list);
}

/* Of what goes into the question. */
static size_t parameters_bytes(const struct watch_plan *plan) {
    size_t bytes = strlen(plan->key) + strlen(plan->prefix) + strlen(plan->service) +
                   strlen(plan->state) + strlen(plan->name) + strlen(plan->filter) +
                   strlen(plan->datacenter);
    for (uint32_t i = 0; i < plan->tags.count; i++) {
        bytes += strlen(plan->tags.v[i]) + strlen("&tag=");
    }
    return bytes;
}

enum err watch_plan_judge(struct watch_plan *plan, struct err_text *text) {
    const char **all[] = {&plan->type,    &plan->key,        &plan->prefix,
                          &plan->service, &plan->state,      &plan->name,
                          &plan->filter,  &plan->datacenter, &plan->token};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        *all[i] = str_or_empty(*all[i]);
    }
    enum type type = find_type(plan->type);
    if (*plan->type == '\0') {
        return err_set(text, ERR_INVALID, "Watch type must be specified");
    }
    if (type == TYPES) {
        return err_set(text, ERR_INVALID, "Unsupported watch type: %.64s", plan->type);
    }
    if (type == KEY && *plan->key == '\0') {
        return err_set(text, ERR_INVALID, "Must specify a single key to watch");
    }
    if (type == KEYPREFIX && *plan->prefix == '\0') {
        return err_set(text, ERR_INVALID, "Must specify a single prefix to watch");
    }
    if (type == SERVICE && *plan->service == '\0') {
        return err_set(text, ERR_INVALID, "Must specify a single service to watch");
    }
    if (type == CHECKS && *plan->service != '\0' && *plan->state != '\0') {
        return err_set(text, ERR_INVALID, "Cannot specify service and state");
    }
    if ((given(plan) & ~types[type].takes) != 0) {
        name_parameters(given(plan) & ~types[type].takes, text);
        return ERR_INVALID;
    }
    if (parameters_bytes(plan) > LIMIT_WATCH_PARAMETERS_BYTES) {
        return err_set(text, ERR_INVALID, "the parameters are too long for a watch");
    }
    return ERR_OK;
}

unsigned watch_retry_s(unsigned count) {
    return count > 6 ? RETRY_MAX_S : RETRY_S * count * count;
}

/* ---- the question ---- */

static void append_escaped(struct buf *out, const char *text, bool slashes) {
    static const char hex[] = "0123456789ABCDEF";
    for (; *text != '\0'; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
            strchr("-._~", c) != NULL || (c == '/' && slashes)) {
            buf_append_byte(out, (char)c);
        } else {
            const char escape[] = {'%', hex[c >> 4], hex[c & 15]};
            buf_append(out, escape, sizeof escape);
        }
    }
}

static void append_path(struct buf *out, const struct watch_plan *plan) {
    switch (find_type(plan->type)) {
    case KEY:
    case KEYPREFIX:
        buf_append_str(out, "/v1/kv/");
        append_escaped(out, *plan->key != '\0' ? plan->key : plan->prefix, true);
        break;
    case SERVICES:
        buf_append_str(out, "/v1/catalog/services");
        break;
    case NODES:
        buf_append_str(out, "/v1/catalog/nodes");
        break;
    case SERVICE:
        buf_append_str(out, "/v1/health/service/");
        append_escaped(out, plan->service, false);
        break;
    case CHECKS:
        buf_append_str(out, *plan->service != '\0' ? "/v1/health/checks/" : "/v1/health/state/");
        append_escaped(out,
                       *plan->service != '\0' ? plan->service
                       : *plan->state != '\0' ? plan->state
                                              : "any",
                       false);
        break;
    case EVENT:
        buf_append_str(out, "/v1/event/list");
        break;
    case TYPES:
        break;
    }
}

static void append_query(struct buf *out, char *mark, const char *name, const char *value) {
    buf_append_format(out, "%c%s", *mark, name);
    *mark = '&';
    if (value != NULL) {
        buf_append_byte(out, '=');
        append_escaped(out, value, true);
    }
}

const char *watch_plan_target(const struct watch_plan *plan, const struct watch_seen *seen,
                              unsigned wait_s, struct arena *arena) {
    char mark = '?';
    struct buf out;
    buf_init(&out, TARGET_BYTES);
    append_path(&out, plan);
    if (find_type(plan->type) == KEYPREFIX) {
        append_query(&out, &mark, "recurse", NULL);
    }
    for (uint32_t i = 0; i < plan->tags.count; i++) {
        append_query(&out, &mark, "tag", plan->tags.v[i]);
    }
    if (plan->passing_only) {
        append_query(&out, &mark, "passing", NULL);
    }
    const char *const texts[][2] = {
        {"filter", plan->filter}, {"name", plan->name}, {"dc", plan->datacenter}};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        if (*texts[i][1] != '\0') {
            append_query(&out, &mark, texts[i][0], texts[i][1]);
        }
    }
    if (plan->stale) {
        append_query(&out, &mark, "stale", NULL);
    }
    if (seen->index > 0) {
        append_query(&out, &mark, "index",
                     arena_format(arena, "%llu", (unsigned long long)seen->index));
        append_query(&out, &mark, "wait", arena_format(arena, "%us", wait_s));
    }
    ASSERT(!out.failed); /* judged */
    const char *target = arena_strndup(arena, out.data, out.count);
    buf_clear(&out);
    return target;
}

/* ---- the answer ---- */

/* Well-formed JSON without the blanks between its tokens. */
static const char *compact(const char *body, size_t size, struct arena *arena) {
    char *out = arena_alloc(arena, size + 1), *to = out;
    bool inside = false;
    for (size_t i = 0; i < size; i++) {
        char c = body[i];
        if (inside && c == '\\' && i + 1 < size) {
            *to++ = c;
            c = body[++i];
        } else if (c == '"') {
            inside = !inside;
        }
        if (inside || strchr(" \t\r\n", c) == NULL || c == '\0') {
            *to++ = c;
        }
    }
    *to = '\0';
    return out;
}

struct row {
    const char *key, *session, *value; /* value: base64 */
    uint64_t flags, lock_index, create_index, modify_index;
};

static const struct decode_field row_fields[] = {
    DECODE_FIELD(struct row, key, "Key", DECODE_STR),
    DECODE_FIELD(struct row, session, "Session", DECODE_STR),
    DECODE_FIELD(struct row, value, "Value", DECODE_STR),
    DECODE_FIELD(struct row, flags, "Flags", DECODE_U64),
    DECODE_FIELD(struct row, lock_index, "LockIndex", DECODE_U64),
    DECODE_FIELD(struct row, create_index, "CreateIndex", DECODE_U64),
    DECODE_FIELD(struct row, modify_index, "ModifyIndex", DECODE_U64),
};
static const struct decode_spec row_spec = {"KVPair", sizeof(struct row), row_fields,
                                            sizeof row_fields / sizeof row_fields[0], true};

static void put_row(struct json *json, const struct row *row) {
    json_object_begin(json);
    json_member_str(json, "Key", str_or_empty(row->key));
    json_member_u64(json, "CreateIndex", row->create_index);
    json_member_u64(json, "ModifyIndex", row->modify_index);
    json_member_u64(json, "LockIndex", row->lock_index);
    json_member_u64(json, "Flags", row->flags);
    json_key(json, "Value");
    if (*str_or_empty(row->value) != '\0') {
        json_str(json, row->value);
    } else {
        json_null(json);
    }
    json_member_str(json, "Session", str_or_empty(row->session));
    json_object_end(json);
}

/* Keys in the order of members that handlers know. */
static enum err put_rows(const char *body, bool one, struct arena *arena, const char **ret_payload,
                         struct err_text *text) {
    struct decode_objects rows = {0};
    enum err err = decode_json_list(&row_spec, body, strlen(body), arena, &rows, text);
    if (err != ERR_OK) {
        return err;
    }
    struct buf out;
    struct json json;
    const struct row *row = rows.v;
    buf_init(&out, 8 * LIMIT_WATCH_ANSWER_BYTES);
    json_init(&json, &out, false);
    if (one && rows.count == 0) {
        json_null(&json);
    } else if (one) {
        put_row(&json, row);
    } else {
        json_array_begin(&json);
        for (uint32_t i = 0; i < rows.count; i++) {
            put_row(&json, &row[i]);
        }
        json_array_end(&json);
    }
    err = out.failed ? err_set(text, ERR_TOO_LARGE, "the answer is too large") : ERR_OK;
    *ret_payload = err == ERR_OK ? arena_strndup(arena, out.data, out.count) : NULL;
    buf_clear(&out);
    return err;
}

struct event {
    const char *id;
};
static const struct decode_field event_fields[] = {
    DECODE_FIELD(struct event, id, "ID", DECODE_STR)};
static const struct decode_spec event_spec = {"UserEvent", sizeof(struct event), event_fields, 1,
                                              true};

/* The index of an event (contract 14.2). */
static uint64_t event_index(const char *id) {
    struct uuid uuid;
    uint64_t high = 0, low = 0;
    if (!uuid_parse(id, &uuid)) {
        return 0;
    }
    for (int i = 0; i < 8; i++) {
        high = high << 8 | uuid.bytes[i];
        low = low << 8 | uuid.bytes[8 + i];
    }
    return high ^ low;
}

/* Behind the first `skip` elements of a compact list. */
static const char *skip_elements(const char *list, uint32_t skip) {
    const char *at = list + 1;
    unsigned depth = 0;
    bool inside = false;
    for (; skip > 0 && *at != '\0'; at++) {
        if (inside && *at == '\\') {
            at++;
        } else if (*at == '"') {
            inside = !inside;
        } else if (!inside && (*at == '{' || *at == '[')) {
            depth++;
        } else if (!inside && (*at == '}' || *at == ']')) {
            depth--;
        } else if (!inside && *at == ',' && depth == 0) {
            skip--;
        }
    }
    return at;
}

/* Those younger than the one that was seen last. */
static enum err cut_events(const char *body, uint64_t seen, struct arena *arena,
                           const char **ret_payload, struct err_text *text) {
    struct decode_objects events = {0};
    enum err err = decode_json_list(&event_spec, body, strlen(body), arena, &events, text);
    const struct event *event = events.v;
    uint32_t skip = 0;
    for (uint32_t i = 0; err == ERR_OK && seen != 0 && i < events.count; i++) {
        skip = event_index(str_or_empty(event[i].id)) == seen ? i + 1 : skip;
    }
    *ret_payload = err != ERR_OK          ? NULL
                   : skip == 0            ? body
                   : skip == events.count ? "[]"
                                          : arena_format(arena, "[%s", skip_elements(body, skip));
    return err;
}

static enum err make_payload(enum type type, const struct watch_seen *seen, const char *body,
                             struct arena *arena, const char **ret_payload, struct err_text *text) {
    if (type == KEY || type == KEYPREFIX) {
        return put_rows(body, type == KEY, arena, ret_payload, text);
    }
    if (type == EVENT) {
        return cut_events(body, seen->index, arena, ret_payload, text);
    }
    *ret_payload = body;
    return ERR_OK;
}

enum err watch_plan_take(const struct watch_plan *plan, struct watch_seen *seen, long status,
                         uint64_t index, const char *body, size_t size, struct arena *arena,
                         bool *ret_news, const char **ret_payload, uint64_t *ret_index,
                         struct err_text *text) {
    enum type type = find_type(plan->type);
    bool absent = status == 404 && (type == KEY || type == KEYPREFIX);
    *ret_news = false;
    if (status != 200 && !absent) {
        return err_set(text, ERR_REFUSED, "Unexpected response code: %ld (%.*s)", status,
                       size > 256 ? 256 : (int)size, size > 0 ? body : "");
    }
    const char *payload = NULL;
    enum err err =
        make_payload(type, seen, absent ? "[]" : compact(body, size, arena), arena, &payload, text);
    if (err != ERR_OK) {
        return err;
    }
    bool same_index = seen->any && index == seen->index;
    /* Back: from the start. Those of events have no order. */
    seen->index = index < seen->index && type != EVENT ? 0 : index;
    size_t bytes = strlen(payload);
    uint64_t hash[] = {hash_bytes(1, payload, bytes), hash_bytes(2, payload, bytes)};
    bool same = seen->any && memcmp(hash, seen->hash, sizeof hash) == 0;
    bool empty_event = type == EVENT && strcmp(payload, "[]") == 0 && seen->any;
    if (!same_index && !same && !empty_event) {
        *ret_news = true;
        *ret_payload = payload;
        *ret_index = index;
        memcpy(seen->hash, hash, sizeof hash);
    }
    seen->any = true;
    return ERR_OK;
}
