/* Heap memory. Running out is not survivable for an agent: these abort instead of returning NULL.
 */
#ifndef BASE_MEM_H
#define BASE_MEM_H

#include <stddef.h>

/* The caller owns the result and frees it with free(). size 0 yields a valid one-byte block. */
void *mem_alloc(size_t size);
void *mem_calloc(size_t count, size_t size);
void *mem_realloc(void *p, size_t size);
char *mem_strdup(const char *s);
void *mem_memdup(const void *p, size_t size);

#endif
