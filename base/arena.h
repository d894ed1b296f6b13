/* An arena: many small allocations, dropped whole. One per HTTP request, DNS question, config load.
 */
#ifndef BASE_ARENA_H
#define BASE_ARENA_H

#include <stddef.h>

struct arena_chunk;

struct arena {
    struct arena_chunk *chunks; /* newest first */
    char *at;                   /* free room of the newest chunk: [at, end) */
    char *end;
};

void arena_init(struct arena *arena);
void arena_clear(struct arena *arena); /* frees all; the arena is as after init */

/* Zeroed, aligned to 16 bytes; lives until arena_clear. */
void *arena_alloc(struct arena *arena, size_t size);
char *arena_strdup(struct arena *arena, const char *s);
char *arena_strndup(struct arena *arena, const char *s, size_t size);
char *arena_format(struct arena *arena, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
