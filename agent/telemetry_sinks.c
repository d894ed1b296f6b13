#include "agent/telemetry_sinks.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"

#define MODULE "agent"
#define STOP_MS 500
#define SEND_MS 5000 /* for a connection, and for what is sent over it */
#define DATAGRAM_BYTES 1400
#define PORT_DEFAULT "8125"

struct sink {
    const char *name, *address; /* "" = none */
    int kind;                   /* SOCK_DGRAM, SOCK_STREAM */
    int fd;                     /* -1 */
    bool failed;                /* and that is told */
};

struct telemetry_sinks {
    struct telemetry_sinks_config config;
    struct sink statsd, statsite; /* of the thread */
    struct thread thread;         /* its mutex guards what follows */
    struct buf lines;
    bool lines_wanted, dump_wanted, stopping;
};

/* ---- sockets ---- */

static bool wait_writable(int fd) {
    struct pollfd poll_fd = {.fd = fd, .events = POLLOUT};
    int error = 0;
    socklen_t size = sizeof error;
    if (poll(&poll_fd, 1, SEND_MS) != 1) {
        errno = ETIMEDOUT;
        return false;
    }
    getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size);
    errno = error;
    return error == 0;
}

static int connect_to(const struct addrinfo *at) {
    int fd = socket(at->ai_family, at->ai_socktype | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && connect(fd, at->ai_addr, at->ai_addrlen) != 0 &&
        (errno != EINPROGRESS || !wait_writable(fd))) {
        int number = errno;
        close(fd);
        errno = number;
        return -1;
    }
    return fd;
}

/* host:port, [v6]:port, host. */
static bool open_sink(struct sink *sink, struct err_text *text) {
    char host[256];
    const char *colon = strrchr(sink->address, ':');
    bool bare = colon == NULL || strchr(colon, ']') != NULL;
    size_t size = bare ? strlen(sink->address) : (size_t)(colon - sink->address);
    const char *from = sink->address;
    if (size > 1 && from[0] == '[' && from[size - 1] == ']') {
        from++;
        size -= 2;
    }
    snprintf(host, sizeof host, "%.*s", (int)(size < 255 ? size : 255), from);
    struct addrinfo wanted = {.ai_socktype = sink->kind}, *found = NULL;
    int failed =
        getaddrinfo(*host != '\0' ? host : NULL, bare ? PORT_DEFAULT : colon + 1, &wanted, &found);
    if (failed != 0) {
        err_set(text, ERR_IO, "%s", gai_strerror(failed));
        return false;
    }
    for (const struct addrinfo *at = found; at != NULL && sink->fd < 0; at = at->ai_next) {
        sink->fd = connect_to(at);
    }
    if (sink->fd < 0) {
        err_set(text, ERR_IO, "%s", strerror(errno));
    }
    freeaddrinfo(found);
    return sink->fd >= 0;
}

static void close_sink(struct sink *sink) {
    if (sink->fd >= 0) {
        close(sink->fd);
        sink->fd = -1;
    }
}

static bool send_all(const struct sink *sink, const char *data, size_t size) {
    while (size > 0) {
        ssize_t n = send(sink->fd, data, size, MSG_NOSIGNAL);
        if (n > 0) {
            data += n;
            size -= (size_t)n;
        } else if (n < 0 && errno != EINTR && (errno != EAGAIN || !wait_writable(sink->fd))) {
            return false;
        }
    }
    return true;
}

/* Whole lines, as many as fit into a datagram. */
static bool send_datagrams(const struct sink *sink, const char *data, size_t size) {
    while (size > 0) {
        size_t part = size;
        if (part > DATAGRAM_BYTES) {
            const char *end = memrchr(data, '\n', DATAGRAM_BYTES);
            end = end != NULL ? end : memchr(data, '\n', size);
            part = end != NULL ? (size_t)(end - data) + 1 : size;
        }
        if (send(sink->fd, data, part - 1, MSG_NOSIGNAL) < 0 && errno != ECONNREFUSED) {
            return false; /* refused is the answer to an earlier one */
        }
        data += part;
        size -= part;
    }
    return true;
}

static void send_lines(const struct telemetry_sinks *sinks, struct sink *sink,
                       const struct buf *lines) {
    struct err_text text = {""};
    if (*sink->address == '\0' || lines->count == 0) {
        return;
    }
    bool sent = sink->fd >= 0 || open_sink(sink, &text);
    if (sent) {
        sent = sink->kind == SOCK_DGRAM ? send_datagrams(sink, lines->data, lines->count)
                                        : send_all(sink, lines->data, lines->count);
        if (!sent) {
            err_set(&text, ERR_IO, "%s", strerror(errno));
        }
    }
    if (!sent) {
        close_sink(sink); /* the next interval tries again */
    }
    if (sent == sink->failed) { /* it has changed */
        sink->failed = !sent;
        log_write(sinks->config.log, sent ? LOG_INFO : LOG_WARN, MODULE,
                  sent ? "metrics are sent again: sink=%s address=%s"
                       : "cannot send metrics, will retry: sink=%s address=%s error=\"%s\"",
                  sink->name, sink->address, text.s);
    }
}

/* ---- the thread ---- */

static void dump(const struct telemetry_sinks *sinks) {
    struct buf out;
    buf_init(&out, LIMIT_METRIC_LINES_BYTES);
    sinks->config.refresh(sinks->config.context);
    metrics_write_text(sinks->config.metrics, &out);
    for (size_t done = 0; done < out.count;) {
        ssize_t n = write(STDERR_FILENO, out.data + done, out.count - done);
        if (n < 0 && errno != EINTR) {
            break;
        }
        done += n > 0 ? (size_t)n : 0;
    }
    buf_clear(&out);
}

static void send_interval(struct telemetry_sinks *sinks, struct buf *lines) {
    sinks->config.refresh(sinks->config.context);
    metrics_write_statsd_gauges(sinks->config.metrics, lines);
    send_lines(sinks, &sinks->statsd, lines);
    send_lines(sinks, &sinks->statsite, lines);
}

static void *run(void *context) {
    struct telemetry_sinks *sinks = context;
    pthread_mutex_lock(&sinks->thread.mutex);
    while (!sinks->stopping) {
        if (!sinks->lines_wanted && !sinks->dump_wanted) {
            pthread_cond_wait(&sinks->thread.wake, &sinks->thread.mutex);
            continue;
        }
        struct buf lines = sinks->lines;
        bool send = sinks->lines_wanted, show = sinks->dump_wanted;
        buf_init(&sinks->lines, LIMIT_METRIC_LINES_BYTES);
        sinks->lines_wanted = sinks->dump_wanted = false;
        pthread_mutex_unlock(&sinks->thread.mutex);
        if (show) {
            dump(sinks);
        }
        if (send) {
            send_interval(sinks, &lines);
        }
        buf_clear(&lines);
        pthread_mutex_lock(&sinks->thread.mutex);
    }
    pthread_mutex_unlock(&sinks->thread.mutex);
    thread_end(&sinks->thread);
    return NULL;
}

/* ---- from the core ---- */

struct telemetry_sinks *telemetry_sinks_start(const struct telemetry_sinks_config *config) {
    struct telemetry_sinks *sinks = mem_calloc(1, sizeof *sinks);
    sinks->config = *config;
    sinks->statsd = (struct sink){"statsd", config->statsd, SOCK_DGRAM, -1, false};
    sinks->statsite = (struct sink){"statsite", config->statsite, SOCK_STREAM, -1, false};
    buf_init(&sinks->lines, LIMIT_METRIC_LINES_BYTES);
    thread_start(&sinks->thread, run, sinks);
    return sinks;
}

bool telemetry_sinks_stop(struct telemetry_sinks *sinks) {
    if (sinks == NULL) {
        return true;
    }
    pthread_mutex_lock(&sinks->thread.mutex);
    sinks->stopping = true;
    if (!thread_join_within(&sinks->thread, STOP_MS)) {
        return false;
    }
    close_sink(&sinks->statsd);
    close_sink(&sinks->statsite);
    buf_clear(&sinks->lines);
    free(sinks);
    return true;
}

bool telemetry_sinks_wanted(const struct telemetry_sinks *sinks) {
    return *sinks->statsd.address != '\0' || *sinks->statsite.address != '\0';
}

void telemetry_sinks_send(struct telemetry_sinks *sinks, struct buf *lines) {
    pthread_mutex_lock(&sinks->thread.mutex);
    struct buf old = sinks->lines;
    sinks->lines = *lines;
    sinks->lines_wanted = true;
    pthread_cond_signal(&sinks->thread.wake);
    pthread_mutex_unlock(&sinks->thread.mutex);
    buf_clear(&old);
}

void telemetry_sinks_dump(struct telemetry_sinks *sinks) {
    pthread_mutex_lock(&sinks->thread.mutex);
    sinks->dump_wanted = true;
    pthread_cond_signal(&sinks->thread.wake);
    pthread_mutex_unlock(&sinks->thread.mutex);
}
