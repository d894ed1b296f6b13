/* The nouns of Raft: servers, configurations, entries, hard state. Used by raft.h and message.h. */
#ifndef RAFT_TYPES_H
#define RAFT_TYPES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/uuid.h"

#define RAFT_NEVER UINT64_MAX

/* Who a server is. The disk's part is made with the data directory: a machine that lost its disk
 * is a new server, because it may have forgotten a vote. */
struct raft_id {
    struct uuid node;
    struct uuid disk;
};

bool raft_id_equal(const struct raft_id *a, const struct raft_id *b);

enum raft_role { RAFT_FOLLOWER, RAFT_CANDIDATE, RAFT_LEADER };

/* "follower", "candidate", "leader". */
const char *raft_role_name(enum raft_role role);

struct raft_server {
    struct raft_id id;
    bool voter; /* false: a learner (4.2.1), which receives entries and counts for nothing */
};

struct raft_configuration {
    uint32_t count; /* <= LIMIT_RAFT_SERVERS; 0 means that none is known */
    struct raft_server servers[LIMIT_RAFT_SERVERS];
};

/* A configuration and the index of its entry. */
struct raft_configuration_at {
    uint64_t index;
    struct raft_configuration configuration;
};

/* The bytes of a CONFIGURATION entry's payload, also kept in a snapshot's header. */
#define RAFT_CONFIGURATION_BYTES_MAX (3 + LIMIT_RAFT_SERVERS * 33)
void raft_configuration_encode(const struct raft_configuration *configuration, struct buf *out);
/* ERR_VERSION: of a newer program. ERR_CORRUPT: not such bytes, or a server twice. */
enum err raft_configuration_decode(const void *data, size_t size,
                                   struct raft_configuration *ret_configuration);

/* What a server may never forget (3.8: currentTerm and votedFor). All zero on a blank server. */
struct raft_hard_state {
    uint64_t term;
    bool voted; /* vote holds whom this server voted for in term */
    struct raft_id vote;
};

/* Values are stored in the log: never renumber. */
enum raft_entry_kind {
    RAFT_ENTRY_NO_OP = 1, /* empty; a new leader's first entry (6.4) */
    RAFT_ENTRY_CONFIGURATION =
        2,                  /* raft_configuration_encode; takes effect once in the log (4.1) */
    RAFT_ENTRY_COMMAND = 3, /* the state machine's */
};

/* Entries from `first` up to the next run (or the log's end) are all of `term`. */
struct raft_run {
    uint64_t first;
    uint64_t term;
};

/* How many bytes of payload lie between two indexes, to about LIMIT_RAFT_SIZE_MARK_BYTES: a mark
 * each so many bytes, so memory is a tiny part of the log's. For flow control. */
struct raft_size_mark {
    uint64_t index;
    uint64_t total; /* payload bytes of entries up to index */
};

struct raft_sizes {
    struct raft_size_mark *marks; /* both rise */
    uint32_t count;
    uint32_t capacity;
    struct raft_size_mark last;
};

/* An empty one is all zero. The next entry, in order; an index that does not follow the last one
 * begins anew. */
void raft_sizes_add(struct raft_sizes *sizes, uint64_t index, uint32_t bytes);
void raft_sizes_clear(struct raft_sizes *sizes);

#endif
