#include <stdlib.h>
#include <string.h>

#include "tests/sim/sim.h"

void check_entry(struct sim *sim, const struct store_entry *entry) {
    uint64_t serial = 0;
    sim->entries++;
    if (entry->kind == RAFT_ENTRY_COMMAND) {
        uint64_t tag = 0;
        if (entry->size >= sizeof tag) {
            memcpy(&tag, entry->payload, sizeof tag);
        }
        serial = tag ^ sim_tag(0);
        if (serial == 0 || serial > sim->serials) {
            sim_fail(sim, "entry %lu was never proposed", entry->index);
            return;
        }
        uint32_t size;
        uint8_t *payload = sim_payload(sim, serial, &size);
        if (size != entry->size || memcmp(payload, entry->payload, size) != 0) {
            sim_fail(sim, "entry %lu differs from what was proposed", entry->index);
        }
        free(payload);
    }
    if (entry->index <= sim->known) {
        const struct fact *fact = &sim->facts[entry->index];
        if (fact->term != entry->term || fact->serial != serial) {
            sim_fail(sim, "entry %lu (term %lu, command %lu) was answered as term %lu, command %lu",
                     entry->index, entry->term, serial, fact->term, fact->serial);
        }
    }
}

void check_all_there(struct sim *sim, const struct server *server) {
    if (server->applied < sim->known) {
        sim_fail(sim, "entry %lu was answered and is gone: the log ends at %lu", sim->known,
                 server->applied);
    }
}
