/* Snapshots: taken here (5.1), sent to those that the log no longer serves (5.3). */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "raft/internal.h"

/* Slow peers are better served from the log, so some of it stays. */
static uint64_t compact_to(const struct raft *raft, uint64_t index) {
    if (raft_configuration(raft)->count <= 1) {
        return index;
    }
    uint64_t to = index;
    uint64_t floor = raft->log.first - 1;
    while (to > floor &&
           raft_sizes_between(&raft->sizes, to, index) < raft->options.trailing_bytes) {
        uint64_t step = (to - floor + 7) / 8;
        to -= step;
    }
    return to;
}

void raft_snapshot_taken(struct raft *raft, uint64_t index, uint64_t term,
                         struct raft_output *output) {
    ASSERT(index <= raft->commit);
    if (index <= raft->log.snapshot_index) {
        return;
    }
    uint64_t first = raft->log.first;
    raft_log_compact(&raft->log, index, term, compact_to(raft, index));
    raft_compact_configurations(raft, index);
    if (raft->log.first > first) {
        raft_sizes_compact(&raft->sizes, raft->log.first - 1);
        output->compact_to = raft->log.first - 1;
    }
}

static void begin(struct raft *raft, struct raft_peer *peer) {
    const struct raft_configuration_at *at =
        raft_get_configuration_at(raft, raft->log.snapshot_index);
    free(peer->snapshot);
    peer->snapshot = mem_calloc(1, sizeof *peer->snapshot);
    if (at != NULL) {
        *peer->snapshot = *at;
    }
    peer->snapshot_index = raft->log.snapshot_index;
    peer->snapshot_term = raft->log.snapshot_term;
    peer->snapshot_offset = 0;
    peer->snapshot_sent_at_ms = 0;
}

/* One piece at a time, sent again if no answer comes. */
void raft_send_snapshot(struct raft *raft, uint64_t now_ms, struct raft_peer *peer,
                        const struct raft_id *to) {
    if (peer->probing) {
        return; /* silent; the heartbeats tell when it is back */
    }
    /* What the peer has of it already may not reach to the log, which has gone on meanwhile. */
    if (peer->snapshot == NULL || peer->match >= peer->snapshot_index) {
        begin(raft, peer);
    }
    uint64_t patience_ms = 4ull * raft->options.election_ms;
    if (peer->snapshot_sent_at_ms != 0 && now_ms < peer->snapshot_sent_at_ms + patience_ms) {
        return;
    }
    struct raft_message *m = raft_add_message(raft, RAFT_MESSAGE_SNAPSHOT, to);
    m->snapshot.index = peer->snapshot_index;
    m->snapshot.term = peer->snapshot_term;
    m->snapshot.offset = peer->snapshot_offset;
    m->snapshot.configuration_index = peer->snapshot->index;
    m->snapshot.configuration = &peer->snapshot->configuration;
    peer->snapshot_sent_at_ms = now_ms > 0 ? now_ms : 1;
}

void raft_receive_snapshot_answer(struct raft *raft, uint64_t now_ms,
                                  const struct raft_message *m) {
    struct raft_peer *peer = raft_hear_peer(raft, now_ms, m);
    if (peer == NULL || peer->snapshot == NULL ||
        m->snapshot_answer.index != peer->snapshot_index ||
        m->snapshot_answer.term != peer->snapshot_term ||
        m->snapshot_answer.offset > LIMIT_RAFT_SNAPSHOT_BYTES) {
        return;
    }
    /* Forward at once; back, to where the receiver stands, only when the piece is due again: an
     * answer that was overtaken would else double the stream. */
    bool forward = m->snapshot_answer.offset > peer->snapshot_offset;
    peer->snapshot_offset = m->snapshot_answer.offset;
    if (forward) {
        peer->snapshot_sent_at_ms = 0;
    }
}

void raft_snapshot_gone(struct raft *raft, const struct raft_id *id) {
    struct raft_peer *peer = raft_find_peer(raft, id);
    if (raft->role == RAFT_LEADER && peer != NULL && peer->snapshot != NULL) {
        free(peer->snapshot);
        peer->snapshot = NULL;
    }
}
