/* Mirrors: whatever happens at the source, the mirror's rows and indexes are the source's once the
 * stream has told all. */
#include "tests/unit/catalog_random.h"

#include "catalog/mirror.h"
#include "catalog/row.h"

#define STREAM_BYTES_MAX (64 * 1024 * 1024)

struct bench {
    struct epoch *epoch;
    struct catalog *source;
    struct mirror_feed *feed;
    struct mirror *mirror;
    struct command_source commands;
    uint64_t index;
};

static void open_bench(struct bench *b, uint64_t seed, size_t changes_bytes, bool all) {
    *b = (struct bench){.epoch = epoch_create()};
    b->source = catalog_create(b->epoch, NULL);
    catalog_note_changes(b->source, changes_bytes);
    b->feed = mirror_feed_create(all);
    b->mirror = mirror_create(b->epoch, all);
    rand_init(&b->commands.rand, seed);
}

static void close_bench(struct bench *b) {
    mirror_feed_destroy(b->feed);
    mirror_destroy(b->mirror);
    catalog_destroy(b->source);
    epoch_destroy(b->epoch);
}

static void run_commands(struct bench *b, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        struct catalog_command command = random_command(&b->commands);
        struct err_text text = {""};
        enum err err = apply_command(b->source, ++b->index, &command, &text);
        assert_true(err == ERR_OK || err == ERR_REFUSED);
    }
    catalog_publish(b->source);
}

/* One job from end to end; between its steps, commands come. False: there was nothing to tell. */
static bool run_job(struct bench *b, size_t bytes, bool disturb) {
    struct mirror_job job;
    if (!mirror_feed_has_news(b->feed, b->source)) {
        return false;
    }
    mirror_feed_plan(b->feed, b->source, bytes, &job);
    if (disturb) {
        run_commands(b, 3);
    }
    epoch_enter(b->epoch);
    mirror_job_run(&job, catalog_view(b->source));
    epoch_exit(b->epoch);
    mirror_feed_take(b->feed, &job);
    if (job.begins && mirror_index(b->mirror) > 0) {
        bool all = mirror_is_ready(b->mirror, "any");
        mirror_destroy(b->mirror);
        b->mirror = mirror_create(b->epoch, all);
    }
    mirror_reach(b->mirror, catalog_changes_newest(b->source));
    assert_int_equal(
        mirror_apply(b->mirror, (uint8_t *)job.out.data, job.out.count, job.whole ? job.index : 0),
        ERR_OK);
    if (job.whole) {
        mirror_set_whole(b->mirror);
    }
    mirror_job_clear(&job);
    return true;
}

static void run_jobs(struct bench *b, size_t bytes) {
    while (run_job(b, bytes, false)) {
    }
    mirror_advance(b->mirror, view_applied(catalog_view(b->source))); /* as a heartbeat does */
}

/* ---- all services ---- */

static void take_snapshot(const struct catalog *catalog, struct buf *out) {
    buf_init(out, STREAM_BYTES_MAX);
    assert_int_equal(catalog_snapshot(catalog_view(catalog), keep, out), ERR_OK);
}

/* Record by record, indexes and hash included. */
static void expect_equal(const struct bench *b) {
    struct buf x, y;
    assert_int_equal(mirror_index(b->mirror), b->index);
    take_snapshot(b->source, &x);
    take_snapshot(mirror_catalog(b->mirror), &y);
    assert_int_equal(x.count, y.count);
    assert_memory_equal(x.data, y.data, x.count);
    buf_clear(&x);
    buf_clear(&y);
}

static bool count_instance(const struct catalog_instance *instance, void *context) {
    *(uint64_t *)context += row_hash_node(instance->node) * 3 + row_hash_service(instance->service);
    for (uint32_t i = 0; i < instance->check_count; i++) {
        *(uint64_t *)context += row_hash_check(instance->checks[i]) * (i + 5);
    }
    *(uint64_t *)context += (uint64_t)instance->health;
    return true;
}

static uint64_t sum_instances(const struct catalog *catalog, const char *service) {
    uint64_t sum = 0;
    if (service == NULL) {
        view_walk_all_instances(catalog_view(catalog), count_instance, &sum);
    } else {
        view_walk_instances(catalog_view(catalog), service, count_instance, &sum);
    }
    return sum;
}

static void mirror_equals_its_source(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct bench b;
        open_bench(&b, seed, 1 << 20, true);
        run_commands(&b, 100);
        for (int round = 0; round < 60; round++) {
            run_commands(&b, 1 + rand_below(&b.commands.rand, 20));
            run_jobs(&b, 1 + rand_below(&b.commands.rand, 8000));
            expect_equal(&b);
            assert_int_equal(sum_instances(b.source, NULL),
                             sum_instances(mirror_catalog(b.mirror), NULL));
        }
        close_bench(&b);
    }
}

/* Slices of the first state over views that change, with jobs that run on younger views. */
static void commands_come_between(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct bench b;
        open_bench(&b, seed, 1 << 20, true);
        run_commands(&b, 150);
        for (int i = 0; i < 150; i++) {
            run_job(&b, 500, true);
            run_commands(&b, 1);
        }
        run_jobs(&b, 500);
        expect_equal(&b);
        close_bench(&b);
    }
}

static void it_goes_on_where_it_stood(void **state) {
    (void)state;
    struct bench b;
    open_bench(&b, 7, 1 << 20, true);
    run_commands(&b, 200);
    run_jobs(&b, 4000);
    for (int round = 0; round < 30; round++) {
        run_commands(&b, 30);
        run_job(&b, 200, false); /* some of them, then the stream breaks */
        mirror_feed_destroy(b.feed);
        b.feed = mirror_feed_create(true);
        assert_true(mirror_feed_resume(b.feed, b.source, mirror_index(b.mirror), NULL, 0));
        run_jobs(&b, 1000);
        expect_equal(&b);
    }
    close_bench(&b);
}

/* What is forgotten, and what the source has not reached, begins anew. */
static void from_scratch_when_changes_are_forgotten(void **state) {
    (void)state;
    struct bench b;
    open_bench(&b, 9, 1, true); /* two blocks */
    run_commands(&b, 200);
    run_jobs(&b, 4000);
    mirror_feed_destroy(b.feed);
    b.feed = mirror_feed_create(true);
    assert_false(mirror_feed_resume(b.feed, b.source, b.index + 1, NULL, 0));
    run_commands(&b, 5000);
    mirror_feed_destroy(b.feed);
    b.feed = mirror_feed_create(true);
    assert_false(mirror_feed_resume(b.feed, b.source, mirror_index(b.mirror), NULL, 0));
    run_jobs(&b, 4000);
    expect_equal(&b);
    run_commands(&b, 5000); /* the same while the stream lives */
    run_jobs(&b, 4000);
    expect_equal(&b);
    close_bench(&b);
}

static void from_scratch_after_a_restore(void **state) {
    (void)state;
    struct bench b;
    struct buf image;
    struct err_text text;
    open_bench(&b, 11, 1 << 20, true);
    run_commands(&b, 200);
    take_snapshot(b.source, &image);
    run_commands(&b, 50);
    run_jobs(&b, 4000);
    struct source from = {.data = image.data, .count = image.count};
    assert_int_equal(catalog_restore(b.source, give, &from, &text), ERR_OK);
    b.index = view_applied(catalog_view(b.source));
    mirror_destroy(b.mirror);
    b.mirror = mirror_create(b.epoch, true);
    run_jobs(&b, 4000);
    expect_equal(&b);
    buf_clear(&image);
    close_bench(&b);
}

/* ---- some services ---- */

struct others {
    const char *wanted[4];
    uint32_t count;
    size_t instances;
};

static bool is_wanted(const struct catalog_instance *instance, void *context) {
    struct others *others = context;
    bool found = false;
    for (uint32_t i = 0; i < others->count; i++) {
        found |= str_equal_fold(others->wanted[i], instance->service->name);
    }
    assert_true(found);
    others->instances++;
    return true;
}

static bool find_any(const struct catalog_service *service, void *context) {
    (void)service;
    *(bool *)context = true;
    return false;
}

static bool node_has_service(const struct catalog_node *node, void *context) {
    bool any = false;
    view_walk_node_services(context, node->name, find_any, &any);
    assert_true(any);
    return true;
}

static bool check_has_node(const struct catalog_check *check, void *context) {
    assert_non_null(view_get_node(context, check->node));
    return true;
}

/* The wanted ones are the source's, and nothing else is there. */
static void expect_wanted(const struct bench *b, struct others *others) {
    const struct catalog_view *view = catalog_view(mirror_catalog(b->mirror));
    for (uint32_t i = 0; i < others->count; i++) {
        const char *name = others->wanted[i];
        assert_true(mirror_is_ready(b->mirror, name));
        assert_int_equal(sum_instances(b->source, name),
                         sum_instances(mirror_catalog(b->mirror), name));
        assert_int_equal(view_index_service(catalog_view(b->source), name),
                         view_index_service(view, name));
    }
    view_walk_all_instances(view, is_wanted, others);
    view_walk_nodes(view, node_has_service, (void *)(uintptr_t)view);
    view_walk_all_checks(view, check_has_node, (void *)(uintptr_t)view);
    assert_int_equal(mirror_instances(b->mirror), others->instances);
    others->instances = 0;
}

static void some_services_are_the_source_s(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct bench b;
        struct others others = {{"service0", "service2"}, 2, 0};
        open_bench(&b, seed, 1 << 20, false);
        run_commands(&b, 100);
        for (uint32_t i = 0; i < others.count; i++) {
            mirror_want(b.mirror, others.wanted[i], 0);
            assert_int_equal(mirror_feed_add(b.feed, others.wanted[i]), ERR_OK);
        }
        for (int round = 0; round < 60; round++) {
            run_commands(&b, 1 + rand_below(&b.commands.rand, 20));
            run_job(&b, 500, true);
            run_jobs(&b, 1 + rand_below(&b.commands.rand, 8000));
            expect_wanted(&b, &others);
        }
        close_bench(&b);
    }
}

/* ---- corrections ---- */

struct same {
    const struct catalog_view *view, *from;
    const struct others *others;
    const char *node;
    uint32_t count;
};

static bool has_service(const struct catalog_service *service, void *context) {
    struct same *same = context;
    for (uint32_t i = 0; i < same->others->count; i++) {
        if (str_equal_fold(service->name, same->others->wanted[i])) {
            const struct catalog_service *there =
                view_get_service(same->view, same->node, service->id);
            assert_non_null(there);
            assert_true(row_equal_service(there, service));
            same->count++;
        }
    }
    return true;
}

static bool has_check(const struct catalog_check *check, void *context) {
    const struct same *same = context;
    const struct catalog_check *there = view_get_check(same->view, same->node, check->id);
    bool bound = *check->service_id != '\0';
    bool wanted = bound ? view_get_service(same->view, same->node, check->service_id) != NULL
                        : view_get_node(same->view, same->node) != NULL;
    if (wanted && !str_equal_fold(check->id, CATALOG_AGENT_CHECK)) { /* that is the pool's */
        assert_non_null(there);
        assert_true(row_equal_check(there, check));
    }
    return true;
}

static bool count_service(const struct catalog_service *service, void *context) {
    (void)service;
    ++*(uint32_t *)context;
    return true;
}

/* The node's wanted services are those of `from`, and no others. */
static void expect_node(const struct bench *b, const struct others *others, const char *node,
                        const struct catalog_view *from) {
    struct same same = {catalog_view(mirror_catalog(b->mirror)), from, others, node, 0};
    uint32_t count = 0;
    if (from != NULL && view_get_node(from, node) != NULL) {
        view_walk_node_services(from, node, has_service, &same);
        view_walk_node_checks(from, node, has_check, &same);
    }
    view_walk_node_services(same.view, node, count_service, &count);
    assert_int_equal(count, same.count);
    assert_int_equal(view_get_node(same.view, node) != NULL, count > 0);
}

static void sicken(struct mirror *mirror, const char *node) {
    struct catalog_check check = check_row(node, CATALOG_AGENT_CHECK, "", "critical");
    mirror_correct_check(mirror, &check);
}

static bool is_sick(const struct catalog_instance *instance, void *context) {
    if (str_equal_fold(instance->node->name, context)) {
        assert_int_equal(instance->health, HEALTH_CRITICAL);
    }
    return true;
}

static bool take_first(const struct catalog_service *service, void *context) {
    *(const struct catalog_service **)context = service;
    return false;
}

/* All others are the source's. */
static void correct_some(struct bench *b, struct others *others, const struct catalog *from) {
    struct rand *rand = &b->commands.rand;
    char replaced[16], removed[16], sick[16], halved[16], node[16];
    uint64_t first = rand_below(rand, 12);
    snprintf(replaced, sizeof replaced, "node%u", (unsigned)first);
    snprintf(removed, sizeof removed, "Node%u", (unsigned)(first + 1) % 12);
    snprintf(sick, sizeof sick, "node%u", (unsigned)(first + 2) % 12);
    snprintf(halved, sizeof halved, "node%u", (unsigned)(first + 3) % 12);
    epoch_enter(b->epoch);
    mirror_correct_begin(b->mirror);
    const struct catalog_view *view = mirror_correct_view(b->mirror);
    mirror_correct_node(b->mirror, replaced, catalog_view(from));
    mirror_correct_node(b->mirror, removed, NULL);
    if (view_get_node(view, sick) != NULL) {
        sicken(b->mirror, sick);
    }
    const struct catalog_service *gone = NULL;
    view_walk_node_services(view, halved, take_first, &gone);
    if (gone != NULL) {
        mirror_correct_gone(b->mirror, halved, gone->id);
        assert_null(view_get_service(view, halved, gone->id));
        assert_null(view_get_instance(view, gone));
    }
    mirror_correct_end(b->mirror);
    assert_true(mirror_is_corrected(b->mirror));
    expect_node(b, others, replaced, catalog_view(from));
    expect_node(b, others, removed, NULL);
    view_walk_all_instances(catalog_view(mirror_catalog(b->mirror)), is_sick, sick);
    for (uint64_t i = 4; i < 12; i++) {
        snprintf(node, sizeof node, "node%u", (unsigned)(first + i) % 12);
        expect_node(b, others, node, catalog_view(b->source));
    }
    epoch_exit(b->epoch);
}

/* Whatever was corrected, and however often, is the source's again with its next word. */
static void what_was_corrected_is_taken_back(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct bench b;
        struct others others = {{"service0", "service2"}, 2, 0};
        open_bench(&b, seed, 1 << 20, false);
        struct catalog *own = b.source, *source = catalog_create(b.epoch, NULL);
        run_commands(&b, 100); /* of another catalog, with the same names */
        catalog_note_changes(source, 1 << 20);
        b.source = source;
        b.index = 0;
        run_commands(&b, 100);
        for (uint32_t i = 0; i < others.count; i++) {
            mirror_want(b.mirror, others.wanted[i], 0);
            assert_int_equal(mirror_feed_add(b.feed, others.wanted[i]), ERR_OK);
        }
        for (int round = 0; round < 40; round++) {
            run_jobs(&b, 1 + rand_below(&b.commands.rand, 8000));
            if (mirror_is_corrected(b.mirror)) { /* nothing that is wanted has changed */
                mirror_correct_undo(b.mirror);
            }
            expect_wanted(&b, &others);
            size_t bytes = mirror_bytes(b.mirror);
            for (uint64_t i = rand_below(&b.commands.rand, 3); i <= 2; i++) {
                correct_some(&b, &others, own);
            }
            if (rand_below(&b.commands.rand, 2) == 0) {
                mirror_correct_undo(b.mirror);
                assert_false(mirror_is_corrected(b.mirror));
                assert_int_equal(mirror_bytes(b.mirror), bytes);
                expect_wanted(&b, &others);
                correct_some(&b, &others, own);
            }
            run_commands(&b, 1 + rand_below(&b.commands.rand, 20));
        }
        catalog_destroy(own);
        close_bench(&b);
    }
}

/* A job that was planned before a service was dropped brings some of it still. */
static void services_come_and_go(void **state) {
    (void)state;
    struct bench b;
    struct others none = {{NULL}, 0, 0}, one = {{"Service1"}, 1, 0};
    open_bench(&b, 3, 1 << 20, false);
    run_commands(&b, 150);
    for (int round = 0; round < 20; round++) {
        struct mirror_job job;
        mirror_want(b.mirror, "service1", 0);
        assert_int_equal(mirror_feed_add(b.feed, "service1"), ERR_OK);
        assert_int_equal(mirror_feed_add(b.feed, "SERVICE1"), ERR_EXISTS);
        run_jobs(&b, 600);
        expect_wanted(&b, &one);
        run_commands(&b, 10);
        mirror_feed_plan(b.feed, b.source, 100000, &job);
        epoch_enter(b.epoch);
        mirror_job_run(&job, catalog_view(b.source));
        epoch_exit(b.epoch);
        mirror_drop(b.mirror, "service1");
        mirror_feed_remove(b.feed, "service1");
        mirror_feed_take(b.feed, &job);
        assert_int_equal(mirror_apply(b.mirror, (uint8_t *)job.out.data, job.out.count, job.index),
                         ERR_OK);
        mirror_job_clear(&job);
        expect_wanted(&b, &none);
        assert_int_equal(mirror_bytes(b.mirror), 0);
    }
    close_bench(&b);
}

/* All that a source has to tell goes into a mirror that is not the bench's. */
static void tell_all(struct bench *b, struct mirror_feed *feed, const struct catalog *source,
                     struct mirror *mirror) {
    while (mirror_feed_has_news(feed, source)) {
        struct mirror_job job;
        mirror_feed_plan(feed, source, 3000, &job);
        epoch_enter(b->epoch);
        mirror_job_run(&job, catalog_view(source));
        epoch_exit(b->epoch);
        mirror_feed_take(feed, &job);
        assert_false(job.begins && mirror_index(mirror) > 0);
        assert_int_equal(
            mirror_apply(mirror, (uint8_t *)job.out.data, job.out.count, job.whole ? job.index : 0),
            ERR_OK);
        mirror_job_clear(&job);
    }
    mirror_advance(mirror, view_applied(catalog_view(source)));
}

/* One that has followed the source goes on at a mirror of it, as a server does that has found its
 * leader. Some of that one's rows are of a younger view than its index tells. */
static void it_goes_on_at_a_mirror(void **state) {
    (void)state;
    unsigned resumed = 0;
    for (uint64_t seed = 1; seed <= 40; seed++) {
        struct bench b;
        struct buf x, y;
        open_bench(&b, seed, 1 << 20, true);
        mirror_note_changes(b.mirror, 1 << 20);
        run_commands(&b, 100);
        run_jobs(&b, 4000);
        run_commands(&b, 5);
        struct mirror *second = mirror_create(b.epoch, true);
        struct mirror_feed *feed = mirror_feed_create(true);
        tell_all(&b, feed, b.source, second);
        mirror_feed_destroy(feed);
        run_job(&b, 100000, true); /* planned now, run three commands later */
        feed = mirror_feed_create(true);
        if (mirror_feed_resume(feed, mirror_catalog(b.mirror), mirror_index(second), NULL, 0)) {
            resumed++;
            run_jobs(&b, 1000);
            tell_all(&b, feed, mirror_catalog(b.mirror), second);
            expect_equal(&b);
            take_snapshot(b.source, &x);
            take_snapshot(mirror_catalog(second), &y);
            assert_int_equal(x.count, y.count);
            assert_memory_equal(x.data, y.data, x.count);
            buf_clear(&x);
            buf_clear(&y);
        }
        mirror_feed_destroy(feed);
        mirror_destroy(second);
        close_bench(&b);
    }
    assert_true(resumed > 30);
}

/* A mirror of a mirror, as the other servers of a group have it. */
static void a_mirror_is_mirrored(void **state) {
    (void)state;
    for (uint64_t seed = 1; seed <= 6; seed++) {
        struct bench b;
        open_bench(&b, seed, 1 << 20, true);
        mirror_note_changes(b.mirror, 1 << 20);
        struct mirror_feed *feed = mirror_feed_create(true);
        struct mirror *second = mirror_create(b.epoch, true);
        run_commands(&b, 100);
        for (int round = 0; round < 60; round++) {
            const struct catalog *source = mirror_catalog(b.mirror);
            struct mirror_job job;
            run_commands(&b, 1 + rand_below(&b.commands.rand, 20));
            run_jobs(&b, 3000);
            while (mirror_feed_has_news(feed, source)) {
                mirror_feed_plan(feed, source, 2000, &job);
                epoch_enter(b.epoch);
                mirror_job_run(&job, catalog_view(source));
                epoch_exit(b.epoch);
                mirror_feed_take(feed, &job);
                assert_int_equal(mirror_apply(second, (uint8_t *)job.out.data, job.out.count,
                                              job.whole ? job.index : 0),
                                 ERR_OK);
                mirror_job_clear(&job);
            }
            mirror_advance(second, mirror_index(b.mirror));
            struct mirror *first = b.mirror;
            b.mirror = second;
            expect_equal(&b);
            b.mirror = first;
        }
        mirror_feed_destroy(feed);
        mirror_destroy(second);
        close_bench(&b);
    }
}

/* One that was filled from scratch knows what has changed since, and no more. */
static void a_mirror_knows_no_changes_from_before_it_was_whole(void **state) {
    (void)state;
    struct bench b;
    struct changes_place place;
    open_bench(&b, 8, 1 << 20, true);
    mirror_note_changes(b.mirror, 1 << 20);
    run_commands(&b, 100);
    run_jobs(&b, 2000);
    assert_false(catalog_find_changes(mirror_catalog(b.mirror), 50, &place));
    assert_true(catalog_find_changes(mirror_catalog(b.mirror), b.index, &place));
    uint64_t whole = b.index;
    run_commands(&b, 20);
    run_jobs(&b, 2000);
    assert_false(catalog_find_changes(mirror_catalog(b.mirror), whole - 1, &place));
    assert_true(catalog_find_changes(mirror_catalog(b.mirror), whole, &place));
    close_bench(&b);
}

/* The same name again while the old one is still told: all of it comes. */
static void a_name_that_returns_is_told_whole(void **state) {
    (void)state;
    struct bench b;
    struct mirror_job job;
    struct others one = {{"service1"}, 1, 0};
    open_bench(&b, 4, 1 << 20, false);
    run_commands(&b, 300);
    mirror_want(b.mirror, "service1", 0);
    mirror_feed_add(b.feed, "service1");
    mirror_feed_plan(b.feed, b.source, 1, &job);
    epoch_enter(b.epoch);
    mirror_job_run(&job, catalog_view(b.source));
    epoch_exit(b.epoch);
    mirror_feed_remove(b.feed, "service1");
    mirror_feed_add(b.feed, "service1");
    mirror_feed_take(b.feed, &job);
    mirror_job_clear(&job); /* lost, as if it had been dropped meanwhile */
    run_jobs(&b, 300);
    expect_wanted(&b, &one);
    close_bench(&b);
}

static void some_services_go_on_where_they_stood(void **state) {
    (void)state;
    const char *const names[] = {"service0", "service3"};
    struct others two = {{"service0", "service3"}, 2, 0};
    struct bench b;
    open_bench(&b, 5, 1 << 20, false);
    for (int i = 0; i < 2; i++) {
        mirror_want(b.mirror, names[i], 0);
        mirror_feed_add(b.feed, names[i]);
    }
    run_commands(&b, 100);
    run_jobs(&b, 1000);
    run_commands(&b, 100);
    mirror_feed_destroy(b.feed);
    b.feed = mirror_feed_create(false);
    assert_true(mirror_feed_resume(b.feed, b.source, mirror_index(b.mirror), names, 2));
    run_jobs(&b, 1000);
    expect_wanted(&b, &two);
    close_bench(&b);
}

/* ---- what must not be believed ---- */

static void garbage_is_refused(void **state) {
    (void)state;
    struct bench b;
    struct mirror_job job;
    open_bench(&b, 6, 1 << 20, true);
    run_commands(&b, 60);
    mirror_feed_plan(b.feed, b.source, 100000, &job);
    epoch_enter(b.epoch);
    mirror_job_run(&job, catalog_view(b.source));
    epoch_exit(b.epoch);
    for (size_t cut = 1; cut < job.out.count; cut += 7) {
        enum err err = mirror_apply(b.mirror, (uint8_t *)job.out.data, cut, 1);
        assert_true(err == ERR_OK || err == ERR_CORRUPT);
    }
    assert_int_equal(mirror_apply(b.mirror, (const uint8_t *)"\xff\xff", 2, 1), ERR_CORRUPT);
    mirror_job_clear(&job);
    close_bench(&b);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(mirror_equals_its_source),
        cmocka_unit_test(commands_come_between),
        cmocka_unit_test(it_goes_on_where_it_stood),
        cmocka_unit_test(from_scratch_when_changes_are_forgotten),
        cmocka_unit_test(from_scratch_after_a_restore),
        cmocka_unit_test(some_services_are_the_source_s),
        cmocka_unit_test(what_was_corrected_is_taken_back),
        cmocka_unit_test(services_come_and_go),
        cmocka_unit_test(a_mirror_is_mirrored),
        cmocka_unit_test(it_goes_on_at_a_mirror),
        cmocka_unit_test(a_mirror_knows_no_changes_from_before_it_was_whole),
        cmocka_unit_test(a_name_that_returns_is_told_whole),
        cmocka_unit_test(some_services_go_on_where_they_stood),
        cmocka_unit_test(garbage_is_refused),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
