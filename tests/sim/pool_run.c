/* One run: a small pool, a kind of trouble chosen by the seed, then calm, then the checks. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/pool_sim.h"

#define SECOND UINT64_C(1000000)

static void settle(struct pool_world *world, uint64_t seconds) {
    pool_run(world, world->now_us + seconds * SECOND);
}

static void check_calm(struct pool_world *world) {
    check_pool_seen(world);
    check_pool_dead(world);
    check_pool_counts(world);
}

/* All start apart and join through one of the first three, as agents do. */
static void start_and_join(struct pool_world *world) {
    for (uint32_t i = 0; i < world->count; i++) {
        pool_start(world, i);
        settle(world, 0);
        if (i > 0) {
            pool_join(world, i, (uint32_t)pool_random(world, i < 3 ? i : 3));
        }
        pool_run(world, world->now_us + pool_random(world, SECOND / 5));
    }
    settle(world, 5);
}

/* ---- chaos ---- */

static void rejoin(struct pool_world *world, uint32_t member) {
    if (world->members[member].gossip == NULL) {
        return;
    }
    for (uint32_t tries = 0; tries < 8; tries++) {
        uint32_t to = (uint32_t)pool_random(world, world->count);
        if (to != member && world->members[to].gossip != NULL) {
            pool_join(world, member, to);
            break;
        }
    }
    /* As retry_join does it: until it is in. */
    if (gossip_member_slots(world->members[member].gossip) < 2) {
        pool_at(world, world->now_us + SECOND, rejoin, member);
    }
}

static void start_anew(struct pool_world *world, uint32_t member) {
    if (world->members[member].gossip == NULL) {
        pool_start(world, member);
        pool_at(world, world->now_us, rejoin, member);
    }
}

static void send_event(struct pool_world *world, uint32_t member, struct gossip_event event) {
    if (world->members[member].gossip != NULL) {
        pool_step(world, member, &event);
    }
}

static void leave(struct pool_world *world, uint32_t member) {
    send_event(world, member, (struct gossip_event){.kind = GOSSIP_EVENT_LEAVE});
}

static void change_tags(struct pool_world *world, uint32_t member) {
    if (world->members[member].gossip == NULL) {
        return;
    }
    world->members[member].version++;
    struct str_pair pair[1];
    char value[16];
    send_event(world, member,
               (struct gossip_event){.kind = GOSSIP_EVENT_UPDATE_SELF,
                                     .update_self.info = pool_info(world, member, pair, value)});
}

/* An operator at some member gives another one up. */
static void give_up(struct pool_world *world, uint32_t member) {
    uint32_t at = (uint32_t)pool_random(world, world->count);
    struct gossip_member seen;
    if (world->members[at].gossip == NULL || at == member ||
        !gossip_find_id(world->members[at].gossip, &world->members[member].id, &seen)) {
        return;
    }
    struct gossip_event event = {.kind = GOSSIP_EVENT_FORCE_LEAVE,
                                 .force_leave = {world->members[member].id, pool_one_in(world, 2)}};
    if (pool_one_in(world, 3) && seen.state == GOSSIP_DEAD) {
        event.kind = GOSSIP_EVENT_TOMBSTONE;
        event.tombstone.id = world->members[member].id;
        event.tombstone.incarnation = seen.incarnation;
        event.tombstone.prune = true;
    }
    send_event(world, at, event);
}

static void trouble(struct pool_world *world, uint32_t member) {
    struct pool_member *m = &world->members[member];
    m->healthy = false;
    uint64_t later = world->now_us + SECOND + pool_random(world, 20 * SECOND);
    switch (pool_random(world, 11)) {
    case 0:
        pool_pause(world, member, 100 + pool_random(world, 20000));
        break;
    case 1:
    case 2:
        if (m->gossip != NULL) {
            pool_kill(world, member);
            pool_at(world, later, give_up, member);
        }
        if (!pool_one_in(world, 3)) {
            pool_at(world, later + pool_random(world, 5 * SECOND), start_anew, member);
        }
        break;
    case 3:
        leave(world, member);
        if (pool_one_in(world, 2)) {
            pool_at(world, later, start_anew, member);
        }
        break;
    case 4:
        m->deaf = true;
        break;
    case 5:
        m->mute = true;
        break;
    case 6:
        m->slow_ms = 50 + (uint32_t)pool_random(world, 300);
        break;
    case 7:
    case 8:
        change_tags(world, member);
        break;
    case 9:
        pool_cut(world, member, true);
        break;
    default:
        world->partitioned = !world->partitioned;
        m->side ^= 1;
        break;
    }
}

static void heal(struct pool_world *world, uint32_t unused) {
    (void)unused;
    world->loss_per_1000 = 0;
    world->duplicate_per_1000 = 0;
    world->slow_packet_per_1000 = 0;
    world->partitioned = false;
    for (uint32_t i = 0; i < world->count; i++) {
        world->members[i].cut = false;
        world->members[i].deaf = false;
        world->members[i].mute = false;
        world->members[i].slow_ms = 0;
    }
}

static void chaos(struct pool_world *world) {
    start_and_join(world);
    world->loss_per_1000 = pool_one_in(world, 2) ? (uint32_t)pool_random(world, 200) : 0;
    world->duplicate_per_1000 = (uint32_t)pool_random(world, 100);
    world->slow_packet_per_1000 = (uint32_t)pool_random(world, 100);
    for (uint32_t i = 0; i < world->count; i++) {
        world->members[i].side = pool_one_in(world, 2);
    }
    uint32_t troubles = 2 + (uint32_t)pool_random(world, 12);
    for (uint32_t i = 0; i < troubles; i++) {
        pool_at(world, world->now_us + pool_random(world, 60 * SECOND), trouble,
                (uint32_t)pool_random(world, world->count));
    }
    pool_at(world, world->now_us + 70 * SECOND, heal, 0);
    settle(world, 90);
    /* Who was left alone cannot be found again by gossip: its agent joins anew. */
    for (uint32_t i = 0; i < world->count; i++) {
        pool_at(world, world->now_us + SECOND, rejoin, i);
    }
    settle(world, 90);
    check_calm(world);
}

/* ---- one death in a quiet pool ---- */

static void one_death(struct pool_world *world) {
    start_and_join(world);
    settle(world, 5);
    uint64_t since = world->now_us;
    pool_traffic_reset(world);
    settle(world, 30);
    check_pool_traffic(world, since, 24, 3000);
    uint32_t victim = (uint32_t)pool_random(world, world->count);
    bool cut = pool_one_in(world, 2);
    if (cut) {
        pool_cut(world, victim, true);
    } else {
        world->members[victim].healthy = false;
        pool_kill(world, victim);
    }
    settle(world, 25);
    check_pool_death_time(world, victim, cut ? 4500 : 1500);
    check_pool_no_false_death(world);
}

/* ---- the guard ---- */

static void mass_failure(struct pool_world *world) {
    pool_start_all(world);
    settle(world, 3);
    uint32_t died = 0;
    bool cut = pool_one_in(world, 2);
    uint32_t leaver = world->count - 1;
    for (uint32_t i = 2; i < leaver; i++) { /* the server 2, and more than half of the clients */
        if (i == 2 || i % 5 < 3) {
            if (cut) {
                pool_cut(world, i, true);
                world->members[i].life = POOL_DOWN;
            } else {
                pool_kill(world, i);
            }
            died += i > 2;
        }
    }
    settle(world, 1);
    leave(world, leaver);
    settle(world, 52); /* a push/pull tells of the leave whom no rumour reached */
    check_pool_guard(world, died, world->count - 3);
    check_pool_counts(world);
    /* All come back: nobody stays frozen. */
    for (uint32_t i = 2; i < leaver; i++) {
        if (world->members[i].life == POOL_DOWN) {
            if (cut) {
                pool_cut(world, i, false);
                world->members[i].life = POOL_UP;
            } else {
                start_anew(world, i);
            }
        }
    }
    settle(world, 100);
    check_calm(world);
}

/* ---- the paused ---- */

static void pause_again(struct pool_world *world, uint32_t member) {
    uint64_t ms = 100 + pool_random(world, 19900);
    if (pool_one_in(world, 2)) {
        pool_pause(world, member, ms);
    } else {
        pool_stick(world, member, ms);
    }
    pool_at(world, world->now_us + (ms + 1 + pool_random(world, 2000)) * 1000, pause_again, member);
}

static void paused(struct pool_world *world) {
    for (uint32_t i = 0; i < world->count / 5; i++) {
        uint32_t sick = (uint32_t)pool_random(world, world->count);
        if (world->members[sick].healthy) {
            world->members[sick].healthy = false;
            pool_at(world, SECOND + pool_random(world, SECOND), pause_again, sick);
        }
    }
    pool_start_all(world);
    settle(world, 60);
    check_pool_no_false_death(world);
}

static void hear_again(struct pool_world *world, uint32_t member) {
    world->members[member].deaf = false;
}

/* One member is suspect for a moment; others are suspended before they hear the refutation, lose
 * what is sent to them, and wake when the suspicion should long have ended. */
static void sleepy(struct pool_world *world) {
    pool_start_all(world);
    settle(world, 2);
    uint32_t accused = world->count - 1;
    world->members[accused].deaf = true;
    for (uint32_t i = 0; i < 60 && world->false_suspicions < world->count / 2; i++) {
        pool_run(world, world->now_us + SECOND / 20);
    }
    for (uint32_t i = 0; i < 5; i++) {
        if (world->views[i][accused].state == GOSSIP_SUSPECT + 1) {
            uint64_t ms = 8000 + pool_random(world, 8000);
            world->members[i].deaf = true;
            pool_pause(world, i, ms);
            pool_at(world, world->now_us + ms * 1000 - 1, hear_again, i);
        }
    }
    world->members[accused].deaf = false;
    settle(world, 30);
    check_pool_no_false_death(world);
}

/* ---- what must not come back ---- */

/* One member sleeps while another one goes for good, and wakes with what it knew. */
static void old_news(struct pool_world *world) {
    start_and_join(world);
    uint32_t sleeper = 1 + (uint32_t)pool_random(world, world->count - 2);
    uint32_t goes = world->count - 1;
    sleeper = sleeper == goes ? 1 : sleeper;
    world->members[goes].healthy = false;
    bool leaves = pool_one_in(world, 2);
    pool_cut(world, sleeper, true);
    if (leaves) {
        leave(world, goes);
    } else {
        pool_kill(world, goes);
    }
    settle(world, 12);
    if (!leaves && pool_one_in(world, 2)) {
        struct gossip_member seen;
        if (gossip_find_id(world->members[0].gossip, &world->members[goes].id, &seen)) {
            send_event(world, 0,
                       (struct gossip_event){.kind = GOSSIP_EVENT_TOMBSTONE,
                                             .tombstone = {world->members[goes].id,
                                                           seen.incarnation, .prune = true}});
        }
        settle(world, 5);
    }
    pool_cut(world, sleeper, false);
    pool_join(world, sleeper, sleeper == 2 ? 1 : 2);
    settle(world, 100);
    check_calm(world);
    /* It returns itself, with a new life: it is welcome. */
    start_anew(world, goes);
    settle(world, 10);
    check_calm(world);
}

/* ---- identity ---- */

static void clash(struct pool_world *world) {
    uint32_t a = 4, b = world->count - 1;
    bool clone = pool_one_in(world, 2);
    snprintf(world->members[b].name, sizeof world->members[b].name, "NODE-%u", a);
    if (clone) {
        world->members[b].id = world->members[a].id;
        world->members[b].boot_epoch += 100;
    }
    for (uint32_t i = 0; i < b; i++) {
        pool_start(world, i);
        if (i > 0) {
            pool_join(world, i, 0);
        }
        settle(world, 0);
    }
    settle(world, 5);
    pool_start(world, b);
    pool_join(world, b, 1);
    settle(world, 30);
    check_pool_identity(world, a, b);
}

/* ---- user events ---- */

/* Lost packets, a member that is cut off for a time and fires meanwhile, one that starts anew. */
static void told(struct pool_world *world) {
    start_and_join(world);
    world->loss_per_1000 = (uint32_t)pool_random(world, 200);
    world->duplicate_per_1000 = 50;
    uint32_t alone = (uint32_t)pool_random(world, world->count);
    uint32_t restarts = (alone + 1) % world->count;
    for (uint32_t i = 0; i < 40; i++) {
        pool_at(world, world->now_us + pool_random(world, 40 * SECOND), pool_fire,
                (uint32_t)pool_random(world, world->count));
    }
    settle(world, 10);
    pool_cut(world, alone, true);
    pool_fire(world, alone);
    settle(world, 10);
    world->members[restarts].healthy = false;
    pool_kill(world, restarts);
    pool_at(world, world->now_us + SECOND, start_anew, restarts);
    settle(world, 10);
    pool_cut(world, alone, false);
    pool_at(world, world->now_us + SECOND, rejoin, alone);
    settle(world, 15);
    world->loss_per_1000 = 0;
    settle(world, 80);
    check_calm(world);
    check_pool_events(world);
}

bool pool_run_seed(uint64_t seed, char message[256], uint64_t *ret_steps, uint64_t *ret_changes) {
    static void (*const kinds[])(struct pool_world *) = {chaos,  chaos,    one_death, mass_failure,
                                                         paused, old_news, clash,     sleepy};
    struct pool_world world;
    struct gossip_config config = gossip_config_lan();
    struct rand rand;
    rand_init(&rand, seed * 7919);
    void (*kind)(struct pool_world *) = seed % 40 == 17 ? told : kinds[seed % 8];
    uint32_t count = 5 + (uint32_t)rand_below(&rand, 30);
    if (kind == mass_failure) {
        count = 20 + (uint32_t)rand_below(&rand, 20);
    } else if (kind == paused || kind == sleepy) {
        count = 30 + (uint32_t)rand_below(&rand, 30);
    } else if (kind == one_death) {
        count = 10 + (uint32_t)rand_below(&rand, 21);
    } else if (kind == clash) {
        count = 8 + (uint32_t)rand_below(&rand, 8);
    }
    pool_world_init(&world, seed, &config, count);
    kind(&world);
    memcpy(message, world.message, sizeof world.message);
    bool failed = world.failed;
    *ret_steps += world.steps;
    *ret_changes += world.changes;
    pool_world_clear(&world);
    return !failed;
}
