/* `cairn maint` and `cairn leave`. */
#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_client.h"

#define NODE_CHECK "_node_maintenance"
#define SERVICE_CHECK "_service_maintenance:"

/* ---- leave ---- */

int command_leave(int argc, char **argv) {
    const struct command_spec spec = {"leave [options]",
                                      "  The agent leaves its datacenter gracefully and stops.",
                                      NULL, 0, COMMAND_SET_CLIENT};
    struct command_line line;
    struct arena arena;
    struct err_text text = {""};
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        struct client *client = NULL;
        code = 1;
        if (line.arg_count > 0) {
            fprintf(stderr, "Error found unexpected args: [");
            for (int i = 0; i < line.arg_count; i++) {
                fprintf(stderr, "%s%s", i > 0 ? " " : "", line.args[i]);
            }
            fprintf(stderr, "]\n");
        } else if ((client = client_create(&line.options)) != NULL) {
            code = client_request(client, "PUT", "/v1/agent/leave", NULL, 0, NULL, NULL, &text) !=
                   ERR_OK;
            if (code == 0) {
                printf("Graceful leave complete\n");
            } else {
                fprintf(stderr, "Error leaving: %s\n", text.s);
            }
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}

/* ---- maint ---- */

struct maint {
    bool enable, disable;
    const char *reason, *service;
    struct client *client;
    struct arena arena;
    struct err_text text;
};

struct check {
    const char *id, *notes, *node;
};

struct checks {
    struct decode_objects by_id;
};

/* What is in maintenance mode shows in the agent's own checks. */
static int list(struct maint *maint) {
    static const struct decode_field check_fields[] = {
        DECODE_FIELD(struct check, id, "CheckID", DECODE_STR),
        DECODE_FIELD(struct check, notes, "Notes", DECODE_STR),
        DECODE_FIELD(struct check, node, "Node", DECODE_STR)};
    static const struct decode_spec check_spec = {"AgentCheck", sizeof(struct check), check_fields,
                                                  3, true};
    static const struct decode_field fields[] = {
        {.name = "checks", .kind = DECODE_OBJECT_MAP, .spec = &check_spec}};
    static const struct decode_spec spec = {"checks", sizeof(struct checks), fields, 1, true};
    struct checks checks = {0};
    struct buf body;
    enum err err = client_request(maint->client, "GET", "/v1/agent/checks", NULL, 0, NULL, &body,
                                  &maint->text);
    if (err == ERR_OK) {
        const char *object = arena_format(&maint->arena, "{\"checks\":%.*s}", (int)body.count,
                                          body.count > 0 ? body.data : "");
        err = decode_json(&spec, DECODE_BODY, object, strlen(object), &maint->arena, &checks,
                          &maint->text);
    }
    buf_clear(&body);
    if (err != ERR_OK) {
        fprintf(stderr, "Error querying Consul agent: %s\n", maint->text.s);
        return 1;
    }
    for (uint32_t i = 0; i < checks.by_id.count; i++) {
        const struct check *check = (const struct check *)checks.by_id.v + i;
        const char *id = str_or_empty(check->id), *notes = str_or_empty(check->notes);
        if (strcmp(id, NODE_CHECK) == 0) {
            printf("Node:\n  Name:   %s\n  Reason: %s\n\n", str_or_empty(check->node), notes);
        } else if (str_starts_with(id, SERVICE_CHECK)) {
            printf("Service:\n  ID:     %s\n  Reason: %s\n\n", id + strlen(SERVICE_CHECK), notes);
        }
    }
    return 0;
}

static int change(struct maint *maint) {
    bool of_service = *maint->service != '\0';
    const char *what = of_service ? "service" : "node";
    const char *path = !of_service ? "/v1/agent/maintenance"
                                   : arena_format(&maint->arena, "/v1/agent/service/maintenance/%s",
                                                  client_escape(maint->service, &maint->arena));
    const struct client_query queries[] = {{"enable", maint->enable ? "true" : "false"},
                                           {"reason", maint->reason}};
    if (client_request(maint->client, "PUT", path, queries, maint->enable ? 2 : 1, NULL, NULL,
                       &maint->text) != ERR_OK) {
        fprintf(stderr, "Error %s %s maintenance: %s\n", maint->enable ? "enabling" : "disabling",
                what, maint->text.s);
        return 1;
    }
    const char *now = maint->enable ? "enabled" : "disabled";
    if (of_service) {
        printf("Service maintenance is now %s for \"%s\"\n", now, maint->service);
    } else {
        printf("Node maintenance is now %s\n", now);
    }
    return 0;
}

static const char *judge(const struct maint *maint) {
    bool changes = maint->enable || maint->disable;
    return maint->enable && maint->disable ? "Only one of -enable or -disable may be provided"
           : !maint->enable && *maint->reason != '\0' ? "Reason may only be provided with -enable"
           : !changes && *maint->service != '\0' ? "Service requires either -enable or -disable"
                                                 : NULL;
}

int command_maint(int argc, char **argv) {
    struct maint maint = {.reason = "", .service = ""};
    const struct command_flag flags[] = {
        {"disable", COMMAND_FLAG_BOOL, &maint.disable, "Leave maintenance mode."},
        {"enable", COMMAND_FLAG_BOOL, &maint.enable, "Enter maintenance mode."},
        {"reason", COMMAND_FLAG_STR, &maint.reason, "Why, for those who look at the checks."},
        {"service", COMMAND_FLAG_STR, &maint.service, "ID of one service, instead of the node."},
    };
    const struct command_spec spec = {
        "maint [options]",
        "  Puts the node or one of its services into maintenance mode, where lookups for what is\n"
        "  healthy leave it out, or takes it out again. Without flags: what is in it.",
        flags, sizeof flags / sizeof flags[0], COMMAND_SET_CLIENT};
    struct command_line line;
    int code = 1;
    arena_init(&maint.arena);
    if (command_parse(&spec, argc, argv, &maint.arena, &line, &code)) {
        const char *wrong = judge(&maint);
        code = 1;
        if (wrong != NULL) {
            fprintf(stderr, "%s\n", wrong);
        } else if ((maint.client = client_create(&line.options)) != NULL) {
            code = maint.enable || maint.disable ? change(&maint) : list(&maint);
        }
        client_destroy(maint.client);
    }
    arena_clear(&maint.arena);
    return code;
}
