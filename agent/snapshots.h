/* Saving the whole catalog as an archive, and restoring it (contract 16). The work is done on a
 * thread of its own, one request at a time; a restore then goes through the log in commands
 * (catalog/restore.c). Core's thread. */
#ifndef AGENT_SNAPSHOTS_H
#define AGENT_SNAPSHOTS_H

#include "catalog/backend.h"

struct agent;

void snapshots_start(struct agent *agent);
/* call is BACKEND_SNAPSHOT or BACKEND_RESTORE; done runs once its result is set. */
void snapshots_run(struct agent *agent, struct backend_call *call, void (*done)(void *context),
                   void *context);
/* Once nobody waits any more: lets the thread end. */
void snapshots_clear(struct agent *agent);

#endif
