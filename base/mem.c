#include "base/mem.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *check(void *p, size_t size) {
    if (p == NULL) {
        fprintf(stderr, "==> out of memory: %zu bytes refused\n", size);
        abort();
    }
    return p;
}

void *mem_alloc(size_t size) {
    return check(malloc(size ? size : 1), size);
}

void *mem_calloc(size_t count, size_t size) {
    return check(calloc(count ? count : 1, size ? size : 1), count * size);
}

void *mem_realloc(void *p, size_t size) {
    return check(realloc(p, size ? size : 1), size);
}

char *mem_strdup(const char *s) {
    return mem_memdup(s, strlen(s) + 1);
}

void *mem_memdup(const void *p, size_t size) {
    void *copy = mem_alloc(size);
    if (size > 0) {
        memcpy(copy, p, size);
    }
    return copy;
}
