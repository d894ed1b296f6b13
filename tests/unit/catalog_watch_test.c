/* Watches: a mark wakes the groups of its key, once, and nobody else. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/rand.h"
#include "catalog/watch.h"

static size_t take_all(struct watches *watches) {
    size_t count = 0;
    while (watches_take_dirty(watches) != NULL) {
        count++;
    }
    return count;
}

static void marks_wake_their_key_only(void **state) {
    (void)state;
    struct watches *watches = watches_create();
    struct waiter w[6] = {{0}};
    struct watch_group *web = watches_join(watches, WATCH_SERVICE, "Web", "passing", &w[0]);
    struct watch_group *all = watches_join(watches, WATCH_SERVICE, "web", "", &w[1]);
    struct watch_group *db = watches_join(watches, WATCH_SERVICE, "db", "passing", &w[2]);
    struct watch_group *node = watches_join(watches, WATCH_NODE, "web", "passing", &w[3]);
    struct watch_group *nodes = watches_join(watches, WATCH_NODES, "", "", &w[4]);
    assert_ptr_equal(watches_join(watches, WATCH_SERVICE, "WEB", "passing", &w[5]), web);
    assert_int_equal(watch_group_count(web), 2);
    assert_int_equal(watches_waiter_count(watches), 6);
    assert_string_equal(watch_group_query(web), "passing");
    assert_null(watches_take_dirty(watches));

    watches_mark(watches, WATCH_SERVICE, "wEB");
    watches_mark(watches, WATCH_SERVICE, "web"); /* once */
    struct watch_group *first = watches_take_dirty(watches), *second = watches_take_dirty(watches);
    assert_true((first == web && second == all) || (first == all && second == web));
    assert_null(watches_take_dirty(watches));
    watches_mark(watches, WATCH_SERVICE, "web-2");
    watches_mark(watches, WATCH_SERVICES, "");
    watches_mark(watches, WATCH_CHECKS, "");
    assert_null(watches_take_dirty(watches));
    watches_mark(watches, WATCH_NODE, "web");
    assert_ptr_equal(watches_take_dirty(watches), node);
    watches_mark(watches, WATCH_NODES, "");
    assert_ptr_equal(watches_take_dirty(watches), nodes);
    watch_group_mark(watches, db);
    assert_ptr_equal(watches_take_dirty(watches), db);
    watches_mark_all(watches);
    assert_int_equal(take_all(watches), 5);
    for (int i = 0; i < 6; i++) {
        watches_leave(watches, &w[i]);
    }
    watches_destroy(watches);
    watches_destroy(NULL);
}

static void a_held_group_stays(void **state) {
    (void)state;
    struct watches *watches = watches_create();
    struct waiter a = {0}, b = {0};
    struct watch_group *group = watches_join(watches, WATCH_CHECKS, "", "q", &a);
    watches_join(watches, WATCH_CHECKS, "", "other", &b);
    watches_mark(watches, WATCH_CHECKS, "");
    assert_int_equal(take_all(watches), 2);
    watch_group_hold(group); /* its answer is being computed */
    watches_mark(watches, WATCH_CHECKS, "");
    assert_string_equal(watch_group_query(watches_take_dirty(watches)), "other");
    assert_null(watches_take_dirty(watches)); /* not taken again */
    watch_group_release(watches, group);
    assert_ptr_equal(watches_take_dirty(watches), group); /* the mark was kept */

    watch_group_hold(group);
    watches_mark(watches, WATCH_CHECKS, "");
    watches_leave(watches, &a); /* stays without waiters */
    assert_string_equal(watch_group_query(group), "q");
    assert_int_equal(watch_group_count(group), 0);
    assert_ptr_equal(watches_join(watches, WATCH_CHECKS, "", "q", &a), group);
    watches_leave(watches, &a);
    watch_group_release(watches, group); /* and goes now, marked or not */
    assert_int_equal(take_all(watches), 1);
    watches_leave(watches, &b);
    assert_int_equal(watches_waiter_count(watches), 0);
    watches_destroy(watches);
}

static void waiters_leave_while_walked(void **state) {
    (void)state;
    struct watches *watches = watches_create();
    struct waiter all[10] = {{0}};
    struct watch_group *group = NULL;
    for (int i = 0; i < 10; i++) {
        group = watches_join(watches, WATCH_NODES, "", "", &all[i]);
    }
    watches_leave(watches, &all[4]); /* of the middle, of both ends */
    watches_leave(watches, &all[0]);
    watches_leave(watches, &all[9]);
    watches_leave(watches, &all[9]); /* it is in none any more: nothing happens */
    assert_int_equal(watch_group_count(group), 7);
    size_t seen = 0;
    watch_group_hold(group);
    for (struct waiter *at = watch_group_waiters(group), *next; at != NULL; at = next) {
        next = at->next;
        assert_ptr_equal(at->group, group);
        watches_leave(watches, at);
        assert_null(at->group);
        seen++;
    }
    assert_int_equal(seen, 7);
    assert_null(watch_group_waiters(group));
    watch_group_release(watches, group);
    watches_destroy(watches);
}

/* A dirty group whose last waiter leaves is not taken. */
static void a_dirty_group_may_go(void **state) {
    (void)state;
    struct watches *watches = watches_create();
    struct waiter a = {0}, b = {0}, c = {0};
    watches_join(watches, WATCH_NODES, "", "1", &a);
    watches_join(watches, WATCH_NODES, "", "2", &b);
    watches_join(watches, WATCH_NODES, "", "3", &c);
    watches_mark(watches, WATCH_NODES, "");
    watches_leave(watches, &b);
    assert_int_equal(take_all(watches), 2);
    watches_mark(watches, WATCH_NODES, "");
    watches_leave(watches, &a);
    watches_leave(watches, &c);
    assert_null(watches_take_dirty(watches));
    watches_destroy(watches);
}

#define NAMES 3000
#define QUERIES 3

static void many_groups(void **state) {
    (void)state;
    static struct waiter all[NAMES][QUERIES][2];
    struct watches *watches = watches_create();
    char name[32], query[32];
    memset(all, 0, sizeof all);
    for (int i = 0; i < NAMES; i++) {
        snprintf(name, sizeof name, "Name-%d", i);
        for (int q = 0; q < QUERIES; q++) {
            snprintf(query, sizeof query, "%d?%d", i, q);
            struct watch_group *group =
                watches_join(watches, WATCH_SERVICE, name, query, &all[i][q][0]);
            assert_ptr_equal(watches_join(watches, WATCH_SERVICE, name, query, &all[i][q][1]),
                             group);
        }
    }
    assert_int_equal(watches_waiter_count(watches), NAMES * QUERIES * 2);
    struct rand rand;
    rand_init(&rand, 2);
    for (int i = 0; i < 2000; i++) {
        int at = (int)rand_below(&rand, NAMES);
        snprintf(name, sizeof name, "nAME-%d", at);
        watches_mark(watches, WATCH_SERVICE, name);
        snprintf(name, sizeof name, "%d?", at);
        struct watch_group *group;
        size_t count = 0;
        while ((group = watches_take_dirty(watches)) != NULL) {
            assert_memory_equal(watch_group_query(group), name, strlen(name));
            assert_int_equal(watch_group_count(group), 2);
            count++;
        }
        assert_int_equal(count, QUERIES);
    }
    watches_mark_all(watches);
    assert_int_equal(take_all(watches), NAMES * QUERIES);
    watches_mark_all(watches);
    for (int i = 0; i < NAMES; i++) {
        for (int q = 0; q < QUERIES; q++) {
            watches_leave(watches, &all[i][q][1]);
            watches_leave(watches, &all[i][q][0]);
        }
    }
    assert_null(watches_take_dirty(watches));
    watches_destroy(watches);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(marks_wake_their_key_only),
        cmocka_unit_test(a_held_group_stays),
        cmocka_unit_test(waiters_leave_while_walked),
        cmocka_unit_test(a_dirty_group_may_go),
        cmocka_unit_test(many_groups),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
