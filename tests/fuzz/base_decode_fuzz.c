/* Any bytes as JSON for the decoder, in both dialects, into a struct with a field of every kind.
 * What is refused must say why; a value kept as text must read back as the same text. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/decode.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

struct inner {
    const char *address;
    int64_t port;
    const char *raw;
};

struct outer {
    const char *name;
    bool flag;
    int8_t tls;
    int64_t port, any;
    uint64_t index;
    double ratio;
    int64_t wait_ns;
    struct str_list tags;
    struct str_map meta;
    struct str_multimap header;
    struct inner *object;
    struct inner embedded;
    struct decode_objects list, map;
    const char *raw, *judged;
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define INNER(member, name_, kind_) DECODE_FIELD(struct inner, member, name_, kind_)
#define OUTER(member, name_, kind_) DECODE_FIELD(struct outer, member, name_, kind_)
#define NESTED(member, name_, kind_)                                                               \
    {                                                                                              \
        .name = (name_), .kind = (kind_), .offset = offsetof(struct outer, member),                \
        .spec = &inner_spec                                                                        \
    }

static const struct decode_field inner_fields[] = {
    INNER(address, "Address", DECODE_STR),
    INNER(port, "Port", DECODE_INT),
    INNER(raw, "Raw", DECODE_RAW),
};

static const struct decode_spec inner_spec = {"Inner", sizeof(struct inner), inner_fields,
                                              COUNT(inner_fields), false};

static const struct decode_field fields[] = {
    {.name = "Name", .alias = "the_name", .offset = offsetof(struct outer, name)},
    OUTER(flag, "Flag", DECODE_BOOL),
    OUTER(tls, "TLS", DECODE_BOOL_SET),
    {.name = "Port", .kind = DECODE_INT, .offset = offsetof(struct outer, port), .max = 65535},
    OUTER(any, "Any", DECODE_INT),
    OUTER(index, "Index", DECODE_U64),
    OUTER(ratio, "Ratio", DECODE_FLOAT),
    OUTER(wait_ns, "Wait", DECODE_DURATION),
    OUTER(tags, "Tags", DECODE_STR_LIST),
    OUTER(meta, "Meta", DECODE_STR_MAP),
    OUTER(header, "Header", DECODE_MULTIMAP),
    NESTED(object, "Object", DECODE_OBJECT),
    NESTED(embedded, "Embedded", DECODE_INLINE),
    NESTED(list, "List", DECODE_OBJECTS),
    NESTED(map, "Map", DECODE_OBJECT_MAP),
    OUTER(raw, "Raw", DECODE_RAW),
    NESTED(judged, "Judged", DECODE_RAW),
    {.name = "Ignored", .kind = DECODE_IGNORE},
};

static const struct decode_spec specs[] = {
    {"Outer", sizeof(struct outer), fields, COUNT(fields), false},
    {"Outer", sizeof(struct outer), fields, COUNT(fields), true},
};

static size_t touch(const struct outer *out) {
    size_t bytes = str_list_bytes(&out->tags);
    for (uint32_t i = 0; i < out->meta.count; i++) {
        ASSERT(i == 0 || strcmp(out->meta.v[i - 1].key, out->meta.v[i].key) < 0);
        bytes += strlen(out->meta.v[i].value);
    }
    for (uint32_t i = 0; i < out->header.count; i++) {
        ASSERT(i == 0 || strcmp(out->header.v[i - 1].key, out->header.v[i].key) < 0);
        bytes += str_list_bytes(&out->header.v[i].values);
    }
    for (uint32_t i = 0; i < out->map.count; i++) {
        ASSERT(i == 0 || strcmp(out->map.keys[i - 1], out->map.keys[i]) < 0);
    }
    const struct inner *listed = out->list.v;
    for (uint32_t i = 0; i < out->list.count; i++) {
        bytes += strlen(str_or_empty(listed[i].address)) + strlen(str_or_empty(listed[i].raw));
    }
    ASSERT(out->port >= 0 && out->port <= 65535);
    return bytes + strlen(str_or_empty(out->name));
}

static void check_raw(const char *raw, struct arena *arena) {
    struct outer again = {0};
    struct err_text text = {""};
    const char *json = arena_format(arena, "{\"Raw\":%s}", raw);
    ASSERT(decode_json(&specs[0], DECODE_BODY, json, strlen(json), arena, &again, &text) == ERR_OK);
    ASSERT(again.raw != NULL && strcmp(again.raw, raw) == 0);
}

/* The first byte chooses dialect and leniency. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct outer out = {0};
    struct err_text text = {""};
    if (size == 0) {
        return 0;
    }
    enum decode_dialect dialect = data[0] & 1 ? DECODE_CONFIG : DECODE_BODY;
    char *exact = malloc(size); /* not terminated: an overrun shows */
    memcpy(exact, data + 1, size - 1);
    exact = realloc(exact, size > 1 ? size - 1 : 1);
    arena_init(&arena);
    enum err err =
        decode_json(&specs[data[0] >> 1 & 1], dialect, exact, size - 1, &arena, &out, &text);
    if (err == ERR_OK) {
        touch(&out);
        if (out.raw != NULL) {
            check_raw(out.raw, &arena);
        }
    } else {
        ASSERT(err == ERR_INVALID || err == ERR_UNKNOWN_KEY);
        ASSERT(text.s[0] != '\0');
    }
    arena_clear(&arena);
    free(exact);
    return 0;
}
