#include "agent/agent.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/internal.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/mem.h"

#define MODULE "agent"
#define HTTP_THREADS 2
#define DNS_THREADS 2
#define STOP_MS 1500 /* requests that are still parked after this are given up */
#define PATH_BYTES 4096

static uint64_t random_u64(void) {
    uint64_t value;
    ASSERT(getrandom(&value, sizeof value, 0) == (ssize_t)sizeof value);
    return value;
}

/* ---- the node's id ---- */

static void node_id_path(const struct agent *agent, char path[PATH_BYTES]) {
    snprintf(path, PATH_BYTES, "%.4000s/node-id", agent->config->data_dir);
}

/* From the configuration, else <data_dir>/node-id, else a new one, which is not known. */
static enum err find_node_id(struct agent *agent, struct uuid *ret_id, bool *ret_known,
                             struct err_text *text) {
    const struct config *config = agent->config;
    char path[PATH_BYTES], line[64] = "";
    *ret_known = true;
    if (*config->node_id != '\0') {
        ASSERT(uuid_parse(config->node_id, ret_id));
        return ERR_OK;
    }
    node_id_path(agent, path);
    int fd = config->dev ? -1 : open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        ssize_t n = read(fd, line, sizeof line - 1);
        close(fd);
        line[n > 0 ? (size_t)n : 0] = '\0';
        line[strcspn(line, "\r\n ")] = '\0';
    }
    if (line[0] == '\0') {
        uint8_t random[16];
        ASSERT(getrandom(random, sizeof random, 0) == (ssize_t)sizeof random);
        *ret_id = uuid_from_random(random);
        *ret_known = false;
        return ERR_OK;
    }
    return uuid_parse(line, ret_id)
               ? ERR_OK
               : err_set(text, ERR_CORRUPT,
                         "%.200s does not hold a UUID; remove the file or set node_id", path);
}

/* Whole or not at all: the agent may be killed here too. */
static enum err keep_node_id(struct agent *agent, struct err_text *text) {
    char path[PATH_BYTES], temporary[PATH_BYTES + 8];
    node_id_path(agent, path);
    snprintf(temporary, sizeof temporary, "%s.tmp", path);
    int fd = open(temporary, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    if (fd < 0 || write(fd, agent->node_id, UUID_TEXT_BYTES - 1) != UUID_TEXT_BYTES - 1 ||
        fsync(fd) != 0 || rename(temporary, path) != 0) {
        enum err err = err_set_errno(text, errno, "cannot write %.200s", path);
        if (fd >= 0) {
            close(fd);
        }
        return err;
    }
    close(fd);
    return ERR_OK;
}

/* ---- facts ---- */

static void describe_node(struct agent *agent) {
    const struct config *config = agent->config;
    char ip[ADDR_TEXT_BYTES];
    addr_format_ip(&config->advertise, ip);
    bool v4 = config->advertise.any.sa_family == AF_INET;
    const char *address = arena_strdup(&agent->arena, ip);
    struct str_pair *tagged = arena_alloc(&agent->arena, 4 * sizeof *tagged);
    tagged[0] = (struct str_pair){"lan", address};
    tagged[1] = (struct str_pair){v4 ? "lan_ipv4" : "lan_ipv6", address};
    tagged[2] = (struct str_pair){"wan", address};
    tagged[3] = (struct str_pair){v4 ? "wan_ipv4" : "wan_ipv6", address};
    uint32_t count = config->node_meta.count;
    struct str_pair *meta = arena_alloc(&agent->arena, (count + 2) * sizeof *meta);
    const struct str_pair own[] = {{"consul-network-segment", ""},
                                   {"consul-version", agent->facts.version}};
    uint32_t from = 0, to = 0;
    for (size_t i = 0; i < 2; i++) {
        while (from < count && strcmp(config->node_meta.v[from].key, own[i].key) < 0) {
            meta[to++] = config->node_meta.v[from++];
        }
        meta[to++] = own[i];
    }
    while (from < count) {
        meta[to++] = config->node_meta.v[from++];
    }
    agent->node = (struct catalog_node){
        .id = agent->node_id,
        .name = config->node_name,
        .address = address,
        .tagged_addresses = {tagged, 4, true},
        .meta = {meta, to, true},
        .region = "",
        .zone = "",
    };
    agent->facts.advertise_ip = address;
    agent->facts.node_meta = agent->node.meta;
}

static void describe_ports(struct json *json, const struct config *config) {
    json_key(json, "HTTPPort");
    json_i64(json, config->http_port);
    json_key(json, "DNSPort");
    json_i64(json, config->dns_port);
    json_key(json, "ServerPort");
    json_i64(json, config->server_port);
    json_key(json, "SerfPortLAN");
    json_i64(json, config->serf_lan_port);
    json_key(json, "SerfPortWAN");
    json_i64(json, config->serf_wan_port);
    json_key(json, "GRPCPort");
    json_i64(json, -1);
}

static const char *take_text(struct agent *agent, struct buf *out) {
    ASSERT(!out->failed);
    const char *text = arena_strndup(&agent->arena, out->data, out->count);
    buf_clear(out);
    return text;
}

static void describe_config(struct agent *agent) {
    const struct config *config = agent->config;
    struct backend_facts *facts = &agent->facts;
    struct buf out;
    struct json json;
    buf_init(&out, 65536);
    json_init(&json, &out, false);
    json_object_begin(&json);
    json_member_str(&json, "Datacenter", config->datacenter);
    json_member_str(&json, "PrimaryDatacenter", config->datacenter);
    json_member_str(&json, "NodeName", config->node_name);
    json_member_str(&json, "NodeID", agent->node_id);
    json_member_str(&json, "Revision", "");
    json_member_bool(&json, "Server", config->server);
    json_member_str(&json, "Version", facts->version);
    json_member_str(&json, "BuildDate", facts->build_date);
    json_object_end(&json);
    facts->config_json = take_text(agent, &out);

    struct addr serf = config->advertise;
    char lan[ADDR_TEXT_BYTES];
    addr_set_port(&serf, (uint16_t)config->serf_lan_port);
    addr_format(&serf, lan);
    json_init(&json, &out, false);
    json_object_begin(&json);
    json_member_bool(&json, "ACLsEnabled", false);
    json_member_bool(&json, "Bootstrap", config->bootstrap);
    json_member_str(&json, "CairnVersion", CAIRN_VERSION);
    json_member_str(&json, "DNSDomain", config->domain);
    json_member_str(&json, "DataDir", config->data_dir);
    json_member_str(&json, "Datacenter", config->datacenter);
    json_member_bool(&json, "DevMode", config->dev);
    json_member_bool(&json, "EnableDebug", config->dev);
    json_member_bool(&json, "EncryptGossip", false);
    json_member_bool(&json, "LeaveOnTerm", false);
    json_member_str(&json, "NodeID", agent->node_id);
    json_member_str(&json, "NodeName", config->node_name);
    json_member_str(&json, "SerfAdvertiseAddrLAN", arena_format(&agent->arena, "tcp://%s", lan));
    json_member_bool(&json, "ServerMode", config->server);
    json_member_bool(&json, "SkipLeaveOnInt", true);
    json_member_map(&json, "TaggedAddresses", &agent->node.tagged_addresses);
    json_member_str(&json, "Version", facts->version);
    describe_ports(&json, config);
    json_object_end(&json);
    facts->debug_config_json = take_text(agent, &out);
}

static void describe(struct agent *agent) {
    const struct config *config = agent->config;
    char server[ADDR_TEXT_BYTES];
    struct addr rpc = config->advertise;
    addr_set_port(&rpc, (uint16_t)config->server_port);
    addr_format(&rpc, server);
    agent->facts = (struct backend_facts){
        .node_name = config->node_name,
        .node_id = agent->node_id,
        .datacenter = config->datacenter,
        .version = CAIRN_API_VERSION,
        .build_date = CAIRN_BUILD_DATE,
        .leader_address = arena_strdup(&agent->arena, server),
        .serf_lan_port = (uint16_t)config->serf_lan_port,
        .server = config->server,
    };
    describe_node(agent);
    describe_config(agent);
}

/* ---- callbacks of the parts ---- */

/* Something hangs, most likely a disk: better an end than a wait for it. What is acknowledged is on
 * disk, so nothing is lost. */
static void give_up(struct loop_timer *timer) {
    struct agent *agent = CONTAINER_OF(timer, struct agent, stop_timer);
    log_write(agent->log, LOG_ERROR, MODULE, "requests hang, stopping without them");
    _exit(1);
}

static void published(void *context) {
    struct agent *agent = context;
    alias_published(agent);
    if (agent->http != NULL) {
        http_server_wake(agent->http);
    }
}

static void leader_changed(void *context, bool leader) {
    struct agent *agent = context;
    if (leader) {
        runners_adopt(agent);
        sync_lead(agent->sync);
    }
}

/* Requests that wait are answered or let go, then the loop ends. */
static void stop(struct agent *agent, int exit_code) {
    if (!agent->stopping) {
        agent->stopping = true;
        agent->exit_code = exit_code;
        log_write(agent->log, LOG_INFO, MODULE, "Requesting shutdown");
        http_server_drain(agent->http);
        agent->stop_timer.run = give_up;
        loop_timer_start(agent->loop, &agent->stop_timer, loop_now_ms(agent->loop) + STOP_MS);
    }
}

static void turn_end(void *context) {
    struct agent *agent = context;
    if (agent->local_changed) {
        agent->local_changed = false;
        runners_follow(agent);
        local_publish(agent->local);
    }
    group_turn_end(agent->group);
    if (agent->leaving) {
        agent->leaving = false;
        stop(agent, 0);
    }
    http_server_turn_end(agent->http); /* after stop: there may be no other turn */
    if (agent->stopping && http_server_drained(agent->http)) {
        loop_stop(agent->loop);
    }
}

static void on_signal(void *context, int signal) {
    struct agent *agent = context;
    log_write(agent->log, LOG_INFO, MODULE, "Caught: signal=%s", strsignal(signal));
    if (signal == SIGHUP) {
        log_write(agent->log, LOG_WARN, MODULE, "this version reloads nothing; restart it");
        return;
    }
    log_write(agent->log, LOG_INFO, MODULE, "Graceful shutdown disabled. Exiting");
    stop(agent, 1);
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
    struct group_config group = {
        .loop = agent->loop,
        .log = agent->log,
        .epoch = agent->epoch,
        .catalog = agent->catalog,
        .data_dir = config->dev ? NULL : config->data_dir,
        .random_seed = random_u64(),
        .bootstrap = config->bootstrap,
        .published = published,
        .leader_changed = leader_changed,
        .context = agent,
    };
    bool known;
    if (find_node_id(agent, &group.node, &known, text) != ERR_OK) {
        return false;
    }
    agent->group = group_create(&group, text);
    if (agent->group == NULL) {
        return false;
    }
    struct uuid node = known ? group.node : group_node(agent->group);
    uuid_format(&node, agent->node_id);
    return config->dev || keep_node_id(agent, text) == ERR_OK;
}

static bool start_state(struct agent *agent, struct err_text *text) {
    const struct config *config = agent->config;
    if (!start_group(agent, text)) {
        return false;
    }
    describe(agent);
    agent->local = local_create(agent->epoch, config->node_name);
    struct sync_config sync = {
        .loop = agent->loop,
        .log = agent->log,
        .epoch = agent->epoch,
        .group = agent->group,
        .local = agent->local,
        .catalog = agent->catalog,
        .facts = &agent->facts,
        .node = &agent->node,
        .server_port = (uint16_t)config->server_port,
        .seed = random_u64(),
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
        files_load(agent->files, agent->local, runners_keep_state, agent);
        runners_judge_loaded(agent);
    }
    local_publish(agent->local);
    return true;
}

static bool start_http(struct agent *agent, struct err_text *text) {
    const struct config *config = agent->config;
    struct http_config http = {
        .listen = config->http_listen,
        .listen_count = config->http_listen_count,
        .threads = HTTP_THREADS,
        .connections_per_client = config->http_max_conns_per_client,
        .query_wait_default_ms = config->default_query_time_ns / DURATION_MS,
        .query_wait_max_ms = config->max_query_time_ns / DURATION_MS,
        .pretty_always = config->dev,
        .seed = random_u64(),
    };
    agent->http =
        http_server_start(&http, &agent->backend, agent->watches, agent->loop, agent->log, text);
    return agent->http != NULL;
}

static uint32_t seconds(int64_t ns) {
    return ns <= 0 ? 0 : (uint32_t)(ns / DURATION_S);
}

static bool start_dns(struct agent *agent, struct err_text *text) {
    const struct config *config = agent->config;
    if (config->dns_listen_count == 0) {
        return true;
    }
    struct dns_service_ttl *ttls =
        arena_alloc(&agent->arena, (config->dns.service_ttl.count + 1) * sizeof *ttls);
    for (uint32_t i = 0; i < config->dns.service_ttl.count; i++) {
        int64_t ns = 0;
        ASSERT(duration_parse(config->dns.service_ttl.v[i].value, &ns, NULL) == ERR_OK);
        ttls[i] = (struct dns_service_ttl){config->dns.service_ttl.v[i].key, seconds(ns)};
    }
    struct dns_server_config dns = {
        .listen = config->dns_listen,
        .listen_count = config->dns_listen_count,
        .threads = DNS_THREADS,
        .seed = random_u64(),
        .answers = dns_config_default(),
        .epoch = agent->epoch,
        .catalog = agent->catalog,
        .ready = agent->backend.had_leader,
        .ready_context = agent,
    };
    dns.answers.domain = config->domain;
    dns.answers.alt_domain = config->alt_domain;
    dns.answers.datacenter = config->datacenter;
    dns.answers.node_name = config->node_name;
    dns.answers.node_ttl_s = seconds(config->dns.node_ttl_ns);
    dns.answers.service_ttls = ttls;
    dns.answers.service_ttl_count = config->dns.service_ttl.count;
    dns.answers.udp_answer_limit = (uint32_t)config->dns.udp_answer_limit;
    dns.answers.a_record_limit = (uint32_t)config->dns.a_record_limit;
    dns.answers.soa =
        (struct dns_soa){(uint32_t)config->dns.soa_refresh_s, (uint32_t)config->dns.soa_retry_s,
                         (uint32_t)config->dns.soa_expire_s, (uint32_t)config->dns.soa_min_ttl_s};
    dns.answers.only_passing = config->dns.only_passing;
    dns.answers.enable_truncate = config->dns.enable_truncate;
    dns.answers.disable_compression = config->dns.disable_compression;
    dns.answers.enable_additional_node_meta_txt = config->dns.node_meta_txt;
    agent->dns = dns_server_start(&dns, agent->log, text);
    return agent->dns != NULL;
}

struct agent *agent_create(const struct config *config, struct log *log, struct err_text *text) {
    static const int signals[] = {SIGHUP, SIGINT, SIGTERM};
    struct agent *agent = mem_calloc(1, sizeof *agent);
    agent->config = config;
    agent->log = log;
    agent->started_at_ms = clock_monotonic_ms();
    arena_init(&agent->arena);
    raise_descriptor_limit();
    signal(SIGPIPE, SIG_IGN);
    agent->loop = loop_create(text);
    bool started = agent->loop != NULL &&
                   loop_watch_signals(agent->loop, signals, 3, on_signal, agent, text) == ERR_OK;
    agent->epoch = epoch_create();
    agent->watches = watches_create();
    agent->catalog = catalog_create(agent->epoch, agent->watches);
    started = started && start_state(agent, text);
    if (started) {
        backend_init(agent);
        started = start_dns(agent, text) && start_http(agent, text);
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

/* ---- stop ---- */

int agent_run(struct agent *agent) {
    loop_run(agent->loop);
    return agent->exit_code;
}

void agent_destroy(struct agent *agent) {
    if (agent == NULL) {
        return;
    }
    dns_server_stop(agent->dns);
    checks_destroy(agent->checks);
    files_destroy(agent->files);
    if (agent->loop != NULL) {
        loop_flush(agent->loop);
    }
    http_server_destroy(agent->http); /* its threads ask the group */
    agent->http = NULL;
    if (agent->loop != NULL) {
        alias_clear(agent);
    }
    group_destroy(agent->group);
    sync_destroy(agent->sync);
    local_destroy(agent->local);
    catalog_destroy(agent->catalog);
    watches_destroy(agent->watches);
    epoch_destroy(agent->epoch);
    loop_destroy(agent->loop);
    arena_clear(&agent->arena);
    log_write(agent->log, LOG_INFO, MODULE, "shutdown complete");
    free(agent);
}
