/* What is done with news: a program that reads them, or a request that carries them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/limits.h"
#include "base/mem.h"
#include "checks/tail.h"
#include "checks/watchers_internal.h"

#define MODULE "agent"
#define OUTPUT_BYTES 4096

const char *watch_handler_name(const struct watcher *watcher) {
    const struct watch_definition *definition = &watcher->definition;
    return definition->request != NULL    ? definition->request->path
           : *definition->handler != '\0' ? definition->handler
                                          : definition->args.v[0];
}

static void fail(struct watcher *watcher, const char *reason) {
    log_write(watcher->watchers->checks->log, LOG_ERROR, MODULE,
              "Failed to run watch handler: handler=%s error=\"%s\"", watch_handler_name(watcher),
              reason);
    watch_handled(watcher);
}

/* ---- a program ---- */

static void program_done(struct helper_run *run, const struct helper_report *report,
                         const char *tail, size_t tail_bytes) {
    struct watcher *watcher = ((struct watch_handling *)run)->watcher;
    struct log *log = watcher->watchers->checks->log;
    char *output = mem_alloc(tail_bytes + 1), text[128];
    memcpy(output, tail, tail_bytes);
    tail_mask_nuls(output, tail_bytes);
    output[tail_bytes] = '\0';
    watcher->handling.started = false;
    log_write(log, LOG_DEBUG, MODULE, "watch handler output: handler=%s output=\"%s%s\"",
              watch_handler_name(watcher), report->output_bytes > tail_bytes ? "... " : "", output);
    free(output);
    switch ((enum helper_end)report->end) {
    case HELPER_EXITED:
        if (report->code == 0) {
            watch_handled(watcher);
            return;
        }
        snprintf(text, sizeof text, "exit status %d", report->code);
        break;
    case HELPER_SIGNALLED:
        snprintf(text, sizeof text, "signal: %s", strsignal(report->code));
        break;
    case HELPER_TIMED_OUT:
        snprintf(text, sizeof text, "killed after %d s", LIMIT_WATCH_SCRIPT_MS / 1000);
        break;
    case HELPER_NOT_LAUNCHED:
        snprintf(text, sizeof text, "it does not start: %s", strerror(report->code));
        break;
    case HELPER_LOST:
        snprintf(text, sizeof text, "the helper process died");
        break;
    }
    fail(watcher, text);
}

static void append_string(struct buf *out, const char *s) {
    buf_append(out, s, strlen(s) + 1);
}

static void start_program(struct watcher *watcher) {
    const struct watch_definition *definition = &watcher->definition;
    struct helper_job job = {.timeout_ms = LIMIT_WATCH_SCRIPT_MS, .output_bytes_max = OUTPUT_BYTES};
    struct err_text text = {""};
    struct buf strings, input;
    buf_init(&strings, LIMIT_CHECK_FRAME_BYTES);
    buf_init(&input, LIMIT_CHECK_FRAME_BYTES);
    if (*definition->handler != '\0') {
        const char *shell = str_or_empty(getenv("SHELL"));
        append_string(&strings, *shell != '\0' ? shell : "/bin/sh");
        append_string(&strings, "-c");
        append_string(&strings, definition->handler);
        job.argument_count = 3;
    }
    for (uint32_t i = 0; i < definition->args.count; i++, job.argument_count++) {
        append_string(&strings, definition->args.v[i]);
    }
    buf_append_format(&strings, "CONSUL_INDEX=%llu", (unsigned long long)watcher->payload_index);
    buf_append_byte(&strings, '\0');
    job.environment_count = 1;
    buf_append_str(&input, watcher->payload);
    buf_append_byte(&input, '\n');
    job.strings = strings.data;
    job.string_bytes = strings.count;
    job.input = input.data;
    job.input_bytes = input.count;
    watcher->handling.run.done = program_done;
    bool fits = !strings.failed && !input.failed;
    watcher->handling.started =
        fits && helper_begin(watcher->watchers->checks, &watcher->handling.run, &job, &text);
    buf_clear(&strings);
    buf_clear(&input);
    if (!watcher->handling.started) {
        fail(watcher, fits ? text.s : "the answer is too large for a program's input");
    }
}

/* ---- a request ---- */

/* Returning less than size ends the transfer: enough is read. */
static size_t on_body(char *data, size_t one, size_t size, void *context) {
    struct watcher *watcher = context;
    struct buf *body = &watcher->handling.body;
    size_t room = OUTPUT_BYTES - body->count;
    size_t take = LIMIT_CHECK_BODY_BYTES - watcher->handling.body_bytes;
    ASSERT(one == 1);
    take = size < take ? size : take;
    watcher->handling.body_bytes += take;
    buf_append(body, data, take < room ? take : room);
    return take;
}

static void clear_request(struct watcher *watcher) {
    transfer_close(&watcher->handling.transfer);
    curl_slist_free_all(watcher->handling.headers);
    watcher->handling.headers = NULL;
    buf_clear(&watcher->handling.body);
    watcher->handling.started = false;
}

static void request_done(struct transfer *transfer, CURLcode code) {
    struct watcher *watcher = CONTAINER_OF(transfer, struct watcher, handling.transfer);
    struct log *log = watcher->watchers->checks->log;
    char reason[512];
    long status = 0;
    bool cut = code == CURLE_WRITE_ERROR && watcher->handling.body_bytes == LIMIT_CHECK_BODY_BYTES;
    if (code != CURLE_OK && !cut) {
        struct buf text;
        buf_init(&text, sizeof reason);
        transfer_append_reason(transfer, code, &text);
        snprintf(reason, sizeof reason, "%.*s", (int)text.count, text.count > 0 ? text.data : "");
        buf_clear(&text);
        clear_request(watcher);
        fail(watcher, reason);
        return;
    }
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    const struct buf *body = &watcher->handling.body;
    tail_mask_nuls(body->data, body->count);
    log_write(log, status >= 200 && status < 300 ? LOG_TRACE : LOG_ERROR, MODULE,
              "http watch handler: handler=%s status=%ld output=\"%.*s\"",
              watch_handler_name(watcher), status, (int)body->count,
              body->count > 0 ? body->data : "");
    clear_request(watcher);
    watch_handled(watcher);
}

static void add_header(struct watcher *watcher, const char *name, const char *value) {
    struct buf line;
    buf_init(&line, 1024 * 1024);
    /* curl's spelling of a header with an empty value is "Name;". */
    buf_append_format(&line, "%s%s%s", name, *value == '\0' ? ";" : ": ", value);
    buf_append_byte(&line, '\0');
    if (!line.failed) {
        watcher->handling.headers = curl_slist_append(watcher->handling.headers, line.data);
        ASSERT(watcher->handling.headers != NULL);
    }
    buf_clear(&line);
}

static void set_headers(struct watcher *watcher) {
    const struct watch_request *request = watcher->definition.request;
    char index[32];
    snprintf(index, sizeof index, "%llu", (unsigned long long)watcher->payload_index);
    add_header(watcher, "Content-Type", "application/json");
    add_header(watcher, "X-Consul-Index", index);
    add_header(watcher, "User-Agent", "Consul Health Check");
    for (uint32_t i = 0; i < request->header.count; i++) {
        const struct str_list_pair *header = &request->header.v[i];
        for (uint32_t j = 0; j < header->values.count; j++) {
            add_header(watcher, header->key, header->values.v[j]);
        }
    }
    watcher->handling.headers = curl_slist_append(watcher->handling.headers, "Expect:");
}

static void start_request(struct watcher *watcher) {
    const struct watch_request *request = watcher->definition.request;
    struct transfers *transfers = transfers_get(watcher->watchers->checks);
    struct transfer *transfer = &watcher->handling.transfer;
    if (transfers == NULL) {
        fail(watcher, "the HTTP client does not start");
        return;
    }
    transfer->done = request_done;
    buf_init(&watcher->handling.body, OUTPUT_BYTES);
    watcher->handling.body_bytes = 0;
    transfer_open(transfers, transfer, request->timeout_ns / DURATION_MS);
    set_headers(watcher);
    CURL *easy = transfer->easy;
    curl_easy_setopt(easy, CURLOPT_URL, request->path);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(watcher->payload));
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, watcher->payload);
    curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, request->method);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, watcher->handling.headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, request->tls_skip_verify ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, request->tls_skip_verify ? 0L : 2L);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, watcher);
    watcher->handling.started = true;
    transfer_start(transfer);
}

/* ---- both ---- */

void watch_handle(struct watcher *watcher) {
    watcher->handling.watcher = watcher;
    if (watcher->definition.request != NULL) {
        start_request(watcher);
    } else {
        start_program(watcher);
    }
}

void watch_handling_abort(struct watcher *watcher) {
    if (!watcher->handling.started) {
        return;
    }
    if (watcher->definition.request != NULL) {
        clear_request(watcher);
    } else {
        helper_kill(watcher->watchers->checks->helper, &watcher->handling.run);
        watcher->handling.started = false;
    }
}
