/* Replaces everything by a snapshot that comes through the log, in commands of a bounded size, so
 * that all servers do it at the same place and none stands still for long. What the commands bring
 * gathers in an image beside the catalog; the last one puts it in place.
 *
 * Rows get the index of the first command and everything else that of the last, so no index that a
 * client has seen goes back: whoever waits is woken, and compares with what was there before find
 * that it has changed. Tombstones are not needed then.
 *
 * The last command is applied in slices, like any that touches many rows (catalog_go_on).
 *
 * What is gathered is in no snapshot. So none is taken until the restore has ended, or, if nobody
 * goes on with it, is dropped: at the same index everywhere. */
#include <stdio.h>
#include <string.h>

#include "base/arena.h"
#include "catalog/internal.h"

#define ENTRIES_APART_MAX 4096 /* between two commands of one restore */

bool catalog_is_restoring(const struct catalog *catalog) {
    return catalog->restoring.image != NULL;
}

void catalog_drop_restore(struct catalog *catalog) {
    struct catalog_restoring *restoring = &catalog->restoring;
    catalog_bury_image(catalog, restoring->image);
    restoring->image = NULL;
    restoring->ending = ENDING_NOT;
}

void catalog_judge_restore(struct catalog *catalog) {
    const struct catalog_restoring *restoring = &catalog->restoring;
    if (restoring->image != NULL &&
        catalog_now(catalog) - restoring->last_index > ENTRIES_APART_MAX) {
        catalog_drop_restore(catalog);
    }
}

/* ---- records ---- */

static void set_row_indexes(struct codec_record *record, uint64_t at) {
    switch (record->kind) {
    case RECORD_NODE:
        record->node.create_index = record->node.modify_index = at;
        break;
    case RECORD_SERVICE:
        record->service.create_index = record->service.modify_index = at;
        break;
    case RECORD_CHECK:
        record->check.create_index = record->check.modify_index = at;
        break;
    case RECORD_SESSION:
        record->session.create_index = record->session.modify_index = at;
        break;
    case RECORD_KV: {
        struct catalog_kv *kv = (struct catalog_kv *)(uintptr_t)record->kv; /* of the arena */
        kv->create_index = kv->modify_index = at;
        break;
    }
    case RECORD_LOCK_DELAY:
        record->lock_delay.index = at;
        break;
    case RECORD_REMOVAL:
        record->removal.create_index = record->removal.modify_index = at;
        break;
    case RECORD_QUERY:
        record->query.create_index = record->query.modify_index = at;
        break;
    case RECORD_FAILOVER:
        record->failover.create_index = record->failover.modify_index = at;
        break;
    case RECORD_AUTOPILOT:
        record->autopilot.create_index = record->autopilot.modify_index = at;
        break;
    default:
        break;
    }
}

static enum err add_record(struct catalog *catalog, const uint8_t *data, size_t size) {
    struct catalog_restoring *restoring = &catalog->restoring;
    struct arena arena;
    struct codec_record record;
    arena_init(&arena);
    enum err err = codec_decode_record(data, size, &arena, &record);
    if (err == ERR_OK && (record.kind == RECORD_TOMBSTONE || record.kind == RECORD_NODE_INDEX ||
                          record.kind == RECORD_SERVICE_INDEX)) {
        catalog_image_skip(restoring->image);
    } else if (err == ERR_OK) {
        set_row_indexes(&record, restoring->begin_index);
        err = catalog_image_add(restoring->image, &record);
    }
    arena_clear(&arena);
    catalog->touched++;
    return err;
}

static enum err add_records(struct catalog *catalog, const struct catalog_bytes *records) {
    const uint8_t *at = records->data;
    size_t left = records->size;
    enum err err = ERR_OK;
    while (err == ERR_OK && left > 0) {
        size_t size = left < 4 ? left
                               : (size_t)at[0] | (size_t)at[1] << 8 | (size_t)at[2] << 16 |
                                     (size_t)at[3] << 24;
        if (left < 4 || size > left - 4) {
            return ERR_CORRUPT;
        }
        err = add_record(catalog, at + 4, size);
        at += 4 + size;
        left -= 4 + size;
    }
    return err;
}

/* ---- the end ---- */

/* The next row of the step's tree; NULL: there is none left. */
static void *next_row(struct catalog_restoring *restoring, const struct tree *tree) {
    return tree_seek(tree, restoring->at.bytes, restoring->at.size);
}

/* Rows behind this one come next. */
static void pass(struct catalog_restoring *restoring, const char *one, const char *two) {
    key_init(&restoring->at, one);
    if (two != NULL) {
        key_add(&restoring->at, two);
    }
    restoring->at.bytes[restoring->at.size++] = 0;
}

static bool end_node(struct catalog_restoring *restoring, struct catalog *building) {
    const struct catalog_node *node = next_row(restoring, &building->next.nodes);
    if (node != NULL) {
        catalog_set_index(building, &building->next.node_index, node->name,
                          building->next.indexes.applied);
        pass(restoring, node->name, NULL);
    }
    return node != NULL;
}

static bool end_service(struct catalog_restoring *restoring, struct catalog *building) {
    const struct catalog_service *service = next_row(restoring, &building->next.services);
    if (service != NULL) {
        catalog_set_index(building, &building->next.service_index, service->name,
                          building->next.indexes.applied);
        catalog_build_instance(building, service);
        pass(restoring, service->node, service->id);
    }
    return service != NULL;
}

static bool end_session(struct catalog *catalog, const struct tree *sessions, bool made) {
    const struct catalog_session *session = next_row(&catalog->restoring, sessions);
    if (session != NULL) {
        catalog_add_event(catalog, made ? CATALOG_SESSION_MADE : CATALOG_SESSION_ENDED, session->id,
                          0, made ? (session->ttl_ns + 999999) / 1000000 : 0);
        pass(&catalog->restoring, session->id, NULL);
    }
    return session != NULL;
}

static bool end_delay(struct catalog *catalog, const struct tree *delays) {
    struct catalog_restoring *restoring = &catalog->restoring;
    const struct catalog_lock_delay *delay = next_row(restoring, delays);
    if (delay != NULL) {
        catalog_add_event(catalog, CATALOG_LOCK_DELAYED, delay->key, delay->index, delay->delay_ms);
        size_t size = strlen(delay->key); /* keys are not folded */
        memcpy(restoring->at.bytes, delay->key, size);
        restoring->at.bytes[size] = 0;
        restoring->at.size = size + 1;
    }
    return delay != NULL;
}

/* One row of the step, if there is one left. */
static bool end_one(struct catalog *catalog, struct catalog *building) {
    struct catalog_restoring *restoring = &catalog->restoring;
    switch (restoring->ending) {
    case ENDING_NODES:
        return end_node(restoring, building);
    case ENDING_SERVICES:
        return end_service(restoring, building);
    case ENDING_SESSIONS_ENDED:
        return end_session(catalog, &catalog->next.sessions, false);
    case ENDING_SESSIONS_MADE:
        return end_session(catalog, &building->next.sessions, true);
    case ENDING_DELAYS:
        return end_delay(catalog, &building->next.delays);
    case ENDING_SWAP:
    case ENDING_NOT:
        break;
    }
    return false;
}

void catalog_end_restore(struct catalog *catalog, uint64_t end) {
    struct catalog_restoring *restoring = &catalog->restoring;
    while (restoring->ending != ENDING_NOT && catalog->touched < end) {
        struct catalog *building = catalog_image_building(restoring->image);
        uint64_t touched = building->touched;
        if (end_one(catalog, building)) {
            catalog->touched += 1 + building->touched - touched;
        } else if (restoring->ending != ENDING_SWAP) {
            restoring->ending++;
            restoring->at.size = 0;
        } else {
            struct catalog_image *image = restoring->image;
            restoring->image = NULL;
            restoring->ending = ENDING_NOT;
            memcpy(restoring->done_id, restoring->id, sizeof restoring->done_id);
            catalog_put_image(catalog, image);
        }
    }
}

static enum err begin_end(struct catalog *catalog) {
    struct catalog_restoring *restoring = &catalog->restoring;
    if (!catalog_image_has_ended(restoring->image)) {
        return ERR_CORRUPT;
    }
    catalog_image_set_index(restoring->image, catalog_now(catalog));
    restoring->ending = ENDING_NODES;
    restoring->at.size = 0;
    return ERR_OK;
}

static void begin(struct catalog *catalog, const char *id) {
    struct catalog_restoring *restoring = &catalog->restoring;
    catalog_drop_restore(catalog);
    restoring->image = catalog_image_create();
    restoring->begin_index = catalog_now(catalog);
    restoring->part = 0;
    snprintf(restoring->id, sizeof restoring->id, "%s", id);
}

/* Who asked for the last command and got no answer asks again. A server whose catalog has come by a
 * snapshot meanwhile may not know it for a repeat and refuses it: either way nothing changes. */
static bool is_repeat(const struct catalog_restoring *restoring,
                      const struct catalog_restore *restore) {
    return restoring->image != NULL
               ? strcmp(restoring->id, restore->id) == 0 && restore->part + 1 == restoring->part
               : restore->phase == RESTORE_END && strcmp(restoring->done_id, restore->id) == 0;
}

enum err catalog_apply_restore(struct catalog *catalog, const struct catalog_restore *restore,
                               struct err_text *text) {
    struct catalog_restoring *restoring = &catalog->restoring;
    struct uuid uuid;
    if (!uuid_parse(restore->id, &uuid)) {
        return err_set(text, ERR_REFUSED, "the restore's id is no UUID");
    }
    if (is_repeat(restoring, restore)) {
        return ERR_OK;
    }
    if (restore->phase == RESTORE_BEGIN && strcmp(restoring->done_id, restore->id) != 0) {
        begin(catalog, restore->id);
    } else if (restoring->image == NULL || strcmp(restoring->id, restore->id) != 0 ||
               restoring->part != restore->part) {
        return err_set(text, ERR_REFUSED, "the restore was overtaken by another, or took too long");
    }
    restoring->part++;
    restoring->last_index = catalog_now(catalog);
    enum err err = add_records(catalog, &restore->records);
    if (err == ERR_OK && restore->phase == RESTORE_END) {
        err = begin_end(catalog);
    }
    if (err != ERR_OK) {
        catalog_drop_restore(catalog);
        return err_set(text, ERR_REFUSED, "the snapshot's records cannot be restored: %s",
                       err_name(err));
    }
    return ERR_OK;
}
