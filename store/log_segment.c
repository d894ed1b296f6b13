/* Segment files: made ahead of use, extended, given up. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "store/log_internal.h"

void segment_path(const struct store_log *log, uint64_t number, char out[FORMAT_PATH_BYTES]) {
    char name[FORMAT_NAME_BYTES];
    format_number_name(name, LOG_PREFIX, number);
    enum err err = format_path(out, log->directory, name, NULL);
    ASSERT(err == ERR_OK); /* open checked that the longest name fits */
}

struct segment *segment_create(uint64_t number, struct store_file *file, uint64_t capacity) {
    struct segment *segment = mem_calloc(1, sizeof *segment);
    segment->number = number;
    segment->file = file;
    segment->capacity = capacity;
    segment->end = LOG_RECORDS_OFFSET;
    return segment;
}

void segment_destroy(struct segment *segment) {
    if (segment != NULL) {
        store_file_close(segment->file);
        free(segment->points);
        free(segment);
    }
}

void segment_add_record(struct segment *segment, uint64_t index, uint64_t bytes) {
    ASSERT(segment->end + bytes <= segment->capacity);
    ASSERT(segment->first == 0 || index == segment->last + 1);
    if (segment->point_count == 0 ||
        segment->end - segment->points[segment->point_count - 1].offset >= POINT_DISTANCE_BYTES) {
        if (segment->point_count == segment->point_capacity) {
            segment->point_capacity += segment->point_capacity + 4;
            segment->points =
                mem_realloc(segment->points, segment->point_capacity * sizeof *segment->points);
        }
        segment->points[segment->point_count++] =
            (struct log_point){.index = index, .offset = segment->end};
    }
    if (segment->first == 0) {
        segment->first = index;
    }
    segment->last = index;
    segment->end += bytes;
}

void log_push_segment(struct store_log *log, struct segment *segment) {
    pthread_mutex_lock(&log->mutex);
    if (log->segment_count == log->segment_capacity) {
        log->segment_capacity += log->segment_capacity + 4;
        log->segments =
            mem_realloc(log->segments, log->segment_capacity * sizeof(struct segment *));
    }
    log->segments[log->segment_count++] = segment;
    pthread_mutex_unlock(&log->mutex);
}

static uint64_t next_number(const struct store_log *log) {
    return log->segment_count == 0 ? 1 : log->segments[log->segment_count - 1]->number + 1;
}

static enum err temporary_path(const struct store_log *log, char out[FORMAT_PATH_BYTES],
                               struct err_text *text) {
    return format_path(out, log->directory, LOG_TEMPORARY, text);
}

void log_drop_preparation(struct store_log *log) {
    char path[FORMAT_PATH_BYTES];
    if (log->preparation.file == NULL) {
        return;
    }
    store_file_close(log->preparation.file);
    if (temporary_path(log, path, NULL) == ERR_OK) {
        (void)store_file_unlink(path, NULL); /* else the next open removes it */
    }
    log->preparation = (struct preparation){0};
}

/* One step of at most bytes_max zeros; then, whole and synced, the file gets its name. */
static enum err step_preparation(struct store_log *log, uint64_t size, uint64_t bytes_max,
                                 bool *ret_done, struct err_text *text) {
    struct preparation *preparation = &log->preparation;
    char temporary[FORMAT_PATH_BYTES], path[FORMAT_PATH_BYTES];
    enum err err = temporary_path(log, temporary, text);
    if (err == ERR_OK && preparation->file == NULL) {
        *preparation = (struct preparation){0};
        err = store_file_open(temporary, STORE_FILE_CREATE, &preparation->file, text);
    }
    if (err != ERR_OK) {
        return err;
    }
    preparation->size = preparation->size < size ? size : preparation->size;
    uint64_t to = preparation->size - preparation->filled < bytes_max
                      ? preparation->size
                      : preparation->filled + bytes_max;
    err = format_zero_fill(preparation->file, preparation->filled, to, text);
    preparation->filled = to;
    if (err == ERR_OK && to < preparation->size) {
        /* Step by step, so that an append never waits behind the sync of a whole segment. */
        err = store_file_sync(preparation->file, text);
    }
    if (err != ERR_OK || to < preparation->size) {
        return err;
    }
    uint8_t header[FORMAT_HEADER_BYTES];
    uint64_t number = next_number(log);
    format_encode_header(header, LOG_MAGIC, &log->cluster, number);
    segment_path(log, number, path);
    err = store_file_write(preparation->file, 0, header, sizeof header, text);
    if (err == ERR_OK) {
        err = store_file_sync(preparation->file, text);
    }
    if (err == ERR_OK) {
        err = store_file_rename(temporary, path, text);
    }
    if (err == ERR_OK && !MUTANT(segment_directory_not_synced)) {
        err = store_directory_sync(log->directory, text);
    }
    if (err != ERR_OK) {
        return err;
    }
    log_push_segment(log, segment_create(number, preparation->file, preparation->size));
    *preparation = (struct preparation){0};
    *ret_done = true;
    return ERR_OK;
}

enum err log_make_segment(struct store_log *log, uint64_t size, struct err_text *text) {
    bool done = false;
    enum err err = step_preparation(log, size, UINT64_MAX, &done, text);
    if (err != ERR_OK) {
        log_drop_preparation(log);
    }
    atomic_store(&log->no_space, err == ERR_NO_SPACE);
    ASSERT(done == (err == ERR_OK));
    return err;
}

enum err log_extend_segment(struct segment *segment, uint64_t size, struct err_text *text) {
    ASSERT(segment->first == 0);
    enum err err = format_zero_fill(segment->file, segment->capacity, size, text);
    if (err == ERR_OK) {
        segment->capacity = size;
    }
    return err;
}

bool store_log_prepare(struct store_log *log, uint32_t bytes_max) {
    /* Two spares: the next one, and the reserve, which only a full disk makes us use. */
    if (atomic_load(&log->failed) || log->segment_count - 1 - log->active >= 2) {
        return false;
    }
    bool done = false;
    enum err err = step_preparation(log, log->segment_bytes, bytes_max, &done, NULL);
    if (err != ERR_OK) {
        log_drop_preparation(log);
    }
    if ((err != ERR_OK || done) && !MUTANT(full_disk_unnoticed)) {
        atomic_store(&log->no_space, err == ERR_NO_SPACE);
    }
    return err == ERR_OK && log->segment_count - 1 - log->active < 2;
}

void log_write_mark(struct store_log *log) {
    uint8_t bytes[LOG_MARK_BYTES];
    struct segment *segment = log->segments[log->active];
    mark_encode(bytes, segment->number, log->synced_to);
    uint64_t offset = LOG_MARK_OFFSET + (uint64_t)log->mark_slot * FORMAT_SECTOR_BYTES;
    if (store_file_write(segment->file, offset, bytes, sizeof bytes, NULL) == ERR_OK) {
        log->mark_slot ^= 1u;
    }
}
