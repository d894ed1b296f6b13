/* What the files that parse and write definitions share; for this folder only. */
#ifndef CATALOG_DEFINITION_PARTS_H
#define CATALOG_DEFINITION_PARTS_H

#include "catalog/definition.h"

/* A service object of the agent's or the catalog's requests, as decoded. */
struct locality {
    const char *region, *zone;
};

struct weights {
    int64_t passing, warning;
};

/* Whether a service speaks the mesh's protocol itself; nothing else of Connect outlives decoding.
 */
struct service_connect {
    bool native;
};

struct service_input {
    const char *kind, *id, *name, *address, *socket_path, *token, *name_space, *partition, *peer;
    struct str_list tags;
    struct decode_objects tagged_addresses;
    struct str_map meta;
    int64_t port;
    struct weights *weights;
    bool enable_tag_override;
    struct locality *locality;
    const char *proxy;
    struct service_connect *connect;
    uint64_t modify_index;
    struct check_definition *check;
    struct decode_objects checks;
};

/* A check object of the catalog's requests. */
struct check_input {
    const char *node, *id, *name, *status, *notes, *output, *service_id, *service_name, *type,
        *interval, *timeout, *name_space, *partition, *peer;
    struct str_list service_tags;
    struct check_definition *definition;
    uint64_t modify_index;
};

extern const struct decode_spec definition_health_check_spec; /* struct check_input */
/* Their rules, as far as no catalog is needed; node is the request's. ERR_REFUSED, ERR_INVALID. */
enum err definition_take_node_service(const struct service_input *from, const char *node,
                                      struct arena *arena, struct catalog_service *ret_service,
                                      struct err_text *text);
enum err definition_take_health_check(const struct check_input *from, const char *node,
                                      struct arena *arena, struct catalog_check *ret_check,
                                      struct err_text *text);
/* The fields of a check that users set, in requests and in files: member of struct
 * check_definition, kind, then name and alias in requests, name and alias in files. */
#define DEFINITION_CHECK_FIELDS(X)                                                                 \
    X(id, STR, "CheckID", "check_id", "id", NULL)                                                  \
    X(name, STR, "Name", NULL, "name", NULL)                                                       \
    X(notes, STR, "Notes", NULL, "notes", NULL)                                                    \
    X(status, STR, "Status", NULL, "status", NULL)                                                 \
    X(service_id, STR, "ServiceID", "service_id", "service_id", "serviceid")                       \
    X(token, STR, "Token", NULL, "token", NULL)                                                    \
    X(http, STR, "HTTP", NULL, "http", NULL)                                                       \
    X(method, STR, "Method", NULL, "method", NULL)                                                 \
    X(body, STR, "Body", NULL, "body", NULL)                                                       \
    X(header, MULTIMAP, "Header", NULL, "header", NULL)                                            \
    X(disable_redirects, BOOL, "DisableRedirects", "disable_redirects", "disable_redirects", NULL) \
    X(tcp, STR, "TCP", NULL, "tcp", NULL)                                                          \
    X(tcp_use_tls, BOOL, "TCPUseTLS", "tcp_use_tls", "tcp_use_tls", NULL)                          \
    X(udp, STR, "UDP", NULL, "udp", NULL)                                                          \
    X(grpc, STR, "GRPC", NULL, "grpc", NULL)                                                       \
    X(grpc_use_tls, BOOL, "GRPCUseTLS", "grpc_use_tls", "grpc_use_tls", NULL)                      \
    X(h2ping, STR, "H2PING", NULL, "h2ping", NULL)                                                 \
    X(h2ping_use_tls, BOOL_SET, "H2PingUseTLS", "h2ping_use_tls", "h2ping_use_tls", NULL)          \
    X(script_args, STR_LIST, "ScriptArgs", "script_args", "args", "scriptargs")                    \
    X(docker_container_id, STR, "DockerContainerID", "docker_container_id", "docker_container_id", \
      "dockercontainerid")                                                                         \
    X(shell, STR, "Shell", NULL, "shell", NULL)                                                    \
    X(os_service, STR, "OSService", "os_service", "os_service", NULL)                              \
    X(alias_node, STR, "AliasNode", "alias_node", "alias_node", NULL)                              \
    X(alias_service, STR, "AliasService", "alias_service", "alias_service", NULL)                  \
    X(tls_server_name, STR, "TLSServerName", "tls_server_name", "tls_server_name", NULL)           \
    X(tls_skip_verify, BOOL, "TLSSkipVerify", "tls_skip_verify", "tls_skip_verify",                \
      "tlsskipverify")                                                                             \
    X(interval_ns, DURATION, "Interval", NULL, "interval", NULL)                                   \
    X(timeout_ns, DURATION, "Timeout", NULL, "timeout", NULL)                                      \
    X(ttl_ns, DURATION, "TTL", NULL, "ttl", NULL)                                                  \
    X(deregister_critical_after_ns, DURATION, "DeregisterCriticalServiceAfter",                    \
      "deregister_critical_service_after", "deregister_critical_service_after",                    \
      "deregistercriticalserviceafter")                                                            \
    X(success_before_passing, INT, "SuccessBeforePassing", "success_before_passing",               \
      "success_before_passing", NULL)                                                              \
    X(failures_before_warning, INT, "FailuresBeforeWarning", "failures_before_warning",            \
      "failures_before_warning", NULL)                                                             \
    X(failures_before_critical, INT, "FailuresBeforeCritical", "failures_before_critical",         \
      "failures_before_critical", NULL)                                                            \
    X(output_bytes_max, INT, "OutputMaxSize", "output_max_size", "output_max_size", NULL)

extern const struct decode_spec definition_node_service_spec; /* struct service_input */
extern const struct decode_spec definition_locality_spec;
extern const struct decode_spec definition_weights_spec;
extern const struct decode_spec definition_tagged_spec;
/* The Definition of an external check: a check's fields, lenient to others. */
extern const struct decode_spec definition_external_spec;

/* Absent strings come from the decoder as NULL: they become "". */
void definition_fill_strings(struct check_definition *check);
struct catalog_service definition_take_service(const struct service_input *in, struct arena *arena);
/* From what was decoded to a definition: the rules, ids and names. ERR_INVALID or ERR_REFUSED. */
enum err definition_finish_service(const struct service_input *in, struct arena *arena,
                                   struct service_definition *ret_service, struct err_text *text);
enum err definition_finish_check(struct check_definition *check, struct err_text *text);
bool definition_any_address(const char *s);
enum err definition_judge_tenancy(const char *name_space, const char *partition,
                                  struct err_text *text);
enum err definition_judge_weights(const struct weights *weights, struct err_text *text);
enum err definition_judge_tagged(const struct catalog_service *service, struct err_text *text);
/* Puts "Request decode failed: " before the sentence. */
enum err definition_decode_failed(struct err_text *text);
/* The contract's Definition object as JSON text, "" when nothing of it is set. */
const char *definition_format_probe(const struct check_definition *check, struct arena *arena);

#endif
