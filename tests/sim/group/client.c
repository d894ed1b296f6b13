/* Clients: one operation at a time each, and a record of what they were told. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/container.h"
#include "base/hash.h"
#include "base/mem.h"
#include "catalog/codec.h"
#include "tests/sim/group/group.h"

#define GIVE_UP_US (4000 * MS)

/* ---- what they want ---- */

static void think(struct world *world, uint32_t client, uint64_t most_us) {
    world->clients[client].op = 0;
    world_post(world, world_between(world, 100, most_us), EVENT_CLIENT, NULL)->a = client;
}

uint64_t client_number(const struct world *world) {
    return world->op_count + 1;
}

static uint64_t begin(struct world *world, uint32_t client, enum op_kind kind) {
    if (world->op_count + 2 >= OPS_MAX || world->committed + 400 >= INDEX_MAX) {
        return 0;
    }
    struct client *own = &world->clients[client];
    uint64_t number = ++world->op_count;
    struct op *op = &world->ops[number];
    op->kind = kind;
    op->state = OP_OPEN;
    op->client = client;
    op->floor = kind == OP_READ ? world->written : world->floor;
    if (kind == OP_STALE_READ || world_one_in(world, 6)) {
        own->target = (uint32_t)rand_below(&world->rand, world->server_count);
    }
    op->server = own->target;
    own->op = number;
    world_post(world, world_between(world, 50, 800), EVENT_REQUEST, NULL)->a = number;
    world_post(world, GIVE_UP_US, EVENT_GIVE_UP, NULL)->a = number;
    return number;
}

uint64_t client_write(struct world *world, uint32_t client, const struct catalog_command *command) {
    uint64_t number = begin(world, client, OP_WRITE);
    if (number > 0) {
        struct buf out;
        buf_init(&out, LIMIT_ENTRY_BYTES);
        codec_encode_command(command, &out);
        world->ops[number].bytes = (uint8_t *)buf_take(&out, &world->ops[number].size);
    }
    return number;
}

/* What somebody knows of the key: mostly the present. */
static uint64_t guess(struct world *world, uint32_t key) {
    const struct version *now = model_at(&world->model, key, world->floor);
    return world_one_in(world, 8) ? 0 : now->modify;
}

static void choose_kv(struct world *world, struct catalog_kv_operation *kv) {
    static const enum catalog_kv_verb verbs[] = {KV_SET, KV_SET,    KV_CAS,
                                                 KV_CAS, KV_DELETE, KV_DELETE_CAS};
    uint32_t key = (uint32_t)rand_below(&world->rand, DATA_KEYS);
    *kv = (struct catalog_kv_operation){
        .verb = verbs[rand_below(&world->rand, sizeof verbs / sizeof verbs[0])],
        .key = model_key(key),
        .flags = client_number(world),
        .index = guess(world, key),
        .session = ""};
}

static void write_something(struct world *world, uint32_t client) {
    struct catalog_operation operations[3] = {0};
    struct catalog_command command = {.kind = COMMAND_KV};
    uint64_t filling[8];
    for (int i = 0; i < 8; i++) {
        filling[i] = hash_mix(world->seed + world->op_count * 8 + (uint64_t)i);
    }
    struct catalog_bytes value = {(uint8_t *)filling, 16 + 8 * (uint32_t)(filling[0] % 6)};
    if (world_one_in(world, 4)) { /* a condition on one key, writes to others */
        command.kind = COMMAND_TRANSACTION;
        command.transaction.operations = operations;
        command.transaction.count = 2 + (uint32_t)rand_below(&world->rand, 2);
        for (uint32_t i = 0; i < command.transaction.count; i++) {
            operations[i].kind = ROW_KV;
            choose_kv(world, &operations[i].kv);
            operations[i].kv.value = value;
        }
        uint64_t check = rand_below(&world->rand, 3);
        if (check < 2) {
            operations[0].kv.verb = check == 0 ? KV_CHECK_INDEX : KV_CHECK_NOT_EXISTS;
        }
    } else {
        choose_kv(world, &command.kv);
        command.kv.value = value;
    }
    client_write(world, client, &command);
}

bool client_is_over(const struct world *world) {
    return world->calm && world->now > world->calm_at + CLIENTS_STOP_US && world->acked_in_calm > 0;
}

void client_next(struct world *world, uint32_t client) {
    if (client_is_over(world)) {
        return;
    }
    uint64_t what = rand_below(&world->rand, 100);
    if (what < 50) {
        write_something(world, client);
        return;
    }
    uint64_t number = begin(world, client,
                            what < 70   ? OP_READ
                            : what < 88 ? OP_CONSISTENT_READ
                                        : OP_STALE_READ);
    world->ops[number].key = (uint32_t)rand_below(&world->rand, KEYS);
}

/* ---- at the server ---- */

/* A request that its server works on. */
struct call {
    struct loop_task task;
    struct group_proposal proposal;
    struct group_read read;
    struct server *server;
    struct catalog_result outcome;
    uint64_t op;
};

static void answer(struct server *server, uint64_t op, const struct answer *what) {
    struct event *event =
        world_post(server->world, world_between(server->world, 50, 800), EVENT_RESPONSE, NULL);
    event->a = op;
    event->b = server->life;
    event->answer = *what;
    if (server->dying) { /* nobody speaks any more */
        event->answer = (struct answer){.err = ERR_CLOSED};
    }
}

static void answer_error(struct server *server, uint64_t op, enum err err) {
    answer(server, op, &(struct answer){.err = err});
}

static void written(struct group_proposal *proposal, enum err err, const struct err_text *text) {
    struct call *call = CONTAINER_OF(proposal, struct call, proposal);
    struct answer what = {.err = err,
                          .unchanged = call->outcome.unchanged || call->outcome.failure_count > 0,
                          .fence = call->outcome.fence_index};
    (void)text;
    const struct op *op = &call->server->world->ops[call->op];
    if (err == ERR_OK && group_leads(call->server->group) &&
        op->index > server_view_applied(call->server)) {
        world_fail(call->server->world, "write %lu is answered before it can be read", call->op);
    }
    answer(call->server, call->op, &what);
    catalog_result_clear(&call->outcome);
    free(call);
}

/* Takes the view, as an HTTP thread does, at any time. */
static void read_view(struct server *server, uint64_t number) {
    const struct op *op = &server->world->ops[number];
    const struct catalog_view *view = catalog_view(server->catalog);
    const struct catalog_kv *kv = view_get_kv(view, model_key(op->key));
    struct answer what = {.err = ERR_OK, .applied = view_applied(view)};
    if (kv != NULL) {
        what.present = true;
        what.modify = kv->modify_index;
        what.op = kv->flags;
        what.session_size = kv->session_size;
    }
    answer(server, number, &what);
}

void client_view(struct server *server, const struct event *event) {
    read_view(server, event->a);
}

static void may_read_now(struct group_read *read, enum err err) {
    struct call *call = CONTAINER_OF(read, struct call, read);
    struct server *server = call->server;
    if (err != ERR_OK || server->dying) {
        answer_error(server, call->op, err != ERR_OK ? err : ERR_CLOSED);
    } else {
        world_post(server->world, world_between(server->world, 0, 300), EVENT_VIEW, server)->a =
            call->op;
    }
    free(call);
}

static void run_call(struct loop_task *task) {
    struct call *call = CONTAINER_OF(task, struct call, task);
    const struct op *op = &call->server->world->ops[call->op];
    if (call->server->dying) {
        answer_error(call->server, call->op, ERR_CLOSED);
        free(call->proposal.data);
        free(call);
    } else if (op->kind == OP_WRITE) {
        group_propose(call->server->group, &call->proposal);
    } else {
        group_read(call->server->group, &call->read, op->kind == OP_CONSISTENT_READ);
    }
}

/* agent/backend.c and the HTTP threads, in short. */
void client_request(struct world *world, const struct event *event) {
    struct op *op = &world->ops[event->a];
    struct server *server = &world->servers[op->server];
    if (!server->up) {
        answer_error(server, event->a, ERR_NO_LEADER);
        return;
    }
    server_enter(server);
    if (op->kind == OP_STALE_READ) {
        read_view(server, event->a);
        return;
    }
    if (op->kind != OP_WRITE && group_may_read(server->group, op->kind == OP_CONSISTENT_READ)) {
        world->lease_reads++;
        read_view(server, event->a);
        return;
    }
    struct call *call = mem_calloc(1, sizeof *call);
    call->task.run = run_call;
    call->server = server;
    call->op = event->a;
    call->read.done = may_read_now;
    call->proposal.done = written;
    call->proposal.outcome = &call->outcome;
    if (op->kind == OP_WRITE) {
        call->proposal.data = mem_memdup(op->bytes, op->size);
        call->proposal.size = op->size;
    }
    loop_post(server->loop, &call->task);
}

/* ---- back at the client ---- */

static void judge_stale(struct world *world, const struct op *op, const struct event *event) {
    struct client *client = &world->clients[op->client];
    if (client->stale_life[op->server] == event->b &&
        event->answer.applied < client->stale_seen[op->server]) {
        world_fail(world, "a stale read went back from index %lu to %lu",
                   client->stale_seen[op->server], event->answer.applied);
    }
    client->stale_life[op->server] = (uint32_t)event->b;
    client->stale_seen[op->server] = event->answer.applied;
}

void client_response(struct world *world, const struct event *event) {
    struct op *op = &world->ops[event->a];
    enum err err = event->answer.err;
    if (op->state != OP_OPEN && op->state != OP_UNKNOWN) {
        world_fail(world, "operation %lu is answered twice", event->a);
        return;
    }
    bool open = op->state == OP_OPEN;
    if (op->kind == OP_STALE_READ && err == ERR_OK) {
        judge_stale(world, op, event);
    }
    check_response(world, event->a, &event->answer);
    struct client *client = &world->clients[op->client];
    if (!open || client->op != event->a) {
        return; /* given up meanwhile */
    }
    bool fine = err == ERR_OK || err == ERR_REFUSED;
    if (!fine) {
        client->target = (uint32_t)rand_below(&world->rand, world->server_count);
    }
    if (op->client >= CLIENTS_MAX) {
        client->op = 0;
        locker_answered(world, op->client, &event->answer);
    } else {
        think(world, op->client, fine ? 20 * MS : 60 * MS);
    }
}

void client_give_up(struct world *world, const struct event *event) {
    struct op *op = &world->ops[event->a];
    struct client *client = &world->clients[op->client];
    if (op->state != OP_OPEN) {
        return;
    }
    op->state = OP_UNKNOWN;
    client->target = (uint32_t)rand_below(&world->rand, world->server_count);
    if (op->client >= CLIENTS_MAX) {
        client->op = 0;
        locker_answered(world, op->client, &(struct answer){.err = ERR_TIMEOUT});
    } else {
        think(world, op->client, 50 * MS);
    }
}
