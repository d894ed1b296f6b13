#include "agent/group.h"

#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"

#define STOP_MS 3000 /* each for log, snapshot and reading thread: 9 s at worst */

/* ---- what others see ---- */

bool group_has_leader(const struct group *group) {
    return atomic_load_explicit(&group->has_leader, memory_order_acquire);
}

bool group_had_leader(const struct group *group) {
    return atomic_load_explicit(&group->had_leader, memory_order_acquire);
}

bool group_leads(const struct group *group) {
    return atomic_load_explicit(&group->leads, memory_order_acquire);
}

bool group_may_read(const struct group *group, bool consistent) {
    if (consistent) {
        return atomic_load_explicit(&group->view_is_newest, memory_order_acquire);
    }
    int64_t until_ms = atomic_load_explicit(&group->lease_at_ms, memory_order_acquire);
    int64_t at_ms = MUTANT(lease_by_turn) ? loop_now_ms(group->config.loop) : clock_monotonic_ms();
    return until_ms == INT64_MAX || (until_ms > 0 && at_ms < until_ms);
}

int64_t group_contact_ms(const struct group *group) {
    int64_t at_ms = atomic_load_explicit(&group->contact_at_ms, memory_order_relaxed);
    if (at_ms == INT64_MAX) {
        return 0;
    }
    int64_t now_ms = clock_monotonic_ms();
    return at_ms <= 0 ? -1 : now_ms > at_ms ? now_ms - at_ms : 0;
}

const struct raft_id *group_self(const struct group *group) {
    return &group->self;
}

void group_get_status(const struct group *group, struct group_status *ret_status) {
    struct group *writable = (struct group *)(uintptr_t)group;
    pthread_mutex_lock(&writable->status_mutex);
    *ret_status = group->status;
    pthread_mutex_unlock(&writable->status_mutex);
    ret_status->contact_ms = group_contact_ms(group);
}

int64_t group_silence_ms(const struct group *group) {
    unsigned multiplier = group->config.raft_multiplier;
    return 2 * LIMIT_RAFT_ELECTION_MS * (int64_t)(multiplier > 1 ? multiplier : 1);
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
        .role = raft.role,
        .leader = group_leads(group),
        .leader_known = raft.leader_known,
        .leader_id = raft.leader,
    };
    pthread_mutex_unlock(&group->status_mutex);
    int64_t contact_ms = (int64_t)raft.leader_contact_at_ms;
    bool leads = raft.role == RAFT_LEADER;
    if (!leads && atomic_load_explicit(&group->contact_at_ms, memory_order_relaxed) == INT64_MAX) {
        /* One that led has had its group behind it until an election timeout ago, at least. */
        int64_t silence_ms = group_silence_ms(group), now_ms = loop_now_ms(group->config.loop);
        group->led_until_ms = now_ms > silence_ms ? now_ms - silence_ms : 1;
    }
    contact_ms = contact_ms > group->led_until_ms ? contact_ms : group->led_until_ms;
    atomic_store_explicit(&group->contact_at_ms, leads ? INT64_MAX : contact_ms,
                          memory_order_relaxed);
}

/* ---- leadership ---- */

static void publish_lease(struct group *group) {
    int64_t until_ms = !group_leads(group)                   ? 0
                       : group->lease_until_ms == RAFT_NEVER ? INT64_MAX
                                                             : (int64_t)group->lease_until_ms;
    atomic_store_explicit(&group->lease_at_ms, until_ms, memory_order_release);
    /* A sole voter need not ask anybody, but 6.4 holds for it, too: a learner may already show what
     * is committed, and this view not. */
    bool has_all = view_applied(catalog_view(group->config.catalog)) >= group->commit ||
                   MUTANT(alone_unapplied);
    atomic_store_explicit(&group->view_is_newest, until_ms == INT64_MAX && has_all,
                          memory_order_release);
}

static void log_leader(struct group *group) {
    const struct peer *peer = group_find_peer(group, &group->leader);
    char id[UUID_TEXT_BYTES];
    uuid_format(&group->leader.node, id);
    bool self = raft_id_equal(&group->leader, &group->self);
    log_write(group->config.log, LOG_INFO, "agent.server", "New leader elected: payload=%s",
              self           ? group->config.name
              : peer != NULL ? peer->server.name
                             : id);
}

/* This server's leadership counts for others once all is applied here that was committed when it
 * became ready (Ongaro 6.4). */
void group_judge_leadership(struct group *group) {
    bool ready = group->leader_ready || (group->role == RAFT_LEADER && MUTANT(read_before_ready));
    bool applied = group->applied >= group->lead_from || MUTANT(leads_unapplied);
    bool leads = ready && applied && !group->disk_failed && !group->applying_failed;
    bool known = leads || (group->role != RAFT_LEADER && group->leader_known);
    bool led = group_leads(group), knew = group_has_leader(group);
    if (known != knew) {
        group_refresh_peers(group); /* shows who leads */
    }
    atomic_store(&group->leads, leads);
    atomic_store(&group->has_leader, known);
    publish_lease(group);
    if (known) {
        atomic_store(&group->had_leader, true);
    }
    if (leads != led) {
        log_write(group->config.log, leads ? LOG_INFO : LOG_WARN, "agent.server",
                  "cluster leadership %s", leads ? "acquired" : "lost");
        group->config.leader_changed(group->config.context, leads);
        group_members_note(group);
    }
    if (known && (!knew || !raft_id_equal(&group->leader, &group->logged_leader))) {
        group->logged_leader = group->leader;
        log_leader(group);
    }
    if (known != knew) {
        group->config.leader_known(group->config.context, known);
    }
}

/* ---- hard state ---- */

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
    group_answer_appended(group, ERR_IO, &text);
    struct raft_event event = {.kind = RAFT_EVENT_DISK_FAILED};
    group_step(group, &event);
}

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

static void note_role(struct group *group, const struct raft_output *output) {
    static const struct err_text lost = {"leadership lost while committing log"};
    if (output->role != group->role) {
        log_write(group->config.log, LOG_INFO, MODULE, "entering %s state: term=%llu",
                  raft_role_name(output->role), (unsigned long long)output->term);
        group_metrics_role(&group->metrics, output->role);
        if (group->role == RAFT_LEADER) {
            group_answer_appended(group, MUTANT(lost_is_refused) ? ERR_NO_LEADER : ERR_TIMEOUT,
                                  &lost);
        }
    }
    group->leader_moved = group->leader_moved || output->role != group->role ||
                          output->leader_known != group->leader_known ||
                          !raft_id_equal(&output->leader, &group->leader);
    group->role = output->role;
    group->leader_known = output->leader_known;
    if (output->leader_known) {
        group->leader = output->leader;
    }
}

/* ---- rot ---- */

static void clear_repair(struct storage_job *job) {
    struct repair *repair = CONTAINER_OF(job, struct repair, job);
    repair->err = storage_clear_repair(repair->group->storage, &repair->text);
}

static void repair_back(struct storage_job *job) {
    struct repair *repair = CONTAINER_OF(job, struct repair, job);
    struct group *group = repair->group;
    repair->busy = false;
    if (group->closing) {
        return;
    }
    if (repair->err != ERR_OK) {
        group_fail_disk(group, repair->text.s);
        return;
    }
    log_write(group->config.log, LOG_INFO, MODULE, "peers have given back what was lost");
    struct raft_event event = {.kind = RAFT_EVENT_REPAIR_NOTED};
    group_step(group, &event);
}

static void note_repaired(struct group *group) {
    if (!group->repair.busy && group->storage != NULL) {
        group->repair.busy = true;
        group->repair.group = group;
        group->repair.job.run = clear_repair;
        group->repair.job.done = repair_back;
        storage_run(group->storage, &group->repair.job);
    }
}

/* The order of raft.h. */
void group_follow(struct group *group, const struct raft_output *output,
                  struct group_proposal *proposals) {
    if (output->write_hard_state) {
        write_hard_state(group, &output->hard_state);
    }
    group_cut(group, output);
    if (output->append.count > 0) {
        group_append(group, &output->append, proposals);
    }
    group->lease_until_ms = output->lease_until_ms;
    group->commit = output->commit;
    publish_lease(group); /* before messages end it, or tell others of the commit */
    group_send(group, output);
    if (output->apply_first <= output->apply_last && output->apply_last > group->apply_to) {
        group->apply_to = output->apply_last;
        group_post_apply(group);
    }
    if (output->compact_to > 0 && group->storage != NULL) {
        group_compact(group, output->compact_to);
    }
    if (output->snapshot_piece) {
        group_install_piece(group);
    }
    if (output->install) {
        group_install(group, output);
    }
    if (output->repaired) {
        note_repaired(group);
    }
    if (output->leader_ready && !group->leader_ready) {
        group->lead_from = output->commit;
    }
    group->leader_ready = output->leader_ready;
    if (output->role_changed) {
        note_role(group, output);
    }
    group_judge_leadership(group);
    group_take_reads(group, output);
    if (output->deadline_at_ms != RAFT_NEVER) {
        loop_timer_start(group->config.loop, &group->raft_timer, (int64_t)output->deadline_at_ms);
    } else {
        loop_timer_stop(group->config.loop, &group->raft_timer);
    }
    group_refresh_status(group);
}

enum err group_step(struct group *group, const struct raft_event *event) {
    struct raft_output output;
    uint64_t now_ms = (uint64_t)loop_now_ms(group->config.loop);
    enum err err = raft_step(group->raft, now_ms, event, &output);
    if (err == ERR_OK) {
        group_follow(group, &output, NULL);
    }
    return err;
}

void group_turn_end(struct group *group) {
    if (!group->entry_begun) {       /* else what was applied before it is not yet published */
        group_answer_applied(group); /* refused ones */
    }
    if (group_leads(group)) {
        group_propose_waiting(group);
    }
    group_forward_turn_end(group);
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
        event.start.configurations = start->configurations;
        event.start.configuration_count = start->configuration_count;
        event.start.sizes = start->needs_repair ? NULL : &start->sizes;
        event.start.needs_repair = start->needs_repair;
        group->applied = group->apply_to = start->snapshot_index;
        if (MUTANT(apply_from_log_start)) {
            group->applied = start->log_first - 1;
        }
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
    group_follow(group, &output, NULL);
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

/* ---- a group for a blank server ---- */

/* Of the first servers, so that each of them makes the same one. */
static struct uuid derive_cluster(const struct raft_configuration *configuration) {
    uint8_t bytes[16] = {0};
    for (uint32_t i = 0; i < configuration->count; i++) { /* order does not matter */
        const struct raft_id *id = &configuration->servers[i].id;
        for (uint64_t half = 0; half < 2; half++) {
            uint64_t hash = hash_bytes(half + 1, id, sizeof *id);
            for (size_t k = 0; k < 8; k++) {
                bytes[half * 8 + k] ^= (uint8_t)(hash >> (8 * k));
            }
        }
    }
    return uuid_from_random(bytes);
}

bool group_get_cluster(const struct group *group, struct uuid *ret_cluster) {
    bool has = group->storage != NULL && storage_has_cluster(group->storage);
    if (has) {
        *ret_cluster = storage_cluster(group->storage);
    }
    return has;
}

/* In memory alone there is none, but nobody may begin another. */
bool group_has_cluster(const struct group *group) {
    return group->storage == NULL || storage_has_cluster(group->storage);
}

void group_attach(struct group *group, struct rpc *rpc) {
    struct uuid cluster;
    group->rpc = rpc;
    rpc_set_server(rpc, &group->self.node, &group->self.disk);
    if (group_get_cluster(group, &cluster)) {
        rpc_set_cluster(rpc, &cluster);
    }
    group_peers_serve(group);
}

enum err group_join_cluster(struct group *group, const struct uuid *cluster,
                            struct err_text *text) {
    enum err err = ERR_OK;
    if (group->storage != NULL && !storage_has_cluster(group->storage)) {
        err = storage_join(group->storage, cluster, group->config.catalog, text);
        if (err == ERR_OK && group->rpc != NULL) {
            rpc_set_cluster(group->rpc, cluster);
            group_peers_reconnect(group);
        }
        if (err == ERR_OK) {
            group->config.joined(group->config.context);
        }
    }
    return err;
}

enum err group_bootstrap(struct group *group, const struct raft_configuration *configuration,
                         struct err_text *text) {
    if (raft_get_configuration(group->raft)->count > 0) {
        return err_set(text, ERR_EXISTS, "this server is in a group already");
    }
    struct uuid cluster = derive_cluster(configuration);
    enum err err = group_join_cluster(group, &cluster, text);
    if (err == ERR_OK) {
        struct raft_event event = {.kind = RAFT_EVENT_BOOTSTRAP};
        event.bootstrap.configuration = *configuration;
        err = group_step(group, &event);
        if (err != ERR_OK) {
            err_set(text, err, "cannot make a new group: %s", err_name(err));
        }
    }
    return err;
}

static enum err bootstrap_alone(struct group *group, struct err_text *text) {
    struct raft_configuration alone = {.count = 1, .servers = {{.id = group->self, .voter = true}}};
    return group_bootstrap(group, &alone, text);
}

/* ---- life ---- */

static void init(struct group *group, const struct group_config *config) {
    group->config = *config;
    group_metrics_init(&group->metrics, config->metrics);
    group->waiting_last = &group->waiting;
    group->applied_last = &group->applied_list;
    group->raft_timer.run = on_raft_timer;
    group->retry_timer.run = group_retry_refused;
    group->install.group = group;
    pthread_mutex_init(&group->status_mutex, NULL);
    rand_init(&group->rand, config->random_seed);
    group_forward_init(group);
    group_check_init(group);
    group_heal_init(group);
}

static enum err open_storage(struct group *group, struct storage_start *start,
                             struct err_text *text) {
    const struct group_config *config = &group->config;
    uint8_t random[16];
    rand_bytes(&group->rand, random, sizeof random);
    struct uuid cluster = uuid_from_random(random);
    enum err err = storage_open(config->data_dir, &group->self.disk, &cluster, config->bootstrap,
                                config->loop, config->catalog, &group->storage, start, text);
    if (err == ERR_OK) {
        group->self.disk = start->disk;
        if (start->configuration_count > 0) {
            recognise_self(group,
                           &start->configurations[start->configuration_count - 1].configuration);
        }
    }
    return err;
}

struct group *group_create(const struct group_config *config, struct err_text *text) {
    struct group *group = mem_calloc(1, sizeof *group);
    init(group, config);
    uint8_t random[16];
    rand_bytes(&group->rand, random, sizeof random);
    group->self = (struct raft_id){.node = config->node, .disk = uuid_from_random(random)};
    struct storage_start start = {0};
    enum err err = config->data_dir != NULL ? open_storage(group, &start, text) : ERR_OK;
    uint32_t multiplier = config->raft_multiplier > 0 ? config->raft_multiplier : 1;
    struct raft_options options = {.self = group->self,
                                   .seed = rand_next(&group->rand),
                                   .heartbeat_ms = LIMIT_RAFT_HEARTBEAT_MS * multiplier,
                                   .election_ms = LIMIT_RAFT_ELECTION_MS * multiplier};
    group->raft = raft_create(&options);
    if (err == ERR_OK) {
        err = start_core(group, config->data_dir != NULL ? &start : NULL, text);
    }
    if (err == ERR_OK && config->bootstrap && raft_get_configuration(group->raft)->count == 0) {
        err = bootstrap_alone(group, text);
    }
    bool cut = start.cut, needs_repair = start.needs_repair, recovered = start.recovered_now;
    storage_start_clear(&start);
    if (err != ERR_OK) {
        group_destroy(group);
        return NULL;
    }
    if (needs_repair) {
        log_write(config->log, LOG_ERROR, MODULE,
                  "entries of the log have rotted: this server neither votes nor leads until its "
                  "peers have given them back; look at the disk");
    }
    if (recovered) {
        log_write(
            config->log, LOG_WARN, MODULE,
            "took the servers of the group from raft/peers.json, which is removed: servers=%u",
            (unsigned)raft_get_configuration(group->raft)->count);
    }
    if (cut) {
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
    group_clear_waiting(group, ERR_CLOSED, &text);
    group_answer_appended(group, ERR_CLOSED, &text);
    group_forward_clear(group, &text);
    group_answer_applied(group);
    group_members_clear(group);
    group_check_clear(group);
    group_heal_stop(group);
    bool stopped = group->storage == NULL || storage_close(group->storage, STOP_MS);
    if (!stopped) {
        log_write(group->config.log, LOG_ERROR, MODULE, "the disk hangs, stopping without it");
    }
    loop_flush(group->config.loop); /* the threads' last reports */
    loop_timer_stop(group->config.loop, &group->raft_timer);
    loop_timer_stop(group->config.loop, &group->retry_timer);
    group_peers_clear(group);
    if (stopped) { /* else threads may still read what there is */
        group_install_clear(group);
        group_heal_clear(group);
        log_tail_clear(&group->tail, true);
    }
    raft_destroy(group->raft);
    pthread_mutex_destroy(&group->status_mutex);
    if (stopped) {
        free(group);
    }
    return stopped;
}
