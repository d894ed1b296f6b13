#include "agent/operator.h"
#include "agent/snapshots.h"
#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/carry.h"
#include "agent/asker.h"
#include "agent/mirrors.h"
#include "agent/config_watch.h"
#include "agent/events.h"
#include "agent/failover.h"
#include "agent/internal.h"
#include "agent/node_id.h"
#include "agent/own.h"
#include "agent/pools.h"
#include "agent/removals.h"
#include "agent/servers.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/mem.h"
#include "base/thread.h"
#include "catalog/changes.h"
#include "net/crypto.h"
#include "store/identity.h"

#define MODULE "agent"
#define HTTP_THREADS 2
#define DNS_THREADS 2
#define RECURSOR_TIMEOUT_MAX_MS 60000 /* places are shared */
#define UNSENT_MS 300                 /* answers may take so long to leave once the agent stops */
#define UNSENT_TICK_MS 5
#define STOP_MS 5000 /* what has not ended by then hangs: a busy host needs its time */
#define LOG_FLUSH_MS 2000
#define REMOVALS_KEPT_MS (24 * 3600 * 1000) /* beyond reconnect_timeout */

/* ---- callbacks of the parts ---- */

/* Without taking the parts down: one of them hangs. */
static _Noreturn void end_now(struct agent *agent, int exit_code) {
    if (*agent->config->pid_file != '\0') {
        unlink(agent->config->pid_file);
    }
    log_flush(agent->log, LOG_FLUSH_MS);
    _exit(exit_code);
}

/* Something hangs, most likely a disk: better an end than a wait for it. What is acknowledged is on
 * disk, so nothing is lost. */
static void give_up(struct loop_timer *timer) {
    struct agent *agent = CONTAINER_OF(timer, struct agent, stop_timer);
    log_write(agent->log, LOG_ERROR, MODULE, "requests hang, stopping without them");
    end_now(agent, 1);
}

static void published(void *context) {
    struct agent *agent = context;
    clocks_published(agent->clocks);
    alias_published(agent);
    mirrors_published(agent);
    if (agent->http != NULL) {
        http_server_wake(agent->http);
    }
}

static void taken_from_catalog(void *context, const char *service_id) {
    struct agent *agent = context;
    watches_mark(agent->watches, WATCH_LOCAL_SERVICE, service_id);
    agent->local_changed = true;
}

static void leader_changed(void *context, bool leader) {
    struct agent *agent = context;
    clocks_lead(agent->clocks, leader);
    reconcile_lead(agent->reconcile, leader);
    mirrors_follow_leader(agent);
}

static void leader_known(void *context, bool known) {
    struct agent *agent = context;
    mirrors_follow_leader(agent);
    if (known) {
        epoch_enter(agent->epoch);
        runners_adopt(agent, catalog_view(agent->catalog));
        epoch_exit(agent->epoch);
        sync_full(agent->sync);
    }
}

static bool leads(void *context) {
    const struct agent *agent = context;
    return agent->group != NULL && group_leads(agent->group);
}

static void joined(void *context) {
    servers_note_cluster(context);
}

/* Requests that wait are answered or let go, then the loop ends. */
void agent_stop(struct agent *agent, int exit_code) {
    if (!agent->stopping) {
        agent->stopping = true;
        agent->stopping_at_ms = loop_now_ms(agent->loop);
        agent->exit_code = exit_code;
        log_write(agent->log, LOG_INFO, MODULE, "Requesting shutdown");
        agent_watch(agent, NULL);
        pools_end_calls(agent);
        asker_end_calls(agent);
        http_server_drain(agent->http);
        agent->stop_timer.run = give_up;
        loop_timer_start(agent->loop, &agent->stop_timer, loop_now_ms(agent->loop) + STOP_MS);
    }
}

/* The pools' and the group's part of a leave are done. */
static void part_left(struct agent *agent) {
    if (--agent->leave_parts > 0) {
        return;
    }
    agent->left = true;
    if (agent->left_done != NULL) {
        agent->left_done(agent->left_context);
    }
}

static void group_left(void *context) {
    part_left(context);
}

void agent_leave(struct agent *agent, void (*done)(void *context), void *context) {
    if (agent->leaving || agent->stopping) {
        if (done != NULL) {
            done(context);
        }
        return;
    }
    agent->leaving = true;
    agent->left_done = done;
    agent->left_context = context;
    log_write(agent->log, LOG_INFO, MODULE, "%s starting leave",
              agent->config->server ? "server" : "client");
    agent->leave_parts = agent->group != NULL ? 2 : 1;
    sync_leave(agent->sync);
    if (agent->group != NULL) {
        group_leave(agent->group, group_left, agent);
    }
    pools_leave(agent, part_left);
}

static void look_again(struct loop_timer *timer) {
    (void)timer; /* turn_end follows */
}

/* Who asked the agent to leave is still to be told; a client that does not read waits in vain. */
static void stop_once_sent(struct agent *agent) {
    int64_t now_ms = loop_now_ms(agent->loop);
    if (!http_server_has_unsent(agent->http) || now_ms - agent->stopping_at_ms >= UNSENT_MS) {
        loop_stop(agent->loop);
        return;
    }
    agent->unsent_timer.run = look_again;
    loop_timer_start(agent->loop, &agent->unsent_timer, now_ms + UNSENT_TICK_MS);
}

static void turn_end(void *context) {
    struct agent *agent = context;
    if (agent->local_changed) {
        agent->local_changed = false;
        runners_follow(agent);
        local_publish(agent->local);
    }
    if (agent->own != NULL && agent->own_version != local_view_version(local_view(agent->local))) {
        own_follow(agent);
    }
    if (agent->group != NULL) {
        group_turn_end(agent->group);
        removals_turn_end(agent);
    }
    pools_turn_end(agent);
    events_turn_end(agent);
    mirrors_turn_end(agent);
    if (agent->reconcile != NULL) {
        reconcile_turn_end(agent->reconcile);
    }
    if (agent->backend.lan != NULL) {
        sync_set_members(agent->sync, agent->backend.lan->count);
    }
    if (agent->left) {
        agent->left = false;
        agent_stop(agent, 0);
    }
    http_server_turn_end(agent->http); /* after stop: there may be no other turn */
    if (agent->stopping && http_server_drained(agent->http)) {
        stop_once_sent(agent);
    }
}

static void on_signal(void *context, int signal) {
    struct agent *agent = context;
    if (signal == SIGUSR1) {
        telemetry_dump(agent);
        return;
    }
    log_write(agent->log, LOG_INFO, MODULE, "Caught: signal=\"%s\"", strsignal(signal));
    if (signal == SIGHUP && !agent->stopping) {
        reload_start(agent, NULL);
    }
    if (signal == SIGHUP) {
        return;
    }
    if (agent->stopping) {
        log_write(agent->log, LOG_WARN, MODULE, "a second signal: stopping without waiting");
        end_now(agent, 1);
    }
    bool graceful = signal == SIGTERM ? agent->config->leave_on_terminate > 0
                                      : agent->config->skip_leave_on_interrupt < 0;
    log_write(agent->log, LOG_INFO, MODULE, "%s",
              graceful ? "Gracefully shutting down agent..."
                       : "Graceful shutdown disabled. Exiting");
    if (graceful && !agent->leaving) {
        agent_leave(agent, NULL, NULL);
    } else {
        agent_stop(agent, 1); /* a second signal does not wait for the leave */
    }
}

/* ---- start ---- */

static void raise_descriptor_limit(void) {
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur < limit.rlim_max) {
        limit.rlim_cur = limit.rlim_max;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

static bool start_group(struct agent *agent, struct err_text *text) {
    const struct config *config = agent->config;
    struct addr rpc = config->advertise;
    addr_set_port(&rpc, (uint16_t)config->server_port);
    agent->rpc_addr = rpc;
    struct group_config group = {
        .loop = agent->loop,
        .log = agent->log,
        .epoch = agent->epoch,
        .catalog = agent->catalog,
        .data_dir = config->dev ? NULL : config->data_dir,
        .random_seed = crypto_random_u64(),
        .bootstrap = config->bootstrap,
        .published = published,
        .leader_changed = leader_changed,
        .leader_known = leader_known,
        .joined = joined,
        .datacenter = config->datacenter,
        .name = config->node_name,
        .addr = &agent->rpc_addr,
        .raft_multiplier = (uint32_t)config->raft_multiplier,
        .autopilot = {.cleanup_dead_servers = config->autopilot.cleanup_dead_servers,
                      .last_contact_ns = config->autopilot.last_contact_ns,
                      .stabilization_ns = config->autopilot.stabilization_ns,
                      .max_trailing_logs = (uint64_t)config->autopilot.max_trailing_logs,
                      .min_quorum = (uint32_t)config->autopilot.min_quorum},
        .context = agent,
        .metrics = agent->telemetry.metrics,
    };
    bool known;
    if (node_id_find(config, &group.node, &known, text) != ERR_OK) {
        return false;
    }
    agent->group = group_create(&group, text);
    if (agent->group == NULL) {
        return false;
    }
    struct uuid node = known ? group.node : group_self(agent->group)->node;
    uuid_format(&node, agent->node_id);
    struct clocks_config clocks = {.loop = agent->loop,
                                   .log = agent->log,
                                   .catalog = agent->catalog,
                                   .group = agent->group,
                                   .expiry = agent->telemetry.session_expiry};
    agent->clocks = clocks_create(&clocks);
    struct reconcile_config reconcile = {
        .loop = agent->loop,
        .log = agent->log,
        .group = agent->group,
        .backend = &agent->backend,
        .keep_removals_ms = config->gossip.reconnect_ns / DURATION_MS + REMOVALS_KEPT_MS,
        .metrics = agent->telemetry.metrics};
    agent->reconcile = reconcile_create(&reconcile);
    return config->dev || node_id_keep(config, agent->node_id, text) == ERR_OK;
}

/* What a server has in its group. */
static bool start_client(struct agent *agent, struct err_text *text) {
    const struct config *config = agent->config;
    struct uuid node, disk;
    bool known;
    agent->rpc_addr = config->advertise;
    crypto_random(&disk, sizeof disk);
    if (!config->dev &&
        store_identity_open(config->data_dir, &disk, &agent->identity, text) != ERR_OK) {
        return false;
    }
    if (node_id_find(config, &node, &known, text) != ERR_OK) {
        return false;
    }
    uuid_format(&node, agent->node_id);
    return config->dev || node_id_keep(config, agent->node_id, text) == ERR_OK;
}

/* ---- where anti-entropy tells what it has to tell ---- */

static bool sync_ready(void *context) {
    struct agent *agent = context;
    return agent->group != NULL   ? group_has_leader(agent->group)
           : agent->links != NULL ? links_connected(agent->links)
                                  : false;
}

void agent_propose(void *context, struct group_proposal *proposal) {
    struct agent *agent = context;
    if (agent->group != NULL) {
        group_propose(agent->group, proposal);
    } else {
        carry_propose(agent, proposal);
    }
}

static void sync_fetch(void *context) {
    asker_fetch(context);
}

static bool start_state(struct agent *agent, struct err_text *text) {
    const struct config *config = agent->config;
    unsigned unreadable = 0;
    if (!(config->server ? start_group(agent, text) : start_client(agent, text))) {
        return false;
    }
    describe_start(agent);
    agent->local = local_create(agent->epoch, config->node_name);
    agent->own = config->server ? NULL : catalog_create(agent->epoch, NULL);
    struct sync_config sync = {
        .loop = agent->loop,
        .log = agent->log,
        .epoch = agent->epoch,
        .local = agent->local,
        .catalog = config->server ? agent->catalog : NULL,
        .fetch = sync_fetch,
        .ready = sync_ready,
        .propose = agent_propose,
        .facts = &agent->facts,
        .node = &agent->node,
        .server_port = (uint16_t)config->server_port,
        .output_ms = config->check_update_interval_ns / DURATION_MS,
        .seed = crypto_random_u64(),
        .taken = taken_from_catalog,
        .leads = leads,
        .context = agent,
        .register_timing = agent->telemetry.catalog_register,
        .deregister_timing = agent->telemetry.catalog_deregister,
    };
    agent->sync = sync_create(&sync);
    if (!runners_create(agent, text)) {
        return false;
    }
    if (!config->dev) {
        agent->files = files_create(config->data_dir, agent->loop, agent->log, text);
        if (agent->files == NULL) {
            return false;
        }
        unreadable = files_load_services(agent->files, agent->local);
    }
    if (definitions_judge(agent, config, text) != ERR_OK) {
        return false;
    }
    definitions_apply(agent, config);
    if (agent->files != NULL) {
        unreadable += files_load_checks(agent->files, agent->local);
        runners_judge_loaded(agent);
        unreadable += files_load_states(agent->files, runners_keep_state, agent);
    }
    if (unreadable > 0) {
        log_write(agent->log, LOG_ERROR, MODULE,
                  "registrations of this agent can't be read: what the catalog has of them stays; "
                  "register them again and restart");
        sync_keep_unknown(agent->sync);
    }
    local_publish(agent->local);
    return true;
}

/* ---- the front ends ---- */

static int64_t number_or_none(const char *text, int base) {
    return *text == '\0' ? -1 : strtoll(text, NULL, base);
}

static const struct path_socket *list_paths(struct agent *agent) {
    const struct config *config = agent->config;
    unsigned count = config->http_listen.path_count;
    struct path_socket *paths = arena_alloc(&agent->arena, (count + 1) * sizeof *paths);
    for (unsigned i = 0; i < count; i++) {
        paths[i] = (struct path_socket){.path = config->http_listen.paths[i],
                                        .user = number_or_none(config->socket_user, 10),
                                        .group = number_or_none(config->socket_group, 10),
                                        .mode = number_or_none(config->socket_mode, 8)};
    }
    return paths;
}

static const struct cidr *list_networks(struct agent *agent) {
    const struct str_list *from = &agent->config->http.allow_write_from;
    struct cidr *networks = arena_alloc(&agent->arena, (from->count + 1) * sizeof *networks);
    for (uint32_t i = 0; i < from->count; i++) {
        ASSERT(cidr_parse(from->v[i], &networks[i])); /* judged with the configuration */
    }
    return networks;
}

/* x-foo-bar as X-Foo-Bar. */
static const char *canonical_header(struct agent *agent, const char *name) {
    char *out = arena_strdup(&agent->arena, name);
    bool first = true;
    for (char *at = out; *at != '\0'; at++) {
        char low = str_lower_char(*at);
        *at = first && low >= 'a' && low <= 'z' ? (char)(low - ('a' - 'A')) : low;
        first = *at == '-';
    }
    return out;
}

static struct str_map list_headers(struct agent *agent) {
    const struct str_map *from = &agent->config->http.response_headers;
    struct str_pair *v = arena_alloc(&agent->arena, (from->count + 1) * sizeof *v);
    uint32_t count = 0;
    while (count < from->count) {
        v[count] =
            (struct str_pair){canonical_header(agent, from->v[count].key), from->v[count].value};
        count++;
    }
    if (agent->config->translate_wan_addrs) {
        v[count++] = (struct str_pair){"X-Consul-Translate-Addresses", "true"};
    }
    return (struct str_map){.v = v, .count = count};
}

static enum http_rate_mode rate_mode(const char *name) {
    return strcmp(name, "enforcing") == 0    ? HTTP_RATE_ENFORCING
           : strcmp(name, "permissive") == 0 ? HTTP_RATE_PERMISSIVE
                                             : HTTP_RATE_OFF;
}

static bool start_http(struct agent *agent, struct err_text *text) {
    const struct config *config = agent->config;
    struct http_config http = {
        .listen = config->http_listen.v,
        .listen_count = config->http_listen.count,
        .paths = list_paths(agent),
        .path_count = config->http_listen.path_count,
        .block_endpoints = config->http.block_endpoints,
        .write_from = list_networks(agent),
        .write_from_count = config->http.allow_write_from.count,
        .response_headers = list_headers(agent),
        .threads = HTTP_THREADS,
        .rate_mode = rate_mode(config->http.rate_mode),
        .read_rate = config->http.read_rate,
        .write_rate = config->http.write_rate,
        .connections_per_client = config->http.max_conns_per_client,
        .query_wait_default_ms = config->default_query_time_ns / DURATION_MS,
        .query_wait_max_ms = config->max_query_time_ns / DURATION_MS,
        .pretty_always = config->dev,
        .use_cache = config->http.use_cache,
        .discovery_stale_ms = config->discovery_max_stale_ns / DURATION_MS,
        .translate_wan = config->translate_wan_addrs,
        .judge_paths = !config->http.no_path_filter,
        .metrics = agent->telemetry.metrics,
        .seed = crypto_random_u64(),
    };
    agent->http =
        http_server_start(&http, &agent->backend, agent->watches, agent->loop, agent->log, text);
    return agent->http != NULL;
}

static uint32_t seconds(int64_t ns) {
    return ns <= 0 ? 0 : (uint32_t)(ns / DURATION_S);
}

/* Names are those of the start: they do not change while it runs. */
static struct dns_config dns_answers(struct agent *agent, const struct config *live,
                                     struct arena *arena) {
    const struct config_dns *from = &live->dns;
    struct dns_config answers = dns_config_default();
    struct dns_service_ttl *ttls = arena_alloc(arena, (from->service_ttl.count + 1) * sizeof *ttls);
    for (uint32_t i = 0; i < from->service_ttl.count; i++) {
        int64_t ns = 0;
        ASSERT(duration_parse(from->service_ttl.v[i].value, &ns, NULL) == ERR_OK);
        ttls[i] = (struct dns_service_ttl){from->service_ttl.v[i].key, seconds(ns)};
    }
    answers.domain = agent->config->domain;
    answers.alt_domain = agent->config->alt_domain;
    answers.datacenter = agent->config->datacenter;
    answers.node_name = agent->config->node_name;
    answers.node_ttl_s = seconds(from->node_ttl_ns);
    answers.service_ttls = ttls;
    answers.service_ttl_count = from->service_ttl.count;
    answers.udp_answer_limit = (uint32_t)from->udp_answer_limit;
    answers.a_record_limit = (uint32_t)from->a_record_limit;
    answers.soa = (struct dns_soa){(uint32_t)from->soa_refresh_s, (uint32_t)from->soa_retry_s,
                                   (uint32_t)from->soa_expire_s, (uint32_t)from->soa_min_ttl_s};
    answers.only_passing = from->only_passing;
    answers.enable_truncate = from->enable_truncate;
    answers.disable_compression = from->disable_compression;
    answers.enable_additional_node_meta_txt = from->node_meta_txt;
    answers.asks_servers = !agent->config->server;
    answers.asks_far = agent->config->server;
    answers.translate_wan = agent->config->translate_wan_addrs;
    answers.allow_stale = from->allow_stale;
    answers.recursors = live->recursor_addrs;
    answers.recursor_count = live->recursor_count;
    answers.recursor_random = strcmp(from->recursor_strategy, "random") == 0;
    int64_t ms = from->recursor_timeout_ns / DURATION_MS;
    if (ms > 0) { /* else the default */
        answers.recursor_timeout_ms =
            (uint32_t)(ms < RECURSOR_TIMEOUT_MAX_MS ? ms : RECURSOR_TIMEOUT_MAX_MS);
    }
    return answers;
}

void dns_reload(struct agent *agent, const struct config *live) {
    struct arena arena;
    arena_init(&arena);
    struct dns_config answers = dns_answers(agent, live, &arena);
    dns_server_reload(agent->dns, &answers);
    arena_clear(&arena);
}

static bool start_dns(struct agent *agent, struct err_text *text) {
    const struct config *config = agent->config;
    if (config->dns_listen.count == 0) {
        return true;
    }
    struct dns_server_config dns = {
        .listen = config->dns_listen.v,
        .listen_count = config->dns_listen.count,
        .threads = DNS_THREADS,
        .seed = crypto_random_u64(),
        .answers = dns_answers(agent, config, &agent->arena),
        .epoch = agent->epoch,
        .catalog = agent->catalog,
        .ready = agent->backend.had_leader,
        .has_leader = agent->backend.has_leader,
        .ready_context = agent,
        .backend = &agent->backend,
        .own = agent->own,
        .metrics = agent->telemetry.metrics,
    };
    agent->dns = dns_server_start(&dns, agent->log, text);
    for (unsigned i = 0; agent->dns != NULL && i < config->dns_listen.count; i++) {
        char address[ADDR_TEXT_BYTES];
        addr_format(&config->dns_listen.v[i], address);
        log_write(agent->log, LOG_INFO, MODULE, "Started DNS server: address=%s network=udp",
                  address);
        log_write(agent->log, LOG_INFO, MODULE, "Started DNS server: address=%s network=tcp",
                  address);
    }
    return agent->dns != NULL;
}

static void config_changed(void *context) {
    struct agent *agent = context;
    if (!agent->stopping) {
        log_write(agent->log, LOG_INFO, MODULE, "auto_reload_config: a file has changed");
        reload_start(agent, NULL);
    }
}

static bool watch_config(struct agent *agent, struct err_text *text) {
    const struct config *config = agent->config;
    if (!config->auto_reload) {
        return true;
    }
    agent->config_watch =
        config_watch_start(agent->loop, &config->paths, config_changed, agent, text);
    return agent->config_watch != NULL;
}

struct agent *agent_create(const struct config *config, const struct config_source *source,
                           struct log *log, struct err_text *text) {
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM, SIGUSR1};
    struct agent *agent = mem_calloc(1, sizeof *agent);
    agent->config = agent->live = config;
    agent->source = source;
    agent->log = log;
    agent->started_at_ms = clock_monotonic_ms();
    arena_init(&agent->arena);
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    agent->loop = loop_create(text);
    bool started = agent->loop != NULL &&
                   loop_watch_signals(agent->loop, signals, sizeof signals / sizeof signals[0],
                                      on_signal, agent, text) == ERR_OK;
    telemetry_create(agent);
    agent->epoch = epoch_create();
    agent->watches = watches_create();
    agent->catalog = catalog_create(agent->epoch, agent->watches);
    if (config->server) {
        catalog_note_changes(agent->catalog, LIMIT_CHANGES_BYTES); /* of the log's replay too */
    }
    removals_init(agent);
    events_create(agent);
    started = started && start_state(agent, text);
    if (started) {
        backend_init(agent);
        operator_start(agent);
        snapshots_start(agent);
        agent->coordinates = coordinates_create(agent);
        started = pools_create(agent, text) && servers_create(agent, text) &&
                  asker_create(agent, text) && mirrors_create(agent);
        failover_start(agent);
        started = started && start_dns(agent, text) && start_http(agent, text) &&
                  watch_config(agent, text);
        telemetry_start(agent);
    }
    if (!started) {
        agent_destroy(agent);
        return NULL;
    }
    loop_set_turn_end(agent->loop, turn_end, agent);
    agent->local_changed = true;
    return agent;
}

const char *agent_node_id(const struct agent *agent) {
    return agent->node_id;
}

bool agent_is_encrypted(const struct agent *agent) {
    return agent->backend.lan->encrypted && agent->config->gossip.verify_outgoing;
}

/* ---- stop ---- */

int agent_run(struct agent *agent) {
    pools_start(agent);
    coordinates_start(agent->coordinates);
    if (agent->config->watch_inputs.count > 0) {
        agent_watch(agent, agent->config);
    }
    if (agent->config->server) {
        thread_raise();
    }
    loop_run(agent->loop);
    if (agent->exit_code == 0) {
        log_write(agent->log, LOG_INFO, MODULE, "Graceful exit completed");
    }
    return agent->exit_code;
}

void agent_destroy(struct agent *agent) {
    if (agent == NULL) {
        return;
    }
    config_watch_stop(agent->config_watch);
    reload_stop(agent);
    /* Before what their threads read: statistics come from group and checks. Nothing is parked any
     * more, so nobody is owed an answer by those. */
    http_server_destroy(agent->http);
    agent->http = NULL;
    dns_server_stop(agent->dns); /* questions of other agents are asked on the workers of HTTP */
    agent->dns = NULL;
    if (!telemetry_stop(agent)) {
        end_now(agent, agent->exit_code);
    }
    checks_destroy(agent->checks);
    if (!files_destroy(agent->files)) {
        log_write(agent->log, LOG_ERROR, MODULE, "the disk hangs, stopping without it");
        end_now(agent, agent->exit_code);
    }
    mirrors_destroy(agent);
    asker_destroy(agent);
    servers_stop(agent);
    operator_stop(agent);
    removals_stop(agent);
    if (agent->loop != NULL) {
        loop_flush(agent->loop);
    }
    failover_stop(agent);
    if (agent->loop != NULL) {
        alias_clear(agent);
    }
    bool grouped = agent->group != NULL;
    if (!group_destroy(agent->group)) {
        end_now(agent, agent->exit_code);
    }
    servers_destroy(agent);
    operator_clear(agent);
    snapshots_clear(agent);
    if (!pools_destroy(agent)) {
        log_write(agent->log, LOG_ERROR, MODULE, "the disk hangs, stopping without it");
        end_now(agent, agent->exit_code);
    }
    events_destroy(agent);
    clocks_destroy(agent->clocks);
    coordinates_destroy(agent->coordinates);
    reconcile_destroy(agent->reconcile);
    if (grouped) {
        log_write(agent->log, LOG_INFO, "agent.server", "consul server down");
    }
    sync_destroy(agent->sync);
    telemetry_destroy(agent);
    local_destroy(agent->local);
    catalog_destroy(agent->own);
    catalog_destroy(agent->catalog);
    watches_destroy(agent->watches);
    free((void *)(uintptr_t)agent->backend.live);
    free((void *)(uintptr_t)agent->backend.lan);
    free((void *)(uintptr_t)agent->backend.wan);
    epoch_destroy(agent->epoch);
    loop_destroy(agent->loop);
    reload_clear(agent);
    arena_clear(&agent->arena);
    store_identity_close(agent->identity);
    log_write(agent->log, LOG_INFO, MODULE, "shutdown complete");
    free(agent);
}
