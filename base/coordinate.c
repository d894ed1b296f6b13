#include "base/coordinate.h"

#include <math.h>

#define SANE_MAX_S 1000.0

struct coordinate coordinate_start(void) {
    return (struct coordinate){.error = COORDINATE_ERROR_MAX, .height = COORDINATE_HEIGHT_MIN_S};
}

/* Not finite if one of its numbers is not. */
static double sum_of_sizes(const struct coordinate *c) {
    double sum = fabs(c->error) + fabs(c->height) + fabs(c->adjustment);
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
        sum += fabs(c->vector[i]);
    }
    return sum;
}

bool coordinate_is_sane(const struct coordinate *c) {
    /* False for NaN. */
    return sum_of_sizes(c) < SANE_MAX_S && c->error >= 0 && c->height >= 0;
}

bool coordinate_equal(const struct coordinate *a, const struct coordinate *b) {
    bool same = a->error == b->error && a->adjustment == b->adjustment && a->height == b->height;
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
        same = same && a->vector[i] == b->vector[i];
    }
    return same;
}

double coordinate_between(const struct coordinate *a, const struct coordinate *b) {
    double sum = 0;
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
        double d = a->vector[i] - b->vector[i];
        sum += d * d;
    }
    return sqrt(sum);
}

double coordinate_plain_distance(const struct coordinate *a, const struct coordinate *b) {
    return coordinate_between(a, b) + a->height + b->height;
}

double coordinate_rtt_s(const struct coordinate *a, const struct coordinate *b) {
    double plain = coordinate_plain_distance(a, b);
    double adjusted = plain + a->adjustment + b->adjustment;
    return adjusted > 0 ? adjusted : plain;
}
