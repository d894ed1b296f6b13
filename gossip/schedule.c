/* Who probes whom, and when. [SWIM] 4.3 lets each member go round in an order of its own, so a
 * member is probed once a round on average, and now and then by nobody for several rounds. Here the
 * members share the round: its number rides on the pings. In round r the one at rank i of the live
 * members, ordered by id, probes the one at rank i + shift(r); each is probed once a round, by
 * another one each time, and always at its own moment of the round. Nothing rests on it: members
 * that count or rank otherwise for a while probe at random.
 *
 * The clock of rounds counts 256ths of a probe interval. Members take over any that is ahead of
 * theirs, so in the end all have the one that is furthest. It wraps on the wire, at 32 bits. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "gossip/internal.h"

#define TICKS 256 /* of a round */

struct place {
    uint64_t id_hash;
    uint32_t record;
};

static int compare_places(const void *a, const void *b) {
    const struct place *x = a, *y = b;
    if (x->id_hash != y->id_hash) {
        return x->id_hash < y->id_hash ? -1 : 1;
    }
    return x->record < y->record ? -1 : x->record > y->record;
}

/* The first place whose id_hash is not below this one. */
static uint32_t lower_bound(const struct gossip *gossip, uint64_t id_hash) {
    uint32_t low = 0, high = gossip->order_count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (gossip->records[gossip->order[middle]].descriptor->id_hash < id_hash) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static uint32_t place_of(const struct gossip *gossip, uint32_t record) {
    uint32_t place = lower_bound(gossip, gossip->records[record].descriptor->id_hash);
    while (place < gossip->order_count && gossip->order[place] != record) {
        place++; /* of equal hashes, if ever */
    }
    return place;
}

static void reserve(struct gossip *gossip, uint32_t count) {
    if (count > gossip->order_capacity) {
        gossip->order_capacity = count + count / 4 + 16;
        gossip->order = mem_realloc(gossip->order, gossip->order_capacity * sizeof *gossip->order);
    }
}

void schedule_add(struct gossip *gossip, uint32_t record) {
    if (!gossip->order_valid) {
        return;
    }
    reserve(gossip, gossip->order_count + 1);
    uint32_t place = lower_bound(gossip, gossip->records[record].descriptor->id_hash);
    memmove(gossip->order + place + 1, gossip->order + place,
            (gossip->order_count - place) * sizeof *gossip->order);
    gossip->order[place] = record;
    gossip->order_count++;
}

void schedule_remove(struct gossip *gossip, uint32_t record) {
    if (!gossip->order_valid) {
        return;
    }
    uint32_t place = place_of(gossip, record);
    ASSERT(place < gossip->order_count);
    gossip->order_count--;
    memmove(gossip->order + place, gossip->order + place + 1,
            (gossip->order_count - place) * sizeof *gossip->order);
}

void schedule_renumber(struct gossip *gossip, uint32_t from, uint32_t to) {
    if (gossip->order_valid) {
        uint32_t place = place_of(gossip, from);
        ASSERT(place < gossip->order_count);
        gossip->order[place] = to;
    }
}

/* Made at the first use: a pool learns most of its members at once. */
static void make_order(struct gossip *gossip) {
    struct place *places = mem_calloc(gossip->record_count, sizeof *places);
    uint32_t count = 0;
    for (uint32_t i = 0; i < gossip->record_count; i++) {
        if (is_live(&gossip->records[i])) {
            places[count++] = (struct place){gossip->records[i].descriptor->id_hash, i};
        }
    }
    qsort(places, count, sizeof *places, compare_places);
    reserve(gossip, count);
    for (uint32_t i = 0; i < count; i++) {
        gossip->order[i] = places[i].record;
    }
    gossip->order_count = count;
    gossip->order_valid = true;
    free(places);
}

static uint64_t round_us(const struct gossip *gossip) {
    return (uint64_t)gossip->config.probe_interval_ms * 1000;
}

/* Since the clock's origin, which never lies ahead. */
static uint64_t ticks_now(const struct gossip *gossip) {
    return (uint64_t)((int64_t)gossip->now_us - gossip->clock_origin_us) * TICKS / round_us(gossip);
}

uint32_t probe_clock(const struct gossip *gossip) {
    return (uint32_t)ticks_now(gossip);
}

void probe_clock_heard(struct gossip *gossip, uint32_t clock) {
    int32_t ahead = (int32_t)(clock - probe_clock(gossip));
    if (ahead <= 0 || MUTANT(rounds_not_shared)) {
        return;
    }
    gossip->clock_origin_us -= (int64_t)((uint64_t)ahead * round_us(gossip) / TICKS);
    uint64_t turn_us = round_us(gossip) << 24; /* 2^32 ticks: the same on the wire */
    if ((int64_t)gossip->now_us - gossip->clock_origin_us > (int64_t)(2 * turn_us)) {
        gossip->clock_origin_us += (int64_t)turn_us;
    }
}

/* Whom this member probes in a round; NO_RECORD: it is alone. */
static uint32_t target_of(struct gossip *gossip, uint64_t round) {
    if (!gossip->order_valid) {
        make_order(gossip);
    }
    uint32_t count = gossip->order_count;
    uint32_t rank = place_of(gossip, SELF);
    if (count < 2 || rank >= count) {
        return NO_RECORD;
    }
    uint64_t number = round & 0xffffff; /* as much as is on the wire */
    if (MUTANT(rounds_not_shared)) {
        number ^= gossip->self_accuser;
    }
    uint32_t shift = 1 + (uint32_t)(hash_mix(number) % (count - 1));
    return gossip->order[(uint32_t)(((uint64_t)rank + shift) % count)];
}

uint32_t next_to_probe(struct gossip *gossip, uint32_t skip, uint64_t *ret_next_at_ms) {
    uint64_t round = ticks_now(gossip) / TICKS;
    uint32_t record = target_of(gossip, round);
    uint64_t next = round + 1 + skip;
    uint32_t then = target_of(gossip, next);
    uint64_t moment =
        then == NO_RECORD ? 0 : gossip->records[then].descriptor->id_hash >> 40 & (TICKS - 1);
    int64_t at_us =
        gossip->clock_origin_us + (int64_t)((next * TICKS + moment) * round_us(gossip) / TICKS);
    *ret_next_at_ms = (uint64_t)(at_us + 999) / 1000 + 1; /* not a tick too early */
    return record;
}
