/* Liveness. */
#include <stdio.h>

#include "base/mutant.h"
#include "agent/group_internal.h"
#include "tests/sim/group/group.h"

#define STALL_MS 2000

/* A leader whose disk makes no progress gives up: 2 s by its own clock, as its turn has read it,
 * and some slack. */
void check_disk_progress(struct server *server) {
    struct raft_status status;
    if (server->output.role != RAFT_LEADER || server->group->disk_failed) {
        return;
    }
    raft_get_status(server->raft, &status);
    const struct entry_seen *first = &server->log[status.persisted + 1];
    if (status.persisted >= status.last || first->term == 0) {
        return;
    }
    uint64_t since =
        first->pushed_at > server->reported_at ? first->pushed_at : server->reported_at;
    uint64_t late_us = server->world->now - since;
    uint64_t waited_ms = server_now_ms(server) - late_us * server->rate / (1000 * 1000);
    uint64_t now_ms = (uint64_t)loop_now_ms(server->loop);
    uint64_t waits_ms = now_ms > waited_ms ? now_ms - waited_ms : 0;
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
            server_view_applied(server) != leader->output.commit) {
            snprintf(why, size, "%c has applied %lu, %c has committed %lu", server->letter,
                     server_view_applied(server), leader->letter, leader->output.commit);
            return false;
        }
    }
    for (uint32_t i = 1; i <= world->model.session_count; i++) {
        if (world->model.sessions[i].alive_at_all) {
            snprintf(why, size, "session %s has not ended", world->model.sessions[i].id);
            return false;
        }
    }
    if (world->acked_in_calm == 0) {
        snprintf(why, size, "no write went through");
        return false;
    }
    return true;
}
