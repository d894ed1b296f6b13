/* `cairn services register` and `cairn services deregister`. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "agent/command.h"
#include "agent/command_client.h"
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

/* ---- files: agent configuration of which only the services count ---- */

/* What names a service in its definition. */
struct names {
    const char *id, *name;
};

static enum err read_file(const char *path, struct buf *out, struct err_text *text) {
    int fd = strcmp(path, "-") == 0 ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(text, errno, "cannot open %.200s", path);
    }
    ssize_t n = 1;
    while (n > 0) {
        char *to = buf_reserve(out, 65536);
        n = to != NULL ? read(fd, to, 65536) : 0;
        out->count += n > 0 ? (size_t)n : 0;
    }
    int number = errno;
    close(fd);
    if (n < 0) {
        return err_set_errno(text, number, "cannot read %.200s", path);
    }
    return out->failed ? err_set(text, ERR_TOO_LARGE, "%.200s is too large", path) : ERR_OK;
}

static enum err add_entry(struct entries *entries, const char *json, struct arena *arena,
                          struct err_text *text) {
    static const struct decode_field fields[] = {
        DECODE_FIELD(struct names, id, "id", DECODE_STR),
        DECODE_FIELD(struct names, name, "name", DECODE_STR)};
    static const struct decode_spec spec = {"service", sizeof(struct names), fields, 2, true};
    struct names names = {"", ""};
    enum err err = decode_json(&spec, DECODE_BODY, json, strlen(json), arena, &names, text);
    if (err == ERR_OK) {
        struct entry *v = arena_alloc(arena, (entries->count + 1) * sizeof *v);
        if (entries->count > 0) {
            memcpy(v, entries->v, entries->count * sizeof *v);
        }
        const char *id = *names.id != '\0' ? names.id : names.name;
        v[entries->count++] = (struct entry){json, id, names.name};
        entries->v = v;
    }
    return err;
}

/* `service` as one or a list, `services` as a list. */
static enum err add_list(struct entries *entries, const char *json, struct arena *arena,
                         struct err_text *text) {
    if (*json != '[') {
        return add_entry(entries, json, arena, text);
    }
    size_t depth = 0, from = 1;
    bool quoted = false;
    enum err err = ERR_OK;
    for (size_t i = 1; json[i] != '\0' && err == ERR_OK; i++) {
        if (quoted) {
            i += json[i] == '\\';
            quoted = json[i] != '"';
        } else if (json[i] == '"') {
            quoted = true;
        } else if (json[i] == '{' || json[i] == '[') {
            depth++;
        } else if (depth > 0 && (json[i] == '}' || json[i] == ']')) {
            depth--;
        } else if (depth == 0 && (json[i] == ',' || json[i] == ']')) {
            if (i > from) {
                err = add_entry(entries, arena_strndup(arena, json + from, i - from), arena, text);
            }
            from = i + 1;
        }
    }
    return err;
}

struct file_lists {
    const char *service, *services;
};

static enum err load_file(struct entries *entries, const char *path, struct arena *arena,
                          struct err_text *text) {
    static const struct decode_field fields[] = {
        DECODE_FIELD(struct file_lists, service, "service", DECODE_RAW),
        DECODE_FIELD(struct file_lists, services, "services", DECODE_RAW)};
    static const struct decode_spec spec = {"config", sizeof(struct file_lists), fields, 2, true};
    struct file_lists lists = {NULL, NULL};
    struct buf content;
    buf_init(&content, LIMIT_CONFIG_FILE_BYTES);
    enum err err = read_file(path, &content, text);
    if (err == ERR_OK) {
        err = decode_json(&spec, DECODE_BODY, content.data, content.count, arena, &lists, text);
        if (err != ERR_OK) {
            err_prefix(text, "failed to parse %.200s", path);
        }
    }
    buf_clear(&content);
    if (err == ERR_OK && lists.service != NULL) {
        err = add_list(entries, lists.service, arena, text);
    }
    if (err == ERR_OK && lists.services != NULL) {
        err = add_list(entries, lists.services, arena, text);
    }
    return err;
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
    if (err == ERR_OK) {
        json_object_end(&json);
        err = add_entry(entries, arena_strndup(arena, out.data, out.count), arena, text);
    }
    buf_clear(&out);
    return err;
}

/* Files, or else one service from the flags. */
static bool gather(const struct command_line *line, bool flags_given, const char *action,
                   const char *flag, struct entries *entries, struct arena *arena) {
    struct err_text text = {""};
    if (line->arg_count == 0 && !flags_given) {
        fprintf(stderr, "Service %s requires at least one argument or flags.\n", action);
        return false;
    }
    if (line->arg_count > 0 && flags_given) {
        fprintf(stderr, "Service %s requires arguments or %s, not both.\n", action, flag);
        return false;
    }
    for (int i = 0; i < line->arg_count; i++) {
        if (load_file(entries, line->args[i], arena, &text) != ERR_OK) {
            fprintf(stderr, "Error parsing services: %s\n", text.s);
            return false;
        }
    }
    return true;
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
        "  Registers services with the agent: those that the JSON files define, or one that the\n"
        "  flags describe. They are gone when the agent is replaced, unless they are in its files.",
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
        "  Takes services off the agent: those that the JSON files define, or the one of -id.",
        flags, 1, COMMAND_SET_CLIENT | COMMAND_SET_SERVER | COMMAND_SET_TENANCY};
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
