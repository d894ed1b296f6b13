/* Strict decoding of JSON objects into structs, driven by constant tables: the one parser for
 * request bodies, configuration files and definitions. The only user of jansson.
 *
 * Two dialects. DECODE_BODY follows Go's encoding/json as the HTTP API's clients know it: names
 * match in any letter case (exact preferred), null empties a list of strings and keeps the default
 * of all else, the first unknown field ends it with `json: unknown field "X"`. DECODE_CONFIG
 * follows the configuration files: every unknown key is collected and named by its dotted path,
 * types are strict, a one-element list is taken for its element, and durations are strings only. It
 * merges: a list is appended to what *out holds, a map of strings laid over it. */
#ifndef BASE_DECODE_H
#define BASE_DECODE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct str_list_pair {
    const char *key;
    struct str_list values;
};

struct str_multimap {
    struct str_list_pair *v; /* sorted by key */
    uint32_t count;
};

enum decode_kind {
    DECODE_STR,        /* const char *; "" by default is the caller's business */
    DECODE_BOOL,       /* bool */
    DECODE_BOOL_SET,   /* int8_t: -1 false, 1 true, untouched when absent */
    DECODE_INT,        /* int64_t, within [min, max] of the field when max > min */
    DECODE_U64,        /* uint64_t */
    DECODE_FLOAT,      /* double */
    DECODE_DURATION,   /* int64_t nanoseconds: Go text, or (body only) a number of nanoseconds */
    DECODE_STR_LIST,   /* struct str_list */
    DECODE_STR_MAP,    /* struct str_map */
    DECODE_MULTIMAP,   /* struct str_multimap */
    DECODE_OBJECT,     /* pointer to a struct of spec, NULL when absent */
    DECODE_INLINE,     /* a struct of spec, embedded; its fields keep their defaults when absent */
    DECODE_OBJECTS,    /* struct decode_objects: a list of structs of spec */
    DECODE_OBJECT_MAP, /* struct decode_objects with keys, sorted by key */
    DECODE_RAW,        /* const char *: the value as compact JSON text; NULL when absent. A spec,
                        * if there is one, judges its keys and types. */
    DECODE_IGNORE      /* any value, dropped */
};

struct decode_objects {
    void *v;           /* array of the spec's structs */
    const char **keys; /* DECODE_OBJECT_MAP only */
    uint32_t count;
};

struct decode_spec;

struct decode_field {
    const char *name;
    enum decode_kind kind;
    size_t offset;
    const char *alias; /* other spelling, or NULL; the name wins when both are set */
    const struct decode_spec *spec;
    int64_t min, max;
    bool null_is_zero; /* DECODE_DURATION of a body: null is 0, not the default */
};

struct decode_spec {
    const char *type; /* Go's name of the type, for error texts */
    size_t size;      /* of the struct */
    const struct decode_field *fields;
    size_t count;
    bool lenient; /* unknown fields are dropped */
};

#define DECODE_FIELD(type, member, name_, kind_)                                                   \
    { .name = (name_), .kind = (kind_), .offset = offsetof(type, member) }

enum decode_dialect { DECODE_BODY, DECODE_CONFIG };

/* Fills *out (already holding the defaults); strings and lists live in the arena.
 * DECODE_BODY: what follows the first value is ignored, as Go's stream decoder does.
 * Errors: ERR_INVALID, ERR_UNKNOWN_KEY, with Go's sentence in text; *out is then half-filled. */
enum err decode_json(const struct decode_spec *spec, enum decode_dialect dialect, const char *json,
                     size_t size, struct arena *arena, void *out, struct err_text *text);
/* DECODE_BODY of a list of objects. */
enum err decode_json_list(const struct decode_spec *spec, const char *json, size_t size,
                          struct arena *arena, struct decode_objects *out, struct err_text *text);
/* DECODE_CONFIG with an error text of any length, in the arena. */
enum err decode_config(const struct decode_spec *spec, const char *json, size_t size,
                       struct arena *arena, void *out, const char **ret_error);

#endif
