/* What the files that parse and write definitions share; for this folder only. */
#ifndef CATALOG_DEFINITION_PARTS_H
#define CATALOG_DEFINITION_PARTS_H

#include "catalog/definition.h"

/* A service object of the agent's or the catalog's requests, as decoded. */
struct locality {
    const char *region, *zone;
};

struct weights {
    int64_t passing, warning;
};

/* Whether a service speaks the mesh's protocol itself; nothing else of Connect outlives decoding.
 */
struct service_connect {
    bool native;
};

struct service_input {
    const char *kind, *id, *name, *address, *socket_path, *token, *name_space, *partition, *peer;
    struct str_list tags;
    struct decode_objects tagged_addresses;
    struct str_map meta;
    int64_t port;
    struct weights *weights;
    bool enable_tag_override;
    struct locality *locality;
    const char *proxy;
    struct service_connect *connect;
    struct check_definition *check;
    struct decode_objects checks;
};

extern const struct decode_spec definition_node_service_spec; /* struct service_input */
extern const struct decode_spec definition_locality_spec;
extern const struct decode_spec definition_weights_spec;
extern const struct decode_spec definition_tagged_spec;
/* The Definition of an external check: a check's fields, lenient to others. */
extern const struct decode_spec definition_external_spec;

/* Absent strings come from the decoder as NULL: they become "". */
void definition_fill_strings(struct check_definition *check);
struct catalog_service definition_take_service(const struct service_input *in, struct arena *arena);
/* From what was decoded to a definition: the rules, ids and names. ERR_INVALID or ERR_REFUSED. */
enum err definition_finish_service(const struct service_input *in, struct arena *arena,
                                   struct service_definition *ret_service, struct err_text *text);
enum err definition_finish_check(struct check_definition *check, struct err_text *text);
bool definition_any_address(const char *s);
enum err definition_judge_tenancy(const char *name_space, const char *partition,
                                  struct err_text *text);
enum err definition_judge_weights(const struct weights *weights, struct err_text *text);
enum err definition_judge_tagged(const struct catalog_service *service, struct err_text *text);
/* Puts "Request decode failed: " before the sentence. */
enum err definition_decode_failed(struct err_text *text);
/* The contract's Definition object as JSON text, "" when nothing of it is set. */
const char *definition_format_probe(const struct check_definition *check, struct arena *arena);

#endif
