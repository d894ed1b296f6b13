/* Any bytes as what a recursor replies. What is taken must be a message to its last byte, whatever
 * names are read from it must be whole, and the answer that is made with them as well. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/limits.h"
#include "catalog/catalog.h"
#include "dns/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

#define NAME_BYTES 13
static const uint8_t name[NAME_BYTES] = "\3www\7example";
static const uint8_t alias[] = "\0\1\1\0\0\1\0\0\0\0\0\0\1a\4node\6consul\0\0\377\0\1";

static struct {
    struct epoch *epoch;
    struct catalog *catalog;
    struct dns_scratch *scratch;
    struct dns_snapshot *snapshot;
    uint8_t *out;
} fuzz;

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    fuzz.epoch = epoch_create();
    fuzz.catalog = catalog_create(fuzz.epoch, NULL);
    struct catalog_command command = {
        .kind = COMMAND_REGISTER,
        .reg = {
            .node = {.id = "", .name = "a", .address = "www.example", .region = "", .zone = ""}}};
    struct buf buf;
    buf_init(&buf, LIMIT_ENTRY_BYTES);
    codec_encode_command(&command, &buf);
    ASSERT(catalog_apply(fuzz.catalog, 1, (const uint8_t *)buf.data, buf.count, NULL, NULL) ==
           ERR_OK);
    buf_clear(&buf);
    catalog_publish(fuzz.catalog);
    struct dns_config config = dns_config_default();
    struct addr recursor;
    ASSERT(addr_parse("127.0.0.1", 53, &recursor));
    config.recursors = &recursor;
    config.recursor_count = 1;
    fuzz.snapshot = dns_snapshot_create(&config, NULL);
    fuzz.scratch = dns_scratch_create(1);
    fuzz.out = malloc(DNS_MESSAGE_BYTES);
    return 0;
}

static size_t name_bytes(const uint8_t *wire) {
    size_t at = 0;
    while (wire[at] != 0) {
        ASSERT(wire[at] <= DNS_LABEL_BYTES);
        at += 1u + wire[at];
    }
    ASSERT(at < DNS_NAME_BYTES);
    return at + 1;
}

static void check_whole(const uint8_t *data, size_t size) {
    size_t at = DNS_HEADER_BYTES;
    ASSERT(size >= at && dns_load_u16(data + 4) == 1);
    ASSERT(dns_name_skip(data, size, &at) && size - at >= 4);
    at += 4;
    for (unsigned left = dns_load_u16(data + 6) + dns_load_u16(data + 8) + dns_load_u16(data + 10);
         left > 0; left--) {
        ASSERT(dns_name_skip(data, size, &at) && size - at >= 10);
        at += 10 + dns_load_u16(data + at + 8);
        ASSERT(at <= size);
    }
    ASSERT(at == size);
}

static void answer_with(struct upstream_record *records, unsigned count) {
    struct dns_resolved_name resolved_name = {name, NAME_BYTES, records, count};
    struct dns_resolved resolved = {.names = &resolved_name, .count = 1};
    epoch_enter(fuzz.epoch);
    struct dns_question question = {.request = alias,
                                    .request_bytes = sizeof alias - 1,
                                    .tcp = true,
                                    .view = catalog_view(fuzz.catalog),
                                    .resolved = &resolved};
    size_t bytes = dns_answer(fuzz.scratch, fuzz.snapshot, &question, fuzz.out);
    epoch_exit(fuzz.epoch);
    check_whole(fuzz.out, bytes);
    ASSERT(dns_load_u16(fuzz.out + 6) >= 1); /* the alias itself */
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    uint8_t sent[UPSTREAM_QUESTION_BYTES];
    size_t taken = 0;
    if (size < 1) {
        return 0;
    }
    size_t sent_bytes = upstream_question(name, NAME_BYTES, DNS_TYPE_A, sent);
    /* Mostly with the question as it was sent, because nothing else comes far. */
    size_t skip = (data[0] & 2) != 0 ? sent_bytes : 0;
    size_t bytes = skip + size - 1;
    uint8_t *reply = malloc(bytes > 0 ? bytes : 1);
    memcpy(reply, sent, skip);
    memcpy(reply + skip, data + 1, size - 1);
    if (skip > 0) {
        reply[2] = (uint8_t)(0x81 | (data[0] & 4) >> 1);
        reply[7] = data[0] >> 4;
        reply[11] = data[0] >> 3 & 1;
    }
    enum upstream_verdict verdict =
        upstream_judge(sent, NAME_BYTES, reply, bytes, (data[0] & 1) != 0, &taken);
    if (verdict == UPSTREAM_TAKE || verdict == UPSTREAM_CUT) {
        struct arena arena;
        struct upstream_record *records;
        ASSERT(taken <= bytes);
        upstream_restore(reply, sent, NAME_BYTES);
        check_whole(reply, taken);
        arena_init(&arena);
        unsigned count = upstream_records(reply, taken, &arena, &records);
        ASSERT(count <= LIMIT_DNS_RESOLVED_RECORDS);
        for (unsigned i = 0; i < count; i++) {
            name_bytes(records[i].owner);
            if (records[i].type == DNS_TYPE_CNAME) {
                name_bytes(records[i].data);
            }
        }
        answer_with(records, count);
        arena_clear(&arena);
    }
    free(reply);
    return 0;
}
