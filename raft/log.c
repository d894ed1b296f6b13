#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "raft/internal.h"

void raft_log_clear(struct raft_log *log) {
    free(log->runs);
    *log = (struct raft_log){.first = 1};
}

static void push_run(struct raft_log *log, struct raft_run run) {
    if (log->run_count == log->run_capacity) {
        log->run_capacity = log->run_capacity == 0 ? 8 : 2 * log->run_capacity;
        log->runs = mem_realloc(log->runs, log->run_capacity * sizeof *log->runs);
    }
    log->runs[log->run_count++] = run;
}

/* The first index behind run i. */
static uint64_t run_end(const struct raft_log *log, uint32_t i) {
    return i + 1 < log->run_count ? log->runs[i + 1].first : log->last + 1;
}

static bool runs_fit(const struct raft_event *event) {
    uint64_t first = event->start.log_first;
    uint64_t last = event->start.log_last;
    const struct raft_run *runs = event->start.runs;
    if (event->start.run_count == 0 || runs[0].first != first) {
        return event->start.run_count == 0 && first == last + 1;
    }
    for (uint32_t i = 0; i < event->start.run_count; i++) {
        uint64_t term_before = i == 0 ? 0 : runs[i - 1].term;
        if (runs[i].term <= term_before || runs[i].first > last ||
            (i > 0 && runs[i].first <= runs[i - 1].first)) {
            return false;
        }
    }
    return true;
}

bool raft_log_load(struct raft_log *log, const struct raft_event *event, bool *ret_reset) {
    uint64_t snapshot_index = event->start.snapshot_index;
    uint64_t snapshot_term = event->start.snapshot_term;
    uint64_t first = event->start.log_first;
    uint64_t last = event->start.log_last;
    *ret_reset = false;
    /* Entries between snapshot and log must not be missing. */
    if (first == 0 || first > snapshot_index + 1 || !runs_fit(event) ||
        (snapshot_index == 0) != (snapshot_term == 0)) {
        return false;
    }
    /* A crash between the two steps of an install left the snapshot with a log that it replaces. */
    if (event->start.run_count == 0 || last < snapshot_index) {
        *ret_reset = event->start.run_count > 0;
        raft_log_reset(log, snapshot_index, snapshot_term);
        return true;
    }
    for (uint32_t i = 0; i < event->start.run_count; i++) {
        push_run(log, event->start.runs[i]);
    }
    log->first = first;
    log->last = last;
    uint64_t held = snapshot_index >= first ? raft_log_term(log, snapshot_index) : 0;
    log->snapshot_index = snapshot_index;
    log->snapshot_term = snapshot_term;
    if (held == 0 && log->runs[0].term < snapshot_term) {
        raft_log_clear(log);
        return false;
    }
    if (held != 0 && held != snapshot_term) {
        *ret_reset = true;
        raft_log_reset(log, snapshot_index, snapshot_term);
    }
    return true;
}

uint64_t raft_log_term(const struct raft_log *log, uint64_t index) {
    if (index < log->first || index > log->last) {
        return index == log->snapshot_index ? log->snapshot_term : 0;
    }
    uint32_t low = 0, high = log->run_count; /* runs[low].first <= index < runs[high].first */
    while (high - low > 1) {
        uint32_t middle = low + (high - low) / 2;
        *(log->runs[middle].first <= index ? &low : &high) = middle;
    }
    return log->runs[low].term;
}

void raft_log_append(struct raft_log *log, uint64_t term, uint32_t count) {
    uint64_t last_term = raft_log_term(log, log->last);
    ASSERT(count > 0);
    ASSERT(term >= last_term);
    if (log->run_count == 0 || term > log->runs[log->run_count - 1].term) {
        push_run(log, (struct raft_run){.first = log->last + 1, .term = term});
    }
    log->last += count;
}

void raft_log_truncate(struct raft_log *log, uint64_t index) {
    ASSERT(index > log->snapshot_index && index >= log->first && index <= log->last);
    while (log->run_count > 0 && log->runs[log->run_count - 1].first >= index) {
        log->run_count--;
    }
    log->last = index - 1;
}

void raft_log_reset(struct raft_log *log, uint64_t index, uint64_t term) {
    log->run_count = 0;
    log->first = index + 1;
    log->last = index;
    log->snapshot_index = index;
    log->snapshot_term = term;
}

bool raft_log_knows(const struct raft_log *log, uint64_t index) {
    return index == 0 ? log->first == 1 : raft_log_term(log, index) != 0;
}

uint64_t raft_log_find(const struct raft_log *log, uint64_t index, uint64_t term) {
    index = index > log->last ? log->last : index;
    for (uint32_t i = log->run_count; i > 0; i--) {
        if (log->runs[i - 1].first <= index && log->runs[i - 1].term <= term) {
            return index < run_end(log, i - 1) - 1 ? index : run_end(log, i - 1) - 1;
        }
    }
    return index < log->first ? index : log->first - 1;
}

uint64_t raft_log_run_end(const struct raft_log *log, uint64_t index) {
    uint32_t i = log->run_count;
    while (i > 0 && log->runs[i - 1].first > index) {
        i--;
    }
    ASSERT(i > 0);
    return run_end(log, i - 1) - 1;
}

void raft_log_compact(struct raft_log *log, uint64_t index, uint64_t term, uint64_t to) {
    ASSERT(index > log->snapshot_index && index <= log->last && to <= index);
    ASSERT(raft_log_term(log, index) == term);
    log->snapshot_index = index;
    log->snapshot_term = term;
    if (to < log->first) {
        return;
    }
    uint32_t gone = 0;
    while (gone < log->run_count && run_end(log, gone) <= to + 1) {
        gone++;
    }
    log->run_count -= gone;
    if (gone > 0) {
        memmove(log->runs, log->runs + gone, log->run_count * sizeof *log->runs);
    }
    if (log->run_count > 0 && log->runs[0].first <= to) {
        log->runs[0].first = to + 1;
    }
    log->first = to + 1;
}
