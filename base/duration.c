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

#define QUOTED_BYTES 256

/* As Go's time package quotes in its errors: bytes that are not printable ASCII become \xNN. */
static const char *quote(const char *s, size_t size, char out[QUOTED_BYTES]) {
    static const char digits[] = "0123456789abcdef";
    size_t used = 0;
    out[used++] = '"';
    for (size_t i = 0; i < size && used < QUOTED_BYTES - 6; i++) {
        unsigned char c = (unsigned char)s[i];
        if (c < ' ' || c >= 0x80) {
            out[used++] = '\\';
            out[used++] = 'x';
            out[used++] = digits[c >> 4];
            out[used++] = digits[c & 15];
            continue;
        }
        if (c == '"' || c == '\\') {
            out[used++] = '\\';
        }
        out[used++] = (char)c;
    }
    out[used++] = '"';
    out[used] = '\0';
    return out;
}

static enum err invalid(const char *s, struct err_text *text) {
    char quoted[QUOTED_BYTES];
    return err_set(text, ERR_INVALID, "time: invalid duration %s", quote(s, strlen(s), quoted));
}

static bool digit(char c) {
    return c >= '0' && c <= '9';
}

/* The most negative duration has no positive twin. */
#define VALUE_MAX ((uint64_t)1 << 63)

/* Digits as a number; false: above VALUE_MAX. */
static bool take_whole(const char **at, uint64_t *ret_value) {
    uint64_t value = 0;
    for (; digit(**at); ++*at) {
        if (value > VALUE_MAX / 10) {
            return false;
        }
        value = value * 10 + (uint64_t)(**at - '0');
        if (value > VALUE_MAX) {
            return false;
        }
    }
    *ret_value = value;
    return true;
}

/* Digits behind the point as value / scale; those that do not fit are passed over. Scale is a
 * double and the product is rounded, because Go's are. */
static uint64_t take_fraction(const char **at, double *ret_scale) {
    uint64_t value = 0;
    bool full = false;
    *ret_scale = 1;
    for (; digit(**at); ++*at) {
        uint64_t next = value * 10 + (uint64_t)(**at - '0');
        full = full || value > INT64_MAX / 10 || next > VALUE_MAX;
        if (!full) {
            value = next;
            *ret_scale *= 10;
        }
    }
    return value;
}

static uint64_t find_unit(const char *name, size_t size) {
    for (size_t i = 0; i < sizeof units / sizeof units[0]; i++) {
        if (strlen(units[i].name) == size && memcmp(units[i].name, name, size) == 0) {
            return (uint64_t)units[i].ns;
        }
    }
    return 0;
}

/* After time.ParseDuration of Go, step by step. */
enum err duration_parse(const char *s, int64_t *ret_ns, struct err_text *text) {
    char quoted[QUOTED_BYTES], quoted_unit[QUOTED_BYTES];
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
    uint64_t total = 0;
    while (*at != '\0') {
        uint64_t value = 0, fraction = 0;
        double scale = 1;
        const char *start = at;
        if (!take_whole(&at, &value)) {
            return invalid(s, text);
        }
        bool digits = at > start;
        if (*at == '.') {
            start = ++at;
            fraction = take_fraction(&at, &scale);
            digits = digits || at > start;
        }
        if (!digits) {
            return invalid(s, text);
        }
        const char *name = at;
        while (*at != '\0' && *at != '.' && !digit(*at)) {
            at++;
        }
        if (at == name) {
            return err_set(text, ERR_INVALID, "time: missing unit in duration %s",
                           quote(s, strlen(s), quoted));
        }
        uint64_t unit = find_unit(name, (size_t)(at - name));
        if (unit == 0) {
            return err_set(text, ERR_INVALID, "time: unknown unit %s in duration %s",
                           quote(name, (size_t)(at - name), quoted_unit),
                           quote(s, strlen(s), quoted));
        }
        if (value > VALUE_MAX / unit) {
            return invalid(s, text);
        }
        value = value * unit + (uint64_t)((double)fraction * ((double)unit / scale));
        total += value > VALUE_MAX ? VALUE_MAX : value;
        if (value > VALUE_MAX || total > VALUE_MAX) {
            return invalid(s, text);
        }
    }
    if (!negative && total > INT64_MAX) {
        return invalid(s, text);
    }
    *ret_ns = negative ? (int64_t)(0 - total) : (int64_t)total;
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
