/* The agent's own registrations: which checks belong together, and the clock of
 * DeregisterCriticalServiceAfter (contract 11.5). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/duration.h"
#include "catalog/local.h"

struct fixture {
    struct epoch *epoch;
    struct local *local;
    struct arena arena;
};

static int set_up(void **state) {
    static struct fixture fixture;
    fixture.epoch = epoch_create();
    fixture.local = local_create(fixture.epoch, "n1");
    arena_init(&fixture.arena);
    *state = &fixture;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    local_destroy(fixture->local);
    epoch_destroy(fixture->epoch);
    arena_clear(&fixture->arena);
    return 0;
}

static void set_service(struct fixture *fixture, const char *json, bool replace_checks) {
    struct service_definition service;
    struct err_text text;
    assert_int_equal(definition_parse_service(json, strlen(json), &fixture->arena, &service, &text),
                     ERR_OK);
    local_set_service(fixture->local, &service, replace_checks);
}

static void set_check(struct fixture *fixture, const char *json) {
    struct check_definition check;
    struct err_text text;
    assert_int_equal(definition_parse_check(json, strlen(json), &fixture->arena, &check, &text),
                     ERR_OK);
    assert_int_equal(local_set_check(fixture->local, &check, true), ERR_OK);
}

static bool append_id(const struct catalog_check *check, void *context) {
    strcat(context, check->id);
    strcat(context, " ");
    return true;
}

static bool append_unsynced(enum local_kind kind, const char *id, bool gone, uint64_t generation,
                            void *context) {
    (void)kind;
    (void)gone;
    (void)generation;
    strcat(context, id);
    strcat(context, " ");
    return true;
}

static void assert_checks(struct fixture *fixture, const char *service_id, const char *ids) {
    char got[256] = "";
    local_walk_service_checks(local_next_view(fixture->local), service_id, append_id, got);
    assert_string_equal(got, ids);
    local_publish(fixture->local);
    got[0] = '\0';
    epoch_enter(fixture->epoch);
    local_walk_service_checks(local_view(fixture->local), service_id, append_id, got);
    epoch_exit(fixture->epoch);
    assert_string_equal(got, ids);
}

static void test_checks_of_a_service(void **state) {
    struct fixture *fixture = *state;
    set_service(fixture, "{\"Name\": \"a\", \"Checks\": [{\"TTL\": \"1m\"}, {\"TTL\": \"1m\"}]}",
                false);
    set_service(fixture, "{\"Name\": \"a:1\"}", false);
    set_check(fixture, "{\"Name\": \"node\", \"TTL\": \"1m\"}");
    set_check(fixture, "{\"Name\": \"x\", \"TTL\": \"1m\", \"ServiceID\": \"a\"}");
    assert_checks(fixture, "a", "service:a:1 service:a:2 x ");
    assert_checks(fixture, "", "node ");
    assert_checks(fixture, "a:1", "");

    /* A new status changes the row that both trees show. */
    local_update_check(fixture->local, "x", "passing", "fine");
    struct local_view const *view = local_next_view(fixture->local);
    assert_string_equal(local_get_check(view, "x")->status, "passing");
    assert_checks(fixture, "a", "service:a:1 service:a:2 x ");

    /* A check can move. */
    set_check(fixture, "{\"Name\": \"x\", \"TTL\": \"1m\", \"ServiceID\": \"a:1\"}");
    assert_checks(fixture, "a", "service:a:1 service:a:2 ");
    assert_checks(fixture, "a:1", "x ");
    set_check(fixture, "{\"Name\": \"x\", \"TTL\": \"1m\"}");
    assert_checks(fixture, "a:1", "");
    assert_checks(fixture, "", "node x ");
    assert_int_equal(local_remove_check(fixture->local, "x"), ERR_OK);
    assert_checks(fixture, "", "node ");

    set_service(fixture, "{\"Name\": \"a\", \"Check\": {\"CheckID\": \"new\", \"TTL\": \"1m\"}}",
                true);
    assert_checks(fixture, "a", "new ");
    assert_int_equal(local_remove_service(fixture->local, "a"), ERR_OK);
    assert_checks(fixture, "a", "");
    assert_checks(fixture, "", "node ");
}

static void append_overdue(const struct check_definition *definition, void *context) {
    strcat(context, definition->id);
    strcat(context, " ");
}

static void assert_overdue(struct fixture *fixture, int64_t now_s, const char *ids) {
    char got[256] = "";
    local_walk_overdue(fixture->local, now_s * 1000, 60 * DURATION_S, append_overdue, got);
    assert_string_equal(got, ids);
}

static void test_overdue(void **state) {
    struct fixture *fixture = *state;
    set_service(
        fixture,
        "{\"Name\": \"a\", \"Checks\": ["
        "{\"CheckID\": \"a1\", \"TTL\": \"1m\", \"DeregisterCriticalServiceAfter\": \"1s\"},"
        "{\"CheckID\": \"a2\", \"TTL\": \"1m\", \"DeregisterCriticalServiceAfter\": \"2m\"},"
        "{\"CheckID\": \"a3\", \"TTL\": \"1m\"}]}",
        false);
    /* Critical from the start, but nobody has said so yet. */
    assert_overdue(fixture, 1000000, "");
    const char *ids[] = {"a1", "a2", "a3"};
    for (int i = 0; i < 3; i++) {
        local_note_result(fixture->local, ids[i], true, 1000 * 1000);
    }
    assert_overdue(fixture, 1059, ""); /* a minute at least */
    assert_overdue(fixture, 1060, "a1 ");
    local_note_result(fixture->local, "a1", true, 1050 * 1000); /* still critical: no new start */
    assert_overdue(fixture, 1060, "a1 ");
    assert_overdue(fixture, 1120, "a1 a2 ");
    local_note_result(fixture->local, "a1", false, 1100 * 1000);
    assert_overdue(fixture, 1120, "a2 ");
    local_note_result(fixture->local, "a1", true, 1110 * 1000);
    assert_overdue(fixture, 1169, "a2 ");
    assert_overdue(fixture, 1170, "a1 a2 ");
    /* Registering it again starts it over. */
    set_check(fixture, "{\"Name\": \"a2\", \"ServiceID\": \"a\", \"TTL\": \"1m\", "
                       "\"DeregisterCriticalServiceAfter\": \"2m\"}");
    assert_overdue(fixture, 1170, "a1 ");
    local_note_result(fixture->local, "unknown", true, 1);
}

static void test_maintenance(void **state) {
    struct fixture *fixture = *state;
    struct check_definition check = definition_make_maintenance("", "", &fixture->arena);
    assert_int_equal(local_set_check(fixture->local, &check, false), ERR_OK);
    const struct catalog_check *row =
        local_get_check(local_next_view(fixture->local), "_node_maintenance");
    assert_string_equal(row->name, "Node Maintenance Mode");
    assert_string_equal(row->type, "maintenance");
    assert_string_equal(row->status, "critical");
    assert_string_equal(row->interval, "");
    assert_string_equal(row->notes, "Maintenance mode is enabled for this node, but no reason was "
                                    "provided. This is a default message.");
    set_service(fixture, "{\"Name\": \"a\"}", false);
    check = definition_make_maintenance("a", "why", &fixture->arena);
    assert_int_equal(local_set_check(fixture->local, &check, false), ERR_OK);
    row = local_get_check(local_next_view(fixture->local), "_service_maintenance:a");
    assert_string_equal(row->notes, "why");
    assert_string_equal(row->service_name, "a");
}

/* Contract 12: the catalog's tags win with EnableTagOverride, and servers' addresses are kept. */
static void test_what_the_catalog_says_better(void **state) {
    struct fixture *fixture = *state;
    set_service(fixture,
                "{\"Name\": \"a\", \"EnableTagOverride\": true, \"Tags\": [\"old\"], "
                "\"TaggedAddresses\": {\"lan\": {\"Address\": \"1.1.1.1\"}, "
                "\"wan\": {\"Address\": \"2.2.2.2\"}}, \"Check\": {\"TTL\": \"1m\"}}",
                false);
    struct catalog_service remote = *local_get_service(local_next_view(fixture->local), "a");
    struct catalog_tagged_address addresses[] = {
        {"consul-virtual", "3.3.3.3", 1}, {"lan", "9.9.9.9", 0}, {"other", "4.4.4.4", 0}};
    const char *tags[] = {"new", "newer"};
    assert_false(local_take_remote(fixture->local, "a", &remote));
    remote.tags = (struct str_list){.v = tags, .count = 2};
    remote.tagged_addresses = addresses;
    remote.tagged_address_count = 3;
    assert_true(local_take_remote(fixture->local, "a", &remote));
    assert_false(local_take_remote(fixture->local, "a", &remote));
    const struct catalog_service *mine = local_get_service(local_next_view(fixture->local), "a");
    assert_int_equal(mine->tags.count, 2);
    assert_string_equal(mine->tags.v[1], "newer");
    assert_int_equal(mine->tagged_address_count, 3);
    assert_string_equal(mine->tagged_addresses[0].name, "consul-virtual");
    assert_string_equal(mine->tagged_addresses[1].address, "1.1.1.1");
    assert_string_equal(mine->tagged_addresses[2].name, "wan");
    assert_string_equal(
        local_get_check(local_next_view(fixture->local), "service:a")->service_tags.v[0], "new");
    /* Without EnableTagOverride ours stay. */
    set_service(fixture, "{\"Name\": \"a\", \"Tags\": [\"own\"]}", false);
    remote.tagged_address_count = 0;
    assert_false(local_take_remote(fixture->local, "a", &remote));
}

/* What a check says of its service stays true when that is registered anew without it. */
static void test_a_service_gets_another_name(void **state) {
    struct fixture *fixture = *state;
    set_service(fixture,
                "{\"ID\": \"i\", \"Name\": \"a\", \"Tags\": [\"x\"], \"Check\": {\"TTL\": \"1m\"}}",
                false);
    local_begin_sync(fixture->local, LOCAL_CHECK, "service:i");
    local_end_sync(fixture->local, LOCAL_CHECK, "service:i", 2, true);
    set_service(fixture, "{\"ID\": \"i\", \"Name\": \"b\", \"Tags\": [\"y\"]}", false);
    const struct catalog_check *check =
        local_get_check(local_next_view(fixture->local), "service:i");
    assert_string_equal(check->service_name, "b");
    assert_int_equal(check->service_tags.count, 1);
    assert_string_equal(check->service_tags.v[0], "y");
    assert_checks(fixture, "i", "service:i ");
    /* It is told again; with nothing new it is not. */
    local_begin_sync(fixture->local, LOCAL_CHECK, "service:i");
    local_end_sync(fixture->local, LOCAL_CHECK, "service:i", 4, true);
    char left[64] = "";
    set_service(fixture, "{\"ID\": \"i\", \"Name\": \"b\", \"Tags\": [\"y\"], \"Port\": 1}", false);
    local_walk_unsynced(fixture->local, LOCAL_CHECK, append_unsynced, left);
    assert_string_equal(left, "");
}

/* An entry that is in sync but for a deferred output keeps its turn. */
static void test_deferred_outputs(void **state) {
    struct fixture *fixture = *state;
    set_service(fixture, "{\"Name\": \"a\", \"Check\": {\"TTL\": \"1m\"}}", false);
    assert_int_equal(local_update_check(fixture->local, "service:a", "critical", "new"), ERR_OK);
    assert_true(local_output_is_deferred(fixture->local, "service:a"));
    local_note_in_sync(fixture->local, LOCAL_CHECK, "service:a");
    assert_true(local_output_is_deferred(fixture->local, "service:a"));
    local_mark_outputs_unsynced(fixture->local);
    assert_false(local_output_is_deferred(fixture->local, "service:a"));
    local_begin_sync(fixture->local, LOCAL_CHECK, "service:a"); /* it is out of sync again */
    local_end_sync(fixture->local, LOCAL_CHECK, "service:a", 0, false);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        CASE(test_checks_of_a_service), CASE(test_overdue),
        CASE(test_maintenance),         CASE(test_what_the_catalog_says_better),
        CASE(test_deferred_outputs),    CASE(test_a_service_gets_another_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
