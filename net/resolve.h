/* Names to addresses, by c-ares on a loop: nothing blocks. Each question reads the resolver's
 * configuration of this host anew, so a changed one counts for the next try. */
#ifndef NET_RESOLVE_H
#define NET_RESOLVE_H

#include <stddef.h>
#include <stdint.h>

#include "net/addr.h"
#include "net/loop.h"

struct resolver;

struct resolver *resolver_create(struct loop *loop);
/* Nothing may wait any more. NULL is allowed. */
void resolver_destroy(struct resolver *resolver);

/* One question. Owned by the caller until done ran. */
struct resolve_wait {
    /* All A and AAAA addresses in the order in which they are to be tried, borrowed until it
     * returns; count > 0 with ERR_OK. ERR_NOT_FOUND, ERR_TIMEOUT, ERR_IO and a sentence. */
    void (*done)(struct resolve_wait *wait, enum err err, const struct addr *addresses,
                 size_t count, const struct err_text *text);
    struct resolve_query *query; /* private */
};

/* name: a literal, whose answer is itself, or a host name. done runs later, never from within. */
void resolver_ask(struct resolver *resolver, struct resolve_wait *wait, const char *name,
                  uint16_t port, int timeout_ms);
/* done does not run any more. */
void resolver_cancel(struct resolver *resolver, struct resolve_wait *wait);

/* "host", "host:port", "1.2.3.4", "1.2.3.4:port", "::1", "[::1]", "[::1]:port" into host (at most
 * host_bytes with the NUL, no brackets) and port (default_port when there is none). False: none of
 * these. */
bool resolve_split(const char *text, uint16_t default_port, char *host, size_t host_bytes,
                   uint16_t *ret_port);

#endif
