#include "store/snapshot_thread.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/thread.h"
#include "store/snapshot_internal.h"

struct store_snapshot_thread {
    char *directory;
    struct uuid cluster;
    atomic_bool abandoned; /* the writer looks at it */

    struct thread thread; /* its mutex guards what follows */
    struct store_snapshot_job job;
    bool busy; /* job is waiting or being done */
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
    pthread_mutex_lock(&thread->thread.mutex);
    while (!atomic_load(&thread->abandoned)) {
        if (!thread->busy) {
            pthread_cond_wait(&thread->thread.wake, &thread->thread.mutex);
            continue;
        }
        struct store_snapshot_job job = thread->job;
        pthread_mutex_unlock(&thread->thread.mutex);
        write_snapshot(thread, &job);
        pthread_mutex_lock(&thread->thread.mutex);
        thread->busy = false;
    }
    bool waiting = thread->busy;
    struct store_snapshot_job job = thread->job;
    pthread_mutex_unlock(&thread->thread.mutex);
    if (waiting) {
        job.done(job.context, ERR_CLOSED, 0, "the program is stopping");
    }
    thread_end(&thread->thread);
    return NULL;
}

struct store_snapshot_thread *store_snapshot_thread_start(const char *directory,
                                                          const struct uuid *cluster) {
    struct store_snapshot_thread *thread = mem_calloc(1, sizeof *thread);
    thread->directory = mem_strdup(directory);
    thread->cluster = *cluster;
    thread_start(&thread->thread, run, thread);
    return thread;
}

enum err store_snapshot_thread_take(struct store_snapshot_thread *thread,
                                    const struct store_snapshot_job *job) {
    pthread_mutex_lock(&thread->thread.mutex);
    enum err err = thread->busy ? ERR_OVERLOADED : ERR_OK;
    if (err == ERR_OK) {
        thread->job = *job;
        thread->busy = true;
        pthread_cond_signal(&thread->thread.wake);
    }
    pthread_mutex_unlock(&thread->thread.mutex);
    return err;
}

bool store_snapshot_thread_stop(struct store_snapshot_thread *thread, uint64_t timeout_ms) {
    pthread_mutex_lock(&thread->thread.mutex);
    atomic_store(&thread->abandoned, true);
    if (!thread_join_within(&thread->thread, timeout_ms)) {
        return false;
    }
    free(thread->directory);
    free(thread);
    return true;
}
