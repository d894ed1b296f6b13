#include "agent/known_servers.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/choice.h"
#include "base/mem.h"

#define STEADY_MS 5 /* by which a distance has to differ, beside its half or double */

static struct known_server *find(const struct known_servers *servers, const struct uuid *node) {
    for (uint32_t i = 0; i < servers->count; i++) {
        if (memcmp(&servers->v[i].node, node, sizeof *node) == 0) {
            return &servers->v[i];
        }
    }
    return NULL;
}

const struct known_server *known_servers_find(const struct known_servers *servers,
                                              const struct uuid *node) {
    return find(servers, node);
}

void known_servers_avoid(struct known_servers *servers, const struct uuid *node, int64_t until_ms) {
    struct known_server *server = find(servers, node);
    if (server != NULL) {
        server->avoid_until_ms = until_ms;
    }
}

const struct known_server *known_servers_choose(const struct known_servers *servers,
                                                const struct uuid *self, int64_t now_ms) {
    struct choice_server *all = mem_calloc(servers->count + 1, sizeof *all);
    for (uint32_t i = 0; i < servers->count; i++) {
        const struct known_server *server = &servers->v[i];
        int64_t avoid_ms = server->avoid_until_ms - now_ms;
        all[i] = (struct choice_server){.node = server->node,
                                        .distance_ms = server->distance_ms,
                                        .alive = server->alive,
                                        .avoid_ms = avoid_ms > 0 ? avoid_ms : 0};
    }
    int chosen = choice_server(all, servers->count, self);
    free(all);
    return chosen >= 0 ? &servers->v[chosen] : NULL;
}

const struct known_server *known_servers_choose_failed(const struct known_servers *servers,
                                                       struct rand *rand, int64_t now_ms) {
    const struct known_server *chosen = NULL;
    unsigned count = 0;
    for (uint32_t i = 0; i < servers->count; i++) {
        const struct known_server *server = &servers->v[i];
        if (!server->alive && !server->left && server->avoid_until_ms <= now_ms &&
            rand_below(rand, ++count) == 0) {
            chosen = server;
        }
    }
    return chosen;
}

/* Measured distances are never still, least of all on a busy host. */
static double steady(double before_ms, double now_ms) {
    bool differ = before_ms < now_ms - STEADY_MS || before_ms > now_ms + STEADY_MS;
    bool moved = differ && (now_ms > 2 * before_ms || now_ms < before_ms / 2);
    return before_ms < 0 || now_ms < 0 || moved ? now_ms : before_ms;
}

void known_servers_set(struct known_servers *servers, const struct links_server *v,
                       uint32_t count) {
    struct known_server *all = mem_calloc(count + 1, sizeof *all);
    for (uint32_t i = 0; i < count; i++) {
        const struct known_server *known = find(servers, &v[i].node);
        bool alive = v[i].state == LINKS_ALIVE;
        bool back = known != NULL && !known->alive && alive;
        all[i] = (struct known_server){
            .node = v[i].node,
            .addr = v[i].addr,
            .distance_ms =
                known == NULL ? v[i].distance_ms : steady(known->distance_ms, v[i].distance_ms),
            .alive = alive,
            .left = v[i].state == LINKS_LEFT,
            .died = known != NULL && known->alive && !alive,
            .avoid_until_ms = known == NULL || back ? 0 : known->avoid_until_ms};
        snprintf(all[i].name, sizeof all[i].name, "%s", v[i].name);
    }
    free(servers->v);
    servers->v = all;
    servers->count = count;
}

void known_servers_clear(struct known_servers *servers) {
    free(servers->v);
    *servers = (struct known_servers){0};
}
