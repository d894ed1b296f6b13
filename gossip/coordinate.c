/* Where members are in a space whose distances are round trips: [Vivaldi], with height for the
 * access link (5.4), and the adjustment term of Lee et al. ("On Suitability of Euclidean Embedding
 * for Host-based Network Coordinate Systems", 2010) for what the space cannot express. */
#include <math.h>

#include "base/assert.h"
#include "base/mem.h"
#include "gossip/internal.h"

#define ERROR_MAX 1.5
#define ERROR_GAIN 0.25      /* c_e of [Vivaldi] 3.3 */
#define COORDINATE_GAIN 0.25 /* c_c */
#define HEIGHT_MIN_S 1e-5
#define ZERO_S 1e-6
#define RTT_MAX_S 10.0
#define GRAVITY_S 150.0 /* pulls the whole space back to its origin, against drift */
#define COORDINATE_MAX_S 1000.0

void vivaldi_init(struct vivaldi *vivaldi) {
    *vivaldi = (struct vivaldi){.own = {.error = ERROR_MAX, .height = HEIGHT_MIN_S}};
}

static double between(const struct gossip_coordinate *a, const struct gossip_coordinate *b) {
    double sum = 0;
    for (int i = 0; i < GOSSIP_DIMENSIONS; i++) {
        double d = a->vector[i] - b->vector[i];
        sum += d * d;
    }
    return sqrt(sum);
}

static double plain_distance(const struct gossip_coordinate *a, const struct gossip_coordinate *b) {
    return between(a, b) + a->height + b->height;
}

double gossip_coordinate_rtt_s(const struct gossip_coordinate *a,
                               const struct gossip_coordinate *b) {
    double plain = plain_distance(a, b);
    double adjusted = plain + a->adjustment + b->adjustment;
    return adjusted > 0 ? adjusted : plain;
}

/* Moves own by force seconds away from other; two in one place part in a random direction. */
static void push(struct gossip_coordinate *own, struct rand *rand, double force,
                 const struct gossip_coordinate *other) {
    double unit[GOSSIP_DIMENSIONS];
    double length = between(own, other);
    if (length > ZERO_S) {
        for (int i = 0; i < GOSSIP_DIMENSIONS; i++) {
            unit[i] = (own->vector[i] - other->vector[i]) / length;
        }
        own->height += (own->height + other->height) * force / length;
        own->height = own->height < HEIGHT_MIN_S ? HEIGHT_MIN_S : own->height;
    } else {
        double sum = 0;
        for (int i = 0; i < GOSSIP_DIMENSIONS; i++) {
            unit[i] = (double)rand_below(rand, 2001) / 1000.0 - 1.0;
            sum += unit[i] * unit[i];
        }
        double norm = sum > 0 ? sqrt(sum) : 1;
        for (int i = 0; i < GOSSIP_DIMENSIONS; i++) {
            unit[i] /= norm;
        }
    }
    for (int i = 0; i < GOSSIP_DIMENSIONS; i++) {
        own->vector[i] += unit[i] * force;
    }
}

static bool is_sane(const struct gossip_coordinate *c) {
    double sum = c->error + c->height + fabs(c->adjustment);
    for (int i = 0; i < GOSSIP_DIMENSIONS; i++) {
        sum += fabs(c->vector[i]);
    }
    return sum < COORDINATE_MAX_S; /* false for NaN */
}

void vivaldi_update(struct vivaldi *vivaldi, struct rand *rand,
                    const struct gossip_coordinate *other, double rtt_s) {
    struct gossip_coordinate *own = &vivaldi->own;
    if (!(rtt_s >= 0 && rtt_s <= RTT_MAX_S)) {
        return;
    }
    double rtt = rtt_s < ZERO_S ? ZERO_S : rtt_s;

    /* [Vivaldi] figure 3: the less sure moves further. */
    double wrongness = fabs(plain_distance(own, other) - rtt) / rtt;
    double errors = own->error + other->error;
    double weight = own->error / (errors < ZERO_S ? ZERO_S : errors);
    own->error = ERROR_GAIN * weight * wrongness + own->error * (1 - ERROR_GAIN * weight);
    own->error = own->error > ERROR_MAX ? ERROR_MAX : own->error;
    push(own, rand, COORDINATE_GAIN * weight * (rtt - plain_distance(own, other)), other);

    /* Half of what is still wrong, on average over the last samples, is this member's part. */
    uint32_t window = sizeof vivaldi->samples / sizeof vivaldi->samples[0];
    vivaldi->samples[vivaldi->sample_at++ % window] = rtt - plain_distance(own, other);
    double sum = 0;
    for (uint32_t i = 0; i < window; i++) {
        sum += vivaldi->samples[i];
    }
    own->adjustment = sum / (2.0 * window);

    struct gossip_coordinate origin = {.height = HEIGHT_MIN_S};
    double ratio = plain_distance(&origin, own) / GRAVITY_S;
    push(own, rand, -ratio * ratio, &origin);
    if (!is_sane(own)) {
        vivaldi_init(vivaldi);
    }
}

void keep_coordinate(struct gossip *gossip, uint32_t record,
                     const struct gossip_coordinate *coordinate) {
    if (!gossip->config.keep_coordinates) {
        return;
    }
    if (record >= gossip->coordinate_capacity) {
        uint32_t capacity = gossip->record_capacity;
        gossip->coordinates =
            mem_realloc(gossip->coordinates, capacity * sizeof *gossip->coordinates);
        for (uint32_t i = gossip->coordinate_capacity; i < capacity; i++) {
            gossip->coordinates[i] = (struct gossip_coordinate){.error = -1};
        }
        gossip->coordinate_capacity = capacity;
    }
    gossip->coordinates[record] = *coordinate;
}
