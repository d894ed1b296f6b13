#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "http/rate.h"

#define SECOND_NS 1000000000ULL

static unsigned taken(struct http_rate *rate, uint64_t now_ns) {
    unsigned count = 0;
    while (count < 10000 && http_rate_take(rate, now_ns)) {
        count++;
    }
    return count;
}

static void ten_seconds_at_once(void **state) {
    struct http_rate rate = {.per_second = 5};
    uint64_t now_ns = 77 * SECOND_NS;
    (void)state;
    assert_int_equal(taken(&rate, now_ns), 50);
    assert_int_equal(taken(&rate, now_ns + SECOND_NS / 5 - 1), 0);
    assert_int_equal(taken(&rate, now_ns + SECOND_NS / 5), 1);
    assert_int_equal(taken(&rate, now_ns + SECOND_NS * 2 + SECOND_NS / 5), 10);
    assert_int_equal(taken(&rate, now_ns + SECOND_NS * 1000), 50); /* what was not used is lost */
}

static void ends_of_the_scale(void **state) {
    struct http_rate none = {.per_second = 0}, all = {.per_second = -1}, rare = {.per_second = 0.1};
    (void)state;
    assert_int_equal(taken(&none, SECOND_NS), 0);
    assert_int_equal(taken(&all, SECOND_NS), 10000);
    assert_int_equal(taken(&rare, SECOND_NS), 1);
    assert_int_equal(taken(&rare, 12 * SECOND_NS), 1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(ten_seconds_at_once),
        cmocka_unit_test(ends_of_the_scale),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
