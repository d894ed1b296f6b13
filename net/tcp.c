#include "net/tcp.h"

#include <errno.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"

#define READ_BYTES (64 * 1024)
#define WRITE_PARTS 16
#define ACCEPT_TURN 64
#define ACCEPT_PAUSE_MS 100 /* when there are no descriptors left */
/* A peer that is gone without a word is noticed within half a minute. */
#define KEEPALIVE_IDLE_S 15
#define KEEPALIVE_EVERY_S 5
#define KEEPALIVE_COUNT 3
#define UNACKNOWLEDGED_MS 30000

struct chunk {
    struct chunk *next;
    uint8_t *data;
    size_t size, sent;
};

struct tcp {
    struct loop *loop;
    int fd; /* -1: never got one */
    struct loop_poll *poll;
    const struct tcp_events *events;
    void *context;
    struct chunk *first, **last;
    size_t queued_bytes;
    struct loop_timer timer; /* while connecting: the timeout, or a failure to be told */
    struct err_text failure;
    enum err failed;
    bool connecting, paused, ended, closed;
    unsigned busy; /* calls of ours on the stack; freed when none is left */
};

struct tcp_listener {
    struct loop *loop;
    int fd;
    struct loop_poll *poll;
    void (*accepted)(void *context, struct tcp *tcp, const struct addr *from);
    void *context;
    struct loop_timer pause_timer;
    bool accepting, closed;
};

/* ---- streams ---- */

static void drop_chunks(struct tcp *tcp) {
    while (tcp->first != NULL) {
        struct chunk *chunk = tcp->first;
        tcp->first = chunk->next;
        free(chunk->data);
        free(chunk);
    }
    tcp->last = &tcp->first;
    tcp->queued_bytes = 0;
}

static void leave(struct tcp *tcp) {
    if (--tcp->busy == 0 && tcp->closed) {
        drop_chunks(tcp);
        free(tcp);
    }
}

static void release(struct tcp *tcp) {
    loop_timer_stop(tcp->loop, &tcp->timer);
    if (tcp->poll != NULL) {
        loop_poll_destroy(tcp->poll);
        tcp->poll = NULL;
    }
    if (tcp->fd >= 0) {
        close(tcp->fd);
        tcp->fd = -1;
    }
}

/* The last event. */
static void end(struct tcp *tcp, enum err err, const struct err_text *text) {
    if (tcp->ended || tcp->closed) {
        return;
    }
    tcp->ended = true;
    release(tcp);
    drop_chunks(tcp);
    tcp->events->closed(tcp->context, err, text);
}

static void end_errno(struct tcp *tcp, int number, const char *what) {
    struct err_text text;
    enum err err = err_set_errno(&text, number, "%s", what);
    end(tcp, number == ECONNREFUSED ? ERR_NOT_FOUND : err, &text);
}

static void watch(struct tcp *tcp) {
    if (tcp->poll != NULL) {
        bool write = tcp->connecting || tcp->first != NULL;
        bool read = !tcp->connecting && !tcp->paused;
        loop_poll_set(tcp->poll, (write ? LOOP_WRITABLE : 0) | (read ? LOOP_READABLE : 0));
    }
}

static void forget(struct tcp *tcp, size_t n) {
    tcp->queued_bytes -= n;
    while (n > 0) {
        struct chunk *chunk = tcp->first;
        size_t here = chunk->size - chunk->sent < n ? chunk->size - chunk->sent : n;
        chunk->sent += here;
        n -= here;
        if (chunk->sent == chunk->size) {
            tcp->first = chunk->next;
            if (tcp->first == NULL) {
                tcp->last = &tcp->first;
            }
            free(chunk->data);
            free(chunk);
        }
    }
}

/* 0, or the errno of a broken stream. */
static int flush(struct tcp *tcp) {
    while (tcp->first != NULL) {
        struct iovec parts[WRITE_PARTS];
        int count = 0;
        for (struct chunk *at = tcp->first; at != NULL && count < WRITE_PARTS; at = at->next) {
            parts[count++] = (struct iovec){at->data + at->sent, at->size - at->sent};
        }
        struct msghdr message = {.msg_iov = parts, .msg_iovlen = (size_t)count};
        ssize_t n = sendmsg(tcp->fd, &message, MSG_DONTWAIT | MSG_NOSIGNAL);
        if (n < 0) {
            return errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR ? 0 : errno;
        }
        forget(tcp, (size_t)n);
    }
    return 0;
}

static void set_options(int fd) {
    int on = 1, idle = KEEPALIVE_IDLE_S, every = KEEPALIVE_EVERY_S, count = KEEPALIVE_COUNT;
    unsigned unacknowledged = UNACKNOWLEDGED_MS;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &idle, sizeof idle);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &every, sizeof every);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &count, sizeof count);
    setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &unacknowledged, sizeof unacknowledged);
}

static void finish_connect(struct tcp *tcp) {
    int number = 0;
    socklen_t size = sizeof number;
    if (getsockopt(tcp->fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0) {
        number = errno;
    }
    if (number != 0) {
        end_errno(tcp, number, "cannot connect");
        return;
    }
    tcp->connecting = false;
    loop_timer_stop(tcp->loop, &tcp->timer);
    if (tcp->events->connected != NULL) {
        tcp->events->connected(tcp->context);
    }
}

static void read_some(struct tcp *tcp) {
    uint8_t bytes[READ_BYTES]; /* on the stack: a thread-local would cost each thread its pages */
    size_t total = 0;
    while (total < LIMIT_TCP_TURN_BYTES && !tcp->ended && !tcp->closed && !tcp->paused) {
        ssize_t n = recv(tcp->fd, bytes, sizeof bytes, MSG_DONTWAIT);
        if (n > 0) {
            total += (size_t)n;
            tcp->events->received(tcp->context, bytes, (size_t)n);
            if (n < READ_BYTES) {
                return;
            }
        } else if (n == 0) {
            static const struct err_text text = {"the peer closed the connection"};
            end(tcp, ERR_CLOSED, &text);
        } else if (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR) {
            return;
        } else {
            end_errno(tcp, errno, "connection lost");
        }
    }
}

static void ready(void *context, int events) {
    struct tcp *tcp = context;
    tcp->busy++;
    if (tcp->connecting) {
        finish_connect(tcp);
    }
    if ((events & LOOP_READABLE) != 0 && !tcp->connecting) {
        read_some(tcp);
    }
    if (!tcp->ended && !tcp->closed && !tcp->connecting && tcp->first != NULL) {
        int number = flush(tcp);
        if (number != 0) {
            end_errno(tcp, number, "connection lost");
        } else if (tcp->first == NULL && tcp->events->drained != NULL) {
            tcp->events->drained(tcp->context);
        }
    }
    if (!tcp->ended && !tcp->closed) {
        watch(tcp);
    }
    leave(tcp);
}

static void on_timer(struct loop_timer *timer) {
    struct tcp *tcp = CONTAINER_OF(timer, struct tcp, timer);
    tcp->busy++;
    end(tcp, tcp->failed, &tcp->failure);
    leave(tcp);
}

static struct tcp *create(struct loop *loop, int fd) {
    struct tcp *tcp = mem_calloc(1, sizeof *tcp);
    tcp->loop = loop;
    tcp->fd = fd;
    tcp->last = &tcp->first;
    tcp->timer.run = on_timer;
    if (fd >= 0) {
        set_options(fd);
        tcp->poll = loop_poll_create(loop, fd, ready, tcp);
    }
    return tcp;
}

/* 0, or why not. */
static int begin_connect(int fd, const struct addr *to, const struct addr *from) {
    int on = 1;
    if (fd < 0) {
        return errno;
    }
    if (from != NULL && from->any.sa_family == to->any.sa_family && !addr_is_any(from)) {
        struct addr local = *from;
        addr_set_port(&local, 0);
        setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
        if (bind(fd, &local.any, addr_size(&local)) != 0) {
            return errno;
        }
    }
    return connect(fd, &to->any, addr_size(to)) == 0 || errno == EINPROGRESS ? 0 : errno;
}

struct tcp *tcp_connect(struct loop *loop, const struct addr *to, const struct addr *from,
                        int timeout_ms, const struct tcp_events *events, void *context) {
    int fd = socket(to->any.sa_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    int number = begin_connect(fd, to, from);
    struct tcp *tcp = create(loop, fd);
    tcp->events = events;
    tcp->context = context;
    tcp->connecting = true;
    if (number != 0) {
        tcp->failed = err_set_errno(&tcp->failure, number, "cannot connect");
        tcp->failed = number == ECONNREFUSED ? ERR_NOT_FOUND : tcp->failed;
        timeout_ms = 0;
    } else {
        tcp->failed = err_set(&tcp->failure, ERR_TIMEOUT, "cannot connect: no answer");
        watch(tcp);
    }
    loop_timer_start(loop, &tcp->timer, loop_now_ms(loop) + timeout_ms);
    return tcp;
}

void tcp_begin(struct tcp *tcp, const struct tcp_events *events, void *context) {
    tcp->events = events;
    tcp->context = context;
    watch(tcp);
}

void tcp_write(struct tcp *tcp, uint8_t *data, size_t size) {
    if (tcp->ended || tcp->closed || size == 0) {
        free(data);
        return;
    }
    struct chunk *chunk = mem_calloc(1, sizeof *chunk);
    chunk->data = data;
    chunk->size = size;
    /* Within an event what is written gathers and goes out at its end, in as few packets as can be. */
    bool idle = tcp->first == NULL && !tcp->connecting && tcp->busy == 0;
    *tcp->last = chunk;
    tcp->last = &chunk->next;
    tcp->queued_bytes += size;
    /* A broken stream stays readable, so the loop tells it. */
    if (idle && flush(tcp) == 0 && tcp->first == NULL) {
        return;
    }
    watch(tcp);
}

size_t tcp_queued_bytes(const struct tcp *tcp) {
    return tcp->queued_bytes;
}

void tcp_pause(struct tcp *tcp, bool pause) {
    if (tcp->paused != pause) {
        tcp->paused = pause;
        watch(tcp);
    }
}

void tcp_close(struct tcp *tcp) {
    if (tcp == NULL || tcp->closed) {
        return;
    }
    tcp->busy++;
    if (!tcp->ended && !tcp->connecting) {
        (void)flush(tcp);
    }
    tcp->closed = true;
    release(tcp);
    leave(tcp);
}

/* ---- listeners ---- */

static void accept_some(void *context, int events) {
    struct tcp_listener *listener = context;
    (void)events;
    listener->accepting = true;
    for (int i = 0; i < ACCEPT_TURN && !listener->closed; i++) {
        struct addr from;
        socklen_t size = sizeof from;
        memset(&from, 0, sizeof from);
        int fd = accept4(listener->fd, &from.any, &size, SOCK_NONBLOCK | SOCK_CLOEXEC);
        if (fd >= 0) {
            listener->accepted(listener->context, create(listener->loop, fd), &from);
        } else if (errno == EMFILE || errno == ENFILE || errno == ENOMEM || errno == ENOBUFS) {
            loop_poll_set(listener->poll, 0);
            loop_timer_start(listener->loop, &listener->pause_timer,
                             loop_now_ms(listener->loop) + ACCEPT_PAUSE_MS);
            break;
        } else if (errno == EAGAIN || errno == EWOULDBLOCK) {
            break;
        }
    }
    listener->accepting = false;
    if (listener->closed) {
        free(listener);
    }
}

static void accept_again(struct loop_timer *timer) {
    struct tcp_listener *listener = CONTAINER_OF(timer, struct tcp_listener, pause_timer);
    loop_poll_set(listener->poll, LOOP_READABLE);
}

struct tcp_listener *tcp_listen(struct loop *loop, const struct addr *bind,
                                void (*accepted)(void *context, struct tcp *tcp,
                                                 const struct addr *from),
                                void *context, struct err_text *text) {
    int fd = addr_bind(bind, SOCK_STREAM, false, text);
    if (fd < 0) {
        return NULL;
    }
    struct tcp_listener *listener = mem_calloc(1, sizeof *listener);
    listener->loop = loop;
    listener->fd = fd;
    listener->accepted = accepted;
    listener->context = context;
    listener->pause_timer.run = accept_again;
    listener->poll = loop_poll_create(loop, fd, accept_some, listener);
    loop_poll_set(listener->poll, LOOP_READABLE);
    return listener;
}

void tcp_listener_close(struct tcp_listener *listener) {
    if (listener == NULL) {
        return;
    }
    loop_timer_stop(listener->loop, &listener->pause_timer);
    loop_poll_destroy(listener->poll);
    close(listener->fd);
    listener->closed = true;
    if (!listener->accepting) {
        free(listener);
    }
}
