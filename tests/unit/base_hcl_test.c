/* HCL 1: what a file means as JSON, and where its mistakes are. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/hcl.h"
#include "base/limits.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct row {
    const char *hcl, *json;
};

static void check(const struct row *rows, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct buf out;
        struct err_text text = {""};
        buf_init(&out, 1 << 20);
        enum err err = hcl_to_json(rows[i].hcl, strlen(rows[i].hcl), &out, &text);
        buf_append_byte(&out, '\0');
        if (err != ERR_OK || strcmp(out.data, rows[i].json) != 0) {
            print_error("%s\n  gives    %s %s\n  expected %s\n", rows[i].hcl, out.data, text.s,
                        rows[i].json);
            fail();
        }
        buf_clear(&out);
    }
}

static void attributes(void **state) {
    static const struct row rows[] = {
        {"", "{}"},
        {"\xef\xbb\xbf a = 1\r\nb = 2\r\n", "{\"a\":1,\"b\":2}"},
        {"a = \"x\"", "{\"a\":\"x\"}"},
        {"\"quoted key\" = true", "{\"quoted key\":true}"},
        {"a-b.c_d1 = false", "{\"a-b.c_d1\":false}"},
        {"a = 1\na = 2", "{\"a\":2}"}, /* the last one counts */
        {"n = [-1, 0x1F, 010, 1.5, 1e3, -2.5E-1]", "{\"n\":[-1,31,8,1.5,1000.0,-0.25]}"},
        {"l = [1, \"two\", true, [3], {x = 4},]", "{\"l\":[1,\"two\",true,[3],{\"x\":4}]}"},
        {"l = []", "{\"l\":[]}"},
        {"o = { a = 1, b = 2 }", "{\"o\":{\"a\":1,\"b\":2}}"},
        {"o = { a = 1\n b = 2 }", "{\"o\":{\"a\":1,\"b\":2}}"},
        {"true = 1", "{\"true\":1}"},
    };
    (void)state;
    check(rows, COUNT(rows));
}

static void blocks(void **state) {
    static const struct row rows[] = {
        {"ports { http = 80 }", "{\"ports\":{\"http\":80}}"},
        {"s { a = 1 } s { a = 2 } s { a = 3 }", "{\"s\":[{\"a\":1},{\"a\":2},{\"a\":3}]}"},
        {"s = { a = 1 }\ns { a = 2 }", "{\"s\":[{\"a\":1},{\"a\":2}]}"},
        {"s \"label\" { a = 1 }", "{\"s\":{\"label\":{\"a\":1}}}"},
        {"s \"x\" \"y\" {}\ns z {}", "{\"s\":[{\"x\":{\"y\":{}}},{\"z\":{}}]}"},
        {"a { b { c = 1 } b { c = 2 } }", "{\"a\":{\"b\":[{\"c\":1},{\"c\":2}]}}"},
        {"s = [{a = 1}]\ns { a = 2 }", "{\"s\":{\"a\":2}}"}, /* no list of blocks: replaced */
    };
    (void)state;
    check(rows, COUNT(rows));
}

static void comments(void **state) {
    static const struct row rows[] = {
        {"# one\n// two\n/* three\n * a = 1 */ b = 2 # end", "{\"b\":2}"},
        {"a = [ # first\n 1, // second\n 2 /* third */ ]", "{\"a\":[1,2]}"},
        {"a = \"# no comment\"", "{\"a\":\"# no comment\"}"},
    };
    (void)state;
    check(rows, COUNT(rows));
}

static void strings(void **state) {
    static const struct row rows[] = {
        {"a = \"\\n\\t\\\\\\\"\"", "{\"a\":\"\\n\\t\\\\\\\"\"}"},
        {"a = \"\\u00e9\\U0001F600\\x41\\101\"", "{\"a\":\"\u00e9\U0001F600AA\"}"},
        {"a = \"${b} and ${c[\"d\"]} {}\"", "{\"a\":\"${b} and ${c[\\\"d\\\"]} {}\"}"},
        {"a = \"${ {\\n} }\"", "{\"a\":\"${ {\\\\n} }\"}"}, /* nothing inside is unescaped */
        {"a = \"$ $$ 5%\"", "{\"a\":\"$ $$ 5%\"}"},
        {"a = \"\"", "{\"a\":\"\"}"},
    };
    (void)state;
    check(rows, COUNT(rows));
}

static void heredocs(void **state) {
    static const struct row rows[] = {
        {"a = <<EOF\none\n  two\nEOF\nb = 1", "{\"a\":\"one\\n  two\\n\",\"b\":1}"},
        {"a = <<EOF\r\none\r\nEOF\r\n", "{\"a\":\"one\\n\"}"},
        {"a = <<EOF\nEOF\n", "{\"a\":\"\"}"},
        {"a = <<EOF\n EOF\nEOF\n", "{\"a\":\" EOF\\n\"}"},
        {"a = <<-EOF\n    one\n      two\n    EOF\n", "{\"a\":\"one\\n  two\\n\"}"},
        {"a = <<-EOF\n  one\n two\n  EOF\n", "{\"a\":\"  one\\n two\\n\"}"},
        {"a = <<E\n\"quotes\" \\n ${x}\nE", "{\"a\":\"\\\"quotes\\\" \\\\n ${x}\\n\"}"},
    };
    (void)state;
    check(rows, COUNT(rows));
}

static void errors(void **state) {
    static const struct {
        const char *hcl, *text;
    } rows[] = {
        {"a", "At 1:2: key needs = or {, got: EOF"},
        {"a = ", "At 1:5: error parsing value, expected a literal, list or object, got: EOF"},
        {"a = b", "At 1:5: error parsing value, expected a literal, list or object, got: IDENT"},
        {"a = 1\n= 2", "At 2:1: expected a key, got: ASSIGN"},
        {"a {\n  b = 1\n", "At 3:1: expected a key or RBRACE, got: EOF"},
        {"a \"x\" = 1", "At 1:7: nested object expected: LBRACE, got: ASSIGN"},
        {"a = [1 2]", "At 1:8: error parsing list, expected comma or list end, got: NUMBER"},
        {"a = [,]", "At 1:6: error parsing value, expected a literal, list or object, got: COMMA"},
        {"a = [1", "At 1:7: error parsing list, expected comma or list end, got: EOF"},
        {"a = 1, b = 2", "At 1:6: expected a key, got: COMMA"},
        {"}", "At 1:1: expected a key, got: RBRACE"},
        {"a = \"x\nb = 1", "At 1:7: literal not terminated"},
        {"a = \"x", "At 1:7: literal not terminated"},
        {"a = \"\\q\"", "At 1:6: illegal char escape"},
        {"a = \"\\u12\"", "At 1:6: illegal char escape"},
        {"a = \"\\ud800\"", "At 1:6: illegal char escape"},
        {"a = \"\\000\"", "At 1:6: illegal char escape"},
        {"a = \"${b\"", "At 1:5: expected terminating braces"},
        {"a = <<EOF\nx\n", "At 1:5: heredoc not terminated"},
        {"a = <<\nx\n", "At 1:5: zero-length heredoc anchor"},
        {"a = <<A B\nx\n", "At 1:5: invalid heredoc anchor"},
        {"/* open\n\n", "At 1:1: comment not terminated"},
        {"a = 12abc", "At 1:5: not a number, or one that is too large"},
        {"a = 99999999999999999999", "At 1:5: not a number, or one that is too large"},
        {"a = 1e999", "At 1:5: not a number, or one that is too large"},
        {"a = 1\n  b = ?", "At 2:7: illegal character"},
        {"a = <<E\nx\nE\n<<F\ny\nF\n", "At 4:1: expected a key, got: STRING"},
    };
    (void)state;
    for (size_t i = 0; i < COUNT(rows); i++) {
        struct buf out;
        struct err_text text = {""};
        buf_init(&out, 1 << 20);
        assert_int_equal(hcl_to_json(rows[i].hcl, strlen(rows[i].hcl), &out, &text), ERR_INVALID);
        assert_string_equal(text.s, rows[i].text);
        buf_clear(&out);
    }
}

static enum err parse(const char *hcl, size_t size, size_t max, struct err_text *text) {
    struct buf out;
    buf_init(&out, max);
    enum err err = hcl_to_json(hcl, size, &out, text);
    buf_clear(&out);
    return err;
}

static void repeat(char *out, const char *piece, size_t count) {
    for (size_t i = 0; i < count; i++) {
        out = stpcpy(out, piece);
    }
}

static void bounds(void **state) {
    char text[8 * 4096];
    struct err_text error = {""};
    (void)state;
    strcpy(text, "a = ");
    repeat(text + 4, "[", LIMIT_HCL_DEPTH);
    repeat(text + strlen(text), "]", LIMIT_HCL_DEPTH);
    assert_int_equal(parse(text, strlen(text), 4096, &error), ERR_OK);
    repeat(text + 4, "[", 4096);
    assert_int_equal(parse(text, strlen(text), 4096, &error), ERR_INVALID);
    assert_non_null(strstr(error.s, "nested deeper than 64 levels"));
    repeat(text, "a {", 4096);
    assert_int_equal(parse(text, strlen(text), 4096, &error), ERR_INVALID);
    assert_non_null(strstr(error.s, "nested deeper"));
    strcpy(text, "a ");
    repeat(text + 2, "\"b\" ", 4096);
    assert_int_equal(parse(text, strlen(text), 4096, &error), ERR_INVALID);
    assert_int_equal(parse("a = 1", 5, 3, &error), ERR_TOO_LARGE);
    assert_int_equal(parse("a = \"\0\"", 7, 4096, &error), ERR_INVALID);
    assert_int_equal(parse("a\0", 2, 4096, &error), ERR_INVALID);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(attributes), cmocka_unit_test(blocks),   cmocka_unit_test(comments),
        cmocka_unit_test(strings),    cmocka_unit_test(heredocs), cmocka_unit_test(errors),
        cmocka_unit_test(bounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
