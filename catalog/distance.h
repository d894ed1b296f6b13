/* The nearest first: rows of nodes by the estimated round trip from one of them (contract 4.6), and
 * how far away a group of servers is (8.3). Pure; the one way to sort by distance. */
#ifndef CATALOG_DISTANCE_H
#define CATALOG_DISTANCE_H

#include <stddef.h>

#include "base/coordinate.h"
#include "catalog/view.h"

/* Seconds. INFINITY when one of them is NULL: nobody knows. */
double distance_between(const struct coordinate *from, const struct coordinate *to);

/* The median of the distances to the servers that have a coordinate, of an even number the larger
 * of the two in the middle; INFINITY when there is none. Both arrays are borrowed; to may hold
 * NULLs. At most LIMIT_RAFT_SERVERS are looked at. */
double distance_median(const struct coordinate *from, const struct coordinate *const *to,
                       size_t count);

/* What is sorted: a row of any kind, and the node that it is of. */
struct distance_row {
    const char *node;
    const void *row;
    /* Set by the sort: */
    double rtt_s;
    size_t at; /* the place before */
};

/* Sorts the rows by their nodes' distance from `from`, one that view_get_coordinate gave; those at
 * the same distance, and at the end those of nodes without a coordinate, keep their order. Changes
 * nothing when from is NULL. */
void distance_sort(const struct catalog_view *view, const struct coordinate *from,
                   struct distance_row *rows, size_t count);

#endif
