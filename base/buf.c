#include "base/buf.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"

void buf_init(struct buf *buf, size_t max) {
    *buf = (struct buf){.max = max};
}

void buf_clear(struct buf *buf) {
    free(buf->data);
    buf_init(buf, buf->max);
}

void buf_reset(struct buf *buf) {
    buf->count = 0;
    buf->failed = false;
}

char *buf_reserve(struct buf *buf, size_t size) {
    if (buf->failed || size > buf->max || buf->count > buf->max - size) {
        buf->failed = true;
        return NULL;
    }
    size_t need = buf->count + size;
    if (need > buf->capacity) {
        size_t capacity = buf->capacity < 128 ? 256 : buf->capacity * 2;
        if (capacity < need) {
            capacity = need;
        }
        if (capacity > buf->max) {
            capacity = buf->max;
        }
        buf->data = mem_realloc(buf->data, capacity + 1); /* and the NUL of vsnprintf */
        buf->capacity = capacity;
    }
    return buf->data + buf->count;
}

void buf_append(struct buf *buf, const void *data, size_t size) {
    if (size == 0) {
        return; /* there may be no memory yet to point into */
    }
    char *to = buf_reserve(buf, size);
    if (to != NULL && size > 0) {
        memcpy(to, data, size);
        buf->count += size;
    }
}

void buf_append_str(struct buf *buf, const char *s) {
    buf_append(buf, s, strlen(s));
}

void buf_append_format(struct buf *buf, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int need = vsnprintf(NULL, 0, format, args);
    va_end(args);
    char *to = need < 0 ? NULL : buf_reserve(buf, (size_t)need);
    if (to == NULL) { /* no room, or an empty text for an empty buffer */
        buf->failed = buf->failed || need < 0;
        return;
    }
    va_start(args, format);
    vsnprintf(to, (size_t)need + 1, format, args);
    va_end(args);
    buf->count += (size_t)need;
}

void buf_append_u64(struct buf *buf, uint64_t value) {
    char digits[20];
    size_t at = sizeof digits;
    do {
        digits[--at] = (char)('0' + value % 10);
        value /= 10;
    } while (value > 0);
    buf_append(buf, digits + at, sizeof digits - at);
}

char *buf_take(struct buf *buf, size_t *ret_size) {
    if (buf->failed) {
        buf_clear(buf);
        return NULL;
    }
    char *data = buf->data != NULL ? buf->data : mem_calloc(1, 1);
    *ret_size = buf->count;
    buf_init(buf, buf->max);
    return data;
}
