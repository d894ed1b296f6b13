#include "agent/group.h"

#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"

#define RETRY_MS 500 /* of an append that found the disk full */
#define STOP_MS 1000 /* each for log and snapshot thread: 2 s in all */

static const struct err_text no_leader = {"No cluster leader"};

/* ---- what others see ---- */

bool group_has_leader(const struct group *group) {
    return atomic_load_explicit(&group->has_leader, memory_order_acquire);
}

bool group_had_leader(const struct group *group) {
    return atomic_load_explicit(&group->had_leader, memory_order_acquire);
}

void group_get_status(const struct group *group, struct group_status *ret_status) {
    struct group *writable = (struct group *)(uintptr_t)group;
    pthread_mutex_lock(&writable->status_mutex);
    *ret_status = group->status;
    pthread_mutex_unlock(&writable->status_mutex);
}

void group_refresh_status(struct group *group) {
    struct raft_status raft;
    raft_get_status(group->raft, &raft);
    pthread_mutex_lock(&group->status_mutex);
    group->status = (struct group_status){
        .term = raft.hard_state.term,
        .last_index = raft.last,
        .last_term = raft_get_term(group->raft, raft.last),
        .commit_index = raft.commit,
        .applied_index = group->applied,
        .snapshot_index = raft.snapshot_index,
        .snapshot_term = raft.snapshot_term,
        .configuration_index = raft.configuration_index,
        .leader = atomic_load(&group->has_leader),
    };
    pthread_mutex_unlock(&group->status_mutex);
}

/* Leadership counts for others once everything committed is applied here (Ongaro 6.4). */
void group_judge_leadership(struct group *group) {
    bool leader = group->leader_ready && group->applied >= group->apply_to && !group->disk_failed &&
                  !group->applying_failed;
    if (leader == atomic_load(&group->has_leader)) {
        return;
    }
    atomic_store(&group->has_leader, leader);
    if (leader) {
        atomic_store(&group->had_leader, true);
        log_write(group->config.log, LOG_INFO, "agent.server", "cluster leadership acquired");
        log_write(group->config.log, LOG_INFO, "agent.server", "New leader elected");
    } else {
        log_write(group->config.log, LOG_WARN, "agent.server", "cluster leadership lost");
    }
    group->config.leader_changed(group->config.context, leader);
}

/* ---- proposals ---- */

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

void group_propose(struct group *group, struct group_proposal *proposal) {
    struct err_text text = {""};
    enum err err = ERR_OK;
    proposal->next = NULL;
    proposal->proposed_at_ns = metrics_clock_ns();
    if (group->closing) {
        err = err_set(&text, ERR_CLOSED, "the agent is stopping");
    } else if (group->disk_failed) {
        err = err_set(&text, ERR_NO_LEADER, "No cluster leader");
    } else if (proposal->data == NULL || proposal->size > LIMIT_ENTRY_BYTES) {
        err = err_set(&text, ERR_TOO_LARGE, "the request is larger than a log entry may be");
    } else if (group->waiting_count >= LIMIT_PROPOSALS_PENDING) {
        err = err_set(&text, ERR_OVERLOADED, "too many writes are waiting");
    } else if (group->storage != NULL && !storage_has_space(group->storage)) {
        err = err_set(&text, ERR_NO_SPACE, "the disk of the data directory is full");
        group_maybe_snapshot(group); /* a compacted log may make room */
    }
    if (err != ERR_OK) {
        group_queue_answer(group, proposal, err, &text);
        return;
    }
    *group->waiting_last = proposal;
    group->waiting_last = &proposal->next;
    group->waiting_count++;
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

static void answer_list(struct group *group, struct group_proposal *proposal, enum err err,
                        const struct err_text *text) {
    while (proposal != NULL) {
        struct group_proposal *next = proposal->next;
        group_queue_answer(group, proposal, err, text);
        proposal = next;
    }
}

static void clear_waiting(struct group *group, enum err err, const struct err_text *text) {
    if (group->waiting != NULL) {
        answer_list(group, take_waiting(group, (uint32_t)group->waiting_count), err, text);
    }
}

/* What is in the log and not applied: nobody can say what becomes of it. */
static void answer_appended(struct group *group, enum err err, const struct err_text *text) {
    for (struct batch *batch = group->batches; batch != NULL; batch = batch->next) {
        answer_list(group, batch->proposals, err, text);
        batch->proposals = NULL;
    }
}

/* ---- appends ---- */

void group_free_batch(struct batch *batch) {
    for (uint32_t i = 0; i < batch->count; i++) {
        free((void *)(uintptr_t)batch->entries[i].payload);
    }
    free(batch->entries);
    free(batch);
}

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
    batch->sent_at_ns = metrics_clock_ns();
    group->appends_under_way++;
    if (group->storage != NULL) {
        storage_append(group->storage, batch->entries, batch->count, batch_done, batch);
    } else {
        batch->err = ERR_OK;
        loop_post(group->config.loop, &batch->task);
    }
}

void group_fail_disk(struct group *group, const char *message) {
    if (group->disk_failed) {
        return;
    }
    log_write(group->config.log, LOG_ERROR, MODULE,
              "the disk failed, this server leaves the quorum; replace the disk and restart: "
              "error=\"%s\"",
              message);
    group->disk_failed = true;
    struct err_text text;
    err_set(&text, ERR_IO, "the disk failed: %.256s", message);
    answer_appended(group, ERR_IO, &text);
    clear_waiting(group, ERR_IO, &text);
    struct raft_event event = {.kind = RAFT_EVENT_DISK_FAILED};
    group_step(group, &event);
}

static void retry_refused(struct loop_timer *timer) {
    struct group *group = CONTAINER_OF(timer, struct group, retry_timer);
    group->retrying = false;
    for (struct batch *batch = group->batches; batch != NULL; batch = batch->next) {
        if (batch->refused) {
            send_batch(group, batch);
        }
    }
}

static void batch_back(struct loop_task *task) {
    struct batch *batch = CONTAINER_OF(task, struct batch, task);
    struct group *group = batch->group;
    group->appends_under_way--;
    if (group->closing) {
        return;
    }
    if (batch->err == ERR_NO_SPACE) {
        batch->refused = true;
    } else if (batch->err != ERR_OK) {
        group_fail_disk(group, batch->text.s);
    } else {
        const struct store_entry *last = &batch->entries[batch->count - 1];
        struct raft_event event = {.kind = RAFT_EVENT_PERSISTED,
                                   .persisted = {.term = last->term, .index = last->index}};
        batch->persisted = true;
        metric_sample(group->metrics.dispatch_log,
                      metrics_ms_since(batch->sent_at_ns, metrics_clock_ns()));
        metric_set(group->metrics.dispatch_logs, batch->count);
        group_step(group, &event);
    }
    if (batch->refused && group->appends_under_way == 0 && !group->retrying) {
        log_write(group->config.log, LOG_ERROR, MODULE,
                  "the disk is full, writes wait until there is space");
        group->retrying = true;
        loop_timer_start(group->config.loop, &group->retry_timer,
                         loop_now_ms(group->config.loop) + RETRY_MS);
    }
}

static void append(struct group *group, const struct raft_append *append,
                   struct group_proposal *proposals) {
    struct batch *batch = mem_calloc(1, sizeof *batch);
    batch->group = group;
    batch->count = append->count;
    batch->appended_at_ns = metrics_clock_ns();
    batch->entries = mem_calloc(append->count, sizeof *batch->entries);
    batch->proposals = proposals;
    struct group_proposal *proposal = proposals;
    for (uint32_t i = 0; i < append->count; i++) {
        batch->entries[i] = (struct store_entry){
            .index = append->first + i, .term = append->term, .kind = (uint8_t)append->kind};
        if (append->kind == RAFT_ENTRY_COMMAND) {
            batch->entries[i].payload = proposal->data;
            batch->entries[i].size = (uint32_t)proposal->size;
            proposal->data = NULL;
            proposal = proposal->next;
        }
    }
    if (append->kind == RAFT_ENTRY_COMMAND) {
        metric_count(group->metrics.apply, append->count);
    }
    if (append->kind == RAFT_ENTRY_CONFIGURATION) {
        struct buf out;
        size_t size = 0;
        buf_init(&out, RAFT_CONFIGURATION_BYTES_MAX);
        raft_configuration_encode(&group->bootstrap, &out);
        batch->entries[0].payload = buf_take(&out, &size);
        batch->entries[0].size = (uint32_t)size;
    }
    *group->batches_last = batch;
    group->batches_last = &batch->next;
    send_batch(group, batch);
}

void group_turn_end(struct group *group) {
    if (!group->entry_begun) {       /* else what was applied before it is not yet published */
        group_answer_applied(group); /* refused ones */
    }
    while (group->waiting != NULL) {
        uint32_t count = group->waiting_count < LIMIT_PROPOSALS_PER_TURN
                             ? (uint32_t)group->waiting_count
                             : LIMIT_PROPOSALS_PER_TURN;
        struct raft_output output;
        struct raft_event event = {.kind = RAFT_EVENT_PROPOSE, .propose = {.count = count}};
        if (!group_has_leader(group) ||
            raft_step(group->raft, (uint64_t)loop_now_ms(group->config.loop), &event, &output) !=
                ERR_OK) {
            clear_waiting(group, ERR_NO_LEADER, &no_leader);
            return;
        }
        ASSERT(output.append.count == count && !output.write_hard_state);
        append(group, &output.append, take_waiting(group, count));
    }
}

/* ---- hard state ---- */

static void vote_back(struct loop_task *task) {
    struct vote_write *write = CONTAINER_OF(task, struct vote_write, task);
    struct group *group = write->group;
    if (group->closing) {
        free(write);
        return;
    }
    if (write->err != ERR_OK) {
        group_fail_disk(group, write->text.s);
    } else {
        struct raft_event event = {.kind = RAFT_EVENT_HARD_STATE_PERSISTED,
                                   .hard_state_persisted = {.hard_state = write->state}};
        group_step(group, &event);
    }
    free(write);
}

/* Log thread. */
static void vote_done(void *context, enum err result, const char *message) {
    struct vote_write *write = context;
    write->err = result;
    err_set(&write->text, result, "%s", message != NULL ? message : "");
    loop_post(write->group->config.loop, &write->task);
}

static void write_hard_state(struct group *group, const struct raft_hard_state *state) {
    struct vote_write *write = mem_calloc(1, sizeof *write);
    write->group = group;
    write->state = *state;
    write->task.run = vote_back;
    if (group->storage != NULL) {
        storage_write_hard_state(group->storage, state, vote_done, write);
    } else {
        loop_post(group->config.loop, &write->task);
    }
}

/* ---- the core ---- */

static void on_raft_timer(struct loop_timer *timer) {
    struct group *group = CONTAINER_OF(timer, struct group, raft_timer);
    struct raft_event event = {.kind = RAFT_EVENT_TIMER};
    group_step(group, &event);
}

static void follow_output(struct group *group, const struct raft_output *output) {
    if (output->write_hard_state) {
        write_hard_state(group, &output->hard_state);
    }
    if (output->append.count > 0) {
        append(group, &output->append, NULL);
    }
    group->leader_ready = output->leader_ready;
    if (output->apply_first <= output->apply_last && output->apply_last > group->apply_to) {
        group->apply_to = output->apply_last;
        group_post_apply(group);
    }
    if (output->compact_to > 0 && group->storage != NULL) {
        group->compacting = true;
        storage_compact(group->storage, output->compact_to, group_compact_done, group);
    }
    if (output->role_changed) {
        log_write(group->config.log, LOG_INFO, MODULE, "entering %s state: term=%llu",
                  raft_role_name(output->role), (unsigned long long)output->term);
        group_metrics_role(&group->metrics, output->role);
        if (output->role != RAFT_LEADER) {
            static const struct err_text lost = {"leadership lost while committing log"};
            answer_appended(group, ERR_TIMEOUT, &lost);
        }
        group_judge_leadership(group);
    }
    if (output->deadline_at_ms != RAFT_NEVER) {
        loop_timer_start(group->config.loop, &group->raft_timer, (int64_t)output->deadline_at_ms);
    } else {
        loop_timer_stop(group->config.loop, &group->raft_timer);
    }
    group_refresh_status(group);
}

void group_step(struct group *group, const struct raft_event *event) {
    struct raft_output output;
    uint64_t now_ms = (uint64_t)loop_now_ms(group->config.loop);
    enum err err = raft_step(group->raft, now_ms, event, &output);
    if (err != ERR_OK) {
        log_write(group->config.log, LOG_ERROR, MODULE, "the core refused an event: error=\"%s\"",
                  err_name(err));
        return;
    }
    follow_output(group, &output);
}

/* ---- start and stop ---- */

static enum err start_core(struct group *group, const struct storage_start *start,
                           struct err_text *text) {
    struct raft_output output;
    struct raft_event event = {.kind = RAFT_EVENT_START};
    uint64_t now_ms = (uint64_t)loop_now_ms(group->config.loop);
    if (start != NULL) {
        event.start.hard_state = start->hard_state;
        event.start.snapshot_index = start->snapshot_index;
        event.start.snapshot_term = start->snapshot_term;
        event.start.log_first = start->log_first;
        event.start.log_last = start->log_last;
        event.start.runs = start->runs;
        event.start.run_count = start->run_count;
        event.start.configuration = start->configuration;
        event.start.configuration_index = start->configuration_index;
        group->applied = group->apply_to = start->snapshot_index;
        group->snapshot_bytes = start->snapshot_bytes;
    } else {
        event.start.log_first = 1;
    }
    enum err err = raft_step(group->raft, now_ms, &event, &output);
    if (err != ERR_OK) {
        return err_set(text, err,
                       "the log and the snapshot in the data directory do not fit "
                       "together; restore the directory from a backup");
    }
    follow_output(group, &output);
    if (raft_get_configuration(group->raft)->count == 0 && group->config.bootstrap) {
        group->bootstrap = (struct raft_configuration){
            .count = 1, .servers = {{.id = group->self, .voter = true}}};
        event = (struct raft_event){.kind = RAFT_EVENT_BOOTSTRAP};
        event.bootstrap.configuration = group->bootstrap;
        err = raft_step(group->raft, now_ms, &event, &output);
        if (err != ERR_OK) {
            return err_set(text, err, "cannot make a new group: %s", err_name(err));
        }
        follow_output(group, &output);
    }
    return ERR_OK;
}

/* Who this disk is in its group stays as it was written there, whatever became of the node's id:
 * under another one no vote would count, and a group of one would have no leader ever again. */
static void recognise_self(struct group *group, const struct raft_configuration *configuration) {
    for (uint32_t i = 0; i < configuration->count; i++) {
        const struct raft_id *id = &configuration->servers[i].id;
        if (memcmp(&id->disk, &group->self.disk, sizeof id->disk) == 0) {
            group->self = *id;
        }
    }
}

struct uuid group_node(const struct group *group) {
    return group->self.node;
}

struct group *group_create(const struct group_config *config, struct err_text *text) {
    struct group *group = mem_calloc(1, sizeof *group);
    group->config = *config;
    group_metrics_init(&group->metrics, config->metrics);
    group->waiting_last = &group->waiting;
    group->batches_last = &group->batches;
    group->applied_last = &group->applied_list;
    group->raft_timer.run = on_raft_timer;
    group->retry_timer.run = retry_refused;
    pthread_mutex_init(&group->status_mutex, NULL);
    rand_init(&group->rand, config->random_seed);
    uint8_t random[16];
    rand_bytes(&group->rand, random, sizeof random);
    group->self = (struct raft_id){.node = config->node, .disk = uuid_from_random(random)};
    struct storage_start start = {0};
    enum err err = ERR_OK;
    if (config->data_dir != NULL) {
        rand_bytes(&group->rand, random, sizeof random);
        struct uuid cluster = uuid_from_random(random);
        err = storage_open(config->data_dir, &group->self.disk, &cluster, config->bootstrap,
                           config->catalog, &group->storage, &start, text);
        group->self.disk = start.disk;
        recognise_self(group, &start.configuration);
    }
    group->raft = raft_create(&group->self);
    if (err == ERR_OK) {
        err = start_core(group, config->data_dir != NULL ? &start : NULL, text);
    }
    free(start.runs);
    if (err != ERR_OK) {
        group_destroy(group);
        return NULL;
    }
    if (start.cut) {
        log_write(config->log, LOG_WARN, MODULE,
                  "cut a torn tail that was never acknowledged off the log");
    }
    return group;
}

bool group_destroy(struct group *group) {
    if (group == NULL) {
        return true;
    }
    struct err_text text = {"the agent is stopping"};
    group->closing = true;
    clear_waiting(group, ERR_CLOSED, &text);
    answer_appended(group, ERR_CLOSED, &text);
    group_answer_applied(group);
    bool stopped = group->storage == NULL || storage_close(group->storage, STOP_MS);
    if (!stopped) {
        log_write(group->config.log, LOG_ERROR, MODULE, "the disk hangs, stopping without it");
    }
    loop_flush(group->config.loop);             /* the threads' last reports */
    while (stopped && group->batches != NULL) { /* else the log thread may still read them */
        struct batch *batch = group->batches;
        group->batches = batch->next;
        group_free_batch(batch);
    }
    loop_timer_stop(group->config.loop, &group->raft_timer);
    loop_timer_stop(group->config.loop, &group->retry_timer);
    raft_destroy(group->raft);
    pthread_mutex_destroy(&group->status_mutex);
    if (stopped) {
        free(group);
    }
    return stopped;
}
