#include "base/arena.h"

#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

#define CHUNK_BYTES 4000
#define ALIGN 16

struct arena_chunk {
    _Alignas(ALIGN) struct arena_chunk *next;
};

void arena_init(struct arena *arena) {
    *arena = (struct arena){0};
}

void arena_clear(struct arena *arena) {
    struct arena_chunk *chunk = arena->chunks;
    while (chunk != NULL) {
        struct arena_chunk *next = chunk->next;
        free(chunk);
        chunk = next;
    }
    arena_init(arena);
}

void *arena_alloc(struct arena *arena, size_t size) {
    size = (size + ALIGN - 1) & ~(size_t)(ALIGN - 1);
    if (arena->at == NULL || (size_t)(arena->end - arena->at) < size) {
        size_t room = size > CHUNK_BYTES ? size : CHUNK_BYTES;
        struct arena_chunk *chunk = mem_alloc(sizeof *chunk + room);
        chunk->next = arena->chunks;
        arena->chunks = chunk;
        arena->at = (char *)(chunk + 1);
        arena->end = arena->at + room;
    }
    void *p = arena->at;
    arena->at += size;
    return memset(p, 0, size);
}

char *arena_strndup(struct arena *arena, const char *s, size_t size) {
    char *copy = arena_alloc(arena, size + 1);
    memcpy(copy, s, size);
    return copy;
}

char *arena_strdup(struct arena *arena, const char *s) {
    return arena_strndup(arena, s, strlen(s));
}

char *arena_format(struct arena *arena, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *s = arena_alloc(arena, (size_t)(need < 0 ? 0 : need) + 1);
    va_start(args, format);
    vsnprintf(s, (size_t)(need < 0 ? 0 : need) + 1, format, args);
    va_end(args);
    return s;
}
