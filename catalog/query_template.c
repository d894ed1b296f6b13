/* Templates of prepared queries (contract, kv 4.4): texts with ${expressions} over the name that is
 * looked up.
 *
 *   text    = { literal | "$${" | "${" sum "}" }
 *   sum     = product { ("+" | "-") product }
 *   product = factor { ("*" | "/" | "%") factor }
 *   factor  = "-" factor | number | '"' text '"' | "(" sum ")" | "match" "(" sum ")" | name
 *
 * Numbers are 64-bit integers; a text that is one counts as one where a number is wanted. */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "catalog/pattern.h"
#include "catalog/query.h"

#define TYPE "name_prefix_match"

/* What a template is rendered for. */
struct render {
    struct arena *arena;
    const char *full, *prefix, *suffix;
    struct str_list groups; /* of the pattern */
    size_t left;            /* bytes that may still come of it */
};

struct parser {
    struct render *render;
    const char *at;
    unsigned depth;
    struct err_text *text; /* the reason alone */
};

struct value {
    bool number;
    int64_t n;
    const char *s;
};

static enum err fail(struct parser *p, const char *what) {
    return err_set(p->text, ERR_REFUSED, "%s", what);
}

static enum err parse_sum(struct parser *p, struct value *ret_value);
static enum err parse_text(struct parser *p, bool quoted, const char **ret_s);

static void skip_blanks(struct parser *p) {
    p->at += strspn(p->at, " \t\r\n");
}

static const char *as_text(struct parser *p, const struct value *value) {
    return value->number ? arena_format(p->render->arena, "%lld", (long long)value->n) : value->s;
}

static enum err as_number(struct parser *p, struct value *value) {
    char *end;
    if (value->number) {
        return ERR_OK;
    }
    size_t sign = *value->s == '-' || *value->s == '+';
    size_t digits = strspn(value->s + sign, "0123456789");
    if (digits == 0 || digits > 18 || value->s[sign + digits] != '\0') {
        return err_set(p->text, ERR_REFUSED, "\"%.64s\" is no number", value->s);
    }
    *value = (struct value){.number = true, .n = strtoll(value->s, &end, 10)};
    return ERR_OK;
}

/* ---- factors ---- */

static enum err parse_number(struct parser *p, struct value *ret_value) {
    size_t digits = strspn(p->at, "0123456789");
    size_t size = digits;
    if (p->at[digits] == '.') { /* of no use but as text */
        size += 1 + strspn(p->at + digits + 1, "0123456789");
        *ret_value = (struct value){.s = arena_strndup(p->render->arena, p->at, size)};
    } else if (digits > 18) {
        return fail(p, "a number of more than 18 digits");
    } else {
        *ret_value = (struct value){.number = true, .n = strtoll(p->at, NULL, 10)};
    }
    p->at += size;
    return ERR_OK;
}

/* Of match(n): the group, "" when there is none. */
static enum err parse_match(struct parser *p, struct value *ret_value) {
    struct value group = {.s = ""};
    const struct str_list *groups = &p->render->groups;
    skip_blanks(p);
    if (*p->at != '(') {
        return fail(p, "match wants a number in parentheses");
    }
    p->at++;
    enum err err = parse_sum(p, &group);
    err = err == ERR_OK ? as_number(p, &group) : err;
    if (err != ERR_OK) {
        return err;
    }
    if (*p->at != ')') {
        return fail(p, "match wants one number, and a closing parenthesis");
    }
    p->at++;
    bool there = group.n >= 0 && group.n < (int64_t)groups->count;
    *ret_value = (struct value){.s = there ? groups->v[group.n] : ""};
    return ERR_OK;
}

static enum err parse_name(struct parser *p, struct value *ret_value) {
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.";
    const struct render *render = p->render;
    size_t size = strspn(p->at, letters);
    const char *name = arena_strndup(render->arena, p->at, size);
    if (size == 0) {
        return *p->at == '\0'
                   ? fail(p, "expected an expression, not the end of the text")
                   : err_set(p->text, ERR_REFUSED, "expected an expression, not '%.1s'", p->at);
    }
    p->at += size;
    if (strcmp(name, "match") == 0) {
        return parse_match(p, ret_value);
    }
    const char *s = strcmp(name, "name.full") == 0       ? render->full
                    : strcmp(name, "name.prefix") == 0   ? render->prefix
                    : strcmp(name, "name.suffix") == 0   ? render->suffix
                    : strcmp(name, "agent.segment") == 0 ? ""
                                                         : NULL;
    skip_blanks(p);
    if (*p->at == '(') {
        return err_set(p->text, ERR_REFUSED, "unknown function called: %.64s", name);
    }
    *ret_value = (struct value){.s = s};
    return s != NULL ? ERR_OK
                     : err_set(p->text, ERR_REFUSED, "unknown variable accessed: %.64s", name);
}

static enum err parse_closed(struct parser *p, struct value *ret_value) {
    p->at++;
    enum err err = parse_sum(p, ret_value);
    if (err == ERR_OK && *p->at != ')') {
        err = fail(p, "a parenthesis is not closed");
    }
    p->at += err == ERR_OK;
    return err;
}

static enum err parse_factor(struct parser *p, struct value *ret_value) {
    enum err err;
    skip_blanks(p);
    if (p->depth == 0) {
        return fail(p, "too many levels");
    }
    p->depth--;
    if (*p->at == '-') {
        p->at++;
        err = parse_factor(p, ret_value);
        err = err == ERR_OK ? as_number(p, ret_value) : err;
        ret_value->n = (int64_t)(0 - (uint64_t)ret_value->n);
    } else if (*p->at == '(') {
        err = parse_closed(p, ret_value);
    } else if (*p->at == '"') {
        p->at++;
        *ret_value = (struct value){.s = ""};
        err = parse_text(p, true, &ret_value->s);
    } else if (*p->at >= '0' && *p->at <= '9') {
        err = parse_number(p, ret_value);
    } else {
        err = parse_name(p, ret_value);
    }
    p->depth++;
    skip_blanks(p);
    return err;
}

/* ---- sums ---- */

static enum err calculate(struct parser *p, char op, struct value *a, struct value *b) {
    enum err err = as_number(p, a);
    err = err == ERR_OK ? as_number(p, b) : err;
    if (err != ERR_OK) {
        return err;
    }
    uint64_t x = (uint64_t)a->n, y = (uint64_t)b->n; /* these wrap around */
    if ((op == '/' || op == '%') && (b->n == 0 || (b->n == -1 && a->n == INT64_MIN))) {
        return fail(p, "divide by zero, or what is no number");
    }
    a->n = op == '+'   ? (int64_t)(x + y)
           : op == '-' ? (int64_t)(x - y)
           : op == '*' ? (int64_t)(x * y)
           : op == '/' ? a->n / b->n
                       : a->n % b->n;
    return ERR_OK;
}

static enum err parse_product(struct parser *p, struct value *ret_value) {
    enum err err = parse_factor(p, ret_value);
    while (err == ERR_OK && (*p->at == '*' || *p->at == '/' || *p->at == '%')) {
        struct value right = {.s = ""};
        char op = *p->at++;
        err = parse_factor(p, &right);
        err = err == ERR_OK ? calculate(p, op, ret_value, &right) : err;
    }
    return err;
}

static enum err parse_sum(struct parser *p, struct value *ret_value) {
    enum err err = parse_product(p, ret_value);
    while (err == ERR_OK && (*p->at == '+' || *p->at == '-')) {
        struct value right = {.s = ""};
        char op = *p->at++;
        err = parse_product(p, &right);
        err = err == ERR_OK ? calculate(p, op, ret_value, &right) : err;
    }
    return err;
}

/* ---- texts ---- */

struct growing {
    char *data; /* of the arena; NULL: nothing yet */
    size_t used, room;
};

static enum err append(struct parser *p, struct growing *out, const char *s, size_t size) {
    struct render *render = p->render;
    if (size > render->left) {
        return err_set(p->text, ERR_REFUSED, "comes to more than %d bytes", LIMIT_QUERY_BYTES);
    }
    render->left -= size;
    if (out->used + size >= out->room) {
        size_t room = 2 * (out->used + size) + 32;
        char *data = arena_alloc(render->arena, room);
        if (out->used > 0) {
            memcpy(data, out->data, out->used);
        }
        *out = (struct growing){data, out->used, room};
    }
    memcpy(out->data + out->used, s, size);
    out->used += size;
    out->data[out->used] = '\0';
    return ERR_OK;
}

/* Between "${" and "}". */
static enum err parse_hole(struct parser *p, struct growing *out) {
    struct value value = {.s = ""};
    p->at += 2;
    enum err err = parse_sum(p, &value);
    if (err == ERR_OK && *p->at != '}') {
        err = *p->at == '\0' ? fail(p, "an expression is not closed")
                             : err_set(p->text, ERR_REFUSED, "expected '}', not '%.1s'", p->at);
    }
    if (err == ERR_OK) {
        const char *s = as_text(p, &value);
        p->at++;
        err = append(p, out, s, strlen(s));
    }
    return err;
}

static const char *unescape(char c) {
    return c == 'n' ? "\n" : c == '"' ? "\"" : c == '\\' ? "\\" : NULL;
}

/* Up to the end, or to the closing quote, which is taken. */
static enum err parse_text(struct parser *p, bool quoted, const char **ret_s) {
    struct growing out = {.data = NULL};
    enum err err = ERR_OK;
    while (err == ERR_OK && *p->at != '\0' && !(quoted && *p->at == '"')) {
        size_t plain = strcspn(p->at, quoted ? "$\"\\" : "$");
        if (plain > 0) {
            err = append(p, &out, p->at, plain);
            p->at += plain;
        } else if (strncmp(p->at, "$${", 3) == 0) {
            err = append(p, &out, "${", 2);
            p->at += 3;
        } else if (strncmp(p->at, "${", 2) == 0) {
            err = parse_hole(p, &out);
        } else if (*p->at == '\\') {
            const char *c = unescape(p->at[1]);
            err = c != NULL ? append(p, &out, c, 1) : fail(p, "an unknown escape in a text");
            p->at += 2;
        } else {
            err = append(p, &out, p->at++, 1);
        }
    }
    if (err == ERR_OK && quoted) {
        err = *p->at == '"' ? ERR_OK : fail(p, "a text is not closed");
        p->at += err == ERR_OK;
    }
    *ret_s = str_or_empty(out.data);
    return err;
}

/* ---- queries ---- */

static enum err render_one(struct render *render, const char **s, const char *path,
                           struct err_text *text) {
    struct err_text reason = {""};
    struct parser p = {render, *s, LIMIT_FILTER_DEPTH, &reason};
    const char *rendered = "";
    enum err err = parse_text(&p, false, &rendered);
    if (err != ERR_OK) {
        return err_set(text, err, "Bad format '%.100s' in Service%s: %.200s", *s, path, reason.s);
    }
    *s = rendered;
    return ERR_OK;
}

static enum err render_list(struct render *render, struct str_list *list, const char *name,
                            const char *behind, struct err_text *text) {
    const char **v = arena_alloc(render->arena, (list->count + 1) * sizeof *v);
    enum err err = ERR_OK;
    for (uint32_t i = 0; err == ERR_OK && i < list->count; i++) {
        v[i] = list->v[i];
        err = render_one(render, &v[i], arena_format(render->arena, "%s[%u]%s", name, i, behind),
                         text);
    }
    list->v = v;
    return err;
}

static enum err render_map(struct render *render, struct str_map *map, const char *name,
                           struct err_text *text) {
    struct str_pair *v = arena_alloc(render->arena, (map->count + 1) * sizeof *v);
    enum err err = ERR_OK;
    for (uint32_t i = 0; err == ERR_OK && i < map->count; i++) {
        v[i] = map->v[i];
        err = render_one(render, &v[i].value,
                         arena_format(render->arena, "%s[%.64s]", name, v[i].key), text);
    }
    map->v = v;
    return err;
}

static enum err match_name(const struct catalog_query *query, struct render *render,
                           struct err_text *text) {
    struct err_text reason = {""};
    const struct pattern *pattern;
    if (*query->template_regexp == '\0') {
        return ERR_OK;
    }
    struct pattern_set *set = pattern_set_create(render->arena);
    if (pattern_compile(set, query->template_regexp, &pattern, &reason) != ERR_OK) {
        return err_set(text, ERR_REFUSED, "Bad Regexp: %.300s", reason.s);
    }
    return pattern_find_groups(set, pattern, render->full, &render->groups) != PATTERN_LIMIT
               ? ERR_OK
               : err_set(text, ERR_REFUSED, "the Regexp takes too long on this name");
}

static void drop_empty_tags(struct str_list *tags) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < tags->count; i++) {
        if (*tags->v[i] != '\0') {
            tags->v[kept++] = tags->v[i];
        }
    }
    tags->count = kept;
}

enum err query_render(const struct catalog_query *query, const char *name, struct arena *arena,
                      struct catalog_query *ret_query, struct err_text *text) {
    struct catalog_query out = *query;
    bool begins = str_starts_with(name, query->name);
    struct render render = {.arena = arena,
                            .full = name,
                            .prefix = query->name,
                            .suffix = begins ? name + strlen(query->name) : name,
                            .left = LIMIT_QUERY_BYTES};
    if (*query->template_type == '\0') {
        *ret_query = out;
        return ERR_OK;
    }
    if (strcmp(query->template_type, TYPE) != 0) {
        return err_set(text, ERR_REFUSED, "Bad Template.Type '%.64s'", query->template_type);
    }
    enum err err = match_name(query, &render, text);
    struct {
        const char **s;
        const char *path;
    } texts[] = {{&out.service, ".Service"}, {&out.near_node, ".Near"}};
    for (size_t i = 0; err == ERR_OK && i < sizeof texts / sizeof texts[0]; i++) {
        err = render_one(&render, texts[i].s, texts[i].path, text);
    }
    struct {
        struct str_list *list;
        const char *name, *behind;
    } lists[] = {{&out.datacenters, ".Failover.Datacenters", ""},
                 {&out.target_datacenters, ".Failover.Targets", ".Datacenter"},
                 {&out.ignored_checks, ".IgnoreCheckIDs", ""},
                 {&out.tags, ".Tags", ""}};
    for (size_t i = 0; err == ERR_OK && i < sizeof lists / sizeof lists[0]; i++) {
        err = render_list(&render, lists[i].list, lists[i].name, lists[i].behind, text);
    }
    err = err == ERR_OK ? render_map(&render, &out.node_meta, ".NodeMeta", text) : err;
    err = err == ERR_OK ? render_map(&render, &out.service_meta, ".ServiceMeta", text) : err;
    if (err == ERR_OK && out.remove_empty_tags) {
        drop_empty_tags(&out.tags); /* the list is a new one */
    }
    if (err == ERR_OK) {
        *ret_query = out;
    }
    return err;
}

enum err query_judge_template(const struct catalog_query *query, struct err_text *text) {
    struct arena arena;
    struct catalog_query ignored;
    arena_init(&arena);
    enum err err = query_render(query, query->name, &arena, &ignored, text);
    arena_clear(&arena);
    return err;
}
