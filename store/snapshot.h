/* Snapshots on disk: snapshot-<index in 16 hex digits>.
 *
 * Written under a temporary name, in pieces of LIMIT_SNAPSHOT_PIECE_BYTES that each carry a CRC32C
 * seeded with the piece's number, ended by a piece of length 0 that holds the total; then synced,
 * renamed, the directory synced, and only then are older ones removed. Open takes the newest that
 * is whole. */
#ifndef STORE_SNAPSHOT_H
#define STORE_SNAPSHOT_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/uuid.h"

#define STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX 3072

struct store_snapshot_info {
    uint64_t index; /* last entry that the state contains */
    uint64_t term;  /* of that entry */
    uint64_t configuration_index;
    uint32_t configuration_size; /* <= STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX */
    uint8_t configuration[STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX]; /* the caller's encoding */
};

struct store_snapshot_writer;

/* ERR_IO, ERR_NO_SPACE. A left-over temporary file is replaced. One writer a directory at a time.
 */
enum err store_snapshot_writer_create(const char *directory, const struct uuid *cluster,
                                      const struct store_snapshot_info *info,
                                      struct store_snapshot_writer **ret_writer,
                                      struct err_text *text);
enum err store_snapshot_writer_write(struct store_snapshot_writer *writer, const void *data,
                                     size_t size, struct err_text *text);
/* Makes it durable under its name and removes older ones; ret_bytes (may be NULL): size of the
 * file. On an error the older snapshot is still there. The writer must be destroyed after. */
enum err store_snapshot_writer_commit(struct store_snapshot_writer *writer, uint64_t *ret_bytes,
                                      struct err_text *text);
/* Without commit: the file is removed. NULL is allowed. */
void store_snapshot_writer_destroy(struct store_snapshot_writer *writer);

struct store_snapshot_reader;

/* The newest whole snapshot, all its checksums verified. ERR_NOT_FOUND: there is none.
 * ERR_CORRUPT: there are some, none of them whole. ERR_FOREIGN, ERR_VERSION, ERR_IO. */
enum err store_snapshot_reader_open(const char *directory, const struct uuid *cluster,
                                    struct store_snapshot_reader **ret_reader,
                                    struct err_text *text);
void store_snapshot_reader_close(struct store_snapshot_reader *reader);
/* Borrowed until close. */
const struct store_snapshot_info *
store_snapshot_reader_info(const struct store_snapshot_reader *reader);
/* Size of the state, without headers. */
uint64_t store_snapshot_reader_bytes(const struct store_snapshot_reader *reader);
/* Fills data as far as the state goes; ret_size < size: the end. ERR_CORRUPT, ERR_IO. */
enum err store_snapshot_reader_read(struct store_snapshot_reader *reader, void *data, size_t size,
                                    size_t *ret_size, struct err_text *text);
/* The next read begins at offset, a multiple of LIMIT_SNAPSHOT_PIECE_BYTES within the state (its end
 * included). ERR_INVALID: it is not. */
enum err store_snapshot_reader_seek(struct store_snapshot_reader *reader, uint64_t offset,
                                    struct err_text *text);

#endif
