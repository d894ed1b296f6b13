#include "tests/sim/sim.h"

void check_rot_reported(struct sim *sim, enum err err, const struct store_log_found *found,
                        uint64_t bad, bool changed) {
    if (err != ERR_CORRUPT) {
        sim_fail(sim, "entry %lu rotted at or below the mark; open says %s", bad, err_name(err));
    } else if (found->bad_index > bad || (found->bad_index != bad && found->last != 0)) {
        sim_fail(sim, "entry %lu rotted; open blames %lu", bad, found->bad_index);
    }
    if (changed) {
        sim_fail(sim, "a log with rot at entry %lu was written to", bad);
    }
}

void check_starts(struct sim *sim, enum err err, const struct err_text *text) {
    if (err != ERR_OK) {
        sim_fail(sim, "refuses to start without a cause: %.150s", text->s);
    }
}
