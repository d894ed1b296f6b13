/* The log thread and the snapshot thread. */
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#include "store/log_thread.h"
#include "store/snapshot_thread.h"

static const struct uuid cluster = {.bytes = "cluster one"};
static char directory[32];

/* Where callbacks meet the test. */
static struct {
    pthread_mutex_t mutex;
    pthread_cond_t changed;
    uint32_t done;
    uint32_t failed;
    uintptr_t last; /* context of the last callback: they come in order */
    bool in_order;
    bool hold; /* callbacks wait until it is false */
    bool held;
} meeting = {.mutex = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER};

static int set_up(void **state) {
    (void)state;
    meeting.done = meeting.failed = 0;
    meeting.last = 0;
    meeting.in_order = true;
    meeting.hold = meeting.held = false;
    snprintf(directory, sizeof directory, "/tmp/cairn-store-XXXXXX");
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    char command[64];
    snprintf(command, sizeof command, "rm -rf %s", directory);
    return system(command);
}

static void done(void *context, enum err result, const char *message) {
    pthread_mutex_lock(&meeting.mutex);
    meeting.done++;
    meeting.failed += result != ERR_OK;
    meeting.in_order &=
        (uintptr_t)context > meeting.last && (message == NULL) == (result == ERR_OK);
    meeting.last = (uintptr_t)context;
    meeting.held = meeting.hold;
    pthread_cond_broadcast(&meeting.changed);
    while (meeting.hold) {
        pthread_cond_wait(&meeting.changed, &meeting.mutex);
    }
    pthread_mutex_unlock(&meeting.mutex);
}

static void wait_done(uint32_t count) {
    pthread_mutex_lock(&meeting.mutex);
    while (meeting.done < count) {
        pthread_cond_wait(&meeting.changed, &meeting.mutex);
    }
    pthread_mutex_unlock(&meeting.mutex);
}

static struct store_log *open_log(struct store_log_found *found) {
    struct store_log_options options = {
        .directory = directory, .cluster = cluster, .segment_bytes = 64 * 1024};
    struct store_log *log;
    assert_int_equal(store_log_open(&options, NULL, NULL, &log, found, NULL), ERR_OK);
    free(found->runs);
    return log;
}

static struct store_hard_state *open_state(struct store_vote *vote) {
    struct store_hard_state *state;
    assert_int_equal(store_hard_state_open(directory, &cluster, &state, vote, NULL), ERR_OK);
    return state;
}

static void *as_context(uint64_t n) {
    return (void *)(uintptr_t)n;
}

static void count_entry(void *context, const struct store_entry *entry) {
    (void)entry;
    ++*(uint64_t *)context;
}

static void requests_are_done_in_order(void **unused) {
    (void)unused;
    enum { COUNT = 2000 };
    static struct store_entry entries[COUNT];
    struct store_log_found found;
    struct store_vote vote;
    struct store_log *log = open_log(&found);
    struct store_hard_state *state = open_state(&vote);
    struct store_log_thread *thread = store_log_thread_start(log, state);
    uint32_t requests = 0;
    for (uint64_t i = 0; i < COUNT; i++) {
        entries[i] = (struct store_entry){
            .index = i + 1, .term = 1, .kind = 3, .payload = directory, .size = 20};
        store_log_thread_append(thread, &entries[i], 1, done, as_context(++requests));
        if (i % 500 == 499) {
            vote = (struct store_vote){.term = i};
            store_log_thread_write_hard_state(thread, &vote, done, as_context(++requests));
            store_log_thread_compact(thread, i - 300, done, as_context(++requests));
        }
    }
    wait_done(requests);
    assert_true(meeting.in_order);
    assert_int_equal(meeting.failed, 0);
    /* Beside the running thread. */
    uint64_t seen = 0, next;
    assert_int_equal(
        store_log_read(log, store_log_first(log), COUNT, SIZE_MAX, count_entry, &seen, &next, NULL),
        ERR_OK);
    assert_int_equal(seen, COUNT + 1 - store_log_first(log));
    assert_true(store_log_thread_stop(thread, 10000));
    store_log_close(log);
    store_hard_state_close(state);
    log = open_log(&found);
    assert_int_equal(found.last, COUNT);
    assert_true(found.first > 1);
    state = open_state(&vote);
    assert_int_equal(vote.term, COUNT - 1);
    store_log_close(log);
    store_hard_state_close(state);
}

static void stop_answers_what_is_queued(void **unused) {
    (void)unused;
    static struct store_entry entries[100];
    struct store_log_found found;
    struct store_vote vote;
    struct store_log *log = open_log(&found);
    struct store_hard_state *state = open_state(&vote);
    struct store_log_thread *thread = store_log_thread_start(log, state);
    for (uint64_t i = 0; i < 100; i++) {
        entries[i] = (struct store_entry){.index = i + 1, .term = 1, .kind = 3};
        store_log_thread_append(thread, &entries[i], 1, done, as_context(i + 1));
    }
    assert_true(store_log_thread_stop(thread, 10000));
    assert_int_equal(meeting.done, 100);
    store_log_close(log);
    store_hard_state_close(state);
}

/* Kept, as the header demands. */
static struct {
    struct store_log *log;
    struct store_hard_state *state;
    struct store_log_thread *thread;
} abandoned;

static void a_stuck_thread_is_abandoned(void **unused) {
    (void)unused;
    static const struct store_entry entry = {.index = 1, .term = 1, .kind = 3};
    struct store_log_found found;
    struct store_vote vote;
    abandoned.log = open_log(&found);
    abandoned.state = open_state(&vote);
    abandoned.thread = store_log_thread_start(abandoned.log, abandoned.state);
    meeting.hold = true;
    store_log_thread_append(abandoned.thread, &entry, 1, done, as_context(1));
    pthread_mutex_lock(&meeting.mutex);
    while (!meeting.held) {
        pthread_cond_wait(&meeting.changed, &meeting.mutex);
    }
    pthread_mutex_unlock(&meeting.mutex);
    assert_false(store_log_thread_stop(abandoned.thread, 20));
    pthread_mutex_lock(&meeting.mutex);
    meeting.hold = false;
    pthread_cond_broadcast(&meeting.changed);
    pthread_mutex_unlock(&meeting.mutex);
}

struct encoding {
    bool begun;
    bool endless;
    atomic_uint results[ERR_COUNT];
    uint64_t bytes;
};

static enum err encode(void *context, struct store_snapshot_writer *writer, struct err_text *text) {
    static const uint8_t piece[64 * 1024];
    struct encoding *encoding = context;
    enum err err = ERR_OK;
    pthread_mutex_lock(&meeting.mutex);
    encoding->begun = true;
    pthread_cond_broadcast(&meeting.changed);
    pthread_mutex_unlock(&meeting.mutex);
    for (int i = 0; (i < 40 || encoding->endless) && err == ERR_OK; i++) {
        err = store_snapshot_writer_write(writer, piece, i % 2 == 0 ? sizeof piece : 1, text);
    }
    return err;
}

static void encoded(void *context, enum err result, uint64_t bytes, const char *message) {
    struct encoding *encoding = context;
    encoding->bytes = bytes;
    atomic_fetch_add(&encoding->results[result], 1);
    done(as_context(meeting.last + 1), result, message);
}

static void a_snapshot_is_written(void **unused) {
    (void)unused;
    struct encoding encoding = {.endless = false};
    struct store_snapshot_job job = {
        .info = {.index = 9, .term = 2}, .encode = encode, .done = encoded, .context = &encoding};
    struct store_snapshot_thread *thread = store_snapshot_thread_start(directory, &cluster);
    assert_int_equal(store_snapshot_thread_take(thread, &job), ERR_OK);
    wait_done(1);
    assert_true(store_snapshot_thread_stop(thread, 10000));
    struct store_snapshot_reader *reader;
    assert_int_equal(store_snapshot_reader_open(directory, &cluster, &reader, NULL), ERR_OK);
    assert_int_equal(store_snapshot_reader_info(reader)->index, 9);
    assert_int_equal(store_snapshot_reader_bytes(reader), 20 * (64 * 1024 + 1));
    assert_true(encoding.bytes > store_snapshot_reader_bytes(reader));
    store_snapshot_reader_close(reader);
}

static void stop_gives_a_snapshot_up(void **unused) {
    (void)unused;
    struct encoding encoding = {.endless = true};
    struct store_snapshot_job job = {
        .info = {.index = 9, .term = 2}, .encode = encode, .done = encoded, .context = &encoding};
    struct store_snapshot_thread *thread = store_snapshot_thread_start(directory, &cluster);
    assert_int_equal(store_snapshot_thread_take(thread, &job), ERR_OK);
    assert_int_equal(store_snapshot_thread_take(thread, &job), ERR_OVERLOADED);
    pthread_mutex_lock(&meeting.mutex);
    while (!encoding.begun) {
        pthread_cond_wait(&meeting.changed, &meeting.mutex);
    }
    pthread_mutex_unlock(&meeting.mutex);
    assert_true(store_snapshot_thread_stop(thread, 10000));
    assert_int_equal(atomic_load(&encoding.results[ERR_CLOSED]), 1);
    struct store_snapshot_reader *reader;
    assert_int_equal(store_snapshot_reader_open(directory, &cluster, &reader, NULL), ERR_NOT_FOUND);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(requests_are_done_in_order),  TEST(stop_answers_what_is_queued),
        TEST(a_snapshot_is_written),       TEST(stop_gives_a_snapshot_up),
        TEST(a_stuck_thread_is_abandoned), /* last: its thread may outlive it */
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
