/* What an agent without -server knows better than the rows that it keeps of others, while no server
 * tells it more: its own registrations, and which members of its pool are there. Core's thread. */
#ifndef AGENT_CORRECTIONS_H
#define AGENT_CORRECTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog/backend.h"
#include "catalog/mirror.h"

struct corrections {
    bool made; /* of what these say: */
    uint64_t own_version, pool_version;
    int64_t at_ms;
};

struct corrections_facts {
    const char *node;                /* this agent's */
    const struct catalog_view *own;  /* its registrations, */
    uint64_t own_version;            /* each one's is another */
    const struct backend_pool *pool; /* NULL: none yet */
    int64_t now_ms;
};

/* Inside an epoch section. mirror NULL: servers tell their rows, or have never done so. Instances
 * on a member that failed are gone where another node has a healthy one: an agent that is cut off
 * itself believes that all others failed, and must leave no name without an answer. */
void corrections_make(struct corrections *corrections, struct mirror *mirror,
                      const struct corrections_facts *facts);

#endif
