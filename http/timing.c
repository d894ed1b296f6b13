/* How long requests take and how many there are, by route (contract 5.2). */
#include <stdio.h>
#include <string.h>

#include "base/mem.h"
#include "http/server.h"

#define NAME_BYTES 128

/* Routes that clients call over the catalog's own names. */
static const struct {
    const char *pattern, *endpoint;
} endpoints[] = {
    {"/v1/catalog/register", "catalog_register"},
    {"/v1/catalog/deregister", "catalog_deregister"},
    {"/v1/catalog/datacenters", "catalog_datacenters"},
    {"/v1/catalog/nodes", "catalog_nodes"},
    {"/v1/catalog/services", "catalog_services"},
    {"/v1/catalog/service/", "catalog_service_nodes"},
    {"/v1/catalog/node/", "catalog_node_services"},
    {"/v1/catalog/node-services/", "catalog_node_service_list"},
};

/* Routes whose answers the contract times by themselves, too. */
static const struct {
    const char *pattern, *suffix, *name, *help;
} timed[] = {
    {"/v1/query/", "/execute", "prepared-query.execute", "Executing a prepared query, over HTTP."},
    {"/v1/query/", "/explain", "prepared-query.explain", "Explaining a prepared query."},
};

struct route_metrics {
    struct metric *timing;
    struct metric *named;                      /* of `timed`; else NULL */
    struct metric *calls, *successes, *errors; /* of the endpoints above; else NULL */
    struct metric *refused;                    /* NULL: requests have no limit */
};

struct http_timings {
    struct metric *reads, *blocking;
    struct route_metrics routes[];
};

static void add_calls(struct route_metrics *to, struct metrics *metrics, const char *endpoint,
                      const struct str_pair *node) {
    char name[NAME_BYTES];
    snprintf(name, sizeof name, "client.api.%s", endpoint);
    to->calls = metrics_add(metrics, METRIC_COUNTER, name, "Requests to this endpoint.", node, 1);
    snprintf(name, sizeof name, "client.api.success.%s", endpoint);
    to->successes = metrics_add(metrics, METRIC_COUNTER, name, "Requests that succeeded.", node, 1);
    snprintf(name, sizeof name, "client.rpc.error.%s", endpoint);
    to->errors = metrics_add(metrics, METRIC_COUNTER, name, "Requests that failed.", node, 1);
}

static void add_route(struct route_metrics *to, struct metrics *metrics,
                      const struct http_route *route, const struct str_pair *node) {
    char path[NAME_BYTES];
    snprintf(path, sizeof path, "%s", route->pattern + 1);
    for (char *at = path; *at != '\0'; at++) {
        *at = *at == '/' ? '_' : *at;
    }
    const struct str_pair labels[] = {{"method", route->method}, {"path", path}};
    to->timing = metrics_add(metrics, METRIC_SAMPLE, "api.http",
                             "Answering a request, waits of blocking queries included.", labels, 2);
    for (size_t i = 0; i < sizeof timed / sizeof timed[0]; i++) {
        if (route->suffix != NULL && strcmp(timed[i].pattern, route->pattern) == 0 &&
            strcmp(timed[i].suffix, route->suffix) == 0) {
            to->named = metrics_add(metrics, METRIC_SAMPLE, timed[i].name, timed[i].help, NULL, 0);
        }
    }
    for (size_t i = 0; i < sizeof endpoints / sizeof endpoints[0]; i++) {
        if (strcmp(endpoints[i].pattern, route->pattern) == 0) {
            add_calls(to, metrics, endpoints[i].endpoint, node);
        }
    }
}

static void add_refused(struct route_metrics *to, const struct http_config *config,
                        const struct http_route *route) {
    enum http_limit limit = http_limit_of(route);
    bool enforced = config->rate_mode == HTTP_RATE_ENFORCING;
    const struct str_pair labels[] = {{"limit_type", http_limit_name(limit)},
                                      {"op", route->pattern},
                                      {"mode", enforced ? "enforcing" : "permissive"}};
    if (config->rate_mode != HTTP_RATE_OFF && limit != HTTP_LIMIT_NONE) {
        to->refused = metrics_add(config->metrics, METRIC_COUNTER, "rpc.rate_limit.exceeded",
                                  "Requests over limits.request_limits.", labels, 3);
    }
}

struct http_timings *http_timings_create(const struct http_config *config, const char *node_name) {
    size_t count;
    const struct http_route *routes = http_routes(&count);
    const struct str_pair node = {"node", node_name};
    struct metrics *metrics = config->metrics;
    struct http_timings *timings =
        mem_calloc(1, sizeof *timings + count * sizeof timings->routes[0]);
    metrics_add(metrics, METRIC_SAMPLE, "api.http",
                "Answering a request, waits of blocking queries included.", NULL, 0);
    timings->reads = metrics_add(metrics, METRIC_COUNTER, "rpc.query", "Reads.", NULL, 0);
    timings->blocking = metrics_add(metrics, METRIC_GAUGE, "rpc.queries_blocking",
                                    "Blocking queries that wait.", NULL, 0);
    for (size_t i = 0; i < count; i++) {
        add_route(&timings->routes[i], metrics, &routes[i], &node);
        add_refused(&timings->routes[i], config, &routes[i]);
    }
    return timings;
}

void http_timings_note(struct http_timings *timings, const struct http_route *route, int status,
                       uint64_t begun_at_ns) {
    size_t count;
    const struct route_metrics *to = &timings->routes[route - http_routes(&count)];
    double ms = metrics_ms_since(begun_at_ns, metrics_clock_ns());
    metric_sample(to->timing, ms);
    if (to->named != NULL) {
        metric_sample(to->named, ms);
    }
    if (route->read != NULL) {
        metric_count(timings->reads, 1);
    }
    if (to->calls != NULL) {
        metric_count(to->calls, 1);
        metric_count(status == 200 ? to->successes : to->errors, 1);
    }
}

void http_timings_refused(struct http_timings *timings, const struct http_route *route) {
    size_t count;
    metric_count(timings->routes[route - http_routes(&count)].refused, 1);
}

void http_timings_blocking(struct http_timings *timings, size_t count) {
    metric_set(timings->blocking, (double)count);
}
