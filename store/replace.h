/* Small files that are replaced as a whole, or not at all: written beside their place, synced, and
 * renamed. */
#ifndef STORE_REPLACE_H
#define STORE_REPLACE_H

#include <stdbool.h>
#include <stddef.h>

#include "base/err.h"

/* What is appended to the path meanwhile; a crash may leave such a file behind. */
#define STORE_REPLACE_SUFFIX ".tmp"

/* The new content is durable once store_directory_sync has been called on the folder. After an
 * error the old content is in place. Errors of store/file.h. */
enum err store_replace_file(const char *path, const void *data, size_t size, struct err_text *text);
/* Whether the file of this name is in the directory, and what is in it. `size` is one byte more
 * than it may have, or 0: nothing is read. What was found is durable: it may have been in the cache
 * alone. ERR_CORRUPT: it is longer. */
enum err store_replace_read(const char *directory, const char *name, void *data, size_t size,
                            bool *ret_found, size_t *ret_size, struct err_text *text);
/* Removes a file of the directory, durable on return. It is no error if it is not there. */
enum err store_replace_clear(const char *directory, const char *name, struct err_text *text);

#endif
