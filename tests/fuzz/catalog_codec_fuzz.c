/* Any bytes as a command of the log, a record of a snapshot and a whole snapshot, as a disk may
 * hold them. What is accepted must be stable: written again and read again it stays the same. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "catalog/catalog.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static struct epoch *epoch;

struct reader {
    const uint8_t *at;
    size_t left;
};

static int64_t read_some(void *context, void *out, size_t size) {
    struct reader *reader = context;
    size_t taken = size < reader->left ? size : reader->left;
    memcpy(out, reader->at, taken);
    reader->at += taken;
    reader->left -= taken;
    return (int64_t)taken;
}

static enum err write_some(void *context, const void *data, size_t size) {
    buf_append(context, data, size);
    return ERR_OK;
}

static void try_command(const uint8_t *data, size_t size) {
    struct arena arena;
    struct catalog_command command;
    struct err_text text = {""};
    struct catalog *catalog = catalog_create(epoch, NULL);
    enum err applied = catalog_apply(catalog, 1, data, size, NULL, &text);
    arena_init(&arena);
    if (codec_decode_command(data, size, &arena, &command) == ERR_OK) {
        struct buf first, second;
        ASSERT(applied == ERR_OK || applied == ERR_REFUSED);
        buf_init(&first, LIMIT_ENTRY_BYTES);
        buf_init(&second, LIMIT_ENTRY_BYTES);
        codec_encode_command(&command, &first);
        ASSERT(codec_decode_command((uint8_t *)first.data, first.count, &arena, &command) ==
               ERR_OK);
        codec_encode_command(&command, &second);
        ASSERT(first.count == second.count && memcmp(first.data, second.data, first.count) == 0);
        buf_clear(&first);
        buf_clear(&second);
    } else {
        ASSERT(applied == ERR_CORRUPT || applied == ERR_VERSION);
    }
    arena_clear(&arena);
    catalog_publish(catalog);
    catalog_destroy(catalog);
}

static void try_record(const uint8_t *data, size_t size) {
    struct arena arena;
    struct codec_record record;
    arena_init(&arena);
    if (codec_decode_record(data, size, &arena, &record) == ERR_OK) {
        struct buf bytes;
        buf_init(&bytes, LIMIT_ENTRY_BYTES);
        codec_encode_record(&record, &bytes);
        ASSERT(codec_decode_record((uint8_t *)bytes.data, bytes.count, &arena, &record) == ERR_OK);
        buf_clear(&bytes);
    }
    arena_clear(&arena);
}

static void try_snapshot(const uint8_t *data, size_t size) {
    struct err_text text = {""};
    struct catalog *catalog = catalog_create(epoch, NULL);
    struct reader reader = {data, size};
    enum err err = catalog_restore(catalog, read_some, &reader, &text);
    if (err == ERR_OK) {
        struct buf bytes;
        buf_init(&bytes, 1 << 24);
        epoch_enter(epoch);
        ASSERT(catalog_snapshot(catalog_view(catalog), write_some, &bytes) == ERR_OK);
        epoch_exit(epoch);
        reader = (struct reader){(uint8_t *)bytes.data, bytes.count};
        ASSERT(catalog_restore(catalog, read_some, &reader, &text) == ERR_OK);
        buf_clear(&bytes);
    } else {
        ASSERT((err == ERR_CORRUPT || err == ERR_VERSION) && text.s[0] != '\0');
    }
    catalog_destroy(catalog);
}

/* The first byte chooses. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) {
        return 0;
    }
    epoch = epoch == NULL ? epoch_create() : epoch;
    switch (data[0] % 3) {
    case 0:
        try_command(data + 1, size - 1);
        break;
    case 1:
        try_record(data + 1, size - 1);
        break;
    default:
        try_snapshot(data + 1, size - 1);
        break;
    }
    return 0;
}
