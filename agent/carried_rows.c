/* What the catalog has of a node, as the commands that would make it: asked by the agent of that
 * node, which compares it with what it knows better. */
#include <stdlib.h>
#include <string.h>

#include "agent/carried_internal.h"
#include "base/container.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "proto/rpc.pb-c.h"

#define CHECKS_A_COMMAND 256
#define DIGEST_BYTES 16

/* One question, answered on a worker. */
struct rows {
    struct http_work work; /* first */
    struct loop_task task;
    struct carried *carried;
    struct rpc_ticket ticket;
    Pb__RpcNodeRows *message;
    /* The answer. */
    ProtobufCBinaryData *commands;
    size_t count, capacity, bytes;
    uint8_t digest[DIGEST_BYTES];
    /* While it is made. */
    const struct catalog_node *node;
    struct catalog_check checks[CHECKS_A_COMMAND];
    uint32_t check_count;
};

static void add(struct rows *rows, const struct catalog_service *service) {
    struct buf out;
    size_t size = 0;
    struct catalog_command command = {
        .kind = COMMAND_REGISTER,
        .reg = {.node = *rows->node,
                .skip_node_update = rows->count > 0,
                .service = service,
                .checks = rows->checks,
                .check_count = service == NULL ? rows->check_count : 0}};
    buf_init(&out, LIMIT_ENTRY_BYTES);
    codec_encode_command(&command, &out);
    uint8_t *data = (uint8_t *)buf_take(&out, &size);
    if (rows->count == rows->capacity) {
        rows->capacity = rows->capacity == 0 ? 16 : 2 * rows->capacity;
        rows->commands = mem_realloc(rows->commands, rows->capacity * sizeof *rows->commands);
    }
    rows->commands[rows->count++] =
        (ProtobufCBinaryData){.len = data != NULL ? size : 0, .data = data};
    rows->bytes += size;
    if (service == NULL) {
        rows->check_count = 0;
    }
}

static bool add_service(const struct catalog_service *service, void *context) {
    add(context, service);
    return true;
}

static bool add_check(const struct catalog_check *check, void *context) {
    struct rows *rows = context;
    if (rows->check_count == CHECKS_A_COMMAND) {
        add(rows, NULL);
    }
    rows->checks[rows->check_count++] = *check;
    return true;
}

static void digest(struct rows *rows) {
    uint64_t hashes[2] = {1, 2};
    for (size_t i = 0; i < rows->count; i++) {
        for (size_t h = 0; h < 2; h++) {
            hashes[h] = hash_bytes(hashes[h], rows->commands[i].data, rows->commands[i].len);
        }
    }
    memcpy(rows->digest, hashes, sizeof rows->digest);
}

/* Core's thread. */
static void answer(struct loop_task *task) {
    struct rows *rows = CONTAINER_OF(task, struct rows, task);
    Pb__RpcNodeRowsAnswer message = PB__RPC_NODE_ROWS_ANSWER__INIT;
    const ProtobufCBinaryData *known = &rows->message->digest;
    message.unchanged =
        known->len == DIGEST_BYTES && memcmp(known->data, rows->digest, DIGEST_BYTES) == 0;
    message.digest.data = rows->digest;
    message.digest.len = DIGEST_BYTES;
    message.commands = rows->commands;
    message.n_commands = message.unchanged ? 0 : rows->count;
    size_t size = pb__rpc_node_rows_answer__get_packed_size(&message);
    struct err_text text = {"the node has more than one answer can hold"};
    if (size > LIMIT_ENTRY_BYTES) {
        carried_answer(rows->carried, rows->ticket, ERR_TOO_LARGE, &text, NULL, 0);
    } else {
        uint8_t *packed = mem_alloc(size);
        pb__rpc_node_rows_answer__pack(&message, packed);
        carried_answer(rows->carried, rows->ticket, ERR_OK, NULL, packed, size);
        free(packed);
    }
    for (size_t i = 0; i < rows->count; i++) {
        free(rows->commands[i].data);
    }
    free(rows->commands);
    pb__rpc_node_rows__free_unpacked(rows->message, NULL);
    free(rows);
}

/* On a worker. */
static void make(struct http_work *work) {
    struct rows *rows = CONTAINER_OF(work, struct rows, work);
    struct agent *agent = carried_agent(rows->carried);
    epoch_enter(agent->epoch);
    const struct catalog_view *view = catalog_view(agent->catalog);
    rows->node = view_get_node(view, rows->message->node);
    if (rows->node != NULL) {
        add(rows, NULL);
        view_walk_node_services(view, rows->message->node, add_service, rows);
        view_walk_node_checks(view, rows->message->node, add_check, rows);
        if (rows->check_count > 0) {
            add(rows, NULL);
        }
    }
    digest(rows);
    epoch_exit(agent->epoch);
    rows->task.run = answer;
    loop_post(agent->loop, &rows->task);
}

void carried_take_rows(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                       const uint8_t *body, size_t size) {
    struct carried *carried = context;
    Pb__RpcNodeRows *message = pb__rpc_node_rows__unpack(NULL, size, body);
    (void)from;
    carried_count(carried);
    if (message == NULL || !carried_may_work(carried)) {
        struct err_text text = {"a malformed request, or the agent stops"};
        pb__rpc_node_rows__free_unpacked(message, NULL);
        carried_answer(carried, ticket, ERR_CLOSED, &text, NULL, 0);
        return;
    }
    struct rows *rows = mem_calloc(1, sizeof *rows);
    rows->work.run = make;
    rows->carried = carried;
    rows->ticket = ticket;
    rows->message = message;
    http_server_work(carried_agent(carried)->http, &rows->work);
}
