/* The check engine: runs the checks of one agent on a thread of its own and tells their results
 * (contract 11). Which kinds it offers is one table, checks/kinds.c.
 *
 * An active check runs first after a random part of its interval, then one interval after its last
 * run ended; a run never overlaps another of the same check. At most LIMIT_CHECK_RUNS run at once
 * (scripts and UDP checks have places of their own), the others wait in the order in which they
 * fell due. Nothing is spent on a client library before
 * the first check that needs one.
 *
 * Every function here but checks_create and checks_destroy may be called from any thread; calls of
 * one thread take effect in their order. */
#ifndef CHECKS_CHECKS_H
#define CHECKS_CHECKS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/log.h"
#include "catalog/definition.h"

struct checks;

/* One result, after thresholds. Strings are borrowed for the call. */
struct checks_result {
    const char *id;
    uint64_t generation; /* of the checks_set or checks_update_ttl that it belongs to */
    const char *status;  /* "passing", "warning", "critical" */
    const char *output;  /* at most the definition's output limit and the text around it */
    bool status_changed; /* against the last result told, or the status it was set with */
    bool output_changed;
};

/* Runs on the engine's thread, so it must be quick: post it on. It is called for the first result
 * after each checks_set, for each checks_update_ttl, and after that when status or output differ
 * from what was told last. A result that a threshold holds back is not told at all. */
typedef void checks_result_fn(void *context, const struct checks_result *result);

/* What a check had before: kept on disk over a restart, or by an earlier registration. */
struct checks_resume {
    const char *status; /* "" = the definition's */
    const char *output; /* "" = none */
    int64_t
        ttl_expires_wall_ms; /* Unix time; 0 = a full TTL from now; a past one expires at once */
};

struct checks_stats {
    uint64_t checks; /* set at present */
    uint64_t running;
    uint64_t waiting;   /* due, but all places are taken */
    uint64_t runs_done; /* since the start */
};

/* Starts the thread. log may be NULL; seed drives the random part of the schedule. NULL and a
 * sentence on failure. */
struct checks *checks_create(struct log *log, uint64_t seed, checks_result_fn *result,
                             void *context, struct err_text *text);
/* Aborts what runs and joins the thread, within a second. No result is told after the return. No
 * other call may be under way. NULL is allowed. */
void checks_destroy(struct checks *checks);

/* Whether a check of this kind can be set. ERR_UNSUPPORTED and a sentence for people. Needs no
 * engine. */
enum err checks_supports(enum check_kind kind, struct err_text *text);

/* Adds the check, or replaces the one of this id; def must be valid and of an offered kind, and is
 * copied. The same definition keeps its place in the schedule and its counters (a TTL starts anew,
 * unless resume says when it ends); another one aborts the run and starts anew. Status and output
 * that resume (NULL allowed) does not give are kept from the check that is replaced.
 *
 * Returns the generation, larger than any before. Results of the engine may be on their way when a
 * check is set, updated or removed: the receiver drops those whose generation is not the last one
 * returned for the id. */
uint64_t checks_set(struct checks *checks, const struct check_definition *def,
                    const struct checks_resume *resume);
/* Aborts its run. An unknown id is fine. */
void checks_remove(struct checks *checks, const char *id);

/* Status and note of a TTL check; its TTL starts anew. The result comes back with the note cut to
 * the output limit. Returns its generation. An unknown id, or one of another kind, does nothing. */
uint64_t checks_update_ttl(struct checks *checks, const char *id, const char *status,
                           const char *output);
/* The note as checks_update_ttl tells it: `<first bytes> ... (captured N of M bytes)` when it is
 * over the limit. output_bytes_max as in the definition, 0 = the default. The caller frees it. */
char *checks_format_note(const char *note, int64_t output_bytes_max);

/* What the program does as `/proc/self/exe check-helper`, which the engine starts for its first
 * script: runs scripts for the process at the other end of descriptor 3. Returns the exit code. */
#define CHECKS_HELPER_COMMAND "check-helper"
int checks_helper_main(void);

/* A moment's numbers, for metrics. */
void checks_get_stats(const struct checks *checks, struct checks_stats *ret_stats);

#endif
