#include "tests/sim/sim.h"

void check_apply(struct sim *sim, const struct server *server, uint64_t index, uint64_t term,
                 uint64_t serial, uint64_t chain) {
    if (index != server->applied + 1) {
        sim_fail(sim, "entry %lu is applied on top of %lu", index, server->applied);
        return;
    }
    struct fact *fact = &sim->facts[index];
    if (index > sim->known) {
        *fact = (struct fact){.term = term, .serial = serial, .chain = chain};
        sim->known = index;
    } else if (fact->term != term || fact->serial != serial || fact->chain != chain) {
        sim_fail(sim, "entry %lu applies as term %lu, command %lu; before as term %lu, command %lu",
                 index, term, serial, fact->term, fact->serial);
    }
}
