/* What goes wrong: links are cut, one way or both, slow or lossy, of a host, of two, or between two
 * halves; connections break; processes stand still; agents crash, leave, are wiped, move, and come
 * back; all servers crash at once; operators remove those that are down; leaders change and refuse.
 */
#include <stdlib.h>
#include <string.h>

#include "agent/pools_internal.h"
#include "agent/removals.h"
#include "base/mem.h"
#include "tests/sim/datacenter/datacenter.h"

#define DOWN_MAX 2 /* clients, at the end: of more the pool would hold some for alive */

void nemesis_init(struct world *world) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        for (uint32_t j = 0; j < world->server_count; j++) {
            world->links[i][j] = (struct link){.delay_us = 200, .jitter_us = 300};
        }
    }
}

/* ---- links ---- */

static void heal(struct link *link) {
    link->cut = false;
    link->drop_per_1000 = 0;
    link->delay_us = 200;
    link->jitter_us = 300;
}

void nemesis_heal(struct world *world, const struct event *event) {
    uint32_t from = (uint32_t)event->a / SERVERS_MAX, to = (uint32_t)event->a % SERVERS_MAX;
    struct link *link = &world->links[from][to];
    if (link->faults == event->b) {
        heal(link);
        host_disturb(&world->servers[from]);
        host_disturb(&world->servers[to]);
    }
}

static void harm(struct world *world, uint32_t from, uint32_t to, uint64_t kind, uint64_t for_us) {
    struct link *link = &world->links[from][to];
    if (kind == 0) {
        link->cut = true;
    } else if (kind == 1) {
        link->delay_us = world_between(world, 50 * MS, 1200 * MS);
        link->jitter_us = link->delay_us / 2;
    } else {
        link->drop_per_1000 = (uint32_t)world_between(world, 50, 400);
    }
    struct event *event = world_post(world, for_us, EVENT_HEAL, NULL);
    event->a = from * SERVERS_MAX + to;
    event->b = ++link->faults;
    host_disturb(&world->servers[from]);
    host_disturb(&world->servers[to]);
}

static void harm_both(struct world *world, uint32_t a, uint32_t b, uint64_t kind, uint64_t ways,
                      uint64_t for_us) {
    if (ways != 1) {
        harm(world, a, b, kind, for_us);
    }
    if (ways != 2) {
        harm(world, b, a, kind, for_us);
    }
}

static const char *name_of_kind(uint64_t kind) {
    return kind == 0 ? "cut" : kind == 1 ? "slow" : "lossy";
}

/* All links of a host, or the one between two. A steady host is touched where it meets the other.
 */
static void harm_host(struct world *world, struct server *host) {
    uint64_t kind = rand_below(&world->rand, 3), ways = rand_below(&world->rand, 4);
    uint64_t for_us =
        world_between(world, 50 * MS, world_one_in(world, 3) ? 25 * SECOND : 5 * SECOND);
    uint32_t other = (uint32_t)rand_below(&world->rand, world->server_count);
    bool alone = world_one_in(world, 2);
    world_trace(world, "links of %s: %s for %llu ms", host->name, name_of_kind(kind),
                (unsigned long long)(for_us / MS));
    for (uint32_t i = 0; i < world->server_count; i++) {
        if (i != host->at && (alone || i == other)) {
            harm_both(world, host->at, i, kind, ways, for_us);
        }
    }
}

static void cut_halves(struct world *world) {
    uint64_t for_us = world_between(world, 200 * MS, 20 * SECOND),
             ways = rand_below(&world->rand, 4);
    uint64_t side = rand_next(&world->rand);
    world_trace(world, "two halves for %llu ms", (unsigned long long)(for_us / MS));
    for (uint32_t i = 0; i < world->server_count; i++) {
        for (uint32_t j = 0; j < i; j++) {
            if (((side >> i) & 1) != ((side >> j) & 1)) {
                harm_both(world, i, j, 0, ways, for_us);
            }
        }
    }
    world_disturb(world);
}

/* ---- hosts ---- */

static void set_fate(struct server *host, enum fate fate) {
    host->fate = fate;
    host->fate_us = host->world->now;
    host->node_gone = false;
    host_disturb(host);
}

static void start_later(struct world *world, const struct server *host, uint64_t after_us) {
    struct event *event = world_post(world, after_us, EVENT_START, NULL);
    event->a = host->at;
}

void nemesis_start(struct world *world, uint32_t at) {
    struct server *host = &world->servers[at];
    if (!host->up) {
        world_trace(world, "%s starts", host->name);
        set_fate(host, FATE_UP);
        host->born_us = host->born_us == 0 ? world->now : host->born_us;
        server_start(host);
    }
}

static void crash(struct world *world, struct server *host) {
    world_trace(world, "%s dies", host->name);
    world->kills++;
    set_fate(host, FATE_DOWN);
    server_kill(host);
    host_note_deaths(world);
}

static void crash_and_return(struct world *world, struct server *host) {
    uint64_t most = world_one_in(world, 3) ? 40 * SECOND : 4 * SECOND;
    uint64_t for_us = world_between(world, 50 * MS, most);
    crash(world, host);
    if (host->client && world_one_in(world, 6)) {
        world_trace(world, "%s is wiped", host->name);
        host_wipe(host);
        world->wipes++;
    }
    if (host->client && world_one_in(world, 6)) {
        host->address++;
        world_trace(world, "%s moves", host->name);
    }
    if (!host->client || !world_one_in(world, 5)) {
        start_later(world, host, for_us);
    }
    if (host->client && world_one_in(world, 3)) {
        world_post(world, world_between(world, 1 * SECOND, 15 * SECOND), EVENT_FORCE_LEAVE, NULL)
            ->a = host->at;
    }
}

/* The servers lose their power at once. */
static void restart_servers(struct world *world) {
    for (uint32_t i = 0; i < SERVER_COUNT; i++) {
        if (world->servers[i].up) {
            crash_and_return(world, &world->servers[i]);
        }
    }
}

static void leave(struct world *world, struct server *host) {
    world_trace(world, "%s leaves", host->name);
    world->leaves++;
    host->left_amid = world->now < world->disturbed_us + SETTLES_US;
    host_disturb(host);
    server_begin_leave(host);
    if (!world_one_in(world, 3)) {
        start_later(world, host, world_between(world, 3500 * MS, 30 * SECOND));
    }
}

/* ---- operators ---- */

struct removing {
    struct backend_call call;
    struct server *at;
    uint32_t whom;
    bool dead; /* as the agent that is asked sees it: else nothing happens */
    char name[16];
};

static void removed(void *context) {
    struct removing *removing = context;
    struct world *world = removing->at->world;
    struct server *host = &world->servers[removing->whom];
    world_trace(world, "force-leave of %s at %s: %s", host->name, removing->at->name,
                err_name(removing->call.err));
    if (removing->call.err == ERR_OK && removing->dead && host->fate == FATE_DOWN &&
        !removing->at->dying) {
        set_fate(host, FATE_REMOVED);
        world->removals++;
    }
    free(removing);
}

static void remove_member(struct server *server, uint64_t whom, uint64_t prune) {
    struct removing *removing = mem_calloc(1, sizeof *removing);
    const struct server *host = &server->world->servers[whom];
    *removing = (struct removing){.at = server, .whom = (uint32_t)whom};
    memcpy(removing->name, host->name, sizeof removing->name);
    removing->call.kind = BACKEND_FORCE_LEAVE;
    removing->call.force_leave.name = removing->name;
    removing->call.force_leave.prune = prune != 0;
    struct gossip_member member;
    removing->dead =
        gossip_find_id(pool_gossip(server->agent->pools->lan.pool), &host->node, &member) &&
        member.state == GOSSIP_DEAD;
    removals_run(server->agent, &removing->call, removed, removing);
}

/* At some agent that runs. */
void nemesis_force_leave(struct world *world, uint32_t at) {
    const struct server *host = &world->servers[at];
    struct server *asked = &world->servers[rand_below(&world->rand, world->server_count)];
    if (host->up || !asked->up || world->calm) {
        return;
    }
    server_do(asked, remove_member, at, rand_below(&world->rand, 2));
}

/* ---- strikes ---- */

static struct server *choose(struct world *world) {
    uint64_t count =
        world->tormented > 0 ? world->server_count - world->tormented : world->server_count;
    return &world->servers[world->tormented + rand_below(&world->rand, count)];
}

static void strike_host(struct world *world, struct server *host) {
    switch (rand_below(&world->rand, 9)) {
    case 0:
    case 1:
    case 2:
        harm_host(world, host);
        break;
    case 3:
    case 4:
    case 5:
        crash_and_return(world, host);
        break;
    case 6:
        if (host->client) {
            leave(world, host);
        }
        break;
    case 7:
        server_enter(host);
        host_disturb(host);
        sim_rpc_break_some(host, 0, SERVERS_MAX);
        break;
    default:
        host->stands_still = true;
        host_disturb(host);
    }
}

void nemesis_strike(struct world *world) {
    struct server *host = choose(world);
    if (world->calm) {
        return;
    }
    if (world->tormented == 0 && world_one_in(world, 6)) {
        group_depose(world, world_between(world, 1, 800 * MS));
    } else if (world->tormented == 0 && world_one_in(world, 12)) {
        cut_halves(world);
    } else if (world->tormented == 0 && world_one_in(world, 30)) {
        restart_servers(world);
    } else if (host->up) {
        strike_host(world, host);
    }
    uint64_t most = world_one_in(world, 6) ? 15 * SECOND : 3 * SECOND;
    world_post(world, world_between(world, 100 * MS, most), EVENT_NEMESIS, NULL);
}

void nemesis_calm(struct world *world) {
    uint32_t down = 0;
    world->calm = true;
    for (uint32_t i = 0; i < world->server_count; i++) {
        for (uint32_t j = 0; j < world->server_count; j++) {
            heal(&world->links[i][j]);
            world->links[i][j].faults++;
        }
    }
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *host = &world->servers[i];
        /* One that was wiped stays dead under its old id, too, and counts twice. */
        bool stays = host->client && !host->up && down < DOWN_MAX && world_one_in(world, 2) &&
                     host->born_us != 0;
        down += stays && host->fate == FATE_DOWN;
        host_disturb(host);
        if (!stays && !host->up) {
            nemesis_start(world, i);
        }
    }
    world_disturb(world);
}
