/* This agent's end: its connections, methods and requests. */
#include "net/rpc.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/rpc_internal.h"

#define LOG_LINES 10     /* about refusals, at once */
#define LOG_LINE_MS 1000 /* and one more after this */

struct rpc *rpc_create(const struct rpc_config *config) {
    struct rpc *rpc = mem_calloc(1, sizeof *rpc);
    rpc->config = *config;
    if (config->from != NULL) {
        rpc->from = *config->from;
        rpc->config.from = &rpc->from;
    }
    if (config->frame_bytes_max == 0) {
        rpc->config.frame_bytes_max = LIMIT_RPC_FRAME_BYTES;
    }
    if (config->queue_bytes_max == 0) {
        rpc->config.queue_bytes_max = LIMIT_RPC_QUEUE_BYTES;
    }
    if (config->accepted_max == 0) {
        rpc->config.accepted_max = LIMIT_RPC_ACCEPTED;
    }
    rpc->log_allowance = LOG_LINES;
    rpc->log_filled_at_ms = loop_now_ms(config->loop);
    rpc->gcm = crypto_gcm_create();
    return rpc;
}

void rpc_destroy(struct rpc *rpc) {
    static const struct err_text text = {"the agent is stopping"};
    if (rpc == NULL) {
        return;
    }
    tcp_listener_close(rpc->listener);
    while (rpc->newest != NULL) {
        rpc_connection_end(rpc->newest, ERR_CLOSED, &text);
    }
    ASSERT(rpc->clients == NULL);
    crypto_gcm_destroy(rpc->gcm);
    free(rpc);
}

void rpc_set_server(struct rpc *rpc, const struct uuid *node, const struct uuid *disk) {
    rpc->config.self.node = *node;
    rpc->config.self.disk = *disk;
}

void rpc_set_cluster(struct rpc *rpc, const struct uuid *cluster) {
    rpc->config.self.cluster = *cluster;
}

/* ---- the log ---- */

/* Strangers may cause these lines, so their number is bounded. */
void rpc_log_refusal(struct rpc *rpc, const char *what, const struct addr *addr,
                     const struct err_text *text) {
    int64_t now_ms = loop_now_ms(rpc->config.loop);
    int64_t more = (now_ms - rpc->log_filled_at_ms) / LOG_LINE_MS;
    if (more > 0) {
        rpc->log_filled_at_ms += more * LOG_LINE_MS;
        rpc->log_allowance =
            rpc->log_allowance + more < LOG_LINES ? rpc->log_allowance + more : LOG_LINES;
    }
    if (rpc->log_allowance > 0) {
        char name[ADDR_TEXT_BYTES];
        addr_format(addr, name);
        rpc->log_allowance--;
        log_write(rpc->config.log, LOG_WARN, rpc->config.module, "%s %s: error=\"%s\"", what, name,
                  text->s);
    }
}

const char *rpc_refusal_name(enum rpc_refusal why) {
    static const char *const names[RPC_REFUSAL_COUNT] = {
        [RPC_REFUSED_GARBAGE] = "garbage",     [RPC_REFUSED_TOO_LARGE] = "too large",
        [RPC_REFUSED_VERSION] = "version",     [RPC_REFUSED_CLUSTER] = "other cluster",
        [RPC_REFUSED_KEY] = "wrong key",       [RPC_REFUSED_IDENTITY] = "other node",
        [RPC_REFUSED_SLOW] = "slow handshake", [RPC_REFUSED_FULL] = "too many",
    };
    ASSERT(why < RPC_REFUSAL_COUNT);
    return names[why];
}

void rpc_get_counts(const struct rpc *rpc, struct rpc_counts *ret_counts) {
    *ret_counts = rpc->counts;
}

/* ---- connections ---- */

static void accepted(void *context, struct tcp *tcp, const struct addr *from) {
    struct rpc *rpc = context;
    rpc->counts.accepted++;
    if (rpc->config.allows != NULL && !rpc->config.allows(rpc->config.accepted_context, from)) {
        static const struct err_text text = {"its address is not among the allowed ones"};
        rpc->counts.refused[RPC_REFUSED_IDENTITY]++;
        rpc_log_refusal(rpc, "refused a connection from", from, &text);
        tcp_close(tcp);
        return;
    }
    if (rpc->accepted_now >= rpc->config.accepted_max) {
        rpc->counts.refused[RPC_REFUSED_FULL]++;
        tcp_close(tcp);
        return;
    }
    struct rpc_connection *c =
        rpc_connection_create(rpc, from, false, rpc->config.accepted, rpc->config.accepted_context);
    rpc_handshake_begin(c, NULL);
    rpc_connection_start(c, tcp);
    tcp_begin(tcp, &rpc_tcp_events, c);
}

enum err rpc_listen(struct rpc *rpc, const struct addr *bind, struct err_text *text) {
    ASSERT(rpc->listener == NULL);
    rpc->listener = tcp_listen(rpc->config.loop, bind, accepted, rpc, text);
    return rpc->listener != NULL ? ERR_OK : ERR_IO;
}

struct rpc_connection *rpc_connect(struct rpc *rpc, const struct addr *to,
                                   const struct uuid *expected, const struct rpc_events *events,
                                   void *context) {
    struct rpc_connection *c = rpc_connection_create(rpc, to, true, events, context);
    rpc_handshake_begin(c, expected);
    rpc_connection_start(c, tcp_connect(rpc->config.loop, to, rpc->config.from,
                                        LIMIT_RPC_CONNECT_MS, &rpc_tcp_events, c));
    return c;
}

void rpc_expect_far(struct rpc_connection *connection) {
    connection->far = true;
}

bool rpc_is_open(const struct rpc_connection *c) {
    return c->tcp != NULL && c->state == RPC_OPEN && !c->finishing;
}

void rpc_set_events(struct rpc_connection *c, const struct rpc_events *events, void *context) {
    c->events = events;
    c->context = context;
}

void *rpc_context(const struct rpc_connection *c) {
    return c->context;
}

const struct rpc_identity *rpc_peer(const struct rpc_connection *c) {
    return &c->peer;
}

const struct addr *rpc_peer_addr(const struct rpc_connection *c) {
    return &c->addr;
}

size_t rpc_queued_bytes(const struct rpc_connection *c) {
    return c->tcp != NULL ? tcp_queued_bytes(c->tcp) : 0;
}

/* ---- out ---- */

static enum err send_frame(struct rpc_connection *c, const struct wire_frame *frame) {
    const struct rpc_config *config = &c->rpc->config;
    size_t bytes = wire_frame_bytes(frame), queued = rpc_queued_bytes(c);
    if (!rpc_is_open(c)) {
        return ERR_CLOSED;
    }
    if (bytes > config->frame_bytes_max) {
        return ERR_TOO_LARGE;
    }
    if (frame->kind != WIRE_ANSWER && queued > 0 && queued + bytes > config->queue_bytes_max) {
        c->blocked = true;
        return ERR_OVERLOADED;
    }
    size_t payload = 0;
    uint8_t *block = wire_encode_frame(frame, &payload);
    rpc_connection_write(c, block, payload);
    return ERR_OK;
}

enum err rpc_send(struct rpc_connection *c, unsigned method, const void *body, size_t size) {
    struct wire_frame frame = {.kind = WIRE_MESSAGE, .method = method, .body = body, .size = size};
    ASSERT(method > 0 && method < RPC_METHODS);
    return send_frame(c, &frame);
}

void rpc_answer(struct rpc *rpc, struct rpc_ticket ticket, enum err err,
                const struct err_text *text, const void *body, size_t size) {
    struct rpc_connection *c = rpc->buckets[ticket.connection % RPC_BUCKETS];
    while (c != NULL && c->serial != ticket.connection) {
        c = c->chain;
    }
    if (c == NULL) {
        return;
    }
    ASSERT(c->asked_count > 0);
    c->asked_count--;
    struct wire_frame frame = {.kind = WIRE_ANSWER, .id = ticket.request, .error = (uint32_t)err};
    if (err == ERR_OK) {
        frame.body = body;
        frame.size = size;
    } else {
        frame.text = text != NULL ? text->s : err_name(err);
    }
    if (send_frame(c, &frame) == ERR_TOO_LARGE) {
        frame = (struct wire_frame){.kind = WIRE_ANSWER,
                                    .id = ticket.request,
                                    .error = ERR_TOO_LARGE,
                                    .text = "the answer is too large for a frame"};
        (void)send_frame(c, &frame);
    }
}

/* ---- requests of this side ---- */

static void take_off(struct rpc_request *request) {
    struct rpc_connection *c = request->connection;
    struct rpc_request **at = &c->requests;
    while (*at != request) {
        at = &(*at)->next;
    }
    *at = request->next;
    if (request->next == NULL) {
        c->requests_last = at;
    }
    c->request_count--;
    loop_timer_stop(c->rpc->config.loop, &request->timer);
    request->connection = NULL;
}

static void timed_out(struct loop_timer *timer) {
    static const struct err_text text = {"no answer in time"};
    struct rpc_request *request = CONTAINER_OF(timer, struct rpc_request, timer);
    take_off(request);
    request->done(request, ERR_TIMEOUT, &text, NULL, 0);
}

enum err rpc_request(struct rpc_connection *c, struct rpc_request *request, unsigned method,
                     const void *body, size_t size, int timeout_ms) {
    struct loop *loop = c->rpc->config.loop;
    ASSERT(method > 0 && method < RPC_METHODS);
    if (c->request_count >= LIMIT_RPC_REQUESTS) {
        c->blocked = true;
        return ERR_OVERLOADED;
    }
    struct wire_frame frame = {
        .kind = WIRE_REQUEST, .id = ++c->last_id, .method = method, .body = body, .size = size};
    enum err err = send_frame(c, &frame);
    if (err != ERR_OK) {
        return err;
    }
    request->connection = c;
    request->id = frame.id;
    request->next = NULL;
    request->timer = (struct loop_timer){.run = timed_out};
    *c->requests_last = request;
    c->requests_last = &request->next;
    c->request_count++;
    loop_timer_start(loop, &request->timer, loop_now_ms(loop) + timeout_ms);
    return ERR_OK;
}

void rpc_request_cancel(struct rpc_request *request) {
    if (request->connection != NULL) {
        take_off(request);
    }
}

void rpc_fail_requests(struct rpc_connection *c, enum err err, const struct err_text *text) {
    while (c->requests != NULL) {
        struct rpc_request *request = c->requests;
        take_off(request);
        request->done(request, err, text, NULL, 0);
    }
}

/* ---- in ---- */

static void take_answer(struct rpc_connection *c, const struct wire_frame *frame) {
    struct rpc_request *request = c->requests;
    while (request != NULL && request->id != frame->id) {
        request = request->next;
    }
    if (request == NULL) {
        return; /* cancelled, or timed out */
    }
    struct err_text text;
    enum err err = frame->error < ERR_COUNT ? (enum err)frame->error : ERR_UNSUPPORTED;
    err_set(&text, err, "%s", frame->text);
    take_off(request);
    request->done(request, err, &text, frame->body, frame->size);
    if (c->blocked && c->tcp != NULL && tcp_queued_bytes(c->tcp) == 0) {
        rpc_tcp_events.drained(c); /* it was the number of requests that was full */
    }
}

static void take_request(struct rpc_connection *c, const struct rpc_served *method,
                         const struct wire_frame *frame) {
    struct rpc_ticket ticket = {c->serial, frame->id};
    bool full = c->asked_count >= LIMIT_RPC_REQUESTS;
    c->asked_count++;
    if (full) {
        static const struct err_text text = {"too many requests of one connection"};
        c->rpc->counts.refused[RPC_REFUSED_FULL]++;
        rpc_answer(c->rpc, ticket, ERR_OVERLOADED, &text, NULL, 0);
    } else if (method == NULL || method->service == NULL || method->service->request == NULL) {
        static const struct err_text text = {"this agent does not know the request"};
        rpc_answer(c->rpc, ticket, ERR_UNSUPPORTED, &text, NULL, 0);
    } else {
        method->service->request(method->context, c, ticket, frame->body, frame->size);
    }
}

bool rpc_take_frame(struct rpc_connection *c, const uint8_t *payload, size_t size) {
    struct wire_frame frame;
    if (c->finishing) {
        return true;
    }
    if (!wire_decode_frame(payload, size, &frame)) {
        return false;
    }
    const struct rpc_served *method =
        frame.method > 0 && frame.method < RPC_METHODS ? &c->rpc->methods[frame.method] : NULL;
    if (frame.kind == WIRE_ANSWER) {
        take_answer(c, &frame);
    } else if (frame.kind == WIRE_REQUEST) {
        take_request(c, method, &frame);
    } else if (method != NULL && method->service != NULL && method->service->message != NULL) {
        method->service->message(method->context, c, frame.body, frame.size);
    } else {
        c->rpc->counts.dropped_messages++;
    }
    wire_frame_clear(&frame);
    return true;
}

void rpc_serve(struct rpc *rpc, unsigned method, const struct rpc_service *service, void *context) {
    ASSERT(method > 0 && method < RPC_METHODS);
    rpc->methods[method] = (struct rpc_served){service, context};
}
