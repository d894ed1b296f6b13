/* Opening: one pass over the disk tells whole records, a torn tail and rot apart, then the torn
 * tail is cut. Nothing is written before the verdict. */
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "store/log_internal.h"

#define FIRST_SEGMENT_BYTES (1024 * 1024)
#define WINDOW_BYTES (256 * 1024)

struct numbers {
    uint64_t *v;
    uint32_t count;
    uint32_t capacity;
    bool temporary; /* an unfinished spare lies about */
};

/* One segment as the scan saw it. */
struct look {
    uint64_t unsynced_from; /* offset of the first record above the mark; == end: none */
    bool dirt;              /* bytes that are not zero behind the last record */
};

struct scan {
    struct store_log *log;
    store_entry_fn visit;
    void *context;
    struct look *looks; /* of each segment */
    uint64_t mark;
    bool mark_damaged; /* a slot is rotten: how high the mark was is not known */
    bool cut_rot;
    bool scanned; /* all segments could be read */
    bool stopped; /* the records end; whatever follows is no part of the log */
    struct store_log_run *runs;
    uint32_t run_count;
    uint32_t run_capacity;
};

static void collect_name(void *context, const char *name) {
    struct numbers *numbers = context;
    uint64_t number;
    if (strcmp(name, LOG_TEMPORARY) == 0) {
        numbers->temporary = true;
    }
    if (!format_parse_name(name, LOG_PREFIX, &number)) {
        return;
    }
    if (numbers->count == numbers->capacity) {
        numbers->capacity += numbers->capacity + 16;
        numbers->v = mem_realloc(numbers->v, numbers->capacity * sizeof *numbers->v);
    }
    numbers->v[numbers->count++] = number;
}

static int compare_numbers(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* Opens a segment, checks its header and takes its marks into account. */
static enum err open_segment(struct scan *scan, uint64_t number, struct err_text *text) {
    struct store_log *log = scan->log;
    char path[FORMAT_PATH_BYTES];
    uint8_t head[LOG_RECORDS_OFFSET];
    struct store_file *file;
    uint64_t capacity = 0, value = 0;
    size_t size = 0;
    segment_path(log, number, path);
    enum err err = store_file_open(path, STORE_FILE_WRITE, &file, text);
    if (err != ERR_OK) {
        return err;
    }
    err = store_file_size(file, &capacity, text);
    if (err == ERR_OK) {
        err = store_file_read(file, 0, head, sizeof head, &size, text);
    }
    if (err == ERR_OK && size < sizeof head) {
        err = err_set(text, ERR_CORRUPT, "%s is cut off", path);
    }
    if (err == ERR_OK) {
        err = format_check_header(head, LOG_MAGIC, &log->cluster, path, &value, text);
    }
    if (err == ERR_OK && value != number) {
        err = err_set(text, ERR_CORRUPT, "%s has been renamed: it is number %" PRIu64, path, value);
    }
    if (err != ERR_OK) {
        store_file_close(file);
        return err;
    }
    log_push_segment(log, segment_create(number, file, capacity));
    for (unsigned slot = 0; slot < LOG_MARK_SLOTS; slot++) {
        uint64_t mark = 0;
        const uint8_t *at = head + LOG_MARK_OFFSET + slot * FORMAT_SECTOR_BYTES;
        enum record_state state = mark_decode(at, number, &mark);
        scan->mark_damaged |= state == RECORD_BAD;
        if (state == RECORD_VALID && mark > scan->mark) {
            scan->mark = mark;
            log->mark_slot = slot ^ 1u;
        }
    }
    return ERR_OK;
}

static void take_record(struct scan *scan, struct segment *segment, struct look *look,
                        const struct store_entry *entry) {
    struct store_log *log = scan->log;
    if (scan->run_count == 0 || scan->runs[scan->run_count - 1].term != entry->term) {
        if (scan->run_count == scan->run_capacity) {
            scan->run_capacity += scan->run_capacity + 8;
            scan->runs = mem_realloc(scan->runs, scan->run_capacity * sizeof *scan->runs);
        }
        scan->runs[scan->run_count++] =
            (struct store_log_run){.first = entry->index, .term = entry->term};
    }
    if (log->last == 0) {
        log->first = entry->index;
    }
    log->last = entry->index;
    uint64_t bytes = record_bytes(entry->size);
    segment_add_record(segment, entry->index, bytes);
    if (entry->index <= scan->mark) {
        look->unsynced_from = segment->end;
    }
    atomic_fetch_add(&log->bytes, bytes);
    if (scan->visit != NULL) {
        scan->visit(scan->context, entry);
    }
}

/* The part of a segment that is in memory: small, so that a start touches little of it. */
struct window {
    struct store_log *log;
    const struct segment *segment;
    const uint8_t *data; /* bytes from .. to - 1 of the file */
    uint64_t from;
    uint64_t to;
};

/* Makes `bytes` from offset on available, all of them inside the segment. */
static enum err look_at(struct window *window, uint64_t offset, uint64_t bytes,
                        const uint8_t **ret_data, struct err_text *text) {
    const struct segment *segment = window->segment;
    ASSERT(offset + bytes <= segment->capacity);
    if (offset < window->from || offset + bytes > window->to) {
        uint64_t left = segment->capacity - offset;
        uint64_t want = bytes > WINDOW_BYTES ? bytes : WINDOW_BYTES;
        size_t size = left < want ? (size_t)left : (size_t)want, got = 0;
        uint8_t *data = log_scratch(window->log, size);
        enum err err = store_file_read(segment->file, offset, data, size, &got, text);
        if (err == ERR_OK && got < size) {
            err = err_set(text, ERR_IO, "segment %" PRIu64 " of the log shrank while it was read",
                          segment->number);
        }
        if (err != ERR_OK) {
            return err;
        }
        *window = (struct window){.log = window->log,
                                  .segment = segment,
                                  .data = data,
                                  .from = offset,
                                  .to = offset + size};
    }
    *ret_data = window->data + (offset - window->from);
    return ERR_OK;
}

/* The record at the segment's end; expected as in record_decode. */
static enum err next_record(struct window *window, uint64_t expected, enum record_state *ret_state,
                            struct store_entry *ret_entry, struct err_text *text) {
    const struct segment *segment = window->segment;
    const uint8_t *data;
    uint64_t left = segment->capacity - segment->end;
    *ret_state = RECORD_NONE;
    if (left < RECORD_HEADER_BYTES) {
        return ERR_OK;
    }
    enum err err = look_at(window, segment->end, RECORD_HEADER_BYTES, &data, text);
    if (err == ERR_OK) {
        uint64_t bytes = record_bytes(get_u32(data + 4));
        *ret_state = RECORD_BAD;
        if (bytes > left) {
            return ERR_OK;
        }
        err = look_at(window, segment->end, bytes, &data, text);
        if (err == ERR_OK) {
            *ret_state = record_decode(data, bytes, segment->number, expected, ret_entry);
        }
    }
    return err;
}

static enum err look_for_dirt(struct window *window, bool *ret_dirt, struct err_text *text) {
    const struct segment *segment = window->segment;
    for (uint64_t at = segment->end; at < segment->capacity && !*ret_dirt;) {
        uint64_t left = segment->capacity - at;
        uint64_t bytes = left < WINDOW_BYTES ? left : WINDOW_BYTES;
        const uint8_t *data;
        enum err err = look_at(window, at, bytes, &data, text);
        if (err != ERR_OK) {
            return err;
        }
        *ret_dirt = !format_is_zero(data, bytes);
        at += bytes;
    }
    return ERR_OK;
}

static enum err scan_segment(struct scan *scan, uint32_t at, struct err_text *text) {
    struct store_log *log = scan->log;
    struct segment *segment = log->segments[at];
    struct look *look = &scan->looks[at];
    struct window window = {.log = log, .segment = segment};
    look->unsynced_from = LOG_RECORDS_OFFSET;
    while (!scan->stopped) {
        struct store_entry entry;
        enum record_state state;
        /* Only the log's very first record may claim its index. */
        uint64_t expected = log->last == 0 ? 0 : log->last + 1;
        enum err err =
            next_record(&window, MUTANT(crc_not_seeded) ? 0 : expected, &state, &entry, text);
        if (err != ERR_OK) {
            return err;
        }
        if (state != RECORD_VALID) {
            break;
        }
        if (MUTANT(crc_not_seeded)) {
            entry.index = expected == 0 ? entry.index : expected;
        }
        take_record(scan, segment, look, &entry);
    }
    if (segment->first == 0) {
        scan->stopped = true; /* a segment is only left for the next one when it is in use */
    } else {
        log->active = at;
    }
    return look_for_dirt(&window, &look->dirt, text);
}

static uint64_t bad_index(const struct store_log *log) {
    return log->last > 0 ? log->last + 1 : 1;
}

/* May what follows the last whole record be cut? */
static enum err judge(const struct scan *scan, struct err_text *text) {
    const struct store_log *log = scan->log;
    bool dirt = false;
    for (uint32_t i = log->active; i < log->segment_count; i++) {
        dirt |= scan->looks[i].dirt;
    }
    if (MUTANT(rot_cut)) {
        return ERR_OK;
    }
    if (log->last < scan->mark) {
        return err_set(text, ERR_CORRUPT,
                       "entry %" PRIu64
                       " of the log in %s is damaged, though it was stored safely: "
                       "the disk has lost it",
                       bad_index(log), log->directory);
    }
    if (dirt && scan->mark_damaged) {
        return err_set(text, ERR_CORRUPT,
                       "entry %" PRIu64 " of the log in %s is damaged, and so is the mark that "
                       "would tell whether it was ever stored safely",
                       bad_index(log), log->directory);
    }
    if (dirt && MUTANT(torn_tail_refused)) {
        return err_set(text, ERR_CORRUPT, "the log in %s ends in a damaged record", log->directory);
    }
    return ERR_OK;
}

/* Writes again what may be in the page cache alone. */
static enum err write_again(const struct segment *segment, uint64_t from, struct store_log *log,
                            struct err_text *text) {
    size_t size = 0;
    uint8_t *data = log_scratch(log, segment->end - from);
    enum err err = store_file_read(segment->file, from, data, segment->end - from, &size, text);
    if (err == ERR_OK && size < segment->end - from) {
        err = err_set(text, ERR_IO, "segment %" PRIu64 " of the log shrank", segment->number);
    }
    return err == ERR_OK ? store_file_write(segment->file, from, data, size, text) : err;
}

/* Zeros behind the last record; what is above the mark on the disk for certain. */
static enum err repair(struct scan *scan, bool *ret_cut, struct err_text *text) {
    struct store_log *log = scan->log;
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < log->segment_count && err == ERR_OK; i++) {
        struct segment *segment = log->segments[i];
        const struct look *look = &scan->looks[i];
        bool cut = look->dirt && i >= log->active && !MUTANT(cut_tail_not_zeroed);
        bool again = look->unsynced_from < segment->end && !MUTANT(open_trusts_cache);
        if (cut) {
            *ret_cut = true;
            err = format_zero_fill(segment->file, segment->end, segment->capacity, text);
        }
        if (err == ERR_OK && again) {
            err = write_again(segment, look->unsynced_from, log, text);
        }
        if (err == ERR_OK && (cut || again)) {
            err = store_file_sync(segment->file, text);
        }
    }
    /* The process that made a segment may have died before its name was durable. */
    if (err == ERR_OK && !MUTANT(open_trusts_names)) {
        err = store_directory_sync(log->directory, text);
    }
    if (err == ERR_OK && log->last > 0) {
        log->synced_to = log->last;
        log_write_mark(log);
    }
    return err;
}

/* Left by a compaction whose removals did not all reach the disk, or by an unfinished spare. */
static enum err remove_leftovers(struct store_log *log, const struct numbers *numbers,
                                 uint32_t count, struct err_text *text) {
    char path[FORMAT_PATH_BYTES];
    enum err err = ERR_OK;
    for (uint32_t i = 0; i < count && err == ERR_OK; i++) {
        segment_path(log, numbers->v[i], path);
        err = store_file_unlink(path, text);
    }
    if (err == ERR_OK && numbers->temporary) {
        err = format_path(path, log->directory, LOG_TEMPORARY, text);
        err = err == ERR_OK ? store_file_unlink(path, text) : err;
    }
    return err;
}

static enum err create_first(struct store_log *log, struct err_text *text) {
    uint64_t size = log->first_bytes;
    if (size == 0) {
        size = log->segment_bytes < FIRST_SEGMENT_BYTES ? log->segment_bytes : FIRST_SEGMENT_BYTES;
    }
    return log_make_segment(log, size, text);
}

/* Nothing of the log can be used. Newest first, so that what a crash leaves has no gaps. */
static enum err wipe(struct scan *scan, const struct numbers *numbers, struct err_text *text) {
    struct store_log *log = scan->log;
    char path[FORMAT_PATH_BYTES];
    enum err err = ERR_OK;
    for (uint32_t i = numbers->count; i > 0 && err == ERR_OK; i--) {
        segment_path(log, numbers->v[i - 1], path);
        err = store_file_unlink(path, text);
        if (err == ERR_OK) {
            err = store_directory_sync(log->directory, text);
        }
    }
    for (uint32_t i = 0; i < log->segment_count; i++) {
        segment_destroy(log->segments[i]);
    }
    log->segment_count = log->active = 0;
    log->first = 1;
    log->last = 0;
    log->mark_slot = 0;
    scan->run_count = 0;
    atomic_store(&log->bytes, 0);
    return err;
}

static enum err open_all(struct scan *scan, struct store_log_found *found, struct err_text *text) {
    struct store_log *log = scan->log;
    struct numbers numbers = {0};
    enum err err = store_directory_list(log->directory, collect_name, &numbers, text);
    if (numbers.count > 0) {
        qsort(numbers.v, numbers.count, sizeof *numbers.v, compare_numbers);
    }
    uint32_t from = numbers.count; /* the run without gaps that ends at the highest number */
    while (from > 0 && (from == numbers.count || numbers.v[from - 1] + 1 == numbers.v[from])) {
        from--;
    }
    for (uint32_t i = from; i < numbers.count && err == ERR_OK; i++) {
        err = open_segment(scan, numbers.v[i], text);
    }
    if (log->segment_count > 0) {
        scan->looks = mem_calloc(log->segment_count, sizeof *scan->looks);
    }
    for (uint32_t i = 0; i < log->segment_count && err == ERR_OK; i++) {
        err = scan_segment(scan, i, text);
    }
    /* Segments are only ever removed behind one that holds records, so an empty log begins at 1. */
    if (err == ERR_OK && numbers.count > 0 && log->last == 0 && numbers.v[from] != 1) {
        err = err_set(text, ERR_CORRUPT, "segment %" PRIu64 " of the log in %s is missing",
                      numbers.v[from] - 1, log->directory);
    }
    scan->scanned = err == ERR_OK;
    if (err == ERR_OK) {
        err = judge(scan, text);
    }
    if (err == ERR_CORRUPT) {
        found->bad_index = bad_index(log);
        if (scan->cut_rot && log->last > 0 && scan->scanned) {
            err = log_lower_marks(log, log->active, log->last, text);
        } else if (scan->cut_rot) {
            err = wipe(scan, &numbers, text);
            from = 0;
            numbers.count = 0;
            numbers.temporary = false;
        }
    }
    if (err == ERR_OK) {
        err = remove_leftovers(log, &numbers, from, text);
    }
    if (err == ERR_OK) {
        err = log->segment_count == 0 ? create_first(log, text) : repair(scan, &found->cut, text);
    }
    free(numbers.v);
    return err;
}

static enum err check_directory(struct store_log *log, const char *directory,
                                struct err_text *text) {
    char longest[FORMAT_PATH_BYTES];
    enum err err = format_path(longest, directory, LOG_PREFIX "0123456789abcdef", text);
    if (err == ERR_OK) {
        memcpy(log->directory, directory, strlen(directory) + 1);
    }
    return err;
}

enum err store_log_open(const struct store_log_options *options, store_entry_fn visit,
                        void *context, struct store_log **ret_log,
                        struct store_log_found *ret_found, struct err_text *text) {
    ASSERT(options->segment_bytes <= LIMIT_LOG_SEGMENT_MAX_BYTES);
    struct store_log *log = mem_calloc(1, sizeof *log);
    log->cluster = options->cluster;
    log->segment_bytes =
        options->segment_bytes != 0 ? options->segment_bytes : LIMIT_LOG_SEGMENT_BYTES;
    log->first_bytes = options->first_bytes;
    log->first = 1;
    pthread_mutex_init(&log->mutex, NULL);
    struct scan scan = {
        .log = log, .visit = visit, .context = context, .cut_rot = options->cut_rot};
    struct store_log_found found = {0};
    enum err err = check_directory(log, options->directory, text);
    if (err == ERR_OK) {
        err = open_all(&scan, &found, text);
    }
    free(scan.looks);
    log_trim_scratch(log);
    if (err == ERR_OK || err == ERR_CORRUPT) {
        found.first = log->first;
        found.last = log->last;
        found.synced_to = scan.mark;
        found.runs = scan.runs;
        found.runs_count = scan.run_count;
        *ret_found = found;
    } else {
        free(scan.runs);
    }
    if (err != ERR_OK) {
        store_log_close(log);
        return err;
    }
    *ret_log = log;
    return ERR_OK;
}
