/* Connections without progress end by their phase's time; hang-ups are told once more. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <poll.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "http/server.h"

struct pair {
    struct http_deadline deadline;
    int peer;
};

static struct http_deadlines *deadlines;

static void open_pair(struct pair *pair, enum http_phase phase, int64_t age_ms) {
    int sockets[2];
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, sockets), 0);
    pair->peer = sockets[1];
    http_deadline_open(deadlines, &pair->deadline, sockets[0]);
    http_deadline_set(&pair->deadline, phase);
    pair->deadline.since_ms -= age_ms;
}

static void close_pair(struct pair *pair) {
    http_deadline_close(deadlines, &pair->deadline);
    close(pair->deadline.fd);
    close(pair->peer);
}

static bool has(int fd, short events) {
    struct pollfd socket = {.fd = fd, .events = events};
    return poll(&socket, 1, 0) > 0 && (socket.revents & events) != 0;
}

static int setup(void **state) {
    (void)state;
    deadlines = http_deadlines_create();
    return 0;
}

static int teardown(void **state) {
    (void)state;
    http_deadlines_destroy(deadlines);
    return 0;
}

static void each_phase_has_its_time(void **state) {
    static const struct {
        enum http_phase phase;
        int64_t limit_s; /* 0 = none */
    } cases[] = {{HTTP_PHASE_IDLE, LIMIT_HTTP_IDLE_S},
                 {HTTP_PHASE_REQUEST, LIMIT_HTTP_REQUEST_S},
                 {HTTP_PHASE_ANSWER, LIMIT_HTTP_SEND_S},
                 {HTTP_PHASE_WAITING, 0}};
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct pair young, old;
        int64_t limit_s = cases[i].limit_s != 0 ? cases[i].limit_s : 100000;
        open_pair(&young, cases[i].phase, limit_s * 1000 - 5000);
        open_pair(&old, cases[i].phase, limit_s * 1000 + 5000);
        http_deadlines_sweep(deadlines);
        assert_false(has(young.peer, POLLHUP));
        assert_true(has(old.peer, POLLHUP) == (cases[i].limit_s != 0));
        close_pair(&old);
        close_pair(&young);
    }
}

/* One that has started anew is not judged by its past. */
static void progress_is_seen(void **state) {
    struct pair pair;
    (void)state;
    open_pair(&pair, HTTP_PHASE_REQUEST, LIMIT_HTTP_REQUEST_S * 1000 + 5000);
    http_deadline_set(&pair.deadline, HTTP_PHASE_ANSWER);
    http_deadlines_sweep(deadlines);
    assert_false(has(pair.peer, POLLHUP));
    close_pair(&pair);
}

/* An edge-triggered epoll that has had its edge gets one more, for those that have hung up alone.
 */
static void hang_ups_are_told(void **state) {
    enum { COUNT = 600 };
    static struct pair pairs[COUNT];
    struct epoll_event ready[COUNT];
    int epoll = epoll_create1(0);
    (void)state;
    for (int i = 0; i < COUNT; i++) {
        open_pair(&pairs[i], i % 2 ? HTTP_PHASE_REQUEST : HTTP_PHASE_IDLE, LIMIT_HTTP_SWEEP_MS);
        struct epoll_event event = {.events = EPOLLIN | EPOLLET, .data.u32 = (uint32_t)i};
        assert_int_equal(epoll_ctl(epoll, EPOLL_CTL_ADD, pairs[i].deadline.fd, &event), 0);
        assert_int_equal(write(pairs[i].peer, "G", 1), 1);
        if (i % 3 == 0) {
            shutdown(pairs[i].peer, SHUT_WR);
        }
    }
    assert_int_equal(epoll_wait(epoll, ready, COUNT, 0), COUNT);
    assert_int_equal(epoll_wait(epoll, ready, COUNT, 0), 0);
    http_deadlines_sweep(deadlines);
    assert_int_equal(epoll_wait(epoll, ready, COUNT, 0), COUNT / 3);
    for (int i = 0; i < COUNT / 3; i++) {
        char bytes[2]; /* what came before is still there */
        struct pair *pair = &pairs[ready[i].data.u32];
        assert_int_equal(ready[i].data.u32 % 3, 0);
        assert_int_equal(recv(pair->deadline.fd, bytes, 2, MSG_DONTWAIT), 1);
        assert_int_equal(recv(pair->deadline.fd, bytes, 2, MSG_DONTWAIT), 0);
    }
    for (int i = 0; i < COUNT; i++) { /* from the middle, both ends and the rest of the list */
        close_pair(&pairs[i * 7 % COUNT]);
    }
    close(epoll);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(each_phase_has_its_time, setup, teardown),
        cmocka_unit_test_setup_teardown(progress_is_seen, setup, teardown),
        cmocka_unit_test_setup_teardown(hang_ups_are_told, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
