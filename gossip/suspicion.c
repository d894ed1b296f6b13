/* Suspicion ([SWIM] 4.2): an accused member has time to refute. The time starts long and shrinks as
 * others accuse it independently ([Lifeguard] 4.2): a single accuser may itself be the sick one. */
#include "base/assert.h"
#include "base/mutant.h"
#include "gossip/internal.h"

#define RESPITES_MAX 2

uint32_t accuser_of(const struct uuid *id) {
    return (uint32_t)(descriptor_hash_id(id) >> 32) & ~ACCUSER_CLOSED;
}

/* True: it tells something new. */
static bool add_accuser(struct activity *activity, uint32_t accuser, uint32_t most) {
    for (uint32_t i = 0; i < activity->accuser_count && !MUTANT(accuser_counted_twice); i++) {
        uint32_t *known = &activity->accusers[i];
        if ((*known & ~ACCUSER_CLOSED) == (accuser & ~ACCUSER_CLOSED)) {
            bool news = (accuser & ACCUSER_CLOSED & ~*known) != 0;
            *known |= accuser & ACCUSER_CLOSED;
            return news;
        }
    }
    if (activity->accuser_count >= most) {
        return false;
    }
    activity->accusers[activity->accuser_count++] = accuser;
    return true;
}

static uint64_t deadline_of(const struct gossip *gossip, const struct activity *activity) {
    uint32_t closed = 0;
    for (uint32_t i = 0; i < activity->accuser_count; i++) {
        closed += activity->accusers[i] & ACCUSER_CLOSED;
    }
    uint64_t timeout =
        suspicion_timeout_ms(&gossip->config, live_count(gossip), activity->accuser_count - 1u);
    /* Two who found that nothing listens there are not both sick. */
    if (closed >= 2 && timeout > gossip->config.closed_suspicion_ms) {
        timeout = gossip->config.closed_suspicion_ms;
    }
    uint64_t deadline = activity->suspect_at_ms + timeout;
    return deadline > gossip->now_ms ? deadline : gossip->now_ms;
}

bool suspect(struct gossip *gossip, uint32_t record, const uint32_t *accusers, uint32_t count) {
    ASSERT(record != SELF && is_live(&gossip->records[record]) && count > 0);
    bool new = gossip->records[record].state == GOSSIP_ALIVE;
    if (!new && !gossip->config.lifeguard) {
        return false;
    }
    struct activity *activity = activity_of(gossip, record);
    uint32_t most = gossip->config.suspicion_confirmations + 1;
    most = most > LIMIT_GOSSIP_ACCUSERS ? LIMIT_GOSSIP_ACCUSERS : most;
    if (new) {
        set_state(gossip, record, GOSSIP_SUSPECT);
        activity->suspect_at_ms = gossip->now_ms;
        activity->respites = 0;
        tell(gossip, GOSSIP_CHANGE_SUSPECT, gossip->records[record].descriptor,
             gossip->records[record].incarnation);
    }
    bool news = new;
    for (uint32_t i = 0; i < count; i++) {
        news |= add_accuser(activity, accusers[i], most);
    }
    if (news) {
        queue_rumour(gossip, record);
        if (!is_frozen(&gossip->records[record])) {
            task_start(gossip, &activity->suspicion, deadline_of(gossip, activity));
        }
    }
    return news;
}

void end_suspicion(struct gossip *gossip, uint32_t record) {
    struct activity *activity = activity_find(gossip, record);
    if (activity != NULL && activity->accuser_count > 0) {
        task_stop(gossip, &activity->suspicion);
        activity->accuser_count = 0;
        activity_drop_idle(gossip, record);
    }
}

void declare_dead(struct gossip *gossip, uint32_t record) {
    end_suspicion(gossip, record);
    set_frozen(gossip, record, false);
    guard_note_death(gossip, record);
    set_state(gossip, record, GOSSIP_DEAD);
    gossip->death_at_ms = gossip->now_ms;
    tell(gossip, GOSSIP_CHANGE_FAILED, gossip->records[record].descriptor,
         gossip->records[record].incarnation);
    if (!MUTANT(death_not_gossiped)) {
        queue_rumour(gossip, record);
    }
}

/* Of a member that is dead others find so too, within the longest suspicion. If none did, the sole
 * accuser may be the one who is not well; he looks again, and in the end is believed. */
static bool deserves_respite(const struct gossip *gossip, const struct activity *activity) {
    return gossip->config.lifeguard && activity->accuser_count == 1 &&
           live_count(gossip) >= gossip->config.suspicion_confirmations + 2 &&
           activity->respites < RESPITES_MAX;
}

void suspect_again(struct gossip *gossip, uint32_t record) {
    task_start(gossip, &activity_of(gossip, record)->suspicion,
               gossip->now_ms + suspicion_min_ms(&gossip->config, live_count(gossip)));
    queue_rumour(gossip, record);
    probe_now(gossip, record);
}

void run_suspicion(struct gossip *gossip, struct activity *activity) {
    uint32_t record = activity->record;
    ASSERT(gossip->records[record].state == GOSSIP_SUSPECT);
    if (deserves_respite(gossip, activity)) {
        activity->respites++;
        suspect_again(gossip, record);
        return;
    }
    uint64_t patience = 2 * (uint64_t)gossip->config.probe_interval_ms;
    if (gossip->now_ms > patience && is_isolated(gossip, gossip->now_ms - patience)) {
        task_start(gossip, &activity->suspicion, gossip->now_ms + patience);
        return;
    }
    if (guard_holds(gossip, record)) {
        guard_freeze(gossip, record);
        return;
    }
    gossip->counters[GOSSIP_EVICTED]++;
    declare_dead(gossip, record);
}

void shift_suspicions(struct gossip *gossip, uint64_t slept_ms, bool anew) {
    for (uint32_t i = 0; i < gossip->activity_count; i++) {
        struct activity *activity = gossip->activities[i];
        if (activity == NULL || !task_started(&activity->suspicion)) {
            continue;
        }
        activity->suspect_at_ms += slept_ms; /* its timer has been moved like all others */
        if (anew) {
            activity->suspect_at_ms = gossip->now_ms;
            task_start(gossip, &activity->suspicion, deadline_of(gossip, activity));
            probe_now(gossip, activity->record);
        }
    }
}
