#include "catalog/row.h"

#include <string.h>

#include "base/hash.h"
#include "base/mem.h"
#include "base/pack.h"

static void pack_unknown(struct packer *p, struct catalog_bytes *bytes) {
    bytes->data = bytes->size > 0 ? pack_bytes(p, bytes->data, bytes->size, 1) : NULL;
}

static void pack_node(struct packer *p, struct catalog_node *node) {
    pack_map(p, &node->tagged_addresses);
    pack_map(p, &node->meta);
    pack_str(p, &node->id);
    pack_str(p, &node->name);
    pack_str(p, &node->address);
    pack_str(p, &node->region);
    pack_str(p, &node->zone);
    pack_unknown(p, &node->unknown);
}

static void pack_service_own(struct packer *p, struct catalog_service *service) {
    struct catalog_tagged_address *from = service->tagged_addresses;
    struct catalog_tagged_address *to = service->tagged_addresses =
        pack_bytes(p, from, service->tagged_address_count * sizeof *from, sizeof(void *));
    for (uint32_t i = 0; i < service->tagged_address_count; i++) {
        struct catalog_tagged_address tagged = from[i];
        pack_str(p, &tagged.name);
        pack_str(p, &tagged.address);
        if (to != NULL) {
            to[i] = tagged;
        }
    }
    pack_str(p, &service->id);
    pack_str(p, &service->address);
    pack_unknown(p, &service->unknown);
}

/* What catalog/share.c keeps once for many rows; beside it the node's name. */
static void pack_service_shared(struct packer *p, struct catalog_service *service) {
    pack_list(p, &service->tags);
    pack_map(p, &service->meta);
    pack_str(p, &service->name);
    pack_str(p, &service->socket_path);
    pack_str(p, &service->kind);
    pack_str(p, &service->region);
    pack_str(p, &service->zone);
    pack_str(p, &service->proxy);
    pack_str(p, &service->connect);
}

static void pack_service(struct packer *p, struct catalog_service *service) {
    pack_service_own(p, service);
    pack_service_shared(p, service);
    pack_str(p, &service->node);
}

static void pack_check_own(struct packer *p, struct catalog_check *check) {
    pack_str(p, &check->id);
    pack_str(p, &check->status);
    pack_str(p, &check->output);
    pack_str(p, &check->service_id);
    pack_str(p, &check->definition);
    pack_unknown(p, &check->unknown);
}

static void pack_check_shared(struct packer *p, struct catalog_check *check) {
    pack_list(p, &check->service_tags);
    pack_str(p, &check->name);
    pack_str(p, &check->notes);
    pack_str(p, &check->service_name);
    pack_str(p, &check->type);
    pack_str(p, &check->interval);
    pack_str(p, &check->timeout);
}

static void pack_check(struct packer *p, struct catalog_check *check) {
    pack_check_own(p, check);
    pack_check_shared(p, check);
    pack_str(p, &check->node);
}

static void pack_session(struct packer *p, struct catalog_session *session) {
    pack_list(p, &session->checks);
    pack_list(p, &session->node_checks);
    pack_list(p, &session->service_checks);
    pack_str(p, &session->id);
    pack_str(p, &session->name);
    pack_str(p, &session->node);
    pack_str(p, &session->behavior);
    pack_str(p, &session->ttl);
    pack_unknown(p, &session->unknown);
}

static void pack_query(struct packer *p, struct catalog_query *query) {
    pack_list(p, &query->datacenters);
    pack_list(p, &query->target_datacenters);
    pack_list(p, &query->ignored_checks);
    pack_list(p, &query->tags);
    pack_map(p, &query->node_meta);
    pack_map(p, &query->service_meta);
    pack_str(p, &query->id);
    pack_str(p, &query->name);
    pack_str(p, &query->session);
    pack_str(p, &query->token);
    pack_str(p, &query->template_type);
    pack_str(p, &query->template_regexp);
    pack_str(p, &query->service);
    pack_str(p, &query->near_node);
    pack_str(p, &query->dns_ttl);
    pack_unknown(p, &query->unknown);
}

static void pack_failover(struct packer *p, struct catalog_failover *policy) {
    pack_list(p, &policy->datacenters);
    pack_str(p, &policy->service);
    pack_unknown(p, &policy->unknown);
}

#define DEFINE_COPY(type, part)                                                                    \
    struct catalog_##type *row_copy_##part(const struct catalog_##type *from) {                    \
        struct catalog_##type row = *from;                                                         \
        struct packer p = {.used = sizeof row};                                                    \
        pack_##part(&p, &row);                                                                     \
        p = (struct packer){.block = mem_alloc(p.used), .used = sizeof row};                       \
        row = *from;                                                                               \
        pack_##part(&p, &row);                                                                     \
        return memcpy(p.block, &row, sizeof row);                                                  \
    }

DEFINE_COPY(node, node)
DEFINE_COPY(service, service)
DEFINE_COPY(service, service_own)
DEFINE_COPY(service, service_shared)
DEFINE_COPY(check, check)
DEFINE_COPY(check, check_own)
DEFINE_COPY(check, check_shared)
DEFINE_COPY(session, session)
DEFINE_COPY(query, query)
DEFINE_COPY(failover, failover)

#define DEFINE_BYTES(type, part)                                                                   \
    size_t row_bytes_##part(const struct catalog_##type *from) {                                   \
        struct catalog_##type row = *from;                                                         \
        struct packer p = {.used = sizeof row};                                                    \
        pack_##part(&p, &row);                                                                     \
        return p.used;                                                                             \
    }

DEFINE_BYTES(node, node)
DEFINE_BYTES(service, service_own)
DEFINE_BYTES(check, check_own)

size_t row_kv_bytes(size_t key_size, size_t session_size, size_t value_size) {
    return offsetof(struct catalog_kv, bytes) + key_size + session_size + value_size + 2;
}

void row_fill_kv(struct catalog_kv *kv, const char *key, const char *session, const void *value,
                 size_t value_size) {
    size_t key_size = strlen(key), session_size = strlen(session);
    memset(kv, 0, offsetof(struct catalog_kv, bytes));
    kv->key_size = (uint16_t)key_size;
    kv->session_size = (uint8_t)session_size;
    kv->value_size = (uint32_t)value_size;
    memcpy(kv->bytes, key, key_size + 1);
    memcpy(kv->bytes + key_size + 1, session, session_size + 1);
    if (value_size > 0) {
        memcpy(kv->bytes + key_size + session_size + 2, value, value_size);
    }
}

struct catalog_kv *row_copy_kv(const struct catalog_kv *kv) {
    return mem_memdup(kv, row_kv_bytes(kv->key_size, kv->session_size, kv->value_size));
}

static bool same(const char *a, const char *b) {
    return strcmp(a, b) == 0;
}

static bool same_bytes(const struct catalog_bytes *a, const struct catalog_bytes *b) {
    return a->size == b->size && (a->size == 0 || memcmp(a->data, b->data, a->size) == 0);
}

bool row_equal_node(const struct catalog_node *a, const struct catalog_node *b) {
    return same(a->id, b->id) && str_equal_fold(a->name, b->name) && same(a->address, b->address) &&
           str_map_equal(&a->tagged_addresses, &b->tagged_addresses) &&
           str_map_equal(&a->meta, &b->meta) && same(a->region, b->region) &&
           same(a->zone, b->zone) && same_bytes(&a->unknown, &b->unknown);
}

static bool same_tagged(const struct catalog_service *a, const struct catalog_service *b) {
    if (a->tagged_address_count != b->tagged_address_count) {
        return false;
    }
    for (uint32_t i = 0; i < a->tagged_address_count; i++) {
        const struct catalog_tagged_address *x = &a->tagged_addresses[i];
        const struct catalog_tagged_address *y = &b->tagged_addresses[i];
        if (!same(x->name, y->name) || !same(x->address, y->address) || x->port != y->port) {
            return false;
        }
    }
    return true;
}

bool row_equal_service(const struct catalog_service *a, const struct catalog_service *b) {
    return same(a->id, b->id) && same(a->name, b->name) && str_list_equal(&a->tags, &b->tags) &&
           same(a->address, b->address) && a->port == b->port &&
           same(a->socket_path, b->socket_path) && same_tagged(a, b) &&
           str_map_equal(&a->meta, &b->meta) && a->weight_passing == b->weight_passing &&
           a->weight_warning == b->weight_warning &&
           a->enable_tag_override == b->enable_tag_override && same(a->kind, b->kind) &&
           same(a->region, b->region) && same(a->zone, b->zone) && same(a->proxy, b->proxy) &&
           same(a->connect, b->connect) && same_bytes(&a->unknown, &b->unknown);
}

bool row_equal_check(const struct catalog_check *a, const struct catalog_check *b) {
    return same(a->id, b->id) && same(a->name, b->name) && same(a->status, b->status) &&
           same(a->notes, b->notes) && same(a->output, b->output) &&
           same(a->service_id, b->service_id) && same(a->service_name, b->service_name) &&
           str_list_equal(&a->service_tags, &b->service_tags) &&
           same(a->definition, b->definition) && same_bytes(&a->unknown, &b->unknown);
}

static uint64_t add_str(uint64_t h, const char *s) {
    return hash_bytes(h, s, strlen(s));
}

static uint64_t add_u64(uint64_t h, uint64_t value) {
    return hash_mix(h ^ (value + 0x9e3779b97f4a7c15u));
}

static uint64_t add_list(uint64_t h, const struct str_list *list) {
    h = add_u64(h, list->count);
    for (uint32_t i = 0; i < list->count; i++) {
        h = add_str(h, list->v[i]);
    }
    return h;
}

static uint64_t add_map(uint64_t h, const struct str_map *map) {
    h = add_u64(h, map->count * 2u + map->present);
    for (uint32_t i = 0; i < map->count; i++) {
        h = add_str(add_str(h, map->v[i].key), map->v[i].value);
    }
    return h;
}

static uint64_t add_strs(uint64_t h, const char *const *strs, size_t count) {
    for (size_t i = 0; i < count; i++) {
        h = add_str(h, strs[i]);
    }
    return h;
}

#define ADD_STRS(h, ...)                                                                           \
    add_strs(h, (const char *const[]){__VA_ARGS__},                                                \
             sizeof((const char *const[]){__VA_ARGS__}) / sizeof(const char *))

uint64_t row_hash_node(const struct catalog_node *n) {
    uint64_t h = ADD_STRS(1, n->id, n->name, n->address, n->region, n->zone);
    h = add_map(add_map(h, &n->tagged_addresses), &n->meta);
    h = add_u64(add_u64(h, n->create_index), n->modify_index);
    return hash_bytes(h, n->unknown.data, n->unknown.size);
}

uint64_t row_hash_service(const struct catalog_service *s) {
    uint64_t h = ADD_STRS(2, s->node, s->id, s->name, s->address, s->socket_path, s->kind,
                          s->region, s->zone, s->proxy, s->connect);
    h = add_map(add_list(h, &s->tags), &s->meta);
    h = add_u64(h, (uint64_t)s->port << 32 | s->tagged_address_count);
    for (uint32_t i = 0; i < s->tagged_address_count; i++) {
        const struct catalog_tagged_address *tagged = &s->tagged_addresses[i];
        h = add_u64(ADD_STRS(h, tagged->name, tagged->address), tagged->port);
    }
    h = add_u64(h, (uint64_t)s->weight_passing << 33 | (uint64_t)s->weight_warning << 1 |
                       s->enable_tag_override);
    h = add_u64(add_u64(h, s->create_index), s->modify_index);
    return hash_bytes(h, s->unknown.data, s->unknown.size);
}

uint64_t row_hash_check(const struct catalog_check *c) {
    uint64_t h = ADD_STRS(3, c->node, c->id, c->name, c->status, c->notes, c->output, c->service_id,
                          c->service_name, c->type, c->interval, c->timeout, c->definition);
    h = add_list(h, &c->service_tags);
    h = add_u64(add_u64(h, c->create_index), c->modify_index);
    return hash_bytes(h, c->unknown.data, c->unknown.size);
}

uint64_t row_hash_session(const struct catalog_session *s) {
    uint64_t h = ADD_STRS(4, s->id, s->name, s->node, s->behavior, s->ttl);
    h = add_list(add_list(add_list(h, &s->checks), &s->node_checks), &s->service_checks);
    h = add_u64(h, (uint64_t)s->node_checks_present << 1 | s->service_checks_present);
    h = add_u64(add_u64(h, (uint64_t)s->ttl_ns), (uint64_t)s->lock_delay_ns);
    h = add_u64(add_u64(h, s->create_index), s->modify_index);
    return hash_bytes(h, s->unknown.data, s->unknown.size);
}

uint64_t row_hash_query(const struct catalog_query *q) {
    uint64_t h = ADD_STRS(7, q->id, q->name, q->session, q->token, q->template_type,
                          q->template_regexp, q->service, q->near_node, q->dns_ttl);
    h = add_list(add_list(h, &q->datacenters), &q->target_datacenters);
    h = add_list(add_list(h, &q->ignored_checks), &q->tags);
    h = add_map(add_map(h, &q->node_meta), &q->service_meta);
    h = add_u64(h, (uint64_t)q->remove_empty_tags | (uint64_t)q->datacenters_present << 1 |
                       (uint64_t)q->targets_present << 2 |
                       (uint64_t)q->ignored_checks_present << 3 | (uint64_t)q->tags_present << 4 |
                       (uint64_t)q->only_passing << 5 | (uint64_t)q->connect << 6);
    h = add_u64(h, (uint64_t)q->nearest);
    h = add_u64(add_u64(h, q->create_index), q->modify_index);
    return hash_bytes(h, q->unknown.data, q->unknown.size);
}

uint64_t row_hash_failover(const struct catalog_failover *f) {
    uint64_t h = add_list(ADD_STRS(8, f->service), &f->datacenters);
    h = add_u64(h, (uint64_t)f->enabled | (uint64_t)f->datacenters_present << 1);
    h = add_u64(add_u64(h, (uint64_t)f->nearest), (uint64_t)f->hold_down_ns);
    h = add_u64(add_u64(h, f->create_index), f->modify_index);
    return hash_bytes(h, f->unknown.data, f->unknown.size);
}

uint64_t row_hash_kv(const struct catalog_kv *kv) {
    uint64_t h = add_u64(add_u64(5, kv->create_index), kv->modify_index);
    h = add_u64(add_u64(h, kv->lock_index), kv->flags);
    return hash_bytes(h, kv->bytes, (size_t)kv->key_size + kv->session_size + kv->value_size + 2);
}

uint64_t row_hash_lock_delay(const struct catalog_lock_delay *delay) {
    return add_u64(add_u64(ADD_STRS(6, delay->key), delay->index), (uint64_t)delay->delay_ms);
}

uint64_t row_hash_removal(const struct catalog_removal *removal) {
    uint64_t h = ADD_STRS(40, removal->id, removal->name);
    h = add_u64(add_u64(h, (uint64_t)removal->boot_epoch << 32 | removal->counter), removal->prune);
    h = add_u64(h, (uint64_t)removal->at_ms);
    return add_u64(add_u64(h, removal->create_index), removal->modify_index);
}

uint64_t row_hash_autopilot(const struct catalog_autopilot *autopilot) {
    const uint64_t numbers[] = {autopilot->cleanup_dead_servers,
                                (uint64_t)autopilot->last_contact_ns,
                                (uint64_t)autopilot->stabilization_ns,
                                autopilot->max_trailing_logs,
                                autopilot->min_quorum,
                                autopilot->create_index,
                                autopilot->modify_index};
    return autopilot->modify_index > 0 ? hash_bytes(30, numbers, sizeof numbers) : 0;
}
