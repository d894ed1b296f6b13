#include "net/seal.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/hash.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/crypto.h"

#define SENDER_BYTES 8
#define VERSION_PLAIN 0x50
#define VERSION_SEALED 0x52
#define EPOCH_AT (1 + SENDER_BYTES)
#define COUNTER_AT (EPOCH_AT + 4)
#define HEADER_BYTES (COUNTER_AT + 5)
#define POOL_BYTES 16
#define BUCKETS_MIN 16
#define COUNTER_MAX ((UINT64_C(1) << 40) - 1)

_Static_assert(HEADER_BYTES + CRYPTO_TAG_BYTES == SEAL_OVERHEAD_BYTES, "the layout of seal.h");
_Static_assert(LIMIT_SEAL_WINDOW % 64 == 0, "the window is whole words");

/* What was opened from one sender. In the table, and in a list with the latest one first. */
struct sender {
    struct sender *chain, *newer, *older;
    uint64_t id;
    uint32_t boot_epoch;
    uint64_t top; /* the highest counter opened */
    /* Bit i % LIMIT_SEAL_WINDOW: counter i was opened, for the last LIMIT_SEAL_WINDOW ones to top.
     */
    uint64_t window[LIMIT_SEAL_WINDOW / 64];
    /* The key that opened the last packet; good while the ring's version is the same. */
    uint8_t key[KEYRING_KEY_BYTES_MAX];
    size_t key_size;
    uint64_t key_version;
};

struct seal {
    char pool[POOL_BYTES];
    uint64_t self;
    uint32_t boot_epoch;
    const struct keyring *keyring;
    bool verify_incoming, verify_outgoing;
    struct crypto_gcm *gcm;
    uint64_t counter; /* of the last packet sealed */
    uint8_t key[KEYRING_KEY_BYTES_MAX];
    size_t key_size;
    uint64_t key_version; /* 0 = none derived yet */
    struct sender **buckets;
    size_t bucket_count, sender_count;
    struct sender *newest, *oldest;
    uint64_t refused[SEAL_REFUSAL_COUNT];
};

static void store(uint8_t *out, int bytes, uint64_t value) {
    for (int i = 0; i < bytes; i++) {
        out[i] = (uint8_t)(value >> 8 * (bytes - 1 - i));
    }
}

static uint64_t load(const uint8_t *in, int bytes) {
    uint64_t value = 0;
    for (int i = 0; i < bytes; i++) {
        value = value << 8 | in[i];
    }
    return value;
}

static uint64_t sender_of(const struct uuid *uuid) {
    static const char label[] = "sender of a sealed packet";
    uint8_t hash[CRYPTO_HASH_BYTES];
    crypto_hmac(label, sizeof label - 1, uuid->bytes, sizeof uuid->bytes, hash);
    return load(hash, SENDER_BYTES);
}

struct seal *seal_create(const struct seal_config *config) {
    struct seal *seal = mem_calloc(1, sizeof *seal);
    ASSERT(strlen(config->pool) < POOL_BYTES);
    memcpy(seal->pool, config->pool, strlen(config->pool));
    seal->self = sender_of(&config->self);
    seal->boot_epoch = config->boot_epoch;
    seal->keyring = config->keyring;
    seal->verify_incoming = config->verify_incoming;
    seal->verify_outgoing = config->verify_outgoing;
    seal->gcm = crypto_gcm_create();
    seal->bucket_count = BUCKETS_MIN;
    seal->buckets = mem_calloc(BUCKETS_MIN, sizeof(struct sender *));
    return seal;
}

void seal_destroy(struct seal *seal) {
    if (seal == NULL) {
        return;
    }
    while (seal->newest != NULL) {
        struct sender *sender = seal->newest;
        seal->newest = sender->older;
        crypto_wipe(sender, sizeof *sender);
        free(sender);
    }
    free(seal->buckets);
    crypto_gcm_destroy(seal->gcm);
    crypto_wipe(seal, sizeof *seal);
    free(seal);
}

uint64_t seal_refused(const struct seal *seal, enum seal_refusal why) {
    ASSERT(why < SEAL_REFUSAL_COUNT);
    return seal->refused[why];
}

const char *seal_refusal_name(enum seal_refusal why) {
    static const char *const names[SEAL_REFUSAL_COUNT] = {
        [SEAL_WRONG_KEY] = "wrong key", [SEAL_REPLAYED] = "replayed",
        [SEAL_TRUNCATED] = "truncated", [SEAL_UNKNOWN_VERSION] = "unknown version",
        [SEAL_PLAIN] = "plain",         [SEAL_NO_KEY] = "no key",
    };
    ASSERT(why < SEAL_REFUSAL_COUNT);
    return names[why];
}

/* header: of the packet, whose sender and boot epoch make the key. */
static void derive(const struct seal *seal, const struct keyring_key *pool_key,
                   const uint8_t *header, uint8_t *out) {
    uint8_t info[POOL_BYTES + COUNTER_AT - 1];
    memcpy(info, seal->pool, POOL_BYTES);
    memcpy(info + POOL_BYTES, header + 1, COUNTER_AT - 1);
    crypto_hkdf(pool_key->bytes, pool_key->size, NULL, 0, info, sizeof info, out, pool_key->size);
}

/* ---- sealing ---- */

size_t seal_packet(struct seal *seal, const void *message, size_t size, uint8_t *out) {
    if (keyring_count(seal->keyring) == 0 || !seal->verify_outgoing) {
        out[0] = VERSION_PLAIN;
        memcpy(out + 1, message, size);
        return size + 1;
    }
    ASSERT(seal->counter < COUNTER_MAX);
    seal->counter++;
    out[0] = VERSION_SEALED;
    store(out + 1, SENDER_BYTES, seal->self);
    store(out + EPOCH_AT, 4, seal->boot_epoch);
    store(out + COUNTER_AT, 5, seal->counter);
    if (seal->key_version != keyring_version(seal->keyring)) {
        const struct keyring_key *primary = keyring_get(seal->keyring, 0);
        derive(seal, primary, out, seal->key);
        seal->key_size = primary->size;
        seal->key_version = keyring_version(seal->keyring);
    }
    struct crypto_gcm_input input = {seal->key, seal->key_size, seal->counter, out, HEADER_BYTES};
    crypto_gcm_seal(seal->gcm, &input, message, size, out + HEADER_BYTES,
                    out + HEADER_BYTES + size);
    return size + SEAL_OVERHEAD_BYTES;
}

/* ---- senders ---- */

static struct sender **bucket_of(const struct seal *seal, uint64_t id) {
    return &seal->buckets[hash_mix(id) & (seal->bucket_count - 1)];
}

static struct sender *find_sender(const struct seal *seal, uint64_t id) {
    struct sender *sender = *bucket_of(seal, id);
    while (sender != NULL && sender->id != id) {
        sender = sender->chain;
    }
    return sender;
}

static void unlink_sender(struct seal *seal, struct sender *sender) {
    *(sender->newer != NULL ? &sender->newer->older : &seal->newest) = sender->older;
    *(sender->older != NULL ? &sender->older->newer : &seal->oldest) = sender->newer;
}

static void link_newest(struct seal *seal, struct sender *sender) {
    sender->newer = NULL;
    sender->older = seal->newest;
    *(seal->newest != NULL ? &seal->newest->newer : &seal->oldest) = sender;
    seal->newest = sender;
}

static void grow_buckets(struct seal *seal) {
    free(seal->buckets);
    seal->bucket_count *= 2;
    seal->buckets = mem_calloc(seal->bucket_count, sizeof(struct sender *));
    for (struct sender *at = seal->newest; at != NULL; at = at->older) {
        struct sender **bucket = bucket_of(seal, at->id);
        at->chain = *bucket;
        *bucket = at;
    }
}

/* Only what has been authenticated gets an entry, so strangers cannot push members out. */
static struct sender *add_sender(struct seal *seal, uint64_t id) {
    struct sender *sender;
    if (seal->sender_count == LIMIT_SEAL_SENDERS) {
        sender = seal->oldest;
        struct sender **at = bucket_of(seal, sender->id);
        while (*at != sender) {
            at = &(*at)->chain;
        }
        *at = sender->chain;
        unlink_sender(seal, sender);
        memset(sender, 0, sizeof *sender);
    } else {
        sender = mem_calloc(1, sizeof *sender);
        if (++seal->sender_count > seal->bucket_count) {
            grow_buckets(seal);
        }
    }
    struct sender **bucket = bucket_of(seal, id);
    sender->id = id;
    sender->chain = *bucket;
    *bucket = sender;
    link_newest(seal, sender);
    return sender;
}

/* ---- the window ---- */

static uint64_t *window_word(struct sender *sender, uint64_t counter) {
    return &sender->window[counter % LIMIT_SEAL_WINDOW / 64];
}

static bool is_replay(struct sender *sender, uint32_t boot_epoch, uint64_t counter) {
    if (sender == NULL || boot_epoch > sender->boot_epoch) {
        return false;
    }
    if (boot_epoch < sender->boot_epoch) {
        return true;
    }
    return counter + LIMIT_SEAL_WINDOW <= sender->top ||
           (counter <= sender->top && (*window_word(sender, counter) >> counter % 64 & 1) != 0);
}

static void mark(struct sender *sender, uint32_t boot_epoch, uint64_t counter) {
    if (boot_epoch > sender->boot_epoch || counter > sender->top + LIMIT_SEAL_WINDOW) {
        memset(sender->window, 0, sizeof sender->window);
        sender->boot_epoch = boot_epoch;
        sender->top = counter;
    }
    while (sender->top < counter) {
        sender->top++;
        *window_word(sender, sender->top) &= ~(UINT64_C(1) << sender->top % 64);
    }
    *window_word(sender, counter) |= UINT64_C(1) << counter % 64;
}

/* ---- opening ---- */

static enum err refuse(struct seal *seal, enum seal_refusal why, enum seal_refusal *ret_why) {
    seal->refused[why]++;
    if (ret_why != NULL) {
        *ret_why = why;
    }
    return why == SEAL_TRUNCATED || why == SEAL_UNKNOWN_VERSION ? ERR_INVALID : ERR_DENIED;
}

/* Tries the sender's last key, then all keys of the ring; key gets the one that fits. */
static bool open_with_any(struct seal *seal, const struct sender *sender, uint8_t *packet,
                          size_t size, uint8_t *scratch, uint8_t *key, size_t *ret_key_size) {
    size_t bytes = size - SEAL_OVERHEAD_BYTES;
    const uint8_t *tag = packet + size - CRYPTO_TAG_BYTES;
    struct crypto_gcm_input input = {key, 0, load(packet + COUNTER_AT, 5), packet, HEADER_BYTES};
    if (sender != NULL && sender->key_version == keyring_version(seal->keyring) &&
        sender->boot_epoch == load(packet + EPOCH_AT, 4)) {
        memcpy(key, sender->key, sender->key_size);
        *ret_key_size = input.key_size = sender->key_size;
        if (crypto_gcm_open(seal->gcm, &input, packet + HEADER_BYTES, bytes, tag, scratch)) {
            return true;
        }
    }
    for (size_t i = 0; i < keyring_count(seal->keyring); i++) {
        const struct keyring_key *pool_key = keyring_get(seal->keyring, i);
        derive(seal, pool_key, packet, key);
        *ret_key_size = input.key_size = pool_key->size;
        if (crypto_gcm_open(seal->gcm, &input, packet + HEADER_BYTES, bytes, tag, scratch)) {
            return true;
        }
    }
    return false;
}

static enum err open_sealed(struct seal *seal, uint8_t *packet, size_t size,
                            enum seal_refusal *ret_why) {
    uint8_t key[KEYRING_KEY_BYTES_MAX], scratch[LIMIT_SEAL_PACKET_BYTES];
    size_t key_size = 0;
    uint64_t id = load(packet + 1, SENDER_BYTES), counter = load(packet + COUNTER_AT, 5);
    uint32_t boot_epoch = (uint32_t)load(packet + EPOCH_AT, 4);
    struct sender *sender = find_sender(seal, id);
    if (is_replay(sender, boot_epoch, counter)) {
        return refuse(seal, SEAL_REPLAYED, ret_why);
    }
    if (!open_with_any(seal, sender, packet, size, scratch, key, &key_size)) {
        return refuse(seal, SEAL_WRONG_KEY, ret_why);
    }
    memcpy(packet + HEADER_BYTES, scratch, size - SEAL_OVERHEAD_BYTES);
    if (sender == NULL) {
        sender = add_sender(seal, id);
        sender->boot_epoch = boot_epoch;
        sender->top = counter;
    } else if (sender != seal->newest) {
        unlink_sender(seal, sender);
        link_newest(seal, sender);
    }
    mark(sender, boot_epoch, counter);
    memcpy(sender->key, key, key_size);
    sender->key_size = key_size;
    sender->key_version = keyring_version(seal->keyring);
    return ERR_OK;
}

enum err seal_open(struct seal *seal, uint8_t *packet, size_t size, uint8_t **ret_message,
                   size_t *ret_size, enum seal_refusal *ret_why) {
    if (size < 1) {
        return refuse(seal, SEAL_TRUNCATED, ret_why);
    }
    if (packet[0] == VERSION_PLAIN) {
        if (keyring_count(seal->keyring) > 0 && seal->verify_incoming) {
            return refuse(seal, SEAL_PLAIN, ret_why);
        }
        *ret_message = packet + 1;
        *ret_size = size - 1;
    } else if (packet[0] != VERSION_SEALED) {
        return refuse(seal, SEAL_UNKNOWN_VERSION, ret_why);
    } else if (keyring_count(seal->keyring) == 0) {
        return refuse(seal, SEAL_NO_KEY, ret_why);
    } else if (size < SEAL_OVERHEAD_BYTES || size > LIMIT_SEAL_PACKET_BYTES) {
        return refuse(seal, SEAL_TRUNCATED, ret_why);
    } else {
        enum err err = open_sealed(seal, packet, size, ret_why);
        if (err != ERR_OK) {
            return err;
        }
        *ret_message = packet + HEADER_BYTES;
        *ret_size = size - SEAL_OVERHEAD_BYTES;
    }
    return ERR_OK;
}
