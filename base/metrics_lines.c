/* Metrics a line each: as statsd and statsite take them, and as people read them. In both, values
 * of labels follow the name.
 *
 * Every record would be a datagram of its own, as others do it; here an interval's samples go out
 * together: a line for each of their buckets, whose sample rate tells how many there were. So the
 * receiver's count is right and its quantiles are as good as ours. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "base/metrics_internal.h"

/* What means something in a line becomes '_'. */
static void put_escaped(struct buf *out, const char *text) {
    for (; *text != '\0'; text++) {
        bool plain = *text != ':' && *text != '|' && *text != '@' && (unsigned char)*text > ' ';
        buf_append_byte(out, plain ? *text : '_');
    }
}

static void put_name(struct metrics *metrics, const struct metric_row *row, struct buf *out) {
    put_escaped(out, metrics_prefix(metrics));
    if (row->kind == METRIC_GAUGE && *metrics_hostname(metrics) != '\0') {
        buf_append_byte(out, '.');
        put_escaped(out, metrics_hostname(metrics));
    }
    buf_append_byte(out, '.');
    put_escaped(out, row->name);
    for (unsigned i = 0; i < row->labels.count; i++) {
        buf_append_byte(out, '.');
        put_escaped(out, row->labels.v[i].value);
    }
}

/* A line as a whole, or none of it. */
static void put_line(struct metrics *metrics, const struct metric_row *row, const char *value,
                     struct buf *lines) {
    size_t before = lines->count;
    put_name(metrics, row, lines);
    buf_append_format(lines, ":%s\n", value);
    if (lines->failed) {
        lines->count = before;
    }
}

void metrics_put_statsd(struct metrics *metrics, const struct metric_row *row,
                        const struct metric_part *parts, size_t part_count, struct buf *lines) {
    char value[96];
    if (row->kind == METRIC_COUNTER) {
        snprintf(value, sizeof value, "%.15g|c", row->sum);
        put_line(metrics, row, value, lines);
    }
    for (size_t i = 0; i < part_count; i++) {
        int used = snprintf(value, sizeof value, "%f|ms", parts[i].value);
        if (parts[i].count > 1) {
            snprintf(value + used, sizeof value - (size_t)used, "|@%.10g",
                     1.0 / (double)parts[i].count);
        }
        put_line(metrics, row, value, lines);
    }
}

void metrics_write_statsd_gauges(struct metrics *metrics, struct buf *out) {
    unsigned count;
    int64_t wall_ms;
    struct metric_row *rows = metrics_rows(metrics, &count, &wall_ms);
    for (unsigned i = 0; i < count; i++) {
        if (rows[i].kind == METRIC_GAUGE && isfinite(rows[i].value)) {
            char value[64];
            snprintf(value, sizeof value, "%f|g", rows[i].value);
            put_line(metrics, &rows[i], value, out);
        }
    }
    free(rows);
}

void metrics_write_text(struct metrics *metrics, struct buf *out) {
    static const char marks[] = {
        [METRIC_COUNTER] = 'C', [METRIC_GAUGE] = 'G', [METRIC_SAMPLE] = 'S'};
    unsigned count;
    int64_t wall_ms;
    char time[64];
    struct tm tm;
    struct metric_row *rows = metrics_rows(metrics, &count, &wall_ms);
    time_t seconds = (time_t)(wall_ms / 1000);
    gmtime_r(&seconds, &tm);
    strftime(time, sizeof time, "%Y-%m-%d %H:%M:%S +0000 UTC", &tm);
    for (unsigned i = 0; i < count; i++) {
        const struct metric_row *row = &rows[i];
        if (row->kind == METRIC_PROCESS || (row->kind != METRIC_GAUGE && row->count == 0)) {
            continue;
        }
        buf_append_format(out, "[%s][%c] '", time, marks[row->kind]);
        put_name(metrics, row, out);
        if (row->kind == METRIC_GAUGE) {
            buf_append_format(out, "': %.3f\n", row->value);
        } else {
            buf_append_format(out,
                              "': Count: %llu Min: %.3f Mean: %.3f Max: %.3f Stddev: %.3f Sum: "
                              "%.3f\n",
                              (unsigned long long)row->count, row->min,
                              row->sum / (double)row->count, row->max, metrics_deviation(row),
                              row->sum);
        }
    }
    free(rows);
}
