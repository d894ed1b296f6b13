#include "store/log_thread.h"

#include <stdlib.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "base/thread.h"

/* Small, because an append may wait for one step. */
#define PREPARE_STEP_BYTES (256 * 1024)
#define FULL_DISK_RETRY_MS 1000

enum request_kind {
    REQUEST_APPEND,
    REQUEST_HARD_STATE,
    REQUEST_COMPACT,
    REQUEST_TRUNCATE,
    REQUEST_RESET
};

struct request {
    enum request_kind kind;
    struct request *next;
    store_done_fn done;
    void *context;
    const struct store_entry *entries;
    uint32_t count;
    uint64_t index;
    struct store_vote vote;
    enum err result;
};

struct store_log_thread {
    struct store_log *log;
    struct store_hard_state *state;
    bool failed;          /* something that what follows rests on was not written */
    struct thread thread; /* its mutex guards what follows */
    struct request *head;
    struct request **tail;
    bool stopping;
};

static void finish(struct request *request, const struct err_text *text) {
    if (request->done != NULL) {
        request->done(request->context, request->result,
                      request->result == ERR_OK ? NULL : text->s);
    }
    free(request);
}

/* Entries rest on the hard state of their term, and on the cut before them. */
static bool refuse(const struct store_log_thread *thread, struct request *request,
                   struct err_text *text) {
    if (thread->failed) {
        request->result = err_set(text, ERR_IO, "an earlier write has failed");
    }
    return thread->failed;
}

static void append_one(struct store_log_thread *thread, struct request *request,
                       struct err_text *text) {
    uint64_t last = store_log_last(thread->log);
    if (refuse(thread, request, text)) {
        return;
    }
    if (last != 0 && request->entries[0].index != last + 1) {
        /* Behind a request that the full disk refused. */
        request->result = err_set(text, ERR_NO_SPACE, "an earlier entry found no space");
        return;
    }
    request->result = store_log_append_batch(thread->log, request->entries, request->count, text);
}

/* All appends up to the next request of another kind: written, then one sync for the lot. */
static struct request *append_group(struct store_log_thread *thread, struct request *first) {
    struct err_text text = {.s = ""}, sync_text = {.s = ""};
    struct request *end = first;
    for (; end != NULL && end->kind == REQUEST_APPEND; end = end->next) {
        append_one(thread, end, &text);
    }
    enum err synced = store_log_sync(thread->log, &sync_text);
    thread->failed = thread->failed || synced != ERR_OK;
    for (struct request *next; first != end; first = next) {
        next = first->next;
        bool lost = first->result == ERR_OK && synced != ERR_OK;
        first->result = lost ? synced : first->result;
        finish(first, lost ? &sync_text : &text);
    }
    return end;
}

static struct request *do_one(struct store_log_thread *thread, struct request *request) {
    struct err_text text = {.s = ""};
    struct request *next = request->next;
    if (request->kind != REQUEST_COMPACT && refuse(thread, request, &text)) {
        /* nothing more */
    } else if (request->kind == REQUEST_COMPACT) {
        request->result = store_log_compact(thread->log, request->index, &text);
    } else if (request->kind == REQUEST_TRUNCATE) {
        request->result = store_log_truncate(thread->log, request->index, &text);
    } else if (request->kind == REQUEST_RESET) {
        request->result = store_log_reset(thread->log, &text);
    } else {
        request->result = store_hard_state_write(thread->state, &request->vote, &text);
    }
    if (request->kind != REQUEST_COMPACT && request->result != ERR_OK &&
        !MUTANT(failure_forgotten)) {
        thread->failed = true;
    }
    finish(request, &text);
    return next;
}

/* The queue, once there is something in it; NULL: stop. Spare segments are made while it is empty.
 */
static struct request *wait_for_requests(struct store_log_thread *thread) {
    bool prepare = true;
    pthread_mutex_lock(&thread->thread.mutex);
    while (thread->head == NULL && !thread->stopping) {
        if (prepare) {
            pthread_mutex_unlock(&thread->thread.mutex);
            prepare = store_log_prepare(thread->log, PREPARE_STEP_BYTES);
            pthread_mutex_lock(&thread->thread.mutex);
        } else if (store_log_has_space(thread->log)) {
            pthread_cond_wait(&thread->thread.wake, &thread->thread.mutex);
        } else {
            struct timespec at = thread_deadline(FULL_DISK_RETRY_MS);
            pthread_cond_timedwait(&thread->thread.wake, &thread->thread.mutex, &at);
            prepare = true;
        }
    }
    struct request *requests = thread->head;
    thread->head = NULL;
    thread->tail = &thread->head;
    pthread_mutex_unlock(&thread->thread.mutex);
    return requests;
}

static void *run(void *context) {
    struct store_log_thread *thread = context;
    struct request *request;
    thread_raise(); /* a leader's and a follower's answers wait for it */
    while ((request = wait_for_requests(thread)) != NULL) {
        while (request != NULL) {
            request = request->kind == REQUEST_APPEND ? append_group(thread, request)
                                                      : do_one(thread, request);
        }
    }
    thread_end(&thread->thread);
    return NULL;
}

struct store_log_thread *store_log_thread_start(struct store_log *log,
                                                struct store_hard_state *state) {
    struct store_log_thread *thread = mem_calloc(1, sizeof *thread);
    thread->log = log;
    thread->state = state;
    thread->tail = &thread->head;
    thread_start(&thread->thread, run, thread);
    return thread;
}

static void enqueue(struct store_log_thread *thread, struct request request) {
    struct request *copy = mem_memdup(&request, sizeof request);
    pthread_mutex_lock(&thread->thread.mutex);
    ASSERT(!thread->stopping);
    *thread->tail = copy;
    thread->tail = &copy->next;
    pthread_cond_signal(&thread->thread.wake);
    pthread_mutex_unlock(&thread->thread.mutex);
}

void store_log_thread_append(struct store_log_thread *thread, const struct store_entry *entries,
                             uint32_t count, store_done_fn done, void *context) {
    ASSERT(count > 0);
    enqueue(thread, (struct request){.kind = REQUEST_APPEND,
                                     .done = done,
                                     .context = context,
                                     .entries = entries,
                                     .count = count});
}

void store_log_thread_write_hard_state(struct store_log_thread *thread,
                                       const struct store_vote *vote, store_done_fn done,
                                       void *context) {
    enqueue(thread,
            (struct request){
                .kind = REQUEST_HARD_STATE, .done = done, .context = context, .vote = *vote});
}

void store_log_thread_compact(struct store_log_thread *thread, uint64_t index, store_done_fn done,
                              void *context) {
    enqueue(thread, (struct request){
                        .kind = REQUEST_COMPACT, .done = done, .context = context, .index = index});
}

void store_log_thread_truncate(struct store_log_thread *thread, uint64_t from, store_done_fn done,
                               void *context) {
    enqueue(thread, (struct request){
                        .kind = REQUEST_TRUNCATE, .done = done, .context = context, .index = from});
}

void store_log_thread_reset(struct store_log_thread *thread, store_done_fn done, void *context) {
    enqueue(thread, (struct request){.kind = REQUEST_RESET, .done = done, .context = context});
}

bool store_log_thread_stop(struct store_log_thread *thread, uint64_t timeout_ms) {
    pthread_mutex_lock(&thread->thread.mutex);
    thread->stopping = true;
    if (!thread_join_within(&thread->thread, timeout_ms)) {
        return false;
    }
    free(thread);
    return true;
}
