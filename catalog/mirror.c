/* A mirror's end of its stream: rows into a catalog of its own. They may come in any order, so an
 * instance is there only while its node's row is, too. */
#include "catalog/mirror.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "catalog/codec_mirror.h"
#include "catalog/internal.h"
#include "catalog/row.h"
#include "catalog/share.h"

/* What the trees take beside a row, about: three or four nodes, and an instance. */
#define NODE_EXTRA_BYTES 250
#define SERVICE_EXTRA_BYTES 280
#define CHECK_EXTRA_BYTES 130

#define SWEEP_NODES 2000

/* Readers see these; a name that is no longer wanted goes through the epoch. */
struct wanted {
    _Atomic bool ready;
    _Atomic int64_t used_at_ms;
    char name[];
};

/* Sorted; replaced whole. */
struct names {
    uint32_t count;
    struct wanted *v[];
};

struct mirror {
    struct catalog *catalog;
    struct shares *shares; /* parts of services and checks */
    bool all;
    _Atomic bool whole;
    _Atomic(struct names *) names; /* never NULL */
    size_t bytes;
    bool ending;
    struct tree_sweep rows, links; /* while it ends */
};

/* What of a node is to be looked at once all rows of a batch are in. */
struct dirty {
    struct dirty *next;
    const char *node, *id; /* an instance; id NULL: all of them */
};

struct apply {
    struct mirror *mirror;
    struct catalog *catalog;
    struct arena arena;
    struct dirty *dirty, **dirty_last;
    const struct dirty *newest;
};

/* ---- life ---- */

struct mirror *mirror_create(struct epoch *epoch, bool all) {
    struct mirror *mirror = mem_calloc(1, sizeof *mirror);
    mirror->catalog = catalog_create(epoch, NULL);
    mirror->shares = shares_create(epoch);
    mirror->all = all;
    atomic_init(&mirror->names, mem_calloc(1, sizeof(struct names)));
    return mirror;
}

/* The rows are gone. A reader may still hold what it found them by. */
static void retire_mirror(struct mirror *mirror) {
    struct catalog *c = mirror->catalog;
    struct epoch *epoch = c->epoch;
    struct names *names = atomic_load(&mirror->names);
    for (uint32_t i = 0; i < names->count; i++) {
        epoch_retire(epoch, names->v[i]);
    }
    epoch_retire(epoch, names);
    tree_sweep_clear(&mirror->rows);
    tree_sweep_clear(&mirror->links);
    catalog_changes_destroy(c->changes);
    if (c->changing) {
        epoch_release(epoch);
    }
    epoch_retire(epoch, atomic_load(&c->published));
    epoch_retire(epoch, c);
    epoch_retire(epoch, mirror);
}

static void retire_value(void *value, void *context) {
    epoch_retire(context, value);
}

static void leave_value(void *value, void *context) {
    (void)value;
    (void)context;
}

bool mirror_destroy_some(struct mirror *mirror) {
    struct epoch *epoch = mirror->catalog->epoch;
    if (!mirror->ending) {
        mirror->ending = true;
        struct tree *all[CATALOG_TREES];
        catalog_list_trees(&mirror->catalog->next, all);
        for (size_t i = 0; i < CATALOG_TREES; i++) {
            tree_sweep_add(i < CATALOG_OWNERS ? &mirror->rows : &mirror->links, all[i]);
        }
        mirror->catalog->next = (struct catalog_view){0};
    }
    bool more = tree_sweep_some(&mirror->rows, epoch, SWEEP_NODES, retire_value, epoch) ||
                tree_sweep_some(&mirror->links, epoch, SWEEP_NODES, leave_value, NULL);
    if (!more) {
        more = shares_destroy_some(mirror->shares, SWEEP_NODES);
    }
    if (!more) {
        retire_mirror(mirror);
    }
    epoch_advance(epoch);
    return more;
}

void mirror_destroy(struct mirror *mirror) {
    while (mirror != NULL && mirror_destroy_some(mirror)) {
    }
}

/* ---- what is wanted ---- */

static int compare_wanted(const void *name, const void *wanted) {
    return strcasecmp(name, (*(struct wanted *const *)wanted)->name);
}

/* Any thread, inside an epoch section. */
static struct wanted *find_wanted(const struct mirror *mirror, const char *service) {
    const struct names *names = atomic_load(&mirror->names);
    struct wanted *const *found =
        bsearch(service, names->v, names->count, sizeof names->v[0], compare_wanted);
    return found != NULL ? *found : NULL;
}

/* add or remove may be NULL. */
static void replace_names(struct mirror *mirror, struct wanted *add, struct wanted *remove) {
    struct epoch *epoch = mirror->catalog->epoch;
    struct names *old = atomic_load(&mirror->names);
    struct names *names = mem_alloc(sizeof *names + (old->count + 1) * sizeof names->v[0]);
    names->count = 0;
    for (uint32_t i = 0; i < old->count; i++) {
        if (add != NULL && strcasecmp(add->name, old->v[i]->name) < 0) {
            names->v[names->count++] = add;
            add = NULL;
        }
        if (old->v[i] != remove) {
            names->v[names->count++] = old->v[i];
        }
    }
    if (add != NULL) {
        names->v[names->count++] = add;
    }
    atomic_store(&mirror->names, names);
    epoch_retire(epoch, old);
    epoch_retire(epoch, remove);
}

void mirror_want(struct mirror *mirror, const char *service, int64_t now_ms) {
    struct wanted *wanted = mirror->all ? NULL : find_wanted(mirror, service);
    if (mirror->all || wanted != NULL) {
        return;
    }
    size_t size = strlen(service) + 1;
    wanted = mem_alloc(sizeof *wanted + size);
    atomic_init(&wanted->ready, false);
    atomic_init(&wanted->used_at_ms, now_ms);
    memcpy(wanted->name, service, size);
    replace_names(mirror, wanted, NULL);
    epoch_advance(mirror->catalog->epoch);
}

bool mirror_is_ready(const struct mirror *mirror, const char *service) {
    const struct wanted *wanted = mirror->all ? NULL : find_wanted(mirror, service);
    return mirror->all ? atomic_load(&mirror->whole)
                       : wanted != NULL && atomic_load(&wanted->ready);
}

bool mirror_use(const struct mirror *mirror, const char *service, int64_t now_ms) {
    struct wanted *wanted = mirror->all ? NULL : find_wanted(mirror, service);
    if (wanted != NULL) {
        atomic_store_explicit(&wanted->used_at_ms, now_ms, memory_order_relaxed);
    }
    return mirror_is_ready(mirror, service);
}

const char *mirror_longest_unused(const struct mirror *mirror, int64_t *ret_used_at_ms) {
    const struct names *names = atomic_load(&mirror->names);
    const struct wanted *oldest = NULL;
    for (uint32_t i = 0; i < names->count; i++) {
        if (oldest == NULL || names->v[i]->used_at_ms < oldest->used_at_ms) {
            oldest = names->v[i];
        }
    }
    *ret_used_at_ms = oldest != NULL ? oldest->used_at_ms : 0;
    return oldest != NULL ? oldest->name : NULL;
}

static bool find_first(const struct catalog_instance *instance, void *context) {
    (void)instance;
    *(bool *)context = true;
    return false;
}

const char *mirror_find_empty(const struct mirror *mirror, uint32_t *place, uint32_t count) {
    const struct names *names = atomic_load(&mirror->names);
    const struct wanted *oldest = NULL;
    for (uint32_t i = 0; i < count && i < names->count; i++) {
        const struct wanted *wanted = names->v[(*place)++ % names->count];
        bool found = false;
        if (atomic_load(&wanted->ready) &&
            (oldest == NULL || wanted->used_at_ms < oldest->used_at_ms)) {
            view_walk_instances(&mirror->catalog->next, wanted->name, find_first, &found);
            oldest = found ? oldest : wanted;
        }
    }
    return oldest != NULL ? oldest->name : NULL;
}

bool mirror_wants(const struct mirror *mirror, const char *service) {
    return mirror->all || find_wanted(mirror, service) != NULL;
}

uint32_t mirror_list_names(const struct mirror *mirror, const char **ret_names, uint32_t max) {
    const struct names *names = atomic_load(&mirror->names);
    for (uint32_t i = 0; i < names->count && i < max; i++) {
        ret_names[i] = names->v[i]->name;
    }
    return names->count;
}

void mirror_set_whole(struct mirror *mirror) {
    if (!atomic_load(&mirror->whole)) {
        /* What came before was in no order: who mirrors this mirror begins here. */
        catalog_changes_reset(mirror->catalog);
        catalog_changes_publish(mirror->catalog);
    }
    atomic_store(&mirror->whole, true);
}

void mirror_note_changes(struct mirror *mirror, size_t bytes_max) {
    catalog_note_changes(mirror->catalog, bytes_max);
}

/* ---- rows ---- */

/* Noted once all rows are in; strings in the arena, or const. */
static void note(struct apply *apply, const char *node, const char *id) {
    const struct dirty *newest = apply->newest;
    if (newest != NULL && strcasecmp(newest->node, node) == 0 &&
        (newest->id == NULL || (id != NULL && strcasecmp(newest->id, id) == 0))) {
        return;
    }
    struct dirty *dirty = arena_alloc(&apply->arena, sizeof *dirty);
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

static void set_node(struct apply *apply, const struct catalog_node *node) {
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

static void set_service(struct apply *apply, const struct catalog_service *service) {
    struct catalog *c = apply->catalog;
    const struct catalog_service *old = view_get_service(&c->next, service->node, service->id);
    if (old != NULL && row_hash_service(old) == row_hash_service(service)) {
        return;
    }
    if (!apply->mirror->all && find_wanted(apply->mirror, service->name) == NULL) {
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

static void note_check(struct apply *apply, const struct catalog_check *check) {
    note(apply, check->node, *check->service_id != '\0' ? check->service_id : NULL);
}

/* Of a mirror that has only some services. */
static bool keeps_check(const struct mirror *mirror, const struct catalog_check *check) {
    const struct catalog_view *view = &mirror->catalog->next;
    return mirror->all || (*check->service_id != '\0'
                               ? view_get_service(view, check->node, check->service_id) != NULL
                               : view_get_node(view, check->node) != NULL);
}

static void set_check(struct apply *apply, const struct catalog_check *check) {
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

static void set_row(struct apply *apply, const struct codec_record *row) {
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

/* A row that never was here is noted all the same: who goes on here may have it from elsewhere. */
static void remove_row(struct apply *apply, const struct mirror_record *record) {
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

static void apply_record(const struct mirror_record *record, void *context) {
    struct apply *apply = context;
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
        struct wanted *wanted = find_wanted(apply->mirror, record->ready);
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

static void settle(struct apply *apply) {
    struct catalog *c = apply->catalog;
    for (const struct dirty *dirty = apply->dirty; dirty != NULL; dirty = dirty->next) {
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
}

static void begin(struct apply *apply, struct mirror *mirror) {
    *apply = (struct apply){.mirror = mirror, .catalog = mirror->catalog};
    apply->dirty_last = &apply->dirty;
    arena_init(&apply->arena);
    catalog_begin_change(mirror->catalog);
}

static void end(struct apply *apply) {
    settle(apply);
    catalog_publish(apply->catalog);
    arena_clear(&apply->arena);
}

enum err mirror_apply(struct mirror *mirror, const uint8_t *data, size_t size, uint64_t index) {
    struct apply apply;
    begin(&apply, mirror);
    if (index > mirror_index(mirror)) {
        mirror->catalog->next.indexes.applied = index; /* changes are noted by it */
    }
    enum err err = codec_decode_mirror(data, size, &apply.arena, apply_record, &apply);
    end(&apply);
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
    struct wanted *wanted = find_wanted(mirror, service);
    if (wanted == NULL) {
        return;
    }
    struct apply apply;
    struct catalog_rows services = {0};
    begin(&apply, mirror);
    replace_names(mirror, NULL, wanted); /* retired, so still readable */
    view_walk_instances(&mirror->catalog->next, service, gather_service, &services);
    for (size_t i = 0; i < services.count; i++) {
        const struct catalog_service *row = services.v[i];
        note(&apply, row->node, NULL);
        drop_checks(mirror, row->node, row->id);
        drop_service(mirror, row);
    }
    remove_index(mirror->catalog, &mirror->catalog->next.service_index, service);
    free(services.v);
    end(&apply);
}

const struct catalog *mirror_catalog(const struct mirror *mirror) {
    return mirror->catalog;
}

uint64_t mirror_index(const struct mirror *mirror) {
    return mirror->catalog->next.indexes.applied;
}

size_t mirror_instances(const struct mirror *mirror) {
    return mirror->catalog->next.instances.count;
}

size_t mirror_bytes(const struct mirror *mirror) {
    return mirror->bytes + shares_bytes(mirror->shares);
}
