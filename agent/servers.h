/* The servers of this datacenter: their RPC on the server port, what the pool says of them, and the
 * beginning of a group that waits until so many have met (bootstrap_expect). Core's thread. */
#ifndef AGENT_SERVERS_H
#define AGENT_SERVERS_H

#include <stdbool.h>

#include "base/err.h"

struct agent;
struct rpc;
struct servers;

/* After the group and the pools; false and a sentence when the port cannot be bound. */
bool servers_create(struct agent *agent, struct err_text *text);
/* Their RPC. */
struct rpc *servers_rpc(const struct agent *agent);
/* The group has begun, or this server has joined it. */
void servers_note_cluster(struct agent *agent);
/* Before the group: its connections close. */
void servers_stop(struct agent *agent);
/* After it. */
void servers_destroy(struct agent *agent);

#endif
