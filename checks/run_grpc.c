/* gRPC checks (contract 11.1): one call of grpc.health.v1.Health/Check over libcurl's HTTP/2. The
 * messages have one field each, so they are written and read by hand; the wire is that of
 * github.com/grpc/grpc, doc/PROTOCOL-HTTP2.md and doc/health-checking.md. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "checks/transfer.h"

#define METHOD "/grpc.health.v1.Health/Check"
#define ANSWER_BYTES 64 /* its message is two bytes long */
#define MESSAGE_BYTES 512
#define PREFIX_BYTES 5 /* of a message: compressed flag, length */

struct grpc_run {
    struct transfer transfer; /* first */
    struct check *check;
    struct curl_slist *headers, *connect_to;
    struct buf request;
    unsigned char answer[ANSWER_BYTES]; /* the first bytes of it */
    size_t answer_bytes;
    long http_code;
    int grpc_status; /* -1 = none yet */
    char message[MESSAGE_BYTES];
};

/* Order: target, TLS server name. */
static void pack(const struct check_definition *def, struct buf *out) {
    buf_append(out, def->grpc, strlen(def->grpc) + 1);
    buf_append(out, def->tls_server_name, strlen(def->tls_server_name) + 1);
}

static void free_run(struct grpc_run *run) {
    if (run->transfer.easy != NULL) {
        transfer_close(&run->transfer);
    }
    curl_slist_free_all(run->headers);
    curl_slist_free_all(run->connect_to);
    buf_clear(&run->request);
    free(run);
}

static void abort_run(struct check *check) {
    free_run(check->run);
}

/* ---- what comes back ---- */

static int hex(char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
}

/* grpc-message is percent-encoded. */
static void keep_message(struct grpc_run *run, const char *value, size_t size) {
    size_t to = 0;
    for (size_t i = 0; i < size && to < MESSAGE_BYTES - 1; i++) {
        bool escaped =
            value[i] == '%' && i + 2 < size && hex(value[i + 1]) >= 0 && hex(value[i + 2]) >= 0;
        char c = escaped ? (char)(hex(value[i + 1]) << 4 | hex(value[i + 2])) : value[i];
        i += escaped ? 2 : 0;
        run->message[to++] = c == '\0' ? '?' : c;
    }
    run->message[to] = '\0';
}

static bool is_header(const char *line, size_t size, const char *name, const char **ret_value,
                      size_t *ret_size) {
    size_t name_size = strlen(name);
    if (size <= name_size || strncasecmp(line, name, name_size) != 0 || line[name_size] != ':') {
        return false;
    }
    const char *value = line + name_size + 1, *end = line + size;
    while (value < end && *value == ' ') {
        value++;
    }
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ')) {
        end--;
    }
    *ret_value = value;
    *ret_size = (size_t)(end - value);
    return true;
}

/* Heads and trailers alike. */
static size_t on_head(char *line, size_t one, size_t size, void *context) {
    struct grpc_run *run = context;
    const char *value;
    size_t value_size;
    ASSERT(one == 1);
    if (size > 5 && memcmp(line, "HTTP/", 5) == 0) {
        const char *at = memchr(line, ' ', size);
        run->http_code = at != NULL ? strtol(at + 1, NULL, 10) : 0;
    } else if (is_header(line, size, "grpc-status", &value, &value_size)) {
        int status = 0;
        for (size_t i = 0; i < value_size && i < 3; i++) {
            status = status * 10 + (value[i] >= '0' && value[i] <= '9' ? value[i] - '0' : 0);
        }
        run->grpc_status = status;
    } else if (is_header(line, size, "grpc-message", &value, &value_size)) {
        keep_message(run, value, value_size);
    }
    return size;
}

static size_t on_body(char *data, size_t one, size_t size, void *context) {
    struct grpc_run *run = context;
    size_t room = sizeof run->answer - run->answer_bytes;
    ASSERT(one == 1);
    memcpy(run->answer + run->answer_bytes, data, size < room ? size : room);
    run->answer_bytes += size < room ? size : room;
    return size;
}

/* HealthCheckResponse.status, 0 when it is not set; false: not such a message. */
static bool read_status(const struct grpc_run *run, unsigned *ret_status) {
    const unsigned char *a = run->answer;
    if (run->answer_bytes < PREFIX_BYTES || a[0] != 0 || a[1] != 0 || a[2] != 0 || a[3] != 0) {
        return false;
    }
    size_t size = a[4];
    *ret_status = 0;
    if (size > run->answer_bytes - PREFIX_BYTES) {
        return false;
    }
    /* Field 1, a varint: serving states are below 128. */
    if (size >= 2 && a[PREFIX_BYTES] == 0x08) {
        *ret_status = a[PREFIX_BYTES + 1];
    }
    return true;
}

/* ---- its text ---- */

static const char *code_name(int status) {
    static const char *const names[] = {
        "OK",       "Canceled",       "Unknown",          "InvalidArgument",   "DeadlineExceeded",
        "NotFound", "AlreadyExists",  "PermissionDenied", "ResourceExhausted", "FailedPrecondition",
        "Aborted",  "OutOfRange",     "Unimplemented",    "Internal",          "Unavailable",
        "DataLoss", "Unauthenticated"};
    return status >= 0 && (size_t)status < sizeof names / sizeof names[0] ? names[status]
                                                                          : "Unknown";
}

static const char *code_of_http(long code) {
    return code == 400                                                ? "Internal"
           : code == 401                                              ? "Unauthenticated"
           : code == 403                                              ? "PermissionDenied"
           : code == 404                                              ? "Unimplemented"
           : code == 429 || code == 502 || code == 503 || code == 504 ? "Unavailable"
                                                                      : "Unknown";
}

static const char *serving_name(unsigned status) {
    static const char *const names[] = {"UNKNOWN", "SERVING", "NOT_SERVING", "SERVICE_UNKNOWN"};
    return status < sizeof names / sizeof names[0] ? names[status] : "UNKNOWN";
}

/* Writes the output; true: it serves. */
static bool judge(const struct grpc_run *run, CURLcode code, struct buf *out) {
    const char *target = spec_first(run->check->spec);
    unsigned serving;
    if (code == CURLE_OPERATION_TIMEDOUT) {
        buf_append_str(out, "rpc error: code = DeadlineExceeded desc = context deadline exceeded");
    } else if (run->grpc_status > 0) {
        buf_append_format(out, "rpc error: code = %s desc = %s", code_name(run->grpc_status),
                          run->message);
    } else if (code != CURLE_OK) {
        buf_append_str(out, "rpc error: code = Unavailable desc = connection error: desc = "
                            "\"transport: Error while dialing: ");
        transfer_append_reason(&run->transfer, code, out);
        buf_append_byte(out, '"');
    } else if (run->http_code != 200) {
        buf_append_format(out,
                          "rpc error: code = %s desc = unexpected HTTP status code received from "
                          "server: %ld",
                          code_of_http(run->http_code), run->http_code);
    } else if (run->grpc_status < 0 || !read_status(run, &serving)) {
        buf_append_str(out, "rpc error: code = Internal desc = not an answer of "
                            "grpc.health.v1.Health");
    } else if (serving != 1) {
        buf_append_format(out, "gRPC %s serving status: %s", target, serving_name(serving));
    } else {
        buf_append_format(out, "gRPC check %s: success", target);
        return true;
    }
    return false;
}

static void finish(struct grpc_run *run, CURLcode code) {
    struct check *check = run->check;
    struct buf text;
    buf_init(&text, (size_t)check->spec->bytes + 8192);
    bool serves = judge(run, code, &text);
    buf_append_byte(&text, '\0');
    free_run(run);
    check_finish(check, serves ? HEALTH_PASSING : HEALTH_CRITICAL,
                 text.failed ? "rpc error: code = Unknown desc =" : text.data);
    buf_clear(&text);
}

static void on_done(struct transfer *transfer, CURLcode code) {
    finish((struct grpc_run *)transfer, code);
}

/* ---- the call ---- */

/* HealthCheckRequest{service}, behind its prefix. */
static void write_request(struct buf *out, const char *service) {
    size_t size = strlen(service), bytes = 0;
    unsigned char head[16];
    if (size > 0) {
        head[bytes++] = 0x0a; /* field 1, a string */
        for (size_t left = size; bytes == 1 || left > 0; left >>= 7) {
            head[bytes++] = (unsigned char)((left & 0x7f) | (left > 0x7f ? 0x80 : 0));
        }
    }
    size_t total = bytes + size;
    const unsigned char prefix[PREFIX_BYTES] = {0, (unsigned char)(total >> 24),
                                                (unsigned char)(total >> 16),
                                                (unsigned char)(total >> 8), (unsigned char)total};
    buf_append(out, prefix, sizeof prefix);
    buf_append(out, head, bytes);
    buf_append(out, service, size);
}

static void set_options(struct grpc_run *run, const struct check_spec *spec, const char *url) {
    static const char *const lines[] = {"Content-Type: application/grpc", "TE: trailers",
                                        "User-Agent: Consul Health Check", "Accept:", "Expect:"};
    CURL *easy = run->transfer.easy;
    const char *server_name = spec_next(spec, spec_first(spec));
    char *host = NULL;
    transfer_set_url(&run->transfer, url, server_name, &run->connect_to, &host);
    for (size_t i = 0; i < sizeof lines / sizeof lines[0]; i++) {
        run->headers = curl_slist_append(run->headers, lines[i]);
        ASSERT(run->headers != NULL);
    }
    free(host); /* the authority is the TLS server name, as gRPC clients have it */
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, run->headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION,
                     spec->use_tls ? (long)CURL_HTTP_VERSION_2TLS
                                   : (long)CURL_HTTP_VERSION_2_PRIOR_KNOWLEDGE);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)run->request.count);
    curl_easy_setopt(easy, CURLOPT_POSTFIELDS, run->request.data); /* not copied */
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYPEER, spec->tls_skip_verify ? 0L : 1L);
    curl_easy_setopt(easy, CURLOPT_SSL_VERIFYHOST, spec->tls_skip_verify ? 0L : 2L);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, run);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, run);
}

static void start(struct checks *checks, struct check *check) {
    const struct check_spec *spec = check->spec;
    const char *target = spec_first(spec);
    const char *slash = strchr(target, '/');
    size_t server_bytes = slash != NULL ? (size_t)(slash - target) : strlen(target);
    struct transfers *transfers = transfers_get(checks);
    struct grpc_run *run = mem_calloc(1, sizeof *run);
    struct buf url;
    run->check = check;
    run->grpc_status = -1;
    run->transfer.done = on_done;
    buf_init(&run->request, strlen(target) + 64);
    buf_init(&url, strlen(target) + 128);
    buf_append_format(&url, "%s://%.*s", spec->use_tls ? "https" : "http", (int)server_bytes,
                      target);
    buf_append_str(&url, METHOD);
    buf_append_byte(&url, '\0');
    if (transfers == NULL || memchr(target, '@', server_bytes) != NULL ||
        strpbrk(url.data, " ?#\r\n") != NULL) {
        snprintf(run->transfer.reason, sizeof run->transfer.reason, "%s",
                 transfers == NULL ? "the HTTP client does not start"
                                   : "not of the form host:port");
        finish(run, CURLE_FAILED_INIT);
    } else {
        write_request(&run->request, slash != NULL ? slash + 1 : "");
        transfer_open(transfers, &run->transfer, spec->timeout_ms);
        set_options(run, spec, url.data);
        check->run = run;
        transfer_start(&run->transfer);
    }
    buf_clear(&url);
}

const struct check_runner runner_grpc = {
    .kind = CHECK_GRPC, .pack = pack, .start = start, .abort = abort_run};
