/* The one table of configuration keys. It drives decoding, defaults, warnings and refusals, and
 * docs/CONFIG.md, which a test holds against it. For the agent's configuration files only. */
#ifndef AGENT_CONFIG_TABLE_H
#define AGENT_CONFIG_TABLE_H

#include "agent/config.h"

enum config_effect {
    CONFIG_USED,    /* does what its note says */
    CONFIG_LATER,   /* belongs to what is not there yet: a warning if set to anything else */
    CONFIG_IGNORED, /* accepted for good, the same warning */
    CONFIG_REFUSED, /* to ignore it would be dangerous: set to anything else, it ends the start */
    CONFIG_ENTERPRISE, /* the contract's warning */
    CONFIG_INTERNAL,   /* accepted and dropped */
    CONFIG_RENAMED     /* stands for the key in `note`, with a warning */
};

/* offset of keys whose value has no place in struct config: they get a slot of their own. */
#define CONFIG_SLOT ((size_t)-1)
#define CONFIG_KEYS_MAX 420
#define CONFIG_DURATION_UNSET INT64_MIN

struct config_key {
    const char *path; /* dotted */
    enum decode_kind kind;
    enum config_effect effect;
    bool reloadable;
    size_t offset;       /* in struct config, or CONFIG_SLOT */
    const char *initial; /* the default as text; "" = none, lists are empty */
    const char *note;    /* for people; what CONFIG_RENAMED stands for; why it is refused */
    const struct decode_spec *spec; /* DECODE_OBJECTS, DECODE_OBJECT */
};

/* Ordered as documented. */
extern const struct config_key config_keys[];
extern const size_t config_key_count;

union config_slot {
    const char *str;
    int8_t flag;
    int64_t number;
    double real;
    struct str_list list;
    struct str_map map;
    struct str_multimap multimap;
};

/* The target of decoding. */
struct config_load {
    struct config config; /* first */
    struct arena *arena;
    const char *error;
    bool offline;                             /* only judged: hosts are not looked up */
    bool wrong_flag;                          /* the command line is no command line */
    struct decode_spec spec;                  /* built from the table */
    union config_slot slots[CONFIG_KEYS_MAX]; /* by the key's index; unset ones stay as at init */
};

/* ---- config_decode.c ---- */

/* Builds the specs and sets the defaults. */
void config_load_init(struct config_load *load, struct arena *arena);
/* One source over what is there. load->error on failure, without the source's name. */
enum err config_decode(struct config_load *load, const char *json, size_t size);
/* NULL: no such key. */
const struct config_key *config_key_find(const char *path);
/* Where the key's value is decoded to. */
void *config_key_place(struct config_load *load, const struct config_key *key);
/* A flag's text as the key's value: lists grow, maps take `key:value`. False: not of its kind. */
bool config_key_set(struct config_load *load, const struct config_key *key, const char *text);
bool config_key_is_set(struct config_load *load, const struct config_key *key);
/* Set to something else than its default. */
bool config_key_differs(struct config_load *load, const struct config_key *key);
/* Values of renamed keys to their places, with a warning each. */
void config_rename(struct config_load *load);
/* Warnings and refusals of all that has no effect. */
enum err config_settle(struct config_load *load);

void config_warn(struct config_load *load, const char *format, ...)
    __attribute__((format(printf, 2, 3)));
enum err config_fail(struct config_load *load, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

/* ---- config_files.c ---- */

/* A file or a folder. format: "", "hcl", "json". load->error on failure. */
enum err config_read_path(struct config_load *load, const char *path, const char *format);
/* One text in memory; name is for errors. */
enum err config_read_text(struct config_load *load, const char *name, bool hcl, const char *text,
                          size_t size);

/* ---- config_judge.c, config_addresses.c ---- */

/* Judges the whole and fills in what is derived. running: see config_source. */
enum err config_judge(struct config_load *load, const struct config *running);
enum err config_judge_addresses(struct config_load *load);

#endif
