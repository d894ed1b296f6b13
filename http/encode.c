#include <string.h>

#include "http/request.h"

static bool shows_wan(const struct http_request *req, const char *dc) {
    const struct backend_facts *facts = req->backend->facts;
    return http_request_has(req, HTTP_TRANSLATE) ||
           (facts->translate_wan && strcmp(dc, facts->datacenter) != 0);
}

const struct catalog_node *http_seen_node(const struct http_request *req, const char *dc,
                                          const struct catalog_node *node) {
    const char *wan = shows_wan(req, dc) ? str_map_get(&node->tagged_addresses, "wan") : NULL;
    if (wan == NULL || *wan == '\0') {
        return node;
    }
    struct catalog_node *copy = arena_alloc(req->arena, sizeof *copy);
    *copy = *node;
    copy->address = wan;
    return copy;
}

const struct catalog_service *http_seen_service(const struct http_request *req, const char *dc,
                                                const struct catalog_service *service) {
    const struct catalog_tagged_address *wan =
        shows_wan(req, dc) ? catalog_find_tagged(service, "wan") : NULL;
    if (wan == NULL || *wan->address == '\0') {
        return service;
    }
    struct catalog_service *copy = arena_alloc(req->arena, sizeof *copy);
    *copy = *service;
    copy->address = wan->address;
    copy->port = wan->port != 0 ? wan->port : service->port;
    return copy;
}

static void indexes(struct json *json, uint64_t create, uint64_t modify) {
    json_member_u64(json, "CreateIndex", create);
    json_member_u64(json, "ModifyIndex", modify);
}

void encode_node(struct json *json, const struct catalog_node *node, const char *dc) {
    json_object_begin(json);
    json_member_str(json, "ID", node->id);
    json_member_str(json, "Node", node->name);
    json_member_str(json, "Address", node->address);
    json_member_str(json, "Datacenter", dc);
    json_member_map(json, "TaggedAddresses", &node->tagged_addresses);
    json_member_map(json, "Meta", &node->meta);
    if (*node->region != '\0') {
        definition_write_locality(json, "Locality", node->region, node->zone);
    }
    indexes(json, node->create_index, node->modify_index);
    json_object_end(json);
}

static void tagged_addresses(struct json *json, const char *key,
                             const struct catalog_service *service) {
    if (service->tagged_address_count > 0) {
        definition_write_tagged_addresses(json, key, service);
    }
}

/* Carried as it came; a plain service shows what the contract shows for it. */
static void opaque(struct json *json, const char *key, const char *text, const char *plain) {
    json_key(json, key);
    json_raw(json, *text != '\0' ? text : plain);
}

#define PLAIN_PROXY "{\"Mode\":\"\",\"MeshGateway\":{},\"Expose\":{}}"

void encode_node_service(struct json *json, const struct catalog_service *service) {
    json_object_begin(json);
    if (*service->kind != '\0') {
        json_member_str(json, "Kind", service->kind);
    }
    json_member_str(json, "ID", service->id);
    json_member_str(json, "Service", service->name);
    json_member_list(json, "Tags", &service->tags);
    json_member_str(json, "Address", service->address);
    tagged_addresses(json, "TaggedAddresses", service);
    json_member_map(json, "Meta", &service->meta);
    if (service->port != 0) {
        json_member_u64(json, "Port", service->port);
    }
    if (*service->socket_path != '\0') {
        json_member_str(json, "SocketPath", service->socket_path);
    }
    definition_write_weights(json, "Weights", service);
    json_member_bool(json, "EnableTagOverride", service->enable_tag_override);
    if (*service->region != '\0') {
        definition_write_locality(json, "Locality", service->region, service->zone);
    }
    opaque(json, "Proxy", service->proxy, PLAIN_PROXY);
    opaque(json, "Connect", service->connect, "{}");
    json_member_str(json, "PeerName", "");
    indexes(json, service->create_index, service->modify_index);
    json_object_end(json);
}

void encode_service_node(struct json *json, const struct catalog_instance *instance,
                         const char *dc) {
    const struct catalog_node *node = instance->node;
    const struct catalog_service *service = instance->service;
    struct str_map meta = service->meta;
    meta.present = true;
    json_object_begin(json);
    json_member_str(json, "ID", node->id);
    json_member_str(json, "Node", node->name);
    json_member_str(json, "Address", node->address);
    json_member_str(json, "Datacenter", dc);
    json_member_map(json, "TaggedAddresses", &node->tagged_addresses);
    json_member_map(json, "NodeMeta", &node->meta);
    json_member_str(json, "ServiceKind", service->kind);
    json_member_str(json, "ServiceID", service->id);
    json_member_str(json, "ServiceName", service->name);
    json_member_list(json, "ServiceTags", &service->tags);
    json_member_str(json, "ServiceAddress", service->address);
    tagged_addresses(json, "ServiceTaggedAddresses", service);
    definition_write_weights(json, "ServiceWeights", service);
    json_member_map(json, "ServiceMeta", &meta);
    json_member_u64(json, "ServicePort", service->port);
    json_member_str(json, "ServiceSocketPath", service->socket_path);
    json_member_bool(json, "ServiceEnableTagOverride", service->enable_tag_override);
    opaque(json, "ServiceProxy", service->proxy, PLAIN_PROXY);
    opaque(json, "ServiceConnect", service->connect, "{}");
    if (*service->region != '\0') {
        definition_write_locality(json, "ServiceLocality", service->region, service->zone);
    } else {
        json_key(json, "ServiceLocality");
        json_null(json);
    }
    indexes(json, service->create_index, service->modify_index);
    json_object_end(json);
}

void encode_check(struct json *json, const struct catalog_check *check) {
    json_object_begin(json);
    json_member_str(json, "Node", check->node);
    json_member_str(json, "CheckID", check->id);
    json_member_str(json, "Name", check->name);
    json_member_str(json, "Status", check->status);
    json_member_str(json, "Notes", check->notes);
    json_member_str(json, "Output", check->output);
    json_member_str(json, "ServiceID", check->service_id);
    json_member_str(json, "ServiceName", check->service_name);
    json_member_list(json, "ServiceTags", &check->service_tags);
    json_member_str(json, "Type", check->type);
    json_member_str(json, "Interval", check->interval);
    json_member_str(json, "Timeout", check->timeout);
    json_member_u64(json, "ExposedPort", 0);
    opaque(json, "Definition", check->definition, "{}");
    indexes(json, check->create_index, check->modify_index);
    json_object_end(json);
}

void encode_instance(struct json *json, const struct http_request *req,
                     const struct catalog_instance *instance, const char *dc) {
    json_object_begin(json);
    json_key(json, "Node");
    encode_node(json, http_seen_node(req, dc, instance->node), dc);
    json_key(json, "Service");
    encode_node_service(json, http_seen_service(req, dc, instance->service));
    json_key(json, "Checks");
    json_array_begin(json);
    for (uint32_t i = 0; i < instance->check_count; i++) {
        encode_check(json, instance->checks[i]);
    }
    json_array_end(json);
    json_object_end(json);
}

void encode_agent_service(struct json *json, const struct catalog_service *service, const char *dc,
                          const char *content_hash) {
    struct str_map meta = service->meta;
    meta.present = true;
    json_object_begin(json);
    if (*service->kind != '\0') {
        json_member_str(json, "Kind", service->kind);
    }
    json_member_str(json, "ID", service->id);
    json_member_str(json, "Service", service->name);
    json_member_list(json, "Tags", &service->tags);
    json_member_map(json, "Meta", &meta);
    json_member_u64(json, "Port", service->port);
    json_member_str(json, "Address", service->address);
    if (*service->socket_path != '\0') {
        json_member_str(json, "SocketPath", service->socket_path);
    }
    tagged_addresses(json, "TaggedAddresses", service);
    definition_write_weights(json, "Weights", service);
    json_member_bool(json, "EnableTagOverride", service->enable_tag_override);
    if (content_hash != NULL) {
        json_member_str(json, "ContentHash", content_hash);
    }
    if (*service->kind != '\0' && *service->proxy != '\0') {
        opaque(json, "Proxy", service->proxy, PLAIN_PROXY);
    }
    if (*service->connect != '\0') {
        opaque(json, "Connect", service->connect, "{}");
    }
    json_member_str(json, "Datacenter", dc);
    if (*service->region != '\0') {
        definition_write_locality(json, "Locality", service->region, service->zone);
    }
    json_object_end(json);
}

void encode_kv(struct json *json, const struct catalog_kv *kv, bool with_value) {
    json_object_begin(json);
    json_member_u64(json, "LockIndex", kv->lock_index);
    json_member_str(json, "Key", catalog_kv_key(kv));
    json_member_u64(json, "Flags", kv->flags);
    json_key(json, "Value");
    if (with_value && kv->value_size > 0) {
        json_base64(json, catalog_kv_value(kv), kv->value_size);
    } else {
        json_null(json);
    }
    if (kv->session_size > 0) {
        json_member_str(json, "Session", catalog_kv_session(kv));
    }
    indexes(json, kv->create_index, kv->modify_index);
    json_object_end(json);
}

static void list_or_null(struct json *json, const char *key, const struct str_list *list,
                         bool present) {
    if (present) {
        json_member_list(json, key, list);
    } else {
        json_key(json, key);
        json_null(json);
    }
}

void encode_session(struct json *json, const struct catalog_session *session) {
    json_object_begin(json);
    json_member_str(json, "ID", session->id);
    json_member_str(json, "Name", session->name);
    json_member_str(json, "Node", session->node);
    json_key(json, "LockDelay");
    json_i64(json, session->lock_delay_ns);
    json_member_str(json, "Behavior", session->behavior);
    json_member_str(json, "TTL", session->ttl);
    list_or_null(json, "NodeChecks", &session->node_checks, session->node_checks_present);
    json_key(json, "ServiceChecks");
    if (session->service_checks_present) {
        json_array_begin(json);
        for (uint32_t i = 0; i < session->service_checks.count; i++) {
            json_object_begin(json);
            json_member_str(json, "ID", session->service_checks.v[i]);
            json_member_str(json, "Namespace", "");
            json_object_end(json);
        }
        json_array_end(json);
    } else {
        json_null(json);
    }
    if (session->checks.count > 0) {
        json_member_list(json, "Checks", &session->checks);
    }
    indexes(json, session->create_index, session->modify_index);
    json_object_end(json);
}
