/* Between the filter's grammar, its tables of fields and its evaluation. */
#ifndef CATALOG_FILTER_INTERNAL_H
#define CATALOG_FILTER_INTERNAL_H

#include <stdbool.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/err.h"
#include "catalog/filter.h"

/* ---- grammar: filter_parse.c ---- */

enum filter_op {
    FILTER_EQUAL,
    FILTER_NOT_EQUAL,
    FILTER_IS_EMPTY,
    FILTER_IS_NOT_EMPTY,
    FILTER_IN,
    FILTER_NOT_IN,
    FILTER_MATCHES,
    FILTER_NOT_MATCHES,
    FILTER_OP_COUNT
};

#define FILTER_PARTS_MAX 8 /* deeper than any field is */

struct filter_selector {
    const char *text;                    /* the parts joined by dots, as errors name it */
    const char *parts[FILTER_PARTS_MAX]; /* the first of them */
    unsigned part_count;                 /* of parts; at least 1 */
};

struct filter_expression {
    enum { FILTER_OR, FILTER_AND, FILTER_NOT, FILTER_MATCH } kind;
    struct filter_expression *first; /* operands: of or and and 2 or more, of not 1 */
    struct filter_expression *next;  /* operand of the same operator */
    unsigned match_count;            /* matches in it, itself included */
    enum filter_op op;               /* of a match, and the rest too */
    const struct filter_selector *selector;
    const char *value; /* NULL for the tests of emptiness */
};

/* In the arena. ERR_REFUSED: the parser's text (contract 6.3). Operands nest at most
 * 3 * LIMIT_FILTER_DEPTH deep. */
enum err filter_parse(const char *text, struct arena *arena,
                      const struct filter_expression **ret_expression, struct err_text *ret_text);

/* ---- fields: filter_fields.c ---- */

enum filter_type {
    FILTER_END,     /* ends a table */
    FILTER_STR,     /* const char * */
    FILTER_U32,     /* uint32_t */
    FILTER_BOOL,    /* bool */
    FILTER_NATIVE,  /* a bool in a JSON text: {"Native":true} */
    FILTER_LIST,    /* struct str_list */
    FILTER_MAP,     /* struct str_map */
    FILTER_TAGGED,  /* catalog_service's tagged addresses: a map of structs */
    FILTER_STRUCT,  /* has only fields */
    FILTER_STRUCTS, /* a list of structs */
    FILTER_BYTES,   /* const char *, of which only emptiness is known */
    FILTER_TYPE_COUNT
};

/* Where a field is found. */
enum filter_base {
    FILTER_SAME, /* where the field is that holds it */
    FILTER_ROW,
    FILTER_NODE,    /* of an instance */
    FILTER_SERVICE, /* of an instance */
    FILTER_CHECK,   /* each check of an instance in turn */
    FILTER_ABSENT,  /* each element of a list that has none */
    FILTER_ZERO,    /* struct filter_zero: known by name, never set in our rows */
    FILTER_LOCAL    /* struct filter_local */
};

struct filter_zero {
    const char *text;
    uint32_t number;
    bool truth;
};

/* What is the same for all rows of a datacenter. */
struct filter_local {
    const char *datacenter;
};

struct filter_field {
    const char *name; /* NULL: any key of the map that holds it */
    enum filter_type type;
    enum filter_base base;
    uint16_t offset; /* in its base; of a map's element: in the element */
    const struct filter_field *fields;
};

/* The table of a kind of rows, up to FILTER_END. */
const struct filter_field *filter_fields(enum filter_rows rows);

#endif
