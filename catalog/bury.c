/* Views that were replaced whole: freed in pieces, because there may be millions of rows. */
#include <stdlib.h>

#include "base/mem.h"
#include "catalog/internal.h"

void catalog_bury(struct catalog *catalog, const struct catalog_view *view) {
    struct catalog_grave **last = &catalog->graves;
    while (*last != NULL) {
        last = &(*last)->next;
    }
    *last = mem_calloc(1, sizeof **last);
    (*last)->view = *view;
}

void catalog_close_graves(struct catalog *catalog) {
    for (struct catalog_grave *grave = catalog->graves; grave != NULL; grave = grave->next) {
        grave->unreadable = true;
    }
}

static void retire_row(void *value, void *context) {
    epoch_retire(context, value);
}

static void leave_row(void *value, void *context) {
    (void)value;
    (void)context;
}

void catalog_sweep_graves(struct catalog *catalog) {
    struct catalog_grave *grave = catalog->graves;
    struct tree *all[CATALOG_TREES];
    if (grave == NULL || !grave->unreadable) {
        return;
    }
    catalog_list_trees(&grave->view, all);
    while (catalog->grave_sweep.count == 0 && grave->at < CATALOG_TREES) {
        tree_sweep_add(&catalog->grave_sweep, all[grave->at++]);
    }
    bool owner = grave->at <= CATALOG_OWNERS; /* the tree before `at` */
    tree_sweep_some(&catalog->grave_sweep, catalog->epoch, LIMIT_SWEEP_NODES / 2,
                    owner ? retire_row : leave_row, catalog->epoch);
    if (catalog->grave_sweep.count == 0 && grave->at == CATALOG_TREES) {
        catalog->graves = grave->next;
        free(grave);
    }
}
