#include "agent/save.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/thread.h"
#include "store/replace.h"

#define STOP_MS 500

struct job {
    struct loop_task task; /* first */
    struct job *next;
    char *path, *data;
    size_t size;
    enum err err;
    struct err_text text;
    void (*done)(void *context, enum err err, const struct err_text *text);
    void *context;
};

struct saver {
    struct loop *loop;
    pthread_t thread;
    bool started, stopping;
    pthread_mutex_t mutex;
    pthread_cond_t wanted;
    struct job *first, **last;
};

static void job_done(struct loop_task *task) {
    struct job *job = (struct job *)task;
    if (job->done != NULL) {
        job->done(job->context, job->err, &job->text);
    }
    free(job->path);
    free(job->data);
    free(job);
}

static void *run(void *context) {
    struct saver *saver = context;
    pthread_mutex_lock(&saver->mutex);
    while (saver->first != NULL || !saver->stopping) {
        struct job *job = saver->first;
        if (job == NULL) {
            pthread_cond_wait(&saver->wanted, &saver->mutex);
            continue;
        }
        saver->first = job->next;
        if (saver->first == NULL) {
            saver->last = &saver->first;
        }
        pthread_mutex_unlock(&saver->mutex);
        job->err = store_replace_file(job->path, job->data, job->size, &job->text);
        loop_post(saver->loop, &job->task);
        pthread_mutex_lock(&saver->mutex);
    }
    pthread_mutex_unlock(&saver->mutex);
    return NULL;
}

struct saver *saver_create(struct loop *loop) {
    struct saver *saver = mem_calloc(1, sizeof *saver);
    saver->loop = loop;
    saver->last = &saver->first;
    pthread_mutex_init(&saver->mutex, NULL);
    pthread_cond_init(&saver->wanted, NULL);
    return saver;
}

bool saver_destroy(struct saver *saver) {
    if (saver == NULL) {
        return true;
    }
    if (saver->started) {
        struct timespec end;
        pthread_mutex_lock(&saver->mutex);
        saver->stopping = true;
        pthread_cond_signal(&saver->wanted);
        pthread_mutex_unlock(&saver->mutex);
        clock_gettime(CLOCK_REALTIME, &end);
        end.tv_nsec += STOP_MS * 1000000L;
        end.tv_sec += end.tv_nsec / 1000000000L;
        end.tv_nsec %= 1000000000L;
        if (pthread_timedjoin_np(saver->thread, NULL, &end) != 0) {
            return false;
        }
    }
    pthread_mutex_destroy(&saver->mutex);
    pthread_cond_destroy(&saver->wanted);
    free(saver);
    return true;
}

void saver_write(struct saver *saver, const char *path, char *data, size_t size,
                 void (*done)(void *context, enum err err, const struct err_text *text),
                 void *context) {
    struct job *job = mem_calloc(1, sizeof *job);
    *job = (struct job){.task = {.run = job_done},
                        .path = mem_strdup(path),
                        .data = data,
                        .size = size,
                        .done = done,
                        .context = context};
    if (!saver->started) {
        saver->started = true;
        thread_start_brief(&saver->thread, run, saver);
    }
    pthread_mutex_lock(&saver->mutex);
    *saver->last = job;
    saver->last = &job->next;
    pthread_cond_signal(&saver->wanted);
    pthread_mutex_unlock(&saver->mutex);
}
