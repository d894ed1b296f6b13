/* Answers to requests that no route takes, and what this program has none of. */
#include <string.h>

#include "http/server.h"

void http_judge_redirect(const struct http_request *req, const char *uri, const char *path,
                         struct http_response *res) {
    const char *query = http_uri_encode(str_or_empty(strchr(uri, '?')), true, req->arena);
    path = http_uri_encode(path, false, req->arena);
    bool get = strcmp(req->method, "GET") == 0;
    const char *body = arena_format(req->arena, "<a href=\"%s\">Moved Permanently</a>.\n", path);
    http_response_text(res, 301, "%s", get ? body : "");
    res->content_type = get ? "text/html; charset=utf-8" : NULL;
    res->no_endpoint = true;
    http_response_header(res, "Location", arena_format(req->arena, "%s%s", path, query));
}

void http_judge_not_found(const struct http_request *req, struct http_response *res) {
    res->no_endpoint = true;
    if (strcmp(req->path, "/") == 0) {
        http_response_text(res, 200,
                           "Consul Agent: UI disabled. To enable, set ui_config.enabled=true in "
                           "the agent configuration and restart.");
    } else if (strstr(req->path, "/v1/") != NULL) {
        http_response_text(res, 404, "Invalid URL path: not a recognized HTTP API endpoint\n");
    } else {
        http_response_text(res, 404,
                           "Invalid URL path: if attempting to use the HTTP API, ensure the path "
                           "starts with '/v1/'\n");
    }
}

const struct http_tenancy *http_judge_tenancy(struct http_exchange *exchange) {
    static const struct http_tenancy all[] = {{"X-Consul-Namespace", "Namespaces"},
                                              {"X-Consul-Partition", "Partitions"}};
    for (size_t i = 0; i < sizeof all / sizeof all[0]; i++) {
        const char *value = str_or_empty(http_exchange_header(exchange, all[i].header));
        if (*value != '\0' && strcmp(value, "default") != 0) {
            return &all[i];
        }
    }
    return NULL;
}
