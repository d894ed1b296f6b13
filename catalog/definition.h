/* Definitions of services and checks as an agent takes them (contract 10.8, 10.10; configuration
 * 2.8), and the requests of the catalog endpoints: one parser for HTTP bodies, files and what the
 * agent itself has written. Strings and lists live in the caller's arena. */
#ifndef CATALOG_DEFINITION_H
#define CATALOG_DEFINITION_H

#include "base/arena.h"
#include "base/decode.h"
#include "base/err.h"
#include "base/json.h"
#include "catalog/codec.h"
#include "catalog/types.h"

enum check_kind {
    CHECK_NONE,
    CHECK_GRPC,
    CHECK_HTTP,
    CHECK_TTL,
    CHECK_TCP,
    CHECK_UDP,
    CHECK_ALIAS,
    CHECK_DOCKER,
    CHECK_SCRIPT,
    CHECK_H2PING,
    CHECK_OS_SERVICE,
    CHECK_MAINTENANCE /* the agent's own: critical for as long as it is there */
};

/* The contract's Type string: "http", "ttl", ...; "" for CHECK_NONE. */
const char *check_kind_name(enum check_kind kind);

struct check_definition {
    const char *id; /* unique on the agent, exact */
    const char *name;
    const char *notes;
    const char *status; /* initial; "" = critical */
    const char *service_id, *service_name;
    struct str_list service_tags;
    const char *token;

    const char *http, *method, *body;
    struct str_multimap header;
    bool disable_redirects;
    const char *tcp;
    bool tcp_use_tls;
    const char *udp;
    const char *grpc;
    bool grpc_use_tls;
    const char *h2ping;
    int8_t h2ping_use_tls; /* -1 no, 1 yes, 0 unset: yes when h2ping is set */
    struct str_list script_args;
    const char *docker_container_id, *shell;
    const char *os_service;
    const char *alias_node, *alias_service;
    const char *session_name; /* of an external check of type session */
    const char *tls_server_name;
    bool tls_skip_verify;

    bool maintenance;

    int64_t interval_ns, timeout_ns, ttl_ns, deregister_critical_after_ns; /* 0 = unset */
    int64_t success_before_passing, failures_before_warning, failures_before_critical;
    int64_t output_bytes_max; /* 0 = unset */

    const char *name_space, *partition; /* as decoded; NULL once judged */
};

/* The check of maintenance mode (contract 10.6) of a service, "" = the node. reason "" = the
 * contract's default. Its strings are in the arena or borrowed. */
struct check_definition definition_make_maintenance(const char *service_id, const char *reason,
                                                    struct arena *arena);

/* By the contract's precedence when several types are set. */
enum check_kind check_definition_kind(const struct check_definition *check);

/* The contract's validation (10.10, without the prefix "Invalid check: "), and the raising of too
 * short intervals; id and name must be set. ERR_INVALID and the contract's sentence. */
enum err check_definition_validate(struct check_definition *check, struct err_text *text);

struct service_definition {
    struct catalog_service service; /* node is "" */
    const char *token;
    struct check_definition *checks; /* ids, names and service fields filled in */
    uint32_t check_count;
};

/* Bodies of PUT /v1/agent/service/register and check/register. ERR_INVALID (HTTP 400) or
 * ERR_REFUSED (HTTP 500) and the sentence, with its prefix ("Request decode failed: ", "Invalid
 * check: ", ...). */
enum err definition_parse_service(const char *json, size_t size, struct arena *arena,
                                  struct service_definition *ret_service, struct err_text *text);
enum err definition_parse_check(const char *json, size_t size, struct arena *arena,
                                struct check_definition *ret_check, struct err_text *text);

/* The same in configuration files, under their own names of the keys (contract 2.8): the specs are
 * for the configuration's decoder, and what it decoded becomes a definition. ERR_INVALID and the
 * sentence. */
extern const struct decode_spec definition_file_service_spec;
extern const struct decode_spec definition_file_check_spec;
enum err definition_take_file_service(const void *decoded, struct arena *arena,
                                      struct service_definition *ret_service,
                                      struct err_text *text);
enum err definition_take_file_check(const void *decoded, struct check_definition *ret_check,
                                    struct err_text *text);

/* The same shapes as JSON, such that the parser above gives back what was written. */
void definition_write_service(struct json *json, const struct service_definition *service);
void definition_write_check(struct json *json, const struct check_definition *check);

/* Members of a service that every JSON form of it shares. */
void definition_write_tagged_addresses(struct json *json, const char *key,
                                       const struct catalog_service *service);
void definition_write_weights(struct json *json, const char *key,
                              const struct catalog_service *service);
void definition_write_locality(struct json *json, const char *key, const char *region,
                               const char *zone);

/* One heap block with a deep copy. */
struct check_definition *check_definition_copy(const struct check_definition *check);

/* Bodies of PUT /v1/catalog/register and deregister, validated as far as that needs no catalog
 * (contract 7.3). ERR_INVALID: a decode failure; ERR_REFUSED: a sentence of 7.3. dc is set to the
 * body's Datacenter, "" when absent. */
enum err definition_parse_register(const char *json, size_t size, struct arena *arena,
                                   struct catalog_register *ret_register, const char **ret_dc,
                                   struct err_text *text);
enum err definition_parse_deregister(const char *json, size_t size, struct arena *arena,
                                     struct catalog_deregister *ret_deregister, const char **ret_dc,
                                     struct err_text *text);

/* Body of PUT /v1/coordinate/update (contract 13). ERR_INVALID: a decode failure; ERR_REFUSED: a
 * sentence of 13. dc as above. */
enum err definition_parse_coordinate(const char *json, size_t size, struct arena *arena,
                                     struct catalog_coordinate *ret_row, const char **ret_dc,
                                     struct err_text *text);

/* As the body's Coord, and in answers. */
void definition_write_coordinate(struct json *json, const struct coordinate *at);

/* Body of PUT /v1/session/create (kv 2.2), without an id. node: this agent's. ERR_INVALID: a decode
 * failure; ERR_REFUSED: a sentence of 2.2. dc as above. */
enum err definition_parse_session(const char *json, size_t size, const char *node,
                                  int64_t ttl_min_ns, struct arena *arena,
                                  struct catalog_session *ret_session, const char **ret_dc,
                                  struct err_text *text);

/* Body of PUT /v1/txn (kv 3.1). failures is filled by what is wrong with single operations (3.2,
 * phase 1); the caller clears it. ERR_INVALID: a decode failure; ERR_TOO_LARGE. */
struct catalog_result;
enum err definition_parse_transaction(const char *json, size_t size, uint64_t value_bytes_max,
                                      struct arena *arena, struct catalog_transaction *ret_txn,
                                      struct catalog_result *failures, struct err_text *text);

/* The contract's rules for metadata (7.4). */
enum err definition_check_meta(const struct str_map *meta, struct err_text *text);

#endif
