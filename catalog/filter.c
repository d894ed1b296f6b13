/* A compiled filter is a row of steps, a match each, in the order they stand in the text. Each
 * names the step to go on with when it is true and when it is false: `and`, `or` and `not` are
 * nothing but these two numbers, and judging a row is one loop. */
#include "catalog/filter.h"

#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/limits.h"
#include "catalog/filter_internal.h"
#include "catalog/pattern.h"

#define TRUE_STEP (UINT16_MAX - 1) /* numbers of no step: the row stays, the row goes */
#define FALSE_STEP UINT16_MAX

/* Where a value is found in a row. */
struct place {
    enum filter_type type;
    enum filter_base base;
    /* ONE value; one for EACH check of the instance, or for each of NONE. */
    enum { PLACE_ONE, PLACE_EACH, PLACE_NONE } many;
    uint16_t offset;      /* in the base, or in the element of the map */
    enum filter_type map; /* FILTER_MAP, FILTER_TAGGED: an element of it; FILTER_END */
    uint16_t map_offset;  /* of the map in the base */
    const char *key;      /* of the element */
};

struct step {
    struct place place;
    enum filter_op op;
    const char *text; /* the value as it stands */
    size_t text_size;
    int64_t number; /* and as the field's type takes it, booleans as 0 and 1 */
    const struct pattern *pattern;
    uint16_t if_true, if_false; /* the next step */
};

struct filter {
    struct filter_local local;
    struct step *steps;
    struct pattern_set *patterns; /* NULL when there are none */
    const char *exhausted;        /* the pattern that took too much work; NULL */
};

/* ---- compile ---- */

struct compiler {
    enum filter_rows rows;
    struct filter *filter;
    struct arena *arena;
    struct err_text *text;
};

#define OP(op) (1u << (op))
#define EMPTINESS (OP(FILTER_IS_EMPTY) | OP(FILTER_IS_NOT_EMPTY))
#define EQUALITY (OP(FILTER_EQUAL) | OP(FILTER_NOT_EQUAL))
#define CONTENT (OP(FILTER_IN) | OP(FILTER_NOT_IN))
#define MATCHING (OP(FILTER_MATCHES) | OP(FILTER_NOT_MATCHES))

/* Contract http-core 6.2. */
static const unsigned allowed[FILTER_TYPE_COUNT] = {
    [FILTER_STR] = EQUALITY | CONTENT | MATCHING,
    [FILTER_U32] = EQUALITY,
    [FILTER_BOOL] = EQUALITY,
    [FILTER_NATIVE] = EQUALITY,
    [FILTER_LIST] = CONTENT | EMPTINESS,
    [FILTER_MAP] = CONTENT | EMPTINESS,
    [FILTER_TAGGED] = CONTENT | EMPTINESS,
    [FILTER_STRUCTS] = EMPTINESS,
    [FILTER_BYTES] = EMPTINESS,
};

static const char *const op_names[FILTER_OP_COUNT] = {
    [FILTER_EQUAL] = "Equal",
    [FILTER_NOT_EQUAL] = "Not Equal",
    [FILTER_IS_EMPTY] = "Is Empty",
    [FILTER_IS_NOT_EMPTY] = "Is Not Empty",
    [FILTER_IN] = "In",
    [FILTER_NOT_IN] = "Not In",
    [FILTER_MATCHES] = "Matches",
    [FILTER_NOT_MATCHES] = "Not Matches",
};

/* In double quotes, as Go's %q; what is printable is not told apart beyond ASCII. */
static const char *quote(struct arena *arena, const char *s) {
    static const char names[] = "abfnrtv\\\"", bytes[] = "\a\b\f\n\r\t\v\\\"";
    struct buf buf;
    buf_init(&buf, 6 * (LIMIT_FILTER_BYTES + 1));
    buf_append_byte(&buf, '"');
    for (; *s != '\0'; s++) {
        const char *special = strchr(bytes, *s);
        if (special != NULL) {
            buf_append_byte(&buf, '\\');
            buf_append_byte(&buf, names[special - bytes]);
        } else if ((unsigned char)*s < 0x20 || *s == 0x7f) {
            buf_append_format(&buf, "\\x%02x", (unsigned)*s);
        } else {
            buf_append_byte(&buf, *s);
        }
    }
    buf_append_byte(&buf, '"');
    char *quoted = arena_strndup(arena, buf.data, buf.count);
    buf_clear(&buf);
    return quoted;
}

static const struct filter_field *find_field(const struct filter_field *fields, const char *name) {
    for (; fields != NULL && fields->type != FILTER_END; fields++) {
        if (fields->name == NULL || strcmp(fields->name, name) == 0) {
            return fields;
        }
    }
    return NULL;
}

/* From a place to a field of it. */
static void descend(struct place *place, const struct filter_field *field, const char *name) {
    if (field->name == NULL) {
        place->map = place->type;
        place->map_offset = place->offset;
        place->key = name;
    }
    if (field->base != FILTER_SAME) {
        place->base = field->base;
    }
    place->type = field->type;
    place->offset = field->offset;
}

static enum err find_place(struct compiler *c, const struct filter_selector *selector,
                           struct place *ret_place) {
    const struct filter_field *fields = filter_fields(c->rows);
    struct place place = {.type = FILTER_STRUCT, .base = FILTER_ROW, .map = FILTER_END};
    size_t size = 0; /* of the parts that were looked at, with their dots */
    for (unsigned i = 0; i < selector->part_count; i++) {
        const char *name = selector->parts[i];
        const struct filter_field *field = find_field(fields, name);
        size += strlen(name) + (i > 0);
        if (field == NULL) {
            return err_set(c->text, ERR_REFUSED, "Selector %s is not valid",
                           quote(c->arena, arena_strndup(c->arena, selector->text, size)));
        }
        if (place.type == FILTER_STRUCTS) {
            place.many = place.base == FILTER_CHECK ? PLACE_EACH : PLACE_NONE;
        }
        descend(&place, field, name);
        fields = field->fields;
    }
    *ret_place = place;
    return ERR_OK;
}

/* strconv.ParseInt(s, 0, 64): its prefixes, and behind a prefix underscores between digits. */
static bool parse_int(const char *s, int64_t *ret_value, const char **ret_reason) {
    unsigned base = 10;
    uint64_t value = 0;
    bool negative = *s == '-', prefix = false, out_of_range = false;
    s += *s == '-' || *s == '+';
    *ret_reason = "invalid syntax";
    if (s[0] == '0' && s[1] != '\0') {
        char kind = str_lower_char(s[1]);
        base = kind == 'x' ? 16 : kind == 'b' ? 2 : 8;
        prefix = true;
        s += kind == 'x' || kind == 'b' || kind == 'o' ? 2 : 1;
        s += *s == '_';
    }
    if (*s == '\0') {
        return false;
    }
    for (bool after_digit = false; *s != '\0'; s++) {
        char low = str_lower_char(*s);
        unsigned digit = low >= '0' && low <= '9'   ? (unsigned)(low - '0')
                         : low >= 'a' && low <= 'f' ? (unsigned)(low - 'a') + 10
                                                    : 16;
        if (*s == '_' && prefix && after_digit && s[1] != '\0') {
            after_digit = false;
            continue;
        }
        if (digit >= base) {
            return false;
        }
        after_digit = true;
        out_of_range = out_of_range || __builtin_mul_overflow(value, base, &value) ||
                       __builtin_add_overflow(value, digit, &value);
    }
    if (out_of_range || value > (uint64_t)INT64_MAX + negative) {
        *ret_reason = "value out of range";
        return false;
    }
    *ret_value = (int64_t)(negative ? 0 - value : value);
    return true;
}

static enum err coerce(struct compiler *c, const struct filter_expression *match,
                       struct step *step) {
    const char *reason = "invalid syntax", *parser = "ParseBool";
    bool truth = false, good = false;
    if (step->place.type == FILTER_U32) {
        parser = "ParseInt";
        good = parse_int(match->value, &step->number, &reason);
    } else if (step->place.type == FILTER_BOOL || step->place.type == FILTER_NATIVE) {
        good = str_parse_bool(match->value, &truth);
        step->number = truth;
    } else {
        return ERR_OK;
    }
    const char *value = quote(c->arena, match->value);
    return good ? ERR_OK
                : err_set(c->text, ERR_REFUSED,
                          "Failed to coerce value %s for selector %s: strconv.%s: parsing %s: %s",
                          value, quote(c->arena, match->selector->text), parser, value, reason);
}

static enum err compile_pattern(struct compiler *c, struct step *step) {
    struct err_text reason = {""};
    if (c->filter->patterns == NULL) {
        c->filter->patterns = pattern_set_create(c->arena);
    }
    if (pattern_compile(c->filter->patterns, step->text, &step->pattern, &reason) != ERR_OK) {
        return err_set(c->text, ERR_REFUSED, "Failed to compile regular expression %s: %s",
                       quote(c->arena, step->text), reason.s);
    }
    return ERR_OK;
}

static enum err compile_match(struct compiler *c, const struct filter_expression *match,
                              struct step *step) {
    enum err err = find_place(c, match->selector, &step->place);
    if (err != ERR_OK) {
        return err;
    }
    step->op = match->op;
    if ((allowed[step->place.type] & OP(match->op)) == 0) {
        return err_set(c->text, ERR_REFUSED, "Invalid match operator \"%s\" for selector %s",
                       op_names[match->op], quote(c->arena, match->selector->text));
    }
    if (match->value == NULL) {
        return ERR_OK;
    }
    step->text = match->value;
    step->text_size = strlen(match->value);
    err = coerce(c, match, step);
    return err == ERR_OK && (OP(match->op) & MATCHING) != 0 ? compile_pattern(c, step) : err;
}

/* Compiles the steps of an expression, which begin at `at`. */
static enum err compile(struct compiler *c, const struct filter_expression *expression, uint16_t at,
                        uint16_t if_true, uint16_t if_false) {
    if (expression->kind == FILTER_MATCH) {
        struct step *step = &c->filter->steps[at];
        step->if_true = if_true;
        step->if_false = if_false;
        return compile_match(c, expression, step);
    }
    if (expression->kind == FILTER_NOT) {
        return compile(c, expression->first, at, if_false, if_true);
    }
    enum err err = ERR_OK;
    for (const struct filter_expression *operand = expression->first;
         operand != NULL && err == ERR_OK; operand = operand->next) {
        uint16_t next = (uint16_t)(at + operand->match_count);
        bool go_on = operand->next != NULL;
        err = expression->kind == FILTER_AND
                  ? compile(c, operand, at, go_on ? next : if_true, if_false)
                  : compile(c, operand, at, if_true, go_on ? next : if_false);
        at = next;
    }
    return err;
}

enum err filter_compile(enum filter_rows rows, const char *text, const char *datacenter,
                        struct arena *arena, struct filter **ret_filter,
                        struct err_text *ret_text) {
    struct filter *filter = arena_alloc(arena, sizeof *filter);
    struct compiler compiler = {.rows = rows, .filter = filter, .arena = arena, .text = ret_text};
    const struct filter_expression *expression;
    enum err err = filter_parse(text, arena, &expression, ret_text);
    if (err == ERR_OK) {
        filter->local.datacenter = arena_strdup(arena, datacenter);
        filter->steps = arena_alloc(arena, expression->match_count * sizeof *filter->steps);
        err = compile(&compiler, expression, 0, TRUE_STEP, FALSE_STEP);
    }
    if (err != ERR_OK) {
        err_prefix(ret_text, "Failed to create boolean expression evaluator");
        return err;
    }
    *ret_filter = filter;
    return ERR_OK;
}

/* ---- judge rows ---- */

static bool is_empty(const struct place *place, const void *value) {
    switch (place->type) {
    case FILTER_BYTES:
        return **(const char *const *)value == '\0';
    case FILTER_LIST:
        return ((const struct str_list *)value)->count == 0;
    case FILTER_MAP:
        return ((const struct str_map *)value)->count == 0;
    default:
        return ((const struct catalog_service *)value)->tagged_address_count == 0;
    }
}

static bool contains(const struct step *step, const void *value) {
    const struct str_list *list = value;
    const char *s;
    switch (step->place.type) {
    case FILTER_STR:
        s = *(const char *const *)value;
        return memmem(s, strlen(s), step->text, step->text_size) != NULL;
    case FILTER_LIST:
        for (uint32_t i = 0; i < list->count; i++) {
            if (strcmp(list->v[i], step->text) == 0) {
                return true;
            }
        }
        return false;
    case FILTER_MAP:
        return str_map_get(value, step->text) != NULL;
    default:
        return catalog_find_tagged(value, step->text) != NULL;
    }
}

static bool equals(const struct step *step, const void *value) {
    switch (step->place.type) {
    case FILTER_STR:
        return strcmp(*(const char *const *)value, step->text) == 0;
    case FILTER_U32:
        return *(const uint32_t *)value == step->number;
    case FILTER_BOOL:
        return *(const bool *)value == (step->number != 0);
    default:
        /* As base/decode.c writes what it carries raw. */
        return (strstr(*(const char *const *)value, "\"Native\":true") != NULL) ==
               (step->number != 0);
    }
}

static bool is_negation(enum filter_op op) {
    return op == FILTER_NOT_EQUAL || op == FILTER_IS_NOT_EMPTY || op == FILTER_NOT_IN ||
           op == FILTER_NOT_MATCHES;
}

static bool matches(struct filter *filter, const struct step *step, const void *value) {
    enum pattern_result result =
        pattern_find(filter->patterns, step->pattern, *(const char *const *)value);
    if (result == PATTERN_LIMIT && filter->exhausted == NULL) {
        filter->exhausted = step->text;
    }
    return result == PATTERN_MATCH;
}

/* base: the struct that the place is in. NULL: a map has no such key. element is room for a pointer
 * to one. */
static const void *find_value(const struct place *place, const void *base, const char **element) {
    const struct catalog_tagged_address *address;
    switch (place->map) {
    case FILTER_MAP:
        *element = str_map_get((const void *)((const char *)base + place->map_offset), place->key);
        return *element != NULL ? (const void *)element : NULL;
    case FILTER_TAGGED:
        address = catalog_find_tagged(base, place->key);
        return address != NULL ? (const char *)address + place->offset : NULL;
    default:
        return (const char *)base + place->offset;
    }
}

/* What holds of a value that is not there. Patterns match it (contract 6.2). */
static bool judge_missing(enum filter_op op) {
    return op == FILTER_NOT_EQUAL || op == FILTER_NOT_IN || op == FILTER_IS_EMPTY ||
           op == FILTER_MATCHES || op == FILTER_NOT_MATCHES;
}

static bool judge_value(struct filter *filter, const struct step *step, const void *base) {
    const char *element;
    const void *value = find_value(&step->place, base, &element);
    if (value == NULL) {
        return judge_missing(step->op);
    }
    bool result;
    switch (step->op) {
    case FILTER_EQUAL:
    case FILTER_NOT_EQUAL:
        result = equals(step, value);
        break;
    case FILTER_IS_EMPTY:
    case FILTER_IS_NOT_EMPTY:
        result = is_empty(&step->place, value);
        break;
    case FILTER_IN:
    case FILTER_NOT_IN:
        result = contains(step, value);
        break;
    default:
        result = matches(filter, step, value);
    }
    return result != is_negation(step->op);
}

static const void *find_base(const struct filter *filter, enum filter_base base, const void *row,
                             const struct catalog_check *check) {
    static const struct filter_zero zero = {.text = ""};
    const struct catalog_instance *instance = row;
    switch (base) {
    case FILTER_NODE:
        return instance->node;
    case FILTER_SERVICE:
        return instance->service;
    case FILTER_CHECK:
        return check;
    case FILTER_ZERO:
        return &zero;
    case FILTER_LOCAL:
        return &filter->local;
    default:
        return row;
    }
}

static bool judge_step(struct filter *filter, const struct step *step, const void *row) {
    const struct catalog_instance *instance = row;
    enum filter_base base = step->place.base;
    if (step->place.type == FILTER_STRUCTS) {
        bool empty = base == FILTER_ABSENT || instance->check_count == 0;
        return empty == (step->op == FILTER_IS_EMPTY);
    }
    if (step->place.many == PLACE_ONE) {
        return judge_value(filter, step, find_base(filter, base, row, NULL));
    }
    uint32_t count = step->place.many == PLACE_EACH ? instance->check_count : 0;
    for (uint32_t i = 0; i < count; i++) {
        if (judge_value(filter, step, find_base(filter, base, row, instance->checks[i]))) {
            return true;
        }
    }
    return false;
}

bool filter_keeps(struct filter *filter, const void *row) {
    uint16_t at = 0;
    if (filter == NULL) {
        return true;
    }
    while (at < TRUE_STEP && filter->exhausted == NULL) {
        const struct step *step = &filter->steps[at];
        at = judge_step(filter, step, row) ? step->if_true : step->if_false;
    }
    return at == TRUE_STEP && filter->exhausted == NULL;
}

enum err filter_judge(const struct filter *filter, struct err_text *ret_text) {
    if (filter == NULL || filter->exhausted == NULL) {
        return ERR_OK;
    }
    return err_set(ret_text, ERR_REFUSED,
                   "the filter's regular expression \"%.128s\" takes more steps than this server "
                   "gives it",
                   filter->exhausted);
}
