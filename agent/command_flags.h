/* Flags of the commands that talk to an agent (contract 3.1, 3.2): parsing as Go's flag package
 * does it, and the help text, from one table a command. */
#ifndef AGENT_COMMAND_FLAGS_H
#define AGENT_COMMAND_FLAGS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/arena.h"
#include "base/str.h"

enum command_flag_kind {
    COMMAND_FLAG_STR,  /* const char * */
    COMMAND_FLAG_BOOL, /* bool */
    COMMAND_FLAG_INT,  /* int64_t */
    COMMAND_FLAG_LIST, /* struct str_list: may be repeated */
    COMMAND_FLAG_DROP  /* nothing: accepted and ignored */
};

struct command_flag {
    const char *name;
    enum command_flag_kind kind;
    void *to; /* holds the default before the parse */
    const char *help;
};

/* Flags that commands share; a command says which it takes. */
enum command_sets {
    COMMAND_SET_CLIENT = 1, /* -http-addr, -token, -ca-file, ... */
    COMMAND_SET_SERVER = 2, /* -datacenter, -stale */
    COMMAND_SET_TENANCY = 4 /* -namespace, -partition, -peer: accepted, ignored */
};

/* Where the flags of those sets end up; "" = not given. */
struct command_options {
    const char *http_addr, *token, *token_file;
    const char *ca_file, *ca_path, *client_cert, *client_key, *tls_server_name;
    const char *datacenter;
    bool stale;
};

struct command_spec {
    const char *usage; /* what follows "Usage: cairn " */
    const char *about; /* paragraphs, indented by two */
    const struct command_flag *flags;
    size_t flag_count;
    unsigned sets;
};

struct command_line {
    struct command_options options;
    int arg_count; /* what follows the flags: they stop at the first argument */
    char **args;
};

/* Parses. False: *ret_code is the exit code, and help or complaint is out. Lists live in arena. */
bool command_parse(const struct command_spec *spec, int argc, char **argv, struct arena *arena,
                   struct command_line *ret_line, int *ret_code);

#endif
