/* The commands of the program, one table in main.c. argv holds what follows the command's name; the
 * result is the exit code. */
#ifndef AGENT_COMMAND_H
#define AGENT_COMMAND_H

typedef int command_fn(int argc, char **argv);

command_fn command_agent, command_validate, command_version;
command_fn command_catalog_datacenters, command_catalog_nodes, command_catalog_services;
command_fn command_info, command_keygen, command_leave, command_maint, command_members,
    command_monitor, command_reload;
command_fn command_kv_delete, command_kv_export, command_kv_get, command_kv_import, command_kv_put;
command_fn command_lock, command_rtt, command_watch;
command_fn command_autopilot_get_config, command_autopilot_set_config, command_autopilot_state,
    command_raft_list_peers, command_raft_remove_peer, command_raft_transfer_leader;
command_fn command_snapshot_inspect, command_snapshot_restore, command_snapshot_save;
command_fn command_event, command_force_leave, command_join, command_keyring;
command_fn command_usage_instances;
command_fn command_completion_install, command_completion_uninstall;
command_fn command_services_deregister, command_services_register;

#endif
