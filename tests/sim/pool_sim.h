/* Whole pools of the gossip core on a simulated network. One seed, one run.
 *
 * The world knows what is true: who runs, who is cut off, who was paused. The checkers compare what
 * each member believes with it. */
#ifndef SIM_POOL_SIM_H
#define SIM_POOL_SIM_H

#include "base/rand.h"
#include "gossip/gossip.h"

struct pool_world;

#define POOL_VIEWS_MAX 64 /* pools up to this size have what each saw of each followed */

enum pool_life {
    POOL_UP,
    POOL_DOWN, /* the process is gone, its host answers: port closed */
    POOL_LEFT, /* after a graceful leave, as POOL_DOWN */
};

struct pool_inbox {
    struct pool_event **v;
    uint32_t count;
    uint32_t capacity;
    size_t bytes;
};

struct pool_member {
    struct gossip *gossip; /* NULL while it does not run */
    struct uuid id;
    char name[32];
    struct gossip_address address;
    bool server;
    uint32_t version; /* of its tags */
    uint32_t boot_epoch;
    enum pool_life life;
    bool healthy;                   /* never paused, cut, slow or restarted: nobody may evict it */
    bool cut;                       /* no link at all */
    bool deaf;                      /* nothing reaches it */
    bool mute;                      /* nothing leaves it */
    uint32_t side;                  /* of a partition */
    uint32_t slow_ms;               /* added to what it receives */
    uint32_t x_us, y_us, access_us; /* where it is: distances are one-way times */
    uint64_t paused_until_us;
    uint64_t stuck_until_us; /* the process runs, what it sends and should receive waits */
    struct pool_inbox inbox;
    uint64_t deadline_us; /* its next timer; the one event of it in the queue is the valid one */
    uint32_t timer_serial;
    uint32_t *streams; /* opened by it and not closed */
    uint32_t stream_count;
    uint32_t stream_capacity;
    bool leave_done;
    uint64_t down_since_us;  /* life is not UP, or cut */
    uint64_t started_at_us;  /* of its process */
    uint64_t packets, bytes; /* sent */
};

struct pool_stream {
    uint32_t opener, acceptor;
    uint64_t handle; /* the opener's */
    bool open, answered;
};

enum pool_event_kind {
    POOL_EVENT_TIMER,
    POOL_EVENT_WAKE,
    POOL_EVENT_PACKET,
    POOL_EVENT_CLOSED_PORT,
    POOL_EVENT_STREAM_MESSAGE,
    POOL_EVENT_STREAM_FAILED,
    POOL_EVENT_SCRIPT, /* a step of the scenario */
};

struct pool_event {
    uint64_t at_us;
    uint64_t serial; /* breaks ties */
    enum pool_event_kind kind;
    uint32_t member; /* to whom */
    uint32_t from;
    uint32_t stream;
    uint32_t timer_serial;
    bool refused;
    void (*script)(struct pool_world *world, uint32_t argument);
    size_t size;
    uint8_t data[];
};

/* What one member last saw of another. */
struct pool_view {
    struct gossip_incarnation incarnation; /* highest */
    uint8_t state;                         /* enum gossip_state + 1; 0: unknown */
    uint64_t failed_at_us;                 /* of the last FAILED */
};

struct pool_world {
    uint64_t seed;
    struct rand rand;
    struct gossip_config config;
    struct gossip_descriptors *descriptors;
    struct gossip_output output;
    struct pool_member *members;
    uint32_t count;
    uint64_t now_us;
    struct pool_event **queue; /* a heap */
    uint32_t queue_count;
    uint32_t queue_capacity;
    uint64_t serial;
    struct pool_stream *streams;
    uint32_t stream_count;
    uint32_t stream_capacity;
    uint64_t steps;

    /* The network. */
    uint32_t loss_per_1000;
    uint32_t duplicate_per_1000;
    uint32_t slow_packet_per_1000; /* delayed by up to 200 ms: these overtake each other */
    uint32_t delay_us;             /* one way, and up to as much again */
    bool partitioned;

    struct pool_events *events;                /* fired, and who was told; NULL: none */
    struct pool_view (*views)[POOL_VIEWS_MAX]; /* [viewer][subject]; NULL in big pools */

    /* Watched by scenarios. */
    uint32_t watched;       /* a member whose fate is followed */
    uint32_t watched_dead;  /* members that hold it dead */
    uint32_t watched_known; /* ... alive */
    uint64_t watched_all_us;
    uint32_t false_deaths;  /* FAILED of a healthy member, seen by anybody */
    uint32_t unjust_deaths; /* ... by a healthy one */
    uint32_t false_suspicions;
    uint32_t name_clashes, id_clashes, guards;
    uint64_t changes;

    bool failed;
    char message[256];
};

void pool_fail(struct pool_world *world, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- pool_world.c ---- */
/* Members are made, none runs. */
void pool_world_init(struct pool_world *world, uint64_t seed, const struct gossip_config *config,
                     uint32_t count);
void pool_world_clear(struct pool_world *world);
uint64_t pool_random(struct pool_world *world, uint64_t bound);
bool pool_one_in(struct pool_world *world, uint32_t n);
struct gossip_info pool_info(struct pool_world *world, uint32_t member, struct str_pair pair[1],
                             char value[16]);
/* Starts the process of a member, with a higher boot epoch each time. It knows nobody. */
void pool_start(struct pool_world *world, uint32_t member);
void pool_load(struct pool_world *world, uint32_t member, uint32_t other);
/* All run and know each other, as if for long. */
void pool_start_all(struct pool_world *world);
void pool_step(struct pool_world *world, uint32_t member, const struct gossip_event *event);
void pool_join(struct pool_world *world, uint32_t member, uint32_t to);
void pool_kill(struct pool_world *world, uint32_t member);
void pool_cut(struct pool_world *world, uint32_t member, bool cut);
void pool_pause(struct pool_world *world, uint32_t member, uint64_t ms);
void pool_stick(struct pool_world *world, uint32_t member, uint64_t ms);
void pool_at(struct pool_world *world, uint64_t at_us,
             void (*script)(struct pool_world *world, uint32_t argument), uint32_t argument);
/* Runs until that time, or until something failed. */
void pool_run(struct pool_world *world, uint64_t until_us);
bool pool_is_reachable(const struct pool_world *world, uint32_t member);

/* ---- the checkers, a file each ---- */
/* check_pool_order.c: what a member sees of another never goes back. */
void check_pool_change(struct pool_world *world, uint32_t viewer,
                       const struct gossip_change *change, uint32_t subject);
/* check_pool_seen.c: after a calm time each live member sees all live ones alive, as they are. */
void check_pool_seen(struct pool_world *world);
/* check_pool_death.c: ... and nobody sees a dead or left one live; within a time after a death. */
void check_pool_dead(struct pool_world *world);
void check_pool_death_time(struct pool_world *world, uint32_t member, uint64_t at_most_ms);
/* check_pool_false_death.c: a healthy member is evicted by nobody. */
void check_pool_no_false_death(struct pool_world *world);
/* check_pool_traffic.c: packets and bytes a member and second. */
void check_pool_traffic(struct pool_world *world, uint64_t since_us, uint64_t packets_max,
                        uint64_t bytes_max);
void pool_traffic_reset(struct pool_world *world);
/* check_pool_guard.c: clients are not evicted in masses; servers and leaves are not held. */
void check_pool_guard(struct pool_world *world, uint32_t died_clients, uint32_t clients);
/* check_pool_identity.c: a clash harms neither, and is told. */
void check_pool_identity(struct pool_world *world, uint32_t a, uint32_t b);
/* check_pool_counts.c: the sums of the status are those of the members. */
void check_pool_counts(struct pool_world *world);

/* check_pool_events.c: a user event is told once to each member that ran when it was fired. */
void pool_fire(struct pool_world *world, uint32_t member);
void check_pool_told(struct pool_world *world, uint32_t viewer, const struct gossip_change *change);
void check_pool_events(struct pool_world *world);

/* ---- pool_run.c: one seed ---- */
/* False: world->message tells what broke. world is cleared. */
bool pool_run_seed(uint64_t seed, char message[256], uint64_t *ret_steps, uint64_t *ret_changes);

/* ---- pool_figures.c ---- */
int pool_figure_detect(uint32_t members, uint32_t runs);
int pool_figure_paused(uint32_t members, uint64_t from, uint64_t count, bool plain);
int pool_figure_join(uint32_t members);
int pool_figure_traffic(void);
/* The servers of many datacenters: traffic at rest, and how soon a death is known. */
int pool_figure_wan(uint32_t members, uint32_t runs);
int pool_figure_restart(uint32_t members);

#endif
