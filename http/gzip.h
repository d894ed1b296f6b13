/* Compression of answers (contract 1.6; RFC 1952, RFC 9110 section 12.5.3). Archives
 * (agent/archive.c) use zlib beside it.
 */
#ifndef HTTP_GZIP_H
#define HTTP_GZIP_H

#include <stdbool.h>
#include <stddef.h>

/* Whether an Accept-Encoding header admits gzip: "gzip" or "*" with a weight that is not zero. */
bool http_gzip_accepted(const char *header);
/* The caller frees *ret_data. False: it could not be compressed. */
bool http_gzip(const void *data, size_t size, char **ret_data, size_t *ret_size);

#endif
