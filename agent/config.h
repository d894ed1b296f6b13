/* The agent's configuration: defaults, -dev, list flags, files, other flags, in that order
 * (contract 2.1). Strings live in the arena of the load. */
#ifndef AGENT_CONFIG_H
#define AGENT_CONFIG_H

#include "base/arena.h"
#include "base/err.h"
#include "base/log.h"
#include "base/str.h"
#include "net/addr.h"

#define CONFIG_LISTEN_MAX 16

struct config {
    bool dev, server, bootstrap;
    int64_t bootstrap_expect;
    const char *node_name, *node_id, *datacenter, *data_dir;
    const char *bind_addr, *client_addr, *advertise_addr;
    const char *http_addr, *dns_addr; /* addresses.http, addresses.dns: default client_addr */
    const char *domain, *alt_domain;
    const char *log_level;
    struct str_map node_meta;
    int64_t http_port, dns_port, server_port, serf_lan_port, serf_wan_port;
    int64_t http_max_conns_per_client;
    bool enable_script_checks, enable_local_script_checks, discard_check_output;
    bool http_writes_limited; /* http_config.allow_write_http_from is not empty */
    int64_t check_output_max_size;
    int64_t default_query_time_ns, max_query_time_ns;
    struct config_dns {
        bool allow_stale, only_passing, enable_truncate, disable_compression, node_meta_txt;
        int64_t node_ttl_ns, udp_answer_limit, a_record_limit;
        struct str_map service_ttl; /* name or prefix* -> duration text */
        int64_t soa_refresh_s, soa_retry_s, soa_expire_s, soa_min_ttl_s;
    } dns;

    struct str_list http_allow_write_from;

    /* Derived. */
    enum log_level level;
    struct addr bind, advertise;
    struct addr http_listen[CONFIG_LISTEN_MAX], dns_listen[CONFIG_LISTEN_MAX];
    unsigned http_listen_count, dns_listen_count;
};

/* What the command line asks for beside configuration. */
enum config_outcome { CONFIG_RUN, CONFIG_HELP };

/* argv holds the arguments after the command's name. Errors are whole sentences for stderr. */
enum err config_load(int argc, char **argv, struct arena *arena, struct config *ret_config,
                     enum config_outcome *ret_outcome, struct err_text *text);

/* One line a flag, for the help text. */
void config_print_flags(void);

#endif
