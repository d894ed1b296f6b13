/* The two forms in which metrics are read. */
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/metrics_internal.h"

/* ---- JSON (contract 10.13) ---- */

static void put_f64(struct json *json, const char *key, double value) {
    json_key(json, key);
    json_f64(json, value);
}

static void put_name(struct json *json, struct metrics *metrics, const struct metric_row *row) {
    char name[512];
    const char *host = row->kind == METRIC_GAUGE ? metrics_hostname(metrics) : "";
    snprintf(name, sizeof name, "%s.%s%s%s", metrics_prefix(metrics), host,
             *host != '\0' ? "." : "", row->name);
    json_member_str(json, "Name", name);
}

static void put_labels(struct json *json, const struct metric_row *row) {
    json_key(json, "Labels");
    json_object_begin(json);
    for (unsigned i = 0; i < row->labels.count; i++) {
        json_member_str(json, row->labels.v[i].key, row->labels.v[i].value);
    }
    json_object_end(json);
}

double metrics_deviation(const struct metric_row *row) {
    double n = (double)row->count;
    double variance = row->count > 1 ? (n * row->squares - row->sum * row->sum) / (n * (n - 1)) : 0;
    return variance > 0 ? sqrt(variance) : 0;
}

static void put_aggregate(struct json *json, struct metrics *metrics,
                          const struct metric_row *row) {
    json_object_begin(json);
    put_name(json, metrics, row);
    json_member_u64(json, "Count", row->count);
    put_f64(json, "Rate", row->sum / (METRICS_INTERVAL_MS / 1000.0));
    put_f64(json, "Sum", row->sum);
    put_f64(json, "Min", row->min);
    put_f64(json, "Max", row->max);
    put_f64(json, "Mean", row->sum / (double)row->count);
    put_f64(json, "Stddev", metrics_deviation(row));
    put_labels(json, row);
    json_object_end(json);
}

static void put_gauge(struct json *json, struct metrics *metrics, const struct metric_row *row) {
    json_object_begin(json);
    put_name(json, metrics, row);
    put_f64(json, "Value", row->value);
    put_labels(json, row);
    json_object_end(json);
}

/* Series of one kind; those that saw nothing in the interval are left out. */
static void put_kind(struct json *json, struct metrics *metrics, const struct metric_row *rows,
                     unsigned count, enum metric_kind kind, const char *key) {
    json_key(json, key);
    json_array_begin(json);
    for (unsigned i = 0; i < count; i++) {
        if (rows[i].kind != kind) {
            continue;
        }
        if (kind == METRIC_GAUGE && isfinite(rows[i].value)) {
            put_gauge(json, metrics, &rows[i]);
        } else if (kind != METRIC_GAUGE && rows[i].count > 0) {
            put_aggregate(json, metrics, &rows[i]);
        }
    }
    json_array_end(json);
}

void metrics_write_json(struct metrics *metrics, struct json *json) {
    unsigned count;
    int64_t wall_ms;
    struct metric_row *rows = metrics_rows(metrics, &count, &wall_ms);
    char timestamp[64];
    struct tm tm;
    time_t seconds = (time_t)(wall_ms / 1000);
    gmtime_r(&seconds, &tm);
    strftime(timestamp, sizeof timestamp, "%Y-%m-%d %H:%M:%S +0000 UTC", &tm);
    json_object_begin(json);
    json_member_str(json, "Timestamp", timestamp);
    put_kind(json, metrics, rows, count, METRIC_GAUGE, "Gauges");
    json_key(json, "Points");
    json_array_begin(json);
    json_array_end(json);
    put_kind(json, metrics, rows, count, METRIC_COUNTER, "Counters");
    put_kind(json, metrics, rows, count, METRIC_SAMPLE, "Samples");
    json_object_end(json);
    free(rows);
}

/* ---- Prometheus (contract 5.1) ---- */

static void put_value(struct buf *out, double value) {
    char text[40];
    if (isnan(value)) {
        buf_append_str(out, "NaN\n");
        return;
    }
    int digits = 14;
    do {
        snprintf(text, sizeof text, "%.*g", ++digits, value);
    } while (digits < 17 && strtod(text, NULL) != value);
    buf_append_format(out, "%s\n", text);
}

static void full_name(struct metrics *metrics, const struct metric_row *row, char *out,
                      size_t size) {
    if (row->kind == METRIC_PROCESS) {
        snprintf(out, size, "%s", row->name);
        return;
    }
    snprintf(out, size, "%s_%s", metrics_prefix(metrics), row->name);
    for (char *at = out; *at != '\0'; at++) {
        if (strchr(" .=-/", *at) != NULL) {
            *at = '_';
        }
    }
}

static void put_label(struct buf *out, char *mark, const char *key, const char *value) {
    buf_append_format(out, "%c%s=\"", *mark, key);
    for (; *value != '\0'; value++) {
        if (*value == '\\' || *value == '"') {
            buf_append_byte(out, '\\');
        }
        if (*value == '\n') {
            buf_append_str(out, "\\n");
        } else {
            buf_append_byte(out, *value);
        }
    }
    buf_append_byte(out, '"');
    *mark = ',';
}

/* A line without its value; quantile NULL: none. */
static void put_series(struct buf *out, const char *name, const char *end,
                       const struct metric_row *row, const char *quantile) {
    char mark = '{';
    buf_append_format(out, "%s%s", name, end);
    for (unsigned i = 0; i < row->labels.count; i++) {
        put_label(out, &mark, row->labels.v[i].key, row->labels.v[i].value);
    }
    if (quantile != NULL) {
        put_label(out, &mark, "quantile", quantile);
    }
    buf_append_str(out, mark == '{' ? " " : "} ");
}

static void put_row(struct buf *out, const char *name, const struct metric_row *row) {
    static const char *const names[METRIC_QUANTILES] = {"0.5", "0.9", "0.99"};
    if (row->kind != METRIC_SAMPLE) {
        put_series(out, name, "", row, NULL);
        put_value(out, row->kind == METRIC_COUNTER ? row->total_sum : row->value);
        return;
    }
    for (unsigned q = 0; q < METRIC_QUANTILES; q++) {
        put_series(out, name, "", row, names[q]);
        put_value(out, row->quantiles[q]);
    }
    put_series(out, name, "_sum", row, NULL);
    put_value(out, row->total_sum);
    put_series(out, name, "_count", row, NULL);
    put_value(out, (double)row->total_count);
}

void metrics_write_prometheus(struct metrics *metrics, struct buf *out) {
    static const char *const types[] = {"counter", "gauge", "summary", "gauge"};
    unsigned count;
    int64_t wall_ms;
    struct metric_row *rows = metrics_rows(metrics, &count, &wall_ms);
    char name[512];
    const char *last = "";
    for (unsigned i = 0; i < count; i++) {
        const struct metric_row *row = &rows[i];
        const char *type = types[row->kind];
        if (row->kind == METRIC_PROCESS && strstr(row->name, "_total") != NULL) {
            type = "counter";
        }
        /* Labelled series show once they have seen something; bare ones from the start. */
        bool counted = row->kind == METRIC_COUNTER || row->kind == METRIC_SAMPLE;
        if (counted && row->labels.count > 0 && row->total_count == 0) {
            continue;
        }
        full_name(metrics, row, name, sizeof name);
        if (strcmp(last, row->name) != 0) {
            buf_append_format(out, "# HELP %s %s\n# TYPE %s %s\n", name, row->help, name, type);
            last = row->name;
        }
        put_row(out, name, row);
    }
    free(rows);
}
