#include "checks/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"

#define MODULE "agent.checks"
#define READ_BYTES (64 * 1024)

LIST_HEAD(helper_runs, helper_run);

struct helper {
    struct checks *checks;
    pid_t pid;
    int fd;
    struct loop_poll *poll;
    struct buf out, in;
    size_t out_sent;
    uint64_t last_id;
    struct helper_runs runs;
};

/* ---- its start and end ---- */

static int spawn(int fd, pid_t *ret_pid) {
    static char exe[] = "/proc/self/exe", command[] = CHECKS_HELPER_COMMAND;
    char *arguments[] = {exe, command, NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none, all;
    sigemptyset(&none);
    sigfillset(&all);
    posix_spawn_file_actions_init(&actions);
    posix_spawn_file_actions_addopen(&actions, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    posix_spawn_file_actions_adddup2(&actions, fd, HELPER_FD);
    posix_spawnattr_init(&attributes);
    /* A session of its own: the terminal's ^C is for the agent. */
    posix_spawnattr_setflags(&attributes,
                             POSIX_SPAWN_SETSID | POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setsigdefault(&attributes, &all);
    bool ahead = thread_lower(); /* the core of a server; its scripts are not */
    int number = posix_spawn(ret_pid, exe, &actions, &attributes, arguments, environ);
    if (ahead) {
        thread_raise();
    }
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    return number;
}

static void on_ready(void *context, int events);

static struct helper *create(struct checks *checks, struct err_text *text) {
    int fds[2];
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0) {
        err_set_errno(text, errno, "cannot reach the helper of script checks");
        return NULL;
    }
    pid_t pid;
    int number = spawn(fds[1], &pid);
    close(fds[1]);
    if (number != 0) {
        close(fds[0]);
        err_set_errno(text, number, "cannot start the helper of script checks");
        return NULL;
    }
    fcntl(fds[0], F_SETFL, O_NONBLOCK);
    struct helper *helper = mem_calloc(1, sizeof *helper);
    helper->checks = checks;
    helper->pid = pid;
    helper->fd = fds[0];
    LIST_INIT(&helper->runs);
    buf_init(&helper->out, (size_t)LIMIT_CHECK_FRAME_BYTES * 16);
    buf_init(&helper->in, LIMIT_CHECK_FRAME_BYTES);
    helper->poll = loop_poll_create(checks->loop, helper->fd, on_ready, helper);
    loop_poll_set(helper->poll, LOOP_READABLE);
    return helper;
}

static void close_helper(struct helper *helper) {
    loop_poll_destroy(helper->poll);
    close(helper->fd);
    while (waitpid(helper->pid, NULL, 0) < 0 && errno == EINTR) {
    }
    buf_clear(&helper->out);
    buf_clear(&helper->in);
    free(helper);
}

void helper_destroy(struct helper *helper) {
    if (helper != NULL) {
        ASSERT(LIST_EMPTY(&helper->runs));
        close_helper(helper);
    }
}

/* The process is gone or speaks nonsense. Its scripts have lost their killer, so that is us. The
 * next script starts another one. */
static void lose(struct helper *helper) {
    struct helper_runs runs = LIST_HEAD_INITIALIZER(runs);
    struct helper_run *run;
    log_write(helper->checks->log, LOG_ERROR, MODULE, "the helper of script checks died: pid=%d",
              (int)helper->pid);
    kill(helper->pid, SIGKILL);
    while ((run = LIST_FIRST(&helper->runs)) != NULL) {
        LIST_REMOVE(run, link);
        LIST_INSERT_HEAD(&runs, run, link);
        if (run->pid > 0) {
            kill(-run->pid, SIGKILL);
        }
    }
    helper->checks->helper = NULL;
    close_helper(helper);
    while ((run = LIST_FIRST(&runs)) != NULL) {
        struct helper_report report = {.end = HELPER_LOST};
        LIST_REMOVE(run, link);
        run->done(run, &report, "", 0);
    }
}

/* ---- frames out ---- */

/* False: the process is gone; the loop will tell. */
static bool flush(struct helper *helper) {
    while (helper->out_sent < helper->out.count) {
        ssize_t n = send(helper->fd, helper->out.data + helper->out_sent,
                         helper->out.count - helper->out_sent, MSG_NOSIGNAL);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return errno == EAGAIN;
        }
        helper->out_sent += (size_t)n;
    }
    buf_reset(&helper->out);
    helper->out_sent = 0;
    return true;
}

static void send_out(struct helper *helper) {
    if (!flush(helper)) {
        buf_reset(&helper->out);
        helper->out_sent = 0;
    }
    loop_poll_set(helper->poll, LOOP_READABLE | (helper->out.count > 0 ? LOOP_WRITABLE : 0));
}

bool helper_begin(struct checks *checks, struct helper_run *run, const struct helper_job *job,
                  struct err_text *text) {
    struct helper_order order = {.timeout_ms = job->timeout_ms,
                                 .output_bytes_max = job->output_bytes_max,
                                 .argument_count = job->argument_count,
                                 .environment_count = job->environment_count,
                                 .input_bytes = (uint32_t)job->input_bytes};
    size_t bytes = sizeof order + job->string_bytes + job->input_bytes;
    if (bytes > LIMIT_CHECK_FRAME_BYTES) {
        err_set(text, ERR_TOO_LARGE, "its arguments and input are too large: %zu bytes", bytes);
        return false;
    }
    if (checks->helper == NULL && (checks->helper = create(checks, text)) == NULL) {
        return false;
    }
    struct helper *helper = checks->helper;
    size_t before = helper->out.count;
    struct helper_frame frame = {
        .kind = HELPER_RUN, .bytes = (uint32_t)bytes, .run = ++helper->last_id};
    buf_append(&helper->out, &frame, sizeof frame);
    buf_append(&helper->out, &order, sizeof order);
    buf_append(&helper->out, job->strings, job->string_bytes);
    buf_append(&helper->out, job->input, job->input_bytes);
    if (helper->out.failed) {
        helper->out.failed = false;
        helper->out.count = before;
        err_set(text, ERR_OVERLOADED, "the helper of script checks is busy");
        return false;
    }
    run->id = frame.run;
    run->pid = 0;
    LIST_INSERT_HEAD(&helper->runs, run, link);
    send_out(helper);
    return true;
}

void helper_kill(struct helper *helper, struct helper_run *run) {
    struct helper_frame frame = {.kind = HELPER_KILL, .run = run->id};
    LIST_REMOVE(run, link);
    buf_append(&helper->out, &frame, sizeof frame);
    helper->out.failed = false; /* a full buffer: the script runs into its timeout */
    send_out(helper);
}

/* ---- frames in ---- */

static struct helper_run *find(struct helper *helper, uint64_t id) {
    struct helper_run *run;
    LIST_FOREACH(run, &helper->runs, link) {
        if (run->id == id) {
            return run;
        }
    }
    return NULL; /* killed meanwhile */
}

static void take_frame(struct helper *helper, const struct helper_frame *frame, const char *data) {
    struct helper_run *run = find(helper, frame->run);
    if (run == NULL) {
        return;
    }
    if (frame->kind == HELPER_STARTED && frame->bytes == sizeof run->pid) {
        memcpy(&run->pid, data, sizeof run->pid);
    } else if (frame->kind == HELPER_DONE && frame->bytes >= sizeof(struct helper_report)) {
        struct helper_report report;
        memcpy(&report, data, sizeof report);
        LIST_REMOVE(run, link);
        run->done(run, &report, data + sizeof report, frame->bytes - sizeof report);
    }
}

static void take_frames(struct helper *helper) {
    size_t used = 0;
    struct helper_frame frame;
    while (helper->in.count - used >= sizeof frame) {
        memcpy(&frame, helper->in.data + used, sizeof frame);
        if (helper->in.count - used - sizeof frame < frame.bytes) {
            break;
        }
        take_frame(helper, &frame, helper->in.data + used + sizeof frame);
        used += sizeof frame + frame.bytes;
    }
    if (used > 0) {
        memmove(helper->in.data, helper->in.data + used, helper->in.count - used);
        helper->in.count -= used;
    }
}

static void on_ready(void *context, int events) {
    struct helper *helper = context;
    if (events & LOOP_WRITABLE) {
        send_out(helper);
    }
    for (;;) {
        char *to = buf_reserve(&helper->in, READ_BYTES);
        ssize_t n = to != NULL ? recv(helper->fd, to, READ_BYTES, MSG_DONTWAIT) : 0;
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            break;
        }
        if (n <= 0) {
            lose(helper);
            return;
        }
        helper->in.count += (size_t)n;
        take_frames(helper);
    }
}
