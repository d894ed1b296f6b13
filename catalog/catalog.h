/* The catalog: the state machine under the Raft log. Deterministic and blind to time: the same
 * commands at the same indexes give the same rows and the same row hash on every server.
 *
 * One writer (the core's thread) applies commands and publishes; any thread reads published views.
 *
 *   catalog_apply ... catalog_apply     rows, indexes and watch marks of the next view
 *   catalog_publish                     one pointer store; then the old view's blocks are retired
 */
#ifndef CATALOG_CATALOG_H
#define CATALOG_CATALOG_H

#include <stddef.h>
#include <stdint.h>

#include "base/epoch.h"
#include "base/err.h"
#include "catalog/codec.h"
#include "catalog/view.h"
#include "catalog/watch.h"

struct catalog;

/* epoch and watches are borrowed and outlive it; watches may be NULL. */
struct catalog *catalog_create(struct epoch *epoch, struct watches *watches);
/* No reader may be inside. NULL is allowed. */
void catalog_destroy(struct catalog *catalog);

/* Runs one command. index rises from call to call. The index counts as applied unless the command
 * cannot be read. Errors: ERR_REFUSED with the contract's sentence (the catalog is unchanged);
 * ERR_CORRUPT or ERR_VERSION: not a command that this program knows, which means the log can't be
 * applied further. result may be NULL; else it is filled, and the caller clears it.
 */
enum err catalog_apply(struct catalog *catalog, uint64_t index, const uint8_t *command, size_t size,
                       struct catalog_result *result, struct err_text *text);

/* The same in pieces, for commands that touch many rows: begins it, and goes on until about so many
 * rows more are touched. catalog_go_on says whether nothing is left; until then nothing may be
 * applied or published, and no watch shows. */
enum err catalog_begin(struct catalog *catalog, uint64_t index, const uint8_t *command, size_t size,
                       struct catalog_result *result, struct err_text *text);
bool catalog_go_on(struct catalog *catalog, uint64_t rows);
/* Rows touched since the start, by which a caller bounds its work. */
uint64_t catalog_touched(const struct catalog *catalog);
/* What the last command was that could be read; 0: there was none. */
enum catalog_command_kind catalog_last_kind(const struct catalog *catalog);

/* An entry without a command (no-op, configuration): only the applied index moves. */
void catalog_skip(struct catalog *catalog, uint64_t index);

void catalog_publish(struct catalog *catalog);

/* Sum over all rows as they are now, in no order: equal on servers that have applied the same.
 * Between commands only. */
uint64_t catalog_hash(const struct catalog *catalog);

/* A restore is under way (catalog/restore.c), which a snapshot would not hold. */
bool catalog_is_restoring(const struct catalog *catalog);

/* After a publish, and with another one at its end: frees some of what deleted prefixes and
 * replaced views have left. True: there is more, which waits for the next call. False and nothing
 * done while a command is half applied. */
bool catalog_sweep(struct catalog *catalog);

/* What a leader's clocks follow, in the order in which it happened. Recorded only once somebody
 * takes it. */
enum catalog_event_kind { CATALOG_SESSION_MADE, CATALOG_SESSION_ENDED, CATALOG_LOCK_DELAYED };

struct catalog_event {
    enum catalog_event_kind kind;
    char *name;     /* session id or key */
    uint64_t index; /* LOCK_DELAYED: see struct catalog_lock_delay */
    int64_t ms;     /* the session's TTL, 0 = none; or the delay */
};

void catalog_record_events(struct catalog *catalog);
/* Hands the events over, and forgets them. */
void catalog_take_events(struct catalog *catalog,
                         void (*take)(const struct catalog_event *event, void *context),
                         void *context);

/* Any thread, inside an epoch section; valid until the section ends. Never NULL. */
const struct catalog_view *catalog_view(const struct catalog *catalog);

/* Rows, indexes and hash of a view as a stream of bytes, in order, in pieces of the encoder's
 * choice. Any thread that holds the view. Stops at write's first error and returns it. */
enum err catalog_snapshot(const struct catalog_view *view,
                          enum err (*write)(void *context, const void *data, size_t size),
                          void *context);
/* Replaces everything by what read delivers and publishes it; all watches are marked. read fills up
 * to size bytes and returns how many, 0 at the end. ERR_CORRUPT, ERR_VERSION or read's error (as a
 * negative enum err): the catalog is as before. */
enum err catalog_restore(struct catalog *catalog,
                         int64_t (*read)(void *context, void *data, size_t size), void *context,
                         struct err_text *text);
/* The same in two steps, for a catalog that must not stand still: any thread reads everything into
 * an image, the writer's puts it into the catalog's place. */
struct catalog_image;
enum err catalog_read_image(int64_t (*read)(void *context, void *data, size_t size), void *context,
                            struct catalog_image **ret_image, struct err_text *text);
/* Takes the image. */
void catalog_take_image(struct catalog *catalog, struct catalog_image *image);
/* NULL is allowed. */
void catalog_drop_image(struct catalog_image *image);

#endif
