/* Rows with every field set, and a table of all their fields: a test that walks it notices a field
 * that a copy, a comparison, a hash or the codec forgets. */
#ifndef TESTS_UNIT_CATALOG_ROWS_H
#define TESTS_UNIT_CATALOG_ROWS_H

#include "tests/unit/catalog_support.h"

struct rows {
    struct str_pair tagged[2], meta[2], service_meta[2];
    const char *tags[2];
    struct catalog_tagged_address addresses[2];
    uint8_t unknown[15];
    struct catalog_node node;
    struct catalog_service service;
    struct catalog_check check;
};

static inline void rows_fill(struct rows *r) {
    /* An unknown field as the codec keeps it: tag 99, wire type varint, one byte of length. */
    static const uint32_t head[3] = {99, 0, 1};
    *r = (struct rows){.tagged = {{"lan", "10.0.0.1"}, {"wan", "1.2.3.4"}},
                       .meta = {{"env", "prod"}, {"rack", "7"}},
                       .service_meta = {{"k", "v"}, {"version", "2"}},
                       .tags = {"primary", "v2"},
                       .addresses = {{"lan", "10.0.0.2", 80}, {"wan", "1.2.3.5", 81}}};
    memcpy(r->unknown, head, sizeof head);
    r->unknown[12] = 5;
    struct catalog_bytes unknown = {r->unknown, 13};
    r->node = (struct catalog_node){.id = "40e4a748-2192-161a-0510-9bf59fe950b5",
                                    .name = "Node-1",
                                    .address = "10.0.0.1",
                                    .tagged_addresses = {r->tagged, 2, true},
                                    .meta = {r->meta, 2, true},
                                    .region = "eu",
                                    .zone = "eu-1",
                                    .create_index = 3,
                                    .modify_index = 5,
                                    .unknown = unknown};
    r->service = (struct catalog_service){.node = "Node-1",
                                          .id = "Web-1",
                                          .name = "Web",
                                          .tags = {r->tags, 2},
                                          .address = "10.0.0.2",
                                          .port = 8080,
                                          .socket_path = "/run/web.sock",
                                          .tagged_addresses = r->addresses,
                                          .tagged_address_count = 2,
                                          .meta = {r->service_meta, 2, true},
                                          .weight_passing = 10,
                                          .weight_warning = 2,
                                          .enable_tag_override = true,
                                          .kind = "typical",
                                          .region = "eu",
                                          .zone = "eu-2",
                                          .proxy = "{\"a\":1}",
                                          .connect = "{\"Native\":true}",
                                          .create_index = 7,
                                          .modify_index = 9,
                                          .unknown = unknown};
    r->check = (struct catalog_check){.node = "Node-1",
                                      .id = "Check-1",
                                      .name = "HTTP on 8080",
                                      .status = "warning",
                                      .notes = "note",
                                      .output = "out",
                                      .service_id = "Web-1",
                                      .service_name = "Web",
                                      .service_tags = {r->tags, 2},
                                      .type = "http",
                                      .interval = "10s",
                                      .timeout = "1s",
                                      .definition = "{\"HTTP\":\"x\"}",
                                      .create_index = 11,
                                      .modify_index = 13,
                                      .unknown = unknown};
}

/* How one field is changed. equal: a write that changes it alone is no write. */
struct row_field {
    void (*change)(struct rows *r);
    bool equal;
    const char *name;
};

#define FIELD(row, field, statement)                                                               \
    static void change_##row##_##field(struct rows *r) {                                           \
        statement;                                                                                 \
    }
#define STR(row, field) FIELD(row, field, r->row.field = "changed")
#define NUMBER(row, field) FIELD(row, field, r->row.field++)

STR(node, id)
STR(node, address)
STR(node, region)
STR(node, zone)
FIELD(node, name, r->node.name = "NODE-1")
FIELD(node, tagged_key, r->tagged[1].key = "x")
FIELD(node, tagged_value, r->tagged[1].value = "x")
FIELD(node, tagged_count, r->node.tagged_addresses.count = 1)
FIELD(node, meta_key, r->meta[0].key = "x")
FIELD(node, meta_value, r->meta[0].value = "x")
FIELD(node, meta_count, r->node.meta.count = 1)
NUMBER(node, create_index)
NUMBER(node, modify_index)
FIELD(node, unknown, r->unknown[12]++)
FIELD(node, unknown_size, r->node.unknown.size = 0)
STR(service, id)
STR(service, name)
STR(service, address)
STR(service, socket_path)
STR(service, kind)
STR(service, region)
STR(service, zone)
STR(service, proxy)
STR(service, connect)
NUMBER(service, port)
NUMBER(service, weight_passing)
NUMBER(service, weight_warning)
FIELD(service, enable_tag_override, r->service.enable_tag_override = false)
FIELD(service, tag, r->tags[1] = "x")
FIELD(service, tag_count, r->service.tags.count = 1)
FIELD(service, tag_order, r->tags[0] = "v2"; r->tags[1] = "primary")
FIELD(service, tagged_name, r->addresses[1].name = "x")
FIELD(service, tagged_address, r->addresses[1].address = "x")
FIELD(service, tagged_port, r->addresses[1].port++)
FIELD(service, tagged_count, r->service.tagged_address_count = 1)
FIELD(service, meta_value, r->service_meta[1].value = "x")
NUMBER(service, create_index)
NUMBER(service, modify_index)
FIELD(service, unknown, r->unknown[12]++)
STR(check, id)
STR(check, name)
STR(check, status)
STR(check, notes)
STR(check, output)
STR(check, service_id)
STR(check, service_name)
STR(check, type)
STR(check, interval)
STR(check, timeout)
STR(check, definition)
FIELD(check, tag, r->tags[0] = "x")
NUMBER(check, create_index)
NUMBER(check, modify_index)
FIELD(check, unknown, r->unknown[12]++)

#undef FIELD
#undef STR
#undef NUMBER
#define WRITE(row, field)                                                                          \
    { change_##row##_##field, false, #row "." #field }
#define NO_WRITE(row, field)                                                                       \
    { change_##row##_##field, true, #row "." #field }

static const struct row_field node_fields[] = {
    WRITE(node, id),           WRITE(node, address),         WRITE(node, region),
    WRITE(node, zone),         NO_WRITE(node, name),         WRITE(node, tagged_key),
    WRITE(node, tagged_value), WRITE(node, tagged_count),    WRITE(node, meta_key),
    WRITE(node, meta_value),   WRITE(node, meta_count),      NO_WRITE(node, create_index),
    WRITE(node, unknown),      NO_WRITE(node, modify_index), WRITE(node, unknown_size),
};

static const struct row_field service_fields[] = {
    WRITE(service, id),
    WRITE(service, name),
    WRITE(service, address),
    WRITE(service, socket_path),
    WRITE(service, kind),
    WRITE(service, region),
    WRITE(service, zone),
    WRITE(service, proxy),
    WRITE(service, connect),
    WRITE(service, port),
    WRITE(service, weight_passing),
    WRITE(service, weight_warning),
    WRITE(service, enable_tag_override),
    WRITE(service, tag),
    WRITE(service, tag_count),
    WRITE(service, tag_order),
    WRITE(service, tagged_name),
    WRITE(service, tagged_address),
    WRITE(service, tagged_port),
    WRITE(service, tagged_count),
    WRITE(service, meta_value),
    NO_WRITE(service, create_index),
    NO_WRITE(service, modify_index),
    WRITE(service, unknown),
};

static const struct row_field check_fields[] = {
    WRITE(check, id),
    WRITE(check, name),
    WRITE(check, status),
    WRITE(check, notes),
    WRITE(check, output),
    WRITE(check, service_id),
    WRITE(check, service_name),
    NO_WRITE(check, type),
    NO_WRITE(check, interval),
    NO_WRITE(check, timeout),
    WRITE(check, definition),
    WRITE(check, tag),
    NO_WRITE(check, create_index),
    NO_WRITE(check, modify_index),
    WRITE(check, unknown),
};

#undef WRITE
#undef NO_WRITE
#define FIELD_COUNT(fields) (sizeof(fields) / sizeof(fields)[0])

#endif
