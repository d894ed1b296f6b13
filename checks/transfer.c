#include "checks/transfer.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"

#define TRANSFER_BUFFER_BYTES 4096L /* of the up to LIMIT_CHECK_RUNS transfers each */

struct transfers {
    struct loop_timer timer; /* first */
    struct loop *loop;
    CURLM *multi;
};

/* A socket that curl wants watched. */
struct watched {
    struct transfers *transfers;
    struct loop_poll *poll;
    curl_socket_t fd;
};

/* curl forbids to end a transfer inside its callbacks, so all ends are collected here. */
static void collect_done(struct transfers *transfers) {
    CURLMsg *message;
    int left;
    while ((message = curl_multi_info_read(transfers->multi, &left)) != NULL) {
        struct transfer *transfer;
        if (message->msg == CURLMSG_DONE) {
            CURLcode code = message->data.result;
            curl_easy_getinfo(message->easy_handle, CURLINFO_PRIVATE, (char **)&transfer);
            transfer->done(transfer, code);
        }
    }
}

static void act(struct transfers *transfers, curl_socket_t fd, int events) {
    int running;
    curl_multi_socket_action(transfers->multi, fd, events, &running);
    collect_done(transfers);
}

static void on_ready(void *context, int events) {
    struct watched *watched = context;
    act(watched->transfers, watched->fd,
        (events & LOOP_READABLE ? CURL_CSELECT_IN : 0) |
            (events & LOOP_WRITABLE ? CURL_CSELECT_OUT : 0));
}

static void on_timer(struct loop_timer *timer) {
    act((struct transfers *)timer, CURL_SOCKET_TIMEOUT, 0);
}

static int want_timer(CURLM *multi, long timeout_ms, void *context) {
    struct transfers *transfers = context;
    (void)multi;
    if (timeout_ms < 0) {
        loop_timer_stop(transfers->loop, &transfers->timer);
    } else {
        loop_timer_start(transfers->loop, &transfers->timer, clock_monotonic_ms() + timeout_ms);
    }
    return 0;
}

static int want_socket(CURL *easy, curl_socket_t fd, int what, void *context, void *socket) {
    struct transfers *transfers = context;
    struct watched *watched = socket;
    (void)easy;
    if (what == CURL_POLL_REMOVE) {
        if (watched != NULL) {
            loop_poll_destroy(watched->poll);
            free(watched);
        }
        return 0;
    }
    if (watched == NULL) {
        watched = mem_calloc(1, sizeof *watched);
        watched->transfers = transfers;
        watched->fd = fd;
        watched->poll = loop_poll_create(transfers->loop, fd, on_ready, watched);
        curl_multi_assign(transfers->multi, fd, watched);
    }
    loop_poll_set(watched->poll, (what & CURL_POLL_IN ? LOOP_READABLE : 0) |
                                     (what & CURL_POLL_OUT ? LOOP_WRITABLE : 0));
    return 0;
}

static curl_socket_t open_socket(void *context, curlsocktype purpose, struct curl_sockaddr *to) {
    struct transfer *transfer = context;
    (void)purpose;
    memset(&transfer->peer, 0, sizeof transfer->peer);
    if (to->addrlen <= sizeof transfer->peer) {
        memcpy(&transfer->peer, &to->addr, to->addrlen);
    }
    if (transfer->datagram) {
        return socket(to->family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    }
    return socket(to->family, to->socktype | SOCK_CLOEXEC, to->protocol);
}

struct transfers *transfers_create(struct loop *loop) {
    if (curl_global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK) {
        return NULL;
    }
    struct transfers *transfers = mem_calloc(1, sizeof *transfers);
    transfers->loop = loop;
    transfers->timer.run = on_timer;
    transfers->multi = curl_multi_init();
    if (transfers->multi == NULL) {
        curl_global_cleanup();
        free(transfers);
        return NULL;
    }
    curl_multi_setopt(transfers->multi, CURLMOPT_SOCKETFUNCTION, want_socket);
    curl_multi_setopt(transfers->multi, CURLMOPT_SOCKETDATA, transfers);
    curl_multi_setopt(transfers->multi, CURLMOPT_TIMERFUNCTION, want_timer);
    curl_multi_setopt(transfers->multi, CURLMOPT_TIMERDATA, transfers);
    return transfers;
}

struct transfers *transfers_get(struct checks *checks) {
    if (checks->transfers == NULL) {
        checks->transfers = transfers_create(checks->loop);
        if (checks->transfers == NULL) {
            log_write(checks->log, LOG_ERROR, "agent.checks", "libcurl does not start");
        }
    }
    return checks->transfers;
}

void transfers_destroy(struct transfers *transfers) {
    if (transfers != NULL) {
        curl_multi_cleanup(transfers->multi);
        loop_timer_stop(transfers->loop, &transfers->timer);
        curl_global_cleanup();
        free(transfers);
    }
}

void transfer_open(struct transfers *transfers, struct transfer *transfer, int64_t timeout_ms) {
    CURL *easy = curl_easy_init();
    ASSERT(easy != NULL);
    transfer->easy = easy;
    transfer->transfers = transfers;
    long timeout = timeout_ms > INT32_MAX ? INT32_MAX : (long)timeout_ms;
    curl_easy_setopt(easy, CURLOPT_PRIVATE, transfer);
    curl_easy_setopt(easy, CURLOPT_ERRORBUFFER, transfer->reason);
    curl_easy_setopt(easy, CURLOPT_TIMEOUT_MS, timeout);
    curl_easy_setopt(easy, CURLOPT_CONNECTTIMEOUT_MS, timeout);
    curl_easy_setopt(easy, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(easy, CURLOPT_QUICK_EXIT, 1L);
    curl_easy_setopt(easy, CURLOPT_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_REDIR_PROTOCOLS_STR, "http,https");
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETFUNCTION, open_socket);
    curl_easy_setopt(easy, CURLOPT_OPENSOCKETDATA, transfer);
    curl_easy_setopt(easy, CURLOPT_FRESH_CONNECT, 1L);
    curl_easy_setopt(easy, CURLOPT_FORBID_REUSE, 1L);
    curl_easy_setopt(easy, CURLOPT_DNS_CACHE_TIMEOUT, 0L);
    curl_easy_setopt(easy, CURLOPT_PROXY, "");
    curl_easy_setopt(easy, CURLOPT_BUFFERSIZE, TRANSFER_BUFFER_BYTES);
}

void transfer_start(struct transfer *transfer) {
    CURLMcode code = curl_multi_add_handle(transfer->transfers->multi, transfer->easy);
    ASSERT(code == CURLM_OK);
}

void transfer_close(struct transfer *transfer) {
    curl_multi_remove_handle(transfer->transfers->multi, transfer->easy);
    curl_easy_cleanup(transfer->easy);
    transfer->easy = NULL;
}

/* curl sends the url's host as the TLS server name. For another one the url gets that name, and
 * CONNECT_TO leads it back to the real host. */
void transfer_set_url(struct transfer *transfer, const char *url, const char *server_name,
                      struct curl_slist **ret_connect_to, char **ret_host) {
    *ret_connect_to = NULL;
    *ret_host = NULL;
    curl_easy_setopt(transfer->easy, CURLOPT_URL, url);
    CURLU *parts = server_name[0] != '\0' ? curl_url() : NULL;
    char *scheme = NULL, *host = NULL, *port = NULL, *shown_port = NULL, *named = NULL;
    if (parts == NULL || curl_url_set(parts, CURLUPART_URL, url, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_SCHEME, &scheme, 0) != CURLUE_OK ||
        strcmp(scheme, "https") != 0 ||
        curl_url_get(parts, CURLUPART_HOST, &host, 0) != CURLUE_OK ||
        curl_url_get(parts, CURLUPART_PORT, &port, CURLU_DEFAULT_PORT) != CURLUE_OK ||
        curl_url_set(parts, CURLUPART_HOST, server_name, 0) != CURLUE_OK) {
        goto out; /* a bad url is told by the transfer itself */
    }
    curl_url_get(parts, CURLUPART_PORT, &shown_port, 0);
    if (curl_url_get(parts, CURLUPART_URL, &named, 0) == CURLUE_OK) {
        struct buf text;
        buf_init(&text, strlen(server_name) + strlen(host) + 64);
        buf_append_format(&text, "%s:%s:%s:%s", server_name, port, host, port);
        ASSERT(!text.failed);
        *ret_connect_to = curl_slist_append(NULL, text.data);
        buf_reset(&text);
        buf_append_format(&text, "Host: %s%s%s", host, shown_port != NULL ? ":" : "",
                          shown_port != NULL ? shown_port : "");
        buf_append_byte(&text, '\0');
        ASSERT(!text.failed);
        size_t size;
        *ret_host = buf_take(&text, &size);
        curl_easy_setopt(transfer->easy, CURLOPT_URL, named);
        curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_TO, *ret_connect_to);
    }
out:
    curl_free(named);
    curl_free(shown_port);
    curl_free(port);
    curl_free(host);
    curl_free(scheme);
    curl_url_cleanup(parts);
}

void transfer_connect_only(struct transfer *transfer) {
    curl_easy_setopt(transfer->easy, CURLOPT_CONNECT_ONLY, 1L);
    curl_easy_setopt(transfer->easy, CURLOPT_FORBID_REUSE, 0L);
}

int transfer_dup_socket(const struct transfer *transfer) {
    curl_socket_t fd = CURL_SOCKET_BAD;
    curl_easy_getinfo(transfer->easy, CURLINFO_ACTIVESOCKET, &fd);
    return fd == CURL_SOCKET_BAD ? -1 : fcntl(fd, F_DUPFD_CLOEXEC, 0);
}

bool target_split(const char *address, char ret_host[TARGET_HOST_BYTES], uint16_t *ret_port) {
    const char *colon = strrchr(address, ':');
    uint64_t port;
    if (colon == NULL || (size_t)(colon - address) >= TARGET_HOST_BYTES ||
        !str_parse_u64(colon + 1, &port) || port > UINT16_MAX) {
        return false;
    }
    memcpy(ret_host, address, (size_t)(colon - address));
    ret_host[colon - address] = '\0';
    *ret_port = (uint16_t)port;
    return (ret_host[0] == '[' || strchr(ret_host, ':') == NULL) &&
           strpbrk(ret_host, "/?#@ \r\n") == NULL;
}

void transfer_append_dial(const struct addr *peer, int number, struct buf *out) {
    char name[ADDR_TEXT_BYTES];
    char text[128];
    addr_format(peer, name);
    const char *reason = strerror_r(number, text, sizeof text);
    buf_append_format(out, "dial tcp %s: connect: ", name);
    /* Go has the same sentences with a small first letter. */
    buf_append_byte(out, str_lower_char(reason[0]));
    buf_append_str(out, reason[0] != '\0' ? reason + 1 : "");
}

static bool append_lookup(const char *url, struct buf *out) {
    CURLU *parts = curl_url();
    char *host = NULL;
    bool known = parts != NULL && curl_url_set(parts, CURLUPART_URL, url, 0) == CURLUE_OK &&
                 curl_url_get(parts, CURLUPART_HOST, &host, 0) == CURLUE_OK;
    if (known) {
        buf_append_format(out, "dial tcp: lookup %s: no such host", host);
    }
    curl_free(host);
    curl_url_cleanup(parts);
    return known;
}

void transfer_append_reason(const struct transfer *transfer, CURLcode code, struct buf *out) {
    long number = 0;
    char *url = NULL;
    if (transfer->easy == NULL) { /* refused before it began */
        buf_append_str(out, transfer->reason);
        return;
    }
    curl_easy_getinfo(transfer->easy, CURLINFO_OS_ERRNO, &number);
    curl_easy_getinfo(transfer->easy, CURLINFO_EFFECTIVE_URL, &url);
    if (code == CURLE_COULDNT_CONNECT && number != 0 && transfer->peer.any.sa_family != 0) {
        transfer_append_dial(&transfer->peer, (int)number, out);
        return;
    }
    if (code == CURLE_COULDNT_RESOLVE_HOST && url != NULL && append_lookup(url, out)) {
        return;
    }
    buf_append_str(out, transfer->reason[0] != '\0' ? transfer->reason : curl_easy_strerror(code));
}
