/* Several servers of one group in one process: real loop, real RPC over loopback, real disks under
 * /tmp; the pool is played by the test, which tells each server of the others. */
#ifndef TESTS_UNIT_AGENT_GROUP_SUPPORT_H
#define TESTS_UNIT_AGENT_GROUP_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/group.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"

#define SERVERS_MAX 5
#define WAIT_MS 60000

struct world;

struct server {
    struct world *world;
    unsigned number;
    char name[16], dir[128];
    struct uuid node;
    struct raft_id id;
    struct addr addr;
    struct epoch *epoch;
    struct catalog *catalog;
    struct rpc *rpc;
    struct group *group; /* NULL: down */
    bool removed;        /* no longer in the pool */
    bool left;
};

struct world {
    struct loop *loop;
    struct log *log;
    struct loop_timer timer;
    bool (*wanted)(struct world *world, void *context);
    void *context;
    int64_t until_ms;
    bool met;
    unsigned count;
    unsigned behind; /* turns at whose end a view lacked what was committed */
    uint16_t port;
    struct server servers[SERVERS_MAX];
};

/* A write and what became of it. */
struct write {
    struct group_proposal proposal;
    bool done;
    enum err err;
    struct err_text text;
};

struct read {
    struct group_read read;
    bool done;
    enum err err;
};

/* 6.4: no consistent read is answered from a view that lacks what is committed. */
static void check_newest(struct world *world, struct server *server) {
    struct group_status status;
    group_get_status(server->group, &status);
    if (status.commit_index > view_applied(catalog_view(server->catalog))) {
        assert_false(group_may_read(server->group, true));
        world->behind++;
    }
}

static void world_turn_end(void *context) {
    struct world *world = context;
    for (unsigned i = 0; i < world->count; i++) {
        if (world->servers[i].group != NULL) {
            check_newest(world, &world->servers[i]);
            group_turn_end(world->servers[i].group);
        }
    }
}

static void look(struct loop_timer *timer) {
    struct world *world = CONTAINER_OF(timer, struct world, timer);
    world->met = world->wanted(world, world->context);
    if (world->met || loop_now_ms(world->loop) >= world->until_ms) {
        loop_stop(world->loop);
    } else {
        loop_timer_start(world->loop, timer, loop_now_ms(world->loop) + 2);
    }
}

/* Runs the loop until the condition holds; false when it has not after WAIT_MS. */
static bool world_wait(struct world *world, bool (*wanted)(struct world *, void *), void *context) {
    world->wanted = wanted;
    world->context = context;
    world->until_ms = clock_monotonic_ms() + WAIT_MS;
    world->timer.run = look;
    world->met = false;
    while (!world->met && clock_monotonic_ms() < world->until_ms) {
        loop_timer_start(world->loop, &world->timer, clock_monotonic_ms());
        loop_run(world->loop);
    }
    for (unsigned i = 0; !world->met && i < world->count; i++) {
        struct group_status status = {0};
        if (world->servers[i].group != NULL) {
            group_get_status(world->servers[i].group, &status);
        }
        print_message("%s: %s term=%llu last=%llu commit=%llu applied=%llu\n",
                      world->servers[i].name, raft_role_name(status.role),
                      (unsigned long long)status.term, (unsigned long long)status.last_index,
                      (unsigned long long)status.commit_index,
                      (unsigned long long)status.applied_index);
    }
    return world->met;
}

static void nothing_published(void *context) {
    (void)context;
}

static void nothing_joined(void *context) {
    (void)context;
}

static void nothing_changed(void *context, bool yes) {
    (void)context;
    (void)yes;
}

/* Everything that is up or down, but not removed: what a pool would tell. */
static void world_tell(struct world *world) {
    for (unsigned i = 0; i < world->count; i++) {
        struct group_server all[SERVERS_MAX];
        uint32_t count = 0;
        for (unsigned k = 0; k < world->count; k++) {
            struct server *server = &world->servers[k];
            if (server->removed) {
                continue;
            }
            struct group_server *to = &all[count++];
            *to = (struct group_server){.id = server->id, .addr = server->addr};
            snprintf(to->name, sizeof to->name, "%s", server->name);
            to->state = server->left            ? GROUP_SERVER_LEFT
                        : server->group == NULL ? GROUP_SERVER_FAILED
                                                : GROUP_SERVER_ALIVE;
        }
        if (world->servers[i].group != NULL) {
            group_set_servers(world->servers[i].group, all, count);
        }
    }
}

static void server_start(struct server *server) {
    struct world *world = server->world;
    struct err_text text;
    char port[8];
    server->epoch = epoch_create();
    server->catalog = catalog_create(server->epoch, NULL);
    struct rpc_config rpc = {.loop = world->loop,
                             .log = world->log,
                             .module = "agent.rpc",
                             .kind = RPC_KIND_SERVER,
                             .self = {.node = server->node, .server = true}};
    snprintf(port, sizeof port, "%u", (unsigned)addr_port(&server->addr));
    snprintf(rpc.self.name, sizeof rpc.self.name, "%s", server->name);
    snprintf(rpc.self.datacenter, sizeof rpc.self.datacenter, "dc1");
    server->rpc = rpc_create(&rpc);
    struct group_config config = {.loop = world->loop,
                                  .log = world->log,
                                  .epoch = server->epoch,
                                  .catalog = server->catalog,
                                  .datacenter = "dc1",
                                  .data_dir = server->dir,
                                  .node = server->node,
                                  .random_seed = (uint64_t)clock_monotonic_ms() + server->number,
                                  .published = nothing_published,
                                  .leader_changed = nothing_changed,
                                  .leader_known = nothing_changed,
                                  .joined = nothing_joined,
                                  .autopilot = {.cleanup_dead_servers = true},
                                  .raft_multiplier = 6, /* all share one thread */
                                  .name = server->name,
                                  .addr = &server->addr};
    server->group = group_create(&config, &text);
    if (server->group == NULL) {
        fail_msg("%s: %s", server->name, text.s);
    }
    group_attach(server->group, server->rpc);
    server->id = *group_self(server->group);
    if (rpc_listen(server->rpc, &server->addr, &text) != ERR_OK) {
        fail_msg("%s", text.s);
    }
}

static void server_stop(struct server *server) {
    if (server->group != NULL) {
        assert_true(group_destroy(server->group));
        server->group = NULL;
        rpc_destroy(server->rpc);
        catalog_destroy(server->catalog);
        epoch_destroy(server->epoch);
    }
}

static void server_remove_files(const struct server *server) {
    char command[256];
    snprintf(command, sizeof command, "rm -rf '%s'", server->dir);
    assert_int_equal(system(command), 0);
}

/* Prepares `count` servers; none is started. */
static void world_init(struct world *world, unsigned count) {
    struct err_text text;
    *world = (struct world){.count = count};
    world->loop = loop_create(&text);
    world->log = getenv("CAIRN_TEST_LOG") != NULL ? log_create(2, LOG_DEBUG) : NULL;
    loop_set_turn_end(world->loop, world_turn_end, world);
    for (unsigned i = 0; i < SERVERS_MAX; i++) {
        struct server *server = &world->servers[i];
        server->world = world;
        server->number = i;
        snprintf(server->name, sizeof server->name, "server-%u", i + 1);
        snprintf(server->dir, sizeof server->dir, "/tmp/cairn-group-test.%d.%u", (int)getpid(), i);
        server_remove_files(server);
        uint8_t random[16] = {(uint8_t)(i + 1), 7, (uint8_t)getpid()};
        server->node = uuid_from_random(random);
        /* A loopback address each, so that ports never clash. */
        char ip[32];
        unsigned pid = (unsigned)getpid();
        snprintf(ip, sizeof ip, "127.%u.%u.%u", 200 + (pid >> 8) % 50, pid & 0xff, i + 1);
        assert_true(addr_parse(ip, 8300, &server->addr));
    }
}

static void world_clear(struct world *world) {
    for (unsigned i = 0; i < SERVERS_MAX; i++) {
        server_stop(&world->servers[i]);
        server_remove_files(&world->servers[i]);
    }
    loop_flush(world->loop);
    loop_destroy(world->loop);
    log_destroy(world->log);
}

/* The group's configuration of the first `count` servers, all voters. */
static void world_bootstrap(struct world *world, unsigned count) {
    struct raft_configuration configuration = {.count = count};
    for (unsigned i = 0; i < count; i++) {
        configuration.servers[i] = (struct raft_server){.id = world->servers[i].id, .voter = true};
    }
    for (unsigned i = 0; i < count; i++) {
        struct err_text text;
        assert_int_equal(group_bootstrap(world->servers[i].group, &configuration, &text), ERR_OK);
    }
}

static struct server *world_leader(struct world *world) {
    for (unsigned i = 0; i < world->count; i++) {
        if (world->servers[i].group != NULL && group_leads(world->servers[i].group)) {
            return &world->servers[i];
        }
    }
    return NULL;
}

static inline bool has_leader(struct world *world, void *context) {
    (void)context;
    return world_leader(world) != NULL;
}

static inline bool all_know_leader(struct world *world, void *context) {
    (void)context;
    for (unsigned i = 0; i < world->count; i++) {
        if (world->servers[i].group != NULL && !group_has_leader(world->servers[i].group)) {
            return false;
        }
    }
    return world_leader(world) != NULL;
}

/* ---- writes ---- */

static void write_done(struct group_proposal *proposal, enum err err, const struct err_text *text) {
    struct write *write = CONTAINER_OF(proposal, struct write, proposal);
    write->done = true;
    write->err = err;
    write->text = *text;
}

/* Registers a node of this name, with so many bytes of output in a check. */
static void write_start(struct server *server, struct write *write, const char *node,
                        size_t bytes) {
    char *output = mem_calloc(1, bytes + 1);
    memset(output, 'x', bytes);
    struct catalog_check check = {.node = node,
                                  .id = "c",
                                  .name = "c",
                                  .status = "passing",
                                  .notes = "",
                                  .output = output,
                                  .service_id = "",
                                  .service_name = "",
                                  .type = "",
                                  .interval = "",
                                  .timeout = "",
                                  .definition = ""};
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    command.reg.node = (struct catalog_node){
        .id = "", .name = node, .address = "10.0.0.1", .region = "", .zone = ""};
    command.reg.checks = &check;
    command.reg.check_count = bytes > 0 ? 1 : 0;
    struct buf out;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(&command, &out);
    *write = (struct write){0};
    write->proposal.data = (uint8_t *)buf_take(&out, &write->proposal.size);
    write->proposal.done = write_done;
    free(output);
    group_propose(server->group, &write->proposal);
}

static bool write_is_done(struct world *world, void *context) {
    (void)world;
    return ((struct write *)context)->done;
}

static inline enum err write_node(struct server *server, const char *node, size_t bytes) {
    struct write write;
    write_start(server, &write, node, bytes);
    assert_true(world_wait(server->world, write_is_done, &write));
    return write.err;
}

/* On a busy machine one may time out or meet an election, and is made again. */
static inline void write_surely(struct server *server, const char *node, size_t bytes) {
    enum err err = ERR_TIMEOUT;
    for (int tries = 0; tries < 20 && (err == ERR_TIMEOUT || err == ERR_NO_LEADER); tries++) {
        err = write_node(server, node, bytes);
    }
    assert_int_equal(err, ERR_OK);
}

/* ---- reads ---- */

static void read_done(struct group_read *read, enum err err) {
    struct read *mine = CONTAINER_OF(read, struct read, read);
    mine->done = true;
    mine->err = err;
}

static bool read_is_done(struct world *world, void *context) {
    (void)world;
    return ((struct read *)context)->done;
}

static inline enum err read_barrier(struct server *server, bool consistent) {
    struct read read = {.read = {.done = read_done}};
    group_read(server->group, &read.read, consistent);
    assert_true(world_wait(server->world, read_is_done, &read));
    return read.err;
}

static inline bool has_node(const struct server *server, const char *node) {
    epoch_enter(server->epoch);
    bool has = view_get_node(catalog_view(server->catalog), node) != NULL;
    epoch_exit(server->epoch);
    return has;
}

#endif
