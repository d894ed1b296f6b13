/* Membership changes, one server at a time (4.1): any two majorities of the old and the new
 * configuration have a server in common. */
#include <string.h>

#include "base/assert.h"
#include "base/mutant.h"
#include "raft/internal.h"

/* 4.2.1: a voter that is far behind would hold commits up. */
static bool caught_up(const struct raft *raft, const struct raft_peer *peer, bool self) {
    uint64_t match = self ? raft->persisted : peer->match;
    return match + LIMIT_RAFT_PROMOTE_ENTRIES >= raft->log.last && match >= raft->term_start;
}

static enum err add_learner(struct raft_configuration *next, uint32_t at,
                            const struct raft_id *id) {
    if (at == next->count) {
        if (next->count == LIMIT_RAFT_SERVERS) {
            return ERR_TOO_LARGE;
        }
        next->servers[next->count++] = (struct raft_server){.id = *id};
        return ERR_OK;
    }
    if (!next->servers[at].voter) {
        return ERR_EXISTS;
    }
    next->servers[at].voter = false;
    return ERR_OK;
}

static enum err promote(struct raft *raft, struct raft_configuration *next, uint32_t at) {
    if (at == next->count) {
        return ERR_NOT_FOUND;
    }
    if (next->servers[at].voter) {
        return ERR_EXISTS;
    }
    if (!caught_up(raft, &raft->peers[at], at == raft->self_at)) {
        return ERR_REFUSED;
    }
    next->servers[at].voter = true;
    return ERR_OK;
}

static enum err change_one(struct raft *raft, const struct raft_event *event,
                           struct raft_configuration *next) {
    uint32_t at = 0;
    while (at < next->count && !raft_id_equal(&next->servers[at].id, &event->change.id)) {
        at++;
    }
    switch (event->change.kind) {
    case RAFT_CHANGE_ADD_LEARNER:
        return add_learner(next, at, &event->change.id);
    case RAFT_CHANGE_PROMOTE:
        return promote(raft, next, at);
    case RAFT_CHANGE_REMOVE:
        if (at == next->count) {
            return ERR_NOT_FOUND;
        }
        next->count--;
        memmove(next->servers + at, next->servers + at + 1,
                (next->count - at) * sizeof *next->servers);
        return ERR_OK;
    }
    return ERR_INVALID;
}

enum err raft_change(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                     struct raft_output *output) {
    if (raft->role != RAFT_LEADER) {
        return ERR_NO_LEADER;
    }
    /* One at a time; and, the fix of 2015 (Ongaro, raft-dev, "bug in single-server membership
     * changes"): not before an entry of this term is committed, else two leaders of different terms
     * could each go on from an uncommitted configuration of the other. */
    bool under_way = raft_configuration_index(raft) > raft->commit && !MUTANT(two_changes_at_once);
    bool ready = raft_is_ready(raft) || MUTANT(change_before_own_commit);
    if (under_way || !ready || raft->transferring) {
        return ERR_OVERLOADED;
    }
    struct raft_configuration next = *raft_configuration(raft);
    enum err err = change_one(raft, event, &next);
    if (err != ERR_OK) {
        return err;
    }
    if (raft_configuration_voters(&next) == 0) {
        return ERR_REFUSED;
    }
    raft_append_entries(raft, now_ms, RAFT_ENTRY_CONFIGURATION, 1, NULL, output);
    /* It takes effect as soon as it is in the log (4.1). */
    raft_push_configuration(raft, &next, raft->log.last);
    return ERR_OK;
}
