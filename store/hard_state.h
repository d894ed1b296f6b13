/* The term and vote on disk: two slots, each in a page of its own, both holding the same state.
 *
 * A write goes: slot A, fdatasync, slot B, fdatasync, then the answer. At least one slot is whole
 * at any moment, and once answered both are, so one of them may rot. Open takes the valid slot with
 * the higher sequence and makes both slots durable with it before it returns, because what it read
 * may live in the page cache alone. Both bad: ERR_CORRUPT; this server must not vote.
 * A failed fdatasync is never tried again; every later write reports the failure.
 *
 * One thread at a time. */
#ifndef STORE_HARD_STATE_H
#define STORE_HARD_STATE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/uuid.h"

#define STORE_VOTE_BYTES 32

struct store_vote {
    uint64_t term;
    bool voted;
    uint8_t vote[STORE_VOTE_BYTES]; /* the caller's server id; zeros unless voted */
};

struct store_hard_state;

/* Opens directory/hard-state or creates it with term 0 and no vote. */
enum err store_hard_state_open(const char *directory, const struct uuid *cluster,
                               struct store_hard_state **ret_state, struct store_vote *ret_vote,
                               struct err_text *text);
void store_hard_state_close(struct store_hard_state *state);

/* Durable on return. ERR_IO, ERR_NO_SPACE: failed, as described above. */
enum err store_hard_state_write(struct store_hard_state *state, const struct store_vote *vote,
                                struct err_text *text);

#endif
