/* The operating system's disk calls, all of them: no other file of the store makes one. Implemented
 * by file_posix.c, and by a simulated disk with faults in the simulator.
 *
 * Errors: ERR_NOT_FOUND (no such file), ERR_NO_SPACE, ERR_IO; the text names the file. */
#ifndef STORE_FILE_H
#define STORE_FILE_H

#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

struct store_file;

enum store_file_mode {
    STORE_FILE_READ,
    STORE_FILE_WRITE,  /* exists; read and write */
    STORE_FILE_CREATE, /* made, or emptied if it exists; read and write */
};

enum err store_file_open(const char *path, enum store_file_mode mode, struct store_file **ret_file,
                         struct err_text *text);
/* NULL is allowed. Nothing is synced. */
void store_file_close(struct store_file *file);

enum err store_file_size(struct store_file *file, uint64_t *ret_size, struct err_text *text);
/* Reads all of size bytes, or fewer at the end of the file. */
enum err store_file_read(struct store_file *file, uint64_t offset, void *data, size_t size,
                         size_t *ret_size, struct err_text *text);
/* Writes all of size bytes; after an error any part of them may have been written. */
enum err store_file_write(struct store_file *file, uint64_t offset, const void *data, size_t size,
                          struct err_text *text);
/* fdatasync: data, and the size if it grew. After an error what was written since the last sync is
 * lost or not, and a second call tells nothing. */
enum err store_file_sync(struct store_file *file, struct err_text *text);
/* Locks against other processes until close. ERR_EXISTS: another one has it. */
enum err store_file_lock(struct store_file *file, struct err_text *text);

/* Replaces `to`. Durable after store_directory_sync. */
enum err store_file_rename(const char *from, const char *to, struct err_text *text);
enum err store_file_unlink(const char *path, struct err_text *text);

/* Makes a directory and its missing parents; it is no error if it is there. Durable on return. */
enum err store_directory_make(const char *path, struct err_text *text);
enum err store_directory_sync(const char *path, struct err_text *text);
/* Calls visit with each name but "." and "..", in no order. */
enum err store_directory_list(const char *path, void (*visit)(void *context, const char *name),
                              void *context, struct err_text *text);

#endif
