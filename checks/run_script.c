/* Script checks (contract 11.1): a program's exit code is the status, its output the output. The
 * helper process runs it. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/duration.h"
#include "base/limits.h"
#include "base/mem.h"
#include "checks/helper.h"
#include "checks/tail.h"

struct script_run {
    struct helper_run run; /* first */
    struct check *check;
};

/* Order: the program and its arguments. */
static void pack(const struct check_definition *def, struct buf *out) {
    for (uint32_t i = 0; i < def->script_args.count; i++) {
        buf_append(out, def->script_args.v[i], strlen(def->script_args.v[i]) + 1);
    }
}

static void append_output(const struct helper_report *report, const char *tail, size_t tail_bytes,
                          struct buf *out) {
    if (report->output_bytes > tail_bytes) {
        buf_append_format(out, "Captured %zu of %llu bytes\n...\n", tail_bytes,
                          (unsigned long long)report->output_bytes);
    }
    size_t before = out->count;
    buf_append(out, tail, tail_bytes);
    if (!out->failed) {
        tail_mask_nuls(out->data + before, tail_bytes);
    }
}

static void append_launch_error(const char *program, int number, struct buf *out) {
    if (number == ENOENT && strchr(program, '/') == NULL) {
        buf_append_format(out, "exec: \"%s\": executable file not found in $PATH", program);
    } else {
        char text[128];
        const char *reason = strerror_r(number, text, sizeof text);
        buf_append_format(out, "fork/exec %s: %c%s", program, str_lower_char(reason[0]),
                          reason + (reason[0] != '\0'));
    }
}

static void append_time(int64_t ms, struct buf *out) {
    char text[DURATION_TEXT_BYTES];
    duration_format(ms * DURATION_MS, text);
    buf_append_format(out, "Timed out (%s) running check", text);
}

static void on_done(struct helper_run *helper_run, const struct helper_report *report,
                    const char *tail, size_t tail_bytes) {
    struct script_run *run = (struct script_run *)helper_run;
    struct check *check = run->check;
    struct buf text;
    enum catalog_health health = HEALTH_CRITICAL;
    buf_init(&text, (size_t)check->spec->bytes + LIMIT_CHECK_BODY_BYTES + 4096);
    switch ((enum helper_end)report->end) {
    case HELPER_EXITED:
        health = report->code == 0   ? HEALTH_PASSING
                 : report->code == 1 ? HEALTH_WARNING
                                     : HEALTH_CRITICAL;
        append_output(report, tail, tail_bytes, &text);
        break;
    case HELPER_SIGNALLED:
        append_output(report, tail, tail_bytes, &text);
        break;
    case HELPER_TIMED_OUT:
        append_time(check->spec->timeout_ms, &text);
        if (tail_bytes > 0) {
            buf_append_str(&text, "\n\n");
            append_output(report, tail, tail_bytes, &text);
        }
        break;
    case HELPER_NOT_LAUNCHED:
        append_launch_error(spec_first(check->spec), report->code, &text);
        break;
    case HELPER_LOST:
        buf_append_str(&text, "the helper process of script checks died during the run");
        break;
    }
    buf_append_byte(&text, '\0');
    free(run);
    const char *output = text.failed ? "the output is too long" : text.data;
    if (report->end == HELPER_EXITED || report->end == HELPER_SIGNALLED) {
        check_finish(check, health, output);
    } else {
        check_finish_as_is(check, health, output);
    }
    buf_clear(&text);
}

static void start(struct checks *checks, struct check *check) {
    struct script_run *run = mem_calloc(1, sizeof *run);
    struct err_text text;
    run->check = check;
    run->run.done = on_done;
    struct helper_job job = {.timeout_ms = check->spec->timeout_ms,
                             .output_bytes_max = check->spec->output_bytes_max,
                             .strings = check->spec->text,
                             .string_bytes = check->spec->bytes - sizeof *check->spec};
    for (const char *s = spec_first(check->spec); s != NULL; s = spec_next(check->spec, s)) {
        job.argument_count++;
    }
    if (helper_begin(checks, &run->run, &job, &text)) {
        check->run = run;
        return;
    }
    free(run);
    check_finish_as_is(check, HEALTH_CRITICAL, text.s);
}

static void abort_run(struct check *check) {
    struct script_run *run = check->run;
    helper_kill(check->checks->helper, &run->run);
    free(run);
}

const struct check_runner runner_script = {
    .kind = CHECK_SCRIPT,
    .lane = LANE_SCRIPT,
    .timeout_default_ms = LIMIT_CHECK_SCRIPT_TIMEOUT_DEFAULT_MS,
    .pack = pack,
    .start = start,
    .abort = abort_run,
};
