/* When servers may begin a group (contract 2.3, bootstrap_expect). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "agent/pools.h"

static struct pools_server alive(const char *name, uint32_t expect) {
    return (struct pools_server){.name = name, .expect = expect, .state = POOLS_SERVER_ALIVE};
}

static void test_bootstrap(void **state) {
    (void)state;
    struct pools_server servers[3] = {alive("a", 3), alive("b", 3), alive("c", 3)};
    struct err_text text;
    assert_false(pools_may_bootstrap(servers, 0, 0, &text)); /* does not expect anybody */
    assert_false(pools_may_bootstrap(servers, 1, 3, &text)); /* two are there */
    assert_true(pools_may_bootstrap(servers, 2, 3, &text));
    assert_true(pools_may_bootstrap(servers, 3, 3, &text));
    servers[1].state = POOLS_SERVER_FAILED;
    assert_false(pools_may_bootstrap(servers, 2, 3, &text));
    assert_string_equal(text.s, "");
    servers[1] = alive("b", 5);
    assert_false(pools_may_bootstrap(servers, 3, 3, &text));
    assert_string_equal(text.s, "server 'b' expects 5 servers, this one 3");
    servers[1] = alive("b", 0); /* joins a group later, and does not count */
    assert_false(pools_may_bootstrap(servers, 2, 3, &text));
    assert_true(pools_may_bootstrap(servers, 3, 3, &text));
    servers[1] = alive("b", 0);
    servers[1].bootstrap = true;
    assert_false(pools_may_bootstrap(servers, 3, 3, &text));
    assert_non_null(strstr(text.s, "'b' is in bootstrap mode"));
    servers[1] = alive("b", 3);
    servers[1].has_group = true; /* there is one already */
    assert_false(pools_may_bootstrap(servers, 3, 3, &text));
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_bootstrap)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
