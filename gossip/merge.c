/* What was heard of a member, against what is known. The higher incarnation wins; of equal ones the
 * worse state ([SWIM] 4.2), which is the later in enum gossip_state. */
#include <string.h>

#include "base/assert.h"
#include "base/mutant.h"
#include "gossip/internal.h"

/* News that is older than this reaches nobody for the first time by a rumour. */
#define FRESH_S 10
/* About as many members look for themselves when somebody is accused. */
#define WITNESSES 8
#define RETURN_SYNCS 4 /* of the whole pool, on average, with one that was held dead */
#define CORRECTIONS_MAX 4
#define REAP_SLACK_MS (2 * 60 * 1000) /* twice the longest time between two reaps */
#define YEAR_S (366u * 24 * 3600)

bool incarnation_is_future(struct gossip *gossip, struct gossip_incarnation incarnation) {
    uint64_t now_s = gossip->created_boot_epoch + (gossip->now_ms - gossip->created_at_ms) / 1000;
    if (incarnation.boot_epoch <= now_s + YEAR_S) {
        return false;
    }
    gossip->counters[GOSSIP_DROPPED_FUTURE]++;
    return true;
}

static void count_stale(struct gossip *gossip) {
    gossip->counters[GOSSIP_RUMOURS_STALE]++;
}

/* Whoever accuses a member that has long refuted has missed it: tell him, so that the accusation
 * ends with him. */
static void correct(struct gossip *gossip, struct hearsay *hearsay, uint32_t record) {
    count_stale(gossip);
    if (!gossip->config.lifeguard || hearsay->from == NULL ||
        hearsay->corrections >= CORRECTIONS_MAX || gossip->records[record].state != GOSSIP_ALIVE) {
        return;
    }
    hearsay->corrections++;
    gossip->counters[GOSSIP_CORRECTED]++;
    size_t start = packet_begin(gossip);
    write_subject(gossip, start, record);
    packet_end(gossip, start, hearsay->from);
}

static void tell_member(struct gossip *gossip, enum gossip_change_kind kind, uint32_t record) {
    tell(gossip, kind, gossip->records[record].descriptor, gossip->records[record].incarnation);
}

/* The next other member of the name of a record, in any letter case; after: the last one, or
 * NO_RECORD. */
static uint32_t next_namesake(const struct gossip *gossip, uint32_t record, uint32_t after) {
    const struct gossip_descriptor *own = gossip->records[record].descriptor;
    const struct gossip_descriptor *other =
        after == NO_RECORD ? NULL : gossip->records[after].descriptor;
    while ((other = descriptor_next_of_name(gossip->descriptors, own, other)) != NULL) {
        uint32_t namesake = find_record(gossip, &other->info.id);
        if (namesake != NO_RECORD && namesake != record &&
            gossip->records[namesake].descriptor == other) {
            return namesake;
        }
    }
    return NO_RECORD;
}

/* Two live members of one name: both stay, and somebody is told ([SWIM] knows no names). */
static void check_name(struct gossip *gossip, uint32_t record) {
    for (uint32_t other = next_namesake(gossip, record, NO_RECORD); other != NO_RECORD;
         other = next_namesake(gossip, record, other)) {
        if (is_live(&gossip->records[other])) {
            tell(gossip, GOSSIP_CHANGE_NAME_CLASH, gossip->records[record].descriptor,
                 gossip->records[record].incarnation)
                ->other = output_hold(gossip, gossip->records[other].descriptor);
            if (MUTANT(clash_merges)) {
                set_incarnation(gossip, other, gossip->records[record].incarnation);
                set_state(gossip, other, GOSSIP_LEFT);
            }
            return;
        }
    }
}

/* A machine that has lost its id comes back under another one: the same name, a later boot epoch.
 * Then the earlier id is no loss of the pool's, and at the same address nobody can be it any
 * more. */
static void check_replaced(struct gossip *gossip, uint32_t record) {
    const struct record *r = &gossip->records[record];
    if (MUTANT(return_unnoticed)) {
        return;
    }
    for (uint32_t other = next_namesake(gossip, record, NO_RECORD); other != NO_RECORD;
         other = next_namesake(gossip, record, other)) {
        const struct record *o = &gossip->records[other];
        if (o->incarnation.boot_epoch > r->incarnation.boot_epoch && is_live(o)) {
            guard_note_replaced(gossip, record);
        } else if (o->incarnation.boot_epoch < r->incarnation.boot_epoch && other != SELF) {
            guard_note_replaced(gossip, other);
            if (is_live(o) &&
                gossip_address_equal(&o->descriptor->info.address, &r->descriptor->info.address)) {
                declare_dead(gossip, other);
            } else if (is_frozen(o)) {
                set_frozen(gossip, other, false);
                suspect_again(gossip, other);
            }
        }
    }
}

/* It is alive, and was not. */
static void note_joined(struct gossip *gossip, uint32_t record) {
    check_replaced(gossip, record);
    tell_member(gossip, GOSSIP_CHANGE_JOINED, record);
    check_name(gossip, record);
}

static struct uuid id_in(const struct member_state *member) {
    struct uuid id;
    memcpy(id.bytes, member->descriptor, sizeof id.bytes);
    return id;
}

static bool is_acceptable(struct gossip *gossip, const struct member_state *member) {
    if (!descriptor_is_valid(member->descriptor, member->descriptor_bytes)) {
        gossip->counters[GOSSIP_DROPPED_MEMBER]++;
        return false;
    }
    uint8_t low = member->descriptor[17];
    uint8_t high = member->descriptor[18];
    if (low > GOSSIP_PROTOCOL_MAX || high < GOSSIP_PROTOCOL_MIN) {
        gossip->counters[GOSSIP_DROPPED_INCOMPATIBLE]++;
        return false;
    }
    return !incarnation_is_future(gossip, member->incarnation);
}

static bool same_bytes(const struct gossip_descriptor *descriptor,
                       const struct member_state *member) {
    return descriptor->encoded_bytes == member->descriptor_bytes &&
           memcmp(descriptor->encoded, member->descriptor, member->descriptor_bytes) == 0;
}

static struct gossip_address address_in(struct gossip *gossip, const struct member_state *member) {
    const struct gossip_descriptor *descriptor =
        descriptor_intern(gossip->descriptors, member->descriptor, member->descriptor_bytes);
    struct gossip_address address = descriptor->info.address;
    descriptor_release(gossip->descriptors, descriptor);
    return address;
}

/* A second machine with the id of a live one, as a cloned disk makes it. The first keeps its place
 * while it answers. */
static void tell_id_clash(struct gossip *gossip, uint32_t record,
                          const struct gossip_address *address) {
    struct record *r = &gossip->records[record];
    if ((r->flags & RECORD_CLASHED) == 0) {
        r->flags |= RECORD_CLASHED;
        tell(gossip, GOSSIP_CHANGE_ID_CLASH, r->descriptor, r->incarnation)->address = *address;
    }
    if (record != SELF) {
        probe_now(gossip, record);
    }
}

/* Somebody says that this member lives. */
static void merge_self(struct gossip *gossip, const struct member_state *member) {
    const struct record *self = &gossip->records[SELF];
    int order = gossip_incarnation_compare(member->incarnation, self->incarnation);
    if (order <= 0 && (order < 0 || same_bytes(self->descriptor, member))) {
        return;
    }
    struct gossip_address address = address_in(gossip, member);
    if (!gossip_address_equal(&address, &self->descriptor->info.address)) {
        tell_id_clash(gossip, SELF, &address);
        return;
    }
    refute(gossip, member->incarnation); /* an earlier life whose clock was ahead */
}

static void merge_new(struct gossip *gossip, const struct hearsay *hearsay,
                      const struct member_state *member, enum gossip_state state) {
    const struct gossip_descriptor *descriptor =
        descriptor_intern(gossip->descriptors, member->descriptor, member->descriptor_bytes);
    uint32_t record = add_record(gossip, descriptor, member->incarnation, state);
    if (record == NO_RECORD) {
        return;
    }
    set_age_s(gossip, record, member->age_s);
    if (state == GOSSIP_ALIVE) {
        gossip->counters[GOSSIP_RUMOURS_ALIVE]++;
        note_joined(gossip, record);
    } else if (state != GOSSIP_REMOVED) {
        tell_member(gossip, state == GOSSIP_DEAD ? GOSSIP_CHANGE_FAILED : GOSSIP_CHANGE_LEFT,
                    record);
    }
    if (!hearsay->joining && member->age_s <= FRESH_S && state == GOSSIP_ALIVE) {
        queue_rumour(gossip, record);
    }
}

/* The descriptor of a live member, UPDATED if it says something else. */
static void take_descriptor(struct gossip *gossip, uint32_t record,
                            const struct member_state *member, bool quiet) {
    const struct gossip_descriptor *before = gossip->records[record].descriptor;
    if (same_bytes(before, member)) {
        return;
    }
    output_hold(gossip, before);
    set_descriptor(
        gossip, record,
        descriptor_intern(gossip->descriptors, member->descriptor, member->descriptor_bytes));
    if (!quiet) {
        tell(gossip, GOSSIP_CHANGE_UPDATED, gossip->records[record].descriptor, member->incarnation)
            ->other = before;
        if (!str_equal_fold(before->info.name, gossip->records[record].descriptor->info.name)) {
            check_name(gossip, record);
        }
    }
}

/* True: another machine than the one that is alive under this id. The same life may move. */
static bool is_other_machine(struct gossip *gossip, uint32_t record,
                             const struct member_state *member) {
    const struct record *r = &gossip->records[record];
    if (r->state != GOSSIP_ALIVE || same_bytes(r->descriptor, member) ||
        r->incarnation.boot_epoch == member->incarnation.boot_epoch || MUTANT(id_clash_accepted)) {
        return false;
    }
    struct gossip_address address = address_in(gossip, member);
    if (gossip_address_equal(&address, &r->descriptor->info.address)) {
        return false;
    }
    tell_id_clash(gossip, record, &address);
    return true;
}

static void merge_newer(struct gossip *gossip, const struct hearsay *hearsay, uint32_t record,
                        const struct member_state *member) {
    enum gossip_state before = gossip->records[record].state;
    bool was_live = is_live(&gossip->records[record]);
    gossip->counters[GOSSIP_RUMOURS_ALIVE]++;
    if (before == GOSSIP_DEAD) {
        guard_note_return(gossip, record);
    }
    end_suspicion(gossip, record);
    set_frozen(gossip, record, false);
    set_old_descriptor(gossip, record, false);
    set_replaced(gossip, record, false);
    set_incarnation(gossip, record, member->incarnation);
    take_descriptor(gossip, record, member, !was_live);
    set_state(gossip, record, GOSSIP_ALIVE);
    if (!was_live) {
        set_age_s(gossip, record, member->age_s);
        note_joined(gossip, record);
        /* It may come from another side of a partition. A few of us look, not the whole pool. */
        if (before == GOSSIP_DEAD && random_below(gossip, live_count(gossip)) < RETURN_SYNCS) {
            gossip->sync_with = gossip->records[record].descriptor->info.id;
            sync_soon(gossip);
        }
    } else if (before == GOSSIP_SUSPECT) {
        tell_member(gossip, GOSSIP_CHANGE_ALIVE, record);
    }
    if (!hearsay->joining) {
        queue_rumour(gossip, record);
    }
}

static void merge_alive(struct gossip *gossip, struct hearsay *hearsay,
                        const struct member_state *member) {
    struct uuid id = id_in(member);
    uint32_t record = find_record(gossip, &id);
    if (record == SELF) {
        merge_self(gossip, member);
        return;
    }
    if (record == NO_RECORD) {
        merge_new(gossip, hearsay, member, GOSSIP_ALIVE);
        return;
    }
    struct record *r = &gossip->records[record];
    int order = gossip_incarnation_compare(member->incarnation, r->incarnation);
    if (order == 0 && is_live(r) && (r->flags & RECORD_OLD_DESCRIPTOR) != 0) {
        set_old_descriptor(gossip, record, false);
        take_descriptor(gossip, record, member, false);
        queue_rumour(gossip, record);
        return;
    }
    bool newer = order > 0 || (MUTANT(older_incarnation_accepted) && order < 0) ||
                 (MUTANT(left_resurrected) && r->state == GOSSIP_LEFT) ||
                 (MUTANT(tombstone_resurrected) && r->state == GOSSIP_REMOVED) ||
                 (MUTANT(dead_resurrected) && r->state == GOSSIP_DEAD);
    if (!newer) {
        count_stale(gossip);
        return;
    }
    if (!is_other_machine(gossip, record, member)) {
        merge_newer(gossip, hearsay, record, member);
    }
}

/* An accusation of a higher incarnation than is known: its descriptor was missed. */
static void catch_up(struct gossip *gossip, uint32_t record,
                     struct gossip_incarnation incarnation) {
    if (gossip_incarnation_compare(incarnation, gossip->records[record].incarnation) <= 0) {
        return;
    }
    bool was_suspect = gossip->records[record].state == GOSSIP_SUSPECT;
    end_suspicion(gossip, record);
    set_frozen(gossip, record, false);
    set_incarnation(gossip, record, incarnation);
    if (is_live(&gossip->records[record])) {
        set_old_descriptor(gossip, record, true);
        set_state(gossip, record, GOSSIP_ALIVE);
        if (was_suspect) {
            tell_member(gossip, GOSSIP_CHANGE_ALIVE, record);
        }
    }
}

/* The live record that an accusation is about; NO_RECORD: there is nothing to do. */
static uint32_t accused(struct gossip *gossip, struct hearsay *hearsay, const struct uuid *id,
                        struct gossip_incarnation incarnation) {
    if (incarnation_is_future(gossip, incarnation)) {
        return NO_RECORD;
    }
    uint32_t record = find_record(gossip, id);
    if (record == SELF) {
        if (!gossip->leaving) {
            bool old =
                gossip_incarnation_compare(incarnation, gossip->records[SELF].incarnation) < 0;
            refute(gossip, incarnation);
            if (old) { /* all but the accuser know it already */
                correct(gossip, hearsay, SELF);
            }
        }
        return NO_RECORD;
    }
    if (record == NO_RECORD || !is_live(&gossip->records[record])) {
        count_stale(gossip);
        return NO_RECORD;
    }
    if (gossip_incarnation_compare(incarnation, gossip->records[record].incarnation) < 0 &&
        !MUTANT(older_accusation_accepted)) {
        correct(gossip, hearsay, record);
        return NO_RECORD;
    }
    return record;
}

void merge_suspect(struct gossip *gossip, struct hearsay *hearsay, const struct uuid *id,
                   struct gossip_incarnation incarnation, const uint32_t *accusers,
                   uint32_t count) {
    uint32_t record = accused(gossip, hearsay, id, incarnation);
    if (record == NO_RECORD || count == 0) {
        return;
    }
    catch_up(gossip, record, incarnation);
    bool new = gossip->records[record].state == GOSSIP_ALIVE;
    if (!suspect(gossip, record, accusers, count)) {
        count_stale(gossip);
        return;
    }
    gossip->counters[GOSSIP_RUMOURS_SUSPECT]++;
    /* Some look for themselves at once: confirmations come sooner if it is dead, and if it is not,
     * it hears of the suspicion. Only the healthy may judge. */
    if (new && gossip->config.lifeguard && gossip->awareness == 0 &&
        random_below(gossip, live_count(gossip)) < WITNESSES) {
        probe_now(gossip, record);
    }
}

void merge_dead(struct gossip *gossip, struct hearsay *hearsay, const struct uuid *id,
                struct gossip_incarnation incarnation) {
    uint32_t record = accused(gossip, hearsay, id, incarnation);
    if (record == NO_RECORD) {
        return;
    }
    catch_up(gossip, record, incarnation);
    gossip->counters[GOSSIP_RUMOURS_DEAD]++;
    if (!guard_holds(gossip, record)) {
        declare_dead(gossip, record);
        return;
    }
    uint32_t hearsay_only = 0;
    suspect(gossip, record, &hearsay_only, 1);
    guard_freeze(gossip, record);
}

static void leave_state(struct gossip *gossip, uint32_t record, enum gossip_state state,
                        bool seen_before) {
    end_suspicion(gossip, record);
    set_frozen(gossip, record, false);
    set_state(gossip, record, state);
    gossip->counters[GOSSIP_RUMOURS_LEFT]++;
    if (state == GOSSIP_LEFT) {
        tell_member(gossip, GOSSIP_CHANGE_LEFT, record);
    } else if (seen_before) {
        tell_member(gossip, GOSSIP_CHANGE_REAPED, record);
    }
    queue_rumour(gossip, record);
}

/* Leaves and tombstones, which the dead can come to as well. Who seems dead may have refuted
 * something after what the leaver, or the operator who removes it, last knew: the same life is
 * meant. */
static void merge_end(struct gossip *gossip, struct hearsay *hearsay, const struct uuid *id,
                      struct gossip_incarnation incarnation, enum gossip_state state) {
    if (incarnation_is_future(gossip, incarnation)) {
        return;
    }
    uint32_t record = find_record(gossip, id);
    if (record == SELF) {
        if (!gossip->leaving) {
            refute(gossip, incarnation);
        }
        return;
    }
    if (record == NO_RECORD) {
        count_stale(gossip);
        return;
    }
    struct record *r = &gossip->records[record];
    bool seems_dead = r->state == GOSSIP_DEAD || is_frozen(r);
    if (seems_dead && incarnation.boot_epoch == r->incarnation.boot_epoch &&
        incarnation.counter < r->incarnation.counter && !MUTANT(refuted_outlives_removal)) {
        incarnation = r->incarnation;
    }
    int order = gossip_incarnation_compare(incarnation, r->incarnation);
    if (order < 0 && is_live(r)) {
        correct(gossip, hearsay, record);
        return;
    }
    if (order < 0 || (uint8_t)state <= r->state) {
        if (order > 0) {
            set_incarnation(gossip, record, incarnation);
        }
        count_stale(gossip);
        return;
    }
    set_incarnation(gossip, record, incarnation);
    leave_state(gossip, record, state, r->state != GOSSIP_REMOVED);
}

void merge_left(struct gossip *gossip, struct hearsay *hearsay, const struct uuid *id,
                struct gossip_incarnation incarnation, bool prune) {
    merge_end(gossip, hearsay, id, incarnation, prune ? GOSSIP_REMOVED : GOSSIP_LEFT);
}

void merge_removed(struct gossip *gossip, struct hearsay *hearsay, const struct uuid *id,
                   struct gossip_incarnation incarnation) {
    merge_end(gossip, hearsay, id, incarnation, GOSSIP_REMOVED);
}

uint64_t keep_gone_ms(const struct gossip *gossip, const struct gossip_descriptor *descriptor,
                      enum gossip_state state) {
    return state != GOSSIP_DEAD           ? gossip->config.reap_left_ms
           : descriptor->reap_dead_ms > 0 ? descriptor->reap_dead_ms
                                          : gossip->config.reap_dead_ms;
}

static void merge_new_gone(struct gossip *gossip, const struct hearsay *hearsay,
                           const struct member_state *member) {
    const struct gossip_descriptor *descriptor =
        descriptor_intern(gossip->descriptors, member->descriptor, member->descriptor_bytes);
    uint64_t keep_ms = keep_gone_ms(gossip, descriptor, member->state);
    /* Shortly before it is forgotten it may have been forgotten here already. */
    if (member->age_s * UINT64_C(1000) + REAP_SLACK_MS < keep_ms) {
        merge_new(gossip, hearsay, member, member->state);
    }
    descriptor_release(gossip->descriptors, descriptor);
}

static void merge_gone(struct gossip *gossip, struct hearsay *hearsay,
                       const struct member_state *member) {
    struct uuid id = id_in(member);
    uint32_t record = find_record(gossip, &id);
    if (record == NO_RECORD) {
        merge_new_gone(gossip, hearsay, member);
        return;
    }
    if (member->state == GOSSIP_DEAD) {
        /* A peer may be wrong, and the member can still refute: suspect it only. */
        uint32_t hearsay_only = 0;
        merge_suspect(gossip, hearsay, &id, member->incarnation, &hearsay_only, 1);
    } else {
        merge_end(gossip, hearsay, &id, member->incarnation, member->state);
    }
}

bool merge_member(struct gossip *gossip, struct hearsay *hearsay,
                  const struct member_state *member) {
    if (!is_acceptable(gossip, member)) {
        return false;
    }
    if (member->state == GOSSIP_ALIVE || member->state == GOSSIP_SUSPECT) {
        merge_alive(gossip, hearsay, member);
    } else {
        merge_gone(gossip, hearsay, member);
    }
    if (member->state == GOSSIP_SUSPECT) {
        struct uuid id = id_in(member);
        uint32_t hearsay_only = 0;
        uint32_t record = find_record(gossip, &id);
        if (record == SELF ||
            (record != NO_RECORD && gossip->records[record].state == GOSSIP_ALIVE)) {
            merge_suspect(gossip, hearsay, &id, member->incarnation, &hearsay_only, 1);
        }
    }
    return true;
}
