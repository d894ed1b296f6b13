/* The heap of timers against a model: a plain array that is searched. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "base/rand.h"
#include "base/timer.h"

#define TIMERS 200

static int64_t least(const struct timer *all, const bool *started) {
    int64_t next = INT64_MAX;
    for (size_t i = 0; i < TIMERS; i++) {
        next = started[i] && all[i].deadline_ms < next ? all[i].deadline_ms : next;
    }
    return next;
}

static void as_the_model(void **state) {
    (void)state;
    struct timers timers;
    struct timer all[TIMERS];
    bool started[TIMERS] = {false};
    struct rand rand;
    int64_t now_ms = 0;
    timers_init(&timers);
    memset(all, 0, sizeof all);
    rand_init(&rand, 11);
    for (int step = 0; step < 30000; step++) {
        size_t at = rand_below(&rand, TIMERS);
        switch (rand_below(&rand, 4)) {
        case 0:
        case 1: { /* few deadlines, so that many are equal; some in the past */
            int64_t deadline_ms = now_ms - 5 + (int64_t)rand_below(&rand, 50);
            timer_start(&timers, &all[at], deadline_ms);
            assert_int_equal(all[at].deadline_ms, deadline_ms);
            started[at] = true;
            break;
        }
        case 2:
            timer_stop(&timers, &all[at]);
            started[at] = false;
            break;
        default: {
            now_ms += (int64_t)rand_below(&rand, 3);
            struct timer *due;
            int64_t last = INT64_MIN;
            while ((due = timers_take_due(&timers, now_ms)) != NULL) {
                assert_true(started[due - all]);
                assert_int_equal(due->deadline_ms, least(all, started));
                assert_true(due->deadline_ms >= last && due->deadline_ms <= now_ms);
                last = due->deadline_ms;
                started[due - all] = false;
                assert_false(timer_started(due));
            }
            assert_true(least(all, started) > now_ms);
        }
        }
        assert_int_equal(timer_started(&all[at]), started[at]);
        assert_int_equal(timers_next_ms(&timers), least(all, started));
    }
    timers_clear(&timers);
}

static void empty(void **state) {
    (void)state;
    struct timers timers;
    struct timer timer = {0};
    timers_init(&timers);
    assert_int_equal(timers_next_ms(&timers), INT64_MAX);
    assert_null(timers_take_due(&timers, INT64_MAX - 1));
    timer_stop(&timers, &timer);
    timer_start(&timers, &timer, -5);
    assert_null(timers_take_due(&timers, -6));
    assert_ptr_equal(timers_take_due(&timers, -5), &timer);
    timers_clear(&timers);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(as_the_model), cmocka_unit_test(empty)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
