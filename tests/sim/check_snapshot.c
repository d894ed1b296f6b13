#include "tests/sim/sim.h"

void check_snapshot_state(struct sim *sim, const struct store_snapshot_info *info, uint64_t chain) {
    uint64_t index = info->index;
    if (index > sim->known || sim->facts[index].term != info->term ||
        sim->facts[index].chain != chain) {
        sim_fail(sim, "the snapshot of %lu holds another state than was applied", index);
    }
}

void check_no_hole(struct sim *sim, uint64_t snapshot_index, const struct store_log_found *found) {
    if (snapshot_index < sim->snapshot_index) {
        sim_fail(sim, "the snapshot of %lu was reported durable; now the newest is %lu",
                 sim->snapshot_index, snapshot_index);
    }
    if (found->first > snapshot_index + 1) {
        sim_fail(sim, "a hole: the snapshot ends at %lu, the log begins at %lu", snapshot_index,
                 found->first);
    }
}
