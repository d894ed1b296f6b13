/* What decides the answers besides the catalog: the agent's dns_config (contract 1.10). A value:
 * whoever takes one copies what it keeps. */
#ifndef DNS_CONFIG_H
#define DNS_CONFIG_H

#include <stdbool.h>
#include <stdint.h>

#include "net/addr.h"

struct dns_service_ttl {
    const char *name; /* a service name, or a prefix that ends in '*' */
    uint32_t ttl_s;
};

struct dns_soa {
    uint32_t refresh_s, retry_s, expire_s, min_ttl_s;
};

struct dns_config {
    const char *domain;     /* "consul."; a missing last dot is added, case does not matter */
    const char *alt_domain; /* "" = none; "cairn." is served in any case */
    const char *datacenter; /* of this agent, lower case */
    const char *node_name;
    uint32_t node_ttl_s;
    const struct dns_service_ttl *service_ttls; /* NULL when the count is 0 */
    uint32_t service_ttl_count;
    uint32_t udp_answer_limit; /* without EDNS: answers in a datagram, 8 at most; 0 = none at all */
    uint32_t a_record_limit;   /* instances in an A, AAAA or ANY answer; 0 = no limit */
    struct dns_soa soa;
    bool only_passing;
    bool enable_truncate; /* sets TC on what was trimmed */
    bool disable_compression;
    bool enable_additional_node_meta_txt;
    bool translate_wan; /* of instances of other datacenters the wide-area addresses are told */
    bool asks_servers;  /* this agent has only its own rows: servers answer for all others, */
    bool asks_far;      /* and of other datacenters for theirs */
    bool allow_stale;   /* else lookups need a leader */
    const struct addr *recursors; /* NULL when the count is 0 */
    uint32_t recursor_count;      /* at most LIMIT_DNS_RECURSORS */
    uint32_t recursor_timeout_ms; /* of each */
    bool recursor_random;         /* asked in random order, else in theirs */
};

/* The contract's defaults; names are "" but the domain. */
struct dns_config dns_config_default(void);

#endif
