/* Any bytes as a configuration, JSON behind a first byte of 'j', HCL otherwise: decoded, judged and
 * settled like a file of `validate`. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "agent/config_table.h"
#include "base/assert.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct arena arena;
    if (size == 0) {
        return 0;
    }
    arena_init(&arena);
    struct config_load *load = arena_alloc(&arena, sizeof *load);
    config_load_init(load, &arena);
    enum err err =
        config_read_text(load, "input", data[0] != 'j', (const char *)data + 1, size - 1);
    if (err == ERR_OK) {
        config_rename(load);
        err = config_judge(load, NULL);
        err = err == ERR_OK ? config_settle(load) : err;
    }
    ASSERT(err == ERR_OK || load->error != NULL);
    arena_clear(&arena);
    return 0;
}
