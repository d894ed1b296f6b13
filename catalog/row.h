/* Rows as single blocks: deep copies, comparison for no-op suppression, and the row hash. */
#ifndef CATALOG_ROW_H
#define CATALOG_ROW_H

#include "catalog/types.h"

/* A deep copy in one block from malloc. */
struct catalog_node *row_copy_node(const struct catalog_node *node);
struct catalog_service *row_copy_service(const struct catalog_service *service);
struct catalog_check *row_copy_check(const struct catalog_check *check);
struct catalog_session *row_copy_session(const struct catalog_session *session);
struct catalog_query *row_copy_query(const struct catalog_query *query);
struct catalog_failover *row_copy_failover(const struct catalog_failover *policy);
struct catalog_kv *row_copy_kv(const struct catalog_kv *kv);

/* The same in two parts: what many rows have alike (catalog/share.h), whose other members count for
 * nothing, and the rest, which borrows node and shared members. */
struct catalog_service *row_copy_service_shared(const struct catalog_service *service);
struct catalog_service *row_copy_service_own(const struct catalog_service *service);
struct catalog_check *row_copy_check_shared(const struct catalog_check *check);
struct catalog_check *row_copy_check_own(const struct catalog_check *check);

/* Size of that block. */
size_t row_bytes_node(const struct catalog_node *node);
size_t row_bytes_service_own(const struct catalog_service *service);
size_t row_bytes_check_own(const struct catalog_check *check);

/* A key is made in place: room for one, filled with sizes and bytes, its numbers 0. */
size_t row_kv_bytes(size_t key_size, size_t session_size, size_t value_size);
void row_fill_kv(struct catalog_kv *kv, const char *key, const char *session, const void *value,
                 size_t value_size);

/* Equal in what a write may change (contract, no-op suppression): not the indexes, and of a check
 * not type, interval and timeout. */
bool row_equal_node(const struct catalog_node *a, const struct catalog_node *b);
bool row_equal_service(const struct catalog_service *a, const struct catalog_service *b);
bool row_equal_check(const struct catalog_check *a, const struct catalog_check *b);

/* Of all fields with the indexes, the same on every server that holds the row. */
uint64_t row_hash_node(const struct catalog_node *node);
uint64_t row_hash_service(const struct catalog_service *service);
uint64_t row_hash_check(const struct catalog_check *check);
uint64_t row_hash_session(const struct catalog_session *session);
uint64_t row_hash_query(const struct catalog_query *query);
uint64_t row_hash_failover(const struct catalog_failover *policy);
uint64_t row_hash_kv(const struct catalog_kv *kv);
/* 0 of one that was never set. */
uint64_t row_hash_autopilot(const struct catalog_autopilot *autopilot);
uint64_t row_hash_removal(const struct catalog_removal *removal);
uint64_t row_hash_lock_delay(const struct catalog_lock_delay *delay);

#endif
