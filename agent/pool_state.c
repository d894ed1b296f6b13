#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "agent/pools_internal.h"
#include "base/container.h"
#include "base/mem.h"
#include "store/replace.h"

#define EPOCH_FILE "boot-epoch"
/* After a change, and at least so long and a millisecond a member after the last one. */
#define SNAPSHOT_MS 500
#define SNAPSHOT_BYTES (8 * 1024 * 1024)
#define REJOIN_MAX 64 /* members that a start tries to join */

static const char *snapshot_name(const struct member_pool *pool) {
    return pool->wan ? "remote.snapshot" : "local.snapshot";
}

/* The whole file; the caller frees it. NULL: there is none. */
static char *read_file(const char *path) {
    struct buf out;
    char block[4096];
    ssize_t n;
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    buf_init(&out, SNAPSHOT_BYTES);
    while ((n = read(fd, block, sizeof block)) > 0) {
        buf_append(&out, block, (size_t)n);
    }
    close(fd);
    buf_append_byte(&out, '\0');
    size_t size = 0;
    return buf_take(&out, &size);
}

/* ---- the boot epoch ---- */

static size_t format_epoch(uint32_t epoch, char out[16]) {
    return (size_t)snprintf(out, 16, "%lu\n", (unsigned long)epoch);
}

enum err pool_state_begin(struct agent *agent, struct err_text *text) {
    struct pools *pools = agent->pools;
    char path[POOL_PATH_BYTES], line[16];
    uint32_t now_s = (uint32_t)(clock_wall_ms() / 1000);
    pools->boot_epoch = now_s;
    if (pools->saver == NULL) {
        return ERR_OK;
    }
    pools_path(agent, "", path);
    (void)mkdir(path, 0700);
    pools_path(agent, EPOCH_FILE, path);
    char *stored = read_file(path);
    uint64_t last = stored != NULL ? strtoull(stored, NULL, 10) : 0;
    free(stored);
    if (last >= now_s && last < UINT32_MAX) {
        pools->boot_epoch = (uint32_t)last + 1;
    }
    return store_replace_file(path, line, format_epoch(pools->boot_epoch, line), text);
}

static void epoch_stored(void *context, enum err err, const struct err_text *text) {
    struct agent *agent = context;
    if (err != ERR_OK) {
        log_write(agent->log, LOG_ERROR, "agent", "the boot epoch is not kept: error=\"%s\"",
                  text->s);
    }
}

void pool_state_store_epoch(struct agent *agent, uint32_t boot_epoch) {
    char path[POOL_PATH_BYTES], line[16];
    if (agent->pools->saver != NULL) {
        pools_path(agent, EPOCH_FILE, path);
        size_t size = format_epoch(boot_epoch, line);
        saver_write(agent->pools->saver, path, mem_memdup(line, size), size, epoch_stored, agent);
    }
}

/* ---- members ---- */

void pool_state_load(struct member_pool *pool) {
    struct agent *agent = pool->agent;
    char path[POOL_PATH_BYTES];
    pools_path(agent, snapshot_name(pool), path);
    char *text = agent->pools->saver != NULL ? read_file(path) : NULL;
    if (text == NULL) {
        return;
    }
    const char **v = arena_alloc(&agent->arena, REJOIN_MAX * sizeof *v);
    char *rest = text;
    bool left = false;
    for (char *line; (line = strsep(&rest, "\n")) != NULL;) {
        left = left || strcmp(line, "left") == 0;
        if (str_starts_with(line, "alive ") && pool->known.count < REJOIN_MAX) {
            line += strlen("alive ");
            line[strcspn(line, " ")] = '\0';
            v[pool->known.count++] = arena_strdup(&agent->arena, line);
        }
    }
    pool->known.v = v;
    if (left && !agent->config->gossip.rejoin_after_leave) {
        pool->known.count = 0;
    }
    free(text);
}

static void snapshot_stored(void *context, enum err err, const struct err_text *text) {
    struct member_pool *pool = context;
    if (err != ERR_OK) {
        log_write(pool->agent->log, LOG_WARN, pool->module,
                  "the known members are not kept: error=\"%s\"", text->s);
    }
}

void pool_state_save(struct member_pool *pool, bool left) {
    struct agent *agent = pool->agent;
    const struct gossip *gossip = pool_gossip(pool->pool);
    char path[POOL_PATH_BYTES], text[ADDR_TEXT_BYTES];
    struct gossip_member member;
    struct buf out;
    if (agent->pools->saver == NULL) {
        return;
    }
    buf_init(&out, SNAPSHOT_BYTES);
    for (uint32_t i = 0; i < gossip_member_slots(gossip); i++) {
        if (gossip_member_at(gossip, i, &member) && !member.self &&
            (member.state == GOSSIP_ALIVE || member.state == GOSSIP_SUSPECT)) {
            struct addr addr = pool_addr(&member.descriptor->info.address);
            addr_format(&addr, text);
            buf_append_format(&out, "alive %s %s\n", text, member.descriptor->info.name);
        }
    }
    buf_append_str(&out, left ? "left\n" : "");
    pools_path(agent, snapshot_name(pool), path);
    size_t size = 0;
    char *data = out.count > 0 ? buf_take(&out, &size) : mem_strdup("");
    saver_write(agent->pools->saver, path, data, size, snapshot_stored, pool);
}

static void snapshot_due(struct loop_timer *timer) {
    struct member_pool *pool = CONTAINER_OF(timer, struct member_pool, snapshot_timer);
    pool->snapshot_due = false;
    pool->snapshot_next_ms =
        loop_now_ms(pool->agent->loop) + SNAPSHOT_MS + gossip_member_slots(pool_gossip(pool->pool));
    pool_state_save(pool, false);
}

void pool_state_note(struct member_pool *pool) {
    struct loop *loop = pool->agent->loop;
    if (!pool->snapshot_due && !pool->agent->pools->leaving) {
        int64_t at_ms = loop_now_ms(loop) + SNAPSHOT_MS;
        pool->snapshot_due = true;
        pool->snapshot_timer.run = snapshot_due;
        loop_timer_start(loop, &pool->snapshot_timer,
                         at_ms > pool->snapshot_next_ms ? at_ms : pool->snapshot_next_ms);
    }
}
