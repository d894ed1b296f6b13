/* TLS over a connected socket, for checks whose protocol libcurl does not leave to us once TLS has
 * agreed on it: it would start HTTP/2 itself. */
#ifndef CHECKS_TLS_H
#define CHECKS_TLS_H

#include <stdbool.h>
#include <stddef.h>

struct checks;
struct tls_stream;

enum tls_result {
    TLS_OK,
    TLS_WANT_READ, /* again when the socket is readable */
    TLS_WANT_WRITE,
    TLS_END, /* the peer has closed */
    TLS_FAILED
};

/* fd is non-blocking, stays the caller's and outlives the stream. name: asked for, and verified
 * against the system's roots if `verify`; an IP address is verified as such. Offers the protocol
 * "h2" alone. NULL: TLS does not start. */
struct tls_stream *tls_stream_create(struct checks *checks, int fd, const char *name, bool verify);
void tls_stream_destroy(struct tls_stream *stream); /* NULL is allowed */

/* TLS_OK once the peer is verified and speaks h2; TLS_FAILED sets *ret_reason, which is borrowed
 * until the stream is destroyed. */
enum tls_result tls_stream_handshake(struct tls_stream *stream, const char **ret_reason);
enum tls_result tls_stream_send(struct tls_stream *stream, const void *data, size_t size,
                                size_t *ret_size);
enum tls_result tls_stream_recv(struct tls_stream *stream, void *data, size_t size,
                                size_t *ret_size);

/* What the engine keeps for all streams. NULL is allowed. */
void tls_destroy(void *tls);

#endif
