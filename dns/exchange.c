#include "dns/exchange.h"

#include <errno.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/container.h"
#include "base/mem.h"
#include "dns/upstream.h"
#include "net/crypto.h"

#define LENGTH_BYTES 2
#define DATAGRAMS_A_TURN 16 /* forged ones among them must not hold up the loop */

static void attempt(struct exchange *e);

static void close_socket(struct exchange *e) {
    if (e->fd >= 0) {
        loop_timer_stop(e->loop, &e->timer);
        if (e->poll != NULL) {
            loop_poll_destroy(e->poll);
            e->poll = NULL;
        }
        close(e->fd);
        e->fd = -1;
    }
    free(e->in);
    e->in = NULL;
    e->in_count = 0;
}

static void try_next(struct exchange *e) {
    e->at++;
    e->stream = e->tcp;
    attempt(e);
}

static void timed_out(struct loop_timer *timer) {
    try_next(CONTAINER_OF(timer, struct exchange, timer));
}

static void retry_as_stream(struct exchange *e) {
    e->stream = true;
    attempt(e);
}

/* What the reply comes to. True: the attempt is over. */
static bool judge(struct exchange *e, uint8_t *reply, size_t bytes) {
    size_t taken = 0;
    switch (
        upstream_judge(e->sent + LENGTH_BYTES, e->name_bytes, reply, bytes, !e->stream, &taken)) {
    case UPSTREAM_IGNORE:
        return false;
    case UPSTREAM_OTHER_CASE: /* a stream cannot be forged by who does not see it */
        retry_as_stream(e);
        return true;
    case UPSTREAM_NEXT:
        try_next(e);
        return true;
    case UPSTREAM_CUT:
        if (e->whole && !e->stream) {
            retry_as_stream(e);
            return true;
        }
        break;
    case UPSTREAM_TAKE:
        break;
    }
    upstream_restore(reply, e->request, e->name_bytes);
    uint8_t *in = e->in; /* reply is in there, or in the room for datagrams */
    e->in = NULL;
    close_socket(e);
    e->done(e, reply, taken);
    free(in);
    return true;
}

static void receive_datagrams(struct exchange *e) {
    for (int i = 0; i < DATAGRAMS_A_TURN; i++) {
        ssize_t got = recv(e->fd, e->datagram, DNS_MESSAGE_BYTES, MSG_DONTWAIT);
        if (got < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            try_next(e); /* such as nobody listens there */
            return;
        }
        if (got < 0 || judge(e, e->datagram, (size_t)got)) {
            return;
        }
    }
}

/* False: the attempt has failed. */
static bool send_stream(struct exchange *e) {
    size_t bytes = LENGTH_BYTES + e->request_bytes;
    while (e->sent_at < bytes) {
        ssize_t sent =
            send(e->fd, e->sent + e->sent_at, bytes - e->sent_at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
        }
        e->sent_at += (size_t)sent;
    }
    loop_poll_set(e->poll, LOOP_READABLE);
    return true;
}

/* The same. True as well when the attempt is over. */
static bool receive_stream(struct exchange *e) {
    size_t wanted = LENGTH_BYTES;
    if (e->in == NULL) {
        e->in = mem_alloc(LENGTH_BYTES);
    }
    for (;;) {
        if (e->in_count >= LENGTH_BYTES) {
            wanted = LENGTH_BYTES + dns_load_u16(e->in);
        }
        if (e->in_count == wanted) {
            return wanted > LENGTH_BYTES && judge(e, e->in + LENGTH_BYTES, wanted - LENGTH_BYTES);
        }
        ssize_t got = recv(e->fd, e->in + e->in_count, wanted - e->in_count, MSG_DONTWAIT);
        if (got <= 0) {
            return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
        }
        e->in_count += (size_t)got;
        if (e->in_count == LENGTH_BYTES) {
            e->in = mem_realloc(e->in, LENGTH_BYTES + dns_load_u16(e->in));
        }
    }
}

static void ready(void *context, int events) {
    struct exchange *e = context;
    (void)events;
    if (!e->stream) {
        receive_datagrams(e);
    } else if (e->sent_at < LENGTH_BYTES + e->request_bytes ? !send_stream(e)
                                                            : !receive_stream(e)) {
        try_next(e);
    }
}

static void disguise(struct exchange *e) {
    uint8_t random[UPSTREAM_RANDOM_BYTES];
    crypto_random(random, sizeof random);
    dns_store_u16(e->sent, (unsigned)e->request_bytes);
    memcpy(e->sent + LENGTH_BYTES, e->request, e->request_bytes);
    upstream_disguise(e->sent + LENGTH_BYTES, e->name_bytes, random);
}

/* False: this recursor cannot be asked. */
static bool ask(struct exchange *e, const struct addr *recursor) {
    int type = e->stream ? SOCK_STREAM : SOCK_DGRAM;
    e->fd = socket(recursor->any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (e->fd < 0) {
        return false;
    }
    /* The system gives the socket a port at random (RFC 5452 section 9.2), and takes nothing for it
     * that comes from elsewhere. */
    if (connect(e->fd, &recursor->any, addr_size(recursor)) != 0 && errno != EINPROGRESS) {
        return false;
    }
    disguise(e);
    e->sent_at = 0;
    if (!e->stream && send(e->fd, e->sent + LENGTH_BYTES, e->request_bytes, MSG_NOSIGNAL) < 0) {
        return false;
    }
    e->poll = loop_poll_create(e->loop, e->fd, ready, e);
    loop_poll_set(e->poll, e->stream ? LOOP_WRITABLE : LOOP_READABLE);
    loop_timer_start(e->loop, &e->timer, loop_now_ms(e->loop) + e->timeout_ms);
    return true;
}

/* Asks the present recursor, or the first behind it that can be asked. */
static void attempt(struct exchange *e) {
    for (;; e->at++, e->stream = e->tcp) {
        close_socket(e);
        if (e->at >= e->recursor_count) {
            e->done(e, NULL, 0);
            return;
        }
        if (ask(e, &e->recursors[e->at])) {
            return;
        }
    }
}

void exchange_start(struct exchange *e) {
    e->fd = -1;
    e->at = 0;
    e->stream = e->tcp;
    e->timer.run = timed_out;
    e->sent = mem_alloc(LENGTH_BYTES + e->request_bytes);
    attempt(e);
}

void exchange_stop(struct exchange *e) {
    if (e->sent != NULL) {
        close_socket(e);
        free(e->sent);
        e->sent = NULL;
    }
}
