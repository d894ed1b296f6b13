/* A datacenter: who leads its group, the entries that it has committed, and which row was there
 * from which index to which. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/mem.h"
#include "catalog/row.h"
#include "tests/sim/regions/regions.h"
#include "tests/sim/rows.h"

#define SNAPSHOT_ENTRIES 60
#define ELECT_US (300 * MS) /* without a leader at least */

const char *service_name(uint32_t service) {
    static const char *const names[SERVICES] = {"web", "db", "queue"};
    return names[service];
}

/* ---- rows ---- */

static void put_hash(struct hashes *hashes, uint64_t kind, uint64_t hash) {
    if (hashes->count == hashes->capacity) {
        hashes->capacity = 2 * hashes->capacity + 64;
        hashes->v = mem_realloc(hashes->v, hashes->capacity * sizeof *hashes->v);
    }
    hashes->v[hashes->count++] = hash_mix(hash + kind);
}

static bool put_node(const struct catalog_node *node, void *context) {
    put_hash(context, 1, row_hash_node(node));
    return true;
}

static bool put_service(const struct catalog_instance *instance, void *context) {
    put_hash(context, 2, row_hash_service(instance->service));
    return true;
}

static bool put_check(const struct catalog_check *check, void *context) {
    put_hash(context, 3, row_hash_check(check));
    return true;
}

void rows_gather(const struct catalog_view *view, struct hashes *hashes) {
    view_walk_nodes(view, put_node, hashes);
    view_walk_all_instances(view, put_service, hashes);
    view_walk_all_checks(view, put_check, hashes);
}

const struct version *history_find(const struct history *history, uint64_t hash) {
    for (uint32_t at = history->buckets[hash % BUCKETS]; at > 0;
         at = history->versions[at - 1].next) {
        if (history->versions[at - 1].hash == hash) {
            return &history->versions[at - 1];
        }
    }
    return NULL;
}

static void put_version(struct history *history, uint64_t hash, uint64_t from) {
    if (history->version_count == history->version_capacity) {
        history->version_capacity = 2 * history->version_capacity + 256;
        history->versions =
            mem_realloc(history->versions, history->version_capacity * sizeof *history->versions);
    }
    if (history->current_count == history->current_capacity) {
        history->current_capacity = 2 * history->current_capacity + 64;
        history->current =
            mem_realloc(history->current, history->current_capacity * sizeof *history->current);
    }
    uint32_t *bucket = &history->buckets[hash % BUCKETS];
    history->versions[history->version_count] = (struct version){hash, from, UINT64_MAX, *bucket};
    history->current[history->current_count++] = history->version_count;
    *bucket = ++history->version_count;
}

static int compare_u64(const void *a, const void *b) {
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* What the newest entry has changed. */
static void note_versions(struct history *history) {
    struct hashes rows = {0};
    rows_gather(catalog_view(history->truth), &rows);
    qsort(rows.v, rows.count, sizeof *rows.v, compare_u64);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < history->current_count; i++) {
        struct version *version = &history->versions[history->current[i]];
        if (rows.count > 0 &&
            bsearch(&version->hash, rows.v, rows.count, sizeof *rows.v, compare_u64) != NULL) {
            history->current[kept++] = history->current[i];
        } else {
            version->to = history->index;
        }
    }
    history->current_count = kept;
    for (uint32_t i = 0; i < rows.count; i++) {
        const struct version *version = history_find(history, rows.v[i]);
        if (version == NULL || version->to < UINT64_MAX) {
            put_version(history, rows.v[i], history->index);
        }
    }
    free(rows.v);
}

/* ---- entries ---- */

static enum err keep(void *context, const void *data, size_t size) {
    buf_append(context, data, size);
    return ERR_OK;
}

static void commit(struct history *history, const struct catalog_command *command) {
    struct err_text text;
    if (++history->index + 1 >= history->capacity) {
        history->capacity = 2 * history->capacity + 256;
        history->entries =
            mem_realloc(history->entries, history->capacity * sizeof *history->entries);
    }
    struct entry *entry = &history->entries[history->index];
    *entry = (struct entry){.published_us = NEVER_US};
    entry->bytes = row_encode(command, &entry->size);
    enum err err =
        catalog_apply(history->truth, history->index, entry->bytes, entry->size, NULL, &text);
    ASSERT(err == ERR_OK || err == ERR_REFUSED);
    catalog_publish(history->truth);
    entry->row_hash = view_row_hash(catalog_view(history->truth));
    note_versions(history);
    if (history->index % SNAPSHOT_ENTRIES == 0) {
        buf_reset(&history->snapshot);
        catalog_snapshot(catalog_view(history->truth), keep, &history->snapshot);
        history->snapshot_index = history->index;
    }
}

void history_publish(struct history *history, uint64_t index, uint64_t now_us) {
    for (; history->published < index; history->published++) {
        history->entries[history->published + 1].published_us = now_us;
    }
    if (index > 0 && history->older != NULL && history->older->ended_us == NEVER_US) {
        history->older->ended_us = now_us;
    }
}

uint64_t history_index_at(const struct history *history, uint64_t us) {
    uint64_t low = 0, high = history->published;
    while (low < high) {
        uint64_t middle = (low + high + 1) / 2;
        if (history->entries[middle].published_us <= us) {
            low = middle;
        } else {
            high = middle - 1;
        }
    }
    return low;
}

/* ---- commands ---- */

struct row_names {
    char node[32], address[16], check[32], id[40];
};

static struct catalog_node node_row(struct row_names *names, const struct region *region,
                                    uint64_t node, uint64_t version) {
    snprintf(names->node, sizeof names->node, "%s-n%u", region->name, (unsigned)node);
    snprintf(names->address, sizeof names->address, "10.%u.0.%u", region->at, (unsigned)version);
    return row_node(names->node, names->address);
}

static const char *choose_status(struct world *world, bool sick) {
    return sick || world_one_in(world, 6) ? "critical"
           : world_one_in(world, 8)       ? "warning"
                                          : "passing";
}

static void register_instance(struct region *region, struct world *world, uint64_t node,
                              uint32_t service) {
    struct row_names names;
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    struct catalog_service row =
        row_service(service_name(service), (uint32_t)world_between(world, 1, 3));
    struct catalog_check checks[2];
    command.reg.node = node_row(&names, region, node, world_between(world, 1, 2));
    command.reg.skip_node_update = !world_one_in(world, 4);
    command.reg.service = &row;
    snprintf(names.check, sizeof names.check, "c-%s", row.name);
    checks[0] =
        row_check(names.node, names.check, row.name, choose_status(world, region->sick[service]));
    checks[1] = row_check(names.node, "c-extra", world_one_in(world, 2) ? row.name : "", "passing");
    command.reg.checks = checks;
    command.reg.check_count = 1 + world_one_in(world, 6);
    commit(region->history, &command);
}

static void deregister(struct region *region, struct world *world, uint64_t node,
                       uint32_t service) {
    struct row_names names;
    struct catalog_command command = {.kind = COMMAND_DEREGISTER,
                                      .dereg = {.service_id = "", .check_id = ""}};
    command.dereg.node = node_row(&names, region, node, 0).name;
    if (world_one_in(world, 3)) {
        command.dereg.check_id = "c-extra";
    } else if (!world_one_in(world, 4)) {
        command.dereg.service_id = service_name(service);
    }
    commit(region->history, &command);
}

static void set_node_health(struct region *region, struct world *world, uint64_t node) {
    struct row_names names;
    struct catalog_command command = {.kind = COMMAND_REGISTER};
    command.reg.node = node_row(&names, region, node, 1);
    command.reg.skip_node_update = true;
    struct catalog_check check =
        row_check(names.node, "serfHealth", "", world_one_in(world, 4) ? "critical" : "passing");
    command.reg.checks = &check;
    command.reg.check_count = 1;
    commit(region->history, &command);
}

/* The leader hears of it first. */
static void told(struct region *region, struct world *world) {
    struct server *leader = &world->servers[region->leader];
    server_enter(leader);
    server_append(leader, region->history->index, world->now, true);
}

static bool is_led(const struct region *region, const struct world *world) {
    return region->leader >= 0 && world->servers[region->leader].up &&
           world->servers[region->leader].leads;
}

void region_write(struct region *region, struct world *world) {
    if (!is_led(region, world)) {
        return;
    }
    uint64_t node = rand_below(&world->rand, NODES), choice = rand_below(&world->rand, 20);
    uint32_t service = (uint32_t)rand_below(&world->rand, SERVICES);
    if (choice < 3) {
        deregister(region, world, node, service);
    } else if (choice < 6) {
        set_node_health(region, world, node);
    } else {
        register_instance(region, world, node, service);
    }
    world->writes++;
    told(region, world);
}

void region_make_sick(struct region *region, struct world *world, uint32_t service, bool sick) {
    region->sick[service] = sick;
    if (!is_led(region, world)) {
        return;
    }
    for (uint64_t node = 0; node < NODES; node++) {
        if (sick || world_one_in(world, 2)) {
            register_instance(region, world, node, service);
        }
    }
    told(region, world);
}

/* ---- lives of the data ---- */

static void begin_history(struct region *region, struct world *world) {
    struct history *history = mem_calloc(1, sizeof *history);
    history->older = region->history;
    history->number = history->older != NULL ? history->older->number + 1 : 1;
    history->ended_us = NEVER_US;
    rand_bytes(&world->rand, history->cluster.bytes, sizeof history->cluster.bytes);
    history->truth = catalog_create(world->epoch, NULL);
    buf_init(&history->snapshot, 16 << 20);
    region->history = history;
    /* By this node each view shows whose rows it has. */
    char mark[32];
    snprintf(mark, sizeof mark, "%s-life-%u", region->name, history->number);
    struct catalog_command command = {.kind = COMMAND_REGISTER,
                                      .reg.node = row_node(mark, "10.0.0.1")};
    commit(history, &command);
    uint64_t count = history->number > 1 ? rand_below(&world->rand, 40) : 0;
    for (uint64_t i = 0; i < 6 + count; i++) {
        register_instance(region, world, rand_below(&world->rand, NODES),
                          (uint32_t)rand_below(&world->rand, SERVICES));
    }
}

struct history *history_of_view(const struct region *region, const struct catalog_view *view) {
    for (struct history *at = region->history; at != NULL; at = at->older) {
        char mark[32];
        snprintf(mark, sizeof mark, "%s-life-%u", region->name, at->number);
        if (view_get_node(view, mark) != NULL) {
            return at;
        }
    }
    return NULL;
}

void region_begin(struct region *region, struct world *world) {
    region->leader = -1;
    begin_history(region, world);
    world_post(world, world_between(world, 1, 100 * MS), EVENT_ELECT, NULL)->a = region->at;
    world_post(world, 100 * MS, EVENT_BEAT, NULL)->a = region->at;
    world_post(world, world_between(world, 1, 500 * MS), EVENT_WRITE, NULL)->a = region->at;
}

void region_wipe(struct region *region, struct world *world) {
    region->leader = -1;
    begin_history(region, world);
}

void region_clear(struct region *region) {
    while (region->history != NULL) {
        struct history *history = region->history;
        region->history = history->older;
        for (uint64_t i = 1; i <= history->index; i++) {
            free(history->entries[i].bytes);
        }
        free(history->entries);
        free(history->versions);
        free(history->current);
        buf_clear(&history->snapshot);
        catalog_destroy(history->truth);
        free(history);
    }
}

/* ---- who leads ---- */

static uint32_t first_of(const struct region *region) {
    return region->at * SERVERS_EACH;
}

static uint32_t count_up(const struct region *region, const struct world *world) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < SERVERS_EACH; i++) {
        count += world->servers[first_of(region) + i].up;
    }
    return count;
}

static void tell_leader(struct region *region, struct world *world, int32_t leader) {
    for (uint32_t i = 0; i < SERVERS_EACH; i++) {
        struct server *server = &world->servers[first_of(region) + i];
        uint64_t delay = (int32_t)server->at == leader ? 1 : world_between(world, 1, 30 * MS);
        if (server->up) {
            world_post(world, delay, EVENT_KNOWS, server)->a = (uint64_t)(leader + 1);
        }
    }
}

/* No two lead at once: the old one has stepped down before. */
void region_depose(struct region *region, struct world *world) {
    if (region->leader >= 0 && world->servers[region->leader].up) {
        struct server *old = &world->servers[region->leader];
        old->contact_at_ms = old->leads ? (int64_t)server_now_ms(old) : old->contact_at_ms;
        old->leads = false;
    }
    region->leader = -1;
    region->leader_lost_us = world->now;
    tell_leader(region, world, -1);
}

void region_elect(struct region *region, struct world *world) {
    bool majority = count_up(region, world) > SERVERS_EACH / 2;
    if (region->leader >= 0 && (!majority || !world->servers[region->leader].up)) {
        region_depose(region, world);
    }
    if (region->leader >= 0 || !majority || world->now < region->leader_lost_us + ELECT_US) {
        if (region->leader >= 0) { /* who has come since */
            tell_leader(region, world, region->leader);
        }
        return;
    }
    uint32_t at = first_of(region) + (uint32_t)rand_below(&world->rand, SERVERS_EACH);
    if (world->servers[at].up) {
        region->leader = (int32_t)at;
        tell_leader(region, world, region->leader);
        world_post(world, 2 * MS, EVENT_BEAT, NULL)->a = region->at + REGIONS_MAX; /* at once */
    }
}

void region_beat(struct region *region, struct world *world) {
    if (!is_led(region, world)) {
        return;
    }
    struct server *leader = &world->servers[region->leader];
    server_enter(leader);
    server_append(leader, region->history->index, world->now, true);
    for (uint32_t i = 0; i < SERVERS_EACH; i++) {
        struct server *server = &world->servers[first_of(region) + i];
        if (server != leader && server->up) {
            struct event *event =
                world_post(world, world_between(world, 100, LAN_MOST_US), EVENT_APPEND, server);
            event->a = view_applied(catalog_view(leader->agent->catalog));
            event->b = world->now;
        }
    }
}
