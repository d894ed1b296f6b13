/* Rows into a mirror's catalog. They may come in any order, so an instance is there only while its
 * node's row is, too. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "catalog/mirror_internal.h"
#include "catalog/row.h"

/* What the trees take beside a row, about: three or four nodes, and an instance. */
#define NODE_EXTRA_BYTES 250
#define SERVICE_EXTRA_BYTES 280
#define CHECK_EXTRA_BYTES 130

/* Noted once all rows are in; strings in the arena, or const. */
static void note(struct mirror_apply *apply, const char *node, const char *id) {
    const struct mirror_dirty *newest = apply->newest;
    if (newest != NULL && strcasecmp(newest->node, node) == 0 &&
        (newest->id == NULL || (id != NULL && strcasecmp(newest->id, id) == 0))) {
        return;
    }
    struct mirror_dirty *dirty = arena_alloc(&apply->arena, sizeof *dirty);
    dirty->node = arena_strdup(&apply->arena, node);
    dirty->id = id != NULL ? arena_strdup(&apply->arena, id) : NULL;
    *apply->dirty_last = dirty;
    apply->dirty_last = &dirty->next;
    apply->newest = dirty;
}

static void key_two(struct key *key, const char *first, const char *second) {
    key_init(key, first);
    key_add(key, second);
}

static void key_instance(struct key *key, const struct catalog_service *service) {
    key_init(key, service->name);
    key_add(key, service->node);
    key_add(key, service->id);
}

static void drop_instance(struct catalog *c, const struct catalog_service *service) {
    struct key key;
    key_instance(&key, service);
    catalog_retire(c, tree_remove(&c->next.instances, &c->batch, key.bytes, key.size));
}

static bool drop_each_instance(const struct catalog_service *service, void *context) {
    drop_instance(context, service);
    return true;
}

static void remove_index(struct catalog *c, struct tree *tree, const char *name) {
    struct key key;
    key_init(&key, name);
    tree_remove(tree, &c->batch, key.bytes, key.size);
}

static void drop_node(struct mirror *mirror, const struct catalog_node *row) {
    struct catalog *c = mirror->catalog;
    struct key key;
    view_walk_node_services(&c->next, row->name, drop_each_instance, c);
    key_init(&key, row->name);
    tree_remove(&c->next.nodes, &c->batch, key.bytes, key.size);
    key_init(&key, row->id);
    if (*row->id != '\0' && tree_get(&c->next.node_ids, key.bytes, key.size) == row) {
        tree_remove(&c->next.node_ids, &c->batch, key.bytes, key.size);
    }
    catalog_remove_node_address(c, row);
    c->next.indexes.row_hash -= row_hash_node(row);
    catalog_note(c, CHANGE_NODE, row->name, "", "");
    mirror->bytes -= row_bytes_node(row) + NODE_EXTRA_BYTES;
    catalog_retire(c, row);
}

static void drop_service(struct mirror *mirror, const struct catalog_service *row) {
    struct catalog *c = mirror->catalog;
    struct key key;
    drop_instance(c, row);
    key_two(&key, row->node, row->id);
    tree_remove(&c->next.services, &c->batch, key.bytes, key.size);
    catalog_remove_service_address(c, row);
    c->next.indexes.row_hash -= row_hash_service(row);
    catalog_note(c, CHANGE_SERVICE, row->node, row->id, row->name);
    mirror->bytes -= row_bytes_service_own(row) + SERVICE_EXTRA_BYTES;
    shares_release_service(mirror->shares, row);
    catalog_retire(c, row);
}

static void key_bound(struct key *key, const struct catalog_check *check) {
    key_two(key, check->node, check->service_id);
    key_add(key, check->id);
}

static void drop_check(struct mirror *mirror, const struct catalog_check *row) {
    struct catalog *c = mirror->catalog;
    struct key key;
    key_two(&key, row->node, row->id);
    tree_remove(&c->next.checks, &c->batch, key.bytes, key.size);
    key_bound(&key, row);
    tree_remove(&c->next.bound_checks, &c->batch, key.bytes, key.size);
    c->next.indexes.row_hash -= row_hash_check(row);
    catalog_note_check(c, row);
    mirror->bytes -= row_bytes_check_own(row) + CHECK_EXTRA_BYTES;
    shares_release_check(mirror->shares, row);
    catalog_retire(c, row);
}

/* It was not seen without its node, so one that mirrors this mirror may not have been told of it.
 */
static bool note_service(const struct catalog_service *service, void *context) {
    catalog_note(context, CHANGE_SERVICE, service->node, service->id, service->name);
    return true;
}

static void set_node(struct mirror_apply *apply, const struct catalog_node *node) {
    struct catalog *c = apply->catalog;
    const struct catalog_node *old = view_get_node(&c->next, node->name);
    if (old != NULL && row_hash_node(old) == row_hash_node(node)) {
        return;
    }
    if (old != NULL) {
        drop_node(apply->mirror, old);
    }
    struct catalog_node *row = row_copy_node(node);
    struct key key;
    key_init(&key, row->name);
    tree_set(&c->next.nodes, &c->batch, key.bytes, key.size, row);
    if (*row->id != '\0') {
        key_init(&key, row->id);
        tree_set(&c->next.node_ids, &c->batch, key.bytes, key.size, row);
    }
    catalog_add_node_address(c, row);
    c->next.indexes.row_hash += row_hash_node(row);
    catalog_note(c, CHANGE_NODE, row->name, "", "");
    if (old == NULL) {
        view_walk_node_services(&c->next, row->name, note_service, c);
    }
    apply->mirror->bytes += row_bytes_node(row) + NODE_EXTRA_BYTES;
    note(apply, row->name, NULL);
}

static void set_service(struct mirror_apply *apply, const struct catalog_service *service) {
    struct catalog *c = apply->catalog;
    const struct catalog_service *old = view_get_service(&c->next, service->node, service->id);
    if (old != NULL && row_hash_service(old) == row_hash_service(service)) {
        return;
    }
    if (!apply->mirror->all && mirror_find_wanted(apply->mirror, service->name) == NULL) {
        note(apply, service->node, NULL);
        return;
    }
    struct catalog_service shared = *service;
    shares_hold_service(apply->mirror->shares, &shared);
    if (old != NULL) {
        drop_service(apply->mirror, old);
    }
    struct catalog_service *row = row_copy_service_own(&shared);
    struct key key;
    key_two(&key, row->node, row->id);
    tree_set(&c->next.services, &c->batch, key.bytes, key.size, row);
    catalog_add_service_address(c, row);
    c->next.indexes.row_hash += row_hash_service(row);
    catalog_note(c, CHANGE_SERVICE, row->node, row->id, row->name);
    apply->mirror->bytes += row_bytes_service_own(row) + SERVICE_EXTRA_BYTES;
    note(apply, row->node, row->id);
}

static void note_check(struct mirror_apply *apply, const struct catalog_check *check) {
    note(apply, check->node, *check->service_id != '\0' ? check->service_id : NULL);
}

/* Of a mirror that has only some services. */
static bool keeps_check(const struct mirror *mirror, const struct catalog_check *check) {
    const struct catalog_view *view = &mirror->catalog->next;
    return mirror->all || (*check->service_id != '\0'
                               ? view_get_service(view, check->node, check->service_id) != NULL
                               : view_get_node(view, check->node) != NULL);
}

static void set_check(struct mirror_apply *apply, const struct catalog_check *check) {
    struct catalog *c = apply->catalog;
    const struct catalog_check *old = view_get_check(&c->next, check->node, check->id);
    if ((old != NULL && row_hash_check(old) == row_hash_check(check)) ||
        !keeps_check(apply->mirror, check)) {
        return;
    }
    struct catalog_check shared = *check;
    shares_hold_check(apply->mirror->shares, &shared);
    if (old != NULL) {
        note_check(apply, old);
        drop_check(apply->mirror, old);
    }
    struct catalog_check *row = row_copy_check_own(&shared);
    struct key key;
    key_two(&key, row->node, row->id);
    tree_set(&c->next.checks, &c->batch, key.bytes, key.size, row);
    key_bound(&key, row);
    tree_set(&c->next.bound_checks, &c->batch, key.bytes, key.size, row);
    c->next.indexes.row_hash += row_hash_check(row);
    catalog_note_check(c, row);
    apply->mirror->bytes += row_bytes_check_own(row) + CHECK_EXTRA_BYTES;
    note_check(apply, row);
}

static void set_index(struct catalog *c, struct tree *tree, const char *name, uint64_t index) {
    if (index > 0) {
        catalog_set_index(c, tree, name, index);
    } else {
        remove_index(c, tree, name);
    }
}

static void set_row(struct mirror_apply *apply, const struct codec_record *row) {
    struct catalog *c = apply->catalog;
    switch (row->kind) {
    case RECORD_NODE:
        set_node(apply, &row->node);
        break;
    case RECORD_SERVICE:
        set_service(apply, &row->service);
        break;
    case RECORD_CHECK:
        set_check(apply, &row->check);
        break;
    case RECORD_SERVICE_INDEX:
        set_index(c, &c->next.service_index, row->named.name, row->named.index);
        catalog_note(c, CHANGE_NAME, "", "", row->named.name);
        break;
    case RECORD_NODE_INDEX:
        set_index(c, &c->next.node_index, row->named.name, row->named.index);
        break;
    case RECORD_INDEXES:
        c->next.indexes.nodes = row->indexes.nodes;
        c->next.indexes.services = row->indexes.services;
        c->next.indexes.checks = row->indexes.checks;
        c->next.indexes.service_extinction = row->indexes.service_extinction;
        c->next.indexes.node_extinction = row->indexes.node_extinction;
        break;
    default:
        break; /* the decoder lets no other pass */
    }
}

static bool gather(void *value, void *context) {
    struct catalog_rows *rows = context;
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity == 0 ? 8 : 2 * rows->capacity;
        rows->v = mem_realloc(rows->v, rows->capacity * sizeof *rows->v);
    }
    rows->v[rows->count++] = value;
    return true;
}

/* service_id NULL: all of the node. */
static void drop_checks(struct mirror *mirror, const char *node, const char *service_id) {
    struct catalog_view *view = &mirror->catalog->next;
    struct catalog_rows checks = {0};
    struct key key;
    key_init(&key, node);
    if (service_id != NULL) {
        key_add(&key, service_id);
    }
    tree_walk(&view->bound_checks, key.bytes, key.size, gather, &checks);
    for (size_t i = 0; i < checks.count; i++) {
        drop_check(mirror, checks.v[i]);
    }
    free(checks.v);
}

static bool gather_row(const struct catalog_service *service, void *context) {
    return gather((void *)(uintptr_t)service, context);
}

void mirror_drop_rows(struct mirror_apply *apply, const char *node) {
    struct mirror *mirror = apply->mirror;
    struct catalog_rows services = {0};
    const struct catalog_node *row = view_get_node(&apply->catalog->next, node);
    drop_checks(mirror, node, NULL);
    view_walk_node_services(&apply->catalog->next, node, gather_row, &services);
    for (size_t i = 0; i < services.count; i++) {
        drop_service(mirror, services.v[i]);
    }
    if (row != NULL) {
        drop_node(mirror, row);
    }
    free(services.v);
}

/* A row that never was here is noted all the same: who goes on here may have it from elsewhere. */
static void remove_row(struct mirror_apply *apply, const struct mirror_record *record) {
    const struct catalog_view *view = &apply->catalog->next;
    const char *node = record->gone.node, *id = record->gone.id;
    const void *row;
    switch (record->gone.kind) {
    case MIRROR_NODE:
        if ((row = view_get_node(view, node)) != NULL) {
            drop_node(apply->mirror, row);
        } else {
            catalog_note(apply->catalog, CHANGE_NODE, node, "", "");
        }
        break;
    case MIRROR_SERVICE:
        if ((row = view_get_service(view, node, id)) == NULL) {
            catalog_note(apply->catalog, CHANGE_SERVICE, node, id, "");
        } else {
            if (!apply->mirror->all) {
                drop_checks(apply->mirror, node, id);
            }
            drop_service(apply->mirror, row);
            note(apply, node, NULL);
        }
        break;
    case MIRROR_CHECK:
        if ((row = view_get_check(view, node, id)) != NULL) {
            note_check(apply, row);
            drop_check(apply->mirror, row);
        } else {
            catalog_note(apply->catalog, CHANGE_CHECK, node, id, "");
        }
        break;
    }
}

static bool touch_service(const struct catalog_service *service, void *context) {
    const struct mirror_record *touch = ((const struct mirror_record *const *)context)[0];
    struct catalog *c = ((struct catalog **)context)[1];
    if (catalog_get_index(&c->next.service_index, service->name) < touch->touch.index) {
        catalog_set_index(c, &c->next.service_index, service->name, touch->touch.index);
        catalog_note(c, CHANGE_NAME, "", "", service->name);
    }
    return true;
}

void mirror_apply_record(const struct mirror_record *record, void *context) {
    struct mirror_apply *apply = context;
    switch (record->kind) {
    case MIRROR_ROW:
        set_row(apply, &record->row);
        break;
    case MIRROR_GONE:
        remove_row(apply, record);
        break;
    case MIRROR_TOUCH: {
        const void *both[] = {record, apply->catalog};
        view_walk_node_services(&apply->catalog->next, record->touch.node, touch_service, both);
        break;
    }
    case MIRROR_READY: {
        struct mirror_wanted *wanted = mirror_find_wanted(apply->mirror, record->ready);
        if (wanted != NULL) {
            atomic_store(&wanted->ready, true);
        }
        break;
    }
    }
}

/* ---- a batch ---- */

static bool rebuild(const struct catalog_service *service, void *context) {
    struct catalog *c = context;
    if (view_get_node(&c->next, service->node) != NULL) {
        catalog_build_instance(c, service);
    } else {
        drop_instance(c, service);
    }
    return true;
}

static bool stop_at_first(const struct catalog_service *service, void *context) {
    (void)service;
    *(bool *)context = true;
    return false;
}

/* A mirror of some services keeps no node without any of them. */
static void prune(struct mirror *mirror, const char *node) {
    struct catalog *c = mirror->catalog;
    bool any = mirror->all;
    if (!any) {
        view_walk_node_services(&c->next, node, stop_at_first, &any);
    }
    const struct catalog_node *row = any ? NULL : view_get_node(&c->next, node);
    if (row != NULL) {
        drop_checks(mirror, node, NULL);
        drop_node(mirror, row);
    }
}

void mirror_settle(struct mirror_apply *apply) {
    struct catalog *c = apply->catalog;
    for (const struct mirror_dirty *dirty = apply->dirty; dirty != NULL; dirty = dirty->next) {
        if (dirty->id == NULL) {
            prune(apply->mirror, dirty->node);
            view_walk_node_services(&c->next, dirty->node, rebuild, c);
        } else {
            const struct catalog_service *service =
                view_get_service(&c->next, dirty->node, dirty->id);
            if (service != NULL) {
                rebuild(service, c);
            }
        }
    }
    apply->dirty = NULL;
    apply->dirty_last = &apply->dirty;
    apply->newest = NULL;
}

void mirror_begin(struct mirror_apply *apply, struct mirror *mirror) {
    *apply = (struct mirror_apply){.mirror = mirror, .catalog = mirror->catalog};
    apply->dirty_last = &apply->dirty;
    arena_init(&apply->arena);
    catalog_begin_change(mirror->catalog);
}

void mirror_end(struct mirror_apply *apply) {
    mirror_settle(apply);
    catalog_publish(apply->catalog);
    arena_clear(&apply->arena);
}

enum err mirror_apply(struct mirror *mirror, const uint8_t *data, size_t size, uint64_t index) {
    struct mirror_apply apply;
    mirror_begin(&apply, mirror);
    if (index > mirror_index(mirror)) {
        mirror->catalog->next.indexes.applied = index; /* changes are noted by it */
    }
    mirror_take_back(&apply);
    enum err err = codec_decode_mirror(data, size, &apply.arena, mirror_apply_record, &apply);
    mirror_end(&apply);
    return err;
}

void mirror_reach(struct mirror *mirror, uint64_t newest) {
    catalog_changes_reach(mirror->catalog, newest);
}

void mirror_advance(struct mirror *mirror, uint64_t index) {
    if (index > mirror_index(mirror)) {
        mirror->catalog->next.indexes.applied = index;
        catalog_publish(mirror->catalog);
    }
}

static bool gather_service(const struct catalog_instance *instance, void *context) {
    return gather((void *)(uintptr_t)instance->service, context);
}

void mirror_drop(struct mirror *mirror, const char *service) {
    struct mirror_wanted *wanted = mirror_find_wanted(mirror, service);
    if (wanted == NULL) {
        return;
    }
    struct mirror_apply apply;
    struct catalog_rows services = {0};
    mirror_begin(&apply, mirror);
    mirror_replace_names(mirror, NULL, wanted); /* retired, so still readable */
    view_walk_instances(&mirror->catalog->next, service, gather_service, &services);
    for (size_t i = 0; i < services.count; i++) {
        const struct catalog_service *row = services.v[i];
        note(&apply, row->node, NULL);
        drop_checks(mirror, row->node, row->id);
        drop_service(mirror, row);
    }
    remove_index(mirror->catalog, &mirror->catalog->next.service_index, service);
    free(services.v);
    mirror_end(&apply);
}
