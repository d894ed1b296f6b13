/* The agent's configuration (contract 2): what each key means is told once, in the table of
 * agent/config_table.h; here is what comes out. Strings live in the arena of the load. */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H

#include <stdio.h>

#include "base/arena.h"
#include "base/decode.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/log.h"
#include "base/str.h"
#include "catalog/definition.h"
#include "checks/watchers.h"
#include "net/addr.h"

#define CONFIG_LISTEN_MAX 16

/* Addresses of one listener: sockets of the network, and paths. */
struct config_listen {
    struct addr v[CONFIG_LISTEN_MAX];
    unsigned count;
    const char *paths[CONFIG_LISTEN_MAX];
    unsigned path_count;
};

struct config {
    bool dev, server, bootstrap, disable_host_node_id, auto_reload;
    int64_t bootstrap_expect;
    const char *node_name, *node_id, *datacenter, *primary_datacenter, *data_dir, *pid_file;
    const char *bind_addr, *client_addr;
    const char *advertise_addr, *advertise_addr_wan;
    const char *advertise_addr_ipv4, *advertise_addr_ipv6;
    const char *advertise_addr_wan_ipv4, *advertise_addr_wan_ipv6;
    const char *http_addr, *dns_addr; /* addresses.http, addresses.dns: default client_addr */
    const char *socket_user, *socket_group, *socket_mode; /* unix_sockets */
    const char *domain, *alt_domain;
    const char *region, *zone;
    struct str_map node_meta, tagged_addresses;
    struct str_list recursors;
    int64_t http_port, dns_port, server_port, serf_lan_port, serf_wan_port;
    int64_t protocol, raft_protocol;
    int64_t default_query_time_ns, max_query_time_ns, discovery_max_stale_ns;
    int64_t check_update_interval_ns, check_output_max_size;
    bool discard_check_output, enable_script_checks, enable_debug, translate_wan_addrs;
    int8_t enable_local_script_checks, leave_on_terminate, skip_leave_on_interrupt; /* 0 = unset */

    struct config_log {
        const char *level_name, *file, *facility;
        bool json, syslog;
        int64_t rotate_bytes, rotate_ns, rotate_max_files;
        enum log_level level; /* derived */
    } log;

    int64_t kv_value_bytes_max, txn_bytes_max, session_ttl_min_ns;
    struct config_http {
        int64_t max_conns_per_client;
        struct str_list block_endpoints, allow_write_from;
        struct str_map response_headers;
        bool use_cache, no_path_filter;
        const char *rate_mode;
        double read_rate, write_rate;
    } http;

    struct config_dns {
        bool allow_stale, only_passing, enable_truncate, disable_compression, node_meta_txt;
        bool use_cache;
        int64_t node_ttl_ns, udp_answer_limit, a_record_limit;
        int64_t max_stale_ns, cache_max_age_ns, recursor_timeout_ns;
        const char *recursor_strategy;
        struct str_map service_ttl; /* name or prefix* -> duration text */
        int64_t soa_refresh_s, soa_retry_s, soa_expire_s, soa_min_ttl_s;
    } dns;

    struct config_gossip {
        const char *lan_bind, *wan_bind; /* serf_lan, serf_wan: default bind_addr */
        struct str_list lan_allowed, wan_allowed;
        struct str_list join, join_wan; /* retry_join */
        int64_t retry_ns, retry_max, retry_wan_ns, retry_wan_max;
        bool rejoin_after_leave, verify_incoming, verify_outgoing, no_keyring_file;
        int64_t reconnect_ns, reconnect_wan_ns;
        int64_t advertise_reconnect_ns; /* 0: not told */
        const char *encrypt;
        struct config_pool { /* 0 = our own */
            int64_t gossip_nodes, gossip_ns, probe_ns, probe_timeout_ns, suspicion, retransmit;
        } lan, wan;
        struct addr lan_addr, wan_addr; /* derived: where they listen */
    } gossip;

    bool disable_coordinates;
    int64_t coordinate_interval_ns, coordinate_period_ns;
    int64_t raft_multiplier;
    struct config_autopilot {
        bool cleanup_dead_servers;
        int64_t last_contact_ns, stabilization_ns, max_trailing_logs, min_quorum;
    } autopilot;

    struct config_failover {
        bool enabled;
        int64_t nearest, hold_down_ns;
        struct str_list datacenters;
    } failover;
    struct config_mirror {
        bool enabled;
        int64_t max_age_ns, bytes_max, subscribed_bytes_max, idle_ns;
    } mirror;

    struct config_telemetry {
        int64_t prometheus_retention_ns;
        const char *metrics_prefix, *statsd_address, *statsite_address;
        bool disable_hostname, filter_default, enable_host_metrics;
        struct str_list prefix_filter;
    } telemetry;
    /* As decoded; the singular ones are moved to the plural after each source. */
    struct decode_objects service_inputs, check_inputs;
    const void *service_input, *check_input;
    struct decode_objects watch_inputs; /* struct watch_definition, judged */

    /* Derived. */
    struct str_list paths; /* of -config-file and -config-dir */
    struct addr bind, advertise, advertise_wan;
    struct config_listen http_listen, dns_listen;
    struct addr recursor_addrs[LIMIT_DNS_RECURSORS];
    unsigned recursor_count;
    struct service_definition *services;
    uint32_t service_count;
    struct check_definition *checks;
    uint32_t check_count;
    struct str_list warnings; /* for the log, or for `validate` */
};

/* Where configuration comes from. */
struct config_source {
    int argc; /* arguments after the command's name */
    char **argv;
    const struct config *running; /* of a reload: a bad log level keeps the old one; else NULL */
};

/* What the command line asks for beside configuration. CONFIG_USAGE: a flag is wrong. */
enum config_outcome { CONFIG_RUN, CONFIG_HELP, CONFIG_USAGE };

/* Errors are whole sentences for stderr, in the arena. */
enum err config_load(const struct config_source *source, struct arena *arena,
                     struct config *ret_config, enum config_outcome *ret_outcome,
                     const char **ret_error);

/* The same for files and folders alone, as `validate` judges them; format is "", "hcl" or "json".
 * dev: over the defaults of -dev, for what is of use outside of an agent. */
enum err config_load_files(char **paths, int count, const char *format, bool dev,
                           struct arena *arena, struct config *ret_config, const char **ret_error);

/* Whether checks of the agent's own files may run scripts. */
bool config_allows_local_scripts(const struct config *config);

/* One line a flag, for the help text. */
void config_print_flags(FILE *to);

#endif
