#include "agent/files.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <openssl/sha.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/container.h"
#include "base/crc32c.h"
#include "base/decode.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/thread.h"
#include "net/loop.h"
#include "store/file.h"
#include "store/replace.h"

#define MODULE "agent"
#define PATH_BYTES 4096
#define STOP_MS 5000
#define SEAL_FORMAT "cairn 1 crc32c %08x\n"
#define SEAL_BYTES 24

enum folder { FOLDER_SERVICES, FOLDER_CHECKS, FOLDER_STATES, FOLDER_COUNT };

static const char *const folder_names[FOLDER_COUNT] = {"services", "checks", "checks/state"};

struct job {
    struct job *next;
    struct loop_task task;
    struct loop *loop;
    char *path;
    char *content; /* NULL: remove the file */
    size_t size;
    enum folder folder;
    files_done_fn *done;
    void *context;
    enum err err;
    struct err_text text;
};

struct files {
    struct loop *loop;
    struct log *log;
    char data_dir[PATH_BYTES];
    struct thread thread; /* its mutex guards what follows */
    struct job *first, **last;
    bool stopping;
};

/* ---- the thread ---- */

static void job_back(struct loop_task *task) {
    struct job *job = CONTAINER_OF(task, struct job, task);
    job->done(job->context, job->err, &job->text);
    free(job);
}

static void run_job(struct job *job) {
    if (job->content != NULL) {
        job->err = store_replace_file(job->path, job->content, job->size, &job->text);
    } else if (unlink(job->path) != 0 && errno != ENOENT) {
        job->err = err_set_errno(&job->text, errno, "cannot remove %.300s", job->path);
    }
}

static enum err sync_folder(const struct files *files, enum folder folder, struct err_text *text) {
    char path[PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s/%s", files->data_dir, folder_names[folder]);
    return store_directory_sync(path, text);
}

static void end_job(struct files *files, struct job *job) {
    if (job->err != ERR_OK) {
        log_write(files->log, LOG_ERROR, MODULE, "failed to keep a registration: error=\"%s\"",
                  job->text.s);
    }
    free(job->path);
    free(job->content);
    if (job->done != NULL) {
        job->task.run = job_back;
        loop_post(job->loop, &job->task);
    } else {
        free(job);
    }
}

/* All that waited: each file is synced, then each folder once, then all are answered. */
static void run_jobs(struct files *files, struct job *first) {
    bool changed[FOLDER_COUNT] = {false};
    enum err folder_err[FOLDER_COUNT] = {ERR_OK};
    struct err_text folder_text[FOLDER_COUNT];
    for (struct job *job = first; job != NULL; job = job->next) {
        run_job(job);
        changed[job->folder] = true;
    }
    for (int folder = 0; folder < FOLDER_COUNT; folder++) {
        if (changed[folder]) {
            folder_err[folder] = sync_folder(files, folder, &folder_text[folder]);
        }
    }
    while (first != NULL) {
        struct job *job = first;
        first = job->next;
        if (job->err == ERR_OK && folder_err[job->folder] != ERR_OK) {
            job->err = folder_err[job->folder];
            job->text = folder_text[job->folder];
        }
        end_job(files, job);
    }
}

static void *write_files(void *context) {
    struct files *files = context;
    pthread_mutex_lock(&files->thread.mutex);
    for (;;) {
        struct job *job = files->first;
        if (job == NULL && files->stopping) {
            break;
        }
        if (job == NULL) {
            pthread_cond_wait(&files->thread.wake, &files->thread.mutex);
            continue;
        }
        files->first = NULL;
        files->last = &files->first;
        pthread_mutex_unlock(&files->thread.mutex);
        run_jobs(files, job);
        pthread_mutex_lock(&files->thread.mutex);
    }
    pthread_mutex_unlock(&files->thread.mutex);
    thread_end(&files->thread);
    return NULL;
}

static void file_path(const struct files *files, enum folder folder, const char *id,
                      char out[PATH_BYTES]) {
    unsigned char digest[SHA256_DIGEST_LENGTH];
    SHA256((const unsigned char *)id, strlen(id), digest);
    int used = snprintf(out, PATH_BYTES, "%.3900s/%s/", files->data_dir, folder_names[folder]);
    for (int i = 0; i < SHA256_DIGEST_LENGTH; i++) {
        used += snprintf(out + used, PATH_BYTES - (size_t)used, "%02x", digest[i]);
    }
}

/* A line with a checksum before the JSON: a flipped bit must not become somebody's port. */
static char *seal(struct buf *json, size_t *ret_size) {
    struct buf out;
    ASSERT(!json->failed); /* a registration's body is smaller, see the limit */
    buf_init(&out, LIMIT_OWN_FILE_BYTES + SEAL_BYTES);
    buf_append_format(&out, SEAL_FORMAT, crc32c(0, json->data, json->count));
    buf_append(&out, json->data, json->count);
    buf_clear(json);
    return buf_take(&out, ret_size);
}

/* The JSON behind a right seal; NULL. */
static const char *unseal(const struct buf *content, size_t *ret_size) {
    char line[SEAL_BYTES + 1];
    if (content->count <= SEAL_BYTES) {
        return NULL;
    }
    const char *json = content->data + SEAL_BYTES;
    *ret_size = content->count - SEAL_BYTES;
    snprintf(line, sizeof line, SEAL_FORMAT, crc32c(0, json, *ret_size));
    return memcmp(line, content->data, SEAL_BYTES) == 0 ? json : NULL;
}

static void enqueue(struct files *files, enum folder folder, const char *id, struct buf *content,
                    files_done_fn *done, void *context) {
    char path[PATH_BYTES];
    struct job *job = mem_calloc(1, sizeof *job);
    file_path(files, folder, id, path);
    job->loop = files->loop;
    job->folder = folder;
    job->path = mem_strdup(path);
    job->content = content != NULL ? seal(content, &job->size) : NULL;
    job->done = done;
    job->context = context;
    pthread_mutex_lock(&files->thread.mutex);
    *files->last = job;
    files->last = &job->next;
    pthread_cond_signal(&files->thread.wake);
    pthread_mutex_unlock(&files->thread.mutex);
}

/* ---- life ---- */

struct files *files_create(const char *data_dir, struct loop *loop, struct log *log,
                           struct err_text *text) {
    struct files *files = mem_calloc(1, sizeof *files);
    files->loop = loop;
    files->log = log;
    files->last = &files->first;
    snprintf(files->data_dir, sizeof files->data_dir, "%s", data_dir);
    for (int folder = 0; folder < FOLDER_COUNT; folder++) {
        char path[PATH_BYTES + 16];
        snprintf(path, sizeof path, "%s/%s", data_dir, folder_names[folder]);
        if (mkdir(path, 0700) != 0 && errno != EEXIST) {
            err_set_errno(text, errno, "cannot create %.300s", path);
            free(files);
            return NULL;
        }
    }
    thread_start(&files->thread, write_files, files);
    return files;
}

bool files_destroy(struct files *files) {
    if (files == NULL) {
        return true;
    }
    pthread_mutex_lock(&files->thread.mutex);
    files->stopping = true;
    if (!thread_join_within(&files->thread, STOP_MS)) {
        return false;
    }
    free(files);
    return true;
}

/* ---- saving ---- */

static void write_service(struct buf *out, const struct catalog_service *service) {
    struct json json;
    struct service_definition definition = {.service = *service, .token = ""};
    json_init(&json, out, false);
    definition_write_service(&json, &definition);
}

static void write_check(struct buf *out, const struct local *local, const char *id) {
    struct json json;
    json_init(&json, out, false);
    const struct check_definition *definition = local_get_definition(local, id);
    json_object_begin(&json);
    if (definition->maintenance) {
        json_member_str(&json, "MaintenanceOf", definition->service_id); /* "" = of the node */
        json_member_str(&json, "Reason", definition->notes);
        json_member_str(&json, "Token", definition->token);
        json_object_end(&json);
        return;
    }
    json_key(&json, "Check");
    definition_write_check(&json, definition);
    json_member_bool(&json, "Bare", local_check_is_bare(local, id));
    json_object_end(&json);
}

void files_save(struct files *files, const struct local *local, enum local_kind kind,
                const char *id, files_done_fn *done, void *context) {
    const struct local_view *view = local_next_view(local);
    struct buf out;
    buf_init(&out, LIMIT_OWN_FILE_BYTES);
    if (kind == LOCAL_SERVICE) {
        const struct catalog_service *service = local_get_service(view, id);
        if (service != NULL) {
            write_service(&out, service);
        }
        enqueue(files, FOLDER_SERVICES, id, service != NULL ? &out : NULL, done, context);
        return;
    }
    bool present = local_get_check(view, id) != NULL;
    if (present) {
        write_check(&out, local, id);
    } else {
        enqueue(files, FOLDER_STATES, id, NULL, NULL, NULL);
    }
    enqueue(files, FOLDER_CHECKS, id, present ? &out : NULL, done, context);
}

void files_forget(struct files *files, enum local_kind kind, const char *id) {
    enqueue(files, kind == LOCAL_SERVICE ? FOLDER_SERVICES : FOLDER_CHECKS, id, NULL, NULL, NULL);
}

void files_save_state(struct files *files, const char *check_id, const char *status,
                      const char *output, int64_t expires_wall_ms, files_done_fn *done,
                      void *context) {
    struct buf out;
    struct json json;
    buf_init(&out, LIMIT_OWN_FILE_BYTES);
    json_init(&json, &out, false);
    json_object_begin(&json);
    json_member_str(&json, "CheckID", check_id);
    json_member_str(&json, "Output", output);
    json_member_str(&json, "Status", status);
    json_key(&json, "ExpiresMs");
    json_i64(&json, expires_wall_ms);
    json_object_end(&json);
    enqueue(files, FOLDER_STATES, check_id, &out, done, context);
}

/* ---- loading ---- */

struct state_file {
    const char *id, *output, *status;
    int64_t expires_wall_ms;
};

static const struct decode_field state_fields[] = {
    DECODE_FIELD(struct state_file, id, "CheckID", DECODE_STR),
    DECODE_FIELD(struct state_file, output, "Output", DECODE_STR),
    DECODE_FIELD(struct state_file, status, "Status", DECODE_STR),
    DECODE_FIELD(struct state_file, expires_wall_ms, "ExpiresMs", DECODE_INT),
};

static const struct decode_spec state_spec = {"state", sizeof(struct state_file), state_fields, 4,
                                              false};

struct check_file {
    const char *check; /* JSON text */
    bool bare;
    const char *maintenance_of, *reason, *token; /* instead: maintenance mode */
};

static const struct decode_field check_file_fields[] = {
    DECODE_FIELD(struct check_file, check, "Check", DECODE_RAW),
    DECODE_FIELD(struct check_file, bare, "Bare", DECODE_BOOL),
    DECODE_FIELD(struct check_file, maintenance_of, "MaintenanceOf", DECODE_STR),
    DECODE_FIELD(struct check_file, reason, "Reason", DECODE_STR),
    DECODE_FIELD(struct check_file, token, "Token", DECODE_STR),
};

static const struct decode_spec check_file_spec = {"check", sizeof(struct check_file),
                                                   check_file_fields, 5, false};

struct loading {
    struct local *local;
    struct arena *arena;
    void (*visit)(const char *check_id, const char *status, const char *output,
                  int64_t expires_wall_ms, void *context);
    void *context;
    unsigned unreadable;
};

static enum err load_service(const struct loading *loading, const char *json, size_t size,
                             struct err_text *text) {
    struct service_definition service;
    enum err err = definition_parse_service(json, size, loading->arena, &service, text);
    if (err == ERR_OK) {
        local_set_service(loading->local, &service, false);
    }
    return err;
}

static enum err load_check(const struct loading *loading, const char *json, size_t size,
                           struct err_text *text) {
    struct check_file file = {0};
    struct check_definition check;
    enum err err =
        decode_json(&check_file_spec, DECODE_BODY, json, size, loading->arena, &file, text);
    if (err == ERR_OK && file.maintenance_of != NULL) {
        check = definition_make_maintenance(file.maintenance_of, str_or_empty(file.reason),
                                            loading->arena);
        check.token = str_or_empty(file.token);
    } else if (err == ERR_OK && file.check == NULL) {
        err = err_set(text, ERR_INVALID, "no member Check");
    } else if (err == ERR_OK) {
        err = definition_parse_check(file.check, strlen(file.check), loading->arena, &check, text);
    }
    if (err != ERR_OK || local_is_of_file(loading->local, LOCAL_CHECK, check.id)) {
        return err;
    }
    if (local_set_check(loading->local, &check, file.bare) != ERR_OK) {
        err = err_set(text, ERR_NOT_FOUND, "its service is gone");
    }
    return err;
}

static enum err load_state(const struct loading *loading, const char *json, size_t size,
                           struct err_text *text) {
    struct state_file file = {"", "", "", 0};
    enum err err = decode_json(&state_spec, DECODE_BODY, json, size, loading->arena, &file, text);
    if (err == ERR_OK) {
        loading->visit(file.id, file.status, file.output, file.expires_wall_ms, loading->context);
    }
    return err;
}

static enum err (*const loaders[FOLDER_COUNT])(const struct loading *loading, const char *json,
                                               size_t size, struct err_text *text) = {
    load_service, load_check, load_state};

static enum err read_file(int folder_fd, const char *name, struct buf *out, struct err_text *text) {
    int fd = openat(folder_fd, name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (fd < 0) {
        int number = errno;
        enum err err = err_set_errno(text, number, "cannot read it");
        return number == ENOENT ? ERR_NOT_FOUND : err;
    }
    ssize_t n;
    do {
        char *to = buf_reserve(out, 4096);
        n = to != NULL ? read(fd, to, 4096) : 0;
        out->count += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    int number = errno;
    close(fd);
    return n < 0         ? err_set_errno(text, number, "cannot read it")
           : out->failed ? err_set(text, ERR_TOO_LARGE, "it is too large")
                         : ERR_OK;
}

static void load_folder(struct files *files, enum folder folder, struct loading *loading) {
    char path[PATH_BYTES + 16];
    snprintf(path, sizeof path, "%s/%s", files->data_dir, folder_names[folder]);
    DIR *dir = opendir(path);
    if (dir == NULL) {
        return;
    }
    struct buf content;
    struct dirent *at;
    buf_init(&content, LIMIT_OWN_FILE_BYTES + SEAL_BYTES);
    while ((at = readdir(dir)) != NULL) {
        if (strlen(at->d_name) != 2 * SHA256_DIGEST_LENGTH) {
            continue; /* folders, and what a crash left of a half-written file */
        }
        struct err_text text = {""};
        buf_reset(&content);
        size_t size = 0;
        enum err err = read_file(dirfd(dir), at->d_name, &content, &text);
        if (err == ERR_NOT_FOUND) {
            continue; /* forgotten since the folder was listed: a file defines it now */
        }
        struct arena arena;
        arena_init(&arena);
        loading->arena = &arena;
        if (err == ERR_OK) {
            const char *json = unseal(&content, &size);
            err = json != NULL ? loaders[folder](loading, json, size, &text)
                               : err_set(&text, ERR_CORRUPT, "its checksum is wrong");
        }
        if (err == ERR_NOT_FOUND && folder == FOLDER_CHECKS && loading->unreadable == 0) {
            /* The agent was ended between the two files of a deregistration. Left there, the check
             * would come back with the next service of that id. */
            unlinkat(dirfd(dir), at->d_name, 0);
        } else if (err != ERR_OK) {
            loading->unreadable++;
        }
        if (err != ERR_OK) {
            log_write(files->log, LOG_ERROR, MODULE,
                      "skipping a kept registration: path=%s/%s error=\"%s\"", path, at->d_name,
                      text.s);
        }
        arena_clear(&arena);
    }
    buf_clear(&content);
    closedir(dir);
}

static unsigned load(struct files *files, enum folder folder, struct loading loading) {
    load_folder(files, folder, &loading);
    return loading.unreadable;
}

unsigned files_load_services(struct files *files, struct local *local) {
    return load(files, FOLDER_SERVICES, (struct loading){.local = local});
}

unsigned files_load_checks(struct files *files, struct local *local) {
    return load(files, FOLDER_CHECKS, (struct loading){.local = local});
}

unsigned files_load_states(struct files *files,
                           void (*visit)(const char *check_id, const char *status,
                                         const char *output, int64_t expires_wall_ms,
                                         void *context),
                           void *context) {
    return load(files, FOLDER_STATES, (struct loading){.visit = visit, .context = context});
}
