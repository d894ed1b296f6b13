/* ?near=: rows are gathered, sorted by distance (contract 4.6), then written. */
#ifndef HTTP_NEAR_H
#define HTTP_NEAR_H

#include "catalog/distance.h"
#include "http/request.h"

struct http_near {
    const struct catalog_view *view;
    struct arena *arena;
    const struct coordinate *from; /* NULL: no order is asked for, or none is known */
    struct distance_row *rows;
    size_t count, capacity;
};

/* The node that the request names; NULL: none. _agent is the one that the client
 * asked. */
const char *http_near_node(const struct http_request *req);
void http_near_begin(struct http_near *near, const struct http_request *req,
                     const struct catalog_view *view);
/* True: the row is written later, by http_near_end. */
bool http_near_take(struct http_near *near, const char *node, const void *row);
void http_near_end(struct http_near *near, void (*put)(const void *row, void *context),
                   void *context);

#endif
