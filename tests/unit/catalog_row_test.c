/* Rows: copies own all they show, comparison follows the contract's no-op suppression (7.1), every
 * field is in the hash. */
#include "tests/unit/catalog_rows.h"

#include "base/arena.h"
#include "catalog/row.h"

static void read_back(struct codec_record *record, struct arena *arena) {
    struct buf bytes;
    buf_init(&bytes, LIMIT_ENTRY_BYTES);
    codec_encode_record(record, &bytes);
    assert_int_equal(codec_decode_record((const uint8_t *)bytes.data, bytes.count, arena, record),
                     ERR_OK);
    buf_clear(&bytes);
}

/* The copies outlive what they were made from, all of it in an arena: the sanitizer sees a borrowed
 * pointer. */
static void copies_are_deep(void **state) {
    (void)state;
    struct rows same;
    struct arena arena;
    rows_fill(&same);
    struct codec_record n = {.kind = RECORD_NODE, .node = same.node};
    struct codec_record s = {.kind = RECORD_SERVICE, .service = same.service};
    struct codec_record c = {.kind = RECORD_CHECK, .check = same.check};
    arena_init(&arena);
    read_back(&n, &arena);
    read_back(&s, &arena);
    read_back(&c, &arena);
    struct catalog_node *node = row_copy_node(&n.node);
    struct catalog_service *service = row_copy_service(&s.service);
    struct catalog_check *check = row_copy_check(&c.check);
    arena_clear(&arena);
    assert_true(row_equal_node(node, &same.node));
    assert_true(row_equal_service(service, &same.service));
    assert_true(row_equal_check(check, &same.check));
    assert_int_equal(row_hash_node(node), row_hash_node(&same.node));
    assert_int_equal(row_hash_service(service), row_hash_service(&same.service));
    assert_int_equal(row_hash_check(check), row_hash_check(&same.check));
    free(node);
    free(service);
    free(check);
}

static void copies_of_nothing(void **state) {
    (void)state;
    struct catalog_node node = node_row("", "");
    struct catalog_service service = service_row("", "", "");
    struct catalog_check check = check_row("", "", "", "");
    struct catalog_node *n = row_copy_node(&node);
    struct catalog_service *s = row_copy_service(&service);
    struct catalog_check *c = row_copy_check(&check);
    assert_true(row_equal_node(n, &node) && row_equal_service(s, &service) &&
                row_equal_check(c, &check));
    free(n);
    free(s);
    free(c);
}

#define JUDGE(row, fields)                                                                         \
    do {                                                                                           \
        struct rows old;                                                                           \
        rows_fill(&old);                                                                           \
        for (size_t i = 0; i < FIELD_COUNT(fields); i++) {                                         \
            struct rows new;                                                                       \
            rows_fill(&new);                                                                       \
            fields[i].change(&new);                                                                \
            if (row_equal_##row(&old.row, &new.row) != fields[i].equal) {                          \
                fail_msg("%s: a change of it alone is %s write", fields[i].name,                   \
                         fields[i].equal ? "no" : "a");                                            \
            }                                                                                      \
            if (row_hash_##row(&old.row) == row_hash_##row(&new.row)) {                            \
                fail_msg("%s is not in the hash", fields[i].name);                                 \
            }                                                                                      \
        }                                                                                          \
    } while (0)

static void every_field_counts(void **state) {
    (void)state;
    JUDGE(node, node_fields);
    JUDGE(service, service_fields);
    JUDGE(check, check_fields);
}

/* Text that moves from one field to its neighbour is another row. */
static void fields_do_not_run_together(void **state) {
    (void)state;
    struct catalog_node a = node_row("ab", "c"), b = node_row("a", "bc");
    assert_true(row_hash_node(&a) != row_hash_node(&b));
    struct catalog_service service = service_row("n", "s", "s");
    const char *one[] = {"ab"}, *two[] = {"a", "b"};
    service.tags = (struct str_list){one, 1};
    uint64_t hash = row_hash_service(&service);
    service.tags = (struct str_list){two, 2};
    assert_true(row_hash_service(&service) != hash);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(copies_are_deep),
        cmocka_unit_test(copies_of_nothing),
        cmocka_unit_test(every_field_counts),
        cmocka_unit_test(fields_do_not_run_together),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
