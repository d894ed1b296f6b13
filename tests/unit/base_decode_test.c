/* The decoder's two dialects: bodies as Go's encoding/json reads them, configuration files. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#include "base/decode.h"
#include "base/duration.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct inner {
    const char *address;
    int64_t port;
};

struct outer {
    const char *name;
    bool flag;
    int8_t tls;
    int64_t port, any;
    uint64_t index;
    int64_t wait_ns;
    struct str_list tags;
    struct str_map meta;
    struct str_multimap header;
    struct inner *object;
    struct inner embedded;
    struct decode_objects list, map;
    const char *raw;
    const char *other;
};

static const struct decode_field inner_fields[] = {
    DECODE_FIELD(struct inner, address, "Address", DECODE_STR),
    DECODE_FIELD(struct inner, port, "Port", DECODE_INT),
};

static const struct decode_spec inner_spec = {"Inner", sizeof(struct inner), inner_fields,
                                              COUNT(inner_fields), false};

#define OBJECT(member, name_, kind_)                                                               \
    {                                                                                              \
        .name = (name_), .kind = (kind_), .offset = offsetof(struct outer, member),                \
        .spec = &inner_spec                                                                        \
    }

static const struct decode_field fields[] = {
    {.name = "Name", .alias = "the_name", .offset = offsetof(struct outer, name)},
    DECODE_FIELD(struct outer, flag, "Flag", DECODE_BOOL),
    DECODE_FIELD(struct outer, tls, "TLS", DECODE_BOOL_SET),
    {.name = "Port", .kind = DECODE_INT, .offset = offsetof(struct outer, port), .max = 65535},
    {.name = "Any",
     .alias = "any_number",
     .kind = DECODE_INT,
     .offset = offsetof(struct outer, any)},
    DECODE_FIELD(struct outer, index, "Index", DECODE_U64),
    DECODE_FIELD(struct outer, wait_ns, "Wait", DECODE_DURATION),
    DECODE_FIELD(struct outer, tags, "Tags", DECODE_STR_LIST),
    DECODE_FIELD(struct outer, meta, "Meta", DECODE_STR_MAP),
    DECODE_FIELD(struct outer, header, "Header", DECODE_MULTIMAP),
    OBJECT(object, "Object", DECODE_OBJECT),
    OBJECT(embedded, "Embedded", DECODE_INLINE),
    OBJECT(list, "List", DECODE_OBJECTS),
    OBJECT(map, "Map", DECODE_OBJECT_MAP),
    DECODE_FIELD(struct outer, raw, "Raw", DECODE_RAW),
    {.name = "Ignored", .kind = DECODE_IGNORE},
    DECODE_FIELD(struct outer, other, "other", DECODE_STR),
    DECODE_FIELD(struct outer, name, "OTHER", DECODE_STR),
};

static const struct decode_spec spec = {"Outer", sizeof(struct outer), fields, COUNT(fields),
                                        false};

struct fixture {
    struct arena arena;
    struct outer out;
    struct err_text text;
};

static int open_fixture(void **state) {
    static struct fixture fixture;
    fixture = (struct fixture){.out.name = "default", .out.any = -7, .out.embedded.port = 9};
    *state = &fixture;
    return 0;
}

static int close_fixture(void **state) {
    struct fixture *f = *state;
    arena_clear(&f->arena);
    return 0;
}

static enum err decode(struct fixture *f, enum decode_dialect dialect, const char *json) {
    close_fixture((void **)&f);
    struct outer defaults = {.name = "default", .any = -7, .embedded.port = 9};
    f->out = defaults;
    f->text.s[0] = '\0';
    return decode_json(&spec, dialect, json, strlen(json), &f->arena, &f->out, &f->text);
}

#define ACCEPT(f, dialect, json)                                                                   \
    do {                                                                                           \
        if (decode(f, dialect, json) != ERR_OK) {                                                  \
            fail_msg("%s: %s", json, (f)->text.s);                                                 \
        }                                                                                          \
    } while (0)

static void every_kind(void **state) {
    struct fixture *f = *state;
    ACCEPT(f, DECODE_BODY,
           "{\"Name\":\"n\",\"Flag\":true,\"TLS\":false,\"Port\":65535,\"Any\":-9,\"Index\":9,"
           "\"Wait\":\"1.5s\",\"Tags\":[\"b\",\"a\"],\"Meta\":{\"z\":\"1\",\"a\":\"2\"},"
           "\"Header\":{\"h\":[\"1\",\"2\"]},\"Object\":{\"Address\":\"x\",\"Port\":1},"
           "\"Embedded\":{\"Address\":\"y\"},\"List\":[{\"Port\":1},{\"Port\":2}],"
           "\"Map\":{\"w\":{\"Port\":3},\"l\":{\"Port\":4}},\"Raw\":{ \"b\" : [1 , 2], \"a\":null},"
           "\"Ignored\":{\"x\":[]}}");
    struct outer *o = &f->out;
    assert_string_equal(o->name, "n");
    assert_true(o->flag);
    assert_int_equal(o->tls, -1);
    assert_int_equal(o->port, 65535);
    assert_int_equal(o->any, -9);
    assert_int_equal(o->index, 9);
    assert_int_equal(o->wait_ns, 1500 * DURATION_MS);
    assert_int_equal(o->tags.count, 2);
    assert_string_equal(o->tags.v[0], "b");
    assert_string_equal(o->meta.v[0].key, "a"); /* sorted */
    assert_string_equal(o->meta.v[1].value, "1");
    assert_true(o->meta.present);
    assert_string_equal(o->header.v[0].values.v[1], "2");
    assert_string_equal(o->object->address, "x");
    assert_string_equal(o->embedded.address, "y");
    assert_int_equal(o->embedded.port, 9); /* its default */
    assert_int_equal(o->list.count, 2);
    assert_int_equal(((struct inner *)o->list.v)[1].port, 2);
    assert_string_equal(o->map.keys[0], "l");
    assert_int_equal(((struct inner *)o->map.v)[0].port, 4);
    assert_string_equal(o->raw, "{\"a\":null,\"b\":[1,2]}");
}

static void null_keeps_the_default(void **state) {
    struct fixture *f = *state;
    ACCEPT(f, DECODE_BODY,
           "{\"Name\":null,\"Any\":null,\"Object\":null,\"Tags\":null,\"Meta\":null,"
           "\"Embedded\":null,\"Raw\":null,\"List\":null,\"Map\":null,\"TLS\":null}");
    assert_string_equal(f->out.name, "default");
    assert_int_equal(f->out.any, -7);
    assert_null(f->out.object);
    assert_false(f->out.meta.present);
    assert_null(f->out.raw);
    assert_int_equal(f->out.tls, 0);
    ACCEPT(f, DECODE_BODY, "null");
    ACCEPT(f, DECODE_BODY, "{\"Tags\":[null,\"a\"],\"Meta\":{\"k\":null},\"List\":[null,{}]}");
    assert_string_equal(f->out.tags.v[0], "");
    assert_string_equal(f->out.meta.v[0].value, "");
    ACCEPT(f, DECODE_BODY, "{\"Meta\":{}}");
    assert_true(f->out.meta.present && f->out.meta.count == 0);
}

/* Numbers of 64 bits without sign, where strings and fractions look alike. */
static void large_numbers(void **state) {
    struct fixture *f = *state;
    ACCEPT(f, DECODE_BODY,
           "{\"Name\":\"18446744073709551615 \\\" 1\",\"Index\":18446744073709551615,"
           "\"Tags\":[\"9223372036854775808\"],\"Any\":-9223372036854775808}");
    assert_int_equal(f->out.index, UINT64_MAX);
    assert_string_equal(f->out.name, "18446744073709551615 \" 1");
    assert_string_equal(f->out.tags.v[0], "9223372036854775808");
    ACCEPT(f, DECODE_BODY, "{\"Index\":9223372036854775808,\"Tags\":null}");
    assert_int_equal(f->out.index, 1ull << 63);
    assert_int_equal(decode(f, DECODE_BODY, "{\"Index\":18446744073709551616}"), ERR_INVALID);
    assert_int_equal(decode(f, DECODE_BODY, "{\"Index\":-9223372036854775809}"), ERR_INVALID);
    assert_int_equal(decode(f, DECODE_BODY, "{\"Port\":18446744073709551615}"), ERR_INVALID);
}

static void lists_at_the_top(void **state) {
    struct fixture *f = *state;
    struct decode_objects out;
    const char *json = "[{\"Port\":1},null,{\"Port\":2}] more";
    assert_int_equal(decode_json_list(&inner_spec, json, strlen(json), &f->arena, &out, &f->text),
                     ERR_OK);
    assert_int_equal(out.count, 2);
    assert_int_equal(((struct inner *)out.v)[1].port, 2);
    assert_int_equal(decode_json_list(&inner_spec, "null", 4, &f->arena, &out, &f->text), ERR_OK);
    assert_int_equal(out.count, 0);
    assert_int_equal(decode_json_list(&inner_spec, "{}", 2, &f->arena, &out, &f->text),
                     ERR_INVALID);
    assert_string_equal(f->text.s, "json: cannot unmarshal object into Go value of type Inners");
    assert_int_equal(decode_json_list(&inner_spec, "[{", 2, &f->arena, &out, &f->text),
                     ERR_INVALID);
}

static void names_in_any_case(void **state) {
    struct fixture *f = *state;
    ACCEPT(f, DECODE_BODY, "{\"nAME\":\"x\",\"pORT\":3,\"embedded\":{\"ADDRESS\":\"y\"}}");
    assert_string_equal(f->out.name, "x");
    assert_int_equal(f->out.port, 3);
    assert_string_equal(f->out.embedded.address, "y");
    /* exact spelling is preferred, wherever the field stands */
    ACCEPT(f, DECODE_BODY, "{\"OTHER\":\"upper\",\"other\":\"lower\"}");
    assert_string_equal(f->out.name, "upper");
    assert_string_equal(f->out.other, "lower");
    ACCEPT(f, DECODE_BODY, "{\"Port\":1,\"Port\":3}"); /* the last one wins */
    assert_int_equal(f->out.port, 3);
}

static void the_name_wins_over_its_alias(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *json, *name;
        int64_t any;
    } rows[] = {
        {"{\"the_name\":\"a\",\"any_number\":1}", "a", 1},
        {"{\"THE_NAME\":\"a\"}", "a", -7},
        {"{\"the_name\":\"a\",\"Name\":\"n\",\"Any\":2,\"any_number\":1}", "n", 2},
        {"{\"Name\":\"n\",\"the_name\":\"a\",\"any_number\":1,\"Any\":2}", "n", 2},
        {"{\"Name\":\"\",\"the_name\":\"a\",\"any_number\":1,\"Any\":0}", "a", 1},
        {"{\"Name\":null,\"the_name\":\"a\"}", "a", -7},
        {"{\"Name\":\"\",\"Any\":0}", "", 0},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        ACCEPT(f, DECODE_BODY, rows[i].json);
        assert_string_equal(f->out.name, rows[i].name);
        assert_int_equal(f->out.any, rows[i].any);
    }
}

static void durations(void **state) {
    struct fixture *f = *state;
    ACCEPT(f, DECODE_BODY, "{\"Wait\":10000000000}");
    assert_int_equal(f->out.wait_ns, 10 * DURATION_S);
    ACCEPT(f, DECODE_BODY, "{\"Wait\":\"10s\"}");
    assert_int_equal(f->out.wait_ns, 10 * DURATION_S);
    ACCEPT(f, DECODE_BODY, "{\"Wait\":\"\"}");
    assert_int_equal(f->out.wait_ns, 0);
    ACCEPT(f, DECODE_CONFIG, "{\"Wait\":\"10s\"}");
    assert_int_equal(f->out.wait_ns, 10 * DURATION_S);
}

static void body_errors(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *json;
        enum err err;
        const char *text;
    } rows[] = {
        {"", ERR_INVALID, "EOF"},
        {" \n", ERR_INVALID, "EOF"},
        {"{\"Name\":\"x\"", ERR_INVALID, "unexpected EOF"},
        {"{", ERR_INVALID, "unexpected EOF"},
        {"{\"Bogus\":1}", ERR_UNKNOWN_KEY, "json: unknown field \"Bogus\""},
        {"{\"One\":1,\"Two\":2}", ERR_UNKNOWN_KEY, "json: unknown field \"One\""},
        {"{\"Object\":{\"Bogus\":1}}", ERR_UNKNOWN_KEY, "json: unknown field \"Bogus\""},
        {"{\"Bogus\":null}", ERR_UNKNOWN_KEY, "json: unknown field \"Bogus\""},
        {"true", ERR_INVALID, "json: cannot unmarshal bool into Go value of type Outer"},
        {"[]", ERR_INVALID, "json: cannot unmarshal array into Go value of type Outer"},
        {"{\"Name\":1}", ERR_INVALID,
         "json: cannot unmarshal number into Go struct field Outer.Name of type string"},
        {"{\"name\":[]}", ERR_INVALID,
         "json: cannot unmarshal array into Go struct field Outer.Name of type string"},
        {"{\"Flag\":\"true\"}", ERR_INVALID,
         "json: cannot unmarshal string into Go struct field Outer.Flag of type bool"},
        {"{\"Port\":\"80\"}", ERR_INVALID,
         "json: cannot unmarshal string into Go struct field Outer.Port of type int"},
        {"{\"Index\":-1}", ERR_INVALID,
         "json: cannot unmarshal number into Go struct field Outer.Index of type uint64"},
        {"{\"Tags\":\"a\"}", ERR_INVALID,
         "json: cannot unmarshal string into Go struct field Outer.Tags of type []string"},
        {"{\"Tags\":[1]}", ERR_INVALID,
         "json: cannot unmarshal number into Go struct field Outer.Tags of type string"},
        {"{\"Meta\":[]}", ERR_INVALID,
         "json: cannot unmarshal array into Go struct field Outer.Meta of type map[string]string"},
        {"{\"Meta\":{\"k\":true}}", ERR_INVALID,
         "json: cannot unmarshal bool into Go struct field Outer.Meta of type string"},
        {"{\"Header\":{\"k\":\"v\"}}", ERR_INVALID,
         "json: cannot unmarshal string into Go struct field Outer.Header of type []string"},
        {"{\"Object\":{\"Port\":{}}}", ERR_INVALID,
         "json: cannot unmarshal object into Go struct field Inner.Port of type int"},
        {"{\"Port\":65536}", ERR_INVALID, "Port: 65536 is not within 0 to 65535"},
        {"{\"Port\":-1}", ERR_INVALID, "Port: -1 is not within 0 to 65535"},
        {"{\"Wait\":\"nope\"}", ERR_INVALID, "time: invalid duration \"nope\""},
        {"{\"Wait\":\"10\"}", ERR_INVALID, "time: missing unit in duration \"10\""},
        {"{\"Wait\":true}", ERR_INVALID,
         "json: cannot unmarshal bool into Go struct field Outer.Wait of type time.Duration"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        enum err err = decode(f, DECODE_BODY, rows[i].json);
        assert_string_equal(f->text.s, rows[i].text);
        assert_int_equal(err, rows[i].err);
    }
    /* Go replaces bytes that are no UTF-8; a configuration file with such is refused. */
    assert_int_equal(decode(f, DECODE_BODY, "{\"Name\":\"a\xff\xc3\xa9\xc3\"}"), ERR_OK);
    assert_string_equal(f->out.name, "a\xef\xbf\xbd\xc3\xa9\xef\xbf\xbd");
    assert_int_equal(decode(f, DECODE_CONFIG, "{\"Name\":\"\xff\"}"), ERR_INVALID);
    assert_int_equal(decode(f, DECODE_BODY, "{\"Name\":}"), ERR_INVALID);
    /* what follows the first value is not read */
    ACCEPT(f, DECODE_BODY, "{\"Name\":\"x\"} trailing {");
    assert_string_equal(f->out.name, "x");
}

static void config_names_every_unknown_key(void **state) {
    struct fixture *f = *state;
    assert_int_equal(decode(f, DECODE_CONFIG,
                            "{\"bogus\":1,\"Object\":{\"x\":{\"y\":1}},\"Name\":\"n\","
                            "\"List\":[{},{\"z\":1}],\"Map\":{\"key\":{\"w\":null}}}"),
                     ERR_UNKNOWN_KEY);
    assert_string_equal(f->text.s, "4 errors occurred:\n"
                                   "\t* invalid config key bogus\n"
                                   "\t* invalid config key Object.x\n"
                                   "\t* invalid config key List[1].z\n"
                                   "\t* invalid config key Map.key.w");
    assert_string_equal(f->out.name, "n");
    assert_int_equal(decode(f, DECODE_CONFIG, "{\"bogus\":1}"), ERR_UNKNOWN_KEY);
    assert_string_equal(f->text.s, "1 error occurred:\n\t* invalid config key bogus");
    char many[4000] = "{", *at = many + 1; /* more than the sentence holds */
    for (int i = 0; i < 200; i++) {
        at += sprintf(at, "%s\"k%d\":1", i ? "," : "", i);
    }
    strcpy(at, "}");
    assert_int_equal(decode(f, DECODE_CONFIG, many), ERR_UNKNOWN_KEY);
    assert_memory_equal(f->text.s, "200 errors occurred:\n\t* invalid config key k0\n", 46);
}

static void config_takes_one_element_lists(void **state) {
    struct fixture *f = *state;
    ACCEPT(f, DECODE_CONFIG,
           "{\"Name\":[\"n\"],\"Port\":[7],\"Flag\":[true],\"Tags\":\"one\","
           "\"Object\":[{\"Port\":1}],\"List\":{\"Port\":2},\"Map\":[{\"k\":[{\"Port\":3}]}],"
           "\"Meta\":[{\"a\":\"b\"}],\"Wait\":[\"1s\"],\"Embedded\":[{\"Address\":\"y\"}]}");
    assert_string_equal(f->out.name, "n");
    assert_int_equal(f->out.port, 7);
    assert_true(f->out.flag);
    assert_int_equal(f->out.tags.count, 1);
    assert_string_equal(f->out.tags.v[0], "one");
    assert_int_equal(f->out.object->port, 1);
    assert_int_equal(f->out.list.count, 1);
    assert_int_equal(((struct inner *)f->out.list.v)->port, 2);
    assert_int_equal(((struct inner *)f->out.map.v)->port, 3);
    assert_string_equal(f->out.meta.v[0].value, "b");
    assert_int_equal(f->out.wait_ns, DURATION_S);
    assert_string_equal(f->out.embedded.address, "y");
    assert_int_equal(decode(f, DECODE_CONFIG, "{\"Name\":[\"a\",\"b\"]}"), ERR_INVALID);
}

static void config_is_strict(void **state) {
    struct fixture *f = *state;
    static const struct {
        const char *json, *text;
    } rows[] = {
        {"{\"Object\":{\"Port\":\"80\"}}",
         "1 error(s) decoding:\n\n* 'Object.Port' expected type 'int', got unconvertible type "
         "'string'"},
        {"{\"Wait\":10}", "1 error(s) decoding:\n\n* 'Wait' expected type 'string', got "
                          "unconvertible type 'number'"},
        {"{\"Wait\":\"10\"}",
         "Wait: invalid duration: \"10\": time: missing unit in duration \"10\""},
        {"{\"Flag\":\"yes\"}", "1 error(s) decoding:\n\n* 'Flag' expected type 'bool', got "
                               "unconvertible type 'string'"},
        {"{\"List\":[{\"Address\":1}]}",
         "1 error(s) decoding:\n\n* 'List[0].Address' expected type 'string', got unconvertible "
         "type 'number'"},
        {"{\"Port\":70000}", "Port: 70000 is not within 0 to 65535"},
    };
    for (size_t i = 0; i < COUNT(rows); i++) {
        assert_int_equal(decode(f, DECODE_CONFIG, rows[i].json), ERR_INVALID);
        assert_string_equal(f->text.s, rows[i].text);
    }
    /* a half-read file is an error, an empty one too */
    assert_int_equal(decode(f, DECODE_CONFIG, "{} {}"), ERR_INVALID);
    assert_int_equal(decode(f, DECODE_CONFIG, ""), ERR_INVALID);
    assert_int_equal(decode(f, DECODE_CONFIG, "null"), ERR_INVALID);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(every_kind),
        TEST(null_keeps_the_default),
        TEST(large_numbers),
        TEST(lists_at_the_top),
        TEST(names_in_any_case),
        TEST(the_name_wins_over_its_alias),
        TEST(durations),
        TEST(body_errors),
        TEST(config_names_every_unknown_key),
        TEST(config_takes_one_element_lists),
        TEST(config_is_strict),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
