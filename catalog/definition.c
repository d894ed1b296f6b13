#include "catalog/definition_parts.h"

#include <arpa/inet.h>
#include <string.h>

#include "base/duration.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/pack.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

static const char *const kind_names[] = {
    [CHECK_NONE] = "",
    [CHECK_GRPC] = "grpc",
    [CHECK_HTTP] = "http",
    [CHECK_TTL] = "ttl",
    [CHECK_TCP] = "tcp",
    [CHECK_UDP] = "udp",
    [CHECK_ALIAS] = "alias",
    [CHECK_DOCKER] = "docker",
    [CHECK_SCRIPT] = "script",
    [CHECK_H2PING] = "h2ping",
    [CHECK_OS_SERVICE] = "os_service",
    [CHECK_MAINTENANCE] = "maintenance",
};

const char *check_kind_name(enum check_kind kind) {
    return kind_names[kind];
}

enum check_kind check_definition_kind(const struct check_definition *c) {
    if (c->maintenance) {
        return CHECK_MAINTENANCE;
    }
    return *c->grpc != '\0'                                      ? CHECK_GRPC
           : *c->http != '\0'                                    ? CHECK_HTTP
           : c->ttl_ns != 0                                      ? CHECK_TTL
           : *c->tcp != '\0'                                     ? CHECK_TCP
           : *c->udp != '\0'                                     ? CHECK_UDP
           : *c->alias_node != '\0' || *c->alias_service != '\0' ? CHECK_ALIAS
           : *c->docker_container_id != '\0'                     ? CHECK_DOCKER
           : c->script_args.count > 0                            ? CHECK_SCRIPT
           : *c->h2ping != '\0'                                  ? CHECK_H2PING
           : *c->os_service != '\0'                              ? CHECK_OS_SERVICE
                                                                 : CHECK_NONE;
}

/* ---- check fields ---- */

#define CHECK_FIELD(member, kind_, name_, alias_, file_name, file_alias)                           \
    {.name = (name_),                                                                              \
     .kind = DECODE_##kind_,                                                                       \
     .alias = (alias_),                                                                            \
     .offset = offsetof(struct check_definition, member)},

/* Of two names for one member the later row wins. */
static const struct decode_field check_fields[] = {
    DECODE_FIELD(struct check_definition, id, "ID", DECODE_STR),
    DEFINITION_CHECK_FIELDS(CHECK_FIELD) /* with commas */
    DECODE_FIELD(struct check_definition, script_args, "Args", DECODE_STR_LIST),
    DECODE_FIELD(struct check_definition, name_space, "Namespace", DECODE_STR),
    DECODE_FIELD(struct check_definition, partition, "Partition", DECODE_STR),
    {.name = "ProxyHTTP", .kind = DECODE_IGNORE},
    {.name = "ProxyGRPC", .kind = DECODE_IGNORE},
};

static const struct decode_spec check_spec = {.type = "CheckType",
                                              .size = sizeof(struct check_definition),
                                              .fields = check_fields,
                                              .count = COUNT(check_fields)};

/* The Definition of an external check: the same fields, older names of three (contract
 * http-kv 3.6), lenient to others. */
static const struct decode_field external_fields[] = {
    DEFINITION_CHECK_FIELDS(CHECK_FIELD) /* with commas */
    DECODE_FIELD(struct check_definition, session_name, "SessionName", DECODE_STR),
    DECODE_FIELD(struct check_definition, interval_ns, "IntervalDuration", DECODE_DURATION),
    DECODE_FIELD(struct check_definition, timeout_ns, "TimeoutDuration", DECODE_DURATION),
    DECODE_FIELD(struct check_definition, deregister_critical_after_ns,
                 "DeregisterCriticalServiceAfterDuration", DECODE_DURATION),
};

const struct decode_spec definition_external_spec = {.type = "HealthCheckDefinition",
                                                     .size = sizeof(struct check_definition),
                                                     .fields = external_fields,
                                                     .count = COUNT(external_fields),
                                                     .lenient = true};

#define CHECK_STRINGS 21

/* Where the strings of a definition stand. */
static void list_strings(struct check_definition *c, const char **ret_all[CHECK_STRINGS]) {
    const char **all[CHECK_STRINGS] = {&c->id,
                                       &c->name,
                                       &c->notes,
                                       &c->status,
                                       &c->service_id,
                                       &c->token,
                                       &c->http,
                                       &c->method,
                                       &c->body,
                                       &c->tcp,
                                       &c->udp,
                                       &c->grpc,
                                       &c->h2ping,
                                       &c->shell,
                                       &c->docker_container_id,
                                       &c->os_service,
                                       &c->alias_node,
                                       &c->alias_service,
                                       &c->tls_server_name,
                                       &c->session_name,
                                       &c->service_name};
    memcpy(ret_all, all, sizeof all);
}

void definition_fill_strings(struct check_definition *check) {
    const char **all[CHECK_STRINGS];
    list_strings(check, all);
    for (size_t i = 0; i < CHECK_STRINGS; i++) {
        *all[i] = str_or_empty(*all[i]);
    }
}

static void pack_check(struct packer *p, struct check_definition *c) {
    const char **all[CHECK_STRINGS];
    struct str_list_pair *from = c->header.v;
    c->header.v = pack_bytes(p, from, c->header.count * sizeof *from, sizeof(void *));
    for (uint32_t i = 0; i < c->header.count; i++) {
        struct str_list_pair pair = from[i];
        pack_str(p, &pair.key);
        pack_list(p, &pair.values);
        if (c->header.v != NULL) {
            c->header.v[i] = pair;
        }
    }
    pack_list(p, &c->service_tags);
    pack_list(p, &c->script_args);
    list_strings(c, all);
    for (size_t i = 0; i < CHECK_STRINGS; i++) {
        pack_str(p, all[i]);
    }
}

struct check_definition *check_definition_copy(const struct check_definition *from) {
    struct check_definition copy = *from;
    struct packer p = {.used = sizeof copy};
    pack_check(&p, &copy);
    p = (struct packer){.block = mem_alloc(p.used), .used = sizeof copy};
    copy = *from;
    pack_check(&p, &copy);
    return memcpy(p.block, &copy, sizeof copy);
}

static bool known_status(const char *status) {
    return strcmp(status, "passing") == 0 || strcmp(status, "warning") == 0 ||
           strcmp(status, "critical") == 0;
}

/* Of all texts; a header's name counts with each of its values, as it is sent. */
static size_t definition_bytes(const struct check_definition *c) {
    struct check_definition copy = *c;
    const char **all[CHECK_STRINGS];
    size_t bytes = 0;
    list_strings(&copy, all);
    for (size_t i = 0; i < CHECK_STRINGS; i++) {
        bytes += strlen(*all[i]);
    }
    for (uint32_t i = 0; i < c->header.count; i++) {
        const struct str_list_pair *pair = &c->header.v[i];
        bytes += strlen(pair->key) * (pair->values.count + 1u);
        bytes += str_list_bytes(&pair->values);
    }
    return bytes + str_list_bytes(&c->script_args);
}

/* The strings live in the request only, so they go once they are judged. */
static enum err take_tenancy(struct check_definition *check, struct err_text *text) {
    enum err err = definition_judge_tenancy(check->name_space, check->partition, text);
    check->name_space = check->partition = NULL;
    return err;
}

enum err check_definition_validate(struct check_definition *c, struct err_text *text) {
    bool active = *c->grpc != '\0' || *c->http != '\0' || *c->tcp != '\0' || *c->udp != '\0' ||
                  *c->h2ping != '\0' || *c->os_service != '\0' || c->script_args.count > 0 ||
                  *c->docker_container_id != '\0';
    bool alias = *c->alias_node != '\0' || *c->alias_service != '\0';
    const char *wrong = NULL;
    if (c->interval_ns > 0 && c->ttl_ns > 0) {
        wrong = "Interval and TTL cannot both be specified";
    } else if (alias && (active || c->interval_ns > 0)) {
        wrong = "Interval cannot be set for Alias checks";
    } else if (alias && c->ttl_ns > 0) {
        wrong = "TTL must be not be set for Alias checks";
    } else if (active && c->interval_ns <= 0) {
        wrong = "Interval must be > 0 for Script, HTTP, H2PING, TCP, UDP or OSService checks";
    } else if (!active && !alias && c->ttl_ns <= 0) {
        wrong = "TTL must be > 0 for TTL checks";
    } else if (c->output_bytes_max < 0) {
        wrong = "MaxOutputMaxSize must be positive";
    } else if (c->failures_before_warning > c->failures_before_critical) {
        wrong = "FailuresBeforeWarning can't be higher than FailuresBeforeCritical";
    }
    if (wrong != NULL) {
        return err_set(text, ERR_INVALID, "%s", wrong);
    }
    if (definition_bytes(c) > LIMIT_CHECK_DEFINITION_BYTES) {
        return err_set(text, ERR_INVALID, "a definition is limited to %d bytes",
                       LIMIT_CHECK_DEFINITION_BYTES);
    }
    int64_t most_ns = LIMIT_CHECK_TIMEOUT_MAX_MS * DURATION_MS;
    if (c->timeout_ns > most_ns) {
        c->timeout_ns = most_ns;
    }
    int64_t least_ns = LIMIT_CHECK_INTERVAL_MIN_MS * DURATION_MS;
    if (active && c->interval_ns < least_ns) {
        c->interval_ns = least_ns;
    }
    return ERR_OK;
}

/* ---- metadata ---- */

static const char *judge_pair(const struct str_pair *pair) {
    size_t size = strlen(pair->key);
    if (size == 0) {
        return "Key cannot be blank";
    }
    for (const char *at = pair->key; *at != '\0'; at++) {
        char c = str_lower_char(*at);
        if (!((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '_' || c == '-')) {
            return "Key contains invalid characters";
        }
    }
    return size > LIMIT_META_KEY_BYTES ? "Key is too long (limit: 128 characters)"
           : str_starts_with(pair->key, "consul-")
               ? "Key prefix 'consul-' is reserved for internal use"
           : strlen(pair->value) > LIMIT_META_VALUE_BYTES
               ? "Value is too long (limit: 512 characters)"
               : NULL;
}

enum err definition_check_meta(const struct str_map *meta, struct err_text *text) {
    if (meta->count > LIMIT_META_PAIRS) {
        return err_set(text, ERR_INVALID,
                       "Node metadata cannot contain more than 64 key/value pairs");
    }
    for (uint32_t i = 0; i < meta->count; i++) {
        const char *wrong = judge_pair(&meta->v[i]);
        if (wrong != NULL) {
            return err_set(text, ERR_INVALID, "Couldn't load metadata pair ('%.64s', '%.64s'): %s",
                           meta->v[i].key, meta->v[i].value, wrong);
        }
    }
    return ERR_OK;
}

/* ---- services ---- */

static const struct decode_field weights_fields[] = {
    DECODE_FIELD(struct weights, passing, "Passing", DECODE_INT),
    DECODE_FIELD(struct weights, warning, "Warning", DECODE_INT),
};

const struct decode_spec definition_weights_spec = {"AgentWeights", sizeof(struct weights),
                                                    weights_fields, COUNT(weights_fields), false};

struct tagged {
    const char *address;
    int64_t port;
};

static const struct decode_field tagged_fields[] = {
    DECODE_FIELD(struct tagged, address, "Address", DECODE_STR),
    {.name = "Port",
     .kind = DECODE_INT,
     .offset = offsetof(struct tagged, port),
     .min = 0,
     .max = 65535},
};

const struct decode_spec definition_tagged_spec = {"ServiceAddress", sizeof(struct tagged),
                                                   tagged_fields, COUNT(tagged_fields), false};

static const struct decode_field locality_fields[] = {
    DECODE_FIELD(struct locality, region, "Region", DECODE_STR),
    DECODE_FIELD(struct locality, zone, "Zone", DECODE_STR),
};

const struct decode_spec definition_locality_spec = {
    "Locality", sizeof(struct locality), locality_fields, COUNT(locality_fields), false};

#define SERVICE_FIELD(member, name_, kind_) DECODE_FIELD(struct service_input, member, name_, kind_)
#define SERVICE_FIELDS_SHARED                                                                      \
    SERVICE_FIELD(kind, "Kind", DECODE_STR), SERVICE_FIELD(id, "ID", DECODE_STR),                  \
        SERVICE_FIELD(tags, "Tags", DECODE_STR_LIST),                                              \
        SERVICE_FIELD(address, "Address", DECODE_STR),                                             \
        {.name = "TaggedAddresses",                                                                \
         .alias = "tagged_addresses",                                                              \
         .kind = DECODE_OBJECT_MAP,                                                                \
         .offset = offsetof(struct service_input, tagged_addresses),                               \
         .spec = &definition_tagged_spec},                                                         \
        SERVICE_FIELD(meta, "Meta", DECODE_STR_MAP),                                               \
        {.name = "Port",                                                                           \
         .kind = DECODE_INT,                                                                       \
         .offset = offsetof(struct service_input, port),                                           \
         .min = 0,                                                                                 \
         .max = 65535},                                                                            \
        {.name = "SocketPath",                                                                     \
         .alias = "socket_path",                                                                   \
         .kind = DECODE_STR,                                                                       \
         .offset = offsetof(struct service_input, socket_path)},                                   \
        {.name = "Weights",                                                                        \
         .kind = DECODE_OBJECT,                                                                    \
         .offset = offsetof(struct service_input, weights),                                        \
         .spec = &definition_weights_spec},                                                        \
        {.name = "EnableTagOverride",                                                              \
         .alias = "enable_tag_override",                                                           \
         .kind = DECODE_BOOL,                                                                      \
         .offset = offsetof(struct service_input, enable_tag_override)},                           \
        {.name = "Locality",                                                                       \
         .kind = DECODE_OBJECT,                                                                    \
         .offset = offsetof(struct service_input, locality),                                       \
         .spec = &definition_locality_spec},                                                       \
        SERVICE_FIELD(proxy, "Proxy", DECODE_RAW),                                                 \
        {.name = "Connect",                                                                        \
         .kind = DECODE_OBJECT,                                                                    \
         .offset = offsetof(struct service_input, connect),                                        \
         .spec = &connect_spec},                                                                   \
        SERVICE_FIELD(name_space, "Namespace", DECODE_STR),                                        \
        SERVICE_FIELD(partition, "Partition", DECODE_STR),                                         \
        SERVICE_FIELD(peer, "PeerName", DECODE_STR)

static const struct decode_field connect_fields[] = {
    DECODE_FIELD(struct service_connect, native, "Native", DECODE_BOOL),
};
static const struct decode_spec connect_spec = {"ServiceConnect", sizeof(struct service_connect),
                                                connect_fields, COUNT(connect_fields), true};

static const struct decode_field agent_service_fields[] = {
    SERVICE_FIELDS_SHARED,
    SERVICE_FIELD(name, "Name", DECODE_STR),
    SERVICE_FIELD(token, "Token", DECODE_STR),
    {.name = "Check",
     .kind = DECODE_OBJECT,
     .offset = offsetof(struct service_input, check),
     .spec = &check_spec},
    {.name = "Checks",
     .kind = DECODE_OBJECTS,
     .offset = offsetof(struct service_input, checks),
     .spec = &check_spec},
};

static const struct decode_spec agent_service_spec = {
    "ServiceDefinition", sizeof(struct service_input), agent_service_fields,
    COUNT(agent_service_fields), false};

static const struct decode_field node_service_fields[] = {
    SERVICE_FIELDS_SHARED,
    SERVICE_FIELD(name, "Service", DECODE_STR),
    {.name = "CreateIndex", .kind = DECODE_IGNORE},
    SERVICE_FIELD(modify_index, "ModifyIndex", DECODE_U64),
    {.name = "Datacenter", .kind = DECODE_IGNORE},
    {.name = "ContentHash", .kind = DECODE_IGNORE},
};

const struct decode_spec definition_node_service_spec = {
    "NodeService", sizeof(struct service_input), node_service_fields, COUNT(node_service_fields),
    false};

static bool default_tenancy(const char *s) {
    return s == NULL || *s == '\0' || str_equal_fold(s, "default");
}

enum err definition_judge_tenancy(const char *name_space, const char *partition,
                                  struct err_text *text) {
    if (!default_tenancy(name_space)) {
        return err_set(text, ERR_INVALID,
                       "Request decode failed: json: unknown field \"Namespace\" - Namespaces are "
                       "a Consul Enterprise feature");
    }
    if (!default_tenancy(partition)) {
        return err_set(text, ERR_INVALID,
                       "Request decode failed: json: unknown field \"Partition\" - Partitions are "
                       "a Consul Enterprise feature");
    }
    return ERR_OK;
}

bool definition_any_address(const char *s) {
    return strcmp(s, "0.0.0.0") == 0 || strcmp(s, "::") == 0 || strcmp(s, "[::]") == 0;
}

static bool is_ip(int family, const char *s) {
    struct in6_addr bytes;
    return inet_pton(family, s, &bytes) == 1;
}

/* Keeps the list sorted by name; it has room. */
static void insert_tagged(struct catalog_service *service, const char *name, const char *address,
                          uint32_t port) {
    uint32_t at = service->tagged_address_count++;
    while (at > 0 && strcmp(service->tagged_addresses[at - 1].name, name) > 0) {
        service->tagged_addresses[at] = service->tagged_addresses[at - 1];
        at--;
    }
    service->tagged_addresses[at] = (struct catalog_tagged_address){name, address, port};
}

static void take_tagged(const struct service_input *in, struct arena *arena,
                        struct catalog_service *out) {
    const struct tagged *all = in->tagged_addresses.v;
    out->tagged_addresses =
        arena_alloc(arena, (in->tagged_addresses.count + 2) * sizeof *out->tagged_addresses);
    for (uint32_t i = 0; i < in->tagged_addresses.count; i++) {
        insert_tagged(out, in->tagged_addresses.keys[i], str_or_empty(all[i].address),
                      (uint32_t)all[i].port);
    }
}

enum err definition_judge_tagged(const struct catalog_service *service, struct err_text *text) {
    static const struct {
        const char *name;
        int family;
    } typed[] = {{"lan_ipv4", AF_INET},
                 {"wan_ipv4", AF_INET},
                 {"lan_ipv6", AF_INET6},
                 {"wan_ipv6", AF_INET6}};
    for (size_t i = 0; i < COUNT(typed); i++) {
        const struct catalog_tagged_address *tagged = catalog_find_tagged(service, typed[i].name);
        if (tagged != NULL && !is_ip(typed[i].family, tagged->address)) {
            return err_set(text, ERR_REFUSED,
                           "Service tagged address \"%s\" must be a valid ipv%d address",
                           tagged->name, typed[i].family == AF_INET ? 4 : 6);
        }
    }
    return ERR_OK;
}

/* An IP literal as address also stands as the tagged addresses of its family. */
static void derive_tagged(struct catalog_service *service) {
    bool v4 = is_ip(AF_INET, service->address);
    if (!v4 && !is_ip(AF_INET6, service->address)) {
        return;
    }
    const char *names[] = {v4 ? "lan_ipv4" : "lan_ipv6", v4 ? "wan_ipv4" : "wan_ipv6"};
    for (size_t i = 0; i < COUNT(names); i++) {
        if (catalog_find_tagged(service, names[i]) == NULL) {
            insert_tagged(service, names[i], service->address, service->port);
        }
    }
}

struct catalog_service definition_take_service(const struct service_input *in,
                                               struct arena *arena) {
    struct catalog_service out = {
        .node = "",
        .id = *str_or_empty(in->id) != '\0' ? in->id : str_or_empty(in->name),
        .name = str_or_empty(in->name),
        .tags = in->tags,
        .address = str_or_empty(in->address),
        .port = (uint32_t)in->port,
        .socket_path = str_or_empty(in->socket_path),
        .meta = in->meta,
        .weight_passing = in->weights != NULL ? (uint32_t)in->weights->passing : 1,
        .weight_warning = in->weights != NULL ? (uint32_t)in->weights->warning : 1,
        .enable_tag_override = in->enable_tag_override,
        .kind = str_or_empty(in->kind),
        .region = in->locality != NULL ? str_or_empty(in->locality->region) : "",
        .zone = in->locality != NULL ? str_or_empty(in->locality->zone) : "",
        .proxy = str_or_empty(in->proxy),
        .connect = in->connect != NULL && in->connect->native ? "{\"Native\":true}" : "",
    };
    take_tagged(in, arena, &out);
    return out;
}

enum err definition_judge_weights(const struct weights *weights, struct err_text *text) {
    if (weights == NULL) {
        return ERR_OK;
    }
    const char *wrong = weights->passing < 1   ? "Passing must be greater than 0"
                        : weights->warning < 0 ? "Warning must be greater or equal than 0"
                        : weights->passing > 65535 || weights->warning > 65535
                            ? "DNS Weight must be between 0 and 65535"
                            : NULL;
    return wrong != NULL ? err_set(text, ERR_INVALID, "Invalid Weights: %s", wrong) : ERR_OK;
}

static enum err judge_agent_service(const struct service_input *in,
                                    const struct catalog_service *service, struct err_text *text) {
    if (*service->name == '\0') {
        return err_set(text, ERR_INVALID, "Missing service name");
    }
    if (strlen(service->name) > LIMIT_NAME_BYTES || strlen(service->id) > LIMIT_NAME_BYTES) {
        return err_set(text, ERR_INVALID, "Service name and ID are limited to %d bytes",
                       LIMIT_NAME_BYTES);
    }
    if (str_list_bytes(&service->tags) > LIMIT_TAGS_BYTES) {
        return err_set(text, ERR_INVALID, "Tags are limited to %d bytes", LIMIT_TAGS_BYTES);
    }
    if (definition_any_address(service->address)) {
        return err_set(text, ERR_INVALID, "Invalid service address");
    }
    if (definition_check_meta(&service->meta, text) != ERR_OK) {
        err_prefix(text, "Invalid Service Meta");
        return ERR_INVALID;
    }
    if (*service->zone != '\0' && *service->region == '\0') {
        return err_set(text, ERR_INVALID, "Validation failed: zone cannot be set without region");
    }
    enum err err = definition_judge_weights(in->weights, text);
    return err != ERR_OK ? err : definition_judge_tagged(service, text);
}

/* Strings that are set to "" are not set. */
static bool empty_check(const struct check_definition *c) {
    static const struct check_definition zero;
    struct check_definition copy;
    const char **all[CHECK_STRINGS];
    memcpy(&copy, c, sizeof copy); /* with the padding, which the arena has zeroed */
    list_strings(&copy, all);
    for (size_t i = 0; i < CHECK_STRINGS; i++) {
        *all[i] = *str_or_empty(*all[i]) != '\0' ? *all[i] : NULL;
    }
    return memcmp(&copy, &zero, sizeof zero) == 0;
}

static enum err judge_check_id(const struct check_definition *check, struct err_text *text) {
    return strlen(check->id) <= LIMIT_NAME_BYTES
               ? ERR_OK
               : err_set(text, ERR_INVALID, "Check IDs are limited to %d bytes", LIMIT_NAME_BYTES);
}

/* Ids by the contract: its own, else service:<id>, with :<position> when there are several. */
static enum err take_checks(const struct service_input *in, struct arena *arena,
                            struct service_definition *out, struct err_text *text) {
    const struct check_definition *listed = in->checks.v;
    bool single = in->check != NULL && !empty_check(in->check);
    uint32_t count = in->checks.count + single;
    if (count > LIMIT_CHECKS_PER_REQUEST) {
        return err_set(text, ERR_INVALID, "Invalid check: more than %d in one registration",
                       LIMIT_CHECKS_PER_REQUEST);
    }
    out->checks = arena_alloc(arena, (count ? count : 1) * sizeof *out->checks);
    out->check_count = count;
    for (uint32_t i = 0; i < count; i++) {
        struct check_definition *check = &out->checks[i];
        *check = single && i == 0 ? *in->check : listed[i - single];
        definition_fill_strings(check);
        if (*check->id == '\0') {
            check->id = count == 1 ? arena_format(arena, "service:%s", out->service.id)
                                   : arena_format(arena, "service:%s:%u", out->service.id, i + 1);
        }
        if (*check->name == '\0') {
            check->name = arena_format(arena, "Service '%s' check", out->service.name);
        }
        check->service_id = out->service.id;
        check->service_name = out->service.name;
        check->service_tags = out->service.tags;
        if (judge_check_id(check, text) != ERR_OK) {
            return ERR_INVALID;
        }
        if (take_tenancy(check, text) != ERR_OK) {
            return ERR_INVALID;
        }
        if (check_definition_validate(check, text) != ERR_OK) {
            err_prefix(text, "Invalid check");
            return ERR_INVALID;
        }
        if (*check->status != '\0' && !known_status(check->status)) {
            return err_set(text, ERR_INVALID,
                           "Status for checks must 'passing', 'warning', 'critical'");
        }
    }
    return ERR_OK;
}

enum err definition_decode_failed(struct err_text *text) {
    err_prefix(text, "Request decode failed");
    return ERR_INVALID;
}

enum err definition_finish_service(const struct service_input *in, struct arena *arena,
                                   struct service_definition *ret_service, struct err_text *text) {
    struct service_definition out = {.service = definition_take_service(in, arena),
                                     .token = str_or_empty(in->token)};
    enum err err = judge_agent_service(in, &out.service, text);
    if (err == ERR_OK) {
        derive_tagged(&out.service);
        err = take_checks(in, arena, &out, text);
    }
    if (err == ERR_OK) {
        *ret_service = out;
    }
    return err;
}

enum err definition_parse_service(const char *json, size_t size, struct arena *arena,
                                  struct service_definition *ret_service, struct err_text *text) {
    struct service_input in = {0};
    if (decode_json(&agent_service_spec, DECODE_BODY, json, size, arena, &in, text) != ERR_OK) {
        return definition_decode_failed(text);
    }
    enum err err = definition_judge_tenancy(in.name_space, in.partition, text);
    return err != ERR_OK ? err : definition_finish_service(&in, arena, ret_service, text);
}

enum err definition_finish_check(struct check_definition *check, struct err_text *text) {
    definition_fill_strings(check);
    if (*check->name == '\0') {
        return err_set(text, ERR_INVALID, "Missing check name");
    }
    if (*check->status != '\0' && !known_status(check->status)) {
        return err_set(text, ERR_INVALID, "Bad check status");
    }
    if (*check->id == '\0') {
        check->id = check->name;
    }
    if (judge_check_id(check, text) != ERR_OK) {
        return ERR_INVALID;
    }
    if (take_tenancy(check, text) != ERR_OK) {
        return ERR_INVALID;
    }
    if (check_definition_validate(check, text) != ERR_OK) {
        err_prefix(text, "Invalid check");
        return ERR_INVALID;
    }
    return ERR_OK;
}

enum err definition_parse_check(const char *json, size_t size, struct arena *arena,
                                struct check_definition *ret_check, struct err_text *text) {
    struct check_definition check = {0};
    if (decode_json(&check_spec, DECODE_BODY, json, size, arena, &check, text) != ERR_OK) {
        return definition_decode_failed(text);
    }
    enum err err = definition_finish_check(&check, text);
    if (err == ERR_OK) {
        *ret_check = check;
    }
    return err;
}
