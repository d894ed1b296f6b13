/* Reading a published version of the catalog. Every function is for any thread inside an epoch
 * section; rows live as long as the section. Names are matched without regard to case (ASCII).
 * Lists come in the contract's order (http-core 7.7). */
#ifndef CATALOG_VIEW_H
#define CATALOG_VIEW_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "catalog/types.h"

struct catalog_view;

/* Index of the last applied entry, and the order-independent hash over all rows. */
uint64_t view_applied(const struct catalog_view *view);
uint64_t view_row_hash(const struct catalog_view *view);
/* Counts versions: 1 more for each publish. */
uint64_t view_version(const struct catalog_view *view);

/* The contract's indexes (7.6); never 0. */
uint64_t view_index_nodes(const struct catalog_view *view);
uint64_t view_index_services(const struct catalog_view *view);
uint64_t view_index_checks(const struct catalog_view *view);
/* Of one service; without instances the last extinction, else the newest of the tables. */
uint64_t view_index_service(const struct catalog_view *view, const char *service);
uint64_t view_index_node(const struct catalog_view *view, const char *node);

/* modify_index 0: it was never set. */
const struct catalog_autopilot *view_get_autopilot(const struct catalog_view *view);
/* NULL when there is none. */
const struct catalog_node *view_get_node(const struct catalog_view *view, const char *name);
const struct catalog_node *view_get_node_by_id(const struct catalog_view *view, const char *id);
/* By a prefix of its id, 2 characters or more; NULL when none or several match. */
const struct catalog_node *view_find_node_by_id_prefix(const struct catalog_view *view,
                                                       const char *prefix);
const struct catalog_service *view_get_service(const struct catalog_view *view, const char *node,
                                               const char *id);
const struct catalog_check *view_get_check(const struct catalog_view *view, const char *node,
                                           const char *id);

/* Of a row of the view; NULL: it has none, as one of a mirror whose node has not come yet. */
const struct catalog_instance *view_get_instance(const struct catalog_view *view,
                                                 const struct catalog_service *service);

bool view_has_instances(const struct catalog_view *view, const char *service);
/* A mirror's: some rows are not as its source told them (mirror_correct_end). */
bool view_is_corrected(const struct catalog_view *view);

/* Walks end early when visit returns false. */
typedef bool (*view_visit_node)(const struct catalog_node *node, void *context);
typedef bool (*view_visit_service)(const struct catalog_service *service, void *context);
typedef bool (*view_visit_check)(const struct catalog_check *check, void *context);
typedef bool (*view_visit_instance)(const struct catalog_instance *instance, void *context);

void view_walk_nodes(const struct catalog_view *view, view_visit_node visit, void *context);
/* Instances of one service, by node name, then id. */
void view_walk_instances(const struct catalog_view *view, const char *service,
                         view_visit_instance visit, void *context);
/* All instances, by service name, node name, id. */
void view_walk_all_instances(const struct catalog_view *view, view_visit_instance visit,
                             void *context);
/* By address (4 or 16 bytes): nodes by name, and instances whose own address it is by service name,
 * node name, id. Tagged addresses do not count. */
void view_walk_nodes_at(const struct catalog_view *view, const uint8_t *ip, size_t bytes,
                        view_visit_node visit, void *context);
void view_walk_services_at(const struct catalog_view *view, const uint8_t *ip, size_t bytes,
                           view_visit_service visit, void *context);
/* Services of one node, by id. */
void view_walk_node_services(const struct catalog_view *view, const char *node,
                             view_visit_service visit, void *context);
/* Checks of one node, the node's own and its services', by id. */
void view_walk_node_checks(const struct catalog_view *view, const char *node,
                           view_visit_check visit, void *context);
/* All checks, by node name, then id. */
void view_walk_all_checks(const struct catalog_view *view, view_visit_check visit, void *context);

/* ---- keys: exact, in order of their bytes ---- */

const struct catalog_kv *view_get_kv(const struct catalog_view *view, const char *key);
size_t view_count_kvs(const struct catalog_view *view);
/* The contract's indexes (kv 1.3); never 0. That of a prefix never goes back, not even when the
 * tombstones below it are reaped. */
uint64_t view_index_kv(const struct catalog_view *view, const char *key);
uint64_t view_index_prefix(const struct catalog_view *view, const char *prefix);

typedef bool (*view_visit_kv)(const struct catalog_kv *kv, void *context);
void view_walk_kvs(const struct catalog_view *view, const char *prefix, view_visit_kv visit,
                   void *context);
/* Keys with the prefix, cut behind the first separator after it, each such cut once; separator "" =
 * whole keys. Takes one descent for each that is visited, however many keys share the cut. */
typedef bool (*view_visit_key)(const char *key, size_t size, void *context);
void view_walk_keys(const struct catalog_view *view, const char *prefix, const char *separator,
                    view_visit_key visit, void *context);

/* Tombstones, the oldest first: how many there are, and the index up to which at least count of
 * them go, none younger than most; 0: there is none. */
size_t view_count_tombstones(const struct catalog_view *view);
uint64_t view_index_tombstones(const struct catalog_view *view);
uint64_t view_find_tombstones(const struct catalog_view *view, size_t count, uint64_t most);

typedef bool (*view_visit_lock_delay)(const struct catalog_lock_delay *delay, void *context);
void view_walk_lock_delays(const struct catalog_view *view, view_visit_lock_delay visit,
                           void *context);

/* ---- members that were removed: by id ---- */

/* Moves with every change of them; 0: there never were any. */
uint64_t view_index_removals(const struct catalog_view *view);
const struct catalog_removal *view_get_removal(const struct catalog_view *view, const char *id);
typedef bool (*view_visit_removal)(const struct catalog_removal *removal, void *context);
void view_walk_removals(const struct catalog_view *view, view_visit_removal visit, void *context);

/* ---- sessions: by id ---- */

uint64_t view_index_sessions(const struct catalog_view *view);
const struct catalog_session *view_get_session(const struct catalog_view *view, const char *id);
typedef bool (*view_visit_session)(const struct catalog_session *session, void *context);
void view_walk_sessions(const struct catalog_view *view, view_visit_session visit, void *context);
void view_walk_node_sessions(const struct catalog_view *view, const char *node,
                             view_visit_session visit, void *context);

/* ---- coordinates: by node, then segment ---- */

uint64_t view_index_coordinates(const struct catalog_view *view);
/* In the segment "". NULL: the node has told none. To sort by it: catalog/distance.h. */
const struct coordinate *view_get_coordinate(const struct catalog_view *view, const char *node);
typedef bool (*view_visit_coordinate)(const struct catalog_coordinate *coordinate, void *context);
/* Those of one node; NULL = of all. */
void view_walk_coordinates(const struct catalog_view *view, const char *node,
                           view_visit_coordinate visit, void *context);
/* ---- prepared queries: by id ---- */

uint64_t view_index_queries(const struct catalog_view *view);
const struct catalog_query *view_get_query(const struct catalog_view *view, const char *id);
/* What a lookup by name means: the query of that name, else the template with the longest name that
 * it begins with. NULL: there is none. */
const struct catalog_query *view_find_query(const struct catalog_view *view, const char *name);
typedef bool (*view_visit_query)(const struct catalog_query *query, void *context);
void view_walk_queries(const struct catalog_view *view, view_visit_query visit, void *context);

/* ---- failover policies: by service; what they come to: catalog/failover.h ---- */

uint64_t view_index_failovers(const struct catalog_view *view);
const struct catalog_failover *view_get_failover(const struct catalog_view *view,
                                                 const char *service);
typedef bool (*view_visit_failover)(const struct catalog_failover *policy, void *context);
void view_walk_failovers(const struct catalog_view *view, view_visit_failover visit, void *context);

/* ---- transactions ---- */

struct catalog_transaction;
struct catalog_result;

/* One that only reads (see transaction_is_read). Answers and failures go into the result. */
void view_run_transaction(const struct catalog_view *view, const struct catalog_transaction *txn,
                          struct catalog_result *result);
bool transaction_is_read(const struct catalog_transaction *txn);

#endif
