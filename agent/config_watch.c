#include "agent/config_watch.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/inotify.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/container.h"
#include "base/mem.h"

#define COALESCE_MS 1000 /* contract 2.5 */
#define EVENTS (IN_CLOSE_WRITE | IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)
#define EVENT_BYTES 8192
/* What a mounted folder of an orchestrator replaces, instead of the files that lead through it. */
#define MOUNTED_LINK "..data"

/* One path. A file is watched by its folder: editors put a new one in its place. */
struct place {
    int descriptor;
    char *name; /* of the file; NULL: any of the folder */
};

struct config_watch {
    struct loop *loop;
    struct loop_poll *poll;
    struct loop_timer timer;
    bool waiting;
    void (*changed)(void *context);
    void *context;
    int fd;
    uint32_t count;
    struct place places[];
};

static void on_timer(struct loop_timer *timer) {
    struct config_watch *watch = CONTAINER_OF(timer, struct config_watch, timer);
    watch->waiting = false;
    watch->changed(watch->context);
}

static bool concerns(const struct config_watch *watch, const struct inotify_event *event) {
    bool found = (event->mask & IN_Q_OVERFLOW) != 0;
    for (uint32_t i = 0; !found && i < watch->count; i++) {
        const struct place *place = &watch->places[i];
        found =
            place->descriptor == event->wd &&
            (place->name == NULL || (event->len > 0 && (strcmp(event->name, place->name) == 0 ||
                                                        strcmp(event->name, MOUNTED_LINK) == 0)));
    }
    return found;
}

static void on_readable(void *context, int events) {
    struct config_watch *watch = context;
    _Alignas(struct inotify_event) char buffer[EVENT_BYTES];
    bool found = false;
    (void)events;
    for (ssize_t n; (n = read(watch->fd, buffer, sizeof buffer)) > 0;) {
        for (ssize_t at = 0; at < n;) {
            const struct inotify_event *event = (const struct inotify_event *)(void *)(buffer + at);
            found = concerns(watch, event) || found;
            at += (ssize_t)(sizeof *event + event->len);
        }
    }
    if (found && !watch->waiting) {
        watch->waiting = true;
        loop_timer_start(watch->loop, &watch->timer, loop_now_ms(watch->loop) + COALESCE_MS);
    }
}

static bool add_place(struct config_watch *watch, const char *path, struct err_text *text) {
    struct place *place = &watch->places[watch->count];
    struct stat info;
    const char *slash = strrchr(path, '/');
    char *folder;
    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode)) {
        folder = mem_strdup(path);
        place->name = NULL;
    } else {
        size_t size = slash != NULL ? (size_t)(slash - path) + 1 : 0;
        folder = slash != NULL ? mem_memdup(path, size + 1) : mem_strdup(".");
        if (slash != NULL) {
            folder[size] = '\0';
        }
        place->name = mem_strdup(slash != NULL ? slash + 1 : path);
    }
    place->descriptor = inotify_add_watch(watch->fd, folder, EVENTS);
    if (place->descriptor < 0) {
        err_set_errno(text, errno, "auto_reload_config: cannot watch %.300s", folder);
    }
    free(folder);
    watch->count++;
    return place->descriptor >= 0;
}

struct config_watch *config_watch_start(struct loop *loop, const struct str_list *paths,
                                        void (*changed)(void *context), void *context,
                                        struct err_text *text) {
    struct config_watch *watch =
        mem_calloc(1, sizeof *watch + paths->count * sizeof watch->places[0]);
    watch->loop = loop;
    watch->timer.run = on_timer;
    watch->changed = changed;
    watch->context = context;
    watch->fd = inotify_init1(IN_NONBLOCK | IN_CLOEXEC);
    bool good = watch->fd >= 0;
    if (!good) {
        err_set_errno(text, errno, "auto_reload_config: cannot watch files");
    }
    for (uint32_t i = 0; good && i < paths->count; i++) {
        good = add_place(watch, paths->v[i], text);
    }
    if (!good) {
        config_watch_stop(watch);
        return NULL;
    }
    watch->poll = loop_poll_create(loop, watch->fd, on_readable, watch);
    loop_poll_set(watch->poll, LOOP_READABLE);
    return watch;
}

void config_watch_stop(struct config_watch *watch) {
    if (watch == NULL) {
        return;
    }
    loop_timer_stop(watch->loop, &watch->timer);
    if (watch->poll != NULL) {
        loop_poll_destroy(watch->poll);
    }
    if (watch->fd >= 0) {
        close(watch->fd);
    }
    for (uint32_t i = 0; i < watch->count; i++) {
        free(watch->places[i].name);
    }
    free(watch);
}
