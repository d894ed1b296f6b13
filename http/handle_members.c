/* Who belongs to this agent's pools, and to its Raft group: this server alone, as long as there is
 * no gossip (contract 10.4, 17.1). */
#include <string.h>

#include "http/handlers.h"

/* Tags in the order of their names, as maps have them. */
static struct str_map own_tags(const struct http_request *req) {
    const struct backend_facts *facts = req->backend->facts;
    const char *port = strrchr(facts->leader_address, ':');
    const struct str_pair tags[] = {
        {"acls", "0"},
        {"bootstrap", facts->bootstrap ? "1" : NULL},
        {"build", facts->version},
        {"dc", facts->datacenter},
        {"expect", facts->bootstrap_expect > 0
                       ? arena_format(req->arena, "%u", facts->bootstrap_expect)
                       : NULL},
        {"ft_fs", "1"},
        {"ft_si", "1"},
        {"id", facts->node_id},
        {"port", port != NULL ? port + 1 : ""},
        {"raft_vsn", "3"},
        {"role", facts->server ? "consul" : "node"},
        {"segment", ""},
        {"vsn", "2"},
        {"vsn_max", "3"},
        {"vsn_min", "2"},
        {"wan_join_port", arena_format(req->arena, "%u", facts->serf_wan_port)},
    };
    struct str_map map = {.v = arena_alloc(req->arena, sizeof tags), .present = true};
    for (size_t i = 0; i < sizeof tags / sizeof tags[0]; i++) {
        if (tags[i].value != NULL) {
            map.v[map.count++] = tags[i];
        }
    }
    return map;
}

struct filter_member handle_own_member(const struct http_request *req, bool wan) {
    const struct backend_facts *facts = req->backend->facts;
    return (struct filter_member){
        .name = wan ? arena_format(req->arena, "%s.%s", facts->node_name, facts->datacenter)
                    : facts->node_name,
        .address = facts->advertise_ip,
        .port = wan ? facts->serf_wan_port : facts->serf_lan_port,
        .tags = own_tags(req),
        .status = 1,
        .protocol_min = 1,
        .protocol_max = 5,
        .protocol_current = 2,
        .delegate_min = 2,
        .delegate_max = 5,
        .delegate_current = 4,
    };
}

void encode_member(struct json *json, const struct filter_member *member) {
    json_object_begin(json);
    json_member_str(json, "Name", member->name);
    json_member_str(json, "Addr", member->address);
    json_member_u64(json, "Port", member->port);
    json_member_map(json, "Tags", &member->tags);
    json_member_u64(json, "Status", member->status);
    json_member_u64(json, "ProtocolMin", member->protocol_min);
    json_member_u64(json, "ProtocolMax", member->protocol_max);
    json_member_u64(json, "ProtocolCur", member->protocol_current);
    json_member_u64(json, "DelegateMin", member->delegate_min);
    json_member_u64(json, "DelegateMax", member->delegate_max);
    json_member_u64(json, "DelegateCur", member->delegate_current);
    json_object_end(json);
}

static bool refuse_segment(const struct http_request *req, bool wan, struct http_response *res) {
    const char *segment = str_or_empty(http_request_param(req, "segment"));
    bool named = *segment != '\0' && strcmp(segment, "_all") != 0;
    if (wan && *segment != '\0') {
        http_response_text(res, 400, "Cannot provide a segment with wan=true");
    } else if (named) {
        http_response_text(res, 500,
                           "Network segments are not supported in this version of Consul");
    }
    return named || (wan && *segment != '\0');
}

void handle_agent_members(const struct http_request *req, struct http_response *res) {
    bool wan = *str_or_empty(http_request_param(req, "wan")) != '\0';
    struct json json;
    if (refuse_segment(req, wan, res)) {
        return;
    }
    struct filter_member own = handle_own_member(req, wan);
    http_response_json(res, req, &json);
    json_array_begin(&json);
    if (filter_keeps(req->filter, &own)) {
        encode_member(&json, &own);
    }
    json_array_end(&json);
    http_response_json_end(res, req);
}

void handle_operator_raft_configuration(const struct http_request *req, struct http_response *res) {
    const struct backend *backend = req->backend;
    struct http_query query;
    struct err_text text = {""};
    struct backend_stats stats;
    struct json json;
    enum err err = http_query_parse(req, 0, 0, &query, &text);
    backend->get_stats(backend->context, &stats);
    if (err == ERR_OK && !stats.leader && !query.stale) {
        err = err_set(&text, ERR_NO_LEADER, "No cluster leader");
    }
    if (err != ERR_OK) {
        http_response_error(res, err, &text);
        return;
    }
    http_response_json(res, req, &json);
    json_object_begin(&json);
    json_key(&json, "Servers");
    json_array_begin(&json);
    json_object_begin(&json);
    json_member_str(&json, "ID", backend->facts->node_id);
    json_member_str(&json, "Node", backend->facts->node_name);
    json_member_str(&json, "Address", backend->facts->leader_address);
    json_member_bool(&json, "Leader", stats.leader);
    json_member_str(&json, "ProtocolVersion", "3");
    json_member_bool(&json, "Voter", true);
    json_member_u64(&json, "LastIndex", stats.last_index);
    json_object_end(&json);
    json_array_end(&json);
    json_member_u64(&json, "Index", stats.configuration_index);
    json_object_end(&json);
    http_response_json_end(res, req);
}
