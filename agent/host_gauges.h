/* Metrics of the machine, with telemetry.enable_host_metrics (contract 5.2). */
#ifndef AGENT_HOST_GAUGES_H
#define AGENT_HOST_GAUGES_H

#include "base/metrics.h"

struct host_gauges;

/* path, borrowed: its file system is the disk. */
struct host_gauges *host_gauges_create(struct metrics *metrics, const char *path);
void host_gauges_destroy(struct host_gauges *gauges); /* NULL is allowed */
/* Any thread. Processors: since the last refresh. NULL: nothing happens. */
void host_gauges_refresh(struct host_gauges *gauges);

#endif
