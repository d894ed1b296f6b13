/* Where members are: one step by hand, and spaces of synthetic round trips in which members must
 * find their places, though packets are late and some members lie. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "gossip/internal.h"

#define MEMBERS 40
#define ROUNDS 600
/* Across a continent, and the delay of an access link. */
#define SPREAD_S 0.080
#define HEIGHT_S 0.010

struct space {
    struct rand rand;
    struct vivaldi members[MEMBERS];
    double x[MEMBERS], y[MEMBERS], height[MEMBERS]; /* the truth */
};

static double draw(struct space *space) {
    return (double)rand_below(&space->rand, 1000001) / 1e6;
}

static void space_init(struct space *space, uint64_t seed) {
    rand_init(&space->rand, seed);
    for (int i = 0; i < MEMBERS; i++) {
        vivaldi_init(&space->members[i]);
        space->x[i] = SPREAD_S * draw(space);
        space->y[i] = SPREAD_S * draw(space);
        space->height[i] = HEIGHT_S * draw(space);
    }
}

static double true_rtt_s(const struct space *space, int a, int b) {
    double dx = space->x[a] - space->x[b], dy = space->y[a] - space->y[b];
    return sqrt(dx * dx + dy * dy) + space->height[a] + space->height[b] + 0.0002;
}

/* Each asks one other; spikes: so many of 1,000 answers take ten times as long. */
static void run_round(struct space *space, unsigned spikes) {
    for (int i = 0; i < MEMBERS; i++) {
        int other = (int)rand_below(&space->rand, MEMBERS);
        double rtt_s = true_rtt_s(space, i, other) * (1 + 0.1 * draw(space));
        rtt_s *= rand_below(&space->rand, 1000) < spikes ? 10 : 1;
        if (other != i) {
            vivaldi_update(&space->members[i], &space->rand, (uint64_t)other,
                           &space->members[other].own, rtt_s);
        }
    }
}

static int compare(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

/* Relative errors of all pairs among the first `count`, sorted. */
static size_t errors_of(const struct space *space, int count, double *ret_errors) {
    size_t pairs = 0;
    for (int a = 0; a < count; a++) {
        for (int b = 0; b < a; b++) {
            double truth = true_rtt_s(space, a, b);
            ret_errors[pairs++] =
                fabs(coordinate_rtt_s(&space->members[a].own, &space->members[b].own) - truth) /
                truth;
        }
    }
    qsort(ret_errors, pairs, sizeof *ret_errors, compare);
    return pairs;
}

static void assert_errors(const struct space *space, int count, double median, double p90) {
    static double errors[MEMBERS * MEMBERS];
    size_t pairs = errors_of(space, count, errors);
    if (errors[pairs / 2] > median || errors[pairs * 9 / 10] > p90) {
        fail_msg("median %.3f, 90 %% %.3f", errors[pairs / 2], errors[pairs * 9 / 10]);
    }
}

/* ---- [Vivaldi] figure 3, by hand ---- */

static void one_step_is_that_of_the_paper(void **state) {
    (void)state;
    struct vivaldi own;
    struct rand rand;
    struct coordinate other = coordinate_start();
    rand_init(&rand, 1);
    vivaldi_init(&own);
    other.vector[0] = 0.1;
    vivaldi_update(&own, &rand, 7, &other, 0.05);
    /* Both are as unsure, so w = 1/2; the distance is 0.10002 s, so it is wrong by 0.05002 s. */
    assert_true(fabs(own.own.error - (0.25 * 0.5 * (0.05002 / 0.05) + 1.5 * 0.875)) < 1e-9);
    assert_true(fabs(own.own.vector[0] - 0.25 * 0.5 * 0.05002) < 1e-7);
    assert_true(own.own.vector[1] >= 0 && own.own.vector[1] <= 0);
    /* Pulled closer, the height falls, but not below its least. */
    assert_true(fabs(own.own.height - COORDINATE_HEIGHT_MIN_S) < 1e-12);
    /* [Lee]: half of the mean of 20 samples, of which there is one. */
    assert_true(fabs(own.own.adjustment - (0.05 - (0.10002 - 0.0062525)) / 40) < 1e-7);
}

static void two_in_one_place_part(void **state) {
    (void)state;
    struct vivaldi own;
    struct rand rand;
    struct coordinate other = coordinate_start();
    rand_init(&rand, 1);
    vivaldi_init(&own);
    vivaldi_update(&own, &rand, 7, &other, 0.05);
    assert_true(coordinate_between(&own.own, &other) > 0.005);
}

/* ---- convergence ---- */

static void members_find_their_places(void **state) {
    (void)state;
    static struct space space;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        space_init(&space, seed);
        for (int i = 0; i < ROUNDS; i++) {
            run_round(&space, 0);
        }
        assert_errors(&space, MEMBERS, 0.10, 0.25);
    }
}

/* [Ledlie] 4, and what surprises is tempered. */
static void late_packets_move_nobody(void **state) {
    (void)state;
    static struct space space;
    for (uint64_t seed = 1; seed <= 20; seed++) {
        space_init(&space, seed);
        for (int i = 0; i < ROUNDS; i++) {
            run_round(&space, 30);
        }
        assert_errors(&space, MEMBERS, 0.15, 0.35);
    }
}

/* [Ledlie] 5: nothing of the model says where the space is; gravity does. */
static void the_space_stays_where_it_is(void **state) {
    (void)state;
    static struct space space;
    space_init(&space, 3);
    for (int i = 0; i < MEMBERS; i++) {
        space.members[i].own.vector[0] = 300;
    }
    double before = 300;
    for (int i = 0; i < 40; i++) {
        run_round(&space, 0);
        double mean = 0;
        for (int member = 0; member < MEMBERS; member++) {
            mean += space.members[member].own.vector[0] / MEMBERS;
        }
        assert_true(mean < before);
        before = mean;
    }
    assert_true(before < 200);
}

/* ---- what others say ---- */

static void nonsense_is_dropped(void **state) {
    (void)state;
    struct rand rand;
    rand_init(&rand, 1);
    const double odd[] = {NAN, INFINITY, -INFINITY, 1e300, 1e9};
    for (size_t i = 0; i < sizeof odd / sizeof odd[0]; i++) {
        for (int field = 0; field < 4; field++) {
            struct coordinate other = coordinate_start();
            struct vivaldi own;
            vivaldi_init(&own);
            *(field == 0   ? &other.vector[5]
              : field == 1 ? &other.error
              : field == 2 ? &other.adjustment
                           : &other.height) = odd[i];
            assert_false(coordinate_is_sane(&other));
            vivaldi_update(&own, &rand, 7, &other, 0.01);
            struct coordinate start = coordinate_start();
            assert_memory_equal(&own.own, &start, sizeof start);
        }
        struct coordinate other = coordinate_start();
        struct vivaldi own;
        vivaldi_init(&own);
        vivaldi_update(&own, &rand, 7, &other, odd[i]);
        assert_true(own.sample_at == 0);
    }
    struct coordinate below = coordinate_start();
    below.height = -0.5;
    assert_false(coordinate_is_sane(&below));
}

/* Three members of 40 tell what is no nonsense by itself, anew each time, and sure of it. */
static void liars_do_not_break_the_space(void **state) {
    (void)state;
    static struct space space;
    const int liars = 3;
    for (uint64_t seed = 1; seed <= 10; seed++) {
        space_init(&space, seed);
        for (int i = 0; i < ROUNDS; i++) {
            run_round(&space, 0);
            for (int liar = MEMBERS - liars; liar < MEMBERS; liar++) {
                struct coordinate *own = &space.members[liar].own;
                for (int d = 0; d < COORDINATE_DIMENSIONS; d++) {
                    own->vector[d] = 100 * (draw(&space) - 0.5);
                }
                own->height = 50 * draw(&space);
                own->error = 0;
                assert_true(coordinate_is_sane(own));
            }
        }
        for (int i = 0; i < MEMBERS - liars; i++) {
            assert_true(coordinate_is_sane(&space.members[i].own));
        }
        /* Once they are gone, it heals. */
        for (int i = 0; i < ROUNDS; i++) {
            for (int member = 0; member < MEMBERS - liars; member++) {
                int other = (int)rand_below(&space.rand, (uint64_t)(MEMBERS - liars));
                if (other != member) {
                    vivaldi_update(&space.members[member], &space.rand, (uint64_t)other,
                                   &space.members[other].own, true_rtt_s(&space, member, other));
                }
            }
        }
        assert_errors(&space, MEMBERS - liars, 0.10, 0.25);
    }
}

/* ---- whose are kept ---- */

#define POOL 3
#define RTT_US 20000
#define QUEUE 1024

struct packet {
    struct gossip_address from, to;
    uint8_t data[1500];
    size_t size;
    uint64_t at_us;
};

/* A small pool: packets arrive after half a round trip, streams are lost. */
struct pool {
    struct gossip_descriptors *descriptors;
    struct gossip *members[POOL];
    struct gossip_output outputs[POOL];
    struct packet queue[QUEUE];
    uint32_t count, taken;
};

/* The first two are clients. */
static struct gossip_info info_of(unsigned member) {
    static const char *const names[POOL] = {"one", "two", "server"};
    return (struct gossip_info){.id = {{(uint8_t)(member + 1)}},
                                .name = names[member],
                                .address = {.ip = {[15] = (uint8_t)(member + 1)}, .port = {0, 1}},
                                .server = member == 2,
                                .protocol_min = 1,
                                .protocol_max = 1};
}

static void step(struct pool *pool, unsigned member, uint64_t now_us,
                 const struct gossip_event *event) {
    struct gossip_output *output = &pool->outputs[member];
    (void)gossip_step(pool->members[member], now_us / 1000, event, output);
    for (uint32_t i = 0; i < output->packet_count; i++) {
        const struct gossip_packet *packet = &output->packets[i];
        struct packet *put = &pool->queue[pool->count++ % QUEUE];
        assert_true(pool->count - pool->taken < QUEUE);
        assert_true(packet->size <= sizeof put->data);
        *put = (struct packet){.from = info_of(member).address,
                               .to = packet->to,
                               .size = packet->size,
                               .at_us = now_us + RTT_US / 2};
        memcpy(put->data, output->bytes.data + packet->offset, packet->size);
    }
}

static void run_pool(struct pool *pool, uint64_t from_ms, uint64_t until_ms) {
    for (uint64_t now_us = from_ms * 1000; now_us < until_ms * 1000; now_us += 1000) {
        while (pool->taken < pool->count && pool->queue[pool->taken % QUEUE].at_us <= now_us) {
            const struct packet *packet = &pool->queue[pool->taken++ % QUEUE];
            struct gossip_event event = {
                .kind = GOSSIP_EVENT_PACKET,
                .packet = {.from = packet->from, .data = packet->data, .size = packet->size}};
            step(pool, packet->to.ip[15] - 1U, now_us, &event);
        }
        for (unsigned i = 0; i < POOL; i++) {
            if (pool->outputs[i].deadline_at_ms <= now_us / 1000 || now_us == from_ms * 1000) {
                step(pool, i, now_us, &(struct gossip_event){.kind = GOSSIP_EVENT_TIMER});
            }
        }
    }
}

static void fill_pool(struct pool *pool) {
    pool->descriptors = gossip_descriptors_create();
    for (unsigned i = 0; i < POOL; i++) {
        struct gossip_config config = gossip_config_lan();
        struct gossip_info self = info_of(i);
        struct rand rand;
        rand_init(&rand, i + 1);
        config.keep_servers = !self.server;
        gossip_output_init(&pool->outputs[i]);
        assert_int_equal(gossip_create(&config, &self, 5, 1000, &rand, pool->descriptors,
                                       &pool->members[i], NULL),
                         ERR_OK);
        for (unsigned other = 0; other < POOL; other++) {
            struct gossip_info info = info_of(other);
            if (other != i) {
                gossip_load_member(pool->members[i], &info, (struct gossip_incarnation){5, 0});
            }
        }
    }
}

/* A client chooses among servers: it learns where they are, and of no other member. */
static void servers_are_kept(void **state) {
    (void)state;
    static struct pool pool;
    struct coordinate own, at;
    fill_pool(&pool);
    run_pool(&pool, 1000, 5000); /* each has asked each of the others a few times */
    for (unsigned i = 0; i < POOL; i++) {
        for (unsigned other = 0; other < POOL; other++) {
            struct uuid id = info_of(other).id;
            bool found = gossip_find_coordinate(pool.members[i], &id, &at);
            assert_int_equal(found, other == i || (i < 2 && other == 2));
        }
    }
    run_pool(&pool, 5000, 30000);
    struct uuid server = info_of(2).id;
    gossip_get_coordinate(pool.members[0], &own);
    assert_true(gossip_find_coordinate(pool.members[0], &server, &at));
    assert_true(fabs(coordinate_rtt_s(&own, &at) - RTT_US / 1e6) < 0.005);
    for (unsigned i = 0; i < POOL; i++) {
        gossip_destroy(pool.members[i]);
        gossip_output_clear(&pool.outputs[i]);
    }
    gossip_descriptors_destroy(pool.descriptors);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(one_step_is_that_of_the_paper), cmocka_unit_test(two_in_one_place_part),
        cmocka_unit_test(members_find_their_places),     cmocka_unit_test(late_packets_move_nobody),
        cmocka_unit_test(the_space_stays_where_it_is),   cmocka_unit_test(nonsense_is_dropped),
        cmocka_unit_test(liars_do_not_break_the_space),  cmocka_unit_test(servers_are_kept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
