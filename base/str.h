/* Borrowed strings in lists and maps: the shapes that definitions, rows and requests share. Strings
 * are NUL-terminated UTF-8 and never NULL ("" means unset). */
#ifndef BASE_STR_H
#define BASE_STR_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct str_list {
    const char **v;
    uint32_t count;
};

struct str_pair {
    const char *key;
    const char *value;
};

/* Sorted bytewise by key, keys unique. */
struct str_map {
    struct str_pair *v;
    uint32_t count;
    bool present; /* told apart from absent: null against {} in JSON */
};

bool str_list_equal(const struct str_list *a, const struct str_list *b);
bool str_map_equal(const struct str_map *a, const struct str_map *b);
/* Of all strings, with a byte for each one's end. */
size_t str_list_bytes(const struct str_list *list);
/* The value, or NULL. */
const char *str_map_get(const struct str_map *map, const char *key);

/* ASCII letters only; other bytes are kept. */
char str_lower_char(char c);
/* Writes at most size bytes with the NUL; false: it did not fit. */
bool str_lower(char *out, size_t size, const char *s);
bool str_equal_fold(const char *a, const char *b);
bool str_starts_with(const char *s, const char *prefix);
bool str_starts_with_fold(const char *s, const char *prefix);
/* NULL reads as "". */
const char *str_or_empty(const char *s);

/* Decimal digits only, no sign, no blanks; false on anything else or overflow. */
bool str_parse_u64(const char *s, uint64_t *ret_value);
/* 1 t T TRUE true True 0 f F FALSE false False. */
bool str_parse_bool(const char *s, bool *ret_value);

/* Length of the well-formed UTF-8 sequence that NUL-terminated s starts with (RFC 3629 section 4),
 * 0 when it is none. */
size_t str_utf8_length(const unsigned char *s);

#endif
