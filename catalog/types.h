/* Nodes, services, checks, keys and sessions: the structs that requests are parsed into, that the
 * catalog keeps as rows, and that answers are written from. Strings are NUL-terminated and never
 * NULL ("" = unset). A row is one block from malloc, immutable once it is in a tree. */
#ifndef CATALOG_TYPES_H
#define CATALOG_TYPES_H

#include <stdbool.h>
#include <stdint.h>

#include "base/coordinate.h"
#include "base/str.h"

struct catalog_bytes {
    const uint8_t *data; /* NULL when size is 0 */
    uint32_t size;
};

struct catalog_node {
    const char *id; /* lower-case UUID or "" */
    const char *name;
    const char *address;
    struct str_map tagged_addresses;
    struct str_map meta;
    const char *region, *zone; /* zone implies region */
    uint64_t create_index, modify_index;
    struct catalog_bytes unknown; /* fields of a younger version, kept as they came */
};

struct catalog_tagged_address {
    const char *name;
    const char *address;
    uint32_t port;
};

struct catalog_service {
    const char *node; /* node name */
    const char *id;   /* of the instance, unique on its node without regard to case */
    const char *name;
    struct str_list tags;
    const char *address; /* "" = the node's */
    uint32_t port;
    const char *socket_path;
    struct catalog_tagged_address *tagged_addresses; /* sorted by name */
    uint32_t tagged_address_count;
    struct str_map meta;
    uint32_t weight_passing, weight_warning;
    bool enable_tag_override;
    const char *kind;
    const char *region, *zone;
    const char *proxy, *connect; /* JSON texts carried for clients, or "" */
    uint64_t create_index, modify_index;
    struct catalog_bytes unknown;
};

struct catalog_check {
    const char *node;
    const char *id;
    const char *name;
    const char *status; /* "passing", "warning", "critical" */
    const char *notes;
    const char *output;
    const char *service_id; /* "" = a check of the node */
    const char *service_name;
    struct str_list service_tags;
    const char *type;
    const char *interval, *timeout;
    const char *definition; /* JSON object as text, or "" */
    uint64_t create_index, modify_index;
    struct catalog_bytes unknown;
};

/* The check of a node that tells whether its agent lives. */
#define CATALOG_AGENT_CHECK "serfHealth"

/* Worst first in value: the aggregate of several is their maximum. */
enum catalog_health { HEALTH_PASSING, HEALTH_WARNING, HEALTH_CRITICAL };

enum catalog_health catalog_health_of(const char *status);
/* NULL: the service has no address of this name. */
const struct catalog_tagged_address *catalog_find_tagged(const struct catalog_service *service,
                                                         const char *name);

/* One instance of a service with all that a lookup needs, kept beside the rows. */
struct catalog_instance {
    const struct catalog_node *node;
    const struct catalog_service *service;
    enum catalog_health health; /* worst of the checks below */
    uint32_t check_count;
    const struct catalog_check *checks[]; /* the node's, then its own, each by lower-case id */
};

/* A key with its value: one block. Keys are bytes without NUL, in their exact letter case. */
struct catalog_kv {
    uint64_t create_index, modify_index;
    uint64_t lock_index; /* counts acquisitions */
    uint64_t flags;      /* the client's */
    uint32_t value_size;
    uint16_t key_size;
    uint8_t session_size; /* 0: nobody holds it */
    char bytes[];         /* key, NUL, session, NUL, value */
};

static inline const char *catalog_kv_key(const struct catalog_kv *kv) {
    return kv->bytes;
}
static inline const char *catalog_kv_session(const struct catalog_kv *kv) {
    return kv->bytes + kv->key_size + 1;
}
static inline const char *catalog_kv_value(const struct catalog_kv *kv) {
    return kv->bytes + kv->key_size + kv->session_size + 2;
}

/* A liveness token. It ends when it is destroyed, when its TTL runs out, when its node goes, or
 * when a check that it watches goes or turns critical; then its keys are released or deleted. */
struct catalog_session {
    const char *id; /* lower-case UUID */
    const char *name;
    const char *node;
    const char *behavior; /* "release", "delete" */
    const char *ttl;      /* as it was given, "" = none */
    int64_t ttl_ns;       /* 0 = none */
    int64_t lock_delay_ns;
    struct str_list checks, node_checks, service_checks; /* check ids on the node */
    bool node_checks_present, service_checks_present;    /* [] against null */
    uint64_t create_index, modify_index;
    struct catalog_bytes unknown;
};

/* A key that nobody may acquire, because its holder's session has ended not long ago. */
struct catalog_lock_delay {
    const char *key;
    uint64_t index;   /* at which the session ended */
    int64_t delay_ms; /* from then on, by the leader's clock */
};

/* A member that an operator has removed from the LAN pool. Gossip cannot bring back what it was up
 * to this incarnation; the member itself comes back with a higher one. */
struct catalog_removal {
    const char *id; /* of the member: lower-case UUID */
    const char *name;
    uint32_t boot_epoch, counter; /* its incarnation */
    bool prune;                   /* nobody lists it any more, not even as left */
    int64_t at_ms;                /* Unix time, by the clock of who was asked */
    uint64_t create_index, modify_index;
};

/* Where a node is, as its agent says, in one segment of the network ("" = the only one). */
struct catalog_coordinate {
    const char *node;
    const char *segment;
    struct coordinate at;
};

/* A prepared query: a lookup kept under an id and, mostly, a name (contract, kv 4). One with a
 * template type stands for all names that begin with its own. */
struct catalog_query {
    const char *id; /* lower-case UUID */
    const char *name;
    const char *session; /* that it ends with, "" = none */
    const char *token;
    const char *template_type; /* "" = none, "name_prefix_match" */
    const char *template_regexp;
    bool remove_empty_tags;
    const char *service;
    const char *near_node; /* "" = nobody, a node, "_agent", "_ip" */
    struct str_list datacenters, target_datacenters, ignored_checks, tags;
    bool datacenters_present, targets_present, ignored_checks_present, tags_present; /* [], null */
    struct str_map node_meta, service_meta;
    int64_t nearest; /* so many datacenters by distance before those that are listed */
    bool only_passing, connect;
    const char *dns_ttl; /* as it was given, "" = that of the service */
    uint64_t create_index, modify_index;
    struct catalog_bytes unknown;
};

/* Where lookups of a service go on when this datacenter has no healthy instance of it. */
struct catalog_failover {
    const char *service; /* "*" = all that have none of their own */
    bool enabled;
    int64_t nearest;             /* so many datacenters by distance, then */
    struct str_list datacenters; /* these; neither: all by distance */
    bool datacenters_present;
    int64_t hold_down_ns; /* home must be healthy for so long before lookups come back */
    uint64_t create_index, modify_index;
    struct catalog_bytes unknown;
};

/* What the leader's care for its group goes by (contract 17.2). */
struct catalog_autopilot {
    bool cleanup_dead_servers;
    int64_t last_contact_ns, stabilization_ns;
    uint64_t max_trailing_logs;
    uint32_t min_quorum;
    uint64_t create_index, modify_index; /* 0: nobody has set it */
};

#endif
