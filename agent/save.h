/* Small files written away from the core: whole or not at all, readable by their owner alone. One
 * thread, started at the first one. */
#ifndef AGENT_SAVE_H
#define AGENT_SAVE_H

#include "net/loop.h"

struct saver;

struct saver *saver_create(struct loop *loop);
/* False: the disk hangs, and the thread still uses the saver. NULL is allowed. */
bool saver_destroy(struct saver *saver);

/* Takes data, from malloc; path is copied. Files are written in order. done, which may be NULL,
 * runs on the loop's thread. */
void saver_write(struct saver *saver, const char *path, char *data, size_t size,
                 void (*done)(void *context, enum err err, const struct err_text *text),
                 void *context);

#endif
