/* A client of an agent's HTTP API, for the commands that ask one: the flags and the environment
 * that they share (contract 3.2), and requests. */
#ifndef AGENT_COMMAND_CLIENT_H
#define AGENT_COMMAND_CLIENT_H

#include <stdbool.h>

#include "base/arena.h"
#include "base/buf.h"
#include "base/err.h"

struct client; /* a connection */

/* What the flags say; NULL where they say nothing. */
struct client_flags {
    const char *http_addr, *token, *token_file;
    const char *ca_file, *ca_path, *client_cert, *client_key, *tls_server_name;
    const char *datacenter;
    bool stale;
};

enum client_flag { CLIENT_FLAG_NONE, CLIENT_FLAG_TAKEN, CLIENT_FLAG_BAD };

/* Takes argv[*i], and its value, if it is a flag of the client: `-f v`, `-f=v`, `--f=v`. Tenancy
 * flags are taken and dropped; -datacenter and -stale only with server_flags. BAD: the value is
 * missing or wrong, and text says so. */
enum client_flag client_flags_take(struct client_flags *flags, bool server_flags, int argc,
                                   char **argv, int *i, struct err_text *text);
/* For help texts. */
void client_flags_print(bool server_flags);

/* Flags first, then the environment, then defaults. NULL and a sentence: a bad address, a token
 * file that cannot be read. Warnings about the environment go to stderr. */
struct client *client_open(const struct client_flags *flags, struct err_text *text);
void client_close(struct client *client); /* NULL is allowed */

struct client_answer {
    int status;
    struct buf body;
};

/* path begins with '/', query (may be NULL) has no '?'; body may be NULL. ERR_IO: the agent was not
 * reached, and text names the URL. Any status is ERR_OK. The caller clears the answer's body. */
enum err client_request(struct client *client, const char *method, const char *path,
                        const char *query, const char *body, struct client_answer *ret_answer,
                        struct err_text *text);
/* The same, where only 200 will do: else ERR_REFUSED, `Unexpected response code: <code> (<body>)`.
 */
enum err client_expect(struct client *client, const char *method, const char *path,
                       const char *query, const char *body, struct client_answer *ret_answer,
                       struct err_text *text);

#endif
