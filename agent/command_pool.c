/* `cairn join`, `cairn force-leave` and `cairn keyring`: what operators do to a pool. */
#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_client.h"
#include "base/json.h"

/* ---- join ---- */

int command_join(int argc, char **argv) {
    bool wan = false;
    const struct command_flag flags[] = {
        {"wan", COMMAND_FLAG_BOOL, &wan, "Join the WAN pool of the servers."}};
    const struct command_spec spec = {
        "join [options] ADDRESS ...",
        "  The agent joins the pool of the agents at these addresses.", flags, 1,
        COMMAND_SET_CLIENT};
    const struct client_query query = {"wan", "1"};
    struct command_line line;
    struct arena arena;
    int code = 1, joined = 0;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        struct client *client = NULL;
        code = 1;
        if (line.arg_count == 0) {
            fprintf(stderr, "At least one address to join must be specified.\n");
        } else {
            client = client_create(&line.options);
        }
        for (int i = 0; client != NULL && i < line.arg_count; i++) {
            struct err_text text = {""};
            const char *path =
                arena_format(&arena, "/v1/agent/join/%s", client_escape(line.args[i], &arena));
            if (client_request(client, "PUT", path, &query, wan ? 1 : 0, NULL, NULL, &text) ==
                ERR_OK) {
                joined++;
            } else {
                fprintf(stderr, "Error joining address '%s': %s\n", line.args[i], text.s);
            }
        }
        if (joined > 0) {
            printf("Successfully joined cluster by contacting %d nodes.\n", joined);
            code = 0;
        } else if (client != NULL) {
            fprintf(stderr, "Failed to join any nodes.\n");
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}

/* ---- force-leave ---- */

int command_force_leave(int argc, char **argv) {
    bool prune = false, wan = false;
    const struct command_flag flags[] = {
        {"prune", COMMAND_FLAG_BOOL, &prune, "Forget the member altogether."},
        {"wan", COMMAND_FLAG_BOOL, &wan, "A member of the WAN pool."}};
    const struct command_spec spec = {"force-leave [options] NAME",
                                      "  A member that has failed is told to have left.", flags, 2,
                                      COMMAND_SET_CLIENT};
    struct command_line line;
    struct arena arena;
    struct err_text text = {""};
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        struct client_query queries[2];
        size_t count = 0;
        struct client *client = NULL;
        code = 1;
        if (line.arg_count != 1) {
            fprintf(stderr, "A single node name must be specified to force leave.\n");
        } else if ((client = client_create(&line.options)) != NULL) {
            if (prune) {
                queries[count++] = (struct client_query){"prune", "1"};
            }
            if (wan) {
                queries[count++] = (struct client_query){"wan", "1"};
            }
            const char *path = arena_format(&arena, "/v1/agent/force-leave/%s",
                                            client_escape(line.args[0], &arena));
            code = client_request(client, "PUT", path, queries, count, NULL, NULL, &text) != ERR_OK;
            if (code != 0) {
                fprintf(stderr, "Error force leaving: %s\n", text.s);
            }
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}

/* ---- keyring ---- */

/* Keys and their counts are an object whose names are the keys; counts are few. */
struct ring {
    bool wan;
    const char *datacenter, *keys, *primary_keys;
    int64_t nodes;
};

static const struct decode_field ring_fields[] = {
    DECODE_FIELD(struct ring, wan, "WAN", DECODE_BOOL),
    DECODE_FIELD(struct ring, datacenter, "Datacenter", DECODE_STR),
    DECODE_FIELD(struct ring, keys, "Keys", DECODE_RAW),
    DECODE_FIELD(struct ring, primary_keys, "PrimaryKeys", DECODE_RAW),
    DECODE_FIELD(struct ring, nodes, "NumNodes", DECODE_INT),
};

static const struct decode_spec ring_spec = {"KeyringResponse", sizeof(struct ring), ring_fields,
                                             sizeof ring_fields / sizeof ring_fields[0], true};

/* object: {"KEY":n,...}, compact; keys hold neither quotes nor backslashes. */
static void print_keys(const char *object, long long nodes) {
    const char *at = object;
    while (at != NULL && (at = strchr(at, '"')) != NULL) {
        size_t size = strcspn(at + 1, "\"");
        const char *colon = strchr(at + 1 + size, ':');
        long long count = 0;
        if (colon == NULL || sscanf(colon + 1, "%lld", &count) != 1) {
            return;
        }
        printf("  %.*s [%lld/%lld]\n", (int)size, at + 1, count, nodes);
        at = colon;
    }
}

static int list_keys(struct client *client, bool primary, bool local_only, struct arena *arena) {
    const struct client_query query = {"local-only", "true"};
    struct decode_objects rings = {0};
    struct err_text text = {""};
    printf("==> Gathering installed %sencryption keys...\n", primary ? "primary " : "");
    if (client_get(client, "/v1/operator/keyring", &query, local_only ? 1 : 0, &ring_spec, true,
                   arena, &rings, &text) != ERR_OK) {
        fprintf(stderr, "error: %s\n", text.s);
        return 1;
    }
    for (uint32_t i = 0; i < rings.count; i++) {
        const struct ring *ring = (const struct ring *)rings.v + i;
        printf("\n%s%s:\n", ring->wan ? "WAN" : ring->datacenter, ring->wan ? "" : " (LAN)");
        print_keys(primary ? ring->primary_keys : ring->keys, (long long)ring->nodes);
    }
    return 0;
}

static int change_key(struct client *client, const char *method, const char *what,
                      const char *key) {
    struct err_text text = {""};
    struct buf body;
    struct json json;
    printf("==> %s gossip encryption key...\n", what);
    buf_init(&body, 4096);
    json_init(&json, &body, false);
    json_object_begin(&json);
    json_member_str(&json, "Key", key);
    json_object_end(&json);
    buf_append_byte(&body, '\0');
    enum err err = body.failed ? err_set(&text, ERR_INVALID, "the key is too long")
                               : client_request(client, method, "/v1/operator/keyring", NULL, 0,
                                                body.data, NULL, &text);
    buf_clear(&body);
    if (err != ERR_OK) {
        fprintf(stderr, "error: %s\n", text.s);
    }
    return err != ERR_OK;
}

int command_keyring(int argc, char **argv) {
    bool list = false, primary = false, local_only = false;
    const char *install = "", *use = "", *removed = "";
    int64_t relay = 0;
    const struct command_flag flags[] = {
        {"install", COMMAND_FLAG_STR, &install, "Install a key at all members."},
        {"list", COMMAND_FLAG_BOOL, &list, "List the keys, and how many members have each."},
        {"list-primary", COMMAND_FLAG_BOOL, &primary, "List the keys that members encrypt with."},
        {"local-only", COMMAND_FLAG_BOOL, &local_only, "Only this datacenter's LAN pool."},
        {"relay-factor", COMMAND_FLAG_INT, &relay, "Accepted: members are asked directly."},
        {"remove", COMMAND_FLAG_STR, &removed, "Remove a key that is not the primary one."},
        {"use", COMMAND_FLAG_STR, &use, "Encrypt with this key, which is installed."},
    };
    const struct command_spec spec = {"keyring [options]",
                                      "  Manages the keys that gossip is encrypted with.", flags,
                                      sizeof flags / sizeof flags[0], COMMAND_SET_CLIENT};
    struct command_line line;
    struct arena arena;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        int actions = list + primary + (*install != '\0') + (*use != '\0') + (*removed != '\0');
        struct client *client = NULL;
        code = 1;
        if (actions != 1) {
            fprintf(stderr, actions > 1 ? "Only a single action is allowed\n"
                                        : "One of -list, -list-primary, -install, -use and -remove "
                                          "is needed\n");
        } else if (relay < 0 || relay > 5) {
            fprintf(stderr, "Error parsing relay factor: relay-factor must be in range: [0, 5]\n");
        } else if (local_only && !list && !primary) {
            fprintf(stderr, "Error validating local-only: local-only can only be set for list "
                            "requests\n");
        } else if ((client = client_create(&line.options)) != NULL) {
            code = list || primary    ? list_keys(client, primary, local_only, &arena)
                   : *install != '\0' ? change_key(client, "POST", "Installing new", install)
                   : *use != '\0'     ? change_key(client, "PUT", "Changing primary", use)
                                      : change_key(client, "DELETE", "Removing", removed);
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}
