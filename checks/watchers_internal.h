/* What the files of watches share; the engine's thread only. */
#ifndef CHECKS_WATCHERS_INTERNAL_H
#define CHECKS_WATCHERS_INTERNAL_H

#include "checks/helper.h"
#include "checks/transfer.h"
#include "checks/watchers.h"

struct watcher;

/* A handler under way. */
struct watch_handling {
    struct helper_run run;    /* of a program; first */
    struct transfer transfer; /* of a request */
    struct curl_slist *headers;
    struct watcher *watcher;
    struct buf body;   /* of the request's answer, as far as it is of interest */
    size_t body_bytes; /* that have come, <= LIMIT_CHECK_BODY_BYTES */
    bool started;
};

struct watcher {
    struct loop_timer retry_timer; /* first */
    TAILQ_ENTRY(watcher) link;     /* of all */
    TAILQ_ENTRY(watcher) wait;     /* of those whose news wait for a place */
    struct watchers *watchers;
    struct arena arena; /* of the definition */
    struct watch_definition definition;
    char *identity; /* all of it as text */
    struct watch_seen seen;
    unsigned failures;
    bool kept; /* by the present call of watchers_set */
    bool waiting;

    struct transfer ask;
    bool asking;
    struct curl_slist *headers;
    struct buf body;
    uint64_t index;
    bool too_large;

    char *payload; /* news that wait, or are handled */
    uint64_t payload_index;
    struct watch_handling handling;
};

TAILQ_HEAD(watch_list, watcher);

struct watchers {
    struct checks *checks;
    struct watch_agent agent;
    char base[ADDR_TEXT_BYTES + 16]; /* of URLs */
    char *unix_path;                 /* NULL = none */
    struct watch_list all, waiting;
    unsigned handlers; /* under way */
};

/* ---- watchers.c ---- */

/* Its news are handled. */
void watch_handled(struct watcher *watcher);
/* The engine ends. NULL is allowed. */
void watchers_stop(struct watchers *watchers);

/* ---- watch_handler.c ---- */

/* Ends with watch_handled, now or later. */
void watch_handle(struct watcher *watcher);
void watch_handling_abort(struct watcher *watcher);
/* What runs, for the log. */
const char *watch_handler_name(const struct watcher *watcher);

#endif
