/* The handlers, an endpoint each; see http/routes.c. */
#ifndef HTTP_HANDLERS_H
#define HTTP_HANDLERS_H

#include "http/request.h"

/* A member of a pool as it is shown (contract 10.4). */
struct filter_member handle_member(const struct backend_member *member);
void encode_member(struct json *json, const struct filter_member *member);

/* Where the leader's RPC is; "" when none is known. In the arena. */
const char *handle_leader_address(const struct http_request *req);

http_local_fn handle_status_leader, handle_status_peers;

http_local_fn handle_catalog_datacenters;
http_call_fn handle_catalog_register, handle_catalog_deregister;
http_read_fn handle_catalog_nodes, handle_catalog_services, handle_catalog_service,
    handle_catalog_node, handle_catalog_node_services;

http_read_fn handle_health_node, handle_health_checks, handle_health_state, handle_health_service;

http_local_fn handle_agent_self, handle_agent_version, handle_agent_services, handle_agent_checks;
http_call_fn handle_agent_leave, handle_agent_reload, handle_agent_service_register,
    handle_agent_service_deregister, handle_agent_check_register, handle_agent_check_deregister,
    handle_agent_check_pass, handle_agent_check_warn, handle_agent_check_fail,
    handle_agent_check_update;
http_call_fn handle_agent_join, handle_agent_force_leave, handle_keyring_list,
    handle_keyring_install, handle_keyring_use, handle_keyring_remove;
http_finish_fn finish_json;
http_local_fn handle_agent_service, handle_agent_health_by_id, handle_agent_health_by_name;
http_call_fn handle_agent_maintenance, handle_agent_service_maintenance;

http_read_fn handle_kv_get, handle_session_info, handle_session_list, handle_session_node;
http_call_fn handle_kv_put, handle_kv_delete, handle_session_create, handle_session_destroy,
    handle_session_renew, handle_txn;
http_finish_fn finish_kv, finish_session_create, finish_session_renew, finish_txn;

http_read_fn handle_coordinate_nodes, handle_coordinate_node;
http_local_fn handle_coordinate_datacenters;
http_call_fn handle_coordinate_update;
http_read_fn handle_query_list, handle_query_get, handle_query_execute, handle_query_explain;
http_call_fn handle_query_create, handle_query_update, handle_query_delete;
http_finish_fn finish_query_create;

http_read_fn handle_failover_list, handle_failover_get;
http_call_fn handle_failover_set, handle_failover_remove;

http_read_fn handle_mesh_list;
http_stream_fn handle_agent_monitor, handle_agent_metrics_stream;
http_local_fn handle_mesh_off, handle_acl_off;
http_local_fn handle_agent_metrics, handle_agent_members, handle_agent_host;
http_call_fn handle_operator_raft_configuration, handle_operator_remove_peer,
    handle_operator_transfer_leader, handle_autopilot_get, handle_autopilot_set,
    handle_autopilot_health, handle_autopilot_state;
http_read_fn handle_operator_usage;
http_call_fn handle_event_fire;
http_finish_fn finish_event_fire;
http_local_fn handle_event_list;
http_call_fn handle_snapshot_save, handle_snapshot_restore;
http_finish_fn finish_snapshot_save;
http_finish_fn finish_autopilot_set, finish_autopilot_health;

#endif
