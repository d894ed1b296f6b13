/* Liveness. */
#include <stdio.h>

#include "base/mutant.h"
#include "tests/sim/group/group.h"

#define CLIENTS_STOP_US (3000 * MS) /* as in client.c */
#define STALL_MS 2000

/* A leader whose disk makes no progress gives up: 2 s by its own clock, and some slack. */
void check_disk_progress(struct server *server) {
    const struct disk_op *op = server->queue;
    while (op != NULL && op->kind != DISK_APPEND) {
        op = op->next;
    }
    if (op == NULL || server->output.role != RAFT_LEADER || server->disk_failed) {
        return;
    }
    uint64_t waits_ms = (server->world->now - op->asked_at) * server->rate / (1000 * 1000);
    if (waits_ms > STALL_MS + 300) {
        world_fail(server->world, "%c leads though its disk has hung for %lu ms", server->letter,
                   waits_ms);
    }
}

static bool is_member(const struct raft_configuration *configuration, const struct server *server) {
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (raft_id_equal(&configuration->servers[i].id, &server->id)) {
            return configuration->servers[i].voter == !server->learner;
        }
    }
    return false;
}

bool check_live(struct world *world, char *why, size_t size) {
    struct server *leader = members_leader(world);
    if (leader == NULL) {
        snprintf(why, size, "there is no leader");
        return false;
    }
    const struct raft_configuration *configuration = raft_get_configuration(leader->raft);
    for (uint32_t i = 0; i < world->server_count; i++) {
        const struct server *server = &world->servers[i];
        if (!server->up || !is_member(configuration, server) ||
            configuration->count != world->server_count) {
            snprintf(why, size, "%c is %s", server->letter,
                     server->up ? "not yet what it shall be" : "down");
            return false;
        }
        if (world->now < world->calm_at + CLIENTS_STOP_US + 2000 * MS ||
            server->kv.applied != leader->output.commit) {
            snprintf(why, size, "%c has applied %lu, %c has committed %lu", server->letter,
                     server->kv.applied, leader->letter, leader->output.commit);
            return false;
        }
    }
    if (world->acked_in_calm == 0) {
        snprintf(why, size, "no write went through");
        return false;
    }
    return true;
}
