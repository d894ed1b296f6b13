/* The HTTP client of the commands (contract 3.2): address, token and TLS from flags and
 * environment, one request at a time. */
#ifndef AGENT_COMMAND_CLIENT_H
#define AGENT_COMMAND_CLIENT_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>

#include "agent/command_flags.h"
#include "base/arena.h"
#include "base/buf.h"
#include "base/decode.h"
#include "base/err.h"

struct client;

/* NULL: the sentence is on stderr (`Error connecting to Consul agent: ...`). */
struct client *client_create(const struct command_options *options);
void client_destroy(struct client *client); /* NULL is allowed */

/* A query of a path in the client's arena: name and value, escaped. value NULL: "?name" alone. */
struct client_query {
    const char *name, *value;
};

struct client_answer {
    long status;
    uint64_t index; /* X-Consul-Index, 0 = none */
    struct buf body;
};

/* Sends bytes and reads the whole answer, whatever its status; -datacenter and -stale go along. The
 * caller clears the body, after an error too. ERR_IO: no answer, with a reason that names the URL;
 * ERR_CLOSED: interrupted (client_interruptible). */
enum err client_exchange(struct client *client, const char *method, const char *path,
                         const struct client_query *queries, size_t query_count, const void *body,
                         size_t size, struct client_answer *ret_answer, struct err_text *text);
/* From now on a request ends, within a second, once this flag is set. */
void client_interruptible(struct client *client, const _Atomic bool *flag);
/* The sentence for a status other than 200. */
enum err client_refusal(const struct client_answer *answer, struct err_text *text);

/* Sends and reads the whole answer; -datacenter and -stale go along. path is escaped already, body
 * NULL = none. ret_body may be NULL; else it is set, whatever the status, and the caller clears it.
 * ERR_IO: no answer, with a reason that names the URL. ERR_REFUSED: `Unexpected response code: ...`
 */
enum err client_request(struct client *client, const char *method, const char *path,
                        const struct client_query *queries, size_t query_count, const char *body,
                        struct buf *ret_body, struct err_text *text);

/* GET, and the answer decoded. A list is told by `list`, and out is a struct decode_objects then.
 */
enum err client_get(struct client *client, const char *path, const struct client_query *queries,
                    size_t query_count, const struct decode_spec *spec, bool list,
                    struct arena *arena, void *out, struct err_text *text);

/* GET an answer that does not end. take is called for each piece; false ends it with ERR_OK. ERR_IO
 * when the agent ended it or could not be reached. */
enum err client_stream(struct client *client, const char *path, const struct client_query *queries,
                       size_t query_count,
                       bool (*take)(void *context, const char *data, size_t size), void *context,
                       struct err_text *text);

/* One path segment, percent-escaped, in the arena. */
const char *client_escape(const char *segment, struct arena *arena);
/* A path of segments, with the slashes between them as they are where they may be. */
const char *client_escape_path(const char *path, struct arena *arena);

#endif
