/* `cairn operator usage instances` (contract 3.5). */
#include <inttypes.h>
#include <stdio.h>

#include "agent/command.h"
#include "agent/command_client.h"
#include "agent/command_table.h"

/* The kinds of a mesh, in the order in which they are shown. */
#define KINDS(X)                                                                                   \
    X(api_gateway, "api-gateway")                                                                  \
    X(native, "connect-native")                                                                    \
    X(proxy, "connect-proxy")                                                                      \
    X(ingress_gateway, "ingress-gateway")                                                          \
    X(mesh_gateway, "mesh-gateway")                                                                \
    X(terminating_gateway, "terminating-gateway")

#define MEMBER(member, name) uint64_t member;
struct mesh {
    KINDS(MEMBER)
};

#define MESH_FIELD(member, name) DECODE_FIELD(struct mesh, member, name, DECODE_U64),
static const struct decode_field mesh_fields[] = {KINDS(MESH_FIELD)};
static const struct decode_spec mesh_spec = {"map[string]int", sizeof(struct mesh), mesh_fields,
                                             sizeof mesh_fields / sizeof mesh_fields[0], true};

struct usage {
    uint64_t services, instances, billable, nodes;
    struct mesh mesh;
};

static const struct decode_field usage_fields[] = {
    DECODE_FIELD(struct usage, services, "Services", DECODE_U64),
    DECODE_FIELD(struct usage, instances, "ServiceInstances", DECODE_U64),
    DECODE_FIELD(struct usage, billable, "BillableServiceInstances", DECODE_U64),
    DECODE_FIELD(struct usage, nodes, "Nodes", DECODE_U64),
    {.name = "ConnectServiceInstances",
     .kind = DECODE_INLINE,
     .offset = offsetof(struct usage, mesh),
     .spec = &mesh_spec},
};
static const struct decode_spec usage_spec = {"ServiceUsage", sizeof(struct usage), usage_fields,
                                              sizeof usage_fields / sizeof usage_fields[0], true};

struct answer {
    struct decode_objects usage; /* by datacenter */
};

static const struct decode_field answer_fields[] = {{.name = "Usage",
                                                     .kind = DECODE_OBJECT_MAP,
                                                     .offset = offsetof(struct answer, usage),
                                                     .spec = &usage_spec}};
static const struct decode_spec answer_spec = {"Usage", sizeof(struct answer), answer_fields, 1,
                                               true};

static void add_number(struct command_table *table, uint64_t number) {
    command_table_add(table, arena_format(table->arena, "%" PRIu64, number));
}

/* Without datacenters there is one, and no need to name it. */
static void print_billable(const struct answer *answer, bool datacenters, struct arena *arena) {
    static const char *const head[] = {"Datacenter", "Services", "Service instances", NULL};
    const struct usage *all = answer->usage.v;
    struct command_table table;
    uint64_t services = 0, instances = 0;
    for (uint32_t i = 0; i < answer->usage.count; i++) {
        services += all[i].services;
        instances += all[i].billable;
    }
    printf("Billable Service Instances Total: %" PRIu64 "\n", instances);
    for (uint32_t i = 0; i < answer->usage.count; i++) {
        printf("%s Billable Service Instances: %" PRIu64 "\n", answer->usage.keys[i],
               all[i].billable);
    }
    printf("\nBillable Services\n");
    command_table_init(&table, arena, datacenters ? head : head + 1);
    for (uint32_t i = 0; datacenters && i < answer->usage.count; i++) {
        command_table_add(&table, answer->usage.keys[i]);
        add_number(&table, all[i].services);
        add_number(&table, all[i].instances);
    }
    if (datacenters) {
        command_table_add(&table, "Total");
    }
    uint64_t total = 0;
    for (uint32_t i = 0; i < answer->usage.count; i++) {
        total += all[i].instances;
    }
    add_number(&table, services);
    add_number(&table, total);
    command_table_print(&table, stdout);
}

static void print_nodes(const struct answer *answer, struct arena *arena) {
    static const char *const head[] = {"Datacenter", "Count", NULL};
    const struct usage *all = answer->usage.v;
    struct command_table table;
    uint64_t total = 0;
    printf("\nNodes\n");
    command_table_init(&table, arena, head);
    for (uint32_t i = 0; i < answer->usage.count; i++) {
        command_table_add(&table, answer->usage.keys[i]);
        add_number(&table, all[i].nodes);
        total += all[i].nodes;
    }
    command_table_add(&table, "Total");
    add_number(&table, total);
    command_table_print(&table, stdout);
}

static void add_kind(struct command_table *table, const char *datacenter, const char *kind,
                     uint64_t count) {
    if (datacenter != NULL) {
        command_table_add(table, datacenter);
    }
    command_table_add(table, kind);
    add_number(table, count);
}

static void print_mesh(const struct answer *answer, bool datacenters, struct arena *arena) {
    static const char *const head[] = {"Datacenter", "Type", "Service instances", NULL};
    const struct usage *all = answer->usage.v;
    struct command_table table;
    printf("Connect Services\n");
    command_table_init(&table, arena, datacenters ? head : head + 1);
    for (uint32_t i = 0; i < answer->usage.count; i++) {
        const char *datacenter = datacenters ? answer->usage.keys[i] : NULL;
#define ADD_KIND(member, name) add_kind(&table, datacenter, name, all[i].mesh.member);
        KINDS(ADD_KIND)
    }
    command_table_print(&table, stdout);
}

int command_usage_instances(int argc, char **argv) {
    bool billable = false, mesh = false, datacenters = false;
    const struct command_flag flags[] = {
        {"all-datacenters", COMMAND_FLAG_BOOL, &datacenters, "Of all datacenters."},
        {"billable", COMMAND_FLAG_BOOL, &billable, "Only what is not of a mesh."},
        {"connect", COMMAND_FLAG_BOOL, &mesh, "Only what is of a mesh."}};
    const struct command_spec spec = {
        "operator usage instances [options]", "  Counts services, their instances and nodes.",
        flags, sizeof flags / sizeof flags[0], COMMAND_SET_CLIENT | COMMAND_SET_SERVER};
    const struct client_query global = {"global", NULL};
    struct command_line line;
    struct arena arena;
    struct answer answer = {{0}};
    struct err_text text;
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        struct client *client = client_create(&line.options);
        code = 1;
        if (client != NULL && client_get(client, "/v1/operator/usage", &global, datacenters ? 1 : 0,
                                         &answer_spec, false, &arena, &answer, &text) != ERR_OK) {
            fprintf(stderr, "Error fetching usage information: %s\n", text.s);
        } else if (client != NULL) {
            bool all = billable == mesh;
            if (all || billable) {
                print_billable(&answer, datacenters, &arena);
                print_nodes(&answer, &arena);
            }
            if (all || mesh) {
                printf("%s", all ? "\n" : "");
                print_mesh(&answer, datacenters, &arena);
            }
            code = 0;
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}
