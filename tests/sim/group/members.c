/* What an operator or an autopilot does, so that the group gets whole again. */
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

static bool is_alive(struct world *world, const struct raft_id *id) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        if (raft_id_equal(&world->servers[i].id, id)) {
            return true;
        }
    }
    return false;
}

/* The next change that brings the configuration closer to what it shall be. */
static bool choose(struct world *world, const struct raft_configuration *configuration,
                   struct raft_event *event) {
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (!is_alive(world, &configuration->servers[i].id)) {
            event->change.kind = RAFT_CHANGE_REMOVE; /* its disk is gone */
            event->change.id = configuration->servers[i].id;
            return true;
        }
    }
    for (uint32_t i = 0; i < world->server_count; i++) {
        const struct server *server = &world->servers[i];
        const struct raft_server *entry = find(configuration, &server->id);
        event->change.id = server->id;
        if (entry == NULL) {
            event->change.kind = RAFT_CHANGE_ADD_LEARNER;
            return true;
        }
        if (!entry->voter && !server->learner) {
            event->change.kind = RAFT_CHANGE_PROMOTE;
            if (server->up && world_one_in(world, 2)) {
                return true;
            }
        }
    }
    return false;
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
        if (member && !status.repairing && server->kv.applied + 5 > leader->kv.applied &&
            server->output.leader_known) {
            server->damaged = false;
        }
    }
}

void members_tend(struct world *world) {
    struct server *leader = members_leader(world);
    if (leader != NULL) {
        struct raft_event event = {.kind = RAFT_EVENT_CHANGE};
        if ((world->calm || world_one_in(world, 4)) &&
            choose(world, raft_get_configuration(leader->raft), &event)) {
            server_step(leader, &event);
        }
        judge_damage(world, leader);
    }
    world_post(world, world->calm ? 60 * MS : 150 * MS, EVENT_MEMBERS, NULL);
}
