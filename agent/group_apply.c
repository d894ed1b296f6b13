/* Committed entries run through the catalog in slices, bounded by the rows that they touch. Each
 * slice is followed by a publish, after which what it replaced can be freed; but a command that
 * touches more rows than a slice may is spread over several, and published once, at its end. */
#include "agent/group_internal.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mutant.h"

static bool slice_is_full(const struct group *group) {
    return catalog_touched(group->config.catalog) >= group->slice_end;
}

/* What the entry's command has left; true: the entry is applied. */
static bool finish_entry(struct group *group) {
    struct catalog *catalog = group->config.catalog;
    uint64_t touched = catalog_touched(catalog);
    return catalog_go_on(catalog, group->slice_end > touched ? group->slice_end - touched : 1);
}

static bool may_go_on(const struct group *group) {
    return !group->applying_failed && (!group->fenced || group->entry_begun);
}

static void end_entry(struct group *group, uint64_t index, struct group_proposal *proposal,
                      enum err err, const struct err_text *text) {
    if (err == ERR_OK || err == ERR_REFUSED) {
        group->applied = index;
        group_check_applied(group, index);
    } else if (!group->applying_failed) {
        group->applying_failed = true;
        log_write(group->config.log, LOG_ERROR, MODULE,
                  "cannot apply the log further; run a newer version: error=\"%s\"", text->s);
        struct raft_event event = {.kind = RAFT_EVENT_MAY_LEAD, .may_lead = {.may = false}};
        group_step(group, &event);
    }
    if (proposal != NULL) {
        group_queue_answer(group, proposal, err, text);
    }
}

/* An entry that this version cannot read stops everything: it, and what follows, stays unapplied.
 * False: the entry has more to do than the slice has room for. */
static bool apply_entry(struct group *group, const struct store_entry *entry,
                        struct group_proposal *proposal) {
    struct err_text text = {""};
    enum err err = ERR_OK;
    if (group->entry_begun) {
        group->entry_begun = !finish_entry(group);
    } else if (group->applying_failed) {
        err = err_set(&text, ERR_VERSION, "cannot apply the log further");
    } else if (entry->kind == RAFT_ENTRY_COMMAND) {
        uint64_t begun_at_ns = metrics_clock_ns();
        err = catalog_begin(group->config.catalog, entry->index, entry->payload, entry->size,
                            proposal != NULL ? proposal->outcome : NULL, &text);
        group->entry_begun = !finish_entry(group);
        double ms = metrics_ms_since(begun_at_ns, metrics_clock_ns());
        metric_sample(group->metrics.fsm_apply, ms);
        group_metrics_command(&group->metrics, catalog_last_kind(group->config.catalog), ms);
    } else {
        catalog_skip(group->config.catalog, entry->index);
    }
    if (!group->entry_begun) {
        end_entry(group, entry->index, proposal, err, &text);
    }
    return !group->entry_begun;
}

static void end_batch(struct group *group, const struct batch *batch) {
    metric_sample(group->metrics.commit_time,
                  metrics_ms_since(batch->appended_at_ns, metrics_clock_ns()));
    metric_set(group->metrics.commit_logs, batch->count);
    group_trim(group);
}

/* Entries of the batch that holds the next one, until the slice is full; false: it is not in
 * memory. */
static bool apply_batch(struct group *group) {
    const struct store_entry *next_entry;
    struct batch *batch = log_tail_find(&group->tail, group->applied + 1, &next_entry);
    if (batch == NULL) {
        return false;
    }
    ASSERT(batch->persisted && next_entry == &batch->entries[batch->applied]);
    while (batch->applied < batch->kept && group->applied < group->apply_to &&
           !slice_is_full(group) && may_go_on(group)) {
        struct group_proposal *proposal = batch->proposals;
        struct group_proposal *next = proposal != NULL ? proposal->next : NULL;
        if (apply_entry(group, &batch->entries[batch->applied], proposal)) {
            batch->proposals = next;
            batch->applied++;
        }
    }
    if (batch->applied == batch->kept) {
        end_batch(group, batch);
    }
    return true;
}

void group_skip_to(struct group *group, uint64_t index) {
    static const struct err_text lost = {"leadership lost while committing log"};
    const struct store_entry *entry;
    while (group->applied < index) {
        struct batch *batch = log_tail_find(&group->tail, group->applied + 1, &entry);
        if (batch == NULL) { /* on disk alone */
            uint64_t next =
                group->tail.count > 0 ? log_tail_get(&group->tail, 0)->entries[0].index : index + 1;
            group->applied = next > group->applied && next <= index ? next - 1 : index;
            continue;
        }
        if (batch->proposals != NULL) {
            struct group_proposal *proposal = batch->proposals;
            batch->proposals = proposal->next;
            group_queue_answer(group, proposal, ERR_TIMEOUT, &lost);
        }
        group->applied++;
        batch->applied = (uint32_t)(group->applied - batch->entries[0].index) + 1;
        if (batch->applied == batch->kept) {
            end_batch(group, batch);
        }
    }
}

/* At the start, when nobody waits: whole. */
static void apply_read(void *context, const struct store_entry *entry) {
    struct group *group = context;
    uint64_t slice_end = group->slice_end;
    group->slice_end = UINT64_MAX;
    apply_entry(group, entry, NULL);
    group->slice_end = slice_end;
}

/* A slice of what the log held at the start. */
static bool apply_from_disk(struct group *group) {
    uint64_t last = group->apply_to;
    if (group->tail.count > 0 && log_tail_get(&group->tail, 0)->entries[0].index <= last) {
        last = log_tail_get(&group->tail, 0)->entries[0].index - 1;
    }
    if (last > group->applied + LIMIT_APPLY_ENTRIES) {
        last = group->applied + LIMIT_APPLY_ENTRIES;
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
    if (group->fenced && !group->entry_begun) {
        group_heal_look(group);
        return; /* it goes on from what replaces the rows */
    }
    group->slice_end = catalog_touched(group->config.catalog) + LIMIT_APPLY_ROWS;
    while (group->applied < group->apply_to && !slice_is_full(group) && may_go_on(group)) {
        if (!apply_batch(group) && !apply_from_disk(group)) {
            return;
        }
    }
    if (group->applied < group->apply_to && may_go_on(group)) {
        group_post_apply(group);
    }
    if (group->entry_begun) {
        return; /* half a command is nobody's business */
    }
    if (MUTANT(answer_before_publish)) {
        group_answer_applied(group);
    }
    catalog_publish(group->config.catalog);
    group_judge_leadership(group);
    group_refresh_status(group);
    group->config.published(group->config.context);
    group_reads_applied(group);
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
