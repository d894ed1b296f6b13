#include <stdlib.h>

#include "base/hash.h"
#include "base/mem.h"
#include "catalog/query.h"
#include "dns/internal.h"

struct record *section_add(struct section *section) {
    if (section->count == LIMIT_DNS_RECORDS) {
        return NULL;
    }
    struct record *record = &section->records[section->count++];
    memset(record, 0, sizeof *record);
    return record;
}

static bool name_equal(const struct name_ref *a, const struct name_ref *b) {
    if (a->form != b->form) {
        return false;
    }
    if (a->form == NAME_ADDR) {
        return a->ip_bytes == b->ip_bytes && memcmp(a->ip, b->ip, a->ip_bytes) == 0;
    }
    return a->form == NAME_WIRE ? a->wire == b->wire : str_equal_fold(a->text, b->text);
}

static bool record_equal(const struct record *a, const struct record *b) {
    if (a->type != b->type) {
        return false;
    }
    if (a->type == DNS_TYPE_SRV) {
        return a->port == b->port && str_equal_fold(a->node, b->node) &&
               strcmp(a->address, b->address) == 0;
    }
    if (a->owner_is_qname != b->owner_is_qname ||
        (!a->owner_is_qname && !name_equal(&a->owner, &b->owner))) {
        return false;
    }
    switch (a->type) {
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
        return memcmp(a->ip, b->ip, a->ip_bytes) == 0;
    case DNS_TYPE_TXT:
        return a->meta == b->meta;
    default:
        return name_equal(&a->target, &b->target);
    }
}

/* Equal records have equal hashes; the parts that most records differ in are enough. */
static uint64_t record_hash(const struct record *record) {
    switch (record->type) {
    case DNS_TYPE_A:
    case DNS_TYPE_AAAA:
        return hash_bytes(record->type, record->ip, record->ip_bytes);
    case DNS_TYPE_SRV: {
        char node[DNS_NAME_BYTES];
        str_lower(node, sizeof node, record->node);
        return hash_bytes(hash_bytes(record->port, record->address, strlen(record->address)), node,
                          strnlen(node, sizeof node));
    }
    case DNS_TYPE_TXT:
        return hash_mix((uintptr_t)record->meta);
    default:
        return record->type;
    }
}

/* True: an equal one is there already. */
static bool seen_add(struct section *section, unsigned index) {
    const struct record *record = &section->records[index];
    for (uint64_t at = record_hash(record);; at++) {
        uint16_t *slot = &section->seen->slots[at % SEEN_SLOTS];
        if (*slot == 0) {
            *slot = (uint16_t)(index + 1);
            return false;
        }
        if (record_equal(&section->records[*slot - 1], record)) {
            return true;
        }
    }
}

bool section_drop_double(struct section *section, unsigned base) {
    unsigned last = section->count - 1;
    bool found = false;
    if (last - base < SEEN_LINEAR) {
        for (unsigned i = base; i < last && !found; i++) {
            found = record_equal(&section->records[i], &section->records[last]);
        }
    } else {
        struct seen *seen = section->seen;
        if (!seen->used || seen->base != base || seen->filled > last) {
            memset(seen->slots, 0, sizeof seen->slots);
            seen->used = true;
            seen->base = base;
            seen->filled = base;
        }
        for (; seen->filled < last; seen->filled++) {
            seen_add(section, seen->filled);
        }
        found = seen_add(section, last);
        seen->filled += !found;
    }
    section->count -= found;
    return found;
}

bool dc_is_ours(const struct answer *answer, const char *dc) {
    if (answer->mirrored && answer->dc[0] == strlen(dc)) {
        char own[DNS_LABEL_BYTES + 1] = "";
        memcpy(own, answer->dc + 1, answer->dc[0]);
        return str_equal_fold(dc, own);
    }
    return dc[0] == '\0' || (!answer->mirrored && str_equal_fold(dc, answer->config->datacenter));
}

static bool keep_instance(const struct catalog_instance *instance, void *context) {
    struct dns_scratch *scratch = context;
    if (scratch->instance_count == scratch->instance_capacity) {
        size_t capacity = scratch->instance_capacity * 2;
        scratch->instance_capacity = capacity == 0 ? 256 : capacity;
        scratch->instances = mem_realloc(scratch->instances,
                                         scratch->instance_capacity * sizeof *scratch->instances);
    }
    scratch->instances[scratch->instance_count++] = instance;
    return true;
}

void gather_instances(struct answer *answer, const char *service) {
    answer->scratch->instance_count = 0;
    view_walk_instances(answer->question->view, service, keep_instance, answer->scratch);
}

/* The node with the address of who asks: what a resolver tells of its client, else the address that
 * the question came from. */
static const char *client_node(const struct answer *answer) {
    const struct dns_request *request = &answer->request;
    const struct addr *client = answer->question->client;
    const struct catalog_view *view = answer->question->view;
    uint8_t ip[16] = {0};
    if (request->ecs != NULL && request->ecs_bytes > 4) {
        memcpy(ip, request->ecs + 4, request->ecs_bytes - 4u);
        return query_node_at(view, ip, dns_load_u16(request->ecs) == 1 ? 4 : 16);
    }
    if (client == NULL) {
        return "";
    }
    return client->any.sa_family == AF_INET6
               ? query_node_at(view, client->v6.sin6_addr.s6_addr, 16)
               : query_node_at(view, (const uint8_t *)&client->v4.sin_addr, 4);
}

struct failover_place gather_query(struct answer *answer, const struct failover_source *source,
                                   const struct catalog_query *query, struct arena *arena) {
    struct query_instances found;
    uint32_t tried;
    const char *near = query->near_node;
    near = strcmp(near, "_agent") == 0 ? answer->config->node_name
           : strcmp(near, "_ip") == 0  ? client_node(answer)
                                       : near;
    struct failover_place place = query_run(source, answer->question->view, query, near,
                                            &answer->scratch->rand, arena, &found, &tried);
    answer->scratch->instance_count = 0;
    for (size_t i = 0; i < found.count; i++) {
        keep_instance(found.v[i], answer->scratch);
    }
    return place;
}

const struct catalog_instance *draw_instance(struct answer *answer, size_t i) {
    struct dns_scratch *scratch = answer->scratch;
    size_t j = i + (size_t)rand_below(&scratch->rand, scratch->instance_count - i);
    const struct catalog_instance *drawn = scratch->instances[j];
    scratch->instances[j] = scratch->instances[i];
    scratch->instances[i] = drawn;
    return drawn;
}

bool instance_is_healthy(const struct answer *answer, const struct catalog_instance *instance) {
    return instance->health <= (answer->config->only_passing ? HEALTH_PASSING : HEALTH_WARNING);
}

bool family_is_asked(uint16_t qtype, unsigned ip_bytes) {
    switch (qtype) {
    case DNS_TYPE_A:
        return ip_bytes == 4;
    case DNS_TYPE_AAAA:
        return ip_bytes == 16;
    case DNS_TYPE_ANY:
    case DNS_TYPE_SRV:
    case DNS_TYPE_TXT:
        return true;
    default:
        return false;
    }
}

/* The tagged address that the question prefers, else the plain one. */
static const char *choose_address(uint16_t qtype, const char *v4, const char *v6,
                                  const char *plain) {
    if (qtype != DNS_TYPE_A && v6 != NULL && v6[0] != '\0') {
        return v6;
    }
    return qtype != DNS_TYPE_AAAA && v4 != NULL && v4[0] != '\0' ? v4 : plain;
}

bool is_translated(const struct answer *answer) {
    const uint8_t *own = answer->snapshot->dc;
    return answer->question->wan || (answer->config->translate_wan && answer->mirrored &&
                                     memcmp(answer->dc, own, 1u + own[0]) != 0);
}

static const char *either(const char *a, const char *b) {
    return a != NULL && a[0] != '\0' ? a : b;
}

const char *node_address(const struct answer *answer, const struct catalog_node *node,
                         uint16_t qtype) {
    const struct str_map *tagged = &node->tagged_addresses;
    if (tagged->count == 0) {
        return node->address;
    }
    const char *v4 = str_map_get(tagged, "lan_ipv4"), *v6 = str_map_get(tagged, "lan_ipv6");
    const char *plain = node->address;
    if (is_translated(answer)) {
        v4 = either(str_map_get(tagged, "wan_ipv4"), v4);
        v6 = either(str_map_get(tagged, "wan_ipv6"), v6);
        plain = either(str_map_get(tagged, "wan"), plain);
    }
    return choose_address(qtype, v4, v6, plain);
}

static const char *tagged_address(const struct catalog_service *service, const char *name) {
    const struct catalog_tagged_address *tagged = catalog_find_tagged(service, name);
    return tagged != NULL ? tagged->address : NULL;
}

const char *service_address(const struct answer *answer, const struct catalog_service *service,
                            uint16_t qtype) {
    if (service->tagged_address_count == 0) {
        return service->address;
    }
    const char *v4 = tagged_address(service, "lan_ipv4");
    const char *v6 = tagged_address(service, "lan_ipv6"), *plain = service->address;
    if (is_translated(answer)) {
        v4 = either(tagged_address(service, "wan_ipv4"), v4);
        v6 = either(tagged_address(service, "wan_ipv6"), v6);
        plain = either(tagged_address(service, "wan"), plain);
    }
    return choose_address(qtype, v4, v6, plain);
}

uint16_t service_port(const struct answer *answer, const struct catalog_service *service) {
    const struct catalog_tagged_address *wan =
        is_translated(answer) ? catalog_find_tagged(service, "wan") : NULL;
    return (uint16_t)(wan != NULL && wan->port != 0 ? wan->port : service->port);
}

static int order_ttl(const void *name, const void *ttl) {
    return strcmp(name, ((const struct dns_service_ttl *)ttl)->name);
}

uint32_t service_ttl(const struct dns_snapshot *snapshot, const char *service) {
    const struct dns_service_ttl *ttls = snapshot->ttls;
    uint32_t exact = snapshot->exact_ttl_count;
    if (exact > 0) {
        const struct dns_service_ttl *found =
            bsearch(service, ttls, exact, sizeof *ttls, order_ttl);
        if (found != NULL) {
            return found->ttl_s;
        }
    }
    /* '*' may sort behind what follows it in another one, so the order says nothing. */
    uint32_t ttl_s = 0;
    size_t longest = 0;
    for (uint32_t i = exact; i < snapshot->config.service_ttl_count; i++) {
        size_t bytes = strlen(ttls[i].name);
        if (bytes > longest && strncmp(service, ttls[i].name, bytes - 1) == 0) {
            longest = bytes;
            ttl_s = ttls[i].ttl_s;
        }
    }
    return ttl_s;
}

struct name_ref name_of_text(enum name_form form, const char *text) {
    return (struct name_ref){.form = (uint8_t)form, .text = text};
}

bool name_fits(const struct answer *answer, enum name_form form, const char *text) {
    struct name_ref ref = name_of_text(form, text);
    uint8_t wire[DNS_NAME_BYTES];
    return name_build(answer, &ref, wire) > 0;
}

void add_meta(struct section *to, const struct catalog_node *node, const struct record *like) {
    for (uint32_t i = 0; i < node->meta.count; i++) {
        struct record *record = section_add(to);
        if (record == NULL) {
            return;
        }
        *record = *like;
        record->type = DNS_TYPE_TXT;
        record->meta = &node->meta.v[i];
        /* Pairs are told apart by their place in the node's row: the first tells for all. */
        if (i == 0 && section_drop_double(to, 0)) {
            return;
        }
    }
}
