/* The driver of a datacenter's Raft group: brings the pure core together with disk, loop and
 * catalog. Everything here is for the core's thread unless it says otherwise.
 *
 * A turn of the loop: proposals gather -> at its end one append for all of them -> the log thread
 * writes and syncs -> PERSISTED -> commit -> apply in slices -> one publish -> proposals answered.
 */
#ifndef AGENT_GROUP_H
#define AGENT_GROUP_H

#include "base/err.h"
#include "base/log.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "catalog/catalog.h"
#include "net/loop.h"

struct group;

struct group_config {
    struct loop *loop;
    struct log *log;
    struct epoch *epoch;
    struct catalog *catalog;
    const char *data_dir; /* NULL: everything in memory, as in -dev */
    struct uuid node;
    uint64_t random_seed; /* of ids made here */
    bool bootstrap;       /* a blank server makes itself the first of a new group */
    /* The catalog has a new published view. */
    void (*published)(void *context);
    /* This server's leadership, once its catalog is current, has begun or ended. */
    void (*leader_changed)(void *context, bool leader);
    void *context;
    struct metrics *metrics; /* NULL: nothing is recorded */
};

/* Opens the disk, restores the newest snapshot and starts the core; what the log holds is applied
 * by the loop once it runs. NULL and one sentence that says what to do. */
struct group *group_create(const struct group_config *config, struct err_text *text);

/* The node's id as the group's configuration on this disk has it; config.node when there is none.
 */
struct uuid group_node(const struct group *group);

/* One command on its way through the log. Owned by the caller until done ran; the bytes are from
 * malloc and the group's from group_propose on, because the log thread may outlive the answer. */
struct group_proposal {
    struct group_proposal *next;
    uint8_t *data; /* NULL: the command did not fit into an entry; answered ERR_TOO_LARGE */
    size_t size;
    enum err result;       /* of its apply, until the view that shows it is published */
    struct err_text *text; /* NULL: nothing to say; the group's */
    struct metric *timing; /* samples the time until the answer; NULL: nothing does */
    uint64_t proposed_at_ns;
    /* ERR_OK: applied. ERR_REFUSED: applied, and the catalog said no. ERR_NO_LEADER and
     * ERR_OVERLOADED, ERR_NO_SPACE, ERR_TOO_LARGE: surely not appended. ERR_IO, ERR_TIMEOUT,
     * ERR_CLOSED: outcome unknown. */
    void (*done)(struct group_proposal *proposal, enum err err, const struct err_text *text);
};

void group_propose(struct group *group, struct group_proposal *proposal);
/* At the end of each turn. */
void group_turn_end(struct group *group);

/* Any thread: whether a leader is known whose catalog is current, and whether one ever was. */
bool group_has_leader(const struct group *group);
bool group_had_leader(const struct group *group);

struct group_status {
    uint64_t term, last_index, last_term, commit_index, applied_index, snapshot_index, snapshot_term;
    uint64_t configuration_index;
    bool leader;
};

/* Any thread: a recent state, for people. */
void group_get_status(const struct group *group, struct group_status *ret_status);

/* Answers what waits with ERR_CLOSED and stops the threads, within 2 s. False: the disk hangs,
 * threads still use the loop, the epoch and the catalog, and the process must end without taking
 * those down. NULL is allowed. */
bool group_destroy(struct group *group);

#endif
