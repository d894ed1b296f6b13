/* Rows and commands as protobuf bytes (proto/catalog.proto). The only user of protobuf-c in this
 * folder. Unknown fields of rows survive decoding and encoding. */
#ifndef CATALOG_CODEC_H
#define CATALOG_CODEC_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"
#include "catalog/command.h"
#include "catalog/types.h"

/* Adds or replaces a node and, on it, one service and checks. All pointers are borrowed. */
struct catalog_register {
    struct catalog_node node;
    bool skip_node_update;                 /* the node is only created when missing */
    const struct catalog_service *service; /* or NULL */
    const struct catalog_check *checks;
    uint32_t check_count;
};

/* Removes an instance, else a check, else the whole node. */
struct catalog_deregister {
    const char *node;
    const char *service_id;
    const char *check_id;
};

enum catalog_command_kind {
    COMMAND_REGISTER,
    COMMAND_DEREGISTER,
    COMMAND_KV,
    COMMAND_SESSION,     /* a new one */
    COMMAND_SESSION_END, /* destroyed, or its TTL has run out */
    COMMAND_TRANSACTION,
    COMMAND_REAP,           /* the leader's: old tombstones go */
    COMMAND_LOCK_DELAY_END, /* the leader's */
    COMMAND_AUTOPILOT,
    COMMAND_RESTORE,
    COMMAND_REMOVAL,
    COMMAND_REMOVAL_END, /* the leader's */
    COMMAND_COORDINATES,
    COMMAND_QUERY,
    COMMAND_FAILOVER
};

struct catalog_command {
    enum catalog_command_kind kind;
    union {
        struct catalog_register reg;
        struct catalog_deregister dereg;
        struct catalog_kv_operation kv;
        struct catalog_session session;
        const char *session_id; /* SESSION_END */
        struct catalog_transaction transaction;
        uint64_t reap_index;
        struct catalog_lock_delay_end lock_delay_end;
        struct catalog_set_autopilot set_autopilot;
        struct catalog_restore restore;
        struct catalog_removal removal;
        struct catalog_removal_end removal_end;
        struct catalog_set_coordinates coordinates;
        struct catalog_set_query set_query;
        struct catalog_set_failover set_failover;
    };
};

void codec_encode_command(const struct catalog_command *command, struct buf *out);
/* Strings of *ret_command live in the arena. ERR_CORRUPT: not a command; ERR_VERSION: a kind that
 * this program does not know. */
enum err codec_decode_command(const uint8_t *data, size_t size, struct arena *arena,
                              struct catalog_command *ret_command);

/* What a command answered, from server to server. */
void codec_encode_result(const struct catalog_result *result, struct buf *out);
/* ERR_CORRUPT, ERR_VERSION: *ret_result is as before; else the caller clears it. */
enum err codec_decode_result(const uint8_t *data, size_t size, struct catalog_result *ret_result);

/* Snapshot records: one at a time, without framing. */
enum codec_record_kind {
    RECORD_INDEXES,
    RECORD_NODE,
    RECORD_SERVICE,
    RECORD_CHECK,
    RECORD_SERVICE_INDEX,
    RECORD_NODE_INDEX,
    RECORD_KV,
    RECORD_SESSION,
    RECORD_TOMBSTONE,
    RECORD_LOCK_DELAY,
    RECORD_AUTOPILOT,
    RECORD_REMOVAL,
    RECORD_COORDINATE,
    RECORD_QUERY,
    RECORD_FAILOVER,
    RECORD_END
};

struct codec_indexes {
    uint64_t applied, nodes, services, checks, service_extinction, node_extinction, row_hash;
    uint64_t keys, tombstones; /* of the last write to a key; of the last deletion */
    uint64_t reaped;           /* newest tombstone that is gone */
    uint64_t sessions;
    uint64_t coordinates;
    uint64_t queries, failovers;
};

struct codec_record {
    enum codec_record_kind kind;
    union {
        struct codec_indexes indexes;
        struct catalog_node node;
        struct catalog_service service;
        struct catalog_check check;
        struct {
            const char *name;
            uint64_t index;
        } named;
        const struct catalog_kv *kv;
        struct catalog_session session;
        struct {
            const char *key;
            uint64_t index;
            bool tree;
        } tombstone;
        struct catalog_lock_delay lock_delay;
        struct catalog_autopilot autopilot;
        struct catalog_removal removal;
        struct catalog_coordinate coordinate;
        struct catalog_query query;
        struct catalog_failover failover;
        uint64_t end; /* records before this one */
    };
};

void codec_encode_record(const struct codec_record *record, struct buf *out);
enum err codec_decode_record(const uint8_t *data, size_t size, struct arena *arena,
                             struct codec_record *ret_record);

#endif
