/* Between the snapshot thread and the writer that its job uses. Internal to the folder. */
#ifndef STORE_SNAPSHOT_INTERNAL_H
#define STORE_SNAPSHOT_INTERNAL_H

#include <stdatomic.h>

#include "store/snapshot.h"

/* Once the flag is set, every write fails with ERR_CLOSED. Borrowed while the writer lives. */
void store_snapshot_writer_watch(struct store_snapshot_writer *writer,
                                 const atomic_bool *abandoned);

#endif
