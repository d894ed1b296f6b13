/* Where this member is among the others: [Vivaldi] with height for the access link (5.4), the
 * adjustment of [Lee] for what the space cannot express, the latency filter and the gravity of
 * [Ledlie], and surprises tempered. What others say of themselves is believed within bounds only:
 * an odd coordinate is dropped, and none moves this member far at once. */
#include <math.h>
#include <string.h>

#include "base/mem.h"
#include "gossip/descriptor.h"
#include "gossip/internal.h"

#define ERROR_GAIN 0.25      /* c_e of [Vivaldi] 3.3 */
#define COORDINATE_GAIN 0.25 /* c_c */
#define FORCE_MAX_S 1.0      /* of one sample, before the gain */
#define ZERO_S 1e-6
#define SURPRISE_MAX 3.0      /* times what is usual */
#define SURPRISE_FLOOR_S 1e-4 /* and this */
#define SURPRISE_SAMPLES 10   /* before anything is usual */
#define RTT_MAX_S 10.0
#define GRAVITY_S 150.0 /* pulls the whole space back to its origin, against drift */

void vivaldi_init(struct vivaldi *vivaldi) {
    *vivaldi = (struct vivaldi){.own = coordinate_start()};
}

/* Moves own by force seconds away from other; two in one place part in a random direction. */
static void push(struct coordinate *own, struct rand *rand, double force,
                 const struct coordinate *other) {
    double unit[COORDINATE_DIMENSIONS];
    double length = coordinate_between(own, other);
    if (length > ZERO_S) {
        for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
            unit[i] = (own->vector[i] - other->vector[i]) / length;
        }
        own->height += (own->height + other->height) * force / length;
        own->height = own->height < COORDINATE_HEIGHT_MIN_S ? COORDINATE_HEIGHT_MIN_S : own->height;
    } else {
        double sum = 0;
        for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
            unit[i] = (double)rand_below(rand, 2001) / 1000.0 - 1.0;
            sum += unit[i] * unit[i];
        }
        double norm = sum > 0 ? sqrt(sum) : 1;
        for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
            unit[i] /= norm;
        }
    }
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
        own->vector[i] += unit[i] * force;
    }
}

/* [Ledlie] 4: the median of the last few round trips to the same member, so that one delayed packet
 * moves nobody. Members share places; who comes to a taken one starts over. */
static double filter(struct vivaldi *vivaldi, uint64_t peer, double rtt_s) {
    struct vivaldi_peer *at =
        &vivaldi->peers[peer % (sizeof vivaldi->peers / sizeof vivaldi->peers[0])];
    if (at->peer != peer || at->count == 0) {
        *at = (struct vivaldi_peer){.peer = peer};
    }
    at->rtt_s[at->count++ % VIVALDI_FILTER] = (float)rtt_s;
    float a = at->rtt_s[0], b = at->rtt_s[1], c = at->rtt_s[2];
    if (at->count < VIVALDI_FILTER) {
        return rtt_s;
    }
    float low = a < b ? a : b, high = a < b ? b : a;
    return (double)(c < low ? low : c > high ? high : c);
}

/* A sample that surprises far more than usual counts only as far as it would be usual to the edge
 * (Huber, "Robust Estimation of a Location Parameter", 1964): members are asked so rarely that the
 * filter alone has too little to compare with. A network that has changed is believed after some
 * samples, because what is usual grows with each. */
static double temper(struct vivaldi *vivaldi, const struct coordinate *other, double rtt_s) {
    double distance = coordinate_plain_distance(&vivaldi->own, other);
    double wrong = rtt_s - distance, limit = SURPRISE_MAX * vivaldi->usual_s + SURPRISE_FLOOR_S;
    if (vivaldi->sample_at >= SURPRISE_SAMPLES && fabs(wrong) > limit) {
        wrong = wrong > 0 ? limit : -limit;
    }
    vivaldi->usual_s += (fabs(wrong) - vivaldi->usual_s) * (vivaldi->sample_at == 0 ? 1 : 0.1);
    return distance + wrong;
}

/* [Vivaldi] figure 3: the less sure moves further. */
static void move(struct coordinate *own, struct rand *rand, const struct coordinate *other,
                 double rtt_s) {
    double wrong = rtt_s - coordinate_plain_distance(own, other);
    double errors = own->error + other->error;
    double weight = own->error / (errors < ZERO_S ? ZERO_S : errors);
    own->error =
        ERROR_GAIN * weight * (fabs(wrong) / rtt_s) + own->error * (1 - ERROR_GAIN * weight);
    own->error = own->error > COORDINATE_ERROR_MAX ? COORDINATE_ERROR_MAX : own->error;
    double force = wrong > FORCE_MAX_S ? FORCE_MAX_S : wrong < -FORCE_MAX_S ? -FORCE_MAX_S : wrong;
    push(own, rand, COORDINATE_GAIN * weight * force, other);
}

/* [Lee]: half of what is still wrong, on average over the last samples, is this member's part. */
static void adjust(struct vivaldi *vivaldi, const struct coordinate *other, double rtt_s) {
    uint32_t window = sizeof vivaldi->samples / sizeof vivaldi->samples[0];
    vivaldi->samples[vivaldi->sample_at++ % window] =
        rtt_s - coordinate_plain_distance(&vivaldi->own, other);
    double sum = 0;
    for (uint32_t i = 0; i < window; i++) {
        sum += vivaldi->samples[i];
    }
    vivaldi->own.adjustment = sum / (2.0 * window);
}

void vivaldi_update(struct vivaldi *vivaldi, struct rand *rand, uint64_t peer,
                    const struct coordinate *other, double rtt_s) {
    if (!(rtt_s >= 0 && rtt_s <= RTT_MAX_S) || !coordinate_is_sane(other)) {
        return;
    }
    double rtt = filter(vivaldi, peer, rtt_s < ZERO_S ? ZERO_S : rtt_s);
    rtt = temper(vivaldi, other, rtt);
    struct coordinate before = vivaldi->own;
    move(&vivaldi->own, rand, other, rtt);
    adjust(vivaldi, other, rtt);

    /* [Ledlie] 5: weak near the origin, strong far from it. */
    struct coordinate origin = coordinate_start();
    double ratio = coordinate_plain_distance(&origin, &vivaldi->own) / GRAVITY_S;
    push(&vivaldi->own, rand, -ratio * ratio, &origin);
    if (!coordinate_is_sane(&vivaldi->own)) {
        vivaldi->own = before; /* whatever was said, it was not so */
    }
}

bool keeps_coordinate(const struct gossip *gossip, uint32_t record) {
    return gossip->config.keep_coordinates ||
           (gossip->config.keep_servers && gossip->records[record].descriptor->info.server);
}

void keep_coordinate(struct gossip *gossip, uint32_t record, const struct coordinate *coordinate) {
    if (!keeps_coordinate(gossip, record)) {
        return;
    }
    if (record >= gossip->coordinate_capacity) {
        uint32_t capacity = gossip->record_capacity;
        gossip->coordinates =
            mem_realloc(gossip->coordinates, capacity * sizeof *gossip->coordinates);
        for (uint32_t i = gossip->coordinate_capacity; i < capacity; i++) {
            gossip->coordinates[i] = (struct coordinate){.error = -1};
        }
        gossip->coordinate_capacity = capacity;
    }
    gossip->coordinates[record] = *coordinate;
}
