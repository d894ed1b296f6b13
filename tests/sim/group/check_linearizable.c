/* Linearizability, a key each. The log is the order that is claimed; it must be the clients', too:
 * what ended before an operation began stands before it. So a write's index is above, and what a
 * read returns is not below, any version that anybody had seen when it began; and values are those
 * that were written there. */
#include "tests/sim/group/group.h"

static void see(struct world *world, const struct op *op, uint64_t version) {
    uint64_t *floor = &world->floor[op->command.key];
    if (op->state == OP_OPEN && version > *floor) {
        *floor = version;
    }
}

static void check_write(struct world *world, uint64_t number, uint64_t index, bool changed) {
    struct op *op = &world->ops[number];
    const struct fact *fact = &world->facts[index];
    if (fact->op != number || fact->changed != changed) {
        world_fail(world, "write %lu is told to be entry %lu, which it is not", number, index);
    } else if (index <= op->floor) {
        world_fail(world,
                   "write %lu is entry %lu, before version %lu that was seen before it began",
                   number, index, op->floor);
    }
    see(world, op, fact->version);
    world->acked++;
    world->acked_in_calm += world->calm && op->state == OP_OPEN;
}

static void check_read(struct world *world, uint64_t number, uint64_t version, uint64_t value) {
    struct op *op = &world->ops[number];
    if (version < op->floor) {
        world_fail(world,
                   "read %lu (%s) returns version %lu of key %u; %lu was seen before it began",
                   number, op->kind == OP_READ ? "default" : "consistent", version, op->command.key,
                   op->floor);
        return;
    }
    const struct fact *fact = &world->facts[version <= INDEX_MAX ? version : 0];
    bool fits = version == 0 ? value == 0
                             : fact->applied && fact->changed && fact->key == op->command.key &&
                                   fact->value == value;
    if (!fits) {
        world_fail(world, "read %lu returns a value that was never there at version %lu", number,
                   version);
    }
    see(world, op, version);
    world->reads++;
}

void check_response(struct world *world, uint64_t number, enum err err, uint64_t version,
                    uint64_t value) {
    struct op *op = &world->ops[number];
    if (err == ERR_OK && op->kind == OP_WRITE) {
        check_write(world, number, version, value != 0);
    } else if (err == ERR_OK) {
        check_read(world, number, version, value);
    }
    if (err == ERR_NO_LEADER && op->kind == OP_WRITE && op->index != 0) {
        world_fail(world, "operation %lu was refused, and is entry %lu", number, op->index);
    }
    op->state = err == ERR_OK ? OP_DONE : err == ERR_NO_LEADER ? OP_REFUSED : OP_UNKNOWN;
}
