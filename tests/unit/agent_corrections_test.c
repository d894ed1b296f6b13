/* What an agent knows better than the rows that it keeps: rows, members and its own registrations
 * go in, and the test sees what a lookup finds. */
#include <stdio.h>

#include "tests/unit/catalog_support.h"

#include "agent/corrections.h"

#define NODES 5
#define SELF 0

enum { PASSING, WARNING, CRITICAL };

static const char *const statuses[] = {"passing", "warning", "critical"};

struct fixture {
    struct epoch *epoch;
    struct catalog *source, *own;
    struct mirror_feed *feed;
    struct mirror *mirror;
    uint64_t index, own_index;
    struct corrections corrections;
    struct corrections_facts facts;
    struct backend_member members[NODES];
    struct str_pair tags[NODES];
    struct backend_pool pool;
    const char *tag; /* of what is put; NULL: none */
    char ids[NODES][UUID_TEXT_BYTES], names[NODES][8];
};

static void put(struct fixture *f, struct catalog *catalog, uint64_t *index, int node,
                const char *service, int status) {
    char check_id[32];
    struct err_text text;
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    struct catalog_service row = service_row("", service, service);
    row.tags = (struct str_list){&f->tag, f->tag != NULL};
    snprintf(check_id, sizeof check_id, "c-%s", service);
    struct catalog_check checks[2] = {check_row("", check_id, service, statuses[status]),
                                      check_row("", CATALOG_AGENT_CHECK, "", "passing")};
    command.reg.node = node_row(f->names[node], "10.0.0.1");
    command.reg.node.id = f->ids[node];
    command.reg.service = &row;
    command.reg.checks = checks;
    command.reg.check_count = catalog == f->own ? 1 : 2;
    assert_int_equal(apply_command(catalog, ++*index, &command, &text), ERR_OK);
    catalog_publish(catalog);
}

static void take(struct catalog *catalog, uint64_t *index, const char *node, const char *service) {
    struct err_text text;
    struct catalog_command command = {
        .kind = COMMAND_DEREGISTER, .dereg = {.node = node, .service_id = service, .check_id = ""}};
    assert_int_equal(apply_command(catalog, ++*index, &command, &text), ERR_OK);
    catalog_publish(catalog);
}

/* The source's next word. */
static void tell(struct fixture *f) {
    while (mirror_feed_has_news(f->feed, f->source)) {
        struct mirror_job job;
        mirror_feed_plan(f->feed, f->source, 100000, &job);
        epoch_enter(f->epoch);
        mirror_job_run(&job, catalog_view(f->source));
        epoch_exit(f->epoch);
        mirror_feed_take(f->feed, &job);
        assert_int_equal(mirror_apply(f->mirror, (uint8_t *)job.out.data, job.out.count,
                                      job.whole ? job.index : 0),
                         ERR_OK);
        mirror_job_clear(&job);
    }
}

static void begin(struct fixture *f) {
    *f = (struct fixture){.epoch = epoch_create()};
    f->source = catalog_create(f->epoch, NULL);
    f->own = catalog_create(f->epoch, NULL);
    f->feed = mirror_feed_create(false);
    f->mirror = mirror_create(f->epoch, false);
    catalog_note_changes(f->source, 1 << 20);
    mirror_want(f->mirror, "web", 0);
    assert_int_equal(mirror_feed_add(f->feed, "web"), ERR_OK);
    f->pool = (struct backend_pool){.members = f->members, .count = NODES, .version = 1};
    for (int i = 0; i < NODES; i++) {
        snprintf(f->names[i], sizeof f->names[i], "n%d", i);
        snprintf(f->ids[i], sizeof f->ids[i], "aaaaaaaa-0000-0000-0000-00000000000%d", i);
        f->tags[i] = (struct str_pair){"id", f->ids[i]};
        f->members[i] = (struct backend_member){.name = f->names[i],
                                                .ip = "10.0.0.1",
                                                .status = MEMBER_ALIVE,
                                                .tags = {&f->tags[i], 1, true}};
    }
    f->facts = (struct corrections_facts){
        .old = true, .node = f->names[SELF], .own_version = 1, .pool = &f->pool};
}

static void end(struct fixture *f) {
    mirror_feed_destroy(f->feed);
    mirror_destroy(f->mirror);
    catalog_destroy(f->source);
    catalog_destroy(f->own);
    epoch_destroy(f->epoch);
}

static void correct(struct fixture *f) {
    epoch_enter(f->epoch);
    f->facts.own = catalog_view(f->own);
    corrections_make(&f->corrections, f->mirror, &f->facts);
    epoch_exit(f->epoch);
}

/* What changes is a new version, and half a second later. */
static void status(struct fixture *f, int member, uint8_t status) {
    f->members[member].status = status;
    f->pool.version++;
    f->facts.now_ms += 500;
}

struct found {
    char text[256];
};

static bool list(const struct catalog_instance *instance, void *context) {
    struct found *found = context;
    size_t used = strlen(found->text);
    snprintf(found->text + used, sizeof found->text - used, "%s%s:%s", used > 0 ? " " : "",
             instance->node->name, statuses[instance->health]);
    return true;
}

static void expect(struct fixture *f, const char *wanted) {
    struct found found = {""};
    correct(f);
    epoch_enter(f->epoch);
    view_walk_instances(catalog_view(mirror_catalog(f->mirror)), "web", list, &found);
    epoch_exit(f->epoch);
    assert_string_equal(found.text, wanted);
}

static void who_failed_is_left_out_where_another_is_as_healthy(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    put(&f, f.source, &f.index, 1, "web", PASSING);
    put(&f, f.source, &f.index, 2, "web", PASSING);
    put(&f, f.source, &f.index, 3, "web", WARNING);
    tell(&f);
    expect(&f, "n1:passing n2:passing n3:warning");
    status(&f, 1, MEMBER_FAILED);
    expect(&f, "n2:passing n3:warning");
    status(&f, 2, MEMBER_FAILED); /* the one that warns is not as good as they were */
    expect(&f, "n1:passing n2:passing n3:warning");
    status(&f, 3, MEMBER_FAILED); /* it may be this agent that is cut off */
    expect(&f, "n1:passing n2:passing n3:warning");
    status(&f, 2, MEMBER_ALIVE);
    expect(&f, "n2:passing");
    end(&f);
}

/* Nor is a name by tag left without an answer. */
static void another_that_lacks_its_tags_is_not_as_good(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    f.tag = "primary";
    put(&f, f.source, &f.index, 1, "web", PASSING);
    f.tag = "replica";
    put(&f, f.source, &f.index, 2, "web", PASSING);
    put(&f, f.source, &f.index, 3, "web", PASSING);
    tell(&f);
    f.members[1].status = f.members[2].status = MEMBER_FAILED;
    expect(&f, "n1:passing n3:passing");
    assert_true(view_is_corrected(catalog_view(mirror_catalog(f.mirror))));
    status(&f, 2, MEMBER_ALIVE);
    expect(&f, "n1:passing n2:passing n3:passing");
    assert_false(view_is_corrected(catalog_view(mirror_catalog(f.mirror))));
    end(&f);
}

static void who_has_left_is_gone(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    put(&f, f.source, &f.index, 1, "web", PASSING);
    tell(&f);
    expect(&f, "n1:passing");
    status(&f, 1, MEMBER_LEFT);
    expect(&f, "");
    status(&f, 1, MEMBER_ALIVE);
    expect(&f, "n1:passing");
    end(&f);
}

static void who_is_back_is_passing(void **state) {
    struct fixture f;
    struct err_text text;
    (void)state;
    begin(&f);
    put(&f, f.source, &f.index, 1, "web", PASSING);
    struct catalog_check check = check_row("", CATALOG_AGENT_CHECK, "", "critical");
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    command.reg.node = node_row("n1", "10.0.0.1");
    command.reg.skip_node_update = true;
    command.reg.checks = &check;
    command.reg.check_count = 1;
    assert_int_equal(apply_command(f.source, ++f.index, &command, &text), ERR_OK);
    catalog_publish(f.source);
    tell(&f);
    f.members[1].status = MEMBER_FAILED;
    expect(&f, "n1:critical");
    status(&f, 1, MEMBER_ALIVE);
    expect(&f, "n1:passing");
    end(&f);
}

static void its_own_registrations_are_as_it_has_them(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    put(&f, f.source, &f.index, SELF, "web", PASSING);
    put(&f, f.source, &f.index, 1, "web", PASSING);
    tell(&f);
    put(&f, f.own, &f.own_index, SELF, "web", WARNING);
    put(&f, f.own, &f.own_index, SELF, "other", PASSING); /* nobody asked for it */
    expect(&f, "n0:warning n1:passing");
    assert_int_equal(mirror_instances(f.mirror), 2);
    take(f.own, &f.own_index, "n0", "web");
    f.facts.own_version++;
    expect(&f, "n0:warning n1:passing"); /* not twice in half a second */
    f.facts.now_ms += 500;
    expect(&f, "n1:passing");
    status(&f, 1, MEMBER_FAILED);
    expect(&f, "n1:passing");
    put(&f, f.own, &f.own_index, SELF, "web", PASSING); /* a service that the rows lack here */
    f.facts.own_version++;
    f.facts.now_ms += 500;
    expect(&f, "n0:passing");
    end(&f);
}

static void the_source_s_word_counts(void **state) {
    struct fixture f;
    (void)state;
    begin(&f);
    put(&f, f.source, &f.index, 1, "web", PASSING);
    put(&f, f.source, &f.index, 2, "web", PASSING);
    tell(&f);
    f.members[1].status = MEMBER_FAILED;
    expect(&f, "n2:passing");
    /* Rows come, but say not how it is now: they are corrected anew, and at once. */
    put(&f, f.source, &f.index, 3, "web", PASSING);
    tell(&f);
    assert_false(mirror_is_corrected(f.mirror));
    expect(&f, "n2:passing n3:passing");
    f.facts.old = false;
    expect(&f, "n1:passing n2:passing n3:passing");
    f.facts.old = true;
    expect(&f, "n2:passing n3:passing");
    end(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(who_failed_is_left_out_where_another_is_as_healthy),
        cmocka_unit_test(another_that_lacks_its_tags_is_not_as_good),
        cmocka_unit_test(who_has_left_is_gone),
        cmocka_unit_test(who_is_back_is_passing),
        cmocka_unit_test(its_own_registrations_are_as_it_has_them),
        cmocka_unit_test(the_source_s_word_counts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
