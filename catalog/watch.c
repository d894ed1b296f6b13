#include "catalog/watch.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"

struct watch_group {
    struct watch_group *next; /* of the same bucket */
    struct watch_group *dirty_next, *dirty_previous;
    struct waiter *waiters;
    size_t count;
    uint64_t key_hash; /* of kind and folded name: what a mark looks for */
    enum watch_kind kind;
    bool dirty, held;
    const char *name; /* folded; behind the struct */
    const char *query;
};

struct watches {
    struct watch_group **buckets; /* by key_hash: a mark walks one bucket */
    size_t bucket_count;          /* a power of two */
    size_t group_count;
    size_t waiter_count;
    struct watch_group dirty; /* head of the ring of dirty groups */
    bool paused;
};

struct watches *watches_create(void) {
    struct watches *watches = mem_calloc(1, sizeof *watches);
    watches->bucket_count = 64;
    watches->buckets = mem_calloc(watches->bucket_count, sizeof *watches->buckets);
    watches->dirty.dirty_next = watches->dirty.dirty_previous = &watches->dirty;
    return watches;
}

void watches_destroy(struct watches *watches) {
    if (watches == NULL) {
        return;
    }
    ASSERT(watches->group_count == 0);
    free(watches->buckets);
    free(watches);
}

static uint64_t hash_key(enum watch_kind kind, const char *name) {
    uint64_t hash = hash_mix((uint64_t)kind + 1);
    for (; *name != '\0'; name++) {
        hash = (hash ^ (uint8_t)str_lower_char(*name)) * 0x100000001b3u;
    }
    return hash_mix(hash);
}

static struct watch_group **bucket(const struct watches *watches, uint64_t hash) {
    return &watches->buckets[hash & (watches->bucket_count - 1)];
}

static void grow(struct watches *watches) {
    struct watch_group **old = watches->buckets;
    size_t old_count = watches->bucket_count;
    watches->bucket_count *= 2;
    watches->buckets = mem_calloc(watches->bucket_count, sizeof *watches->buckets);
    for (size_t i = 0; i < old_count; i++) {
        for (struct watch_group *group = old[i]; group != NULL;) {
            struct watch_group *next = group->next;
            struct watch_group **head = bucket(watches, group->key_hash);
            group->next = *head;
            *head = group;
            group = next;
        }
    }
    free(old);
}

static struct watch_group *create_group(struct watches *watches, enum watch_kind kind,
                                        const char *name, const char *query, uint64_t hash) {
    if (watches->group_count >= watches->bucket_count) {
        grow(watches);
    }
    size_t name_size = strlen(name) + 1, query_size = strlen(query) + 1;
    struct watch_group *group = mem_alloc(sizeof *group + name_size + query_size);
    *group = (struct watch_group){.key_hash = hash, .kind = kind};
    char *text = (char *)(group + 1);
    ASSERT(str_lower(text, name_size, name));
    group->name = text;
    group->query = memcpy(text + name_size, query, query_size);
    struct watch_group **head = bucket(watches, hash);
    group->next = *head;
    *head = group;
    watches->group_count++;
    return group;
}

static void unlink_dirty(struct watch_group *group) {
    if (group->dirty) {
        group->dirty_previous->dirty_next = group->dirty_next;
        group->dirty_next->dirty_previous = group->dirty_previous;
        group->dirty = false;
    }
}

static void free_if_idle(struct watches *watches, struct watch_group *group) {
    if (group->held || group->waiters != NULL) {
        return;
    }
    unlink_dirty(group);
    struct watch_group **at = bucket(watches, group->key_hash);
    while (*at != group) {
        at = &(*at)->next;
    }
    *at = group->next;
    watches->group_count--;
    free(group);
}

struct watch_group *watches_join(struct watches *watches, enum watch_kind kind, const char *name,
                                 const char *query, struct waiter *waiter) {
    ASSERT(waiter->group == NULL);
    uint64_t hash = hash_key(kind, name);
    struct watch_group *group = *bucket(watches, hash);
    while (group != NULL && !(group->kind == kind && strcmp(group->query, query) == 0 &&
                              str_equal_fold(group->name, name))) {
        group = group->next;
    }
    if (group == NULL) {
        group = create_group(watches, kind, name, query, hash);
    }
    waiter->group = group;
    waiter->previous = NULL;
    waiter->next = group->waiters;
    if (group->waiters != NULL) {
        group->waiters->previous = waiter;
    }
    group->waiters = waiter;
    group->count++;
    watches->waiter_count++;
    return group;
}

void watches_leave(struct watches *watches, struct waiter *waiter) {
    struct watch_group *group = waiter->group;
    if (group == NULL) {
        return;
    }
    if (waiter->previous != NULL) {
        waiter->previous->next = waiter->next;
    } else {
        group->waiters = waiter->next;
    }
    if (waiter->next != NULL) {
        waiter->next->previous = waiter->previous;
    }
    *waiter = (struct waiter){0};
    group->count--;
    watches->waiter_count--;
    free_if_idle(watches, group);
}

void watch_group_mark(struct watches *watches, struct watch_group *group) {
    if (group->dirty) {
        return;
    }
    group->dirty = true;
    group->dirty_previous = watches->dirty.dirty_previous;
    group->dirty_next = &watches->dirty;
    group->dirty_previous->dirty_next = group;
    watches->dirty.dirty_previous = group;
}

void watches_mark(struct watches *watches, enum watch_kind kind, const char *name) {
    if (watches->group_count == 0) {
        return;
    }
    uint64_t hash = hash_key(kind, name);
    for (struct watch_group *group = *bucket(watches, hash); group != NULL; group = group->next) {
        if (group->key_hash == hash && group->kind == kind && str_equal_fold(group->name, name)) {
            watch_group_mark(watches, group);
        }
    }
}

void watches_mark_all(struct watches *watches) {
    for (size_t i = 0; i < watches->bucket_count; i++) {
        for (struct watch_group *group = watches->buckets[i]; group != NULL; group = group->next) {
            watch_group_mark(watches, group);
        }
    }
}

struct watch_group *watches_take_dirty(struct watches *watches) {
    struct watch_group *group = watches->dirty.dirty_next;
    while (group != &watches->dirty && group->held) {
        group = group->dirty_next;
    }
    if (group == &watches->dirty || watches->paused) {
        return NULL;
    }
    unlink_dirty(group);
    return group;
}

void watches_pause(struct watches *watches, bool paused) {
    watches->paused = paused;
}

void watch_group_hold(struct watch_group *group) {
    ASSERT(!group->held);
    group->held = true;
}

void watch_group_release(struct watches *watches, struct watch_group *group) {
    ASSERT(group->held);
    group->held = false;
    free_if_idle(watches, group);
}

struct waiter *watch_group_waiters(const struct watch_group *group) {
    return group->waiters;
}

const char *watch_group_query(const struct watch_group *group) {
    return group->query;
}

size_t watch_group_count(const struct watch_group *group) {
    return group->count;
}

size_t watches_waiter_count(const struct watches *watches) {
    return watches->waiter_count;
}
