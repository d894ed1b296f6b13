/* A note in the log's directory that this server has lost entries which it may have acknowledged:
 * until peers have given them back it must not vote (raft/raft.h, "Rot"). */
#ifndef STORE_REPAIR_H
#define STORE_REPAIR_H

#include <stdbool.h>

#include "base/err.h"

/* All three: ERR_IO, ERR_NO_SPACE. Durable on return. */
enum err store_repair_is_noted(const char *directory, bool *ret_noted, struct err_text *text);
enum err store_repair_note(const char *directory, struct err_text *text);
enum err store_repair_clear(const char *directory, struct err_text *text);

#endif
