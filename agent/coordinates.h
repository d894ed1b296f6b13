/* Where nodes are, on the way into the catalog. Each agent sends where it is itself to a server, at
 * random moments that are rarer in larger pools. A server gathers what it is sent, the newest of a
 * node, and puts it into the log as few commands a period, so that coordinates are never much of
 * the log. What does not fit is dropped: it comes again. All of this is for the core's thread. */
#ifndef AGENT_COORDINATES_H
#define AGENT_COORDINATES_H

#include "catalog/types.h"

struct agent;
struct coordinates;

/* Before the pools, and once they are there. */
struct coordinates *coordinates_create(struct agent *agent);
void coordinates_start(struct coordinates *coordinates);
/* NULL is allowed. The group has answered all proposals. */
void coordinates_destroy(struct coordinates *coordinates);

/* Of a node; copied. On a server. */
void coordinates_take(struct coordinates *coordinates, const struct catalog_coordinate *row);

#endif
