/* Prepared queries (contract, kv 4): their definitions, templates, and what they find. Pure; the
 * rows themselves are in catalog/view.h. Strings and lists live in the caller's arena. */
#ifndef CATALOG_QUERY_H
#define CATALOG_QUERY_H

#include "base/arena.h"
#include "base/err.h"
#include "base/json.h"
#include "base/rand.h"
#include "catalog/failover.h"
#include "catalog/view.h"

/* ---- definitions ---- */

/* Body of POST /v1/query and PUT /v1/query/:id, judged as far as that needs no catalog; the id is
 * that of the body. ERR_INVALID: a decode failure; ERR_REFUSED: a sentence of 4.3. */
enum err query_parse(const char *json, size_t size, struct arena *arena,
                     struct catalog_query *ret_query, struct err_text *text);
void query_write(struct json *json, const struct catalog_query *query);

/* ---- templates (4.4) ---- */

/* Whether the template is one: its type, its pattern, every text in it, rendered for its own name.
 * One without a type is fine. ERR_REFUSED and the sentence. */
enum err query_judge_template(const struct catalog_query *query, struct err_text *text);
/* *ret_query is the query as it is for a lookup of this name; of one without a template a copy that
 * shares everything. ERR_REFUSED and the sentence. */
enum err query_render(const struct catalog_query *query, const char *name, struct arena *arena,
                      struct catalog_query *ret_query, struct err_text *text);

/* ---- lookups ---- */

/* By id, else by name (4.5), and rendered. ERR_NOT_FOUND, or ERR_REFUSED: a template by its id, or
 * one that cannot be rendered. */
enum err query_find(const struct catalog_view *view, const char *id_or_name, struct arena *arena,
                    struct catalog_query *ret_query, struct err_text *text);

struct query_instances {
    const struct catalog_instance **v;
    size_t count;
};

/* The instances that the query means, in random order: steps 1 to 7 of 4.6. */
void query_select(const struct catalog_view *view, const struct catalog_query *query,
                  struct rand *rand, struct arena *arena, struct query_instances *ret_instances);
/* All of 4.6 but the limit: at home, sorted for who asks; else, without a sort, in the first of the
 * query's datacenters that has some. ret_tried counts those. source NULL: at home. Inside an epoch
 * section. */
struct failover_place query_run(const struct failover_source *source,
                                const struct catalog_view *home, const struct catalog_query *query,
                                const char *near, struct rand *rand, struct arena *arena,
                                struct query_instances *ret_instances, uint32_t *ret_tried);
/* The one on this node comes first, if it is among the first ten. */
void query_put_first(struct query_instances *instances, const char *node);
/* Name of the node with this address, "" when there is none. */
const char *query_node_at(const struct catalog_view *view, const uint8_t *ip, size_t bytes);

#endif
