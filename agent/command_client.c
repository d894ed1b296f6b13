#include "agent/command_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/mem.h"
#include "base/limits.h"

#define ADDRESS_DEFAULT "127.0.0.1:8500"

struct client {
    struct arena arena;
    struct arena scratch; /* of the present request */
    CURL *easy;
    struct curl_slist *headers, *connect_to;
    const struct command_options *options;
    const char *base;              /* scheme and host, and a path prefix without its last slash */
    const char *unix_path;         /* "" = TCP */
    const _Atomic bool *interrupt; /* NULL: requests run to their end */
    char reason[CURL_ERROR_SIZE];
};

/* ---- flags and environment ---- */

static const char *flag_or_env(const char *flag, const char *name) {
    return *flag != '\0' ? flag : str_or_empty(getenv(name));
}

/* An unparsable one counts as unset, with a warning. */
static bool env_bool(const char *name, bool otherwise) {
    const char *value = str_or_empty(getenv(name));
    bool on = otherwise;
    if (*value != '\0' && !str_parse_bool(value, &on)) {
        fprintf(stderr, "[WARN] could not parse %s: value=\"%s\"\n", name, value);
        on = otherwise;
    }
    return on;
}

/* host:port, http://, https:// or unix://path, with an optional path prefix. */
static enum err set_address(struct client *client, struct err_text *text) {
    const char *address = flag_or_env(client->options->http_addr, "CONSUL_HTTP_ADDR");
    const char *scheme = env_bool("CONSUL_HTTP_SSL", false) ? "https" : "http";
    client->unix_path = "";
    if (*address == '\0') {
        address = ADDRESS_DEFAULT;
    }
    const char *mark = strstr(address, "://");
    if (mark != NULL) {
        size_t size = (size_t)(mark - address);
        const char *given = arena_strndup(&client->arena, address, size);
        address = mark + 3;
        if (strcmp(given, "unix") == 0) {
            client->unix_path = address;
            address = "127.0.0.1";
        } else if (strcmp(given, "http") != 0 && strcmp(given, "https") != 0) {
            return err_set(text, ERR_INVALID, "Unknown protocol scheme: %.64s", given);
        } else {
            scheme = strcmp(given, "https") == 0 ? "https" : scheme;
        }
    }
    size_t size = strlen(address);
    while (size > 0 && address[size - 1] == '/') {
        size--;
    }
    client->base = arena_format(&client->arena, "%s://%.*s", scheme, (int)size, address);
    return ERR_OK;
}

static enum err read_token(struct client *client, const char *path, const char **ret_token,
                           struct err_text *text) {
    char line[LIMIT_TOKEN_BYTES];
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, line, sizeof line) : -1;
    int number = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (n < 0) {
        return err_set_errno(text, number, "Error loading token file %.200s", path);
    }
    const char *blanks = " \t\r\n";
    size_t size = (size_t)n, from = 0;
    while (size > 0 && strchr(blanks, line[size - 1]) != NULL) {
        size--;
    }
    while (from < size && strchr(blanks, line[from]) != NULL) {
        from++;
    }
    *ret_token = arena_strndup(&client->arena, line + from, size - from);
    return ERR_OK;
}

/* -token-file, then -token, then their variables, in that order. */
static enum err set_token(struct client *client, struct err_text *text) {
    const struct command_options *options = client->options;
    const char *file = options->token_file, *token = options->token;
    if (*file == '\0' && *token == '\0') {
        file = str_or_empty(getenv("CONSUL_HTTP_TOKEN_FILE"));
        token = str_or_empty(getenv("CONSUL_HTTP_TOKEN"));
    }
    enum err err = *file != '\0' ? read_token(client, file, &token, text) : ERR_OK;
    if (err == ERR_OK && *token != '\0') {
        client->headers = curl_slist_append(
            client->headers, arena_format(&client->arena, "X-Consul-Token: %s", token));
    }
    return err;
}

static void set_tls(struct client *client) {
    const struct command_options *options = client->options;
    const struct {
        CURLoption option;
        const char *value;
    } files[] = {
        {CURLOPT_CAINFO, flag_or_env(options->ca_file, "CONSUL_CACERT")},
        {CURLOPT_CAPATH, flag_or_env(options->ca_path, "CONSUL_CAPATH")},
        {CURLOPT_SSLCERT, flag_or_env(options->client_cert, "CONSUL_CLIENT_CERT")},
        {CURLOPT_SSLKEY, flag_or_env(options->client_key, "CONSUL_CLIENT_KEY")},
    };
    for (size_t i = 0; i < sizeof files / sizeof files[0]; i++) {
        if (*files[i].value != '\0') {
            curl_easy_setopt(client->easy, files[i].option, files[i].value);
        }
    }
    if (!env_bool("CONSUL_HTTP_SSL_VERIFY", true)) {
        curl_easy_setopt(client->easy, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(client->easy, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

/* The certificate's name may differ from the address: connect there, ask for the other. */
static void set_server_name(struct client *client) {
    const char *name = flag_or_env(client->options->tls_server_name, "CONSUL_TLS_SERVER_NAME");
    const char *host = strstr(client->base, "://") + 3;
    if (*name == '\0' || strncmp(client->base, "https", 5) != 0) {
        return;
    }
    size_t size = strcspn(host, "/");
    const char *colon = memrchr(host, ':', size);
    bool port = colon != NULL && memchr(colon, ']', size - (size_t)(colon - host)) == NULL;
    const char *address = arena_strndup(&client->arena, host, size);
    const char *tail = arena_strdup(&client->arena, port ? colon : host + size);
    client->connect_to = curl_slist_append(
        NULL, arena_format(&client->arena, "::%s%s", address, port ? "" : ":443"));
    curl_easy_setopt(client->easy, CURLOPT_CONNECT_TO, client->connect_to);
    client->base = arena_format(&client->arena, "https://%s%s", name, tail);
}

static void set_basic_auth(struct client *client) {
    const char *auth = str_or_empty(getenv("CONSUL_HTTP_AUTH"));
    if (*auth != '\0') {
        curl_easy_setopt(client->easy, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        curl_easy_setopt(client->easy, CURLOPT_USERPWD,
                         strchr(auth, ':') != NULL ? auth
                                                   : arena_format(&client->arena, "%s:", auth));
    }
}

struct client *client_create(const struct command_options *options) {
    struct client *client = mem_calloc(1, sizeof *client);
    struct err_text text = {""};
    client->options = options;
    arena_init(&client->arena);
    arena_init(&client->scratch);
    ASSERT(curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK);
    client->easy = curl_easy_init();
    ASSERT(client->easy != NULL);
    enum err err = set_address(client, &text);
    if (err == ERR_OK) {
        err = set_token(client, &text);
    }
    if (err != ERR_OK) {
        fprintf(stderr, "Error connecting to Consul agent: %s\n", text.s);
        client_destroy(client);
        return NULL;
    }
    set_tls(client);
    set_server_name(client);
    set_basic_auth(client);
    if (*client->unix_path != '\0') {
        curl_easy_setopt(client->easy, CURLOPT_UNIX_SOCKET_PATH, client->unix_path);
    }
    curl_easy_setopt(client->easy, CURLOPT_ERRORBUFFER, client->reason);
    curl_easy_setopt(client->easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(client->easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(client->easy, CURLOPT_PROXY, "");
    client->headers = curl_slist_append(client->headers, "Expect:");
    return client;
}

void client_destroy(struct client *client) {
    if (client != NULL) {
        curl_easy_cleanup(client->easy);
        curl_slist_free_all(client->headers);
        curl_slist_free_all(client->connect_to);
        arena_clear(&client->arena);
        arena_clear(&client->scratch);
        free(client);
    }
}

/* ---- requests ---- */

static const char *escape(CURL *easy, const char *s, struct arena *arena) {
    char *escaped = curl_easy_escape(easy, s, 0);
    ASSERT(escaped != NULL);
    const char *kept = arena_strdup(arena, escaped);
    curl_free(escaped);
    return kept;
}

const char *client_escape(const char *segment, struct arena *arena) {
    return escape(NULL, segment, arena);
}

const char *client_escape_path(const char *path, struct arena *arena) {
    const char *all = "";
    for (const char *at = path;; at++) {
        size_t size = strcspn(at, "/");
        all =
            arena_format(arena, "%s%s", all, client_escape(arena_strndup(arena, at, size), arena));
        at += size;
        if (*at == '\0') {
            return all;
        }
        /* A slash before another or before a dot would be taken for one to clean up. */
        bool plain = at > path && at[1] != '/' && at[1] != '.';
        all = arena_format(arena, "%s%s", all, plain ? "/" : "%2F");
    }
}

static const char *make_url(struct client *client, const char *path,
                            const struct client_query *queries, size_t count, bool read) {
    struct buf url;
    arena_clear(&client->scratch);
    arena_init(&client->scratch);
    buf_init(&url, 65536);
    buf_append_format(&url, "%s%s", client->base, path);
    struct client_query more[] = {{"dc", client->options->datacenter}, {"stale", NULL}};
    bool given[] = {*client->options->datacenter != '\0', read && client->options->stale};
    char mark = strchr(path, '?') == NULL ? '?' : '&'; /* the path may have a query already */
    for (size_t i = 0; i < count + 2; i++) {
        const struct client_query *query = i < count ? &queries[i] : &more[i - count];
        if (i >= count && !given[i - count]) {
            continue;
        }
        buf_append_format(&url, "%c%s", mark, query->name);
        if (query->value != NULL) {
            buf_append_format(&url, "=%s", escape(client->easy, query->value, &client->scratch));
        }
        mark = '&';
    }
    ASSERT(!url.failed);
    const char *text = arena_strndup(&client->scratch, url.data, url.count);
    buf_clear(&url);
    return text;
}

/* In the words of Go's HTTP client, which users know from this field: `Get "<url>": <reason>`. */
static enum err no_answer(struct client *client, const char *method, const char *url, CURLcode code,
                          struct err_text *text) {
    long number = 0;
    curl_easy_getinfo(client->easy, CURLINFO_OS_ERRNO, &number);
    char name[16];
    snprintf(name, sizeof name, "%c%.14s", method[0], method + 1);
    for (char *at = name + 1; *at != '\0'; at++) {
        *at = str_lower_char(*at);
    }
    const char *reason = client->reason[0] != '\0' ? client->reason : curl_easy_strerror(code);
    if (code == CURLE_COULDNT_CONNECT && number == ECONNREFUSED) {
        const char *host = strstr(client->base, "://") + 3;
        reason = *client->unix_path != '\0'
                     ? arena_format(&client->scratch, "dial unix %s: connect: connection refused",
                                    client->unix_path)
                     : arena_format(&client->scratch, "dial tcp %.*s: connect: connection refused",
                                    (int)strcspn(host, "/"), host);
    }
    return err_set(text, ERR_IO, "%s \"%.300s\": %.128s", name, url, reason);
}

static size_t gather(char *data, size_t size, size_t count, void *context) {
    struct buf *out = context;
    buf_append(out, data, size * count);
    return out->failed ? 0 : size * count;
}

static size_t take_header(char *data, size_t size, size_t count, void *context) {
    static const char name[] = "X-Consul-Index:";
    struct client_answer *answer = context;
    if (size * count > sizeof name && strncasecmp(data, name, sizeof name - 1) == 0) {
        answer->index = strtoull(data + sizeof name - 1, NULL, 10);
    }
    return size * count;
}

static int interrupted(void *context, curl_off_t a, curl_off_t b, curl_off_t c, curl_off_t d) {
    const struct client *client = context;
    (void)a;
    (void)b;
    (void)c;
    (void)d;
    return *client->interrupt;
}

void client_interruptible(struct client *client, const _Atomic bool *flag) {
    client->interrupt = flag;
    curl_easy_setopt(client->easy, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(client->easy, CURLOPT_XFERINFOFUNCTION, interrupted);
    curl_easy_setopt(client->easy, CURLOPT_XFERINFODATA, client);
}

enum err client_exchange(struct client *client, const char *method, const char *path,
                         const struct client_query *queries, size_t query_count, const void *body,
                         size_t size, struct client_answer *ret_answer, struct err_text *text) {
    bool read = strcmp(method, "GET") == 0;
    const char *url = make_url(client, path, queries, query_count, read);
    *ret_answer = (struct client_answer){0};
    buf_init(&ret_answer->body, LIMIT_HTTP_ANSWER_BYTES);
    curl_easy_setopt(client->easy, CURLOPT_URL, url);
    curl_easy_setopt(client->easy, CURLOPT_HTTPHEADER, client->headers);
    if (read) {
        curl_easy_setopt(client->easy, CURLOPT_HTTPGET, 1L);
    } else {
        curl_easy_setopt(client->easy, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)size);
        curl_easy_setopt(client->easy, CURLOPT_COPYPOSTFIELDS, body != NULL ? body : "");
    }
    curl_easy_setopt(client->easy, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(client->easy, CURLOPT_HEADERFUNCTION, take_header);
    curl_easy_setopt(client->easy, CURLOPT_HEADERDATA, ret_answer);
    curl_easy_setopt(client->easy, CURLOPT_WRITEFUNCTION, gather);
    curl_easy_setopt(client->easy, CURLOPT_WRITEDATA, &ret_answer->body);
    CURLcode code = curl_easy_perform(client->easy);
    curl_easy_setopt(client->easy, CURLOPT_HEADERFUNCTION, NULL);
    curl_easy_setopt(client->easy, CURLOPT_HEADERDATA, NULL);
    curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &ret_answer->status);
    if (code == CURLE_ABORTED_BY_CALLBACK) {
        return err_set(text, ERR_CLOSED, "interrupted");
    }
    return code != CURLE_OK ? no_answer(client, method, url, code, text) : ERR_OK;
}

enum err client_refusal(const struct client_answer *answer, struct err_text *text) {
    return err_set(text, ERR_REFUSED, "Unexpected response code: %ld (%.*s)", answer->status,
                   (int)answer->body.count, answer->body.data != NULL ? answer->body.data : "");
}

enum err client_request(struct client *client, const char *method, const char *path,
                        const struct client_query *queries, size_t query_count, const char *body,
                        struct buf *ret_body, struct err_text *text) {
    struct client_answer answer;
    enum err err = client_exchange(client, method, path, queries, query_count, body,
                                   body != NULL ? strlen(body) : 0, &answer, text);
    if (err == ERR_OK && answer.status != 200) {
        err = client_refusal(&answer, text);
    }
    if (ret_body != NULL) {
        *ret_body = answer.body;
    } else {
        buf_clear(&answer.body);
    }
    return err;
}

enum err client_get(struct client *client, const char *path, const struct client_query *queries,
                    size_t query_count, const struct decode_spec *spec, bool list,
                    struct arena *arena, void *out, struct err_text *text) {
    struct buf body;
    enum err err = client_request(client, "GET", path, queries, query_count, NULL, &body, text);
    if (err == ERR_OK && list) {
        /* The decoder takes objects: the list becomes the one member of one. */
        const struct decode_field field = {.name = "list", .kind = DECODE_OBJECTS, .spec = spec};
        const struct decode_spec around = {"list", sizeof(struct decode_objects), &field, 1, false};
        struct buf object;
        buf_init(&object, LIMIT_HTTP_ANSWER_BYTES + 16);
        buf_append_str(&object, "{\"list\":");
        buf_append(&object, body.data, body.count);
        buf_append_byte(&object, '}');
        err = decode_json(&around, DECODE_BODY, object.data, object.count, arena, out, text);
        buf_clear(&object);
    } else if (err == ERR_OK) {
        err = decode_json(spec, DECODE_BODY, body.data, body.count, arena, out, text);
    }
    buf_clear(&body);
    return err;
}

/* ---- streams ---- */

struct stream {
    struct client *client;
    bool (*take)(void *context, const char *data, size_t size);
    void *context;
    bool enough;
    struct buf refusal; /* the body of an answer other than 200 */
};

static size_t take_piece(char *data, size_t size, size_t count, void *context) {
    struct stream *stream = context;
    long status = 0;
    curl_easy_getinfo(stream->client->easy, CURLINFO_RESPONSE_CODE, &status);
    if (status != 200) {
        buf_append(&stream->refusal, data, size * count);
        return size * count;
    }
    stream->enough = !stream->take(stream->context, data, size * count);
    return stream->enough ? 0 : size * count;
}

enum err client_stream(struct client *client, const char *path, const struct client_query *queries,
                       size_t query_count,
                       bool (*take)(void *context, const char *data, size_t size), void *context,
                       struct err_text *text) {
    struct stream stream = {.client = client, .take = take, .context = context};
    const char *url = make_url(client, path, queries, query_count, true);
    long status = 0;
    buf_init(&stream.refusal, 65536);
    curl_easy_setopt(client->easy, CURLOPT_URL, url);
    curl_easy_setopt(client->easy, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(client->easy, CURLOPT_HTTPGET, 1L);
    curl_easy_setopt(client->easy, CURLOPT_WRITEFUNCTION, take_piece);
    curl_easy_setopt(client->easy, CURLOPT_WRITEDATA, &stream);
    CURLcode code = curl_easy_perform(client->easy);
    curl_easy_getinfo(client->easy, CURLINFO_RESPONSE_CODE, &status);
    enum err err = ERR_OK;
    if (status != 0 && status != 200) {
        err = err_set(text, ERR_REFUSED, "Unexpected response code: %ld (%.*s)", status,
                      (int)stream.refusal.count,
                      stream.refusal.data != NULL ? stream.refusal.data : "");
    } else if (!stream.enough) {
        err = code != CURLE_OK && status == 0
                  ? no_answer(client, "GET", url, code, text)
                  : err_set(text, ERR_CLOSED, "the agent ended the stream");
    }
    buf_clear(&stream.refusal);
    return err;
}
