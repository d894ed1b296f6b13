/* The agent's own watches (contract, configuration 3.9): each asks the agent's HTTP address, waits,
 * and has news handled by a program or by a request. They run on the check engine's thread, with
 * its helper process and its transfers.
 *
 * A watch does one thing at a time: it asks, or its news are handled. So what changes while a
 * handler runs is handled once, as it is at the end. LIMIT_WATCH_HANDLERS handlers run at once. */
#ifndef CHECKS_WATCHERS_H
#define CHECKS_WATCHERS_H

#include "base/decode.h"
#include "checks/checks.h"
#include "checks/watch_plan.h"
#include "net/addr.h"

/* Of http_handler_config. */
struct watch_request {
    const char *path, *method;
    int64_t timeout_ns;
    struct str_multimap header;
    bool tls_skip_verify;
};

/* One of the configuration's `watches`. */
struct watch_definition {
    struct watch_plan plan;
    const char *handler_type, *handler; /* a line for the shell; deprecated */
    struct str_list args;               /* or a program and its arguments */
    struct watch_request *request;      /* of the type http */
};

extern const struct decode_spec watch_definition_spec;

/* Fills in what was not given. ERR_INVALID and the contract's sentence. */
enum err watch_definition_judge(struct watch_definition *definition, struct arena *arena,
                                struct err_text *text);

/* Where the agent answers. */
struct watch_agent {
    struct addr addr;      /* family 0: */
    const char *unix_path; /* a socket's path */
};

/* Any thread. What is there already goes on, what is gone ends, with its handler; all is copied. */
void watchers_set(struct checks *checks, const struct watch_agent *agent,
                  const struct watch_definition *definitions, uint32_t count);

#endif
