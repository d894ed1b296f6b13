/* Any bytes as a DNS request, against a catalog with some of everything. Whatever comes back must
 * be a message that a second parser reads to its last byte. */
#include <stdio.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/limits.h"
#include "catalog/catalog.h"
#include "dns/answer.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

struct fuzz {
    struct epoch *epoch;
    struct catalog *catalog;
    struct dns_scratch *scratch;
    struct dns_snapshot *snapshots[2];
    uint8_t *out;
};

static struct fuzz fuzz;

static void add(uint64_t index, const char *node, const char *address, const char *service,
                const char *service_address) {
    struct str_pair meta[] = {{"key", "value"}, {"rfc1035-x", "`"}};
    const char *tags[] = {"v1"};
    struct catalog_service row = {.node = node,
                                  .id = node,
                                  .name = service,
                                  .tags = {.v = tags, .count = 1},
                                  .address = service_address,
                                  .port = (uint32_t)(index * 1000),
                                  .socket_path = "",
                                  .weight_passing = 1,
                                  .weight_warning = 1,
                                  .kind = "",
                                  .region = "",
                                  .zone = "",
                                  .proxy = "",
                                  .connect = ""};
    struct catalog_command command = {.kind = COMMAND_REGISTER,
                                      .reg = {.node = {.id = "",
                                                       .name = node,
                                                       .address = address,
                                                       .meta = {.v = meta, .count = 2},
                                                       .region = "",
                                                       .zone = ""},
                                              .service = &row}};
    struct buf buf;
    buf_init(&buf, LIMIT_ENTRY_BYTES);
    codec_encode_command(&command, &buf);
    ASSERT(catalog_apply(fuzz.catalog, index, (const uint8_t *)buf.data, buf.count, NULL, NULL) ==
           ERR_OK);
    buf_clear(&buf);
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    fuzz.epoch = epoch_create();
    fuzz.catalog = catalog_create(fuzz.epoch, NULL);
    add(1, "n1", "10.0.0.1", "web", "");
    add(2, "n2", "10.0.0.2", "web", "10.1.0.2");
    add(3, "n3", "2001:db8::3", "web", "2001:db8:1::3");
    add(4, "n4", "host.example.com", "db", "");
    add(5, "n5", "10.0.0.5", "db", "db.service.consul");
    add(6, "n6", "n7.node.consul", "loop", "n6.node.consul");
    add(7, "n7", "loop.service.cairn", "loop", "web.service.consul");
    add(8, "s1", "10.0.0.8", "consul", "");
    for (unsigned i = 0; i < 100; i++) {
        char node[16];
        snprintf(node, sizeof node, "m%u", i);
        add(9 + i, node, "10.0.0.9", "many", "");
    }
    catalog_publish(fuzz.catalog);
    struct dns_config config = dns_config_default();
    config.datacenter = "dc1";
    fuzz.snapshots[0] = dns_snapshot_create(&config, NULL);
    config.disable_compression = true;
    config.enable_truncate = true;
    config.alt_domain = "alt.consul.";
    config.udp_answer_limit = 8;
    struct addr recursor;
    ASSERT(addr_parse("127.0.0.1", 53, &recursor));
    config.recursors = &recursor;
    config.recursor_count = 1;
    fuzz.snapshots[1] = dns_snapshot_create(&config, NULL);
    fuzz.scratch = dns_scratch_create(1);
    fuzz.out = malloc(DNS_MESSAGE_BYTES);
    return 0;
}

static size_t skip_name(const uint8_t *data, size_t size, size_t at) {
    size_t next = 0;
    size_t bytes = 1;
    for (;;) {
        ASSERT(at < size);
        if (data[at] >= 0xc0) {
            ASSERT(at + 1 < size);
            size_t to = (size_t)(data[at] & 0x3f) << 8 | data[at + 1];
            next = next == 0 ? at + 2 : next;
            ASSERT(to < at && to >= DNS_HEADER_BYTES);
            at = to;
            continue;
        }
        ASSERT(data[at] <= DNS_LABEL_BYTES);
        bytes += data[at] == 0 ? 0 : 1u + data[at];
        ASSERT(bytes <= DNS_NAME_BYTES);
        if (data[at] == 0) {
            return next == 0 ? at + 1 : next;
        }
        at += 1u + data[at];
    }
}

static void check_message(const uint8_t *data, size_t size) {
    ASSERT(size >= DNS_HEADER_BYTES);
    ASSERT(data[2] & 0x80);
    size_t at = DNS_HEADER_BYTES;
    unsigned questions = dns_load_u16(data + 4);
    unsigned records = dns_load_u16(data + 6) + dns_load_u16(data + 8) + dns_load_u16(data + 10);
    ASSERT(questions <= 1);
    if (questions == 1) {
        at = skip_name(data, size, at) + 4;
    }
    for (unsigned i = 0; i < records; i++) {
        at = skip_name(data, size, at);
        ASSERT(size - at >= 10);
        size_t bytes = dns_load_u16(data + at + 8);
        at += 10;
        ASSERT(size - at >= bytes);
        at += bytes;
    }
    ASSERT(at == size);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size < 1) {
        return 0;
    }
    epoch_enter(fuzz.epoch);
    struct dns_question question = {.request = data + 1,
                                    .request_bytes = size - 1,
                                    .tcp = (data[0] & 1) != 0,
                                    .view = data[0] & 2 ? NULL : catalog_view(fuzz.catalog),
                                    .wall_s = 1700000000};
    size_t bytes = dns_answer(fuzz.scratch, fuzz.snapshots[data[0] >> 2 & 1], &question, fuzz.out);
    epoch_exit(fuzz.epoch);
    if (bytes > 0) {
        check_message(fuzz.out, bytes);
    }
    return 0;
}
