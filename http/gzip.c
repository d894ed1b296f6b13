#include "http/gzip.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <zlib.h>

#include "base/mem.h"

#define WINDOW_BITS (15 + 16) /* + 16: a gzip header instead of zlib's */
#define MEMORY_LEVEL 8

static bool zero_weight(const char *parameters, size_t size) {
    const char *end = parameters + size;
    for (const char *at = parameters; at + 2 <= end; at++) {
        if (strncasecmp(at, "q=", 2) == 0) {
            at += 2;
            size_t digits = strspn(at, "0.");
            return digits > 0 && (at + digits >= end || strchr(" \t;", at[digits]) != NULL);
        }
    }
    return false;
}

bool http_gzip_accepted(const char *header) {
    bool star = false;
    for (const char *at = header; *at != '\0';) {
        at += strspn(at, " \t,");
        size_t size = strcspn(at, ",");
        size_t name = strcspn(at, " \t;,");
        bool refused = zero_weight(at + name, size - name);
        if (name == 4 && strncasecmp(at, "gzip", 4) == 0) {
            return !refused;
        }
        star = star || (name == 1 && *at == '*' && !refused);
        at += size;
    }
    return star;
}

bool http_gzip(const void *data, size_t size, char **ret_data, size_t *ret_size) {
    z_stream stream = {0};
    if (size > UINT32_MAX || deflateInit2(&stream, Z_BEST_SPEED, Z_DEFLATED, WINDOW_BITS,
                                          MEMORY_LEVEL, Z_DEFAULT_STRATEGY) != Z_OK) {
        return false;
    }
    size_t bound = deflateBound(&stream, size);
    char *out = mem_alloc(bound);
    stream.next_in = (Bytef *)(uintptr_t)data;
    stream.avail_in = (uInt)size;
    stream.next_out = (Bytef *)out;
    stream.avail_out = (uInt)bound;
    bool done = deflate(&stream, Z_FINISH) == Z_STREAM_END;
    *ret_size = bound - stream.avail_out;
    deflateEnd(&stream);
    if (!done) {
        free(out);
        return false;
    }
    *ret_data = mem_realloc(out, *ret_size);
    return true;
}
