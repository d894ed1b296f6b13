/* Readers of the log: their own level and form, their bound, and that none loses or doubles a line
 * while others log. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <fcntl.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/log_reader.h"

struct fixture {
    int fd;
    struct log *log;
};

static int open_fixture(void **state) {
    static struct fixture f;
    f.fd = open("/dev/null", O_WRONLY);
    f.log = log_create(f.fd, LOG_ERROR);
    *state = &f;
    return 0;
}

static int close_fixture(void **state) {
    struct fixture *f = *state;
    log_destroy(f->log);
    close(f->fd);
    return 0;
}

static void count(void *context) {
    atomic_fetch_add((_Atomic int *)context, 1);
}

static const char *take(struct log_reader *reader) {
    static char out[65536];
    out[log_reader_take(reader, out, sizeof out - 1)] = '\0';
    return out;
}

static void a_level_and_a_form_of_its_own(void **state) {
    struct fixture *f = *state;
    _Atomic int ready = 0;
    struct log_reader *text = log_reader_create(f->log, LOG_INFO, false, count, &ready);
    struct log_reader *json = log_reader_create(f->log, LOG_DEBUG, true, count, &ready);
    log_write(f->log, LOG_TRACE, "agent", "for nobody");
    log_write(f->log, LOG_DEBUG, "agent.x", "said \"so\": key=1 text=\"a b\"");
    log_write(f->log, LOG_INFO, "agent", "plain");
    assert_string_equal(take(text) + strlen("2006-01-02T15:04:05.000Z"), " [INFO]  agent: plain\n");
    const char *got = take(json);
    assert_non_null(strstr(got,
                           "{\"@level\":\"debug\",\"@message\":\"said \\\"so\\\"\",\"@module\":"
                           "\"agent.x\",\"@timestamp\":\""));
    assert_non_null(strstr(got,
                           "Z\",\"key\":\"1\",\"text\":\"a b\"}\n{\"@level\":\"info\",\"@message\""
                           ":\"plain\""));
    assert_int_equal(ready, 0); /* neither was armed */
    assert_int_equal(log_reader_destroy(text), 0);
    assert_int_equal(log_reader_destroy(json), 0);
}

static void ready_is_called_once_for_each_arm(void **state) {
    struct fixture *f = *state;
    _Atomic int ready = 0;
    struct log_reader *reader = log_reader_create(f->log, LOG_INFO, false, count, &ready);
    assert_true(log_reader_arm(reader));
    log_write(f->log, LOG_DEBUG, "agent", "below its level");
    assert_int_equal(ready, 0);
    log_write(f->log, LOG_INFO, "agent", "one");
    log_write(f->log, LOG_INFO, "agent", "two");
    assert_int_equal(ready, 1);
    assert_false(log_reader_disarm(reader));
    assert_false(log_reader_arm(reader)); /* lines wait */
    log_write(f->log, LOG_INFO, "agent", "three");
    assert_int_equal(ready, 1);
    char piece[8];
    size_t size, all = 0;
    while ((size = log_reader_take(reader, piece, sizeof piece)) > 0) {
        all += size;
    }
    assert_int_equal(all, 3 * strlen("2006-01-02T15:04:05.000Z [INFO]  agent: \n") + 11);
    assert_true(log_reader_arm(reader));
    assert_true(log_reader_disarm(reader));
    log_write(f->log, LOG_INFO, "agent", "four");
    assert_int_equal(ready, 1);
    assert_int_equal(log_reader_destroy(reader), 0);
}

static void a_slow_reader_loses_lines_and_is_told_how_many(void **state) {
    struct fixture *f = *state;
    _Atomic int ready = 0;
    struct log_reader *slow = log_reader_create(f->log, LOG_INFO, false, count, &ready);
    for (int i = 0; i < LIMIT_LOG_READER_LINES + 7; i++) {
        log_write(f->log, LOG_INFO, "agent", "%d", i);
    }
    const char *got = take(slow);
    assert_non_null(strstr(got, " 0\n"));
    assert_non_null(strstr(got, " 511\n"));
    assert_null(strstr(got, " 512\n"));
    log_write(f->log, LOG_INFO, "agent", "there is room again");
    assert_non_null(strstr(take(slow), "room again"));
    assert_int_equal(log_reader_destroy(slow), 7);
}

static void there_are_only_so_many(void **state) {
    struct fixture *f = *state;
    struct log_reader *all[LIMIT_LOG_READERS];
    for (int i = 0; i < LIMIT_LOG_READERS; i++) {
        all[i] = log_reader_create(f->log, LOG_INFO, false, count, NULL);
        assert_non_null(all[i]);
    }
    assert_null(log_reader_create(f->log, LOG_INFO, false, count, NULL));
    for (int i = 0; i < LIMIT_LOG_READERS; i++) {
        log_reader_destroy(all[i]);
    }
}

#define THREADS 4
#define LINES 100 /* of each thread: all of them fit one reader */

static void *write_lines(void *context) {
    for (int i = 0; i < LINES; i++) {
        log_write(context, LOG_INFO, "agent", "line");
    }
    return NULL;
}

static void come_and_go(struct log *log) {
    _Atomic int ready = 0;
    for (int i = 0; i < 100; i++) {
        struct log_reader *reader = log_reader_create(log, LOG_TRACE, i % 2 == 0, count, &ready);
        log_reader_arm(reader);
        take(reader);
        log_reader_destroy(reader);
    }
}

static void threads_lose_no_line(void **state) {
    struct fixture *f = *state;
    _Atomic int ready = 0;
    pthread_t threads[THREADS];
    struct log_reader *reader = log_reader_create(f->log, LOG_INFO, false, count, &ready);
    for (int i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, write_lines, f->log), 0);
    }
    come_and_go(f->log);
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    int lines = 0;
    for (const char *at = take(reader); (at = strchr(at, '\n')) != NULL; at++) {
        lines++;
    }
    assert_int_equal(lines, THREADS * LINES);
    assert_int_equal(log_reader_destroy(reader), 0);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(a_level_and_a_form_of_its_own),
        TEST(ready_is_called_once_for_each_arm),
        TEST(a_slow_reader_loses_lines_and_is_told_how_many),
        TEST(there_are_only_so_many),
        TEST(threads_lose_no_line),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
