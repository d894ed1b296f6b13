/* HTTP checks against a server on the loopback address (contract 11.1). */
#include "tests/unit/checks_support.h"

#include "base/limits.h"

struct fixture {
    struct bench bench;
    struct server *server;
    char url[256];
};

static const char *url_of(struct fixture *fixture, const char *path) {
    snprintf(fixture->url, sizeof fixture->url, "http://127.0.0.1:%u%s", fixture->server->port,
             path);
    return fixture->url;
}

static int set_up(void **state) {
    struct fixture *fixture = mem_calloc(1, sizeof *fixture);
    fixture->server = server_open();
    bench_open(&fixture->bench);
    *state = fixture;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    bench_close(&fixture->bench);
    server_close(fixture->server);
    free(fixture);
    return 0;
}

/* Sets the check and waits for its first result. */
static struct told run_once(struct fixture *fixture, const struct check_definition *def) {
    uint64_t generation = checks_set(fixture->bench.checks, def, NULL);
    struct told told = recorder_wait(&fixture->bench.recorder, def->id, 1);
    assert_int_equal(told.generation, generation);
    checks_remove(fixture->bench.checks, def->id);
    return told;
}

static struct told run_path(struct fixture *fixture, const char *path) {
    struct check_definition def = http_definition(path, url_of(fixture, path));
    return run_once(fixture, &def);
}

static void assert_told(struct fixture *fixture, const char *path, const char *status,
                        const char *rest) {
    char output[1024];
    struct told told = run_path(fixture, path);
    snprintf(output, sizeof output, "HTTP GET %s: %s", fixture->url, rest);
    assert_string_equal(told.status, status);
    assert_string_equal(told.output, output);
}

static void test_codes(void **state) {
    struct fixture *fixture = *state;
    assert_told(fixture, "/ok", "passing", "200 OK Output: hello");
    assert_told(fixture, "/code/204", "passing", "204 Some Reason Output: ");
    assert_told(fixture, "/code/299", "passing", "299 Some Reason Output: body");
    assert_told(fixture, "/code/300", "critical", "300 Some Reason Output: body");
    assert_told(fixture, "/code/404", "critical", "404 Some Reason Output: body");
    assert_told(fixture, "/code/429", "warning", "429 Some Reason Output: body");
    assert_told(fixture, "/code/500", "critical", "500 Some Reason Output: body");
    assert_told(fixture, "/code/503", "critical", "503 Some Reason Output: body");
}

static void test_redirects(void **state) {
    struct fixture *fixture = *state;
    char output[512];
    assert_told(fixture, "/redirect/0", "passing", "200 OK Output: hello");
    assert_told(fixture, "/redirect/9", "passing", "200 OK Output: hello");

    struct told told = run_path(fixture, "/redirect/10");
    assert_string_equal(told.status, "critical");
    assert_non_null(strstr(told.output, "stopped after 10 redirects"));

    told = run_path(fixture, "/away");
    assert_string_equal(told.status, "critical");
    assert_string_equal(told.output, "Get \"http://127.0.0.1:1/gone\": dial tcp 127.0.0.1:1: "
                                     "connect: connection refused");

    told = run_path(fixture, "/file");
    assert_string_equal(told.status, "critical");
    assert_non_null(strstr(told.output, "\"file\" not supported or disabled"));

    struct check_definition def = http_definition("stay", url_of(fixture, "/redirect/0"));
    def.disable_redirects = true;
    told = run_once(fixture, &def);
    snprintf(output, sizeof output, "HTTP GET %s: 302 Found Output: moved", fixture->url);
    assert_string_equal(told.status, "critical");
    assert_string_equal(told.output, output);
}

static void test_transport_errors(void **state) {
    struct fixture *fixture = *state;
    struct check_definition def = http_definition("closed", "http://127.0.0.1:1/x");
    struct told told = run_once(fixture, &def);
    assert_string_equal(told.status, "critical");
    assert_string_equal(
        told.output,
        "Get \"http://127.0.0.1:1/x\": dial tcp 127.0.0.1:1: connect: connection refused");

    def = http_definition("head", "http://127.0.0.1:1/x");
    def.method = "HEAD";
    told = run_once(fixture, &def);
    assert_non_null(strstr(told.output, "Head \"http://127.0.0.1:1/x\": dial tcp"));

    told = run_path(fixture, "/close");
    assert_string_equal(told.status, "critical");
    assert_non_null(strstr(told.output, "/close\": EOF"));

    told = run_path(fixture, "/garbage");
    assert_string_equal(told.status, "critical");
    assert_non_null(strstr(told.output, "Get \""));

    def = http_definition("scheme", "file:///etc/passwd");
    told = run_once(fixture, &def);
    assert_string_equal(told.status, "critical");
    assert_non_null(strstr(told.output, "\"file\" not supported or disabled"));
}

static void test_timeout(void **state) {
    struct fixture *fixture = *state;
    struct check_definition def = http_definition("hang", url_of(fixture, "/hang"));
    def.timeout_ns = 150 * DURATION_MS;
    int64_t start_ms = clock_monotonic_ms();
    struct told told = run_once(fixture, &def);
    assert_true(clock_monotonic_ms() - start_ms >= 150);
    assert_string_equal(told.status, "critical");
    assert_non_null(strstr(told.output, "/hang\": context deadline exceeded"));

    /* The head was in time: it is the answer. */
    def = http_definition("mute", url_of(fixture, "/mute-body"));
    def.timeout_ns = 150 * DURATION_MS;
    told = run_once(fixture, &def);
    assert_string_equal(told.status, "passing");
    assert_non_null(strstr(told.output, "200 OK Output: half"));
    assert_told(fixture, "/broken", "passing", "200 OK Output: half");
}

static void test_output_limit(void **state) {
    struct fixture *fixture = *state;
    struct told told = run_path(fixture, "/huge");
    const char *tail = strstr(told.output, "Output: ") + 8;
    assert_string_equal(told.status, "passing");
    assert_int_equal(strlen(tail), LIMIT_CHECK_OUTPUT_BYTES);
    /* The server's sixteenth block is the last that is read. */
    assert_int_equal(strspn(tail, "p"), LIMIT_CHECK_OUTPUT_BYTES);

    struct check_definition def = http_definition("small", url_of(fixture, "/ok"));
    def.output_bytes_max = 3;
    told = run_once(fixture, &def);
    assert_string_equal(strstr(told.output, "Output: "), "Output: llo");
    assert_told(fixture, "/nul", "passing", "200 OK Output: a?b");
}

static void assert_has(struct told told, const char *part) {
    if (strstr(told.output, part) == NULL) {
        fail_msg("no \"%s\" in: %s", part, told.output);
    }
}

static void assert_lacks(struct told told, const char *part) {
    if (strcasestr(told.output, part) != NULL) {
        fail_msg("unexpected \"%s\" in: %s", part, told.output);
    }
}

static void test_request(void **state) {
    struct fixture *fixture = *state;
    char host[64];
    struct told told = run_path(fixture, "/echo");
    snprintf(host, sizeof host, "\r\nHost: 127.0.0.1:%u\r\n", fixture->server->port);
    assert_has(told, "GET /echo HTTP/1.1\r\n");
    assert_has(told, host);
    assert_has(told, "\r\nUser-Agent: Consul Health Check\r\n");
    assert_has(told, "\r\nAccept: text/plain, text/*, */*\r\n");
    assert_lacks(told, "Content-Type");

    const char *hosts[] = {"web.example"}, *agents[] = {"mine"}, *twice[] = {"one", "two"};
    const char *empty[] = {""};
    struct str_list_pair pairs[] = {{"Host", {hosts, 1}},
                                    {"User-Agent", {agents, 1}},
                                    {"X-Empty", {empty, 1}},
                                    {"X-Two", {twice, 2}}};
    struct check_definition def = http_definition("headers", url_of(fixture, "/echo"));
    def.header = (struct str_multimap){pairs, 4};
    def.method = "PUT";
    def.body = "a body";
    told = run_once(fixture, &def);
    assert_has(told, "HTTP PUT ");
    assert_has(told, "PUT /echo HTTP/1.1\r\n");
    assert_has(told, "\r\nHost: web.example\r\n");
    assert_has(told, "\r\nUser-Agent: mine\r\n");
    assert_has(told, "\r\nX-Empty:\r\n");
    assert_has(told, "\r\nX-Two: one\r\nX-Two: two\r\n");
    assert_has(told, "\r\nContent-Length: 6\r\n");
    assert_has(told, "\r\n\r\na body");
    assert_lacks(told, "Content-Type");
    assert_lacks(told, "Expect");
    assert_lacks(told, "Consul Health Check");
}

static void test_methods(void **state) {
    static const struct {
        const char *method, *body, *line;
    } rows[] = {{"GET", "b", "GET /echo"},
                {"POST", "b", "POST /echo"},
                {"POST", "", "POST /echo"},
                {"DELETE", "", "DELETE /e"},
                {"ODD", "b", "ODD /echo"}};
    struct fixture *fixture = *state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        char id[16];
        snprintf(id, sizeof id, "%zu", i);
        struct check_definition def = http_definition(id, url_of(fixture, "/echo"));
        def.method = rows[i].method;
        def.body = rows[i].body;
        struct told told = run_once(fixture, &def);
        assert_has(told, rows[i].line);
        if (rows[i].body[0] != '\0') {
            assert_has(told, "\r\n\r\nb");
        }
    }
    /* The length that the answer to a HEAD names is not waited for. */
    struct check_definition def = http_definition("head", url_of(fixture, "/mute-body"));
    def.method = "HEAD";
    def.timeout_ns = 2 * WAIT_MAX_S * DURATION_S;
    struct told told = run_once(fixture, &def);
    assert_string_equal(told.status, "passing");
    assert_has(told, "200 OK Output: ");
}

static void test_line_breaks_are_refused(void **state) {
    struct fixture *fixture = *state;
    const char *values[] = {"a\r\nX-Smuggled: 1"};
    struct str_list_pair pairs[] = {{"X-A", {values, 1}}};
    struct check_definition def = http_definition("header", url_of(fixture, "/echo"));
    def.header = (struct str_multimap){pairs, 1};
    struct told told = run_once(fixture, &def);
    assert_string_equal(told.status, "critical");
    assert_has(told, "net/http: invalid header field value");

    def = http_definition("method", url_of(fixture, "/echo"));
    def.method = "GET / HTTP/1.1\r\nX: ";
    told = run_once(fixture, &def);
    assert_string_equal(told.status, "critical");
    assert_has(told, "net/http: invalid method");
    assert_int_equal(atomic_load(&fixture->server->requests), 0);
}

static void test_only_changes_are_told(void **state) {
    struct fixture *fixture = *state;
    struct check_definition def = http_definition("a", url_of(fixture, "/status"));
    def.interval_ns = DURATION_MS;
    def.status = "passing";
    checks_set(fixture->bench.checks, &def, NULL);
    struct told told = recorder_wait(&fixture->bench.recorder, "a", 1);
    assert_false(told.status_changed);
    assert_true(told.output_changed);
    server_wait(fixture->server, 6);
    assert_int_equal(recorder_count(&fixture->bench.recorder), 1);
    atomic_store(&fixture->server->status, 503);
    told = recorder_wait(&fixture->bench.recorder, "a", 2);
    assert_string_equal(told.status, "critical");
    assert_true(told.status_changed);
    atomic_store(&fixture->server->status, 500);
    told = recorder_wait(&fixture->bench.recorder, "a", 3);
    assert_string_equal(told.status, "critical");
    assert_false(told.status_changed);
    assert_true(told.output_changed);
}

static void test_thresholds_are_applied(void **state) {
    struct fixture *fixture = *state;
    struct check_definition def = http_definition("a", url_of(fixture, "/status"));
    def.interval_ns = DURATION_MS;
    def.failures_before_warning = 2;
    def.failures_before_critical = 4;
    checks_set(fixture->bench.checks, &def, NULL);
    assert_string_equal(recorder_wait(&fixture->bench.recorder, "a", 1).status, "passing");
    unsigned before = atomic_load(&fixture->server->requests);
    atomic_store(&fixture->server->status, 500);
    struct told warning = recorder_wait(&fixture->bench.recorder, "a", 2);
    assert_string_equal(warning.status, "warning");
    assert_has(warning, "500 Status");
    assert_string_equal(recorder_wait(&fixture->bench.recorder, "a", 3).status, "critical");
    assert_true(atomic_load(&fixture->server->requests) >= before + 4);
}

static size_t count_descriptors(void) {
    size_t count = 0;
    for (int fd = 0; fd < 1024; fd++) {
        char path[64], target[64];
        snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
        count += readlink(path, target, sizeof target) >= 0;
    }
    return count;
}

static bool nobody_is_connected(void *context) {
    return atomic_load(&((struct server *)context)->open) == 0;
}

/* Connections are not kept, aborted ones neither. */
static void test_descriptors_are_closed(void **state) {
    struct fixture *fixture = *state;
    run_path(fixture, "/ok"); /* libcurl is there now, with what it keeps open */
    assert_true(wait_until(nobody_is_connected, fixture->server));
    size_t before = count_descriptors();
    struct check_definition def = http_definition("hang", url_of(fixture, "/hang"));
    checks_set(fixture->bench.checks, &def, NULL);
    server_wait(fixture->server, 2);
    checks_remove(fixture->bench.checks, "hang");
    assert_true(wait_until(nobody_is_connected, fixture->server));
    run_path(fixture, "/echo");
    assert_true(wait_until(nobody_is_connected, fixture->server));
    assert_in_range(count_descriptors(), 0, before); /* libcurl's end may have closed a bit later */
}

static void test_replaced_while_running(void **state) {
    struct fixture *fixture = *state;
    struct check_definition def = http_definition("a", url_of(fixture, "/hang"));
    checks_set(fixture->bench.checks, &def, NULL);
    server_wait(fixture->server, 1);
    def.http = url_of(fixture, "/ok");
    uint64_t generation = checks_set(fixture->bench.checks, &def, NULL);
    struct told told = recorder_wait(&fixture->bench.recorder, "a", 1);
    assert_int_equal(told.generation, generation);
    assert_string_equal(told.status, "passing");
    assert_true(wait_until(nobody_is_connected, fixture->server));
    assert_int_equal(bench_stats(&fixture->bench).checks, 1);
}

static bool all_places_are_taken(void *context) {
    struct checks_stats stats = bench_stats(context);
    return stats.running == LIMIT_CHECK_RUNS && stats.waiting > 0;
}

/* More hanging checks than places: the others wait, all come to their result, and the server never
 * sees more than the cap. */
static void test_cap(void **state) {
    struct fixture *fixture = *state;
    unsigned count = LIMIT_CHECK_RUNS + 60;
    for (unsigned i = 0; i < count; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%u", i);
        struct check_definition def = http_definition(id, url_of(fixture, "/hang"));
        def.timeout_ns = 2 * DURATION_S;
        def.interval_ns = i == 0 ? 1 : DURATION_MS;
        checks_set(fixture->bench.checks, &def, NULL);
    }
    assert_true(wait_until(all_places_are_taken, &fixture->bench));
    for (unsigned i = 0; i < count; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%u", i);
        assert_string_equal(recorder_wait(&fixture->bench.recorder, id, 1).status, "critical");
    }
    assert_true(bench_stats(&fixture->bench).running <= LIMIT_CHECK_RUNS);
}

static void test_destroyed_while_running(void **state) {
    struct fixture *fixture = *state;
    for (unsigned i = 0; i < 50; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%u", i);
        struct check_definition def = http_definition(id, url_of(fixture, "/hang"));
        def.timeout_ns = 2 * WAIT_MAX_S * DURATION_S;
        checks_set(fixture->bench.checks, &def, NULL);
    }
    server_wait(fixture->server, 50);
    int64_t start_ms = clock_monotonic_ms();
    bench_close(&fixture->bench); /* waits for none of them */
    assert_true(clock_monotonic_ms() - start_ms < WAIT_MAX_S * 1000);
    bench_open(&fixture->bench);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        CASE(test_codes),
        CASE(test_redirects),
        CASE(test_transport_errors),
        CASE(test_timeout),
        CASE(test_output_limit),
        CASE(test_request),
        CASE(test_methods),
        CASE(test_line_breaks_are_refused),
        CASE(test_only_changes_are_told),
        CASE(test_thresholds_are_applied),
        CASE(test_descriptors_are_closed),
        CASE(test_replaced_while_running),
        CASE(test_cap),
        CASE(test_destroyed_while_running),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
