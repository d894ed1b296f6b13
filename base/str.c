#include "base/str.h"

#include <string.h>

bool str_list_equal(const struct str_list *a, const struct str_list *b) {
    if (a->count != b->count) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if (strcmp(a->v[i], b->v[i]) != 0) {
            return false;
        }
    }
    return true;
}

bool str_map_equal(const struct str_map *a, const struct str_map *b) {
    if (a->count != b->count) {
        return false;
    }
    for (uint32_t i = 0; i < a->count; i++) {
        if (strcmp(a->v[i].key, b->v[i].key) != 0 || strcmp(a->v[i].value, b->v[i].value) != 0) {
            return false;
        }
    }
    return true;
}

size_t str_list_bytes(const struct str_list *list) {
    size_t bytes = 0;
    for (uint32_t i = 0; i < list->count; i++) {
        bytes += strlen(list->v[i]) + 1;
    }
    return bytes;
}

const char *str_map_get(const struct str_map *map, const char *key) {
    for (uint32_t i = 0; i < map->count; i++) {
        if (strcmp(map->v[i].key, key) == 0) {
            return map->v[i].value;
        }
    }
    return NULL;
}

char str_lower_char(char c) {
    return c >= 'A' && c <= 'Z' ? (char)(c | 0x20) : c;
}

bool str_lower(char *out, size_t size, const char *s) {
    for (; size > 0; size--) {
        *out++ = str_lower_char(*s);
        if (*s++ == '\0') {
            return true;
        }
    }
    return false;
}

bool str_equal_fold(const char *a, const char *b) {
    for (; *a != '\0' && str_lower_char(*a) == str_lower_char(*b); a++, b++) {
    }
    return str_lower_char(*a) == str_lower_char(*b);
}

bool str_starts_with(const char *s, const char *prefix) {
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

bool str_starts_with_fold(const char *s, const char *prefix) {
    while (*prefix != '\0' && str_lower_char(*s) == str_lower_char(*prefix)) {
        s++;
        prefix++;
    }
    return *prefix == '\0';
}

const char *str_or_empty(const char *s) {
    return s != NULL ? s : "";
}

bool str_parse_u64(const char *s, uint64_t *ret_value) {
    uint64_t value = 0;
    if (*s == '\0') {
        return false;
    }
    for (; *s != '\0'; s++) {
        if (*s < '0' || *s > '9' || __builtin_mul_overflow(value, (uint64_t)10, &value) ||
            __builtin_add_overflow(value, (uint64_t)(*s - '0'), &value)) {
            return false;
        }
    }
    *ret_value = value;
    return true;
}

bool str_parse_bool(const char *s, bool *ret_value) {
    static const char *const yes[] = {"1", "t", "T", "TRUE", "true", "True"};
    static const char *const no[] = {"0", "f", "F", "FALSE", "false", "False"};
    for (size_t i = 0; i < sizeof yes / sizeof yes[0]; i++) {
        if (strcmp(s, yes[i]) == 0 || strcmp(s, no[i]) == 0) {
            *ret_value = strcmp(s, yes[i]) == 0;
            return true;
        }
    }
    return false;
}

size_t str_utf8_length(const unsigned char *s) {
    if (s[0] < 0xc2 || s[0] > 0xf4) {
        return s[0] < 0x80 ? 1 : 0;
    }
    unsigned char low = 0x80, high = 0xbf;
    size_t length = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
    if (s[0] == 0xe0) {
        low = 0xa0;
    } else if (s[0] == 0xed) {
        high = 0x9f;
    } else if (s[0] == 0xf0) {
        low = 0x90;
    } else if (s[0] == 0xf4) {
        high = 0x8f;
    }
    if (s[1] < low || s[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if (s[i] < 0x80 || s[i] > 0xbf) {
            return 0;
        }
    }
    return length;
}
