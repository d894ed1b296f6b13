/* The datacenters of the wide-area pool, the nearest first (contract 8.3, 13). */
#ifndef HTTP_DATACENTERS_H
#define HTTP_DATACENTERS_H

#include "http/request.h"

struct http_datacenter {
    const char *name;
    double rtt_s; /* median to its servers; 0 for our own, INFINITY: not known */
    /* Its servers whose coordinates are known, by name, without the datacenter's. */
    const char **servers;
    const struct coordinate **coordinates;
    uint32_t count;
};

struct http_datacenters {
    struct http_datacenter *v; /* never empty: at least our own */
    uint32_t count;
};

/* Inside an epoch section, or on the core's thread. In the arena. */
struct http_datacenters http_datacenters_list(const struct backend *backend, struct arena *arena);

#endif
