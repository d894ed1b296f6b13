/* What a watch asks, and which answers are news. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <string.h>

#include "base/limits.h"
#include "checks/watch_plan.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct fixture {
    struct arena arena;
    struct watch_plan plan;
    struct watch_seen seen;
};

static int set_up(void **state) {
    static struct fixture f;
    f = (struct fixture){.seen = {0}};
    arena_init(&f.arena);
    *state = &f;
    return 0;
}

static int tear_down(void **state) {
    arena_clear(&((struct fixture *)*state)->arena);
    return 0;
}

static void plan(struct fixture *f, struct watch_plan wanted) {
    struct err_text text = {""};
    f->plan = wanted;
    f->seen = (struct watch_seen){0};
    assert_int_equal(watch_plan_judge(&f->plan, &text), ERR_OK);
}

static const char *target(struct fixture *f) {
    return watch_plan_target(&f->plan, &f->seen, 60, &f->arena);
}

/* The payload, or NULL when it is no news. */
static const char *take(struct fixture *f, long status, uint64_t index, const char *body) {
    struct err_text text = {""};
    const char *payload = NULL;
    uint64_t told = 0;
    bool news = false;
    assert_int_equal(watch_plan_take(&f->plan, &f->seen, status, index, body, strlen(body),
                                     &f->arena, &news, &payload, &told, &text),
                     ERR_OK);
    if (news) {
        assert_int_equal(told, index);
    }
    return news ? payload : NULL;
}

static void questions(void **state) {
    struct fixture *f = *state;
    const char *tags[] = {"v1", "a&b"};
    const struct {
        struct watch_plan plan;
        const char *target;
    } all[] = {
        {{.type = "key", .key = "a/b c?"}, "/v1/kv/a/b%20c%3F"},
        {{.type = "keyprefix", .prefix = "a/", .stale = true}, "/v1/kv/a/?recurse&stale"},
        {{.type = "services", .filter = "a == b"}, "/v1/catalog/services?filter=a%20%3D%3D%20b"},
        {{.type = "nodes", .datacenter = "dc2"}, "/v1/catalog/nodes?dc=dc2"},
        {{.type = "service", .service = "a/b", .tags = {tags, 2}, .passing_only = true},
         "/v1/health/service/a%2Fb?tag=v1&tag=a%26b&passing"},
        {{.type = "checks"}, "/v1/health/state/any"},
        {{.type = "checks", .state = "critical"}, "/v1/health/state/critical"},
        {{.type = "checks", .service = "web"}, "/v1/health/checks/web"},
        {{.type = "event", .name = "deploy"}, "/v1/event/list?name=deploy"},
    };
    for (size_t i = 0; i < COUNT(all); i++) {
        plan(f, all[i].plan);
        assert_string_equal(target(f), all[i].target);
    }
    plan(f, (struct watch_plan){.type = "nodes"});
    f->seen.index = 7;
    assert_string_equal(target(f), "/v1/catalog/nodes?index=7&wait=60s");
}

static void news_are_what_differs(void **state) {
    struct fixture *f = *state;
    plan(f, (struct watch_plan){.type = "nodes"});
    assert_string_equal(take(f, 200, 5, " [ { \"a b\" : \"\\\" [ \" } ]\n"),
                        "[{\"a b\":\"\\\" [ \"}]");
    assert_null(take(f, 200, 5, "[]")); /* the index says that nothing has changed */
    assert_null(take(f, 200, 6, "[{\"a b\":\"\\\" [ \"}]"));
    assert_string_equal(take(f, 200, 8, "[]"), "[]");
    assert_int_equal(f->seen.index, 8);
    /* An index that goes back: the next question does not wait. */
    assert_string_equal(take(f, 200, 3, "[1]"), "[1]");
    assert_int_equal(f->seen.index, 0);
    assert_null(take(f, 200, 3, "[1]"));
    assert_int_equal(f->seen.index, 3);
}

static void keys_have_the_order_of_the_contract(void **state) {
    struct fixture *f = *state;
    plan(f, (struct watch_plan){.type = "key", .key = "a"});
    assert_string_equal(take(f, 404, 4, ""), "null");
    assert_string_equal(take(f, 200, 6,
                             "[{\"LockIndex\":1,\"Key\":\"a\",\"Flags\":2,\"Value\":\"MQ==\","
                             "\"CreateIndex\":5,\"ModifyIndex\":6}]"),
                        "{\"Key\":\"a\",\"CreateIndex\":5,\"ModifyIndex\":6,\"LockIndex\":1,"
                        "\"Flags\":2,\"Value\":\"MQ==\",\"Session\":\"\"}");
    plan(f, (struct watch_plan){.type = "keyprefix", .prefix = "a"});
    assert_string_equal(take(f, 404, 4, ""), "[]");
    assert_string_equal(take(f, 200, 6, "[{\"Key\":\"a\",\"Value\":null}]"),
                        "[{\"Key\":\"a\",\"CreateIndex\":0,\"ModifyIndex\":0,\"LockIndex\":0,"
                        "\"Flags\":0,\"Value\":null,\"Session\":\"\"}]");
}

#define FIRST "{\"ID\":\"cb9a81ad-fff6-52ac-92a7-5f70687805ec\",\"Name\":\"a,]\"}"
#define SECOND "{\"ID\":\"00000000-0000-0001-0000-000000000000\",\"Name\":\"b\"}"
#define THIRD "{\"ID\":\"00000000-0000-0009-0000-000000000000\",\"Name\":\"c\"}"

static void events_are_told_once(void **state) {
    struct fixture *f = *state;
    plan(f, (struct watch_plan){.type = "event"});
    assert_string_equal(take(f, 200, 1, "[]"), "[]"); /* the first answer is always told */
    /* Contract 14.2 has this id and this index. */
    assert_string_equal(take(f, 200, 6430540886266763072u, "[" FIRST "]"), "[" FIRST "]");
    assert_string_equal(target(f), "/v1/event/list?index=6430540886266763072&wait=60s");
    /* A smaller index is no way back. */
    assert_string_equal(take(f, 200, 9, "[" FIRST "," SECOND "," THIRD "]"),
                        "[" SECOND "," THIRD "]");
    assert_null(take(f, 200, 9, "[" FIRST "," SECOND "," THIRD "]"));
    /* The last that was seen has left the ring. */
    assert_string_equal(take(f, 200, 1, "[" FIRST "," SECOND "]"), "[" FIRST "," SECOND "]");
}

static void what_is_no_answer(void **state) {
    struct fixture *f = *state;
    struct err_text text = {""};
    const char *payload;
    uint64_t index;
    bool news;
    plan(f, (struct watch_plan){.type = "key", .key = "a"});
    assert_int_equal(watch_plan_take(&f->plan, &f->seen, 500, 1, "No cluster leader", 17, &f->arena,
                                     &news, &payload, &index, &text),
                     ERR_REFUSED);
    assert_string_equal(text.s, "Unexpected response code: 500 (No cluster leader)");
    assert_int_not_equal(watch_plan_take(&f->plan, &f->seen, 200, 1, "[{", 2, &f->arena, &news,
                                         &payload, &index, &text),
                         ERR_OK);
    assert_false(f->seen.any);
    plan(f, (struct watch_plan){.type = "nodes"});
    assert_int_equal(watch_plan_take(&f->plan, &f->seen, 404, 1, "", 0, &f->arena, &news, &payload,
                                     &index, &text),
                     ERR_REFUSED);
}

static void what_is_no_watch(void **state) {
    (void)state;
    const char *tags[] = {"v1"};
    const struct {
        struct watch_plan plan;
        const char *sentence;
    } all[] = {
        {{.type = NULL}, "Watch type must be specified"},
        {{.type = "x"}, "Unsupported watch type: x"},
        {{.type = "key"}, "Must specify a single key to watch"},
        {{.type = "keyprefix"}, "Must specify a single prefix to watch"},
        {{.type = "service"}, "Must specify a single service to watch"},
        {{.type = "checks", .service = "a", .state = "any"}, "Cannot specify service and state"},
        {{.type = "event", .filter = "x", .stale = true}, "Invalid parameters: [filter stale]"},
        {{.type = "nodes", .key = "x", .tags = {tags, 1}, .passing_only = true},
         "Invalid parameters: [key tag passingonly]"},
    };
    for (size_t i = 0; i < COUNT(all); i++) {
        struct watch_plan wrong = all[i].plan;
        struct err_text text = {""};
        assert_int_equal(watch_plan_judge(&wrong, &text), ERR_INVALID);
        assert_string_equal(text.s, all[i].sentence);
    }
}

/* A question has to fit into a request's first line. */
static void long_ones(void **state) {
    struct fixture *f = *state;
    struct watch_plan wanted = {.type = "key"};
    struct err_text text = {""};
    char *key = arena_alloc(&f->arena, 1024 * 1024);
    memset(key, '%', 1024 * 1024 - 1);
    key[1024 * 1024 - 1] = '\0';
    wanted.key = key;
    assert_int_equal(watch_plan_judge(&wanted, &text), ERR_INVALID);
    assert_string_equal(text.s, "the parameters are too long for a watch");
    key[LIMIT_WATCH_PARAMETERS_BYTES] = '\0';
    plan(f, (struct watch_plan){.type = "key", .key = key});
    assert_int_equal(strlen(target(f)), strlen("/v1/kv/") + 3 * LIMIT_WATCH_PARAMETERS_BYTES);
}

static void pauses_grow(void **state) {
    (void)state;
    assert_int_equal(watch_retry_s(1), 5);
    assert_int_equal(watch_retry_s(2), 20);
    assert_int_equal(watch_retry_s(6), 180);
    assert_int_equal(watch_retry_s(1000000), 180);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(questions, set_up, tear_down),
        cmocka_unit_test_setup_teardown(news_are_what_differs, set_up, tear_down),
        cmocka_unit_test_setup_teardown(keys_have_the_order_of_the_contract, set_up, tear_down),
        cmocka_unit_test_setup_teardown(events_are_told_once, set_up, tear_down),
        cmocka_unit_test_setup_teardown(what_is_no_answer, set_up, tear_down),
        cmocka_unit_test(what_is_no_watch),
        cmocka_unit_test_setup_teardown(long_ones, set_up, tear_down),
        cmocka_unit_test(pauses_grow),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
