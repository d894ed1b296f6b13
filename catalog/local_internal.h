/* The agent's own registrations, between its changes (local.c) and how they get into the catalog
 * (local_sync.c). */
#ifndef CATALOG_LOCAL_INTERNAL_H
#define CATALOG_LOCAL_INTERNAL_H

#include <stdatomic.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "catalog/local.h"
#include "catalog/tree.h"

struct local_view {
    uint64_t version;
    struct tree services; /* id -> catalog_service */
    struct tree checks;   /* id -> catalog_check */
    struct tree bound;    /* service id, check id -> the same catalog_check */
};

/* The writer's side of an entry. */
struct entry {
    struct entry *next, *previous; /* in a ring of its kind: out of sync and not under way */
    struct entry *next_changed;    /* while runner_changed */
    uint64_t generation;           /* of its last change */
    bool synced;
    bool under_way;      /* an attempt to tell the catalog */
    bool ahead;          /* a check that was told while its service was under way */
    bool gone;           /* removed here, not yet told */
    bool runner_changed; /* a check's definition was set or removed */
    bool bare;
    bool of_file;
    int64_t critical_at_ms;              /* of the first critical result in a row; 0 = none */
    bool output_deferred;                /* its output is newer than what the catalog was told */
    uint64_t runner;                     /* generation of the runner */
    struct check_definition *definition; /* of a check that is not gone */
    char id[];
};

struct local {
    struct epoch *epoch;
    struct tree_batch batch;
    struct local_view next;
    _Atomic(struct local_view *) published;
    struct tree entries[2];   /* by enum local_kind: id -> entry; never published */
    struct entry unsynced[2]; /* heads of the rings */
    struct entry fresh[2];    /* the same, of what has changed since they were walked last */
    struct entry *changed;    /* checks whose runner must change, newest first */
    struct tree bound;        /* service id, check id -> entry of the check; never published */
    uint64_t generation;
    bool changing; /* next differs from what is published: the epoch's batch is held */
    char *node;
};

struct bound_key {
    char bytes[LIMIT_TREE_KEY_BYTES];
    size_t size;
};

static inline void bound_key_init(struct bound_key *key, const char *service_id,
                                  const char *check_id) {
    size_t service_size = strlen(service_id) + 1, check_size = strlen(check_id) + 1;
    ASSERT(service_size + check_size <= sizeof key->bytes);
    memcpy(key->bytes, service_id, service_size);
    memcpy(key->bytes + service_size, check_id, check_size);
    key->size = service_size + (*check_id != '\0' ? check_size : 0);
}

static inline void *get(const struct tree *tree, const char *id) {
    return tree_get(tree, id, strlen(id) + 1);
}

/* It has changed: what is told of it from now on is told first. */
void local_join_fresh(struct local *local, enum local_kind kind, struct entry *entry);

#endif
