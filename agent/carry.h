/* Whole requests between agents: HTTP requests, DNS questions, commands. What an agent without
 * -server, or one that is asked for another datacenter, passes on, and what this server answers in
 * its place. Core's thread. */
#ifndef AGENT_CARRY_H
#define AGENT_CARRY_H

#include "agent/links.h"
#include "catalog/backend.h"

struct agent;
struct carried;
struct group_proposal;
struct Pb__RpcHeader;

/* BACKEND_FORWARD, BACKEND_QUESTION: done runs once, with the call's result set. */
void carry_run(struct agent *agent, struct backend_call *call, void (*done)(void *context),
               void *context);
/* Nobody waits for the answer of a call that is under way: done runs soon. */
void carry_cancel(struct agent *agent, struct backend_call *call);
/* All of them. */
void carry_end_all(struct agent *agent);
/* As group_propose, by a server. */
void carry_propose(struct agent *agent, struct group_proposal *proposal);

/* Headers as messages have them; one block, which the caller frees. They borrow the strings. */
struct Pb__RpcHeader **carry_list_headers(const struct str_map *headers);

/* On a server: answers what comes over its RPC. */
struct carried *carried_create(struct agent *agent);
void carried_serve(struct carried *carried, struct rpc *rpc);
/* The events of connections that arrive at that RPC, with `carried` as their context. */
extern const struct rpc_events carried_events;
/* After the RPC. NULL is allowed. */
void carried_destroy(struct carried *carried);

#endif
