/* The rules on values (contract 2.5 to 2.8), and what is derived from them. */
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/config_table.h"
#include "base/duration.h"
#include "base/limits.h"
#include "base/uuid.h"
#include "net/cidr.h"
#include "net/keyring.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])
#define DESCRIPTORS_KEPT 20 /* contract 2.7 */

static const union config_slot *slot_of(struct config_load *load, const char *path) {
    const struct config_key *key = config_key_find(path);
    return config_key_is_set(load, key) ? config_key_place(load, key) : NULL;
}

static bool is_one_of(const char *s, const char *const *all, size_t count) {
    for (size_t i = 0; i < count; i++) {
        if (strcmp(s, all[i]) == 0) {
            return true;
        }
    }
    return false;
}

/* ---- role ---- */

static enum err judge_bootstrap(struct config_load *load) {
    struct config *c = &load->config;
    long long expect = c->bootstrap_expect;
    if (expect == 1) {
        config_warn(load, "BootstrapExpect is set to 1; this is the same as Bootstrap mode.");
        c->bootstrap = true;
        c->bootstrap_expect = expect = 0;
    }
    if (expect < 0) {
        return config_fail(load,
                           "bootstrap_expect cannot be %lld. Must be greater than or equal "
                           "to zero",
                           expect);
    }
    if (expect > 0 && c->dev) {
        return config_fail(load, "'bootstrap_expect > 0' not allowed in dev mode");
    }
    if (expect > 0 && !c->server) {
        return config_fail(load, "'bootstrap_expect > 0' requires 'server = true'");
    }
    if (expect > 0 && c->bootstrap) {
        return config_fail(load,
                           "'bootstrap_expect > 0' and 'bootstrap = true' are mutually exclusive");
    }
    if (expect == 2) {
        config_warn(load, "bootstrap_expect = 2: a cluster with 2 servers will provide no failure "
                          "tolerance");
    } else if (expect > 2 && expect % 2 == 0) {
        config_warn(load, "bootstrap_expect is even number: A cluster with an even number of "
                          "servers does not achieve optimum fault tolerance");
    }
    if (c->bootstrap && !c->server) {
        return config_fail(load, "'bootstrap = true' requires 'server = true'");
    }
    if (c->bootstrap && !c->dev) {
        config_warn(load, "bootstrap = true: do not enable unless necessary");
    }
    return ERR_OK;
}

static enum err judge_role(struct config_load *load) {
    struct config *c = &load->config;
    struct stat info;
    enum err err = judge_bootstrap(load);
    if (err != ERR_OK) {
        return err;
    }
    if (!c->dev && *c->data_dir == '\0') {
        return config_fail(load, "data_dir cannot be empty");
    }
    if (!c->dev && stat(c->data_dir, &info) == 0 && !S_ISDIR(info.st_mode)) {
        return config_fail(load, "data_dir \"%s\" is not a directory", c->data_dir);
    }
    if (c->protocol < 2 || c->protocol > 3) {
        return config_fail(load, "protocol version %lld is not supported; 2 and 3 are",
                           (long long)c->protocol);
    }
    if (c->raft_protocol != 3) {
        return config_fail(load,
                           "raft_protocol version %lld is not supported by this version of Consul",
                           (long long)c->raft_protocol);
    }
    c->leave_on_terminate = c->leave_on_terminate != 0 ? c->leave_on_terminate : c->server ? -1 : 1;
    c->skip_leave_on_interrupt = c->skip_leave_on_interrupt != 0 ? c->skip_leave_on_interrupt
                                 : c->server                     ? 1
                                                                 : -1;
    return ERR_OK;
}

/* ---- names ---- */

static const char *lowered(struct config_load *load, const char *s) {
    char *out = arena_strdup(load->arena, s);
    str_lower(out, strlen(s) + 1, s);
    return out;
}

static enum err judge_node(struct config_load *load) {
    struct config *c = &load->config;
    struct uuid uuid;
    char host[256] = "";
    if (*c->node_name == '\0' && gethostname(host, sizeof host - 1) == 0) {
        size_t blanks = strspn(host, " \t\n");
        c->node_name = arena_strndup(load->arena, host + blanks, strcspn(host + blanks, " \t\n"));
    }
    if (*c->node_name == '\0') {
        return config_fail(load, "node_name cannot be empty");
    }
    size_t size = strlen(c->node_name);
    if (size > 255) {
        return config_fail(load, "node_name is longer than 255 bytes");
    }
    bool dns = strspn(lowered(load, c->node_name), "abcdefghijklmnopqrstuvwxyz0123456789-") == size;
    if (!dns || size > 63) {
        config_warn(load, "Node name \"%s\" will not be discoverable via DNS due to %s.",
                    c->node_name, dns ? "it being too long" : "invalid characters");
    }
    if (*c->node_id != '\0' && !uuid_parse(c->node_id, &uuid)) {
        return config_fail(load, "node_id: not a UUID: %s", c->node_id);
    }
    struct err_text text = {""};
    if (definition_check_meta(&c->node_meta, &text) != ERR_OK) {
        return config_fail(load, "node_meta invalid: %s", text.s);
    }
    return *c->zone != '\0' && *c->region == '\0'
               ? config_fail(load, "locality is invalid: zone cannot be set without region")
               : ERR_OK;
}

static enum err judge_datacenter(struct config_load *load) {
    struct config *c = &load->config;
    const char *wrong = "can only contain lowercase alphanumeric, - or _ characters.";
    const char *chars = "abcdefghijklmnopqrstuvwxyz0123456789_-";
    c->datacenter = lowered(load, c->datacenter);
    c->primary_datacenter =
        *c->primary_datacenter != '\0' ? lowered(load, c->primary_datacenter) : c->datacenter;
    if (*c->datacenter == '\0') {
        return config_fail(load, "datacenter cannot be empty");
    }
    if (c->datacenter[strspn(c->datacenter, chars)] != '\0') {
        return config_fail(load, "datacenter %s", wrong);
    }
    if (c->primary_datacenter[strspn(c->primary_datacenter, chars)] != '\0') {
        return config_fail(load, "primary_datacenter %s", wrong);
    }
    return ERR_OK;
}

/* ---- the log ---- */

static enum err judge_log(struct config_load *load, const struct config *running) {
    struct config *c = &load->config;
    const char *levels = "Valid log levels are: [TRACE DEBUG INFO WARN ERR ERROR]";
    if (!log_parse_level(c->log.level_name, &c->log.level)) {
        if (running == NULL) {
            return config_fail(load, "Invalid log level: %s. %s", c->log.level_name, levels);
        }
        config_warn(load, "Invalid log level in new configuration: %s. %s", c->log.level_name,
                    levels);
        c->log.level_name = arena_strdup(load->arena, running->log.level_name);
        c->log.level = running->log.level;
    }
    if (c->log.rotate_max_files < -1 || c->log.rotate_bytes < 0 || c->log.rotate_ns < 0) {
        return config_fail(load, "log_rotate_*: a negative number");
    }
    int facility;
    return log_parse_facility(c->log.facility, &facility)
               ? ERR_OK
               : config_fail(load, "invalid syslog facility: %s", c->log.facility);
}

/* ---- DNS ---- */

static const char *absolute(struct config_load *load, const char *domain) {
    size_t size = strlen(domain);
    return lowered(load, size == 0 || domain[size - 1] == '.'
                             ? domain
                             : arena_format(load->arena, "%s.", domain));
}

static enum err judge_domains(struct config_load *load) {
    struct config *c = &load->config;
    c->domain = absolute(load, c->domain);
    c->alt_domain = absolute(load, c->alt_domain);
    const char *reserved[] = {"service.", "connect.",
                              "node.",    "query.",
                              "addr.",    arena_format(load->arena, "%s.", c->datacenter)};
    for (size_t i = 0; i < COUNT(reserved); i++) {
        if (str_starts_with(c->alt_domain, reserved[i])) {
            return config_fail(load,
                               "alt_domain cannot start with {service,connect,node,query,addr,%s}",
                               c->datacenter);
        }
    }
    return strlen(c->domain) < 2 || strlen(c->domain) > 200 || strlen(c->alt_domain) > 200
               ? config_fail(load, "domain: empty or too long")
               : ERR_OK;
}

static enum err judge_dns(struct config_load *load) {
    struct config *c = &load->config;
    struct config_dns *d = &c->dns;
    for (uint32_t i = 0; i < d->service_ttl.count; i++) {
        int64_t ns;
        struct err_text reason = {""};
        if (duration_parse(d->service_ttl.v[i].value, &ns, &reason) != ERR_OK || ns < 0) {
            return config_fail(load, "dns_config.service_ttl[\"%s\"]: invalid duration: \"%s\": %s",
                               d->service_ttl.v[i].key, d->service_ttl.v[i].value, reason.s);
        }
    }
    if (d->udp_answer_limit < 0) {
        return config_fail(load,
                           "dns_config.udp_answer_limit cannot be %lld. Must be greater than "
                           "or equal to zero",
                           (long long)d->udp_answer_limit);
    }
    if (d->a_record_limit < 0) {
        return config_fail(load,
                           "dns_config.a_record_limit cannot be %lld. Must be greater than "
                           "or equal to zero",
                           (long long)d->a_record_limit);
    }
    const struct {
        const char *name;
        int64_t *value, initial;
    } soa[] = {{"refresh", &d->soa_refresh_s, 3600},
               {"retry", &d->soa_retry_s, 600},
               {"expire", &d->soa_expire_s, 86400},
               {"min_ttl", &d->soa_min_ttl_s, 0}};
    for (size_t i = 0; i < COUNT(soa); i++) {
        if (*soa[i].value < 0 || *soa[i].value > UINT32_MAX) {
            return config_fail(load, "dns_config.soa.%s: not within 0 to 4294967295", soa[i].name);
        }
        *soa[i].value = *soa[i].value == 0 ? soa[i].initial : *soa[i].value;
    }
    static const char *const known[] = {"", "sequential", "random"};
    if (!is_one_of(d->recursor_strategy, known, COUNT(known))) {
        return config_fail(load, "dns_config.recursor_strategy: invalid strategy: \"%s\"",
                           d->recursor_strategy);
    }
    const struct {
        const char *name;
        int64_t ns;
    } durations[] = {{"node_ttl", d->node_ttl_ns},
                     {"max_stale", d->max_stale_ns},
                     {"cache_max_age", d->cache_max_age_ns},
                     {"recursor_timeout", d->recursor_timeout_ns}};
    for (size_t i = 0; i < COUNT(durations); i++) {
        if (durations[i].ns < 0) {
            return config_fail(load, "dns_config.%s: a negative duration", durations[i].name);
        }
    }
    return judge_domains(load);
}

/* ---- HTTP and limits ---- */

static enum err judge_cidrs(struct config_load *load, const char *key,
                            const struct str_list *list) {
    for (uint32_t i = 0; i < list->count; i++) {
        struct cidr cidr;
        if (!cidr_parse(list->v[i], &cidr)) {
            return config_fail(load, "%s: invalid CIDR address: %s", key, list->v[i]);
        }
    }
    return ERR_OK;
}

static enum err judge_http(struct config_load *load) {
    struct config *c = &load->config;
    struct rlimit limit;
    if (c->http.max_conns_per_client < 0) {
        return config_fail(load, "limits.http_max_conns_per_client: a negative number");
    }
    if (c->kv_value_bytes_max < 0 || c->kv_value_bytes_max > LIMIT_HTTP_BODY_BYTES ||
        c->txn_bytes_max < 0 || c->txn_bytes_max > LIMIT_HTTP_BODY_BYTES) {
        return config_fail(load,
                           "limits.kv_max_value_size and limits.txn_max_req_len must be between 0 "
                           "and %d",
                           LIMIT_HTTP_BODY_BYTES);
    }
    if (c->session_ttl_min_ns < 0 || c->session_ttl_min_ns > LIMIT_SESSION_TTL_MAX_S * DURATION_S) {
        return config_fail(load, "session_ttl_min must be between 0s and 24h0m0s");
    }
    if (c->discovery_max_stale_ns < 0) {
        return config_fail(load, "discovery_max_stale: a negative duration");
    }
    if (getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_max != RLIM_INFINITY &&
        c->http.max_conns_per_client + DESCRIPTORS_KEPT > (int64_t)limit.rlim_max) {
        return config_fail(load,
                           "system allows a max of %lld file descriptors, but "
                           "limits.http_max_conns_per_client: %lld needs at least %lld",
                           (long long)limit.rlim_max, (long long)c->http.max_conns_per_client,
                           (long long)c->http.max_conns_per_client + DESCRIPTORS_KEPT);
    }
    for (uint32_t i = 0; i < c->http.response_headers.count; i++) {
        const struct str_pair *pair = &c->http.response_headers.v[i];
        if (*pair->key == '\0' || strpbrk(pair->key, " \t\r\n:") != NULL ||
            strpbrk(pair->value, "\r\n") != NULL) {
            return config_fail(load, "http_config.response_headers: not a header: \"%s\"",
                               pair->key);
        }
    }
    if (c->default_query_time_ns < 0 || c->max_query_time_ns < 0) {
        return config_fail(load, "default_query_time, max_query_time: a negative duration");
    }
    if (c->coordinate_interval_ns <= 0 || c->coordinate_period_ns <= 0) {
        return config_fail(load, "sync_coordinate_interval_min, consul.coordinate.update_period: "
                                 "must be positive");
    }
    static const char *const modes[] = {"", "disabled", "permissive", "enforcing"};
    if (!is_one_of(c->http.rate_mode, modes, COUNT(modes))) {
        return config_fail(load, "limits.request_limits.mode: invalid mode: \"%s\"",
                           c->http.rate_mode);
    }
    enum err err =
        judge_cidrs(load, "http_config.allow_write_http_from", &c->http.allow_write_from);
    err = err != ERR_OK ? err : judge_cidrs(load, "serf_lan_allowed_cidrs", &c->gossip.lan_allowed);
    err = err != ERR_OK ? err : judge_cidrs(load, "serf_wan_allowed_cidrs", &c->gossip.wan_allowed);
    return err;
}

/* ---- what has no effect yet, but rules all the same ---- */

static enum err judge_keys(struct config_load *load) {
    struct keyring_key key;
    struct err_text text = {""};
    if (*load->config.gossip.encrypt != '\0' &&
        keyring_parse_key(load->config.gossip.encrypt, &key, &text) != ERR_OK) {
        return config_fail(load, "encrypt has invalid key: %s", text.s);
    }
    const struct config *c = &load->config;
    if (c->raft_multiplier < 1 || c->raft_multiplier > 10) {
        return config_fail(load,
                           "performance.raft_multiplier cannot be %lld. Must be between 1 and 10",
                           (long long)c->raft_multiplier);
    }
    if (c->mirror.max_age_ns < 0 || c->mirror.idle_ns <= 0 || c->mirror.bytes_max <= 0 ||
        c->mirror.subscribed_bytes_max <= 0) {
        return config_fail(load, "mirror: sizes and idle_time must be above 0, max_age not below");
    }
    if (c->autopilot.max_trailing_logs < 0) {
        return config_fail(load,
                           "autopilot.max_trailing_logs cannot be %lld. Must be greater than or "
                           "equal to zero",
                           (long long)c->autopilot.max_trailing_logs);
    }
    if (c->autopilot.min_quorum < 0 || c->autopilot.min_quorum > LIMIT_RAFT_SERVERS) {
        return config_fail(load, "autopilot.min_quorum cannot be %lld. Must be between 0 and %d",
                           (long long)c->autopilot.min_quorum, LIMIT_RAFT_SERVERS);
    }
    if (c->failover.nearest < 0 || c->failover.datacenters.count > LIMIT_FAILOVER_DATACENTERS) {
        return config_fail(load,
                           "failover.nearest must not be negative, and failover.datacenters "
                           "has at most %d names",
                           LIMIT_FAILOVER_DATACENTERS);
    }
    if (c->failover.hold_down_ns < 0 ||
        c->failover.hold_down_ns > LIMIT_FAILOVER_HOLD_DOWN_S * DURATION_S) {
        return config_fail(load, "failover.hold_down must be between 0 and %d s",
                           LIMIT_FAILOVER_HOLD_DOWN_S);
    }
    if (load->config.server && load->config.gossip.advertise_reconnect_ns != 0) {
        return config_fail(load, "advertise_reconnect_timeout can only be used on a client");
    }
    const union config_slot *age = slot_of(load, "server_rejoin_age_max");
    if (age != NULL && age->number < 6 * 3600 * DURATION_S) {
        return config_fail(load, "server_rejoin_age_max must be at least 6h");
    }
    const char *segments[] = {"segment", "segments"};
    for (size_t i = 0; i < COUNT(segments); i++) {
        if (config_key_differs(load, config_key_find(segments[i]))) {
            return config_fail(load,
                               "%s: network segments are not supported in this version of "
                               "Consul",
                               segments[i]);
        }
    }
    return ERR_OK;
}

static enum err judge_stores(struct config_load *load) {
    const union config_slot *backend = slot_of(load, "raft_logstore.backend");
    static const char *const known[] = {"", "default", "boltdb", "wal"};
    if (backend != NULL && !is_one_of(backend->str, known, COUNT(known))) {
        return config_fail(load, "raft_logstore.backend: must be 'boltdb' or 'wal', not \"%s\"",
                           backend->str);
    }
    const union config_slot *segment = slot_of(load, "raft_logstore.wal.segment_size_mb");
    if (segment != NULL && (segment->number < 1 || segment->number > 1024)) {
        return config_fail(load, "raft_logstore.wal.segment_size_mb: not within 1 to 1024");
    }
    static const struct {
        const char *key;
        const char *const values[4];
    } policies[] = {{"acl.default_policy", {"", "allow", "deny", "deny"}},
                    {"acl.down_policy", {"allow", "deny", "extend-cache", "async-cache"}}};
    for (size_t i = 0; i < COUNT(policies); i++) {
        const union config_slot *policy = slot_of(load, policies[i].key);
        if (policy != NULL && !is_one_of(policy->str, policies[i].values, 4)) {
            return config_fail(load, "%s: invalid policy: \"%s\"", policies[i].key, policy->str);
        }
    }
    const union config_slot *burst = slot_of(load, "cache.entry_fetch_max_burst");
    const union config_slot *rate = slot_of(load, "cache.entry_fetch_rate");
    if (burst != NULL && burst->number <= 0) {
        return config_fail(load, "cache.entry_fetch_max_burst must be strictly positive, was: %lld",
                           (long long)burst->number);
    }
    return rate != NULL && !(rate->real > 0)
               ? config_fail(load, "cache.entry_fetch_rate must be strictly positive, was: %g",
                             rate->real)
               : ERR_OK;
}

static enum err judge_tls(struct config_load *load) {
    const struct {
        const char *path, *wrong;
    } flags[] = {
        {"tls.grpc.verify_outgoing", "verify_outgoing is not valid in the tls.grpc stanza"},
        {"tls.grpc.verify_server_hostname", "verify_server_hostname is only valid in the "
                                            "tls.defaults and tls.internal_rpc stanzas"},
        {"tls.https.verify_server_hostname", "verify_server_hostname is only valid in the "
                                             "tls.defaults and tls.internal_rpc stanzas"},
        {"tls.defaults.use_auto_cert", "use_auto_cert is only valid in the tls.grpc stanza"},
        {"tls.internal_rpc.use_auto_cert", "use_auto_cert is only valid in the tls.grpc stanza"},
        {"tls.https.use_auto_cert", "use_auto_cert is only valid in the tls.grpc stanza"},
    };
    for (size_t i = 0; i < COUNT(flags); i++) {
        const union config_slot *flag = slot_of(load, flags[i].path);
        if (flag != NULL && flag->flag > 0) {
            return config_fail(load, "%s", flags[i].wrong);
        }
    }
    return ERR_OK;
}

/* ---- services and checks ---- */

static bool runs_script(const struct check_definition *check) {
    enum check_kind kind = check_definition_kind(check);
    return kind == CHECK_SCRIPT || kind == CHECK_DOCKER;
}

bool config_allows_local_scripts(const struct config *config) {
    return config->enable_local_script_checks != 0 ? config->enable_local_script_checks > 0
                                                   : config->enable_script_checks;
}

static enum err judge_script(struct config_load *load, const struct check_definition *check) {
    return runs_script(check) && !config_allows_local_scripts(&load->config)
               ? config_fail(load,
                             "Failed to register check \"%s\": Scripts are disabled on this agent; "
                             "to enable, configure 'enable_script_checks' or "
                             "'enable_local_script_checks' to true",
                             check->id)
               : ERR_OK;
}

static enum err take_services(struct config_load *load) {
    struct config *c = &load->config;
    const char *inputs = c->service_inputs.v;
    c->services = arena_alloc(load->arena, (c->service_inputs.count + 1) * sizeof *c->services);
    for (uint32_t i = 0; i < c->service_inputs.count; i++) {
        struct service_definition *service = &c->services[c->service_count++];
        struct err_text text = {""};
        if (definition_take_file_service(inputs + i * definition_file_service_spec.size,
                                         load->arena, service, &text) != ERR_OK) {
            return config_fail(load, "%s", text.s);
        }
        for (uint32_t j = 0; j < service->check_count; j++) {
            enum err err = judge_script(load, &service->checks[j]);
            if (err != ERR_OK) {
                return err;
            }
        }
    }
    return ERR_OK;
}

static enum err take_checks(struct config_load *load) {
    struct config *c = &load->config;
    const char *inputs = c->check_inputs.v;
    c->checks = arena_alloc(load->arena, (c->check_inputs.count + 1) * sizeof *c->checks);
    for (uint32_t i = 0; i < c->check_inputs.count; i++) {
        struct check_definition *check = &c->checks[c->check_count++];
        struct err_text text = {""};
        if (definition_take_file_check(inputs + i * definition_file_check_spec.size, check,
                                       &text) != ERR_OK) {
            return config_fail(load, "%s", text.s);
        }
        enum err err = judge_script(load, check);
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

static enum err judge_telemetry(struct config_load *load) {
    const struct str_list *rules = &load->config.telemetry.prefix_filter;
    for (uint32_t i = 0; i < rules->count; i++) {
        const char *rule = rules->v[i];
        if (*rule == '\0') {
            config_warn(load, "Cannot have empty filter rule in prefix_filter");
        } else if (*rule != '+' && *rule != '-') {
            config_warn(load, "Filter rule must begin with either '+' or '-': \"%s\"", rule);
        }
    }
    return ERR_OK;
}

static enum err judge_checks(struct config_load *load) {
    struct config *c = &load->config;
    if (c->check_output_max_size < 1) {
        return config_fail(load, "check_output_max_size must be positive");
    }
    if (c->check_output_max_size > LIMIT_CHECK_BODY_BYTES) {
        return config_fail(load, "check_output_max_size: at most %d", LIMIT_CHECK_BODY_BYTES);
    }
    if (c->check_update_interval_ns < 0) {
        return config_fail(load, "check_update_interval: a negative duration");
    }
    if (c->enable_script_checks && c->http.allow_write_from.count == 0) {
        config_warn(load, "using enable-script-checks without ACLs and without "
                          "allow_write_http_from is DANGEROUS, use enable-local-script-checks "
                          "instead, see https://www.hashicorp.com/blog/"
                          "protecting-consul-from-rce-risk-in-specific-configurations/");
    }
    enum err err = take_services(load);
    return err == ERR_OK ? take_checks(load) : err;
}

static enum err judge_watches(struct config_load *load) {
    struct config *c = &load->config;
    struct watch_definition *definitions = c->watch_inputs.v;
    if (c->watch_inputs.count > LIMIT_WATCHES) {
        return config_fail(load, "watches: at most %d", LIMIT_WATCHES);
    }
    for (uint32_t i = 0; i < c->watch_inputs.count; i++) {
        struct err_text text = {""};
        if (watch_definition_judge(&definitions[i], load->arena, &text) != ERR_OK) {
            return config_fail(load, "Failed to parse watch %u: %s", i, text.s);
        }
        if (*definitions[i].handler != '\0') {
            config_warn(load,
                        "watches[%u]: the 'handler' field is deprecated. Use the 'args' field "
                        "instead.",
                        i);
        }
    }
    if (c->watch_inputs.count > 0 && c->http_listen.count + c->http_listen.path_count == 0) {
        return config_fail(load, "watch plans require an HTTP or HTTPS endpoint");
    }
    return ERR_OK;
}

enum err config_judge(struct config_load *load, const struct config *running) {
    enum err (*const rules[])(struct config_load *) = {
        judge_role, judge_datacenter, judge_node,   config_judge_addresses,
        judge_dns,  judge_http,       judge_keys,   judge_stores,
        judge_tls,  judge_telemetry,  judge_checks, judge_watches};
    enum err err = judge_log(load, running);
    for (size_t i = 0; err == ERR_OK && i < COUNT(rules); i++) {
        err = rules[i](load);
    }
    return err;
}
