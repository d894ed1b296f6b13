/* Any text as a request: method, URI as it came, body. It goes the way of a request from its parts
 * to a route's handler, against a catalog with some of everything; writes are carried out, and then
 * every listing is read. Each JSON answer must be JSON, and the question by which a blocking query
 * is asked again must have the same answer.
 *
 *   METHOD SP URI LF BODY */
#include <stdatomic.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/decode.h"
#include "base/limits.h"
#include "http/request.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct backend backend;
static struct backend_live live = {.debug_config_json = "{}"};
static const struct backend_facts facts = {.node_name = "n1",
                                           .node_id = "00000000-0000-0000-0000-000000000001",
                                           .datacenter = "dc1",
                                           .version = "0",
                                           .build_date = "",
                                           .advertise_ip = "127.0.0.1",
                                           .leader_address = "127.0.0.1:8300",
                                           .config_json = "{}",
                                           .data_dir = "",
                                           .server = true};
static const struct backend_member self = {
    .name = "n1", .ip = "127.0.0.1", .port = 8301, .status = 1, .server = true};
static const struct backend_pool pool = {.members = &self, .count = 1};
static struct catalog *catalog;
static struct local *local;
static uint64_t applied;
static bool changed; /* since the rows were filled in */

static bool yes(void *context) {
    (void)context;
    return true;
}

static bool may_read(void *context, bool consistent) {
    (void)context;
    (void)consistent;
    return true;
}

static int64_t contact_ms(void *context) {
    (void)context;
    return 0;
}

static bool find_coordinate(void *context, bool wan, const char *member,
                            struct coordinate *ret_coordinate) {
    (void)context;
    (void)member;
    *ret_coordinate = coordinate_start();
    return wan;
}

static void get_pool_stats(void *context, bool wan, struct backend_pool_stats *ret_stats) {
    (void)context;
    (void)wan;
    *ret_stats = (struct backend_pool_stats){0};
}

static uint32_t get_servers(void *context, struct backend_server ret_servers[LIMIT_RAFT_SERVERS]) {
    (void)context;
    ret_servers[0] =
        (struct backend_server){.address = "127.0.0.1:8300", .leader = true, .voter = true};
    return 1;
}

static void get_stats(void *context, struct backend_stats *ret_stats) {
    (void)context;
    *ret_stats = (struct backend_stats){.leader = true, .role = "leader", .term = 1};
}

int LLVMFuzzerInitialize(int *argc, char ***argv) {
    (void)argc;
    (void)argv;
    static struct failover_source failover;
    backend = (struct backend){.epoch = epoch_create(),
                               .failover = &failover,
                               .facts = &facts,
                               .has_leader = yes,
                               .had_leader = yes,
                               .may_read = may_read,
                               .contact_ms = contact_ms,
                               .get_servers = get_servers,
                               .get_pool_stats = get_pool_stats,
                               .find_coordinate = find_coordinate,
                               .get_stats = get_stats};
    atomic_store(&backend.live, &live);
    atomic_store(&backend.lan, &pool);
    return 0;
}

/* ---- the state behind the handlers ---- */

static enum err apply(const struct catalog_command *command) {
    struct buf bytes;
    struct err_text text = {""};
    buf_init(&bytes, LIMIT_ENTRY_BYTES);
    codec_encode_command(command, &bytes);
    ASSERT(!bytes.failed);
    enum err err =
        catalog_apply(catalog, ++applied, (const uint8_t *)bytes.data, bytes.count, NULL, &text);
    ASSERT(err == ERR_OK || (err == ERR_REFUSED && text.s[0] != '\0'));
    catalog_publish(catalog);
    buf_clear(&bytes);
    return err;
}

static void fill(void) {
    static const char body[] =
        "{\"Node\":\"n1\",\"Address\":\"10.0.0.1\",\"NodeMeta\":{\"k\":\"v\"},\"Service\":{"
        "\"ID\":\"web-1\",\"Service\":\"web\",\"Tags\":[\"v1\",\"x\"],\"Port\":80},\"Checks\":[{"
        "\"CheckID\":\"c\",\"ServiceID\":\"web-1\",\"Status\":\"passing\"},{\"CheckID\":\"node\"}]"
        "}";
    static const char service[] =
        "{\"ID\":\"web-1\",\"Name\":\"web\",\"Checks\":[{\"TTL\":\"9s\"},{\"CheckID\":\"c\","
        "\"HTTP\":\"http://127.0.0.1/\",\"Interval\":\"9s\"}]}";
    struct arena arena;
    struct err_text text = {""};
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    struct service_definition definition = {0};
    const char *dc;
    catalog_destroy(catalog);
    local_destroy(local);
    applied = 0;
    backend.catalog = catalog = catalog_create(backend.epoch, NULL);
    backend.local = local = local_create(backend.epoch, "n1");
    arena_init(&arena);
    ASSERT(definition_parse_register(body, strlen(body), &arena, &command.reg, &dc, &text) ==
           ERR_OK);
    ASSERT(apply(&command) == ERR_OK);
    ASSERT(definition_parse_service(service, strlen(service), &arena, &definition, &text) ==
           ERR_OK);
    local_set_service(local, &definition, true);
    local_publish(local);
    arena_clear(&arena);
    changed = false;
}

static void carry_out(struct backend_call *call, struct arena *arena) {
    struct check_definition check;
    struct catalog_command command = {.kind = COMMAND_COORDINATES,
                                      .coordinates = {&call->coordinate, 1}};
    switch (call->kind) {
    case BACKEND_COORDINATE:
        apply(&command);
        break;
    case BACKEND_COMMAND:
        apply(&call->command);
        break;
    case BACKEND_SET_SERVICE:
        local_set_service(local, &call->set_service.definition, call->set_service.replace_checks);
        break;
    case BACKEND_REMOVE_SERVICE:
        local_remove_service(local, call->id);
        break;
    case BACKEND_SET_CHECK:
        local_set_check(local, &call->set_check, true);
        break;
    case BACKEND_REMOVE_CHECK:
        local_remove_check(local, call->id);
        break;
    case BACKEND_UPDATE_CHECK:
        local_update_check(local, call->update.id, call->update.status, call->update.output);
        break;
    case BACKEND_SET_MAINTENANCE:
        check = definition_make_maintenance(call->maintenance.service_id, call->maintenance.reason,
                                            arena);
        local_set_check(local, &check, true);
        break;
    case BACKEND_READ:
    case BACKEND_RENEW_SESSION:
    case BACKEND_FORWARD:
    case BACKEND_QUESTION:
    case BACKEND_FIRE_EVENT:
    case BACKEND_JOIN:
    case BACKEND_FORCE_LEAVE:
    case BACKEND_KEYRING:
    case BACKEND_OPERATOR:
    case BACKEND_SNAPSHOT:
    case BACKEND_RESTORE:
    case BACKEND_LEAVE:
    case BACKEND_RELOAD:
        return;
    }
    local_publish(local);
    changed = true;
}

/* ---- a request ---- */

static void check_json(const struct http_response *res, struct arena *arena) {
    static const struct decode_field field[] = {{.name = "x", .kind = DECODE_RAW}};
    static const struct decode_spec spec = {"wrapped", sizeof(char *), field, 1, false};
    const char *value = NULL;
    struct err_text text = {""};
    if (res->status != 200 || strcmp(res->content_type, "application/json") != 0 ||
        res->body.count == 0) {
        return;
    }
    const char *json = arena_format(arena, "{\"x\":%.*s}", (int)res->body.count, res->body.data);
    ASSERT(decode_json(&spec, DECODE_CONFIG, json, strlen(json), arena, &value, &text) == ERR_OK);
}

static void response_init(struct http_response *res) {
    *res = (struct http_response){.status = 200, .content_type = "application/json"};
    buf_init(&res->body, LIMIT_HTTP_ANSWER_BYTES);
}

/* As the agent does it: see http/dispatch.c. */
static void read(const struct http_route *route, struct http_request *req,
                 struct http_response *res) {
    struct http_query query;
    struct err_text text = {""};
    struct http_read read = {.view = catalog_view(catalog), .index = 1};
    enum err err = http_query_parse(req, 1000, 2000, &query, &text);
    if (err == ERR_OK) {
        ASSERT(query.wait_ms >= 0 && query.wait_ms <= 2000);
        err = http_filter_parse(req, route->filter, &text);
    }
    if (err == ERR_OK) {
        route->read(req, &read, res);
        err = filter_judge(req->filter, &text);
        ASSERT(read.index > 0);
    }
    if (err != ERR_OK) {
        ASSERT(text.s[0] != '\0');
        http_response_error(res, err, &text);
    }
}

static void answer_local(const struct http_route *route, struct http_request *req,
                         struct http_response *res) {
    struct err_text text = {""};
    int64_t wait_ms;
    http_query_parse_wait(req, 1000, 2000, &wait_ms, &text);
    /* These look at the process and the host. */
    if (strcmp(route->pattern, "/v1/agent/metrics") == 0 ||
        strcmp(route->pattern, "/v1/agent/host") == 0) {
        return;
    }
    if (http_filter_parse(req, route->filter, &text) == ERR_OK) {
        route->local(req, res);
    }
}

static struct http_request request_of(const char *method, const char *body, size_t size,
                                      struct arena *arena) {
    return (struct http_request){.method = method,
                                 .body = body,
                                 .body_size = size,
                                 .agent_node = facts.node_name,
                                 .datacenter = facts.datacenter,
                                 .client_ip = "",
                                 .arena = arena,
                                 .backend = &backend,
                                 .use_cache = true,
                                 .authz = {.token = ""}};
}

/* The worker asks a blocking query's question again from its text. */
static void check_question(const char *uri, const struct http_response *res, struct arena *arena) {
    struct http_request req = request_of("GET", "", 0, arena);
    struct http_response again;
    bool redirect;
    response_init(&again);
    const char *question = http_uri_question(uri, false, arena);
    ASSERT(http_uri_parse(question, arena, &req) == ERR_OK);
    req.new_line = http_request_has(&req, "pretty");
    req.pretty = req.new_line;
    const struct http_route *route = http_route_find(req.path, "GET", &req.rest, &redirect);
    ASSERT(route != NULL && route->read != NULL);
    read(route, &req, &again);
    if (res->status == 200) {
        ASSERT(again.status == 200 && again.body.count == res->body.count);
        ASSERT(memcmp(again.body.data, res->body.data, res->body.count) == 0);
    }
    buf_clear(&again.body);
}

static void ask(const char *method, const char *uri, const char *body, size_t size,
                struct arena *arena);

static void list_all(struct arena *arena) {
    static const char *const uris[] = {"/v1/catalog/nodes",       "/v1/catalog/services",
                                       "/v1/health/state/any",    "/v1/catalog/service/web",
                                       "/v1/health/service/web",  "/v1/catalog/node/n1",
                                       "/v1/agent/services",      "/v1/agent/checks?pretty",
                                       "/v1/agent/service/web-1", "/v1/health/node/n1"};
    for (size_t i = 0; i < sizeof uris / sizeof uris[0]; i++) {
        ask("GET", uris[i], "", 0, arena);
    }
}

static void ask(const char *method, const char *uri, const char *body, size_t size,
                struct arena *arena) {
    struct http_request req = request_of(method, body, size, arena);
    struct http_response res;
    struct err_text text = {""};
    bool redirect;
    if (http_uri_parse(uri, arena, &req) != ERR_OK || !http_path_printable(req.path)) {
        return;
    }
    const char *clean = http_path_clean(req.path, arena);
    if (clean != NULL) {
        ASSERT(clean[0] == '/' && http_path_clean(clean, arena) == NULL);
        for (const char *at = http_uri_encode(clean, false, arena); *at != '\0'; at++) {
            ASSERT(*at > 0x20 && *at < 0x7f && *at != '"' && *at != '<');
        }
        return;
    }
    req.new_line = http_request_has(&req, "pretty");
    req.pretty = req.new_line;
    const struct http_route *route = http_route_find(req.path, method, &req.rest, &redirect);
    if (route == NULL || redirect || strcmp(method, route->method) != 0 ||
        (route->missing != NULL && *req.rest == '\0') ||
        http_query_judge_tenancy(&req, &text) != ERR_OK) {
        return;
    }
    response_init(&res);
    epoch_enter(backend.epoch);
    struct backend_call *call = arena_alloc(arena, sizeof *call);
    bool called = false;
    if (route->read != NULL) {
        read(route, &req, &res);
        check_question(uri, &res, arena);
    } else if (route->local != NULL) {
        answer_local(route, &req, &res);
    } else if (route->stream != NULL) {
        struct http_stream_options options = {.metrics = false};
        route->stream(&req, &options, &res);
    } else {
        called = route->call(&req, call, &res);
        ASSERT(called || res.status >= 400);
    }
    check_json(&res, arena);
    buf_clear(&res.body);
    epoch_exit(backend.epoch);
    if (called) {
        carry_out(call, arena);
        list_all(arena);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    const uint8_t *line = memchr(data, '\n', size);
    const uint8_t *blank = line != NULL ? memchr(data, ' ', (size_t)(line - data)) : NULL;
    if (blank == NULL) {
        return 0;
    }
    if (catalog == NULL || changed) {
        fill();
    }
    arena_init(&arena);
    const char *method = arena_strndup(&arena, (const char *)data, (size_t)(blank - data));
    const char *uri = arena_strndup(&arena, (const char *)blank + 1, (size_t)(line - blank - 1));
    size_t body_size = size - (size_t)(line + 1 - data);
    char *relative = http_uri_relative(uri);
    char *body = malloc(body_size + 1); /* a terminator behind it, as bodies have */
    memcpy(body, line + 1, body_size);
    body[body_size] = '\0';
    ask(method, relative, body, body_size, &arena);
    free(body);
    free(relative);
    arena_clear(&arena);
    return 0;
}
