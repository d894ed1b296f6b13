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

#endif
