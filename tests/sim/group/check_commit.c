/* What is committed is in the log of every later leader (3.6.3: Leader Completeness), is the same
 * for everybody, and was on the disks of a majority when the leader said so. Configurations
 * change one by one. */
#include "tests/sim/group/group.h"

void check_complete(struct server *server) {
    struct world *world = server->world;
    struct raft_status status;
    raft_get_status(server->raft, &status);
    for (uint64_t i = status.snapshot_index + 1; i <= world->committed; i++) {
        const struct fact *fact = &world->facts[i];
        if (fact->known && fact->seen_in < server->output.term &&
            raft_get_term(server->raft, i) != fact->term) {
            world_fail(world, "%c leads term %lu without entry %lu, committed in term %lu",
                       server->letter, server->output.term, i, fact->seen_in);
            return;
        }
    }
}

static bool holds(struct world *world, const struct raft_id *id, uint64_t index, uint64_t term) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        const struct server *server = &world->servers[i];
        if (raft_id_equal(&server->id, id)) {
            return server->durable_term[index] == term || server->durable_snapshot >= index;
        }
    }
    return true; /* of a disk that is gone: it may have acknowledged before */
}

static void check_durable(struct server *server, uint64_t index) {
    struct world *world = server->world;
    const struct raft_configuration *configuration = raft_get_configuration(server->raft);
    uint64_t term = raft_get_term(server->raft, index);
    uint32_t voters = 0, holding = 0;
    for (uint32_t i = 0; i < configuration->count; i++) {
        if (configuration->servers[i].voter) {
            voters++;
            holding += holds(world, &configuration->servers[i].id, index, term);
        }
    }
    if (2 * holding <= voters) {
        world_fail(world, "%c commits entry %lu, which %u of %u voters have on disk",
                   server->letter, index, holding, voters);
    }
    if (term != server->output.term) {
        world_fail(world, "%c commits entry %lu of term %lu by counting in term %lu",
                   server->letter, index, term, server->output.term);
    }
}

void check_change(struct server *server, const struct raft_output *output,
                  const struct raft_event *event) {
    struct world *world = server->world;
    if (output->append.received || output->append.kind != RAFT_ENTRY_CONFIGURATION ||
        event->kind != RAFT_EVENT_CHANGE) {
        return;
    }
    uint64_t index = output->append.first;
    const struct raft_configuration_at *before = raft_get_configuration_at(server->raft, index - 1);
    if (before == NULL || before->index > server->output.commit) {
        world_fail(world, "%c changes the configuration at %lu before the last one is committed",
                   server->letter, index);
    }
    if (raft_get_term(server->raft, server->output.commit) != output->term) {
        world_fail(world, "%c changes the configuration at %lu with nothing of term %lu committed",
                   server->letter, index, output->term);
    }
}

/* What the core takes to be on the disk is there. */
void check_persisted(struct server *server) {
    struct raft_status status;
    raft_get_status(server->raft, &status);
    uint64_t index = status.persisted;
    if (index > server->durable_snapshot &&
        server->durable_term[index] != raft_get_term(server->raft, index)) {
        world_fail(server->world, "%c takes entry %lu of term %lu to be on its disk",
                   server->letter, index, raft_get_term(server->raft, index));
    }
}

/* What stands there, as soon as somebody has it in memory. */
void check_content(struct server *server, uint64_t index) {
    struct fact *fact = &server->world->facts[index];
    const struct entry_seen *seen = &server->log[index];
    if (!fact->known || seen->term != fact->term) {
        return;
    }
    if (fact->content == 0) {
        fact->content = seen->content;
    } else if (fact->content != seen->content) {
        world_fail(server->world, "%c holds another entry %lu than was committed", server->letter,
                   index);
    }
}

void check_committed(struct server *server, uint64_t before) {
    struct world *world = server->world;
    uint64_t commit = server->output.commit;
    if (commit > INDEX_MAX) {
        world_fail(world, "the run is too long: entry %lu", commit);
        return;
    }
    for (uint64_t i = before + 1; i <= commit; i++) {
        struct fact *fact = &world->facts[i];
        uint64_t term = raft_get_term(server->raft, i);
        if (term == 0) {
            continue; /* inside a snapshot */
        }
        if (fact->known && fact->term != term) {
            world_fail(world, "%c commits entry %lu of term %lu; it was committed with term %lu",
                       server->letter, i, term, fact->term);
            return;
        }
        if (!fact->known) {
            fact->known = true;
            fact->term = term;
            fact->seen_in = server->output.term;
            fact->content = 0;
        }
        check_content(server, i);
    }
    if (commit > before && server->output.role == RAFT_LEADER) {
        check_durable(server, commit);
    }
    world->committed = commit > world->committed ? commit : world->committed;
}
