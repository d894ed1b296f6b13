#include "agent/log_tail.h"

#include <stdlib.h>

#include "agent/group.h"
#include "base/assert.h"
#include "base/mem.h"

static void free_batch(struct batch *batch) {
    for (uint32_t i = 0; batch->block == NULL && i < batch->count; i++) {
        free((void *)(uintptr_t)batch->entries[i].payload);
    }
    free(batch->block);
    free(batch->entries);
    free(batch);
}

static void drop(struct batch *batch) {
    batch->dropped = true;
    if (!batch->writing) {
        free_batch(batch);
    }
}

void log_tail_release(struct batch *batch) {
    batch->writing = false;
    if (batch->dropped) {
        free_batch(batch);
    }
}

struct batch *log_tail_get(const struct log_tail *tail, uint32_t i) {
    ASSERT(i < tail->count);
    return tail->v[(tail->head + i) % tail->capacity];
}

void log_tail_clear(struct log_tail *tail, bool all) {
    for (uint32_t i = 0; i < tail->count; i++) {
        struct batch *batch = log_tail_get(tail, i);
        batch->writing = batch->writing && !all;
        drop(batch);
    }
    free(tail->v);
    *tail = (struct log_tail){0};
}

void log_tail_push(struct log_tail *tail, struct batch *batch) {
    if (tail->count == tail->capacity) {
        uint32_t capacity = tail->capacity == 0 ? 64 : tail->capacity * 2;
        struct batch **v = mem_alloc(capacity * sizeof *v);
        for (uint32_t i = 0; i < tail->count; i++) {
            v[i] = log_tail_get(tail, i);
        }
        free(tail->v);
        tail->v = v;
        tail->head = 0;
        tail->capacity = capacity;
    }
    tail->v[(tail->head + tail->count) % tail->capacity] = batch;
    tail->count++;
    tail->bytes += batch->bytes;
}

struct batch *log_tail_find(const struct log_tail *tail, uint64_t index,
                            const struct store_entry **ret_entry) {
    uint32_t low = 0, high = tail->count;
    while (low < high) { /* the last batch that does not begin behind the index */
        uint32_t middle = low + (high - low) / 2;
        if (log_tail_get(tail, middle)->entries[0].index <= index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    if (low == 0) {
        return NULL;
    }
    struct batch *batch = log_tail_get(tail, low - 1);
    uint64_t offset = index - batch->entries[0].index;
    if (offset >= batch->kept) {
        return NULL;
    }
    *ret_entry = &batch->entries[offset];
    return batch;
}

bool log_tail_holds(const struct log_tail *tail, uint64_t first, uint32_t count, uint64_t term) {
    uint64_t at = first;
    while (at < first + count) {
        const struct store_entry *entry;
        struct batch *batch = log_tail_find(tail, at, &entry);
        if (batch == NULL || entry->term != term) {
            return false; /* a batch is of one term */
        }
        at = batch->entries[0].index + batch->kept;
    }
    return true;
}

static struct group_proposal **end_of(struct group_proposal **list) {
    while (*list != NULL) {
        list = &(*list)->next;
    }
    return list;
}

void log_tail_cut(struct log_tail *tail, uint64_t from, struct group_proposal **ret_lost) {
    while (tail->count > 0) {
        struct batch *batch = log_tail_get(tail, tail->count - 1);
        uint64_t first = batch->entries[0].index;
        if (first + batch->kept <= from) {
            return;
        }
        uint32_t kept = first < from ? (uint32_t)(from - first) : 0;
        ASSERT(kept >= batch->applied); /* what is committed is never cut */
        struct group_proposal **keep = &batch->proposals;
        for (uint32_t i = batch->applied; i < kept && *keep != NULL; i++) {
            keep = &(*keep)->next;
        }
        *end_of(ret_lost) = *keep;
        *keep = NULL;
        batch->kept = kept;
        if (kept == 0) {
            tail->count--;
            tail->bytes -= batch->bytes;
            drop(batch);
        }
    }
}

void log_tail_trim(struct log_tail *tail, size_t bytes_max) {
    while (tail->count > 0 && tail->bytes > bytes_max) {
        struct batch *batch = log_tail_get(tail, 0);
        if (batch->applied < batch->kept || batch->writing || batch->refused) {
            return;
        }
        tail->head = (tail->head + 1) % tail->capacity;
        tail->count--;
        tail->bytes -= batch->bytes;
        drop(batch);
    }
}
