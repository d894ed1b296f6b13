/* Coordinates as rows, and the order by distance that is made of them. */
#include "tests/unit/catalog_support.h"

#include <math.h>
#include <stdio.h>

#include "catalog/distance.h"

struct fixture {
    struct epoch *epoch;
    struct watches *watches;
    struct catalog *catalog;
    uint64_t index;
};

static struct coordinate at(double x) {
    struct coordinate place = coordinate_start();
    place.vector[0] = x;
    return place;
}

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    f->epoch = epoch_create();
    f->watches = watches_create();
    f->catalog = catalog_create(f->epoch, f->watches);
    for (const char *const *name = (const char *const[]){"a", "b", "c", "d", NULL}; *name != NULL;
         name++) {
        struct catalog_node node = node_row(*name, "10.0.0.1");
        assert_int_equal(apply_node(f->catalog, ++f->index, &node), ERR_OK);
    }
    catalog_publish(f->catalog);
    *state = f;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    catalog_destroy(f->catalog);
    watches_destroy(f->watches);
    epoch_destroy(f->epoch);
    free(f);
    return 0;
}

static const struct catalog_view *view(struct fixture *f) {
    return catalog_view(f->catalog);
}

static void set(struct fixture *f, const struct catalog_coordinate *rows, uint32_t count) {
    struct err_text text;
    struct catalog_command command = {.kind = COMMAND_COORDINATES, .coordinates = {rows, count}};
    assert_int_equal(apply_command(f->catalog, ++f->index, &command, &text), ERR_OK);
    catalog_publish(f->catalog);
}

/* Of a catalog that never had node a. */
static uint64_t hash_without_a(void) {
    struct epoch *epoch = epoch_create();
    struct catalog *catalog = catalog_create(epoch, NULL);
    uint64_t index = 1;
    for (const char *const *name = (const char *const[]){"b", "c", "d", NULL}; *name != NULL;
         name++) {
        struct catalog_node node = node_row(*name, "10.0.0.1");
        assert_int_equal(apply_node(catalog, ++index, &node), ERR_OK);
    }
    catalog_publish(catalog);
    uint64_t hash = view_row_hash(catalog_view(catalog));
    catalog_destroy(catalog);
    epoch_destroy(epoch);
    return hash;
}

static void rows_are_set_and_go_with_their_node(void **state) {
    struct fixture *f = *state;
    struct waiter one = {0}, other = {0}, all = {0};
    watches_join(f->watches, WATCH_COORDINATE, "A", "q", &one);
    watches_join(f->watches, WATCH_COORDINATE, "b", "q", &other);
    watches_join(f->watches, WATCH_COORDINATES, "", "q", &all);
    assert_int_equal(view_index_coordinates(view(f)), 1);
    uint64_t nodes = view_index_nodes(view(f));

    struct coordinate bad = at(NAN);
    const struct catalog_coordinate rows[] = {
        {"A", "", at(1)}, {"nobody", "", at(1)}, {"b", "", bad}, {"a", "x", at(2)}};
    set(f, rows, 4);
    assert_true(view_get_coordinate(view(f), "a")->vector[0] > 0.9);
    assert_null(view_get_coordinate(view(f), "b"));
    assert_null(view_get_coordinate(view(f), "nobody"));
    assert_int_equal(view_index_coordinates(view(f)), f->index);
    assert_int_equal(view_index_nodes(view(f)), nodes); /* nobody else is woken */
    size_t dirty = 0;
    for (struct watch_group *group; (group = watches_take_dirty(f->watches)) != NULL; dirty++) {
        assert_true(watch_group_waiters(group) == &one || watch_group_waiters(group) == &all);
    }
    assert_int_equal(dirty, 2);

    uint64_t index = view_index_coordinates(view(f)), hash = view_row_hash(view(f));
    set(f, rows, 1); /* the same again is no change */
    assert_int_equal(view_index_coordinates(view(f)), index);
    assert_int_equal(view_row_hash(view(f)), hash);
    assert_null(watches_take_dirty(f->watches));

    struct err_text text;
    struct catalog_command command = {.kind = COMMAND_DEREGISTER, .dereg = {"a", "", ""}};
    assert_int_equal(apply_command(f->catalog, ++f->index, &command, &text), ERR_OK);
    catalog_publish(f->catalog);
    assert_null(view_get_coordinate(view(f), "a"));
    assert_int_equal(view_index_coordinates(view(f)), f->index);
    assert_int_equal(view_row_hash(view(f)), hash_without_a());
    watches_leave(f->watches, &one);
    watches_leave(f->watches, &other);
    watches_leave(f->watches, &all);
}

static void a_snapshot_holds_them(void **state) {
    struct fixture *f = *state;
    const struct catalog_coordinate rows[] = {{"a", "", at(-1.25)}, {"b", "seg", at(2)}};
    set(f, rows, 2);
    struct buf bytes;
    struct err_text text;
    buf_init(&bytes, 1024 * 1024);
    assert_int_equal(catalog_snapshot(view(f), keep, &bytes), ERR_OK);
    struct epoch *epoch = epoch_create();
    struct catalog *copy = catalog_create(epoch, NULL);
    struct source source = {.data = bytes.data, .count = bytes.count};
    assert_int_equal(catalog_restore(copy, give, &source, &text), ERR_OK);
    assert_int_equal(view_row_hash(catalog_view(copy)), view_row_hash(view(f)));
    assert_int_equal(view_index_coordinates(catalog_view(copy)), f->index);
    struct coordinate want = at(-1.25);
    assert_memory_equal(view_get_coordinate(catalog_view(copy), "a"), &want, sizeof want);
    catalog_destroy(copy);
    epoch_destroy(epoch);
    buf_clear(&bytes);
}

static void a_transaction_that_fails_keeps_them(void **state) {
    struct fixture *f = *state;
    const struct catalog_coordinate rows[] = {{"a", "", at(1)}};
    set(f, rows, 1);
    uint64_t hash = view_row_hash(view(f)), index = view_index_coordinates(view(f));
    struct catalog_operation ops[2] = {{.kind = ROW_NODE, .verb = ROW_DELETE}, {.kind = ROW_KV}};
    ops[0].node = node_row("a", "");
    ops[1].kv = (struct catalog_kv_operation){.verb = KV_GET, .key = "none", .session = ""};
    struct catalog_command command = {.kind = COMMAND_TRANSACTION, .transaction = {ops, 2}};
    struct err_text text;
    apply_command(f->catalog, ++f->index, &command, &text);
    catalog_publish(f->catalog);
    assert_int_equal(view_row_hash(view(f)), hash);
    assert_int_equal(view_index_coordinates(view(f)), index);
    assert_non_null(view_get_coordinate(view(f), "a"));
}

static void show(const struct distance_row *rows, size_t count, char *text) {
    *text = '\0';
    for (size_t i = 0; i < count; i++) {
        strcat(text, rows[i].row);
    }
}

static void the_nearest_come_first(void **state) {
    struct fixture *f = *state;
    const struct catalog_coordinate places[] = {
        {"a", "", at(0)}, {"b", "", at(0.050)}, {"d", "", at(0.010)}};
    char text[16];
    set(f, places, 3);
    /* c has none; rows of one node keep their order. */
    struct distance_row rows[] = {{.node = "c", .row = "1"}, {.node = "b", .row = "2"},
                                  {.node = "A", .row = "3"}, {.node = "gone", .row = "4"},
                                  {.node = "d", .row = "5"}, {.node = "b", .row = "6"},
                                  {.node = "a", .row = "7"}, {.node = "c", .row = "8"}};
    const size_t count = sizeof rows / sizeof rows[0];
    distance_sort(view(f), view_get_coordinate(view(f), "c"), rows, count);
    show(rows, count, text);
    assert_string_equal(text, "12345678"); /* no order without a place to start from */
    distance_sort(view(f), view_get_coordinate(view(f), "a"), rows, count);
    show(rows, count, text);
    assert_string_equal(text, "37526148");
    distance_sort(view(f), view_get_coordinate(view(f), "b"), rows, count);
    show(rows, count, text);
    assert_string_equal(text, "26537148");
}

static void the_median_of_a_datacenter(void **state) {
    (void)state;
    struct coordinate from = at(0), places[] = {at(0.030), at(0.010), at(0.020), at(0.040)};
    const struct coordinate *all[] = {&places[0], NULL, &places[1], &places[2], &places[3]};
    assert_true(isinf(distance_median(NULL, all, 5)));
    assert_true(isinf(distance_median(&from, &all[1], 1)));
    assert_true(fabs(distance_median(&from, all, 1) - 0.030) < 1e-4);
    assert_true(fabs(distance_median(&from, all, 4) - 0.020) < 1e-4);
    assert_true(fabs(distance_median(&from, all, 5) - 0.030) < 1e-4);
}

static void adjustments_count_while_the_sum_is_above_zero(void **state) {
    (void)state;
    struct coordinate a = at(0), b = at(0.010);
    a.height = b.height = 0.001;
    assert_true(fabs(coordinate_rtt_s(&a, &b) - 0.012) < 1e-9);
    a.adjustment = -0.002;
    assert_true(fabs(coordinate_rtt_s(&a, &b) - 0.010) < 1e-9);
    a.adjustment = -0.2;
    assert_true(fabs(coordinate_rtt_s(&a, &b) - 0.012) < 1e-9);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(rows_are_set_and_go_with_their_node, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_snapshot_holds_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(a_transaction_that_fails_keeps_them, set_up, tear_down),
        cmocka_unit_test_setup_teardown(the_nearest_come_first, set_up, tear_down),
        cmocka_unit_test(the_median_of_a_datacenter),
        cmocka_unit_test(adjustments_count_while_the_sum_is_above_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
