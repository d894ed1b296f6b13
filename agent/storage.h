/* One server's disk as the group sees it: identity, hard state, log and snapshots opened together,
 * with the threads that write them. */
#ifndef AGENT_STORAGE_H
#define AGENT_STORAGE_H

#include "base/err.h"
#include "base/uuid.h"
#include "catalog/catalog.h"
#include "raft/raft.h"
#include "store/log.h"
#include "store/log_thread.h"
#include "store/snapshot_thread.h"

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
    bool cut; /* a torn tail was removed */
};

void storage_start_clear(struct storage_start *start);

/* Opens or makes the data directory; a new one gets `disk` and, if create_cluster, `cluster`. The
 * newest snapshot is restored into the catalog. One sentence in text that says what to do;
 * *ret_start then holds nothing to free. A directory of no cluster yet opens with nothing to write
 * to: *ret_storage is set, and the server stays a quiet follower. */
enum err storage_open(const char *data_dir, const struct uuid *disk, const struct uuid *cluster,
                      bool create_cluster, struct catalog *catalog, struct storage **ret_storage,
                      struct storage_start *ret_start, struct err_text *text);

/* As in store/log_thread.h and store/snapshot_thread.h. */
void storage_append(struct storage *storage, const struct store_entry *entries, uint32_t count,
                    store_done_fn done, void *context);
void storage_write_hard_state(struct storage *storage, const struct raft_hard_state *state,
                              store_done_fn done, void *context);
void storage_compact(struct storage *storage, uint64_t index, store_done_fn done, void *context);
enum err storage_take_snapshot(struct storage *storage, const struct store_snapshot_job *job);
bool storage_has_space(const struct storage *storage);
uint64_t storage_log_bytes(const struct storage *storage);

/* All entries first .. last, in order. */
enum err storage_read(struct storage *storage, uint64_t first, uint64_t last, store_entry_fn visit,
                      void *context, struct err_text *text);

/* Stops the threads, each within timeout_ms, and closes everything. False: a disk call hangs, and
 * what it uses was left alone. */
bool storage_close(struct storage *storage, uint64_t timeout_ms);

#endif
