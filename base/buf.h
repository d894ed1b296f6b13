/* A growable byte buffer that names its cap when made. Going over the cap sets `failed`, which
 * stays; the caller checks it once, at the end. */
#ifndef BASE_BUF_H
#define BASE_BUF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct buf {
    char *data;
    size_t count; /* bytes used, <= capacity */
    size_t capacity;
    size_t max;  /* capacity never grows above this */
    bool failed; /* an append did not fit; nothing of it was written */
};

void buf_init(struct buf *buf, size_t max);
void buf_clear(struct buf *buf); /* frees the bytes; the buffer is as after init */
void buf_reset(struct buf *buf); /* count = 0, memory is kept */

/* Room for `size` more bytes, not yet counted; NULL (and failed) above the cap. */
char *buf_reserve(struct buf *buf, size_t size);
void buf_append(struct buf *buf, const void *data, size_t size);
void buf_append_str(struct buf *buf, const char *s);
void buf_append_format(struct buf *buf, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
void buf_append_u64(struct buf *buf, uint64_t value);

/* The bytes; the caller frees them with free(). The buffer is as after init. NULL if failed. */
char *buf_take(struct buf *buf, size_t *ret_size);

static inline void buf_append_byte(struct buf *buf, char byte) {
    if (buf->count < buf->capacity || buf_reserve(buf, 1) != NULL) {
        buf->data[buf->count++] = byte;
    }
}

#endif
