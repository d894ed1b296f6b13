#include "store/hard_state.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/crc32c.h"
#include "base/mem.h"
#include "base/mutant.h"
#include "store/file.h"
#include "store/format.h"

#define MAGIC "cairnhrd"
#define SLOTS 2
#define SLOT_BYTES 64

/* header page | slot A page | slot B page. A slot: sequence, term (u64 each), voted (u32),
 * vote (32 bytes), zeros, CRC32C seeded with the slot's number (u32 at 60). */
#define SLOT_OFFSET(slot) ((uint64_t)FORMAT_PAGE_BYTES * (1 + (uint64_t)(slot)))
#define FILE_BYTES SLOT_OFFSET(SLOTS)

struct store_hard_state {
    struct store_file *file;
    char path[FORMAT_PATH_BYTES];
    uint64_t sequence; /* of the state that both slots hold, unless failed */
    bool failed;
};

struct slot {
    bool valid;
    uint64_t sequence;
    struct store_vote vote;
};

static void encode_slot(uint8_t out[SLOT_BYTES], unsigned number, uint64_t sequence,
                        const struct store_vote *vote) {
    memset(out, 0, SLOT_BYTES);
    put_u64(out, sequence);
    put_u64(out + 8, vote->term);
    put_u32(out + 16, vote->voted);
    memcpy(out + 20, vote->vote, STORE_VOTE_BYTES);
    put_u32(out + 60, crc32c(number + 1, out, 60));
}

static struct slot decode_slot(const uint8_t in[SLOT_BYTES], unsigned number) {
    struct slot slot = {.valid = get_u32(in + 60) == crc32c(number + 1, in, 60),
                        .sequence = get_u64(in),
                        .vote = {.term = get_u64(in + 8), .voted = get_u32(in + 16) != 0}};
    memcpy(slot.vote.vote, in + 20, STORE_VOTE_BYTES);
    return slot;
}

static enum err write_slot(struct store_hard_state *state, unsigned number,
                           const struct store_vote *vote, struct err_text *text) {
    uint8_t bytes[SLOT_BYTES];
    encode_slot(bytes, number, state->sequence, vote);
    enum err err = store_file_write(state->file, SLOT_OFFSET(number), bytes, sizeof bytes, text);
    if (err == ERR_OK) {
        err = store_file_sync(state->file, text);
    }
    if (err != ERR_OK && MUTANT(hard_state_retry)) {
        err = store_file_sync(state->file, text);
    }
    return err;
}

/* Both slots, `first` before the other, each durable before the next is touched. */
static enum err write_both(struct store_hard_state *state, unsigned first,
                           const struct store_vote *vote, struct err_text *text) {
    if (MUTANT(hard_state_no_sync)) {
        uint8_t bytes[SLOT_BYTES];
        encode_slot(bytes, first, state->sequence, vote);
        return store_file_write(state->file, SLOT_OFFSET(first), bytes, sizeof bytes, text);
    }
    enum err err = write_slot(state, first, vote, text);
    if (err == ERR_OK && !MUTANT(hard_state_one_slot)) {
        err = write_slot(state, first ^ 1u, vote, text);
    }
    state->failed = err != ERR_OK;
    return err;
}

/* A new file gets its name only when it is whole. */
static enum err create(struct store_hard_state *state, const char *directory,
                       const struct uuid *cluster, struct err_text *text) {
    char temporary[FORMAT_PATH_BYTES];
    enum err err = format_path(temporary, directory, "hard-state.tmp", text);
    if (err != ERR_OK) {
        return err;
    }
    uint8_t *bytes = mem_calloc(1, FILE_BYTES);
    format_encode_header(bytes, MAGIC, cluster, 0);
    struct store_vote blank = {0};
    state->sequence = 1;
    for (unsigned i = 0; i < SLOTS; i++) {
        encode_slot(bytes + SLOT_OFFSET(i), i, state->sequence, &blank);
    }
    err = store_file_open(temporary, STORE_FILE_CREATE, &state->file, text);
    if (err == ERR_OK) {
        err = store_file_write(state->file, 0, bytes, FILE_BYTES, text);
    }
    if (err == ERR_OK) {
        err = store_file_sync(state->file, text);
    }
    if (err == ERR_OK) {
        err = store_file_rename(temporary, state->path, text);
    }
    free(bytes);
    return err;
}

static enum err load(struct store_hard_state *state, const struct uuid *cluster,
                     struct store_vote *ret_vote, struct err_text *text) {
    uint8_t *bytes = mem_calloc(1, FILE_BYTES);
    size_t size;
    uint64_t unused;
    enum err err = store_file_read(state->file, 0, bytes, FILE_BYTES, &size, text);
    if (err == ERR_OK) {
        err = format_check_header(bytes, MAGIC, cluster, state->path, &unused, text);
    }
    struct slot a = decode_slot(bytes + SLOT_OFFSET(0), 0);
    struct slot b = decode_slot(bytes + SLOT_OFFSET(1), 1);
    free(bytes);
    if (err != ERR_OK) {
        return err;
    }
    if (!a.valid && !b.valid) {
        return err_set(text, ERR_CORRUPT,
                       "%s: both copies of the vote are damaged: this server must not vote; empty "
                       "its data_dir and let it join as a new one",
                       state->path);
    }
    bool b_wins = b.valid && (!a.valid || b.sequence > a.sequence);
    const struct slot *best = b_wins ? &b : &a;
    state->sequence = best->sequence;
    *ret_vote = best->vote;
    if (MUTANT(hard_state_no_repair)) {
        return ERR_OK;
    }
    if (a.valid && b.valid && a.sequence == b.sequence) {
        /* A was durable before B was touched; B may be in the page cache alone. */
        err = write_slot(state, 1, ret_vote, text);
        state->failed = err != ERR_OK;
        return err;
    }
    /* The better slot first: it may be in the page cache alone, and the other one is then the only
     * state on the disk. */
    return write_both(state, b_wins ? 1 : 0, ret_vote, text);
}

enum err store_hard_state_open(const char *directory, const struct uuid *cluster,
                               struct store_hard_state **ret_state, struct store_vote *ret_vote,
                               struct err_text *text) {
    struct store_hard_state *state = mem_calloc(1, sizeof *state);
    struct store_vote vote = {0};
    enum err err = format_path(state->path, directory, "hard-state", text);
    if (err == ERR_OK) {
        err = store_file_open(state->path, STORE_FILE_WRITE, &state->file, text);
        err = err == ERR_NOT_FOUND ? create(state, directory, cluster, text)
              : err == ERR_OK      ? load(state, cluster, &vote, text)
                                   : err;
    }
    if (err == ERR_OK) {
        /* Also of a file that was there: whoever made it may have died before its name was durable.
         */
        err = MUTANT(open_trusts_names) ? ERR_OK : store_directory_sync(directory, text);
    }
    if (err != ERR_OK) {
        store_hard_state_close(state);
        return err;
    }
    *ret_state = state;
    *ret_vote = vote;
    return ERR_OK;
}

void store_hard_state_close(struct store_hard_state *state) {
    if (state != NULL) {
        store_file_close(state->file);
        free(state);
    }
}

enum err store_hard_state_write(struct store_hard_state *state, const struct store_vote *vote,
                                struct err_text *text) {
    if (state->failed) {
        return err_set(text, ERR_IO, "%s: an earlier write failed", state->path);
    }
    state->sequence++;
    return write_both(state, 0, vote, text);
}
