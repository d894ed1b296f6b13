/* The selectors of each kind of rows (contract http-core 6.4). */
#include <stddef.h>

#include "base/assert.h"
#include "catalog/filter_internal.h"

#define FIELD(label, kind, where, holder, member)                                                  \
    { .name = label, .type = kind, .base = where, .offset = offsetof(holder, member) }
#define NODE(label, kind, where, member) FIELD(label, kind, where, struct catalog_node, member)
#define SERVICE(label, kind, where, member)                                                        \
    FIELD(label, kind, where, struct catalog_service, member)
#define CHECK(label, kind, member) FIELD(label, kind, FILTER_SAME, struct catalog_check, member)
#define ZERO(label, kind, member) FIELD(label, kind, FILTER_ZERO, struct filter_zero, member)
#define GROUP(label, where, table)                                                                 \
    { .name = label, .type = FILTER_STRUCT, .base = where, .fields = table }
#define END                                                                                        \
    { .type = FILTER_END }

static const struct filter_field any_text[] = {{.name = NULL, .type = FILTER_STR}, END};

#define NODE_MAP(label, where, member)                                                             \
    {                                                                                              \
        .name = label, .type = FILTER_MAP, .base = where,                                          \
        .offset = offsetof(struct catalog_node, member), .fields = any_text                        \
    }
#define SERVICE_META(label, where)                                                                 \
    {                                                                                              \
        .name = label, .type = FILTER_MAP, .base = where,                                          \
        .offset = offsetof(struct catalog_service, meta), .fields = any_text                       \
    }

static const struct filter_field tagged_address[] = {
    FIELD("Address", FILTER_STR, FILTER_SAME, struct catalog_tagged_address, address),
    FIELD("Port", FILTER_U32, FILTER_SAME, struct catalog_tagged_address, port), END};
static const struct filter_field any_tagged_address[] = {GROUP(NULL, FILTER_SAME, tagged_address),
                                                         END};
#define TAGGED(label, where)                                                                       \
    { .name = label, .type = FILTER_TAGGED, .base = where, .fields = any_tagged_address }

static const struct filter_field weights[] = {
    SERVICE("Passing", FILTER_U32, FILTER_SAME, weight_passing),
    SERVICE("Warning", FILTER_U32, FILTER_SAME, weight_warning), END};

/* Proxies are carried for clients as JSON and never looked into: every service reads as a plain
 * one, whose proxy has nothing set. */
static const struct filter_field mesh_gateway[] = {ZERO("Mode", FILTER_STR, text), END};
static const struct filter_field upstream[] = {
    ZERO("DestinationType", FILTER_STR, text),       ZERO("DestinationNamespace", FILTER_STR, text),
    ZERO("DestinationPartition", FILTER_STR, text),  ZERO("DestinationPeer", FILTER_STR, text),
    ZERO("DestinationName", FILTER_STR, text),       ZERO("Datacenter", FILTER_STR, text),
    ZERO("LocalBindAddress", FILTER_STR, text),      ZERO("LocalBindPort", FILTER_U32, number),
    ZERO("LocalBindSocketPath", FILTER_STR, text),   ZERO("LocalBindSocketMode", FILTER_STR, text),
    GROUP("MeshGateway", FILTER_SAME, mesh_gateway), END};
static const struct filter_field expose_path[] = {
    ZERO("ListenerPort", FILTER_U32, number),    ZERO("Path", FILTER_STR, text),
    ZERO("LocalPathPort", FILTER_U32, number),   ZERO("Protocol", FILTER_STR, text),
    ZERO("ParsedFromCheck", FILTER_BOOL, truth), END};
static const struct filter_field expose[] = {
    ZERO("Checks", FILTER_BOOL, truth),
    {.name = "Paths", .type = FILTER_STRUCTS, .base = FILTER_ABSENT, .fields = expose_path},
    END};
static const struct filter_field transparent_proxy[] = {
    ZERO("OutboundListenerPort", FILTER_U32, number), ZERO("DialedDirectly", FILTER_BOOL, truth),
    END};
static const struct filter_field proxy[] = {
    ZERO("DestinationServiceName", FILTER_STR, text),
    ZERO("DestinationServiceID", FILTER_STR, text),
    ZERO("LocalServiceAddress", FILTER_STR, text),
    ZERO("LocalServicePort", FILTER_U32, number),
    ZERO("LocalServiceSocketPath", FILTER_STR, text),
    ZERO("Mode", FILTER_STR, text),
    ZERO("MutualTLSMode", FILTER_STR, text),
    GROUP("MeshGateway", FILTER_SAME, mesh_gateway),
    GROUP("Expose", FILTER_SAME, expose),
    GROUP("TransparentProxy", FILTER_SAME, transparent_proxy),
    {.name = "Upstreams", .type = FILTER_STRUCTS, .base = FILTER_ABSENT, .fields = upstream},
    END};
static const struct filter_field connect[] = {
    SERVICE("Native", FILTER_NATIVE, FILTER_SAME, connect), END};

static const struct filter_field nodes[] = {
    NODE("ID", FILTER_STR, FILTER_SAME, id),
    NODE("Node", FILTER_STR, FILTER_SAME, name),
    NODE("Address", FILTER_STR, FILTER_SAME, address),
    FIELD("Datacenter", FILTER_STR, FILTER_LOCAL, struct filter_local, datacenter),
    NODE_MAP("TaggedAddresses", FILTER_SAME, tagged_addresses),
    NODE_MAP("Meta", FILTER_SAME, meta),
    ZERO("PeerName", FILTER_STR, text),
    ZERO("Partition", FILTER_STR, text),
    END};

static const struct filter_field service_nodes[] = {
    NODE("ID", FILTER_STR, FILTER_NODE, id),
    NODE("Node", FILTER_STR, FILTER_NODE, name),
    NODE("Address", FILTER_STR, FILTER_NODE, address),
    FIELD("Datacenter", FILTER_STR, FILTER_LOCAL, struct filter_local, datacenter),
    NODE_MAP("TaggedAddresses", FILTER_NODE, tagged_addresses),
    NODE_MAP("NodeMeta", FILTER_NODE, meta),
    SERVICE("ServiceKind", FILTER_STR, FILTER_SERVICE, kind),
    SERVICE("ServiceID", FILTER_STR, FILTER_SERVICE, id),
    SERVICE("ServiceName", FILTER_STR, FILTER_SERVICE, name),
    SERVICE("ServiceTags", FILTER_LIST, FILTER_SERVICE, tags),
    SERVICE("ServiceAddress", FILTER_STR, FILTER_SERVICE, address),
    TAGGED("ServiceTaggedAddresses", FILTER_SERVICE),
    SERVICE_META("ServiceMeta", FILTER_SERVICE),
    SERVICE("ServicePort", FILTER_U32, FILTER_SERVICE, port),
    SERVICE("ServiceSocketPath", FILTER_STR, FILTER_SERVICE, socket_path),
    GROUP("ServiceWeights", FILTER_SERVICE, weights),
    SERVICE("ServiceEnableTagOverride", FILTER_BOOL, FILTER_SERVICE, enable_tag_override),
    GROUP("ServiceProxy", FILTER_SERVICE, proxy),
    GROUP("ServiceConnect", FILTER_SERVICE, connect),
    ZERO("PeerName", FILTER_STR, text),
    END};

static const struct filter_field services[] = {
    SERVICE("Kind", FILTER_STR, FILTER_SAME, kind),
    SERVICE("ID", FILTER_STR, FILTER_SAME, id),
    SERVICE("Service", FILTER_STR, FILTER_SAME, name),
    SERVICE("Tags", FILTER_LIST, FILTER_SAME, tags),
    SERVICE("Address", FILTER_STR, FILTER_SAME, address),
    TAGGED("TaggedAddresses", FILTER_SAME),
    SERVICE_META("Meta", FILTER_SAME),
    SERVICE("Port", FILTER_U32, FILTER_SAME, port),
    SERVICE("SocketPath", FILTER_STR, FILTER_SAME, socket_path),
    GROUP("Weights", FILTER_SAME, weights),
    SERVICE("EnableTagOverride", FILTER_BOOL, FILTER_SAME, enable_tag_override),
    GROUP("Proxy", FILTER_SAME, proxy),
    GROUP("Connect", FILTER_SAME, connect),
    ZERO("PeerName", FILTER_STR, text),
    END};

static const struct filter_field checks[] = {CHECK("Node", FILTER_STR, node),
                                             CHECK("CheckID", FILTER_STR, id),
                                             CHECK("Name", FILTER_STR, name),
                                             CHECK("Status", FILTER_STR, status),
                                             CHECK("Notes", FILTER_STR, notes),
                                             CHECK("Output", FILTER_STR, output),
                                             CHECK("ServiceID", FILTER_STR, service_id),
                                             CHECK("ServiceName", FILTER_STR, service_name),
                                             CHECK("ServiceTags", FILTER_LIST, service_tags),
                                             CHECK("Type", FILTER_STR, type),
                                             CHECK("Interval", FILTER_STR, interval),
                                             CHECK("Timeout", FILTER_STR, timeout),
                                             ZERO("ExposedPort", FILTER_U32, number),
                                             ZERO("PeerName", FILTER_STR, text),
                                             END};

static const struct filter_field instances[] = {
    GROUP("Node", FILTER_NODE, nodes),
    GROUP("Service", FILTER_SERVICE, services),
    {.name = "Checks", .type = FILTER_STRUCTS, .base = FILTER_CHECK, .fields = checks},
    END};

#define MEMBER(label, kind, member) FIELD(label, kind, FILTER_SAME, struct filter_member, member)

static const struct filter_field members[] = {MEMBER("Name", FILTER_STR, name),
                                              MEMBER("Addr", FILTER_BYTES, address),
                                              MEMBER("Port", FILTER_U32, port),
                                              {.name = "Tags",
                                               .type = FILTER_MAP,
                                               .base = FILTER_SAME,
                                               .offset = offsetof(struct filter_member, tags),
                                               .fields = any_text},
                                              MEMBER("Status", FILTER_U32, status),
                                              MEMBER("ProtocolMin", FILTER_U32, protocol_min),
                                              MEMBER("ProtocolMax", FILTER_U32, protocol_max),
                                              MEMBER("ProtocolCur", FILTER_U32, protocol_current),
                                              MEMBER("DelegateMin", FILTER_U32, delegate_min),
                                              MEMBER("DelegateMax", FILTER_U32, delegate_max),
                                              MEMBER("DelegateCur", FILTER_U32, delegate_current),
                                              END};

const struct filter_field *filter_fields(enum filter_rows rows) {
    switch (rows) {
    case FILTER_NODES:
        return nodes;
    case FILTER_SERVICE_NODES:
        return service_nodes;
    case FILTER_SERVICES:
        return services;
    case FILTER_CHECKS:
        return checks;
    case FILTER_INSTANCES:
        return instances;
    case FILTER_MEMBERS:
        return members;
    case FILTER_NOTHING:
        break;
    }
    ASSERT(!"rows that can be filtered");
    return NULL;
}
