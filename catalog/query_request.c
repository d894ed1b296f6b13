/* The definition of a prepared query, from and to JSON (contract, kv 4.1, 4.3). */
#include <string.h>

#include "base/duration.h"
#include "base/limits.h"
#include "catalog/definition_parts.h"
#include "catalog/query.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define TOKEN_HIDDEN "<hidden>"

/* ---- decoding ---- */

struct target_input {
    const char *peer, *dc;
};

struct failover_input {
    int64_t nearest;
    struct str_list datacenters;
    struct decode_objects targets;
};

struct service_query_input {
    const char *service, *sameness_group, *near_node, *peer;
    struct failover_input failover;
    bool only_passing, connect;
    struct str_list ignored_checks, tags;
    struct str_map node_meta, service_meta;
};

struct template_input {
    const char *type, *regexp;
    bool remove_empty_tags;
};

struct dns_input {
    const char *ttl;
};

struct query_input {
    const char *id, *name, *session, *token;
    struct template_input template;
    struct service_query_input service;
    struct dns_input dns;
    uint64_t create_index, modify_index;
};

#define FIELD(member, name_, kind_) DECODE_FIELD(struct INPUT, member, name_, kind_)
#define PART(member, name_, kind_, spec_)                                                          \
    { .name = (name_), .kind = (kind_), .spec = &(spec_), .offset = offsetof(struct INPUT, member) }
#define SPEC(name_, fields_)                                                                       \
    { (name_), sizeof(struct INPUT), (fields_), COUNT(fields_), false }

#define INPUT target_input
static const struct decode_field target_fields[] = {
    FIELD(peer, "Peer", DECODE_STR),
    FIELD(dc, "Datacenter", DECODE_STR),
};
static const struct decode_spec target_spec = SPEC("QueryFailoverTarget", target_fields);
#undef INPUT

#define INPUT failover_input
static const struct decode_field failover_fields[] = {
    FIELD(nearest, "NearestN", DECODE_INT),
    FIELD(datacenters, "Datacenters", DECODE_STR_LIST),
    PART(targets, "Targets", DECODE_OBJECTS, target_spec),
};
static const struct decode_spec failover_spec = SPEC("QueryFailoverOptions", failover_fields);
#undef INPUT

#define INPUT service_query_input
static const struct decode_field service_fields[] = {
    FIELD(service, "Service", DECODE_STR),
    FIELD(sameness_group, "SamenessGroup", DECODE_STR),
    PART(failover, "Failover", DECODE_INLINE, failover_spec),
    FIELD(only_passing, "OnlyPassing", DECODE_BOOL),
    FIELD(ignored_checks, "IgnoreCheckIDs", DECODE_STR_LIST),
    FIELD(near_node, "Near", DECODE_STR),
    FIELD(tags, "Tags", DECODE_STR_LIST),
    FIELD(node_meta, "NodeMeta", DECODE_STR_MAP),
    FIELD(service_meta, "ServiceMeta", DECODE_STR_MAP),
    FIELD(connect, "Connect", DECODE_BOOL),
    FIELD(peer, "Peer", DECODE_STR),
};
static const struct decode_spec service_spec = SPEC("ServiceQuery", service_fields);
#undef INPUT

#define INPUT template_input
static const struct decode_field template_fields[] = {
    FIELD(type, "Type", DECODE_STR),
    FIELD(regexp, "Regexp", DECODE_STR),
    FIELD(remove_empty_tags, "RemoveEmptyTags", DECODE_BOOL),
};
static const struct decode_spec template_spec = SPEC("QueryTemplateOptions", template_fields);
#undef INPUT

#define INPUT dns_input
static const struct decode_field dns_fields[] = {FIELD(ttl, "TTL", DECODE_STR)};
static const struct decode_spec dns_spec = SPEC("QueryDNSOptions", dns_fields);
#undef INPUT

#define INPUT query_input
static const struct decode_field query_fields[] = {
    FIELD(id, "ID", DECODE_STR),
    FIELD(name, "Name", DECODE_STR),
    FIELD(session, "Session", DECODE_STR),
    FIELD(token, "Token", DECODE_STR),
    PART(template, "Template", DECODE_INLINE, template_spec),
    PART(service, "Service", DECODE_INLINE, service_spec),
    PART(dns, "DNS", DECODE_INLINE, dns_spec),
    FIELD(create_index, "CreateIndex", DECODE_U64),
    FIELD(modify_index, "ModifyIndex", DECODE_U64),
};
static const struct decode_spec query_spec = SPEC("PreparedQuery", query_fields);
#undef INPUT

static struct catalog_query take(const struct query_input *in, struct arena *arena) {
    const struct service_query_input *service = &in->service;
    const struct target_input *targets = service->failover.targets.v;
    uint32_t count = service->failover.targets.count;
    const char **dcs = arena_alloc(arena, (count + 1) * sizeof *dcs);
    for (uint32_t i = 0; i < count; i++) {
        dcs[i] = str_or_empty(targets[i].dc);
    }
    return (struct catalog_query){
        .id = str_or_empty(in->id),
        .name = str_or_empty(in->name),
        .session = str_or_empty(in->session),
        .token = str_or_empty(in->token),
        .template_type = str_or_empty(in->template.type),
        .template_regexp = str_or_empty(in->template.regexp),
        .remove_empty_tags = in->template.remove_empty_tags,
        .service = str_or_empty(service->service),
        .near_node = str_or_empty(service->near_node),
        .datacenters = service->failover.datacenters,
        .datacenters_present = service->failover.datacenters.v != NULL,
        .target_datacenters = {dcs, count},
        .targets_present = targets != NULL,
        .ignored_checks = service->ignored_checks,
        .ignored_checks_present = service->ignored_checks.v != NULL,
        .tags = service->tags,
        .tags_present = service->tags.v != NULL,
        .node_meta = service->node_meta,
        .service_meta = service->service_meta,
        .nearest = service->failover.nearest,
        .only_passing = service->only_passing,
        .connect = service->connect,
        .dns_ttl = str_or_empty(in->dns.ttl),
    };
}

/* ---- rules ---- */

static bool has_peer(const struct query_input *in) {
    const struct target_input *targets = in->service.failover.targets.v;
    bool found = *str_or_empty(in->service.peer) != '\0';
    for (uint32_t i = 0; i < in->service.failover.targets.count; i++) {
        found = found || *str_or_empty(targets[i].peer) != '\0';
    }
    return found;
}

static size_t map_bytes(const struct str_map *map) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < map->count; i++) {
        bytes += strlen(map->v[i].key) + strlen(map->v[i].value) + 2;
    }
    return bytes;
}

/* Of all texts, with a byte for each one's end. */
static size_t query_bytes(const struct catalog_query *query) {
    const char *texts[] = {query->name,          query->session,         query->token,
                           query->template_type, query->template_regexp, query->service,
                           query->near_node,     query->dns_ttl};
    const struct str_list *lists[] = {&query->datacenters, &query->target_datacenters,
                                      &query->ignored_checks, &query->tags};
    size_t bytes = map_bytes(&query->node_meta) + map_bytes(&query->service_meta);
    for (size_t i = 0; i < COUNT(texts); i++) {
        bytes += strlen(texts[i]) + 1;
    }
    for (size_t i = 0; i < COUNT(lists); i++) {
        bytes += str_list_bytes(lists[i]);
    }
    return bytes;
}

static enum err judge_ttl(const char *ttl, struct err_text *text) {
    struct err_text reason = {""};
    int64_t ns = 0;
    if (*ttl != '\0' && duration_parse(ttl, &ns, &reason) != ERR_OK) {
        return err_set(text, ERR_REFUSED, "Bad DNS TTL '%.64s': %.300s", ttl, reason.s);
    }
    return ns >= 0 ? ERR_OK
                   : err_set(text, ERR_REFUSED, "DNS TTL '%lld', must be >=0", (long long)ns);
}

static enum err judge_service(const struct query_input *in, const struct catalog_query *query,
                              struct err_text *text) {
    if (*query->service == '\0') {
        return err_set(text, ERR_REFUSED, "Must provide a Service name to query");
    }
    if (query->nearest < 0) {
        return err_set(text, ERR_REFUSED, "Bad NearestN '%lld', must be >= 0",
                       (long long)query->nearest);
    }
    if (*str_or_empty(in->service.sameness_group) != '\0') {
        return err_set(text, ERR_REFUSED, "sameness-groups are an enterprise-only feature");
    }
    if (has_peer(in)) {
        return err_set(text, ERR_REFUSED, "there is no peering here: Peer must be empty");
    }
    if (query->target_datacenters.count > 0 &&
        (query->nearest > 0 || query->datacenters.count > 0)) {
        return err_set(text, ERR_REFUSED,
                       "Targets cannot be populated with NearestN or Datacenters");
    }
    return definition_check_meta(&query->node_meta, text) == ERR_OK ? ERR_OK : ERR_REFUSED;
}

static enum err judge(const struct query_input *in, const struct catalog_query *query,
                      struct err_text *text) {
    if (*query->name == '\0' && *query->template_type == '\0' && *query->session == '\0') {
        return err_set(text, ERR_REFUSED, "Must be bound to a session");
    }
    if (strcmp(query->token, TOKEN_HIDDEN) == 0) {
        return err_set(text, ERR_REFUSED,
                       "Bad Token '" TOKEN_HIDDEN
                       "', it looks like a query definition with a redacted token was submitted");
    }
    if (query_bytes(query) > LIMIT_QUERY_BYTES || strlen(query->name) > LIMIT_NAME_BYTES) {
        return err_set(text, ERR_REFUSED, "a query is limited to %d bytes, its name to %d",
                       LIMIT_QUERY_BYTES, LIMIT_NAME_BYTES);
    }
    enum err err = judge_service(in, query, text);
    return err == ERR_OK ? judge_ttl(query->dns_ttl, text) : err;
}

enum err query_parse(const char *json, size_t size, struct arena *arena,
                     struct catalog_query *ret_query, struct err_text *text) {
    struct query_input in = {.id = ""};
    if (decode_json(&query_spec, DECODE_BODY, json, size, arena, &in, text) != ERR_OK) {
        return definition_decode_failed(text);
    }
    struct catalog_query query = take(&in, arena);
    enum err err = judge(&in, &query, text);
    if (err != ERR_OK) {
        err_prefix(text, "Invalid prepared query");
        return err;
    }
    err = query_judge_template(&query, text);
    if (err != ERR_OK) {
        err_prefix(text, "raft apply failed: failed compiling template");
        return err;
    }
    *ret_query = query;
    return ERR_OK;
}

/* ---- encoding ---- */

static void write_list(struct json *json, const char *key, const struct str_list *list,
                       bool present) {
    if (present) {
        json_member_list(json, key, list);
    } else {
        json_key(json, key);
        json_null(json);
    }
}

static void write_failover(struct json *json, const struct catalog_query *query) {
    json_key(json, "Failover");
    json_object_begin(json);
    json_key(json, "NearestN");
    json_i64(json, query->nearest);
    write_list(json, "Datacenters", &query->datacenters, query->datacenters_present);
    json_key(json, "Targets");
    if (query->targets_present) {
        json_array_begin(json);
        for (uint32_t i = 0; i < query->target_datacenters.count; i++) {
            json_object_begin(json);
            json_member_str(json, "Peer", "");
            json_member_str(json, "Datacenter", query->target_datacenters.v[i]);
            json_object_end(json);
        }
        json_array_end(json);
    } else {
        json_null(json);
    }
    json_object_end(json);
}

static void write_service(struct json *json, const struct catalog_query *query) {
    json_key(json, "Service");
    json_object_begin(json);
    json_member_str(json, "Service", query->service);
    json_member_str(json, "SamenessGroup", "");
    write_failover(json, query);
    json_member_bool(json, "OnlyPassing", query->only_passing);
    write_list(json, "IgnoreCheckIDs", &query->ignored_checks, query->ignored_checks_present);
    json_member_str(json, "Near", query->near_node);
    write_list(json, "Tags", &query->tags, query->tags_present);
    json_member_map(json, "NodeMeta", &query->node_meta);
    json_member_map(json, "ServiceMeta", &query->service_meta);
    json_member_bool(json, "Connect", query->connect);
    json_member_str(json, "Peer", "");
    json_object_end(json);
}

void query_write(struct json *json, const struct catalog_query *query) {
    json_object_begin(json);
    json_member_str(json, "ID", query->id);
    json_member_str(json, "Name", query->name);
    json_member_str(json, "Session", query->session);
    json_member_str(json, "Token", query->token);
    json_key(json, "Template");
    json_object_begin(json);
    json_member_str(json, "Type", query->template_type);
    json_member_str(json, "Regexp", query->template_regexp);
    json_member_bool(json, "RemoveEmptyTags", query->remove_empty_tags);
    json_object_end(json);
    write_service(json, query);
    json_key(json, "DNS");
    json_object_begin(json);
    json_member_str(json, "TTL", query->dns_ttl);
    json_object_end(json);
    json_member_u64(json, "CreateIndex", query->create_index);
    json_member_u64(json, "ModifyIndex", query->modify_index);
    json_object_end(json);
}
