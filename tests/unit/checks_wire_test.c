/* UDP, gRPC and HTTP/2 ping checks (contract 11.1) against servers of a few lines. */
#include "tests/unit/checks_support.h"

#include "base/buf.h"

static int set_up(void **state) {
    struct bench *bench = mem_calloc(1, sizeof *bench);
    bench_open(bench);
    *state = bench;
    return 0;
}

static int tear_down(void **state) {
    struct bench *bench = *state;
    bench_close(bench);
    free(bench);
    return 0;
}

/* ---- UDP ---- */

struct udp_server {
    int fd;
    uint16_t port;
    bool answers;
    _Atomic unsigned datagrams, bytes;
    pthread_t thread;
};

static void *serve_udp(void *context) {
    struct udp_server *server = context;
    struct sockaddr_in from;
    char data[16];
    for (;;) {
        socklen_t size = sizeof from;
        ssize_t n =
            recvfrom(server->fd, data, sizeof data, 0, (struct sockaddr *)(void *)&from, &size);
        if (n < 0 || (n == 4 && memcmp(data, "stop", 4) == 0)) {
            return NULL;
        }
        atomic_fetch_add(&server->bytes, (unsigned)n);
        atomic_fetch_add(&server->datagrams, 1);
        if (server->answers) {
            sendto(server->fd, "x", 1, 0, (struct sockaddr *)(void *)&from, size);
        }
    }
}

static int bind_udp(uint16_t *ret_port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)(void *)&at, sizeof at), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)(void *)&at, &size), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static void udp_open(struct udp_server *server, bool answers) {
    memset(server, 0, sizeof *server);
    server->answers = answers;
    server->fd = bind_udp(&server->port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve_udp, server), 0);
}

static void udp_close(struct udp_server *server) {
    struct sockaddr_in at = {.sin_family = AF_INET,
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK),
                             .sin_port = htons(server->port)};
    int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    sendto(fd, "stop", 4, 0, (struct sockaddr *)(void *)&at, sizeof at);
    close(fd);
    pthread_join(server->thread, NULL);
    close(server->fd);
}

static struct told run_udp(struct bench *bench, const char *id, const char *address,
                           int64_t timeout_ms) {
    struct check_definition def = definition(id);
    def.udp = address;
    def.interval_ns = 10 * DURATION_MS;
    def.timeout_ns = timeout_ms * DURATION_MS;
    checks_set(bench->checks, &def, NULL);
    struct told told = recorder_wait(&bench->recorder, id, 1);
    checks_remove(bench->checks, id);
    return told;
}

static void test_udp(void **state) {
    struct bench *bench = *state;
    struct udp_server server;
    char address[64], expected[128];
    udp_open(&server, true);
    const char *hosts[] = {"127.0.0.1", "localhost", ""};
    for (size_t i = 0; i < 3; i++) {
        char id[8];
        snprintf(id, sizeof id, "a%zu", i);
        snprintf(address, sizeof address, "%s:%u", hosts[i], server.port);
        int64_t start_ms = clock_monotonic_ms();
        struct told told = run_udp(bench, id, address, 60000);
        assert_true(clock_monotonic_ms() - start_ms < 30000); /* the answer ended it */
        snprintf(expected, sizeof expected, "UDP connect %s: Success", address);
        assert_string_equal(told.output, expected);
        assert_string_equal(told.status, "passing");
    }
    assert_true(atomic_load(&server.datagrams) >= 3);
    assert_int_equal(atomic_load(&server.bytes), 0); /* empty ones */
    udp_close(&server);

    /* Silence is passing, after the timeout. */
    udp_open(&server, false);
    snprintf(address, sizeof address, "127.0.0.1:%u", server.port);
    struct told told = run_udp(bench, "b", address, 60);
    assert_string_equal(told.status, "passing");
    udp_close(&server);

    /* Nobody there: the host says so. */
    told = run_udp(bench, "c", address, 60000);
    assert_string_equal(told.status, "critical");
    snprintf(expected, sizeof expected, "read udp %s: connection refused", address);
    assert_string_equal(told.output, expected);
    told = run_udp(bench, "d", "no-port", 1000);
    assert_string_equal(told.output, "dial udp: address no-port: not of the form host:port");
    told = run_udp(bench, "e", "name.invalid:53", 20000);
    assert_string_equal(told.status, "critical");
}

static void test_udp_removed_while_waiting(void **state) {
    struct bench *bench = *state;
    struct udp_server server;
    char address[64];
    udp_open(&server, false);
    snprintf(address, sizeof address, "127.0.0.1:%u", server.port);
    struct check_definition def = definition("a");
    def.udp = address;
    def.interval_ns = 10 * DURATION_MS;
    checks_set(bench->checks, &def, NULL);
    int64_t deadline_ms = clock_monotonic_ms() + WAIT_MAX_S * 1000;
    while (atomic_load(&server.datagrams) == 0 && clock_monotonic_ms() < deadline_ms) {
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    assert_int_equal(atomic_load(&server.datagrams), 1);
    checks_remove(bench->checks, "a");
    assert_int_equal(recorder_count(&bench->recorder), 0);
    udp_close(&server);
}

/* ---- HTTP/2 ---- */

enum manner {
    SERVES,       /* acknowledges pings, answers calls with serving 1 */
    NOT_SERVING,  /* serving 2 */
    UNSET,        /* an empty message: serving 0 */
    NO_SUCH_CALL, /* grpc-status 12 in a head without a body */
    WEB_PAGE,     /* :status 404 and no gRPC */
    MUTE,         /* reads and says nothing */
    GOES_AWAY,
    OLD, /* answers HTTP/1.1 */
    HANGS_UP
};

struct h2_server {
    int fd;
    uint16_t port;
    _Atomic int manner;
    pthread_t thread;
    char asked[256]; /* body of the last call; written before its answer goes out */
    size_t asked_bytes;
};

static bool read_full(int fd, void *data, size_t size) {
    char *at = data;
    while (size > 0) {
        ssize_t n = recv(fd, at, size, 0);
        if (n <= 0) {
            return false;
        }
        at += n;
        size -= (size_t)n;
    }
    return true;
}

static void send_frame(int fd, int kind, int flags, uint32_t stream, const void *data,
                       size_t size) {
    char head[9] = {(char)(size >> 16),   (char)(size >> 8),   (char)size,
                    (char)kind,           (char)flags,         (char)(stream >> 24),
                    (char)(stream >> 16), (char)(stream >> 8), (char)stream};
    send_text(fd, head, sizeof head);
    send_text(fd, data, size);
}

/* A literal header without indexing or Huffman (RFC 7541 6.2.2). */
static void put_header(struct buf *out, const char *name, const char *value) {
    buf_append_byte(out, 0);
    buf_append_byte(out, (char)strlen(name));
    buf_append_str(out, name);
    buf_append_byte(out, (char)strlen(value));
    buf_append_str(out, value);
}

#define END_STREAM 1
#define END_HEADERS 4

static void answer_call(int fd, uint32_t stream, enum manner manner) {
    struct buf out;
    buf_init(&out, 4096);
    buf_append_byte(&out, (char)(manner == WEB_PAGE ? 0x8d : 0x88)); /* :status 404, 200 */
    if (manner == WEB_PAGE || manner == NO_SUCH_CALL) {
        if (manner == NO_SUCH_CALL) {
            put_header(&out, "grpc-status", "12");
            put_header(&out, "grpc-message", "unknown%20service grpc.health.v1.Health");
        }
        send_frame(fd, 1, END_HEADERS | END_STREAM, stream, out.data, out.count);
        buf_clear(&out);
        return;
    }
    put_header(&out, "content-type", "application/grpc");
    send_frame(fd, 1, END_HEADERS, stream, out.data, out.count);
    const char serving[] = {0, 0, 0, 0, 2, 8, (char)(manner == NOT_SERVING ? 2 : 1)};
    const char unset[] = {0, 0, 0, 0, 0};
    if (manner == UNSET) {
        send_frame(fd, 0, 0, stream, unset, sizeof unset);
    } else {
        send_frame(fd, 0, 0, stream, serving, sizeof serving);
    }
    buf_reset(&out);
    put_header(&out, "grpc-status", "0");
    send_frame(fd, 1, END_HEADERS | END_STREAM, stream, out.data, out.count);
    buf_clear(&out);
}

static bool take_frame(struct h2_server *server, int fd) {
    unsigned char head[9];
    char data[16384];
    enum manner manner = (enum manner)atomic_load(&server->manner);
    if (!read_full(fd, head, sizeof head)) {
        return false;
    }
    size_t size = (size_t)head[0] << 16 | (size_t)head[1] << 8 | head[2];
    uint32_t stream = (uint32_t)head[7] << 8 | head[8]; /* small in these tests */
    if (size > sizeof data || !read_full(fd, data, size)) {
        return false;
    }
    if (manner == MUTE) {
        return true;
    }
    if (head[3] == 4 && (head[4] & 1) == 0) {
        send_frame(fd, 4, 1, 0, "", 0);
    } else if (head[3] == 6) {
        if (manner == GOES_AWAY) {
            send_frame(fd, 7, 0, 0, "\0\0\0\0\0\0\0\0", 8);
        } else {
            send_frame(fd, 6, 1, 0, data, size);
        }
    } else if (head[3] == 0) {
        memcpy(server->asked, data, size < sizeof server->asked ? size : sizeof server->asked);
        server->asked_bytes = size;
    }
    if ((head[3] == 0 || head[3] == 1) && (head[4] & END_STREAM) != 0) {
        answer_call(fd, stream, manner);
    }
    return true;
}

static void *serve_h2(void *context) {
    struct h2_server *server = context;
    int fd;
    while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
        char preface[24];
        int manner = atomic_load(&server->manner);
        if (manner == OLD) {
            (void)!recv(fd, preface, sizeof preface, 0);
            send_text(fd, "HTTP/1.1 400 Bad Request\r\n\r\n", 28);
            shutdown(fd, SHUT_WR);
            wait_hang_up(fd);
        } else if (manner != HANGS_UP && read_full(fd, preface, sizeof preface)) {
            assert_memory_equal(preface, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 24);
            send_frame(fd, 4, 0, 0, "", 0);
            while (take_frame(server, fd)) {
            }
        }
        close(fd);
    }
    return NULL;
}

static void h2_open(struct h2_server *server) {
    memset(server, 0, sizeof *server);
    server->fd = listen_any(&server->port);
    assert_int_equal(pthread_create(&server->thread, NULL, serve_h2, server), 0);
}

/* Its clients are gone. */
static void h2_close(struct h2_server *server) {
    shutdown(server->fd, SHUT_RDWR);
    pthread_join(server->thread, NULL);
    close(server->fd);
}

static struct told run_h2(struct bench *bench, struct h2_server *server, enum manner manner,
                          bool grpc, const char *target) {
    static int count;
    char id[16];
    snprintf(id, sizeof id, "h%d", count++);
    atomic_store(&server->manner, (int)manner);
    struct check_definition def = definition(id);
    if (grpc) {
        def.grpc = target;
    } else {
        def.h2ping = target;
        def.h2ping_use_tls = -1;
    }
    def.interval_ns = 10 * DURATION_MS;
    def.timeout_ns = (manner == MUTE ? 100 : 10000) * DURATION_MS;
    checks_set(bench->checks, &def, NULL);
    struct told told = recorder_wait(&bench->recorder, id, 1);
    checks_remove(bench->checks, id);
    return told;
}

#define UNAVAILABLE                                                                                \
    "rpc error: code = Unavailable desc = connection error: desc = \"transport: Error while "      \
    "dialing: "

static void test_grpc(void **state) {
    struct bench *bench = *state;
    struct h2_server server;
    char target[64], expected[256];
    h2_open(&server);
    snprintf(target, sizeof target, "127.0.0.1:%u", server.port);

    struct told told = run_h2(bench, &server, SERVES, true, target);
    snprintf(expected, sizeof expected, "gRPC check %s: success", target);
    assert_string_equal(told.output, expected);
    assert_string_equal(told.status, "passing");
    assert_int_equal(server.asked_bytes, 5);
    assert_memory_equal(server.asked, "\0\0\0\0\0", 5);

    told = run_h2(bench, &server, NOT_SERVING, true, target);
    snprintf(expected, sizeof expected, "gRPC %s serving status: NOT_SERVING", target);
    assert_string_equal(told.output, expected);
    assert_string_equal(told.status, "critical");
    told = run_h2(bench, &server, UNSET, true, target);
    snprintf(expected, sizeof expected, "gRPC %s serving status: UNKNOWN", target);
    assert_string_equal(told.output, expected);
    told = run_h2(bench, &server, NO_SUCH_CALL, true, target);
    assert_string_equal(told.output, "rpc error: code = Unimplemented desc = unknown service "
                                     "grpc.health.v1.Health");
    told = run_h2(bench, &server, WEB_PAGE, true, target);
    assert_string_equal(told.output, "rpc error: code = Unimplemented desc = unexpected HTTP "
                                     "status code received from server: 404");
    told = run_h2(bench, &server, MUTE, true, target);
    assert_string_equal(told.output,
                        "rpc error: code = DeadlineExceeded desc = context deadline exceeded");
    told = run_h2(bench, &server, HANGS_UP, true, target);
    assert_string_equal(told.status, "critical");

    snprintf(target, sizeof target, "localhost:%u/my.Service", server.port);
    told = run_h2(bench, &server, SERVES, true, target);
    snprintf(expected, sizeof expected, "gRPC check %s: success", target);
    assert_string_equal(told.output, expected);
    assert_int_equal(server.asked_bytes, 5 + 2 + 10);
    assert_memory_equal(server.asked, "\0\0\0\0\x0c\x0a\x0amy.Service", 17);
    h2_close(&server);

    told = run_h2(bench, &server, SERVES, true, "127.0.0.1:1");
    assert_string_equal(told.output, UNAVAILABLE "dial tcp 127.0.0.1:1: connect: connection "
                                                 "refused\"");
    assert_string_equal(told.status, "critical");
    told = run_h2(bench, &server, SERVES, true, "a b:1");
    assert_string_equal(told.output, UNAVAILABLE "not of the form host:port\"");
}

static void test_h2ping(void **state) {
    struct bench *bench = *state;
    struct h2_server server;
    char target[64];
    h2_open(&server);
    for (int i = 0; i < 2; i++) {
        snprintf(target, sizeof target, "%s:%u", i == 0 ? "127.0.0.1" : "localhost", server.port);
        struct told told = run_h2(bench, &server, SERVES, false, target);
        assert_string_equal(told.output, "HTTP2 ping was successful");
        assert_string_equal(told.status, "passing");
    }
    struct told told = run_h2(bench, &server, MUTE, false, target);
    assert_string_equal(told.output, "HTTP2 ping failed: context deadline exceeded");
    assert_string_equal(told.status, "critical");
    told = run_h2(bench, &server, GOES_AWAY, false, target);
    assert_string_equal(told.output, "HTTP2 ping failed: the peer goes away");
    told = run_h2(bench, &server, OLD, false, target);
    assert_string_equal(told.output, "HTTP2 ping failed: the peer does not speak HTTP/2");
    told = run_h2(bench, &server, HANGS_UP, false, target);
    assert_string_equal(told.status, "critical");
    assert_true(strncmp(told.output, "HTTP2 ping failed: ", 19) == 0);
    h2_close(&server);
    told = run_h2(bench, &server, SERVES, false, "127.0.0.1:1");
    assert_string_equal(told.output, "Failed to dial to 127.0.0.1:1: dial tcp 127.0.0.1:1: "
                                     "connect: connection refused");
    told = run_h2(bench, &server, SERVES, false, "nonsense");
    assert_string_equal(told.output, "Failed to dial to nonsense: the address is not of the form "
                                     "host:port");
}

/* A peer that does not speak TLS, asked with it: h2ping's default. */
static void test_h2ping_wants_tls(void **state) {
    struct bench *bench = *state;
    struct h2_server server;
    char target[64];
    h2_open(&server);
    atomic_store(&server.manner, OLD);
    snprintf(target, sizeof target, "127.0.0.1:%u", server.port);
    struct check_definition def = definition("a");
    def.h2ping = target;
    def.interval_ns = 10 * DURATION_MS;
    checks_set(bench->checks, &def, NULL);
    struct told told = recorder_wait(&bench->recorder, "a", 1);
    checks_remove(bench->checks, "a");
    assert_string_equal(told.status, "critical");
    assert_true(strncmp(told.output, "Failed to dial to ", 18) == 0);
    h2_close(&server);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_udp),    CASE(test_udp_removed_while_waiting), CASE(test_grpc),
        CASE(test_h2ping), CASE(test_h2ping_wants_tls),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
