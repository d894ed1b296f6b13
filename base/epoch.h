/* Epoch reclamation: many readers of a published version, one writer that replaces it.
 *
 * A reader enters, loads the published pointer, reads, exits; it never waits. The writer publishes
 * the next version with one atomic store, retires what the new version no longer reaches, and
 * advances. A retired block is freed once every reader that could still see it has left. One slow
 * reader delays freeing, and nothing else. (Fraser, Practical lock-freedom, 2004, section 5.2.3.)
 *
 * Threads claim their slot at first use and give it back when they end; at most LIMIT_EPOCH_THREADS
 * threads of the process may do so at once (asserted). */
#ifndef BASE_EPOCH_H
#define BASE_EPOCH_H

#include <stddef.h>

struct epoch;

struct epoch *epoch_create(void);
/* No reader may be inside. Frees all that is retired. NULL is allowed. */
void epoch_destroy(struct epoch *epoch);

/* Any thread. Sections of one thread on one epoch may nest. */
void epoch_enter(struct epoch *epoch);
void epoch_exit(struct epoch *epoch);

/* Writer only: keeps what is published now from being freed, for a reader on another thread, such
 * as a snapshot. Returns a pin for epoch_unpin, -1 when all are taken. */
int epoch_pin(struct epoch *epoch);
/* Any thread. */
void epoch_unpin(struct epoch *epoch, int pin);

/* Writer only. Takes ownership of a block from malloc; NULL is allowed. Call it after the store
 * that unpublishes the block, or before it with no epoch_advance in between. */
void epoch_retire(struct epoch *epoch, void *block);
/* Writer only. For structures that share an epoch and are published apart: while one of them has
 * retired blocks that its published version still reaches, it holds the batch open, and the
 * epoch_advance of another does not close it. Each hold is released once, after the store. */
void epoch_hold(struct epoch *epoch);
void epoch_release(struct epoch *epoch);
/* Writer only: closes the batch of blocks retired since the last call, unless it is held, and frees
 * the old batches that no reader can see. */
void epoch_advance(struct epoch *epoch);
/* Writer only: blocks retired and not yet freed. */
size_t epoch_pending(const struct epoch *epoch);

#endif
