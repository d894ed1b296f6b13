/* Writes and reads that need the leader: passed on when another server leads, held while none is
 * known. A write is sent again only when it surely was not appended or may be applied twice; a read
 * as often as need be. */
#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"

static const struct err_text no_leader = {"No cluster leader"};
static const struct err_text lost_leader = {
    "rpc error making call: the leader was lost, the outcome is not known"};

/* A write that is with the leader. */
struct forward {
    struct rpc_request request;
    struct group *group;
    struct forward *next, **link;
    struct raft_id leader;
    struct group_proposal *proposal;
};

/* Reads that wait for one index: from this server's core (ticket), or from the leader (request).
 * With `remote` it is another server that asks. */
struct read_round {
    struct rpc_request request;
    struct group *group;
    struct read_round *next, **link;
    uint64_t ticket;       /* 0: asked of the leader */
    struct raft_id leader; /* then: which one */
    bool consistent;
    struct group_read *list;
    bool remote;
    struct rpc_ticket asked_by;
};

/* A write that another server has passed on. */
struct passed {
    struct group_proposal proposal;
    struct group *group;
    struct rpc_ticket ticket;
    struct catalog_result outcome;
};

static int64_t now_ms(const struct group *group) {
    return loop_now_ms(group->config.loop);
}

static bool may_hold(const struct group *group) {
    return (raft_get_configuration(group->raft)->count > 0 || group->leader_known) &&
           !group->closing;
}

/* By the clock itself: the process may have been stopped since the turn began. */
static bool lease_holds(const struct group *group) {
    return group_may_read(group, false);
}

/* NULL: no other server is known to lead, there is no connection to it, or it has just said that it
 * does not (yet). */
static struct rpc_connection *to_leader(const struct group *group) {
    return group->role != RAFT_LEADER && group->leader_known && !group->leader_refused
               ? group_connection(group, &group->leader)
               : NULL;
}

struct rpc_connection *group_leader_connection(const struct group *group) {
    return to_leader(group);
}

/* ---- what is held ---- */

/* While anything is held it is looked at again this often: whether its time is over, whether the
 * leader takes it now. */
#define HOLD_TICK_MS 20

static bool holds_anything(const struct group *group) {
    return group->held != NULL || group->reads[0] != NULL || group->reads[1] != NULL;
}

static void start_hold_timer(struct group *group) {
    if (!holds_anything(group)) {
        loop_timer_stop(group->config.loop, &group->hold_timer);
        group->holding = false;
    } else if (!group->holding) {
        group->holding = true;
        loop_timer_start(group->config.loop, &group->hold_timer, now_ms(group) + HOLD_TICK_MS);
    }
}

void group_hold(struct group *group, struct group_proposal *proposal) {
    if (!may_hold(group) || proposal->hold_until_ms <= now_ms(group)) {
        group_queue_answer(group, proposal, ERR_NO_LEADER, &no_leader);
        return;
    }
    proposal->next = NULL;
    *group->held_last = proposal;
    group->held_last = &proposal->next;
    group->held_count++;
}

static struct group_proposal *take_held(struct group *group) {
    struct group_proposal *list = group->held;
    group->held = NULL;
    group->held_last = &group->held;
    group->held_count = 0;
    return list;
}

/* Those whose time is over are answered by group_hold. */
static void hold_again(struct group *group, struct group_proposal *list) {
    while (list != NULL) {
        struct group_proposal *next = list->next;
        group_hold(group, list);
        list = next;
    }
}

static void put_read(struct group *group, struct group_read *read, bool consistent) {
    read->next = NULL;
    *group->reads_last[consistent] = read;
    group->reads_last[consistent] = &read->next;
}

static void put_reads(struct group *group, struct group_read *list, bool consistent) {
    while (list != NULL) {
        struct group_read *next = list->next;
        put_read(group, list, consistent);
        list = next;
    }
}

static struct group_read *take_reads(struct group *group, bool consistent) {
    struct group_read *list = group->reads[consistent];
    group->reads[consistent] = NULL;
    group->reads_last[consistent] = &group->reads[consistent];
    return list;
}

static void answer_reads(struct group_read *list, enum err err) {
    while (list != NULL) {
        struct group_read *next = list->next;
        list->done(list, err);
        list = next;
    }
}

static void expire_reads(struct group *group, bool consistent) {
    struct group_read *list = take_reads(group, consistent);
    while (list != NULL) {
        struct group_read *next = list->next;
        if (!may_hold(group) || list->hold_until_ms <= now_ms(group)) {
            list->done(list, ERR_NO_LEADER);
        } else {
            put_read(group, list, consistent);
        }
        list = next;
    }
}

static void on_hold_timer(struct loop_timer *timer) {
    struct group *group = CONTAINER_OF(timer, struct group, hold_timer);
    group->holding = false;
    group->leader_refused = false;
    hold_again(group, take_held(group));
    expire_reads(group, false);
    expire_reads(group, true); /* what is left is passed on at the end of the turn */
}

/* ---- writes to the leader ---- */

static void unlink_forward(struct forward *forward) {
    *forward->link = forward->next;
    if (forward->next != NULL) {
        forward->next->link = forward->link;
    }
    forward->group->forward_count--;
}

static void outcome_unknown(struct group *group, struct group_proposal *proposal) {
    if (proposal->repeatable) {
        group_hold(group, proposal);
    } else {
        group_queue_answer(group, proposal, ERR_TIMEOUT, &lost_leader);
    }
}

static void forward_done(struct rpc_request *request, enum err err, const struct err_text *text,
                         const uint8_t *body, size_t size) {
    struct forward *forward = CONTAINER_OF(request, struct forward, request);
    struct group *group = forward->group;
    struct group_proposal *proposal = forward->proposal;
    unlink_forward(forward);
    free(forward);
    if (err == ERR_OK && proposal->outcome != NULL &&
        codec_decode_result(body, size, proposal->outcome) != ERR_OK) {
        struct err_text odd = {"the leader's answer cannot be read"};
        group_queue_answer(group, proposal, ERR_VERSION, &odd);
        return;
    }
    if (err == ERR_NO_LEADER) { /* surely not appended */
        group->leader_refused = true;
        group_hold(group, proposal);
        return;
    }
    bool unknown = err == ERR_CLOSED || err == ERR_TIMEOUT;
    if (unknown && MUTANT(forwarded_again)) {
        group_hold(group, proposal);
    } else if (unknown) {
        outcome_unknown(group, proposal);
    } else {
        group_queue_answer(group, proposal, err, text);
    }
}

static bool forward(struct group *group, struct rpc_connection *leader,
                    struct group_proposal *proposal) {
    struct forward *forward = mem_calloc(1, sizeof *forward);
    forward->group = group;
    forward->leader = group->leader;
    forward->proposal = proposal;
    forward->request.done = forward_done;
    if (rpc_request(leader, &forward->request, RPC_METHOD_PROPOSE, proposal->data, proposal->size,
                    LIMIT_FORWARD_MS) != ERR_OK) {
        free(forward);
        return false;
    }
    forward->next = group->forwards;
    if (forward->next != NULL) {
        forward->next->link = &forward->next;
    }
    forward->link = &group->forwards;
    group->forwards = forward;
    group->forward_count++;
    return true;
}

static void forward_held(struct group *group, struct rpc_connection *leader) {
    struct group_proposal *list = take_held(group);
    while (list != NULL) {
        struct group_proposal *next = list->next;
        if (!forward(group, leader, list)) { /* its queue is full: when there is room */
            hold_again(group, list);
            return;
        }
        list = next;
    }
}

/* ---- writes from other servers ---- */

static void passed_done(struct group_proposal *proposal, enum err err,
                        const struct err_text *text) {
    struct passed *passed = CONTAINER_OF(proposal, struct passed, proposal);
    struct buf out;
    buf_init(&out, LIMIT_RPC_FRAME_BYTES);
    codec_encode_result(&passed->outcome, &out);
    rpc_answer(passed->group->rpc, passed->ticket, err, text, out.data, out.count);
    buf_clear(&out);
    catalog_result_clear(&passed->outcome);
    free(passed);
}

static void on_propose(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                       const uint8_t *body, size_t size) {
    struct group *group = context;
    (void)from;
    if (!group_leads(group)) {
        rpc_answer(group->rpc, ticket, ERR_NO_LEADER, &no_leader, NULL, 0);
        return;
    }
    struct passed *passed = mem_calloc(1, sizeof *passed);
    passed->group = group;
    passed->ticket = ticket;
    passed->proposal.data = mem_memdup(body, size);
    passed->proposal.size = size;
    passed->proposal.outcome = &passed->outcome;
    passed->proposal.done = passed_done;
    group_propose(group, &passed->proposal);
    passed->proposal.hold_until_ms = 0; /* the server that sent it holds it */
}

/* ---- reads ---- */

static struct read_round *add_round(struct group *group, bool consistent, struct group_read *list) {
    struct read_round *round = mem_calloc(1, sizeof *round);
    round->group = group;
    round->consistent = consistent;
    round->list = list;
    round->next = group->rounds;
    if (round->next != NULL) {
        round->next->link = &round->next;
    }
    round->link = &group->rounds;
    group->rounds = round;
    return round;
}

static void free_round(struct read_round *round) {
    *round->link = round->next;
    if (round->next != NULL) {
        round->next->link = round->link;
    }
    free(round);
}

/* The index is known: answers what is applied already, the others follow. */
static void wait_applied(struct group *group, struct group_read *list, uint64_t index) {
    while (list != NULL) {
        struct group_read *next = list->next;
        list->index = index;
        list->next = group->reads_applying;
        group->reads_applying = list;
        list = next;
    }
    group_reads_applied(group);
}

void group_reads_applied(struct group *group) {
    struct group_read *list = group->reads_applying, *ready = NULL;
    uint64_t applied = view_applied(catalog_view(group->config.catalog));
    if (group->fenced) {
        return;
    }
    group->reads_applying = NULL;
    while (list != NULL) {
        struct group_read *next = list->next;
        bool is_applied = list->index <= applied || MUTANT(read_unapplied);
        struct group_read **to = is_applied ? &ready : &group->reads_applying;
        list->next = *to;
        *to = list;
        list = next;
    }
    answer_reads(ready, ERR_OK);
}

void group_expire_reads(struct group *group) {
    struct group_read *list = group->reads_applying, *over = NULL;
    group->reads_applying = NULL;
    while (list != NULL) {
        struct group_read *next = list->next;
        struct group_read **to =
            list->hold_until_ms <= now_ms(group) ? &over : &group->reads_applying;
        list->next = *to;
        *to = list;
        list = next;
    }
    answer_reads(over, ERR_NO_LEADER);
}

static void finish_round(struct read_round *round, enum err err, uint64_t index) {
    struct group *group = round->group;
    struct group_read *list = round->list;
    if (round->remote) {
        uint8_t body[GROUP_READ_BYTES_MAX];
        size_t size = err == ERR_OK ? group_wire_pack_read(round->consistent, index, body) : 0;
        rpc_answer(group->rpc, round->asked_by, err, &no_leader, body, size);
    } else if (err == ERR_OK) {
        wait_applied(group, list, index);
    } else {
        put_reads(group, list, round->consistent); /* asked again at the end of the turn */
    }
    free_round(round);
}

void group_take_reads(struct group *group, const struct raft_output *output) {
    struct read_round *next;
    for (struct read_round *round = group->rounds; round != NULL; round = next) {
        next = round->next;
        if (round->ticket == 0) {
            continue;
        }
        bool found = false;
        for (uint32_t i = 0; i < output->read_count && !found; i++) {
            if (output->reads[i].ticket == round->ticket) {
                found = true;
                finish_round(round, ERR_OK, output->reads[i].index);
            }
        }
        if (!found && output->role_changed) {
            finish_round(round, ERR_NO_LEADER, 0);
        }
    }
}

/* Asks this server's core. False: it does not lead, or too many wait. */
static bool ask_core(struct group *group, struct read_round *round) {
    round->ticket = ++group->next_ticket;
    struct raft_event event = {.kind = RAFT_EVENT_READ, .read = {.ticket = round->ticket}};
    metric_count(group->metrics.verify_leader, 1);
    return group_step(group, &event) == ERR_OK; /* which may have answered the round */
}

static void index_arrived(struct rpc_request *request, enum err err, const struct err_text *text,
                          const uint8_t *body, size_t size) {
    struct read_round *round = CONTAINER_OF(request, struct read_round, request);
    (void)text;
    uint64_t index = 0;
    bool consistent;
    if (err == ERR_OK && !group_wire_unpack_read(body, size, &consistent, &index)) {
        err = ERR_CORRUPT;
    }
    round->group->leader_refused = err != ERR_OK;
    finish_round(round, err, index);
}

static bool ask_leader(struct rpc_connection *leader, struct read_round *round) {
    uint8_t body[GROUP_READ_BYTES_MAX];
    size_t size = group_wire_pack_read(round->consistent, 0, body);
    round->leader = round->group->leader;
    round->request.done = index_arrived;
    return rpc_request(leader, &round->request, RPC_METHOD_READ_INDEX, body, size,
                       LIMIT_FORWARD_MS) == ERR_OK;
}

static void ask(struct group *group, bool consistent) {
    struct rpc_connection *leader = to_leader(group);
    if (group->reads[consistent] == NULL) {
        return;
    }
    if (!consistent && lease_holds(group)) {
        answer_reads(take_reads(group, consistent), ERR_OK);
        return;
    }
    if (!group_leads(group) && leader == NULL) {
        if (!may_hold(group)) {
            expire_reads(group, consistent);
        }
        return;
    }
    struct read_round *round = add_round(group, consistent, take_reads(group, consistent));
    struct group_read *list = round->list;
    bool asked = leader != NULL ? ask_leader(leader, round) : ask_core(group, round);
    if (!asked) {
        put_reads(group, list, consistent);
        free_round(round);
    }
}

static void on_read_index(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                          const uint8_t *body, size_t size) {
    struct group *group = context;
    (void)from;
    bool consistent;
    uint64_t index;
    if (!group_leads(group) || !group_wire_unpack_read(body, size, &consistent, &index)) {
        rpc_answer(group->rpc, ticket, ERR_NO_LEADER, &no_leader, NULL, 0);
        return;
    }
    struct read_round *round = add_round(group, consistent, NULL);
    round->remote = true;
    round->asked_by = ticket;
    if (!round->consistent && lease_holds(group)) {
        /* whatever was acknowledged is applied here */
        finish_round(round, ERR_OK, view_applied(catalog_view(group->config.catalog)));
    } else if (!ask_core(group, round)) {
        finish_round(round, ERR_NO_LEADER, 0);
    }
}

void group_read(struct group *group, struct group_read *read, bool consistent) {
    if (group->closing) {
        read->done(read, ERR_CLOSED);
        return;
    }
    read->hold_until_ms = now_ms(group) + LIMIT_LEADER_HOLD_MS;
    put_read(group, read, consistent);
}

/* ---- other questions to the leader ---- */

static void end_asked(struct group_request *request, enum err err, const struct err_text *text) {
    *request->link = request->next;
    if (request->next != NULL) {
        request->next->link = request->link;
    }
    request->done(request, err, text);
}

static void leader_answered(struct rpc_request *rpc, enum err err, const struct err_text *text,
                            const uint8_t *body, size_t size) {
    (void)body;
    (void)size;
    end_asked(CONTAINER_OF(rpc, struct group_request, rpc), err, text);
}

bool group_ask_leader(struct group *group, struct group_request *request, unsigned method,
                      const void *body, size_t size) {
    struct rpc_connection *leader = to_leader(group);
    request->rpc = (struct rpc_request){.done = leader_answered};
    if (leader == NULL ||
        rpc_request(leader, &request->rpc, method, body, size, LIMIT_FORWARD_MS) != ERR_OK) {
        return false;
    }
    request->leader = group->leader;
    request->next = group->asked;
    if (request->next != NULL) {
        request->next->link = &request->next;
    }
    request->link = &group->asked;
    group->asked = request;
    return true;
}

/* ---- another leader ---- */

/* A leader that is stopped or cut off keeps its connections, and answers nothing. Who leads now
 * answers reads; whether a write that went to the old one is in the log, nobody knows. */
static void leave_old_leader(struct group *group) {
    bool known = group->role == RAFT_LEADER || group->leader_known;
    struct forward *next;
    for (struct forward *forward = group->forwards; forward != NULL; forward = next) {
        next = forward->next;
        if (known && !raft_id_equal(&forward->leader, &group->leader)) {
            rpc_request_cancel(&forward->request);
            unlink_forward(forward);
            outcome_unknown(group, forward->proposal);
            free(forward);
        }
    }
    struct group_request *after;
    for (struct group_request *asked = group->asked; asked != NULL; asked = after) {
        after = asked->next;
        if (known && !raft_id_equal(&asked->leader, &group->leader)) {
            rpc_request_cancel(&asked->rpc);
            end_asked(asked, ERR_CLOSED, &lost_leader);
        }
    }
    struct read_round *later;
    for (struct read_round *round = group->rounds; round != NULL; round = later) {
        later = round->next;
        if (round->ticket == 0 && !(known && raft_id_equal(&round->leader, &group->leader))) {
            rpc_request_cancel(&round->request);
            finish_round(round, ERR_NO_LEADER, 0);
        }
    }
}

/* ---- the group's life ---- */

void group_forward_init(struct group *group) {
    group->held_last = &group->held;
    group->reads_last[0] = &group->reads[0];
    group->reads_last[1] = &group->reads[1];
    group->hold_timer.run = on_hold_timer;
}

void group_forward_serve(struct group *group) {
    static const struct rpc_service propose = {.request = on_propose};
    static const struct rpc_service read_index = {.request = on_read_index};
    rpc_serve(group->rpc, RPC_METHOD_PROPOSE, &propose, group);
    rpc_serve(group->rpc, RPC_METHOD_READ_INDEX, &read_index, group);
}

static void splice(struct group_proposal ***last, size_t *count, struct group_proposal *list) {
    **last = list;
    while (**last != NULL) {
        ++*count;
        *last = &(**last)->next;
    }
}

void group_forward_turn_end(struct group *group) {
    bool moved = group->leader_moved;
    if (moved) {
        group->leader_moved = false;
        leave_old_leader(group);
    }
    bool anything = group->waiting != NULL || group->held != NULL || group->reads[0] != NULL ||
                    group->reads[1] != NULL || moved;
    if (!anything) {
        return;
    }
    struct rpc_connection *leader = to_leader(group);
    if (group_leads(group)) {
        splice(&group->waiting_last, &group->waiting_count, take_held(group));
        group_propose_waiting(group);
    } else {
        struct group_proposal *list = group->waiting;
        group->waiting = NULL;
        group->waiting_last = &group->waiting;
        group->waiting_count = 0;
        hold_again(group, list);
        if (leader != NULL) {
            forward_held(group, leader);
        }
    }
    ask(group, false);
    ask(group, true);
    if (!group->entry_begun) {
        group_answer_applied(group);
    }
    start_hold_timer(group);
}

void group_forward_clear(struct group *group, const struct err_text *text) {
    group_answer_list(group, take_held(group), ERR_CLOSED, text);
    while (group->forwards != NULL) {
        struct forward *first = group->forwards;
        rpc_request_cancel(&first->request);
        unlink_forward(first);
        group_queue_answer(group, first->proposal, ERR_CLOSED, text);
        free(first);
    }
    while (group->asked != NULL) {
        rpc_request_cancel(&group->asked->rpc);
        end_asked(group->asked, ERR_CLOSED, text);
    }
    while (group->rounds != NULL) {
        struct read_round *first = group->rounds;
        rpc_request_cancel(&first->request);
        answer_reads(first->list, ERR_CLOSED);
        free_round(first);
    }
    answer_reads(take_reads(group, false), ERR_CLOSED);
    answer_reads(take_reads(group, true), ERR_CLOSED);
    answer_reads(group->reads_applying, ERR_CLOSED);
    group->reads_applying = NULL;
    loop_timer_stop(group->config.loop, &group->hold_timer);
}
