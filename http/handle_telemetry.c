/* Metrics of this agent, and its log (contract 10.12, 10.13). */
#include <string.h>

#include "http/handlers.h"

/* One item of an Accept header: its type, and the value of its version parameter, without blanks.
 */
static bool item_is_prometheus(const char *item, size_t size) {
    char text[128];
    size_t used = 0;
    for (size_t i = 0; i < size && used < sizeof text - 1; i++) {
        if (item[i] != ' ' && item[i] != '\t') {
            text[used++] = str_lower_char(item[i]);
        }
    }
    text[used] = '\0';
    const char *parameters = strchr(text, ';');
    size_t type = strcspn(text, ";");
    if (type == strlen("application/openmetrics-text") &&
        memcmp(text, "application/openmetrics-text", type) == 0) {
        return true;
    }
    if (type != strlen("text/plain") || memcmp(text, "text/plain", type) != 0 ||
        parameters == NULL) {
        return false;
    }
    const char *version = strstr(parameters, ";version=");
    version = version != NULL ? version + strlen(";version=") : "";
    size_t version_size = strcspn(version, ";");
    return version_size == 5 &&
           (memcmp(version, "0.0.4", 5) == 0 || memcmp(version, "0.4.0", 5) == 0);
}

static bool wants_prometheus(const struct http_request *req) {
    const char *format = str_or_empty(http_request_param(req, "format"));
    bool wanted = strcmp(format, "prometheus") == 0;
    for (const char *at = str_or_empty(req->accept); *at != '\0' && !wanted;) {
        size_t size = strcspn(at, ",");
        wanted = item_is_prometheus(at, size);
        at += size + (at[size] == ',');
    }
    return wanted;
}

void handle_agent_metrics(const struct http_request *req, struct http_response *res) {
    static const char off[] = "Prometheus is not enabled since its retention time is not positive";
    const struct backend *backend = req->backend;
    struct json json;
    bool prometheus = wants_prometheus(req);
    if (prometheus && !backend->prometheus) {
        http_response_text(res, 415, "%s", off);
        http_response_header(res, "X-Consul-Reason", off);
        return;
    }
    backend->refresh_metrics(backend->context);
    if (prometheus) {
        res->status = 200;
        res->content_type = "text/plain; version=0.0.4; charset=utf-8";
        metrics_write_prometheus(backend->metrics, &res->body);
        return;
    }
    http_response_json(res, req, &json);
    metrics_write_json(backend->metrics, &json);
    http_response_json_end(res, req);
}

bool handle_agent_metrics_stream(const struct http_request *req,
                                 struct http_stream_options *ret_options,
                                 struct http_response *res) {
    (void)req;
    (void)res;
    ret_options->metrics = true;
    return true;
}

/* ---- the log ---- */

bool handle_agent_monitor(const struct http_request *req, struct http_stream_options *ret_options,
                          struct http_response *res) {
    const char *level = str_or_empty(http_request_param(req, "loglevel"));
    ret_options->level = LOG_INFO;
    ret_options->json = http_request_has(req, "logjson");
    if (*level != '\0' && !log_parse_level(level, &ret_options->level)) {
        http_response_text(res, 400, "Unknown log level: %s", level);
        return false;
    }
    return true;
}
