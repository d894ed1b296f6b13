/* For the tests of catalog/: rows with all their strings set, commands applied the way the log
 * applies them, as bytes, and snapshots in memory. */
#ifndef TESTS_UNIT_CATALOG_SUPPORT_H
#define TESTS_UNIT_CATALOG_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/rand.h"
#include "catalog/catalog.h"

static inline struct catalog_node node_row(const char *name, const char *address) {
    return (struct catalog_node){
        .id = "", .name = name, .address = address, .region = "", .zone = ""};
}

static inline struct catalog_service service_row(const char *node, const char *id,
                                                 const char *name) {
    return (struct catalog_service){.node = node,
                                    .id = id,
                                    .name = name,
                                    .address = "",
                                    .socket_path = "",
                                    .weight_passing = 1,
                                    .weight_warning = 1,
                                    .kind = "",
                                    .region = "",
                                    .zone = "",
                                    .proxy = "",
                                    .connect = ""};
}

static inline struct catalog_check check_row(const char *node, const char *id,
                                             const char *service_id, const char *status) {
    return (struct catalog_check){.node = node,
                                  .id = id,
                                  .name = id,
                                  .status = status,
                                  .notes = "",
                                  .output = "",
                                  .service_id = service_id,
                                  .service_name = "",
                                  .type = "",
                                  .interval = "",
                                  .timeout = "",
                                  .definition = ""};
}

static inline enum err apply_command(struct catalog *catalog, uint64_t index,
                                     const struct catalog_command *command, struct err_text *text) {
    struct buf buf;
    buf_init(&buf, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &buf);
    assert_false(buf.failed);
    enum err err = catalog_apply(catalog, index, (const uint8_t *)buf.data, buf.count, NULL, text);
    buf_clear(&buf);
    return err;
}

static inline enum err apply_register(struct catalog *catalog, uint64_t index,
                                      const struct catalog_register *reg) {
    struct err_text text;
    return apply_command(catalog, index,
                         &(struct catalog_command){.kind = COMMAND_REGISTER, .reg = *reg}, &text);
}

static inline enum err apply_node(struct catalog *catalog, uint64_t index,
                                  const struct catalog_node *node) {
    return apply_register(catalog, index, &(struct catalog_register){.node = *node});
}

/* ---- snapshots in memory: keep writes into a buffer, give reads a source ---- */

static inline enum err keep(void *context, const void *data, size_t size) {
    buf_append(context, data, size);
    return ERR_OK;
}

struct source {
    const char *data;
    size_t count, at, piece;
    enum err fail_at_end;
};

static inline int64_t give(void *context, void *data, size_t size) {
    struct source *source = context;
    size_t left = source->count - source->at;
    size = size < left ? size : left;
    size = source->piece > 0 && size > source->piece ? source->piece : size;
    memcpy(data, source->data + source->at, size);
    source->at += size;
    return size == 0 && source->fail_at_end != ERR_OK ? -(int64_t)source->fail_at_end
                                                      : (int64_t)size;
}

#endif
