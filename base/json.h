/* A streaming JSON writer, the one encoder of the program. Its text is that of Go's encoding/json
 * (contract, bodies): `<` `>` `&` and U+2028/2029 escaped, invalid UTF-8 replaced by U+FFFD. */
#ifndef BASE_JSON_H
#define BASE_JSON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/str.h"

struct json {
    struct buf *out; /* borrowed; a full buffer shows in out->failed */
    bool pretty;     /* 4 spaces a level */
    bool open;       /* the innermost object or array has no member yet */
    bool after_key;
    unsigned depth;
};

void json_init(struct json *json, struct buf *out, bool pretty);
void json_object_begin(struct json *json);
void json_object_end(struct json *json);
void json_array_begin(struct json *json);
void json_array_end(struct json *json);
void json_key(struct json *json, const char *key);
void json_str(struct json *json, const char *s);
/* Bytes as a string of base64. */
void json_base64(struct json *json, const void *data, size_t size);
void json_u64(struct json *json, uint64_t value);
void json_i64(struct json *json, int64_t value);
/* The shortest text that reads back as value, as Go writes it; null when it is not finite. */
void json_f64(struct json *json, double value);
void json_bool(struct json *json, bool value);
void json_null(struct json *json);
/* One complete compact JSON value. It is indented anew when the writer is pretty. */
void json_raw(struct json *json, const char *text);

/* Key and value in one call. */
void json_member_str(struct json *json, const char *key, const char *value);
void json_member_u64(struct json *json, const char *key, uint64_t value);
void json_member_bool(struct json *json, const char *key, bool value);
void json_member_list(struct json *json, const char *key, const struct str_list *list); /* [] */
/* null when the map is empty and not present. */
void json_member_map(struct json *json, const char *key, const struct str_map *map);

#endif
