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

enum http_limit http_limit_of(const struct http_route *route) {
    return is_command(route)     ? HTTP_LIMIT_WRITE
           : route->read != NULL ? HTTP_LIMIT_READ
                                 : HTTP_LIMIT_NONE;
}

const char *http_limit_name(enum http_limit limit) {
    return limit == HTTP_LIMIT_WRITE ? "global/write" : "global/read";
}

bool http_refuse_rate(struct http_server *server, const struct http_route *route,
                      struct http_response *res) {
    enum http_limit limit = http_limit_of(route);
    bool write = limit == HTTP_LIMIT_WRITE;
    uint64_t now_ns = metrics_clock_ns();
    if (server->config.rate_mode == HTTP_RATE_OFF || limit == HTTP_LIMIT_NONE ||
        http_rate_take(write ? &server->writes : &server->reads, now_ns)) {
        return false;
    }
    bool enforced = server->config.rate_mode == HTTP_RATE_ENFORCING;
    http_timings_refused(server->timings, route);
    uint64_t logged_ns = atomic_load(&server->rate_logged_ns);
    if (now_ns - logged_ns >= RATE_LOG_NS &&
        atomic_compare_exchange_strong(&server->rate_logged_ns, &logged_ns, now_ns)) {
        log_write(server->log, LOG_WARN, "agent.http",
                  "RPC exceeded allowed rate limit: path=%s limit_type=%s limit_enforced=%s",
                  route->pattern, http_limit_name(limit), enforced ? "true" : "false");
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
