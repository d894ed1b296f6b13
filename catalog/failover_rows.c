/* Failover policies in the catalog. */
#include <string.h>

#include "catalog/internal.h"
#include "catalog/row.h"

/* ---- reading ---- */

uint64_t view_index_failovers(const struct catalog_view *view) {
    return view->indexes.failovers > 0 ? view->indexes.failovers : 1;
}

const struct catalog_failover *view_get_failover(const struct catalog_view *view,
                                                 const char *service) {
    struct key key;
    key_init(&key, service);
    return tree_get(&view->failovers, key.bytes, key.size);
}

struct visitor {
    view_visit_failover visit;
    void *context;
};

static bool visit_failover(void *value, void *context) {
    struct visitor *visitor = context;
    return visitor->visit(value, visitor->context);
}

void view_walk_failovers(const struct catalog_view *view, view_visit_failover visit,
                         void *context) {
    struct visitor visitor = {visit, context};
    tree_walk(&view->failovers, NULL, 0, visit_failover, &visitor);
}

/* ---- writing ---- */

void catalog_set_failover_row(struct catalog *catalog, struct catalog_failover *row) {
    struct key key;
    key_init(&key, row->service);
    tree_set(&catalog->next.failovers, &catalog->batch, key.bytes, key.size, row);
    catalog->next.indexes.row_hash += row_hash_failover(row);
}

static void remove_row(struct catalog *catalog, const struct catalog_failover *row) {
    struct key key;
    key_init(&key, row->service);
    tree_remove(&catalog->next.failovers, &catalog->batch, key.bytes, key.size);
    catalog->next.indexes.row_hash -= row_hash_failover(row);
    catalog_retire(catalog, row);
}

enum err catalog_apply_failover(struct catalog *catalog, const struct catalog_set_failover *set,
                                struct err_text *text) {
    struct catalog_failover input = set->policy;
    const struct catalog_failover *old = view_get_failover(&catalog->next, input.service);
    if (*input.service == '\0' || strlen(input.service) > LIMIT_NAME_BYTES) {
        return err_set(text, ERR_REFUSED, "a failover policy is of a service, or of '*'");
    }
    if (set->remove && old == NULL) {
        return ERR_OK;
    }
    catalog->next.indexes.failovers = catalog_now(catalog);
    if (catalog->watches != NULL) {
        watches_mark(catalog->watches, WATCH_FAILOVERS, "");
        watches_mark(catalog->watches, WATCH_FAILOVER, input.service);
    }
    input.create_index = old != NULL ? old->create_index : catalog_now(catalog);
    input.modify_index = catalog_now(catalog);
    struct catalog_failover *row = set->remove ? NULL : row_copy_failover(&input);
    if (old != NULL) {
        remove_row(catalog, old);
    }
    if (row != NULL) {
        catalog_made(catalog, row);
        catalog_set_failover_row(catalog, row);
    }
    return ERR_OK;
}
