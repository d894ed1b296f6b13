/* A persistent (copy-on-write) radix tree with path compression, after Morrison's PATRICIA (1968)
 * and Leis et al., The Adaptive Radix Tree (2013), with nodes of exact size instead of four sizes.
 *
 * A writer changes the tree within a batch: nodes made in this batch are changed in place, all
 * others are copied and the replaced ones retired, so a batch copies each path once and readers of
 * published roots are never disturbed. Keys are bytes, at most LIMIT_TREE_KEY_BYTES; order is
 * bytewise. The tree never owns its values.
 *
 * Each node knows of all values below it how many there are, their newest index and the sum of
 * their hashes, if the batch says what those are: a prefix is judged, and taken off whole, in the
 * time of one descent. */
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

/* Takes replaced nodes in place of the epoch, for a change that may be taken back. */
struct tree_journal {
    void **retired;
    size_t count, capacity;
};

void tree_journal_add(struct tree_journal *journal, void *block);

struct tree_batch {
    struct epoch *epoch;          /* takes the replaced nodes */
    uint64_t stamp;               /* unlike that of any earlier batch on the same trees */
    struct tree_journal *journal; /* takes them instead, when it is there */
    /* What a value counts for; NULL: nothing. */
    uint64_t (*index_of)(const void *value);
    uint64_t (*hash_of)(const void *value);
};

/* All values whose key starts with a prefix. */
struct tree_sum {
    size_t count;
    uint64_t newest; /* largest index, 0 when there is none */
    uint64_t hash;   /* sum */
};

/* The value, or NULL. Any thread, on a published root. */
void *tree_get(const struct tree *tree, const void *key, size_t size);

/* Visits the values whose key starts with prefix, in order of their keys, until visit returns
 * false. False: it was stopped. Any thread, on a published root. */
bool tree_walk(const struct tree *tree, const void *prefix, size_t size,
               bool (*visit)(void *value, void *context), void *context);

/* The first value whose key is not below this one; NULL. Any thread, on a published root. */
void *tree_seek(const struct tree *tree, const void *key, size_t size);
/* Visits the values whose keys this one starts with, itself among them, shortest first. */
void tree_walk_path(const struct tree *tree, const void *key, size_t size,
                    void (*visit)(void *value, void *context), void *context);
struct tree_sum tree_sum(const struct tree *tree, const void *prefix, size_t size);

/* Returns the value that was there, or NULL. value must not be NULL. */
void *tree_set(struct tree *tree, const struct tree_batch *batch, const void *key, size_t size,
               void *value);
/* Returns the removed value, or NULL. */
void *tree_remove(struct tree *tree, const struct tree_batch *batch, const void *key, size_t size);

/* Takes all values off whose key starts with prefix. They are in the tree that is returned, which
 * shares nodes with published roots: its caller retires nodes and values, see struct tree_sweep. */
struct tree tree_remove_prefix(struct tree *tree, const struct tree_batch *batch,
                               const void *prefix, size_t size);

/* A tree that is retired in pieces. Init with {0}; the stack is the sweep's. */
struct tree_sweep {
    struct tree_node **stack;
    size_t count, capacity;
};

/* Takes the tree's nodes over. */
void tree_sweep_add(struct tree_sweep *sweep, struct tree *tree);
/* Retires up to limit nodes; visit gets each value, which is the caller's to retire. True: there
 * are more. */
bool tree_sweep_some(struct tree_sweep *sweep, struct epoch *epoch, size_t limit,
                     void (*visit)(void *value, void *context), void *context);
void tree_sweep_clear(struct tree_sweep *sweep);

/* Frees the nodes that a batch with this stamp has made: the tree's root is not used again, and
 * what it was made from stands as before. */
void tree_free_made(struct tree *tree, uint64_t stamp);

/* Retires all nodes of a tree whose root is no longer to be published. */
void tree_retire(struct tree *tree, struct epoch *epoch);
/* Frees the nodes of a tree that no reader sees. */
void tree_clear(struct tree *tree);

#endif
