/* When a snapshot is taken, from which view, and the compaction that follows. */
#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"

#define RETRY_MS 30000     /* after one that failed */
#define FULL_RETRY_MS 1000 /* because the disk was full */

/* A compaction of the log; several may be under way. */
struct compaction {
    struct loop_task task;
    struct group *group;
    enum err err;
    struct err_text text;
};

/* One that failed is made up for by the next one. */
static void compact_back(struct loop_task *task) {
    struct compaction *compaction = CONTAINER_OF(task, struct compaction, task);
    compaction->group->compactions--;
    if (compaction->err != ERR_OK) {
        log_write(compaction->group->config.log, LOG_WARN, MODULE,
                  "failed to compact the log: error=\"%s\"", compaction->text.s);
    }
    free(compaction);
}

/* Log thread. */
static void compact_done(void *context, enum err result, const char *message) {
    struct compaction *compaction = context;
    compaction->err = result;
    err_set(&compaction->text, result, "%s", message != NULL ? message : err_name(result));
    loop_post(compaction->group->config.loop, &compaction->task);
}

void group_compact(struct group *group, uint64_t index) {
    struct compaction *compaction = mem_calloc(1, sizeof *compaction);
    compaction->group = group;
    compaction->task.run = compact_back;
    group->compactions++;
    storage_compact(group->storage, index, compact_done, compaction);
}

static void snapshot_back(struct loop_task *task) {
    struct group *group = CONTAINER_OF(task, struct group, snapshot_task);
    group->snapshot_writing = false;
    if (group->closing) {
        return;
    }
    if (group->snapshot_err != ERR_OK) {
        bool full = group->snapshot_err == ERR_NO_SPACE;
        group->snapshot_retry_at_ms =
            loop_now_ms(group->config.loop) + (full ? FULL_RETRY_MS : RETRY_MS);
        log_write(group->config.log, full && group->full_told ? LOG_DEBUG : LOG_ERROR, MODULE,
                  "failed to take snapshot: error=\"%s\"", group->snapshot_text.s);
        return;
    }
    metric_sample(group->metrics.take_snapshot,
                  metrics_ms_since(group->snapshot_begun_at_ns, metrics_clock_ns()));
    log_write(group->config.log, LOG_INFO, MODULE, "snapshot complete up to: index=%llu bytes=%llu",
              (unsigned long long)group->snapshot_info.index,
              (unsigned long long)group->snapshot_bytes);
    struct raft_event event = {
        .kind = RAFT_EVENT_SNAPSHOT_TAKEN,
        .snapshot_taken = {.index = group->snapshot_info.index, .term = group->snapshot_info.term}};
    group_step(group, &event);
    if (!storage_has_space(group->storage)) {
        group->snapshot_retry_at_ms = loop_now_ms(group->config.loop) + FULL_RETRY_MS;
    }
}

/* Snapshot thread. */
static void snapshot_done(void *context, enum err result, uint64_t bytes, const char *message) {
    struct group *group = context;
    epoch_unpin(group->config.epoch, group->snapshot_pin);
    group->snapshot_err = result;
    if (result == ERR_OK) {
        group->snapshot_bytes = bytes;
    }
    err_set(&group->snapshot_text, result, "%s", message != NULL ? message : "");
    group->snapshot_task.run = snapshot_back;
    loop_post(group->config.loop, &group->snapshot_task);
}

struct snapshot_writer {
    struct store_snapshot_writer *to;
    struct err_text *text;
};

static enum err write_piece(void *context, const void *data, size_t size) {
    struct snapshot_writer *writer = context;
    return store_snapshot_writer_write(writer->to, data, size, writer->text);
}

/* Snapshot thread; the view is pinned. */
static enum err snapshot_encode(void *context, struct store_snapshot_writer *to,
                                struct err_text *text) {
    struct group *group = context;
    struct snapshot_writer writer = {to, text};
    return catalog_snapshot(group->snapshot_view, write_piece, &writer);
}

/* Triggered by bytes, not by count: the log has outgrown both a floor and the last snapshot; or the
 * disk is full. */
void group_maybe_snapshot(struct group *group) {
    if (group->storage == NULL || group->snapshot_writing || group->compactions > 0 ||
        group->closing || group->applying_failed || group->fenced || !group_has_leader(group) ||
        catalog_is_restoring(group->config.catalog) ||
        loop_now_ms(group->config.loop) < group->snapshot_retry_at_ms) {
        return;
    }
    uint64_t bytes = storage_log_bytes(group->storage);
    bool outgrown = bytes >= LIMIT_SNAPSHOT_TRIGGER_BYTES && bytes >= group->snapshot_bytes;
    if (!outgrown && !group->snapshot_wanted && storage_has_space(group->storage)) {
        return;
    }
    /* The view says which entries it holds: `applied` may be ahead of it. */
    const struct catalog_view *view = catalog_view(group->config.catalog);
    uint64_t index = view_applied(view);
    struct raft_status status;
    raft_get_status(group->raft, &status);
    if (index <= status.snapshot_index) {
        group->snapshot_wanted = false;
        return; /* nothing new to keep */
    }
    int pin = epoch_pin(group->config.epoch);
    if (pin < 0) {
        return;
    }
    group->snapshot_wanted = false;
    group->snapshot_pin = pin;
    group->snapshot_begun_at_ns = metrics_clock_ns();
    group->snapshot_view = view;
    group->snapshot_info = (struct store_snapshot_info){
        .index = index,
        .term = raft_get_term(group->raft, index),
    };
    struct buf out;
    buf_init(&out, STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX);
    const struct raft_configuration_at *at = raft_get_configuration_at(group->raft, index);
    ASSERT(at != NULL);
    group->snapshot_info.configuration_index = at->index;
    raft_configuration_encode(&at->configuration, &out);
    ASSERT(!out.failed);
    memcpy(group->snapshot_info.configuration, out.data, out.count);
    group->snapshot_info.configuration_size = (uint32_t)out.count;
    buf_clear(&out);
    struct store_snapshot_job job = {.info = group->snapshot_info,
                                     .encode = snapshot_encode,
                                     .done = snapshot_done,
                                     .context = group};
    group->snapshot_writing = storage_take_snapshot(group->storage, &job) == ERR_OK;
    if (!group->snapshot_writing) {
        epoch_unpin(group->config.epoch, pin);
    }
}
