#include "net/udp.h"

#include <errno.h>
#include <linux/errqueue.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/limits.h"
#include "base/mem.h"

struct udp {
    struct loop *loop;
    int fd;
    struct loop_poll *poll;
    const struct udp_events *events;
    void *context;
    struct udp_counts counts;
    bool reading, closed;
};

static void read_batch(struct udp *udp, int *ret_count) {
    uint8_t bytes[LIMIT_UDP_BATCH][UDP_BYTES_MAX];
    struct addr from[LIMIT_UDP_BATCH];
    struct iovec parts[LIMIT_UDP_BATCH];
    struct mmsghdr batch[LIMIT_UDP_BATCH];
    memset(batch, 0, sizeof batch);
    for (int i = 0; i < LIMIT_UDP_BATCH; i++) {
        parts[i] = (struct iovec){bytes[i], UDP_BYTES_MAX};
        batch[i].msg_hdr = (struct msghdr){.msg_name = &from[i],
                                           .msg_namelen = sizeof from[i],
                                           .msg_iov = &parts[i],
                                           .msg_iovlen = 1};
    }
    int count = recvmmsg(udp->fd, batch, LIMIT_UDP_BATCH, MSG_DONTWAIT, NULL);
    for (int i = 0; i < count && !udp->closed; i++) {
        udp->counts.received++;
        udp->counts.received_bytes += batch[i].msg_len;
        if ((batch[i].msg_hdr.msg_flags & MSG_TRUNC) != 0) {
            udp->counts.too_large++;
            continue;
        }
        udp->events->received(udp->context, &from[i], bytes[i], batch[i].msg_len);
    }
    *ret_count = count;
}

/* Whether the error says that nothing listens on the port. */
static bool is_refusal(struct msghdr *message) {
    for (struct cmsghdr *at = CMSG_FIRSTHDR(message); at != NULL; at = CMSG_NXTHDR(message, at)) {
        bool v4 = at->cmsg_level == IPPROTO_IP && at->cmsg_type == IP_RECVERR;
        bool v6 = at->cmsg_level == IPPROTO_IPV6 && at->cmsg_type == IPV6_RECVERR;
        if (v4 || v6) {
            struct sock_extended_err err;
            memcpy(&err, CMSG_DATA(at), sizeof err);
            return err.ee_errno == ECONNREFUSED &&
                   (err.ee_origin == SO_EE_ORIGIN_ICMP || err.ee_origin == SO_EE_ORIGIN_ICMP6);
        }
    }
    return false;
}

/* ICMP errors wait in a queue of their own, with the address that the datagram was sent to. */
static void read_errors(struct udp *udp) {
    for (int i = 0; i < LIMIT_UDP_TURN && !udp->closed; i++) {
        struct addr to;
        char control[256];
        memset(&to, 0, sizeof to);
        struct msghdr message = {.msg_name = &to,
                                 .msg_namelen = sizeof to,
                                 .msg_control = control,
                                 .msg_controllen = sizeof control};
        if (recvmsg(udp->fd, &message, MSG_ERRQUEUE | MSG_DONTWAIT) < 0) {
            return;
        }
        if (is_refusal(&message) && udp->events->refused != NULL) {
            udp->events->refused(udp->context, &to);
        }
    }
}

static void ready(void *context, int events) {
    struct udp *udp = context;
    udp->reading = true;
    if ((events & LOOP_WRITABLE) != 0) { /* not asked for: it stands for an error */
        read_errors(udp);
        if (!udp->closed) {
            loop_poll_set(udp->poll, LOOP_READABLE); /* an error has ended the watch */
        }
    }
    int count = LIMIT_UDP_BATCH;
    for (int total = 0; count == LIMIT_UDP_BATCH && total < LIMIT_UDP_TURN && !udp->closed;
         total += count) {
        read_batch(udp, &count);
        if (count < 0 && errno != EAGAIN && errno != EWOULDBLOCK) {
            break; /* an ICMP error of an earlier datagram: read away, the next turn reads on */
        }
    }
    udp->reading = false;
    if (udp->closed) {
        free(udp);
    }
}

static void widen(int fd, int past_the_bound, int within_it) {
    int bytes = LIMIT_UDP_BUFFER_BYTES;
    if (setsockopt(fd, SOL_SOCKET, past_the_bound, &bytes, sizeof bytes) != 0) {
        setsockopt(fd, SOL_SOCKET, within_it, &bytes, sizeof bytes);
    }
}

void udp_widen(int fd) {
    widen(fd, SO_RCVBUFFORCE, SO_RCVBUF);
    widen(fd, SO_SNDBUFFORCE, SO_SNDBUF);
}

struct udp *udp_open(struct loop *loop, const struct addr *bind, const struct udp_events *events,
                     void *context, struct err_text *text) {
    int fd = addr_bind(bind, SOCK_DGRAM, false, text);
    if (fd < 0) {
        return NULL;
    }
    udp_widen(fd);
    int on = 1;
    bool v6 = bind->any.sa_family == AF_INET6;
    setsockopt(fd, v6 ? IPPROTO_IPV6 : IPPROTO_IP, v6 ? IPV6_RECVERR : IP_RECVERR, &on, sizeof on);
    struct udp *udp = mem_calloc(1, sizeof *udp);
    udp->loop = loop;
    udp->fd = fd;
    udp->events = events;
    udp->context = context;
    udp->poll = loop_poll_create(loop, fd, ready, udp);
    loop_poll_set(udp->poll, LOOP_READABLE);
    return udp;
}

void udp_close(struct udp *udp) {
    if (udp == NULL) {
        return;
    }
    loop_poll_destroy(udp->poll);
    close(udp->fd);
    udp->closed = true;
    if (!udp->reading) {
        free(udp);
    }
}

enum err udp_send(struct udp *udp, const struct addr *to, const void *data, size_t size) {
    ssize_t n = sendto(udp->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL, &to->any, addr_size(to));
    if (n < 0 && (errno == ECONNREFUSED || errno == EHOSTUNREACH || errno == ENETUNREACH)) {
        /* Most likely the error of an earlier datagram, to somebody else. */
        n = sendto(udp->fd, data, size, MSG_DONTWAIT | MSG_NOSIGNAL, &to->any, addr_size(to));
    }
    if (n < 0) {
        udp->counts.send_failed++;
        return ERR_IO;
    }
    udp->counts.sent++;
    udp->counts.sent_bytes += size;
    return ERR_OK;
}

void udp_get_counts(const struct udp *udp, struct udp_counts *ret_counts) {
    *ret_counts = udp->counts;
}
