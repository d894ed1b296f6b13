/* Sessions (contract, kv 2): made, ended, and ended by what happens to their nodes and checks. TTLs
 * are the leader's business: to the catalog an end by TTL is a command like any other. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "base/mutant.h"
#include "base/uuid.h"
#include "catalog/internal.h"
#include "catalog/row.h"

/* ---- events ---- */

void catalog_record_events(struct catalog *catalog) {
    catalog->record_events = true;
}

void catalog_add_event(struct catalog *catalog, enum catalog_event_kind kind, const char *name,
                       uint64_t index, int64_t ms) {
    if (!catalog->record_events) {
        return;
    }
    if (catalog->event_count == catalog->event_capacity) {
        catalog->event_capacity = catalog->event_capacity == 0 ? 64 : 2 * catalog->event_capacity;
        catalog->events =
            mem_realloc(catalog->events, catalog->event_capacity * sizeof *catalog->events);
    }
    catalog->events[catalog->event_count++] =
        (struct catalog_event){kind, mem_strdup(name), index, ms};
}

void catalog_cut_events(struct catalog *catalog, size_t count) {
    while (catalog->event_count > count) {
        free(catalog->events[--catalog->event_count].name);
    }
}

void catalog_take_events(struct catalog *catalog,
                         void (*take)(const struct catalog_event *event, void *context),
                         void *context) {
    for (size_t i = 0; i < catalog->event_count; i++) {
        take(&catalog->events[i], context);
    }
    catalog_cut_events(catalog, 0);
}

/* ---- rows ---- */

static void touch(struct catalog *catalog, const struct catalog_session *session) {
    catalog->next.indexes.sessions = catalog_now(catalog);
    if (catalog->watches != NULL) {
        watches_mark(catalog->watches, WATCH_SESSIONS, "");
        watches_mark(catalog->watches, WATCH_SESSION, session->id);
        watches_mark(catalog->watches, WATCH_NODE_SESSIONS, session->node);
    }
}

static void check_key(struct key *key, const struct catalog_session *session, const char *check) {
    key_init(key, session->node);
    key_add(key, check);
    key_add(key, session->id);
}

/* A check may be listed twice, which makes one link. */
static void link_checks(struct catalog *catalog, struct catalog_session *session, bool on) {
    const struct str_list *lists[] = {&session->checks, &session->node_checks,
                                      &session->service_checks};
    struct tree *tree = &catalog->next.session_checks;
    for (size_t list = 0; list < sizeof lists / sizeof lists[0]; list++) {
        for (uint32_t i = 0; i < lists[list]->count; i++) {
            struct key key;
            check_key(&key, session, lists[list]->v[i]);
            if (on) {
                tree_set(tree, &catalog->batch, key.bytes, key.size, session);
            } else {
                tree_remove(tree, &catalog->batch, key.bytes, key.size);
            }
        }
    }
}

void catalog_set_session_row(struct catalog *catalog, struct catalog_session *row) {
    struct key key;
    key_init(&key, row->id);
    tree_set(&catalog->next.sessions, &catalog->batch, key.bytes, key.size, row);
    key_init(&key, row->node);
    key_add(&key, row->id);
    tree_set(&catalog->next.node_sessions, &catalog->batch, key.bytes, key.size, row);
    link_checks(catalog, row, true);
    catalog->next.indexes.row_hash += row_hash_session(row);
}

static void end_session(struct catalog *catalog, struct catalog_session *row) {
    struct key key;
    key_init(&key, row->id);
    tree_remove(&catalog->next.sessions, &catalog->batch, key.bytes, key.size);
    key_init(&key, row->node);
    key_add(&key, row->id);
    tree_remove(&catalog->next.node_sessions, &catalog->batch, key.bytes, key.size);
    link_checks(catalog, row, false);
    catalog->next.indexes.row_hash -= row_hash_session(row);
    touch(catalog, row);
    if (!MUTANT(keys_kept_at_end)) {
        catalog_release_keys(catalog, row);
    }
    catalog_end_session_queries(catalog, row->id);
    catalog_add_event(catalog, CATALOG_SESSION_ENDED, row->id, 0, 0);
    catalog_note_session(catalog, row, false);
    catalog_retire(catalog, row);
}

/* ---- commands ---- */

static enum err judge_checks(const struct catalog *catalog, const struct catalog_session *session,
                             const struct str_list *checks, struct err_text *text) {
    for (uint32_t i = 0; i < checks->count; i++) {
        const char *id = checks->v[i];
        const struct catalog_check *check = view_get_check(&catalog->next, session->node, id);
        if (check == NULL) {
            return err_set(text, ERR_REFUSED, "apply failed: Missing check '%.128s' registration",
                           id);
        }
        if (catalog_health_of(check->status) == HEALTH_CRITICAL &&
            strcmp(check->type, "session") != 0) {
            return err_set(text, ERR_REFUSED, "apply failed: Check '%.128s' is in critical state",
                           id);
        }
    }
    return ERR_OK;
}

enum err catalog_apply_session(struct catalog *catalog, const struct catalog_session *session,
                               struct err_text *text) {
    struct uuid uuid;
    const struct catalog_node *node = view_get_node(&catalog->next, session->node);
    if (node == NULL) {
        return err_set(text, ERR_REFUSED, "apply failed: Missing node registration");
    }
    if (!uuid_parse(session->id, &uuid)) {
        return err_set(text, ERR_REFUSED, "apply failed: the session's id is no UUID");
    }
    if (view_get_session(&catalog->next, session->id) != NULL) {
        return ERR_OK; /* the same command once more: nobody else makes this id */
    }
    enum err err = judge_checks(catalog, session, &session->checks, text);
    err = err == ERR_OK ? judge_checks(catalog, session, &session->node_checks, text) : err;
    err = err == ERR_OK ? judge_checks(catalog, session, &session->service_checks, text) : err;
    if (err != ERR_OK) {
        return err;
    }
    struct catalog_session input = *session;
    input.node = node->name;
    input.create_index = input.modify_index = catalog_now(catalog);
    struct catalog_session *row = row_copy_session(&input);
    catalog_made(catalog, row);
    catalog_set_session_row(catalog, row);
    touch(catalog, row);
    catalog_add_event(catalog, CATALOG_SESSION_MADE, row->id, 0, (row->ttl_ns + 999999) / 1000000);
    catalog_note_session(catalog, row, true);
    return ERR_OK;
}

void catalog_apply_session_end(struct catalog *catalog, const char *id) {
    struct key key;
    key_init(&key, id);
    struct catalog_session *row = tree_get(&catalog->next.sessions, key.bytes, key.size);
    if (row != NULL) {
        end_session(catalog, row);
    }
}

/* One after the other, because each end changes the tree. */
static void end_below(struct catalog *catalog, const struct tree *tree, const struct key *key) {
    struct catalog_session *row;
    while (tree_sum(tree, key->bytes, key->size).count > 0) {
        row = tree_seek(tree, key->bytes, key->size);
        end_session(catalog, row);
    }
}

void catalog_end_node_sessions(struct catalog *catalog, const char *node) {
    struct key key;
    key_init(&key, node);
    end_below(catalog, &catalog->next.node_sessions, &key);
}

void catalog_end_check_sessions(struct catalog *catalog, const char *node, const char *check_id) {
    struct key key;
    key_init(&key, node);
    key_add(&key, check_id);
    end_below(catalog, &catalog->next.session_checks, &key);
}
