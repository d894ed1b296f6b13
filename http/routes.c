/* The whole HTTP surface. Within a pattern's reach the longest one wins. */
#include <string.h>

#include "http/handlers.h"

#define MESH_OFF(verb, path)                                                                       \
    { .pattern = path, .method = verb, .local = handle_mesh_off }
#define ACL_OFF(verb, path)                                                                        \
    { .pattern = path, .method = verb, .local = handle_acl_off }

static const struct http_route routes[] = {
    /* status */
    {.pattern = "/v1/status/leader",
     .method = "GET",
     .local = handle_status_leader,
     .by_server = true},
    {.pattern = "/v1/status/peers",
     .method = "GET",
     .local = handle_status_peers,
     .by_server = true},
    /* catalog */
    {.pattern = "/v1/catalog/register",
     .method = "PUT",
     .dc_ignored = true,
     .call = handle_catalog_register,
     .ok_body = "true"},
    {.pattern = "/v1/catalog/deregister",
     .method = "PUT",
     .dc_ignored = true,
     .call = handle_catalog_deregister,
     .ok_body = "true"},
    {.pattern = "/v1/catalog/datacenters",
     .method = "GET",
     .local = handle_catalog_datacenters,
     .dc_ignored = true,
     .by_server = true},
    {.pattern = "/v1/catalog/nodes",
     .method = "GET",
     .read = handle_catalog_nodes,
     .watch = WATCH_NODES,
     .filter = FILTER_NODES},
    {.pattern = "/v1/catalog/services",
     .method = "GET",
     .read = handle_catalog_services,
     .watch = WATCH_SERVICES,
     .filter = FILTER_SERVICE_NODES,
     .cached = true},
    {.pattern = "/v1/catalog/service/",
     .method = "GET",
     .read = handle_catalog_service,
     .watch = WATCH_SERVICE,
     .filter = FILTER_SERVICE_NODES,
     .cached = true,
     .missing = "Missing service name"},
    {.pattern = "/v1/catalog/node/",
     .method = "GET",
     .read = handle_catalog_node,
     .watch = WATCH_NODE,
     .by_id = true,
     .filter = FILTER_SERVICES,
     .missing = "Missing node name"},
    {.pattern = "/v1/catalog/node-services/",
     .method = "GET",
     .read = handle_catalog_node_services,
     .watch = WATCH_NODE,
     .by_id = true,
     .filter = FILTER_SERVICES,
     .missing = "Missing node name"},
    /* health */
    {.pattern = "/v1/health/node/",
     .method = "GET",
     .read = handle_health_node,
     .watch = WATCH_NODE,
     .filter = FILTER_CHECKS,
     .missing = "Missing node name"},
    {.pattern = "/v1/health/checks/",
     .method = "GET",
     .read = handle_health_checks,
     .watch = WATCH_SERVICE,
     .filter = FILTER_CHECKS,
     .missing = "Missing service name"},
    {.pattern = "/v1/health/state/",
     .method = "GET",
     .read = handle_health_state,
     .watch = WATCH_CHECKS,
     .filter = FILTER_CHECKS,
     .missing = "Missing check state"},
    {.pattern = "/v1/health/service/",
     .method = "GET",
     .read = handle_health_service,
     .watch = WATCH_SERVICE,
     .filter = FILTER_INSTANCES,
     .cached = true,
     .missing = "Missing service name"},
    /* agent */
    {.pattern = "/v1/agent/self", .method = "GET", .local = handle_agent_self},
    {.pattern = "/v1/agent/version", .method = "GET", .local = handle_agent_version},
    {.pattern = "/v1/agent/members",
     .method = "GET",
     .local = handle_agent_members,
     .filter = FILTER_MEMBERS},
    {.pattern = "/v1/agent/monitor", .method = "GET", .stream = handle_agent_monitor},
    {.pattern = "/v1/agent/metrics", .method = "GET", .local = handle_agent_metrics},
    {.pattern = "/v1/agent/metrics/stream", .method = "GET", .stream = handle_agent_metrics_stream},
    {.pattern = "/v1/agent/host", .method = "GET", .local = handle_agent_host},
    {.pattern = "/v1/agent/services",
     .method = "GET",
     .local = handle_agent_services,
     .filter = FILTER_SERVICES},
    {.pattern = "/v1/agent/checks",
     .method = "GET",
     .local = handle_agent_checks,
     .filter = FILTER_CHECKS},
    {.pattern = "/v1/agent/reload", .method = "PUT", .call = handle_agent_reload, .ok_body = ""},
    {.pattern = "/v1/agent/service/",
     .method = "GET",
     .local = handle_agent_service,
     .by_hash = true},
    {.pattern = "/v1/agent/health/service/id/",
     .method = "GET",
     .local = handle_agent_health_by_id,
     .missing = "Missing serviceID"},
    {.pattern = "/v1/agent/health/service/name/",
     .method = "GET",
     .local = handle_agent_health_by_name,
     .missing = "Missing service Name"},
    {.pattern = "/v1/agent/maintenance",
     .method = "PUT",
     .call = handle_agent_maintenance,
     .ok_body = ""},
    {.pattern = "/v1/agent/service/maintenance/",
     .method = "PUT",
     .call = handle_agent_service_maintenance,
     .ok_body = "",
     .missing = "Missing service ID"},
    ACL_OFF("PUT", "/v1/agent/token/"),
    {.pattern = "/v1/agent/leave", .method = "PUT", .call = handle_agent_leave, .ok_body = ""},
    {.pattern = "/v1/agent/service/register",
     .method = "PUT",
     .call = handle_agent_service_register,
     .ok_body = ""},
    {.pattern = "/v1/agent/service/deregister/",
     .method = "PUT",
     .call = handle_agent_service_deregister,
     .ok_body = ""},
    {.pattern = "/v1/agent/check/register",
     .method = "PUT",
     .call = handle_agent_check_register,
     .ok_body = ""},
    {.pattern = "/v1/agent/check/deregister/",
     .method = "PUT",
     .call = handle_agent_check_deregister,
     .ok_body = ""},
    {.pattern = "/v1/agent/check/pass/",
     .method = "PUT",
     .call = handle_agent_check_pass,
     .ok_body = ""},
    {.pattern = "/v1/agent/check/warn/",
     .method = "PUT",
     .call = handle_agent_check_warn,
     .ok_body = ""},
    {.pattern = "/v1/agent/check/fail/",
     .method = "PUT",
     .call = handle_agent_check_fail,
     .ok_body = ""},
    {.pattern = "/v1/agent/check/update/",
     .method = "PUT",
     .call = handle_agent_check_update,
     .ok_body = ""},
    /* keys, sessions, transactions */
    {.pattern = "/v1/kv/", .method = "GET", .read = handle_kv_get, .watch = WATCH_KEY},
    {.pattern = "/v1/kv/", .method = "PUT", .call = handle_kv_put, .finish = finish_kv},
    {.pattern = "/v1/kv/", .method = "DELETE", .call = handle_kv_delete, .finish = finish_kv},
    {.pattern = "/v1/session/create",
     .method = "PUT",
     .call = handle_session_create,
     .finish = finish_session_create},
    {.pattern = "/v1/session/destroy/",
     .method = "PUT",
     .call = handle_session_destroy,
     .ok_body = "true",
     .missing = "Missing session"},
    {.pattern = "/v1/session/renew/",
     .method = "PUT",
     .call = handle_session_renew,
     .finish = finish_session_renew,
     .missing = "Missing session"},
    {.pattern = "/v1/session/info/",
     .method = "GET",
     .read = handle_session_info,
     .watch = WATCH_SESSION,
     .missing = "Missing session"},
    {.pattern = "/v1/session/node/",
     .method = "GET",
     .read = handle_session_node,
     .watch = WATCH_NODE_SESSIONS,
     .missing = "Missing node name"},
    {.pattern = "/v1/session/list",
     .method = "GET",
     .read = handle_session_list,
     .watch = WATCH_SESSIONS},
    /* prepared queries */
    {.pattern = "/v1/query", .method = "GET", .read = handle_query_list, .watch = WATCH_QUERIES},
    {.pattern = "/v1/query",
     .method = "POST",
     .call = handle_query_create,
     .finish = finish_query_create},
    {.pattern = "/v1/query/",
     .method = "GET",
     .read = handle_query_get,
     .watch = WATCH_QUERY,
     .options_untold = true},
    {.pattern = "/v1/query/", .method = "PUT", .call = handle_query_update, .ok_body = ""},
    {.pattern = "/v1/query/", .method = "DELETE", .call = handle_query_delete, .ok_body = ""},
    {.pattern = "/v1/query/",
     .suffix = "/execute",
     .method = "GET",
     .read = handle_query_execute,
     .watch = WATCH_QUERIES,
     .once = true,
     .cached = true,
     .options_untold = true},
    {.pattern = "/v1/query/",
     .suffix = "/explain",
     .method = "GET",
     .read = handle_query_explain,
     .watch = WATCH_QUERIES,
     .once = true,
     .options_untold = true},
    {.pattern = "/v1/txn", .method = "PUT", .call = handle_txn, .finish = finish_txn},
    /* events */
    {.pattern = "/v1/event/fire/",
     .method = "PUT",
     .call = handle_event_fire,
     .finish = finish_event_fire,
     .missing = "Missing name"},
    {.pattern = "/v1/event/list",
     .method = "GET",
     .local = handle_event_list,
     .watch = WATCH_EVENTS,
     .by_index = true},
    {.pattern = "/v1/agent/join/", .method = "PUT", .call = handle_agent_join, .ok_body = ""},
    {.pattern = "/v1/agent/force-leave/",
     .method = "PUT",
     .call = handle_agent_force_leave,
     .ok_body = ""},
    /* coordinates */
    {.pattern = "/v1/coordinate/datacenters",
     .method = "GET",
     .local = handle_coordinate_datacenters},
    {.pattern = "/v1/coordinate/nodes",
     .method = "GET",
     .read = handle_coordinate_nodes,
     .watch = WATCH_COORDINATES},
    {.pattern = "/v1/coordinate/node/",
     .method = "GET",
     .read = handle_coordinate_node,
     .watch = WATCH_COORDINATE},
    {.pattern = "/v1/coordinate/update",
     .method = "PUT",
     .call = handle_coordinate_update,
     .ok_body = ""},
    /* operator */
    {.pattern = "/v1/operator/keyring",
     .method = "GET",
     .own = true,
     .call = handle_keyring_list,
     .finish = finish_json},
    {.pattern = "/v1/operator/keyring",
     .method = "POST",
     .own = true,
     .call = handle_keyring_install,
     .ok_body = ""},
    {.pattern = "/v1/operator/keyring",
     .method = "PUT",
     .own = true,
     .call = handle_keyring_use,
     .ok_body = ""},
    {.pattern = "/v1/operator/keyring",
     .method = "DELETE",
     .own = true,
     .call = handle_keyring_remove,
     .ok_body = ""},
    {.pattern = "/v1/operator/raft/configuration",
     .method = "GET",
     .call = handle_operator_raft_configuration,
     .finish = finish_json},
    {.pattern = "/v1/operator/raft/peer",
     .method = "DELETE",
     .call = handle_operator_remove_peer,
     .ok_body = ""},
    {.pattern = "/v1/operator/raft/transfer-leader",
     .method = "POST",
     .call = handle_operator_transfer_leader,
     .finish = finish_json},
    {.pattern = "/v1/operator/raft/transfer-leader",
     .method = "PUT",
     .call = handle_operator_transfer_leader,
     .finish = finish_json},
    {.pattern = "/v1/operator/autopilot/configuration",
     .method = "GET",
     .call = handle_autopilot_get,
     .finish = finish_json},
    {.pattern = "/v1/operator/autopilot/configuration",
     .method = "PUT",
     .call = handle_autopilot_set,
     .finish = finish_autopilot_set},
    {.pattern = "/v1/operator/autopilot/health",
     .method = "GET",
     .call = handle_autopilot_health,
     .finish = finish_autopilot_health},
    {.pattern = "/v1/operator/autopilot/state",
     .method = "GET",
     .call = handle_autopilot_state,
     .finish = finish_json},
    {.pattern = "/v1/operator/usage",
     .method = "GET",
     .read = handle_operator_usage,
     .watch = WATCH_NODES},
    {.pattern = "/v1/snapshot",
     .method = "GET",
     .call = handle_snapshot_save,
     .finish = finish_snapshot_save},
    {.pattern = "/v1/snapshot", .method = "PUT", .call = handle_snapshot_restore, .ok_body = ""},
    /* what only a mesh has */
    {.pattern = "/v1/catalog/connect/",
     .method = "GET",
     .read = handle_mesh_list,
     .watch = WATCH_SERVICE,
     .missing = "Missing service name"},
    {.pattern = "/v1/catalog/gateway-services/",
     .method = "GET",
     .read = handle_mesh_list,
     .watch = WATCH_SERVICE,
     .missing = "Missing gateway name"},
    {.pattern = "/v1/health/connect/",
     .method = "GET",
     .read = handle_mesh_list,
     .watch = WATCH_SERVICE,
     .missing = "Missing service name"},
    {.pattern = "/v1/health/ingress/",
     .method = "GET",
     .read = handle_mesh_list,
     .watch = WATCH_SERVICE,
     .missing = "Missing service name"},
    MESH_OFF("GET", "/v1/agent/connect/ca/roots"),
    MESH_OFF("GET", "/v1/connect/ca/roots"),
    /* access control, which is off: one refusal for all */
    ACL_OFF("PUT", "/v1/acl/bootstrap"),
    ACL_OFF("POST", "/v1/acl/login"),
    ACL_OFF("POST", "/v1/acl/logout"),
    ACL_OFF("GET", "/v1/acl/replication"),
    ACL_OFF("GET", "/v1/acl/policies"),
    ACL_OFF("PUT", "/v1/acl/policy"),
    ACL_OFF("GET", "/v1/acl/policy/"),
    ACL_OFF("PUT", "/v1/acl/policy/"),
    ACL_OFF("DELETE", "/v1/acl/policy/"),
    ACL_OFF("GET", "/v1/acl/policy/name/"),
    ACL_OFF("GET", "/v1/acl/roles"),
    ACL_OFF("PUT", "/v1/acl/role"),
    ACL_OFF("GET", "/v1/acl/role/"),
    ACL_OFF("PUT", "/v1/acl/role/"),
    ACL_OFF("DELETE", "/v1/acl/role/"),
    ACL_OFF("GET", "/v1/acl/role/name/"),
    ACL_OFF("GET", "/v1/acl/binding-rules"),
    ACL_OFF("PUT", "/v1/acl/binding-rule"),
    ACL_OFF("GET", "/v1/acl/binding-rule/"),
    ACL_OFF("PUT", "/v1/acl/binding-rule/"),
    ACL_OFF("DELETE", "/v1/acl/binding-rule/"),
    ACL_OFF("GET", "/v1/acl/auth-methods"),
    ACL_OFF("PUT", "/v1/acl/auth-method"),
    ACL_OFF("GET", "/v1/acl/auth-method/"),
    ACL_OFF("PUT", "/v1/acl/auth-method/"),
    ACL_OFF("DELETE", "/v1/acl/auth-method/"),
    ACL_OFF("GET", "/v1/acl/tokens"),
    ACL_OFF("PUT", "/v1/acl/token"),
    ACL_OFF("GET", "/v1/acl/token/"),
    ACL_OFF("PUT", "/v1/acl/token/"),
    ACL_OFF("DELETE", "/v1/acl/token/"),
    ACL_OFF("GET", "/v1/acl/templated-policies"),
    ACL_OFF("GET", "/v1/acl/templated-policy/name/"),
    ACL_OFF("POST", "/v1/acl/templated-policy/preview/"),
    ACL_OFF("POST", "/v1/internal/acl/authorize"),
};

const struct http_route *http_routes(size_t *ret_count) {
    *ret_count = sizeof routes / sizeof routes[0];
    return routes;
}

static const char *suffix_of(const struct http_route *route) {
    return str_or_empty(route->suffix);
}

static bool is_same_path(const struct http_route *a, const struct http_route *b) {
    return strcmp(a->pattern, b->pattern) == 0 && strcmp(suffix_of(a), suffix_of(b)) == 0;
}

bool http_route_travels(const struct http_route *route) {
    static const char agents[] = "/v1/agent/";
    return strncmp(route->pattern, agents, sizeof agents - 1) != 0 && !route->own &&
           (route->read != NULL || route->call != NULL || route->by_server);
}

static const struct http_route *row_of_method(const struct http_route *first, const char *method) {
    const struct http_route *end = routes + sizeof routes / sizeof routes[0];
    for (const struct http_route *at = first; at < end && is_same_path(at, first); at++) {
        if (strcmp(at->method, method) == 0) {
            return at;
        }
    }
    return first;
}

const char *http_route_rest(const struct http_route *route, const char *rest, struct arena *arena) {
    size_t end = strlen(suffix_of(route));
    return end == 0 ? rest : arena_strndup(arena, rest, strlen(rest) - end);
}

const char *http_route_methods(const struct http_route *route, struct arena *arena) {
    const struct http_route *end = routes + sizeof routes / sizeof routes[0];
    const char *list = "OPTIONS";
    for (const struct http_route *at = routes; at < end; at++) {
        if (is_same_path(at, route)) {
            list = arena_format(arena, "%s,%s", list, at->method);
        }
    }
    return list;
}

const struct http_route *http_route_find(const char *path, const char *method,
                                         const char **ret_rest, bool *ret_redirect) {
    const struct http_route *best = NULL, *slashed = NULL;
    size_t best_size = 0, path_size = strlen(path);
    for (size_t i = 0; i < sizeof routes / sizeof routes[0]; i++) {
        const struct http_route *route = &routes[i];
        size_t size = strlen(route->pattern), end = strlen(suffix_of(route));
        bool prefix = route->pattern[size - 1] == '/';
        if (size + end > best_size && strncmp(path, route->pattern, size) == 0 &&
            (prefix || path_size == size) && path_size >= size + end &&
            strcmp(path + path_size - end, suffix_of(route)) == 0) {
            best = route;
            best_size = size + end;
        } else if (slashed == NULL && prefix && path_size + 1 == size &&
                   memcmp(route->pattern, path, path_size) == 0) {
            slashed = route;
        }
    }
    *ret_redirect = slashed != NULL && best_size < path_size; /* a path of its own comes first */
    best = *ret_redirect ? slashed : best;
    *ret_rest = best != NULL && !*ret_redirect ? path + strlen(best->pattern) : "";
    return best != NULL ? row_of_method(best, method) : NULL;
}
