/* Reading entries back, on any thread, beside the one that appends. */
#include <stdlib.h>

#include "base/mem.h"
#include "store/log_internal.h"

#define CHUNK_BYTES (256 * 1024)

/* The segment that holds index, pinned, and a place at or before its record; NULL: none. */
static struct segment *pin(struct store_log *log, uint64_t index, struct log_point *ret_from,
                           uint64_t *ret_end) {
    struct segment *found = NULL;
    pthread_mutex_lock(&log->mutex);
    if (index >= log->first && index <= log->synced_to) {
        for (uint32_t i = 0; i < log->segment_count && found == NULL; i++) {
            struct segment *segment = log->segments[i];
            found = segment->first != 0 && segment->last >= index ? segment : NULL;
        }
    }
    if (found != NULL) {
        uint32_t at = found->point_count - 1;
        while (at > 0 && found->points[at].index > index) {
            at--;
        }
        *ret_from = found->points[at];
        *ret_end = found->end;
        found->readers++;
    }
    pthread_mutex_unlock(&log->mutex);
    return found;
}

static void unpin(struct store_log *log, struct segment *segment) {
    pthread_mutex_lock(&log->mutex);
    bool last = --segment->readers == 0 && segment->dropped;
    pthread_mutex_unlock(&log->mutex);
    if (last) {
        segment_destroy(segment);
    }
}

struct reading {
    uint64_t next; /* the index that comes next */
    uint64_t last;
    uint64_t from; /* entries below are walked over */
    size_t bytes_left;
    bool any;  /* one was handed out */
    bool full; /* the next one would exceed the bytes */
    store_entry_fn visit;
    void *context;
};

/* Hands out the records in data; returns the bytes used. */
static uint64_t take_records(struct reading *reading, const uint8_t *data, uint64_t size,
                             uint64_t number, bool *ret_bad) {
    uint64_t at = 0;
    while (reading->next <= reading->last && size - at >= RECORD_HEADER_BYTES) {
        uint64_t bytes = record_bytes(get_u32(data + at + 4));
        if (bytes > size - at) {
            break;
        }
        struct store_entry entry;
        if (record_decode(data + at, bytes, number, reading->next, &entry) != RECORD_VALID) {
            *ret_bad = true;
            break;
        }
        if (entry.index >= reading->from) {
            if (reading->any && entry.size > reading->bytes_left) {
                reading->full = true;
                break;
            }
            reading->bytes_left -=
                entry.size < reading->bytes_left ? entry.size : reading->bytes_left;
            reading->any = true;
            reading->visit(reading->context, &entry);
        }
        reading->next++;
        at += bytes;
    }
    return at;
}

/* Reads on in one segment until it, the wish or the bytes end. */
static enum err read_segment(struct reading *reading, const struct segment *segment,
                             uint64_t offset, uint64_t end, uint64_t segment_last,
                             struct err_text *text) {
    size_t capacity = CHUNK_BYTES;
    uint8_t *data = mem_alloc(capacity);
    enum err err = ERR_OK;
    while (err == ERR_OK && !reading->full && reading->next <= reading->last &&
           reading->next <= segment_last) {
        size_t size = 0;
        bool bad = false;
        size_t want = end - offset < capacity ? (size_t)(end - offset) : capacity;
        err = store_file_read(segment->file, offset, data, want, &size, text);
        if (err != ERR_OK) {
            break;
        }
        uint64_t used = take_records(reading, data, size, segment->number, &bad);
        offset += used;
        bool larger = used == 0 && size == capacity && !bad && !reading->full;
        if (larger) { /* than the chunk is the next record */
            capacity = record_bytes(get_u32(data + 4)) < end - offset
                           ? record_bytes(get_u32(data + 4))
                           : (size_t)(end - offset);
            larger = capacity > size;
            data = mem_realloc(data, capacity);
        }
        if (bad || (used == 0 && !larger && !reading->full)) {
            err = err_set(text, ERR_CORRUPT, "the log's entry %llu fails its checksum",
                          (unsigned long long)reading->next);
        }
    }
    free(data);
    return err;
}

static bool was_cut(struct store_log *log, uint64_t index) {
    pthread_mutex_lock(&log->mutex);
    bool cut = index > log->synced_to;
    pthread_mutex_unlock(&log->mutex);
    return cut;
}

enum err store_log_read(struct store_log *log, uint64_t first, uint64_t last, size_t bytes_max,
                        store_entry_fn visit, void *context, uint64_t *ret_next,
                        struct err_text *text) {
    struct reading reading = {
        .from = first, .last = last, .bytes_left = bytes_max, .visit = visit, .context = context};
    uint64_t next = first;
    while (next <= last && !reading.full) {
        struct log_point from;
        uint64_t end;
        struct segment *segment = pin(log, next, &from, &end);
        if (segment == NULL) {
            if (reading.any) {
                break; /* what is synced ends here */
            }
            return err_set(text, ERR_NOT_FOUND, "the log does not hold entry %llu",
                           (unsigned long long)next);
        }
        reading.next = from.index;
        uint64_t limit = last;
        pthread_mutex_lock(&log->mutex);
        limit = limit > log->synced_to ? log->synced_to : limit;
        uint64_t segment_last = segment->last;
        pthread_mutex_unlock(&log->mutex);
        reading.last = limit;
        enum err err = read_segment(&reading, segment, from.offset, end, segment_last, text);
        unpin(log, segment);
        if (err != ERR_OK) {
            return was_cut(log, reading.next)
                       ? err_set(text, ERR_NOT_FOUND, "the log has been cut meanwhile")
                       : err;
        }
        next = reading.next;
    }
    *ret_next = next;
    return ERR_OK;
}
