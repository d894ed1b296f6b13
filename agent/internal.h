/* What the files of the agent share. */
#ifndef AGENT_INTERNAL_H
#define AGENT_INTERNAL_H

#include "agent/agent.h"
#include "agent/clocks.h"
#include "agent/coordinates.h"
#include "agent/files.h"
#include "agent/group.h"
#include "agent/links.h"
#include "agent/reconcile.h"
#include "agent/sync.h"
#include "catalog/backend.h"
#include "catalog/local.h"
#include "checks/checks.h"
#include "dns/server.h"
#include "http/http.h"
#include "net/loop.h"

struct telemetry {
    struct metrics *metrics;
    struct loop_timer tick_timer, judge_timer;
    struct metric *catalog_register, *catalog_deregister, *query_apply;
    struct metric *kvs_apply, *session_apply, *session_renew, *session_expiry, *txn_apply;
    struct metric *consistent_read;
    struct telemetry_gauges *gauges;
    struct host_gauges *host; /* NULL: not wanted */
    struct telemetry_sinks *sinks;
};

struct reading;

/* A reload that somebody waits for. */
struct reload_wait {
    struct reload_wait *next;
    void (*done)(struct reload_wait *wait, enum err err, const struct err_text *text);
};

/* The configuration of the last reload. */
struct live_config {
    struct arena arena;
    struct config config;
};

struct alias;

struct agent {
    const struct config *config; /* of the start */
    const struct config *live;   /* what a reload may change is read here */
    const struct config_source *source;
    struct live_config *live_owner; /* NULL until the first reload */
    struct reading *reading;        /* a reload under way */
    struct reload_wait *reload_waits;
    bool reload_wanted;                /* once that one is done */
    struct config_watch *config_watch; /* NULL without auto_reload_config */
    struct log *log;
    struct arena arena; /* texts that live as long as the agent */
    struct loop *loop;
    struct epoch *epoch;
    struct watches *watches;
    struct catalog *catalog;
    struct local *local;
    struct catalog *own;             /* its rows on a client, see own.h; NULL on a server */
    uint64_t own_index, own_version; /* the latter of the local view that they show */
    struct group *group;             /* NULL on a client, as clocks, reconcile and servers */
    struct pools *pools;
    struct servers *servers; /* NULL on a client */
    struct asker *asker;
    struct links *links;   /* to servers that answer in this agent's place */
    struct carry *carries; /* what they answer now */
    uint64_t carry_id;
    struct mirrors *mirrors;
    struct watched_node *watched_nodes; /* see node_rows.h */
    struct snapshots *snapshots;
    struct operator* operator;
    struct store_identity *identity; /* of a client's data directory; a server's is its group's */
    struct addr rpc_addr;            /* of this server, as others reach it */
    struct clocks *clocks;
    struct reconcile *reconcile;
    struct events *events;
    struct loop_timer removals_timer, removals_retry_timer;
    struct removing *removals_waiting; /* for a leader that commits them */
    uint64_t removals_seen;            /* their index when the LAN pool was told last */
    struct coordinates *coordinates;
    struct sync *sync;
    struct files *files; /* NULL in -dev */
    struct checks *checks;
    struct alias *aliases;
    struct loop_timer alias_timer, reap_timer;
    struct http_server *http;
    struct dns_server *dns;
    struct telemetry telemetry;
    struct failover *failover;
    struct failover_source failover_source;
    struct backend backend;
    struct backend_facts facts;
    struct catalog_node node;
    char node_id[UUID_TEXT_BYTES];
    bool local_changed;               /* publish and start runners at the end of the turn */
    bool runners_started;             /* what was loaded from files runs */
    bool adopted;                     /* check states kept in the catalog were taken over */
    bool leaving;                     /* others are told; then it ends with exit code 0 */
    unsigned leave_parts;             /* that are not done */
    bool left;                        /* they know */
    void (*left_done)(void *context); /* of whom has asked by the API; NULL */
    void *left_context;
    bool stopping;
    int exit_code;
    struct loop_timer stop_timer, unsent_timer;
    int64_t stopping_at_ms;
    int64_t started_at_ms;
};

/* ---- watches.c ---- */

/* Makes the agent's watches be those of the configuration; NULL: none. */
void agent_watch(struct agent *agent, const struct config *live);

/* ---- backend.c ---- */

void backend_init(struct agent *agent);

/* ---- telemetry.c ---- */

/* Before the parts that record. */
void telemetry_create(struct agent *agent);
/* Sends, once what gauges are read off is there. */
void telemetry_start(struct agent *agent);
/* While that is still there. False: somebody who gets the metrics hangs. */
bool telemetry_stop(struct agent *agent);
/* After the parts. */
void telemetry_destroy(struct agent *agent);
/* All metrics to stderr. */
void telemetry_dump(struct agent *agent);
/* What a reload may change. */
void telemetry_reload(struct agent *agent, const struct config *live);
/* Gauges are what they are when somebody looks; context is the agent. See struct backend. */
void telemetry_refresh(void *context);

/* ---- describe.c ---- */

void describe_start(struct agent *agent);
/* The node, and what /v1/agent/self tells of it; texts of the node live in the arena. */
void describe_live(struct agent *agent, const struct config *live, struct arena *arena);

/* ---- definitions.c: services and checks of the configuration files ---- */

/* Whether each check's service exists, and its kind is offered. */
enum err definitions_judge(const struct agent *agent, const struct config *config,
                           struct err_text *text);
/* Makes what comes from files be what the configuration has, and nothing else. */
void definitions_apply(struct agent *agent, const struct config *config);

/* ---- reload.c ---- */

/* Reads the configuration anew and takes it over. wait may be NULL; done runs on the core's thread
 * once all of it is in place. ERR_INVALID, ...: nothing has changed. */
void reload_start(struct agent *agent, struct reload_wait *wait);
/* Waits for one that is under way, and drops it. */
void reload_stop(struct agent *agent);
void reload_clear(struct agent *agent);

/* ---- agent.c ---- */

/* As group_propose; of an agent without -server by a server. context is the agent. */
void agent_propose(void *context, struct group_proposal *proposal);
/* Ends the agent, without a leave. */
void agent_stop(struct agent *agent, int exit_code);
/* Leaves the pools first; done may be NULL, else it runs before the end. */
void agent_leave(struct agent *agent, void (*done)(void *context), void *context);
void dns_reload(struct agent *agent, const struct config *live);

/* ---- alias.c: checks that follow other checks ---- */

void alias_init(struct agent *agent);
void alias_clear(struct agent *agent);
/* A check was set, or removed when definition is NULL. */
void alias_follow(struct agent *agent, const char *id, const struct check_definition *definition);
/* A local check of the service has changed; "" = one of none. */
void alias_note(struct agent *agent, const char *service_id);
void alias_note_all(struct agent *agent);
/* The catalog has a new view. */
void alias_published(struct agent *agent);
/* Looks again where it is due. True: something has changed. */
bool alias_settle(struct agent *agent);

/* ---- runners.c: between local checks and the check engine ---- */

bool runners_create(struct agent *agent, struct err_text *text);
/* Kept state of TTL checks, from files_load_states. */
void runners_keep_state(const char *check_id, const char *status, const char *output,
                        int64_t expires_wall_ms, void *context);
/* After files_load_checks: script checks that may no longer be there go, but for those that the
 * configuration's files define, which are judged with them. */
void runners_judge_loaded(struct agent *agent);
/* Whether the agent offers a check of this kind, registered from afar or by its own files.
 * ERR_REFUSED and the contract's sentence. */
enum err runners_judge(const struct agent *agent, const struct check_definition *check, bool remote,
                       struct err_text *text);
/* A result: into the local state, the log, the clock of deregistration, to aliases. True: it has
 * changed something. */
bool runners_tell(struct agent *agent, const char *id, const char *status, const char *output);
/* Starts, replaces and stops runners after local changes. */
void runners_follow(struct agent *agent);
/* An update of a TTL check through the API; wait is held until its state is kept. ERR_NOT_FOUND,
 * ERR_REFUSED with the contract's text. */
enum err runners_update_ttl(struct agent *agent, const char *id, const char *status,
                            const char *output, struct sync_wait *wait, struct err_text *text);
/* Once the catalog is current after a start: checks that have not run yet take over what it shows.
 */
void runners_adopt(struct agent *agent, const struct catalog_view *view);

#endif
