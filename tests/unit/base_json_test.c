/* The JSON writer against Go's encoding/json: the expected texts were printed by Go. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"

#define CHECK_OUT(out, expected)                                                                   \
    do {                                                                                           \
        buf_append_byte(out, '\0');                                                                \
        assert_false((out)->failed);                                                               \
        assert_string_equal((out)->data, expected);                                                \
        buf_clear(out);                                                                            \
    } while (0)

static void begin(struct json *json, struct buf *out, bool pretty) {
    buf_init(out, 100000);
    json_init(json, out, pretty);
}

static void strings_as_go(void **state) {
    static const struct {
        const char *text, *json;
    } rows[] = {
        {"", "\"\""},
        {"plain \x7f /", "\"plain \x7f /\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"<>&", "\"\\u003c\\u003e\\u0026\""},
        {"\x01\b\f\n\r\t\x1f", "\"\\u0001\\b\\f\\n\\r\\t\\u001f\""},
        {"\xe2\x80\xa8\xe2\x80\xa9\xe2\x80\xaa", "\"\\u2028\\u2029\xe2\x80\xaa\""},
        {"\xc3\xa9\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd\xf4\x8f\xbf\xbf",
         "\"\xc3\xa9\xf0\x9f\x98\x80\xed\x9f\xbf\xee\x80\x80\xef\xbf\xbd\xf4\x8f\xbf\xbf\""},
        /* one replacement a byte: stray, surrogate, overlong, above U+10FFFF, cut short */
        {"\xff|\x80", "\"\\ufffd|\\ufffd\""},
        {"\xed\xa0\x80", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xc0\x80\xe0\x9f\xbf\xf0\x8f\xbf\xbf",
         "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\xf4\x90\x80\x80\xf5", "\"\\ufffd\\ufffd\\ufffd\\ufffd\\ufffd\""},
        {"\xe2\x82", "\"\\ufffd\\ufffd\""},
        {"\xc3", "\"\\ufffd\""},
        {"\xf0\x9f\x98", "\"\\ufffd\\ufffd\\ufffd\""},
        {"\xc3(", "\"\\ufffd(\""},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out;
        struct json json;
        char *exact = strdup(rows[i].text); /* so that a read past the NUL is seen */
        begin(&json, &out, false);
        json_str(&json, exact);
        CHECK_OUT(&out, rows[i].json);
        begin(&json, &out, false);
        json_object_begin(&json);
        json_key(&json, exact);
        json_null(&json);
        json_object_end(&json);
        buf_append_byte(&out, '\0');
        assert_memory_equal(out.data + 1, rows[i].json, strlen(rows[i].json));
        buf_clear(&out);
        free(exact);
    }
}

static void write_all(struct json *json) {
    const char *tags[] = {"x", "y"};
    struct str_pair pairs[] = {{"k", "v"}};
    struct str_list none = {0}, two = {tags, 2};
    struct str_map absent = {0}, empty = {.present = true}, one = {pairs, 1, true};
    json_object_begin(json);
    json_member_list(json, "none", &none);
    json_member_list(json, "two", &two);
    json_member_map(json, "absent", &absent);
    json_member_map(json, "empty", &empty);
    json_member_map(json, "one", &one);
    json_member_u64(json, "u", UINT64_MAX);
    json_key(json, "i");
    json_i64(json, INT64_MIN);
    json_member_bool(json, "t", true);
    json_member_bool(json, "f", false);
    json_member_str(json, "s", "z");
    json_key(json, "nested");
    json_array_begin(json);
    json_array_begin(json);
    json_array_end(json);
    json_object_begin(json);
    json_object_end(json);
    json_u64(json, 0);
    json_array_end(json);
    json_object_end(json);
}

static void compact(void **state) {
    struct buf out;
    struct json json;
    (void)state;
    begin(&json, &out, false);
    write_all(&json);
    CHECK_OUT(&out, "{\"none\":[],\"two\":[\"x\",\"y\"],\"absent\":null,\"empty\":{},"
                    "\"one\":{\"k\":\"v\"},\"u\":18446744073709551615,"
                    "\"i\":-9223372036854775808,\"t\":true,\"f\":false,\"s\":\"z\","
                    "\"nested\":[[],{},0]}");
}

/* json.MarshalIndent(v, "", "    ") */
static void pretty(void **state) {
    struct buf out;
    struct json json;
    (void)state;
    begin(&json, &out, true);
    write_all(&json);
    CHECK_OUT(&out, "{\n    \"none\": [],\n    \"two\": [\n        \"x\",\n        \"y\"\n    ],\n"
                    "    \"absent\": null,\n    \"empty\": {},\n"
                    "    \"one\": {\n        \"k\": \"v\"\n    },\n"
                    "    \"u\": 18446744073709551615,\n    \"i\": -9223372036854775808,\n"
                    "    \"t\": true,\n    \"f\": false,\n    \"s\": \"z\",\n"
                    "    \"nested\": [\n        [],\n        {},\n        0\n    ]\n}");
}

static void top_level_values(void **state) {
    struct buf out;
    struct json json;
    (void)state;
    begin(&json, &out, true);
    json_array_begin(&json);
    json_array_end(&json);
    CHECK_OUT(&out, "[]");
    begin(&json, &out, true);
    json_null(&json);
    CHECK_OUT(&out, "null");
}

/* A carried text is indented as if it had been written member by member. */
static void raw_is_indented_anew(void **state) {
    static const char text[] =
        "{\"a\":[],\"b\":{},\"c\":[1,{\"x\":null,\"y\":[[],\"{[,:]}\\\"\"]}],"
        "\"d\":\"{\\\\\"}";
    struct buf out;
    struct json json;
    (void)state;
    for (int pretty_form = 0; pretty_form < 2; pretty_form++) {
        begin(&json, &out, pretty_form);
        json_object_begin(&json);
        json_key(&json, "Proxy");
        json_raw(&json, text);
        json_key(&json, "after");
        json_raw(&json, "{}");
        json_key(&json, "list");
        json_array_begin(&json);
        json_raw(&json, "[]");
        json_raw(&json, "7");
        json_array_end(&json);
        json_object_end(&json);
        if (!pretty_form) {
            CHECK_OUT(&out, "{\"Proxy\":{\"a\":[],\"b\":{},\"c\":[1,{\"x\":null,"
                            "\"y\":[[],\"{[,:]}\\\"\"]}],\"d\":\"{\\\\\"},"
                            "\"after\":{},\"list\":[[],7]}");
        }
    }
    CHECK_OUT(&out, "{\n"
                    "    \"Proxy\": {\n"
                    "        \"a\": [],\n"
                    "        \"b\": {},\n"
                    "        \"c\": [\n"
                    "            1,\n"
                    "            {\n"
                    "                \"x\": null,\n"
                    "                \"y\": [\n"
                    "                    [],\n"
                    "                    \"{[,:]}\\\"\"\n"
                    "                ]\n"
                    "            }\n"
                    "        ],\n"
                    "        \"d\": \"{\\\\\"\n"
                    "    },\n"
                    "    \"after\": {},\n"
                    "    \"list\": [\n"
                    "        [],\n"
                    "        7\n"
                    "    ]\n"
                    "}");
}

static void a_full_buffer_shows(void **state) {
    struct buf out;
    struct json json;
    (void)state;
    for (size_t max = 0; max < 40; max++) {
        buf_init(&out, max);
        json_init(&json, &out, true);
        json_object_begin(&json);
        json_member_str(&json, "key", "<\x01> value \xff");
        json_object_end(&json);
        assert_true(out.failed);
        assert_true(out.capacity <= max);
        buf_clear(&out);
    }
}

static void floats_as_go(void **state) {
    static const struct {
        double value;
        const char *json;
    } rows[] = {
        {0, "0"},
        {1, "1"},
        {-2.5, "-2.5"},
        {0.1, "0.1"},
        {1.0 / 3, "0.3333333333333333"},
        {1e15, "1000000000000000"},
        {123456789.125, "123456789.125"},
        {1e20, "100000000000000000000"},
        {1e21, "1e+21"},
        {1e-5, "0.00001"},
        {0.0000015, "0.0000015"},
        {1e-7, "1e-7"},
        {2.5e-10, "2.5e-10"},
        {1e100, "1e+100"},
    };
    (void)state;
    for (size_t i = 0; i < sizeof rows / sizeof rows[0]; i++) {
        struct buf out;
        struct json json;
        begin(&json, &out, false);
        json_f64(&json, rows[i].value);
        CHECK_OUT(&out, rows[i].json);
    }
    struct buf out;
    struct json json;
    begin(&json, &out, false);
    json_f64(&json, (double)INFINITY);
    CHECK_OUT(&out, "null");
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(strings_as_go),
        cmocka_unit_test(compact),
        cmocka_unit_test(pretty),
        cmocka_unit_test(top_level_values),
        cmocka_unit_test(raw_is_indented_anew),
        cmocka_unit_test(floats_as_go),
        cmocka_unit_test(a_full_buffer_shows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
