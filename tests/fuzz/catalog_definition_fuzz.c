/* Any bytes as a request body of the agent's and the catalog's endpoints. What is taken must come
 * back from its written form and from the log's bytes as it was, and the catalog must take it or
 * say why not. The first byte chooses the endpoint. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "catalog/catalog.h"
#include "catalog/definition.h"
#include "catalog/local.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct epoch *epoch;

static void write_service(const struct service_definition *service, struct buf *out) {
    struct json json;
    buf_init(out, LIMIT_HTTP_ANSWER_BYTES);
    json_init(&json, out, false);
    definition_write_service(&json, service);
    buf_append_byte(out, '\0');
    ASSERT(!out->failed);
}

static void write_check(const struct check_definition *check, struct buf *out) {
    struct json json;
    buf_init(out, LIMIT_HTTP_ANSWER_BYTES);
    json_init(&json, out, false);
    definition_write_check(&json, check);
    buf_append_byte(out, '\0');
    ASSERT(!out->failed);
}

static void same(const struct buf *one, const struct buf *two) {
    ASSERT(one->count == two->count && memcmp(one->data, two->data, one->count) == 0);
}

/* The agent's files hold the written form: it must mean what was written. */
static void try_service(const char *json, size_t size, struct arena *arena) {
    struct service_definition service = {0}, back = {0};
    struct err_text text = {""};
    struct buf first, second;
    enum err err = definition_parse_service(json, size, arena, &service, &text);
    if (err != ERR_OK) {
        ASSERT((err == ERR_INVALID || err == ERR_REFUSED) && text.s[0] != '\0');
        return;
    }
    write_service(&service, &first);
    ASSERT(definition_parse_service(first.data, first.count - 1, arena, &back, &text) == ERR_OK);
    write_service(&back, &second);
    same(&first, &second);
    buf_clear(&first);
    buf_clear(&second);
    struct local *local = local_create(epoch, "n1");
    local_set_service(local, &service, true);
    local_publish(local);
    local_set_service(local, &back, false);
    local_publish(local);
    ASSERT(local_remove_service(local, service.service.id) == ERR_OK);
    local_publish(local);
    local_destroy(local);
}

static void try_check(const char *json, size_t size, struct arena *arena) {
    struct check_definition check = {0}, back = {0};
    struct err_text text = {""};
    struct buf first, second;
    enum err err = definition_parse_check(json, size, arena, &check, &text);
    if (err != ERR_OK) {
        ASSERT((err == ERR_INVALID || err == ERR_REFUSED) && text.s[0] != '\0');
        return;
    }
    struct check_definition *copy = check_definition_copy(&check);
    write_check(copy, &first);
    free(copy);
    ASSERT(definition_parse_check(first.data, first.count - 1, arena, &back, &text) == ERR_OK);
    write_check(&back, &second);
    same(&first, &second);
    buf_clear(&first);
    buf_clear(&second);
}

/* Through the log's bytes into a catalog that has a little of everything. */
static void apply(const struct catalog_command *command, struct arena *arena) {
    static const struct catalog_node node = {
        .id = "", .name = "n1", .address = "10.0.0.1", .region = "", .zone = ""};
    struct catalog_command known = {.kind = COMMAND_REGISTER, .reg = {.node = node}}, back;
    struct err_text text = {""};
    struct buf bytes, again;
    struct catalog *catalog = catalog_create(epoch, NULL);
    buf_init(&bytes, LIMIT_ENTRY_BYTES);
    codec_encode_command(&known, &bytes);
    ASSERT(catalog_apply(catalog, 1, (uint8_t *)bytes.data, bytes.count, NULL, &text) == ERR_OK);
    buf_reset(&bytes);
    codec_encode_command(command, &bytes);
    ASSERT(!bytes.failed);
    ASSERT(codec_decode_command((uint8_t *)bytes.data, bytes.count, arena, &back) == ERR_OK);
    buf_init(&again, LIMIT_ENTRY_BYTES);
    codec_encode_command(&back, &again);
    same(&bytes, &again);
    for (uint64_t index = 2; index < 4; index++) { /* the second time over itself */
        enum err err = catalog_apply(catalog, index, (uint8_t *)bytes.data, bytes.count, NULL, &text);
        ASSERT(err == ERR_OK || (err == ERR_REFUSED && text.s[0] != '\0'));
        catalog_publish(catalog);
    }
    buf_clear(&bytes);
    buf_clear(&again);
    catalog_destroy(catalog);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct err_text text = {""};
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    const char *dc = NULL;
    if (size == 0) {
        return 0;
    }
    epoch = epoch == NULL ? epoch_create() : epoch;
    char *json = malloc(size); /* a terminator behind it, as bodies have */
    memcpy(json, data + 1, size - 1);
    json[size - 1] = '\0';
    arena_init(&arena);
    enum err err = ERR_OK;
    switch (data[0] % 4) {
    case 0:
        try_service(json, size - 1, &arena);
        break;
    case 1:
        try_check(json, size - 1, &arena);
        break;
    case 2:
        err = definition_parse_register(json, size - 1, &arena, &command.reg, &dc, &text);
        break;
    default:
        command.kind = COMMAND_DEREGISTER;
        err = definition_parse_deregister(json, size - 1, &arena, &command.dereg, &dc, &text);
        break;
    }
    ASSERT(err == ERR_OK || text.s[0] != '\0');
    if (err == ERR_OK && data[0] % 4 >= 2) {
        apply(&command, &arena);
    }
    arena_clear(&arena);
    free(json);
    return 0;
}
