/* The figures that docs/TESTING.md tells: how fast, how calm, how cheap. */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <time.h>

#include "base/mem.h"
#include "tests/sim/pool_sim.h"

#define SECOND UINT64_C(1000000)

static double cpu_s(void) {
    return (double)clock() / CLOCKS_PER_SEC;
}

static double resident_gib(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (double)usage.ru_maxrss / (1024.0 * 1024.0);
}

static int by_value(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

#define WAN_DELAY_US 40000 /* one way at least; at most twice that */

static void init_world(struct pool_world *world, uint64_t seed, uint32_t members, bool wan) {
    struct gossip_config config = wan ? gossip_config_wan() : gossip_config_lan();
    pool_world_init(world, seed, &config, members);
    world->delay_us = wan ? WAN_DELAY_US : world->delay_us;
    pool_start_all(world);
}

/* From the fault until all others hold it dead, in ms; 60,000: not all did. */
static uint64_t time_to_death(uint32_t members, uint64_t seed, bool wan, bool cut, bool hint) {
    struct pool_world world;
    init_world(&world, seed, members, wan);
    pool_run(&world, 5 * SECOND + pool_random(&world, SECOND));
    uint32_t victim = members - 1;
    world.watched = victim;
    uint64_t since = world.now_us;
    if (cut) {
        pool_cut(&world, victim, true);
    } else {
        pool_kill(&world, victim);
    }
    if (hint) { /* its connection to a server closes */
        struct gossip_event event = {.kind = GOSSIP_EVENT_HINT,
                                     .hint.id = world.members[victim].id};
        pool_step(&world, 0, &event);
    }
    while (world.watched_dead < members - 1 && world.now_us < since + 60 * SECOND) {
        pool_run(&world, world.now_us + SECOND / 20);
    }
    uint64_t ms = world.watched_dead < members - 1 ? 60000 : (world.watched_all_us - since) / 1000;
    pool_world_clear(&world);
    return ms;
}

static void show_detection(uint32_t members, uint32_t runs, bool wan, int fault_count) {
    static const char *const faults[] = {"cut off", "killed", "killed, connection seen to close"};
    uint64_t *times = mem_calloc(runs, sizeof *times);
    for (int fault = 0; fault < fault_count; fault++) {
        for (uint32_t i = 0; i < runs; i++) {
            times[i] = time_to_death(members, 1 + i, wan, fault == 0, fault == 2);
        }
        qsort(times, runs, sizeof *times, by_value);
        printf("%u members, one %s: dead to all after (ms): median %" PRIu64 ", 90 %% %" PRIu64
               ", 99 %% %" PRIu64 ", worst of %u runs %" PRIu64 "\n",
               members, faults[fault], times[runs / 2], times[runs * 9 / 10],
               times[runs * 99 / 100], runs, times[runs - 1]);
    }
    free(times);
}

int pool_figure_detect(uint32_t members, uint32_t runs) {
    show_detection(members, runs, false, 3);
    return 0;
}

/* What a member may send, a second: a healthy pool does not all turn to whoever comes back. */
#define PAUSED_BYTES(members) (500 + 10 * (uint64_t)(members))

/* One in twenty members is paused again and again, up to 20 s, with up to 2 s between. */
static void pause_again(struct pool_world *world, uint32_t member) {
    uint64_t ms = 100 + pool_random(world, 19900);
    if (pool_one_in(world, 2)) {
        pool_pause(world, member, ms);
    } else {
        pool_stick(world, member, ms);
    }
    pool_at(world, world->now_us + (ms + 1 + pool_random(world, 2000)) * 1000, pause_again, member);
}

static void paused_run(uint32_t members, uint64_t seed, bool lifeguard, uint64_t seconds,
                       struct pool_world *world) {
    struct gossip_config config = gossip_config_lan();
    config.lifeguard = lifeguard;
    if (!lifeguard) {
        config.guard_percent = 100;
    }
    pool_world_init(world, seed, &config, members);
    world->delay_us = 500;
    for (uint32_t i = 0; i < members / 20; i++) {
        uint32_t sick = (uint32_t)pool_random(world, members);
        if (world->members[sick].healthy) {
            world->members[sick].healthy = false;
            pool_at(world, SECOND + pool_random(world, 5 * SECOND), pause_again, sick);
        }
    }
    pool_start_all(world);
    pool_run(world, seconds * SECOND);
}

static uint64_t total_bytes(const struct pool_world *world, uint64_t *ret_packets) {
    uint64_t bytes = 0;
    *ret_packets = 0;
    for (uint32_t i = 0; i < world->count; i++) {
        bytes += world->members[i].bytes;
        *ret_packets += world->members[i].packets;
    }
    return bytes;
}

int pool_figure_paused(uint32_t members, uint64_t from, uint64_t count, bool plain) {
    uint64_t seconds = members <= 1000 ? 60 : 30; /* thousands take minutes of CPU */
    uint64_t evicted[2] = {0}, by_healthy[2] = {0}, suspected[2] = {0}, steps = 0, bad_runs = 0;
    uint64_t bytes = 0, packets;
    for (uint64_t seed = from; seed < from + count; seed++) {
        for (int lifeguard = plain ? 0 : 1; lifeguard < 2; lifeguard++) {
            struct pool_world world;
            paused_run(members, seed, lifeguard == 1, seconds, &world);
            evicted[lifeguard] += world.false_deaths;
            by_healthy[lifeguard] += world.unjust_deaths;
            suspected[lifeguard] += world.false_suspicions;
            steps += world.steps;
            bytes += lifeguard == 1 ? total_bytes(&world, &packets) : 0;
            if (lifeguard == 1 && world.false_deaths > 0) {
                bad_runs++;
                printf("seed %" PRIu64 ": healthy members held dead %u times, by healthy ones %u\n",
                       seed, world.false_deaths, world.unjust_deaths);
            }
            pool_world_clear(&world);
        }
    }
    printf("%u members, 5 %% paused up to 20 s, %" PRIu64 " seeds of %" PRIu64
           " s: a healthy member was held "
           "dead %" PRIu64 " times (by healthy ones %" PRIu64 "), suspected %" PRIu64 " times\n",
           members, count, seconds, evicted[1], by_healthy[1], suspected[1]);
    if (plain) {
        printf("the same, plain SWIM: held dead %" PRIu64 " times (by healthy ones %" PRIu64
               "), suspected %" PRIu64 " times\n",
               evicted[0], by_healthy[0], suspected[0]);
    }
    bytes /= seconds * count * members;
    printf("%" PRIu64 " bytes a member and second (at most %" PRIu64 "), %" PRIu64
           " steps, %.0f s of CPU\n",
           bytes, PAUSED_BYTES(members), steps, cpu_s());
    return bad_runs > 0 || bytes > PAUSED_BYTES(members);
}

int pool_figure_join(uint32_t members) {
    struct gossip_config config = gossip_config_lan();
    struct pool_world world;
    pool_world_init(&world, 1, &config, members);
    uint32_t joiner = members - 1;
    for (uint32_t i = 0; i < joiner; i++) {
        pool_start(&world, i);
    }
    for (uint32_t i = 0; i < joiner; i++) {
        for (uint32_t k = 0; k < joiner; k++) {
            if (k != i) {
                pool_load(&world, i, k);
            }
        }
    }
    printf("%u members that know each other: %.2f GiB, %.0f s of CPU\n", joiner, resident_gib(),
           cpu_s());
    fflush(stdout);
    pool_run(&world, 5 * SECOND);
    world.watched = joiner;
    pool_start(&world, joiner);
    uint64_t since = world.now_us;
    pool_join(&world, joiner, 17);
    uint64_t enough = 0;
    while (world.now_us < since + 25 * SECOND) {
        pool_run(&world, world.now_us + SECOND / 100);
        if (enough == 0 && world.watched_known * UINT64_C(1000) >= joiner * UINT64_C(999)) {
            enough = world.now_us - since;
        }
    }
    printf("one more joins: known to 99.9 %% after %.2f s, to all after %.2f s (%u)\n",
           (double)enough / 1e6, (double)(world.watched_all_us - since) / 1e6, world.watched_known);
    printf("30 s of virtual time: %" PRIu64 " steps, %.0f s of CPU in all, %.2f GiB\n", world.steps,
           cpu_s(), resident_gib());
    bool good = enough > 0 && enough <= 5 * SECOND / 2 && world.false_deaths == 0;
    pool_world_clear(&world);
    return !good;
}

/* At rest, for 30 s. */
static void show_traffic(uint32_t members, bool wan) {
    struct pool_world world;
    double start = cpu_s();
    init_world(&world, 1, members, wan);
    pool_run(&world, 2 * SECOND);
    pool_traffic_reset(&world);
    pool_run(&world, 32 * SECOND);
    uint64_t packets;
    uint64_t bytes = total_bytes(&world, &packets);
    printf("| %u | %.2f | %.0f | %.1f |\n", members, (double)packets / members / 30,
           (double)bytes / members / 30, cpu_s() - start);
    fflush(stdout);
    pool_world_clear(&world);
}

int pool_figure_traffic(void) {
    static const uint32_t sizes[] = {30, 100, 300, 1000, 3000, 10000};
    printf("| members | packets/s | bytes/s | CPU s |\n|---|---|---|---|\n");
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        show_traffic(sizes[i], false);
    }
    return 0;
}

int pool_figure_wan(uint32_t members, uint32_t runs) {
    printf("| members | packets/s | bytes/s | CPU s |\n|---|---|---|---|\n");
    show_traffic(members, true);
    show_detection(members, runs, true, 2);
    return 0;
}

static void start_again(struct pool_world *world, uint32_t member) {
    if (world->members[member].gossip == NULL) {
        pool_start(world, member);
    }
    /* As retry_join does it: until it is in. */
    if (gossip_member_slots(world->members[member].gossip) < 2 || world->now_us < 3 * SECOND) {
        uint32_t to = (uint32_t)pool_random(world, 3);
        if (to != member) {
            pool_join(world, member, to);
        }
        pool_at(world, world->now_us + SECOND, start_again, member);
    }
}

int pool_figure_restart(uint32_t members) {
    struct gossip_config config = gossip_config_lan();
    struct pool_world world;
    pool_world_init(&world, 1, &config, members);
    pool_start_all(&world);
    pool_run(&world, SECOND);
    for (uint32_t i = 0; i < members; i++) {
        pool_kill(&world, i);
        pool_at(&world, world.now_us + pool_random(&world, 2 * SECOND), start_again, i);
    }
    pool_run(&world, 31 * SECOND);
    uint64_t unseen = 0, accused = 0;
    for (uint32_t i = 0; i < members; i++) {
        struct gossip_status status;
        gossip_get_status(world.members[i].gossip, &status);
        accused += status.suspect + status.dead;
        unseen += members - status.alive - status.suspect - status.dead;
    }
    printf("%u members restarted at once, 30 s later: %" PRIu64 " unseen, %" PRIu64
           " accused, of %" PRIu64 " pairs; %.0f s of CPU\n",
           members, unseen, accused, (uint64_t)members * members, cpu_s());
    pool_world_clear(&world);
    return unseen + accused > 0;
}
