/* Members as people see them, and servers as the catalog's group does. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/pools_internal.h"
#include "base/container.h"
#include "base/duration.h"
#include "base/mem.h"
#include "base/pack.h"

#define PUBLISH_EACH_MEMBERS 500 /* larger pools publish at most each */
#define PUBLISH_MS 200
#define TAGS_MAX (LIMIT_GOSSIP_TAGS + 16)

/* ---- own tags ---- */

/* What all members have alike, and what follows from other fields, is not sent; see add_tags. */
struct str_map pool_members_tags(const struct agent *agent, struct arena *arena) {
    const struct config *config = agent->config;
    const struct pools *pools = agent->pools;
    struct str_pair *v = arena_alloc(arena, 16 * sizeof *v);
    uint32_t count = 0;
    char text[UUID_TEXT_BYTES];
    if (config->bootstrap) {
        v[count++] = (struct str_pair){"bootstrap", "1"};
    }
    v[count++] = (struct str_pair){"build", CAIRN_API_VERSION};
    if (pools->has_cluster) {
        uuid_format(&pools->cluster, text);
        v[count++] = (struct str_pair){"cluster", arena_strdup(arena, text)};
    }
    v[count++] = (struct str_pair){"dc", config->datacenter};
    if (config->server) {
        uuid_format(&group_self(agent->group)->disk, text);
        v[count++] = (struct str_pair){"disk", arena_strdup(arena, text)};
        if (config->bootstrap_expect > 0) {
            v[count++] = (struct str_pair){
                "expect", arena_format(arena, "%lld", (long long)config->bootstrap_expect)};
        }
        v[count++] =
            (struct str_pair){"port", arena_format(arena, "%lld", (long long)config->server_port)};
        v[count++] = (struct str_pair){
            "wan_join_port", arena_format(arena, "%lld", (long long)config->serf_wan_port)};
    } else if (config->gossip.advertise_reconnect_ns > 0) {
        char *told = arena_alloc(arena, DURATION_TEXT_BYTES);
        duration_format(config->gossip.advertise_reconnect_ns, told);
        v[count++] = (struct str_pair){GOSSIP_TAG_REAP_DEAD, told};
    }
    return (struct str_map){.v = v, .count = count, .present = true};
}

static int compare_pairs(const void *left, const void *right) {
    return strcmp(((const struct str_pair *)left)->key, ((const struct str_pair *)right)->key);
}

/* The tags that clients of this API know (contract 10.4). v has room for TAGS_MAX. */
static struct str_map show_tags(const struct gossip_info *info, struct str_pair *v,
                                char id[UUID_TEXT_BYTES]) {
    const struct str_pair constant[] = {
        {"acls", "0"},    {"id", id},     {"role", info->server ? "consul" : "node"},
        {"segment", ""},  {"vsn", "2"},   {"vsn_max", "3"},
        {"vsn_min", "2"}, {"ft_fs", "1"}, {"ft_si", "1"},
        {"raft_vsn", "3"}};
    const size_t server_constants = 3; /* the last ones */
    const size_t constants = sizeof constant / sizeof constant[0];
    uint32_t count = 0;
    uuid_format(&info->id, id);
    for (; count < info->tags.count; count++) {
        v[count] = info->tags.v[count];
    }
    for (size_t i = 0; i < (info->server ? constants : constants - server_constants); i++) {
        if (str_map_get(&info->tags, constant[i].key) == NULL) {
            v[count++] = constant[i];
        }
    }
    qsort(v, count, sizeof *v, compare_pairs);
    return (struct str_map){.v = v, .count = count, .present = true};
}

/* ---- the published block ---- */

static uint8_t show_status(const struct gossip_member *member, bool leaving) {
    switch (member->state) {
    case GOSSIP_ALIVE:
    case GOSSIP_SUSPECT:
        return member->self && leaving ? MEMBER_LEAVING : MEMBER_ALIVE;
    case GOSSIP_LEFT:
        return MEMBER_LEFT;
    case GOSSIP_DEAD:
    case GOSSIP_REMOVED:
        break;
    }
    return MEMBER_FAILED;
}

/* One pass: sizes without a block, copies with it. */
static uint32_t pack_members(const struct member_pool *pool, struct packer *packer,
                             struct backend_member *members, uint32_t room, uint32_t *ret_self) {
    const struct gossip *gossip = pool_gossip(pool->pool);
    struct str_pair tags[TAGS_MAX];
    char id[UUID_TEXT_BYTES], ip[ADDR_TEXT_BYTES];
    struct gossip_member member;
    uint32_t count = 0;
    for (uint32_t i = 0; i < gossip_member_slots(gossip); i++) {
        if (!gossip_member_at(gossip, i, &member)) {
            continue;
        }
        const struct gossip_info *info = &member.descriptor->info;
        struct addr addr = pool_addr(&info->address);
        addr_format_ip(&addr, ip);
        struct backend_member shown = {.name = info->name,
                                       .ip = ip,
                                       .port = addr_port(&addr),
                                       .status = show_status(&member, pool->agent->pools->leaving),
                                       .server = info->server,
                                       .tags = show_tags(info, tags, id)};
        pack_str(packer, &shown.name);
        pack_str(packer, &shown.ip);
        pack_map(packer, &shown.tags);
        if (members != NULL && count < room) {
            members[count] = shown;
        }
        *ret_self = member.self ? count : *ret_self;
        count++;
    }
    return count;
}

static int compare_members(const void *left, const void *right) {
    return strcmp(((const struct backend_member *)left)->name,
                  ((const struct backend_member *)right)->name);
}

static void publish(struct member_pool *pool) {
    struct agent *agent = pool->agent;
    struct packer packer = {.used = 0};
    uint32_t self = 0;
    uint32_t count = pack_members(pool, &packer, NULL, 0, &self);
    size_t head = sizeof(struct backend_pool) + count * sizeof(struct backend_member);
    packer = (struct packer){.used = head};
    pack_members(pool, &packer, NULL, 0, &self);
    char *bytes = mem_calloc(1, packer.used);
    struct backend_pool *block = (struct backend_pool *)(void *)bytes;
    struct backend_member *members = (struct backend_member *)(void *)(block + 1);
    packer = (struct packer){.block = bytes, .used = head};
    pack_members(pool, &packer, members, count, &self);
    const char *own = members[self].name; /* sorting moves the rows, not the texts */
    qsort(members, count, sizeof *members, compare_members);
    for (self = 0; members[self].name != own; self++) {
    }
    *block = (struct backend_pool){.members = members,
                                   .count = count,
                                   .self = self,
                                   .version = ++pool->version,
                                   .encrypted = keyring_count(pool->ring) > 0};
    const struct backend_pool *_Atomic *place =
        pool->wan ? &agent->backend.wan : &agent->backend.lan;
    const struct backend_pool *old = *place;
    *place = block;
    epoch_retire(agent->epoch, (void *)(uintptr_t)old);
    epoch_advance(agent->epoch);
}

static void publish_due(struct loop_timer *timer) {
    struct member_pool *pool = CONTAINER_OF(timer, struct member_pool, publish_timer);
    pool->changed = true; /* at the end of this turn */
}

void pool_members_publish(struct member_pool *pool) {
    struct loop *loop = pool->agent->loop;
    int64_t now_ms = loop_now_ms(loop);
    if (!pool->changed) {
        return;
    }
    pool->changed = false;
    if (gossip_member_slots(pool_gossip(pool->pool)) > PUBLISH_EACH_MEMBERS &&
        now_ms - pool->published_at_ms < PUBLISH_MS && pool->published_at_ms > 0) {
        pool->publish_timer.run = publish_due;
        loop_timer_start(loop, &pool->publish_timer, pool->published_at_ms + PUBLISH_MS);
        return;
    }
    pool->published_at_ms = now_ms;
    publish(pool);
}

/* ---- servers ---- */

static const char *tag_of(const struct gossip_info *info, const char *key) {
    return str_or_empty(str_map_get(&info->tags, key));
}

static double distance_ms_to(const struct gossip *gossip, const struct uuid *id) {
    struct coordinate own, other;
    gossip_get_coordinate(gossip, &own);
    return gossip_find_coordinate(gossip, id, &other) ? 1000 * coordinate_rtt_s(&own, &other) : -1;
}

/* False: its tags are not those of a server; said once by who judged it. */
static bool read_server(const struct gossip *gossip, const struct gossip_member *member,
                        struct pools_server *ret_server) {
    const struct gossip_info *info = &member->descriptor->info;
    struct pools_server server = {
        .node = info->id, .name = info->name, .distance_ms = distance_ms_to(gossip, &info->id)};
    uint64_t port = 0, expect = 0;
    if (!info->server || member->self || !uuid_parse(tag_of(info, "disk"), &server.disk) ||
        !str_parse_u64(tag_of(info, "port"), &port) || port == 0 || port > 65535) {
        return false;
    }
    server.datacenter = tag_of(info, "dc");
    server.addr = pool_addr(&info->address);
    addr_set_port(&server.addr, (uint16_t)port);
    server.state = member->state == GOSSIP_LEFT   ? POOLS_SERVER_LEFT
                   : member->state == GOSSIP_DEAD ? POOLS_SERVER_FAILED
                                                  : POOLS_SERVER_ALIVE;
    (void)str_parse_u64(tag_of(info, "expect"), &expect);
    server.expect = expect < 1000 ? (uint32_t)expect : 0;
    server.bootstrap = *tag_of(info, "bootstrap") != '\0';
    server.has_group = uuid_parse(tag_of(info, "cluster"), &server.cluster);
    *ret_server = server;
    return true;
}

static void tell(struct member_pool *pool,
                 void (*changed)(void *context, const struct pools_server *servers, uint32_t count),
                 void *context) {
    struct gossip_member member;
    if (!pool->servers_changed || changed == NULL || pool->pool == NULL) {
        return;
    }
    const struct gossip *gossip = pool_gossip(pool->pool);
    uint32_t slots = gossip_member_slots(gossip), count = 0;
    pool->servers_changed = false;
    struct pools_server *servers = mem_calloc(slots + 1, sizeof *servers);
    for (uint32_t i = 0; i < slots; i++) {
        if (gossip_member_at(gossip, i, &member) && read_server(gossip, &member, &servers[count])) {
            count++;
        }
    }
    changed(context, servers, count);
    free(servers);
}

void pool_members_tell_servers(struct agent *agent) {
    struct pools *pools = agent->pools;
    tell(&pools->lan, pools->servers_changed, pools->servers_context);
    tell(&pools->wan, pools->far_servers_changed, pools->far_servers_context);
}

bool pools_may_bootstrap(const struct pools_server *servers, uint32_t count, uint32_t expect,
                         struct err_text *text) {
    uint32_t seen = 1;
    text->s[0] = '\0';
    if (expect == 0) {
        return false;
    }
    for (uint32_t i = 0; i < count; i++) {
        const struct pools_server *server = &servers[i];
        if (server->state != POOLS_SERVER_ALIVE) {
            continue;
        }
        if (server->has_group) {
            return false; /* that group takes this server in */
        }
        if (server->bootstrap) {
            err_set(text, ERR_REFUSED, "server '%.128s' is in bootstrap mode, others expect %u",
                    server->name, expect);
            return false;
        }
        if (server->expect != 0 && server->expect != expect) {
            err_set(text, ERR_REFUSED, "server '%.128s' expects %u servers, this one %u",
                    server->name, server->expect, expect);
            return false;
        }
        seen += server->expect == expect;
    }
    return seen >= expect;
}

/* ---- numbers ---- */

/* The caller frees it. */
static struct located *list_located(const struct gossip *gossip, uint32_t *ret_count) {
    uint32_t slots = gossip_member_slots(gossip), count = 0;
    struct located *list = mem_alloc((slots + 1) * sizeof *list);
    struct gossip_member member;
    for (uint32_t i = 0; i < slots && count < LIMIT_COORDINATE_MEMBERS; i++) {
        if (gossip_member_at(gossip, i, &member) &&
            gossip_find_coordinate(gossip, &member.descriptor->info.id, &list[count].at)) {
            snprintf(list[count].name, sizeof list[count].name, "%s", member.descriptor->info.name);
            count++;
        }
    }
    *ret_count = count;
    return list;
}

bool pools_find_coordinate(struct pools *pools, bool wan, const char *member,
                           struct coordinate *ret_coordinate) {
    bool found = false;
    pthread_mutex_lock(&pools->mutex);
    for (uint32_t i = 0; wan && !found && i < pools->located_count; i++) {
        found = strcmp(pools->located[i].name, member) == 0;
        *ret_coordinate = found ? pools->located[i].at : *ret_coordinate;
    }
    if (!wan && strcmp(member, pools->lan.agent->config->node_name) == 0) {
        *ret_coordinate = pools->lan_coordinate;
        found = true;
    }
    pthread_mutex_unlock(&pools->mutex);
    return found;
}

void pool_members_refresh_counts(struct agent *agent) {
    struct pools *pools = agent->pools;
    struct pool_counts lan, wan = {.not_allowed = 0};
    struct coordinate lan_at, wan_at = {.height = 0};
    struct located *located = NULL;
    uint32_t located_count = 0;
    pool_get_counts(pools->lan.pool, &lan);
    gossip_get_coordinate(pool_gossip(pools->lan.pool), &lan_at);
    pool_metrics_update(pools->lan.metrics, &lan);
    if (pools->wan.pool != NULL) {
        pool_get_counts(pools->wan.pool, &wan);
        gossip_get_coordinate(pool_gossip(pools->wan.pool), &wan_at);
        pool_metrics_update(pools->wan.metrics, &wan);
        located = list_located(pool_gossip(pools->wan.pool), &located_count);
    }
    pthread_mutex_lock(&pools->mutex);
    pools->lan_counts = lan;
    pools->wan_counts = wan;
    pools->lan_coordinate = lan_at;
    pools->wan_coordinate = wan_at;
    struct located *old = pools->located;
    pools->located = located;
    pools->located_count = located_count;
    pthread_mutex_unlock(&pools->mutex);
    free(old);
}

void pools_get_stats(struct pools *pools, bool wan, struct backend_pool_stats *ret_stats) {
    pthread_mutex_lock(&pools->mutex);
    const struct gossip_status *status = &(wan ? &pools->wan_counts : &pools->lan_counts)->status;
    const struct coordinate *at = wan ? &pools->wan_coordinate : &pools->lan_coordinate;
    *ret_stats = (struct backend_pool_stats){.alive = status->alive + status->suspect,
                                             .failed = status->dead,
                                             .left = status->left,
                                             .clients = status->clients,
                                             .frozen = status->frozen,
                                             .health_score = status->awareness,
                                             .events_queued = status->user_events,
                                             .event_clock = status->event_clock,
                                             .guard = status->guard_on,
                                             .at = *at};
    pthread_mutex_unlock(&pools->mutex);
}
