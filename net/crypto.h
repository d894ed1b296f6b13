/* The few primitives that sealing and handshakes are made of; the one place in net that includes
 * OpenSSL. Failures of the library are asserted: none of them is caused by input. */
#ifndef NET_CRYPTO_H
#define NET_CRYPTO_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define CRYPTO_HASH_BYTES 32
#define CRYPTO_TAG_BYTES 16

/* From the system. */
void crypto_random(void *bytes, size_t size);
uint64_t crypto_random_u64(void);
/* In time that tells nothing of where they differ. */
bool crypto_equal(const void *a, const void *b, size_t size);
void crypto_wipe(void *bytes, size_t size);

/* HMAC-SHA256 (RFC 2104). */
void crypto_hmac(const void *key, size_t key_size, const void *data, size_t size,
                 uint8_t ret_mac[CRYPTO_HASH_BYTES]);
/* HKDF-SHA256 (RFC 5869) of at most CRYPTO_HASH_BYTES. salt may be NULL. */
void crypto_hkdf(const void *key, size_t key_size, const void *salt, size_t salt_size,
                 const void *info, size_t info_size, uint8_t *out, size_t size);

/* AES-GCM (NIST SP 800-38D) with keys of 16, 24 or 32 bytes and 96-bit nonces whose first 32 bits
 * are zero. A context keeps no key that matters from one call to the next. */
struct crypto_gcm;

struct crypto_gcm *crypto_gcm_create(void);
void crypto_gcm_destroy(struct crypto_gcm *gcm); /* NULL is allowed */

struct crypto_gcm_input {
    const uint8_t *key;
    size_t key_size;
    uint64_t nonce;
    const uint8_t *extra; /* authenticated, not encrypted */
    size_t extra_size;
};

/* data may be the same as out; out gets size bytes, tag the authenticator. */
void crypto_gcm_seal(struct crypto_gcm *gcm, const struct crypto_gcm_input *input,
                     const uint8_t *data, size_t size, uint8_t *out,
                     uint8_t ret_tag[CRYPTO_TAG_BYTES]);
/* False: it is not authentic; out is undefined then. */
bool crypto_gcm_open(struct crypto_gcm *gcm, const struct crypto_gcm_input *input,
                     const uint8_t *data, size_t size, const uint8_t tag[CRYPTO_TAG_BYTES],
                     uint8_t *out);

#endif
