/* HTTP checks (contract 11.1): one request, judged by its status code. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "checks/tail.h"
#include "checks/transfer.h"

#define CODE_TOO_MANY_REQUESTS 429
#define REASON_BYTES 128

struct http_run {
    struct transfer transfer; /* first */
    struct check *check;
    const char *url, *method; /* of the spec, which outlives the run */
    struct curl_slist *headers, *connect_to;
    char status[REASON_BYTES]; /* "200 OK" of the last response head */
    long code;                 /* 0 before the first one */
    bool head_done;            /* the head of that response is complete */
    size_t body_bytes;         /* read so far, <= LIMIT_CHECK_BODY_BYTES */
    struct tail tail;          /* the last of them */
};

/* Order: url, method, body, TLS server name, then the header lines. */
static void pack(const struct check_definition *def, struct buf *out) {
    const char *first[] = {def->http, def->method[0] != '\0' ? def->method : "GET", def->body,
                           def->tls_server_name};
    for (size_t i = 0; i < sizeof first / sizeof first[0]; i++) {
        buf_append(out, first[i], strlen(first[i]) + 1);
    }
    for (uint32_t i = 0; i < def->header.count; i++) {
        const struct str_list_pair *header = &def->header.v[i];
        for (uint32_t j = 0; j < header->values.count; j++) {
            /* curl's spelling of a header with an empty value is "Name;". */
            bool empty = header->values.v[j][0] == '\0';
            buf_append_format(out, "%s%s%s", header->key, empty ? ";" : ": ", header->values.v[j]);
            buf_append_byte(out, '\0');
        }
    }
}

static void free_run(struct http_run *run) {
    if (run->transfer.easy != NULL) {
        transfer_close(&run->transfer);
    }
    curl_slist_free_all(run->headers);
    curl_slist_free_all(run->connect_to);
    tail_clear(&run->tail);
    free(run);
}

static void abort_run(struct check *check) {
    free_run(check->run);
}

static size_t on_head(char *line, size_t one, size_t size, void *context) {
    struct http_run *run = context;
    ASSERT(one == 1);
    if (size >= 5 && memcmp(line, "HTTP/", 5) == 0) {
        const char *at = memchr(line, ' ', size);
        size_t left = at != NULL ? size - (size_t)(at + 1 - line) : 0;
        while (left > 0 && (at[left] == '\r' || at[left] == '\n')) {
            left--;
        }
        left = left < sizeof run->status - 1 ? left : sizeof run->status - 1;
        memcpy(run->status, left > 0 ? at + 1 : "", left);
        run->status[left] = '\0';
        run->code = strtol(run->status, NULL, 10);
        run->head_done = false;
        run->body_bytes = 0;
        tail_reset(&run->tail);
    } else if (size <= 2 && (line[0] == '\r' || line[0] == '\n')) {
        run->head_done = run->code >= 200;
    }
    return size;
}

/* Returning less than size ends the transfer: enough is read. */
static size_t on_body(char *data, size_t one, size_t size, void *context) {
    struct http_run *run = context;
    ASSERT(one == 1);
    size_t take = LIMIT_CHECK_BODY_BYTES - run->body_bytes;
    take = size < take ? size : take;
    tail_append(&run->tail, data, take);
    run->body_bytes += take;
    return take;
}

static enum catalog_health judge(long code) {
    if (code >= 200 && code < 300) {
        return HEALTH_PASSING;
    }
    return code == CODE_TOO_MANY_REQUESTS ? HEALTH_WARNING : HEALTH_CRITICAL;
}

/* `Get "http://...": <reason>`, as Go's client says it. */
static void append_failure(const struct http_run *run, CURLcode code, struct buf *out) {
    const char *method = run->method;
    char *url = NULL;
    buf_append_byte(out, method[0]);
    for (size_t i = 1; method[0] != '\0' && method[i] != '\0'; i++) {
        buf_append_byte(out, str_lower_char(method[i]));
    }
    if (run->transfer.easy != NULL && run->connect_to == NULL) {
        curl_easy_getinfo(run->transfer.easy, CURLINFO_EFFECTIVE_URL, &url); /* after redirects */
    }
    buf_append_format(out, " \"%s\": ", url != NULL && url[0] != '\0' ? url : run->url);
    if (code == CURLE_OPERATION_TIMEDOUT) {
        buf_append_str(out, "context deadline exceeded (Client.Timeout exceeded while awaiting "
                            "headers)");
    } else if (code == CURLE_GOT_NOTHING) {
        buf_append_str(out, "EOF");
    } else if (code == CURLE_TOO_MANY_REDIRECTS) {
        buf_append_format(out, "stopped after %d redirects", LIMIT_CHECK_REDIRECTS);
    } else {
        transfer_append_reason(&run->transfer, code, out);
    }
}

static void append_answer(struct http_run *run, struct buf *out) {
    buf_append_format(out, "HTTP %s %s: %s Output: ", run->method, run->url, run->status);
    tail_mask_nuls(run->tail.data, run->tail.count);
    buf_append(out, run->tail.data, run->tail.count);
}

/* Sums up: an answer whose head came is judged by it, even if its body broke off, was too long or
 * ran out of time. A redirect that was to be followed is no answer. */
static void finish(struct http_run *run, CURLcode code) {
    struct check *check = run->check;
    bool redirect = !check->spec->disable_redirects && run->code >= 300 && run->code < 400;
    bool answered = run->head_done && (code == CURLE_OK || !redirect);
    struct buf text;
    buf_init(&text, check->spec->bytes + LIMIT_CHECK_BODY_BYTES + 64 * 1024);
    if (answered) {
        append_answer(run, &text);
    } else {
        append_failure(run, code, &text);
    }
    buf_append_byte(&text, '\0');
    enum catalog_health health = answered ? judge(run->code) : HEALTH_CRITICAL;
    free_run(run);
    check_finish(check, health, text.failed ? "the output is too long" : text.data);
    buf_clear(&text);
}

static void on_done(struct transfer *transfer, CURLcode code) {
    finish((struct http_run *)transfer, code);
}

static void add_header(struct http_run *run, const char *line) {
    run->headers = curl_slist_append(run->headers, line);
    ASSERT(run->headers != NULL);
}

static bool has_header(const struct http_run *run, const char *name) {
    size_t size = strlen(name);
    for (const struct curl_slist *at = run->headers; at != NULL; at = at->next) {
        if (strncasecmp(at->data, name, size) == 0 &&
            (at->data[size] == ':' || at->data[size] == ';')) {
            return true;
        }
    }
    return false;
}

/* A line break in a header or method would let a definition write requests of its own. */
static bool has_break(const char *s) {
    return s[strcspn(s, "\r\n")] != '\0';
}

static void set_method(struct http_run *run, const char *body) {
    CURL *easy = run->transfer.easy;
    if (body[0] != '\0') {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)strlen(body));
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, body); /* not copied: the spec's */
    } else if (strcmp(run->method, "HEAD") == 0) {
        curl_easy_setopt(easy, CURLOPT_NOBODY, 1L);
        return;
    } else if (strcmp(run->method, "POST") == 0) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE, 0L);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, "");
    }
    /* A custom method outlives redirects, so GET and POST go without where they can. */
    if (strcmp(run->method, body[0] != '\0' ? "POST" : "GET") != 0 &&
        (body[0] != '\0' || strcmp(run->method, "POST") != 0)) {
        curl_easy_setopt(easy, CURLOPT_CUSTOMREQUEST, run->method);
    }
}

static void set_options(struct http_run *run, const struct check_spec *spec, const char *body,
                        const char *server_name) {
    static const char *const defaults[][2] = {
        {"User-Agent", "User-Agent: Consul Health Check"},
        {"Accept", "Accept: text/plain, text/*, */*"},
        {"Content-Type", "Content-Type:"}, /* curl's own guess at a form */
        {"Expect", "Expect:"},
    };
    CURL *easy = run->transfer.easy;
    char *host = NULL;
    transfer_set_url(&run->transfer, run->url, server_name, &run->connect_to, &host);
    if (host != NULL && !has_header(run, "Host")) {
        add_header(run, host);
    }
    free(host);
    for (size_t i = 0; i < sizeof defaults / sizeof defaults[0]; i++) {
        if (!has_header(run, defaults[i][0])) {
            add_header(run, defaults[i][1]);
        }
    }
    set_method(run, body);
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, run->headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_FOLLOWLOCATION, spec->disable_redirects ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_MAXREDIRS, (long)LIMIT_CHECK_REDIRECTS);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, spec->tls_skip_verify ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, spec->tls_skip_verify ? 0L : 2L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, run);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, run);
}

static void start(struct checks *checks, struct check *check) {
    const struct check_spec *spec = check->spec;
    struct http_run *run = mem_calloc(1, sizeof *run);
    struct transfers *transfers = transfers_get(checks);
    run->check = check;
    run->transfer.done = on_done;
    tail_init(&run->tail, spec->output_bytes_max);
    run->url = spec_first(spec);
    run->method = spec_next(spec, run->url);
    const char *body = spec_next(spec, run->method);
    const char *server_name = spec_next(spec, body);
    const char *refused = transfers == NULL        ? "the HTTP client does not start"
                          : has_break(run->method) ? "net/http: invalid method"
                                                   : NULL;
    for (const char *line = spec_next(spec, server_name); line != NULL;
         line = spec_next(spec, line)) {
        add_header(run, line);
        if (has_break(line)) {
            refused = "net/http: invalid header field value";
        }
    }
    if (refused != NULL) {
        snprintf(run->transfer.reason, sizeof run->transfer.reason, "%s", refused);
        finish(run, CURLE_FAILED_INIT);
        return;
    }
    transfer_open(transfers, &run->transfer, spec->timeout_ms);
    set_options(run, spec, body, server_name);
    check->run = run;
    transfer_start(&run->transfer);
}

const struct check_runner runner_http = {
    .kind = CHECK_HTTP, .pack = pack, .start = start, .abort = abort_run};
