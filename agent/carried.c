/* The side that answers: requests of agents without -server, and of servers of other datacenters.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/carried_internal.h"
#include "agent/group.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "proto/rpc.pb-c.h"

#define REST_MS 30000 /* an answer's rest is kept so long for who has not asked for it */

struct peer;

/* An HTTP request under way, or an answer of which not all was fetched. */
struct request {
    struct http_carried http; /* first */
    struct peer *peer;        /* NULL: its connection is gone */
    struct request *next, **back;
    uint64_t id;
    struct rpc_ticket ticket;
    Pb__RpcHttp *message;
    struct str_pair *headers;
    char *rest; /* the whole body */
    size_t rest_size;
    struct loop_timer rest_timer;
};

/* A connection that asks. */
struct peer {
    struct carried *carried;
    struct request *requests;
};

struct carried {
    struct agent *agent;
    struct rpc *rpc;
    size_t rest_bytes; /* of all rests */
    struct metric *taken, *failed;
};

static const struct err_text malformed = {"a malformed request between agents"};

/* ---- connections ---- */

static void connection_closed(void *context, struct rpc_connection *connection, enum err err,
                              const struct err_text *text);

static const struct rpc_events peer_events = {.closed = connection_closed};
const struct rpc_events carried_events = {.opened = NULL};

static void unlink_request(struct request *request) {
    *request->back = request->next;
    if (request->next != NULL) {
        request->next->back = request->back;
    }
    request->peer = NULL;
}

static void free_rest(struct request *request, struct carried *carried) {
    loop_timer_stop(carried->agent->loop, &request->rest_timer);
    carried->rest_bytes -= request->rest_size;
    unlink_request(request);
    free(request->rest);
    free(request);
}

static void connection_closed(void *context, struct rpc_connection *connection, enum err err,
                              const struct err_text *text) {
    struct peer *peer = context;
    (void)connection;
    (void)err;
    (void)text;
    while (peer->requests != NULL) {
        struct request *request = peer->requests;
        if (request->rest != NULL) {
            free_rest(request, peer->carried);
        } else {
            unlink_request(request);
            http_carried_give_up(&request->http);
        }
    }
    free(peer);
}

static struct peer *peer_of(struct carried *carried, struct rpc_connection *from) {
    if (rpc_context(from) != carried) {
        return rpc_context(from);
    }
    struct peer *peer = mem_calloc(1, sizeof *peer);
    peer->carried = carried;
    rpc_set_events(from, &peer_events, peer);
    return peer;
}

/* ---- HTTP ---- */

static void rest_is_old(struct loop_timer *timer) {
    struct request *request = CONTAINER_OF(timer, struct request, rest_timer);
    free_rest(request, request->peer->carried);
}

/* Keeps a large answer until it is fetched. False: too much is kept. */
static bool keep_rest(struct request *request, const char *body, size_t size) {
    struct carried *carried = request->peer->carried;
    struct loop *loop = carried->agent->loop;
    if (carried->rest_bytes + size > LIMIT_HTTP_ANSWERS_BYTES) {
        return false;
    }
    carried->rest_bytes += size;
    request->rest = mem_memdup(body, size);
    request->rest_size = size;
    request->rest_timer.run = rest_is_old;
    loop_timer_start(loop, &request->rest_timer, loop_now_ms(loop) + REST_MS);
    return true;
}

static void send_answer(struct request *request, struct carried *carried, int status,
                        const struct str_map *headers, const char *body, size_t size) {
    Pb__RpcHttpAnswer answer = PB__RPC_HTTP_ANSWER__INIT;
    Pb__RpcHeader **list = carry_list_headers(headers);
    answer.status = (uint32_t)status;
    answer.headers = list;
    answer.n_headers = headers->count;
    answer.body.data = (uint8_t *)(uintptr_t)body;
    answer.body.len = size < LIMIT_CARRY_PIECE_BYTES ? size : LIMIT_CARRY_PIECE_BYTES;
    answer.size = size;
    size_t bytes = pb__rpc_http_answer__get_packed_size(&answer);
    uint8_t *packed = mem_alloc(bytes);
    pb__rpc_http_answer__pack(&answer, packed);
    rpc_answer(carried->rpc, request->ticket, ERR_OK, NULL, packed, bytes);
    free(packed);
    free(list);
}

static void http_done(struct http_carried *http, int status, const struct str_map *headers,
                      const char *body, size_t size) {
    struct request *request = CONTAINER_OF(http, struct request, http);
    struct peer *peer = request->peer;
    bool kept = false;
    if (peer != NULL) {
        struct err_text full = {"too many large answers are on their way from this server"};
        struct err_text stopping = {"the agent stops"};
        kept = size > LIMIT_CARRY_PIECE_BYTES && keep_rest(request, body, size);
        metric_count(status == 0 || status >= 500 ? peer->carried->failed : NULL, 1);
        if (status == 0) { /* another server may answer */
            rpc_answer(peer->carried->rpc, request->ticket, ERR_CLOSED, &stopping, NULL, 0);
        } else if (kept || size <= LIMIT_CARRY_PIECE_BYTES) {
            send_answer(request, peer->carried, status, headers, body, size);
        } else {
            rpc_answer(peer->carried->rpc, request->ticket, ERR_OVERLOADED, &full, NULL, 0);
        }
    }
    pb__rpc_http__free_unpacked(request->message, NULL);
    request->message = NULL;
    free(request->headers);
    request->headers = NULL;
    if (!kept) {
        if (peer != NULL) {
            unlink_request(request);
        }
        free(request);
    }
}

static void on_http(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                    const uint8_t *body, size_t size) {
    struct carried *carried = context;
    struct agent *agent = carried->agent;
    Pb__RpcHttp *message = pb__rpc_http__unpack(NULL, size, body);
    struct err_text stopping = {"the agent stops"};
    carried_count(carried);
    if (message == NULL || !carried_may_work(carried)) {
        pb__rpc_http__free_unpacked(message, NULL);
        carried_answer(carried, ticket, message == NULL ? ERR_INVALID : ERR_CLOSED,
                       message == NULL ? &malformed : &stopping, NULL, 0);
        return;
    }
    struct request *request = mem_calloc(1, sizeof *request);
    request->peer = peer_of(carried, from);
    request->message = message;
    request->ticket = ticket;
    request->id = message->id;
    request->headers = mem_calloc(message->n_headers + 1, sizeof *request->headers);
    for (size_t i = 0; i < message->n_headers; i++) {
        request->headers[i] =
            (struct str_pair){message->headers[i]->name, message->headers[i]->value};
    }
    request->next = request->peer->requests;
    if (request->next != NULL) {
        request->next->back = &request->next;
    }
    request->back = &request->peer->requests;
    request->peer->requests = request;
    request->http = (struct http_carried){
        .method = message->method,
        .node = message->node,
        .target = message->target,
        .headers = {request->headers, (uint32_t)message->n_headers, true},
        .body = message->body.data,
        .body_size = message->body.len,
        .hops = message->hops,
        .done = http_done,
    };
    http_server_carry(agent->http, &request->http);
}

static struct request *find_request(struct carried *carried, struct rpc_connection *from,
                                    const uint8_t *body, size_t size, uint64_t *ret_offset) {
    Pb__RpcHttpMore *message = pb__rpc_http_more__unpack(NULL, size, body);
    struct request *request =
        message != NULL && rpc_context(from) != carried ? peer_of(carried, from)->requests : NULL;
    while (request != NULL && request->id != message->id) {
        request = request->next;
    }
    *ret_offset = message != NULL ? message->offset : 0;
    pb__rpc_http_more__free_unpacked(message, NULL);
    return request;
}

static void on_more(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                    const uint8_t *body, size_t size) {
    struct carried *carried = context;
    struct err_text gone = {"the rest of the answer is no longer there"};
    uint64_t offset;
    struct request *request = find_request(carried, from, body, size, &offset);
    if (request == NULL || request->rest == NULL || offset >= request->rest_size) {
        rpc_answer(carried->rpc, ticket, ERR_NOT_FOUND, &gone, NULL, 0);
        return;
    }
    size_t piece = request->rest_size - offset;
    piece = piece < LIMIT_CARRY_PIECE_BYTES ? piece : LIMIT_CARRY_PIECE_BYTES;
    rpc_answer(carried->rpc, ticket, ERR_OK, NULL, request->rest + offset, piece);
    if (offset + piece == request->rest_size) {
        free_rest(request, carried);
    } else {
        struct loop *loop = carried->agent->loop;
        loop_timer_start(loop, &request->rest_timer, loop_now_ms(loop) + REST_MS);
    }
}

static void on_cancel(void *context, struct rpc_connection *from, const uint8_t *body,
                      size_t size) {
    uint64_t offset;
    struct request *request = find_request(context, from, body, size, &offset);
    if (request != NULL && request->rest != NULL) {
        free_rest(request, context);
    } else if (request != NULL) {
        unlink_request(request);
        http_carried_give_up(&request->http);
    }
}

/* ---- commands ---- */

struct command {
    struct group_proposal proposal;
    struct carried *carried;
    struct rpc_ticket ticket;
    struct catalog_result outcome;
};

static void command_done(struct group_proposal *proposal, enum err err,
                         const struct err_text *text) {
    struct command *command = CONTAINER_OF(proposal, struct command, proposal);
    struct buf out;
    buf_init(&out, LIMIT_RPC_FRAME_BYTES);
    codec_encode_result(&command->outcome, &out);
    carried_answer(command->carried, command->ticket, err, text, out.data, out.count);
    buf_clear(&out);
    catalog_result_clear(&command->outcome);
    free(command);
}

static void on_command(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                       const uint8_t *body, size_t size) {
    struct carried *carried = context;
    struct arena arena;
    struct catalog_command decoded;
    (void)from;
    carried_count(carried);
    /* Into the log goes only what this program can apply, and what agents have to say. */
    arena_init(&arena);
    enum err err = codec_decode_command(body, size, &arena, &decoded);
    bool known =
        err == ERR_OK && (decoded.kind == COMMAND_REGISTER || decoded.kind == COMMAND_DEREGISTER ||
                          decoded.kind == COMMAND_REMOVAL);
    arena_clear(&arena);
    if (!known) {
        carried_answer(carried, ticket, ERR_INVALID, &malformed, NULL, 0);
        return;
    }
    struct command *command = mem_calloc(1, sizeof *command);
    command->carried = carried;
    command->ticket = ticket;
    command->proposal.data = mem_memdup(body, size);
    command->proposal.size = size;
    command->proposal.outcome = &command->outcome;
    command->proposal.done = command_done;
    group_propose(carried->agent->group, &command->proposal);
}

/* ---- life ---- */

static void on_ping(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                    const uint8_t *body, size_t size) {
    (void)from;
    (void)body;
    (void)size;
    rpc_answer(((struct carried *)context)->rpc, ticket, ERR_OK, NULL, NULL, 0);
}

struct agent *carried_agent(struct carried *carried) {
    return carried->agent;
}

bool carried_may_work(const struct carried *carried) {
    return carried->agent->http != NULL && !carried->agent->stopping;
}

void carried_answer(struct carried *carried, struct rpc_ticket ticket, enum err err,
                    const struct err_text *text, const void *body, size_t size) {
    metric_count(err != ERR_OK ? carried->failed : NULL, 1);
    rpc_answer(carried->rpc, ticket, err, text, body, size);
}

void carried_count(struct carried *carried) {
    metric_count(carried->taken, 1);
}

struct carried *carried_create(struct agent *agent) {
    struct carried *carried = mem_calloc(1, sizeof *carried);
    carried->agent = agent;
    carried->taken = metrics_add(agent->telemetry.metrics, METRIC_COUNTER, "rpc.request",
                                 "Requests that other agents have passed on.", NULL, 0);
    carried->failed = metrics_add(agent->telemetry.metrics, METRIC_COUNTER, "rpc.request_error",
                                  "Those of them that ended in an error.", NULL, 0);
    return carried;
}

void carried_serve(struct carried *carried, struct rpc *rpc) {
    static const struct rpc_service http = {.request = on_http}, more = {.request = on_more},
                                    cancel = {.message = on_cancel},
                                    command = {.request = on_command}, ping = {.request = on_ping},
                                    rows = {.request = carried_take_rows},
                                    question = {.request = carried_take_question};
    carried->rpc = rpc;
    rpc_serve(rpc, RPC_METHOD_HTTP, &http, carried);
    rpc_serve(rpc, RPC_METHOD_HTTP_MORE, &more, carried);
    rpc_serve(rpc, RPC_METHOD_HTTP_CANCEL, &cancel, carried);
    rpc_serve(rpc, RPC_METHOD_COMMAND, &command, carried);
    rpc_serve(rpc, RPC_METHOD_QUESTION, &question, carried);
    rpc_serve(rpc, RPC_METHOD_NODE_ROWS, &rows, carried);
    rpc_serve(rpc, RPC_METHOD_PING, &ping, carried);
}

void carried_destroy(struct carried *carried) {
    free(carried);
}
