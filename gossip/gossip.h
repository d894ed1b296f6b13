/* Membership of one pool as one pure function: an event goes in, what the driver has to do comes
 * out. No clock, socket, thread or random device; the same events give the same outputs.
 *
 * Sources, cited below and at the line:
 *   [SWIM]      Das, Gupta, Motivala: "SWIM: Scalable Weakly-consistent Infection-style Process
 *               Group Membership Protocol", DSN 2002.
 *   [Lifeguard] Dadgar, Phillips, Currey: "Lifeguard: Local Health Awareness for More Accurate
 *               Failure Detection", DSN workshops 2018.
 *   [Vivaldi]   Dabek, Cox, Kaashoek, Morris: "Vivaldi: A Decentralized Network Coordinate System",
 *               SIGCOMM 2004; with height (5.4).
 *   [Ledlie]    Ledlie, Gardner, Seltzer: "Network Coordinates in the Wild", NSDI 2007.
 *   [Lee]       Lee, Zhang, Sahu, Saha: "On Suitability of Euclidean Embedding for Host-Based
 *               Network Coordinate Systems", IEEE/ACM Transactions on Networking, 2010.
 *   [Rapid]     Suresh et al.: "Stable and Consistent Membership at Scale with Rapid", ATC 2018:
 *               many failures at once are more likely ours than theirs.
 *
 * Who a member is. The UUID is the key. The name is an alias, compared without regard to letter
 * case; two live members of one name are both members, and a change tells both addresses.
 *
 * What is newer. A member's incarnation is (boot epoch, counter); only the member raises it. The
 * boot epoch is max(stored + 1, wall seconds), told by the driver at each start, so what was said
 * of an earlier life cannot beat a restarted member. Of two messages on a member the higher
 * incarnation wins; of equal ones the later in the order alive, suspect, dead, left, removed.
 *
 * What the driver does after each gossip_step, in any order: sends the packets (and may lose them),
 * opens, answers and closes the streams, tells the changes to whom they concern, and steps again
 * with TIMER at deadline_at_ms. If `store_boot_epoch` is set it stores that value before the next
 * start. Encryption, framing of streams and their timeouts are the driver's. */
#ifndef GOSSIP_GOSSIP_H
#define GOSSIP_GOSSIP_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/buf.h"
#include "base/coordinate.h"
#include "base/err.h"
#include "base/limits.h"
#include "base/rand.h"
#include "base/str.h"
#include "base/uuid.h"

#define GOSSIP_NEVER UINT64_MAX

/* Versions of the messages that this program speaks (gossip/message.h). */
#define GOSSIP_PROTOCOL_MIN 1
#define GOSSIP_PROTOCOL_MAX 1

/* Where a member listens, for packets and for streams. IPv4 is v4-mapped (::ffff:a.b.c.d). */
struct gossip_address {
    uint8_t ip[16];
    uint8_t port[2]; /* big-endian */
};
_Static_assert(sizeof(struct gossip_address) == 18, "no padding: addresses are compared as bytes");

bool gossip_address_equal(const struct gossip_address *a, const struct gossip_address *b);

/* Boot epochs are seconds since 1970 in 32 bits, which last until 2106. */
struct gossip_incarnation {
    uint32_t boot_epoch;
    uint32_t counter;
};

/* <0, 0, >0 */
int gossip_incarnation_compare(struct gossip_incarnation a, struct gossip_incarnation b);

enum gossip_state {
    GOSSIP_ALIVE,
    GOSSIP_SUSPECT, /* accused; a member all the same */
    GOSSIP_DEAD,    /* "failed" to users */
    GOSSIP_LEFT,
    GOSSIP_REMOVED, /* a tombstone: hidden, and stays so until a higher incarnation */
};

/* "alive", "suspect", "dead", "left", "removed". */
const char *gossip_state_name(enum gossip_state state);

/* What a member tells of itself. */
struct gossip_info {
    struct uuid id;
    const char *name; /* 1 .. LIMIT_GOSSIP_NAME_BYTES bytes of UTF-8 without control characters */
    struct gossip_address address;
    bool server; /* a Raft server: the mass-failure guard never holds it */
    uint8_t protocol_min;
    uint8_t protocol_max;
    /* At most LIMIT_GOSSIP_TAGS; keys 1 .. 255 bytes, values may be empty. All of it, encoded, is
     * at most LIMIT_GOSSIP_DESCRIPTOR_BYTES. */
    struct str_map tags;
};

/* A tag by which a member says how long it is remembered once it is dead, as "1h30m". */
#define GOSSIP_TAG_REAP_DEAD "rc_tm"

/* An interned, immutable gossip_info, shared by all who hold the same bytes. */
struct gossip_descriptor {
    struct gossip_info info; /* its strings live in this block */
    uint64_t reap_dead_ms;   /* of GOSSIP_TAG_REAP_DEAD; 0: as the pool's configuration says */
    uint64_t id_hash;
    uint64_t name_hash;                  /* of the folded name */
    uint32_t references;                 /* private to gossip/descriptor.c, as are the following */
    uint32_t slot;                       /* place in the table by bytes */
    struct gossip_descriptor *name_next; /* the others in its bucket of names */
    uint32_t encoded_bytes;              /* for gossip/ */
    const uint8_t *encoded; /* as it came, with the fields that this program does not know */
};

/* The intern table. One a process (or simulation) is enough for all its pools; not thread-safe. It
 * must outlive its pools. */
struct gossip_descriptors;
struct gossip_descriptors *gossip_descriptors_create(void);
void gossip_descriptors_destroy(struct gossip_descriptors *descriptors); /* all must be released */

/* Timers and bounds of a pool. Times are in milliseconds. */
struct gossip_config {
    /* Pools of different names never mix: "lan.dc1", "wan". Only a hash of it goes on the wire. */
    const char *pool; /* borrowed for gossip_create */

    uint32_t probe_interval_ms; /* [SWIM] T': one member a round */
    uint32_t probe_timeout_ms;  /* a direct ack; < probe_interval_ms */
    uint32_t indirect_probes;   /* [SWIM] k */
    bool stream_ping;           /* beside the indirect probes, one over a stream */

    uint32_t gossip_interval_ms;    /* between rounds of rumours, while there are any */
    uint32_t gossip_fanout;         /* members told a round */
    uint32_t gossip_to_dead_ms;     /* a dead member is still told for so long */
    uint32_t retransmit_multiplier; /* a rumour goes out so often, * max(2, ceil(log10(n + 1))) */

    /* A suspicion lasts at least multiplier * max(1, log10(n)) * probe_interval_ms, and
     * max_multiplier times as long without any confirmation ([Lifeguard] 4.2). */
    uint32_t suspicion_multiplier;
    uint32_t suspicion_max_multiplier;
    uint32_t suspicion_confirmations; /* independent ones that bring it down to the least */
    uint32_t closed_suspicion_ms; /* if two members found its port closed: the process is gone */
    uint32_t awareness_max;       /* [Lifeguard] 4.1: timeouts grow up to 1 + this */
    /* A member that hears nothing at all from anybody is the sick one: for so long it accuses none
     * and evicts none. Pools of two know no difference and go on. */
    uint32_t isolated_ms;

    uint32_t sync_interval_ms;    /* push/pull; * (1 + log2(n / 32)) in pools above 32 */
    uint32_t rumours_before_sync; /* more of them, and than n / 8: push/pull instead of talk */
    uint32_t stream_timeout_ms;
    uint32_t leave_propagate_ms; /* how long a leaving member stays to tell it */

    uint64_t reap_dead_ms; /* forgotten so long after death */
    uint64_t reap_left_ms; /* after a leave; tombstones too */

    /* Mass-failure guard ([Rapid]): in pools of at least members_min, while more than percent of
     * the client members died or seem dead within window_ms, nobody but a server is evicted. Whose
     * name is back under another id, with a later boot epoch, neither counts nor is held. */
    uint32_t guard_members_min;
    uint32_t guard_percent;
    uint32_t guard_window_ms;

    uint32_t packet_bytes_max; /* of a packet before sealing; >= LIMIT_GOSSIP_PACKET_BYTES_MIN */
    bool coordinates;          /* measure own coordinate */
    bool keep_coordinates;     /* and keep those of others (wide-area pools), */
    bool keep_servers;         /* or of servers alone (whoever chooses among them) */
    /* False: plain SWIM, for comparison in the simulator: no awareness, nacks, buddy, shrinking
     * suspicion, corrections; a late timer is not noticed. */
    bool lifeguard;
};

struct gossip_config gossip_config_lan(void);
struct gossip_config gossip_config_wan(void);
/* ERR_INVALID and a sentence: a value out of its range. */
enum err gossip_config_check(const struct gossip_config *config, struct err_text *text);

/* ---- events ---- */

enum gossip_event_kind {
    GOSSIP_EVENT_TIMER, /* deadline_at_ms has come. Early or needless ones do no harm. */
    GOSSIP_EVENT_PACKET,
    /* A whole message has come over a stream, inbound or own. */
    GOSSIP_EVENT_STREAM_MESSAGE,
    /* A stream that this pool opened has failed, timed out, or ended before its answer. */
    GOSSIP_EVENT_STREAM_FAILED,
    /* Exchange members with whoever listens at an address; the change JOIN_DONE or JOIN_FAILED
     * tells how it went. */
    GOSSIP_EVENT_JOIN,
    /* Leave gracefully; the change LEAVE_DONE when it has been told. */
    GOSSIP_EVENT_LEAVE,
    /* This member's own name, address or tags have changed (id and server flag never do). */
    GOSSIP_EVENT_UPDATE_SELF,
    /* Something hints that a member is gone, as a closed connection: probe it at once. */
    GOSSIP_EVENT_HINT,
    /* A packet or connection to this address was refused: nothing listens there. */
    GOSSIP_EVENT_CLOSED_PORT,
    /* An operator: a dead member has left; with prune its record goes too. No effect on this
     * member and on those that are alive. */
    GOSSIP_EVENT_FORCE_LEAVE,
    /* Removal was decided elsewhere (a committed command). Gossip cannot bring the member back
     * until it returns with an incarnation above the given one. With prune its record goes too,
     * else it is listed as one that has left. Told again it changes nothing. */
    GOSSIP_EVENT_TOMBSTONE,
    /* A user event, to be told to all members that are alive (gossip/event.c). */
    GOSSIP_EVENT_FIRE,
};

/* Handles of streams: the pool numbers those it opens, with this bit set; the driver numbers
 * inbound ones, without it. */
#define GOSSIP_STREAM_OWN (UINT64_C(1) << 63)

struct gossip_event {
    enum gossip_event_kind kind;
    /* Microseconds beyond now_ms, 0 .. 999, for round trips on fast networks; 0 if unknown. */
    uint16_t now_us;
    union {
        struct {
            struct gossip_address from;
            const uint8_t *data; /* borrowed for the call */
            size_t size;
        } packet;
        struct {
            uint64_t stream;
            struct gossip_address from; /* the peer's, with any port */
            const uint8_t *data;        /* borrowed for the call */
            size_t size;                /* <= LIMIT_GOSSIP_STREAM_BYTES */
        } stream_message;
        struct {
            uint64_t stream;
            bool refused; /* nothing listens there */
        } stream_failed;
        struct {
            struct gossip_address address;
        } join;
        struct {
            struct gossip_info info; /* copied */
        } update_self;
        struct {
            struct uuid id;
        } hint;
        struct {
            struct gossip_address address;
        } closed_port;
        struct {
            struct uuid id;
            bool prune;
        } force_leave;
        struct {
            struct uuid id;
            struct gossip_incarnation incarnation;
            bool prune;
        } tombstone;
        struct {
            struct uuid id;      /* random */
            const uint8_t *data; /* borrowed for the call */
            size_t size;         /* 1 .. LIMIT_GOSSIP_EVENT_BYTES */
        } fire;
    };
};

/* ---- output ---- */

struct gossip_packet {
    struct gossip_address to;
    uint32_t offset; /* in output->bytes */
    uint32_t size;
};

enum gossip_stream_action {
    GOSSIP_STREAM_OPEN,  /* connect to `to`, send the message; fail it after timeout_ms */
    GOSSIP_STREAM_SEND,  /* one more message */
    GOSSIP_STREAM_CLOSE, /* after what was sent before has gone */
};

struct gossip_stream {
    enum gossip_stream_action action;
    uint64_t stream;
    struct gossip_address to; /* OPEN */
    uint32_t timeout_ms;      /* OPEN */
    uint32_t offset;          /* OPEN, SEND: the message, in output->bytes */
    uint32_t size;
};

enum gossip_change_kind {
    GOSSIP_CHANGE_JOINED,  /* a member is alive that was unknown, dead, left or removed */
    GOSSIP_CHANGE_UPDATED, /* name, address or tags of a live member differ */
    GOSSIP_CHANGE_SUSPECT,
    GOSSIP_CHANGE_ALIVE, /* no more suspect */
    GOSSIP_CHANGE_FAILED,
    GOSSIP_CHANGE_LEFT,
    GOSSIP_CHANGE_REAPED,     /* forgotten: its time is over, pruned or removed */
    GOSSIP_CHANGE_FROZEN,     /* would be dead, but the guard holds it */
    GOSSIP_CHANGE_NAME_CLASH, /* descriptor and other: two live members of one name */
    GOSSIP_CHANGE_ID_CLASH, /* a second machine claims the id of a live member, at other_address */
    GOSSIP_CHANGE_GUARD_ON,
    GOSSIP_CHANGE_GUARD_OFF,
    GOSSIP_CHANGE_REFUTED,     /* this member was accused and has answered */
    GOSSIP_CHANGE_JOIN_DONE,   /* address, members: how many it told */
    GOSSIP_CHANGE_JOIN_FAILED, /* address, err */
    GOSSIP_CHANGE_LEAVE_DONE,
    GOSSIP_CHANGE_USER_EVENT, /* heard for the first time, or this member's own */
};

/* "joined", "updated", ... for logs. */
const char *gossip_change_name(enum gossip_change_kind kind);

struct gossip_change {
    enum gossip_change_kind kind;
    /* The member's, NULL where there is none; valid until the output's next step. */
    const struct gossip_descriptor *descriptor;
    const struct gossip_descriptor *other; /* NAME_CLASH; UPDATED: what it was before */
    struct gossip_incarnation incarnation;
    struct gossip_address address; /* JOIN_*: the target; ID_CLASH: the second machine's */
    uint32_t members;              /* JOIN_DONE */
    enum err err;                  /* JOIN_FAILED */
    struct uuid event_id;          /* USER_EVENT, as are the following */
    uint64_t ltime;
    uint32_t offset, size; /* in output->bytes */
};

/* Filled by a step, valid until the next step with it. One may serve many pools in turn. */
struct gossip_output {
    struct buf bytes; /* of packets and messages */
    struct gossip_packet *packets;
    uint32_t packet_count;
    struct gossip_stream *streams; /* to be done in this order */
    uint32_t stream_count;
    struct gossip_change *changes; /* in the order in which they happened */
    uint32_t change_count;
    uint64_t deadline_at_ms;
    bool store_boot_epoch; /* somebody knows us from later than now: store boot_epoch */
    uint32_t boot_epoch;

    /* private */
    uint32_t packet_capacity;
    uint32_t stream_capacity;
    uint32_t change_capacity;
    const struct gossip_descriptor **held; /* references for changes */
    uint32_t held_count;
    uint32_t held_capacity;
    struct gossip_descriptors *descriptors; /* of the held ones */
};

void gossip_output_init(struct gossip_output *output);
void gossip_output_clear(struct gossip_output *output); /* before its descriptors' table goes */

/* ---- the pool ---- */

struct gossip;

/* A pool of one member: this one. now_ms is monotonic. config and info are copied, descriptors is
 * borrowed for the pool's life, rand is this pool's own from here on.
 * ERR_INVALID and a sentence: the configuration or the info is out of bounds. */
enum err gossip_create(const struct gossip_config *config, const struct gossip_info *self,
                       uint32_t boot_epoch, uint64_t now_ms, const struct rand *rand,
                       struct gossip_descriptors *descriptors, struct gossip **ret_gossip,
                       struct err_text *text);
void gossip_destroy(struct gossip *gossip);

/* clang-format off */
/* now_ms never goes back. On an error nothing was changed but a counter:
 *   PACKET, STREAM_MESSAGE   ERR_CORRUPT    malformed; valid parts before the fault may have been used
 *                            ERR_FOREIGN    of another pool
 *                            ERR_VERSION    of a newer protocol
 *   UPDATE_SELF              ERR_INVALID    out of bounds, or another id
 *   HINT, FORCE_LEAVE,
 *   TOMBSTONE                ERR_NOT_FOUND  no such member (TOMBSTONE: none needed; never)
 *   FORCE_LEAVE, TOMBSTONE   ERR_REFUSED    it is this member; FORCE_LEAVE: it is alive
 *   LEAVE, JOIN, FIRE        ERR_CLOSED     this member is leaving
 *   FIRE                     ERR_TOO_LARGE  or empty
 *                            ERR_OVERLOADED LIMIT_GOSSIP_EVENTS_QUEUED are on their way
 * ret_output is valid (and to be carried out) in any case. */
/* clang-format on */
enum err gossip_step(struct gossip *gossip, uint64_t now_ms, const struct gossip_event *event,
                     struct gossip_output *ret_output);

/* Puts a member into the pool as alive, without a word to anybody: what a driver knows from before
 * a restart, and how a simulation starts big. ERR_INVALID: out of bounds. ERR_EXISTS: it is there.
 */
enum err gossip_load_member(struct gossip *gossip, const struct gossip_info *info,
                            struct gossip_incarnation incarnation);

/* ---- what can be seen ---- */

struct gossip_member {
    const struct gossip_descriptor *descriptor; /* borrowed until the next step */
    enum gossip_state state;                    /* never REMOVED */
    struct gossip_incarnation incarnation;
    uint64_t changed_at_ms; /* of the state; to 100 ms */
    bool self;
    bool frozen; /* seems dead, but the guard holds it: to be listed last */
};

/* Members are numbered 0 .. slots - 1; the numbers may change at each step. False: no member to be
 * seen at this number. */
uint32_t gossip_member_slots(const struct gossip *gossip);
bool gossip_member_at(const struct gossip *gossip, uint32_t slot, struct gossip_member *ret_member);
bool gossip_find_id(const struct gossip *gossip, const struct uuid *id,
                    struct gossip_member *ret_member);
void gossip_get_coordinate(const struct gossip *gossip, struct coordinate *ret_coordinate);
/* The last one that this member told us; of those that are kept. False: none. */
bool gossip_find_coordinate(const struct gossip *gossip, const struct uuid *id,
                            struct coordinate *ret_coordinate);

/* Only grow. Names for metrics: gossip_counter_name. */
enum gossip_counter {
    GOSSIP_PACKETS_SENT,
    GOSSIP_BYTES_SENT,
    GOSSIP_PACKETS_RECEIVED,
    GOSSIP_BYTES_RECEIVED,
    GOSSIP_STREAM_BYTES_SENT,
    GOSSIP_STREAM_BYTES_RECEIVED,
    GOSSIP_PROBES,
    GOSSIP_PROBES_FAILED,
    GOSSIP_PROBES_INDIRECT,  /* rounds that needed others */
    GOSSIP_PROBES_BY_STREAM, /* answered by a stream alone: packets are lost */
    GOSSIP_RUMOURS_ALIVE,    /* received, new */
    GOSSIP_RUMOURS_SUSPECT,
    GOSSIP_RUMOURS_DEAD,
    GOSSIP_RUMOURS_LEFT,
    GOSSIP_RUMOURS_STALE,   /* received, nothing new */
    GOSSIP_REFUTED,         /* accusations of this member that it answered */
    GOSSIP_CORRECTED,       /* stale accusations answered for others */
    GOSSIP_PROBES_ISOLATED, /* failed while nobody at all was heard: no verdict */
    GOSSIP_STALLS,          /* this process slept through a deadline */
    GOSSIP_SYNCS,           /* push/pulls begun */
    GOSSIP_SYNCS_EQUAL,     /* ... that had nothing to exchange */
    GOSSIP_SYNCS_FAILED,
    GOSSIP_EVICTED,              /* suspects that this member declared dead */
    GOSSIP_FROZEN,               /* ... that the guard held instead */
    GOSSIP_USER_EVENTS,          /* told: own ones and those heard */
    GOSSIP_USER_EVENTS_KNOWN,    /* heard again */
    GOSSIP_USER_EVENTS_OLD,      /* heard, from before what this member remembers */
    GOSSIP_DROPPED_TRUNCATED,    /* input: ends too early, or a length lies */
    GOSSIP_DROPPED_MALFORMED,    /* input: a value out of its range */
    GOSSIP_DROPPED_VERSION,      /* input: of a newer protocol */
    GOSSIP_DROPPED_FOREIGN,      /* input: of another pool */
    GOSSIP_DROPPED_OVERSIZE,     /* input: larger than its bound */
    GOSSIP_DROPPED_MISDIRECTED,  /* input: a ping for somebody else */
    GOSSIP_DROPPED_UNEXPECTED,   /* input: an answer nobody waits for */
    GOSSIP_DROPPED_MEMBER,       /* one malformed member of a push/pull or a rumour */
    GOSSIP_DROPPED_INCOMPATIBLE, /* a member that speaks none of our protocol versions */
    GOSSIP_DROPPED_FULL,         /* a member above LIMIT_GOSSIP_MEMBERS, a relay above its bound */
    GOSSIP_DROPPED_FUTURE,       /* an incarnation more than a year ahead */
    GOSSIP_DROPPED_COORDINATE,   /* input: one that nobody can be at */
    GOSSIP_SECTIONS_UNKNOWN,     /* skipped: of a newer program */
    GOSSIP_COUNTERS
};

/* "packets_sent", ... */
const char *gossip_counter_name(enum gossip_counter counter);

struct gossip_status {
    struct gossip_incarnation incarnation; /* own */
    uint32_t alive;                        /* with this member, suspects not counted */
    uint32_t suspect;                      /* frozen ones too */
    uint32_t dead;
    uint32_t left;
    uint32_t clients; /* alive or suspect, no servers */
    uint32_t frozen;
    bool guard_on;
    uint64_t guard_since_ms; /* if guard_on */
    uint32_t awareness;      /* 0: healthy, up to awareness_max */
    uint32_t rumours;        /* queued */
    uint32_t user_events;    /* queued */
    uint64_t event_clock;    /* highest Lamport time of a user event known of; 0: none */
    bool leaving;
    uint64_t counters[GOSSIP_COUNTERS];
};

void gossip_get_status(const struct gossip *gossip, struct gossip_status *ret_status);

#endif
