/* Any bytes as packets and stream messages of a pool with some of everything. Whatever comes in,
 * the core stands, its sums fit its members, and what it sends can be read by itself. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "gossip/gossip.h"
#include "gossip/message.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct gossip_info info_of(uint8_t number, struct str_pair *pair, char name[16]) {
    struct gossip_info info = {.protocol_min = 1, .protocol_max = 1};
    memset(info.id.bytes, number, sizeof info.id.bytes);
    snprintf(name, 16, "node-%c", number);
    *pair = (struct str_pair){"role", "node"};
    info.name = name;
    info.address = (struct gossip_address){
        .ip = {[10] = 0xff, [11] = 0xff, [12] = 10, [15] = number}, .port = {0x20, 0x6d}};
    info.server = number < 'c';
    info.tags = (struct str_map){.v = pair, .count = 1, .present = true};
    return info;
}

static void check_sections(const uint8_t *data, size_t size) {
    struct reader reader = {.at = data, .end = data + size};
    ASSERT(reader_u8(&reader) == MESSAGE_VERSION);
    (void)reader_u32(&reader);
    uint8_t kind;
    struct reader body;
    while (reader_section(&reader, &kind, &body)) {
        ASSERT(kind >= MESSAGE_PING && kind <= MESSAGE_MEMBER);
    }
    ASSERT(!reader.failed);
}

static void check(struct gossip *gossip, const struct gossip_output *output) {
    const uint8_t *bytes = (const uint8_t *)output->bytes.data;
    for (uint32_t i = 0; i < output->packet_count; i++) {
        ASSERT(output->packets[i].size <= 1350);
        check_sections(bytes + output->packets[i].offset, output->packets[i].size);
    }
    for (uint32_t i = 0; i < output->stream_count; i++) {
        if (output->streams[i].action != GOSSIP_STREAM_CLOSE) {
            check_sections(bytes + output->streams[i].offset, output->streams[i].size);
        }
    }
    struct gossip_status status;
    gossip_get_status(gossip, &status);
    uint32_t counts[GOSSIP_REMOVED + 1] = {0};
    struct gossip_member member;
    for (uint32_t i = 0; i < gossip_member_slots(gossip); i++) {
        if (gossip_member_at(gossip, i, &member)) {
            struct gossip_member found;
            ASSERT(gossip_find_id(gossip, &member.descriptor->info.id, &found));
            ASSERT(found.descriptor == member.descriptor);
            counts[member.state]++;
        }
    }
    ASSERT(counts[GOSSIP_ALIVE] == status.alive && counts[GOSSIP_SUSPECT] == status.suspect);
    ASSERT(counts[GOSSIP_DEAD] == status.dead && counts[GOSSIP_LEFT] == status.left);
    ASSERT(gossip_member_at(gossip, 0, &member) && member.self && member.state == GOSSIP_ALIVE);
}

/* Steps: kind u8, size u8, bytes. The head is put right most of the time, so that the rest is
 * looked at. */
static void run(struct gossip *gossip, struct gossip_output *output, const uint8_t *data,
                size_t size) {
    static uint8_t message[600];
    uint64_t now_ms = 1000;
    struct gossip_event event = {.kind = GOSSIP_EVENT_HINT};
    memset(&event.hint.id, 'b', sizeof event.hint.id);
    gossip_step(gossip, now_ms, &event, output);
    ASSERT(output->packet_count == 1);
    memcpy(message, output->bytes.data + output->packets[0].offset, MESSAGE_HEAD_BYTES);
    while (size >= 2) {
        uint8_t kind = data[0];
        size_t bytes = data[1] < size - 2 ? data[1] : size - 2;
        memcpy(message + MESSAGE_HEAD_BYTES, data + 2, bytes);
        event = (struct gossip_event){.kind = GOSSIP_EVENT_PACKET};
        const uint8_t *from = kind & 0x80 ? message + MESSAGE_HEAD_BYTES : message;
        size_t from_bytes = kind & 0x80 ? bytes : bytes + MESSAGE_HEAD_BYTES;
        if ((kind & 3) == 0) {
            event.packet.from.ip[15] = 'b';
            event.packet.data = from;
            event.packet.size = from_bytes;
        } else if ((kind & 3) == 1) {
            event.kind = GOSSIP_EVENT_STREAM_MESSAGE;
            event.stream_message.stream = (kind & 4 ? GOSSIP_STREAM_OWN : 0) | (kind >> 3 & 7);
            event.stream_message.data = from;
            event.stream_message.size = from_bytes;
        } else if ((kind & 3) == 2) {
            event.kind = GOSSIP_EVENT_TIMER;
            now_ms += (uint64_t)(kind >> 2) * 40;
        } else {
            event.kind = GOSSIP_EVENT_JOIN;
        }
        gossip_step(gossip, now_ms, &event, output);
        check(gossip, output);
        data += 2 + bytes;
        size -= 2 + bytes;
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct gossip_descriptors *descriptors = gossip_descriptors_create();
    struct gossip_config config = gossip_config_lan();
    config.keep_coordinates = true;
    struct gossip_output output;
    struct gossip *gossip;
    struct rand rand;
    struct str_pair pair;
    char name[16];
    rand_init(&rand, 1);
    gossip_output_init(&output);
    struct gossip_info self = info_of('a', &pair, name);
    ASSERT(gossip_create(&config, &self, 5, 1000, &rand, descriptors, &gossip, NULL) == ERR_OK);
    for (uint8_t letter = 'b'; letter < 'h'; letter++) {
        struct gossip_info info = info_of(letter, &pair, name);
        gossip_load_member(gossip, &info, (struct gossip_incarnation){5, 0});
    }
    run(gossip, &output, data, size);
    gossip_destroy(gossip);
    gossip_output_clear(&output);
    gossip_descriptors_destroy(descriptors);
    return 0;
}
