#include "checks/tls.h"

#include <arpa/inet.h>
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <stdlib.h>

#include "base/mem.h"
#include "checks/internal.h"

struct tls_stream {
    SSL *ssl;
    char reason[256];
};

static SSL_CTX *shared(struct checks *checks) {
    static const unsigned char protocols[] = {2, 'h', '2'};
    if (checks->tls == NULL) {
        SSL_CTX *context = SSL_CTX_new(TLS_client_method());
        if (context == NULL) {
            return NULL;
        }
        SSL_CTX_set_default_verify_paths(context);
        SSL_CTX_set_alpn_protos(context, protocols, sizeof protocols);
        SSL_CTX_set_mode(context,
                         SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
        checks->tls = context;
    }
    return checks->tls;
}

void tls_destroy(void *tls) {
    SSL_CTX_free(tls);
}

struct tls_stream *tls_stream_create(struct checks *checks, int fd, const char *name, bool verify) {
    SSL_CTX *context = shared(checks);
    SSL *ssl = context != NULL ? SSL_new(context) : NULL;
    struct in6_addr ip;
    bool literal = inet_pton(AF_INET, name, &ip) == 1 || inet_pton(AF_INET6, name, &ip) == 1;
    if (ssl == NULL || SSL_set_fd(ssl, fd) != 1 ||
        (!literal && SSL_set_tlsext_host_name(ssl, name) != 1) ||
        (literal ? X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(ssl), name)
                 : SSL_set1_host(ssl, name)) != 1) {
        SSL_free(ssl);
        return NULL;
    }
    SSL_set_verify(ssl, verify ? SSL_VERIFY_PEER : SSL_VERIFY_NONE, NULL);
    struct tls_stream *stream = mem_calloc(1, sizeof *stream);
    stream->ssl = ssl;
    return stream;
}

void tls_stream_destroy(struct tls_stream *stream) {
    if (stream != NULL) {
        SSL_free(stream->ssl);
        free(stream);
    }
}

static enum tls_result result_of(struct tls_stream *stream, int code) {
    switch (SSL_get_error(stream->ssl, code)) {
    case SSL_ERROR_WANT_READ:
        return TLS_WANT_READ;
    case SSL_ERROR_WANT_WRITE:
        return TLS_WANT_WRITE;
    case SSL_ERROR_ZERO_RETURN:
        return TLS_END;
    default:
        return TLS_FAILED;
    }
}

enum tls_result tls_stream_handshake(struct tls_stream *stream, const char **ret_reason) {
    const unsigned char *protocol = NULL;
    unsigned size = 0;
    ERR_clear_error();
    int code = SSL_connect(stream->ssl);
    if (code == 1) {
        SSL_get0_alpn_selected(stream->ssl, &protocol, &size);
        if (size == 2 && protocol[0] == 'h' && protocol[1] == '2') {
            return TLS_OK;
        }
        *ret_reason = "tls: the peer does not speak h2";
        return TLS_FAILED;
    }
    enum tls_result result = result_of(stream, code);
    if (result == TLS_WANT_READ || result == TLS_WANT_WRITE) {
        return result;
    }
    long verified = SSL_get_verify_result(stream->ssl);
    unsigned long number = ERR_peek_last_error();
    const char *text = number != 0 ? ERR_reason_error_string(number) : NULL;
    snprintf(stream->reason, sizeof stream->reason, "tls: %s",
             verified != X509_V_OK ? X509_verify_cert_error_string(verified)
             : text != NULL        ? text
                                   : "the peer closed the connection");
    *ret_reason = stream->reason;
    return TLS_FAILED;
}

enum tls_result tls_stream_send(struct tls_stream *stream, const void *data, size_t size,
                                size_t *ret_size) {
    ERR_clear_error();
    int code = SSL_write_ex(stream->ssl, data, size, ret_size);
    return code == 1 ? TLS_OK : result_of(stream, code);
}

enum tls_result tls_stream_recv(struct tls_stream *stream, void *data, size_t size,
                                size_t *ret_size) {
    ERR_clear_error();
    int code = SSL_read_ex(stream->ssl, data, size, ret_size);
    return code == 1 ? TLS_OK : result_of(stream, code);
}
