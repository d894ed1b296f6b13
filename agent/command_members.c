/* `cairn members` and `cairn info`: what this agent knows of itself and of its pool. */
#include <regex.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_client.h"
#include "agent/command_table.h"

/* ---- members ---- */

struct member {
    const char *name, *ip;
    int64_t port, status;
    struct str_map tags;
};

static const struct decode_field member_fields[] = {
    DECODE_FIELD(struct member, name, "Name", DECODE_STR),
    DECODE_FIELD(struct member, ip, "Addr", DECODE_STR),
    DECODE_FIELD(struct member, port, "Port", DECODE_INT),
    DECODE_FIELD(struct member, status, "Status", DECODE_INT),
    DECODE_FIELD(struct member, tags, "Tags", DECODE_STR_MAP),
};

static const struct decode_spec member_spec = {"AgentMember", sizeof(struct member), member_fields,
                                               sizeof member_fields / sizeof member_fields[0],
                                               true};

static const char *tag(const struct member *member, const char *key) {
    return str_or_empty(str_map_get(&member->tags, key));
}

static bool is_server(const struct member *member) {
    return strcmp(tag(member, "role"), "consul") == 0;
}

static const char *segment_of(const struct member *member) {
    const char *segment = tag(member, "segment");
    return is_server(member) ? "<all>" : *segment != '\0' ? segment : "<default>";
}

static const char *status_of(const struct member *member) {
    static const char *const words[] = {"none", "alive", "leaving", "left", "failed"};
    bool known = member->status >= 0 && member->status < 5;
    return known ? words[member->status] : "unknown";
}

static int compare(const void *left, const void *right) {
    const struct member *a = left, *b = right;
    if (is_server(a) != is_server(b)) {
        return is_server(a) ? -1 : 1;
    }
    int order = strcmp(segment_of(a), segment_of(b));
    return order != 0 ? order : strcmp(a->name, b->name);
}

static const char *address_of(const struct member *member, struct arena *arena) {
    bool v6 = strchr(member->ip, ':') != NULL;
    return arena_format(arena, v6 ? "[%s]:%lld" : "%s:%lld", member->ip, (long long)member->port);
}

static void add_brief(struct command_table *table, const struct member *member) {
    const char *build = tag(member, "build"), *role = tag(member, "role");
    const char *cells[] = {
        member->name,
        address_of(member, table->arena),
        status_of(member),
        is_server(member)           ? "server"
        : strcmp(role, "node") == 0 ? "client"
                                    : "unknown",
        arena_strndup(table->arena, build, strcspn(build, ":")),
        tag(member, "vsn"),
        tag(member, "dc"),
        "default",
        segment_of(member),
    };
    for (size_t i = 0; i < sizeof cells / sizeof cells[0]; i++) {
        command_table_add(table, cells[i]);
    }
}

static void add_detailed(struct command_table *table, const struct member *member) {
    const char *tags = "";
    for (uint32_t i = 0; i < member->tags.count; i++) {
        tags = arena_format(table->arena, "%s%s%s=%s", tags, i > 0 ? "," : "",
                            member->tags.v[i].key, member->tags.v[i].value);
    }
    command_table_add(table, member->name);
    command_table_add(table, address_of(member, table->arena));
    command_table_add(table, status_of(member));
    command_table_add(table, tags);
}

static int print_members(struct decode_objects *members, const char *status, bool detailed,
                         struct arena *arena) {
    static const char *const brief_head[] = {"Node",     "Address", "Status",    "Type",    "Build",
                                             "Protocol", "DC",      "Partition", "Segment", NULL};
    static const char *const detailed_head[] = {"Node", "Address", "Status", "Tags", NULL};
    struct command_table table;
    regex_t wanted;
    unsigned shown = 0;
    if (regcomp(&wanted, status, REG_EXTENDED | REG_NOSUB) != 0) {
        fprintf(stderr, "Failed to compile status regexp: %s\n", status);
        return 1;
    }
    command_table_init(&table, arena, detailed ? detailed_head : brief_head);
    if (members->count > 0) {
        qsort(members->v, members->count, sizeof(struct member), compare);
    }
    for (uint32_t i = 0; i < members->count; i++) {
        const struct member *member = (const struct member *)members->v + i;
        if (regexec(&wanted, status_of(member), 0, NULL, 0) == 0) {
            shown++;
            (detailed ? add_detailed : add_brief)(&table, member);
        }
    }
    regfree(&wanted);
    if (shown > 0) {
        command_table_print(&table, stdout);
    }
    return shown > 0 ? 0 : 2;
}

int command_members(int argc, char **argv) {
    bool detailed = false, wan = false;
    const char *status = ".*", *segment = "_all", *filter = "";
    const struct command_flag flags[] = {
        {"detailed", COMMAND_FLAG_BOOL, &detailed, "Show the tags of each member."},
        {"filter", COMMAND_FLAG_STR, &filter, "Expression that members must match."},
        {"segment", COMMAND_FLAG_STR, &segment, "Only members of this segment."},
        {"status", COMMAND_FLAG_STR, &status, "Only members whose status matches this pattern."},
        {"wan", COMMAND_FLAG_BOOL, &wan, "The servers of the WAN pool instead."},
    };
    const struct command_spec spec = {
        "members [options]", "  Lists the members of this agent's pool.", flags,
        sizeof flags / sizeof flags[0], COMMAND_SET_CLIENT | COMMAND_SET_TENANCY};
    struct command_line line;
    struct arena arena;
    struct err_text text = {""};
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        struct client_query queries[3];
        size_t count = 0;
        struct decode_objects members = {0};
        queries[count++] = (struct client_query){"segment", segment};
        if (wan) {
            queries[count++] = (struct client_query){"wan", "1"};
        }
        if (*filter != '\0') {
            queries[count++] = (struct client_query){"filter", filter};
        }
        struct client *client = client_create(&line.options);
        if (client != NULL && client_get(client, "/v1/agent/members", queries, count, &member_spec,
                                         true, &arena, &members, &text) == ERR_OK) {
            code = print_members(&members, status, detailed, &arena);
        } else if (client != NULL) {
            fprintf(stderr, "Error retrieving members: %s\n", text.s);
            code = 1;
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}

/* ---- info ---- */

/* Sections in the order in which they are printed. */
struct stats {
    struct str_map agent, build, consul, raft, runtime, serf_lan, serf_wan;
};

static const struct decode_field stats_fields[] = {
    DECODE_FIELD(struct stats, agent, "agent", DECODE_STR_MAP),
    DECODE_FIELD(struct stats, build, "build", DECODE_STR_MAP),
    DECODE_FIELD(struct stats, consul, "consul", DECODE_STR_MAP),
    DECODE_FIELD(struct stats, raft, "raft", DECODE_STR_MAP),
    DECODE_FIELD(struct stats, runtime, "runtime", DECODE_STR_MAP),
    DECODE_FIELD(struct stats, serf_lan, "serf_lan", DECODE_STR_MAP),
    DECODE_FIELD(struct stats, serf_wan, "serf_wan", DECODE_STR_MAP),
};

#define SECTIONS (sizeof stats_fields / sizeof stats_fields[0])

static const struct decode_spec stats_spec = {"Stats", sizeof(struct stats), stats_fields, SECTIONS,
                                              true};

struct self {
    struct stats stats;
};

static const struct decode_field self_fields[] = {
    {.name = "Stats", .kind = DECODE_INLINE, .spec = &stats_spec},
};

static const struct decode_spec self_spec = {"Self", sizeof(struct self), self_fields, 1, true};

static void print_stats(const struct stats *stats) {
    for (size_t i = 0; i < SECTIONS; i++) {
        const struct str_map *section =
            (const void *)((const char *)stats + stats_fields[i].offset);
        if (section->present) {
            printf("%s:\n", stats_fields[i].name);
        }
        for (uint32_t k = 0; k < section->count; k++) {
            printf("\t%s = %s\n", section->v[k].key, section->v[k].value);
        }
    }
}

int command_info(int argc, char **argv) {
    const struct command_spec spec = {"info [options]", "  Shows numbers about this agent.", NULL,
                                      0, COMMAND_SET_CLIENT};
    struct command_line line;
    struct arena arena;
    struct err_text text = {""};
    int code = 1;
    arena_init(&arena);
    if (command_parse(&spec, argc, argv, &arena, &line, &code)) {
        struct self self = {0};
        struct client *client = client_create(&line.options);
        code = 1;
        if (client != NULL && client_get(client, "/v1/agent/self", NULL, 0, &self_spec, false,
                                         &arena, &self, &text) == ERR_OK) {
            print_stats(&self.stats);
            code = 0;
        } else if (client != NULL) {
            fprintf(stderr, "Error querying agent: %s\n", text.s);
        }
        client_destroy(client);
    }
    arena_clear(&arena);
    return code;
}
