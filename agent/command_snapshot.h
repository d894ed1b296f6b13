/* A saved snapshot's file, as the commands read it. */
#ifndef AGENT_COMMAND_SNAPSHOT_H
#define AGENT_COMMAND_SNAPSHOT_H

#include <stdbool.h>

#include "agent/archive.h"

/* Reads and judges all of it. False: a sentence is on stderr. The caller clears the archive either
 * way. */
bool snapshot_file_open(const char *path, struct archive *ret_archive);

#endif
