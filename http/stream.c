/* Answers that do not end: lines of the log, as they are written, and the metrics of each interval
 * (contract 10.12, 10.13).
 *
 * The HTTP thread sends what there is, then suspends the connection and hands it to the core, which
 * has it until it resumes it; so of both, one at a time owns the stream. The core waits for one of
 * three: a line or the end of an interval (then the connection goes on, but not sooner than 200 ms
 * after the last time), a hang-up, the end of the server. */
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>

#include "base/container.h"
#include "base/limits.h"
#include "base/log_reader.h"
#include "base/mem.h"
#include "http/server.h"

struct http_stream {
    struct http_exchange *exchange;
    struct log_reader *reader; /* NULL: of metrics */
    uint64_t intervals;        /* of them, so many are told */
    struct buf text;           /* of the interval that is being sent */
    size_t sent;
    struct loop_task ready_task;
    /* The core's. */
    struct loop_timer timer;
    bool timing;  /* the timer runs */
    bool watched; /* the socket is, for a hang-up */
    bool closing;
    int64_t flushed_at_ms;
};

/* ---- the core's thread ---- */

static void unwatch(struct http_stream *stream) {
    struct http_exchange *exchange = stream->exchange;
    if (stream->watched) {
        epoll_ctl(exchange->server->hang_up_epoll, EPOLL_CTL_DEL, exchange->fd, NULL);
        stream->watched = false;
    }
}

static void go_on(struct http_stream *stream) {
    struct http_exchange *exchange = stream->exchange;
    struct http_server *server = exchange->server;
    unwatch(stream);
    if (stream->timing) {
        loop_timer_stop(server->core, &stream->timer);
        stream->timing = false;
    }
    http_exchange_unlink(&server->stream_list, exchange);
    stream->flushed_at_ms = loop_now_ms(server->core);
    http_exchange_resume(exchange, stream->closing ? EXCHANGE_ABORTED : EXCHANGE_STREAMING);
}

static void timer_over(struct loop_timer *timer) {
    struct http_stream *stream = CONTAINER_OF(timer, struct http_stream, timer);
    stream->timing = false;
    go_on(stream);
}

static void flush_soon(struct http_stream *stream) {
    struct loop *core = stream->exchange->server->core;
    int64_t now_ms = loop_now_ms(core), at_ms = stream->flushed_at_ms + LIMIT_HTTP_STREAM_FLUSH_MS;
    if (stream->closing || at_ms <= now_ms) {
        go_on(stream);
    } else {
        stream->timing = true;
        stream->timer.run = timer_over;
        loop_timer_start(core, &stream->timer, at_ms);
    }
}

static void ready_arrived(struct loop_task *task) {
    flush_soon(CONTAINER_OF(task, struct http_stream, ready_task));
}

/* The thread that logs, whichever it is. */
static void ready(void *context) {
    struct http_stream *stream = context;
    loop_post(stream->exchange->server->core, &stream->ready_task);
}

static void end(struct http_stream *stream) {
    stream->closing = true;
    unwatch(stream);
    /* Neither timed nor armed: ready's task is on its way, and ends it. */
    if (stream->timing || stream->reader == NULL || log_reader_disarm(stream->reader)) {
        go_on(stream);
    }
}

/* Whether there is something to send already; else it is told. */
static bool wait_for_more(struct http_stream *stream) {
    if (stream->reader != NULL) {
        return log_reader_arm(stream->reader);
    }
    return stream->intervals == atomic_load(&stream->exchange->server->intervals);
}

static void stream_arrived(struct loop_task *task) {
    struct http_exchange *exchange = CONTAINER_OF(task, struct http_exchange, task);
    struct http_server *server = exchange->server;
    struct http_stream *stream = exchange->stream;
    http_exchange_link(&server->stream_list, exchange);
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = exchange};
    stream->watched = exchange->fd >= 0 &&
                      epoll_ctl(server->hang_up_epoll, EPOLL_CTL_ADD, exchange->fd, &event) == 0;
    stream->closing = atomic_load(&server->stopping);
    if (stream->closing || !wait_for_more(stream)) {
        flush_soon(stream);
    }
}

void http_server_interval_end(struct http_server *server) {
    struct http_exchange *exchange = server->stream_list;
    atomic_fetch_add(&server->intervals, 1);
    while (exchange != NULL) {
        struct http_exchange *next = exchange->parked_next;
        if (exchange->stream->reader == NULL && !exchange->stream->timing) {
            flush_soon(exchange->stream);
        }
        exchange = next;
    }
}

void http_stream_hung_up(struct http_exchange *exchange) {
    end(exchange->stream);
}

void http_streams_abort(struct http_server *server) {
    struct http_exchange *exchange = server->stream_list;
    while (exchange != NULL) {
        struct http_exchange *next = exchange->parked_next;
        end(exchange->stream);
        exchange = next;
    }
}

/* ---- the HTTP thread ---- */

bool http_stream_open(struct http_exchange *exchange, const struct http_stream_options *options) {
    struct http_stream *stream = mem_calloc(1, sizeof *stream);
    stream->exchange = exchange;
    stream->ready_task.run = ready_arrived;
    stream->flushed_at_ms = INT64_MIN / 2;
    buf_init(&stream->text, LIMIT_HTTP_ANSWER_BYTES);
    if (options->metrics) {
        stream->intervals = atomic_load(&exchange->server->intervals);
    } else {
        stream->reader =
            log_reader_create(exchange->server->log, options->level, options->json, ready, stream);
        if (stream->reader == NULL) {
            free(stream);
            return false;
        }
    }
    exchange->stream = stream;
    return true;
}

const char *http_stream_type(const struct http_stream *stream) {
    return stream->reader != NULL ? "text/plain; charset=utf-8" : "application/json";
}

/* The interval that has ended, if it is not told yet. */
static void write_interval(struct http_stream *stream) {
    const struct http_server *server = stream->exchange->server;
    const struct backend *backend = server->backend;
    uint64_t intervals = atomic_load(&server->intervals);
    struct json json;
    buf_clear(&stream->text);
    stream->sent = 0;
    if (stream->intervals != intervals) {
        stream->intervals = intervals;
        epoch_enter(backend->epoch);
        backend->refresh_metrics(backend->context);
        epoch_exit(backend->epoch);
        json_init(&json, &stream->text, true);
        metrics_write_json(backend->metrics, &json);
        buf_append_byte(&stream->text, '\n');
    }
}

size_t http_stream_take(struct http_stream *stream, char *out, size_t size) {
    if (stream->reader != NULL) {
        return log_reader_take(stream->reader, out, size);
    }
    if (stream->sent == stream->text.count) {
        write_interval(stream);
    }
    size_t rest = stream->text.count - stream->sent;
    size = size < rest ? size : rest;
    if (size > 0) {
        memcpy(out, stream->text.data + stream->sent, size);
        stream->sent += size;
    }
    return size;
}

void http_stream_post(struct http_exchange *exchange) {
    exchange->task.run = stream_arrived;
    loop_post(exchange->server->core, &exchange->task);
}

void http_stream_close(struct http_exchange *exchange) {
    struct http_stream *stream = exchange->stream;
    if (stream != NULL) {
        uint64_t dropped = stream->reader != NULL ? log_reader_destroy(stream->reader) : 0;
        buf_clear(&stream->text);
        if (dropped > 0) {
            log_write(exchange->server->log, LOG_WARN, "agent.http",
                      "Dropped logs during monitor request: dropped_count=%llu",
                      (unsigned long long)dropped);
        }
        free(stream);
    }
}
