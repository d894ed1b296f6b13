/* Keys, tombstones and sessions of a view. */
#include <string.h>

#include "catalog/internal.h"

static uint64_t larger(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

/* ---- keys ---- */

const struct catalog_kv *view_get_kv(const struct catalog_view *view, const char *key) {
    size_t size = strlen(key);
    return size <= LIMIT_KV_KEY_BYTES ? tree_get(&view->kvs, key, size) : NULL;
}

size_t view_count_kvs(const struct catalog_view *view) {
    return view->kvs.count;
}

/* Of what is not there: any write to a key might have been its deletion. */
static uint64_t index_of_absent(const struct catalog_view *view) {
    return larger(1, larger(view->indexes.keys, view->indexes.tombstones));
}

uint64_t view_index_kv(const struct catalog_view *view, const char *key) {
    const struct catalog_kv *kv = view_get_kv(view, key);
    return kv != NULL ? kv->modify_index : index_of_absent(view);
}

static void take_newest(void *value, void *context) {
    const struct tombstone *tombstone = value;
    uint64_t *newest = context;
    *newest = larger(*newest, tombstone->index);
}

/* The floor of what is reaped stands for all tombstones that are gone: without it the index would
 * go back, and who comes back after long would miss a deletion. */
uint64_t view_index_prefix(const struct catalog_view *view, const char *prefix) {
    size_t size = strlen(prefix);
    if (size == 0) {
        return index_of_absent(view);
    }
    uint64_t index = tree_sum(&view->kvs, prefix, size).newest;
    index = larger(index, tree_sum(&view->tombstones, prefix, size).newest);
    index = larger(index, tree_sum(&view->tree_tombstones, prefix, size).newest);
    tree_walk_path(&view->tree_tombstones, prefix, size, take_newest, &index);
    return index > 0 ? larger(index, view->indexes.reaped) : index_of_absent(view);
}

struct kv_visitor {
    view_visit_kv visit;
    void *context;
};

static bool visit_kv(void *value, void *context) {
    const struct kv_visitor *visitor = context;
    return visitor->visit(value, visitor->context);
}

void view_walk_kvs(const struct catalog_view *view, const char *prefix, view_visit_kv visit,
                   void *context) {
    struct kv_visitor visitor = {visit, context};
    tree_walk(&view->kvs, prefix, strlen(prefix), visit_kv, &visitor);
}

/* The least key that is above all that start with these bytes. False: there is none. */
static bool next_key(char *key, size_t *size) {
    while (*size > 0 && (uint8_t)key[*size - 1] == 0xff) {
        --*size;
    }
    if (*size > 0) {
        key[*size - 1]++;
    }
    return *size > 0;
}

void view_walk_keys(const struct catalog_view *view, const char *prefix, const char *separator,
                    view_visit_key visit, void *context) {
    char at[LIMIT_KV_KEY_BYTES + 2];
    size_t prefix_size = strlen(prefix), separator_size = strlen(separator), size = prefix_size;
    if (prefix_size > LIMIT_KV_KEY_BYTES) {
        return;
    }
    memcpy(at, prefix, prefix_size);
    const struct catalog_kv *kv;
    while ((kv = tree_seek(&view->kvs, at, size)) != NULL) {
        const char *key = catalog_kv_key(kv);
        if (strncmp(key, prefix, prefix_size) != 0) {
            return;
        }
        const char *cut = separator_size > 0 ? strstr(key + prefix_size, separator) : NULL;
        size = cut != NULL ? (size_t)(cut - key) + separator_size : kv->key_size;
        memcpy(at, key, size);
        if (!visit(key, size, context)) {
            return;
        }
        if (cut == NULL) {
            at[size++] = '\0'; /* the next key in order */
        } else if (!next_key(at, &size)) {
            return;
        }
    }
}

/* ---- tombstones and lock delays ---- */

size_t view_count_tombstones(const struct catalog_view *view) {
    return view->tombstone_order.count;
}

uint64_t view_index_tombstones(const struct catalog_view *view) {
    return view->indexes.tombstones;
}

struct oldest {
    size_t left;
    uint64_t most, found;
};

static bool count_down(void *value, void *context) {
    const struct tombstone *tombstone = value;
    struct oldest *oldest = context;
    if (tombstone->index > oldest->most) {
        return false;
    }
    oldest->found = tombstone->index;
    return --oldest->left > 0;
}

uint64_t view_find_tombstones(const struct catalog_view *view, size_t count, uint64_t most) {
    struct oldest oldest = {.left = count, .most = most};
    if (count > 0) {
        tree_walk(&view->tombstone_order, NULL, 0, count_down, &oldest);
    }
    return oldest.found;
}

struct delay_visitor {
    view_visit_lock_delay visit;
    void *context;
};

static bool visit_delay(void *value, void *context) {
    const struct delay_visitor *visitor = context;
    return visitor->visit(value, visitor->context);
}

void view_walk_lock_delays(const struct catalog_view *view, view_visit_lock_delay visit,
                           void *context) {
    struct delay_visitor visitor = {visit, context};
    tree_walk(&view->delays, NULL, 0, visit_delay, &visitor);
}

const struct catalog_lock_delay *catalog_get_lock_delay(const struct catalog_view *view,
                                                        const char *key) {
    return tree_get(&view->delays, key, strlen(key));
}

/* ---- sessions ---- */

uint64_t view_index_sessions(const struct catalog_view *view) {
    return larger(1, view->indexes.sessions);
}

const struct catalog_session *view_get_session(const struct catalog_view *view, const char *id) {
    struct key key;
    key_init(&key, id);
    return tree_get(&view->sessions, key.bytes, key.size);
}

struct session_visitor {
    view_visit_session visit;
    void *context;
};

static bool visit_session(void *value, void *context) {
    const struct session_visitor *visitor = context;
    return visitor->visit(value, visitor->context);
}

void view_walk_sessions(const struct catalog_view *view, view_visit_session visit, void *context) {
    struct session_visitor visitor = {visit, context};
    tree_walk(&view->sessions, NULL, 0, visit_session, &visitor);
}

void view_walk_node_sessions(const struct catalog_view *view, const char *node,
                             view_visit_session visit, void *context) {
    struct session_visitor visitor = {visit, context};
    struct key key;
    key_init(&key, node);
    tree_walk(&view->node_sessions, key.bytes, key.size, visit_session, &visitor);
}
