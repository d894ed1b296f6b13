/* A mirror: a partial catalog kept elsewhere, fed by a stream of row changes. Its rows are the
 * source's in every field, indexes included, so that whoever answers lookups answers from it with
 * the same code. A mirror holds all services of a datacenter, or those by name that a client agent
 * is asked for. Keys and sessions are not mirrored.
 *
 * The source keeps a feed for each stream: where it stands among the changes (catalog/changes.h),
 * and what it has still to tell for the first time. A feed that begins from scratch notes its place
 * among the changes first, then walks the rows in slices, each over the view of its time, and then
 * tells all changes behind the place; what it has told from a younger view than the place does no
 * harm, because each change tells what a row is now. No view is held between two slices.
 *
 *   mirror_feed_plan   writer's thread: what is to be told next, as a job that owns what it names
 *   mirror_job_run     any thread, inside an epoch section: rows of the view as bytes
 *   mirror_feed_take   writer's thread: the job's end; the feed stands behind it
 *   mirror_apply       at the other end: the bytes into the mirror's catalog, and a publish
 *
 * Jobs of a feed run one after the other and are applied in this order. A mirror that was cut off
 * goes on from its index if the source still knows what has changed since; a source is known by its
 * cluster id. Indexes never go back there, not by a restore either, so the index says enough. */
#ifndef CATALOG_MIRROR_H
#define CATALOG_MIRROR_H

#include "catalog/catalog.h"
#include "catalog/changes.h"

/* ---- the source ---- */

struct mirror_feed;

/* all: every service, and nodes without any; else none, until names are added. */
struct mirror_feed *mirror_feed_create(bool all);
/* NULL is allowed. */
void mirror_feed_destroy(struct mirror_feed *feed);

/* Goes on behind an index, with what was selected there before. False: from scratch, which the feed
 * is set to. Once, before the first plan. */
bool mirror_feed_resume(struct mirror_feed *feed, const struct catalog *catalog, uint64_t index,
                        const char *const *names, uint32_t count);
/* Of a feed that does not have all. ERR_EXISTS; ERR_TOO_LARGE: LIMIT_MIRROR_NAMES. */
enum err mirror_feed_add(struct mirror_feed *feed, const char *name);
void mirror_feed_remove(struct mirror_feed *feed, const char *name);

struct mirror_job {
    bool begins;  /* what the mirror had before counts no longer */
    bool whole;   /* behind this nothing is missing, up to index, */
    bool current; /* which is all that was published when it was planned */
    bool empty;   /* nothing to tell: no service that is wanted has changed */
    uint64_t index;
    struct buf out; /* the bytes, see mirror_apply */
    struct mirror_plan *plan;
};

/* Something may be told, or the feed was not whole yet. */
bool mirror_feed_has_news(const struct mirror_feed *feed, const struct catalog *catalog);
/* About `bytes` at once. One job at a time. */
void mirror_feed_plan(struct mirror_feed *feed, const struct catalog *catalog, size_t bytes,
                      struct mirror_job *ret_job);
void mirror_job_run(struct mirror_job *job, const struct catalog_view *view);
/* After it ran; the job's index, whole and current count from here on. feed NULL: it is no more. */
void mirror_feed_take(struct mirror_feed *feed, struct mirror_job *job);
void mirror_job_clear(struct mirror_job *job);

/* ---- the mirror ---- */

struct mirror;

/* epoch is borrowed and the caller is its writer. all: as for the feed. */
struct mirror *mirror_create(struct epoch *epoch, bool all);
/* Its views must not be reached from anywhere that is published. Frees some rows at each call.
 * True: there is more. */
bool mirror_destroy_some(struct mirror *mirror);
/* All at once: no reader may be inside. NULL is allowed. */
void mirror_destroy(struct mirror *mirror);

/* Applies what a job gave and publishes. ERR_CORRUPT, ERR_VERSION: some of it may have been
 * applied, so this mirror has to be filled from scratch. */
enum err mirror_apply(struct mirror *mirror, const uint8_t *data, size_t size, uint64_t index);
/* Before it: the rows of the view that the job ran on may be as new as this (catalog_changes_newest
 * at the source, once it ran). For those that mirror this mirror. */
void mirror_reach(struct mirror *mirror, uint64_t newest);
/* Everything up to the index has come, though there was nothing to apply. */
void mirror_advance(struct mirror *mirror, uint64_t index);
void mirror_set_whole(struct mirror *mirror);
/* Of a mirror that does not have all: rows of a service are taken from now on; and no longer. */
void mirror_want(struct mirror *mirror, const char *service, int64_t now_ms);
void mirror_drop(struct mirror *mirror, const char *service);
/* The one whose last use is longest ago; NULL: there is none. */
const char *mirror_longest_unused(const struct mirror *mirror, int64_t *ret_used_at_ms);
/* Of so many names from the place on, which goes on: the longest unused one that is ready and has
 * no instance; NULL: there is none. */
const char *mirror_find_empty(const struct mirror *mirror, uint32_t *place, uint32_t count);
bool mirror_wants(const struct mirror *mirror, const char *service);
/* Borrowed until the next drop; at most max of the number that is returned. */
uint32_t mirror_list_names(const struct mirror *mirror, const char **ret_names, uint32_t max);
/* Others mirror this mirror: see catalog_note_changes. */
void mirror_note_changes(struct mirror *mirror, size_t bytes_max);

/* ---- corrections ---- */

/* Of a mirror that does not have all, while its source is lost: what somebody here knows better
 * takes the place of its rows. Indexes stay the source's, so nobody who waits is told; who answers
 * from such a view tells a smaller one (view_is_corrected). The next rows of the source take all of
 * it back first, and so does begin.
 *
 * Writer's thread; begin to end inside one epoch section, and nothing else of the mirror's between
 * them. Strings are borrowed for the call. */
void mirror_correct_begin(struct mirror *mirror);
/* As it is so far; until end. */
const struct catalog_view *mirror_correct_view(const struct mirror *mirror);
/* The node has the rows that `from` has of it, as far as services are wanted; but whether its agent
 * is there (CATALOG_AGENT_CHECK) stays as it is. NULL: it has none. */
void mirror_correct_node(struct mirror *mirror, const char *node, const struct catalog_view *from);
/* A service of it is not there. */
void mirror_correct_gone(struct mirror *mirror, const char *node, const char *service_id);
/* A check of a node that is there; else nothing happens. */
void mirror_correct_check(struct mirror *mirror, const struct catalog_check *check);
/* Publishes. */
void mirror_correct_end(struct mirror *mirror);
/* It was, and nothing was taken back since. */
bool mirror_is_corrected(const struct mirror *mirror);
/* Takes back and publishes. */
void mirror_correct_undo(struct mirror *mirror);

/* ---- looking ---- */

/* Any thread, inside an epoch section: whether lookups of a service may be answered; of a mirror
 * that has all: once it was whole. mirror_use notes that it was asked for. */
bool mirror_is_ready(const struct mirror *mirror, const char *service);
bool mirror_use(const struct mirror *mirror, const char *service, int64_t now_ms);

const struct catalog *mirror_catalog(const struct mirror *mirror);
uint64_t mirror_index(const struct mirror *mirror);
size_t mirror_instances(const struct mirror *mirror);
/* About what the rows take. */
size_t mirror_bytes(const struct mirror *mirror);

#endif
