/* Removed members as protobuf. Of the catalog's codec alone. */
#ifndef CATALOG_CODEC_REMOVAL_H
#define CATALOG_CODEC_REMOVAL_H

#include "base/arena.h"
#include "catalog/command.h"

/* As protobuf-c makes them; whoever looks inside includes what it made. */
typedef struct Pb__Removal Pb__Removal;
typedef struct Pb__RemovalEnd Pb__RemovalEnd;

/* Blocks live in the arena, texts are borrowed, in both directions. */
Pb__Removal *codec_put_removal(const struct catalog_removal *removal, struct arena *arena);
struct catalog_removal codec_get_removal(const Pb__Removal *pb);
Pb__RemovalEnd *codec_put_removal_end(const struct catalog_removal_end *end, struct arena *arena);
struct catalog_removal_end codec_get_removal_end(const Pb__RemovalEnd *pb, struct arena *arena);

#endif
