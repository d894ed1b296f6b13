/* A web server to be checked: answers GET /<n> with 200 and closes, and keeps when each n was asked
 * last. Prints its port, then, for each line on stdin, what it has seen since the line before:
 * "<requests> <different n> <longest gap ms>", a gap being the time between two requests of an n.
 */
#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MOST 100000

static long last[MOST], requests, longest;
static unsigned char seen[MOST];

static long now_ms(void) {
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void serve(int fd) {
    static const char answer[] =
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nConnection: close\r\n\r\nok\n";
    char request[4096];
    ssize_t n = recv(fd, request, sizeof request - 1, 0);
    if (n > 5) {
        request[n] = '\0';
        long id = atol(request + 5), at = now_ms();
        if (id >= 0 && id < MOST) {
            if (last[id] != 0 && at - last[id] > longest) {
                longest = at - last[id];
            }
            last[id] = at;
            seen[id] = 1;
        }
        requests++;
        (void)!send(fd, answer, sizeof answer - 1, MSG_NOSIGNAL);
        shutdown(fd, SHUT_WR);
    }
    close(fd);
}

static int report(void) {
    char line[64];
    if (fgets(line, sizeof line, stdin) == NULL) {
        return 0;
    }
    long different = 0;
    for (int i = 0; i < MOST; i++) {
        different += seen[i];
    }
    printf("%ld %ld %ld\n", requests, different, longest);
    fflush(stdout);
    memset(seen, 0, sizeof seen);
    requests = longest = 0;
    return 1;
}

static void watch(int epoll, int fd) {
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event);
}

int main(void) {
    struct sockaddr_in at = {.sin_family = AF_INET};
    socklen_t size = sizeof at;
    struct epoll_event ready[256];
    int listener = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0), epoll = epoll_create1(0);
    at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&at, size) != 0 || listen(listener, 4096) != 0 ||
        getsockname(listener, (struct sockaddr *)&at, &size) != 0) {
        return 1;
    }
    printf("%d\n", ntohs(at.sin_port));
    fflush(stdout);
    watch(epoll, listener);
    watch(epoll, STDIN_FILENO);
    for (;;) {
        int count = epoll_wait(epoll, ready, 256, -1), fd;
        for (int i = 0; i < count; i++) {
            if (ready[i].data.fd == listener) {
                while ((fd = accept4(listener, NULL, NULL, SOCK_NONBLOCK)) >= 0) {
                    watch(epoll, fd);
                }
            } else if (ready[i].data.fd != STDIN_FILENO) {
                serve(ready[i].data.fd);
            } else if (!report()) {
                return 0;
            }
        }
    }
}
