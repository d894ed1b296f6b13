#include "raft/raft.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "raft/internal.h"

const char *raft_role_name(enum raft_role role) {
    static const char *const names[] = {"follower", "candidate", "leader"};
    ASSERT(role <= RAFT_LEADER);
    return names[role];
}

struct raft *raft_create(const struct raft_options *options) {
    struct raft *raft = mem_calloc(1, sizeof *raft);
    raft->self = options->self;
    raft->log.first = 1;
    return raft;
}

void raft_destroy(struct raft *raft) {
    if (raft != NULL) {
        raft_log_clear(&raft->log);
        free(raft);
    }
}

static enum err start(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                      struct raft_output *output) {
    ASSERT(!raft->started);
    static const struct raft_configuration_at none;
    const struct raft_configuration_at *at =
        event->start.configuration_count > 0
            ? &event->start.configurations[event->start.configuration_count - 1]
            : &none;
    const struct raft_configuration *configuration = &at->configuration;
    if (configuration->count > 0 && !raft_configuration_is_valid(configuration)) {
        return ERR_CORRUPT;
    }
    if (at->index > event->start.log_last || (configuration->count == 0) != (at->index == 0)) {
        return ERR_CORRUPT;
    }
    if (!raft_log_load(&raft->log, event)) {
        return ERR_CORRUPT;
    }
    /* A server writes no entry of a term that its hard state has not reached. */
    if (raft_log_term(&raft->log, raft->log.last) > event->start.hard_state.term) {
        raft_log_clear(&raft->log);
        return ERR_CORRUPT;
    }
    raft->started = true;
    raft->hard_state = event->start.hard_state;
    raft->persisted = raft->log.last;
    raft->commit = raft->log.snapshot_index;
    raft->applied = MUTANT(apply_from_log_start) ? raft->log.first - 1 : raft->commit;
    raft_use_configuration(raft, configuration, at->index);
    raft_campaign_if_alone(raft, now_ms, output);
    return ERR_OK;
}

/* The first entry of a group (4.4's end): each server that makes it is given the same
 * configuration, so entry 1 of term 1 is the same on all of them. */
static enum err bootstrap(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                          struct raft_output *output) {
    const struct raft_configuration *configuration = &event->bootstrap.configuration;
    if (raft->disk_failed) {
        return ERR_IO;
    }
    /* Term 1 without a vote is what an interrupted bootstrap leaves. */
    if (raft->log.last > 0 || raft->configuration.count > 0 || raft->hard_state.voted ||
        raft->hard_state.term > 1) {
        return ERR_EXISTS;
    }
    if (!raft_configuration_is_valid(configuration)) {
        return ERR_INVALID;
    }
    struct raft_configuration none = raft->configuration;
    raft_use_configuration(raft, configuration, 1);
    if (raft->self_at == configuration->count) {
        raft_use_configuration(raft, &none, 0);
        return ERR_INVALID;
    }
    raft->hard_state = (struct raft_hard_state){.term = 1};
    raft->hard_state_pending = true;
    output->write_hard_state = true;
    output->hard_state = raft->hard_state;
    raft_append_entries(raft, now_ms, RAFT_ENTRY_CONFIGURATION, 1, output);
    return ERR_OK;
}

static enum err propose(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                        struct raft_output *output) {
    ASSERT(event->propose.count > 0);
    if (raft->role != RAFT_LEADER) {
        return ERR_NO_LEADER;
    }
    raft_append_entries(raft, now_ms, RAFT_ENTRY_COMMAND, event->propose.count, output);
    return ERR_OK;
}

static void hard_state_persisted(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                                 struct raft_output *output) {
    const struct raft_hard_state *written = &event->hard_state_persisted.hard_state;
    if (!raft->hard_state_pending || written->term != raft->hard_state.term ||
        written->voted != raft->hard_state.voted ||
        !raft_id_equal(&written->vote, &raft->hard_state.vote)) {
        return; /* an older one; the newest is still on its way */
    }
    raft->hard_state_pending = false;
    raft_vote_persisted(raft, now_ms, output);
    raft_campaign_if_alone(raft, now_ms, output);
}

static void snapshot_taken(struct raft *raft, uint64_t index, uint64_t term,
                           struct raft_output *output) {
    ASSERT(index <= raft->commit);
    if (index <= raft->log.snapshot_index) {
        return;
    }
    raft_log_compact(&raft->log, index, term);
    output->compact_to = index;
}

static void disk_failed(struct raft *raft) {
    raft->disk_failed = true;
    raft_step_down(raft);
}

static enum err dispatch(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                         struct raft_output *output) {
    switch (event->kind) {
    case RAFT_EVENT_START:
        return start(raft, now_ms, event, output);
    case RAFT_EVENT_BOOTSTRAP:
        return bootstrap(raft, now_ms, event, output);
    case RAFT_EVENT_PROPOSE:
        return propose(raft, now_ms, event, output);
    case RAFT_EVENT_HARD_STATE_PERSISTED:
        hard_state_persisted(raft, now_ms, event, output);
        return ERR_OK;
    case RAFT_EVENT_PERSISTED:
        raft_entries_persisted(raft, now_ms, event->persisted.term, event->persisted.index);
        raft_campaign_if_alone(raft, now_ms, output);
        return ERR_OK;
    case RAFT_EVENT_SNAPSHOT_TAKEN:
        snapshot_taken(raft, event->snapshot_taken.index, event->snapshot_taken.term, output);
        return ERR_OK;
    case RAFT_EVENT_TIMER:
        /* A leader that cannot write keeps clients waiting; better that they look elsewhere. It
         * campaigns again when its disk has caught up. */
        if (now_ms >= raft_disk_deadline(raft)) {
            raft_step_down(raft);
        }
        return ERR_OK;
    case RAFT_EVENT_DISK_FAILED:
        disk_failed(raft);
        return ERR_OK;
    default:
        break;
    }
    ASSERT(!"an event that exists");
    return ERR_INVALID;
}

enum err raft_step(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                   struct raft_output *ret_output) {
    ASSERT(raft->started || event->kind == RAFT_EVENT_START);
    enum raft_role role = raft->role;
    bool leader_known = raft->leader_known;
    uint64_t commit = raft->commit;
    *ret_output = (struct raft_output){0};

    enum err err = dispatch(raft, now_ms, event, ret_output);

    ASSERT(raft->commit >= commit);
    ASSERT(raft->commit <= raft->log.last);
    ret_output->apply_first = raft->applied + 1;
    ret_output->apply_last = raft->commit;
    raft->applied = raft->commit;
    ret_output->role_changed = role != raft->role || leader_known != raft->leader_known;
    ret_output->role = raft->role;
    ret_output->term = raft->hard_state.term;
    ret_output->leader_known = raft->leader_known;
    ret_output->leader = raft->leader_known ? raft->leader : (struct raft_id){0};
    ret_output->leader_ready = raft->role == RAFT_LEADER && raft->commit >= raft->term_start;
    ret_output->commit = raft->commit;
    ret_output->deadline_at_ms = raft_disk_deadline(raft);
    return err;
}

void raft_get_status(const struct raft *raft, struct raft_status *ret_status) {
    *ret_status = (struct raft_status){
        .self = raft->self,
        .role = raft->role,
        .hard_state = raft->hard_state,
        .snapshot_index = raft->log.snapshot_index,
        .snapshot_term = raft->log.snapshot_term,
        .first = raft->log.first,
        .last = raft->log.last,
        .persisted = raft->persisted,
        .commit = raft->commit,
        .configuration_index = raft->configuration_index,
        .disk_failed = raft->disk_failed,
    };
}

const struct raft_configuration *raft_get_configuration(const struct raft *raft) {
    return &raft->configuration;
}

uint64_t raft_get_term(const struct raft *raft, uint64_t index) {
    return raft_log_term(&raft->log, index);
}

const struct raft_configuration_at *raft_get_configuration_at(const struct raft *raft,
                                                              uint64_t index) {
    (void)index;
    return raft->configuration_index > 0 ? &raft->configuration_at : NULL;
}
