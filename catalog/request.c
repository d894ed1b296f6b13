/* The requests of the catalog endpoints (contract 8.1, 8.2, 7.3). */
#include <string.h>

#include "base/limits.h"
#include "base/uuid.h"
#include "catalog/definition_parts.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

#define HEALTH_FIELD(member, name_, kind_) DECODE_FIELD(struct check_input, member, name_, kind_)

static const struct decode_field health_check_fields[] = {
    HEALTH_FIELD(node, "Node", DECODE_STR),
    HEALTH_FIELD(id, "CheckID", DECODE_STR),
    HEALTH_FIELD(name, "Name", DECODE_STR),
    HEALTH_FIELD(status, "Status", DECODE_STR),
    HEALTH_FIELD(notes, "Notes", DECODE_STR),
    HEALTH_FIELD(output, "Output", DECODE_STR),
    HEALTH_FIELD(service_id, "ServiceID", DECODE_STR),
    HEALTH_FIELD(service_name, "ServiceName", DECODE_STR),
    HEALTH_FIELD(service_tags, "ServiceTags", DECODE_STR_LIST),
    HEALTH_FIELD(type, "Type", DECODE_STR),
    HEALTH_FIELD(interval, "Interval", DECODE_STR),
    HEALTH_FIELD(timeout, "Timeout", DECODE_STR),
    HEALTH_FIELD(name_space, "Namespace", DECODE_STR),
    HEALTH_FIELD(partition, "Partition", DECODE_STR),
    HEALTH_FIELD(peer, "PeerName", DECODE_STR),
    {.name = "ExposedPort", .kind = DECODE_IGNORE},
    {.name = "Definition",
     .kind = DECODE_OBJECT,
     .spec = &definition_external_spec,
     .offset = offsetof(struct check_input, definition)},
    {.name = "CreateIndex", .kind = DECODE_IGNORE},
    HEALTH_FIELD(modify_index, "ModifyIndex", DECODE_U64),
};

const struct decode_spec definition_health_check_spec = {"HealthCheck", sizeof(struct check_input),
                                                         health_check_fields,
                                                         COUNT(health_check_fields), false};

struct register_input {
    const char *dc, *id, *node, *address, *peer, *name_space, *partition;
    struct str_map tagged_addresses, meta;
    struct service_input *service;
    struct check_input *check;
    struct decode_objects checks;
    struct locality *locality;
    bool skip_node_update;
};

#define REGISTER_FIELD(member, name_, kind_)                                                       \
    DECODE_FIELD(struct register_input, member, name_, kind_)

static const struct decode_field register_fields[] = {
    REGISTER_FIELD(dc, "Datacenter", DECODE_STR),
    REGISTER_FIELD(id, "ID", DECODE_STR),
    REGISTER_FIELD(node, "Node", DECODE_STR),
    REGISTER_FIELD(address, "Address", DECODE_STR),
    REGISTER_FIELD(tagged_addresses, "TaggedAddresses", DECODE_STR_MAP),
    REGISTER_FIELD(meta, "NodeMeta", DECODE_STR_MAP),
    {.name = "Service",
     .kind = DECODE_OBJECT,
     .spec = &definition_node_service_spec,
     .offset = offsetof(struct register_input, service)},
    {.name = "Check",
     .kind = DECODE_OBJECT,
     .spec = &definition_health_check_spec,
     .offset = offsetof(struct register_input, check)},
    {.name = "Checks",
     .kind = DECODE_OBJECTS,
     .spec = &definition_health_check_spec,
     .offset = offsetof(struct register_input, checks)},
    {.name = "Locality",
     .kind = DECODE_OBJECT,
     .spec = &definition_locality_spec,
     .offset = offsetof(struct register_input, locality)},
    REGISTER_FIELD(skip_node_update, "SkipNodeUpdate", DECODE_BOOL),
    REGISTER_FIELD(peer, "PeerName", DECODE_STR),
    REGISTER_FIELD(name_space, "Namespace", DECODE_STR),
    REGISTER_FIELD(partition, "Partition", DECODE_STR),
    {.name = "CreateIndex", .kind = DECODE_IGNORE},
    {.name = "ModifyIndex", .kind = DECODE_IGNORE},
    {.name = "Token", .kind = DECODE_IGNORE},
    {.name = "WriteRequest", .kind = DECODE_IGNORE},
};

static const struct decode_spec register_spec = {"RegisterRequest", sizeof(struct register_input),
                                                 register_fields, COUNT(register_fields), false};

static const char *lower_copy(struct arena *arena, const char *s) {
    char *copy = arena_alloc(arena, strlen(s) + 1);
    str_lower(copy, strlen(s) + 1, s);
    return copy;
}

static enum err refuse(struct err_text *text, const char *sentence) {
    return err_set(text, ERR_REFUSED, "%s", sentence);
}

static enum err judge_node(const struct register_input *in, struct err_text *text) {
    struct uuid uuid;
    if (*str_or_empty(in->node) == '\0') {
        return refuse(text, "Must provide node");
    }
    if (*str_or_empty(in->id) != '\0' && !uuid_parse(in->id, &uuid)) {
        return err_set(text, ERR_REFUSED,
                       "Bad node ID: uuid string is wrong length or not "
                       "hexadecimal: %.64s",
                       in->id);
    }
    if (*str_or_empty(in->address) == '\0' && !in->skip_node_update) {
        return refuse(text, "Must provide address if SkipNodeUpdate is not set");
    }
    if (*str_or_empty(in->peer) != '\0') {
        return refuse(text, "cannot register requests with PeerName in them");
    }
    if (in->locality != NULL && *str_or_empty(in->locality->zone) != '\0' &&
        *str_or_empty(in->locality->region) == '\0') {
        return refuse(text, "zone cannot be set without region");
    }
    return ERR_OK;
}

enum err definition_take_node_service(const struct service_input *from, const char *node,
                                      struct arena *arena, struct catalog_service *service,
                                      struct err_text *text) {
    if (*str_or_empty(from->name) == '\0') {
        return refuse(text, *str_or_empty(from->id) != '\0'
                                ? "Must provide service name (Service.Service) when service ID is "
                                  "provided"
                                : "Must provide service name (Service.Service)");
    }
    *service = definition_take_service(from, arena);
    if (*str_or_empty(from->peer) != '\0') {
        return refuse(text, "cannot register requests with PeerName in them");
    }
    if (str_list_bytes(&service->tags) > LIMIT_TAGS_BYTES) {
        return err_set(text, ERR_INVALID, "Tags are limited to %d bytes", LIMIT_TAGS_BYTES);
    }
    if (definition_any_address(service->address)) {
        return refuse(text, "Invalid service address");
    }
    if (*service->zone != '\0' && *service->region == '\0') {
        return refuse(text, "zone cannot be set without region");
    }
    /* Here they are not judged: the Go client sends zeros for those that its caller left out. */
    struct err_text ignored;
    if (definition_judge_weights(from->weights, &ignored) != ERR_OK) {
        service->weight_passing = service->weight_warning = 1;
    }
    if (definition_check_meta(&service->meta, text) != ERR_OK) {
        err_prefix(text,
                   "failed inserting service: Invalid Service Meta for node %.128s and "
                   "serviceID %.128s",
                   node, service->id);
        return ERR_REFUSED;
    }
    enum err err = definition_judge_tagged(service, text);
    return err != ERR_OK ? err : definition_judge_tenancy(from->name_space, from->partition, text);
}

enum err definition_take_health_check(const struct check_input *from, const char *request_node,
                                      struct arena *arena, struct catalog_check *out,
                                      struct err_text *text) {
    const char *node = *str_or_empty(from->node) != '\0' ? from->node : request_node;
    const char *name = str_or_empty(from->name);
    const char *id = *str_or_empty(from->id) != '\0' ? from->id : name;
    if (!str_equal_fold(node, request_node)) {
        return err_set(text, ERR_REFUSED,
                       "Node '%.128s' for check '%.128s' doesn't match register request node "
                       "'%.128s'",
                       node, id, request_node);
    }
    if (*str_or_empty(from->peer) != '\0') {
        return refuse(text, "cannot register requests with PeerName in them");
    }
    if (str_list_bytes(&from->service_tags) > LIMIT_TAGS_BYTES) {
        return err_set(text, ERR_INVALID, "Tags are limited to %d bytes", LIMIT_TAGS_BYTES);
    }
    struct check_definition definition = {0};
    if (from->definition != NULL) {
        definition = *from->definition;
    }
    definition_fill_strings(&definition);
    const char *status = str_or_empty(from->status);
    bool bound = *str_or_empty(from->service_id) != '\0';
    *out = (struct catalog_check){
        .node = "", /* apply takes it from the node, and name and tags from the service */
        .id = id,
        .name = name,
        .status = *status != '\0' ? status : "critical",
        .notes = str_or_empty(from->notes),
        .output = str_or_empty(from->output),
        .service_id = str_or_empty(from->service_id),
        .service_name = bound ? "" : str_or_empty(from->service_name),
        .service_tags = bound ? (struct str_list){0} : from->service_tags,
        .type = *str_or_empty(from->type) != '\0'
                    ? from->type
                    : check_kind_name(check_definition_kind(&definition)),
        .interval = str_or_empty(from->interval),
        .timeout = str_or_empty(from->timeout),
        .definition = definition_format_probe(&definition, arena),
    };
    return definition_judge_tenancy(from->name_space, from->partition, text);
}

enum err definition_parse_register(const char *json, size_t size, struct arena *arena,
                                   struct catalog_register *ret_register, const char **ret_dc,
                                   struct err_text *text) {
    struct register_input in = {0};
    if (decode_json(&register_spec, DECODE_BODY, json, size, arena, &in, text) != ERR_OK) {
        if (str_starts_with(text->s, "json: unknown field \"Namespace\"")) {
            strncat(text->s, " - Namespaces are a Consul Enterprise feature",
                    sizeof text->s - strlen(text->s) - 1);
        }
        return definition_decode_failed(text);
    }
    enum err err = definition_judge_tenancy(in.name_space, in.partition, text);
    if (err == ERR_OK) {
        err = judge_node(&in, text);
    }
    if (err != ERR_OK) {
        return err;
    }
    struct catalog_register out = {
        .node = {.id = lower_copy(arena, str_or_empty(in.id)),
                 .name = in.node,
                 .address = str_or_empty(in.address),
                 .tagged_addresses = in.tagged_addresses,
                 .meta = in.meta,
                 .region = in.locality != NULL ? str_or_empty(in.locality->region) : "",
                 .zone = in.locality != NULL ? str_or_empty(in.locality->zone) : ""},
        .skip_node_update = in.skip_node_update,
        .check_count = in.checks.count + (in.check != NULL),
    };
    if (out.check_count > LIMIT_CHECKS_PER_REQUEST) {
        return err_set(text, ERR_INVALID, "more than %d checks in one registration",
                       LIMIT_CHECKS_PER_REQUEST);
    }
    if (in.service != NULL) {
        struct catalog_service *service = arena_alloc(arena, sizeof *service);
        err = definition_take_node_service(in.service, in.node, arena, service, text);
        out.service = service;
    }
    struct catalog_check *checks = arena_alloc(arena, (out.check_count + 1) * sizeof *checks);
    const struct check_input *listed = in.checks.v;
    for (uint32_t i = 0; err == ERR_OK && i < out.check_count; i++) {
        err = definition_take_health_check(i < in.checks.count ? &listed[i] : in.check, in.node,
                                           arena, &checks[i], text);
    }
    if (err == ERR_OK) {
        out.checks = checks;
        *ret_register = out;
        *ret_dc = str_or_empty(in.dc);
    }
    return err;
}

struct deregister_input {
    const char *dc, *node, *service_id, *check_id, *name_space, *partition;
};

#define DEREGISTER_FIELD(member, name_)                                                            \
    DECODE_FIELD(struct deregister_input, member, name_, DECODE_STR)

static const struct decode_field deregister_fields[] = {
    DEREGISTER_FIELD(dc, "Datacenter"),          DEREGISTER_FIELD(node, "Node"),
    DEREGISTER_FIELD(service_id, "ServiceID"),   DEREGISTER_FIELD(check_id, "CheckID"),
    DEREGISTER_FIELD(name_space, "Namespace"),   DEREGISTER_FIELD(partition, "Partition"),
    {.name = "Address", .kind = DECODE_IGNORE},  {.name = "Token", .kind = DECODE_IGNORE},
    {.name = "PeerName", .kind = DECODE_IGNORE}, {.name = "WriteRequest", .kind = DECODE_IGNORE},
};

static const struct decode_spec deregister_spec = {
    "DeregisterRequest", sizeof(struct deregister_input), deregister_fields,
    COUNT(deregister_fields), false};

enum err definition_parse_deregister(const char *json, size_t size, struct arena *arena,
                                     struct catalog_deregister *ret_deregister, const char **ret_dc,
                                     struct err_text *text) {
    struct deregister_input in = {0};
    if (decode_json(&deregister_spec, DECODE_BODY, json, size, arena, &in, text) != ERR_OK) {
        return definition_decode_failed(text);
    }
    enum err err = definition_judge_tenancy(in.name_space, in.partition, text);
    if (err != ERR_OK) {
        return err;
    }
    if (*str_or_empty(in.node) == '\0') {
        return refuse(text, "Must provide node");
    }
    *ret_deregister = (struct catalog_deregister){.node = in.node,
                                                  .service_id = str_or_empty(in.service_id),
                                                  .check_id = str_or_empty(in.check_id)};
    *ret_dc = str_or_empty(in.dc);
    return ERR_OK;
}
