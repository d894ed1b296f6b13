/* The helper process of script checks and of watches, from both sides.
 *
 * The engine starts it for the first script, by posix_spawn, as `/proc/self/exe check-helper`: a
 * small process forks cheaply and has no descriptors to leak. It runs each script in a process
 * group of its own, kills the whole group when the time is over and whatever is left of it when the
 * script ends, and adopts what scripts leave behind (PR_SET_CHILD_SUBREAPER), so that nothing stays
 * a zombie. It ends with its socket: when the agent dies, so do its scripts.
 *
 * helper.c is the engine's side, helper_process.c the process. They speak frames over a socket
 * pair; both ends are the same program, so numbers go as they lie in memory. */
#ifndef CHECKS_HELPER_H
#define CHECKS_HELPER_H

#include <sys/queue.h>
#include <sys/types.h>

#include "checks/internal.h"

/* ---- frames ---- */

#define HELPER_FD 3 /* the process's end */

enum helper_frame_kind {
    HELPER_RUN,     /* struct helper_order, then its arguments and environment, each with its NUL,
                     * then its input */
    HELPER_KILL,    /* nothing; no HELPER_DONE follows */
    HELPER_STARTED, /* pid_t, the leader of the group */
    HELPER_DONE,    /* struct helper_report, then the output's tail */
};

struct helper_frame {
    uint32_t kind;  /* enum helper_frame_kind */
    uint32_t bytes; /* that follow, <= LIMIT_CHECK_FRAME_BYTES */
    uint64_t run;
};

struct helper_order {
    int64_t timeout_ms;
    uint32_t output_bytes_max;
    uint32_t argument_count; /* > 0 */
    uint32_t environment_count;
    uint32_t input_bytes;
};

enum helper_end {
    HELPER_EXITED,    /* code: exit code */
    HELPER_SIGNALLED, /* code: signal */
    HELPER_TIMED_OUT,
    HELPER_NOT_LAUNCHED, /* code: errno */
    HELPER_LOST          /* the helper itself died; code: 0 */
};

struct helper_report {
    int32_t end; /* enum helper_end */
    int32_t code;
    uint64_t output_bytes; /* in all; the tail has the last of them */
};

/* ---- the engine's side; its thread ---- */

struct helper;

/* One script under way, embedded in what waits for it. */
struct helper_run {
    LIST_ENTRY(helper_run) link;
    uint64_t id;
    pid_t pid; /* 0 until it is told */
    /* Once, from the loop. tail is borrowed. The run is the caller's again. */
    void (*done)(struct helper_run *run, const struct helper_report *report, const char *tail,
                 size_t tail_bytes);
};

/* What is to run; borrowed for the call. */
struct helper_job {
    int64_t timeout_ms;
    uint32_t output_bytes_max;
    const char *strings; /* each with its NUL: the program and its arguments, */
    size_t string_bytes;
    uint32_t argument_count;
    uint32_t environment_count; /* and behind them NAME=value */
    const void *input;          /* what the program reads from its standard input */
    size_t input_bytes;
};

/* Starts the helper when there is none. False: the job does not start, and done will not be called.
 */
bool helper_begin(struct checks *checks, struct helper_run *run, const struct helper_job *job,
                  struct err_text *text);
/* Kills the run's group; done will not be called. */
void helper_kill(struct helper *helper, struct helper_run *run);
/* No run is left. Ends the process and waits for that. NULL is allowed. */
void helper_destroy(struct helper *helper);

#endif
