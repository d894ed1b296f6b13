#include "net/cidr.h"

#include <stdlib.h>
#include <string.h>

#include "net/addr.h"

static bool ip_of(const struct sockaddr *address, uint8_t out[16]) {
    if (address->sa_family == AF_INET6) {
        struct sockaddr_in6 v6;
        memcpy(&v6, address, sizeof v6);
        memcpy(out, &v6.sin6_addr, 16);
        return true;
    }
    if (address->sa_family == AF_INET) {
        struct sockaddr_in v4;
        memcpy(&v4, address, sizeof v4);
        memset(out, 0, 10);
        memset(out + 10, 0xff, 2);
        memcpy(out + 12, &v4.sin_addr, 4);
        return true;
    }
    return false;
}

bool cidr_parse(const char *s, struct cidr *ret_cidr) {
    char ip[ADDR_TEXT_BYTES], *end;
    const char *slash = strchr(s, '/');
    struct addr addr;
    if (slash == NULL || (size_t)(slash - s) >= sizeof ip || slash[1] < '0' || slash[1] > '9') {
        return false;
    }
    memcpy(ip, s, (size_t)(slash - s));
    ip[slash - s] = '\0';
    unsigned long bits = strtoul(slash + 1, &end, 10);
    if (*end != '\0' || !addr_parse(ip, 0, &addr)) {
        return false;
    }
    bool v4 = addr.any.sa_family == AF_INET;
    ret_cidr->bits = (unsigned)bits + (v4 ? 96 : 0);
    return bits <= (v4 ? 32 : 128) && ip_of(&addr.any, ret_cidr->ip);
}

bool cidr_contains(const struct cidr *cidr, const struct sockaddr *address) {
    uint8_t ip[16];
    if (!ip_of(address, ip)) {
        return false;
    }
    unsigned bytes = cidr->bits / 8, rest = cidr->bits % 8;
    return memcmp(ip, cidr->ip, bytes) == 0 &&
           (rest == 0 || ((ip[bytes] ^ cidr->ip[bytes]) >> (8 - rest)) == 0);
}
