/* Datagrams of one socket on a loop. A simulator puts another implementation behind this header. */
#ifndef NET_UDP_H
#define NET_UDP_H

#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/loop.h"

#define UDP_BYTES_MAX 2048 /* larger datagrams that arrive are dropped */

struct udp;

struct udp_events {
    /* A datagram; the bytes are writable and borrowed until it returns. */
    void (*received)(void *context, const struct addr *from, uint8_t *data, size_t size);
    /* The host at this address answered that nothing listens on the port. May be NULL. */
    void (*refused)(void *context, const struct addr *to);
};

/* events is borrowed. NULL and a sentence when the address cannot be bound. */
struct udp *udp_open(struct loop *loop, const struct addr *bind, const struct udp_events *events,
                     void *context, struct err_text *text);
/* Allowed inside events. NULL is allowed. */
void udp_close(struct udp *udp);

/* Room for a burst in the buffers of a datagram socket, whoever reads it: LIMIT_UDP_BUFFER_BYTES
 * with CAP_NET_ADMIN, else what net.core.rmem_max and wmem_max allow. */
void udp_widen(int fd);

/* Never waits: a datagram that the system has no room for is lost, as on the wire. ERR_IO: not
 * sent. */
enum err udp_send(struct udp *udp, const struct addr *to, const void *data, size_t size);

/* Since the start. */
struct udp_counts {
    uint64_t sent, received, sent_bytes, received_bytes;
    uint64_t send_failed, too_large;
};
void udp_get_counts(const struct udp *udp, struct udp_counts *ret_counts);

#endif
