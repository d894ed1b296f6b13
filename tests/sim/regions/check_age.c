/* No answer is older than its stated age: the mirror holds all that its source's group had
 * published at that time before now. */
#include "tests/sim/regions/regions.h"

/* Ages are cut to milliseconds at each hop, clocks run up to 0.02 % fast or slow also while a
 * source holds a request, and a follower's word of what its leader had was on its way for a moment.
 */
#define MARGIN_US (4 * MS + 2 * LAN_MOST_US)

void check_age(struct server *server, const struct region *region, const struct mirror_face *face) {
    struct world *world = server->world;
    uint64_t age_us = (uint64_t)face->age_ms * MS;
    age_us += age_us / 1000 + MARGIN_US;
    uint64_t then_us = world->now > age_us ? world->now - age_us : 0;
    const struct history *history = history_of_view(region, face->view);
    if (history == NULL) {
        world_fail(world, "%s: no rows of %s of any time", server->name, region->name);
        return;
    }
    uint64_t index = view_applied(face->view), needed = history_index_at(history, then_us);
    if (history->ended_us < then_us) {
        world_fail(world,
                   "%s: rows of %s said to be %lld ms old are of a life that had ended %llu "
                   "ms ago",
                   server->name, region->name, (long long)face->age_ms,
                   (unsigned long long)((world->now - history->ended_us) / MS));
    } else if (index < needed) {
        uint64_t missed_us = world->now - history->entries[index + 1].published_us;
        world_fail(world,
                   "%s: rows of %s at %llu are said to be %lld ms old: the next is of %llu ms ago",
                   server->name, region->name, (unsigned long long)index, (long long)face->age_ms,
                   (unsigned long long)(missed_us / MS));
    }
}
