#include "store/snapshot_thread.h"

#include <stdlib.h>

#include "base/mem.h"
#include "store/snapshot_internal.h"
#include "store/thread.h"

struct store_snapshot_thread {
    char *directory;
    struct uuid cluster;
    pthread_t thread;
    atomic_bool abandoned; /* the writer looks at it */

    pthread_mutex_t mutex; /* guards what follows */
    pthread_cond_t wake;
    pthread_cond_t ended_changed;
    struct store_snapshot_job job;
    bool busy; /* job is waiting or being done */
    bool ended;
};

static void write_snapshot(struct store_snapshot_thread *thread,
                           const struct store_snapshot_job *job) {
    struct store_snapshot_writer *writer = NULL;
    struct err_text text = {.s = ""};
    uint64_t bytes = 0;
    enum err err = store_snapshot_writer_create(thread->directory, &thread->cluster, &job->info,
                                                &writer, &text);
    if (err == ERR_OK) {
        store_snapshot_writer_watch(writer, &thread->abandoned);
        err = job->encode(job->context, writer, &text);
    }
    if (err == ERR_OK && atomic_load(&thread->abandoned)) {
        err = err_set(&text, ERR_CLOSED, "the snapshot was given up");
    }
    if (err == ERR_OK) {
        err = store_snapshot_writer_commit(writer, &bytes, &text);
    }
    store_snapshot_writer_destroy(writer);
    job->done(job->context, err, bytes, err == ERR_OK ? NULL : text.s);
}

static void *run(void *context) {
    struct store_snapshot_thread *thread = context;
    pthread_mutex_lock(&thread->mutex);
    while (!atomic_load(&thread->abandoned)) {
        if (!thread->busy) {
            pthread_cond_wait(&thread->wake, &thread->mutex);
            continue;
        }
        struct store_snapshot_job job = thread->job;
        pthread_mutex_unlock(&thread->mutex);
        write_snapshot(thread, &job);
        pthread_mutex_lock(&thread->mutex);
        thread->busy = false;
    }
    bool waiting = thread->busy;
    struct store_snapshot_job job = thread->job;
    pthread_mutex_unlock(&thread->mutex);
    if (waiting) {
        job.done(job.context, ERR_CLOSED, 0, "the program is stopping");
    }
    pthread_mutex_lock(&thread->mutex);
    thread->ended = true;
    pthread_cond_signal(&thread->ended_changed);
    pthread_mutex_unlock(&thread->mutex);
    return NULL;
}

struct store_snapshot_thread *store_snapshot_thread_start(const char *directory,
                                                          const struct uuid *cluster) {
    struct store_snapshot_thread *thread = mem_calloc(1, sizeof *thread);
    thread->directory = mem_strdup(directory);
    thread->cluster = *cluster;
    pthread_mutex_init(&thread->mutex, NULL);
    thread_init_condition(&thread->wake);
    thread_init_condition(&thread->ended_changed);
    thread->thread = thread_start(run, thread);
    return thread;
}

enum err store_snapshot_thread_take(struct store_snapshot_thread *thread,
                                    const struct store_snapshot_job *job) {
    pthread_mutex_lock(&thread->mutex);
    enum err err = thread->busy ? ERR_OVERLOADED : ERR_OK;
    if (err == ERR_OK) {
        thread->job = *job;
        thread->busy = true;
        pthread_cond_signal(&thread->wake);
    }
    pthread_mutex_unlock(&thread->mutex);
    return err;
}

bool store_snapshot_thread_stop(struct store_snapshot_thread *thread, uint64_t timeout_ms) {
    struct timespec at = thread_deadline(timeout_ms);
    pthread_mutex_lock(&thread->mutex);
    atomic_store(&thread->abandoned, true);
    pthread_cond_signal(&thread->wake);
    int timed_out = 0;
    while (!thread->ended && timed_out == 0) {
        timed_out = pthread_cond_timedwait(&thread->ended_changed, &thread->mutex, &at);
    }
    bool ended = thread->ended;
    pthread_mutex_unlock(&thread->mutex);
    if (!ended) {
        pthread_detach(thread->thread);
        return false;
    }
    pthread_join(thread->thread, NULL);
    pthread_cond_destroy(&thread->wake);
    pthread_cond_destroy(&thread->ended_changed);
    pthread_mutex_destroy(&thread->mutex);
    free(thread->directory);
    free(thread);
    return true;
}
