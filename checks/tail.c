#include "checks/tail.h"

#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void tail_init(struct tail *tail, size_t max) {
    *tail = (struct tail){.max = max};
}

void tail_clear(struct tail *tail) {
    free(tail->data);
    tail->data = NULL;
    tail->count = 0;
}

void tail_reset(struct tail *tail) {
    tail->count = 0;
    tail->total = 0;
}

void tail_append(struct tail *tail, const char *data, size_t size) {
    tail->total += size;
    if (tail->data == NULL) {
        tail->data = mem_alloc(tail->max);
    }
    if (size >= tail->max) {
        memcpy(tail->data, data + size - tail->max, tail->max);
        tail->count = tail->max;
        return;
    }
    if (tail->count + size > tail->max) {
        size_t drop = tail->count + size - tail->max;
        memmove(tail->data, tail->data + drop, tail->count - drop);
        tail->count -= drop;
    }
    memcpy(tail->data + tail->count, data, size);
    tail->count += size;
}

void tail_mask_nuls(char *data, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (data[i] == '\0') {
            data[i] = '?';
        }
    }
}
