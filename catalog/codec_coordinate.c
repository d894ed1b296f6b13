/* Coordinates as protobuf. */
#include <string.h>

#include "catalog/codec_parts.h"

Pb__Coordinate *codec_put_coordinate(const struct catalog_coordinate *row, struct arena *arena) {
    Pb__Coordinate *pb = arena_alloc(arena, sizeof *pb);
    pb__coordinate__init(pb);
    pb->node = writable(row->node);
    pb->segment = writable(row->segment);
    pb->n_vector = COORDINATE_DIMENSIONS;
    pb->vector = arena_alloc(arena, sizeof row->at.vector);
    memcpy(pb->vector, row->at.vector, sizeof row->at.vector);
    pb->error = row->at.error;
    pb->adjustment = row->at.adjustment;
    pb->height = row->at.height;
    return pb;
}

enum err codec_get_coordinate(const Pb__Coordinate *pb, struct catalog_coordinate *ret_row) {
    if (pb->n_vector != COORDINATE_DIMENSIONS) {
        return ERR_VERSION;
    }
    *ret_row = (struct catalog_coordinate){
        .node = pb->node,
        .segment = pb->segment,
        .at = {.error = pb->error, .adjustment = pb->adjustment, .height = pb->height}};
    memcpy(ret_row->at.vector, pb->vector, sizeof ret_row->at.vector);
    return ERR_OK;
}

Pb__SetCoordinates *codec_put_coordinates(const struct catalog_set_coordinates *set,
                                          struct arena *arena) {
    Pb__SetCoordinates *pb = arena_alloc(arena, sizeof *pb);
    pb__set_coordinates__init(pb);
    pb->n_coordinates = set->count;
    pb->coordinates = arena_alloc(arena, (set->count + 1) * sizeof *pb->coordinates);
    for (uint32_t i = 0; i < set->count; i++) {
        pb->coordinates[i] = codec_put_coordinate(&set->rows[i], arena);
    }
    return pb;
}

struct catalog_set_coordinates codec_get_coordinates(const Pb__SetCoordinates *pb,
                                                     struct arena *arena) {
    struct catalog_coordinate *rows = arena_alloc(arena, (pb->n_coordinates + 1) * sizeof *rows);
    uint32_t count = 0;
    for (size_t i = 0; i < pb->n_coordinates; i++) {
        count += codec_get_coordinate(pb->coordinates[i], &rows[count]) == ERR_OK;
    }
    return (struct catalog_set_coordinates){rows, count};
}
