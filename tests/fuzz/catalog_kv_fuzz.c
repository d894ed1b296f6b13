/* Any bytes as a transaction ('t' first), as a session ('s'), as a prepared query that is looked up
 * by a name of its own ('q'), or as a command of the log. What is accepted is applied, through its
 * bytes, to a catalog that lives from run to run. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "catalog/catalog.h"
#include "catalog/definition.h"
#include "catalog/query.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct epoch *epoch;
static struct catalog *catalog;
static uint64_t applied;

static void apply(const uint8_t *bytes, size_t size) {
    struct catalog_result result = {0};
    uint64_t hash = view_row_hash(catalog_view(catalog));
    enum err err = catalog_apply(catalog, applied + 1, bytes, size, &result, NULL);
    applied += err == ERR_OK || err == ERR_REFUSED;
    catalog_publish(catalog);
    while (catalog_sweep(catalog)) {
    }
    ASSERT((err == ERR_OK && result.failure_count == 0) ||
           hash == view_row_hash(catalog_view(catalog)));
    catalog_result_clear(&result);
}

static void apply_command(const struct catalog_command *command) {
    struct buf out;
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &out);
    ASSERT(!out.failed);
    apply((const uint8_t *)out.data, out.count);
    buf_clear(&out);
}

static void begin(void) {
    struct catalog_node node = {
        .id = "", .name = "n", .address = "1.1.1.1", .region = "", .zone = ""};
    epoch = epoch_create();
    catalog = catalog_create(epoch, NULL);
    apply_command(&(struct catalog_command){.kind = COMMAND_REGISTER, .reg = {.node = node}});
}

/* It is shown as it was sent, rendered or told why not, and finds what it finds. */
static void try_query(const char *json, size_t size, struct arena *arena) {
    struct catalog_command command = {.kind = COMMAND_QUERY};
    struct catalog_query *query = &command.set_query.query, again, rendered;
    struct err_text text = {""};
    struct query_instances found;
    struct rand rand;
    struct json writer;
    struct buf out;
    if (query_parse(json, size, arena, query, &text) != ERR_OK) {
        ASSERT(text.s[0] != '\0');
        return;
    }
    buf_init(&out, LIMIT_ENTRY_BYTES);
    json_init(&writer, &out, false);
    query_write(&writer, query);
    ASSERT(query_parse(out.data, out.count, arena, &again, &text) == ERR_OK);
    ASSERT(strcmp(again.name, query->name) == 0 && again.tags.count == query->tags.count);
    buf_clear(&out);
    rand_init(&rand, 1);
    if (query_render(query, arena_format(arena, "%s-x", query->name), arena, &rendered, &text) ==
        ERR_OK) {
        query_select(catalog_view(catalog), &rendered, &rand, arena, &found);
    }
    query->id = "bbbbbbbb-bbbb-bbbb-bbbb-bbbbbbbbbbbb";
    apply_command(&command);
    command.set_query.verb = QUERY_DELETE;
    apply_command(&command);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    struct err_text text = {""};
    struct catalog_result failures = {0};
    struct catalog_command command = {0};
    const char *dc, *json = (const char *)data + 1;
    if (size == 0) {
        return 0;
    }
    if (catalog == NULL) {
        begin();
    }
    arena_init(&arena);
    if (data[0] == 't') {
        command.kind = COMMAND_TRANSACTION;
        if (definition_parse_transaction(json, size - 1, 100, &arena, &command.transaction,
                                         &failures, &text) == ERR_OK &&
            failures.failure_count == 0) {
            apply_command(&command);
        }
        catalog_result_clear(&failures);
    } else if (data[0] == 's') {
        command.kind = COMMAND_SESSION;
        if (definition_parse_session(json, size - 1, "n", 0, &arena, &command.session, &dc,
                                     &text) == ERR_OK) {
            command.session.id = "aaaaaaaa-aaaa-aaaa-aaaa-aaaaaaaaaaaa";
            apply_command(&command);
        }
    } else if (data[0] == 'q') {
        try_query(json, size - 1, &arena);
    } else {
        apply(data, size);
    }
    arena_clear(&arena);
    return 0;
}
