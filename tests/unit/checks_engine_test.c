/* The check engine but for HTTP: TTL (contract 11.2), TCP (11.1), the schedule, many checks. */
#include "tests/unit/checks_support.h"

#include "base/limits.h"

static int set_up(void **state) {
    struct bench *bench = mem_calloc(1, sizeof *bench);
    bench_open(bench);
    *state = bench;
    return 0;
}

static int tear_down(void **state) {
    struct bench *bench = *state;
    bench_close(bench);
    free(bench);
    return 0;
}

static void test_supports(void **state) {
    struct err_text text;
    (void)state;
    assert_int_equal(checks_supports(CHECK_HTTP, &text), ERR_OK);
    assert_int_equal(checks_supports(CHECK_TCP, &text), ERR_OK);
    assert_int_equal(checks_supports(CHECK_TTL, &text), ERR_OK);
    assert_int_equal(checks_supports(CHECK_OS_SERVICE, &text), ERR_UNSUPPORTED);
    assert_string_equal(text.s, "not implemented");
    assert_int_equal(checks_supports(CHECK_DOCKER, &text), ERR_OK);
    assert_int_equal(checks_supports(CHECK_NONE, &text), ERR_UNSUPPORTED);
    assert_string_equal(text.s, "Check type is not valid");
}

static void test_ttl_expires(void **state) {
    struct bench *bench = *state;
    struct check_definition def = ttl_definition("a", 60);
    int64_t start_ms = clock_monotonic_ms();
    uint64_t generation = checks_set(bench->checks, &def, NULL);
    struct told told = recorder_wait(&bench->recorder, "a", 1);
    assert_true(clock_monotonic_ms() - start_ms >= 60);
    assert_int_equal(told.generation, generation);
    assert_string_equal(told.status, "critical");
    assert_string_equal(told.output, "TTL expired");
    assert_false(told.status_changed);
    assert_true(told.output_changed);
}

static void test_ttl_update(void **state) {
    struct bench *bench = *state;
    struct check_definition def = ttl_definition("a", 800);
    uint64_t set = checks_set(bench->checks, &def, NULL);
    uint64_t updated = checks_update_ttl(bench->checks, "a", "passing", "all well");
    assert_true(updated > set);
    struct told told = recorder_wait(&bench->recorder, "a", 1);
    assert_int_equal(told.generation, updated);
    assert_string_equal(told.status, "passing");
    assert_string_equal(told.output, "all well");
    assert_true(told.status_changed);

    told = recorder_wait(&bench->recorder, "a", 2);
    assert_int_equal(told.generation, updated);
    assert_string_equal(told.status, "critical");
    assert_string_equal(told.output, "TTL expired (last output before timeout follows): all well");

    /* It stays so until the next update, and lives again with it. */
    checks_update_ttl(bench->checks, "a", "warning", "");
    told = recorder_wait(&bench->recorder, "a", 3);
    assert_string_equal(told.status, "warning");
    assert_string_equal(told.output, "");
    assert_string_equal(recorder_wait(&bench->recorder, "a", 4).output, "TTL expired");
}

/* Each update starts the time anew: a check that is updated faster than its TTL never expires. */
static void test_ttl_is_reset(void **state) {
    struct bench *bench = *state;
    struct check_definition def = ttl_definition("a", 4000);
    checks_set(bench->checks, &def, NULL);
    int64_t start_ms = clock_monotonic_ms();
    size_t updates = 0;
    while (clock_monotonic_ms() - start_ms < 4500) {
        checks_update_ttl(bench->checks, "a", "passing", "x");
        updates++;
        nanosleep(&(struct timespec){.tv_nsec = 50000000}, NULL);
    }
    assert_string_equal(recorder_wait(&bench->recorder, "a", updates).status, "passing");
    assert_int_equal(recorder_count(&bench->recorder), updates);
}

static void test_ttl_note_is_cut(void **state) {
    struct bench *bench = *state;
    struct check_definition def = ttl_definition("a", 60000);
    def.output_bytes_max = 5;
    checks_set(bench->checks, &def, NULL);
    checks_update_ttl(bench->checks, "a", "passing", "123456789");
    assert_string_equal(recorder_wait(&bench->recorder, "a", 1).output,
                        "12345 ... (captured 5 of 9 bytes)");
    checks_update_ttl(bench->checks, "a", "passing", "12345");
    assert_string_equal(recorder_wait(&bench->recorder, "a", 2).output, "12345");

    char long_note[LIMIT_CHECK_OUTPUT_BYTES + 2];
    memset(long_note, 'x', sizeof long_note - 1);
    long_note[sizeof long_note - 1] = '\0';
    char *note = checks_format_note(long_note, 0);
    assert_string_equal(note + LIMIT_CHECK_OUTPUT_BYTES, " ... (captured 4096 of 4097 bytes)");
    free(note);
}

static void test_ttl_resumes(void **state) {
    struct bench *bench = *state;
    struct check_definition def = ttl_definition("a", 3600 * 1000);
    struct checks_resume resume = {
        .status = "passing", .output = "kept", .ttl_expires_wall_ms = clock_wall_ms() + 50};
    checks_set(bench->checks, &def, &resume);
    struct told told = recorder_wait(&bench->recorder, "a", 1);
    assert_string_equal(told.output, "TTL expired (last output before timeout follows): kept");
    assert_true(told.status_changed);

    resume.ttl_expires_wall_ms = 1; /* long ago */
    def.id = "b";
    checks_set(bench->checks, &def, &resume);
    assert_string_equal(recorder_wait(&bench->recorder, "b", 1).status, "critical");

    /* A wall clock that went back does not stretch the TTL. */
    def = ttl_definition("c", 50);
    resume.ttl_expires_wall_ms = clock_wall_ms() + 3600 * 1000;
    checks_set(bench->checks, &def, &resume);
    assert_string_equal(recorder_wait(&bench->recorder, "c", 1).status, "critical");

    /* Registering again keeps the note of the check that is replaced. */
    def.ttl_ns += DURATION_MS;
    checks_set(bench->checks, &def, NULL);
    told = recorder_wait(&bench->recorder, "c", 2);
    assert_string_equal(told.output, "TTL expired (last output before timeout follows): kept");
    assert_false(told.status_changed);
    assert_false(told.output_changed);
}

/* Updates of ids that are unknown, removed or not TTL do nothing. The last check of the test shows
 * that all messages before it were handled. */
static void test_stray_updates(void **state) {
    struct bench *bench = *state;
    struct check_definition tcp = tcp_definition("tcp", "127.0.0.1:1");
    struct check_definition ttl = ttl_definition("gone", 20);
    tcp.interval_ns = 3600 * DURATION_S;
    checks_set(bench->checks, &tcp, NULL);
    checks_set(bench->checks, &ttl, NULL);
    checks_update_ttl(bench->checks, "tcp", "passing", "");
    checks_update_ttl(bench->checks, "never", "passing", "");
    checks_remove(bench->checks, "gone");
    checks_remove(bench->checks, "never");
    checks_update_ttl(bench->checks, "gone", "passing", "");
    ttl = ttl_definition("last", 60);
    checks_set(bench->checks, &ttl, NULL);
    assert_string_equal(recorder_wait(&bench->recorder, NULL, 1).id, "last");
    assert_int_equal(bench_stats(bench).checks, 2);
}

/* The connection that a check has made is closed, and nothing was sent on it. */
static void assert_closed(int listener) {
    char byte;
    struct timeval limit = {.tv_sec = WAIT_MAX_S};
    int fd = accept(listener, NULL, NULL);
    assert_true(fd >= 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    assert_int_equal(recv(fd, &byte, 1, 0), 0);
    close(fd);
}

static void test_tcp(void **state) {
    struct bench *bench = *state;
    char address[64], expected[256];
    uint16_t port;
    int fd = listen_any(&port);
    snprintf(address, sizeof address, "127.0.0.1:%u", port);
    struct check_definition def = tcp_definition("a", address);
    checks_set(bench->checks, &def, NULL);
    struct told told = recorder_wait(&bench->recorder, "a", 1);
    snprintf(expected, sizeof expected, "TCP connect %s: Success", address);
    assert_string_equal(told.status, "passing");
    assert_string_equal(told.output, expected);
    assert_closed(fd);

    close(fd);
    told = recorder_wait(&bench->recorder, "a", 2);
    snprintf(expected, sizeof expected, "dial tcp %s: connect: connection refused", address);
    assert_string_equal(told.status, "critical");
    assert_string_equal(told.output, expected);
}

/* Names go through libcurl. */
static void test_tcp_name(void **state) {
    struct bench *bench = *state;
    char address[64], expected[256];
    uint16_t port;
    int fd = listen_any(&port);
    snprintf(address, sizeof address, "localhost:%u", port);
    struct check_definition def = tcp_definition("a", address);
    checks_set(bench->checks, &def, NULL);
    struct told told = recorder_wait(&bench->recorder, "a", 1);
    snprintf(expected, sizeof expected, "TCP connect %s: Success", address);
    assert_string_equal(told.status, "passing");
    assert_string_equal(told.output, expected);
    assert_closed(fd);
    close(fd);
    told = recorder_wait(&bench->recorder, "a", 2);
    assert_string_equal(told.status, "critical");
    assert_non_null(strstr(told.output, "connect: connection refused"));
}

static void test_tcp_bad_addresses(void **state) {
    static const char *const addresses[] = {"no-port", "127.0.0.1:",      "127.0.0.1:x",
                                            "::1:80",  "127.0.0.1:65536", "a/b:80"};
    struct bench *bench = *state;
    for (size_t i = 0; i < sizeof addresses / sizeof addresses[0]; i++) {
        struct check_definition def = tcp_definition(addresses[i], addresses[i]);
        checks_set(bench->checks, &def, NULL);
        struct told told = recorder_wait(&bench->recorder, addresses[i], 1);
        assert_string_equal(told.status, "critical");
        assert_non_null(strstr(told.output, "not of the form host:port"));
    }
}

static bool is_running(void *context) {
    return bench_stats(context).running > 0;
}

/* A listener whose queue is full drops new connections: the connect hangs. */
static void test_tcp_timeout(void **state) {
    struct bench *bench = *state;
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fds[8];
    char address[64], expected[128];
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 0), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    for (size_t i = 0; i < 8; i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        connect(fds[i], (struct sockaddr *)&at, sizeof at);
    }
    snprintf(address, sizeof address, "127.0.0.1:%u", ntohs(at.sin_port));
    struct check_definition def = tcp_definition("a", address);
    def.timeout_ns = 100 * DURATION_MS;
    checks_set(bench->checks, &def, NULL);
    struct told told = recorder_wait(&bench->recorder, "a", 1);
    snprintf(expected, sizeof expected, "dial tcp %s: i/o timeout", address);
    assert_string_equal(told.status, "critical");
    assert_string_equal(told.output, expected);
    def.id = "b";
    def.timeout_ns = 60 * DURATION_S; /* still under way at the end: aborted */
    checks_set(bench->checks, &def, NULL);
    assert_true(wait_until(is_running, bench));
    for (size_t i = 0; i < 8; i++) {
        close(fds[i]);
    }
    close(fd);
}

static void test_unresolvable_name(void **state) {
    struct bench *bench = *state;
    /* An empty label cannot be asked for, so no name server is needed to say no. */
    struct check_definition def = tcp_definition("a", "no..such.invalid:80");
    checks_set(bench->checks, &def, NULL);
    struct told told = recorder_wait(&bench->recorder, "a", 1);
    assert_string_equal(told.status, "critical");
    assert_non_null(strstr(told.output, "no..such.invalid"));
}

/* The same definition keeps its place: a check that is set again and again runs at its pace. */
static void test_same_definition_keeps_schedule(void **state) {
    enum { INTERVAL_MS = 100, RUNS = 6 };
    struct bench *bench = *state;
    struct check_definition def = tcp_definition("a", "127.0.0.1:1");
    def.interval_ns = INTERVAL_MS * DURATION_MS;
    int64_t deadline_ms = clock_monotonic_ms() + WAIT_MAX_S * 1000;
    uint64_t last = 0;
    while (recorder_count(&bench->recorder) < RUNS) {
        assert_true(clock_monotonic_ms() < deadline_ms);
        uint64_t generation = checks_set(bench->checks, &def, NULL);
        assert_true(generation > last);
        last = generation;
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    /* Each set is followed by a result, though nothing changed. */
    struct told before = recorder_wait(&bench->recorder, "a", 1);
    for (size_t nth = 2; nth <= RUNS; nth++) {
        struct told told = recorder_wait(&bench->recorder, "a", nth);
        assert_true(told.generation > before.generation);
        assert_false(told.status_changed || told.output_changed);
        assert_true(told.at_ms - before.at_ms >= INTERVAL_MS - 1);
        before = told;
    }
}

/* A new type replaces the runner: nothing of the old kind is told any more. */
static void test_kind_is_replaced(void **state) {
    struct bench *bench = *state;
    char id[16];
    int64_t start_ms;
    uint64_t generation;
    unsigned tries = 0;
    do { /* again if a busy machine let the TTL pass in between */
        snprintf(id, sizeof id, "a%u", tries++);
        start_ms = clock_monotonic_ms();
        struct check_definition def = ttl_definition(id, 30);
        checks_set(bench->checks, &def, NULL);
        def = tcp_definition(id, "127.0.0.1:1");
        generation = checks_set(bench->checks, &def, NULL);
    } while (clock_monotonic_ms() - start_ms >= 30 && tries < 100);
    struct told told = recorder_wait(&bench->recorder, id, 1);
    assert_int_equal(told.generation, generation);
    assert_non_null(strstr(told.output, "connection refused"));
    struct check_definition def = ttl_definition(id, 30);
    generation = checks_set(bench->checks, &def, NULL);
    for (size_t nth = 2;; nth++) {
        told = recorder_wait(&bench->recorder, id, nth);
        if (told.generation == generation) {
            break;
        }
        assert_non_null(strstr(told.output, "connection refused"));
    }
    assert_string_equal(told.output, "TTL expired");
}

/* First runs spread over the interval: 2,000 checks of one interval never come as one burst. */
static void test_many(void **state) {
    enum { COUNT = 2000 };
    struct bench *bench = *state;
    int64_t start_ms = clock_monotonic_ms();
    for (unsigned i = 0; i < COUNT; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%u", i);
        struct check_definition def = tcp_definition(id, "127.0.0.1:1");
        def.interval_ns = DURATION_S;
        checks_set(bench->checks, &def, NULL);
    }
    recorder_wait(&bench->recorder, NULL, COUNT / 2);
    int64_t half_ms = clock_monotonic_ms() - start_ms;
    recorder_wait(&bench->recorder, NULL, COUNT);
    assert_true(half_ms > 300);
    assert_int_equal(bench_stats(bench).checks, COUNT);
    for (unsigned i = 0; i < COUNT; i += 2) {
        char id[16];
        snprintf(id, sizeof id, "c%u", i);
        checks_remove(bench->checks, id);
    }
    struct check_definition def = ttl_definition("last", 1);
    checks_set(bench->checks, &def, NULL);
    recorder_wait(&bench->recorder, "last", 1);
    assert_int_equal(bench_stats(bench).checks, COUNT / 2 + 1);
}

struct churn {
    struct bench *bench;
    unsigned seed;
};

static void *churn(void *context) {
    struct churn *churn = context;
    for (unsigned i = 0; i < 300; i++) {
        char id[16];
        snprintf(id, sizeof id, "c%u", (i * 7 + churn->seed) % 20);
        struct check_definition def = (i + churn->seed) % 2 == 0 ? tcp_definition(id, "127.0.0.1:1")
                                                                 : ttl_definition(id, 1 + i % 5);
        checks_set(churn->bench->checks, &def, NULL);
        checks_update_ttl(churn->bench->checks, id, "passing", "x");
        if (i % 3 == 0) {
            checks_remove(churn->bench->checks, id);
        }
    }
    return NULL;
}

/* Calls from several threads, and a destroy right behind them. */
static void test_any_thread(void **state) {
    pthread_t threads[4];
    struct churn churns[4];
    for (unsigned i = 0; i < 4; i++) {
        churns[i] = (struct churn){.bench = *state, .seed = i};
        assert_int_equal(pthread_create(&threads[i], NULL, churn, &churns[i]), 0);
    }
    for (unsigned i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
    }
    checks_destroy(NULL);
}

int main(void) {
#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_supports),
        CASE(test_ttl_expires),
        CASE(test_ttl_update),
        CASE(test_ttl_is_reset),
        CASE(test_ttl_note_is_cut),
        CASE(test_ttl_resumes),
        CASE(test_stray_updates),
        CASE(test_tcp),
        CASE(test_tcp_name),
        CASE(test_tcp_bad_addresses),
        CASE(test_tcp_timeout),
        CASE(test_unresolvable_name),
        CASE(test_same_definition_keeps_schedule),
        CASE(test_kind_is_replaced),
        CASE(test_many),
        CASE(test_any_thread),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
