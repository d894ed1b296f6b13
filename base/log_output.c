#include "base/log_output.h"

#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"

struct line {
    struct line *next;
    enum log_level level;
    struct timespec at;
    size_t size;
    char text[];
};

struct log_output {
    void (*write)(void *context, const struct log_piece *piece);
    void *context;
    struct thread thread; /* its mutex guards what follows */
    pthread_cond_t idle_changed;
    struct line *first, **last;
    size_t bytes;               /* queued and being written */
    uint64_t lost, lost_before; /* untold ones; told ones */
    bool held, stopping;
};

static size_t cost(size_t size) {
    return sizeof(struct line) + size;
}

/* With the mutex, which it gives up meanwhile. */
static void write_all(struct log_output *output, struct line *line) {
    pthread_mutex_unlock(&output->thread.mutex);
    size_t bytes = 0;
    for (struct line *next; line != NULL; line = next) {
        struct log_piece piece = {line->level, line->text, line->size, line->at};
        next = line->next;
        output->write(output->context, &piece);
        bytes += cost(line->size);
        free(line);
    }
    pthread_mutex_lock(&output->thread.mutex);
    output->bytes -= bytes;
    pthread_cond_broadcast(&output->idle_changed);
}

static void *run(void *context) {
    struct log_output *output = context;
    pthread_mutex_lock(&output->thread.mutex);
    while (output->first != NULL || !output->stopping) {
        struct line *line = output->first;
        if (line == NULL || (output->held && !output->stopping)) {
            pthread_cond_wait(&output->thread.wake, &output->thread.mutex);
            continue;
        }
        output->first = NULL;
        output->last = &output->first;
        write_all(output, line);
    }
    pthread_mutex_unlock(&output->thread.mutex);
    thread_end(&output->thread);
    return NULL;
}

struct log_output *log_output_create(void (*write)(void *context, const struct log_piece *piece),
                                     void *context) {
    struct log_output *output = mem_calloc(1, sizeof *output);
    output->write = write;
    output->context = context;
    output->last = &output->first;
    thread_init_condition(&output->idle_changed);
    thread_start(&output->thread, run, output);
    return output;
}

static struct line *make_line(const struct log_piece *piece) {
    struct line *line = mem_alloc(sizeof *line + piece->size + 1);
    *line = (struct line){.level = piece->level, .at = piece->at, .size = piece->size};
    if (piece->size > 0) {
        memcpy(line->text, piece->text, piece->size);
    }
    line->text[piece->size] = '\0';
    return line;
}

bool log_output_put(struct log_output *output, const struct log_piece *piece) {
    struct line *line = make_line(piece);
    pthread_mutex_lock(&output->thread.mutex);
    bool room = output->bytes + cost(piece->size) <= LIMIT_LOG_QUEUE_BYTES;
    if (room) {
        *output->last = line;
        output->last = &line->next;
        output->bytes += cost(piece->size);
        pthread_cond_signal(&output->thread.wake);
    } else {
        output->lost++;
    }
    pthread_mutex_unlock(&output->thread.mutex);
    if (!room) {
        free(line);
    }
    return room;
}

void log_output_hold(struct log_output *output) {
    pthread_mutex_lock(&output->thread.mutex);
    output->held = true;
    pthread_mutex_unlock(&output->thread.mutex);
}

void log_output_release(struct log_output *output, const struct log_piece *first) {
    struct line *line = make_line(first);
    pthread_mutex_lock(&output->thread.mutex);
    output->held = false;
    line->next = output->first;
    if (output->first == NULL) {
        output->last = &line->next;
    }
    output->first = line;
    output->bytes += cost(first->size);
    pthread_cond_signal(&output->thread.wake);
    pthread_mutex_unlock(&output->thread.mutex);
}

uint64_t log_output_take_lost(struct log_output *output) {
    pthread_mutex_lock(&output->thread.mutex);
    bool room = output->bytes + 4 * LOG_LINE_BYTES <= LIMIT_LOG_QUEUE_BYTES;
    uint64_t lost = room ? output->lost : 0;
    output->lost -= lost;
    output->lost_before += lost;
    pthread_mutex_unlock(&output->thread.mutex);
    return lost;
}

uint64_t log_output_lost(struct log_output *output) {
    pthread_mutex_lock(&output->thread.mutex);
    uint64_t lost = output->lost + output->lost_before;
    pthread_mutex_unlock(&output->thread.mutex);
    return lost;
}

bool log_output_flush(struct log_output *output, uint64_t timeout_ms) {
    struct timespec at = thread_deadline(timeout_ms);
    int timed_out = 0;
    pthread_mutex_lock(&output->thread.mutex);
    while (output->bytes > 0 && timed_out == 0) {
        timed_out = pthread_cond_timedwait(&output->idle_changed, &output->thread.mutex, &at);
    }
    bool done = output->bytes == 0;
    pthread_mutex_unlock(&output->thread.mutex);
    return done;
}

bool log_output_destroy(struct log_output *output, uint64_t timeout_ms) {
    if (output == NULL) {
        return true;
    }
    pthread_mutex_lock(&output->thread.mutex);
    output->stopping = true;
    if (!thread_join_within(&output->thread, timeout_ms)) {
        return false;
    }
    pthread_cond_destroy(&output->idle_changed);
    free(output);
    return true;
}
