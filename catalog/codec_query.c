/* Prepared queries and failover policies as protobuf bytes. */
#include "catalog/codec_parts.h"
#include "catalog/codec_unknown.h"

static char **put_list(const struct str_list *list, size_t *ret_count) {
    *ret_count = list->count;
    return (char **)(uintptr_t)list->v;
}

Pb__Query *codec_put_query(const struct catalog_query *query, struct arena *arena) {
    Pb__Query *pb = arena_alloc(arena, sizeof *pb);
    pb__query__init(pb);
    pb->id = writable(query->id);
    pb->name = writable(query->name);
    pb->session = writable(query->session);
    pb->token = writable(query->token);
    pb->template_type = writable(query->template_type);
    pb->template_regexp = writable(query->template_regexp);
    pb->remove_empty_tags = query->remove_empty_tags;
    pb->service = writable(query->service);
    pb->near_node = writable(query->near_node);
    pb->datacenters = put_list(&query->datacenters, &pb->n_datacenters);
    pb->target_datacenters = put_list(&query->target_datacenters, &pb->n_target_datacenters);
    pb->ignored_checks = put_list(&query->ignored_checks, &pb->n_ignored_checks);
    pb->tags = put_list(&query->tags, &pb->n_tags);
    pb->datacenters_present = query->datacenters_present;
    pb->targets_present = query->targets_present;
    pb->ignored_checks_present = query->ignored_checks_present;
    pb->tags_present = query->tags_present;
    pb->node_meta = put_map(&query->node_meta, arena);
    pb->n_node_meta = query->node_meta.count;
    pb->node_meta_present = query->node_meta.present;
    pb->service_meta = put_map(&query->service_meta, arena);
    pb->n_service_meta = query->service_meta.count;
    pb->service_meta_present = query->service_meta.present;
    pb->nearest = query->nearest;
    pb->only_passing = query->only_passing;
    pb->connect = query->connect;
    pb->dns_ttl = writable(query->dns_ttl);
    pb->create_index = query->create_index;
    pb->modify_index = query->modify_index;
    codec_give_unknown(&pb->base, &query->unknown, arena);
    return pb;
}

struct catalog_query codec_get_query(const Pb__Query *pb, struct arena *arena) {
    return (struct catalog_query){
        .id = pb->id,
        .name = pb->name,
        .session = pb->session,
        .token = pb->token,
        .template_type = pb->template_type,
        .template_regexp = pb->template_regexp,
        .remove_empty_tags = pb->remove_empty_tags,
        .service = pb->service,
        .near_node = pb->near_node,
        .datacenters = get_list(pb->datacenters, pb->n_datacenters, arena),
        .target_datacenters = get_list(pb->target_datacenters, pb->n_target_datacenters, arena),
        .ignored_checks = get_list(pb->ignored_checks, pb->n_ignored_checks, arena),
        .tags = get_list(pb->tags, pb->n_tags, arena),
        .datacenters_present = pb->datacenters_present,
        .targets_present = pb->targets_present,
        .ignored_checks_present = pb->ignored_checks_present,
        .tags_present = pb->tags_present,
        .node_meta = get_map(pb->node_meta, pb->n_node_meta, pb->node_meta_present, arena),
        .service_meta =
            get_map(pb->service_meta, pb->n_service_meta, pb->service_meta_present, arena),
        .nearest = pb->nearest,
        .only_passing = pb->only_passing,
        .connect = pb->connect,
        .dns_ttl = pb->dns_ttl,
        .create_index = pb->create_index,
        .modify_index = pb->modify_index,
        .unknown = codec_take_unknown(&pb->base, arena),
    };
}

Pb__SetQuery *codec_put_set_query(const struct catalog_set_query *set, struct arena *arena) {
    static const struct catalog_query none = {.name = "",
                                              .session = "",
                                              .token = "",
                                              .template_type = "",
                                              .template_regexp = "",
                                              .service = "",
                                              .near_node = "",
                                              .dns_ttl = ""};
    struct catalog_query deletion = none;
    Pb__SetQuery *pb = arena_alloc(arena, sizeof *pb);
    pb__set_query__init(pb);
    deletion.id = set->query.id;
    pb->verb = (uint32_t)set->verb;
    pb->query = codec_put_query(set->verb == QUERY_DELETE ? &deletion : &set->query, arena);
    return pb;
}

enum err codec_get_set_query(const Pb__SetQuery *pb, struct arena *arena,
                             struct catalog_set_query *ret_set) {
    if (pb->query == NULL) {
        return ERR_CORRUPT;
    }
    *ret_set = (struct catalog_set_query){.verb = (enum catalog_query_verb)pb->verb,
                                          .query = codec_get_query(pb->query, arena)};
    return pb->verb < QUERY_VERB_COUNT ? ERR_OK : ERR_VERSION;
}

Pb__Failover *codec_put_failover(const struct catalog_failover *policy, struct arena *arena) {
    Pb__Failover *pb = arena_alloc(arena, sizeof *pb);
    pb__failover__init(pb);
    pb->service = writable(policy->service);
    pb->enabled = policy->enabled;
    pb->nearest = policy->nearest;
    pb->datacenters = put_list(&policy->datacenters, &pb->n_datacenters);
    pb->datacenters_present = policy->datacenters_present;
    pb->hold_down_ns = policy->hold_down_ns;
    pb->create_index = policy->create_index;
    pb->modify_index = policy->modify_index;
    codec_give_unknown(&pb->base, &policy->unknown, arena);
    return pb;
}

struct catalog_failover codec_get_failover(const Pb__Failover *pb, struct arena *arena) {
    return (struct catalog_failover){
        .service = pb->service,
        .enabled = pb->enabled,
        .nearest = pb->nearest,
        .datacenters = get_list(pb->datacenters, pb->n_datacenters, arena),
        .datacenters_present = pb->datacenters_present,
        .hold_down_ns = pb->hold_down_ns,
        .create_index = pb->create_index,
        .modify_index = pb->modify_index,
        .unknown = codec_take_unknown(&pb->base, arena),
    };
}

Pb__SetFailover *codec_put_set_failover(const struct catalog_set_failover *set,
                                        struct arena *arena) {
    Pb__SetFailover *pb = arena_alloc(arena, sizeof *pb);
    pb__set_failover__init(pb);
    pb->remove = set->remove;
    pb->policy = codec_put_failover(&set->policy, arena);
    return pb;
}

enum err codec_get_set_failover(const Pb__SetFailover *pb, struct arena *arena,
                                struct catalog_set_failover *ret_set) {
    if (pb->policy == NULL) {
        return ERR_CORRUPT;
    }
    *ret_set = (struct catalog_set_failover){.remove = pb->remove,
                                             .policy = codec_get_failover(pb->policy, arena)};
    return ERR_OK;
}
