#include "agent/corrections.h"

#include <stdlib.h>
#include <string.h>

#include "agent/reconcile_judge.h"
#include "base/mem.h"

#define EVERY_MS 500 /* not more often, however fast members come and go */

enum { ALIVE = 1, LEFT = 3, FAILED = 4 };

struct looking {
    struct mirror *mirror;
    const struct catalog_node *node;
    bool found;
    /* Ids of services of the node; borrowed from the view. */
    const char **gone;
    size_t gone_count, gone_capacity;
};

static bool find_other(const struct catalog_instance *instance, void *context) {
    struct looking *looking = context;
    looking->found = instance->health != HEALTH_CRITICAL &&
                     strcmp(instance->node->name, looking->node->name) != 0;
    return !looking->found;
}

static bool look_at_service(const struct catalog_service *service, void *context) {
    struct looking *looking = context;
    looking->found = false;
    view_walk_instances(mirror_correct_view(looking->mirror), service->name, find_other, looking);
    if (looking->found) {
        if (looking->gone_count == looking->gone_capacity) {
            looking->gone_capacity = looking->gone_capacity == 0 ? 8 : 2 * looking->gone_capacity;
            looking->gone =
                mem_realloc(looking->gone, looking->gone_capacity * sizeof *looking->gone);
        }
        looking->gone[looking->gone_count++] = service->id;
    }
    return true;
}

/* Its instances, where another node has a healthy one. */
static void take_away(struct mirror *mirror, const struct catalog_node *node) {
    struct looking looking = {.mirror = mirror, .node = node};
    view_walk_node_services(mirror_correct_view(mirror), node->name, look_at_service, &looking);
    for (size_t i = 0; i < looking.gone_count; i++) {
        mirror_correct_gone(mirror, node->name, looking.gone[i]);
    }
    free(looking.gone);
}

static void note_alive(struct mirror *mirror, const struct catalog_node *node) {
    const struct catalog_check *known =
        view_get_check(mirror_correct_view(mirror), node->name, CATALOG_AGENT_CHECK);
    if (known != NULL && catalog_health_of(known->status) == HEALTH_CRITICAL) {
        struct catalog_check check = reconcile_agent_check(node->name, true);
        mirror_correct_check(mirror, &check);
    }
}

static void correct_members(struct mirror *mirror, const struct backend_pool *pool,
                            uint8_t status) {
    for (uint32_t i = 0; i < pool->count; i++) {
        const struct backend_member *member = &pool->members[i];
        const char *id = str_or_empty(str_map_get(&member->tags, "id"));
        const struct catalog_node *node = member->status == status && i != pool->self && *id != '\0'
                                              ? view_get_node_by_id(mirror_correct_view(mirror), id)
                                              : NULL;
        if (node != NULL && status == ALIVE) {
            note_alive(mirror, node);
        } else if (node != NULL && status == LEFT) {
            mirror_correct_node(mirror, node->name, NULL);
        } else if (node != NULL) {
            take_away(mirror, node);
        }
    }
}

void corrections_make(struct corrections *corrections, struct mirror *mirror,
                      const struct corrections_facts *facts) {
    uint64_t pool_version = facts->pool != NULL ? facts->pool->version : 0;
    if (mirror == NULL) {
        corrections->made = false;
        return;
    }
    if (corrections->made && ((corrections->own_version == facts->own_version &&
                               corrections->pool_version == pool_version) ||
                              facts->now_ms - corrections->at_ms < EVERY_MS)) {
        return;
    }
    *corrections = (struct corrections){true, facts->own_version, pool_version, facts->now_ms};
    mirror_correct_begin(mirror);
    mirror_correct_node(mirror, facts->node, facts->own);
    const struct catalog_node *self = view_get_node(mirror_correct_view(mirror), facts->node);
    if (self != NULL) {
        note_alive(mirror, self);
    }
    if (facts->pool != NULL) {
        correct_members(mirror, facts->pool, ALIVE); /* they count where others fail */
        correct_members(mirror, facts->pool, LEFT);
        correct_members(mirror, facts->pool, FAILED);
    }
    mirror_correct_end(mirror);
}
