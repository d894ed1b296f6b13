/* Blocking queries: answered once the key's version is above the one that was seen. */
#include "base/mutant.h"
#include "tests/sim/group/group.h"

static void answer(struct server *server, const struct watch *watch) {
    struct world *world = server->world;
    server->world->watch_wakes++;
    check_watch(world, watch->watcher, watch->number, server->kv.version[watch->key],
                server->kv.value[watch->key]);
    if (!world->failed) {
        world_post(world, world_between(world, 100, 5 * MS), EVENT_WATCH, NULL)->a = watch->watcher;
    }
}

/* Asks again with what it saw; now and then elsewhere, where the clock of versions may be behind.
 */
void watch_next(struct world *world, uint32_t at) {
    struct watcher *watcher = &world->watchers[at];
    struct server *server = &world->servers[watcher->server];
    if (watcher->number == 0 && (!server->up || watcher->life != server->life)) {
        watcher->server = (uint32_t)rand_below(&world->rand, world->server_count);
        server = &world->servers[watcher->server];
        watcher->life = server->life;
        watcher->version = server->kv.version[watcher->key];
    }
    if (!server->up) {
        world_post(world, 50 * MS, EVENT_WATCH, NULL)->a = at;
        return;
    }
    struct watch watch = {.number = ++world->watch_numbers,
                          .key = watcher->key = at % KEYS,
                          .watcher = at,
                          .version = watcher->version};
    watcher->number = watch.number;
    if (MUTANT(watch_after_read)) {
        if (server->kv.version[watch.key] > watch.version) {
            answer(server, &watch);
            return;
        }
        struct event *event = world_post(world, 2 * MS, EVENT_WATCH_REGISTER, server);
        event->a = watch.number;
        event->b = watch.version;
        event->c = at;
        return;
    }
    if (server->kv.version[watch.key] > watch.version) {
        answer(server, &watch);
    } else {
        server->watches[server->watch_count++] = watch;
    }
}

/* The planted bug: what changed between the read and this is not looked at. */
void watch_register(struct world *world, const struct event *event) {
    struct server *server = &world->servers[event->server];
    if (server->up && server->life == event->life) {
        server->watches[server->watch_count++] = (struct watch){.number = event->a,
                                                                .version = event->b,
                                                                .watcher = (uint32_t)event->c,
                                                                .key = (uint32_t)event->c % KEYS};
    }
}

void watch_wake(struct server *server) {
    uint32_t left = 0;
    for (uint32_t i = 0; i < server->watch_count; i++) {
        struct watch watch = server->watches[i];
        if (server->kv.version[watch.key] > watch.version) {
            answer(server, &watch);
            if (MUTANT(watch_twice)) {
                server->watches[left++] = watch;
            }
        } else {
            server->watches[left++] = watch;
        }
    }
    server->watch_count = left;
}
