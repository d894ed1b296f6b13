#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/log_readers.h"
#include "base/mem.h"

#define NOBODY (LOG_ERROR + 1)

struct line {
    size_t size;
    char *text;
};

struct log_reader {
    struct log_readers *all;
    struct log_reader *next;
    enum log_level level;
    bool json, armed;
    void (*ready)(void *context);
    void *context;
    struct line lines[LIMIT_LOG_READER_LINES]; /* a ring: count of them from first on */
    unsigned first, count;
    size_t taken; /* bytes of the first line that are gone */
    uint64_t dropped;
};

struct log_readers {
    _Atomic int level;
    pthread_mutex_t mutex; /* of all readers; held for a copy of a line each */
    struct log_reader *list;
    unsigned count;
};

struct log_readers *log_readers_create(void) {
    struct log_readers *readers = mem_calloc(1, sizeof *readers);
    atomic_init(&readers->level, NOBODY);
    pthread_mutex_init(&readers->mutex, NULL);
    return readers;
}

void log_readers_destroy(struct log_readers *readers) {
    ASSERT(readers->list == NULL);
    pthread_mutex_destroy(&readers->mutex);
    free(readers);
}

int log_readers_level(const struct log_readers *readers) {
    return atomic_load_explicit(&readers->level, memory_order_relaxed);
}

static void find_level(struct log_readers *readers) {
    int level = NOBODY;
    for (const struct log_reader *at = readers->list; at != NULL; at = at->next) {
        level = (int)at->level < level ? (int)at->level : level;
    }
    atomic_store_explicit(&readers->level, level, memory_order_relaxed);
}

struct log_reader *log_reader_create(struct log *log, enum log_level level, bool json,
                                     void (*ready)(void *context), void *context) {
    struct log_readers *readers = log_get_readers(log);
    struct log_reader *reader = NULL;
    pthread_mutex_lock(&readers->mutex);
    if (readers->count < LIMIT_LOG_READERS) {
        reader = mem_calloc(1, sizeof *reader);
        reader->all = readers;
        reader->level = level;
        reader->json = json;
        reader->ready = ready;
        reader->context = context;
        reader->next = readers->list;
        readers->list = reader;
        readers->count++;
        find_level(readers);
    }
    pthread_mutex_unlock(&readers->mutex);
    return reader;
}

uint64_t log_reader_destroy(struct log_reader *reader) {
    struct log_readers *readers = reader->all;
    pthread_mutex_lock(&readers->mutex);
    struct log_reader **at = &readers->list;
    while (*at != reader) {
        at = &(*at)->next;
    }
    *at = reader->next;
    readers->count--;
    find_level(readers);
    pthread_mutex_unlock(&readers->mutex);
    uint64_t dropped = reader->dropped;
    for (unsigned i = 0; i < reader->count; i++) {
        free(reader->lines[(reader->first + i) % LIMIT_LOG_READER_LINES].text);
    }
    free(reader);
    return dropped;
}

static void put(struct log_reader *reader, const char *text, size_t size) {
    if (reader->count == LIMIT_LOG_READER_LINES) {
        reader->dropped++;
        return;
    }
    unsigned at = (reader->first + reader->count++) % LIMIT_LOG_READER_LINES;
    reader->lines[at] = (struct line){size, mem_memdup(text, size)};
    if (reader->armed) {
        reader->armed = false;
        reader->ready(reader->context);
    }
}

void log_readers_offer(struct log_readers *readers, const struct log_line *line) {
    char json[LOG_JSON_LINE_BYTES];
    size_t json_size = 0;
    pthread_mutex_lock(&readers->mutex);
    for (struct log_reader *at = readers->list; at != NULL; at = at->next) {
        if (line->level < at->level) {
            continue;
        }
        if (at->json && json_size == 0) {
            json_size = line->format_json(line->context, json);
        }
        put(at, at->json ? json : line->text, at->json ? json_size : line->size);
    }
    pthread_mutex_unlock(&readers->mutex);
}

size_t log_reader_take(struct log_reader *reader, char *out, size_t size) {
    size_t used = 0;
    pthread_mutex_lock(&reader->all->mutex);
    while (reader->count > 0 && used < size) {
        struct line *line = &reader->lines[reader->first];
        size_t left = line->size - reader->taken;
        size_t part = left < size - used ? left : size - used;
        memcpy(out + used, line->text + reader->taken, part);
        used += part;
        reader->taken += part;
        if (part == left) {
            free(line->text);
            reader->first = (reader->first + 1) % LIMIT_LOG_READER_LINES;
            reader->count--;
            reader->taken = 0;
        }
    }
    pthread_mutex_unlock(&reader->all->mutex);
    return used;
}

bool log_reader_arm(struct log_reader *reader) {
    pthread_mutex_lock(&reader->all->mutex);
    bool armed = reader->count == 0;
    reader->armed = armed;
    pthread_mutex_unlock(&reader->all->mutex);
    return armed;
}

bool log_reader_disarm(struct log_reader *reader) {
    pthread_mutex_lock(&reader->all->mutex);
    bool was = reader->armed;
    reader->armed = false;
    pthread_mutex_unlock(&reader->all->mutex);
    return was;
}
