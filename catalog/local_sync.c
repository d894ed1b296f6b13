#include "catalog/local_internal.h"

#include <stdlib.h>

#include "base/mutant.h"

/* ---- rings ---- */

static void leave_ring(struct entry *entry) {
    if (entry->next != NULL) {
        entry->previous->next = entry->next;
        entry->next->previous = entry->previous;
        entry->next = entry->previous = NULL;
    }
}

static void join(struct entry *head, struct entry *entry) {
    entry->synced = false;
    if (entry->next == NULL && !entry->under_way) {
        entry->next = head;
        entry->previous = head->previous;
        head->previous->next = entry;
        head->previous = entry;
    }
}

static void join_ring(struct local *local, enum local_kind kind, struct entry *entry) {
    join(&local->unsynced[kind], entry);
}

void local_join_fresh(struct local *local, enum local_kind kind, struct entry *entry) {
    leave_ring(entry);
    join(&local->fresh[kind], entry);
}

static void forget(struct local *local, enum local_kind kind, struct entry *entry) {
    leave_ring(entry);
    tree_remove(&local->entries[kind], &local->batch, entry->id, strlen(entry->id) + 1);
    free(entry->definition);
    free(entry);
}

/* ---- what is out of sync ---- */

struct unsync {
    struct local *local;
    enum local_kind kind;
};

static bool unsync(void *value, void *context) {
    const struct unsync *all = context;
    join_ring(all->local, all->kind, value);
    return true;
}

void local_mark_all_unsynced(struct local *local) {
    for (int kind = LOCAL_SERVICE; kind <= LOCAL_CHECK; kind++) {
        struct unsync all = {local, (enum local_kind)kind};
        tree_walk(&local->entries[kind], NULL, 0, unsync, &all);
    }
}

struct twins {
    struct local *local;
    enum local_kind kind;
    const char *id;
};

static bool unsync_twin(void *value, void *context) {
    struct entry *entry = value;
    const struct twins *twins = context;
    if (str_equal_fold(entry->id, twins->id) && strcmp(entry->id, twins->id) != 0) {
        join_ring(twins->local, twins->kind, entry);
    }
    return true;
}

void local_mark_twins_unsynced(struct local *local, enum local_kind kind, const char *id) {
    struct twins twins = {local, kind, id};
    tree_walk(&local->entries[kind], NULL, 0, unsync_twin, &twins);
}

static bool unsync_output(void *value, void *context) {
    struct entry *entry = value;
    if (entry->output_deferred) {
        entry->output_deferred = false;
        join_ring(context, LOCAL_CHECK, entry);
    }
    return true;
}

void local_mark_outputs_unsynced(struct local *local) {
    tree_walk(&local->entries[LOCAL_CHECK], NULL, 0, unsync_output, local);
}

void local_mark_unsynced(struct local *local, enum local_kind kind, const char *id) {
    struct entry *entry = get(&local->entries[kind], id);
    if (entry != NULL) {
        entry->output_deferred = false;
        join_ring(local, kind, entry);
    }
}

static bool visit_entry(struct entry *entry, enum local_kind kind, local_visit_fn *visit,
                        void *context) {
    return visit(kind, entry->id, entry->gone, entry->generation, context);
}

/* The first of the fresh ones stands among the others then. NULL: there is none. */
static struct entry *take_fresh(struct local *local, enum local_kind kind) {
    struct entry *entry = local->fresh[kind].next;
    if (entry == &local->fresh[kind]) {
        return NULL;
    }
    leave_ring(entry);
    join_ring(local, kind, entry);
    return entry;
}

void local_walk_fresh(struct local *local, enum local_kind kind, local_visit_fn *visit,
                      void *context) {
    struct entry *entry;
    bool more = true;
    while ((entry = take_fresh(local, kind)) != NULL) { /* the visit may take others away */
        more = more && visit_entry(entry, kind, visit, context);
    }
}

void local_walk_unsynced(struct local *local, enum local_kind kind, local_visit_fn *visit,
                         void *context) {
    struct entry *head = &local->unsynced[kind];
    while (take_fresh(local, kind) != NULL) {
    }
    /* One that fails at once comes back behind the last. */
    const struct entry *last = head->previous;
    bool more = head->next != head;
    for (struct entry *entry = head->next; more;) {
        struct entry *next = entry->next;
        more = entry != last && next != head;
        more = visit_entry(entry, kind, visit, context) && more;
        entry = next;
    }
}

void local_visit_waiting(struct local *local, enum local_kind kind, const char *id,
                         local_visit_fn *visit, void *context) {
    struct entry *entry = get(&local->entries[kind], id);
    if (entry != NULL && entry->next != NULL) {
        (void)visit_entry(entry, kind, visit, context);
    }
}

bool local_is_waiting(const struct local *local, enum local_kind kind, const char *id) {
    const struct entry *entry = get(&local->entries[kind], id);
    return entry != NULL && entry->next != NULL;
}

struct bound_visit {
    local_visit_fn *visit;
    void *context;
};

static bool visit_bound(void *value, void *context) {
    const struct entry *entry = value;
    const struct bound_visit *bound = context;
    if (!entry->synced && !entry->under_way) {
        return bound->visit(LOCAL_CHECK, entry->id, entry->gone, entry->generation, bound->context);
    }
    return true;
}

void local_walk_unsynced_of(struct local *local, const char *service_id, local_visit_fn *visit,
                            void *context) {
    struct bound_visit bound = {visit, context};
    struct bound_key key;
    bound_key_init(&key, service_id, "");
    tree_walk(&local->bound, key.bytes, key.size, visit_bound, &bound);
}

bool local_knows(const struct local *local, enum local_kind kind, const char *id) {
    return get(&local->entries[kind], id) != NULL;
}

bool local_output_is_deferred(const struct local *local, const char *check_id) {
    const struct entry *entry = get(&local->entries[LOCAL_CHECK], check_id);
    return entry != NULL && entry->output_deferred;
}

void local_note_in_sync(struct local *local, enum local_kind kind, const char *id) {
    struct entry *entry = get(&local->entries[kind], id);
    ASSERT(entry != NULL && !entry->under_way && !entry->gone);
    leave_ring(entry);
    entry->synced = true;
}

void local_begin_sync(struct local *local, enum local_kind kind, const char *id) {
    struct entry *entry = get(&local->entries[kind], id);
    ASSERT(entry != NULL && !entry->under_way);
    leave_ring(entry);
    entry->under_way = true;
    entry->ahead = false;
    entry->output_deferred = false; /* the output goes along */
}

void local_note_alone(struct local *local, const char *check_id) {
    const struct catalog_check *check = local_get_check(&local->next, check_id);
    const struct entry *service = get(&local->entries[LOCAL_SERVICE], check->service_id);
    struct entry *entry = get(&local->entries[LOCAL_CHECK], check_id);
    entry->ahead = service != NULL && service->under_way && !MUTANT(check_ahead);
}

static bool unsync_ahead(void *value, void *context) {
    struct local *local = context;
    struct entry *entry = value;
    if (entry->ahead) {
        entry->ahead = false;
        entry->generation = ++local->generation; /* what is under way does not count */
        join_ring(local, LOCAL_CHECK, entry);
    }
    return true;
}

void local_end_sync(struct local *local, enum local_kind kind, const char *id, uint64_t generation,
                    bool told) {
    struct entry *entry = get(&local->entries[kind], id);
    ASSERT(entry != NULL && entry->under_way);
    entry->under_way = false;
    if (kind == LOCAL_SERVICE) {
        struct bound_key key;
        bound_key_init(&key, id, "");
        tree_walk(&local->bound, key.bytes, key.size, unsync_ahead, local);
    }
    /* One that is gone stays until its runner has been told too. */
    if (told && entry->generation != generation && !MUTANT(old_answer_counts)) {
        local_join_fresh(local, kind, entry);
    } else if (!told || (entry->gone && entry->runner_changed)) {
        join_ring(local, kind, entry);
    } else if (entry->gone) {
        forget(local, kind, entry);
    } else {
        entry->synced = true;
    }
}
