/* Which Accept-Encoding headers admit gzip (RFC 9110 section 12.5.3). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "http/gzip.h"

static void test_accepted(void **state) {
    static const struct {
        const char *header;
        int accepted;
    } cases[] = {
        {"gzip", 1},
        {"GZIP", 1},
        {"deflate, gzip;q=1.0, *;q=0.5", 1},
        {"br;q=1.0,gzip;q=0.8", 1},
        {"gzip;q=0.001", 1},
        {"*", 1},
        {"", 0},
        {"identity", 0},
        {"gzip;q=0", 0},
        {"gzip;q=0.000", 0},
        {"gzip; q=0 , *", 0},
        {"*;q=0", 0},
        {"x-gzip", 0},
        {"gzipped", 0},
    };
    (void)state;
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        if (http_gzip_accepted(cases[i].header) != (cases[i].accepted == 1)) {
            fail_msg("\"%s\"", cases[i].header);
        }
    }
}

static void test_shrinks(void **state) {
    char *data = NULL;
    size_t size = 0;
    char text[5000];
    (void)state;
    memset(text, 'x', sizeof text);
    assert_true(http_gzip(text, sizeof text, &data, &size));
    assert_true(size < 200);
    assert_memory_equal(data, "\x1f\x8b", 2);
    free(data);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_shrinks),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
