/* Sealing of gossip packets: AES-GCM (NIST SP 800-38D) under a key for each sender.
 *
 * key of a sender = HKDF-SHA256 (RFC 5869) of the pool's key, with the pool's name, the sender and
 * its boot epoch as info. The sender is 8 bytes of a hash of its UUID: what an idle pool sends is
 * mostly heads, and for two members to share such a hash takes billions of them. The nonce is a
 * counter of that sender, so no nonce is used twice with one key as long as a member never starts
 * twice with one boot epoch; its 5 bytes last 35 years at 1,000 packets a second. A receiver keeps
 * the highest counter of each sender and a window below it: what was opened once, is too old, or is
 * of an earlier boot epoch is refused. The window knows only what this process has opened: a packet
 * to another receiver, or to one that has restarted, is not told from the first of its kind;
 * gossip's incarnations and sequence numbers make those harmless.
 *
 * On the wire, numbers big-endian:
 *   plain   1 version 0x50 | message
 *   sealed  1 version 0x52 | 8 sender | 4 boot epoch | 5 counter | ciphertext | 16 tag
 * The bytes before the ciphertext are authenticated with it.
 *
 * For one thread. */
#ifndef NET_SEAL_H
#define NET_SEAL_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"
#include "base/uuid.h"
#include "net/keyring.h"

#define SEAL_OVERHEAD_BYTES 34 /* of a sealed packet */

struct seal;

struct seal_config {
    const char *pool; /* "lan" or "wan": pools that share a key still use other keys on the wire */
    struct uuid self;
    uint32_t boot_epoch;           /* never used before by this member */
    const struct keyring *keyring; /* borrowed; NULL or empty: plain packets only */
    /* With a key: refuse plain packets; send sealed ones. Both false at first, then outgoing, then
     * incoming true at all members turns a plain pool into a sealed one (contract 2.3). */
    bool verify_incoming, verify_outgoing;
};

enum seal_refusal {
    SEAL_WRONG_KEY, /* no key of the ring opens it, or it was changed on the way */
    SEAL_REPLAYED,  /* opened before, too old, or of an earlier boot epoch */
    SEAL_TRUNCATED, /* too short to be whole */
    SEAL_UNKNOWN_VERSION,
    SEAL_PLAIN,  /* not sealed, and it must be */
    SEAL_NO_KEY, /* sealed, and there is no key here */
    SEAL_REFUSAL_COUNT
};

struct seal *seal_create(const struct seal_config *config);
/* NULL is allowed. */
void seal_destroy(struct seal *seal);

/* The packet of message; out has room for size + SEAL_OVERHEAD_BYTES. Returns its size. */
size_t seal_packet(struct seal *seal, const void *message, size_t size, uint8_t *out);

/* Opens a packet in place. ERR_INVALID, ERR_DENIED: refused and counted; the packet's bytes are
 * undefined then, and ret_why, which may be NULL, tells why. */
enum err seal_open(struct seal *seal, uint8_t *packet, size_t size, uint8_t **ret_message,
                   size_t *ret_size, enum seal_refusal *ret_why);

/* Since the start. */
uint64_t seal_refused(const struct seal *seal, enum seal_refusal why);
/* "wrong key", for logs and metrics. */
const char *seal_refusal_name(enum seal_refusal why);

#endif
