/* What the agent tells about itself: the node that it registers, and /v1/agent/self. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/internal.h"
#include "base/assert.h"
#include "base/duration.h"
#include "base/mem.h"
#include "base/pack.h"

#define CONFIG_JSON_BYTES (1024 * 1024)

/* ---- the node ---- */

/* Lays `over` over `map`, both sorted; the keys of `over` are few. */
static struct str_map overlay(struct arena *arena, const struct str_map *map,
                              const struct str_pair *over, uint32_t over_count) {
    struct str_pair *v = arena_alloc(arena, (map->count + over_count + 1) * sizeof *v);
    uint32_t count = 0, a = 0, b = 0;
    while (a < map->count || b < over_count) {
        int order = a == map->count ? 1 : b == over_count ? -1 : strcmp(map->v[a].key, over[b].key);
        v[count++] = order < 0 ? map->v[a] : over[b];
        a += order <= 0;
        b += order >= 0;
    }
    return (struct str_map){.v = v, .count = count, .present = true};
}

static const char *ip_text(struct arena *arena, const struct addr *addr) {
    char ip[ADDR_TEXT_BYTES];
    addr_format_ip(addr, ip);
    return arena_strdup(arena, ip);
}

/* lan and wan, and the same by family unless another address is configured for it. */
static struct str_map tagged_addresses(struct agent *agent, struct arena *arena) {
    const struct config *c = agent->config;
    const char *lan = ip_text(arena, &c->advertise), *wan = ip_text(arena, &c->advertise_wan);
    bool lan_v4 = c->advertise.any.sa_family == AF_INET;
    bool wan_v4 = c->advertise_wan.any.sa_family == AF_INET;
    const struct str_pair all[] = {
        {"lan", lan},
        {"lan_ipv4", *c->advertise_addr_ipv4 != '\0' ? c->advertise_addr_ipv4
                     : lan_v4                        ? lan
                                                     : ""},
        {"lan_ipv6", *c->advertise_addr_ipv6 != '\0' ? c->advertise_addr_ipv6
                     : lan_v4                        ? ""
                                                     : lan},
        {"wan", wan},
        {"wan_ipv4", *c->advertise_addr_wan_ipv4 != '\0' ? c->advertise_addr_wan_ipv4
                     : wan_v4                            ? wan
                                                         : ""},
        {"wan_ipv6", *c->advertise_addr_wan_ipv6 != '\0' ? c->advertise_addr_wan_ipv6
                     : wan_v4                            ? ""
                                                         : wan},
    };
    struct str_pair set[6];
    uint32_t count = 0;
    for (size_t i = 0; i < 6; i++) {
        if (*all[i].value != '\0') {
            set[count++] = all[i];
        }
    }
    return overlay(arena, &c->tagged_addresses, set, count);
}

static void describe_node(struct agent *agent, const struct config *live, struct arena *arena) {
    const struct config *config = agent->config;
    const struct str_pair own[] = {{"consul-network-segment", ""},
                                   {"consul-version", agent->facts.version}};
    agent->node = (struct catalog_node){
        .id = agent->node_id,
        .name = config->node_name,
        .address = agent->facts.advertise_ip,
        .tagged_addresses = tagged_addresses(agent, arena),
        .meta = overlay(arena, &live->node_meta, own, 2),
        .region = config->region,
        .zone = config->zone,
    };
}

/* ---- configuration as JSON ---- */

static const char *take_text(struct arena *arena, struct buf *out) {
    const char *text = out->failed ? "{}" : arena_strndup(arena, out->data, out->count);
    buf_clear(out);
    return text;
}

static const char *describe_config(struct agent *agent) {
    const struct config *config = agent->config;
    struct buf out;
    struct json json;
    buf_init(&out, CONFIG_JSON_BYTES);
    json_init(&json, &out, false);
    json_object_begin(&json);
    json_member_str(&json, "Datacenter", config->datacenter);
    json_member_str(&json, "PrimaryDatacenter", config->primary_datacenter);
    json_member_str(&json, "NodeName", config->node_name);
    json_member_str(&json, "NodeID", agent->node_id);
    json_member_str(&json, "Revision", "");
    json_member_bool(&json, "Server", config->server);
    json_member_str(&json, "Version", agent->facts.version);
    json_member_str(&json, "BuildDate", agent->facts.build_date);
    json_object_end(&json);
    return take_text(&agent->arena, &out);
}

static void member_i64(struct json *json, const char *key, int64_t value) {
    json_key(json, key);
    json_i64(json, value);
}

static void member_addr(struct json *json, const char *key, struct addr addr, int64_t port) {
    char text[ADDR_TEXT_BYTES], url[ADDR_TEXT_BYTES + 8];
    addr_set_port(&addr, (uint16_t)port);
    addr_format(&addr, text);
    snprintf(url, sizeof url, "tcp://%s", text);
    json_member_str(json, key, url);
}

static void member_listen(struct json *json, const char *key, const struct config_listen *listen) {
    json_key(json, key);
    json_array_begin(json);
    for (unsigned i = 0; i < listen->count; i++) {
        char ip[ADDR_TEXT_BYTES];
        addr_format_ip(&listen->v[i], ip);
        json_str(json, ip);
    }
    for (unsigned i = 0; i < listen->path_count; i++) {
        json_str(json, listen->paths[i]);
    }
    json_array_end(json);
}

static void member_urls(struct json *json, const char *key, const struct config_listen *listen) {
    json_key(json, key);
    json_array_begin(json);
    for (unsigned i = 0; i < listen->count; i++) {
        char text[ADDR_TEXT_BYTES], url[ADDR_TEXT_BYTES + 8];
        addr_format(&listen->v[i], text);
        snprintf(url, sizeof url, "tcp://%s", text);
        json_str(json, url);
    }
    for (unsigned i = 0; i < listen->path_count; i++) {
        json_str(json, listen->paths[i]);
    }
    json_array_end(json);
}

static void member_duration(struct json *json, const char *key, int64_t ns) {
    char text[DURATION_TEXT_BYTES];
    duration_format(ns, text);
    json_member_str(json, key, text);
}

/* There is no page to show: dashboards ask whether there is. */
static void put_ui(struct json *json) {
    json_key(json, "UIConfig");
    json_object_begin(json);
    json_member_str(json, "ContentPath", "/ui/");
    json_member_str(json, "Dir", "");
    json_member_bool(json, "Enabled", false);
    json_member_str(json, "MetricsProvider", "");
    json_object_end(json);
}

static void put_ports(struct json *json, const struct config *config) {
    member_i64(json, "HTTPPort", config->http_port);
    member_i64(json, "HTTPSPort", -1);
    member_i64(json, "DNSPort", config->dns_port);
    member_i64(json, "ServerPort", config->server_port);
    member_i64(json, "SerfPortLAN", config->serf_lan_port);
    member_i64(json, "SerfPortWAN", config->serf_wan_port);
    member_i64(json, "GRPCPort", -1);
    member_addr(json, "SerfBindAddrLAN", config->gossip.lan_addr, config->serf_lan_port);
    member_addr(json, "SerfBindAddrWAN", config->gossip.wan_addr, config->serf_wan_port);
    member_addr(json, "SerfAdvertiseAddrLAN", config->advertise, config->serf_lan_port);
    member_addr(json, "SerfAdvertiseAddrWAN", config->advertise_wan, config->serf_wan_port);
    member_addr(json, "RPCBindAddr", config->bind, config->server_port);
    member_addr(json, "RPCAdvertiseAddr", config->advertise, config->server_port);
    member_listen(json, "ClientAddrs", &config->http_listen);
    member_urls(json, "HTTPAddrs", &config->http_listen);
    member_urls(json, "DNSAddrs", &config->dns_listen);
}

/* Nothing secret is in it: what this version does not use it does not show. */
static const char *describe_debug(struct agent *agent, const struct config *live,
                                  struct arena *arena) {
    const struct config *config = agent->config;
    struct buf out;
    struct json json;
    buf_init(&out, CONFIG_JSON_BYTES);
    json_init(&json, &out, false);
    json_object_begin(&json);
    json_member_bool(&json, "ACLsEnabled", false);
    json_member_bool(&json, "Bootstrap", config->bootstrap);
    member_i64(&json, "BootstrapExpect", config->bootstrap_expect);
    json_member_str(&json, "CairnVersion", CAIRN_VERSION);
    member_i64(&json, "CheckOutputMaxSize", config->check_output_max_size);
    member_duration(&json, "CheckUpdateInterval", config->check_update_interval_ns);
    json_member_bool(&json, "ConnectEnabled", false);
    json_member_str(&json, "DNSAltDomain", config->alt_domain);
    json_member_str(&json, "DNSDomain", config->domain);
    json_member_str(&json, "DataDir", config->data_dir);
    json_member_str(&json, "Datacenter", config->datacenter);
    member_duration(&json, "DefaultQueryTime", config->default_query_time_ns);
    json_member_bool(&json, "DevMode", config->dev);
    json_member_bool(&json, "DisableHTTPUnprintableCharFilter", config->http.no_path_filter);
    json_member_bool(&json, "DiscardCheckOutput", live->discard_check_output);
    json_member_bool(&json, "EnableDebug", live->enable_debug);
    json_member_bool(&json, "EncryptGossip", *config->gossip.encrypt != '\0');
    json_member_bool(&json, "HTTPUseCache", config->http.use_cache);
    json_member_bool(&json, "LeaveOnTerm", config->leave_on_terminate > 0);
    json_member_str(&json, "LogLevel", live->log.level_name);
    member_duration(&json, "MaxQueryTime", config->max_query_time_ns);
    json_member_str(&json, "NodeID", agent->node_id);
    json_member_map(&json, "NodeMeta", &live->node_meta);
    json_member_str(&json, "NodeName", config->node_name);
    json_member_str(&json, "PrimaryDatacenter", config->primary_datacenter);
    json_member_bool(&json, "ServerMode", config->server);
    json_member_bool(&json, "SkipLeaveOnInt", config->skip_leave_on_interrupt > 0);
    json_member_map(&json, "TaggedAddresses", &agent->node.tagged_addresses);
    json_member_bool(&json, "TranslateWANAddrs", config->translate_wan_addrs);
    json_member_str(&json, "Version", agent->facts.version);
    put_ports(&json, config);
    put_ui(&json);
    json_object_end(&json);
    return take_text(arena, &out);
}

/* ---- what the front ends see ---- */

static struct backend_live pack(struct packer *packer, const struct backend_live *from) {
    struct backend_live copy = *from;
    pack_map(packer, &copy.node_meta);
    pack_str(packer, &copy.debug_config_json);
    return copy;
}

static void publish_live(struct agent *agent, const struct backend_live *live) {
    struct packer packer = {.used = sizeof *live};
    pack(&packer, live);
    packer = (struct packer){.block = mem_alloc(packer.used), .used = sizeof *live};
    struct backend_live copy = pack(&packer, live);
    memcpy(packer.block, &copy, sizeof copy);
    struct backend_live *block = (struct backend_live *)(void *)packer.block;
    const struct backend_live *old = agent->backend.live;
    agent->backend.live = block;
    epoch_retire(agent->epoch, (void *)(uintptr_t)old);
}

void describe_live(struct agent *agent, const struct config *live, struct arena *arena) {
    describe_node(agent, live, arena);
    struct backend_live shown = {.node_meta = agent->node.meta,
                                 .debug_config_json = describe_debug(agent, live, arena)};
    publish_live(agent, &shown);
}

void describe_start(struct agent *agent) {
    const struct config *config = agent->config;
    char server[ADDR_TEXT_BYTES];
    struct addr rpc = config->advertise;
    addr_set_port(&rpc, (uint16_t)config->server_port);
    addr_format(&rpc, server);
    agent->facts = (struct backend_facts){
        .coordinates_off = agent->config->disable_coordinates,
        .node_name = config->node_name,
        .node_id = agent->node_id,
        .datacenter = config->datacenter,
        .version = CAIRN_API_VERSION,
        .build_date = CAIRN_BUILD_DATE,
        .advertise_ip = ip_text(&agent->arena, &config->advertise),
        .leader_address = arena_strdup(&agent->arena, server),
        .data_dir = config->dev ? "" : config->data_dir,
        .serf_lan_port = (uint16_t)config->serf_lan_port,
        .serf_wan_port = (uint16_t)config->serf_wan_port,
        .kv_value_bytes_max = (uint64_t)config->kv_value_bytes_max,
        .txn_bytes_max = (uint64_t)config->txn_bytes_max,
        .session_ttl_min_ns = config->session_ttl_min_ns,
        .server = config->server,
        .bootstrap = config->bootstrap,
        .translate_wan = config->translate_wan_addrs,
        .bootstrap_expect = (uint16_t)config->bootstrap_expect,
    };
    agent->facts.config_json = describe_config(agent);
    describe_live(agent, config, &agent->arena);
}
