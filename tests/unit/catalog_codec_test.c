/* The codec: what is written is read back, what a younger version wrote survives, and no bytes
 * bring it down. */
#include "tests/unit/catalog_rows.h"

#include "base/arena.h"
#include "catalog/codec.h"
#include "catalog/row.h"

#define MUTATIONS 6000

struct fixture {
    struct arena arena;
    struct buf buf;
};

static int open_fixture(void **state) {
    static struct fixture f;
    arena_init(&f.arena);
    buf_init(&f.buf, LIMIT_ENTRY_BYTES);
    *state = &f;
    return 0;
}

static int close_fixture(void **state) {
    struct fixture *f = *state;
    arena_clear(&f->arena);
    buf_clear(&f->buf);
    return 0;
}

static enum err decode_command(struct fixture *f, struct catalog_command *command) {
    return codec_decode_command((const uint8_t *)f->buf.data, f->buf.count, &f->arena, command);
}

static enum err decode_record(struct fixture *f, struct codec_record *record) {
    return codec_decode_record((const uint8_t *)f->buf.data, f->buf.count, &f->arena, record);
}

static struct catalog_command registration(struct rows *rows, struct catalog_check checks[2]) {
    rows_fill(rows);
    checks[0] = rows->check;
    checks[1] = check_row("Node-1", "second", "", "passing");
    return (struct catalog_command){.kind = COMMAND_REGISTER,
                                    .reg = {.node = rows->node,
                                            .skip_node_update = true,
                                            .service = &rows->service,
                                            .checks = checks,
                                            .check_count = 2}};
}

static void commands_round_trip(void **state) {
    struct fixture *f = *state;
    struct rows rows;
    struct catalog_check checks[2];
    struct catalog_command command = registration(&rows, checks), back;
    codec_encode_command(&command, &f->buf);
    assert_int_equal(decode_command(f, &back), ERR_OK);
    memset(f->buf.data, 0x5a, f->buf.count); /* nothing points into the bytes */
    assert_int_equal(back.kind, COMMAND_REGISTER);
    assert_true(back.reg.skip_node_update);
    assert_int_equal(row_hash_node(&back.reg.node), row_hash_node(&rows.node));
    assert_int_equal(row_hash_service(back.reg.service), row_hash_service(&rows.service));
    assert_int_equal(back.reg.check_count, 2);
    assert_int_equal(row_hash_check(&back.reg.checks[0]), row_hash_check(&checks[0]));
    assert_int_equal(row_hash_check(&back.reg.checks[1]), row_hash_check(&checks[1]));

    command =
        (struct catalog_command){.kind = COMMAND_REGISTER, .reg = {.node = node_row("n", "a")}};
    buf_reset(&f->buf);
    codec_encode_command(&command, &f->buf);
    assert_int_equal(decode_command(f, &back), ERR_OK);
    assert_null(back.reg.service);
    assert_int_equal(back.reg.check_count, 0);
    assert_false(back.reg.skip_node_update);
    assert_false(back.reg.node.meta.present); /* null, not {} */

    command =
        (struct catalog_command){.kind = COMMAND_DEREGISTER, .dereg = {"n", "service", "check"}};
    buf_reset(&f->buf);
    codec_encode_command(&command, &f->buf);
    assert_int_equal(decode_command(f, &back), ERR_OK);
    assert_int_equal(back.kind, COMMAND_DEREGISTER);
    assert_string_equal(back.dereg.node, "n");
    assert_string_equal(back.dereg.service_id, "service");
    assert_string_equal(back.dereg.check_id, "check");
}

static void every_field_is_carried(void **state) {
    struct fixture *f = *state;
#define CARRY(row, kind_, fields)                                                                  \
    for (size_t i = 0; i < FIELD_COUNT(fields); i++) {                                             \
        struct rows rows;                                                                          \
        rows_fill(&rows);                                                                          \
        fields[i].change(&rows);                                                                   \
        struct codec_record record = {.kind = kind_, .row = rows.row}, back;                       \
        buf_reset(&f->buf);                                                                        \
        codec_encode_record(&record, &f->buf);                                                     \
        assert_int_equal(decode_record(f, &back), ERR_OK);                                         \
        assert_int_equal(back.kind, kind_);                                                        \
        if (row_hash_##row(&back.row) != row_hash_##row(&rows.row)) {                              \
            fail_msg("%s is not carried", fields[i].name);                                         \
        }                                                                                          \
    }
    CARRY(node, RECORD_NODE, node_fields)
    CARRY(service, RECORD_SERVICE, service_fields)
    CARRY(check, RECORD_CHECK, check_fields)
#undef CARRY
}

static void other_records_round_trip(void **state) {
    struct fixture *f = *state;
    struct codec_record record = {.kind = RECORD_INDEXES, .indexes = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11}},
                        back;
    codec_encode_record(&record, &f->buf);
    assert_int_equal(decode_record(f, &back), ERR_OK);
    assert_memory_equal(&back.indexes, &record.indexes, sizeof back.indexes);
    for (int kind = RECORD_SERVICE_INDEX; kind <= RECORD_NODE_INDEX; kind++) {
        buf_reset(&f->buf);
        record = (struct codec_record){.kind = (enum codec_record_kind)kind, .named = {"w", 77}};
        codec_encode_record(&record, &f->buf);
        assert_int_equal(decode_record(f, &back), ERR_OK);
        assert_int_equal(back.kind, kind);
        assert_string_equal(back.named.name, "w");
        assert_int_equal(back.named.index, 77);
    }
    buf_reset(&f->buf);
    record = (struct codec_record){.kind = RECORD_END, .end = 99};
    codec_encode_record(&record, &f->buf);
    assert_int_equal(decode_record(f, &back), ERR_OK);
    assert_int_equal(back.kind, RECORD_END);
    assert_int_equal(back.end, 99);
}

/* ---- a younger version ---- */

static size_t put_varint(uint8_t *out, uint64_t value) {
    size_t size = 0;
    for (; value >= 0x80; value >>= 7) {
        out[size++] = (uint8_t)(value | 0x80);
    }
    out[size++] = (uint8_t)value;
    return size;
}

/* Fields 100 to 103 of each wire type, as a younger program would write them. */
static size_t put_young_fields(uint8_t *out) {
    size_t n = put_varint(out, 100 << 3 | 0);
    n += put_varint(out + n, 123456789);
    n += put_varint(out + n, 101 << 3 | 2);
    n += put_varint(out + n, 5);
    memcpy(out + n, "young", 5);
    n += 5;
    n += put_varint(out + n, 102 << 3 | 5);
    memcpy(out + n, "\x01\x02\x03\x04", 4);
    n += 4;
    n += put_varint(out + n, 103 << 3 | 1);
    memcpy(out + n, "\x01\x02\x03\x04\x05\x06\x07\x08", 8);
    return n + 8;
}

/* A record {field: row}, the row's bytes followed by the young ones. */
static void wrap(struct buf *buf, unsigned field, const uint8_t *row, size_t size) {
    uint8_t head[24];
    size_t n = put_varint(head, field << 3 | 2);
    n += put_varint(head + n, size);
    buf_reset(buf);
    buf_append(buf, head, n);
    buf_append(buf, row, size);
}

/* Bytes before the row: tag and length. */
static size_t head_size(const struct buf *buf) {
    return buf->data[1] & 0x80 ? 3 : 2;
}

static void unknown_fields_survive(void **state) {
    struct fixture *f = *state;
    struct rows rows;
    rows_fill(&rows);
    rows.node.unknown = rows.service.unknown = rows.check.unknown = (struct catalog_bytes){0};
    struct codec_record records[] = {{.kind = RECORD_NODE, .node = rows.node},
                                     {.kind = RECORD_SERVICE, .service = rows.service},
                                     {.kind = RECORD_CHECK, .check = rows.check}};
    for (unsigned i = 0; i < 3; i++) {
        uint8_t row[1024];
        struct codec_record back;
        codec_encode_record(&records[i], &f->buf);
        size_t size = f->buf.count - head_size(&f->buf);
        memcpy(row, f->buf.data + head_size(&f->buf), size);
        size += put_young_fields(row + size);
        wrap(&f->buf, i + 2, row, size);
        assert_int_equal(decode_record(f, &back), ERR_OK);
        buf_reset(&f->buf);
        codec_encode_record(&back, &f->buf);
        assert_int_equal(f->buf.count, size + head_size(&f->buf));
        assert_memory_equal(f->buf.data + head_size(&f->buf), row, size);
        struct codec_record again; /* and a second hop changes nothing */
        assert_int_equal(decode_record(f, &again), ERR_OK);
        if (i == 0) {
            assert_int_equal(row_hash_node(&again.node), row_hash_node(&back.node));
            assert_false(row_equal_node(&again.node, &rows.node));
        }
        buf_reset(&f->buf);
    }
}

/* protobuf-c reads a field 0 if its tag is written longer than it need be, and refuses the short
 * form, which is what it writes. */
static void field_zero_is_dropped(void **state) {
    struct fixture *f = *state;
    static const uint8_t node[] = {0x12, 1, 'n', 0x80, 0, 1, 0xa0, 6, 7}; /* name, 0, 100 */
    static const uint8_t kept[] = {0x12, 1, 'n', 0xa0, 6, 7};
    struct codec_record record;
    wrap(&f->buf, 2, node, sizeof node);
    assert_int_equal(decode_record(f, &record), ERR_OK);
    buf_reset(&f->buf);
    codec_encode_record(&record, &f->buf);
    assert_int_equal(f->buf.count, sizeof kept + head_size(&f->buf));
    assert_memory_equal(f->buf.data + head_size(&f->buf), kept, sizeof kept);
    assert_int_equal(decode_record(f, &record), ERR_OK);
}

static void unknown_kinds_are_a_version(void **state) {
    struct fixture *f = *state;
    struct catalog_command command;
    struct codec_record record;
    wrap(&f->buf, 1000, (const uint8_t *)"x", 1);
    assert_int_equal(decode_command(f, &command), ERR_VERSION);
    assert_int_equal(decode_record(f, &record), ERR_VERSION);
    buf_reset(&f->buf);
    assert_int_equal(codec_decode_command((const uint8_t *)"", 0, &f->arena, &command),
                     ERR_VERSION);
    wrap(&f->buf, 1, (const uint8_t *)"", 0); /* a registration without a node */
    assert_int_equal(decode_command(f, &command), ERR_CORRUPT);
}

/* ---- garbage ---- */

static void mutate(struct rand *rand, struct buf *buf) {
    for (uint64_t n = 1 + rand_below(rand, 4); n > 0 && buf->count > 0; n--) {
        size_t at = rand_below(rand, buf->count);
        switch (rand_below(rand, 4)) {
        case 0:
            buf->data[at] = (char)rand_next(rand);
            break;
        case 1:
            buf->data[at] ^= (char)(1 << rand_below(rand, 8));
            break;
        case 2: /* a piece of itself again: fields twice, lengths that do not fit */
            memmove(buf->data + at / 2, buf->data + at, buf->count - at);
            break;
        default:
            buf->count = at;
        }
    }
}

static void judge_row_strings(const struct catalog_node *node) {
    assert_non_null(node->id);
    assert_non_null(node->name);
    assert_non_null(node->region);
    for (uint32_t i = 0; i < node->meta.count; i++) {
        assert_non_null(node->meta.v[i].key);
        assert_non_null(node->meta.v[i].value);
    }
}

static void garbage_is_refused(void **state) {
    struct fixture *f = *state;
    struct rand rand;
    unsigned refused = 0, read = 0;
    rand_init(&rand, 21);
    struct rows rows;
    struct catalog_check checks[2];
    struct catalog_command command = registration(&rows, checks), back;
    struct codec_record records[] = {
        {.kind = RECORD_NODE, .node = rows.node},
        {.kind = RECORD_SERVICE, .service = rows.service},
        {.kind = RECORD_CHECK, .check = rows.check},
        {.kind = RECORD_INDEXES, .indexes = {9, 8, 7, 6, 5, 4, 3, 2, 1, 10, 11}}};
    for (int i = 0; i < MUTATIONS; i++) {
        struct codec_record record;
        enum err err;
        arena_clear(&f->arena);
        buf_reset(&f->buf);
        if (i % 2) {
            codec_encode_command(&command, &f->buf);
        } else {
            codec_encode_record(&records[i / 2 % 4], &f->buf);
        }
        mutate(&rand, &f->buf);
        uint8_t *exact = malloc(f->buf.count + 1); /* its end is watched */
        memcpy(exact, f->buf.data, f->buf.count);
        uint8_t *bytes = realloc(exact, f->buf.count > 0 ? f->buf.count : 1);
        if (i % 2) {
            err = codec_decode_command(bytes, f->buf.count, &f->arena, &back);
        } else {
            err = codec_decode_record(bytes, f->buf.count, &f->arena, &record);
        }
        free(bytes);
        assert_true(err == ERR_OK || err == ERR_CORRUPT || err == ERR_VERSION);
        refused += err == ERR_CORRUPT;
        read += err == ERR_OK;
        if (err == ERR_OK) { /* what was read can be written, and read again */
            buf_reset(&f->buf);
            if (i % 2) {
                if (back.kind == COMMAND_REGISTER) {
                    judge_row_strings(&back.reg.node);
                }
                codec_encode_command(&back, &f->buf);
                assert_int_equal(decode_command(f, &back), ERR_OK);
            } else {
                codec_encode_record(&record, &f->buf);
                assert_int_equal(decode_record(f, &record), ERR_OK);
            }
        }
    }
    assert_true(refused > MUTATIONS / 10);
    assert_true(read > MUTATIONS / 100);
}

static void random_bytes(void **state) {
    struct fixture *f = *state;
    struct rand rand;
    rand_init(&rand, 22);
    for (int i = 0; i < MUTATIONS; i++) {
        uint8_t bytes[64];
        size_t size = rand_below(&rand, sizeof bytes);
        struct catalog_command command;
        struct codec_record record;
        arena_clear(&f->arena);
        rand_bytes(&rand, bytes, size);
        enum err err = codec_decode_command(bytes, size, &f->arena, &command);
        assert_true(err == ERR_OK || err == ERR_CORRUPT || err == ERR_VERSION);
        err = codec_decode_record(bytes, size, &f->arena, &record);
        assert_true(err == ERR_OK || err == ERR_CORRUPT || err == ERR_VERSION);
    }
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, open_fixture, close_fixture)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(commands_round_trip),      TEST(every_field_is_carried),
        TEST(other_records_round_trip), TEST(unknown_fields_survive),
        TEST(field_zero_is_dropped),    TEST(unknown_kinds_are_a_version),
        TEST(garbage_is_refused),       TEST(random_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
