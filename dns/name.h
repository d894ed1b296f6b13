/* The grammar of the names that are served (contract 1.2). Pure.
 *
 *   <node>.node[.<dc>]              [<tag>.]<service>.service[.<dc>]
 *   <hex>.addr                      _<service>._<tag>[.service][.<dc>]  (RFC 2782)
 *   <query>.query[.<dc>]            _<query>._<protocol>.query[.<dc>]
 *   <reverse address>.in-addr.arpa / .ip6.arpa
 *
 * under each served domain; <dc> may be followed by the label "dc", but not behind a query. */
#ifndef DNS_NAME_H
#define DNS_NAME_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "dns/wire.h"

#define DNS_DOMAINS 3

/* A served domain: a wire name in lower case. */
struct dns_domain {
    uint8_t name[DNS_NAME_BYTES];
    uint8_t bytes; /* of name, with the root */
    uint8_t labels;
};

enum dns_name_kind {
    DNS_NAME_OUTSIDE, /* of no served domain */
    DNS_NAME_UNKNOWN, /* inside one, but no form of the grammar, or one that is not offered */
    DNS_NAME_NODE,
    DNS_NAME_SERVICE,
    DNS_NAME_ADDR,
    DNS_NAME_QUERY,
    DNS_NAME_REVERSE
};

struct dns_name {
    enum dns_name_kind kind;
    uint16_t domain_at;           /* where the served domain starts in the wire name */
    char subject[DNS_NAME_BYTES]; /* node, service or query, lower case; never "" for these kinds */
    char tag[DNS_NAME_BYTES];     /* "" = no filter */
    char dc[DNS_LABEL_BYTES + 1]; /* "" = the agent's */
    uint8_t address[16];          /* ADDR; REVERSE when address_bytes > 0 */
    uint8_t address_bytes;        /* 4 or 16; REVERSE: 0 = no address that could be looked up */
};

/* name is a whole wire name of `bytes`. Only the fields that the kind has are set. */
void dns_name_parse(const uint8_t *name, size_t bytes, uint16_t qtype,
                    const struct dns_domain *domains, unsigned domain_count,
                    struct dns_name *ret_name);

#endif
