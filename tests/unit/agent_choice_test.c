/* Which server an agent talks to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

#include "agent/choice.h"

#define AGENTS 3000

static struct uuid name(unsigned kind, unsigned number) {
    struct uuid id;
    memset(&id, 0, sizeof id);
    id.bytes[0] = (uint8_t)kind;
    id.bytes[1] = (uint8_t)(number >> 8);
    id.bytes[2] = (uint8_t)number;
    return id;
}

static void make(struct choice_server *servers, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        servers[i] = (struct choice_server){.node = name(1, i), .distance_ms = -1, .alive = true};
    }
}

static int choose(const struct choice_server *servers, unsigned count, unsigned agent) {
    struct uuid self = name(2, agent);
    return choice_server(servers, count, &self);
}

static void spreads_evenly(void **state) {
    struct choice_server servers[3];
    unsigned shares[3] = {0};
    (void)state;
    make(servers, 3);
    for (unsigned i = 0; i < AGENTS; i++) {
        shares[choose(servers, 3, i)]++;
    }
    for (unsigned i = 0; i < 3; i++) {
        assert_in_range(shares[i], AGENTS / 3 - AGENTS / 20, AGENTS / 3 + AGENTS / 20);
    }
}

/* A fourth server takes over its share; nobody moves between the others. Its end gives each back.
 */
static void moves_no_more_than_it_must(void **state) {
    struct choice_server servers[4];
    unsigned moved = 0;
    (void)state;
    make(servers, 4);
    for (unsigned i = 0; i < AGENTS; i++) {
        int before = choose(servers, 3, i), after = choose(servers, 4, i);
        assert_true(after == before || after == 3);
        moved += after == 3;
    }
    assert_in_range(moved, AGENTS / 4 - AGENTS / 20, AGENTS / 4 + AGENTS / 20);
    servers[1].alive = false;
    for (unsigned i = 0; i < AGENTS; i++) {
        servers[1].alive = true;
        int before = choose(servers, 4, i);
        servers[1].alive = false;
        int after = choose(servers, 4, i);
        assert_true(before == 1 ? after != 1 : after == before);
    }
}

static void takes_the_near_ones(void **state) {
    struct choice_server servers[3];
    unsigned far = 0;
    (void)state;
    make(servers, 3);
    servers[0].distance_ms = 3;
    servers[1].distance_ms = 90;
    servers[2].distance_ms = 0.4;
    for (unsigned i = 0; i < AGENTS; i++) {
        far += choose(servers, 3, i) == 1;
    }
    assert_true(far < AGENTS / 1000);
    servers[0].alive = servers[2].alive = false;
    assert_int_equal(choose(servers, 3, 7), 1);
}

static void avoids_what_did_not_answer(void **state) {
    struct choice_server servers[3];
    (void)state;
    make(servers, 3);
    servers[0].avoid_ms = servers[2].avoid_ms = 10;
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(choose(servers, 3, i), 1);
    }
    servers[1].alive = false; /* then rather one of those than none */
    for (unsigned i = 0; i < 100; i++) {
        assert_true(choose(servers, 3, i) == 0 || choose(servers, 3, i) == 2);
    }
    servers[0].avoid_ms = 9; /* it was lost before the other: in a rolling restart it is back */
    for (unsigned i = 0; i < 100; i++) {
        assert_int_equal(choose(servers, 3, i), 0);
    }
}

static void finds_none(void **state) {
    struct choice_server servers[2];
    (void)state;
    make(servers, 2);
    servers[0].alive = servers[1].alive = false;
    assert_int_equal(choose(servers, 2, 1), -1);
    assert_int_equal(choose(servers, 0, 1), -1);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spreads_evenly),      cmocka_unit_test(moves_no_more_than_it_must),
        cmocka_unit_test(takes_the_near_ones), cmocka_unit_test(avoids_what_did_not_answer),
        cmocka_unit_test(finds_none),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
