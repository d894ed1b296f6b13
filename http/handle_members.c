/* Who belongs to this agent's pools, and to its Raft group: this server alone, as long as there is
 * no gossip (contract 10.4, 17.1). */
#include <string.h>

#include "http/handlers.h"

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
    if (*str_or_empty(http_request_param(req, "filter")) != '\0') {
        http_response_text(res, 500, "?filter is not offered on members by this version");
        return;
    }
    http_response_json(res, req, &json);
    json_array_begin(&json);
    encode_member(&json, req, wan);
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
