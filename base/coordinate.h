/* Where a host is in a space whose distances are round trips, in seconds: [Vivaldi] Dabek, Cox,
 * Kaashoek, Morris: "Vivaldi: A Decentralized Network Coordinate System", SIGCOMM 2004. Gossip
 * moves coordinates, the catalog keeps them, and everybody compares them here. */
#ifndef BASE_COORDINATE_H
#define BASE_COORDINATE_H

#include <stdbool.h>

#define COORDINATE_DIMENSIONS 8

/* Of a host that has measured nothing yet ([Vivaldi] 4.1: no trust in the own place). */
#define COORDINATE_ERROR_MAX 1.5
#define COORDINATE_HEIGHT_MIN_S 1e-5

struct coordinate {
    double vector[COORDINATE_DIMENSIONS];
    double error;      /* relative, of the own estimates; 0 .. COORDINATE_ERROR_MAX */
    double adjustment; /* what the space cannot express of this host's round trips */
    double height;     /* of the access link ([Vivaldi] 5.4); > 0 */
};

/* The origin, unsure. */
struct coordinate coordinate_start(void);
/* All are numbers, none beyond a quarter of an hour, which no round trip is, error and height not
 * negative: what anybody may be believed. */
bool coordinate_is_sane(const struct coordinate *c);

bool coordinate_equal(const struct coordinate *a, const struct coordinate *b);

/* The length of the difference of the vectors alone. */
double coordinate_between(const struct coordinate *a, const struct coordinate *b);
/* With both heights. */
double coordinate_plain_distance(const struct coordinate *a, const struct coordinate *b);
/* The estimated round trip: the plain distance and both adjustments, if that is above 0; else the
 * plain distance. */
double coordinate_rtt_s(const struct coordinate *a, const struct coordinate *b);

#endif
