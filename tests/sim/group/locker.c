/* Users of locks, as docs/LOCKS.md tells: a session with a TTL, a lock taken with it, renewals, and
 * writes to what the lock protects, each with the fencing index of its grant. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/mem.h"
#include "catalog/codec.h"
#include "tests/sim/group/group.h"

#define NODE "n"

static void again(struct world *world, struct locker *locker, uint64_t most_us) {
    world_post(world, world_between(world, 1 * MS, most_us), EVENT_LOCKER, NULL)->a =
        (uint64_t)(locker - world->lockers);
}

static uint32_t number_of(const struct world *world, const struct locker *locker) {
    return CLIENTS_MAX + (uint32_t)(locker - world->lockers);
}

static struct session *session_of(struct world *world, const struct locker *locker) {
    return &world->model.sessions[locker->session];
}

/* ---- renewals ---- */

struct renewal {
    struct loop_task task;
    struct group_request request;
    struct server *server;
    struct locker *locker;
    uint64_t asked_us;
    char id[40];
};

static void renewal_over(struct renewal *renewal, enum err err) {
    struct world *world = renewal->server->world;
    struct event *event = world_post(world, world_between(world, 50, 800), EVENT_RENEWED, NULL);
    event->a = (uint64_t)(renewal->locker - world->lockers);
    event->b = renewal->asked_us;
    event->answer.err = renewal->server->dying ? ERR_CLOSED : err;
    event->data = mem_strdup(renewal->id);
    free(renewal);
}

static void leader_renewed(struct group_request *request, enum err err,
                           const struct err_text *text) {
    (void)text;
    renewal_over(CONTAINER_OF(request, struct renewal, request), err);
}

/* agent/backend.c: here, or at the leader. */
static void renew(struct loop_task *task) {
    struct renewal *renewal = CONTAINER_OF(task, struct renewal, task);
    struct server *server = renewal->server;
    enum err err = ERR_NO_LEADER;
    if (server->dying) {
        renewal_over(renewal, ERR_CLOSED);
        return;
    }
    if (group_leads(server->group)) {
        err = clocks_renew(server->clocks, renewal->id);
        if (err == ERR_OK) {
            check_session_renewed(server, renewal->id);
        }
    } else {
        renewal->request.done = leader_renewed;
        if (group_ask_leader(server->group, &renewal->request, RPC_METHOD_RENEW_SESSION,
                             renewal->id, strlen(renewal->id))) {
            return;
        }
    }
    renewal_over(renewal, err);
}

static void begin_renewal(struct world *world, struct locker *locker) {
    struct client *client = &world->clients[number_of(world, locker)];
    struct server *server = &world->servers[client->target];
    if (locker->renewing || !server->up) {
        client->target = (uint32_t)rand_below(&world->rand, world->server_count);
        return;
    }
    struct renewal *renewal = mem_calloc(1, sizeof *renewal);
    renewal->task.run = renew;
    renewal->server = server;
    renewal->locker = locker;
    renewal->asked_us = world->now;
    memcpy(renewal->id, session_of(world, locker)->id, sizeof renewal->id);
    locker->renewing = true;
    loop_post(server->loop, &renewal->task);
}

void locker_renewed(struct world *world, const struct event *event) {
    struct locker *locker = &world->lockers[event->a];
    locker->renewing = false;
    if (locker->session == 0 || strcmp(session_of(world, locker)->id, event->data) != 0) {
        return;
    }
    if (event->answer.err == ERR_OK) {
        locker->renewed_us = event->b;
    } else if (event->answer.err == ERR_NOT_FOUND) {
        locker->session = 0;
        locker->fence = 0;
    } else {
        world->clients[number_of(world, locker)].target =
            (uint32_t)rand_below(&world->rand, world->server_count);
    }
}

/* ---- sessions and locks ---- */

static void make_session(struct world *world, struct locker *locker) {
    char id[40], name[24];
    uint64_t number = client_number(world);
    int64_t ttl_ms = (int64_t)world_between(world, 300, 2500);
    snprintf(id, sizeof id, "%08x-0000-4000-8000-%012x", (unsigned)world->seed, (unsigned)number);
    snprintf(name, sizeof name, "%lu", number);
    struct catalog_command command = {
        .kind = COMMAND_SESSION,
        .session = {.id = id,
                    .name = name,
                    .node = NODE,
                    .behavior = world_one_in(world, 4) ? "delete" : "release",
                    .ttl = "",
                    .ttl_ns = ttl_ms * 1000000,
                    .lock_delay_ns = world_one_in(world, 2)
                                         ? 0
                                         : (int64_t)world_between(world, 50, 800) * 1000000}};
    locker->asked = (uint32_t)client_write(world, number_of(world, locker), &command);
}

static void lock_or_unlock(struct world *world, struct locker *locker, enum catalog_kv_verb verb) {
    struct catalog_command command = {
        .kind = COMMAND_KV,
        .kv = {.verb = verb,
               .key = model_key(locker->key),
               .value = {(const uint8_t *)"0123456789012345678901", 22},
               .flags = client_number(world),
               .session = session_of(world, locker)->id}};
    client_write(world, number_of(world, locker), &command);
}

/* The node that sessions are on. */
static void make_node(struct world *world, struct locker *locker) {
    char address[24];
    snprintf(address, sizeof address, "%lu", client_number(world));
    struct catalog_command command = {
        .kind = COMMAND_REGISTER,
        .reg = {.node = {.id = "", .name = NODE, .address = address, .region = "", .zone = ""}}};
    client_write(world, number_of(world, locker), &command);
}

/* What is it to do next? An answer, or a wait, leads back here. */
void locker_next(struct world *world, uint32_t at) {
    struct locker *locker = &world->lockers[at];
    struct client *client = &world->clients[number_of(world, locker)];
    if (client_is_over(world) || world->model.session_count + LOCKERS + 1 >= SESSIONS_MAX ||
        world->op_count + 2 >= OPS_MAX || world->committed + 400 >= INDEX_MAX) {
        locker->session = 0;
        return;
    }
    if (client->op != 0) {
        return;
    }
    if (locker->session == 0) {
        make_session(world, locker);
        return;
    }
    if (locker->idle > world->now) {
        again(world, locker, 50 * MS);
        return;
    }
    if (world_one_in(world, 60)) { /* stands still, or is cut off */
        locker->idle = world->now + world_between(world, 100 * MS, 4000 * MS);
    }
    if ((int64_t)(world->now - locker->renewed_us) / 1000 > session_of(world, locker)->ttl_ms / 3) {
        begin_renewal(world, locker);
    }
    if (locker->fence > 0) {
        check_protected(world, locker);
        if (world_one_in(world, 15)) {
            lock_or_unlock(world, locker, KV_UNLOCK);
            locker->fence = 0;
            locker->unlocking = true;
            return;
        }
    } else if (world_one_in(world, 2)) {
        locker->key = DATA_KEYS + (uint32_t)rand_below(&world->rand, LOCKS);
        lock_or_unlock(world, locker, KV_LOCK);
        return;
    }
    again(world, locker, 60 * MS);
}

void locker_answered(struct world *world, uint32_t client, const struct answer *answer) {
    struct locker *locker = &world->lockers[client - CLIENTS_MAX];
    if (locker->session == 0) {
        const struct op *op = &world->ops[locker->asked];
        char id[40];
        snprintf(id, sizeof id, "%08x-0000-4000-8000-%012x", (unsigned)world->seed,
                 (unsigned)locker->asked);
        if (answer->err == ERR_OK && op->index != 0) {
            locker->session = model_find_session(&world->model, id);
            locker->renewed_us = world->now;
            locker->fence = 0;
        } else if (answer->err == ERR_REFUSED) {
            make_node(world, locker);
            return;
        }
    } else if (locker->unlocking && answer->err != ERR_OK) {
        locker->session = 0; /* it may yet come, and unlock what is locked meanwhile */
    } else if (answer->err == ERR_OK && answer->fence > 0) {
        locker->fence = answer->fence;
        world->grants++;
        check_grant(world, locker->key, answer->fence);
    } else if (answer->err == ERR_REFUSED) {
        locker->session = 0; /* it has ended */
        locker->fence = 0;
    }
    locker->unlocking = false;
    again(world, locker, 30 * MS);
}
