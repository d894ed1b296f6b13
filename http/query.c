#include <string.h>
#include <strings.h>

#include "base/duration.h"
#include "http/request.h"

enum err http_query_judge_tenancy(const struct http_request *req, struct err_text *text) {
    const char *name_space = str_or_empty(http_request_param(req, "ns"));
    const char *partition = str_or_empty(http_request_param(req, "partition"));
    if (*name_space != '\0' && strcmp(name_space, "default") != 0) {
        return err_set(text, ERR_INVALID,
                       "Invalid query parameter: \"ns\" - Namespaces are a Consul Enterprise "
                       "feature");
    }
    if (*partition != '\0' && strcmp(partition, "default") != 0) {
        return err_set(text, ERR_INVALID,
                       "Invalid query parameter: \"partition\" - Partitions are a Consul "
                       "Enterprise feature");
    }
    return ERR_OK;
}

const char *http_query_dc(const struct http_request *req) {
    const char *dc = str_or_empty(http_request_param(req, "datacenter"));
    return *dc != '\0' ? dc : str_or_empty(http_request_param(req, "dc"));
}

enum err http_query_judge_dc(const struct http_request *req, struct err_text *text) {
    const char *dc = http_query_dc(req);
    if (*dc != '\0' && !str_equal_fold(dc, req->datacenter)) {
        return err_set(text, ERR_REFUSED, "No path to datacenter");
    }
    return ERR_OK;
}

bool http_query_accept_dc(const struct http_request *req, struct http_response *res) {
    struct err_text text;
    enum err err = http_query_judge_dc(req, &text);
    if (err != ERR_OK) {
        http_response_error(res, err, &text);
    }
    return err == ERR_OK;
}

/* A read of catalog or health that does not say how old its answer may be. */
static bool may_be_old(const struct http_request *req, const struct http_query *query) {
    return req->discovery_stale_ms > 0 && !query->stale && !query->consistent &&
           !http_request_has(req, "leader") &&
           (str_starts_with(req->path, "/v1/catalog/") ||
            str_starts_with(req->path, "/v1/health/"));
}

int64_t http_query_default_stale_ms(const struct http_request *req) {
    const char *max_stale = str_or_empty(http_request_param(req, "max_stale"));
    struct http_query query = {.stale = http_request_has(req, "stale") || *max_stale != '\0',
                               .consistent = http_request_has(req, "consistent")};
    return may_be_old(req, &query) ? req->discovery_stale_ms : 0;
}

static enum err parse_consistency(const struct http_request *req, struct http_query *query,
                                  struct err_text *text) {
    int64_t ns;
    const char *max_stale = http_request_param(req, "max_stale");
    query->stale = http_request_has(req, "stale");
    query->stale_max_ms = INT64_MAX;
    query->consistent = http_request_has(req, "consistent");
    if (max_stale != NULL && *max_stale != '\0') {
        if (duration_parse(max_stale, &ns, NULL) != ERR_OK) {
            return err_set(text, ERR_INVALID, "Invalid max_stale value \"%.64s\"", max_stale);
        }
        query->stale = true;
        query->stale_max_ms = ns / DURATION_MS;
    }
    if (may_be_old(req, query)) {
        query->stale = true;
        query->stale_max_ms = req->discovery_stale_ms;
    }
    if (query->stale && query->consistent) {
        return err_set(text, ERR_INVALID,
                       "Cannot specify ?stale with ?consistent, conflicting semantics.");
    }
    if (http_request_has(req, "cached") && query->consistent) {
        return err_set(text, ERR_INVALID,
                       "Cannot specify ?cached with ?consistent, conflicting semantics.");
    }
    return ERR_OK;
}

/* A decimal number with or without a sign. */
static bool is_number(const char *s, size_t size) {
    size_t sign = size > 0 && (*s == '-' || *s == '+');
    return size > sign && strspn(s + sign, "0123456789") >= size - sign;
}

static enum err parse_cache_control(const struct http_request *req, bool *ret_revalidate,
                                    struct err_text *text) {
    static const char *const numbers[] = {"max-age=", "stale-if-error="};
    bool revalidate = http_request_has(req, HTTP_REVALIDATE);
    for (const char *at = str_or_empty(req->cache_control); *at != '\0';) {
        at += strspn(at, ", \t");
        size_t size = strcspn(at, ",");
        size_t used = size;
        while (used > 0 && (at[used - 1] == ' ' || at[used - 1] == '\t')) {
            used--;
        }
        revalidate = revalidate || (used == strlen(HTTP_REVALIDATE) &&
                                    strncasecmp(at, HTTP_REVALIDATE, used) == 0);
        for (size_t i = 0; i < sizeof numbers / sizeof numbers[0]; i++) {
            size_t name = strlen(numbers[i]);
            if (used < name || strncasecmp(at, numbers[i], name) != 0) {
                continue;
            }
            if (!is_number(at + name, used - name)) {
                return err_set(text, ERR_INVALID, "Invalid Cache-Control header.");
            }
            bool zero = strspn(at + name, "-+0") >= used - name;
            revalidate = revalidate || (i == 0 && zero);
        }
        at += size;
    }
    *ret_revalidate = revalidate;
    return ERR_OK;
}

enum err http_query_parse_modes(const struct http_request *req, struct http_query *query,
                                struct err_text *text) {
    enum err err = parse_consistency(req, query, text);
    return err == ERR_OK ? parse_cache_control(req, &query->revalidate, text) : err;
}

void http_response_cache(struct http_response *res, const struct http_request *req,
                         bool revalidate) {
    if (!req->use_cache || !http_request_has(req, "cached") || res->status != 200) {
        return;
    }
    http_response_header(res, "X-Cache", revalidate ? "MISS" : "HIT");
    if (!revalidate) {
        http_response_header(res, "Age", "0");
    }
}

enum err http_query_parse_wait(const struct http_request *req, int64_t default_ms, int64_t max_ms,
                               int64_t *ret_wait_ms, struct err_text *text) {
    int64_t wait_ns = 0;
    const char *wait = str_or_empty(http_request_param(req, "wait"));
    if (*wait != '\0' && duration_parse(wait, &wait_ns, NULL) != ERR_OK) {
        return err_set(text, ERR_INVALID, "Invalid wait time");
    }
    int64_t wait_ms = wait_ns > 0 ? (wait_ns + DURATION_MS - 1) / DURATION_MS : default_ms;
    *ret_wait_ms = wait_ms > max_ms ? max_ms : wait_ms;
    return ERR_OK;
}

enum err http_query_parse(const struct http_request *req, int64_t wait_default_ms,
                          int64_t wait_max_ms, struct http_query *ret_query,
                          struct err_text *text) {
    struct http_query query = {.wait_ms = wait_default_ms};
    int64_t wait_ns = 0;
    const char *index = str_or_empty(http_request_param(req, "index"));
    const char *wait = str_or_empty(http_request_param(req, "wait"));
    if (*wait != '\0' && duration_parse(wait, &wait_ns, NULL) != ERR_OK) {
        return err_set(text, ERR_INVALID, "Invalid wait time");
    }
    if (*index != '\0' && !str_parse_u64(index, &query.index)) {
        return err_set(text, ERR_INVALID, "Invalid index");
    }
    if (wait_ns > 0) {
        query.wait_ms = wait_ns / DURATION_MS + (wait_ns % DURATION_MS != 0);
    }
    if (query.wait_ms > wait_max_ms) {
        query.wait_ms = wait_max_ms;
    }
    enum err err = http_query_judge_tenancy(req, text);
    if (err == ERR_OK) {
        err = http_query_parse_modes(req, &query, text);
    }
    if (err == ERR_OK) {
        err = http_query_judge_dc(req, text);
    }
    *ret_query = query;
    return err;
}

enum err http_filter_parse(struct http_request *req, enum filter_rows rows, struct err_text *text) {
    const char *expression = str_or_empty(http_request_param(req, "filter"));
    if (rows == FILTER_NOTHING || *expression == '\0') {
        return ERR_OK;
    }
    return filter_compile(rows, expression, req->datacenter, req->arena, &req->filter, text);
}

uint64_t http_watch_index(const struct catalog_view *view, enum watch_kind kind, const char *name) {
    switch (kind) {
    case WATCH_NODES:
        return view_index_nodes(view);
    case WATCH_SERVICES:
        return view_index_services(view);
    case WATCH_CHECKS:
        return view_index_checks(view);
    case WATCH_SERVICE:
        return view_index_service(view, name);
    case WATCH_NODE:
        return view_index_node(view, name);
    case WATCH_KEY:
        return view_index_kv(view, name);
    case WATCH_PREFIX:
        return view_index_prefix(view, name);
    case WATCH_SESSIONS:
    case WATCH_SESSION:
    case WATCH_NODE_SESSIONS:
        return view_index_sessions(view);
    case WATCH_COORDINATES:
    case WATCH_COORDINATE:
        return view_index_coordinates(view);
    case WATCH_QUERIES:
    case WATCH_QUERY:
        return view_index_queries(view);
    case WATCH_FAILOVERS:
    case WATCH_FAILOVER:
        return view_index_failovers(view);
    case WATCH_LOCAL_SERVICE: /* not of the catalog */
    case WATCH_EVENTS:
    case WATCH_KIND_COUNT:
        break;
    }
    return 1;
}

uint64_t http_local_version(const struct backend *backend, enum watch_kind kind) {
    const struct backend_events *events = backend->events;
    if (kind != WATCH_EVENTS) {
        return local_view_version(local_view(backend->local));
    }
    return events != NULL ? events->version : 0;
}

bool http_match_node_meta(const struct http_request *req, const struct catalog_node *node) {
    for (unsigned i = 0; i < req->param_count; i++) {
        if (strcmp(req->params[i].name, "node-meta") != 0) {
            continue;
        }
        const char *pair = req->params[i].value;
        size_t key_size = strcspn(pair, ":");
        const char *key = arena_strndup(req->arena, pair, key_size);
        const char *value = str_map_get(&node->meta, key);
        if (value == NULL || strcmp(value, pair + key_size + (pair[key_size] == ':')) != 0) {
            return false;
        }
    }
    return true;
}

bool http_match_tags(const struct http_request *req, const struct str_list *tags) {
    for (unsigned i = 0; i < req->param_count; i++) {
        if (strcmp(req->params[i].name, "tag") != 0 || *req->params[i].value == '\0') {
            continue;
        }
        bool found = false;
        for (uint32_t t = 0; t < tags->count && !found; t++) {
            found = str_equal_fold(tags->v[t], req->params[i].value);
        }
        if (!found) {
            return false;
        }
    }
    return true;
}
