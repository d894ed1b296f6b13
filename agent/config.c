/* The command line, and the order in which the sources of configuration are laid over each other:
 * defaults, -dev, list flags, files, other flags, -hcl (contract 2.1, 2.5). */
#include "agent/config.h"

#include <stdio.h>
#include <string.h>

#include "agent/config_table.h"
#include "base/duration.h"
#include "base/limits.h"

enum flag_kind { FLAG_KEY, FLAG_PATH, FLAG_FORMAT, FLAG_DEV, FLAG_HCL };

struct flag {
    const char *name;
    enum flag_kind kind;
    const char *key;     /* FLAG_KEY: the key that it sets */
    const char *instead; /* the flag that replaces a deprecated one */
};

#define KEY(name, key)                                                                             \
    { name, FLAG_KEY, key, NULL }
#define OLD(name, key, instead)                                                                    \
    { name, FLAG_KEY, key, instead }

static const struct flag flags[] = {
    KEY("advertise", "advertise_addr"),
    KEY("advertise-wan", "advertise_addr_wan"),
    KEY("allow-write-http-from", "http_config.allow_write_http_from"),
    KEY("alt-domain", "alt_domain"),
    KEY("auto-reload-config", "auto_reload_config"),
    KEY("bind", "bind_addr"),
    KEY("bootstrap", "bootstrap"),
    KEY("bootstrap-expect", "bootstrap_expect"),
    KEY("check_output_max_size", "check_output_max_size"),
    KEY("client", "client_addr"),
    {"config-dir", FLAG_PATH, "a folder of configuration files, or a file", NULL},
    {"config-file", FLAG_PATH, "a configuration file, or a folder; may be repeated", NULL},
    {"config-format", FLAG_FORMAT, "hcl or json: what all of them hold, whatever their names",
     NULL},
    KEY("data-dir", "data_dir"),
    KEY("datacenter", "datacenter"),
    KEY("default-query-time", "default_query_time"),
    {"dev", FLAG_DEV, "a server in memory, for trying things out", NULL},
    KEY("disable-host-node-id", "disable_host_node_id"),
    KEY("disable-keyring-file", "disable_keyring_file"),
    KEY("dns-port", "ports.dns"),
    KEY("domain", "domain"),
    KEY("enable-local-script-checks", "enable_local_script_checks"),
    KEY("enable-script-checks", "enable_script_checks"),
    KEY("encrypt", "encrypt"),
    KEY("grpc-port", "ports.grpc"),
    KEY("grpc-tls-port", "ports.grpc_tls"),
    {"hcl", FLAG_HCL, "configuration in HCL, after all else; may be repeated", NULL},
    KEY("http-port", "ports.http"),
    KEY("https-port", "ports.https"),
    OLD("join", "retry_join", "-retry-join"),
    OLD("join-wan", "retry_join_wan", "-retry-join-wan"),
    KEY("log-file", "log_file"),
    KEY("log-json", "log_json"),
    KEY("log-level", "log_level"),
    KEY("log-rotate-bytes", "log_rotate_bytes"),
    KEY("log-rotate-duration", "log_rotate_duration"),
    KEY("log-rotate-max-files", "log_rotate_max_files"),
    KEY("max-query-time", "max_query_time"),
    KEY("node", "node_name"),
    KEY("node-id", "node_id"),
    KEY("node-meta", "node_meta"),
    OLD("non-voting-server", "read_replica", "-read-replica"),
    KEY("pid-file", "pid_file"),
    KEY("primary-gateway", "primary_gateways"),
    KEY("protocol", "protocol"),
    KEY("raft-protocol", "raft_protocol"),
    KEY("read-replica", "read_replica"),
    KEY("recursor", "recursors"),
    KEY("rejoin", "rejoin_after_leave"),
    KEY("retry-interval", "retry_interval"),
    KEY("retry-interval-wan", "retry_interval_wan"),
    KEY("retry-join", "retry_join"),
    KEY("retry-join-wan", "retry_join_wan"),
    KEY("retry-max", "retry_max"),
    KEY("retry-max-wan", "retry_max_wan"),
    KEY("segment", "segment"),
    KEY("serf-lan-allowed-cidrs", "serf_lan_allowed_cidrs"),
    KEY("serf-lan-bind", "serf_lan"),
    KEY("serf-lan-port", "ports.serf_lan"),
    KEY("serf-wan-allowed-cidrs", "serf_wan_allowed_cidrs"),
    KEY("serf-wan-bind", "serf_wan"),
    KEY("serf-wan-port", "ports.serf_wan"),
    KEY("server", "server"),
    KEY("server-port", "ports.server"),
    KEY("syslog", "enable_syslog"),
    KEY("ui", "ui_config.enabled"),
    OLD("ui-content-path", "ui_config.content_path", NULL),
    OLD("ui-dir", "ui_config.dir", NULL),
};

#define FLAGS (sizeof flags / sizeof flags[0])

static enum decode_kind kind_of(const struct flag *flag) {
    return flag->kind == FLAG_KEY   ? config_key_find(flag->key)->kind
           : flag->kind == FLAG_DEV ? DECODE_BOOL
                                    : DECODE_STR;
}

static bool is_bool(const struct flag *flag) {
    enum decode_kind kind = kind_of(flag);
    return kind == DECODE_BOOL || kind == DECODE_BOOL_SET;
}

void config_print_flags(FILE *to) {
    for (size_t i = 0; i < FLAGS; i++) {
        const struct config_key *key =
            flags[i].kind == FLAG_KEY ? config_key_find(flags[i].key) : NULL;
        fprintf(to, "  -%s%s\n     %s%s%s%s\n\n", flags[i].name,
                is_bool(&flags[i]) ? "" : "=<value>", key != NULL ? key->path : flags[i].key,
                key != NULL && key->effect == CONFIG_USED ? ": " : "",
                key != NULL && key->effect == CONFIG_USED ? key->note : "",
                key != NULL && key->effect != CONFIG_USED ? " (no effect in this version)" : "");
    }
}

static const struct flag *find_flag(const char *name, size_t size) {
    for (size_t i = 0; i < FLAGS; i++) {
        if (strlen(flags[i].name) == size && memcmp(flags[i].name, name, size) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

/* ---- the command line ---- */

struct given {
    const struct flag *flag;
    const char *value;
};

struct command_line {
    struct given *given;
    int count;
    bool help;
};

static enum err extra_arguments(struct config_load *load, const struct config_source *source,
                                int i) {
    const char *rest = source->argv[i];
    while (++i < source->argc) {
        rest = arena_format(load->arena, "%s %s", rest, source->argv[i]);
    }
    return config_fail(load, "Unexpected extra arguments: [%s]", rest);
}

static enum err take_argument(struct config_load *load, const struct config_source *source, int *i,
                              struct command_line *line) {
    const char *arg = source->argv[*i];
    if (arg[0] != '-' || arg[1] == '\0') {
        return extra_arguments(load, source, *i);
    }
    const char *name = arg + (arg[1] == '-' ? 2 : 1);
    size_t size = strcspn(name, "=");
    const struct flag *flag = find_flag(name, size);
    load->wrong_flag = true; /* until it is known to be right */
    if (flag == NULL) {
        return config_fail(load, "flag provided but not defined: -%.*s",
                           (int)(size < 128 ? size : 128), name);
    }
    const char *value = name[size] == '=' ? name + size + 1 : NULL;
    if (value == NULL && is_bool(flag)) {
        value = "true";
    } else if (value == NULL) {
        if (++*i >= source->argc) {
            return config_fail(load, "flag needs an argument: -%s", flag->name);
        }
        value = source->argv[*i];
    }
    line->given[line->count++] = (struct given){flag, value};
    load->wrong_flag = false;
    return ERR_OK;
}

static bool is_end(const char *arg) {
    return strcmp(arg, "--") == 0;
}

static bool is_help(const char *arg) {
    return strcmp(arg, "-h") == 0 || strcmp(arg, "-help") == 0 || strcmp(arg, "--help") == 0;
}

static enum err parse_command_line(struct config_load *load, const struct config_source *source,
                                   struct command_line *line) {
    enum err err = ERR_OK;
    line->given = arena_alloc(load->arena, ((size_t)source->argc + 1) * sizeof *line->given);
    for (int i = 0; i < source->argc && !line->help && !is_end(source->argv[i]); i++) {
        line->help = is_help(source->argv[i]);
    }
    for (int i = 0; err == ERR_OK && i < source->argc && !line->help; i++) {
        if (!is_end(source->argv[i])) {
            err = take_argument(load, source, &i, line);
        } else if (i + 1 < source->argc) {
            err = extra_arguments(load, source, i + 1);
            break;
        }
    }
    return err;
}

static enum err bad_value(struct config_load *load, const struct given *given) {
    load->wrong_flag = true;
    return is_bool(given->flag)
               ? config_fail(load, "invalid boolean value \"%s\" for -%s: parse error",
                             given->value, given->flag->name)
               : config_fail(load, "invalid value \"%s\" for flag -%s: parse error", given->value,
                             given->flag->name);
}

static enum err set_key(struct config_load *load, const struct given *given) {
    const struct flag *flag = given->flag;
    if (flag->instead != NULL) {
        config_warn(load, "The flag '-%s' is deprecated. Use the '%s' flag instead.", flag->name,
                    flag->instead);
    }
    return config_key_set(load, config_key_find(flag->key), given->value) ? ERR_OK
                                                                          : bad_value(load, given);
}

/* ---- the layers ---- */

static void set_dev(struct config_load *load) {
    struct config *c = &load->config;
    c->dev = c->server = c->bootstrap = c->enable_debug = true;
    c->bind_addr = "127.0.0.1";
    c->coordinate_period_ns = 100 * DURATION_MS;
    c->log.level_name = "DEBUG";
}

static enum err take_dev(struct config_load *load, const struct command_line *line,
                         const char **ret_format) {
    bool dev = false;
    for (int i = 0; i < line->count; i++) {
        const struct given *given = &line->given[i];
        if (given->flag->kind == FLAG_DEV && !str_parse_bool(given->value, &dev)) {
            return bad_value(load, given);
        }
        if (given->flag->kind == FLAG_FORMAT) {
            *ret_format = given->value;
            if (strcmp(given->value, "hcl") != 0 && strcmp(given->value, "json") != 0) {
                return config_fail(load, "config: -config-format must be either 'hcl' or 'json'");
            }
        }
    }
    if (dev) {
        set_dev(load);
    }
    return ERR_OK;
}

enum layer { LAYER_LISTS, LAYER_FILES, LAYER_FLAGS, LAYER_FRAGMENTS };

static void keep_path(struct config_load *load, const char *path) {
    struct str_list *paths = &load->config.paths;
    const char **v = arena_alloc(load->arena, (paths->count + 1) * sizeof *v);
    if (paths->count > 0) {
        memcpy(v, paths->v, paths->count * sizeof *v);
    }
    v[paths->count] = path;
    *paths = (struct str_list){v, paths->count + 1};
}

static enum err apply_one(struct config_load *load, const struct given *given, enum layer layer,
                          const char *format, unsigned *fragments) {
    bool list = kind_of(given->flag) == DECODE_STR_LIST;
    switch (given->flag->kind) {
    case FLAG_KEY:
        return (layer == LAYER_LISTS && list) || (layer == LAYER_FLAGS && !list)
                   ? set_key(load, given)
                   : ERR_OK;
    case FLAG_PATH:
        if (layer == LAYER_FILES) {
            keep_path(load, given->value);
            return config_read_path(load, given->value, format);
        }
        return ERR_OK;
    case FLAG_HCL:
        return layer == LAYER_FRAGMENTS
                   ? config_read_text(load,
                                      arena_format(load->arena, "flags-%u.hcl", (*fragments)++),
                                      true, given->value, strlen(given->value))
                   : ERR_OK;
    case FLAG_FORMAT:
    case FLAG_DEV:
        break;
    }
    return ERR_OK;
}

static enum err apply_layers(struct config_load *load, const struct command_line *line) {
    const char *format = "";
    unsigned fragments = 0;
    enum err err = take_dev(load, line, &format);
    for (int layer = LAYER_LISTS; layer <= LAYER_FRAGMENTS; layer++) {
        for (int i = 0; err == ERR_OK && i < line->count; i++) {
            err = apply_one(load, &line->given[i], (enum layer)layer, format, &fragments);
        }
    }
    return err;
}

static enum err finish(struct config_load *load, const struct config *running) {
    config_rename(load);
    enum err err = config_judge(load, running);
    return err == ERR_OK ? config_settle(load) : err;
}

enum err config_load(const struct config_source *source, struct arena *arena,
                     struct config *ret_config, enum config_outcome *ret_outcome,
                     const char **ret_error) {
    struct config_load *load = arena_alloc(arena, sizeof *load);
    struct command_line line = {0};
    config_load_init(load, arena);
    enum err err = parse_command_line(load, source, &line);
    if (err == ERR_OK && !line.help) {
        err = apply_layers(load, &line);
        err = err == ERR_OK ? finish(load, source->running) : err;
    }
    *ret_outcome = line.help ? CONFIG_HELP : load->wrong_flag ? CONFIG_USAGE : CONFIG_RUN;
    *ret_config = load->config;
    *ret_error = load->error;
    return err;
}

enum err config_load_files(char **paths, int count, const char *format, bool dev,
                           struct arena *arena, struct config *ret_config, const char **ret_error) {
    struct config_load *load = arena_alloc(arena, sizeof *load);
    enum err err = ERR_OK;
    config_load_init(load, arena);
    load->offline = true;
    if (dev) {
        set_dev(load);
    }
    for (int i = 0; err == ERR_OK && i < count; i++) {
        err = config_read_path(load, paths[i], format);
    }
    err = err == ERR_OK ? finish(load, NULL) : err;
    *ret_config = load->config;
    *ret_error = load->error;
    return err;
}
