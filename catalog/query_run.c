/* What a prepared query finds (contract, kv 4.5, 4.6). */
#include <string.h>

#include "base/uuid.h"
#include "catalog/distance.h"
#include "catalog/query.h"

#include "catalog/distance.h"

#define FIRST_OF 10 /* how far down the asker's own node is looked for */

enum err query_find(const struct catalog_view *view, const char *id_or_name, struct arena *arena,
                    struct catalog_query *ret_query, struct err_text *text) {
    struct uuid uuid;
    const struct catalog_query *found = NULL;
    if (uuid_parse(id_or_name, &uuid)) {
        found = view_get_query(view, id_or_name);
    }
    if (found != NULL && *found->template_type != '\0') {
        return err_set(text, ERR_REFUSED,
                       "prepared query templates can only be resolved up by name, not by ID");
    }
    found = found != NULL ? found : view_find_query(view, id_or_name);
    if (found == NULL || *id_or_name == '\0') {
        return err_set(text, ERR_NOT_FOUND, "Query not found");
    }
    return query_render(found, id_or_name, arena, ret_query, text);
}

/* ---- which instances ---- */

static bool is_ignored(const struct catalog_query *query, const char *check) {
    for (uint32_t i = 0; i < query->ignored_checks.count; i++) {
        if (strcmp(query->ignored_checks.v[i], check) == 0) {
            return true;
        }
    }
    return false;
}

static bool is_healthy(const struct catalog_query *query, const struct catalog_instance *instance) {
    enum catalog_health most = query->only_passing ? HEALTH_PASSING : HEALTH_WARNING;
    if (instance->health <= most) {
        return true;
    }
    for (uint32_t i = 0; i < instance->check_count; i++) {
        const struct catalog_check *check = instance->checks[i];
        if (catalog_health_of(check->status) > most && !is_ignored(query, check->id)) {
            return false;
        }
    }
    return true;
}

static bool has_pairs(const struct str_map *map, const struct str_map *wanted) {
    for (uint32_t i = 0; i < wanted->count; i++) {
        const char *value = str_map_get(map, wanted->v[i].key);
        if (value == NULL || strcmp(value, wanted->v[i].value) != 0) {
            return false;
        }
    }
    return true;
}

static bool has_tag(const struct str_list *tags, const char *tag) {
    for (uint32_t i = 0; i < tags->count; i++) {
        if (str_equal_fold(tags->v[i], tag)) {
            return true;
        }
    }
    return false;
}

/* Those with '!' must not be there. */
static bool has_tags(const struct str_list *tags, const struct str_list *wanted) {
    for (uint32_t i = 0; i < wanted->count; i++) {
        const char *tag = wanted->v[i];
        bool absent = *tag == '!';
        if (has_tag(tags, tag + absent) == absent) {
            return false;
        }
    }
    return true;
}

struct selection {
    const struct catalog_query *query;
    struct query_instances *out; /* v NULL: they are counted */
    size_t count;
};

static bool select_instance(const struct catalog_instance *instance, void *context) {
    struct selection *selection = context;
    const struct catalog_query *query = selection->query;
    if (is_healthy(query, instance) && has_pairs(&instance->node->meta, &query->node_meta) &&
        has_pairs(&instance->service->meta, &query->service_meta) &&
        has_tags(&instance->service->tags, &query->tags)) {
        if (selection->out->v != NULL) {
            selection->out->v[selection->count] = instance;
        }
        selection->count++;
    }
    return true;
}

void query_select(const struct catalog_view *view, const struct catalog_query *query,
                  struct rand *rand, struct arena *arena, struct query_instances *ret_instances) {
    struct query_instances out = {NULL, 0};
    struct selection selection = {query, &out, 0};
    view_walk_instances(view, query->service, select_instance, &selection);
    out.v = arena_alloc(arena, (selection.count + 1) * sizeof *out.v);
    selection.count = 0;
    view_walk_instances(view, query->service, select_instance, &selection);
    out.count = selection.count;
    for (size_t i = 0; i + 1 < out.count; i++) { /* Fisher and Yates */
        size_t j = i + (size_t)rand_below(rand, out.count - i);
        const struct catalog_instance *drawn = out.v[j];
        out.v[j] = out.v[i];
        out.v[i] = drawn;
    }
    *ret_instances = out;
}

/* ---- who asks ---- */

void query_put_first(struct query_instances *instances, const char *node) {
    for (size_t i = 0; *node != '\0' && i < instances->count && i < FIRST_OF; i++) {
        const struct catalog_instance *here = instances->v[i];
        if (str_equal_fold(here->node->name, node)) {
            instances->v[i] = instances->v[0];
            instances->v[0] = here;
            return;
        }
    }
}

static bool keep_name(const struct catalog_node *node, void *context) {
    *(const char **)context = node->name;
    return false;
}

const char *query_node_at(const struct catalog_view *view, const uint8_t *ip, size_t bytes) {
    const char *name = "";
    view_walk_nodes_at(view, ip, bytes, keep_name, &name);
    return name;
}

/* ---- the whole ---- */

/* The nearest to the node first, as far as distances are known. */
static void sort(const struct catalog_view *view, const char *near, struct arena *arena,
                 struct query_instances *instances) {
    const struct coordinate *from = *near != '\0' ? view_get_coordinate(view, near) : NULL;
    if (from == NULL) {
        return;
    }
    struct distance_row *rows = arena_alloc(arena, (instances->count + 1) * sizeof *rows);
    for (size_t i = 0; i < instances->count; i++) {
        const struct catalog_instance *instance = instances->v[i];
        rows[i] = (struct distance_row){.node = instance->node->name, .row = instance};
    }
    distance_sort(view, from, rows, instances->count);
    for (size_t i = 0; i < instances->count; i++) {
        instances->v[i] = rows[i].row;
    }
}

struct failover_place query_run(const struct failover_source *source,
                                const struct catalog_view *home, const struct catalog_query *query,
                                const char *near, struct rand *rand, struct arena *arena,
                                struct query_instances *ret_instances, uint32_t *ret_tried) {
    struct failover_place place = {.datacenter = NULL, .view = home}, other;
    const struct failover_state *state = source != NULL ? atomic_load(&source->state) : NULL;
    query_select(home, query, rand, arena, ret_instances);
    sort(home, near, arena, ret_instances);
    query_put_first(ret_instances, near);
    *ret_tried = 0;
    if (ret_instances->count > 0 || state == NULL) {
        return place;
    }
    const struct str_list *named =
        query->targets_present ? &query->target_datacenters : &query->datacenters;
    struct str_list targets = failover_targets(query->nearest, named, &state->datacenters, arena);
    for (uint32_t at = 0; at < 2 * targets.count && ret_instances->count == 0; at++) {
        bool old = at >= targets.count; /* those that are silent are asked last */
        *ret_tried += !old;
        if (failover_look(source, targets.v[at % targets.count], old, &other)) {
            place = other;
            query_select(place.view, query, rand, arena, ret_instances);
        }
    }
    return place;
}
