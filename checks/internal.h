/* Inside the check engine. All of it belongs to the engine's thread, but for spec_create and what
 * struct checks marks as atomic. */
#ifndef CHECKS_INTERNAL_H
#define CHECKS_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>
#include <sys/queue.h>

#include "base/buf.h"
#include "base/rand.h"
#include "checks/checks.h"
#include "checks/threshold.h"
#include "net/loop.h"

struct check;
struct helper;
struct transfers;
struct watchers;

/* Kinds whose runs must not take each other's places: scripts are heavy, and a UDP check whose
 * service never answers lasts its whole timeout. */
enum lane_kind { LANE_COMMON, LANE_SCRIPT, LANE_UDP, LANE_COUNT };

/* A kind of check: one file, one row in kinds.c. */
struct check_runner {
    enum check_kind kind;
    enum lane_kind lane;
    int64_t timeout_default_ms; /* 0 = LIMIT_CHECK_TIMEOUT_DEFAULT_MS */
    /* Its time is a deadline and no run: start is called when it passes, without taking a place,
     * and nothing follows. */
    bool passive;
    /* Appends the strings that a run needs, each with its NUL, in an order of the kind's own. */
    void (*pack)(const struct check_definition *def, struct buf *out);
    /* Begins a run that ends with check_finish, now or later. */
    void (*start)(struct checks *checks, struct check *check);
    /* Drops the run that start began and check_finish has not ended. NULL for a passive kind. */
    void (*abort)(struct check *check);
};

/* NULL: not offered. */
const struct check_runner *kinds_find(enum check_kind kind);

/* What a run needs of a definition, in one flat block, so that ten thousand idle checks are cheap
 * and two definitions are compared by memcmp. */
struct check_spec {
    uint32_t bytes; /* of the block */
    uint8_t kind;
    bool disable_redirects, use_tls, tls_skip_verify;
    uint32_t success_before_passing, failures_before_warning, failures_before_critical;
    uint32_t output_bytes_max;
    int64_t interval_ms, timeout_ms, ttl_ms; /* > 0 where the kind uses it */
    char text[];
};

/* The caller frees it with free(). */
struct check_spec *spec_create(const struct check_definition *def);
/* The first packed string, and the one after s; NULL past the last. */
const char *spec_first(const struct check_spec *spec);
const char *spec_next(const struct check_spec *spec, const char *s);
uint32_t spec_output_bytes(int64_t output_bytes_max);

struct check {
    struct loop_timer timer; /* the next run or the deadline; first: timers are cast back */
    struct checks *checks;
    struct check *chain;           /* next of its bucket */
    TAILQ_ENTRY(check) wait;       /* while waiting */
    const struct check_runner *as; /* the row of its kind */
    struct check_spec *spec;
    void *run; /* what the kind keeps of a run; NULL outside of one */
    struct threshold threshold;
    uint64_t generation;
    uint64_t output_hash;  /* of the output told last */
    char *note;            /* TTL: what the last update said, NULL = nothing */
    uint8_t status;        /* enum catalog_health, as told last */
    bool told;             /* a result of this generation */
    bool waiting, running; /* never both; the timer rests in either */
    char id[];
};

TAILQ_HEAD(check_queue, check);

struct lane {
    struct check_queue waiting;
    uint32_t running;
};

struct checks {
    struct loop *loop;
    pthread_t thread;
    struct log *log;
    struct rand rand;
    checks_result_fn *result;
    void *context;
    struct check **buckets; /* bucket_count is a power of two */
    uint32_t bucket_count;
    uint32_t count;
    struct lane lanes[LANE_COUNT];
    struct transfers *transfers; /* NULL before the first check that needs it */
    void *tls;                   /* the same, see tls.h */
    struct helper *helper;       /* NULL before the first script runs, and after it has died */
    struct watchers *watchers;   /* NULL before there are any */
    _Atomic uint64_t generation;
    _Atomic uint64_t stat_checks, stat_running, stat_waiting, stat_done;
};

/* Puts the check to its first place in the schedule. */
void schedule_begin(struct check *check, const struct checks_resume *resume);
/* Takes it out, whatever it is doing. */
void schedule_end(struct check *check);
/* Turn end: starts what waits while there are places. */
void schedule_run_waiting(void *checks);

/* Ends a run with its result; the output is borrowed. */
void check_finish(struct check *check, enum catalog_health health, const char *output);
/* The same past the thresholds: what says nothing about the service's health (contract 11.1). */
void check_finish_as_is(struct check *check, enum catalog_health health, const char *output);
/* Tells a status and output as they are, if they are news. */
void check_tell(struct check *check, enum catalog_health health, const char *output);

extern const struct check_runner runner_docker, runner_grpc, runner_h2ping, runner_http,
    runner_script, runner_tcp, runner_ttl, runner_udp;

#endif
