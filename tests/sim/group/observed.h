/* Included before everything else in the driver under test, behind replaced.h: calls that the
 * checkers look at on their way (observe.c). */
#ifndef SIM_GROUP_OBSERVED_H
#define SIM_GROUP_OBSERVED_H

#include "tests/sim/group/replaced.h"

#include "agent/log_tail.h"
#include "catalog/catalog.h"
#include "raft/raft.h"
#include "store/log.h"
#include "store/snapshot.h"

struct raft *sim_raft_create(const struct raft_options *options);
enum err sim_raft_step(struct raft *raft, uint64_t now_ms, const struct raft_event *event,
                       struct raft_output *ret_output);
void sim_log_tail_push(struct log_tail *tail, struct batch *batch);
enum err sim_catalog_begin(struct catalog *catalog, uint64_t index, const uint8_t *command,
                           size_t size, struct catalog_result *result, struct err_text *text);
void sim_catalog_skip(struct catalog *catalog, uint64_t index);
void sim_catalog_take_image(struct catalog *catalog, struct catalog_image *image);
enum err sim_log_open(const struct store_log_options *options, store_entry_fn visit, void *context,
                      struct store_log **ret_log, struct store_log_found *ret_found,
                      struct err_text *text);
enum err sim_log_append_batch(struct store_log *log, const struct store_entry *entries,
                              uint32_t count, struct err_text *text);
enum err sim_log_sync(struct store_log *log, struct err_text *text);
enum err sim_log_truncate(struct store_log *log, uint64_t from, struct err_text *text);
enum err sim_log_reset(struct store_log *log, struct err_text *text);
enum err sim_snapshot_writer_create(const char *directory, const struct uuid *cluster,
                                    const struct store_snapshot_info *info,
                                    struct store_snapshot_writer **ret_writer,
                                    struct err_text *text);
enum err sim_snapshot_writer_commit(struct store_snapshot_writer *writer, uint64_t *ret_bytes,
                                    struct err_text *text);

#ifndef SIM_GROUP_REAL /* who stands between needs the real ones, too */
#define raft_create sim_raft_create
#define raft_step sim_raft_step
#define log_tail_push sim_log_tail_push
#define catalog_begin sim_catalog_begin
#define catalog_skip sim_catalog_skip
#define catalog_take_image sim_catalog_take_image
#define store_log_open sim_log_open
#define store_log_append_batch sim_log_append_batch
#define store_log_sync sim_log_sync
#define store_log_truncate sim_log_truncate
#define store_log_reset sim_log_reset
#define store_snapshot_writer_create sim_snapshot_writer_create
#define store_snapshot_writer_commit sim_snapshot_writer_commit
#endif

#endif
