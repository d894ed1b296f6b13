/* A mirror's end of its stream: its life, and which services are wanted. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/mem.h"
#include "catalog/mirror_internal.h"

#define SWEEP_NODES 2000

/* ---- life ---- */

struct mirror *mirror_create(struct epoch *epoch, bool all) {
    struct mirror *mirror = mem_calloc(1, sizeof *mirror);
    mirror->catalog = catalog_create(epoch, NULL);
    mirror->shares = shares_create(epoch);
    mirror->all = all;
    atomic_init(&mirror->names, mem_calloc(1, sizeof(struct mirror_names)));
    return mirror;
}

/* The rows are gone. A reader may still hold what it found them by. */
static void retire_mirror(struct mirror *mirror) {
    struct catalog *c = mirror->catalog;
    struct epoch *epoch = c->epoch;
    struct mirror_names *names = atomic_load(&mirror->names);
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
    mirror_free_corrections(mirror);
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
    return strcasecmp(name, (*(struct mirror_wanted *const *)wanted)->name);
}

struct mirror_wanted *mirror_find_wanted(const struct mirror *mirror, const char *service) {
    const struct mirror_names *names = atomic_load(&mirror->names);
    struct mirror_wanted *const *found =
        bsearch(service, names->v, names->count, sizeof names->v[0], compare_wanted);
    return found != NULL ? *found : NULL;
}

void mirror_replace_names(struct mirror *mirror, struct mirror_wanted *add,
                          struct mirror_wanted *remove) {
    struct epoch *epoch = mirror->catalog->epoch;
    struct mirror_names *old = atomic_load(&mirror->names);
    struct mirror_names *names = mem_alloc(sizeof *names + (old->count + 1) * sizeof names->v[0]);
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
    struct mirror_wanted *wanted = mirror->all ? NULL : mirror_find_wanted(mirror, service);
    if (mirror->all || wanted != NULL) {
        return;
    }
    size_t size = strlen(service) + 1;
    wanted = mem_alloc(sizeof *wanted + size);
    atomic_init(&wanted->ready, false);
    atomic_init(&wanted->used_at_ms, now_ms);
    memcpy(wanted->name, service, size);
    mirror_replace_names(mirror, wanted, NULL);
    epoch_advance(mirror->catalog->epoch);
}

bool mirror_is_ready(const struct mirror *mirror, const char *service) {
    const struct mirror_wanted *wanted = mirror->all ? NULL : mirror_find_wanted(mirror, service);
    return mirror->all ? atomic_load(&mirror->whole)
                       : wanted != NULL && atomic_load(&wanted->ready);
}

bool mirror_use(const struct mirror *mirror, const char *service, int64_t now_ms) {
    struct mirror_wanted *wanted = mirror->all ? NULL : mirror_find_wanted(mirror, service);
    if (wanted != NULL) {
        atomic_store_explicit(&wanted->used_at_ms, now_ms, memory_order_relaxed);
    }
    return mirror_is_ready(mirror, service);
}

const char *mirror_longest_unused(const struct mirror *mirror, int64_t *ret_used_at_ms) {
    const struct mirror_names *names = atomic_load(&mirror->names);
    const struct mirror_wanted *oldest = NULL;
    for (uint32_t i = 0; i < names->count; i++) {
        if (oldest == NULL || names->v[i]->used_at_ms < oldest->used_at_ms) {
            oldest = names->v[i];
        }
    }
    *ret_used_at_ms = oldest != NULL ? oldest->used_at_ms : 0;
    return oldest != NULL ? oldest->name : NULL;
}

const char *mirror_find_empty(const struct mirror *mirror, uint32_t *place, uint32_t count) {
    const struct mirror_names *names = atomic_load(&mirror->names);
    const struct mirror_wanted *oldest = NULL;
    for (uint32_t i = 0; i < count && i < names->count; i++) {
        const struct mirror_wanted *wanted = names->v[(*place)++ % names->count];
        if (atomic_load(&wanted->ready) &&
            (oldest == NULL || wanted->used_at_ms < oldest->used_at_ms) &&
            !view_has_instances(&mirror->catalog->next, wanted->name)) {
            oldest = wanted;
        }
    }
    return oldest != NULL ? oldest->name : NULL;
}

bool mirror_wants(const struct mirror *mirror, const char *service) {
    return mirror->all || mirror_find_wanted(mirror, service) != NULL;
}

uint32_t mirror_list_names(const struct mirror *mirror, const char **ret_names, uint32_t max) {
    const struct mirror_names *names = atomic_load(&mirror->names);
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
