/* `cairn operator raft` and `cairn operator autopilot` (contract 3.5). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_client.h"
#include "agent/command_table.h"
#include "base/json.h"

/* ---- raft ---- */

struct server {
    const char *id, *node, *address, *protocol;
    bool leader, voter;
    uint64_t last_index;
};

static const struct decode_field server_fields[] = {
    DECODE_FIELD(struct server, id, "ID", DECODE_STR),
    DECODE_FIELD(struct server, node, "Node", DECODE_STR),
    DECODE_FIELD(struct server, address, "Address", DECODE_STR),
    DECODE_FIELD(struct server, protocol, "ProtocolVersion", DECODE_STR),
    DECODE_FIELD(struct server, leader, "Leader", DECODE_BOOL),
    DECODE_FIELD(struct server, voter, "Voter", DECODE_BOOL),
    DECODE_FIELD(struct server, last_index, "LastIndex", DECODE_U64),
};
static const struct decode_spec server_spec = {"RaftServer", sizeof(struct server), server_fields,
                                               sizeof server_fields / sizeof server_fields[0],
                                               true};

struct servers {
    struct decode_objects list;
};

static const struct decode_field list_fields[] = {{.name = "Servers",
                                                   .kind = DECODE_OBJECTS,
                                                   .offset = offsetof(struct servers, list),
                                                   .spec = &server_spec}};
static const struct decode_spec list_spec = {"RaftConfiguration", sizeof(struct servers),
                                             list_fields, 1, true};

static void print_servers(const struct servers *servers, struct arena *arena) {
    static const char *const head[] = {"Node",  "ID",           "Address",      "State",
                                       "Voter", "RaftProtocol", "Commit Index", "Trails Leader By",
                                       NULL};
    struct command_table table;
    const struct server *all = servers->list.v;
    uint64_t most = 0;
    for (uint32_t i = 0; i < servers->list.count; i++) {
        most = all[i].leader ? all[i].last_index : most;
    }
    command_table_init(&table, arena, head);
    for (uint32_t i = 0; i < servers->list.count; i++) {
        const struct server *server = &all[i];
        uint64_t trails = most > server->last_index ? most - server->last_index : 0;
        command_table_add(&table, server->node);
        command_table_add(&table, server->id);
        command_table_add(&table, server->address);
        command_table_add(&table, server->leader ? "leader" : "follower");
        command_table_add(&table, server->voter ? "true" : "false");
        command_table_add(&table, server->protocol);
        command_table_add(&table, arena_format(arena, "%" PRIu64, server->last_index));
        command_table_add(&table, server->leader ? "-"
                                                 : arena_format(arena, "%" PRIu64 " commit%s",
                                                                trails, trails == 1 ? "" : "s"));
    }
    command_table_print(&table, stdout);
}

int command_raft_list_peers(int argc, char **argv) {
    const struct command_spec spec = {"operator raft list-peers [options]",
                                      "  Lists the servers of the Raft group.", NULL, 0,
                                      COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    struct command_line line;
    struct arena arena;
    struct err_text text = {""};
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        struct servers servers = {0};
        struct client *client = client_create(&line.options);
        code = 1;
        if (client != NULL && client_get(client, "/v1/operator/raft/configuration", NULL, 0,
                                         &list_spec, false, &arena, &servers, &text) == ERR_OK) {
            print_servers(&servers, &arena);
            code = 0;
        } else if (client != NULL) {
            fprintf(stderr, "Error getting peers: Failed to retrieve raft configuration: %s\n",
                    text.s);
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}

int command_raft_remove_peer(int argc, char **argv) {
    const char *id = "", *address = "";
    const struct command_flag flags[] = {
        {"address", COMMAND_FLAG_STR, &address, "The server with this RPC address, IP:port."},
        {"id", COMMAND_FLAG_STR, &id, "The server with this node id."}};
    const struct command_spec spec = {"operator raft remove-peer [options]",
                                      "  Removes a server that will not come back from the group.",
                                      flags, 2, COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    struct command_line line;
    struct arena arena;
    struct err_text text = {""};
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        bool by_id = *id != '\0';
        struct client *client = NULL;
        enum err err = ERR_INVALID;
        if (!by_id && *address == '\0') {
            err_set(&text, err, "an address or id is required for the peer to remove");
        } else if (by_id && *address != '\0') {
            err_set(&text, err, "cannot give both an address and id");
        } else if ((client = client_create(&line.options)) != NULL) {
            const struct client_query query = {by_id ? "id" : "address", by_id ? id : address};
            err = client_request(client, "DELETE", "/v1/operator/raft/peer", &query, 1, NULL, NULL,
                                 &text);
        }
        code = err != ERR_OK;
        if (err == ERR_OK) {
            printf("Removed peer with %s \"%s\"\n", by_id ? "id" : "address", by_id ? id : address);
        } else if (text.s[0] != '\0') {
            fprintf(stderr, "Error removing peer: %s\n", text.s);
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}

int command_raft_transfer_leader(int argc, char **argv) {
    const char *id = "";
    const struct command_flag flags[] = {
        {"id", COMMAND_FLAG_STR, &id, "The server with this node id; default: the best one."}};
    const struct command_spec spec = {"operator raft transfer-leader [options]",
                                      "  The leader hands its leadership to another server.", flags,
                                      1, COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    struct command_line line;
    struct arena arena;
    struct err_text text = {""};
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        const struct client_query query = {"id", id};
        struct client *client = client_create(&line.options);
        code = 1;
        if (client != NULL &&
            client_request(client, "POST", "/v1/operator/raft/transfer-leader", &query,
                           *id != '\0' ? 1 : 0, NULL, NULL, &text) == ERR_OK) {
            printf("Success\n");
            code = 0;
        } else if (client != NULL) {
            fprintf(stderr, "Error transfering leadership: %s\n", text.s);
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}

/* ---- autopilot ---- */

struct autopilot {
    bool cleanup;
    const char *contact, *stabilization;
    int64_t trailing, quorum;
    uint64_t modify_index;
};

static const struct decode_field autopilot_fields[] = {
    DECODE_FIELD(struct autopilot, cleanup, "CleanupDeadServers", DECODE_BOOL),
    DECODE_FIELD(struct autopilot, contact, "LastContactThreshold", DECODE_STR),
    DECODE_FIELD(struct autopilot, stabilization, "ServerStabilizationTime", DECODE_STR),
    DECODE_FIELD(struct autopilot, trailing, "MaxTrailingLogs", DECODE_INT),
    DECODE_FIELD(struct autopilot, quorum, "MinQuorum", DECODE_INT),
    DECODE_FIELD(struct autopilot, modify_index, "ModifyIndex", DECODE_U64),
};
static const struct decode_spec autopilot_spec = {
    "AutopilotConfiguration", sizeof(struct autopilot), autopilot_fields,
    sizeof autopilot_fields / sizeof autopilot_fields[0], true};

static bool get_autopilot(struct client *client, struct arena *arena, struct autopilot *ret) {
    struct err_text text = {""};
    *ret = (struct autopilot){.contact = "", .stabilization = ""};
    if (client_get(client, "/v1/operator/autopilot/configuration", NULL, 0, &autopilot_spec, false,
                   arena, ret, &text) != ERR_OK) {
        fprintf(stderr, "Error querying Autopilot configuration: %s\n", text.s);
        return false;
    }
    return true;
}

int command_autopilot_get_config(int argc, char **argv) {
    const struct command_spec spec = {"operator autopilot get-config [options]",
                                      "  Shows what autopilot goes by.", NULL, 0,
                                      COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    struct command_line line;
    struct arena arena;
    struct autopilot a;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        struct client *client = client_create(&line.options);
        code = client == NULL || !get_autopilot(client, &arena, &a);
        if (code == 0) {
            printf("CleanupDeadServers = %s\nLastContactThreshold = %s\nMaxTrailingLogs = %" PRId64
                   "\nMinQuorum = %" PRId64 "\nServerStabilizationTime = %s\n"
                   "RedundancyZoneTag = \"\"\nDisableUpgradeMigration = false\n"
                   "UpgradeVersionTag = \"\"\n",
                   a.cleanup ? "true" : "false", a.contact, a.trailing, a.quorum, a.stabilization);
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}

static int put_autopilot(struct client *client, const struct autopilot *a, struct arena *arena) {
    struct client_query query = {"cas", arena_format(arena, "%" PRIu64, a->modify_index)};
    struct err_text text = {""};
    struct buf body, answer = {0};
    struct json json;
    buf_init(&body, 4096);
    json_init(&json, &body, false);
    json_object_begin(&json);
    json_member_bool(&json, "CleanupDeadServers", a->cleanup);
    json_member_str(&json, "LastContactThreshold", a->contact);
    json_member_u64(&json, "MaxTrailingLogs", (uint64_t)a->trailing);
    json_member_u64(&json, "MinQuorum", (uint64_t)a->quorum);
    json_member_str(&json, "ServerStabilizationTime", a->stabilization);
    json_object_end(&json);
    buf_append_byte(&body, '\0');
    enum err err = client_request(client, "PUT", "/v1/operator/autopilot/configuration", &query, 1,
                                  body.data, &answer, &text);
    bool done = err == ERR_OK && answer.count >= 4 && memcmp(answer.data, "true", 4) == 0;
    buf_clear(&body);
    buf_clear(&answer);
    if (err != ERR_OK) {
        fprintf(stderr, "Error setting Autopilot configuration: %s\n", text.s);
    } else if (done) {
        printf("Configuration updated!\n");
    } else {
        fprintf(stderr, "Configuration could not be atomically updated, please try again\n");
    }
    return done ? 0 : 1;
}

int command_autopilot_set_config(int argc, char **argv) {
    const char *cleanup = "", *contact = "", *stabilization = "";
    int64_t trailing = -1, quorum = -1;
    const struct command_flag flags[] = {
        {"cleanup-dead-servers", COMMAND_FLAG_STR, &cleanup, "true or false: remove failed ones."},
        {"disable-upgrade-migration", COMMAND_FLAG_DROP, NULL, "Accepted, no effect."},
        {"last-contact-threshold", COMMAND_FLAG_STR, &contact, "A healthy server was heard since."},
        {"max-trailing-logs", COMMAND_FLAG_INT, &trailing, "A healthy server lacks no more."},
        {"min-quorum", COMMAND_FLAG_INT, &quorum, "Voters that stay when failed ones go."},
        {"redundancy-zone-tag", COMMAND_FLAG_DROP, NULL, "Accepted, no effect."},
        {"server-stabilization-time", COMMAND_FLAG_STR, &stabilization,
         "A new server is healthy so long before it votes."},
        {"upgrade-version-tag", COMMAND_FLAG_DROP, NULL, "Accepted, no effect."}};
    const struct command_spec spec = {
        "operator autopilot set-config [options]", "  Changes what autopilot goes by.", flags,
        sizeof flags / sizeof flags[0], COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    struct command_line line;
    struct arena arena;
    struct autopilot a;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        struct client *client = client_create(&line.options);
        code = 1;
        if (*cleanup != '\0' && !str_parse_bool(cleanup, &a.cleanup)) {
            fprintf(stderr, "-cleanup-dead-servers must be true or false\n");
        } else if (client != NULL && get_autopilot(client, &arena, &a)) {
            if (*cleanup != '\0') {
                str_parse_bool(cleanup, &a.cleanup);
            }
            a.contact = *contact != '\0' ? contact : a.contact;
            a.stabilization = *stabilization != '\0' ? stabilization : a.stabilization;
            a.trailing = trailing >= 0 ? trailing : a.trailing;
            a.quorum = quorum >= 0 ? quorum : a.quorum;
            code = put_autopilot(client, &a, &arena);
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}
