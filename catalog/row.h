/* Rows as single blocks: deep copies, comparison for no-op suppression, and the row hash. */
#ifndef CATALOG_ROW_H
#define CATALOG_ROW_H

#include "catalog/types.h"

/* A deep copy in one block from malloc. */
struct catalog_node *row_copy_node(const struct catalog_node *node);
struct catalog_service *row_copy_service(const struct catalog_service *service);
struct catalog_check *row_copy_check(const struct catalog_check *check);

/* Equal in what a write may change (contract, no-op suppression): not the indexes, and of a check
 * not type, interval and timeout. */
bool row_equal_node(const struct catalog_node *a, const struct catalog_node *b);
bool row_equal_service(const struct catalog_service *a, const struct catalog_service *b);
bool row_equal_check(const struct catalog_check *a, const struct catalog_check *b);

/* Of all fields with the indexes, the same on every server that holds the row. */
uint64_t row_hash_node(const struct catalog_node *node);
uint64_t row_hash_service(const struct catalog_service *service);
uint64_t row_hash_check(const struct catalog_check *check);

#endif
