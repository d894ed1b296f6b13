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

static void leave_queue(struct check *check) {
    TAILQ_REMOVE(&check->checks->waiting, check, wait);
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
    TAILQ_INSERT_TAIL(&check->checks->waiting, check, wait);
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
        check->running = false;
        store(&check->checks->stat_running, --check->checks->running);
    }
    check->run = NULL;
}

/* From here and not from check_finish: a run that ends at once must not start the next one from
 * inside itself. */
void schedule_run_waiting(void *context) {
    struct checks *checks = context;
    struct check *check;
    while (checks->running < LIMIT_CHECK_RUNS && (check = TAILQ_FIRST(&checks->waiting)) != NULL) {
        leave_queue(check);
        check->running = true;
        store(&checks->stat_running, ++checks->running);
        check->as->start(checks, check);
    }
}

void check_finish(struct check *check, enum catalog_health health, const char *output) {
    struct checks *checks = check->checks;
    ASSERT(check->running && checks->running > 0);
    check->running = false;
    check->run = NULL;
    store(&checks->stat_running, --checks->running);
    add(&checks->stat_done, 1);
    loop_timer_start(checks->loop, &check->timer,
                     loop_now_ms(checks->loop) + check->spec->interval_ms);
    enum catalog_health told;
    if (threshold_apply(&check->threshold, health, &told)) {
        check_tell(check, told, output);
    }
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
