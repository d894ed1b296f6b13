/* Proposals, and the entries that the log thread writes. */
#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"

#define RETRY_MS 500 /* of an append that found the disk full */

/* ---- answers ---- */

void group_queue_answer(struct group *group, struct group_proposal *proposal, enum err err,
                        const struct err_text *text) {
    free(proposal->data); /* of one that was never appended */
    proposal->data = NULL;
    proposal->next = NULL;
    proposal->result = err;
    proposal->text = err != ERR_OK ? mem_memdup(text, sizeof *text) : NULL;
    *group->applied_last = proposal;
    group->applied_last = &proposal->next;
}

/* A client that is answered can read its write: the view comes first. */
void group_answer_applied(struct group *group) {
    static const struct err_text nothing = {""};
    struct group_proposal *proposal = group->applied_list;
    group->applied_list = NULL;
    group->applied_last = &group->applied_list;
    while (proposal != NULL) {
        struct group_proposal *next = proposal->next;
        struct err_text *text = proposal->text;
        if (proposal->timing != NULL) {
            metric_sample(proposal->timing,
                          metrics_ms_since(proposal->proposed_at_ns, metrics_clock_ns()));
        }
        proposal->done(proposal, proposal->result, text != NULL ? text : &nothing);
        free(text);
        proposal = next;
    }
}

void group_answer_list(struct group *group, struct group_proposal *list, enum err err,
                       const struct err_text *text) {
    while (list != NULL) {
        struct group_proposal *next = list->next;
        group_queue_answer(group, list, err, text);
        list = next;
    }
}

static struct group_proposal *take_waiting(struct group *group, uint32_t count) {
    struct group_proposal *first = group->waiting, *last = first;
    for (uint32_t i = 1; i < count; i++) {
        last = last->next;
    }
    group->waiting = last->next;
    if (group->waiting == NULL) {
        group->waiting_last = &group->waiting;
    }
    last->next = NULL;
    group->waiting_count -= count;
    return first;
}

void group_clear_waiting(struct group *group, enum err err, const struct err_text *text) {
    if (group->waiting != NULL) {
        group_answer_list(group, take_waiting(group, (uint32_t)group->waiting_count), err, text);
    }
}

void group_answer_appended(struct group *group, enum err err, const struct err_text *text) {
    for (uint32_t i = 0; i < group->tail.count; i++) {
        struct batch *batch = log_tail_get(&group->tail, i);
        struct group_proposal *list = batch->proposals;
        batch->proposals = NULL;
        group_answer_list(group, list, err, text);
    }
}

/* ---- proposals ---- */

void group_propose(struct group *group, struct group_proposal *proposal) {
    struct err_text text = {""};
    enum err err = ERR_OK;
    proposal->next = NULL;
    proposal->proposed_at_ns = metrics_clock_ns();
    proposal->hold_until_ms = loop_now_ms(group->config.loop) + LIMIT_LEADER_HOLD_MS;
    if (group->closing) {
        err = err_set(&text, ERR_CLOSED, "the agent is stopping");
    } else if (proposal->data == NULL || proposal->size > LIMIT_ENTRY_BYTES) {
        err = err_set(&text, ERR_TOO_LARGE, "the request is larger than a log entry may be");
    } else if (group->waiting_count + group->held_count + group->forward_count >=
               LIMIT_PROPOSALS_PENDING) {
        err = err_set(&text, ERR_OVERLOADED, "too many writes are waiting");
    }
    if (err != ERR_OK) {
        group_queue_answer(group, proposal, err, &text);
        return;
    }
    *group->waiting_last = proposal;
    group->waiting_last = &proposal->next;
    group->waiting_count++;
}

static void propose(struct group *group, uint32_t count) {
    struct raft_output output;
    uint32_t sizes[LIMIT_PROPOSALS_PER_TURN];
    struct group_proposal *proposal = group->waiting;
    for (uint32_t i = 0; i < count; i++, proposal = proposal->next) {
        sizes[i] = (uint32_t)proposal->size;
    }
    struct raft_event event = {.kind = RAFT_EVENT_PROPOSE,
                               .propose = {.count = count, .sizes = sizes}};
    enum err err =
        raft_step(group->raft, (uint64_t)loop_now_ms(group->config.loop), &event, &output);
    struct group_proposal *taken = take_waiting(group, count);
    if (err == ERR_OK) {
        ASSERT(output.append.count == count && !output.append.received);
        group_follow(group, &output, taken);
        return;
    }
    while (taken != NULL) { /* it led a moment ago, or hands over: the next leader takes them */
        struct group_proposal *next = taken->next;
        group_hold(group, taken);
        taken = next;
    }
}

void group_propose_waiting(struct group *group) {
    if (group->waiting != NULL && group->storage != NULL && !storage_has_space(group->storage)) {
        struct err_text text = {"the disk of the data directory is full"};
        group_clear_waiting(group, ERR_NO_SPACE, &text);
        group_maybe_snapshot(group); /* a compacted log may make room */
        return;
    }
    while (group->waiting != NULL) {
        propose(group, group->waiting_count < LIMIT_PROPOSALS_PER_TURN
                           ? (uint32_t)group->waiting_count
                           : LIMIT_PROPOSALS_PER_TURN);
    }
}

/* ---- writes ---- */

static void batch_back(struct loop_task *task);

/* Log thread. */
static void batch_done(void *context, enum err result, const char *message) {
    struct batch *batch = context;
    batch->err = result;
    err_set(&batch->text, result, "%s", message != NULL ? message : "");
    loop_post(batch->group->config.loop, &batch->task);
}

static void send_batch(struct group *group, struct batch *batch) {
    batch->task.run = batch_back;
    batch->refused = false;
    batch->writing = true;
    batch->sent_at_ns = metrics_clock_ns();
    group->appends_under_way++;
    if (group->storage != NULL) {
        storage_append(group->storage, batch->entries, batch->kept, batch_done, batch);
    } else {
        batch->err = ERR_OK;
        loop_post(group->config.loop, &batch->task);
    }
}

static void start_retry_timer(struct group *group) {
    group->retrying = true;
    loop_timer_start(group->config.loop, &group->retry_timer,
                     loop_now_ms(group->config.loop) + RETRY_MS);
}

/* A snapshot comes first: it lets the log be compacted, which makes room. Space that has come back
 * would else go to the log, again and again. */
void group_retry_refused(struct loop_timer *timer) {
    struct group *group = CONTAINER_OF(timer, struct group, retry_timer);
    group->retrying = false;
    if (group->closing) {
        return;
    }
    group_maybe_snapshot(group);
    if (group->snapshot_writing || group->compactions > 0) {
        start_retry_timer(group);
        return;
    }
    for (uint32_t i = 0; i < group->tail.count; i++) {
        struct batch *batch = log_tail_get(&group->tail, i);
        if (batch->refused) {
            send_batch(group, batch);
        }
    }
}

static void note_persisted(struct group *group, struct batch *batch) {
    uint32_t count = MUTANT(late_sync) ? batch->count : batch->kept;
    const struct store_entry *last = &batch->entries[count - 1];
    struct raft_event event = {
        .kind = RAFT_EVENT_PERSISTED,
        .persisted = {.term = last->term, .index = last->index, .cuts = batch->cuts}};
    batch->persisted = true;
    if (group->full_told) {
        group->full_told = false;
        log_write(group->config.log, LOG_INFO, MODULE, "the disk has space again");
    }
    metric_sample(group->metrics.dispatch_log,
                  metrics_ms_since(batch->sent_at_ns, metrics_clock_ns()));
    metric_set(group->metrics.dispatch_logs, batch->count);
    group_step(group, &event);
}

static void batch_back(struct loop_task *task) {
    struct batch *batch = CONTAINER_OF(task, struct batch, task);
    struct group *group = batch->group;
    bool refused = false;
    group->appends_under_way--;
    if (group->closing) {
        log_tail_release(batch);
        return;
    }
    if (batch->err != ERR_OK && batch->err != ERR_NO_SPACE) {
        group_fail_disk(group, batch->text.s);
    } else if (batch->dropped && !MUTANT(late_sync)) {
        /* cut off meanwhile: the core no longer asks about them */
    } else if (batch->err == ERR_NO_SPACE) {
        batch->refused = refused = true;
    } else {
        note_persisted(group, batch);
    }
    log_tail_release(batch);
    if (refused && group->appends_under_way == 0 && !group->retrying) {
        log_write(group->config.log, group->full_told ? LOG_DEBUG : LOG_ERROR, MODULE,
                  "the disk is full, writes wait until there is space");
        group->full_told = true;
        start_retry_timer(group);
    }
}

/* ---- appends ---- */

/* The core's own: commands in the order of the proposals, a configuration, or a no-op. */
static void fill_own(struct group *group, struct batch *batch, const struct raft_append *append) {
    struct group_proposal *proposal = batch->proposals;
    for (uint32_t i = 0; i < append->count; i++) {
        struct store_entry *entry = &batch->entries[i];
        *entry = (struct store_entry){
            .index = append->first + i, .term = append->term, .kind = (uint8_t)append->kind};
        if (append->kind == RAFT_ENTRY_COMMAND) {
            entry->payload = proposal->data;
            entry->size = (uint32_t)proposal->size;
            proposal->data = NULL;
            proposal = proposal->next;
        } else if (append->kind == RAFT_ENTRY_CONFIGURATION) {
            struct buf out;
            size_t size = 0;
            buf_init(&out, RAFT_CONFIGURATION_BYTES_MAX);
            raft_configuration_encode(raft_get_configuration(group->raft), &out);
            entry->payload = buf_take(&out, &size);
            entry->size = (uint32_t)size;
        }
        batch->bytes += entry->size;
    }
    if (append->kind == RAFT_ENTRY_COMMAND) {
        metric_count(group->metrics.apply, append->count);
    }
}

/* Those of the message that is being stepped, from number `skip` on. */
static void fill_received(const struct raft_decoded *decoded, struct batch *batch,
                          const struct raft_append *append) {
    size_t offset = 0, bytes = 0;
    for (uint32_t i = 0; i < append->skip; i++) {
        offset += decoded->entries[i].size;
    }
    for (uint32_t i = 0; i < append->count; i++) {
        bytes += decoded->entries[append->skip + i].size;
    }
    ASSERT(offset + bytes <= decoded->payload_size);
    batch->block = bytes > 0 ? mem_memdup(decoded->payload + offset, bytes) : mem_alloc(1);
    batch->bytes += bytes;
    const uint8_t *at = batch->block;
    for (uint32_t i = 0; i < append->count; i++) {
        const struct raft_entry_head *head = &decoded->entries[append->skip + i];
        batch->entries[i] = (struct store_entry){.index = append->first + i,
                                                 .term = append->term,
                                                 .kind = (uint8_t)head->kind,
                                                 .payload = at,
                                                 .size = head->size};
        at += head->size;
    }
}

void group_append(struct group *group, const struct raft_append *append,
                  struct group_proposal *proposals) {
    struct batch *batch = mem_calloc(1, sizeof *batch);
    batch->group = group;
    batch->count = batch->kept = append->count;
    batch->cuts = append->cuts;
    batch->appended_at_ns = metrics_clock_ns();
    batch->entries = mem_calloc(append->count, sizeof *batch->entries);
    batch->bytes = sizeof *batch + append->count * sizeof *batch->entries;
    batch->proposals = proposals;
    if (append->received) {
        fill_received(group->received, batch, append);
    } else {
        fill_own(group, batch, append);
    }
    log_tail_push(&group->tail, batch);
    send_batch(group, batch);
}

/* ---- cuts ---- */

static void cut_done(void *context, enum err result, const char *message) {
    (void)context; /* an error comes back with the next append, too */
    (void)result;
    (void)message;
}

void group_cut(struct group *group, const struct raft_output *output) {
    static const struct err_text lost = {"leadership lost while committing log"};
    if (output->reset) {
        group_answer_appended(group, ERR_TIMEOUT, &lost);
        log_tail_clear(&group->tail, false);
        if (group->storage != NULL) {
            storage_reset(group->storage, cut_done, group);
        }
    } else if (output->truncate_from != 0) {
        struct group_proposal *list = NULL;
        log_tail_cut(&group->tail, output->truncate_from, &list);
        group_answer_list(group, list, ERR_TIMEOUT, &lost);
        if (group->storage != NULL) {
            storage_truncate(group->storage, output->truncate_from, cut_done, group);
        }
    }
}

void group_trim(struct group *group) {
    log_tail_trim(&group->tail, group->peer_count > 0 ? LIMIT_LOG_TAIL_BYTES : 0);
}
