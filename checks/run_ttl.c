/* TTL checks (contract 11.2): passing for as long as somebody says so in time. */
#include <stdlib.h>
#include <string.h>

#include "base/mem.h"
#include "checks/internal.h"

static void pack(const struct check_definition *def, struct buf *out) {
    (void)def;
    (void)out;
}

/* It stays critical until the next update: nothing starts the timer again. */
static void expire(struct checks *checks, struct check *check) {
    (void)checks;
    if (check->note == NULL || check->note[0] == '\0') {
        check_tell(check, HEALTH_CRITICAL, "TTL expired");
        return;
    }
    struct buf text;
    buf_init(&text, strlen(check->note) + 128);
    buf_append_format(&text, "TTL expired (last output before timeout follows): %s", check->note);
    buf_append_byte(&text, '\0');
    check_tell(check, HEALTH_CRITICAL, text.data);
    buf_clear(&text);
}

char *checks_format_note(const char *note, int64_t output_bytes_max) {
    size_t total = strlen(note);
    size_t max = spec_output_bytes(output_bytes_max);
    if (total <= max) {
        return mem_strdup(note);
    }
    struct buf text;
    buf_init(&text, max + 128);
    buf_append(&text, note, max);
    buf_append_format(&text, " ... (captured %zu of %zu bytes)", max, total);
    buf_append_byte(&text, '\0');
    size_t size;
    return buf_take(&text, &size);
}

const struct check_runner runner_ttl = {
    .kind = CHECK_TTL, .passive = true, .pack = pack, .start = expire};
