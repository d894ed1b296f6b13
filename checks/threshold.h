/* Thresholds of a check (contract 11.3): how many equal results in a row it takes before one is
 * told. */
#ifndef CHECKS_THRESHOLD_H
#define CHECKS_THRESHOLD_H

#include <stdbool.h>
#include <stdint.h>

#include "catalog/types.h"

struct threshold {
    uint32_t success_before_passing;
    uint32_t failures_before_warning; /* <= failures_before_critical */
    uint32_t failures_before_critical;
    uint32_t successes, failures; /* in a row, at least one of them 0 after the first result */
};

/* As in the definition: 0 = unset, where failures_before_warning takes failures_before_critical.
 * The counters start at their thresholds, so that the very first result counts. */
void threshold_init(struct threshold *threshold, int64_t success_before_passing,
                    int64_t failures_before_warning, int64_t failures_before_critical);

/* Counts a result. True: *ret_health is what is told now, which may be milder than the result.
 * False: the old status and output stay. */
bool threshold_apply(struct threshold *threshold, enum catalog_health result,
                     enum catalog_health *ret_health);

#endif
