/* The agent's own registrations, and the bookkeeping of what the catalog has been told. */
#include "tests/unit/catalog_support.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>

#include "base/arena.h"
#include "catalog/local.h"

struct bench {
    struct epoch *epoch;
    struct local *local;
    struct arena arena;
    char seen[4096]; /* what a walk has shown */
};

static int open_bench(void **state) {
    static struct bench bench;
    memset(&bench, 0, sizeof bench);
    bench.epoch = epoch_create();
    bench.local = local_create(bench.epoch, "agent-1");
    arena_init(&bench.arena);
    *state = &bench;
    return 0;
}

static int close_bench(void **state) {
    struct bench *bench = *state;
    local_destroy(bench->local);
    epoch_destroy(bench->epoch);
    arena_clear(&bench->arena);
    return 0;
}

static void set_service(struct bench *b, const char *json, bool replace) {
    struct service_definition definition;
    struct err_text text;
    if (definition_parse_service(json, strlen(json), &b->arena, &definition, &text) != ERR_OK) {
        fail_msg("%s", text.s);
    }
    local_set_service(b->local, &definition, replace);
    arena_clear(&b->arena); /* local keeps copies: the sanitizer sees a borrowed pointer */
}

static enum err set_check(struct bench *b, const char *json) {
    struct check_definition definition;
    struct err_text text;
    if (definition_parse_check(json, strlen(json), &b->arena, &definition, &text) != ERR_OK) {
        fail_msg("%s", text.s);
    }
    enum err err = local_set_check(b->local, &definition, true);
    arena_clear(&b->arena);
    return err;
}

static bool note(enum local_kind kind, const char *id, bool gone, uint64_t generation,
                 void *context) {
    struct bench *b = context;
    size_t used = strlen(b->seen);
    (void)kind;
    assert_true(generation > 0);
    snprintf(b->seen + used, sizeof b->seen - used, "%s%s%s", used > 0 ? " " : "", gone ? "-" : "",
             id);
    return true;
}

static const char *unsynced(struct bench *b, enum local_kind kind) {
    b->seen[0] = '\0';
    local_walk_unsynced(b->local, kind, note, b);
    return b->seen;
}

static const char *unsynced_of(struct bench *b, const char *service_id) {
    b->seen[0] = '\0';
    local_walk_unsynced_of(b->local, service_id, note, b);
    return b->seen;
}

static bool note_generation(enum local_kind kind, const char *id, bool gone, uint64_t generation,
                            void *context) {
    (void)kind;
    (void)id;
    (void)gone;
    *(uint64_t *)context = generation;
    return true;
}

static bool sync_one(enum local_kind kind, const char *id, bool gone, uint64_t generation,
                     void *context) {
    struct bench *b = context;
    (void)gone;
    local_begin_sync(b->local, kind, id);
    local_end_sync(b->local, kind, id, generation, true);
    return true;
}

static void note_changed(const char *id, const struct check_definition *definition, void *context) {
    struct bench *b = context;
    size_t used = strlen(b->seen);
    snprintf(b->seen + used, sizeof b->seen - used, "%s%s%s", used > 0 ? " " : "",
             definition == NULL ? "-" : "", id);
}

static const char *changed(struct bench *b) {
    b->seen[0] = '\0';
    local_take_changed_checks(b->local, note_changed, b);
    return b->seen;
}

static void sync_all(struct bench *b) {
    changed(b);
    local_walk_unsynced(b->local, LOCAL_SERVICE, sync_one, b);
    local_walk_unsynced(b->local, LOCAL_CHECK, sync_one, b);
    assert_string_equal(unsynced(b, LOCAL_SERVICE), "");
    assert_string_equal(unsynced(b, LOCAL_CHECK), "");
}

static const struct catalog_check *check_of(struct bench *b, const char *id) {
    return local_get_check(local_next_view(b->local), id);
}

#define WEB                                                                                        \
    "{\"ID\":\"web\",\"Name\":\"Web\",\"Tags\":[\"x\"],\"Checks\":[{\"CheckID\":\"one\",\"TTL\":"  \
    "\"10s\",\"Status\":\"passing\"},{\"CheckID\":\"two\",\"HTTP\":\"http://x\",\"Interval\":"     \
    "\"10s\"}]}"

static void set_and_remove(void **state) {
    struct bench *b = *state;
    set_service(b, WEB, false);
    const struct catalog_service *service = local_get_service(local_next_view(b->local), "web");
    assert_string_equal(service->name, "Web");
    assert_string_equal(service->node, "agent-1");
    const struct catalog_check *check = check_of(b, "one");
    assert_string_equal(check->status, "passing");
    assert_string_equal(check->service_id, "web");
    assert_string_equal(check->service_name, "Web");
    assert_string_equal(check->service_tags.v[0], "x");
    assert_string_equal(check->type, "ttl");
    assert_string_equal(check->interval, ""); /* unset inside a service */
    assert_string_equal(check->definition, "");
    assert_string_equal(check_of(b, "two")->status, "critical");
    assert_string_equal(check_of(b, "two")->interval, "10s");
    assert_false(local_check_is_bare(b->local, "one"));
    assert_string_equal(local_get_definition(b->local, "two")->http, "http://x");
    assert_null(local_get_service(local_next_view(b->local), "WEB")); /* ids are exact */

    assert_null(local_get_service(local_view(b->local), "web")); /* not yet published */
    local_publish(b->local);
    assert_non_null(local_get_service(local_view(b->local), "web"));

    assert_int_equal(local_remove_service(b->local, "nope"), ERR_NOT_FOUND);
    assert_int_equal(local_remove_service(b->local, "web"), ERR_OK);
    assert_null(check_of(b, "one"));
    assert_null(local_get_definition(b->local, "one"));
    assert_non_null(local_get_check(local_view(b->local), "one"));
    local_publish(b->local);
    assert_null(local_get_check(local_view(b->local), "one"));
    assert_int_equal(local_remove_service(b->local, "web"), ERR_NOT_FOUND);
}

static void bare_checks(void **state) {
    struct bench *b = *state;
    assert_int_equal(set_check(b, "{\"Name\":\"c\",\"ServiceID\":\"web\",\"TTL\":\"10s\"}"),
                     ERR_NOT_FOUND);
    assert_null(check_of(b, "c"));
    set_service(b, WEB, false);
    assert_int_equal(set_check(b, "{\"Name\":\"c\",\"ServiceID\":\"web\",\"TTL\":\"10s\"}"),
                     ERR_OK);
    assert_int_equal(set_check(b, "{\"Name\":\"node\",\"TTL\":\"10s\"}"), ERR_OK);
    assert_string_equal(check_of(b, "c")->service_name, "Web");
    assert_string_equal(check_of(b, "c")->interval, "0s"); /* unset, by itself */
    assert_string_equal(check_of(b, "c")->timeout, "0s");
    assert_string_equal(check_of(b, "node")->service_id, "");
    assert_true(local_check_is_bare(b->local, "c"));
    assert_int_equal(local_remove_check(b->local, "nope"), ERR_NOT_FOUND);
    assert_int_equal(local_remove_check(b->local, "one"), ERR_OK);
    assert_int_equal(local_remove_service(b->local, "web"), ERR_OK);
    assert_null(check_of(b, "c")); /* those of its own registration too */
    assert_non_null(check_of(b, "node"));
}

/* Contract 10.8: known checks keep status and output, unmentioned ones stay, unless replaced. */
static void registered_again(void **state) {
    struct bench *b = *state;
    set_service(b, WEB, false);
    set_check(b, "{\"Name\":\"added\",\"ServiceID\":\"web\",\"TTL\":\"10s\"}");
    set_check(b, "{\"Name\":\"node\",\"TTL\":\"10s\"}");
    assert_int_equal(local_update_check(b->local, "one", "warning", "hot"), ERR_OK);
    set_service(b,
                "{\"ID\":\"web\",\"Name\":\"Web\",\"Tags\":[\"y\"],\"Check\":{\"CheckID\":\"one\","
                "\"TTL\":\"20s\",\"Status\":\"passing\"}}",
                false);
    assert_string_equal(check_of(b, "one")->status, "warning");
    assert_string_equal(check_of(b, "one")->output, "hot");
    assert_string_equal(check_of(b, "one")->service_tags.v[0], "y");
    assert_non_null(check_of(b, "two"));
    assert_non_null(check_of(b, "added"));
    set_service(b,
                "{\"ID\":\"web\",\"Name\":\"Web\",\"Check\":{\"CheckID\":\"one\",\"TTL\":\"20s\"}}",
                true);
    assert_string_equal(check_of(b, "one")->status, "warning");
    assert_null(check_of(b, "two"));
    assert_null(check_of(b, "added"));
    assert_non_null(check_of(b, "node"));
    /* A check that moves to another service is no longer the first one's. */
    set_service(b, "{\"Name\":\"db\",\"Check\":{\"CheckID\":\"one\",\"TTL\":\"20s\"}}", false);
    assert_string_equal(check_of(b, "one")->service_id, "db");
    assert_int_equal(local_remove_service(b->local, "web"), ERR_OK);
    assert_non_null(check_of(b, "one"));
    assert_int_equal(local_remove_service(b->local, "db"), ERR_OK);
    assert_null(check_of(b, "one"));
}

static void runners_follow_definitions(void **state) {
    struct bench *b = *state;
    set_service(b, WEB, false);
    b->seen[0] = '\0';
    local_walk_changed_checks(b->local, note_changed, b);
    assert_string_equal(b->seen, "two one");
    assert_string_equal(changed(b), "two one");
    assert_string_equal(changed(b), "");                  /* taken */
    local_update_check(b->local, "one", "critical", "x"); /* no change of the definition */
    assert_string_equal(changed(b), "");
    local_set_runner(b->local, "one", 42);
    assert_int_equal(local_get_runner(b->local, "one"), 42);
    assert_int_equal(local_get_runner(b->local, "two"), 0);
    local_remove_check(b->local, "one");
    assert_int_equal(local_get_runner(b->local, "one"), 0); /* late results find none */
    set_service(b, WEB, true);
    local_remove_check(b->local, "two");
    assert_string_equal(changed(b), "-two one");
    assert_int_equal(local_get_runner(b->local, "nope"), 0);
}

/* ---- syncing ---- */

static void what_is_out_of_sync(void **state) {
    struct bench *b = *state;
    set_service(b, WEB, false);
    set_check(b, "{\"Name\":\"node\",\"TTL\":\"10s\"}");
    assert_string_equal(unsynced(b, LOCAL_SERVICE), "web");
    assert_string_equal(unsynced(b, LOCAL_CHECK), "one two node");
    assert_string_equal(unsynced_of(b, "web"), "one two");
    sync_all(b);
    assert_string_equal(unsynced_of(b, "web"), "");
    local_update_check(b->local, "two", "passing", "ok");
    assert_string_equal(unsynced(b, LOCAL_CHECK), "two");
    assert_string_equal(unsynced_of(b, "web"), "two");
    local_update_check(b->local, "one", "passing", "");
    assert_string_equal(unsynced(b, LOCAL_CHECK), "two"); /* nothing has changed */
    local_mark_unsynced(b->local, LOCAL_SERVICE, "web");
    local_mark_unsynced(b->local, LOCAL_SERVICE, "nope");
    assert_string_equal(unsynced(b, LOCAL_SERVICE), "web");
    local_mark_all_unsynced(b->local);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "two node one");
    sync_all(b);
    assert_int_equal(local_update_check(b->local, "nope", "passing", ""), ERR_NOT_FOUND);
}

static void removed_ones_stay_until_told(void **state) {
    struct bench *b = *state;
    set_service(b, WEB, false);
    sync_all(b);
    local_remove_service(b->local, "web");
    changed(b);
    assert_string_equal(unsynced(b, LOCAL_SERVICE), "-web");
    assert_string_equal(unsynced(b, LOCAL_CHECK), "-one -two");
    assert_string_equal(unsynced_of(b, "web"), ""); /* they go with the service */
    assert_true(local_knows(b->local, LOCAL_SERVICE, "web"));
    uint64_t generation = 0;
    local_walk_unsynced(b->local, LOCAL_SERVICE, note_generation, &generation);
    local_begin_sync(b->local, LOCAL_SERVICE, "web");
    local_end_sync(b->local, LOCAL_SERVICE, "web", generation, false);
    assert_string_equal(unsynced(b, LOCAL_SERVICE), "-web"); /* it failed */
    sync_all(b);
    assert_false(local_knows(b->local, LOCAL_SERVICE, "web"));
    assert_false(local_knows(b->local, LOCAL_CHECK, "one"));
    set_service(b, WEB, false); /* as new */
    assert_string_equal(unsynced(b, LOCAL_SERVICE), "web");
}

static void a_change_during_a_sync(void **state) {
    struct bench *b = *state;
    uint64_t generation = 0;
    set_check(b, "{\"Name\":\"c\",\"TTL\":\"10s\"}");
    changed(b);
    local_walk_unsynced(b->local, LOCAL_CHECK, note_generation, &generation);
    local_begin_sync(b->local, LOCAL_CHECK, "c");
    assert_string_equal(unsynced(b, LOCAL_CHECK), ""); /* under way */
    local_update_check(b->local, "c", "passing", "");
    local_mark_all_unsynced(b->local);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "");
    local_end_sync(b->local, LOCAL_CHECK, "c", generation, true);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "c"); /* the newer state is to be told */
    sync_all(b);
    /* removed and registered again meanwhile */
    local_remove_check(b->local, "c");
    changed(b);
    local_walk_unsynced(b->local, LOCAL_CHECK, note_generation, &generation);
    local_begin_sync(b->local, LOCAL_CHECK, "c");
    set_check(b, "{\"Name\":\"c\",\"TTL\":\"10s\"}");
    local_end_sync(b->local, LOCAL_CHECK, "c", generation, true);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "c");
    assert_non_null(check_of(b, "c"));
    sync_all(b);
    /* removed meanwhile; its runner is told before it is forgotten */
    local_update_check(b->local, "c", "passing", "x");
    local_mark_unsynced(b->local, LOCAL_CHECK, "c");
    local_walk_unsynced(b->local, LOCAL_CHECK, note_generation, &generation);
    local_begin_sync(b->local, LOCAL_CHECK, "c");
    local_remove_check(b->local, "c");
    local_end_sync(b->local, LOCAL_CHECK, "c", generation, true);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "-c");
    local_walk_unsynced(b->local, LOCAL_CHECK, sync_one, b);
    assert_true(local_knows(b->local, LOCAL_CHECK, "c"));
    assert_string_equal(changed(b), "-c");
    sync_all(b);
    assert_false(local_knows(b->local, LOCAL_CHECK, "c"));
}

/* What is told of a check that goes without its service. */
static uint64_t tell_alone(struct bench *b, const char *id) {
    uint64_t generation = 0;
    local_walk_unsynced(b->local, LOCAL_CHECK, note_generation, &generation);
    local_begin_sync(b->local, LOCAL_CHECK, id);
    local_note_alone(b->local, id);
    return generation;
}

static void a_check_that_may_come_before_its_service(void **state) {
    struct bench *b = *state;
    uint64_t service = 0, check;
    set_service(b, WEB, false);
    sync_all(b);
    local_mark_unsynced(b->local, LOCAL_SERVICE, "web");
    local_walk_unsynced(b->local, LOCAL_SERVICE, note_generation, &service);
    local_begin_sync(b->local, LOCAL_SERVICE, "web");
    local_update_check(b->local, "one", "warning", "");
    check = tell_alone(b, "one");
    local_end_sync(b->local, LOCAL_CHECK, "one", check, true);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "");
    local_end_sync(b->local, LOCAL_SERVICE, "web", service, true);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "one");
    sync_all(b);
    /* Its own answer comes last. */
    local_mark_unsynced(b->local, LOCAL_SERVICE, "web");
    local_begin_sync(b->local, LOCAL_SERVICE, "web");
    local_mark_unsynced(b->local, LOCAL_CHECK, "one");
    check = tell_alone(b, "one");
    local_end_sync(b->local, LOCAL_SERVICE, "web", service, true);
    local_end_sync(b->local, LOCAL_CHECK, "one", check, true);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "one");
    sync_all(b);
    /* Nothing of the service was under way. */
    local_mark_unsynced(b->local, LOCAL_CHECK, "one");
    check = tell_alone(b, "one");
    local_end_sync(b->local, LOCAL_CHECK, "one", check, true);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "");
}

static void outputs_are_deferred(void **state) {
    struct bench *b = *state;
    uint64_t generation = 0;
    set_service(b, WEB, false);
    sync_all(b);
    local_update_check(b->local, "one", "passing", "1 ms");
    local_update_check(b->local, "one", "passing", "2 ms");
    assert_string_equal(check_of(b, "one")->output, "2 ms"); /* readers see it at once */
    assert_string_equal(unsynced(b, LOCAL_CHECK), "");
    local_mark_outputs_unsynced(b->local);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "one");
    sync_all(b);
    local_mark_outputs_unsynced(b->local);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "");
    /* A new status carries the output with it: then it is not told again. */
    local_update_check(b->local, "one", "passing", "3 ms");
    local_update_check(b->local, "one", "warning", "3 ms");
    assert_string_equal(unsynced(b, LOCAL_CHECK), "one");
    sync_all(b);
    local_mark_outputs_unsynced(b->local);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "");
    /* One that changes while an attempt is under way is not lost. */
    local_update_check(b->local, "one", "passing", "3 ms");
    local_walk_unsynced(b->local, LOCAL_CHECK, note_generation, &generation);
    local_begin_sync(b->local, LOCAL_CHECK, "one");
    local_update_check(b->local, "one", "passing", "4 ms");
    local_end_sync(b->local, LOCAL_CHECK, "one", generation, true);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "");
    local_mark_outputs_unsynced(b->local);
    assert_string_equal(unsynced(b, LOCAL_CHECK), "one");
}

/* As the agent does it: with a service the checks that are out of sync go along. */
static bool begin_with_checks(enum local_kind kind, const char *id, bool gone, uint64_t generation,
                              void *context) {
    struct bench *b = context;
    (void)gone;
    (void)generation;
    local_begin_sync(b->local, kind, id);
    if (kind == LOCAL_SERVICE) {
        local_walk_unsynced_of(b->local, id, begin_with_checks, b);
    }
    return true;
}

static void walks_may_begin_syncs(void **state) {
    struct bench *b = *state;
    for (int i = 0; i < 5; i++) {
        char json[256];
        snprintf(json, sizeof json,
                 "{\"Name\":\"s%d\",\"Checks\":[{\"CheckID\":\"a%d\",\"TTL\":\"1s\"},"
                 "{\"CheckID\":\"b%d\",\"TTL\":\"1s\"}]}",
                 i, i, i);
        set_service(b, json, false);
    }
    set_check(b, "{\"Name\":\"node\",\"TTL\":\"10s\"}");
    local_walk_unsynced(b->local, LOCAL_SERVICE, begin_with_checks, b);
    assert_string_equal(unsynced(b, LOCAL_SERVICE), "");
    assert_string_equal(unsynced(b, LOCAL_CHECK), "node");
}

static bool sync_counted(enum local_kind kind, const char *id, bool gone, uint64_t generation,
                         void *context) {
    struct bench *b = context;
    assert_true(strlen(b->seen) < 20); /* it ends */
    note(kind, id, gone, generation, b);
    sync_one(kind, id, gone, generation, b);
    return true;
}

/* A sync that ends within the walk, as when the catalog is found to have it, ends for good, also
 * before the runners have followed. */
static void a_walk_ends(void **state) {
    struct bench *b = *state;
    set_service(b, WEB, false);
    b->seen[0] = '\0';
    local_walk_unsynced(b->local, LOCAL_CHECK, sync_counted, b);
    assert_string_equal(b->seen, "one two");
    assert_string_equal(unsynced(b, LOCAL_CHECK), "");
    assert_string_equal(changed(b), "two one");
}

/* ---- readers ---- */

struct reading {
    struct bench *bench;
    _Atomic bool stop;
};

static bool count_check(const struct catalog_check *check, void *context) {
    *(unsigned *)context += strcmp(check->status, check->output) != 0;
    return true;
}

static bool count_service(const struct catalog_service *service, void *context) {
    *(unsigned *)context += strcmp(service->node, "agent-1") != 0;
    return true;
}

static void *read_views(void *context) {
    struct reading *reading = context;
    unsigned wrong = 0;
    while (!atomic_load(&reading->stop)) {
        epoch_enter(reading->bench->epoch);
        const struct local_view *view = local_view(reading->bench->local);
        local_walk_checks(view, count_check, &wrong);
        local_walk_services(view, count_service, &wrong);
        epoch_exit(reading->bench->epoch);
    }
    return (void *)(uintptr_t)wrong;
}

static void readers_beside_the_writer(void **state) {
    struct bench *b = *state;
    struct reading reading = {.bench = b};
    static const char *const statuses[] = {"passing", "warning", "critical"};
    pthread_t threads[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, read_views, &reading), 0);
    }
    for (int i = 0; i < 2000; i++) {
        char json[128];
        snprintf(json, sizeof json,
                 "{\"Name\":\"s\",\"Check\":{\"CheckID\":\"c%d\",\"TTL\":\"1s\"}}", i % 5);
        set_service(b, json, i % 3 == 0);
        for (int c = 0; c < 5; c++) {
            snprintf(json, sizeof json, "c%d", c);
            local_update_check(b->local, json, statuses[i % 3], statuses[i % 3]);
        }
        if (i % 100 == 99) {
            local_remove_service(b->local, "s");
        }
        local_publish(b->local);
    }
    atomic_store(&reading.stop, true);
    for (int i = 0; i < 2; i++) {
        void *wrong;
        pthread_join(threads[i], &wrong);
        assert_null(wrong);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_bench, close_bench)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(set_and_remove),
        TEST(bare_checks),
        TEST(registered_again),
        TEST(runners_follow_definitions),
        TEST(what_is_out_of_sync),
        TEST(removed_ones_stay_until_told),
        TEST(a_change_during_a_sync),
        TEST(a_check_that_may_come_before_its_service),
        TEST(outputs_are_deferred),
        TEST(walks_may_begin_syncs),
        TEST(a_walk_ends),
        TEST(readers_beside_the_writer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
