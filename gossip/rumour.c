/* Rumours: what is piggybacked on probes ([SWIM] 4.1) and told to random members in rounds while
 * there is any. One rumour a member: what it says is the record's present state, so a newer one
 * takes the older one's place. Each goes out multiplier * ceil(log10(n + 1)) times; the least told
 * go first, of these the newest. */
#include "base/assert.h"
#include "gossip/internal.h"

/* A rumour is told some sixteen times in 40 bytes, a push/pull brings some 120 bytes a member. */
#define SYNC_PART 8

static void link_at(struct gossip *gossip, struct activity *activity, uint32_t level) {
    uint32_t place = gossip->records[activity->record].activity;
    ASSERT(place != 0 && level < RUMOUR_LEVELS);
    activity->queued = true;
    activity->transmits = (uint8_t)level;
    activity->previous = 0;
    activity->next = gossip->level_first[level];
    if (activity->next != 0) {
        gossip->activities[activity->next - 1]->previous = place;
    }
    gossip->level_first[level] = place;
    gossip->rumour_count++;
}

static void unlink_from(struct gossip *gossip, struct activity *activity) {
    if (activity->previous != 0) {
        gossip->activities[activity->previous - 1]->next = activity->next;
    } else {
        gossip->level_first[activity->transmits] = activity->next;
    }
    if (activity->next != 0) {
        gossip->activities[activity->next - 1]->previous = activity->previous;
    }
    activity->queued = false;
    gossip->rumour_count--;
}

void unqueue_rumour(struct gossip *gossip, uint32_t record) {
    struct activity *activity = activity_find(gossip, record);
    if (activity != NULL && activity->queued) {
        unlink_from(gossip, activity);
    }
}

void start_talk(struct gossip *gossip) {
    if (gossip->gossip_round.timer.slot == 0) {
        /* The first after a quiet time goes out at once, but not all members' in one moment. */
        uint64_t interval = gossip->config.gossip_interval_ms;
        uint64_t due = gossip->gossip_round_at_ms + interval;
        uint64_t soon = gossip->now_ms + random_below(gossip, interval / 4 + 1);
        task_start(gossip, &gossip->gossip_round, due > soon ? due : soon);
    }
}

void queue_rumour(struct gossip *gossip, uint32_t record) {
    struct activity *activity = activity_of(gossip, record);
    if (activity->queued) {
        unlink_from(gossip, activity);
    }
    link_at(gossip, activity, 0);
    start_talk(gossip);
}

static bool write_alive(struct buf *out, const struct record *record, size_t room) {
    uint32_t encoded = record->descriptor->encoded_bytes;
    size_t body = incarnation_bytes(record->incarnation) + varint_bytes(encoded) + encoded;
    if (1 + varint_bytes((uint32_t)body) + body > room) {
        return false;
    }
    write_section(out, MESSAGE_ALIVE, body);
    write_incarnation(out, record->incarnation);
    write_varint(out, encoded);
    buf_append(out, record->descriptor->encoded, encoded);
    return true;
}

static bool write_accusation(struct buf *out, const struct record *record,
                             const struct activity *activity, size_t room) {
    static const uint8_t kinds[] = {[GOSSIP_SUSPECT] = MESSAGE_SUSPECT,
                                    [GOSSIP_DEAD] = MESSAGE_DEAD,
                                    [GOSSIP_LEFT] = MESSAGE_LEFT,
                                    [GOSSIP_REMOVED] = MESSAGE_REMOVED};
    size_t body = 16 + incarnation_bytes(record->incarnation);
    uint32_t accusers = activity != NULL ? activity->accuser_count : 0;
    if (record->state == GOSSIP_SUSPECT) {
        body += 1 + 4 * accusers;
    } else if (record->state == GOSSIP_LEFT) {
        body += 1;
    }
    if (2 + body > room) {
        return false;
    }
    write_section(out, kinds[record->state], body);
    write_id(out, &record->descriptor->info.id);
    write_incarnation(out, record->incarnation);
    if (record->state == GOSSIP_SUSPECT) {
        buf_append_byte(out, (char)accusers);
        for (uint32_t i = 0; i < accusers; i++) {
            write_u32(out, activity->accusers[i]);
        }
    } else if (record->state == GOSSIP_LEFT) {
        buf_append_byte(out, 0);
    }
    return true;
}

bool write_rumour(struct gossip *gossip, struct buf *out, uint32_t record, size_t room) {
    const struct record *r = &gossip->records[record];
    if (r->state == GOSSIP_ALIVE) {
        return write_alive(out, r, room);
    }
    return write_accusation(out, r, activity_find(gossip, record), room);
}

void write_subject(struct gossip *gossip, size_t start, uint32_t record) {
    if (write_rumour(gossip, &gossip->output->bytes, record, packet_room(gossip, start))) {
        gossip->packet_subject = record;
    }
}

/* Forgets a rumour that has been told often enough. */
static void retire(struct gossip *gossip, uint32_t record) {
    activity_drop_idle(gossip, record);
    if (record == SELF && gossip->leaving && !gossip->left) {
        /* The last packets are on their way; a moment more. */
        task_start(gossip, &gossip->leave, gossip->now_ms + gossip->config.gossip_interval_ms);
    }
}

/* Rumours that went into one packet, linked by `next` until they find their new level. */
static void requeue(struct gossip *gossip, uint32_t picked, uint32_t limit) {
    while (picked != 0) {
        struct activity *activity = gossip->activities[picked - 1];
        picked = activity->next;
        uint32_t told = activity->transmits + 1u;
        if (told < limit) {
            link_at(gossip, activity, told);
        } else {
            retire(gossip, activity->record);
        }
    }
}

uint32_t retransmit_limit(const struct gossip *gossip) {
    uint32_t digits = digits10(live_count(gossip));
    uint32_t limit = gossip->config.retransmit_multiplier * (digits < 2 ? 2 : digits);
    return limit > RUMOUR_LEVELS ? RUMOUR_LEVELS : limit;
}

void write_rumours(struct gossip *gossip, struct buf *out, size_t start) {
    if (gossip->rumour_count == 0) {
        return;
    }
    uint32_t limit = retransmit_limit(gossip);
    uint32_t picked = 0;
    uint32_t misses = 0; /* too long for the room that is left */
    for (uint32_t level = 0; level < RUMOUR_LEVELS && misses < 4; level++) {
        for (uint32_t at = gossip->level_first[level]; at != 0 && misses < 4;) {
            struct activity *activity = gossip->activities[at - 1];
            uint32_t next = activity->next;
            if (activity->record == gossip->packet_subject ||
                write_rumour(gossip, out, activity->record, packet_room(gossip, start))) {
                unlink_from(gossip, activity);
                activity->next = picked;
                picked = at;
            } else {
                misses++;
            }
            at = next;
        }
    }
    requeue(gossip, picked, limit);
}

/* The suspect, who should hear of it, and the recently dead, who may only seem so. */
static bool wanted_doubtful(const struct gossip *gossip, const struct record *record) {
    return record->state == GOSSIP_SUSPECT ||
           (record->state == GOSSIP_DEAD &&
            gossip->now_ms < changed_at_ms(gossip, record) + gossip->config.gossip_to_dead_ms);
}

#define FANOUT_MAX 16

static bool has_talk(const struct gossip *gossip) {
    return gossip->rumour_count > 0 || events_queued(gossip) > 0;
}

void run_gossip_round(struct gossip *gossip) {
    gossip->gossip_round_at_ms = gossip->now_ms;
    uint32_t targets[FANOUT_MAX + 1];
    uint32_t fanout = gossip->config.gossip_fanout;
    fanout = fanout < FANOUT_MAX ? fanout : FANOUT_MAX;
    /* Alive ones, so that no rumour ends among the dead; one doubtful one besides. */
    uint32_t count = random_members(gossip, fanout, NO_RECORD, wanted_alive, targets);
    if (gossip->counts[GOSSIP_SUSPECT] > 0 ||
        (gossip->counts[GOSSIP_DEAD] > 0 &&
         gossip->now_ms < gossip->death_at_ms + gossip->config.gossip_to_dead_ms)) {
        count += random_members(gossip, 1, NO_RECORD, wanted_doubtful, targets + count);
    }
    for (uint32_t i = 0; i < count && has_talk(gossip); i++) {
        size_t start = packet_begin(gossip);
        struct gossip_address to = gossip->records[targets[i]].descriptor->info.address;
        packet_end(gossip, start, &to);
    }
    if (has_talk(gossip) && count > 0) {
        task_start(gossip, &gossip->gossip_round,
                   gossip->now_ms + gossip->config.gossip_interval_ms);
    }
    /* Whoever has much to tell is better served by a push/pull, and much is a part of its table. */
    uint32_t part = live_count(gossip) / SYNC_PART;
    if (gossip->rumour_count > gossip->config.rumours_before_sync && gossip->rumour_count > part) {
        sync_soon(gossip);
    }
}

static bool wanted_server(const struct gossip *gossip, const struct record *record) {
    return record->descriptor->info.server && wanted_alive(gossip, record);
}

void tell_servers(struct gossip *gossip) {
    uint32_t targets[FANOUT_MAX];
    uint32_t count = random_members(gossip, FANOUT_MAX, NO_RECORD, wanted_server, targets);
    for (uint32_t i = 0; i < count; i++) {
        struct gossip_address to = gossip->records[targets[i]].descriptor->info.address;
        size_t start = packet_begin(gossip);
        write_rumour(gossip, &gossip->output->bytes, SELF, packet_room(gossip, start));
        packet_end(gossip, start, &to);
    }
}

static bool wanted_dead(const struct gossip *gossip, const struct record *record) {
    (void)gossip;
    return record->state == GOSSIP_DEAD;
}

/* After a partition each side holds the other dead. One ping now and then, with what is said of the
 * member: if it lives, it answers, and all find each other again. */
void run_reconnect_round(struct gossip *gossip) {
    uint32_t interval = gossip->config.sync_interval_ms / 3 + 1;
    task_start(gossip, &gossip->reconnect_round,
               gossip->now_ms + interval / 2 + random_below(gossip, interval));
    uint32_t record;
    if (gossip->leaving || gossip->counts[GOSSIP_DEAD] == 0 ||
        random_below(gossip, live_count(gossip)) >= gossip->counts[GOSSIP_DEAD] * 4ull ||
        random_members(gossip, 1, NO_RECORD, wanted_dead, &record) == 0) {
        return;
    }
    size_t start = packet_begin(gossip);
    struct gossip_address to = gossip->records[record].descriptor->info.address;
    write_subject(gossip, start, record);
    write_rumour(gossip, &gossip->output->bytes, SELF, packet_room(gossip, start));
    packet_end(gossip, start, &to);
}
