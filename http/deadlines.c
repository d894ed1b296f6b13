/* Connections that make no progress: silent ones, requests that come a byte at a time, answers that
 * nobody takes. Whatever waits in the agent itself has no deadline here.
 *
 * A connection is ended by shutdown() of its socket, never by close(): the library sees the end and
 * does the rest. The lock keeps the descriptor from being closed meanwhile.
 *
 * The library's epoll is edge-triggered, and it forgets the edge of a hang-up that comes together
 * with the start of a request. Such a socket is shut down for reading once more, which is one more
 * edge; what the peer has sent before its hang-up is still read. */
#include <poll.h>
#include <stdlib.h>
#include <sys/socket.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/server.h"

#define BATCH 256 /* sockets a system call */

struct http_deadlines {
    pthread_mutex_t mutex; /* at connect, close, and for a walk over the list every two seconds */
    struct http_deadline *first;
};

static int64_t now_ms(void) {
    return (int64_t)(metrics_clock_ns() / 1000000);
}

struct http_deadlines *http_deadlines_create(void) {
    struct http_deadlines *deadlines = mem_calloc(1, sizeof *deadlines);
    pthread_mutex_init(&deadlines->mutex, NULL);
    return deadlines;
}

void http_deadlines_destroy(struct http_deadlines *deadlines) {
    if (deadlines != NULL) {
        pthread_mutex_destroy(&deadlines->mutex);
        free(deadlines);
    }
}

void http_deadline_set(struct http_deadline *deadline, enum http_phase phase) {
    atomic_store_explicit(&deadline->since_ms, now_ms(), memory_order_relaxed);
    atomic_store_explicit(&deadline->phase, phase, memory_order_release);
}

void http_deadline_open(struct http_deadlines *deadlines, struct http_deadline *deadline, int fd) {
    deadline->fd = fd;
    http_deadline_set(deadline, HTTP_PHASE_IDLE);
    pthread_mutex_lock(&deadlines->mutex);
    deadline->previous = NULL;
    deadline->next = deadlines->first;
    if (deadlines->first != NULL) {
        deadlines->first->previous = deadline;
    }
    deadlines->first = deadline;
    pthread_mutex_unlock(&deadlines->mutex);
}

void http_deadline_close(struct http_deadlines *deadlines, struct http_deadline *deadline) {
    pthread_mutex_lock(&deadlines->mutex);
    if (deadline->previous != NULL) {
        deadline->previous->next = deadline->next;
    } else {
        deadlines->first = deadline->next;
    }
    if (deadline->next != NULL) {
        deadline->next->previous = deadline->previous;
    }
    pthread_mutex_unlock(&deadlines->mutex);
}

static int64_t time_of(enum http_phase phase) {
    switch (phase) {
    case HTTP_PHASE_IDLE:
        return LIMIT_HTTP_IDLE_S * 1000;
    case HTTP_PHASE_REQUEST:
        return LIMIT_HTTP_REQUEST_S * 1000;
    case HTTP_PHASE_ANSWER:
        return LIMIT_HTTP_SEND_S * 1000;
    case HTTP_PHASE_WAITING:
        break;
    }
    return INT64_MAX;
}

static void tell_hang_ups(struct pollfd *sockets, nfds_t count) {
    if (count > 0 && poll(sockets, count, 0) > 0) {
        for (nfds_t i = 0; i < count; i++) {
            if (sockets[i].revents & POLLRDHUP) {
                shutdown(sockets[i].fd, SHUT_RD);
            }
        }
    }
}

void http_deadlines_sweep(struct http_deadlines *deadlines) {
    struct pollfd sockets[BATCH];
    nfds_t count = 0;
    int64_t now = now_ms();
    pthread_mutex_lock(&deadlines->mutex);
    for (struct http_deadline *at = deadlines->first; at != NULL; at = at->next) {
        enum http_phase phase = atomic_load_explicit(&at->phase, memory_order_acquire);
        int64_t age_ms = now - atomic_load_explicit(&at->since_ms, memory_order_relaxed);
        if (age_ms > time_of(phase)) {
            shutdown(at->fd, SHUT_RDWR);
        } else if (phase <= HTTP_PHASE_REQUEST && age_ms > LIMIT_HTTP_SWEEP_MS / 2) {
            sockets[count++] = (struct pollfd){.fd = at->fd, .events = POLLRDHUP};
            if (count == BATCH) {
                tell_hang_ups(sockets, count);
                count = 0;
            }
        }
    }
    tell_hang_ups(sockets, count);
    pthread_mutex_unlock(&deadlines->mutex);
}
