/* A persistent (copy-on-write) radix tree with path compression, after Morrison's PATRICIA (1968)
 * and Leis et al., The Adaptive Radix Tree (2013), with nodes of exact size instead of four sizes.
 *
 * A writer changes the tree within a batch: nodes made in this batch are changed in place, all
 * others are copied and the replaced ones retired, so a batch copies each path once and readers of
 * published roots are never disturbed. Keys are bytes, at most LIMIT_TREE_KEY_BYTES; order is
 * bytewise. The tree never owns its values. */
#ifndef CATALOG_TREE_H
#define CATALOG_TREE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"

struct tree_node;

struct tree {
    struct tree_node *root; /* NULL when empty */
    size_t count;           /* values */
};

struct tree_batch {
    struct epoch *epoch; /* takes the replaced nodes */
    uint64_t stamp;      /* unlike that of any earlier batch on the same trees */
};

/* The value, or NULL. Any thread, on a published root. */
void *tree_get(const struct tree *tree, const void *key, size_t size);

/* Visits the values whose key starts with prefix, in order of their keys, until visit returns
 * false. False: it was stopped. Any thread, on a published root. */
bool tree_walk(const struct tree *tree, const void *prefix, size_t size,
               bool (*visit)(void *value, void *context), void *context);

/* Returns the value that was there, or NULL. value must not be NULL. */
void *tree_set(struct tree *tree, const struct tree_batch *batch, const void *key, size_t size,
               void *value);
/* Returns the removed value, or NULL. */
void *tree_remove(struct tree *tree, const struct tree_batch *batch, const void *key, size_t size);

/* Retires all nodes of a tree whose root is no longer to be published. */
void tree_retire(struct tree *tree, struct epoch *epoch);
/* Frees the nodes of a tree that no reader sees. */
void tree_clear(struct tree *tree);

#endif
