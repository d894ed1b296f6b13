/* crc32c, hash, rand, uuid, str: known answers and borders. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

/* The source itself: both code paths are static, and a machine runs only one of them. */
#include "base/crc32c.c"
#include "base/base64.h"
#include "base/hash.h"
#include "base/rand.h"
#include "base/str.h"
#include "base/uuid.h"

static uint32_t slow(uint32_t crc, const void *data, size_t size) {
    return ~crc_bits(~crc, data, size);
}

/* RFC 3720 appendix B.4, with the bytes of its dumps read as little-endian numbers. */
static void rfc_3720_b_4(void **state) {
    (void)state;
    static const uint8_t read_10[48] = {[0] = 0x01,  [1] = 0xc0,  [16] = 0x14, [22] = 0x04,
                                        [27] = 0x14, [31] = 0x18, [32] = 0x28, [40] = 0x02};
    uint8_t bytes[32];
    uint32_t (*const paths[])(uint32_t, const void *, size_t) = {crc32c, slow};
    for (size_t i = 0; i < 2; i++) {
        memset(bytes, 0, sizeof bytes);
        assert_int_equal(paths[i](0, bytes, 32), 0x8a9136aa);
        memset(bytes, 0xff, sizeof bytes);
        assert_int_equal(paths[i](0, bytes, 32), 0x62a8ab43);
        for (unsigned n = 0; n < 32; n++) {
            bytes[n] = (uint8_t)n;
        }
        assert_int_equal(paths[i](0, bytes, 32), 0x46dd794e);
        for (unsigned n = 0; n < 32; n++) {
            bytes[n] = (uint8_t)(31 - n);
        }
        assert_int_equal(paths[i](0, bytes, 32), 0x113fdb5c);
        assert_int_equal(paths[i](0, read_10, 48), 0xd9963a56);
        assert_int_equal(paths[i](0, "123456789", 9), 0xe3069283);
        assert_int_equal(paths[i](0, NULL, 0), 0);
    }
}

static void crc_paths_agree_and_chain(void **state) {
    (void)state;
    struct rand rand;
    uint8_t bytes[100];
    rand_init(&rand, 1);
    for (int i = 0; i < 2000; i++) {
        size_t start = rand_below(&rand, 9), size = rand_below(&rand, 91);
        size_t cut = rand_below(&rand, size + 1);
        uint32_t seed = (uint32_t)rand_next(&rand);
        rand_bytes(&rand, bytes, sizeof bytes);
        uint32_t crc = crc32c(seed, bytes + start, size);
        assert_int_equal(crc, slow(seed, bytes + start, size));
        assert_int_equal(crc,
                         crc32c(crc32c(seed, bytes + start, cut), bytes + start + cut, size - cut));
    }
}

static int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void hash_tells_apart(void **state) {
    (void)state;
    static const uint8_t zeros[64];
    uint64_t all[64 + 64 * 8 + 100];
    size_t count = 0;
    for (size_t size = 0; size < 64; size++) {
        all[count++] = hash_bytes(0, zeros, size); /* sizes of the same bytes */
    }
    for (size_t bit = 0; bit < 64 * 8; bit++) { /* single bits, at every place of a word */
        uint8_t bytes[64] = {0};
        bytes[bit / 8] = (uint8_t)(1u << bit % 8);
        all[count++] = hash_bytes(0, bytes, 64);
    }
    for (uint64_t seed = 1; seed <= 100; seed++) {
        all[count++] = hash_bytes(seed, "web", 3);
    }
    assert_true(count == sizeof all / sizeof all[0]);
    qsort(all, count, sizeof all[0], compare_u64);
    for (size_t i = 1; i < count; i++) {
        assert_true(all[i] != all[i - 1]);
    }
}

/* Row hashes stand in snapshots: these numbers must never change. */
static void hash_is_pinned(void **state) {
    (void)state;
    static const char text[] = "the same on every machine";
    uint8_t moved[sizeof text + 1];
    memcpy(moved + 1, text, sizeof text);
    assert_int_equal(hash_bytes(42, text, sizeof text), hash_bytes(42, moved + 1, sizeof text));
    assert_int_equal(hash_bytes(0, "", 0), 0);
    assert_int_equal(hash_bytes(1, "12345678", 8), UINT64_C(0xc4370f39e3b8633a));
    assert_int_equal(hash_bytes(42, text, sizeof text), UINT64_C(0xf75ce730c8229398));
    assert_int_equal(hash_mix(1), UINT64_C(0x4179b061e0c0e0d0));
}

/* Reference outputs of the authors' code for state 1, 2, 3, 4 and of splitmix64. */
static void rand_known_answers(void **state) {
    (void)state;
    static const uint64_t expected[] = {
        11520,
        0,
        1509978240,
        1215971899390074240,
        1216172134540287360,
        607988272756665600,
        16172922978634559625u,
        8476171486693032832,
        10595114339597558777u,
        2904607092377533576,
    };
    struct rand rand = {{1, 2, 3, 4}};
    for (size_t i = 0; i < sizeof expected / sizeof expected[0]; i++) {
        assert_true(rand_next(&rand) == expected[i]);
    }
    rand_init(&rand, 1477776061723855037u);
    assert_true(rand.s[0] == 1985237415132408290u && rand.s[1] == 2979275885539914483u &&
                rand.s[2] == 13511426838097143398u && rand.s[3] == 8488337342461049707u);
}

static void rand_below_is_in_bounds_and_even(void **state) {
    (void)state;
    struct rand rand;
    rand_init(&rand, 3);
    static const uint64_t bounds[] = {
        1, 2, 3, 10, 1000, UINT64_C(1) << 63, UINT64_MAX / 3 * 2, UINT64_MAX};
    for (size_t i = 0; i < sizeof bounds / sizeof bounds[0]; i++) {
        uint64_t low = UINT64_MAX, high = 0;
        for (int n = 0; n < 20000; n++) {
            uint64_t x = rand_below(&rand, bounds[i]);
            low = x < low ? x : low;
            high = x > high ? x : high;
            assert_true(x < bounds[i]);
        }
        assert_true(low <= bounds[i] / 500 && high >= bounds[i] - bounds[i] / 500 - 1);
    }
    unsigned counts[7] = {0};
    for (int n = 0; n < 70000; n++) {
        counts[rand_below(&rand, 7)]++;
    }
    for (int i = 0; i < 7; i++) {
        assert_in_range(counts[i], 9500, 10500);
    }
    /* A bound of 2/3 of the range: without redrawing, odd numbers come twice as often in the lower
     * half and even ones in the upper. */
    unsigned favoured = 0;
    for (int n = 0; n < 30000; n++) {
        uint64_t x = rand_below(&rand, UINT64_MAX / 3 * 2);
        favoured += (x % 2 == 1) == (x < UINT64_MAX / 3);
    }
    assert_in_range(favoured, 14500, 15500);
}

static void rand_bytes_follow_the_seed(void **state) {
    (void)state;
    struct rand a, b;
    char x[23], y[24] = "";
    rand_init(&a, 9);
    rand_init(&b, 9);
    rand_bytes(&a, x, sizeof x);
    rand_bytes(&b, y, sizeof x);
    assert_memory_equal(x, y, sizeof x);
    assert_int_equal(y[23], 0);
    rand_init(&b, 10);
    assert_true(rand_next(&a) != rand_next(&b));
}

static void uuid_text(void **state) {
    (void)state;
    struct uuid uuid, untouched;
    char out[UUID_TEXT_BYTES];
    assert_true(uuid_parse("01234567-89AB-cdef-0123-456789abCDEF", &uuid));
    uuid_format(&uuid, out);
    assert_string_equal(out, "01234567-89ab-cdef-0123-456789abcdef");
    untouched = uuid;
    static const char *const bad[] = {"",
                                      "0",
                                      "01234567-89ab-cdef-0123-456789abcde",
                                      "01234567-89ab-cdef-0123-456789abcdef0",
                                      "0123456789abcdef0123456789abcdef",
                                      "01234567-89ab-cdef-0123-456789abcdeg",
                                      "01234567-89ab-cdef-0123_456789abcdef",
                                      "01234567-89ab-cdef-01234-56789abcdef",
                                      "{01234567-89ab-cdef-0123-456789abcdef}",
                                      "01234567-89ab-cdef-0123-456789abcd\x01\x02",
                                      "01234567-89ab-cdef-0123-456789abcd\xe1\xe2"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(uuid_parse(bad[i], &uuid));
        assert_memory_equal(&uuid, &untouched, sizeof uuid);
    }
    uint8_t ones[16], zeros[16] = {0};
    memset(ones, 0xff, sizeof ones);
    uuid = uuid_from_random(ones);
    uuid_format(&uuid, out);
    assert_string_equal(out, "ffffffff-ffff-4fff-bfff-ffffffffffff");
    uuid = uuid_from_random(zeros);
    uuid_format(&uuid, out);
    assert_string_equal(out, "00000000-0000-4000-8000-000000000000");
}

static void str_cases(void **state) {
    (void)state;
    char out[5];
    assert_true(str_lower(out, sizeof out, "AbZ["));
    assert_string_equal(out, "abz[");
    assert_false(str_lower(out, sizeof out, "abcde"));
    assert_false(str_lower(out, 0, ""));
    assert_true(str_equal_fold("Web", "wEB"));
    assert_true(str_equal_fold("", ""));
    assert_false(str_equal_fold("web", "web1"));
    assert_false(str_equal_fold("web1", "web"));
    assert_false(str_equal_fold("@", "`")); /* 0x20 apart, no letters */
    assert_false(str_equal_fold("\xc3\x84", "\xc3\xa4"));
    assert_true(str_starts_with("consul-x", "consul-"));
    assert_false(str_starts_with("con", "consul-"));
    assert_string_equal(str_or_empty(NULL), "");
    struct str_pair pairs[] = {{"a", "1"}, {"b", "2"}};
    struct str_map map = {.v = pairs, .count = 2, .present = true};
    assert_string_equal(str_map_get(&map, "b"), "2");
    assert_null(str_map_get(&map, "c"));
}

static void str_numbers(void **state) {
    (void)state;
    uint64_t value = 7;
    bool yes = false;
    assert_true(str_parse_u64("18446744073709551615", &value) && value == UINT64_MAX);
    assert_true(str_parse_u64("007", &value) && value == 7);
    static const char *const bad[] = {
        "", "-1", "+1", " 1", "1 ", "0x1", "18446744073709551616", "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        assert_false(str_parse_u64(bad[i], &value));
        assert_int_equal(value, 7);
    }
    assert_true(str_parse_bool("True", &yes) && yes);
    assert_true(str_parse_bool("F", &yes) && !yes);
    assert_false(str_parse_bool("tRUE", &yes));
    assert_false(str_parse_bool("", &yes));
}

static void base64_as_rfc_4648(void **state) {
    (void)state;
    static const char *const vectors[][2] = {{"", ""},
                                             {"f", "Zg=="},
                                             {"fo", "Zm8="},
                                             {"foo", "Zm9v"},
                                             {"foob", "Zm9vYg=="},
                                             {"fooba", "Zm9vYmE="},
                                             {"foobar", "Zm9vYmFy"}};
    struct arena arena;
    const uint8_t *data;
    size_t size;
    arena_init(&arena);
    for (size_t i = 0; i < sizeof vectors / sizeof vectors[0]; i++) {
        struct buf out;
        struct err_text text;
        buf_init(&out, 100);
        base64_encode(&out, vectors[i][0], strlen(vectors[i][0]));
        buf_append_byte(&out, '\0');
        assert_string_equal(out.data, vectors[i][1]);
        assert_int_equal(base64_decode(vectors[i][1], &arena, &data, &size, &text), ERR_OK);
        assert_int_equal(size, strlen(vectors[i][0]));
        assert_memory_equal(data, vectors[i][0], size);
        buf_clear(&out);
    }
    assert_int_equal(base64_decode("Zm9v\nYmFy\r\n", &arena, &data, &size, NULL), ERR_OK);
    assert_int_equal(size, 6);
    static const char *const wrong[] = {"Z", "Zg", "Zg=", "Zm8", "Zg==Zg==", "Zm9v=", "Z===", "%"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        assert_int_equal(base64_decode(wrong[i], &arena, &data, &size, NULL), ERR_INVALID);
    }
    arena_clear(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(rfc_3720_b_4),
        cmocka_unit_test(crc_paths_agree_and_chain),
        cmocka_unit_test(hash_tells_apart),
        cmocka_unit_test(hash_is_pinned),
        cmocka_unit_test(rand_known_answers),
        cmocka_unit_test(rand_below_is_in_bounds_and_even),
        cmocka_unit_test(rand_bytes_follow_the_seed),
        cmocka_unit_test(uuid_text),
        cmocka_unit_test(base64_as_rfc_4648),
        cmocka_unit_test(str_cases),
        cmocka_unit_test(str_numbers),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
