/* Docker checks (contract 11.1): a program inside a container, by the Engine's API: an exec is
 * made, started, which streams its output, and asked for its exit code. That is judged like a
 * script's.
 *
 * The Engine is where DOCKER_HOST says: unix:///path, tcp://host:port or http://host:port. */
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/decode.h"
#include "base/duration.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "checks/tail.h"
#include "checks/transfer.h"

#define ENGINE_DEFAULT "unix:///var/run/docker.sock"
#define REPLY_BYTES_MAX (64 * 1024) /* of what is no output of the program */
#define FRAME_HEAD_BYTES 8          /* stream number, three zeros, the payload's length */

enum step { STEP_CREATE, STEP_START, STEP_INSPECT };

struct docker_run {
    struct transfer transfer; /* first */
    struct check *check;
    enum step step;
    struct curl_slist *headers;
    struct buf body, reply; /* of the step; the reply's last byte is a NUL once it is whole */
    char *exec;             /* the id of the exec, escaped; NULL before it is made */
    struct tail tail;       /* the program's output */
    uint8_t head[FRAME_HEAD_BYTES];
    size_t head_bytes;
    uint32_t payload_left;
    int64_t deadline_at_ms; /* of all steps together */
};

/* Order: container, shell, then the program and its arguments. */
static void pack(const struct check_definition *def, struct buf *out) {
    buf_append(out, def->docker_container_id, strlen(def->docker_container_id) + 1);
    buf_append(out, def->shell, strlen(def->shell) + 1);
    for (uint32_t i = 0; i < def->script_args.count; i++) {
        buf_append(out, def->script_args.v[i], strlen(def->script_args.v[i]) + 1);
    }
}

static void free_run(struct docker_run *run) {
    if (run->transfer.easy != NULL) {
        transfer_close(&run->transfer);
    }
    curl_slist_free_all(run->headers);
    buf_clear(&run->body);
    buf_clear(&run->reply);
    curl_free(run->exec);
    tail_clear(&run->tail);
    free(run);
}

static void abort_run(struct check *check) {
    free_run(check->run);
}

/* ---- ends ---- */

static void end(struct docker_run *run, bool as_is, enum catalog_health health,
                const struct buf *text) {
    struct check *check = run->check;
    free_run(run);
    (as_is ? check_finish_as_is
           : check_finish)(check, health, text->failed ? "the output is too long" : text->data);
}

static struct buf begin_text(const struct docker_run *run) {
    struct buf text;
    buf_init(&text, (size_t)run->check->spec->bytes + LIMIT_CHECK_BODY_BYTES + REPLY_BYTES_MAX);
    return text;
}

static void append_output(struct docker_run *run, struct buf *text) {
    if (run->tail.total > run->tail.count) {
        buf_append_format(text, "Captured %zu of %llu bytes\n...\n", run->tail.count,
                          (unsigned long long)run->tail.total);
    }
    tail_mask_nuls(run->tail.data, run->tail.count);
    buf_append(text, run->tail.data, run->tail.count);
}

static const char *container_of(const struct docker_run *run) {
    return spec_first(run->check->spec);
}

/* The Engine did not do what it was asked to. */
static void fail(struct docker_run *run, long status) {
    static const char *const words[] = {"create", "start", "inspect"};
    struct buf text = begin_text(run);
    if (run->step == STEP_CREATE && status == 404) {
        buf_append_format(&text, "create exec failed for unknown container %s", container_of(run));
    } else {
        buf_append_format(&text, "%s exec failed for container %s with status %ld",
                          words[run->step], container_of(run), status);
        if (run->reply.count > 1) {
            tail_mask_nuls(run->reply.data, run->reply.count - 1);
            buf_append_format(&text, ": %s", run->reply.data);
        }
    }
    buf_append_byte(&text, '\0');
    end(run, false, HEALTH_CRITICAL, &text);
    buf_clear(&text);
}

static void fail_transfer(struct docker_run *run, CURLcode code) {
    static const char *const words[] = {"create", "start", "inspect"};
    struct buf text = begin_text(run);
    bool late = code == CURLE_OPERATION_TIMEDOUT;
    if (late) {
        char time[DURATION_TEXT_BYTES];
        duration_format(run->check->spec->timeout_ms * DURATION_MS, time);
        buf_append_format(&text, "Timed out (%s) running check", time);
        if (run->tail.count > 0) {
            buf_append_str(&text, "\n\n");
            append_output(run, &text);
        }
    } else {
        buf_append_format(&text, "%s exec failed for container %s: ", words[run->step],
                          container_of(run));
        transfer_append_reason(&run->transfer, code, &text);
    }
    buf_append_byte(&text, '\0');
    end(run, late, HEALTH_CRITICAL, &text);
    buf_clear(&text);
}

/* ---- steps ---- */

static size_t keep_reply(char *data, size_t one, size_t size, void *context) {
    struct docker_run *run = context;
    ASSERT(one == 1);
    size_t room = REPLY_BYTES_MAX - 1 - run->reply.count;
    buf_append(&run->reply, data, size < room ? size : room);
    return size;
}

/* What the program writes comes in frames; another stream than its two outputs there is not. */
static size_t keep_output(char *data, size_t one, size_t size, void *context) {
    struct docker_run *run = context;
    long status = 0;
    ASSERT(one == 1);
    curl_easy_getinfo(run->transfer.easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        return keep_reply(data, one, size, context);
    }
    for (size_t at = 0; at < size;) {
        size_t left = size - at, take = 1;
        if (run->payload_left > 0) {
            take = left < run->payload_left ? left : run->payload_left;
            tail_append(&run->tail, data + at, take);
            run->payload_left -= (uint32_t)take;
        } else {
            run->head[run->head_bytes++] = (uint8_t)data[at];
            if (run->head_bytes == FRAME_HEAD_BYTES) {
                const uint8_t *n = run->head + 4;
                run->payload_left =
                    (uint32_t)n[0] << 24 | (uint32_t)n[1] << 16 | (uint32_t)n[2] << 8 | n[3];
                run->head_bytes = 0;
            }
        }
        at += take;
    }
    return size;
}

/* To the Engine's address; false: it is none. */
static bool set_engine(CURL *easy, const char *path) {
    const char *engine = getenv("DOCKER_HOST");
    char url[1024];
    engine = engine != NULL && *engine != '\0' ? engine : ENGINE_DEFAULT;
    const char *host = engine;
    if (strncmp(engine, "unix://", 7) == 0) {
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, engine + 7);
        host = "docker";
    } else if (strncmp(engine, "tcp://", 6) == 0) {
        host = engine + 6;
    } else if (strncmp(engine, "http://", 7) == 0) {
        host = engine + 7;
    }
    size_t size = strcspn(host, "/");
    int count = snprintf(url, sizeof url, "http://%.*s%s", (int)size, host, path);
    curl_easy_setopt(easy, CURLOPT_URL, url);
    return count > 0 && (size_t)count < sizeof url;
}

static void ask(struct docker_run *run, enum step step, const char *path) {
    struct transfers *transfers = transfers_get(run->check->checks);
    int64_t left_ms = run->deadline_at_ms - clock_monotonic_ms();
    run->step = step;
    buf_reset(&run->reply);
    if (transfers == NULL) {
        snprintf(run->transfer.reason, sizeof run->transfer.reason,
                 "the HTTP client does not start");
        fail_transfer(run, CURLE_FAILED_INIT);
        return;
    }
    transfer_open(transfers, &run->transfer, left_ms > 1 ? left_ms : 1);
    CURL *easy = run->transfer.easy;
    if (step != STEP_INSPECT) {
        curl_easy_setopt(easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)run->body.count);
        curl_easy_setopt(easy, CURLOPT_POSTFIELDS, run->body.data);
    }
    curl_easy_setopt(easy, CURLOPT_HTTPHEADER, run->headers);
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, step == STEP_START ? keep_output : keep_reply);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, run);
    if (!set_engine(easy, path)) {
        snprintf(run->transfer.reason, sizeof run->transfer.reason, "the path is too long");
        fail_transfer(run, CURLE_URL_MALFORMAT);
        return;
    }
    transfer_start(&run->transfer);
}

static void ask_for_exec(struct docker_run *run, const char *before, const char *id,
                         const char *after, enum step step) {
    char path[768];
    int count = snprintf(path, sizeof path, "%s%s%s", before, id, after);
    if (count < 0 || (size_t)count >= sizeof path) {
        fail(run, 404);
        return;
    }
    ask(run, step, path);
}

/* ---- replies ---- */

struct reply {
    const char *id;
    int64_t exit_code;
};

static const struct decode_field reply_fields[] = {
    DECODE_FIELD(struct reply, id, "Id", DECODE_STR),
    DECODE_FIELD(struct reply, exit_code, "ExitCode", DECODE_INT),
};
static const struct decode_spec reply_spec = {"Exec", sizeof(struct reply), reply_fields,
                                              sizeof reply_fields / sizeof reply_fields[0], true};

static void judge(struct docker_run *run, int64_t code) {
    struct buf text = begin_text(run);
    append_output(run, &text);
    buf_append_byte(&text, '\0');
    end(run, false,
        code == 0   ? HEALTH_PASSING
        : code == 1 ? HEALTH_WARNING
                    : HEALTH_CRITICAL,
        &text);
    buf_clear(&text);
}

static void go_on(struct docker_run *run) {
    struct reply reply = {.id = "", .exit_code = -1};
    struct err_text text;
    struct arena arena;
    arena_init(&arena);
    if (run->step == STEP_START) {
        ask_for_exec(run, "/exec/", run->exec, "/json", STEP_INSPECT);
    } else if (decode_json(&reply_spec, DECODE_BODY, run->reply.data, strlen(run->reply.data),
                           &arena, &reply, &text) != ERR_OK ||
               (run->step == STEP_CREATE && *str_or_empty(reply.id) == '\0')) {
        fail(run, 200);
    } else if (run->step == STEP_INSPECT) {
        judge(run, reply.exit_code);
    } else {
        run->exec = curl_easy_escape(NULL, reply.id, 0);
        ASSERT(run->exec != NULL);
        buf_reset(&run->body);
        buf_append_str(&run->body, "{\"Detach\":false,\"Tty\":false}");
        ask_for_exec(run, "/exec/", run->exec, "/start", STEP_START);
    }
    arena_clear(&arena);
}

static void on_done(struct transfer *transfer, CURLcode code) {
    struct docker_run *run = (struct docker_run *)transfer;
    long status = 0;
    buf_append_byte(&run->reply, '\0');
    if (code != CURLE_OK) {
        fail_transfer(run, code);
        return;
    }
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    transfer_close(transfer);
    if (status < 200 || status > 299) {
        fail(run, status);
    } else {
        go_on(run);
    }
}

/* ---- begin ---- */

static void write_command(struct docker_run *run) {
    const struct check_spec *spec = run->check->spec;
    const char *shell = spec_next(spec, spec_first(spec)), *word = spec_next(spec, shell);
    struct json json;
    json_init(&json, &run->body, false);
    json_object_begin(&json);
    json_member_bool(&json, "AttachStdin", false);
    json_member_bool(&json, "AttachStdout", true);
    json_member_bool(&json, "AttachStderr", true);
    json_member_bool(&json, "Tty", false);
    json_key(&json, "Cmd");
    json_array_begin(&json);
    if (word == NULL) {
        json_str(&json, *shell != '\0' ? shell : "/bin/sh");
    }
    for (; word != NULL; word = spec_next(spec, word)) {
        json_str(&json, word);
    }
    json_array_end(&json);
    json_object_end(&json);
}

static void start(struct checks *checks, struct check *check) {
    const struct check_spec *spec = check->spec;
    struct docker_run *run = mem_calloc(1, sizeof *run);
    (void)checks;
    run->check = check;
    run->transfer.done = on_done;
    run->deadline_at_ms = clock_monotonic_ms() + spec->timeout_ms;
    tail_init(&run->tail, spec->output_bytes_max);
    buf_init(&run->body, (size_t)spec->bytes * 6 + 4096);
    buf_init(&run->reply, REPLY_BYTES_MAX);
    run->headers = curl_slist_append(NULL, "Content-Type: application/json");
    run->headers = curl_slist_append(run->headers, "Expect:");
    ASSERT(run->headers != NULL);
    write_command(run);
    char *container = curl_easy_escape(NULL, container_of(run), 0);
    ASSERT(container != NULL);
    check->run = run;
    ask_for_exec(run, "/containers/", container, "/exec", STEP_CREATE);
    curl_free(container);
}

const struct check_runner runner_docker = {
    .kind = CHECK_DOCKER,
    .lane = LANE_SCRIPT,
    .timeout_default_ms = LIMIT_CHECK_TIMEOUT_MAX_MS,
    .pack = pack,
    .start = start,
    .abort = abort_run,
};
