/* What servers of earlier versions have said to each other is read by this one (tests/fixtures,
 * recorded by make.py): each recorded handshake, frame and packet goes through the decoders, and
 * comes out of the encoders as it was. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/mem.h"
#include "catalog/codec.h"
#include "gossip/gossip.h"
#include "gossip/message.h"
#include "net/rpc_wire.h"
#include "raft/message.h"

#define FIXTURES "tests/fixtures"
#define HEAD "cairn-conversation-1\n"
#define BOOT_EPOCH                                                                                 \
    4000000000u           /* no earlier than the speakers': those of the future are not believed */
#define PACKET_PLAIN 0x50 /* net/seal.h */

struct pool {
    struct gossip_descriptors *descriptors;
    struct gossip *gossip;
    struct gossip_output output;
    unsigned sections[MESSAGE_MEMBER + 1];
};

struct heard {
    unsigned hellos, welcomes, proofs, answers;
    unsigned raft[RAFT_MESSAGE_TIMEOUT_NOW + 1];
    unsigned methods[RPC_METHODS];
    unsigned commands[COMMAND_RESTORE + 1];
    struct pool lan, wan;
    uint64_t stream;
};

/* ---- handshakes ---- */

static void same_payload(uint8_t *encoded, size_t encoded_size, const uint8_t *data, size_t size) {
    assert_int_equal(encoded_size, size);
    assert_memory_equal(encoded + WIRE_LENGTH_BYTES, data, size);
    free(encoded);
}

static void hear_hello(struct heard *heard, const uint8_t *data, size_t size) {
    struct wire_hello hello;
    size_t encoded;
    assert_true(wire_decode_hello(data, size, &hello));
    assert_string_equal(hello.identity.datacenter, "dc1");
    /* This version and that one have one in common. */
    assert_true(hello.version_min <= RPC_VERSION_MAX && hello.version_max >= RPC_VERSION_MIN);
    uint8_t *again = wire_encode_hello(&hello, &encoded);
    same_payload(again, encoded, data, size);
    heard->hellos++;
}

static void hear_welcome(struct heard *heard, const uint8_t *data, size_t size) {
    struct wire_welcome welcome;
    size_t encoded;
    assert_true(wire_decode_welcome(data, size, &welcome));
    assert_string_equal(welcome.refusal, "");
    uint8_t *again = wire_encode_welcome(&welcome, &encoded);
    same_payload(again, encoded, data, size);
    heard->welcomes++;
}

static void hear_proof(struct heard *heard, const uint8_t *data, size_t size) {
    struct wire_proof proof;
    size_t encoded;
    assert_true(wire_decode_proof(data, size, &proof));
    uint8_t *again = wire_encode_proof(&proof, &encoded);
    same_payload(again, encoded, data, size);
    heard->proofs++;
}

/* ---- what servers ask ---- */

static void hear_command(struct heard *heard, const uint8_t *data, size_t size) {
    struct arena arena;
    struct catalog_command command;
    struct buf out;
    arena_init(&arena);
    buf_init(&out, LIMIT_ENTRY_BYTES);
    assert_int_equal(codec_decode_command(data, size, &arena, &command), ERR_OK);
    codec_encode_command(&command, &out);
    assert_int_equal(out.count, size);
    assert_memory_equal(out.data, data, size);
    heard->commands[command.kind]++;
    buf_clear(&out);
    arena_clear(&arena);
}

static void hear_raft(struct heard *heard, const uint8_t *data, size_t size) {
    struct raft_decoded decoded;
    struct buf out;
    assert_int_equal(raft_message_decode(data, size, &decoded), ERR_OK);
    const struct raft_message *message = &decoded.message;
    buf_init(&out, LIMIT_RPC_FRAME_BYTES);
    raft_message_encode(message, decoded.entries, &out);
    buf_append(&out, decoded.payload, decoded.payload_size);
    assert_int_equal(out.count, size);
    assert_memory_equal(out.data, data, size);
    heard->raft[message->kind]++;
    const uint8_t *at = decoded.payload;
    for (uint32_t i = 0; message->kind == RAFT_MESSAGE_APPEND && i < message->append.count; i++) {
        struct raft_configuration configuration;
        if (decoded.entries[i].kind == RAFT_ENTRY_COMMAND) {
            hear_command(heard, at, decoded.entries[i].size);
        } else if (decoded.entries[i].kind == RAFT_ENTRY_CONFIGURATION) {
            assert_int_equal(raft_configuration_decode(at, decoded.entries[i].size, &configuration),
                             ERR_OK);
        }
        at += decoded.entries[i].size;
    }
    buf_clear(&out);
    raft_decoded_clear(&decoded);
}

static void hear_read(const uint8_t *data, size_t size) {
    uint8_t out[GROUP_READ_BYTES_MAX];
    bool consistent;
    uint64_t index;
    assert_true(group_wire_unpack_read(data, size, &consistent, &index));
    assert_int_equal(group_wire_pack_read(consistent, index, out), size);
    assert_memory_equal(out, data, size);
}

static void hear_check(const uint8_t *data, size_t size) {
    struct group_wire_check check;
    struct buf out;
    assert_true(group_wire_unpack_check(data, size, &check));
    buf_init(&out, 1024);
    group_wire_pack_check(&check, &out);
    assert_int_equal(out.count, size);
    assert_memory_equal(out.data, data, size);
    buf_clear(&out);
}

/* ---- gossip ---- */

static void open_pool(struct pool *pool, const char *name) {
    struct gossip_config config =
        strcmp(name, "wan") == 0 ? gossip_config_wan() : gossip_config_lan();
    struct gossip_info self = {.name = "listener", .protocol_min = 1, .protocol_max = 1};
    struct rand rand;
    memset(self.id.bytes, 'x', sizeof self.id.bytes);
    self.address =
        (struct gossip_address){.ip = {[10] = 0xff, [11] = 0xff, [12] = 10}, .port = {0x20, 0x6d}};
    rand_init(&rand, 1);
    *pool = (struct pool){.descriptors = gossip_descriptors_create()};
    gossip_output_init(&pool->output);
    config.pool = name;
    assert_int_equal(gossip_create(&config, &self, BOOT_EPOCH, 1000, &rand, pool->descriptors,
                                   &pool->gossip, NULL),
                     ERR_OK);
}

static void close_pool(struct pool *pool) {
    gossip_destroy(pool->gossip);
    gossip_output_clear(&pool->output);
    gossip_descriptors_destroy(pool->descriptors);
}

static void hear_sections(struct pool *pool, const uint8_t *data, size_t size) {
    struct reader reader = {.at = data, .end = data + size}, body;
    uint8_t kind;
    assert_int_equal(reader_u8(&reader), MESSAGE_VERSION);
    (void)reader_u32(&reader);
    while (reader_section(&reader, &kind, &body)) {
        assert_in_range(kind, MESSAGE_PING, MESSAGE_MEMBER);
        pool->sections[kind]++;
    }
    assert_false(reader.failed);
}

static void hear_gossip(struct heard *heard, struct pool *pool, const uint8_t *data, size_t size,
                        bool stream) {
    struct gossip_event event = {.kind = GOSSIP_EVENT_PACKET};
    event.packet.data = data;
    event.packet.size = size;
    if (stream) {
        event = (struct gossip_event){.kind = GOSSIP_EVENT_STREAM_MESSAGE};
        event.stream_message.stream = ++heard->stream;
        event.stream_message.data = data;
        event.stream_message.size = size;
    }
    hear_sections(pool, data, size);
    assert_int_equal(gossip_step(pool->gossip, 2000, &event, &pool->output), ERR_OK);
}

/* ---- records ---- */

static void hear_frame(struct heard *heard, char channel, const uint8_t *data, size_t size) {
    struct wire_frame frame;
    size_t encoded;
    assert_true(wire_decode_frame(data, size, &frame));
    uint8_t *again = wire_encode_frame(&frame, &encoded);
    same_payload(again, encoded, data, size);
    if (frame.kind == WIRE_ANSWER) {
        heard->answers++;
    } else {
        assert_in_range(frame.method, 1, RPC_METHODS - 1);
        heard->methods[frame.method]++;
    }
    bool asks = frame.kind != WIRE_ANSWER;
    if (channel != 'r') {
        hear_gossip(heard, channel == 'w' ? &heard->wan : &heard->lan, frame.body, frame.size,
                    true);
    } else if (asks && frame.method == RPC_METHOD_RAFT) {
        hear_raft(heard, frame.body, frame.size);
    } else if (asks && frame.method == RPC_METHOD_PROPOSE) {
        hear_command(heard, frame.body, frame.size);
    } else if (asks && frame.method == RPC_METHOD_READ_INDEX) {
        hear_read(frame.body, frame.size);
    } else if (asks && frame.method == RPC_METHOD_CHECK) {
        hear_check(frame.body, frame.size);
    }
    wire_frame_clear(&frame);
}

static void hear(struct heard *heard, char channel, char kind, const uint8_t *data, size_t size) {
    switch (kind) {
    case 'h':
        hear_hello(heard, data, size);
        break;
    case 'w':
        hear_welcome(heard, data, size);
        break;
    case 'p':
        hear_proof(heard, data, size);
        break;
    case 'f':
        hear_frame(heard, channel, data, size);
        break;
    case 'g':
        assert_true(size > 1);
        assert_int_equal(data[0], PACKET_PLAIN);
        hear_gossip(heard, channel == 'v' ? &heard->wan : &heard->lan, data + 1, size - 1, false);
        break;
    default:
        fail_msg("a record of kind %c", kind);
    }
}

static uint32_t members_of(const struct pool *pool) {
    static const enum gossip_counter understood[] = {
        GOSSIP_DROPPED_TRUNCATED, GOSSIP_DROPPED_MALFORMED, GOSSIP_DROPPED_VERSION,
        GOSSIP_DROPPED_FOREIGN,   GOSSIP_DROPPED_MEMBER,    GOSSIP_DROPPED_INCOMPATIBLE,
        GOSSIP_DROPPED_FUTURE};
    struct gossip_status status;
    gossip_get_status(pool->gossip, &status);
    for (size_t i = 0; i < sizeof understood / sizeof understood[0]; i++) {
        assert_int_equal(status.counters[understood[i]], 0);
    }
    return status.alive + status.suspect + status.dead + status.left;
}

static void judge(const struct heard *heard) {
    assert_true(heard->hellos > 0 && heard->welcomes > 0 && heard->proofs > 0);
    static const enum raft_message_kind said[] = {
        RAFT_MESSAGE_VOTE_REQUEST, RAFT_MESSAGE_VOTE_ANSWER, RAFT_MESSAGE_APPEND,
        RAFT_MESSAGE_APPEND_ANSWER, RAFT_MESSAGE_TIMEOUT_NOW};
    for (size_t i = 0; i < sizeof said / sizeof said[0]; i++) {
        assert_true(heard->raft[said[i]] > 0);
    }
    static const enum rpc_method asked[] = {RPC_METHOD_RAFT,       RPC_METHOD_PROPOSE,
                                            RPC_METHOD_READ_INDEX, RPC_METHOD_RENEW_SESSION,
                                            RPC_METHOD_OPERATOR,   RPC_METHOD_GOSSIP};
    for (size_t i = 0; i < sizeof asked / sizeof asked[0]; i++) {
        assert_true(heard->methods[asked[i]] > 0);
    }
    assert_true(heard->answers > 0);
    assert_true(heard->commands[COMMAND_REGISTER] > 0 && heard->commands[COMMAND_KV] > 0);
    assert_true(heard->commands[COMMAND_SESSION] > 0 && heard->commands[COMMAND_TRANSACTION] > 0);
    const struct pool *lan = &heard->lan;
    assert_true(lan->sections[MESSAGE_PING] > 0 && lan->sections[MESSAGE_ACK] > 0);
    assert_true(lan->sections[MESSAGE_ALIVE] > 0 && lan->sections[MESSAGE_LEFT] > 0);
    assert_true(lan->sections[MESSAGE_SYNC_FULL] > 0 && lan->sections[MESSAGE_MEMBER] > 0);
    assert_int_equal(members_of(lan), 4); /* three, and who listens */
    assert_int_equal(members_of(&heard->wan), 4);
}

static void hear_file(const char *path) {
    struct heard heard = {.stream = 0};
    FILE *file = fopen(path, "rb");
    char head[sizeof HEAD] = "";
    uint8_t record[6];
    assert_non_null(file);
    assert_int_equal(fread(head, 1, sizeof HEAD - 1, file), sizeof HEAD - 1);
    assert_string_equal(head, HEAD);
    open_pool(&heard.lan, "lan.dc1");
    open_pool(&heard.wan, "wan");
    while (fread(record, 1, sizeof record, file) == sizeof record) {
        size_t size = wire_load_u32(record + 2);
        uint8_t *data = mem_alloc(size + 1);
        assert_int_equal(fread(data, 1, size, file), size);
        hear(&heard, (char)record[0], (char)record[1], data, size);
        free(data);
    }
    fclose(file);
    judge(&heard);
    close_pool(&heard.lan);
    close_pool(&heard.wan);
}

static void test_all(void **state) {
    DIR *directory = opendir(FIXTURES);
    unsigned count = 0;
    (void)state;
    assert_non_null(directory);
    for (struct dirent *entry; (entry = readdir(directory)) != NULL;) {
        char path[512];
        snprintf(path, sizeof path, FIXTURES "/%s/conversation", entry->d_name);
        FILE *file = entry->d_name[0] == '.' ? NULL : fopen(path, "rb");
        if (file != NULL) {
            fclose(file);
            print_message("%s\n", path);
            hear_file(path);
            count++;
        }
    }
    closedir(directory);
    assert_true(count > 0);
}

int main(void) {
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_all)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
