#include <stdlib.h>
#include <string.h>

#include "base/ip.h"
#include "base/limits.h"
#include "http/server.h"

static bool has_leader(const struct http_server *server) {
    return server->backend->has_leader(server->backend->context);
}

void http_response_init(struct http_response *res) {
    *res = (struct http_response){.status = 200, .content_type = "application/json"};
    buf_init(&res->body, LIMIT_HTTP_ANSWER_BYTES);
}

void http_request_init(struct http_server *server, struct arena *arena, struct http_request *req) {
    *req = (struct http_request){.arena = arena,
                                 .backend = server->backend,
                                 .datacenter = server->backend->facts->datacenter,
                                 .agent_node = server->backend->facts->node_name,
                                 .pretty = server->config.pretty_always,
                                 .client_ip = "",
                                 .use_cache = server->config.use_cache,
                                 .discovery_stale_ms = server->config.discovery_stale_ms,
                                 .authz = {.token = ""}};
}

bool http_request_parse(const char *uri, struct http_request *req, struct http_response *res) {
    if (http_uri_parse(uri, req->arena, req) != ERR_OK) {
        http_response_text(res, 400, "malformed path or query string");
        return false;
    }
    req->new_line = http_request_has(req, "pretty");
    req->pretty = req->pretty || req->new_line;
    return true;
}

/* ---- reads ---- */

/* Default reads need a leader now; stale ones that there has been one (contract 4.4). */
static bool may_read(const struct http_server *server, const struct http_query *query) {
    const struct backend *backend = server->backend;
    return query->stale ? backend->had_leader(backend->context)
                        : !query->refused && has_leader(server);
}

/* The leader's silence as answers tell it: in steps, so that an answer can be kept. */
#define CONTACT_STEP_MS 100

static int64_t contact_ms(const struct http_server *server) {
    int64_t ms = server->backend->contact_ms(server->backend->context);
    return ms > 0 ? ms / CONTACT_STEP_MS * CONTACT_STEP_MS : 0;
}

/* What a kept answer says of the leader, as one number. */
static uint64_t leadership(const struct http_server *server) {
    return (uint64_t)contact_ms(server) << 1 | has_leader(server);
}

/* Whether the leader must be asked before the view is read. A stale read that is older than it
 * bears becomes a default one. */
static bool must_ask(const struct http_exchange *exchange, struct http_query *query) {
    const struct backend *backend = exchange->server->backend;
    int64_t age_ms = backend->contact_ms(backend->context);
    if (query->stale && query->stale_max_ms != INT64_MAX &&
        (age_ms < 0 || age_ms > query->stale_max_ms)) {
        query->stale = false;
    }
    query->refused = exchange->unled;
    return !query->stale && !exchange->current && !exchange->unled &&
           exchange->state != EXCHANGE_TIMED_OUT &&
           !backend->may_read(backend->context, query->consistent);
}

void http_read_filtered(const struct http_route *route, struct http_request *req,
                        struct http_read *read, struct http_response *res) {
    struct err_text text = {""};
    enum err err = http_filter_parse(req, route->filter, &text);
    if (err == ERR_OK) {
        route->read(req, read, res);
        err = filter_judge(req->filter, &text);
    }
    if (err != ERR_OK) {
        http_response_error(res, err, &text);
    }
}

static void refuse_answer(struct http_response *res) {
    struct err_text text = {"too many answers are on their way from this agent"};
    http_response_error(res, ERR_OVERLOADED, &text);
}

/* Health of a service tells none (contract 4.3). */
static bool tells_meta_on_errors(const struct http_route *route) {
    return strcmp(route->pattern, "/v1/health/service/") != 0;
}

static struct http_answer *read_answer(struct http_server *server, const struct http_route *route,
                                       struct http_request *req, const struct http_query *query,
                                       const struct catalog_view *view) {
    struct http_response res;
    struct http_meta meta = {.known_leader = has_leader(server),
                             .contact_ms = query->stale ? contact_ms(server) : 0,
                             .consistency = query->stale        ? "stale"
                                            : query->consistent ? "consistent"
                                                                : "leader"};
    struct http_read read = {.view = view,
                             .index = 1,
                             .known_leader = meta.known_leader,
                             .contact_ms = meta.contact_ms,
                             .consistency = meta.consistency};
    http_response_init(&res);
    if (may_read(server, query)) {
        http_read_filtered(route, req, &read, &res);
        if (!http_answer_fits(server, res.body.count)) {
            refuse_answer(&res);
        } else if (route->cached) {
            http_response_cache(&res, req, query->revalidate);
        }
        meta.present = res.status == 200 || res.absent;
        meta.index = read.index;
        meta.contact_ms = read.contact_ms; /* rows of elsewhere may be older */
    } else {
        http_response_text(&res, 500, "No cluster leader");
    }
    if (res.status == 500) {
        meta.present = tells_meta_on_errors(route);
        meta.index = 1;
        meta.known_leader = false;
        meta.consistency = NULL;
    }
    return http_answer_create(server, &res, &meta);
}

struct http_answer *http_evaluate(struct http_server *server, const char *question) {
    struct arena arena;
    struct http_request req;
    struct http_response res;
    struct http_query query;
    struct err_text text;
    bool redirect;
    arena_init(&arena);
    http_request_init(server, &arena, &req);
    http_response_init(&res);
    struct http_answer *answer = NULL;
    const struct http_route *route = NULL;
    if (http_request_parse(question, &req, &res)) {
        route = http_route_find(req.path, "GET", &req.rest, &redirect);
    }
    if (route != NULL && route->read != NULL &&
        http_query_parse(&req, server->config.query_wait_default_ms,
                         server->config.query_wait_max_ms, &query, &text) == ERR_OK) {
        epoch_enter(server->backend->epoch);
        answer = read_answer(server, route, &req, &query, catalog_view(server->backend->catalog));
        epoch_exit(server->backend->epoch);
    } else if (route != NULL && (route->by_hash || route->by_index)) {
        epoch_enter(server->backend->epoch);
        route->local(&req, &res);
        epoch_exit(server->backend->epoch);
        answer = http_answer_create(server, &res, NULL);
        answer->index = 1; /* above that of its waiters: its hash alone decides */
    }
    buf_clear(&res.body);
    arena_clear(&arena);
    return answer;
}

/* What moves when the answer does. */
struct watched {
    enum watch_kind kind;
    const char *name;
};

static struct watched find_watched(const struct http_route *route, const struct http_request *req,
                                   const struct catalog_view *view) {
    struct watched watched = {route->watch, req->rest};
    if (route->watch == WATCH_KEY &&
        (http_request_has(req, "keys") || http_request_has(req, "recurse"))) {
        watched.kind = WATCH_PREFIX;
    } else if ((route->by_id && view_get_node(view, req->rest) == NULL) ||
               (route->watch == WATCH_SERVICES && http_request_has(req, "node-meta"))) {
        watched = (struct watched){WATCH_NODES, ""};
    } else if (route->watch == WATCH_CHECKS) {
        watched.name = ""; /* a state is no name: every check is watched */
    }
    return watched;
}

/* The answer shows what the watched index does not cover, so only that index would be right. */
static bool may_cache(const struct http_route *route, const struct http_request *req) {
    return !http_request_has(req, "near") && !http_request_has(req, "failover") &&
           (route->watch != WATCH_CHECKS || !http_request_has(req, "node-meta"));
}

/* Sets the answer, and says whether the query must wait for a newer one. */
static bool read_or_wait(struct http_exchange *exchange, struct http_request *req,
                         const struct http_query *query) {
    struct http_server *server = exchange->server;
    const struct http_route *route = exchange->route;
    const char *question = http_uri_question(exchange->uri, query->revalidate, &exchange->arena);
    struct http_cache *cache = http_cache_get(server);
    epoch_enter(server->backend->epoch);
    const struct catalog_view *view = catalog_view(server->backend->catalog);
    uint64_t led = leadership(server);
    struct watched watched = find_watched(route, req, view);
    struct http_answer *answer = route->once ? NULL : http_cache_find(cache, question, view, led);
    if (answer != NULL) {
        answer = http_answer_share(answer);
    } else {
        answer = read_answer(server, route, req, query, view);
        answer->route = route;
        if (answer->status == 200 && !route->once && may_cache(route, req)) {
            http_cache_put(cache, question, watched.kind, watched.name, view, led, answer);
        }
    }
    uint64_t watch_index = http_watch_index(view, watched.kind, watched.name);
    epoch_exit(server->backend->epoch);
    exchange->answer = answer;
    if (!answer->may_wait || route->once || query->index == 0 || answer->index > query->index ||
        exchange->state == EXCHANGE_TIMED_OUT) {
        return false;
    }
    exchange->wait.kind = watched.kind;
    exchange->wait.index = query->index;
    exchange->wait.seen_index = watch_index;
    exchange->wait.seen_hash = http_answer_hash(answer);
    exchange->wait.wait_ms = query->wait_ms;
    exchange->wait.exact = false;
    exchange->wait.name = watched.name;
    exchange->wait.question = question;
    return true;
}

static enum http_verdict dispatch_read(struct http_exchange *exchange, struct http_request *req,
                                       struct http_response *res) {
    struct http_query query;
    struct err_text text = {""};
    enum err err = http_query_parse(req, exchange->server->config.query_wait_default_ms,
                                    exchange->server->config.query_wait_max_ms, &query, &text);
    if (err != ERR_OK) {
        http_response_error(res, err, &text);
        if (err == ERR_REFUSED && tells_meta_on_errors(exchange->route)) {
            struct http_meta meta = {.present = true, .index = 1};
            exchange->answer = http_answer_create(exchange->server, res, &meta);
        }
        return HTTP_ANSWERED;
    }
    if (must_ask(exchange, &query)) {
        exchange->call = arena_alloc(&exchange->arena, sizeof *exchange->call);
        *exchange->call =
            (struct backend_call){.kind = BACKEND_READ, .consistent = query.consistent};
        return HTTP_PARK_CALL;
    }
    if (!read_or_wait(exchange, req, &query)) {
        return HTTP_ANSWERED;
    }
    http_answer_drop(exchange->answer);
    exchange->answer = NULL;
    return HTTP_PARK_WAIT;
}

/* ---- everything else ---- */

/* X-Consul-Token, or the second word of Authorization: Bearer (contract 4.1). */
static const char *find_token(struct http_exchange *exchange, const struct http_request *req) {
    const char *token = http_request_param(req, "token");
    if (token != NULL && *token != '\0') {
        return token;
    }
    token = http_exchange_header(exchange, "X-Consul-Token");
    if (token != NULL && *token != '\0') {
        return token;
    }
    token = http_exchange_header(exchange, "Authorization");
    if (token != NULL && strncasecmp(token, "bearer ", 7) == 0) {
        return token + 7 + strspn(token + 7, " ");
    }
    return "";
}

/* Method and path parameter. False: an answer is set. */
static bool judge_route(const struct http_route *route, const char *method,
                        const struct http_request *req, struct http_response *res) {
    if (strcmp(method, route->method) != 0) {
        bool options = strcmp(method, "OPTIONS") == 0;
        http_response_text(res, options ? 200 : 405, "%s%s%s", options ? "" : "method ",
                           options ? "" : method, options ? "" : " not allowed");
        const char *methods = http_route_methods(route, req->arena);
        bool untold = !options && route->options_untold;
        http_response_header(res, "Allow", methods + (untold ? strlen("OPTIONS,") : 0));
        return false;
    }
    if (route->missing != NULL && *req->rest == '\0') {
        http_response_text(res, 400, "%s", route->missing);
        return false;
    }
    return true;
}

static const char *find_header(const struct http_response *res, const char *name) {
    for (unsigned i = 0; i < res->header_count; i++) {
        if (strcmp(res->headers[i].name, name) == 0) {
            return res->headers[i].value;
        }
    }
    return "";
}

/* What the client has seen of a local answer, as the answer's own header tells it; "" = nothing, so
 * it does not wait. ERR_INVALID. */
static enum err find_seen(struct http_exchange *exchange, const struct http_request *req,
                          const char **ret_seen, struct err_text *text) {
    const struct http_route *route = exchange->route;
    struct http_wait *wait = &exchange->wait;
    const char *index = route->by_index ? str_or_empty(http_request_param(req, "index")) : "";
    uint64_t number = 0;
    *ret_seen = route->by_hash ? str_or_empty(http_request_param(req, "hash")) : "";
    if (*index != '\0' && !str_parse_u64(index, &number)) {
        return err_set(text, ERR_INVALID, "Invalid index");
    }
    if (number > 0) {
        *ret_seen = arena_format(req->arena, "%llu", (unsigned long long)number);
    }
    if (**ret_seen == '\0') {
        return ERR_OK;
    }
    wait->kind = route->by_index ? route->watch : WATCH_LOCAL_SERVICE;
    wait->exact = route->by_index;
    return http_query_parse_wait(
        req, route->by_index ? LIMIT_QUERY_WAIT_MAX_MS : LIMIT_QUERY_WAIT_DEFAULT_MS,
        LIMIT_QUERY_WAIT_MAX_MS, &wait->wait_ms, text);
}

static enum http_verdict dispatch_local(struct http_exchange *exchange, struct http_request *req,
                                        struct http_response *res) {
    struct http_server *server = exchange->server;
    const struct http_route *route = exchange->route;
    const char *seen_by_client = "";
    struct err_text text = {""};
    if (find_seen(exchange, req, &seen_by_client, &text) != ERR_OK) {
        http_response_error(res, ERR_INVALID, &text);
        return HTTP_ANSWERED;
    }
    req->accept = http_exchange_header(exchange, "Accept");
    enum err err = http_filter_parse(req, route->filter, &text);
    uint64_t version = 0;
    if (err == ERR_OK) {
        epoch_enter(server->backend->epoch);
        version = http_local_version(server->backend, exchange->wait.kind);
        route->local(req, res);
        epoch_exit(server->backend->epoch);
        err = filter_judge(req->filter, &text);
    }
    if (err != ERR_OK) {
        http_response_error(res, err, &text);
        return HTTP_ANSWERED;
    }
    if (*seen_by_client == '\0' || res->status != 200 || exchange->state == EXCHANGE_TIMED_OUT ||
        strcmp(seen_by_client,
               find_header(res, route->by_index ? HTTP_INDEX : HTTP_CONTENT_HASH)) != 0) {
        return HTTP_ANSWERED;
    }
    struct http_answer *seen = http_answer_create(server, res, NULL);
    exchange->wait.index = 0;
    exchange->wait.seen_index = version;
    exchange->wait.seen_hash = http_answer_hash(seen);
    exchange->wait.name = req->rest;
    exchange->wait.question = http_uri_question(exchange->uri, false, &exchange->arena);
    http_answer_drop(seen);
    return HTTP_PARK_WAIT;
}

static bool is_write(const char *method) {
    return strcmp(method, "GET") != 0 && strcmp(method, "HEAD") != 0 &&
           strcmp(method, "OPTIONS") != 0;
}

static bool is_blocked(const struct http_server *server, const char *path) {
    const struct str_list *blocked = &server->config.block_endpoints;
    for (uint32_t i = 0; i < blocked->count; i++) {
        if (str_starts_with(path, blocked->v[i])) {
            return true;
        }
    }
    return false;
}

static enum http_verdict dispatch_stream(struct http_exchange *exchange,
                                         const struct http_request *req,
                                         struct http_response *res) {
    struct http_stream_options options = {.metrics = false};
    struct err_text text = {"too many monitors of this agent's log"};
    if (!exchange->route->stream(req, &options, res)) {
        return HTTP_ANSWERED;
    }
    if (!http_stream_open(exchange, &options)) {
        http_response_error(res, ERR_OVERLOADED, &text);
        return HTTP_ANSWERED;
    }
    return HTTP_STREAM;
}

/* The first address that proxies tell, else that of the connection. */
static const char *find_client(struct http_exchange *exchange) {
    const char *told = str_or_empty(http_exchange_header(exchange, "X-Forwarded-For"));
    char *first = arena_strndup(&exchange->arena, told, strcspn(told, ", "));
    uint8_t ip[16];
    uint8_t bytes;
    return ip_parse(first, ip, &bytes) ? first : http_exchange_client_ip(exchange);
}

/* False: the request is refused, and the answer says why. */
static bool admit(struct http_exchange *exchange, const char *method, struct http_request *req,
                  struct http_response *res) {
    if (exchange->carried == NULL && is_blocked(exchange->server, req->path)) {
        http_response_text(res, 403, "Endpoint is blocked by agent configuration");
        return false;
    }
    if (exchange->carried != NULL && !http_route_travels(exchange->route)) {
        http_response_text(res, 403, "only the agent itself answers this");
        return false;
    }
    if (!judge_route(exchange->route, method, req, res)) {
        return false;
    }
    if (req->backend->facts->coordinates_off &&
        str_starts_with(exchange->route->pattern, "/v1/coordinate/")) {
        http_response_text(res, 401, "Coordinate support disabled");
        return false;
    }
    const struct http_tenancy *tenancy = http_judge_tenancy(exchange);
    if (tenancy != NULL) {
        http_response_text(res, 400, "Invalid header: \"%s\" - %s are a Consul Enterprise feature",
                           tenancy->header, tenancy->feature);
        return false;
    }
    if (is_write(method) && !http_exchange_may_write(exchange)) {
        http_response_text(res, 403, "Access is restricted");
        return false;
    }
    struct err_text text;
    if (http_query_judge_tenancy(req, &text) != ERR_OK) {
        http_response_error(res, ERR_INVALID, &text);
        return false;
    }
    return true;
}

static enum http_verdict dispatch_route(struct http_exchange *exchange, const char *method,
                                        struct http_request *req, struct http_response *res) {
    bool slash_missing;
    const struct http_route *route = http_route_find(req->path, method, &req->rest, &slash_missing);
    if (route == NULL) {
        http_judge_not_found(req, res);
        return HTTP_ANSWERED;
    }
    if (slash_missing) {
        http_judge_redirect(req, exchange->uri, route->pattern, res);
        return HTTP_ANSWERED;
    }
    exchange->route = route;
    req->rest = http_route_rest(route, req->rest, req->arena);
    if (!admit(exchange, method, req, res)) {
        return HTTP_ANSWERED;
    }
    req->client_ip = route->once ? find_client(exchange) : "";
    req->cache_control = http_exchange_header(exchange, "Cache-Control");
    const char *where = http_carry_where(exchange, req);
    if (where != NULL && (http_mirror_answer_fresh(exchange, req, where) ||
                          http_mirror_answer_lost(exchange, req, where))) {
        return HTTP_ANSWERED;
    }
    if (where != NULL) {
        return http_carry_prepare(exchange, req, where, res) ? HTTP_PARK_CALL : HTTP_ANSWERED;
    }
    if (http_refuse_rate(exchange->server, route, res)) {
        return HTTP_ANSWERED;
    }
    if (route->call == NULL && !http_answer_fits(exchange->server, 0)) {
        refuse_answer(res);
        return HTTP_ANSWERED;
    }
    if (route->read != NULL) {
        return dispatch_read(exchange, req, res);
    }
    req->authz.token = find_token(exchange, req);
    if (route->local != NULL) {
        return dispatch_local(exchange, req, res);
    }
    if (route->stream != NULL) {
        return dispatch_stream(exchange, req, res);
    }
    struct backend_call *call = arena_alloc(&exchange->arena, sizeof *call);
    memset(call, 0, sizeof *call);
    if (!route->call(req, call, res)) {
        return HTTP_ANSWERED;
    }
    if (call->kind == BACKEND_FORWARD) { /* its body names another datacenter */
        where = call->forward.datacenter;
        return http_carry_prepare(exchange, req, where, res) ? HTTP_PARK_CALL : HTTP_ANSWERED;
    }
    exchange->call = call;
    exchange->request = arena_alloc(&exchange->arena, sizeof *req);
    *exchange->request = *req;
    return HTTP_PARK_CALL;
}

/* Whether the view that there is may answer, as far as a text tells that nobody has parsed. */
static bool may_repeat(const struct http_exchange *exchange) {
    const struct backend *backend = exchange->server->backend;
    const char *query = str_or_empty(strchr(exchange->uri, '?'));
    if (exchange->current) {
        return true;
    }
    return strstr(query, "stale") == NULL &&
           backend->may_read(backend->context, strstr(query, "consistent") != NULL);
}

/* A repeated lookup is answered before anything is parsed: its text alone is the key. */
static struct http_answer *find_repeated(struct http_exchange *exchange, const char *method) {
    struct http_server *server = exchange->server;
    if (strcmp(method, "GET") != 0 || server->config.rate_mode != HTTP_RATE_OFF ||
        strstr(exchange->uri, "index=") != NULL || strstr(exchange->uri, "wait=") != NULL ||
        http_judge_tenancy(exchange) != NULL ||
        http_exchange_header(exchange, "Cache-Control") != NULL || !may_repeat(exchange)) {
        return NULL;
    }
    epoch_enter(server->backend->epoch);
    struct http_answer *answer =
        http_cache_find(http_cache_get(server), exchange->uri,
                        catalog_view(server->backend->catalog), leadership(server));
    epoch_exit(server->backend->epoch);
    if (answer != NULL) {
        exchange->route = answer->route;
        http_answer_share(answer);
    }
    return answer;
}

/* Escaped slashes and dots are part of a key: only what came as it is would be cleaned up. */
static bool is_clean_key(struct http_exchange *exchange) {
    const char *path = arena_strndup(&exchange->arena, exchange->uri, strcspn(exchange->uri, "?"));
    return str_starts_with(path, "/v1/kv/") && http_path_clean(path, &exchange->arena) == NULL;
}

static void refuse_body(struct http_exchange *exchange, struct http_response *res) {
    const struct backend_facts *facts = exchange->server->backend->facts;
    const char *length = http_exchange_header(exchange, "Content-Length");
    if (str_starts_with(exchange->uri, "/v1/kv/")) {
        http_response_text(res, 413, HTTP_BODY_TOO_LARGE,
                           length != NULL ? (size_t)strtoull(length, NULL, 10)
                                          : (size_t)LIMIT_HTTP_BODY_BYTES + 1,
                           (unsigned long long)facts->kv_value_bytes_max, "kv_max_value_size");
    } else {
        http_response_text(res, 413, "Request body too large, max size: %d bytes.",
                           LIMIT_HTTP_BODY_BYTES);
    }
}

enum http_verdict http_dispatch(struct http_exchange *exchange, const char *method) {
    struct http_response res;
    struct http_request req;
    exchange->answer = exchange->refused ? NULL : find_repeated(exchange, method);
    if (exchange->answer != NULL) {
        return HTTP_ANSWERED;
    }
    http_request_init(exchange->server, &exchange->arena, &req);
    req.method = method;
    if (exchange->carried != NULL && *exchange->carried->node != '\0') {
        req.agent_node = exchange->carried->node;
    }
    req.body = str_or_empty(exchange->body.data);
    req.body_size = exchange->body.count;
    http_response_init(&res);
    enum http_verdict verdict = HTTP_ANSWERED;
    const char *clean;
    if (exchange->refused) {
        http_response_text(&res, 429,
                           "Your IP is issuing too many concurrent connections, please "
                           "rate limit your calls\n");
    } else if (exchange->too_large) {
        refuse_body(exchange, &res);
    } else if (exchange->overloaded) {
        struct err_text text = {"too many request bodies are on their way to this agent"};
        http_response_error(&res, ERR_OVERLOADED, &text);
    } else if (http_request_parse(exchange->uri, &req, &res)) {
        if (exchange->server->config.judge_paths && !http_path_printable(req.path)) {
            http_response_text(&res, 400, "%s", "");
            res.no_endpoint = true;
            res.content_type = NULL;
        } else if (!is_clean_key(exchange) &&
                   (clean = http_path_clean(req.path, req.arena)) != NULL) {
            http_judge_redirect(&req, exchange->uri, clean, &res);
        } else {
            verdict = dispatch_route(exchange, method, &req, &res);
        }
    }
    if (verdict == HTTP_ANSWERED && exchange->answer == NULL) {
        exchange->answer = http_answer_create(exchange->server, &res, NULL);
    } else {
        buf_clear(&res.body);
    }
    return verdict;
}

struct http_answer *http_call_answer(struct http_exchange *exchange) {
    struct http_response res;
    if (exchange->call->kind == BACKEND_FORWARD && exchange->call->err == ERR_OK &&
        !http_answer_fits(exchange->server, exchange->call->answer_size)) {
        http_response_init(&res);
        refuse_answer(&res);
        return http_answer_create(exchange->server, &res, NULL);
    }
    if (exchange->call->kind == BACKEND_FORWARD && exchange->call->err == ERR_OK) {
        char *body = exchange->call->answer;
        exchange->call->answer = NULL;
        return http_answer_carried(exchange->server, exchange->call->forward.reply, body,
                                   exchange->call->answer_size);
    }
    if (exchange->call->kind == BACKEND_FORWARD && exchange->call->err != ERR_CLOSED &&
        exchange->route->read != NULL) {
        struct http_answer *answer =
            http_mirror_answer(exchange->server, exchange->call->forward.target,
                               exchange->call->forward.datacenter, 0, INT64_MAX);
        if (answer != NULL) {
            return answer;
        }
    }
    http_response_init(&res);
    if (exchange->call->kind == BACKEND_FORWARD) {
        struct http_meta meta = {.present = exchange->route->read != NULL &&
                                            tells_meta_on_errors(exchange->route),
                                 .index = 1};
        http_response_error(&res, exchange->call->err, &exchange->call->text);
        return http_answer_create(exchange->server, &res, &meta);
    }
    if (exchange->call->err != ERR_OK) {
        http_response_error(&res, exchange->call->err, &exchange->call->text);
    } else if (exchange->route->finish != NULL) {
        exchange->route->finish(exchange->request, exchange->call, &res);
    } else {
        buf_append_str(&res.body, exchange->route->ok_body);
    }
    catalog_result_clear(&exchange->call->result);
    free(exchange->call->answer);
    exchange->call->answer = NULL;
    return http_answer_create(exchange->server, &res, NULL);
}
