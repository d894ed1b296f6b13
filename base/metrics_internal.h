/* Between base/metrics.c and base/metrics_write.c. */
#ifndef BASE_METRICS_INTERNAL_H
#define BASE_METRICS_INTERNAL_H

#include "base/metrics.h"

#define METRIC_QUANTILES 3

struct metric_labels {
    const struct str_pair *v;
    unsigned count;
};

/* What one series shows. */
struct metric_row {
    enum metric_kind kind;
    const char *name; /* without the prefix */
    const char *help;
    struct metric_labels labels;
    double value;                       /* gauges */
    uint64_t count;                     /* of the interval */
    double sum, squares, min, max;      /* of the interval */
    double quantiles[METRIC_QUANTILES]; /* of samples; 0.5, 0.9, 0.99; NaN without any */
    uint64_t total_count;               /* since the start */
    double total_sum;
};

/* Rows that the filter lets through, sorted by name and labels; the caller frees them. Strings live
 * as long as metrics. */
struct metric_row *metrics_rows(struct metrics *metrics, unsigned *ret_count,
                                int64_t *ret_started_wall_ms);
/* A value of the interval's samples, and how often it was there. */
struct metric_part {
    double value;
    uint64_t count;
};
/* Appends a row to the lines of an interval; parts are those of samples. */
void metrics_put_statsd(struct metrics *metrics, const struct metric_row *row,
                        const struct metric_part *parts, size_t part_count, struct buf *lines);
double metrics_deviation(const struct metric_row *row);
const char *metrics_prefix(const struct metrics *metrics);
const char *metrics_hostname(const struct metrics *metrics);

#endif
