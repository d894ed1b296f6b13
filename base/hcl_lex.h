/* The words of HCL 1; for base/hcl.c. */
#ifndef BASE_HCL_LEX_H
#define BASE_HCL_LEX_H

#include <stdbool.h>
#include <stddef.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

enum hcl_kind {
    HCL_END,
    HCL_IDENT,
    HCL_STRING, /* quoted, or a heredoc */
    HCL_NUMBER,
    HCL_BOOL,
    HCL_LBRACE,
    HCL_RBRACE,
    HCL_LBRACKET,
    HCL_RBRACKET,
    HCL_ASSIGN,
    HCL_COMMA
};

struct hcl_token {
    enum hcl_kind kind;
    unsigned line, column;
    const char *text; /* identifier, decoded string, JSON number, `true` or `false` */
    bool heredoc;     /* no key */
};

struct hcl_lexer {
    const char *at, *end, *line_start;
    unsigned line;
    struct arena *arena; /* of the texts */
    struct err_text *error;
    struct buf scratch; /* the string being read; never larger than the input */
};

void hcl_lexer_init(struct hcl_lexer *lexer, const char *hcl, size_t size, struct arena *arena,
                    struct err_text *error);
void hcl_lexer_clear(struct hcl_lexer *lexer);
/* The next token. ERR_INVALID and the sentence with its place. */
enum err hcl_lexer_next(struct hcl_lexer *lexer, struct hcl_token *ret_token);
/* "STRING", "LBRACE", ...: as error texts name them. */
const char *hcl_kind_name(enum hcl_kind kind);

#endif
