/* Addresses as text and as sockets. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "net/addr.h"

static void texts(void **state) {
    static const struct {
        const char *ip;
        uint16_t port;
        const char *bare, *full;
    } rows[] = {
        {"10.0.0.1", 8500, "10.0.0.1", "10.0.0.1:8500"},
        {"0.0.0.0", 0, "0.0.0.0", "0.0.0.0:0"},
        {"255.255.255.255", 65535, "255.255.255.255", "255.255.255.255:65535"},
        {"::1", 8500, "::1", "[::1]:8500"},
        {"[::1]", 8500, "::1", "[::1]:8500"},
        {"::", 53, "::", "[::]:53"},
        {"2001:DB8:0:0:0:0:0:1", 1, "2001:db8::1", "[2001:db8::1]:1"},
        {"::ffff:10.0.0.1", 1, "::ffff:10.0.0.1", "[::ffff:10.0.0.1]:1"},
        {"fe80:1111:2222:3333:4444:5555:6666:7777", 65535,
         "fe80:1111:2222:3333:4444:5555:6666:7777",
         "[fe80:1111:2222:3333:4444:5555:6666:7777]:65535"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct addr addr;
        char out[ADDR_TEXT_BYTES];
        assert_true(addr_parse(rows[i].ip, rows[i].port, &addr));
        addr_format_ip(&addr, out);
        assert_string_equal(out, rows[i].bare);
        addr_format(&addr, out);
        assert_string_equal(out, rows[i].full);
        assert_int_equal(addr_port(&addr), rows[i].port);
        addr_set_port(&addr, 7);
        assert_int_equal(addr_port(&addr), 7);
    }
}

static void what_is_no_address(void **state) {
    static const char long_zeros[] = "[0000000000000000000000000000000000000000000000000000000000"
                                     "0000000000000]";
    static const char *const bad[] = {
        "",          "localhost",  "10.0.0",   "10.0.0.256", "10.0.0.1:80", "[]",      "[",
        "]",         "[10.0.0.1]", "[::1",     "::1]",       "0::1]",       "[[::1]]", "1:2:3",
        " 10.0.0.1", "10.0.0.1 ",  "[::1]:80", "01.2.3.4.5", ":::",         long_zeros};
    (void)state;
    struct addr addr, before;
    memset(&addr, 0x5a, sizeof addr);
    before = addr;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(addr_parse(bad[i], 1, &addr));
        assert_memory_equal(&addr, &before, sizeof addr);
    }
}

static void kinds(void **state) {
    static const struct {
        const char *ip;
        bool any, loopback;
    } rows[] = {
        {"0.0.0.0", true, false},   {"::", true, false},   {"127.0.0.1", false, true},
        {"127.9.9.9", false, true}, {"::1", false, true},  {"128.0.0.1", false, false},
        {"10.0.0.1", false, false}, {"::2", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct addr addr;
        assert_true(addr_parse(rows[i].ip, 0, &addr));
        assert_int_equal(addr_is_any(&addr), rows[i].any);
        assert_int_equal(addr_is_loopback(&addr), rows[i].loopback);
    }
}

static struct addr bound_addr(int fd) {
    struct addr addr = {0};
    socklen_t size = sizeof addr;
    assert_int_equal(getsockname(fd, &addr.any, &size), 0);
    return addr;
}

static void binds_and_refuses(void **state) {
    (void)state;
    struct addr addr;
    struct err_text text = {""};
    assert_true(addr_parse("127.0.0.1", 0, &addr));
    static const int types[] = {SOCK_STREAM, SOCK_DGRAM};
    for (size_t i = 0; i < 2; i++) {
        addr_set_port(&addr, 0);
        int fd = addr_bind(&addr, types[i], false, &text);
        assert_true(fd >= 0);
        assert_true(fcntl(fd, F_GETFL) & O_NONBLOCK);
        assert_true(fcntl(fd, F_GETFD) & FD_CLOEXEC);
        addr = bound_addr(fd);
        assert_int_equal(addr_bind(&addr, types[i], false, &text), -1);
        char name[ADDR_TEXT_BYTES], sentence[ERR_TEXT_BYTES];
        addr_format(&addr, name);
        snprintf(
            sentence, sizeof sentence,
            "listen %s %s: Address already in use: stop what listens there, or choose another port",
            types[i] == SOCK_STREAM ? "tcp" : "udp", name);
        assert_string_equal(text.s, sentence);
        close(fd);
    }
}

static void sockets_share_a_port_when_asked(void **state) {
    (void)state;
    struct addr addr;
    assert_true(addr_parse("127.0.0.1", 0, &addr));
    int first = addr_bind(&addr, SOCK_DGRAM, true, NULL);
    assert_true(first >= 0);
    addr = bound_addr(first);
    int second = addr_bind(&addr, SOCK_DGRAM, true, NULL);
    assert_true(second >= 0);
    close(first);
    close(second);
}

/* Depends on the host: one of the contract's three outcomes. */
static void private_address(void **state) {
    (void)state;
    struct addr addr;
    struct err_text text = {""};
    char out[ADDR_TEXT_BYTES];
    switch (addr_find_private(&addr, &text)) {
    case ERR_OK:
        addr_format_ip(&addr, out);
        assert_true(strncmp(out, "10.", 3) == 0 || strncmp(out, "172.", 4) == 0 ||
                    strncmp(out, "192.168.", 8) == 0 || strncmp(out, "100.", 4) == 0);
        break;
    case ERR_NOT_FOUND:
        assert_string_equal(text.s, "No private IPv4 address found");
        break;
    case ERR_INVALID:
        assert_string_equal(text.s, "Multiple private IPv4 addresses found. Please configure one "
                                    "with 'bind' and/or 'advertise'.");
        break;
    default:
        fail_msg("%s", text.s);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(texts),
        cmocka_unit_test(what_is_no_address),
        cmocka_unit_test(kinds),
        cmocka_unit_test(binds_and_refuses),
        cmocka_unit_test(sockets_share_a_port_when_asked),
        cmocka_unit_test(private_address),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
