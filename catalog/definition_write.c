/* Definitions as JSON: what the agent keeps in its files, and the Definition of external checks. */
#include "base/duration.h"
#include "base/limits.h"
#include "catalog/definition_parts.h"

static void put_str(struct json *json, const char *key, const char *value) {
    if (*value != '\0') {
        json_member_str(json, key, value);
    }
}

static void put_bool(struct json *json, const char *key, bool value) {
    if (value) {
        json_member_bool(json, key, true);
    }
}

static void put_int(struct json *json, const char *key, int64_t value) {
    if (value != 0) {
        json_key(json, key);
        json_i64(json, value);
    }
}

static void put_duration(struct json *json, const char *key, int64_t ns) {
    if (ns != 0) {
        char out[DURATION_TEXT_BYTES];
        duration_format(ns, out);
        json_member_str(json, key, out);
    }
}

static void put_header(struct json *json, const struct str_multimap *header) {
    if (header->count == 0) {
        return;
    }
    json_key(json, "Header");
    json_object_begin(json);
    for (uint32_t i = 0; i < header->count; i++) {
        json_member_list(json, header->v[i].key, &header->v[i].values);
    }
    json_object_end(json);
}

/* The members that the Definition of an external check and an agent's definition share, in the
 * contract's order (5.4). */
static void write_probe(struct json *json, const struct check_definition *c) {
    put_str(json, "HTTP", c->http);
    put_str(json, "TLSServerName", c->tls_server_name);
    put_bool(json, "TLSSkipVerify", c->tls_skip_verify);
    put_header(json, &c->header);
    put_str(json, "Method", c->method);
    put_str(json, "Body", c->body);
    put_bool(json, "DisableRedirects", c->disable_redirects);
    put_str(json, "TCP", c->tcp);
    put_bool(json, "TCPUseTLS", c->tcp_use_tls);
    put_str(json, "UDP", c->udp);
    put_str(json, "H2PING", c->h2ping);
    put_str(json, "OSService", c->os_service);
    if (c->h2ping_use_tls != 0) {
        json_member_bool(json, "H2PingUseTLS", c->h2ping_use_tls > 0);
    }
    put_duration(json, "Interval", c->interval_ns);
    put_duration(json, "Timeout", c->timeout_ns);
    put_duration(json, "DeregisterCriticalServiceAfter", c->deregister_critical_after_ns);
    put_int(json, "OutputMaxSize", c->output_bytes_max);
    if (c->script_args.count > 0) {
        json_member_list(json, "ScriptArgs", &c->script_args);
    }
    put_str(json, "DockerContainerID", c->docker_container_id);
    put_str(json, "Shell", c->shell);
    put_str(json, "GRPC", c->grpc);
    put_bool(json, "GRPCUseTLS", c->grpc_use_tls);
    put_str(json, "AliasNode", c->alias_node);
    put_str(json, "AliasService", c->alias_service);
    put_str(json, "SessionName", c->session_name);
    put_int(json, "TTL", c->ttl_ns);
}

const char *definition_format_probe(const struct check_definition *c, struct arena *arena) {
    struct buf out;
    struct json json;
    buf_init(&out, LIMIT_HTTP_BODY_BYTES);
    json_init(&json, &out, false);
    json_object_begin(&json);
    write_probe(&json, c);
    json_object_end(&json);
    const char *text =
        out.failed || out.count <= 2 ? "" : arena_strndup(arena, out.data, out.count);
    buf_clear(&out);
    return text;
}

struct check_definition definition_make_maintenance(const char *service_id, const char *reason,
                                                    struct arena *arena) {
    bool node = *service_id == '\0';
    struct check_definition check = {.maintenance = true};
    definition_fill_strings(&check);
    check.id =
        node ? "_node_maintenance" : arena_format(arena, "_service_maintenance:%s", service_id);
    check.name = node ? "Node Maintenance Mode" : "Service Maintenance Mode";
    check.notes = *reason != '\0' ? reason
                  : node ? "Maintenance mode is enabled for this node, but no reason was provided. "
                           "This is a default message."
                         : "Maintenance mode is enabled for this service, but no reason was "
                           "provided. This is a default message.";
    check.status = "critical";
    check.service_id = service_id;
    return check;
}

void definition_write_check(struct json *json, const struct check_definition *c) {
    json_object_begin(json);
    json_member_str(json, "CheckID", c->id);
    json_member_str(json, "Name", c->name);
    put_str(json, "Notes", c->notes);
    put_str(json, "Status", c->status);
    put_str(json, "ServiceID", c->service_id);
    put_str(json, "Token", c->token);
    write_probe(json, c);
    put_int(json, "SuccessBeforePassing", c->success_before_passing);
    put_int(json, "FailuresBeforeWarning", c->failures_before_warning);
    put_int(json, "FailuresBeforeCritical", c->failures_before_critical);
    json_object_end(json);
}

void definition_write_locality(struct json *json, const char *key, const char *region,
                               const char *zone) {
    json_key(json, key);
    json_object_begin(json);
    json_member_str(json, "Region", region);
    put_str(json, "Zone", zone);
    json_object_end(json);
}

void definition_write_tagged_addresses(struct json *json, const char *key,
                                       const struct catalog_service *service) {
    json_key(json, key);
    json_object_begin(json);
    for (uint32_t i = 0; i < service->tagged_address_count; i++) {
        json_key(json, service->tagged_addresses[i].name);
        json_object_begin(json);
        json_member_str(json, "Address", service->tagged_addresses[i].address);
        json_member_u64(json, "Port", service->tagged_addresses[i].port);
        json_object_end(json);
    }
    json_object_end(json);
}

void definition_write_weights(struct json *json, const char *key,
                              const struct catalog_service *service) {
    json_key(json, key);
    json_object_begin(json);
    json_member_u64(json, "Passing", service->weight_passing);
    json_member_u64(json, "Warning", service->weight_warning);
    json_object_end(json);
}

void definition_write_service(struct json *json, const struct service_definition *definition) {
    const struct catalog_service *s = &definition->service;
    json_object_begin(json);
    json_member_str(json, "ID", s->id);
    json_member_str(json, "Name", s->name);
    put_str(json, "Kind", s->kind);
    json_member_list(json, "Tags", &s->tags);
    put_str(json, "Address", s->address);
    put_int(json, "Port", s->port);
    put_str(json, "SocketPath", s->socket_path);
    definition_write_tagged_addresses(json, "TaggedAddresses", s);
    json_member_map(json, "Meta", &s->meta);
    definition_write_weights(json, "Weights", s);
    put_bool(json, "EnableTagOverride", s->enable_tag_override);
    if (*s->region != '\0') {
        definition_write_locality(json, "Locality", s->region, s->zone);
    }
    if (*s->proxy != '\0') {
        json_key(json, "Proxy");
        json_raw(json, s->proxy);
    }
    if (*s->connect != '\0') {
        json_key(json, "Connect");
        json_raw(json, s->connect);
    }
    put_str(json, "Token", definition->token);
    if (definition->check_count > 0) {
        json_key(json, "Checks");
        json_array_begin(json);
        for (uint32_t i = 0; i < definition->check_count; i++) {
            definition_write_check(json, &definition->checks[i]);
        }
        json_array_end(json);
    }
    json_object_end(json);
}
