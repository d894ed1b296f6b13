/* Regular expressions of filters. The language is RE2's, as far as a backtracking matcher can have
 * it: what RE2 does not know (backreferences, look-around, verbs, possessive repeats) is refused,
 * and steps, depth and memory of a match are bounded (base/limits.h). */
#ifndef CATALOG_PATTERN_H
#define CATALOG_PATTERN_H

#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "base/str.h"

struct pattern_set; /* the patterns of one filter and the memory they match in: for one thread */
struct pattern;

enum pattern_result {
    PATTERN_NO_MATCH,
    PATTERN_MATCH,
    PATTERN_LIMIT /* gave up: this match or all of them took too many steps */
};

/* All memory, that of matching too, is the arena's, which must outlive the set. */
struct pattern_set *pattern_set_create(struct arena *arena);
/* Of all matches from here on, instead of LIMIT_FILTER_STEPS; those that end at once are free. */
void pattern_set_limit(struct pattern_set *set, uint64_t steps);
/* ERR_INVALID: not a pattern of RE2; ERR_TOO_LARGE: LIMIT_FILTER_PATTERNS are there already. The
 * text tells the reason alone. */
enum err pattern_compile(struct pattern_set *set, const char *text,
                         const struct pattern **ret_pattern, struct err_text *reason);
/* Whether the pattern occurs anywhere in s. Bytes that are not UTF-8 match nothing. */
enum pattern_result pattern_find(struct pattern_set *set, const struct pattern *pattern,
                                 const char *s);
/* The same, and on PATTERN_MATCH what the groups hold: the whole match first, "" for a group
 * without a part in it. In the arena of the set. */
enum pattern_result pattern_find_groups(struct pattern_set *set, const struct pattern *pattern,
                                        const char *s, struct str_list *ret_groups);

#endif
