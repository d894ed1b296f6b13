#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "base/mem.h"
#include "http/request.h"

static int digit_value(char c) {
    return c >= '0' && c <= '9'                                   ? c - '0'
           : str_lower_char(c) >= 'a' && str_lower_char(c) <= 'f' ? str_lower_char(c) - 'a' + 10
                                                                  : -1;
}

/* Percent decoding (RFC 3986 section 2.1); in a query '+' is a blank. NULL: a bad escape or a NUL.
 */
static const char *decode(const char *from, size_t size, bool query, struct arena *arena) {
    char *out = arena_alloc(arena, size + 1), *to = out;
    for (size_t i = 0; i < size; i++) {
        char c = from[i];
        if (c == '%') {
            int high = i + 2 < size ? digit_value(from[i + 1]) : -1;
            int low = high >= 0 ? digit_value(from[i + 2]) : -1;
            if (low < 0 || (high == 0 && low == 0)) {
                return NULL;
            }
            c = (char)(high << 4 | low);
            i += 2;
        } else if (c == '+' && query) {
            c = ' ';
        }
        *to++ = c;
    }
    return out;
}

enum err http_uri_parse(const char *raw, struct arena *arena, struct http_request *req) {
    const char *query = strchr(raw, '?');
    size_t path_size = query != NULL ? (size_t)(query - raw) : strlen(raw);
    req->path = decode(raw, path_size, false, arena);
    req->params = arena_alloc(arena, LIMIT_HTTP_QUERY_PARAMS * sizeof *req->params);
    req->param_count = 0;
    if (req->path == NULL) {
        return ERR_INVALID;
    }
    for (const char *at = query != NULL ? query + 1 : ""; *at != '\0';) {
        size_t size = strcspn(at, "&");
        size_t name_size = strcspn(at, "=&");
        if (size > 0) {
            const char *name = decode(at, name_size, true, arena);
            const char *value = name_size < size
                                    ? decode(at + name_size + 1, size - name_size - 1, true, arena)
                                    : "";
            if (name == NULL || value == NULL || memchr(at, ';', size) != NULL ||
                req->param_count == LIMIT_HTTP_QUERY_PARAMS) {
                return ERR_INVALID;
            }
            req->params[req->param_count++] = (struct http_param){name, value};
        }
        at += size + (at[size] == '&');
    }
    return ERR_OK;
}

const char *http_request_param(const struct http_request *req, const char *name) {
    for (unsigned i = 0; i < req->param_count; i++) {
        if (strcmp(req->params[i].name, name) == 0) {
            return req->params[i].value;
        }
    }
    return NULL;
}

bool http_request_has(const struct http_request *req, const char *name) {
    return http_request_param(req, name) != NULL;
}

const char *http_path_clean(const char *path, struct arena *arena) {
    if (strstr(path, "//") == NULL && strstr(path, "/.") == NULL) {
        return NULL;
    }
    size_t size = strlen(path);
    char *out = arena_alloc(arena, size + 2);
    size_t used = 0;
    bool slash = size > 0 && path[size - 1] == '/';
    for (const char *at = path; *at != '\0';) {
        at += strspn(at, "/");
        size_t part = strcspn(at, "/");
        if (part == 2 && memcmp(at, "..", 2) == 0) {
            while (used > 0 && out[--used] != '/') {
            }
            slash = slash || at[part] == '\0';
        } else if (part == 1 && *at == '.') {
            slash = slash || at[part] == '\0';
        } else if (part > 0) {
            out[used++] = '/';
            memcpy(out + used, at, part);
            used += part;
        }
        at += part;
    }
    if (used == 0 || slash) {
        out[used++] = '/';
    }
    out[used] = '\0';
    return strcmp(out, path) == 0 ? NULL : out;
}

/* Which bytes of a path or a query may stand in a URI as they are. */
static bool is_plain(unsigned char c, bool query) {
    if (query) {
        return c > 0x20 && c < 0x7f && c != '"' && c != '<' && c != '>';
    }
    return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') ||
           (c != '\0' && strchr("-_.~$&+,/:;=@", c) != NULL);
}

const char *http_uri_encode(const char *text, bool query, struct arena *arena) {
    char *out = arena_alloc(arena, 3 * strlen(text) + 1), *to = out;
    for (const char *at = text; *at != '\0'; at++) {
        unsigned char c = (unsigned char)*at;
        if (is_plain(c, query)) {
            *to++ = *at;
        } else {
            *to++ = '%';
            *to++ = "0123456789ABCDEF"[c >> 4];
            *to++ = "0123456789ABCDEF"[c & 15];
        }
    }
    *to = '\0';
    return out;
}

/* Above ASCII: the categories Cc, Cf, Cs, Co, Zs, Zl and Zp of Unicode 15. What is not assigned may
 * be a letter tomorrow. */
static bool is_invisible(uint32_t rune) {
    static const uint32_t ranges[][2] = {
        {0x80, 0xa0},       {0xad, 0xad},       {0x600, 0x605},      {0x61c, 0x61c},
        {0x6dd, 0x6dd},     {0x70f, 0x70f},     {0x890, 0x891},      {0x8e2, 0x8e2},
        {0x1680, 0x1680},   {0x180e, 0x180e},   {0x2000, 0x200f},    {0x2028, 0x202f},
        {0x205f, 0x2064},   {0x2066, 0x206f},   {0x3000, 0x3000},    {0xd800, 0xf8ff},
        {0xfeff, 0xfeff},   {0xfff9, 0xfffb},   {0x110bd, 0x110bd},  {0x110cd, 0x110cd},
        {0x13430, 0x1343f}, {0x1bca0, 0x1bca3}, {0x1d173, 0x1d17a},  {0xe0001, 0xe0001},
        {0xe0020, 0xe007f}, {0xf0000, 0xffffd}, {0x100000, 0x10fffd}};
    for (size_t i = 0; i < sizeof ranges / sizeof ranges[0]; i++) {
        if (rune >= ranges[i][0] && rune <= ranges[i][1]) {
            return true;
        }
    }
    return false;
}

/* Reads one rune. What is no UTF-8 is one byte and counts as U+FFFD, which is printable: keys are
 * bytes. */
static const unsigned char *next_rune(const unsigned char *at, uint32_t *ret_rune) {
    unsigned more = *at < 0x80 ? 0 : *at < 0xe0 ? 1 : *at < 0xf0 ? 2 : 3;
    static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
    uint32_t rune = more == 0 ? *at : *at & (0x3fu >> more);
    bool valid = *at < 0x80 || (*at >= 0xc2 && *at <= 0xf4);
    for (unsigned i = 1; valid && i <= more; i++) {
        valid = (at[i] & 0xc0) == 0x80;
        rune = rune << 6 | (at[i] & 0x3fu);
    }
    valid = valid && rune >= least[more] && rune <= 0x10ffff && (rune < 0xd800 || rune > 0xdfff);
    *ret_rune = valid ? rune : 0xfffd;
    return at + (valid ? more + 1 : 1);
}

bool http_path_printable(const char *path) {
    const unsigned char *at = (const unsigned char *)path;
    while (*at != '\0') {
        uint32_t rune;
        at = next_rune(at, &rune);
        if (rune < 0x20 || rune == 0x7f || (rune >= 0x80 && is_invisible(rune))) {
            return false;
        }
    }
    return true;
}

/* Parameters that change when an answer comes, not what it is. */
static bool is_timing(const char *name, size_t size) {
    return (size == 5 && memcmp(name, "index", 5) == 0) ||
           (size == 4 && memcmp(name, "wait", 4) == 0);
}

char *http_uri_relative(const char *target) {
    const char *host = strstr(target, "://");
    if (*target == '/' || host == NULL || memchr(target, '?', (size_t)(host - target)) != NULL) {
        return mem_strdup(target);
    }
    host += strlen("://");
    const char *path = host + strcspn(host, "/?");
    if (*path == '/') {
        return mem_strdup(path);
    }
    char *out = mem_alloc(strlen(path) + 2);
    sprintf(out, "/%s", path);
    return out;
}

const char *http_uri_question(const char *raw, bool revalidate, struct arena *arena) {
    const char *query = strchr(raw, '?');
    if (query == NULL) {
        return raw;
    }
    size_t used = (size_t)(query - raw);
    char *out = arena_alloc(arena, strlen(raw) + sizeof "&" HTTP_REVALIDATE);
    memcpy(out, raw, used);
    char separator = '?';
    for (const char *at = query + 1; *at != '\0';) {
        size_t size = strcspn(at, "&");
        if (size > 0 && !is_timing(at, strcspn(at, "=&"))) {
            out[used++] = separator;
            memcpy(out + used, at, size);
            used += size;
            separator = '&';
        }
        at += size + (at[size] == '&');
    }
    if (revalidate && separator == '&') { /* without parameters ?cached is none of them */
        sprintf(out + used, "&" HTTP_REVALIDATE);
    }
    return out;
}
