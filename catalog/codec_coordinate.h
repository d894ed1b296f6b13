/* Coordinates as protobuf, for codec.c alone. */
#ifndef CATALOG_CODEC_COORDINATE_H
#define CATALOG_CODEC_COORDINATE_H

#include "base/arena.h"
#include "base/err.h"
#include "catalog/command.h"
#include "proto/catalog.pb-c.h"

/* In the arena; strings are borrowed. */
Pb__Coordinate *codec_put_coordinate(const struct catalog_coordinate *row, struct arena *arena);
/* ERR_VERSION: of a space with other dimensions. */
enum err codec_get_coordinate(const Pb__Coordinate *pb, struct catalog_coordinate *ret_row);
Pb__SetCoordinates *codec_put_coordinates(const struct catalog_set_coordinates *set,
                                          struct arena *arena);
/* Those that codec_get_coordinate refuses are left out. */
enum err codec_get_coordinates(const Pb__SetCoordinates *pb, struct arena *arena,
                               struct catalog_set_coordinates *ret_set);

#endif
