#include "base/decode.h"

#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/duration.h"

#define PATH_BYTES 256
#define UNKNOWN_TEXT_BYTES (ERR_TEXT_BYTES - 64)
#define REPORT_BYTES (1024 * 1024)

struct decoder {
    enum decode_dialect dialect;
    struct arena *arena;
    struct err_text *text;
    struct buf unknown; /* DECODE_CONFIG: one line a key */
    unsigned unknown_count;
};

struct place { /* where we are, for error texts */
    const struct decode_spec *spec;
    const char *field;
    const char *path; /* dotted, with indexes */
};

static enum err decode_object(struct decoder *d, const struct decode_spec *spec, json_t *value,
                              const char *path, void *out);

static const char *json_type_name(const json_t *value) {
    static const char *const names[] = {"object", "array", "string", "number",
                                        "number", "bool",  "bool",   "null"};
    return names[json_typeof(value)];
}

static enum err wrong_type(struct decoder *d, const struct place *at, const json_t *value,
                           const char *go_type) {
    if (d->dialect == DECODE_CONFIG) {
        return err_set(
            d->text, ERR_INVALID,
            "1 error(s) decoding:\n\n* '%s' expected type '%s', got unconvertible type '%s'",
            at->path, go_type, json_type_name(value));
    }
    return err_set(d->text, ERR_INVALID,
                   "json: cannot unmarshal %s into Go struct field %s.%s of type %s",
                   json_type_name(value), at->spec->type, at->field, go_type);
}

static enum err decode_str(struct decoder *d, const struct place *at, json_t *value,
                           const char **out) {
    if (!json_is_string(value)) {
        return wrong_type(d, at, value, "string");
    }
    *out = arena_strdup(d->arena, json_string_value(value));
    return ERR_OK;
}

static enum err decode_int(struct decoder *d, const struct place *at, const struct decode_field *f,
                           json_t *value, int64_t *out) {
    int64_t number;
    if (json_is_integer(value)) {
        number = json_integer_value(value);
    } else if (json_is_real(value) &&
               (d->dialect == DECODE_CONFIG ||
                json_real_value(value) == trunc(json_real_value(value))) &&
               fabs(json_real_value(value)) < 9e18) {
        number = (int64_t)json_real_value(value);
    } else {
        return wrong_type(d, at, value, "int");
    }
    if (f->max > f->min && (number < f->min || number > f->max)) {
        return err_set(d->text, ERR_INVALID, "%s: %lld is not within %lld to %lld",
                       d->dialect == DECODE_CONFIG ? at->path : at->field, (long long)number,
                       (long long)f->min, (long long)f->max);
    }
    *out = number;
    return ERR_OK;
}

static enum err decode_duration(struct decoder *d, const struct place *at, json_t *value,
                                int64_t *out) {
    if (d->dialect == DECODE_BODY && json_is_number(value) &&
        fabs(json_number_value(value)) < 9.2e18) {
        *out = json_is_integer(value) ? json_integer_value(value) : (int64_t)json_real_value(value);
        return ERR_OK;
    }
    if (!json_is_string(value)) {
        return wrong_type(d, at, value, d->dialect == DECODE_BODY ? "time.Duration" : "string");
    }
    const char *s = json_string_value(value);
    if (d->dialect == DECODE_BODY && *s == '\0') {
        *out = 0;
        return ERR_OK;
    }
    enum err err = duration_parse(s, out, d->text);
    if (err != ERR_OK && d->dialect == DECODE_CONFIG) {
        err_prefix(d->text, "%s: invalid duration: \"%.64s\"", at->path, s);
    }
    return err;
}

static enum err decode_str_list(struct decoder *d, const struct place *at, json_t *value,
                                struct str_list *out) {
    bool config = d->dialect == DECODE_CONFIG, single = config && json_is_string(value);
    if (!json_is_array(value) && !single) {
        return wrong_type(d, at, value, "[]string");
    }
    size_t before = config ? out->count : 0, count = single ? 1 : json_array_size(value);
    const char **v = arena_alloc(d->arena, (before + count + 1) * sizeof *v);
    if (before > 0) {
        memcpy(v, out->v, before * sizeof *v);
    }
    for (size_t i = 0; i < count; i++) {
        json_t *item = single ? value : json_array_get(value, i);
        if (json_is_null(item) && !config) {
            v[i] = "";
            continue;
        }
        enum err err = decode_str(d, at, item, &v[before + i]);
        if (err != ERR_OK) {
            return err;
        }
    }
    *out = (struct str_list){.v = v, .count = (uint32_t)(before + count)};
    return ERR_OK;
}

static int compare_keys(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Keys of an object, sorted bytewise; they live in the arena. */
static const char **sorted_keys(struct decoder *d, json_t *object, size_t *ret_count) {
    size_t count = json_object_size(object), i = 0;
    const char **keys = arena_alloc(d->arena, (count ? count : 1) * sizeof *keys);
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        keys[i++] = arena_strdup(d->arena, key);
    }
    qsort(keys, count, sizeof *keys, compare_keys);
    *ret_count = count;
    return keys;
}

/* Lays the sorted pairs of `over` over those of `out`. */
static void overlay(struct arena *arena, struct str_map *out, const struct str_map *over) {
    struct str_pair *v = arena_alloc(arena, (out->count + over->count + 1) * sizeof *v);
    uint32_t a = 0, b = 0, count = 0;
    while (a < out->count || b < over->count) {
        int order = a == out->count    ? 1
                    : b == over->count ? -1
                                       : strcmp(out->v[a].key, over->v[b].key);
        v[count++] = order < 0 ? out->v[a] : over->v[b];
        a += order <= 0;
        b += order >= 0;
    }
    *out = (struct str_map){.v = v, .count = count, .present = true};
}

static enum err decode_str_map(struct decoder *d, const struct place *at, json_t *value,
                               struct str_map *out) {
    if (!json_is_object(value)) {
        return wrong_type(d, at, value, "map[string]string");
    }
    size_t count;
    const char **keys = sorted_keys(d, value, &count);
    struct str_pair *v = arena_alloc(d->arena, (count ? count : 1) * sizeof *v);
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_object_get(value, keys[i]);
        v[i] = (struct str_pair){.key = keys[i], .value = ""};
        enum err err = json_is_null(item) ? ERR_OK : decode_str(d, at, item, &v[i].value);
        if (err != ERR_OK) {
            return err;
        }
    }
    struct str_map map = {.v = v, .count = (uint32_t)count, .present = true};
    if (d->dialect == DECODE_CONFIG && out->count > 0) {
        overlay(d->arena, out, &map);
    } else {
        *out = map;
    }
    return ERR_OK;
}

static enum err decode_multimap(struct decoder *d, const struct place *at, json_t *value,
                                struct str_multimap *out) {
    if (!json_is_object(value)) {
        return wrong_type(d, at, value, "map[string][]string");
    }
    size_t count;
    const char **keys = sorted_keys(d, value, &count);
    struct str_list_pair *v = arena_alloc(d->arena, (count ? count : 1) * sizeof *v);
    for (size_t i = 0; i < count; i++) {
        json_t *item = json_object_get(value, keys[i]);
        v[i].key = keys[i];
        enum err err = json_is_null(item) ? ERR_OK : decode_str_list(d, at, item, &v[i].values);
        if (err != ERR_OK) {
            return err;
        }
    }
    *out = (struct str_multimap){.v = v, .count = (uint32_t)count};
    return ERR_OK;
}

static enum err decode_objects(struct decoder *d, const struct place *at,
                               const struct decode_spec *spec, json_t *value,
                               struct decode_objects *out) {
    bool single = d->dialect == DECODE_CONFIG && json_is_object(value);
    if (!json_is_array(value) && !single) {
        return wrong_type(d, at, value, "slice");
    }
    size_t count = single ? 1 : json_array_size(value);
    uint32_t kept = d->dialect == DECODE_CONFIG ? out->count : 0;
    char *v = arena_alloc(d->arena, (kept + count + 1) * spec->size);
    if (kept > 0) {
        memcpy(v, out->v, kept * spec->size);
    }
    for (size_t i = 0; i < count; i++) {
        json_t *item = single ? value : json_array_get(value, i);
        if (json_is_null(item)) {
            continue;
        }
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s[%zu]", at->path, i);
        enum err err = decode_object(d, spec, item, path, v + kept++ * spec->size);
        if (err != ERR_OK) {
            return err;
        }
    }
    *out = (struct decode_objects){.v = v, .count = kept};
    return ERR_OK;
}

/* Numbers of 64 bits without sign: jansson knows those with sign only, so larger ones come as
 * marked strings from mark_large. */
#define LARGE '\x01'

static bool large_number(const json_t *value, uint64_t *ret_value) {
    const char *s = json_string_value(value);
    return s != NULL && *s == LARGE && str_parse_u64(s + 1, ret_value);
}

/* A copy in which each whole number that needs more than 63 bits is a marked string. */
static const char *mark_large(struct arena *arena, const char *from, size_t size,
                              size_t *ret_size) {
    char *out = arena_alloc(arena, 2 * size + 16), *to = out;
    bool in_string = false;
    for (size_t i = 0; i < size;) {
        size_t digits = 0;
        while (!in_string && i + digits < size && from[i + digits] >= '0' &&
               from[i + digits] <= '9') {
            digits++;
        }
        bool whole = digits >= 19 && (i == 0 || strchr("-.eE+", from[i - 1]) == NULL) &&
                     (i + digits == size || strchr(".eE", from[i + digits]) == NULL);
        if (digits == 0) {
            bool escape = in_string && from[i] == '\\' && i + 1 < size;
            in_string ^= from[i] == '"';
            memcpy(to, from + i, escape ? 2 : 1);
            to += escape ? 2 : 1;
            i += escape ? 2 : 1;
        } else {
            to += whole ? sprintf(to, "\"\\u0001%.*s\"", (int)digits, from + i)
                        : sprintf(to, "%.*s", (int)digits, from + i);
            i += digits;
        }
    }
    *ret_size = (size_t)(to - out);
    return out;
}

/* DECODE_CONFIG: blocks come as lists of one. */
static json_t *only_element(const struct decoder *d, json_t *value) {
    return d->dialect == DECODE_CONFIG && json_is_array(value) && json_array_size(value) == 1
               ? json_array_get(value, 0)
               : value;
}

static enum err decode_object_map(struct decoder *d, const struct place *at,
                                  const struct decode_spec *spec, json_t *value,
                                  struct decode_objects *out) {
    if (!json_is_object(value)) {
        return wrong_type(d, at, value, "map");
    }
    size_t count;
    const char **keys = sorted_keys(d, value, &count);
    char *v = arena_alloc(d->arena, (count ? count : 1) * spec->size);
    for (size_t i = 0; i < count; i++) {
        char path[PATH_BYTES];
        snprintf(path, sizeof path, "%s.%s", at->path, keys[i]);
        json_t *item = only_element(d, json_object_get(value, keys[i]));
        enum err err = decode_object(d, spec, item, path, v + i * spec->size);
        if (err != ERR_OK) {
            return err;
        }
    }
    *out = (struct decode_objects){.v = v, .keys = keys, .count = (uint32_t)count};
    return ERR_OK;
}

static enum err decode_value(struct decoder *d, const struct place *at,
                             const struct decode_field *f, json_t *value, void *out) {
    if (f->kind != DECODE_STR_LIST && f->kind != DECODE_OBJECTS && f->kind != DECODE_RAW) {
        value = only_element(d, value);
    }
    switch (f->kind) {
    case DECODE_STR:
        return decode_str(d, at, value, out);
    case DECODE_BOOL:
    case DECODE_BOOL_SET:
        if (!json_is_boolean(value)) {
            return wrong_type(d, at, value, "bool");
        }
        if (f->kind == DECODE_BOOL) {
            *(bool *)out = json_is_true(value);
        } else {
            *(int8_t *)out = json_is_true(value) ? 1 : -1;
        }
        return ERR_OK;
    case DECODE_INT:
        return decode_int(d, at, f, value, out);
    case DECODE_U64:
        if (large_number(value, out)) {
            return ERR_OK;
        }
        if (!json_is_integer(value) || json_integer_value(value) < 0) {
            return wrong_type(d, at, value, "uint64");
        }
        *(uint64_t *)out = (uint64_t)json_integer_value(value);
        return ERR_OK;
    case DECODE_FLOAT:
        if (!json_is_number(value)) {
            return wrong_type(d, at, value, "float64");
        }
        *(double *)out = json_number_value(value);
        return ERR_OK;
    case DECODE_DURATION:
        return decode_duration(d, at, value, out);
    case DECODE_STR_LIST:
        return decode_str_list(d, at, value, out);
    case DECODE_STR_MAP:
        return decode_str_map(d, at, value, out);
    case DECODE_MULTIMAP:
        return decode_multimap(d, at, value, out);
    case DECODE_OBJECT: {
        void *object = arena_alloc(d->arena, f->spec->size);
        *(void **)out = object;
        return decode_object(d, f->spec, value, at->path, object);
    }
    case DECODE_INLINE:
        return decode_object(d, f->spec, value, at->path, out);
    case DECODE_OBJECTS:
        return decode_objects(d, at, f->spec, value, out);
    case DECODE_OBJECT_MAP:
        return decode_object_map(d, at, f->spec, value, out);
    case DECODE_RAW: {
        char *dump = json_dumps(value, JSON_COMPACT | JSON_ENCODE_ANY | JSON_SORT_KEYS);
        *(const char **)out = dump != NULL ? arena_strdup(d->arena, dump) : "null";
        free(dump);
        return f->spec != NULL ? decode_object(d, f->spec, only_element(d, value), at->path,
                                               arena_alloc(d->arena, f->spec->size))
                               : ERR_OK;
    }
    case DECODE_IGNORE:
        break;
    }
    return ERR_OK;
}

/* The field that a key names, and whether by its alias. */
static const struct decode_field *find_field(const struct decode_spec *spec, const char *key,
                                             bool *ret_alias) {
    for (int fold = 0; fold < 2; fold++) {
        for (size_t i = 0; i < spec->count; i++) {
            const struct decode_field *f = &spec->fields[i];
            bool (*same)(const char *, const char *) = str_equal_fold;
            if (fold ? same(f->name, key) : strcmp(f->name, key) == 0) {
                *ret_alias = false;
                return f;
            }
            if (f->alias != NULL && (fold ? same(f->alias, key) : strcmp(f->alias, key) == 0)) {
                *ret_alias = true;
                return f;
            }
        }
    }
    return NULL;
}

static bool zero_value(const json_t *value) {
    return json_is_null(value) || json_is_false(value) ||
           (json_is_string(value) && json_string_length(value) == 0) ||
           (json_is_number(value) && json_number_value(value) == 0);
}

/* Whether the other spelling of the same field, which is there too, wins. */
static bool yields(const struct decoder *d, json_t *object, const struct decode_field *f,
                   bool alias, const json_t *member) {
    if (f->alias == NULL) {
        return false;
    }
    if (d->dialect == DECODE_CONFIG) {
        const json_t *name = json_object_get(object, f->name);
        return alias && name != NULL && !json_is_null(name);
    }
    return !alias && zero_value(member) && json_object_get(object, f->alias) != NULL;
}

static enum err unknown_key(struct decoder *d, const struct decode_spec *spec, const char *key,
                            const char *path) {
    if (spec->lenient) {
        return ERR_OK;
    }
    if (d->dialect == DECODE_BODY) {
        return err_set(d->text, ERR_UNKNOWN_KEY, "json: unknown field \"%.128s\"", key);
    }
    buf_append_format(&d->unknown, "\t* invalid config key %s\n", path);
    d->unknown_count++;
    return ERR_OK;
}

static enum err decode_object(struct decoder *d, const struct decode_spec *spec, json_t *value,
                              const char *path, void *out) {
    if (!json_is_object(value)) {
        struct place at = {spec, spec->type, path};
        return d->dialect == DECODE_CONFIG
                   ? wrong_type(d, &at, value, "map")
                   : err_set(d->text, ERR_INVALID,
                             "json: cannot unmarshal %s into Go value of type %s",
                             json_type_name(value), spec->type);
    }
    /* Aliases first, so that a name given beside its alias wins unless it is zero. */
    for (int aliases = 1; aliases >= 0; aliases--) {
        const char *key;
        json_t *member;
        json_object_foreach(value, key, member) {
            char here[PATH_BYTES];
            snprintf(here, sizeof here, "%s%s%s", path, *path != '\0' ? "." : "", key);
            bool alias = false;
            const struct decode_field *f = find_field(spec, key, &alias);
            enum err err = ERR_OK;
            if (f != NULL && json_is_null(member) && f->kind == DECODE_STR_LIST &&
                d->dialect == DECODE_BODY) {
                *(struct str_list *)(void *)((char *)out + f->offset) = (struct str_list){0};
            } else if (f != NULL && json_is_null(member) && f->null_is_zero) {
                *(int64_t *)(void *)((char *)out + f->offset) = 0;
            }
            if (f == NULL) {
                err = aliases ? unknown_key(d, spec, key, here) : ERR_OK;
            } else if (alias == (bool)aliases && !json_is_null(member) &&
                       !yields(d, value, f, alias, member)) {
                struct place at = {spec, f->name, here};
                err = decode_value(d, &at, f, member, (char *)out + f->offset);
            }
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return ERR_OK;
}

static void syntax_error(struct decoder *d, const json_error_t *error, const char *json,
                         size_t size) {
    size_t blank = 0;
    while (blank < size && strchr(" \t\r\n", json[blank]) != NULL && json[blank] != '\0') {
        blank++;
    }
    if (d->dialect == DECODE_BODY && blank == size) {
        err_set(d->text, ERR_INVALID, "EOF");
    } else if (d->dialect == DECODE_BODY &&
               json_error_code(error) == json_error_premature_end_of_input) {
        err_set(d->text, ERR_INVALID, "unexpected EOF");
    } else {
        err_set(d->text, ERR_INVALID, "line %d, column %d: %s", error->line, error->column,
                error->text);
    }
}

static void unknown_text(struct decoder *d, struct buf *out) {
    while (d->unknown.count > 0 && d->unknown.data[d->unknown.count - 1] == '\n') {
        d->unknown.count--;
    }
    buf_append_format(out, "%u error%s occurred:\n", d->unknown_count,
                      d->unknown_count == 1 ? "" : "s");
    buf_append(out, str_or_empty(d->unknown.data), d->unknown.count);
    buf_append_byte(out, '\0');
}

/* A copy in which each byte that does not belong is U+FFFD. */
static const char *replace_invalid_utf8(struct arena *arena, const char *from, size_t size,
                                        size_t *ret_size) {
    const unsigned char *at = (const unsigned char *)arena_strndup(arena, from, size);
    char *out = arena_alloc(arena, 3 * size + 1), *to = out;
    for (const unsigned char *end = at + size; at < end;) {
        size_t length = *at == '\0' ? 1 : str_utf8_length(at);
        memcpy(to, length > 0 ? (const char *)at : "\xef\xbf\xbd", length > 0 ? length : 3);
        to += length > 0 ? length : 3;
        at += length > 0 ? length : 1;
    }
    *ret_size = (size_t)(to - out);
    return out;
}

static json_t *load(struct decoder *d, const char *json, size_t size) {
    json_error_t error;
    size_t flags = JSON_DECODE_ANY | (d->dialect == DECODE_BODY ? JSON_DISABLE_EOF_CHECK : 0);
    json_t *root = json_loadb(json, size, flags, &error);
    if (root == NULL && d->dialect == DECODE_BODY &&
        json_error_code(&error) == json_error_invalid_utf8) {
        json = replace_invalid_utf8(d->arena, json, size, &size); /* as Go does */
        root = json_loadb(json, size, flags, &error);
    }
    if (root == NULL && d->dialect == DECODE_BODY &&
        json_error_code(&error) == json_error_numeric_overflow) {
        json = mark_large(d->arena, json, size, &size);
        root = json_loadb(json, size, flags, &error);
    }
    if (root == NULL) {
        syntax_error(d, &error, json, size);
    }
    return root;
}

static enum err decode(struct decoder *d, const struct decode_spec *spec, const char *json,
                       size_t size, void *out) {
    json_t *root = load(d, json, size);
    if (root == NULL) {
        return ERR_INVALID;
    }
    enum err err = json_is_null(root) && d->dialect == DECODE_BODY
                       ? ERR_OK
                       : decode_object(d, spec, root, "", out);
    json_decref(root);
    return err == ERR_OK && d->unknown_count > 0 ? ERR_UNKNOWN_KEY : err;
}

enum err decode_json(const struct decode_spec *spec, enum decode_dialect dialect, const char *json,
                     size_t size, struct arena *arena, void *out, struct err_text *text) {
    struct decoder d = {.dialect = dialect, .arena = arena, .text = text};
    buf_init(&d.unknown, UNKNOWN_TEXT_BYTES);
    enum err err = decode(&d, spec, json, size, out);
    if (d.unknown_count > 0 && err == ERR_UNKNOWN_KEY) {
        struct buf all;
        buf_init(&all, ERR_TEXT_BYTES);
        unknown_text(&d, &all);
        err_set(text, err, "%s", str_or_empty(all.data));
        buf_clear(&all);
    }
    buf_clear(&d.unknown);
    return err;
}

enum err decode_json_list(const struct decode_spec *spec, const char *json, size_t size,
                          struct arena *arena, struct decode_objects *out, struct err_text *text) {
    struct decoder d = {.dialect = DECODE_BODY, .arena = arena, .text = text};
    json_t *root = load(&d, json, size);
    if (root == NULL) {
        return ERR_INVALID;
    }
    enum err err = ERR_OK;
    *out = (struct decode_objects){0};
    if (json_is_array(root)) {
        struct place at = {spec, "", ""};
        err = decode_objects(&d, &at, spec, root, out);
    } else if (!json_is_null(root)) {
        err = err_set(text, ERR_INVALID, "json: cannot unmarshal %s into Go value of type %ss",
                      json_type_name(root), spec->type);
    }
    json_decref(root);
    return err;
}

enum err decode_config(const struct decode_spec *spec, const char *json, size_t size,
                       struct arena *arena, void *out, const char **ret_error) {
    struct err_text text = {""};
    struct decoder d = {.dialect = DECODE_CONFIG, .arena = arena, .text = &text};
    buf_init(&d.unknown, REPORT_BYTES);
    enum err err = decode(&d, spec, json, size, out);
    if (d.unknown_count > 0 && err == ERR_UNKNOWN_KEY) {
        struct buf all;
        buf_init(&all, REPORT_BYTES + ERR_TEXT_BYTES);
        unknown_text(&d, &all);
        *ret_error = arena_strdup(arena, str_or_empty(all.data));
        buf_clear(&all);
    } else if (err != ERR_OK) {
        *ret_error = arena_strdup(arena, text.s);
    }
    buf_clear(&d.unknown);
    return err;
}
