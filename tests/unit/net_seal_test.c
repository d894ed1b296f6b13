/* Sealed packets and the ring of keys. Vectors: RFC 5869 A.1 and A.3. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "net/crypto.h"
#include "net/seal.h"

#define KEY_A "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5s="
#define KEY_B "MDEyMzQ1Njc4OWFiY2RlZg=="

static void from_hex(const char *hex, uint8_t *out) {
    for (size_t i = 0; hex[2 * i] != '\0'; i++) {
        char pair[3] = {hex[2 * i], hex[2 * i + 1], '\0'};
        out[i] = (uint8_t)strtoul(pair, NULL, 16);
    }
}

static void test_rfc_5869_a(void **state) {
    (void)state;
    uint8_t key[22], salt[13], info[10], wanted[32], out[32];
    memset(key, 0x0b, sizeof key);
    from_hex("000102030405060708090a0b0c", salt);
    from_hex("f0f1f2f3f4f5f6f7f8f9", info);
    from_hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf", wanted);
    crypto_hkdf(key, sizeof key, salt, sizeof salt, info, sizeof info, out, sizeof out);
    assert_memory_equal(out, wanted, sizeof out);
    from_hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d", wanted);
    crypto_hkdf(key, sizeof key, NULL, 0, "", 0, out, sizeof out);
    assert_memory_equal(out, wanted, sizeof out);
}

static void key_of(const char *text, struct keyring_key *key) {
    struct err_text why;
    assert_int_equal(keyring_parse_key(text, key, &why), ERR_OK);
}

static struct keyring *ring_of(const char *first, const char *second) {
    struct keyring *ring = keyring_create();
    struct keyring_key key;
    key_of(first, &key);
    assert_int_equal(keyring_install(ring, &key, NULL), ERR_OK);
    if (second != NULL) {
        key_of(second, &key);
        assert_int_equal(keyring_install(ring, &key, NULL), ERR_OK);
    }
    return ring;
}

static void test_keys_as_text(void **state) {
    (void)state;
    static const char *const bad[] = {"",
                                      "A",
                                      "AAAA",
                                      "MDEyMzQ1Njc4OWFiY2RlZg=",
                                      "====",
                                      "MDEyMzQ1Njc4OWFiY2RlZh==",
                                      "MDEyMzQ1Njc4OWFi Y2RlZg=",
                                      "MDEyMzQ1Njc4OWFiY2RlZg==MDEy",
                                      "pUqJrVyVRj5jsiYEkM/tFQYfWyJIv4s3XkvDwy7Cu5sAAAAA"};
    struct keyring_key key;
    struct err_text text;
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_int_equal(keyring_parse_key(bad[i], &key, &text), ERR_INVALID);
    }
    static const char *const good[] = {KEY_A, KEY_B, "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3"};
    for (size_t i = 0; i < 3; i++) {
        char back[KEYRING_TEXT_BYTES];
        key_of(good[i], &key);
        keyring_format_key(&key, back);
        assert_string_equal(back, good[i]);
    }
}

static void test_ring(void **state) {
    (void)state;
    struct keyring *ring = ring_of(KEY_A, KEY_B);
    struct keyring_key a, b;
    struct err_text text;
    key_of(KEY_A, &a);
    key_of(KEY_B, &b);
    assert_int_equal(keyring_remove(ring, &a, &text), ERR_REFUSED);
    assert_int_equal(keyring_use(ring, &b, &text), ERR_OK);
    assert_memory_equal(keyring_get(ring, 0)->bytes, b.bytes, b.size);
    assert_ptr_equal(keyring_find_id(ring, a.id), keyring_get(ring, 1));
    assert_int_equal(keyring_remove(ring, &a, &text), ERR_OK);
    assert_int_equal(keyring_count(ring), 1);
    assert_int_equal(keyring_use(ring, &a, &text), ERR_NOT_FOUND);
    assert_int_equal(keyring_remove(ring, &a, &text), ERR_OK);
    keyring_destroy(ring);
}

/* ---- packets ---- */

static struct seal *seal_of(const struct keyring *ring, uint8_t id, uint32_t epoch, bool in,
                            bool out) {
    struct seal_config config = {.pool = "lan",
                                 .self = {{id}},
                                 .boot_epoch = epoch,
                                 .keyring = ring,
                                 .verify_incoming = in,
                                 .verify_outgoing = out};
    return seal_create(&config);
}

struct packet {
    uint8_t bytes[LIMIT_SEAL_PACKET_BYTES];
    size_t size;
};

static struct packet pack(struct seal *seal, const char *message) {
    struct packet packet;
    packet.size = seal_packet(seal, message, strlen(message), packet.bytes);
    return packet;
}

/* SEAL_REFUSAL_COUNT: opened, and it says message. */
static enum seal_refusal try_open(struct seal *seal, struct packet packet, const char *message) {
    uint8_t *out = NULL;
    size_t size = 0;
    enum seal_refusal why = SEAL_REFUSAL_COUNT;
    uint64_t before[SEAL_REFUSAL_COUNT];
    for (int i = 0; i < SEAL_REFUSAL_COUNT; i++) {
        before[i] = seal_refused(seal, (enum seal_refusal)i);
    }
    enum err err = seal_open(seal, packet.bytes, packet.size, &out, &size, &why);
    assert_int_equal(err == ERR_OK, why == SEAL_REFUSAL_COUNT);
    if (err == ERR_OK) {
        assert_int_equal(size, strlen(message));
        assert_memory_equal(out, message, size);
    } else {
        assert_int_equal(seal_refused(seal, why), before[why] + 1);
    }
    return why;
}

#define OPENED SEAL_REFUSAL_COUNT

static void test_sealed(void **state) {
    (void)state;
    struct keyring *ring = ring_of(KEY_A, NULL), *other = ring_of(KEY_B, NULL);
    struct seal *from = seal_of(ring, 1, 100, true, true);
    struct seal *to = seal_of(ring, 2, 100, true, true);
    struct seal *stranger = seal_of(other, 3, 100, true, true);
    struct packet packet = pack(from, "hello");
    assert_int_equal(packet.size, 5 + SEAL_OVERHEAD_BYTES);
    assert_int_equal(try_open(stranger, packet, ""), SEAL_WRONG_KEY);
    for (size_t size = 0; size < SEAL_OVERHEAD_BYTES; size++) {
        struct packet cut = packet;
        cut.size = size;
        assert_int_equal(try_open(to, cut, ""), SEAL_TRUNCATED);
    }
    for (size_t bit = 0; bit < 8 * packet.size; bit++) {
        struct packet bent = packet;
        bent.bytes[bit / 8] ^= (uint8_t)(1u << bit % 8);
        assert_int_not_equal(try_open(to, bent, ""), OPENED);
    }
    assert_int_equal(try_open(to, packet, "hello"), OPENED);
    assert_int_equal(try_open(to, packet, ""), SEAL_REPLAYED);
    struct packet newer = packet;
    newer.bytes[0] = 0x53;
    assert_int_equal(try_open(to, newer, ""), SEAL_UNKNOWN_VERSION);
    seal_destroy(from);
    seal_destroy(to);
    seal_destroy(stranger);
    keyring_destroy(ring);
    keyring_destroy(other);
}

static void test_pools_have_keys_of_their_own(void **state) {
    (void)state;
    struct keyring *ring = ring_of(KEY_A, NULL);
    struct seal_config wan = {.pool = "wan",
                              .self = {{1}},
                              .boot_epoch = 100,
                              .keyring = ring,
                              .verify_incoming = true,
                              .verify_outgoing = true};
    struct seal *from = seal_create(&wan), *to = seal_of(ring, 2, 100, true, true);
    assert_int_equal(try_open(to, pack(from, "x"), ""), SEAL_WRONG_KEY);
    seal_destroy(from);
    seal_destroy(to);
    keyring_destroy(ring);
}

/* Ids that differ in their last byte only, as those given by hand do. */
static void test_senders_have_keys_of_their_own(void **state) {
    (void)state;
    struct keyring *ring = ring_of(KEY_A, NULL);
    struct seal_config config = {.pool = "lan",
                                 .boot_epoch = 100,
                                 .keyring = ring,
                                 .verify_incoming = true,
                                 .verify_outgoing = true};
    struct packet packets[2];
    struct seal *to = seal_of(ring, 2, 100, true, true);
    for (uint8_t i = 0; i < 2; i++) {
        config.self.bytes[15] = (uint8_t)(1 + i);
        struct seal *from = seal_create(&config);
        packets[i] = pack(from, "x");
        assert_int_equal(try_open(to, packets[i], "x"), OPENED);
        seal_destroy(from);
    }
    size_t at = SEAL_OVERHEAD_BYTES - CRYPTO_TAG_BYTES;
    assert_memory_not_equal(packets[0].bytes + at, packets[1].bytes + at, packets[0].size - at);
    seal_destroy(to);
    keyring_destroy(ring);
}

/* Any order within the window, each once; nothing below it. */
static void test_window(void **state) {
    (void)state;
    enum { COUNT = LIMIT_SEAL_WINDOW + 70 };
    struct keyring *ring = ring_of(KEY_B, NULL);
    struct seal *from = seal_of(ring, 1, 100, true, true);
    struct seal *to = seal_of(ring, 2, 100, true, true);
    struct packet *packets = calloc(COUNT, sizeof *packets);
    for (int i = 0; i < COUNT; i++) {
        packets[i] = pack(from, "x");
    }
    for (int i = 1; i < 60; i += 2) {
        assert_int_equal(try_open(to, packets[i], "x"), OPENED);
    }
    for (int i = 58; i >= 0; i -= 2) {
        assert_int_equal(try_open(to, packets[i], "x"), OPENED);
    }
    for (int i = 0; i < 60; i++) {
        assert_int_equal(try_open(to, packets[i], "x"), SEAL_REPLAYED);
    }
    assert_int_equal(try_open(to, packets[COUNT - 1], "x"), OPENED);
    assert_int_equal(try_open(to, packets[COUNT - 1 - LIMIT_SEAL_WINDOW], "x"), SEAL_REPLAYED);
    for (int i = COUNT - 2; i > COUNT - 1 - LIMIT_SEAL_WINDOW; i--) {
        assert_int_equal(try_open(to, packets[i], "x"), OPENED);
        assert_int_equal(try_open(to, packets[i], "x"), SEAL_REPLAYED);
    }
    free(packets);
    seal_destroy(from);
    seal_destroy(to);
    keyring_destroy(ring);
}

static void test_restarted_sender(void **state) {
    (void)state;
    struct keyring *ring = ring_of(KEY_A, NULL);
    struct seal *first = seal_of(ring, 1, 100, true, true);
    struct seal *second = seal_of(ring, 1, 101, true, true);
    struct seal *to = seal_of(ring, 2, 100, true, true);
    struct packet late = pack(first, "late");
    assert_int_equal(try_open(to, pack(first, "old"), "old"), OPENED);
    assert_int_equal(try_open(to, pack(second, "new"), "new"), OPENED);
    assert_int_equal(try_open(to, late, ""), SEAL_REPLAYED);
    seal_destroy(first);
    seal_destroy(second);
    seal_destroy(to);
    keyring_destroy(ring);
}

/* The steps of contract 2.3: each mix of two neighbouring steps hears each other. */
static void test_rolling(void **state) {
    (void)state;
    struct keyring *none = keyring_create(), *ring = ring_of(KEY_A, NULL);
    struct seal *steps[] = {seal_of(none, 1, 100, true, true), seal_of(ring, 2, 100, false, false),
                            seal_of(ring, 3, 100, false, true), seal_of(ring, 4, 100, true, true)};
    for (int i = 0; i < 4; i++) {
        for (int k = i > 0 ? i - 1 : 0; k < 4 && k <= i + 1; k++) {
            assert_int_equal(try_open(steps[k], pack(steps[i], "x"), "x"), OPENED);
        }
    }
    assert_int_equal(try_open(steps[3], pack(steps[0], "x"), ""), SEAL_PLAIN);
    assert_int_equal(try_open(steps[0], pack(steps[3], "x"), ""), SEAL_NO_KEY);
    for (int i = 0; i < 4; i++) {
        seal_destroy(steps[i]);
    }
    keyring_destroy(none);
    keyring_destroy(ring);
}

/* A new key: installed everywhere, used everywhere, then the old one removed. */
static void test_change_of_keys(void **state) {
    (void)state;
    struct keyring *mine = ring_of(KEY_A, NULL), *theirs = ring_of(KEY_A, NULL);
    struct seal *from = seal_of(mine, 1, 100, true, true);
    struct seal *to = seal_of(theirs, 2, 100, true, true);
    struct keyring_key old, new;
    key_of(KEY_A, &old);
    key_of(KEY_B, &new);
    keyring_install(theirs, &new, NULL);
    assert_int_equal(try_open(to, pack(from, "1"), "1"), OPENED);
    keyring_install(mine, &new, NULL);
    keyring_use(mine, &new, NULL);
    struct packet with_new = pack(from, "2");
    assert_int_equal(try_open(to, with_new, "2"), OPENED);
    keyring_use(theirs, &new, NULL);
    struct packet with_old;
    keyring_use(mine, &old, NULL);
    with_old = pack(from, "3");
    assert_int_equal(try_open(to, with_old, "3"), OPENED);
    with_old = pack(from, "4");
    keyring_remove(theirs, &old, NULL);
    assert_int_equal(try_open(to, with_old, ""), SEAL_WRONG_KEY);
    seal_destroy(from);
    seal_destroy(to);
    keyring_destroy(mine);
    keyring_destroy(theirs);
}

/* More senders than the table holds: the longest silent ones are forgotten, the others not. */
static void test_many_senders(void **state) {
    (void)state;
    struct keyring *ring = ring_of(KEY_A, NULL);
    struct seal *to = seal_of(ring, 2, 100, true, true);
    struct packet first = {.size = 0}, last = {.size = 0};
    for (uint32_t i = 0; i <= LIMIT_SEAL_SENDERS; i++) {
        struct seal_config config = {.pool = "lan",
                                     .boot_epoch = 100,
                                     .keyring = ring,
                                     .verify_incoming = true,
                                     .verify_outgoing = true};
        memcpy(config.self.bytes, &i, sizeof i);
        struct seal *from = seal_create(&config);
        last = pack(from, "x");
        first = i == 0 ? last : first;
        assert_int_equal(try_open(to, last, "x"), OPENED);
        seal_destroy(from);
    }
    assert_int_equal(try_open(to, last, ""), SEAL_REPLAYED);
    assert_int_equal(try_open(to, first, "x"), OPENED); /* the price of the bound */
    seal_destroy(to);
    keyring_destroy(ring);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rfc_5869_a),
        cmocka_unit_test(test_keys_as_text),
        cmocka_unit_test(test_ring),
        cmocka_unit_test(test_sealed),
        cmocka_unit_test(test_pools_have_keys_of_their_own),
        cmocka_unit_test(test_senders_have_keys_of_their_own),
        cmocka_unit_test(test_window),
        cmocka_unit_test(test_restarted_sender),
        cmocka_unit_test(test_rolling),
        cmocka_unit_test(test_change_of_keys),
        cmocka_unit_test(test_many_senders),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
