/* The last bytes of an output, and how many there were (contract 11.1). */
#ifndef CHECKS_TAIL_H
#define CHECKS_TAIL_H

#include <stddef.h>
#include <stdint.h>

struct tail {
    char *data; /* NULL before the first byte */
    size_t count, max;
    uint64_t total; /* count <= total */
};

/* max > 0. */
void tail_init(struct tail *tail, size_t max);
void tail_clear(struct tail *tail);
void tail_reset(struct tail *tail); /* keeps the memory */
void tail_append(struct tail *tail, const char *data, size_t size);
/* Outputs are C strings: NULs become '?'. */
void tail_mask_nuls(char *data, size_t count);

#endif
