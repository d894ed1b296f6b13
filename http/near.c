#include "http/near.h"

#include <string.h>

const char *http_near_node(const struct http_request *req) {
    const char *node = str_or_empty(http_request_param(req, "near"));
    if (*node == '\0' || req->backend->facts->coordinates_off) {
        return NULL;
    }
    return strcmp(node, "_agent") == 0 ? req->agent_node : node;
}

void http_near_begin(struct http_near *near, const struct http_request *req,
                     const struct catalog_view *view) {
    const char *node = http_near_node(req);
    *near = (struct http_near){.view = view,
                               .arena = req->arena,
                               .from = node != NULL ? view_get_coordinate(view, node) : NULL};
}

bool http_near_take(struct http_near *near, const char *node, const void *row) {
    if (near->from == NULL) {
        return false;
    }
    if (near->count == near->capacity) {
        size_t capacity = near->capacity == 0 ? 32 : near->capacity * 2;
        struct distance_row *rows = arena_alloc(near->arena, capacity * sizeof *rows);
        if (near->count > 0) {
            memcpy(rows, near->rows, near->count * sizeof *rows);
        }
        near->rows = rows;
        near->capacity = capacity;
    }
    near->rows[near->count++] = (struct distance_row){.node = node, .row = row};
    return true;
}

void http_near_end(struct http_near *near, void (*put)(const void *row, void *context),
                   void *context) {
    distance_sort(near->view, near->from, near->rows, near->count);
    for (size_t i = 0; i < near->count; i++) {
        put(near->rows[i].row, context);
    }
}
