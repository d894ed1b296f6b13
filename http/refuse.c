/* Requests over limits.request_limits (contract 1.7). */
#include "base/str.h"
#include "http/server.h"

#define RATE_LOG_NS 1000000000ULL

/* What goes through the log, but for operators' own doings. */
static bool is_command(const struct http_route *route) {
    static const char *const families[] = {"/v1/catalog/", "/v1/coordinate/", "/v1/kv/",
                                           "/v1/query",    "/v1/session/",    "/v1/txn"};
    for (size_t i = 0; route->call != NULL && i < sizeof families / sizeof families[0]; i++) {
        if (str_starts_with(route->pattern, families[i])) {
            return true;
        }
    }
    return false;
}

bool http_refuse_rate(struct http_server *server, const struct http_route *route,
                      struct http_response *res) {
    bool write = is_command(route);
    uint64_t now_ns = metrics_clock_ns();
    if (server->config.rate_mode == HTTP_RATE_OFF || (!write && route->read == NULL) ||
        http_rate_take(write ? &server->writes : &server->reads, now_ns)) {
        return false;
    }
    bool enforced = server->config.rate_mode == HTTP_RATE_ENFORCING;
    const struct str_pair labels[] = {{"limit_type", write ? "global/write" : "global/read"},
                                      {"op", route->pattern},
                                      {"mode", enforced ? "enforcing" : "permissive"}};
    metric_count(metrics_add(server->config.metrics, METRIC_COUNTER, "rpc.rate_limit.exceeded",
                             "Requests over limits.request_limits.", labels, 3),
                 1);
    uint64_t logged_ns = atomic_load(&server->rate_logged_ns);
    if (now_ns - logged_ns >= RATE_LOG_NS &&
        atomic_compare_exchange_strong(&server->rate_logged_ns, &logged_ns, now_ns)) {
        log_write(server->log, LOG_WARN, "agent.http",
                  "RPC exceeded allowed rate limit: path=%s limit_type=%s limit_enforced=%s",
                  route->pattern, labels[0].value, enforced ? "true" : "false");
    }
    if (enforced && write) {
        http_response_text(res, 503,
                           "rate limit exceeded for operation that can only be performed "
                           "by the leader, try again later");
    } else if (enforced) {
        http_response_text(res, 429,
                           "rate limit exceeded, try again later or against a different "
                           "server");
    }
    return enforced;
}
