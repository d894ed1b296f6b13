/* What the pool tells the servers of each other, and who has got back what it had lost. */
#include "tests/sim/group/group.h"

struct server *members_leader(struct world *world) {
    struct server *leader = NULL;
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        if (server->up && server->output.role == RAFT_LEADER && server->output.leader_ready &&
            (leader == NULL || server->output.term > leader->output.term)) {
            leader = server;
        }
    }
    return leader;
}

static const struct raft_server *find(const struct raft_configuration *configuration,
                                      const struct raft_id *id) {
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (raft_id_equal(&configuration->servers[i].id, id)) {
            return &configuration->servers[i];
        }
    }
    return NULL;
}

static void judge_damage(struct world *world, struct server *leader) {
    const struct raft_configuration *configuration = raft_get_configuration(leader->raft);
    for (uint32_t i = 0; i < world->server_count; i++) {
        struct server *server = &world->servers[i];
        if (!server->up || !server->damaged) {
            continue;
        }
        struct raft_status status;
        raft_get_status(server->raft, &status);
        const struct raft_server *entry = find(configuration, &server->id);
        bool member = entry != NULL && (entry->voter || server->learner);
        if (member && !status.repairing &&
            server_view_applied(server) + 5 > server_view_applied(leader) &&
            server->output.leader_known) {
            server->damaged = false;
        }
    }
}

void members_tend(struct world *world) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        if (world->calm || world_one_in(world, 3)) {
            server_tell_pool(&world->servers[i]);
        }
    }
    if (world->calm) {
        nemesis_operator(world);
    }
    struct server *leader = members_leader(world);
    if (leader != NULL) {
        judge_damage(world, leader);
    }
    world_post(world, world->calm ? 60 * MS : 150 * MS, EVENT_MEMBERS, NULL);
}
