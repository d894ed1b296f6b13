/* When checks run, and what becomes of their results. */
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/limits.h"
#include "checks/internal.h"

static const char *const status_names[] = {"passing", "warning", "critical"};

static void store(_Atomic uint64_t *stat, uint64_t value) {
    atomic_store_explicit(stat, value, memory_order_relaxed);
}

static void add(_Atomic uint64_t *stat, uint64_t value) {
    store(stat, atomic_load_explicit(stat, memory_order_relaxed) + value);
}

static const uint32_t lane_runs_max[LANE_COUNT] = {
    [LANE_COMMON] = LIMIT_CHECK_RUNS,
    [LANE_SCRIPT] = LIMIT_CHECK_SCRIPT_RUNS,
    [LANE_UDP] = LIMIT_CHECK_UDP_RUNS,
};

static struct lane *lane_of(const struct check *check) {
    return &check->checks->lanes[check->as->lane];
}

static void begin_run(struct check *check) {
    check->running = true;
    lane_of(check)->running++;
    add(&check->checks->stat_running, 1);
}

static void end_run(struct check *check) {
    ASSERT(check->running && lane_of(check)->running > 0);
    check->running = false;
    check->run = NULL;
    lane_of(check)->running--;
    add(&check->checks->stat_running, UINT64_MAX);
}

static void leave_queue(struct check *check) {
    TAILQ_REMOVE(&lane_of(check)->waiting, check, wait);
    check->waiting = false;
    add(&check->checks->stat_waiting, UINT64_MAX);
}

static void run_due(struct loop_timer *timer) {
    struct check *check = (struct check *)timer;
    ASSERT(!check->waiting && !check->running);
    if (check->as->passive) {
        check->as->start(check->checks, check);
        return;
    }
    TAILQ_INSERT_TAIL(&lane_of(check)->waiting, check, wait);
    check->waiting = true;
    add(&check->checks->stat_waiting, 1);
}

void schedule_begin(struct check *check, const struct checks_resume *resume) {
    struct checks *checks = check->checks;
    const struct check_spec *spec = check->spec;
    int64_t now_ms = loop_now_ms(checks->loop);
    int64_t delay_ms = spec->ttl_ms;
    if (!check->as->passive) {
        delay_ms = (int64_t)rand_below(&checks->rand, (uint64_t)spec->interval_ms);
    } else if (resume != NULL && resume->ttl_expires_wall_ms != 0) {
        int64_t left_ms = resume->ttl_expires_wall_ms - clock_wall_ms();
        /* A wall clock that was set back must not stretch the TTL. */
        delay_ms = left_ms < 0 ? 0 : left_ms > spec->ttl_ms ? spec->ttl_ms : left_ms;
    }
    check->timer.run = run_due;
    loop_timer_start(checks->loop, &check->timer, now_ms + delay_ms);
}

void schedule_end(struct check *check) {
    loop_timer_stop(check->checks->loop, &check->timer);
    if (check->waiting) {
        leave_queue(check);
    }
    if (check->running) {
        check->as->abort(check);
        end_run(check);
    }
}

/* From here and not from check_finish: a run that ends at once must not start the next one from
 * inside itself. */
void schedule_run_waiting(void *context) {
    struct checks *checks = context;
    for (int kind = 0; kind < LANE_COUNT; kind++) {
        struct lane *lane = &checks->lanes[kind];
        struct check *check;
        while (lane->running < lane_runs_max[kind] &&
               (check = TAILQ_FIRST(&lane->waiting)) != NULL) {
            leave_queue(check);
            begin_run(check);
            check->as->start(checks, check);
        }
    }
}

static void finish(struct check *check) {
    struct checks *checks = check->checks;
    end_run(check);
    add(&checks->stat_done, 1);
    loop_timer_start(checks->loop, &check->timer,
                     loop_now_ms(checks->loop) + check->spec->interval_ms);
}

void check_finish(struct check *check, enum catalog_health health, const char *output) {
    enum catalog_health told;
    finish(check);
    if (threshold_apply(&check->threshold, health, &told)) {
        check_tell(check, told, output);
    }
}

void check_finish_as_is(struct check *check, enum catalog_health health, const char *output) {
    finish(check);
    check_tell(check, health, output);
}

void check_tell(struct check *check, enum catalog_health health, const char *output) {
    uint64_t hash = hash_bytes(0, output, strlen(output));
    struct checks_result result = {.id = check->id,
                                   .generation = check->generation,
                                   .status = status_names[health],
                                   .output = output,
                                   .status_changed = check->status != health,
                                   .output_changed = check->output_hash != hash};
    if (check->told && !result.status_changed && !result.output_changed) {
        return;
    }
    check->told = true;
    check->status = (uint8_t)health;
    check->output_hash = hash;
    check->checks->result(check->checks->context, &result);
}
