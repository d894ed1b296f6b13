#include "agent/config_keys.h"

#include <string.h>
#include <unistd.h>

#include "base/decode.h"
#include "base/duration.h"
#include "base/uuid.h"
#include "catalog/definition.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define KEY(member, name_, kind_) DECODE_FIELD(struct config, member, name_, kind_)
#define PORT(member, name_)                                                                        \
    { .name = (name_), .kind = DECODE_INT, .offset = offsetof(struct config, member) }

/* Each group of keys is a spec over the same struct: their objects are embedded at offset 0. */
static const struct decode_field addresses_fields[] = {
    KEY(http_addr, "http", DECODE_STR),
    KEY(dns_addr, "dns", DECODE_STR),
};

static const struct decode_field ports_fields[] = {
    PORT(http_port, "http"),         PORT(dns_port, "dns"),           PORT(server_port, "server"),
    PORT(serf_lan_port, "serf_lan"), PORT(serf_wan_port, "serf_wan"),
};

static const struct decode_field limits_fields[] = {
    KEY(http_max_conns_per_client, "http_max_conns_per_client", DECODE_INT),
};

static const struct decode_field soa_fields[] = {
    KEY(dns.soa_refresh_s, "refresh", DECODE_INT),
    KEY(dns.soa_retry_s, "retry", DECODE_INT),
    KEY(dns.soa_expire_s, "expire", DECODE_INT),
    KEY(dns.soa_min_ttl_s, "min_ttl", DECODE_INT),
};

static const struct decode_spec soa_spec = {"dns_config.soa", sizeof(struct config), soa_fields,
                                            COUNT(soa_fields), false};

static const struct decode_field dns_fields[] = {
    KEY(dns.allow_stale, "allow_stale", DECODE_BOOL),
    KEY(dns.only_passing, "only_passing", DECODE_BOOL),
    KEY(dns.enable_truncate, "enable_truncate", DECODE_BOOL),
    KEY(dns.disable_compression, "disable_compression", DECODE_BOOL),
    KEY(dns.node_meta_txt, "enable_additional_node_meta_txt", DECODE_BOOL),
    KEY(dns.node_ttl_ns, "node_ttl", DECODE_DURATION),
    KEY(dns.service_ttl, "service_ttl", DECODE_STR_MAP),
    KEY(dns.udp_answer_limit, "udp_answer_limit", DECODE_INT),
    KEY(dns.a_record_limit, "a_record_limit", DECODE_INT),
    {.name = "soa", .kind = DECODE_INLINE, .spec = &soa_spec},
};

static const struct decode_spec addresses_spec = {"addresses", sizeof(struct config),
                                                  addresses_fields, COUNT(addresses_fields), false};
static const struct decode_spec ports_spec = {"ports", sizeof(struct config), ports_fields,
                                              COUNT(ports_fields), false};
static const struct decode_spec limits_spec = {"limits", sizeof(struct config), limits_fields,
                                               COUNT(limits_fields), false};
static const struct decode_spec dns_spec = {"dns_config", sizeof(struct config), dns_fields,
                                            COUNT(dns_fields), false};
static const struct decode_field http_fields[] = {
    KEY(http_allow_write_from, "allow_write_http_from", DECODE_STR_LIST),
};

static const struct decode_spec http_spec = {"http_config", sizeof(struct config), http_fields,
                                             COUNT(http_fields), false};
static const struct decode_field top_fields[] = {
    KEY(server, "server", DECODE_BOOL),
    KEY(bootstrap, "bootstrap", DECODE_BOOL),
    KEY(bootstrap_expect, "bootstrap_expect", DECODE_INT),
    KEY(node_name, "node_name", DECODE_STR),
    KEY(node_id, "node_id", DECODE_STR),
    KEY(node_meta, "node_meta", DECODE_STR_MAP),
    KEY(datacenter, "datacenter", DECODE_STR),
    KEY(data_dir, "data_dir", DECODE_STR),
    KEY(bind_addr, "bind_addr", DECODE_STR),
    KEY(client_addr, "client_addr", DECODE_STR),
    KEY(advertise_addr, "advertise_addr", DECODE_STR),
    KEY(domain, "domain", DECODE_STR),
    KEY(alt_domain, "alt_domain", DECODE_STR),
    KEY(log_level, "log_level", DECODE_STR),
    KEY(enable_script_checks, "enable_script_checks", DECODE_BOOL),
    KEY(enable_local_script_checks, "enable_local_script_checks", DECODE_BOOL),
    KEY(discard_check_output, "discard_check_output", DECODE_BOOL),
    KEY(check_output_max_size, "check_output_max_size", DECODE_INT),
    KEY(default_query_time_ns, "default_query_time", DECODE_DURATION),
    KEY(max_query_time_ns, "max_query_time", DECODE_DURATION),
    {.name = "addresses", .kind = DECODE_INLINE, .spec = &addresses_spec},
    {.name = "ports", .kind = DECODE_INLINE, .spec = &ports_spec},
    {.name = "http_config", .kind = DECODE_INLINE, .spec = &http_spec},
    {.name = "dns_config", .kind = DECODE_INLINE, .spec = &dns_spec},
    {.name = "limits", .kind = DECODE_INLINE, .spec = &limits_spec},
};

static const struct decode_spec top_spec = {"config", sizeof(struct config), top_fields,
                                            COUNT(top_fields), false};

enum err config_decode(struct config *config, const char *json, size_t size, struct arena *arena,
                       struct err_text *text) {
    return decode_json(&top_spec, DECODE_CONFIG, json, size, arena, config, text);
}

/* ---- judging ---- */

static enum err parse_listen(const char *list, const char *key, int64_t port, struct arena *arena,
                             struct addr *out, unsigned *ret_count, struct err_text *text) {
    unsigned count = 0;
    if (port <= 0) {
        *ret_count = 0; /* disabled */
        return ERR_OK;
    }
    if (port > 65535) {
        return err_set(text, ERR_INVALID, "%s: invalid port: %lld", key, (long long)port);
    }
    for (const char *at = list; *at != '\0';) {
        at += strspn(at, " ");
        size_t size = strcspn(at, " ");
        if (size > 0) {
            const char *ip = arena_strndup(arena, at, size);
            if (count == CONFIG_LISTEN_MAX) {
                return err_set(text, ERR_TOO_LARGE, "%s: more than %d addresses", key,
                               CONFIG_LISTEN_MAX);
            }
            if (!addr_parse(ip, (uint16_t)port, &out[count++])) {
                return err_set(text, ERR_INVALID, "%s: not an IP address: %.64s", key, ip);
            }
        }
        at += size;
    }
    *ret_count = count;
    return ERR_OK;
}

static enum err judge_addresses(struct config *c, struct arena *arena, struct err_text *text) {
    if (*c->bind_addr == '\0' || !addr_parse(c->bind_addr, (uint16_t)c->server_port, &c->bind)) {
        return err_set(text, ERR_INVALID, "bind_addr cannot be empty");
    }
    c->advertise = c->bind;
    if (*c->advertise_addr != '\0') {
        if (!addr_parse(c->advertise_addr, (uint16_t)c->server_port, &c->advertise)) {
            return err_set(text, ERR_INVALID, "advertise_addr: not an IP address: %.64s",
                           c->advertise_addr);
        }
        if (addr_is_any(&c->advertise)) {
            return err_set(text, ERR_INVALID, "Advertise address cannot be 0.0.0.0, :: or [::]");
        }
    } else if (addr_is_any(&c->bind)) {
        enum err err = addr_find_private(&c->advertise, text);
        if (err != ERR_OK) {
            return err;
        }
    }
    enum err err = parse_listen(*c->http_addr != '\0' ? c->http_addr : c->client_addr, "ports.http",
                                c->http_port, arena, c->http_listen, &c->http_listen_count, text);
    return err != ERR_OK
               ? err
               : parse_listen(*c->dns_addr != '\0' ? c->dns_addr : c->client_addr, "ports.dns",
                              c->dns_port, arena, c->dns_listen, &c->dns_listen_count, text);
}

static enum err judge_names(struct config *c, struct arena *arena, struct err_text *text) {
    struct uuid uuid;
    char host[256];
    if (*c->node_name == '\0') {
        if (gethostname(host, sizeof host) != 0 || host[0] == '\0') {
            return err_set(text, ERR_INVALID, "node_name cannot be empty");
        }
        host[sizeof host - 1] = '\0';
        c->node_name = arena_strdup(arena, host);
    }
    if (strlen(c->node_name) > 255) {
        return err_set(text, ERR_INVALID, "node_name is longer than 255 bytes");
    }
    if (*c->node_id != '\0' && !uuid_parse(c->node_id, &uuid)) {
        return err_set(text, ERR_INVALID, "node_id: not a UUID: %.64s", c->node_id);
    }
    char *dc = arena_strdup(arena, c->datacenter);
    str_lower(dc, strlen(dc) + 1, c->datacenter);
    c->datacenter = dc;
    if (*dc == '\0') {
        return err_set(text, ERR_INVALID, "datacenter cannot be empty");
    }
    if (dc[strspn(dc, "abcdefghijklmnopqrstuvwxyz0123456789_-")] != '\0') {
        return err_set(text, ERR_INVALID,
                       "datacenter can only contain lowercase alphanumeric, - or "
                       "_ characters.");
    }
    if (definition_check_meta(&c->node_meta, text) != ERR_OK) {
        err_prefix(text, "node_meta invalid");
        return ERR_INVALID;
    }
    if (!log_parse_level(c->log_level, &c->level)) {
        return err_set(text, ERR_INVALID,
                       "Invalid log level: %.32s. Valid log levels are: [TRACE DEBUG INFO WARN ERR "
                       "ERROR]",
                       c->log_level);
    }
    return ERR_OK;
}

static enum err judge_role(struct config *c, struct err_text *text) {
    if (c->bootstrap_expect < 0) {
        return err_set(text, ERR_INVALID, "bootstrap_expect cannot be negative");
    }
    c->bootstrap = c->bootstrap || c->bootstrap_expect == 1;
    if (c->bootstrap_expect > 1) {
        return err_set(text, ERR_UNSUPPORTED,
                       "bootstrap_expect = %lld: this version runs groups of one server; use 1",
                       (long long)c->bootstrap_expect);
    }
    if (c->bootstrap && !c->server) {
        return err_set(text, ERR_INVALID, "'bootstrap = true' requires 'server = true'");
    }
    if (!c->server) {
        return err_set(text, ERR_UNSUPPORTED,
                       "this version runs server agents only; add -server -bootstrap-expect=1, or "
                       "-dev");
    }
    if (!c->dev && *c->data_dir == '\0') {
        return err_set(text, ERR_INVALID, "data_dir cannot be empty");
    }
    const struct {
        const char *key;
        int64_t port;
    } ports[] = {{"server", c->server_port}, {"serf-lan", c->serf_lan_port}};
    for (size_t i = 0; i < COUNT(ports); i++) {
        if (ports[i].port <= 0 || ports[i].port > 65535) {
            return err_set(text, ERR_INVALID, "%s-port must be greater than zero", ports[i].key);
        }
    }
    return ERR_OK;
}

static enum err judge_dns(struct config *c, struct arena *arena, struct err_text *text) {
    const char **domains[] = {&c->domain, &c->alt_domain};
    for (size_t i = 0; i < COUNT(domains); i++) {
        size_t size = strlen(*domains[i]);
        if (size > 0) {
            char *lower =
                arena_format(arena, "%s%s", *domains[i], (*domains[i])[size - 1] == '.' ? "" : ".");
            str_lower(lower, size + 2, lower);
            *domains[i] = lower;
        }
    }
    if (*c->domain == '\0' || strlen(c->domain) > 200 || strlen(c->alt_domain) > 200) {
        return err_set(text, ERR_INVALID, "domain: empty or too long");
    }
    for (uint32_t i = 0; i < c->dns.service_ttl.count; i++) {
        int64_t ns;
        struct err_text reason;
        if (duration_parse(c->dns.service_ttl.v[i].value, &ns, &reason) != ERR_OK || ns < 0) {
            return err_set(text, ERR_INVALID,
                           "dns_config.service_ttl[\"%.64s\"]: invalid duration: \"%.64s\"",
                           c->dns.service_ttl.v[i].key, c->dns.service_ttl.v[i].value);
        }
    }
    if (c->dns.udp_answer_limit < 0 || c->dns.a_record_limit < 0) {
        return err_set(text, ERR_INVALID,
                       "dns_config: udp_answer_limit and a_record_limit cannot "
                       "be negative");
    }
    return ERR_OK;
}

/* Who may write is not judged request by request yet, so only a list that no request can be outside
 * of is taken. */
static enum err judge_checks(struct config *c, struct err_text *text) {
    c->http_writes_limited = c->http_allow_write_from.count > 0;
    bool all = false, loopback = true;
    for (uint32_t i = 0; i < c->http_allow_write_from.count; i++) {
        all = all || strcmp(c->http_allow_write_from.v[i], "127.0.0.0/8") == 0;
    }
    for (unsigned i = 0; i < c->http_listen_count; i++) {
        loopback = loopback && addr_is_loopback(&c->http_listen[i]) &&
                   c->http_listen[i].any.sa_family == AF_INET;
    }
    if (c->http_writes_limited && !(all && loopback)) {
        return err_set(
            text, ERR_UNSUPPORTED,
            "http_config.allow_write_http_from: this version takes \"127.0.0.0/8\" only, "
            "with HTTP on such an address");
    }
    if (c->check_output_max_size < 1) {
        return err_set(text, ERR_INVALID, "check_output_max_size must be positive");
    }
    return ERR_OK;
}

enum err config_judge(struct config *config, struct arena *arena, struct err_text *text) {
    enum err err = judge_role(config, text);
    if (err == ERR_OK) {
        err = judge_names(config, arena, text);
    }
    if (err == ERR_OK) {
        err = judge_addresses(config, arena, text);
    }
    if (err == ERR_OK) {
        err = judge_checks(config, text);
    }
    return err == ERR_OK ? judge_dns(config, arena, text) : err;
}
