/* The log on disk: segments of records, each entry one record.
 *
 * Files in the log's directory: log-<number in 16 hex digits>, numbered without gaps. A segment is
 * zero-filled and synced before it gets its name, so an append changes no file size and no
 * directory: one write and one fdatasync.
 *
 *   header page   magic, format, minimum reader, cluster id, number; CRC32C
 *   mark page     two slots, each in a sector of its own: `synced_to`
 *   records       8-byte aligned: CRC32C seeded with segment number and index | length, kind, term,
 *                 index | payload | zeros to the alignment; a zero header ends the segment
 *
 * After each sync that worked, the mark says up to which index. It is only written: the next sync
 * of the same file carries it to the disk, so it is at most one batch late and never too high. At
 * open a bad record ABOVE the mark is a torn tail: a write that nobody was told of; it is cut, and
 * everything behind is zeroed before anything else is written, so that no old record can come back.
 * A bad record AT or BELOW the mark was acknowledged and has rotted: open reports it and changes
 * nothing. Valid records above the mark may live in the page cache alone (a sync that failed, a
 * process that died before it), so open writes them again and syncs before it reports them; for the
 * same reason it syncs the directory.
 *
 * A failed fdatasync is never tried again: Linux marks the lost pages clean, so the second call
 * would succeed and lie (Rebello et al., "Can Applications Recover from fsync Failures?", 2020).
 * The log is then in a failed state, which every later call reports.
 *
 * A full disk: a spare segment is kept (the reserve). When no further segment can be made, the log
 * goes on in the spare one and store_log_has_space says false: the caller then refuses new work
 * but can still write its own few entries, take a snapshot and compact.
 *
 * One thread at a time, except store_log_read and store_log_has_space. */
#ifndef STORE_LOG_H
#define STORE_LOG_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/uuid.h"

struct store_entry {
    uint64_t index;
    uint64_t term;
    uint8_t kind;        /* the caller's, never 0 */
    const void *payload; /* borrowed; may be NULL if size is 0 */
    uint32_t size;       /* <= LIMIT_ENTRY_BYTES */
};

/* Entries from `first` up to the next run are all of `term`. */
struct store_log_run {
    uint64_t first;
    uint64_t term;
};

struct store_log_options {
    const char *directory; /* exists, by store_directory_make: its own name must be durable, too */
    struct uuid cluster;
    uint32_t segment_bytes; /* 0: LIMIT_LOG_SEGMENT_BYTES. Tests use small ones. */
    /* Rot at or below the mark is cut off like a torn tail, down to an empty log. Only for a server
     * that has durably noted (store/repair.h) that it has forgotten what it acknowledged. */
    bool cut_rot;
    uint32_t first_bytes; /* size of the very first segment, which delays a first start; 0: auto */
};

/* What open found. */
struct store_log_found {
    uint64_t first; /* first index held; last + 1 if the log is empty */
    uint64_t last;  /* 0 if no entry was ever written */
    uint64_t synced_to;
    bool cut;            /* a torn tail was removed */
    uint64_t bad_index;  /* with ERR_CORRUPT or cut_rot: first index that cannot be read, else 0 */
    uint32_t runs_count; /* terms of first .. last */
    struct store_log_run *runs; /* the caller frees it with free() */
};

/* Called with each entry in order; the payload is borrowed for the call. */
typedef void (*store_entry_fn)(void *context, const struct store_entry *entry);

struct store_log;

/* Opens or creates. `visit` (may be NULL) sees every entry during the one pass over the disk,
 * before it is known whether open succeeds. Errors (text tells the file and what to do):
 *   ERR_CORRUPT  rot at or below the mark: found.bad_index; nothing was changed. With cut_rot it
 *                is no error, and entries above found.last that `visit` saw do not count.
 *   ERR_FOREIGN  not a log, or another cluster's;  ERR_VERSION  of a newer program
 *   ERR_IO, ERR_NO_SPACE
 * ret_found is filled in for ERR_OK and ERR_CORRUPT. */
enum err store_log_open(const struct store_log_options *options, store_entry_fn visit,
                        void *context, struct store_log **ret_log,
                        struct store_log_found *ret_found, struct err_text *text);
/* Closes without a sync; NULL is allowed. */
void store_log_close(struct store_log *log);

/* Writes entries behind the last one; they are durable after the next sync. Indexes go up by one
 * from the log's last (any first index if the log is empty). ERR_NO_SPACE: nothing of the batch
 * counts as written; the same entries may be appended again later. ERR_IO: the log has failed. */
enum err store_log_append_batch(struct store_log *log, const struct store_entry *entries,
                                uint32_t count, struct err_text *text);
/* Makes what was appended durable. Any error means that the log has failed. */
enum err store_log_sync(struct store_log *log, struct err_text *text);
/* Drops entries from index `from` on, durably on return: nothing that is appended later can let
 * them come back. Any error means that the log has failed. */
enum err store_log_truncate(struct store_log *log, uint64_t from, struct err_text *text);
/* Drops all entries; the next append may have any index. As durable, and as deadly in failure. A
 * crash in between leaves a log that ends earlier. */
enum err store_log_reset(struct store_log *log, struct err_text *text);
/* Drops whole segments whose entries are all at or below index; the newest segment stays.
 * An error leaves files behind, which the next call or open removes. */
enum err store_log_compact(struct store_log *log, uint64_t index, struct err_text *text);
/* Makes the spare segments that are missing, at most `bytes_max` bytes a call; false when none is
 * missing or there is no space. Called between batches, off the append path. */
bool store_log_prepare(struct store_log *log, uint32_t bytes_max);

/* Entries first .. last in order, while payloads sum up to at most bytes_max (the first always
 * passes). Any thread, for entries already synced. ret_next: the index to go on with.
 * ERR_NOT_FOUND: compacted away or not yet written; ERR_CORRUPT: rot; ERR_IO. */
enum err store_log_read(struct store_log *log, uint64_t first, uint64_t last, size_t bytes_max,
                        store_entry_fn visit, void *context, uint64_t *ret_next,
                        struct err_text *text);

/* False while the disk has no room for the spare segments. Any thread. */
bool store_log_has_space(const struct store_log *log);
uint64_t store_log_first(const struct store_log *log);
uint64_t store_log_last(const struct store_log *log);
/* Bytes of records held, for the snapshot trigger. Any thread. */
uint64_t store_log_bytes(const struct store_log *log);

#endif
