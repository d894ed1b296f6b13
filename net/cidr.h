/* Networks as in "10.0.0.0/8" or "fd00::/8". */
#ifndef NET_CIDR_H
#define NET_CIDR_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

struct cidr {
    uint8_t ip[16]; /* IPv4 as mapped */
    unsigned bits;  /* of the 128 */
};

bool cidr_parse(const char *s, struct cidr *ret_cidr);
/* False for addresses that are not of the internet. */
bool cidr_contains(const struct cidr *cidr, const struct sockaddr *address);

#endif
