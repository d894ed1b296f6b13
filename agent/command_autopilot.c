/* `cairn operator autopilot state` (contract 3.5). */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_client.h"
#include "base/json.h"
#include "base/limits.h"

struct server {
    const char *name, *address, *version, *status, *type, *node_status, *contact;
    bool healthy;
    uint64_t last_term, last_index;
    struct str_map meta;
};

static const struct decode_field server_fields[] = {
    DECODE_FIELD(struct server, name, "Name", DECODE_STR),
    DECODE_FIELD(struct server, address, "Address", DECODE_STR),
    DECODE_FIELD(struct server, version, "Version", DECODE_STR),
    DECODE_FIELD(struct server, status, "Status", DECODE_STR),
    DECODE_FIELD(struct server, type, "NodeType", DECODE_STR),
    DECODE_FIELD(struct server, node_status, "NodeStatus", DECODE_STR),
    DECODE_FIELD(struct server, contact, "LastContact", DECODE_STR),
    DECODE_FIELD(struct server, healthy, "Healthy", DECODE_BOOL),
    DECODE_FIELD(struct server, last_term, "LastTerm", DECODE_U64),
    DECODE_FIELD(struct server, last_index, "LastIndex", DECODE_U64),
    DECODE_FIELD(struct server, meta, "Meta", DECODE_STR_MAP),
};
static const struct decode_spec server_spec = {"ServerState", sizeof(struct server), server_fields,
                                               sizeof server_fields / sizeof server_fields[0],
                                               true};

struct state {
    bool healthy;
    uint64_t tolerance, optimistic_tolerance;
    const char *leader;
    struct str_list voters;
    struct decode_objects servers; /* by id */
};

static const struct decode_field state_fields[] = {
    DECODE_FIELD(struct state, healthy, "Healthy", DECODE_BOOL),
    DECODE_FIELD(struct state, tolerance, "FailureTolerance", DECODE_U64),
    DECODE_FIELD(struct state, optimistic_tolerance, "OptimisticFailureTolerance", DECODE_U64),
    DECODE_FIELD(struct state, leader, "Leader", DECODE_STR),
    DECODE_FIELD(struct state, voters, "Voters", DECODE_STR_LIST),
    {.name = "Servers",
     .kind = DECODE_OBJECT_MAP,
     .offset = offsetof(struct state, servers),
     .spec = &server_spec},
};
static const struct decode_spec state_spec = {"AutopilotState", sizeof(struct state), state_fields,
                                              sizeof state_fields / sizeof state_fields[0], true};

static void print_str(const char *label, const char *value) {
    printf("      %-17s%s\n", label, value != NULL ? value : "");
}

static void print_server(const char *id, const struct server *server) {
    printf("   %s\n", id);
    print_str("Name:", server->name);
    print_str("Address:", server->address);
    print_str("Version:", server->version);
    print_str("Status:", server->status);
    print_str("Node Type:", server->type);
    print_str("Node Status:", server->node_status);
    print_str("Healthy:", server->healthy ? "true" : "false");
    print_str("Last Contact:", server->contact);
    printf("      %-17s%" PRIu64 "\n", "Last Term:", server->last_term);
    printf("      %-17s%" PRIu64 "\n", "Last Index:", server->last_index);
    if (server->meta.count > 0) {
        printf("      Meta\n");
    }
    for (uint32_t i = 0; i < server->meta.count; i++) {
        printf("         \"%s\": \"%s\"\n", server->meta.v[i].key, server->meta.v[i].value);
    }
}

static void print_state(const struct state *state) {
    printf("%-30s%s\n", "Healthy:", state->healthy ? "true" : "false");
    printf("%-30s%" PRIu64 "\n", "Failure Tolerance:", state->tolerance);
    printf("%-30s%" PRIu64 "\n", "Optimistic Failure Tolerance:", state->optimistic_tolerance);
    printf("%-30s%s\nVoters:\n", "Leader:", state->leader != NULL ? state->leader : "");
    for (uint32_t i = 0; i < state->voters.count; i++) {
        printf("   %s\n", state->voters.v[i]);
    }
    printf("Servers:\n");
    const struct server *servers = state->servers.v;
    for (uint32_t i = 0; i < state->servers.count; i++) {
        print_server(state->servers.keys[i], &servers[i]);
    }
}

static void print_json(const struct buf *body) {
    struct buf out;
    struct json json;
    buf_init(&out, LIMIT_HTTP_ANSWER_BYTES);
    json_init(&json, &out, true);
    json_raw(&json, body->data);
    fwrite(out.data, 1, out.count, stdout);
    printf("\n");
    buf_clear(&out);
}

static int show(struct client *client, bool as_json, struct arena *arena) {
    struct err_text text = {""};
    struct state state = {.leader = ""};
    struct buf body = {0};
    enum err err =
        client_request(client, "GET", "/v1/operator/autopilot/state", NULL, 0, NULL, &body, &text);
    if (err == ERR_OK && !as_json) {
        err = decode_json(&state_spec, DECODE_BODY, body.data, body.count, arena, &state, &text);
    }
    if (err != ERR_OK) {
        fprintf(stderr, "Error querying Autopilot state: %s\n", text.s);
    } else if (as_json) {
        while (body.count > 0 && body.data[body.count - 1] == '\n') {
            body.count--;
        }
        buf_append_byte(&body, '\0');
        print_json(&body);
    } else {
        print_state(&state);
    }
    buf_clear(&body);
    return err != ERR_OK;
}

int command_autopilot_state(int argc, char **argv) {
    const char *format = "pretty";
    const struct command_flag flags[] = {{"format", COMMAND_FLAG_STR, &format, "pretty or json."}};
    const struct command_spec spec = {"operator autopilot state [options]",
                                      "  Shows what autopilot thinks of the servers.", flags, 1,
                                      COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    struct command_line line;
    struct arena arena;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        code = 1;
        if (strcmp(format, "pretty") != 0 && strcmp(format, "json") != 0) {
            fprintf(stderr, "Unknown format: %s\n", format);
        } else {
            struct client *client = client_create(&line.options);
            code = client == NULL || show(client, strcmp(format, "json") == 0, &arena) != 0;
            client_destroy(client);
        }
    }
    arena_clear(&arena);
    return code;
}
