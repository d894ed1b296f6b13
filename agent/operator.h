/* What operators ask about the Raft group, or of it (contract 17): answered by the leader, which
 * alone knows how far the others are. A server that does not lead passes it on, and waits for
 * LIMIT_LEADER_HOLD_MS while none is known. Core's thread. */
#ifndef AGENT_OPERATOR_H
#define AGENT_OPERATOR_H

#include "base/json.h"
#include "catalog/backend.h"

struct agent;
struct rpc;

void operator_start(struct agent *agent);
/* Takes what other servers pass on. */
void operator_serve(struct agent *agent, struct rpc *rpc);
/* call is one of BACKEND_OPERATOR; done runs once its result is set. */
void operator_run(struct agent *agent, struct backend_call *call, void (*done)(void *context),
                  void *context);
/* Answers what waits with ERR_CLOSED; before the connections go. */
void operator_stop(struct agent *agent);
void operator_clear(struct agent *agent);

/* ---- operator_show.c ---- */

/* Of a leader: whether all servers are healthy, and how many voters more may fail. */
void operator_judge(struct agent *agent, bool *ret_healthy, uint64_t *ret_tolerance);

/* Writes what one of the shows answers, as this server knows it. */
void operator_show(struct agent *agent, enum backend_operator_action action, struct json *json);

#endif
