/* Anti-entropy: brings this agent's registrations into the catalog (contract 12), and the node, the
 * consul service and serfHealth that a leader registers for itself (contract 7.5). Core's thread.
 */
#ifndef AGENT_SYNC_H
#define AGENT_SYNC_H

#include "agent/group.h"
#include "base/rand.h"
#include "catalog/backend.h"
#include "catalog/local.h"

struct sync;

struct sync_config {
    struct loop *loop;
    struct log *log;
    struct epoch *epoch;
    struct local *local;
    /* NULL: servers have it, and `fetch` asks for what it has of this node: sync_compare,
     * sync_unchanged or sync_fetch_failed follows. */
    const struct catalog *catalog;
    void (*fetch)(void *context);
    /* Whether commands have a chance, and one command, as group_propose. */
    bool (*ready)(void *context);
    bool (*leads)(void *context); /* this agent leads its servers */
    void (*propose)(void *context, struct group_proposal *proposal);
    const struct backend_facts *facts;
    const struct catalog_node *node; /* this agent's, as it registers it */
    uint16_t server_port;
    int64_t output_ms; /* how long an output alone waits, half to one and a half; 0: the caller
                        * marks it unsynced itself */
    uint64_t seed;
    /* The catalog said something better about a local service, which has changed. */
    void (*taken)(void *context, const char *service_id);
    void *context;
    struct metric *register_timing, *deregister_timing; /* of commands; may be NULL */
};

struct sync *sync_create(const struct sync_config *config);
/* Its proposals are answered. NULL is allowed. */
void sync_destroy(struct sync *sync);

/* Somebody who waits for what a run tells: done runs once all of it has been answered, at once when
 * there is nothing to tell. */
struct sync_wait {
    unsigned count; /* of what is under way */
    void (*done)(struct sync_wait *wait);
};

void sync_hold(struct sync_wait *wait);
void sync_release(struct sync_wait *wait);

/* Tells the catalog what is out of sync. wait may be NULL. Failures are logged and tried again. */
void sync_run(struct sync *sync, struct sync_wait *wait);
/* Registrations of this agent are in files that can't be read: what the catalog has and this agent
 * does not know is then left alone. */
void sync_keep_unknown(struct sync *sync);
/* Compares everything, once this server leads: what it registers for itself, its registrations, and
 * what the catalog has beyond them. */
void sync_full(struct sync *sync);
/* An agent without -server has found a server: what is out of sync is told, and compared, later in
 * a large pool. */
void sync_server_came(struct sync *sync);
/* What was fetched, inside an epoch section. */
void sync_compare(struct sync *sync, const struct catalog_view *view);
/* Nothing had to be told for it, nor has been since: rows that equal those that were compared are
 * in sync. Else they are what there was before it, which a late command may have brought back. */
bool sync_is_as_compared(const struct sync *sync);
/* It is as it was when nothing had to be told. */
void sync_unchanged(struct sync *sync);
void sync_fetch_failed(struct sync *sync, const char *why);
/* The agent leaves: its node goes, and nothing is told any more that would bring it back. */
void sync_leave(struct sync *sync);
/* How many agents the LAN pool has: the more, the longer between two full comparisons. 1 at first.
 */
void sync_set_members(struct sync *sync, uint64_t members);
/* Milliseconds between two of them, to which a random part of the same size is added. */
int64_t sync_full_ms(uint64_t members);
/* The node itself has changed. */
void sync_node(struct sync *sync, struct sync_wait *wait);

#endif
