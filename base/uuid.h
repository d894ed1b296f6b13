/* UUIDs (RFC 4122): 16 bytes, and their 36-byte lower-case text. */
#ifndef BASE_UUID_H
#define BASE_UUID_H

#include <stdbool.h>
#include <stdint.h>

#define UUID_TEXT_BYTES 37 /* with the NUL */

struct uuid {
    uint8_t bytes[16];
};

/* Turns 16 random bytes into a version 4 UUID (RFC 4122 section 4.4). */
struct uuid uuid_from_random(const uint8_t random[16]);
void uuid_format(const struct uuid *uuid, char out[UUID_TEXT_BYTES]);
bool uuid_is_zero(const struct uuid *uuid);
/* Any letter case. False: not 8-4-4-4-12 hexadecimal digits; ret_uuid is unchanged. */
bool uuid_parse(const char *s, struct uuid *ret_uuid);

#endif
