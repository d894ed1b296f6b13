#include "agent/operator.h"

#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "base/mem.h"
#include "base/container.h"
#include "base/limits.h"
#include "proto/rpc.pb-c.h"

#define TICK_MS 20
#define CHANGE_MS 5000   /* a change of the group must be committed within */
#define TRANSFER_MS 2000 /* leadership must have gone within */
#define ANSWER_BYTES_MAX (1024 * 1024)

enum order_state { ORDER_NEW, ORDER_PASSED_ON, ORDER_CHANGING, ORDER_TRANSFERRING };

/* One request on its way; a call of this agent's, or another server's. */
struct order {
    struct rpc_request request;
    struct agent *agent;
    struct order *next;
    enum order_state state;
    enum backend_operator_action action;
    char *server_id, *address;
    int64_t until_ms;
    uint64_t configuration_index; /* of the change that is to be committed */
    struct backend_call *call;    /* NULL: of another server */
    void (*done)(void *context);
    void *context;
    struct rpc_ticket ticket;
};

struct operator{
    struct agent *agent;
    struct order *orders;
    struct loop_timer timer;
    struct rpc *rpc;
};

static void free_order(struct order *order) {
    free(order->server_id);
    free(order->address);
    free(order);
}

/* Takes the order off the list and answers it; body may be NULL. */
static void finish(struct order *order, enum err err, const struct err_text *text, const void *body,
                   size_t size) {
    struct operator* all = order->agent->operator;
    struct order **link = &all->orders;
    while (*link != order) {
        link = &(*link)->next;
    }
    *link = order->next;
    if (order->call == NULL) {
        rpc_answer(all->rpc, order->ticket, err, text, body, size);
    } else {
        order->call->err = err;
        if (err != ERR_OK) {
            order->call->text = *text;
        } else if (size > 0) {
            order->call->answer = mem_memdup(body, size);
            order->call->answer_size = size;
        }
        order->done(order->context);
    }
    free_order(order);
}

static void refuse(struct order *order, enum err err, const char *sentence, const char *about) {
    struct err_text text = {""};
    err_set(&text, err, sentence, about);
    finish(order, err, &text, NULL, 0);
}

/* ---- on the leader ---- */

static int64_t now_ms(const struct agent *agent) {
    return loop_now_ms(agent->loop);
}

static void show(struct order *order) {
    struct buf out;
    struct json json;
    buf_init(&out, ANSWER_BYTES_MAX);
    json_init(&json, &out, false);
    operator_show(order->agent, order->action, &json);
    finish(order, ERR_OK, NULL, out.data, out.count);
    buf_clear(&out);
}

/* False: there is no such server. */
static bool find_server(const struct order *order, struct group_peer_status *ret_peer) {
    struct group_peer_status peers[LIMIT_RAFT_SERVERS];
    struct group *group = order->agent->group;
    group_refresh_peers(group);
    uint32_t count = group_get_peers(group, peers);
    for (uint32_t i = 0; i < count; i++) {
        char id[UUID_TEXT_BYTES], address[ADDR_TEXT_BYTES] = "";
        uuid_format(&peers[i].id.node, id);
        if (peers[i].addr.any.sa_family != 0) {
            addr_format(&peers[i].addr, address);
        }
        if (*order->server_id != '\0' ? strcmp(id, order->server_id) == 0
                                      : strcmp(address, order->address) == 0) {
            *ret_peer = peers[i];
            return true;
        }
    }
    return false;
}

static void remove_server(struct order *order) {
    struct group *group = order->agent->group;
    struct group_peer_status peer;
    struct err_text text = {""};
    if (!find_server(order, &peer)) {
        bool by_id = *order->server_id != '\0';
        refuse(order, ERR_REFUSED,
               by_id ? "id \"%.128s\" was not found in the Raft configuration"
                     : "address \"%.128s\" was not found in the Raft configuration",
               by_id ? order->server_id : order->address);
        return;
    }
    enum err err = group_change(group, RAFT_CHANGE_REMOVE, &peer.id, &text);
    if (err == ERR_OVERLOADED) {
        return; /* another change is under way: at the next tick */
    }
    if (err != ERR_OK) {
        finish(order, err == ERR_NO_LEADER ? err : ERR_REFUSED, &text, NULL, 0);
        return;
    }
    struct group_status status;
    group_get_status(group, &status);
    order->configuration_index = status.configuration_index;
    order->state = ORDER_CHANGING;
    order->until_ms = now_ms(order->agent) + CHANGE_MS;
}

static void transfer(struct order *order) {
    struct group_peer_status peer;
    struct err_text text = {""};
    bool named = *order->server_id != '\0';
    if (named && !find_server(order, &peer)) {
        refuse(order, ERR_REFUSED, "Could not find address for server id %.128s", order->server_id);
        return;
    }
    enum err err = group_transfer(order->agent->group, named ? &peer.id : NULL, &text);
    if (err == ERR_OVERLOADED || err == ERR_NO_LEADER) {
        finish(order, ERR_REFUSED, &text, NULL, 0);
    } else if (err != ERR_OK) {
        refuse(order, ERR_REFUSED, "%s", "cannot find peer");
    } else {
        order->state = ORDER_TRANSFERRING;
        order->until_ms = now_ms(order->agent) + TRANSFER_MS;
    }
}

static void watch_change(struct order *order) {
    struct group_status status;
    group_get_status(order->agent->group, &status);
    if (status.commit_index >= order->configuration_index) {
        finish(order, ERR_OK, NULL, NULL, 0);
    } else if (status.role != RAFT_LEADER) {
        refuse(order, ERR_TIMEOUT, "%s", "leadership lost while committing log");
    } else if (now_ms(order->agent) >= order->until_ms) {
        refuse(order, ERR_TIMEOUT, "%s", "the change is not committed yet: no majority answers");
    }
}

static void watch_transfer(struct order *order) {
    static const char success[] = "{\"Success\":true}";
    struct group_status status;
    group_get_status(order->agent->group, &status);
    if (status.role != RAFT_LEADER) {
        finish(order, ERR_OK, NULL, success, sizeof success - 1);
    } else if (now_ms(order->agent) >= order->until_ms) {
        refuse(order, ERR_TIMEOUT, "%s", "leadership transfer timeout");
    }
}

static void carry_out(struct order *order) {
    switch (order->action) {
    case BACKEND_SHOW_RAFT:
    case BACKEND_SHOW_AUTOPILOT:
    case BACKEND_SHOW_HEALTH:
    case BACKEND_SHOW_STATE:
        show(order);
        return;
    case BACKEND_REMOVE_SERVER:
        remove_server(order);
        return;
    case BACKEND_TRANSFER_LEADER:
        transfer(order);
        return;
    }
    refuse(order, ERR_VERSION, "%s", "the leader does not know what is asked; update it");
}

/* ---- to the leader ---- */

static void passed_back(struct rpc_request *request, enum err err, const struct err_text *text,
                        const uint8_t *body, size_t size) {
    struct order *order = CONTAINER_OF(request, struct order, request);
    if (err == ERR_NO_LEADER) {
        order->state = ORDER_NEW; /* nothing was done: once more */
    } else if (err == ERR_CLOSED || err == ERR_TIMEOUT) {
        refuse(order, ERR_TIMEOUT, "%s",
               "rpc error making call: the leader was lost, the outcome is not known");
    } else {
        finish(order, err, text, body, size);
    }
}

static void pass_on(struct order *order, struct rpc_connection *leader) {
    Pb__RpcOperator message = PB__RPC_OPERATOR__INIT;
    message.action = (uint32_t)order->action;
    message.id = order->server_id;
    message.address = order->address;
    size_t size = pb__rpc_operator__get_packed_size(&message);
    uint8_t *body = mem_alloc(size + 1);
    pb__rpc_operator__pack(&message, body);
    order->request.done = passed_back;
    if (rpc_request(leader, &order->request, RPC_METHOD_OPERATOR, body, size, LIMIT_FORWARD_MS) ==
        ERR_OK) {
        order->state = ORDER_PASSED_ON;
    }
    free(body);
}

static void begin(struct order *order) {
    struct agent *agent = order->agent;
    bool local = order->call != NULL && order->call->operate.stale;
    struct rpc_connection *leader;
    if (group_leads(agent->group) || local) {
        carry_out(order);
    } else if (order->call == NULL || now_ms(agent) >= order->until_ms) {
        refuse(order, ERR_NO_LEADER, "%s", "No cluster leader");
    } else if ((leader = group_leader_connection(agent->group)) != NULL) {
        pass_on(order, leader);
    }
}

static void look(struct order *order) {
    switch (order->state) {
    case ORDER_NEW:
        begin(order);
        break;
    case ORDER_PASSED_ON:
        break;
    case ORDER_CHANGING:
        watch_change(order);
        break;
    case ORDER_TRANSFERRING:
        watch_transfer(order);
        break;
    }
}

static void tick(struct loop_timer *timer) {
    struct operator* all = CONTAINER_OF(timer, struct operator, timer);
    struct order *next;
    for (struct order *order = all->orders; order != NULL; order = next) {
        next = order->next;
        look(order);
    }
    if (all->orders != NULL) {
        loop_timer_start(all->agent->loop, timer, now_ms(all->agent) + TICK_MS);
    }
}

static void add(struct operator* all, struct order *order) {
    order->agent = all->agent;
    order->until_ms = now_ms(all->agent) + LIMIT_LEADER_HOLD_MS;
    order->next = all->orders;
    all->orders = order;
    loop_timer_start(all->agent->loop, &all->timer, now_ms(all->agent) + TICK_MS);
    look(order);
}

void operator_run(struct agent *agent, struct backend_call *call, void (*done)(void *context),
                  void *context) {
    struct order *order = mem_calloc(1, sizeof *order);
    order->call = call;
    order->done = done;
    order->context = context;
    order->action = call->operate.action;
    order->server_id = mem_strdup(call->operate.server_id);
    order->address = mem_strdup(call->operate.address);
    add(agent->operator, order);
}

/* ---- from other servers ---- */

static void on_request(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                       const uint8_t *body, size_t size) {
    struct operator* all = context;
    Pb__RpcOperator *message = pb__rpc_operator__unpack(NULL, size, body);
    (void)from;
    if (message == NULL) {
        struct err_text text = {"the request cannot be read"};
        rpc_answer(all->rpc, ticket, ERR_CORRUPT, &text, NULL, 0);
        return;
    }
    struct order *order = mem_calloc(1, sizeof *order);
    order->ticket = ticket;
    order->action = (enum backend_operator_action)message->action;
    order->server_id = mem_strdup(message->id);
    order->address = mem_strdup(message->address);
    pb__rpc_operator__free_unpacked(message, NULL);
    add(all, order);
}

void operator_serve(struct agent *agent, struct rpc *rpc) {
    static const struct rpc_service service = {.request = on_request};
    agent->operator->rpc = rpc;
    rpc_serve(rpc, RPC_METHOD_OPERATOR, &service, agent->operator);
}

/* ---- life ---- */

void operator_start(struct agent *agent) {
    agent->operator= mem_calloc(1, sizeof *agent->operator);
    agent->operator->agent = agent;
    agent->operator->timer.run = tick;
}

void operator_stop(struct agent *agent) {
    struct operator* all = agent->operator;
    while (all != NULL && all->orders != NULL) {
        rpc_request_cancel(&all->orders->request);
        refuse(all->orders, ERR_CLOSED, "%s", "the agent is stopping");
    }
    if (all != NULL) {
        loop_timer_stop(agent->loop, &all->timer);
    }
}

void operator_clear(struct agent *agent) {
    free(agent->operator);
    agent->operator= NULL;
}
