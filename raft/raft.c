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

static uint32_t or_default(uint32_t value, uint32_t otherwise) {
    return value != 0 ? value : otherwise;
}

struct raft *raft_create(const struct raft_options *options) {
    struct raft *raft = mem_calloc(1, sizeof *raft);
    struct raft_options *own = &raft->options;
    *own = *options;
    own->heartbeat_ms = or_default(own->heartbeat_ms, LIMIT_RAFT_HEARTBEAT_MS);
    own->election_ms = or_default(own->election_ms, LIMIT_RAFT_ELECTION_MS);
    own->disk_stall_ms = or_default(own->disk_stall_ms, LIMIT_RAFT_DISK_STALL_MS);
    own->append_bytes = or_default(own->append_bytes, LIMIT_RAFT_APPEND_BYTES);
    own->inflight_bytes = or_default(own->inflight_bytes, LIMIT_RAFT_INFLIGHT_BYTES);
    own->trailing_bytes = or_default(own->trailing_bytes, LIMIT_RAFT_TRAILING_BYTES);
    raft->self = options->self;
    rand_init(&raft->rand, options->seed);
    raft->life = rand_next(&raft->rand);
    raft->log.first = 1;
    raft->may_lead = true;
    return raft;
}

void raft_destroy(struct raft *raft) {
    if (raft != NULL) {
        raft_clear_configurations(raft);
        raft_log_clear(&raft->log);
        raft_sizes_clear(&raft->sizes);
        free(raft->reads);
        free(raft->messages);
        free(raft->answered_reads);
        free(raft);
    }
}

struct raft_message *raft_add_message(struct raft *raft, enum raft_message_kind kind,
                                      const struct raft_id *to) {
    if (raft->message_count == raft->message_capacity) {
        raft->message_capacity += raft->message_capacity + 8;
        raft->messages =
            mem_realloc(raft->messages, raft->message_capacity * sizeof *raft->messages);
    }
    struct raft_message *message = &raft->messages[raft->message_count++];
    *message = (struct raft_message){
        .kind = kind, .from = raft->self, .to = *to, .term = raft->hard_state.term};
    return message;
}

void raft_write_hard_state(struct raft *raft, struct raft_output *output) {
    raft->hard_state_pending = true;
    output->write_hard_state = true;
    output->hard_state = raft->hard_state;
}

/* ---- events ---- */

static bool configurations_fit(const struct raft_event *event) {
    uint64_t before = 0;
    uint64_t last = event->start.log_last > event->start.snapshot_index
                        ? event->start.log_last
                        : event->start.snapshot_index; /* a log that will be reset */
    for (uint32_t i = 0; i < event->start.configuration_count; i++) {
        const struct raft_configuration_at *at = &event->start.configurations[i];
        if (at->index <= before || at->index > last ||
            !raft_configuration_is_valid(&at->configuration)) {
            return false;
        }
        before = at->index;
    }
    return true;
}

static void load_configurations(struct raft *raft, const struct raft_event *event) {
    for (uint32_t i = 0; i < event->start.configuration_count; i++) {
        const struct raft_configuration_at *at = &event->start.configurations[i];
        if (at->index <= raft->log.last) {
            raft_push_configuration(raft, &at->configuration, at->index);
        }
    }
    raft_compact_configurations(raft, raft->log.snapshot_index);
}

static enum err start(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                      struct raft_output *output) {
    ASSERT(!raft->started);
    bool reset;
    if (!configurations_fit(event) || !raft_log_load(&raft->log, event, &reset)) {
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
    raft->verified = raft->commit;
    raft->repairing = event->start.needs_repair;
    if (event->start.sizes != NULL && !reset) {
        raft_sizes_copy(&raft->sizes, event->start.sizes);
    }
    if (raft->sizes.last.index != raft->log.last) {
        raft->sizes.count = 0;
        raft->sizes.last = (struct raft_size_mark){.index = raft->log.last};
    }
    if (reset) {
        raft->cuts++;
        output->reset = true;
        output->reset_to = raft->log.last;
    }
    load_configurations(raft, event);
    /* It may have answered a heartbeat just before it went down: see raft_lease_until. */
    bool blank = raft->hard_state.term == 0 && raft->log.last == 0;
    raft->vote_allowed_at_ms = blank ? now_ms : now_ms + raft->options.election_ms;
    raft_rest_election(raft, now_ms);
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
    if (raft->log.last > 0 || raft->configuration_count > 0 || raft->hard_state.voted ||
        raft->hard_state.term > 1) {
        return ERR_EXISTS;
    }
    bool member = false;
    for (uint32_t i = 0; i < configuration->count && i < LIMIT_RAFT_SERVERS; i++) {
        member |= raft_id_equal(&configuration->servers[i].id, &raft->self);
    }
    if (!raft_configuration_is_valid(configuration) || !member) {
        return ERR_INVALID;
    }
    raft->hard_state = (struct raft_hard_state){.term = 1};
    raft_write_hard_state(raft, output);
    raft_append_entries(raft, now_ms, RAFT_ENTRY_CONFIGURATION, 1, NULL, output);
    raft_push_configuration(raft, configuration, 1);
    raft_rest_election(raft, now_ms);
    return ERR_OK;
}

static enum err propose(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                        struct raft_output *output) {
    ASSERT(event->propose.count > 0);
    if (raft->role != RAFT_LEADER) {
        return ERR_NO_LEADER;
    }
    if (raft->transferring) {
        return ERR_OVERLOADED;
    }
    raft_append_entries(raft, now_ms, RAFT_ENTRY_COMMAND, event->propose.count,
                        event->propose.sizes, output);
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
    raft_answer_vote(raft);
    if (raft->answer_due && raft->leader_known && raft->role == RAFT_FOLLOWER) {
        raft_answer_append(raft);
    }
    raft->answer_due = false;
}

static void disk_failed(struct raft *raft, uint64_t now_ms) {
    raft->disk_failed = true;
    raft_step_down(raft, now_ms);
}

static void may_lead(struct raft *raft, uint64_t now_ms, bool may) {
    raft->may_lead = may;
    if (!may && raft->role != RAFT_FOLLOWER) {
        raft_step_down(raft, now_ms);
    }
}

static void timer(struct raft *raft, uint64_t now_ms, struct raft_output *output) {
    /* A leader that cannot write keeps clients waiting; better that they look elsewhere. One that
     * no majority hears, too (6.2). */
    if (now_ms >= raft_disk_deadline(raft) || now_ms >= raft_quorum_deadline(raft)) {
        raft_step_down(raft, now_ms);
    }
    if (raft->transferring && now_ms >= raft->transfer_until_ms) {
        raft_end_transfer(raft); /* 3.10: goes on as before */
    }
    raft_election_timer(raft, now_ms, output);
}

static void message(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                    struct raft_output *output) {
    const struct raft_message *m = event->message.message;
    if (!raft_id_equal(&m->to, &raft->self) || raft_id_equal(&m->from, &raft->self) ||
        m->term >= UINT64_MAX / 2) {
        return;
    }
    bool answers = m->kind == RAFT_MESSAGE_APPEND_ANSWER ||
                   m->kind == RAFT_MESSAGE_SNAPSHOT_ANSWER ||
                   (m->kind == RAFT_MESSAGE_VOTE_ANSWER && !m->vote_answer.granted);
    if (answers && m->term > raft->hard_state.term && raft_find_peer(raft, &m->from) != NULL) {
        raft_enter_term(raft, now_ms, m->term, output);
        return;
    }
    switch (m->kind) {
    case RAFT_MESSAGE_VOTE_REQUEST:
        raft_receive_vote_request(raft, now_ms, m, output);
        break;
    case RAFT_MESSAGE_VOTE_ANSWER:
        raft_receive_vote_answer(raft, now_ms, m, output);
        break;
    case RAFT_MESSAGE_APPEND:
        raft_receive_append(raft, now_ms, event, output);
        break;
    case RAFT_MESSAGE_APPEND_ANSWER:
        raft_receive_append_answer(raft, now_ms, m);
        break;
    case RAFT_MESSAGE_SNAPSHOT:
        raft_receive_snapshot(raft, now_ms, m, output);
        break;
    case RAFT_MESSAGE_SNAPSHOT_ANSWER:
        raft_receive_snapshot_answer(raft, now_ms, m);
        break;
    case RAFT_MESSAGE_TIMEOUT_NOW:
        raft_receive_timeout_now(raft, now_ms, m, output);
        break;
    }
}

static enum err dispatch_driver(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                                struct raft_output *output) {
    switch (event->kind) {
    case RAFT_EVENT_MAY_LEAD:
        may_lead(raft, now_ms, event->may_lead.may);
        return ERR_OK;
    case RAFT_EVENT_UNREACHABLE:
        raft_unreachable(raft, &event->unreachable.id);
        return ERR_OK;
    case RAFT_EVENT_SNAPSHOT_TAKEN:
        raft_snapshot_taken(raft, event->snapshot_taken.index, event->snapshot_taken.term, output);
        return ERR_OK;
    case RAFT_EVENT_SNAPSHOT_WRITTEN:
        raft_snapshot_written(raft, event, output);
        return ERR_OK;
    case RAFT_EVENT_SNAPSHOT_INSTALLED:
        raft_snapshot_installed(raft, event, output);
        return ERR_OK;
    case RAFT_EVENT_SNAPSHOT_FAILED:
        raft_snapshot_failed(raft);
        return ERR_OK;
    case RAFT_EVENT_SNAPSHOT_GONE:
        raft_snapshot_gone(raft, &event->snapshot_gone.id);
        return ERR_OK;
    case RAFT_EVENT_REPAIR_NOTED:
        raft->repairing = false;
        return ERR_OK;
    default:
        ASSERT(!"an event that exists");
        return ERR_INVALID;
    }
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
        raft_entries_persisted(raft, now_ms, event);
        return ERR_OK;
    case RAFT_EVENT_TIMER:
        timer(raft, now_ms, output);
        return ERR_OK;
    case RAFT_EVENT_DISK_FAILED:
        disk_failed(raft, now_ms);
        return ERR_OK;
    case RAFT_EVENT_MESSAGE:
        message(raft, now_ms, event, output);
        return ERR_OK;
    case RAFT_EVENT_READ:
        return raft_read(raft, event->read.ticket);
    case RAFT_EVENT_CHANGE:
        return raft_change(raft, now_ms, event, output);
    case RAFT_EVENT_TRANSFER:
        return raft_transfer(raft, now_ms, event);
    default:
        return dispatch_driver(raft, now_ms, event, output);
    }
}

/* ---- what follows from the state, whatever the event ---- */

/* 4.2.2: a leader that is no voter any more goes, once that is committed, and says who may come. */
static void leave_if_removed(struct raft *raft, uint64_t now_ms) {
    if (raft->role != RAFT_LEADER || raft_is_voter(raft) ||
        raft->commit < raft_configuration_index(raft)) {
        return;
    }
    struct raft_event any = {.kind = RAFT_EVENT_TRANSFER, .transfer = {.any = true}};
    raft_end_transfer(raft);
    if (raft_transfer(raft, now_ms, &any) == ERR_OK) {
        raft_push_transfer(raft);
    }
    raft_step_down(raft, now_ms);
}

static void act_as_leader(struct raft *raft, uint64_t now_ms) {
    if (raft->role != RAFT_LEADER) {
        return;
    }
    raft_advance_commit(raft);
    raft_answer_reads(raft);
    raft_push_transfer(raft);
    raft_replicate(raft, now_ms);
    leave_if_removed(raft, now_ms);
}

static void hand_out(struct raft *raft, struct raft_output *output) {
    uint64_t to = raft->commit < raft->persisted ? raft->commit : raft->persisted;
    if (MUTANT(apply_uncommitted) && raft->role == RAFT_FOLLOWER) {
        to = raft->persisted;
    }
    output->apply_first = raft->applied + 1;
    output->apply_last = raft->applied;
    if (to > raft->applied && !raft->receiving.installing) {
        raft->applied = output->apply_last = to;
    }
}

static uint64_t earlier(uint64_t a, uint64_t b) {
    return a < b ? a : b;
}

static uint64_t deadline(const struct raft *raft) {
    if (raft->role == RAFT_LEADER) {
        uint64_t at = earlier(raft_disk_deadline(raft), raft_quorum_deadline(raft));
        at = raft->transferring ? earlier(at, raft->transfer_until_ms) : at;
        bool alone = raft_configuration(raft)->count == 1 && raft_is_voter(raft);
        return alone ? at : earlier(at, raft->heartbeat_at_ms);
    }
    bool waits = raft->leader_known || (raft_is_electable(raft) && !raft_was_always_alone(raft));
    return waits && !raft->disk_failed ? raft->election_at_ms : RAFT_NEVER;
}

static void describe(struct raft *raft, uint64_t now_ms, struct raft_output *output) {
    output->messages = raft->messages;
    output->message_count = raft->message_count;
    output->reads = raft->answered_reads;
    output->read_count = raft->answered_read_count;
    output->role = raft->role;
    output->term = raft->hard_state.term;
    output->leader_known = raft->leader_known;
    output->leader = raft->leader_known ? raft->leader : (struct raft_id){0};
    output->leader_ready = raft_is_ready(raft);
    output->transferring = raft->transferring;
    output->commit = raft->commit;
    output->lease_until_ms = raft_lease_until(raft, now_ms);
    output->deadline_at_ms = deadline(raft);
}

enum err raft_step(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                   struct raft_output *ret_output) {
    ASSERT(raft->started || event->kind == RAFT_EVENT_START);
    enum raft_role role = raft->role;
    bool leader_known = raft->leader_known;
    struct raft_id leader = raft->leader;
    uint64_t commit = raft->commit;
    *ret_output = (struct raft_output){0};
    raft->message_count = 0;
    raft->answered_read_count = 0;

    enum err err = dispatch(raft, now_ms, event, ret_output);
    if (err == ERR_OK) {
        if (ret_output->append.count == 0 && !ret_output->write_hard_state) {
            raft_campaign_if_alone(raft, now_ms, ret_output);
        }
        act_as_leader(raft, now_ms);
        raft_judge_repair(raft, ret_output);
        hand_out(raft, ret_output);
    } else {
        ret_output->apply_first = raft->applied + 1;
        ret_output->apply_last = raft->applied;
    }
    ASSERT(raft->commit >= commit);
    ASSERT(raft->commit <= raft->log.last);
    ret_output->role_changed = role != raft->role || leader_known != raft->leader_known ||
                               (leader_known && !raft_id_equal(&leader, &raft->leader));
    describe(raft, now_ms, ret_output);
    return err;
}

/* ---- what others see ---- */

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
        .configuration_index = raft_configuration_index(raft),
        .leader_known = raft->leader_known,
        .leader = raft->leader, /* if leader_known */
        .leader_contact_at_ms = raft->leader_contact_at_ms,
        .voter = raft_is_voter(raft),
        .disk_failed = raft->disk_failed,
        .repairing = raft->repairing,
    };
}

const struct raft_configuration *raft_get_configuration(const struct raft *raft) {
    return raft_configuration(raft);
}

const struct raft_configuration_at *raft_get_configuration_at(const struct raft *raft,
                                                              uint64_t index) {
    const struct raft_configuration_at *found = NULL;
    for (uint32_t i = 0; i < raft->configuration_count; i++) {
        if (raft->configurations[i].index <= index) {
            found = &raft->configurations[i];
        }
    }
    return found;
}

uint64_t raft_get_term(const struct raft *raft, uint64_t index) {
    return raft_log_term(&raft->log, index);
}

bool raft_get_peer(const struct raft *raft, uint32_t i, struct raft_peer_status *ret_peer) {
    const struct raft_configuration *configuration = raft_configuration(raft);
    if (raft->role != RAFT_LEADER || i >= configuration->count || i == raft->self_at) {
        return false;
    }
    const struct raft_peer *peer = &raft->peers[i];
    *ret_peer = (struct raft_peer_status){
        .id = configuration->servers[i].id,
        .voter = configuration->servers[i].voter,
        .match = peer->match,
        .next = peer->next,
        .contact_at_ms = peer->answered ? peer->contact_at_ms : 0,
        .snapshot = peer->snapshot != NULL,
        .repairing = peer->repair_to > 0,
    };
    return true;
}
