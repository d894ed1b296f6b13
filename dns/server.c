#include "dns/server.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "base/str.h"
#include "dns/relay.h"
#include "dns/server_internal.h"
#include "net/loop.h"
#include "net/udp.h"

#define THREADS_DEFAULT 2
#define FREE_PORT_TRIES 16

void dns_source_enter(struct dns_server *server, struct dns_source *ret_source) {
    const struct dns_server_config *config = &server->config;
    bool ready = config->ready == NULL || config->ready(config->ready_context);
    epoch_enter(config->epoch);
    ret_source->snapshot = atomic_load(&server->snapshot);
    if (dns_snapshot_needs_leader(ret_source->snapshot)) {
        ready = config->has_leader == NULL || config->has_leader(config->ready_context);
    }
    ret_source->view = ready ? catalog_view(config->catalog) : NULL;
    ret_source->partial = false;
    if (dns_snapshot_config(ret_source->snapshot)->asks_servers) {
        ret_source->partial = !config->has_leader(config->ready_context);
        ret_source->view = ret_source->partial ? catalog_view(config->own) : NULL;
    }
    ret_source->wall_s = clock_wall_ms() / 1000;
}

void dns_source_exit(struct dns_server *server) {
    epoch_exit(server->config.epoch);
}

void dns_server_note_skipped(struct dns_server *server, const char *node) {
    if (node == NULL) {
        return;
    }
    uint64_t hash = hash_bytes(1, node, strlen(node));
    pthread_mutex_lock(&server->told_lock);
    bool told = server->told_count == LIMIT_DNS_NODES_TOLD;
    for (unsigned i = 0; i < server->told_count && !told; i++) {
        told = server->told[i] == hash;
    }
    if (!told) {
        server->told[server->told_count++] = hash;
    }
    pthread_mutex_unlock(&server->told_lock);
    if (!told) {
        log_write(server->log, LOG_WARN, "agent.dns",
                  "node is left out of NS records: its name is no host name: node=\"%.128s\"",
                  node);
    }
}

/* The sockets of one start, until threads take them. */
struct sockets {
    int tcp[LIMIT_DNS_LISTEN];
    int udp[LIMIT_DNS_THREADS][LIMIT_DNS_LISTEN];
};

static void close_all(int *fds, unsigned count) {
    for (unsigned i = 0; i < count; i++) {
        if (fds[i] >= 0) {
            close(fds[i]);
            fds[i] = -1;
        }
    }
}

static void close_sockets(struct sockets *sockets) {
    close_all(sockets->tcp, LIMIT_DNS_LISTEN);
    for (unsigned t = 0; t < LIMIT_DNS_THREADS; t++) {
        close_all(sockets->udp[t], LIMIT_DNS_LISTEN);
    }
}

/* What the answers need from a datagram socket. */
static void tune_udp(int fd, const struct addr *addr) {
    bool v6 = addr->any.sa_family == AF_INET6;
    udp_widen(fd);
    /* Forged "packet too big" messages must not make this host fragment its answers. */
    int omit = v6 ? IPV6_PMTUDISC_OMIT : IP_PMTUDISC_OMIT;
    setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_MTU_DISCOVER : IP_MTU_DISCOVER, &omit,
               sizeof omit);
    int on = 1;
    if (addr_is_any(addr)) {
        setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVPKTINFO : IP_PKTINFO, &on,
                   sizeof on);
    }
}

static bool learn_port(int fd, struct addr *addr) {
    socklen_t size = sizeof *addr;
    return getsockname(fd, &addr->any, &size) == 0;
}

/* All sockets of one address. SO_REUSEPORT would let two agents share a port without a word, so a
 * socket without it asks first. */
static bool bind_address(struct addr *addr, unsigned index, unsigned threads,
                         struct sockets *sockets, struct err_text *text) {
    int tcp = sockets->tcp[index] = addr_bind(addr, SOCK_STREAM, false, text);
    if (tcp < 0 || !learn_port(tcp, addr)) {
        return false;
    }
    int probe = addr_bind(addr, SOCK_DGRAM, false, text);
    if (probe < 0) {
        return false;
    }
    close(probe);
    for (unsigned t = 0; t < threads; t++) {
        int udp = sockets->udp[t][index] = addr_bind(addr, SOCK_DGRAM, true, text);
        if (udp < 0) {
            return false;
        }
        tune_udp(udp, addr);
    }
    return true;
}

static bool bind_any_port(struct addr *addr, unsigned index, unsigned threads,
                          struct sockets *sockets, struct err_text *text) {
    const struct addr wanted = *addr;
    unsigned tries = addr_port(&wanted) == 0 ? FREE_PORT_TRIES : 1;
    for (unsigned i = 0; i < tries; i++) {
        *addr = wanted;
        if (bind_address(addr, index, threads, sockets, text)) {
            return true;
        }
        close_all(&sockets->tcp[index], 1);
        for (unsigned t = 0; t < threads; t++) {
            close_all(&sockets->udp[t][index], 1);
        }
    }
    return false;
}

static bool start_threads(struct dns_server *server, struct sockets *sockets,
                          struct err_text *text) {
    uint64_t seed = server->config.seed;
    server->relay = relay_start(server, hash_mix(~seed), text);
    if (server->relay == NULL) {
        return false;
    }
    server->tcp = dns_tcp_start(server, sockets->tcp, hash_mix(seed), text);
    memset(sockets->tcp, -1, sizeof sockets->tcp);
    if (server->tcp == NULL) {
        return false;
    }
    for (unsigned t = 0; t < server->config.threads; t++) {
        server->udp[t] = udp_start(server, sockets->udp[t], hash_mix(seed + t + 1));
        memset(sockets->udp[t], -1, sizeof sockets->udp[t]);
    }
    return true;
}

struct dns_server *dns_server_start(const struct dns_server_config *config, struct log *log,
                                    struct err_text *text) {
    ASSERT(config->listen_count > 0 && config->listen_count <= LIMIT_DNS_LISTEN);
    ASSERT(config->threads <= LIMIT_DNS_THREADS);
    struct dns_snapshot *snapshot = dns_snapshot_create(&config->answers, text);
    if (snapshot == NULL) {
        return NULL;
    }
    struct dns_server *server = mem_calloc(1, sizeof *server);
    server->config = *config;
    server->config.threads = config->threads == 0 ? THREADS_DEFAULT : config->threads;
    server->config.listen = server->listen;
    dns_timings_init(&server->timings, config->metrics, config->answers.node_name);
    memset(&server->config.answers, 0, sizeof server->config.answers);
    memcpy(server->listen, config->listen, config->listen_count * sizeof *config->listen);
    server->log = log;
    atomic_init(&server->snapshot, snapshot);
    ASSERT(pthread_mutex_init(&server->told_lock, NULL) == 0);
    ASSERT(pthread_mutex_init(&server->ask_lock, NULL) == 0);
    server->ask_scratch = dns_scratch_create(hash_mix(config->seed + LIMIT_DNS_THREADS + 1));
    server->stop_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    struct sockets sockets;
    memset(&sockets, -1, sizeof sockets);
    bool ok = server->stop_fd >= 0;
    if (!ok) {
        err_set_errno(text, errno, "cannot make an event descriptor");
    }
    for (unsigned i = 0; i < config->listen_count && ok; i++) {
        ok = bind_any_port(&server->listen[i], i, server->config.threads, &sockets, text);
    }
    ok = ok && start_threads(server, &sockets, text);
    if (!ok) {
        close_sockets(&sockets);
        dns_server_stop(server);
        err_prefix(text, "dns");
        return NULL;
    }
    return server;
}

void dns_server_reload(struct dns_server *server, const struct dns_config *answers) {
    struct dns_snapshot *snapshot = dns_snapshot_create(answers, NULL);
    ASSERT(snapshot != NULL);
    epoch_retire(server->config.epoch, atomic_exchange(&server->snapshot, snapshot));
}

void dns_server_stop(struct dns_server *server) {
    if (server == NULL) {
        return;
    }
    if (server->stop_fd >= 0) {
        uint64_t one = 1;
        ASSERT(write(server->stop_fd, &one, sizeof one) == (ssize_t)sizeof one);
    }
    relay_stop(server->relay); /* before the sockets that it answers by */
    for (unsigned t = 0; t < LIMIT_DNS_THREADS; t++) {
        udp_stop(server->udp[t]);
    }
    dns_tcp_stop(server->tcp);
    relay_destroy(server->relay); /* after all that hand over to it */
    dns_scratch_destroy(server->ask_scratch);
    free(server->ask_out);
    pthread_mutex_destroy(&server->ask_lock);
    pthread_mutex_destroy(&server->told_lock);
    if (server->stop_fd >= 0) {
        close(server->stop_fd);
    }
    free(atomic_load(&server->snapshot));
    free(server);
}

static void tell_carried(struct relay_query *query, const uint8_t *answer, size_t bytes) {
    struct dns_carried *carried = query->context;
    carried->answered(carried, answer, bytes);
    relay_query_destroy(query);
}

static void drop_carried(struct relay_query *query) {
    struct dns_carried *carried = query->context;
    carried->answered(carried, NULL, 0);
}

/* False: nothing is needed of others, it went round too far, or they have enough to do. */
static bool hand_over(struct dns_server *server, struct dns_carried *carried,
                      const struct dns_source *source) {
    const struct dns_wanted *wanted = dns_scratch_wanted(server->ask_scratch);
    if (wanted->need == DNS_NEEDS_NOTHING ||
        (wanted->need == DNS_NEEDS_SERVER && carried->hops >= LIMIT_CARRY_HOPS)) {
        return false;
    }
    struct relay_query *query = relay_query_create(server->relay, source->snapshot, wanted,
                                                   carried->request, carried->size, carried->tcp);
    if (query == NULL) {
        return false;
    }
    query->answered = tell_carried;
    query->context = carried;
    query->hops = carried->hops;
    query->wan_for = carried->wan_for;
    query->dropped = drop_carried;
    relay_query_submit(query);
    return true;
}

static bool is_far(const struct dns_source *source, const char *datacenter) {
    return *datacenter != '\0' &&
           !str_equal_fold(datacenter, dns_snapshot_config(source->snapshot)->datacenter);
}

void dns_server_ask(struct dns_server *server, struct dns_carried *carried) {
    struct dns_source source;
    pthread_mutex_lock(&server->ask_lock);
    if (server->ask_out == NULL) {
        server->ask_out = mem_alloc(DNS_MESSAGE_BYTES);
    }
    dns_source_enter(server, &source);
    struct dns_question question = {.request = carried->request,
                                    .request_bytes = carried->size,
                                    .tcp = carried->tcp,
                                    .view = source.view,
                                    .partial = source.partial,
                                    .backend = server->config.backend,
                                    .wan = is_far(&source, carried->wan_for),
                                    .wall_s = source.wall_s};
    size_t bytes = dns_answer(server->ask_scratch, source.snapshot, &question, server->ask_out);
    bool handed_over = hand_over(server, carried, &source);
    dns_source_exit(server);
    if (!handed_over) {
        carried->answered(carried, server->ask_out, bytes);
    }
    pthread_mutex_unlock(&server->ask_lock);
}

uint16_t dns_server_port(const struct dns_server *server, unsigned index) {
    ASSERT(index < server->config.listen_count);
    return addr_port(&server->listen[index]);
}

void dns_server_get_stats(const struct dns_server *server, struct dns_server_stats *ret_stats) {
    *ret_stats = (struct dns_server_stats){
        .udp_queries = atomic_load_explicit(&server->udp_queries, memory_order_relaxed),
        .tcp_queries = atomic_load_explicit(&server->tcp_queries, memory_order_relaxed),
        .udp_dropped = atomic_load_explicit(&server->udp_dropped, memory_order_relaxed),
        .relayed = server->relay != NULL ? relay_under_way(server->relay) : 0,
        .tcp_connections = atomic_load_explicit(&server->tcp_connections, memory_order_relaxed),
    };
}
