/* What this agent asks of servers, with its connections to them: an agent without -server asks
 * those of its datacenter, a server those of others. Core's thread. */
#ifndef AGENT_ASKER_H
#define AGENT_ASKER_H

#include <stdbool.h>

#include "base/err.h"

struct agent;
struct asker;

/* After the servers' part and the pools. */
bool asker_create(struct agent *agent, struct err_text *text);
/* Asks what the catalog has of this node, for anti-entropy (sync_compare and others). */
void asker_fetch(struct agent *agent);
/* Nobody waits any longer: what is under way is answered. */
void asker_end_calls(struct agent *agent);
/* Before the servers' part. */
void asker_destroy(struct agent *agent);

#endif
