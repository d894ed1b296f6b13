#include "base/duration.h"
#include "base/ip.h"
#include "base/str.h"
#include "catalog/query.h"
#include "dns/internal.h"

/* Where a lookup puts its records: owner and TTL of all of them. */
static struct record *add_record(struct section *to, const struct asked *asked, uint16_t type,
                                 uint32_t ttl_s) {
    struct record *record = section_add(to);
    if (record != NULL) {
        record->type = type;
        record->ttl_s = ttl_s;
        record->owner_is_qname = asked->is_question;
        record->owner = asked->owner;
    }
    return record;
}

static void set_ip(struct record *record, const uint8_t *ip, uint8_t bytes) {
    record->type = bytes == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA;
    record->ip_bytes = bytes;
    memcpy(record->ip, ip, bytes);
}

static void add_alias(struct answer *answer, const struct asked *asked, const char *host,
                      uint32_t ttl_s, bool addresses_only, struct section *to) {
    struct record *record = add_record(to, asked, DNS_TYPE_CNAME, ttl_s);
    if (record == NULL) {
        return;
    }
    record->target = name_of_text(NAME_TEXT, host);
    /* One that is there already closes a circle. */
    if (!section_drop_double(to, 0)) {
        struct chase chase = {
            .to = to, .depth = asked->depth, .addresses_only = addresses_only, .ttl_s = ttl_s};
        chase_name(answer, host, &chase);
    }
}

enum found lookup_node(struct answer *answer, const struct asked *asked,
                       const struct dns_name *name, struct section *to) {
    uint16_t qtype = asked->qtype;
    if (qtype != DNS_TYPE_A && qtype != DNS_TYPE_AAAA && qtype != DNS_TYPE_ANY &&
        qtype != DNS_TYPE_TXT) {
        return FOUND_EMPTY;
    }
    const struct catalog_node *node = NULL;
    if (dc_is_ours(answer, name->dc)) {
        node = view_get_node(answer->question->view, name->subject);
    }
    if (node == NULL) {
        return FOUND_NO_NAME;
    }
    uint32_t ttl_s = answer->config->node_ttl_s;
    const char *address = node_address(answer, node, qtype);
    uint8_t ip[16];
    uint8_t ip_bytes = 0;
    if (qtype == DNS_TYPE_TXT) {
        /* Only the metadata. */
    } else if (ip_parse(address, ip, &ip_bytes)) {
        struct record *record = NULL;
        if (family_is_asked(qtype, ip_bytes)) {
            record = add_record(to, asked, DNS_TYPE_A, ttl_s);
        }
        if (record != NULL) {
            set_ip(record, ip, ip_bytes);
        }
    } else if (name_fits(answer, NAME_TEXT, address)) {
        add_alias(answer, asked, address, ttl_s, false, to);
    }
    struct record like = {
        .ttl_s = ttl_s, .owner_is_qname = asked->is_question, .owner = asked->owner};
    if (qtype == DNS_TYPE_ANY || qtype == DNS_TYPE_TXT) {
        add_meta(to, node, &like);
    } else if (answer->config->enable_additional_node_meta_txt) {
        add_meta(&answer->additional, node, &like);
    }
    return to->count > 0 ? FOUND : FOUND_EMPTY;
}

static bool has_tag(const struct catalog_service *service, const char *tag) {
    for (uint32_t i = 0; i < service->tags.count; i++) {
        if (str_equal_fold(service->tags.v[i], tag)) {
            return true;
        }
    }
    return false;
}

static bool is_asked_name(const struct asked *asked, const char *host) {
    uint8_t wire[DNS_NAME_BYTES];
    uint8_t lower[DNS_NAME_BYTES];
    size_t bytes = dns_name_from_text(host, wire);
    if (bytes == 0) {
        return false;
    }
    dns_name_lower(wire, wire, bytes);
    for (size_t at = 0;; at += 1u + asked->wire[at]) {
        size_t label = 1u + asked->wire[at];
        if (at + label > bytes) {
            return false;
        }
        dns_name_lower(lower + at, asked->wire + at, label);
        if (label == 1) {
            return at + label == bytes && memcmp(wire, lower, bytes) == 0;
        }
    }
}

/* What an instance's address comes to (contract 1.3.2). */
struct place {
    const char *host;  /* a hostname, else NULL and an IP address */
    bool is_node;      /* the IP address is what the node's name resolves to */
    const char *given; /* service address after translation, "" = none */
    uint8_t ip[16];
    uint8_t ip_bytes;
};

/* False: nothing that DNS could say. */
static bool find_place(const struct answer *answer, const struct asked *asked,
                       const struct catalog_instance *instance, struct place *out) {
    const char *at_node = node_address(answer, instance->node, asked->qtype);
    out->given = service_address(answer, instance->service, asked->qtype);
    out->host = NULL;
    out->is_node = false;
    const char *host = out->given;
    if (host[0] != '\0') {
        if (ip_parse(host, out->ip, &out->ip_bytes)) {
            return true;
        }
        /* A service that names itself is where its node is, not in a circle. */
        if (is_asked_name(asked, host) && ip_parse(at_node, out->ip, &out->ip_bytes)) {
            out->is_node = true;
            return true;
        }
    } else {
        if (ip_parse(at_node, out->ip, &out->ip_bytes)) {
            out->is_node = strcmp(at_node, instance->node->address) == 0;
            return true;
        }
        host = at_node;
    }
    out->host = host;
    return name_fits(answer, NAME_TEXT, host);
}

static uint16_t weight_of(const struct catalog_instance *instance) {
    const struct catalog_service *service = instance->service;
    uint32_t weight = instance->health == HEALTH_PASSING   ? service->weight_passing
                      : instance->health == HEALTH_WARNING ? service->weight_warning
                                                           : 0;
    return (uint16_t)(weight < UINT16_MAX ? weight : UINT16_MAX);
}

static void add_srv_additionals(struct answer *answer, const struct record *srv, uint16_t index,
                                const struct catalog_node *node, const struct place *place) {
    struct section *to = &answer->additional;
    if (place->host == NULL) {
        struct record *record = section_add(to);
        if (record == NULL) {
            return;
        }
        set_ip(record, place->ip, place->ip_bytes);
        record->ttl_s = srv->ttl_s;
        record->owner = srv->target;
        record->owner_is_target = true;
        record->kept_on_trim = true;
        record->of_answer = index;
        section_drop_double(to, 0);
    }
    if (answer->config->enable_additional_node_meta_txt && node->meta.count > 0 &&
        name_fits(answer, NAME_NODE, node->name)) {
        struct record like = {
            .ttl_s = srv->ttl_s, .of_answer = index, .owner = name_of_text(NAME_NODE, node->name)};
        add_meta(to, node, &like);
    }
}

/* One SRV record for the instance, and what belongs to it. */
static void add_srv(struct answer *answer, const struct asked *asked,
                    const struct catalog_instance *instance, uint32_t ttl_s, struct section *to) {
    struct place place;
    if (!find_place(answer, asked, instance, &place)) {
        return;
    }
    const struct catalog_node *node = instance->node;
    struct name_ref target = {.form = NAME_ADDR, .ip_bytes = place.ip_bytes};
    if (place.host != NULL) {
        target = name_of_text(NAME_TEXT, place.host);
    } else if (place.is_node) {
        target = name_of_text(NAME_NODE, node->name);
        if (!name_fits(answer, NAME_NODE, node->name)) {
            return;
        }
    } else {
        memcpy(target.ip, place.ip, place.ip_bytes);
    }
    struct record *record = add_record(to, asked, DNS_TYPE_SRV, ttl_s);
    if (record == NULL) {
        return;
    }
    record->target = target;
    record->port = service_port(answer, instance->service);
    record->weight = weight_of(instance);
    record->node = node->name;
    record->address = place.given;
    uint16_t index = (uint16_t)(to->count - 1);
    if (!section_drop_double(to, 0)) {
        add_srv_additionals(answer, record, index, node, &place);
    }
}

/* The names behind SRV targets, after all instances were drawn, because following a name draws
 * others. */
static void chase_targets(struct answer *answer, const struct asked *asked,
                          const struct section *to) {
    for (unsigned i = 0; i < to->count; i++) {
        const struct record *srv = &to->records[i];
        if (srv->target.form == NAME_TEXT) {
            struct chase chase = {.to = &answer->additional,
                                  .depth = asked->depth,
                                  .of_answer = (uint16_t)i,
                                  .addresses_only = true,
                                  .ttl_s = srv->ttl_s};
            chase_name(answer, srv->target.text, &chase);
        }
    }
}

/* Addresses, or the first hostname when no instance has one. */
struct addresses {
    unsigned contributed; /* instances */
    const char *host;
};

static void add_address(struct answer *answer, const struct asked *asked,
                        const struct catalog_instance *instance, uint32_t ttl_s, unsigned base,
                        struct section *to, struct addresses *addresses) {
    struct place place;
    if (!find_place(answer, asked, instance, &place)) {
        return;
    }
    if (place.host != NULL) {
        addresses->host = addresses->host == NULL ? place.host : addresses->host;
        return;
    }
    struct record *record = NULL;
    if (family_is_asked(asked->qtype, place.ip_bytes)) {
        record = add_record(to, asked, DNS_TYPE_A, ttl_s);
    }
    if (record != NULL) {
        set_ip(record, place.ip, place.ip_bytes);
        addresses->contributed += !section_drop_double(to, base);
    }
}

/* How the instances in scratch are put into the answer. */
struct choice {
    uint32_t ttl_s;
    bool drawn;      /* in random order, and only the healthy ones */
    const char *tag; /* "" = no filter */
};

static enum found put_instances(struct answer *answer, const struct asked *asked,
                                const struct choice *choice, struct section *to) {
    bool srv = asked->qtype == DNS_TYPE_SRV;
    uint32_t limit = srv ? 0 : answer->config->a_record_limit;
    struct addresses addresses = {0};
    unsigned base = to->count;
    bool exists = false;
    for (size_t i = 0; i < answer->scratch->instance_count; i++) {
        const struct catalog_instance *instance =
            choice->drawn ? draw_instance(answer, i) : answer->scratch->instances[i];
        if ((choice->drawn && !instance_is_healthy(answer, instance)) ||
            (choice->tag[0] != '\0' && !has_tag(instance->service, choice->tag))) {
            continue;
        }
        exists = true;
        if (srv) {
            add_srv(answer, asked, instance, choice->ttl_s, to);
        } else {
            add_address(answer, asked, instance, choice->ttl_s, base, to, &addresses);
        }
        if (to->count >= answer->answers_max || (limit > 0 && addresses.contributed >= limit)) {
            break;
        }
    }
    if (!exists) {
        return FOUND_NO_NAME;
    }
    if (srv) {
        chase_targets(answer, asked, to);
    } else if (to->count == base && addresses.host != NULL) {
        add_alias(answer, asked, addresses.host, choice->ttl_s, true, to);
    }
    return to->count > base ? FOUND : FOUND_NO_TYPE;
}

struct wanted {
    const struct answer *answer;
    const struct dns_name *name;
    bool found;
};

static bool is_wanted(const struct catalog_instance *instance, void *context) {
    struct wanted *wanted = context;
    wanted->found = instance_is_healthy(wanted->answer, instance) &&
                    (wanted->name->tag[0] == '\0' || has_tag(instance->service, wanted->name->tag));
    return !wanted->found;
}

static bool has_wanted(const struct catalog_view *view, void *context) {
    struct wanted *wanted = context;
    wanted->found = false;
    view_walk_instances(view, wanted->name->subject, is_wanted, wanted);
    return wanted->found;
}

enum found lookup_service(struct answer *answer, const struct asked *asked,
                          const struct dns_name *name, struct section *to) {
    struct arena arena;
    struct wanted wanted = {answer, name, false};
    struct choice choice = {service_ttl(answer->snapshot, name->subject), true, name->tag};
    if (!dc_is_ours(answer, name->dc)) {
        return FOUND_NO_NAME;
    }
    arena_init(&arena);
    struct failover_place place =
        failover_find(mirror_failover(answer, asked, name), answer->question->view, name->subject,
                      has_wanted, &wanted, &arena);
    if (place.datacenter != NULL) {
        mirror_turn_to(answer, &place);
    }
    gather_instances(answer, name->subject);
    enum found found = put_instances(answer, asked, &choice, to);
    arena_clear(&arena);
    return found;
}

/* That of the query, else that of its service. */
static uint32_t query_ttl(const struct answer *answer, const struct catalog_query *query,
                          struct arena *arena) {
    int64_t ns = 0;
    if (*query->dns_ttl != '\0' && duration_parse(query->dns_ttl, &ns, NULL) == ERR_OK) {
        int64_t s = ns / DURATION_S;
        return s < INT32_MAX ? (uint32_t)s : INT32_MAX; /* RFC 2181 section 8 */
    }
    char *service = arena_strdup(arena, query->service);
    str_lower(service, strlen(service) + 1, query->service);
    return service_ttl(answer->snapshot, service);
}

enum found lookup_query(struct answer *answer, const struct asked *asked,
                        const struct dns_name *name, struct section *to) {
    struct catalog_query query;
    struct arena arena;
    if (!dc_is_ours(answer, name->dc)) {
        return FOUND_NO_NAME;
    }
    arena_init(&arena);
    enum err err = query_find(answer->question->view, name->subject, &arena, &query, NULL);
    enum found found = err == ERR_NOT_FOUND ? FOUND_NO_NAME : FOUND_FAILED;
    if (err == ERR_OK) {
        struct failover_place place =
            gather_query(answer, mirror_failover(answer, asked, name), &query, &arena);
        struct choice choice = {query_ttl(answer, &query, &arena), false, ""};
        if (place.datacenter != NULL) {
            mirror_turn_to(answer, &place);
        }
        found = put_instances(answer, asked, &choice, to);
    }
    arena_clear(&arena);
    return found;
}

enum found lookup_addr(struct answer *answer, const struct asked *asked,
                       const struct dns_name *name, struct section *to, struct section *otherwise) {
    uint16_t family = name->address_bytes == 4 ? DNS_TYPE_A : DNS_TYPE_AAAA;
    bool fits = asked->qtype == family || asked->qtype == DNS_TYPE_ANY;
    struct record *record =
        add_record(fits ? to : otherwise, asked, family, answer->config->node_ttl_s);
    if (record != NULL) {
        set_ip(record, name->address, name->address_bytes);
    }
    return FOUND_EMPTY;
}

struct reverse_search {
    const struct answer *answer;
    const struct catalog_node *node;
    const struct catalog_service *service;
};

static bool try_node(const struct catalog_node *node, void *context) {
    struct reverse_search *search = context;
    search->node = name_fits(search->answer, NAME_NODE, node->name) ? node : NULL;
    return search->node == NULL;
}

static bool try_service(const struct catalog_service *service, void *context) {
    struct reverse_search *search = context;
    search->service = name_fits(search->answer, NAME_SERVICE, service->name) ? service : NULL;
    return search->service == NULL;
}

enum found lookup_reverse(struct answer *answer, const struct asked *asked) {
    struct reverse_search search = {.answer = answer};
    const struct catalog_view *view = answer->question->view;
    const struct dns_name *name = &answer->name;
    if (name->address_bytes == 0) {
        return FOUND_NO_NAME;
    }
    view_walk_nodes_at(view, name->address, name->address_bytes, try_node, &search);
    if (search.node == NULL) {
        view_walk_services_at(view, name->address, name->address_bytes, try_service, &search);
    }
    if (search.node == NULL && search.service == NULL) {
        return FOUND_NO_NAME;
    }
    struct record *record = add_record(&answer->answers, asked, DNS_TYPE_PTR, 0);
    record->target = search.node != NULL ? name_of_text(NAME_NODE, search.node->name)
                                         : name_of_text(NAME_SERVICE, search.service->name);
    return FOUND;
}

/* Letters, digits and '-' only: what strict resolvers take for a host name. */
static bool is_host_label(const char *name) {
    return name[strspn(name, "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-")] ==
           '\0';
}

static void add_name_server(struct answer *answer, const struct catalog_node *node,
                            struct section *to) {
    struct record *record = section_add(to);
    record->type = DNS_TYPE_NS;
    record->ttl_s = answer->config->node_ttl_s;
    record->owner = (struct name_ref){.form = NAME_WIRE, .wire = answer->domain};
    record->target = name_of_text(NAME_SERVER, node->name);
    uint16_t index = (uint16_t)(to->count - 1);
    if (section_drop_double(to, 0)) {
        return;
    }
    uint8_t ip[16];
    uint8_t ip_bytes = 0;
    if (ip_parse(node_address(answer, node, DNS_TYPE_ANY), ip, &ip_bytes)) {
        struct record *glue = section_add(&answer->additional);
        set_ip(glue, ip, ip_bytes);
        glue->ttl_s = record->ttl_s;
        glue->owner = record->target;
        glue->of_answer = index;
        glue->kept_on_trim = true;
    }
}

void lookup_name_servers(struct answer *answer, struct section *to) {
    gather_instances(answer, "consul");
    size_t count = answer->scratch->instance_count;
    for (size_t i = 0; i < count && to->count < LIMIT_DNS_NAME_SERVERS; i++) {
        const struct catalog_instance *instance = draw_instance(answer, i);
        const char *name = instance->node->name;
        if (!instance_is_healthy(answer, instance)) {
            continue;
        }
        if (is_host_label(name) && name_fits(answer, NAME_SERVER, name)) {
            add_name_server(answer, instance->node, to);
        } else {
            answer->scratch->skipped_node = name;
        }
    }
}
