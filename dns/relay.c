#include "dns/relay.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/mem.h"
#include "dns/server_internal.h"

#define TOLD_EVERY_MS 1000 /* failures are logged so often at most */

struct relay {
    struct dns_server *server;
    struct loop *loop;
    pthread_t thread;
    struct dns_scratch *scratch;
    struct rand rand;
    bool stopped; /* the thread has ended: what still comes in is dropped */
    struct relay_query *oldest, *youngest;
    int64_t tell_at_ms;
    _Atomic unsigned under_way;
    uint8_t datagram[DNS_MESSAGE_BYTES], out[DNS_MESSAGE_BYTES];
};

static void list_add(struct relay_query *query) {
    struct relay *relay = query->relay;
    query->older = relay->youngest;
    *(query->older != NULL ? &query->older->younger : &relay->oldest) = query;
    relay->youngest = query;
}

static void list_remove(struct relay_query *query) {
    struct relay *relay = query->relay;
    *(query->older != NULL ? &query->older->younger : &relay->oldest) = query->younger;
    *(query->younger != NULL ? &query->younger->older : &relay->youngest) = query->older;
}

static void give_back(struct relay_query *query, const uint8_t *answer, size_t bytes) {
    list_remove(query);
    for (unsigned i = 0; i < query->exchange_count; i++) {
        exchange_stop(&query->exchanges[i]);
    }
    query->answered(query, answer, bytes);
}

/* Of one that will have no answer. */
static void drop(struct relay_query *query) {
    if (query->dropped != NULL) {
        query->dropped(query);
    }
    relay_query_destroy(query);
}

/* The answer of our own, with what the recursors said or without it. */
static void answer_here(struct relay_query *query, const struct dns_resolved *resolved,
                        bool far_failed) {
    struct relay *relay = query->relay;
    struct dns_source source;
    dns_source_enter(relay->server, &source);
    struct dns_question question = {.request = query->request,
                                    .request_bytes = query->request_bytes,
                                    .tcp = query->tcp,
                                    .view = source.view,
                                    .partial = source.partial,
                                    .backend = relay->server->config.backend,
                                    .wall_s = source.wall_s,
                                    .resolved = resolved,
                                    .far_failed = far_failed,
                                    .client = &query->peer};
    size_t bytes = dns_answer(relay->scratch, source.snapshot, &question, relay->out);
    dns_source_exit(relay->server);
    give_back(query, relay->out, bytes);
}

static void tell_failure(struct relay *relay, const struct relay_query *query) {
    int64_t now_ms = loop_now_ms(relay->loop);
    if (now_ms >= relay->tell_at_ms) {
        relay->tell_at_ms = now_ms + TOLD_EVERY_MS;
        log_write(relay->server->log, LOG_WARN, "agent.dns",
                  "no recursor answered a question: recursors=%u", query->recursor_count);
    }
}

static void relayed(struct exchange *exchange, uint8_t *reply, size_t bytes) {
    struct relay_query *query = exchange->context;
    if (reply != NULL) {
        give_back(query, reply, bytes);
    } else {
        tell_failure(query->relay, query);
        answer_here(query, &(struct dns_resolved){.rand = NULL}, false);
    }
}

static void release(struct relay_query *query) {
    if (--query->pending == 0) {
        struct dns_resolved resolved = {
            .rand = &query->wanted.rand, .names = query->names, .count = query->exchange_count};
        answer_here(query, &resolved, false);
    }
}

static void resolved(struct exchange *exchange, uint8_t *reply, size_t bytes) {
    struct relay_query *query = exchange->context;
    struct dns_resolved_name *name = &query->names[exchange - query->exchanges];
    if (reply != NULL) {
        name->count = upstream_records(reply, bytes, &query->arena, &name->records);
    } else {
        tell_failure(query->relay, query);
    }
    release(query);
}

static void shuffle(struct relay_query *query) {
    for (unsigned i = query->recursor_count; query->random_order && i > 1; i--) {
        unsigned j = (unsigned)rand_below(&query->relay->rand, i);
        struct addr swapped = query->recursors[j];
        query->recursors[j] = query->recursors[i - 1];
        query->recursors[i - 1] = swapped;
    }
}

static void prepare(struct relay_query *query, struct exchange *exchange) {
    exchange->loop = query->relay->loop;
    exchange->recursors = query->recursors;
    exchange->recursor_count = query->recursor_count;
    exchange->timeout_ms = query->timeout_ms;
    exchange->datagram = query->relay->datagram;
    exchange->context = query;
}

static void start_names(struct relay_query *query) {
    query->pending = query->exchange_count + 1;
    for (unsigned i = 0; i < query->exchange_count; i++) {
        struct exchange *exchange = &query->exchanges[i];
        struct dns_resolved_name *name = &query->names[i];
        name->name = query->wanted.names[i].name;
        name->name_bytes = query->wanted.names[i].bytes;
        uint8_t *request = arena_alloc(&query->arena, UPSTREAM_QUESTION_BYTES);
        prepare(query, exchange);
        exchange->request = request;
        exchange->request_bytes =
            upstream_question(name->name, name->name_bytes, query->wanted.type, request);
        exchange->name_bytes = name->name_bytes;
        exchange->whole = true;
        exchange->done = resolved;
        exchange_start(exchange);
    }
    release(query);
}

/* ---- servers ---- */

/* On the relay's thread, or while it is destroyed. */
static void server_told(struct loop_task *task) {
    struct relay_query *query = CONTAINER_OF(task, struct relay_query, call_task);
    struct backend_call *call = &query->call;
    query->call_under_way = false;
    if (query->relay->stopped) {
        return; /* it is destroyed with the others */
    }
    if (call->err == ERR_OK && call->answer_size >= DNS_HEADER_BYTES) {
        give_back(query, (const uint8_t *)call->answer, call->answer_size);
        return;
    }
    answer_here(query, &(struct dns_resolved){.rand = NULL}, call->err != ERR_NOT_FOUND);
}

/* On the core's thread. */
static void call_done(struct backend_call *call) {
    struct relay_query *query = call->context;
    if (query->relay == NULL) {
        free(call->answer);
        free(query);
        return;
    }
    query->call_task.run = server_told;
    loop_post(query->relay->loop, &query->call_task);
}

/* The datacenter for which WAN addresses are wanted; "": for none. */
static const char *wan_for(const struct relay_query *query, const struct backend *backend) {
    return query->wan_for != NULL ? query->wan_for
           : query->translate_wan ? backend->facts->datacenter
                                  : "";
}

static void ask_server(struct relay_query *query) {
    const struct backend *backend = query->relay->server->config.backend;
    query->call_under_way = true;
    query->call = (struct backend_call){.kind = BACKEND_QUESTION,
                                        .question = {.datacenter = query->wanted.datacenter,
                                                     .request = query->request,
                                                     .size = query->request_bytes,
                                                     .tcp = query->tcp,
                                                     .wan_for = wan_for(query, backend),
                                                     .hops = query->hops,
                                                     .mirrored = query->wanted.mirrored},
                                        .done = call_done,
                                        .context = query};
    backend->submit(backend->context, &query->call);
}

/* ---- recursors ---- */

static void arrived(struct loop_task *task) {
    struct relay_query *query = (struct relay_query *)task;
    if (query->relay->stopped) {
        drop(query);
        return;
    }
    list_add(query);
    if (query->wanted.need == DNS_NEEDS_SERVER) {
        ask_server(query);
        return;
    }
    shuffle(query);
    if (query->wanted.need == DNS_NEEDS_NAMES) {
        start_names(query);
        return;
    }
    struct exchange *exchange = &query->exchanges[0];
    prepare(query, exchange);
    exchange->request = query->request;
    exchange->request_bytes = query->request_bytes;
    exchange->name_bytes = query->wanted.name_bytes;
    exchange->tcp = query->tcp;
    exchange->done = relayed;
    exchange_start(exchange);
}

struct relay_query *relay_query_create(struct relay *relay, const struct dns_snapshot *snapshot,
                                       const struct dns_wanted *wanted, const uint8_t *request,
                                       size_t bytes, bool tcp) {
    const struct dns_config *config = dns_snapshot_config(snapshot);
    unsigned count = wanted->need == DNS_NEEDS_NAMES ? wanted->count : 1;
    ASSERT(wanted->need != DNS_NEEDS_NOTHING && config->recursor_count <= LIMIT_DNS_RECURSORS);
    if (bytes > LIMIT_DNS_RELAY_REQUEST_BYTES) {
        return NULL;
    }
    if (atomic_fetch_add(&relay->under_way, count) + count > LIMIT_DNS_RELAY_EXCHANGES) {
        atomic_fetch_sub(&relay->under_way, count);
        return NULL;
    }
    struct relay_query *query = mem_calloc(1, sizeof *query + bytes);
    query->task.run = arrived;
    query->relay = relay;
    query->tcp = tcp;
    query->wanted = *wanted;
    memcpy(query->recursors, config->recursors, config->recursor_count * sizeof *query->recursors);
    query->recursor_count = config->recursor_count;
    query->random_order = config->recursor_random;
    query->translate_wan = config->translate_wan;
    query->timeout_ms = config->recursor_timeout_ms;
    query->exchange_count = count;
    arena_init(&query->arena);
    query->request_bytes = bytes;
    memcpy(query->request, request, bytes);
    return query;
}

void relay_query_submit(struct relay_query *query) {
    loop_post(query->relay->loop, &query->task);
}

void relay_query_destroy(struct relay_query *query) {
    for (unsigned i = 0; i < query->exchange_count; i++) {
        exchange_stop(&query->exchanges[i]);
    }
    atomic_fetch_sub(&query->relay->under_way, query->exchange_count);
    arena_clear(&query->arena);
    free(query->answer);
    free(query->call.answer);
    free(query);
}

unsigned relay_under_way(const struct relay *relay) {
    return atomic_load(&relay->under_way);
}

static void *run(void *context) {
    struct relay *relay = context;
    loop_run(relay->loop);
    return NULL;
}

struct relay *relay_start(struct dns_server *server, uint64_t seed, struct err_text *text) {
    struct loop *loop = loop_create(text);
    if (loop == NULL) {
        return NULL;
    }
    struct relay *relay = mem_calloc(1, sizeof *relay);
    relay->server = server;
    relay->loop = loop;
    relay->scratch = dns_scratch_create(seed);
    rand_init(&relay->rand, ~seed);
    ASSERT(pthread_create(&relay->thread, NULL, run, relay) == 0);
    pthread_setname_np(relay->thread, "dns-relay");
    return relay;
}

void relay_stop(struct relay *relay) {
    if (relay != NULL) {
        loop_stop(relay->loop);
        ASSERT(pthread_join(relay->thread, NULL) == 0);
        relay->stopped = true;
    }
}

void relay_destroy(struct relay *relay) {
    if (relay == NULL) {
        return;
    }
    loop_flush(relay->loop);
    while (relay->oldest != NULL) {
        struct relay_query *query = relay->oldest;
        list_remove(query);
        if (query->call_under_way) { /* the core will free it */
            if (query->dropped != NULL) {
                query->dropped(query);
            }
            arena_clear(&query->arena);
            free(query->answer);
            query->relay = NULL;
        } else {
            drop(query);
        }
    }
    loop_destroy(relay->loop);
    dns_scratch_destroy(relay->scratch);
    free(relay);
}
