#include "agent/pool.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"

#define INBOUND_MS 30000 /* a peer's exchange is over by then */
#define REFUSED_LOG_MS 10000

/* An exchange of the core over a connection. */
struct stream {
    struct stream *next;
    struct pool *pool;
    uint64_t id;
    struct rpc_connection *connection;
    uint8_t *first; /* of an own one: what is sent once it is open */
    size_t first_size;
    struct loop_timer timer;
};

struct pool {
    struct pool_config config;
    struct gossip *gossip;
    struct gossip_output output;
    struct udp *udp;
    struct rpc *rpc;
    struct seal *seal;
    struct stream *streams;
    uint64_t last_inbound;
    struct pool_join *joins;
    struct loop_timer timer, join_timer;
    void (*left)(void *context);
    void *left_context;
    bool stepping, has_left;
    const struct err_text *failure; /* of the stream whose end is being told */
    uint64_t not_allowed;
    int64_t refused_logged_ms;
};

/* ---- addresses ---- */

struct gossip_address pool_address(const struct addr *addr) {
    struct gossip_address address = {{0}, {0}};
    if (addr->any.sa_family == AF_INET6) {
        memcpy(address.ip, &addr->v6.sin6_addr, 16);
    } else {
        address.ip[10] = address.ip[11] = 0xff;
        memcpy(address.ip + 12, &addr->v4.sin_addr, 4);
    }
    address.port[0] = (uint8_t)(addr_port(addr) >> 8);
    address.port[1] = (uint8_t)addr_port(addr);
    return address;
}

struct addr pool_addr(const struct gossip_address *address) {
    static const uint8_t mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    struct addr addr;
    memset(&addr, 0, sizeof addr);
    if (memcmp(address->ip, mapped, sizeof mapped) == 0) {
        addr.v4.sin_family = AF_INET;
        memcpy(&addr.v4.sin_addr, address->ip + 12, 4);
    } else {
        addr.v6.sin6_family = AF_INET6;
        memcpy(&addr.v6.sin6_addr, address->ip, 16);
    }
    addr_set_port(&addr, (uint16_t)(address->port[0] << 8 | address->port[1]));
    return addr;
}

static bool allows(void *context, const struct addr *from) {
    const struct pool *pool = context;
    for (unsigned i = 0; i < pool->config.allowed_count; i++) {
        if (cidr_contains(&pool->config.allowed[i], &from->any)) {
            return true;
        }
    }
    return pool->config.allowed_count == 0;
}

/* ---- the core ---- */

static void follow(struct pool *pool);

static enum err step(struct pool *pool, const struct gossip_event *event) {
    ASSERT(!pool->stepping);
    pool->stepping = true;
    enum err err =
        gossip_step(pool->gossip, (uint64_t)loop_now_ms(pool->config.loop), event, &pool->output);
    follow(pool);
    pool->stepping = false;
    return err;
}

static void on_timer(struct loop_timer *timer) {
    struct gossip_event event = {.kind = GOSSIP_EVENT_TIMER};
    step(CONTAINER_OF(timer, struct pool, timer), &event);
}

/* ---- streams ---- */

static struct stream *find_stream(struct pool *pool, uint64_t id) {
    struct stream *stream = pool->streams;
    while (stream != NULL && stream->id != id) {
        stream = stream->next;
    }
    return stream;
}

static void free_stream(struct stream *stream) {
    struct pool *pool = stream->pool;
    struct stream **at = &pool->streams;
    while (*at != stream) {
        at = &(*at)->next;
    }
    *at = stream->next;
    loop_timer_stop(pool->config.loop, &stream->timer);
    free(stream->first);
    free(stream);
}

static void fail_stream(struct stream *stream, bool refused, const struct err_text *text) {
    struct pool *pool = stream->pool;
    struct gossip_event event = {.kind = GOSSIP_EVENT_STREAM_FAILED,
                                 .stream_failed = {.stream = stream->id, .refused = refused}};
    free_stream(stream);
    if ((event.stream_failed.stream & GOSSIP_STREAM_OWN) != 0) {
        pool->failure = text;
        step(pool, &event);
        pool->failure = NULL;
    }
}

static void stream_late(struct loop_timer *timer) {
    static const struct err_text text = {"no answer in time"};
    struct stream *stream = CONTAINER_OF(timer, struct stream, timer);
    rpc_close(stream->connection);
    fail_stream(stream, false, &text);
}

static struct stream *add_stream(struct pool *pool, uint64_t id, int64_t timeout_ms) {
    struct stream *stream = mem_calloc(1, sizeof *stream);
    stream->pool = pool;
    stream->id = id;
    stream->next = pool->streams;
    stream->timer.run = stream_late;
    pool->streams = stream;
    loop_timer_start(pool->config.loop, &stream->timer,
                     loop_now_ms(pool->config.loop) + timeout_ms);
    return stream;
}

static void stream_opened(void *context, struct rpc_connection *connection) {
    struct stream *stream = context;
    if (rpc_send(connection, RPC_METHOD_GOSSIP, stream->first, stream->first_size) != ERR_OK) {
        log_write(stream->pool->config.log, LOG_ERROR, stream->pool->config.module,
                  "cannot send an exchange of %zu bytes", stream->first_size);
    }
    free(stream->first);
    stream->first = NULL;
}

static void stream_closed(void *context, struct rpc_connection *connection, enum err err,
                          const struct err_text *text) {
    (void)connection;
    fail_stream(context, err == ERR_NOT_FOUND, text);
}

static const struct rpc_events own_events = {.opened = stream_opened, .closed = stream_closed};
static const struct rpc_events inbound_events = {.closed = stream_closed};

/* Of a connection that arrived: it becomes a stream with its first message. */
static const struct rpc_events accepted_events = {.opened = NULL};

static void stream_message(void *context, struct rpc_connection *from, const uint8_t *body,
                           size_t size) {
    struct pool *pool = context;
    struct stream *stream = pool->streams;
    while (stream != NULL && stream->connection != from) {
        stream = stream->next;
    }
    if (stream == NULL && rpc_context(from) == pool) { /* as it was accepted */
        stream = add_stream(pool, ++pool->last_inbound & ~GOSSIP_STREAM_OWN, INBOUND_MS);
        stream->connection = from;
        rpc_set_events(from, &inbound_events, stream);
    }
    if (stream == NULL) {
        return; /* a connection for something else */
    }
    if (size > LIMIT_GOSSIP_STREAM_BYTES) {
        return;
    }
    struct gossip_event event = {.kind = GOSSIP_EVENT_STREAM_MESSAGE,
                                 .stream_message = {.stream = stream->id,
                                                    .from = pool_address(rpc_peer_addr(from)),
                                                    .data = body,
                                                    .size = size}};
    enum err err = step(pool, &event);
    if (err != ERR_OK) {
        log_write(pool->config.log, LOG_DEBUG, pool->config.module,
                  "dropped an exchange: from=\"%s\" error=\"%s\"", rpc_peer(from)->name,
                  err_name(err));
    }
}

static const struct rpc_service gossip_service = {.message = stream_message};

static void follow_stream(struct pool *pool, const struct gossip_stream *what) {
    const char *bytes = pool->output.bytes.data;
    struct stream *stream;
    switch (what->action) {
    case GOSSIP_STREAM_OPEN: {
        struct addr to = pool_addr(&what->to);
        stream = add_stream(pool, what->stream, what->timeout_ms);
        stream->first = mem_memdup(bytes + what->offset, what->size);
        stream->first_size = what->size;
        stream->connection = rpc_connect(pool->rpc, &to, NULL, &own_events, stream);
        break;
    }
    case GOSSIP_STREAM_SEND:
        stream = find_stream(pool, what->stream);
        if (stream != NULL) {
            (void)rpc_send(stream->connection, RPC_METHOD_GOSSIP, bytes + what->offset, what->size);
        }
        break;
    case GOSSIP_STREAM_CLOSE:
        stream = find_stream(pool, what->stream);
        if (stream != NULL) {
            rpc_finish(stream->connection);
            free_stream(stream);
        }
        break;
    }
}

/* ---- joins ---- */

static void answer_joins(struct loop_timer *timer) {
    struct pool *pool = CONTAINER_OF(timer, struct pool, join_timer);
    struct pool_join **at = &pool->joins;
    while (*at != NULL) {
        struct pool_join *join = *at;
        if (!join->finished) {
            at = &join->next;
            continue;
        }
        *at = join->next;
        join->done(join, join->failure.s[0] == '\0' ? ERR_OK : ERR_IO, &join->failure);
        at = &pool->joins; /* it may have changed the list */
    }
}

static void finish_joins(struct pool *pool, const struct gossip_change *change) {
    for (struct pool_join *join = pool->joins; join != NULL; join = join->next) {
        struct gossip_address address = pool_address(&join->addr);
        if (join->finished || !gossip_address_equal(&address, &change->address)) {
            continue;
        }
        join->finished = true;
        if (change->kind == GOSSIP_CHANGE_JOIN_FAILED) {
            err_set(&join->failure, ERR_IO, "%s",
                    pool->failure != NULL ? pool->failure->s : err_name(change->err));
        }
        loop_timer_start(pool->config.loop, &pool->join_timer, loop_now_ms(pool->config.loop));
    }
}

void pool_join(struct pool *pool, struct pool_join *join, const struct addr *to) {
    struct gossip_event event = {.kind = GOSSIP_EVENT_JOIN, .join = {.address = pool_address(to)}};
    join->addr = *to;
    join->finished = false;
    join->failure.s[0] = '\0';
    join->next = pool->joins;
    pool->joins = join;
    if (step(pool, &event) != ERR_OK) {
        join->finished = true;
        err_set(&join->failure, ERR_CLOSED, "this agent is leaving");
        loop_timer_start(pool->config.loop, &pool->join_timer, loop_now_ms(pool->config.loop));
    }
}

void pool_join_cancel(struct pool *pool, struct pool_join *join) {
    struct pool_join **at = &pool->joins;
    while (*at != NULL && *at != join) {
        at = &(*at)->next;
    }
    if (*at == join) {
        *at = join->next;
    }
}

/* ---- what a step asks for ---- */

static void send_packet(struct pool *pool, const struct gossip_packet *packet) {
    uint8_t sealed[LIMIT_SEAL_PACKET_BYTES];
    struct addr to = pool_addr(&packet->to);
    ASSERT(packet->size + SEAL_OVERHEAD_BYTES <= sizeof sealed);
    size_t size =
        seal_packet(pool->seal, pool->output.bytes.data + packet->offset, packet->size, sealed);
    (void)udp_send(pool->udp, &to, sealed, size);
}

static void follow(struct pool *pool) {
    struct gossip_output *output = &pool->output;
    struct loop *loop = pool->config.loop;
    for (uint32_t i = 0; i < output->packet_count; i++) {
        send_packet(pool, &output->packets[i]);
    }
    for (uint32_t i = 0; i < output->stream_count; i++) {
        follow_stream(pool, &output->streams[i]);
    }
    for (uint32_t i = 0; i < output->change_count; i++) {
        const struct gossip_change *change = &output->changes[i];
        if (change->kind == GOSSIP_CHANGE_JOIN_DONE || change->kind == GOSSIP_CHANGE_JOIN_FAILED) {
            finish_joins(pool, change);
        } else if (change->kind == GOSSIP_CHANGE_LEAVE_DONE) {
            pool->has_left = true;
        } else if (change->kind == GOSSIP_CHANGE_USER_EVENT) {
            pool->config.heard_event(pool->config.context, &change->event_id, change->ltime,
                                     (const uint8_t *)output->bytes.data + change->offset,
                                     change->size);
            continue;
        }
        pool->config.changed(pool->config.context, change);
    }
    if (output->store_boot_epoch) {
        pool->config.store_epoch(pool->config.context, output->boot_epoch);
    }
    if (output->deadline_at_ms != GOSSIP_NEVER) {
        loop_timer_start(loop, &pool->timer, (int64_t)output->deadline_at_ms);
    } else {
        loop_timer_stop(loop, &pool->timer);
    }
    if (pool->has_left && pool->left != NULL) {
        void (*left)(void *context) = pool->left;
        pool->left = NULL;
        left(pool->left_context);
    }
}

/* ---- packets ---- */

static void log_refused(struct pool *pool, const struct addr *from, enum seal_refusal why) {
    int64_t now_ms = loop_now_ms(pool->config.loop);
    if (now_ms - pool->refused_logged_ms >= REFUSED_LOG_MS) {
        char name[ADDR_TEXT_BYTES];
        addr_format(from, name);
        pool->refused_logged_ms = now_ms;
        log_write(pool->config.log, LOG_WARN, pool->config.module,
                  "refused a packet (further ones are counted only): from=%s error=\"%s\"", name,
                  seal_refusal_name(why));
    }
}

static void packet_received(void *context, const struct addr *from, uint8_t *data, size_t size) {
    struct pool *pool = context;
    enum seal_refusal why = SEAL_REFUSAL_COUNT;
    struct gossip_event event = {.kind = GOSSIP_EVENT_PACKET};
    uint8_t *message = NULL;
    if (!allows(pool, from)) {
        pool->not_allowed++;
        return;
    }
    if (seal_open(pool->seal, data, size, &message, &event.packet.size, &why) != ERR_OK) {
        log_refused(pool, from, why);
        return;
    }
    event.packet.from = pool_address(from);
    event.packet.data = message;
    step(pool, &event);
}

static void packet_refused(void *context, const struct addr *to) {
    struct gossip_event event = {.kind = GOSSIP_EVENT_CLOSED_PORT,
                                 .closed_port = {.address = pool_address(to)}};
    step(context, &event);
}

static const struct udp_events udp_events = {packet_received, packet_refused};

/* ---- life ---- */

static struct rpc *create_rpc(struct pool *pool) {
    const struct pool_config *config = &pool->config;
    struct rpc_config rpc = {.loop = config->loop,
                             .log = config->log,
                             .module = config->module,
                             .kind = config->wan ? RPC_KIND_GOSSIP_WAN : RPC_KIND_GOSSIP_LAN,
                             .self = {.node = config->self.id, .server = config->self.server},
                             .keyring = config->keyring,
                             .verify_incoming = config->verify_incoming,
                             .verify_outgoing = config->verify_outgoing,
                             .from = &config->bind,
                             .frame_bytes_max = LIMIT_GOSSIP_STREAM_BYTES + 1024,
                             .accepted = &accepted_events,
                             .accepted_context = pool,
                             .allows = allows};
    strncat(rpc.self.name, config->self.name, sizeof rpc.self.name - 1);
    strncat(rpc.self.datacenter, config->datacenter, sizeof rpc.self.datacenter - 1);
    struct rpc *made = rpc_create(&rpc);
    rpc_serve(made, RPC_METHOD_GOSSIP, &gossip_service, pool);
    return made;
}

struct pool *pool_create(const struct pool_config *config, struct err_text *text) {
    struct pool *pool = mem_calloc(1, sizeof *pool);
    struct rand rand;
    pool->config = *config;
    pool->timer.run = on_timer;
    pool->join_timer.run = answer_joins;
    pool->refused_logged_ms = -REFUSED_LOG_MS;
    gossip_output_init(&pool->output);
    rand_init(&rand, config->seed);
    pool->rpc = create_rpc(pool);
    struct seal_config seal = {.pool = config->wan ? "wan" : "lan",
                               .self = config->self.id,
                               .boot_epoch = config->boot_epoch,
                               .keyring = config->keyring,
                               .verify_incoming = config->verify_incoming,
                               .verify_outgoing = config->verify_outgoing};
    pool->seal = seal_create(&seal);
    pool->udp = udp_open(config->loop, &config->bind, &udp_events, pool, text);
    if (pool->udp == NULL || rpc_listen(pool->rpc, &config->bind, text) != ERR_OK ||
        gossip_create(&config->gossip, &config->self, config->boot_epoch,
                      (uint64_t)loop_now_ms(config->loop), &rand, config->descriptors,
                      &pool->gossip, text) != ERR_OK) {
        pool_destroy(pool);
        return NULL;
    }
    pool->config.self = (struct gossip_info){.id = config->self.id};
    loop_timer_start(config->loop, &pool->timer, loop_now_ms(config->loop));
    return pool;
}

void pool_destroy(struct pool *pool) {
    static const struct err_text text = {"this agent is stopping"};
    if (pool == NULL) {
        return;
    }
    while (pool->streams != NULL) {
        rpc_close(pool->streams->connection);
        free_stream(pool->streams);
    }
    rpc_destroy(pool->rpc);
    udp_close(pool->udp);
    loop_timer_stop(pool->config.loop, &pool->timer);
    loop_timer_stop(pool->config.loop, &pool->join_timer);
    while (pool->joins != NULL) {
        struct pool_join *join = pool->joins;
        pool->joins = join->next;
        join->done(join, ERR_CLOSED, &text);
    }
    seal_destroy(pool->seal);
    gossip_output_clear(&pool->output);
    if (pool->gossip != NULL) {
        gossip_destroy(pool->gossip);
    }
    free(pool);
}

const struct gossip *pool_gossip(const struct pool *pool) {
    return pool->gossip;
}

struct rpc *pool_rpc(const struct pool *pool) {
    return pool->rpc;
}

static void told_left(struct loop_timer *timer) {
    struct pool *pool = CONTAINER_OF(timer, struct pool, join_timer);
    answer_joins(timer);
    if (pool->left != NULL) {
        void (*left)(void *context) = pool->left;
        pool->left = NULL;
        left(pool->left_context);
    }
}

void pool_leave(struct pool *pool, void (*done)(void *context), void *context) {
    struct gossip_event event = {.kind = GOSSIP_EVENT_LEAVE};
    bool refused = !pool->has_left && step(pool, &event) != ERR_OK;
    pool->left = done;
    pool->left_context = context;
    if (pool->has_left || refused) { /* told a turn later */
        pool->join_timer.run = told_left;
        loop_timer_start(pool->config.loop, &pool->join_timer, loop_now_ms(pool->config.loop));
    }
}

enum err pool_force_leave(struct pool *pool, const struct uuid *id, bool prune) {
    struct gossip_event event = {.kind = GOSSIP_EVENT_FORCE_LEAVE,
                                 .force_leave = {.id = *id, .prune = prune}};
    return step(pool, &event);
}

void pool_tombstone(struct pool *pool, const struct uuid *id, struct gossip_incarnation incarnation,
                    bool prune) {
    struct gossip_event event = {
        .kind = GOSSIP_EVENT_TOMBSTONE,
        .tombstone = {.id = *id, .incarnation = incarnation, .prune = prune}};
    (void)step(pool, &event); /* refused if it is this member, which lives */
}

enum err pool_fire(struct pool *pool, const struct uuid *id, const uint8_t *data, size_t size) {
    struct gossip_event event = {.kind = GOSSIP_EVENT_FIRE,
                                 .fire = {.id = *id, .data = data, .size = size}};
    return step(pool, &event);
}

void pool_hint(struct pool *pool, const struct uuid *id) {
    struct gossip_event event = {.kind = GOSSIP_EVENT_HINT, .hint = {.id = *id}};
    step(pool, &event);
}

enum err pool_update_self(struct pool *pool, const struct gossip_info *self) {
    struct gossip_event event = {.kind = GOSSIP_EVENT_UPDATE_SELF, .update_self = {.info = *self}};
    return step(pool, &event);
}

void pool_get_counts(const struct pool *pool, struct pool_counts *ret_counts) {
    memset(ret_counts, 0, sizeof *ret_counts);
    gossip_get_status(pool->gossip, &ret_counts->status);
    udp_get_counts(pool->udp, &ret_counts->udp);
    rpc_get_counts(pool->rpc, &ret_counts->rpc);
    for (int i = 0; i < SEAL_REFUSAL_COUNT; i++) {
        ret_counts->refused[i] = seal_refused(pool->seal, (enum seal_refusal)i);
    }
    ret_counts->not_allowed = pool->not_allowed;
}
