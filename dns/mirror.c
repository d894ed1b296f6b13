/* Answers from rows that are kept elsewhere than where they are written: of another datacenter when
 * its servers do not answer, and of services that are subscribed on an agent without -server. */
#include <stdio.h>

#include "dns/internal.h"

/* From here on the answer is about these rows. */
static void turn(struct answer *answer, const struct backend_mirror *mirror) {
    answer->mirrored_question = *answer->question;
    answer->mirrored_question.view = mirror->view;
    answer->mirrored_question.partial = false;
    answer->question = &answer->mirrored_question;
    answer->mirrored = true;
    answer->age_ms = mirror->age_ms;
}

static void set_datacenter(struct answer *answer, const char *datacenter, size_t size) {
    answer->dc[0] = (uint8_t)size;
    str_lower((char *)answer->dc + 1, size + 1, datacenter);
}

const struct failover_source *mirror_failover(const struct answer *answer,
                                              const struct asked *asked,
                                              const struct dns_name *name) {
    const struct backend *backend = answer->question->backend;
    /* Who names a datacenter means that one; what an alias leads to stays where the alias is. */
    bool may = backend != NULL && asked->is_question && !answer->mirrored && name->dc[0] == '\0';
    return may ? backend->failover : NULL;
}

void mirror_turn_to(struct answer *answer, const struct failover_place *place) {
    struct dns_scratch *scratch = answer->scratch;
    struct backend_mirror mirror = {.view = place->view, .age_ms = place->age_ms};
    size_t size = strlen(place->datacenter);
    if (size > DNS_LABEL_BYTES) {
        return;
    }
    turn(answer, &mirror);
    set_datacenter(answer, place->datacenter, size);
    struct record *record = section_add(&answer->additional);
    if (record != NULL) {
        memcpy(scratch->place, place->datacenter, size + 1);
        scratch->place_pair = (struct str_pair){"cairn-datacenter", scratch->place};
        record->type = DNS_TYPE_TXT;
        record->owner_is_qname = true;
        record->meta = &scratch->place_pair;
    }
}

bool mirror_turn_far(struct answer *answer) {
    const struct backend *backend = answer->question->backend;
    struct backend_mirror mirror;
    size_t size = strlen(answer->name.dc);
    if (backend == NULL || backend->get_mirror == NULL || size > DNS_LABEL_BYTES ||
        !backend->get_mirror(backend->context, answer->name.dc, &mirror)) {
        return false;
    }
    if (answer->question->resolved == NULL && mirror.age_ms < LIMIT_MIRROR_LOST_MS) {
        answer->scratch->wanted.mirrored = true; /* its servers are asked first */
        return false;
    }
    turn(answer, &mirror);
    set_datacenter(answer, answer->name.dc, size);
    return true;
}

/* service NULL: the rows of all that are subscribed. */
static bool find_kept(const struct answer *answer, const char *service,
                      struct backend_mirror *ret_mirror) {
    const struct backend *backend = answer->question->backend;
    return backend != NULL && backend->get_subscribed != NULL &&
           dc_is_ours(answer, answer->name.dc) &&
           backend->get_subscribed(backend->context, service, ret_mirror);
}

/* A node that SRV has named, while no server answers. */
static bool turn_to_node(struct answer *answer, bool asked) {
    const struct dns_question *question = answer->question;
    const char *node = answer->name.subject;
    struct backend_mirror mirror;
    bool own = question->partial && view_get_node(question->view, node) != NULL;
    if (!asked || own || !find_kept(answer, NULL, &mirror) ||
        view_get_node(mirror.view, node) == NULL) {
        return false;
    }
    turn(answer, &mirror);
    return true;
}

bool mirror_turn_subscribed(struct answer *answer) {
    const struct dns_question *question = answer->question;
    struct backend_mirror mirror;
    bool asked = question->resolved != NULL || question->partial; /* no server answers */
    if (answer->name.kind == DNS_NAME_NODE) {
        return turn_to_node(answer, asked);
    }
    if (answer->name.kind != DNS_NAME_SERVICE ||
        !find_kept(answer, answer->name.subject, &mirror)) {
        return false;
    }
    if (!asked && (mirror.age_ms > LIMIT_MIRROR_FRESH_MS || !answer->config->allow_stale)) {
        return false;
    }
    if (question->partial && !view_has_instances(mirror.view, answer->name.subject)) {
        return false; /* this agent's own rows may know better */
    }
    turn(answer, &mirror);
    return true;
}

void mirror_tell_age(struct answer *answer) {
    struct dns_scratch *scratch = answer->scratch;
    if (!answer->mirrored || answer->age_ms <= LIMIT_MIRROR_FRESH_MS ||
        answer->answers.count == 0) {
        return;
    }
    struct record *record = section_add(&answer->additional);
    if (record == NULL) {
        return;
    }
    snprintf(scratch->age, sizeof scratch->age, "%lld", (long long)answer->age_ms);
    scratch->age_pair = (struct str_pair){"cairn-mirror-age-ms", scratch->age};
    record->type = DNS_TYPE_TXT;
    record->owner_is_qname = true;
    record->meta = &scratch->age_pair;
}
