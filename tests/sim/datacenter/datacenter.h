/* A datacenter on a virtual clock: three servers and client agents whose hosts crash, leave, are
 * wiped, move and come back, over a network that is cut, slow and lossy, while services come and go
 * on them. The pool (gossip/, agent/pool*.c), anti-entropy (agent/sync.c over catalog/local.c),
 * what carries commands and rows to servers (agent/links.c, asker.c, carry.c, carried*.c,
 * node_rows.c), the leader's duties (agent/reconcile*.c, removals.c) and the catalog are the
 * agent's own object code. Loop, datagrams, RPC and clock below them are simulated, and the group
 * beside them.
 *
 *   ../loop.c, ../rpc.c, ../process.c   net/loop.h, net/rpc.h, and a process around them
 *   net.c        who is at an address, the links between any two hosts, datagrams, names
 *   parts.c      parts of an agent that do not matter here: disk of the pool, workers, keys
 *   server.c     an agent, wired as agent.c wires it
 *   group.c      the servers' group: a list of entries that they apply, a leader that changes,
 *                commands that are lost, refused, late, or whose end nobody knows; Raft has
 *                simulators of its own
 *   host.c       what is so: services, checks and the fate of each host, and clients that change it
 *   nemesis.c    what goes wrong
 *
 * The checkers (check_*.c) compare the catalog with what is so: what was committed after each
 * entry, and what each server answers with at the end, when all has healed.
 *
 * Loop, RPC and world are shared with other simulators, where each agent is a server; so a `struct
 * server` here is any agent, on a host that outlives it. */
#ifndef SIM_DATACENTER_DATACENTER_H
#define SIM_DATACENTER_DATACENTER_H

#include <stdbool.h>
#include <stdint.h>

#include "agent/internal.h"
#include "base/rand.h"
#include "catalog/catalog.h"
#include "net/loop.h"
#include "net/rpc.h"
#include "net/udp.h"

#define SERVER_COUNT 3 /* the first agents are servers */
#define CLIENTS_MAX 12
#define SERVERS_MAX (SERVER_COUNT + CLIENTS_MAX) /* all agents */
#define SERVICES 4                               /* that a host may have */
#define EXTERNALS 2                              /* nodes without an agent */
#define KNOWN_MAX 8                              /* members that a start joins */
#define MS 1000ull                               /* the virtual clock counts microseconds */
#define SECOND (1000 * MS)
#define RATE 1000000ull /* of a true clock */
#define NOBODY (-1)
#define SIM_STILL_US (6 * SECOND) /* a process stands still so long at most */
/* What was under way when a fault began or ended is over so much later: a command that nobody knows
 * the end of (2 + 10 s), and what it changed was compared anew (12 to 24 s, agent/sync.c). */
#define SETTLES_US (45 * SECOND)
/* After healing the catalog is what is so within: a full comparison of an agent (1 to 2 min), the
 * leader's (1 min) and its patience with nodes that its pool does not know (2 min). */
#define HEALED_US (240 * SECOND)
#define CALM_US (130 * SECOND) /* then nothing is written for longer than each of those takes */

struct world;
struct server;

/* ---- what is so ---- */

/* A service, or the host's own check. */
struct thing {
    bool present;
    uint32_t port, version;
    uint32_t status; /* of its check: enum catalog_health */
    /* The committed catalog has shown it as it is; or has shown that it is gone. */
    bool seen, seen_gone;
    uint64_t changed_us, removed_us;
};

enum fate {
    FATE_UP,
    FATE_DOWN, /* its process or its machine died */
    FATE_LEFT,
    FATE_REMOVED, /* by an operator, once it was down */
};

struct server {
    /* The host. */
    struct world *world;
    uint32_t at;
    char name[16];
    bool client;
    uint32_t address; /* its generation: another one each time it moves */
    struct uuid node;
    char id[UUID_TEXT_BYTES];
    enum fate fate;
    uint64_t fate_us;      /* since */
    bool left_amid;        /* it left while faults of the servers were not over */
    uint64_t born_us;      /* since when it has its id; 0: that has not run */
    uint64_t disturbed_us; /* the last fault that touched it began or ended */
    struct thing things[SERVICES], own_check;
    uint64_t rate, clock_at; /* its clock runs at rate / RATE */
    bool node_seen;          /* its node is in the catalog with this id, */
    bool ever_registered;    /* and has been */
    bool told_seen;          /* with what its agent tells of it */
    bool node_gone;          /* and is gone since it left or was removed */
    /* Its disk. */
    uint32_t boot_epoch;
    char known[KNOWN_MAX][ADDR_TEXT_BYTES];
    uint32_t known_count;
    uint64_t applied; /* of a server: entries of the log */

    /* The process. */
    bool up, dying, stands_still;
    uint32_t life;
    struct loop *loop;
    struct epoch *epoch;
    struct rpc *rpc;     /* the root */
    struct rpc *answers; /* a server's port for others */
    struct carried *carried;
    struct udp *udp;
    struct agent *agent;
    struct config config;
    struct worker *worker;
    uint64_t turned_us; /* its last turn */
};

/* ---- the group ---- */

struct entry {
    uint8_t *bytes;
    size_t size;
    uint64_t command; /* its number */
    bool external;    /* made by a client of the catalog's API */
};

/* ---- events ---- */

enum event_kind {
    EVENT_TURN, /* of an agent's loop */
    EVENT_BODY, /* the turn goes on, after its process stood still */
    EVENT_NET,  /* a message of a connection is there */
    EVENT_BROKEN,
    EVENT_WORK,   /* of its worker */
    EVENT_CALL,   /* of a client */
    EVENT_END,    /* it has left, or is killed */
    EVENT_APPEND, /* the leader's word reaches a server */
    EVENT_KNOWS,  /* a server notices that there is no leader */
    EVENT_CONNECT_LEADER,
    /* Of the world. */
    EVENT_DATAGRAM,
    EVENT_REFUSED,
    EVENT_COMMIT,
    EVENT_BEAT,
    EVENT_ELECT,
    EVENT_CLIENT,
    EVENT_NEMESIS,
    EVENT_HEAL,
    EVENT_START,
    EVENT_FORCE_LEAVE,
};

struct event {
    uint64_t at, number;
    enum event_kind kind;
    uint32_t server, life;
    uint64_t a, b;
    void *data; /* freed with the event */
    size_t size;
};

/* One way, between two hosts. */
struct link {
    bool cut;
    uint32_t drop_per_1000;
    uint64_t delay_us, jitter_us;
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

    struct server servers[SERVERS_MAX];
    uint32_t server_count;
    struct link links[SERVERS_MAX][SERVERS_MAX];
    bool calm;  /* no faults any more */
    bool quiet; /* and no clients */
    bool equal; /* all was what it is, once */
    bool gentle;
    uint64_t disturbed_us; /* servers, the leader or all of the network, as of a host */
    struct epoch *epoch;   /* of the truth */
    bool forgets;          /* dead members are forgotten within minutes */
    uint32_t tormented;    /* hosts from here on have no faults of their own; 0: all may */

    struct group_truth *group;
    struct thing externals[EXTERNALS];
    uint64_t external_hash; /* of their rows */

    /* For the summary. */
    uint64_t commands, calls, kills, leaves, wipes, removals, leaders, healed_us;
    uint64_t removal_ends; /* once all was equal */
};

#include "tests/sim/rpc.h"
#include "tests/sim/world.h"

/* run.c */
struct shape {
    uint32_t clients; /* 0: the seed chooses */
    bool trace, gentle;
};
bool world_run(struct world *world, uint64_t seed, const struct shape *shape);

/* net.c */
void net_datagram_arrives(struct world *world, const struct event *event);
void net_refused(struct world *world, const struct event *event);
bool net_is_linked(const struct world *world, uint32_t from, uint32_t to);

/* parts.c */
void parts_work(struct server *server);     /* one piece of its worker's */
void parts_work_all(struct server *server); /* its end */

/* server.c */
void server_start(struct server *server);
/* Its process dies. */
void server_kill(struct server *server);
/* It leaves gracefully: told to others, and dies then. */
void server_begin_leave(struct server *server);
struct rpc *server_rpc(const struct server *server);
/* Runs in a turn of the agent's loop, unless it dies before. */
void server_do(struct server *server, void (*what)(struct server *server, uint64_t a, uint64_t b),
               uint64_t a, uint64_t b);

/* group.c */
void group_begin(struct world *world);
void group_clear(struct world *world);
struct group *group_start(struct server *server);
void group_serve(struct server *server);
void group_stop(struct server *server);
void group_append(struct server *server, const struct event *event);
void group_forget_leader(struct server *server);
void group_connect_leader(struct server *server);
void group_commit(struct world *world);
void group_beat(struct world *world);
void group_elect(struct world *world);
/* The leader is one no more, and hears of it at once or later. */
void group_depose(struct world *world, uint64_t hears_us);
int group_leader(const struct world *world); /* agent, or NOBODY */
const struct catalog_view *group_truth_view(const struct world *world);
/* A command by a client of the catalog's API at this server. */
void group_write(struct server *server, const struct catalog_command *command);
const char *group_node_of(const struct catalog_command *command);

/* host.c */
void host_init(struct server *server);
void host_load(struct server *server); /* what its disk has, into its agent */
void host_wipe(struct server *server);
void host_disturb(struct server *server);
void world_disturb(struct world *world);
/* No fault has touched it, or all, for SETTLES_US. */
bool host_is_steady(const struct server *server);
/* Some other agent knows that it has left. A leave that nobody heard of is a death. */
bool host_leave_is_known(const struct server *server);
/* Agents died: so is a leave that only those had heard of, before the catalog showed it. */
void host_note_deaths(struct world *world);
void host_client(struct world *world); /* some client calls */
void host_call(struct server *server, const struct event *event);
void host_ip(const struct server *server, char out[32]);
void thing_id(const struct server *server, uint32_t i, char out[16]);
void thing_check_id(const struct server *server, uint32_t i, char out[24]);
/* The catalog has it as it is. i SERVICES: the host's own check. */
bool thing_is_shown(const struct catalog_view *view, const struct server *server, uint32_t i);
bool thing_is_there(const struct catalog_view *view, const struct server *server, uint32_t i);
struct thing *host_thing(struct server *server, uint32_t i);
void external_name(uint32_t i, char out[16]);

/* nemesis.c */
void nemesis_init(struct world *world);
void nemesis_strike(struct world *world);
void nemesis_heal(struct world *world, const struct event *event);
void nemesis_start(struct world *world, uint32_t at);
void nemesis_force_leave(struct world *world, uint32_t at);
void nemesis_calm(struct world *world);

/* The checkers, a file each. */
/* The catalog of each server is what is so. */
bool check_equal(struct world *world, char *why, size_t size);
/* After each entry: what a steady agent has registered stays. */
void check_lost(struct world *world);
/* Now and then: what was changed at a steady agent is shown soon. */
void check_prompt(struct world *world);
/* After each entry: what is gone does not come back. */
void check_ghost(struct world *world);
/* After each entry: nothing but its own clients touches a node without an agent. */
void check_external(struct world *world, const struct entry *entry);
/* Once all is equal nothing is written. */
void check_calm_command(struct world *world, const struct catalog_command *command);

#endif
