/* One server's disk as the group sees it: identity, hard state, log and snapshots opened together,
 * with the threads that write them. */
#ifndef AGENT_STORAGE_H
#define AGENT_STORAGE_H

#include "base/err.h"
#include "base/uuid.h"
#include "catalog/catalog.h"
#include "net/loop.h"
#include "raft/raft.h"
#include "store/log.h"
#include "store/log_thread.h"
#include "store/snapshot_thread.h"
#include "store/work_thread.h"

struct storage;

/* What the disk held; the caller clears it. */
struct storage_start {
    struct uuid disk;
    struct raft_hard_state hard_state;
    uint64_t snapshot_index, snapshot_term, snapshot_bytes;
    uint64_t log_first, log_last;
    struct raft_run *runs;
    uint32_t run_count;
    struct raft_configuration_at *configurations; /* the snapshot's and those in the log */
    uint32_t configuration_count;
    struct raft_sizes sizes;
    bool cut;          /* a torn tail was removed */
    bool needs_repair; /* rot was, which peers must give back: see raft.h */
    /* Configurations of older terms do not count; 0: all do. See agent/recovery.h. */
    uint64_t recovered_term;
    bool recovered_now; /* by a file that was there at this start */
};

void storage_start_clear(struct storage_start *start);

/* Opens or makes the data directory; a new one gets `disk` and, if create_cluster, `cluster`. The
 * newest snapshot is restored into the catalog. One sentence in text that says what to do;
 * *ret_start then holds nothing to free. A directory of no cluster yet opens with nothing to write
 * to: *ret_storage is set, and the server stays a quiet follower. */
enum err storage_open(const char *data_dir, const struct uuid *disk, const struct uuid *cluster,
                      bool create_cluster, struct loop *loop, struct catalog *catalog,
                      struct storage **ret_storage, struct storage_start *ret_start,
                      struct err_text *text);

/* Whether the directory belongs to a cluster yet, and to which. */
bool storage_has_cluster(const struct storage *storage);
struct uuid storage_cluster(const struct storage *storage);
/* Gives one that does not a cluster, and opens its files, which are empty. */
enum err storage_join(struct storage *storage, const struct uuid *cluster, struct catalog *catalog,
                      struct err_text *text);

/* As in store/log_thread.h and store/snapshot_thread.h. */
void storage_append(struct storage *storage, const struct store_entry *entries, uint32_t count,
                    store_done_fn done, void *context);
void storage_write_hard_state(struct storage *storage, const struct raft_hard_state *state,
                              store_done_fn done, void *context);
void storage_truncate(struct storage *storage, uint64_t from, store_done_fn done, void *context);
void storage_reset(struct storage *storage, store_done_fn done, void *context);
void storage_compact(struct storage *storage, uint64_t index, store_done_fn done, void *context);
enum err storage_take_snapshot(struct storage *storage, const struct store_snapshot_job *job);
bool storage_has_space(const struct storage *storage);
uint64_t storage_log_bytes(const struct storage *storage);

/* ---- the reading thread ---- */

/* Something to do away from the core, which may take as long as a disk does. Jobs are done in
 * order; embedded in what they belong to. */
struct storage_job {
    struct store_work work; /* first */
    struct loop_task task;
    void (*run)(struct storage_job *job);  /* on the reading thread */
    void (*done)(struct storage_job *job); /* on the loop's */
};

void storage_run(struct storage *storage, struct storage_job *job);

/* For jobs: up to LIMIT_SNAPSHOT_PIECE_BYTES of the newest snapshot from offset on, a multiple of
 * that. ret_done: it is the last piece. ERR_NOT_FOUND: another one is the newest now. */
enum err storage_read_snapshot(struct storage *storage, uint64_t index, uint64_t offset,
                               uint8_t *piece, size_t *ret_size, bool *ret_done,
                               struct err_text *text);
/* For jobs: a snapshot from elsewhere, as in store/snapshot.h. */
enum err storage_create_snapshot(struct storage *storage, const struct store_snapshot_info *info,
                                 struct store_snapshot_writer **ret_writer, struct err_text *text);
/* For jobs: what the newest snapshot, which must be that of the index, holds. */
enum err storage_read_image(struct storage *storage, uint64_t index,
                            struct catalog_image **ret_image, struct err_text *text);

/* For jobs: peers have given back what was lost. */
enum err storage_clear_repair(struct storage *storage, struct err_text *text);

/* All entries first .. last, in order. */
enum err storage_read(struct storage *storage, uint64_t first, uint64_t last, store_entry_fn visit,
                      void *context, struct err_text *text);

/* Stops the threads, each within timeout_ms, and closes everything. False: a disk call hangs, and
 * what it uses was left alone. */
bool storage_close(struct storage *storage, uint64_t timeout_ms);

#endif
