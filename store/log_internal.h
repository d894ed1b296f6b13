/* Segments and records: what the files of the log share. Internal to the folder. */
#ifndef STORE_LOG_INTERNAL_H
#define STORE_LOG_INTERNAL_H

#include <pthread.h>
#include <stdatomic.h>

#include "store/file.h"
#include "store/format.h"
#include "store/log.h"

#define LOG_MAGIC "cairnlog"
#define LOG_PREFIX "log-"
#define LOG_TEMPORARY "log-next.tmp"

/* Header page, mark page, records. */
#define LOG_MARK_OFFSET FORMAT_PAGE_BYTES
#define LOG_MARK_SLOTS 2
#define LOG_MARK_BYTES                                                                             \
    16 /* synced_to | zeros | CRC32C seeded with the segment's number (at 12)                      \
        */
#define LOG_RECORDS_OFFSET (2 * FORMAT_PAGE_BYTES)

/* A record: CRC32C | payload size (u32 each) | index | term (u64 each) | kind (u8) | zeros. */
#define RECORD_HEADER_BYTES 32
#define RECORD_ALIGNMENT 8

/* A reader jumps to the point before an index and walks from there. */
#define POINT_DISTANCE_BYTES (32 * 1024)

struct log_point {
    uint64_t index;
    uint64_t offset;
};

struct segment {
    uint64_t number;
    struct store_file *file;
    uint64_t first; /* 0: holds no records */
    uint64_t last;
    uint64_t end;      /* offset behind the last record; >= LOG_RECORDS_OFFSET */
    uint64_t capacity; /* zero-filled up to here; >= end */
    struct log_point *points;
    uint32_t point_count;
    uint32_t point_capacity;
    uint32_t readers; /* guarded by the log's mutex */
    bool dropped;     /* the last reader frees it */
};

/* A spare segment that is being zero-filled step by step under a temporary name. */
struct preparation {
    struct store_file *file; /* NULL: none */
    uint64_t filled;
    uint64_t size;
};

struct store_log {
    char directory[FORMAT_PATH_BYTES];
    struct uuid cluster;
    uint64_t segment_bytes;
    uint64_t first_bytes;

    /* Guards the segments, first, last and synced_to against store_log_read. Only the owner changes
     * them, so it reads them without. */
    pthread_mutex_t mutex;
    struct segment **segments; /* numbers rise by one */
    uint32_t segment_count;    /* > 0 once open */
    uint32_t segment_capacity;
    uint32_t active; /* the one being appended to; those behind it are empty spares */
    uint64_t first;
    uint64_t last;
    uint64_t synced_to; /* <= last */

    bool dirty;          /* segments[dirty_from .. active] were written since the last sync */
    uint32_t dirty_from; /* <= active */
    unsigned mark_slot;  /* to be written next */
    struct preparation preparation;
    uint8_t *scratch;
    size_t scratch_bytes;

    atomic_bool failed;
    atomic_bool no_space;
    atomic_uint_fast64_t bytes; /* of records */
};

/* log_record.c */
static inline uint64_t record_bytes(uint32_t payload_bytes) {
    return ((uint64_t)RECORD_HEADER_BYTES + payload_bytes + RECORD_ALIGNMENT - 1) &
           ~(uint64_t)(RECORD_ALIGNMENT - 1);
}

enum record_state {
    RECORD_VALID,
    RECORD_NONE, /* zeros, or no room for a header */
    RECORD_BAD,
};

/* out has record_bytes(entry->size) bytes. */
void record_encode(uint8_t *out, uint64_t segment_number, const struct store_entry *entry);
/* expected: the index that must be there; 0: whichever it claims. size: bytes that follow `in`. */
enum record_state record_decode(const uint8_t *in, uint64_t size, uint64_t segment_number,
                                uint64_t expected, struct store_entry *ret_entry);
void mark_encode(uint8_t out[LOG_MARK_BYTES], uint64_t segment_number, uint64_t synced_to);
/* RECORD_NONE: never written. */
enum record_state mark_decode(const uint8_t in[LOG_MARK_BYTES], uint64_t segment_number,
                              uint64_t *ret_synced_to);

/* log_segment.c */
void segment_path(const struct store_log *log, uint64_t number, char out[FORMAT_PATH_BYTES]);
struct segment *segment_create(uint64_t number, struct store_file *file, uint64_t capacity);
void segment_destroy(struct segment *segment);
/* Counts a record at `end` in; its bytes are the caller's matter. */
void segment_add_record(struct segment *segment, uint64_t index, uint64_t bytes);
void log_push_segment(struct store_log *log, struct segment *segment);
/* Makes a segment behind the last one, of at least size bytes, at once. */
enum err log_make_segment(struct store_log *log, uint64_t size, struct err_text *text);
/* Zero-fills an empty segment further, so that it has size bytes. */
enum err log_extend_segment(struct segment *segment, uint64_t size, struct err_text *text);
void log_drop_preparation(struct store_log *log);
/* Written, not synced; a failure only means that the mark stays lower than it could be. */
void log_write_mark(struct store_log *log);

/* log_cut.c */
/* Durable: segment number `at` says synced_to, those behind it say nothing. */
enum err log_lower_marks(struct store_log *log, uint32_t at, uint64_t synced_to,
                         struct err_text *text);

/* log_open.c */
uint8_t *log_scratch(struct store_log *log, size_t bytes);
void log_trim_scratch(struct store_log *log);

#endif
