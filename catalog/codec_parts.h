/* What the files of the codec share; for them only. What is made lives in the arena, and what is
 * packed is borrowed. */
#ifndef CATALOG_CODEC_PARTS_H
#define CATALOG_CODEC_PARTS_H

#include "base/arena.h"
#include "base/err.h"
#include "catalog/codec.h"
#include "proto/catalog.pb-c.h"

static inline char *writable(const char *s) {
    return (char *)(uintptr_t)s; /* protobuf-c's structs lack const; packing does not write */
}

static inline Pb__Pair **put_map(const struct str_map *map, struct arena *arena) {
    Pb__Pair **pairs = arena_alloc(arena, (map->count + 1) * sizeof *pairs);
    for (uint32_t i = 0; i < map->count; i++) {
        pairs[i] = arena_alloc(arena, sizeof **pairs);
        pb__pair__init(pairs[i]);
        pairs[i]->key = writable(map->v[i].key);
        pairs[i]->value = writable(map->v[i].value);
    }
    return pairs;
}

static inline struct str_map get_map(Pb__Pair **pairs, size_t count, bool present,
                                     struct arena *arena) {
    struct str_pair *v = arena_alloc(arena, (count + 1) * sizeof *v);
    for (size_t i = 0; i < count; i++) {
        v[i] = (struct str_pair){.key = pairs[i]->key, .value = pairs[i]->value};
    }
    return (struct str_map){.v = v, .count = (uint32_t)count, .present = present};
}

static inline struct str_list get_list(char **v, size_t count, struct arena *arena) {
    const char **list = arena_alloc(arena, (count + 1) * sizeof *list);
    for (size_t i = 0; i < count; i++) {
        list[i] = v[i];
    }
    return (struct str_list){.v = list, .count = (uint32_t)count};
}

/* ---- codec_session.c ---- */

Pb__Session *codec_put_session(const struct catalog_session *session, struct arena *arena);
struct catalog_session codec_get_session(const Pb__Session *pb, struct arena *arena);

/* ---- codec_query.c ---- */

Pb__Query *codec_put_query(const struct catalog_query *query, struct arena *arena);
struct catalog_query codec_get_query(const Pb__Query *pb, struct arena *arena);
Pb__SetQuery *codec_put_set_query(const struct catalog_set_query *set, struct arena *arena);
/* ERR_CORRUPT, ERR_VERSION. */
enum err codec_get_set_query(const Pb__SetQuery *pb, struct arena *arena,
                             struct catalog_set_query *ret_set);

Pb__Failover *codec_put_failover(const struct catalog_failover *policy, struct arena *arena);
struct catalog_failover codec_get_failover(const Pb__Failover *pb, struct arena *arena);
Pb__SetFailover *codec_put_set_failover(const struct catalog_set_failover *set,
                                        struct arena *arena);
/* ERR_CORRUPT. */
enum err codec_get_set_failover(const Pb__SetFailover *pb, struct arena *arena,
                                struct catalog_set_failover *ret_set);

/* ---- codec_coordinate.c ---- */

Pb__Coordinate *codec_put_coordinate(const struct catalog_coordinate *row, struct arena *arena);
/* ERR_VERSION: of a space with other dimensions. */
enum err codec_get_coordinate(const Pb__Coordinate *pb, struct catalog_coordinate *ret_row);
Pb__SetCoordinates *codec_put_coordinates(const struct catalog_set_coordinates *set,
                                          struct arena *arena);
/* Those that codec_get_coordinate refuses are left out. */
struct catalog_set_coordinates codec_get_coordinates(const Pb__SetCoordinates *pb,
                                                     struct arena *arena);

/* ---- codec_removal.c ---- */

Pb__Removal *codec_put_removal(const struct catalog_removal *removal, struct arena *arena);
struct catalog_removal codec_get_removal(const Pb__Removal *pb);
Pb__RemovalEnd *codec_put_removal_end(const struct catalog_removal_end *end, struct arena *arena);
struct catalog_removal_end codec_get_removal_end(const Pb__RemovalEnd *pb, struct arena *arena);

#endif
