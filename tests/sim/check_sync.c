#include "tests/sim/disk.h"
#include "tests/sim/sim.h"

void check_no_answer_after_failed_sync(struct sim *sim, uint64_t index) {
    /* Syncs of snapshots and spare segments are run without faults, so it was the log's or the hard
     * state's. */
    if (disk_sync_has_failed()) {
        sim_fail(sim, "entry %lu was answered after a failed sync", index);
    }
}
