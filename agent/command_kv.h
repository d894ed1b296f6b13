/* What the commands of keys share: a row as it comes over the wire, and arguments that load data.
 */
#ifndef AGENT_COMMAND_KV_H
#define AGENT_COMMAND_KV_H

#include "agent/command_client.h"
#include "base/json.h"

struct kv_row {
    const char *key, *session, *value; /* value: base64 */
    uint64_t flags, lock_index, create_index, modify_index;
};

extern const struct decode_spec kv_row_spec;

/* GET of a key or a prefix (recurse in queries). ERR_NOT_FOUND: there is none; ret_index is set all
 * the same. *ret_rows: struct kv_row, in the arena. */
enum err kv_get(struct client *client, const char *key, const struct client_query *queries,
                size_t query_count, struct arena *arena, struct decode_objects *ret_rows,
                uint64_t *ret_index, struct err_text *text);
/* PUT or DELETE; *ret_yes is the answer. */
enum err kv_write(struct client *client, const char *method, const char *key,
                  const struct client_query *queries, size_t query_count, const void *body,
                  size_t size, bool *ret_yes, struct err_text *text);
/* The value's bytes, with a NUL behind them, in the arena. */
const char *kv_value(const struct kv_row *row, struct arena *arena, size_t *ret_size);

/* "@path" is a file, "-" standard input, else the text itself. ERR_IO. */
enum err command_load_data(const char *arg, struct buf *out, struct err_text *text);

#endif
