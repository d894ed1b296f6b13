/* The limit to compare with: libmicrohttpd alone, with the flags and thread count of our server,
 * answering every request with the bytes of one file. */
#include <microhttpd.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static struct MHD_Response *response;

static enum MHD_Result on_request(void *context, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **con_cls) {
    static int seen;
    (void)context;
    (void)url;
    (void)method;
    (void)version;
    (void)upload;
    if (*con_cls == NULL) {
        *con_cls = &seen;
        return MHD_YES;
    }
    *upload_size = 0;
    return MHD_queue_response(connection, MHD_HTTP_OK, response);
}

int main(int argc, char **argv) {
    static char body[1024 * 1024];
    if (argc != 3) {
        fprintf(stderr, "usage: bare_httpd PORT FILE\n");
        return 2;
    }
    FILE *file = fopen(argv[2], "rb");
    if (file == NULL) {
        perror(argv[2]);
        return 1;
    }
    size_t size = fread(body, 1, sizeof body, file);
    fclose(file);
    response = MHD_create_response_from_buffer(size, body, MHD_RESPMEM_PERSISTENT);
    MHD_add_response_header(response, "Content-Type", "application/json");
    MHD_add_response_header(response, "Vary", "Accept-Encoding");
    MHD_add_response_header(response, "X-Consul-Default-ACL-Policy", "allow");
    MHD_add_response_header(response, "X-Consul-Index", "1000");
    MHD_add_response_header(response, "X-Consul-KnownLeader", "true");
    MHD_add_response_header(response, "X-Consul-LastContact", "0");
    MHD_add_response_header(response, "X-Consul-Effective-Consistency", "leader");
    MHD_add_response_header(response, "X-Consul-Query-Backend", "blocking-query");
    struct MHD_Daemon *daemon = MHD_start_daemon(
        MHD_USE_EPOLL_INTERNAL_THREAD | MHD_USE_TURBO, (uint16_t)atoi(argv[1]), NULL, NULL,
        on_request, NULL, MHD_OPTION_THREAD_POOL_SIZE, 2u, MHD_OPTION_CONNECTION_MEMORY_LIMIT,
        (size_t)8192, MHD_OPTION_CONNECTION_LIMIT, 20000u, MHD_OPTION_END);
    if (daemon == NULL) {
        fprintf(stderr, "cannot listen\n");
        return 1;
    }
    for (;;) {
        pause();
    }
}
