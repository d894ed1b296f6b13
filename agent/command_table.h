/* Tables of the commands (contract 3.1): columns left-aligned, as wide as the widest cell, two
 * blanks between them, nothing behind the last. */
#ifndef AGENT_COMMAND_TABLE_H
#define AGENT_COMMAND_TABLE_H

#include <stddef.h>
#include <stdio.h>

#include "base/arena.h"

#define COMMAND_TABLE_COLUMNS 10

struct command_table {
    struct arena *arena;
    unsigned columns;
    const char **cells; /* row after row */
    size_t count, capacity;
};

/* columns: the head, NULL-terminated. */
void command_table_init(struct command_table *table, struct arena *arena, const char *const *head);
/* One cell after the other; borrowed until the print. */
void command_table_add(struct command_table *table, const char *cell);
void command_table_print(const struct command_table *table, FILE *to);

#endif
