/* The life of one connection: bytes to frames and back, its end. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/rpc_internal.h"

static void end_finished(struct rpc_connection *c) {
    static const struct err_text text = {"the connection was closed"};
    rpc_connection_end(c, ERR_CLOSED, &text);
}

/* ---- life ---- */

static void on_timer(struct loop_timer *timer) {
    struct rpc_connection *c = CONTAINER_OF(timer, struct rpc_connection, timer);
    if (c->finishing) {
        end_finished(c);
        return;
    }
    rpc_connection_refuse(c, RPC_REFUSED_SLOW, "the handshake took too long");
}

static struct rpc_connection **bucket_of(struct rpc *rpc, uint64_t serial) {
    return &rpc->buckets[serial % RPC_BUCKETS];
}

struct rpc_connection *rpc_connection_create(struct rpc *rpc, const struct addr *addr, bool caller,
                                             const struct rpc_events *events, void *context) {
    struct rpc_connection *c = mem_calloc(1, sizeof *c);
    c->rpc = rpc;
    c->serial = ++rpc->last_serial;
    c->addr = *addr;
    c->caller = caller;
    c->events = events;
    c->context = context;
    c->requests_last = &c->requests;
    c->timer.run = on_timer;
    buf_init(&c->in, rpc->config.frame_bytes_max + WIRE_LENGTH_BYTES + CRYPTO_TAG_BYTES);
    struct rpc_connection **bucket = bucket_of(rpc, c->serial);
    c->chain = *bucket;
    *bucket = c;
    c->older = rpc->newest;
    if (c->older != NULL) {
        c->older->newer = c;
    }
    rpc->newest = c;
    rpc->counts.connections++;
    rpc->accepted_now += !caller;
    return c;
}

static void leave(struct rpc_connection *c) {
    if (--c->busy == 0 && c->tcp == NULL && c->told) {
        buf_clear(&c->in);
        rpc_handshake_free(c);
        crypto_wipe(c, sizeof *c);
        free(c);
    }
}

/* Off all lists; no event of its stream comes any more. */
static void detach(struct rpc_connection *c) {
    struct rpc *rpc = c->rpc;
    struct rpc_connection **at = bucket_of(rpc, c->serial);
    while (*at != c) {
        at = &(*at)->chain;
    }
    *at = c->chain;
    *(c->newer != NULL ? &c->newer->older : &rpc->newest) = c->older;
    if (c->older != NULL) {
        c->older->newer = c->newer;
    }
    rpc->counts.connections--;
    rpc->accepted_now -= !c->caller;
    loop_timer_stop(rpc->config.loop, &c->timer);
    tcp_close(c->tcp);
    c->tcp = NULL;
}

void rpc_connection_end(struct rpc_connection *c, enum err err, const struct err_text *text) {
    if (c->tcp == NULL) {
        return;
    }
    c->busy++;
    detach(c);
    rpc_fail_requests(c, err == ERR_TIMEOUT ? ERR_TIMEOUT : ERR_CLOSED, text);
    if (!c->told) {
        c->told = true;
        if (c->events != NULL && c->events->closed != NULL) {
            c->events->closed(c->context, c, err, text);
        }
    }
    leave(c);
}

void rpc_close(struct rpc_connection *c) {
    static const struct err_text text = {"the connection was closed"};
    if (c != NULL && !c->told) {
        c->told = true;
        rpc_connection_end(c, ERR_CLOSED, &text);
    }
}

void rpc_finish(struct rpc_connection *c) {
    if (c->told || c->tcp == NULL) {
        return;
    }
    c->told = c->finishing = true;
    if (tcp_queued_bytes(c->tcp) == 0) {
        end_finished(c);
    } else {
        struct loop *loop = c->rpc->config.loop;
        loop_timer_start(loop, &c->timer, loop_now_ms(loop) + LIMIT_RPC_FINISH_MS);
    }
}

enum err rpc_refusal_err(enum rpc_refusal why) {
    switch (why) {
    case RPC_REFUSED_TOO_LARGE:
        return ERR_TOO_LARGE;
    case RPC_REFUSED_VERSION:
        return ERR_VERSION;
    case RPC_REFUSED_CLUSTER:
    case RPC_REFUSED_IDENTITY:
        return ERR_FOREIGN;
    case RPC_REFUSED_KEY:
        return ERR_DENIED;
    case RPC_REFUSED_SLOW:
        return ERR_TIMEOUT;
    case RPC_REFUSED_FULL:
        return ERR_OVERLOADED;
    case RPC_REFUSED_GARBAGE:
    case RPC_REFUSAL_COUNT:
        break;
    }
    return ERR_INVALID;
}

void rpc_connection_refuse(struct rpc_connection *c, enum rpc_refusal why, const char *format,
                           ...) {
    struct err_text text;
    va_list args;
    va_start(args, format);
    vsnprintf(text.s, sizeof text.s, format, args);
    va_end(args);
    c->rpc->counts.refused[why]++;
    size_t payload = 0;
    uint8_t *block = rpc_handshake_refusal(c, why, &text, &payload);
    if (block != NULL) {
        rpc_connection_write(c, block, payload);
    }
    rpc_log_refusal(c->rpc, c->caller ? "refused the answer of" : "refused a connection from",
                    &c->addr, &text);
    rpc_connection_end(c, rpc_refusal_err(why), &text);
}

/* ---- out ---- */

void rpc_connection_write(struct rpc_connection *c, uint8_t *block, size_t payload) {
    if (c->tcp == NULL) {
        free(block);
        return;
    }
    size_t size = WIRE_LENGTH_BYTES + payload;
    if (c->state == RPC_OPEN && c->key_size > 0) {
        wire_store_u32(block, (uint32_t)(payload + CRYPTO_TAG_BYTES));
        struct crypto_gcm_input input = {c->out_direction.key, c->key_size,
                                         c->out_direction.count++, block, WIRE_LENGTH_BYTES};
        crypto_gcm_seal(c->rpc->gcm, &input, block + WIRE_LENGTH_BYTES, payload,
                        block + WIRE_LENGTH_BYTES, block + size);
        size += CRYPTO_TAG_BYTES;
    }
    c->rpc->counts.sent_bytes += size;
    tcp_write(c->tcp, block, size);
    if (c->tcp != NULL && !c->resting &&
        tcp_queued_bytes(c->tcp) > c->rpc->config.queue_bytes_max) {
        c->resting = true;
        tcp_pause(c->tcp, true);
    }
}

/* ---- in ---- */

/* Bytes that the next piece has at most. */
static size_t piece_max(const struct rpc_connection *c) {
    return c->state != RPC_OPEN
               ? LIMIT_RPC_HELLO_BYTES
               : c->rpc->config.frame_bytes_max + (c->key_size > 0 ? CRYPTO_TAG_BYTES : 0);
}

/* A whole frame; the payload may be written. */
static void take_frame(struct rpc_connection *c, uint8_t *frame, size_t payload) {
    uint8_t *at = frame + WIRE_LENGTH_BYTES;
    if (c->state != RPC_OPEN) {
        rpc_handshake_take(c, at, payload);
        return;
    }
    if (c->key_size > 0) {
        struct crypto_gcm_input input = {c->in_direction.key, c->key_size, c->in_direction.count++,
                                         frame, WIRE_LENGTH_BYTES};
        bool whole = payload >= CRYPTO_TAG_BYTES;
        payload -= whole ? CRYPTO_TAG_BYTES : 0;
        if (!whole || !crypto_gcm_open(c->rpc->gcm, &input, at, payload, at + payload, at)) {
            rpc_connection_refuse(c, RPC_REFUSED_KEY, "a frame that was changed on the way");
            return;
        }
    }
    if (!rpc_take_frame(c, at, payload)) {
        rpc_connection_refuse(c, RPC_REFUSED_GARBAGE, "a malformed frame");
    }
}

/* How many bytes the piece that begins with these has; 0: not known yet, or refused. */
static size_t piece_bytes(struct rpc_connection *c, const uint8_t *data, size_t size) {
    if (c->state == RPC_WAIT_MAGIC) {
        return RPC_MAGIC_BYTES;
    }
    if (size < WIRE_LENGTH_BYTES) {
        return 0;
    }
    uint32_t payload = wire_load_u32(data);
    if (payload > piece_max(c)) {
        rpc_connection_refuse(c, RPC_REFUSED_TOO_LARGE, "a frame of %lu bytes, more than %zu",
                              (unsigned long)payload, piece_max(c));
        return 0;
    }
    return WIRE_LENGTH_BYTES + payload;
}

static void take_piece(struct rpc_connection *c, uint8_t *data, size_t size) {
    if (c->state == RPC_WAIT_MAGIC) {
        rpc_handshake_take_magic(c, data);
    } else {
        take_frame(c, data, size - WIRE_LENGTH_BYTES);
    }
}

/* Adds to a piece that has begun; takes it when it is whole. Returns the bytes used. */
static size_t continue_piece(struct rpc_connection *c, const uint8_t *data, size_t size) {
    size_t bytes = piece_bytes(c, (const uint8_t *)c->in.data, c->in.count);
    if (c->tcp == NULL) {
        return size;
    }
    size_t wanted = (bytes == 0 ? WIRE_LENGTH_BYTES : bytes) - c->in.count;
    size_t used = wanted < size ? wanted : size;
    buf_append(&c->in, data, used);
    ASSERT(!c->in.failed);
    if (bytes == 0) { /* the length may be whole now: it is judged at once */
        bytes = piece_bytes(c, (const uint8_t *)c->in.data, c->in.count);
        if (c->tcp == NULL) {
            return size;
        }
    }
    if (bytes > 0 && c->in.count == bytes) {
        struct buf whole = c->in;
        buf_init(&c->in, whole.max);
        take_piece(c, (uint8_t *)whole.data, whole.count);
        buf_clear(&whole);
    }
    return used;
}

static void received(void *context, uint8_t *data, size_t size) {
    struct rpc_connection *c = context;
    c->busy++;
    c->rpc->counts.received_bytes += size;
    while (size > 0 && c->tcp != NULL) {
        size_t used;
        if (c->in.count > 0) {
            used = continue_piece(c, data, size);
        } else {
            size_t bytes = piece_bytes(c, data, size);
            if (c->tcp == NULL) {
                break;
            }
            used = bytes > 0 && bytes <= size ? bytes : size;
            if (used == bytes) {
                take_piece(c, data, used);
            } else {
                buf_append(&c->in, data, used);
            }
        }
        data += used;
        size -= used;
    }
    leave(c);
}

static void drained(void *context) {
    struct rpc_connection *c = context;
    c->busy++;
    if (c->finishing) {
        end_finished(c);
        leave(c);
        return;
    }
    if (c->resting) {
        c->resting = false;
        tcp_pause(c->tcp, false);
    }
    if (c->blocked) {
        c->blocked = false;
        if (c->events != NULL && c->events->writable != NULL) {
            c->events->writable(c->context, c);
        }
    }
    leave(c);
}

static void connected(void *context) {
    struct rpc_connection *c = context;
    c->busy++;
    c->rpc->counts.connected++;
    rpc_handshake_greet(c);
    leave(c);
}

static void closed(void *context, enum err err, const struct err_text *text) {
    rpc_connection_end(context, err, text);
}

const struct tcp_events rpc_tcp_events = {
    .connected = connected, .received = received, .drained = drained, .closed = closed};

void rpc_connection_start(struct rpc_connection *c, struct tcp *tcp) {
    struct loop *loop = c->rpc->config.loop;
    c->tcp = tcp;
    int64_t allowed_ms = LIMIT_RPC_HANDSHAKE_MS + (c->caller ? LIMIT_RPC_CONNECT_MS : 0);
    loop_timer_start(loop, &c->timer, loop_now_ms(loop) + allowed_ms);
}
