/* The state of one pool and what the files of this folder offer each other. */
#ifndef GOSSIP_INTERNAL_H
#define GOSSIP_INTERNAL_H

#include "base/container.h"
#include "base/timer.h"
#include "gossip/descriptor.h"
#include "gossip/gossip.h"
#include "gossip/message.h"

#define NO_RECORD UINT32_MAX
#define SELF 0u /* the record of this member; it never moves */

#define RECORD_FROZEN 1u         /* SUSPECT whose time is over, held by the guard */
#define RECORD_OLD_DESCRIPTOR 2u /* its incarnation was learnt from an accusation */
#define RECORD_CLASHED 4u        /* its id clash has been told */
#define RECORD_REPLACED 8u       /* its machine is back under another id */

/* Big simulations hold 10^8 of these. */
struct record {
    const struct gossip_descriptor *descriptor; /* one reference */
    struct gossip_incarnation incarnation;
    uint32_t changed_at_ds; /* of the state: tenths of a second since gossip->origin_ms */
    uint32_t activity;      /* place in gossip->activities + 1; 0: it rests */
    uint8_t state;          /* enum gossip_state */
    uint8_t flags;
    uint16_t unused;
};
_Static_assert(sizeof(struct record) <= 32, "10,000 pools of 10,000 members fit into memory");

enum task_kind {
    TASK_PROBE_ROUND,
    TASK_GOSSIP_ROUND,
    TASK_SYNC_ROUND,
    TASK_RECONNECT_ROUND,
    TASK_REAP_ROUND,
    TASK_GUARD_ROUND,
    TASK_LEAVE,
    TASK_PROBE,
    TASK_RELAY,
    TASK_SUSPICION,
};

struct task {
    struct timer timer;
    enum task_kind kind;
};

/* A record that is on people's lips: its rumour is queued, it is suspect, or both. */
struct activity {
    struct task suspicion; /* started: SUSPECT and not frozen */
    uint32_t record;
    /* The rumour; what it says is the record's present state, so a later one supersedes it. */
    bool queued;
    uint8_t transmits;       /* its level in the queue */
    uint32_t previous, next; /* in the level, places in activities + 1; 0: none */
    uint8_t accuser_count;   /* > 0 while SUSPECT */
    uint32_t accusers[LIMIT_GOSSIP_ACCUSERS];
    uint8_t respites; /* given because nobody confirmed */
    uint64_t suspect_at_ms;
};

#define RUMOUR_LEVELS 64

/* One round of [SWIM] 3.1 with one member. */
struct probe {
    struct task task;
    uint32_t sequence;
    struct uuid target;
    struct gossip_address address;
    uint64_t sent_at_us;
    uint64_t fails_at_ms;
    uint64_t stream; /* its stream ping; 0: none */
    uint32_t nacks_expected;
    uint32_t nacks;
    bool indirect; /* second phase */
    bool slept;    /* the process stalled meanwhile: the round trip says nothing */
};

/* A ping made for somebody else. */
struct relay {
    struct task task;
    uint32_t sequence; /* of our ping */
    uint32_t asked;    /* of the request */
    struct gossip_address requester;
};

enum exchange_kind { EXCHANGE_JOIN, EXCHANGE_SYNC, EXCHANGE_PING };

/* A stream that this pool opened and that has not answered yet. */
struct exchange {
    uint64_t stream;
    enum exchange_kind kind;
    struct gossip_address address;
};

/* The last round trips to one member. */
#define VIVALDI_FILTER 3
struct vivaldi_peer {
    uint64_t peer; /* its id_hash */
    float rtt_s[VIVALDI_FILTER];
    uint32_t count;
};

struct vivaldi {
    struct coordinate own;
    struct vivaldi_peer peers[64];
    double samples[20]; /* of the adjustment: a ring */
    double usual_s;     /* by how much estimates are wrong, on average lately */
    uint32_t sample_at;
};

/* The low bits of the hash stand beside the place: a search touches no record but the one it wants.
 */
struct index_slot {
    uint32_t short_id;
    uint32_t place; /* record + 1; 0: free */
};

struct gossip {
    struct gossip_config config;
    uint32_t pool_hash;
    struct gossip_descriptors *descriptors;
    struct rand rand;
    int64_t origin_ms;
    uint64_t created_at_ms;
    uint32_t created_boot_epoch;
    uint64_t now_ms;
    uint64_t now_us;         /* now_ms and what the event says beyond it */
    uint64_t deadline_at_ms; /* as told by the last output */
    uint32_t self_accuser;

    struct record *records;
    uint32_t record_count;
    uint32_t record_capacity;
    struct index_slot *index; /* open addressing by id */
    uint32_t index_capacity;
    uint32_t *order; /* live records by id_hash; made at the first use (order_valid) */
    uint32_t order_count;
    uint32_t order_capacity;
    bool order_valid;
    int64_t clock_origin_us; /* of the clock of rounds, <= now_us (gossip/schedule.c) */

    struct activity **activities; /* NULL: a free place */
    uint32_t activity_count;      /* places ever used */
    uint32_t activity_capacity;
    uint32_t *activity_free_places; /* the NULL ones */
    uint32_t activity_free;         /* their number */
    uint32_t level_first[RUMOUR_LEVELS];
    uint32_t rumour_count;
    uint64_t gossip_round_at_ms; /* the last one's */
    uint32_t packet_subject;     /* whose rumour the packet being made has already; or NO_RECORD */
    uint64_t death_at_ms;        /* the last one's; 0: none */
    struct user_events *events;  /* NULL: there were none */

    struct timers timers;
    struct task probe_round;
    struct task gossip_round;
    struct task sync_round;
    struct task reconnect_round;
    struct task reap_round;
    struct task guard_round;
    struct task leave;

    struct probe *probes[LIMIT_GOSSIP_PROBES];
    uint32_t probe_count;
    uint32_t sequence;
    struct relay **relays;
    uint32_t relay_count;
    uint32_t relay_capacity;
    struct exchange *exchanges;
    uint32_t exchange_count;
    uint32_t exchange_capacity;
    uint64_t stream_next;
    struct uuid sync_with; /* whom the next push/pull goes to; all zero: anybody */
    uint64_t synced_at_ms; /* when the last one began */

    uint32_t awareness;
    uint64_t heard_at_ms; /* when the last packet of a member came */
    bool leaving;
    bool left; /* LEAVE_DONE was told */

    uint32_t counts[GOSSIP_REMOVED + 1]; /* of records by state */
    uint32_t clients;                    /* alive or suspect, no server */
    uint32_t frozen;
    uint64_t digest[MESSAGE_BUCKETS];

    bool guard_on;
    uint64_t guard_since_ms;
    uint64_t *client_deaths; /* their times, within guard_window_ms, rising */
    uint32_t client_death_count;
    uint32_t client_death_capacity;

    struct vivaldi vivaldi;
    /* Of those that are kept, by record; error < 0: none. */
    struct coordinate *coordinates;
    uint32_t coordinate_capacity;

    uint64_t counters[GOSSIP_COUNTERS];
    struct gossip_output *output; /* of the step under way */
};

/* gossip.c */
void task_start(struct gossip *gossip, struct task *task, uint64_t deadline_ms);
void task_stop(struct gossip *gossip, struct task *task);
bool task_started(const struct task *task);
/* Timeouts grow with the own ill health ([Lifeguard] 4.1). */
uint64_t scale_by_awareness(const struct gossip *gossip, uint64_t ms);
void awareness_change(struct gossip *gossip, int delta);
uint64_t random_below(struct gossip *gossip, uint64_t bound); /* bound 0 gives 0 */
bool one_in(struct gossip *gossip, uint32_t n);
/* Nothing was heard from anybody since then: not to be taken for their silence. */
bool is_isolated(const struct gossip *gossip, uint64_t since_ms);
/* Raises the own incarnation above what was said of this member, and tells all. */
void refute(struct gossip *gossip, struct gossip_incarnation said);

/* scale.c: logarithms as integers, the same on every machine. */
/* log2(x) * 65536, x >= 1. */
uint32_t log2_fixed(uint32_t x);
/* ceil(log10(x + 1)). */
uint32_t digits10(uint32_t x);
uint64_t suspicion_min_ms(const struct gossip_config *config, uint32_t members);
/* [Lifeguard] 4.2: from max down to min as confirmations come. */
uint64_t suspicion_timeout_ms(const struct gossip_config *config, uint32_t members,
                              uint32_t confirmations);
uint64_t sync_interval_ms(const struct gossip_config *config, uint32_t members);

/* members.c */
uint32_t find_record(const struct gossip *gossip, const struct uuid *id); /* or NO_RECORD */
/* Takes over the reference. NO_RECORD: the pool is full (the reference is released). */
uint32_t add_record(struct gossip *gossip, const struct gossip_descriptor *descriptor,
                    struct gossip_incarnation incarnation, enum gossip_state state);
void remove_record(struct gossip *gossip, uint32_t record);
void set_state(struct gossip *gossip, uint32_t record, enum gossip_state state);
void set_incarnation(struct gossip *gossip, uint32_t record, struct gossip_incarnation value);
/* Takes over the reference. */
void set_descriptor(struct gossip *gossip, uint32_t record,
                    const struct gossip_descriptor *descriptor);
void set_frozen(struct gossip *gossip, uint32_t record, bool frozen);
void set_old_descriptor(struct gossip *gossip, uint32_t record, bool old);
void set_replaced(struct gossip *gossip, uint32_t record, bool replaced);
bool is_live(const struct record *record); /* alive or suspect */
bool is_frozen(const struct record *record);
uint32_t live_count(const struct gossip *gossip);
uint64_t changed_at_ms(const struct gossip *gossip, const struct record *record);
void set_age_s(struct gossip *gossip, uint32_t record, uint32_t age_s);
/* By the first 32 bits of the hash of its id, as they are in pings; or NO_RECORD. */
uint32_t find_record_short(const struct gossip *gossip, uint32_t short_id);
/* Up to count different random members but this one and `except`, of which `wanted` is true. */
uint32_t random_members(struct gossip *gossip, uint32_t count, uint32_t except,
                        bool (*wanted)(const struct gossip *, const struct record *),
                        uint32_t *ret_records);
bool wanted_alive(const struct gossip *gossip, const struct record *record);
struct activity *activity_of(struct gossip *gossip, uint32_t record);         /* made if needed */
struct activity *activity_find(const struct gossip *gossip, uint32_t record); /* or NULL */
void activity_drop_idle(struct gossip *gossip, uint32_t record);              /* if it rests now */

/* schedule.c */
void schedule_add(struct gossip *gossip, uint32_t record); /* it is live now */
void schedule_remove(struct gossip *gossip, uint32_t record);
void schedule_renumber(struct gossip *gossip, uint32_t from, uint32_t to); /* both hold it */
uint32_t probe_clock(const struct gossip *gossip);
void probe_clock_heard(struct gossip *gossip, uint32_t clock);
/* Whom this member probes in the present round, NO_RECORD: nobody; and when its next one is due,
 * `skip` rounds left out. */
uint32_t next_to_probe(struct gossip *gossip, uint32_t skip, uint64_t *ret_next_at_ms);

/* rumour.c */
void queue_rumour(struct gossip *gossip, uint32_t record);
void unqueue_rumour(struct gossip *gossip, uint32_t record);
/* What is said of a record at present, as a section; false if it does not fit into room bytes. */
bool write_rumour(struct gossip *gossip, struct buf *out, uint32_t record, size_t room);
/* The same for the packet being made, whose receiver it is for; it is not repeated there. */
void write_subject(struct gossip *gossip, size_t start, uint32_t record);
/* Fills what is left of the packet that began at `start`. */
void write_rumours(struct gossip *gossip, struct buf *out, size_t start);
void run_gossip_round(struct gossip *gossip);
void run_reconnect_round(struct gossip *gossip);

/* What this member says of itself, to those who act on it, ahead of the rumour. */
void tell_servers(struct gossip *gossip);
/* There is something to talk about: the next round comes soon. */
void start_talk(struct gossip *gossip);
/* So often something is told. */
uint32_t retransmit_limit(const struct gossip *gossip);

/* event.c */
enum err fire_event(struct gossip *gossip, const struct uuid *id, const uint8_t *data, size_t size);
void receive_event(struct gossip *gossip, struct reader *body);
void receive_event_clock(struct gossip *gossip, struct reader *body);
uint32_t events_queued(const struct gossip *gossip);
uint64_t events_clock(const struct gossip *gossip);
/* Behind the rumours of the packet that began at `start`. */
void write_events(struct gossip *gossip, struct buf *out, size_t start);
/* Recent ones, into a message over a stream. */
void write_recent_events(struct gossip *gossip);
void events_forget(struct gossip *gossip);
void events_clear(struct gossip *gossip);

/* output.c */
size_t packet_begin(struct gossip *gossip);
size_t packet_room(const struct gossip *gossip, size_t start);
/* Adds rumours that wait and hands the packet out. */
void packet_end(struct gossip *gossip, size_t start, const struct gossip_address *to);
size_t message_begin(struct gossip *gossip);
/* Returns the handle. */
uint64_t message_open(struct gossip *gossip, size_t start, const struct gossip_address *to);
void message_send(struct gossip *gossip, size_t start, uint64_t stream);
void stream_close(struct gossip *gossip, uint64_t stream);
/* descriptor may be NULL. The rest of the change may be filled in until the next call. */
struct gossip_change *tell(struct gossip *gossip, enum gossip_change_kind kind,
                           const struct gossip_descriptor *descriptor,
                           struct gossip_incarnation incarnation);
/* Keeps a descriptor valid as long as the output is. */
const struct gossip_descriptor *output_hold(struct gossip *gossip,
                                            const struct gossip_descriptor *descriptor);
void output_begin(struct gossip *gossip, struct gossip_output *output);

/* merge.c: what was heard, against what is known. */
struct hearsay {
    const struct gossip_address *from; /* of the packet; NULL: a stream */
    bool joining;                      /* the answer to our join: no news to pass on */
    uint32_t corrections;              /* made in answer to this packet */
};
struct member_state {
    const uint8_t *descriptor; /* encoded */
    size_t descriptor_bytes;
    struct gossip_incarnation incarnation;
    enum gossip_state state;
    uint32_t age_s;
};
/* False: dropped, and counted. */
bool merge_member(struct gossip *gossip, struct hearsay *hearsay,
                  const struct member_state *member);
void merge_suspect(struct gossip *gossip, struct hearsay *hearsay, const struct uuid *id,
                   struct gossip_incarnation incarnation, const uint32_t *accusers, uint32_t count);
void merge_dead(struct gossip *gossip, struct hearsay *hearsay, const struct uuid *id,
                struct gossip_incarnation incarnation);
void merge_left(struct gossip *gossip, struct hearsay *hearsay, const struct uuid *id,
                struct gossip_incarnation incarnation, bool prune);
void merge_removed(struct gossip *gossip, struct hearsay *hearsay, const struct uuid *id,
                   struct gossip_incarnation incarnation);
bool incarnation_is_future(struct gossip *gossip, struct gossip_incarnation incarnation);

/* How long a member of this state that is gone is remembered. */
uint64_t keep_gone_ms(const struct gossip *gossip, const struct gossip_descriptor *descriptor,
                      enum gossip_state state);

/* suspicion.c */
uint32_t accuser_of(const struct uuid *id);
/* A live member is accused, by one or more; confirmations shorten its time. True: news. */
bool suspect(struct gossip *gossip, uint32_t record, const uint32_t *accusers, uint32_t count);
/* A suspect has the shortest suspicion once more, and is probed. */
void suspect_again(struct gossip *gossip, uint32_t record);
void end_suspicion(struct gossip *gossip, uint32_t record);
void run_suspicion(struct gossip *gossip, struct activity *activity);
void declare_dead(struct gossip *gossip, uint32_t record);
/* After a stall: nobody is judged by what was due while this process slept. anew: all suspicions
 * begin again, and their members are looked at. */
void shift_suspicions(struct gossip *gossip, uint64_t slept_ms, bool anew);

/* guard.c */
bool guard_holds(struct gossip *gossip, uint32_t record);
void guard_freeze(struct gossip *gossip, uint32_t record);
void guard_note_death(struct gossip *gossip, uint32_t record);
void guard_note_return(struct gossip *gossip, uint32_t record);
/* No death that counts, and none to be held: its machine is back under another id. */
void guard_note_replaced(struct gossip *gossip, uint32_t record);
void run_guard_round(struct gossip *gossip);

/* probe.c */
void run_probe_round(struct gossip *gossip);
void run_probe(struct gossip *gossip, struct probe *probe);
void run_relay(struct gossip *gossip, struct relay *relay);
void probe_now(struct gossip *gossip, uint32_t record);
void probe_closed_port(struct gossip *gossip, const struct gossip_address *address);
void probe_stream_done(struct gossip *gossip, uint64_t stream, bool answered, bool refused);
void receive_ping(struct gossip *gossip, const struct gossip_address *from, struct reader *body);
void receive_ack(struct gossip *gossip, const struct gossip_address *from, struct reader *body);
void receive_nack(struct gossip *gossip, struct reader *body);
void receive_relay(struct gossip *gossip, const struct gossip_address *from, struct reader *body);
void probes_note_stall(struct gossip *gossip);

/* receive.c */
enum err receive_packet(struct gossip *gossip, const struct gossip_event *event);
/* Head and sections: false and *ret_err if this is not for us. */
bool open_message(struct gossip *gossip, const uint8_t *data, size_t size,
                  struct reader *ret_reader, enum err *ret_err);

/* sync.c */
enum err receive_stream(struct gossip *gossip, const struct gossip_event *event);
void stream_failed(struct gossip *gossip, uint64_t stream, bool refused);
void begin_join(struct gossip *gossip, const struct gossip_address *address);
void run_sync_round(struct gossip *gossip);
/* A push/pull soon: there is a lot to catch up with. */
void sync_soon(struct gossip *gossip);
void add_exchange(struct gossip *gossip, uint64_t stream, enum exchange_kind kind,
                  const struct gossip_address *address);
void forget_exchange(struct gossip *gossip, uint64_t stream);
void run_reap_round(struct gossip *gossip);

/* coordinate.c */
void vivaldi_init(struct vivaldi *vivaldi);
/* A round trip to the member whose id_hash is peer, who says to be at other. */
void vivaldi_update(struct vivaldi *vivaldi, struct rand *rand, uint64_t peer,
                    const struct coordinate *other, double rtt_s);
bool keeps_coordinate(const struct gossip *gossip, uint32_t record);
void keep_coordinate(struct gossip *gossip, uint32_t record, const struct coordinate *coordinate);

#endif
