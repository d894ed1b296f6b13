/* Socket addresses as values: IPv4 or IPv6 with a port. */
#ifndef NET_ADDR_H
#define NET_ADDR_H

#include <netinet/in.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

#include "base/err.h"

#define ADDR_TEXT_BYTES 64

struct addr {
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    };
};

/* ip: an IPv4 or IPv6 literal, IPv6 with or without brackets. False: it is neither. */
bool addr_parse(const char *ip, uint16_t port, struct addr *ret_addr);
socklen_t addr_size(const struct addr *addr);
uint16_t addr_port(const struct addr *addr);
void addr_set_port(struct addr *addr, uint16_t port);
bool addr_is_any(const struct addr *addr); /* 0.0.0.0 or :: */
bool addr_is_loopback(const struct addr *addr);
/* "10.0.0.1" or "::1". */
void addr_format_ip(const struct addr *addr, char out[ADDR_TEXT_BYTES]);
/* "10.0.0.1:8500" or "[::1]:8500". */
void addr_format(const struct addr *addr, char out[ADDR_TEXT_BYTES]);

/* A bound, non-blocking, close-on-exec socket that the caller closes; SOCK_STREAM ones listen.
 * reuse_port lets several sockets share a port (SO_REUSEPORT). -1 and a sentence on failure. */
int addr_bind(const struct addr *addr, int type, bool reuse_port, struct err_text *text);

/* The address that a host without a configured one advertises: its single private IPv4 address
 * (RFC 1918, RFC 6598). Errors: the contract's sentences for none and for several. */
enum err addr_find_private(struct addr *ret_addr, struct err_text *text);

#endif
