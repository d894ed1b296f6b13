#include "catalog/view.h"

#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "base/uuid.h"
#include "catalog/internal.h"
#include "catalog/row.h"

void key_add(struct key *key, const char *name) {
    size_t room = sizeof key->bytes - key->size;
    char *to = (char *)key->bytes + key->size;
    if (room > LIMIT_NAME_BYTES + 1) {
        room = LIMIT_NAME_BYTES + 1;
    }
    if (str_lower(to, room, name)) {
        key->size += strlen(to) + 1;
    } else {
        /* Too long for any row: 0xff never starts a name in UTF-8, so this matches none. */
        to[0] = (char)0xff;
        key->size += 1;
    }
}

void key_init(struct key *key, const char *name) {
    key->size = 0;
    key_add(key, name);
}

enum catalog_health catalog_health_of(const char *status) {
    return strcmp(status, "passing") == 0   ? HEALTH_PASSING
           : strcmp(status, "warning") == 0 ? HEALTH_WARNING
                                            : HEALTH_CRITICAL;
}

const struct catalog_tagged_address *catalog_find_tagged(const struct catalog_service *service,
                                                         const char *name) {
    for (uint32_t i = 0; i < service->tagged_address_count; i++) {
        if (strcmp(service->tagged_addresses[i].name, name) == 0) {
            return &service->tagged_addresses[i];
        }
    }
    return NULL;
}

uint64_t view_applied(const struct catalog_view *view) {
    return view->indexes.applied;
}

const struct catalog_autopilot *view_get_autopilot(const struct catalog_view *view) {
    return &view->autopilot;
}

uint64_t view_row_hash(const struct catalog_view *view) {
    return view->indexes.row_hash + row_hash_autopilot(&view->autopilot) +
           tree_sum(&view->kvs, NULL, 0).hash + tree_sum(&view->tombstones, NULL, 0).hash +
           tree_sum(&view->tree_tombstones, NULL, 0).hash;
}

uint64_t catalog_hash(const struct catalog *catalog) {
    return view_row_hash(&catalog->next);
}

uint64_t view_version(const struct catalog_view *view) {
    return view->version;
}

static uint64_t at_least_one(uint64_t index) {
    return index > 0 ? index : 1;
}

uint64_t view_index_nodes(const struct catalog_view *view) {
    return at_least_one(view->indexes.nodes);
}

uint64_t view_index_services(const struct catalog_view *view) {
    return at_least_one(view->indexes.services);
}

uint64_t view_index_checks(const struct catalog_view *view) {
    return at_least_one(view->indexes.checks);
}

uint64_t catalog_get_index(const struct tree *tree, const char *name) {
    struct key key;
    key_init(&key, name);
    return (uint64_t)(uintptr_t)tree_get(tree, key.bytes, key.size);
}

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

uint64_t view_index_service(const struct catalog_view *view, const char *service) {
    uint64_t index = catalog_get_index(&view->service_index, service);
    if (index > 0) {
        return index;
    }
    const struct codec_indexes *all = &view->indexes;
    return all->service_extinction > 0
               ? all->service_extinction
               : at_least_one(larger(all->checks, larger(all->nodes, all->services)));
}

uint64_t view_index_node(const struct catalog_view *view, const char *node) {
    uint64_t index = catalog_get_index(&view->node_index, node);
    return at_least_one(index > 0 ? index : view->indexes.node_extinction);
}

static void key_init_ip(struct key *key, const uint8_t *ip, size_t bytes) {
    key->bytes[0] = (uint8_t)bytes;
    memcpy(key->bytes + 1, ip, bytes);
    key->size = 1 + bytes;
}

bool key_init_address(struct key *key, const char *address) {
    uint8_t ip[16];
    uint8_t bytes = 0;
    if (!ip_parse(address, ip, &bytes)) {
        return false;
    }
    key_init_ip(key, ip, bytes);
    return true;
}

static void *get(const struct tree *tree, const char *first, const char *second) {
    struct key key;
    key_init(&key, first);
    if (second != NULL) {
        key_add(&key, second);
    }
    return tree_get(tree, key.bytes, key.size);
}

const struct catalog_node *view_get_node(const struct catalog_view *view, const char *name) {
    return get(&view->nodes, name, NULL);
}

const struct catalog_node *view_get_node_by_id(const struct catalog_view *view, const char *id) {
    return get(&view->node_ids, id, NULL);
}

struct prefix_search {
    const struct catalog_node *found;
    unsigned count;
};

static bool count_match(void *value, void *context) {
    struct prefix_search *search = context;
    search->found = value;
    return ++search->count < 2;
}

const struct catalog_node *view_find_node_by_id_prefix(const struct catalog_view *view,
                                                       const char *prefix) {
    struct key key;
    struct prefix_search search = {0};
    if (strlen(prefix) < 2 || strlen(prefix) >= UUID_TEXT_BYTES) {
        return NULL;
    }
    key_init(&key, prefix);
    tree_walk(&view->node_ids, key.bytes, key.size - 1, count_match, &search);
    return search.count == 1 ? search.found : NULL;
}

const struct catalog_service *view_get_service(const struct catalog_view *view, const char *node,
                                               const char *id) {
    return get(&view->services, node, id);
}

const struct catalog_check *view_get_check(const struct catalog_view *view, const char *node,
                                           const char *id) {
    return get(&view->checks, node, id);
}

/* The typed visitor behind an untyped walk. */
struct visitor {
    void *context;
    union {
        view_visit_node node;
        view_visit_service service;
        view_visit_check check;
        view_visit_instance instance;
    };
};

static bool visit_node(void *value, void *context) {
    struct visitor *visitor = context;
    return visitor->node(value, visitor->context);
}

static bool visit_service(void *value, void *context) {
    struct visitor *visitor = context;
    return visitor->service(value, visitor->context);
}

static bool visit_check(void *value, void *context) {
    struct visitor *visitor = context;
    return visitor->check(value, visitor->context);
}

static bool visit_instance(void *value, void *context) {
    struct visitor *visitor = context;
    return visitor->instance(value, visitor->context);
}

static void walk_name(const struct tree *tree, const char *name,
                      bool (*visit)(void *value, void *context), struct visitor *visitor) {
    struct key key;
    key_init(&key, name);
    tree_walk(tree, key.bytes, key.size, visit, visitor);
}

void view_walk_nodes(const struct catalog_view *view, view_visit_node visit, void *context) {
    struct visitor visitor = {.context = context, .node = visit};
    tree_walk(&view->nodes, NULL, 0, visit_node, &visitor);
}

bool view_is_corrected(const struct catalog_view *view) {
    return view->corrected;
}

const struct catalog_instance *view_get_instance(const struct catalog_view *view,
                                                 const struct catalog_service *service) {
    struct key key;
    key_init(&key, service->name);
    key_add(&key, service->node);
    key_add(&key, service->id);
    return tree_get(&view->instances, key.bytes, key.size);
}

void view_walk_instances(const struct catalog_view *view, const char *service,
                         view_visit_instance visit, void *context) {
    struct visitor visitor = {.context = context, .instance = visit};
    walk_name(&view->instances, service, visit_instance, &visitor);
}

static bool stop_at_first(const struct catalog_instance *instance, void *context) {
    (void)instance;
    *(bool *)context = true;
    return false;
}

bool view_has_instances(const struct catalog_view *view, const char *service) {
    bool any = false;
    view_walk_instances(view, service, stop_at_first, &any);
    return any;
}

void view_walk_all_instances(const struct catalog_view *view, view_visit_instance visit,
                             void *context) {
    struct visitor visitor = {.context = context, .instance = visit};
    tree_walk(&view->instances, NULL, 0, visit_instance, &visitor);
}

void view_walk_nodes_at(const struct catalog_view *view, const uint8_t *ip, size_t bytes,
                        view_visit_node visit, void *context) {
    struct visitor visitor = {.context = context, .node = visit};
    struct key key;
    key_init_ip(&key, ip, bytes);
    tree_walk(&view->node_addresses, key.bytes, key.size, visit_node, &visitor);
}

void view_walk_services_at(const struct catalog_view *view, const uint8_t *ip, size_t bytes,
                           view_visit_service visit, void *context) {
    struct visitor visitor = {.context = context, .service = visit};
    struct key key;
    key_init_ip(&key, ip, bytes);
    tree_walk(&view->service_addresses, key.bytes, key.size, visit_service, &visitor);
}

void view_walk_node_services(const struct catalog_view *view, const char *node,
                             view_visit_service visit, void *context) {
    struct visitor visitor = {.context = context, .service = visit};
    walk_name(&view->services, node, visit_service, &visitor);
}

void view_walk_node_checks(const struct catalog_view *view, const char *node,
                           view_visit_check visit, void *context) {
    struct visitor visitor = {.context = context, .check = visit};
    walk_name(&view->checks, node, visit_check, &visitor);
}

void view_walk_all_checks(const struct catalog_view *view, view_visit_check visit, void *context) {
    struct visitor visitor = {.context = context, .check = visit};
    tree_walk(&view->checks, NULL, 0, visit_check, &visitor);
}

/* ---- all trees ---- */

static bool free_value(void *value, void *context) {
    (void)context;
    free(value);
    return true;
}

void catalog_list_trees(struct catalog_view *view, struct tree *ret_all[CATALOG_TREES]) {
    struct tree *all[] = {/* the owners of their values */
                          &view->nodes, &view->services, &view->instances, &view->checks,
                          &view->kvs, &view->tombstones, &view->tree_tombstones, &view->delays,
                          &view->sessions, &view->removals, &view->coordinates, &view->queries,
                          &view->failovers,
                          /* the others */
                          &view->node_ids, &view->bound_checks, &view->service_index,
                          &view->node_index, &view->tombstone_order, &view->held,
                          &view->node_sessions, &view->session_checks, &view->node_addresses,
                          &view->service_addresses, &view->query_names, &view->session_queries};
    _Static_assert(sizeof all / sizeof all[0] == CATALOG_TREES, "all are listed");
    memcpy(ret_all, all, sizeof all);
}

void catalog_free_trees(struct catalog_view *view, bool rows) {
    struct tree *all[CATALOG_TREES];
    catalog_list_trees(view, all);
    for (size_t i = 0; rows && i < CATALOG_OWNERS; i++) {
        tree_walk(all[i], NULL, 0, free_value, NULL);
    }
    for (size_t i = 0; i < CATALOG_TREES; i++) {
        tree_clear(all[i]);
    }
}
