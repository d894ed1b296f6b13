#include "agent/command_client.h"

#include <curl/curl.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/mem.h"
#include "base/str.h"

#define ANSWER_BYTES_MAX (256 * 1024 * 1024)
#define TOKEN_BYTES_MAX 65536
#define DEFAULT_ADDRESS "127.0.0.1:8500"

struct client {
    CURL *curl;
    struct arena arena;
    const char *base; /* URL up to the path */
    const char *socket_path;
    const char *query; /* of every request; "" */
    struct curl_slist *headers, *connect_to;
};

/* ---- flags ---- */

static const struct option {
    const char *name;
    size_t offset; /* of a const char *; or of stale */
    bool flag, server, dropped;
    const char *help;
} options[] = {
#define TEXT(name, member, server, help)                                                           \
    { name, offsetof(struct client_flags, member), false, server, false, help }
    TEXT("http-addr", http_addr, false, "address and port of the agent; CONSUL_HTTP_ADDR"),
    TEXT("token", token, false, "ACL token; CONSUL_HTTP_TOKEN"),
    TEXT("token-file", token_file, false, "file that holds it; CONSUL_HTTP_TOKEN_FILE"),
    TEXT("ca-file", ca_file, false, "certificate authority; CONSUL_CACERT"),
    TEXT("ca-path", ca_path, false, "folder of them; CONSUL_CAPATH"),
    TEXT("client-cert", client_cert, false, "certificate to show; CONSUL_CLIENT_CERT"),
    TEXT("client-key", client_key, false, "its key; CONSUL_CLIENT_KEY"),
    TEXT("tls-server-name", tls_server_name, false,
         "name that the agent's certificate must have; CONSUL_TLS_SERVER_NAME"),
    TEXT("datacenter", datacenter, true, "datacenter to ask"),
    {"stale", offsetof(struct client_flags, stale), true, true, false,
     "any server may answer, not only the leader"},
    {"namespace", 0, false, false, true, NULL},
    {"partition", 0, false, false, true, NULL},
    {"peer", 0, false, false, true, NULL},
};

#define OPTIONS (sizeof options / sizeof options[0])

void client_flags_print(bool server_flags) {
    printf("HTTP API Options\n\n");
    for (size_t i = 0; i < OPTIONS; i++) {
        if (options[i].help != NULL && (server_flags || !options[i].server)) {
            printf("  -%s%s\n     %s\n\n", options[i].name, options[i].flag ? "" : "=<value>",
                   options[i].help);
        }
    }
}

enum client_flag client_flags_take(struct client_flags *flags, bool server_flags, int argc,
                                   char **argv, int *i, struct err_text *text) {
    const char *arg = argv[*i];
    if (arg[0] != '-' || arg[1] == '\0') {
        return CLIENT_FLAG_NONE;
    }
    const char *name = arg + (arg[1] == '-' ? 2 : 1);
    size_t size = strcspn(name, "=");
    for (size_t o = 0; o < OPTIONS; o++) {
        const struct option *option = &options[o];
        if (strlen(option->name) != size || memcmp(option->name, name, size) != 0 ||
            (option->server && !server_flags)) {
            continue;
        }
        const char *value = name[size] == '=' ? name + size + 1 : NULL;
        void *at = (char *)flags + option->offset;
        if (option->flag) {
            if (!str_parse_bool(value != NULL ? value : "true", at)) {
                err_set(text, ERR_INVALID, "invalid boolean value \"%.128s\" for -%s: parse error",
                        value, option->name);
                return CLIENT_FLAG_BAD;
            }
            return CLIENT_FLAG_TAKEN;
        }
        if (value == NULL && *i + 1 >= argc) {
            err_set(text, ERR_INVALID, "flag needs an argument: -%s", option->name);
            return CLIENT_FLAG_BAD;
        }
        value = value != NULL ? value : argv[++*i];
        if (!option->dropped) {
            *(const char **)at = value;
        }
        return CLIENT_FLAG_TAKEN;
    }
    return CLIENT_FLAG_NONE;
}

/* ---- environment ---- */

/* NULL when it is unset or empty. */
static const char *environment(const char *name) {
    const char *value = getenv(name);
    return value != NULL && *value != '\0' ? value : NULL;
}

static bool environment_bool(const char *name, bool initial) {
    const char *value = environment(name);
    bool flag = initial;
    if (value != NULL && !str_parse_bool(value, &flag)) {
        fprintf(stderr, "[WARN] agent: could not parse %s: invalid syntax\n", name);
        return initial;
    }
    return flag;
}

static const char *first(const char *flag, const char *name) {
    return flag != NULL ? flag : environment(name);
}

static enum err read_token(struct client *client, const char *path, const char **ret_token,
                           struct err_text *text) {
    char *token = arena_alloc(&client->arena, TOKEN_BYTES_MAX);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t n = fd >= 0 ? read(fd, token, TOKEN_BYTES_MAX - 1) : -1;
    int number = errno;
    if (fd >= 0) {
        close(fd);
    }
    if (n < 0) {
        return err_set_errno(text, number, "Error loading token file '%.300s'", path);
    }
    token[n] = '\0';
    while (n > 0 && strchr(" \t\r\n", token[n - 1]) != NULL) {
        token[--n] = '\0';
    }
    *ret_token = token + strspn(token, " \t\r\n");
    return ERR_OK;
}

/* -token-file, -token, then the environment in the same order. */
static enum err find_token(struct client *client, const struct client_flags *flags,
                           const char **ret_token, struct err_text *text) {
    const char *file = flags->token_file;
    *ret_token = flags->token;
    if (file == NULL && flags->token == NULL) {
        file = environment("CONSUL_HTTP_TOKEN_FILE");
        *ret_token = environment("CONSUL_HTTP_TOKEN");
    }
    return file != NULL ? read_token(client, file, ret_token, text) : ERR_OK;
}

/* ---- opening ---- */

static enum err take_address(struct client *client, const char *address, bool tls,
                             struct err_text *text) {
    const char *scheme = tls ? "https" : "http";
    if (str_starts_with(address, "unix://")) {
        client->socket_path = arena_strdup(&client->arena, address + strlen("unix://"));
        client->base = arena_format(&client->arena, "%s://localhost", scheme);
        return ERR_OK;
    }
    if (str_starts_with(address, "https://") || str_starts_with(address, "http://")) {
        scheme = address[4] == 's' ? "https" : scheme;
        address = strchr(address, ':') + 3;
    } else if (strstr(address, "://") != NULL) {
        return err_set(text, ERR_INVALID, "Unknown protocol scheme: %.64s", address);
    }
    size_t size = strlen(address);
    while (size > 0 && address[size - 1] == '/') {
        size--;
    }
    if (size == 0 || memchr(address, ' ', size) != NULL) {
        return err_set(text, ERR_INVALID, "bad address: \"%.128s\"", address);
    }
    client->base = arena_format(&client->arena, "%s://%.*s", scheme, (int)size, address);
    return ERR_OK;
}

static void set_text(struct client *client, CURLoption option, const char *value) {
    if (value != NULL) {
        curl_easy_setopt(client->curl, option, value);
    }
}

static void set_up(struct client *client, const struct client_flags *flags, const char *token) {
    CURL *curl = client->curl;
    curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(curl, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(curl, CURLOPT_PROXY, "");
    set_text(client, CURLOPT_UNIX_SOCKET_PATH, client->socket_path);
    set_text(client, CURLOPT_CAINFO, first(flags->ca_file, "CONSUL_CACERT"));
    set_text(client, CURLOPT_CAPATH, first(flags->ca_path, "CONSUL_CAPATH"));
    set_text(client, CURLOPT_SSLCERT, first(flags->client_cert, "CONSUL_CLIENT_CERT"));
    set_text(client, CURLOPT_SSLKEY, first(flags->client_key, "CONSUL_CLIENT_KEY"));
    if (!environment_bool("CONSUL_HTTP_SSL_VERIFY", true)) {
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYPEER, 0L);
        curl_easy_setopt(curl, CURLOPT_SSL_VERIFYHOST, 0L);
    }
    const char *auth = environment("CONSUL_HTTP_AUTH");
    if (auth != NULL) {
        curl_easy_setopt(curl, CURLOPT_HTTPAUTH, (long)CURLAUTH_BASIC);
        curl_easy_setopt(curl, CURLOPT_USERPWD, auth);
    }
    client->headers = curl_slist_append(client->headers, "Expect:");
    if (token != NULL && *token != '\0') {
        client->headers = curl_slist_append(
            client->headers, arena_format(&client->arena, "X-Consul-Token: %s", token));
    }
    client->query = flags->stale ? "stale" : "";
    if (flags->datacenter != NULL) {
        char *dc = curl_easy_escape(curl, flags->datacenter, 0);
        client->query = arena_format(&client->arena, "%s%sdc=%s", client->query,
                                     flags->stale ? "&" : "", dc != NULL ? dc : "");
        curl_free(dc);
    }
}

struct client *client_open(const struct client_flags *flags, struct err_text *text) {
    struct client *client = mem_calloc(1, sizeof *client);
    const char *address = first(flags->http_addr, "CONSUL_HTTP_ADDR"), *token = NULL;
    arena_init(&client->arena);
    curl_global_init(CURL_GLOBAL_DEFAULT);
    client->curl = curl_easy_init();
    enum err err = client->curl != NULL ? ERR_OK : err_set(text, ERR_IO, "cannot start libcurl");
    if (err == ERR_OK) {
        err = take_address(client, address != NULL ? address : DEFAULT_ADDRESS,
                           environment_bool("CONSUL_HTTP_SSL", false), text);
    }
    if (err == ERR_OK) {
        err = find_token(client, flags, &token, text);
    }
    if (err != ERR_OK) {
        client_close(client);
        return NULL;
    }
    set_up(client, flags, token);
    const char *name = first(flags->tls_server_name, "CONSUL_TLS_SERVER_NAME");
    if (name != NULL) {
        /* The name decides what is verified; the connection goes to the address all the same. */
        const char *host = strstr(client->base, "://") + 3;
        client->headers =
            curl_slist_append(client->headers, arena_format(&client->arena, "Host: %s", host));
        struct curl_slist *to = curl_slist_append(NULL, arena_format(&client->arena, "::%s", host));
        curl_easy_setopt(client->curl, CURLOPT_CONNECT_TO, to);
        client->connect_to = to;
        client->base = arena_format(&client->arena, "https://%s", name);
    }
    return client;
}

void client_close(struct client *client) {
    if (client != NULL) {
        curl_slist_free_all(client->headers);
        curl_slist_free_all(client->connect_to);
        curl_easy_cleanup(client->curl);
        curl_global_cleanup();
        arena_clear(&client->arena);
        free(client);
    }
}

/* ---- requests ---- */

static size_t take_body(char *data, size_t size, size_t count, void *context) {
    struct buf *body = context;
    buf_append(body, data, size * count);
    return body->failed ? 0 : size * count;
}

enum err client_request(struct client *client, const char *method, const char *path,
                        const char *query, const char *body, struct client_answer *ret_answer,
                        struct err_text *text) {
    char reason[CURL_ERROR_SIZE] = "";
    const char *own = str_or_empty(query);
    bool both = *own != '\0' && *client->query != '\0';
    bool any = *own != '\0' || *client->query != '\0';
    const char *url = arena_format(&client->arena, "%s%s%s%s%s%s", client->base, path,
                                   any ? "?" : "", own, both ? "&" : "", client->query);
    CURL *curl = client->curl;
    buf_init(&ret_answer->body, ANSWER_BYTES_MAX);
    curl_easy_setopt(curl, CURLOPT_URL, url);
    curl_easy_setopt(curl, CURLOPT_CUSTOMREQUEST, method);
    curl_easy_setopt(curl, CURLOPT_HTTPHEADER, client->headers);
    curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, take_body);
    curl_easy_setopt(curl, CURLOPT_WRITEDATA, &ret_answer->body);
    curl_easy_setopt(curl, CURLOPT_ERRORBUFFER, reason);
    if (strcmp(method, "GET") != 0) {
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)strlen(str_or_empty(body)));
        curl_easy_setopt(curl, CURLOPT_COPYPOSTFIELDS, str_or_empty(body));
    } else {
        curl_easy_setopt(curl, CURLOPT_HTTPGET, 1L);
    }
    CURLcode code = curl_easy_perform(curl);
    if (code != CURLE_OK) {
        buf_clear(&ret_answer->body);
        return err_set(text, ERR_IO, "%s \"%.200s\": %.200s", method, url,
                       reason[0] != '\0' ? reason : curl_easy_strerror(code));
    }
    long status = 0;
    curl_easy_getinfo(curl, CURLINFO_RESPONSE_CODE, &status);
    ret_answer->status = (int)status;
    return ERR_OK;
}

enum err client_expect(struct client *client, const char *method, const char *path,
                       const char *query, const char *body, struct client_answer *ret_answer,
                       struct err_text *text) {
    enum err err = client_request(client, method, path, query, body, ret_answer, text);
    if (err == ERR_OK && ret_answer->status != 200) {
        size_t size = ret_answer->body.count;
        err = err_set(text, ERR_REFUSED, "Unexpected response code: %d (%.*s)", ret_answer->status,
                      (int)(size < 400 ? size : 400), str_or_empty(ret_answer->body.data));
        buf_clear(&ret_answer->body);
    }
    return err;
}
