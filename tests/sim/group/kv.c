/* The state machine: a few keys, each with a version that never goes back. */
#include "base/hash.h"
#include "base/mutant.h"
#include "tests/sim/group/group.h"

bool kv_apply(struct kv *kv, uint64_t index, const struct command *command) {
    uint32_t key = command->key % KEYS;
    bool changes = command->kind != COMMAND_CAS || kv->version[key] == command->expect;
    kv->chain = hash_mix(kv->chain ^ hash_mix(index) ^ command->op ^ (changes ? 1ull << 63 : 0));
    if (changes) {
        bool gone = command->kind == COMMAND_DELETE;
        kv->value[key] = gone ? 0 : command->op;
        /* What is deleted leaves a tombstone: its index. */
        kv->version[key] = gone && MUTANT(tombstone_dropped) ? 0 : index;
    }
    return changes;
}
