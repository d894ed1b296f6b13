/* The bytes between members, of packets and of streams. Integers are big-endian; a varint is LEB128
 * (7 bits a byte, low ones first) of at most 32 bits.
 *
 *   packet    head, then sections until the end
 *   message   head, then sections until the end (over a stream; framed and sealed by the driver)
 *   head      version u8 (1), pool u32: a hash of the pool's name
 *   section   kind u8, size varint, body
 *
 * A reader skips sections of unknown kinds, and bytes behind the fields that it knows of a body: a
 * newer program adds sections and fields there. What it could not add so gets a new version.
 *
 *   PING      sequence u32, flags u8, target short id, source short id, clock of rounds u32
 *             (gossip/schedule.c). PING_COORDINATE asks for the coordinate of the one who answers.
 *   ACK       sequence u32, flags u8, [coordinate, if ACK_COORDINATE]
 *   NACK      sequence u32: the relay lives, its ping was not answered ([Lifeguard] 4.1)
 *   RELAY     sequence u32, flags u8, target id, target address: ping it for me ([SWIM] 3.1)
 *   ALIVE     incarnation, descriptor
 *   SUSPECT   id, incarnation, count u8, count * accuser u32
 *   DEAD      id, incarnation
 *   LEFT      id, incarnation, flags u8 (0)
 *   REMOVED   id, incarnation: a tombstone. To prune a member is to say this
 *
 *   EVENT     id, ltime u64, age varint (ms), size varint, bytes: what users send to
 *             all members (gossip/event.c)
 *
 * and over streams, where EVENT and EVENT_CLOCK may come behind any of the SYNC sections:
 *
 *   STREAM_PING   target id                    answered with STREAM_ACK
 *   STREAM_ACK    id of the one who answers
 *   SYNC_FULL     flags u8, sender id, then to the message's end MEMBER sections follow: all the
 *                 sender's. SYNC_REPLY: this is the answer, the exchange is over
 *   SYNC_DIGEST   flags u8, sender id, count u8 (64), 64 * u64: for each bucket of ids the sum of
 *                 hashes of its live members
 *   SYNC_BUCKETS  flags u8, sender id, mask u64: MEMBER sections of these buckets follow.
 *                 SYNC_REPLY: as above, else the peer answers with its own
 *   EVENT_CLOCK   ltime u64: of the newest event that the sender knows of
 *   MEMBER        state u8, incarnation, age varint (seconds in this state), descriptor
 *
 *   id           16 bytes
 *   short id     u32: the low half of the hash of the id
 *   incarnation  boot epoch u32, counter varint
 *   accuser      u32: 31 bits of a hash of the accuser's id, which only tell accusers apart, and
 *                ACCUSER_CLOSED if it found the port closed
 *   address      family u8 (4 or 6), 4 or 16 bytes, port u16
 *   coordinate   11 * IEEE 754 single: vector[8], error, adjustment, height
 *   descriptor   size varint, then: id, flags u8 (DESCRIPTOR_SERVER), protocol min u8, max u8,
 *                address, name size varint, name, tags varint, tags * (key size varint, key, value
 *                size varint, value), what a newer program adds. Kept and passed on byte by byte.
 */
#ifndef GOSSIP_MESSAGE_H
#define GOSSIP_MESSAGE_H

#include "gossip/gossip.h"

#define MESSAGE_VERSION 1
#define MESSAGE_HEAD_BYTES 5
#define MESSAGE_BUCKETS 64

enum message_kind {
    MESSAGE_PING = 1,
    MESSAGE_ACK = 2,
    MESSAGE_NACK = 3,
    MESSAGE_RELAY = 4,
    MESSAGE_ALIVE = 5,
    MESSAGE_SUSPECT = 6,
    MESSAGE_DEAD = 7,
    MESSAGE_LEFT = 8,
    MESSAGE_REMOVED = 9,
    MESSAGE_EVENT = 10,
    MESSAGE_EVENT_CLOCK = 11,
    MESSAGE_STREAM_PING = 16,
    MESSAGE_STREAM_ACK = 17,
    MESSAGE_SYNC_FULL = 18,
    MESSAGE_SYNC_DIGEST = 19,
    MESSAGE_SYNC_BUCKETS = 20,
    MESSAGE_MEMBER = 21,
};

#define PING_COORDINATE 1u
#define ACK_COORDINATE 1u
#define ACCUSER_CLOSED 1u
#define SYNC_REPLY 1u
#define SYNC_JOIN 2u
#define DESCRIPTOR_SERVER 1u

/* The bytes of one section or message. Reading past the end sets `failed`, which stays, and gives
 * zeroes; the caller checks it once, at the end. */
struct reader {
    const uint8_t *at;
    const uint8_t *end;
    bool failed;
};

uint8_t reader_u8(struct reader *reader);
uint32_t reader_u32(struct reader *reader);
uint64_t reader_u64(struct reader *reader);
uint32_t reader_varint(struct reader *reader);
/* Borrows size bytes; NULL if there are not so many. */
const uint8_t *reader_bytes(struct reader *reader, size_t size);
struct uuid reader_id(struct reader *reader);
struct gossip_incarnation reader_incarnation(struct reader *reader);
struct gossip_address reader_address(struct reader *reader);
/* Values that are no finite numbers within reason fail too. */
struct coordinate reader_coordinate(struct reader *reader);
/* The next section; false at the end or when the rest is no section (then failed). */
bool reader_section(struct reader *reader, uint8_t *ret_kind, struct reader *ret_body);

/* Writers append to a buf of the caller. */
void write_u32(struct buf *out, uint32_t value);
void write_u64(struct buf *out, uint64_t value);
void write_varint(struct buf *out, uint32_t value);
size_t varint_bytes(uint32_t value);
void write_id(struct buf *out, const struct uuid *id);
void write_incarnation(struct buf *out, struct gossip_incarnation incarnation);
void write_address(struct buf *out, const struct gossip_address *address);
void write_coordinate(struct buf *out, const struct coordinate *coordinate);
void write_head(struct buf *out, uint32_t pool);
/* Kind and size; exactly size bytes of body must follow. */
void write_section(struct buf *out, enum message_kind kind, size_t size);

#define COORDINATE_BYTES 44
size_t incarnation_bytes(struct gossip_incarnation incarnation);
size_t address_bytes(const struct gossip_address *address);

/* The descriptor's fields, bounds of gossip.h. The size of its encoding, 0: out of bounds. */
size_t descriptor_encoded_bytes(const struct gossip_info *info);
/* Without the size in front. */
void descriptor_encode(const struct gossip_info *info, struct buf *out);
/* True if these bytes (without the size in front) are a descriptor: all bounds hold, the name is
 * UTF-8 without control characters, tags are sorted by key and no key comes twice. */
bool descriptor_is_valid(const uint8_t *bytes, size_t size);

#endif
