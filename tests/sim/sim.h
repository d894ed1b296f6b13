/* A group of one server on a simulated disk, and what must hold of it. One seed, one run.
 *
 * struct sim is what the world outside remembers over all lives of the server: what was proposed,
 * what was applied and so promised. The checkers compare each life with it. */
#ifndef SIM_SIM_H
#define SIM_SIM_H

#include <stdbool.h>
#include <stdint.h>

#include "base/rand.h"
#include "raft/raft.h"
#include "store/hard_state.h"
#include "store/identity.h"
#include "store/log.h"
#include "store/snapshot.h"

#define SIM_DIRECTORY "/data/raft"
#define SIM_LOG_PREFIX SIM_DIRECTORY "/log-"
#define SIM_SEGMENT_BYTES (16 * 1024)
#define SIM_INDEX_MAX 8192
#define SIM_CONFIGURATIONS_MAX 4

/* An entry that was applied: it was answered, so nothing may ever change it. */
struct fact {
    uint64_t term;
    uint64_t serial; /* of a command; 0 for other kinds */
    uint64_t chain;  /* hash over all commands up to here */
};

struct sim {
    uint64_t seed;
    struct rand rand;
    bool failed;
    char message[256];

    uint64_t serials; /* commands proposed so far: 1 .. serials */
    struct fact facts[SIM_INDEX_MAX];
    uint64_t known;          /* highest index applied in any life */
    uint64_t log_synced;     /* highest index that a sync has made durable */
    uint64_t mark_certain;   /* what the mark on the disk says at least */
    uint64_t snapshot_index; /* highest that was reported durable */
    struct store_vote vote;  /* the last that was answered or read at a start */
    uint64_t leader_term;    /* the last in which the server led */
    uint64_t starts, entries, crashes, rots, snapshots; /* for the summary */
};

/* Records the first failure; the run ends soon after. */
void sim_fail(struct sim *sim, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The payload of a command; the caller frees it. */
uint8_t *sim_payload(const struct sim *sim, uint64_t serial, uint32_t *ret_size);
/* What a payload begins with. */
uint64_t sim_tag(uint64_t serial);

struct held {
    uint64_t term;
    uint8_t kind;
    uint8_t *payload;
    uint32_t size;
};

/* One life of the server. */
struct server {
    struct sim *sim;
    struct store_identity *identity;
    struct store_hard_state *hard_state;
    struct store_log *log;
    struct raft *raft;
    struct raft_output output; /* of the last step */
    uint64_t now_ms;
    struct uuid cluster;
    struct raft_id self;

    struct held held[SIM_INDEX_MAX]; /* entries not yet applied */
    uint64_t applied;
    uint64_t chain;
    uint64_t applied_term;
    struct raft_configuration configuration; /* as of applied */
    uint64_t configuration_index;
    struct raft_configuration_at found[SIM_CONFIGURATIONS_MAX]; /* at the start */
    uint64_t appended_term;                                     /* of the last entry in the log */
    bool unsynced;
    bool space_promised; /* the spare segments were there, and nothing was appended since */
    bool disk_failed;
};

/* Starts the server on what the disk holds. ERR_OK, or why it did not start. */
enum err server_start(struct server *server, struct sim *sim, struct store_log_found *ret_found,
                      struct err_text *text);
void server_end(struct server *server);
/* Commands to the log; no sync yet. */
void server_propose(struct server *server, uint32_t count);
void server_sync(struct server *server);
void server_snapshot(struct server *server);
/* Makes the spare segments. */
void server_prepare(struct server *server);
/* Reads some of the log back. */
void server_read(struct server *server);

/* The checkers, a file each. */
/* check_entries.c: nothing that was not proposed, every byte as proposed, facts unchanged. */
void check_entry(struct sim *sim, const struct store_entry *entry);
/* ... and once a start is done, every fact is there. */
void check_all_there(struct sim *sim, const struct server *server);
/* check_apply.c: each entry once, in order, with the same result as in any life before. */
void check_apply(struct sim *sim, const struct server *server, uint64_t index, uint64_t term,
                 uint64_t serial, uint64_t chain);
/* check_sync.c: nothing is applied or answered after a failed sync. */
void check_no_answer_after_failed_sync(struct sim *sim, uint64_t index);
/* check_space.c: while the log says that it has space, a batch finds it, however full the disk. */
void check_space(struct sim *sim, enum err err, bool promised, const struct store_entry *entries,
                 uint32_t count);
/* check_hard_state.c: term and vote never go back; one leader a term. */
void check_hard_state(struct sim *sim, const struct store_vote *found);
void check_hard_state_answered(struct sim *sim, const struct store_vote *answered);
void check_leader(struct sim *sim, const struct raft_output *output);
/* check_commit.c: never goes back, lands on the leader's term, rests on what is durable. */
void check_commit(struct sim *sim, const struct server *server, uint64_t commit_before);
/* check_snapshot.c: a snapshot once reported is there, whole, and joins the log. */
void check_snapshot_state(struct sim *sim, const struct store_snapshot_info *info, uint64_t chain);
void check_no_hole(struct sim *sim, uint64_t snapshot_index, const struct store_log_found *found);
/* check_rot.c: what open says about a log in which `bad` was damaged. */
void check_rot_reported(struct sim *sim, enum err err, const struct store_log_found *found,
                        uint64_t bad, bool changed);
/* ... and about one in which nothing was. */
void check_starts(struct sim *sim, enum err err, const struct err_text *text);

/* run.c: a whole run; false: sim->message tells what broke. */
bool sim_run(struct sim *sim, uint64_t seed);

#endif
