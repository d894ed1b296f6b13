#include "store/snapshot.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "store/file.h"
#include "store/format.h"
#include "store/snapshot_internal.h"

#define MAGIC "cairnsnp"
#define PREFIX "snapshot-"
#define TEMPORARY "snapshot.tmp"

/* header (value: index) | info: term, configuration index (u64 each), configuration size, CRC32C of
 * info and configuration (u32 each) | configuration | pieces. A piece: size, CRC32C seeded with its
 * number (u32 each) | bytes. The last has size 0 and is followed by the total (u64), in its CRC. */
#define INFO_BYTES 24
#define PIECE_HEADER_BYTES 8
#define TOTAL_BYTES 8

struct store_snapshot_writer {
    char *directory;
    char temporary[FORMAT_PATH_BYTES];
    char path[FORMAT_PATH_BYTES];
    struct store_file *file;
    struct store_snapshot_info info;
    uint64_t offset; /* where the next piece goes */
    uint64_t total;  /* bytes of the state in pieces already written */
    uint32_t pieces;
    uint32_t filled; /* of piece */
    bool committed;
    enum err err;                 /* the first failure; stays */
    const atomic_bool *abandoned; /* NULL: nobody can */
    uint8_t *piece;               /* piece header, LIMIT_SNAPSHOT_PIECE_BYTES */
};

struct store_snapshot_reader {
    char path[FORMAT_PATH_BYTES];
    struct store_file *file;
    struct store_snapshot_info info;
    uint64_t pieces_offset;
    uint64_t offset;
    uint64_t total; /* of the state, known once verified */
    uint64_t read;  /* of it, in pieces up to the present one */
    uint32_t pieces;
    uint32_t filled; /* the present piece */
    uint32_t taken;  /* of it, <= filled */
    bool end;
    uint8_t *piece;
};

static uint32_t info_crc(const uint8_t *info, const struct store_snapshot_info *from) {
    return crc32c(crc32c(0, info, INFO_BYTES - 4), from->configuration, from->configuration_size);
}

static enum err write_head(struct store_snapshot_writer *writer, const struct uuid *cluster,
                           struct err_text *text) {
    uint8_t head[FORMAT_HEADER_BYTES + INFO_BYTES + STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX];
    uint8_t *info = head + FORMAT_HEADER_BYTES;
    format_encode_header(head, MAGIC, cluster, writer->info.index);
    put_u64(info, writer->info.term);
    put_u64(info + 8, writer->info.configuration_index);
    put_u32(info + 16, writer->info.configuration_size);
    put_u32(info + 20, info_crc(info, &writer->info));
    memcpy(info + INFO_BYTES, writer->info.configuration, writer->info.configuration_size);
    writer->offset = FORMAT_HEADER_BYTES + INFO_BYTES + writer->info.configuration_size;
    return store_file_write(writer->file, 0, head, writer->offset, text);
}

enum err store_snapshot_writer_create(const char *directory, const struct uuid *cluster,
                                      const struct store_snapshot_info *info,
                                      struct store_snapshot_writer **ret_writer,
                                      struct err_text *text) {
    ASSERT(info->index > 0);
    ASSERT(info->configuration_size <= STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX);
    struct store_snapshot_writer *writer = mem_calloc(1, sizeof *writer);
    char name[FORMAT_NAME_BYTES];
    format_number_name(name, PREFIX, info->index);
    writer->directory = mem_strdup(directory);
    writer->info = *info;
    writer->piece = mem_alloc(PIECE_HEADER_BYTES + LIMIT_SNAPSHOT_PIECE_BYTES);
    enum err err = format_path(writer->temporary, directory, TEMPORARY, text);
    if (err == ERR_OK) {
        err = format_path(writer->path, directory, name, text);
    }
    if (err == ERR_OK) {
        err = store_file_open(writer->temporary, STORE_FILE_CREATE, &writer->file, text);
    }
    if (err == ERR_OK) {
        err = write_head(writer, cluster, text);
    }
    if (err != ERR_OK) {
        store_snapshot_writer_destroy(writer);
        return err;
    }
    *ret_writer = writer;
    return ERR_OK;
}

static uint32_t piece_crc(uint32_t number, uint32_t size, const uint8_t *data, size_t data_size) {
    uint8_t place[8];
    put_u32(place, number);
    put_u32(place + 4, size);
    return crc32c(crc32c(0, place, sizeof place), data, data_size);
}

void store_snapshot_writer_watch(struct store_snapshot_writer *writer,
                                 const atomic_bool *abandoned) {
    writer->abandoned = abandoned;
}

/* size 0: the end, whose data is the total. */
static enum err write_piece(struct store_snapshot_writer *writer, uint32_t size,
                            struct err_text *text) {
    uint32_t data_size = size > 0 ? size : TOTAL_BYTES;
    uint8_t *data = writer->piece + PIECE_HEADER_BYTES;
    put_u32(writer->piece, size);
    put_u32(writer->piece + 4, piece_crc(writer->pieces, size, data, data_size));
    writer->err = store_file_write(writer->file, writer->offset, writer->piece,
                                   PIECE_HEADER_BYTES + (size_t)data_size, text);
    writer->offset += PIECE_HEADER_BYTES + data_size;
    writer->total += size;
    writer->pieces++;
    return writer->err;
}

enum err store_snapshot_writer_write(struct store_snapshot_writer *writer, const void *data,
                                     size_t size, struct err_text *text) {
    const uint8_t *at = data;
    if (writer->abandoned != NULL && atomic_load(writer->abandoned)) {
        writer->err = ERR_CLOSED;
        return err_set(text, ERR_CLOSED, "the snapshot was given up");
    }
    if (writer->err != ERR_OK) {
        return err_set(text, writer->err, "%s: an earlier write failed", writer->temporary);
    }
    while (size > 0) {
        size_t room = LIMIT_SNAPSHOT_PIECE_BYTES - writer->filled;
        size_t n = size < room ? size : room;
        memcpy(writer->piece + PIECE_HEADER_BYTES + writer->filled, at, n);
        writer->filled += (uint32_t)n;
        at += n;
        size -= n;
        if (writer->filled == LIMIT_SNAPSHOT_PIECE_BYTES) {
            writer->filled = 0;
            if (write_piece(writer, LIMIT_SNAPSHOT_PIECE_BYTES, text) != ERR_OK) {
                return writer->err;
            }
        }
    }
    return ERR_OK;
}

struct older {
    const char *directory;
    uint64_t than;
};

static void remove_older(void *context, const char *name) {
    const struct older *older = context;
    uint64_t index;
    char path[FORMAT_PATH_BYTES];
    if (format_parse_name(name, PREFIX, &index) && index < older->than &&
        format_path(path, older->directory, name, NULL) == ERR_OK) {
        (void)store_file_unlink(path, NULL); /* the next snapshot tries again */
    }
}

enum err store_snapshot_writer_commit(struct store_snapshot_writer *writer, uint64_t *ret_bytes,
                                      struct err_text *text) {
    if (writer->err != ERR_OK) {
        return err_set(text, writer->err, "%s: an earlier write failed", writer->temporary);
    }
    struct older older = {.directory = writer->directory, .than = writer->info.index};
    if (MUTANT(older_snapshot_removed_early)) {
        (void)store_directory_list(writer->directory, remove_older, &older, NULL);
    }
    if (writer->filled > 0) {
        write_piece(writer, writer->filled, text);
    }
    if (writer->err == ERR_OK) {
        put_u64(writer->piece + PIECE_HEADER_BYTES, writer->total);
        write_piece(writer, 0, text);
    }
    if (writer->err == ERR_OK && !MUTANT(snapshot_not_synced)) {
        writer->err = store_file_sync(writer->file, text);
    }
    if (writer->err == ERR_OK) {
        writer->err = store_file_rename(writer->temporary, writer->path, text);
    }
    if (writer->err == ERR_OK) {
        writer->committed = true;
        if (!MUTANT(snapshot_directory_not_synced)) {
            writer->err = store_directory_sync(writer->directory, text);
        }
    }
    if (writer->err != ERR_OK) {
        return writer->err;
    }
    (void)store_directory_list(writer->directory, remove_older, &older, NULL);
    if (ret_bytes != NULL) {
        *ret_bytes = writer->offset;
    }
    return ERR_OK;
}

void store_snapshot_writer_destroy(struct store_snapshot_writer *writer) {
    if (writer == NULL) {
        return;
    }
    store_file_close(writer->file);
    if (writer->file != NULL && !writer->committed) {
        (void)store_file_unlink(writer->temporary, NULL); /* the next one replaces it */
    }
    free(writer->piece);
    free(writer->directory);
    free(writer);
}

static enum err corrupt(const struct store_snapshot_reader *reader, struct err_text *text) {
    return err_set(text, ERR_CORRUPT, "%s is damaged at byte %" PRIu64, reader->path,
                   reader->offset);
}

static enum err read_head(struct store_snapshot_reader *reader, const struct uuid *cluster,
                          struct err_text *text) {
    uint8_t head[FORMAT_HEADER_BYTES + INFO_BYTES + STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX];
    const uint8_t *info = head + FORMAT_HEADER_BYTES;
    size_t size = 0;
    enum err err = store_file_read(reader->file, 0, head, sizeof head, &size, text);
    if (err == ERR_OK && size < FORMAT_HEADER_BYTES + INFO_BYTES) {
        err = corrupt(reader, text);
    }
    if (err == ERR_OK) {
        err = format_check_header(head, MAGIC, cluster, reader->path, &reader->info.index, text);
    }
    if (err != ERR_OK) {
        return err;
    }
    reader->info.term = get_u64(info);
    reader->info.configuration_index = get_u64(info + 8);
    reader->info.configuration_size = get_u32(info + 16);
    if (reader->info.configuration_size > STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX ||
        reader->info.configuration_size > size - FORMAT_HEADER_BYTES - INFO_BYTES) {
        return corrupt(reader, text);
    }
    memcpy(reader->info.configuration, info + INFO_BYTES, reader->info.configuration_size);
    if (get_u32(info + 20) != info_crc(info, &reader->info)) {
        return corrupt(reader, text);
    }
    reader->pieces_offset = FORMAT_HEADER_BYTES + INFO_BYTES + reader->info.configuration_size;
    reader->offset = reader->pieces_offset;
    return ERR_OK;
}

static enum err read_piece(struct store_snapshot_reader *reader, struct err_text *text) {
    uint8_t *data = reader->piece + PIECE_HEADER_BYTES;
    size_t got = 0;
    enum err err =
        store_file_read(reader->file, reader->offset, reader->piece,
                        PIECE_HEADER_BYTES + (size_t)LIMIT_SNAPSHOT_PIECE_BYTES, &got, text);
    if (err != ERR_OK) {
        return err;
    }
    uint32_t size = got >= PIECE_HEADER_BYTES ? get_u32(reader->piece) : 0;
    uint32_t data_size = size > 0 ? size : TOTAL_BYTES;
    if (got < PIECE_HEADER_BYTES || data_size > got - PIECE_HEADER_BYTES ||
        get_u32(reader->piece + 4) != piece_crc(reader->pieces, size, data, data_size)) {
        return corrupt(reader, text);
    }
    reader->offset += PIECE_HEADER_BYTES + (uint64_t)data_size;
    reader->pieces++;
    reader->filled = size;
    reader->taken = 0;
    reader->end = size == 0;
    if (reader->end && get_u64(data) != reader->read) {
        return corrupt(reader, text);
    }
    reader->read += size;
    return ERR_OK;
}

static void rewind_pieces(struct store_snapshot_reader *reader) {
    reader->offset = reader->pieces_offset;
    reader->read = 0;
    reader->pieces = 0;
    reader->filled = 0;
    reader->taken = 0;
    reader->end = false;
}

/* Opens one file and verifies all of it. */
static enum err open_one(const char *directory, uint64_t index, const struct uuid *cluster,
                         struct store_snapshot_reader **ret_reader, struct err_text *text) {
    struct store_snapshot_reader *reader = mem_calloc(1, sizeof *reader);
    char name[FORMAT_NAME_BYTES];
    format_number_name(name, PREFIX, index);
    enum err err = format_path(reader->path, directory, name, text);
    if (err == ERR_OK) {
        err = store_file_open(reader->path, STORE_FILE_READ, &reader->file, text);
    }
    if (err == ERR_OK) {
        err = read_head(reader, cluster, text);
    }
    if (err == ERR_OK && (reader->info.index != index || index == 0)) {
        err = err_set(text, ERR_CORRUPT, "%s has been renamed", reader->path);
    }
    if (err == ERR_OK) {
        reader->piece = mem_alloc(PIECE_HEADER_BYTES + LIMIT_SNAPSHOT_PIECE_BYTES);
    }
    while (err == ERR_OK && !reader->end) {
        err = read_piece(reader, text);
    }
    if (err != ERR_OK) {
        store_snapshot_reader_close(reader);
        return err;
    }
    reader->total = reader->read;
    rewind_pieces(reader);
    *ret_reader = reader;
    return ERR_OK;
}

struct newest {
    uint64_t below; /* look for the highest index below this */
    uint64_t index; /* 0: none */
};

static void find_newest(void *context, const char *name) {
    struct newest *newest = context;
    uint64_t index;
    if (format_parse_name(name, PREFIX, &index) && index < newest->below && index > newest->index) {
        newest->index = index;
    }
}

enum err store_snapshot_reader_open(const char *directory, const struct uuid *cluster,
                                    struct store_snapshot_reader **ret_reader,
                                    struct err_text *text) {
    enum err damage = ERR_NOT_FOUND;
    struct newest newest = {.below = UINT64_MAX};
    for (;;) {
        struct store_snapshot_reader *reader = NULL;
        newest.index = 0;
        enum err err = store_directory_list(directory, find_newest, &newest, text);
        if (err != ERR_OK) {
            return err;
        }
        if (newest.index == 0) {
            break;
        }
        /* The sentence to be read is about the newest. */
        err = open_one(directory, newest.index, cluster, &reader,
                       damage == ERR_NOT_FOUND ? text : NULL);
        if (err == ERR_OK) {
            /* Its writer may have died before the name was durable. */
            err = MUTANT(open_trusts_names) ? ERR_OK : store_directory_sync(directory, text);
            if (err != ERR_OK) {
                store_snapshot_reader_close(reader);
                return err;
            }
            *ret_reader = reader;
            return ERR_OK;
        }
        if (err != ERR_CORRUPT && err != ERR_FOREIGN) {
            return err;
        }
        damage = damage == ERR_NOT_FOUND ? err : damage;
        newest.below = newest.index;
    }
    if (damage == ERR_NOT_FOUND) {
        return err_set(text, ERR_NOT_FOUND, "there is no snapshot in %s", directory);
    }
    return damage;
}

void store_snapshot_reader_close(struct store_snapshot_reader *reader) {
    if (reader != NULL) {
        store_file_close(reader->file);
        free(reader->piece);
        free(reader);
    }
}

const struct store_snapshot_info *
store_snapshot_reader_info(const struct store_snapshot_reader *reader) {
    return &reader->info;
}

uint64_t store_snapshot_reader_bytes(const struct store_snapshot_reader *reader) {
    return reader->total;
}

enum err store_snapshot_reader_read(struct store_snapshot_reader *reader, void *data, size_t size,
                                    size_t *ret_size, struct err_text *text) {
    size_t done = 0;
    while (done < size && !reader->end) {
        if (reader->taken == reader->filled) {
            enum err err = read_piece(reader, text);
            if (err != ERR_OK) {
                return err;
            }
            continue;
        }
        size_t n = reader->filled - reader->taken;
        n = n < size - done ? n : size - done;
        memcpy((uint8_t *)data + done, reader->piece + PIECE_HEADER_BYTES + reader->taken, n);
        reader->taken += (uint32_t)n;
        done += n;
    }
    *ret_size = done;
    return ERR_OK;
}

/* All pieces but the last hold as much as a piece can. */
enum err store_snapshot_reader_seek(struct store_snapshot_reader *reader, uint64_t offset,
                                    struct err_text *text) {
    uint64_t pieces = offset / LIMIT_SNAPSHOT_PIECE_BYTES;
    if (offset % LIMIT_SNAPSHOT_PIECE_BYTES != 0 || offset > reader->total) {
        return err_set(text, ERR_INVALID, "there is no piece at offset %" PRIu64, offset);
    }
    rewind_pieces(reader);
    reader->offset += pieces * (PIECE_HEADER_BYTES + (uint64_t)LIMIT_SNAPSHOT_PIECE_BYTES);
    reader->pieces = (uint32_t)pieces;
    reader->read = offset;
    return ERR_OK;
}
