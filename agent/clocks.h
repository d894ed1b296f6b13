/* The leader's clocks: what ends by time ends by a command of the leader, because the catalog is
 * blind to time. TTLs of sessions, delays of locks, and the time that tombstones are kept.
 *
 * A session ends between its TTL and 1.05 times its TTL after it was made or last renewed; the rest
 * of the promised 1.1 is for the log. A new leader starts every clock anew, in full, so a change of
 * leader never ends anything early. All of this is for the core's thread. */
#ifndef AGENT_CLOCKS_H
#define AGENT_CLOCKS_H

#include "agent/group.h"
#include "base/epoch.h"
#include "base/log.h"
#include "base/metrics.h"
#include "net/loop.h"

struct clocks;

struct clocks_config {
    struct loop *loop;
    struct log *log;
    struct catalog *catalog;
    struct group *group;
    struct metric *expiry; /* samples the end of a session by TTL; NULL: nothing does */
};

/* All pointers are borrowed. */
struct clocks *clocks_create(const struct clocks_config *config);
/* After the group is gone, which has answered all proposals. NULL is allowed. */
void clocks_destroy(struct clocks *clocks);

/* Leadership has begun, with a current catalog, or ended. */
void clocks_lead(struct clocks *clocks, bool leader);
/* The catalog has a new view: follows what has happened. */
void clocks_published(struct clocks *clocks);
/* A session's time begins anew. ERR_NOT_FOUND: there is no such session, or its end is in the log
 * already. ERR_NO_LEADER: this server does not lead, or is not sure of it. */
enum err clocks_renew(struct clocks *clocks, const char *session);
/* Any thread: sessions with a TTL. */
size_t clocks_active(const struct clocks *clocks);

#endif
