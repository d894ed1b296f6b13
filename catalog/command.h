/* The commands of keys, sessions and transactions, as they are parsed, put into the log and
 * applied. All pointers are borrowed. */
#ifndef CATALOG_COMMAND_H
#define CATALOG_COMMAND_H

#include "catalog/types.h"

/* In the log: never renumber. */
enum catalog_kv_verb {
    KV_SET = 0,
    KV_CAS = 1,
    KV_LOCK = 2,
    KV_UNLOCK = 3,
    KV_DELETE = 4,
    KV_DELETE_CAS = 5,
    KV_DELETE_TREE = 6,
    /* of transactions alone */
    KV_GET = 7,
    KV_GET_OR_EMPTY = 8,
    KV_GET_TREE = 9,
    KV_CHECK_INDEX = 10,
    KV_CHECK_SESSION = 11,
    KV_CHECK_NOT_EXISTS = 12,
    KV_VERB_COUNT
};

struct catalog_kv_operation {
    enum catalog_kv_verb verb;
    const char *key; /* or the prefix of a tree */
    struct catalog_bytes value;
    uint64_t flags;
    uint64_t index; /* to compare with */
    const char *session;
};

/* In the log: never renumber. */
enum catalog_row_verb {
    ROW_GET = 0,
    ROW_SET = 1,
    ROW_CAS = 2,
    ROW_DELETE = 3,
    ROW_DELETE_CAS = 4,
    ROW_VERB_COUNT
};

enum catalog_row_kind { ROW_KV, ROW_NODE, ROW_SERVICE, ROW_CHECK };

struct catalog_operation {
    enum catalog_row_kind kind;
    enum catalog_row_verb verb; /* of all but keys; the row's modify_index is compared */
    union {
        struct catalog_kv_operation kv;
        struct catalog_node node;
        struct catalog_service service;
        struct catalog_check check;
    };
};

struct catalog_transaction {
    const struct catalog_operation *operations;
    uint32_t count;
};

/* In the log: never renumber. */
enum catalog_query_verb { QUERY_CREATE = 0, QUERY_UPDATE = 1, QUERY_DELETE = 2, QUERY_VERB_COUNT };

struct catalog_set_query {
    enum catalog_query_verb verb;
    struct catalog_query query; /* of a deletion the id alone */
};

struct catalog_set_failover {
    bool remove; /* by the service alone */
    struct catalog_failover policy;
};

struct catalog_lock_delay_end {
    const struct catalog_lock_delay *delays;
    uint32_t count;
};

struct catalog_set_autopilot {
    struct catalog_autopilot autopilot;
    bool cas;
    uint64_t index; /* of a cas: must be the modify_index */
};

/* Of removals that have had their time: id and modify_index, which must still be that. */
struct catalog_removal_end {
    const struct catalog_removal *removals;
    uint32_t count;
};

/* Of nodes that are there; others are left out. */
struct catalog_set_coordinates {
    const struct catalog_coordinate *rows;
    uint32_t count;
};

/* Everything is replaced by a snapshot's records, which come in several commands: what they bring
 * is kept aside until the last one puts it in place. In the log: never renumber. */
enum catalog_restore_phase { RESTORE_BEGIN = 0, RESTORE_RECORDS = 1, RESTORE_END = 2 };

struct catalog_restore {
    enum catalog_restore_phase phase;
    const char *id;               /* of this restore, made by who asks for it */
    uint64_t part;                /* counts the commands of it, from 0 */
    struct catalog_bytes records; /* framed as in a snapshot */
};

/* What a command answers beside its error; the owner clears it. */
struct catalog_result {
    bool unchanged;       /* of a key: the condition did not hold */
    uint64_t fence_index; /* of a lock that was granted: grows from grant to grant */
    struct catalog_answer {
        enum catalog_row_kind kind;
        bool with_value; /* of a key */
        void *row;       /* a copy from malloc */
    } * answers;
    uint32_t answer_count, answer_capacity;
    struct catalog_failure {
        uint32_t operation;
        char *sentence;
    } * failures; /* of a transaction: nothing was changed */
    uint32_t failure_count, failure_capacity;
};

/* Notes one more; the sentence is made from a format. */
void catalog_result_fail(struct catalog_result *result, uint32_t operation, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* Leaves it empty. */
void catalog_result_clear(struct catalog_result *result);

#endif
