/* ?filter=: boolean expressions over the fields of rows (go-bexpr 0.1; contract http-core 6), as
 * in `Service.Meta.version == "1.2.3" and "v1" in Service.Tags`. Compiled once, then judged against
 * row after row. */
#ifndef CATALOG_FILTER_H
#define CATALOG_FILTER_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/err.h"
#include "catalog/types.h"

/* The kinds of rows, each with its selectors (contract 6.4), and the struct that a row is. */
enum filter_rows {
    FILTER_NOTHING,       /* no row can be filtered */
    FILTER_NODES,         /* struct catalog_node */
    FILTER_SERVICE_NODES, /* struct catalog_instance: fields of catalog/service */
    FILTER_SERVICES,      /* struct catalog_service */
    FILTER_CHECKS,        /* struct catalog_check */
    FILTER_INSTANCES,     /* struct catalog_instance: Node, Service, Checks */
    FILTER_MEMBERS,       /* struct filter_member */
};

/* A member of a pool, as agent/members shows it (contract http-core 10.4). */
struct filter_member {
    const char *name;
    const char *address; /* an IP address */
    uint32_t port;
    struct str_map tags;
    uint32_t status; /* 1 alive, 2 leaving, 3 left, 4 failed */
    uint32_t protocol_min, protocol_max, protocol_current;
    uint32_t delegate_min, delegate_max, delegate_current;
};

struct filter;

/* The filter lives in the arena; so does what is kept of text and datacenter, and memory that
 * matching patterns takes. ERR_REFUSED and the contract's sentence: text is no expression, or not
 * one over these rows. Bounds: LIMIT_FILTER_*. */
enum err filter_compile(enum filter_rows rows, const char *text, const char *datacenter,
                        struct arena *arena, struct filter **ret_filter, struct err_text *ret_text);

/* Whether the row stays. row is of the struct that belongs to the filter's kind; NULL for filter
 * lets everything stay. Takes no heap, but for patterns what they need of the arena. Not for two
 * threads at once. */
bool filter_keeps(struct filter *filter, const void *row);

/* ERR_REFUSED and a sentence when the rows took more work than they may: what was kept is no answer
 * then. NULL: ERR_OK. */
enum err filter_judge(const struct filter *filter, struct err_text *ret_text);

#endif
