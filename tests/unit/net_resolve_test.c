/* Names and datagrams on the loop, all on this host. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <netdb.h>
#include <stdlib.h>

#include "base/container.h"
#include "net/resolve.h"
#include "net/udp.h"
#include "tests/unit/net_support.h"

/* ---- names ---- */

struct question {
    struct resolve_wait wait;
    struct support *support;
    struct resolver *resolver;
    const char *name;
    int timeout_ms;
    bool done;
    enum err err;
    size_t count;
    struct addr first;
    struct err_text text;
};

static void resolved(struct resolve_wait *wait, enum err err, const struct addr *addresses,
                     size_t count, const struct err_text *text) {
    struct question *question = CONTAINER_OF(wait, struct question, wait);
    question->done = true;
    question->err = err;
    question->count = count;
    question->text = *text;
    if (count > 0) {
        question->first = addresses[0];
    }
}

static bool ask(void *context) {
    struct question *question = context;
    question->resolver = resolver_create(question->support->loop);
    question->wait.done = resolved;
    resolver_ask(question->resolver, &question->wait, question->name, 8301, question->timeout_ms);
    return !question->done;
}

static bool is_done(void *context) {
    return ((struct question *)context)->done;
}

static bool finish(void *context) {
    struct question *question = context;
    resolver_cancel(question->resolver, &question->wait);
    return true;
}

/* A turn later: the question itself is taken down after done. */
static bool destroy(void *context) {
    resolver_destroy(((struct question *)context)->resolver);
    return true;
}

static struct question resolve(const char *name, int timeout_ms) {
    struct support support;
    struct question question = {.support = &support, .name = name, .timeout_ms = timeout_ms};
    support_start(&support);
    assert_true(support_call(&support, ask, &question));
    support_wait(&support, is_done, &question);
    support_call(&support, finish, &question);
    support_call(&support, destroy, &question);
    support_stop(&support);
    return question;
}

static void test_names(void **state) {
    (void)state;
    struct question literal = resolve("192.0.2.7", 20000);
    assert_int_equal(literal.err, ERR_OK);
    assert_int_equal(literal.count, 1);
    assert_int_equal(addr_port(&literal.first), 8301);
    struct question v6 = resolve("2001:db8::7", 20000);
    assert_int_equal(v6.err, ERR_OK);
    assert_int_equal(v6.first.any.sa_family, AF_INET6);
    struct addrinfo *known = NULL;
    if (getaddrinfo("localhost", NULL, NULL, &known) == 0) { /* a bare system has no /etc/hosts */
        struct question host = resolve("localhost", 20000);
        assert_int_equal(host.err, ERR_OK);
        assert_true(host.count >= 1);
        assert_true(addr_is_loopback(&host.first));
        assert_int_equal(addr_port(&host.first), 8301);
        freeaddrinfo(known);
    }
    struct question none = resolve("no..such..name", 20000);
    assert_int_not_equal(none.err, ERR_OK);
    assert_int_not_equal(none.text.s[0], '\0');
}

static void test_cancel(void **state) {
    (void)state;
    struct support support;
    struct question question = {.support = &support, .name = "localhost", .timeout_ms = 20000};
    support_start(&support);
    support_call(&support, ask, &question);
    support_call(&support, finish, &question);
    support_call(&support, destroy, &question);
    support_stop(&support);
}

static void test_split(void **state) {
    (void)state;
    static const struct {
        const char *text, *host;
        uint16_t port; /* 0 = refused */
    } all[] = {{"host", "host", 8301},
               {"host:1", "host", 1},
               {"10.0.0.1", "10.0.0.1", 8301},
               {"10.0.0.1:65535", "10.0.0.1", 65535},
               {"::1", "::1", 8301},
               {"[::1]", "::1", 8301},
               {"[::1]:9", "::1", 9},
               {"", "", 0},
               {":8301", "", 0},
               {"host:", "", 0},
               {"host:0", "", 0},
               {"host:65536", "", 0},
               {"host:x", "", 0},
               {"[::1", "", 0},
               {"[::1]x", "", 0},
               {"a:b:c", "", 0}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        char host[64];
        uint16_t port = 0;
        bool ok = resolve_split(all[i].text, 8301, host, sizeof host, &port);
        assert_int_equal(ok, all[i].port != 0);
        if (ok) {
            assert_string_equal(host, all[i].host);
            assert_int_equal(port, all[i].port);
        }
    }
}

/* ---- datagrams ---- */

struct socket_end {
    struct support *support;
    struct addr addr, to;
    struct udp *udp;
    unsigned received, refused;
    size_t size;
    struct addr from, refused_to;
    uint8_t data[UDP_BYTES_MAX + 1];
    size_t data_size;
};

static void received(void *context, const struct addr *from, uint8_t *data, size_t size) {
    struct socket_end *end = context;
    end->received++;
    end->size = size;
    end->from = *from;
    memset(data, 0, size); /* writable */
}

static void refused(void *context, const struct addr *to) {
    struct socket_end *end = context;
    end->refused++;
    end->refused_to = *to;
}

static const struct udp_events udp_events = {received, refused};

static bool open_socket(void *context) {
    struct socket_end *end = context;
    end->udp = udp_open(end->support->loop, &end->addr, &udp_events, end, NULL);
    return end->udp != NULL;
}

static bool close_socket(void *context) {
    struct socket_end *end = context;
    udp_close(end->udp);
    end->udp = NULL;
    return true;
}

static bool send_data(void *context) {
    struct socket_end *end = context;
    return udp_send(end->udp, &end->to, end->data, end->data_size) == ERR_OK;
}

static bool has_received(void *context) {
    return ((struct socket_end *)context)->received > 0;
}

static bool was_refused(void *context) {
    return ((struct socket_end *)context)->refused > 0;
}

static void datagrams(const char *ip) {
    struct support support;
    support_start(&support);
    struct socket_end a = {.support = &support, .addr = support_addr(ip, SOCK_DGRAM)};
    struct socket_end b = {.support = &support, .addr = support_addr(ip, SOCK_DGRAM)};
    assert_true(support_call(&support, open_socket, &a));
    assert_true(support_call(&support, open_socket, &b));
    a.to = b.addr;
    a.data_size = UDP_BYTES_MAX + 1;
    assert_true(support_call(&support, send_data, &a)); /* dropped: too large */
    a.data_size = UDP_BYTES_MAX;
    assert_true(support_call(&support, send_data, &a));
    support_wait(&support, has_received, &b);
    assert_int_equal(b.size, UDP_BYTES_MAX);
    assert_int_equal(addr_port(&b.from), addr_port(&a.addr));
    struct udp_counts counts;
    udp_get_counts(b.udp, &counts);
    assert_int_equal(counts.too_large, 1);
    /* Nothing listens any more: whose port it is, and the socket goes on. */
    support_call(&support, close_socket, &b);
    for (int i = 0; i < 2; i++) {
        a.refused = 0;
        support_call(&support, send_data, &a);
        support_wait(&support, was_refused, &a);
        assert_int_equal(addr_port(&a.refused_to), addr_port(&b.addr));
    }
    assert_true(support_call(&support, open_socket, &b));
    b.received = 0;
    b.to = a.addr;
    b.data_size = 1;
    a.received = 0;
    assert_true(support_call(&support, send_data, &b));
    support_wait(&support, has_received, &a);
    support_call(&support, close_socket, &a);
    support_call(&support, close_socket, &b);
    support_stop(&support);
}

static void test_datagrams(void **state) {
    (void)state;
    datagrams("127.0.0.1");
    datagrams("::1");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_cancel),
        cmocka_unit_test(test_split),
        cmocka_unit_test(test_datagrams),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
