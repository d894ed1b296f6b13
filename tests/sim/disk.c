#include "tests/sim/disk.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "store/file.h"

#define SECTOR 512
#define FILES_MAX 256
#define OPERATIONS_MAX 256
#define PATH_BYTES 128

struct inode {
    uint8_t *cache;
    uint8_t *durable;
    bool *dirty; /* a sector */
    uint64_t capacity;
    uint64_t size;
    uint64_t durable_size;
    bool locked;
};

struct store_file {
    struct inode *inode;
    bool holds_lock;
    uint32_t life; /* of the process that opened it */
};

struct name {
    char path[PATH_BYTES];
    struct inode *inode;
};

/* Names of files. Directories are not modelled: they are there. */
struct names {
    struct name v[FILES_MAX];
    uint32_t count;
};

/* A change of names that has not been synced: path gets inode (NULL: goes), `gone` goes. */
struct operation {
    char path[PATH_BYTES];
    struct inode *inode;
    char gone[PATH_BYTES]; /* "": nothing */
};

struct disk {
    struct rand *rand;
    struct names cache;
    struct names durable;
    struct operation pending[OPERATIONS_MAX];
    uint32_t pending_count;
    struct inode **inodes; /* all that ever were; freed at the end */
    uint32_t inode_count;
    struct disk_faults faults;
    uint64_t calls_left;
    uint32_t life;
    bool crashed;
    bool sync_failed;
    bool write_failed;
};

static struct disk *disk; /* the one in use */
static void (*pause_before)(enum disk_call call);

void disk_set_pause(void (*pause)(enum disk_call call)) {
    pause_before = pause;
}

/* Another disk may be in use meanwhile, but is not when it returns. */
static void pass_time(enum disk_call call) {
    if (pause_before != NULL) {
        pause_before(call);
    }
}

static bool chance(uint32_t per_1000) {
    return rand_below(disk->rand, 1000) < per_1000;
}

struct disk *disk_create(struct rand *rand) {
    disk = mem_calloc(1, sizeof *disk);
    disk->rand = rand;
    return disk;
}

void disk_use(struct disk *other) {
    disk = other;
}

void disk_destroy(void) {
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        free(disk->inodes[i]->cache);
        free(disk->inodes[i]->durable);
        free(disk->inodes[i]->dirty);
        free(disk->inodes[i]);
    }
    free(disk->inodes);
    free(disk);
    disk = NULL;
}

void disk_wipe(void) {
    disk->cache = disk->durable = (struct names){0};
    disk->pending_count = 0;
}

void disk_set_faults(const struct disk_faults *faults) {
    disk->faults = *faults;
    disk->calls_left = faults->crash_after_calls;
}

void disk_crash(void) {
    disk->crashed = true;
}

bool disk_has_crashed(void) {
    return disk->crashed;
}

bool disk_sync_has_failed(void) {
    return disk->sync_failed;
}

bool disk_write_has_failed(void) {
    return disk->write_failed;
}

static enum err refuse(struct err_text *text) {
    return err_set(text, ERR_IO, "the simulated machine has crashed");
}

/* True: this very call is the one at which the machine stops, half done. */
static bool crash_now(void) {
    if (disk->calls_left > 0 && --disk->calls_left == 0) {
        disk->crashed = true;
    }
    return disk->crashed;
}

static struct name *find_name(struct names *names, const char *path) {
    for (uint32_t i = 0; i < names->count; i++) {
        if (strcmp(names->v[i].path, path) == 0) {
            return &names->v[i];
        }
    }
    return NULL;
}

static void set_name(struct names *names, const char *path, struct inode *inode) {
    struct name *name = find_name(names, path);
    if (inode == NULL) {
        if (name != NULL) {
            *name = names->v[--names->count];
        }
        return;
    }
    if (name == NULL) {
        ASSERT(names->count < FILES_MAX && strlen(path) < PATH_BYTES);
        name = &names->v[names->count++];
        memcpy(name->path, path, strlen(path) + 1);
    }
    name->inode = inode;
}

static void apply_operation(struct names *names, const struct operation *operation) {
    if (operation->gone[0] != '\0') {
        set_name(names, operation->gone, NULL);
    }
    if (operation->path[0] != '\0') {
        set_name(names, operation->path, operation->inode);
    }
}

static void change_names(const char *path, struct inode *inode, const char *gone) {
    struct operation operation = {.inode = inode};
    if (path != NULL) {
        memcpy(operation.path, path, strlen(path) + 1);
    }
    if (gone != NULL) {
        memcpy(operation.gone, gone, strlen(gone) + 1);
    }
    apply_operation(&disk->cache, &operation);
    if (disk->pending_count == OPERATIONS_MAX) {
        apply_operation(&disk->durable, &disk->pending[0]);
        memmove(disk->pending, disk->pending + 1, sizeof disk->pending - sizeof disk->pending[0]);
        disk->pending_count--;
    }
    disk->pending[disk->pending_count++] = operation;
}

static struct inode *add_inode(void) {
    disk->inodes = mem_realloc(disk->inodes, (disk->inode_count + 1) * sizeof *disk->inodes);
    return disk->inodes[disk->inode_count++] = mem_calloc(1, sizeof(struct inode));
}

static void grow(struct inode *inode, uint64_t size) {
    if (size <= inode->capacity) {
        return;
    }
    uint64_t capacity = (size + 16 * SECTOR) / SECTOR * SECTOR * 5 / 4 / SECTOR * SECTOR;
    inode->cache = mem_realloc(inode->cache, capacity);
    inode->durable = mem_realloc(inode->durable, capacity);
    inode->dirty = mem_realloc(inode->dirty, capacity / SECTOR);
    memset(inode->cache + inode->capacity, 0, capacity - inode->capacity);
    memset(inode->durable + inode->capacity, 0, capacity - inode->capacity);
    memset(inode->dirty + inode->capacity / SECTOR, 0, (capacity - inode->capacity) / SECTOR);
    inode->capacity = capacity;
}

static uint64_t sectors(const struct inode *inode) {
    return (inode->size + SECTOR - 1) / SECTOR;
}

/* Each dirty sector reaches the disk with this chance. */
static void flush_some(struct inode *inode, uint32_t per_1000) {
    for (uint64_t i = 0; i < sectors(inode); i++) {
        if (inode->dirty[i] && chance(per_1000)) {
            memcpy(inode->durable + i * SECTOR, inode->cache + i * SECTOR, SECTOR);
        }
    }
    if (chance(per_1000)) {
        inode->durable_size = inode->size;
    }
}

void disk_restart(bool power_lost) {
    static const uint32_t odds[] = {0, 100, 500, 900, 1000};
    disk->crashed = false;
    disk->sync_failed = false;
    disk->write_failed = false;
    disk->faults = (struct disk_faults){0};
    disk->calls_left = 0;
    disk->life++;
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        disk->inodes[i]->locked = false;
    }
    if (!power_lost) {
        return;
    }
    uint32_t kept = odds[rand_below(disk->rand, 5)];
    for (uint32_t i = 0; i < disk->inode_count; i++) {
        struct inode *inode = disk->inodes[i];
        if (inode->capacity == 0) {
            continue;
        }
        flush_some(inode, kept);
        uint64_t all = sectors(inode);
        inode->size = inode->durable_size;
        /* What lies behind a size that was lost reads as zeros when the file grows again. */
        memset(inode->durable + inode->size, 0, inode->capacity - inode->size);
        memcpy(inode->cache, inode->durable, inode->capacity);
        memset(inode->dirty, 0, all);
    }
    bool in_order = chance(500);
    for (uint32_t i = 0; i < disk->pending_count; i++) {
        if (chance(kept)) {
            apply_operation(&disk->durable, &disk->pending[i]);
        } else if (in_order) {
            break;
        }
    }
    disk->pending_count = 0;
    disk->cache = disk->durable;
}

bool disk_find(const char *path_prefix, const void *bytes, size_t size, struct disk_place *ret) {
    for (uint32_t i = 0; i < disk->cache.count; i++) {
        struct inode *inode = disk->cache.v[i].inode;
        if (strncmp(disk->cache.v[i].path, path_prefix, strlen(path_prefix)) != 0 ||
            inode->size == 0) {
            continue;
        }
        uint8_t *at = memmem(inode->cache, inode->size, bytes, size);
        if (at != NULL) {
            *ret = (struct disk_place){.inode = inode, .offset = (uint64_t)(at - inode->cache)};
            return true;
        }
    }
    return false;
}

bool disk_find_offset(const char *path, uint64_t offset, struct disk_place *ret) {
    struct name *name = find_name(&disk->cache, path);
    if (name == NULL || offset >= name->inode->size) {
        return false;
    }
    *ret = (struct disk_place){.inode = name->inode, .offset = offset};
    return true;
}

void disk_peek(const struct disk_place *place, void *bytes, size_t size) {
    struct inode *inode = place->inode;
    ASSERT(place->offset + size <= inode->size);
    memcpy(bytes, inode->cache + place->offset, size);
}

void disk_poke(const struct disk_place *place, const void *bytes, size_t size) {
    struct inode *inode = place->inode;
    ASSERT(place->offset + size <= inode->size);
    memcpy(inode->cache + place->offset, bytes, size);
    memcpy(inode->durable + place->offset, bytes, size);
}

void disk_flip(const struct disk_place *place, uint32_t bit) {
    struct inode *inode = place->inode;
    uint64_t at = place->offset + bit / 8;
    ASSERT(at < inode->size);
    inode->cache[at] ^= (uint8_t)(1u << bit % 8);
    inode->durable[at] ^= (uint8_t)(1u << bit % 8);
}

uint64_t disk_hash(const char *path_prefix) {
    uint64_t hash = 0;
    for (uint32_t i = 0; i < disk->cache.count; i++) {
        const struct name *name = &disk->cache.v[i];
        if (strncmp(name->path, path_prefix, strlen(path_prefix)) == 0) {
            uint64_t one = hash_bytes(1, name->path, strlen(name->path));
            hash += hash_bytes(one, name->inode->cache, name->inode->size);
        }
    }
    return hash;
}

const char *disk_file_path(const char *path_prefix, uint32_t n) {
    for (uint32_t i = 0; i < disk->cache.count; i++) {
        if (strncmp(disk->cache.v[i].path, path_prefix, strlen(path_prefix)) == 0 && n-- == 0) {
            return disk->cache.v[i].path;
        }
    }
    return NULL;
}

enum err store_file_open(const char *path, enum store_file_mode mode, struct store_file **ret_file,
                         struct err_text *text) {
    pass_time(DISK_NAMES);
    if (disk->crashed || (mode == STORE_FILE_CREATE && crash_now())) {
        return refuse(text);
    }
    struct name *name = find_name(&disk->cache, path);
    if (name == NULL && mode != STORE_FILE_CREATE) {
        return err_set(text, ERR_NOT_FOUND, "cannot open %s: no such file", path);
    }
    struct inode *inode = name != NULL ? name->inode : NULL;
    if (mode == STORE_FILE_CREATE) {
        inode = add_inode();
        change_names(path, inode, NULL);
    }
    struct store_file *file = mem_alloc(sizeof *file);
    *file = (struct store_file){.inode = inode, .life = disk->life};
    *ret_file = file;
    return ERR_OK;
}

void store_file_close(struct store_file *file) {
    if (file != NULL && file->holds_lock && file->life == disk->life) {
        file->inode->locked = false;
    }
    free(file);
}

enum err store_file_size(struct store_file *file, uint64_t *ret_size, struct err_text *text) {
    if (disk->crashed) {
        return refuse(text);
    }
    *ret_size = file->inode->size;
    return ERR_OK;
}

enum err store_file_read(struct store_file *file, uint64_t offset, void *data, size_t size,
                         size_t *ret_size, struct err_text *text) {
    pass_time(DISK_READ);
    if (disk->crashed) {
        return refuse(text);
    }
    struct inode *inode = file->inode;
    uint64_t left = offset < inode->size ? inode->size - offset : 0;
    *ret_size = size < left ? size : (size_t)left;
    if (*ret_size > 0) {
        memcpy(data, inode->cache + offset, *ret_size);
    }
    return ERR_OK;
}

static uint64_t used_bytes(void) {
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < disk->cache.count; i++) {
        bytes += disk->cache.v[i].inode->size;
    }
    return bytes;
}

enum err store_file_write(struct store_file *file, uint64_t offset, const void *data, size_t size,
                          struct err_text *text) {
    pass_time(DISK_WRITE);
    if (disk->crashed) {
        return refuse(text);
    }
    ASSERT(file->life == disk->life && size > 0);
    struct inode *inode = file->inode;
    bool crash = crash_now();
    bool fails = !crash && chance(disk->faults.write_fails_per_1000);
    uint64_t more = offset + size > inode->size ? offset + size - inode->size : 0;
    bool full =
        more > 0 && disk->faults.quota_bytes > 0 && used_bytes() + more > disk->faults.quota_bytes;
    if (crash || fails || full) {
        /* Cut between two sectors, never inside one. */
        uint64_t end = offset + rand_below(disk->rand, size + SECTOR);
        end = end >= offset + size ? offset + size : end / SECTOR * SECTOR;
        size = end > offset ? (size_t)(end - offset) : 0;
    }
    if (size > 0) {
        grow(inode, offset + size);
        memcpy(inode->cache + offset, data, size);
        inode->size = inode->size < offset + size ? offset + size : inode->size;
        memset(inode->dirty + offset / SECTOR, 1,
               (offset + size - 1) / SECTOR - offset / SECTOR + 1);
    }
    if (crash) {
        return refuse(text);
    }
    disk->write_failed |= fails;
    return fails  ? err_set_errno(text, EIO, "cannot write")
           : full ? err_set_errno(text, ENOSPC, "cannot write")
                  : ERR_OK;
}

enum err store_file_sync(struct store_file *file, struct err_text *text) {
    pass_time(DISK_SYNC);
    if (disk->crashed) {
        return refuse(text);
    }
    ASSERT(file->life == disk->life);
    struct inode *inode = file->inode;
    if (crash_now()) {
        flush_some(inode, 500);
        return refuse(text);
    }
    if (chance(disk->faults.sync_fails_per_1000)) {
        flush_some(inode, (uint32_t)rand_below(disk->rand, 1000));
        for (uint64_t i = 0; i < sectors(inode); i++) {
            if (inode->dirty[i] && chance(300)) {
                memcpy(inode->cache + i * SECTOR, inode->durable + i * SECTOR, SECTOR);
            }
            inode->dirty[i] = false;
        }
        disk->sync_failed = true;
        return err_set_errno(text, EIO, "cannot sync");
    }
    flush_some(inode, 1000);
    if (inode->size > 0) {
        memset(inode->dirty, 0, sectors(inode));
    }
    return ERR_OK;
}

enum err store_file_lock(struct store_file *file, struct err_text *text) {
    if (disk->crashed) {
        return refuse(text);
    }
    if (file->inode->locked) {
        return err_set(text, ERR_EXISTS, "locked");
    }
    file->inode->locked = file->holds_lock = true;
    return ERR_OK;
}

enum err store_file_rename(const char *from, const char *to, struct err_text *text) {
    pass_time(DISK_NAMES);
    if (disk->crashed || crash_now()) {
        return refuse(text);
    }
    struct name *name = find_name(&disk->cache, from);
    if (name == NULL) {
        return err_set(text, ERR_NOT_FOUND, "no file %s", from);
    }
    change_names(to, name->inode, from);
    return ERR_OK;
}

enum err store_file_unlink(const char *path, struct err_text *text) {
    pass_time(DISK_NAMES);
    if (disk->crashed || crash_now()) {
        return refuse(text);
    }
    if (find_name(&disk->cache, path) == NULL) {
        return err_set(text, ERR_NOT_FOUND, "no file %s", path);
    }
    change_names(NULL, NULL, path);
    return ERR_OK;
}

enum err store_directory_make(const char *path, struct err_text *text) {
    (void)path;
    return disk->crashed ? refuse(text) : ERR_OK;
}

static bool is_in(const char *path, const char *directory) {
    size_t n = strlen(directory);
    return path[0] != '\0' && strncmp(path, directory, n) == 0 && path[n] == '/' &&
           strchr(path + n + 1, '/') == NULL;
}

enum err store_directory_sync(const char *path, struct err_text *text) {
    pass_time(DISK_SYNC);
    if (disk->crashed || crash_now()) {
        return refuse(text);
    }
    uint32_t kept = 0;
    for (uint32_t i = 0; i < disk->pending_count; i++) {
        const struct operation *operation = &disk->pending[i];
        if (is_in(operation->path, path) || is_in(operation->gone, path)) {
            apply_operation(&disk->durable, operation);
        } else {
            disk->pending[kept++] = *operation;
        }
    }
    disk->pending_count = kept;
    return ERR_OK;
}

enum err store_directory_list(const char *path, void (*visit)(void *context, const char *name),
                              void *context, struct err_text *text) {
    if (disk->crashed) {
        return refuse(text);
    }
    struct names copy = disk->cache; /* visit may unlink */
    for (uint32_t i = 0; i < copy.count; i++) {
        if (is_in(copy.v[i].path, path)) {
            visit(context, copy.v[i].path + strlen(path) + 1);
        }
    }
    return ERR_OK;
}
