/* The commit rule of groups of any size (3.6.2), and the bytes of a configuration. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>

#include <cmocka.h>

#include "raft/internal.h"

static struct raft_configuration group(const char *kinds) {
    struct raft_configuration configuration = {0};
    for (; *kinds != '\0'; kinds++) {
        struct raft_server *server = &configuration.servers[configuration.count++];
        server->id.node.bytes[0] = (uint8_t)configuration.count;
        server->voter = *kinds == 'v';
    }
    return configuration;
}

static uint64_t commit(const char *kinds, const uint64_t *match) {
    struct raft_configuration configuration = group(kinds);
    return raft_quorum_match(&configuration, match);
}

static void section_3_6_2_a_majority_of_the_voters_holds_it(void **state) {
    (void)state;
    assert_int_equal(commit("v", (uint64_t[]){7}), 7);
    assert_int_equal(commit("vv", (uint64_t[]){7, 3}), 3);
    assert_int_equal(commit("vvv", (uint64_t[]){7, 3, 5}), 5);
    assert_int_equal(commit("vvvv", (uint64_t[]){9, 8, 2, 1}), 2);
    assert_int_equal(commit("vvvvv", (uint64_t[]){1, 9, 4, 4, 8}), 4);
    assert_int_equal(commit("vvvvv", (uint64_t[]){0, 0, 0, 9, 9}), 0);
}

static void section_4_2_1_learners_count_for_nothing(void **state) {
    (void)state;
    assert_int_equal(commit("lvl", (uint64_t[]){9, 4, 9}), 4);
    assert_int_equal(commit("vllvv", (uint64_t[]){5, 9, 9, 2, 3}), 3);
}

static void configuration_bytes(void **state) {
    (void)state;
    struct raft_configuration configuration = group("vlv"), decoded;
    struct buf buf;
    buf_init(&buf, RAFT_CONFIGURATION_BYTES_MAX);
    raft_configuration_encode(&configuration, &buf);
    assert_int_equal(raft_configuration_decode(buf.data, buf.count, &decoded), ERR_OK);
    assert_int_equal(decoded.count, 3);
    for (uint32_t i = 0; i < 3; i++) {
        assert_true(raft_id_equal(&decoded.servers[i].id, &configuration.servers[i].id));
        assert_int_equal(decoded.servers[i].voter, configuration.servers[i].voter);
    }
    for (size_t size = 0; size < buf.count; size++) {
        assert_int_equal(raft_configuration_decode(buf.data, size, &decoded), ERR_CORRUPT);
    }
    memcpy(buf.data + 3 + 33, buf.data + 3, 33); /* a server twice */
    assert_int_equal(raft_configuration_decode(buf.data, buf.count, &decoded), ERR_CORRUPT);
    buf.data[0] = 2;
    assert_int_equal(raft_configuration_decode(buf.data, buf.count, &decoded), ERR_VERSION);
    buf_clear(&buf);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(section_3_6_2_a_majority_of_the_voters_holds_it),
        cmocka_unit_test(section_4_2_1_learners_count_for_nothing),
        cmocka_unit_test(configuration_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
