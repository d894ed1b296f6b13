/* Removed members as protobuf. */
#include "catalog/codec_parts.h"

Pb__Removal *codec_put_removal(const struct catalog_removal *removal, struct arena *arena) {
    Pb__Removal *pb = arena_alloc(arena, sizeof *pb);
    pb__removal__init(pb);
    pb->id = writable(removal->id);
    pb->name = writable(removal->name);
    pb->boot_epoch = removal->boot_epoch;
    pb->counter = removal->counter;
    pb->prune = removal->prune;
    pb->at_ms = removal->at_ms;
    pb->create_index = removal->create_index;
    pb->modify_index = removal->modify_index;
    return pb;
}

struct catalog_removal codec_get_removal(const Pb__Removal *pb) {
    return (struct catalog_removal){pb->id,    pb->name,  pb->boot_epoch,   pb->counter,
                                    pb->prune, pb->at_ms, pb->create_index, pb->modify_index};
}

Pb__RemovalEnd *codec_put_removal_end(const struct catalog_removal_end *end, struct arena *arena) {
    Pb__RemovalEnd *pb = arena_alloc(arena, sizeof *pb);
    pb__removal_end__init(pb);
    pb->removals = arena_alloc(arena, (end->count + 1) * sizeof *pb->removals);
    pb->n_removals = end->count;
    for (uint32_t i = 0; i < end->count; i++) {
        pb->removals[i] = codec_put_removal(&end->removals[i], arena);
    }
    return pb;
}

struct catalog_removal_end codec_get_removal_end(const Pb__RemovalEnd *pb, struct arena *arena) {
    struct catalog_removal *removals = arena_alloc(arena, (pb->n_removals + 1) * sizeof *removals);
    for (size_t i = 0; i < pb->n_removals; i++) {
        removals[i] = codec_get_removal(pb->removals[i]);
    }
    return (struct catalog_removal_end){removals, (uint32_t)pb->n_removals};
}
