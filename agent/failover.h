/* Failover of lookups (catalog/failover.h), driven: who is away, looked at a few times a second,
 * and the other datacenters by distance. Core's thread. */
#ifndef AGENT_FAILOVER_H
#define AGENT_FAILOVER_H

struct agent;
struct failover;

/* Before the front ends; fills agent->failover_source. */
void failover_start(struct agent *agent);
/* After them. */
void failover_stop(struct agent *agent);

#endif
