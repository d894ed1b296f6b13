/* The side that asks. */
#include "agent/carry.h"

#include <stdlib.h>
#include <string.h>

#include "agent/group.h"
#include "agent/internal.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/pack.h"
#include "proto/rpc.pb-c.h"

/* A call that a server answers. */
struct carry {
    struct links_request request;
    struct agent *agent;
    struct backend_call *call;
    void (*done)(void *context);
    void *context;
    struct carry *next, **back;
    uint64_t id;
    uint8_t *body; /* of the request */
    /* The rest of a large answer. */
    struct rpc_request more;
    char *answer;
    size_t answer_size, received;
};

static void finish(struct carry *carry, enum err err, const struct err_text *text) {
    struct backend_call *call = carry->call;
    call->err = err;
    if (err != ERR_OK) {
        call->text = *text;
    }
    *carry->back = carry->next;
    if (carry->next != NULL) {
        carry->next->back = carry->back;
    }
    void (*done)(void *context) = carry->done;
    void *context = carry->context;
    free(carry->answer);
    free(carry->body);
    free(carry);
    done(context);
}

/* ---- answers to HTTP requests ---- */

static struct backend_reply pack_reply(struct packer *packer, const Pb__RpcHttpAnswer *from,
                                       struct str_pair *headers) {
    struct backend_reply reply = {.status = (int)from->status,
                                  .header_count = (uint32_t)from->n_headers};
    for (size_t i = 0; i < from->n_headers; i++) {
        struct str_pair pair = {from->headers[i]->name, from->headers[i]->value};
        pack_str(packer, &pair.key);
        pack_str(packer, &pair.value);
        if (headers != NULL) {
            headers[i] = pair;
        }
    }
    return reply;
}

static struct backend_reply *copy_reply(const Pb__RpcHttpAnswer *from) {
    size_t head = sizeof(struct backend_reply) + from->n_headers * sizeof(struct str_pair);
    struct packer packer = {.used = head};
    pack_reply(&packer, from, NULL);
    packer = (struct packer){.block = mem_calloc(1, packer.used), .used = head};
    struct backend_reply *reply = (struct backend_reply *)(void *)packer.block;
    struct backend_reply copy = pack_reply(&packer, from, reply->headers);
    reply->status = copy.status;
    reply->header_count = copy.header_count;
    return reply;
}

static const struct err_text unreadable = {"the server's answer cannot be read"};
static const struct err_text lost = {
    "rpc error making call: the server was lost before all of its answer had come"};

static void ask_more(struct carry *carry);

static void take_more(struct rpc_request *rpc, enum err err, const struct err_text *text,
                      const uint8_t *body, size_t size) {
    struct carry *carry = CONTAINER_OF(rpc, struct carry, more);
    if (err == ERR_OK && (size == 0 || size > carry->answer_size - carry->received)) {
        finish(carry, ERR_CORRUPT, &unreadable);
        return;
    }
    if (err != ERR_OK) {
        finish(carry, ERR_TIMEOUT, err == ERR_CLOSED || text == NULL ? &lost : text);
        return;
    }
    memcpy(carry->answer + carry->received, body, size);
    carry->received += size;
    ask_more(carry);
}

/* Or ends it, when all has come. */
static void ask_more(struct carry *carry) {
    Pb__RpcHttpMore message = PB__RPC_HTTP_MORE__INIT;
    uint8_t bytes[32];
    if (carry->received == carry->answer_size) {
        carry->call->answer = carry->answer;
        carry->call->answer_size = carry->answer_size;
        carry->answer = NULL;
        finish(carry, ERR_OK, NULL);
        return;
    }
    message.id = carry->id;
    message.offset = carry->received;
    carry->more = (struct rpc_request){.done = take_more};
    size_t size = pb__rpc_http_more__pack(&message, bytes);
    if (carry->request.connection == NULL ||
        rpc_request(carry->request.connection, &carry->more, RPC_METHOD_HTTP_MORE, bytes, size,
                    LIMIT_FORWARD_MS) != ERR_OK) {
        finish(carry, ERR_TIMEOUT, &lost);
    }
}

static void take_answer(struct carry *carry, const uint8_t *body, size_t size) {
    Pb__RpcHttpAnswer *message = pb__rpc_http_answer__unpack(NULL, size, body);
    if (message == NULL || message->body.len > message->size ||
        message->size > LIMIT_HTTP_ANSWER_BYTES || message->status < 200 || message->status > 599) {
        pb__rpc_http_answer__free_unpacked(message, NULL);
        finish(carry, ERR_CORRUPT, &unreadable);
        return;
    }
    carry->call->forward.reply = copy_reply(message);
    carry->answer_size = message->size;
    carry->received = message->body.len;
    carry->answer = mem_alloc(message->size + 1);
    if (message->body.len > 0) {
        memcpy(carry->answer, message->body.data, message->body.len);
    }
    carry->answer[message->size] = '\0';
    pb__rpc_http_answer__free_unpacked(message, NULL);
    ask_more(carry);
}

static void http_answered(struct links_request *request, enum err err, const struct err_text *text,
                          const uint8_t *body, size_t size) {
    struct carry *carry = CONTAINER_OF(request, struct carry, request);
    if (err != ERR_OK) {
        /* All are a 500 but for what asks to come again later. */
        finish(carry, err == ERR_OVERLOADED || err == ERR_TOO_LARGE ? err : ERR_NO_LEADER, text);
        return;
    }
    take_answer(carry, body, size);
}

/* ---- requests ---- */

Pb__RpcHeader **carry_list_headers(const struct str_map *headers) {
    Pb__RpcHeader **list = mem_calloc(1, headers->count * (sizeof *list + sizeof **list) + 1);
    Pb__RpcHeader *all = (Pb__RpcHeader *)(void *)(list + headers->count);
    for (uint32_t i = 0; i < headers->count; i++) {
        all[i] = (Pb__RpcHeader)PB__RPC_HEADER__INIT;
        all[i].name = (char *)(uintptr_t)headers->v[i].key;
        all[i].value = (char *)(uintptr_t)headers->v[i].value;
        list[i] = &all[i];
    }
    return list;
}

static void encode_http(struct carry *carry) {
    const struct backend_call *call = carry->call;
    const struct str_map *headers = &call->forward.headers;
    Pb__RpcHttp message = PB__RPC_HTTP__INIT;
    Pb__RpcHeader **list = carry_list_headers(headers);
    message.hops = call->forward.hops + 1;
    message.id = carry->id;
    message.method = (char *)(uintptr_t)call->forward.method;
    message.node = (char *)(uintptr_t)call->forward.node;
    message.target = (char *)(uintptr_t)call->forward.target;
    message.headers = list;
    message.n_headers = headers->count;
    message.body.data = (uint8_t *)(uintptr_t)call->forward.body;
    message.body.len = call->forward.body_size;
    carry->request.size = pb__rpc_http__get_packed_size(&message);
    carry->body = mem_alloc(carry->request.size + 1);
    pb__rpc_http__pack(&message, carry->body);
    free(list);
}

static void question_answered(struct links_request *request, enum err err,
                              const struct err_text *text, const uint8_t *body, size_t size) {
    struct carry *carry = CONTAINER_OF(request, struct carry, request);
    if (err == ERR_OK) {
        carry->call->answer = mem_memdup(body, size);
        carry->call->answer_size = size;
    }
    finish(carry, err, text);
}

static void encode_question(struct carry *carry) {
    const struct backend_call *call = carry->call;
    Pb__RpcQuestion message = PB__RPC_QUESTION__INIT;
    message.hops = call->question.hops + 1;
    message.tcp = call->question.tcp;
    message.wan_for = (char *)(uintptr_t)call->question.wan_for;
    message.request.data = (uint8_t *)(uintptr_t)call->question.request;
    message.request.len = call->question.size;
    carry->request.size = pb__rpc_question__get_packed_size(&message);
    carry->body = mem_alloc(carry->request.size + 1);
    pb__rpc_question__pack(&message, carry->body);
}

void carry_run(struct agent *agent, struct backend_call *call, void (*done)(void *context),
               void *context) {
    struct carry *carry = mem_calloc(1, sizeof *carry);
    bool http = call->kind == BACKEND_FORWARD;
    if (http && call->forward.cancelled) {
        call->err = err_set(&call->text, ERR_CLOSED, "nobody waits for the answer");
        free(carry);
        done(context);
        return;
    }
    carry->agent = agent;
    carry->call = call;
    carry->done = done;
    carry->context = context;
    carry->id = ++agent->carry_id;
    carry->next = agent->carries;
    if (carry->next != NULL) {
        carry->next->back = &carry->next;
    }
    carry->back = &agent->carries;
    agent->carries = carry;
    if (http) {
        encode_http(carry);
    } else {
        encode_question(carry);
    }
    struct links_request *request = &carry->request;
    request->datacenter = http ? call->forward.datacenter : call->question.datacenter;
    request->method = http ? RPC_METHOD_HTTP : RPC_METHOD_QUESTION;
    request->body = carry->body;
    request->repeatable = !http || call->forward.repeatable;
    request->answer_ms = http ? call->forward.answer_ms : 0;
    request->hurry_ms =
        (http ? call->forward.mirrored : call->question.mirrored) ? LIMIT_LINK_HURRY_MS : 0;
    request->done = http ? http_answered : question_answered;
    links_ask(agent->links, request);
}

void carry_cancel(struct agent *agent, struct backend_call *call) {
    struct carry *carry = agent->carries;
    struct rpc_connection *connection = NULL;
    struct err_text text = {"nobody waits for the answer"};
    while (carry != NULL && carry->call != call) {
        carry = carry->next;
    }
    if (carry == NULL || carry->answer != NULL) {
        return; /* it ends soon by itself */
    }
    links_cancel(&carry->request, &connection);
    if (connection != NULL && carry->request.method == RPC_METHOD_HTTP) {
        Pb__RpcHttpMore message = PB__RPC_HTTP_MORE__INIT;
        uint8_t bytes[32];
        message.id = carry->id;
        size_t size = pb__rpc_http_more__pack(&message, bytes);
        (void)rpc_send(connection, RPC_METHOD_HTTP_CANCEL, bytes, size);
    }
    finish(carry, ERR_CLOSED, &text);
}

void carry_end_all(struct agent *agent) {
    struct err_text text = {"the agent stops"};
    while (agent->carries != NULL) {
        struct rpc_connection *connection;
        links_cancel(&agent->carries->request, &connection);
        rpc_request_cancel(&agent->carries->more);
        finish(agent->carries, ERR_NO_LEADER, &text);
    }
}

/* ---- commands ---- */

struct command {
    struct links_request request;
    struct group_proposal *proposal;
    struct metric *timing;
};

static const struct err_text too_large = {"the command does not fit into an entry of the log"};

static void command_answered(struct links_request *request, enum err err,
                             const struct err_text *text, const uint8_t *body, size_t size) {
    struct command *command = CONTAINER_OF(request, struct command, request);
    struct group_proposal *proposal = command->proposal;
    struct err_text none = {""};
    free(command);
    if (err == ERR_OK && proposal->outcome != NULL) {
        err = codec_decode_result(body, size, proposal->outcome);
    }
    free(proposal->data);
    proposal->data = NULL;
    if (proposal->timing != NULL) {
        metric_sample(proposal->timing,
                      metrics_ms_since(proposal->proposed_at_ns, metrics_clock_ns()));
    }
    proposal->done(proposal, err, text != NULL ? text : &none);
}

void carry_propose(struct agent *agent, struct group_proposal *proposal) {
    struct command *command = mem_calloc(1, sizeof *command);
    command->proposal = proposal;
    proposal->proposed_at_ns = metrics_clock_ns();
    if (proposal->data == NULL) {
        command->request.done = command_answered;
        command_answered(&command->request, ERR_TOO_LARGE, &too_large, NULL, 0);
        return;
    }
    command->request = (struct links_request){.datacenter = "",
                                              .method = RPC_METHOD_COMMAND,
                                              .body = proposal->data,
                                              .size = proposal->size,
                                              .done = command_answered};
    links_ask(agent->links, &command->request);
}
