/* Metrics: what an interval shows, in both forms, and that recording from many threads loses
 * nothing. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/metrics.h"

#define START_MS INT64_C(1700000003000) /* 2023-11-14 22:13:23 */

static char *json_of(struct metrics *metrics) {
    struct buf out;
    struct json json;
    size_t size;
    buf_init(&out, 1 << 20);
    json_init(&json, &out, false);
    metrics_write_json(metrics, &json);
    buf_append_byte(&out, '\0');
    return buf_take(&out, &size);
}

static char *prometheus_of(struct metrics *metrics) {
    struct buf out;
    size_t size;
    buf_init(&out, 1 << 20);
    metrics_write_prometheus(metrics, &out);
    buf_append_byte(&out, '\0');
    return buf_take(&out, &size);
}

static void expect(char *text, const char *part) {
    if (strstr(text, part) == NULL) {
        fail_msg("no %s in %s", part, text);
    }
    free(text);
}

static void refuse(char *text, const char *part) {
    if (strstr(text, part) != NULL) {
        fail_msg("%s in %s", part, text);
    }
    free(text);
}

static void the_last_complete_interval_is_shown(void **state) {
    struct metrics *metrics = metrics_create("consul", "", START_MS);
    struct metric *applies = metrics_add(metrics, METRIC_COUNTER, "raft.apply", "h", NULL, 0);
    (void)state;
    expect(json_of(metrics), "{\"Timestamp\":\"2023-11-14 22:13:20 +0000 UTC\",\"Gauges\":[],"
                             "\"Points\":[],\"Counters\":[],\"Samples\":[]}");
    metric_count(applies, 1);
    metric_count(applies, 4);
    const char *five = "{\"Name\":\"consul.raft.apply\",\"Count\":2,\"Rate\":0.5,\"Sum\":5,\"Min\":"
                       "1,\"Max\":4,\"Mean\":2.5,\"Stddev\":2.1213203435596424,\"Labels\":{}}";
    expect(json_of(metrics), five); /* there is no complete one yet */
    metrics_tick(metrics, START_MS + 7000, NULL);
    metric_count(applies, 100);
    expect(json_of(metrics), five);
    expect(json_of(metrics), "\"2023-11-14 22:13:20 +0000 UTC\"");
    metrics_tick(metrics, START_MS + 17000, NULL);
    expect(json_of(metrics), "\"Count\":1,\"Rate\":10,\"Sum\":100,\"Min\":100,\"Max\":100,");
    expect(json_of(metrics), "\"2023-11-14 22:13:30 +0000 UTC\"");
    metrics_tick(metrics, START_MS + 27000, NULL);
    expect(json_of(metrics), "\"Counters\":[]"); /* nothing happened in it */
    expect(prometheus_of(metrics), "\nconsul_raft_apply 105\n");
    metrics_destroy(metrics);
}

static void gauges_carry_the_host_in_json_alone(void **state) {
    struct metrics *metrics = metrics_create("consul", "h1", START_MS);
    struct str_pair labels[] = {{"version", "1.21.4"}, {"quoted", "a\"b\\c"}};
    struct metric *gauge = metrics_add(metrics, METRIC_GAUGE, "version", "The version.", labels, 2);
    (void)state;
    assert_ptr_equal(metrics_add(metrics, METRIC_GAUGE, "version", "", labels, 2), gauge);
    assert_ptr_not_equal(metrics_add(metrics, METRIC_GAUGE, "version", "", labels, 1), gauge);
    metrics_add(metrics, METRIC_PROCESS, "process_open_fds", "Open.", NULL, 0);
    metric_set(gauge, 1.5);
    expect(json_of(metrics),
           "{\"Name\":\"consul.h1.version\",\"Value\":1.5,\"Labels\":{\"version\":"
           "\"1.21.4\",\"quoted\":\"a\\\"b\\\\c\"}}");
    refuse(json_of(metrics), "process_open_fds");
    expect(prometheus_of(metrics),
           "consul_version{version=\"1.21.4\",quoted=\"a\\\"b\\\\c\"} 1.5\n");
    expect(prometheus_of(metrics),
           "# HELP process_open_fds Open.\n# TYPE process_open_fds gauge\nprocess_open_fds 0\n");
    metrics_destroy(metrics);
}

static void samples_are_summaries(void **state) {
    struct metrics *metrics = metrics_create("c", "", START_MS);
    struct metric *timing = metrics_add(metrics, METRIC_SAMPLE, "raft.commit-Time", "h", NULL, 0);
    struct str_pair label = {"path", "v1_kv_"};
    struct metric *other = metrics_add(metrics, METRIC_SAMPLE, "api.http", "h", &label, 1);
    double median = 0, last = 0;
    (void)state;
    expect(prometheus_of(metrics),
           "# HELP c_raft_commit_Time h\n# TYPE c_raft_commit_Time summary\n"
           "c_raft_commit_Time{quantile=\"0.5\"} NaN\nc_raft_commit_Time{quantile=\"0.9\"} NaN\n"
           "c_raft_commit_Time{quantile=\"0.99\"} NaN\nc_raft_commit_Time_sum 0\n"
           "c_raft_commit_Time_count 0\n");
    refuse(prometheus_of(metrics), "c_api_http"); /* labelled ones once they are used */
    for (int i = 1; i <= 1000; i++) {
        metric_sample(timing, i);
    }
    metric_sample(other, 0.25);
    metrics_tick(metrics, START_MS + 7000, NULL);
    char *text = prometheus_of(metrics);
    assert_int_equal(sscanf(strstr(text, "c_raft_commit_Time{quantile=\"0.5\"}"),
                            "c_raft_commit_Time{quantile=\"0.5\"} %lf", &median),
                     1);
    assert_int_equal(sscanf(strstr(text, "c_raft_commit_Time{quantile=\"0.99\"}"),
                            "c_raft_commit_Time{quantile=\"0.99\"} %lf", &last),
                     1);
    assert_true(median > 470 && median < 530);
    assert_true(last > 930 && last <= 1000);
    expect(text, "c_raft_commit_Time_sum 500500\nc_raft_commit_Time_count 1000\n");
    expect(prometheus_of(metrics), "c_api_http{path=\"v1_kv_\",quantile=\"0.9\"} 0.25\n");
    metrics_tick(metrics, START_MS + 17000, NULL);
    expect(prometheus_of(metrics), "c_raft_commit_Time{quantile=\"0.5\"} NaN\n");
    metrics_destroy(metrics);
}

static void odd_samples_stay_in_bounds(void **state) {
    static const double values[] = {0, -1, 1e-300, 1e300, 0.001, 5e6};
    struct metrics *metrics = metrics_create("c", "", START_MS);
    struct metric *timing = metrics_add(metrics, METRIC_SAMPLE, "t", "h", NULL, 0);
    (void)state;
    for (size_t i = 0; i < sizeof values / sizeof values[0]; i++) {
        metric_sample(timing, values[i]);
    }
    expect(json_of(metrics), "\"Count\":6,");
    expect(prometheus_of(metrics), "c_t_count 6\n");
    metrics_destroy(metrics);
}

static void rules_hide_names(void **state) {
    const char *texts[] = {"-consul.raft", "+consul.raft.apply", "-consul.raft.apply.x", "",
                           "bad",          "+consul.dns",        "-consul.dns"};
    struct str_list rules = {texts, sizeof texts / sizeof texts[0]};
    struct str_list none = {NULL, 0};
    const char *only[] = {"+consul.dns"};
    struct metrics *metrics = metrics_create("consul", "", START_MS);
    const char *names[] = {"raft.commitTime", "raft.apply", "raft.apply.x", "dns.query", "http"};
    const bool shown[] = {false, true, false, false, true};
    (void)state;
    metrics_set_filter(metrics, &rules, true);
    for (size_t i = 0; i < 5; i++) {
        char line[64];
        metrics_add(metrics, METRIC_COUNTER, names[i], "h", NULL, 0);
        snprintf(line, sizeof line, "# HELP consul_%s h\n", names[i]);
        for (char *at = line; *at != '\0'; at++) {
            *at = *at == '.' ? '_' : *at;
        }
        (shown[i] ? expect : refuse)(prometheus_of(metrics), line);
    }
    metrics_set_filter(metrics, &(struct str_list){only, 1}, false);
    expect(prometheus_of(metrics), "consul_dns_query 0\n");
    refuse(prometheus_of(metrics), "consul_raft");
    metrics_set_filter(metrics, &none, true);
    expect(prometheus_of(metrics), "consul_raft_commitTime 0\n");
    metrics_destroy(metrics);
}

static void memory_is_bounded(void **state) {
    struct metrics *metrics = metrics_create("c", "", START_MS);
    (void)state;
    for (int i = 0; i < LIMIT_METRICS; i++) {
        char name[32];
        snprintf(name, sizeof name, "n%d", i);
        assert_non_null(metrics_add(metrics, METRIC_COUNTER, name, "h", NULL, 0));
    }
    struct metric *none = metrics_add(metrics, METRIC_SAMPLE, "one.more", "h", NULL, 0);
    assert_null(none);
    metric_sample(none, 1);
    metric_count(none, 1);
    metric_set(none, 1);
    assert_null(metrics_add(NULL, METRIC_COUNTER, "n", "h", NULL, 0));
    metrics_destroy(metrics);
    metrics_destroy(NULL);
}

#define THREADS 8
#define RECORDS 20000

struct work {
    struct metric *counter, *sample;
};

static void *record(void *context) {
    struct work *work = context;
    for (int i = 0; i < RECORDS; i++) {
        metric_count(work->counter, 1);
        metric_sample(work->sample, 1);
    }
    return NULL;
}

/* Threads of a second round go on with the numbers of the first. */
static void threads_lose_nothing(void **state) {
    struct metrics *metrics = metrics_create("c", "", START_MS);
    struct work work = {metrics_add(metrics, METRIC_COUNTER, "n", "h", NULL, 0),
                        metrics_add(metrics, METRIC_SAMPLE, "s", "h", NULL, 0)};
    char line[64];
    (void)state;
    for (int round = 0; round < 2; round++) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++) {
            assert_int_equal(pthread_create(&threads[i], NULL, record, &work), 0);
        }
        for (int i = 0; i < 20; i++) {
            metrics_tick(metrics, START_MS + i, NULL);
            free(json_of(metrics));
            free(prometheus_of(metrics));
        }
        for (int i = 0; i < THREADS; i++) {
            pthread_join(threads[i], NULL);
        }
    }
    snprintf(line, sizeof line, "c_n %d\n", 2 * THREADS * RECORDS);
    expect(prometheus_of(metrics), line);
    snprintf(line, sizeof line, "c_s_count %d\n", 2 * THREADS * RECORDS);
    expect(prometheus_of(metrics), line);
    metrics_destroy(metrics);
}

static char *lines_of(struct buf *out) {
    size_t size;
    buf_append_byte(out, '\0');
    return buf_take(out, &size);
}

/* What statsd sums up is what was recorded: a line for values that are alike, with their rate. */
static void lines_for_statsd(void **state) {
    struct metrics *metrics = metrics_create("consul", "h1", START_MS);
    struct str_pair labels[] = {{"method", "GET"}, {"path", "a b:c|d@e"}};
    struct metric *count = metrics_add(metrics, METRIC_COUNTER, "raft.apply", "h", NULL, 0);
    struct metric *quiet = metrics_add(metrics, METRIC_COUNTER, "quiet", "h", NULL, 0);
    struct metric *timing = metrics_add(metrics, METRIC_SAMPLE, "api.http", "h", labels, 2);
    struct buf out;
    (void)state;
    buf_init(&out, 1 << 20);
    metric_count(count, 3);
    metric_count(count, 4);
    metric_sample(timing, 5.25);
    metrics_tick(metrics, START_MS + 7000, &out);
    char *got = lines_of(&out);
    assert_string_equal(got, "consul.raft.apply:7|c\n"
                             "consul.api.http.GET.a_b_c_d_e:5.250000|ms\n");
    free(got);
    for (int i = 0; i < 4; i++) {
        metric_sample(timing, 1);
    }
    metric_sample(timing, 100);
    metrics_tick(metrics, START_MS + 17000, &out);
    got = lines_of(&out);
    float value;
    assert_int_equal(sscanf(got, "consul.api.http.GET.a_b_c_d_e:%f|ms|@0.25\n", &value), 1);
    assert_true(value >= 0.94 && value <= 1.13);
    assert_non_null(strstr(got, "consul.api.http.GET.a_b_c_d_e:100.000000|ms\n"));
    free(got);
    (void)quiet;
    struct str_list rules = {.v = (const char *[]){"-consul.raft"}, .count = 1};
    metrics_set_filter(metrics, &rules, true);
    metric_count(count, 1);
    metric_set(metrics_add(metrics, METRIC_GAUGE, "x", "h", NULL, 0), 1.5);
    metrics_tick(metrics, START_MS + 27000, &out);
    metrics_write_statsd_gauges(metrics, &out);
    got = lines_of(&out);
    assert_string_equal(got, "consul.h1.x:1.500000|g\n");
    free(got);
    buf_init(&out, 30); /* lines that do not fit are left out whole */
    metric_count(quiet, 1);
    metrics_tick(metrics, START_MS + 37000, &out);
    metrics_write_statsd_gauges(metrics, &out);
    assert_int_equal(out.count, strlen("consul.quiet:1|c\n"));
    buf_clear(&out);
    metrics_destroy(metrics);
}

static void text_for_people(void **state) {
    struct metrics *metrics = metrics_create("consul", "h1", START_MS);
    struct str_pair label = {"node", "n1"};
    struct buf out;
    (void)state;
    buf_init(&out, 1 << 20);
    metric_sample(metrics_add(metrics, METRIC_SAMPLE, "dns.query", "h", &label, 1), 2);
    metric_count(metrics_add(metrics, METRIC_COUNTER, "quiet", "h", NULL, 0), 0);
    metrics_add(metrics, METRIC_COUNTER, "silent", "h", NULL, 0);
    metric_set(metrics_add(metrics, METRIC_GAUGE, "x", "h", NULL, 0), 1.5);
    metrics_write_text(metrics, &out);
    char *got = lines_of(&out);
    assert_string_equal(
        got, "[2023-11-14 22:13:20 +0000 UTC][S] 'consul.dns.query.n1': Count: 1 Min: 2.000 Mean: "
             "2.000 Max: 2.000 Stddev: 0.000 Sum: 2.000\n"
             "[2023-11-14 22:13:20 +0000 UTC][C] 'consul.quiet': Count: 1 Min: 0.000 Mean: 0.000 "
             "Max: 0.000 Stddev: 0.000 Sum: 0.000\n"
             "[2023-11-14 22:13:20 +0000 UTC][G] 'consul.h1.x': 1.500\n");
    free(got);
    metrics_destroy(metrics);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_last_complete_interval_is_shown),
        cmocka_unit_test(gauges_carry_the_host_in_json_alone),
        cmocka_unit_test(samples_are_summaries),
        cmocka_unit_test(odd_samples_stay_in_bounds),
        cmocka_unit_test(rules_hide_names),
        cmocka_unit_test(memory_is_bounded),
        cmocka_unit_test(threads_lose_nothing),
        cmocka_unit_test(lines_for_statsd),
        cmocka_unit_test(text_for_people),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
