/* The table of members: records, their index by id, what is counted over them, and
 * the working state of those that something is said about. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "gossip/internal.h"

#define INDEX_MIN 16

static size_t home_of(const struct gossip *gossip, uint32_t short_id) {
    return short_id & (gossip->index_capacity - 1);
}

static uint32_t short_id_of(const struct gossip *gossip, uint32_t record) {
    return (uint32_t)gossip->records[record].descriptor->id_hash;
}

uint32_t find_record(const struct gossip *gossip, const struct uuid *id) {
    size_t mask = gossip->index_capacity - 1;
    uint32_t short_id = (uint32_t)descriptor_hash_id(id);
    for (size_t slot = home_of(gossip, short_id);; slot = (slot + 1) & mask) {
        const struct index_slot *entry = &gossip->index[slot];
        if (entry->place == 0) {
            return NO_RECORD;
        }
        if (entry->short_id == short_id &&
            memcmp(&gossip->records[entry->place - 1].descriptor->info.id, id, sizeof *id) == 0) {
            return entry->place - 1;
        }
    }
}

uint32_t find_record_short(const struct gossip *gossip, uint32_t short_id) {
    size_t mask = gossip->index_capacity - 1;
    for (size_t slot = home_of(gossip, short_id);; slot = (slot + 1) & mask) {
        const struct index_slot *entry = &gossip->index[slot];
        if (entry->place == 0) {
            return NO_RECORD;
        }
        if (entry->short_id == short_id) {
            return entry->place - 1;
        }
    }
}

static void index_put(struct gossip *gossip, uint32_t record) {
    size_t mask = gossip->index_capacity - 1;
    uint32_t short_id = short_id_of(gossip, record);
    size_t slot = home_of(gossip, short_id);
    while (gossip->index[slot].place != 0) {
        slot = (slot + 1) & mask;
    }
    gossip->index[slot] = (struct index_slot){.short_id = short_id, .place = record + 1};
}

static size_t slot_of(const struct gossip *gossip, uint32_t record) {
    size_t mask = gossip->index_capacity - 1;
    size_t slot = home_of(gossip, short_id_of(gossip, record));
    while (gossip->index[slot].place != record + 1) {
        ASSERT(gossip->index[slot].place != 0);
        slot = (slot + 1) & mask;
    }
    return slot;
}

static void index_take(struct gossip *gossip, uint32_t record) {
    size_t mask = gossip->index_capacity - 1;
    size_t hole = slot_of(gossip, record);
    for (size_t at = (hole + 1) & mask; gossip->index[at].place != 0; at = (at + 1) & mask) {
        size_t home = home_of(gossip, gossip->index[at].short_id);
        if (((at - home) & mask) >= ((at - hole) & mask)) {
            gossip->index[hole] = gossip->index[at];
            hole = at;
        }
    }
    gossip->index[hole] = (struct index_slot){0};
}

static void index_reserve(struct gossip *gossip, uint32_t count) {
    if (gossip->index_capacity > 0 && (uint64_t)count * 4 <= (uint64_t)gossip->index_capacity * 3) {
        return;
    }
    free(gossip->index);
    gossip->index_capacity = gossip->index_capacity == 0 ? INDEX_MIN : gossip->index_capacity * 2;
    gossip->index = mem_calloc(gossip->index_capacity, sizeof *gossip->index);
    for (uint32_t i = 0; i < gossip->record_count; i++) {
        index_put(gossip, i);
    }
}

bool is_live(const struct record *record) {
    return record->state == GOSSIP_ALIVE || record->state == GOSSIP_SUSPECT;
}

bool is_frozen(const struct record *record) {
    return (record->flags & RECORD_FROZEN) != 0;
}

uint32_t live_count(const struct gossip *gossip) {
    return gossip->counts[GOSSIP_ALIVE] + gossip->counts[GOSSIP_SUSPECT];
}

/* Puts a record into the sums, or takes it out: around each change of it. */
static void account(struct gossip *gossip, const struct record *record, bool in) {
    uint32_t one = in ? 1u : UINT32_MAX; /* -1 */
    gossip->counts[record->state] += one;
    gossip->frozen += is_frozen(record) ? one : 0;
    if (is_live(record)) {
        gossip->clients += record->descriptor->info.server ? 0 : one;
    }
    /* Sums, so that the order does not matter. Alive and suspect are the same here: the difference
     * passes by itself. */
    uint64_t state = record->state == GOSSIP_SUSPECT ? GOSSIP_ALIVE : record->state;
    uint64_t old = (record->flags & RECORD_OLD_DESCRIPTOR) != 0;
    uint64_t hash = hash_mix(record->descriptor->id_hash ^ (state << 1) ^ old);
    hash = hash_mix(hash ^ (uint64_t)record->incarnation.boot_epoch << 32 ^
                    record->incarnation.counter);
    uint64_t *bucket = &gossip->digest[record->descriptor->id_hash % MESSAGE_BUCKETS];
    *bucket += in ? hash : -hash;
}

static uint32_t now_ds(const struct gossip *gossip) {
    return (uint32_t)(((int64_t)gossip->now_ms - gossip->origin_ms) / 100);
}

uint64_t changed_at_ms(const struct gossip *gossip, const struct record *record) {
    int64_t at = gossip->origin_ms + (int64_t)record->changed_at_ds * 100;
    return at < 0 ? 0 : (uint64_t)at;
}

void set_age_s(struct gossip *gossip, uint32_t record, uint32_t age_s) {
    uint32_t now = now_ds(gossip);
    uint64_t age_ds = (uint64_t)age_s * 10;
    gossip->records[record].changed_at_ds = age_ds > now ? 0 : now - (uint32_t)age_ds;
}

uint32_t add_record(struct gossip *gossip, const struct gossip_descriptor *descriptor,
                    struct gossip_incarnation incarnation, enum gossip_state state) {
    if (gossip->record_count >= LIMIT_GOSSIP_MEMBERS) {
        gossip->counters[GOSSIP_DROPPED_FULL]++;
        descriptor_release(gossip->descriptors, descriptor);
        return NO_RECORD;
    }
    if (gossip->record_count == gossip->record_capacity) {
        gossip->record_capacity += gossip->record_capacity / 4 + 16;
        gossip->records =
            mem_realloc(gossip->records, gossip->record_capacity * sizeof *gossip->records);
    }
    index_reserve(gossip, gossip->record_count + 1);
    uint32_t record = gossip->record_count++;
    gossip->records[record] = (struct record){.descriptor = descriptor,
                                              .incarnation = incarnation,
                                              .changed_at_ds = now_ds(gossip),
                                              .state = (uint8_t)state};
    index_put(gossip, record);
    account(gossip, &gossip->records[record], true);
    if (is_live(&gossip->records[record])) {
        schedule_add(gossip, record);
    }
    if (record < gossip->coordinate_capacity) {
        gossip->coordinates[record] = (struct coordinate){.error = -1};
    }
    return record;
}

void remove_record(struct gossip *gossip, uint32_t record) {
    ASSERT(record != SELF && record < gossip->record_count);
    unqueue_rumour(gossip, record);
    end_suspicion(gossip, record);
    activity_drop_idle(gossip, record);
    set_frozen(gossip, record, false);
    account(gossip, &gossip->records[record], false);
    if (is_live(&gossip->records[record])) {
        schedule_remove(gossip, record);
    }
    index_take(gossip, record);
    descriptor_release(gossip->descriptors, gossip->records[record].descriptor);

    uint32_t last = gossip->record_count - 1;
    if (record != last) {
        size_t slot = slot_of(gossip, last);
        if (is_live(&gossip->records[last])) {
            schedule_renumber(gossip, last, record);
        }
        gossip->records[record] = gossip->records[last];
        gossip->index[slot].place = record + 1;
        if (gossip->records[record].activity != 0) {
            gossip->activities[gossip->records[record].activity - 1]->record = record;
        }
        if (last < gossip->coordinate_capacity) {
            gossip->coordinates[record] = gossip->coordinates[last];
        }
    }
    gossip->record_count = last;
}

void set_state(struct gossip *gossip, uint32_t record, enum gossip_state state) {
    struct record *r = &gossip->records[record];
    account(gossip, r, false);
    if (r->state != state) {
        r->changed_at_ds = now_ds(gossip);
    }
    bool was_live = is_live(r);
    r->state = (uint8_t)state;
    account(gossip, r, true);
    if (was_live && !is_live(r)) {
        schedule_remove(gossip, record);
    } else if (!was_live && is_live(r)) {
        schedule_add(gossip, record);
    }
}

void set_incarnation(struct gossip *gossip, uint32_t record, struct gossip_incarnation value) {
    struct record *r = &gossip->records[record];
    account(gossip, r, false);
    r->incarnation = value;
    r->flags &= (uint8_t)~RECORD_CLASHED;
    account(gossip, r, true);
}

void set_descriptor(struct gossip *gossip, uint32_t record,
                    const struct gossip_descriptor *descriptor) {
    struct record *r = &gossip->records[record];
    account(gossip, r, false);
    descriptor_release(gossip->descriptors, r->descriptor);
    r->descriptor = descriptor;
    account(gossip, r, true);
}

static void set_flag(struct gossip *gossip, uint32_t record, uint8_t flag, bool on) {
    struct record *r = &gossip->records[record];
    account(gossip, r, false);
    r->flags = (uint8_t)(on ? r->flags | flag : r->flags & ~flag);
    account(gossip, r, true);
}

void set_frozen(struct gossip *gossip, uint32_t record, bool frozen) {
    set_flag(gossip, record, RECORD_FROZEN, frozen);
}

void set_old_descriptor(struct gossip *gossip, uint32_t record, bool old) {
    set_flag(gossip, record, RECORD_OLD_DESCRIPTOR, old);
}

void set_replaced(struct gossip *gossip, uint32_t record, bool replaced) {
    set_flag(gossip, record, RECORD_REPLACED, replaced);
}

bool wanted_alive(const struct gossip *gossip, const struct record *record) {
    (void)gossip;
    return record->state == GOSSIP_ALIVE;
}

static bool is_among(const uint32_t *records, uint32_t count, uint32_t record) {
    for (uint32_t i = 0; i < count; i++) {
        if (records[i] == record) {
            return true;
        }
    }
    return false;
}

uint32_t random_members(struct gossip *gossip, uint32_t count, uint32_t except,
                        bool (*wanted)(const struct gossip *, const struct record *),
                        uint32_t *ret_records) {
    uint32_t found = 0;
    for (uint32_t tries = 0; tries < 4 * count && found < count; tries++) {
        uint32_t record = (uint32_t)random_below(gossip, gossip->record_count);
        if (record != SELF && record != except && !is_among(ret_records, found, record) &&
            wanted(gossip, &gossip->records[record])) {
            ret_records[found++] = record;
        }
    }
    /* They are rare: look at all. */
    uint32_t start = (uint32_t)random_below(gossip, gossip->record_count);
    for (uint32_t i = 0; i < gossip->record_count && found < count; i++) {
        uint32_t record = (start + i) % gossip->record_count;
        if (record != SELF && record != except && wanted(gossip, &gossip->records[record]) &&
            !is_among(ret_records, found, record)) {
            ret_records[found++] = record;
        }
    }
    return found;
}

/* ---- activities ---- */

struct activity *activity_find(const struct gossip *gossip, uint32_t record) {
    uint32_t place = gossip->records[record].activity;
    return place == 0 ? NULL : gossip->activities[place - 1];
}

static uint32_t free_place(struct gossip *gossip) {
    if (gossip->activity_free > 0) {
        return gossip->activity_free_places[--gossip->activity_free];
    }
    if (gossip->activity_count == gossip->activity_capacity) {
        uint32_t capacity = gossip->activity_capacity * 2 + 8;
        gossip->activities = mem_realloc(gossip->activities, capacity * sizeof *gossip->activities);
        gossip->activity_free_places = mem_realloc(gossip->activity_free_places,
                                                   capacity * sizeof *gossip->activity_free_places);
        gossip->activity_capacity = capacity;
    }
    return gossip->activity_count++;
}

struct activity *activity_of(struct gossip *gossip, uint32_t record) {
    struct activity *activity = activity_find(gossip, record);
    if (activity == NULL) {
        activity = mem_calloc(1, sizeof *activity);
        activity->suspicion.kind = TASK_SUSPICION;
        activity->record = record;
        uint32_t place = free_place(gossip);
        gossip->activities[place] = activity;
        gossip->records[record].activity = place + 1;
    }
    return activity;
}

void activity_drop_idle(struct gossip *gossip, uint32_t record) {
    struct activity *activity = activity_find(gossip, record);
    if (activity == NULL || activity->queued || activity->accuser_count > 0) {
        return;
    }
    ASSERT(!task_started(&activity->suspicion));
    uint32_t place = gossip->records[record].activity - 1;
    gossip->activities[place] = NULL;
    gossip->activity_free_places[gossip->activity_free++] = place;
    gossip->records[record].activity = 0;
    free(activity);
}
