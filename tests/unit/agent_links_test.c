/* The rule of a retry: what is asked of a second server, and what is not. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "agent/links.h"
#include "base/container.h"
#include "net/loop.h"
#include "tests/unit/net_support.h"

#define SERVERS 2
#define STALLED_PINGS 16
#define STALL_MS 1500  /* longer than a server may be silent before it is left */
#define HANGS_MS 60000 /* a test that takes so long has failed */

enum conduct {
    ANSWERS,
    HANGS_UP,  /* closes the connection instead of an answer */
    IS_SILENT, /* even to pings */
    STALLS,    /* the same, for a while */
    IS_SLOW,   /* answers pings, and the request a while later */
    SAYS_NO,
    STOPS /* answers pings, and requests with that it stops */
};

struct server {
    struct rpc *rpc;
    struct addr addr;
    struct uuid node;
    enum conduct conduct;
    unsigned asked;
    struct rpc_ticket ticket, pings[STALLED_PINGS];
    unsigned ping_count;
    struct loop_timer timer;
    struct bench *bench;
};

/* A loop with servers, and links to them. */
struct bench {
    struct loop *loop;
    struct metrics *metrics;
    struct rpc *rpc;
    struct links *links;
    struct server servers[SERVERS];
    struct links_request request;
    struct loop_timer guard;
    bool done, hangs, runs;
    enum err err;
    struct err_text text;
    char answer[16];
};

static void answer_late(struct loop_timer *timer) {
    struct server *server = CONTAINER_OF(timer, struct server, timer);
    for (unsigned i = 0; i < server->ping_count; i++) {
        rpc_answer(server->rpc, server->pings[i], ERR_OK, NULL, NULL, 0);
    }
    rpc_answer(server->rpc, server->ticket, ERR_OK, NULL, "late", 4);
}

static void on_request(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                       const uint8_t *body, size_t size) {
    struct server *server = context;
    struct err_text no = {"it says no"};
    (void)body;
    (void)size;
    server->asked++;
    switch (server->conduct) {
    case ANSWERS:
        rpc_answer(server->rpc, ticket, ERR_OK, NULL, "well", 4);
        break;
    case HANGS_UP:
        rpc_close(from);
        break;
    case IS_SILENT:
        break;
    case IS_SLOW:
    case STALLS:
        server->ticket = ticket;
        server->timer.run = answer_late;
        loop_timer_start(server->bench->loop, &server->timer,
                         loop_now_ms(server->bench->loop) + STALL_MS);
        break;
    case SAYS_NO:
        rpc_answer(server->rpc, ticket, ERR_REFUSED, &no, NULL, 0);
        break;
    case STOPS:
        rpc_answer(server->rpc, ticket, ERR_CLOSED, &no, NULL, 0);
        break;
    }
}

static void on_ping(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                    const uint8_t *body, size_t size) {
    struct server *server = context;
    (void)from;
    (void)body;
    (void)size;
    if (server->conduct == STALLS && server->ping_count < STALLED_PINGS) {
        server->pings[server->ping_count++] = ticket;
    } else if (server->conduct != IS_SILENT) {
        rpc_answer(server->rpc, ticket, ERR_OK, NULL, NULL, 0);
    }
}

static void connected(void *context, bool connected) {
    (void)context;
    (void)connected;
}

static void lost(void *context, bool own, const struct uuid *node) {
    (void)context;
    (void)own;
    (void)node;
}

static struct rpc *make_rpc(struct bench *bench, uint8_t id) {
    struct rpc_config config = {.loop = bench->loop,
                                .module = "test",
                                .kind = RPC_KIND_SERVER,
                                .self = {.node = {{id}}, .server = id < 100}};
    snprintf(config.self.name, RPC_NAME_BYTES, "agent-%u", id);
    snprintf(config.self.datacenter, RPC_NAME_BYTES, "dc1");
    return rpc_create(&config);
}

static void make_server(struct bench *bench, unsigned i) {
    static const struct rpc_service request = {.request = on_request}, ping = {.request = on_ping};
    struct server *server = &bench->servers[i];
    struct err_text text;
    server->bench = bench;
    server->node = (struct uuid){{(uint8_t)(i + 1)}};
    server->addr = support_addr("127.21.5.1", SOCK_STREAM);
    server->rpc = make_rpc(bench, (uint8_t)(i + 1));
    rpc_serve(server->rpc, RPC_METHOD_HTTP, &request, server);
    rpc_serve(server->rpc, RPC_METHOD_PING, &ping, server);
    assert_int_equal(rpc_listen(server->rpc, &server->addr, &text), ERR_OK);
}

static void hangs(struct loop_timer *timer) {
    struct bench *bench = CONTAINER_OF(timer, struct bench, guard);
    bench->hangs = true;
    loop_stop(bench->loop);
}

static void set_servers(struct bench *bench, unsigned count) {
    struct links_server all[SERVERS];
    for (unsigned i = 0; i < count; i++) {
        all[i] = (struct links_server){.node = bench->servers[i].node,
                                       .addr = bench->servers[i].addr,
                                       .name = "server",
                                       .distance_ms = -1,
                                       .state = LINKS_ALIVE};
    }
    links_set_servers(bench->links, "", all, count);
}

/* One server at some distance, the other at another. */
static void set_distances(struct bench *bench, const char *datacenter, double first_ms,
                          double second_ms) {
    struct links_server all[SERVERS];
    for (unsigned i = 0; i < SERVERS; i++) {
        all[i] = (struct links_server){.node = bench->servers[i].node,
                                       .addr = bench->servers[i].addr,
                                       .name = "server",
                                       .datacenter = datacenter,
                                       .distance_ms = i == 0 ? first_ms : second_ms,
                                       .state = LINKS_ALIVE};
    }
    if (*datacenter == '\0') {
        links_set_servers(bench->links, datacenter, all, SERVERS);
    } else {
        links_set_far_servers(bench->links, all, SERVERS);
    }
}

static int setup(void **state) {
    struct bench *bench = calloc(1, sizeof *bench);
    bench->loop = loop_create(NULL);
    bench->metrics = metrics_create("t", "", 0);
    for (unsigned i = 0; i < SERVERS; i++) {
        make_server(bench, i);
    }
    bench->rpc = make_rpc(bench, 100);
    struct links_config config = {
        .loop = bench->loop,
        .rpc = bench->rpc,
        .self = {{100}},
        .datacenter = "dc1",
        .wanted = true,
        .seed = 1,
        .connected = connected,
        .lost = lost,
        .asked = metrics_add(bench->metrics, METRIC_COUNTER, "a", "", NULL, 0),
        .asked_far = metrics_add(bench->metrics, METRIC_COUNTER, "b", "", NULL, 0),
        .failed = metrics_add(bench->metrics, METRIC_COUNTER, "c", "", NULL, 0)};
    bench->links = links_create(&config);
    bench->guard.run = hangs;
    *state = bench;
    return 0;
}

static int teardown(void **state) {
    struct bench *bench = *state;
    links_destroy(bench->links);
    rpc_destroy(bench->rpc);
    for (unsigned i = 0; i < SERVERS; i++) {
        loop_timer_stop(bench->loop, &bench->servers[i].timer);
        rpc_destroy(bench->servers[i].rpc);
    }
    loop_timer_stop(bench->loop, &bench->guard);
    loop_flush(bench->loop);
    loop_destroy(bench->loop);
    metrics_destroy(bench->metrics);
    free(bench);
    return 0;
}

static void done(struct links_request *request, enum err err, const struct err_text *text,
                 const uint8_t *body, size_t size) {
    struct bench *bench = CONTAINER_OF(request, struct bench, request);
    assert_false(bench->done);
    bench->done = true;
    bench->err = err;
    if (text != NULL) {
        bench->text = *text;
    }
    if (size > 0 && size < sizeof bench->answer) {
        memcpy(bench->answer, body, size);
    }
    if (bench->runs) {
        loop_stop(bench->loop);
    }
}

static void run(struct bench *bench) {
    loop_timer_start(bench->loop, &bench->guard, clock_monotonic_ms() + HANGS_MS);
    if (!bench->done) {
        bench->runs = true;
        loop_run(bench->loop);
        bench->runs = false;
    }
    assert_false(bench->hangs);
    assert_true(bench->done);
}

static void ask_hurried(struct bench *bench, const char *datacenter, bool repeatable,
                        int64_t hurry_ms) {
    bench->request = (struct links_request){.datacenter = datacenter,
                                            .method = RPC_METHOD_HTTP,
                                            .body = "question",
                                            .size = 8,
                                            .repeatable = repeatable,
                                            .hurry_ms = hurry_ms,
                                            .done = done};
    bench->done = false;
    links_ask(bench->links, &bench->request);
    run(bench);
}

static void ask(struct bench *bench, const char *datacenter, bool repeatable) {
    ask_hurried(bench, datacenter, repeatable, 0);
}

static unsigned asked(const struct bench *bench) {
    return bench->servers[0].asked + bench->servers[1].asked;
}

/* The server that the links choose gets this conduct, whichever it is. */
static void first_does(struct bench *bench, enum conduct conduct) {
    set_servers(bench, SERVERS);
    ask(bench, "", true);
    struct server *first = &bench->servers[bench->servers[0].asked > 0 ? 0 : 1];
    assert_int_equal(asked(bench), 1);
    first->conduct = conduct;
    first->asked = 0;
}

static void one_server_is_asked(void **state) {
    struct bench *bench = *state;
    first_does(bench, ANSWERS);
    assert_int_equal(bench->err, ERR_OK);
    assert_string_equal(bench->answer, "well");
    first_does(bench, ANSWERS);
    ask(bench, "", false);
    assert_int_equal(asked(bench), 1);
}

static void a_read_goes_to_the_next_when_the_server_hangs_up(void **state) {
    struct bench *bench = *state;
    first_does(bench, HANGS_UP);
    ask(bench, "", true);
    assert_int_equal(bench->err, ERR_OK);
    assert_int_equal(asked(bench), 2);
}

static void a_write_does_not(void **state) {
    struct bench *bench = *state;
    first_does(bench, HANGS_UP);
    ask(bench, "", false);
    assert_int_equal(bench->err, ERR_TIMEOUT);
    assert_int_equal(asked(bench), 1);
    ask(bench, "", false); /* the next one does, to the other server */
    assert_int_equal(bench->err, ERR_OK);
    assert_int_equal(asked(bench), 2);
}

static void a_silent_server_is_left(void **state) {
    struct bench *bench = *state;
    first_does(bench, IS_SILENT);
    ask(bench, "", true);
    assert_int_equal(bench->err, ERR_OK);
    assert_int_equal(asked(bench), 2);
}

static void a_write_with_a_silent_server_ends(void **state) {
    struct bench *bench = *state;
    first_does(bench, IS_SILENT);
    ask(bench, "", false);
    assert_int_equal(bench->err, ERR_TIMEOUT);
    assert_int_equal(asked(bench), 1);
}

static void a_write_with_a_server_that_stalls_is_carried_out(void **state) {
    struct bench *bench = *state;
    first_does(bench, STALLS);
    memset(bench->answer, 0, sizeof bench->answer);
    ask(bench, "", false);
    assert_int_equal(bench->err, ERR_OK);
    assert_string_equal(bench->answer, "late");
    assert_int_equal(asked(bench), 1);
}

static void a_slow_server_is_waited_for(void **state) {
    struct bench *bench = *state;
    first_does(bench, IS_SLOW);
    memset(bench->answer, 0, sizeof bench->answer);
    ask(bench, "", true);
    assert_int_equal(bench->err, ERR_OK);
    assert_string_equal(bench->answer, "late");
    assert_int_equal(asked(bench), 1);
}

static void who_is_in_a_hurry_does_not_wait_for_it(void **state) {
    struct bench *bench = *state;
    first_does(bench, IS_SLOW);
    ask_hurried(bench, "", true, 50);
    assert_int_equal(bench->err, ERR_TIMEOUT);
    assert_int_equal(asked(bench), 1);
    /* The server was only slow: it is asked again. */
    struct server *first = &bench->servers[bench->servers[0].asked > 0 ? 0 : 1];
    first->conduct = ANSWERS;
    ask_hurried(bench, "", true, HANGS_MS);
    assert_int_equal(bench->err, ERR_OK);
    assert_int_equal(first->asked, 2);
}

static void one_that_stops_is_left(void **state) {
    struct bench *bench = *state;
    first_does(bench, STOPS);
    ask(bench, "", true);
    assert_int_equal(bench->err, ERR_OK);
    assert_int_equal(asked(bench), 2);
    ask(bench, "", false);
    assert_int_equal(bench->err, ERR_OK);
    assert_int_equal(asked(bench), 3);
}

static void a_refusal_is_an_answer(void **state) {
    struct bench *bench = *state;
    first_does(bench, SAYS_NO);
    ask(bench, "", true);
    assert_int_equal(bench->err, ERR_REFUSED);
    assert_string_equal(bench->text.s, "it says no");
    assert_int_equal(asked(bench), 1);
}

static void without_servers_there_is_an_error(void **state) {
    struct bench *bench = *state;
    ask(bench, "", true);
    assert_int_equal(bench->err, ERR_NO_LEADER);
    assert_string_equal(bench->text.s, "No known Consul servers");
    ask(bench, "dc2", true);
    assert_int_equal(bench->err, ERR_NOT_FOUND);
    assert_string_equal(bench->text.s, "No path to datacenter");
}

static void where_nobody_listens_there_is_an_error(void **state) {
    struct bench *bench = *state;
    set_servers(bench, SERVERS);
    for (unsigned i = 0; i < SERVERS; i++) {
        rpc_destroy(bench->servers[i].rpc);
        bench->servers[i].rpc = NULL;
    }
    ask(bench, "", false);
    assert_int_equal(bench->err, ERR_NO_LEADER);
    make_server(bench, 0); /* one is back */
    bench->servers[0].asked = 0;
    set_servers(bench, 1);
    ask(bench, "", false);
    assert_int_equal(bench->err, ERR_OK);
}

static void ask_until_moved(struct bench *bench, const char *datacenter, unsigned near) {
    int64_t until_ms = clock_monotonic_ms() + HANGS_MS;
    unsigned before = bench->servers[near].asked;
    while (bench->servers[near].asked == before) {
        ask(bench, datacenter, true);
        assert_int_equal(bench->err, ERR_OK);
        assert_true(clock_monotonic_ms() < until_ms);
    }
}

static void the_nearest_is_asked(void **state) {
    struct bench *bench = *state;
    for (unsigned near = 0; near < SERVERS; near++) {
        set_distances(bench, "", near == 0 ? 0.5 : 80, near == 1 ? 0.5 : 80);
        ask_until_moved(bench, "", near);
    }
}

static void the_nearest_of_another_datacenter_is_asked(void **state) {
    struct bench *bench = *state;
    for (unsigned near = 0; near < SERVERS; near++) {
        links_set_far_servers(bench->links, NULL, 0); /* all are gone: it is forgotten */
        ask(bench, "dc2", true);
        assert_int_equal(bench->err, ERR_NOT_FOUND);
        set_distances(bench, "dc2", near == 0 ? 0.5 : 80, near == 1 ? 0.5 : 80);
        unsigned before = bench->servers[near].asked;
        ask(bench, "dc2", true);
        assert_int_equal(bench->err, ERR_OK);
        assert_int_equal(bench->servers[near].asked, before + 1);
    }
    set_distances(bench, "dc2", 0.5, 80);
    ask_until_moved(bench, "dc2", 0);
}

/* As after a long cut, when the pool has not noticed yet that it is over. */
static void far_servers_that_are_thought_dead_are_tried(void **state) {
    struct bench *bench = *state;
    struct links_server all[SERVERS];
    for (unsigned i = 0; i < SERVERS; i++) {
        all[i] = (struct links_server){.node = bench->servers[i].node,
                                       .addr = bench->servers[i].addr,
                                       .name = "server",
                                       .distance_ms = -1,
                                       .state = LINKS_FAILED};
    }
    links_set_servers(bench->links, "dc2", all, SERVERS);
    ask(bench, "dc2", true); /* this one is told at once, but a try begins */
    assert_int_equal(bench->err, ERR_NOT_FOUND);
    bench->request = (struct links_request){.datacenter = "dc2",
                                            .method = RPC_METHOD_HTTP,
                                            .body = "question",
                                            .size = 8,
                                            .patient = true,
                                            .done = done};
    bench->done = false;
    links_ask(bench->links, &bench->request);
    run(bench);
    assert_int_equal(bench->err, ERR_OK);
    links_set_servers(bench->links, "dc2", all, SERVERS); /* it still looks dead */
    ask(bench, "dc2", true);
    assert_int_equal(bench->err, ERR_OK);
    for (unsigned i = 0; i < SERVERS; i++) {
        all[i].state = LINKS_LEFT;
    }
    links_set_servers(bench->links, "dc2", all, SERVERS);
    ask(bench, "dc2", true);
    assert_int_equal(bench->err, ERR_NOT_FOUND);
}

int main(void) {
#define TEST(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
    const struct CMUnitTest tests[] = {
        TEST(one_server_is_asked),
        TEST(a_read_goes_to_the_next_when_the_server_hangs_up),
        TEST(a_write_does_not),
        TEST(a_silent_server_is_left),
        TEST(a_write_with_a_silent_server_ends),
        TEST(a_write_with_a_server_that_stalls_is_carried_out),
        TEST(a_slow_server_is_waited_for),
        TEST(who_is_in_a_hurry_does_not_wait_for_it),
        TEST(one_that_stops_is_left),
        TEST(a_refusal_is_an_answer),
        TEST(without_servers_there_is_an_error),
        TEST(where_nobody_listens_there_is_an_error),
        TEST(far_servers_that_are_thought_dead_are_tried),
        TEST(the_nearest_is_asked),
        TEST(the_nearest_of_another_datacenter_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
