/* What is sent to a recursor, and which of the datagrams that come back are taken. */
#include "tests/unit/dns_support.h"

#include "dns/upstream.h"

#define NAME_BYTES 13 /* 3www7example0 */
#define QUESTION_BYTES (12 + NAME_BYTES + 4)

struct exchange_bytes {
    uint8_t sent[UPSTREAM_QUESTION_BYTES];
    uint8_t reply[1024];
    size_t bytes, taken;
};

static const uint8_t name[NAME_BYTES] = "\3WwW\7eXample";

static void add(struct exchange_bytes *x, const void *bytes, size_t count) {
    memcpy(x->reply + x->bytes, bytes, count);
    x->bytes += count;
}

#define ADD(x, ...)                                                                                \
    do {                                                                                           \
        const uint8_t added[] = {__VA_ARGS__};                                                     \
        add((x), added, sizeof added);                                                             \
    } while (0)

/* A good reply without records. */
static struct exchange_bytes begin(void) {
    struct exchange_bytes x;
    memset(&x, 0, sizeof x);
    assert_int_equal(upstream_question(name, NAME_BYTES, DNS_TYPE_A, x.sent), QUESTION_BYTES);
    memcpy(x.sent, "\x12\x34", 2);
    add(&x, x.sent, QUESTION_BYTES);
    x.reply[2] = 0x81;
    x.reply[3] = 0x80;
    return x;
}

static enum upstream_verdict judge(struct exchange_bytes *x, bool case_counts) {
    uint8_t *copy = malloc(x->bytes > 0 ? x->bytes : 1); /* of its exact size */
    memcpy(copy, x->reply, x->bytes);
    enum upstream_verdict verdict =
        upstream_judge(x->sent, NAME_BYTES, copy, x->bytes, case_counts, &x->taken);
    memcpy(x->reply, copy, x->bytes);
    free(copy);
    return verdict;
}

static void add_address(struct exchange_bytes *x) {
    ADD(x, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 10, 0, 0, 1);
    x->reply[7]++;
}

static void disguised_and_restored(void **state) {
    (void)state;
    struct exchange_bytes x = begin();
    uint8_t random[UPSTREAM_RANDOM_BYTES], disguised[QUESTION_BYTES];
    memset(random, 0xff, sizeof random);
    memcpy(disguised, x.sent, QUESTION_BYTES);
    upstream_disguise(disguised, NAME_BYTES, random);
    assert_memory_equal(disguised, "\xff\xff", 2);
    assert_memory_equal(disguised + 12, "\3www\7example", NAME_BYTES);
    memset(random, 0, sizeof random);
    upstream_disguise(disguised, NAME_BYTES, random);
    assert_memory_equal(disguised + 12, "\3WWW\7EXAMPLE", NAME_BYTES);
    assert_memory_equal(disguised + 2, x.sent + 2, 10);
    upstream_restore(disguised, x.sent, NAME_BYTES);
    assert_memory_equal(disguised, x.sent, QUESTION_BYTES);
}

/* RFC 5452 section 4 and 9.1. */
static void only_the_answer_is_taken(void **state) {
    (void)state;
    struct exchange_bytes x = begin();
    add_address(&x);
    size_t whole = x.bytes;
    assert_int_equal(judge(&x, true), UPSTREAM_TAKE);
    assert_int_equal(x.taken, whole);
    ADD(&x, 9, 9); /* bytes behind are left behind */
    assert_int_equal(judge(&x, true), UPSTREAM_TAKE);
    assert_int_equal(x.taken, whole);
    const size_t ignored[] = {
        0, 1, 2, 4, 5, 12, 16, QUESTION_BYTES - 4, QUESTION_BYTES - 3, QUESTION_BYTES - 1};
    for (size_t i = 0; i < sizeof ignored / sizeof *ignored; i++) {
        x.reply[ignored[i]] ^= 0x81; /* id, QR, questions, name, type, class */
        assert_int_equal(judge(&x, true), UPSTREAM_IGNORE);
        x.reply[ignored[i]] ^= 0x81;
    }
    x.reply[2] |= 0x28; /* another opcode */
    assert_int_equal(judge(&x, true), UPSTREAM_IGNORE);
    x.reply[2] &= (uint8_t)~0x28;
    x.reply[13] ^= 0x20; /* another case */
    assert_int_equal(judge(&x, true), UPSTREAM_OTHER_CASE);
    assert_int_equal(judge(&x, false), UPSTREAM_TAKE);
    for (x.bytes = 0; x.bytes < QUESTION_BYTES; x.bytes++) {
        assert_int_equal(judge(&x, false), UPSTREAM_IGNORE);
    }
}

static void answers_of_no_use(void **state) {
    (void)state;
    for (unsigned rcode = 1; rcode < 16; rcode++) {
        struct exchange_bytes x = begin();
        x.reply[3] = (uint8_t)rcode;
        enum upstream_verdict verdict = rcode == 3 ? UPSTREAM_TAKE : UPSTREAM_NEXT;
        assert_int_equal(judge(&x, true), verdict);
        x.reply[5] = 0; /* without the question */
        x.bytes = 12;
        assert_int_equal(judge(&x, true), rcode == 3 ? UPSTREAM_IGNORE : UPSTREAM_NEXT);
    }
    struct exchange_bytes x = begin();
    add_address(&x);
    for (size_t whole = x.bytes--; x.bytes > QUESTION_BYTES; x.bytes--) {
        assert_int_equal(judge(&x, true), UPSTREAM_NEXT); /* ends within the record */
        assert_true(x.bytes < whole);
    }
}

static void truncated(void **state) {
    (void)state;
    struct exchange_bytes x = begin();
    add_address(&x);
    size_t one = x.bytes;
    add_address(&x);
    x.reply[11] = 3; /* additional ones that are not there */
    x.reply[2] |= 0x02;
    x.bytes -= 3;
    assert_int_equal(judge(&x, true), UPSTREAM_CUT);
    assert_int_equal(x.taken, one);
    assert_int_equal(x.reply[7], 1);
    assert_int_equal(x.reply[11], 0);
}

static void records(void **state) {
    (void)state;
    struct arena arena;
    struct upstream_record *found;
    struct exchange_bytes x = begin();
    add_address(&x);
    ADD(&x, 0xc0, 12, 0, 5, 0, 1, 0, 0, 1, 0, 0, 4, 1, 'a', 0xc0, 16); /* CNAME a.example */
    ADD(&x, 0xc0, 12, 0, 16, 0, 1, 0, 0, 0, 1, 0, 2, 1, 'x');
    ADD(&x, 0xc0, 12, 0, 15, 0, 1, 0, 0, 0, 1, 0, 4, 0, 1, 0xc0, 12); /* MX: left out */
    ADD(&x, 0xc0, 12, 0, 1, 0, 3, 0, 0, 0, 1, 0, 4, 1, 2, 3, 4);      /* CHAOS: left out */
    ADD(&x, 0xc0, 12, 0, 1, 0, 1, 0, 0, 0, 1, 0, 3, 1, 2, 3);         /* no address: left out */
    x.reply[7] = 6;
    arena_init(&arena);
    assert_int_equal(judge(&x, true), UPSTREAM_TAKE);
    assert_int_equal(upstream_records(x.reply, x.taken, &arena, &found), 3);
    assert_int_equal(found[0].ttl_s, 60);
    assert_memory_equal(found[0].owner, name, NAME_BYTES);
    assert_memory_equal(found[0].data, "\12\0\0\1", 4);
    assert_int_equal(found[1].ttl_s, 256);
    assert_memory_equal(found[1].data, "\1a\7eXample", 11);
    assert_memory_equal(found[2].data, "\1x", 2);
    /* More than are kept. */
    struct exchange_bytes many = begin();
    for (int i = 0; i < LIMIT_DNS_RESOLVED_RECORDS + 5; i++) {
        add_address(&many);
    }
    assert_int_equal(judge(&many, true), UPSTREAM_TAKE);
    assert_int_equal(upstream_records(many.reply, many.taken, &arena, &found),
                     LIMIT_DNS_RESOLVED_RECORDS);
    arena_clear(&arena);
}

/* Pointers that lead forward, to themselves or out of the message. */
static void circles(void **state) {
    (void)state;
    const uint8_t targets[] = {QUESTION_BYTES, QUESTION_BYTES + 1, QUESTION_BYTES + 12, 0xff};
    for (size_t i = 0; i < sizeof targets; i++) {
        struct exchange_bytes x = begin();
        struct arena arena;
        struct upstream_record *found;
        ADD(&x, 0xc0, targets[i], 0, 5, 0, 1, 0, 0, 1, 0, 0, 2, 0xc0, QUESTION_BYTES);
        x.reply[7] = 1;
        arena_init(&arena);
        assert_int_equal(judge(&x, true), UPSTREAM_TAKE);
        assert_int_equal(upstream_records(x.reply, x.taken, &arena, &found), 0);
        arena_clear(&arena);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(disguised_and_restored),
        cmocka_unit_test(only_the_answer_is_taken),
        cmocka_unit_test(answers_of_no_use),
        cmocka_unit_test(truncated),
        cmocka_unit_test(records),
        cmocka_unit_test(circles),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
