/* Some seconds after healing each mirror is its source, record by record, indexes included, and
 * young; and each service whose home is well is answered from there. */
#include <stdio.h>
#include <string.h>

#include "tests/sim/regions/regions.h"

#define YOUNG_MS 2000

static enum err keep(void *context, const void *data, size_t size) {
    buf_append(context, data, size);
    return ERR_OK;
}

static bool is_equal(const struct catalog_view *a, const struct catalog_view *b) {
    struct buf x, y;
    buf_init(&x, 16 << 20);
    buf_init(&y, 16 << 20);
    catalog_snapshot(a, keep, &x);
    catalog_snapshot(b, keep, &y);
    bool equal = x.count == y.count && memcmp(x.data, y.data, x.count) == 0;
    buf_clear(&x);
    buf_clear(&y);
    return equal;
}

static bool has_converged(struct server *server, const struct region *region, char *why,
                          size_t size) {
    const struct catalog_view *truth = catalog_view(region->history->truth);
    struct mirror_face face = {0};
    if (server->region == region) {
        snprintf(why, size, "%s is not up to date itself", server->name);
        return view_applied(catalog_view(server->agent->catalog)) == view_applied(truth);
    }
    if (!mirrors_look(server->agent, region->name, &face)) {
        snprintf(why, size, "%s has nothing of %s", server->name, region->name);
        return false;
    }
    snprintf(why, size, "%s has %s at %llu of %llu, %lld ms old", server->name, region->name,
             (unsigned long long)view_applied(face.view), (unsigned long long)view_applied(truth),
             (long long)face.age_ms);
    return face.age_ms <= YOUNG_MS && view_applied(face.view) == view_applied(truth) &&
           is_equal(face.view, truth);
}

bool check_converged(struct world *world, char *why, size_t size) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        server_enter(server);
        for (uint32_t j = 0; j < world->region_count; j++) {
            if (!has_converged(server, &world->regions[j], why, size)) {
                return false;
            }
        }
    }
    return true;
}
