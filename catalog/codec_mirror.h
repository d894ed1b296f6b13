/* What streams of rows carry, as protobuf bytes (proto/catalog.proto). */
#ifndef CATALOG_CODEC_MIRROR_H
#define CATALOG_CODEC_MIRROR_H

#include "catalog/codec.h"

enum mirror_record_kind {
    MIRROR_ROW,   /* indexes, node, service, check, index of a service or node; what it is now */
    MIRROR_GONE,  /* is not there */
    MIRROR_TOUCH, /* see proto/catalog.proto */
    MIRROR_READY  /* all rows of this service have come */
};

/* On the wire: never renumber. */
enum mirror_row_kind { MIRROR_NODE = 0, MIRROR_SERVICE = 1, MIRROR_CHECK = 2 };

struct mirror_record {
    enum mirror_record_kind kind;
    union {
        struct codec_record row;
        struct {
            enum mirror_row_kind kind;
            const char *node, *id; /* id "" of a node */
        } gone;
        struct {
            const char *node;
            uint64_t index;
        } touch;
        const char *ready;
    };
};

/* Appends one; a batch is several behind each other. */
void codec_encode_mirror(const struct mirror_record *record, struct buf *out);
/* Visits the records in their order; strings live in the arena. ERR_CORRUPT, ERR_VERSION: not a
 * batch, or a record of a kind that mirrors do not know; none, or only the first ones, are visited.
 */
enum err codec_decode_mirror(const uint8_t *data, size_t size, struct arena *arena,
                             void (*visit)(const struct mirror_record *record, void *context),
                             void *context);

#endif
