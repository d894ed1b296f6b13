/* Whole pools whose members are somewhere: the round trips between them are those of a plane, with
 * an access link each and jitter. After a while coordinates must tell round trips that nobody has
 * measured. Usage: sim_places [seeds]. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#include "tests/sim/pool_sim.h"

#define SECOND UINT64_C(1000000)
#define MEMBERS 40
#define RUN_S 600
/* Of the estimates, relative: the median and nine of ten. */
#define MEDIAN_MAX 0.06
#define MOST_MAX 0.20

struct kind {
    const char *name;
    struct gossip_config (*config)(void);
    uint32_t spread_us, access_us; /* at most, one way */
};

static const struct kind kinds[] = {
    {"lan", gossip_config_lan, 5000, 1000},
    {"wan", gossip_config_wan, 40000, 5000},
};

static int by_value(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* There and back, with the jitter's mean. */
static double truth_s(const struct pool_world *world, uint32_t a, uint32_t b) {
    const struct pool_member *x = &world->members[a], *y = &world->members[b];
    double dx = (double)x->x_us - y->x_us, dy = (double)x->y_us - y->y_us;
    double one_way_us =
        sqrt(dx * dx + dy * dy) + x->access_us + y->access_us + 1.5 * world->delay_us;
    return 2 * one_way_us / 1e6;
}

/* False: the estimates are off. */
static bool run(const struct kind *kind, uint64_t seed) {
    static double errors[MEMBERS * MEMBERS];
    struct gossip_config config = kind->config();
    struct pool_world world;
    pool_world_init(&world, seed, &config, MEMBERS);
    for (uint32_t i = 0; i < MEMBERS; i++) {
        world.members[i].x_us = (uint32_t)pool_random(&world, kind->spread_us);
        world.members[i].y_us = (uint32_t)pool_random(&world, kind->spread_us);
        world.members[i].access_us = (uint32_t)pool_random(&world, kind->access_us);
    }
    world.loss_per_1000 = 5;
    world.slow_packet_per_1000 = 10;
    pool_start_all(&world);
    pool_run(&world, RUN_S * SECOND);
    uint32_t count = 0;
    for (uint32_t a = 0; a < MEMBERS; a++) {
        struct coordinate at_a;
        gossip_get_coordinate(world.members[a].gossip, &at_a);
        for (uint32_t b = 0; b < a; b++) {
            struct coordinate at_b;
            gossip_get_coordinate(world.members[b].gossip, &at_b);
            double truth = truth_s(&world, a, b);
            errors[count++] = fabs(coordinate_rtt_s(&at_a, &at_b) - truth) / truth;
        }
    }
    qsort(errors, count, sizeof errors[0], by_value);
    double median = errors[count / 2], most = errors[count * 9 / 10];
    bool good = !world.failed && median <= MEDIAN_MAX && most <= MOST_MAX;
    printf("%s seed %llu: median error %.3f, 90 %% %.3f%s%s\n", kind->name,
           (unsigned long long)seed, median, most, good ? "" : " FAILED ", world.message);
    pool_world_clear(&world);
    return good;
}

int main(int argc, char **argv) {
    uint64_t seeds = argc > 1 ? strtoull(argv[1], NULL, 10) : 3;
    bool good = true;
    for (size_t kind = 0; kind < sizeof kinds / sizeof kinds[0]; kind++) {
        for (uint64_t seed = 1; seed <= seeds; seed++) {
            good = run(&kinds[kind], seed) && good;
        }
    }
    return !good;
}
