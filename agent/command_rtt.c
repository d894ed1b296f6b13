/* `cairn rtt` (contract 3.3): the estimated round trip between two nodes. */
#include <stdio.h>
#include <string.h>

#include "agent/command.h"
#include "agent/command_client.h"
#include "base/coordinate.h"

struct rtt {
    struct client *client;
    struct arena arena;
    bool wan;
};

/* ---- answers ---- */

struct place {
    const char *vector; /* a list, as JSON */
    double error, adjustment, height;
};

static const struct decode_field place_fields[] = {
    DECODE_FIELD(struct place, vector, "Vec", DECODE_RAW),
    DECODE_FIELD(struct place, error, "Error", DECODE_FLOAT),
    DECODE_FIELD(struct place, adjustment, "Adjustment", DECODE_FLOAT),
    DECODE_FIELD(struct place, height, "Height", DECODE_FLOAT),
};
static const struct decode_spec place_spec = {"Coordinate", sizeof(struct place), place_fields, 4,
                                              true};

struct entry {
    const char *node;
    struct place *place;
};

static const struct decode_field entry_fields[] = {
    DECODE_FIELD(struct entry, node, "Node", DECODE_STR),
    {.name = "Coord",
     .kind = DECODE_OBJECT,
     .spec = &place_spec,
     .offset = offsetof(struct entry, place)},
};
static const struct decode_spec entry_spec = {"CoordinateEntry", sizeof(struct entry), entry_fields,
                                              2, true};

struct datacenter {
    const char *name;
    struct decode_objects entries;
};

static const struct decode_field datacenter_fields[] = {
    DECODE_FIELD(struct datacenter, name, "Datacenter", DECODE_STR),
    {.name = "Coordinates",
     .kind = DECODE_OBJECTS,
     .spec = &entry_spec,
     .offset = offsetof(struct datacenter, entries)},
};
static const struct decode_spec datacenter_spec = {
    "CoordinateDatacenterMap", sizeof(struct datacenter), datacenter_fields, 2, true};

struct self_config {
    const char *node, *datacenter;
};

static const struct decode_field self_config_fields[] = {
    DECODE_FIELD(struct self_config, node, "NodeName", DECODE_STR),
    DECODE_FIELD(struct self_config, datacenter, "Datacenter", DECODE_STR),
};
static const struct decode_spec self_config_spec = {"Config", sizeof(struct self_config),
                                                    self_config_fields, 2, true};

struct self {
    struct self_config *config;
};

static const struct decode_field self_fields[] = {{.name = "Config",
                                                   .kind = DECODE_OBJECT,
                                                   .spec = &self_config_spec,
                                                   .offset = offsetof(struct self, config)}};
static const struct decode_spec self_spec = {"Self", sizeof(struct self), self_fields, 1, true};

/* ---- names ---- */

/* The agent's own; NULL: the sentence is out. */
static const char *own_name(struct rtt *rtt) {
    struct self self = {NULL};
    struct err_text text = {""};
    if (client_get(rtt->client, "/v1/agent/self", NULL, 0, &self_spec, false, &rtt->arena, &self,
                   &text) != ERR_OK) {
        fprintf(stderr, "Unable to look up agent info: %s\n", text.s);
        return NULL;
    }
    const char *node = self.config != NULL ? str_or_empty(self.config->node) : "";
    return rtt->wan ? arena_format(&rtt->arena, "%s.%s", node,
                                   self.config != NULL ? str_or_empty(self.config->datacenter) : "")
                    : node;
}

/* ---- coordinates ---- */

static bool take(const struct place *place, struct coordinate *ret_at) {
    int count = 0, used = 0;
    *ret_at = (struct coordinate){
        .error = place->error, .adjustment = place->adjustment, .height = place->height};
    for (const char *at = str_or_empty(place->vector); *at == '[' || *at == ','; at += used) {
        double number;
        at++;
        if (sscanf(at, "%lf%n", &number, &used) != 1 || count == COORDINATE_DIMENSIONS) {
            return false;
        }
        ret_at->vector[count++] = number;
    }
    return count == COORDINATE_DIMENSIONS;
}

static bool find(const struct decode_objects *entries, const char *name, size_t size,
                 struct coordinate *ret_at) {
    const struct entry *entry = entries->v;
    for (uint32_t i = 0; i < entries->count; i++, entry++) {
        const char *node = str_or_empty(entry->node);
        if (strlen(node) == size && memcmp(node, name, size) == 0 && entry->place != NULL) {
            return take(entry->place, ret_at);
        }
    }
    return false;
}

static bool find_wan(const struct decode_objects *all, const char *name,
                     struct coordinate *ret_at) {
    const char *dot = strrchr(name, '.');
    const struct datacenter *dc = all->v;
    for (uint32_t i = 0; i < all->count; i++, dc++) {
        if (strcmp(str_or_empty(dc->name), dot + 1) == 0 &&
            find(&dc->entries, name, (size_t)(dot - name), ret_at)) {
            return true;
        }
    }
    return false;
}

static int estimate(struct rtt *rtt, const char *const names[2]) {
    struct decode_objects found = {0};
    struct err_text text = {""};
    struct coordinate at[2];
    enum err err = client_get(
        rtt->client, rtt->wan ? "/v1/coordinate/datacenters" : "/v1/coordinate/nodes", NULL, 0,
        rtt->wan ? &datacenter_spec : &entry_spec, true, &rtt->arena, &found, &text);
    if (err != ERR_OK) {
        fprintf(stderr, "Error getting coordinates: %s\n", text.s);
        return 1;
    }
    for (int i = 0; i < 2; i++) {
        bool known = rtt->wan ? find_wan(&found, names[i], &at[i])
                              : find(&found, names[i], strlen(names[i]), &at[i]);
        if (!known) {
            fprintf(stderr, "Could not find a coordinate for node \"%s\"\n", names[i]);
            return 1;
        }
    }
    printf("Estimated %s <-> %s rtt: %.3f ms (using %s coordinates)\n", names[0], names[1],
           coordinate_rtt_s(&at[0], &at[1]) * 1000, rtt->wan ? "WAN" : "LAN");
    return 0;
}

static int run(struct rtt *rtt, const struct command_line *line) {
    const char *names[2] = {NULL, NULL};
    if (line->arg_count < 1 || line->arg_count > 2) {
        fprintf(stderr, "One or two node names must be specified\n");
        return 1;
    }
    for (int i = 0; i < line->arg_count; i++) {
        names[i] = line->args[i];
        if (rtt->wan && strrchr(names[i], '.') == NULL) {
            fprintf(stderr, "Node names must be specified as <node name>.<datacenter> with -wan\n");
            return 1;
        }
    }
    rtt->client = client_create(&line->options);
    if (rtt->client == NULL) {
        return 1;
    }
    names[1] = names[1] != NULL ? names[1] : own_name(rtt);
    return names[1] != NULL ? estimate(rtt, names) : 1;
}

int command_rtt(int argc, char **argv) {
    struct rtt rtt = {.client = NULL};
    struct command_line line;
    const struct command_flag flags[] = {
        {"wan", COMMAND_FLAG_BOOL, &rtt.wan,
         "Between servers of any datacenter, named <node>.<datacenter>."},
    };
    const struct command_spec spec = {
        "rtt [options] NODE [NODE]",
        "  Estimates the round trip between two nodes, or between one and the agent's own.", flags,
        1, COMMAND_SET_CLIENT};
    int code = 1;
    arena_init(&rtt.arena);
    if (command_parse(&spec, argc, argv, &rtt.arena, &line, &code)) {
        code = run(&rtt, &line);
    }
    client_destroy(rtt.client);
    arena_clear(&rtt.arena);
    return code;
}
