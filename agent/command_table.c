#include "agent/command_table.h"

#include <stdbool.h>
#include <string.h>

#include "base/assert.h"

/* Characters, not bytes: names may be UTF-8. */
static size_t width_of(const char *cell) {
    size_t width = 0;
    for (; *cell != '\0'; cell++) {
        width += ((unsigned char)*cell & 0xc0) != 0x80;
    }
    return width;
}

void command_table_init(struct command_table *table, struct arena *arena, const char *const *head) {
    *table = (struct command_table){.arena = arena};
    while (head[table->columns] != NULL) {
        table->columns++;
    }
    ASSERT(table->columns <= COMMAND_TABLE_COLUMNS);
    for (unsigned i = 0; i < table->columns; i++) {
        command_table_add(table, head[i]);
    }
}

void command_table_add(struct command_table *table, const char *cell) {
    if (table->count == table->capacity) {
        size_t capacity = table->capacity == 0 ? 64 : table->capacity * 2;
        const char **cells = arena_alloc(table->arena, capacity * sizeof *cells);
        if (table->count > 0) {
            memcpy(cells, table->cells, table->count * sizeof *cells);
        }
        table->cells = cells;
        table->capacity = capacity;
    }
    table->cells[table->count++] = cell;
}

void command_table_print(const struct command_table *table, FILE *to) {
    size_t widths[COMMAND_TABLE_COLUMNS] = {0};
    ASSERT(table->count % table->columns == 0);
    for (size_t i = 0; i < table->count; i++) {
        size_t width = width_of(table->cells[i]);
        if (width > widths[i % table->columns]) {
            widths[i % table->columns] = width;
        }
    }
    for (size_t i = 0; i < table->count; i++) {
        unsigned column = (unsigned)(i % table->columns);
        bool last = column + 1 == table->columns;
        int pad = last ? 0 : (int)(widths[column] - width_of(table->cells[i]) + 2);
        fprintf(to, "%s%*s%s", table->cells[i], pad, "", last ? "\n" : "");
    }
}
