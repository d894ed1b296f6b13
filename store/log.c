/* Appending, syncing and compacting. */
#include "store/log.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "store/log_internal.h"

#define SCRATCH_KEPT_BYTES (64 * 1024)

uint8_t *log_scratch(struct store_log *log, size_t bytes) {
    if (log->scratch_bytes < bytes) {
        free(log->scratch);
        log->scratch = mem_alloc(bytes);
        log->scratch_bytes = bytes;
    }
    return log->scratch;
}

void log_trim_scratch(struct store_log *log) {
    if (log->scratch_bytes > SCRATCH_KEPT_BYTES) {
        free(log->scratch);
        log->scratch = NULL;
        log->scratch_bytes = 0;
    }
}

void store_log_close(struct store_log *log) {
    if (log == NULL) {
        return;
    }
    log_drop_preparation(log);
    for (uint32_t i = 0; i < log->segment_count; i++) {
        ASSERT(log->segments[i]->readers == 0);
        segment_destroy(log->segments[i]);
    }
    free(log->segments);
    free(log->scratch);
    pthread_mutex_destroy(&log->mutex);
    free(log);
}

static enum err refuse_failed(const struct store_log *log, struct err_text *text) {
    return err_set(text, ERR_IO, "the log in %s can no longer be written: an earlier write failed",
                   log->directory);
}

/* Finds or makes room for the whole batch before any of it is written, so that a full disk leaves
 * no half batch. */
static enum err make_room(struct store_log *log, const struct store_entry *entries, uint32_t count,
                          struct err_text *text) {
    uint32_t at = log->active;
    uint64_t end = log->segments[at]->end;
    for (uint32_t i = 0; i < count; i++) {
        uint64_t bytes = record_bytes(entries[i].size);
        enum err err = ERR_OK;
        if (end + bytes > log->segments[at]->capacity && end > LOG_RECORDS_OFFSET) {
            at++;
            end = LOG_RECORDS_OFFSET;
            uint64_t size = end + bytes > log->segment_bytes ? end + bytes : log->segment_bytes;
            err = at == log->segment_count ? log_make_segment(log, size, text) : ERR_OK;
        }
        if (err == ERR_OK && end + bytes > log->segments[at]->capacity) {
            err = log_extend_segment(log->segments[at], end + bytes, text);
        }
        if (err != ERR_OK) {
            return err;
        }
        end += bytes;
    }
    return ERR_OK;
}

/* Writes those entries that fit the active segment; returns how many through ret_count. */
static enum err append_some(struct store_log *log, const struct store_entry *entries,
                            uint32_t count, uint32_t *ret_count, struct err_text *text) {
    struct segment *segment = log->segments[log->active];
    uint64_t room = segment->capacity - segment->end;
    uint64_t bytes = 0;
    uint32_t fit = 0;
    while (fit < count && bytes + record_bytes(entries[fit].size) <= room) {
        bytes += record_bytes(entries[fit].size);
        fit++;
    }
    *ret_count = fit;
    if (fit == 0) {
        return ERR_OK;
    }
    uint8_t *out = log_scratch(log, bytes);
    uint64_t used = 0;
    for (uint32_t i = 0; i < fit; i++) {
        record_encode(out + used, segment->number, &entries[i]);
        used += record_bytes(entries[i].size);
    }
    enum err err = store_file_write(segment->file, segment->end, out, bytes, text);
    if (err != ERR_OK) {
        return err;
    }
    pthread_mutex_lock(&log->mutex);
    for (uint32_t i = 0; i < fit; i++) {
        segment_add_record(segment, entries[i].index, record_bytes(entries[i].size));
    }
    log->first = log->last == 0 ? entries[0].index : log->first;
    log->last = entries[fit - 1].index;
    pthread_mutex_unlock(&log->mutex);
    atomic_fetch_add(&log->bytes, bytes);
    return ERR_OK;
}

enum err store_log_append_batch(struct store_log *log, const struct store_entry *entries,
                                uint32_t count, struct err_text *text) {
    if (atomic_load(&log->failed)) {
        return refuse_failed(log, text);
    }
    ASSERT(count > 0);
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(entries[i].index == (i > 0 ? entries[i - 1].index : log->last) + 1 ||
               (i == 0 && log->last == 0));
        ASSERT(entries[i].size <= LIMIT_ENTRY_BYTES);
    }
    enum err err = make_room(log, entries, count, text);
    if (err == ERR_NO_SPACE) {
        return err;
    }
    if (err == ERR_OK && !log->dirty) {
        log->dirty = true;
        log->dirty_from = log->active;
    }
    for (uint32_t done = 0, some; err == ERR_OK && done < count; done += some) {
        err = append_some(log, entries + done, count - done, &some, text);
        if (err == ERR_OK && done + some < count) {
            log->active++;
            ASSERT(log->active < log->segment_count);
            log_write_mark(log); /* the next sync would not carry the one in the segment before */
        }
    }
    log_trim_scratch(log);
    if (err != ERR_OK) {
        /* Part of a record may be in the file; only an open may clean up behind it. */
        atomic_store(&log->failed, true);
        return err_set(text, ERR_IO, "the log in %s cannot be written", log->directory);
    }
    if (MUTANT(mark_before_sync)) {
        log->synced_to = log->last;
        log_write_mark(log);
    }
    return ERR_OK;
}

enum err store_log_sync(struct store_log *log, struct err_text *text) {
    if (atomic_load(&log->failed) && !MUTANT(sync_retried)) {
        return refuse_failed(log, text);
    }
    if (!log->dirty) {
        return ERR_OK;
    }
    for (uint32_t i = log->dirty_from; i <= log->active && !MUTANT(ack_before_sync); i++) {
        if (MUTANT(sync_last_segment_only) && i < log->active) {
            continue;
        }
        enum err err = store_file_sync(log->segments[i]->file, text);
        if (err != ERR_OK && MUTANT(sync_retried)) {
            err = store_file_sync(log->segments[i]->file, text);
        }
        if (err != ERR_OK) {
            atomic_store(&log->failed, true);
            err_prefix(text, "the log can no longer be trusted to reach the disk");
            return ERR_IO;
        }
    }
    log->dirty = false;
    pthread_mutex_lock(&log->mutex);
    log->synced_to = log->last;
    pthread_mutex_unlock(&log->mutex);
    log_write_mark(log);
    return ERR_OK;
}

/* Segments that are out of the log's sight but may still have readers. */
static void drop_oldest(struct store_log *log, uint32_t count) {
    pthread_mutex_lock(&log->mutex);
    for (uint32_t i = 0; i < count; i++) {
        struct segment *segment = log->segments[i];
        atomic_fetch_sub(&log->bytes, segment->end - LOG_RECORDS_OFFSET);
        segment->dropped = true;
        if (segment->readers == 0) {
            segment_destroy(segment);
        }
    }
    log->segment_count -= count;
    memmove(log->segments, log->segments + count, log->segment_count * sizeof(struct segment *));
    log->active -= count;
    log->dirty_from -= log->dirty ? count : 0;
    log->first = log->segments[0]->first;
    pthread_mutex_unlock(&log->mutex);
}

enum err store_log_compact(struct store_log *log, uint64_t index, struct err_text *text) {
    uint32_t count = 0;
    uint32_t keep = log->dirty ? log->dirty_from : log->active; /* never what a sync will touch */
    enum err err = ERR_OK;
    while (count < keep && log->segments[count]->last <= index && err == ERR_OK) {
        char path[FORMAT_PATH_BYTES];
        segment_path(log, log->segments[count]->number, path);
        /* Oldest first: a crash leaves a log that begins later, not one with a hole. */
        err = store_file_unlink(path, text);
        err = err == ERR_NOT_FOUND ? ERR_OK : err;
        count += err == ERR_OK;
    }
    if (count > 0) {
        drop_oldest(log, count);
        enum err synced = store_directory_sync(log->directory, text);
        err = err == ERR_OK ? synced : err;
    }
    return err;
}

bool store_log_has_space(const struct store_log *log) {
    return !atomic_load(&log->no_space);
}

uint64_t store_log_first(const struct store_log *log) {
    return log->first;
}

uint64_t store_log_last(const struct store_log *log) {
    return log->last;
}

uint64_t store_log_bytes(const struct store_log *log) {
    return atomic_load(&log->bytes);
}
