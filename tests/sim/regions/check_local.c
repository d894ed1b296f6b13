/* A local answer is never worse than local knowledge: home's instances first, and when home has
 * none, those of another datacenter of whose rows this server knows that they have some: the
 * nearest with fresh rows, or with old ones if there are no others; or the one where lookups are,
 * while its rows are as good. */
#include <string.h>

#include "tests/sim/regions/regions.h"

/* Where lookups of a service are; NULL: at home. */
static const char *where_away(const struct failover_state *state, const char *service) {
    const char *where = NULL;
    for (uint32_t i = 0; i < state->away.count; i++) {
        where = strcmp(state->away.v[i], service) == 0 ? state->where.v[i] : where;
    }
    return where;
}

/* What is known of another datacenter: 0 nothing of use, 1 old rows, 2 fresh ones. */
static int know(struct server *server, const char *datacenter, uint32_t service, int64_t fresh_ms) {
    struct mirror_face face;
    if (!mirrors_look(server->agent, datacenter, &face) ||
        !is_usable(server->world, face.view, service)) {
        return 0;
    }
    return face.age_ms > fresh_ms ? 1 : 2;
}

/* The best of them, the nearest of equals; NULL: none. */
static const char *best(struct server *server, const struct failover_state *state,
                        const char *stays, uint32_t service) {
    const char *found;
    int most = stays != NULL
                   ? know(server, stays, service, LIMIT_FAILOVER_FRESH_MS + LIMIT_FAILOVER_STAY_MS)
                   : 0;
    found = most > 0 ? stays : NULL;
    for (uint32_t i = 0; i < state->datacenters.count; i++) {
        int now = know(server, state->datacenters.v[i], service, LIMIT_FAILOVER_FRESH_MS);
        if (now > most) {
            most = now;
            found = state->datacenters.v[i];
        }
    }
    return found;
}

void check_local(struct server *server, uint32_t service, const struct failover_place *place) {
    struct world *world = server->world;
    const struct failover_state *state = atomic_load(&server->agent->failover_source.state);
    const char *name = service_name(service);
    bool home = is_usable(world, catalog_view(server->agent->catalog), service);
    const char *where = where_away(state, name);
    bool away = where != NULL;
    const char *expected = home && !away ? NULL : best(server, state, where, service);
    const char *got = place->datacenter;
    if (got != NULL && home && !away) {
        world_fail(world, "%s: %s is answered from %s, and home has it", server->name, name, got);
    } else if (got == NULL && expected != NULL) {
        world_fail(world, "%s: %s is not answered from %s, where it is known to be", server->name,
                   name, expected);
    } else if (got != NULL && (expected == NULL || strcmp(got, expected) != 0)) {
        world_fail(world, "%s: %s is answered from %s, not from %s", server->name, name, got,
                   expected != NULL ? expected : "home");
    }
}
