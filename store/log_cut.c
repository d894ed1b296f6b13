/* Taking entries off the end: a conflicting suffix, or everything behind a snapshot.
 *
 * The marks come down first, durably: else a crash half way would look like rot. Then what is cut
 * is zeroed, durably, before anything new is written: an old record that happened to follow a new
 * one would else come back to life. Segments behind the cut become empty spares, so the numbers
 * stay without gaps. */
#include <string.h>

#include "base/assert.h"
#include "base/mutant.h"
#include "store/log_internal.h"

static enum err fail(struct store_log *log, struct err_text *text) {
    atomic_store(&log->failed, true);
    return err_set(text, ERR_IO, "the log in %s cannot be cut", log->directory);
}

enum err log_lower_marks(struct store_log *log, uint32_t at, uint64_t synced_to,
                         struct err_text *text) {
    enum err err = ERR_OK;
    for (uint32_t i = at; i < log->segment_count && err == ERR_OK; i++) {
        const struct segment *segment = log->segments[i];
        uint8_t bytes[LOG_MARK_BYTES] = {0};
        if (i == at) {
            mark_encode(bytes, segment->number, synced_to);
        }
        for (unsigned slot = 0; slot < LOG_MARK_SLOTS && err == ERR_OK; slot++) {
            uint64_t offset = LOG_MARK_OFFSET + (uint64_t)slot * FORMAT_SECTOR_BYTES;
            err = store_file_write(segment->file, offset, bytes, sizeof bytes, text);
        }
        if (err == ERR_OK) {
            err = store_file_sync(segment->file, text);
        }
    }
    return err;
}

/* Where the record of index begins. */
static enum err find_offset(const struct segment *segment, uint64_t index, uint64_t *ret_offset,
                            uint32_t *ret_points, struct err_text *text) {
    uint32_t at = segment->point_count - 1;
    while (at > 0 && segment->points[at].index > index) {
        at--;
    }
    struct log_point point = segment->points[at];
    *ret_points = point.index < index ? at + 1 : at;
    for (; point.index < index; point.index++) {
        uint8_t head[RECORD_HEADER_BYTES];
        size_t size = 0;
        enum err err = store_file_read(segment->file, point.offset, head, sizeof head, &size, text);
        if (err != ERR_OK || size < sizeof head) {
            return ERR_IO;
        }
        point.offset += record_bytes(get_u32(head + 4));
        if (point.offset > segment->end) {
            return ERR_IO; /* rot has changed a size */
        }
    }
    *ret_offset = point.offset;
    return ERR_OK;
}

/* In memory: the segment ends before index, at offset; 0: it is empty. */
static void shorten(struct store_log *log, struct segment *segment, uint64_t index, uint64_t offset,
                    uint32_t points) {
    atomic_fetch_sub(&log->bytes, segment->end - offset);
    segment->end = offset;
    segment->last = index - 1;
    segment->point_count = points;
    if (offset == LOG_RECORDS_OFFSET) {
        segment->first = segment->last = 0;
    }
}

static enum err zero(const struct segment *segment, uint64_t from, uint64_t to,
                     struct err_text *text) {
    if (from == to) {
        return ERR_OK;
    }
    enum err err = format_zero_fill(segment->file, from, to, text);
    return err == ERR_OK ? store_file_sync(segment->file, text) : err;
}

enum err store_log_truncate(struct store_log *log, uint64_t from, struct err_text *text) {
    if (atomic_load(&log->failed)) {
        return err_set(text, ERR_IO, "the log in %s has failed", log->directory);
    }
    if (from > log->last) {
        return ERR_OK;
    }
    if (from <= log->first) {
        return store_log_reset(log, text);
    }
    uint32_t at = log->active;
    while (log->segments[at]->first == 0 || log->segments[at]->first >= from) {
        ASSERT(at > 0);
        at--;
    }
    uint64_t offset = 0;
    uint32_t points = 0;
    uint64_t synced_to = log->synced_to < from ? log->synced_to : from - 1;
    uint32_t end = log->active;
    enum err err = find_offset(log->segments[at], from, &offset, &points, text);
    if (err == ERR_OK && log->synced_to >= from) {
        err = log_lower_marks(log, at, synced_to, text);
    }
    for (uint32_t i = end; i > at && err == ERR_OK; i--) {
        err = zero(log->segments[i], LOG_RECORDS_OFFSET, log->segments[i]->end, text);
    }
    if (err == ERR_OK) {
        err = zero(log->segments[at], offset, log->segments[at]->end, text);
    }
    if (err != ERR_OK) {
        return fail(log, text);
    }
    pthread_mutex_lock(&log->mutex);
    for (uint32_t i = end; i > at; i--) {
        shorten(log, log->segments[i], from, LOG_RECORDS_OFFSET, 0);
    }
    shorten(log, log->segments[at], from, offset, points);
    log->active = at;
    log->last = from - 1;
    log->synced_to = synced_to;
    if (log->dirty && log->dirty_from > at) {
        log->dirty_from = at;
    }
    pthread_mutex_unlock(&log->mutex);
    return ERR_OK;
}

/* Newest first, each for certain before the next: whatever is left is a log that ends earlier. */
static enum err remove_segments(struct store_log *log, struct err_text *text) {
    enum err err = ERR_OK;
    for (uint32_t i = log->segment_count; i > 0 && err == ERR_OK; i--) {
        char path[FORMAT_PATH_BYTES];
        segment_path(log, log->segments[i - 1]->number, path);
        err = store_file_unlink(path, text);
        if (err == ERR_OK) {
            err = store_directory_sync(log->directory, text);
        }
    }
    return err;
}

enum err store_log_reset(struct store_log *log, struct err_text *text) {
    if (atomic_load(&log->failed)) {
        return err_set(text, ERR_IO, "the log in %s has failed", log->directory);
    }
    log_drop_preparation(log);
    enum err err = remove_segments(log, text);
    pthread_mutex_lock(&log->mutex);
    for (uint32_t i = 0; i < log->segment_count; i++) {
        struct segment *segment = log->segments[i];
        segment->dropped = true;
        if (segment->readers == 0) {
            segment_destroy(segment);
        }
    }
    log->segment_count = 0;
    log->active = log->dirty_from = 0;
    log->dirty = false;
    log->first = 1;
    log->last = log->synced_to = 0;
    log->mark_slot = 0;
    pthread_mutex_unlock(&log->mutex);
    atomic_store(&log->bytes, 0);
    if (err == ERR_OK) {
        err = log_make_segment(log, log->segment_bytes, text);
    }
    return err == ERR_OK ? ERR_OK : fail(log, text);
}
