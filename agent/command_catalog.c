/* `cairn catalog datacenters`, `cairn catalog nodes` and `cairn catalog services`. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_client.h"
#include "agent/command_table.h"

#define QUERIES_MAX 64
#define SERVICE_GAP 6 /* blanks between the longest name and the tags */

/* What the three share: parse, make a client, run, clean up. */
struct catalog_command_run {
    struct client *client;
    struct arena arena;
    struct command_line line;
    struct client_query queries[QUERIES_MAX];
    size_t query_count;
    struct err_text text;
};

static bool begin(struct catalog_command_run *run, const struct command_spec *spec, int argc,
                  char **argv, int *ret_code) {
    run->client = NULL;
    run->query_count = 0;
    run->text.s[0] = '\0';
    if (!command_parse(spec, argc, argv, &run->arena, &run->line, ret_code)) {
        return false;
    }
    *ret_code = 1;
    run->client = client_create(&run->line.options);
    return run->client != NULL;
}

static void end(struct catalog_command_run *run) {
    client_destroy(run->client);
    arena_clear(&run->arena);
}

static void ask(struct catalog_command_run *run, const char *name, const char *value) {
    if (*value != '\0' && run->query_count < QUERIES_MAX) {
        run->queries[run->query_count++] = (struct client_query){name, value};
    }
}

/* -node-meta key=value, as ?node-meta=key:value. */
static void ask_node_meta(struct catalog_command_run *run, const struct str_list *pairs) {
    for (uint32_t i = 0; i < pairs->count; i++) {
        char *pair = arena_strdup(&run->arena, pairs->v[i]);
        char *equals = strchr(pair, '=');
        if (equals != NULL) {
            *equals = ':';
        }
        ask(run, "node-meta", pair);
    }
}

/* ---- datacenters ---- */

struct datacenters {
    struct str_list names;
};

int command_catalog_datacenters(int argc, char **argv) {
    static const struct decode_field fields[] = {
        DECODE_FIELD(struct datacenters, names, "names", DECODE_STR_LIST)};
    static const struct decode_spec answer = {"datacenters", sizeof(struct datacenters), fields, 1,
                                              true};
    const struct command_spec spec = {"catalog datacenters [options]",
                                      "  Lists the datacenters that this agent knows.", NULL, 0,
                                      COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    struct catalog_command_run run;
    struct buf body;
    int code = 1;
    arena_init(&run.arena);
    if (begin(&run, &spec, argc, argv, &code)) {
        struct datacenters found = {0};
        enum err err = client_request(run.client, "GET", "/v1/catalog/datacenters", NULL, 0, NULL,
                                      &body, &run.text);
        if (err == ERR_OK) {
            const char *object = arena_format(&run.arena, "{\"names\":%.*s}", (int)body.count,
                                              body.count > 0 ? body.data : "");
            err = decode_json(&answer, DECODE_BODY, object, strlen(object), &run.arena, &found,
                              &run.text);
        }
        buf_clear(&body);
        for (uint32_t i = 0; err == ERR_OK && i < found.names.count; i++) {
            printf("%s\n", found.names.v[i]);
        }
        if (err != ERR_OK) {
            fprintf(stderr, "Error listing datacenters: %s\n", run.text.s);
        }
        code = err != ERR_OK;
    }
    end(&run);
    return code;
}

/* ---- nodes ---- */

/* A row of catalog/nodes, or of catalog/service. */
struct node {
    const char *id, *name, *address, *dc;
    struct str_map tagged, meta, node_meta;
};

static const struct decode_field node_fields[] = {
    DECODE_FIELD(struct node, id, "ID", DECODE_STR),
    DECODE_FIELD(struct node, name, "Node", DECODE_STR),
    DECODE_FIELD(struct node, address, "Address", DECODE_STR),
    DECODE_FIELD(struct node, dc, "Datacenter", DECODE_STR),
    DECODE_FIELD(struct node, tagged, "TaggedAddresses", DECODE_STR_MAP),
    DECODE_FIELD(struct node, meta, "Meta", DECODE_STR_MAP),
    DECODE_FIELD(struct node, node_meta, "NodeMeta", DECODE_STR_MAP),
};

static const struct decode_spec node_spec = {"Node", sizeof(struct node), node_fields,
                                             sizeof node_fields / sizeof node_fields[0], true};

static const char *join(const struct str_map *map, struct arena *arena) {
    const char *text = "";
    for (uint32_t i = 0; i < map->count; i++) {
        text = arena_format(arena, "%s%s%s=%s", text, i > 0 ? ", " : "", map->v[i].key,
                            map->v[i].value);
    }
    return text;
}

static void print_nodes(const struct decode_objects *nodes, bool detailed, struct arena *arena) {
    static const char *const brief[] = {"Node", "ID", "Address", "DC", NULL};
    static const char *const full[] = {"Node", "ID", "Address", "DC", "TaggedAddresses",
                                       "Meta", NULL};
    struct command_table table;
    command_table_init(&table, arena, detailed ? full : brief);
    for (uint32_t i = 0; i < nodes->count; i++) {
        const struct node *node = (const struct node *)nodes->v + i;
        const char *id = str_or_empty(node->id);
        command_table_add(&table, str_or_empty(node->name));
        command_table_add(&table, detailed ? id : arena_strndup(arena, id, strcspn(id, "-")));
        command_table_add(&table, str_or_empty(node->address));
        command_table_add(&table, str_or_empty(node->dc));
        if (detailed) {
            command_table_add(&table, join(&node->tagged, arena));
            command_table_add(
                &table, join(node->node_meta.present ? &node->node_meta : &node->meta, arena));
        }
    }
    command_table_print(&table, stdout);
}

int command_catalog_nodes(int argc, char **argv) {
    bool detailed = false;
    const char *near = "", *service = "", *filter = "";
    struct str_list node_meta = {0};
    const struct command_flag flags[] = {
        {"detailed", COMMAND_FLAG_BOOL, &detailed, "Show full IDs, tagged addresses and metadata."},
        {"filter", COMMAND_FLAG_STR, &filter, "Expression that nodes must match."},
        {"near", COMMAND_FLAG_STR, &near, "Order by distance from this node, or from _agent."},
        {"node-meta", COMMAND_FLAG_LIST, &node_meta,
         "Only nodes with this metadata, as key=value. May be repeated."},
        {"service", COMMAND_FLAG_STR, &service, "Only nodes that have this service."},
    };
    const struct command_spec spec = {
        "catalog nodes [options]", "  Lists the nodes of the catalog.", flags,
        sizeof flags / sizeof flags[0], COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    struct catalog_command_run run;
    int code = 1;
    arena_init(&run.arena);
    if (begin(&run, &spec, argc, argv, &code)) {
        struct decode_objects nodes = {0};
        const char *path = *service == '\0' ? "/v1/catalog/nodes"
                                            : arena_format(&run.arena, "/v1/catalog/service/%s",
                                                           client_escape(service, &run.arena));
        ask(&run, "near", near);
        ask(&run, "filter", filter);
        ask_node_meta(&run, &node_meta);
        enum err err = client_get(run.client, path, run.queries, run.query_count, &node_spec, true,
                                  &run.arena, &nodes, &run.text);
        if (err != ERR_OK) {
            fprintf(stderr, "Error listing nodes: %s\n", run.text.s);
        } else if (nodes.count == 0) {
            fprintf(stderr, "No nodes match the given query - try expanding your search.\n");
        } else {
            print_nodes(&nodes, detailed, &run.arena);
        }
        code = err != ERR_OK;
    }
    end(&run);
    return code;
}

/* ---- services ---- */

struct services {
    struct str_multimap map; /* name -> tags */
};

struct node_service {
    const char *name;
    struct str_list tags;
};

struct node_services {
    struct decode_objects services; /* by id */
};

static int compare_tags(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static enum err get_all(struct catalog_command_run *run, struct str_multimap *ret_services) {
    static const struct decode_field fields[] = {
        DECODE_FIELD(struct services, map, "map", DECODE_MULTIMAP)};
    static const struct decode_spec answer = {"services", sizeof(struct services), fields, 1, true};
    struct services found = {0};
    struct buf body;
    enum err err = client_request(run->client, "GET", "/v1/catalog/services", run->queries,
                                  run->query_count, NULL, &body, &run->text);
    if (err == ERR_OK) {
        const char *object = arena_format(&run->arena, "{\"map\":%.*s}", (int)body.count,
                                          body.count > 0 ? body.data : "");
        err = decode_json(&answer, DECODE_BODY, object, strlen(object), &run->arena, &found,
                          &run->text);
    }
    buf_clear(&body);
    *ret_services = found.map;
    return err;
}

static int compare_names(const void *a, const void *b) {
    const struct str_list_pair *left = a, *right = b;
    return strcmp(left->key, right->key);
}

/* Instances of one name are one entry with the tags of all. */
static void merge(struct str_multimap *map, const char *name, const struct str_list *tags,
                  struct arena *arena) {
    uint32_t at = 0;
    while (at < map->count && strcmp(map->v[at].key, name) != 0) {
        at++;
    }
    struct str_list *have = &map->v[at].values;
    if (at == map->count) {
        map->v[map->count++] = (struct str_list_pair){name, {0}};
    }
    const char **v = arena_alloc(arena, (have->count + tags->count + 1) * sizeof *v);
    for (uint32_t i = 0; i < have->count + tags->count; i++) {
        v[i] = i < have->count ? have->v[i] : tags->v[i - have->count];
    }
    *have = (struct str_list){v, have->count + tags->count};
}

static enum err get_of_node(struct catalog_command_run *run, const char *node,
                            struct str_multimap *ret_services) {
    static const struct decode_field service_fields[] = {
        DECODE_FIELD(struct node_service, name, "Service", DECODE_STR),
        DECODE_FIELD(struct node_service, tags, "Tags", DECODE_STR_LIST)};
    static const struct decode_spec service = {"AgentService", sizeof(struct node_service),
                                               service_fields, 2, true};
    static const struct decode_field fields[] = {
        {.name = "Services",
         .kind = DECODE_OBJECT_MAP,
         .offset = offsetof(struct node_services, services),
         .spec = &service}};
    static const struct decode_spec answer = {"CatalogNode", sizeof(struct node_services), fields,
                                              1, true};
    struct node_services found = {0};
    const char *path =
        arena_format(&run->arena, "/v1/catalog/node/%s", client_escape(node, &run->arena));
    enum err err = client_get(run->client, path, run->queries, run->query_count, &answer, false,
                              &run->arena, &found, &run->text);
    *ret_services = (struct str_multimap){
        .v = arena_alloc(&run->arena, (found.services.count + 1) * sizeof(struct str_list_pair))};
    for (uint32_t i = 0; err == ERR_OK && i < found.services.count; i++) {
        const struct node_service *one = (const struct node_service *)found.services.v + i;
        merge(ret_services, str_or_empty(one->name), &one->tags, &run->arena);
    }
    qsort(ret_services->v, ret_services->count, sizeof *ret_services->v, compare_names);
    return err;
}

static void print_services(const struct str_multimap *services, bool tags) {
    size_t widest = 0;
    for (uint32_t i = 0; i < services->count; i++) {
        size_t size = strlen(services->v[i].key);
        widest = size > widest ? size : widest;
    }
    for (uint32_t i = 0; i < services->count; i++) {
        struct str_list *list = &services->v[i].values;
        bool last = i + 1 == services->count;
        if (!tags || (last && list->count == 0)) {
            printf("%s\n", services->v[i].key);
            continue;
        }
        if (list->count > 0) {
            qsort(list->v, list->count, sizeof *list->v, compare_tags);
        }
        printf("%-*s", (int)(widest + SERVICE_GAP), services->v[i].key);
        for (uint32_t t = 0; t < list->count; t++) {
            printf("%s%s", t > 0 ? "," : "", list->v[t]);
        }
        printf("\n");
    }
}

int command_catalog_services(int argc, char **argv) {
    bool tags = false;
    const char *node = "";
    struct str_list node_meta = {0};
    const struct command_flag flags[] = {
        {"node", COMMAND_FLAG_STR, &node, "Only services of this node, by its name or ID."},
        {"node-meta", COMMAND_FLAG_LIST, &node_meta,
         "Only services of nodes with this metadata, as key=value. May be repeated."},
        {"tags", COMMAND_FLAG_BOOL, &tags, "Show the tags of each service."},
    };
    const struct command_spec spec = {
        "catalog services [options]", "  Lists the services of the catalog.", flags,
        sizeof flags / sizeof flags[0],
        COMMAND_SET_CLIENT | COMMAND_SET_SERVER | COMMAND_SET_TENANCY};
    struct catalog_command_run run;
    int code = 1;
    arena_init(&run.arena);
    if (begin(&run, &spec, argc, argv, &code)) {
        struct str_multimap services = {0};
        ask_node_meta(&run, &node_meta);
        enum err err =
            *node != '\0' ? get_of_node(&run, node, &services) : get_all(&run, &services);
        if (err != ERR_OK) {
            fprintf(stderr, "Error listing services: %s\n", run.text.s);
        } else if (services.count == 0) {
            fprintf(stderr, "No services match the given query - try expanding your search.\n");
        } else {
            print_services(&services, tags);
        }
        code = err != ERR_OK;
    }
    end(&run);
    return code;
}
