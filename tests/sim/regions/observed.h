/* Included before everything else in the drivers under test, behind replaced.h: calls that the
 * checkers look at on their way. */
#ifndef SIM_REGIONS_OBSERVED_H
#define SIM_REGIONS_OBSERVED_H

#include "tests/sim/regions/replaced.h"

#include "catalog/failover.h"

bool sim_failover_core_step(struct failover_core *core, int64_t now_ms, failover_judge_fn *judge,
                            void *context);
#define failover_core_step sim_failover_core_step

#endif
