#include "agent/links.h"

#include <assert.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/known_servers.h"
#include "base/assert.h"
#include "base/container.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rand.h"

#define MODULE "agent.client"
#define CONNECT_MS 250      /* then another server is tried, in this datacenter */
#define CONNECT_FAR_MS 1500 /* in another */
#define AVOID_MS 2000       /* a server that did not answer */
#define RETRY_MIN_MS 50     /* between two rounds over servers that all refuse, doubling */
#define RETRY_MAX_MS 1000
#define PING_MS 100 /* of silence while a young request is under way */
#define PING_FAR_MS 500
#define PING_OLD_MS 5000 /* while only old ones are: they wait for a change */
#define YOUNG_MS 1000
#define PONG_MS 250
#define PONG_FAR_MS 1500
#define HASTY_MS 150    /* what is asked again may wait so long for a server */
#define DRAIN_MS 10000  /* a connection that was left lives on for what is under way */
#define SUSPECT_MS 2000 /* the same, of a server that does not answer */
#define MOVE_MS 5000    /* spreads the moves of all agents to a server that has come */
#define IDLE_MS 60000   /* a connection to another datacenter */
#define TRIES_MAX 3
#define TICK_MS 20
/* Else a link that nobody waits for any more would not be pinged. */
static_assert(LIMIT_LINK_HURRY_MS > PING_FAR_MS, "a far server's silence is noticed before");

/* One connection. */
struct link {
    struct path *path;
    struct link *next; /* of those that were left */
    struct rpc_connection *connection;
    struct uuid node;
    char name[RPC_NAME_BYTES];
    bool open, suspect;
    int64_t begun_at_ms, heard_at_ms, pinged_at_ms, close_at_ms;
    struct links_request *requests; /* under way */
    struct rpc_request ping;
    bool pinging;
};

/* A datacenter. */
struct path {
    struct links *links;
    struct path *next;
    bool own;
    struct known_servers servers;
    struct link *active, *opening, *left;
    struct links_request *waiting, **waiting_last;
    struct loop_timer timer;
    int64_t attempt_at_ms, retry_ms;
    int64_t move_at_ms; /* 0: stays */
    int64_t used_at_ms;
    int64_t open_ms; /* what the last connection took: some round trips */
    char datacenter[];
};

struct links {
    struct links_config config;
    struct path *paths;
    struct rand rand;
    bool closing;
    atomic_bool connected;
};

static void work(struct path *path);

static int64_t now_ms(const struct path *path) {
    return loop_now_ms(path->links->config.loop);
}

static void soon(struct path *path) {
    loop_timer_start(path->links->config.loop, &path->timer, now_ms(path));
}

/* ---- lists of requests ---- */

static void unlink_request(struct links_request *request) {
    *request->back = request->next;
    if (request->next != NULL) {
        request->next->back = request->back;
    } else if (request->link == NULL) {
        request->path->waiting_last = request->back;
    }
    request->next = NULL;
    request->back = NULL;
}

static void put_waiting(struct path *path, struct links_request *request, int64_t wait_ms) {
    request->link = NULL;
    request->connection = NULL;
    request->next = NULL;
    request->back = path->waiting_last;
    *path->waiting_last = request;
    path->waiting_last = &request->next;
    request->give_up_at_ms = now_ms(path) + wait_ms;
    if (request->hurry_at_ms > 0 && request->hurry_at_ms < request->give_up_at_ms) {
        request->give_up_at_ms = request->hurry_at_ms;
    }
}

static void end_request(struct links_request *request, enum err err, const char *sentence) {
    struct err_text text;
    err_set(&text, err, "%s", sentence);
    request->done(request, err, &text, NULL, 0);
}

static bool is_spared(const struct links_request *request, int64_t until_ms, bool patient) {
    return request->give_up_at_ms > until_ms || (patient && request->patient);
}

/* Those that have waited for long enough; patient: but for patient ones. */
static void fail_waiting(struct path *path, int64_t until_ms, bool patient, enum err err,
                         const char *sentence) {
    unsigned count = 0; /* done may ask anew, and cancel others */
    for (struct links_request *at = path->waiting; at != NULL; at = at->next) {
        count += !is_spared(at, until_ms, patient);
    }
    for (; count > 0; count--) {
        struct links_request *request = path->waiting;
        while (request != NULL && is_spared(request, until_ms, patient)) {
            request = request->next;
        }
        if (request == NULL) {
            return;
        }
        unlink_request(request);
        end_request(request, err, sentence);
    }
}

/* ---- servers ---- */

static void avoid(struct path *path, const struct uuid *node) {
    known_servers_avoid(&path->servers, node, now_ms(path) + AVOID_MS);
}

/* NULL: none is alive. */
static const struct known_server *choose(const struct path *path) {
    return known_servers_choose(&path->servers, &path->links->config.self, now_ms(path));
}

/* ---- connections ---- */

static void tell_connected(struct path *path) {
    struct links *links = path->links;
    bool connected = path->active != NULL;
    if (path->own && atomic_load(&links->connected) != connected) {
        atomic_store(&links->connected, connected);
        links->config.connected(links->config.context, connected);
    }
}

static void forget(struct link *link) {
    struct path *path = link->path;
    struct link **at = &path->left;
    path->active = path->active == link ? NULL : path->active;
    path->opening = path->opening == link ? NULL : path->opening;
    while (*at != NULL && *at != link) {
        at = &(*at)->next;
    }
    if (*at == link) {
        *at = link->next;
    }
    rpc_request_cancel(&link->ping);
    free(link);
}

/* What is under way on it is asked again or fails. */
static void close_link(struct link *link) {
    struct path *path = link->path;
    rpc_close(link->connection);
    ASSERT(link->requests == NULL);
    forget(link);
    soon(path);
}

/* It takes no more requests. */
static void leave_link(struct link *link, int64_t after_ms) {
    struct path *path = link->path;
    ASSERT(link == path->active);
    path->active = NULL;
    link->close_at_ms = now_ms(path) + after_ms;
    link->next = path->left;
    path->left = link;
    soon(path);
}

static void on_opened(void *context, struct rpc_connection *connection) {
    struct link *link = context;
    struct path *path = link->path;
    (void)connection;
    link->open = true;
    link->heard_at_ms = now_ms(path);
    if (path->active != NULL) {
        leave_link(path->active, DRAIN_MS);
    }
    path->active = link;
    path->opening = NULL;
    path->open_ms = now_ms(path) - link->begun_at_ms;
    path->retry_ms = 0;
    path->move_at_ms = 0;
    log_write(path->links->config.log, LOG_INFO, MODULE,
              "connected to a server: server=%s datacenter=%s", link->name, path->datacenter);
    tell_connected(path);
    soon(path);
}

static void on_writable(void *context, struct rpc_connection *connection) {
    struct link *link = context;
    (void)connection;
    soon(link->path);
}

static void on_closed(void *context, struct rpc_connection *connection, enum err err,
                      const struct err_text *text) {
    struct link *link = context;
    struct path *path = link->path;
    struct links *links = path->links;
    (void)connection;
    (void)err;
    log_write(links->config.log, link->open ? LOG_WARN : LOG_DEBUG, MODULE,
              "%s a server: server=%s datacenter=%s error=\"%s\"",
              link->open ? "lost" : "cannot reach", link->name, path->datacenter, text->s);
    avoid(path, &link->node);
    if (link->open) {
        links->config.lost(links->config.context, path->own, &link->node);
    }
    forget(link);
    soon(path);
}

static const struct rpc_events events = {on_opened, on_writable, on_closed};

static void connect_to(struct path *path, const struct known_server *server) {
    struct link *link = mem_calloc(1, sizeof *link);
    link->path = path;
    link->node = server->node;
    snprintf(link->name, sizeof link->name, "%s", server->name);
    link->begun_at_ms = now_ms(path);
    path->opening = link;
    link->connection =
        rpc_connect(path->links->config.rpc, &server->addr, &server->node, &events, link);
    if (!path->own) {
        rpc_expect_far(link->connection);
    }
}

/* ---- requests ---- */

static void answered(struct rpc_request *rpc, enum err err, const struct err_text *text,
                     const uint8_t *body, size_t size) {
    struct links_request *request = CONTAINER_OF(rpc, struct links_request, rpc);
    struct path *path = request->path;
    struct link *link = request->link;
    unlink_request(request);
    request->link = NULL;
    if (err == ERR_CLOSED || err == ERR_TIMEOUT) {
        metric_count(path->links->config.failed, 1);
        if (err == ERR_CLOSED && request->repeatable && request->tries < TRIES_MAX &&
            !path->links->closing) {
            if (link == path->active) { /* it stops, or its connection has ended */
                avoid(path, &link->node);
                leave_link(link, DRAIN_MS);
            }
            put_waiting(path, request, path->own ? LIMIT_LINK_WAIT_MS : LIMIT_LINK_WAIT_FAR_MS);
            soon(path);
            return;
        }
        request->connection = NULL;
        end_request(request, path->links->closing ? ERR_CLOSED : ERR_TIMEOUT,
                    "rpc error making call: the server was lost, the outcome is not known");
        return;
    }
    link->heard_at_ms = now_ms(path);
    request->connection = link->connection;
    request->done(request, err, text, body, size);
}

static bool has_young(const struct link *link, int64_t now) {
    for (const struct links_request *at = link->requests; at != NULL; at = at->next) {
        if (!at->patient && (now - at->sent_at_ms < YOUNG_MS || !at->repeatable)) {
            return true;
        }
    }
    return false;
}

/* False: it stays where it is. */
static bool send_on(struct link *link, struct links_request *request) {
    struct path *path = link->path;
    request->rpc = (struct rpc_request){.done = answered};
    enum err err = rpc_request(link->connection, &request->rpc, request->method, request->body,
                               request->size, (int)(request->answer_ms + LIMIT_FORWARD_MS));
    if (err == ERR_TOO_LARGE) {
        unlink_request(request);
        end_request(request, err, "the request is larger than servers take");
        return true;
    }
    if (err != ERR_OK) {
        return false;
    }
    unlink_request(request);
    metric_count(path->own ? path->links->config.asked : path->links->config.asked_far, 1);
    if (!has_young(link, now_ms(path))) { /* nothing was expected until now */
        link->heard_at_ms = now_ms(path);
    }
    request->link = link;
    request->tries++;
    request->sent_at_ms = now_ms(path);
    request->next = link->requests;
    if (request->next != NULL) {
        request->next->back = &request->next;
    }
    request->back = &link->requests;
    link->requests = request;
    return true;
}

static void send_waiting(struct path *path) {
    while (path->waiting != NULL && path->active != NULL && send_on(path->active, path->waiting)) {
    }
}

/* ---- servers that say nothing ---- */

static void ping(struct link *link, int64_t timeout_ms);

static void ponged(struct rpc_request *rpc, enum err err, const struct err_text *text,
                   const uint8_t *body, size_t size) {
    struct link *link = CONTAINER_OF(rpc, struct link, ping);
    struct path *path = link->path;
    (void)text;
    (void)body;
    (void)size;
    link->pinging = false;
    if (err == ERR_CLOSED) {
        return;
    }
    if (err != ERR_TIMEOUT) {
        link->heard_at_ms = now_ms(path);
        if (link->suspect) { /* it was slow: what it still has to do it may do */
            link->suspect = false;
            link->close_at_ms = now_ms(path) + DRAIN_MS;
        }
        return;
    }
    if (link->suspect) {
        return; /* it is closed soon */
    }
    if (link->heard_at_ms > link->pinged_at_ms) {
        soon(path);
        return;
    }
    link->suspect = true;
    avoid(path, &link->node);
    log_write(path->links->config.log, LOG_WARN, MODULE,
              "a server does not answer: server=%s datacenter=%s", link->name, path->datacenter);
    path->links->config.lost(path->links->config.context, path->own, &link->node);
    if (link == path->active) {
        leave_link(link, SUSPECT_MS);
    } else if (link->close_at_ms > now_ms(path) + SUSPECT_MS) {
        link->close_at_ms = now_ms(path) + SUSPECT_MS;
    }
    struct links_request *next;
    for (struct links_request *request = link->requests; request != NULL; request = next) {
        next = request->next;
        if (request->repeatable && request->tries < TRIES_MAX) {
            rpc_request_cancel(&request->rpc);
            unlink_request(request);
            put_waiting(path, request, HASTY_MS);
        }
    }
    ping(link, SUSPECT_MS);
    tell_connected(path);
    soon(path);
}

static void ping(struct link *link, int64_t timeout_ms) {
    link->ping = (struct rpc_request){.done = ponged};
    link->pinged_at_ms = now_ms(link->path);
    link->pinging = rpc_request(link->connection, &link->ping, RPC_METHOD_PING, NULL, 0,
                                (int)timeout_ms) == ERR_OK;
}

/* Sends a ping if it is time. Returns when to look again, INT64_MAX: not for its sake. */
static int64_t watch_link(struct link *link, int64_t now) {
    bool own = link->path->own;
    if (link->requests == NULL || link->pinging || link->suspect) {
        return INT64_MAX;
    }
    bool young = has_young(link, now);
    int64_t due_ms = link->heard_at_ms + (!young ? PING_OLD_MS : own ? PING_MS : PING_FAR_MS);
    if (now < due_ms) {
        return due_ms;
    }
    ping(link, own ? PONG_MS : PONG_FAR_MS);
    return link->pinging ? INT64_MAX : now + PING_MS;
}

/* ---- requests in a hurry ---- */

/* The first of a link that is due, or notes when one will be. */
static struct links_request *find_due(struct link *link, int64_t now, int64_t *next_ms) {
    for (struct links_request *at = link->requests; at != NULL; at = at->next) {
        if (at->hurry_at_ms > 0 && at->hurry_at_ms <= now) {
            return at;
        }
        if (at->hurry_at_ms > 0 && at->hurry_at_ms < *next_ms) {
            *next_ms = at->hurry_at_ms;
        }
    }
    return NULL;
}

/* Ends those that can wait no longer. The link stays: pings tell whether its server is there. */
static void end_hurried(struct path *path, int64_t now, int64_t *next_ms) {
    for (;;) { /* done may ask anew, and cancel others */
        struct links_request *due =
            path->active != NULL ? find_due(path->active, now, next_ms) : NULL;
        for (struct link *link = path->left; link != NULL && due == NULL; link = link->next) {
            due = find_due(link, now, next_ms);
        }
        if (due == NULL) {
            return;
        }
        rpc_request_cancel(&due->rpc);
        unlink_request(due);
        due->link = NULL;
        metric_count(path->links->config.failed, 1);
        end_request(due, ERR_TIMEOUT, "rpc error making call: the server did not answer in time");
    }
}

static int64_t hurry_at_ms(const struct path *path, const struct links_request *request) {
    return request->hurry_ms == 0 ? 0 : now_ms(path) + request->hurry_ms + path->open_ms;
}

/* ---- the work of a datacenter's path ---- */

static bool is_wanted(const struct path *path) {
    return (path->own && path->links->config.wanted) || path->waiting != NULL;
}

/* Nobody is alive. Who watches for silence itself waits to see whether one is, after all. */
static void probe_failed(struct path *path, int64_t now) {
    const struct known_server *server =
        path->own ? NULL : known_servers_choose_failed(&path->servers, &path->links->rand, now);
    fail_waiting(path, INT64_MAX, !path->own, path->own ? ERR_NO_LEADER : ERR_NOT_FOUND,
                 path->own ? "No known Consul servers" : "No path to datacenter");
    if (server != NULL && path->opening == NULL && now >= path->attempt_at_ms) {
        path->attempt_at_ms = now + RETRY_MAX_MS;
        connect_to(path, server);
    }
}

static void connect_if_needed(struct path *path, int64_t now) {
    bool moves = path->active != NULL && path->move_at_ms > 0 && now >= path->move_at_ms;
    if (path->opening != NULL &&
        now - path->opening->begun_at_ms >= (path->own ? CONNECT_MS : CONNECT_FAR_MS)) {
        avoid(path, &path->opening->node);
        close_link(path->opening);
    }
    bool needed = path->active != NULL ? moves : is_wanted(path);
    if (!needed) {
        return;
    }
    const struct known_server *server = choose(path);
    if (server == NULL) {
        path->move_at_ms = 0;
        probe_failed(path, now);
        return;
    }
    if (path->opening != NULL || now < path->attempt_at_ms) {
        return;
    }
    path->move_at_ms = 0;
    if (path->active != NULL &&
        memcmp(&server->node, &path->active->node, sizeof server->node) == 0) {
        return;
    }
    if (server->avoid_until_ms > now) { /* all of them were tried */
        path->retry_ms = path->retry_ms == 0 ? RETRY_MIN_MS : 2 * path->retry_ms;
        path->retry_ms = path->retry_ms > RETRY_MAX_MS ? RETRY_MAX_MS : path->retry_ms;
        path->attempt_at_ms = now + path->retry_ms;
    }
    connect_to(path, server);
}

static void close_left(struct path *path, int64_t now, int64_t *next_ms) {
    struct link *next;
    for (struct link *link = path->left; link != NULL; link = next) {
        next = link->next;
        if (link->requests == NULL || now >= link->close_at_ms) {
            close_link(link);
            next = path->left; /* others may have gone with it */
        } else {
            int64_t look_ms = watch_link(link, now);
            look_ms = look_ms < link->close_at_ms ? look_ms : link->close_at_ms;
            *next_ms = look_ms < *next_ms ? look_ms : *next_ms;
        }
    }
}

static void close_idle(struct path *path, int64_t now, int64_t *next_ms) {
    struct link *link = path->active;
    if (link == NULL || (path->own && path->links->config.wanted) || link->requests != NULL) {
        return;
    }
    if (now >= path->used_at_ms + IDLE_MS) {
        close_link(link);
    } else if (path->used_at_ms + IDLE_MS < *next_ms) {
        *next_ms = path->used_at_ms + IDLE_MS;
    }
}

static void on_timer(struct loop_timer *timer) {
    work(CONTAINER_OF(timer, struct path, timer));
}

static void work(struct path *path) {
    struct links *links = path->links;
    int64_t now = now_ms(path), next_ms = INT64_MAX;
    if (links->closing) {
        return;
    }
    loop_timer_stop(links->config.loop, &path->timer);
    tell_connected(path);
    send_waiting(path);
    connect_if_needed(path, now);
    if (path->active != NULL) { /* it takes no more */
        fail_waiting(path, now, false, ERR_OVERLOADED,
                     "too many requests are on their way to the server");
    }
    fail_waiting(path, now, false, ERR_NO_LEADER,
                 path->own ? "rpc error getting client: no server answers"
                           : "rpc error getting client: no server of the datacenter answers");
    end_hurried(path, now, &next_ms);
    close_left(path, now, &next_ms);
    close_idle(path, now, &next_ms);
    if (path->active != NULL) {
        int64_t look_ms = watch_link(path->active, now);
        next_ms = look_ms < next_ms ? look_ms : next_ms;
    } else if (is_wanted(path) && path->opening == NULL && path->attempt_at_ms < next_ms) {
        next_ms = path->attempt_at_ms;
    }
    if (path->move_at_ms > 0 && path->move_at_ms < next_ms) {
        next_ms = path->move_at_ms;
    }
    if (path->waiting != NULL || path->opening != NULL) {
        next_ms = now + TICK_MS;
    }
    bool known = path->servers.count > 0 || path->waiting != NULL;
    if (next_ms != INT64_MAX && known) {
        loop_timer_start(links->config.loop, &path->timer, next_ms > now + 1 ? next_ms : now + 1);
    }
}

static struct path *find_path(struct links *links, const char *datacenter, bool make) {
    const char *name = *datacenter != '\0' ? datacenter : links->config.datacenter;
    struct path *path = links->paths;
    while (path != NULL && strcmp(path->datacenter, name) != 0) {
        path = path->next;
    }
    if (path == NULL && make) {
        size_t size = strlen(name) + 1;
        path = mem_calloc(1, sizeof *path + size);
        memcpy(path->datacenter, name, size);
        path->links = links;
        path->own = strcmp(name, links->config.datacenter) == 0;
        path->waiting_last = &path->waiting;
        path->timer.run = on_timer;
        path->next = links->paths;
        links->paths = path;
    }
    return path;
}

/* ---- for others ---- */

/* Who has left, who dies and who is unknown is no server of ours any more. */
static void follow_servers(struct path *path) {
    struct link *active = path->active;
    const struct known_server *mine =
        active != NULL ? known_servers_find(&path->servers, &active->node) : NULL;
    if (mine != NULL && mine->left) {
        leave_link(active, DRAIN_MS);
    } else if (active != NULL && (mine == NULL || mine->died)) {
        close_link(active);
    } else if (active != NULL && path->move_at_ms == 0) {
        const struct known_server *better = choose(path);
        if (better != NULL && better != mine) {
            path->move_at_ms = now_ms(path) + 1 + (int64_t)rand_below(&path->links->rand, MOVE_MS);
        }
    }
    soon(path);
}

static void set_servers(struct path *path, const struct links_server *servers, uint32_t count) {
    known_servers_set(&path->servers, servers, count);
    path->attempt_at_ms = now_ms(path);
    follow_servers(path);
}

void links_set_servers(struct links *links, const char *datacenter,
                       const struct links_server *servers, uint32_t count) {
    set_servers(find_path(links, datacenter, true), servers, count);
}

static bool is_deserted(const struct path *path) {
    return path->servers.count == 0 && path->active == NULL && path->opening == NULL &&
           path->left == NULL && path->waiting == NULL;
}

static void free_path(struct path *path) {
    loop_timer_stop(path->links->config.loop, &path->timer);
    known_servers_clear(&path->servers);
    free(path);
}

void links_set_far_servers(struct links *links, const struct links_server *servers,
                           uint32_t count) {
    struct links_server *some = mem_calloc(count + 1, sizeof *some);
    for (uint32_t i = 0; i < count; i++) {
        (void)find_path(links, servers[i].datacenter, true);
    }
    for (struct path **at = &links->paths, *path = *at; path != NULL; path = *at) {
        uint32_t used = 0;
        for (uint32_t i = 0; i < count && !path->own; i++) {
            if (strcmp(servers[i].datacenter, path->datacenter) == 0) {
                some[used++] = servers[i];
            }
        }
        if (!path->own) {
            set_servers(path, some, used);
        }
        if (!path->own && is_deserted(path)) {
            *at = path->next;
            free_path(path);
        } else {
            at = &path->next;
        }
    }
    free(some);
}

void links_ask(struct links *links, struct links_request *request) {
    struct path *path = find_path(links, request->datacenter, false);
    request->tries = 0;
    if (path == NULL || links->closing) {
        bool own = *request->datacenter == '\0';
        end_request(request,
                    links->closing ? ERR_CLOSED
                    : own          ? ERR_NO_LEADER
                                   : ERR_NOT_FOUND,
                    own ? "No known Consul servers" : "No path to datacenter");
        return;
    }
    request->path = path;
    path->used_at_ms = now_ms(path);
    request->hurry_at_ms = hurry_at_ms(path, request);
    put_waiting(path, request, path->own ? LIMIT_LINK_WAIT_MS : LIMIT_LINK_WAIT_FAR_MS);
    work(path);
}

void links_cancel(struct links_request *request, struct rpc_connection **ret_connection) {
    *ret_connection = NULL;
    if (request->link != NULL) {
        *ret_connection = request->link->connection;
        rpc_request_cancel(&request->rpc);
    }
    if (request->back != NULL) {
        unlink_request(request);
    }
}

bool links_connected(const struct links *links) {
    return atomic_load(&links->connected);
}

struct links *links_create(const struct links_config *config) {
    struct links *links = mem_calloc(1, sizeof *links);
    links->config = *config;
    rand_init(&links->rand, config->seed);
    find_path(links, "", true);
    return links;
}

static void close_path(struct path *path) {
    struct link *all[] = {path->active, path->opening};
    for (size_t i = 0; i < 2; i++) {
        if (all[i] != NULL) {
            close_link(all[i]);
        }
    }
    while (path->left != NULL) {
        close_link(path->left);
    }
    fail_waiting(path, INT64_MAX, false, ERR_CLOSED, "the agent stops");
}

void links_destroy(struct links *links) {
    if (links == NULL) {
        return;
    }
    links->closing = true;
    while (links->paths != NULL) {
        struct path *path = links->paths;
        close_path(path);
        links->paths = path->next;
        free_path(path);
    }
    free(links);
}
