/* Services and checks in configuration files: the same definitions under other names, and strict
 * about what this program does not offer, so that a misspelt key of a proxy is found too. */
#include <string.h>

#include "catalog/definition_parts.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

/* ---- checks ---- */

#define CHECK_FIELD(member, kind_, request_name, request_alias, name_, alias_)                     \
    {.name = (name_),                                                                              \
     .kind = DECODE_##kind_,                                                                       \
     .alias = (alias_),                                                                            \
     .offset = offsetof(struct check_definition, member)},

static const struct decode_field check_fields[] = {DEFINITION_CHECK_FIELDS(CHECK_FIELD)};

const struct decode_spec definition_file_check_spec = {"check", sizeof(struct check_definition),
                                                       check_fields, COUNT(check_fields), false};

/* ---- what is judged and dropped: proxies ---- */

#define ANY(name_)                                                                                 \
    { .name = (name_), .kind = DECODE_IGNORE }
/* Values of these are not kept, so one slot takes them all. */
struct dropped {
    const char *str;
    int64_t number;
    bool flag;
    struct str_list list;
    struct decode_objects objects;
    const void *object;
};
#define DROP(member, name_, kind_, spec_)                                                          \
    {                                                                                              \
        .name = (name_), .kind = (kind_), .offset = offsetof(struct dropped, member),              \
        .spec = (spec_)                                                                            \
    }
#define DROP_SPEC(name_, fields_)                                                                  \
    static const struct decode_spec name_ = {"", sizeof(struct dropped), fields_, COUNT(fields_),  \
                                             false}

static const struct decode_field gateway_fields[] = {DROP(str, "mode", DECODE_STR, NULL)};
DROP_SPEC(gateway_spec, gateway_fields);

static const struct decode_field transparent_fields[] = {
    DROP(number, "outbound_listener_port", DECODE_INT, NULL),
    DROP(flag, "dialed_directly", DECODE_BOOL, NULL),
};
DROP_SPEC(transparent_spec, transparent_fields);

static const struct decode_field path_fields[] = {
    DROP(number, "listener_port", DECODE_INT, NULL),
    DROP(str, "path", DECODE_STR, NULL),
    DROP(number, "local_path_port", DECODE_INT, NULL),
    DROP(str, "protocol", DECODE_STR, NULL),
};
DROP_SPEC(path_spec, path_fields);

static const struct decode_field expose_fields[] = {
    DROP(flag, "checks", DECODE_BOOL, NULL),
    DROP(objects, "paths", DECODE_OBJECTS, &path_spec),
};
DROP_SPEC(expose_spec, expose_fields);

static const struct decode_field extension_fields[] = {
    DROP(str, "name", DECODE_STR, NULL),
    DROP(flag, "required", DECODE_BOOL, NULL),
    ANY("arguments"),
    DROP(str, "consul_version", DECODE_STR, NULL),
    DROP(str, "envoy_version", DECODE_STR, NULL),
};
DROP_SPEC(extension_spec, extension_fields);

static const struct decode_field upstream_fields[] = {
    DROP(str, "destination_type", DECODE_STR, NULL),
    DROP(str, "destination_namespace", DECODE_STR, NULL),
    DROP(str, "destination_partition", DECODE_STR, NULL),
    DROP(str, "destination_peer", DECODE_STR, NULL),
    DROP(str, "destination_name", DECODE_STR, NULL),
    DROP(str, "datacenter", DECODE_STR, NULL),
    DROP(str, "local_bind_address", DECODE_STR, NULL),
    DROP(number, "local_bind_port", DECODE_INT, NULL),
    DROP(str, "local_bind_socket_path", DECODE_STR, NULL),
    DROP(str, "local_bind_socket_mode", DECODE_STR, NULL),
    ANY("config"),
    DROP(object, "mesh_gateway", DECODE_OBJECT, &gateway_spec),
};
DROP_SPEC(upstream_spec, upstream_fields);

static const struct decode_field proxy_fields[] = {
    DROP(str, "destination_service_name", DECODE_STR, NULL),
    DROP(str, "destination_service_id", DECODE_STR, NULL),
    DROP(str, "local_service_address", DECODE_STR, NULL),
    DROP(number, "local_service_port", DECODE_INT, NULL),
    DROP(str, "local_service_socket_path", DECODE_STR, NULL),
    DROP(str, "mode", DECODE_STR, NULL),
    DROP(object, "transparent_proxy", DECODE_OBJECT, &transparent_spec),
    ANY("config"),
    DROP(objects, "upstreams", DECODE_OBJECTS, &upstream_spec),
    DROP(object, "mesh_gateway", DECODE_OBJECT, &gateway_spec),
    DROP(object, "expose", DECODE_OBJECT, &expose_spec),
    DROP(objects, "envoy_extensions", DECODE_OBJECTS, &extension_spec),
};
DROP_SPEC(proxy_spec, proxy_fields);

/* ---- services ---- */

struct file_service;

struct connect {
    bool native;
    struct file_service *sidecar;
};

struct file_service {
    struct service_input in;
    struct dropped *proxy;
    struct connect *connect;
};

static const struct decode_field connect_fields[] = {
    DECODE_FIELD(struct connect, native, "native", DECODE_BOOL),
    {.name = "sidecar_service",
     .kind = DECODE_OBJECT,
     .offset = offsetof(struct connect, sidecar),
     .spec = &definition_file_service_spec},
};

static const struct decode_spec connect_spec = {"connect", sizeof(struct connect), connect_fields,
                                                COUNT(connect_fields), false};

#define SERVICE(member, name_, kind_, spec_)                                                       \
    {                                                                                              \
        .name = (name_), .kind = (kind_), .offset = offsetof(struct file_service, member),         \
        .spec = (spec_)                                                                            \
    }

static const struct decode_field service_fields[] = {
    SERVICE(in.kind, "kind", DECODE_STR, NULL),
    SERVICE(in.id, "id", DECODE_STR, NULL),
    SERVICE(in.name, "name", DECODE_STR, NULL),
    SERVICE(in.tags, "tags", DECODE_STR_LIST, NULL),
    SERVICE(in.address, "address", DECODE_STR, NULL),
    SERVICE(in.tagged_addresses, "tagged_addresses", DECODE_OBJECT_MAP, &definition_tagged_spec),
    SERVICE(in.meta, "meta", DECODE_STR_MAP, NULL),
    {.name = "port",
     .kind = DECODE_INT,
     .offset = offsetof(struct file_service, in.port),
     .min = 0,
     .max = 65535},
    SERVICE(in.socket_path, "socket_path", DECODE_STR, NULL),
    SERVICE(in.weights, "weights", DECODE_OBJECT, &definition_weights_spec),
    SERVICE(in.enable_tag_override, "enable_tag_override", DECODE_BOOL, NULL),
    SERVICE(in.locality, "locality", DECODE_OBJECT, &definition_locality_spec),
    SERVICE(in.token, "token", DECODE_STR, NULL),
    SERVICE(in.check, "check", DECODE_OBJECT, &definition_file_check_spec),
    SERVICE(in.checks, "checks", DECODE_OBJECTS, &definition_file_check_spec),
    SERVICE(proxy, "proxy", DECODE_OBJECT, &proxy_spec),
    SERVICE(connect, "connect", DECODE_OBJECT, &connect_spec),
};

const struct decode_spec definition_file_service_spec = {
    "service", sizeof(struct file_service), service_fields, COUNT(service_fields), false};

enum err definition_take_file_service(const void *decoded, struct arena *arena,
                                      struct service_definition *ret_service,
                                      struct err_text *text) {
    const struct file_service *file = decoded;
    struct service_input in = file->in;
    struct service_connect native = {file->connect != NULL && file->connect->native};
    const char *name = str_or_empty(in.name);
    const struct file_service *sidecar = file->connect != NULL ? file->connect->sidecar : NULL;
    if (sidecar != NULL && *str_or_empty(sidecar->in.id) != '\0') {
        return err_set(text, ERR_INVALID, "service \"%.128s\": sidecar_service can't specify an ID",
                       name);
    }
    if (sidecar != NULL && sidecar->connect != NULL && sidecar->connect->sidecar != NULL) {
        return err_set(text, ERR_INVALID,
                       "service \"%.128s\": sidecar_service can't have a nested sidecar_service",
                       name);
    }
    if (*str_or_empty(in.socket_path) != '\0' &&
        (*str_or_empty(in.address) != '\0' || in.port != 0)) {
        return err_set(text, ERR_INVALID,
                       "service \"%.128s\": socket_path cannot be used with address or port", name);
    }
    if (definition_check_meta(&in.meta, text) != ERR_OK) {
        err_prefix(text, "invalid meta for service %.128s", name);
        return ERR_INVALID;
    }
    in.connect = &native;
    if (definition_finish_service(&in, arena, ret_service, text) != ERR_OK) {
        err_prefix(text, "Failed to register service \"%.128s\"", name);
        return ERR_INVALID;
    }
    return ERR_OK;
}

enum err definition_take_file_check(const void *decoded, struct check_definition *ret_check,
                                    struct err_text *text) {
    struct check_definition check = *(const struct check_definition *)decoded;
    if (definition_finish_check(&check, text) != ERR_OK) {
        err_prefix(text, "Failed to register check \"%.128s\"", str_or_empty(check.name));
        return ERR_INVALID;
    }
    *ret_check = check;
    return ERR_OK;
}
