#include "base/hcl.h"

#include <string.h>

#include "base/arena.h"
#include "base/hcl_lex.h"
#include "base/json.h"
#include "base/limits.h"

enum node_kind { NODE_OBJECT, NODE_LIST, NODE_STRING, NODE_PLAIN };

/* A value. Children are in the order of their first mention. */
struct node {
    enum node_kind kind;
    bool blocks;      /* a list made of the blocks or objects of a repeated key */
    const char *key;  /* as a member of an object */
    const char *text; /* NODE_STRING; NODE_PLAIN: JSON */
    struct node *next, *first, *last;
};

struct parser {
    struct hcl_lexer lexer;
    struct hcl_token token; /* the next one */
    struct arena arena;
    struct err_text *error;
    unsigned depth;
};

static enum err parse_value(struct parser *p, struct node **ret_node);
static enum err parse_members(struct parser *p, struct node *object, enum hcl_kind end);

static enum err advance(struct parser *p) {
    return hcl_lexer_next(&p->lexer, &p->token);
}

static enum err unexpected(struct parser *p, const char *wanted) {
    return err_set(p->error, ERR_INVALID, "At %u:%u: %s, got: %s", p->token.line, p->token.column,
                   wanted, hcl_kind_name(p->token.kind));
}

static enum err go_deeper(struct parser *p) {
    return ++p->depth <= LIMIT_HCL_DEPTH
               ? ERR_OK
               : err_set(p->error, ERR_INVALID, "At %u:%u: nested deeper than %d levels",
                         p->token.line, p->token.column, LIMIT_HCL_DEPTH);
}

/* ---- the tree ---- */

static struct node *new_node(struct parser *p, enum node_kind kind) {
    struct node *node = arena_alloc(&p->arena, sizeof *node);
    node->kind = kind;
    return node;
}

static void append(struct node *parent, struct node *child) {
    if (parent->last != NULL) {
        parent->last->next = child;
    } else {
        parent->first = child;
    }
    parent->last = child;
}

static struct node *find(const struct node *object, const char *key) {
    struct node *at = object->first;
    while (at != NULL && strcmp(at->key, key) != 0) {
        at = at->next;
    }
    return at;
}

/* The place in the parent stays, so that what is linked there need not be found again. */
static void replace(struct node *old, const struct node *value) {
    struct node *next = old->next;
    const char *key = old->key;
    *old = *value;
    old->next = next;
    old->key = key;
}

static void add_member(struct parser *p, struct node *object, const char *key, struct node *value) {
    struct node *old = find(object, key);
    if (old == NULL) {
        value->key = key;
        append(object, value);
        return;
    }
    bool objects = value->kind == NODE_OBJECT && (old->kind == NODE_OBJECT || old->blocks);
    if (!objects) {
        replace(old, value);
        return;
    }
    if (!old->blocks) {
        struct node *first = new_node(p, NODE_OBJECT);
        first->first = old->first;
        first->last = old->last;
        struct node list = {.kind = NODE_LIST, .blocks = true, .first = first, .last = first};
        replace(old, &list);
    }
    append(old, value);
}

/* ---- the grammar ---- */

static enum err parse_list(struct parser *p, struct node *list) {
    enum err err = go_deeper(p);
    bool comma_wanted = false;
    while (err == ERR_OK && p->token.kind != HCL_RBRACKET) {
        struct node *item;
        if (p->token.kind == HCL_COMMA && comma_wanted) {
            comma_wanted = false;
            err = advance(p);
        } else if (comma_wanted) {
            err = unexpected(p, "error parsing list, expected comma or list end");
        } else {
            err = parse_value(p, &item);
            if (err == ERR_OK) {
                append(list, item);
                comma_wanted = true;
            }
        }
    }
    p->depth--;
    return err != ERR_OK ? err : advance(p);
}

static enum err parse_object(struct parser *p, struct node *object) {
    enum err err = go_deeper(p);
    if (err == ERR_OK) {
        err = parse_members(p, object, HCL_RBRACE);
    }
    p->depth--;
    return err != ERR_OK ? err : advance(p);
}

static enum err parse_value(struct parser *p, struct node **ret_node) {
    struct node *node;
    switch (p->token.kind) {
    case HCL_STRING:
    case HCL_NUMBER:
    case HCL_BOOL:
        node = new_node(p, p->token.kind == HCL_STRING ? NODE_STRING : NODE_PLAIN);
        node->text = p->token.text;
        *ret_node = node;
        return advance(p);
    case HCL_LBRACE:
    case HCL_LBRACKET: {
        bool list = p->token.kind == HCL_LBRACKET;
        *ret_node = node = new_node(p, list ? NODE_LIST : NODE_OBJECT);
        enum err err = advance(p);
        return err != ERR_OK ? err : list ? parse_list(p, node) : parse_object(p, node);
    }
    default:
        return unexpected(p, "error parsing value, expected a literal, list or object");
    }
}

/* `key = value`, or `key "label" ... { }`, whose labels are objects inside each other. */
static enum err parse_member(struct parser *p, struct node *object) {
    const char *key = p->token.text;
    struct node *inner = NULL, *outer = NULL, *value;
    enum err err = advance(p);
    if (err == ERR_OK && p->token.kind == HCL_ASSIGN) {
        err = advance(p);
        if (err == ERR_OK) {
            err = parse_value(p, &value);
        }
        if (err == ERR_OK) {
            add_member(p, object, key, value);
        }
        return err;
    }
    outer = inner = new_node(p, NODE_OBJECT);
    unsigned labels = 0;
    while (err == ERR_OK && (p->token.kind == HCL_IDENT || p->token.kind == HCL_STRING) &&
           !p->token.heredoc && labels < LIMIT_HCL_DEPTH) {
        struct node *label = new_node(p, NODE_OBJECT);
        label->key = p->token.text;
        append(inner, label);
        inner = label;
        labels++;
        err = advance(p);
    }
    if (err == ERR_OK && p->token.kind != HCL_LBRACE) {
        err = unexpected(p, labels == 0 ? "key needs = or {" : "nested object expected: LBRACE");
    }
    if (err == ERR_OK) {
        p->depth += labels;
        err = advance(p);
        if (err == ERR_OK) {
            err = parse_object(p, inner);
        }
        p->depth -= labels;
    }
    if (err == ERR_OK) {
        add_member(p, object, key, outer);
    }
    return err;
}

static enum err parse_members(struct parser *p, struct node *object, enum hcl_kind end) {
    bool comma_allowed = false;
    while (p->token.kind != end) {
        enum err err;
        bool key = (p->token.kind == HCL_IDENT || p->token.kind == HCL_STRING ||
                    p->token.kind == HCL_BOOL) &&
                   !p->token.heredoc;
        if (p->token.kind == HCL_COMMA && comma_allowed) {
            comma_allowed = false;
            err = advance(p);
        } else if (key) {
            err = parse_member(p, object);
            comma_allowed = end == HCL_RBRACE;
        } else {
            err = unexpected(p, end == HCL_END ? "expected a key" : "expected a key or RBRACE");
        }
        if (err != ERR_OK) {
            return err;
        }
    }
    return ERR_OK;
}

/* ---- JSON ---- */

static void write_node(struct json *json, const struct node *node) {
    switch (node->kind) {
    case NODE_STRING:
        json_str(json, node->text);
        break;
    case NODE_PLAIN:
        json_raw(json, node->text);
        break;
    case NODE_LIST:
        json_array_begin(json);
        for (const struct node *at = node->first; at != NULL; at = at->next) {
            write_node(json, at);
        }
        json_array_end(json);
        break;
    case NODE_OBJECT:
        json_object_begin(json);
        for (const struct node *at = node->first; at != NULL; at = at->next) {
            json_key(json, at->key);
            write_node(json, at);
        }
        json_object_end(json);
        break;
    }
}

enum err hcl_to_json(const char *hcl, size_t size, struct buf *out, struct err_text *text) {
    struct parser p = {.error = text};
    struct node root = {.kind = NODE_OBJECT};
    arena_init(&p.arena);
    hcl_lexer_init(&p.lexer, hcl, size, &p.arena, text);
    enum err err = advance(&p);
    if (err == ERR_OK) {
        err = parse_members(&p, &root, HCL_END);
    }
    if (err == ERR_OK) {
        struct json json;
        json_init(&json, out, false);
        write_node(&json, &root);
        if (out->failed) {
            err = err_set(text, ERR_TOO_LARGE, "larger than %zu bytes as JSON", out->max);
        }
    }
    hcl_lexer_clear(&p.lexer);
    arena_clear(&p.arena);
    return err;
}
