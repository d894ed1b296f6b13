#include "tests/sim/sim.h"

/* What a spare segment holds at least. */
#define SPARE_BYTES (SIM_SEGMENT_BYTES - 8192)
#define RECORD_BYTES_MAX(payload) ((uint64_t)(payload) + 40)

void check_space(struct sim *sim, enum err err, bool promised, const struct store_entry *entries,
                 uint32_t count) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < count; i++) {
        bytes += RECORD_BYTES_MAX(entries[i].size);
    }
    if (err == ERR_NO_SPACE && promised && bytes <= SPARE_BYTES) {
        sim_fail(sim, "entry %lu found no space after the log said there is some",
                 entries[0].index);
    }
}
