/* HTTP/2 ping checks (contract 11.1): the connection preface, SETTINGS and PING of RFC 9113;
 * passing when the PING is acknowledged. libcurl resolves, connects and does TLS; the four frames
 * are ours, because a request to a path could be answered by anything. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/mem.h"
#include "checks/tls.h"
#include "checks/transfer.h"

#define FRAME_HEAD_BYTES 9
#define FRAME_BYTES_MAX 16384 /* what we allow by not saying otherwise (RFC 9113 4.2) */
#define FRAME_SETTINGS 4
#define FRAME_PING 6
#define FRAME_GOAWAY 7
#define FLAG_ACK 1

/* Preface (3.4), empty SETTINGS (6.5), PING (6.7) with eight bytes that come back. */
static const char opening[] = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
                              "\0\0\0\x04\0\0\0\0\0"
                              "\0\0\x08\x06\0\0\0\0\0"
                              "cairnchk";
#define PING_BYTES 8

struct ping_run {
    struct transfer transfer; /* first */
    struct loop_timer timeout;
    struct loop_poll *poll;
    int fd; /* our descriptor of the socket, -1 = not yet connected */
    struct check *check;
    struct tls_stream *tls; /* NULL without it */
    bool secured;           /* its handshake is over */
    size_t sent;            /* of the opening */
    struct buf in;
};

/* Order: address, TLS server name. */
static void pack(const struct check_definition *def, struct buf *out) {
    buf_append(out, def->h2ping, strlen(def->h2ping) + 1);
    buf_append(out, def->tls_server_name, strlen(def->tls_server_name) + 1);
}

static void free_run(struct ping_run *run) {
    loop_timer_stop(run->check->checks->loop, &run->timeout);
    if (run->poll != NULL) {
        loop_poll_destroy(run->poll);
    }
    tls_stream_destroy(run->tls);
    if (run->fd >= 0) {
        close(run->fd);
    }
    if (run->transfer.easy != NULL) {
        transfer_close(&run->transfer);
    }
    buf_clear(&run->in);
    free(run);
}

static void abort_run(struct check *check) {
    free_run(check->run);
}

static void end(struct ping_run *run, enum catalog_health health, const char *output) {
    struct check *check = run->check;
    free_run(run);
    check_finish(check, health, output);
}

static void fail_ping(struct ping_run *run, const char *reason) {
    char text[256];
    snprintf(text, sizeof text, "HTTP2 ping failed: %s", reason);
    end(run, HEALTH_CRITICAL, text);
}

static void fail_dial(struct ping_run *run, CURLcode code, const char *reason) {
    struct buf text;
    const char *target = spec_first(run->check->spec);
    buf_init(&text, strlen(target) * 2 + 4096);
    buf_append_format(&text, "Failed to dial to %s: ", target);
    if (reason != NULL) {
        buf_append_str(&text, reason);
    } else if (code == CURLE_OPERATION_TIMEDOUT) {
        buf_append_format(&text, "dial tcp %s: i/o timeout", target);
    } else {
        transfer_append_reason(&run->transfer, code, &text);
    }
    buf_append_byte(&text, '\0');
    end(run, HEALTH_CRITICAL, text.failed ? "Failed to dial" : text.data);
    buf_clear(&text);
}

static void on_timeout(struct loop_timer *timer) {
    fail_ping(CONTAINER_OF(timer, struct ping_run, timeout), "context deadline exceeded");
}

enum outcome { MORE, ACKNOWLEDGED, GONE_AWAY, NOT_HTTP2 };

/* Looks at the complete frames that have arrived, and drops them. */
static enum outcome take_frames(struct buf *in) {
    const char *ping = opening + sizeof opening - 1 - PING_BYTES;
    while (in->count >= FRAME_HEAD_BYTES) {
        const unsigned char *head = (const unsigned char *)in->data;
        size_t size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
        unsigned kind = head[3], flags = head[4];
        if (size > FRAME_BYTES_MAX) {
            return NOT_HTTP2;
        }
        if (in->count < FRAME_HEAD_BYTES + size) {
            return MORE;
        }
        if (kind == FRAME_PING && (flags & FLAG_ACK) != 0 && size == PING_BYTES &&
            memcmp(in->data + FRAME_HEAD_BYTES, ping, PING_BYTES) == 0) {
            return ACKNOWLEDGED;
        }
        if (kind == FRAME_GOAWAY) {
            return GONE_AWAY;
        }
        in->count -= FRAME_HEAD_BYTES + size;
        memmove(in->data, in->data + FRAME_HEAD_BYTES + size, in->count);
    }
    return MORE;
}

/* ---- the stream ---- */

static enum tls_result of_errno(void) {
    return errno == EAGAIN || errno == EINTR ? TLS_WANT_READ : TLS_FAILED;
}

static enum tls_result send_some(struct ping_run *run, const char *data, size_t size,
                                 size_t *ret_size) {
    if (run->tls != NULL) {
        return tls_stream_send(run->tls, data, size, ret_size);
    }
    ssize_t n = send(run->fd, data, size, MSG_NOSIGNAL | MSG_DONTWAIT);
    *ret_size = n > 0 ? (size_t)n : 0;
    return n >= 0 ? TLS_OK : of_errno() == TLS_FAILED ? TLS_FAILED : TLS_WANT_WRITE;
}

static enum tls_result recv_some(struct ping_run *run, char *data, size_t size, size_t *ret_size) {
    if (run->tls != NULL) {
        return tls_stream_recv(run->tls, data, size, ret_size);
    }
    ssize_t n = recv(run->fd, data, size, MSG_DONTWAIT);
    *ret_size = n > 0 ? (size_t)n : 0;
    return n > 0 ? TLS_OK : n == 0 ? TLS_END : of_errno();
}

static enum tls_result send_opening(struct ping_run *run) {
    enum tls_result result = TLS_OK;
    while (run->sent < sizeof opening - 1 && result == TLS_OK) {
        size_t n = 0;
        result = send_some(run, opening + run->sent, sizeof opening - 1 - run->sent, &n);
        run->sent += n;
    }
    return result;
}

/* Reads until something is decided or nothing is left. */
static enum tls_result recv_frames(struct ping_run *run, enum outcome *ret_outcome) {
    enum tls_result result = TLS_OK;
    *ret_outcome = MORE;
    while (result == TLS_OK && *ret_outcome == MORE) {
        size_t n = 0;
        char *to = buf_reserve(&run->in, 4096);
        result = to != NULL ? recv_some(run, to, 4096, &n) : TLS_FAILED;
        run->in.count += n;
        *ret_outcome = take_frames(&run->in);
    }
    return result;
}

static void rest(struct ping_run *run, enum tls_result want) {
    loop_poll_set(run->poll, want == TLS_WANT_WRITE ? LOOP_WRITABLE : LOOP_READABLE);
}

static void on_ready(void *context, int events) {
    struct ping_run *run = context;
    const char *reason;
    enum outcome outcome;
    (void)events;
    if (run->tls != NULL && !run->secured) {
        enum tls_result shaken = tls_stream_handshake(run->tls, &reason);
        if (shaken == TLS_FAILED || shaken == TLS_END) {
            fail_dial(run, CURLE_OK, reason);
            return;
        }
        if (shaken != TLS_OK) {
            rest(run, shaken);
            return;
        }
        run->secured = true;
    }
    enum tls_result result = send_opening(run);
    if (result == TLS_WANT_READ || result == TLS_WANT_WRITE) {
        rest(run, result);
        return;
    }
    result = recv_frames(run, &outcome);
    if (outcome == ACKNOWLEDGED) {
        end(run, HEALTH_PASSING, "HTTP2 ping was successful");
    } else if (outcome == GONE_AWAY) {
        fail_ping(run, "the peer goes away");
    } else if (outcome == NOT_HTTP2) {
        fail_ping(run, "the peer does not speak HTTP/2");
    } else if (result == TLS_WANT_READ || result == TLS_WANT_WRITE) {
        rest(run, result);
    } else {
        fail_ping(run, result == TLS_END ? "unexpected EOF" : "connection lost");
    }
}

/* The TLS server name, else the host of the target. */
static void find_name(const struct check_spec *spec, char name[TARGET_HOST_BYTES]) {
    const char *address = spec_first(spec), *wanted = spec_next(spec, address);
    char host[TARGET_HOST_BYTES];
    uint16_t port;
    ASSERT(target_split(address, host, &port));
    size_t size = strlen(host);
    bool bracketed = host[0] == '[' && size > 2 && host[size - 1] == ']';
    if (bracketed) {
        host[size - 1] = '\0';
    }
    snprintf(name, TARGET_HOST_BYTES, "%s", *wanted != '\0' ? wanted : host + bracketed);
}

static void on_connected(struct transfer *transfer, CURLcode code) {
    struct ping_run *run = (struct ping_run *)transfer;
    const struct check_spec *spec = run->check->spec;
    char name[TARGET_HOST_BYTES];
    if (code != CURLE_OK || (run->fd = transfer_dup_socket(transfer)) < 0) {
        fail_dial(run, code, code == CURLE_OK ? "the connection is gone" : NULL);
        return;
    }
    if (spec->use_tls) {
        find_name(spec, name);
        run->tls = tls_stream_create(run->check->checks, run->fd, name, !spec->tls_skip_verify);
        if (run->tls == NULL) {
            fail_dial(run, code, "TLS does not start");
            return;
        }
    }
    run->poll = loop_poll_create(run->check->checks->loop, run->fd, on_ready, run);
    on_ready(run, LOOP_WRITABLE);
}

static void start(struct checks *checks, struct check *check) {
    const struct check_spec *spec = check->spec;
    const char *address = spec_first(spec);
    struct transfers *transfers = transfers_get(checks);
    char ignored[TARGET_HOST_BYTES];
    uint16_t port;
    struct buf url;
    struct ping_run *run = mem_calloc(1, sizeof *run);
    run->check = check;
    run->fd = -1;
    run->timeout.run = on_timeout;
    run->transfer.done = on_connected;
    buf_init(&run->in, 2 * FRAME_BYTES_MAX + 8192);
    if (transfers == NULL || !target_split(address, ignored, &port)) {
        fail_dial(run, CURLE_OK,
                  transfers == NULL ? "the HTTP client does not start"
                                    : "the address is not of the form host:port");
        return;
    }
    transfer_open(transfers, &run->transfer, spec->timeout_ms);
    transfer_connect_only(&run->transfer);
    buf_init(&url, strlen(address) + 32);
    buf_append_format(&url, "http://%s/", address);
    buf_append_byte(&url, '\0');
    curl_easy_setopt(run->transfer.easy, CURLOPT_URL, url.data);
    buf_clear(&url);
    check->run = run;
    loop_timer_start(checks->loop, &run->timeout, loop_now_ms(checks->loop) + spec->timeout_ms);
    transfer_start(&run->transfer);
}

const struct check_runner runner_h2ping = {
    .kind = CHECK_H2PING, .pack = pack, .start = start, .abort = abort_run};
