/* The data directory: who this disk is, and that one process uses it.
 *
 * Files: `lock` (held while open; contains the process id as text) and `identity`. A directory that
 * holds other things but no identity belongs to another program and is left alone. */
#ifndef STORE_IDENTITY_H
#define STORE_IDENTITY_H

#include <stdbool.h>
#include <stdint.h>

#include "base/err.h"
#include "base/uuid.h"

struct store_identity;

/* Creates the directory (mode 0700; parents 0755) and the identity if there is none; `disk` is then
 * the id it gets, so the caller draws it at random. Every error's text is one sentence that says
 * what to do:
 *   ERR_EXISTS   another process holds the lock
 *   ERR_FOREIGN  not empty and not ours
 *   ERR_VERSION  made by a newer program
 *   ERR_CORRUPT  the identity file is damaged
 *   ERR_IO, ERR_NO_SPACE  cannot be created or written */
enum err store_identity_open(const char *directory, const struct uuid *disk,
                             struct store_identity **ret_identity, struct err_text *text);
/* Releases the lock. NULL is allowed. */
void store_identity_close(struct store_identity *identity);

/* As given when the directory was made. */
struct uuid store_identity_disk(const struct store_identity *identity);
/* The cluster that this disk belongs to; false: not yet known (ret_cluster is zeroed). */
bool store_identity_cluster(const struct store_identity *identity, struct uuid *ret_cluster);
/* Durable on return. To be called once, when the server bootstraps or joins; log, hard state and
 * snapshots carry it in every file. ERR_EXISTS: it has another one. */
enum err store_identity_set_cluster(struct store_identity *identity, const struct uuid *cluster,
                                    struct err_text *text);

#endif
