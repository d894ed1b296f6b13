/* Listening sockets that are a path in the file system (unix://). */
#ifndef NET_PATH_SOCKET_H
#define NET_PATH_SOCKET_H

#include <stdint.h>

#include "base/err.h"

struct path_socket {
    const char *path;
    int64_t user, group, mode; /* -1 = as the system makes it */
};

/* A non-blocking, close-on-exec socket that listens; a file that is there already is removed first.
 * -1 and a sentence on failure. Who closes it also unlinks the path. */
int path_socket_listen(const struct path_socket *socket, struct err_text *text);

#endif
