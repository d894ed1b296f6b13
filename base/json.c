#include "base/json.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/base64.h"

void json_init(struct json *json, struct buf *out, bool pretty) {
    *json = (struct json){.out = out, .pretty = pretty};
}

static void new_line(struct json *json) {
    buf_append_byte(json->out, '\n');
    for (unsigned i = 0; i < json->depth; i++) {
        buf_append(json->out, "    ", 4);
    }
}

static void before_value(struct json *json) {
    if (json->after_key) {
        json->after_key = false;
        return;
    }
    if (json->depth == 0) {
        return;
    }
    if (!json->open) {
        buf_append_byte(json->out, ',');
    }
    json->open = false;
    if (json->pretty) {
        new_line(json);
    }
}

static void begin(struct json *json, char bracket) {
    before_value(json);
    buf_append_byte(json->out, bracket);
    json->depth++;
    json->open = true;
}

static void end(struct json *json, char bracket) {
    ASSERT(json->depth > 0 && !json->after_key);
    json->depth--;
    if (json->pretty && !json->open) {
        new_line(json);
    }
    json->open = false;
    buf_append_byte(json->out, bracket);
}

void json_object_begin(struct json *json) {
    begin(json, '{');
}

void json_object_end(struct json *json) {
    end(json, '}');
}

void json_array_begin(struct json *json) {
    begin(json, '[');
}

void json_array_end(struct json *json) {
    end(json, ']');
}

/* 1 for bytes that can't stand as they are. */
static const unsigned char special[256] = {
    [0 ... 0x1f] = 1, ['"'] = 1, ['\\'] = 1, ['<'] = 1, ['>'] = 1, ['&'] = 1, [0x80 ... 0xff] = 1,
};

static const unsigned char *write_special(struct buf *out, const unsigned char *s) {
    static const char short_names[] = "\"\"\\\\\bb\ff\nn\rr\tt";
    for (size_t i = 0; i + 1 < sizeof short_names; i += 2) {
        if (*s == (unsigned char)short_names[i]) {
            buf_append_byte(out, '\\');
            buf_append_byte(out, short_names[i + 1]);
            return s + 1;
        }
    }
    if (*s < 0x80) {
        buf_append_format(out, "\\u%04x", *s);
        return s + 1;
    }
    size_t length = str_utf8_length(s);
    if (length == 0) {
        buf_append_str(out, "\\ufffd");
        return s + 1;
    }
    if (length == 3 && s[0] == 0xe2 && s[1] == 0x80 && (s[2] == 0xa8 || s[2] == 0xa9)) {
        buf_append_str(out, s[2] == 0xa8 ? "\\u2028" : "\\u2029");
    } else {
        buf_append(out, s, length);
    }
    return s + length;
}

static void write_str(struct buf *out, const char *text) {
    const unsigned char *s = (const unsigned char *)text;
    buf_append_byte(out, '"');
    for (;;) {
        const unsigned char *start = s;
        while (!special[*s]) {
            s++;
        }
        if (s > start) {
            buf_append(out, start, (size_t)(s - start));
        }
        if (*s == '\0') {
            break;
        }
        s = write_special(out, s);
    }
    buf_append_byte(out, '"');
}

void json_key(struct json *json, const char *key) {
    before_value(json);
    write_str(json->out, key);
    buf_append(json->out, ": ", json->pretty ? 2 : 1);
    json->after_key = true;
}

void json_str(struct json *json, const char *s) {
    before_value(json);
    write_str(json->out, s);
}

void json_base64(struct json *json, const void *data, size_t size) {
    before_value(json);
    buf_append_byte(json->out, '"');
    base64_encode(json->out, data, size);
    buf_append_byte(json->out, '"');
}

void json_u64(struct json *json, uint64_t value) {
    before_value(json);
    buf_append_u64(json->out, value);
}

void json_i64(struct json *json, int64_t value) {
    before_value(json);
    if (value < 0) {
        buf_append_byte(json->out, '-');
    }
    buf_append_u64(json->out, value < 0 ? 0 - (uint64_t)value : (uint64_t)value);
}

void json_f64(struct json *json, double value) {
    char text[400];
    if (!isfinite(value)) {
        json_null(json);
        return;
    }
    int digits = 14;
    do {
        snprintf(text, sizeof text, "%.*g", ++digits, value);
    } while (digits < 17 && strtod(text, NULL) != value);
    char *mark = strchr(text, 'e');
    if (mark != NULL && fabs(value) >= 1e-6 && fabs(value) < 1e21) {
        /* Go changes to exponents later than C does. */
        int after = digits - 1 - atoi(mark + 1);
        size_t size = (size_t)snprintf(text, sizeof text, "%.*f", after > 0 ? after : 0, value);
        while (after > 0 && text[size - 1] == '0') {
            text[--size] = '\0';
        }
    } else if (mark != NULL && mark[2] == '0') {
        memmove(mark + 2, mark + 3, strlen(mark + 3) + 1); /* e-09 is e-9 there */
    }
    json_raw(json, text);
}

void json_bool(struct json *json, bool value) {
    before_value(json);
    buf_append_str(json->out, value ? "true" : "false");
}

void json_null(struct json *json) {
    before_value(json);
    buf_append(json->out, "null", 4);
}

static const char *string_end(const char *at) {
    for (at++; *at != '"'; at++) {
        if (*at == '\\') {
            at++;
        }
        ASSERT(*at != '\0');
    }
    return at + 1;
}

void json_raw(struct json *json, const char *text) {
    before_value(json);
    if (!json->pretty) {
        buf_append_str(json->out, text);
        return;
    }
    for (const char *at = text; *at != '\0';) {
        const char *next = *at == '"' ? string_end(at) : at + 1;
        bool closing = *at == '}' || *at == ']';
        if (closing) {
            json->depth--;
            if (at > text && at[-1] != '{' && at[-1] != '[') {
                new_line(json);
            }
        }
        buf_append(json->out, at, (size_t)(next - at));
        if (*at == '{' || *at == '[') {
            json->depth++;
            if (*next != '}' && *next != ']') {
                new_line(json);
            }
        } else if (*at == ',') {
            new_line(json);
        } else if (*at == ':') {
            buf_append_byte(json->out, ' ');
        }
        at = next;
    }
}

void json_member_str(struct json *json, const char *key, const char *value) {
    json_key(json, key);
    json_str(json, value);
}

void json_member_u64(struct json *json, const char *key, uint64_t value) {
    json_key(json, key);
    json_u64(json, value);
}

void json_member_bool(struct json *json, const char *key, bool value) {
    json_key(json, key);
    json_bool(json, value);
}

void json_member_list(struct json *json, const char *key, const struct str_list *list) {
    json_key(json, key);
    json_array_begin(json);
    for (uint32_t i = 0; i < list->count; i++) {
        json_str(json, list->v[i]);
    }
    json_array_end(json);
}

void json_member_map(struct json *json, const char *key, const struct str_map *map) {
    json_key(json, key);
    if (map->count == 0 && !map->present) {
        json_null(json);
        return;
    }
    json_object_begin(json);
    for (uint32_t i = 0; i < map->count; i++) {
        json_member_str(json, map->v[i].key, map->v[i].value);
    }
    json_object_end(json);
}
