#include "gossip/gossip.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "gossip/internal.h"

/* changed_at counts from so long before the pool was made: what it hears of may be older. */
#define ORIGIN_MS (INT64_C(500) * 24 * 3600 * 1000)

bool gossip_address_equal(const struct gossip_address *a, const struct gossip_address *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

int gossip_incarnation_compare(struct gossip_incarnation a, struct gossip_incarnation b) {
    if (a.boot_epoch != b.boot_epoch) {
        return a.boot_epoch < b.boot_epoch ? -1 : 1;
    }
    return a.counter < b.counter ? -1 : a.counter > b.counter;
}

void task_start(struct gossip *gossip, struct task *task, uint64_t deadline_ms) {
    timer_start(&gossip->timers, &task->timer, (int64_t)deadline_ms);
}

void task_stop(struct gossip *gossip, struct task *task) {
    timer_stop(&gossip->timers, &task->timer);
}

bool task_started(const struct task *task) {
    return timer_started(&task->timer);
}

uint64_t random_below(struct gossip *gossip, uint64_t bound) {
    return bound == 0 ? 0 : rand_below(&gossip->rand, bound);
}

bool one_in(struct gossip *gossip, uint32_t n) {
    return random_below(gossip, n) == 0;
}

uint64_t scale_by_awareness(const struct gossip *gossip, uint64_t ms) {
    return ms * (1 + gossip->awareness);
}

void awareness_change(struct gossip *gossip, int delta) {
    if (!gossip->config.lifeguard) {
        return;
    }
    int64_t awareness = (int64_t)gossip->awareness + delta;
    int64_t most = gossip->config.awareness_max;
    gossip->awareness = (uint32_t)(awareness < 0 ? 0 : awareness > most ? most : awareness);
}

void refute(struct gossip *gossip, struct gossip_incarnation said) {
    struct gossip_incarnation own = gossip->records[SELF].incarnation;
    if (gossip_incarnation_compare(said, own) >= 0 && !MUTANT(refute_keeps_incarnation)) {
        if (said.boot_epoch > own.boot_epoch || said.counter == UINT32_MAX) {
            own.boot_epoch = said.boot_epoch + (said.counter == UINT32_MAX);
            gossip->output->store_boot_epoch = true;
            gossip->output->boot_epoch = own.boot_epoch;
        }
        own.counter = said.counter + 1;
        set_incarnation(gossip, SELF, own);
        awareness_change(gossip, 1);
        gossip->counters[GOSSIP_REFUTED]++;
        tell(gossip, GOSSIP_CHANGE_REFUTED, gossip->records[SELF].descriptor, own);
    }
    queue_rumour(gossip, SELF);
    /* The accused are not talked to: what was told meanwhile is asked for. */
    if (gossip->events != NULL) {
        sync_soon(gossip);
    }
}

bool is_isolated(const struct gossip *gossip, uint64_t since_ms) {
    return gossip->config.lifeguard && live_count(gossip) > 2 && gossip->heard_at_ms < since_ms &&
           gossip->now_ms < gossip->heard_at_ms + gossip->config.isolated_ms &&
           !MUTANT(isolated_judges);
}

/* ---- making ---- */

static void init_tasks(struct gossip *gossip) {
    const struct gossip_config *config = &gossip->config;
    gossip->probe_round.kind = TASK_PROBE_ROUND;
    gossip->gossip_round.kind = TASK_GOSSIP_ROUND;
    gossip->sync_round.kind = TASK_SYNC_ROUND;
    gossip->reconnect_round.kind = TASK_RECONNECT_ROUND;
    gossip->reap_round.kind = TASK_REAP_ROUND;
    gossip->guard_round.kind = TASK_GUARD_ROUND;
    gossip->leave.kind = TASK_LEAVE;
    uint64_t now = gossip->now_ms;
    task_start(gossip, &gossip->probe_round, now + random_below(gossip, config->probe_interval_ms));
    task_start(gossip, &gossip->sync_round,
               now + config->sync_interval_ms / 2 + random_below(gossip, config->sync_interval_ms));
    task_start(gossip, &gossip->reconnect_round, now + config->sync_interval_ms);
    task_start(gossip, &gossip->reap_round, now + 1000);
}

enum err gossip_create(const struct gossip_config *config, const struct gossip_info *self,
                       uint32_t boot_epoch, uint64_t now_ms, const struct rand *rand,
                       struct gossip_descriptors *descriptors, struct gossip **ret_gossip,
                       struct err_text *text) {
    enum err err = gossip_config_check(config, text);
    if (err != ERR_OK) {
        return err;
    }
    const struct gossip_descriptor *descriptor = descriptor_from_info(descriptors, self);
    if (descriptor == NULL) {
        return err_set(text, ERR_INVALID,
                       "name, address and tags of this member are out of bounds");
    }
    struct gossip *gossip = mem_calloc(1, sizeof *gossip);
    gossip->config = *config;
    gossip->pool_hash = (uint32_t)hash_bytes(0x706f6f6c, config->pool, strlen(config->pool));
    gossip->config.pool = NULL;
    gossip->descriptors = descriptors;
    gossip->rand = *rand;
    gossip->origin_ms = (int64_t)now_ms - ORIGIN_MS;
    gossip->created_at_ms = now_ms;
    gossip->created_boot_epoch = boot_epoch;
    gossip->now_ms = now_ms;
    gossip->now_us = now_ms * 1000;
    gossip->clock_origin_us = (int64_t)gossip->now_us;
    gossip->deadline_at_ms = GOSSIP_NEVER;
    gossip->heard_at_ms = now_ms;
    gossip->self_accuser = accuser_of(&self->id);
    gossip->sequence = (uint32_t)rand_next(&gossip->rand);
    gossip->stream_next = 1;
    timers_init(&gossip->timers);
    vivaldi_init(&gossip->vivaldi);
    uint32_t record =
        add_record(gossip, descriptor, (struct gossip_incarnation){boot_epoch, 0}, GOSSIP_ALIVE);
    ASSERT(record == SELF);
    init_tasks(gossip);
    *ret_gossip = gossip;
    return ERR_OK;
}

void gossip_destroy(struct gossip *gossip) {
    if (gossip == NULL) {
        return;
    }
    for (uint32_t i = 0; i < gossip->record_count; i++) {
        descriptor_release(gossip->descriptors, gossip->records[i].descriptor);
    }
    for (uint32_t i = 0; i < gossip->activity_count; i++) {
        free(gossip->activities[i]);
    }
    for (uint32_t i = 0; i < gossip->probe_count; i++) {
        free(gossip->probes[i]);
    }
    for (uint32_t i = 0; i < gossip->relay_count; i++) {
        free(gossip->relays[i]);
    }
    timers_clear(&gossip->timers);
    events_clear(gossip);
    free(gossip->records);
    free(gossip->index);
    free(gossip->order);
    free(gossip->activities);
    free(gossip->activity_free_places);
    free(gossip->relays);
    free(gossip->exchanges);
    free(gossip->client_deaths);
    free(gossip->coordinates);
    free(gossip);
}

enum err gossip_load_member(struct gossip *gossip, const struct gossip_info *info,
                            struct gossip_incarnation incarnation) {
    if (find_record(gossip, &info->id) != NO_RECORD) {
        return ERR_EXISTS;
    }
    const struct gossip_descriptor *descriptor = descriptor_from_info(gossip->descriptors, info);
    if (descriptor == NULL ||
        add_record(gossip, descriptor, incarnation, GOSSIP_ALIVE) == NO_RECORD) {
        return ERR_INVALID;
    }
    return ERR_OK;
}

/* ---- stepping ---- */

static void leave_done(struct gossip *gossip) {
    if (!gossip->left) {
        gossip->left = true;
        tell(gossip, GOSSIP_CHANGE_LEAVE_DONE, NULL, gossip->records[SELF].incarnation);
    }
}

static enum err leave(struct gossip *gossip) {
    if (gossip->leaving) {
        return ERR_CLOSED;
    }
    gossip->leaving = true;
    task_stop(gossip, &gossip->probe_round);
    task_stop(gossip, &gossip->sync_round);
    set_state(gossip, SELF, GOSSIP_LEFT);
    if (live_count(gossip) == 0) {
        leave_done(gossip);
        return ERR_OK;
    }
    tell_servers(gossip);
    queue_rumour(gossip, SELF);
    task_start(gossip, &gossip->leave, gossip->now_ms + gossip->config.leave_propagate_ms);
    task_start(gossip, &gossip->gossip_round, gossip->now_ms);
    return ERR_OK;
}

static enum err update_self(struct gossip *gossip, const struct gossip_info *info) {
    const struct gossip_info *own = &gossip->records[SELF].descriptor->info;
    if (memcmp(&info->id, &own->id, sizeof own->id) != 0 || info->server != own->server) {
        return ERR_INVALID;
    }
    const struct gossip_descriptor *descriptor = descriptor_from_info(gossip->descriptors, info);
    if (descriptor == NULL) {
        return ERR_INVALID;
    }
    if (descriptor == gossip->records[SELF].descriptor) {
        descriptor_release(gossip->descriptors, descriptor);
        return ERR_OK;
    }
    struct gossip_incarnation incarnation = gossip->records[SELF].incarnation;
    incarnation.counter++;
    set_descriptor(gossip, SELF, descriptor);
    set_incarnation(gossip, SELF, incarnation);
    queue_rumour(gossip, SELF);
    return ERR_OK;
}

static enum err force_leave(struct gossip *gossip, const struct uuid *id, bool prune) {
    uint32_t record = find_record(gossip, id);
    if (record == NO_RECORD || gossip->records[record].state == GOSSIP_REMOVED) {
        return ERR_NOT_FOUND;
    }
    const struct record *r = &gossip->records[record];
    if (record == SELF || (is_live(r) && !is_frozen(r))) {
        return ERR_REFUSED;
    }
    struct hearsay hearsay = {0};
    merge_left(gossip, &hearsay, id, r->incarnation, prune);
    return ERR_OK;
}

static enum err tombstone(struct gossip *gossip, const struct uuid *id,
                          struct gossip_incarnation incarnation, bool prune) {
    uint32_t record = find_record(gossip, id);
    if (record == SELF) {
        return ERR_REFUSED;
    }
    if (record == NO_RECORD) {
        /* Nothing is known but that it must not come back. */
        struct gossip_info info = {.id = *id,
                                   .name = "-",
                                   .protocol_min = GOSSIP_PROTOCOL_MIN,
                                   .protocol_max = GOSSIP_PROTOCOL_MAX};
        const struct gossip_descriptor *descriptor =
            descriptor_from_info(gossip->descriptors, &info);
        add_record(gossip, descriptor, incarnation, GOSSIP_REMOVED);
        return ERR_OK;
    }
    struct hearsay hearsay = {0};
    merge_left(gossip, &hearsay, id, incarnation, prune);
    return ERR_OK;
}

static void run_task(struct gossip *gossip, struct task *task) {
    switch (task->kind) {
    case TASK_PROBE_ROUND:
        run_probe_round(gossip);
        break;
    case TASK_GOSSIP_ROUND:
        run_gossip_round(gossip);
        break;
    case TASK_SYNC_ROUND:
        run_sync_round(gossip);
        break;
    case TASK_RECONNECT_ROUND:
        run_reconnect_round(gossip);
        break;
    case TASK_REAP_ROUND:
        run_reap_round(gossip);
        break;
    case TASK_GUARD_ROUND:
        run_guard_round(gossip);
        break;
    case TASK_LEAVE:
        leave_done(gossip);
        break;
    case TASK_PROBE:
        run_probe(gossip, CONTAINER_OF(task, struct probe, task));
        break;
    case TASK_RELAY:
        run_relay(gossip, CONTAINER_OF(task, struct relay, task));
        break;
    case TASK_SUSPICION:
        run_suspicion(gossip, CONTAINER_OF(task, struct activity, suspicion));
        break;
    }
}

static void run_due(struct gossip *gossip) {
    struct timer *timer;
    while ((timer = timers_take_due(&gossip->timers, (int64_t)gossip->now_ms)) != NULL) {
        run_task(gossip, CONTAINER_OF(timer, struct task, timer));
    }
}

/* A process that slept through its deadline (suspended, swapped out, starved) would find all its
 * timers due and judge others by answers that wait unread in its socket. So its time stood still:
 * every deadline moves by what was slept. After a long sleep it has also missed rumours: suspicions
 * start anew and a push/pull brings what changed. [Lifeguard] 1 names this as the main cause of
 * false accusations. */
static void note_stall(struct gossip *gossip) {
    uint64_t tolerated = gossip->config.probe_timeout_ms / 2;
    if (!gossip->config.lifeguard || gossip->deadline_at_ms == GOSSIP_NEVER ||
        gossip->now_ms <= gossip->deadline_at_ms + tolerated) {
        return;
    }
    uint64_t slept = gossip->now_ms - gossip->deadline_at_ms;
    gossip->counters[GOSSIP_STALLS]++;
    gossip->deadline_at_ms = gossip->now_ms;
    for (size_t i = 0; i < gossip->timers.count; i++) {
        gossip->timers.heap[i]->deadline_ms += (int64_t)slept; /* their order stays */
    }
    probes_note_stall(gossip);
    awareness_change(gossip, 1);
    bool long_sleep = slept >= gossip->config.probe_interval_ms;
    shift_suspicions(gossip, slept, long_sleep);
    if (long_sleep) {
        sync_soon(gossip);
    }
}

static enum err dispatch(struct gossip *gossip, const struct gossip_event *event) {
    uint32_t record;
    switch (event->kind) {
    case GOSSIP_EVENT_TIMER:
        run_due(gossip);
        return ERR_OK;
    case GOSSIP_EVENT_PACKET:
        return receive_packet(gossip, event);
    case GOSSIP_EVENT_STREAM_MESSAGE:
        return receive_stream(gossip, event);
    case GOSSIP_EVENT_STREAM_FAILED:
        stream_failed(gossip, event->stream_failed.stream, event->stream_failed.refused);
        return ERR_OK;
    case GOSSIP_EVENT_JOIN:
        if (gossip->leaving) {
            return ERR_CLOSED;
        }
        begin_join(gossip, &event->join.address);
        return ERR_OK;
    case GOSSIP_EVENT_LEAVE:
        return leave(gossip);
    case GOSSIP_EVENT_UPDATE_SELF:
        return update_self(gossip, &event->update_self.info);
    case GOSSIP_EVENT_HINT:
        record = find_record(gossip, &event->hint.id);
        if (record == NO_RECORD) {
            return ERR_NOT_FOUND;
        }
        probe_now(gossip, record);
        return ERR_OK;
    case GOSSIP_EVENT_CLOSED_PORT:
        probe_closed_port(gossip, &event->closed_port.address);
        return ERR_OK;
    case GOSSIP_EVENT_FORCE_LEAVE:
        return force_leave(gossip, &event->force_leave.id, event->force_leave.prune);
    case GOSSIP_EVENT_FIRE:
        return fire_event(gossip, &event->fire.id, event->fire.data, event->fire.size);
    case GOSSIP_EVENT_TOMBSTONE:
        return tombstone(gossip, &event->tombstone.id, event->tombstone.incarnation,
                         event->tombstone.prune);
    }
    ASSERT(!"an event that exists");
    return ERR_INVALID;
}

enum err gossip_step(struct gossip *gossip, uint64_t now_ms, const struct gossip_event *event,
                     struct gossip_output *ret_output) {
    ASSERT(now_ms >= gossip->now_ms && event->now_us < 1000);
    output_begin(gossip, ret_output);
    gossip->now_ms = now_ms;
    gossip->now_us = now_ms * 1000 + event->now_us;
    note_stall(gossip);
    enum err err = dispatch(gossip, event);
    int64_t next = timers_next_ms(&gossip->timers);
    gossip->deadline_at_ms = next == INT64_MAX ? GOSSIP_NEVER : (uint64_t)next;
    ret_output->deadline_at_ms = gossip->deadline_at_ms;
    gossip->output = NULL;
    return err;
}

/* ---- looking ---- */

uint32_t gossip_member_slots(const struct gossip *gossip) {
    return gossip->record_count;
}

bool gossip_member_at(const struct gossip *gossip, uint32_t slot,
                      struct gossip_member *ret_member) {
    if (slot >= gossip->record_count || gossip->records[slot].state == GOSSIP_REMOVED) {
        return false;
    }
    const struct record *record = &gossip->records[slot];
    *ret_member = (struct gossip_member){.descriptor = record->descriptor,
                                         .state = (enum gossip_state)record->state,
                                         .incarnation = record->incarnation,
                                         .changed_at_ms = changed_at_ms(gossip, record),
                                         .self = slot == SELF,
                                         .frozen = is_frozen(record)};
    return true;
}

bool gossip_find_id(const struct gossip *gossip, const struct uuid *id,
                    struct gossip_member *ret_member) {
    uint32_t record = find_record(gossip, id);
    return record != NO_RECORD && gossip_member_at(gossip, record, ret_member);
}

void gossip_get_coordinate(const struct gossip *gossip, struct coordinate *ret_coordinate) {
    *ret_coordinate = gossip->vivaldi.own;
}

bool gossip_find_coordinate(const struct gossip *gossip, const struct uuid *id,
                            struct coordinate *ret_coordinate) {
    uint32_t record = find_record(gossip, id);
    if (record == SELF) {
        *ret_coordinate = gossip->vivaldi.own;
        return true;
    }
    if (record == NO_RECORD || record >= gossip->coordinate_capacity ||
        gossip->coordinates[record].error < 0) {
        return false;
    }
    *ret_coordinate = gossip->coordinates[record];
    return true;
}

void gossip_get_status(const struct gossip *gossip, struct gossip_status *ret_status) {
    *ret_status = (struct gossip_status){
        .incarnation = gossip->records[SELF].incarnation,
        .alive = gossip->counts[GOSSIP_ALIVE],
        .suspect = gossip->counts[GOSSIP_SUSPECT],
        .dead = gossip->counts[GOSSIP_DEAD],
        .left = gossip->counts[GOSSIP_LEFT],
        .clients = gossip->clients,
        .frozen = gossip->frozen,
        .guard_on = gossip->guard_on,
        .guard_since_ms = gossip->guard_since_ms,
        .awareness = gossip->awareness,
        .rumours = gossip->rumour_count,
        .user_events = events_queued(gossip),
        .event_clock = events_clock(gossip),
        .leaving = gossip->leaving,
    };
    memcpy(ret_status->counters, gossip->counters, sizeof gossip->counters);
}
