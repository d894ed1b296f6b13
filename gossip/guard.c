/* The mass-failure guard. When a large part of a pool seems to die at once, the likelier cause is
 * the network or this side of it ([Rapid] 2.1, and the self-preservation of service registries):
 * evicting all of them would empty the catalog. So evictions of clients stop and those members are
 * frozen: still members, to be listed last. Servers are few and judged by Raft's needs; a leave is
 * a member's own word: neither is ever held. */
#include "base/assert.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "gossip/internal.h"

#define ROUND_MS 1000

/* Its death tells of the network: servers are few, and who is back under another id is no loss. */
static bool is_counted(const struct record *record) {
    return !record->descriptor->info.server && (record->flags & RECORD_REPLACED) == 0;
}

static void forget_old_deaths(struct gossip *gossip) {
    uint32_t old = 0;
    while (old < gossip->client_death_count &&
           gossip->client_deaths[old] + gossip->config.guard_window_ms <= gossip->now_ms) {
        old++;
    }
    for (uint32_t i = old; i < gossip->client_death_count && old > 0; i++) {
        gossip->client_deaths[i - old] = gossip->client_deaths[i];
    }
    gossip->client_death_count -= old;
}

/* Clients that seem dead, with `more` of them about to be. */
static bool too_many(const struct gossip *gossip, uint32_t more) {
    uint64_t seeming = (uint64_t)gossip->client_death_count + gossip->frozen + more;
    uint64_t all = (uint64_t)gossip->clients + gossip->client_death_count;
    uint64_t members = live_count(gossip) + gossip->client_death_count;
    return members >= gossip->config.guard_members_min &&
           seeming * 100 > all * gossip->config.guard_percent;
}

bool guard_holds(struct gossip *gossip, uint32_t record) {
    if (gossip->records[record].descriptor->info.server && !MUTANT(guard_holds_servers)) {
        return false;
    }
    if ((gossip->records[record].flags & RECORD_REPLACED) != 0) {
        return false;
    }
    if (MUTANT(guard_never_holds)) {
        return false;
    }
    forget_old_deaths(gossip);
    bool held = is_frozen(&gossip->records[record]);
    return too_many(gossip, held ? 0 : 1);
}

void guard_freeze(struct gossip *gossip, uint32_t record) {
    struct record *r = &gossip->records[record];
    ASSERT(r->state == GOSSIP_SUSPECT);
    if (is_frozen(r)) {
        return;
    }
    struct activity *activity = activity_find(gossip, record);
    if (activity != NULL) {
        task_stop(gossip, &activity->suspicion);
    }
    set_frozen(gossip, record, true);
    gossip->counters[GOSSIP_FROZEN]++;
    if (!gossip->guard_on) {
        gossip->guard_on = true;
        gossip->guard_since_ms = gossip->now_ms;
        tell(gossip, GOSSIP_CHANGE_GUARD_ON, NULL, (struct gossip_incarnation){0});
        task_start(gossip, &gossip->guard_round, gossip->now_ms + ROUND_MS);
    }
    tell(gossip, GOSSIP_CHANGE_FROZEN, r->descriptor, r->incarnation);
}

void guard_note_death(struct gossip *gossip, uint32_t record) {
    if (!is_counted(&gossip->records[record])) {
        return;
    }
    forget_old_deaths(gossip);
    if (gossip->client_death_count == gossip->client_death_capacity) {
        gossip->client_death_capacity = gossip->client_death_capacity * 2 + 8;
        gossip->client_deaths = mem_realloc(
            gossip->client_deaths, gossip->client_death_capacity * sizeof *gossip->client_deaths);
    }
    gossip->client_deaths[gossip->client_death_count++] = gossip->now_ms;
}

void guard_note_return(struct gossip *gossip, uint32_t record) {
    const struct record *r = &gossip->records[record];
    forget_old_deaths(gossip);
    if (r->state == GOSSIP_DEAD && is_counted(r) && gossip->client_death_count > 0 &&
        changed_at_ms(gossip, r) + gossip->config.guard_window_ms > gossip->now_ms) {
        gossip->client_death_count--;
    }
}

void guard_note_replaced(struct gossip *gossip, uint32_t record) {
    guard_note_return(gossip, record);
    set_replaced(gossip, record, true);
}

/* Goes off once the sum is low again, mostly because others have come back. Who is frozen then may
 * be about to: its suspicion begins anew. */
void run_guard_round(struct gossip *gossip) {
    forget_old_deaths(gossip);
    if (too_many(gossip, 0) && gossip->frozen > 0) {
        task_start(gossip, &gossip->guard_round, gossip->now_ms + ROUND_MS);
        return;
    }
    gossip->guard_on = false;
    tell(gossip, GOSSIP_CHANGE_GUARD_OFF, NULL, (struct gossip_incarnation){0});
    for (uint32_t record = 0; record < gossip->record_count && gossip->frozen > 0; record++) {
        if (is_frozen(&gossip->records[record])) {
            set_frozen(gossip, record, false);
            suspect_again(gossip, record);
        }
    }
}
