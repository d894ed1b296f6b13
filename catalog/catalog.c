#include "catalog/catalog.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/uuid.h"
#include "catalog/internal.h"
#include "catalog/row.h"

/* ---- life ---- */

struct catalog *catalog_create(struct epoch *epoch, struct watches *watches) {
    struct catalog *catalog = mem_calloc(1, sizeof *catalog);
    catalog->epoch = epoch;
    catalog->watches = watches;
    catalog->batch = (struct tree_batch){.epoch = epoch, .stamp = 1};
    atomic_init(&catalog->published, mem_calloc(1, sizeof(struct catalog_view)));
    return catalog;
}

static void clear_rest(struct catalog *catalog) {
    if (catalog->rest.present && catalog->watches != NULL) {
        watches_pause(catalog->watches, false);
    }
    free(catalog->rest.services.v);
    free(catalog->rest.checks.v);
    catalog->rest = (struct catalog_rest){0};
}

void catalog_destroy(struct catalog *catalog) {
    if (catalog == NULL) {
        return;
    }
    clear_rest(catalog);
    catalog_drop_restore(catalog);
    catalog_publish(catalog); /* what the last view alone reaches is retired, not lost */
    while (catalog_sweep(catalog)) {
    }
    catalog_publish(catalog);
    tree_sweep_clear(&catalog->sweep);
    tree_sweep_clear(&catalog->grave_sweep);
    catalog_cut_events(catalog, 0);
    free(catalog->events);
    free(catalog->noted);
    free(catalog->cut);
    catalog_changes_destroy(catalog->changes);
    catalog_free_trees(&catalog->next, true);
    free(atomic_load(&catalog->published));
    free(catalog);
}

void catalog_publish(struct catalog *catalog) {
    ASSERT(!catalog->rest.present && catalog->restoring.ending == ENDING_NOT);
    catalog->next.version++;
    struct catalog_view *view = mem_memdup(&catalog->next, sizeof catalog->next);
    struct catalog_view *old = atomic_exchange(&catalog->published, view);
    catalog->batch.stamp++;
    catalog_changes_publish(catalog);
    epoch_retire(catalog->epoch, old);
    while (catalog->cut_count > 0) {
        tree_sweep_add(&catalog->sweep, &catalog->cut[--catalog->cut_count]);
    }
    catalog_close_graves(catalog);
    if (catalog->changing) {
        catalog->changing = false;
        epoch_release(catalog->epoch);
    }
    epoch_advance(catalog->epoch);
}

const struct catalog_view *catalog_view(const struct catalog *catalog) {
    return atomic_load(&catalog->published);
}

/* ---- rows that come and go ---- */

void catalog_retire(struct catalog *catalog, const void *row) {
    struct tree_journal *journal = catalog->journal;
    if (row == NULL) {
        return;
    }
    if (journal == NULL) {
        epoch_retire(catalog->epoch, (void *)(uintptr_t)row);
    } else {
        tree_journal_add(journal, (void *)(uintptr_t)row);
    }
}

void catalog_made(struct catalog *catalog, void *row) {
    if (catalog->journal == NULL) {
        return;
    }
    if (catalog->made_count == catalog->made_capacity) {
        catalog->made_capacity = catalog->made_capacity == 0 ? 64 : 2 * catalog->made_capacity;
        catalog->made = mem_realloc(catalog->made, catalog->made_capacity * sizeof *catalog->made);
    }
    catalog->made[catalog->made_count++] = row;
}

/* ---- indexes and marks ---- */

static void mark(struct catalog *catalog, enum watch_kind kind, const char *name) {
    if (catalog->watches != NULL) {
        watches_mark(catalog->watches, kind, name);
    }
}

void catalog_set_index(struct catalog *catalog, struct tree *tree, const char *name,
                       uint64_t index) {
    struct key key;
    key_init(&key, name);
    tree_set(tree, &catalog->batch, key.bytes, key.size, (void *)(uintptr_t)index);
}

static uint64_t now(const struct catalog *catalog) {
    return catalog->next.indexes.applied;
}

static void touch_node(struct catalog *catalog, const char *node) {
    catalog_set_index(catalog, &catalog->next.node_index, node, now(catalog));
    mark(catalog, WATCH_NODE, node);
}

static void touch_service(struct catalog *catalog, const char *service) {
    catalog_set_index(catalog, &catalog->next.service_index, service, now(catalog));
    mark(catalog, WATCH_SERVICE, service);
}

static void touch_nodes_table(struct catalog *catalog) {
    catalog->next.indexes.nodes = now(catalog);
    mark(catalog, WATCH_NODES, "");
}

/* A service write also counts as a write to the nodes table (contract, indexes returned). */
static void touch_services_table(struct catalog *catalog) {
    catalog->next.indexes.services = now(catalog);
    mark(catalog, WATCH_SERVICES, "");
    touch_nodes_table(catalog);
}

static void touch_checks_table(struct catalog *catalog) {
    catalog->next.indexes.checks = now(catalog);
    mark(catalog, WATCH_CHECKS, "");
}

/* After an instance left: the service's own index goes with its last instance. */
static void settle_service(struct catalog *catalog, const char *service) {
    catalog_note(catalog, CHANGE_NAME, "", "", service);
    if (view_has_instances(&catalog->next, service)) {
        touch_service(catalog, service);
        return;
    }
    struct key key;
    key_init(&key, service);
    tree_remove(&catalog->next.service_index, &catalog->batch, key.bytes, key.size);
    catalog->next.indexes.service_extinction = now(catalog);
    mark(catalog, WATCH_SERVICE, service);
}

/* ---- instances ---- */

struct gather {
    const struct catalog_check **checks;
    uint32_t count;
};

static bool gather_check(void *value, void *context) {
    struct gather *gather = context;
    if (gather->checks != NULL) {
        gather->checks[gather->count] = value;
    }
    gather->count++;
    return true;
}

static void gather_bound(const struct catalog_view *view, const char *node, const char *service_id,
                         struct gather *gather) {
    struct key key;
    key_init(&key, node);
    key_add(&key, service_id);
    tree_walk(&view->bound_checks, key.bytes, key.size, gather_check, gather);
}

static void instance_key(struct key *key, const struct catalog_service *service) {
    key_init(key, service->name);
    key_add(key, service->node);
    key_add(key, service->id);
}

void catalog_build_instance(struct catalog *catalog, const struct catalog_service *service) {
    const struct catalog_view *view = &catalog->next;
    struct gather count = {0};
    gather_bound(view, service->node, "", &count);
    gather_bound(view, service->node, service->id, &count);
    struct catalog_instance *instance =
        mem_alloc(sizeof *instance + count.count * sizeof instance->checks[0]);
    instance->node = view_get_node(view, service->node);
    ASSERT(instance->node != NULL);
    instance->service = service;
    instance->health = HEALTH_PASSING;
    instance->check_count = count.count;
    catalog->touched += 1 + count.count;
    struct gather fill = {.checks = instance->checks};
    gather_bound(view, service->node, "", &fill);
    gather_bound(view, service->node, service->id, &fill);
    for (uint32_t i = 0; i < instance->check_count; i++) {
        enum catalog_health health = catalog_health_of(instance->checks[i]->status);
        instance->health = health > instance->health ? health : instance->health;
    }
    struct key key;
    instance_key(&key, service);
    catalog_made(catalog, instance);
    catalog_retire(catalog, tree_set(&catalog->next.instances, &catalog->batch, key.bytes, key.size,
                                     instance));
}

static bool rebuild_and_touch(const struct catalog_service *service, void *context) {
    catalog_build_instance(context, service);
    touch_service(context, service->name);
    return true;
}

static bool collect(struct catalog_rows *rows, const void *row) {
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity == 0 ? 16 : rows->capacity * 2;
        rows->v = mem_realloc(rows->v, rows->capacity * sizeof *rows->v);
    }
    rows->v[rows->count++] = row;
    return true;
}

static bool collect_service(const struct catalog_service *service, void *context) {
    return collect(context, service);
}

static bool collect_check(const struct catalog_check *check, void *context) {
    return collect(context, check);
}

/* The last thing of a command: the node's services are taken one by one, see catalog_go_on. */
static void begin_rest(struct catalog *catalog, const char *node,
                       const struct catalog_node *removed) {
    struct catalog_rest *rest = &catalog->rest;
    ASSERT(!rest->present);
    catalog_note(catalog, CHANGE_HEALTH, node, "", "");
    rest->present = true;
    rest->removed = removed;
    view_walk_node_services(&catalog->next, node, collect_service, &rest->services);
    if (catalog->watches != NULL) {
        watches_pause(catalog->watches, true);
    }
}

/* A node's own row or check changed: every instance on it shows the change. */
static void rebuild_node(struct catalog *catalog, const char *node) {
    begin_rest(catalog, node, NULL);
}

/* ---- checks ---- */

static void check_keys(const struct catalog_check *check, struct key *key, struct key *bound) {
    key_init(key, check->node);
    key_add(key, check->id);
    key_init(bound, check->node);
    key_add(bound, check->service_id);
    key_add(bound, check->id);
}

static void refresh_service(struct catalog *catalog, const char *node, const char *service_id) {
    const struct catalog_service *service = view_get_service(&catalog->next, node, service_id);
    if (service != NULL) {
        catalog_note(catalog, CHANGE_NAME, "", "", service->name);
        rebuild_and_touch(service, catalog);
    }
}

/* The instances that show a check, after its row was set or removed. */
static void refresh_check_owner(struct catalog *catalog, const struct catalog_check *check) {
    if (*check->service_id == '\0') {
        rebuild_node(catalog, check->node);
    } else {
        refresh_service(catalog, check->node, check->service_id);
    }
}

static void remove_check_row(struct catalog *catalog, const struct catalog_check *row) {
    struct key key, bound;
    check_keys(row, &key, &bound);
    tree_remove(&catalog->next.checks, &catalog->batch, key.bytes, key.size);
    tree_remove(&catalog->next.bound_checks, &catalog->batch, bound.bytes, bound.size);
    catalog->next.followers -= catalog_follows_session(row);
    catalog->next.indexes.row_hash -= row_hash_check(row);
    catalog_note_check(catalog, row);
    catalog->touched++;
    touch_checks_table(catalog);
    catalog_retire(catalog, row);
}

/* For good: sessions that watch it end. */
static void drop_check_row(struct catalog *catalog, const struct catalog_check *row) {
    remove_check_row(catalog, row); /* retired, so still readable here */
    catalog_end_check_sessions(catalog, row->node, row->id);
}

static void remove_check(struct catalog *catalog, const struct catalog_check *row) {
    struct catalog_check *copy = row_copy_check(row);
    drop_check_row(catalog, row);
    touch_node(catalog, copy->node);
    refresh_check_owner(catalog, copy);
    free(copy);
}

/* Instances to build anew once all checks of a command are set: each only once, because each build
 * costs as much as the instance has checks. */
struct refresh {
    bool node;              /* all instances of the node */
    const char *service_id; /* one that the last checks belong to; a row's, or NULL */
};

static void refresh_later(struct catalog *catalog, struct refresh *refresh, const char *node,
                          const char *service_id) {
    if (*service_id == '\0') {
        refresh->node = true;
    } else if (refresh->service_id == NULL || !str_equal_fold(refresh->service_id, service_id)) {
        if (refresh->service_id != NULL) {
            refresh_service(catalog, node, refresh->service_id);
        }
        refresh->service_id = view_get_service(&catalog->next, node, service_id)->id;
    }
}

static void refresh_now(struct catalog *catalog, const struct refresh *refresh, const char *node) {
    if (refresh->node) {
        rebuild_node(catalog, node);
    } else if (refresh->service_id != NULL) {
        refresh_service(catalog, node, refresh->service_id);
    }
}

static void write_check(struct catalog *catalog, const struct catalog_check *check,
                        struct refresh *refresh) {
    const struct catalog_check *old = view_get_check(&catalog->next, check->node, check->id);
    if (old != NULL && row_equal_check(old, check)) {
        return;
    }
    struct catalog_check *row = row_copy_check(check);
    catalog_made(catalog, row);
    row->modify_index = now(catalog);
    row->create_index = old != NULL ? old->create_index : now(catalog);
    if (old != NULL) {
        remove_check_row(catalog, old); /* retired, so still readable here */
    }
    struct key key, bound;
    check_keys(row, &key, &bound);
    tree_set(&catalog->next.checks, &catalog->batch, key.bytes, key.size, row);
    tree_set(&catalog->next.bound_checks, &catalog->batch, bound.bytes, bound.size, row);
    catalog->next.followers += catalog_follows_session(row);
    catalog->next.indexes.row_hash += row_hash_check(row);
    catalog_note_check(catalog, row);
    touch_checks_table(catalog);
    touch_node(catalog, row->node);
    if (old != NULL && !str_equal_fold(old->service_id, row->service_id)) {
        refresh_later(catalog, refresh, row->node, old->service_id);
    }
    refresh_later(catalog, refresh, row->node, row->service_id);
}

/* A critical one ends the sessions that watch it, though it may be so already (contract, kv 2.5).
 */
static void set_check(struct catalog *catalog, const struct catalog_check *check,
                      struct refresh *refresh) {
    write_check(catalog, check, refresh);
    if (catalog_health_of(check->status) == HEALTH_CRITICAL) {
        catalog_end_check_sessions(catalog, check->node, check->id);
    }
}

void catalog_write_check(struct catalog *catalog, const struct catalog_check *check) {
    struct refresh refresh = {0};
    set_check(catalog, check, &refresh);
    refresh_now(catalog, &refresh, check->node);
}

/* ---- services ---- */

/* Row and instance only; checks and indexes are the caller's. */
static void drop_service_row(struct catalog *catalog, const struct catalog_service *row) {
    struct key key;
    instance_key(&key, row);
    catalog_retire(catalog,
                   tree_remove(&catalog->next.instances, &catalog->batch, key.bytes, key.size));
    key_init(&key, row->node);
    key_add(&key, row->id);
    tree_remove(&catalog->next.services, &catalog->batch, key.bytes, key.size);
    catalog_remove_service_address(catalog, row);
    catalog->next.indexes.row_hash -= row_hash_service(row);
    catalog_note(catalog, CHANGE_SERVICE, row->node, row->id, row->name);
    catalog->touched++;
    catalog_retire(catalog, row);
}

static void remove_service(struct catalog *catalog, const struct catalog_service *row) {
    struct gather count = {0};
    gather_bound(&catalog->next, row->node, row->id, &count);
    struct gather fill = {.checks = mem_alloc(count.count * sizeof *fill.checks)};
    gather_bound(&catalog->next, row->node, row->id, &fill);
    for (uint32_t i = 0; i < fill.count; i++) {
        drop_check_row(catalog, fill.checks[i]);
    }
    free(fill.checks);
    drop_service_row(catalog, row); /* retired, so still readable until the next advance */
    touch_node(catalog, row->node);
    touch_services_table(catalog);
    settle_service(catalog, row->name);
}

static void set_service(struct catalog *catalog, const struct catalog_service *service) {
    const struct catalog_service *old =
        view_get_service(&catalog->next, service->node, service->id);
    if (old != NULL && row_equal_service(old, service)) {
        return;
    }
    struct catalog_service *row = row_copy_service(service);
    catalog_made(catalog, row);
    row->modify_index = now(catalog);
    row->create_index = old != NULL ? old->create_index : now(catalog);
    if (old != NULL) {
        drop_service_row(catalog, old);
    }
    struct key key;
    key_init(&key, row->node);
    key_add(&key, row->id);
    tree_set(&catalog->next.services, &catalog->batch, key.bytes, key.size, row);
    catalog_add_service_address(catalog, row);
    catalog->next.indexes.row_hash += row_hash_service(row);
    catalog_note(catalog, CHANGE_SERVICE, row->node, row->id, row->name);
    catalog_note(catalog, CHANGE_NAME, "", "", row->name);
    catalog_build_instance(catalog, row);
    touch_service(catalog, row->name);
    touch_node(catalog, row->node);
    touch_services_table(catalog);
    if (old != NULL && !str_equal_fold(old->name, row->name)) {
        settle_service(catalog, old->name);
    }
}

/* ---- nodes ---- */

static void drop_node_row(struct catalog *catalog, const struct catalog_node *row) {
    struct key key;
    key_init(&key, row->name);
    tree_remove(&catalog->next.nodes, &catalog->batch, key.bytes, key.size);
    if (*row->id != '\0') {
        key_init(&key, row->id);
        if (tree_get(&catalog->next.node_ids, key.bytes, key.size) == row) {
            tree_remove(&catalog->next.node_ids, &catalog->batch, key.bytes, key.size);
        }
    }
    catalog_remove_node_address(catalog, row);
    catalog->next.indexes.row_hash -= row_hash_node(row);
    catalog_note(catalog, CHANGE_NODE, row->name, "", "");
    catalog_retire(catalog, row);
}

/* Its services and checks are gone. */
static void end_removal(struct catalog *catalog, const struct catalog_node *row) {
    drop_node_row(catalog, row);
    struct key key;
    key_init(&key, row->name);
    tree_remove(&catalog->next.node_index, &catalog->batch, key.bytes, key.size);
    catalog->next.indexes.node_extinction = now(catalog);
    touch_nodes_table(catalog);
    mark(catalog, WATCH_NODE, row->name);
}

static void end_rest(struct catalog *catalog) {
    if (catalog->rest.removed != NULL) {
        end_removal(catalog, catalog->rest.removed);
    }
    clear_rest(catalog);
}

/* Rows stay readable to the end: what is retired is held until the publish. */
bool catalog_go_on(struct catalog *catalog, uint64_t rows) {
    struct catalog_rest *rest = &catalog->rest;
    const uint64_t end =
        rows > UINT64_MAX - catalog->touched ? UINT64_MAX : catalog->touched + rows;
    catalog_end_restore(catalog, end);
    while (catalog->touched < end) {
        if (!rest->present) {
            if (!catalog_follow_session(catalog)) {
                break;
            }
        } else if (!rest->checks_listed && rest->at < rest->services.count) {
            const struct catalog_service *service = rest->services.v[rest->at++];
            if (rest->removed != NULL) {
                remove_service(catalog, service);
            } else {
                rebuild_and_touch(service, catalog);
            }
        } else if (!rest->checks_listed && rest->removed != NULL) {
            rest->checks_listed = true;
            rest->at = 0;
            view_walk_node_checks(&catalog->next, rest->removed->name, collect_check,
                                  &rest->checks);
        } else if (rest->at < rest->checks.count) {
            drop_check_row(catalog, rest->checks.v[rest->at++]);
        } else {
            end_rest(catalog);
        }
    }
    return !rest->present && catalog->noted_count == 0 && catalog->restoring.ending == ENDING_NOT;
}

uint64_t catalog_touched(const struct catalog *catalog) {
    return catalog->touched;
}

enum catalog_command_kind catalog_last_kind(const struct catalog *catalog) {
    return catalog->last_kind;
}

static void remove_node(struct catalog *catalog, const struct catalog_node *row) {
    catalog_end_node_sessions(catalog, row->name);
    catalog_remove_coordinates(catalog, row->name);
    begin_rest(catalog, row->name, row);
}

static void set_node(struct catalog *catalog, const struct catalog_node *node,
                     struct refresh *refresh) {
    const struct catalog_node *old = view_get_node(&catalog->next, node->name);
    if (old != NULL && row_equal_node(old, node)) {
        return;
    }
    struct catalog_node *row = row_copy_node(node);
    catalog_made(catalog, row);
    row->modify_index = now(catalog);
    row->create_index = old != NULL ? old->create_index : now(catalog);
    if (old != NULL) {
        drop_node_row(catalog, old);
    }
    struct key key;
    key_init(&key, row->name);
    tree_set(&catalog->next.nodes, &catalog->batch, key.bytes, key.size, row);
    if (*row->id != '\0') {
        key_init(&key, row->id);
        tree_set(&catalog->next.node_ids, &catalog->batch, key.bytes, key.size, row);
    }
    catalog_add_node_address(catalog, row);
    catalog->next.indexes.row_hash += row_hash_node(row);
    catalog_note(catalog, CHANGE_NODE, row->name, "", "");
    touch_nodes_table(catalog);
    touch_node(catalog, row->name);
    refresh->node = true;
}

/* Alive as far as its own gossip check says; a node without one may be taken over. */
static bool node_is_healthy(const struct catalog *catalog, const struct catalog_node *node) {
    const struct catalog_check *check =
        view_get_check(&catalog->next, node->name, CATALOG_AGENT_CHECK);
    return check != NULL && catalog_health_of(check->status) != HEALTH_CRITICAL;
}

/* The contract's node id rules (7.2), judged before anything changes. */
static enum err judge_node(const struct catalog *catalog, const struct catalog_node *node,
                           const struct catalog_node **ret_renamed, struct err_text *text) {
    *ret_renamed = NULL;
    if (*node->id == '\0') {
        return ERR_OK;
    }
    const struct catalog_node *owner = view_get_node(&catalog->next, node->name);
    const struct catalog_node *same_id = view_get_node_by_id(&catalog->next, node->id);
    bool renames = same_id != NULL && !str_equal_fold(same_id->name, node->name);
    /* Only an ID that is new may claim the name of a node without one. */
    bool owned = owner != NULL && (renames || *owner->id != '\0');
    if (owned && strcmp(owner->id, node->id) != 0 && node_is_healthy(catalog, owner)) {
        return err_set(text, ERR_REFUSED,
                       "failed inserting node: Error while renaming Node ID: \"%s\"%s%.64s%s: Node "
                       "name %.128s is reserved by node %s with name %.128s (%.64s)",
                       node->id, renames ? " (" : "", renames ? node->address : "",
                       renames ? ")" : "", node->name, owner->id, owner->name, owner->address);
    }
    *ret_renamed = renames ? same_id : NULL;
    return ERR_OK;
}

/* ---- commands ---- */

static bool names_fit(const struct catalog_register *reg) {
    bool fit = strlen(reg->node.name) <= LIMIT_NAME_BYTES && strlen(reg->node.id) < UUID_TEXT_BYTES;
    if (reg->service != NULL) {
        fit = fit && strlen(reg->service->id) <= LIMIT_NAME_BYTES &&
              strlen(reg->service->name) <= LIMIT_NAME_BYTES;
    }
    for (uint32_t i = 0; i < reg->check_count; i++) {
        fit = fit && strlen(reg->checks[i].id) <= LIMIT_NAME_BYTES;
    }
    return fit;
}

/* The service that a check of this registration belongs to, as it will be after it. */
static const struct catalog_service *service_of_check(const struct catalog *catalog,
                                                      const struct catalog_register *reg,
                                                      const struct catalog_check *check,
                                                      bool node_stays) {
    if (reg->service != NULL && str_equal_fold(reg->service->id, check->service_id)) {
        return reg->service;
    }
    return node_stays ? view_get_service(&catalog->next, reg->node.name, check->service_id) : NULL;
}

static enum err judge_checks(const struct catalog *catalog, const struct catalog_register *reg,
                             bool node_stays, struct err_text *text) {
    for (uint32_t i = 0; i < reg->check_count; i++) {
        const struct catalog_check *check = &reg->checks[i];
        if (*check->service_id != '\0' &&
            service_of_check(catalog, reg, check, node_stays) == NULL) {
            return err_set(text, ERR_REFUSED, "Unknown service ID '%.128s' for check ID '%.128s'",
                           check->service_id, check->id);
        }
    }
    return ERR_OK;
}

enum err catalog_apply_register(struct catalog *catalog, const struct catalog_register *reg,
                                struct err_text *text) {
    if (!names_fit(reg)) {
        return err_set(text, ERR_REFUSED, "a name or ID is longer than %d bytes", LIMIT_NAME_BYTES);
    }
    const struct catalog_node *known = view_get_node(&catalog->next, reg->node.name);
    bool write_node = known == NULL || !reg->skip_node_update;
    const struct catalog_node *renamed = NULL;
    enum err err = write_node ? judge_node(catalog, &reg->node, &renamed, text) : ERR_OK;
    if (err == ERR_OK) {
        err = judge_checks(catalog, reg, known != NULL, text);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct refresh refresh = {0};
    if (renamed != NULL) {
        remove_node(catalog, renamed);
        catalog_go_on(catalog, UINT64_MAX); /* rare, and it must be gone before */
    }
    if (write_node) {
        set_node(catalog, &reg->node, &refresh);
    }
    if (reg->service != NULL) {
        struct catalog_service service = *reg->service;
        service.node = view_get_node(&catalog->next, reg->node.name)->name;
        set_service(catalog, &service);
    }
    for (uint32_t i = 0; i < reg->check_count; i++) {
        struct catalog_check check = reg->checks[i];
        check.node = view_get_node(&catalog->next, reg->node.name)->name;
        if (*check.service_id != '\0') {
            const struct catalog_service *service =
                view_get_service(&catalog->next, check.node, check.service_id);
            check.service_id = service->id;
            check.service_name = service->name;
            check.service_tags = service->tags;
        }
        set_check(catalog, &check, &refresh);
    }
    refresh_now(catalog, &refresh, reg->node.name);
    return ERR_OK;
}

void catalog_apply_deregister(struct catalog *catalog, const struct catalog_deregister *dereg) {
    if (*dereg->service_id != '\0') {
        const struct catalog_service *service =
            view_get_service(&catalog->next, dereg->node, dereg->service_id);
        if (service != NULL) {
            remove_service(catalog, service);
        }
    } else if (*dereg->check_id != '\0') {
        const struct catalog_check *check =
            view_get_check(&catalog->next, dereg->node, dereg->check_id);
        if (check != NULL) {
            remove_check(catalog, check);
        }
    } else {
        const struct catalog_node *node = view_get_node(&catalog->next, dereg->node);
        if (node != NULL) {
            remove_node(catalog, node);
        }
    }
}

void catalog_begin_change(struct catalog *catalog) {
    if (!catalog->changing) {
        catalog->changing = true;
        epoch_hold(catalog->epoch);
    }
}

void catalog_skip(struct catalog *catalog, uint64_t index) {
    ASSERT(index > catalog->next.indexes.applied && !catalog->rest.present);
    catalog->touched += 4;
    catalog->next.indexes.applied = index;
    catalog_begin_change(catalog);
    catalog_judge_restore(catalog);
}

static enum err apply_command(struct catalog *catalog, const struct catalog_command *command,
                              struct catalog_result *result, struct err_text *text) {
    switch (command->kind) {
    case COMMAND_REGISTER:
        return catalog_apply_register(catalog, &command->reg, text);
    case COMMAND_DEREGISTER:
        catalog_apply_deregister(catalog, &command->dereg);
        break;
    case COMMAND_KV:
        return catalog_apply_kv(catalog, &command->kv, result, text);
    case COMMAND_SESSION:
        return catalog_apply_session(catalog, &command->session, text);
    case COMMAND_SESSION_END:
        catalog_apply_session_end(catalog, command->session_id);
        break;
    case COMMAND_TRANSACTION:
        catalog_apply_transaction(catalog, &command->transaction, result);
        break;
    case COMMAND_REAP:
        catalog_apply_reap(catalog, command->reap_index);
        break;
    case COMMAND_LOCK_DELAY_END:
        catalog_apply_lock_delay_end(catalog, &command->lock_delay_end);
        break;
    case COMMAND_AUTOPILOT:
        catalog_apply_autopilot(catalog, &command->set_autopilot, result);
        break;
    case COMMAND_COORDINATES:
        catalog_apply_coordinates(catalog, &command->coordinates);
        break;
    case COMMAND_RESTORE:
        return catalog_apply_restore(catalog, &command->restore, text);
    case COMMAND_REMOVAL:
        return catalog_apply_removal(catalog, &command->removal, text);
    case COMMAND_REMOVAL_END:
        catalog_apply_removal_end(catalog, &command->removal_end);
        break;
    case COMMAND_QUERY:
        return catalog_apply_query(catalog, &command->set_query, text);
    case COMMAND_FAILOVER:
        return catalog_apply_failover(catalog, &command->set_failover, text);
    }
    return ERR_OK;
}

enum err catalog_apply(struct catalog *catalog, uint64_t index, const uint8_t *command, size_t size,
                       struct catalog_result *result, struct err_text *text) {
    enum err err = catalog_begin(catalog, index, command, size, result, text);
    catalog_go_on(catalog, UINT64_MAX);
    return err;
}

enum err catalog_begin(struct catalog *catalog, uint64_t index, const uint8_t *command, size_t size,
                       struct catalog_result *result, struct err_text *text) {
    struct arena arena;
    arena_init(&arena);
    struct catalog_command decoded;
    enum err err = codec_decode_command(command, size, &arena, &decoded);
    if (err != ERR_OK) {
        err_set(text, err, "entry %llu is not a command that this version knows",
                (unsigned long long)index);
    } else {
        catalog_skip(catalog, index);
        catalog->last_kind = decoded.kind;
        err = apply_command(catalog, &decoded, result, text);
    }
    arena_clear(&arena);
    return err;
}
