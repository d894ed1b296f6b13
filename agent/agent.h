/* One agent: makes its parts, joins them on the core's loop, and takes them down in order. The only
 * place where the cores meet. */
#ifndef AGENT_AGENT_H
#define AGENT_AGENT_H

#include <stdbool.h>

#include "agent/config.h"
#include "base/err.h"
#include "base/log.h"

struct agent;

/* Everything listens when it returns; nothing moves until agent_run. config, and its source, which
 * a reload reads again, are borrowed until the destroy. NULL and one sentence that says what to do.
 */
struct agent *agent_create(const struct config *config, const struct config_source *source,
                           struct log *log, struct err_text *text);
/* Runs until a signal or a leave; returns the exit code (contract 3.8). */
int agent_run(struct agent *agent);
void agent_destroy(struct agent *agent);

const char *agent_node_id(const struct agent *agent);
/* Whether the traffic between agents is, as of its start. */
bool agent_is_encrypted(const struct agent *agent);

#endif
