#include "base/metrics.h"

#include <math.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/metrics_internal.h"

/* Samples are also counted in buckets, 8 to each doubling from 1 us to 17 minutes, so a quantile is
 * right to 6 %. The bucket of a value is the exponent and the first three bits of its mantissa. */
#define BUCKETS_PER_OCTAVE 8
#define OCTAVE_MIN (-10)
#define OCTAVES 30
#define BUCKETS (OCTAVES * BUCKETS_PER_OCTAVE)

static const double quantiles[METRIC_QUANTILES] = {0.5, 0.9, 0.99};

/* One thread's numbers for one series. Only that thread writes. */
struct cell {
    _Atomic uint64_t count;
    _Atomic double sum, squares;
    struct {
        _Atomic uint64_t interval; /* that the two are of */
        _Atomic double min, max;
    } extremes[2];              /* of the present interval and of the one before, by number */
    _Atomic uint32_t buckets[]; /* samples only */
};

struct shard {
    _Atomic bool taken; /* by a thread that lives */
    struct cell *_Atomic cells[LIMIT_METRICS];
};

/* Sums over all threads. */
struct totals {
    uint64_t count;
    double sum, squares;
    uint32_t buckets[BUCKETS];
};

struct metric {
    struct metrics *metrics;
    enum metric_kind kind;
    unsigned id;
    const char *name, *help;
    struct metric_labels labels;
    bool hidden; /* by the filter */
    _Atomic double value;
    struct totals *base;    /* at the start of the present interval; NULL for gauges */
    struct metric_row done; /* the last complete interval */
};

struct metrics {
    char *prefix, *hostname;
    pthread_key_t shard_key; /* the calling thread's shard */
    struct shard *_Atomic shards[LIMIT_METRIC_THREADS];
    _Atomic uint64_t interval; /* number of the present one, from 1 */

    pthread_mutex_t mutex; /* of what follows; never held while recording */
    struct metric *all[LIMIT_METRICS];
    unsigned count;
    int64_t started_wall_ms, done_started_wall_ms;
    bool complete; /* `done` of the series is set */
    char **rules;
    uint32_t rule_count;
    bool otherwise;
};

uint64_t metrics_clock_ns(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000u + (uint64_t)now.tv_nsec;
}

/* ---- life ---- */

static int64_t interval_start(int64_t wall_ms) {
    return wall_ms - wall_ms % METRICS_INTERVAL_MS;
}

/* Its numbers stay, for the next thread to go on with. */
static void give_back(void *pointer) {
    struct shard *shard = pointer;
    atomic_store_explicit(&shard->taken, false, memory_order_release);
}

struct metrics *metrics_create(const char *prefix, const char *hostname, int64_t wall_ms) {
    struct metrics *metrics = mem_calloc(1, sizeof *metrics);
    metrics->prefix = mem_strdup(prefix);
    metrics->hostname = mem_strdup(hostname);
    metrics->started_wall_ms = interval_start(wall_ms);
    metrics->otherwise = true;
    atomic_init(&metrics->interval, 1);
    pthread_mutex_init(&metrics->mutex, NULL);
    ASSERT(pthread_key_create(&metrics->shard_key, give_back) == 0);
    return metrics;
}

static void free_rules(struct metrics *metrics) {
    for (uint32_t i = 0; i < metrics->rule_count; i++) {
        free(metrics->rules[i]);
    }
    free(metrics->rules);
}

void metrics_destroy(struct metrics *metrics) {
    if (metrics == NULL) {
        return;
    }
    pthread_key_delete(metrics->shard_key);
    for (unsigned i = 0; i < LIMIT_METRIC_THREADS; i++) {
        struct shard *shard = metrics->shards[i];
        for (unsigned k = 0; shard != NULL && k < metrics->count; k++) {
            free(shard->cells[k]);
        }
        free(shard);
    }
    for (unsigned i = 0; i < metrics->count; i++) {
        free(metrics->all[i]->base);
        free(metrics->all[i]);
    }
    free_rules(metrics);
    pthread_mutex_destroy(&metrics->mutex);
    free(metrics->prefix);
    free(metrics->hostname);
    free(metrics);
}

const char *metrics_prefix(const struct metrics *metrics) {
    return metrics->prefix;
}

const char *metrics_hostname(const struct metrics *metrics) {
    return metrics->hostname;
}

/* ---- series ---- */

static bool is_hidden(const struct metrics *metrics, const char *name) {
    struct buf full;
    size_t longest = 0;
    bool shown = metrics->otherwise;
    buf_init(&full, 4096);
    buf_append_format(&full, "%s.%s", metrics->prefix, name);
    buf_append_byte(&full, '\0');
    for (uint32_t i = 0; !full.failed && i < metrics->rule_count; i++) {
        const char *rule = metrics->rules[i];
        size_t size = strlen(rule + 1);
        if (size >= longest && str_starts_with(full.data, rule + 1)) {
            shown = rule[0] == '+' && (size > longest || shown);
            longest = size;
        }
    }
    buf_clear(&full);
    return !shown;
}

void metrics_set_filter(struct metrics *metrics, const struct str_list *rules, bool otherwise) {
    pthread_mutex_lock(&metrics->mutex);
    free_rules(metrics);
    metrics->rules = mem_calloc(rules->count + 1, sizeof *metrics->rules);
    metrics->rule_count = 0;
    for (uint32_t i = 0; i < rules->count; i++) {
        if ((rules->v[i][0] == '+' || rules->v[i][0] == '-') && rules->v[i][1] != '\0') {
            metrics->rules[metrics->rule_count++] = mem_strdup(rules->v[i]);
        }
    }
    metrics->otherwise = otherwise;
    for (unsigned i = 0; i < metrics->count; i++) {
        metrics->all[i]->hidden = is_hidden(metrics, metrics->all[i]->name);
    }
    pthread_mutex_unlock(&metrics->mutex);
}

static bool same_series(const struct metric *metric, const char *name,
                        const struct str_pair *labels, unsigned label_count) {
    bool same = strcmp(metric->name, name) == 0 && metric->labels.count == label_count;
    for (unsigned i = 0; same && i < label_count; i++) {
        same = strcmp(metric->labels.v[i].key, labels[i].key) == 0 &&
               strcmp(metric->labels.v[i].value, labels[i].value) == 0;
    }
    return same;
}

static const char *put_text(char **at, const char *text) {
    size_t size = strlen(text) + 1;
    const char *kept = memcpy(*at, text, size);
    *at += size;
    return kept;
}

/* One block: the struct, its labels, all texts. */
static struct metric *make_metric(const char *name, const struct str_pair *labels,
                                  unsigned label_count) {
    size_t bytes = sizeof(struct metric) + label_count * sizeof *labels + strlen(name) + 1;
    for (unsigned i = 0; i < label_count; i++) {
        bytes += strlen(labels[i].key) + strlen(labels[i].value) + 2;
    }
    struct metric *metric = mem_calloc(1, bytes);
    struct str_pair *pairs = (struct str_pair *)(metric + 1);
    char *at = (char *)(pairs + label_count);
    metric->name = put_text(&at, name);
    for (unsigned i = 0; i < label_count; i++) {
        pairs[i].key = put_text(&at, labels[i].key);
        pairs[i].value = put_text(&at, labels[i].value);
    }
    metric->labels = (struct metric_labels){pairs, label_count};
    return metric;
}

struct metric *metrics_add(struct metrics *metrics, enum metric_kind kind, const char *name,
                           const char *help, const struct str_pair *labels, unsigned label_count) {
    if (metrics == NULL) {
        return NULL;
    }
    struct metric *metric = NULL;
    pthread_mutex_lock(&metrics->mutex);
    for (unsigned i = 0; metric == NULL && i < metrics->count; i++) {
        if (same_series(metrics->all[i], name, labels, label_count)) {
            metric = metrics->all[i];
        }
    }
    if (metric == NULL && metrics->count < LIMIT_METRICS) {
        metric = make_metric(name, labels, label_count);
        metric->metrics = metrics;
        metric->kind = kind;
        metric->help = help;
        metric->id = metrics->count;
        metric->hidden = kind != METRIC_PROCESS && is_hidden(metrics, name);
        if (kind == METRIC_COUNTER || kind == METRIC_SAMPLE) {
            metric->base = mem_calloc(1, sizeof *metric->base);
        }
        atomic_init(&metric->value, 0.0);
        metrics->all[metrics->count++] = metric;
    }
    pthread_mutex_unlock(&metrics->mutex);
    return metric;
}

/* ---- recording ---- */

static struct shard *take_shard(struct metrics *metrics) {
    for (unsigned i = 0; i < LIMIT_METRIC_THREADS; i++) {
        struct shard *shard = atomic_load(&metrics->shards[i]);
        bool taken = false;
        if (shard != NULL && atomic_compare_exchange_strong(&shard->taken, &taken, true)) {
            return shard;
        }
        if (shard == NULL) {
            struct shard *mine = mem_calloc(1, sizeof *mine);
            atomic_init(&mine->taken, true);
            if (atomic_compare_exchange_strong(&metrics->shards[i], &shard, mine)) {
                return mine;
            }
            free(mine);
        }
    }
    return NULL;
}

/* The calling thread's cell; NULL: there are too many threads. */
static struct cell *find_cell(struct metric *metric) {
    struct metrics *metrics = metric->metrics;
    struct shard *shard = pthread_getspecific(metrics->shard_key);
    if (shard == NULL) {
        shard = take_shard(metrics);
        if (shard == NULL) {
            return NULL;
        }
        pthread_setspecific(metrics->shard_key, shard);
    }
    struct cell *cell = atomic_load_explicit(&shard->cells[metric->id], memory_order_relaxed);
    if (cell == NULL) {
        size_t buckets = metric->kind == METRIC_SAMPLE ? BUCKETS : 0;
        cell = mem_calloc(1, sizeof *cell + buckets * sizeof cell->buckets[0]);
        atomic_store_explicit(&shard->cells[metric->id], cell, memory_order_release);
    }
    return cell;
}

/* Load and store, not one locked step: nobody else writes. */
#define ADD(to, value)                                                                             \
    atomic_store_explicit((to), atomic_load_explicit((to), memory_order_relaxed) + (value),        \
                          memory_order_relaxed)

static void record(const struct metric *metric, struct cell *cell, double value) {
    uint64_t interval = atomic_load_explicit(&metric->metrics->interval, memory_order_relaxed);
    unsigned slot = (unsigned)(interval & 1);
    ADD(&cell->count, 1);
    ADD(&cell->sum, value);
    ADD(&cell->squares, value * value);
    bool first =
        atomic_load_explicit(&cell->extremes[slot].interval, memory_order_relaxed) != interval;
    if (first || value < atomic_load_explicit(&cell->extremes[slot].min, memory_order_relaxed)) {
        atomic_store_explicit(&cell->extremes[slot].min, value, memory_order_relaxed);
    }
    if (first || value > atomic_load_explicit(&cell->extremes[slot].max, memory_order_relaxed)) {
        atomic_store_explicit(&cell->extremes[slot].max, value, memory_order_relaxed);
    }
    if (first) {
        atomic_store_explicit(&cell->extremes[slot].interval, interval, memory_order_release);
    }
}

void metric_count(struct metric *metric, uint64_t n) {
    struct cell *cell = metric != NULL ? find_cell(metric) : NULL;
    if (cell != NULL) {
        record(metric, cell, (double)n);
    }
}

/* Bucket k holds the values from bucket_bound(k) up to bucket_bound(k + 1). */
static unsigned bucket_of(double value) {
    uint64_t bits;
    memcpy(&bits, &value, sizeof bits);
    const int64_t lowest = (int64_t)(1023 + OCTAVE_MIN) * BUCKETS_PER_OCTAVE;
    int64_t bucket = (int64_t)(bits >> 49) - lowest;
    return value <= 0 || bucket < 0 ? 0 : bucket >= BUCKETS ? BUCKETS - 1 : (unsigned)bucket;
}

static double bucket_bound(unsigned bucket) {
    double within = 1.0 + (double)(bucket % BUCKETS_PER_OCTAVE) / BUCKETS_PER_OCTAVE;
    return ldexp(within, OCTAVE_MIN + (int)(bucket / BUCKETS_PER_OCTAVE));
}

void metric_sample(struct metric *metric, double ms) {
    struct cell *cell = metric != NULL ? find_cell(metric) : NULL;
    if (cell != NULL) {
        ASSERT(metric->kind == METRIC_SAMPLE);
        record(metric, cell, ms);
        ADD(&cell->buckets[bucket_of(ms)], 1);
    }
}

void metric_set(struct metric *metric, double value) {
    if (metric != NULL) {
        atomic_store_explicit(&metric->value, value, memory_order_relaxed);
    }
}

/* ---- intervals; all with the mutex ---- */

static void add_cell(const struct metric *metric, struct cell *cell, struct totals *totals) {
    totals->count += atomic_load_explicit(&cell->count, memory_order_relaxed);
    totals->sum += atomic_load_explicit(&cell->sum, memory_order_relaxed);
    totals->squares += atomic_load_explicit(&cell->squares, memory_order_relaxed);
    for (unsigned i = 0; metric->kind == METRIC_SAMPLE && i < BUCKETS; i++) {
        totals->buckets[i] += atomic_load_explicit(&cell->buckets[i], memory_order_relaxed);
    }
}

static void add_extremes(struct cell *cell, uint64_t interval, struct metric_row *row) {
    unsigned slot = (unsigned)(interval & 1);
    if (atomic_load_explicit(&cell->extremes[slot].interval, memory_order_acquire) == interval) {
        double min = atomic_load_explicit(&cell->extremes[slot].min, memory_order_relaxed);
        double max = atomic_load_explicit(&cell->extremes[slot].max, memory_order_relaxed);
        row->min = isnan(row->min) || min < row->min ? min : row->min;
        row->max = isnan(row->max) || max > row->max ? max : row->max;
    }
}

static double find_quantile(const struct totals *now, const struct totals *base, double quantile) {
    uint64_t all = 0, seen = 0;
    for (unsigned i = 0; i < BUCKETS; i++) {
        all += now->buckets[i] - base->buckets[i];
    }
    uint64_t wanted = (uint64_t)ceil(quantile * (double)all);
    for (unsigned i = 0; all > 0 && i < BUCKETS; i++) {
        uint64_t here = now->buckets[i] - base->buckets[i];
        if (here > 0 && seen + here >= wanted) {
            double low = bucket_bound(i), high = bucket_bound(i + 1);
            return low + (high - low) * ((double)(wanted - seen) - 0.5) / (double)here;
        }
        seen += here;
    }
    return NAN;
}

static double within(double value, double min, double max) {
    return value < min ? min : value > max ? max : value;
}

/* The series since the start of the present interval; ret_now: its totals. */
static struct metric_row sum_up(const struct metric *metric, uint64_t interval,
                                struct totals *ret_now) {
    struct metric_row row = {.min = NAN, .max = NAN};
    *ret_now = (struct totals){0};
    for (unsigned i = 0; i < LIMIT_METRIC_THREADS; i++) {
        struct shard *shard = atomic_load(&metric->metrics->shards[i]);
        if (shard == NULL) {
            break;
        }
        struct cell *cell = atomic_load_explicit(&shard->cells[metric->id], memory_order_acquire);
        if (cell != NULL) {
            add_cell(metric, cell, ret_now);
            add_extremes(cell, interval, &row);
        }
    }
    row.count = ret_now->count - metric->base->count;
    row.sum = ret_now->sum - metric->base->sum;
    row.squares = ret_now->squares - metric->base->squares;
    /* A record under way may show in the count and not yet in the rest. */
    if (isnan(row.min) || row.count == 0) {
        row.min = row.max = row.count > 0 ? row.sum / (double)row.count : 0;
    }
    for (unsigned q = 0; q < METRIC_QUANTILES; q++) {
        double value = metric->kind == METRIC_SAMPLE
                           ? find_quantile(ret_now, metric->base, quantiles[q])
                           : NAN;
        row.quantiles[q] = row.count > 0 && !isnan(value) ? within(value, row.min, row.max) : NAN;
    }
    return row;
}

static void describe(const struct metric *metric, struct metric_row *row) {
    row->kind = metric->kind;
    row->name = metric->name;
    row->help = metric->help;
    row->labels = metric->labels;
}

static void put_lines(const struct metric *metric, const struct totals *now, struct buf *lines) {
    const struct metric_row *row = &metric->done;
    struct metric_part parts[BUCKETS];
    size_t count = 0;
    for (unsigned i = 0; metric->kind == METRIC_SAMPLE && i < BUCKETS; i++) {
        uint64_t here = now->buckets[i] - metric->base->buckets[i];
        if (here > 0) {
            double middle = (bucket_bound(i) + bucket_bound(i + 1)) / 2;
            parts[count++] = (struct metric_part){within(middle, row->min, row->max), here};
        }
    }
    metrics_put_statsd(metric->metrics, row, parts, count, lines);
}

void metrics_tick(struct metrics *metrics, int64_t wall_ms, struct buf *lines) {
    struct totals *now = mem_alloc(sizeof *now);
    pthread_mutex_lock(&metrics->mutex);
    uint64_t interval = atomic_fetch_add(&metrics->interval, 1);
    for (unsigned i = 0; i < metrics->count; i++) {
        struct metric *metric = metrics->all[i];
        if (metric->base == NULL) {
            continue;
        }
        metric->done = sum_up(metric, interval, now);
        describe(metric, &metric->done);
        if (lines != NULL && !metric->hidden && metric->done.count > 0) {
            put_lines(metric, now, lines);
        }
        *metric->base = *now;
    }
    metrics->complete = true;
    metrics->done_started_wall_ms = metrics->started_wall_ms;
    metrics->started_wall_ms = interval_start(wall_ms);
    pthread_mutex_unlock(&metrics->mutex);
    free(now);
}

/* ---- reading ---- */

static int compare_rows(const void *left, const void *right) {
    const struct metric_row *a = left, *b = right;
    int order = strcmp(a->name, b->name);
    for (unsigned i = 0; order == 0 && i < a->labels.count && i < b->labels.count; i++) {
        order = strcmp(a->labels.v[i].key, b->labels.v[i].key);
        order = order != 0 ? order : strcmp(a->labels.v[i].value, b->labels.v[i].value);
    }
    return order != 0 ? order : (int)a->labels.count - (int)b->labels.count;
}

struct metric_row *metrics_rows(struct metrics *metrics, unsigned *ret_count,
                                int64_t *ret_started_wall_ms) {
    struct totals *now = mem_alloc(sizeof *now);
    unsigned count = 0;
    pthread_mutex_lock(&metrics->mutex);
    struct metric_row *rows = mem_calloc(metrics->count + 1, sizeof *rows);
    uint64_t interval = atomic_load(&metrics->interval);
    for (unsigned i = 0; i < metrics->count; i++) {
        const struct metric *metric = metrics->all[i];
        if (metric->hidden) {
            continue;
        }
        struct metric_row *row = &rows[count++];
        if (metric->base != NULL) {
            struct metric_row present = sum_up(metric, interval, now);
            *row = metrics->complete ? metric->done : present;
            row->total_count = now->count;
            row->total_sum = now->sum;
        }
        describe(metric, row);
        row->value = atomic_load_explicit(&metric->value, memory_order_relaxed);
    }
    *ret_started_wall_ms =
        metrics->complete ? metrics->done_started_wall_ms : metrics->started_wall_ms;
    pthread_mutex_unlock(&metrics->mutex);
    free(now);
    qsort(rows, count, sizeof *rows, compare_rows);
    *ret_count = count;
    return rows;
}
