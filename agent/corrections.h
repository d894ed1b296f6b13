/* What an agent without -server knows better than the rows that it keeps of others, while no server
 * tells it how they are now: its own registrations, and which members of its pool are there. Core's
 * thread. */
#ifndef AGENT_CORRECTIONS_H
#define AGENT_CORRECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog/backend.h"
#include "catalog/mirror.h"

/* What was known when the mirror was corrected last; begins as zeros. */
struct corrections {
    uint64_t own_version, pool_version;
    int64_t at_ms;
};

/* Borrowed for the call. */
struct corrections_facts {
    bool old;                        /* the mirror: no server tells how its rows are now */
    const char *node;                /* this agent's */
    const struct catalog_view *own;  /* its registrations */
    uint64_t own_version;            /* another one after each change of them */
    const struct backend_pool *pool; /* NULL: none yet */
    int64_t now_ms;
};

/* Inside an epoch section. Corrects the mirror once what is known has changed, or takes the
 * corrections back when it is old no more.
 *
 * Who has left has no rows. Instances on members that failed are gone where a member that has not
 * failed has one that is as healthy and has their tags; where none has, all stay: an agent that is
 * cut off itself believes that the others failed, and must leave no name without an answer. */
void corrections_make(struct corrections *corrections, struct mirror *mirror,
                      const struct corrections_facts *facts);

#endif
