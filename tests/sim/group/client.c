/* Clients: one operation at a time each, and a record of what they were told. */
#include <string.h>

#include "base/hash.h"
#include "base/mutant.h"
#include "tests/sim/group/group.h"

#define GIVE_UP_US (1500 * MS)

static void think(struct world *world, uint32_t client, uint64_t most_us) {
    world->clients[client].op = 0;
    world_post(world, world_between(world, 100, most_us), EVENT_CLIENT, NULL)->a = client;
}

static void choose(struct world *world, struct op *op) {
    uint64_t what = rand_below(&world->rand, 100);
    op->kind = what < 50   ? OP_WRITE
               : what < 70 ? OP_READ
               : what < 88 ? OP_CONSISTENT_READ
                           : OP_STALE_READ;
    op->command.key = (uint32_t)rand_below(&world->rand, KEYS);
    uint64_t write = rand_below(&world->rand, 10);
    op->command.kind = write < 6 ? COMMAND_PUT : write < 9 ? COMMAND_CAS : COMMAND_DELETE;
    op->command.expect = world->floor[op->command.key];
    for (int i = 0; i < 8; i++) {
        op->command.filling[i] = hash_mix(world->seed + world->op_count * 8 + (uint64_t)i);
    }
}

void client_next(struct world *world, uint32_t client) {
    struct client *own = &world->clients[client];
    if (world->calm && world->now > world->calm_at + 3000 * MS) {
        return; /* the end */
    }
    if (world->op_count + 2 >= OPS_MAX || world->committed + 200 >= INDEX_MAX) {
        return;
    }
    uint64_t number = ++world->op_count;
    struct op *op = &world->ops[number];
    choose(world, op);
    op->state = OP_OPEN;
    op->command.op = number;
    op->client = client;
    op->floor = world->floor[op->command.key];
    if (op->kind == OP_STALE_READ || world_one_in(world, 10)) {
        own->target = (uint32_t)rand_below(&world->rand, world->server_count);
    }
    op->server = own->target;
    own->op = number;
    world_post(world, world_between(world, 50, 800), EVENT_REQUEST, NULL)->a = number;
    world_post(world, GIVE_UP_US, EVENT_GIVE_UP, NULL)->a = number;
}

/* ---- at the server ---- */

void client_answer(struct server *server, uint64_t op, enum err err, uint64_t version,
                   uint64_t value) {
    struct event *event =
        world_post(server->world, world_between(server->world, 50, 800), EVENT_RESPONSE, NULL);
    event->a = op;
    event->b = version;
    event->c = value;
    event->life = (uint32_t)err;
    if (server->world->ops[op].kind == OP_STALE_READ) {
        event->server = server->life;
        event->b = server->kv.applied;
    }
}

static void answer_read(struct server *server, uint64_t number) {
    uint32_t key = server->world->ops[number].command.key;
    client_answer(server, number, ERR_OK, server->kv.version[key], server->kv.value[key]);
}

static void consistent_read(struct server *server, uint64_t number) {
    struct raft_event event = {.kind = RAFT_EVENT_READ,
                               .read = {.ticket = ++server->world->tickets}};
    if (server->read_count == sizeof server->reads / sizeof server->reads[0] ||
        server->output.role != RAFT_LEADER) {
        client_answer(server, number, ERR_NO_LEADER, 0, 0);
        return;
    }
    server->reads[server->read_count++] =
        (struct waiting_read){.ticket = event.read.ticket, .op = number};
    if (!server_step(server, &event)) { /* the core refuses: the term is too young */
        server->read_count--;
        client_answer(server, number, ERR_NO_LEADER, 0, 0);
    }
}

/* The lease is judged now, by this server's own clock. */
static void default_read(struct server *server, uint64_t number) {
    bool serves = server->output.role == RAFT_LEADER && server->output.leader_ready &&
                  server_now_ms(server) < server->output.lease_until_ms &&
                  server->kv.applied >= server->ready_at && !server->disk_failed;
    if (serves) {
        server->world->lease_reads++;
        answer_read(server, number);
    } else if (server->output.role == RAFT_LEADER) {
        consistent_read(server, number);
    } else {
        client_answer(server, number, ERR_NO_LEADER, 0, 0);
    }
}

void client_request(struct world *world, const struct event *event) {
    struct op *op = &world->ops[event->a];
    struct server *server = &world->servers[op->server];
    if (!server->up) {
        client_answer(server, event->a, ERR_NO_LEADER, 0, 0);
        return;
    }
    switch (op->kind) {
    case OP_WRITE:
        disk_use(server->disk);
        if (!store_log_has_space(server->log) && !server->disk_busy) {
            storage_work(server); /* the thread tries now and then to make the spare segments */
        }
        if (!server->up || server->output.role != RAFT_LEADER || server->waiting_count == 64 ||
            !store_log_has_space(server->log)) {
            client_answer(server, event->a, ERR_NO_LEADER, 0, 0);
            return;
        }
        server->waiting_ops[server->waiting_count++] = event->a;
        if (!server->flush_posted) {
            server->flush_posted = true;
            world_post(world, 200, EVENT_FLUSH, server);
        }
        break;
    case OP_READ:
        default_read(server, event->a);
        break;
    case OP_CONSISTENT_READ:
        consistent_read(server, event->a);
        break;
    case OP_STALE_READ:
        answer_read(server, event->a);
        break;
    }
}

void client_applied(struct server *server, uint64_t index, uint64_t op, bool changed) {
    client_answer(server, op, ERR_OK, index, changed);
}

void client_reads_confirmed(struct server *server, const struct raft_output *output) {
    for (uint32_t i = 0; i < output->read_count; i++) {
        for (uint32_t k = 0; k < server->read_count; k++) {
            if (server->reads[k].ticket == output->reads[i].ticket) {
                server->reads[k].index = output->reads[i].index;
            }
        }
    }
}

void client_reads_applied(struct server *server) {
    uint32_t left = 0;
    for (uint32_t i = 0; i < server->read_count; i++) {
        struct waiting_read *read = &server->reads[i];
        if (read->index > 0 && (server->kv.applied >= read->index)) {
            answer_read(server, read->op);
        } else {
            server->reads[left++] = *read;
        }
    }
    server->read_count = left;
}

void client_lost_leader(struct server *server) {
    for (uint64_t i = server->held_first; i <= server->held_last && i <= INDEX_MAX; i++) {
        if (server->proposals[i] != 0) {
            client_answer(server, server->proposals[i], ERR_TIMEOUT, 0, 0);
            server->proposals[i] = 0;
        }
    }
    uint32_t left = 0;
    for (uint32_t i = 0; i < server->read_count; i++) {
        if (server->reads[i].index > 0 && server->up) {
            server->reads[left++] = server->reads[i]; /* confirmed, waits for its apply */
        } else {
            client_answer(server, server->reads[i].op, ERR_NO_LEADER, 0, 0);
        }
    }
    server->read_count = left;
    for (uint32_t i = 0; i < server->waiting_count; i++) {
        client_answer(server, server->waiting_ops[i], ERR_NO_LEADER, 0, 0);
    }
    server->waiting_count = 0;
}

/* ---- back at the client ---- */

static void judge_stale(struct world *world, const struct op *op, const struct event *event) {
    struct client *client = &world->clients[op->client];
    if (client->stale_life[op->server] == event->server &&
        event->b < client->stale_seen[op->server]) {
        world_fail(world, "a stale read went back from index %lu to %lu",
                   client->stale_seen[op->server], event->b);
    }
    client->stale_life[op->server] = event->server;
    client->stale_seen[op->server] = event->b;
}

void client_response(struct world *world, const struct event *event) {
    struct op *op = &world->ops[event->a];
    enum err err = (enum err)event->life;
    if (op->state != OP_OPEN && op->state != OP_UNKNOWN) {
        world_fail(world, "operation %lu is answered twice", event->a);
        return;
    }
    bool open = op->state == OP_OPEN;
    if (op->kind == OP_STALE_READ && err == ERR_OK) {
        judge_stale(world, op, event);
        op->state = OP_DONE;
    } else {
        check_response(world, event->a, err, event->b, event->c);
    }
    struct client *client = &world->clients[op->client];
    if (!open || client->op != event->a) {
        return; /* given up meanwhile */
    }
    if (err != ERR_OK) {
        client->target = (uint32_t)rand_below(&world->rand, world->server_count);
    }
    think(world, op->client, err == ERR_OK ? 20 * MS : 60 * MS);
}

void client_give_up(struct world *world, const struct event *event) {
    struct op *op = &world->ops[event->a];
    if (op->state == OP_OPEN) {
        op->state = OP_UNKNOWN;
        world->clients[op->client].target = (uint32_t)rand_below(&world->rand, world->server_count);
        think(world, op->client, 50 * MS);
    }
}
