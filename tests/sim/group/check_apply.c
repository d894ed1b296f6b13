/* Everybody applies the same entries in the same order, each once (3.6.3: State Machine Safety);
 * and what a client was told to be refused, nobody ever applies. */
#include "tests/sim/group/group.h"

static void note(struct world *world, struct server *server, uint64_t index,
                 const struct command *command, bool changed) {
    struct fact *fact = &world->facts[index];
    struct op *op = &world->ops[command->op];
    fact->applied = true;
    fact->chain = server->kv.chain;
    fact->op = command->op;
    fact->key = command->key;
    fact->changed = changed;
    fact->value = server->kv.value[command->key];
    fact->version = server->kv.version[command->key];
    if (command->op == 0) {
        return;
    }
    if (op->state == OP_REFUSED) {
        world_fail(world, "operation %lu was refused, and is applied as entry %lu", command->op,
                   index);
    }
    if (op->index != 0) {
        world_fail(world, "operation %lu is applied as entry %lu and %lu", command->op, op->index,
                   index);
    }
    op->index = index;
}

void check_applied(struct server *server, uint64_t index, uint64_t term, const struct held *held,
                   const struct command *command, bool changed) {
    struct world *world = server->world;
    struct fact *fact = &world->facts[index];
    if (index != server->kv.applied + 1) {
        world_fail(world, "%c applies entry %lu on top of %lu", server->letter, index,
                   server->kv.applied);
        return;
    }
    if (index > server->output.commit) {
        world_fail(world, "%c applies entry %lu, which is not committed", server->letter, index);
    }
    if (fact->known && (fact->term != term || fact->content != content_of(held))) {
        world_fail(world, "%c applies another entry %lu, of term %lu", server->letter, index, term);
        return;
    }
    if (!fact->applied) {
        note(world, server, index, command, changed);
    } else if (fact->chain != server->kv.chain) {
        world_fail(world, "%c comes to another state by entry %lu", server->letter, index);
    }
}

void check_restored(struct server *server) {
    struct world *world = server->world;
    uint64_t index = server->kv.applied;
    if (index > 0 && (index > INDEX_MAX || !world->facts[index].applied ||
                      world->facts[index].chain != server->kv.chain)) {
        world_fail(world, "%c restores a state at %lu that never was", server->letter, index);
    }
}

void check_equal(struct world *world) {
    for (uint32_t i = 1; i < world->server_count; i++) {
        if (world->servers[i].kv.applied == world->servers[0].kv.applied &&
            world->servers[i].kv.chain != world->servers[0].kv.chain) {
            world_fail(world, "%c and A hold different states", world->servers[i].letter);
        }
    }
}
