/* The log on a real disk: what survives, what is cut, what is refused. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/mem.h"
#include "base/rand.h"
#include "base/crc32c.h"
#include "store/log_internal.h"

static const struct uuid cluster = {.bytes = "cluster one"};

struct fixture {
    char directory[64];
    struct store_log *log;
    struct store_log_found found;
    struct err_text text;
    uint64_t seen; /* entries visited, which came in order with the right bytes */
    uint32_t segment_bytes;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->directory, sizeof f->directory, "/tmp/cairn-log-XXXXXX");
    f->segment_bytes = 64 * 1024;
    *state = f;
    return mkdtemp(f->directory) != NULL ? 0 : -1;
}

static int tear_down(void **state) {
    struct fixture *f = *state;
    char command[128];
    store_log_close(f->log);
    free(f->found.runs);
    snprintf(command, sizeof command, "rm -rf %s", f->directory);
    free(f);
    return system(command);
}

static void fill(uint8_t *bytes, uint32_t size, uint64_t index) {
    struct rand rand;
    rand_init(&rand, index);
    rand_bytes(&rand, bytes, size);
}

static uint32_t size_of(uint64_t index) {
    return (uint32_t)(index * 37 % 900);
}

static void see(void *context, const struct store_entry *entry) {
    struct fixture *f = context;
    uint8_t bytes[1000];
    fill(bytes, size_of(entry->index), entry->index);
    assert_int_equal(entry->size, size_of(entry->index));
    assert_memory_equal(entry->payload, bytes, entry->size);
    assert_int_equal(entry->term, 1 + entry->index / 100);
    assert_int_equal(entry->kind, 3);
    f->seen++;
}

static enum err open_log(struct fixture *f) {
    struct store_log_options options = {
        .directory = f->directory, .cluster = cluster, .segment_bytes = f->segment_bytes};
    store_log_close(f->log);
    free(f->found.runs);
    f->log = NULL;
    f->found = (struct store_log_found){0};
    f->seen = 0;
    f->text.s[0] = '\0';
    return store_log_open(&options, see, f, &f->log, &f->found, &f->text);
}

static void append_one(struct fixture *f, uint64_t index) {
    uint8_t bytes[1000];
    fill(bytes, size_of(index), index);
    struct store_entry entry = {.index = index,
                                .term = 1 + index / 100,
                                .kind = 3,
                                .payload = bytes,
                                .size = size_of(index)};
    assert_int_equal(store_log_append_batch(f->log, &entry, 1, &f->text), ERR_OK);
}

static void append(struct fixture *f, uint64_t first, uint64_t last) {
    for (uint64_t i = first; i <= last; i++) {
        append_one(f, i);
    }
    assert_int_equal(store_log_sync(f->log, &f->text), ERR_OK);
}

static void path_of(struct fixture *f, uint64_t number, char *out) {
    char name[FORMAT_NAME_BYTES];
    format_number_name(name, LOG_PREFIX, number);
    assert_int_equal(format_path(out, f->directory, name, NULL), ERR_OK);
}

/* Changes bytes of a segment behind the log's back. */
static void scribble(struct fixture *f, uint64_t number, long offset, const void *bytes,
                     size_t size) {
    char path[FORMAT_PATH_BYTES];
    path_of(f, number, path);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, offset, SEEK_SET);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static void is_found_again_after_close(void **state) {
    struct fixture *f = *state;
    assert_int_equal(open_log(f), ERR_OK);
    assert_int_equal(f->found.first, 1);
    assert_int_equal(f->found.last, 0);
    append(f, 1, 700);
    assert_int_equal(open_log(f), ERR_OK);
    assert_int_equal(f->found.first, 1);
    assert_int_equal(f->found.last, 700);
    assert_int_equal(f->seen, 700);
    assert_int_equal(f->found.runs_count, 8);
    assert_int_equal(f->found.runs[7].first, 700);
    assert_int_equal(f->found.runs[7].term, 8);
    assert_false(f->found.cut);
    append(f, 701, 720);
    assert_int_equal(open_log(f), ERR_OK);
    assert_int_equal(f->seen, 720);
}

static void reads_any_range(void **state) {
    struct fixture *f = *state;
    assert_int_equal(open_log(f), ERR_OK);
    append(f, 1, 500);
    append_one(f, 501); /* not synced: not readable */
    uint64_t next;
    for (uint64_t first = 1; first <= 500; first += 7) {
        f->seen = 0;
        assert_int_equal(store_log_read(f->log, first, 500, SIZE_MAX, see, f, &next, &f->text),
                         ERR_OK);
        assert_int_equal(f->seen, 501 - first);
        assert_int_equal(next, 501);
    }
    f->seen = 0;
    assert_int_equal(store_log_read(f->log, 100, 501, 0, see, f, &next, &f->text), ERR_OK);
    assert_int_equal(f->seen, 1);
    assert_int_equal(next, 101);
    assert_int_equal(store_log_read(f->log, 501, 501, 0, see, f, &next, NULL), ERR_NOT_FOUND);
    assert_int_equal(store_log_read(f->log, 0, 1, 0, see, f, &next, NULL), ERR_NOT_FOUND);
}

static void compaction_drops_whole_segments(void **state) {
    struct fixture *f = *state;
    uint64_t next;
    assert_int_equal(open_log(f), ERR_OK);
    append(f, 1, 700);
    uint64_t bytes = store_log_bytes(f->log);
    assert_int_equal(store_log_compact(f->log, 400, &f->text), ERR_OK);
    uint64_t first = store_log_first(f->log);
    assert_in_range(first, 200, 401);
    assert_true(store_log_bytes(f->log) < bytes);
    assert_int_equal(store_log_read(f->log, first - 1, 700, 0, see, f, &next, NULL), ERR_NOT_FOUND);
    assert_int_equal(open_log(f), ERR_OK);
    assert_int_equal(f->found.first, first);
    assert_int_equal(f->seen, 701 - first);
    assert_int_equal(store_log_compact(f->log, 700, &f->text), ERR_OK);
    assert_int_equal(store_log_last(f->log), 700); /* the newest segment stays */
    append(f, 701, 710);
    assert_int_equal(open_log(f), ERR_OK);
    assert_int_equal(f->found.last, 710);
}

static void an_entry_larger_than_a_segment(void **state) {
    struct fixture *f = *state;
    uint32_t size = 3 * 1024 * 1024;
    uint8_t *bytes = mem_calloc(1, size);
    assert_int_equal(open_log(f), ERR_OK);
    append(f, 1, 3);
    struct store_entry entry = {.index = 4, .term = 1, .kind = 3, .payload = bytes, .size = size};
    assert_int_equal(store_log_append_batch(f->log, &entry, 1, &f->text), ERR_OK);
    assert_int_equal(store_log_sync(f->log, &f->text), ERR_OK);
    store_log_close(f->log);
    f->log = NULL;
    struct store_log_options options = {
        .directory = f->directory, .cluster = cluster, .segment_bytes = f->segment_bytes};
    assert_int_equal(store_log_open(&options, NULL, NULL, &f->log, &f->found, &f->text), ERR_OK);
    assert_int_equal(f->found.last, 4);
    free(bytes);
}

static void a_torn_tail_is_cut(void **state) {
    struct fixture *f = *state;
    assert_int_equal(open_log(f), ERR_OK);
    append(f, 1, 20);
    long end = (long)f->log->segments[0]->end;
    scribble(f, 1, end, "half a record, and more of it", 29);
    scribble(f, 1, end + 3000, "x", 1);
    assert_int_equal(open_log(f), ERR_OK);
    assert_true(f->found.cut);
    assert_int_equal(f->found.last, 20);
    assert_int_equal(open_log(f), ERR_OK);
    assert_false(f->found.cut); /* nothing is left of it */
}

static void rot_is_reported_and_nothing_changed(void **state) {
    struct fixture *f = *state;
    assert_int_equal(open_log(f), ERR_OK);
    append(f, 1, 20);
    long at = (long)(LOG_RECORDS_OFFSET + record_bytes(size_of(1)) + RECORD_HEADER_BYTES + 5);
    scribble(f, 1, at, "\xff\xfe\xfd", 3);
    for (int i = 0; i < 2; i++) {
        assert_int_equal(open_log(f), ERR_CORRUPT);
        assert_int_equal(f->found.bad_index, 2);
        assert_non_null(strstr(f->text.s, "entry 2 "));
    }
}

static void a_record_counts_only_where_it_belongs(void **state) {
    struct fixture *f = *state;
    struct store_entry entries[3];
    assert_int_equal(open_log(f), ERR_OK);
    for (uint64_t i = 0; i < 3; i++) {
        entries[i] = (struct store_entry){.index = i + 1, .term = 1, .kind = 3};
    }
    assert_int_equal(store_log_append_batch(f->log, entries, 3, NULL), ERR_OK);
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    uint8_t record[RECORD_HEADER_BYTES];
    record_encode(record, 1, &entries[0]);
    scribble(f, 1, LOG_RECORDS_OFFSET + RECORD_HEADER_BYTES, record, sizeof record);
    store_log_close(f->log);
    f->log = NULL;
    struct store_log_options options = {.directory = f->directory, .cluster = cluster};
    assert_int_equal(store_log_open(&options, NULL, NULL, &f->log, &f->found, NULL), ERR_CORRUPT);
    assert_int_equal(f->found.bad_index, 2);
}

static void a_lost_segment_is_reported(void **state) {
    struct fixture *f = *state;
    char path[FORMAT_PATH_BYTES];
    assert_int_equal(open_log(f), ERR_OK);
    while (store_log_prepare(f->log, 1024 * 1024)) {
    }
    append(f, 1, 20);
    path_of(f, 1, path);
    assert_int_equal(unlink(path), 0);
    assert_int_equal(open_log(f), ERR_CORRUPT);
    path_of(f, 2, path);
    assert_int_equal(unlink(path), 0); /* one empty spare is left: not a fresh log */
    assert_int_equal(open_log(f), ERR_CORRUPT);
}

static void foreign_files_are_refused(void **state) {
    struct fixture *f = *state;
    assert_int_equal(open_log(f), ERR_OK);
    append(f, 1, 20);
    struct uuid other = {.bytes = "another"};
    struct store_log_options options = {.directory = f->directory, .cluster = other};
    struct store_log_found found;
    struct store_log *log;
    assert_int_equal(store_log_open(&options, NULL, NULL, &log, &found, NULL), ERR_FOREIGN);
    uint8_t header[FORMAT_HEADER_BYTES];
    format_encode_header(header, LOG_MAGIC, &cluster, 1);
    put_u32(header + 12, FORMAT_CURRENT + 1);
    put_u32(header + 60, crc32c(0, header, 60));
    scribble(f, 1, 0, header, sizeof header);
    assert_int_equal(open_log(f), ERR_VERSION);
    scribble(f, 1, 0, "GIF89a??", 8);
    assert_int_equal(open_log(f), ERR_FOREIGN);
}

/* Whatever lies in the file: an answer, no crash; and what was synced is reported or refused. */
static void random_bytes_and_lengths(void **state) {
    struct fixture *f = *state;
    char path[FORMAT_PATH_BYTES];
    struct rand rand;
    rand_init(&rand, 1);
    path_of(f, 1, path);
    for (int round = 0; round < 300; round++) {
        store_log_close(f->log);
        f->log = NULL;
        unlink(path);
        assert_int_equal(open_log(f), ERR_OK);
        append(f, 1, 12);
        uint8_t noise[64];
        rand_bytes(&rand, noise, sizeof noise);
        long end = (long)f->log->segments[0]->end;
        if (round % 2 == 0) {
            scribble(f, 1, (long)rand_below(&rand, (uint64_t)end), noise,
                     1 + (size_t)rand_below(&rand, 63));
        } else {
            assert_int_equal(truncate(path, (long)rand_below(&rand, (uint64_t)end)), 0);
        }
        enum err err = open_log(f);
        assert_true(err == ERR_CORRUPT || err == ERR_FOREIGN ||
                    (err == ERR_OK && f->found.last == 12));
    }
}

static uint64_t now_us(void) {
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000 + (uint64_t)at.tv_nsec / 1000;
}

static void count(void *context, const struct store_entry *entry) {
    *(uint64_t *)context += entry->size;
}

/* Printed, not judged: a busy machine must not fail it. */
static void speed(void **state) {
    struct fixture *f = *state;
    uint8_t bytes[500] = {1};
    uint64_t sum = 0, began = now_us();
    f->segment_bytes = 0;
    assert_int_equal(open_log(f), ERR_OK);
    print_message("first open: %lu us\n", now_us() - began);
    while (store_log_prepare(f->log, 1024 * 1024)) {
    }
    for (uint64_t i = 1; i <= 20000; i++) {
        struct store_entry entry = {
            .index = i, .term = 1, .kind = 3, .payload = bytes, .size = sizeof bytes};
        assert_int_equal(store_log_append_batch(f->log, &entry, 1, NULL), ERR_OK);
    }
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    while (store_log_prepare(f->log, 1024 * 1024)) {
    }
    began = now_us();
    for (uint64_t i = 20001; i <= 20500; i++) {
        struct store_entry entry = {
            .index = i, .term = 1, .kind = 3, .payload = bytes, .size = sizeof bytes};
        assert_int_equal(store_log_append_batch(f->log, &entry, 1, NULL), ERR_OK);
        assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    }
    print_message("append and sync: %lu us\n", (now_us() - began) / 500);
    store_log_close(f->log);
    f->log = NULL;
    struct store_log_options options = {.directory = f->directory, .cluster = cluster};
    began = now_us();
    free(f->found.runs);
    assert_int_equal(store_log_open(&options, count, &sum, &f->log, &f->found, NULL), ERR_OK);
    print_message("open with 20500 entries: %lu us\n", now_us() - began);
    assert_int_equal(sum, 20500 * 500);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(is_found_again_after_close),
        TEST(reads_any_range),
        TEST(compaction_drops_whole_segments),
        TEST(an_entry_larger_than_a_segment),
        TEST(a_torn_tail_is_cut),
        TEST(rot_is_reported_and_nothing_changed),
        TEST(a_record_counts_only_where_it_belongs),
        TEST(a_lost_segment_is_reported),
        TEST(foreign_files_are_refused),
        TEST(random_bytes_and_lengths),
        TEST(speed),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
