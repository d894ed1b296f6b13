/* The helper process itself: one thread, one poll. */
#include "checks/helper.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"
#include "checks/tail.h"

#define READ_BYTES (64 * 1024)
/* Reads of one script in a turn: one that never stops writing must not stop time. */
#define READS_MAX 16
/* For the killed to die, before their end is told all the same. */
#define GRACE_MS 1000
/* The same before this process itself ends. */
#define LAST_MS 700
/* With those that a hung disk keeps from dying. */
#define SCRIPTS_MAX (4 * LIMIT_CHECK_SCRIPT_RUNS)
/* What a plain process may have; some programs close all that they may have. */
#define DESCRIPTORS 1024

struct script {
    struct script *next;
    uint64_t run;
    pid_t pid;
    int pipe; /* its output; -1 = closed */
    int64_t deadline_ms;
    bool timed_out;
    bool settled; /* nobody waits for its end: it was told, or the engine has killed it */
    struct tail tail;
};

struct process {
    int signals, null;
    struct script *scripts;
    unsigned script_count;
    struct buf in;
};

/* ---- frames ---- */

/* Blocks: the engine always reads. A failure means that it is gone, which poll tells. */
static void send_bytes(const void *data, size_t size) {
    const char *at = data;
    while (size > 0) {
        ssize_t n = send(HELPER_FD, at, size, MSG_NOSIGNAL);
        if (n < 0 && errno != EINTR) {
            return;
        }
        at += n > 0 ? n : 0;
        size -= n > 0 ? (size_t)n : 0;
    }
}

static void send_frame(enum helper_frame_kind kind, uint64_t run, const void *head,
                       size_t head_bytes, const void *data, size_t size) {
    struct helper_frame frame = {
        .kind = (uint32_t)kind, .bytes = (uint32_t)(head_bytes + size), .run = run};
    send_bytes(&frame, sizeof frame);
    send_bytes(head, head_bytes);
    send_bytes(data, size);
}

/* ---- scripts ---- */

/* What an order says. */
struct job {
    char **arguments, **environment; /* NULL-terminated */
    const char *input;
    size_t input_bytes;
};

/* Strings of the order, in place. */
static const char *take_strings(char **to, uint32_t count, const char *at, const char *end) {
    for (uint32_t i = 0; i < count && at < end; i++, at += strlen(at) + 1) {
        to[i] = (char *)(uintptr_t)at;
    }
    return at;
}

static bool same_name(const char *a, const char *b) {
    size_t size = strcspn(a, "=");
    return strncmp(a, b, size) == 0 && b[size] == '=';
}

/* This process's own, but for names that the order sets. The caller frees the array. */
static char **merge_environment(char **set, uint32_t count) {
    uint32_t own = 0, used = 0;
    while (environ[own] != NULL) {
        own++;
    }
    char **merged = mem_calloc((size_t)own + count + 1, sizeof *merged);
    for (uint32_t i = 0; i < own; i++) {
        bool replaced = false;
        for (uint32_t j = 0; j < count; j++) {
            replaced = replaced || same_name(set[j], environ[i]);
        }
        if (!replaced) {
            merged[used++] = environ[i];
        }
    }
    memcpy(merged + used, set, count * sizeof *set);
    return merged;
}

/* Never returns. The memory may be the parent's, so it may do no more than this. */
static _Noreturn void become(const struct job *job, int in, int out, int report, pid_t parent) {
    sigset_t none;
    sigemptyset(&none);
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) == 0 && getppid() == parent && setpgid(0, 0) == 0 &&
        dup2(in, STDIN_FILENO) >= 0 && dup2(out, STDOUT_FILENO) >= 0 &&
        dup2(out, STDERR_FILENO) >= 0 && sigprocmask(SIG_SETMASK, &none, NULL) == 0) {
        execvpe(job->arguments[0], job->arguments, job->environment);
    }
    int failure = errno;
    (void)!write(report, &failure, sizeof failure);
    _exit(127);
}

/* By vfork and not posix_spawn, which cannot ask for PR_SET_PDEATHSIG: should this process be
 * killed, its scripts die with it, though nobody has been told of them yet. */
static int spawn(const struct job *job, int in, int out, pid_t *ret_pid) {
    int report[2], failure = 0;
    if (pipe2(report, O_CLOEXEC) != 0) {
        return errno;
    }
    const pid_t self = getpid();
    pid_t pid = vfork();
    if (pid == 0) {
        become(job, in, out, report[1], self);
    }
    int number = pid < 0 ? errno : 0;
    close(report[1]);
    if (pid > 0 && read(report[0], &failure, sizeof failure) == (ssize_t)sizeof failure) {
        waitpid(pid, NULL, 0);
        number = failure;
    }
    close(report[0]);
    *ret_pid = pid;
    return number;
}

/* -1: errno says why. */
static int open_input(const struct job *job) {
    int fd = memfd_create("input", MFD_CLOEXEC);
    for (size_t at = 0; fd >= 0 && at < job->input_bytes;) {
        ssize_t n = write(fd, job->input + at, job->input_bytes - at);
        if (n <= 0) {
            int number = n < 0 ? errno : EIO;
            close(fd);
            errno = number;
            return -1;
        }
        at += (size_t)n;
    }
    if (fd >= 0) {
        lseek(fd, 0, SEEK_SET);
    }
    return fd;
}

static int launch(struct script *script, const struct job *job, int null) {
    int ends[2], in = job->input_bytes > 0 ? open_input(job) : null;
    if (in < 0) {
        return errno;
    }
    if (pipe2(ends, O_CLOEXEC) != 0) {
        int failure = errno;
        if (in != null) {
            close(in);
        }
        return failure;
    }
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    int number = spawn(job, in, ends[1], &script->pid);
    close(ends[1]);
    if (in != null) {
        close(in);
    }
    script->pipe = ends[0];
    return number;
}

static void free_script(struct script *script) {
    if (script->pipe >= 0) {
        close(script->pipe);
    }
    tail_clear(&script->tail);
    free(script);
}

static void start(struct process *process, uint64_t run, const char *data, size_t size) {
    struct helper_order order;
    if (size < sizeof order) {
        return;
    }
    memcpy(&order, data, sizeof order);
    struct job job = {.arguments = mem_calloc(order.argument_count + 1, sizeof *job.arguments)};
    char **set = mem_calloc(order.environment_count + 1, sizeof *set);
    const char *at = data + sizeof order, *end = data + size;
    at = take_strings(job.arguments, order.argument_count, at, end);
    job.input = take_strings(set, order.environment_count, at, end);
    job.input_bytes = order.input_bytes;
    job.environment = merge_environment(set, order.environment_count);
    struct script *script = mem_calloc(1, sizeof *script);
    script->run = run;
    script->pipe = -1;
    script->deadline_ms = clock_monotonic_ms() + order.timeout_ms;
    tail_init(&script->tail, order.output_bytes_max);
    int number = process->script_count < SCRIPTS_MAX ? launch(script, &job, process->null) : EAGAIN;
    free(job.arguments);
    free(job.environment);
    free(set);
    if (number != 0) {
        struct helper_report report = {.end = HELPER_NOT_LAUNCHED, .code = number};
        send_frame(HELPER_DONE, run, &report, sizeof report, NULL, 0);
        free_script(script);
        return;
    }
    send_frame(HELPER_STARTED, run, &script->pid, sizeof script->pid, NULL, 0);
    script->next = process->scripts;
    process->scripts = script;
    process->script_count++;
}

static void read_output(struct script *script) {
    char block[READ_BYTES];
    for (int i = 0; i < READS_MAX && script->pipe >= 0; i++) {
        ssize_t n = read(script->pipe, block, sizeof block);
        if (n > 0) {
            tail_append(&script->tail, block, (size_t)n);
        } else if (n == 0 || (errno != EINTR && errno != EAGAIN)) {
            close(script->pipe);
            script->pipe = -1;
        } else if (errno == EAGAIN) {
            return;
        }
    }
}

static void settle(struct script *script, enum helper_end how, int code) {
    struct helper_report report = {
        .end = (int32_t)how, .code = code, .output_bytes = script->tail.total};
    if (!script->settled) {
        script->settled = true;
        send_frame(HELPER_DONE, script->run, &report, sizeof report, script->tail.data,
                   script->tail.count);
    }
}

static void end(struct script *script, const siginfo_t *info) {
    read_output(script);
    settle(script,
           script->timed_out             ? HELPER_TIMED_OUT
           : info->si_code == CLD_EXITED ? HELPER_EXITED
                                         : HELPER_SIGNALLED,
           info->si_status);
    free_script(script);
}

/* Leaders of groups, and what they left behind. A leader is looked at before it is reaped: until
 * then nobody else can have its group's number, so the rest of the group can be killed. */
static void reap(struct process *process) {
    for (;;) {
        siginfo_t info = {.si_pid = 0};
        if (waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) != 0 || info.si_pid == 0) {
            return;
        }
        struct script **at = &process->scripts;
        while (*at != NULL && (*at)->pid != info.si_pid) {
            at = &(*at)->next;
        }
        struct script *script = *at;
        if (script != NULL) {
            kill(-script->pid, SIGKILL);
        }
        waitpid(info.si_pid, NULL, 0);
        if (script != NULL) {
            *at = script->next;
            process->script_count--;
            end(script, &info);
        }
    }
}

static void kill_overdue(struct process *process, int64_t now_ms) {
    for (struct script *script = process->scripts; script != NULL; script = script->next) {
        if (script->settled || script->deadline_ms > now_ms) {
            continue;
        }
        if (script->timed_out) {
            settle(script, HELPER_TIMED_OUT, 0);
        } else {
            script->timed_out = true;
            script->deadline_ms = now_ms + GRACE_MS;
            kill(-script->pid, SIGKILL);
        }
    }
}

static void kill_run(struct process *process, uint64_t run) {
    for (struct script *script = process->scripts; script != NULL; script = script->next) {
        if (script->run == run) {
            script->settled = true;
            kill(-script->pid, SIGKILL);
        }
    }
}

/* ---- the loop ---- */

static void take_frames(struct process *process) {
    size_t used = 0;
    struct helper_frame frame;
    while (process->in.count - used >= sizeof frame) {
        memcpy(&frame, process->in.data + used, sizeof frame);
        if (process->in.count - used - sizeof frame < frame.bytes) {
            break;
        }
        const char *data = process->in.data + used + sizeof frame;
        if (frame.kind == HELPER_RUN) {
            start(process, frame.run, data, frame.bytes);
        } else if (frame.kind == HELPER_KILL) {
            kill_run(process, frame.run);
        }
        used += sizeof frame + frame.bytes;
    }
    if (used > 0) {
        memmove(process->in.data, process->in.data + used, process->in.count - used);
        process->in.count -= used;
    }
}

static bool read_frames(struct process *process) {
    for (;;) {
        char *to = buf_reserve(&process->in, READ_BYTES);
        ssize_t n = to != NULL ? recv(HELPER_FD, to, READ_BYTES, MSG_DONTWAIT) : 0;
        if (n < 0 && (errno == EAGAIN || errno == EINTR)) {
            return true;
        }
        if (n <= 0) {
            return false;
        }
        process->in.count += (size_t)n;
        take_frames(process); /* so that one frame alone is ever gathered */
    }
}

/* False: the engine is gone. */
static bool turn(struct process *process) {
    struct pollfd fds[2 + LIMIT_CHECK_SCRIPT_RUNS * 2];
    size_t count = 2, fds_max = sizeof fds / sizeof fds[0];
    int64_t now_ms = clock_monotonic_ms(), next_ms = INT64_MAX;
    fds[0] = (struct pollfd){.fd = HELPER_FD, .events = POLLIN};
    fds[1] = (struct pollfd){.fd = process->signals, .events = POLLIN};
    for (struct script *script = process->scripts; script != NULL; script = script->next) {
        if (script->pipe >= 0 && count < fds_max) {
            fds[count++] = (struct pollfd){.fd = script->pipe, .events = POLLIN};
        }
        if (!script->settled && script->deadline_ms < next_ms) {
            next_ms = script->deadline_ms;
        }
    }
    int64_t wait_ms = next_ms == INT64_MAX ? -1 : next_ms > now_ms ? next_ms - now_ms : 0;
    poll(fds, (nfds_t)count, wait_ms > INT32_MAX ? INT32_MAX : (int)wait_ms);
    for (struct script *script = process->scripts; script != NULL; script = script->next) {
        read_output(script);
    }
    struct signalfd_siginfo info;
    while (read(process->signals, &info, sizeof info) == (ssize_t)sizeof info) {
    }
    kill_overdue(process, clock_monotonic_ms());
    reap(process);
    return (fds[0].revents == 0) || read_frames(process);
}

static void kill_all(struct process *process) {
    const struct itimerval last = {.it_value = {.tv_usec = LAST_MS * 1000}};
    struct script *script;
    /* A process that cannot die (a hung disk) must not keep this one. */
    setitimer(ITIMER_REAL, &last, NULL);
    for (script = process->scripts; script != NULL; script = script->next) {
        kill(-script->pid, SIGKILL);
        waitpid(script->pid, NULL, 0);
    }
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
    while ((script = process->scripts) != NULL) {
        process->scripts = script->next;
        free_script(script);
    }
}

static void lower_limits(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur > DESCRIPTORS) {
        limit.rlim_cur = DESCRIPTORS;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    /* A check that crashes every ten seconds must not fill the disk. */
    if (getrlimit(RLIMIT_CORE, &limit) == 0) {
        limit.rlim_cur = 0;
        setrlimit(RLIMIT_CORE, &limit);
    }
}

int checks_helper_main(void) {
    struct process process = {.signals = -1, .null = -1};
    sigset_t all;
    /* All but SIGALRM: a stop of the service's processes by signal reaches the agent, which then
     * closes the socket. */
    sigfillset(&all);
    sigdelset(&all, SIGALRM);
    sigprocmask(SIG_BLOCK, &all, NULL);
    prctl(PR_SET_NAME, CHECKS_HELPER_COMMAND);
    if (fcntl(HELPER_FD, F_SETFD, FD_CLOEXEC) != 0 ||
        prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) != 0) {
        return 1; /* not started by the engine */
    }
    closefrom(HELPER_FD + 1);
    lower_limits();
    sigset_t child;
    sigemptyset(&child);
    sigaddset(&child, SIGCHLD);
    process.signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    process.null = open("/dev/null", O_RDONLY | O_CLOEXEC);
    if (process.signals < 0 || process.null < 0) {
        return 1;
    }
    buf_init(&process.in, (size_t)LIMIT_CHECK_FRAME_BYTES * 2);
    while (turn(&process)) {
    }
    kill_all(&process);
    close(process.signals);
    close(process.null);
    buf_clear(&process.in);
    return 0;
}
