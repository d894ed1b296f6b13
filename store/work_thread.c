#include "store/work_thread.h"

#include <stdlib.h>

#include "base/mem.h"
#include "base/thread.h"

struct store_work_thread {
    struct thread thread; /* its mutex guards what follows */
    struct store_work *first, **last;
    bool stopping;
};

static void *run(void *context) {
    struct store_work_thread *thread = context;
    pthread_mutex_lock(&thread->thread.mutex);
    while (thread->first != NULL || !thread->stopping) {
        struct store_work *work = thread->first;
        if (work == NULL) {
            pthread_cond_wait(&thread->thread.wake, &thread->thread.mutex);
            continue;
        }
        thread->first = work->next;
        if (thread->first == NULL) {
            thread->last = &thread->first;
        }
        pthread_mutex_unlock(&thread->thread.mutex);
        work->run(work, work->context);
        pthread_mutex_lock(&thread->thread.mutex);
    }
    pthread_mutex_unlock(&thread->thread.mutex);
    thread_end(&thread->thread);
    return NULL;
}

struct store_work_thread *store_work_thread_start(void) {
    struct store_work_thread *thread = mem_calloc(1, sizeof *thread);
    thread->last = &thread->first;
    thread_start(&thread->thread, run, thread);
    return thread;
}

void store_work_thread_run(struct store_work_thread *thread, struct store_work *work) {
    work->next = NULL;
    pthread_mutex_lock(&thread->thread.mutex);
    *thread->last = work;
    thread->last = &work->next;
    pthread_cond_signal(&thread->thread.wake);
    pthread_mutex_unlock(&thread->thread.mutex);
}

bool store_work_thread_stop(struct store_work_thread *thread, uint64_t timeout_ms) {
    pthread_mutex_lock(&thread->thread.mutex);
    thread->stopping = true;
    pthread_cond_signal(&thread->thread.wake);
    if (!thread_join_within(&thread->thread, timeout_ms)) {
        return false;
    }
    free(thread);
    return true;
}
