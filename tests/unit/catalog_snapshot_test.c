/* Snapshots and determinism: random commands on two catalogs, the stream between them, and what
 * happens to it on the way. */
#include "tests/unit/catalog_random.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "catalog/row.h"

#define STREAM_BYTES_MAX (64 * 1024 * 1024)

/* ---- random commands ---- */

/* Runs count commands on each of the catalogs, published at the same places or not. */
static void run_random(struct catalog **catalogs, size_t catalog_count, uint64_t seed,
                       uint64_t count) {
    struct command_source source;
    rand_init(&source.rand, seed);
    uint64_t first = view_applied(catalog_view(catalogs[0])) + 1;
    for (uint64_t i = first; i < first + count; i++) {
        struct catalog_command command = random_command(&source);
        struct err_text texts[2] = {{""}, {""}};
        enum err errs[2] = {ERR_OK, ERR_OK};
        for (size_t c = 0; c < catalog_count; c++) {
            errs[c] = apply_command(catalogs[c], i, &command, &texts[c]);
            if (i % (c == 0 ? 1 : 7) == 0) {
                catalog_publish(catalogs[c]);
            }
        }
        assert_true(errs[0] == ERR_OK || errs[0] == ERR_REFUSED);
        assert_true(catalog_count == 1 || errs[1] == errs[0]);
        assert_string_equal(catalog_count == 1 ? texts[0].s : texts[1].s, texts[0].s);
    }
    for (size_t c = 0; c < catalog_count; c++) {
        catalog_publish(catalogs[c]);
    }
}

/* ---- streams ---- */

static void take_snapshot(const struct catalog *catalog, struct buf *out) {
    buf_init(out, STREAM_BYTES_MAX);
    assert_int_equal(catalog_snapshot(catalog_view(catalog), keep, out), ERR_OK);
    assert_false(out->failed);
}

/* Snapshots are in order, so two catalogs are the same when their streams are. */
static void expect_same(const struct catalog *a, const struct catalog *b) {
    struct buf x, y;
    assert_int_equal(view_row_hash(catalog_view(a)), view_row_hash(catalog_view(b)));
    take_snapshot(a, &x);
    take_snapshot(b, &y);
    assert_int_equal(x.count, y.count);
    assert_memory_equal(x.data, y.data, x.count);
    buf_clear(&x);
    buf_clear(&y);
}

struct bench {
    struct epoch *epoch;
    struct catalog *a, *b;
};

static int open_bench(void **state) {
    static struct bench bench;
    bench.epoch = epoch_create();
    bench.a = catalog_create(bench.epoch, NULL);
    bench.b = catalog_create(bench.epoch, NULL);
    *state = &bench;
    return 0;
}

static int close_bench(void **state) {
    struct bench *bench = *state;
    catalog_destroy(bench->a);
    catalog_destroy(bench->b);
    epoch_destroy(bench->epoch);
    return 0;
}

/* ---- tests ---- */

static void same_commands_same_rows(void **state) {
    struct bench *bench = *state;
    struct catalog *both[] = {bench->a, bench->b};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        run_random(both, 2, seed, 400);
        expect_same(bench->a, bench->b);
    }
}

/* The hash that commands keep up to date is the one that a restore computes from the rows. */
static void restored_catalogs_go_on_alike(void **state) {
    struct bench *bench = *state;
    struct catalog *both[] = {bench->a, bench->b};
    for (uint64_t seed = 1; seed <= 5; seed++) {
        struct buf stream;
        struct err_text text = {""};
        run_random(&bench->a, 1, seed, 300);
        take_snapshot(bench->a, &stream);
        struct source source = {.data = stream.data, .count = stream.count, .piece = seed * 3};
        if (catalog_restore(bench->b, give, &source, &text) != ERR_OK) {
            fail_msg("%s", text.s);
        }
        assert_int_equal(view_applied(catalog_view(bench->b)),
                         view_applied(catalog_view(bench->a)));
        expect_same(bench->a, bench->b);
        run_random(both, 2, seed + 100, 200);
        expect_same(bench->a, bench->b);
        buf_clear(&stream);
    }
}

static void nothing_restores_to_nothing(void **state) {
    struct bench *bench = *state;
    struct buf stream;
    catalog_skip(bench->a, 7);
    catalog_publish(bench->a);
    take_snapshot(bench->a, &stream);
    run_random(&bench->b, 1, 1, 50);
    struct source source = {.data = stream.data, .count = stream.count};
    assert_int_equal(catalog_restore(bench->b, give, &source, NULL), ERR_OK);
    assert_int_equal(view_applied(catalog_view(bench->b)), 7);
    assert_int_equal(view_row_hash(catalog_view(bench->b)), 0);
    expect_same(bench->a, bench->b);
    buf_clear(&stream);
}

static void cut_streams_change_nothing(void **state) {
    struct bench *bench = *state;
    struct buf stream, before, after;
    run_random(&bench->a, 1, 1, 60);
    run_random(&bench->b, 1, 2, 60);
    take_snapshot(bench->a, &stream);
    take_snapshot(bench->b, &before);
    uint64_t version = view_version(catalog_view(bench->b));
    for (size_t count = 0; count < stream.count; count += 1 + count / 40) {
        struct source source = {.data = stream.data, .count = count};
        struct err_text text = {""};
        assert_int_equal(catalog_restore(bench->b, give, &source, &text), ERR_CORRUPT);
        assert_memory_equal(text.s, "snapshot: record ", 17);
    }
    struct source failing = {.data = stream.data, .count = stream.count - 1, .fail_at_end = ERR_IO};
    assert_int_equal(catalog_restore(bench->b, give, &failing, NULL), ERR_IO);
    assert_int_equal(view_version(catalog_view(bench->b)), version);
    take_snapshot(bench->b, &after);
    assert_int_equal(after.count, before.count);
    assert_memory_equal(after.data, before.data, before.count);
    buf_clear(&stream);
    buf_clear(&before);
    buf_clear(&after);
}

/* A stream with changed bytes is refused, and then nothing has changed, or it is taken: then its
 * rows are those that its hash tells of. */
static void rotten_streams(void **state) {
    struct bench *bench = *state;
    struct buf stream;
    struct rand rand;
    unsigned refused = 0;
    rand_init(&rand, 3);
    run_random(&bench->a, 1, 1, 40);
    run_random(&bench->b, 1, 2, 40);
    take_snapshot(bench->a, &stream);
    uint64_t hash = view_row_hash(catalog_view(bench->b));
    uint64_t good_hash = view_row_hash(catalog_view(bench->a));
    for (int i = 0; i < 1500; i++) {
        char *copy = malloc(stream.count);
        memcpy(copy, stream.data, stream.count);
        for (uint64_t n = rand_below(&rand, 3); n < 3; n++) {
            copy[rand_below(&rand, stream.count)] ^= (char)(1u << rand_below(&rand, 8));
        }
        struct source source = {.data = copy, .count = stream.count};
        uint64_t version = view_version(catalog_view(bench->b));
        enum err err = catalog_restore(bench->b, give, &source, NULL);
        if (err == ERR_OK) {
            hash = view_row_hash(catalog_view(bench->b));
            assert_int_equal(hash, good_hash);
        } else {
            assert_true(err == ERR_CORRUPT || err == ERR_VERSION);
            assert_int_equal(view_version(catalog_view(bench->b)), version);
            assert_int_equal(view_row_hash(catalog_view(bench->b)), hash);
            refused++;
        }
        free(copy);
    }
    assert_true(refused > 1000);
    run_random(&bench->b, 1, 3, 40); /* it still works */
    buf_clear(&stream);
}

/* Records of the wrong number, order or kind. */
static void put(struct buf *out, const struct codec_record *record) {
    struct buf bytes;
    buf_init(&bytes, LIMIT_ENTRY_BYTES);
    codec_encode_record(record, &bytes);
    uint8_t head[4] = {(uint8_t)bytes.count, (uint8_t)(bytes.count >> 8)};
    buf_append(out, head, 4);
    buf_append(out, bytes.data, bytes.count);
    buf_clear(&bytes);
}

static void broken_orders(void **state) {
    struct bench *bench = *state;
    struct catalog_node node = node_row("a", "1.1.1.1");
    uint64_t hash = row_hash_node(&node);
    struct codec_record indexes = {.kind = RECORD_INDEXES, .indexes = {.applied = 9}};
    struct codec_record a = {.kind = RECORD_NODE, .node = node};
    struct codec_record known = {.kind = RECORD_NODE_INDEX, .named = {"a", 9}};
    struct codec_record service = {.kind = RECORD_SERVICE, .service = service_row("a", "s", "s")};
    struct codec_record end = {.kind = RECORD_END, .end = 2};
    struct codec_record third = {.kind = RECORD_END, .end = 3};
    struct codec_record late = {.kind = RECORD_END, .end = 4};
    struct codec_record empty = {.kind = RECORD_END, .end = 0};
    struct codec_record stray = {.kind = RECORD_CHECK, .check = check_row("b", "c", "", "passing")};
    struct codec_record lost = {.kind = RECORD_SERVICE, .service = service_row("b", "s", "s")};
    indexes.indexes.row_hash = hash;
    struct codec_record both = indexes;
    both.indexes.row_hash += row_hash_service(&service.service);
    const struct codec_record *const streams[][5] = {
        {&indexes, &a, &known, NULL},  /* no end */
        {&indexes, &end, NULL},        /* a node is missing */
        {&indexes, &a, &known, &late}, /* a record was lost on the way */
        {&indexes, &a, &a, &third},    /* twice */
        {&indexes, &a, &end},          /* a node whose index is missing */
        {&both, &a, &known, &service, &late} /* a service whose index is missing */,
        {&indexes, &stray, &end, NULL} /* a check of no node */,
        {&indexes, &lost, &end, NULL}, /* a service of no node */
        {&a, &end, NULL},              /* no indexes */
        {&end, NULL},
        {&empty, NULL}, /* nothing at all, not even the indexes of an empty catalog */
    };
    for (size_t i = 0; i < sizeof streams / sizeof streams[0]; i++) {
        struct buf out;
        buf_init(&out, STREAM_BYTES_MAX);
        for (size_t n = 0; n < 5 && streams[i][n] != NULL; n++) {
            put(&out, streams[i][n]);
        }
        struct source source = {.data = out.data, .count = out.count};
        assert_int_equal(catalog_restore(bench->a, give, &source, NULL), ERR_CORRUPT);
        buf_clear(&out);
    }
    struct buf out; /* and the one that is right */
    buf_init(&out, STREAM_BYTES_MAX);
    put(&out, &indexes);
    put(&out, &a);
    put(&out, &known);
    put(&out, &third);
    struct source source = {.data = out.data, .count = out.count};
    assert_int_equal(catalog_restore(bench->a, give, &source, NULL), ERR_OK);
    buf_clear(&out);
}

static enum err write_some(void *context, const void *data, size_t size) {
    (void)data;
    (void)size;
    unsigned *left = context;
    return (*left)-- > 1 ? ERR_OK : ERR_NO_SPACE;
}

static void a_failed_write_ends_a_snapshot(void **state) {
    struct bench *bench = *state;
    char output[40000];
    memset(output, 'o', sizeof output);
    output[sizeof output - 1] = '\0';
    struct catalog_register reg = {.node = node_row("a", "1.1.1.1")};
    struct catalog_check check;
    reg.checks = &check;
    reg.check_count = 1;
    for (uint64_t i = 1; i <= 20; i++) { /* several pieces */
        char id[16];
        snprintf(id, sizeof id, "c%u", (unsigned)i);
        check = check_row("a", id, "", "passing");
        check.output = output;
        assert_int_equal(apply_register(bench->a, i, &reg), ERR_OK);
    }
    catalog_publish(bench->a);
    for (unsigned pieces = 1; pieces < 4; pieces++) {
        unsigned left = pieces;
        assert_int_equal(catalog_snapshot(catalog_view(bench->a), write_some, &left), ERR_NO_SPACE);
        assert_int_equal(left, 0); /* not called again after its error */
    }
}

static void a_restore_marks_all_watches(void **state) {
    struct bench *bench = *state;
    struct watches *watches = watches_create();
    struct catalog *watched = catalog_create(bench->epoch, watches);
    struct waiter a = {0}, b = {0};
    struct buf stream;
    watches_join(watches, WATCH_SERVICE, "never", "", &a);
    watches_join(watches, WATCH_NODES, "", "", &b);
    take_snapshot(bench->a, &stream);
    struct source bad = {.data = stream.data, .count = 3};
    assert_int_equal(catalog_restore(watched, give, &bad, NULL), ERR_CORRUPT);
    assert_null(watches_take_dirty(watches));
    struct source good = {.data = stream.data, .count = stream.count};
    assert_int_equal(catalog_restore(watched, give, &good, NULL), ERR_OK);
    assert_non_null(watches_take_dirty(watches));
    assert_non_null(watches_take_dirty(watches));
    watches_leave(watches, &a);
    watches_leave(watches, &b);
    buf_clear(&stream);
    catalog_destroy(watched);
    watches_destroy(watches);
}

/* ---- readers ---- */

static void an_old_view_outlives_a_restore(void **state) {
    struct bench *bench = *state;
    struct buf stream, before, after;
    run_random(&bench->a, 1, 1, 100);
    run_random(&bench->b, 1, 2, 100);
    take_snapshot(bench->a, &stream);
    epoch_enter(bench->epoch);
    const struct catalog_view *old = catalog_view(bench->b);
    take_snapshot(bench->b, &before);
    for (int i = 0; i < 3; i++) {
        struct source source = {.data = stream.data, .count = stream.count};
        assert_int_equal(catalog_restore(bench->b, give, &source, NULL), ERR_OK);
        run_random(&bench->b, 1, 5, 50);
    }
    buf_init(&after, STREAM_BYTES_MAX);
    assert_int_equal(catalog_snapshot(old, keep, &after), ERR_OK);
    assert_int_equal(after.count, before.count);
    assert_memory_equal(after.data, before.data, after.count);
    epoch_exit(bench->epoch);
    catalog_publish(bench->b);
    catalog_publish(bench->b);
    assert_int_equal(epoch_pending(bench->epoch), 0);
    buf_clear(&stream);
    buf_clear(&before);
    buf_clear(&after);
}

struct reading {
    struct bench *bench;
    _Atomic bool stop;
    _Atomic unsigned reads;
};

static bool judge_instance(const struct catalog_instance *instance, void *context) {
    unsigned *wrong = context;
    enum catalog_health worst = HEALTH_PASSING;
    for (uint32_t i = 0; i < instance->check_count; i++) {
        enum catalog_health health = catalog_health_of(instance->checks[i]->status);
        worst = health > worst ? health : worst;
        *wrong += !str_equal_fold(instance->checks[i]->node, instance->node->name);
    }
    *wrong += worst != instance->health;
    *wrong += !str_equal_fold(instance->service->node, instance->node->name);
    return true;
}

static void *read_views(void *context) {
    struct reading *reading = context;
    unsigned wrong = 0;
    uint64_t last = 0;
    while (!atomic_load(&reading->stop)) {
        epoch_enter(reading->bench->epoch);
        const struct catalog_view *view = catalog_view(reading->bench->b);
        view_walk_all_instances(view, judge_instance, &wrong);
        wrong += view_version(view) < last;
        last = view_version(view);
        epoch_exit(reading->bench->epoch);
        atomic_fetch_add(&reading->reads, 1);
    }
    return (void *)(uintptr_t)wrong;
}

static void readers_beside_the_writer(void **state) {
    struct bench *bench = *state;
    struct reading reading = {.bench = bench};
    pthread_t threads[3];
    struct buf stream;
    run_random(&bench->a, 1, 1, 100);
    take_snapshot(bench->a, &stream);
    for (int i = 0; i < 3; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_views, &reading), 0);
    }
    for (uint64_t seed = 1; seed < 7; seed++) {
        run_random(&bench->b, 1, seed, 100);
        struct source source = {.data = stream.data, .count = stream.count};
        assert_int_equal(catalog_restore(bench->b, give, &source, NULL), ERR_OK);
    }
    while (atomic_load(&reading.reads) < 10) {
    }
    atomic_store(&reading.stop, true);
    for (int i = 0; i < 3; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
    buf_clear(&stream);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_bench, close_bench)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(same_commands_same_rows),
        TEST(restored_catalogs_go_on_alike),
        TEST(nothing_restores_to_nothing),
        TEST(cut_streams_change_nothing),
        TEST(rotten_streams),
        TEST(broken_orders),
        TEST(a_failed_write_ends_a_snapshot),
        TEST(a_restore_marks_all_watches),
        TEST(an_old_view_outlives_a_restore),
        TEST(readers_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
