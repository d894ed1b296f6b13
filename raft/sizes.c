/* How many bytes lie between two indexes, roughly. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "raft/internal.h"

static void push(struct raft_sizes *sizes, struct raft_size_mark mark) {
    if (sizes->count == sizes->capacity) {
        sizes->capacity += sizes->capacity + 8;
        sizes->marks = mem_realloc(sizes->marks, sizes->capacity * sizeof *sizes->marks);
    }
    sizes->marks[sizes->count++] = mark;
}

void raft_sizes_add(struct raft_sizes *sizes, uint64_t index, uint32_t bytes) {
    if (sizes->last.index + 1 != index) {
        sizes->count = 0;
        sizes->last = (struct raft_size_mark){.index = index - 1, .total = 0};
    }
    uint64_t marked = sizes->count > 0 ? sizes->marks[sizes->count - 1].total : 0;
    if (sizes->count == 0 || sizes->last.total - marked >= LIMIT_RAFT_SIZE_MARK_BYTES) {
        push(sizes, sizes->last);
    }
    sizes->last = (struct raft_size_mark){.index = index, .total = sizes->last.total + bytes};
}

void raft_sizes_clear(struct raft_sizes *sizes) {
    free(sizes->marks);
    *sizes = (struct raft_sizes){0};
}

void raft_sizes_copy(struct raft_sizes *to, const struct raft_sizes *from) {
    raft_sizes_clear(to);
    for (uint32_t i = 0; i < from->count; i++) {
        push(to, from->marks[i]);
    }
    to->last = from->last;
}

/* The last mark at or before index; count: there is none. */
static uint32_t mark_before(const struct raft_sizes *sizes, uint64_t index) {
    uint32_t low = 0, high = sizes->count;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if (sizes->marks[middle].index <= index) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low == 0 ? sizes->count : low - 1;
}

static struct raft_size_mark mark_after(const struct raft_sizes *sizes, uint32_t i) {
    return i + 1 < sizes->count ? sizes->marks[i + 1] : sizes->last;
}

/* Bytes up to index, by straight lines between the marks. */
static uint64_t total(const struct raft_sizes *sizes, uint64_t index) {
    if (index >= sizes->last.index) {
        return sizes->last.total;
    }
    uint32_t i = mark_before(sizes, index);
    if (i == sizes->count) {
        return sizes->count > 0 ? sizes->marks[0].total : 0;
    }
    struct raft_size_mark from = sizes->marks[i], to = mark_after(sizes, i);
    return from.total + (to.total - from.total) / (to.index - from.index) * (index - from.index);
}

void raft_sizes_truncate(struct raft_sizes *sizes, uint64_t index) {
    if (index == 0 || index > sizes->last.index) {
        return;
    }
    sizes->last = (struct raft_size_mark){.index = index - 1, .total = total(sizes, index - 1)};
    while (sizes->count > 0 && sizes->marks[sizes->count - 1].index >= index - 1) {
        sizes->count--;
    }
    if (sizes->count == 0) {
        push(sizes, sizes->last);
    }
}

void raft_sizes_compact(struct raft_sizes *sizes, uint64_t index) {
    uint32_t i = mark_before(sizes, index);
    if (i > 0 && i < sizes->count) {
        sizes->count -= i;
        memmove(sizes->marks, sizes->marks + i, sizes->count * sizeof *sizes->marks);
    }
}

uint64_t raft_sizes_between(const struct raft_sizes *sizes, uint64_t after, uint64_t to) {
    uint64_t from = total(sizes, after), end = total(sizes, to);
    return end > from ? end - from : 0;
}

uint64_t raft_sizes_reach(const struct raft_sizes *sizes, uint64_t after, uint64_t max,
                          uint64_t bytes) {
    uint64_t low = after, high = max; /* low is in reach */
    while (low < high) {
        uint64_t middle = high - (high - low) / 2;
        if (raft_sizes_between(sizes, after, middle) <= bytes) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}
