/* Rows and commands as the simulators' own clients make them. */
#ifndef SIM_ROWS_H
#define SIM_ROWS_H

#include <stddef.h>
#include <stdint.h>

#include "catalog/codec.h"

/* Of this name and address, and nothing else; all strings are borrowed. */
struct catalog_node row_node(const char *name, const char *address);
struct catalog_check row_check(const char *node, const char *id, const char *service,
                               const char *status);
/* Its id is its name. */
struct catalog_service row_service(const char *name, uint32_t port);
/* As an entry of the log has it, from malloc. */
uint8_t *row_encode(const struct catalog_command *command, size_t *ret_size);

#endif
