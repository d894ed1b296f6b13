/* Watches: each is answered once, with something newer than was seen, that was really there; and
 * none stays behind when its key has changed. */
#include "tests/sim/group/group.h"

void check_watch(struct world *world, uint32_t at, uint64_t number, uint64_t version,
                 uint64_t value) {
    struct watcher *watcher = &world->watchers[at];
    if (watcher->number != number) {
        world_fail(world, "watch %lu is answered twice", number);
        return;
    }
    if (version <= watcher->version) {
        world_fail(world, "watch %lu goes back from version %lu to %lu", number, watcher->version,
                   version);
    }
    const struct fact *fact = &world->facts[version];
    if (!fact->applied || fact->key != watcher->key || fact->value != value) {
        world_fail(world, "watch %lu tells a value that was never there", number);
    }
    watcher->version = version;
    watcher->number = 0;
}

void check_no_watch_lost(struct world *world) {
    for (uint32_t i = 0; i < WATCHERS; i++) {
        const struct watcher *watcher = &world->watchers[i];
        const struct server *server = &world->servers[watcher->server];
        if (watcher->number != 0 && server->up && server->life == watcher->life &&
            server->kv.version[watcher->key] > watcher->version) {
            world_fail(world, "a watch at %c has seen version %lu of key %u and sleeps at %lu",
                       server->letter, watcher->version, watcher->key,
                       server->kv.version[watcher->key]);
        }
    }
}
