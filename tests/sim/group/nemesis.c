/* What goes wrong. */
#include <string.h>

#include "agent/group_internal.h"
#include "base/mutant.h"
#include "tests/sim/group/group.h"

/* store/log_internal.h */
#define RECORD_HEADER 32
#define LOG_FILES DIRECTORY "/log-"

static struct server *any(struct world *world) {
    return &world->servers[rand_below(&world->rand, world->server_count)];
}

/* The leader half of the time: that is where it hurts. */
static struct server *victim(struct world *world) {
    struct server *leader = members_leader(world);
    return leader != NULL && world_one_in(world, 2) ? leader : any(world);
}

static void wipe_disk(struct server *server) {
    disk_use(server->disk);
    disk_wipe();
    server->damaged = true;
    if (!MUTANT(wiped_keeps_id)) {
        server->disk_seed = rand_next(&server->world->rand);
    }
    memset(&server->id.disk, 0, sizeof server->id.disk);
    memset(server->durable_term, 0, (INDEX_MAX + 1) * sizeof *server->durable_term);
    server->durable_snapshot = server->mark_certain = server->synced_to = 0;
    server->repairing = false;
}

void nemesis_restart(struct server *server) {
    struct world *world = server->world;
    if (server->up || world->failed) {
        return;
    }
    disk_use(server->disk);
    if (!world->calm && world_one_in(world, 12)) {
        disk_set_faults(&(struct disk_faults){.crash_after_calls = world_between(world, 1, 40)});
    }
    if (server_start(server)) {
        world_trace(world, "%c is up", server->letter);
        return;
    }
    disk_use(server->disk);
    bool excused = disk_has_crashed() || disk_write_has_failed() || disk_sync_has_failed();
    if (!excused && !server->damaged) {
        world_fail(world, "%c does not start", server->letter);
    } else if (!excused) { /* what its error says: start with an empty one */
        world_trace(world, "%c gives up its disk", server->letter);
        wipe_disk(server);
    }
    disk_restart(true);
    world_post(world, 100 * MS, EVENT_RESTART, server);
}

void nemesis_crash(struct server *server, bool power_lost) {
    struct world *world = server->world;
    if (!server->up) {
        return;
    }
    world_trace(world, "%c %s", server->letter, power_lost ? "loses power" : "is killed");
    world->crashes++;
    server_kill(server);
    disk_use(server->disk);
    disk_restart(power_lost);
    uint64_t down = world_one_in(world, 3) ? world_between(world, 500 * MS, 4000 * MS)
                                           : world_between(world, 5 * MS, 300 * MS);
    world_post(world, world->calm ? 50 * MS : down, EVENT_RESTART, server);
}

/* ---- network ---- */

static void heal_net(struct world *world) {
    for (uint32_t i = 0; i < SERVERS_MAX * SERVERS_MAX; i++) {
        world->links[i / SERVERS_MAX][i % SERVERS_MAX] =
            (struct link){.delay_us = 300, .jitter_us = 700};
    }
}

static void partition(struct world *world) {
    uint64_t side = rand_next(&world->rand);
    struct server *leader = members_leader(world);
    if (leader != NULL && world_one_in(world, 2)) {
        side = 1ull << leader->at; /* alone */
        if (world_one_in(world, 2)) {
            side |= 1ull << rand_below(&world->rand, world->server_count);
        }
    }
    world_trace(world, "partition %lx", (unsigned long)side & ((1ul << world->server_count) - 1));
    for (uint32_t i = 0; i < world->server_count; i++) {
        for (uint32_t k = 0; k < world->server_count; k++) {
            world->links[i][k].cut = (side >> i & 1) != (side >> k & 1);
        }
    }
}

static void cut_one_way(struct world *world) {
    uint32_t from = victim(world)->at;
    bool outward = world_one_in(world, 2);
    for (uint32_t i = 0; i < world->server_count; i++) {
        if (world_one_in(world, 2)) {
            *(outward ? &world->links[from][i].cut : &world->links[i][from].cut) = true;
        }
    }
}

static void bad_net(struct world *world) {
    uint32_t drop = (uint32_t)world_between(world, 0, 300);
    uint32_t duplicate = (uint32_t)world_between(world, 0, 200);
    uint64_t jitter = world_between(world, 1 * MS, world_one_in(world, 3) ? 400 * MS : 60 * MS);
    for (uint32_t i = 0; i < world->server_count; i++) {
        for (uint32_t k = 0; k < world->server_count; k++) {
            world->links[i][k].drop_per_1000 = drop;
            world->links[i][k].duplicate_per_1000 = duplicate;
            world->links[i][k].jitter_us = jitter;
        }
    }
}

/* ---- disks ---- */

static void disk_fault(struct world *world) {
    struct server *server = victim(world);
    struct disk_faults faults = {0};
    uint64_t what = rand_below(&world->rand, 4);
    if (!server->up) {
        return;
    }
    if (what == 0) {
        faults.crash_after_calls = world_between(world, 1, 60);
    } else if (what == 1) {
        faults.sync_fails_per_1000 = (uint32_t)world_between(world, 50, 500);
    } else if (what == 2) {
        faults.write_fails_per_1000 = (uint32_t)world_between(world, 20, 200);
    } else {
        faults.quota_bytes = 1; /* whatever would grow is refused */
    }
    disk_use(server->disk);
    disk_set_faults(&faults);
}

static void hang(struct world *world) {
    struct server *server = victim(world);
    server->hang_until = world->now + world_between(world, 200 * MS, 6000 * MS);
    world_trace(world, "%c: its disk hangs", server->letter);
}

static void repair_disks(struct world *world) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        if (!server->up) {
            continue;
        }
        disk_use(server->disk);
        disk_set_faults(&(struct disk_faults){0});
        if (server->group->disk_failed) {
            nemesis_crash(server, world_one_in(world, 2));
        }
    }
}

/* ---- lost data: never of more servers at once than the group can bear ---- */

static uint32_t count_damaged(const struct world *world) {
    uint32_t damaged = 0;
    for (uint32_t i = 0; i < world->server_count; i++) {
        damaged += world->servers[i].damaged && !world->servers[i].learner;
    }
    return damaged;
}

/* All that shall be voters are, for certain. One that leads no longer does not know of changes that
 * a later leader has begun. */
static bool is_complete(struct world *world) {
    uint32_t voters = 0;
    struct server *leader = members_leader(world);
    if (leader == NULL || leader->output.term < world->term_led_last) {
        return false;
    }
    struct raft_status status;
    raft_get_status(leader->raft, &status);
    const struct raft_configuration *configuration = raft_get_configuration(leader->raft);
    for (uint32_t i = 0; i < configuration->count; i++) {
        voters += configuration->servers[i].voter;
    }
    return voters == world->voter_count && status.configuration_index <= status.commit;
}

static bool may_damage(struct world *world, const struct server *server) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        const struct server *other = &world->servers[i];
        if (other->leaving || (!other->up && world->now >= other->known_dead_at)) {
            return false; /* soon there may be a voter less */
        }
    }
    return !server->damaged && count_damaged(world) < world->damage_max && is_complete(world);
}

static void wipe(struct world *world) {
    struct server *server = any(world);
    if (!may_damage(world, server)) {
        return;
    }
    nemesis_crash(server, true);
    world_trace(world, "%c is wiped", server->letter);
    world->wipes++;
    wipe_disk(server);
}

static bool find_record(struct world *world, uint64_t index, struct disk_place *ret) {
    uint64_t op = world->facts[index].op;
    if (op == 0 || !disk_find(LOG_FILES, world->ops[op].bytes, 24, ret) ||
        ret->offset < RECORD_HEADER) {
        return false;
    }
    ret->offset -= RECORD_HEADER;
    return true;
}

static void rot_log(struct world *world, struct server *server) {
    uint8_t record[RECORD_HEADER + 24];
    struct disk_place place, other;
    uint64_t last =
        server->mark_certain < world->committed ? server->mark_certain : world->committed;
    if (last < 2) {
        return;
    }
    uint64_t index = last - rand_below(&world->rand, last < 300 ? last - 1 : 300);
    if (!find_record(world, index, &place)) {
        return;
    }
    world_trace(world, "%c: entry %lu rots", server->letter, index);
    server->damaged = true;
    if (world_one_in(world, 3) && find_record(world, index - 1, &other)) {
        disk_peek(&other, record, sizeof record); /* a misdirected write */
        disk_poke(&place, record, sizeof record);
    } else {
        disk_flip(&place, (uint32_t)rand_below(&world->rand, 8 * sizeof record));
    }
}

static void rot_snapshot(struct world *world, struct server *server) {
    const char *path = disk_file_path(DIRECTORY "/snapshot-", 0);
    struct disk_place place;
    if (path != NULL && disk_find_offset(path, rand_below(&world->rand, 400), &place)) {
        server->damaged = true;
        disk_flip(&place, (uint32_t)rand_below(&world->rand, 8));
    }
}

static void rot(struct world *world) {
    struct server *server = any(world);
    struct disk_place place;
    if (!may_damage(world, server)) {
        return;
    }
    bool was_up = server->up;
    nemesis_crash(server, world_one_in(world, 2));
    disk_use(server->disk);
    uint64_t what = rand_below(&world->rand, 10);
    if (what < 7) {
        rot_log(world, server);
    } else if (what < 9) {
        rot_snapshot(world, server);
    } else if (disk_find_offset(DIRECTORY "/hard-state",
                                (world_one_in(world, 2) ? 4096u : 8192u) +
                                    rand_below(&world->rand, 64),
                                &place) &&
               was_up) { /* not both slots, one after the other */
        disk_flip(&place, (uint32_t)rand_below(&world->rand, 8)); /* the other slot has it */
    }
}

/* ---- graceful ends ---- */

static void left(void *context) {
    struct server *server = context;
    world_post(server->world, 1 * MS, EVENT_STOPPED, server)->a = 1;
}

/* SIGTERM, or `cairn leave`. */
static void stop_gracefully(struct world *world) {
    struct server *server = &world->servers[rand_below(&world->rand, world->server_count)];
    if (!server->up || server->leaving || server->hang_until > world->now) {
        return;
    }
    bool for_good = world_one_in(world, 2);
    if (for_good && (count_damaged(world) > 0 || !is_complete(world))) {
        return;
    }
    world->leaves++;
    server->leaving = for_good;
    world_trace(world, "%c %s", server->letter, for_good ? "leaves" : "stops");
    if (!for_good) {
        world_post(world, 1 * MS, EVENT_STOPPED, server);
        return;
    }
    server_enter(server);
    group_leave(server->group, left, server);
    server_leave(server);
}

void nemesis_stopped(struct server *server, bool left_group) {
    struct world *world = server->world;
    if (server->hang_until > world->now) {
        server->hang_until = world->now;
    }
    server_stop(server);
    server->left = left_group;
    disk_use(server->disk);
    disk_restart(false);
    for (uint32_t i = 0; i < world->server_count; i++) {
        server_tell_pool(&world->servers[i]);
    }
    world_post(world, world_between(world, 100 * MS, 1500 * MS), EVENT_RESTART, server);
}

/* ---- operators ---- */

static void change(struct world *world) {
    struct server *leader = members_leader(world), *server = any(world);
    if (leader == NULL || count_damaged(world) > 0 || !is_complete(world)) {
        return;
    }
    enum raft_change_kind kind =
        world_one_in(world, 2) ? RAFT_CHANGE_REMOVE : RAFT_CHANGE_ADD_LEARNER;
    struct err_text text;
    world->changes++;
    server_enter(leader);
    /* Somebody does not wait for the first: the core has to. */
    if (group_change(leader->group, kind, &server->id, &text) == ERR_OK && world_one_in(world, 2)) {
        group_change(leader->group, kind, &any(world)->id, &text);
    }
    server_leave(leader);
}

/* Of a leader that has committed nothing yet: it has to refuse (2015). */
void nemesis_too_early(struct server *server) {
    struct err_text text;
    if (group_change(server->group, RAFT_CHANGE_ADD_LEARNER, &server->id, &text) == ERR_OK) {
        server->world->changes++;
    }
    server_leave(server);
}

static void transfer(struct world *world) {
    struct server *leader = members_leader(world);
    if (leader == NULL) {
        return;
    }
    struct err_text text;
    world->transfers++;
    server_enter(leader);
    group_transfer(leader->group, world_one_in(world, 2) ? NULL : &any(world)->id, &text);
    server_leave(leader);
    /* The old leader does not hear what becomes of it. */
    for (uint32_t i = 0; i < world->server_count && world_one_in(world, 2); i++) {
        world->links[i][leader->at].cut = true;
    }
}

static void crash_all(struct world *world) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        nemesis_crash(&world->servers[i], true);
    }
}

/* A plot against leases: a server that has waited for long comes back to followers that have just
 * restarted, while the leader is cut off. */
static void begin_plot(struct world *world) {
    struct server *leader = members_leader(world), *waiting = any(world);
    if (leader == NULL || waiting == leader || world->voter_count < 3) {
        return;
    }
    heal_net(world);
    for (uint32_t i = 0; i < world->server_count; i++) {
        world->links[i][waiting->at].cut = world->links[waiting->at][i].cut = true;
    }
    world_post(world, world_between(world, 450 * MS, 900 * MS), EVENT_NEMESIS, waiting)->a = 1;
}

static void end_plot(struct world *world, struct server *waiting) {
    struct server *leader = members_leader(world);
    if (leader == NULL || !waiting->up || world->calm) {
        return;
    }
    world_trace(world, "plot: %c against %c", waiting->letter, leader->letter);
    heal_net(world);
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        world->links[i][leader->at].cut = world->links[leader->at][i].cut = true;
        if (server != leader && server != waiting && server->up) {
            nemesis_crash(server, false);
            world_post(world, 2 * MS, EVENT_RESTART, server);
        }
    }
}

void nemesis_strike(struct world *world, const struct event *event) {
    if (event->a == 1) {
        end_plot(world, &world->servers[event->server]);
        return;
    }
    if (world->calm) {
        return;
    }
    uint64_t what = rand_below(&world->rand, 100);
    if (what < 3) {
        begin_plot(world);
    } else if (what < 12) {
        partition(world);
    } else if (what < 20) {
        cut_one_way(world);
    } else if (what < 34) {
        heal_net(world);
    } else if (what < 42) {
        bad_net(world);
    } else if (what < 45) {
        stop_gracefully(world);
    } else if (what < 49) {
        victim(world)->stands_still = true;
    } else if (what < 60) {
        nemesis_crash(victim(world), world_one_in(world, 2));
    } else if (what < 64) {
        crash_all(world);
    } else if (what < 70) {
        disk_fault(world);
    } else if (what < 75) {
        hang(world);
    } else if (what < 80) {
        repair_disks(world);
    } else if (what < 83) {
        wipe(world);
    } else if (what < 88) {
        rot(world);
    } else if (what < 93) {
        change(world);
    } else {
        transfer(world);
    }
    uint64_t most = world_one_in(world, 4) ? 1500 * MS : 250 * MS;
    world_post(world, world_between(world, 10 * MS, most), EVENT_NEMESIS, NULL);
}

/* The disk gave notice once all was calm, of a fault that is older. */
void nemesis_operator(struct world *world) {
    for (uint32_t i = 0; i < world->server_count && !world->failed; i++) {
        struct server *server = &world->servers[i];
        if (!server->up || !server->group->disk_failed) {
            continue;
        }
        disk_use(server->disk);
        if (!disk_sync_has_failed() && !disk_write_has_failed() && !server->damaged) {
            world_fail(world, "%c gives up a disk that has not failed", server->letter);
        }
        nemesis_crash(server, false);
    }
}

void nemesis_calm(struct world *world) {
    world_trace(world, "calm");
    world->calm = true;
    world->calm_at = world->now;
    heal_net(world);
    for (uint32_t i = 0; i < world->server_count; i++) {
        if (world->servers[i].hang_until > world->now) {
            nemesis_crash(&world->servers[i], false);
        }
        world->servers[i].hang_until = 0;
        if (!world->servers[i].up) {
            world_post(world, 10 * MS, EVENT_RESTART, &world->servers[i]);
        }
    }
    repair_disks(world);
}
