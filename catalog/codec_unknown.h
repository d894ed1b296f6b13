/* Fields that this program does not know, kept in a row as [tag, wire type, length, bytes]... so
 * that a newer one finds them again. Of the catalog's codec alone. */
#ifndef CATALOG_CODEC_UNKNOWN_H
#define CATALOG_CODEC_UNKNOWN_H

#include <protobuf-c/protobuf-c.h>

#include "base/arena.h"
#include "catalog/types.h"

/* Both: bytes live in the arena. */
struct catalog_bytes codec_take_unknown(const ProtobufCMessage *message, struct arena *arena);
void codec_give_unknown(ProtobufCMessage *message, const struct catalog_bytes *bytes,
                        struct arena *arena);

#endif
