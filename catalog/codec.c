#include "catalog/codec.h"

#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "catalog/codec_parts.h"
#include "catalog/codec_unknown.h"
#include "catalog/row.h"
#include "proto/catalog.pb-c.h"

/* ---- protobuf-c on an arena ---- */

static void *allocate(void *context, size_t size) {
    return arena_alloc(context, size);
}

static void release(void *context, void *block) {
    (void)context;
    (void)block;
}

static void pack(const ProtobufCMessage *message, struct buf *out) {
    size_t size = protobuf_c_message_get_packed_size(message);
    char *to = buf_reserve(out, size);
    if (to != NULL) {
        out->count += protobuf_c_message_pack(message, (uint8_t *)to);
    }
}

/* ---- shared shapes ---- */

static Pb__Locality *put_locality(const char *region, const char *zone, struct arena *arena) {
    if (*region == '\0') {
        return NULL;
    }
    Pb__Locality *locality = arena_alloc(arena, sizeof *locality);
    pb__locality__init(locality);
    locality->region = writable(region);
    locality->zone = writable(zone);
    return locality;
}

/* ---- rows ---- */

static Pb__Node *put_node(const struct catalog_node *node, struct arena *arena) {
    Pb__Node *pb = arena_alloc(arena, sizeof *pb);
    pb__node__init(pb);
    pb->id = writable(node->id);
    pb->name = writable(node->name);
    pb->address = writable(node->address);
    pb->tagged_addresses = put_map(&node->tagged_addresses, arena);
    pb->n_tagged_addresses = node->tagged_addresses.count;
    pb->tagged_addresses_present = node->tagged_addresses.present;
    pb->meta = put_map(&node->meta, arena);
    pb->n_meta = node->meta.count;
    pb->meta_present = node->meta.present;
    pb->locality = put_locality(node->region, node->zone, arena);
    pb->create_index = node->create_index;
    pb->modify_index = node->modify_index;
    codec_give_unknown(&pb->base, &node->unknown, arena);
    return pb;
}

static struct catalog_node get_node(const Pb__Node *pb, struct arena *arena) {
    return (struct catalog_node){
        .id = pb->id,
        .name = pb->name,
        .address = pb->address,
        .tagged_addresses = get_map(pb->tagged_addresses, pb->n_tagged_addresses,
                                    pb->tagged_addresses_present, arena),
        .meta = get_map(pb->meta, pb->n_meta, pb->meta_present, arena),
        .region = pb->locality != NULL ? pb->locality->region : "",
        .zone = pb->locality != NULL ? pb->locality->zone : "",
        .create_index = pb->create_index,
        .modify_index = pb->modify_index,
        .unknown = codec_take_unknown(&pb->base, arena),
    };
}

static Pb__TaggedAddress **put_tagged(const struct catalog_service *service, struct arena *arena) {
    uint32_t count = service->tagged_address_count;
    Pb__TaggedAddress **all = arena_alloc(arena, (count + 1) * sizeof *all);
    for (uint32_t i = 0; i < count; i++) {
        all[i] = arena_alloc(arena, sizeof **all);
        pb__tagged_address__init(all[i]);
        all[i]->name = writable(service->tagged_addresses[i].name);
        all[i]->address = writable(service->tagged_addresses[i].address);
        all[i]->port = service->tagged_addresses[i].port;
    }
    return all;
}

static Pb__Service *put_service(const struct catalog_service *service, struct arena *arena) {
    Pb__Service *pb = arena_alloc(arena, sizeof *pb);
    pb__service__init(pb);
    pb->node = writable(service->node);
    pb->id = writable(service->id);
    pb->name = writable(service->name);
    pb->tags = (char **)(uintptr_t)service->tags.v;
    pb->n_tags = service->tags.count;
    pb->address = writable(service->address);
    pb->port = service->port;
    pb->socket_path = writable(service->socket_path);
    pb->tagged_addresses = put_tagged(service, arena);
    pb->n_tagged_addresses = service->tagged_address_count;
    pb->meta = put_map(&service->meta, arena);
    pb->n_meta = service->meta.count;
    pb->meta_present = service->meta.present;
    pb->weight_passing = service->weight_passing;
    pb->weight_warning = service->weight_warning;
    pb->enable_tag_override = service->enable_tag_override;
    pb->kind = writable(service->kind);
    pb->locality = put_locality(service->region, service->zone, arena);
    pb->proxy = writable(service->proxy);
    pb->connect = writable(service->connect);
    pb->create_index = service->create_index;
    pb->modify_index = service->modify_index;
    codec_give_unknown(&pb->base, &service->unknown, arena);
    return pb;
}

static struct catalog_service get_service(const Pb__Service *pb, struct arena *arena) {
    struct catalog_tagged_address *tagged =
        arena_alloc(arena, (pb->n_tagged_addresses + 1) * sizeof *tagged);
    for (size_t i = 0; i < pb->n_tagged_addresses; i++) {
        tagged[i] = (struct catalog_tagged_address){.name = pb->tagged_addresses[i]->name,
                                                    .address = pb->tagged_addresses[i]->address,
                                                    .port = pb->tagged_addresses[i]->port};
    }
    return (struct catalog_service){
        .node = pb->node,
        .id = pb->id,
        .name = pb->name,
        .tags = get_list(pb->tags, pb->n_tags, arena),
        .address = pb->address,
        .port = pb->port,
        .socket_path = pb->socket_path,
        .tagged_addresses = tagged,
        .tagged_address_count = (uint32_t)pb->n_tagged_addresses,
        .meta = get_map(pb->meta, pb->n_meta, pb->meta_present, arena),
        .weight_passing = pb->weight_passing,
        .weight_warning = pb->weight_warning,
        .enable_tag_override = pb->enable_tag_override,
        .kind = pb->kind,
        .region = pb->locality != NULL ? pb->locality->region : "",
        .zone = pb->locality != NULL ? pb->locality->zone : "",
        .proxy = pb->proxy,
        .connect = pb->connect,
        .create_index = pb->create_index,
        .modify_index = pb->modify_index,
        .unknown = codec_take_unknown(&pb->base, arena),
    };
}

static Pb__Check *put_check(const struct catalog_check *check, struct arena *arena) {
    Pb__Check *pb = arena_alloc(arena, sizeof *pb);
    pb__check__init(pb);
    pb->node = writable(check->node);
    pb->id = writable(check->id);
    pb->name = writable(check->name);
    pb->status = writable(check->status);
    pb->notes = writable(check->notes);
    pb->output = writable(check->output);
    pb->service_id = writable(check->service_id);
    pb->service_name = writable(check->service_name);
    pb->service_tags = (char **)(uintptr_t)check->service_tags.v;
    pb->n_service_tags = check->service_tags.count;
    pb->type = writable(check->type);
    pb->interval = writable(check->interval);
    pb->timeout = writable(check->timeout);
    pb->definition = writable(check->definition);
    pb->create_index = check->create_index;
    pb->modify_index = check->modify_index;
    codec_give_unknown(&pb->base, &check->unknown, arena);
    return pb;
}

static struct catalog_check get_check(const Pb__Check *pb, struct arena *arena) {
    return (struct catalog_check){
        .node = pb->node,
        .id = pb->id,
        .name = pb->name,
        .status = pb->status,
        .notes = pb->notes,
        .output = pb->output,
        .service_id = pb->service_id,
        .service_name = pb->service_name,
        .service_tags = get_list(pb->service_tags, pb->n_service_tags, arena),
        .type = pb->type,
        .interval = pb->interval,
        .timeout = pb->timeout,
        .definition = pb->definition,
        .create_index = pb->create_index,
        .modify_index = pb->modify_index,
        .unknown = codec_take_unknown(&pb->base, arena),
    };
}

/* ---- keys and sessions ---- */

static ProtobufCBinaryData put_bytes(const void *data, size_t size) {
    return (ProtobufCBinaryData){.len = size, .data = (uint8_t *)(uintptr_t)data};
}

static struct catalog_bytes get_bytes(const ProtobufCBinaryData *bytes) {
    return (struct catalog_bytes){.data = bytes->data, .size = (uint32_t)bytes->len};
}

static void put_kv(const struct catalog_kv *kv, Pb__KeyValue *pb) {
    pb__key_value__init(pb);
    pb->key = writable(catalog_kv_key(kv));
    pb->value = put_bytes(catalog_kv_value(kv), kv->value_size);
    pb->flags = kv->flags;
    pb->session = writable(catalog_kv_session(kv));
    pb->lock_index = kv->lock_index;
    pb->create_index = kv->create_index;
    pb->modify_index = kv->modify_index;
}

static const struct catalog_kv *get_kv(const Pb__KeyValue *pb, struct arena *arena) {
    size_t size = row_kv_bytes(strlen(pb->key), strlen(pb->session), pb->value.len);
    struct catalog_kv *kv = arena_alloc(arena, size);
    row_fill_kv(kv, pb->key, pb->session, pb->value.data, pb->value.len);
    kv->flags = pb->flags;
    kv->lock_index = pb->lock_index;
    kv->create_index = pb->create_index;
    kv->modify_index = pb->modify_index;
    return kv;
}

static void put_kv_operation(const struct catalog_kv_operation *op, Pb__KeyOperation *pb) {
    pb__key_operation__init(pb);
    pb->verb = (uint32_t)op->verb;
    pb->key = writable(op->key);
    pb->value = put_bytes(op->value.data, op->value.size);
    pb->flags = op->flags;
    pb->index = op->index;
    pb->session = writable(op->session);
}

static struct catalog_kv_operation get_kv_operation(const Pb__KeyOperation *pb) {
    return (struct catalog_kv_operation){.verb = (enum catalog_kv_verb)pb->verb,
                                         .key = pb->key,
                                         .value = get_bytes(&pb->value),
                                         .flags = pb->flags,
                                         .index = pb->index,
                                         .session = pb->session};
}

static Pb__LockDelay *put_lock_delay(const struct catalog_lock_delay *delay, struct arena *arena) {
    Pb__LockDelay *pb = arena_alloc(arena, sizeof *pb);
    pb__lock_delay__init(pb);
    pb->key = writable(delay->key);
    pb->index = delay->index;
    pb->delay_ms = delay->delay_ms;
    return pb;
}

static struct catalog_lock_delay get_lock_delay(const Pb__LockDelay *pb) {
    return (struct catalog_lock_delay){pb->key, pb->index, pb->delay_ms};
}

static void put_autopilot(const struct catalog_autopilot *autopilot, Pb__Autopilot *pb) {
    pb__autopilot__init(pb);
    pb->cleanup_dead_servers = autopilot->cleanup_dead_servers;
    pb->last_contact_ns = autopilot->last_contact_ns;
    pb->stabilization_ns = autopilot->stabilization_ns;
    pb->max_trailing_logs = autopilot->max_trailing_logs;
    pb->min_quorum = autopilot->min_quorum;
    pb->create_index = autopilot->create_index;
    pb->modify_index = autopilot->modify_index;
}

static struct catalog_autopilot get_autopilot(const Pb__Autopilot *pb) {
    return (struct catalog_autopilot){
        pb->cleanup_dead_servers, pb->last_contact_ns, pb->stabilization_ns, pb->max_trailing_logs,
        pb->min_quorum,           pb->create_index,    pb->modify_index};
}

/* ---- transactions ---- */

static Pb__Operation *put_operation(const struct catalog_operation *op, struct arena *arena) {
    Pb__Operation *pb = arena_alloc(arena, sizeof *pb);
    pb__operation__init(pb);
    pb->verb = (uint32_t)op->verb;
    switch (op->kind) {
    case ROW_KV:
        pb->kind_case = PB__OPERATION__KIND_KEY;
        pb->key = arena_alloc(arena, sizeof *pb->key);
        put_kv_operation(&op->kv, pb->key);
        break;
    case ROW_NODE:
        pb->kind_case = PB__OPERATION__KIND_NODE;
        pb->node = put_node(&op->node, arena);
        break;
    case ROW_SERVICE:
        pb->kind_case = PB__OPERATION__KIND_SERVICE;
        pb->service = put_service(&op->service, arena);
        break;
    case ROW_CHECK:
        pb->kind_case = PB__OPERATION__KIND_CHECK;
        pb->check = put_check(&op->check, arena);
        break;
    }
    return pb;
}

static enum err get_operation(const Pb__Operation *pb, struct arena *arena,
                              struct catalog_operation *ret_op) {
    *ret_op = (struct catalog_operation){.verb = (enum catalog_row_verb)pb->verb};
    switch (pb->kind_case) {
    case PB__OPERATION__KIND_KEY:
        ret_op->kind = ROW_KV;
        ret_op->kv = get_kv_operation(pb->key);
        return pb->key->verb < KV_VERB_COUNT ? ERR_OK : ERR_VERSION;
    case PB__OPERATION__KIND_NODE:
        ret_op->kind = ROW_NODE;
        ret_op->node = get_node(pb->node, arena);
        break;
    case PB__OPERATION__KIND_SERVICE:
        ret_op->kind = ROW_SERVICE;
        ret_op->service = get_service(pb->service, arena);
        break;
    case PB__OPERATION__KIND_CHECK:
        ret_op->kind = ROW_CHECK;
        ret_op->check = get_check(pb->check, arena);
        break;
    default:
        return ERR_VERSION;
    }
    return pb->verb < ROW_VERB_COUNT ? ERR_OK : ERR_VERSION;
}

static Pb__Transaction *put_transaction(const struct catalog_transaction *txn,
                                        struct arena *arena) {
    Pb__Transaction *pb = arena_alloc(arena, sizeof *pb);
    pb__transaction__init(pb);
    pb->n_operations = txn->count;
    pb->operations = arena_alloc(arena, (txn->count + 1) * sizeof *pb->operations);
    for (uint32_t i = 0; i < txn->count; i++) {
        pb->operations[i] = put_operation(&txn->operations[i], arena);
    }
    return pb;
}

static enum err get_transaction(const Pb__Transaction *pb, struct arena *arena,
                                struct catalog_transaction *ret_txn) {
    struct catalog_operation *ops = arena_alloc(arena, (pb->n_operations + 1) * sizeof *ops);
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < pb->n_operations; i++) {
        err = get_operation(pb->operations[i], arena, &ops[i]);
    }
    *ret_txn = (struct catalog_transaction){ops, (uint32_t)pb->n_operations};
    return err;
}

/* ---- commands ---- */

static Pb__LockDelayEnd *put_lock_delay_end(const struct catalog_lock_delay_end *end,
                                            struct arena *arena) {
    Pb__LockDelayEnd *pb = arena_alloc(arena, sizeof *pb);
    pb__lock_delay_end__init(pb);
    pb->n_delays = end->count;
    pb->delays = arena_alloc(arena, (end->count + 1) * sizeof *pb->delays);
    for (uint32_t i = 0; i < end->count; i++) {
        pb->delays[i] = put_lock_delay(&end->delays[i], arena);
    }
    return pb;
}

static struct catalog_lock_delay_end get_lock_delay_end(const Pb__LockDelayEnd *pb,
                                                        struct arena *arena) {
    struct catalog_lock_delay *delays = arena_alloc(arena, (pb->n_delays + 1) * sizeof *delays);
    for (size_t i = 0; i < pb->n_delays; i++) {
        delays[i] = get_lock_delay(pb->delays[i]);
    }
    return (struct catalog_lock_delay_end){delays, (uint32_t)pb->n_delays};
}

static Pb__Register *put_register(const struct catalog_register *reg, struct arena *arena) {
    Pb__Register *pb = arena_alloc(arena, sizeof *pb);
    pb__register__init(pb);
    pb->node = put_node(&reg->node, arena);
    pb->skip_node_update = reg->skip_node_update;
    pb->service = reg->service != NULL ? put_service(reg->service, arena) : NULL;
    pb->checks = arena_alloc(arena, (reg->check_count + 1) * sizeof *pb->checks);
    pb->n_checks = reg->check_count;
    for (uint32_t i = 0; i < reg->check_count; i++) {
        pb->checks[i] = put_check(&reg->checks[i], arena);
    }
    return pb;
}

void codec_encode_command(const struct catalog_command *command, struct buf *out) {
    struct arena arena;
    arena_init(&arena);
    Pb__Command pb = PB__COMMAND__INIT;
    Pb__Deregister dereg = PB__DEREGISTER__INIT;
    Pb__KeyOperation key;
    Pb__SessionEnd session_end = PB__SESSION_END__INIT;
    Pb__Reap reap = PB__REAP__INIT;
    Pb__Autopilot autopilot;
    Pb__SetAutopilot set_autopilot = PB__SET_AUTOPILOT__INIT;
    Pb__Restore restore = PB__RESTORE__INIT;
    switch (command->kind) {
    case COMMAND_REGISTER:
        pb.kind_case = PB__COMMAND__KIND_REGISTRATION;
        pb.registration = put_register(&command->reg, &arena);
        break;
    case COMMAND_DEREGISTER:
        dereg.node = writable(command->dereg.node);
        dereg.service_id = writable(command->dereg.service_id);
        dereg.check_id = writable(command->dereg.check_id);
        pb.kind_case = PB__COMMAND__KIND_DEREGISTRATION;
        pb.deregistration = &dereg;
        break;
    case COMMAND_KV:
        put_kv_operation(&command->kv, &key);
        pb.kind_case = PB__COMMAND__KIND_KEY;
        pb.key = &key;
        break;
    case COMMAND_SESSION:
        pb.kind_case = PB__COMMAND__KIND_SESSION;
        pb.session = codec_put_session(&command->session, &arena);
        break;
    case COMMAND_SESSION_END:
        session_end.id = writable(command->session_id);
        pb.kind_case = PB__COMMAND__KIND_SESSION_END;
        pb.session_end = &session_end;
        break;
    case COMMAND_TRANSACTION:
        pb.kind_case = PB__COMMAND__KIND_TRANSACTION;
        pb.transaction = put_transaction(&command->transaction, &arena);
        break;
    case COMMAND_REAP:
        reap.index = command->reap_index;
        pb.kind_case = PB__COMMAND__KIND_REAP;
        pb.reap = &reap;
        break;
    case COMMAND_LOCK_DELAY_END:
        pb.kind_case = PB__COMMAND__KIND_LOCK_DELAY_END;
        pb.lock_delay_end = put_lock_delay_end(&command->lock_delay_end, &arena);
        break;
    case COMMAND_AUTOPILOT:
        put_autopilot(&command->set_autopilot.autopilot, &autopilot);
        set_autopilot.autopilot = &autopilot;
        set_autopilot.cas = command->set_autopilot.cas;
        set_autopilot.index = command->set_autopilot.index;
        pb.kind_case = PB__COMMAND__KIND_SET_AUTOPILOT;
        pb.set_autopilot = &set_autopilot;
        break;
    case COMMAND_RESTORE:
        restore.phase = (uint32_t)command->restore.phase;
        restore.id = writable(command->restore.id);
        restore.part = command->restore.part;
        restore.records = put_bytes(command->restore.records.data, command->restore.records.size);
        pb.kind_case = PB__COMMAND__KIND_RESTORE;
        pb.restore = &restore;
        break;
    case COMMAND_REMOVAL:
        pb.kind_case = PB__COMMAND__KIND_REMOVAL;
        pb.removal = codec_put_removal(&command->removal, &arena);
        break;
    case COMMAND_REMOVAL_END:
        pb.kind_case = PB__COMMAND__KIND_REMOVAL_END;
        pb.removal_end = codec_put_removal_end(&command->removal_end, &arena);
        break;
    case COMMAND_COORDINATES:
        pb.kind_case = PB__COMMAND__KIND_SET_COORDINATES;
        pb.set_coordinates = codec_put_coordinates(&command->coordinates, &arena);
        break;
    case COMMAND_QUERY:
        pb.kind_case = PB__COMMAND__KIND_SET_QUERY;
        pb.set_query = codec_put_set_query(&command->set_query, &arena);
        break;
    case COMMAND_FAILOVER:
        pb.kind_case = PB__COMMAND__KIND_SET_FAILOVER;
        pb.set_failover = codec_put_set_failover(&command->set_failover, &arena);
        break;
    }
    pack(&pb.base, out);
    arena_clear(&arena);
}

static struct catalog_register get_register(const Pb__Register *pb, struct arena *arena) {
    struct catalog_register reg = {.skip_node_update = pb->skip_node_update,
                                   .check_count = (uint32_t)pb->n_checks};
    if (pb->node != NULL) {
        reg.node = get_node(pb->node, arena);
    }
    if (pb->service != NULL) {
        struct catalog_service *service = arena_alloc(arena, sizeof *service);
        *service = get_service(pb->service, arena);
        reg.service = service;
    }
    struct catalog_check *checks = arena_alloc(arena, (pb->n_checks + 1) * sizeof *checks);
    for (size_t i = 0; i < pb->n_checks; i++) {
        checks[i] = get_check(pb->checks[i], arena);
    }
    reg.checks = checks;
    return reg;
}

enum err codec_decode_command(const uint8_t *data, size_t size, struct arena *arena,
                              struct catalog_command *ret_command) {
    ProtobufCAllocator allocator = {allocate, release, arena};
    Pb__Command *pb = pb__command__unpack(&allocator, size, data);
    if (pb == NULL) {
        return ERR_CORRUPT;
    }
    switch (pb->kind_case) {
    case PB__COMMAND__KIND_REGISTRATION:
        if (pb->registration->node == NULL) {
            return ERR_CORRUPT;
        }
        ret_command->kind = COMMAND_REGISTER;
        ret_command->reg = get_register(pb->registration, arena);
        return ERR_OK;
    case PB__COMMAND__KIND_DEREGISTRATION:
        ret_command->kind = COMMAND_DEREGISTER;
        ret_command->dereg =
            (struct catalog_deregister){.node = pb->deregistration->node,
                                        .service_id = pb->deregistration->service_id,
                                        .check_id = pb->deregistration->check_id};
        return ERR_OK;
    case PB__COMMAND__KIND_KEY:
        ret_command->kind = COMMAND_KV;
        ret_command->kv = get_kv_operation(pb->key);
        return pb->key->verb <= KV_DELETE_TREE ? ERR_OK : ERR_VERSION;
    case PB__COMMAND__KIND_SESSION:
        ret_command->kind = COMMAND_SESSION;
        ret_command->session = codec_get_session(pb->session, arena);
        return ERR_OK;
    case PB__COMMAND__KIND_SESSION_END:
        ret_command->kind = COMMAND_SESSION_END;
        ret_command->session_id = pb->session_end->id;
        return ERR_OK;
    case PB__COMMAND__KIND_TRANSACTION:
        ret_command->kind = COMMAND_TRANSACTION;
        return get_transaction(pb->transaction, arena, &ret_command->transaction);
    case PB__COMMAND__KIND_REAP:
        ret_command->kind = COMMAND_REAP;
        ret_command->reap_index = pb->reap->index;
        return ERR_OK;
    case PB__COMMAND__KIND_LOCK_DELAY_END:
        ret_command->kind = COMMAND_LOCK_DELAY_END;
        ret_command->lock_delay_end = get_lock_delay_end(pb->lock_delay_end, arena);
        return ERR_OK;
    case PB__COMMAND__KIND_SET_AUTOPILOT:
        if (pb->set_autopilot->autopilot == NULL) {
            return ERR_CORRUPT;
        }
        ret_command->kind = COMMAND_AUTOPILOT;
        ret_command->set_autopilot =
            (struct catalog_set_autopilot){.autopilot = get_autopilot(pb->set_autopilot->autopilot),
                                           .cas = pb->set_autopilot->cas,
                                           .index = pb->set_autopilot->index};
        return ERR_OK;
    case PB__COMMAND__KIND_RESTORE:
        ret_command->kind = COMMAND_RESTORE;
        ret_command->restore =
            (struct catalog_restore){.phase = (enum catalog_restore_phase)pb->restore->phase,
                                     .id = pb->restore->id,
                                     .part = pb->restore->part,
                                     .records = get_bytes(&pb->restore->records)};
        return pb->restore->phase <= RESTORE_END ? ERR_OK : ERR_VERSION;
    case PB__COMMAND__KIND_REMOVAL:
        ret_command->kind = COMMAND_REMOVAL;
        ret_command->removal = codec_get_removal(pb->removal);
        return ERR_OK;
    case PB__COMMAND__KIND_REMOVAL_END:
        ret_command->kind = COMMAND_REMOVAL_END;
        ret_command->removal_end = codec_get_removal_end(pb->removal_end, arena);
        return ERR_OK;
    case PB__COMMAND__KIND_SET_COORDINATES:
        ret_command->kind = COMMAND_COORDINATES;
        ret_command->coordinates = codec_get_coordinates(pb->set_coordinates, arena);
        return ERR_OK;
    case PB__COMMAND__KIND_SET_QUERY:
        ret_command->kind = COMMAND_QUERY;
        return codec_get_set_query(pb->set_query, arena, &ret_command->set_query);
    case PB__COMMAND__KIND_SET_FAILOVER:
        ret_command->kind = COMMAND_FAILOVER;
        return codec_get_set_failover(pb->set_failover, arena, &ret_command->set_failover);
    default:
        return ERR_VERSION;
    }
}

/* ---- snapshot records ---- */

void codec_encode_record(const struct codec_record *record, struct buf *out) {
    struct arena arena;
    arena_init(&arena);
    Pb__SnapshotRecord pb = PB__SNAPSHOT_RECORD__INIT;
    Pb__Indexes indexes = PB__INDEXES__INIT;
    Pb__NamedIndex named = PB__NAMED_INDEX__INIT;
    Pb__KeyValue key;
    Pb__Tombstone tombstone = PB__TOMBSTONE__INIT;
    Pb__Autopilot autopilot;
    switch (record->kind) {
    case RECORD_INDEXES:
        indexes.applied = record->indexes.applied;
        indexes.nodes = record->indexes.nodes;
        indexes.services = record->indexes.services;
        indexes.checks = record->indexes.checks;
        indexes.service_extinction = record->indexes.service_extinction;
        indexes.node_extinction = record->indexes.node_extinction;
        indexes.row_hash = record->indexes.row_hash;
        indexes.keys = record->indexes.keys;
        indexes.tombstones = record->indexes.tombstones;
        indexes.reaped = record->indexes.reaped;
        indexes.sessions = record->indexes.sessions;
        indexes.coordinates = record->indexes.coordinates;
        indexes.queries = record->indexes.queries;
        indexes.failovers = record->indexes.failovers;
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_INDEXES;
        pb.indexes = &indexes;
        break;
    case RECORD_NODE:
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_NODE;
        pb.node = put_node(&record->node, &arena);
        break;
    case RECORD_SERVICE:
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_SERVICE;
        pb.service = put_service(&record->service, &arena);
        break;
    case RECORD_CHECK:
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_CHECK;
        pb.check = put_check(&record->check, &arena);
        break;
    case RECORD_SERVICE_INDEX:
    case RECORD_NODE_INDEX:
        named.name = writable(record->named.name);
        named.index = record->named.index;
        pb.kind_case = record->kind == RECORD_SERVICE_INDEX
                           ? PB__SNAPSHOT_RECORD__KIND_SERVICE_INDEX
                           : PB__SNAPSHOT_RECORD__KIND_NODE_INDEX;
        pb.service_index = &named; /* the same place of the union for both kinds */
        break;
    case RECORD_KV:
        put_kv(record->kv, &key);
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_KEY;
        pb.key = &key;
        break;
    case RECORD_SESSION:
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_SESSION;
        pb.session = codec_put_session(&record->session, &arena);
        break;
    case RECORD_TOMBSTONE:
        tombstone.key = writable(record->tombstone.key);
        tombstone.index = record->tombstone.index;
        tombstone.tree = record->tombstone.tree;
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_TOMBSTONE;
        pb.tombstone = &tombstone;
        break;
    case RECORD_LOCK_DELAY:
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_LOCK_DELAY;
        pb.lock_delay = put_lock_delay(&record->lock_delay, &arena);
        break;
    case RECORD_AUTOPILOT:
        put_autopilot(&record->autopilot, &autopilot);
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_AUTOPILOT;
        pb.autopilot = &autopilot;
        break;
    case RECORD_REMOVAL:
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_REMOVAL;
        pb.removal = codec_put_removal(&record->removal, &arena);
        break;
    case RECORD_COORDINATE:
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_COORDINATE;
        pb.coordinate = codec_put_coordinate(&record->coordinate, &arena);
        break;
    case RECORD_QUERY:
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_QUERY;
        pb.query = codec_put_query(&record->query, &arena);
        break;
    case RECORD_FAILOVER:
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_FAILOVER;
        pb.failover = codec_put_failover(&record->failover, &arena);
        break;
    case RECORD_END:
        pb.kind_case = PB__SNAPSHOT_RECORD__KIND_END;
        pb.end = record->end;
        break;
    }
    pack(&pb.base, out);
    arena_clear(&arena);
}

enum err codec_decode_record(const uint8_t *data, size_t size, struct arena *arena,
                             struct codec_record *ret_record) {
    ProtobufCAllocator allocator = {allocate, release, arena};
    Pb__SnapshotRecord *pb = pb__snapshot_record__unpack(&allocator, size, data);
    if (pb == NULL) {
        return ERR_CORRUPT;
    }
    switch (pb->kind_case) {
    case PB__SNAPSHOT_RECORD__KIND_INDEXES:
        *ret_record = (struct codec_record){
            .kind = RECORD_INDEXES,
            .indexes = {pb->indexes->applied, pb->indexes->nodes, pb->indexes->services,
                        pb->indexes->checks, pb->indexes->service_extinction,
                        pb->indexes->node_extinction, pb->indexes->row_hash, pb->indexes->keys,
                        pb->indexes->tombstones, pb->indexes->reaped, pb->indexes->sessions,
                        pb->indexes->coordinates, pb->indexes->queries, pb->indexes->failovers}};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_NODE:
        *ret_record = (struct codec_record){.kind = RECORD_NODE, .node = get_node(pb->node, arena)};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_SERVICE:
        *ret_record = (struct codec_record){.kind = RECORD_SERVICE,
                                            .service = get_service(pb->service, arena)};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_CHECK:
        *ret_record =
            (struct codec_record){.kind = RECORD_CHECK, .check = get_check(pb->check, arena)};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_SERVICE_INDEX:
    case PB__SNAPSHOT_RECORD__KIND_NODE_INDEX:
        *ret_record = (struct codec_record){
            .kind = pb->kind_case == PB__SNAPSHOT_RECORD__KIND_SERVICE_INDEX ? RECORD_SERVICE_INDEX
                                                                             : RECORD_NODE_INDEX,
            .named = {pb->service_index->name, pb->service_index->index}};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_KEY:
        if (strlen(pb->key->key) > LIMIT_KV_KEY_BYTES ||
            strlen(pb->key->session) >= UUID_TEXT_BYTES) {
            return ERR_CORRUPT;
        }
        *ret_record = (struct codec_record){.kind = RECORD_KV, .kv = get_kv(pb->key, arena)};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_SESSION:
        *ret_record = (struct codec_record){.kind = RECORD_SESSION,
                                            .session = codec_get_session(pb->session, arena)};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_TOMBSTONE:
        *ret_record = (struct codec_record){
            .kind = RECORD_TOMBSTONE,
            .tombstone = {pb->tombstone->key, pb->tombstone->index, pb->tombstone->tree}};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_LOCK_DELAY:
        *ret_record = (struct codec_record){.kind = RECORD_LOCK_DELAY,
                                            .lock_delay = get_lock_delay(pb->lock_delay)};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_AUTOPILOT:
        *ret_record = (struct codec_record){.kind = RECORD_AUTOPILOT,
                                            .autopilot = get_autopilot(pb->autopilot)};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_REMOVAL:
        *ret_record = (struct codec_record){.kind = RECORD_REMOVAL,
                                            .removal = codec_get_removal(pb->removal)};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_COORDINATE:
        *ret_record = (struct codec_record){.kind = RECORD_COORDINATE};
        return codec_get_coordinate(pb->coordinate, &ret_record->coordinate);
    case PB__SNAPSHOT_RECORD__KIND_QUERY:
        *ret_record =
            (struct codec_record){.kind = RECORD_QUERY, .query = codec_get_query(pb->query, arena)};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_FAILOVER:
        *ret_record = (struct codec_record){.kind = RECORD_FAILOVER,
                                            .failover = codec_get_failover(pb->failover, arena)};
        return ERR_OK;
    case PB__SNAPSHOT_RECORD__KIND_END:
        *ret_record = (struct codec_record){.kind = RECORD_END, .end = pb->end};
        return ERR_OK;
    default:
        return ERR_VERSION;
    }
}
