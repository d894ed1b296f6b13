/* The log's end on a real disk: cut, begun anew, opened without its rot; and the note of a repair.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/rand.h"
#include "store/log_internal.h"
#include "store/repair.h"

#define ENTRIES_MAX 4000

static const struct uuid cluster = {.bytes = "cluster one"};

struct fixture {
    char directory[64];
    struct store_log *log;
    struct store_log_found found;
    struct rand rand;
    uint64_t first, last;          /* what the log holds, as far as this test knows */
    uint64_t terms[ENTRIES_MAX];   /* of each entry */
    uint64_t visited[ENTRIES_MAX]; /* as the last open saw it */
    bool cut_rot;
};

static int set_up(void **state) {
    struct fixture *f = calloc(1, sizeof *f);
    snprintf(f->directory, sizeof f->directory, "/tmp/cairn-cut-XXXXXX");
    rand_init(&f->rand, 7);
    f->first = 1;
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

static uint32_t size_of(uint64_t index, uint64_t term) {
    return (uint32_t)((index * 37 + term * 11) % 700);
}

static void see(void *context, const struct store_entry *entry) {
    struct fixture *f = context;
    assert_int_equal(entry->size, size_of(entry->index, entry->term));
    f->visited[entry->index] = entry->term;
}

static enum err try_open(struct fixture *f) {
    struct store_log_options options = {.directory = f->directory,
                                        .cluster = cluster,
                                        .segment_bytes = 24 * 1024,
                                        .cut_rot = f->cut_rot};
    store_log_close(f->log);
    free(f->found.runs);
    f->log = NULL;
    f->found = (struct store_log_found){0};
    return store_log_open(&options, see, f, &f->log, &f->found, NULL);
}

static void check_open(struct fixture *f) {
    assert_int_equal(try_open(f), ERR_OK);
    assert_int_equal(f->found.last, f->last);
    assert_false(f->found.cut);
    for (uint64_t i = f->found.first; i <= f->last && f->last > 0; i++) {
        assert_int_equal(f->visited[i], f->terms[i]);
    }
}

static void append(struct fixture *f, uint64_t index, uint64_t count, uint64_t term) {
    static const uint8_t zeros[700];
    for (uint64_t i = index; i < index + count; i++) {
        struct store_entry entry = {
            .index = i, .term = term, .kind = 3, .payload = zeros, .size = size_of(i, term)};
        assert_int_equal(store_log_append_batch(f->log, &entry, 1, NULL), ERR_OK);
        f->terms[i] = term;
    }
    f->last = index + count - 1;
}

static void ignore(void *context, const struct store_entry *entry) {
    *(uint64_t *)context = entry->index;
}

static void what_was_cut_stays_away(void **state) {
    struct fixture *f = *state;
    assert_int_equal(try_open(f), ERR_OK);
    append(f, 1, 300, 1); /* over several segments */
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    assert_true(f->log->segment_count > 3);
    assert_int_equal(store_log_truncate(f->log, 41, NULL), ERR_OK);
    f->last = 40;
    check_open(f);
    append(f, 41, 1, 2);
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    check_open(f);
    uint64_t next, seen = 0;
    assert_int_equal(store_log_read(f->log, 41, 41, 1, ignore, &seen, &next, NULL), ERR_OK);
    assert_int_equal(seen, 41);
    assert_int_equal(store_log_read(f->log, 42, 42, 1, ignore, &seen, &next, NULL), ERR_NOT_FOUND);
}

static void a_log_begins_anew_anywhere(void **state) {
    struct fixture *f = *state;
    assert_int_equal(try_open(f), ERR_OK);
    append(f, 1, 200, 1);
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    assert_int_equal(store_log_reset(f->log, NULL), ERR_OK);
    f->last = 0;
    check_open(f);
    append(f, 1000, 50, 4);
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    check_open(f);
    assert_int_equal(f->found.first, 1000);
    /* Cut before its first entry: the same as beginning anew. */
    assert_int_equal(store_log_truncate(f->log, 1000, NULL), ERR_OK);
    f->last = 0;
    check_open(f);
}

static void random_steps(struct fixture *f, uint64_t steps) {
    uint64_t term = 1;
    assert_int_equal(try_open(f), ERR_OK);
    for (uint64_t i = 0; i < steps && f->last + 100 < ENTRIES_MAX; i++) {
        uint64_t what = rand_below(&f->rand, 10);
        if (what < 5) {
            append(f, f->last + 1, 1 + rand_below(&f->rand, 60), term);
        } else if (what < 7 && f->last > 2) {
            uint64_t from = f->last - rand_below(&f->rand, f->last < 100 ? f->last - 1 : 100);
            bool all = from <= store_log_first(f->log);
            assert_int_equal(store_log_truncate(f->log, from, NULL), ERR_OK);
            term++;
            f->last = all ? 0 : from - 1;
        } else if (what < 8) {
            while (store_log_prepare(f->log, 8192)) {
            }
        } else if (what < 9) {
            assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
            (void)store_log_compact(f->log, f->last / 2, NULL);
        } else {
            assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
            check_open(f);
        }
    }
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    check_open(f);
}

static void any_steps(void **state) {
    random_steps(*state, 400);
}

static void rot_is_cut_on_demand(void **state) {
    struct fixture *f = *state;
    char path[FORMAT_PATH_BYTES];
    assert_int_equal(try_open(f), ERR_OK);
    append(f, 1, 300, 1);
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    append(f, 301, 1, 1);
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    /* The second segment's first record. */
    uint64_t bad = f->log->segments[1]->first;
    segment_path(f->log, f->log->segments[1]->number, path);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, LOG_RECORDS_OFFSET + 20, SEEK_SET);
    fputc(0x77, file);
    fclose(file);
    assert_int_equal(try_open(f), ERR_CORRUPT);
    f->cut_rot = true;
    assert_int_equal(try_open(f), ERR_OK);
    assert_int_equal(f->found.bad_index, bad);
    assert_int_equal(f->found.last, bad - 1);
    f->last = bad - 1;
    f->cut_rot = false;
    check_open(f); /* nothing looks rotten any more */
    append(f, bad, 20, 2);
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    check_open(f);
}

static void a_rotten_header_costs_the_whole_log(void **state) {
    struct fixture *f = *state;
    char path[FORMAT_PATH_BYTES];
    assert_int_equal(try_open(f), ERR_OK);
    append(f, 1, 300, 1);
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    segment_path(f->log, f->log->segments[1]->number, path);
    FILE *file = fopen(path, "r+");
    assert_non_null(file);
    fseek(file, 30, SEEK_SET);
    fputc(0x77, file);
    fclose(file);
    assert_int_equal(try_open(f), ERR_CORRUPT);
    f->cut_rot = true;
    assert_int_equal(try_open(f), ERR_OK);
    f->last = 0;
    f->cut_rot = false;
    check_open(f);
    append(f, 77, 3, 2);
    assert_int_equal(store_log_sync(f->log, NULL), ERR_OK);
    check_open(f);
}

static void a_repair_is_noted(void **state) {
    struct fixture *f = *state;
    bool noted = true;
    assert_int_equal(store_repair_is_noted(f->directory, &noted, NULL), ERR_OK);
    assert_false(noted);
    assert_int_equal(store_repair_note(f->directory, NULL), ERR_OK);
    assert_int_equal(store_repair_note(f->directory, NULL), ERR_OK);
    assert_int_equal(store_repair_is_noted(f->directory, &noted, NULL), ERR_OK);
    assert_true(noted);
    assert_int_equal(store_repair_clear(f->directory, NULL), ERR_OK);
    assert_int_equal(store_repair_clear(f->directory, NULL), ERR_OK);
    assert_int_equal(store_repair_is_noted(f->directory, &noted, NULL), ERR_OK);
    assert_false(noted);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(what_was_cut_stays_away),
        TEST(a_log_begins_anew_anywhere),
        TEST(any_steps),
        TEST(rot_is_cut_on_demand),
        TEST(a_repair_is_noted),
        TEST(a_rotten_header_costs_the_whole_log),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
