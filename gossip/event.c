/* User events: bytes that one member sends to all that are alive, each told once or, to a member
 * that hears of it too late, never. They travel as rumours do ([SWIM] 4.1), behind those, and in
 * push/pulls to whom the rumours have missed.
 *
 * Once only: ids are remembered, in the order of a Lamport time (Lamport 1978), which each event
 * takes one above all that its sender knows of. What is forgotten leaves a floor behind: an event
 * at or below it counts as known. So memory is bounded, and nothing is told twice.
 *
 * An event carries its age. One from before this member's start is not told to it. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "gossip/internal.h"

#define FRESH_MS 10000 /* older ones reach nobody for the first time by a rumour */
#define KEPT_SYNCS 4   /* so many push/pulls a body is kept for */
#define RECENT_MAX 256 /* told in one push/pull */
#define LTIME_MAX (UINT64_MAX / 2)

struct user_event {
    struct uuid id;
    uint64_t ltime;
    int64_t born_at_ms; /* as the ages told it; may be before this member's start */
    uint8_t *body;      /* NULL: only its id is kept */
    uint32_t size;
    uint8_t transmits;
    bool queued;  /* to be told; then it has a body */
    bool written; /* into the packet being made */
};

struct user_events {
    struct user_event v[LIMIT_GOSSIP_EVENTS]; /* by ltime */
    uint32_t count, queued;
    size_t bytes;   /* of all bodies */
    uint64_t clock; /* highest ltime known of */
    uint64_t floor; /* < all in v, but for equal ones; highest ltime that was forgotten */
};

static struct user_events *events_of(struct gossip *gossip) {
    if (gossip->events == NULL) {
        gossip->events = mem_calloc(1, sizeof *gossip->events);
    }
    return gossip->events;
}

uint32_t events_queued(const struct gossip *gossip) {
    return gossip->events != NULL ? gossip->events->queued : 0;
}

static void unqueue(struct user_events *events, struct user_event *event) {
    events->queued -= event->queued;
    event->queued = false;
}

static void drop_body(struct user_events *events, struct user_event *event) {
    unqueue(events, event);
    events->bytes -= event->size;
    free(event->body);
    event->body = NULL;
    event->size = 0;
}

static uint64_t age_ms(const struct gossip *gossip, const struct user_event *event) {
    int64_t age = (int64_t)gossip->now_ms - event->born_at_ms;
    return age < 0 ? 0 : (uint64_t)age;
}

void events_forget(struct gossip *gossip) {
    struct user_events *events = gossip->events;
    uint64_t keep_ms = KEPT_SYNCS * (uint64_t)gossip->config.sync_interval_ms;
    for (uint32_t i = 0; events != NULL && i < events->count; i++) {
        if (events->v[i].body != NULL && age_ms(gossip, &events->v[i]) > keep_ms) {
            drop_body(events, &events->v[i]);
        }
    }
}

void events_clear(struct gossip *gossip) {
    struct user_events *events = gossip->events;
    for (uint32_t i = 0; events != NULL && i < events->count; i++) {
        free(events->v[i].body);
    }
    free(events);
}

/* ---- one more ---- */

static bool is_known(const struct user_events *events, const struct uuid *id) {
    for (uint32_t i = events->count; i-- > 0;) {
        if (memcmp(&events->v[i].id, id, sizeof *id) == 0) {
            return true;
        }
    }
    return false;
}

/* The place of a new one; NULL: it is older than all that is remembered. */
static struct user_event *make_room(struct user_events *events, uint64_t ltime) {
    if (events->count == LIMIT_GOSSIP_EVENTS) {
        struct user_event *first = &events->v[0];
        if (first->ltime >= ltime) {
            return NULL;
        }
        events->floor = first->ltime > events->floor ? first->ltime : events->floor;
        drop_body(events, first);
        memmove(first, first + 1, --events->count * sizeof *first);
    }
    uint32_t at = events->count;
    while (at > 0 && events->v[at - 1].ltime > ltime) {
        at--;
    }
    memmove(&events->v[at + 1], &events->v[at], (events->count - at) * sizeof events->v[0]);
    events->count++;
    return &events->v[at];
}

static void keep_body(struct user_events *events, struct user_event *event, const uint8_t *data,
                      uint32_t size) {
    event->body = mem_memdup(data, size);
    event->size = size;
    events->bytes += size;
    for (uint32_t i = 0; events->bytes > LIMIT_GOSSIP_EVENTS_BYTES && i < events->count; i++) {
        if (events->v[i].body != NULL && &events->v[i] != event) {
            drop_body(events, &events->v[i]);
        }
    }
}

static void tell_event(struct gossip *gossip, const struct user_event *event) {
    struct buf *out = &gossip->output->bytes;
    size_t offset = out->count;
    buf_append(out, event->body, event->size);
    if (out->failed) {
        return;
    }
    struct gossip_change *change =
        tell(gossip, GOSSIP_CHANGE_USER_EVENT, NULL, (struct gossip_incarnation){0});
    change->event_id = event->id;
    change->ltime = event->ltime;
    change->offset = (uint32_t)offset;
    change->size = event->size;
    gossip->counters[GOSSIP_USER_EVENTS]++;
}

static void queue_event(struct gossip *gossip, struct user_event *event) {
    struct user_events *events = gossip->events;
    if (live_count(gossip) > 1 && events->queued < LIMIT_GOSSIP_EVENTS_QUEUED) {
        event->queued = true;
        events->queued++;
        start_talk(gossip);
    }
}

static void add_event(struct gossip *gossip, const struct uuid *id, uint64_t ltime,
                      int64_t born_at_ms, const uint8_t *data, uint32_t size) {
    struct user_events *events = gossip->events;
    struct user_event *event = make_room(events, ltime);
    if (event == NULL) {
        gossip->counters[GOSSIP_USER_EVENTS_OLD]++;
        return;
    }
    *event = (struct user_event){.id = *id, .ltime = ltime, .born_at_ms = born_at_ms};
    keep_body(events, event, data, size);
    if (born_at_ms >= (int64_t)gossip->created_at_ms || MUTANT(event_of_earlier_life)) {
        tell_event(gossip, event);
    }
    if (age_ms(gossip, event) <= FRESH_MS) {
        queue_event(gossip, event);
    }
}

enum err fire_event(struct gossip *gossip, const struct uuid *id, const uint8_t *data,
                    size_t size) {
    if (gossip->leaving) {
        return ERR_CLOSED;
    }
    if (size == 0 || size > LIMIT_GOSSIP_EVENT_BYTES) {
        return ERR_TOO_LARGE;
    }
    struct user_events *events = events_of(gossip);
    if (events->queued >= LIMIT_GOSSIP_EVENTS_QUEUED || events->clock >= LTIME_MAX) {
        return ERR_OVERLOADED;
    }
    add_event(gossip, id, ++events->clock, (int64_t)gossip->now_ms, data, (uint32_t)size);
    return ERR_OK;
}

/* ---- heard ---- */

static bool hear_ltime(struct gossip *gossip, uint64_t ltime) {
    if (ltime == 0 || ltime > LTIME_MAX) {
        gossip->counters[GOSSIP_DROPPED_MALFORMED]++;
        return false;
    }
    struct user_events *events = events_of(gossip);
    events->clock = ltime > events->clock ? ltime : events->clock;
    return true;
}

void receive_event_clock(struct gossip *gossip, struct reader *body) {
    uint64_t ltime = reader_u64(body);
    if (body->failed) {
        gossip->counters[GOSSIP_DROPPED_TRUNCATED]++;
    } else {
        (void)hear_ltime(gossip, ltime);
    }
}

void receive_event(struct gossip *gossip, struct reader *body) {
    struct uuid id = reader_id(body);
    uint64_t ltime = reader_u64(body);
    uint32_t age = reader_varint(body);
    uint32_t size = reader_varint(body);
    const uint8_t *data = reader_bytes(body, size);
    if (body->failed) {
        gossip->counters[GOSSIP_DROPPED_TRUNCATED]++;
        return;
    }
    if (size == 0 || size > LIMIT_GOSSIP_EVENT_BYTES) {
        gossip->counters[GOSSIP_DROPPED_MALFORMED]++;
        return;
    }
    if (!hear_ltime(gossip, ltime)) {
        return;
    }
    if (is_known(gossip->events, &id) && !MUTANT(event_told_again)) {
        gossip->counters[GOSSIP_USER_EVENTS_KNOWN]++;
    } else if (ltime <= gossip->events->floor) {
        gossip->counters[GOSSIP_USER_EVENTS_OLD]++;
    } else {
        add_event(gossip, &id, ltime, (int64_t)gossip->now_ms - age, data, size);
    }
}

/* ---- told ---- */

/* False: no room. */
static bool write_event(const struct gossip *gossip, struct buf *out,
                        const struct user_event *event, size_t room) {
    uint64_t exact = age_ms(gossip, event);
    uint32_t age = exact > UINT32_MAX ? UINT32_MAX : (uint32_t)exact;
    size_t body = 16 + 8 + varint_bytes(age) + varint_bytes(event->size) + event->size;
    if (1 + varint_bytes((uint32_t)body) + body > room) {
        return false;
    }
    write_section(out, MESSAGE_EVENT, body);
    write_id(out, &event->id);
    write_u64(out, event->ltime);
    write_varint(out, age);
    write_varint(out, event->size);
    buf_append(out, event->body, event->size);
    return true;
}

/* The least told first, of these the oldest: they come in the order in which they were fired. */
void write_events(struct gossip *gossip, struct buf *out, size_t start) {
    struct user_events *events = gossip->events;
    if (events == NULL || events->queued == 0) {
        return;
    }
    uint32_t limit = retransmit_limit(gossip), left = events->queued;
    for (uint32_t level = 0; level < limit && left > 0; level++) {
        for (uint32_t i = 0; i < events->count; i++) {
            struct user_event *event = &events->v[i];
            if (event->queued && !event->written && event->transmits == level) {
                left--;
                event->written = write_event(gossip, out, event, packet_room(gossip, start));
            }
        }
    }
    for (uint32_t i = 0; i < events->count; i++) {
        struct user_event *event = &events->v[i];
        event->transmits += event->written;
        if (event->written && event->transmits >= limit) {
            unqueue(events, event);
        }
        event->written = false;
    }
}

void write_recent_events(struct gossip *gossip) {
    struct user_events *events = gossip->events;
    struct buf *out = &gossip->output->bytes;
    if (events == NULL || events->clock == 0 || MUTANT(event_not_in_sync)) {
        return;
    }
    write_section(out, MESSAGE_EVENT_CLOCK, 8);
    write_u64(out, events->clock);
    events_forget(gossip);
    uint32_t first = events->count;
    for (uint32_t left = RECENT_MAX; first > 0 && left > 0; first--) {
        left -= events->v[first - 1].body != NULL;
    }
    for (uint32_t i = first; i < events->count; i++) {
        if (events->v[i].body != NULL) {
            (void)write_event(gossip, out, &events->v[i], SIZE_MAX);
        }
    }
}
