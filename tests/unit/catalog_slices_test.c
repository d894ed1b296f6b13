/* Commands that touch many rows run in pieces: none does much more than it is asked to, nobody sees
 * half of one, and the outcome is that of the command in one go. Work is counted in rows, never in
 * time. */
#include "tests/unit/catalog_support.h"

#include <stdio.h>

#include "catalog/row.h"

#define SERVICES 3000
#define PIECE 200
#define MOST_BEYOND 8 /* the rows of one service, whole */

struct bench {
    struct epoch *epoch;
    struct watches *watches;
    struct catalog *whole, *pieces;
    uint64_t index;
};

static int open_bench(void **state) {
    static struct bench bench;
    bench = (struct bench){.epoch = epoch_create(), .watches = watches_create()};
    bench.whole = catalog_create(bench.epoch, NULL);
    bench.pieces = catalog_create(bench.epoch, bench.watches);
    *state = &bench;
    return 0;
}

static int close_bench(void **state) {
    struct bench *bench = *state;
    catalog_destroy(bench->whole);
    catalog_destroy(bench->pieces);
    watches_destroy(bench->watches);
    epoch_destroy(bench->epoch);
    return 0;
}

static void same(struct bench *bench) {
    const struct catalog_view *a = catalog_view(bench->whole), *b = catalog_view(bench->pieces);
    assert_true(view_row_hash(a) == view_row_hash(b));
    assert_true(view_index_nodes(a) == view_index_nodes(b));
    assert_true(view_index_services(a) == view_index_services(b));
    assert_true(view_index_checks(a) == view_index_checks(b));
    for (unsigned i = 0; i < SERVICES; i += 97) {
        char name[16];
        snprintf(name, sizeof name, "s%u", i);
        assert_true(view_index_service(a, name) == view_index_service(b, name));
    }
    assert_true(view_index_node(a, "big") == view_index_node(b, "big"));
}

/* Returns in how many pieces. */
static unsigned run(struct bench *bench, const struct catalog_command *command) {
    struct buf buf;
    struct err_text text;
    unsigned count = 1;
    const struct catalog_view *before = catalog_view(bench->pieces);
    uint64_t hash = view_row_hash(before), index = ++bench->index;
    buf_init(&buf, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &buf);
    const uint8_t *bytes = (const uint8_t *)buf.data;
    assert_int_equal(catalog_apply(bench->whole, index, bytes, buf.count, NULL, &text), ERR_OK);
    catalog_publish(bench->whole);
    uint64_t touched = catalog_touched(bench->pieces);
    assert_int_equal(catalog_begin(bench->pieces, index, bytes, buf.count, NULL, &text), ERR_OK);
    assert_true(catalog_touched(bench->pieces) <= touched + MOST_BEYOND + 4);
    for (;; count++) {
        touched = catalog_touched(bench->pieces);
        bool done = catalog_go_on(bench->pieces, PIECE);
        assert_true(catalog_touched(bench->pieces) <= touched + PIECE + MOST_BEYOND);
        assert_ptr_equal(catalog_view(bench->pieces), before); /* it is the caller who publishes */
        if (done) {
            break;
        }
        assert_null(watches_take_dirty(bench->watches));
        assert_ptr_equal(catalog_view(bench->pieces), before);
        assert_true(view_row_hash(before) == hash);
    }
    catalog_publish(bench->pieces);
    buf_clear(&buf);
    same(bench);
    return count;
}

static void fill(struct bench *bench) {
    struct catalog_check check = check_row("big", "c", "", "passing");
    for (unsigned i = 0; i < SERVICES; i++) {
        char name[16];
        snprintf(name, sizeof name, "s%u", i);
        struct catalog_service service = service_row("big", name, name);
        struct catalog_check own = check_row("big", name, name, "passing");
        struct catalog_command command = {.kind = COMMAND_REGISTER,
                                          .reg = {.node = node_row("big", "192.0.2.1"),
                                                  .service = &service,
                                                  .checks = &own,
                                                  .check_count = 1}};
        assert_int_equal(run(bench, &command), 1);
    }
    struct catalog_command command = {
        .kind = COMMAND_REGISTER,
        .reg = {.node = node_row("big", "192.0.2.1"), .checks = &check, .check_count = 1}};
    assert_true(run(bench, &command) >= SERVICES / PIECE);
}

static void a_node_with_many_services(void **state) {
    struct bench *bench = *state;
    struct waiter waiter = {0};
    fill(bench);
    while (watches_take_dirty(bench->watches) != NULL) {
    }
    struct watch_group *group =
        watches_join(bench->watches, WATCH_SERVICE, "s2999", "question", &waiter);
    struct catalog_command moved = {.kind = COMMAND_REGISTER,
                                    .reg = {.node = node_row("big", "192.0.2.2")}};
    assert_true(run(bench, &moved) >= SERVICES / PIECE);
    assert_ptr_equal(watches_take_dirty(bench->watches), group); /* told at the end */
    struct catalog_check critical = check_row("big", "c", "", "critical");
    struct catalog_command failed = {
        .kind = COMMAND_REGISTER,
        .reg = {.node = node_row("big", "192.0.2.2"), .checks = &critical, .check_count = 1}};
    assert_true(run(bench, &failed) >= SERVICES / PIECE);
    struct catalog_command healed = {.kind = COMMAND_DEREGISTER, .dereg = {"big", "", "c"}};
    assert_true(run(bench, &healed) >= SERVICES / PIECE);
    struct catalog_command gone = {.kind = COMMAND_DEREGISTER, .dereg = {"big", "", ""}};
    assert_true(run(bench, &gone) >= SERVICES / PIECE);
    assert_null(view_get_node(catalog_view(bench->pieces), "big"));
    watches_leave(bench->watches, &waiter);
}

/* The end of the program may come in the middle. */
static void half_a_command_is_freed(void **state) {
    struct bench *bench = *state;
    struct buf buf;
    struct catalog_command gone = {.kind = COMMAND_DEREGISTER, .dereg = {"big", "", ""}};
    fill(bench);
    buf_init(&buf, LIMIT_ENTRY_BYTES);
    codec_encode_command(&gone, &buf);
    assert_int_equal(catalog_begin(bench->pieces, ++bench->index, (const uint8_t *)buf.data,
                                   buf.count, NULL, NULL),
                     ERR_OK);
    assert_false(catalog_go_on(bench->pieces, PIECE));
    buf_clear(&buf);
}

struct archive {
    struct buf bytes;
};

static enum err put(void *context, const void *data, size_t size) {
    buf_append(&((struct archive *)context)->bytes, data, size);
    return ERR_OK;
}

static size_t record_size(const char *at) {
    const uint8_t *size = (const uint8_t *)at;
    return 4 +
           ((size_t)size[0] | (size_t)size[1] << 8 | (size_t)size[2] << 16 | (size_t)size[3] << 24);
}

#define RESTORE_ID "11111111-2222-4333-8444-555555555555"

static unsigned run_restore(struct bench *bench, enum catalog_restore_phase phase, uint64_t part,
                            const char *records, size_t size) {
    struct catalog_command command = {
        .kind = COMMAND_RESTORE,
        .restore = {.phase = phase,
                    .id = RESTORE_ID,
                    .part = part,
                    .records = {.data = (const uint8_t *)records, .size = (uint32_t)size}}};
    return run(bench, &command);
}

/* The first `count` services, as commands of a few records each, the last one left out. Every
 * command comes twice, as from one who got no answer. Returns the last part's number. */
static uint64_t restore_all_but_last(struct bench *bench, const struct archive *archive,
                                     size_t *ret_at) {
    uint64_t part = 0;
    size_t at = 0, end = archive->bytes.count;
    run_restore(bench, RESTORE_BEGIN, part, NULL, 0);
    run_restore(bench, RESTORE_BEGIN, part++, NULL, 0);
    while (at + record_size(archive->bytes.data + at) < end) {
        size_t size = 0;
        for (int i = 0; i < 5; i++) {
            size_t next = record_size(archive->bytes.data + at + size);
            size += at + size + next < end ? next : 0;
        }
        run_restore(bench, RESTORE_RECORDS, part, archive->bytes.data + at, size);
        run_restore(bench, RESTORE_RECORDS, part++, archive->bytes.data + at, size);
        at += size;
    }
    *ret_at = at;
    return part;
}

/* The last command of a restore puts everything in its place: in pieces, and seen at once. */
static void a_restore(void **state) {
    struct bench *bench = *state;
    struct archive archive;
    struct waiter waiter = {0};
    size_t at;
    fill(bench);
    buf_init(&archive.bytes, 64 * 1024 * 1024);
    assert_int_equal(catalog_snapshot(catalog_view(bench->whole), put, &archive), ERR_OK);
    uint64_t hash = view_row_hash(catalog_view(bench->whole));
    struct catalog_command other = {.kind = COMMAND_REGISTER,
                                    .reg = {.node = node_row("other", "192.0.2.9")}};
    run(bench, &other);
    uint64_t part = restore_all_but_last(bench, &archive, &at);
    while (watches_take_dirty(bench->watches) != NULL) {
    }
    struct watch_group *group =
        watches_join(bench->watches, WATCH_SERVICE, "s2999", "question", &waiter);
    assert_non_null(view_get_node(catalog_view(bench->pieces), "other"));
    const char *last = archive.bytes.data + at;
    assert_true(run_restore(bench, RESTORE_END, part, last, record_size(last)) >= SERVICES / PIECE);
    assert_ptr_equal(watches_take_dirty(bench->watches), group);
    const struct catalog_view *view = catalog_view(bench->pieces);
    assert_null(view_get_node(view, "other"));
    assert_true(view_row_hash(view) != hash); /* indexes are new */
    assert_true(view_index_service(view, "s2999") == bench->index);
    assert_non_null(view_get_service(view, "big", "s2999"));
    assert_true(view_applied(view) == bench->index);
    /* A repeat of it changes nothing. */
    hash = view_row_hash(view);
    assert_int_equal(run_restore(bench, RESTORE_END, part, last, record_size(last)), 1);
    assert_true(view_row_hash(catalog_view(bench->pieces)) == hash);
    watches_leave(bench->watches, &waiter);
    /* What was replaced is freed a bit a turn. */
    unsigned turns = 0;
    while (catalog_sweep(bench->pieces)) {
        turns++;
    }
    assert_true(turns > 5);
    buf_clear(&archive.bytes);
}

/* Nothing is swept, and so published, while a command is half applied. */
static void no_sweep_amid_a_command(void **state) {
    struct bench *bench = *state;
    struct buf buf;
    struct catalog_command moved = {.kind = COMMAND_REGISTER,
                                    .reg = {.node = node_row("big", "192.0.2.2")}};
    fill(bench);
    struct catalog_kv_operation set = {.verb = KV_SET, .key = "a/b", .session = ""};
    struct catalog_command put_key = {.kind = COMMAND_KV, .kv = set};
    run(bench, &put_key);
    struct catalog_kv_operation tree = {.verb = KV_DELETE_TREE, .key = "a/", .session = ""};
    struct catalog_command delete_keys = {.kind = COMMAND_KV, .kv = tree};
    run(bench, &delete_keys);
    buf_init(&buf, LIMIT_ENTRY_BYTES);
    codec_encode_command(&moved, &buf);
    assert_int_equal(catalog_begin(bench->pieces, ++bench->index, (const uint8_t *)buf.data,
                                   buf.count, NULL, NULL),
                     ERR_OK);
    assert_false(catalog_go_on(bench->pieces, PIECE));
    const struct catalog_view *before = catalog_view(bench->pieces);
    assert_false(catalog_sweep(bench->pieces));
    assert_ptr_equal(catalog_view(bench->pieces), before);
    while (!catalog_go_on(bench->pieces, PIECE)) {
    }
    catalog_publish(bench->pieces);
    while (catalog_sweep(bench->pieces)) {
    }
    buf_clear(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_node_with_many_services, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(half_a_command_is_freed, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(a_restore, open_bench, close_bench),
        cmocka_unit_test_setup_teardown(no_sweep_amid_a_command, open_bench, close_bench),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
