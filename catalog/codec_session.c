/* Sessions as protobuf. */
#include "catalog/codec_parts.h"
#include "catalog/codec_unknown.h"

Pb__Session *codec_put_session(const struct catalog_session *session, struct arena *arena) {
    Pb__Session *pb = arena_alloc(arena, sizeof *pb);
    pb__session__init(pb);
    pb->id = writable(session->id);
    pb->name = writable(session->name);
    pb->node = writable(session->node);
    pb->behavior = writable(session->behavior);
    pb->ttl = writable(session->ttl);
    pb->ttl_ns = session->ttl_ns;
    pb->lock_delay_ns = session->lock_delay_ns;
    pb->checks = (char **)(uintptr_t)session->checks.v;
    pb->n_checks = session->checks.count;
    pb->node_checks = (char **)(uintptr_t)session->node_checks.v;
    pb->n_node_checks = session->node_checks.count;
    pb->service_checks = (char **)(uintptr_t)session->service_checks.v;
    pb->n_service_checks = session->service_checks.count;
    pb->node_checks_present = session->node_checks_present;
    pb->service_checks_present = session->service_checks_present;
    pb->create_index = session->create_index;
    pb->modify_index = session->modify_index;
    codec_give_unknown(&pb->base, &session->unknown, arena);
    return pb;
}

struct catalog_session codec_get_session(const Pb__Session *pb, struct arena *arena) {
    return (struct catalog_session){
        .id = pb->id,
        .name = pb->name,
        .node = pb->node,
        .behavior = pb->behavior,
        .ttl = pb->ttl,
        .ttl_ns = pb->ttl_ns,
        .lock_delay_ns = pb->lock_delay_ns,
        .checks = get_list(pb->checks, pb->n_checks, arena),
        .node_checks = get_list(pb->node_checks, pb->n_node_checks, arena),
        .service_checks = get_list(pb->service_checks, pb->n_service_checks, arena),
        .node_checks_present = pb->node_checks_present,
        .service_checks_present = pb->service_checks_present,
        .create_index = pb->create_index,
        .modify_index = pb->modify_index,
        .unknown = codec_take_unknown(&pb->base, arena),
    };
}
