/* Probing ([SWIM] 3.1): each round one member is pinged (gossip/schedule.c); if it does not answer,
 * k others ping it for us, and a stream is tried, for networks that lose packets only. A relay that
 * got no answer either says so: its nack tells that the fault is not ours ([Lifeguard] 4.1). */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "gossip/internal.h"

#define RELAYS_MAX 8

static struct probe *find_probe(const struct gossip *gossip, uint32_t sequence) {
    for (uint32_t i = 0; i < gossip->probe_count; i++) {
        if (gossip->probes[i]->sequence == sequence) {
            return gossip->probes[i];
        }
    }
    return NULL;
}

static void drop_probe(struct gossip *gossip, struct probe *probe) {
    uint32_t at = 0;
    while (gossip->probes[at] != probe) {
        at++;
    }
    gossip->probes[at] = gossip->probes[--gossip->probe_count];
    task_stop(gossip, &probe->task);
    if (probe->stream != 0) {
        forget_exchange(gossip, probe->stream);
        stream_close(gossip, probe->stream);
    }
    free(probe);
}

static void write_ping(struct gossip *gossip, uint32_t sequence, const struct uuid *target,
                       bool coordinate) {
    struct buf *out = &gossip->output->bytes;
    write_section(out, MESSAGE_PING, 4 + 1 + 4 + 4 + 4);
    write_u32(out, sequence);
    buf_append_byte(out, coordinate ? PING_COORDINATE : 0);
    write_u32(out, (uint32_t)descriptor_hash_id(target));
    write_u32(out, (uint32_t)gossip->records[SELF].descriptor->id_hash);
    write_u32(out, probe_clock(gossip));
}

static void send_ping(struct gossip *gossip, const struct probe *probe, uint32_t record) {
    size_t start = packet_begin(gossip);
    /* A sample in eight is enough for a coordinate that moves slowly; where the member's own is
     * wanted too, each answer tells it. */
    write_ping(gossip, probe->sequence, &probe->target,
               gossip->config.coordinates &&
                   (keeps_coordinate(gossip, record) || one_in(gossip, 8)));
    /* [Lifeguard] 4.3, buddy: whoever is suspect hears it from the first who pings him. */
    if (gossip->config.lifeguard && gossip->records[record].state == GOSSIP_SUSPECT &&
        !MUTANT(buddy_missing)) {
        write_subject(gossip, start, record);
    }
    packet_end(gossip, start, &probe->address);
}

void probe_now(struct gossip *gossip, uint32_t record) {
    if (record == SELF || !is_live(&gossip->records[record]) || gossip->leaving) {
        return;
    }
    const struct gossip_info *info = &gossip->records[record].descriptor->info;
    for (uint32_t i = 0; i < gossip->probe_count; i++) {
        if (memcmp(&gossip->probes[i]->target, &info->id, sizeof info->id) == 0) {
            return;
        }
    }
    if (gossip->probe_count == LIMIT_GOSSIP_PROBES) {
        return; /* it will be its turn in a later round */
    }
    struct probe *probe = mem_calloc(1, sizeof *probe);
    probe->task.kind = TASK_PROBE;
    probe->sequence = gossip->sequence++;
    probe->target = info->id;
    probe->address = info->address;
    probe->sent_at_us = gossip->now_us;
    probe->fails_at_ms =
        gossip->now_ms + scale_by_awareness(gossip, gossip->config.probe_interval_ms);
    gossip->probes[gossip->probe_count++] = probe;
    gossip->counters[GOSSIP_PROBES]++;
    task_start(gossip, &probe->task,
               gossip->now_ms + scale_by_awareness(gossip, gossip->config.probe_timeout_ms));
    send_ping(gossip, probe, record);
}

void run_probe_round(struct gossip *gossip) {
    /* The sick probe less often ([Lifeguard] 4.1). */
    uint64_t next_at_ms;
    uint32_t record = next_to_probe(gossip, gossip->awareness, &next_at_ms);
    task_start(gossip, &gossip->probe_round, next_at_ms);
    if (record != NO_RECORD) {
        probe_now(gossip, record);
    }
}

static void ask_relays(struct gossip *gossip, struct probe *probe, uint32_t record) {
    uint32_t relays[RELAYS_MAX];
    uint32_t wanted = gossip->config.indirect_probes;
    wanted = wanted > RELAYS_MAX ? RELAYS_MAX : wanted;
    probe->nacks_expected = random_members(gossip, wanted, record, wanted_alive, relays);
    for (uint32_t i = 0; i < probe->nacks_expected; i++) {
        size_t start = packet_begin(gossip);
        struct buf *out = &gossip->output->bytes;
        write_section(out, MESSAGE_RELAY, 4 + 1 + 16 + address_bytes(&probe->address));
        write_u32(out, probe->sequence);
        buf_append_byte(out, 0);
        write_id(out, &probe->target);
        write_address(out, &probe->address);
        struct gossip_address to = gossip->records[relays[i]].descriptor->info.address;
        packet_end(gossip, start, &to);
    }
}

static void open_stream_ping(struct gossip *gossip, struct probe *probe) {
    size_t start = message_begin(gossip);
    write_section(&gossip->output->bytes, MESSAGE_STREAM_PING, 16);
    write_id(&gossip->output->bytes, &probe->target);
    probe->stream = message_open(gossip, start, &probe->address);
    add_exchange(gossip, probe->stream, EXCHANGE_PING, &probe->address);
}

static void fail_probe(struct gossip *gossip, struct probe *probe, bool closed) {
    gossip->counters[GOSSIP_PROBES_FAILED]++;
    /* Relays that are silent too: then it may be we who are cut off or slow ([Lifeguard] 4.1). */
    if (!closed) {
        int delta = 1;
        if (probe->nacks_expected > 0) {
            delta = (int)(probe->nacks_expected - (probe->nacks < probe->nacks_expected
                                                       ? probe->nacks
                                                       : probe->nacks_expected));
        }
        awareness_change(gossip, delta);
    }
    bool isolated = !closed && is_isolated(gossip, probe->sent_at_us / 1000);
    gossip->counters[GOSSIP_PROBES_ISOLATED] += isolated;
    uint32_t record = find_record(gossip, &probe->target);
    drop_probe(gossip, probe);
    if (!isolated && record != NO_RECORD && is_live(&gossip->records[record])) {
        uint32_t accuser = gossip->self_accuser | (closed ? ACCUSER_CLOSED : 0);
        suspect(gossip, record, &accuser, 1);
    }
}

void run_probe(struct gossip *gossip, struct probe *probe) {
    uint32_t record = find_record(gossip, &probe->target);
    if (record == NO_RECORD || !is_live(&gossip->records[record])) {
        drop_probe(gossip, probe);
        return;
    }
    if (probe->indirect) {
        fail_probe(gossip, probe, false);
        return;
    }
    probe->indirect = true;
    gossip->counters[GOSSIP_PROBES_INDIRECT]++;
    uint64_t end = probe->fails_at_ms > gossip->now_ms ? probe->fails_at_ms : gossip->now_ms + 1;
    task_start(gossip, &probe->task, end);
    ask_relays(gossip, probe, record);
    if (gossip->config.stream_ping) {
        open_stream_ping(gossip, probe);
    }
}

void probe_closed_port(struct gossip *gossip, const struct gossip_address *address) {
    for (uint32_t i = 0; i < gossip->probe_count; i++) {
        if (gossip_address_equal(&gossip->probes[i]->address, address)) {
            fail_probe(gossip, gossip->probes[i], true);
            return;
        }
    }
}

void probe_stream_done(struct gossip *gossip, uint64_t stream, bool answered, bool refused) {
    for (uint32_t i = 0; i < gossip->probe_count; i++) {
        struct probe *probe = gossip->probes[i];
        if (probe->stream != stream) {
            continue;
        }
        probe->stream = 0;
        if (answered) {
            gossip->counters[GOSSIP_PROBES_BY_STREAM]++;
            awareness_change(gossip, -1);
            drop_probe(gossip, probe);
        } else if (refused) {
            fail_probe(gossip, probe, true);
        }
        return;
    }
}

void probes_note_stall(struct gossip *gossip) {
    for (uint32_t i = 0; i < gossip->probe_count; i++) {
        gossip->probes[i]->slept = true;
    }
}

/* ---- messages ---- */

void receive_ping(struct gossip *gossip, const struct gossip_address *from, struct reader *body) {
    uint32_t sequence = reader_u32(body);
    uint8_t flags = reader_u8(body);
    uint32_t target = reader_u32(body);
    uint32_t source = reader_u32(body);
    uint32_t clock = reader_u32(body);
    if (body->failed) {
        gossip->counters[GOSSIP_DROPPED_TRUNCATED]++;
        return;
    }
    probe_clock_heard(gossip, clock);
    if (target != (uint32_t)gossip->records[SELF].descriptor->id_hash) {
        gossip->counters[GOSSIP_DROPPED_MISDIRECTED]++;
        return;
    }
    size_t start = packet_begin(gossip);
    struct buf *out = &gossip->output->bytes;
    bool coordinate = (flags & PING_COORDINATE) != 0 && gossip->config.coordinates;
    write_section(out, MESSAGE_ACK, coordinate ? 5 + COORDINATE_BYTES : 5);
    write_u32(out, sequence);
    buf_append_byte(out, coordinate ? ACK_COORDINATE : 0);
    if (coordinate) {
        write_coordinate(out, &gossip->vivaldi.own);
    }
    /* Whoever pings and is thought suspect, dead or gone hears it in the answer. */
    uint32_t record = find_record_short(gossip, source);
    if (gossip->config.lifeguard && record != NO_RECORD && record != SELF &&
        gossip->records[record].state != GOSSIP_ALIVE && !MUTANT(buddy_missing)) {
        write_subject(gossip, start, record);
    }
    packet_end(gossip, start, from);
}

static void measure(struct gossip *gossip, const struct probe *probe,
                    const struct coordinate *other) {
    if (!coordinate_is_sane(other)) {
        gossip->counters[GOSSIP_DROPPED_COORDINATE]++;
        return;
    }
    uint32_t record = find_record(gossip, &probe->target);
    if (record != NO_RECORD) {
        keep_coordinate(gossip, record, other);
    }
    /* Only what was not delayed by ourselves. */
    if (gossip->config.coordinates && !probe->slept && !probe->indirect) {
        vivaldi_update(&gossip->vivaldi, &gossip->rand, descriptor_hash_id(&probe->target), other,
                       (double)(gossip->now_us - probe->sent_at_us) / 1e6);
    }
}

static struct relay *find_relay(const struct gossip *gossip, uint32_t sequence) {
    for (uint32_t i = 0; i < gossip->relay_count; i++) {
        if (gossip->relays[i]->sequence == sequence) {
            return gossip->relays[i];
        }
    }
    return NULL;
}

static void drop_relay(struct gossip *gossip, struct relay *relay) {
    uint32_t at = 0;
    while (gossip->relays[at] != relay) {
        at++;
    }
    gossip->relays[at] = gossip->relays[--gossip->relay_count];
    task_stop(gossip, &relay->task);
    free(relay);
}

static void answer_requester(struct gossip *gossip, const struct relay *relay, bool answered) {
    size_t start = packet_begin(gossip);
    struct buf *out = &gossip->output->bytes;
    write_section(out, answered ? MESSAGE_ACK : MESSAGE_NACK, answered ? 5 : 4);
    write_u32(out, relay->asked);
    if (answered) {
        buf_append_byte(out, 0);
    }
    struct gossip_address to = relay->requester;
    packet_end(gossip, start, &to);
}

void receive_ack(struct gossip *gossip, const struct gossip_address *from, struct reader *body) {
    (void)from; /* a relay's, or another one of its addresses */
    uint32_t sequence = reader_u32(body);
    uint8_t flags = reader_u8(body);
    struct coordinate coordinate = {0};
    bool located = (flags & ACK_COORDINATE) != 0;
    if (located) {
        coordinate = reader_coordinate(body);
    }
    if (body->failed) {
        gossip->counters[GOSSIP_DROPPED_MALFORMED]++;
        return;
    }
    struct probe *probe = find_probe(gossip, sequence);
    if (probe != NULL) {
        if (located) {
            measure(gossip, probe, &coordinate);
        }
        awareness_change(gossip, -1);
        drop_probe(gossip, probe);
        return;
    }
    struct relay *relay = find_relay(gossip, sequence);
    if (relay != NULL) {
        answer_requester(gossip, relay, true);
        drop_relay(gossip, relay);
        return;
    }
    gossip->counters[GOSSIP_DROPPED_UNEXPECTED]++;
}

void receive_nack(struct gossip *gossip, struct reader *body) {
    uint32_t sequence = reader_u32(body);
    struct probe *probe = body->failed ? NULL : find_probe(gossip, sequence);
    if (probe == NULL) {
        gossip->counters[body->failed ? GOSSIP_DROPPED_TRUNCATED : GOSSIP_DROPPED_UNEXPECTED]++;
        return;
    }
    probe->nacks++;
}

void receive_relay(struct gossip *gossip, const struct gossip_address *from, struct reader *body) {
    uint32_t asked = reader_u32(body);
    (void)reader_u8(body);
    struct uuid target = reader_id(body);
    struct gossip_address address = reader_address(body);
    if (body->failed) {
        gossip->counters[GOSSIP_DROPPED_TRUNCATED]++;
        return;
    }
    if (gossip->relay_count == LIMIT_GOSSIP_RELAYS) {
        gossip->counters[GOSSIP_DROPPED_FULL]++;
        return;
    }
    if (gossip->relay_count == gossip->relay_capacity) {
        gossip->relay_capacity = gossip->relay_capacity * 2 + 4;
        gossip->relays =
            mem_realloc(gossip->relays, gossip->relay_capacity * sizeof *gossip->relays);
    }
    struct relay *relay = mem_calloc(1, sizeof *relay);
    relay->task.kind = TASK_RELAY;
    relay->sequence = gossip->sequence++;
    relay->asked = asked;
    relay->requester = *from;
    gossip->relays[gossip->relay_count++] = relay;
    task_start(gossip, &relay->task, gossip->now_ms + gossip->config.probe_timeout_ms);
    size_t start = packet_begin(gossip);
    write_ping(gossip, relay->sequence, &target, false);
    packet_end(gossip, start, &address);
}

void run_relay(struct gossip *gossip, struct relay *relay) {
    if (gossip->config.lifeguard) {
        answer_requester(gossip, relay, false);
    }
    drop_relay(gossip, relay);
}
