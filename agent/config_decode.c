#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config_table.h"
#include "base/assert.h"
#include "base/buf.h"
#include "base/duration.h"

void config_warn(struct config_load *load, const char *format, ...) {
    char line[1024];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    struct str_list *all = &load->config.warnings;
    const char **v = arena_alloc(load->arena, (all->count + 1) * sizeof *v);
    if (all->count > 0) {
        memcpy(v, all->v, all->count * sizeof *v);
    }
    v[all->count] = arena_strdup(load->arena, line);
    *all = (struct str_list){.v = v, .count = all->count + 1};
}

enum err config_fail(struct config_load *load, const char *format, ...) {
    char line[2048];
    va_list args;
    va_start(args, format);
    vsnprintf(line, sizeof line, format, args);
    va_end(args);
    load->error = arena_strdup(load->arena, line);
    return ERR_INVALID;
}

/* ---- specs from the table ---- */

static bool in_slot(const struct config_key *key) {
    return key->offset == CONFIG_SLOT;
}

static size_t place_of(const struct config_key *key) {
    return in_slot(key) ? offsetof(struct config_load, slots) +
                              (size_t)(key - config_keys) * sizeof(union config_slot)
                        : key->offset;
}

/* Slots must show whether they were set. */
static enum decode_kind kind_of(const struct config_key *key) {
    return in_slot(key) && key->kind == DECODE_BOOL ? DECODE_BOOL_SET : key->kind;
}

static bool has_field(const struct decode_field *fields, size_t count, const char *name,
                      size_t size) {
    for (size_t i = 0; i < count; i++) {
        if (strlen(fields[i].name) == size && memcmp(fields[i].name, name, size) == 0) {
            return true;
        }
    }
    return false;
}

/* The object of all keys that begin with prefix; its depth is that of the table. */
static struct decode_spec build_spec(struct arena *arena, const char *prefix) {
    size_t prefix_size = strlen(prefix), count = 0, most = 0;
    for (size_t i = 0; i < config_key_count; i++) {
        most += strncmp(config_keys[i].path, prefix, prefix_size) == 0;
    }
    struct decode_field *fields = arena_alloc(arena, most * sizeof *fields);
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (strncmp(key->path, prefix, prefix_size) != 0) {
            continue;
        }
        const char *name = key->path + prefix_size, *dot = strchr(name, '.');
        size_t size = dot != NULL ? (size_t)(dot - name) : strlen(name);
        if (has_field(fields, count, name, size)) {
            continue;
        }
        struct decode_field *field = &fields[count++];
        field->name = arena_strndup(arena, name, size);
        if (dot != NULL) {
            struct decode_spec *spec = arena_alloc(arena, sizeof *spec);
            *spec = build_spec(arena, arena_format(arena, "%s%s.", prefix, field->name));
            field->kind = DECODE_INLINE;
            field->spec = spec;
        } else {
            field->kind = kind_of(key);
            field->offset = place_of(key);
            field->spec = key->spec;
            field->alias = strcmp(key->path, "read_replica") == 0 ? "non_voting_server" : NULL;
        }
    }
    return (struct decode_spec){"config", sizeof(struct config_load), fields, count, false};
}

/* ---- values ---- */

const struct config_key *config_key_find(const char *path) {
    for (size_t i = 0; i < config_key_count; i++) {
        if (strcmp(config_keys[i].path, path) == 0) {
            return &config_keys[i];
        }
    }
    return NULL;
}

void *config_key_place(struct config_load *load, const struct config_key *key) {
    return (char *)load + place_of(key);
}

/* Keeps the map sorted; the key's old value is replaced. */
static bool add_pair(struct str_map *map, const char *text, struct arena *arena) {
    const char *colon = strchr(text, ':');
    const char *key = arena_strndup(arena, text, colon != NULL ? (size_t)(colon - text) : 0);
    struct str_pair *v = arena_alloc(arena, (map->count + 1) * sizeof *v);
    uint32_t count = 0, at = 0;
    if (colon == NULL) {
        return false;
    }
    while (at < map->count && strcmp(map->v[at].key, key) < 0) {
        v[count++] = map->v[at++];
    }
    v[count++] = (struct str_pair){key, colon + 1};
    at += at < map->count && strcmp(map->v[at].key, key) == 0;
    while (at < map->count) {
        v[count++] = map->v[at++];
    }
    *map = (struct str_map){.v = v, .count = count, .present = true};
    return true;
}

static void add_item(struct str_list *list, const char *text, struct arena *arena) {
    const char **v = arena_alloc(arena, (list->count + 1) * sizeof *v);
    if (list->count > 0) {
        memcpy(v, list->v, list->count * sizeof *v);
    }
    v[list->count] = arena_strdup(arena, text);
    *list = (struct str_list){.v = v, .count = list->count + 1};
}

static bool parse_int(const char *text, int64_t *ret_value) {
    char *end;
    long long value = strtoll(text, &end, 10);
    *ret_value = value;
    return *text != '\0' && *end == '\0' && value != LLONG_MAX && value != LLONG_MIN;
}

static bool set_value(enum decode_kind kind, void *at, const char *text, struct arena *arena) {
    bool flag;
    char *end;
    switch (kind) {
    case DECODE_STR:
        *(const char **)at = arena_strdup(arena, text);
        return true;
    case DECODE_BOOL:
        return str_parse_bool(text, at);
    case DECODE_BOOL_SET:
        if (!str_parse_bool(text, &flag)) {
            return false;
        }
        *(int8_t *)at = flag ? 1 : -1;
        return true;
    case DECODE_INT:
        return parse_int(text, at);
    case DECODE_FLOAT:
        *(double *)at = strtod(text, &end);
        return *text != '\0' && *end == '\0';
    case DECODE_DURATION:
        return duration_parse(text, at, NULL) == ERR_OK;
    case DECODE_STR_LIST:
        add_item(at, text, arena);
        return true;
    case DECODE_STR_MAP:
        return add_pair(at, text, arena);
    default:
        return false;
    }
}

bool config_key_set(struct config_load *load, const struct config_key *key, const char *text) {
    return set_value(kind_of(key), config_key_place(load, key), text, load->arena);
}

static void unset(enum decode_kind kind, union config_slot *slot) {
    *slot = (union config_slot){.str = NULL};
    if (kind == DECODE_INT || kind == DECODE_DURATION) {
        slot->number = CONFIG_DURATION_UNSET;
    } else if (kind == DECODE_FLOAT) {
        slot->real = (double)NAN;
    }
}

bool config_key_is_set(struct config_load *load, const struct config_key *key) {
    const union config_slot *slot = config_key_place(load, key);
    switch (kind_of(key)) {
    case DECODE_BOOL_SET:
        return slot->flag != 0;
    case DECODE_INT:
    case DECODE_DURATION:
        return slot->number != CONFIG_DURATION_UNSET;
    case DECODE_FLOAT:
        return !isnan(slot->real);
    case DECODE_STR_LIST:
        return slot->list.count > 0;
    case DECODE_STR_MAP:
        return slot->map.count > 0;
    default:
        return slot->str != NULL;
    }
}

static bool is_empty_json(const char *json) {
    static const char *const empty[] = {"", "null", "\"\"", "{}", "[]", "[{}]", "false"};
    for (size_t i = 0; i < sizeof empty / sizeof empty[0]; i++) {
        if (strcmp(json, empty[i]) == 0) {
            return true;
        }
    }
    return false;
}

bool config_key_differs(struct config_load *load, const struct config_key *key) {
    const union config_slot *slot = config_key_place(load, key);
    union config_slot initial;
    enum decode_kind kind = kind_of(key);
    if (!config_key_is_set(load, key)) {
        return false;
    }
    if (kind == DECODE_RAW) {
        return !is_empty_json(slot->str);
    }
    if (kind == DECODE_STR) {
        return strcmp(slot->str, key->initial) != 0 && *slot->str != '\0';
    }
    unset(kind, &initial);
    if (!set_value(kind, &initial, key->initial, load->arena)) {
        return true; /* it has no default */
    }
    return kind == DECODE_BOOL_SET                         ? slot->flag != initial.flag
           : kind == DECODE_INT || kind == DECODE_DURATION ? slot->number != initial.number
           : kind == DECODE_FLOAT ? !(slot->real <= initial.real && slot->real >= initial.real)
                                  : true;
}

/* ---- loads ---- */

void config_load_init(struct config_load *load, struct arena *arena) {
    memset(load, 0, sizeof *load);
    load->arena = arena;
    load->spec = build_spec(arena, "");
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (in_slot(key)) {
            unset(kind_of(key), &load->slots[i]);
        } else if (key->kind == DECODE_STR || *key->initial != '\0') {
            bool set = config_key_set(load, key, key->initial);
            ASSERT(set);
        }
    }
}

static void move_single(struct arena *arena, const struct decode_spec *spec, const void **single,
                        struct decode_objects *all) {
    if (*single == NULL) {
        return;
    }
    char *v = arena_alloc(arena, (all->count + 1) * spec->size);
    if (all->count > 0) {
        memcpy(v, all->v, all->count * spec->size);
    }
    memcpy(v + all->count * spec->size, *single, spec->size);
    *all = (struct decode_objects){.v = v, .count = all->count + 1};
    *single = NULL;
}

enum err config_decode(struct config_load *load, const char *json, size_t size) {
    struct config *c = &load->config;
    enum err err = decode_config(&load->spec, json, size, load->arena, load, &load->error);
    move_single(load->arena, &definition_file_service_spec, &c->service_input, &c->service_inputs);
    move_single(load->arena, &definition_file_check_spec, &c->check_input, &c->check_inputs);
    return err;
}

/* ---- what has no effect ---- */

static void set_slot(struct config_load *load, const char *path, const char *text) {
    bool set = config_key_set(load, config_key_find(path), text);
    ASSERT(set);
}

static void rename_key(struct config_load *load, const struct config_key *key) {
    const struct config_key *target = config_key_find(key->note);
    ASSERT(target != NULL && target->kind == key->kind);
    config_warn(load, "The '%s' field is deprecated. Use the '%s' field instead.", key->path,
                target->path);
    union config_slot *from = config_key_place(load, key);
    if (!in_slot(target) && target->kind == DECODE_STR_LIST) {
        struct str_list *to = config_key_place(load, target);
        const char **v = arena_alloc(load->arena, (to->count + from->list.count + 1) * sizeof *v);
        for (uint32_t i = 0; i < to->count + from->list.count; i++) {
            v[i] = i < to->count ? to->v[i] : from->list.v[i - to->count];
        }
        *to = (struct str_list){.v = v, .count = to->count + from->list.count};
    } else if (!in_slot(target)) {
        ASSERT(target->kind == DECODE_STR);
        const char **to = config_key_place(load, target);
        *to = **to == '\0' ? from->str : *to;
    } else if (!config_key_is_set(load, target)) {
        *(union config_slot *)config_key_place(load, target) = *from;
    }
    if (strcmp(key->path, "acl_datacenter") == 0 && *from->str != '\0') {
        set_slot(load, "acl.enabled", "true");
    } else if (strcmp(key->path, "acl_replication_token") == 0 && *from->str != '\0') {
        set_slot(load, "acl.enable_token_replication", "true");
    }
}

void config_rename(struct config_load *load) {
    const struct config_key *legacy = config_key_find("acl_enforce_version_8");
    if (config_key_is_set(load, legacy)) {
        config_warn(load, "config key \"%s\" is deprecated and should be removed", legacy->path);
    }
    for (size_t i = 0; i < config_key_count; i++) {
        if (config_keys[i].effect == CONFIG_RENAMED && config_key_is_set(load, &config_keys[i])) {
            rename_key(load, &config_keys[i]);
        }
    }
}

enum err config_settle(struct config_load *load) {
    for (size_t i = 0; i < config_key_count; i++) {
        const struct config_key *key = &config_keys[i];
        if (!in_slot(key) || !config_key_differs(load, key)) {
            continue;
        }
        switch (key->effect) {
        case CONFIG_LATER:
            config_warn(load, "The '%s' field has no effect in this version.", key->path);
            break;
        case CONFIG_IGNORED:
            config_warn(load, "The '%s' field is ignored.", key->path);
            break;
        case CONFIG_ENTERPRISE:
            config_warn(load, "\"%s\" is a Consul Enterprise configuration and will have no effect",
                        strcmp(key->path, "read_replica") == 0
                            ? "read_replica (or the deprecated non_voting_server)"
                            : key->path);
            break;
        case CONFIG_REFUSED:
            return config_fail(load, "%s: %s; remove the key", key->path, key->note);
        case CONFIG_USED:
        case CONFIG_INTERNAL:
        case CONFIG_RENAMED:
            break;
        }
    }
    return ERR_OK;
}
