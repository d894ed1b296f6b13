/* Packets: the head is judged, then each section goes to its reader. Whatever is wrong is counted
 * by kind and dropped; the sections before it have been used. */
#include <string.h>

#include "base/assert.h"
#include "gossip/internal.h"

bool open_message(struct gossip *gossip, const uint8_t *data, size_t size,
                  struct reader *ret_reader, enum err *ret_err) {
    *ret_reader = (struct reader){.at = data, .end = data + size};
    uint8_t version = reader_u8(ret_reader);
    uint32_t pool = reader_u32(ret_reader);
    enum gossip_counter counter;
    if (ret_reader->failed) {
        counter = GOSSIP_DROPPED_TRUNCATED;
        *ret_err = ERR_CORRUPT;
    } else if (version == 0) {
        counter = GOSSIP_DROPPED_MALFORMED;
        *ret_err = ERR_CORRUPT;
    } else if (version != MESSAGE_VERSION) {
        counter = GOSSIP_DROPPED_VERSION;
        *ret_err = ERR_VERSION;
    } else if (pool != gossip->pool_hash) {
        counter = GOSSIP_DROPPED_FOREIGN;
        *ret_err = ERR_FOREIGN;
    } else {
        return true;
    }
    gossip->counters[counter]++;
    return false;
}

static void receive_alive(struct gossip *gossip, struct hearsay *hearsay, struct reader *body) {
    struct member_state member = {.state = GOSSIP_ALIVE};
    member.incarnation = reader_incarnation(body);
    member.descriptor_bytes = reader_varint(body);
    member.descriptor = reader_bytes(body, member.descriptor_bytes);
    if (body->failed) {
        gossip->counters[GOSSIP_DROPPED_TRUNCATED]++;
        return;
    }
    merge_member(gossip, hearsay, &member);
}

static void receive_suspect(struct gossip *gossip, struct hearsay *hearsay, const struct uuid *id,
                            struct gossip_incarnation incarnation, struct reader *body) {
    uint32_t accusers[LIMIT_GOSSIP_ACCUSERS];
    uint32_t count = reader_u8(body);
    if (count == 0 || count > LIMIT_GOSSIP_ACCUSERS) {
        gossip->counters[GOSSIP_DROPPED_MALFORMED]++;
        return;
    }
    for (uint32_t i = 0; i < count; i++) {
        accusers[i] = reader_u32(body);
    }
    if (body->failed) {
        gossip->counters[GOSSIP_DROPPED_TRUNCATED]++;
        return;
    }
    merge_suspect(gossip, hearsay, id, incarnation, accusers, count);
}

static void receive_rumour(struct gossip *gossip, struct hearsay *hearsay, uint8_t kind,
                           struct reader *body) {
    struct uuid id = reader_id(body);
    struct gossip_incarnation incarnation = reader_incarnation(body);
    if (kind == MESSAGE_LEFT) {
        (void)reader_u8(body);
    }
    if (body->failed) {
        gossip->counters[GOSSIP_DROPPED_TRUNCATED]++;
    } else if (kind == MESSAGE_SUSPECT) {
        receive_suspect(gossip, hearsay, &id, incarnation, body);
    } else if (kind == MESSAGE_DEAD) {
        merge_dead(gossip, hearsay, &id, incarnation);
    } else if (kind == MESSAGE_LEFT) {
        merge_left(gossip, hearsay, &id, incarnation, false);
    } else {
        merge_removed(gossip, hearsay, &id, incarnation);
    }
}

static void receive_section(struct gossip *gossip, struct hearsay *hearsay, uint8_t kind,
                            struct reader *body) {
    switch (kind) {
    case MESSAGE_PING:
        receive_ping(gossip, hearsay->from, body);
        break;
    case MESSAGE_ACK:
        receive_ack(gossip, hearsay->from, body);
        break;
    case MESSAGE_NACK:
        receive_nack(gossip, body);
        break;
    case MESSAGE_RELAY:
        receive_relay(gossip, hearsay->from, body);
        break;
    case MESSAGE_ALIVE:
        receive_alive(gossip, hearsay, body);
        break;
    case MESSAGE_EVENT:
        receive_event(gossip, body);
        break;
    case MESSAGE_SUSPECT:
    case MESSAGE_DEAD:
    case MESSAGE_LEFT:
    case MESSAGE_REMOVED:
        receive_rumour(gossip, hearsay, kind, body);
        break;
    default:
        gossip->counters[GOSSIP_SECTIONS_UNKNOWN]++;
        break;
    }
}

/* One packet asks for a few things; more is an attempt to make us send. */
#define REQUESTS_MAX 4

enum err receive_packet(struct gossip *gossip, const struct gossip_event *event) {
    const struct gossip_address from = event->packet.from;
    gossip->counters[GOSSIP_PACKETS_RECEIVED]++;
    gossip->counters[GOSSIP_BYTES_RECEIVED] += event->packet.size;
    if (event->packet.size > LIMIT_GOSSIP_PACKET_BYTES) {
        gossip->counters[GOSSIP_DROPPED_OVERSIZE]++;
        return ERR_CORRUPT;
    }
    struct reader reader;
    enum err err;
    if (!open_message(gossip, event->packet.data, event->packet.size, &reader, &err)) {
        return err;
    }
    gossip->heard_at_ms = gossip->now_ms;
    struct hearsay hearsay = {.from = &from};
    uint32_t requests = 0;
    uint8_t kind;
    struct reader body;
    while (reader_section(&reader, &kind, &body)) {
        bool request = kind == MESSAGE_PING || kind == MESSAGE_RELAY;
        if (request && ++requests > REQUESTS_MAX) {
            gossip->counters[GOSSIP_DROPPED_MALFORMED]++;
            return ERR_CORRUPT;
        }
        receive_section(gossip, &hearsay, kind, &body);
    }
    if (reader.failed) {
        gossip->counters[GOSSIP_DROPPED_TRUNCATED]++;
        return ERR_CORRUPT;
    }
    return ERR_OK;
}
