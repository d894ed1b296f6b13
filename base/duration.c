#include "base/duration.h"

#include <stdbool.h>
#include <stdio.h>
#include <string.h>

static const struct unit {
    const char *name;
    int64_t ns;
} units[] = {
    {"ns", 1},           {"us", 1000},      {"\xc2\xb5s", 1000},    {"\xce\xbcs", 1000},
    {"ms", DURATION_MS}, {"s", DURATION_S}, {"m", 60 * DURATION_S}, {"h", 3600 * DURATION_S},
};

static enum err invalid(const char *s, struct err_text *text) {
    return err_set(text, ERR_INVALID, "time: invalid duration \"%s\"", s);
}

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

enum err duration_parse(const char *s, int64_t *ret_ns, struct err_text *text) {
    const char *at = s;
    bool negative = *at == '-';
    if (*at == '-' || *at == '+') {
        at++;
    }
    if (strcmp(at, "0") == 0) {
        *ret_ns = 0;
        return ERR_OK;
    }
    if (*at == '\0') {
        return invalid(s, text);
    }
    __int128 total = 0;
    while (*at != '\0') {
        __int128 whole = 0;
        const char *start = at;
        for (; digit(*at); at++) {
            whole = whole * 10 + (*at - '0');
            if (whole > INT64_MAX) {
                return invalid(s, text);
            }
        }
        bool digits = at > start;
        int64_t fraction = 0, scale = 1;
        if (*at == '.') {
            at++;
            start = at;
            for (; digit(*at); at++) {
                if (scale < INT64_C(100000000000000000)) {
                    fraction = fraction * 10 + (*at - '0');
                    scale *= 10;
                }
            }
            digits = digits || at > start;
        }
        if (!digits) {
            return invalid(s, text);
        }
        const char *name = at;
        while (*at != '\0' && *at != '.' && !digit(*at)) {
            at++;
        }
        size_t size = (size_t)(at - name);
        if (size == 0) {
            return err_set(text, ERR_INVALID, "time: missing unit in duration \"%s\"", s);
        }
        int64_t unit = 0;
        for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
            if (strlen(units[i].name) == size && memcmp(units[i].name, name, size) == 0) {
                unit = units[i].ns;
            }
        }
        if (unit == 0) {
            return err_set(text, ERR_INVALID, "time: unknown unit \"%.*s\" in duration \"%s\"",
                           (int)(size < 64 ? size : 64), name, s);
        }
        total += whole * unit + (__int128)fraction * unit / scale;
        if (total > INT64_MAX) {
            return invalid(s, text);
        }
    }
    *ret_ns = negative ? -(int64_t)total : (int64_t)total;
    return ERR_OK;
}

/* Writes value/unit with up to `places` decimals, trailing zeros dropped. */
static void format_decimal(char *out, size_t size, uint64_t value, uint64_t unit, int places,
                           const char *suffix) {
    uint64_t fraction = value % unit;
    char digits[16] = "";
    if (fraction > 0) {
        snprintf(digits, sizeof digits, ".%0*llu", places, (unsigned long long)fraction);
        size_t end = strlen(digits);
        while (digits[end - 1] == '0') {
            digits[--end] = '\0';
        }
    }
    snprintf(out, size, "%llu%s%s", (unsigned long long)(value / unit), digits, suffix);
}

void duration_format(int64_t ns, char out[DURATION_TEXT_BYTES]) {
    if (ns == 0) {
        memcpy(out, "0s", 3);
        return;
    }
    uint64_t value = ns < 0 ? 0 - (uint64_t)ns : (uint64_t)ns;
    size_t room = DURATION_TEXT_BYTES;
    if (ns < 0) {
        *out++ = '-';
        room--;
    }
    if (value < 1000) {
        format_decimal(out, room, value, 1, 0, "ns");
    } else if (value < 1000000) {
        format_decimal(out, room, value, 1000, 3, "\xc2\xb5s");
    } else if (value < 1000000000) {
        format_decimal(out, room, value, 1000000, 6, "ms");
    } else {
        uint64_t minutes = value / (60 * DURATION_S);
        int used = 0;
        if (minutes >= 60) {
            used = snprintf(out, room, "%lluh%llum", (unsigned long long)(minutes / 60),
                            (unsigned long long)(minutes % 60));
        } else if (minutes > 0) {
            used = snprintf(out, room, "%llum", (unsigned long long)minutes);
        }
        format_decimal(out + used, room - (size_t)used, value % (60 * DURATION_S), DURATION_S, 9,
                       "s");
    }
}
