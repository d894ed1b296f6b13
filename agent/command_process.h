/* A child of a command: started with its signals as they should be, awaited beside other things. */
#ifndef AGENT_COMMAND_PROCESS_H
#define AGENT_COMMAND_PROCESS_H

#include <stdbool.h>
#include <sys/types.h>

#include "base/arena.h"

/* What to run: by the user's shell (SHELL, else /bin/sh) as one line, or directly. NULL-terminated,
 * in the arena. */
char **process_arguments(char **args, int count, bool shell, struct arena *arena);

/* Blocks the signals that the command waits for itself: SIGINT, SIGTERM, SIGCHLD. Before threads
 * start. */
void process_block_signals(void);

/* input: a descriptor that becomes its standard input; -1 = nothing to read. env: NAME=value or
 * NULL. -1: it cannot be started, and errno says why. */
pid_t process_start(char **args, int input, const char *env);

/* Waits so long for a signal. SIGINT, SIGTERM or 0; *ret_status is set and *ret_ended true when the
 * child has ended. */
int process_wait(pid_t pid, int wait_ms, bool *ret_ended, int *ret_status);

#endif
