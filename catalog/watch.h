/* Who waits for what: groups of waiters on one key of the catalog with one query. The one
 * notification path. All calls are from the core's thread; nothing here blocks or allocates per
 * wake.
 *
 * The writer marks keys while it applies; groups on marked keys become dirty once. The owner takes
 * the dirty groups after the view is published, computes each group's answer once, and tells the
 * waiters whose answer has changed. */
#ifndef CATALOG_WATCH_H
#define CATALOG_WATCH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum watch_kind {
    WATCH_NODES,         /* the list of nodes, and any service on one */
    WATCH_SERVICES,      /* the list of services */
    WATCH_CHECKS,        /* any check */
    WATCH_SERVICE,       /* the instances of one service and their health; name = service */
    WATCH_NODE,          /* one node, its services and checks; name = node */
    WATCH_KEY,           /* one key; name = key */
    WATCH_PREFIX,        /* all keys that begin so; name = prefix */
    WATCH_SESSIONS,      /* any session */
    WATCH_SESSION,       /* one session; name = id */
    WATCH_NODE_SESSIONS, /* the sessions of one node; name = node */
    WATCH_COORDINATES,   /* of any node */
    WATCH_COORDINATE,    /* of one; name = node */
    WATCH_QUERIES,       /* any prepared query */
    WATCH_QUERY,         /* one prepared query; name = id */
    WATCH_FAILOVERS,     /* any failover policy */
    WATCH_FAILOVER,      /* that of one service; name = service */
    WATCH_LOCAL_SERVICE, /* a service registered with this agent; name = id */
    WATCH_EVENTS,        /* user events that this agent keeps */
    WATCH_KIND_COUNT
};

struct watches;
struct watch_group;

/* Embedded in what waits; in at most one group. */
struct waiter {
    struct waiter *next, *previous;
    struct watch_group *group; /* NULL when in none */
};

struct watches *watches_create(void);
/* No group may be left. NULL is allowed. */
void watches_destroy(struct watches *watches);

/* Puts the waiter into the group of (kind, name without regard to case, query), made when missing.
 * query is any text that tells different questions apart; it and name are copied. */
struct watch_group *watches_join(struct watches *watches, enum watch_kind kind, const char *name,
                                 const char *query, struct waiter *waiter);
/* Does nothing when it is in none. A group without waiters is freed, unless it is held. */
void watches_leave(struct watches *watches, struct waiter *waiter);

/* Marks the groups on one key; cheap when there are none. */
void watches_mark(struct watches *watches, enum watch_kind kind, const char *name);
/* A key has changed: who waits for it, and who waits for a prefix of it. */
void watches_mark_key(struct watches *watches, const char *key);
/* All keys with the prefix may have changed. Walks all groups. */
void watches_mark_keys(struct watches *watches, const char *prefix);
/* Marks all groups, as after a restored snapshot. */
void watches_mark_all(struct watches *watches);
/* Marks one group. */
void watch_group_mark(struct watches *watches, struct watch_group *group);
/* A dirty group that is not held, no longer dirty; NULL when there is none. */
struct watch_group *watches_take_dirty(struct watches *watches);

/* While paused no group is taken: what is marked is not yet to be seen. Marks are kept. */
void watches_pause(struct watches *watches, bool paused);

/* While held a group stays, without waiters too, and is not taken again; marks are kept. */
void watch_group_hold(struct watch_group *group);
void watch_group_release(struct watches *watches, struct watch_group *group);

/* The question the group was made with, valid while it exists. */
const char *watch_group_query(const struct watch_group *group);
/* First waiter; walk by ->next. The walker may make the present one leave after reading ->next. */
struct waiter *watch_group_waiters(const struct watch_group *group);
size_t watch_group_count(const struct watch_group *group);
size_t watches_waiter_count(const struct watches *watches);

#endif
