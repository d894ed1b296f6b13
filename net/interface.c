#include "net/interface.h"

#include <errno.h>
#include <ifaddrs.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>

#define ROUTES "/proc/net/route"

/* "" when there is none. */
static void find_default_route(char name[IF_NAMESIZE]) {
    char line[256];
    FILE *file = fopen(ROUTES, "re");
    name[0] = '\0';
    while (file != NULL && name[0] == '\0' && fgets(line, sizeof line, file) != NULL) {
        char interface[IF_NAMESIZE];
        unsigned long destination, gateway, flags, mask;
        if (sscanf(line, "%15s %lx %lx %lx %*s %*s %*s %lx", interface, &destination, &gateway,
                   &flags, &mask) == 5 &&
            destination == 0 && mask == 0) {
            snprintf(name, IF_NAMESIZE, "%s", interface);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
}

static bool is_private(const struct addr *addr) {
    if (addr->any.sa_family == AF_INET6) {
        return (addr->v6.sin6_addr.s6_addr[0] & 0xfe) == 0xfc;
    }
    uint32_t ip = ntohl(addr->v4.sin_addr.s_addr);
    return ip >> 24 == 10 || ip >> 20 == 0xac1 || ip >> 16 == 0xc0a8 || ip >> 22 == 0x191;
}

static bool is_link_local(const struct addr *addr) {
    return addr->any.sa_family == AF_INET6 ? IN6_IS_ADDR_LINKLOCAL(&addr->v6.sin6_addr)
                                           : ntohl(addr->v4.sin_addr.s_addr) >> 16 == 0xa9fe;
}

static bool describe(const struct ifaddrs *at, const char *route, struct interface *out) {
    if (at->ifa_addr == NULL || !(at->ifa_flags & IFF_UP) ||
        (at->ifa_addr->sa_family != AF_INET && at->ifa_addr->sa_family != AF_INET6)) {
        return false;
    }
    memset(out, 0, sizeof *out);
    out->name = at->ifa_name;
    memcpy(&out->addr, at->ifa_addr,
           at->ifa_addr->sa_family == AF_INET ? sizeof out->addr.v4 : sizeof out->addr.v6);
    out->private_address = is_private(&out->addr);
    out->link_local = is_link_local(&out->addr);
    out->has_default_route = strcmp(at->ifa_name, route) == 0;
    return true;
}

enum err interface_walk(void (*visit)(const struct interface *interface, void *context),
                        void *context, struct err_text *text) {
    char route[IF_NAMESIZE];
    struct ifaddrs *all = NULL;
    if (getifaddrs(&all) != 0) {
        return err_set_errno(text, errno, "cannot list the addresses of this host");
    }
    find_default_route(route);
    for (unsigned pass = 0; pass < 4; pass++) { /* of the route, then others; by family */
        for (const struct ifaddrs *at = all; at != NULL; at = at->ifa_next) {
            struct interface interface;
            if (describe(at, route, &interface) && interface.has_default_route == (pass < 2) &&
                (interface.addr.any.sa_family == AF_INET6) == (pass % 2 == 1)) {
                visit(&interface, context);
            }
        }
    }
    freeifaddrs(all);
    return ERR_OK;
}
