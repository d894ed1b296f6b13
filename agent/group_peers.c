/* The other servers: connections to them, and the core's messages on these. */
#include <stdlib.h>
#include <string.h>

#include "agent/group_internal.h"
#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"

/* ---- outgoing ---- */

static void pop(struct peer *peer) {
    struct outgoing *first = peer->outgoing;
    peer->outgoing = first->next;
    if (peer->outgoing == NULL) {
        peer->outgoing_last = &peer->outgoing;
    }
    peer->outgoing_count--;
    free(first);
}

/* But for the one that is being read for. */
static void drop_outgoing(struct peer *peer) {
    while (peer->outgoing != NULL) {
        pop(peer);
        peer->group->messages_dropped++;
    }
}

static struct rpc_connection *connection_of(const struct peer *peer) {
    return peer->client != NULL ? rpc_client_connection(peer->client) : NULL;
}

static bool needs_disk(const struct group *group, const struct raft_message *message) {
    if (message->kind == RAFT_MESSAGE_SNAPSHOT) {
        return true;
    }
    return message->kind == RAFT_MESSAGE_APPEND && message->append.count > 0 &&
           !log_tail_holds(&group->tail, message->append.prev_index + 1, message->append.count,
                           message->append.entry_term);
}

/* Head and payloads, from the tail. */
static void encode(const struct group *group, const struct raft_message *message, struct buf *out) {
    uint32_t count = message->kind == RAFT_MESSAGE_APPEND ? message->append.count : 0;
    struct raft_entry_head *heads = count > 0 ? mem_alloc(count * sizeof *heads) : NULL;
    const struct store_entry **entries = count > 0 ? mem_alloc(count * sizeof *entries) : NULL;
    for (uint32_t i = 0; i < count; i++) {
        ASSERT(log_tail_find(&group->tail, message->append.prev_index + 1 + i, &entries[i]) !=
               NULL);
        heads[i] = (struct raft_entry_head){.kind = (enum raft_entry_kind)entries[i]->kind,
                                            .size = entries[i]->size};
    }
    raft_message_encode(message, heads, out);
    for (uint32_t i = 0; i < count; i++) {
        buf_append(out, entries[i]->payload, entries[i]->size);
    }
    free(heads);
    free(entries);
}

static void send_first(struct peer *peer, struct rpc_connection *connection) {
    struct buf out;
    buf_init(&out, LIMIT_RPC_FRAME_BYTES);
    encode(peer->group, &peer->outgoing->message, &out);
    if (out.failed || rpc_send(connection, RPC_METHOD_RAFT, out.data, out.count) != ERR_OK) {
        peer->group->messages_dropped++; /* as if the net had lost it */
    }
    buf_clear(&out);
    pop(peer);
}

void group_pump(struct peer *peer) {
    while (peer->outgoing != NULL) {
        struct rpc_connection *connection = connection_of(peer);
        if (connection == NULL) {
            drop_outgoing(peer);
            return;
        }
        if (peer->feed != NULL) {
            return;
        }
        if (needs_disk(peer->group, &peer->outgoing->message)) {
            struct outgoing *first = peer->outgoing;
            if (peer->group->storage != NULL) {
                peer->outgoing = first->next;
                if (peer->outgoing == NULL) {
                    peer->outgoing_last = &peer->outgoing;
                }
                peer->outgoing_count--;
                group_feed(peer, first);
                return;
            }
            pop(peer);
            peer->group->messages_dropped++;
            continue;
        }
        send_first(peer, connection);
    }
}

static void post(struct peer *peer, const struct raft_message *message) {
    if (peer->outgoing_count >= LIMIT_RAFT_OUTGOING || connection_of(peer) == NULL) {
        peer->group->messages_dropped++;
        return;
    }
    struct outgoing *outgoing = mem_calloc(1, sizeof *outgoing);
    outgoing->message = *message;
    if (message->kind == RAFT_MESSAGE_SNAPSHOT) {
        outgoing->configuration = *message->snapshot.configuration;
        outgoing->message.snapshot.configuration = &outgoing->configuration;
    }
    *peer->outgoing_last = outgoing;
    peer->outgoing_last = &outgoing->next;
    peer->outgoing_count++;
    group_pump(peer);
}

void group_send(struct group *group, const struct raft_output *output) {
    for (uint32_t i = 0; i < output->message_count; i++) {
        struct peer *peer = group_find_peer(group, &output->messages[i].to);
        if (peer != NULL) {
            post(peer, &output->messages[i]);
        } else {
            group->messages_dropped++;
        }
    }
}

/* ---- incoming ---- */

bool group_is_ours(const struct group *group, const struct rpc_identity *identity) {
    return identity->server && !uuid_is_zero(&identity->disk) && group->config.datacenter != NULL &&
           strcmp(identity->datacenter, group->config.datacenter) == 0;
}

static bool find_configurations(const struct raft_decoded *decoded,
                                struct raft_configuration_at **ret_all, uint32_t *ret_count) {
    const struct raft_message *message = &decoded->message;
    const uint8_t *at = decoded->payload;
    for (uint32_t i = 0; message->kind == RAFT_MESSAGE_APPEND && i < message->append.count; i++) {
        const struct raft_entry_head *head = &decoded->entries[i];
        if (head->kind == RAFT_ENTRY_CONFIGURATION) {
            *ret_all = mem_realloc(*ret_all, (*ret_count + 1) * sizeof **ret_all);
            struct raft_configuration_at *to = &(*ret_all)[*ret_count];
            to->index = message->append.prev_index + 1 + i;
            if (raft_configuration_decode(at, head->size, &to->configuration) != ERR_OK) {
                return false;
            }
            ++*ret_count;
        }
        at += head->size;
    }
    return true;
}

static void step_message(struct group *group, const struct raft_decoded *decoded) {
    struct raft_configuration_at *configurations = NULL;
    uint32_t count = 0;
    if (find_configurations(decoded, &configurations, &count)) {
        struct raft_event event = {.kind = RAFT_EVENT_MESSAGE,
                                   .message = {.message = &decoded->message,
                                               .entries = decoded->entries,
                                               .configurations = configurations,
                                               .configuration_count = count}};
        uint64_t begun_at_ns = metrics_clock_ns();
        group->received = decoded;
        group_step(group, &event);
        group_metrics_message(&group->metrics, &decoded->message, begun_at_ns);
        group->received = NULL;
    }
    free(configurations);
}

static void on_message(void *context, struct rpc_connection *from, const uint8_t *body,
                       size_t size) {
    struct group *group = context;
    const struct rpc_identity *identity = rpc_peer(from);
    struct raft_decoded decoded;
    struct err_text text;
    if (group->closing || !group_is_ours(group, identity) ||
        raft_message_decode(body, size, &decoded) != ERR_OK) {
        group->messages_dropped++;
        return;
    }
    struct raft_id sender = {.node = identity->node, .disk = identity->disk};
    bool ours = raft_id_equal(&decoded.message.from, &sender) &&
                raft_id_equal(&decoded.message.to, &group->self);
    if (uuid_is_zero(&identity->cluster) && !group_has_cluster(group)) {
        ours = false; /* it greeted before it was in a group itself, and will greet again */
    }
    if (ours && !group_has_cluster(group) &&
        group_join_cluster(group, &identity->cluster, &text) != ERR_OK) {
        log_write(group->config.log, LOG_ERROR, MODULE, "cannot join the group: error=\"%s\"",
                  text.s);
        ours = false;
    }
    if (ours) {
        step_message(group, &decoded);
    } else {
        group->messages_dropped++;
    }
    raft_decoded_clear(&decoded);
}

void group_peers_serve(struct group *group) {
    static const struct rpc_service raft = {.message = on_message};
    rpc_serve(group->rpc, RPC_METHOD_RAFT, &raft, group);
    group_forward_serve(group);
    group_check_serve(group);
    group_heal_serve(group);
}

/* ---- connections ---- */

static void on_closed(void *context, struct rpc_connection *connection, enum err err,
                      const struct err_text *text) {
    struct peer *peer = context;
    (void)connection;
    (void)err;
    (void)text;
    drop_outgoing(peer);
    struct raft_event event = {.kind = RAFT_EVENT_UNREACHABLE,
                               .unreachable = {.id = peer->server.id}};
    if (!peer->group->closing) {
        group_step(peer->group, &event);
    }
}

struct peer *group_find_peer(const struct group *group, const struct raft_id *id) {
    for (uint32_t i = 0; i < group->peer_count; i++) {
        if (raft_id_equal(&group->peers[i]->server.id, id)) {
            return group->peers[i];
        }
    }
    return NULL;
}

struct rpc_connection *group_connection(const struct group *group, const struct raft_id *id) {
    struct peer *peer = group_find_peer(group, id);
    return peer != NULL ? connection_of(peer) : NULL;
}

static const struct rpc_events client_events = {.closed = on_closed};

static void connect_to(struct peer *peer) {
    peer->client = rpc_client_create(peer->group->rpc, &peer->server.addr, &peer->server.id.node,
                                     &client_events, peer);
}

void group_peers_reconnect(struct group *group) {
    for (uint32_t i = 0; i < group->peer_count; i++) {
        if (group->peers[i]->client != NULL) {
            rpc_client_destroy(group->peers[i]->client);
            connect_to(group->peers[i]);
        }
    }
}

static void update(struct peer *peer, const struct group_server *server) {
    bool back = peer->server.state != GROUP_SERVER_ALIVE && server->state == GROUP_SERVER_ALIVE;
    peer->server = *server;
    if (server->state != GROUP_SERVER_ALIVE) {
        peer->alive_since_ms = 0;
    } else if (peer->alive_since_ms == 0) {
        peer->alive_since_ms = loop_now_ms(peer->group->config.loop);
    }
    if (server->state == GROUP_SERVER_LEFT) {
        rpc_client_destroy(peer->client);
        peer->client = NULL;
        drop_outgoing(peer);
    } else if (peer->client == NULL) {
        connect_to(peer);
    } else {
        rpc_client_set_addr(peer->client, &server->addr);
        if (back) {
            rpc_client_retry(peer->client);
        }
    }
}

static void remove_peer(struct peer *peer) {
    rpc_client_destroy(peer->client);
    peer->client = NULL;
    drop_outgoing(peer);
    if (peer->feed != NULL) {
        peer->gone = true;
    } else {
        free(peer);
    }
}

static bool is_among(const struct raft_id *id, const struct group_server *servers, uint32_t count) {
    for (uint32_t i = 0; i < count; i++) {
        if (raft_id_equal(&servers[i].id, id)) {
            return true;
        }
    }
    return false;
}

void group_set_servers(struct group *group, const struct group_server *servers, uint32_t count) {
    uint32_t kept = 0;
    for (uint32_t i = 0; i < group->peer_count; i++) {
        struct peer *peer = group->peers[i];
        if (is_among(&peer->server.id, servers, count)) {
            group->peers[kept++] = peer;
        } else {
            remove_peer(peer);
        }
    }
    group->peer_count = kept;
    for (uint32_t i = 0; i < count; i++) {
        struct peer *peer = group_find_peer(group, &servers[i].id);
        if (raft_id_equal(&servers[i].id, &group->self)) {
            continue;
        }
        if (peer == NULL) {
            peer = mem_calloc(1, sizeof *peer);
            peer->group = group;
            peer->outgoing_last = &peer->outgoing;
            group->peers =
                mem_realloc(group->peers, (group->peer_count + 1) * sizeof *group->peers);
            group->peers[group->peer_count++] = peer;
        }
        update(peer, &servers[i]);
    }
    group_members_note(group);
}

void group_peers_clear(struct group *group) {
    for (uint32_t i = 0; i < group->peer_count; i++) {
        remove_peer(group->peers[i]);
    }
    free(group->peers);
    group->peers = NULL;
    group->peer_count = 0;
}
