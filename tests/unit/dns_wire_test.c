/* Messages as bytes: what is accepted, what is not, and names on their way out. */
#include "tests/unit/dns_support.h"

#include "dns/wire.h"

static enum dns_verdict parse(const uint8_t *data, size_t size, struct dns_request *out) {
    uint8_t *copy = malloc(size > 0 ? size : 1);
    memcpy(copy, data, size);
    enum dns_verdict verdict = dns_request_parse(copy, size, out);
    free(copy);
    return verdict;
}

#define HEADER(flags, qd, an, ns, ar)                                                              \
    0x12, 0x34, (flags) >> 8, (flags)&0xff, 0, qd, 0, an, 0, ns, 0, ar
#define QUESTION 1, 'a', 0, 0, 1, 0, 1
#define OPT(data_bytes) 0, 0, 41, 4, 0xd0, 0, 0, 0, 0, 0, data_bytes

#define EXPECT(verdict, ...)                                                                       \
    do {                                                                                           \
        const uint8_t data[] = {__VA_ARGS__};                                                      \
        struct dns_request request;                                                                \
        assert_int_equal(parse(data, sizeof data, &request), verdict);                             \
    } while (0)

static void header_rules(void **state) {
    (void)state;
    EXPECT(DNS_REQUEST_ANSWER, HEADER(0, 1, 0, 0, 0), QUESTION);
    EXPECT(DNS_REQUEST_DROP, 1, 2, 3);
    EXPECT(DNS_REQUEST_DROP, HEADER(0x8000, 1, 0, 0, 0), QUESTION);
    EXPECT(DNS_REQUEST_UNKNOWN_OPCODE, HEADER(5 << 11, 1, 0, 0, 0), QUESTION);
    EXPECT(DNS_REQUEST_ANSWER, HEADER(4 << 11, 1, 0, 0, 0), QUESTION); /* NOTIFY */
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 0, 0, 0, 0));
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 0));
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 2, 0, 0, 0), QUESTION, QUESTION);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 2, 0, 0), QUESTION);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 2, 0), QUESTION);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 3), QUESTION, OPT(0), OPT(0), OPT(0));
    EXPECT(DNS_REQUEST_ANSWER, HEADER(0, 1, 0, 0, 0), QUESTION, 9, 9, 9); /* bytes behind */
}

static void question_name_rules(void **state) {
    (void)state;
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 0), 0xc0, 12, 0, 1, 0, 1); /* to itself */
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 0), 1, 'a', 0xc0, 12, 0, 1, 0, 1);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 0), 0xc0, 0, 0, 1, 0, 1);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 0), 0x40, 'a', 0, 0, 1, 0, 1);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 0), 5, 'a', 0, 0, 1, 0, 1);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 0), 1, 'a', 0, 0, 1, 0);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 0), 1, 'a');
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 0), 0xc0);

    uint8_t data[400] = {HEADER(0, 1, 0, 0, 0)};
    struct dns_request request;
    size_t at = 12;
    for (int i = 0; i < 127; i++) { /* 254 bytes and the root: the longest name */
        data[at++] = 1;
        data[at++] = 'x';
    }
    data[at++] = 0;
    assert_int_equal(parse(data, at + 4, &request), DNS_REQUEST_ANSWER);
    assert_int_equal(request.name_bytes, 255);
    data[at - 1] = 1; /* one label more */
    data[at] = 'x';
    data[at + 1] = 0;
    assert_int_equal(parse(data, at + 6, &request), DNS_REQUEST_MALFORMED);
}

static void opt_rules(void **state) {
    (void)state;
    EXPECT(DNS_REQUEST_ANSWER, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(0));
    EXPECT(DNS_REQUEST_ANSWER, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(4), 0, 10, 0, 0);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 2), QUESTION, OPT(0), OPT(0));
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(4), 0, 10, 0);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(3), 0, 10, 0);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(5), 0, 10, 0, 9, 1);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION, 1, 'x', OPT(0));
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 1, 0, 0), QUESTION, OPT(0)); /* as an answer */
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION, 0, 0, 41, 4);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION);
    /* Client subnets (RFC 7871): family, source prefix, scope, address. */
    EXPECT(DNS_REQUEST_ANSWER, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(11), 0, 8, 0, 7, 0, 1, 24, 0,
           198, 51, 100);
    EXPECT(DNS_REQUEST_ANSWER, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(8), 0, 8, 0, 4, 0, 0, 0, 0);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(8), 0, 8, 0, 4, 0, 1, 33, 0);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(7), 0, 8, 0, 3, 0, 1, 0);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(13), 0, 8, 0, 9, 0, 1, 33, 0,
           1, 2, 3, 4, 0);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(9), 0, 8, 0, 5, 0, 3, 8, 0,
           1);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(10), 0, 8, 0, 6, 0, 1, 24, 0,
           198, 51);
    EXPECT(DNS_REQUEST_MALFORMED, HEADER(0, 1, 0, 0, 1), QUESTION, OPT(9), 0, 8, 0, 5, 0, 1, 4, 0,
           0xff);
}

/* Every prefix of a good request, and every one with one byte changed, is judged without a fault.
 */
static void mangled_requests_are_judged(void **state) {
    (void)state;
    uint8_t request[1024];
    const uint8_t ecs[] = {0, 8, 0, 7, 0, 1, 24, 0, 198, 51, 100, 0, 10, 0, 2, 1, 2};
    struct ask ask = {.name = "tag.web.service.dc1.consul",
                      .type = 33,
                      .edns = 1232,
                      .options = ecs,
                      .option_bytes = sizeof ecs};
    size_t size = ask_encode(&ask, request);
    struct dns_request out;
    assert_int_equal(parse(request, size, &out), DNS_REQUEST_ANSWER);
    for (size_t i = 0; i < size; i++) {
        enum dns_verdict verdict = parse(request, i, &out);
        assert_int_equal(verdict, i < 12 ? DNS_REQUEST_DROP : DNS_REQUEST_MALFORMED);
    }
    for (size_t i = 0; i < size; i++) {
        for (unsigned value = 0; value < 256; value++) {
            uint8_t was = request[i];
            request[i] = (uint8_t)value;
            parse(request, size, &out);
            request[i] = was;
        }
    }
}

static void names_from_text(void **state) {
    (void)state;
    uint8_t out[DNS_NAME_BYTES];
    assert_int_equal(dns_name_from_text("ab.c", out), 6);
    assert_memory_equal(out, "\2ab\1c", 6);
    assert_int_equal(dns_name_from_text("ab.c.", out), 6);
    assert_int_equal(dns_name_from_text(".", out), 1);
    assert_int_equal(dns_name_from_text("", out), 0);
    assert_int_equal(dns_name_from_text("a..b", out), 0);
    assert_int_equal(dns_name_from_text(".a", out), 0);
    char label[70];
    memset(label, 'x', sizeof label);
    label[63] = '\0';
    assert_int_equal(dns_name_from_text(label, out), 65);
    label[63] = 'x';
    label[64] = '\0';
    assert_int_equal(dns_name_from_text(label, out), 0);
    char name[300];
    for (int i = 0; i < 300; i++) {
        name[i] = i % 2 == 0 ? 'x' : '.';
    }
    name[253] = '\0';
    assert_int_equal(dns_name_from_text(name, out), 255);
    memcpy(name + 252, "xx", 3); /* one byte more than that */
    assert_int_equal(dns_name_from_text(name, out), 0);
    memcpy(name + 252, "x.x", 4);
    assert_int_equal(dns_name_from_text(name, out), 0);
}

static void names_are_compressed(void **state) {
    (void)state;
    uint8_t data[64];
    struct dns_writer writer;
    dns_writer_init(&writer, data, sizeof data, true);
    dns_put_name(&writer, (const uint8_t *)"\1a\2bc", true);
    dns_put_name(&writer, (const uint8_t *)"\1x\2bc", true);
    dns_put_name(&writer, (const uint8_t *)"\1x\2bc", true);
    dns_put_name(&writer, (const uint8_t *)"\1x\2bC", true); /* case is kept */
    assert_int_equal(writer.size, 6 + 4 + 2 + 6);
    assert_memory_equal(data, "\1a\2bc\0\1x\300\2\300\6\1x\2bC", writer.size);
    assert_false(writer.failed);

    dns_writer_init(&writer, data, sizeof data, false);
    dns_put_name(&writer, (const uint8_t *)"\1a\2bc", true);
    dns_put_name(&writer, (const uint8_t *)"\1a\2bc", true);
    assert_int_equal(writer.size, 12);

    dns_writer_init(&writer, data, 4, true);
    dns_put_name(&writer, (const uint8_t *)"\1a\2bc", true);
    assert_true(writer.failed);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(header_rules),    cmocka_unit_test(question_name_rules),
        cmocka_unit_test(opt_rules),       cmocka_unit_test(mangled_requests_are_judged),
        cmocka_unit_test(names_from_text), cmocka_unit_test(names_are_compressed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
