/* The log's lines, as operators' scripts parse them. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"

struct fixture {
    int pipe[2];
    struct log *log;
    char got[8192];
};

static int open_fixture(void **state) {
    static struct fixture f;
    assert_int_equal(pipe(f.pipe), 0);
    f.log = log_create(f.pipe[1], LOG_INFO);
    *state = &f;
    return 0;
}

static int close_fixture(void **state) {
    struct fixture *f = *state;
    log_destroy(f->log);
    close(f->pipe[0]);
    close(f->pipe[1]);
    return 0;
}

static char *line_of(struct fixture *f) {
    ssize_t n = read(f->pipe[0], f->got, sizeof f->got - 1);
    f->got[n > 0 ? n : 0] = '\0';
    return f->got;
}

/* 2006-01-02T15:04:05.000Z */
static void expect_line(struct fixture *f, const char *rest) {
    char *line = line_of(f);
    for (const char *at = "dddd-dd-ddTdd:dd:dd.dddZ"; *at != '\0'; at++, line++) {
        assert_true(*at == 'd' ? *line >= '0' && *line <= '9' : *line == *at);
    }
    assert_string_equal(line, rest);
}

static void lines(void **state) {
    struct fixture *f = *state;
    log_write(f->log, LOG_INFO, "agent.http", "message: key=%d", 7);
    expect_line(f, " [INFO]  agent.http: message: key=7\n");
    log_write(f->log, LOG_WARN, "agent", "careful");
    expect_line(f, " [WARN]  agent: careful\n");
    log_write(f->log, LOG_ERROR, "agent", "broken");
    expect_line(f, " [ERROR] agent: broken\n");
    log_write(f->log, LOG_INFO, "agent", "a\nforged line\x1b[31m\x7f \xc3\xa9");
    expect_line(f, " [INFO]  agent: a?forged line?[31m? \xc3\xa9\n");
    log_write(NULL, LOG_ERROR, "agent", "nowhere");
}

static void levels(void **state) {
    struct fixture *f = *state;
    log_write(f->log, LOG_DEBUG, "agent", "hidden");
    log_write(f->log, LOG_INFO, "agent", "shown");
    expect_line(f, " [INFO]  agent: shown\n");
    log_set_level(f->log, LOG_TRACE);
    log_write(f->log, LOG_TRACE, "agent", "shown");
    expect_line(f, " [TRACE] agent: shown\n");
    enum log_level level = LOG_INFO;
    assert_true(log_parse_level("Err", &level) && level == LOG_ERROR);
    assert_true(log_parse_level("trace", &level) && level == LOG_TRACE);
    assert_false(log_parse_level("loud", &level));
    assert_int_equal(level, LOG_TRACE);
}

static void long_lines_are_cut(void **state) {
    struct fixture *f = *state;
    for (int size = 4000; size < 4200; size++) {
        log_write(f->log, LOG_INFO, "agent", "%0*d", size, 1);
        char *line = line_of(f);
        size_t used = strlen(line);
        assert_true(used <= 4096 && used > 4000);
        assert_int_equal(line[used - 1], '\n');
        assert_null(memchr(line, '\n', used - 1));
        assert_null(strchr(line, '?'));
    }
}

/* Nobody reads the pipe: whoever logs goes on, what finds no room is counted, and the lines that
 * come out afterwards say so. */
static void a_stalled_reader_stops_nobody(void **state) {
    struct fixture *f = *state;
    enum { LINES = 3000 };
    uint64_t lost = 0;
    char line[2048];
    for (int i = 0; i < LINES; i++) {
        log_write(f->log, LOG_INFO, "agent", "%0*d", 1000, i);
    }
    lost = log_lost_lines(f->log);
    assert_true(lost > 0 && lost < LINES);
    FILE *reader = fdopen(dup(f->pipe[0]), "r");
    for (uint64_t i = 0; i < LINES - lost; i++) {
        assert_non_null(fgets(line, sizeof line, reader));
        assert_null(strstr(line, "lost"));
    }
    log_flush(f->log, 10000);
    log_write(f->log, LOG_ERROR, "agent", "still here");
    assert_non_null(fgets(line, sizeof line, reader));
    char *count = strstr(line, " [WARN]  agent: lines of the log were lost here: count=");
    assert_non_null(count);
    assert_int_equal(strtoull(strchr(count, '=') + 1, NULL, 10), lost);
    assert_non_null(fgets(line, sizeof line, reader));
    assert_non_null(strstr(line, " [ERROR] agent: still here\n"));
    assert_int_equal(log_lost_lines(f->log), lost);
    fclose(reader);
}

static void time_of_the_place(void **state) {
    struct fixture *f = *state;
    char line[256];
    setenv("TZ", "TST-5:30", 1); /* POSIX counts westwards */
    tzset();
    log_write(f->log, LOG_INFO, "agent", "here");
    snprintf(line, sizeof line, "%s", line_of(f));
    assert_string_equal(line + strlen("2006-01-02T15:04:05.000"), "+0530 [INFO]  agent: here\n");
    log_set_json(f->log, true);
    log_write(f->log, LOG_INFO, "agent", "here");
    assert_non_null(strstr(line_of(f), "+05:30\"}\n"));
    unsetenv("TZ");
    tzset();
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void) {
    const struct CMUnitTest tests[] = {TEST(lines), TEST(levels), TEST(long_lines_are_cut),
                                       TEST(a_stalled_reader_stops_nobody),
                                       TEST(time_of_the_place)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
