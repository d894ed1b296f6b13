/* What autopilot goes by (contract 17.2): one row. */
#include "catalog/internal.h"

void catalog_apply_autopilot(struct catalog *catalog, const struct catalog_set_autopilot *set,
                             struct catalog_result *result) {
    struct catalog_autopilot *row = &catalog->next.autopilot;
    if (set->cas && set->index != row->modify_index) {
        if (result != NULL) {
            result->unchanged = true;
        }
        return;
    }
    uint64_t now = catalog_now(catalog);
    uint64_t create_index = row->create_index > 0 ? row->create_index : now;
    *row = set->autopilot;
    row->create_index = create_index;
    row->modify_index = now;
}
