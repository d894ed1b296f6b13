#include "catalog/share.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/buf.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "catalog/row.h"

#define BUCKETS_FIRST 64

enum kind { KIND_NAME, KIND_SERVICE, KIND_CHECK };

/* A part under its bytes. */
struct share {
    struct share *next;
    uint64_t hash;
    uint32_t references, key_size;
    void *part;
    uint8_t key[];
};

struct shares {
    struct epoch *epoch;
    struct share **buckets;
    size_t bucket_count, count, bytes;
    size_t swept; /* buckets, while it ends */
    struct buf key;
};

struct shares *shares_create(struct epoch *epoch) {
    struct shares *shares = mem_calloc(1, sizeof *shares);
    shares->epoch = epoch;
    shares->bucket_count = BUCKETS_FIRST;
    shares->buckets = mem_calloc(BUCKETS_FIRST, sizeof *shares->buckets);
    buf_init(&shares->key, 2 * LIMIT_MIRROR_BATCH_BYTES);
    return shares;
}

/* With its place among the buckets. */
static size_t bytes_of(const struct share *share) {
    return sizeof(struct share *) + sizeof *share + 2 * (size_t)share->key_size;
}

static void end_share(struct shares *shares, struct share **at) {
    struct share *share = *at;
    *at = share->next;
    epoch_retire(shares->epoch, share->part);
    shares->bytes -= bytes_of(share);
    shares->count--;
    free(share);
}

bool shares_destroy_some(struct shares *shares, size_t count) {
    while (shares->swept < shares->bucket_count) {
        while (shares->buckets[shares->swept] != NULL) {
            if (count-- == 0) {
                return true;
            }
            end_share(shares, &shares->buckets[shares->swept]);
        }
        shares->swept++;
    }
    buf_clear(&shares->key);
    free(shares->buckets);
    free(shares);
    return false;
}

static void grow(struct shares *shares) {
    size_t count = 2 * shares->bucket_count;
    struct share **buckets = mem_calloc(count, sizeof *buckets);
    for (size_t i = 0; i < shares->bucket_count; i++) {
        while (shares->buckets[i] != NULL) {
            struct share *share = shares->buckets[i];
            shares->buckets[i] = share->next;
            share->next = buckets[share->hash & (count - 1)];
            buckets[share->hash & (count - 1)] = share;
        }
    }
    free(shares->buckets);
    shares->buckets = buckets;
    shares->bucket_count = count;
}

/* ---- keys: the bytes of a part ---- */

static void begin_key(struct shares *shares, enum kind kind) {
    buf_reset(&shares->key);
    buf_append_byte(&shares->key, (char)kind);
}

static void add_str(struct shares *shares, const char *s) {
    buf_append(&shares->key, s, strlen(s) + 1);
}

static void add_count(struct shares *shares, uint32_t count) {
    buf_append(&shares->key, &count, sizeof count);
}

static void add_list(struct shares *shares, const struct str_list *list) {
    add_count(shares, list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        add_str(shares, list->v[i]);
    }
}

static void name_key(struct shares *shares, const char *name) {
    begin_key(shares, KIND_NAME);
    add_str(shares, name);
}

static void service_key(struct shares *shares, const struct catalog_service *row) {
    const char *const texts[] = {row->name, row->socket_path, row->kind,   row->region,
                                 row->zone, row->proxy,       row->connect};
    begin_key(shares, KIND_SERVICE);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        add_str(shares, texts[i]);
    }
    add_list(shares, &row->tags);
    add_count(shares, row->meta.count);
    buf_append_byte(&shares->key, row->meta.present);
    for (uint32_t i = 0; i < row->meta.count; i++) {
        add_str(shares, row->meta.v[i].key);
        add_str(shares, row->meta.v[i].value);
    }
}

static void check_key(struct shares *shares, const struct catalog_check *row) {
    const char *const texts[] = {row->name, row->notes,    row->service_name,
                                 row->type, row->interval, row->timeout};
    begin_key(shares, KIND_CHECK);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        add_str(shares, texts[i]);
    }
    add_list(shares, &row->service_tags);
}

/* ---- by key ---- */

/* Where it is, or would be. */
static struct share **find(struct shares *shares, uint64_t *ret_hash) {
    ASSERT(!shares->key.failed); /* it came in a batch */
    uint64_t hash = hash_bytes(1, shares->key.data, shares->key.count);
    struct share **at = &shares->buckets[hash & (shares->bucket_count - 1)];
    while (*at != NULL && ((*at)->hash != hash || (*at)->key_size != shares->key.count ||
                           memcmp((*at)->key, shares->key.data, shares->key.count) != 0)) {
        at = &(*at)->next;
    }
    *ret_hash = hash;
    return at;
}

/* NULL: there is none yet; one that put makes. */
static const void *take(struct shares *shares) {
    uint64_t hash;
    struct share *share = *find(shares, &hash);
    if (share != NULL) {
        share->references++;
    }
    return share != NULL ? share->part : NULL;
}

static const void *put(struct shares *shares, void *part) {
    uint64_t hash;
    if (shares->count == shares->bucket_count) {
        grow(shares);
    }
    struct share **at = find(shares, &hash);
    struct share *share = mem_alloc(sizeof *share + shares->key.count);
    *share = (struct share){
        .hash = hash, .references = 1, .key_size = (uint32_t)shares->key.count, .part = part};
    memcpy(share->key, shares->key.data, shares->key.count);
    *at = share;
    shares->bytes += bytes_of(share);
    shares->count++;
    return part;
}

static void release(struct shares *shares) {
    uint64_t hash;
    struct share **at = find(shares, &hash);
    ASSERT(*at != NULL);
    if (--(*at)->references == 0) {
        end_share(shares, at);
    }
}

/* ---- rows ---- */

static const char *hold_name(struct shares *shares, const char *name) {
    name_key(shares, name);
    const char *shared = take(shares);
    return shared != NULL ? shared : put(shares, mem_strdup(name));
}

void shares_hold_service(struct shares *shares, struct catalog_service *row) {
    service_key(shares, row);
    const struct catalog_service *shared = take(shares);
    shared = shared != NULL ? shared : put(shares, row_copy_service_shared(row));
    row->name = shared->name;
    row->socket_path = shared->socket_path;
    row->kind = shared->kind;
    row->region = shared->region;
    row->zone = shared->zone;
    row->proxy = shared->proxy;
    row->connect = shared->connect;
    row->tags = shared->tags;
    row->meta = shared->meta;
    row->node = hold_name(shares, row->node);
}

void shares_hold_check(struct shares *shares, struct catalog_check *row) {
    check_key(shares, row);
    const struct catalog_check *shared = take(shares);
    shared = shared != NULL ? shared : put(shares, row_copy_check_shared(row));
    row->name = shared->name;
    row->notes = shared->notes;
    row->service_name = shared->service_name;
    row->type = shared->type;
    row->interval = shared->interval;
    row->timeout = shared->timeout;
    row->service_tags = shared->service_tags;
    row->node = hold_name(shares, row->node);
}

void shares_release_service(struct shares *shares, const struct catalog_service *row) {
    name_key(shares, row->node);
    release(shares);
    service_key(shares, row);
    release(shares);
}

void shares_release_check(struct shares *shares, const struct catalog_check *row) {
    name_key(shares, row->node);
    release(shares);
    check_key(shares, row);
    release(shares);
}

size_t shares_bytes(const struct shares *shares) {
    return shares->bytes;
}
