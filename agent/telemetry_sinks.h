/* Where metrics are sent, every interval (contract 5.1, telemetry): statsd by datagrams, statsite
 * by a stream, both in statsd's lines; and the dump on SIGUSR1. On a thread of its own, because
 * names are resolved, connections hang, and nobody may read stderr. */
#ifndef AGENT_TELEMETRY_SINKS_H
#define AGENT_TELEMETRY_SINKS_H

#include <stdbool.h>

#include "base/buf.h"
#include "base/log.h"
#include "base/metrics.h"

struct telemetry_sinks;

struct telemetry_sinks_config {
    const char *statsd, *statsite; /* host:port, "" = none; borrowed */
    struct metrics *metrics;
    struct log *log;
    void (*refresh)(void *context); /* brings gauges up to date; on the thread */
    void *context;
};

struct telemetry_sinks *telemetry_sinks_start(const struct telemetry_sinks_config *config);
/* False: it hangs, and what the configuration names must stay. NULL is allowed. */
bool telemetry_sinks_stop(struct telemetry_sinks *sinks);

/* Whether somebody wants lines of an interval. */
bool telemetry_sinks_wanted(const struct telemetry_sinks *sinks);
/* The lines of an interval's counters and samples, taken; gauges are added. Lines that the thread
 * has not taken by the next interval are dropped. */
void telemetry_sinks_send(struct telemetry_sinks *sinks, struct buf *lines);
/* All metrics to stderr. */
void telemetry_sinks_dump(struct telemetry_sinks *sinks);

#endif
