/* Committed entries run through the catalog, in slices, each followed by a publish: what it
 * replaced can then be freed. */
#include "agent/group_internal.h"
#include "base/assert.h"
#include "base/container.h"

#define APPLY_SLICE 512 /* entries a turn */

/* An entry that this version cannot read stops everything: it, and what follows, stays unapplied.
 */
static void apply_entry(struct group *group, const struct store_entry *entry,
                        struct group_proposal *proposal) {
    struct err_text text = {""};
    enum err err = ERR_OK;
    if (group->applying_failed) {
        err = err_set(&text, ERR_VERSION, "cannot apply the log further");
    } else if (entry->kind == RAFT_ENTRY_COMMAND) {
        uint64_t begun_at_ns = metrics_clock_ns();
        err = catalog_apply(group->config.catalog, entry->index, entry->payload, entry->size,
                            proposal != NULL ? proposal->outcome : NULL, &text);
        metric_sample(group->metrics.fsm_apply, metrics_ms_since(begun_at_ns, metrics_clock_ns()));
    } else {
        catalog_skip(group->config.catalog, entry->index);
    }
    if (err == ERR_OK || err == ERR_REFUSED) {
        group->applied = entry->index;
    } else if (!group->applying_failed) {
        group->applying_failed = true;
        log_write(group->config.log, LOG_ERROR, MODULE,
                  "cannot apply the log further; run a newer version: error=\"%s\"", text.s);
    }
    if (proposal != NULL) {
        group_queue_answer(group, proposal, err, &text);
    }
}

/* Entries of batches in memory; false: the next one to apply is not in memory. */
static bool apply_batch(struct group *group) {
    struct batch *batch = group->batches;
    if (batch == NULL || batch->entries[0].index > group->applied + 1) {
        return false;
    }
    const struct store_entry *last = &batch->entries[batch->count - 1];
    ASSERT(last->index <= group->apply_to && batch->persisted);
    metric_sample(group->metrics.commit_time,
                  metrics_ms_since(batch->appended_at_ns, metrics_clock_ns()));
    metric_set(group->metrics.commit_logs, batch->count);
    for (uint32_t i = 0; i < batch->count; i++) {
        struct group_proposal *proposal = batch->proposals;
        if (proposal != NULL) {
            batch->proposals = proposal->next;
        }
        apply_entry(group, &batch->entries[i], proposal);
    }
    group->batches = batch->next;
    if (group->batches == NULL) {
        group->batches_last = &group->batches;
    }
    group_free_batch(batch);
    return true;
}

static void apply_read(void *context, const struct store_entry *entry) {
    apply_entry(context, entry, NULL);
}

/* A slice of what the log held at the start. */
static bool apply_from_disk(struct group *group) {
    uint64_t last = group->apply_to;
    if (group->batches != NULL && group->batches->entries[0].index <= last) {
        last = group->batches->entries[0].index - 1;
    }
    if (last > group->applied + APPLY_SLICE) {
        last = group->applied + APPLY_SLICE;
    }
    struct err_text text;
    enum err err = storage_read(group->storage, group->applied + 1, last, apply_read, group, &text);
    if (err != ERR_OK) {
        group_fail_disk(group, text.s);
        return false;
    }
    return true;
}

static void post_sweep(struct group *group);

static void run_apply(struct loop_task *task) {
    struct group *group = CONTAINER_OF(task, struct group, apply_task);
    group->apply_posted = false;
    if (group->closing) {
        return;
    }
    uint64_t end = group->applied + APPLY_SLICE;
    while (group->applied < group->apply_to && group->applied < end && !group->applying_failed) {
        if (!apply_batch(group) && !apply_from_disk(group)) {
            return;
        }
    }
    if (group->applied < group->apply_to && !group->applying_failed) {
        group_post_apply(group);
    }
    catalog_publish(group->config.catalog);
    group_judge_leadership(group);
    group_refresh_status(group);
    group->config.published(group->config.context);
    group_answer_applied(group);
    group_maybe_snapshot(group);
    if (catalog_sweep(group->config.catalog)) {
        post_sweep(group);
    }
}

/* What deleted prefixes have left goes some of it a turn. */
static void run_sweep(struct loop_task *task) {
    struct group *group = CONTAINER_OF(task, struct group, sweep_task);
    group->sweep_posted = false;
    if (!group->closing && catalog_sweep(group->config.catalog)) {
        post_sweep(group);
    }
}

static void post_sweep(struct group *group) {
    if (!group->sweep_posted) {
        group->sweep_posted = true;
        group->sweep_task.run = run_sweep;
        loop_post(group->config.loop, &group->sweep_task);
    }
}

void group_post_apply(struct group *group) {
    if (!group->apply_posted && !group->applying_failed) {
        group->apply_posted = true;
        group->apply_task.run = run_apply;
        loop_post(group->config.loop, &group->apply_task);
    }
}
