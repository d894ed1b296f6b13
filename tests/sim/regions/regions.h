/* Regions on a virtual clock: servers of several datacenters that mirror each other over a WAN
 * which is cut, slow and lossy. Mirrors, their streams, the links to other datacenters and the
 * failover of names are the agent's own (agent/mirror*.c, links.c, failover.c, catalog/), object
 * code and all; loop, network and thread below them are simulated.
 *
 *   ../loop.c    net/loop.h, as in the simulator of groups
 *   ../rpc.c     net/rpc.h: connections in order, that stall, are slow, and break
 *   server.c     an agent around its mirrors
 *   datacenter.c who leads there, what it has committed, and what was so at which index. Raft
 * itself is the other simulator's: here a group is a list of entries that its servers apply.
 *   lookups.c    what clients ask
 *
 * The checkers (check_*.c) compare what a server answers with what it knows, and with what the
 * source of a mirror has had. */
#ifndef SIM_REGIONS_REGIONS_H
#define SIM_REGIONS_REGIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/internal.h"
#include "agent/mirrors.h"
#include "base/rand.h"
#include "catalog/catalog.h"
#include "net/loop.h"
#include "net/rpc.h"

#define REGIONS_MAX 50
#define SERVERS_EACH 3
#define SERVERS_MAX (REGIONS_MAX * SERVERS_EACH)
#define NODES 4 /* of a region */
#define SERVICES 3
#define MS 1000ull      /* the virtual clock counts microseconds */
#define RATE 1000000ull /* of a true clock */
#define NEVER_US UINT64_MAX
#define LAN_MOST_US (2 * MS)   /* a message within a region */
#define HEALED_US (10000 * MS) /* so long after healing every mirror is its source */
#define HOME_US                                                                                    \
    (4000 * MS) /* so long after the hold-down lookups are home: processes stand still */

struct world;
struct server;

/* ---- what a datacenter had ---- */

struct entry {
    uint8_t *bytes;
    size_t size;
    uint64_t row_hash;     /* of all rows behind it */
    uint64_t published_us; /* by a leader, first; NEVER_US: not yet */
};

/* A row from one index to another. */
struct version {
    uint64_t hash, from, to; /* to UINT64_MAX: it is there */
    uint32_t next;           /* of its bucket, + 1 */
};

#define BUCKETS 1024

/* One life of a group's data: another cluster id, another history. */
struct history {
    struct history *older;
    struct uuid cluster;
    uint32_t number;
    struct entry *entries; /* from index 1 */
    uint64_t index, capacity;
    uint64_t published;    /* by some leader, up to here */
    uint64_t ended_us;     /* another one had taken its place and published */
    struct catalog *truth; /* all entries */
    struct version *versions;
    uint32_t version_count, version_capacity, buckets[BUCKETS];
    uint32_t *current, current_count, current_capacity;
    struct buf snapshot;
    uint64_t snapshot_index; /* 0: none */
};

struct region {
    uint32_t at;
    char name[8];
    struct history *history; /* the present one */
    int32_t leader;          /* server; -1: none */
    uint64_t leader_lost_us;
    bool sick[SERVICES]; /* all of its instances here */
};

/* ---- a server ---- */

/* A service, as this server's clients see it. */
struct service_seen {
    bool healthy;        /* at home, as published last */
    uint64_t healthy_us; /* home is healthy since, without a break that the driver could see */
    bool broken;         /* it has been sick where the driver looked */
    bool elsewhere;      /* the last answer */
    bool away;           /* it is on the list of those that are held down */
};

struct server {
    struct world *world;
    uint32_t at;
    struct region *region;
    char name[16];
    bool up, dying, stands_still;
    uint32_t life;
    uint64_t rate, clock_at; /* its clock runs at rate / RATE */
    struct uuid node;

    struct loop *loop;
    struct epoch *epoch;
    struct rpc *rpc;
    struct agent *agent;
    struct config config;
    struct store_work_thread *thread;

    struct history *history;
    uint64_t applied; /* survives its process */
    bool leads;
    int32_t known_leader;  /* server; -1: none */
    int64_t contact_at_ms; /* by its clock; 0: never */
    struct rpc_connection *to_leader;
    bool to_leader_open;
    bool thinks_dead[SERVERS_MAX]; /* its pool */

    struct service_seen seen[SERVICES];
    size_t changes_bytes;
};

/* ---- events ---- */

enum event_kind {
    EVENT_TURN, /* of a server's loop */
    EVENT_BODY, /* the turn goes on, after its process stood still */
    EVENT_NET,  /* a message of a connection is there */
    EVENT_BROKEN,
    EVENT_WORK,   /* of its thread */
    EVENT_APPEND, /* its leader tells it of entries */
    EVENT_KNOWS,  /* who leads */
    EVENT_CONNECT_LEADER,
    EVENT_POOL, /* its pool tells who is alive */
    EVENT_LOOKUP,
    EVENT_WRITE, /* of a region */
    EVENT_BEAT,
    EVENT_ELECT,
    EVENT_NEMESIS,
    EVENT_HEAL,
    EVENT_RESTART,
    EVENT_SERVICE, /* is well again */
};

struct event {
    uint64_t at, number;
    enum event_kind kind;
    uint32_t server, life;
    uint64_t a, b;
    void *data; /* freed with the event */
    size_t size;
};

/* One way, between regions or within one. */
struct link {
    bool cut;
    uint32_t drop_per_1000;
    uint64_t delay_us, jitter_us;
    uint64_t base_us;     /* the delay of a good day */
    uint64_t bytes_per_s; /* 0: no bound */
    uint64_t free_us;     /* what was sent before has gone by then */
    uint64_t faults;      /* so many have begun: the last one heals it */
};

struct world {
    uint64_t seed;
    struct rand rand;
    bool failed;
    char message[256];
    bool trace;
    uint64_t hash; /* of all that happened */

    uint64_t now; /* microseconds */
    struct event **heap;
    uint32_t heap_count, heap_capacity;
    uint64_t event_numbers;
    uint64_t rpc_numbers; /* of connections and requests */

    struct region regions[REGIONS_MAX];
    struct server servers[SERVERS_MAX];
    uint32_t region_count, server_count;
    struct link links[REGIONS_MAX][REGIONS_MAX];
    bool calm;   /* no faults any more, */
    bool quiet;  /* and no writes */
    bool gentle; /* the same from the beginning */
    bool only_passing;
    uint64_t hold_down_us;

    struct epoch *epoch; /* of the histories */

    /* For the summary. */
    uint64_t writes, lookups, away, looks, stale, kills, wipes, wan_bytes, oldest_ms;
};

#include "tests/sim/rpc.h"
#include "tests/sim/world.h"

/* run.c */
struct shape {
    uint32_t regions;
    bool trace, gentle;
};
bool world_run(struct world *world, uint64_t seed, const struct shape *shape);

/* server.c */
void server_start(struct server *server);
/* Its process dies. */
void server_kill(struct server *server);
void server_work(struct server *server);
/* Entries up to the index, in a turn, which the leader had published when it sent them. leads: they
 * are its own. */
void server_append(struct server *server, uint64_t index, uint64_t sent_us, bool leads);
void server_know_leader(struct server *server, int32_t leader);
void server_connect_leader(struct server *server);
void server_tell_pool(struct server *server, uint32_t region);

/* Between the driver of failover and its core (observed.h). */
bool sim_failover_core_step(struct failover_core *core, int64_t now_ms, failover_judge_fn *judge,
                            void *context);

/* datacenter.c */
void region_begin(struct region *region, struct world *world);
/* All its data was lost: another cluster. Its servers are down. */
void region_wipe(struct region *region, struct world *world);
void region_clear(struct region *region);
void region_write(struct region *region, struct world *world);
void region_make_sick(struct region *region, struct world *world, uint32_t service, bool sick);
void region_beat(struct region *region, struct world *world);
void region_elect(struct region *region, struct world *world);
void region_depose(struct region *region, struct world *world);
void history_publish(struct history *history, uint64_t index, uint64_t now_us);
/* What a leader of it had published at that time. */
uint64_t history_index_at(const struct history *history, uint64_t us);
/* Of which the rows are; NULL: of none. */
struct history *history_of_view(const struct region *region, const struct catalog_view *view);
struct hashes {
    uint64_t *v;
    uint32_t count, capacity;
};
/* Of all rows; the caller frees v. */
void rows_gather(const struct catalog_view *view, struct hashes *hashes);
/* A version with this hash, the youngest; NULL: it never was there. */
const struct version *history_find(const struct history *history, uint64_t hash);
const char *service_name(uint32_t service);

/* lookups.c */
void lookup_next(struct server *server);
void lookup_published(struct server *server);
/* The driver looks who is healthy. */
void lookup_stepped(struct server *server);
/* Whether the view has an instance that may be answered. */
bool is_usable(const struct world *world, const struct catalog_view *view, uint32_t service);

/* nemesis.c */
void nemesis_strike(struct world *world);
void nemesis_restart(struct world *world, uint32_t server);
void nemesis_heal(struct world *world, const struct event *event);
void nemesis_calm(struct world *world);
void nemesis_link_init(struct world *world);

/* The checkers, a file each. */
/* Each row of a mirror is its source's at the mirror's index or later, and none is missing. */
void check_mirror(struct server *server, const struct region *region,
                  const struct mirror_face *face);
/* Nothing is older than its stated age. */
void check_age(struct server *server, const struct region *region, const struct mirror_face *face);
/* An answer is as good as what this server knows: home first, then the nearest. */
void check_local(struct server *server, uint32_t service, const struct failover_place *place);
/* Nobody comes home before the hold-down ends. */
void check_failover(struct server *server, uint32_t service, const struct failover_place *place);
/* The same at the end of a turn, whether somebody asks or not. */
void check_returns(struct server *server);
/* All mirrors are what their sources are, record by record. */
bool check_converged(struct world *world, char *why, size_t size);

#endif
