/* Lines of the log, and the file that is turned over. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/log_sinks.h"

#define NS_PER_S INT64_C(1000000000)

struct fixture {
    char folder[64];
    FILE *console;
    struct log *log;
    char text[65536];
};

static int open_fixture(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    strcpy(f->folder, "/tmp/cairn-log-XXXXXX");
    assert_non_null(mkdtemp(f->folder));
    f->console = tmpfile();
    f->log = log_create(fileno(f->console), LOG_INFO);
    *state = f;
    return 0;
}

static int close_fixture(void **state) {
    struct fixture *f = *state;
    char command[128];
    snprintf(command, sizeof command, "rm -r '%s'", f->folder);
    assert_int_equal(system(command), 0);
    log_destroy(f->log);
    fclose(f->console);
    free(f);
    return 0;
}

static const char *printed(struct fixture *f) {
    log_flush(f->log, 10000);
    rewind(f->console);
    f->text[fread(f->text, 1, sizeof f->text - 1, f->console)] = '\0';
    return f->text;
}

static void text_lines(void **state) {
    struct fixture *f = *state;
    log_write(f->log, LOG_DEBUG, "agent", "below the level");
    log_write(f->log, LOG_WARN, "agent.http", "two\nlines: key=%d", 1);
    assert_non_null(strstr(printed(f), "Z [WARN]  agent.http: two?lines: key=1\n"));
    assert_null(strstr(f->text, "below"));
}

static void json_lines(void **state) {
    struct fixture *f = *state;
    log_set_json(f->log, true);
    log_write(f->log, LOG_ERROR, "agent", "It failed: a/b: c: check=x error=\"a \xff b\" n=5");
    assert_non_null(strstr(printed(f), "{\"@level\":\"error\",\"@message\":\"It failed: a/b: c\","
                                       "\"@module\":\"agent\",\"@timestamp\":\""));
    assert_non_null(strstr(f->text, "\",\"check\":\"x\",\"error\":\"a \\ufffd b\",\"n\":\"5\"}\n"));
    /* The longest message with the most escapes is still one whole line. */
    char most[6000];
    memset(most, '<', sizeof most - 1);
    most[sizeof most - 1] = '\0';
    log_write(f->log, LOG_ERROR, "agent", "%s", most);
    size_t size = strlen(printed(f));
    assert_memory_equal(f->text + size - 3, "\"}\n", 3);
}

static unsigned count_files(const struct fixture *f) {
    DIR *dir = opendir(f->folder);
    unsigned count = 0;
    struct dirent *at;
    while ((at = readdir(dir)) != NULL) {
        count += at->d_name[0] != '.';
    }
    closedir(dir);
    return count;
}

static void write_at(struct log_file *file, int64_t seconds) {
    struct timespec now;
    clock_gettime(CLOCK_REALTIME, &now);
    now.tv_sec += seconds;
    log_file_write(file, "line\n", 5, &now);
}

static struct log_file *open_file(struct fixture *f, const char *name, int64_t bytes_max,
                                  int64_t age_max_s, int64_t files_max) {
    char path[128];
    snprintf(path, sizeof path, "%s/%s", f->folder, name);
    struct log_file_config config = {.path = path,
                                     .bytes_max = bytes_max,
                                     .age_max_ns = age_max_s * NS_PER_S,
                                     .files_max = files_max};
    struct err_text text;
    struct log_file *file = log_file_open(&config, &text);
    assert_non_null(file);
    return file;
}

static void a_file_grows_old(void **state) {
    struct fixture *f = *state;
    struct log_file *file = open_file(f, "x.log", 0, 100, 0);
    write_at(file, 1);
    write_at(file, 50);
    assert_int_equal(count_files(f), 1);
    write_at(file, 101);
    assert_int_equal(count_files(f), 2);
    log_file_close(file);
}

static void a_file_grows_large(void **state) {
    struct fixture *f = *state;
    struct log_file *file = open_file(f, "plain", 10, 0, 2);
    write_at(file, 0);
    log_file_close(file);
    file = open_file(f, "plain", 10, 0, 2); /* what is there counts */
    for (int64_t i = 0; i < 10; i++) {
        write_at(file, i);
    }
    assert_int_equal(count_files(f), 3); /* itself and two older ones */
    log_file_close(file);
}

static void no_old_file_is_kept(void **state) {
    struct fixture *f = *state;
    struct log_file *file = open_file(f, "", 5, 0, -1); /* a folder: consul.log in it */
    char path[128];
    for (int64_t i = 0; i < 5; i++) {
        write_at(file, i);
    }
    assert_int_equal(count_files(f), 1);
    snprintf(path, sizeof path, "%s/consul.log", f->folder);
    assert_int_equal(access(path, R_OK), 0);
    log_file_close(file);
}

static void facilities(void **state) {
    int facility = -1;
    (void)state;
    assert_true(log_parse_facility("local7", &facility));
    assert_int_equal(facility, 23 << 3);
    assert_false(log_parse_facility("LOCAL8", &facility));
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(text_lines),         TEST(json_lines),          TEST(a_file_grows_old),
        TEST(a_file_grows_large), TEST(no_old_file_is_kept), cmocka_unit_test(facilities),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
