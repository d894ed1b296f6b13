/* Base64 (RFC 4648 section 4), with padding, as the HTTP API carries values. */
#ifndef BASE_BASE64_H
#define BASE_BASE64_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

void base64_encode(struct buf *out, const void *data, size_t size);
/* Line ends are skipped. Bytes live in the arena. ERR_INVALID: Go's sentence (illegal base64 data
 * at input byte N). */
enum err base64_decode(const char *text, struct arena *arena, const uint8_t **ret_data,
                       size_t *ret_size, struct err_text *error);

#endif
