/* Any bytes as HCL. What is accepted must be JSON that the decoder reads. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/decode.h"
#include "base/hcl.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct decode_spec anything = {"anything", 1, NULL, 0, true};

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    struct buf out;
    struct err_text text = {""};
    char *copy = malloc(size + 1); /* not terminated: an overrun shows */
    memcpy(copy, data, size);
    char *exact = realloc(copy, size > 0 ? size : 1);
    buf_init(&out, 1 << 24);
    if (hcl_to_json(exact, size, &out, &text) == ERR_OK) {
        struct arena arena;
        char dummy;
        arena_init(&arena);
        enum err err =
            decode_json(&anything, DECODE_BODY, out.data, out.count, &arena, &dummy, &text);
        /* jansson refuses U+0000 and an empty key's kin; HCL cannot write the first. */
        ASSERT(err == ERR_OK);
        arena_clear(&arena);
    } else {
        ASSERT(text.s[0] != '\0');
    }
    buf_clear(&out);
    free(exact);
    return 0;
}
