/* Where nodes are: rows that their agents send, some at a time in one command. They go with their
 * node, and change no index but their own. */
#include <stdlib.h>
#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "catalog/internal.h"

/* ---- rows ---- */

static struct catalog_coordinate *copy_row(const char *node, const struct catalog_coordinate *row) {
    size_t node_size = strlen(node) + 1, segment_size = strlen(row->segment) + 1;
    struct catalog_coordinate *copy = mem_alloc(sizeof *copy + node_size + segment_size);
    char *text = (char *)(copy + 1);
    *copy =
        (struct catalog_coordinate){.node = memcpy(text, node, node_size),
                                    .segment = memcpy(text + node_size, row->segment, segment_size),
                                    .at = row->at};
    return copy;
}

static uint64_t hash_row(const struct catalog_coordinate *row) {
    const double others[] = {row->at.error, row->at.adjustment, row->at.height};
    uint64_t hash = hash_bytes(40, row->node, strlen(row->node) + 1);
    hash = hash_bytes(hash, row->segment, strlen(row->segment) + 1);
    hash = hash_bytes(hash, row->at.vector, sizeof row->at.vector);
    return hash_bytes(hash, others, sizeof others);
}

static void touch(struct catalog *catalog, const char *node) {
    catalog->touched++;
    catalog->next.indexes.coordinates = catalog_now(catalog);
    if (catalog->watches != NULL) {
        watches_mark(catalog->watches, WATCH_COORDINATES, "");
        watches_mark(catalog->watches, WATCH_COORDINATE, node);
    }
}

static void row_key(struct key *key, const char *node, const char *segment) {
    key_init(key, node);
    key_add(key, segment);
}

static void retire_row(struct catalog *catalog, const struct catalog_coordinate *row) {
    if (row != NULL) {
        catalog->next.indexes.row_hash -= hash_row(row);
        catalog_retire(catalog, row);
    }
}

void catalog_set_coordinate_row(struct catalog *catalog, const char *node,
                                const struct catalog_coordinate *row) {
    struct key key;
    struct catalog_coordinate *made = copy_row(node, row);
    row_key(&key, node, row->segment);
    catalog_made(catalog, made);
    catalog->next.indexes.row_hash += hash_row(made);
    retire_row(catalog,
               tree_set(&catalog->next.coordinates, &catalog->batch, key.bytes, key.size, made));
}

/* ---- commands ---- */

void catalog_apply_coordinates(struct catalog *catalog, const struct catalog_set_coordinates *set) {
    for (uint32_t i = 0; i < set->count; i++) {
        const struct catalog_coordinate *row = &set->rows[i];
        const struct catalog_node *node = view_get_node(&catalog->next, row->node);
        if (node == NULL || strlen(row->segment) > LIMIT_NAME_BYTES ||
            !coordinate_is_sane(&row->at)) {
            continue;
        }
        struct key key;
        row_key(&key, node->name, row->segment);
        const struct catalog_coordinate *old =
            tree_get(&catalog->next.coordinates, key.bytes, key.size);
        if (old == NULL || !coordinate_equal(&old->at, &row->at)) {
            catalog_set_coordinate_row(catalog, node->name, row);
            touch(catalog, node->name);
        }
    }
}

void catalog_remove_coordinates(struct catalog *catalog, const char *node) {
    struct key key;
    key_init(&key, node);
    while (tree_sum(&catalog->next.coordinates, key.bytes, key.size).count > 0) {
        const struct catalog_coordinate *row =
            tree_seek(&catalog->next.coordinates, key.bytes, key.size);
        struct key own;
        row_key(&own, row->node, row->segment);
        tree_remove(&catalog->next.coordinates, &catalog->batch, own.bytes, own.size);
        touch(catalog, row->node);
        retire_row(catalog, row);
    }
}

/* ---- views ---- */

uint64_t view_index_coordinates(const struct catalog_view *view) {
    return view->indexes.coordinates > 0 ? view->indexes.coordinates : 1;
}

const struct coordinate *view_get_coordinate(const struct catalog_view *view, const char *node) {
    struct key key;
    row_key(&key, node, "");
    const struct catalog_coordinate *row = tree_get(&view->coordinates, key.bytes, key.size);
    return row != NULL ? &row->at : NULL;
}

struct walk {
    view_visit_coordinate visit;
    void *context;
};

static bool visit_row(void *value, void *context) {
    struct walk *walk = context;
    return walk->visit(value, walk->context);
}

void view_walk_coordinates(const struct catalog_view *view, const char *node,
                           view_visit_coordinate visit, void *context) {
    struct key key = {.size = 0};
    struct walk walk = {visit, context};
    if (node != NULL) {
        key_init(&key, node);
    }
    tree_walk(&view->coordinates, key.bytes, key.size, visit_row, &walk);
}
