#include "catalog/pattern.h"

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define PCRE2_CODE_UNIT_WIDTH 8
#include <pcre2.h>

#include "base/assert.h"
#include "base/limits.h"

#define REPEAT_MAX 1000 /* RE2's, for {n} */
#define STEPS_FREE 256  /* a match that ends within these is not charged */

_Static_assert(32 * STEPS_FREE < LIMIT_FILTER_MATCH_STEPS, "each attempt gets more steps");

struct pattern_set {
    struct arena *arena;
    pcre2_general_context *general;
    pcre2_compile_context *compile;
    pcre2_match_context *match;
    pcre2_match_data *data;
    unsigned count;
    uint64_t steps; /* an upper bound of those taken by matches that were not cheap */
    uint64_t steps_max;
};

/* ---- what RE2 does not know ---- */

static enum err refuse(struct err_text *reason, const char *what, const char *at, size_t size) {
    size_t left = strnlen(at, size);
    return err_set(reason, ERR_INVALID, "error parsing regexp: %s: `%.*s`", what, (int)left, at);
}

/* at is behind "(?": flags, (?:, (?P<name> and (?<name> are known. */
static bool is_known_group(const char *at) {
    if (*at == ':' || (at[0] == 'P' && at[1] == '<')) {
        return true;
    }
    if (*at == '<') {
        return at[1] != '=' && at[1] != '!';
    }
    size_t flags = strspn(at, "imsU-");
    return flags > 0 && (at[flags] == ')' || at[flags] == ':');
}

static bool is_known_escape(char c) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool digit = c >= '1' && c <= '9';
    return !digit && (!letter || strchr("afnrtvxdDsSwWbBAzpPQE", c) != NULL);
}

/* Bytes of a repetition at the start of s: * + ? {n} {n,} {n,m}; 0 when there is none. */
static size_t repeat_size(const char *s, bool *ret_too_many) {
    unsigned long least, most;
    char *end;
    *ret_too_many = false;
    if (*s == '*' || *s == '+' || *s == '?') {
        return 1;
    }
    if (*s != '{' || s[1] < '0' || s[1] > '9') {
        return 0;
    }
    least = most = strtoul(s + 1, &end, 10);
    if (*end == ',') {
        end++;
        if (*end >= '0' && *end <= '9') {
            most = strtoul(end, &end, 10);
        }
    }
    *ret_too_many = least > REPEAT_MAX || most > REPEAT_MAX;
    return *end == '}' ? (size_t)(end + 1 - s) : 0;
}

/* at: the first character of a repetition. A lazy one may follow with '?', nothing else. */
static enum err judge_repeat(const char *at, size_t size, bool too_many, struct err_text *reason) {
    bool ignored;
    if (too_many) {
        return refuse(reason, "invalid repeat count", at, size);
    }
    size += at[size] == '?';
    size_t next = repeat_size(at + size, &ignored);
    return next == 0 ? ERR_OK
                     : refuse(reason, "invalid nested repetition operator", at, size + next);
}

/* The size of a class at s, which starts with '['. What is wrong in it the compiler tells. */
static size_t class_size(const char *s) {
    const char *at = s + 1;
    at += *at == '^';
    at += *at == ']';
    for (; *at != '\0' && *at != ']'; at++) {
        const char *named = *at == '[' && at[1] == ':' ? strstr(at + 2, ":]") : NULL;
        if (named != NULL) {
            at = named + 1;
        } else if (*at == '\\' && at[1] != '\0') {
            if (!is_known_escape(at[1])) {
                break; /* the caller stops at it */
            }
            at++;
        }
    }
    return (size_t)(at - s) + (*at == ']');
}

static enum err judge(const char *text, struct err_text *reason) {
    bool too_many;
    for (const char *at = text; *at != '\0';) {
        size_t repeat = repeat_size(at, &too_many);
        if (*at == '\\' && at[1] == 'Q') {
            const char *end = strstr(at, "\\E");
            at = end != NULL ? end + 2 : at + strlen(at);
        } else if (*at == '\\' && at[1] != '\0') {
            if (!is_known_escape(at[1])) {
                return refuse(reason, "invalid escape sequence", at, 2);
            }
            at += 2;
        } else if (*at == '(' && at[1] == '*') {
            return refuse(reason, "missing argument to repetition operator", at + 1, 1);
        } else if (*at == '(' && at[1] == '?') {
            if (!is_known_group(at + 2)) {
                return refuse(reason, "invalid or unsupported Perl syntax", at, 3);
            }
            at += 2;
        } else if (*at == '[') {
            at += class_size(at);
        } else if (repeat > 0) {
            enum err err = judge_repeat(at, repeat, too_many, reason);
            if (err != ERR_OK) {
                return err;
            }
            at += repeat + (at[repeat] == '?');
        } else {
            at++;
        }
    }
    return ERR_OK;
}

/* ---- compile and match ---- */

static void *allocate(size_t size, void *arena) {
    return arena_alloc(arena, size);
}

static void leave(void *block, void *arena) {
    (void)block, (void)arena; /* goes with the arena */
}

struct pattern_set *pattern_set_create(struct arena *arena) {
    struct pattern_set *set = arena_alloc(arena, sizeof *set);
    set->arena = arena;
    set->steps_max = LIMIT_FILTER_STEPS;
    set->general = pcre2_general_context_create(allocate, leave, arena);
    set->compile = pcre2_compile_context_create(set->general);
    pcre2_set_newline(set->compile, PCRE2_NEWLINE_LF);
    pcre2_set_parens_nest_limit(set->compile, LIMIT_FILTER_DEPTH);
    set->match = pcre2_match_context_create(set->general);
    pcre2_set_depth_limit(set->match, LIMIT_FILTER_MATCH_DEPTH);
    pcre2_set_heap_limit(set->match, LIMIT_FILTER_MATCH_KIB);
    set->data = pcre2_match_data_create(1, set->general);
    return set;
}

void pattern_set_limit(struct pattern_set *set, uint64_t steps) {
    set->steps_max = set->steps + steps;
}

enum err pattern_compile(struct pattern_set *set, const char *text,
                         const struct pattern **ret_pattern, struct err_text *reason) {
    /* RE2's '$' is the end of the text alone; its classes know ASCII only, PCRE2's default. */
    const uint32_t options =
        PCRE2_UTF | PCRE2_MATCH_INVALID_UTF | PCRE2_DOLLAR_ENDONLY | PCRE2_NEVER_BACKSLASH_C;
    int code;
    size_t at;
    unsigned char message[128];
    if (set->count == LIMIT_FILTER_PATTERNS) {
        return err_set(reason, ERR_TOO_LARGE, "more than %d regular expressions in one filter",
                       LIMIT_FILTER_PATTERNS);
    }
    enum err err = judge(text, reason);
    if (err != ERR_OK) {
        return err;
    }
    pcre2_code *compiled =
        pcre2_compile((PCRE2_SPTR)text, PCRE2_ZERO_TERMINATED, options, &code, &at, set->compile);
    if (compiled == NULL) {
        pcre2_get_error_message(code, message, sizeof message);
        return err_set(reason, ERR_INVALID, "error parsing regexp: %s at %zu",
                       (const char *)message, at);
    }
    set->count++;
    *ret_pattern = (const struct pattern *)compiled;
    return ERR_OK;
}

/* PCRE2 does not tell how many steps a match took, so it gets few first, and more if these do not
 * do: what is charged is then at most 32 times too much, and a cheap match costs nothing. */
static enum pattern_result find(struct pattern_set *set, const struct pattern *pattern,
                                const char *s, pcre2_match_data *data) {
    static const uint32_t steps[] = {STEPS_FREE, 32 * STEPS_FREE, LIMIT_FILTER_MATCH_STEPS};
    int found = PCRE2_ERROR_MATCHLIMIT;
    for (unsigned i = 0; i < 3 && found == PCRE2_ERROR_MATCHLIMIT; i++) {
        set->steps += i > 0 ? steps[i] : 0;
        if (set->steps > set->steps_max) {
            return PATTERN_LIMIT;
        }
        pcre2_set_match_limit(set->match, steps[i]);
        found = pcre2_match((const pcre2_code *)pattern, (PCRE2_SPTR)s, strlen(s), 0, 0, data,
                            set->match);
    }
    /* 0: more groups than the data has room for, and nobody reads them. */
    return found >= 0                     ? PATTERN_MATCH
           : found == PCRE2_ERROR_NOMATCH ? PATTERN_NO_MATCH
                                          : PATTERN_LIMIT;
}

enum pattern_result pattern_find(struct pattern_set *set, const struct pattern *pattern,
                                 const char *s) {
    return find(set, pattern, s, set->data);
}

enum pattern_result pattern_find_groups(struct pattern_set *set, const struct pattern *pattern,
                                        const char *s, struct str_list *ret_groups) {
    pcre2_match_data *data =
        pcre2_match_data_create_from_pattern((const pcre2_code *)pattern, set->general);
    enum pattern_result result = find(set, pattern, s, data);
    if (result == PATTERN_MATCH) {
        const PCRE2_SIZE *at = pcre2_get_ovector_pointer(data);
        uint32_t count = pcre2_get_ovector_count(data);
        const char **groups = arena_alloc(set->arena, count * sizeof *groups);
        for (uint32_t i = 0; i < count; i++) {
            bool has_part = at[2 * i] != PCRE2_UNSET && at[2 * i] < at[2 * i + 1];
            groups[i] =
                has_part ? arena_strndup(set->arena, s + at[2 * i], at[2 * i + 1] - at[2 * i]) : "";
        }
        *ret_groups = (struct str_list){groups, count};
    }
    return result;
}
