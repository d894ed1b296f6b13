/* Counters, gauges and samples, in intervals of ten seconds (contract 5.1).
 *
 * A series is added once and then recorded into from any thread: each thread has numbers of its own
 * for it, which it alone writes and others only read, so recording takes no lock and no locked
 * instruction. Numbers only grow; a tick takes the difference to the last tick for what the
 * interval's numbers are. Memory is bounded by LIMIT_METRICS and LIMIT_METRIC_THREADS: a series or
 * thread above is not recorded. */
#ifndef BASE_METRICS_H
#define BASE_METRICS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/json.h"
#include "base/str.h"

#define METRICS_INTERVAL_MS 10000

enum metric_kind {
    METRIC_COUNTER,
    METRIC_GAUGE,
    METRIC_SAMPLE, /* milliseconds */
    METRIC_PROCESS /* a gauge under its bare name, in the Prometheus form only */
};

struct metrics;
struct metric; /* one series: a name and its labels */

/* prefix is put before all names; hostname, "" = none, behind it in the names of gauges. */
struct metrics *metrics_create(const char *prefix, const char *hostname, int64_t wall_ms);
/* No thread records any more. NULL is allowed. */
void metrics_destroy(struct metrics *metrics);

/* Which names are shown: rules are "+prefix" and "-prefix" over full dotted names; the longest that
 * fits decides, a block wins over an equal allow, `otherwise` holds for the rest. Rules are copied.
 */
void metrics_set_filter(struct metrics *metrics, const struct str_list *rules, bool otherwise);

/* Any thread; name and labels are copied, help is not. The same name and labels give the same
 * series. NULL when there is no room, or metrics is NULL: recording into NULL does nothing. */
struct metric *metrics_add(struct metrics *metrics, enum metric_kind kind, const char *name,
                           const char *help, const struct str_pair *labels, unsigned label_count);

/* Any thread; metric may be NULL. */
void metric_count(struct metric *metric, uint64_t n);
void metric_sample(struct metric *metric, double ms);
void metric_set(struct metric *metric, double value); /* gauges */

/* One thread: the present interval ends. Into lines, unless NULL, go its counters and samples in
 * statsd's form (base/metrics_lines.c). */
void metrics_tick(struct metrics *metrics, int64_t wall_ms, struct buf *lines);
/* Any thread: the gauges in that form. */
void metrics_write_statsd_gauges(struct metrics *metrics, struct buf *out);
/* Any thread: all of the last complete interval, for people to read. */
void metrics_write_text(struct metrics *metrics, struct buf *out);

/* Any thread. The last complete interval, or the present one when there is none. */
void metrics_write_json(struct metrics *metrics, struct json *json);
/* The text format 0.0.4. Counters are totals since the start; quantiles are of that interval. */
void metrics_write_prometheus(struct metrics *metrics, struct buf *out);

/* Monotonic, for timings. */
uint64_t metrics_clock_ns(void);
static inline double metrics_ms_since(uint64_t from_ns, uint64_t to_ns) {
    return (double)(to_ns - from_ns) / 1e6;
}

#endif
