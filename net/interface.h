/* The addresses of this host's interfaces, for address templates. */
#ifndef NET_INTERFACE_H
#define NET_INTERFACE_H

#include <stdbool.h>

#include "net/addr.h"

struct interface {
    const char *name;
    struct addr addr;
    bool private_address; /* of RFC 1918, RFC 6598 or RFC 4193 */
    bool link_local;
    bool has_default_route;
};

/* Calls visit for each address of an interface that is up: those of the interface with the default
 * route first, then IPv4 before IPv6, else in the system's order. The struct is borrowed. */
enum err interface_walk(void (*visit)(const struct interface *interface, void *context),
                        void *context, struct err_text *text);

#endif
