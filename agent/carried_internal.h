/* What the files of the answering side share. */
#ifndef AGENT_CARRIED_INTERNAL_H
#define AGENT_CARRIED_INTERNAL_H

#include "agent/carry.h"
#include "agent/internal.h"

struct agent *carried_agent(struct carried *carried);
/* Work may be handed to the workers; what they post is run even while the agent ends. */
bool carried_may_work(const struct carried *carried);
/* A request is taken. */
void carried_count(struct carried *carried);
void carried_answer(struct carried *carried, struct rpc_ticket ticket, enum err err,
                    const struct err_text *text, const void *body, size_t size);

/* RPC_METHOD_NODE_ROWS. */
void carried_take_rows(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                       const uint8_t *body, size_t size);
/* RPC_METHOD_QUESTION. */
void carried_take_question(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                           const uint8_t *body, size_t size);

#endif
