/* User events at this agent (contract 14): what is fired here goes to all members of the LAN pool,
 * and what comes from any of them is kept if it concerns this agent. The last LIMIT_EVENTS_KEPT are
 * published, like members. Core's thread. */
#ifndef AGENT_EVENTS_H
#define AGENT_EVENTS_H

#include "catalog/backend.h"

struct agent;

void events_create(struct agent *agent);
/* After the pools; no reader is inside. */
void events_destroy(struct agent *agent);
/* BACKEND_FIRE_EVENT: sets err, text and made_id. */
void events_fire(struct agent *agent, struct backend_call *call);
/* One that gossip has told, this agent's own too. */
void events_heard(struct agent *agent, const struct uuid *id, uint64_t ltime, const uint8_t *data,
                  size_t size);
/* Publishes what has come in this turn, and wakes who waits for it. */
void events_turn_end(struct agent *agent);

#endif
