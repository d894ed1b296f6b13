/* Push/pull over streams: a full exchange at a join, and between random members now and then one
 * that begins with sums over buckets of ids, so that members who agree exchange half a kilobyte
 * and others only the buckets that differ. What rumours have missed is repaired here. */
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "gossip/internal.h"

#define EXCHANGES_MAX 256
#define REAPED_A_ROUND 64

void add_exchange(struct gossip *gossip, uint64_t stream, enum exchange_kind kind,
                  const struct gossip_address *address) {
    if (gossip->exchange_count == gossip->exchange_capacity) {
        gossip->exchange_capacity = gossip->exchange_capacity * 2 + 4;
        gossip->exchanges =
            mem_realloc(gossip->exchanges, gossip->exchange_capacity * sizeof *gossip->exchanges);
    }
    gossip->exchanges[gossip->exchange_count++] =
        (struct exchange){.stream = stream, .kind = kind, .address = *address};
}

static bool take_exchange(struct gossip *gossip, uint64_t stream, struct exchange *ret_exchange) {
    for (uint32_t i = 0; i < gossip->exchange_count; i++) {
        if (gossip->exchanges[i].stream == stream) {
            *ret_exchange = gossip->exchanges[i];
            gossip->exchanges[i] = gossip->exchanges[--gossip->exchange_count];
            return true;
        }
    }
    return false;
}

void forget_exchange(struct gossip *gossip, uint64_t stream) {
    struct exchange exchange;
    (void)take_exchange(gossip, stream, &exchange);
}

/* ---- writing ---- */

static void write_member(struct gossip *gossip, uint32_t record) {
    struct buf *out = &gossip->output->bytes;
    const struct record *r = &gossip->records[record];
    const struct gossip_descriptor *descriptor = r->descriptor;
    uint64_t changed = changed_at_ms(gossip, r);
    uint32_t age_s = changed > gossip->now_ms ? 0 : (uint32_t)((gossip->now_ms - changed) / 1000);
    size_t body = 1 + incarnation_bytes(r->incarnation) + varint_bytes(age_s) +
                  varint_bytes(descriptor->encoded_bytes) + descriptor->encoded_bytes;
    write_section(out, MESSAGE_MEMBER, body);
    buf_append_byte(out, (char)r->state);
    write_incarnation(out, r->incarnation);
    write_varint(out, age_s);
    write_varint(out, descriptor->encoded_bytes);
    buf_append(out, descriptor->encoded, descriptor->encoded_bytes);
}

static void write_members(struct gossip *gossip, size_t start, uint64_t mask) {
    /* A descriptor that was missed must not be passed on as if it were the present one. */
    uint32_t first = (uint32_t)random_below(gossip, gossip->record_count);
    for (uint32_t i = 0; i < gossip->record_count; i++) {
        uint32_t record = (first + i) % gossip->record_count;
        const struct record *r = &gossip->records[record];
        bool wanted = (mask >> (r->descriptor->id_hash % MESSAGE_BUCKETS) & 1) != 0;
        if (wanted && (r->flags & RECORD_OLD_DESCRIPTOR) == 0 &&
            gossip->output->bytes.count - start <
                LIMIT_GOSSIP_STREAM_BYTES - 2 * LIMIT_GOSSIP_DESCRIPTOR_BYTES) {
            write_member(gossip, record);
        }
    }
}

static void write_sync_head(struct gossip *gossip, enum message_kind kind, uint8_t flags,
                            size_t more_bytes) {
    struct buf *out = &gossip->output->bytes;
    write_section(out, kind, 1 + 16 + more_bytes);
    buf_append_byte(out, (char)flags);
    write_id(out, &gossip->records[SELF].descriptor->info.id);
}

static size_t write_full(struct gossip *gossip, uint8_t flags) {
    size_t start = message_begin(gossip);
    write_sync_head(gossip, MESSAGE_SYNC_FULL, flags, 0);
    write_recent_events(gossip);
    write_members(gossip, start, UINT64_MAX);
    return start;
}

static size_t write_buckets(struct gossip *gossip, uint8_t flags, uint64_t mask) {
    size_t start = message_begin(gossip);
    write_sync_head(gossip, MESSAGE_SYNC_BUCKETS, flags, 8);
    write_u64(&gossip->output->bytes, mask);
    write_recent_events(gossip);
    write_members(gossip, start, mask);
    return start;
}

/* ---- beginning ---- */

void begin_join(struct gossip *gossip, const struct gossip_address *address) {
    if (gossip->exchange_count >= EXCHANGES_MAX) {
        struct gossip_change *change =
            tell(gossip, GOSSIP_CHANGE_JOIN_FAILED, NULL, (struct gossip_incarnation){0});
        change->address = *address;
        change->err = ERR_OVERLOADED;
        return;
    }
    gossip->counters[GOSSIP_SYNCS]++;
    uint64_t stream = message_open(gossip, write_full(gossip, SYNC_JOIN), address);
    add_exchange(gossip, stream, EXCHANGE_JOIN, address);
}

static void begin_sync(struct gossip *gossip, uint32_t record) {
    if (gossip->exchange_count >= EXCHANGES_MAX) {
        return;
    }
    gossip->counters[GOSSIP_SYNCS]++;
    size_t start = message_begin(gossip);
    write_sync_head(gossip, MESSAGE_SYNC_DIGEST, 0, 1 + 8 * MESSAGE_BUCKETS);
    buf_append_byte(&gossip->output->bytes, MESSAGE_BUCKETS);
    for (uint32_t i = 0; i < MESSAGE_BUCKETS; i++) {
        write_u64(&gossip->output->bytes, gossip->digest[i]);
    }
    write_recent_events(gossip);
    struct gossip_address to = gossip->records[record].descriptor->info.address;
    uint64_t stream = message_open(gossip, start, &to);
    add_exchange(gossip, stream, EXCHANGE_SYNC, &to);
}

void run_sync_round(struct gossip *gossip) {
    uint64_t interval = sync_interval_ms(&gossip->config, live_count(gossip));
    gossip->synced_at_ms = gossip->now_ms;
    task_start(gossip, &gossip->sync_round,
               gossip->now_ms + interval - interval / 8 + random_below(gossip, interval / 4 + 1));
    uint32_t record = find_record(gossip, &gossip->sync_with);
    gossip->sync_with = (struct uuid){0};
    if (record == NO_RECORD || record == SELF || !is_live(&gossip->records[record])) {
        if (random_members(gossip, 1, NO_RECORD, wanted_alive, &record) == 0) {
            return;
        }
    }
    begin_sync(gossip, record);
}

void sync_soon(struct gossip *gossip) {
    if (gossip->leaving) {
        return;
    }
    uint64_t gap = 5 * (uint64_t)gossip->config.gossip_interval_ms;
    uint64_t due = gossip->now_ms + random_below(gossip, gossip->config.gossip_interval_ms + 1);
    if (due < gossip->synced_at_ms + gap) {
        due = gossip->synced_at_ms + gap;
    }
    if (!task_started(&gossip->sync_round) || gossip->sync_round.timer.deadline_ms > (int64_t)due) {
        task_start(gossip, &gossip->sync_round, due);
    }
}

/* ---- messages ---- */

static bool read_member(struct gossip *gossip, struct hearsay *hearsay, struct reader *body) {
    struct member_state member = {0};
    uint8_t state = reader_u8(body);
    member.incarnation = reader_incarnation(body);
    member.age_s = reader_varint(body);
    member.descriptor_bytes = reader_varint(body);
    member.descriptor = reader_bytes(body, member.descriptor_bytes);
    if (body->failed || state > GOSSIP_REMOVED) {
        gossip->counters[GOSSIP_DROPPED_MEMBER]++;
        return false;
    }
    member.state = (enum gossip_state)state;
    return merge_member(gossip, hearsay, &member);
}

/* One malformed member is dropped, never the others. Returns how many there were. */
static uint32_t read_members(struct gossip *gossip, struct hearsay *hearsay,
                             struct reader *reader) {
    uint32_t members = 0;
    uint8_t kind;
    struct reader body;
    while (reader_section(reader, &kind, &body)) {
        if (kind == MESSAGE_EVENT) {
            receive_event(gossip, &body);
        } else if (kind == MESSAGE_EVENT_CLOCK) {
            receive_event_clock(gossip, &body);
        } else if (kind != MESSAGE_MEMBER) {
            gossip->counters[GOSSIP_SECTIONS_UNKNOWN]++;
        } else if (read_member(gossip, hearsay, &body)) {
            members++;
        }
    }
    return members;
}

/* Others that joined in the same moment were not yet known to whom we joined. */
static void look_again(struct gossip *gossip) {
    uint64_t second = 5 * (uint64_t)gossip->config.gossip_interval_ms;
    uint64_t due = gossip->now_ms + second + random_below(gossip, second);
    if (!gossip->leaving && gossip->sync_round.timer.deadline_ms > (int64_t)due) {
        task_start(gossip, &gossip->sync_round, due);
    }
}

static void receive_full(struct gossip *gossip, uint64_t stream, uint8_t flags,
                         const struct exchange *exchange, struct reader *reader) {
    bool reply = (flags & SYNC_REPLY) != 0;
    if (!reply && exchange == NULL) {
        message_send(gossip, write_full(gossip, SYNC_REPLY), stream);
    } else if (!reply || exchange == NULL || exchange->kind != EXCHANGE_JOIN) {
        gossip->counters[GOSSIP_DROPPED_UNEXPECTED]++;
        stream_close(gossip, stream);
        return;
    }
    stream_close(gossip, stream);
    struct hearsay hearsay = {.joining = exchange != NULL};
    uint32_t members = read_members(gossip, &hearsay, reader);
    if (exchange != NULL) {
        struct gossip_change *change =
            tell(gossip, GOSSIP_CHANGE_JOIN_DONE, NULL, (struct gossip_incarnation){0});
        change->address = exchange->address;
        change->members = members;
        look_again(gossip);
    }
}

static void receive_digest(struct gossip *gossip, uint64_t stream, struct reader *body,
                           struct reader *reader) {
    uint64_t mask = 0;
    uint32_t buckets = reader_u8(body);
    for (uint32_t i = 0; i < MESSAGE_BUCKETS; i++) {
        mask |= (uint64_t)(reader_u64(body) != gossip->digest[i]) << i;
    }
    if (body->failed || buckets != MESSAGE_BUCKETS) {
        gossip->counters[GOSSIP_DROPPED_MALFORMED]++;
        stream_close(gossip, stream);
        return;
    }
    if (MUTANT(digest_says_equal)) {
        mask = 0;
    }
    message_send(gossip, write_buckets(gossip, mask == 0 ? SYNC_REPLY : 0, mask), stream);
    if (mask == 0) {
        stream_close(gossip, stream);
    }
    struct hearsay hearsay = {0};
    read_members(gossip, &hearsay, reader); /* there are none, but events */
}

static void receive_buckets(struct gossip *gossip, uint64_t stream, uint8_t flags,
                            const struct exchange *exchange, struct reader *body,
                            struct reader *reader) {
    uint64_t mask = reader_u64(body);
    if (body->failed) {
        gossip->counters[GOSSIP_DROPPED_MALFORMED]++;
        stream_close(gossip, stream);
        return;
    }
    if ((flags & SYNC_REPLY) == 0) {
        if (exchange == NULL) { /* it answers a digest that was not ours */
            gossip->counters[GOSSIP_DROPPED_UNEXPECTED]++;
            stream_close(gossip, stream);
            return;
        }
        message_send(gossip, write_buckets(gossip, SYNC_REPLY, mask), stream);
    } else if (exchange != NULL && mask == 0) {
        gossip->counters[GOSSIP_SYNCS_EQUAL]++;
    }
    stream_close(gossip, stream);
    struct hearsay hearsay = {0};
    read_members(gossip, &hearsay, reader);
}

static void receive_sync(struct gossip *gossip, const struct gossip_event *event, uint8_t kind,
                         struct reader *body, struct reader *reader) {
    uint64_t stream = event->stream_message.stream;
    uint8_t flags = reader_u8(body);
    (void)reader_id(body);
    struct exchange exchange;
    bool own = take_exchange(gossip, stream, &exchange);
    if (body->failed || own != ((stream & GOSSIP_STREAM_OWN) != 0)) {
        gossip->counters[GOSSIP_DROPPED_UNEXPECTED]++;
        stream_close(gossip, stream);
    } else if (kind == MESSAGE_SYNC_FULL) {
        receive_full(gossip, stream, flags, own ? &exchange : NULL, reader);
    } else if (kind == MESSAGE_SYNC_BUCKETS) {
        receive_buckets(gossip, stream, flags, own ? &exchange : NULL, body, reader);
    } else if (!own) {
        receive_digest(gossip, stream, body, reader);
    } else {
        gossip->counters[GOSSIP_DROPPED_UNEXPECTED]++;
        stream_close(gossip, stream);
    }
}

static void receive_stream_ping(struct gossip *gossip, uint64_t stream, struct reader *body) {
    struct uuid target = reader_id(body);
    const struct uuid *self = &gossip->records[SELF].descriptor->info.id;
    if (body->failed || memcmp(&target, self, sizeof target) != 0) {
        gossip->counters[GOSSIP_DROPPED_MISDIRECTED]++;
    } else {
        size_t start = message_begin(gossip);
        write_section(&gossip->output->bytes, MESSAGE_STREAM_ACK, 16);
        write_id(&gossip->output->bytes, self);
        message_send(gossip, start, stream);
    }
    stream_close(gossip, stream);
}

static void receive_stream_ack(struct gossip *gossip, uint64_t stream) {
    struct exchange exchange;
    bool own = take_exchange(gossip, stream, &exchange);
    if (own && exchange.kind == EXCHANGE_PING) {
        probe_stream_done(gossip, stream, true, false);
    } else {
        gossip->counters[GOSSIP_DROPPED_UNEXPECTED]++;
    }
    stream_close(gossip, stream);
}

enum err receive_stream(struct gossip *gossip, const struct gossip_event *event) {
    uint64_t stream = event->stream_message.stream;
    size_t size = event->stream_message.size;
    gossip->counters[GOSSIP_STREAM_BYTES_RECEIVED] += size;
    struct reader reader, body;
    enum err err = ERR_CORRUPT;
    uint8_t kind;
    if (size > LIMIT_GOSSIP_STREAM_BYTES) {
        gossip->counters[GOSSIP_DROPPED_OVERSIZE]++;
    } else if (open_message(gossip, event->stream_message.data, size, &reader, &err)) {
        if (!reader_section(&reader, &kind, &body)) {
            gossip->counters[GOSSIP_DROPPED_TRUNCATED]++;
            err = ERR_CORRUPT;
        } else if (kind == MESSAGE_STREAM_PING) {
            receive_stream_ping(gossip, stream, &body);
            return ERR_OK;
        } else if (kind == MESSAGE_STREAM_ACK) {
            receive_stream_ack(gossip, stream);
            return ERR_OK;
        } else if (kind >= MESSAGE_SYNC_FULL && kind <= MESSAGE_SYNC_BUCKETS) {
            receive_sync(gossip, event, kind, &body, &reader);
            if (reader.failed) {
                gossip->counters[GOSSIP_DROPPED_TRUNCATED]++;
            }
            return reader.failed ? ERR_CORRUPT : ERR_OK;
        } else {
            gossip->counters[GOSSIP_SECTIONS_UNKNOWN]++;
            err = ERR_OK;
        }
    }
    stream_close(gossip, stream);
    if ((stream & GOSSIP_STREAM_OWN) != 0) {
        stream_failed(gossip, stream, false);
    }
    return err;
}

void stream_failed(struct gossip *gossip, uint64_t stream, bool refused) {
    struct exchange exchange;
    if (!take_exchange(gossip, stream, &exchange)) {
        return;
    }
    if (exchange.kind == EXCHANGE_PING) {
        probe_stream_done(gossip, stream, false, refused);
        return;
    }
    gossip->counters[GOSSIP_SYNCS_FAILED]++;
    if (exchange.kind == EXCHANGE_JOIN) {
        struct gossip_change *change =
            tell(gossip, GOSSIP_CHANGE_JOIN_FAILED, NULL, (struct gossip_incarnation){0});
        change->address = exchange.address;
        change->err = ERR_CLOSED;
    }
}

/* ---- reaping ---- */

void run_reap_round(struct gossip *gossip) {
    events_forget(gossip);
    uint32_t reaped = 0;
    for (uint32_t i = gossip->record_count; i-- > 1 && reaped < REAPED_A_ROUND;) {
        const struct record *r = &gossip->records[i];
        if (is_live(r) || gossip->now_ms < changed_at_ms(gossip, r) +
                                               keep_gone_ms(gossip, r->descriptor, r->state)) {
            continue;
        }
        if (r->state != GOSSIP_REMOVED) {
            tell(gossip, GOSSIP_CHANGE_REAPED, r->descriptor, r->incarnation);
        }
        remove_record(gossip, i);
        reaped++;
    }
    uint64_t least = gossip->config.reap_dead_ms < gossip->config.reap_left_ms
                         ? gossip->config.reap_dead_ms
                         : gossip->config.reap_left_ms;
    uint64_t interval = least / 8 > 60000 ? 60000 : least / 8 < 1000 ? 1000 : least / 8;
    task_start(gossip, &gossip->reap_round,
               gossip->now_ms + (reaped == REAPED_A_ROUND ? 100 : interval));
}
