/* err, buf, arena: texts that are cut and never overrun, bytes that keep to their cap. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <errno.h>
#include <stdio.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

static void err_sentence_grows_by_prefix(void **state) {
    (void)state;
    struct err_text text;
    assert_int_equal(err_set(&text, ERR_INVALID, "not an IP address"), ERR_INVALID);
    err_prefix(&text, "servers[%d].address", 2);
    err_prefix(&text, "config");
    assert_string_equal(text.s, "config: servers[2].address: not an IP address");
    err_prefix(&text, "%s", text.s); /* its own sentence may be the prefix */
    assert_string_equal(text.s, "config: servers[2].address: not an IP address: config: "
                                "servers[2].address: not an IP address");
    assert_int_equal(err_set(NULL, ERR_DENIED, "x"), ERR_DENIED);
    err_prefix(NULL, "x");
}

static void err_prefix_cuts_at_the_end(void **state) {
    (void)state;
    char expected[2 * ERR_TEXT_BYTES + 8], prefix[ERR_TEXT_BYTES + 32], rest[ERR_TEXT_BYTES];
    for (size_t rest_size = 0; rest_size < ERR_TEXT_BYTES; rest_size += 73) {
        memset(rest, 'r', rest_size);
        rest[rest_size] = '\0';
        for (size_t size = 0; size < sizeof prefix; size++) {
            struct {
                struct err_text text;
                char canary[8];
            } at;
            memset(prefix, 'p', size);
            prefix[size] = '\0';
            memcpy(at.canary, "canary!", 8);
            err_set(&at.text, ERR_IO, "%s", rest);
            err_prefix(&at.text, "%s", prefix);
            snprintf(expected, ERR_TEXT_BYTES, "%s: %s", prefix, rest);
            assert_string_equal(at.text.s, expected);
            assert_string_equal(at.canary, "canary!");
        }
    }
}

static void err_errno(void **state) {
    (void)state;
    struct err_text text;
    assert_int_equal(err_set_errno(&text, ENOSPC, "write %s", "log"), ERR_NO_SPACE);
    assert_string_equal(text.s, "write log: No space left on device");
    assert_int_equal(err_set_errno(&text, EDQUOT, "x"), ERR_NO_SPACE);
    assert_int_equal(err_set_errno(&text, EIO, "x"), ERR_IO);
    assert_int_equal(err_set_errno(NULL, EIO, "x"), ERR_IO);
    for (int i = 0; i < ERR_COUNT; i++) {
        assert_true(strlen(err_name((enum err)i)) > 0);
    }
}

static void buf_stays_under_its_cap(void **state) {
    (void)state;
    struct buf buf;
    buf_init(&buf, 1000);
    for (int i = 0; i < 100; i++) {
        buf_append(&buf, "0123456789", 10);
        assert_true(buf.capacity <= 1000);
    }
    assert_false(buf.failed);
    assert_int_equal(buf.count, 1000);
    buf_append_byte(&buf, 'x');
    assert_true(buf.failed);
    assert_int_equal(buf.count, 1000);
    buf_reset(&buf);
    assert_false(buf.failed);
    buf_append(&buf, "abc", 3);
    assert_null(buf_reserve(&buf, 998));
    assert_true(buf.failed); /* and it stays */
    buf_append(&buf, "d", 1);
    buf_append_format(&buf, "%d", 1);
    buf_append_u64(&buf, 1);
    assert_int_equal(buf.count, 3);
    size_t size;
    assert_null(buf_take(&buf, &size));
    assert_null(buf.data);
    assert_null(buf_reserve(&buf, SIZE_MAX)); /* no overflow on the way to the cap */
    buf_clear(&buf);
}

static void buf_appends(void **state) {
    (void)state;
    struct buf buf;
    buf_init(&buf, 64);
    buf_append_u64(&buf, 0);
    buf_append_byte(&buf, ' ');
    buf_append_u64(&buf, UINT64_MAX);
    buf_append_str(&buf, " ");
    buf_append_format(&buf, "%s-%d", "a", 7);
    buf_append(&buf, NULL, 0);
    size_t size;
    char *data = buf_take(&buf, &size);
    assert_int_equal(size, strlen("0 18446744073709551615 a-7"));
    assert_memory_equal(data, "0 18446744073709551615 a-7", size);
    free(data);
    data = buf_take(&buf, &size); /* an empty one is not a failed one */
    assert_non_null(data);
    assert_int_equal(size, 0);
    free(data);
}

/* A text that fills the buffer to its cap fits, whichever way it is written. */
static void buf_format_fits_exactly(void **state) {
    (void)state;
    struct buf buf;
    buf_init(&buf, 10);
    buf_append_format(&buf, "%s", "0123456789");
    assert_false(buf.failed);
    assert_int_equal(buf.count, 10);
    assert_memory_equal(buf.data, "0123456789", 10);
    buf_append_format(&buf, "%s", "x");
    assert_true(buf.failed);
    assert_int_equal(buf.count, 10);
    buf_clear(&buf);
}

static void arena_blocks(void **state) {
    (void)state;
    struct arena arena;
    arena_init(&arena);
    assert_non_null(arena_alloc(&arena, 0)); /* of a fresh arena too */
    unsigned char *blocks[400];
    for (size_t i = 0; i < 400; i++) {
        size_t size = i * 37 % 9000;
        blocks[i] = arena_alloc(&arena, size);
        assert_int_equal((uintptr_t)blocks[i] % 16, 0);
        for (size_t at = 0; at < size; at++) {
            assert_int_equal(blocks[i][at], 0);
        }
        memset(blocks[i], (int)i, size);
    }
    for (size_t i = 0; i < 400; i++) { /* no block touches another */
        for (size_t at = 0; at < i * 37 % 9000; at++) {
            assert_int_equal(blocks[i][at], (unsigned char)i);
        }
    }
    assert_string_equal(arena_strdup(&arena, ""), "");
    assert_string_equal(arena_strndup(&arena, "abcdef", 3), "abc");
    assert_string_equal(arena_format(&arena, "%s:%05d", "x", 42), "x:00042");
    char *huge = arena_format(&arena, "%9000d", 1);
    assert_int_equal(strlen(huge), 9000);
    arena_clear(&arena);
    assert_string_equal(arena_strdup(&arena, "again"), "again");
    arena_clear(&arena);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(err_sentence_grows_by_prefix),
        cmocka_unit_test(err_prefix_cuts_at_the_end),
        cmocka_unit_test(err_errno),
        cmocka_unit_test(buf_stays_under_its_cap),
        cmocka_unit_test(buf_appends),
        cmocka_unit_test(buf_format_fits_exactly),
        cmocka_unit_test(arena_blocks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
