/* Parts of an agent that do not matter here: the pool's files, which are the host's disk, the
 * workers, keys, events, and other datacenters. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/carried_internal.h"
#include "agent/events.h"
#include "agent/mirrors.h"
#include "agent/pools_internal.h"
#include "base/assert.h"
#include "base/mem.h"
#include "tests/sim/datacenter/datacenter.h"

/* ---- the pool's files ---- */

enum err pool_state_begin(struct agent *agent, struct err_text *text) {
    uint32_t now_s = (uint32_t)(clock_wall_ms() / 1000);
    (void)text;
    here->boot_epoch = here->boot_epoch >= now_s ? here->boot_epoch + 1 : now_s;
    agent->pools->boot_epoch = here->boot_epoch;
    return ERR_OK;
}

void pool_state_store_epoch(struct agent *agent, uint32_t boot_epoch) {
    (void)agent;
    here->boot_epoch = boot_epoch;
}

void pool_state_load(struct member_pool *pool) {
    const char **v = arena_alloc(&pool->agent->arena, KNOWN_MAX * sizeof *v);
    pool->known.v = v;
    for (uint32_t i = 0; i < here->known_count; i++) {
        v[pool->known.count++] = arena_strdup(&pool->agent->arena, here->known[i]);
    }
}

void pool_state_save(struct member_pool *pool, bool left) {
    const struct gossip *gossip = pool_gossip(pool->pool);
    struct gossip_member member;
    if (here->dying) {
        return; /* nothing reaches its disk any more */
    }
    here->known_count = 0;
    for (uint32_t i = 0; i < gossip_member_slots(gossip) && !left; i++) {
        if (gossip_member_at(gossip, i, &member) && !member.self &&
            (member.state == GOSSIP_ALIVE || member.state == GOSSIP_SUSPECT) &&
            here->known_count < KNOWN_MAX) {
            struct addr addr = pool_addr(&member.descriptor->info.address);
            addr_format(&addr, here->known[here->known_count++]);
        }
    }
}

void pool_state_note(struct member_pool *pool) {
    pool->snapshot_due = true; /* saved at the end of the turn */
}

struct saver *saver_create(struct loop *loop) {
    (void)loop;
    return NULL;
}

bool saver_destroy(struct saver *saver) {
    (void)saver;
    return true;
}

/* ---- keys, and what the pool tells beside members ---- */

enum err pool_keys_load(struct member_pool *pool, struct err_text *text) {
    (void)pool;
    (void)text;
    return ERR_OK;
}

void pool_keys_serve(struct member_pool *pool) {
    (void)pool;
}

void pool_keys_run(struct agent *agent, struct backend_call *call, void (*done)(void *context),
                   void *context) {
    (void)agent;
    (void)call;
    done(context);
}

size_t keyring_count(const struct keyring *keyring) {
    (void)keyring;
    return 0;
}

void keyring_destroy(struct keyring *keyring) {
    (void)keyring;
}

void events_heard(struct agent *agent, const struct uuid *id, uint64_t ltime, const uint8_t *data,
                  size_t size) {
    (void)agent;
    (void)id;
    (void)ltime;
    (void)data;
    (void)size;
}

void mirrors_note_datacenter(struct agent *agent, const char *datacenter) {
    (void)agent;
    (void)datacenter;
}

/* ---- workers ---- */

struct worker {
    struct http_work *first, **last;
};

static struct worker *worker_of(struct server *server) {
    if (server->worker == NULL) {
        server->worker = mem_calloc(1, sizeof *server->worker);
        server->worker->last = &server->worker->first;
    }
    return server->worker;
}

void http_server_work(struct http_server *http, struct http_work *work) {
    struct server *server = (struct server *)(void *)http;
    struct worker *worker = worker_of(server);
    work->next = NULL;
    *worker->last = work;
    worker->last = &work->next;
    world_post(server->world, world_between(server->world, 50, 3 * MS), EVENT_WORK, server);
}

void parts_work(struct server *server) {
    struct worker *worker = worker_of(server);
    struct http_work *work = worker->first;
    if (work != NULL) {
        worker->first = work->next;
        worker->last = worker->first != NULL ? worker->last : &worker->first;
        work->run(work);
    }
}

void parts_work_all(struct server *server) {
    while (worker_of(server)->first != NULL) {
        parts_work(server);
    }
    free(server->worker);
    server->worker = NULL;
}

void http_server_carry(struct http_server *server, struct http_carried *carried) {
    (void)server;
    (void)carried;
    ASSERT(!"a request over HTTP");
}

void http_carried_give_up(struct http_carried *carried) {
    (void)carried;
    ASSERT(!"a request over HTTP");
}

void carried_take_question(void *context, struct rpc_connection *from, struct rpc_ticket ticket,
                           const uint8_t *body, size_t size) {
    (void)context;
    (void)from;
    (void)ticket;
    (void)body;
    (void)size;
    ASSERT(!"a question over DNS");
}

/* ---- checks run elsewhere, and keep what they have ---- */

void runners_adopt(struct agent *agent, const struct catalog_view *view) {
    (void)agent;
    (void)view;
}

void agent_stop(struct agent *agent, int exit_code) {
    (void)agent;
    (void)exit_code;
    ASSERT(!"an agent stops by itself");
}
