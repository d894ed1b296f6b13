/* Messages to bytes and back; bytes that are no message. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "base/rand.h"
#include "raft/internal.h"

static struct raft_configuration configuration = {
    .count = 2, .servers = {{.id = {.node = {"n1"}, .disk = {"d1"}}, .voter = true}}};
static const struct raft_entry_head heads[] = {{RAFT_ENTRY_COMMAND, 5}, {RAFT_ENTRY_NO_OP, 0}};

static struct raft_message example(enum raft_message_kind kind) {
    struct raft_message m = {.kind = kind, .term = UINT64_MAX - 7};
    memcpy(m.from.node.bytes, "from", 4);
    memcpy(m.to.disk.bytes, "to", 2);
    uint64_t n = (uint64_t)kind << 33;
    switch (kind) {
    case RAFT_MESSAGE_VOTE_REQUEST:
        m.vote_request.last_index = n;
        m.vote_request.last_term = n + 1;
        m.vote_request.pre_vote = m.vote_request.transfer = true;
        break;
    case RAFT_MESSAGE_VOTE_ANSWER:
        m.vote_answer.pre_vote = m.vote_answer.granted = true;
        break;
    case RAFT_MESSAGE_APPEND:
        m.append.prev_index = n;
        m.append.prev_term = n + 1;
        m.append.entry_term = n + 2;
        m.append.count = 2;
        m.append.commit = n + 3;
        m.append.round = n + 4;
        m.append.sent_at_ms = n + 5;
        m.append.repair_to = n + 6;
        m.append.repair_life = n + 7;
        break;
    case RAFT_MESSAGE_APPEND_ANSWER:
        m.append_answer.success = m.append_answer.repairing = true;
        m.append_answer.life = n;
        m.append_answer.match = n + 1;
        m.append_answer.rejected = n + 2;
        m.append_answer.hint_index = n + 3;
        m.append_answer.hint_term = n + 4;
        m.append_answer.round = n + 5;
        m.append_answer.sent_at_ms = n + 6;
        break;
    case RAFT_MESSAGE_SNAPSHOT:
        m.snapshot.index = n;
        m.snapshot.term = n + 1;
        m.snapshot.offset = n + 2;
        m.snapshot.bytes = 5;
        m.snapshot.done = true;
        m.snapshot.configuration_index = n + 3;
        m.snapshot.configuration = &configuration;
        break;
    case RAFT_MESSAGE_SNAPSHOT_ANSWER:
        m.snapshot_answer.index = n;
        m.snapshot_answer.term = n + 1;
        m.snapshot_answer.offset = n + 2;
        break;
    case RAFT_MESSAGE_TIMEOUT_NOW:
        break;
    }
    return m;
}

static void encode(const struct raft_message *m, struct buf *frame) {
    buf_init(frame, 1024 * 1024);
    raft_message_encode(m, heads, frame);
    if (m->kind == RAFT_MESSAGE_APPEND || m->kind == RAFT_MESSAGE_SNAPSHOT) {
        buf_append(frame, "bytes", 5);
    }
}

static void every_kind_comes_back(void **state) {
    (void)state;
    for (int kind = RAFT_MESSAGE_VOTE_REQUEST; kind <= RAFT_MESSAGE_TIMEOUT_NOW; kind++) {
        struct raft_message m = example((enum raft_message_kind)kind);
        struct raft_decoded decoded;
        struct buf frame;
        encode(&m, &frame);
        assert_int_equal(raft_message_decode(frame.data, frame.count, &decoded), ERR_OK);
        if (kind == RAFT_MESSAGE_SNAPSHOT) {
            assert_ptr_equal(decoded.message.snapshot.configuration, &decoded.configuration);
            assert_memory_equal(&decoded.configuration.servers[0], &configuration.servers[0], 32);
            decoded.message.snapshot.configuration = &configuration;
        }
        if (kind == RAFT_MESSAGE_APPEND) {
            assert_int_equal(decoded.entries[0].size, 5);
            assert_int_equal(decoded.entries[1].kind, RAFT_ENTRY_NO_OP);
        }
        assert_memory_equal(&decoded.message, &m, sizeof m);
        if (decoded.payload_size > 0) {
            assert_memory_equal(decoded.payload, "bytes", decoded.payload_size);
        }
        raft_decoded_clear(&decoded);
        buf_clear(&frame);
    }
}

static void cut_off_anywhere(void **state) {
    (void)state;
    for (int kind = RAFT_MESSAGE_VOTE_REQUEST; kind <= RAFT_MESSAGE_TIMEOUT_NOW; kind++) {
        struct raft_message m = example((enum raft_message_kind)kind);
        struct raft_decoded decoded;
        struct buf frame;
        encode(&m, &frame);
        for (size_t size = 0; size < frame.count; size++) {
            assert_int_equal(raft_message_decode(frame.data, size, &decoded), ERR_CORRUPT);
        }
        buf_append_byte(&frame, 'x');
        assert_int_equal(raft_message_decode(frame.data, frame.count, &decoded), ERR_CORRUPT);
        buf_clear(&frame);
    }
}

static void any_bytes(void **state) {
    (void)state;
    struct rand rand;
    rand_init(&rand, 1);
    for (int i = 0; i < 20000; i++) {
        struct raft_message m = example((enum raft_message_kind)(1 + i % 7));
        struct raft_decoded decoded;
        struct buf frame;
        encode(&m, &frame);
        for (uint64_t k = rand_below(&rand, 4); k > 0; k--) {
            frame.data[rand_below(&rand, frame.count)] = (char)rand_next(&rand);
        }
        if (raft_message_decode(frame.data, frame.count, &decoded) == ERR_OK) {
            raft_decoded_clear(&decoded);
        }
        buf_clear(&frame);
    }
}

static void a_newer_kind_is_named_so(void **state) {
    (void)state;
    struct raft_message m = example(RAFT_MESSAGE_TIMEOUT_NOW);
    struct raft_decoded decoded;
    struct buf frame;
    encode(&m, &frame);
    frame.data[frame.count - 2] = (char)(15 << 3 | 2); /* the tag of the body */
    assert_int_equal(raft_message_decode(frame.data, frame.count, &decoded), ERR_VERSION);
    buf_clear(&frame);
}

static void an_append_is_cut_in_two(void **state) {
    (void)state;
    struct raft_message m = example(RAFT_MESSAGE_APPEND), rest;
    raft_message_split(&m, 1, &rest);
    assert_int_equal(m.append.count, 1);
    assert_int_equal(rest.append.count, 1);
    assert_int_equal(rest.append.prev_index, m.append.prev_index + 1);
    assert_int_equal(rest.append.prev_term, m.append.entry_term);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_comes_back),
        cmocka_unit_test(cut_off_anywhere),
        cmocka_unit_test(any_bytes),
        cmocka_unit_test(a_newer_kind_is_named_so),
        cmocka_unit_test(an_append_is_cut_in_two),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
