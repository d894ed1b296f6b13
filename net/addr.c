#include "net/addr.h"

#include <arpa/inet.h>
#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define BACKLOG 4096

bool addr_parse(const char *ip, uint16_t port, struct addr *ret_addr) {
    struct addr addr;
    memset(&addr, 0, sizeof addr);
    if (inet_pton(AF_INET, ip, &addr.v4.sin_addr) == 1) {
        addr.v4.sin_family = AF_INET;
        addr.v4.sin_port = htons(port);
        *ret_addr = addr;
        return true;
    }
    char bare[ADDR_TEXT_BYTES];
    size_t size = strlen(ip);
    if (size >= 2 && size < sizeof bare && ip[0] == '[' && ip[size - 1] == ']') {
        memcpy(bare, ip + 1, size - 2);
        bare[size - 2] = '\0';
        ip = bare;
    }
    if (inet_pton(AF_INET6, ip, &addr.v6.sin6_addr) != 1) {
        return false;
    }
    addr.v6.sin6_family = AF_INET6;
    addr.v6.sin6_port = htons(port);
    *ret_addr = addr;
    return true;
}

socklen_t addr_size(const struct addr *addr) {
    return addr->any.sa_family == AF_INET6 ? sizeof addr->v6 : sizeof addr->v4;
}

uint16_t addr_port(const struct addr *addr) {
    return ntohs(addr->any.sa_family == AF_INET6 ? addr->v6.sin6_port : addr->v4.sin_port);
}

void addr_set_port(struct addr *addr, uint16_t port) {
    if (addr->any.sa_family == AF_INET6) {
        addr->v6.sin6_port = htons(port);
    } else {
        addr->v4.sin_port = htons(port);
    }
}

bool addr_is_any(const struct addr *addr) {
    return addr->any.sa_family == AF_INET6 ? IN6_IS_ADDR_UNSPECIFIED(&addr->v6.sin6_addr)
                                           : addr->v4.sin_addr.s_addr == htonl(INADDR_ANY);
}

bool addr_is_loopback(const struct addr *addr) {
    return addr->any.sa_family == AF_INET6 ? IN6_IS_ADDR_LOOPBACK(&addr->v6.sin6_addr)
                                           : ntohl(addr->v4.sin_addr.s_addr) >> 24 == 127;
}

void addr_format_ip(const struct addr *addr, char out[ADDR_TEXT_BYTES]) {
    bool v6 = addr->any.sa_family == AF_INET6;
    const void *bytes = v6 ? (const void *)&addr->v6.sin6_addr : (const void *)&addr->v4.sin_addr;
    if (inet_ntop(addr->any.sa_family, bytes, out, ADDR_TEXT_BYTES) == NULL) {
        out[0] = '\0';
    }
}

void addr_format(const struct addr *addr, char out[ADDR_TEXT_BYTES]) {
    char ip[ADDR_TEXT_BYTES];
    addr_format_ip(addr, ip);
    bool v6 = addr->any.sa_family == AF_INET6;
    snprintf(out, ADDR_TEXT_BYTES, v6 ? "[%.46s]:%u" : "%.46s:%u", ip, addr_port(addr));
}

/* The system's word, and what to do about it. */
static void tell_failure(int number, const char *proto, const char *name, struct err_text *text) {
    struct err_text reason;
    const char *advice = number == EADDRINUSE ? ": stop what listens there, or choose another port"
                         : number == EADDRNOTAVAIL ? ": choose an address that this host has"
                         : number == EACCES
                             ? ": ports below 1024 need the capability CAP_NET_BIND_SERVICE"
                             : "";
    enum err err = err_set_errno(&reason, number, "listen %s %s", proto, name);
    err_set(text, err, "%s%s", reason.s, advice);
}

int addr_bind(const struct addr *addr, int type, bool reuse_port, struct err_text *text) {
    char name[ADDR_TEXT_BYTES];
    addr_format(addr, name);
    const char *proto = type == SOCK_STREAM ? "tcp" : "udp";
    int fd = socket(addr->any.sa_family, type | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        tell_failure(errno, proto, name, text);
        return -1;
    }
    int on = 1;
    if (type == SOCK_STREAM) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    }
    if (reuse_port) {
        setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &on, sizeof on);
    }
    if (addr->any.sa_family == AF_INET6) {
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &on, sizeof on);
    }
    if (bind(fd, &addr->any, addr_size(addr)) != 0 ||
        (type == SOCK_STREAM && listen(fd, BACKLOG) != 0)) {
        tell_failure(errno, proto, name, text);
        close(fd);
        return -1;
    }
    return fd;
}

static bool is_private(uint32_t ip) {
    return ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8 || ip >> 22 == 0x191;
}

enum err addr_find_private(struct addr *ret_addr, struct err_text *text) {
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0) {
        return err_set_errno(text, errno, "cannot list the addresses of this host");
    }
    int found = 0;
    for (struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
        if (at->ifa_addr == NULL || at->ifa_addr->sa_family != AF_INET ||
            !(at->ifa_flags & IFF_UP)) {
            continue;
        }
        struct sockaddr_in v4;
        memcpy(&v4, at->ifa_addr, sizeof v4);
        if (is_private(ntohl(v4.sin_addr.s_addr))) {
            memset(ret_addr, 0, sizeof *ret_addr);
            ret_addr->v4 = v4;
            found++;
        }
    }
    freeifaddrs(all);
    if (found == 0) {
        return err_set(text, ERR_NOT_FOUND, "No private IPv4 address found");
    }
    if (found > 1) {
        return err_set(text, ERR_INVALID,
                       "Multiple private IPv4 addresses found. Please configure one with 'bind' "
                       "and/or 'advertise'.");
    }
    return ERR_OK;
}
