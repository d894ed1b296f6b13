/* What an agent says of where a node is (contract 13). */
#include <stdlib.h>
#include <string.h>

#include "base/limits.h"
#include "catalog/definition_parts.h"

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

struct place {
    const char *vector; /* a list, as JSON */
    double error, adjustment, height;
};

struct update {
    const char *dc, *node, *segment, *partition;
    struct place *place;
};

static const struct decode_field place_fields[] = {
    DECODE_FIELD(struct place, vector, "Vec", DECODE_RAW),
    DECODE_FIELD(struct place, error, "Error", DECODE_FLOAT),
    DECODE_FIELD(struct place, adjustment, "Adjustment", DECODE_FLOAT),
    DECODE_FIELD(struct place, height, "Height", DECODE_FLOAT),
};

static const struct decode_spec place_spec = {"Coordinate", sizeof(struct place), place_fields,
                                              COUNT(place_fields), false};

static const struct decode_field update_fields[] = {
    DECODE_FIELD(struct update, dc, "Datacenter", DECODE_STR),
    DECODE_FIELD(struct update, node, "Node", DECODE_STR),
    DECODE_FIELD(struct update, segment, "Segment", DECODE_STR),
    {.name = "Coord",
     .kind = DECODE_OBJECT,
     .spec = &place_spec,
     .offset = offsetof(struct update, place)},
    DECODE_FIELD(struct update, partition, "Partition", DECODE_STR),
    {.name = "Token", .kind = DECODE_IGNORE},
};

static const struct decode_spec update_spec = {"CoordinateUpdateRequest", sizeof(struct update),
                                               update_fields, COUNT(update_fields), false};

/* The numbers of a list, whose JSON is known to be well-formed and compact; -1: it holds something
 * else. Those beyond the room are counted. */
static int read_numbers(const char *json, double *ret_numbers, int room) {
    int count = 0;
    if (json == NULL || strcmp(json, "null") == 0 || strcmp(json, "[]") == 0) {
        return 0;
    }
    if (*json++ != '[') {
        return -1;
    }
    for (;; json++) {
        char *end;
        double number = strtod(json, &end);
        if (end == json || (*end != ',' && *end != ']') || strspn(json, "+-.0123456789eE") == 0) {
            return -1;
        }
        if (count < room) {
            ret_numbers[count] = number;
        }
        count++;
        json = end;
        if (*json == ']') {
            return count;
        }
    }
}

enum err definition_parse_coordinate(const char *json, size_t size, struct arena *arena,
                                     struct catalog_coordinate *ret_row, const char **ret_dc,
                                     struct err_text *text) {
    struct update in = {.dc = NULL};
    if (decode_json(&update_spec, DECODE_BODY, json, size, arena, &in, text) != ERR_OK) {
        return definition_decode_failed(text);
    }
    if (definition_judge_tenancy("", in.partition, text) != ERR_OK) {
        return ERR_INVALID;
    }
    struct coordinate at = {.error = 0};
    int numbers = 0;
    if (in.place != NULL) {
        numbers = read_numbers(in.place->vector, at.vector, COORDINATE_DIMENSIONS);
        at.error = in.place->error;
        at.adjustment = in.place->adjustment;
        at.height = in.place->height;
    }
    if (numbers < 0) {
        err_set(text, ERR_INVALID,
                "json: cannot unmarshal value into Go struct field Coordinate.Coord.Vec of type "
                "[]float64");
        return definition_decode_failed(text);
    }
    if (numbers != COORDINATE_DIMENSIONS) {
        return err_set(text, ERR_REFUSED, "incompatible coordinate");
    }
    if (!coordinate_is_sane(&at)) {
        return err_set(text, ERR_REFUSED, "invalid coordinate");
    }
    *ret_row = (struct catalog_coordinate){
        .node = str_or_empty(in.node), .segment = str_or_empty(in.segment), .at = at};
    *ret_dc = str_or_empty(in.dc);
    if (strlen(ret_row->node) > LIMIT_NAME_BYTES || strlen(ret_row->segment) > LIMIT_NAME_BYTES) {
        return err_set(text, ERR_REFUSED, "names are limited to %d bytes", LIMIT_NAME_BYTES);
    }
    return ERR_OK;
}

void definition_write_coordinate(struct json *json, const struct coordinate *at) {
    json_object_begin(json);
    json_key(json, "Vec");
    json_array_begin(json);
    for (int i = 0; i < COORDINATE_DIMENSIONS; i++) {
        json_f64(json, at->vector[i]);
    }
    json_array_end(json);
    json_key(json, "Error");
    json_f64(json, at->error);
    json_key(json, "Adjustment");
    json_f64(json, at->adjustment);
    json_key(json, "Height");
    json_f64(json, at->height);
    json_object_end(json);
}
