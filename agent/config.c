#include "agent/config.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config_keys.h"
#include "base/buf.h"
#include "base/decode.h"
#include "base/duration.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "catalog/definition.h"

#define FILE_BYTES_MAX (16 * 1024 * 1024)

/* ---- defaults ---- */

static void set_defaults(struct config *c) {
    *c = (struct config){.node_name = "",
                         .node_id = "",
                         .datacenter = "dc1",
                         .data_dir = "",
                         .bind_addr = "0.0.0.0",
                         .client_addr = "127.0.0.1",
                         .advertise_addr = "",
                         .http_addr = "",
                         .dns_addr = "",
                         .domain = "consul.",
                         .alt_domain = "",
                         .log_level = "INFO",
                         .http_port = 8500,
                         .dns_port = 8600,
                         .server_port = 8300,
                         .serf_lan_port = 8301,
                         .serf_wan_port = 8302,
                         .http_max_conns_per_client = LIMIT_HTTP_CONNECTIONS_PER_CLIENT,
                         .check_output_max_size = LIMIT_CHECK_OUTPUT_BYTES,
                         .default_query_time_ns = LIMIT_QUERY_WAIT_DEFAULT_MS * DURATION_MS,
                         .max_query_time_ns = LIMIT_QUERY_WAIT_MAX_MS * DURATION_MS,
                         .dns = {.allow_stale = true,
                                 .node_meta_txt = true,
                                 .udp_answer_limit = 3,
                                 .soa_refresh_s = 3600,
                                 .soa_retry_s = 600,
                                 .soa_expire_s = 86400}};
}

static void set_dev(struct config *c) {
    c->dev = c->server = c->bootstrap = true;
    c->bind_addr = "127.0.0.1";
    c->log_level = "DEBUG";
}

/* ---- flags ---- */

enum flag_kind { FLAG_STR, FLAG_BOOL, FLAG_INT, FLAG_DURATION, FLAG_META, FLAG_FILE, FLAG_DEV };

struct flag {
    const char *name;
    enum flag_kind kind;
    size_t offset;
    const char *help;
};

#define FLAG(name_, kind_, member, help_)                                                          \
    { name_, kind_, offsetof(struct config, member), help_ }

static const struct flag flags[] = {
    FLAG("advertise", FLAG_STR, advertise_addr, "address that others reach this agent at"),
    FLAG("alt-domain", FLAG_STR, alt_domain, "a further domain for DNS"),
    FLAG("bind", FLAG_STR, bind_addr, "address for traffic between agents"),
    FLAG("bootstrap", FLAG_BOOL, bootstrap, "this server makes itself the leader"),
    FLAG("bootstrap-expect", FLAG_INT, bootstrap_expect, "servers of the datacenter: 1"),
    FLAG("client", FLAG_STR, client_addr, "addresses for HTTP and DNS, blank-separated"),
    {"config-dir", FLAG_FILE, 0, "folder of configuration files"},
    {"config-file", FLAG_FILE, 0, "configuration file (JSON); may be repeated"},
    FLAG("data-dir", FLAG_STR, data_dir, "folder for the agent's state"),
    FLAG("datacenter", FLAG_STR, datacenter, "name of the datacenter"),
    FLAG("default-query-time", FLAG_DURATION, default_query_time_ns, "wait of a blocking query"),
    {"dev", FLAG_DEV, 0, "a server in memory, for trying things out"},
    FLAG("dns-port", FLAG_INT, dns_port, "port of DNS"),
    FLAG("domain", FLAG_STR, domain, "domain of DNS"),
    FLAG("enable-local-script-checks", FLAG_BOOL, enable_local_script_checks,
         "allows script checks in the agent's own files"),
    FLAG("enable-script-checks", FLAG_BOOL, enable_script_checks,
         "allows script checks, over HTTP only with http_config.allow_write_http_from"),
    FLAG("http-port", FLAG_INT, http_port, "port of HTTP"),
    FLAG("log-level", FLAG_STR, log_level, "TRACE, DEBUG, INFO, WARN or ERROR"),
    FLAG("max-query-time", FLAG_DURATION, max_query_time_ns, "longest wait of a blocking query"),
    FLAG("node", FLAG_STR, node_name, "name of this node"),
    FLAG("node-id", FLAG_STR, node_id, "UUID of this node"),
    FLAG("node-meta", FLAG_META, node_meta, "key:value about this node; may be repeated"),
    FLAG("serf-lan-port", FLAG_INT, serf_lan_port, "port of the LAN pool"),
    FLAG("serf-wan-port", FLAG_INT, serf_wan_port, "port of the WAN pool"),
    FLAG("server", FLAG_BOOL, server, "run as a server"),
    FLAG("server-port", FLAG_INT, server_port, "port of server RPC"),
};

void config_print_flags(void) {
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        bool bare = flags[i].kind == FLAG_BOOL || flags[i].kind == FLAG_DEV;
        printf("  -%s%s\n     %s\n\n", flags[i].name, bare ? "" : "=<value>", flags[i].help);
    }
}

static const struct flag *find_flag(const char *name, size_t size) {
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        if (strlen(flags[i].name) == size && memcmp(flags[i].name, name, size) == 0) {
            return &flags[i];
        }
    }
    return NULL;
}

static enum err bad_value(const struct flag *flag, const char *value, const char *reason,
                          struct err_text *text) {
    return err_set(text, ERR_INVALID, "invalid value \"%.128s\" for flag -%s: %s", value,
                   flag->name, reason);
}

/* Keeps the map sorted; the key's old value is replaced. */
static enum err add_meta(struct str_map *map, const struct flag *flag, const char *pair,
                         struct arena *arena, struct err_text *text) {
    const char *colon = strchr(pair, ':');
    if (colon == NULL) {
        return bad_value(flag, pair, "expected key:value", text);
    }
    const char *key = arena_strndup(arena, pair, (size_t)(colon - pair));
    struct str_pair *v = arena_alloc(arena, (map->count + 1) * sizeof *v);
    uint32_t count = 0, at = 0;
    while (at < map->count && strcmp(map->v[at].key, key) < 0) {
        v[count++] = map->v[at++];
    }
    v[count++] = (struct str_pair){key, colon + 1};
    at += at < map->count && strcmp(map->v[at].key, key) == 0;
    while (at < map->count) {
        v[count++] = map->v[at++];
    }
    *map = (struct str_map){.v = v, .count = count, .present = true};
    return ERR_OK;
}

static enum err set_flag(struct config *c, const struct flag *flag, const char *value,
                         struct arena *arena, struct err_text *text) {
    void *at = (char *)c + flag->offset;
    char *end;
    switch (flag->kind) {
    case FLAG_STR:
        *(const char **)at = value;
        return ERR_OK;
    case FLAG_BOOL:
        return str_parse_bool(value, at) ? ERR_OK : bad_value(flag, value, "parse error", text);
    case FLAG_INT:
        errno = 0;
        *(int64_t *)at = strtoll(value, &end, 10);
        return *value != '\0' && *end == '\0' && errno == 0
                   ? ERR_OK
                   : bad_value(flag, value, "parse error", text);
    case FLAG_DURATION:
        return duration_parse(value, at, NULL) == ERR_OK
                   ? ERR_OK
                   : bad_value(flag, value, "parse error", text);
    case FLAG_META:
        return add_meta(at, flag, value, arena, text);
    case FLAG_FILE:
    case FLAG_DEV:
        break;
    }
    return ERR_OK;
}

/* ---- files ---- */

static enum err read_all(const char *path, struct buf *out, struct err_text *text) {
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return err_set_errno(text, errno, "config: Open failed on %.200s", path);
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
        return err_set_errno(text, number, "config: cannot read %.200s", path);
    }
    return out->failed ? err_set(text, ERR_TOO_LARGE, "config: %.200s is too large", path) : ERR_OK;
}

static bool ends_with(const char *s, const char *end) {
    size_t size = strlen(s), end_size = strlen(end);
    return size >= end_size && strcmp(s + size - end_size, end) == 0;
}

static enum err load_file(struct config *c, const char *path, struct arena *arena,
                          struct err_text *text) {
    struct buf content;
    if (ends_with(path, ".hcl")) {
        return err_set(text, ERR_UNSUPPORTED,
                       "config: file %.200s: this version reads JSON files only", path);
    }
    if (!ends_with(path, ".json")) {
        return err_set(text, ERR_INVALID,
                       "file %.200s has unknown extension; must be .hcl or .json, or config format "
                       "must be set",
                       path);
    }
    buf_init(&content, FILE_BYTES_MAX);
    enum err err = read_all(path, &content, text);
    if (err == ERR_OK && content.count > 0) {
        err = config_decode(c, content.data, content.count, arena, text);
        if (err != ERR_OK) {
            err_prefix(text, "failed to parse %.200s", path);
        }
    }
    buf_clear(&content);
    return err;
}

static int compare_names(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum err list_folder(const char *path, struct arena *arena, const char ***ret_paths,
                            size_t *ret_count, struct err_text *text) {
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return err_set_errno(text, errno, "config: cannot list %.200s", path);
    }
    const char **paths = NULL;
    size_t count = 0, capacity = 0;
    struct dirent *at;
    while ((at = readdir(dir)) != NULL) {
        if (!ends_with(at->d_name, ".json") && !ends_with(at->d_name, ".hcl")) {
            continue;
        }
        if (count == capacity) {
            capacity = capacity == 0 ? 16 : capacity * 2;
            const char **more = arena_alloc(arena, capacity * sizeof *more);
            if (count > 0) {
                memcpy(more, paths, count * sizeof *more);
            }
            paths = more;
        }
        paths[count++] = arena_format(arena, "%s/%s", path, at->d_name);
    }
    closedir(dir);
    if (count > 0) {
        qsort(paths, count, sizeof *paths, compare_names);
    }
    *ret_paths = paths;
    *ret_count = count;
    return ERR_OK;
}

static enum err load_path(struct config *c, const char *path, struct arena *arena,
                          struct err_text *text) {
    struct stat info;
    if (stat(path, &info) != 0) {
        return err_set_errno(text, errno, "config: Open failed on %.200s", path);
    }
    if (!S_ISDIR(info.st_mode)) {
        return load_file(c, path, arena, text);
    }
    const char **paths = NULL;
    size_t count = 0;
    enum err err = list_folder(path, arena, &paths, &count, text);
    for (size_t i = 0; err == ERR_OK && i < count; i++) {
        err = load_file(c, paths[i], arena, text);
    }
    return err;
}

/* ---- putting together ---- */

struct arguments {
    int argc;
    char **argv;
};

/* Calls visit with each flag and its value. */
static enum err walk_flags(const struct arguments *args, bool *ret_help,
                           enum err (*visit)(const struct flag *flag, const char *value,
                                             void *context, struct err_text *text),
                           void *context, struct err_text *text) {
    for (int i = 0; i < args->argc; i++) {
        const char *arg = args->argv[i];
        if (arg[0] != '-' || arg[1] == '\0') {
            return err_set(text, ERR_INVALID, "Unexpected extra arguments: [%.256s]", arg);
        }
        const char *name = arg + (arg[1] == '-' ? 2 : 1);
        size_t size = strcspn(name, "=");
        if ((size == 1 && *name == 'h') || (size == 4 && memcmp(name, "help", 4) == 0)) {
            *ret_help = true;
            return ERR_OK;
        }
        const struct flag *flag = find_flag(name, size);
        if (flag == NULL) {
            return err_set(text, ERR_UNKNOWN_KEY, "flag provided but not defined: -%.*s",
                           (int)(size < 128 ? size : 128), name);
        }
        const char *value = name[size] == '=' ? name + size + 1 : NULL;
        if (value == NULL && (flag->kind == FLAG_BOOL || flag->kind == FLAG_DEV)) {
            value = "true";
        } else if (value == NULL) {
            if (++i == args->argc) {
                return err_set(text, ERR_INVALID, "flag needs an argument: -%s", flag->name);
            }
            value = args->argv[i];
        }
        enum err err = visit(flag, value, context, text);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

struct load {
    struct config *config;
    struct arena *arena;
};

static enum err visit_dev(const struct flag *flag, const char *value, void *context,
                          struct err_text *text) {
    struct load *load = context;
    bool on = false;
    if (flag->kind == FLAG_DEV) {
        if (!str_parse_bool(value, &on)) {
            return bad_value(flag, value, "parse error", text);
        }
        if (on) {
            set_dev(load->config);
        }
    }
    return ERR_OK;
}

static enum err visit_file(const struct flag *flag, const char *value, void *context,
                           struct err_text *text) {
    struct load *load = context;
    return flag->kind == FLAG_FILE ? load_path(load->config, value, load->arena, text) : ERR_OK;
}

static enum err visit_value(const struct flag *flag, const char *value, void *context,
                            struct err_text *text) {
    struct load *load = context;
    return set_flag(load->config, flag, value, load->arena, text);
}

enum err config_load(int argc, char **argv, struct arena *arena, struct config *ret_config,
                     enum config_outcome *ret_outcome, struct err_text *text) {
    struct arguments args = {argc, argv};
    struct load load = {ret_config, arena};
    bool help = false;
    set_defaults(ret_config);
    enum err err = walk_flags(&args, &help, visit_dev, &load, text);
    if (err == ERR_OK && !help) {
        err = walk_flags(&args, &help, visit_file, &load, text);
    }
    if (err == ERR_OK && !help) {
        err = walk_flags(&args, &help, visit_value, &load, text);
    }
    if (err == ERR_OK && !help) {
        err = config_judge(ret_config, arena, text);
    }
    *ret_outcome = help ? CONFIG_HELP : CONFIG_RUN;
    return err;
}
