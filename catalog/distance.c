#include "catalog/distance.h"

#include <math.h>
#include <stdlib.h>

#include "base/limits.h"

double distance_between(const struct coordinate *from, const struct coordinate *to) {
    return from != NULL && to != NULL ? coordinate_rtt_s(from, to) : INFINITY;
}

static int compare_numbers(const void *a, const void *b) {
    double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double distance_median(const struct coordinate *from, const struct coordinate *const *to,
                       size_t count) {
    double all[LIMIT_RAFT_SERVERS];
    size_t known = 0;
    for (size_t i = 0; i < count && known < LIMIT_RAFT_SERVERS; i++) {
        double rtt_s = distance_between(from, to[i]);
        if (isfinite(rtt_s)) {
            all[known++] = rtt_s;
        }
    }
    if (known == 0) {
        return INFINITY;
    }
    qsort(all, known, sizeof all[0], compare_numbers);
    return all[known / 2];
}

/* qsort is not stable: the place before decides between equals. */
static int compare_rows(const void *a, const void *b) {
    const struct distance_row *x = a, *y = b;
    int order = compare_numbers(&x->rtt_s, &y->rtt_s);
    return order != 0 ? order : (x->at > y->at) - (x->at < y->at);
}

void distance_sort(const struct catalog_view *view, const struct coordinate *from,
                   struct distance_row *rows, size_t count) {
    if (from == NULL || count == 0) {
        return;
    }
    for (size_t i = 0; i < count; i++) {
        rows[i].rtt_s = distance_between(from, view_get_coordinate(view, rows[i].node));
        rows[i].at = i;
    }
    qsort(rows, count, sizeof *rows, compare_rows);
}
