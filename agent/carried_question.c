/* DNS questions of agents without -server, and of servers of other datacenters. */
#include <stdlib.h>

#include "agent/carried_internal.h"
#include "base/container.h"
#include "base/mem.h"
#include "proto/rpc.pb-c.h"

struct question {
    struct http_work work; /* first */
    struct dns_carried dns;
    struct loop_task task;
    struct carried *carried;
    struct rpc_ticket ticket;
    Pb__RpcQuestion *message;
    uint8_t *answer;
    size_t answer_bytes;
};

/* Core's thread. */
static void send_answer(struct loop_task *task) {
    struct question *question = CONTAINER_OF(task, struct question, task);
    carried_answer(question->carried, question->ticket, ERR_OK, NULL, question->answer,
                   question->answer_bytes);
    pb__rpc_question__free_unpacked(question->message, NULL);
    free(question->answer);
    free(question);
}

/* Any thread. */
static void answered(struct dns_carried *dns, const uint8_t *answer, size_t bytes) {
    struct question *question = CONTAINER_OF(dns, struct question, dns);
    question->answer = mem_memdup(answer, bytes);
    question->answer_bytes = bytes;
    question->task.run = send_answer;
    loop_post(carried_agent(question->carried)->loop, &question->task);
}

/* On a worker. */
static void ask(struct http_work *work) {
    struct question *question = CONTAINER_OF(work, struct question, work);
    dns_server_ask(carried_agent(question->carried)->dns, &question->dns);
}

void carried_take_question(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                           const uint8_t *body, size_t size) {
    struct carried *carried = context;
    struct agent *agent = carried_agent(carried);
    Pb__RpcQuestion *message = pb__rpc_question__unpack(NULL, size, body);
    struct err_text text = {"this server does not answer DNS"};
    (void)from;
    carried_count(carried);
    if (message == NULL || agent->dns == NULL || !carried_may_work(carried)) {
        pb__rpc_question__free_unpacked(message, NULL);
        carried_answer(carried, ticket, ERR_UNSUPPORTED, &text, NULL, 0);
        return;
    }
    struct question *question = mem_calloc(1, sizeof *question);
    question->carried = carried;
    question->ticket = ticket;
    question->message = message;
    question->dns = (struct dns_carried){.request = message->request.data,
                                         .size = message->request.len,
                                         .tcp = message->tcp,
                                         .hops = message->hops,
                                         .wan_for = message->wan_for,
                                         .answered = answered};
    question->work.run = ask;
    http_server_work(agent->http, &question->work);
}
