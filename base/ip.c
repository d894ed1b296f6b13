#include "base/ip.h"

#include <arpa/inet.h>
#include <string.h>

/* Dotted quads by hand: inet_pton is slower, and each DNS answer reads as many as it has records.
 */
static bool parse_v4(const char *text, uint8_t ip[4]) {
    for (int i = 0; i < 4; i++) {
        unsigned value = 0;
        int digits = 0;
        while (*text >= '0' && *text <= '9') {
            value = value * 10 + (unsigned)(*text++ - '0');
            if (++digits > 3 || (digits > 1 && value < 10)) {
                return false;
            }
        }
        if (digits == 0 || value > 255 || *text++ != (i < 3 ? '.' : '\0')) {
            return false;
        }
        ip[i] = (uint8_t)value;
    }
    return true;
}

bool ip_parse(const char *text, uint8_t ip[16], uint8_t *ret_bytes) {
    if (parse_v4(text, ip)) {
        *ret_bytes = 4;
        return true;
    }
    *ret_bytes = 16;
    return strchr(text, ':') != NULL && inet_pton(AF_INET6, text, ip) == 1;
}
