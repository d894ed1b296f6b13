#include "catalog/local_internal.h"

#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/duration.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "catalog/row.h"
#include "catalog/tree.h"

struct local *local_create(struct epoch *epoch, const char *node) {
    struct local *local = mem_calloc(1, sizeof *local);
    local->epoch = epoch;
    local->batch = (struct tree_batch){.epoch = epoch, .stamp = 1};
    local->node = mem_strdup(node);
    for (int kind = 0; kind < 2; kind++) {
        local->unsynced[kind].next = local->unsynced[kind].previous = &local->unsynced[kind];
        local->fresh[kind].next = local->fresh[kind].previous = &local->fresh[kind];
    }
    atomic_init(&local->published, mem_calloc(1, sizeof(struct local_view)));
    return local;
}

static bool free_value(void *value, void *context) {
    (void)context;
    free(value);
    return true;
}

static bool free_entry(void *value, void *context) {
    struct entry *entry = value;
    (void)context;
    free(entry->definition);
    free(entry);
    return true;
}

void local_destroy(struct local *local) {
    if (local == NULL) {
        return;
    }
    local_publish(local);
    tree_walk(&local->next.services, NULL, 0, free_value, NULL);
    tree_walk(&local->next.checks, NULL, 0, free_value, NULL);
    tree_clear(&local->next.services);
    tree_clear(&local->next.checks);
    tree_clear(&local->next.bound);
    for (int kind = 0; kind < 2; kind++) {
        tree_walk(&local->entries[kind], NULL, 0, free_entry, NULL);
        tree_clear(&local->entries[kind]);
    }
    tree_clear(&local->bound);
    free(atomic_load(&local->published));
    free(local->node);
    free(local);
}

void local_publish(struct local *local) {
    local->next.version++;
    struct local_view *view = mem_memdup(&local->next, sizeof local->next);
    struct local_view *old = atomic_exchange(&local->published, view);
    local->batch.stamp++;
    epoch_retire(local->epoch, old);
    if (local->changing) {
        local->changing = false;
        epoch_release(local->epoch);
    }
    epoch_advance(local->epoch);
}

const struct local_view *local_view(const struct local *local) {
    return atomic_load(&local->published);
}

const struct local_view *local_next_view(const struct local *local) {
    return &local->next;
}

/* ---- trees by exact id ---- */

static void begin_change(struct local *local) {
    if (!local->changing) {
        local->changing = true;
        epoch_hold(local->epoch);
    }
}

static void put(struct local *local, struct tree *tree, const char *id, void *value) {
    begin_change(local);
    epoch_retire(local->epoch, tree_set(tree, &local->batch, id, strlen(id) + 1, value));
}

static void drop(struct local *local, struct tree *tree, const char *id) {
    begin_change(local);
    epoch_retire(local->epoch, tree_remove(tree, &local->batch, id, strlen(id) + 1));
}

/* A check stands in two trees of the view; the first one's change retires the old row. */
static void unbind_row(struct local *local, const struct catalog_check *check) {
    struct bound_key key;
    bound_key_init(&key, check->service_id, check->id);
    tree_remove(&local->next.bound, &local->batch, key.bytes, key.size);
}

static void put_check(struct local *local, struct catalog_check *check) {
    const struct catalog_check *old = get(&local->next.checks, check->id);
    struct bound_key key;
    begin_change(local);
    if (old != NULL && strcmp(old->service_id, check->service_id) != 0) {
        unbind_row(local, old);
    }
    bound_key_init(&key, check->service_id, check->id);
    tree_set(&local->next.bound, &local->batch, key.bytes, key.size, check);
    put(local, &local->next.checks, check->id, check);
}

static void drop_check(struct local *local, const char *id) {
    begin_change(local);
    unbind_row(local, get(&local->next.checks, id));
    drop(local, &local->next.checks, id);
}

const struct catalog_service *local_get_service(const struct local_view *view, const char *id) {
    return get(&view->services, id);
}

const struct catalog_check *local_get_check(const struct local_view *view, const char *id) {
    return get(&view->checks, id);
}

struct visitor {
    void *context;
    union {
        bool (*service)(const struct catalog_service *service, void *context);
        bool (*check)(const struct catalog_check *check, void *context);
    };
};

static bool visit_service(void *value, void *context) {
    struct visitor *visitor = context;
    return visitor->service(value, visitor->context);
}

static bool visit_check(void *value, void *context) {
    struct visitor *visitor = context;
    return visitor->check(value, visitor->context);
}

void local_walk_services(const struct local_view *view,
                         bool (*visit)(const struct catalog_service *service, void *context),
                         void *context) {
    struct visitor visitor = {.context = context, .service = visit};
    tree_walk(&view->services, NULL, 0, visit_service, &visitor);
}

void local_walk_checks(const struct local_view *view,
                       bool (*visit)(const struct catalog_check *check, void *context),
                       void *context) {
    struct visitor visitor = {.context = context, .check = visit};
    tree_walk(&view->checks, NULL, 0, visit_check, &visitor);
}

void local_walk_service_checks(const struct local_view *view, const char *service_id,
                               bool (*visit)(const struct catalog_check *check, void *context),
                               void *context) {
    struct visitor visitor = {.context = context, .check = visit};
    struct bound_key key;
    bound_key_init(&key, service_id, "");
    tree_walk(&view->bound, key.bytes, key.size, visit_check, &visitor);
}

uint64_t local_view_version(const struct local_view *view) {
    return view->version;
}

/* ---- entries ---- */

static struct entry *touch(struct local *local, enum local_kind kind, const char *id) {
    struct entry *entry = get(&local->entries[kind], id);
    if (entry == NULL) {
        size_t size = strlen(id) + 1;
        entry = mem_calloc(1, sizeof *entry + size);
        memcpy(entry->id, id, size);
        tree_set(&local->entries[kind], &local->batch, id, size, entry);
    }
    entry->generation = ++local->generation;
    local_join_fresh(local, kind, entry);
    return entry;
}

static void runner_changed(struct local *local, struct entry *entry) {
    if (!entry->runner_changed) {
        entry->runner_changed = true;
        entry->next_changed = local->changed;
        local->changed = entry;
    }
}

static void unbind(struct local *local, const struct entry *entry) {
    if (entry->definition != NULL && *entry->definition->service_id != '\0') {
        struct bound_key key;
        bound_key_init(&key, entry->definition->service_id, entry->id);
        tree_remove(&local->bound, &local->batch, key.bytes, key.size);
    }
}

static void bind(struct local *local, struct entry *entry) {
    if (*entry->definition->service_id != '\0') {
        struct bound_key key;
        bound_key_init(&key, entry->definition->service_id, entry->id);
        tree_set(&local->bound, &local->batch, key.bytes, key.size, entry);
    }
}

/* ---- checks ---- */

/* Durations of checks inside a service are "" when unset; of others "0s" (contract 5.4). */
static const char *format_ns(int64_t ns, bool bare, char out[DURATION_TEXT_BYTES]) {
    if (ns == 0 && !bare) {
        return "";
    }
    duration_format(ns, out);
    return out;
}

static void write_check(struct local *local, const struct check_definition *definition, bool bare) {
    const struct catalog_check *old = local_get_check(&local->next, definition->id);
    char interval[DURATION_TEXT_BYTES], timeout[DURATION_TEXT_BYTES];
    struct catalog_check check = {
        .node = local->node,
        .id = definition->id,
        .name = definition->name,
        .status = old != NULL                   ? old->status
                  : *definition->status != '\0' ? definition->status
                                                : "critical",
        .notes = definition->notes,
        .output = old != NULL ? old->output : "",
        .service_id = definition->service_id,
        .service_name = definition->service_name,
        .service_tags = definition->service_tags,
        .type = check_kind_name(check_definition_kind(definition)),
        .interval = format_ns(definition->interval_ns, bare, interval),
        .timeout = format_ns(definition->timeout_ns, bare, timeout),
        .definition = "",
    };
    put_check(local, row_copy_check(&check));
    struct entry *entry = touch(local, LOCAL_CHECK, definition->id);
    struct check_definition *copy = check_definition_copy(definition);
    unbind(local, entry);
    free(entry->definition);
    entry->definition = copy;
    bind(local, entry);
    entry->gone = false;
    entry->bare = bare;
    entry->of_file = false;
    entry->critical_at_ms = 0;
    runner_changed(local, entry);
}

enum err local_set_check(struct local *local, const struct check_definition *check, bool bare) {
    struct check_definition bound = *check;
    if (*check->service_id != '\0') {
        const struct catalog_service *service = local_get_service(&local->next, check->service_id);
        if (service == NULL) {
            return ERR_NOT_FOUND;
        }
        bound.service_name = service->name;
        bound.service_tags = service->tags;
    }
    write_check(local, &bound, bare);
    return ERR_OK;
}

static void remove_check(struct local *local, const char *id) {
    struct entry *entry = touch(local, LOCAL_CHECK, id);
    drop_check(local, id);
    unbind(local, entry);
    free(entry->definition);
    entry->definition = NULL;
    entry->gone = true;
    runner_changed(local, entry);
}

enum err local_remove_check(struct local *local, const char *id) {
    if (local_get_check(&local->next, id) == NULL) {
        return ERR_NOT_FOUND;
    }
    remove_check(local, id);
    return ERR_OK;
}

enum err local_update_check(struct local *local, const char *id, const char *status,
                            const char *output) {
    const struct catalog_check *old = local_get_check(&local->next, id);
    if (old == NULL) {
        return ERR_NOT_FOUND;
    }
    bool new_status = strcmp(old->status, status) != 0;
    if (new_status || strcmp(old->output, output) != 0) {
        struct catalog_check check = *old;
        check.status = status;
        check.output = output;
        put_check(local, row_copy_check(&check));
        if (new_status) {
            touch(local, LOCAL_CHECK, id);
        } else {
            ((struct entry *)get(&local->entries[LOCAL_CHECK], id))->output_deferred = true;
        }
    }
    return ERR_OK;
}

void local_note_result(struct local *local, const char *id, bool critical, int64_t now_ms) {
    struct entry *entry = get(&local->entries[LOCAL_CHECK], id);
    if (entry == NULL || !critical) {
        now_ms = 0;
    }
    if (entry != NULL && (now_ms == 0 || entry->critical_at_ms == 0)) {
        entry->critical_at_ms = now_ms;
    }
}

struct overdue {
    int64_t now_ms, least_ns;
    void (*visit)(const struct check_definition *definition, void *context);
    void *context;
};

static bool visit_overdue(void *value, void *context) {
    const struct entry *entry = value;
    const struct overdue *overdue = context;
    const struct check_definition *definition = entry->definition;
    if (entry->critical_at_ms == 0 || definition == NULL ||
        definition->deregister_critical_after_ns <= 0) {
        return true;
    }
    int64_t after_ns = definition->deregister_critical_after_ns;
    after_ns = after_ns < overdue->least_ns ? overdue->least_ns : after_ns;
    if (overdue->now_ms - entry->critical_at_ms >= after_ns / DURATION_MS) {
        overdue->visit(definition, overdue->context);
    }
    return true;
}

void local_walk_overdue(const struct local *local, int64_t now_ms, int64_t least_ns,
                        void (*visit)(const struct check_definition *definition, void *context),
                        void *context) {
    struct overdue overdue = {now_ms, least_ns, visit, context};
    tree_walk(&local->entries[LOCAL_CHECK], NULL, 0, visit_overdue, &overdue);
}

void local_set_runner(struct local *local, const char *id, uint64_t generation) {
    struct entry *entry = get(&local->entries[LOCAL_CHECK], id);
    if (entry != NULL) {
        entry->runner = generation;
    }
}

uint64_t local_get_runner(const struct local *local, const char *id) {
    const struct entry *entry = get(&local->entries[LOCAL_CHECK], id);
    return entry != NULL && !entry->gone ? entry->runner : 0;
}

const struct check_definition *local_get_definition(const struct local *local, const char *id) {
    const struct entry *entry = get(&local->entries[LOCAL_CHECK], id);
    return entry != NULL ? entry->definition : NULL;
}

void local_mark_of_file(struct local *local, enum local_kind kind, const char *id) {
    struct entry *entry = get(&local->entries[kind], id);
    ASSERT(entry != NULL && !entry->gone);
    entry->of_file = true;
}

bool local_is_of_file(const struct local *local, enum local_kind kind, const char *id) {
    const struct entry *entry = get(&local->entries[kind], id);
    return entry != NULL && !entry->gone && entry->of_file;
}

bool local_check_is_bare(const struct local *local, const char *id) {
    const struct entry *entry = get(&local->entries[LOCAL_CHECK], id);
    return entry != NULL && entry->bare;
}

/* ---- services ---- */

struct owned {
    const struct service_definition *keep; /* checks of this definition are not collected */
    char **ids;
    size_t count;
};

static bool collect_owned(void *value, void *context) {
    const struct entry *entry = value;
    struct owned *owned = context;
    for (uint32_t i = 0; owned->keep != NULL && i < owned->keep->check_count; i++) {
        if (strcmp(owned->keep->checks[i].id, entry->id) == 0) {
            return true;
        }
    }
    owned->ids = mem_realloc(owned->ids, (owned->count + 1) * sizeof *owned->ids);
    owned->ids[owned->count++] = mem_strdup(entry->id);
    return true;
}

static void remove_owned(struct local *local, const char *service_id,
                         const struct service_definition *keep) {
    struct owned owned = {.keep = keep};
    struct bound_key key;
    bound_key_init(&key, service_id, "");
    tree_walk(&local->bound, key.bytes, key.size, collect_owned, &owned);
    for (size_t i = 0; i < owned.count; i++) {
        remove_check(local, owned.ids[i]);
        free(owned.ids[i]);
    }
    free(owned.ids);
}

struct bound_checks {
    const struct catalog_check **v;
    size_t count;
};

static bool collect_bound(const struct catalog_check *check, void *context) {
    struct bound_checks *bound = context;
    bound->v = mem_realloc(bound->v, (bound->count + 1) * sizeof *bound->v);
    bound->v[bound->count++] = check;
    return true;
}

/* Its checks say what it is called and its tags. */
static void name_checks(struct local *local, const struct catalog_service *service) {
    struct bound_checks bound = {0};
    local_walk_service_checks(&local->next, service->id, collect_bound, &bound);
    for (size_t i = 0; i < bound.count; i++) {
        struct catalog_check check = *bound.v[i];
        if (strcmp(check.service_name, service->name) != 0 ||
            !str_list_equal(&check.service_tags, &service->tags)) {
            check.service_name = service->name;
            check.service_tags = service->tags;
            put_check(local, row_copy_check(&check));
            touch(local, LOCAL_CHECK, check.id);
        }
    }
    free(bound.v);
}

void local_set_service(struct local *local, const struct service_definition *definition,
                       bool replace_checks) {
    struct catalog_service service = definition->service;
    service.node = local->node;
    put(local, &local->next.services, service.id, row_copy_service(&service));
    struct entry *entry = touch(local, LOCAL_SERVICE, service.id);
    entry->gone = entry->of_file = false;
    if (replace_checks) {
        remove_owned(local, service.id, definition);
    }
    name_checks(local, &service);
    for (uint32_t i = 0; i < definition->check_count; i++) {
        write_check(local, &definition->checks[i], false);
    }
}

enum err local_remove_service(struct local *local, const char *id) {
    if (local_get_service(&local->next, id) == NULL) {
        return ERR_NOT_FOUND;
    }
    remove_owned(local, id, NULL);
    touch(local, LOCAL_SERVICE, id)->gone = true;
    drop(local, &local->next.services, id);
    return ERR_OK;
}

/* ---- what the catalog says better ---- */

#define SERVERS_PREFIX "consul-"

static bool of_servers(const struct catalog_tagged_address *address) {
    return strncmp(address->name, SERVERS_PREFIX, strlen(SERVERS_PREFIX)) == 0;
}

/* Ours, but for those of servers, and theirs that are: both sorted by name. v has room for all. */
static uint32_t merge_addresses(const struct catalog_service *mine,
                                const struct catalog_service *remote,
                                struct catalog_tagged_address *v) {
    uint32_t count = 0, a = 0, b = 0;
    while (a < mine->tagged_address_count || b < remote->tagged_address_count) {
        const struct catalog_tagged_address *x = &mine->tagged_addresses[a];
        const struct catalog_tagged_address *y = &remote->tagged_addresses[b];
        int order = a == mine->tagged_address_count     ? 1
                    : b == remote->tagged_address_count ? -1
                                                        : strcmp(x->name, y->name);
        if (order > 0 || (order == 0 && of_servers(y))) {
            if (of_servers(y)) {
                v[count++] = *y;
            }
        } else {
            v[count++] = *x;
        }
        a += order <= 0;
        b += order >= 0;
    }
    return count;
}

bool local_take_remote(struct local *local, const char *id, const struct catalog_service *remote) {
    const struct catalog_service *mine = local_get_service(&local->next, id);
    struct catalog_service merged = *mine;
    bool new_tags = mine->enable_tag_override && !str_list_equal(&mine->tags, &remote->tags);
    if (new_tags) {
        merged.tags = remote->tags;
    }
    merged.tagged_addresses =
        mem_calloc(mine->tagged_address_count + remote->tagged_address_count + 1,
                   sizeof *merged.tagged_addresses);
    merged.tagged_address_count = merge_addresses(mine, remote, merged.tagged_addresses);
    bool news = !row_equal_service(mine, &merged);
    if (news) {
        put(local, &local->next.services, id, row_copy_service(&merged));
    }
    free(merged.tagged_addresses);
    if (new_tags) {
        name_checks(local, &merged);
    }
    return news;
}

/* ---- runners ---- */

void local_take_changed_checks(struct local *local,
                               void (*visit)(const char *id,
                                             const struct check_definition *definition,
                                             void *context),
                               void *context) {
    while (local->changed != NULL) {
        struct entry *entry = local->changed;
        local->changed = entry->next_changed;
        entry->runner_changed = false;
        visit(entry->id, entry->definition, context);
    }
}

void local_walk_changed_checks(const struct local *local,
                               void (*visit)(const char *id,
                                             const struct check_definition *definition,
                                             void *context),
                               void *context) {
    for (const struct entry *entry = local->changed; entry != NULL; entry = entry->next_changed) {
        visit(entry->id, entry->definition, context);
    }
}
