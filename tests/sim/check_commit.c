#include "tests/sim/sim.h"

void check_commit(struct sim *sim, const struct server *server, uint64_t commit_before) {
    const struct raft_output *output = &server->output;
    if (output->commit < commit_before) {
        sim_fail(sim, "commit went back from %lu to %lu", commit_before, output->commit);
    }
    if (output->commit == commit_before) {
        return;
    }
    uint64_t term = raft_get_term(server->raft, output->commit);
    if (term != output->term) {
        sim_fail(sim, "term %lu committed entry %lu of term %lu by counting", output->term,
                 output->commit, term);
    }
    if (output->commit > sim->log_synced) {
        sim_fail(sim, "entry %lu is committed, but only %lu is on the disk", output->commit,
                 sim->log_synced);
    }
}
