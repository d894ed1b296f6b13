/* The catalog as a stream: 4-byte little-endian length, record, and so on, up to the record `end`.
 * What can be derived (instances, secondary indexes) is not written. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "catalog/codec.h"
#include "catalog/internal.h"
#include "catalog/row.h"

#define RECORD_BYTES_MAX LIMIT_ENTRY_BYTES
#define PIECE_BYTES (64 * 1024)
#define ADVANCE_RECORDS 64

struct writer {
    const struct catalog_view *view;
    enum err (*write)(void *context, const void *data, size_t size);
    void *context;
    struct buf out;
    uint64_t records;
    enum err err;
    const char *last_service; /* whose index is written */
};

static void flush(struct writer *w) {
    if (w->err == ERR_OK && w->out.count > 0) {
        w->err = w->write(w->context, w->out.data, w->out.count);
    }
    buf_reset(&w->out);
}

static bool put_record(struct writer *w, const struct codec_record *record) {
    size_t start = w->out.count;
    buf_append(&w->out, "\0\0\0\0", 4);
    codec_encode_record(record, &w->out);
    if (w->out.failed) {
        w->err = ERR_TOO_LARGE;
        return false;
    }
    uint32_t size = (uint32_t)(w->out.count - start - 4);
    for (int i = 0; i < 4; i++) {
        w->out.data[start + (size_t)i] = (char)(size >> (8 * i));
    }
    w->records++;
    if (w->out.count >= PIECE_BYTES) {
        flush(w);
    }
    return w->err == ERR_OK;
}

static bool put_node(const struct catalog_node *node, void *context) {
    struct writer *w = context;
    struct codec_record record = {.kind = RECORD_NODE, .node = *node};
    struct codec_record index = {
        .kind = RECORD_NODE_INDEX,
        .named = {node->name, catalog_get_index(&w->view->node_index, node->name)}};
    return put_record(w, &record) && put_record(w, &index);
}

static bool put_service(const struct catalog_instance *instance, void *context) {
    struct writer *w = context;
    const char *name = instance->service->name;
    if (w->last_service == NULL || !str_equal_fold(w->last_service, name)) {
        struct codec_record index = {
            .kind = RECORD_SERVICE_INDEX,
            .named = {name, catalog_get_index(&w->view->service_index, name)}};
        w->last_service = name;
        if (!put_record(w, &index)) {
            return false;
        }
    }
    struct codec_record record = {.kind = RECORD_SERVICE, .service = *instance->service};
    return put_record(w, &record);
}

static bool put_check(const struct catalog_check *check, void *context) {
    struct codec_record record = {.kind = RECORD_CHECK, .check = *check};
    return put_record(context, &record);
}

static bool put_kv(const struct catalog_kv *kv, void *context) {
    struct codec_record record = {.kind = RECORD_KV, .kv = kv};
    return put_record(context, &record);
}

static bool put_tombstone(void *value, void *context) {
    const struct tombstone *tombstone = value;
    struct codec_record record = {.kind = RECORD_TOMBSTONE,
                                  .tombstone = {tombstone->key, tombstone->index, tombstone->tree}};
    return put_record(context, &record);
}

static bool put_lock_delay(const struct catalog_lock_delay *delay, void *context) {
    struct codec_record record = {.kind = RECORD_LOCK_DELAY, .lock_delay = *delay};
    return put_record(context, &record);
}

static bool put_removal(const struct catalog_removal *removal, void *context) {
    struct codec_record record = {.kind = RECORD_REMOVAL, .removal = *removal};
    return put_record(context, &record);
}

static bool put_session(const struct catalog_session *session, void *context) {
    struct codec_record record = {.kind = RECORD_SESSION, .session = *session};
    return put_record(context, &record);
}

static bool put_coordinate(const struct catalog_coordinate *coordinate, void *context) {
    struct codec_record record = {.kind = RECORD_COORDINATE, .coordinate = *coordinate};
    return put_record(context, &record);
}

static bool put_query(const struct catalog_query *query, void *context) {
    struct codec_record record = {.kind = RECORD_QUERY, .query = *query};
    return put_record(context, &record);
}

static bool put_failover(const struct catalog_failover *policy, void *context) {
    struct codec_record record = {.kind = RECORD_FAILOVER, .failover = *policy};
    return put_record(context, &record);
}

enum err catalog_snapshot(const struct catalog_view *view,
                          enum err (*write)(void *context, const void *data, size_t size),
                          void *context) {
    struct writer w = {.view = view, .write = write, .context = context};
    buf_init(&w.out, RECORD_BYTES_MAX + PIECE_BYTES + 4);
    struct codec_record indexes = {.kind = RECORD_INDEXES, .indexes = view->indexes};
    indexes.indexes.row_hash = view_row_hash(view);
    put_record(&w, &indexes);
    view_walk_nodes(view, put_node, &w);
    view_walk_all_instances(view, put_service, &w);
    view_walk_all_checks(view, put_check, &w);
    view_walk_sessions(view, put_session, &w);
    view_walk_kvs(view, "", put_kv, &w);
    tree_walk(&view->tombstone_order, NULL, 0, put_tombstone, &w);
    view_walk_lock_delays(view, put_lock_delay, &w);
    view_walk_removals(view, put_removal, &w);
    view_walk_coordinates(view, NULL, put_coordinate, &w);
    view_walk_queries(view, put_query, &w);
    view_walk_failovers(view, put_failover, &w);
    if (view->autopilot.modify_index > 0) {
        struct codec_record autopilot = {.kind = RECORD_AUTOPILOT, .autopilot = view->autopilot};
        put_record(&w, &autopilot);
    }
    struct codec_record end = {.kind = RECORD_END, .end = w.records};
    put_record(&w, &end);
    flush(&w);
    buf_clear(&w.out);
    return w.err;
}

/* ---- restore ---- */

struct catalog_image {
    struct epoch *epoch;      /* of its own: it is built on any thread */
    struct catalog *building; /* rows go into its next view; it is never published */
    struct codec_indexes indexes;
    uint64_t records;
    bool ended;
};

struct reader {
    int64_t (*read)(void *context, void *data, size_t size);
    void *context;
    struct catalog_image *image;
};

static enum err read_exactly(struct reader *r, void *data, size_t size) {
    char *at = data;
    while (size > 0) {
        int64_t n = r->read(r->context, at, size);
        if (n <= 0) {
            return n == 0 ? ERR_CORRUPT : (enum err) - n;
        }
        at += n;
        size -= (size_t)n;
    }
    return ERR_OK;
}

static enum err add_node(struct catalog *c, const struct catalog_node *node) {
    struct key key, id;
    key_init(&key, node->name);
    key_init(&id, node->id);
    if (tree_get(&c->next.nodes, key.bytes, key.size) != NULL ||
        (*node->id != '\0' && tree_get(&c->next.node_ids, id.bytes, id.size) != NULL)) {
        return ERR_CORRUPT;
    }
    struct catalog_node *row = row_copy_node(node);
    tree_set(&c->next.nodes, &c->batch, key.bytes, key.size, row);
    if (*row->id != '\0') {
        tree_set(&c->next.node_ids, &c->batch, id.bytes, id.size, row);
    }
    catalog_add_node_address(c, row);
    c->next.indexes.row_hash += row_hash_node(row);
    return ERR_OK;
}

static enum err add_service(struct catalog *c, const struct catalog_service *service) {
    struct key key;
    key_init(&key, service->node);
    key_add(&key, service->id);
    if (view_get_node(&c->next, service->node) == NULL ||
        tree_get(&c->next.services, key.bytes, key.size) != NULL) {
        return ERR_CORRUPT;
    }
    struct catalog_service *row = row_copy_service(service);
    tree_set(&c->next.services, &c->batch, key.bytes, key.size, row);
    catalog_add_service_address(c, row);
    c->next.indexes.row_hash += row_hash_service(row);
    return ERR_OK;
}

static enum err add_check(struct catalog *c, const struct catalog_check *check) {
    struct key key, bound;
    key_init(&key, check->node);
    key_add(&key, check->id);
    key_init(&bound, check->node);
    key_add(&bound, check->service_id);
    key_add(&bound, check->id);
    if (view_get_node(&c->next, check->node) == NULL ||
        tree_get(&c->next.checks, key.bytes, key.size) != NULL) {
        return ERR_CORRUPT;
    }
    struct catalog_check *row = row_copy_check(check);
    tree_set(&c->next.checks, &c->batch, key.bytes, key.size, row);
    tree_set(&c->next.bound_checks, &c->batch, bound.bytes, bound.size, row);
    c->next.followers += catalog_follows_session(row);
    c->next.indexes.row_hash += row_hash_check(row);
    return ERR_OK;
}

static enum err add_session(struct catalog *c, const struct catalog_session *session) {
    if (view_get_node(&c->next, session->node) == NULL ||
        view_get_session(&c->next, session->id) != NULL) {
        return ERR_CORRUPT;
    }
    catalog_set_session_row(c, row_copy_session(session));
    return ERR_OK;
}

static enum err add_kv(struct catalog *c, const struct catalog_kv *kv) {
    if (view_get_kv(&c->next, catalog_kv_key(kv)) != NULL ||
        (kv->session_size > 0 && view_get_session(&c->next, catalog_kv_session(kv)) == NULL)) {
        return ERR_CORRUPT;
    }
    catalog_set_kv_row(c, row_copy_kv(kv));
    return ERR_OK;
}

static enum err add_tombstone(struct catalog *c, const struct codec_record *record) {
    if (strlen(record->tombstone.key) > LIMIT_KV_KEY_BYTES) {
        return ERR_CORRUPT;
    }
    catalog_add_tombstone(c, record->tombstone.key, record->tombstone.tree,
                          record->tombstone.index);
    return ERR_OK;
}

static enum err add_lock_delay(struct catalog *c, const struct catalog_lock_delay *delay) {
    if (strlen(delay->key) > LIMIT_KV_KEY_BYTES) {
        return ERR_CORRUPT;
    }
    catalog_set_lock_delay(c, delay);
    return ERR_OK;
}

static enum err add_removal(struct catalog *c, const struct catalog_removal *removal) {
    struct uuid id;
    if (!uuid_parse(removal->id, &id) || strlen(removal->name) > LIMIT_NAME_BYTES) {
        return ERR_CORRUPT;
    }
    catalog_set_removal(c, removal);
    return ERR_OK;
}

static enum err add_coordinate(struct catalog *c, const struct catalog_coordinate *coordinate) {
    const struct catalog_node *node = view_get_node(&c->next, coordinate->node);
    if (node == NULL || strlen(coordinate->segment) > LIMIT_NAME_BYTES ||
        !coordinate_is_sane(&coordinate->at)) {
        return ERR_CORRUPT;
    }
    catalog_set_coordinate_row(c, coordinate->node, coordinate);
    return ERR_OK;
}

static enum err add_query(struct catalog *c, const struct catalog_query *query) {
    if (view_get_query(&c->next, query->id) != NULL ||
        catalog_judge_query(c, query, NULL) != ERR_OK) {
        return ERR_CORRUPT;
    }
    catalog_set_query_row(c, row_copy_query(query));
    return ERR_OK;
}

static enum err add_failover(struct catalog *c, const struct catalog_failover *policy) {
    if (strlen(policy->service) > LIMIT_NAME_BYTES ||
        view_get_failover(&c->next, policy->service) != NULL) {
        return ERR_CORRUPT;
    }
    catalog_set_failover_row(c, row_copy_failover(policy));
    return ERR_OK;
}

static enum err add_record(struct catalog_image *image, const struct codec_record *record) {
    struct catalog *c = image->building;
    if ((image->records == 0) != (record->kind == RECORD_INDEXES) || image->ended) {
        return ERR_CORRUPT; /* they come first, and once */
    }
    switch (record->kind) {
    case RECORD_INDEXES:
        image->indexes = record->indexes;
        return ERR_OK;
    case RECORD_NODE:
        return add_node(c, &record->node);
    case RECORD_SERVICE:
        return add_service(c, &record->service);
    case RECORD_CHECK:
        return add_check(c, &record->check);
    case RECORD_SERVICE_INDEX:
    case RECORD_NODE_INDEX:
        if (record->named.index == 0) {
            return ERR_CORRUPT;
        }
        catalog_set_index(
            c, record->kind == RECORD_NODE_INDEX ? &c->next.node_index : &c->next.service_index,
            record->named.name, record->named.index);
        return ERR_OK;
    case RECORD_SESSION:
        return add_session(c, &record->session);
    case RECORD_KV:
        return add_kv(c, record->kv);
    case RECORD_TOMBSTONE:
        return add_tombstone(c, record);
    case RECORD_LOCK_DELAY:
        return add_lock_delay(c, &record->lock_delay);
    case RECORD_AUTOPILOT:
        c->next.autopilot = record->autopilot;
        return ERR_OK;
    case RECORD_REMOVAL:
        return add_removal(c, &record->removal);
    case RECORD_COORDINATE:
        return add_coordinate(c, &record->coordinate);
    case RECORD_QUERY:
        return add_query(c, &record->query);
    case RECORD_FAILOVER:
        return add_failover(c, &record->failover);
    case RECORD_END:
        image->ended = record->end == image->records;
        return image->ended ? ERR_OK : ERR_CORRUPT;
    }
    return ERR_VERSION;
}

enum err catalog_image_add(struct catalog_image *image, const struct codec_record *record) {
    enum err err = add_record(image, record);
    image->records++;
    if (image->records % ADVANCE_RECORDS == 0) {
        epoch_advance(image->epoch); /* frees the nodes that were replaced: nobody reads them */
    }
    return err;
}

void catalog_image_skip(struct catalog_image *image) {
    image->records++;
}

static enum err read_records(struct reader *r) {
    enum err err = ERR_OK;
    char *block = NULL;
    size_t capacity = 0;
    while (err == ERR_OK && !r->image->ended) {
        uint8_t head[4];
        err = read_exactly(r, head, sizeof head);
        size_t size =
            (size_t)head[0] | (size_t)head[1] << 8 | (size_t)head[2] << 16 | (size_t)head[3] << 24;
        if (err != ERR_OK || size > RECORD_BYTES_MAX) {
            err = err != ERR_OK ? err : ERR_CORRUPT;
            break;
        }
        if (size > capacity) {
            capacity = size * 2;
            block = mem_realloc(block, capacity);
        }
        err = read_exactly(r, block, size);
        if (err == ERR_OK) {
            struct arena arena;
            struct codec_record record;
            arena_init(&arena);
            err = codec_decode_record((const uint8_t *)block, size, &arena, &record);
            if (err == ERR_OK) {
                err = catalog_image_add(r->image, &record);
            }
            arena_clear(&arena);
        }
    }
    free(block);
    return err;
}

static bool node_has_index(void *value, void *context) {
    const struct catalog_node *node = value;
    struct catalog *c = context;
    return catalog_get_index(&c->next.node_index, node->name) > 0;
}

/* Without its index a row would be served, and lost with the snapshot after this one. */
static bool build(void *value, void *context) {
    const struct catalog_service *service = value;
    struct catalog *c = context;
    catalog_build_instance(c, service);
    return catalog_get_index(&c->next.service_index, service->name) > 0;
}

static bool derive(struct catalog *building) {
    return tree_walk(&building->next.nodes, NULL, 0, node_has_index, building) &&
           tree_walk(&building->next.services, NULL, 0, build, building);
}

/* Stamps of an image's nodes: no catalog that grew from nothing has come so far, and one that took
 * an image goes on above it. */
#define IMAGE_STAMP (1ull << 62)

void catalog_image_set_index(struct catalog_image *image, uint64_t at) {
    image->indexes = (struct codec_indexes){.applied = at,
                                            .nodes = at,
                                            .services = at,
                                            .checks = at,
                                            .service_extinction = at,
                                            .node_extinction = at,
                                            .keys = at,
                                            .tombstones = at,
                                            .reaped = at,
                                            .sessions = at,
                                            .coordinates = at,
                                            .queries = at,
                                            .failovers = at};
    image->building->next.indexes.applied = at;
}

bool catalog_image_has_ended(const struct catalog_image *image) {
    return image->ended;
}

struct catalog *catalog_image_building(struct catalog_image *image) {
    return image->building;
}

struct catalog_image *catalog_image_create(void) {
    struct catalog_image *image = mem_calloc(1, sizeof *image);
    image->epoch = epoch_create();
    image->building = catalog_create(image->epoch, NULL);
    image->building->batch.stamp = IMAGE_STAMP;
    return image;
}

void catalog_drop_image(struct catalog_image *image) {
    if (image != NULL) {
        catalog_destroy(image->building);
        epoch_destroy(image->epoch);
        free(image);
    }
}

enum err catalog_read_image(int64_t (*read)(void *context, void *data, size_t size), void *context,
                            struct catalog_image **ret_image, struct err_text *text) {
    struct catalog_image *image = catalog_image_create();
    struct reader r = {.read = read, .context = context, .image = image};
    enum err err = read_records(&r);
    if (err == ERR_OK && view_row_hash(&image->building->next) != image->indexes.row_hash) {
        err = ERR_CORRUPT;
    }
    if (err == ERR_OK && !derive(image->building)) {
        err = ERR_CORRUPT;
    }
    if (err != ERR_OK) {
        err_set(text, err, "snapshot: record %llu: %s", (unsigned long long)image->records,
                err_name(err));
        catalog_drop_image(image);
        return err;
    }
    *ret_image = image;
    return ERR_OK;
}

void catalog_bury_image(struct catalog *catalog, struct catalog_image *image) {
    if (image != NULL) {
        catalog_bury(catalog, &image->building->next);
        image->building->next = (struct catalog_view){0};
        catalog_drop_image(image);
    }
}

void catalog_put_image(struct catalog *catalog, struct catalog_image *image) {
    catalog_begin_change(catalog); /* what is retired below waits for the publish */
    catalog_bury(catalog, &catalog->next);
    uint64_t version = catalog->next.version;
    catalog->next = image->building->next;
    image->indexes.row_hash = catalog->next.indexes.row_hash; /* of what no tree sums up */
    catalog->next.indexes = image->indexes;
    catalog->next.removals_index = image->indexes.applied;
    catalog->next.version = version;
    catalog->batch.stamp =
        (catalog->batch.stamp > IMAGE_STAMP ? catalog->batch.stamp : IMAGE_STAMP) + 1;
    image->building->next = (struct catalog_view){0};
    catalog_drop_image(image);
    catalog_changes_reset(catalog);
    if (catalog->watches != NULL) {
        watches_mark_all(catalog->watches);
    }
}

void catalog_take_image(struct catalog *catalog, struct catalog_image *image) {
    catalog_drop_restore(catalog);
    catalog_put_image(catalog, image);
    catalog_publish(catalog);
}

enum err catalog_restore(struct catalog *catalog,
                         int64_t (*read)(void *context, void *data, size_t size), void *context,
                         struct err_text *text) {
    struct catalog_image *image = NULL;
    enum err err = catalog_read_image(read, context, &image, text);
    if (err == ERR_OK) {
        catalog_take_image(catalog, image);
    }
    return err;
}
