/* A watch (contract, configuration 3.9): a question that is asked again and again, and which of its
 * answers are news, in the form in which handlers get them. `cairn watch` and the agent's own
 * watches go by it. No I/O. */
#ifndef CHECKS_WATCH_PLAN_H
#define CHECKS_WATCH_PLAN_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "base/str.h"

/* Strings are never NULL; "" = not given. */
struct watch_plan {
    const char *type;
    const char *key, *prefix, *service, *state, *name, *filter;
    struct str_list tags;
    bool passing_only, stale;
    const char *datacenter, *token;
};

/* Sets NULLs to "". ERR_INVALID and the contract's sentence: the type, what it needs, what does not
 * belong to it; or they are longer than LIMIT_WATCH_PARAMETERS_BYTES. */
enum err watch_plan_judge(struct watch_plan *plan, struct err_text *text);

/* What has been seen. Init with {0}. */
struct watch_seen {
    uint64_t index;   /* that the next question waits on; 0: it does not wait */
    uint64_t hash[2]; /* of the last news */
    bool any;         /* there was one */
};

/* Path and query of the next question of a plan that was judged; it waits up to wait_s. In the
 * arena. */
const char *watch_plan_target(const struct watch_plan *plan, const struct watch_seen *seen,
                              unsigned wait_s, struct arena *arena);

/* An answer. *ret_news: it is to be handled, with *ret_payload, one compact JSON value, in the
 * arena, and *ret_index. ERR_INVALID: it cannot be read; ERR_REFUSED: a status that is no answer.
 * Nothing has been seen then. */
enum err watch_plan_take(const struct watch_plan *plan, struct watch_seen *seen, long status,
                         uint64_t index, const char *body, size_t size, struct arena *arena,
                         bool *ret_news, const char **ret_payload, uint64_t *ret_index,
                         struct err_text *text);

/* So long after a failure, the count-th in a row from 1. */
unsigned watch_retry_s(unsigned count);

#endif
