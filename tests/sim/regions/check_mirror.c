/* What a mirror shows its source had: each row is as it was there at the mirror's index or later,
 * and none of that index is missing that is still there. Once nothing changes any more it is the
 * source's in every record (check_converged.c). Rows that were told from a younger view than the
 * index stands for may be there before it is. */
#include <stdlib.h>

#include "tests/sim/regions/regions.h"

void check_mirror(struct server *server, const struct region *region,
                  const struct mirror_face *face) {
    struct world *world = server->world;
    const struct history *history = history_of_view(region, face->view);
    uint64_t index = view_applied(face->view);
    struct hashes rows = {0};
    uint32_t lasting = 0, wanted = 0;
    if (history == NULL) {
        return; /* check_age.c */
    }
    rows_gather(face->view, &rows);
    for (uint32_t i = 0; i < rows.count; i++) {
        const struct version *version = history_find(history, rows.v[i]);
        if (version == NULL) {
            world_fail(world, "%s: a row of %s that was never there", server->name, region->name);
        } else if (version->to <= index) {
            world_fail(world, "%s: a row of %s that ended at %llu, at %llu", server->name,
                       region->name, (unsigned long long)version->to, (unsigned long long)index);
        } else {
            lasting += version->to == UINT64_MAX && version->from <= index;
        }
    }
    for (uint32_t i = 0; i < history->current_count; i++) {
        wanted += history->versions[history->current[i]].from <= index;
    }
    if (lasting != wanted) {
        world_fail(world, "%s: %u of %u lasting rows of %s at %llu", server->name, lasting, wanted,
                   region->name, (unsigned long long)index);
    }
    free(rows.v);
}
