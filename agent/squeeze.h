/* Bytes made smaller for the wire (deflate, RFC 1950). Any thread. */
#ifndef AGENT_SQUEEZE_H
#define AGENT_SQUEEZE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The caller frees them. */
uint8_t *squeeze(const void *data, size_t size, size_t *ret_size);
/* Back into exactly size bytes. False: they are not that. */
bool unsqueeze(const uint8_t *packed, size_t packed_size, void *out, size_t size);

#endif
