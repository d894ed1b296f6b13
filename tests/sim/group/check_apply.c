/* Everybody applies the same entries in the same order, each once, to the same state with the same
 * answers (3.6.3: State Machine Safety). That what was refused is applied by nobody: model.c. */
#include "tests/sim/group/group.h"

void check_applied(struct server *server, uint64_t index, uint64_t content) {
    struct world *world = server->world;
    struct fact *fact = &world->facts[index <= INDEX_MAX ? index : 0];
    if (index != server->applied + 1) {
        world_fail(world, "%c applies entry %lu on top of %lu", server->letter, index,
                   server->applied);
        return;
    }
    if (index > server->output.commit) {
        world_fail(world, "%c applies entry %lu, which is not committed", server->letter, index);
    }
    if (content != 0 && fact->known && fact->content != 0 && fact->content != content) {
        world_fail(world, "%c applies another entry %lu", server->letter, index);
        return;
    }
    if (index > world->model.applied + 1) {
        world_fail(world, "%c applies entry %lu, and nobody the one before", server->letter, index);
    }
    fact->applied = true;
    server->applied = index;
}

void check_answered(struct server *server, uint64_t index, enum err err) {
    struct world *world = server->world;
    struct fact *fact = &world->facts[index];
    if (fact->judged && fact->answer != err) {
        world_fail(world, "%c answers entry %lu with %s; it was %s", server->letter, index,
                   err_name(err), err_name(fact->answer));
    }
    fact->judged = true;
    fact->answer = err;
}

/* A published view: as everybody else's of the same index, and as the model has it. */
void check_view(struct server *server) {
    struct world *world = server->world;
    const struct catalog_view *view = catalog_view(server->catalog);
    uint64_t index = view_applied(view), hash = view_row_hash(view);
    struct fact *fact = &world->facts[index <= INDEX_MAX ? index : 0];
    if (index < server->view_seen) {
        world_fail(world, "%c publishes %lu behind %lu", server->letter, index, server->view_seen);
    }
    server->view_seen = index;
    world_note(world, hash ^ index << 40 ^ server->at);
    if (!fact->viewed) {
        fact->viewed = true;
        fact->row_hash = hash;
    } else if (fact->row_hash != hash) {
        world_fail(world, "%c comes to another state by entry %lu", server->letter, index);
    }
    for (uint32_t key = 0; key < KEYS && !world->failed; key++) {
        const struct version *known = model_at(&world->model, key, index);
        const struct catalog_kv *kv = view_get_kv(view, model_key(key));
        const char *session = kv != NULL ? catalog_kv_session(kv) : "";
        if ((kv != NULL) != known->present ||
            (kv != NULL && (kv->modify_index != known->modify || kv->flags != known->op ||
                            kv->create_index != known->create)) ||
            model_find_session(&world->model, session) != (*session != '\0' ? known->session : 0) ||
            (known->session != 0) != (*session != '\0')) {
            world_fail(world, "%c holds another %s at %lu than the commands say", server->letter,
                       model_key(key), index);
        }
    }
}

void check_restored(struct server *server) {
    struct world *world = server->world;
    const struct catalog_view *view = catalog_view(server->catalog);
    uint64_t index = view_applied(view);
    if (index == 0) {
        return;
    }
    if (index > INDEX_MAX || !world->facts[index].applied) {
        world_fail(world, "%c restores a state at %lu that never was", server->letter, index);
        return;
    }
    check_view(server);
}

void check_equal(struct world *world) {
    for (uint32_t i = 0; i < world->server_count; i++) {
        server_enter(&world->servers[i]);
        check_view(&world->servers[i]);
    }
}
