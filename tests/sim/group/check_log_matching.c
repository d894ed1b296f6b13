/* Two logs that hold an entry of the same index and term are equal up to it (3.5: Log Matching).
 * By induction: equal content, and the same term before it. */
#include <stdlib.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "tests/sim/group/group.h"

#define SLOTS 65536u

struct slot {
    uint64_t index, term, content, term_before; /* term_before 0: not known */
};

uint64_t content_of(uint8_t kind, const void *payload, size_t size) {
    return hash_bytes(kind, size > 0 ? payload : "", size);
}

void check_entry_held(struct server *server, uint64_t index) {
    struct world *world = server->world;
    const struct entry_seen *held = &server->log[index];
    if (world->matching == NULL) {
        world->matching = mem_calloc(SLOTS, sizeof(struct slot));
    }
    struct slot *slots = world->matching;
    uint64_t at = hash_mix(index * 31 + held->term) % SLOTS, tries = 0;
    while (slots[at].index != 0 && (slots[at].index != index || slots[at].term != held->term)) {
        at = (at + 1) % SLOTS;
        ASSERT(++tries < SLOTS);
    }
    struct slot *slot = &slots[at];
    uint64_t content = held->content, term_before = server->log[index - 1].term;
    if (slot->index == 0) {
        *slot = (struct slot){index, held->term, content, term_before};
        return;
    }
    if (slot->content != content) {
        world_fail(world, "entry %lu of term %lu is another one at %c", index, held->term,
                   server->letter);
    }
    if (slot->term_before != 0 && term_before != 0 && slot->term_before != term_before) {
        world_fail(world, "entry %lu of term %lu follows term %lu at %c, elsewhere %lu", index,
                   held->term, term_before, server->letter, slot->term_before);
    }
    slot->term_before = term_before != 0 ? term_before : slot->term_before;
}

void check_matching_clear(struct world *world) {
    free(world->matching);
    world->matching = NULL;
}
