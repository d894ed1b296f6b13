/* The newest part of the log in memory: what the log thread writes, what is not applied yet, and up
 * to LIMIT_LOG_TAIL_BYTES behind, so that peers that keep up are fed without the disk.
 *
 * Entries come in batches, each one write. A batch stays until it is persisted and applied and the
 * bytes behind it are enough; one that was cut off stays until the log thread has let go of it.
 * Everything is the core thread's. */
#ifndef AGENT_LOG_TAIL_H
#define AGENT_LOG_TAIL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "net/loop.h"
#include "store/log.h"

struct group;
struct group_proposal;

struct batch {
    struct loop_task task;
    struct group *group;
    struct store_entry *entries; /* payloads: inside `block`, else from malloc each */
    uint32_t count;              /* kept <= count; applied <= kept */
    uint32_t kept;               /* the others were cut off */
    uint32_t applied;
    uint32_t cuts; /* as in raft_append */
    uint8_t *block;
    size_t bytes;                        /* of payloads */
    struct group_proposal *proposals;    /* of entries from `applied` on, in order */
    uint64_t appended_at_ns, sent_at_ns; /* sent: to the log thread, for the last time */
    bool writing;                        /* the log thread has it */
    bool persisted;
    bool refused; /* the disk was full: write it again */
    bool dropped; /* no longer in the tail */
    enum err err; /* of the write */
    struct err_text text;
};

struct log_tail {
    struct batch **v; /* a ring, by index */
    uint32_t head, count, capacity;
    size_t bytes;
};

/* Frees all batches but those that the log thread has, unless `all` is set. */
void log_tail_clear(struct log_tail *tail, bool all);
void log_tail_push(struct log_tail *tail, struct batch *batch);
struct batch *log_tail_get(const struct log_tail *tail, uint32_t i);
/* The batch that holds the index, NULL if none does; *ret_entry is its entry. */
struct batch *log_tail_find(const struct log_tail *tail, uint64_t index,
                            const struct store_entry **ret_entry);
/* The entries first .. first + count - 1, all of `term`, are here. */
bool log_tail_holds(const struct log_tail *tail, uint64_t first, uint32_t count, uint64_t term);
/* Cuts off everything from the index on. Proposals of what went are chained behind *ret_lost, which
 * the caller answers. */
void log_tail_cut(struct log_tail *tail, uint64_t from, struct group_proposal **ret_lost);
/* Lets go of what is persisted, applied, and more than bytes_max from the end. */
void log_tail_trim(struct log_tail *tail, size_t bytes_max);
/* The log thread has let go of it. */
void log_tail_release(struct batch *batch);

#endif
