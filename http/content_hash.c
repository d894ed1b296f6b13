/* The ContentHash of an agent's service (contract 5.6): hashstructure's walk over Go's struct
 * AgentService, with FNV-1 of 64 bits. Clients take it as opaque, but those that kept one from
 * before must not be woken by a new program. */
#include <string.h>

#include "http/request.h"

#define FNV_OFFSET 14695981039346656037ULL
#define FNV_PRIME 1099511628211ULL

static uint64_t fnv(uint64_t h, const void *data, size_t size) {
    const unsigned char *at = data;
    for (size_t i = 0; i < size; i++) {
        h *= FNV_PRIME;
        h ^= at[i];
    }
    return h;
}

static void put_u64(unsigned char out[8], uint64_t value) {
    for (int i = 0; i < 8; i++) {
        out[i] = (unsigned char)(value >> (8 * i));
    }
}

static uint64_t hash_pair(uint64_t a, uint64_t b) {
    unsigned char bytes[16];
    put_u64(bytes, a);
    put_u64(bytes + 8, b);
    return fnv(FNV_OFFSET, bytes, sizeof bytes);
}

static uint64_t hash_str(const char *s) {
    return fnv(FNV_OFFSET, s, strlen(s));
}

static uint64_t hash_int(uint64_t value) {
    unsigned char bytes[8];
    put_u64(bytes, value);
    return fnv(FNV_OFFSET, bytes, sizeof bytes);
}

static uint64_t hash_bool(bool value) {
    unsigned char byte = value;
    return fnv(FNV_OFFSET, &byte, 1);
}

/* A nil pointer counts as the integer 0. */
#define NIL hash_int(0)

static uint64_t hash_list(const struct str_list *list) {
    uint64_t h = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        h = hash_pair(h, hash_str(list->v[i]));
    }
    return h;
}

static uint64_t hash_map(const struct str_map *map) {
    uint64_t h = 0;
    for (uint32_t i = 0; i < map->count; i++) {
        h ^= hash_pair(hash_str(map->v[i].key), hash_str(map->v[i].value));
    }
    return h;
}

static void add(uint64_t *h, const char *field, uint64_t value) {
    *h ^= hash_pair(hash_str(field), value);
}

static uint64_t hash_addresses(const struct catalog_service *service) {
    uint64_t h = 0;
    for (uint32_t i = 0; i < service->tagged_address_count; i++) {
        const struct catalog_tagged_address *tagged = &service->tagged_addresses[i];
        uint64_t address = hash_str("ServiceAddress");
        add(&address, "Address", hash_str(tagged->address));
        add(&address, "Port", hash_int(tagged->port));
        h ^= hash_pair(hash_str(tagged->name), address);
    }
    return h;
}

/* Of what a service may carry only Native is kept apart; a sidecar is none of ours. */
static uint64_t hash_connect(const struct catalog_service *service) {
    if (*service->connect == '\0') {
        return NIL;
    }
    uint64_t h = hash_str("AgentServiceConnect");
    add(&h, "Native", hash_bool(strstr(service->connect, "true") != NULL));
    add(&h, "SidecarService", NIL);
    return h;
}

uint64_t http_content_hash(const struct catalog_service *service) {
    uint64_t weights = hash_str("AgentWeights");
    add(&weights, "Passing", hash_int(service->weight_passing));
    add(&weights, "Warning", hash_int(service->weight_warning));
    uint64_t h = hash_str("AgentService");
    add(&h, "Kind", hash_str(service->kind));
    add(&h, "ID", hash_str(service->id));
    add(&h, "Service", hash_str(service->name));
    add(&h, "Tags", hash_list(&service->tags));
    add(&h, "Meta", hash_map(&service->meta));
    add(&h, "Port", hash_int(service->port));
    add(&h, "Address", hash_str(service->address));
    add(&h, "SocketPath", hash_str(service->socket_path));
    add(&h, "TaggedAddresses", hash_addresses(service));
    add(&h, "Weights", weights);
    add(&h, "EnableTagOverride", hash_bool(service->enable_tag_override));
    add(&h, "CreateIndex", hash_int(0));
    add(&h, "ModifyIndex", hash_int(0));
    add(&h, "ContentHash", hash_str(""));
    add(&h, "Proxy", *service->proxy != '\0' ? hash_str(service->proxy) : NIL);
    add(&h, "Connect", hash_connect(service));
    add(&h, "PeerName", hash_str(""));
    return h;
}
