/* Handing leadership over (3.10). */
#include "base/mutant.h"
#include "raft/internal.h"

static uint32_t best_voter(const struct raft *raft) {
    const struct raft_configuration *configuration = raft_configuration(raft);
    uint32_t best = configuration->count;
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raft_peer *peer = &raft->peers[i];
        if (configuration->servers[i].voter && i != raft->self_at && peer->repair_to == 0 &&
            (best == configuration->count || peer->match > raft->peers[best].match)) {
            best = i;
        }
    }
    return best;
}

static uint32_t find_voter(const struct raft *raft, const struct raft_id *id) {
    const struct raft_configuration *configuration = raft_configuration(raft);
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (configuration->servers[i].voter && i != raft->self_at &&
            raft_id_equal(&configuration->servers[i].id, id)) {
            return i;
        }
    }
    return configuration->count;
}

enum err raft_transfer(struct raft *raft, uint64_t now_ms, const struct raft_event *event) {
    if (raft->role != RAFT_LEADER) {
        return ERR_NO_LEADER;
    }
    if (raft->transferring) {
        return ERR_OVERLOADED;
    }
    uint32_t at = event->transfer.any ? best_voter(raft) : find_voter(raft, &event->transfer.to);
    if (at == raft_configuration(raft)->count) {
        return ERR_NOT_FOUND;
    }
    raft->transferring = true;
    raft->transfer_sent = false;
    raft->transfer_to = raft_configuration(raft)->servers[at].id;
    raft->transfer_until_ms = now_ms + raft->options.election_ms;
    return ERR_OK;
}

void raft_push_transfer(struct raft *raft) {
    if (!raft->transferring || raft->transfer_sent) {
        return;
    }
    struct raft_peer *peer = raft_find_peer(raft, &raft->transfer_to);
    if (peer == NULL) {
        raft_end_transfer(raft);
        return;
    }
    if (peer->match < raft->log.last) {
        return;
    }
    /* The target's candidacy does not heed leader stickiness, on which the lease rests; and the
     * message may take as long as it likes. So there is no lease in this term any more. */
    raft->lease_lost = true;
    raft->transfer_sent = true;
    raft_add_message(raft, RAFT_MESSAGE_TIMEOUT_NOW, &raft->transfer_to);
}

void raft_end_transfer(struct raft *raft) {
    raft->transferring = false;
    raft->transfer_sent = false;
}

void raft_receive_timeout_now(struct raft *raft, uint64_t now_ms, const struct raft_message *m,
                              struct raft_output *output) {
    if (m->term == raft->hard_state.term && raft->role == RAFT_FOLLOWER && raft->leader_known &&
        raft_id_equal(&m->from, &raft->leader) && raft_may_campaign(raft)) {
        raft_campaign(raft, now_ms, true, output);
    }
}
