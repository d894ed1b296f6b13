/* Transfers of libcurl on the engine's loop: one multi handle, made at the first use. Everything a
 * check must never do is switched off here: other protocols than http and https, proxies from the
 * environment, signals, reuse of connections, waiting for a resolver thread. */
#ifndef CHECKS_TRANSFER_H
#define CHECKS_TRANSFER_H

#include <curl/curl.h>

#include "base/buf.h"
#include "checks/internal.h"
#include "net/addr.h"

struct transfer {
    CURL *easy;
    struct transfers *transfers;
    void (*done)(struct transfer *transfer, CURLcode code); /* the transfer is still open */
    char reason[CURL_ERROR_SIZE];
    struct addr peer; /* tried last; family 0 = none */
    bool datagram;    /* connect a UDP socket: for the sake of the resolver */
};

/* NULL: libcurl does not start. */
struct transfers *transfers_create(struct loop *loop);
/* All transfers are closed. NULL is allowed. */
void transfers_destroy(struct transfers *transfers);

/* Makes the easy handle with the options that all transfers share; the caller adds its own. */
void transfer_open(struct transfers *transfers, struct transfer *transfer, int64_t timeout_ms);
/* done is called once, from the loop, never from inside. */
void transfer_start(struct transfer *transfer);
/* Aborts a transfer that runs. */
void transfer_close(struct transfer *transfer);

/* Points the transfer to url; when server_name is not "", TLS asks for and verifies that name while
 * the connection and the Host header stay those of the url. ret_connect_to and ret_host (a "Host:"
 * header line) are lists that must live as long as the transfer, NULL when not needed. */
void transfer_set_url(struct transfer *transfer, const char *url, const char *server_name,
                      struct curl_slist **ret_connect_to, char **ret_host);

/* Before transfer_start: only connects, and keeps the connection. */
void transfer_connect_only(struct transfer *transfer);
/* Once that is done: another descriptor of the connection's socket, for the caller to watch and
 * close; curl itself may still watch the first one. -1 on failure. */
int transfer_dup_socket(const struct transfer *transfer);

/* Splits "host:port", where an IPv6 address stands in brackets; false: it is not that, or holds
 * what would change the meaning of a url. */
#define TARGET_HOST_BYTES 512
bool target_split(const char *address, char ret_host[TARGET_HOST_BYTES], uint16_t *ret_port);

/* Why a connection failed, in the words of Go's net package, which operators know from this field:
 * `dial tcp 127.0.0.1:1: connect: connection refused`. */
void transfer_append_reason(const struct transfer *transfer, CURLcode code, struct buf *out);
/* `dial tcp <addr>: connect: <number's text>`. */
void transfer_append_dial(const struct addr *peer, int number, struct buf *out);

/* The engine's transfers, made when they are missing; NULL: libcurl does not start. */
struct transfers *transfers_get(struct checks *checks);

#endif
