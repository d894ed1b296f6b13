#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "net/addr.h"
#include "net/cidr.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static void contains(void **state) {
    static const struct {
        const char *cidr, *ip;
        bool inside;
    } rows[] = {
        {"10.0.0.0/8", "10.255.0.1", true},
        {"10.0.0.0/8", "11.0.0.1", false},
        {"10.1.2.3/8", "10.9.9.9", true}, /* the bits behind the prefix do not count */
        {"192.168.4.0/22", "192.168.7.1", true},
        {"192.168.4.0/22", "192.168.8.1", false},
        {"1.2.3.4/32", "1.2.3.4", true},
        {"1.2.3.4/32", "1.2.3.5", false},
        {"0.0.0.0/0", "8.8.8.8", true},
        {"0.0.0.0/0", "::1", false},
        {"::1/128", "::1", true},
        {"fd00::/9", "fd7f::1", true},
        {"fd00::/9", "fd80::1", false},
        {"::/0", "fd00::1", true},
        {"127.0.0.0/8", "::ffff:127.0.0.1", true},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cidr cidr;
        struct addr addr;
        assert_true(cidr_parse(rows[i].cidr, &cidr));
        assert_true(addr_parse(rows[i].ip, 1, &addr));
        if (cidr_contains(&cidr, &addr.any) != rows[i].inside) {
            fail_msg("%s %s", rows[i].cidr, rows[i].ip);
        }
    }
    struct cidr all;
    struct sockaddr local = {.sa_family = AF_UNIX};
    assert_true(cidr_parse("0.0.0.0/0", &all));
    assert_false(cidr_contains(&all, &local));
}

static void bad_ones(void **state) {
    static const char *const rows[] = {
        "",         "10.0.0.0", "10.0.0.0/",   "10.0.0.0/33",
        "10.0.0/8", "::/129",   "10.0.0.0/-1", "10.0.0.0/8x",
        "/8",       "host/8",   "10.0.0.0/ 8", "10.0.0.0/99999999999999999999"};
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct cidr cidr;
        assert_false(cidr_parse(rows[i], &cidr));
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(contains), cmocka_unit_test(bad_ones)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
