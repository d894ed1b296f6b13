/* UDP checks (contract 11.1): an empty datagram goes out, and unless the peer's host says that
 * nobody is there, silence is as good as an answer. An IP address is connected to directly; a name
 * is resolved and connected to by libcurl, whose resolver does not block. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/mem.h"
#include "checks/transfer.h"

struct udp_run {
    struct transfer transfer; /* first; easy is NULL when connected to directly */
    struct loop_timer timeout;
    struct loop_poll *poll;
    int fd; /* -1 = none */
    struct check *check;
};

static void pack(const struct check_definition *def, struct buf *out) {
    buf_append(out, def->udp, strlen(def->udp) + 1);
}

static void free_run(struct udp_run *run) {
    loop_timer_stop(run->check->checks->loop, &run->timeout);
    if (run->poll != NULL) {
        loop_poll_destroy(run->poll);
    }
    if (run->fd >= 0) {
        close(run->fd);
    }
    if (run->transfer.easy != NULL) {
        transfer_close(&run->transfer);
    }
    free(run);
}

static void abort_run(struct check *check) {
    free_run(check->run);
}

/* Ends the run with `<what><target><after>`. */
static void end(struct udp_run *run, enum catalog_health health, const char *what,
                const char *after) {
    struct check *check = run->check;
    const char *target = spec_first(check->spec);
    struct buf text;
    buf_init(&text, strlen(target) + 4096);
    buf_append_format(&text, "%s%s%s", what, target, after);
    buf_append_byte(&text, '\0');
    free_run(run);
    check_finish(check, health, text.failed ? "UDP check failed" : text.data);
    buf_clear(&text);
}

static void succeed(struct udp_run *run) {
    end(run, HEALTH_PASSING, "UDP connect ", ": Success");
}

static void fail(struct udp_run *run, const char *what, int number) {
    char reason[128], after[160];
    const char *text = strerror_r(number, reason, sizeof reason);
    snprintf(after, sizeof after, ": %c%s", str_lower_char(text[0]), text + (text[0] != '\0'));
    end(run, HEALTH_CRITICAL, what, after);
}

static void on_ready(void *context, int events) {
    struct udp_run *run = context;
    char drop[16];
    (void)events;
    if (recv(run->fd, drop, sizeof drop, MSG_DONTWAIT | MSG_TRUNC) >= 0) {
        succeed(run);
    } else if (errno != EAGAIN && errno != EINTR) {
        fail(run, "read udp ", errno);
    }
}

static void on_timeout(struct loop_timer *timer) {
    succeed(CONTAINER_OF(timer, struct udp_run, timeout));
}

/* fd is connected. */
static void ask(struct udp_run *run) {
    struct loop *loop = run->check->checks->loop;
    if (send(run->fd, "", 0, MSG_DONTWAIT | MSG_NOSIGNAL) < 0 && errno != EAGAIN) {
        fail(run, "write udp ", errno);
        return;
    }
    run->check->run = run;
    run->poll = loop_poll_create(loop, run->fd, on_ready, run);
    loop_poll_set(run->poll, LOOP_READABLE);
    loop_timer_start(loop, &run->timeout, loop_now_ms(loop) + run->check->spec->timeout_ms);
}

static void on_connected(struct transfer *transfer, CURLcode code) {
    struct udp_run *run = (struct udp_run *)transfer;
    if (code == CURLE_OK) {
        run->fd = transfer_dup_socket(transfer);
    }
    if (run->fd >= 0) {
        ask(run);
        return;
    }
    bool unknown = code == CURLE_COULDNT_RESOLVE_HOST;
    end(run, HEALTH_CRITICAL, "dial udp ",
        unknown                            ? ": no such host"
        : code == CURLE_OPERATION_TIMEDOUT ? ": i/o timeout"
                                           : ": cannot connect");
}

static void start_direct(struct udp_run *run, const struct addr *peer) {
    run->fd = socket(peer->any.sa_family, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (run->fd < 0 || connect(run->fd, &peer->any, addr_size(peer)) != 0) {
        fail(run, "dial udp ", errno);
        return;
    }
    ask(run);
}

static void start_transfer(struct udp_run *run, struct transfers *transfers) {
    const char *address = spec_first(run->check->spec);
    struct buf url;
    run->transfer.done = on_connected;
    run->transfer.datagram = true;
    transfer_open(transfers, &run->transfer, run->check->spec->timeout_ms);
    transfer_connect_only(&run->transfer);
    buf_init(&url, strlen(address) + 16);
    buf_append_format(&url, "http://%s/", address);
    buf_append_byte(&url, '\0');
    curl_easy_setopt(run->transfer.easy, CURLOPT_URL, url.data);
    buf_clear(&url);
    run->check->run = run;
    transfer_start(&run->transfer);
}

static void start(struct checks *checks, struct check *check) {
    char host[TARGET_HOST_BYTES];
    uint16_t port;
    struct addr peer;
    struct transfers *transfers;
    struct udp_run *run = mem_calloc(1, sizeof *run);
    run->check = check;
    run->fd = -1;
    run->timeout.run = on_timeout;
    if (!target_split(spec_first(check->spec), host, &port)) {
        end(run, HEALTH_CRITICAL, "dial udp: address ", ": not of the form host:port");
    } else if (addr_parse(host[0] != '\0' ? host : "127.0.0.1", port, &peer)) {
        start_direct(run, &peer);
    } else if ((transfers = transfers_get(checks)) != NULL) {
        start_transfer(run, transfers);
    } else {
        end(run, HEALTH_CRITICAL, "dial udp ", ": the name client does not start");
    }
}

const struct check_runner runner_udp = {
    .kind = CHECK_UDP, .lane = LANE_UDP, .pack = pack, .start = start, .abort = abort_run};
