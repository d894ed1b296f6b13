#include "base/err.h"

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include "base/assert.h"

const char *err_name(enum err code) {
    static const char *const names[ERR_COUNT] = {
        [ERR_OK] = "ok",
        [ERR_INVALID] = "invalid",
        [ERR_REFUSED] = "refused",
        [ERR_UNKNOWN_KEY] = "unknown key",
        [ERR_NOT_FOUND] = "not found",
        [ERR_EXISTS] = "exists",
        [ERR_TOO_LARGE] = "too large",
        [ERR_IO] = "input/output error",
        [ERR_NO_SPACE] = "no space",
        [ERR_CORRUPT] = "corrupt",
        [ERR_VERSION] = "unreadable version",
        [ERR_FOREIGN] = "foreign data",
        [ERR_NO_LEADER] = "no leader",
        [ERR_OVERLOADED] = "overloaded",
        [ERR_DENIED] = "denied",
        [ERR_CLOSED] = "closed",
        [ERR_TIMEOUT] = "timeout",
        [ERR_UNSUPPORTED] = "unsupported",
    };
    ASSERT(code < ERR_COUNT && names[code] != NULL);
    return names[code];
}

enum err err_set(struct err_text *text, enum err code, const char *format, ...) {
    if (text != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(text->s, sizeof text->s, format, args);
        va_end(args);
    }
    return code;
}

enum err err_set_errno(struct err_text *text, int number, const char *format, ...) {
    if (text != NULL) {
        va_list args;
        va_start(args, format);
        vsnprintf(text->s, sizeof text->s, format, args);
        va_end(args);
        size_t used = strlen(text->s);
        char reason[128];
        snprintf(text->s + used, sizeof text->s - used, ": %s",
                 strerror_r(number, reason, sizeof reason));
    }
    return number == ENOSPC || number == EDQUOT ? ERR_NO_SPACE : ERR_IO;
}

void err_prefix(struct err_text *text, const char *format, ...) {
    if (text == NULL) {
        return;
    }
    char prefix[ERR_TEXT_BYTES];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    size_t used = strlen(prefix), room = sizeof text->s - 1;
    strncat(prefix, ": ", sizeof prefix - used - 1);
    used = strlen(prefix);
    size_t kept = strnlen(text->s, room - used);
    memmove(text->s + used, text->s, kept);
    memcpy(text->s, prefix, used);
    text->s[used + kept] = '\0';
}
