/* TCP checks (contract 11.1): a connection that opens is passing. An IP address is connected to
 * directly, which costs one socket; a name, or TLS, is left to libcurl, whose resolver has threads
 * of its own. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "checks/transfer.h"

struct tcp_run {
    struct transfer transfer; /* first; easy is NULL when connected to directly */
    struct loop_timer timeout;
    struct loop_poll *poll;
    int fd; /* -1 = none */
    struct check *check;
    struct curl_slist *connect_to;
};

/* Order: address, TLS server name. */
static void pack(const struct check_definition *def, struct buf *out) {
    buf_append(out, def->tcp, strlen(def->tcp) + 1);
    buf_append(out, def->tls_server_name, strlen(def->tls_server_name) + 1);
}

static void free_run(struct tcp_run *run) {
    if (run->transfer.easy != NULL) {
        transfer_close(&run->transfer);
    }
    if (run->poll != NULL) {
        loop_poll_destroy(run->poll);
    }
    if (run->fd >= 0) {
        close(run->fd);
    }
    loop_timer_stop(run->check->checks->loop, &run->timeout);
    curl_slist_free_all(run->connect_to);
    free(run);
}

static void abort_run(struct check *check) {
    free_run(check->run);
}

static void succeed(struct check *check) {
    struct buf text;
    const char *address = spec_first(check->spec);
    buf_init(&text, strlen(address) + 64);
    buf_append_format(&text, "TCP%s connect %s: Success", check->spec->use_tls ? "+TLS" : "",
                      address);
    buf_append_byte(&text, '\0');
    check_finish(check, HEALTH_PASSING, text.data);
    buf_clear(&text);
}

/* text: without a NUL as yet. */
static void fail(struct check *check, struct buf *text) {
    buf_append_byte(text, '\0');
    check_finish(check, HEALTH_CRITICAL, text->failed ? "connect failed" : text->data);
    buf_clear(text);
}

static void end_direct(struct tcp_run *run, const struct addr *peer, int number) {
    struct check *check = run->check;
    struct buf text;
    free_run(run);
    if (number == 0) {
        succeed(check);
        return;
    }
    buf_init(&text, 1024);
    transfer_append_dial(peer, number, &text);
    fail(check, &text);
}

static void on_ready(void *context, int events) {
    struct tcp_run *run = context;
    int number = 0;
    socklen_t size = sizeof number;
    (void)events;
    if (getsockopt(run->fd, SOL_SOCKET, SO_ERROR, &number, &size) != 0) {
        number = errno;
    }
    struct addr peer = run->transfer.peer;
    end_direct(run, &peer, number);
}

static void on_timeout(struct loop_timer *timer) {
    struct tcp_run *run = (struct tcp_run *)((char *)timer - offsetof(struct tcp_run, timeout));
    struct check *check = run->check;
    struct buf text;
    buf_init(&text, 1024);
    buf_append_format(&text, "dial tcp %s: i/o timeout", spec_first(check->spec));
    free_run(run);
    fail(check, &text);
}

static void start_direct(struct check *check, const struct addr *peer) {
    struct loop *loop = check->checks->loop;
    struct tcp_run *run = mem_calloc(1, sizeof *run);
    run->check = check;
    run->transfer.peer = *peer;
    run->timeout.run = on_timeout;
    run->fd = socket(peer->any.sa_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (run->fd < 0 || connect(run->fd, &peer->any, addr_size(peer)) == 0) {
        end_direct(run, peer, run->fd < 0 ? errno : 0);
        return;
    }
    if (errno != EINPROGRESS) {
        end_direct(run, peer, errno);
        return;
    }
    check->run = run;
    run->poll = loop_poll_create(loop, run->fd, on_ready, run);
    loop_poll_set(run->poll, LOOP_WRITABLE);
    loop_timer_start(loop, &run->timeout, loop_now_ms(loop) + check->spec->timeout_ms);
}

static void on_done(struct transfer *transfer, CURLcode code) {
    struct tcp_run *run = (struct tcp_run *)transfer;
    struct check *check = run->check;
    struct buf text;
    buf_init(&text, 4096);
    if (code == CURLE_OPERATION_TIMEDOUT) {
        buf_append_format(&text, "dial tcp %s: i/o timeout", spec_first(check->spec));
    } else if (code != CURLE_OK) {
        transfer_append_reason(transfer, code, &text);
    }
    free_run(run);
    if (code == CURLE_OK) {
        buf_clear(&text);
        succeed(check);
    } else {
        fail(check, &text);
    }
}

static void start_transfer(struct check *check, struct transfers *transfers) {
    const struct check_spec *spec = check->spec;
    const char *address = spec_first(spec);
    struct tcp_run *run = mem_calloc(1, sizeof *run);
    char *host = NULL;
    struct buf url;
    run->check = check;
    run->fd = -1;
    run->transfer.done = on_done;
    transfer_open(transfers, &run->transfer, spec->timeout_ms);
    buf_init(&url, strlen(address) + 32);
    buf_append_format(&url, "%s://%s/", spec->use_tls ? "https" : "http", address);
    ASSERT(!url.failed);
    transfer_set_url(&run->transfer, url.data, spec_next(spec, address), &run->connect_to, &host);
    free(host);
    buf_clear(&url);
    curl_easy_setopt(run->transfer.easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(run->transfer.easy, CURLOPT_SSL_VERIFYPEER, spec->tls_skip_verify ? 0L : 1L);
    curl_easy_setopt(run->transfer.easy, CURLOPT_SSL_VERIFYHOST, spec->tls_skip_verify ? 0L : 2L);
    check->run = run;
    transfer_start(&run->transfer);
}

static void start(struct checks *checks, struct check *check) {
    const char *address = spec_first(check->spec);
    char host[TARGET_HOST_BYTES];
    uint16_t port;
    struct addr peer;
    struct buf text;
    buf_init(&text, strlen(address) + 128);
    if (!target_split(address, host, &port)) {
        buf_append_format(&text, "dial tcp: address %s: not of the form host:port", address);
        fail(check, &text);
        return;
    }
    /* No host means this one, as everywhere in this field. */
    if (!check->spec->use_tls && addr_parse(host[0] != '\0' ? host : "127.0.0.1", port, &peer)) {
        start_direct(check, &peer);
        return;
    }
    struct transfers *transfers = transfers_get(checks);
    if (transfers == NULL) {
        buf_append_format(&text, "dial tcp %s: the TLS and name client does not start", address);
        fail(check, &text);
        return;
    }
    start_transfer(check, transfers);
}

const struct check_runner runner_tcp = {
    .kind = CHECK_TCP, .pack = pack, .start = start, .abort = abort_run};
