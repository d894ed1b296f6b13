/* `cairn services register` and `cairn services deregister`. */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_client.h"
#include "agent/config.h"
#include "base/json.h"
#include "base/limits.h"

/* One service: what is sent to register it, and how it is called. */
struct entry {
    const char *json, *id, *name;
};

struct entries {
    struct entry *v;
    size_t count;
};

static void add_entry(struct entries *entries, struct entry entry, struct arena *arena) {
    struct entry *v = arena_alloc(arena, (entries->count + 1) * sizeof *v);
    if (entries->count > 0) {
        memcpy(v, entries->v, entries->count * sizeof *v);
    }
    v[entries->count++] = entry;
    entries->v = v;
}

static const char *take_json(struct buf *out, struct arena *arena) {
    const char *json = arena_strndup(arena, out->data, out->count);
    buf_clear(out);
    return json;
}

/* Files are configuration of an agent, of which only the services count. */
static bool load_files(struct entries *entries, const struct command_line *line,
                       struct arena *arena) {
    struct config config;
    const char *error = NULL;
    if (config_load_files(line->args, line->arg_count, "", true, arena, &config, &error) !=
        ERR_OK) {
        fprintf(stderr, "Error parsing services: %s\n", error);
        return false;
    }
    for (uint32_t i = 0; i < config.service_count; i++) {
        const struct service_definition *definition = &config.services[i];
        struct buf out;
        struct json json;
        buf_init(&out, LIMIT_CONFIG_JSON_BYTES);
        json_init(&json, &out, false);
        definition_write_service(&json, definition);
        add_entry(entries,
                  (struct entry){take_json(&out, arena), definition->service.id,
                                 definition->service.name},
                  arena);
    }
    return true;
}

/* ---- register ---- */

struct register_flags {
    const char *id, *name, *address, *socket, *kind;
    int64_t port;
    struct str_list meta, tags, tagged_addresses;
};

/* Sorts nothing and merges nothing: the agent does. */
static enum err put_meta(struct json *json, const struct str_list *meta, struct arena *arena,
                         struct err_text *text) {
    json_key(json, "Meta");
    json_object_begin(json);
    for (uint32_t i = 0; i < meta->count; i++) {
        const char *equals = strchr(meta->v[i], '=');
        if (equals == NULL) {
            return err_set(text, ERR_INVALID, "Error: key/value must be split on '=': %.128s",
                           meta->v[i]);
        }
        json_member_str(json, arena_strndup(arena, meta->v[i], (size_t)(equals - meta->v[i])),
                        equals + 1);
    }
    json_object_end(json);
    return ERR_OK;
}

/* name=address[:port]; an IPv6 address with a port is in brackets. */
static enum err put_tagged(struct json *json, const char *pair, struct arena *arena,
                           struct err_text *text) {
    const char *equals = strchr(pair, '=');
    if (equals == NULL) {
        return err_set(text, ERR_INVALID, "Error: key/value must be split on '=': %.128s", pair);
    }
    const char *address = equals + 1, *colon = strrchr(address, ':');
    uint64_t port = 0;
    size_t size = strlen(address);
    if (colon != NULL && (colon == strchr(address, ':') || colon[-1] == ']')) {
        if (!str_parse_u64(colon + 1, &port) || port > 65535) {
            return err_set(text, ERR_INVALID, "Error: invalid port of tagged address: %.128s",
                           pair);
        }
        size = (size_t)(colon - address);
    }
    if (size > 1 && address[0] == '[' && address[size - 1] == ']') {
        address++;
        size -= 2;
    }
    json_key(json, arena_strndup(arena, pair, (size_t)(equals - pair)));
    json_object_begin(json);
    json_member_str(json, "Address", arena_strndup(arena, address, size));
    json_member_u64(json, "Port", port);
    json_object_end(json);
    return ERR_OK;
}

/* A port in the address, or digits and dots that are no address, would be kept as a host name. */
static enum err judge_address(const char *address, struct err_text *text) {
    struct in_addr v4;
    struct in6_addr v6;
    size_t size = strlen(address);
    bool colon = strchr(address, ':') != NULL;
    bool digits = strspn(address, "0123456789.") == size;
    if (size == 0 || inet_pton(AF_INET, address, &v4) == 1 ||
        inet_pton(AF_INET6, address, &v6) == 1) {
        return ERR_OK;
    }
    if (colon) {
        return err_set(text, ERR_INVALID,
                       "Invalid Service address: \"%.128s\": it must be an IP address or a host "
                       "name without a port",
                       address);
    }
    return digits ? err_set(text, ERR_INVALID,
                            "Invalid Service address: \"%.128s\": not an IP address", address)
                  : ERR_OK;
}

static enum err from_flags(const struct register_flags *flags, struct entries *entries,
                           struct arena *arena, struct err_text *text) {
    struct buf out;
    struct json json;
    enum err err = judge_address(flags->address, text);
    buf_init(&out, LIMIT_CONFIG_FILE_BYTES);
    json_init(&json, &out, false);
    json_object_begin(&json);
    json_member_str(&json, "ID", flags->id);
    json_member_str(&json, "Name", flags->name);
    json_member_str(&json, "Kind", flags->kind);
    json_member_list(&json, "Tags", &flags->tags);
    json_member_str(&json, "Address", flags->address);
    json_key(&json, "Port");
    json_i64(&json, flags->port);
    json_member_str(&json, "SocketPath", flags->socket);
    if (err == ERR_OK) {
        err = put_meta(&json, &flags->meta, arena, text);
    }
    if (err == ERR_OK && flags->tagged_addresses.count > 0) {
        json_key(&json, "TaggedAddresses");
        json_object_begin(&json);
        for (uint32_t i = 0; err == ERR_OK && i < flags->tagged_addresses.count; i++) {
            err = put_tagged(&json, flags->tagged_addresses.v[i], arena, text);
        }
        json_object_end(&json);
    }
    json_object_end(&json);
    const char *sent = take_json(&out, arena);
    if (err == ERR_OK) {
        const char *id = *flags->id != '\0' ? flags->id : flags->name;
        add_entry(entries, (struct entry){sent, id, flags->name}, arena);
    }
    return err;
}

/* Files, or else one service from the flags. */
static bool gather(const struct command_line *line, bool flags_given, const char *action,
                   const char *flag, struct entries *entries, struct arena *arena) {
    if (line->arg_count == 0 && !flags_given) {
        fprintf(stderr, "Service %s requires at least one argument or flags.\n", action);
        return false;
    }
    if (line->arg_count > 0 && flags_given) {
        fprintf(stderr, "Service %s requires arguments or %s, not both.\n", action, flag);
        return false;
    }
    return line->arg_count == 0 || load_files(entries, line, arena);
}

static int register_all(struct client *client, const struct entries *entries) {
    struct err_text text = {""};
    for (size_t i = 0; i < entries->count; i++) {
        const struct entry *entry = &entries->v[i];
        if (client_request(client, "PUT", "/v1/agent/service/register", NULL, 0, entry->json, NULL,
                           &text) != ERR_OK) {
            fprintf(stderr, "Error registering service \"%s\": %s\n", entry->name, text.s);
            return 1;
        }
        printf("Registered service: %s\n", entry->name);
    }
    return 0;
}

int command_services_register(int argc, char **argv) {
    struct register_flags in = {.id = "", .name = "", .address = "", .socket = "", .kind = ""};
    const struct command_flag flags[] = {
        {"address", COMMAND_FLAG_STR, &in.address, "Address of the service."},
        {"id", COMMAND_FLAG_STR, &in.id, "ID of the service; the default is its name."},
        {"kind", COMMAND_FLAG_STR, &in.kind, "Kind of the service."},
        {"meta", COMMAND_FLAG_LIST, &in.meta, "Metadata as key=value. May be repeated."},
        {"name", COMMAND_FLAG_STR, &in.name, "Name of the service."},
        {"port", COMMAND_FLAG_INT, &in.port, "Port of the service."},
        {"socket", COMMAND_FLAG_STR, &in.socket, "Path of the service's socket."},
        {"tag", COMMAND_FLAG_LIST, &in.tags, "A tag. May be repeated."},
        {"tagged-address", COMMAND_FLAG_LIST, &in.tagged_addresses,
         "A further address as name=address:port. May be repeated."},
    };
    const struct command_spec spec = {
        "services register [options] [FILE...]",
        "  Registers services with the agent: those that the files define, or one that the flags\n"
        "  describe. They are gone when the agent is replaced, unless they are in its files.",
        flags, sizeof flags / sizeof flags[0],
        COMMAND_SET_CLIENT | COMMAND_SET_SERVER | COMMAND_SET_TENANCY};
    struct command_line line;
    struct entries entries = {0};
    struct err_text text = {""};
    struct arena arena;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        bool given = *in.name != '\0' || *in.id != '\0';
        code = 1;
        if (line.arg_count == 0 && *in.id != '\0' && *in.name == '\0') {
            fprintf(stderr, "Service registration requires at least one argument or flags.\n");
        } else if (gather(&line, given, "registration", "-id", &entries, &arena)) {
            struct client *client = NULL;
            if (given && from_flags(&in, &entries, &arena, &text) != ERR_OK) {
                fprintf(stderr, "%s\n", text.s);
            } else if ((client = client_create(&line.options)) != NULL) {
                code = register_all(client, &entries);
            }
            client_destroy(client);
        }
    }
    arena_clear(&arena);
    return code;
}

/* ---- deregister ---- */

int command_services_deregister(int argc, char **argv) {
    const char *id = "";
    const struct command_flag flags[] = {
        {"id", COMMAND_FLAG_STR, &id, "ID of the service."},
    };
    const struct command_spec spec = {
        "services deregister [options] [FILE...]",
        "  Takes services off the agent: those that the files define, or the one of -id.", flags, 1,
        COMMAND_SET_CLIENT | COMMAND_SET_SERVER | COMMAND_SET_TENANCY};
    struct command_line line;
    struct entries entries = {0};
    struct err_text text = {""};
    struct arena arena;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        bool given = *id != '\0';
        struct client *client = NULL;
        struct entry one = {NULL, id, id};
        code = 1;
        if (gather(&line, given, "deregistration", "-id", &entries, &arena)) {
            client = client_create(&line.options);
        }
        if (given) {
            entries = (struct entries){&one, 1};
        }
        for (size_t i = 0; client != NULL && i < entries.count; i++) {
            const char *path = arena_format(&arena, "/v1/agent/service/deregister/%s",
                                            client_escape(entries.v[i].id, &arena));
            if (client_request(client, "PUT", path, NULL, 0, NULL, NULL, &text) != ERR_OK) {
                fprintf(stderr, "Error deregistering service \"%s\": %s\n", entries.v[i].id,
                        text.s);
                break;
            }
            printf("Deregistered service: %s\n", entries.v[i].id);
            code = i + 1 < entries.count;
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}
