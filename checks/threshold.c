#include "checks/threshold.h"

static uint32_t clamp(int64_t value) {
    return value < 0 ? 0 : value > INT32_MAX ? INT32_MAX : (uint32_t)value;
}

static void count(uint32_t *counter) {
    if (*counter < UINT32_MAX) {
        *counter += 1;
    }
}

void threshold_init(struct threshold *threshold, int64_t success_before_passing,
                    int64_t failures_before_warning, int64_t failures_before_critical) {
    threshold->success_before_passing = clamp(success_before_passing);
    threshold->failures_before_critical = clamp(failures_before_critical);
    threshold->failures_before_warning = failures_before_warning != 0
                                             ? clamp(failures_before_warning)
                                             : threshold->failures_before_critical;
    threshold->successes = threshold->success_before_passing;
    threshold->failures = threshold->failures_before_critical;
}

bool threshold_apply(struct threshold *threshold, enum catalog_health result,
                     enum catalog_health *ret_health) {
    if (result != HEALTH_CRITICAL) {
        threshold->failures = 0;
        count(&threshold->successes);
        if (threshold->successes < threshold->success_before_passing) {
            return false;
        }
        *ret_health = result;
        return true;
    }
    threshold->successes = 0;
    count(&threshold->failures);
    if (threshold->failures >= threshold->failures_before_critical) {
        *ret_health = HEALTH_CRITICAL;
        return true;
    }
    if (threshold->failures >= threshold->failures_before_warning) {
        *ret_health = HEALTH_WARNING;
        return true;
    }
    return false;
}
