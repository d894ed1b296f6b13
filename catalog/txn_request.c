/* The request of a transaction (contract, kv 3.1, 3.3 to 3.6). */
#include <string.h>

#include "base/base64.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "catalog/codec.h"
#include "catalog/definition_parts.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct kv_input {
    const char *verb, *key, *value, *session;
    uint64_t flags, index;
};

struct node_input {
    const char *id, *name, *address;
    struct str_map tagged_addresses, meta;
    struct locality *locality;
    uint64_t modify_index;
};

struct node_operation {
    const char *verb;
    struct node_input node;
};

struct service_operation {
    const char *verb, *node;
    struct service_input service;
};

struct check_operation {
    const char *verb;
    struct check_input check;
};

struct operation_input {
    struct kv_input *kv;
    struct node_operation *node;
    struct service_operation *service;
    struct check_operation *check;
};

#define KV_FIELD(member, name_, kind_) DECODE_FIELD(struct kv_input, member, name_, kind_)
#define NODE_FIELD(member, name_, kind_) DECODE_FIELD(struct node_input, member, name_, kind_)

static const struct decode_field kv_fields[] = {
    KV_FIELD(verb, "Verb", DECODE_STR),           KV_FIELD(key, "Key", DECODE_STR),
    KV_FIELD(value, "Value", DECODE_STR),         KV_FIELD(flags, "Flags", DECODE_U64),
    KV_FIELD(index, "Index", DECODE_U64),         KV_FIELD(session, "Session", DECODE_STR),
    {.name = "Namespace", .kind = DECODE_IGNORE}, {.name = "Partition", .kind = DECODE_IGNORE},
};

static const struct decode_field node_fields[] = {
    NODE_FIELD(id, "ID", DECODE_STR),
    NODE_FIELD(name, "Node", DECODE_STR),
    NODE_FIELD(address, "Address", DECODE_STR),
    NODE_FIELD(tagged_addresses, "TaggedAddresses", DECODE_STR_MAP),
    NODE_FIELD(meta, "Meta", DECODE_STR_MAP),
    {.name = "Locality",
     .kind = DECODE_OBJECT,
     .spec = &definition_locality_spec,
     .offset = offsetof(struct node_input, locality)},
    NODE_FIELD(modify_index, "ModifyIndex", DECODE_U64),
    {.name = "CreateIndex", .kind = DECODE_IGNORE},
    {.name = "Datacenter", .kind = DECODE_IGNORE},
    {.name = "Partition", .kind = DECODE_IGNORE},
    {.name = "PeerName", .kind = DECODE_IGNORE},
};

static const struct decode_spec kv_spec = {"KVTxnOp", sizeof(struct kv_input), kv_fields,
                                           COUNT(kv_fields), false};
static const struct decode_spec node_spec = {"Node", sizeof(struct node_input), node_fields,
                                             COUNT(node_fields), false};

static const struct decode_field node_operation_fields[] = {
    DECODE_FIELD(struct node_operation, verb, "Verb", DECODE_STR),
    {.name = "Node",
     .kind = DECODE_INLINE,
     .spec = &node_spec,
     .offset = offsetof(struct node_operation, node)},
};

static const struct decode_field service_operation_fields[] = {
    DECODE_FIELD(struct service_operation, verb, "Verb", DECODE_STR),
    DECODE_FIELD(struct service_operation, node, "Node", DECODE_STR),
    {.name = "Service",
     .kind = DECODE_INLINE,
     .spec = &definition_node_service_spec,
     .offset = offsetof(struct service_operation, service)},
};

static const struct decode_field check_operation_fields[] = {
    DECODE_FIELD(struct check_operation, verb, "Verb", DECODE_STR),
    {.name = "Check",
     .kind = DECODE_INLINE,
     .spec = &definition_health_check_spec,
     .offset = offsetof(struct check_operation, check)},
};

static const struct decode_spec node_operation_spec = {"NodeTxnOp", sizeof(struct node_operation),
                                                       node_operation_fields,
                                                       COUNT(node_operation_fields), false};
static const struct decode_spec service_operation_spec = {
    "ServiceTxnOp", sizeof(struct service_operation), service_operation_fields,
    COUNT(service_operation_fields), false};
static const struct decode_spec check_operation_spec = {
    "CheckTxnOp", sizeof(struct check_operation), check_operation_fields,
    COUNT(check_operation_fields), false};

#define OPERATION(member, name_, spec_)                                                            \
    {                                                                                              \
        .name = (name_), .kind = DECODE_OBJECT, .spec = (spec_),                                   \
        .offset = offsetof(struct operation_input, member)                                         \
    }

static const struct decode_field operation_fields[] = {
    OPERATION(kv, "KV", &kv_spec),
    OPERATION(node, "Node", &node_operation_spec),
    OPERATION(service, "Service", &service_operation_spec),
    OPERATION(check, "Check", &check_operation_spec),
};

static const struct decode_spec operation_spec = {"TxnOp", sizeof(struct operation_input),
                                                  operation_fields, COUNT(operation_fields), false};

/* ---- verbs ---- */

static int find_verb(const char *const *names, size_t count, const char *name) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(names[i], str_or_empty(name)) == 0) {
            return (int)i;
        }
    }
    return -1;
}

static const char *const kv_verbs[KV_VERB_COUNT] = {
    [KV_SET] = "set",
    [KV_CAS] = "cas",
    [KV_LOCK] = "lock",
    [KV_UNLOCK] = "unlock",
    [KV_DELETE] = "delete",
    [KV_DELETE_CAS] = "delete-cas",
    [KV_DELETE_TREE] = "delete-tree",
    [KV_GET] = "get",
    [KV_GET_OR_EMPTY] = "get-or-empty",
    [KV_GET_TREE] = "get-tree",
    [KV_CHECK_INDEX] = "check-index",
    [KV_CHECK_SESSION] = "check-session",
    [KV_CHECK_NOT_EXISTS] = "check-not-exists",
};

static const char *const row_verbs[ROW_VERB_COUNT] = {[ROW_GET] = "get",
                                                      [ROW_SET] = "set",
                                                      [ROW_CAS] = "cas",
                                                      [ROW_DELETE] = "delete",
                                                      [ROW_DELETE_CAS] = "delete-cas"};

struct taking {
    struct arena *arena;
    uint64_t value_bytes_max;
    struct catalog_result *failures;
    struct err_text *text;
    uint32_t at; /* of the operation */
};

static void take_verb(const struct taking *t, const char *what, const char *verb,
                      struct catalog_operation *out) {
    int found = find_verb(row_verbs, ROW_VERB_COUNT, verb);
    if (found < 0) {
        catalog_result_fail(t->failures, t->at, "unknown %s operation: %.64s", what,
                            str_or_empty(verb));
    }
    out->verb = found < 0 ? ROW_GET : (enum catalog_row_verb)found;
}

/* ---- operations ---- */

static enum err take_kv(const struct taking *t, const struct kv_input *in,
                        struct catalog_operation *out) {
    int verb = find_verb(kv_verbs, KV_VERB_COUNT, in->verb);
    const uint8_t *data = NULL;
    size_t size = 0;
    out->kind = ROW_KV;
    out->kv =
        (struct catalog_kv_operation){.verb = verb < 0 ? KV_GET_TREE : (enum catalog_kv_verb)verb,
                                      .key = str_or_empty(in->key),
                                      .flags = in->flags,
                                      .index = in->index,
                                      .session = str_or_empty(in->session)};
    if (base64_decode(str_or_empty(in->value), t->arena, &data, &size, t->text) != ERR_OK) {
        err_prefix(t->text, "Failed to parse body");
        return ERR_INVALID;
    }
    if (size > t->value_bytes_max) {
        return err_set(t->text, ERR_TOO_LARGE,
                       "Value for key \"%.300s\" is too large (%zu > %llu "
                       "bytes)",
                       out->kv.key, size, (unsigned long long)t->value_bytes_max);
    }
    out->kv.value = (struct catalog_bytes){data, (uint32_t)size};
    if (*out->kv.key == '\0' && out->kv.verb != KV_DELETE_TREE) {
        catalog_result_fail(t->failures, t->at, "Must provide key");
    } else if (verb < 0) {
        catalog_result_fail(t->failures, t->at, "unknown KV operation: %.64s",
                            str_or_empty(in->verb));
    } else if (strlen(out->kv.key) > LIMIT_KV_KEY_BYTES) {
        catalog_result_fail(t->failures, t->at, "a key is longer than %d bytes",
                            LIMIT_KV_KEY_BYTES);
    }
    return ERR_OK;
}

static const char *lower(const struct taking *t, const char *s) {
    char *copy = arena_alloc(t->arena, strlen(s) + 1);
    str_lower(copy, strlen(s) + 1, s);
    return copy;
}

static void take_node(const struct taking *t, const struct node_operation *op,
                      struct catalog_operation *out) {
    const struct node_input *in = &op->node;
    struct err_text text = {""};
    struct uuid uuid;
    out->kind = ROW_NODE;
    take_verb(t, "node", op->verb, out);
    out->node = (struct catalog_node){
        .id = lower(t, str_or_empty(in->id)),
        .name = str_or_empty(in->name),
        .address = str_or_empty(in->address),
        .tagged_addresses = in->tagged_addresses,
        .meta = in->meta,
        .region = in->locality != NULL ? str_or_empty(in->locality->region) : "",
        .zone = in->locality != NULL ? str_or_empty(in->locality->zone) : "",
        .modify_index = in->modify_index};
    if (*out->node.name == '\0' && !(out->verb == ROW_GET && *out->node.id != '\0')) {
        catalog_result_fail(t->failures, t->at, "Must provide node");
    } else if (*out->node.id != '\0' && !uuid_parse(out->node.id, &uuid)) {
        catalog_result_fail(t->failures, t->at,
                            "Bad node ID: uuid string is wrong length or not hexadecimal: %.64s",
                            out->node.id);
    } else if (definition_check_meta(&in->meta, &text) != ERR_OK) {
        catalog_result_fail(t->failures, t->at, "%s", text.s);
    }
}

static void take_service(const struct taking *t, const struct service_operation *op,
                         struct catalog_operation *out) {
    struct err_text text = {""};
    out->kind = ROW_SERVICE;
    take_verb(t, "service", op->verb, out);
    out->service = definition_take_service(&op->service, t->arena);
    if (out->verb != ROW_GET &&
        definition_take_node_service(&op->service, str_or_empty(op->node), t->arena, &out->service,
                                     &text) != ERR_OK) {
        catalog_result_fail(t->failures, t->at, "%s", text.s);
    }
    out->service.node = str_or_empty(op->node);
    out->service.modify_index = op->service.modify_index;
}

static void take_check(const struct taking *t, const struct check_operation *op,
                       struct catalog_operation *out) {
    struct err_text text = {""};
    const char *node = str_or_empty(op->check.node);
    out->kind = ROW_CHECK;
    take_verb(t, "check", op->verb, out);
    if (definition_take_health_check(&op->check, node, t->arena, &out->check, &text) != ERR_OK) {
        catalog_result_fail(t->failures, t->at, "%s", text.s);
    }
    out->check.node = node;
    out->check.modify_index = op->check.modify_index;
}

enum err definition_parse_transaction(const char *json, size_t size, uint64_t value_bytes_max,
                                      struct arena *arena, struct catalog_transaction *ret_txn,
                                      struct catalog_result *failures, struct err_text *text) {
    struct decode_objects list = {0};
    struct taking t = {arena, value_bytes_max, failures, text, 0};
    if (decode_json_list(&operation_spec, json, size, arena, &list, text) != ERR_OK) {
        err_prefix(text, "Failed to parse body");
        return ERR_INVALID;
    }
    if (list.count > LIMIT_TXN_OPS) {
        return err_set(text, ERR_TOO_LARGE, "Transaction contains too many operations (%u > %d)",
                       list.count, LIMIT_TXN_OPS);
    }
    struct catalog_operation *out = arena_alloc(arena, (list.count + 1) * sizeof *out);
    const struct operation_input *in = list.v;
    enum err err = ERR_OK;
    for (uint32_t i = 0; err == ERR_OK && i < list.count; i++) {
        struct catalog_operation *op = &out[t.at];
        memset(op, 0, sizeof *op);
        if (in[i].kv != NULL) {
            err = take_kv(&t, in[i].kv, op);
        } else if (in[i].node != NULL) {
            take_node(&t, in[i].node, op);
        } else if (in[i].service != NULL) {
            take_service(&t, in[i].service, op);
        } else if (in[i].check != NULL) {
            take_check(&t, in[i].check, op);
        } else {
            continue; /* dropped, and not counted */
        }
        t.at++;
    }
    *ret_txn = (struct catalog_transaction){out, t.at};
    return err;
}
