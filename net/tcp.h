/* TCP streams on a loop: bytes out are queued, bytes in are told. A simulator puts another
 * implementation behind this header. */
#ifndef NET_TCP_H
#define NET_TCP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/loop.h"

struct tcp;
struct tcp_listener;

struct tcp_events {
    void (*connected)(void *context); /* of tcp_connect */
    /* Bytes as they arrive, writable, borrowed until it returns. */
    void (*received)(void *context, uint8_t *data, size_t size);
    /* The queue, which was not empty, is. */
    void (*drained)(void *context);
    /* The last event: the peer closed (ERR_CLOSED), nothing listens there (ERR_NOT_FOUND), or the
     * stream broke. tcp_close is still to be
     * called. */
    void (*closed)(void *context, enum err err, const struct err_text *text);
};

/* accepted owns tcp and calls tcp_begin or tcp_close before it returns. NULL and a sentence when
 * the address cannot be bound. */
struct tcp_listener *tcp_listen(struct loop *loop, const struct addr *bind,
                                void (*accepted)(void *context, struct tcp *tcp,
                                                 const struct addr *from),
                                void *context, struct err_text *text);
void tcp_listener_close(struct tcp_listener *listener); /* NULL is allowed */

/* Starts to connect; from, which may be NULL, is the local address. Never NULL: failure, and a
 * connection that is not there after timeout_ms, are told by closed, never from within this call.
 */
struct tcp *tcp_connect(struct loop *loop, const struct addr *to, const struct addr *from,
                        int timeout_ms, const struct tcp_events *events, void *context);
/* Of an accepted stream: events come from now on. The table is borrowed for the stream's life. */
void tcp_begin(struct tcp *tcp, const struct tcp_events *events, void *context);

/* Takes data, from malloc. Failure is told by closed. Allowed before connected. */
void tcp_write(struct tcp *tcp, uint8_t *data, size_t size);
size_t tcp_queued_bytes(const struct tcp *tcp);
/* Rests reading: the peer's bytes wait in the system. */
void tcp_pause(struct tcp *tcp, bool pause);
/* No event comes any more. Allowed inside events. What is queued and the system takes without
 * waiting is still sent. NULL is allowed. */
void tcp_close(struct tcp *tcp);

#endif
