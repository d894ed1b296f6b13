/* Watches: each is answered once, with an index above the one that it has seen, which is not below
 * the key's last change; and none stays behind when its key has changed. */
#include "tests/sim/group/group.h"

static uint64_t changed_at(struct world *world, uint32_t key, uint64_t applied) {
    uint64_t newest = 0;
    for (uint32_t i = 0; i < DATA_KEYS; i++) {
        uint64_t from =
            i == key || key >= DATA_KEYS ? model_at(&world->model, i, applied)->from : 0;
        newest = from > newest ? from : newest;
    }
    return newest;
}

void check_watch(struct world *world, struct watcher *watcher, uint64_t index, uint64_t applied) {
    if (index < changed_at(world, watcher->key, applied)) {
        world_fail(world, "a watch of key %u is told %lu; the key has changed at %lu", watcher->key,
                   index, changed_at(world, watcher->key, applied));
    }
    if (watcher->known && index <= watcher->index) {
        world_fail(world, "a watch of key %u is told %lu behind %lu", watcher->key, index,
                   watcher->index);
    }
    if (index > applied && index > 1) {
        world_fail(world, "a watch of key %u is told %lu, of a view of %lu", watcher->key, index,
                   applied);
    }
}

/* Not even when the tombstone of a deletion goes. */
void check_index_kept(struct world *world, const struct watcher *watcher, uint64_t index) {
    if (index < watcher->index) {
        world_fail(world, "the index of key %u goes back from %lu to %lu", watcher->key,
                   watcher->index, index);
    }
}

/* Between two turns nobody waits for what is there already. */
void check_no_watch_lost(struct world *world) {
    for (uint32_t i = 0; i < WATCHERS; i++) {
        const struct watcher *watcher = &world->watchers[i];
        const struct server *server = &world->servers[watcher->server];
        if (watcher->waiting && server->up && server->life == watcher->life &&
            changed_at(world, watcher->key, server_view_applied(server)) > watcher->index) {
            world_fail(world, "a watch at %c has seen %lu of key %u and sleeps at %lu",
                       server->letter, watcher->index, watcher->key,
                       changed_at(world, watcher->key, server_view_applied(server)));
        }
    }
}
