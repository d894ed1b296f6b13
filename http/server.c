#include "http/server.h"

#include <errno.h>
#include <fcntl.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "http/gzip.h"
#include "net/addr.h"

#define LISTENER_NAME_BYTES 128 /* the longest is a socket's path */

struct http_daemon {
    struct MHD_Daemon *mhd;
    int listening; /* closed by the library, when the daemon is stopped */
};

/* ---- answers ---- */

/* What an answer's bytes count for, until the library has let go of them. */
struct held {
    struct http_server *server;
    char *data;
    size_t size;
};

static void release(void *context) {
    struct held *held = context;
    atomic_fetch_sub_explicit(&held->server->answers_bytes, held->size, memory_order_relaxed);
    free(held->data);
    free(held);
}

/* Takes data. */
static struct MHD_Response *hold(struct http_server *server, char *data, size_t size) {
    struct held *held = mem_alloc(sizeof *held);
    *held = (struct held){server, data, size};
    atomic_fetch_add_explicit(&server->answers_bytes, size, memory_order_relaxed);
    struct MHD_Response *response =
        MHD_create_response_from_buffer_with_free_callback_cls(size, data, release, held);
    ASSERT(response != NULL);
    return response;
}

/* With one that is not yet written there may be more by one answer, and by no further one. */
bool http_answer_fits(struct http_server *server, size_t size) {
    size_t held = atomic_load_explicit(&server->answers_bytes, memory_order_relaxed);
    return size == 0 ? held <= LIMIT_HTTP_ANSWERS_BYTES
                     : held + size <= LIMIT_HTTP_ANSWERS_BYTES + LIMIT_HTTP_ANSWER_BYTES;
}

static struct MHD_Response *library_response(const struct http_answer *answer) {
    return (struct MHD_Response *)answer->prepared;
}

static enum MHD_Result copy_header(void *context, enum MHD_ValueKind kind, const char *name,
                                   const char *value) {
    (void)kind;
    return MHD_add_response_header(context, name, value);
}

/* The same answer with its body compressed; the answer itself when that fails. Several threads may
 * come here at once with one answer: the first to finish wins. */
static struct MHD_Response *compressed_response(struct http_server *server,
                                                struct http_answer *answer) {
    struct http_prepared *known = atomic_load(&answer->compressed);
    char *data = NULL;
    size_t size = 0;
    if (known != NULL) {
        return (struct MHD_Response *)known;
    }
    if (!http_gzip(answer->body, answer->body_size, &data, &size)) {
        return library_response(answer);
    }
    struct MHD_Response *response = hold(server, data, size);
    MHD_get_response_headers(library_response(answer), copy_header, response);
    MHD_add_response_header(response, "Content-Encoding", "gzip");
    if (atomic_compare_exchange_strong(&answer->compressed, &known,
                                       (struct http_prepared *)response)) {
        return response;
    }
    MHD_destroy_response(response);
    return (struct MHD_Response *)known;
}

static void add(struct MHD_Response *response, const char *name, const char *value) {
    ASSERT(MHD_add_response_header(response, name, value) == MHD_YES);
}

/* One that the library does not take, such as a second Content-Length, is left out. */
static void add_configured(struct MHD_Response *response, const struct str_map *headers) {
    for (uint32_t i = 0; i < headers->count; i++) {
        MHD_add_response_header(response, headers->v[i].key, headers->v[i].value);
    }
}

static void add_meta(struct MHD_Response *response, const struct http_meta *meta) {
    char index[24], contact[24];
    snprintf(index, sizeof index, "%llu", (unsigned long long)(meta->index ? meta->index : 1));
    add(response, "X-Consul-Index", index);
    add(response, "X-Consul-KnownLeader", meta->known_leader ? "true" : "false");
    snprintf(contact, sizeof contact, "%lld", (long long)meta->contact_ms);
    add(response, "X-Consul-LastContact", contact);
    if (meta->consistency != NULL) {
        add(response, "X-Consul-Effective-Consistency", meta->consistency);
    }
    add(response, "X-Consul-Query-Backend", "blocking-query");
}

struct http_answer *http_answer_create(struct http_server *server, struct http_response *res,
                                       const struct http_meta *meta) {
    struct http_answer *answer = mem_calloc(1, sizeof *answer);
    size_t size = 0;
    char *body = buf_take(&res->body, &size);
    ASSERT(body != NULL);
    atomic_init(&answer->references, 1);
    answer->status = res->status;
    answer->may_wait = res->status == 200 || res->absent;
    answer->index = meta != NULL && meta->present ? meta->index : 0;
    answer->body = body;
    answer->body_size = size;
    struct MHD_Response *response = hold(server, body, size);
    answer->prepared = (struct http_prepared *)response;
    if (res->content_type != NULL) {
        add(response, "Content-Type", res->content_type);
    }
    if (!res->no_endpoint) {
        add(response, "Vary", "Accept-Encoding");
        add(response, "X-Consul-Default-ACL-Policy", "allow");
    }
    add_configured(response, &server->config.response_headers);
    for (unsigned i = 0; i < res->header_count; i++) {
        add(response, res->headers[i].name, res->headers[i].value);
    }
    if (meta != NULL && meta->present) {
        add_meta(response, meta);
    }
    return answer;
}

struct gathering {
    const struct http_server *server;
    struct arena *arena;
    struct str_pair v[HTTP_ANSWER_HEADERS_MAX];
    uint32_t count;
};

static enum MHD_Result gather_header(void *context, enum MHD_ValueKind kind, const char *name,
                                     const char *value) {
    struct gathering *all = context;
    (void)kind;
    if (all->count < HTTP_ANSWER_HEADERS_MAX &&
        str_map_get(&all->server->config.response_headers, name) == NULL) {
        all->v[all->count++] = (struct str_pair){name, value};
    }
    return MHD_YES;
}

struct str_map http_answer_headers(const struct http_server *server,
                                   const struct http_answer *answer, struct arena *arena) {
    struct gathering all = {.server = server};
    MHD_get_response_headers(library_response(answer), gather_header, &all);
    struct str_pair *v = arena_alloc(arena, (all.count + 1) * sizeof *v);
    memcpy(v, all.v, all.count * sizeof *v);
    return (struct str_map){.v = v, .count = all.count, .present = true};
}

struct http_answer *http_answer_carried(struct http_server *server,
                                        const struct backend_reply *reply, char *body,
                                        size_t size) {
    struct http_answer *answer = mem_calloc(1, sizeof *answer);
    atomic_init(&answer->references, 1);
    answer->status = reply->status;
    answer->body = body;
    answer->body_size = size;
    struct MHD_Response *response = hold(server, body, size);
    answer->prepared = (struct http_prepared *)response;
    for (uint32_t i = 0; i < reply->header_count; i++) { /* what the library refuses is left out */
        const char *name = reply->headers[i].key;
        bool of_cache = strcmp(name, "X-Cache") == 0 || strcmp(name, "Age") == 0;
        if (!of_cache || server->config.use_cache) { /* the server's own may be in use */
            MHD_add_response_header(response, name, reply->headers[i].value);
        }
    }
    add_configured(response, &server->config.response_headers);
    return answer;
}

struct http_answer *http_answer_share(struct http_answer *answer) {
    atomic_fetch_add_explicit(&answer->references, 1, memory_order_relaxed);
    return answer;
}

void http_answer_drop(struct http_answer *answer) {
    if (answer != NULL &&
        atomic_fetch_sub_explicit(&answer->references, 1, memory_order_acq_rel) == 1) {
        struct MHD_Response *compressed = (struct MHD_Response *)atomic_load(&answer->compressed);
        if (compressed != NULL) {
            MHD_destroy_response(compressed);
        }
        MHD_destroy_response(library_response(answer));
        free(answer);
    }
}

uint64_t http_answer_hash(struct http_answer *answer) {
    if (answer->hash == 0) {
        uint64_t hash = hash_bytes((uint64_t)answer->status, answer->body, answer->body_size);
        answer->hash = hash != 0 ? hash : 1;
    }
    return answer->hash;
}

/* ---- exchanges ---- */

static struct http_connection *connection_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_SOCKET_CONTEXT);
    return info != NULL ? info->socket_context : NULL;
}

static void drop_body(struct http_exchange *exchange) {
    atomic_fetch_sub_explicit(&exchange->server->bodies_bytes, exchange->body.capacity,
                              memory_order_relaxed);
    buf_clear(&exchange->body);
}

static int socket_of(struct MHD_Connection *connection) {
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    return info != NULL ? info->connect_fd : -1;
}

void http_exchange_free(struct http_exchange *exchange) {
    if (exchange != NULL) {
        http_stream_close(exchange);
        if (exchange->resumed) {
            atomic_fetch_sub(&exchange->server->unsent, 1);
        }
        http_answer_drop(exchange->answer);
        if (exchange->call != NULL) {
            catalog_result_clear(&exchange->call->result);
            free(exchange->call->answer);
            if (exchange->call->kind == BACKEND_FORWARD) {
                free(exchange->call->forward.reply);
            }
        }
        drop_body(exchange);
        arena_clear(&exchange->arena);
        free(exchange->uri);
        free(exchange);
    }
}

static void *on_uri(void *context, const char *uri, struct MHD_Connection *connection) {
    struct http_connection *owner = connection_of(connection);
    struct http_exchange *exchange = mem_calloc(1, sizeof *exchange);
    ASSERT(owner != NULL);
    http_exchange_free(owner->exchange);
    owner->exchange = exchange;
    http_deadline_set(&owner->deadline, HTTP_PHASE_REQUEST);
    exchange->server = context;
    exchange->owner = owner;
    exchange->connection = connection;
    exchange->refused = owner->refused;
    exchange->uri = http_uri_relative(uri);
    exchange->fd = -1;
    buf_init(&exchange->body, str_starts_with(exchange->uri, "/v1/snapshot")
                                  ? LIMIT_HTTP_UPLOAD_BYTES
                                  : LIMIT_HTTP_BODY_BYTES);
    arena_init(&exchange->arena);
    return exchange;
}

static void on_completed(void *context, struct MHD_Connection *connection, void **con_cls,
                         enum MHD_RequestTerminationCode code) {
    struct http_connection *owner = connection_of(connection);
    (void)context;
    (void)code;
    if (*con_cls != NULL) {
        http_exchange_free(*con_cls);
        *con_cls = NULL;
        if (owner != NULL) {
            owner->exchange = NULL;
            http_deadline_set(&owner->deadline, HTTP_PHASE_IDLE);
        }
    }
}

const char *http_exchange_header(struct http_exchange *exchange, const char *name) {
    if (exchange->carried != NULL) {
        return str_map_get(&exchange->carried->headers, name);
    }
    return MHD_lookup_connection_value(exchange->connection, MHD_HEADER_KIND, name);
}

const char *http_exchange_client_ip(struct http_exchange *exchange) {
    if (exchange->carried != NULL) {
        return ""; /* the agent that the client asked has not told it */
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    struct addr addr;
    char text[ADDR_TEXT_BYTES] = "";
    if (info != NULL && info->client_addr != NULL) {
        bool v6 = info->client_addr->sa_family == AF_INET6;
        memcpy(&addr, info->client_addr, v6 ? sizeof addr.v6 : sizeof addr.v4);
        addr_format_ip(&addr, text);
    }
    return arena_strdup(&exchange->arena, text);
}

bool http_exchange_may_write(struct http_exchange *exchange) {
    const struct http_config *config = &exchange->server->config;
    if (exchange->carried != NULL) {
        return true; /* the agent that the client asked has judged it */
    }
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(exchange->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    bool known = info != NULL && info->client_addr != NULL;
    for (unsigned i = 0; known && i < config->write_from_count; i++) {
        if (cidr_contains(&config->write_from[i], info->client_addr)) {
            return true;
        }
    }
    return config->write_from_count == 0;
}

void http_exchange_resume(struct http_exchange *exchange, enum http_state state) {
    exchange->state = state;
    exchange->resume_next = exchange->server->resume;
    exchange->server->resume = exchange;
}

void http_exchange_call_done(struct backend_call *call) {
    http_exchange_resume(call->context, EXCHANGE_CALL_DONE);
}

static enum MHD_Result send_answer(struct http_exchange *exchange) {
    if (exchange->refused) {
        MHD_add_response_header(library_response(exchange->answer), "Connection", "close");
    }
    struct MHD_Response *response = library_response(exchange->answer);
    if (exchange->answer->body_size >= LIMIT_HTTP_GZIP_BYTES_MIN &&
        exchange->answer->body_size <= LIMIT_HTTP_GZIP_BYTES_MAX) {
        const char *accepted = http_exchange_header(exchange, "Accept-Encoding");
        if (accepted != NULL && http_gzip_accepted(accepted)) {
            response = compressed_response(exchange->server, exchange->answer);
        }
    }
    http_deadline_set(&exchange->owner->deadline, HTTP_PHASE_ANSWER);
    enum MHD_Result result =
        MHD_queue_response(exchange->connection, (unsigned)exchange->answer->status, response);
    if (exchange->route != NULL) {
        http_timings_note(exchange->server->timings, exchange->route, exchange->answer->status,
                          exchange->begun_at_ns);
    }
    http_answer_drop(exchange->answer);
    exchange->answer = NULL;
    return result;
}

void http_exchange_overload(struct http_exchange *exchange) {
    struct http_response res = {.status = 0};
    struct err_text text = {"too many requests are waiting at this agent"};
    buf_init(&res.body, ERR_TEXT_BYTES);
    http_response_error(&res, ERR_OVERLOADED, &text);
    exchange->answer = http_answer_create(exchange->server, &res, NULL);
}

bool http_exchange_take_place(struct http_server *server, bool *ret_stopping) {
    size_t parked = atomic_fetch_add(&server->parked, 1);
    *ret_stopping = atomic_load(&server->stopping);
    if (*ret_stopping || parked >= LIMIT_HTTP_PENDING) {
        atomic_fetch_sub(&server->parked, 1);
        return false;
    }
    return true;
}

/* What a stream sends next. With nothing to send the connection is the core's until there is. */
static ssize_t read_stream(void *context, uint64_t position, char *out, size_t size) {
    struct http_exchange *exchange = context;
    bool stopping;
    (void)position;
    size_t used = http_stream_take(exchange->stream, out, size);
    if (used > 0) {
        return (ssize_t)used;
    }
    if (exchange->state == EXCHANGE_ABORTED ||
        !http_exchange_take_place(exchange->server, &stopping)) {
        return MHD_CONTENT_READER_END_OF_STREAM;
    }
    exchange->state = EXCHANGE_PARKED;
    MHD_suspend_connection(exchange->connection);
    http_stream_post(exchange);
    return 0;
}

static enum MHD_Result start_stream(struct http_exchange *exchange) {
    struct MHD_Response *response = MHD_create_response_from_callback(
        MHD_SIZE_UNKNOWN, LIMIT_HTTP_STREAM_BLOCK_BYTES, read_stream, exchange, NULL);
    ASSERT(response != NULL);
    add(response, "Content-Type", http_stream_type(exchange->stream));
    add(response, "Vary", "Accept-Encoding");
    add(response, "X-Consul-Default-ACL-Policy", "allow");
    add_configured(response, &exchange->server->config.response_headers);
    http_deadline_set(&exchange->owner->deadline, HTTP_PHASE_WAITING);
    exchange->state = EXCHANGE_STREAMING;
    exchange->fd = exchange->owner->deadline.fd;
    enum MHD_Result result = MHD_queue_response(exchange->connection, MHD_HTTP_OK, response);
    MHD_destroy_response(response);
    return result;
}

/* Suspends first, so that the core may resume at any moment after the hand-over. */
static enum MHD_Result park(struct http_exchange *exchange, enum http_verdict verdict) {
    struct http_server *server = exchange->server;
    bool stopping;
    if (!http_exchange_take_place(server, &stopping)) {
        if (stopping) {
            return MHD_NO;
        }
        http_exchange_overload(exchange);
        return send_answer(exchange);
    }
    if (verdict == HTTP_PARK_WAIT) {
        drop_body(exchange); /* a read's, which nobody looks at */
    }
    http_deadline_set(&exchange->owner->deadline, HTTP_PHASE_WAITING);
    exchange->state = EXCHANGE_PARKED;
    MHD_suspend_connection(exchange->connection);
    if (verdict == HTTP_PARK_WAIT) {
        exchange->fd = exchange->owner->deadline.fd;
        http_wait_post(exchange);
    } else if (exchange->call->kind == BACKEND_FORWARD) {
        exchange->fd = exchange->call->forward.answer_ms > 0 ? exchange->owner->deadline.fd : -1;
        http_carry_post(exchange);
    } else {
        exchange->call->done = http_exchange_call_done;
        exchange->call->context = exchange;
        server->backend->submit(server->backend->context, exchange->call);
    }
    return MHD_YES;
}

enum http_verdict http_exchange_step(struct http_exchange *exchange, const char *method) {
    if (exchange->state == EXCHANGE_ANSWERED) {
        return HTTP_ANSWERED;
    }
    if (exchange->state == EXCHANGE_CALL_DONE) {
        if (exchange->call->kind != BACKEND_READ) {
            exchange->answer = http_call_answer(exchange);
            return HTTP_ANSWERED;
        }
        exchange->current = exchange->call->err == ERR_OK;
        exchange->unled = !exchange->current;
        exchange->call = NULL;
        exchange->state = EXCHANGE_READING;
    }
    return http_dispatch(exchange, method);
}

static enum MHD_Result go_on(struct http_exchange *exchange, const char *method) {
    if (exchange->state == EXCHANGE_STREAMING || exchange->state == EXCHANGE_PARKED ||
        exchange->state == EXCHANGE_ABORTED) {
        return MHD_NO;
    }
    enum http_verdict verdict = http_exchange_step(exchange, method);
    return verdict == HTTP_ANSWERED ? send_answer(exchange)
           : verdict == HTTP_STREAM ? start_stream(exchange)
                                    : park(exchange, verdict);
}

static bool declares_too_much(struct http_exchange *exchange) {
    uint64_t bytes = 0;
    const char *length = http_exchange_header(exchange, "Content-Length");
    return length != NULL && str_parse_u64(length, &bytes) && bytes > LIMIT_HTTP_UPLOAD_BYTES;
}

/* Keeps it, unless this body is too large, or all of them are: then it is read and dropped, because
 * a client that still sends does not look for an answer. */
static void take_upload(struct http_exchange *exchange, const char *upload, size_t size) {
    struct http_server *server = exchange->server;
    size_t before = exchange->body.capacity;
    if (exchange->too_large || exchange->overloaded) {
        return;
    }
    buf_append(&exchange->body, upload, size);
    size_t grown = exchange->body.capacity - before;
    size_t held =
        grown + atomic_fetch_add_explicit(&server->bodies_bytes, grown, memory_order_relaxed);
    exchange->too_large = exchange->body.failed;
    exchange->overloaded = grown > 0 && held > LIMIT_HTTP_BODIES_BYTES;
    if (exchange->too_large || exchange->overloaded) {
        drop_body(exchange);
    }
}

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **con_cls) {
    struct http_exchange *exchange = *con_cls;
    (void)context;
    (void)connection;
    (void)url;
    (void)version;
    if (!exchange->started) {
        exchange->started = true;
        exchange->begun_at_ns = metrics_clock_ns();
        /* An answer in this first call closes the connection: only for what nobody would read. */
        exchange->too_large = declares_too_much(exchange);
        return exchange->too_large ? go_on(exchange, method) : MHD_YES;
    }
    if (*upload_size > 0) {
        exchange->uploaded_bytes += *upload_size;
        take_upload(exchange, upload, *upload_size);
        *upload_size = 0;
        return exchange->uploaded_bytes > LIMIT_HTTP_UPLOAD_BYTES ? MHD_NO : MHD_YES;
    }
    return go_on(exchange, method);
}

static void on_connection(void *context, struct MHD_Connection *connection, void **socket_context,
                          enum MHD_ConnectionNotificationCode code) {
    struct http_server *server = context;
    struct http_connection *owner = *socket_context;
    const union MHD_ConnectionInfo *info =
        MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    const struct sockaddr *address = info != NULL ? info->client_addr : NULL;
    if (code == MHD_CONNECTION_NOTIFY_STARTED) {
        owner = mem_calloc(1, sizeof *owner);
        owner->refused = address != NULL && !http_clients_opened(server->clients, address);
        *socket_context = owner;
        http_deadline_open(server->deadlines, &owner->deadline, socket_of(connection));
        if (owner->refused) { /* its first request is answered 429; without one it ends soon */
            MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT,
                                      (unsigned)LIMIT_HTTP_REFUSED_IDLE_S);
        }
        return;
    }
    if (address != NULL) {
        http_clients_closed(server->clients, address);
    }
    http_deadline_close(server->deadlines, &owner->deadline);
    http_exchange_free(owner->exchange);
    free(owner);
    *socket_context = NULL;
}

/* ---- life ---- */

/* Connections that one listen address may hold: what the process may open, less what Raft, disk,
 * checks and DNS need, in equal parts. */
static unsigned connection_limit(unsigned listeners) {
    const rlim_t others = LIMIT_DESCRIPTORS_KEPT + LIMIT_CHECK_RUNS + LIMIT_DNS_TCP_CONNECTIONS;
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0) {
        return LIMIT_DESCRIPTORS_KEPT;
    }
    rlim_t most = limit.rlim_cur > 2 * others ? limit.rlim_cur - others : limit.rlim_cur / 2;
    most /= listeners;
    return most > LIMIT_HTTP_PENDING * 10 ? LIMIT_HTTP_PENDING * 10 : (unsigned)most;
}

/* Accepted sockets take it over: a host that dies says nothing. */
static void keep_alive(int fd) {
    const int on = 1, seconds = LIMIT_HTTP_KEEP_ALIVE_S, probes = LIMIT_HTTP_KEEP_ALIVE_PROBES;
    setsockopt(fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof on);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPIDLE, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPINTVL, &seconds, sizeof seconds);
    setsockopt(fd, IPPROTO_TCP, TCP_KEEPCNT, &probes, sizeof probes);
}

/* Takes the listening socket. */
static bool start_daemon(struct http_server *server, int fd, bool v6, const char *name,
                         const char *network, struct err_text *text) {
    unsigned flags = MHD_USE_EPOLL_INTERNAL_THREAD | MHD_ALLOW_SUSPEND_RESUME | MHD_USE_TURBO |
                     (v6 ? MHD_USE_IPv6 : 0u);
    struct MHD_Daemon *mhd = MHD_start_daemon(
        flags, 0, NULL, NULL, on_request, server, MHD_OPTION_LISTEN_SOCKET, fd,
        MHD_OPTION_THREAD_POOL_SIZE, server->config.threads, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)LIMIT_HTTP_POOL_BYTES, MHD_OPTION_CONNECTION_LIMIT,
        connection_limit(server->config.listen_count + server->config.path_count),
        MHD_OPTION_THREAD_STACK_SIZE, (size_t)LIMIT_HTTP_STACK_BYTES, MHD_OPTION_URI_LOG_CALLBACK,
        on_uri, server, MHD_OPTION_NOTIFY_COMPLETED, on_completed, server,
        MHD_OPTION_NOTIFY_CONNECTION, on_connection, server, MHD_OPTION_END);
    if (mhd == NULL) {
        close(fd);
        err_set(text, ERR_IO, "cannot serve HTTP at %s", name);
        return false;
    }
    server->daemons[server->daemon_count++] = (struct http_daemon){.mhd = mhd, .listening = fd};
    log_write(server->log, LOG_INFO, "agent",
              "Starting server: address=%s network=%s protocol=http", name, network);
    return true;
}

/* A socket that listens, and what it is called. */
struct listener {
    int fd;
    bool v6;
    const char *network;
    char name[LISTENER_NAME_BYTES];
};

static bool bind_all(const struct http_config *config, struct listener *listeners,
                     struct http_server *server, struct err_text *text) {
    for (unsigned i = 0; i < config->listen_count; i++) {
        struct listener *at = &listeners[i];
        at->network = "tcp";
        at->v6 = config->listen[i].any.sa_family == AF_INET6;
        addr_format(&config->listen[i], at->name);
        at->fd = addr_bind(&config->listen[i], SOCK_STREAM, false, text);
        if (at->fd < 0) {
            return false;
        }
        keep_alive(at->fd);
    }
    for (unsigned i = 0; i < config->path_count; i++) {
        struct listener *at = &listeners[config->listen_count + i];
        at->network = "unix";
        snprintf(at->name, sizeof at->name, "%s", config->paths[i].path);
        at->fd = path_socket_listen(&config->paths[i], text);
        if (at->fd < 0) {
            return false;
        }
        server->paths_bound++;
    }
    return true;
}

/* All sockets before any daemon: from the first daemon on requests may be parked. */
static bool listen_all(struct http_server *server, struct err_text *text) {
    const struct http_config *config = &server->config;
    unsigned count = config->listen_count + config->path_count, started = 0;
    struct listener *listeners = mem_calloc(count + 1, sizeof *listeners);
    for (unsigned i = 0; i < count; i++) {
        listeners[i].fd = -1;
    }
    bool good = bind_all(config, listeners, server, text);
    while (good && started < count) {
        const struct listener *at = &listeners[started++];
        good = start_daemon(server, at->fd, at->v6, at->name, at->network, text);
    }
    for (unsigned i = started; i < count; i++) {
        if (listeners[i].fd >= 0) {
            close(listeners[i].fd);
        }
    }
    free(listeners);
    return good;
}

struct http_server *http_server_start(const struct http_config *config,
                                      const struct backend *backend, struct watches *watches,
                                      struct loop *core, struct log *log, struct err_text *text) {
    struct http_server *server = mem_calloc(1, sizeof *server);
    server->config = *config;
    server->reads.per_second = config->read_rate;
    server->writes.per_second = config->write_rate;
    server->backend = backend;
    server->watches = watches;
    server->core = core;
    server->log = log;
    rand_init(&server->rand, config->seed);
    server->timings = http_timings_create(&server->config, backend->facts->node_name);
    server->clients = http_clients_create(config->connections_per_client);
    server->deadlines = http_deadlines_create();
    server->daemons =
        mem_calloc(config->listen_count + config->path_count + 1, sizeof *server->daemons);
    ASSERT(pthread_key_create(&server->cache_key, http_cache_destroy) == 0);
    bool started = http_hang_ups_open(server, text);
    server->workers = http_workers_start(server);
    started = started && listen_all(server, text);
    if (!started) {
        http_server_destroy(server);
        return NULL;
    }
    return server;
}

void http_server_turn_end(struct http_server *server) {
    struct http_exchange *exchange = server->resume;
    server->resume = NULL;
    while (exchange != NULL) {
        struct http_exchange *next = exchange->resume_next;
        struct MHD_Connection *connection = exchange->connection;
        if (exchange->carried != NULL) {
            atomic_fetch_sub(&server->parked, 1);
            http_carry_resume(exchange);
            exchange = next;
            continue;
        }
        if (!exchange->resumed) {
            exchange->resumed = true;
            atomic_fetch_add(&server->unsent, 1);
        }
        MHD_resume_connection(connection); /* from here on the exchange is its HTTP thread's */
        atomic_fetch_sub(&server->parked, 1);
        exchange = next;
    }
}

/* Its number now means a file on which nothing ever happens. MHD_quiesce_daemon is not for us: it
 * and the library's threads both take the socket out of an epoll, and whoever comes second ends
 * the process (0.9.75). */
static void stop_listening(int listening) {
    int silent = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (silent >= 0) {
        (void)dup3(silent, listening, O_CLOEXEC);
        close(silent);
    }
}

void http_server_drain(struct http_server *server) {
    atomic_store(&server->stopping, true);
    for (unsigned i = 0; i < server->daemon_count; i++) {
        stop_listening(server->daemons[i].listening);
    }
    http_waits_abort(server);
    http_streams_abort(server);
}

bool http_server_has_unsent(const struct http_server *server) {
    return atomic_load(&server->unsent) > 0;
}

bool http_server_drained(const struct http_server *server) {
    return atomic_load(&server->parked) == 0 && server->jobs == 0 && server->carried == 0;
}

void http_server_set_connections_per_client(struct http_server *server, int64_t limit) {
    http_clients_set_limit(server->clients, limit);
}

void http_server_destroy(struct http_server *server) {
    if (server == NULL) {
        return;
    }
    for (unsigned i = 0; i < server->daemon_count; i++) {
        MHD_stop_daemon(server->daemons[i].mhd);
    }
    for (unsigned i = 0; i < server->paths_bound; i++) {
        unlink(server->config.paths[i].path);
    }
    http_workers_stop(server->workers);
    http_hang_ups_close(server);
    pthread_key_delete(server->cache_key);
    http_clients_destroy(server->clients);
    http_deadlines_destroy(server->deadlines);
    free(server->timings);
    free(server->daemons);
    free(server);
}
