/* The note that this server goes on with a configuration that an operator gave it, because most of
 * its group is lost for good. It stands for every configuration in the log whose entry is of an
 * older term than the note's, and stays until a snapshot has taken its place. */
#ifndef STORE_RECOVERY_H
#define STORE_RECOVERY_H

#include "base/err.h"
#include "base/uuid.h"
#include "store/snapshot.h"

struct store_recovery {
    uint64_t term; /* above all that the server has seen; 0: there is no note */
    uint32_t configuration_size;
    uint8_t configuration[STORE_SNAPSHOT_CONFIGURATION_BYTES_MAX]; /* the caller's bytes */
};

/* Errors as those of store/format.h. The directory is synced, because what is read may live in the
 * cache alone. */
enum err store_recovery_read(const char *directory, const struct uuid *cluster,
                             struct store_recovery *ret_recovery, struct err_text *text);
/* Durable on return. */
enum err store_recovery_write(const char *directory, const struct uuid *cluster,
                              const struct store_recovery *recovery, struct err_text *text);
enum err store_recovery_clear(const char *directory, struct err_text *text);

#endif
