/* The handlers, an endpoint each; see http/routes.c. */
#ifndef HTTP_HANDLERS_H
#define HTTP_HANDLERS_H

#include "http/request.h"

/* This agent as a member of its pool (contract 10.4); texts in the request's arena. */
struct filter_member handle_own_member(const struct http_request *req, bool wan);
void encode_member(struct json *json, const struct filter_member *member);

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
http_local_fn handle_agent_service, handle_agent_health_by_id, handle_agent_health_by_name;
http_call_fn handle_agent_maintenance, handle_agent_service_maintenance;

http_read_fn handle_mesh_list;
http_stream_fn handle_agent_monitor, handle_agent_metrics_stream;
http_local_fn handle_mesh_off, handle_acl_off;
http_local_fn handle_agent_metrics, handle_agent_members, handle_agent_host,
    handle_operator_raft_configuration;

#endif
