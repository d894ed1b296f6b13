/* Script checks and their helper process (contract 11.1). This program is its own helper, as the
 * agent is. */
#include "tests/unit/checks_support.h"

#include <dirent.h>
#include <signal.h>
#include <sys/stat.h>

#include "base/limits.h"

struct fixture {
    struct bench bench;
    char folder[64];
};

static int set_up(void **state) {
    struct fixture *fixture = mem_calloc(1, sizeof *fixture);
    snprintf(fixture->folder, sizeof fixture->folder, "/tmp/cairn-script-XXXXXX");
    assert_non_null(mkdtemp(fixture->folder));
    bench_open(&fixture->bench);
    *state = fixture;
    return 0;
}

static int tear_down(void **state) {
    struct fixture *fixture = *state;
    char command[128];
    bench_close(&fixture->bench);
    snprintf(command, sizeof command, "rm -r %s", fixture->folder);
    assert_int_equal(system(command), 0);
    free(fixture);
    return 0;
}

/* A check that runs text in a shell; $0 is arg. Strings are borrowed until it is set. */
static const char *shell_words[4];

static struct check_definition shell(const char *id, const char *text, const char *arg) {
    struct check_definition def = definition(id);
    shell_words[0] = "/bin/sh";
    shell_words[1] = "-c";
    shell_words[2] = text;
    shell_words[3] = arg;
    def.script_args = (struct str_list){shell_words, 4};
    def.interval_ns = 10 * DURATION_MS;
    return def;
}

/* ---- processes ---- */

/* State of a process: 'R', 'Z', ...; 0 = there is none. */
static char process_state(pid_t pid, pid_t *ret_parent) {
    char path[64], line[512];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)pid);
    FILE *file = fopen(path, "r");
    char state = 0;
    int parent = 0;
    if (file != NULL) {
        if (fgets(line, sizeof line, file) != NULL && strrchr(line, ')') != NULL) {
            sscanf(strrchr(line, ')') + 1, " %c %d", &state, &parent);
        }
        fclose(file);
    }
    if (ret_parent != NULL) {
        *ret_parent = parent;
    }
    return state;
}

/* The first child of parent, but for `other`; 0 = none. */
static pid_t find_child(pid_t parent, pid_t other) {
    DIR *dir = opendir("/proc");
    struct dirent *at;
    pid_t found = 0;
    while ((at = readdir(dir)) != NULL && found == 0) {
        pid_t pid = atoi(at->d_name), of = 0;
        if (pid > 0 && pid != other && process_state(pid, &of) != 0 && of == parent) {
            found = pid;
        }
    }
    closedir(dir);
    return found;
}

static pid_t helper_pid(void) {
    pid_t pid = find_child(getpid(), 0);
    assert_int_not_equal(pid, 0);
    return pid;
}

static bool is_gone(void *context) {
    return process_state(*(pid_t *)context, NULL) == 0;
}

static bool has_no_child(void *context) {
    return find_child(*(pid_t *)context, 0) == 0;
}

struct path {
    char text[128];
};

static bool is_written(void *context) {
    struct stat info;
    return stat(((struct path *)context)->text, &info) == 0 && info.st_size > 0;
}

/* A number that a script writes into a file of its own. */
static pid_t read_pid(const struct path *path) {
    int pid = 0;
    assert_true(wait_until(is_written, (void *)(uintptr_t)path));
    FILE *file = fopen(path->text, "r");
    assert_non_null(file);
    assert_int_equal(fscanf(file, "%d", &pid), 1);
    fclose(file);
    return pid;
}

static struct path path_in(const struct fixture *fixture, const char *name) {
    struct path path;
    snprintf(path.text, sizeof path.text, "%s/%s", fixture->folder, name);
    return path;
}

/* ---- results ---- */

static void assert_result(struct fixture *fixture, const char *text, const char *status,
                          const char *output) {
    static int count;
    char id[16];
    snprintf(id, sizeof id, "c%d", count++);
    struct check_definition def = shell(id, text, "sh");
    checks_set(fixture->bench.checks, &def, NULL);
    struct told told = recorder_wait(&fixture->bench.recorder, id, 1);
    checks_remove(fixture->bench.checks, id);
    assert_string_equal(told.status, status);
    assert_string_equal(told.output, output);
}

static void test_exit_codes(void **state) {
    struct fixture *fixture = *state;
    assert_result(fixture, "echo well", "passing", "well\n");
    assert_result(fixture, "echo so-so; echo err >&2; exit 1", "warning", "so-so\nerr\n");
    assert_result(fixture, "echo bad; exit 2", "critical", "bad\n");
    assert_result(fixture, "exit 255", "critical", "");
    assert_result(fixture, "echo x; kill -9 $$", "critical", "x\n");
    assert_result(fixture, "printf 'a\\000b'", "passing", "a?b");
}

static void test_launch_errors(void **state) {
    struct fixture *fixture = *state;
    const char *words[] = {"no-such-program-here"};
    struct check_definition def = definition("a");
    def.script_args = (struct str_list){words, 1};
    def.interval_ns = DURATION_S;
    def.failures_before_critical = 5; /* thresholds do not hold it back */
    checks_set(fixture->bench.checks, &def, NULL);
    struct told told = recorder_wait(&fixture->bench.recorder, "a", 1);
    assert_string_equal(told.status, "critical");
    assert_string_equal(told.output,
                        "exec: \"no-such-program-here\": executable file not found in $PATH");
    words[0] = "/no/such/program";
    def.id = "b";
    checks_set(fixture->bench.checks, &def, NULL);
    assert_string_equal(recorder_wait(&fixture->bench.recorder, "b", 1).output,
                        "fork/exec /no/such/program: no such file or directory");
    words[0] = "/etc/passwd";
    def.id = "c";
    checks_set(fixture->bench.checks, &def, NULL);
    assert_string_equal(recorder_wait(&fixture->bench.recorder, "c", 1).output,
                        "fork/exec /etc/passwd: permission denied");
}

static void test_output_is_cut(void **state) {
    struct fixture *fixture = *state;
    struct check_definition def = shell("a", "printf 0123456789", "sh");
    def.output_bytes_max = 4;
    checks_set(fixture->bench.checks, &def, NULL);
    assert_string_equal(recorder_wait(&fixture->bench.recorder, "a", 1).output,
                        "Captured 4 of 10 bytes\n...\n6789");
    def = shell("b", "head -c 3000000 /dev/zero | tr '\\0' x", "sh");
    checks_set(fixture->bench.checks, &def, NULL);
    struct told told = recorder_wait(&fixture->bench.recorder, "b", 1);
    assert_true(strncmp(told.output, "Captured 4096 of 3000000 bytes\n...\nxxx", 36) == 0);
    assert_int_equal(strlen(told.output), 35 + 4096);
}

/* What a script may count on: a group of its own, no descriptors of ours, no blocked or ignored
 * signals, a plain process's limits, our environment. */
static void test_surroundings(void **state) {
    struct fixture *fixture = *state;
    setenv("CAIRN_TEST_WORD", "inherited", 1);
    assert_result(fixture, "echo $CAIRN_TEST_WORD", "passing", "inherited\n");
    assert_result(fixture, "cat", "passing", ""); /* stdin is empty */
    assert_result(fixture, "ls -l /proc/self/fd | grep -c -v -e pipe -e null -e total -e /proc",
                  "warning", "0\n");
    /* The C library keeps two signals for itself: whoever started us may have ignored them. */
    assert_result(fixture,
                  "set -- $(grep -E 'Sig(Blk|Ign)' /proc/self/status | cut -f2);"
                  "echo $((0x$1)) $((0x$2 & ~0x180000000))",
                  "passing", "0 0\n");
    assert_result(fixture, "test $(cut -d' ' -f5 /proc/$$/stat) = $$", "passing", "");
    assert_result(fixture, "test $(ulimit -Sn) -le 1024 && ulimit -Sc", "passing", "0\n");
}

/* ---- timeouts ---- */

static void test_timeout_kills_the_group(void **state) {
    struct fixture *fixture = *state;
    struct path path = path_in(fixture, "pid");
    struct check_definition def =
        shell("a", "echo begun; sleep 1000 & echo $! >$0; trap '' TERM; wait", path.text);
    def.timeout_ns = 300 * DURATION_MS;
    def.interval_ns = 10 * DURATION_MS;
    def.failures_before_critical = 5; /* a timeout passes thresholds by */
    checks_set(fixture->bench.checks, &def, NULL);
    pid_t grandchild = read_pid(&path);
    struct told told = recorder_wait(&fixture->bench.recorder, "a", 1);
    assert_string_equal(told.status, "critical");
    assert_string_equal(told.output, "Timed out (300ms) running check\n\nbegun\n");
    assert_true(wait_until(is_gone, &grandchild));
}

static void test_timeout_without_output(void **state) {
    struct fixture *fixture = *state;
    struct check_definition def = shell("a", "sleep 1000", "sh");
    def.timeout_ns = 50 * DURATION_MS;
    checks_set(fixture->bench.checks, &def, NULL);
    assert_string_equal(recorder_wait(&fixture->bench.recorder, "a", 1).output,
                        "Timed out (50ms) running check");
}

/* One that never stops writing, and one whose child does after leaving the group. */
static void test_endless_output(void **state) {
    struct fixture *fixture = *state;
    struct path path = path_in(fixture, "pid");
    struct check_definition def = shell("a", "exec yes", "sh");
    def.timeout_ns = 100 * DURATION_MS;
    def.output_bytes_max = 4;
    checks_set(fixture->bench.checks, &def, NULL);
    struct told told = recorder_wait(&fixture->bench.recorder, "a", 1);
    checks_remove(fixture->bench.checks, "a");
    assert_true(strncmp(told.output, "Timed out (100ms) running check\n\nCaptured 4 of ", 47) == 0);
    def = shell("b", "setsid yes & echo $! >$0", path.text);
    checks_set(fixture->bench.checks, &def, NULL);
    assert_string_equal(recorder_wait(&fixture->bench.recorder, "b", 1).status, "passing");
    checks_remove(fixture->bench.checks, "b");
    pid_t endless = read_pid(&path);
    assert_true(wait_until(is_gone, &endless)); /* its pipe has broken */
}

/* A script that ends takes what is left of its group along, and does not wait for it. */
static void test_end_kills_the_rest(void **state) {
    struct fixture *fixture = *state;
    struct path path = path_in(fixture, "pid");
    struct check_definition def = shell("a", "sleep 1000 & echo $! >$0; echo done", path.text);
    checks_set(fixture->bench.checks, &def, NULL);
    struct told told = recorder_wait(&fixture->bench.recorder, "a", 1);
    assert_string_equal(told.status, "passing");
    assert_string_equal(told.output, "done\n");
    pid_t left = read_pid(&path);
    checks_remove(fixture->bench.checks, "a");
    assert_true(wait_until(is_gone, &left));
}

/* One that leaves its group is adopted, and no zombie once it ends. */
static void test_orphans_are_reaped(void **state) {
    struct fixture *fixture = *state;
    struct path path = path_in(fixture, "pid");
    struct check_definition def =
        shell("a", "setsid sh -c 'echo $$ >'$0'; exec sleep 1000' & until [ -s $0 ]; do :; done",
              path.text);
    def.interval_ns = 20 * DURATION_MS;
    checks_set(fixture->bench.checks, &def, NULL);
    assert_string_equal(recorder_wait(&fixture->bench.recorder, "a", 1).status, "passing");
    pid_t orphan = read_pid(&path), parent = 0;
    checks_remove(fixture->bench.checks, "a");
    assert_int_not_equal(process_state(orphan, &parent), 0);
    assert_int_equal(parent, helper_pid());
    kill(orphan, SIGKILL);
    assert_true(wait_until(is_gone, &orphan));
}

static void test_removal_kills(void **state) {
    struct fixture *fixture = *state;
    struct path path = path_in(fixture, "pid");
    struct check_definition def = shell("a", "echo $$ >$0; exec sleep 1000", path.text);
    checks_set(fixture->bench.checks, &def, NULL);
    pid_t pid = read_pid(&path);
    checks_remove(fixture->bench.checks, "a");
    assert_true(wait_until(is_gone, &pid));
    assert_int_equal(recorder_count(&fixture->bench.recorder), 0);
}

/* ---- the helper's life ---- */

static void test_helper_death(void **state) {
    struct fixture *fixture = *state;
    struct path path = path_in(fixture, "pid");
    struct check_definition def = shell("hangs", "echo $$ >$0; exec sleep 1000", path.text);
    checks_set(fixture->bench.checks, &def, NULL);
    pid_t pid = read_pid(&path), helper = helper_pid();
    kill(helper, SIGKILL);
    struct told told = recorder_wait(&fixture->bench.recorder, "hangs", 1);
    assert_string_equal(told.status, "critical");
    assert_string_equal(told.output, "the helper process of script checks died during the run");
    checks_remove(fixture->bench.checks, "hangs");
    assert_true(wait_until(is_gone, &pid)); /* its script does not live on */
    assert_true(wait_until(is_gone, &helper));
    assert_result(fixture, "echo again", "passing", "again\n");
    assert_int_not_equal(helper_pid(), helper);
}

static void test_no_helper_without_scripts(void **state) {
    struct fixture *fixture = *state;
    struct check_definition def = tcp_definition("tcp", "127.0.0.1:1");
    checks_set(fixture->bench.checks, &def, NULL);
    recorder_wait(&fixture->bench.recorder, "tcp", 1);
    pid_t self = getpid();
    assert_true(has_no_child(&self));
}

/* A stop in the middle: the helper and all its scripts are gone when it returns. */
static void test_destroy_while_running(void **state) {
    struct fixture *fixture = *state;
    struct path path = path_in(fixture, "pid");
    struct check_definition def = shell("a", "echo $$ >$0; exec sleep 1000", path.text);
    checks_set(fixture->bench.checks, &def, NULL);
    pid_t pid = read_pid(&path), self = getpid();
    bench_close(&fixture->bench);
    assert_int_equal(process_state(pid, NULL), 0);
    assert_true(has_no_child(&self));
    bench_open(&fixture->bench);
}

static bool all_ran(void *context) {
    return bench_stats(context).runs_done >= 200;
}

/* Many at once: the cap holds, other kinds do not wait behind it, nothing is left. */
static void test_many(void **state) {
    struct fixture *fixture = *state;
    char id[16];
    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "s%d", i);
        struct check_definition def = shell(id, "sleep 1000", "sh");
        def.timeout_ns = 100 * DURATION_MS;
        def.interval_ns = 10 * DURATION_MS;
        checks_set(fixture->bench.checks, &def, NULL);
    }
    struct check_definition tcp = tcp_definition("tcp", "127.0.0.1:1");
    checks_set(fixture->bench.checks, &tcp, NULL);
    recorder_wait(&fixture->bench.recorder, "tcp", 1);
    assert_true(bench_stats(&fixture->bench).running <= LIMIT_CHECK_SCRIPT_RUNS + 1);
    assert_true(wait_until(all_ran, &fixture->bench));
    pid_t helper = helper_pid();
    for (int i = 0; i < 200; i++) {
        snprintf(id, sizeof id, "s%d", i);
        checks_remove(fixture->bench.checks, id);
    }
    assert_true(wait_until(has_no_child, &helper));
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, set_up, tear_down)

int main(int argc, char **argv) {
    if (argc == 2 && strcmp(argv[1], CHECKS_HELPER_COMMAND) == 0) {
        return checks_helper_main();
    }
    const struct CMUnitTest tests[] = {
        CASE(test_exit_codes),
        CASE(test_launch_errors),
        CASE(test_output_is_cut),
        CASE(test_surroundings),
        CASE(test_timeout_kills_the_group),
        CASE(test_timeout_without_output),
        CASE(test_endless_output),
        CASE(test_end_kills_the_rest),
        CASE(test_orphans_are_reaped),
        CASE(test_removal_kills),
        CASE(test_helper_death),
        CASE(test_no_helper_without_scripts),
        CASE(test_destroy_while_running),
        CASE(test_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
