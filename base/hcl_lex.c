#include "base/hcl_lex.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/str.h"

#define NUMBER_BYTES 64

void hcl_lexer_init(struct hcl_lexer *lexer, const char *hcl, size_t size, struct arena *arena,
                    struct err_text *error) {
    if (size >= 3 && memcmp(hcl, "\xef\xbb\xbf", 3) == 0) {
        hcl += 3;
        size -= 3;
    }
    *lexer = (struct hcl_lexer){
        .at = hcl, .end = hcl + size, .line_start = hcl, .line = 1, .arena = arena, .error = error};
    buf_init(&lexer->scratch, size + 4);
}

void hcl_lexer_clear(struct hcl_lexer *lexer) {
    buf_clear(&lexer->scratch);
}

const char *hcl_kind_name(enum hcl_kind kind) {
    static const char *const names[] = {
        [HCL_END] = "EOF",       [HCL_IDENT] = "IDENT",     [HCL_STRING] = "STRING",
        [HCL_NUMBER] = "NUMBER", [HCL_BOOL] = "BOOL",       [HCL_LBRACE] = "LBRACE",
        [HCL_RBRACE] = "RBRACE", [HCL_LBRACKET] = "LBRACK", [HCL_RBRACKET] = "RBRACK",
        [HCL_ASSIGN] = "ASSIGN", [HCL_COMMA] = "COMMA",
    };
    return names[kind];
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (unsigned char)c >= 0x80;
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static char peek(const struct hcl_lexer *l, size_t ahead) {
    return (size_t)(l->end - l->at) > ahead ? l->at[ahead] : '\0';
}

static void new_line(struct hcl_lexer *l) {
    l->line++;
    l->line_start = l->at;
}

static enum err fail_at(struct hcl_lexer *l, const char *at, const char *reason) {
    return err_set(l->error, ERR_INVALID, "At %u:%u: %s", l->line,
                   (unsigned)(at - l->line_start) + 1, reason);
}

/* ---- blanks and comments ---- */

static enum err skip_comment(struct hcl_lexer *l) {
    const char *start = l->at;
    unsigned line = l->line, column = (unsigned)(start - l->line_start) + 1;
    for (l->at += 2; l->at < l->end; l->at++) {
        if (*l->at == '*' && peek(l, 1) == '/') {
            l->at += 2;
            return ERR_OK;
        }
        if (*l->at == '\n') {
            l->at++;
            new_line(l);
            l->at--;
        }
    }
    return err_set(l->error, ERR_INVALID, "At %u:%u: comment not terminated", line, column);
}

static enum err skip_blanks(struct hcl_lexer *l) {
    while (l->at < l->end) {
        char c = *l->at;
        if (c == '\n') {
            l->at++;
            new_line(l);
        } else if (c == ' ' || c == '\t' || c == '\r') {
            l->at++;
        } else if (c == '#' || (c == '/' && peek(l, 1) == '/')) {
            while (l->at < l->end && *l->at != '\n') {
                l->at++;
            }
        } else if (c == '/' && peek(l, 1) == '*') {
            enum err err = skip_comment(l);
            if (err != ERR_OK) {
                return err;
            }
        } else {
            break;
        }
    }
    return ERR_OK;
}

/* ---- strings ---- */

static size_t put_utf8(char *out, unsigned long code) {
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xc0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3f));
        return 2;
    }
    if (code < 0x10000) {
        out[0] = (char)(0xe0 | code >> 12);
        out[1] = (char)(0x80 | (code >> 6 & 0x3f));
        out[2] = (char)(0x80 | (code & 0x3f));
        return 3;
    }
    out[0] = (char)(0xf0 | code >> 18);
    out[1] = (char)(0x80 | (code >> 12 & 0x3f));
    out[2] = (char)(0x80 | (code >> 6 & 0x3f));
    out[3] = (char)(0x80 | (code & 0x3f));
    return 4;
}

static int digit_value(char c, int base) {
    int value = is_digit(c)              ? c - '0'
                : (c >= 'a' && c <= 'f') ? c - 'a' + 10
                : (c >= 'A' && c <= 'F') ? c - 'A' + 10
                                         : 99;
    return value < base ? value : -1;
}

/* `digits` digits after the escape's letter; false: there are fewer, or they name no character. */
static bool take_code(struct hcl_lexer *l, int base, int digits, unsigned long *ret_code) {
    unsigned long code = 0;
    for (int i = 0; i < digits; i++) {
        int value = digit_value(peek(l, 0), base);
        if (value < 0) {
            return false;
        }
        code = code * (unsigned)base + (unsigned)value;
        l->at++;
    }
    *ret_code = code;
    return code > 0 && code <= 0x10ffff && !(code >= 0xd800 && code <= 0xdfff);
}

/* Behind the backslash. */
static bool take_escape(struct hcl_lexer *l) {
    static const char letters[] = "abfnrtv\\\"";
    static const char values[] = "\a\b\f\n\r\t\v\\\"";
    char c = peek(l, 0), utf8[4];
    const char *known = c != '\0' ? strchr(letters, c) : NULL;
    unsigned long code = 0;
    if (known != NULL) {
        l->at++;
        buf_append_byte(&l->scratch, values[known - letters]);
        return true;
    }
    if (c == 'x' || (c >= '0' && c <= '7')) {
        l->at += c == 'x';
        bool ok = take_code(l, c == 'x' ? 16 : 8, c == 'x' ? 2 : 3, &code) && code <= 0xff;
        buf_append_byte(&l->scratch, (char)code); /* a byte, as in Go */
        return ok;
    }
    if (c != 'u' && c != 'U') {
        return false;
    }
    l->at++;
    if (!take_code(l, 16, c == 'u' ? 4 : 8, &code)) {
        return false;
    }
    buf_append(&l->scratch, utf8, put_utf8(utf8, code));
    return true;
}

/* `${ ... }` with what is between its braces, quotes included, stays as it is. */
static bool take_interpolation(struct hcl_lexer *l) {
    unsigned depth = 0;
    for (bool first = true; l->at < l->end; first = false) {
        char c = *l->at++;
        if (c == '\0') {
            return false;
        }
        buf_append_byte(&l->scratch, c);
        if (c == '\n') {
            new_line(l);
        }
        depth += c == '{';
        depth -= c == '}';
        if (!first && depth == 0) {
            return true;
        }
    }
    return false;
}

static enum err take_string(struct hcl_lexer *l, struct hcl_token *token) {
    l->at++;
    buf_reset(&l->scratch);
    for (;;) {
        char c = peek(l, 0);
        const char *start = l->at;
        if (l->at >= l->end || c == '\n') {
            return fail_at(l, l->at, "literal not terminated");
        }
        if (c == '\0') {
            return fail_at(l, l->at, "unexpected null character (0x00)");
        }
        if (c == '"') {
            l->at++;
            break;
        }
        if (c == '$' && peek(l, 1) == '{') {
            if (!take_interpolation(l)) {
                return err_set(l->error, ERR_INVALID, "At %u:%u: expected terminating braces",
                               token->line, token->column);
            }
        } else if (c == '\\') {
            l->at++;
            if (!take_escape(l)) {
                return fail_at(l, start, "illegal char escape");
            }
        } else {
            buf_append_byte(&l->scratch, c);
            l->at++;
        }
    }
    token->kind = HCL_STRING;
    token->text = arena_strndup(l->arena, str_or_empty(l->scratch.data), l->scratch.count);
    return ERR_OK;
}

/* ---- heredocs ---- */

struct span {
    const char *at;
    size_t size;
};

static struct span take_line(struct hcl_lexer *l) {
    const char *start = l->at;
    const char *end = memchr(start, '\n', (size_t)(l->end - start));
    size_t size = (size_t)((end != NULL ? end : l->end) - start);
    l->at = end != NULL ? end + 1 : l->end;
    if (end != NULL) {
        new_line(l);
    }
    return (struct span){start, size > 0 && start[size - 1] == '\r' ? size - 1 : size};
}

static size_t blanks_of(const struct span *line) {
    size_t count = 0;
    while (count < line->size && (line->at[count] == ' ' || line->at[count] == '\t')) {
        count++;
    }
    return count;
}

/* The end of the text: a line that holds the marker alone, blanks before it only with `<<-`. */
static bool is_marker(const struct span *line, const struct span *marker, bool indented) {
    size_t blanks = indented ? blanks_of(line) : 0;
    return line->size - blanks == marker->size &&
           memcmp(line->at + blanks, marker->at, marker->size) == 0;
}

/* Takes the marker's indentation off every line, if every line has it. */
static const char *unindent(struct hcl_lexer *l, const char *body, const struct span *end) {
    size_t indent = blanks_of(end), size = strlen(body);
    for (const char *at = body; *at != '\0';) {
        if (strncmp(at, end->at, indent) != 0) {
            return body;
        }
        const char *next = strchr(at, '\n');
        at = next != NULL ? next + 1 : body + size;
    }
    char *out = arena_alloc(l->arena, size + 1);
    char *to = out;
    for (const char *at = body; *at != '\0';) {
        const char *next = strchr(at, '\n');
        const char *stop = next != NULL ? next + 1 : body + size;
        at += indent;
        memcpy(to, at, (size_t)(stop - at));
        to += stop - at;
        at = stop;
    }
    *to = '\0';
    return out;
}

static enum err take_heredoc(struct hcl_lexer *l, struct hcl_token *token) {
    l->at += 2;
    bool indented = peek(l, 0) == '-';
    l->at += indented;
    struct span marker = take_line(l);
    for (size_t i = 0; i < marker.size; i++) {
        if (!is_letter(marker.at[i]) && !is_digit(marker.at[i])) {
            return err_set(l->error, ERR_INVALID, "At %u:%u: invalid heredoc anchor", token->line,
                           token->column);
        }
    }
    if (marker.size == 0) {
        return err_set(l->error, ERR_INVALID, "At %u:%u: zero-length heredoc anchor", token->line,
                       token->column);
    }
    buf_reset(&l->scratch);
    while (l->at < l->end) {
        struct span line = take_line(l);
        if (is_marker(&line, &marker, indented)) {
            const char *body =
                arena_strndup(l->arena, str_or_empty(l->scratch.data), l->scratch.count);
            token->kind = HCL_STRING;
            token->heredoc = true;
            token->text = indented ? unindent(l, body, &line) : body;
            return ERR_OK;
        }
        if (memchr(line.at, '\0', line.size) != NULL) {
            return err_set(l->error, ERR_INVALID, "At %u:%u: unexpected null character (0x00)",
                           l->line - 1, 1);
        }
        buf_append(&l->scratch, line.at, line.size);
        buf_append_byte(&l->scratch, '\n');
    }
    return err_set(l->error, ERR_INVALID, "At %u:%u: heredoc not terminated", token->line,
                   token->column);
}

/* ---- numbers, identifiers, marks ---- */

/* As Go reads them: 0x and a leading 0 are bases, a point or an exponent makes a float. */
static enum err take_number(struct hcl_lexer *l, struct hcl_token *token) {
    const char *start = l->at;
    char text[NUMBER_BYTES], *end;
    size_t size = 0;
    bool hex = start[*start == '-'] == '0' && (peek(l, 1u + (*start == '-')) | 0x20) == 'x';
    while (l->at < l->end) {
        char c = *l->at;
        bool sign = (c == '-' || c == '+') && !hex && size > 0 && (text[size - 1] | 0x20) == 'e';
        if (!(is_digit(c) || is_letter(c) || c == '.' || sign || (size == 0 && c == '-'))) {
            break;
        }
        if (size + 1 == sizeof text) {
            return fail_at(l, start, "number is too long");
        }
        text[size++] = c;
        l->at++;
    }
    text[size] = '\0';
    token->kind = HCL_NUMBER;
    bool real = !hex && strpbrk(text, ".eE") != NULL;
    errno = 0;
    if (real) {
        double value = strtod(text, &end);
        token->text = arena_format(l->arena, "%.17g", value);
        if (!isfinite(value) || !(is_digit(text[0]) || is_digit(text[1]))) {
            errno = ERANGE;
        }
        if (strpbrk(token->text, ".e") == NULL) {
            token->text = arena_format(l->arena, "%s.0", token->text);
        }
    } else {
        token->text = arena_format(l->arena, "%lld", strtoll(text, &end, 0));
    }
    return *end == '\0' && end != text && errno == 0
               ? ERR_OK
               : fail_at(l, start, "not a number, or one that is too large");
}

static void take_ident(struct hcl_lexer *l, struct hcl_token *token) {
    const char *start = l->at;
    while (l->at < l->end &&
           (is_letter(*l->at) || is_digit(*l->at) || *l->at == '-' || *l->at == '.')) {
        l->at++;
    }
    token->text = arena_strndup(l->arena, start, (size_t)(l->at - start));
    bool boolean = strcmp(token->text, "true") == 0 || strcmp(token->text, "false") == 0;
    token->kind = boolean ? HCL_BOOL : HCL_IDENT;
}

enum err hcl_lexer_next(struct hcl_lexer *l, struct hcl_token *token) {
    enum err err = skip_blanks(l);
    if (err != ERR_OK) {
        return err;
    }
    *token = (struct hcl_token){
        .kind = HCL_END, .line = l->line, .column = (unsigned)(l->at - l->line_start) + 1};
    if (l->at == l->end) {
        return ERR_OK;
    }
    static const char marks[] = "{}[]=,";
    static const enum hcl_kind kinds[] = {HCL_LBRACE,   HCL_RBRACE, HCL_LBRACKET,
                                          HCL_RBRACKET, HCL_ASSIGN, HCL_COMMA};
    char c = *l->at;
    const char *mark = c != '\0' ? strchr(marks, c) : NULL;
    if (mark != NULL) {
        l->at++;
        token->kind = kinds[mark - marks];
        return ERR_OK;
    }
    if (c == '"') {
        return take_string(l, token);
    }
    if (c == '<' && peek(l, 1) == '<') {
        return take_heredoc(l, token);
    }
    if (is_digit(c) || (c == '-' && is_digit(peek(l, 1)))) {
        return take_number(l, token);
    }
    if (is_letter(c)) {
        take_ident(l, token);
        return ERR_OK;
    }
    return fail_at(l, l->at, "illegal character");
}
