/* What servers of a group say to each other, without the payloads, and its bytes.
 *
 * Source: D. Ongaro, "Consensus: Bridging Theory and Practice", 2014; cited below by section.
 *
 * The core makes and takes these structs and never sees a payload. The driver attaches what the
 * message names: the entries of an APPEND (kind and payload each), the piece of a SNAPSHOT. Every
 * message may be lost, repeated, delayed and overtaken; a link that keeps the order of what it
 * delivers is faster, nothing more.
 *
 * A frame is: length of the head (u32, little-endian) | head (proto/raft.proto) | payloads in the
 * order of the entries, or the piece of the snapshot. */
#ifndef RAFT_MESSAGE_H
#define RAFT_MESSAGE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/err.h"
#include "raft/types.h"

/* Values are on the wire: never renumber. */
enum raft_message_kind {
    RAFT_MESSAGE_VOTE_REQUEST = 1, /* RequestVote (3.4), also as a pre-vote (9.6) */
    RAFT_MESSAGE_VOTE_ANSWER = 2,
    RAFT_MESSAGE_APPEND = 3, /* AppendEntries (3.5); without entries a heartbeat */
    RAFT_MESSAGE_APPEND_ANSWER = 4,
    RAFT_MESSAGE_SNAPSHOT = 5, /* InstallSnapshot (5.3), one piece */
    RAFT_MESSAGE_SNAPSHOT_ANSWER = 6,
    RAFT_MESSAGE_TIMEOUT_NOW = 7, /* TimeoutNow (3.10) */
};

/* "append", "vote-request" ... */
const char *raft_message_kind_name(enum raft_message_kind kind);

struct raft_message {
    enum raft_message_kind kind;
    struct raft_id from;
    struct raft_id to;
    uint64_t term; /* the sender's; of a pre-vote request: the term that it would begin */
    union {
        struct {
            uint64_t last_index; /* the candidate's log */
            uint64_t last_term;
            bool pre_vote;
            bool transfer; /* asked by the leader itself: leader stickiness does not apply */
        } vote_request;
        struct {
            bool pre_vote;
            bool granted; /* of a pre-vote: term is then that of the request */
        } vote_answer;
        struct {
            uint64_t prev_index; /* the entries are prev_index + 1 .. prev_index + count */
            uint64_t prev_term;
            uint64_t entry_term; /* of all entries; a message never spans two terms */
            uint32_t count;
            uint64_t commit;
            uint64_t round;       /* counts heartbeats and read rounds of the term (6.4) */
            uint64_t sent_at_ms;  /* of the round, by the leader's clock; comes back as it is */
            uint64_t repair_to;   /* to a server that repairs its log: see raft.h; else 0 */
            uint64_t repair_life; /* and to which life of it */
        } append;
        struct {
            bool success;
            bool repairing;    /* the sender has lost entries that it may have acknowledged */
            uint64_t life;     /* a number drawn at the sender's start */
            uint64_t match;    /* success: on the sender's stable storage up to here */
            uint64_t rejected; /* else: prev_index of the message, and the sender's last index at */
            uint64_t hint_index; /* or before it whose term is not above prev_term, */
            uint64_t hint_term;  /* with its term (3.5, the shortcut at the end) */
            uint64_t round;      /* the highest one seen in this term */
            uint64_t sent_at_ms; /* of that round */
        } append_answer;
        struct {
            uint64_t index; /* of the last entry that the snapshot holds */
            uint64_t term;
            uint64_t offset;
            uint32_t bytes; /* of the piece; set by the driver, <= LIMIT_SNAPSHOT_PIECE_BYTES */
            bool done;      /* the piece is the last; set by the driver */
            uint64_t configuration_index;
            const struct raft_configuration *configuration; /* as of index; borrowed */
        } snapshot;
        struct {
            uint64_t index;
            uint64_t term;
            uint64_t offset; /* the byte that is wanted next */
        } snapshot_answer;
    };
};

/* What the driver knows of an attached entry. */
struct raft_entry_head {
    enum raft_entry_kind kind;
    uint32_t size; /* of the payload, <= LIMIT_ENTRY_BYTES */
};

/* The length and the head of a frame; the payloads are to follow it. entries: append.count of them,
 * else NULL. Never fails but by out's cap. */
void raft_message_encode(const struct raft_message *message, const struct raft_entry_head *entries,
                         struct buf *out);

struct raft_decoded {
    struct raft_message message; /* snapshot.configuration points to configuration below */
    struct raft_configuration configuration;
    struct raft_entry_head *entries; /* append.count of them; owned, NULL if none */
    const uint8_t *payload;          /* inside the frame: all payloads, one behind the other */
    size_t payload_size;             /* the sum of the sizes; of a SNAPSHOT: its piece */
};

/* Reads a frame from anybody: whatever the bytes, no more memory than a multiple of `size`.
 * ERR_CORRUPT: not a message. ERR_VERSION: of a kind that this program does not know.
 * On ERR_OK raft_decoded_clear is due. The message is well-formed, not yet believed: raft_step
 * judges it. */
enum err raft_message_decode(const void *frame, size_t size, struct raft_decoded *ret_decoded);
void raft_decoded_clear(struct raft_decoded *decoded);

/* Cuts an APPEND in two, for a driver whose frames are smaller: *first keeps `count` entries
 * (0 < count < first->append.count), *ret_rest gets the others. */
void raft_message_split(struct raft_message *first, uint32_t count, struct raft_message *ret_rest);

#endif
