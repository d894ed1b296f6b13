/* The rules on addresses and ports (contract 2.3, 2.4). */
#include <netdb.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config_table.h"
#include "agent/config_template.h"
#include "net/interface.h"

#define RECURSOR_PORT 53
#define UNIX_PREFIX "unix://"
#define PATH_BYTES_MAX 107 /* of a socket's name, with its NUL 108 */

/* The words of a value, its templates expanded. */
static enum err expand(struct config_load *load, const char *key, const char *value,
                       struct str_list *ret_words) {
    struct err_text text = {""};
    const char *at = value;
    if (template_expand(value, load->arena, &at, &text) != ERR_OK) {
        return config_fail(load, "%s: %s", key, text.s);
    }
    *ret_words = (struct str_list){0};
    const char **v = arena_alloc(load->arena, (strlen(at) / 2 + 1) * sizeof *v);
    while (*(at += strspn(at, " \t\n")) != '\0') {
        size_t size = strcspn(at, " \t\n");
        v[ret_words->count++] = arena_strndup(load->arena, at, size);
        at += size;
    }
    ret_words->v = v;
    return ERR_OK;
}

/* One IP address; ret_found false when the value is empty. */
static enum err expand_ip(struct config_load *load, const char *key, const char *value,
                          int64_t port, struct addr *ret_addr, bool *ret_found) {
    struct str_list words;
    enum err err = expand(load, key, value, &words);
    *ret_found = err == ERR_OK && words.count > 0;
    if (!*ret_found) {
        return err;
    }
    if (words.count > 1) {
        const char *all = words.v[0];
        for (uint32_t i = 1; i < words.count; i++) {
            all = arena_format(load->arena, "%s %s", all, words.v[i]);
        }
        return config_fail(load, "%s: multiple addresses found: %s", key, all);
    }
    return addr_parse(words.v[0], (uint16_t)port, ret_addr)
               ? ERR_OK
               : config_fail(load, "%s: invalid ip address: %s", key, words.v[0]);
}

static enum err judge_bind(struct config_load *load) {
    struct config *c = &load->config;
    struct str_list words;
    enum err err = expand(load, "bind_addr", c->bind_addr, &words);
    if (err != ERR_OK) {
        return err;
    }
    if (words.count > 1) {
        return config_fail(load, "bind_addr cannot contain multiple addresses. Use "
                                 "'addresses.{dns,http,https}' instead.");
    }
    if (words.count == 1 && str_starts_with(words.v[0], "unix:")) {
        return config_fail(load, "bind_addr cannot be a unix socket");
    }
    if (words.count == 0 || !addr_parse(words.v[0], (uint16_t)c->server_port, &c->bind)) {
        return config_fail(load, "bind_addr cannot be empty");
    }
    return ERR_OK;
}

struct public_v6 {
    struct addr addr;
    unsigned count;
};

static void find_public_v6(const struct interface *interface, void *context) {
    struct public_v6 *found = context;
    if (interface->addr.any.sa_family == AF_INET6 && !interface->private_address &&
        !interface->link_local && !addr_is_loopback(&interface->addr)) {
        found->addr = interface->addr;
        found->count++;
    }
}

/* What a host without a configured address advertises. */
static enum err guess_advertise(struct config_load *load) {
    struct config *c = &load->config;
    struct err_text text = {""};
    struct public_v6 found = {.count = 0};
    enum err err;
    if (c->bind.any.sa_family == AF_INET) {
        err = addr_find_private(&c->advertise, &text);
    } else {
        err = interface_walk(find_public_v6, &found, &text);
        c->advertise = found.addr;
        if (err == ERR_OK && found.count != 1) {
            err = found.count == 0
                      ? err_set(&text, ERR_NOT_FOUND, "No public IPv6 address found")
                      : err_set(&text, ERR_INVALID,
                                "Multiple public IPv6 addresses found. Please configure one with "
                                "'bind' and/or 'advertise'.");
        }
    }
    addr_set_port(&c->advertise, (uint16_t)c->server_port);
    return err == ERR_OK ? ERR_OK : config_fail(load, "%s", text.s);
}

static enum err judge_advertise(struct config_load *load) {
    struct config *c = &load->config;
    bool given;
    enum err err =
        expand_ip(load, "advertise_addr", c->advertise_addr, c->server_port, &c->advertise, &given);
    if (err == ERR_OK && !given) {
        c->advertise = c->bind;
        err = addr_is_any(&c->bind) ? guess_advertise(load) : ERR_OK;
    }
    if (err == ERR_OK && addr_is_any(&c->advertise)) {
        err = config_fail(load, "Advertise address cannot be 0.0.0.0, :: or [::]");
    }
    if (err == ERR_OK) {
        err = expand_ip(load, "advertise_addr_wan", c->advertise_addr_wan, c->server_port,
                        &c->advertise_wan, &given);
        c->advertise_wan = err == ERR_OK && !given ? c->advertise : c->advertise_wan;
    }
    if (err == ERR_OK && addr_is_any(&c->advertise_wan)) {
        err = config_fail(load, "Advertise WAN address cannot be 0.0.0.0, :: or [::]");
    }
    return err;
}

/* Where the pools listen. */
static enum err judge_pools(struct config_load *load) {
    struct config *c = &load->config;
    bool lan = false, wan = false;
    enum err err = expand_ip(load, "serf_lan", c->gossip.lan_bind, c->serf_lan_port,
                             &c->gossip.lan_addr, &lan);
    if (err == ERR_OK && c->serf_wan_port > 0) {
        err = expand_ip(load, "serf_wan", c->gossip.wan_bind, c->serf_wan_port, &c->gossip.wan_addr,
                        &wan);
    }
    if (err == ERR_OK && !lan) {
        c->gossip.lan_addr = c->bind;
        addr_set_port(&c->gossip.lan_addr, (uint16_t)c->serf_lan_port);
    }
    if (err == ERR_OK && !wan && c->serf_wan_port > 0) {
        c->gossip.wan_addr = c->bind;
        addr_set_port(&c->gossip.wan_addr, (uint16_t)c->serf_wan_port);
    }
    return err;
}

/* advertise_addr_ipv4 and its kin: an address of that family, or nothing. */
static enum err judge_tagged(struct config_load *load) {
    struct config *c = &load->config;
    const struct {
        const char *key;
        const char **value;
        int family;
    } all[] = {{"advertise_addr_ipv4", &c->advertise_addr_ipv4, AF_INET},
               {"advertise_addr_ipv6", &c->advertise_addr_ipv6, AF_INET6},
               {"advertise_addr_wan_ipv4", &c->advertise_addr_wan_ipv4, AF_INET},
               {"advertise_addr_wan_ipv6", &c->advertise_addr_wan_ipv6, AF_INET6}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        struct addr addr;
        char ip[ADDR_TEXT_BYTES];
        bool given;
        enum err err = expand_ip(load, all[i].key, *all[i].value, 0, &addr, &given);
        if (err != ERR_OK) {
            return err;
        }
        if (!given) {
            *all[i].value = "";
            continue;
        }
        if (addr.any.sa_family != all[i].family) {
            return config_fail(load, "%s: must be an ipv%d address", all[i].key,
                               all[i].family == AF_INET ? 4 : 6);
        }
        addr_format_ip(&addr, ip);
        *all[i].value = arena_strdup(load->arena, ip);
    }
    return ERR_OK;
}

/* ---- listeners ---- */

static enum err add_path(struct config_load *load, const char *key, const char *path,
                         struct config_listen *out) {
    if (*path == '\0' || strlen(path) > PATH_BYTES_MAX) {
        return config_fail(load, "%s: the path of a unix socket has 1 to %d bytes: %s", key,
                           PATH_BYTES_MAX, path);
    }
    if (out->path_count == CONFIG_LISTEN_MAX) {
        return config_fail(load, "%s: more than %d addresses", key, CONFIG_LISTEN_MAX);
    }
    out->paths[out->path_count++] = path;
    return ERR_OK;
}

static enum err judge_listen(struct config_load *load, const char *key, const char *value,
                             bool paths, int64_t port, struct config_listen *out) {
    struct str_list words;
    enum err err = port > 0 ? expand(load, key, value, &words) : ERR_OK;
    if (err != ERR_OK || port <= 0) {
        return err; /* a port of 0 and less disables the listener */
    }
    for (uint32_t i = 0; err == ERR_OK && i < words.count; i++) {
        const char *word = words.v[i];
        if (str_starts_with(word, "unix:")) {
            size_t skip = str_starts_with(word, UNIX_PREFIX) ? strlen(UNIX_PREFIX) : 5;
            err = paths ? add_path(load, key, word + skip, out)
                        : config_fail(load, "%s: cannot use a unix socket: %s", key, word);
        } else if (out->count == CONFIG_LISTEN_MAX) {
            err = config_fail(load, "%s: more than %d addresses", key, CONFIG_LISTEN_MAX);
        } else if (!addr_parse(word, (uint16_t)port, &out->v[out->count++])) {
            err = config_fail(load, "%s: invalid ip address: %s", key, word);
        }
    }
    return err;
}

static enum err judge_listeners(struct config_load *load) {
    struct config *c = &load->config;
    const char *client = c->client_addr;
    bool http = *c->http_addr != '\0', dns = *c->dns_addr != '\0';
    if (*client == '\0') {
        config_warn(load, "client_addr is empty, client services (DNS, HTTP, HTTPS, GRPC) will not "
                          "be listening for connections");
    }
    enum err err = judge_listen(load, http ? "addresses.http" : "client_addr",
                                http ? c->http_addr : client, true, c->http_port, &c->http_listen);
    return err != ERR_OK
               ? err
               : judge_listen(load, dns ? "addresses.dns" : "client_addr",
                              dns ? c->dns_addr : client, false, c->dns_port, &c->dns_listen);
}

static enum err judge_sockets(struct config_load *load) {
    const struct config *c = &load->config;
    const struct {
        const char *key, *value, *digits;
    } all[] = {{"user", c->socket_user, "0123456789"},
               {"group", c->socket_group, "0123456789"},
               {"mode", c->socket_mode, "01234567"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        size_t size = strlen(all[i].value);
        if (size > 10 || strspn(all[i].value, all[i].digits) != size) {
            return config_fail(load, "unix_sockets.%s: invalid %s: \"%s\"", all[i].key,
                               i < 2 ? "number" : "octal mode", all[i].value);
        }
    }
    return ERR_OK;
}

/* ---- recursors ---- */

/* "10.0.0.1", "10.0.0.1:53", "::1", "[::1]", "[::1]:53", "host", "host:53": the host without its
 * brackets. */
static enum err split_host(struct config_load *load, const char *word, const char **ret_host,
                           uint16_t *ret_port) {
    struct addr addr;
    const char *colon = strrchr(word, ':');
    const char *bracket = *word == '[' ? strchr(word, ']') : NULL;
    *ret_port = RECURSOR_PORT;
    *ret_host = word;
    if (addr_parse(word, RECURSOR_PORT, &addr) || colon == NULL) {
        return ERR_OK;
    }
    if (bracket != NULL ? bracket + 1 != colon : strchr(word, ':') != colon) {
        return config_fail(load, "recursors: invalid address: %s: too many colons in address",
                           word);
    }
    uint64_t port = 0;
    if (!str_parse_u64(colon + 1, &port) || port == 0 || port > 65535 || colon == word) {
        return config_fail(load, "recursors: invalid address: %s: invalid port", word);
    }
    *ret_port = (uint16_t)port;
    *ret_host = arena_strndup(load->arena, word, (size_t)(colon - word));
    return ERR_OK;
}

/* The first address of a host. This may wait for the system's resolver: it runs before the agent
 * listens, or on the thread of a reload. */
static enum err look_up(struct config_load *load, const char *host, uint16_t port,
                        struct addr *ret_addr) {
    struct addrinfo hints = {.ai_socktype = SOCK_DGRAM}, *found = NULL;
    int result = getaddrinfo(host, NULL, &hints, &found);
    if (result != 0 || found->ai_addrlen > sizeof *ret_addr) {
        return config_fail(load, "recursors: invalid address: %s: %s", host, gai_strerror(result));
    }
    memcpy(ret_addr, found->ai_addr, found->ai_addrlen);
    addr_set_port(ret_addr, port);
    freeaddrinfo(found);
    return ERR_OK;
}

static bool is_same_addr(const struct addr *a, const struct addr *b) {
    char text[2][ADDR_TEXT_BYTES];
    addr_format(a, text[0]);
    addr_format(b, text[1]);
    return strcmp(text[0], text[1]) == 0;
}

/* A recursor that is this agent would be asked for its own questions until there is no more room.
 */
static bool is_our_own(const struct config *c, const struct addr *recursor) {
    for (unsigned i = 0; i < c->dns_listen.count; i++) {
        const struct addr *listen = &c->dns_listen.v[i];
        if (addr_port(listen) == addr_port(recursor) &&
            (is_same_addr(listen, recursor) ||
             (addr_is_any(listen) &&
              (addr_is_loopback(recursor) || is_same_addr(&c->advertise, recursor))))) {
            return true;
        }
    }
    return false;
}

static enum err add_recursor(struct config_load *load, const char *word) {
    struct config *c = &load->config;
    struct addr addr;
    const char *host;
    uint16_t port;
    if (str_starts_with(word, "unix:")) {
        return config_fail(load, "recursors: cannot use a unix socket: %s", word);
    }
    enum err err = split_host(load, word, &host, &port);
    if (err == ERR_OK && !addr_parse(host, port, &addr)) {
        if (load->offline) {
            return ERR_OK;
        }
        err = look_up(load, host, port, &addr);
    }
    if (err != ERR_OK) {
        return err;
    }
    if (addr_is_any(&addr)) {
        return config_fail(load, "recursors: cannot be 0.0.0.0, :: or [::]: %s", word);
    }
    if (is_our_own(c, &addr)) {
        config_warn(load, "recursors: %s is this agent's own DNS address, it is left out", word);
        return ERR_OK;
    }
    for (unsigned i = 0; i < c->recursor_count; i++) {
        if (is_same_addr(&c->recursor_addrs[i], &addr)) {
            return ERR_OK;
        }
    }
    if (c->recursor_count == LIMIT_DNS_RECURSORS) {
        return config_fail(load, "recursors: more than %d", LIMIT_DNS_RECURSORS);
    }
    c->recursor_addrs[c->recursor_count++] = addr;
    return ERR_OK;
}

static enum err judge_recursors(struct config_load *load) {
    const struct str_list *given = &load->config.recursors;
    enum err err = ERR_OK;
    for (uint32_t i = 0; err == ERR_OK && i < given->count; i++) {
        struct str_list words;
        err = expand(load, "recursors", given->v[i], &words);
        for (uint32_t k = 0; err == ERR_OK && k < words.count; k++) {
            err = add_recursor(load, words.v[k]);
        }
    }
    return err;
}

/* ---- no address twice ---- */

struct taken {
    const char *name;
    struct addr addr;
};

static enum err claim(struct config_load *load, struct taken *all, unsigned *count,
                      const char *name, struct addr addr, int64_t port) {
    char text[ADDR_TEXT_BYTES], other[ADDR_TEXT_BYTES];
    addr_set_port(&addr, (uint16_t)port);
    addr_format(&addr, text);
    for (unsigned i = 0; i < *count; i++) {
        addr_format(&all[i].addr, other);
        if (strcmp(text, other) == 0) {
            return config_fail(load, "%s address %s already configured for %s", name, text,
                               all[i].name);
        }
    }
    all[(*count)++] = (struct taken){name, addr};
    return ERR_OK;
}

static enum err judge_unique(struct config_load *load) {
    const struct config *c = &load->config;
    struct taken all[2 * CONFIG_LISTEN_MAX + 3];
    unsigned count = 0;
    enum err err = ERR_OK;
    for (unsigned i = 0; err == ERR_OK && i < c->dns_listen.count; i++) {
        err = claim(load, all, &count, "DNS", c->dns_listen.v[i], c->dns_port);
    }
    for (unsigned i = 0; err == ERR_OK && i < c->http_listen.count; i++) {
        err = claim(load, all, &count, "HTTP", c->http_listen.v[i], c->http_port);
    }
    err = err != ERR_OK ? err
                        : claim(load, all, &count, "RPC Advertise", c->advertise, c->server_port);
    err = err != ERR_OK
              ? err
              : claim(load, all, &count, "Serf Advertise LAN", c->advertise, c->serf_lan_port);
    return err != ERR_OK || c->serf_wan_port <= 0
               ? err
               : claim(load, all, &count, "Serf Advertise WAN", c->advertise_wan, c->serf_wan_port);
}

static enum err judge_ports(struct config_load *load) {
    static const char *const names[] = {"dns",      "http",   "https",    "grpc",
                                        "grpc_tls", "server", "serf_lan", "serf_wan"};
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        const char *path = arena_format(load->arena, "ports.%s", names[i]);
        const int64_t *port = config_key_place(load, config_key_find(path));
        if (*port > 65535) {
            return config_fail(load, "%s: invalid port: %lld", path, (long long)*port);
        }
    }
    if (load->config.server_port <= 0) {
        return config_fail(load, "server-port must be greater than zero");
    }
    if (load->config.serf_lan_port <= 0) {
        return config_fail(load, "serf-lan-port must be greater than zero");
    }
    static const char *const ranges[] = {"proxy", "sidecar", "expose"};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        int64_t ends[2];
        for (int end = 0; end < 2; end++) {
            const struct config_key *key = config_key_find(
                arena_format(load->arena, "ports.%s_%s_port", ranges[i], end == 0 ? "min" : "max"));
            const int64_t *port = config_key_place(load, key);
            ends[end] = config_key_is_set(load, key) ? *port : strtoll(key->initial, NULL, 10);
        }
        if (ends[1] < ends[0]) {
            return config_fail(load,
                               "%s_min_port must be less than %s_max_port. To disable, set both to "
                               "zero.",
                               ranges[i], ranges[i]);
        }
    }
    return ERR_OK;
}

enum err config_judge_addresses(struct config_load *load) {
    enum err (*const rules[])(struct config_load *) = {
        judge_ports,     judge_bind,      judge_advertise, judge_pools, judge_tagged,
        judge_listeners, judge_recursors, judge_sockets,   judge_unique};
    enum err err = ERR_OK;
    for (size_t i = 0; err == ERR_OK && i < sizeof rules / sizeof rules[0]; i++) {
        err = rules[i](load);
    }
    return err;
}
