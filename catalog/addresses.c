/* From addresses to the rows that have them, for reverse lookups. */
#include "catalog/internal.h"

static bool node_address_key(struct key *key, const struct catalog_node *row) {
    bool found = key_init_address(key, row->address);
    if (found) {
        key_add(key, row->name);
    }
    return found;
}

static bool service_address_key(struct key *key, const struct catalog_service *row) {
    bool found = key_init_address(key, row->address);
    if (found) {
        key_add(key, row->name);
        key_add(key, row->node);
        key_add(key, row->id);
    }
    return found;
}

void catalog_add_node_address(struct catalog *catalog, const struct catalog_node *row) {
    struct key key;
    if (node_address_key(&key, row)) {
        tree_set(&catalog->next.node_addresses, &catalog->batch, key.bytes, key.size,
                 (void *)(uintptr_t)row);
    }
}

void catalog_add_service_address(struct catalog *catalog, const struct catalog_service *row) {
    struct key key;
    if (service_address_key(&key, row)) {
        tree_set(&catalog->next.service_addresses, &catalog->batch, key.bytes, key.size,
                 (void *)(uintptr_t)row);
    }
}

void catalog_remove_node_address(struct catalog *catalog, const struct catalog_node *row) {
    struct key key;
    if (node_address_key(&key, row)) {
        tree_remove(&catalog->next.node_addresses, &catalog->batch, key.bytes, key.size);
    }
}

void catalog_remove_service_address(struct catalog *catalog, const struct catalog_service *row) {
    struct key key;
    if (service_address_key(&key, row)) {
        tree_remove(&catalog->next.service_addresses, &catalog->batch, key.bytes, key.size);
    }
}
