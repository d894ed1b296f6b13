#include "agent/node_rows.h"

#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "base/container.h"
#include "base/mem.h"
#include "proto/rpc.pb-c.h"

#define WATCH_MS 2000
#define UNUSED_MS (5 * 60 * 1000)

/* ---- one question ---- */

static enum err apply(struct agent *agent, const Pb__RpcNodeRowsAnswer *answer,
                      struct catalog **ret_rows, struct err_text *text) {
    struct catalog *rows = catalog_create(agent->epoch, NULL);
    enum err err = ERR_OK;
    for (size_t i = 0; i < answer->n_commands && err == ERR_OK; i++) {
        err = catalog_apply(rows, i + 1, answer->commands[i].data, answer->commands[i].len, NULL,
                            text);
    }
    catalog_publish(rows);
    if (err != ERR_OK) {
        catalog_destroy(rows);
        return err;
    }
    *ret_rows = rows;
    return ERR_OK;
}

static void answered(struct links_request *request, enum err err, const struct err_text *text,
                     const uint8_t *body, size_t size) {
    struct node_rows *rows = CONTAINER_OF(request, struct node_rows, request);
    struct err_text odd = {"the server's answer cannot be read"};
    struct catalog *answer = NULL;
    rows->under_way = false;
    free(rows->question);
    rows->question = NULL;
    if (err != ERR_OK) {
        rows->done(rows, err, text != NULL ? text->s : err_name(err), NULL);
        return;
    }
    Pb__RpcNodeRowsAnswer *message = pb__rpc_node_rows_answer__unpack(NULL, size, body);
    bool unchanged = message != NULL && message->unchanged && rows->has_digest;
    if (message == NULL || message->digest.len != NODE_ROWS_DIGEST_BYTES ||
        (message->unchanged && !rows->has_digest)) {
        err = ERR_CORRUPT;
    } else if (!unchanged) {
        err = apply(rows->agent, message, &answer, &odd);
    }
    if (err == ERR_OK && !unchanged) {
        memcpy(rows->digest, message->digest.data, NODE_ROWS_DIGEST_BYTES);
        rows->has_digest = true;
    }
    pb__rpc_node_rows_answer__free_unpacked(message, NULL);
    rows->done(rows, err, odd.s, answer);
}

void node_rows_ask(struct agent *agent, struct node_rows *rows) {
    Pb__RpcNodeRows message = PB__RPC_NODE_ROWS__INIT;
    if (rows->under_way || agent->links == NULL) {
        return;
    }
    message.node = (char *)(uintptr_t)rows->node;
    message.digest.data = rows->digest;
    message.digest.len = rows->has_digest ? NODE_ROWS_DIGEST_BYTES : 0;
    size_t bytes = pb__rpc_node_rows__get_packed_size(&message);
    rows->question = mem_alloc(bytes + 1);
    pb__rpc_node_rows__pack(&message, rows->question);
    rows->agent = agent;
    rows->under_way = true;
    rows->request = (struct links_request){.datacenter = "",
                                           .method = RPC_METHOD_NODE_ROWS,
                                           .body = rows->question,
                                           .size = bytes,
                                           .repeatable = true,
                                           .done = answered};
    links_ask(agent->links, &rows->request);
}

void node_rows_clear(struct node_rows *rows) {
    struct rpc_connection *connection;
    if (rows->under_way) {
        links_cancel(&rows->request, &connection);
        rows->under_way = false;
    }
    free(rows->question);
    rows->question = NULL;
}

/* ---- nodes that are watched ---- */

struct watched_node {
    struct node_rows rows; /* first */
    struct watched_node *next;
    char *name;
    struct catalog *known;
    struct loop_timer timer;
    int64_t used_at_ms;
};

static void forget(struct agent *agent, struct watched_node **at) {
    struct watched_node *node = *at;
    *at = node->next;
    node_rows_clear(&node->rows);
    loop_timer_stop(agent->loop, &node->timer);
    catalog_destroy(node->known);
    free(node->name);
    free(node);
}

static void told(struct node_rows *rows, enum err err, const char *why, struct catalog *answer) {
    struct watched_node *node = CONTAINER_OF(rows, struct watched_node, rows);
    struct agent *agent = rows->agent;
    (void)err; /* what was known last stays */
    (void)why;
    if (answer != NULL) {
        catalog_destroy(node->known);
        node->known = answer;
        loop_timer_start(agent->loop, &agent->alias_timer, loop_now_ms(agent->loop));
    }
    loop_timer_start(agent->loop, &node->timer, loop_now_ms(agent->loop) + WATCH_MS);
}

static void ask_again(struct loop_timer *timer) {
    struct watched_node *node = CONTAINER_OF(timer, struct watched_node, timer);
    struct agent *agent = node->rows.agent;
    if (loop_now_ms(agent->loop) - node->used_at_ms > UNUSED_MS) {
        struct watched_node **at = &agent->watched_nodes;
        while (*at != node) {
            at = &(*at)->next;
        }
        forget(agent, at);
        return;
    }
    node_rows_ask(agent, &node->rows);
}

const struct catalog *node_rows_watched(struct agent *agent, const char *name) {
    struct watched_node *node = agent->watched_nodes;
    while (node != NULL && !str_equal_fold(node->name, name)) {
        node = node->next;
    }
    if (node == NULL && agent->links != NULL) {
        node = mem_calloc(1, sizeof *node);
        node->name = mem_strdup(name);
        node->rows.node = node->name;
        node->rows.done = told;
        node->rows.agent = agent;
        node->timer.run = ask_again;
        node->next = agent->watched_nodes;
        agent->watched_nodes = node;
        loop_timer_start(agent->loop, &node->timer, loop_now_ms(agent->loop));
    }
    if (node == NULL) {
        return NULL;
    }
    node->used_at_ms = loop_now_ms(agent->loop);
    return node->known;
}

void node_rows_forget_all(struct agent *agent) {
    while (agent->watched_nodes != NULL) {
        forget(agent, &agent->watched_nodes);
    }
}
