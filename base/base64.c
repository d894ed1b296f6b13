#include "base/base64.h"

#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buf *out, const void *data, size_t size) {
    const uint8_t *from = data;
    char *to = buf_reserve(out, (size + 2) / 3 * 4);
    if (to == NULL) {
        return;
    }
    out->count += (size + 2) / 3 * 4;
    for (; size >= 3; size -= 3, from += 3, to += 4) {
        uint32_t bits = (uint32_t)from[0] << 16 | (uint32_t)from[1] << 8 | from[2];
        to[0] = digits[bits >> 18];
        to[1] = digits[bits >> 12 & 63];
        to[2] = digits[bits >> 6 & 63];
        to[3] = digits[bits & 63];
    }
    if (size > 0) {
        uint32_t bits = (uint32_t)from[0] << 16 | (size > 1 ? (uint32_t)from[1] << 8 : 0);
        to[0] = digits[bits >> 18];
        to[1] = digits[bits >> 12 & 63];
        to[2] = size > 1 ? digits[bits >> 6 & 63] : '=';
        to[3] = '=';
    }
}

static enum err illegal(struct err_text *error, size_t at) {
    return err_set(error, ERR_INVALID, "illegal base64 data at input byte %zu", at);
}

static int digit_value(char c) {
    return c >= 'A' && c <= 'Z'   ? c - 'A'
           : c >= 'a' && c <= 'z' ? c - 'a' + 26
           : c >= '0' && c <= '9' ? c - '0' + 52
           : c == '+'             ? 62
           : c == '/'             ? 63
                                  : -1;
}

static size_t skip_line_ends(const char *text, size_t at) {
    return at + strspn(text + at, "\r\n");
}

/* What follows a quantum of two or three digits. */
static enum err decode_end(const char *text, size_t at, unsigned count, struct err_text *error) {
    size_t first = at;
    if (count < 2 || text[at] != '=') {
        return illegal(error, at);
    }
    at = skip_line_ends(text, at + 1);
    if (count == 2) {
        if (text[at] != '=') {
            return illegal(error, text[at] == '\0' ? strlen(text) : first);
        }
        at = skip_line_ends(text, at + 1);
    }
    return text[at] == '\0' ? ERR_OK : illegal(error, at);
}

enum err base64_decode(const char *text, struct arena *arena, const uint8_t **ret_data,
                       size_t *ret_size, struct err_text *error) {
    uint8_t *out = arena_alloc(arena, strlen(text) / 4 * 3 + 3);
    size_t used = 0, at = skip_line_ends(text, 0);
    uint32_t bits = 0;
    unsigned count = 0;
    while (digit_value(text[at]) >= 0) {
        bits = bits << 6 | (uint32_t)digit_value(text[at]);
        if (++count == 4) {
            out[used++] = (uint8_t)(bits >> 16);
            out[used++] = (uint8_t)(bits >> 8);
            out[used++] = (uint8_t)bits;
            count = 0;
            bits = 0;
        }
        at = skip_line_ends(text, at + 1);
    }
    if (text[at] != '\0' || count > 0) {
        enum err err = decode_end(text, at, count, error);
        if (err != ERR_OK) {
            return err;
        }
        bits <<= 6 * (4 - count);
        out[used++] = (uint8_t)(bits >> 16);
        if (count == 3) {
            out[used++] = (uint8_t)(bits >> 8);
        }
    }
    *ret_data = out;
    *ret_size = used;
    return ERR_OK;
}
