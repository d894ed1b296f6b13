/* The route table: how paths and methods find their rows, and that docs/API.md lists every row and
 * nothing else. CAIRN_REWRITE=1 writes the rows of docs/API.md; what each is for is written there
 * by hand, in the column "what for", and kept. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "http/request.h"

#define DOCUMENT "docs/API.md"
#define HEAD "|---|---|---|---|---|---|\n"

/* ---- finding ---- */

static void finds(const char *method, const char *path, const char *pattern, const char *found,
                  const char *rest) {
    const char *got_rest;
    bool redirect;
    const struct http_route *route = http_route_find(path, method, &got_rest, &redirect);
    assert_non_null(route);
    assert_string_equal(route->pattern, pattern);
    assert_string_equal(route->method, found);
    assert_string_equal(got_rest, rest);
    assert_false(redirect);
}

static void longest_pattern_wins(void **state) {
    const char *rest;
    bool redirect;
    (void)state;
    finds("PUT", "/v1/agent/service/register", "/v1/agent/service/register", "PUT", "");
    finds("GET", "/v1/agent/service/web", "/v1/agent/service/", "GET", "web");
    finds("PUT", "/v1/acl/policy", "/v1/acl/policy", "PUT", ""); /* no redirect to the prefix */
    finds("GET", "/v1/catalog/service/a/b", "/v1/catalog/service/", "GET", "a/b");
    assert_null(http_route_find("/v1/status/leader/", "GET", &rest, &redirect));
    assert_non_null(http_route_find("/v1/catalog/service", "GET", &rest, &redirect));
    assert_true(redirect);
}

static void a_path_has_a_row_for_each_method(void **state) {
    struct arena arena;
    (void)state;
    arena_init(&arena);
    finds("GET", "/v1/acl/token/x", "/v1/acl/token/", "GET", "x");
    finds("PUT", "/v1/acl/token/x", "/v1/acl/token/", "PUT", "x");
    finds("DELETE", "/v1/acl/token/x", "/v1/acl/token/", "DELETE", "x");
    finds("PATCH", "/v1/acl/token/x", "/v1/acl/token/", "GET", "x"); /* judged by its caller */
    const char *rest;
    bool redirect;
    const struct http_route *route = http_route_find("/v1/acl/token/x", "PUT", &rest, &redirect);
    assert_string_equal(http_route_methods(route, &arena), "OPTIONS,GET,PUT,DELETE");
    arena_clear(&arena);
}

static void a_suffix_is_part_of_the_path(void **state) {
    struct arena arena;
    (void)state;
    arena_init(&arena);
    finds("GET", "/v1/query/web/execute", "/v1/query/", "GET", "web/execute");
    finds("GET", "/v1/query/execute", "/v1/query/", "GET", "execute"); /* an id */
    finds("PUT", "/v1/query/web", "/v1/query/", "PUT", "web");
    const char *rest;
    bool redirect;
    const struct http_route *route =
        http_route_find("/v1/query/a/execute/execute", "PUT", &rest, &redirect);
    assert_string_equal(http_route_methods(route, &arena), "OPTIONS,GET");
    assert_string_equal(http_route_rest(route, rest, &arena), "a/execute");
    route = http_route_find("/v1/query/a", "PATCH", &rest, &redirect);
    assert_string_equal(http_route_methods(route, &arena), "OPTIONS,GET,PUT,DELETE");
    arena_clear(&arena);
}

static void rows_stand_together(void **state) {
    size_t count;
    const struct http_route *routes = http_routes(&count);
    (void)state;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = i + 1; j < count; j++) {
            if (strcmp(routes[i].pattern, routes[j].pattern) == 0) {
                assert_string_equal(routes[j - 1].pattern, routes[j].pattern);
            }
            if (strcmp(routes[i].pattern, routes[j].pattern) == 0 &&
                strcmp(str_or_empty(routes[i].suffix), str_or_empty(routes[j].suffix)) == 0) {
                assert_string_not_equal(routes[i].method, routes[j].method);
            }
        }
        assert_int_equal((routes[i].read != NULL) + (routes[i].call != NULL) +
                             (routes[i].local != NULL) + (routes[i].stream != NULL),
                         1);
    }
}

/* ---- the document ---- */

static const char *index_of(const struct http_route *route) {
    static const char *const names[WATCH_KIND_COUNT] = {
        [WATCH_NODES] = "nodes",
        [WATCH_SERVICES] = "services",
        [WATCH_CHECKS] = "checks",
        [WATCH_SERVICE] = "the service",
        [WATCH_NODE] = "the node",
        [WATCH_KEY] = "the keys",
        [WATCH_SESSION] = "sessions",
        [WATCH_NODE_SESSIONS] = "sessions",
        [WATCH_SESSIONS] = "sessions",
        [WATCH_COORDINATES] = "coordinates",
        [WATCH_COORDINATE] = "coordinates",
        [WATCH_QUERIES] = "queries",
        [WATCH_QUERY] = "queries",
        [WATCH_FAILOVERS] = "policies",
        [WATCH_FAILOVER] = "policies"};
    const char *name = route->read != NULL ? names[route->watch] : NULL;
    if (route->once) {
        return "none"; /* 1 */
    }
    return name != NULL ? name : route->read != NULL ? "other" : "";
}

/* The purpose that the document tells for the row with this beginning; "" when it has none. */
static const char *purpose_of(const char *text, const char *start, char *out, size_t size) {
    const char *row = strstr(text, start);
    snprintf(out, size, "%s", "");
    if (row != NULL) {
        row += strlen(start);
        const char *end = strchr(row, '|');
        if (end != NULL && end > row) {
            snprintf(out, size, "%.*s", (int)(end - row - 1), row);
        }
    }
    return out;
}

static bool row_of(const struct http_route *route, const char *text, char *out, size_t size) {
    char start[256], purpose[512];
    size_t length = strlen(route->pattern);
    snprintf(start, sizeof start, "| %s | `%s%s%s` | ", route->method, route->pattern,
             route->pattern[length - 1] == '/' ? ":name" : "", str_or_empty(route->suffix));
    purpose_of(text, start, purpose, sizeof purpose);
    if (*purpose == '\0') {
        print_message("docs/API.md does not say what %s is for\n", route->pattern);
    }
    snprintf(out, size, "%s%s | %s | %s | %s |\n", start, purpose,
             route->once           ? ""
             : route->read != NULL ? "index"
             : route->by_hash      ? "hash"
             : route->by_index     ? "equal"
             : route->stream       ? "stream"
                                   : "",
             route->filter != FILTER_NOTHING ? "yes" : "", index_of(route));
    return *purpose != '\0';
}

static void documentation(void **state) {
    static char text[128 * 1024], wanted[128 * 1024];
    size_t count, told = 0;
    const struct http_route *routes = http_routes(&count);
    (void)state;
    FILE *file = fopen(DOCUMENT, "r");
    assert_non_null(file);
    size_t size = fread(text, 1, sizeof text - 1, file);
    fclose(file);
    text[size] = '\0';
    const char *table = strstr(text, HEAD);
    assert_non_null(table);
    size_t used = (size_t)(table - text) + strlen(HEAD);
    memcpy(wanted, text, used);
    for (size_t i = 0; i < count; i++) {
        told += row_of(&routes[i], text, wanted + used, sizeof wanted - used);
        used += strlen(wanted + used);
    }
    if (getenv("CAIRN_REWRITE") != NULL) {
        file = fopen(DOCUMENT, "w");
        assert_non_null(file);
        fputs(wanted, file);
        fclose(file);
    } else {
        assert_string_equal(text, wanted); /* CAIRN_REWRITE=1 brings the rows up to date */
    }
    assert_int_equal(told, count); /* every row says what it is for */
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(longest_pattern_wins),
        cmocka_unit_test(a_path_has_a_row_for_each_method),
        cmocka_unit_test(a_suffix_is_part_of_the_path),
        cmocka_unit_test(rows_stand_together),
        cmocka_unit_test(documentation),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
