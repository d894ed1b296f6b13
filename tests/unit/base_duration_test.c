/* Durations against Go's own answers: the tables below were printed by time.ParseDuration and
 * Duration.String (Go 1.26). */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <inttypes.h>

#include "base/duration.h"
#include "base/rand.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const struct parsed {
    const char *text;
    int64_t ns;
    const char *error; /* NULL: it parses */
} parsed[] = {
    {"0", INT64_C(0), NULL},
    {"5s", INT64_C(5000000000), NULL},
    {"30s", INT64_C(30000000000), NULL},
    {"1478s", INT64_C(1478000000000), NULL},
    {"-5s", INT64_C(-5000000000), NULL},
    {"+5s", INT64_C(5000000000), NULL},
    {"-0", INT64_C(0), NULL},
    {"+0", INT64_C(0), NULL},
    {"5.0s", INT64_C(5000000000), NULL},
    {"5.6s", INT64_C(5600000000), NULL},
    {"5.s", INT64_C(5000000000), NULL},
    {".5s", INT64_C(500000000), NULL},
    {"1.0s", INT64_C(1000000000), NULL},
    {"1.00s", INT64_C(1000000000), NULL},
    {"1.004s", INT64_C(1004000000), NULL},
    {"1.0040s", INT64_C(1004000000), NULL},
    {"100.00100s", INT64_C(100001000000), NULL},
    {"10ns", INT64_C(10), NULL},
    {"11us", INT64_C(11000), NULL},
    {"12\302\265s", INT64_C(12000), NULL},
    {"12\316\274s", INT64_C(12000), NULL},
    {"13ms", INT64_C(13000000), NULL},
    {"14s", INT64_C(14000000000), NULL},
    {"15m", INT64_C(900000000000), NULL},
    {"16h", INT64_C(57600000000000), NULL},
    {"3h30m", INT64_C(12600000000000), NULL},
    {"10.5s4m", INT64_C(250500000000), NULL},
    {"-2m3.4s", INT64_C(-123400000000), NULL},
    {"1h2m3s4ms5us6ns", INT64_C(3723004005006), NULL},
    {"39h9m14.425s", INT64_C(140954425000000), NULL},
    {"52763797000ns", INT64_C(52763797000), NULL},
    {"0.3333333333333333333h", INT64_C(1200000000000), NULL},
    {"9007199254740993ns", INT64_C(9007199254740993), NULL},
    {"9223372036854775807ns", INT64_C(9223372036854775807), NULL},
    {"9223372036854775.807us", INT64_C(9223372036854775807), NULL},
    {"9223372036s854ms775us807ns", INT64_C(9223372036854775807), NULL},
    {"-9223372036854775808ns", INT64_MIN, NULL},
    {"-9223372036854775.808us", INT64_MIN, NULL},
    {"-9223372036s854ms775us808ns", INT64_MIN, NULL},
    {"0.100000000000000000000h", INT64_C(360000000000), NULL},
    {"0.830103483285477580700h", INT64_C(2988372539827), NULL},
    {"1.5h", INT64_C(5400000000000), NULL},
    {"-1.5s", INT64_C(-1500000000), NULL},
    {"1h0m0s", INT64_C(3600000000000), NULL},
    {"1m30s", INT64_C(90000000000), NULL},
    {"0s", INT64_C(0), NULL},
    {"0.9999999999s", INT64_C(999999999), NULL},
    {"1.9999999999ms", INT64_C(1999999), NULL},
    {"0.1us", INT64_C(100), NULL},
    {"0.0000000001s", INT64_C(0), NULL},
    {"2562047h47m16.854775807s", INT64_C(9223372036854775807), NULL},
    {"-2562047h47m16.854775808s", INT64_MIN, NULL},
    {"", 0, "time: invalid duration \"\""},
    {"3", 0, "time: missing unit in duration \"3\""},
    {"-", 0, "time: invalid duration \"-\""},
    {"s", 0, "time: invalid duration \"s\""},
    {".", 0, "time: invalid duration \".\""},
    {"-.", 0, "time: invalid duration \"-.\""},
    {".s", 0, "time: invalid duration \".s\""},
    {"+.s", 0, "time: invalid duration \"+.s\""},
    {"1d", 0, "time: unknown unit \"d\" in duration \"1d\""},
    {"9223372036854775810ns", 0, "time: invalid duration \"9223372036854775810ns\""},
    {"9223372036854775808ns", 0, "time: invalid duration \"9223372036854775808ns\""},
    {"-9223372036854775809ns", 0, "time: invalid duration \"-9223372036854775809ns\""},
    {"9223372036854776us", 0, "time: invalid duration \"9223372036854776us\""},
    {"3000000h", 0, "time: invalid duration \"3000000h\""},
    {"9223372036854775.808us", 0, "time: invalid duration \"9223372036854775.808us\""},
    {"9223372036854ms775us808ns", 0, "time: invalid duration \"9223372036854ms775us808ns\""},
    {"10", 0, "time: missing unit in duration \"10\""},
    {"nope", 0, "time: invalid duration \"nope\""},
    {"1s x", 0, "time: unknown unit \"s x\" in duration \"1s x\""},
    {"1h-2m", 0, "time: unknown unit \"h-\" in duration \"1h-2m\""},
    {"--5s", 0, "time: invalid duration \"--5s\""},
    {"1.2.3s", 0, "time: missing unit in duration \"1.2.3s\""},
    {" 1s", 0, "time: invalid duration \" 1s\""},
    {"1 s", 0, "time: unknown unit \" s\" in duration \"1 s\""},
    {"1S", 0, "time: unknown unit \"S\" in duration \"1S\""},
    {"\205\205", 0, "time: invalid duration \"\\x85\\x85\""},
    {"\377ff", 0, "time: invalid duration \"\\xffff\""},
    {"hello \377ff world", 0, "time: invalid duration \"hello \\xffff world\""},
    {"\357\277\275", 0, "time: invalid duration \"\\xef\\xbf\\xbd\""},
    {"a\"b\\c", 0, "time: invalid duration \"a\\\"b\\\\c\""},
    {"1\012", 0, "time: unknown unit \"\\x0a\" in duration \"1\\x0a\""},
    {"99999999999999999999s", 0, "time: invalid duration \"99999999999999999999s\""},
    {"1\302\265", 0, "time: unknown unit \"\\xc2\\xb5\" in duration \"1\\xc2\\xb5\""},
    {"0.", 0, "time: missing unit in duration \"0.\""},
    {"00", 0, "time: missing unit in duration \"00\""},
    {"0x1s", 0, "time: unknown unit \"x\" in duration \"0x1s\""},
    {"1e3s", 0, "time: unknown unit \"e\" in duration \"1e3s\""},
};

static void parses_as_go(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(parsed); i++) {
        const struct parsed *row = &parsed[i];
        struct err_text text = {""};
        int64_t ns = 4711;
        enum err err = duration_parse(row->text, &ns, &text);
        if (row->error != NULL) {
            assert_string_equal(text.s, row->error);
            assert_int_equal(err, ERR_INVALID);
            assert_int_equal(ns, 4711); /* written only on success */
        } else if (err != ERR_OK || ns != row->ns) {
            fail_msg("\"%s\": %" PRId64 " instead of %" PRId64 " (%s)", row->text, ns, row->ns,
                     text.s);
        }
    }
    int64_t ns;
    assert_int_equal(duration_parse("x", &ns, NULL), ERR_INVALID); /* no text wanted */
}

static const struct {
    int64_t ns;
    const char *text;
} formatted[] = {
    {INT64_C(0), "0s"},
    {INT64_C(1), "1ns"},
    {INT64_C(999), "999ns"},
    {INT64_C(1000), "1\302\265s"},
    {INT64_C(1001), "1.001\302\265s"},
    {INT64_C(1100), "1.1\302\265s"},
    {INT64_C(2200000), "2.2ms"},
    {INT64_C(200000), "200\302\265s"},
    {INT64_C(500000000), "500ms"},
    {INT64_C(3300000000), "3.3s"},
    {INT64_C(245000000000), "4m5s"},
    {INT64_C(245001000000), "4m5.001s"},
    {INT64_C(367001000000), "6m7.001s"},
    {INT64_C(480000000001), "8m0.000000001s"},
    {INT64_MIN, "-2562047h47m16.854775808s"},
    {INT64_C(9223372036854775807), "2562047h47m16.854775807s"},
    {INT64_C(-1), "-1ns"},
    {INT64_C(-1500000000), "-1.5s"},
    {INT64_C(3600000000000), "1h0m0s"},
    {INT64_C(90000000000), "1m30s"},
    {INT64_C(10000000000), "10s"},
    {INT64_C(5400000000000), "1h30m0s"},
    {INT64_C(60000000000), "1m0s"},
    {INT64_C(1000000), "1ms"},
    {INT64_C(1000001), "1.000001ms"},
    {INT64_C(999999), "999.999\302\265s"},
    {INT64_C(59999999999), "59.999999999s"},
    {INT64_C(86400000000000), "24h0m0s"},
    {INT64_C(3601500000000), "1h0m1.5s"},
};

static void formats_as_go(void **state) {
    (void)state;
    for (size_t i = 0; i < COUNT(formatted); i++) {
        char out[DURATION_TEXT_BYTES];
        duration_format(formatted[i].ns, out);
        assert_string_equal(out, formatted[i].text);
    }
}

/* What is written in a file or an answer is read back as the same duration. */
static void round_trip(void **state) {
    (void)state;
    struct rand rand;
    rand_init(&rand, 7);
    for (int i = 0; i < 20000; i++) {
        int64_t ns = (int64_t)(rand_next(&rand) >> rand_below(&rand, 64)), back = 0;
        char out[DURATION_TEXT_BYTES];
        struct err_text text = {""};
        ns = i % 2 ? ns : -(ns >> 1);
        duration_format(ns, out);
        if (duration_parse(out, &back, &text) != ERR_OK || back != ns) {
            fail_msg("%" PRId64 " is written %s and read %" PRId64, ns, out, back);
        }
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parses_as_go),
        cmocka_unit_test(formats_as_go),
        cmocka_unit_test(round_trip),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
