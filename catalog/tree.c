#include "catalog/tree.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"

/* Of all values from a node on down. */
struct sums {
    uint64_t newest, hash;
};

/* One block: the struct, the children sorted by label, sums if the tree has them, the labels, the
 * prefix. */
struct tree_node {
    uint64_t stamp; /* of the batch that made it */
    void *value;    /* NULL: an inner node only; then it has two children or more */
    uint32_t count; /* of all values from here on down */
    uint16_t prefix_size;
    uint16_t child_count : 15;
    uint16_t has_sums : 1; /* the same in all nodes of a tree */
    struct tree_node *children[];
};

static size_t sums_bytes(const struct tree_node *node) {
    return node->has_sums ? sizeof(struct sums) : 0;
}

static struct sums *sums(const struct tree_node *node) {
    return (struct sums *)(uintptr_t)&node->children[node->child_count];
}

static uint8_t *labels(const struct tree_node *node) {
    return (uint8_t *)&node->children[node->child_count] + sums_bytes(node);
}

static uint8_t *prefix(const struct tree_node *node) {
    return labels(node) + node->child_count;
}

static struct tree_node *alloc_node(const struct tree_batch *batch, size_t children,
                                    size_t prefix_size) {
    bool has_sums = batch->index_of != NULL || batch->hash_of != NULL;
    struct tree_node *node = mem_alloc(sizeof *node + children * (sizeof(struct tree_node *) + 1) +
                                       prefix_size + (has_sums ? sizeof(struct sums) : 0));
    node->stamp = batch->stamp;
    node->value = NULL;
    node->count = 0;
    node->child_count = (uint16_t)(children & 0x7fff);
    node->has_sums = has_sums;
    node->prefix_size = (uint16_t)prefix_size;
    if (has_sums) {
        *sums(node) = (struct sums){0};
    }
    return node;
}

static void copy_sums(struct tree_node *to, const struct tree_node *from) {
    ASSERT(to->has_sums == from->has_sums);
    to->count = from->count;
    if (to->has_sums) {
        *sums(to) = *sums(from);
    }
}

void tree_journal_add(struct tree_journal *journal, void *block) {
    if (journal->count == journal->capacity) {
        journal->capacity = journal->capacity == 0 ? 64 : 2 * journal->capacity;
        journal->retired =
            mem_realloc(journal->retired, journal->capacity * sizeof *journal->retired);
    }
    journal->retired[journal->count++] = block;
}

static void retire(const struct tree_batch *batch, void *block) {
    if (batch->journal == NULL) {
        epoch_retire(batch->epoch, block);
    } else {
        tree_journal_add(batch->journal, block);
    }
}

static void discard(const struct tree_batch *batch, struct tree_node *node) {
    if (node->stamp == batch->stamp) {
        free(node);
    } else {
        retire(batch, node);
    }
}

/* The node, or a copy of it that this batch may change. */
static struct tree_node *own(const struct tree_batch *batch, struct tree_node *node) {
    if (node->stamp == batch->stamp) {
        return node;
    }
    size_t size = (size_t)(prefix(node) + node->prefix_size - (uint8_t *)node);
    struct tree_node *copy = mem_memdup(node, size);
    copy->stamp = batch->stamp;
    retire(batch, node);
    return copy;
}

/* Place of the first child whose label is >= label. */
static size_t find_place(const struct tree_node *node, uint8_t label) {
    const uint8_t *all = labels(node);
    size_t low = 0, high = node->child_count;
    while (low < high) {
        size_t middle = (low + high) / 2;
        if (all[middle] < label) {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    return low;
}

static bool has_child(const struct tree_node *node, size_t place, uint8_t label) {
    return place < node->child_count && labels(node)[place] == label;
}

static size_t common_size(const struct tree_node *node, const uint8_t *key, size_t size) {
    size_t limit = size < node->prefix_size ? size : node->prefix_size, n = 0;
    const uint8_t *own_prefix = prefix(node);
    while (n < limit && own_prefix[n] == key[n]) {
        n++;
    }
    return n;
}

void *tree_get(const struct tree *tree, const void *key, size_t size) {
    const uint8_t *at = key;
    const struct tree_node *node = tree->root;
    while (node != NULL) {
        if (size < node->prefix_size || memcmp(prefix(node), at, node->prefix_size) != 0) {
            return NULL;
        }
        at += node->prefix_size;
        size -= node->prefix_size;
        if (size == 0) {
            return node->value;
        }
        size_t place = find_place(node, *at);
        if (!has_child(node, place, *at)) {
            return NULL;
        }
        node = node->children[place];
        at++;
        size--;
    }
    return NULL;
}

static bool walk_node(const struct tree_node *node, bool (*visit)(void *value, void *context),
                      void *context) {
    if (node->value != NULL && !visit(node->value, context)) {
        return false;
    }
    for (size_t i = 0; i < node->child_count; i++) {
        if (!walk_node(node->children[i], visit, context)) {
            return false;
        }
    }
    return true;
}

/* The node under which all keys with the prefix are; NULL: there is none. */
static struct tree_node *find_prefix(const struct tree *tree, const uint8_t *at, size_t size) {
    struct tree_node *node = tree->root;
    while (node != NULL) {
        size_t common = common_size(node, at, size);
        if (common == size) {
            return node;
        }
        if (common < node->prefix_size) {
            return NULL;
        }
        at += common;
        size -= common;
        size_t place = find_place(node, *at);
        node = has_child(node, place, *at) ? node->children[place] : NULL;
        at++;
        size--;
    }
    return NULL;
}

bool tree_walk(const struct tree *tree, const void *key, size_t size,
               bool (*visit)(void *value, void *context), void *context) {
    const struct tree_node *node = find_prefix(tree, key, size);
    return node == NULL || walk_node(node, visit, context);
}

/* A value on its way in, and what it changes in the nodes above it. */
struct change {
    void *value, *old;
    uint64_t index, hash; /* hash: how much the sum grows */
};

static struct tree_node *make_leaf(const struct tree_batch *batch, const uint8_t *key, size_t size,
                                   const struct change *change) {
    struct tree_node *leaf = alloc_node(batch, 0, size);
    memcpy(prefix(leaf), key, size);
    leaf->value = change->value;
    leaf->count = 1;
    if (leaf->has_sums) {
        *sums(leaf) = (struct sums){change->index, change->hash};
    }
    return leaf;
}

/* A copy of the node whose prefix is head, label and the node's own; or its tail from `cut` on. */
static struct tree_node *with_prefix(const struct tree_batch *batch, struct tree_node *node,
                                     const uint8_t *head, size_t head_size, size_t cut) {
    struct tree_node *copy =
        alloc_node(batch, node->child_count, head_size + node->prefix_size - cut);
    copy->value = node->value;
    copy_sums(copy, node);
    memcpy(copy->children, node->children, node->child_count * sizeof node->children[0]);
    memcpy(labels(copy), labels(node), node->child_count);
    if (head_size > 0) {
        memcpy(prefix(copy), head, head_size);
    }
    memcpy(prefix(copy) + head_size, prefix(node) + cut, node->prefix_size - cut);
    discard(batch, node);
    return copy;
}

static struct tree_node *with_child(const struct tree_batch *batch, struct tree_node *node,
                                    size_t place, uint8_t label, struct tree_node *child) {
    struct tree_node *copy = alloc_node(batch, node->child_count + 1u, node->prefix_size);
    size_t after = node->child_count - place;
    copy->value = node->value;
    copy_sums(copy, node);
    memcpy(copy->children, node->children, place * sizeof child);
    copy->children[place] = child;
    memcpy(copy->children + place + 1, node->children + place, after * sizeof child);
    memcpy(labels(copy), labels(node), place);
    labels(copy)[place] = label;
    memcpy(labels(copy) + place + 1, labels(node) + place, after);
    memcpy(prefix(copy), prefix(node), node->prefix_size);
    discard(batch, node);
    return copy;
}

static struct tree_node *without_child(const struct tree_batch *batch, struct tree_node *node,
                                       size_t place) {
    struct tree_node *copy = alloc_node(batch, node->child_count - 1u, node->prefix_size);
    size_t after = node->child_count - place - 1;
    copy->value = node->value;
    copy_sums(copy, node);
    memcpy(copy->children, node->children, place * sizeof node);
    memcpy(copy->children + place, node->children + place + 1, after * sizeof node);
    memcpy(labels(copy), labels(node), place);
    memcpy(labels(copy) + place, labels(node) + place + 1, after);
    memcpy(prefix(copy), prefix(node), node->prefix_size);
    discard(batch, node);
    return copy;
}

/* Splits a node whose prefix and the key part after `common` bytes. */
static struct tree_node *split(const struct tree_batch *batch, struct tree_node *node,
                               size_t common) {
    struct tree_node *top = alloc_node(batch, 1, common);
    memcpy(prefix(top), prefix(node), common);
    labels(top)[0] = prefix(node)[common];
    copy_sums(top, node);
    top->children[0] = with_prefix(batch, node, NULL, 0, common + 1);
    return top;
}

static void add_sums(struct tree_node *node, const struct change *change) {
    node->count += change->old == NULL;
    if (node->has_sums) {
        struct sums *to = sums(node);
        to->hash += change->hash;
        to->newest = change->index > to->newest ? change->index : to->newest;
    }
}

static struct tree_node *set_node(const struct tree_batch *batch, struct tree_node *node,
                                  const uint8_t *key, size_t size, struct change *change) {
    if (node == NULL) {
        return make_leaf(batch, key, size, change);
    }
    size_t common = common_size(node, key, size);
    if (common < node->prefix_size) {
        node = split(batch, node, common);
    }
    if (common == size) {
        node = own(batch, node);
        change->old = node->value;
        if (change->old != NULL && batch->hash_of != NULL) {
            change->hash -= batch->hash_of(change->old);
        }
        node->value = change->value;
        add_sums(node, change);
        return node;
    }
    uint8_t label = key[common];
    key += common + 1;
    size -= common + 1;
    size_t place = find_place(node, label);
    if (!has_child(node, place, label)) {
        node = with_child(batch, node, place, label, make_leaf(batch, key, size, change));
    } else {
        node = own(batch, node);
        node->children[place] = set_node(batch, node->children[place], key, size, change);
    }
    add_sums(node, change);
    return node;
}

void *tree_set(struct tree *tree, const struct tree_batch *batch, const void *key, size_t size,
               void *value) {
    ASSERT(value != NULL && size <= LIMIT_TREE_KEY_BYTES);
    struct change change = {.value = value,
                            .index = batch->index_of != NULL ? batch->index_of(value) : 0,
                            .hash = batch->hash_of != NULL ? batch->hash_of(value) : 0};
    tree->root = set_node(batch, tree->root, key, size, &change);
    tree->count += change.old == NULL;
    return change.old;
}

/* After values of so much hash went away below a node of this batch. */
static void count_anew(const struct tree_batch *batch, struct tree_node *node, uint64_t hash) {
    uint64_t newest =
        node->value != NULL && batch->index_of != NULL ? batch->index_of(node->value) : 0;
    node->count = node->value != NULL;
    for (size_t i = 0; i < node->child_count; i++) {
        const struct tree_node *child = node->children[i];
        node->count += child->count;
        if (node->has_sums && sums(child)->newest > newest) {
            newest = sums(child)->newest;
        }
    }
    if (node->has_sums) {
        sums(node)->newest = newest;
        sums(node)->hash -= hash;
    }
}

/* An inner node without a value keeps two children or more: with one it melts into it. */
static struct tree_node *settle(const struct tree_batch *batch, struct tree_node *node) {
    if (node->value != NULL || node->child_count > 1) {
        return node;
    }
    if (node->child_count == 0) {
        discard(batch, node);
        return NULL;
    }
    uint8_t head[LIMIT_TREE_KEY_BYTES + 1];
    size_t head_size = node->prefix_size;
    memcpy(head, prefix(node), head_size);
    head[head_size++] = labels(node)[0];
    struct tree_node *merged = with_prefix(batch, node->children[0], head, head_size, 0);
    discard(batch, node);
    return merged;
}

static struct tree_node *remove_node(const struct tree_batch *batch, struct tree_node *node,
                                     const uint8_t *key, size_t size, uint64_t hash) {
    key += node->prefix_size;
    size -= node->prefix_size;
    if (size == 0) {
        node = own(batch, node);
        node->value = NULL;
    } else {
        size_t place = find_place(node, *key);
        struct tree_node *child =
            remove_node(batch, node->children[place], key + 1, size - 1, hash);
        if (child == NULL) {
            node = without_child(batch, node, place);
        } else {
            node = own(batch, node);
            node->children[place] = child;
        }
    }
    count_anew(batch, node, hash);
    return settle(batch, node);
}

void *tree_remove(struct tree *tree, const struct tree_batch *batch, const void *key, size_t size) {
    void *value = tree_get(tree, key, size);
    if (value != NULL) {
        uint64_t hash = batch->hash_of != NULL ? batch->hash_of(value) : 0;
        tree->root = remove_node(batch, tree->root, key, size, hash);
        tree->count--;
    }
    return value;
}

/* ---- prefixes ---- */

struct tree_sum tree_sum(const struct tree *tree, const void *prefix, size_t size) {
    const struct tree_node *node = find_prefix(tree, prefix, size);
    if (node == NULL) {
        return (struct tree_sum){0};
    }
    struct sums all = node->has_sums ? *sums(node) : (struct sums){0};
    return (struct tree_sum){node->count, all.newest, all.hash};
}

static struct tree_node *cut_node(const struct tree_batch *batch, struct tree_node *node,
                                  const uint8_t *key, size_t size, const struct tree_node *cut) {
    if (node == cut) {
        return NULL;
    }
    key += node->prefix_size;
    size -= node->prefix_size;
    size_t place = find_place(node, *key);
    struct tree_node *child = cut_node(batch, node->children[place], key + 1, size - 1, cut);
    if (child == NULL) {
        node = without_child(batch, node, place);
    } else {
        node = own(batch, node);
        node->children[place] = child;
    }
    count_anew(batch, node, cut->has_sums ? sums(cut)->hash : 0);
    return settle(batch, node);
}

struct tree tree_remove_prefix(struct tree *tree, const struct tree_batch *batch,
                               const void *prefix, size_t size) {
    struct tree_node *cut = find_prefix(tree, prefix, size);
    if (cut == NULL) {
        return (struct tree){0};
    }
    tree->root = cut_node(batch, tree->root, prefix, size, cut);
    tree->count -= cut->count;
    return (struct tree){.root = cut, .count = cut->count};
}

static void *first_value(const struct tree_node *node) {
    while (node->value == NULL) {
        node = node->children[0];
    }
    return node->value;
}

/* A depth is at most the length of a key. */
static void *seek_node(const struct tree_node *node, const uint8_t *key, size_t size) {
    size_t common = common_size(node, key, size);
    if (common == size) {
        return first_value(node);
    }
    if (common < node->prefix_size) {
        return prefix(node)[common] > key[common] ? first_value(node) : NULL;
    }
    key += common;
    size -= common;
    size_t place = find_place(node, *key);
    if (has_child(node, place, *key)) {
        void *found = seek_node(node->children[place], key + 1, size - 1);
        if (found != NULL) {
            return found;
        }
        place++;
    }
    return place < node->child_count ? first_value(node->children[place]) : NULL;
}

void *tree_seek(const struct tree *tree, const void *key, size_t size) {
    return tree->root != NULL ? seek_node(tree->root, key, size) : NULL;
}

void tree_walk_path(const struct tree *tree, const void *key, size_t size,
                    void (*visit)(void *value, void *context), void *context) {
    const uint8_t *at = key;
    const struct tree_node *node = tree->root;
    while (node != NULL && size >= node->prefix_size &&
           memcmp(prefix(node), at, node->prefix_size) == 0) {
        at += node->prefix_size;
        size -= node->prefix_size;
        if (node->value != NULL) {
            visit(node->value, context);
        }
        size_t place = size > 0 ? find_place(node, *at) : 0;
        node = size > 0 && has_child(node, place, *at) ? node->children[place] : NULL;
        at++;
        size -= node != NULL;
    }
}

/* ---- ends ---- */

static void push(struct tree_sweep *sweep, struct tree_node *node) {
    if (sweep->count == sweep->capacity) {
        sweep->capacity = sweep->capacity == 0 ? 64 : 2 * sweep->capacity;
        sweep->stack = mem_realloc(sweep->stack, sweep->capacity * sizeof(struct tree_node *));
    }
    sweep->stack[sweep->count++] = node;
}

void tree_sweep_add(struct tree_sweep *sweep, struct tree *tree) {
    if (tree->root != NULL) {
        push(sweep, tree->root);
    }
    *tree = (struct tree){0};
}

bool tree_sweep_some(struct tree_sweep *sweep, struct epoch *epoch, size_t limit,
                     void (*visit)(void *value, void *context), void *context) {
    for (size_t i = 0; i < limit && sweep->count > 0; i++) {
        struct tree_node *node = sweep->stack[--sweep->count];
        for (size_t child = 0; child < node->child_count; child++) {
            push(sweep, node->children[child]);
        }
        if (node->value != NULL) {
            visit(node->value, context);
        }
        epoch_retire(epoch, node);
    }
    return sweep->count > 0;
}

void tree_sweep_clear(struct tree_sweep *sweep) {
    free(sweep->stack);
    *sweep = (struct tree_sweep){0};
}

/* A node of this batch has none of it above an older one. */
static void free_made(struct tree_node *node, uint64_t stamp) {
    if (node->stamp == stamp) {
        for (size_t i = 0; i < node->child_count; i++) {
            free_made(node->children[i], stamp);
        }
        free(node);
    }
}

void tree_free_made(struct tree *tree, uint64_t stamp) {
    if (tree->root != NULL) {
        free_made(tree->root, stamp);
    }
    *tree = (struct tree){0};
}

static void retire_node(struct tree_node *node, struct epoch *epoch) {
    for (size_t i = 0; i < node->child_count; i++) {
        retire_node(node->children[i], epoch);
    }
    epoch_retire(epoch, node);
}

void tree_retire(struct tree *tree, struct epoch *epoch) {
    if (tree->root != NULL) {
        retire_node(tree->root, epoch);
    }
    *tree = (struct tree){0};
}

static void free_node(struct tree_node *node) {
    for (size_t i = 0; i < node->child_count; i++) {
        free_node(node->children[i]);
    }
    free(node);
}

void tree_clear(struct tree *tree) {
    if (tree->root != NULL) {
        free_node(tree->root);
    }
    *tree = (struct tree){0};
}
