/* Replaces everything by a snapshot that comes through the log, in commands of a bounded size, so
 * that all servers do it at the same place and none stands still for long. What the commands bring
 * gathers in an image beside the catalog; the last one puts it in place.
 *
 * Rows get the index of the first command and everything else that of the last, so no index that a
 * client has seen goes back: whoever waits is woken, and compares with what was there before find
 * that it has changed. Tombstones are not needed then.
 *
 * What is gathered is in no snapshot. So none is taken until the restore has ended, or, if nobody
 * goes on with it, is dropped: at the same index everywhere. */
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "catalog/internal.h"

#define ENTRIES_APART_MAX 4096 /* between two commands of one restore */

bool catalog_is_restoring(const struct catalog *catalog) {
    return catalog->restoring.image != NULL;
}

void catalog_drop_restore(struct catalog *catalog) {
    catalog_drop_image(catalog->restoring.image);
    catalog->restoring = (struct catalog_restoring){0};
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

static bool tell_ended(const struct catalog_session *session, void *context) {
    catalog_add_event(context, CATALOG_SESSION_ENDED, session->id, 0, 0);
    return true;
}

static bool tell_made(const struct catalog_session *session, void *context) {
    catalog_add_event(context, CATALOG_SESSION_MADE, session->id, 0,
                      (session->ttl_ns + 999999) / 1000000);
    return true;
}

static bool tell_delayed(const struct catalog_lock_delay *delay, void *context) {
    catalog_add_event(context, CATALOG_LOCK_DELAYED, delay->key, delay->index, delay->delay_ms);
    return true;
}

static enum err put_in_place(struct catalog *catalog) {
    struct catalog_image *image = catalog->restoring.image;
    enum err err = catalog_image_finish(image, catalog_now(catalog));
    if (err == ERR_OK) {
        catalog->restoring.image = NULL;
        view_walk_sessions(&catalog->next, tell_ended, catalog);
        catalog_take_image(catalog, image);
        view_walk_sessions(&catalog->next, tell_made, catalog);
        view_walk_lock_delays(&catalog->next, tell_delayed, catalog);
    }
    return err;
}

static void begin(struct catalog *catalog, const char *id) {
    catalog_drop_restore(catalog);
    catalog->restoring = (struct catalog_restoring){.image = catalog_image_create(),
                                                    .begin_index = catalog_now(catalog)};
    strncpy(catalog->restoring.id, id, UUID_TEXT_BYTES - 1);
}

enum err catalog_apply_restore(struct catalog *catalog, const struct catalog_restore *restore,
                               struct err_text *text) {
    struct catalog_restoring *restoring = &catalog->restoring;
    struct uuid uuid;
    if (!uuid_parse(restore->id, &uuid)) {
        return err_set(text, ERR_REFUSED, "the restore's id is no UUID");
    }
    if (restore->phase == RESTORE_BEGIN) {
        begin(catalog, restore->id);
    } else if (restoring->image == NULL || strcmp(restoring->id, restore->id) != 0 ||
               restoring->part != restore->part) {
        return err_set(text, ERR_REFUSED, "the restore was overtaken by another, or took too long");
    }
    restoring->part++;
    restoring->last_index = catalog_now(catalog);
    enum err err = add_records(catalog, &restore->records);
    if (err == ERR_OK && restore->phase == RESTORE_END) {
        err = put_in_place(catalog);
    }
    if (err != ERR_OK) {
        catalog_drop_restore(catalog);
        return err_set(text, ERR_REFUSED, "the snapshot's records cannot be restored: %s",
                       err_name(err));
    }
    return ERR_OK;
}
