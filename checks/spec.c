#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/duration.h"
#include "base/limits.h"
#include "base/mem.h"
#include "checks/internal.h"

/* Rounded up, so that a short time never becomes none. */
static int64_t to_ms(int64_t ns) {
    return ns <= 0 ? 0 : ns / DURATION_MS + (ns % DURATION_MS != 0);
}

static uint32_t to_u32(int64_t value) {
    return value < 0 ? 0 : value > INT32_MAX ? INT32_MAX : (uint32_t)value;
}

uint32_t spec_output_bytes(int64_t output_bytes_max) {
    if (output_bytes_max <= 0) {
        return LIMIT_CHECK_OUTPUT_BYTES;
    }
    return output_bytes_max > LIMIT_CHECK_BODY_BYTES ? LIMIT_CHECK_BODY_BYTES
                                                     : (uint32_t)output_bytes_max;
}

static bool use_tls(const struct check_definition *def, enum check_kind kind) {
    return kind == CHECK_TCP      ? def->tcp_use_tls
           : kind == CHECK_GRPC   ? def->grpc_use_tls
           : kind == CHECK_H2PING ? def->h2ping_use_tls >= 0
                                  : false;
}

struct check_spec *spec_create(const struct check_definition *def) {
    const struct check_runner *as = kinds_find(check_definition_kind(def));
    ASSERT(as != NULL);
    struct buf text;
    buf_init(&text, LIMIT_CHECK_TEXT_BYTES);
    as->pack(def, &text);
    ASSERT(!text.failed);
    /* calloc: the padding takes part in the comparison. */
    struct check_spec *spec = mem_calloc(1, sizeof *spec + text.count);
    spec->bytes = (uint32_t)(sizeof *spec + text.count);
    spec->kind = (uint8_t)as->kind;
    spec->disable_redirects = def->disable_redirects;
    spec->use_tls = use_tls(def, as->kind);
    spec->tls_skip_verify = def->tls_skip_verify;
    spec->success_before_passing = to_u32(def->success_before_passing);
    spec->failures_before_warning = to_u32(def->failures_before_warning);
    spec->failures_before_critical = to_u32(def->failures_before_critical);
    spec->output_bytes_max = spec_output_bytes(def->output_bytes_max);
    spec->interval_ms = to_ms(def->interval_ns);
    spec->ttl_ms = to_ms(def->ttl_ns);
    spec->timeout_ms = def->timeout_ns > 0           ? to_ms(def->timeout_ns)
                       : as->timeout_default_ms != 0 ? as->timeout_default_ms
                                                     : LIMIT_CHECK_TIMEOUT_DEFAULT_MS;
    ASSERT(as->passive ? spec->ttl_ms > 0 : spec->interval_ms > 0);
    if (text.count > 0) {
        memcpy(spec->text, text.data, text.count);
    }
    buf_clear(&text);
    return spec;
}

const char *spec_first(const struct check_spec *spec) {
    return spec->bytes > sizeof *spec ? spec->text : NULL;
}

const char *spec_next(const struct check_spec *spec, const char *s) {
    const char *next = s + strlen(s) + 1;
    return next < (const char *)spec + spec->bytes ? next : NULL;
}
