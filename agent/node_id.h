/* Where a node's id comes from, and the file that keeps it (contract 2.5). */
#ifndef AGENT_NODE_ID_H
#define AGENT_NODE_ID_H

#include "agent/config.h"
#include "base/uuid.h"

/* From the configuration, else <data_dir>/node-id, else of the host if disable_host_node_id is
 * false, else a new one. ret_known is false of a new one alone: the data directory may know better.
 * ERR_CORRUPT: the file does not hold a UUID. */
enum err node_id_find(const struct config *config, struct uuid *ret_id, bool *ret_known,
                      struct err_text *text);
/* Writes the file, unless it says so already: then a full disk does not matter. */
enum err node_id_keep(const struct config *config, const char *id, struct err_text *text);

/* The id of a host, from what names its machine: the first half of a SHA-512 of it, lower-cased. */
struct uuid node_id_of_machine(const char *machine);

#endif
