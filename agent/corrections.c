#include "agent/corrections.h"

#include "agent/reconcile_judge.h"
#include "base/arena.h"

#define EVERY_MS 500 /* not more often, however fast members come and go */

static const struct catalog_node *find_node(const struct mirror *mirror,
                                            const struct backend_member *member) {
    const char *id = str_or_empty(str_map_get(&member->tags, "id"));
    return view_get_node_by_id(mirror_correct_view(mirror), id);
}

/* ---- who failed ---- */

struct looking {
    struct mirror *mirror;
    const struct reconcile_members *failed;
    struct arena *arena;
    const struct catalog_instance *instance; /* that is looked at */
    bool found;                              /* another one that serves as well */
    const char **gone;                       /* ids of services, borrowed from the view */
    uint32_t gone_count;
};

static bool has_tags(const struct str_list *all, const struct str_list *tags) {
    bool found = true;
    for (uint32_t i = 0; i < tags->count && found; i++) {
        found = false;
        for (uint32_t k = 0; k < all->count && !found; k++) {
            found = str_equal_fold(all->v[k], tags->v[i]);
        }
    }
    return found;
}

/* By whatever tag it is looked up. */
static bool find_other(const struct catalog_instance *other, void *context) {
    struct looking *looking = context;
    const struct catalog_instance *instance = looking->instance;
    looking->found = other->health <= instance->health &&
                     !reconcile_has_member(looking->failed, other->node->id) &&
                     has_tags(&other->service->tags, &instance->service->tags);
    return !looking->found;
}

static bool count_service(const struct catalog_service *service, void *context) {
    (void)service;
    ++*(uint32_t *)context;
    return true;
}

static bool look_at_service(const struct catalog_service *service, void *context) {
    struct looking *looking = context;
    const struct catalog_view *view = mirror_correct_view(looking->mirror);
    looking->instance = view_get_instance(view, service);
    looking->found = false;
    if (looking->instance != NULL) {
        view_walk_instances(view, service->name, find_other, looking);
    }
    if (looking->found) {
        looking->gone[looking->gone_count++] = service->id;
    }
    return true;
}

static void correct_failed(struct looking *looking, const struct backend_member *member) {
    const struct catalog_view *view = mirror_correct_view(looking->mirror);
    const struct catalog_node *node = find_node(looking->mirror, member);
    uint32_t count = 0;
    if (node == NULL) {
        return;
    }
    view_walk_node_services(view, node->name, count_service, &count);
    looking->gone = arena_alloc(looking->arena, (count + 1) * sizeof *looking->gone);
    looking->gone_count = 0;
    view_walk_node_services(view, node->name, look_at_service, looking);
    for (uint32_t i = 0; i < looking->gone_count; i++) {
        mirror_correct_gone(looking->mirror, node->name, looking->gone[i]);
    }
}

/* ---- who is there, and who has left ---- */

static void correct_alive(struct mirror *mirror, const struct catalog_node *node) {
    const struct catalog_check *known =
        view_get_check(mirror_correct_view(mirror), node->name, CATALOG_AGENT_CHECK);
    if (known != NULL && catalog_health_of(known->status) == HEALTH_CRITICAL) {
        struct catalog_check check = reconcile_agent_check(node->name, true);
        mirror_correct_check(mirror, &check);
    }
}

/* Those that failed are judged once all else is known. */
static void correct_members(struct mirror *mirror, const struct backend_pool *pool) {
    struct arena arena;
    arena_init(&arena);
    struct backend_member *v = arena_alloc(&arena, (pool->count + 1) * sizeof *v);
    struct backend_pool failed = {.members = v};
    struct reconcile_members members;
    struct looking looking = {.mirror = mirror, .failed = &members, .arena = &arena};
    for (uint32_t i = 0; i < pool->count; i++) {
        const struct backend_member *member = &pool->members[i];
        const struct catalog_node *node = i != pool->self ? find_node(mirror, member) : NULL;
        if (node == NULL) {
            continue;
        }
        if (member->status == MEMBER_ALIVE) {
            correct_alive(mirror, node);
        } else if (member->status == MEMBER_LEFT) {
            mirror_correct_node(mirror, node->name, NULL);
        } else if (member->status == MEMBER_FAILED) {
            v[failed.count++] = *member;
        }
    }
    reconcile_members_init(&members, &failed, &arena);
    for (uint32_t i = 0; i < failed.count; i++) {
        correct_failed(&looking, &v[i]);
    }
    arena_clear(&arena);
}

void corrections_make(struct corrections *corrections, struct mirror *mirror,
                      const struct corrections_facts *facts) {
    struct corrections now = {facts->own_version, facts->pool != NULL ? facts->pool->version : 0,
                              facts->now_ms};
    bool corrected = mirror_is_corrected(mirror);
    bool changed = now.own_version != corrections->own_version ||
                   now.pool_version != corrections->pool_version;
    if (!facts->old && corrected) {
        mirror_correct_undo(mirror);
    }
    if (!facts->old || (corrected && (!changed || facts->now_ms - corrections->at_ms < EVERY_MS))) {
        return;
    }
    *corrections = now;
    mirror_correct_begin(mirror);
    mirror_correct_node(mirror, facts->node, facts->own);
    const struct catalog_node *self = view_get_node(mirror_correct_view(mirror), facts->node);
    if (self != NULL) {
        correct_alive(mirror, self);
    }
    if (facts->pool != NULL) {
        correct_members(mirror, facts->pool);
    }
    mirror_correct_end(mirror);
}
