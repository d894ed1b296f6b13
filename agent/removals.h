/* Members that an operator has removed (contract 10.5, force-leave): a command makes it last, and
 * the LAN pool of every server is told of each row of the catalog, so that no old state which some
 * member still holds brings that life back. Core's thread. */
#ifndef AGENT_REMOVALS_H
#define AGENT_REMOVALS_H

#include "catalog/backend.h"

struct agent;

void removals_init(struct agent *agent);
void removals_stop(struct agent *agent);
/* Before the pools publish: tells the LAN pool what has changed. */
void removals_turn_end(struct agent *agent);
/* BACKEND_FORCE_LEAVE, of all members of the name that are dead, and with prune of those that have
 * left; without any, of those that have left. If all are alive nothing happens and the call
 * succeeds. done runs once, with call's result set. If no leader commits it now, the members that
 * are there are told all the same; this agent goes on trying. In the WAN pool they are told, and
 * nothing is committed. */
void removals_run(struct agent *agent, struct backend_call *call, void (*done)(void *context),
                  void *context);

#endif
