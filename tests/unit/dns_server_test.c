/* The server over real sockets on loopback addresses. Waits end with what they wait for, or fail at
 * a deadline. */
#include "tests/unit/dns_support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "dns/server.h"
#include "net/loop.h"

#define A DNS_TYPE_A
#define WAIT_MAX_S 60
#define HEADER_BYTES 12

struct running {
    struct world *world;
    struct dns_server_config config;
    struct addr listen;
    struct dns_server *server;
    _Atomic bool ready, leads;
};

static bool is_ready(void *context) {
    return ((struct running *)context)->ready;
}

static bool leads(void *context) {
    return ((struct running *)context)->leads;
}

static void start(struct running *r, const char *ip) {
    struct err_text text = {""};
    assert_true(addr_parse(ip, 0, &r->listen));
    r->config = (struct dns_server_config){.listen = &r->listen,
                                           .listen_count = 1,
                                           .seed = 1,
                                           .answers = r->world->config,
                                           .epoch = r->world->epoch,
                                           .catalog = r->world->catalog,
                                           .ready = is_ready,
                                           .has_leader = leads,
                                           .ready_context = r};
    r->server = dns_server_start(&r->config, NULL, &text);
    if (r->server == NULL) {
        fail_msg("%s", text.s);
    }
}

static int set_up(void **state) {
    struct running *r = calloc(1, sizeof *r);
    r->world = world_create();
    atomic_init(&r->ready, true);
    atomic_init(&r->leads, true);
    world_add(r->world, (struct entry){.node = "n1", .address = "10.0.0.1", .service = "web"});
    start(r, "127.0.0.1");
    *state = r;
    return 0;
}

static int tear_down(void **state) {
    struct running *r = *state;
    dns_server_stop(r->server);
    world_destroy(r->world);
    free(r);
    return 0;
}

/* receive_bytes: of the socket's buffer; 0 = the system's choice. */
static int connect_with(const char *ip, uint16_t port, int type, int receive_bytes) {
    struct addr addr;
    struct timeval wait = {.tv_sec = WAIT_MAX_S};
    assert_true(addr_parse(ip, port, &addr));
    int fd = socket(addr.any.sa_family, type, 0);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &wait, sizeof wait);
    if (receive_bytes > 0) {
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &receive_bytes, sizeof receive_bytes);
    }
    assert_int_equal(connect(fd, &addr.any, addr_size(&addr)), 0);
    return fd;
}

static int connect_to(const char *ip, uint16_t port, int type) {
    return connect_with(ip, port, type, 0);
}

static int connect_server(struct running *r, int type) {
    return connect_to("127.0.0.1", dns_server_port(r->server, 0), type);
}

static const char *udp_ask(struct running *r, int fd, const struct ask *ask) {
    uint8_t request[1024];
    uint8_t answer[65536];
    size_t bytes = ask_encode(ask, request);
    assert_int_equal(send(fd, request, bytes, 0), bytes);
    ssize_t got = recv(fd, answer, sizeof answer, 0);
    assert_true(got > 0);
    answer_format(answer, (size_t)got, r->world->text);
    return r->world->text;
}

static const struct ask ask_web = {.name = "web.service.consul", .type = A};
static const char web_answer[] = "NOERROR aa\nans web.service.consul. 0 A 10.0.0.1\n";

static size_t tcp_encode(const struct ask *ask, uint8_t *out) {
    size_t bytes = ask_encode(ask, out + 2);
    out[0] = (uint8_t)(bytes >> 8);
    out[1] = (uint8_t)bytes;
    return bytes + 2;
}

static void send_all(int fd, const void *bytes, size_t size) {
    assert_int_equal(send(fd, bytes, size, MSG_NOSIGNAL), size);
}

/* False: the server has closed. */
static bool receive_all(int fd, uint8_t *to, size_t size) {
    for (size_t at = 0; at < size;) {
        ssize_t got = recv(fd, to + at, size - at, 0);
        if (got == 0 || (got < 0 && errno == ECONNRESET)) {
            return false;
        }
        assert_true(got > 0);
        at += (size_t)got;
    }
    return true;
}

static bool tcp_receive(struct running *r, int fd) {
    uint8_t length[2];
    static uint8_t answer[65536];
    if (!receive_all(fd, length, 2)) {
        return false;
    }
    size_t bytes = (size_t)length[0] << 8 | length[1];
    assert_true(receive_all(fd, answer, bytes));
    answer_format(answer, bytes, r->world->text);
    return true;
}

static void expect_web(struct running *r, int fd) {
    assert_true(tcp_receive(r, fd));
    assert_string_equal(r->world->text, web_answer);
}

static void answers_over_udp(void **state) {
    struct running *r = *state;
    int fd = connect_server(r, SOCK_DGRAM);
    assert_string_equal(udp_ask(r, fd, &ask_web), web_answer);
    /* What deserves no reply gets none: the next answer is the next question's. */
    send_all(fd, "x", 1);
    struct ask mute = ask_web;
    uint8_t request[1024];
    size_t bytes = ask_encode(&mute, request);
    request[2] = 0x80;
    send_all(fd, request, bytes);
    struct ask soa = {.name = "none.node.consul", .type = A};
    assert_non_null(strstr(udp_ask(r, fd, &soa), "NXDOMAIN"));
    close(fd);
    struct dns_server_stats stats;
    dns_server_get_stats(r->server, &stats);
    assert_true(stats.udp_queries >= 1);
}

static void fails_before_the_first_leader(void **state) {
    struct running *r = *state;
    int fd = connect_server(r, SOCK_DGRAM);
    atomic_store(&r->ready, false);
    assert_string_equal(udp_ask(r, fd, &ask_web), "SERVFAIL aa\n");
    atomic_store(&r->ready, true);
    assert_string_equal(udp_ask(r, fd, &ask_web), web_answer);
    close(fd);
}

/* A connected socket takes answers from nowhere else. */
static void answers_from_the_address_that_was_asked(void **state) {
    struct running *r = *state;
    dns_server_stop(r->server);
    start(r, "0.0.0.0");
    uint16_t port = dns_server_port(r->server, 0);
    const char *const ips[] = {"127.0.0.1", "127.0.0.2", "127.9.9.9"};
    for (int i = 0; i < 3; i++) {
        int fd = connect_to(ips[i], port, SOCK_DGRAM);
        assert_string_equal(udp_ask(r, fd, &ask_web), web_answer);
        close(fd);
    }
    int probe = socket(AF_INET6, SOCK_DGRAM, 0);
    struct addr loopback;
    addr_parse("::1", 0, &loopback);
    bool has_v6 = probe >= 0 && bind(probe, &loopback.any, addr_size(&loopback)) == 0;
    close(probe);
    if (has_v6) {
        dns_server_stop(r->server);
        start(r, "::");
        int fd = connect_to("::1", dns_server_port(r->server, 0), SOCK_DGRAM);
        assert_string_equal(udp_ask(r, fd, &ask_web), web_answer);
        close(fd);
        fd = connect_to("::1", dns_server_port(r->server, 0), SOCK_STREAM);
        close(fd);
    }
}

static void many_clients_over_udp(void **state) {
    struct running *r = *state;
    int fds[64];
    uint8_t request[1024], answer[1024];
    size_t bytes = ask_encode(&ask_web, request);
    for (int i = 0; i < 64; i++) {
        fds[i] = connect_server(r, SOCK_DGRAM);
        for (int k = 0; k < 4; k++) {
            send_all(fds[i], request, bytes);
        }
    }
    for (int i = 0; i < 64; i++) {
        for (int k = 0; k < 4; k++) {
            assert_true(recv(fds[i], answer, sizeof answer, 0) > HEADER_BYTES);
        }
        close(fds[i]);
    }
}

static void answers_over_tcp(void **state) {
    struct running *r = *state;
    uint8_t request[1024];
    size_t bytes = tcp_encode(&ask_web, request);
    int fd = connect_server(r, SOCK_STREAM);
    send_all(fd, request, bytes);
    expect_web(r, fd);
    /* Byte by byte. */
    for (size_t i = 0; i < bytes; i++) {
        send_all(fd, request + i, 1);
    }
    expect_web(r, fd);
    /* Three at once, and the end of the stream right behind them. */
    uint8_t three[3 * 1024];
    for (int i = 0; i < 3; i++) {
        memcpy(three + (size_t)i * bytes, request, bytes);
    }
    send_all(fd, three, 3 * bytes);
    shutdown(fd, SHUT_WR);
    for (int i = 0; i < 3; i++) {
        expect_web(r, fd);
    }
    assert_false(tcp_receive(r, fd));
    close(fd);
}

static void length_games(void **state) {
    struct running *r = *state;
    uint8_t request[1024];
    size_t bytes = tcp_encode(&ask_web, request);
    int fd = connect_server(r, SOCK_STREAM);
    send_all(fd, "\0\0\0\5hello\0\1x", 12); /* none of these is a header */
    request[4] = 0x80;                      /* nor this a question */
    send_all(fd, request, bytes);
    request[4] = 0;
    send_all(fd, request, bytes);
    expect_web(r, fd);
    /* Longer than its question: what is behind is not looked at, only how much it is. */
    static uint8_t big[2 + 65535];
    memcpy(big + 2, request + 2, bytes - 2);
    big[0] = big[1] = 0xff;
    send_all(fd, big, sizeof big);
    expect_web(r, fd);
    /* Shorter than its question. */
    request[1] = (uint8_t)(bytes - 2 - 3);
    send_all(fd, request, bytes - 3);
    assert_true(tcp_receive(r, fd));
    assert_string_equal(r->world->text, "FORMERR\nno question\n");
    close(fd);
}

static void a_connection_ends_after_its_queries(void **state) {
    struct running *r = *state;
    uint8_t request[1024];
    size_t bytes = tcp_encode(&ask_web, request);
    int fd = connect_server(r, SOCK_STREAM);
    for (int i = 0; i < LIMIT_DNS_TCP_QUERIES + 5; i++) {
        ssize_t sent = send(fd, request, bytes, MSG_NOSIGNAL);
        assert_true(sent == (ssize_t)bytes || errno == EPIPE || errno == ECONNRESET);
        if (i < LIMIT_DNS_TCP_QUERIES) {
            expect_web(r, fd);
        }
    }
    assert_false(tcp_receive(r, fd));
    close(fd);
    /* All at once. */
    static uint8_t all[(LIMIT_DNS_TCP_QUERIES + 5) * 64];
    assert_true(bytes <= 64);
    for (size_t i = 0; i < LIMIT_DNS_TCP_QUERIES + 5; i++) {
        memcpy(all + i * bytes, request, bytes);
    }
    fd = connect_server(r, SOCK_STREAM);
    send_all(fd, all, (LIMIT_DNS_TCP_QUERIES + 5) * bytes);
    unsigned answers = 0;
    while (tcp_receive(r, fd)) {
        answers++;
    }
    assert_int_equal(answers, LIMIT_DNS_TCP_QUERIES);
    close(fd);
}

/* A client that asks for much and reads nothing holds up only itself. */
static void a_slow_client_blocks_no_other(void **state) {
    struct running *r = *state;
    uint8_t request[1024];
    for (unsigned i = 0; i < 800; i++) {
        char node[32], address[32];
        snprintf(node, sizeof node, "many%u", i);
        snprintf(address, sizeof address, "10.2.%u.%u", i / 250, i % 250);
        world_add(r->world, (struct entry){.node = node, .address = address, .service = "many"});
    }
    struct ask many = {.name = "many.service.consul", .type = DNS_TYPE_SRV};
    size_t bytes = tcp_encode(&many, request);
    int slow = connect_with("127.0.0.1", dns_server_port(r->server, 0), SOCK_STREAM, 64 * 1024);
    for (int i = 0; i < 100; i++) { /* 5 MB of answers */
        send_all(slow, request, bytes);
    }
    size_t web_bytes = tcp_encode(&ask_web, request);
    int quick = connect_server(r, SOCK_STREAM);
    send_all(quick, request, web_bytes);
    expect_web(r, quick);
    close(quick);
    /* And once it reads, it gets all of it. */
    for (int i = 0; i < 100; i++) {
        assert_true(tcp_receive(r, slow));
        assert_int_equal(count_lines(r->world->text, "\nans"), 800);
    }
    close(slow);
}

static bool asks_and_gets(struct running *r, int fd) {
    uint8_t request[1024];
    size_t bytes = tcp_encode(&ask_web, request);
    return send(fd, request, bytes, MSG_NOSIGNAL) == (ssize_t)bytes && tcp_receive(r, fd) &&
           strcmp(r->world->text, web_answer) == 0;
}

/* Whether it does, with as many connections as there may be, and one more. */
static bool gives_way(struct running *r, int *fds) {
    bool right = true;
    for (int i = 0; i < LIMIT_DNS_TCP_CONNECTIONS; i++) {
        fds[i] = connect_server(r, SOCK_STREAM);
        right = asks_and_gets(r, fds[i]) && right;
    }
    right = asks_and_gets(r, fds[0]) && right; /* now the second is the one */
    fds[LIMIT_DNS_TCP_CONNECTIONS] = connect_server(r, SOCK_STREAM);
    right = asks_and_gets(r, fds[LIMIT_DNS_TCP_CONNECTIONS]) && right;
    right = !tcp_receive(r, fds[1]) && right;
    right = asks_and_gets(r, fds[0]) && right;
    struct dns_server_stats stats;
    dns_server_get_stats(r->server, &stats);
    right = stats.tcp_connections == LIMIT_DNS_TCP_CONNECTIONS && right;
    for (int i = 0; i <= LIMIT_DNS_TCP_CONNECTIONS; i++) {
        close(fds[i]);
    }
    return right;
}

/* Tried again when a busy machine took so long that others were idle for too long. */
static void the_idlest_connection_gives_way(void **state) {
    struct running *r = *state;
    int fds[LIMIT_DNS_TCP_CONNECTIONS + 1];
    int64_t start_ms, took_ms;
    bool right;
    int tries = 0;
    do {
        start_ms = clock_monotonic_ms();
        right = gives_way(r, fds);
        took_ms = clock_monotonic_ms() - start_ms;
    } while (!right && took_ms >= LIMIT_DNS_TCP_IDLE_MS && ++tries < 10);
    assert_true(right);
}

/* Half a message: closed when the read timeout is over, well before the idle one. */
static void half_a_message_is_not_waited_for(void **state) {
    struct running *r = *state;
    int fd = connect_server(r, SOCK_STREAM);
    send_all(fd, "\0\40abc", 5);
    assert_false(tcp_receive(r, fd));
    close(fd);
}

/* Whether the start failed because of this protocol's port. */
static bool start_fails(struct running *r, const char *protocol, uint16_t port) {
    struct err_text text = {""};
    char want[ERR_TEXT_BYTES];
    r->listen.v4.sin_port = htons(port);
    struct dns_server *second = dns_server_start(&r->config, NULL, &text);
    assert_null(second);
    snprintf(want, sizeof want,
             "dns: listen %s 127.0.0.1:%u: Address already in use: stop what listens there, or "
             "choose another port",
             protocol, port);
    return strcmp(text.s, want) == 0;
}

static void a_port_in_use_is_an_error(void **state) {
    struct running *r = *state;
    assert_true(start_fails(r, "tcp", dns_server_port(r->server, 0)));
    /* Even when the other one offers to share it. A port that is free for UDP may be taken for TCP
     * by an old connection, so several are tried. */
    bool failed = false;
    for (int i = 0; i < 50 && !failed; i++) {
        struct addr addr;
        addr_parse("127.0.0.1", 0, &addr);
        int fd = addr_bind(&addr, SOCK_DGRAM, true, NULL);
        socklen_t size = sizeof addr;
        assert_int_equal(getsockname(fd, &addr.any, &size), 0);
        failed = start_fails(r, "udp", addr_port(&addr));
        close(fd);
    }
    assert_true(failed);
}

static void reload_changes_answers(void **state) {
    struct running *r = *state;
    int fd = connect_server(r, SOCK_DGRAM);
    struct dns_service_ttl ttls[] = {{"web", 5}};
    struct dns_config config = r->world->config;
    config.service_ttls = ttls;
    config.service_ttl_count = 1;
    assert_string_equal(udp_ask(r, fd, &ask_web), web_answer);
    dns_server_reload(r->server, &config);
    assert_string_equal(udp_ask(r, fd, &ask_web),
                        "NOERROR aa\nans web.service.consul. 5 A 10.0.0.1\n");
    close(fd);
}

struct asker {
    struct running *running;
    _Atomic bool stop;
};

static void *keep_asking(void *context) {
    struct asker *asker = context;
    uint8_t request[1024], answer[4096];
    size_t bytes = ask_encode(&ask_web, request);
    int udp = connect_server(asker->running, SOCK_DGRAM);
    while (!atomic_load(&asker->stop)) {
        send_all(udp, request, bytes);
        assert_true(recv(udp, answer, sizeof answer, 0) > HEADER_BYTES);
        assert_int_equal(answer[3] & 0xf, 0);
        assert_int_equal(answer[7], 1);
    }
    close(udp);
    return NULL;
}

/* Readers against the writer; a fault shows under the sanitizers. */
static void the_catalog_changes_meanwhile(void **state) {
    struct running *r = *state;
    struct asker asker = {.running = r};
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, keep_asking, &asker), 0);
    for (unsigned i = 0; i < 2000; i++) {
        char address[32];
        snprintf(address, sizeof address, "10.3.%u.%u", i / 250, i % 250);
        world_add(r->world, (struct entry){.node = "n1", .address = address, .service = "web"});
        if (i % 100 == 0) {
            dns_server_reload(r->server, &r->world->config);
        }
    }
    atomic_store(&asker.stop, true);
    pthread_join(thread, NULL);
}

/* ---- recursors ---- */

/* A recursor's socket that the test answers by, or does not. */
static int use_recursor(struct running *r, int type) {
    struct addr recursor;
    struct err_text text = {""};
    struct timeval wait = {.tv_sec = WAIT_MAX_S};
    socklen_t size = sizeof recursor;
    int bytes = 4 * 1024 * 1024;
    assert_true(addr_parse("127.0.0.1", 0, &recursor));
    int fd = addr_bind(&recursor, type, false, &text);
    assert_true(fd >= 0);
    fcntl(fd, F_SETFL, 0); /* waits */
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &wait, sizeof wait);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    assert_int_equal(getsockname(fd, &recursor.any, &size), 0);
    struct dns_config answers = r->world->config;
    answers.recursors = &recursor;
    answers.recursor_count = 1;
    answers.recursor_timeout_ms = 60000;
    dns_server_reload(r->server, &answers);
    catalog_publish(r->world->catalog);
    return fd;
}

static const struct ask ask_foreign = {.name = "www.example.com", .type = A};

static void wait_under_way(struct running *r, uint64_t count) {
    struct dns_server_stats stats = {.relayed = count + 1};
    for (int i = 0; i < WAIT_MAX_S * 1000 && stats.relayed != count; i++) {
        usleep(1000);
        dns_server_get_stats(r->server, &stats);
    }
    assert_int_equal(stats.relayed, count);
}

/* Room for so many; who comes after them is told at once, and what the view has is answered. */
static void questions_with_recursors_are_bounded(void **state) {
    struct running *r = *state;
    struct rlimit files;
    getrlimit(RLIMIT_NOFILE, &files);
    files.rlim_cur = files.rlim_max;
    setrlimit(RLIMIT_NOFILE, &files);
    assert_true(files.rlim_max > LIMIT_DNS_RELAY_EXCHANGES + 64);
    int silent = use_recursor(r, SOCK_DGRAM);
    int fd = connect_server(r, SOCK_DGRAM);
    uint8_t request[1024], upstream[1024];
    size_t bytes = ask_encode(&ask_foreign, request);
    for (unsigned i = 1; i <= LIMIT_DNS_RELAY_EXCHANGES; i++) {
        send_all(fd, request, bytes);
        assert_int_equal(recv(silent, upstream, sizeof upstream, 0), bytes);
    }
    wait_under_way(r, LIMIT_DNS_RELAY_EXCHANGES);
    for (int i = 0; i < 10; i++) {
        assert_string_equal(udp_ask(r, fd, &ask_foreign), "SERVFAIL ra\n");
    }
    assert_non_null(strstr(udp_ask(r, fd, &ask_web), "web.service.consul. 0 A 10.0.0.1"));
    close(silent); /* now each is refused, and so all of them end */
    dns_server_stop(r->server);
    start(r, "127.0.0.1");
    close(fd);
}

/* The recursor's answer comes after the client's connection went. */
static void an_answer_without_a_client(void **state) {
    struct running *r = *state;
    int upstream = use_recursor(r, SOCK_STREAM);
    uint8_t request[1024];
    size_t bytes = tcp_encode(&ask_foreign, request);
    int fd = connect_server(r, SOCK_STREAM);
    send_all(fd, request, bytes);
    int asked = accept(upstream, NULL, NULL);
    assert_true(asked >= 0);
    uint8_t got[1024];
    assert_true(receive_all(asked, got, bytes));
    struct linger hard = {.l_onoff = 1};
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(fd);
    struct dns_server_stats stats = {.tcp_connections = 1};
    for (int i = 0; i < WAIT_MAX_S * 1000 && stats.tcp_connections > 0; i++) {
        usleep(1000);
        dns_server_get_stats(r->server, &stats);
    }
    assert_int_equal(stats.tcp_connections, 0);
    got[4] |= 0x80;
    send_all(asked, got, bytes);
    wait_under_way(r, 0);
    close(asked);
    close(upstream);
}

static void lookups_may_need_a_leader(void **state) {
    struct running *r = *state;
    dns_server_stop(r->server);
    start(r, "127.0.0.1");
    int fd = connect_server(r, SOCK_DGRAM);
    atomic_store(&r->leads, false);
    assert_string_equal(udp_ask(r, fd, &ask_web), web_answer);
    struct dns_config answers = r->world->config;
    answers.allow_stale = false;
    dns_server_reload(r->server, &answers);
    catalog_publish(r->world->catalog);
    assert_string_equal(udp_ask(r, fd, &ask_web), "SERVFAIL aa\n");
    atomic_store(&r->leads, true);
    assert_string_equal(udp_ask(r, fd, &ask_web), web_answer);
    close(fd);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(answers_over_udp),
        TEST(fails_before_the_first_leader),
        TEST(answers_from_the_address_that_was_asked),
        TEST(many_clients_over_udp),
        TEST(answers_over_tcp),
        TEST(length_games),
        TEST(a_connection_ends_after_its_queries),
        TEST(a_slow_client_blocks_no_other),
        TEST(the_idlest_connection_gives_way),
        TEST(half_a_message_is_not_waited_for),
        TEST(a_port_in_use_is_an_error),
        TEST(reload_changes_answers),
        TEST(the_catalog_changes_meanwhile),
        TEST(questions_with_recursors_are_bounded),
        TEST(an_answer_without_a_client),
        TEST(lookups_may_need_a_leader),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
