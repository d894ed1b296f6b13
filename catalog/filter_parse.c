/* The grammar of filters (contract http-core 6.1), with the errors of the parser that others'
 * filters were written against: those tell the farthest place that was reached and all that could
 * stand there. So each token below notes where it was missed, as a PEG parser does. What that
 * parser would read anew for each alternative is read once here: its time is exponential in the
 * nesting. */
#include <string.h>

#include "base/limits.h"
#include "catalog/filter_internal.h"

/* In the order in which errors list them. */
enum token {
    TOKEN_NOT_EQUAL,
    TOKEN_OPEN,
    TOKEN_CLOSE,
    TOKEN_MINUS,
    TOKEN_DOT,
    TOKEN_0,
    TOKEN_EQUAL,
    TOKEN_OPEN_INDEX,
    TOKEN_QUOTE,
    TOKEN_CLOSE_INDEX,
    TOKEN_BACKQUOTE,
    TOKEN_AND,
    TOKEN_CONTAINS,
    TOKEN_EMPTY,
    TOKEN_IN,
    TOKEN_IS,
    TOKEN_MATCHES,
    TOKEN_NOT,
    TOKEN_OR,
    TOKEN_BLANK,
    TOKEN_0_9,
    TOKEN_1_9,
    TOKEN_NAME,
    TOKEN_LETTER,
    TOKEN_EOF,
    TOKEN_COUNT
};

static const char *const token_text[TOKEN_BLANK] = {
    "!=", "(",   ")",        "-",     ".",  "0",  "==",      "[",   "\"", "]",
    "`",  "and", "contains", "empty", "in", "is", "matches", "not", "or"};
static const char *const token_shown[TOKEN_COUNT] = {
    "\"!=\"", "\"(\"",        "\")\"",       "\"-\"",   "\".\"",   "\"0\"",        "\"==\"",
    "\"[\"",  "\"\\\"\"",     "\"]\"",       "\"`\"",   "\"and\"", "\"contains\"", "\"empty\"",
    "\"in\"", "\"is\"",       "\"matches\"", "\"not\"", "\"or\"",  "[ \\t\\r\\n]", "[0-9]",
    "[1-9]",  "[a-zA-Z0-9_]", "[a-zA-Z]",    "EOF"};

struct parser {
    const char *text;
    size_t size, at;
    struct arena *arena;
    char *joined;      /* room for the selector that is being read */
    size_t missed_at;  /* the farthest place where a token was missed */
    uint32_t missed;   /* bit of each token missed there */
    const char *wrong; /* the first error that is told whatever else could stand there; NULL */
    size_t wrong_at;
    unsigned depth;
};

_Static_assert(TOKEN_COUNT <= 32, "a bit each");

/* ---- tokens ---- */

static void miss(struct parser *p, enum token token) {
    if (p->at > p->missed_at) {
        p->missed_at = p->at;
        p->missed = 0;
    }
    if (p->at == p->missed_at) {
        p->missed |= UINT32_C(1) << token;
    }
}

static void fail(struct parser *p, size_t at, const char *what) {
    if (p->wrong == NULL) {
        p->wrong = what;
        p->wrong_at = at;
    }
}

static bool literal(struct parser *p, enum token token) {
    size_t size = strlen(token_text[token]);
    if (p->size - p->at < size || memcmp(p->text + p->at, token_text[token], size) != 0) {
        miss(p, token);
        return false;
    }
    p->at += size;
    return true;
}

static bool is_in_class(enum token token, char c) {
    bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
    bool digit = c >= '0' && c <= '9';
    switch (token) {
    case TOKEN_BLANK:
        return c == ' ' || c == '\t' || c == '\r' || c == '\n';
    case TOKEN_0_9:
        return digit;
    case TOKEN_1_9:
        return digit && c != '0';
    case TOKEN_NAME:
        return letter || digit || c == '_';
    default:
        return letter;
    }
}

static bool one_of(struct parser *p, enum token token) {
    if (p->at == p->size || !is_in_class(token, p->text[p->at])) {
        miss(p, token);
        return false;
    }
    p->at++;
    return true;
}

/* As many as there are; false: none. */
static bool some_of(struct parser *p, enum token token) {
    bool any = false;
    while (one_of(p, token)) {
        any = true;
    }
    return any;
}

static bool end_of_text(struct parser *p) {
    if (p->at == p->size) {
        return true;
    }
    miss(p, TOKEN_EOF);
    return false;
}

/* Words with blanks between them and before them; behind them too, unless `last` may end the text.
 * False: nothing was read. */
static bool words(struct parser *p, bool last, unsigned count, const enum token *tokens) {
    size_t start = p->at;
    for (unsigned i = 0; i < count; i++) {
        if (!some_of(p, TOKEN_BLANK) || !literal(p, tokens[i])) {
            p->at = start;
            return false;
        }
    }
    if (!last && !some_of(p, TOKEN_BLANK)) {
        p->at = start;
        return false;
    }
    return true;
}

/* A symbol, blanks around it as one likes. */
static bool symbol(struct parser *p, enum token token) {
    size_t start = p->at;
    some_of(p, TOKEN_BLANK);
    if (!literal(p, token)) {
        p->at = start;
        return false;
    }
    some_of(p, TOKEN_BLANK);
    return true;
}

/* ---- strings ---- */

static char *put_rune(char *to, uint32_t rune) {
    if (rune < 0x80) {
        *to++ = (char)rune;
        return to;
    }
    int more = rune < 0x800 ? 1 : rune < 0x10000 ? 2 : 3;
    static const unsigned char lead[] = {0, 0xc0, 0xe0, 0xf0};
    *to++ = (char)(lead[more] | rune >> (6 * more));
    while (more-- > 0) {
        *to++ = (char)(0x80 | (rune >> (6 * more) & 0x3f));
    }
    return to;
}

static int digit_of(char c, unsigned base) {
    char low = str_lower_char(c);
    int value = c >= '0' && c <= '9' ? c - '0' : low >= 'a' && low <= 'f' ? low - 'a' + 10 : 99;
    return value < (int)base ? value : -1;
}

/* The value of count digits at *at, which moves behind them; -1: not digits, or NUL, which no row
 * holds. */
static int64_t number_of(const char **at, const char *end, unsigned base, int count) {
    int64_t value = 0;
    for (; count > 0; count--, (*at)++) {
        int digit = *at < end ? digit_of(**at, base) : -1;
        if (digit < 0) {
            return -1;
        }
        value = value * base + digit;
    }
    return value == 0 ? -1 : value;
}

/* One escape of Go; at is behind the backslash. NULL: there is no such escape. */
static char *put_escape(char *to, const char **at, const char *end) {
    static const char names[] = "abfnrtv\\", bytes[] = "\a\b\f\n\r\t\v\\";
    char c = *at < end ? *(*at)++ : '\0';
    const char *name = c != '\0' ? strchr(names, c) : NULL;
    int64_t value;
    if (name != NULL) {
        *to++ = bytes[name - names];
        return to;
    }
    switch (c) {
    case 'x':
        value = number_of(at, end, 16, 2);
        break;
    case 'u':
    case 'U':
        value = number_of(at, end, 16, c == 'u' ? 4 : 8);
        return value < 0 || value > 0x10ffff || (value >= 0xd800 && value < 0xe000)
                   ? NULL
                   : put_rune(to, (uint32_t)value);
    default:
        (*at)--;
        value = c >= '0' && c <= '7' ? number_of(at, end, 8, 3) : -1;
    }
    if (value < 0 || value > 255) {
        return NULL;
    }
    *to++ = (char)value;
    return to;
}

/* What stands between double quotes, as Go reads it. NULL: a newline or an escape that Go refuses.
 */
static const char *unquote(struct parser *p, const char *from, const char *end) {
    char *out = arena_alloc(p->arena, (size_t)(end - from) + 1), *to = out;
    while (from < end && to != NULL) {
        if (*from == '\n') {
            return NULL;
        }
        if (*from != '\\') {
            *to++ = *from++;
        } else {
            from++;
            to = put_escape(to, &from, end);
        }
    }
    return to != NULL ? out : NULL;
}

/* A raw string: as it stands, but for carriage returns, which Go drops. */
static const char *copy_raw(struct parser *p, const char *from, const char *end) {
    char *out = arena_alloc(p->arena, (size_t)(end - from) + 1), *to = out;
    for (; from < end; from++) {
        if (*from != '\r') {
            *to++ = *from;
        }
    }
    return out;
}

/* NULL: no string stands here, or not a whole one. */
static const char *read_string(struct parser *p) {
    size_t start = p->at;
    bool raw = literal(p, TOKEN_BACKQUOTE);
    if (!raw && !literal(p, TOKEN_QUOTE)) {
        return NULL;
    }
    const char *from = p->text + p->at;
    const char *end = memchr(from, raw ? '`' : '"', p->size - p->at);
    if (end == NULL) {
        p->at = start;
        fail(p, p->size, "rule \"string\": Unterminated string literal");
        return NULL;
    }
    p->at = (size_t)(end + 1 - p->text);
    const char *value = raw ? copy_raw(p, from, end) : unquote(p, from, end);
    if (value == NULL) {
        fail(p, start, "rule \"string\": invalid syntax");
        value = "";
    }
    return value;
}

/* ---- selectors and values ---- */

static const char *read_identifier(struct parser *p) {
    size_t start = p->at;
    if (!one_of(p, TOKEN_LETTER)) {
        return NULL;
    }
    some_of(p, TOKEN_NAME);
    return arena_strndup(p->arena, p->text + start, p->at - start);
}

static const char *read_index(struct parser *p) {
    size_t start = p->at;
    if (!literal(p, TOKEN_OPEN_INDEX)) {
        return NULL;
    }
    some_of(p, TOKEN_BLANK);
    const char *key = read_string(p);
    if (key == NULL) {
        fail(p, p->at, "rule \"index\": Invalid index");
        p->at = start;
        return NULL;
    }
    some_of(p, TOKEN_BLANK);
    if (!literal(p, TOKEN_CLOSE_INDEX)) {
        fail(p, p->at, "rule \"index\": Unclosed index expression");
        p->at = start;
        return NULL;
    }
    return key;
}

static const char *read_part(struct parser *p) {
    size_t start = p->at;
    if (literal(p, TOKEN_DOT)) {
        const char *name = read_identifier(p);
        if (name != NULL) {
            return name;
        }
        p->at = start;
    }
    return read_index(p);
}

static const struct filter_selector *read_selector(struct parser *p) {
    const char *part = read_identifier(p);
    if (part == NULL) {
        return NULL;
    }
    struct filter_selector *selector = arena_alloc(p->arena, sizeof *selector);
    size_t size = 0;
    for (; part != NULL; part = read_part(p)) {
        if (selector->part_count < FILTER_PARTS_MAX) {
            selector->parts[selector->part_count++] = part;
        }
        if (size > 0) {
            p->joined[size++] = '.';
        }
        /* A part and its dot are never longer than what they were read from. */
        memcpy(p->joined + size, part, strlen(part));
        size += strlen(part);
    }
    selector->text = arena_strndup(p->arena, p->joined, size);
    return selector;
}

static const char *read_number(struct parser *p) {
    size_t start = p->at;
    literal(p, TOKEN_MINUS);
    if (!literal(p, TOKEN_0)) {
        if (!one_of(p, TOKEN_1_9)) {
            p->at = start;
            return NULL;
        }
        some_of(p, TOKEN_0_9);
    }
    size_t whole = p->at;
    if (literal(p, TOKEN_DOT) && !some_of(p, TOKEN_0_9)) {
        p->at = whole;
    }
    size_t end = p->at;
    bool ended = some_of(p, TOKEN_BLANK) || end_of_text(p) || literal(p, TOKEN_CLOSE);
    p->at = end;
    if (!ended) {
        fail(p, end, "rule \"number\": Invalid number literal");
        p->at = start;
        return NULL;
    }
    return arena_strndup(p->arena, p->text + start, end - start);
}

static const char *read_value(struct parser *p) {
    const struct filter_selector *bare = read_selector(p);
    if (bare != NULL) {
        return bare->text;
    }
    const char *number = read_number(p);
    return number != NULL ? number : read_string(p);
}

/* ---- matches ---- */

#define WORDS(last, ...)                                                                           \
    words(p, last, sizeof((const enum token[]){__VA_ARGS__}) / sizeof(enum token),                 \
          (const enum token[]){__VA_ARGS__})

/* An operator behind a selector and before a value. */
static bool read_operator(struct parser *p, enum filter_op *ret_op) {
    if (symbol(p, TOKEN_EQUAL)) {
        *ret_op = FILTER_EQUAL;
    } else if (symbol(p, TOKEN_NOT_EQUAL)) {
        *ret_op = FILTER_NOT_EQUAL;
    } else if (WORDS(false, TOKEN_CONTAINS)) {
        *ret_op = FILTER_IN;
    } else if (WORDS(false, TOKEN_NOT, TOKEN_CONTAINS)) {
        *ret_op = FILTER_NOT_IN;
    } else if (WORDS(false, TOKEN_MATCHES)) {
        *ret_op = FILTER_MATCHES;
    } else if (WORDS(false, TOKEN_NOT, TOKEN_MATCHES)) {
        *ret_op = FILTER_NOT_MATCHES;
    } else {
        return false;
    }
    return true;
}

static bool read_emptiness(struct parser *p, enum filter_op *ret_op) {
    *ret_op = FILTER_IS_EMPTY;
    if (WORDS(true, TOKEN_IS, TOKEN_EMPTY)) {
        return true;
    }
    *ret_op = FILTER_IS_NOT_EMPTY;
    return WORDS(true, TOKEN_IS, TOKEN_NOT, TOKEN_EMPTY);
}

static bool read_in(struct parser *p, enum filter_op *ret_op) {
    *ret_op = FILTER_IN;
    if (WORDS(false, TOKEN_IN)) {
        return true;
    }
    *ret_op = FILTER_NOT_IN;
    return WORDS(false, TOKEN_NOT, TOKEN_IN);
}

static struct filter_expression *add(struct parser *p, const struct filter_expression *from) {
    struct filter_expression *expression = arena_alloc(p->arena, sizeof *expression);
    *expression = *from;
    return expression;
}

static struct filter_expression *read_match(struct parser *p) {
    struct filter_expression match = {.kind = FILTER_MATCH, .match_count = 1};
    size_t start = p->at;
    match.selector = read_selector(p);
    if (match.selector != NULL) {
        size_t behind = p->at;
        if (read_operator(p, &match.op) && (match.value = read_value(p)) != NULL) {
            return add(p, &match);
        }
        p->at = behind;
        match.value = NULL;
        if (read_emptiness(p, &match.op)) {
            return add(p, &match);
        }
    }
    p->at = start;
    match.value = read_value(p);
    if (match.value != NULL && read_in(p, &match.op)) {
        match.selector = read_selector(p);
        if (match.selector != NULL) {
            return add(p, &match);
        }
        fail(p, p->at, "rule \"match\": Invalid selector");
    }
    p->at = start;
    return NULL;
}

/* ---- operators ---- */

static struct filter_expression *read_or(struct parser *p);

static struct filter_expression *read_group(struct parser *p) {
    size_t start = p->at;
    if (literal(p, TOKEN_OPEN)) {
        some_of(p, TOKEN_BLANK);
        struct filter_expression *inner = read_or(p);
        if (inner != NULL) {
            some_of(p, TOKEN_BLANK);
            if (literal(p, TOKEN_CLOSE)) {
                return inner;
            }
            fail(p, p->at, "rule \"grouping\": Unmatched parentheses");
        }
        p->at = start;
    }
    return read_match(p);
}

/* A group or a match, under as many `not` as stand before it. Behind the last one that leads to
 * nothing the word is tried as a selector or a value, which it may be too. */
static struct filter_expression *read_not(struct parser *p) {
    size_t start = p->at;
    if (p->depth == LIMIT_FILTER_DEPTH) {
        fail(p, start, "nested deeper than this server reads");
        return NULL;
    }
    p->depth++;
    struct filter_expression *result = NULL;
    if (literal(p, TOKEN_NOT) && some_of(p, TOKEN_BLANK)) {
        struct filter_expression *operand = read_not(p);
        if (operand != NULL) {
            struct filter_expression not = {
                .kind = FILTER_NOT, .first = operand, .match_count = operand->match_count};
            result = add(p, &not );
        }
    }
    if (result == NULL) {
        p->at = start;
        result = read_group(p);
    }
    p->depth--;
    return result;
}

/* One operand, or several with the operator between them. */
static struct filter_expression *read_chain(struct parser *p, bool is_or,
                                            struct filter_expression *(*read)(struct parser *)) {
    struct filter_expression *first = read(p), *last = first;
    if (first == NULL) {
        return NULL;
    }
    struct filter_expression chain = {
        .kind = is_or ? FILTER_OR : FILTER_AND, .first = first, .match_count = first->match_count};
    for (;;) {
        size_t behind = p->at;
        struct filter_expression *more =
            WORDS(false, is_or ? TOKEN_OR : TOKEN_AND) ? read(p) : NULL;
        if (more == NULL) {
            p->at = behind;
            return first == last ? first : add(p, &chain);
        }
        last = last->next = more;
        chain.match_count += more->match_count;
    }
}

static struct filter_expression *read_and(struct parser *p) {
    return read_chain(p, false, read_not);
}

static struct filter_expression *read_or(struct parser *p) {
    return read_chain(p, true, read_and);
}

/* ---- errors ---- */

/* "<line>:<column> (<offset>): ", columns in characters; a newline begins its line at column 0. */
static enum err tell(const struct parser *p, size_t at, const char *what, struct err_text *text) {
    size_t line = 1, column = 0;
    for (size_t i = 0; i <= at; i++) {
        if (i < p->size && p->text[i] == '\n') {
            line++;
            column = 0;
        } else if (i == p->size || (p->text[i] & 0xc0) != 0x80) {
            column++;
        }
    }
    return err_set(text, ERR_REFUSED, "%zu:%zu (%zu): %s", line, column, at, what);
}

static enum err tell_missed(const struct parser *p, struct err_text *text) {
    char list[ERR_TEXT_BYTES] = "no match found, expected: ";
    size_t size = strlen(list);
    for (unsigned token = 0; token < TOKEN_COUNT; token++) {
        uint32_t later = token + 1 < TOKEN_COUNT ? p->missed >> (token + 1) : 0;
        if ((p->missed >> token & 1) == 0) {
            continue;
        }
        const char *join = later == 0 ? "" : (later & (later - 1)) == 0 ? " or " : ", ";
        size_t need = strlen(token_shown[token]) + strlen(join);
        if (size + need >= sizeof list) {
            break;
        }
        memcpy(list + size, token_shown[token], strlen(token_shown[token]));
        memcpy(list + size + strlen(token_shown[token]), join, strlen(join) + 1);
        size += need;
    }
    return tell(p, p->missed_at, list, text);
}

/* Offset of the first byte that is no part of UTF-8, or size. */
static size_t find_bad_encoding(const char *text, size_t size) {
    size_t at = 0;
    while (at < size) {
        unsigned char lead = (unsigned char)text[at];
        size_t more = lead < 0x80 ? 0 : lead >= 0xf0 ? 3 : lead >= 0xe0 ? 2 : 1;
        uint32_t rune = lead < 0x80 ? lead : lead & (0x3fu >> more);
        static const uint32_t least[] = {0, 0x80, 0x800, 0x10000};
        if ((lead >= 0x80 && lead < 0xc2) || lead > 0xf4 || size - at <= more) {
            return at;
        }
        for (size_t i = 1; i <= more; i++) {
            if ((text[at + i] & 0xc0) != 0x80) {
                return at;
            }
            rune = rune << 6 | (text[at + i] & 0x3f);
        }
        if (rune < least[more] || rune > 0x10ffff || (rune >= 0xd800 && rune < 0xe000)) {
            return at;
        }
        at += more + 1;
    }
    return size;
}

enum err filter_parse(const char *text, struct arena *arena,
                      const struct filter_expression **ret_expression, struct err_text *ret_text) {
    struct parser p = {.text = text, .size = strlen(text), .arena = arena};
    if (p.size > LIMIT_FILTER_BYTES) {
        return err_set(ret_text, ERR_REFUSED, "the expression is longer than %d bytes",
                       LIMIT_FILTER_BYTES);
    }
    size_t bad = find_bad_encoding(text, p.size);
    if (bad < p.size) {
        return tell(&p, bad, "invalid encoding", ret_text);
    }
    p.joined = arena_alloc(arena, p.size + 1);
    some_of(&p, TOKEN_BLANK);
    struct filter_expression *expression = read_or(&p);
    bool whole = expression != NULL;
    if (whole) {
        some_of(&p, TOKEN_BLANK);
        whole = end_of_text(&p);
    }
    if (p.wrong != NULL) {
        return tell(&p, p.wrong_at, p.wrong, ret_text);
    }
    if (!whole) {
        return tell_missed(&p, ret_text);
    }
    *ret_expression = expression;
    return ERR_OK;
}
