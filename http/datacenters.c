#include "http/datacenters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "catalog/distance.h"

static struct http_datacenter *find(struct http_datacenters *all, const char *name) {
    for (uint32_t i = 0; i < all->count; i++) {
        if (strcmp(all->v[i].name, name) == 0) {
            return &all->v[i];
        }
    }
    return NULL;
}

static struct http_datacenter *add(struct http_datacenters *all, const char *name, uint32_t room,
                                   struct arena *arena) {
    struct http_datacenter *dc = find(all, name);
    if (dc == NULL) {
        dc = &all->v[all->count++];
        *dc = (struct http_datacenter){.name = name};
        dc->servers = arena_alloc(arena, room * sizeof *dc->servers);
        dc->coordinates = arena_alloc(arena, room * sizeof *dc->coordinates);
    }
    return dc;
}

static int compare(const void *a, const void *b) {
    const struct http_datacenter *x = a, *y = b;
    int order = (x->rtt_s > y->rtt_s) - (x->rtt_s < y->rtt_s);
    return order != 0 ? order : strcmp(x->name, y->name);
}

/* A member's name without ".<datacenter>". */
static const char *bare_name(const char *name, const char *dc, struct arena *arena) {
    size_t size = strlen(name), tail = strlen(dc);
    bool ends =
        size > tail && name[size - tail - 1] == '.' && str_equal_fold(name + size - tail, dc);
    return arena_strndup(arena, name, ends ? size - tail - 1 : size);
}

struct http_datacenters http_datacenters_list(const struct backend *backend, struct arena *arena) {
    const struct backend_pool *wan = backend->wan;
    const char *own_name = backend->facts->datacenter;
    uint32_t members = wan != NULL ? wan->count : 0;
    const struct coordinate *self = NULL;
    struct http_datacenters all = {
        .v = arena_alloc(arena, (members + 1) * sizeof(struct http_datacenter))};
    add(&all, own_name, members + 1, arena);
    for (uint32_t i = 0; i < members; i++) {
        const struct backend_member *member = &wan->members[i];
        const char *name = str_map_get(&member->tags, "dc");
        if (name == NULL || !member->server || member->status == MEMBER_LEFT) {
            continue;
        }
        struct http_datacenter *dc = add(&all, name, members, arena);
        struct coordinate *at = arena_alloc(arena, sizeof *at);
        if (backend->find_coordinate(backend->context, true, member->name, at)) {
            dc->servers[dc->count] = bare_name(member->name, name, arena);
            dc->coordinates[dc->count++] = at;
            self = i == wan->self ? at : self;
        }
    }
    for (uint32_t i = 0; i < all.count; i++) {
        all.v[i].rtt_s = strcmp(all.v[i].name, own_name) == 0
                             ? 0
                             : distance_median(self, all.v[i].coordinates, all.v[i].count);
    }
    qsort(all.v, all.count, sizeof *all.v, compare);
    return all;
}
