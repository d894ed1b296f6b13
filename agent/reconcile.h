/* The leader brings the catalog in line with the members of the LAN pool (contract 7.5): a member
 * that is alive has its node and a passing serfHealth, one that failed a critical one, one that
 * left is deregistered. By event, and by full comparison once a minute.
 *
 * A node that is there is never overwritten: its agent describes it best. Core's thread. */
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
};

struct reconcile *reconcile_create(const struct reconcile_config *config);
/* After the group is gone, which has answered all proposals. NULL is allowed. */
void reconcile_destroy(struct reconcile *reconcile);

/* Leadership has begun, with a current catalog, or ended. */
void reconcile_lead(struct reconcile *reconcile, bool leader);
/* At the end of each turn: looks whether the members have changed. */
void reconcile_turn_end(struct reconcile *reconcile);

#endif
