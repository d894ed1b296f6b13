/* What the files of the catalog share; never included from another folder. */
#ifndef CATALOG_INTERNAL_H
#define CATALOG_INTERNAL_H

#include <stdatomic.h>

#include "base/limits.h"
#include "catalog/catalog.h"
#include "catalog/tree.h"

/* A composed key: folded names, each closed by a NUL, so that no name runs into the next. */
struct key {
    uint8_t bytes[LIMIT_TREE_KEY_BYTES];
    size_t size;
};

/* Names over LIMIT_NAME_BYTES never match anything; they are kept out of the trees by apply. */
void key_init(struct key *key, const char *name);
void key_add(struct key *key, const char *name);
/* Starts with the bytes of an IP address, in whatever form it is written. False: it is none. */
bool key_init_address(struct key *key, const char *address);

/* The working state and each published version of it. Names in keys are folded. */
struct catalog_view {
    struct tree nodes;             /* name -> catalog_node */
    struct tree node_ids;          /* id -> the same catalog_node */
    struct tree services;          /* node, id -> catalog_service */
    struct tree instances;         /* service, node, id -> catalog_instance */
    struct tree checks;            /* node, check id -> catalog_check */
    struct tree bound_checks;      /* node, service id or "", check id -> the same catalog_check */
    struct tree node_addresses;    /* IP address, node -> the same catalog_node */
    struct tree service_addresses; /* IP address, service, node, id -> the same catalog_service */
    struct tree
        service_index;      /* service -> index, as a pointer's bits; only while it has instances */
    struct tree node_index; /* node -> index, likewise; only while the node exists */
    struct codec_indexes indexes;
    uint64_t version;
};

struct catalog_rows {
    const void **v;
    size_t count, capacity;
};

/* What a command has left to do with the rows of a node; present: there is something left. */
struct catalog_rest {
    bool present;
    const struct catalog_node *removed;   /* NULL: instances are built anew */
    struct catalog_rows services, checks; /* from `at` on */
    size_t at;
    bool checks_listed; /* the node's services are gone, now its checks */
};

struct catalog {
    struct epoch *epoch;
    struct watches *watches;
    struct catalog_view next; /* what is being built */
    struct tree_batch batch;
    bool changing;    /* next differs from what is published: the epoch's batch is held */
    uint64_t touched; /* rows, since the start; a command counts for four */
    struct catalog_rest rest;
    _Atomic(struct catalog_view *) published;
};

/* A view's trees, without the rows, freed; the rows too when rows is set. No reader may see them.
 */
void catalog_free_trees(struct catalog_view *view, bool rows);
/* Into and out of the indexes by address, where the row has one. */
void catalog_add_node_address(struct catalog *catalog, const struct catalog_node *row);
void catalog_add_service_address(struct catalog *catalog, const struct catalog_service *row);
/* Makes the instance of a service row anew from the rows of the next view. */
void catalog_build_instance(struct catalog *catalog, const struct catalog_service *service);
void catalog_set_index(struct catalog *catalog, struct tree *tree, const char *name,
                       uint64_t index);
uint64_t catalog_get_index(const struct tree *tree, const char *name);

#endif
