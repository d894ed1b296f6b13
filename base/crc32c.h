/* CRC-32C (Castagnoli polynomial, RFC 3720 appendix B.4), chained: crc32c(crc32c(0, a), b) is the
 * checksum of a followed by b. */
#ifndef BASE_CRC32C_H
#define BASE_CRC32C_H

#include <stddef.h>
#include <stdint.h>

uint32_t crc32c(uint32_t crc, const void *data, size_t size);

#endif
