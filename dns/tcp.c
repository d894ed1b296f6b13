/* DNS over TCP (RFC 7766): all connections on one thread, none of them ever waited for.
 *
 * A connection is read only while nothing of its answers waits to be sent, so a client that does
 * not read is not read from either, and costs one answer batch at most. */
#include <errno.h>
#include <netinet/tcp.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/mem.h"
#include "dns/relay.h"
#include "dns/server_internal.h"
#include "net/loop.h"

#define LENGTH_BYTES 2
#define IN_BYTES 1024 /* at first; grows to the message that comes */
#define OUT_BYTES (4 * (LENGTH_BYTES + DNS_MESSAGE_BYTES))
#define ACCEPTS_A_TURN 16
#define SEND_BUFFER_BYTES (128 * 1024) /* in the system, which would let each grow to megabytes */
#define DESCRIPTORS_RETRY_MS 100

struct connection {
    struct tcp *tcp;
    struct connection *older, *younger; /* by when they were last of use */
    int fd;
    struct addr peer;
    struct loop_poll *poll;
    struct loop_timer timer;
    unsigned queries;
    uint8_t *in; /* one message and what follows it: bytes [0, in_count) */
    size_t in_count, in_capacity;
    uint8_t *out; /* answers that wait, [out_at, out_count); NULL: none */
    size_t out_at, out_count;
    struct relay_query *waiting; /* questions of it that recursors have */
    unsigned waiting_count;
    bool ended;         /* the client sends no more; closes once all is answered */
    bool draining;      /* nothing more is answered; what still comes is thrown away */
    bool message_begun; /* the timer is the read timeout of the message that in starts with */
};

struct listener {
    struct tcp *tcp;
    int fd;
    struct loop_poll *poll;
};

struct tcp {
    struct dns_server *server;
    struct loop *loop;
    pthread_t thread;
    struct dns_scratch *scratch;
    struct listener listeners[LIMIT_DNS_LISTEN];
    unsigned listener_count;
    struct loop_timer accept_timer; /* listens again after descriptors ran out */
    struct connection *oldest, *youngest;
    unsigned connection_count;
    uint8_t answers[OUT_BYTES]; /* of the connection that is being served */
};

static void list_remove(struct connection *c) {
    *(c->older != NULL ? &c->older->younger : &c->tcp->oldest) = c->younger;
    *(c->younger != NULL ? &c->younger->older : &c->tcp->youngest) = c->older;
    c->older = c->younger = NULL;
}

static void list_add(struct connection *c) {
    c->older = c->tcp->youngest;
    *(c->older != NULL ? &c->older->younger : &c->tcp->oldest) = c;
    c->tcp->youngest = c;
}

static void close_connection(struct connection *c) {
    struct tcp *tcp = c->tcp;
    list_remove(c);
    for (struct relay_query *query = c->waiting; query != NULL; query = query->behind) {
        query->context = NULL;
    }
    loop_timer_stop(tcp->loop, &c->timer);
    loop_poll_destroy(c->poll);
    close(c->fd);
    free(c->in);
    free(c->out);
    free(c);
    tcp->connection_count--;
    atomic_store_explicit(&tcp->server->tcp_connections, tcp->connection_count,
                          memory_order_relaxed);
}

static void timed_out(struct loop_timer *timer) {
    close_connection(CONTAINER_OF(timer, struct connection, timer));
}

static void start_timer(struct connection *c, int64_t after_ms) {
    loop_timer_start(c->tcp->loop, &c->timer, loop_now_ms(c->tcp->loop) + after_ms);
}

/* Sends from bytes; keeps a copy of the rest, unless they are the kept ones already. False: the
 * connection is of no more use. */
static bool send_bytes(struct connection *c, const uint8_t *bytes, size_t count) {
    size_t at = 0;
    while (at < count) {
        ssize_t sent = send(c->fd, bytes + at, count - at, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            return false;
        }
        if (sent < 0) {
            break;
        }
        at += (size_t)sent;
    }
    if (c->out != NULL) {
        c->out_at += at;
        if (c->out_at == c->out_count) {
            free(c->out);
            c->out = NULL;
        }
    } else if (at < count) {
        c->out = mem_memdup(bytes + at, count - at);
        c->out_at = 0;
        c->out_count = count - at;
    }
    return true;
}

static void take_relayed(struct loop_task *task);

/* On the relay's thread. */
static void post_relayed(struct relay_query *query, const uint8_t *answer, size_t bytes) {
    query->answer = mem_alloc(LENGTH_BYTES + bytes);
    dns_store_u16(query->answer, (unsigned)bytes);
    memcpy(query->answer + LENGTH_BYTES, answer, bytes);
    query->answer_bytes = LENGTH_BYTES + bytes;
    query->task.run = take_relayed;
    loop_post(query->tcp_loop, &query->task);
}

/* False: nothing is needed of recursors, or they have enough to do. */
static bool hand_over(struct connection *c, const struct dns_source *source, const uint8_t *request,
                      size_t bytes) {
    const struct dns_wanted *wanted = dns_scratch_wanted(c->tcp->scratch);
    if (wanted->need == DNS_NEEDS_NOTHING) {
        return false;
    }
    struct relay_query *query =
        relay_query_create(c->tcp->server->relay, source->snapshot, wanted, request, bytes, true);
    if (query == NULL) {
        return false;
    }
    query->answered = post_relayed;
    query->context = c;
    query->tcp_loop = c->tcp->loop;
    query->peer = c->peer;
    query->behind = c->waiting;
    if (c->waiting != NULL) {
        c->waiting->before = query;
    }
    c->waiting = query;
    c->waiting_count++;
    relay_query_submit(query);
    return true;
}

/* The size of the message that in starts with, with its length; 0: not all of it is there. Makes
 * room for the rest. */
static size_t whole_message(struct connection *c, size_t at) {
    size_t count = c->in_count - at;
    if (count < LENGTH_BYTES) {
        return 0;
    }
    size_t bytes = LENGTH_BYTES + dns_load_u16(c->in + at);
    return bytes <= count ? bytes : 0;
}

/* Appends the answer to tcp->answers; returns what is used of it then. */
static size_t answer_message(struct connection *c, const struct dns_source *source,
                             const uint8_t *message, size_t bytes, size_t used) {
    struct tcp *tcp = c->tcp;
    struct dns_question question = {.request = message + LENGTH_BYTES,
                                    .request_bytes = bytes - LENGTH_BYTES,
                                    .tcp = true,
                                    .view = source->view,
                                    .partial = source->partial,
                                    .backend = tcp->server->config.backend,
                                    .wall_s = source->wall_s,
                                    .client = &c->peer};
    uint8_t *out = tcp->answers + used;
    uint64_t begun_at_ns = metrics_clock_ns();
    size_t answer = dns_answer(tcp->scratch, source->snapshot, &question, out + LENGTH_BYTES);
    const struct dns_asked asked = dns_scratch_asked(tcp->scratch);
    dns_timings_note(&tcp->server->timings, &asked,
                     metrics_ms_since(begun_at_ns, metrics_clock_ns()));
    dns_server_note_skipped(tcp->server, dns_scratch_skipped_node(tcp->scratch));
    c->queries++;
    if (answer == 0 || hand_over(c, source, question.request, question.request_bytes)) {
        return used;
    }
    dns_store_u16(out, (unsigned)answer);
    return used + LENGTH_BYTES + answer;
}

/* Answers the whole messages of in, as many as the answer room takes. */
static bool answer_messages(struct connection *c) {
    struct tcp *tcp = c->tcp;
    struct dns_source source;
    size_t at = 0;
    size_t used = 0;
    unsigned before = c->queries;
    dns_source_enter(tcp->server, &source);
    while (c->queries < LIMIT_DNS_TCP_QUERIES && c->waiting_count < LIMIT_DNS_RELAY_TCP_WAITING &&
           OUT_BYTES - used >= LENGTH_BYTES + DNS_MESSAGE_BYTES) {
        size_t bytes = whole_message(c, at);
        if (bytes == 0) {
            break;
        }
        used = answer_message(c, &source, c->in + at, bytes, used);
        at += bytes;
    }
    dns_source_exit(tcp->server);
    c->in_count -= at;
    memmove(c->in, c->in + at, c->in_count);
    if (at > 0) {
        c->message_begun = false;
    }
    atomic_fetch_add_explicit(&tcp->server->tcp_queries, c->queries - before, memory_order_relaxed);
    return send_bytes(c, tcp->answers, used);
}

/* Closing with questions unread would reset the connection, and the last answers could be lost. */
static void drain(struct connection *c) {
    shutdown(c->fd, SHUT_WR);
    c->draining = true;
    c->in_count = 0;
    start_timer(c, LIMIT_DNS_TCP_READ_MS);
}

/* Answers what is whole, until answers have to wait or nothing whole is left. */
static bool serve(struct connection *c) {
    do {
        if (!answer_messages(c)) {
            return false;
        }
    } while (c->out == NULL && c->queries < LIMIT_DNS_TCP_QUERIES &&
             c->waiting_count < LIMIT_DNS_RELAY_TCP_WAITING && whole_message(c, 0) > 0);
    bool all_answered = c->out == NULL && c->waiting_count == 0;
    if (all_answered && c->ended) {
        return false;
    }
    if (all_answered && c->queries >= LIMIT_DNS_TCP_QUERIES) {
        drain(c);
        return true;
    }
    size_t wanted = c->in_count < LENGTH_BYTES ? 0 : LENGTH_BYTES + dns_load_u16(c->in);
    if (wanted > c->in_capacity) {
        c->in = mem_realloc(c->in, wanted);
        c->in_capacity = wanted;
    }
    return true;
}

/* False: broken, or the end of the stream while no answer is owed. */
static bool receive(struct connection *c) {
    ASSERT(c->in_count < c->in_capacity);
    ssize_t got = recv(c->fd, c->in + c->in_count, c->in_capacity - c->in_count, MSG_DONTWAIT);
    if (got > 0) {
        c->in_count += (size_t)got;
        return true;
    }
    if (got == 0 && c->waiting_count > 0) {
        c->ended = true;
        return true;
    }
    return got < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR);
}

/* What the connection waits for now, and for how long. */
static void rest(struct connection *c) {
    bool full = c->ended || c->waiting_count == LIMIT_DNS_RELAY_TCP_WAITING ||
                (c->waiting_count > 0 && c->queries >= LIMIT_DNS_TCP_QUERIES);
    loop_poll_set(c->poll, c->out != NULL ? LOOP_WRITABLE : full ? 0 : LOOP_READABLE);
    if (c->draining) {
        return;
    }
    if (c->out == NULL && c->waiting_count > 0 && (full || c->in_count == 0)) {
        /* Recursors have their own limits of time. */
        c->message_begun = false;
        loop_timer_stop(c->tcp->loop, &c->timer);
        return;
    }
    if (c->out == NULL && c->in_count > 0) {
        if (!c->message_begun) {
            c->message_begun = true;
            start_timer(c, LIMIT_DNS_TCP_READ_MS);
        }
        return;
    }
    c->message_begun = false;
    start_timer(c, LIMIT_DNS_TCP_IDLE_MS);
}

static void connection_ready(void *context, int events) {
    struct connection *c = context;
    (void)events;
    bool alive = true;
    unsigned queries = c->queries;
    if (c->out != NULL) {
        size_t at = c->out_at;
        alive = send_bytes(c, c->out + c->out_at, c->out_count - c->out_at);
        if (alive && c->out != NULL) {
            if (c->out_at > at) {
                rest(c);
            }
            return;
        }
        /* Whole messages may have come in before the answers got stuck. */
        alive = alive && serve(c);
    } else if (c->draining) {
        alive = receive(c);
        c->in_count = 0;
    } else {
        alive = receive(c) && serve(c);
    }
    if (!alive) {
        close_connection(c);
        return;
    }
    if (c->queries > queries) {
        list_remove(c);
        list_add(c);
    }
    rest(c);
}

/* Sends an answer, behind what waits already. */
static bool send_behind(struct connection *c, const uint8_t *bytes, size_t count) {
    if (c->out == NULL) {
        return send_bytes(c, bytes, count);
    }
    c->out = mem_realloc(c->out, c->out_count + count);
    memcpy(c->out + c->out_count, bytes, count);
    c->out_count += count;
    return true;
}

/* An answer of recursors is there; its connection may not be any more. */
static void take_relayed(struct loop_task *task) {
    struct relay_query *query = (struct relay_query *)task;
    struct connection *c = query->context;
    if (c != NULL) {
        *(query->before != NULL ? &query->before->behind : &c->waiting) = query->behind;
        if (query->behind != NULL) {
            query->behind->before = query->before;
        }
        c->waiting_count--;
        if (send_behind(c, query->answer, query->answer_bytes) && (c->out != NULL || serve(c))) {
            rest(c);
        } else {
            close_connection(c);
        }
    }
    relay_query_destroy(query);
}

static void add_connection(struct tcp *tcp, int fd, const struct addr *peer) {
    if (tcp->connection_count >= LIMIT_DNS_TCP_CONNECTIONS) {
        close_connection(tcp->oldest);
    }
    struct connection *c = mem_calloc(1, sizeof *c);
    int on = 1;
    int send_bytes_max = SEND_BUFFER_BYTES;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &send_bytes_max, sizeof send_bytes_max);
    c->tcp = tcp;
    c->fd = fd;
    c->peer = *peer;
    c->in = mem_alloc(IN_BYTES);
    c->in_capacity = IN_BYTES;
    c->timer.run = timed_out;
    c->poll = loop_poll_create(tcp->loop, fd, connection_ready, c);
    list_add(c);
    tcp->connection_count++;
    atomic_store_explicit(&tcp->server->tcp_connections, tcp->connection_count,
                          memory_order_relaxed);
    rest(c);
}

static void set_listening(struct tcp *tcp, bool on) {
    for (unsigned i = 0; i < tcp->listener_count; i++) {
        loop_poll_set(tcp->listeners[i].poll, on ? LOOP_READABLE : 0);
    }
}

static void listen_again(struct loop_timer *timer) {
    set_listening(CONTAINER_OF(timer, struct tcp, accept_timer), true);
}

static void listener_ready(void *context, int events) {
    struct listener *listener = context;
    struct tcp *tcp = listener->tcp;
    (void)events;
    for (unsigned i = 0; i < ACCEPTS_A_TURN; i++) {
        struct addr peer = {.v6 = {0}};
        socklen_t size = sizeof peer;
        int fd = accept4(listener->fd, &peer.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            add_connection(tcp, fd, &peer);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOBUFS || errno == ENOMEM) {
            /* The poll would report the waiting connection over and over. */
            log_write(tcp->server->log, LOG_WARN, "agent.dns",
                      "cannot take a TCP connection: error=\"%s\"", strerror(errno));
            set_listening(tcp, false);
            loop_timer_start(tcp->loop, &tcp->accept_timer,
                             loop_now_ms(tcp->loop) + DESCRIPTORS_RETRY_MS);
            return;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            return;
        }
    }
}

static void *run(void *context) {
    struct tcp *tcp = context;
    loop_run(tcp->loop);
    return NULL;
}

struct tcp *dns_tcp_start(struct dns_server *server, const int *fds, uint64_t seed,
                          struct err_text *text) {
    struct loop *loop = loop_create(text);
    if (loop == NULL) {
        for (unsigned i = 0; i < server->config.listen_count; i++) {
            close(fds[i]);
        }
        return NULL;
    }
    struct tcp *tcp = mem_calloc(1, sizeof *tcp);
    tcp->server = server;
    tcp->loop = loop;
    tcp->scratch = dns_scratch_create(seed);
    tcp->accept_timer.run = listen_again;
    tcp->listener_count = server->config.listen_count;
    for (unsigned i = 0; i < tcp->listener_count; i++) {
        struct listener *listener = &tcp->listeners[i];
        listener->tcp = tcp;
        listener->fd = fds[i];
        listener->poll = loop_poll_create(loop, listener->fd, listener_ready, listener);
    }
    set_listening(tcp, true);
    ASSERT(pthread_create(&tcp->thread, NULL, run, tcp) == 0);
    pthread_setname_np(tcp->thread, "dns-tcp");
    return tcp;
}

void dns_tcp_stop(struct tcp *tcp) {
    if (tcp == NULL) {
        return;
    }
    loop_stop(tcp->loop);
    ASSERT(pthread_join(tcp->thread, NULL) == 0);
    while (tcp->oldest != NULL) {
        close_connection(tcp->oldest);
    }
    for (unsigned i = 0; i < tcp->listener_count; i++) {
        loop_poll_destroy(tcp->listeners[i].poll);
        close(tcp->listeners[i].fd);
    }
    loop_timer_stop(tcp->loop, &tcp->accept_timer);
    loop_flush(tcp->loop); /* answers of the relay */
    loop_destroy(tcp->loop);
    dns_scratch_destroy(tcp->scratch);
    free(tcp);
}
