/* A mirror over the wire: two ends of an RPC connection on one loop, rows at the one, a mirror at
 * the other. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/mirror_pull.h"
#include "agent/mirror_source.h"
#include "base/container.h"
#include "tests/unit/catalog_support.h"
#include "tests/unit/net_support.h"

#define WAIT_MS 60000

struct world {
    struct loop *loop;
    struct log *log;
    struct epoch *epoch;
    struct catalog *catalog;
    uint64_t index;
    struct uuid cluster;
    int64_t lag_ms;
    bool known; /* the source knows its rows */
    struct addr addr;
    struct rpc *source_rpc, *mirror_rpc;
    struct mirror_sources *sources;
    struct rpc_client *client;
    struct mirror_pull *pull;
    struct loop_timer timer;
    bool (*wanted)(struct world *world);
    int64_t until_ms;
    bool met;
};

static void look(struct loop_timer *timer) {
    struct world *world = CONTAINER_OF(timer, struct world, timer);
    world->met = world->wanted(world);
    if (world->met || loop_now_ms(world->loop) >= world->until_ms) {
        loop_stop(world->loop);
    } else {
        loop_timer_start(world->loop, timer, loop_now_ms(world->loop) + 2);
    }
}

static void wait_for(struct world *world, bool (*wanted)(struct world *world)) {
    world->wanted = wanted;
    world->until_ms = clock_monotonic_ms() + WAIT_MS;
    world->timer.run = look;
    loop_timer_start(world->loop, &world->timer, clock_monotonic_ms());
    loop_run(world->loop);
    assert_true(world->met);
}

static bool find_origin(void *context, const char *datacenter, struct mirror_origin *ret_origin) {
    struct world *world = context;
    assert_string_equal(datacenter, "far");
    *ret_origin = (struct mirror_origin){world->catalog, world->cluster, world->lag_ms};
    return world->known;
}

static struct rpc_connection *connection(void *context) {
    struct world *world = context;
    return rpc_client_connection(world->client);
}

static void set_identity(struct rpc_identity *self, uint8_t number) {
    snprintf(self->name, sizeof self->name, "server%u", number);
    snprintf(self->datacenter, sizeof self->datacenter, "dc%u", number);
    self->node.bytes[0] = self->disk.bytes[0] = number;
    self->server = true;
}

static void open_source(struct world *world) {
    struct rpc_config rpc = {
        .loop = world->loop, .log = world->log, .module = "source", .kind = RPC_KIND_SERVER};
    struct err_text text = {""};
    set_identity(&rpc.self, 1);
    world->source_rpc = rpc_create(&rpc);
    struct mirror_sources_config sources = {.loop = world->loop,
                                            .epoch = world->epoch,
                                            .rpc = world->source_rpc,
                                            .find = find_origin,
                                            .context = world};
    world->sources = mirror_sources_create(&sources);
    assert_int_equal(rpc_listen(world->source_rpc, &world->addr, &text), ERR_OK);
}

static void close_source(struct world *world) {
    mirror_sources_destroy(world->sources);
    rpc_destroy(world->source_rpc);
    world->sources = NULL;
}

static void open_catalog(struct world *world, uint8_t cluster) {
    world->catalog = catalog_create(world->epoch, NULL);
    catalog_note_changes(world->catalog, 1 << 20);
    world->cluster.bytes[0] = cluster;
}

static void open_world(struct world *world, bool all) {
    *world = (struct world){.loop = loop_create(NULL), .epoch = epoch_create(), .known = true};
    world->addr = support_addr("127.22.1.1", SOCK_STREAM);
    world->log = getenv("CAIRN_TEST_LOG") != NULL ? log_create(2, LOG_DEBUG) : NULL;
    open_catalog(world, 7);
    open_source(world);
    struct rpc_config rpc = {
        .loop = world->loop, .log = world->log, .module = "mirror", .kind = RPC_KIND_SERVER};
    set_identity(&rpc.self, 2);
    world->mirror_rpc = rpc_create(&rpc);
    world->client = rpc_client_create(world->mirror_rpc, &world->addr, NULL, NULL, NULL);
    struct mirror_pull_config pull = {.loop = world->loop,
                                      .log = world->log,
                                      .epoch = world->epoch,
                                      .datacenter = "far",
                                      .shown = "far",
                                      .all = all,
                                      .mirrored = all,
                                      .bytes_max = 64 << 20,
                                      .near = connection,
                                      .context = world,
                                      .seed = 1};
    world->pull = mirror_pull_create(&pull);
    mirror_pull_go_by(world->pull, true);
}

static void close_world(struct world *world) {
    mirror_pull_destroy(world->pull);
    rpc_client_destroy(world->client);
    if (world->sources != NULL) {
        close_source(world);
    }
    rpc_destroy(world->mirror_rpc);
    loop_flush(world->loop);
    catalog_destroy(world->catalog);
    epoch_destroy(world->epoch);
    if (world->log != NULL) {
        log_destroy(world->log);
    }
    loop_destroy(world->loop);
}

static void register_service(struct world *world, const char *node, const char *name,
                             const char *status) {
    struct catalog_service service = service_row(node, name, name);
    struct catalog_check check = check_row(node, "check", name, status);
    struct catalog_register reg = {.node = node_row(node, "10.0.0.1"),
                                   .service = &service,
                                   .checks = &check,
                                   .check_count = 1};
    assert_int_equal(apply_register(world->catalog, ++world->index, &reg), ERR_OK);
}

static void publish(struct world *world) {
    catalog_publish(world->catalog);
    mirror_sources_published(world->sources);
}

static struct mirror_face face_of(struct world *world) {
    struct mirror_face face = {0};
    (void)mirror_pull_look(world->pull, &face);
    return face;
}

/* Record by record. */
static bool is_equal(struct world *world) {
    struct mirror_face face = face_of(world);
    struct buf x, y;
    if (face.view == NULL || view_applied(face.view) != world->index) {
        return false;
    }
    buf_init(&x, 64 << 20);
    buf_init(&y, 64 << 20);
    assert_int_equal(catalog_snapshot(catalog_view(world->catalog), keep, &x), ERR_OK);
    assert_int_equal(catalog_snapshot(face.view, keep, &y), ERR_OK);
    bool equal = x.count == y.count && memcmp(x.data, y.data, x.count) == 0;
    buf_clear(&x);
    buf_clear(&y);
    return equal;
}

static struct mirror_pull_counts counts_of(struct world *world) {
    struct mirror_pull_counts counts;
    mirror_pull_get_counts(world->pull, &counts);
    return counts;
}

static void fill(struct world *world, unsigned nodes) {
    char node[32], name[32];
    for (unsigned i = 0; i < nodes; i++) {
        snprintf(node, sizeof node, "node%u", i);
        snprintf(name, sizeof name, "service%u", i % 7);
        register_service(world, node, name, "passing");
    }
    publish(world);
}

/* ---- tests ---- */

static void rows_arrive_and_changes_follow(void **state) {
    struct world world;
    (void)state;
    open_world(&world, true);
    fill(&world, 1200); /* several parts */
    wait_for(&world, is_equal);
    assert_int_equal(counts_of(&world).begun, 1);
    for (int i = 0; i < 20; i++) {
        register_service(&world, "node5", "service5", i % 2 == 0 ? "critical" : "passing");
        publish(&world);
        wait_for(&world, is_equal);
    }
    struct mirror_pull_counts counts = counts_of(&world);
    assert_int_equal(counts.begun, 1);
    assert_int_equal(counts.instances, 1200);
    assert_true(counts.packed_bytes < counts.bytes);
    close_world(&world);
}

static bool is_young(struct world *world) {
    struct mirror_face face = face_of(world);
    return face.view != NULL && face.age_ms < 400;
}

static bool is_old(struct world *world) {
    struct mirror_face face = face_of(world);
    return face.view != NULL && face.age_ms > 600;
}

static void a_cut_stream_ages_and_goes_on(void **state) {
    struct world world;
    (void)state;
    open_world(&world, true);
    fill(&world, 50);
    wait_for(&world, is_equal);
    wait_for(&world, is_young);
    close_source(&world);
    register_service(&world, "node1", "service1", "critical");
    catalog_publish(world.catalog);
    wait_for(&world, is_old); /* and still answers */
    open_source(&world);
    wait_for(&world, is_equal);
    wait_for(&world, is_young);
    assert_int_equal(counts_of(&world).begun, 1); /* not from scratch */
    close_world(&world);
}

/* The age of what the source knows counts too. */
static void a_source_that_lags_is_told(void **state) {
    struct world world;
    (void)state;
    open_world(&world, true);
    world.lag_ms = 5000;
    fill(&world, 5);
    wait_for(&world, is_equal);
    assert_in_range(face_of(&world).age_ms, 4900, 20000);
    close_world(&world);
}

#define CHANGES 400

static struct {
    int64_t published_at_ms[CHANGES + 60];
    int64_t next_ms;
    unsigned looks;
} aging;

/* What the mirror lacks was published after the time that its age tells. Makes changes, too, and
 * cuts the stream now and then. */
static bool ages_are_true(struct world *world) {
    int64_t now_ms = clock_monotonic_ms();
    struct mirror_face face = face_of(world);
    if (face.view != NULL) {
        uint64_t lacks = view_applied(face.view) + 1;
        aging.looks++;
        if (lacks <= world->index) {
            assert_true(face.age_ms >= now_ms - aging.published_at_ms[lacks] - 1);
        }
    }
    if (world->index < CHANGES && now_ms >= aging.next_ms) {
        if (world->index % 100 == 99 && world->sources != NULL) {
            close_source(world);
        } else if (world->index % 100 == 20 && world->sources == NULL) {
            open_source(world);
        }
        register_service(world, "node1", "service1",
                         world->index % 2 == 0 ? "critical" : "passing");
        catalog_publish(world->catalog);
        aging.published_at_ms[world->index] = clock_monotonic_ms();
        mirror_sources_published(world->sources);
        aging.next_ms = now_ms + (int64_t)(world->index * 7 % 11);
    }
    if (world->index == CHANGES && world->sources == NULL) {
        open_source(world);
    }
    return world->index == CHANGES && is_equal(world);
}

static void no_answer_is_older_than_it_says(void **state) {
    struct world world;
    (void)state;
    open_world(&world, true);
    wait_for(&world, ages_are_true);
    assert_true(aging.looks > CHANGES / 2);
    close_world(&world);
}

static bool is_whole(struct world *world) {
    return face_of(world).view != NULL;
}

/* Another cluster under the same name: the old rows answer until the new ones are whole. */
static void another_cluster_takes_the_place(void **state) {
    struct world world;
    (void)state;
    open_world(&world, true);
    fill(&world, 200);
    wait_for(&world, is_equal);
    close_source(&world);
    catalog_destroy(world.catalog);
    open_catalog(&world, 8);
    world.index = 0;
    fill(&world, 30);
    open_source(&world);
    wait_for(&world, is_equal);
    assert_int_equal(counts_of(&world).begun, 2);
    close_world(&world);
}

static void rows_that_are_not_known_are_asked_for_again(void **state) {
    struct world world;
    (void)state;
    open_world(&world, true);
    world.known = false;
    fill(&world, 3);
    for (int i = 0; i < 50; i++) {
        loop_timer_start(world.loop, &world.timer, clock_monotonic_ms());
        world.wanted = is_whole;
        world.until_ms = clock_monotonic_ms() + 5;
        world.timer.run = look;
        loop_run(world.loop);
        assert_false(world.met);
    }
    world.known = true;
    wait_for(&world, is_equal);
    close_world(&world);
}

static const char *asked;

static bool is_ready(struct world *world) {
    struct mirror_face face;
    return mirror_pull_use(world->pull, asked, &face);
}

static bool count_one(const struct catalog_instance *instance, void *context) {
    (void)instance;
    ++*(size_t *)context;
    return true;
}

static size_t count_of(struct world *world, const char *service) {
    size_t count = 0;
    view_walk_instances(face_of(world).view, service, count_one, &count);
    return count;
}

static bool has_eleven(struct world *world) {
    return count_of(world, asked) == 11;
}

static void services_by_name(void **state) {
    struct world world;
    (void)state;
    open_world(&world, false);
    fill(&world, 70);
    mirror_pull_want(world.pull, "service2");
    asked = "service2";
    wait_for(&world, is_ready);
    mirror_pull_want(world.pull, "service3");
    asked = "SERVICE3";
    wait_for(&world, is_ready);
    assert_int_equal(count_of(&world, "service2"), 10);
    assert_int_equal(count_of(&world, "service3"), 10);
    assert_int_equal(counts_of(&world).instances, 20);
    register_service(&world, "another", "service3", "passing");
    publish(&world);
    wait_for(&world, has_eleven);
    /* Nobody has used service2 since. */
    mirror_pull_evict(world.pull, clock_monotonic_ms() + 1000);
    assert_int_equal(counts_of(&world).instances, 0);
    asked = "service2";
    mirror_pull_want(world.pull, "service2");
    wait_for(&world, is_ready);
    assert_int_equal(count_of(&world, "service2"), 10);
    /* A cut: what was ready goes on, what is new comes. */
    close_source(&world);
    mirror_pull_want(world.pull, "service4");
    open_source(&world);
    asked = "service4";
    wait_for(&world, is_ready);
    assert_int_equal(count_of(&world, "service4"), 10);
    assert_int_equal(count_of(&world, "service2"), 10);
    assert_int_equal(counts_of(&world).begun, 1);
    close_world(&world);
}

static void look_up_unknown(struct world *world, const char *prefix, unsigned count,
                            unsigned times) {
    char name[32];
    for (unsigned i = 0; i < count * times; i++) {
        snprintf(name, sizeof name, "%s%u", prefix, i / times);
        mirror_pull_want(world->pull, name);
    }
}

/* As lookups go on: a place is free once it is known that nobody has the name that holds it. */
static bool is_ready_once_looked_up(struct world *world) {
    mirror_pull_want(world->pull, asked);
    return is_ready(world);
}

/* Names that nobody has may be looked up for ever: what somebody has is subscribed all the same. */
static void unknown_names_keep_nobody_out(void **state) {
    struct world world;
    (void)state;
    open_world(&world, false);
    fill(&world, 70);
    mirror_pull_want(world.pull, "service2");
    asked = "service2";
    wait_for(&world, is_ready);
    look_up_unknown(&world, "once-", 2 * LIMIT_MIRROR_NAMES, 1);
    asked = "service3";
    wait_for(&world, is_ready_once_looked_up);
    /* All places are taken by names that were looked up twice. */
    look_up_unknown(&world, "twice-", LIMIT_MIRROR_NAMES, 2);
    asked = "twice-10";
    wait_for(&world, is_ready_once_looked_up);
    asked = "service4";
    wait_for(&world, is_ready_once_looked_up);
    assert_int_equal(count_of(&world, "service2"), 10);
    assert_int_equal(count_of(&world, "service3"), 10);
    assert_int_equal(count_of(&world, "service4"), 10);
    asked = "service2";
    assert_true(is_ready(&world));
    close_world(&world);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rows_arrive_and_changes_follow),
        cmocka_unit_test(a_cut_stream_ages_and_goes_on),
        cmocka_unit_test(a_source_that_lags_is_told),
        cmocka_unit_test(no_answer_is_older_than_it_says),
        cmocka_unit_test(another_cluster_takes_the_place),
        cmocka_unit_test(rows_that_are_not_known_are_asked_for_again),
        cmocka_unit_test(services_by_name),
        cmocka_unit_test(unknown_names_keep_nobody_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
