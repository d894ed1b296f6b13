/* Many blocking queries from one process. Reads commands on stdin, a line each:
 *
 *   ask INDEX   sends the query on every connection; answers "asked"
 *   take        waits until every connection has its whole answer; answers with the monotonic time
 *               of the last one, in seconds
 *   count       answers with the number of connections that have something to read
 */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

struct watcher {
    int fd;
    long left; /* bytes of the answer still to come; -1 = its head is not read yet */
};

static struct watcher *watchers;
static int count, epoll;
static const char *path;

static _Noreturn void fail(const char *what) {
    fprintf(stderr, "watch_client: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void open_all(int port) {
    struct sockaddr_in to = {.sin_family = AF_INET,
                             .sin_port = htons((uint16_t)port),
                             .sin_addr = {htonl(INADDR_LOOPBACK)}};
    for (int i = 0; i < count; i++) {
        watchers[i].fd = socket(AF_INET, SOCK_STREAM, 0);
        if (watchers[i].fd < 0 ||
            connect(watchers[i].fd, (struct sockaddr *)&to, sizeof to) != 0) {
            fail("connect");
        }
        struct epoll_event event = {.events = EPOLLIN, .data.u32 = (uint32_t)i};
        epoll_ctl(epoll, EPOLL_CTL_ADD, watchers[i].fd, &event);
    }
}

static void ask(const char *index) {
    char request[512];
    int size = snprintf(request, sizeof request,
                        "GET %s?index=%s&wait=600s HTTP/1.1\r\nHost: x\r\n\r\n", path, index);
    for (int i = 0; i < count; i++) {
        watchers[i].left = -1;
        if (send(watchers[i].fd, request, (size_t)size, 0) != size) {
            fail("send");
        }
    }
    printf("asked\n");
}

/* True once the whole answer is there. */
static bool take_one(struct watcher *watcher) {
    static char data[1024 * 1024];
    ssize_t n = recv(watcher->fd, data, sizeof data - 1, 0);
    if (n <= 0) {
        fail("recv");
    }
    data[n] = '\0';
    if (watcher->left < 0) {
        const char *length = strstr(data, "Content-Length: ");
        const char *end = strstr(data, "\r\n\r\n");
        if (strncmp(data, "HTTP/1.1 200", 12) != 0 || length == NULL || end == NULL) {
            fail("an answer that is none");
        }
        watcher->left = atol(length + 16) - (data + n - (end + 4));
    } else {
        watcher->left -= n;
    }
    return watcher->left == 0;
}

static void take(void) {
    struct epoll_event events[512];
    struct timespec now = {0, 0};
    for (int waiting = count; waiting > 0;) {
        int ready = epoll_wait(epoll, events, 512, 60000);
        if (ready <= 0) {
            errno = ETIMEDOUT;
            fail("not all were told");
        }
        for (int i = 0; i < ready; i++) {
            waiting -= take_one(&watchers[events[i].data.u32]);
        }
    }
    clock_gettime(CLOCK_MONOTONIC, &now);
    printf("%ld.%09ld\n", (long)now.tv_sec, now.tv_nsec);
}

static void count_ready(void) {
    struct epoll_event *events = calloc((size_t)count, sizeof *events);
    printf("%d\n", epoll_wait(epoll, events, count, 0));
    free(events);
}

int main(int argc, char **argv) {
    if (argc != 4) {
        fprintf(stderr, "usage: watch_client PORT PATH CONNECTIONS\n");
        return 2;
    }
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    path = argv[2];
    count = atoi(argv[3]);
    watchers = calloc((size_t)count, sizeof *watchers);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    open_all(atoi(argv[1]));
    char line[64];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\n")] = '\0';
        if (strncmp(line, "ask ", 4) == 0) {
            ask(line + 4);
        } else if (strcmp(line, "take") == 0) {
            take();
        } else if (strcmp(line, "count") == 0) {
            count_ready();
        }
        fflush(stdout);
    }
    return 0;
}
