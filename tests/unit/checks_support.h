/* For the tests of checks/: a recorder of results, a small web server with bad manners, and
 * definitions. Nothing sleeps for a fixed time: waits end with their condition or fail at a
 * deadline. */
#ifndef TESTS_UNIT_CHECKS_SUPPORT_H
#define TESTS_UNIT_CHECKS_SUPPORT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "base/duration.h"
#include "base/mem.h"
#include "checks/checks.h"
#include "net/loop.h"

#define WAIT_MAX_S 60

struct told {
    char *id, *status, *output;
    uint64_t generation;
    bool status_changed, output_changed;
    int64_t at_ms; /* when it was told */
};

struct recorder {
    pthread_mutex_t lock;
    pthread_cond_t more;
    struct told *told;
    size_t count, capacity;
};

static void record(void *context, const struct checks_result *result) {
    struct recorder *recorder = context;
    pthread_mutex_lock(&recorder->lock);
    if (recorder->count == recorder->capacity) {
        recorder->capacity = recorder->capacity * 2 + 16;
        recorder->told = mem_realloc(recorder->told, recorder->capacity * sizeof recorder->told[0]);
    }
    recorder->told[recorder->count++] = (struct told){
        .id = mem_strdup(result->id),
        .status = mem_strdup(result->status),
        .output = mem_strdup(result->output),
        .generation = result->generation,
        .status_changed = result->status_changed,
        .output_changed = result->output_changed,
        .at_ms = clock_monotonic_ms(),
    };
    pthread_cond_broadcast(&recorder->more);
    pthread_mutex_unlock(&recorder->lock);
}

static void recorder_init(struct recorder *recorder) {
    memset(recorder, 0, sizeof *recorder);
    pthread_mutex_init(&recorder->lock, NULL);
    pthread_cond_init(&recorder->more, NULL);
}

static void recorder_clear(struct recorder *recorder) {
    for (size_t i = 0; i < recorder->count; i++) {
        free(recorder->told[i].id);
        free(recorder->told[i].status);
        free(recorder->told[i].output);
    }
    free(recorder->told);
    pthread_mutex_destroy(&recorder->lock);
    pthread_cond_destroy(&recorder->more);
}

static struct timespec wait_deadline(void) {
    struct timespec at;
    clock_gettime(CLOCK_REALTIME, &at);
    at.tv_sec += WAIT_MAX_S;
    return at;
}

/* The nth result (from 1) of the check; id NULL: of any. Its strings live as long as the recorder.
 */
static struct told recorder_wait(struct recorder *recorder, const char *id, size_t nth) {
    struct timespec deadline = wait_deadline();
    struct told found = {0};
    bool late = false;
    pthread_mutex_lock(&recorder->lock);
    for (size_t at = 0, seen = 0; found.id == NULL && !late;) {
        if (at == recorder->count) {
            late = pthread_cond_timedwait(&recorder->more, &recorder->lock, &deadline) != 0;
        } else {
            struct told *told = &recorder->told[at++];
            seen += id == NULL || strcmp(told->id, id) == 0;
            found = seen == nth ? *told : found;
        }
    }
    pthread_mutex_unlock(&recorder->lock);
    if (late) {
        fail_msg("no result %zu of %s within %d s", nth, id != NULL ? id : "any", WAIT_MAX_S);
    }
    return found;
}

static inline size_t recorder_count(struct recorder *recorder) {
    pthread_mutex_lock(&recorder->lock);
    size_t count = recorder->count;
    pthread_mutex_unlock(&recorder->lock);
    return count;
}

static inline bool wait_until(bool (*condition)(void *context), void *context) {
    int64_t deadline_ms = clock_monotonic_ms() + WAIT_MAX_S * 1000;
    while (!condition(context)) {
        if (clock_monotonic_ms() > deadline_ms) {
            return false;
        }
        nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    return true;
}

/* Engine and recorder of one test. */
struct bench {
    struct recorder recorder;
    struct checks *checks;
};

static void bench_open(struct bench *bench) {
    struct err_text text;
    recorder_init(&bench->recorder);
    bench->checks = checks_create(NULL, 42, record, &bench->recorder, &text);
    assert_non_null(bench->checks);
}

static void bench_close(struct bench *bench) {
    checks_destroy(bench->checks);
    recorder_clear(&bench->recorder);
}

static inline struct checks_stats bench_stats(struct bench *bench) {
    struct checks_stats stats;
    checks_get_stats(bench->checks, &stats);
    return stats;
}

/* A definition with all its strings set, as the parser leaves it. */
static struct check_definition definition(const char *id) {
    return (struct check_definition){.id = id,
                                     .name = id,
                                     .notes = "",
                                     .status = "",
                                     .service_id = "",
                                     .service_name = "",
                                     .token = "",
                                     .http = "",
                                     .method = "",
                                     .body = "",
                                     .tcp = "",
                                     .udp = "",
                                     .grpc = "",
                                     .h2ping = "",
                                     .docker_container_id = "",
                                     .shell = "",
                                     .os_service = "",
                                     .alias_node = "",
                                     .alias_service = "",
                                     .tls_server_name = ""};
}

static inline struct check_definition http_definition(const char *id, const char *url) {
    struct check_definition def = definition(id);
    def.http = url;
    def.interval_ns = 20 * DURATION_MS;
    return def;
}

static inline struct check_definition tcp_definition(const char *id, const char *address) {
    struct check_definition def = definition(id);
    def.tcp = address;
    def.interval_ns = 20 * DURATION_MS;
    return def;
}

static inline struct check_definition ttl_definition(const char *id, int64_t ttl_ms) {
    struct check_definition def = definition(id);
    def.ttl_ns = ttl_ms * DURATION_MS;
    return def;
}

/* The web server: a thread for accepting, one for each connection. What it answers is said by the
 * path. All of its clients must be gone before server_close. */
struct server {
    int fd;
    uint16_t port;
    pthread_t thread;
    pthread_t connections[4096];
    size_t connection_count;
    _Atomic unsigned requests, open, open_most;
    _Atomic unsigned status; /* of /status */
};

struct connection {
    struct server *server;
    int fd;
};

static void send_text(int fd, const char *text, size_t size) {
    while (size > 0) {
        ssize_t n = send(fd, text, size, MSG_NOSIGNAL);
        if (n <= 0) {
            return;
        }
        text += n;
        size -= (size_t)n;
    }
}

static void answer(int fd, const char *head, const char *body) {
    char text[8192];
    int size = snprintf(text, sizeof text, "HTTP/1.1 %s\r\nContent-Length: %zu\r\n\r\n%s", head,
                        strlen(body), body);
    send_text(fd, text, (size_t)size);
}

static void wait_hang_up(int fd) {
    char drop[512];
    while (recv(fd, drop, sizeof drop, 0) > 0) {
    }
}

static void answer_huge(int fd) {
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Length: 1048576\r\n\r\n";
    char block[4096];
    send_text(fd, head, sizeof head - 1);
    for (int i = 0; i < 256; i++) {
        memset(block, 'a' + i % 26, sizeof block);
        send_text(fd, block, sizeof block);
    }
}

static void serve_path(struct server *server, int fd, const char *path, const char *request) {
    char text[128];
    if (strcmp(path, "/ok") == 0) {
        answer(fd, "200 OK", "hello");
    } else if (strncmp(path, "/code/", 6) == 0) {
        snprintf(text, sizeof text, "%.3s Some Reason", path + 6);
        answer(fd, text, "body");
    } else if (strcmp(path, "/status") == 0) {
        snprintf(text, sizeof text, "%u Status", atomic_load(&server->status));
        answer(fd, text, "");
    } else if (strncmp(path, "/redirect/", 10) == 0) {
        int left = atoi(path + 10);
        snprintf(text, sizeof text, "302 Found\r\nLocation: /ok");
        if (left > 0) {
            snprintf(text, sizeof text, "302 Found\r\nLocation: /redirect/%d", left - 1);
        }
        answer(fd, text, "moved");
    } else if (strcmp(path, "/away") == 0) {
        answer(fd, "302 Found\r\nLocation: http://127.0.0.1:1/gone", "moved");
    } else if (strcmp(path, "/file") == 0) {
        answer(fd, "302 Found\r\nLocation: file:///etc/passwd", "moved");
    } else if (strcmp(path, "/echo") == 0) {
        answer(fd, "200 OK", request);
    } else if (strcmp(path, "/huge") == 0) {
        answer_huge(fd);
    } else if (strcmp(path, "/nul") == 0) {
        static const char nul[] = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na\0b";
        send_text(fd, nul, sizeof nul - 1);
    } else if (strcmp(path, "/broken") == 0) {
        static const char broken[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
        send_text(fd, broken, sizeof broken - 1);
    } else if (strcmp(path, "/mute-body") == 0) {
        static const char half[] = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf";
        send_text(fd, half, sizeof half - 1);
        wait_hang_up(fd);
    } else if (strcmp(path, "/garbage") == 0) {
        send_text(fd, "\x01\x02garbage\r\n\r\n", 13);
    } else if (strcmp(path, "/hang") == 0) {
        wait_hang_up(fd);
    } /* else: closed without an answer */
}

static void *serve(void *context) {
    struct connection *connection = context;
    struct server *server = connection->server;
    char request[8192];
    size_t size = 0;
    unsigned open = atomic_fetch_add(&server->open, 1) + 1;
    if (open > atomic_load(&server->open_most)) {
        atomic_store(&server->open_most, open);
    }
    request[0] = '\0';
    char *end;
    while ((end = strstr(request, "\r\n\r\n")) == NULL && size < sizeof request - 1) {
        ssize_t n = recv(connection->fd, request + size, sizeof request - 1 - size, 0);
        if (n <= 0) {
            break;
        }
        size += (size_t)n;
        request[size] = '\0';
    }
    /* Bodies of these tests are short: they come with the head or right after it. */
    const char *length = strcasestr(request, "\r\nContent-Length: ");
    size_t wanted = length != NULL ? (size_t)atoi(length + 18) : 0;
    while (end != NULL && (size_t)(request + size - (end + 4)) < wanted) {
        ssize_t n = recv(connection->fd, request + size, sizeof request - 1 - size, 0);
        if (n <= 0) {
            break;
        }
        size += (size_t)n;
        request[size] = '\0';
    }
    char path[256] = "";
    if (sscanf(request, "%*s %255s", path) == 1) {
        atomic_fetch_add(&server->requests, 1);
        serve_path(server, connection->fd, path, request);
    }
    close(connection->fd);
    atomic_fetch_sub(&server->open, 1);
    free(connection);
    return NULL;
}

static void *accept_all(void *context) {
    struct server *server = context;
    int fd;
    while ((fd = accept(server->fd, NULL, NULL)) >= 0) {
        struct connection *connection = mem_alloc(sizeof *connection);
        *connection = (struct connection){.server = server, .fd = fd};
        if (server->connection_count ==
                sizeof server->connections / sizeof server->connections[0] ||
            pthread_create(&server->connections[server->connection_count], NULL, serve,
                           connection) != 0) {
            close(fd);
            free(connection);
            continue;
        }
        server->connection_count++;
    }
    return NULL;
}

static int listen_any(uint16_t *ret_port) {
    struct sockaddr_in at = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof at;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_true(fd >= 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&at, sizeof at), 0);
    assert_int_equal(listen(fd, 1024), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&at, &size), 0);
    *ret_port = ntohs(at.sin_port);
    return fd;
}

static inline struct server *server_open(void) {
    struct server *server = mem_calloc(1, sizeof *server);
    server->fd = listen_any(&server->port);
    atomic_store(&server->status, 200);
    assert_int_equal(pthread_create(&server->thread, NULL, accept_all, server), 0);
    return server;
}

struct requests {
    struct server *server;
    unsigned wanted;
};

static inline bool has_requests(void *context) {
    struct requests *requests = context;
    return atomic_load(&requests->server->requests) >= requests->wanted;
}

static inline void server_wait(struct server *server, unsigned requests) {
    assert_true(wait_until(has_requests, &(struct requests){server, requests}));
}

static inline void server_close(struct server *server) {
    shutdown(server->fd, SHUT_RDWR); /* accept returns */
    pthread_join(server->thread, NULL);
    close(server->fd);
    for (size_t i = 0; i < server->connection_count; i++) {
        pthread_join(server->connections[i], NULL);
    }
    free(server);
}

#endif
