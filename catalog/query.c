/* Prepared queries in the catalog (contract, kv 4): rows, names, and the sessions they end with. */
#include <string.h>

#include "base/uuid.h"
#include "catalog/internal.h"
#include "catalog/row.h"

/* ---- keys ---- */

/* Without a NUL at its end, so that a template's key is a prefix of the names that it stands for.
 * False: no name is so long. */
static bool name_key(struct key *key, const char *name) {
    key_init(key, name);
    bool fits = strlen(name) <= LIMIT_NAME_BYTES;
    key->size = fits ? strlen(name) : 0;
    return fits;
}

static bool is_template(const struct catalog_query *query) {
    return *query->template_type != '\0';
}

static bool has_name(const struct catalog_query *query) {
    return *query->name != '\0' || is_template(query);
}

/* ---- reading ---- */

uint64_t view_index_queries(const struct catalog_view *view) {
    return view->indexes.queries > 0 ? view->indexes.queries : 1;
}

const struct catalog_query *view_get_query(const struct catalog_view *view, const char *id) {
    struct key key;
    key_init(&key, id);
    return tree_get(&view->queries, key.bytes, key.size);
}

static void keep_template(void *value, void *context) {
    const struct catalog_query **longest = context;
    const struct catalog_query *query = value;
    *longest = is_template(query) ? query : *longest;
}

const struct catalog_query *view_find_query(const struct catalog_view *view, const char *name) {
    struct key key;
    if (!name_key(&key, name)) {
        return NULL;
    }
    const struct catalog_query *found = tree_get(&view->query_names, key.bytes, key.size);
    if (found == NULL) {
        tree_walk_path(&view->query_names, key.bytes, key.size, keep_template, &found);
    }
    return found;
}

struct visitor {
    view_visit_query visit;
    void *context;
};

static bool visit_query(void *value, void *context) {
    struct visitor *visitor = context;
    return visitor->visit(value, visitor->context);
}

void view_walk_queries(const struct catalog_view *view, view_visit_query visit, void *context) {
    struct visitor visitor = {visit, context};
    tree_walk(&view->queries, NULL, 0, visit_query, &visitor);
}

/* ---- rows ---- */

static void touch(struct catalog *catalog, const struct catalog_query *query) {
    catalog->next.indexes.queries = catalog_now(catalog);
    catalog->touched++;
    if (catalog->watches != NULL) {
        watches_mark(catalog->watches, WATCH_QUERIES, "");
        watches_mark(catalog->watches, WATCH_QUERY, query->id);
    }
}

void catalog_set_query_row(struct catalog *catalog, struct catalog_query *row) {
    struct key key;
    key_init(&key, row->id);
    tree_set(&catalog->next.queries, &catalog->batch, key.bytes, key.size, row);
    if (has_name(row)) {
        name_key(&key, row->name);
        tree_set(&catalog->next.query_names, &catalog->batch, key.bytes, key.size, row);
    }
    if (*row->session != '\0') {
        key_init(&key, row->session);
        key_add(&key, row->id);
        tree_set(&catalog->next.session_queries, &catalog->batch, key.bytes, key.size, row);
    }
    catalog->next.indexes.row_hash += row_hash_query(row);
}

static void remove_row(struct catalog *catalog, const struct catalog_query *row) {
    struct key key;
    key_init(&key, row->id);
    tree_remove(&catalog->next.queries, &catalog->batch, key.bytes, key.size);
    if (has_name(row)) {
        name_key(&key, row->name);
        tree_remove(&catalog->next.query_names, &catalog->batch, key.bytes, key.size);
    }
    if (*row->session != '\0') {
        key_init(&key, row->session);
        key_add(&key, row->id);
        tree_remove(&catalog->next.session_queries, &catalog->batch, key.bytes, key.size);
    }
    catalog->next.indexes.row_hash -= row_hash_query(row);
    touch(catalog, row);
    catalog_retire(catalog, row);
}

void catalog_end_session_queries(struct catalog *catalog, const char *session) {
    struct key key;
    key_init(&key, session);
    while (tree_sum(&catalog->next.session_queries, key.bytes, key.size).count > 0) {
        remove_row(catalog, tree_seek(&catalog->next.session_queries, key.bytes, key.size));
    }
}

/* ---- commands ---- */

enum err catalog_judge_query(const struct catalog *catalog, const struct catalog_query *query,
                             struct err_text *text) {
    const struct catalog_view *view = &catalog->next;
    struct uuid uuid;
    struct key key;
    if (!name_key(&key, query->name) || !uuid_parse(query->id, &uuid)) {
        return err_set(text, ERR_REFUSED,
                       "raft apply failed: the query's id is no UUID, or its name is longer than "
                       "%d bytes",
                       LIMIT_NAME_BYTES);
    }
    const struct catalog_query *named =
        has_name(query) ? tree_get(&view->query_names, key.bytes, key.size) : NULL;
    if (named != NULL && !str_equal_fold(named->id, query->id)) {
        return *query->name == '\0'
                   ? err_set(text, ERR_REFUSED,
                             "raft apply failed: a query template with an empty name already "
                             "exists")
                   : err_set(text, ERR_REFUSED,
                             "raft apply failed: name '%.300s' aliases an existing query name",
                             query->name);
    }
    if (uuid_parse(query->name, &uuid) && view_get_query(view, query->name) != NULL) {
        return err_set(text, ERR_REFUSED,
                       "raft apply failed: name '%.300s' aliases an existing query ID",
                       query->name);
    }
    if (*query->session != '\0' && view_get_session(view, query->session) == NULL) {
        return err_set(text, ERR_REFUSED, "raft apply failed: invalid session \"%.128s\"",
                       query->session);
    }
    return ERR_OK;
}

enum err catalog_apply_query(struct catalog *catalog, const struct catalog_set_query *set,
                             struct err_text *text) {
    struct catalog_query input = set->query;
    const struct catalog_query *old = view_get_query(&catalog->next, input.id);
    if (set->verb != QUERY_CREATE && old == NULL) {
        return err_set(text, ERR_REFUSED, "Cannot modify non-existent prepared query: '%.128s'",
                       input.id);
    }
    if (set->verb == QUERY_DELETE) {
        remove_row(catalog, old);
        return ERR_OK;
    }
    if (set->verb == QUERY_CREATE && old != NULL) {
        return err_set(text, ERR_REFUSED, "raft apply failed: the query's id is taken");
    }
    enum err err = catalog_judge_query(catalog, &input, text);
    if (err != ERR_OK) {
        return err;
    }
    char id[UUID_TEXT_BYTES];
    str_lower(id, sizeof id, input.id);
    input.id = id;
    input.create_index = old != NULL ? old->create_index : catalog_now(catalog);
    input.modify_index = catalog_now(catalog);
    struct catalog_query *row = row_copy_query(&input);
    catalog_made(catalog, row);
    if (old != NULL) {
        remove_row(catalog, old);
    }
    catalog_set_query_row(catalog, row);
    touch(catalog, row);
    return ERR_OK;
}
