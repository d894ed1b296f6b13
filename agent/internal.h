/* What the files of the agent share. */
#ifndef AGENT_INTERNAL_H
#define AGENT_INTERNAL_H

#include "agent/agent.h"
#include "agent/files.h"
#include "agent/group.h"
#include "agent/sync.h"
#include "catalog/backend.h"
#include "catalog/local.h"
#include "checks/checks.h"
#include "dns/server.h"
#include "http/http.h"
#include "net/loop.h"

struct telemetry {
    struct metrics *metrics;
    struct loop_timer tick_timer;
    struct metric *catalog_register, *catalog_deregister;
    struct telemetry_gauges *gauges;
};

struct agent {
    const struct config *config;
    struct log *log;
    struct arena arena; /* texts that live as long as the agent */
    struct loop *loop;
    struct epoch *epoch;
    struct watches *watches;
    struct catalog *catalog;
    struct local *local;
    struct group *group;
    struct sync *sync;
    struct files *files; /* NULL in -dev */
    struct checks *checks;
    struct http_server *http;
    struct dns_server *dns;
    struct telemetry telemetry;
    struct backend backend;
    struct backend_facts facts;
    struct catalog_node node;
    char node_id[UUID_TEXT_BYTES];
    bool local_changed;   /* publish and start runners at the end of the turn */
    bool runners_started; /* what was loaded from files runs */
    bool adopted;         /* check states kept in the catalog were taken over */
    bool leaving;         /* by the API: exits 0 once its answer is out */
    bool stopping;
    int exit_code;
    struct loop_timer stop_timer;
    int64_t started_at_ms;
};

/* ---- backend.c ---- */

void backend_init(struct agent *agent);

/* ---- telemetry.c ---- */

/* Before the parts that record. */
void telemetry_create(struct agent *agent);
/* After them. */
void telemetry_destroy(struct agent *agent);
/* Gauges are what they are when somebody looks; context is the agent. See struct backend. */
void telemetry_refresh(void *context);

/* ---- runners.c: between local checks and the check engine ---- */

bool runners_create(struct agent *agent, struct err_text *text);
/* Kept state of TTL checks, from files_load. */
void runners_keep_state(const char *check_id, const char *status, const char *output,
                        int64_t expires_wall_ms, void *context);
/* Starts, replaces and stops runners after local changes. */
void runners_follow(struct agent *agent);
/* An update of a TTL check through the API; wait is held until its state is kept. ERR_NOT_FOUND,
 * ERR_REFUSED with the contract's text. */
enum err runners_update_ttl(struct agent *agent, const char *id, const char *status,
                            const char *output, struct sync_wait *wait, struct err_text *text);
/* Once the catalog is current after a start: checks that have not run yet take over what it shows.
 */
void runners_adopt(struct agent *agent);

#endif
