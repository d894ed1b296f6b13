/* Linearizability. The log is the order that is claimed; it must be the clients', too: what ended
 * before an operation began stands before it. So a write's index is above, and the state that a
 * consistent read was answered from is not below, any index that anybody had seen when it began. A
 * default read holds every write that was acknowledged before; a follower may have shown more, for
 * it may apply what is committed some milliseconds before the leader does. What a write, cas or
 * transaction answers, and what a read returns, is what the model says of that index. */
#include "tests/sim/group/group.h"

static void see(struct world *world, const struct op *op, uint64_t index) {
    if (op->state == OP_OPEN && index > world->floor) {
        world->floor = index;
    }
}

static void check_write(struct world *world, uint64_t number, const struct answer *answer) {
    struct op *op = &world->ops[number];
    if (op->index == 0) {
        world_fail(world, "write %lu is told to be done, and nobody has applied it", number);
        return;
    }
    if (op->index <= op->floor) {
        world_fail(world, "write %lu is entry %lu, before %lu that was seen before it began",
                   number, op->index, op->floor);
    }
    if (answer->err == ERR_OK && (answer->unchanged != op->unchanged || op->refused)) {
        world_fail(world, "write %lu, entry %lu: its condition %s, and it was told that it %s",
                   number, op->index, op->unchanged ? "did not hold" : "held",
                   answer->unchanged ? "did not" : "did");
    }
    if (answer->fence != op->fence && answer->err == ERR_OK && answer->fence != 0) {
        world_fail(world, "write %lu is told the fencing index %lu; it is %lu", number,
                   answer->fence, op->fence);
    }
    see(world, op, op->index);
    if (op->state == OP_OPEN && op->index > world->written) {
        world->written = op->index;
    }
    world->acked++;
    world->acked_in_calm += world->calm && op->state == OP_OPEN;
}

static void check_read(struct world *world, uint64_t number, const struct answer *answer) {
    struct op *op = &world->ops[number];
    const struct version *version = model_at(&world->model, op->key, answer->applied);
    if (op->kind != OP_STALE_READ && answer->applied < op->floor) {
        world_fail(world, "read %lu (%s) is of %lu; %lu was seen before it began", number,
                   op->kind == OP_READ ? "default" : "consistent", answer->applied, op->floor);
        return;
    }
    if (answer->applied > world->model.applied || version->present != answer->present ||
        version->modify != answer->modify || version->op != answer->op) {
        world_fail(world, "read %lu returns what was not there at %lu", number, answer->applied);
    }
    if (op->kind != OP_STALE_READ) {
        see(world, op, answer->applied);
    }
    world->reads++;
}

/* Who answers consistent reads without asking anybody shows no less than this server now does. */
void check_newest(struct server *server) {
    struct world *world = server->world;
    for (uint32_t i = 0; i < world->server_count; i++) {
        const struct server *other = &world->servers[i];
        if (other->up && other->group != NULL && group_may_read(other->group, true) &&
            server_view_applied(other) < server->view_seen) {
            world_fail(world, "%c would answer a consistent read from %lu; %c shows %lu",
                       other->letter, server_view_applied(other), server->letter,
                       server->view_seen);
        }
    }
}

/* Errors that say: surely not in the log. */
static bool is_refusal(enum err err) {
    return err == ERR_NO_LEADER || err == ERR_OVERLOADED || err == ERR_NO_SPACE ||
           err == ERR_TOO_LARGE;
}

void check_response(struct world *world, uint64_t number, const struct answer *answer) {
    struct op *op = &world->ops[number];
    bool done = answer->err == ERR_OK || answer->err == ERR_REFUSED;
    if (done && op->kind == OP_WRITE) {
        check_write(world, number, answer);
    } else if (answer->err == ERR_OK) {
        check_read(world, number, answer);
    }
    if (is_refusal(answer->err) && op->kind == OP_WRITE && op->index != 0) {
        world_fail(world, "operation %lu was refused, and is entry %lu", number, op->index);
    }
    world_note(world, number << 8 ^ (uint64_t)answer->err ^ answer->applied << 20);
    op->state = done ? OP_DONE : is_refusal(answer->err) ? OP_REFUSED : OP_UNKNOWN;
}
