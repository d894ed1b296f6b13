#include "agent/pools.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/events.h"
#include "agent/pools_internal.h"
#include "agent/removals.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/mem.h"
#include "net/crypto.h"

#define FLOOD_MS 30000
#define COUNTS_MS 1000
#define DISTANCES_COUNTS 10 /* so many of those later distances are told again */

void pools_path(const struct agent *agent, const char *name, char path[POOL_PATH_BYTES]) {
    snprintf(path, POOL_PATH_BYTES, "%.4000s/serf/%s", agent->config->data_dir, name);
}

/* ---- what happens ---- */

static void ip_of(const struct gossip_address *address, char out[ADDR_TEXT_BYTES]) {
    struct addr addr = pool_addr(address);
    addr_format_ip(&addr, out);
}

static void log_member(struct member_pool *pool, enum log_level level, const char *event,
                       const struct gossip_info *info) {
    char ip[ADDR_TEXT_BYTES];
    ip_of(&info->address, ip);
    log_write(pool->agent->log, level, pool->module, "serf: %s: %s %s", event, info->name, ip);
}

static void log_server(struct member_pool *pool, const struct gossip_info *info, const char *what) {
    const char *dc = str_or_empty(str_map_get(&info->tags, "dc"));
    if (info->server) {
        char ip[ADDR_TEXT_BYTES];
        ip_of(&info->address, ip);
        log_write(pool->agent->log, LOG_INFO, "agent.server",
                  "%s %s server: server=\"%s (Addr: tcp/%s:%s) (DC: %s)\"", what,
                  pool->wan ? "WAN" : "LAN", info->name, ip,
                  str_or_empty(str_map_get(&info->tags, "port")), dc);
    }
}

static void log_clash(struct member_pool *pool, const struct gossip_change *change) {
    const struct gossip_info *info = &change->descriptor->info;
    char one[ADDR_TEXT_BYTES], other[ADDR_TEXT_BYTES], id[UUID_TEXT_BYTES];
    struct addr a = pool_addr(&info->address), b = change->kind == GOSSIP_CHANGE_NAME_CLASH
                                                       ? pool_addr(&change->other->info.address)
                                                       : pool_addr(&change->address);
    addr_format(&a, one);
    addr_format(&b, other);
    uuid_format(&info->id, id);
    if (change->kind == GOSSIP_CHANGE_NAME_CLASH) {
        log_write(
            pool->agent->log, LOG_WARN, pool->module,
            "two members have the name '%s', at %s and %s: both stay; rename one, unless it is "
            "one machine that lost its node-id",
            info->name, one, other);
    } else {
        log_write(pool->agent->log, LOG_ERROR, pool->module,
                  "two machines claim node id %s ('%s'), at %s and %s: the first one stays; remove "
                  "the node-id of the other",
                  id, info->name, one, other);
    }
}

static void log_guard(struct member_pool *pool, bool on) {
    struct gossip_status status;
    gossip_get_status(pool_gossip(pool->pool), &status);
    log_write(pool->agent->log, LOG_WARN, pool->module,
              on ? "mass-failure guard on: more client members seem dead than is likely, none is "
                   "evicted: frozen=%u clients=%u"
                 : "mass-failure guard off: frozen=%u clients=%u",
              status.frozen, status.clients);
}

/* A member came, went or changed. */
static void log_change(struct member_pool *pool, const struct gossip_change *change) {
    const struct gossip_info *info = &change->descriptor->info;
    switch (change->kind) {
    case GOSSIP_CHANGE_JOINED:
        metric_count(pool->joins, 1);
        log_member(pool, LOG_INFO, "EventMemberJoin", info);
        log_server(pool, info, "Adding");
        break;
    case GOSSIP_CHANGE_UPDATED:
        log_member(pool, LOG_INFO, "EventMemberUpdate", info);
        break;
    case GOSSIP_CHANGE_FAILED:
        metric_count(pool->fails, 1);
        log_member(pool, LOG_INFO, "EventMemberFailed", info);
        log_server(pool, info, "Handled event for");
        break;
    case GOSSIP_CHANGE_LEFT:
        metric_count(pool->leaves, 1);
        log_member(pool, LOG_INFO, "EventMemberLeave", info);
        log_server(pool, info, "Removing");
        break;
    case GOSSIP_CHANGE_REAPED:
        log_member(pool, LOG_INFO, "EventMemberReap", info);
        break;
    case GOSSIP_CHANGE_SUSPECT:
        log_member(pool, LOG_DEBUG, "suspect", info);
        break;
    case GOSSIP_CHANGE_ALIVE:
        metric_count(pool->flaps, 1);
        log_member(pool, LOG_DEBUG, "alive after all", info);
        break;
    case GOSSIP_CHANGE_FROZEN:
        log_member(pool, LOG_WARN, "seems dead, held by the mass-failure guard", info);
        break;
    default:
        break;
    }
}

static void changed(void *context, const struct gossip_change *change) {
    struct member_pool *pool = context;
    switch (change->kind) {
    case GOSSIP_CHANGE_NAME_CLASH:
    case GOSSIP_CHANGE_ID_CLASH:
        log_clash(pool, change);
        return;
    case GOSSIP_CHANGE_GUARD_ON:
    case GOSSIP_CHANGE_GUARD_OFF:
        log_guard(pool, change->kind == GOSSIP_CHANGE_GUARD_ON);
        return;
    case GOSSIP_CHANGE_REFUTED:
        log_write(pool->agent->log, LOG_WARN, pool->module,
                  "memberlist: Refuting a suspect message");
        return;
    case GOSSIP_CHANGE_JOIN_DONE:
    case GOSSIP_CHANGE_JOIN_FAILED:
    case GOSSIP_CHANGE_LEAVE_DONE:
    case GOSSIP_CHANGE_USER_EVENT:
        return;
    default:
        break;
    }
    log_change(pool, change);
    pool->changed = true;
    pool->servers_changed |= change->descriptor->info.server;
    pool_state_note(pool);
    if (!pool->wan && change->descriptor->info.server &&
        (change->kind == GOSSIP_CHANGE_JOINED || change->kind == GOSSIP_CHANGE_UPDATED)) {
        loop_timer_start(pool->agent->loop, &pool->agent->pools->flood_timer,
                         loop_now_ms(pool->agent->loop));
    }
}

static void store_epoch(void *context, uint32_t boot_epoch) {
    pool_state_store_epoch(((struct member_pool *)context)->agent, boot_epoch);
}

static void heard_event(void *context, const struct uuid *id, uint64_t ltime, const uint8_t *data,
                        size_t size) {
    struct member_pool *pool = context;
    if (!pool->wan) { /* nobody fires there */
        events_heard(pool->agent, id, ltime, data, size);
    }
}

/* ---- the WAN pool follows the servers of the LAN pool ---- */

static void flood_done(void *context, unsigned contacted, const char *text) {
    (void)contacted;
    (void)text;
    ((struct pools *)context)->flood = NULL;
}

static void flood(struct loop_timer *timer) {
    struct pools *pools = CONTAINER_OF(timer, struct pools, flood_timer);
    struct agent *agent = pools->lan.agent;
    struct gossip_member member, known;
    const char *targets[LIMIT_RAFT_SERVERS];
    char texts[LIMIT_RAFT_SERVERS][ADDR_TEXT_BYTES];
    uint32_t count = 0;
    if (pools->wan.pool == NULL || pools->leaving) {
        return;
    }
    const struct gossip *lan = pool_gossip(pools->lan.pool), *wan = pool_gossip(pools->wan.pool);
    for (uint32_t i = 0; i < gossip_member_slots(lan) && count < LIMIT_RAFT_SERVERS; i++) {
        uint64_t port = 0;
        if (!gossip_member_at(lan, i, &member) || member.self || member.state != GOSSIP_ALIVE ||
            !member.descriptor->info.server ||
            (gossip_find_id(wan, &member.descriptor->info.id, &known) &&
             known.state == GOSSIP_ALIVE) ||
            !str_parse_u64(
                str_or_empty(str_map_get(&member.descriptor->info.tags, "wan_join_port")), &port) ||
            port == 0 || port > 65535) {
            continue;
        }
        struct addr addr = pool_addr(&member.descriptor->info.address);
        addr_set_port(&addr, (uint16_t)port);
        addr_format(&addr, texts[count]);
        targets[count] = texts[count];
        count++;
    }
    if (count > 0 && pools->flood == NULL) {
        pools->flood = join_start(&pools->wan, targets, count, flood_done, pools);
    }
    loop_timer_start(agent->loop, timer, loop_now_ms(agent->loop) + FLOOD_MS);
}

/* ---- life ---- */

static void tune(struct gossip_config *config, const struct config_pool *from,
                 int64_t reconnect_ns) {
    const struct {
        int64_t value;
        uint32_t *to;
    } all[] = {{from->gossip_nodes, &config->gossip_fanout},
               {from->gossip_ns / DURATION_MS, &config->gossip_interval_ms},
               {from->probe_ns / DURATION_MS, &config->probe_interval_ms},
               {from->probe_timeout_ns / DURATION_MS, &config->probe_timeout_ms},
               {from->suspicion, &config->suspicion_multiplier},
               {from->retransmit, &config->retransmit_multiplier}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        if (all[i].value > 0) {
            *all[i].to = (uint32_t)all[i].value;
        }
    }
    config->reap_dead_ms = (uint64_t)(reconnect_ns / DURATION_MS);
}

static const struct cidr *list_allowed(struct agent *agent, const struct str_list *from) {
    struct cidr *allowed = arena_alloc(&agent->arena, (from->count + 1) * sizeof *allowed);
    for (uint32_t i = 0; i < from->count; i++) {
        ASSERT(cidr_parse(from->v[i], &allowed[i])); /* judged with the configuration */
    }
    return allowed;
}

static struct gossip_info own_info(struct agent *agent, bool wan, struct arena *arena) {
    const struct config *config = agent->config;
    struct addr addr = wan ? config->advertise_wan : config->advertise;
    struct gossip_info info = {
        .name = wan ? arena_format(arena, "%s.%s", config->node_name, config->datacenter)
                    : config->node_name,
        .server = config->server,
        .protocol_min = GOSSIP_PROTOCOL_MIN,
        .protocol_max = GOSSIP_PROTOCOL_MAX,
        .tags = pool_members_tags(agent, arena)};
    ASSERT(uuid_parse(agent->node_id, &info.id));
    addr_set_port(&addr, (uint16_t)(wan ? config->serf_wan_port : config->serf_lan_port));
    info.address = pool_address(&addr);
    return info;
}

static bool open_pool(struct agent *agent, struct member_pool *pool, bool wan,
                      struct err_text *text) {
    const struct config *config = agent->config;
    const struct str_list *allowed =
        wan ? &config->gossip.wan_allowed : &config->gossip.lan_allowed;
    struct metrics *metrics = agent->telemetry.metrics;
    struct str_pair network = {"network", wan ? "wan" : "lan"};
    uint64_t seed = crypto_random_u64();
    pool->agent = agent;
    pool->wan = wan;
    pool->module = wan              ? "agent.server.serf.wan"
                   : config->server ? "agent.server.serf.lan"
                                    : "agent.client.serf.lan";
    pool->joins = metrics_add(metrics, METRIC_COUNTER, "serf.member.join", "Members that joined.",
                              &network, 1);
    pool->leaves =
        metrics_add(metrics, METRIC_COUNTER, "serf.member.left", "Members that left.", &network, 1);
    pool->fails = metrics_add(metrics, METRIC_COUNTER, "serf.member.failed", "Members that failed.",
                              &network, 1);
    pool->flaps = metrics_add(metrics, METRIC_COUNTER, "serf.member.flap",
                              "Suspicions that were wrong.", &network, 1);
    pool->metrics = pool_metrics_create(metrics, wan);
    if (pool_keys_load(pool, text) != ERR_OK) {
        return false;
    }
    struct pool_config made = {.loop = agent->loop,
                               .log = agent->log,
                               .module = pool->module,
                               .wan = wan,
                               .datacenter = config->datacenter,
                               .gossip = wan ? gossip_config_wan() : gossip_config_lan(),
                               .self = own_info(agent, wan, &agent->arena),
                               .boot_epoch = agent->pools->boot_epoch,
                               .descriptors = agent->pools->descriptors,
                               .bind = wan ? config->gossip.wan_addr : config->gossip.lan_addr,
                               .keyring = pool->ring,
                               .verify_incoming = config->gossip.verify_incoming,
                               .verify_outgoing = config->gossip.verify_outgoing,
                               .allowed = list_allowed(agent, allowed),
                               .allowed_count = allowed->count,
                               .seed = seed,
                               .changed = changed,
                               .heard_event = heard_event,
                               .store_epoch = store_epoch,
                               .context = pool};
    if (!wan) {
        made.gossip.pool = arena_format(&agent->arena, "lan.%s", config->datacenter);
    }
    made.gossip.coordinates = !config->disable_coordinates;
    made.gossip.keep_servers = !config->server; /* it chooses one of them */
    pool->keeps_distances = made.gossip.keep_servers || made.gossip.keep_coordinates;
    tune(&made.gossip, wan ? &config->gossip.wan : &config->gossip.lan,
         wan ? config->gossip.reconnect_wan_ns : config->gossip.reconnect_ns);
    pool->pool = pool_create(&made, text);
    if (pool->pool == NULL) {
        err_prefix(text, "cannot start the %s pool", wan ? "WAN" : "LAN");
        return false;
    }
    pool_keys_serve(pool);
    pool_state_load(pool);
    pool->changed = pool->servers_changed = true;
    return true;
}

static void count_again(struct loop_timer *timer) {
    struct pools *pools = CONTAINER_OF(timer, struct pools, counts_timer);
    struct loop *loop = pools->lan.agent->loop;
    pool_members_refresh_counts(pools->lan.agent);
    if (++pools->counted % DISTANCES_COUNTS == 0) {
        pools->lan.servers_changed |= pools->lan.keeps_distances;
        pools->wan.servers_changed |= pools->wan.keeps_distances;
    }
    loop_timer_start(loop, timer, loop_now_ms(loop) + COUNTS_MS);
}

bool pools_create(struct agent *agent, struct err_text *text) {
    const struct config *config = agent->config;
    struct pools *pools = mem_calloc(1, sizeof *pools);
    agent->pools = pools;
    pools->lan.agent = pools->wan.agent = agent;
    pools->flood_timer.run = flood;
    pools->counts_timer.run = count_again;
    pthread_mutex_init(&pools->mutex, NULL);
    pools->descriptors = gossip_descriptors_create();
    pools->resolver = resolver_create(agent->loop);
    if (!config->dev) {
        pools->saver = saver_create(agent->loop);
    }
    if (pool_state_begin(agent, text) != ERR_OK || !open_pool(agent, &pools->lan, false, text) ||
        (config->server && config->serf_wan_port > 0 &&
         !open_pool(agent, &pools->wan, true, text))) {
        return false;
    }
    count_again(&pools->counts_timer);
    pools_turn_end(agent);
    return true;
}

const struct keyring *pools_keyring(const struct agent *agent) {
    return agent->pools->lan.ring;
}

const struct keyring *pools_far_keyring(const struct agent *agent) {
    return agent->pools->wan.ring;
}

void pools_start(struct agent *agent) {
    struct pools *pools = agent->pools;
    join_retry_start(&pools->lan);
    if (pools->wan.pool != NULL) {
        join_retry_start(&pools->wan);
        loop_timer_start(agent->loop, &pools->flood_timer, loop_now_ms(agent->loop) + FLOOD_MS);
    }
}

void pools_turn_end(struct agent *agent) {
    struct pools *pools = agent->pools;
    if (pools->closing) {
        return;
    }
    pool_members_publish(&pools->lan);
    if (pools->wan.pool != NULL) {
        pool_members_publish(&pools->wan);
    }
    pool_members_tell_servers(agent);
}

static void pool_left(void *context) {
    struct member_pool *pool = context;
    struct pools *pools = pool->agent->pools;
    pool_state_save(pool, true);
    if (--pools->leaves_waited == 0) {
        pools->left(pool->agent);
    }
}

void pools_leave(struct agent *agent, void (*done)(struct agent *agent)) {
    struct pools *pools = agent->pools;
    if (pools->leaving) {
        return;
    }
    pools->leaving = true;
    pools->left = done;
    pools->lan.snapshot_due = pools->wan.snapshot_due = false;
    pools->leaves_waited = pools->wan.pool != NULL ? 2 : 1;
    join_retry_stop(&pools->lan);
    loop_timer_stop(agent->loop, &pools->lan.snapshot_timer);
    pools->lan.changed = true;
    if (pools->wan.pool != NULL) {
        join_retry_stop(&pools->wan);
        loop_timer_stop(agent->loop, &pools->wan.snapshot_timer);
        pool_leave(pools->wan.pool, pool_left, &pools->wan);
    }
    pool_leave(pools->lan.pool, pool_left, &pools->lan);
}

void pools_end_calls(struct agent *agent) {
    join_retry_stop(&agent->pools->lan);
    join_retry_stop(&agent->pools->wan);
    join_end_all(agent->pools);
}

static void close_pool(struct member_pool *pool) {
    struct loop *loop = pool->agent->loop;
    if (pool->pool != NULL) {
        join_retry_stop(pool);
        loop_timer_stop(loop, &pool->publish_timer);
        loop_timer_stop(loop, &pool->snapshot_timer);
        if (pool->snapshot_due) {
            pool_state_save(pool, false);
        }
    }
    pool_destroy(pool->pool);
    pool->pool = NULL;
    pool_metrics_destroy(pool->metrics);
    keyring_destroy(pool->ring);
}

bool pools_destroy(struct agent *agent) {
    struct pools *pools = agent->pools;
    if (pools == NULL) {
        return true;
    }
    pools->closing = true;
    loop_timer_stop(agent->loop, &pools->flood_timer);
    loop_timer_stop(agent->loop, &pools->counts_timer);
    join_cancel(pools->flood);
    close_pool(&pools->wan);
    close_pool(&pools->lan);
    resolver_destroy(pools->resolver);
    gossip_descriptors_destroy(pools->descriptors);
    if (!saver_destroy(pools->saver)) {
        return false;
    }
    loop_flush(agent->loop); /* what the saver reported */
    pthread_mutex_destroy(&pools->mutex);
    free(pools->located);
    free(pools);
    agent->pools = NULL;
    return true;
}

/* ---- servers ---- */

void pools_watch_servers(struct agent *agent,
                         void (*watch)(void *context, const struct pools_server *servers,
                                       uint32_t count),
                         void *context) {
    if (agent->pools != NULL) {
        agent->pools->servers_changed = watch;
        agent->pools->servers_context = context;
    }
}

void pools_watch_far_servers(struct agent *agent,
                             void (*watch)(void *context, const struct pools_server *servers,
                                           uint32_t count),
                             void *context) {
    if (agent->pools != NULL) {
        agent->pools->far_servers_changed = watch;
        agent->pools->far_servers_context = context;
    }
}

void pools_hint(struct agent *agent, bool wan, const struct uuid *node) {
    struct member_pool *pool = wan ? &agent->pools->wan : &agent->pools->lan;
    if (pool->pool != NULL && !agent->pools->closing) {
        pool_hint(pool->pool, node);
    }
}

void pools_set_cluster(struct agent *agent, const struct uuid *cluster) {
    struct pools *pools = agent->pools;
    struct arena arena;
    arena_init(&arena);
    pools->cluster = *cluster;
    pools->has_cluster = true;
    for (int wan = 0; wan < 2; wan++) {
        struct member_pool *pool = wan ? &pools->wan : &pools->lan;
        if (pool->pool != NULL) {
            struct gossip_info info = own_info(agent, wan, &arena);
            (void)pool_update_self(pool->pool, &info);
            rpc_set_cluster(pool_rpc(pool->pool), cluster);
            pool->changed = true;
        }
    }
    arena_clear(&arena);
}

/* ---- calls ---- */

struct api_join {
    struct backend_call *call;
    void (*done)(void *context);
    void *context;
};

static void api_joined(void *context, unsigned contacted, const char *text) {
    struct api_join join = *(struct api_join *)context;
    free(context);
    if (contacted == 0) {
        join.call->err = err_set(&join.call->text, ERR_REFUSED, "%s", text);
    }
    join.done(join.context);
}

struct member_pool *pools_pool_of(struct agent *agent, struct backend_call *call, bool wan,
                                  const char *sentence) {
    struct pools *pools = agent->pools;
    if (wan && pools->wan.pool == NULL) {
        call->err = err_set(&call->text, ERR_REFUSED, "%s",
                            agent->config->server ? "WAN federation is disabled" : sentence);
        return NULL;
    }
    return wan ? &pools->wan : &pools->lan;
}

bool pools_has_name(const struct agent *agent, const struct member_pool *pool,
                    const struct gossip_member *member, const char *name) {
    char full[2 * LIMIT_NAME_BYTES + 2];
    bool same = str_equal_fold(member->descriptor->info.name, name);
    if (same || !pool->wan) {
        return same;
    }
    snprintf(full, sizeof full, "%.512s.%.256s", name, agent->config->datacenter);
    return str_equal_fold(member->descriptor->info.name, full);
}

void pools_run_call(struct agent *agent, struct backend_call *call, void (*done)(void *context),
                    void *context) {
    call->err = ERR_OK;
    if (call->kind == BACKEND_KEYRING) {
        pool_keys_run(agent, call, done, context);
        return;
    }
    if (call->kind == BACKEND_FORCE_LEAVE) {
        removals_run(agent, call, done, context);
        return;
    }
    struct member_pool *pool =
        pools_pool_of(agent, call, call->join.wan, "Must be a server to join WAN cluster");
    if (pool == NULL) {
        done(context);
        return;
    }
    struct api_join *join = mem_alloc(sizeof *join);
    *join = (struct api_join){call, done, context};
    join_start(pool, &call->join.address, 1, api_joined, join);
}
