/* Requests, responses and routes: our own structs, so that handlers never see libmicrohttpd. */
#ifndef HTTP_REQUEST_H
#define HTTP_REQUEST_H

#include "base/arena.h"
#include "base/buf.h"
#include "base/json.h"
#include "catalog/backend.h"
#include "catalog/filter.h"
#include "catalog/watch.h"
#include "http/http.h"

struct http_param {
    const char *name;
    const char *value; /* "" when there is no '=' */
};

/* Who asks. Everything is allowed until ACLs exist; handlers have it from the start. */
struct http_authz {
    const char *token; /* "" = anonymous */
};

/* A parsed request. Strings live in its arena or in the caller's URI. */
struct http_request {
    const char *method;
    const char *path; /* decoded */
    const char *rest; /* path parameter: what follows the route's pattern */
    struct http_param *params;
    unsigned param_count;
    const char *body;
    size_t body_size;
    const char *agent_node;     /* the agent that the client asked */
    const char *accept;         /* the header; NULL = absent */
    const char *cache_control;  /* the same */
    const char *client_ip;      /* of who asks, for routes that are `once` */
    bool use_cache;             /* ?cached is heeded */
    int64_t discovery_stale_ms; /* of struct http_config */
    struct http_authz authz;
    struct arena *arena;
    const struct backend *backend;
    const char *datacenter; /* whose rows are read */
    struct filter *filter;  /* over the route's rows; NULL = all */
    bool pretty;            /* indent */
    bool new_line;          /* ?pretty was given: ends with a newline too */
};

#define HTTP_HEADERS_MAX 8

/* Beside the `true` of an acquired lock: the key's ModifyIndex (docs/LOCKS.md). */
#define HTTP_FENCING_INDEX "X-Cairn-Fencing-Index"

/* With ?failover: whose instances these are. */
#define HTTP_DATACENTER "X-Cairn-Datacenter"
/* Milliseconds since the rows of this answer were surely so, if they are mirrored. */
#define HTTP_MIRROR_AGE "X-Cairn-Mirror-Age"

/* A format: bytes, most bytes, configuration key. */
#define HTTP_BODY_TOO_LARGE                                                                        \
    "Request body(%zu bytes) too large, max size: %llu bytes. See "                                \
    "https://developer.hashicorp.com/docs/agent/config/config-files#%s."

struct http_response {
    int status;
    const char *content_type;
    struct buf body;
    struct {
        const char *name, *value;
    } headers[HTTP_HEADERS_MAX]; /* beside those that every answer has */
    unsigned header_count;
    bool absent;      /* a 404 that is an answer like others: with an index, and waited for */
    bool no_endpoint; /* the path has none: without the headers that endpoints have */
};

/* First value of the parameter, NULL when absent. */
const char *http_request_param(const struct http_request *req, const char *name);
bool http_request_has(const struct http_request *req, const char *name);

void http_response_header(struct http_response *res, const char *name, const char *value);
/* A plain-text answer. */
void http_response_text(struct http_response *res, int status, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
/* 404 without a body, but with the index that a blocking query goes on from. */
void http_response_absent(struct http_response *res);
/* The answer to a failure, by the one table of codes (contract 2.1). */
void http_response_error(struct http_response *res, enum err err, const struct err_text *text);
/* Starts a JSON body as the request wants it; http_response_json_end closes it. */
void http_response_json(struct http_response *res, const struct http_request *req,
                        struct json *json);
void http_response_json_end(struct http_response *res, const struct http_request *req);
/* The members of an object by which some answers tell what others tell in headers. */
void http_response_put_meta(struct json *json, const struct http_request *req, uint64_t index);

/* What a read gives beside its body. */
struct http_read {
    const struct catalog_view *view;
    uint64_t index; /* result index, set by the evaluator */
    bool mirrored;  /* the view is a mirror's */
    /* What the answer's headers tell, for bodies that tell it too. */
    bool known_leader;
    int64_t contact_ms;
    const char *consistency;
};

/* The rows of this answer are those of a mirror. */
void http_response_mirrored(struct http_response *res, const struct http_request *req,
                            struct http_read *read, int64_t age_ms);

/* ---- routes ---- */

/* Writes the JSON answer, or an error (status other than 200). Runs on any thread with the view
 * held; the same request and view give the same bytes. */
typedef void http_read_fn(const struct http_request *req, struct http_read *read,
                          struct http_response *res);
/* Fills the call from the request; false: it has set an error answer instead. */
typedef bool http_call_fn(const struct http_request *req, struct backend_call *call,
                          struct http_response *res);
/* Writes the answer of a call that went well. */
typedef void http_finish_fn(const struct http_request *req, struct backend_call *call,
                            struct http_response *res);
/* Answers at once. */
typedef void http_local_fn(const struct http_request *req, struct http_response *res);

/* An answer that does not end: lines of the log, or the metrics of each interval. */
struct http_stream_options {
    bool metrics;
    /* Of the log: */
    enum log_level level;
    bool json;
};
/* False: it has set an error answer instead. */
typedef bool http_stream_fn(const struct http_request *req, struct http_stream_options *ret_options,
                            struct http_response *res);

struct http_route {
    const char *pattern; /* ends with '/': prefix, rest = path parameter */
    const char *suffix;  /* that the path must end with, behind rest; NULL: none */
    const char *method;  /* one; a path with several has a row for each, one behind the other */
    http_read_fn *read;
    enum watch_kind watch; /* of a read: what changes its answer; the name is rest */
    bool by_id;            /* rest may be a node's ID, or the start of one */
    http_call_fn *call;
    const char *ok_body;    /* of a call, */
    http_finish_fn *finish; /* or what writes it */
    http_local_fn *local;
    http_stream_fn *stream;
    enum filter_rows filter; /* what ?filter= judges; 0: the route does not know it */
    bool cached;             /* of a read: knows ?cached */
    bool once;               /* of a read: neither kept nor waited for */
    bool options_untold;     /* a 405 does not tell of OPTIONS (contract, kv 4.2) */
    bool by_hash; /* of a local: a query with the present ?hash= waits for another (contract 4.7) */
    bool by_server;      /* of a local: a server answers it, see http_route_travels */
    bool dc_ignored;     /* ?dc= does not say who answers */
    bool by_index;       /* the same with ?index= and X-Consul-Index: waits while they are equal */
    const char *missing; /* 400 text when rest is empty; NULL: may be empty */
};

/* Longest pattern that fits, with its suffix; of its rows the one with the method, or the first
 * when there is none. NULL: no pattern fits. ret_redirect: the path lacks a slash. The suffix is
 * still on the rest. */
const struct http_route *http_route_find(const char *path, const char *method,
                                         const char **ret_rest, bool *ret_redirect);
/* The rest without the route's suffix. In the arena. */
const char *http_route_rest(const struct http_route *route, const char *rest, struct arena *arena);
/* The methods of the route's path, as the header Allow lists them. In the arena. */
const char *http_route_methods(const struct http_route *route, struct arena *arena);
/* Whether an agent without -server passes it on to a server, and ?dc= to another datacenter: all
 * reads and calls do, but for /v1/agent/ and what is marked as an agent's own. */
bool http_route_travels(const struct http_route *route);
/* All of them, for the documents' test. */
const struct http_route *http_routes(size_t *ret_count);

/* ---- uri.c ---- */

/* Splits and decodes. raw must outlive the request. ERR_INVALID: a bad % escape. */
enum err http_uri_parse(const char *raw, struct arena *arena, struct http_request *req);
/* The path with //, . and .. resolved, in the arena; NULL when it is clean already. */
const char *http_path_clean(const char *path, struct arena *arena);
/* A decoded path, or a query as it came, with every byte escaped that could end the header or the
 * HTML attribute it is put into. In the arena. */
const char *http_uri_encode(const char *text, bool query, struct arena *arena);
/* False: the decoded path holds a character that has no picture (controls, formats, blanks but the
 * ASCII one) or broken UTF-8. */
bool http_path_printable(const char *path);
/* A request target without the scheme and host that a proxy's client puts first (RFC 9112 3.2.2).
 * The caller frees it. */
char *http_uri_relative(const char *target);
/* The request as text without index and wait: tells different questions apart, and parses again.
 * revalidate: with the parameter HTTP_REVALIDATE. */
const char *http_uri_question(const char *raw, bool revalidate, struct arena *arena);

#define HTTP_INDEX "X-Consul-Index"

/* What Cache-Control asks for, as a parameter of questions, which have no headers. */
#define HTTP_REVALIDATE "must-revalidate"
/* The parameter by which another datacenter is asked for WAN addresses. */
#define HTTP_TRANSLATE "translate-wan"

/* ---- query.c ---- */

/* The options of section 4. */
struct http_query {
    uint64_t index; /* 0 = answer at once */
    int64_t wait_ms;
    bool stale, consistent;
    int64_t stale_max_ms; /* of stale ones: the age that is borne; INT64_MAX: any */
    bool refused;         /* no leader could be asked */
    bool revalidate;      /* of ?cached: as if nothing were kept */
};

/* ERR_INVALID (400) or ERR_REFUSED (500) and the contract's sentence. */
enum err http_query_parse(const struct http_request *req, int64_t wait_default_ms,
                          int64_t wait_max_ms, struct http_query *ret_query, struct err_text *text);
/* Consistency and Cache-Control (contract 4.4, 4.5) alone; part of http_query_parse. ERR_INVALID.
 */
enum err http_query_parse_modes(const struct http_request *req, struct http_query *query,
                                struct err_text *text);
/* How old the answer may be because the configuration says so, not the request; 0: nothing. */
int64_t http_query_default_stale_ms(const struct http_request *req);
/* X-Cache and Age of an answer to ?cached. What is kept is the view, which is always current: a hit
 * of age 0, unless the request wants none. */
void http_response_cache(struct http_response *res, const struct http_request *req,
                         bool revalidate);
/* Sets req->filter from ?filter=. ERR_REFUSED. */
enum err http_filter_parse(struct http_request *req, enum filter_rows rows, struct err_text *text);
/* ?wait alone, with its default and its bound. ERR_INVALID. */
enum err http_query_parse_wait(const struct http_request *req, int64_t default_ms, int64_t max_ms,
                               int64_t *ret_wait_ms, struct err_text *text);
/* Of a write whose body names a datacenter: whether its servers are to carry it out. The call then
 * says so, and is complete. */
bool http_carry_wanted(const struct http_request *req, struct backend_call *call, const char *dc);
/* ?datacenter, else ?dc; "" when neither is there. */
const char *http_query_dc(const struct http_request *req);
/* Whether it is the one whose rows are read. ERR_REFUSED. */
enum err http_query_judge_dc(const struct http_request *req, struct err_text *text);
/* The same. False: the error is the answer. */
bool http_query_accept_dc(const struct http_request *req, struct http_response *res);
/* ?ns and ?partition, of every endpoint: none but the default one exists. */
enum err http_query_judge_tenancy(const struct http_request *req, struct err_text *text);
/* Of what is this agent's own: moves whenever an answer from it might. Inside an epoch section. */
uint64_t http_local_version(const struct backend *backend, enum watch_kind kind);
uint64_t http_watch_index(const struct catalog_view *view, enum watch_kind kind, const char *name);

/* ---- encode.c: the one encoder of rows (contract 5) ---- */

void encode_node(struct json *json, const struct catalog_node *node, const char *dc);
void encode_node_service(struct json *json, const struct catalog_service *service);
void encode_service_node(struct json *json, const struct catalog_instance *instance,
                         const char *dc);
void encode_check(struct json *json, const struct catalog_check *check);
/* Without its value where the contract shows none. */
void encode_kv(struct json *json, const struct catalog_kv *kv, bool with_value);
/* The element of health/service: node, service and checks. */
void encode_instance(struct json *json, const struct http_request *req,
                     const struct catalog_instance *instance, const char *dc);
void encode_session(struct json *json, const struct catalog_session *session);
/* content_hash: NULL where it is not shown. */
void encode_agent_service(struct json *json, const struct catalog_service *service, const char *dc,
                          const char *content_hash);

/* A row of a datacenter as the client is to see it: with its WAN address, if it is another than
 * that of the agent that was asked, and that agent has translate_wan_addrs (contract 7.8). Of the
 * view, or in the request's arena. */
const struct catalog_node *http_seen_node(const struct http_request *req, const char *dc,
                                          const struct catalog_node *node);
const struct catalog_service *http_seen_service(const struct http_request *req, const char *dc,
                                                const struct catalog_service *service);

/* ---- content_hash.c ---- */

#define HTTP_CONTENT_HASH "X-Consul-ContentHash"
uint64_t http_content_hash(const struct catalog_service *service);

/* ---- filters that several reads share ---- */

/* ?node-meta, repeatable, all must match. */
bool http_match_node_meta(const struct http_request *req, const struct catalog_node *node);
/* ?tag, repeatable, all must match, in any letter case. */
bool http_match_tags(const struct http_request *req, const struct str_list *tags);

#endif
