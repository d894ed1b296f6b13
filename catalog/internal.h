/* What the files of the catalog share; never included from another folder. */
#ifndef CATALOG_INTERNAL_H
#define CATALOG_INTERNAL_H

#include <stdatomic.h>

#include "base/limits.h"
#include "base/uuid.h"
#include "catalog/catalog.h"
#include "catalog/changes.h"
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
    /* Keys are as they are, not folded; these trees know newest index and hash of each prefix. */
    struct tree kvs;             /* key -> catalog_kv */
    struct tree tombstones;      /* key -> tombstone, of single keys */
    struct tree tree_tombstones; /* prefix -> tombstone, of prefixes deleted whole */
    struct tree tombstone_order; /* index, kind, key -> the same tombstones */
    struct tree held;            /* session, key -> the catalog_kv that it holds; may name keys that
                                  * went with their prefix and are not swept yet */
    struct tree delays;          /* key -> catalog_lock_delay */
    struct tree sessions;        /* id -> catalog_session */
    struct tree node_sessions;   /* node, id -> the same catalog_session */
    struct tree session_checks;  /* node, check id, session id -> the same catalog_session */
    struct tree removals;        /* id -> catalog_removal */
    struct tree coordinates;     /* node, segment -> catalog_coordinate */
    struct tree queries;         /* id -> catalog_query */
    struct tree query_names;     /* folded name, without a NUL -> the same catalog_query; of those
                                  * without a template only if they have one */
    struct tree failovers;       /* service -> catalog_failover */
    struct tree session_queries; /* session, id -> the same catalog_query */
    struct catalog_autopilot autopilot;
    struct codec_indexes indexes;
    uint64_t removals_index; /* of their last change; derived, not in snapshots */
    bool corrected;          /* a mirror's, by mirror_correct_end; not in snapshots */
    uint64_t version;
    uint64_t followers; /* checks of type session */
};

/* What the last command of a restore has left to do: see catalog_go_on. */
enum catalog_ending {
    ENDING_NOT, /* no last command is under way */
    ENDING_NODES,
    ENDING_SERVICES,
    ENDING_SESSIONS_ENDED,
    ENDING_SESSIONS_MADE,
    ENDING_DELAYS,
    ENDING_SWAP
};

/* A restore under way. Snapshots do not hold it, so none is taken meanwhile. */
struct catalog_restoring {
    struct catalog_image *image; /* NULL: there is none */
    char id[UUID_TEXT_BYTES];
    uint64_t part;        /* that comes next */
    uint64_t begin_index; /* rows get it, because the end's is not known yet */
    uint64_t last_index;  /* of its last command */
    enum catalog_ending ending;
    struct key at;                 /* in the tree of that step: rows from here on are left */
    char done_id[UUID_TEXT_BYTES]; /* of the last one that has ended: late repeats of it */
};

/* What nobody sees any more, to be freed some of it a turn. */
struct catalog_grave {
    struct catalog_grave *next;
    struct catalog_view view;
    unsigned at;     /* the tree that comes next */
    bool unreadable; /* the view in its place is published */
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

/* A session that was made or has ended, until the end of the command. */
struct catalog_noted {
    const struct catalog_session *session; /* a row; if it has left the trees, retired */
    bool in_force;
};

struct catalog {
    struct epoch *epoch;
    struct watches *watches;
    struct catalog_view next; /* what is being built */
    struct tree_batch batch;
    bool changing;    /* next differs from what is published: the epoch's batch is held */
    uint64_t touched; /* rows, since the start; a command counts for four */
    struct catalog_rest rest;
    struct tree_journal *journal; /* while a transaction may be taken back */
    struct tree_sweep sweep;      /* deleted prefixes */
    struct tree *cut;             /* the same of this batch: readers see them until the publish */
    size_t cut_count, cut_capacity;
    void **made; /* rows of the transaction under way */
    size_t made_count, made_capacity;
    struct catalog_event *events;
    size_t event_count, event_capacity;
    bool record_events;
    enum catalog_command_kind last_kind;
    struct catalog_noted *noted;
    size_t noted_count, noted_capacity, noted_at;
    struct catalog_restoring restoring;
    struct changes *changes; /* NULL: they are not noted */
    struct catalog_grave *graves;
    struct tree_sweep grave_sweep; /* of the first grave's tree before `at` */
    _Atomic(struct catalog_view *) published;
};

/* A view's trees, without the rows, freed; the rows too when rows is set. No reader may see them.
 */
void catalog_free_trees(struct catalog_view *view, bool rows);
/* Into and out of the indexes by address, where the row has one. */
void catalog_add_node_address(struct catalog *catalog, const struct catalog_node *row);
void catalog_add_service_address(struct catalog *catalog, const struct catalog_service *row);
void catalog_remove_node_address(struct catalog *catalog, const struct catalog_node *row);
void catalog_remove_service_address(struct catalog *catalog, const struct catalog_service *row);
/* Makes the instance of a service row anew from the rows of the next view. */
void catalog_build_instance(struct catalog *catalog, const struct catalog_service *service);
void catalog_set_index(struct catalog *catalog, struct tree *tree, const char *name,
                       uint64_t index);
uint64_t catalog_get_index(const struct tree *tree, const char *name);

/* ---- catalog.c ---- */

/* Index of the command that is applied. */
static inline uint64_t catalog_now(const struct catalog *catalog) {
    return catalog->next.indexes.applied;
}

/* Before the working state changes: what is retired waits for the publish. */
void catalog_begin_change(struct catalog *catalog);
/* A row has left the trees. NULL is allowed. */
void catalog_retire(struct catalog *catalog, const void *row);
/* A row goes into the trees. */
void catalog_made(struct catalog *catalog, void *row);
enum err catalog_apply_register(struct catalog *catalog, const struct catalog_register *reg,
                                struct err_text *text);
void catalog_apply_deregister(struct catalog *catalog, const struct catalog_deregister *dereg);
/* Sets one check, with what follows from it. */
void catalog_write_check(struct catalog *catalog, const struct catalog_check *check);

/* ---- changes.c ---- */

struct changes;
/* NULL is allowed. */
void catalog_changes_destroy(struct changes *changes);
/* "" where there is nothing to say. */
void catalog_note(struct catalog *catalog, enum change_kind kind, const char *node, const char *id,
                  const char *name);
/* By the name that its service has now. */
void catalog_note_check(struct catalog *catalog, const struct catalog_check *check);
/* What is noted so far is published. */
void catalog_changes_publish(struct catalog *catalog);
/* Everything was replaced. */
void catalog_changes_reset(struct catalog *catalog);

/* ---- autopilot.c ---- */

void catalog_apply_autopilot(struct catalog *catalog, const struct catalog_set_autopilot *set,
                             struct catalog_result *result);

/* ---- kv.c ---- */

struct tombstone {
    uint64_t index;
    bool tree;
    char key[];
};

/* What the trees of keys and of tombstones count. */
struct tree_batch catalog_kv_batch(const struct catalog *catalog);
struct tree_batch catalog_tombstone_batch(const struct catalog *catalog);
void catalog_add_tombstone(struct catalog *catalog, const char *key, bool tree, uint64_t index);
/* Sets a row, which the catalog owns from here on, with what is derived from it. */
void catalog_set_kv_row(struct catalog *catalog, struct catalog_kv *row);
void catalog_set_lock_delay(struct catalog *catalog, const struct catalog_lock_delay *delay);
/* One operation that changes a key. ERR_REFUSED and the transaction's sentence without key;
 * *ret_held: whether its condition held. */
enum err catalog_change_kv(struct catalog *catalog, const struct catalog_kv_operation *op,
                           bool *ret_held, struct err_text *text);
enum err catalog_apply_kv(struct catalog *catalog, const struct catalog_kv_operation *op,
                          struct catalog_result *result, struct err_text *text);
void catalog_apply_reap(struct catalog *catalog, uint64_t index);
void catalog_apply_lock_delay_end(struct catalog *catalog,
                                  const struct catalog_lock_delay_end *end);
const struct catalog_lock_delay *catalog_get_lock_delay(const struct catalog_view *view,
                                                        const char *key);
/* A session has ended: its keys are released or deleted. */
void catalog_release_keys(struct catalog *catalog, const struct catalog_session *session);

/* ---- session.c ---- */

/* The row with its links, owned by the catalog from here on. */
void catalog_set_session_row(struct catalog *catalog, struct catalog_session *row);
enum err catalog_apply_session(struct catalog *catalog, const struct catalog_session *session,
                               struct err_text *text);
void catalog_apply_session_end(struct catalog *catalog, const char *id);
/* Of a node that goes; of a check that goes or is critical. */
void catalog_end_node_sessions(struct catalog *catalog, const char *node);
void catalog_end_check_sessions(struct catalog *catalog, const char *node, const char *check_id);
void catalog_add_event(struct catalog *catalog, enum catalog_event_kind kind, const char *name,
                       uint64_t index, int64_t ms);
void catalog_cut_events(struct catalog *catalog, size_t count);

/* ---- coordinate.c ---- */

/* Sets a copy of the row, under the node's name. */
void catalog_set_coordinate_row(struct catalog *catalog, const char *node,
                                const struct catalog_coordinate *row);
void catalog_apply_coordinates(struct catalog *catalog, const struct catalog_set_coordinates *set);
/* Of a node that goes. */
void catalog_remove_coordinates(struct catalog *catalog, const char *node);

/* ---- query.c ---- */

/* The row with its links, owned by the catalog from here on. */
void catalog_set_query_row(struct catalog *catalog, struct catalog_query *row);
/* ERR_REFUSED: a name, id or session that does not fit what is there. */
enum err catalog_judge_query(const struct catalog *catalog, const struct catalog_query *query,
                             struct err_text *text);
enum err catalog_apply_query(struct catalog *catalog, const struct catalog_set_query *set,
                             struct err_text *text);
/* A session has ended: so do its queries. */
void catalog_end_session_queries(struct catalog *catalog, const char *session);

/* ---- session_checks.c ---- */

bool catalog_follows_session(const struct catalog_check *check);
/* A session was made or has ended. */
void catalog_note_session(struct catalog *catalog, const struct catalog_session *session,
                          bool in_force);
/* Brings one check up to date; false: there is none left. */
bool catalog_follow_session(struct catalog *catalog);

/* ---- failover_rows.c ---- */

/* The row, owned by the catalog from here on. */
void catalog_set_failover_row(struct catalog *catalog, struct catalog_failover *row);
enum err catalog_apply_failover(struct catalog *catalog, const struct catalog_set_failover *set,
                                struct err_text *text);

/* ---- snapshot.c ---- */

struct catalog_image *catalog_image_create(void);
/* A record as it comes; ERR_CORRUPT when it does not fit what is there. */
enum err catalog_image_add(struct catalog_image *image, const struct codec_record *record);
/* One that is left out, but counts. */
void catalog_image_skip(struct catalog_image *image);
/* Whether the record `end` has come. */
bool catalog_image_has_ended(const struct catalog_image *image);
/* From then on everything has one index, but for the rows' own. */
void catalog_image_set_index(struct catalog_image *image, uint64_t at);
/* Where the image is built: its next view. */
struct catalog *catalog_image_building(struct catalog_image *image);
/* Into the catalog's place, which is not published; takes the image. */
void catalog_put_image(struct catalog *catalog, struct catalog_image *image);
/* What was built goes the way of the buried. */
void catalog_bury_image(struct catalog *catalog, struct catalog_image *image);

/* ---- restore.c ---- */

enum err catalog_apply_restore(struct catalog *catalog, const struct catalog_restore *restore,
                               struct err_text *text);
/* The last command's rest, until `touched` has come to end. */
void catalog_end_restore(struct catalog *catalog, uint64_t end);
/* One that nobody goes on with is dropped after so many entries. */
void catalog_judge_restore(struct catalog *catalog);
void catalog_drop_restore(struct catalog *catalog);

/* ---- removal.c ---- */

/* A copy of it becomes the row. */
void catalog_set_removal(struct catalog *catalog, const struct catalog_removal *removal);
enum err catalog_apply_removal(struct catalog *catalog, const struct catalog_removal *removal,
                               struct err_text *text);
void catalog_apply_removal_end(struct catalog *catalog, const struct catalog_removal_end *end);

/* ---- bury.c ---- */

/* Trees and rows of a view that is no longer the working state: freed by catalog_sweep, after the
 * next publish. The view is copied. */
void catalog_bury(struct catalog *catalog, const struct catalog_view *view);
/* At a publish. */
void catalog_close_graves(struct catalog *catalog);
/* Frees some. */
void catalog_sweep_graves(struct catalog *catalog);

/* ---- txn.c ---- */

void catalog_apply_transaction(struct catalog *catalog, const struct catalog_transaction *txn,
                               struct catalog_result *result);

/* ---- view.c ---- */

/* All trees of a view, those first that own their values. */
#define CATALOG_TREES 25
#define CATALOG_OWNERS 13
void catalog_list_trees(struct catalog_view *view, struct tree *ret_all[CATALOG_TREES]);

#endif
