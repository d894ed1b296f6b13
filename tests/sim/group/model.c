/* What the commands that clients send here mean, told once more and in another way: a list of
 * versions for each key. Every committed command runs through it once, when the first server
 * applies it; the checkers ask what was true at which index. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/arena.h"
#include "base/mem.h"
#include "catalog/codec.h"
#include "tests/sim/group/group.h"

const char *model_key(uint32_t key) {
    static const char *const names[KEYS] = {"k0", "k1", "k2", "k3", "k4", "lock0", "lock1"};
    return names[key];
}

static uint32_t find_key(const char *name) {
    uint32_t key = 0;
    while (key < KEYS && strcmp(model_key(key), name) != 0) {
        key++;
    }
    return key;
}

uint32_t model_find_session(const struct model *model, const char *id) {
    for (uint32_t i = model->session_count; i > 0; i--) {
        if (strcmp(model->sessions[i].id, id) == 0) {
            return i;
        }
    }
    return 0;
}

const struct version *model_at(const struct model *model, uint32_t key, uint64_t index) {
    static const struct version never = {0};
    for (uint32_t i = model->history_count[key]; i > 0; i--) {
        if (model->history[key][i - 1].from <= index) {
            return &model->history[key][i - 1];
        }
    }
    return &never;
}

void model_clear(struct model *model) {
    for (uint32_t i = 0; i < KEYS; i++) {
        free(model->history[i]);
    }
}

/* ---- keys ---- */

/* The versions that a command makes, put into the history once it has succeeded. */
struct change {
    struct model *model;
    uint64_t index;
    struct version now[KEYS];
    bool changed[KEYS];
    bool granted;
    uint32_t granted_key;
};

static void commit(const struct change *change) {
    struct model *model = change->model;
    for (uint32_t i = 0; i < KEYS; i++) {
        if (!change->changed[i]) {
            continue;
        }
        if (model->history_count[i] == model->history_capacity[i]) {
            model->history_capacity[i] += model->history_capacity[i] + 64;
            model->history[i] =
                mem_realloc(model->history[i], model->history_capacity[i] * sizeof(struct version));
        }
        model->history[i][model->history_count[i]] = change->now[i];
        model->history[i][model->history_count[i]++].from = change->index;
    }
}

static void write_key(struct change *change, uint32_t key, uint64_t op, uint32_t session) {
    struct version *now = &change->now[key];
    if (!now->present) {
        now->create = change->index;
    }
    now->present = true;
    now->modify = change->index;
    now->op = op;
    now->session = session;
    change->changed[key] = true;
}

static void delete_key(struct change *change, uint32_t key) {
    if (change->now[key].present) {
        change->now[key] = (struct version){0};
        change->changed[key] = true;
    }
}

/* False: the condition did not hold. *ret_refused: it is an error. */
static bool run_kv(struct change *change, const struct catalog_kv_operation *kv,
                   bool *ret_refused) {
    struct model *model = change->model;
    uint32_t key = find_key(kv->key);
    struct version *now = &change->now[key];
    uint32_t session = kv->session != NULL ? model_find_session(model, kv->session) : 0;
    bool alive = session > 0 && model->sessions[session].alive_at_all;
    switch (kv->verb) {
    case KV_SET:
        write_key(change, key, kv->flags, now->session);
        return true;
    case KV_CAS:
        if (kv->index == 0 ? now->present : !now->present || now->modify != kv->index) {
            return false;
        }
        write_key(change, key, kv->flags, now->session);
        return true;
    case KV_DELETE:
        delete_key(change, key);
        return true;
    case KV_DELETE_CAS:
        if (now->present && now->modify != kv->index) {
            return false;
        }
        delete_key(change, key);
        return true;
    case KV_LOCK:
        if (!alive) {
            *ret_refused = true;
            return false;
        }
        if ((now->session != 0 && now->session != session) || model->delay[key].index != 0) {
            return false;
        }
        change->granted = true;
        change->granted_key = key;
        write_key(change, key, kv->flags, session);
        return true;
    case KV_UNLOCK:
        if (session == 0 || now->session != session) {
            return false;
        }
        write_key(change, key, kv->flags, 0);
        return true;
    case KV_CHECK_INDEX:
        return now->present && now->modify == kv->index;
    case KV_CHECK_NOT_EXISTS:
        return !now->present;
    case KV_CHECK_SESSION:
        return session > 0 && now->session == session;
    default:
        return true;
    }
}

static bool run_transaction(struct change *change, const struct catalog_transaction *txn) {
    bool holds = true, refused = false;
    for (uint32_t i = 0; i < txn->count; i++) {
        holds = run_kv(change, &txn->operations[i].kv, &refused) && holds;
    }
    return holds;
}

/* ---- sessions ---- */

static void make_session(struct world *world, uint64_t index,
                         const struct catalog_session *session) {
    struct model *model = &world->model;
    struct session *to = &model->sessions[++model->session_count];
    *to = (struct session){.ttl_ms = session->ttl_ns / 1000000,
                           .delay_ms = session->lock_delay_ns / 1000000,
                           .deletes = strcmp(session->behavior, "delete") == 0,
                           .made_at = index,
                           .alive_us = world->now,
                           .alive_at_all = true};
    snprintf(to->id, sizeof to->id, "%s", session->id);
}

static void end_session(struct world *world, struct change *change, const char *id) {
    struct model *model = &world->model;
    uint32_t number = model_find_session(model, id);
    struct session *session = &model->sessions[number];
    if (number == 0 || !session->alive_at_all) {
        return;
    }
    world->expiries++;
    check_session_ended(world, session);
    session->alive_at_all = false;
    session->ended_at = change->index;
    for (uint32_t key = 0; key < KEYS; key++) {
        if (change->now[key].session != number) {
            continue;
        }
        if (session->delay_ms > 0) {
            model->delay[key].index = change->index;
            model->delay[key].ms = session->delay_ms;
            model->delay[key].since_us = world->now;
        }
        if (session->deletes) {
            delete_key(change, key);
        } else {
            write_key(change, key, change->now[key].op, 0);
        }
    }
}

static void end_delays(struct world *world, const struct catalog_lock_delay_end *end) {
    struct model *model = &world->model;
    for (uint32_t i = 0; i < end->count; i++) {
        uint32_t key = find_key(end->delays[i].key);
        if (model->delay[key].index == end->delays[i].index) {
            check_delay_ended(world, key);
            model->delay[key].index = 0;
        }
    }
}

/* ---- commands ---- */

/* Which op of a client it is; 0: none, the leader's own. */
static uint64_t op_of(const struct catalog_command *command) {
    uint64_t op = 0;
    if (command->kind == COMMAND_KV) {
        return command->kv.flags;
    }
    if (command->kind == COMMAND_SESSION) {
        return strtoull(command->session.name, NULL, 10);
    }
    if (command->kind == COMMAND_REGISTER) {
        return strtoull(command->reg.node.address, NULL, 10);
    }
    for (uint32_t i = 0;
         command->kind == COMMAND_TRANSACTION && i < command->transaction.count && op == 0; i++) {
        op = command->transaction.operations[i].kv.flags;
    }
    return op;
}

static void run(struct world *world, struct change *change, const struct catalog_command *command,
                struct op *op) {
    bool refused = false, holds = true;
    switch (command->kind) {
    case COMMAND_KV:
        holds = run_kv(change, &command->kv, &refused);
        break;
    case COMMAND_TRANSACTION:
        holds = run_transaction(change, &command->transaction);
        break;
    case COMMAND_SESSION:
        refused = !world->model.node_is_there;
        holds = !refused;
        if (holds) {
            make_session(world, change->index, &command->session);
        }
        break;
    case COMMAND_REGISTER:
        world->model.node_is_there = true;
        break;
    case COMMAND_SESSION_END:
        end_session(world, change, command->session_id);
        break;
    case COMMAND_LOCK_DELAY_END:
        end_delays(world, &command->lock_delay_end);
        break;
    default:
        break; /* the end of tombstones */
    }
    if (holds) {
        commit(change);
    }
    op->unchanged = !holds;
    op->refused = refused;
    if (holds && change->granted && command->kind == COMMAND_KV) {
        op->fence = change->now[change->granted_key].modify;
    }
}

static void note_op(struct world *world, uint64_t index, uint64_t number, struct op *op) {
    world->facts[index].op = number;
    if (op->state == OP_REFUSED) {
        world_fail(world, "operation %lu was refused, and is applied as entry %lu", number, index);
    }
    if (op->index != 0) {
        world_fail(world, "operation %lu is applied as entry %lu and %lu", number, op->index,
                   index);
    }
    op->index = index;
}

void model_apply(struct world *world, uint64_t index, const uint8_t *bytes, size_t size) {
    struct model *model = &world->model;
    struct arena arena;
    struct catalog_command command;
    struct op nobody = {0};
    model->applied = index;
    if (bytes == NULL) {
        return;
    }
    arena_init(&arena);
    if (codec_decode_command(bytes, size, &arena, &command) != ERR_OK) {
        world_fail(world, "entry %lu is no command", index);
    } else {
        uint64_t number = op_of(&command);
        struct op *op = number > 0 && number <= world->op_count ? &world->ops[number] : &nobody;
        struct change change = {.model = model, .index = index};
        for (uint32_t i = 0; i < KEYS; i++) {
            change.now[i] = *model_at(model, i, index);
        }
        if (op != &nobody) {
            note_op(world, index, number, op);
        }
        run(world, &change, &command, op);
    }
    arena_clear(&arena);
}
