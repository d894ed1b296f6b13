/* Members that operators have removed. The rows tell the pools of all servers which life of a
 * member is over for good (gossip's TOMBSTONE); nothing else hangs on them. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "catalog/internal.h"
#include "catalog/row.h"

static struct catalog_removal *copy_row(const struct catalog_removal *removal) {
    size_t id_size = strlen(removal->id) + 1, name_size = strlen(removal->name) + 1;
    struct catalog_removal *row = mem_alloc(sizeof *row + id_size + name_size);
    char *text = (char *)(row + 1);
    *row = *removal;
    row->id = memcpy(text, removal->id, id_size);
    row->name = memcpy(text + id_size, removal->name, name_size);
    return row;
}

void catalog_set_removal(struct catalog *catalog, const struct catalog_removal *removal) {
    struct catalog_removal *row = copy_row(removal);
    struct key key;
    key_init(&key, row->id);
    catalog_made(catalog, row);
    struct catalog_removal *old =
        tree_set(&catalog->next.removals, &catalog->batch, key.bytes, key.size, row);
    catalog->next.indexes.row_hash += row_hash_removal(row);
    if (old != NULL) {
        catalog->next.indexes.row_hash -= row_hash_removal(old);
        catalog_retire(catalog, old);
    }
    catalog->touched++;
    catalog->next.removals_index = catalog_now(catalog);
}

static uint64_t life_of(const struct catalog_removal *removal) {
    return (uint64_t)removal->boot_epoch << 32 | removal->counter;
}

enum err catalog_apply_removal(struct catalog *catalog, const struct catalog_removal *removal,
                               struct err_text *text) {
    struct uuid id;
    const struct catalog_removal *old = view_get_removal(&catalog->next, removal->id);
    if (!uuid_parse(removal->id, &id) || strlen(removal->name) > LIMIT_NAME_BYTES) {
        return err_set(text, ERR_REFUSED, "not a member's id and name");
    }
    if (old == NULL && catalog->next.removals.count >= LIMIT_REMOVALS) {
        return err_set(text, ERR_REFUSED, "%d members were removed and are not forgotten yet",
                       LIMIT_REMOVALS);
    }
    /* A later life goes further; of the same one, to be pruned. */
    if (old != NULL && (life_of(removal) < life_of(old) ||
                        (life_of(removal) == life_of(old) && (old->prune || !removal->prune)))) {
        return ERR_OK;
    }
    struct catalog_removal row = *removal;
    row.modify_index = catalog_now(catalog);
    row.create_index = old != NULL ? old->create_index : row.modify_index;
    catalog_set_removal(catalog, &row);
    return ERR_OK;
}

void catalog_apply_removal_end(struct catalog *catalog, const struct catalog_removal_end *end) {
    for (uint32_t i = 0; i < end->count; i++) {
        const struct catalog_removal *row = view_get_removal(&catalog->next, end->removals[i].id);
        struct key key;
        if (row == NULL || row->modify_index != end->removals[i].modify_index) {
            continue; /* removed once more meanwhile */
        }
        key_init(&key, row->id);
        tree_remove(&catalog->next.removals, &catalog->batch, key.bytes, key.size);
        catalog->next.indexes.row_hash -= row_hash_removal(row);
        catalog->touched++;
        catalog->next.removals_index = catalog_now(catalog);
        catalog_retire(catalog, row);
    }
}

/* ---- looking ---- */

uint64_t view_index_removals(const struct catalog_view *view) {
    return view->removals_index;
}

const struct catalog_removal *view_get_removal(const struct catalog_view *view, const char *id) {
    struct key key;
    if (strlen(id) >= UUID_TEXT_BYTES) {
        return NULL;
    }
    key_init(&key, id);
    return tree_get(&view->removals, key.bytes, key.size);
}

struct visitor {
    view_visit_removal visit;
    void *context;
};

static bool visit_row(void *value, void *context) {
    const struct visitor *visitor = context;
    return visitor->visit(value, visitor->context);
}

void view_walk_removals(const struct catalog_view *view, view_visit_removal visit, void *context) {
    struct visitor visitor = {visit, context};
    tree_walk(&view->removals, NULL, 0, visit_row, &visitor);
}
