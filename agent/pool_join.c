/* Joining: names to addresses, all of them tried, again and again where that was asked for. */
#include <stdlib.h>
#include <string.h>

#include "agent/pools_internal.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/limits.h"
#include "base/mem.h"

#define RESOLVE_MS 10000
#define ERRORS_BYTES 8192

struct join_target;

struct join_try {
    struct pool_join join;
    struct join_target *target;
};

struct join_target {
    struct join *join;
    char *text;
    struct resolve_wait wait;
    struct join_try *tries;
    size_t try_count, waiting;
};

struct join {
    struct join *next; /* of the agent's */
    struct member_pool *pool;
    struct join_target *targets;
    uint32_t count, waiting;
    unsigned contacted, failed;
    struct buf errors;
    struct loop_timer end_timer;
    void (*done)(void *context, unsigned contacted, const char *text);
    void *context;
};

static void take_out(struct join *join) {
    struct join **at = &join->pool->agent->pools->joins;
    while (*at != join) {
        at = &(*at)->next;
    }
    *at = join->next;
    loop_timer_stop(join->pool->agent->loop, &join->end_timer);
}

static void free_join(struct join *join) {
    for (uint32_t i = 0; i < join->count; i++) {
        free(join->targets[i].text);
        free(join->targets[i].tries);
    }
    free(join->targets);
    buf_clear(&join->errors);
    free(join);
}

static void let_go(struct join *join) {
    for (uint32_t i = 0; i < join->count; i++) {
        struct join_target *target = &join->targets[i];
        resolver_cancel(join->pool->agent->pools->resolver, &target->wait);
        for (size_t k = 0; k < target->try_count; k++) {
            pool_join_cancel(join->pool->pool, &target->tries[k].join);
        }
    }
}

void join_cancel(struct join *join) {
    if (join != NULL) {
        let_go(join);
        take_out(join);
        free_join(join);
    }
}

/* Who is told may stop the agent, which ends all joins: one that tells is no longer among them. */

void join_end_all(struct pools *pools) {
    while (pools->joins != NULL) {
        struct join *join = pools->joins;
        let_go(join);
        take_out(join);
        join->done(join->context, join->contacted, "the agent is stopping");
        free_join(join);
    }
}

static void end_fired(struct loop_timer *timer) {
    struct join *join = CONTAINER_OF(timer, struct join, end_timer);
    struct buf text;
    buf_init(&text, ERRORS_BYTES + 64);
    buf_append_format(&text, "%u error%s occurred:\n", join->failed, join->failed == 1 ? "" : "s");
    buf_append(&text, join->errors.data, join->errors.count);
    buf_append(&text, "\n", 2); /* with its NUL */
    take_out(join);
    join->done(join->context, join->contacted, join->failed > 0 ? text.data : "");
    buf_clear(&text);
    free_join(join);
}

static void target_done(struct join *join) {
    if (--join->waiting == 0) {
        struct loop *loop = join->pool->agent->loop;
        loop_timer_start(loop, &join->end_timer, loop_now_ms(loop));
    }
}

static void fail(struct join *join, const char *what, const char *name, const char *reason) {
    join->failed++;
    if (join->errors.count < ERRORS_BYTES / 2) {
        buf_append_format(&join->errors, "\t* Failed to %s %.256s: %s\n", what, name, reason);
    }
}

static void try_done(struct pool_join *tried, enum err err, const struct err_text *text) {
    struct join_target *target = CONTAINER_OF(tried, struct join_try, join)->target;
    struct join *join = target->join;
    if (err == ERR_OK) {
        join->contacted++;
    } else {
        char name[ADDR_TEXT_BYTES];
        addr_format(&tried->addr, name);
        fail(join, "join", name, text->s);
    }
    if (--target->waiting == 0) {
        target_done(join);
    }
}

static bool is_own(const struct join *join, const struct addr *addr) {
    const struct config *config = join->pool->agent->config;
    struct addr own = join->pool->wan ? config->advertise_wan : config->advertise;
    addr_set_port(&own,
                  (uint16_t)(join->pool->wan ? config->serf_wan_port : config->serf_lan_port));
    return addr_size(&own) == addr_size(addr) && memcmp(&own, addr, addr_size(addr)) == 0;
}

static void resolved(struct resolve_wait *wait, enum err err, const struct addr *addresses,
                     size_t count, const struct err_text *text) {
    struct join_target *target = CONTAINER_OF(wait, struct join_target, wait);
    struct join *join = target->join;
    if (err != ERR_OK) {
        fail(join, "resolve", target->text, text->s);
        target_done(join);
        return;
    }
    target->tries = mem_calloc(count, sizeof *target->tries);
    for (size_t i = 0; i < count; i++) {
        /* To meet oneself is no success while there are others to meet. */
        if (!is_own(join, &addresses[i]) || (join->count == 1 && count == 1)) {
            target->tries[target->try_count].target = target;
            target->tries[target->try_count].join.done = try_done;
            target->tries[target->try_count++].join.addr = addresses[i];
        }
    }
    target->waiting = target->try_count;
    if (target->try_count == 0) {
        target_done(join);
    }
    for (size_t i = 0; i < target->try_count; i++) {
        struct addr to = target->tries[i].join.addr;
        pool_join(join->pool->pool, &target->tries[i].join, &to);
    }
}

static void begin_target(struct join *join, struct join_target *target) {
    const struct config *config = join->pool->agent->config;
    char host[256];
    uint16_t port = (uint16_t)(join->pool->wan ? config->serf_wan_port : config->serf_lan_port);
    if (strstr(target->text, "provider=") != NULL) {
        log_write(join->pool->agent->log, LOG_ERROR, "agent",
                  "Cannot discover address: address=\"%s\" error=\"no provider is offered\"",
                  target->text);
        fail(join, "discover", target->text, "no provider is offered");
        target_done(join);
        return;
    }
    if (!resolve_split(target->text, port, host, sizeof host, &port)) {
        fail(join, "parse", target->text, "not an address");
        target_done(join);
        return;
    }
    target->wait.done = resolved;
    resolver_ask(join->pool->agent->pools->resolver, &target->wait, host, port, RESOLVE_MS);
}

struct join *join_start(struct member_pool *pool, const char *const *targets, uint32_t count,
                        void (*done)(void *context, unsigned contacted, const char *text),
                        void *context) {
    struct join *join = mem_calloc(1, sizeof *join);
    *join = (struct join){.pool = pool,
                          .targets = mem_calloc(count + 1, sizeof *join->targets),
                          .count = count,
                          .waiting = count + 1,
                          .end_timer = {.run = end_fired},
                          .done = done,
                          .context = context};
    join->next = pool->agent->pools->joins;
    pool->agent->pools->joins = join;
    buf_init(&join->errors, ERRORS_BYTES);
    for (uint32_t i = 0; i < count; i++) {
        join->targets[i].join = join;
        join->targets[i].text = mem_strdup(targets[i]);
    }
    for (uint32_t i = 0; i < count; i++) {
        begin_target(join, &join->targets[i]);
    }
    target_done(join);
    return join;
}

/* ---- retry_join ---- */

static void retry_now(struct loop_timer *timer);

#define FIRST_RETRY_MS 500

/* Agents that start together find each other at once: unless the tries are counted, the first ones
 * come faster, twice as far apart each time, up to the interval. */
static int64_t retry_after_ms(int64_t every_ms, int64_t max, int64_t tries) {
    int64_t ms = FIRST_RETRY_MS;
    for (int64_t i = 1; i < tries && ms < every_ms; i++) {
        ms *= 2;
    }
    return max > 0 || ms > every_ms ? every_ms : ms;
}

static void retry_done(void *context, unsigned contacted, const char *text) {
    struct member_pool *pool = context;
    struct agent *agent = pool->agent;
    const struct config_gossip *config = &agent->config->gossip;
    int64_t max = pool->wan ? config->retry_wan_max : config->retry_max;
    int64_t every_ns = pool->wan ? config->retry_wan_ns : config->retry_ns;
    pool->retry = NULL;
    pool->tries++;
    if (agent->stopping) {
        return;
    }
    if (contacted > 0) {
        log_write(agent->log, LOG_INFO, "agent",
                  "Join cluster completed. Synced with initial agents: cluster=%s num_agents=%u",
                  pool->wan ? "WAN" : "LAN", contacted);
        return;
    }
    if (max > 0 && pool->tries >= max) {
        log_write(agent->log, LOG_ERROR, "agent", "Retry join failed: cluster=%s error=\"%s\"",
                  pool->wan ? "WAN" : "LAN", text);
        agent_stop(agent, 1);
        return;
    }
    int64_t after_ms = retry_after_ms(every_ns / DURATION_MS, max, pool->tries);
    log_write(agent->log, LOG_WARN, "agent",
              "Join cluster failed, will retry: cluster=%s retry_interval=%lldms error=\"%s\"",
              pool->wan ? "WAN" : "LAN", (long long)after_ms, text);
    loop_timer_start(agent->loop, &pool->retry_timer, loop_now_ms(agent->loop) + after_ms);
}

static void retry_now(struct loop_timer *timer) {
    struct member_pool *pool = CONTAINER_OF(timer, struct member_pool, retry_timer);
    const struct config_gossip *config = &pool->agent->config->gossip;
    const struct str_list *targets = pool->wan ? &config->join_wan : &config->join;
    log_write(pool->agent->log, LOG_INFO, "agent", "Joining cluster...: cluster=%s",
              pool->wan ? "WAN" : "LAN");
    pool->retry = join_start(pool, targets->v, targets->count, retry_done, pool);
}

static void rejoin_done(void *context, unsigned contacted, const char *text) {
    struct member_pool *pool = context;
    (void)text;
    pool->rejoin = NULL;
    log_write(pool->agent->log, contacted > 0 ? LOG_INFO : LOG_WARN, pool->module, "%s: members=%u",
              contacted > 0 ? "joined members known before"
                            : "none of the members known before answered",
              contacted);
}

void join_retry_start(struct member_pool *pool) {
    const struct config_gossip *config = &pool->agent->config->gossip;
    const struct str_list *targets = pool->wan ? &config->join_wan : &config->join;
    pool->retry_timer.run = retry_now;
    if (pool->known.count > 0) {
        pool->rejoin = join_start(pool, pool->known.v, pool->known.count, rejoin_done, pool);
    }
    if (targets->count > 0) {
        retry_now(&pool->retry_timer);
    }
}

void join_retry_stop(struct member_pool *pool) {
    loop_timer_stop(pool->agent->loop, &pool->retry_timer);
    join_cancel(pool->retry);
    join_cancel(pool->rejoin);
    pool->retry = pool->rejoin = NULL;
}
