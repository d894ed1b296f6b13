/* AppendEntries as the leader sends it (3.5): pipelined, batched, bounded by bytes. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/mutant.h"
#include "raft/internal.h"

void raft_start_peers(struct raft *raft, uint64_t now_ms) {
    for (uint32_t i = 0; i < raft_configuration(raft)->count; i++) {
        struct raft_peer *peer = &raft->peers[i];
        raft_clear_peer(peer);
        peer->next = peer->from = raft->log.last + 1;
        peer->contact_at_ms = now_ms; /* each gets its time to answer */
    }
}

static void go_back(struct raft_peer *peer, uint64_t next) {
    peer->next = next > peer->match + 1 ? next : peer->match + 1;
    peer->from = peer->next;
}

static void append_message(struct raft *raft, struct raft_peer *peer, const struct raft_id *to,
                           uint64_t prev_index, uint32_t count) {
    struct raft_message *m = raft_add_message(raft, RAFT_MESSAGE_APPEND, to);
    m->append.prev_index = prev_index;
    m->append.prev_term = raft_log_term(&raft->log, prev_index);
    m->append.count = count;
    m->append.entry_term = count > 0 ? raft_log_term(&raft->log, prev_index + 1) : 0;
    m->append.commit = raft->commit;
    m->append.round = raft->round;
    m->append.sent_at_ms = raft->round_at_ms;
    m->append.repair_to = peer->repair_to;
    m->append.repair_life = peer->repair_life;
    peer->commit_sent = raft->commit;
}

/* How far the next message may go: one term, so many bytes, but one entry at least. */
static uint64_t message_end(const struct raft *raft, const struct raft_peer *peer) {
    uint64_t end = raft_log_run_end(&raft->log, peer->next);
    uint64_t count_end = peer->next + LIMIT_RAFT_APPEND_ENTRIES - 1;
    end = end < count_end ? end : count_end;
    uint64_t reach =
        raft_sizes_reach(&raft->sizes, peer->next - 1, end, raft->options.append_bytes);
    return reach < peer->next ? peer->next : reach;
}

static bool send_entries(struct raft *raft, struct raft_peer *peer, const struct raft_id *to) {
    bool sent = false;
    while (!peer->probing && !peer->stepping && peer->next <= raft->log.last) {
        uint64_t known = peer->match >= peer->from ? peer->match : peer->from - 1;
        uint64_t in_flight = raft_sizes_between(&raft->sizes, known, peer->next - 1);
        if (peer->next > known + 1 && (in_flight >= raft->options.inflight_bytes ||
                                       peer->next - known > LIMIT_RAFT_INFLIGHT_ENTRIES)) {
            break;
        }
        uint64_t end = message_end(raft, peer);
        append_message(raft, peer, to, peer->next - 1, (uint32_t)(end - peer->next + 1));
        peer->next = end + 1;
        sent = true;
    }
    return sent;
}

static void send_to(struct raft *raft, uint64_t now_ms, uint32_t i, bool round) {
    struct raft_peer *peer = &raft->peers[i];
    const struct raft_id *to = &raft_configuration(raft)->servers[i].id;
    if (now_ms >= peer->contact_at_ms + 2 * (uint64_t)raft->options.election_ms && !peer->probing) {
        peer->probing = true; /* what was sent may be lost */
        go_back(peer, 0);
    }
    if (!raft_log_knows(&raft->log, peer->next - 1)) {
        raft_send_snapshot(raft, now_ms, peer, to);
        if (round) {
            append_message(raft, peer, to, 0, 0); /* matches with everybody */
        }
        return;
    }
    if (peer->snapshot != NULL) {
        free(peer->snapshot);
        peer->snapshot = NULL;
    }
    bool sent = send_entries(raft, peer, to);
    bool step = peer->stepping && !peer->step_sent;
    peer->step_sent = true;
    if (!sent && (round || step || (peer->commit_sent < raft->commit && !peer->probing))) {
        append_message(raft, peer, to, peer->next - 1, 0);
    }
}

void raft_replicate(struct raft *raft, uint64_t now_ms) {
    bool round = raft->round_due || now_ms >= raft->heartbeat_at_ms;
    if (round) {
        raft->round++;
        raft->round_at_ms = now_ms;
        raft->heartbeat_at_ms = now_ms + raft->options.heartbeat_ms;
        raft->round_due = false;
    }
    for (uint32_t i = 0; i < raft_configuration(raft)->count; i++) {
        if (i != raft->self_at) {
            send_to(raft, now_ms, i, round);
        }
    }
}

/* The peer has lost entries that it had acknowledged: what is known of it is void, and so are
 * answers that it gave before it heard from us after this. */
static void begin_repair(struct raft *raft, struct raft_peer *peer, uint64_t life) {
    peer->match = 0;
    peer->repair_to = raft->log.last;
    peer->repair_life = life;
    peer->repair_round = raft->round;
    raft->round_due = true;
}

static bool judge_life(struct raft *raft, struct raft_peer *peer, const struct raft_message *m) {
    if (m->append_answer.repairing &&
        (peer->repair_to == 0 || peer->repair_life != m->append_answer.life)) {
        begin_repair(raft, peer, m->append_answer.life);
        return false;
    }
    if (peer->repair_to > 0) {
        if (m->append_answer.round <= peer->repair_round) {
            return false;
        }
        if (!m->append_answer.repairing) {
            peer->repair_to = 0;
        }
    }
    return true;
}

static void take_rejection(struct raft *raft, struct raft_peer *peer,
                           const struct raft_message *m) {
    uint64_t rejected = m->append_answer.rejected;
    if (rejected < peer->match || rejected >= peer->next || rejected == 0 ||
        (peer->stepping && rejected != peer->next - 1)) {
        return; /* of a message before the last step back */
    }
    uint64_t hint = m->append_answer.hint_index;
    hint = hint < rejected ? hint : rejected - 1;
    uint64_t next = raft_log_find(&raft->log, hint, m->append_answer.hint_term) + 1;
    go_back(peer, next);
    peer->stepping = true; /* the others in flight will be refused, too */
    peer->step_sent = false;
}

static void take_success(struct raft *raft, struct raft_peer *peer, uint64_t match) {
    match = match < raft->log.last ? match : raft->log.last;
    peer->stepping = false;
    if (match > peer->match) {
        peer->match = match;
    }
    if (peer->next <= peer->match) {
        peer->next = peer->match + 1;
    }
}

struct raft_peer *raft_hear_peer(struct raft *raft, uint64_t now_ms, const struct raft_message *m) {
    struct raft_peer *peer = raft_find_peer(raft, &m->from);
    if (raft->role != RAFT_LEADER || peer == NULL || m->term != raft->hard_state.term) {
        return NULL;
    }
    peer->contact_at_ms = now_ms;
    peer->answered = true;
    peer->probing = false;
    return peer;
}

void raft_receive_append_answer(struct raft *raft, uint64_t now_ms, const struct raft_message *m) {
    struct raft_peer *peer = raft_hear_peer(raft, now_ms, m);
    if (peer == NULL) {
        return;
    }
    if (m->append_answer.round > peer->round && m->append_answer.round <= raft->round) {
        peer->round = m->append_answer.round;
        uint64_t sent_at_ms = m->append_answer.sent_at_ms;
        peer->round_sent_at_ms = sent_at_ms < now_ms ? sent_at_ms : now_ms;
    }
    if (!judge_life(raft, peer, m)) {
        return;
    }
    if (m->append_answer.success) {
        take_success(raft, peer, m->append_answer.match);
    } else {
        take_rejection(raft, peer, m);
    }
}

void raft_unreachable(struct raft *raft, const struct raft_id *id) {
    struct raft_peer *peer = raft_find_peer(raft, id);
    if (raft->role == RAFT_LEADER && peer != NULL) {
        peer->probing = true;
        go_back(peer, 0);
        peer->snapshot_sent_at_ms = 0;
    }
}

uint64_t raft_quorum_deadline(const struct raft *raft) {
    const struct raft_configuration *configuration = raft_configuration(raft);
    if (raft->role != RAFT_LEADER || raft_is_sole_voter(raft)) {
        return RAFT_NEVER;
    }
    uint64_t contact[LIMIT_RAFT_SERVERS];
    for (uint32_t i = 0; i < configuration->count; i++) {
        contact[i] = i == raft->self_at ? UINT64_MAX : raft->peers[i].contact_at_ms;
    }
    uint64_t heard = raft_quorum_match(configuration, contact);
    /* 6.2: a leader that no majority hears is none. */
    return heard == UINT64_MAX ? RAFT_NEVER : heard + 2 * (uint64_t)raft->options.election_ms;
}
