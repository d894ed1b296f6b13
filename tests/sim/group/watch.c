/* Blocking queries on keys: asked again with the index that was told last, as clients do. */
#include <string.h>

#include "base/container.h"
#include "base/mutant.h"
#include "catalog/watch.h"
#include "tests/sim/group/group.h"

/* A key, which begins no other one; or all of them. */
static const char *prefix_of(uint32_t key) {
    return key < DATA_KEYS ? model_key(key) : "k";
}

static uint64_t index_of(const struct server *server, uint32_t key) {
    return view_index_prefix(catalog_view(server->catalog), prefix_of(key));
}

static void tell(struct watcher *watcher, struct server *server) {
    struct world *world = server->world;
    uint64_t index = index_of(server, watcher->key);
    if (watcher->waiting) {
        watches_leave(server->watches, &watcher->waiter);
    }
    watcher->waiting = false;
    check_watch(world, watcher, index, server_view_applied(server));
    world->watch_wakes++;
    watcher->known = true;
    watcher->index = index;
    world_post(world, world_between(world, 10, 30 * MS), EVENT_WATCH, NULL)->a = watcher->number;
}

/* Mostly of the server it was at: what it has seen there never goes back. */
void watch_next(struct world *world, uint32_t number) {
    struct watcher *watcher = &world->watchers[number];
    watcher->number = number;
    struct server *server = &world->servers[watcher->server];
    if (!watcher->known || !server->up || server->life != watcher->life ||
        world_one_in(world, 20)) {
        watcher->server = (uint32_t)rand_below(&world->rand, world->server_count);
        watcher->key = (uint32_t)rand_below(&world->rand, DATA_KEYS + 2);
        watcher->known = false;
        server = &world->servers[watcher->server];
    }
    if (!server->up) {
        world_post(world, 50 * MS, EVENT_WATCH, NULL)->a = number;
        return;
    }
    watcher->life = server->life;
    if (!watcher->known || index_of(server, watcher->key) > watcher->index) {
        tell(watcher, server);
        return;
    }
    /* From here to the core's thread. */
    world_post(world, world_between(world, 1, 300), EVENT_WATCH_REGISTER, server)->a = number;
}

/* http/blocking.c: joins first, then looks again. */
void watch_register(struct world *world, const struct event *event) {
    struct watcher *watcher = &world->watchers[event->a];
    struct server *server = &world->servers[event->server];
    if (!server->up || server->life != event->life) {
        watcher->known = false;
        world_post(world, 10 * MS, EVENT_WATCH, NULL)->a = event->a;
        return;
    }
    const char *prefix = prefix_of(watcher->key);
    watches_join(server->watches, watcher->key < DATA_KEYS ? WATCH_KEY : WATCH_PREFIX, prefix,
                 prefix, &watcher->waiter);
    watcher->waiting = true;
    if (index_of(server, watcher->key) > watcher->index && !MUTANT(watch_after_read)) {
        tell(watcher, server);
    }
}

void watch_wake(struct server *server) {
    struct watch_group *group;
    if (server->dying) {
        return;
    }
    while ((group = watches_take_dirty(server->watches)) != NULL) {
        struct waiter *waiter = watch_group_waiters(group), *next;
        for (; waiter != NULL; waiter = next) {
            struct watcher *watcher = CONTAINER_OF(waiter, struct watcher, waiter);
            next = waiter->next;
            if (index_of(server, watcher->key) > watcher->index) {
                tell(watcher, server);
            }
        }
    }
    for (uint32_t i = 0; i < WATCHERS; i++) {
        const struct watcher *watcher = &server->world->watchers[i];
        if (watcher->waiting && watcher->server == server->at) {
            check_index_kept(server->world, watcher, index_of(server, watcher->key));
        }
    }
}

void watch_server_gone(struct server *server) {
    for (uint32_t i = 0; i < WATCHERS; i++) {
        struct watcher *watcher = &server->world->watchers[i];
        if (watcher->waiting && watcher->server == server->at) {
            watches_leave(server->watches, &watcher->waiter);
            watcher->waiting = watcher->known = false;
            world_post(server->world, 10 * MS, EVENT_WATCH, NULL)->a = i;
        }
    }
}
