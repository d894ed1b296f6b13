#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "checks/checks.h"

/* Sorted. A name of two words belongs to the group that is its first. */
static const struct command {
    const char *name;
    command_fn *run; /* NULL: a group */
    const char *synopsis;
} commands[] = {
    {"agent", command_agent, "Runs an agent"},
    {"catalog", NULL, "Shows the catalog"},
    {"catalog datacenters", command_catalog_datacenters, "Lists the known datacenters"},
    {"catalog nodes", command_catalog_nodes, "Lists the nodes of a datacenter"},
    {"catalog services", command_catalog_services, "Lists the services of a datacenter"},
    {"event", command_event, "Tells an event to all agents"},
    {"force-leave", command_force_leave, "Tells a failed member to have left"},
    {"info", command_info, "Shows numbers about an agent"},
    {"join", command_join, "Makes an agent join a pool"},
    {"keygen", command_keygen, "Generates a key for the encryption of gossip"},
    {"keyring", command_keyring, "Manages the keys of gossip"},
    {"kv", NULL, "Reads and writes keys"},
    {"kv delete", command_kv_delete, "Deletes a key or all keys with a prefix"},
    {"kv export", command_kv_export, "Prints keys and values as JSON"},
    {"kv get", command_kv_get, "Reads a key or lists keys"},
    {"kv import", command_kv_import, "Writes keys from the JSON of an export"},
    {"kv put", command_kv_put, "Writes a key, or takes or gives back a lock on it"},
    {"leave", command_leave, "Makes an agent leave its datacenter and stop"},
    {"lock", command_lock, "Runs a program while it holds a lock or a semaphore"},
    {"maint", command_maint, "Controls maintenance mode of a node or service"},
    {"members", command_members, "Lists the members of an agent's pool"},
    {"monitor", command_monitor, "Shows the log of a running agent"},
    {"operator", NULL, "Manages the group of servers"},
    {"operator autopilot", NULL, "Shows and changes what autopilot goes by"},
    {"operator autopilot get-config", command_autopilot_get_config, "Shows it"},
    {"operator autopilot set-config", command_autopilot_set_config, "Changes it"},
    {"operator autopilot state", command_autopilot_state, "Shows what it thinks of the servers"},
    {"operator raft", NULL, "Shows and changes the Raft group"},
    {"operator raft list-peers", command_raft_list_peers, "Lists its servers"},
    {"operator raft remove-peer", command_raft_remove_peer, "Removes a server from it"},
    {"operator raft transfer-leader", command_raft_transfer_leader, "Makes another server lead"},
    {"operator usage", NULL, "Shows how much there is"},
    {"operator usage instances", command_usage_instances, "Counts services and nodes"},
    {"reload", command_reload, "Makes the agent read its configuration anew"},
    {"rtt", command_rtt, "Estimates the round trip between two nodes"},
    {"services", NULL, "Registers and deregisters services"},
    {"services deregister", command_services_deregister, "Takes services off an agent"},
    {"services register", command_services_register, "Registers services with an agent"},
    {"snapshot", NULL, "Saves and restores what the servers hold"},
    {"snapshot inspect", command_snapshot_inspect, "Shows what a saved snapshot holds"},
    {"snapshot restore", command_snapshot_restore, "Replaces everything by a saved snapshot"},
    {"snapshot save", command_snapshot_save, "Saves everything to a file"},
    {"validate", command_validate, "Judges configuration files and folders"},
    {"version", command_version, "Prints the version"},
    {"watch", command_watch, "Runs a program whenever an answer changes"},
};

#define COMMANDS (sizeof commands / sizeof commands[0])

/* What follows "<group> " in a name; NULL: not a command of the group. group "" is the top. */
static const char *name_within(const char *name, const char *group) {
    size_t size = strlen(group);
    if (size > 0 && (strncmp(name, group, size) != 0 || name[size] != ' ')) {
        return NULL;
    }
    const char *rest = size > 0 ? name + size + 1 : name;
    return strchr(rest, ' ') == NULL ? rest : NULL;
}

static void usage(FILE *to, const char *group) {
    int widest = 0;
    for (size_t i = 0; i < COMMANDS; i++) {
        const char *name = name_within(commands[i].name, group);
        widest = name != NULL && (int)strlen(name) > widest ? (int)strlen(name) : widest;
    }
    if (*group == '\0') {
        fprintf(to, "Usage: cairn [--version] [--help] <command> [<args>]\n\n"
                    "Available commands are:\n");
    } else {
        fprintf(to, "Usage: cairn %s <subcommand> [options] [args]\n\nSubcommands:\n", group);
    }
    for (size_t i = 0; i < COMMANDS; i++) {
        const char *name = name_within(commands[i].name, group);
        if (name != NULL) {
            fprintf(to, "    %-*s    %s\n", widest, name, commands[i].synopsis);
        }
    }
    fprintf(to, "\n");
}

static bool is_one_of(const char *s, const char *a, const char *b, const char *c) {
    return strcmp(s, a) == 0 || strcmp(s, b) == 0 || strcmp(s, c) == 0;
}

static const struct command *find(const char *group, const char *word) {
    for (size_t i = 0; i < COMMANDS; i++) {
        const char *name = name_within(commands[i].name, group);
        if (name != NULL && strcmp(name, word) == 0) {
            return &commands[i];
        }
    }
    return NULL;
}

/* Commands of the field that this program will not have (contract 3.3, 3.5, 3.7), said so that a
 * script finds out why. */
static bool is_left_out(const char *group, const char *word) {
    static const char *const all[] = {"config",
                                      "connect",
                                      "debug",
                                      "exec",
                                      "intention",
                                      "license",
                                      "namespace",
                                      "operator area",
                                      "partition",
                                      "peering",
                                      "resource",
                                      "services export",
                                      "services exported-services",
                                      "snapshot agent",
                                      "snapshot decode",
                                      "troubleshoot"};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const char *name = name_within(all[i], group);
        if (name != NULL && strcmp(name, word) == 0) {
            fprintf(stderr, "The command \"%s\" is not supported.\n", all[i]);
            return true;
        }
    }
    return false;
}

static int run_group(const char *group, int argc, char **argv) {
    const struct command *command = argc > 0 ? find(group, argv[0]) : NULL;
    if (argc > 0 && is_left_out(group, argv[0])) {
        return 1;
    }
    if (command != NULL) {
        return command->run != NULL ? command->run(argc - 1, argv + 1)
                                    : run_group(command->name, argc - 1, argv + 1);
    }
    bool help = argc > 0 && is_one_of(argv[0], "-h", "-help", "--help");
    usage(help ? stdout : stderr, group);
    return help ? 0 : 1;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        usage(stderr, "");
        return 127;
    }
    if (strcmp(argv[1], CHECKS_HELPER_COMMAND) == 0) { /* for the agent alone, so not listed */
        return checks_helper_main();
    }
    if (is_one_of(argv[1], "-h", "-help", "--help")) {
        usage(stdout, "");
        return 0;
    }
    if (is_one_of(argv[1], "-v", "-version", "--version")) {
        return command_version(0, NULL);
    }
    const char *flag = argv[1] + (strncmp(argv[1], "--", 2) == 0);
    if (strcmp(flag, "-autocomplete-install") == 0) {
        return command_completion_install(0, NULL);
    }
    if (strcmp(flag, "-autocomplete-uninstall") == 0) {
        return command_completion_uninstall(0, NULL);
    }
    const struct command *command = find("", argv[1]);
    if (command != NULL) {
        return command->run != NULL ? command->run(argc - 2, argv + 2)
                                    : run_group(command->name, argc - 2, argv + 2);
    }
    if (argv[1][0] == '-') {
        fprintf(stderr,
                "Invalid flags before the subcommand. If these flags are for the subcommand, "
                "please put them after the subcommand.\n\n");
        usage(stderr, "");
        return 1;
    }
    if (is_left_out("", argv[1])) {
        return 1;
    }
    usage(stderr, "");
    return 127;
}
