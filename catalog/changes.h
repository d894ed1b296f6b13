/* Which rows of nodes, services and checks have changed lately: names of rows in the order of their
 * changes, of which the oldest are forgotten. What a row is now stands in the view; a name that is
 * noted without need does no harm. So a mirror (catalog/mirror.h) is told of a change in the time
 * that the change took, and one that was away goes on where it stood, at any server of the group:
 * all of them apply the same entries.
 *
 * Everything here is for the catalog's writer. */
#ifndef CATALOG_CHANGES_H
#define CATALOG_CHANGES_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"

struct catalog;

/* A place between two changes. It stays good while what comes after it is not forgotten. */
struct changes_place {
    uint64_t block;
    uint32_t offset;
};

enum change_kind {
    CHANGE_NODE = 1, /* a node's own row */
    CHANGE_SERVICE,  /* an instance's; name: its service's */
    CHANGE_CHECK,    /* a check's; name: its service's, "" of a check of the node */
    CHANGE_HEALTH,   /* of a node: its row or a check of it, so that all of its services show it */
    CHANGE_NAME      /* the index of a service moved by a change of its own */
};

struct change {
    enum change_kind kind;
    uint64_t index;
    const char *node, *id, *name; /* "" = none */
};

/* From now on changes are noted, in about so many bytes. */
void catalog_note_changes(struct catalog *catalog, size_t bytes_max);
/* Rows of a mirror may be as new as this already, though all of them are there only up to the
 * catalog's index: who goes on here from an index below is told of all that has come since. */
void catalog_changes_reach(struct catalog *catalog, uint64_t newest);
/* As new the rows may be. */
uint64_t catalog_changes_newest(const struct catalog *catalog);
/* Behind all changes that are published. */
struct changes_place catalog_changes_end(const struct catalog *catalog);
/* Behind all changes up to this index. False: later ones are forgotten, or none are noted; or the
 * index is not reached yet. */
bool catalog_find_changes(const struct catalog *catalog, uint64_t index,
                          struct changes_place *ret_place);
/* Whether something is published behind the place. */
bool catalog_has_changes(const struct catalog *catalog, const struct changes_place *place);
/* Appends published changes behind the place to out, about `bytes` of them, and moves the place.
 * *index: up to here all was taken before; then, up to here nothing is missing any more. False:
 * they are forgotten. */
bool catalog_take_changes(const struct catalog *catalog, struct changes_place *place, size_t bytes,
                          struct buf *out, uint64_t *index);
/* The next of those that were taken; moves *at. False: the end. Any thread. */
bool change_read(const struct buf *taken, size_t *at, struct change *ret_change);

#endif
