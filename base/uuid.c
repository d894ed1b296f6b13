#include "base/uuid.h"

#include <string.h>

struct uuid uuid_from_random(const uint8_t random[16]) {
    struct uuid uuid;
    memcpy(uuid.bytes, random, 16);
    uuid.bytes[6] = (uint8_t)((uuid.bytes[6] & 0x0f) | 0x40);
    uuid.bytes[8] = (uint8_t)((uuid.bytes[8] & 0x3f) | 0x80);
    return uuid;
}

static bool dash_before(int byte) {
    return byte == 4 || byte == 6 || byte == 8 || byte == 10;
}

void uuid_format(const struct uuid *uuid, char out[UUID_TEXT_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    for (int i = 0; i < 16; i++) {
        if (dash_before(i)) {
            *out++ = '-';
        }
        *out++ = digits[uuid->bytes[i] >> 4];
        *out++ = digits[uuid->bytes[i] & 15];
    }
    *out = '\0';
}

static int digit_value(char c) {
    if (c >= '0' && c <= '9') {
        return c - '0';
    }
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

bool uuid_parse(const char *s, struct uuid *ret_uuid) {
    struct uuid uuid;
    for (int i = 0; i < 16; i++) {
        if (dash_before(i) && *s++ != '-') {
            return false;
        }
        int high = digit_value(s[0]);
        int low = high < 0 ? -1 : digit_value(s[1]);
        if (low < 0) {
            return false;
        }
        uuid.bytes[i] = (uint8_t)(high << 4 | low);
        s += 2;
    }
    if (*s != '\0') {
        return false;
    }
    *ret_uuid = uuid;
    return true;
}

bool uuid_is_zero(const struct uuid *uuid) {
    static const struct uuid zero;
    return memcmp(uuid, &zero, sizeof zero) == 0;
}
