#include "agent/command_flags.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELP_COLUMNS 72 /* contract 3.1 */
#define HELP_INDENT 5
#define CLIENT_FLAGS 8
#define SERVER_FLAGS 2
#define TENANCY_FLAGS 3

/* ---- the shared sets ---- */

struct flag_sets {
    struct command_flag client[CLIENT_FLAGS], server[SERVER_FLAGS], tenancy[TENANCY_FLAGS];
};

static struct flag_sets make_sets(struct command_options *o) {
    struct flag_sets sets = {
        .client =
            {
                {"ca-file", COMMAND_FLAG_STR, &o->ca_file,
                 "Path to a CA file to use for TLS. Also by CONSUL_CACERT."},
                {"ca-path", COMMAND_FLAG_STR, &o->ca_path,
                 "Folder of CA certificates to use for TLS. Also by CONSUL_CAPATH."},
                {"client-cert", COMMAND_FLAG_STR, &o->client_cert,
                 "Path to a client certificate for TLS. Also by CONSUL_CLIENT_CERT."},
                {"client-key", COMMAND_FLAG_STR, &o->client_key,
                 "Path to the key of that certificate. Also by CONSUL_CLIENT_KEY."},
                {"http-addr", COMMAND_FLAG_STR, &o->http_addr,
                 "Address of the agent's HTTP API: host:port, http://, https:// or unix://path. "
                 "Also by CONSUL_HTTP_ADDR. The default is 127.0.0.1:8500."},
                {"tls-server-name", COMMAND_FLAG_STR, &o->tls_server_name,
                 "Server name to expect in TLS. Also by CONSUL_TLS_SERVER_NAME."},
                {"token", COMMAND_FLAG_STR, &o->token,
                 "ACL token to use in the request. Also by CONSUL_HTTP_TOKEN."},
                {"token-file", COMMAND_FLAG_STR, &o->token_file,
                 "File that holds the ACL token. Also by CONSUL_HTTP_TOKEN_FILE."},
            },
        .server =
            {
                {"datacenter", COMMAND_FLAG_STR, &o->datacenter,
                 "Datacenter to ask. The default is that of the agent."},
                {"stale", COMMAND_FLAG_BOOL, &o->stale,
                 "Permit any server to answer, even one that is behind."},
            },
        .tenancy =
            {
                {"namespace", COMMAND_FLAG_DROP, NULL, "Accepted and ignored."},
                {"partition", COMMAND_FLAG_DROP, NULL, "Accepted and ignored."},
                {"peer", COMMAND_FLAG_DROP, NULL, "Accepted and ignored."},
            },
    };
    return sets;
}

/* ---- help ---- */

/* Indents and wraps; a line of the text ends at the last blank that fits. */
static void print_wrapped(FILE *to, const char *text) {
    size_t room = HELP_COLUMNS - HELP_INDENT;
    while (*text != '\0') {
        size_t size = strlen(text);
        if (size > room) {
            size = room;
            while (size > 0 && text[size] != ' ') {
                size--;
            }
            size = size > 0 ? size : strcspn(text, " ");
        }
        fprintf(to, "%*s%.*s\n", HELP_INDENT, "", (int)size, text);
        text += size;
        text += strspn(text, " ");
    }
}

static void print_flags(FILE *to, const struct command_flag *flags, size_t count) {
    for (size_t i = 0; i < count; i++) {
        fprintf(to, "  -%s%s\n", flags[i].name,
                flags[i].kind == COMMAND_FLAG_BOOL ? "" : "=<value>");
        print_wrapped(to, flags[i].help);
        fprintf(to, "\n");
    }
}

static void print_help(FILE *to, const struct command_spec *spec, const struct flag_sets *sets) {
    fprintf(to, "Usage: cairn %s\n\n%s\n", spec->usage, spec->about);
    if (spec->sets != 0) {
        fprintf(to, "\nHTTP API Options\n\n");
        print_flags(to, sets->client, spec->sets & COMMAND_SET_CLIENT ? CLIENT_FLAGS : 0);
        print_flags(to, sets->server, spec->sets & COMMAND_SET_SERVER ? SERVER_FLAGS : 0);
        print_flags(to, sets->tenancy, spec->sets & COMMAND_SET_TENANCY ? TENANCY_FLAGS : 0);
    }
    if (spec->flag_count > 0) {
        fprintf(to, "\nCommand Options\n\n");
        print_flags(to, spec->flags, spec->flag_count);
    }
}

/* ---- parsing ---- */

static const struct command_flag *find_in(const struct command_flag *flags, size_t count,
                                          const char *name, size_t size) {
    for (size_t i = 0; i < count; i++) {
        if (strlen(flags[i].name) == size && memcmp(flags[i].name, name, size) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

static const struct command_flag *
find(const struct command_spec *spec, const struct flag_sets *sets, const char *name, size_t size) {
    const struct command_flag *flag = find_in(spec->flags, spec->flag_count, name, size);
    if (flag == NULL && (spec->sets & COMMAND_SET_CLIENT)) {
        flag = find_in(sets->client, CLIENT_FLAGS, name, size);
    }
    if (flag == NULL && (spec->sets & COMMAND_SET_SERVER)) {
        flag = find_in(sets->server, SERVER_FLAGS, name, size);
    }
    if (flag == NULL && (spec->sets & COMMAND_SET_TENANCY)) {
        flag = find_in(sets->tenancy, TENANCY_FLAGS, name, size);
    }
    return flag;
}

static bool set(const struct command_flag *flag, const char *value, struct arena *arena) {
    char *end;
    switch (flag->kind) {
    case COMMAND_FLAG_STR:
        *(const char **)flag->to = value;
        return true;
    case COMMAND_FLAG_BOOL:
        return str_parse_bool(value, flag->to);
    case COMMAND_FLAG_INT:
        errno = 0;
        *(int64_t *)flag->to = strtoll(value, &end, 10);
        return *value != '\0' && *end == '\0' && errno == 0;
    case COMMAND_FLAG_LIST: {
        struct str_list *list = flag->to;
        const char **v = arena_alloc(arena, (list->count + 1) * sizeof *v);
        if (list->count > 0) {
            memcpy(v, list->v, list->count * sizeof *v);
        }
        v[list->count] = value;
        *list = (struct str_list){v, list->count + 1};
        return true;
    }
    case COMMAND_FLAG_DROP:
        break;
    }
    return true;
}

static bool is_help(const char *arg) {
    return strcmp(arg, "-h") == 0 || strcmp(arg, "-help") == 0 || strcmp(arg, "--help") == 0;
}

/* The text of what is wrong; NULL: parsed. */
static const char *parse(const struct command_spec *spec, const struct flag_sets *sets, int argc,
                         char **argv, struct arena *arena, struct command_line *line) {
    int i = 0;
    for (; i < argc && argv[i][0] == '-' && argv[i][1] != '\0'; i++) {
        const char *name = argv[i] + (argv[i][1] == '-' ? 2 : 1);
        if (*name == '\0') { /* "--" ends the flags */
            i++;
            break;
        }
        size_t size = strcspn(name, "=");
        const struct command_flag *flag = find(spec, sets, name, size);
        if (flag == NULL) {
            return arena_format(arena, "flag provided but not defined: -%.*s", (int)size, name);
        }
        const char *value = name[size] == '=' ? name + size + 1 : NULL;
        if (value == NULL && flag->kind == COMMAND_FLAG_BOOL) {
            value = "true";
        } else if (value == NULL && i + 1 == argc) {
            return arena_format(arena, "flag needs an argument: -%s", flag->name);
        } else if (value == NULL) {
            value = argv[++i];
        }
        if (!set(flag, value, arena)) {
            return arena_format(arena, "invalid %svalue \"%s\" for %s-%s: parse error",
                                flag->kind == COMMAND_FLAG_BOOL ? "boolean " : "", value,
                                flag->kind == COMMAND_FLAG_BOOL ? "" : "flag ", flag->name);
        }
    }
    line->arg_count = argc - i;
    line->args = argv + i;
    return NULL;
}

bool command_parse(const struct command_spec *spec, int argc, char **argv, struct arena *arena,
                   struct command_line *ret_line, int *ret_code) {
    *ret_line = (struct command_line){.options = {"", "", "", "", "", "", "", "", "", false}};
    struct flag_sets sets = make_sets(&ret_line->options);
    for (int i = 0; i < argc && strcmp(argv[i], "--") != 0; i++) {
        if (is_help(argv[i])) {
            print_help(stdout, spec, &sets);
            *ret_code = 0;
            return false;
        }
    }
    const char *wrong = parse(spec, &sets, argc, argv, arena, ret_line);
    if (wrong != NULL) {
        fprintf(stderr, "%s\n\n", wrong);
        print_help(stderr, spec, &sets);
        *ret_code = 1;
        return false;
    }
    return true;
}
