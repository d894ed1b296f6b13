/* The leader brings the catalog in line with the members of the LAN pool (contract 7.5): a member
 * that is alive has its node and a passing serfHealth, one that failed a critical one, one that
 * left, was removed or is forgotten by the pool is deregistered. At once when the members have
 * changed, a second after nodes of the catalog have, and in full once a minute. What is judged is
 * in reconcile_judge.h.
 *
 * A new leader compares everything at once; only whom its pool does not know is left alone until
 * it has led for long enough to have met all that are there. Core's thread. */
#ifndef AGENT_RECONCILE_H
#define AGENT_RECONCILE_H

#include <stdbool.h>

#include "base/log.h"
#include "catalog/backend.h"
#include "net/loop.h"

struct group;
struct reconcile;

struct reconcile_config {
    struct loop *loop;
    struct log *log;
    struct group *group;
    const struct backend *backend; /* members and catalog; borrowed, as all */
    int64_t keep_removals_ms;      /* the pool has surely forgotten a removed member by then */
    struct metrics *metrics;       /* NULL: nothing is recorded */
};

struct reconcile *reconcile_create(const struct reconcile_config *config);
/* After the group is gone, which has answered all proposals. NULL is allowed. */
void reconcile_destroy(struct reconcile *reconcile);

/* Leadership has begun, with a current catalog, or ended. */
void reconcile_lead(struct reconcile *reconcile, bool leader);
/* At the end of each turn: looks whether the members or the removed ones have changed. */
void reconcile_turn_end(struct reconcile *reconcile);

#endif
