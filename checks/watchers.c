#include "checks/watchers.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/json.h"
#include "base/limits.h"
#include "base/mem.h"
#include "checks/watchers_internal.h"

#define MODULE "agent"
#define WAIT_S 300
#define ASK_TIMEOUT_MS (400 * 1000) /* above the wait and its jitter */

static void ask(struct watcher *watcher);

/* ---- handling ---- */

static void begin_handling(struct watcher *watcher) {
    watcher->watchers->handlers++;
    watch_handle(watcher);
}

void watch_handled(struct watcher *watcher) {
    struct watchers *watchers = watcher->watchers;
    free(watcher->payload);
    watcher->payload = NULL;
    watchers->handlers--;
    struct watcher *next = TAILQ_FIRST(&watchers->waiting);
    if (next != NULL) {
        TAILQ_REMOVE(&watchers->waiting, next, wait);
        next->waiting = false;
        begin_handling(next);
    }
    /* In a turn of its own: a handler that fails at once must not recurse. */
    loop_timer_start(watchers->checks->loop, &watcher->retry_timer,
                     loop_now_ms(watchers->checks->loop));
}

static void take_news(struct watcher *watcher, const char *payload, uint64_t index) {
    struct watchers *watchers = watcher->watchers;
    watcher->payload = mem_strdup(payload);
    watcher->payload_index = index;
    if (watchers->handlers < LIMIT_WATCH_HANDLERS) {
        begin_handling(watcher);
    } else {
        watcher->waiting = true;
        TAILQ_INSERT_TAIL(&watchers->waiting, watcher, wait);
    }
}

/* ---- asking ---- */

static void retry(struct loop_timer *timer) {
    ask((struct watcher *)timer);
}

static void failed(struct watcher *watcher, const char *reason) {
    struct checks *checks = watcher->watchers->checks;
    unsigned pause_s = watch_retry_s(++watcher->failures);
    log_write(checks->log, LOG_ERROR, MODULE, "Watch errored: type=%s error=\"%s\" retry=%us",
              watcher->definition.plan.type, reason, pause_s);
    loop_timer_start(checks->loop, &watcher->retry_timer,
                     loop_now_ms(checks->loop) + 1000 * (int64_t)pause_s);
}

static void end_ask(struct watcher *watcher) {
    if (watcher->asking) {
        transfer_close(&watcher->ask);
        watcher->asking = false;
    }
    curl_slist_free_all(watcher->headers);
    watcher->headers = NULL;
}

static void take_answer(struct watcher *watcher, long status) {
    struct arena arena;
    struct err_text text = {""};
    const char *payload = NULL;
    uint64_t index = 0;
    bool news = false;
    arena_init(&arena);
    enum err err =
        watch_plan_take(&watcher->definition.plan, &watcher->seen, status, watcher->index,
                        watcher->body.count > 0 ? watcher->body.data : "", watcher->body.count,
                        &arena, &news, &payload, &index, &text);
    buf_clear(&watcher->body);
    if (err != ERR_OK) {
        failed(watcher, text.s);
    } else {
        watcher->failures = 0;
        if (news) {
            take_news(watcher, payload, index);
        } else {
            ask(watcher);
        }
    }
    arena_clear(&arena);
}

static void answered(struct transfer *transfer, CURLcode code) {
    struct watcher *watcher = CONTAINER_OF(transfer, struct watcher, ask);
    long status = 0;
    curl_easy_getinfo(transfer->easy, CURLINFO_RESPONSE_CODE, &status);
    if (code == CURLE_OK) {
        end_ask(watcher);
        take_answer(watcher, status);
        return;
    }
    struct buf reason;
    buf_init(&reason, 1024);
    if (watcher->too_large) {
        buf_append_str(&reason, "the answer is too large");
    } else {
        transfer_append_reason(transfer, code, &reason);
    }
    buf_append_byte(&reason, '\0');
    end_ask(watcher);
    buf_clear(&watcher->body);
    failed(watcher, reason.failed ? "no answer" : reason.data);
    buf_clear(&reason);
}

static size_t on_body(char *data, size_t one, size_t size, void *context) {
    struct watcher *watcher = context;
    ASSERT(one == 1);
    buf_append(&watcher->body, data, size);
    watcher->too_large = watcher->body.failed;
    return watcher->too_large ? 0 : size;
}

static size_t on_head(char *line, size_t one, size_t size, void *context) {
    static const char name[] = "X-Consul-Index: ";
    struct watcher *watcher = context;
    ASSERT(one == 1);
    if (size > sizeof name && strncasecmp(line, name, sizeof name - 1) == 0) {
        watcher->index =
            strtoull(line + sizeof name - 1, NULL, 10); /* curl ends lines with a NUL */
    }
    return size;
}

static void ask(struct watcher *watcher) {
    struct watchers *watchers = watcher->watchers;
    struct transfers *transfers = transfers_get(watchers->checks);
    struct arena arena;
    if (transfers == NULL) {
        failed(watcher, "the HTTP client does not start");
        return;
    }
    arena_init(&arena);
    watcher->ask.done = answered;
    watcher->index = 0;
    watcher->too_large = false;
    buf_init(&watcher->body, LIMIT_WATCH_ANSWER_BYTES);
    transfer_open(transfers, &watcher->ask, ASK_TIMEOUT_MS);
    CURL *easy = watcher->ask.easy;
    const char *target =
        watch_plan_target(&watcher->definition.plan, &watcher->seen, WAIT_S, &arena);
    curl_easy_setopt(easy, CURLOPT_URL, arena_format(&arena, "%s%s", watchers->base, target));
    if (watchers->unix_path != NULL) {
        curl_easy_setopt(easy, CURLOPT_UNIX_SOCKET_PATH, watchers->unix_path);
    }
    if (*watcher->definition.plan.token != '\0') {
        watcher->headers = curl_slist_append(
            NULL, arena_format(&arena, "X-Consul-Token: %s", watcher->definition.plan.token));
        curl_easy_setopt(easy, CURLOPT_HTTPHEADER, watcher->headers);
    }
    curl_easy_setopt(easy, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(easy, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(easy, CURLOPT_HEADERDATA, watcher);
    curl_easy_setopt(easy, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(easy, CURLOPT_WRITEDATA, watcher);
    watcher->asking = true;
    transfer_start(&watcher->ask);
    arena_clear(&arena);
}

/* ---- definitions ---- */

static const char *copy_text(const char *text, struct arena *arena) {
    return arena_strdup(arena, str_or_empty(text));
}

static struct str_list copy_list(const struct str_list *list, struct arena *arena) {
    const char **v = arena_alloc(arena, (list->count + 1) * sizeof *v);
    for (uint32_t i = 0; i < list->count; i++) {
        v[i] = arena_strdup(arena, list->v[i]);
    }
    return (struct str_list){v, list->count};
}

static struct watch_request *copy_request(const struct watch_request *from, struct arena *arena) {
    struct watch_request *to = arena_alloc(arena, sizeof *to);
    *to = *from;
    to->path = copy_text(from->path, arena);
    to->method = copy_text(from->method, arena);
    to->header.v = arena_alloc(arena, (from->header.count + 1) * sizeof *to->header.v);
    for (uint32_t i = 0; i < from->header.count; i++) {
        to->header.v[i] = (struct str_list_pair){copy_text(from->header.v[i].key, arena),
                                                 copy_list(&from->header.v[i].values, arena)};
    }
    return to;
}

static struct watch_definition copy_definition(const struct watch_definition *from,
                                               struct arena *arena) {
    struct watch_definition to = *from;
    const char **texts[] = {&to.plan.type,    &to.plan.key,  &to.plan.prefix, &to.plan.state,
                            &to.plan.service, &to.plan.name, &to.plan.token,  &to.plan.datacenter,
                            &to.plan.filter,  &to.handler,   &to.handler_type};
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        *texts[i] = copy_text(*texts[i], arena);
    }
    to.plan.tags = copy_list(&from->plan.tags, arena);
    to.args = copy_list(&from->args, arena);
    to.request = from->request != NULL ? copy_request(from->request, arena) : NULL;
    return to;
}

/* Two definitions are the same if their texts are. */
static char *identify(const struct watch_definition *definition) {
    const struct watch_plan *plan = &definition->plan;
    struct buf out;
    struct json json;
    size_t size;
    const char *const texts[] = {plan->type,    plan->key,          plan->prefix, plan->state,
                                 plan->service, plan->name,         plan->token,  plan->datacenter,
                                 plan->filter,  definition->handler};
    buf_init(&out, SIZE_MAX / 2);
    json_init(&json, &out, false);
    json_array_begin(&json);
    for (size_t i = 0; i < sizeof texts / sizeof texts[0]; i++) {
        json_str(&json, texts[i]);
    }
    json_bool(&json, plan->passing_only);
    json_bool(&json, plan->stale);
    json_object_begin(&json);
    json_member_list(&json, "tags", &plan->tags);
    json_member_list(&json, "args", &definition->args);
    if (definition->request != NULL) {
        const struct watch_request *request = definition->request;
        json_member_str(&json, "path", request->path);
        json_member_str(&json, "method", request->method);
        json_member_u64(&json, "timeout", (uint64_t)request->timeout_ns);
        json_member_bool(&json, "tls_skip_verify", request->tls_skip_verify);
        for (uint32_t i = 0; i < request->header.count; i++) {
            json_member_list(&json, request->header.v[i].key, &request->header.v[i].values);
        }
    }
    json_object_end(&json);
    json_array_end(&json);
    buf_append_byte(&out, '\0');
    return buf_take(&out, &size);
}

/* ---- the set ---- */

static void destroy_watch(struct watcher *watcher) {
    struct watchers *watchers = watcher->watchers;
    loop_timer_stop(watchers->checks->loop, &watcher->retry_timer);
    end_ask(watcher);
    buf_clear(&watcher->body);
    if (watcher->waiting) {
        TAILQ_REMOVE(&watchers->waiting, watcher, wait);
    } else if (watcher->payload != NULL) {
        watch_handling_abort(watcher);
        watchers->handlers--;
    }
    free(watcher->payload);
    free(watcher->identity);
    TAILQ_REMOVE(&watchers->all, watcher, link);
    arena_clear(&watcher->arena);
    free(watcher);
}

/* Places that those who are gone have left. */
static void fill_places(struct watchers *watchers) {
    struct watcher *next;
    while (watchers->handlers < LIMIT_WATCH_HANDLERS &&
           (next = TAILQ_FIRST(&watchers->waiting)) != NULL) {
        TAILQ_REMOVE(&watchers->waiting, next, wait);
        next->waiting = false;
        begin_handling(next);
    }
}

struct message {
    struct loop_task task; /* first */
    struct checks *checks;
    struct arena arena;
    struct watch_agent agent;
    struct watch_definition *definitions;
    uint32_t count;
};

static void set_agent(struct watchers *watchers, const struct watch_agent *agent) {
    char address[ADDR_TEXT_BYTES] = "localhost";
    free(watchers->unix_path);
    watchers->unix_path = agent->unix_path != NULL ? mem_strdup(agent->unix_path) : NULL;
    if (agent->unix_path == NULL) {
        addr_format(&agent->addr, address);
    }
    snprintf(watchers->base, sizeof watchers->base, "http://%s", address);
}

static struct watcher *find_unkept(struct watchers *watchers, const char *identity) {
    struct watcher *watcher;
    TAILQ_FOREACH(watcher, &watchers->all, link) {
        if (!watcher->kept && strcmp(watcher->identity, identity) == 0) {
            return watcher;
        }
    }
    return NULL;
}

static void add_watch(struct watchers *watchers, const struct watch_definition *definition,
                      char *identity) {
    struct watcher *watcher = mem_calloc(1, sizeof *watcher);
    watcher->watchers = watchers;
    watcher->retry_timer.run = retry;
    watcher->identity = identity;
    watcher->kept = true;
    arena_init(&watcher->arena);
    watcher->definition = copy_definition(definition, &watcher->arena);
    TAILQ_INSERT_TAIL(&watchers->all, watcher, link);
    ask(watcher);
}

static void run_set(struct loop_task *task) {
    struct message *message = (struct message *)task;
    struct checks *checks = message->checks;
    if (checks->watchers == NULL) {
        checks->watchers = mem_calloc(1, sizeof *checks->watchers);
        checks->watchers->checks = checks;
        TAILQ_INIT(&checks->watchers->all);
        TAILQ_INIT(&checks->watchers->waiting);
    }
    struct watchers *watchers = checks->watchers;
    struct watcher *watcher, *next;
    set_agent(watchers, &message->agent);
    TAILQ_FOREACH(watcher, &watchers->all, link) {
        watcher->kept = false;
    }
    char **identities = mem_calloc(message->count + 1, sizeof *identities);
    for (uint32_t i = 0; i < message->count; i++) {
        identities[i] = identify(&message->definitions[i]);
        if ((watcher = find_unkept(watchers, identities[i])) != NULL) {
            watcher->kept = true;
            free(identities[i]);
            identities[i] = NULL;
        }
    }
    for (watcher = TAILQ_FIRST(&watchers->all); watcher != NULL; watcher = next) {
        next = TAILQ_NEXT(watcher, link);
        if (!watcher->kept) {
            destroy_watch(watcher);
        }
    }
    for (uint32_t i = 0; i < message->count; i++) {
        if (identities[i] != NULL) {
            add_watch(watchers, &message->definitions[i], identities[i]);
        }
    }
    fill_places(watchers);
    free(identities);
    arena_clear(&message->arena);
    free(message);
}

void watchers_set(struct checks *checks, const struct watch_agent *agent,
                  const struct watch_definition *definitions, uint32_t count) {
    struct message *message = mem_calloc(1, sizeof *message);
    message->task.run = run_set;
    message->checks = checks;
    message->count = count;
    arena_init(&message->arena);
    message->agent = *agent;
    if (agent->unix_path != NULL) {
        message->agent.unix_path = arena_strdup(&message->arena, agent->unix_path);
    }
    message->definitions = arena_alloc(&message->arena, (count + 1) * sizeof *message->definitions);
    for (uint32_t i = 0; i < count; i++) {
        message->definitions[i] = copy_definition(&definitions[i], &message->arena);
    }
    loop_post(checks->loop, &message->task);
}

void watchers_stop(struct watchers *watchers) {
    if (watchers == NULL) {
        return;
    }
    while (!TAILQ_EMPTY(&watchers->all)) {
        destroy_watch(TAILQ_FIRST(&watchers->all));
    }
    free(watchers->unix_path);
    free(watchers);
}
