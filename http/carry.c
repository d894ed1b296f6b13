/* Requests that a server answers in this agent's place, and those that this server answers in
 * another's: whole requests and whole answers, so that all endpoints travel alike. */
#include <string.h>
#include <sys/epoll.h>

#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/server.h"

/* ---- passing on ---- */

/* Of another datacenter, in lower case; NULL: it is this agent's. */
static const char *far_datacenter(const struct http_request *req, const char *dc) {
    if (*dc == '\0' || str_equal_fold(dc, req->backend->facts->datacenter)) {
        return NULL;
    }
    char *lowered = arena_strdup(req->arena, dc);
    str_lower(lowered, strlen(dc) + 1, dc);
    return lowered;
}

const char *http_carry_where(const struct http_exchange *exchange, const struct http_request *req) {
    if (!http_route_travels(exchange->route)) {
        return NULL;
    }
    if (!req->backend->facts->server) {
        return ""; /* its server knows the way */
    }
    return exchange->route->dc_ignored ? NULL : far_datacenter(req, http_query_dc(req));
}

/* What a server needs to know of the request's headers, and of who asks: its connection is this
 * agent's. */
static struct str_map gather_headers(struct http_exchange *exchange,
                                     const struct http_request *req) {
    static const char *const names[] = {"Accept", "Authorization", "Cache-Control",
                                        "X-Consul-Token"};
    const size_t known = sizeof names / sizeof names[0];
    struct str_pair *v = arena_alloc(&exchange->arena, (known + 1) * sizeof *v);
    uint32_t count = 0;
    for (size_t i = 0; i < known; i++) {
        const char *value = http_exchange_header(exchange, names[i]);
        if (value != NULL) {
            v[count++] = (struct str_pair){names[i], value};
        }
    }
    if (*req->client_ip != '\0') {
        v[count++] = (struct str_pair){"X-Forwarded-For", req->client_ip};
    }
    return (struct str_map){.v = v, .count = count, .present = true};
}

/* `near=_agent` means the agent that the client asked, which this is; a server that waits for an
 * answer knows the question alone. The first of several counts, however it is written: params are
 * what the parts of the query say. */
static const char *name_agent(const char *target, const struct http_request *req,
                              struct arena *arena) {
    const char *at = strchr(target, '?');
    for (unsigned i = 0; at != NULL && i < req->param_count; i++) {
        at += 1 + strspn(at + 1, "&");
        const char *end = at + strcspn(at, "&");
        if (strcmp(req->params[i].name, "near") == 0) {
            if (strcmp(req->params[i].value, "_agent") != 0) {
                return target;
            }
            struct buf name;
            buf_init(&name, 4 * LIMIT_NAME_BYTES);
            for (const char *c = req->agent_node; *c != '\0'; c++) {
                buf_append_format(&name, "%%%02X", (unsigned char)*c);
            }
            const char *named = arena_format(arena, "%.*snear=%.*s%s", (int)(at - target), target,
                                             (int)name.count, name.count > 0 ? name.data : "", end);
            buf_clear(&name);
            return named;
        }
        at = end;
    }
    return target;
}

/* How long the server may wait before it answers, with its jitter. */
static int64_t waiting_ms(const struct http_exchange *exchange, const struct http_request *req) {
    const struct http_config *config = &exchange->server->config;
    const char *index = str_or_empty(http_request_param(req, "index"));
    int64_t wait_ms = 0;
    if (strspn(index, "0") == strlen(index) ||
        http_query_parse_wait(req, config->query_wait_default_ms, LIMIT_QUERY_WAIT_MAX_MS, &wait_ms,
                              NULL) != ERR_OK) {
        return 0;
    }
    return wait_ms + wait_ms / LIMIT_QUERY_JITTER_FRACTION;
}

/* What this agent's configuration says goes along: the server's may say something else. */
const char *http_carry_target(struct http_exchange *exchange, const struct http_request *req) {
    struct arena *arena = &exchange->arena;
    const char *target = name_agent(exchange->uri, req, arena);
    if (exchange->carried != NULL) {
        return target; /* it says so already, if it has to */
    }
    if (exchange->server->config.translate_wan && far_datacenter(req, http_query_dc(req)) != NULL) {
        target = arena_format(arena, "%s&%s", target, HTTP_TRANSLATE);
    }
    int64_t stale_ms = exchange->route->read != NULL ? http_query_default_stale_ms(req) : 0;
    if (stale_ms > 0) {
        target = arena_format(arena, "%s%cmax_stale=%lldms", target,
                              strchr(target, '?') != NULL ? '&' : '?', (long long)stale_ms);
    }
    return target;
}

bool http_carry_prepare(struct http_exchange *exchange, const struct http_request *req,
                        const char *datacenter, struct http_response *res) {
    unsigned hops = exchange->carried != NULL ? exchange->carried->hops : 0;
    if (hops >= LIMIT_CARRY_HOPS) {
        http_response_text(res, 500, "No path to datacenter");
        return false;
    }
    if (req->body_size > LIMIT_CARRY_BODY_BYTES) {
        http_response_text(res, 413, "Request body too large to be passed on, max size: %d bytes.",
                           LIMIT_CARRY_BODY_BYTES);
        return false;
    }
    struct backend_call *call = arena_alloc(&exchange->arena, sizeof *call);
    memset(call, 0, sizeof *call);
    call->kind = BACKEND_FORWARD;
    call->forward.datacenter = datacenter;
    call->forward.method = arena_strdup(&exchange->arena, req->method);
    call->forward.target = http_carry_target(exchange, req);
    call->forward.node = req->agent_node;
    call->forward.headers = gather_headers(exchange, req);
    call->forward.body = req->body;
    call->forward.body_size = req->body_size;
    call->forward.hops = hops;
    call->forward.repeatable = strcmp(req->method, "GET") == 0;
    call->forward.answer_ms = waiting_ms(exchange, req);
    call->forward.mirrored =
        call->forward.answer_ms == 0 && http_mirror_may_answer(exchange->route, req, datacenter);
    exchange->call = call;
    return true;
}

bool http_carry_wanted(const struct http_request *req, struct backend_call *call, const char *dc) {
    const char *far = far_datacenter(req, dc);
    if (far != NULL) {
        *call = (struct backend_call){.kind = BACKEND_FORWARD, .forward = {.datacenter = far}};
    }
    return far != NULL;
}

static void watch(struct http_exchange *exchange, int what) {
    struct epoll_event event = {.events = EPOLLRDHUP, .data.ptr = exchange};
    if (exchange->fd >= 0) {
        epoll_ctl(exchange->server->hang_up_epoll, what, exchange->fd, &event);
    }
}

static void forward_done(struct backend_call *call) {
    struct http_exchange *exchange = call->context;
    if (exchange->forwarded) {
        exchange->forwarded = false;
        watch(exchange, EPOLL_CTL_DEL);
    }
    http_exchange_resume(exchange, exchange->gone ? EXCHANGE_ABORTED : EXCHANGE_CALL_DONE);
}

static void forward(struct loop_task *task) {
    struct http_exchange *exchange = CONTAINER_OF(task, struct http_exchange, task);
    struct http_server *server = exchange->server;
    struct backend_call *call = exchange->call;
    call->done = forward_done;
    call->context = exchange;
    if (atomic_load(&server->stopping) || exchange->gone) {
        call->err = err_set(&call->text, ERR_CLOSED, "the agent stops");
        forward_done(call);
        return;
    }
    exchange->forwarded = true;
    watch(exchange, EPOLL_CTL_ADD);
    server->backend->submit(server->backend->context, call);
}

void http_carry_post(struct http_exchange *exchange) {
    exchange->task.run = forward;
    loop_post(exchange->server->core, &exchange->task);
}

void http_carry_hung_up(struct http_exchange *exchange) {
    const struct backend *backend = exchange->server->backend;
    exchange->gone = true;
    exchange->forwarded = false;
    watch(exchange, EPOLL_CTL_DEL);
    backend->cancel(backend->context, exchange->call);
}

/* ---- answering for others ---- */

/* Core's thread. */
static void finish(struct loop_task *task) {
    struct http_exchange *exchange = CONTAINER_OF(task, struct http_exchange, task);
    struct http_carried *carried = exchange->carried;
    struct http_server *server = exchange->server;
    struct str_map headers = {.count = 0};
    struct http_answer *answer = exchange->answer;
    if (answer != NULL) {
        headers = http_answer_headers(server, answer, &exchange->arena);
    }
    server->carried--;
    carried->done(carried, answer != NULL ? answer->status : 0, &headers,
                  answer != NULL ? answer->body : "", answer != NULL ? answer->body_size : 0);
    http_exchange_free(exchange);
}

/* False: it is to be finished with the answer that there is. */
static bool park(struct http_exchange *exchange, enum http_verdict verdict) {
    struct http_server *server = exchange->server;
    bool stopping;
    if (!http_exchange_take_place(server, &stopping)) {
        http_exchange_overload(exchange);
        return false;
    }
    exchange->state = EXCHANGE_PARKED;
    if (verdict == HTTP_PARK_WAIT) {
        http_wait_post(exchange);
    } else if (exchange->call->kind == BACKEND_FORWARD) {
        http_carry_post(exchange);
    } else {
        exchange->call->done = http_exchange_call_done;
        exchange->call->context = exchange;
        server->backend->submit(server->backend->context, exchange->call);
    }
    return true;
}

/* On a worker. */
static void step(struct http_work *work) {
    struct http_exchange *exchange = CONTAINER_OF(work, struct http_exchange, work);
    if (exchange->state != EXCHANGE_ABORTED) {
        enum http_verdict verdict = http_exchange_step(exchange, exchange->carried->method);
        if (verdict != HTTP_ANSWERED && park(exchange, verdict)) {
            return; /* it is the core's */
        }
    }
    exchange->task.run = finish;
    loop_post(exchange->server->core, &exchange->task);
}

void http_carry_resume(struct http_exchange *exchange) {
    exchange->work.run = step;
    http_server_work(exchange->server, &exchange->work);
}

void http_server_carry(struct http_server *server, struct http_carried *carried) {
    struct http_exchange *exchange = mem_calloc(1, sizeof *exchange);
    carried->exchange = exchange;
    exchange->server = server;
    exchange->carried = carried;
    exchange->begun_at_ns = metrics_clock_ns();
    exchange->uri = mem_strdup(carried->target);
    exchange->fd = -1;
    buf_init(&exchange->body, LIMIT_HTTP_UPLOAD_BYTES);
    buf_append(&exchange->body, carried->body, carried->body_size);
    size_t held = exchange->body.capacity + atomic_fetch_add_explicit(&server->bodies_bytes,
                                                                      exchange->body.capacity,
                                                                      memory_order_relaxed);
    exchange->overloaded = carried->body_size > 0 && held > LIMIT_HTTP_BODIES_BYTES;
    arena_init(&exchange->arena);
    server->carried++;
    http_carry_resume(exchange);
}

void http_carried_give_up(struct http_carried *carried) {
    struct http_exchange *exchange = carried->exchange;
    exchange->gone = true;
    if (exchange->waits) {
        http_wait_abort(exchange);
    } else if (exchange->forwarded) {
        http_carry_hung_up(exchange);
    }
}
