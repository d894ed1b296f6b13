/* Between the files of this folder: an answer while it is made.
 *
 *   lookup.c, chase.c   gather records, as references into the view
 *   record.c            writes a record
 *   answer.c            decides on the message, trims it, writes it */
#ifndef DNS_INTERNAL_H
#define DNS_INTERNAL_H

#include "base/arena.h"
#include "base/limits.h"
#include "dns/answer.h"
#include "dns/name.h"

struct dns_snapshot {
    struct dns_config config; /* strings and lists live in this block */
    /* The same entries as config.service_ttls: first the exact ones by name, then the prefixes. */
    struct dns_service_ttl *ttls;
    uint32_t exact_ttl_count;
    unsigned domain_count;
    struct dns_domain domains[DNS_DOMAINS]; /* [0] is the configured one */
    uint8_t dc[DNS_LABEL_BYTES + 2];        /* as a label: length, then text */
};

/* A name in a record. Those made of parts end in the datacenter and a domain. */
enum name_form {
    NAME_WIRE,   /* wire: a wire name */
    NAME_TEXT,   /* text: a host name from the catalog */
    NAME_NODE,   /* text: <text>.node.<dc>.<domain> */
    NAME_SERVER, /* the same in lower case */
    NAME_ADDR,   /* ip: <hex>.addr.<dc>.<domain> */
    NAME_SERVICE /* text: <text>.service.<dc>.<domain> */
};

struct name_ref {
    uint8_t form;
    uint8_t ip_bytes;
    union {
        const char *text;
        const uint8_t *wire;
        uint8_t ip[16];
    };
};

struct record {
    uint16_t type;
    uint16_t of_answer;   /* in the additional section: index of the answer it belongs to */
    bool owner_is_qname;  /* else `owner` counts */
    bool owner_is_target; /* the target of that SRV answer */
    bool is_raw;
    bool kept_on_trim; /* survives when the answers were trimmed */
    uint8_t ip_bytes;  /* A, AAAA */
    uint16_t port, weight;
    uint32_t ttl_s;
    struct name_ref owner;
    union {
        uint8_t ip[16];              /* A, AAAA */
        struct name_ref target;      /* CNAME, NS, PTR, SRV */
        const struct str_pair *meta; /* TXT */
        struct {                     /* TXT with is_raw, as it came from a recursor */
            const uint8_t *bytes;
            uint16_t size;
        } raw;
    };
    /* SRV, to tell doubles */
    const char *node, *address;
};

/* A set of records by value, for telling doubles in long sections. */
#define SEEN_SLOTS 16384
#define SEEN_LINEAR 24 /* up to this many records comparing each is quicker */

struct seen {
    bool used; /* records [base, filled) are in the slots */
    unsigned base, filled;
    uint16_t slots[SEEN_SLOTS]; /* index + 1; 0 = free */
};

struct section {
    struct record *records; /* LIMIT_DNS_RECORDS of them */
    unsigned count;
    struct seen *seen;
};

struct dns_scratch {
    struct rand rand;
    struct dns_asked asked;          /* last */
    struct dns_wanted wanted;        /* last */
    const char *skipped_node;        /* last */
    struct str_pair age_pair;        /* of mirrored rows, */
    char age[24];                    /* its value */
    struct str_pair place_pair;      /* of another datacenter's rows, */
    char place[DNS_LABEL_BYTES + 1]; /* its name */
    struct record answers[LIMIT_DNS_RECORDS];
    struct record additionals[LIMIT_DNS_RECORDS];
    struct record name_servers[LIMIT_DNS_NAME_SERVERS];
    uint16_t target_at[LIMIT_DNS_RECORDS]; /* offsets of SRV targets in the message; 0 = none */
    uint8_t lower_name[DNS_NAME_BYTES];
    struct seen answers_seen, additionals_seen;
    const struct catalog_instance **instances; /* grows, is kept */
    size_t instance_count, instance_capacity;
};

/* The state of one answer. */
struct answer {
    struct dns_scratch *scratch;
    const struct dns_snapshot *snapshot;
    const struct dns_config *config;
    const struct dns_question *question;
    struct dns_request request;
    struct dns_name name;
    const uint8_t *domain; /* response domain: the end of the question's name, in its case */
    uint8_t domain_bytes;
    enum dns_rcode rcode;
    bool authoritative;
    bool soa_answer;      /* in the answer section */
    bool soa_authority;   /* in the authority section */
    unsigned answers_max; /* more are not gathered */
    bool mirrored;        /* the rows are kept elsewhere, and so old */
    int64_t age_ms;
    struct dns_question mirrored_question; /* with their view */
    uint8_t dc[DNS_LABEL_BYTES + 2];       /* of names in records, as a label */
    struct section answers, authority, additional;
};

/* The name that is asked for, by the client or by a CNAME that is followed. */
struct asked {
    const uint8_t *wire;
    struct name_ref owner; /* of records found, when not the question's own name */
    bool is_question;
    uint16_t qtype;
    unsigned depth; /* names that may still be followed */
};

enum found { FOUND, FOUND_NO_NAME, FOUND_NO_TYPE, FOUND_EMPTY, FOUND_FAILED };

/* lookup.c. FOUND_NO_TYPE is an answer of NODATA, FOUND_EMPTY one without SOA, FOUND_FAILED a
 * SERVFAIL. */
enum found lookup_node(struct answer *answer, const struct asked *asked,
                       const struct dns_name *name, struct section *to);
enum found lookup_service(struct answer *answer, const struct asked *asked,
                          const struct dns_name *name, struct section *to);
enum found lookup_query(struct answer *answer, const struct asked *asked,
                        const struct dns_name *name, struct section *to);
/* Asked for another family or type, the address goes to the other section. */
enum found lookup_addr(struct answer *answer, const struct asked *asked,
                       const struct dns_name *name, struct section *to, struct section *otherwise);
enum found lookup_reverse(struct answer *answer, const struct asked *asked);
void lookup_name_servers(struct answer *answer, struct section *to);

/* mirror.c. True: question and datacenter are those of the mirror now. Before a far datacenter was
 * asked that is so only when nothing has been heard of it for long. */
bool mirror_turn_far(struct answer *answer);
bool mirror_turn_subscribed(struct answer *answer);
/* A lookup goes on there: a TXT record says so. */
void mirror_turn_to(struct answer *answer, const struct failover_place *place);
/* Where the lookup of a name may go on; NULL: nowhere. */
const struct failover_source *mirror_failover(const struct answer *answer,
                                              const struct asked *asked,
                                              const struct dns_name *name);
/* A TXT record that says how old mirrored rows are, once they are older than anybody would mind. */
void mirror_tell_age(struct answer *answer);

/* gather.c */

/* Room for a record, all zero; NULL: the section is full, and with it any message. */
struct record *section_add(struct section *section);
/* Takes back the last record when it says the same as one of [base, count - 1). */
bool section_drop_double(struct section *section, unsigned base);
bool dc_is_ours(const struct answer *answer, const char *dc);
/* What view_walk_instances finds, in scratch->instances. */
void gather_instances(struct answer *answer, const char *service);
/* What the query finds for who asks, in scratch->instances, and where. */
struct failover_place gather_query(struct answer *answer, const struct failover_source *source,
                                   const struct catalog_query *query, struct arena *arena);
/* Moves a random one of the instances [i, count) to place i: Fisher and Yates, one step. */
const struct catalog_instance *draw_instance(struct answer *answer, size_t i);
bool instance_is_healthy(const struct answer *answer, const struct catalog_instance *instance);
bool family_is_asked(uint16_t qtype, unsigned ip_bytes);
/* After translation (contract 1.6); "" when there is none. */
const char *node_address(const struct answer *answer, const struct catalog_node *node,
                         uint16_t qtype);
const char *service_address(const struct answer *answer, const struct catalog_service *service,
                            uint16_t qtype);
uint16_t service_port(const struct answer *answer, const struct catalog_service *service);
/* The wide-area addresses are wanted: by another datacenter that asks, or of one whose mirror this
 * is. */
bool is_translated(const struct answer *answer);
uint32_t service_ttl(const struct dns_snapshot *snapshot, const char *service);
struct name_ref name_of_text(enum name_form form, const char *text);
/* Whether <text>.<form's label>.<dc>.<domain> is a DNS name. */
bool name_fits(const struct answer *answer, enum name_form form, const char *text);
/* A TXT record for each metadata pair of the node, once; owner, TTL and answer as in `like`. */
void add_meta(struct section *to, const struct catalog_node *node, const struct record *like);

/* chase.c: the records behind a CNAME's target: of the catalog in a domain of ours, of recursors
 * otherwise. */
struct chase {
    struct section *to;
    unsigned depth;
    uint16_t of_answer;
    bool addresses_only; /* and ttl_s for all of them */
    uint32_t ttl_s;
};
void chase_name(struct answer *answer, const char *target, const struct chase *chase);

/* record.c. Whole records; a name that cannot be written makes writer->failed. */

/* The wire name's bytes; 0: it is none. */
size_t name_build(const struct answer *answer, const struct name_ref *ref,
                  uint8_t out[DNS_NAME_BYTES]);
/* index: of an answer, for SRV; it is not used for records of other sections. */
void put_record(struct dns_writer *writer, const struct answer *answer, const struct record *record,
                unsigned index);
void put_soa(struct dns_writer *writer, const struct answer *answer);

#endif
