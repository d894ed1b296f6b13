/* Answers from rows that are kept elsewhere than where they are written: of another datacenter when
 * its servers do not answer, of services that are subscribed on an agent without -server, and of
 * its own registrations. */
#include "http/server.h"

static bool find_mirror(const struct http_route *route, const struct http_request *req,
                        const char *datacenter, struct backend_mirror *ret_mirror) {
    const struct backend *backend = req->backend;
    if (*datacenter != '\0') {
        return backend->get_mirror != NULL &&
               backend->get_mirror(backend->context, datacenter, ret_mirror);
    }
    return route->watch == WATCH_SERVICE && backend->get_subscribed != NULL &&
           backend->get_subscribed(backend->context, req->rest, ret_mirror);
}

/* Of a service that no rows are kept of. */
static bool find_own(const struct http_route *route, const struct http_request *req,
                     const char *datacenter, struct backend_mirror *ret_mirror) {
    if (*datacenter != '\0' || route->watch != WATCH_SERVICE || req->backend->own == NULL) {
        return false;
    }
    *ret_mirror = (struct backend_mirror){.view = catalog_view(req->backend->own), .own = true};
    return view_has_instances(ret_mirror->view, req->rest);
}

static struct http_answer *read_mirror(struct http_server *server, const struct http_route *route,
                                       struct http_request *req, const struct http_query *query,
                                       const struct backend_mirror *mirror, bool known_leader) {
    struct http_response res;
    struct http_read read = {
        .view = mirror->view, .index = 1, .mirrored = true, .consistency = "stale"};
    struct http_meta meta = {
        .known_leader = known_leader, .contact_ms = mirror->age_ms, .consistency = "stale"};
    http_response_init(&res);
    http_read_filtered(route, req, &read, &res);
    http_response_header(&res, HTTP_MIRROR_AGE,
                         arena_format(req->arena, "%lld", (long long)mirror->age_ms));
    if (route->cached && http_request_has(req, "cached") && req->use_cache && res.status == 200) {
        http_response_header(&res, "X-Cache", "HIT");
        http_response_header(&res, "Age",
                             arena_format(req->arena, "%lld", (long long)mirror->age_ms / 1000));
    }
    meta.present = res.status == 200 || res.absent;
    /* Whoever waits behind it hears of what the source has, though no row changes there. */
    meta.index = mirror->own ? 1 : read.index - (view_is_corrected(mirror->view) && read.index > 1);
    struct http_answer *answer = http_answer_create(server, &res, &meta);
    if (query->index > 0 && answer->may_wait && answer->index <= query->index) {
        http_answer_drop(answer); /* nothing new: who waits is told that it can't */
        return NULL;
    }
    return answer;
}

struct http_answer *http_mirror_answer(struct http_server *server, const char *uri,
                                       const char *datacenter, int64_t age_min_ms,
                                       int64_t age_max_ms) {
    struct arena arena;
    struct http_request req;
    struct http_response unused;
    struct http_query query;
    struct err_text text;
    struct backend_mirror mirror;
    bool redirect;
    arena_init(&arena);
    http_request_init(server, &arena, &req);
    http_response_init(&unused);
    req.datacenter = *datacenter != '\0' ? datacenter : req.datacenter;
    struct http_answer *answer = NULL;
    const struct http_route *route = NULL;
    bool lost = age_max_ms == INT64_MAX;
    if (http_request_parse(uri, &req, &unused)) {
        route = http_route_find(req.path, "GET", &req.rest, &redirect);
    }
    /* Keys and sessions are not mirrored. */
    if (route != NULL && route->read != NULL && route->watch <= WATCH_NODE &&
        http_query_parse(&req, server->config.query_wait_default_ms,
                         server->config.query_wait_max_ms, &query, &text) == ERR_OK &&
        !query.consistent) {
        epoch_enter(server->backend->epoch);
        bool kept = find_mirror(route, &req, datacenter, &mirror);
        if (kept && mirror.age_ms >= age_min_ms && mirror.age_ms <= age_max_ms &&
            mirror.age_ms <= query.stale_max_ms) {
            answer = read_mirror(server, route, &req, &query, &mirror, !lost);
        } else if (!kept && lost && find_own(route, &req, datacenter, &mirror)) {
            answer = read_mirror(server, route, &req, &query, &mirror, false);
        }
        epoch_exit(server->backend->epoch);
    }
    buf_clear(&unused.body);
    arena_clear(&arena);
    return answer;
}

bool http_mirror_may_answer(const struct http_route *route, const struct http_request *req,
                            const char *datacenter) {
    struct backend_mirror mirror;
    if (*datacenter == '\0' || route->read == NULL || route->watch > WATCH_NODE ||
        http_request_has(req, "consistent") || http_request_has(req, "max_stale")) {
        return false;
    }
    epoch_enter(req->backend->epoch);
    bool found = find_mirror(route, req, datacenter, &mirror);
    epoch_exit(req->backend->epoch);
    return found;
}

bool http_mirror_answer_fresh(struct http_exchange *exchange, const struct http_request *req,
                              const char *where) {
    const struct backend *backend = req->backend;
    struct backend_mirror mirror;
    if (*where != '\0' || exchange->route->watch != WATCH_SERVICE ||
        exchange->route->read == NULL || *req->rest == '\0' || backend->get_subscribed == NULL ||
        http_request_has(req, "failover")) {
        return false;
    }
    epoch_enter(backend->epoch);
    bool found = backend->get_subscribed(backend->context, req->rest, &mirror);
    epoch_exit(backend->epoch);
    struct http_query query;
    struct err_text unused;
    /* Distances are the servers', and so is what must be asked anew, and what is wrong. */
    if (found && !http_request_has(req, "index") && !http_request_has(req, "near") &&
        http_query_parse_modes(req, &query, &unused) == ERR_OK && !query.revalidate &&
        (query.stale || (http_request_has(req, "cached") && req->use_cache))) {
        exchange->answer =
            http_mirror_answer(exchange->server, exchange->uri, "", 0, LIMIT_MIRROR_FRESH_MS);
    }
    return exchange->answer != NULL;
}

bool http_mirror_answer_lost(struct http_exchange *exchange, const struct http_request *req,
                             const char *where) {
    if (*where != '\0' && exchange->route->read != NULL) {
        exchange->answer = http_mirror_answer(exchange->server, http_carry_target(exchange, req),
                                              where, LIMIT_MIRROR_LOST_MS, INT64_MAX);
    }
    return exchange->answer != NULL;
}
