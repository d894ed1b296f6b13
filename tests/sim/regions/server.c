/* A server: the parts of an agent around its mirrors, wired as agent.c wires them. Its group, its
 * pool and its thread are the simulator's. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/failover.h"
#include "agent/servers.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/mem.h"
#include "http/datacenters.h"
#include "net/crypto.h"
#include "store/work_thread.h"
#include "tests/sim/regions/regions.h"

/* ---- its thread ---- */

struct store_work_thread {
    struct server *server;
    struct store_work *first, **last;
    bool planned;
    uint64_t stalls_us; /* by then it has to wait for the CPU again */
};

/* A row costs its source 5.5 us (docs/SCALE.md), and a part here has few. Waits for the CPU come
 * with time, not with each part: else the thread of a server with many streams would do nothing
 * else. */
static uint64_t work_us(struct store_work_thread *thread) {
    struct world *world = thread->server->world;
    if (world->now < thread->stalls_us) {
        return world_between(world, 5, 100);
    }
    thread->stalls_us = world->now + world_between(world, 1, 500 * MS);
    return world_between(world, 50, world_one_in(world, 3) ? 300 * MS : 5 * MS);
}

static void plan_work(struct store_work_thread *thread) {
    if (!thread->planned && thread->first != NULL) {
        thread->planned = true;
        world_post(thread->server->world, work_us(thread), EVENT_WORK, thread->server);
    }
}

static void work_one(struct store_work_thread *thread) {
    struct store_work *work = thread->first;
    thread->first = work->next;
    thread->last = thread->first != NULL ? thread->last : &thread->first;
    work->run(work, work->context);
}

struct store_work_thread *store_work_thread_start(void) {
    struct store_work_thread *thread = mem_calloc(1, sizeof *thread);
    ASSERT(here->thread == NULL);
    thread->server = here;
    here->thread = thread;
    thread->last = &thread->first;
    return thread;
}

void store_work_thread_run(struct store_work_thread *thread, struct store_work *work) {
    work->next = NULL;
    *thread->last = work;
    thread->last = &work->next;
    plan_work(thread);
}

bool store_work_thread_stop(struct store_work_thread *thread, uint64_t timeout_ms) {
    (void)timeout_ms;
    while (thread->first != NULL) {
        work_one(thread);
    }
    thread->server->thread = NULL;
    free(thread);
    return true;
}

void server_work(struct server *server) {
    struct store_work_thread *thread = server->thread;
    thread->planned = false;
    if (thread->first != NULL) {
        work_one(thread);
        plan_work(thread);
    }
}

/* ---- its group ---- */

static const struct server *server_of(const struct group *group) {
    return (const struct server *)(const void *)group;
}

int64_t group_contact_ms(const struct group *group) {
    const struct server *server = server_of(group);
    if (server->leads) {
        return 0;
    }
    int64_t now_ms = (int64_t)server_now_ms(server);
    return server->contact_at_ms <= 0 ? -1 : now_ms - server->contact_at_ms;
}

bool group_get_cluster(const struct group *group, struct uuid *ret_cluster) {
    *ret_cluster = server_of(group)->history->cluster;
    return true;
}

bool group_has_leader(const struct group *group) {
    return server_of(group)->known_leader >= 0;
}

bool group_leads(const struct group *group) {
    return server_of(group)->leads;
}

struct rpc_connection *group_leader_connection(const struct group *group) {
    const struct server *server = server_of(group);
    return server->to_leader_open ? server->to_leader : NULL;
}

struct addr sim_rpc_addr(const struct server *server) {
    struct addr addr = {.v4 = {.sin_family = AF_INET, .sin_port = (in_port_t)server->at}};
    return addr;
}

struct server *sim_rpc_at(struct world *world, const struct addr *addr) {
    return &world->servers[addr->v4.sin_port];
}

struct link *sim_rpc_link(struct world *world, const struct server *from, const struct server *to) {
    return &world->links[from->region->at][to->region->at];
}

void sim_rpc_sent(const struct server *from, const struct server *to, uint64_t bytes) {
    from->world->wan_bytes += from->region != to->region ? bytes : 0;
}

static void leader_opened(void *context, struct rpc_connection *connection) {
    struct server *server = context;
    (void)connection;
    server->to_leader_open = true;
}

static void leader_closed(void *context, struct rpc_connection *connection, enum err err,
                          const struct err_text *text) {
    struct server *server = context;
    (void)connection;
    (void)err;
    (void)text;
    server->to_leader = NULL;
    server->to_leader_open = false;
    world_post(server->world, world_between(server->world, 20 * MS, 500 * MS), EVENT_CONNECT_LEADER,
               server);
}

static void leave_leader(struct server *server) {
    if (server->to_leader != NULL) {
        rpc_close(server->to_leader);
    }
    server->to_leader = NULL;
    server->to_leader_open = false;
}

void server_connect_leader(struct server *server) {
    static const struct rpc_events events = {.opened = leader_opened, .closed = leader_closed};
    if (server->to_leader == NULL && server->known_leader >= 0 && !server->leads) {
        struct addr addr = sim_rpc_addr(&server->world->servers[server->known_leader]);
        server->to_leader = rpc_connect(server->rpc, &addr, NULL, &events, server);
    }
}

/* ---- entries ---- */

struct appending {
    struct loop_task task;
    struct server *server;
    uint64_t index, sent_us;
    bool leads;
};

static void apply_to(struct server *server, uint64_t index) {
    struct catalog *catalog = server->agent->catalog;
    struct err_text text;
    bool any = view_applied(catalog_view(catalog)) < index;
    for (uint64_t at = view_applied(catalog_view(catalog)) + 1; at <= index; at++) {
        const struct entry *entry = &server->history->entries[at];
        enum err err = catalog_apply(catalog, at, entry->bytes, entry->size, NULL, &text);
        ASSERT(err == ERR_OK || err == ERR_REFUSED);
    }
    if (any) {
        catalog_publish(catalog);
        ASSERT(view_row_hash(catalog_view(catalog)) == server->history->entries[index].row_hash);
        server->applied = index;
        lookup_published(server);
    }
}

static void append(struct loop_task *task) {
    struct appending *appending = CONTAINER_OF(task, struct appending, task);
    struct server *server = appending->server;
    uint64_t index = appending->index;
    uint64_t sent_us = appending->sent_us;
    bool leads = appending->leads;
    free(appending);
    if (server->dying) {
        return;
    }
    apply_to(server, index);
    if (leads && server->leads) {
        history_publish(server->history, index, server->world->now);
    } else if (!leads) {
        server->contact_at_ms =
            1000 + (int64_t)((sent_us - server->clock_at) * server->rate / (1000 * RATE));
    }
    mirrors_published(server->agent);
}

void server_append(struct server *server, uint64_t index, uint64_t sent_us, bool leads) {
    struct appending *appending = mem_calloc(1, sizeof *appending);
    appending->task.run = append;
    appending->server = server;
    appending->index = index;
    appending->sent_us = sent_us;
    appending->leads = leads;
    loop_post(server->loop, &appending->task);
}

/* ---- who leads ---- */

struct knowing {
    struct loop_task task;
    struct server *server;
    int32_t leader;
};

static void know(struct loop_task *task) {
    struct knowing *knowing = CONTAINER_OF(task, struct knowing, task);
    struct server *server = knowing->server;
    int32_t leader = knowing->leader;
    free(knowing);
    if (server->dying) {
        return;
    }
    bool leads = leader == (int32_t)server->at && server->region->leader == leader;
    if (leader == server->known_leader && leads == server->leads) {
        return;
    }
    if (leads) { /* once its catalog is current */
        apply_to(server, server->history->index);
        history_publish(server->history, server->history->index, server->world->now);
    }
    server->leads = leads;
    leave_leader(server);
    server->known_leader = leader;
    server_connect_leader(server);
    mirrors_follow_leader(server->agent);
}

void server_know_leader(struct server *server, int32_t leader) {
    struct knowing *knowing = mem_calloc(1, sizeof *knowing);
    knowing->task.run = know;
    knowing->server = server;
    knowing->leader = leader;
    loop_post(server->loop, &knowing->task);
}

/* ---- its pools ---- */

void server_tell_pool(struct server *server, uint32_t region) {
    struct world *world = server->world;
    struct region *to = &world->regions[region];
    struct links_server all[SERVERS_EACH];
    for (uint32_t i = 0; i < SERVERS_EACH; i++) {
        struct server *other = &world->servers[region * SERVERS_EACH + i];
        all[i] = (struct links_server){
            .node = other->node,
            .addr = sim_rpc_addr(other),
            .name = other->name,
            .distance_ms = (double)world->links[server->region->at][region].base_us / 500.0,
            .state = server->thinks_dead[other->at] ? LINKS_FAILED : LINKS_ALIVE};
    }
    links_set_servers(server->agent->links, to->name, all, SERVERS_EACH);
    mirrors_note_datacenter(server->agent, to->name);
}

/* By the distances of a good day. */
struct http_datacenters http_datacenters_list(const struct backend *backend, struct arena *arena) {
    const struct server *server = server_of(((struct agent *)backend->context)->group);
    const struct world *world = server->world;
    const struct link *links = world->links[server->region->at];
    struct http_datacenters all = {
        arena_alloc(arena, world->region_count * sizeof(struct http_datacenter)), 0};
    for (uint32_t i = 0; i < world->region_count; i++) {
        struct http_datacenter dc = {.name = world->regions[i].name,
                                     .rtt_s = (double)links[i].base_us / 500000.0};
        uint32_t at = all.count++;
        for (; at > 0 && all.v[at - 1].rtt_s > dc.rtt_s; at--) {
            all.v[at] = all.v[at - 1];
        }
        all.v[at] = dc;
    }
    return all;
}

static void connected(void *context, bool is_connected) {
    (void)context;
    (void)is_connected;
}

static void lost(void *context, bool own, const struct uuid *node) {
    (void)context;
    (void)own;
    (void)node;
}

struct rpc *servers_rpc(const struct agent *agent) {
    return server_of(agent->group)->rpc;
}

static bool get_mirror(void *context, const char *datacenter, struct backend_mirror *ret_mirror) {
    struct mirror_face face;
    bool found = mirrors_look(context, datacenter, &face);
    if (found) {
        *ret_mirror = (struct backend_mirror){.view = face.view, .age_ms = face.age_ms};
    }
    return found;
}

bool sim_failover_core_step(struct failover_core *core, int64_t now_ms, failover_judge_fn *judge,
                            void *context) {
    lookup_stepped(here);
    return failover_core_step(core, now_ms, judge, context);
}

/* ---- a life ---- */

static void turn_end(void *context) {
    check_returns(context);
}

static void describe(struct server *server) {
    server->config = (struct config){
        .server = true,
        .datacenter = server->region->name,
        .failover = {.enabled = true,
                     .hold_down_ns = (int64_t)(server->world->hold_down_us / MS) * DURATION_MS},
        .mirror = {.enabled = true, .bytes_max = 64 << 20}};
    server->config.dns.only_passing = server->world->only_passing;
}

struct reading {
    const struct buf *from;
    size_t at;
};

static int64_t read_snapshot(void *context, void *data, size_t size) {
    struct reading *reading = context;
    size_t left = reading->from->count - reading->at;
    size = size < left ? size : left;
    memcpy(data, reading->from->data + reading->at, size);
    reading->at += size;
    return (int64_t)size;
}

/* What is on its disk: often a snapshot and some of the log. */
static void replay(struct server *server) {
    struct history *history = server->history;
    struct err_text text;
    catalog_note_changes(server->agent->catalog, server->changes_bytes);
    uint64_t index = server->applied < history->index ? server->applied : history->index;
    if (history->snapshot_index > 0 && history->snapshot_index <= index) {
        struct reading reading = {&history->snapshot, 0};
        enum err err = catalog_restore(server->agent->catalog, read_snapshot, &reading, &text);
        ASSERT(err == ERR_OK);
    }
    apply_to(server, index);
}

void server_start(struct server *server) {
    struct world *world = server->world;
    struct agent *agent = mem_calloc(1, sizeof *agent);
    server->life++;
    server->up = true;
    server->dying = server->stands_still = server->leads = false;
    server->rate = world_between(world, RATE - RATE / 5000, RATE + RATE / 5000);
    server->clock_at = world->now - world_between(world, 0, world->now);
    server->known_leader = -1;
    server->contact_at_ms = 0;
    server->changes_bytes = world_one_in(world, 2) ? 1 : 32 * 1024;
    if (server->history != server->region->history) {
        server->history = server->region->history;
        server->applied = 0;
    }
    memset(server->seen, 0, sizeof server->seen);
    for (uint32_t i = 0; i < world->server_count; i++) {
        server->thinks_dead[i] = i != server->at && world->now > 0 && !world->servers[i].up;
    }
    server_enter(server);
    describe(server);
    server->agent = agent;
    server->loop = agent->loop = sim_loop_create(server);
    server->epoch = agent->epoch = epoch_create();
    server->rpc = sim_rpc_create(server);
    agent->config = agent->live = &server->config;
    agent->group = (struct group *)(void *)server;
    agent->catalog = catalog_create(agent->epoch, NULL);
    agent->facts.datacenter = server->region->name;
    agent->backend = (struct backend){.context = agent, .get_mirror = get_mirror};
    replay(server);
    struct links_config links = {.loop = agent->loop,
                                 .rpc = server->rpc,
                                 .self = server->node,
                                 .datacenter = server->region->name,
                                 .seed = rand_next(&world->rand),
                                 .connected = connected,
                                 .lost = lost};
    agent->links = links_create(&links);
    mirrors_create(agent);
    failover_start(agent);
    loop_set_turn_end(agent->loop, turn_end, server);
    for (uint32_t i = 0; i < world->region_count; i++) {
        if (i != server->region->at) {
            server_tell_pool(server, i);
        }
    }
    sim_loop_wake(server->loop, 10);
    world_post(world, world_between(world, 10 * MS, 300 * MS), EVENT_LOOKUP, server);
}

void server_kill(struct server *server) {
    struct agent *agent = server->agent;
    server_enter(server);
    server->dying = true;
    server->leads = false;
    loop_flush(server->loop);
    failover_stop(agent);
    mirrors_destroy(agent);
    links_destroy(agent->links);
    leave_leader(server);
    loop_flush(server->loop);
    sim_rpc_destroy(server->rpc);
    catalog_destroy(agent->catalog);
    epoch_destroy(server->epoch);
    sim_loop_destroy(server->loop);
    free(agent);
    server->agent = NULL;
    server->up = server->dying = false;
    server->life++;
}
