#include "net/path_socket.h"

#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

#define BACKLOG 4096

static bool own(const struct path_socket *config) {
    if ((config->user >= 0 || config->group >= 0) &&
        chown(config->path, (uid_t)config->user, (gid_t)config->group) != 0) {
        return false;
    }
    return config->mode < 0 || chmod(config->path, (mode_t)config->mode) == 0;
}

int path_socket_listen(const struct path_socket *config, struct err_text *text) {
    struct sockaddr_un addr;
    memset(&addr, 0, sizeof addr);
    addr.sun_family = AF_UNIX;
    if (strlen(config->path) >= sizeof addr.sun_path) {
        err_set(text, ERR_INVALID, "listen unix %s: the path is too long", config->path);
        return -1;
    }
    strcpy(addr.sun_path, config->path);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0) {
        err_set_errno(text, errno, "listen unix %s", config->path);
        return -1;
    }
    struct stat info;
    if (lstat(config->path, &info) == 0 && S_ISSOCK(info.st_mode)) {
        unlink(config->path); /* of an agent that died; anything else there is not ours */
    }
    if (bind(fd, (struct sockaddr *)&addr, sizeof addr) != 0 || !own(config) ||
        listen(fd, BACKLOG) != 0) {
        err_set_errno(text, errno, "listen unix %s", config->path);
        close(fd);
        return -1;
    }
    return fd;
}
