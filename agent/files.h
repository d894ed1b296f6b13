/* The agent's own registrations on disk (contract 10.8): `services/`, `checks/` and `checks/state/`
 * under the data directory, a JSON file each, named by the SHA-256 of its id. A thread of its own
 * writes them, in order, so the core never waits for a file. */
#ifndef AGENT_FILES_H
#define AGENT_FILES_H

#include "base/err.h"
#include "base/log.h"
#include "catalog/local.h"
#include "net/loop.h"

struct files;

/* Runs on the loop once the file and its name are durable, or with the reason why they are not. */
typedef void files_done_fn(void *context, enum err err, const struct err_text *text);

/* Makes the folders and starts the thread. NULL and a sentence on failure. */
struct files *files_create(const char *data_dir, struct loop *loop, struct log *log,
                           struct err_text *text);
/* Writes what is queued, then stops. False: the disk hangs, and the thread was left alone. NULL is
 * allowed. */
bool files_destroy(struct files *files);

/* Puts what the files hold into `local`; a damaged file, or one that does not parse, is left alone
 * with a log line; returns how many. Before the loop runs. Checks come once the services of the
 * configuration are there too: a kept check may be of one of those. What the configuration defines
 * is left alone. */
unsigned files_load_services(struct files *files, struct local *local);
unsigned files_load_checks(struct files *files, struct local *local);
/* visit gets the kept state of TTL checks: the Unix time at which each expires. */
unsigned files_load_states(struct files *files,
                           void (*visit)(const char *check_id, const char *status,
                                         const char *output, int64_t expires_wall_ms,
                                         void *context),
                           void *context);
/* Queues the removal of an entry's file, whatever `local` has; the state of a check stays. */
void files_forget(struct files *files, enum local_kind kind, const char *id);

/* Queues the present state of an entry: written if `local` has it, removed if not. done may be
 * NULL; a failure is logged in any case. */
void files_save(struct files *files, const struct local *local, enum local_kind kind,
                const char *id, files_done_fn *done, void *context);
/* The state of a TTL check. */
void files_save_state(struct files *files, const char *check_id, const char *status,
                      const char *output, int64_t expires_wall_ms, files_done_fn *done,
                      void *context);

#endif
