#include "net/resolve.h"

#include <ares.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/str.h"

#define TRY_MS 2000 /* until a name server that is silent is asked again, or the next one is */
#define TRIES 3
#define SOCKETS 16 /* of one question */

struct resolver {
    struct loop *loop;
    unsigned waiting;
};

struct watched {
    struct resolve_query *query;
    ares_socket_t fd;
    struct loop_poll *poll; /* NULL: a free place */
};

/* One question with a channel of its own. */
struct resolve_query {
    struct resolver *resolver;
    struct resolve_wait *wait; /* NULL: cancelled */
    ares_channel channel;
    bool open;
    struct watched watched[SOCKETS];
    struct loop_timer ares_timer, end_timer; /* end: the timeout, or an answer that is there */
    bool finished;                           /* the answer below stands */
    enum err err;
    struct err_text text;
    struct addr addresses[LIMIT_RESOLVE_ADDRESSES];
    size_t count;
};

struct resolver *resolver_create(struct loop *loop) {
    struct resolver *resolver = mem_calloc(1, sizeof *resolver);
    resolver->loop = loop;
    ASSERT(ares_library_init(ARES_LIB_INIT_ALL) == ARES_SUCCESS);
    return resolver;
}

void resolver_destroy(struct resolver *resolver) {
    if (resolver != NULL) {
        ASSERT(resolver->waiting == 0);
        ares_library_cleanup();
        free(resolver);
    }
}

static void destroy(struct resolve_query *query) {
    loop_timer_stop(query->resolver->loop, &query->ares_timer);
    loop_timer_stop(query->resolver->loop, &query->end_timer);
    query->finished = true; /* what the channel still tells counts no more */
    if (query->open) {
        ares_destroy(query->channel);
    }
    for (int i = 0; i < SOCKETS; i++) {
        if (query->watched[i].poll != NULL) {
            loop_poll_destroy(query->watched[i].poll);
        }
    }
    query->resolver->waiting--;
    free(query);
}

/* After each call into c-ares: what it wants next, or the end. */
static void settle(struct resolve_query *query) {
    struct loop *loop = query->resolver->loop;
    if (query->finished || query->wait == NULL) {
        loop_timer_start(loop, &query->end_timer, loop_now_ms(loop));
        return;
    }
    struct timeval left;
    if (ares_timeout(query->channel, NULL, &left) != NULL) {
        loop_timer_start(loop, &query->ares_timer,
                         loop_now_ms(loop) + left.tv_sec * 1000 + left.tv_usec / 1000 + 1);
    }
}

static void socket_ready(void *context, int events) {
    struct watched *watched = context;
    struct resolve_query *query = watched->query;
    ares_socket_t fd = watched->fd;
    if (query->finished) {
        return;
    }
    ares_process_fd(query->channel, (events & LOOP_READABLE) != 0 ? fd : ARES_SOCKET_BAD,
                    (events & LOOP_WRITABLE) != 0 ? fd : ARES_SOCKET_BAD);
    settle(query);
}

static void ares_timer_fired(struct loop_timer *timer) {
    struct resolve_query *query = CONTAINER_OF(timer, struct resolve_query, ares_timer);
    if (!query->finished) {
        ares_process_fd(query->channel, ARES_SOCKET_BAD, ARES_SOCKET_BAD);
        settle(query);
    }
}

static void socket_changed(void *context, ares_socket_t fd, int readable, int writable) {
    struct resolve_query *query = context;
    struct watched *place = NULL;
    for (int i = 0; i < SOCKETS; i++) {
        struct watched *at = &query->watched[i];
        if (at->poll != NULL && at->fd == fd) {
            place = at;
            break;
        }
        if (at->poll == NULL && place == NULL) {
            place = at;
        }
    }
    if (place == NULL) {
        return; /* its timeout asks the next name server */
    }
    if (!readable && !writable) {
        if (place->poll != NULL) {
            loop_poll_destroy(place->poll);
            place->poll = NULL;
        }
        return;
    }
    if (place->poll == NULL) {
        place->query = query;
        place->fd = fd;
        place->poll = loop_poll_create(query->resolver->loop, fd, socket_ready, place);
    }
    loop_poll_set(place->poll, (readable ? LOOP_READABLE : 0) | (writable ? LOOP_WRITABLE : 0));
}

static void answered(void *context, int status, int timeouts, struct ares_addrinfo *result) {
    struct resolve_query *query = context;
    (void)timeouts;
    for (struct ares_addrinfo_node *node = result != NULL ? result->nodes : NULL;
         node != NULL && query->count < LIMIT_RESOLVE_ADDRESSES; node = node->ai_next) {
        struct addr *addr = &query->addresses[query->count];
        if (node->ai_family != AF_INET && node->ai_family != AF_INET6) {
            continue;
        }
        memset(addr, 0, sizeof *addr);
        memcpy(addr, node->ai_addr, node->ai_family == AF_INET ? sizeof addr->v4 : sizeof addr->v6);
        query->count++;
    }
    if (result != NULL) {
        ares_freeaddrinfo(result);
    }
    if (query->finished) {
        return;
    }
    query->finished = true;
    if (query->count > 0) {
        query->err = ERR_OK;
    } else if (status == ARES_ENOTFOUND || status == ARES_ENODATA || status == ARES_SUCCESS) {
        query->err = err_set(&query->text, ERR_NOT_FOUND, "no such host");
    } else if (status == ARES_ETIMEOUT) {
        query->err = err_set(&query->text, ERR_TIMEOUT, "no answer from the name servers");
    } else {
        query->err = err_set(&query->text, ERR_IO, "cannot resolve: %s", ares_strerror(status));
    }
}

static void end_fired(struct loop_timer *timer) {
    struct resolve_query *query = CONTAINER_OF(timer, struct resolve_query, end_timer);
    struct resolve_wait *wait = query->wait;
    if (wait != NULL) {
        if (!query->finished) {
            query->err =
                err_set(&query->text, ERR_TIMEOUT, "no answer from the name servers in time");
        }
        wait->query = NULL;
        /* The caller may ask again, or free wait, or both. */
        wait->done(wait, query->err, query->addresses, query->err == ERR_OK ? query->count : 0,
                   &query->text);
    }
    destroy(query);
}

static void ask(struct resolve_query *query, const char *name, uint16_t port) {
    struct ares_options options = {.timeout = TRY_MS,
                                   .tries = TRIES,
                                   .sock_state_cb = socket_changed,
                                   .sock_state_cb_data = query};
    int status = ares_init_options(&query->channel, &options,
                                   ARES_OPT_TIMEOUTMS | ARES_OPT_TRIES | ARES_OPT_SOCK_STATE_CB);
    if (status != ARES_SUCCESS) {
        query->finished = true;
        query->err = err_set(&query->text, ERR_IO, "cannot resolve: %s", ares_strerror(status));
        return;
    }
    query->open = true;
    struct ares_addrinfo_hints hints = {
        .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM, .ai_flags = ARES_AI_NUMERICSERV};
    char service[8];
    snprintf(service, sizeof service, "%u", port);
    ares_getaddrinfo(query->channel, name, service, &hints, answered, query);
}

void resolver_ask(struct resolver *resolver, struct resolve_wait *wait, const char *name,
                  uint16_t port, int timeout_ms) {
    struct resolve_query *query = mem_calloc(1, sizeof *query);
    query->resolver = resolver;
    query->wait = wait;
    wait->query = query;
    query->ares_timer.run = ares_timer_fired;
    query->end_timer.run = end_fired;
    resolver->waiting++;
    loop_timer_start(resolver->loop, &query->end_timer, loop_now_ms(resolver->loop) + timeout_ms);
    if (addr_parse(name, port, &query->addresses[0])) {
        query->count = 1;
        query->finished = true;
    } else {
        ask(query, name, port);
    }
    settle(query);
}

void resolver_cancel(struct resolver *resolver, struct resolve_wait *wait) {
    (void)resolver;
    if (wait->query != NULL) {
        struct resolve_query *query = wait->query;
        wait->query = NULL;
        query->wait = NULL;
        destroy(query);
    }
}

bool resolve_split(const char *text, uint16_t default_port, char *host, size_t host_bytes,
                   uint16_t *ret_port) {
    const char *end = text + strlen(text), *port = NULL;
    const char *colon = strrchr(text, ':');
    if (*text == '[') {
        const char *close = strchr(text, ']');
        if (close == NULL || (close[1] != '\0' && close[1] != ':')) {
            return false;
        }
        port = close[1] == ':' ? close + 2 : NULL;
        text++;
        end = close;
    } else if (colon != NULL && strchr(text, ':') == colon) {
        port = colon + 1;
        end = colon;
    } /* else no colon, or a bare IPv6 address */
    size_t size = (size_t)(end - text);
    uint64_t number = default_port;
    if (size == 0 || size >= host_bytes ||
        (port != NULL && (!str_parse_u64(port, &number) || number == 0 || number > 65535))) {
        return false;
    }
    memcpy(host, text, size);
    host[size] = '\0';
    struct addr addr;
    if (memchr(host, ':', size) != NULL && !addr_parse(host, 1, &addr)) {
        return false;
    }
    *ret_port = (uint16_t)number;
    return true;
}
