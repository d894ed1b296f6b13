/* The mirrors of this agent: on a server one of each other datacenter, and what it tells others of
 * rows; on an agent without -server one of the services that are looked up on its host.
 *
 * The leader of a group asks the other datacenters, the other servers ask the leader. Without a
 * leader each asks for itself, so mirrors go on when the own group has lost its quorum. Core's
 * thread, but for what says otherwise. */
#ifndef AGENT_MIRRORS_H
#define AGENT_MIRRORS_H

#include <stdbool.h>

#include "agent/mirror_pull.h"
#include "agent/mirror_source.h"

struct agent;
struct mirrors;

/* Once the links to other servers are there. */
bool mirrors_create(struct agent *agent); /* true */
/* After the loop has ended: before the group, the links and the RPC. */
void mirrors_destroy(struct agent *agent);

/* A datacenter is known; this agent's own is left out. */
void mirrors_note_datacenter(struct agent *agent, const char *datacenter);
/* Who leads has changed. */
void mirrors_follow_leader(struct agent *agent);
/* The catalog has a new view. */
void mirrors_published(struct agent *agent);

/* On an agent without -server: corrects what is kept while no server tells how it is now
 * (agent/corrections.h). */
void mirrors_turn_end(struct agent *agent);

/* Any thread, inside an epoch section. See struct backend. */
bool mirrors_look(struct agent *agent, const char *datacenter, struct mirror_face *ret_face);
bool mirrors_look_subscribed(struct agent *agent, const char *service,
                             struct mirror_face *ret_face);

/* Their gauges. Any thread, inside an epoch section. */
void mirrors_refresh_metrics(struct agent *agent);

#endif
