/* Writes to keys (contract, kv 1.3 to 1.6), with their tombstones and lock delays.
 *
 * Deleting a prefix takes its tree off in one piece, however large it is. What hung on it is freed
 * by catalog_sweep, some of it a turn, once the view that no longer shows it is published. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "catalog/internal.h"
#include "catalog/row.h"

/* ---- batches ---- */

static uint64_t index_of_kv(const void *value) {
    return ((const struct catalog_kv *)value)->modify_index;
}

static uint64_t hash_of_kv(const void *value) {
    return row_hash_kv(value);
}

static uint64_t index_of_tombstone(const void *value) {
    return ((const struct tombstone *)value)->index;
}

static uint64_t hash_of_tombstone(const void *value) {
    const struct tombstone *tombstone = value;
    uint64_t h = hash_mix(tombstone->index * 2 + tombstone->tree);
    return hash_bytes(h, tombstone->key, strlen(tombstone->key));
}

struct tree_batch catalog_kv_batch(const struct catalog *catalog) {
    struct tree_batch batch = catalog->batch;
    batch.index_of = index_of_kv;
    batch.hash_of = hash_of_kv;
    return batch;
}

struct tree_batch catalog_tombstone_batch(const struct catalog *catalog) {
    struct tree_batch batch = catalog->batch;
    batch.index_of = index_of_tombstone;
    batch.hash_of = hash_of_tombstone;
    return batch;
}

/* ---- who holds what ---- */

static void held_key(struct key *key, const char *session, const char *kv_key) {
    size_t size = strlen(kv_key);
    key_init(key, session);
    memcpy(key->bytes + key->size, kv_key, size);
    key->size += size;
}

/* Only if the entry is this row's: the key may have gone with its prefix and been acquired anew. */
static void drop_held(struct catalog *catalog, const struct catalog_kv *row) {
    struct key key;
    if (row->session_size == 0) {
        return;
    }
    held_key(&key, catalog_kv_session(row), catalog_kv_key(row));
    if (tree_get(&catalog->next.held, key.bytes, key.size) == row) {
        tree_remove(&catalog->next.held, &catalog->batch, key.bytes, key.size);
    }
}

/* ---- rows ---- */

static void touch(struct catalog *catalog, const char *key) {
    catalog->next.indexes.keys = catalog_now(catalog);
    if (catalog->watches != NULL) {
        watches_mark_key(catalog->watches, key);
    }
}

void catalog_set_kv_row(struct catalog *catalog, struct catalog_kv *row) {
    struct tree_batch batch = catalog_kv_batch(catalog);
    struct key key;
    struct catalog_kv *old =
        tree_set(&catalog->next.kvs, &batch, catalog_kv_key(row), row->key_size, row);
    if (old != NULL) {
        drop_held(catalog, old);
    }
    if (row->session_size > 0) {
        held_key(&key, catalog_kv_session(row), catalog_kv_key(row));
        tree_set(&catalog->next.held, &catalog->batch, key.bytes, key.size, row);
    }
    catalog_retire(catalog, old);
}

/* Writes a key anew. Nothing changes when all of it is as before. */
static void write_kv(struct catalog *catalog, const struct catalog_kv *old,
                     const struct catalog_kv_operation *op, const char *session,
                     uint64_t lock_index) {
    if (old != NULL && old->lock_index == lock_index && old->flags == op->flags &&
        old->value_size == op->value.size && strcmp(catalog_kv_session(old), session) == 0 &&
        (op->value.size == 0 ||
         memcmp(catalog_kv_value(old), op->value.data, op->value.size) == 0)) {
        return;
    }
    struct catalog_kv *row =
        mem_alloc(row_kv_bytes(strlen(op->key), strlen(session), op->value.size));
    row_fill_kv(row, op->key, session, op->value.data, op->value.size);
    row->flags = op->flags;
    row->lock_index = lock_index;
    row->modify_index = catalog_now(catalog);
    row->create_index = old != NULL ? old->create_index : row->modify_index;
    catalog_made(catalog, row);
    catalog_set_kv_row(catalog, row);
    touch(catalog, op->key);
}

/* ---- tombstones ---- */

/* In the order in which they go. */
static void order_key(struct key *key, const struct tombstone *tombstone) {
    size_t size = strlen(tombstone->key);
    for (int i = 0; i < 8; i++) {
        key->bytes[i] = (uint8_t)(tombstone->index >> (56 - 8 * i));
    }
    key->bytes[8] = tombstone->tree;
    memcpy(key->bytes + 9, tombstone->key, size);
    key->size = 9 + size;
}

static void remove_order(struct catalog *catalog, const struct tombstone *tombstone) {
    struct key key;
    order_key(&key, tombstone);
    tree_remove(&catalog->next.tombstone_order, &catalog->batch, key.bytes, key.size);
}

void catalog_add_tombstone(struct catalog *catalog, const char *key, bool tree, uint64_t index) {
    struct tree_batch batch = catalog_tombstone_batch(catalog);
    struct tree *to = tree ? &catalog->next.tree_tombstones : &catalog->next.tombstones;
    size_t size = strlen(key);
    struct tombstone *tombstone = mem_alloc(sizeof *tombstone + size + 1);
    tombstone->index = index;
    tombstone->tree = tree;
    memcpy(tombstone->key, key, size + 1);
    catalog_made(catalog, tombstone);
    struct tombstone *old = tree_set(to, &batch, key, size, tombstone);
    if (old != NULL) {
        remove_order(catalog, old);
        catalog_retire(catalog, old);
    }
    struct key order;
    order_key(&order, tombstone);
    tree_set(&catalog->next.tombstone_order, &catalog->batch, order.bytes, order.size, tombstone);
}

void catalog_apply_reap(struct catalog *catalog, uint64_t index) {
    struct tree_batch batch = catalog_tombstone_batch(catalog);
    struct tombstone *oldest;
    while ((oldest = tree_seek(&catalog->next.tombstone_order, NULL, 0)) != NULL &&
           oldest->index <= index) {
        struct tree *from =
            oldest->tree ? &catalog->next.tree_tombstones : &catalog->next.tombstones;
        remove_order(catalog, oldest);
        tree_remove(from, &batch, oldest->key, strlen(oldest->key));
        if (!MUTANT(tombstone_dropped)) {
            catalog->next.indexes.reaped = oldest->index;
        }
        catalog_retire(catalog, oldest);
    }
}

/* ---- deletions ---- */

static void delete_kv(struct catalog *catalog, const struct catalog_kv *row) {
    struct tree_batch batch = catalog_kv_batch(catalog);
    const char *key = catalog_kv_key(row);
    tree_remove(&catalog->next.kvs, &batch, key, row->key_size);
    drop_held(catalog, row);
    catalog_add_tombstone(catalog, key, false, catalog_now(catalog));
    catalog->next.indexes.tombstones = catalog_now(catalog);
    if (!MUTANT(deletion_unmarked)) {
        touch(catalog, key);
    }
    catalog_retire(catalog, row);
}

static void delete_tree(struct catalog *catalog, const char *prefix) {
    struct tree_batch batch = catalog_kv_batch(catalog);
    struct tree cut = tree_remove_prefix(&catalog->next.kvs, &batch, prefix, strlen(prefix));
    if (cut.root == NULL) {
        return;
    }
    if (catalog->cut_count == catalog->cut_capacity) {
        catalog->cut_capacity = catalog->cut_capacity == 0 ? 4 : 2 * catalog->cut_capacity;
        catalog->cut = mem_realloc(catalog->cut, catalog->cut_capacity * sizeof *catalog->cut);
    }
    catalog->cut[catalog->cut_count++] = cut;
    catalog->next.indexes.keys = catalog_now(catalog);
    if (*prefix != '\0') {
        catalog_add_tombstone(catalog, prefix, true, catalog_now(catalog));
        catalog->next.indexes.tombstones = catalog_now(catalog);
    }
    if (catalog->watches != NULL) {
        watches_mark_keys(catalog->watches, prefix);
    }
}

static void sweep_row(void *value, void *context) {
    struct catalog *catalog = context;
    drop_held(catalog, value);
    catalog_retire(catalog, value);
}

bool catalog_sweep(struct catalog *catalog) {
    bool half = catalog->rest.present || catalog->restoring.ending != ENDING_NOT;
    if (half || (catalog->sweep.count == 0 && catalog->graves == NULL)) {
        return false;
    }
    catalog_begin_change(catalog); /* of what is held */
    if (catalog->sweep.count > 0) {
        tree_sweep_some(&catalog->sweep, catalog->epoch, LIMIT_SWEEP_NODES, sweep_row, catalog);
    } else {
        catalog_sweep_graves(catalog);
    }
    catalog_publish(catalog);
    return catalog->sweep.count > 0 || catalog->graves != NULL;
}

/* ---- locks ---- */

static enum err lock_kv(struct catalog *catalog, const struct catalog_kv *old,
                        const struct catalog_kv_operation *op, bool *ret_held,
                        struct err_text *text) {
    if (*op->session == '\0') {
        return err_set(text, ERR_REFUSED, "missing session");
    }
    const struct catalog_session *session = view_get_session(&catalog->next, op->session);
    if (session == NULL) {
        return err_set(text, ERR_REFUSED, "invalid session \"%.64s\"", op->session);
    }
    const char *holder = old != NULL ? catalog_kv_session(old) : "";
    bool mine = strcmp(holder, session->id) == 0;
    bool delayed = catalog_get_lock_delay(&catalog->next, op->key) != NULL;
    *ret_held = (*holder == '\0' || mine || MUTANT(lock_stolen)) &&
                (!delayed || MUTANT(lock_delay_ignored));
    if (*ret_held) {
        write_kv(catalog, old, op, session->id,
                 (old != NULL ? old->lock_index : 0) + (mine ? 0 : 1));
    }
    return ERR_OK;
}

static enum err unlock_kv(struct catalog *catalog, const struct catalog_kv *old,
                          const struct catalog_kv_operation *op, bool *ret_held,
                          struct err_text *text) {
    if (*op->session == '\0') {
        return err_set(text, ERR_REFUSED, "missing session");
    }
    *ret_held = old != NULL && (str_equal_fold(catalog_kv_session(old), op->session) ||
                                MUTANT(unlocked_by_anyone));
    if (*ret_held) {
        write_kv(catalog, old, op, "", old->lock_index);
    }
    return ERR_OK;
}

enum err catalog_change_kv(struct catalog *catalog, const struct catalog_kv_operation *op,
                           bool *ret_held, struct err_text *text) {
    const struct catalog_kv *old = view_get_kv(&catalog->next, op->key);
    *ret_held = true;
    if (strlen(op->key) > LIMIT_KV_KEY_BYTES) {
        return err_set(text, ERR_REFUSED, "a key is longer than %d bytes", LIMIT_KV_KEY_BYTES);
    }
    switch (op->verb) {
    case KV_CAS:
        *ret_held = op->index == 0 ? old == NULL : old != NULL && old->modify_index == op->index;
        if (MUTANT(cas_by_value) && old != NULL) {
            *ret_held = old->modify_index >= op->index;
        }
        if (!*ret_held) {
            return ERR_OK;
        }
        /* fallthrough */
    case KV_SET:
        write_kv(catalog, old, op, old != NULL ? catalog_kv_session(old) : "", 0);
        return ERR_OK;
    case KV_LOCK:
        return lock_kv(catalog, old, op, ret_held, text);
    case KV_UNLOCK:
        return unlock_kv(catalog, old, op, ret_held, text);
    case KV_DELETE_CAS:
        *ret_held = old == NULL || old->modify_index == op->index;
        /* fallthrough */
    case KV_DELETE:
        if (old != NULL && *ret_held) {
            delete_kv(catalog, old);
        }
        return ERR_OK;
    case KV_DELETE_TREE:
        delete_tree(catalog, op->key);
        return ERR_OK;
    case KV_GET:
    case KV_GET_OR_EMPTY:
    case KV_GET_TREE:
    case KV_CHECK_INDEX:
    case KV_CHECK_SESSION:
    case KV_CHECK_NOT_EXISTS:
    case KV_VERB_COUNT:
        break;
    }
    return err_set(text, ERR_REFUSED, "not a write");
}

enum err catalog_apply_kv(struct catalog *catalog, const struct catalog_kv_operation *op,
                          struct catalog_result *result, struct err_text *text) {
    bool held;
    enum err err = catalog_change_kv(catalog, op, &held, text);
    if (err != ERR_OK) {
        err_prefix(text, "raft apply failed");
    } else if (result != NULL) {
        result->unchanged = !held;
        if (held && op->verb == KV_LOCK) {
            result->fence_index = MUTANT(fence_stays) ? 1 : view_index_kv(&catalog->next, op->key);
        }
    }
    return err;
}

/* ---- the end of a session ---- */

void catalog_set_lock_delay(struct catalog *catalog, const struct catalog_lock_delay *delay) {
    size_t size = strlen(delay->key);
    struct catalog_lock_delay *row = mem_alloc(sizeof *row + size + 1);
    *row = *delay;
    row->key = memcpy(row + 1, delay->key, size + 1);
    catalog_made(catalog, row);
    struct catalog_lock_delay *old =
        tree_set(&catalog->next.delays, &catalog->batch, row->key, size, row);
    catalog->next.indexes.row_hash += row_hash_lock_delay(row);
    if (old != NULL) {
        catalog->next.indexes.row_hash -= row_hash_lock_delay(old);
        catalog_retire(catalog, old);
    }
    catalog_add_event(catalog, CATALOG_LOCK_DELAYED, row->key, row->index, row->delay_ms);
}

void catalog_apply_lock_delay_end(struct catalog *catalog,
                                  const struct catalog_lock_delay_end *end) {
    for (uint32_t i = 0; i < end->count; i++) {
        const struct catalog_lock_delay *delay = &end->delays[i];
        const struct catalog_lock_delay *row = catalog_get_lock_delay(&catalog->next, delay->key);
        if (row != NULL && row->index == delay->index) {
            tree_remove(&catalog->next.delays, &catalog->batch, row->key, strlen(row->key));
            catalog->next.indexes.row_hash -= row_hash_lock_delay(row);
            catalog_retire(catalog, row);
        }
    }
}

struct keys {
    const struct catalog_kv **v;
    size_t count, capacity;
};

static bool collect_key(void *value, void *context) {
    struct keys *keys = context;
    if (keys->count == keys->capacity) {
        keys->capacity = keys->capacity == 0 ? 16 : keys->capacity * 2;
        keys->v = mem_realloc(keys->v, keys->capacity * sizeof *keys->v);
    }
    keys->v[keys->count++] = value;
    return true;
}

/* What it holds at its end: an entry may name a row that went with its prefix. */
static void release_key(struct catalog *catalog, const struct catalog_session *session,
                        const struct catalog_kv *row) {
    if (view_get_kv(&catalog->next, catalog_kv_key(row)) != row) {
        drop_held(catalog, row);
        return;
    }
    int64_t delay_ms = (session->lock_delay_ns + 999999) / 1000000;
    struct catalog_lock_delay delay = {
        .key = catalog_kv_key(row),
        .index = catalog_now(catalog),
        .delay_ms = delay_ms < LIMIT_LOCK_DELAY_MS ? delay_ms : LIMIT_LOCK_DELAY_MS};
    if (delay_ms > 0) {
        catalog_set_lock_delay(catalog, &delay);
    }
    if (strcmp(session->behavior, "delete") == 0) {
        delete_kv(catalog, row);
        return;
    }
    struct catalog_kv_operation op = {
        .key = catalog_kv_key(row),
        .value = {(const uint8_t *)catalog_kv_value(row), row->value_size},
        .flags = row->flags};
    write_kv(catalog, row, &op, "", row->lock_index);
}

void catalog_release_keys(struct catalog *catalog, const struct catalog_session *session) {
    struct keys keys = {0};
    struct key key;
    key_init(&key, session->id);
    tree_walk(&catalog->next.held, key.bytes, key.size, collect_key, &keys);
    for (size_t i = 0; i < keys.count; i++) {
        release_key(catalog, session, keys.v[i]);
    }
    free(keys.v);
}
