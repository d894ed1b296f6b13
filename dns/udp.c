#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "dns/relay.h"
#include "dns/server_internal.h"

#define OUT_BYTES                                                                                  \
    (4 * DNS_MESSAGE_BYTES) /* answers of one batch; sent early when it runs short                 \
                             */
#define BATCHES_A_TURN 16   /* of one socket, before the others have their turn */
#define CONTROL_BYTES CMSG_SPACE(sizeof(struct in6_pktinfo))

_Static_assert(sizeof(struct in_pktinfo) <= sizeof(struct in6_pktinfo), "either fits");
_Static_assert(CONTROL_BYTES <= sizeof((struct relay_query *)0)->control, "and in a query");

/* One datagram: what came, and what goes back the same way. */
struct datagram {
    struct addr peer;
    _Alignas(struct cmsghdr) uint8_t control[CONTROL_BYTES];
    struct iovec in, out;
    uint8_t request[LIMIT_DNS_UDP_REQUEST_BYTES];
};

struct udp_thread {
    struct dns_server *server;
    pthread_t thread;
    int fds[LIMIT_DNS_LISTEN];
    struct dns_scratch *scratch;
    struct mmsghdr in[LIMIT_DNS_BATCH], out[LIMIT_DNS_BATCH];
    struct datagram datagrams[LIMIT_DNS_BATCH];
    struct dns_asked asked[LIMIT_DNS_BATCH];
    uint8_t answers[OUT_BYTES];
};

static void prepare(struct udp_thread *thread, bool any_address) {
    for (unsigned i = 0; i < LIMIT_DNS_BATCH; i++) {
        struct datagram *datagram = &thread->datagrams[i];
        datagram->in = (struct iovec){datagram->request, sizeof datagram->request};
        thread->in[i].msg_hdr = (struct msghdr){
            .msg_name = &datagram->peer,
            .msg_namelen = sizeof datagram->peer,
            .msg_iov = &datagram->in,
            .msg_iovlen = 1,
            .msg_control = any_address ? datagram->control : NULL,
            .msg_controllen = any_address ? sizeof datagram->control : 0,
        };
    }
}

/* The answer leaves from the address that was asked; the routes choose the interface, except for
 * IPv6, where a link-local address means nothing without one. */
static void turn_round(struct msghdr *message) {
    struct cmsghdr *header = CMSG_FIRSTHDR(message);
    if (header != NULL && header->cmsg_level == IPPROTO_IP && header->cmsg_type == IP_PKTINFO) {
        struct in_pktinfo info;
        memcpy(&info, CMSG_DATA(header), sizeof info);
        info.ipi_ifindex = 0;
        memcpy(CMSG_DATA(header), &info, sizeof info);
    }
    message->msg_flags = 0;
}

/* Sends what the system takes; what it refuses is lost, as datagrams may be. */
static void send_all(struct udp_thread *thread, int fd, unsigned count) {
    unsigned dropped = 0;
    for (unsigned at = 0; at < count;) {
        int sent = sendmmsg(fd, thread->out + at, count - at, MSG_DONTWAIT);
        if (sent > 0) {
            at += (unsigned)sent;
        } else if (errno != EINTR) {
            at++;
            dropped++;
        }
    }
    if (dropped > 0) {
        atomic_fetch_add_explicit(&thread->server->udp_dropped, dropped, memory_order_relaxed);
    }
}

/* On the relay's thread. */
static void send_relayed(struct relay_query *query, const uint8_t *answer, size_t bytes) {
    struct dns_server *server = query->context;
    struct iovec out = {(void *)(uintptr_t)answer, bytes};
    struct msghdr message = {
        .msg_name = &query->peer,
        .msg_namelen = addr_size(&query->peer),
        .msg_iov = &out,
        .msg_iovlen = 1,
        .msg_control = query->control_bytes > 0 ? query->control : NULL,
        .msg_controllen = query->control_bytes,
    };
    turn_round(&message);
    if (bytes == 0 || sendmsg(query->fd, &message, MSG_DONTWAIT) < 0) {
        atomic_fetch_add_explicit(&server->udp_dropped, 1, memory_order_relaxed);
    }
    relay_query_destroy(query);
}

/* False: nothing is needed of recursors, or they have enough to do. */
static bool hand_over(struct udp_thread *thread, int fd, unsigned i,
                      const struct dns_source *source) {
    const struct dns_wanted *wanted = dns_scratch_wanted(thread->scratch);
    struct datagram *datagram = &thread->datagrams[i];
    const struct msghdr *message = &thread->in[i].msg_hdr;
    if (wanted->need == DNS_NEEDS_NOTHING || (message->msg_flags & MSG_TRUNC) != 0) {
        return false;
    }
    struct relay_query *query = relay_query_create(thread->server->relay, source->snapshot, wanted,
                                                   datagram->request, thread->in[i].msg_len, false);
    if (query == NULL) {
        return false;
    }
    query->answered = send_relayed;
    query->context = thread->server;
    query->fd = fd;
    query->peer = datagram->peer;
    query->control_bytes = message->msg_control != NULL ? message->msg_controllen : 0;
    memcpy(query->control, datagram->control, query->control_bytes);
    relay_query_submit(query);
    return true;
}

/* A question's time is its batch's, shared out: the clock is read twice a batch, not a question. */
static void note_batch(struct udp_thread *thread, unsigned count, double ms) {
    for (unsigned i = 0; i < count; i++) {
        dns_timings_note(&thread->server->timings, &thread->asked[i], ms / count);
    }
}

static void answer_batch(struct udp_thread *thread, int fd, unsigned count) {
    struct dns_server *server = thread->server;
    struct dns_source source;
    unsigned out = 0;
    unsigned silent = 0;
    size_t used = 0;
    uint64_t begun_at_ns = metrics_clock_ns();
    dns_source_enter(server, &source);
    for (unsigned i = 0; i < count; i++) {
        struct datagram *datagram = &thread->datagrams[i];
        if (OUT_BYTES - used < DNS_MESSAGE_BYTES) {
            send_all(thread, fd, out);
            out = 0;
            used = 0;
        }
        struct dns_question question = {.request = datagram->request,
                                        .request_bytes = thread->in[i].msg_len,
                                        .view = source.view,
                                        .partial = source.partial,
                                        .backend = server->config.backend,
                                        .wall_s = source.wall_s,
                                        .client = &datagram->peer};
        size_t bytes =
            dns_answer(thread->scratch, source.snapshot, &question, thread->answers + used);
        thread->asked[i] = dns_scratch_asked(thread->scratch);
        dns_server_note_skipped(server, dns_scratch_skipped_node(thread->scratch));
        if (hand_over(thread, fd, i, &source)) {
            continue;
        }
        if (bytes == 0) {
            silent++;
            continue;
        }
        datagram->out = (struct iovec){thread->answers + used, bytes};
        struct msghdr *message = &thread->out[out++].msg_hdr;
        *message = thread->in[i].msg_hdr;
        message->msg_iov = &datagram->out;
        turn_round(message);
        used += bytes;
    }
    dns_source_exit(server);
    send_all(thread, fd, out);
    note_batch(thread, count, metrics_ms_since(begun_at_ns, metrics_clock_ns()));
    atomic_fetch_add_explicit(&server->udp_queries, count, memory_order_relaxed);
    if (silent > 0) {
        atomic_fetch_add_explicit(&server->udp_dropped, silent, memory_order_relaxed);
    }
}

static void serve_socket(struct udp_thread *thread, unsigned index) {
    int fd = thread->fds[index];
    bool any_address = addr_is_any(&thread->server->listen[index]);
    for (unsigned round = 0; round < BATCHES_A_TURN; round++) {
        prepare(thread, any_address);
        int count = recvmmsg(fd, thread->in, LIMIT_DNS_BATCH, MSG_DONTWAIT, NULL);
        if (count <= 0) {
            return;
        }
        answer_batch(thread, fd, (unsigned)count);
    }
}

static void *run(void *context) {
    struct udp_thread *thread = context;
    unsigned count = thread->server->config.listen_count;
    struct pollfd polls[LIMIT_DNS_LISTEN + 1];
    for (unsigned i = 0; i < count; i++) {
        polls[i] = (struct pollfd){.fd = thread->fds[i], .events = POLLIN};
    }
    polls[count] = (struct pollfd){.fd = thread->server->stop_fd, .events = POLLIN};
    for (;;) {
        if (poll(polls, count + 1, -1) < 0) {
            ASSERT(errno == EINTR || errno == ENOMEM);
            continue;
        }
        if (polls[count].revents != 0) {
            return NULL;
        }
        for (unsigned i = 0; i < count; i++) {
            if (polls[i].revents != 0) {
                serve_socket(thread, i);
            }
        }
    }
}

struct udp_thread *udp_start(struct dns_server *server, const int *fds, uint64_t seed) {
    struct udp_thread *thread = mem_calloc(1, sizeof *thread);
    thread->server = server;
    memcpy(thread->fds, fds, sizeof thread->fds);
    thread->scratch = dns_scratch_create(seed);
    ASSERT(pthread_create(&thread->thread, NULL, run, thread) == 0);
    pthread_setname_np(thread->thread, "dns-udp");
    return thread;
}

void udp_stop(struct udp_thread *thread) {
    if (thread == NULL) {
        return;
    }
    ASSERT(pthread_join(thread->thread, NULL) == 0);
    for (unsigned i = 0; i < thread->server->config.listen_count; i++) {
        close(thread->fds[i]);
    }
    dns_scratch_destroy(thread->scratch);
    free(thread);
}
