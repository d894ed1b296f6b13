/* Two ends of RPC over a pipe in memory, which stands in for net/tcp.c. After some pieces of the
 * conversation, chosen by the input, the rest of the input speaks instead of one of them. Nobody
 * without the key gets a request through. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/mem.h"
#include "net/rpc.h"
#include "net/tcp.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

#define PIPE_BYTES (1024 * 1024)

struct tcp {
    struct tcp *peer;
    const struct tcp_events *events;
    void *context;
    struct buf in; /* not yet told */
    bool connecting, peer_closed, closed, told;
};

struct tcp_listener {
    void (*accepted)(void *context, struct tcp *tcp, const struct addr *from);
    void *context;
};

static struct tcp_listener listener;
static struct tcp *ends[2]; /* caller, callee */

struct tcp_listener *tcp_listen(struct loop *loop, const struct addr *bind,
                                void (*accepted)(void *context, struct tcp *tcp,
                                                 const struct addr *from),
                                void *context, struct err_text *text) {
    (void)loop;
    (void)bind;
    (void)text;
    listener = (struct tcp_listener){accepted, context};
    return &listener;
}

void tcp_listener_close(struct tcp_listener *closing) {
    (void)closing;
}

static struct tcp *create(void) {
    struct tcp *tcp = mem_calloc(1, sizeof *tcp);
    buf_init(&tcp->in, PIPE_BYTES);
    return tcp;
}

struct tcp *tcp_connect(struct loop *loop, const struct addr *to, const struct addr *from,
                        int timeout_ms, const struct tcp_events *events, void *context) {
    (void)loop;
    (void)from;
    (void)timeout_ms;
    ends[0] = create();
    ends[1] = create();
    ends[0]->peer = ends[1];
    ends[1]->peer = ends[0];
    ends[0]->events = events;
    ends[0]->context = context;
    ends[0]->connecting = true;
    listener.accepted(listener.context, ends[1], to);
    return ends[0];
}

void tcp_begin(struct tcp *tcp, const struct tcp_events *events, void *context) {
    tcp->events = events;
    tcp->context = context;
}

void tcp_write(struct tcp *tcp, uint8_t *data, size_t size) {
    if (!tcp->closed && !tcp->peer->closed) {
        buf_append(&tcp->peer->in, data, size);
    }
    free(data);
}

size_t tcp_queued_bytes(const struct tcp *tcp) {
    (void)tcp;
    return 0;
}

void tcp_pause(struct tcp *tcp, bool pause) {
    (void)tcp;
    (void)pause;
}

void tcp_close(struct tcp *tcp) {
    if (tcp != NULL) {
        tcp->closed = true;
        tcp->peer->peer_closed = true;
    }
}

/* One event of this end. False: it has none. */
static bool step(struct tcp *tcp) {
    static const struct err_text text = {"closed"};
    if (tcp->closed || tcp->told) {
        return false;
    }
    if (tcp->connecting) {
        tcp->connecting = false;
        tcp->events->connected(tcp->context);
        return true;
    }
    if (tcp->in.count > 0) {
        size_t size = 0;
        uint8_t *data = (uint8_t *)buf_take(&tcp->in, &size);
        if (data != NULL) {
            tcp->events->received(tcp->context, data, size);
        }
        free(data);
        return true;
    }
    if (tcp->peer_closed) {
        tcp->told = true;
        tcp->events->closed(tcp->context, ERR_CLOSED, &text);
        return true;
    }
    return false;
}

/* ---- the ends ---- */

static unsigned asked;
static struct rpc *caller, *callee;

static void request(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                    const uint8_t *body, size_t size) {
    struct rpc **rpc = context;
    (void)from;
    asked++;
    rpc_answer(*rpc, ticket, ERR_OK, NULL, body, size);
}

static const struct rpc_service service = {.request = request};

static void done(struct rpc_request *of, enum err err, const struct err_text *text,
                 const uint8_t *body, size_t size) {
    (void)of;
    (void)err;
    (void)text;
    (void)body;
    (void)size;
}

static struct rpc_request own_request = {.done = done};

static void opened(void *context, struct rpc_connection *connection) {
    (void)context;
    (void)rpc_request(connection, &own_request, 3, "x", 1, 1000);
}

static const struct rpc_events events = {.opened = opened};

static struct rpc *end_create(struct loop *loop, uint8_t id, const struct keyring *ring) {
    struct rpc_config config = {.loop = loop,
                                .module = "fuzz",
                                .kind = RPC_KIND_SERVER,
                                .self = {.node = {{id}}, .name = "n", .datacenter = "dc1"},
                                .keyring = ring,
                                .verify_incoming = true,
                                .verify_outgoing = true,
                                .frame_bytes_max = 64 * 1024};
    struct rpc *rpc = rpc_create(&config);
    rpc_serve(rpc, 3, &service, id == 1 ? &caller : &callee);
    return rpc;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct loop *loop;
    struct addr addr;
    if (size < 2) {
        return 0;
    }
    loop = loop == NULL ? loop_create(NULL) : loop;
    ASSERT(addr_parse("127.0.0.1", 1, &addr));
    bool keyed = (data[0] & 1) != 0;
    struct tcp *target_of_input;
    struct keyring *ring = keyring_create();
    struct keyring_key key;
    ASSERT(keyring_parse_key("MDEyMzQ1Njc4OWFiY2RlZg==", &key, NULL) == ERR_OK);
    if (keyed) {
        keyring_install(ring, &key, NULL);
    }
    caller = end_create(loop, 1, ring);
    callee = end_create(loop, 2, ring);
    ASSERT(rpc_listen(callee, &addr, NULL) == ERR_OK);
    rpc_connect(caller, &addr, NULL, &events, NULL);
    asked = 0;
    for (unsigned i = 0; i < data[1] % 8; i++) {
        step(ends[i % 2]);
    }
    unsigned before = asked;
    target_of_input = ends[data[0] >> 1 & 1];
    buf_reset(&target_of_input->in); /* what was on its way is lost */
    buf_append(&target_of_input->in, data + 2, size - 2);
    while (step(ends[0]) || step(ends[1])) {
    }
    ASSERT(!keyed || target_of_input != ends[1] || size == 2 || asked == before);
    rpc_request_cancel(&own_request);
    rpc_destroy(caller);
    rpc_destroy(callee);
    for (int i = 0; i < 2; i++) {
        buf_clear(&ends[i]->in);
        free(ends[i]);
    }
    keyring_destroy(ring);
    return 0;
}
