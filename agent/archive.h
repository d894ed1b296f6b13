/* A snapshot of the catalog as operators keep it (contract 16): gzip around a tar of meta.json,
 * state.bin and SHA256SUMS. state.bin is the stream of catalog_snapshot, private to this program:
 * what another wrote is refused, as is whatever does not fit its sums. Any thread. */
#ifndef AGENT_ARCHIVE_H
#define AGENT_ARCHIVE_H

#include "base/buf.h"
#include "base/err.h"
#include "catalog/catalog.h"

/* The view must be held. ERR_TOO_LARGE. */
enum err archive_write(const struct catalog_view *view, uint64_t term, int64_t wall_ms,
                       struct buf *out, struct err_text *text);

struct archive {
    struct buf tar;       /* unpacked; what follows points into it */
    const uint8_t *state; /* records, each behind its length */
    size_t state_size;
    uint64_t index, term;
    char id[64];
};

/* Unpacks and checks all; ERR_REFUSED and a sentence. The caller clears it, after an error too. */
enum err archive_read(const void *data, size_t size, struct archive *ret_archive,
                      struct err_text *text);
void archive_clear(struct archive *archive);

/* For catalog_read_image; context is an archive_reader. */
struct archive_reader {
    const struct archive *archive;
    size_t at;
};
int64_t archive_read_state(void *context, void *data, size_t size);

#endif
