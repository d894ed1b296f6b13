/* The leader's part for members: what is judged of one member against a catalog, and the driver on
 * a group of servers, whose pool the test plays. */
#include "tests/unit/agent_group_support.h"

#include "agent/reconcile.h"
#include "agent/reconcile_judge.h"

#define ID_A "aaaaaaaa-0000-0000-0000-000000000001"
#define ID_B "bbbbbbbb-0000-0000-0000-000000000002"

enum { ALIVE = MEMBER_ALIVE, LEFT = MEMBER_LEFT, FAILED = MEMBER_FAILED };

static struct backend_member member_of(const char *name, const char *id, const char *ip,
                                       uint8_t status, struct str_pair *pair) {
    *pair = (struct str_pair){"id", id};
    return (struct backend_member){
        .name = name, .ip = ip, .port = 8301, .status = status, .tags = {pair, 1, true}};
}

/* ---- one member, one catalog ---- */

struct fixture {
    struct epoch *epoch;
    struct catalog *catalog;
    uint64_t index;
    struct catalog_result result; /* of the last command */
    const struct backend_member *also;
};

static void fixture_init(struct fixture *f) {
    *f = (struct fixture){.epoch = epoch_create()};
    f->catalog = catalog_create(f->epoch, NULL);
}

static void fixture_clear(struct fixture *f) {
    catalog_result_clear(&f->result);
    catalog_destroy(f->catalog);
    epoch_destroy(f->epoch);
}

static enum err apply(struct fixture *f, const struct catalog_command *command) {
    struct buf bytes;
    struct err_text text;
    buf_init(&bytes, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &bytes);
    catalog_result_clear(&f->result);
    enum err err = catalog_apply(f->catalog, ++f->index, (const uint8_t *)bytes.data, bytes.count,
                                 &f->result, &text);
    buf_clear(&bytes);
    catalog_publish(f->catalog);
    return err;
}

/* An agent's own words about itself: node with meta, a service, and what else is there. */
static void agent_registers(struct fixture *f, const char *name, const char *id, const char *ip) {
    struct str_pair meta = {"rack", "r1"}, tagged = {"lan", ip};
    struct catalog_service service = {.node = "",
                                      .id = "web",
                                      .name = "web",
                                      .address = "",
                                      .socket_path = "",
                                      .weight_passing = 1,
                                      .weight_warning = 1,
                                      .kind = "",
                                      .region = "",
                                      .zone = "",
                                      .proxy = "",
                                      .connect = ""};
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    command.reg.node = (struct catalog_node){.id = id,
                                             .name = name,
                                             .address = ip,
                                             .meta = {&meta, 1, true},
                                             .tagged_addresses = {&tagged, 1, true},
                                             .region = "",
                                             .zone = ""};
    command.reg.service = &service;
    assert_int_equal(apply(f, &command), ERR_OK);
}

/* One member is judged: the pool has it, and whom the test adds. */
static enum reconcile_verdict judge(struct fixture *f, const struct backend_member *member,
                                    struct arena *arena, struct catalog_command *ret_command) {
    struct backend_member all[2] = {*member};
    struct backend_pool pool = {.members = all, .count = 1};
    struct reconcile_members members;
    if (f->also != NULL) {
        all[pool.count++] = *f->also;
    }
    reconcile_members_init(&members, &pool, arena);
    return reconcile_judge_member(catalog_view(f->catalog), &members, member, arena, ret_command);
}

/* Judges, applies what is to be told, and sees that then nothing is. */
static enum reconcile_verdict settle(struct fixture *f, const struct backend_member *member) {
    struct arena arena;
    struct catalog_command command;
    arena_init(&arena);
    epoch_enter(f->epoch);
    enum reconcile_verdict verdict = judge(f, member, &arena, &command);
    if (verdict != RECONCILE_SAME && verdict != RECONCILE_CLASH) {
        assert_int_equal(apply(f, &command), ERR_OK);
        assert_int_equal(f->result.failure_count, 0);
        assert_int_equal(judge(f, member, &arena, &command), RECONCILE_SAME);
    }
    epoch_exit(f->epoch);
    arena_clear(&arena);
    return verdict;
}

static const char *health(struct fixture *f, const char *node) {
    const struct catalog_check *check =
        view_get_check(catalog_view(f->catalog), node, CATALOG_AGENT_CHECK);
    return check != NULL ? check->status : "none";
}

static void test_life(void **state) {
    struct fixture f;
    struct str_pair pair;
    (void)state;
    fixture_init(&f);
    struct backend_member member = member_of("n1", ID_A, "10.0.0.1", FAILED, &pair);
    assert_int_equal(settle(&f, &member), RECONCILE_SAME); /* never seen alive */
    member.status = ALIVE;
    assert_int_equal(settle(&f, &member), RECONCILE_JOINED);
    assert_string_equal(health(&f, "n1"), "passing");
    agent_registers(&f, "n1", ID_A, "10.0.0.1");
    member.status = FAILED;
    assert_int_equal(settle(&f, &member), RECONCILE_FAILED);
    assert_string_equal(health(&f, "n1"), "critical");
    member.status = ALIVE;
    assert_int_equal(settle(&f, &member), RECONCILE_JOINED);
    assert_string_equal(health(&f, "n1"), "passing");
    assert_non_null(view_get_service(catalog_view(f.catalog), "n1", "web"));
    member.status = LEFT;
    assert_int_equal(settle(&f, &member), RECONCILE_LEFT);
    assert_null(view_get_node(catalog_view(f.catalog), "n1"));
    fixture_clear(&f);
}

/* Its agent was first, or registers while the leader's command is under way: its words stay. */
static void test_agents_fields_stay(void **state) {
    struct fixture f;
    struct str_pair pair;
    struct arena arena;
    struct catalog_command command;
    (void)state;
    fixture_init(&f);
    arena_init(&arena);
    epoch_enter(f.epoch); /* commands are kept across others */
    struct backend_member member = member_of("n1", ID_A, "10.0.0.1", ALIVE, &pair);
    assert_int_equal(judge(&f, &member, &arena, &command), RECONCILE_JOINED);
    agent_registers(&f, "n1", ID_A, "10.0.0.1");
    assert_int_equal(apply(&f, &command), ERR_OK);
    const struct catalog_node *node = view_get_node(catalog_view(f.catalog), "n1");
    assert_int_equal(node->meta.count, 1);
    assert_string_equal(health(&f, "n1"), "passing");
    /* It moves: address alone. */
    member.ip = "10.0.0.9";
    assert_int_equal(settle(&f, &member), RECONCILE_MOVED);
    node = view_get_node(catalog_view(f.catalog), "n1");
    assert_string_equal(node->address, "10.0.0.9");
    assert_string_equal(str_map_get(&node->meta, "rack"), "r1");
    assert_int_equal(node->tagged_addresses.count, 1);
    /* The agent's own registration comes between: the leader's fails, and judges anew. */
    member.ip = "10.0.0.10";
    assert_int_equal(judge(&f, &member, &arena, &command), RECONCILE_MOVED);
    agent_registers(&f, "n1", ID_A, "10.0.0.10");
    assert_int_equal(apply(&f, &command), ERR_OK);
    assert_int_equal(f.result.failure_count, 1);
    assert_int_equal(settle(&f, &member), RECONCILE_SAME);
    /* A node that was deregistered meanwhile does not come back as a sick one. */
    member.status = FAILED;
    assert_int_equal(judge(&f, &member, &arena, &command), RECONCILE_FAILED);
    struct catalog_node named = {.name = "n1"};
    struct catalog_command gone = reconcile_deregister(&named);
    assert_int_equal(apply(&f, &gone), ERR_OK);
    assert_int_equal(apply(&f, &command), ERR_OK);
    assert_null(view_get_node(catalog_view(f.catalog), "n1"));
    epoch_exit(f.epoch);
    arena_clear(&arena);
    fixture_clear(&f);
}

/* Its owner is dead, or was forgotten by all who lead now. */
static void test_a_machine_that_was_wiped(void **state) {
    struct fixture f;
    struct str_pair pair, new_pair;
    (void)state;
    fixture_init(&f);
    struct backend_member was = member_of("n1", ID_A, "10.0.0.1", ALIVE, &pair);
    struct backend_member is = member_of("n1", ID_B, "10.0.0.1", ALIVE, &new_pair);
    agent_registers(&f, "n1", ID_A, "10.0.0.1");
    assert_int_equal(settle(&f, &was), RECONCILE_JOINED);
    f.also = &was; /* alive, on another port: two of one name */
    assert_int_equal(settle(&f, &is), RECONCILE_CLASH);
    f.also = NULL;
    assert_int_equal(settle(&f, &is), RECONCILE_MOVED);
    const struct catalog_node *node = view_get_node(catalog_view(f.catalog), "n1");
    assert_string_equal(node->id, ID_B);
    assert_int_equal(node->meta.count, 0);
    fixture_clear(&f);
}

static void test_names_and_ids(void **state) {
    struct fixture f;
    struct str_pair pair, other_pair;
    (void)state;
    fixture_init(&f);
    struct backend_member a = member_of("n1", ID_A, "10.0.0.1", ALIVE, &pair);
    struct backend_member b = member_of("N1", ID_B, "10.0.0.2", ALIVE, &other_pair);
    agent_registers(&f, "n1", ID_A, "10.0.0.1");
    assert_int_equal(settle(&f, &a), RECONCILE_JOINED);
    /* Another machine of this name: neither is harmed while the first lives. */
    assert_int_equal(settle(&f, &b), RECONCILE_CLASH);
    b.status = FAILED;
    assert_int_equal(settle(&f, &b), RECONCILE_SAME);
    b.status = LEFT;
    assert_int_equal(settle(&f, &b), RECONCILE_SAME);
    assert_string_equal(health(&f, "n1"), "passing");
    /* The first is dead: the second takes the name. What the first left of itself goes. */
    b.status = ALIVE;
    a.status = FAILED;
    assert_int_equal(settle(&f, &a), RECONCILE_FAILED);
    assert_int_equal(settle(&f, &b), RECONCILE_MOVED);
    const struct catalog_node *node = view_get_node(catalog_view(f.catalog), "n1");
    assert_string_equal(node->id, ID_B);
    assert_string_equal(node->address, "10.0.0.2");
    assert_int_equal(node->meta.count, 0);
    assert_string_equal(health(&f, "n1"), "passing");
    assert_int_equal(settle(&f, &a), RECONCILE_SAME); /* it has no node any more */
    /* A member changes its name: the old node goes. */
    b.name = "n2";
    assert_int_equal(settle(&f, &b), RECONCILE_JOINED);
    assert_null(view_get_node(catalog_view(f.catalog), "n1"));
    assert_string_equal(view_get_node(catalog_view(f.catalog), "n2")->id, ID_B);
    /* It fails under a name that the catalog has not seen yet. */
    b.name = "n3";
    b.status = FAILED;
    assert_int_equal(settle(&f, &b), RECONCILE_FAILED);
    assert_string_equal(health(&f, "n2"), "critical");
    fixture_clear(&f);
}

static void test_forgotten(void **state) {
    struct fixture f;
    struct str_pair pair;
    struct arena arena;
    struct reconcile_members members;
    (void)state;
    fixture_init(&f);
    arena_init(&arena);
    struct backend_member a = member_of("n1", ID_A, "10.0.0.1", ALIVE, &pair);
    struct backend_pool pool = {.members = &a, .count = 1}, none = {.count = 0};
    agent_registers(&f, "api", "", "10.0.0.7"); /* through the API: no serfHealth */
    assert_int_equal(settle(&f, &a), RECONCILE_JOINED);
    const struct catalog_view *view = catalog_view(f.catalog);
    reconcile_members_init(&members, &pool, &arena);
    assert_false(reconcile_is_forgotten(view, view_get_node(view, "n1"), &members));
    assert_false(reconcile_is_forgotten(view, view_get_node(view, "api"), &members));
    reconcile_members_init(&members, &none, &arena);
    assert_true(reconcile_is_forgotten(view, view_get_node(view, "n1"), &members));
    assert_false(reconcile_is_forgotten(view, view_get_node(view, "api"), &members));
    arena_clear(&arena);
    fixture_clear(&f);
}

/* ---- the driver ---- */

struct duties {
    struct world world;
    struct backend backend[SERVERS_MAX];
    struct reconcile *reconcile[SERVERS_MAX];
    bool leads[SERVERS_MAX];
    struct backend_pool pools[2]; /* published in turn, so that a change is seen */
    struct backend_member members[4];
    struct str_pair pairs[4];
    unsigned published;
    uint64_t last_index;
};

static struct duties duties;

static void duties_turn_end(void *context) {
    struct world *world = context;
    world_turn_end(world);
    for (unsigned i = 0; i < world->count; i++) {
        struct group *group = world->servers[i].group;
        if (duties.reconcile[i] != NULL) {
            bool leads = group != NULL && group_leads(group);
            if (leads != duties.leads[i]) {
                duties.leads[i] = leads;
                reconcile_lead(duties.reconcile[i], leads);
            }
            reconcile_turn_end(duties.reconcile[i]);
        }
    }
}

static void publish(void) {
    struct backend_pool *pool = &duties.pools[duties.published++ % 2];
    *pool = (struct backend_pool){
        .members = duties.members, .count = 4, .self = 3, .version = duties.published};
    for (unsigned i = 0; i < duties.world.count; i++) {
        duties.backend[i].lan = pool;
    }
}

static void duties_start(unsigned count) {
    static const char *const names[] = {"n0", "n1", "n2", "self"};
    static char ids[4][UUID_TEXT_BYTES];
    memset(&duties, 0, sizeof duties);
    world_init(&duties.world, count);
    loop_set_turn_end(duties.world.loop, duties_turn_end, &duties.world);
    for (unsigned i = 0; i < 4; i++) {
        snprintf(ids[i], sizeof ids[i], "aaaaaaaa-0000-0000-0000-00000000000%u", i);
        duties.members[i] = member_of(names[i], ids[i], "10.0.0.1", ALIVE, &duties.pairs[i]);
    }
    for (unsigned i = 0; i < count; i++) {
        server_start(&duties.world.servers[i]);
        duties.backend[i] = (struct backend){.epoch = duties.world.servers[i].epoch,
                                             .catalog = duties.world.servers[i].catalog};
        struct reconcile_config config = {.loop = duties.world.loop,
                                          .log = duties.world.log,
                                          .group = duties.world.servers[i].group,
                                          .backend = &duties.backend[i],
                                          .keep_removals_ms = 3600 * 1000};
        duties.reconcile[i] = reconcile_create(&config);
    }
    publish();
    world_tell(&duties.world);
    world_bootstrap(&duties.world, count);
}

static void duties_stop_server(struct server *server) {
    reconcile_lead(duties.reconcile[server->number], false);
    server_stop(server);
    reconcile_destroy(duties.reconcile[server->number]);
    duties.reconcile[server->number] = NULL;
}

static void duties_clear(void) {
    for (unsigned i = 0; i < duties.world.count; i++) {
        if (duties.reconcile[i] != NULL) {
            duties_stop_server(&duties.world.servers[i]);
        }
    }
    world_clear(&duties.world);
}

struct wanted {
    const char *node, *status; /* status NULL: the node is gone */
};

static bool shows(struct world *world, void *context) {
    const struct wanted *wanted = context;
    struct server *leader = world_leader(world);
    if (leader == NULL) {
        return false;
    }
    epoch_enter(leader->epoch);
    const struct catalog_view *view = catalog_view(leader->catalog);
    const struct catalog_check *check = view_get_check(view, wanted->node, CATALOG_AGENT_CHECK);
    bool met = wanted->status == NULL ? view_get_node(view, wanted->node) == NULL
                                      : check != NULL && strcmp(check->status, wanted->status) == 0;
    epoch_exit(leader->epoch);
    return met;
}

static void expect(const char *node, const char *status) {
    struct wanted wanted = {node, status};
    assert_true(world_wait(&duties.world, shows, &wanted));
}

static uint64_t last_index(void) {
    struct group_status status = {0};
    group_get_status(world_leader(&duties.world)->group, &status);
    return status.last_index;
}

static bool have_passed(struct world *world, void *context) {
    return loop_now_ms(world->loop) >= *(int64_t *)context;
}

static void propose_node(struct write *write, const char *name, const char *id) {
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    struct buf out;
    command.reg.node = (struct catalog_node){
        .id = id, .name = name, .address = "10.0.0.1", .region = "", .zone = ""};
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(&command, &out);
    write->proposal.data = (uint8_t *)buf_take(&out, &write->proposal.size);
    group_propose(world_leader(&duties.world)->group, &write->proposal);
    assert_true(world_wait(&duties.world, write_is_done, write));
    assert_int_equal(write->err, ERR_OK);
}

static void test_events(void **state) {
    (void)state;
    duties_start(1);
    expect("n0", "passing");
    expect("self", "passing");
    duties.members[0].status = FAILED;
    publish();
    expect("n0", "critical");
    duties.members[0].status = ALIVE;
    duties.members[1].status = LEFT;
    publish();
    expect("n0", "passing");
    expect("n1", NULL);
    /* A late word of an agent that has left brings its node back: not for long. */
    struct write write = {.proposal = {.done = write_done}};
    propose_node(&write, "n1", duties.members[1].tags.v[0].value);
    expect("n1", NULL);
    /* What is so already is not written again, however often the members are published. */
    uint64_t index = last_index();
    for (int i = 0; i < 20; i++) {
        int64_t until_ms = clock_monotonic_ms() + 5;
        publish();
        assert_true(world_wait(&duties.world, have_passed, &until_ms));
    }
    assert_int_equal(last_index(), index);
    duties_clear();
}

static bool has_another_leader(struct world *world, void *context) {
    struct server *leader = world_leader(world);
    return leader != NULL && leader != context;
}

/* What happened while nobody led, and what the old leader has not told. */
static void test_new_leader(void **state) {
    (void)state;
    duties_start(3);
    expect("n0", "passing");
    expect("n1", "passing");
    expect("n2", "passing");
    struct server *lost = world_leader(&duties.world);
    duties_stop_server(lost);
    duties.members[0].status = FAILED;
    duties.members[1].status = LEFT;
    publish();
    assert_true(world_wait(&duties.world, has_another_leader, lost));
    expect("n0", "critical");
    expect("n1", NULL);
    expect("n2", "passing");
    duties_clear();
}

static void propose_removal(const char *id, int64_t at_ms) {
    struct write write = {.proposal = {.done = write_done}};
    struct catalog_command command = {
        .kind = COMMAND_REMOVAL,
        .removal = {.id = id, .name = "n", .boot_epoch = 1, .at_ms = at_ms, .prune = true}};
    struct buf out;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(&command, &out);
    write.proposal.data = (uint8_t *)buf_take(&out, &write.proposal.size);
    group_propose(world_leader(&duties.world)->group, &write.proposal);
    assert_true(world_wait(&duties.world, write_is_done, &write));
    assert_int_equal(write.err, ERR_OK);
}

/* Of a member that is pruned, the pool shows nothing: the committed removal tells. */
static void test_removed(void **state) {
    (void)state;
    duties_start(1);
    expect("n0", "passing");
    expect("n1", "passing");
    duties.members[0].status = FAILED;
    publish();
    expect("n0", "critical");
    const char *id = duties.members[0].tags.v[0].value;
    duties.members[0] = duties.members[1]; /* the list is shorter */
    publish();
    propose_removal(id, clock_wall_ms());
    expect("n0", NULL);
    expect("n1", "passing");
    /* It is back, and the catalog hears of it before the pool does. */
    struct write write = {.proposal = {.done = write_done}};
    propose_node(&write, "n0", id);
    for (int i = 0; i < 2; i++) {
        duties.members[2].status = i == 0 ? FAILED : ALIVE;
        publish();
        expect("n2", i == 0 ? "critical" : "passing");
    }
    struct server *leader = world_leader(&duties.world);
    epoch_enter(leader->epoch);
    assert_non_null(view_get_node(catalog_view(leader->catalog), "n0"));
    epoch_exit(leader->epoch);
    duties_clear();
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_life),
        cmocka_unit_test(test_agents_fields_stay),
        cmocka_unit_test(test_a_machine_that_was_wiped),
        cmocka_unit_test(test_names_and_ids),
        cmocka_unit_test(test_forgotten),
        cmocka_unit_test(test_events),
        cmocka_unit_test(test_new_leader),
        cmocka_unit_test(test_removed),
    };
    cmocka_set_test_filter(getenv("CAIRN_TEST_FILTER"));
    return cmocka_run_group_tests(tests, NULL, NULL);
}
