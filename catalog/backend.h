/* What the front ends need from the agent and the cluster, as one small table of functions that
 * agent/backend.c fills in. Front ends see neither Raft nor gossip. */
#ifndef CATALOG_BACKEND_H
#define CATALOG_BACKEND_H

#include "base/epoch.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/metrics.h"
#include "base/uuid.h"
#include "catalog/catalog.h"
#include "catalog/definition.h"
#include "catalog/failover.h"
#include "catalog/local.h"

enum backend_call_kind {
    BACKEND_COMMAND, /* a catalog command through the Raft log */
    BACKEND_READ,    /* once done, a view holds all that was acknowledged before. ERR_NO_LEADER */
    BACKEND_SET_SERVICE, /* this agent's own registrations */
    BACKEND_REMOVE_SERVICE,
    BACKEND_SET_CHECK,
    BACKEND_REMOVE_CHECK,
    BACKEND_UPDATE_CHECK, /* of a TTL check */
    BACKEND_SET_MAINTENANCE,
    BACKEND_RENEW_SESSION,
    BACKEND_COORDINATE, /* of a node: gathered, and put into the catalog with others later */
    BACKEND_JOIN,       /* its pools: what follows is answered once it is so */
    BACKEND_FORCE_LEAVE,
    BACKEND_KEYRING,
    BACKEND_FORWARD,  /* a whole HTTP request, answered by a server of this or another datacenter */
    BACKEND_QUESTION, /* the same of a DNS question */
    BACKEND_FIRE_EVENT, /* to all members of the LAN pool; made_id is the event's */
    BACKEND_OPERATOR,   /* of the Raft group: the leader answers */
    BACKEND_SNAPSHOT,   /* the whole catalog as an archive, */
    BACKEND_RESTORE,    /* and back */
    BACKEND_LEAVE,      /* the agent leaves and stops */
    BACKEND_RELOAD      /* the agent reads its configuration anew */
};

enum backend_keys_action {
    BACKEND_KEYS_LIST,
    BACKEND_KEYS_INSTALL,
    BACKEND_KEYS_USE,
    BACKEND_KEYS_REMOVE
};

/* Between servers: never renumber. */
enum backend_operator_action {
    BACKEND_SHOW_RAFT = 1,
    BACKEND_SHOW_AUTOPILOT = 2, /* its configuration */
    BACKEND_SHOW_HEALTH = 3,
    BACKEND_SHOW_STATE = 4,
    BACKEND_REMOVE_SERVER = 5,
    BACKEND_TRANSFER_LEADER = 6
};

/* What a server answered to a request that was passed on, in one block; the body is apart. */
struct backend_reply {
    int status;
    uint32_t header_count;
    struct str_pair headers[];
};

/* One asynchronous request to the core. The caller owns it and all it points to until done runs. */
struct backend_call {
    enum backend_call_kind kind;
    union {
        struct catalog_command command;
        bool consistent; /* READ: whatever the clocks */
        struct {
            struct service_definition definition;
            bool replace_checks;
        } set_service;
        struct check_definition set_check;
        const char *id; /* REMOVE_SERVICE, REMOVE_CHECK, RENEW_SESSION */
        struct {
            const char *id, *status, *output;
        } update;
        struct {
            const char *service_id; /* "" = the node */
            bool enable;
            const char *reason, *token;
        } maintenance;
        struct catalog_coordinate coordinate;
        struct {
            const char *address;
            bool wan;
        } join;
        struct {
            const char *name;
            bool wan, prune;
        } force_leave;
        struct {
            enum backend_keys_action action;
            const char *key; /* base64; "" of LIST */
            bool local_only;
        } keyring;
        struct {
            const char *name;
            const char *node, *service, *tag; /* regular expressions, "" = all */
            struct catalog_bytes payload;
        } fire;
        struct {
            enum backend_operator_action action;
            const char *server_id, *address; /* of a server; "" = not given */
            bool stale;                      /* of a show: as this server knows it */
        } operate;
        struct {
            bool stale;
            const void *data; /* of RESTORE */
            size_t size;
            uint64_t index; /* result of SNAPSHOT */
            int64_t contact_ms;
        } snapshot;
        struct {
            const char *datacenter;             /* "" = this agent's */
            const char *method, *target, *node; /* node: the agent that the client asked */
            struct str_map headers;
            const void *body;
            size_t body_size;
            unsigned hops;               /* how often it was passed on before */
            bool repeatable;             /* carried out twice it does no harm */
            int64_t answer_ms;           /* how long the server may take */
            bool mirrored;               /* there are rows that can answer instead: no long wait */
            bool cancelled;              /* by `cancel` */
            struct backend_reply *reply; /* result, beside answer; the caller frees it */
        } forward;
        struct {
            const char *datacenter; /* "" = this agent's */
            const void *request;
            size_t size;
            bool tcp;
            unsigned hops;
            const char *wan_for; /* the datacenter that wants WAN addresses; "": none */
            bool mirrored;       /* as of forward */
        } question;              /* answer: the message */
    };
    char made_id[UUID_TEXT_BYTES]; /* of a session, query or event that the call makes */
    struct catalog_result result;  /* of a command; the caller clears it */
    char *answer;                  /* JSON, or the archive of SNAPSHOT; the caller frees it */
    size_t answer_size;
    enum err err;         /* result: ERR_OK, ERR_NOT_FOUND, ERR_REFUSED, ERR_NO_LEADER, ... */
    struct err_text text; /* the contract's sentence when it failed */
    void (*done)(struct backend_call *call); /* runs once, on the core's thread */
    void *context;                           /* the caller's */
};

/* Facts about this agent that do not change while it runs. */
struct backend_facts {
    const char *node_name, *node_id, *datacenter, *version;
    const char *build_date; /* RFC 3339 */
    const char *advertise_ip;
    const char *leader_address; /* this server's RPC "ip:port", as status and members show it */
    const char *config_json;    /* an object for /v1/agent/self */
    const char *data_dir;       /* "" = none */
    uint16_t serf_lan_port, serf_wan_port;
    uint64_t kv_value_bytes_max, txn_bytes_max;
    int64_t session_ttl_min_ns;
    bool server, bootstrap;
    bool translate_wan;        /* of other datacenters the wide-area addresses are told */
    bool coordinates_off;      /* nothing is measured, kept or sorted by */
    uint16_t bootstrap_expect; /* 0 = not given */
};

/* A member of a pool (contract 10.4). */
/* Numbers of the contract. */
enum member_status { MEMBER_NONE, MEMBER_ALIVE, MEMBER_LEAVING, MEMBER_LEFT, MEMBER_FAILED };

struct backend_member {
    const char *name, *ip;
    uint16_t port;
    uint8_t status; /* enum member_status */
    bool server;
    struct str_map tags;
};

struct backend_pool {
    const struct backend_member *members; /* by name */
    uint32_t count, self;                 /* self: the place of this agent */
    uint64_t version;                     /* each one's is another */
    bool encrypted;
};

/* A user event that this agent has kept (contract 14). */
struct backend_event {
    char id[UUID_TEXT_BYTES];
    uint64_t index; /* what tells it from others: both halves of its id, as XOR */
    uint64_t ltime;
    const char *name, *node_filter, *service_filter, *tag_filter;
    struct catalog_bytes payload;
};

/* The last LIMIT_EVENTS_KEPT, oldest first. */
struct backend_events {
    uint64_t version;
    uint32_t count;
    const struct backend_event *v[];
};

/* Numbers of a pool. */
struct backend_pool_stats {
    uint32_t alive, clients, failed, left, frozen, health_score, events_queued;
    uint64_t event_clock; /* of user events; 0: none was heard */
    bool guard;
    struct coordinate at;
};

/* What a reload changes. */
struct backend_live {
    struct str_map node_meta;
    const char *debug_config_json; /* an object for /v1/agent/self */
};

/* Numbers for people, taken at one moment. */
struct backend_stats {
    bool leader;
    const char *role;   /* "follower", ... */
    uint32_t peers;     /* other servers that vote, if this one does */
    int64_t contact_ms; /* since the leader was last heard; 0 on it; -1: never */
    uint64_t term, last_index, last_term, commit_index, applied_index;
    uint64_t snapshot_index, snapshot_term;
    uint64_t configuration_index; /* of the Raft group */
    int64_t uptime_ms;
};

#define BACKEND_ADDRESS_BYTES 64

/* A server of the Raft group. */
struct backend_server {
    char id[UUID_TEXT_BYTES];
    char address[BACKEND_ADDRESS_BYTES]; /* of its RPC, "ip:port"; "" = not known */
    bool leader, voter;
};

/* Rows that are kept elsewhere than where they are written. */
struct backend_mirror {
    const struct catalog_view *view;
    int64_t age_ms; /* since they were surely so */
    bool own;       /* this agent's own registrations alone: their indexes are no server's */
};

struct backend {
    void *context;
    struct epoch *epoch;
    const struct catalog *catalog;
    const struct catalog *own; /* this agent's own registrations, without -server; NULL: a server */
    const struct local *local;
    const struct failover_source *failover; /* NULL: lookups stay at home */
    const struct backend_facts *facts;
    /* Published; valid inside an epoch section. */
    const struct backend_live *_Atomic live;
    /* The same of the pools; NULL: this agent is not in such a one. */
    const struct backend_pool *_Atomic lan, *_Atomic wan;
    const struct backend_events *_Atomic events; /* NULL: there was none */

    /* Any thread. Whether a leader is known, and since the start has ever been. */
    bool (*has_leader)(void *context);
    bool (*had_leader)(void *context);
    /* Any thread. A view taken now is current, without BACKEND_READ. */
    bool (*may_read)(void *context, bool consistent);
    /* Any thread. Milliseconds since the leader was last heard; 0 on the leader, -1: never. */
    int64_t (*contact_ms)(void *context);
    /* Any thread; never blocks. Full queues answer through done with ERR_OVERLOADED. */
    void (*submit)(void *context, struct backend_call *call);
    /* Core's thread: nobody waits for a FORWARD that was submitted; its done runs soon. */
    void (*cancel)(void *context, struct backend_call *call);
    void (*get_stats)(void *context, struct backend_stats *ret_stats);
    /* Returns their number. */
    uint32_t (*get_servers)(void *context, struct backend_server ret_servers[LIMIT_RAFT_SERVERS]);
    void (*get_pool_stats)(void *context, bool wan, struct backend_pool_stats *ret_stats);

    /* Any thread, inside an epoch section. The mirror of another datacenter; false: there is none,
     * or it is too old. NULL: no mirrors. */
    bool (*get_mirror)(void *context, const char *datacenter, struct backend_mirror *ret_mirror);
    /* The same of one service of this datacenter, on an agent without -server. A service that is
     * asked for is subscribed. service NULL: the rows of all that are. */
    bool (*get_subscribed)(void *context, const char *service, struct backend_mirror *ret_mirror);
    /* Any thread. Where the member of this name is, as far as this agent has asked it; false: it
     * does not know. Of the LAN pool only the own one is known. */
    bool (*find_coordinate)(void *context, bool wan, const char *member,
                            struct coordinate *ret_coordinate);

    struct metrics *metrics;
    bool prometheus; /* their Prometheus form is offered */
    /* Any thread, inside an epoch section: brings the gauges up to date. */
    void (*refresh_metrics)(void *context);
};

#endif
