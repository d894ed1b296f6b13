/* One question to the recursors, one after the other, until one of them answers (contract 1.7). On
 * the loop of the relay; each attempt has a socket, and so a port, of its own. */
#ifndef DNS_EXCHANGE_H
#define DNS_EXCHANGE_H

#include "dns/wire.h"
#include "net/addr.h"
#include "net/loop.h"

struct exchange {
    /* Set by the caller, and borrowed until done runs or exchange_stop returns. */
    struct loop *loop;
    const struct addr *recursors; /* in the order in which they are asked */
    unsigned recursor_count;
    int64_t timeout_ms;     /* of each */
    const uint8_t *request; /* with one question */
    size_t request_bytes, name_bytes;
    bool tcp;          /* what they are asked over; UDP otherwise */
    bool whole;        /* a truncated answer is asked for again over TCP */
    uint8_t *datagram; /* DNS_MESSAGE_BYTES of room, which all exchanges of the loop share */
    /* Once, perhaps within exchange_start: the reply with the request's id and name in it, valid
     * until done returns; NULL: nobody answered. The exchange may be freed. */
    void (*done)(struct exchange *exchange, uint8_t *reply, size_t bytes);
    void *context;

    /* Its own. */
    unsigned at; /* the recursor that is being asked */
    bool stream; /* over TCP */
    int fd;      /* -1: none */
    struct loop_poll *poll;
    struct loop_timer timer;
    uint8_t *sent; /* length, then the message */
    size_t sent_at;
    uint8_t *in; /* of a stream: length, then the reply */
    size_t in_count;
};

void exchange_start(struct exchange *exchange);
/* Ends it without done. Also after done, and where it was never started but is all zero. */
void exchange_stop(struct exchange *exchange);

#endif
