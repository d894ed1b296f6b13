/* How many bytes lie between two indexes, roughly. */
#include <stdlib.h>

#include "base/mem.h"
#include "raft/internal.h"

void raft_sizes_add(struct raft_sizes *sizes, uint64_t index, uint32_t bytes) {
    if (sizes->last.index + 1 != index) {
        sizes->count = 0;
        sizes->last = (struct raft_size_mark){.index = index - 1, .total = 0};
    }
    uint64_t marked = sizes->count > 0 ? sizes->marks[sizes->count - 1].total : 0;
    if (sizes->count == 0 || sizes->last.total - marked >= LIMIT_RAFT_SIZE_MARK_BYTES) {
        if (sizes->count == sizes->capacity) {
            sizes->capacity += sizes->capacity + 8;
            sizes->marks = mem_realloc(sizes->marks, sizes->capacity * sizeof *sizes->marks);
        }
        sizes->marks[sizes->count++] = sizes->last;
    }
    sizes->last = (struct raft_size_mark){.index = index, .total = sizes->last.total + bytes};
}

void raft_sizes_clear(struct raft_sizes *sizes) {
    free(sizes->marks);
    *sizes = (struct raft_sizes){0};
}
