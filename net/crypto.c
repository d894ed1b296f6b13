#include "net/crypto.h"

#include <openssl/crypto.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>

#include "base/assert.h"
#include "base/mem.h"

#define NONCE_BYTES 12

/* A context for each key size and direction, made at first use: a change of the cipher costs more
 * than a packet. */
struct crypto_gcm {
    EVP_CIPHER_CTX *seal[3], *open[3];
};

void crypto_random(void *bytes, size_t size) {
    uint8_t *at = bytes;
    while (size > 0) {
        ssize_t n = getrandom(at, size, 0);
        ASSERT(n > 0);
        at += n;
        size -= (size_t)n;
    }
}

uint64_t crypto_random_u64(void) {
    uint64_t value;
    crypto_random(&value, sizeof value);
    return value;
}

bool crypto_equal(const void *a, const void *b, size_t size) {
    return CRYPTO_memcmp(a, b, size) == 0;
}

void crypto_wipe(void *bytes, size_t size) {
    OPENSSL_cleanse(bytes, size);
}

void crypto_hmac(const void *key, size_t key_size, const void *data, size_t size,
                 uint8_t ret_mac[CRYPTO_HASH_BYTES]) {
    unsigned bytes = 0;
    ASSERT(HMAC(EVP_sha256(), key, (int)key_size, data, size, ret_mac, &bytes) != NULL);
    ASSERT(bytes == CRYPTO_HASH_BYTES);
}

/* One block of expansion is all that is asked for: T(1) = HMAC(PRK, info | 0x01). */
void crypto_hkdf(const void *key, size_t key_size, const void *salt, size_t salt_size,
                 const void *info, size_t info_size, uint8_t *out, size_t size) {
    static const uint8_t no_salt[CRYPTO_HASH_BYTES] = {0};
    uint8_t extracted[CRYPTO_HASH_BYTES], block[CRYPTO_HASH_BYTES], text[256];
    ASSERT(size <= CRYPTO_HASH_BYTES && info_size < sizeof text);
    if (salt == NULL) {
        salt = no_salt;
        salt_size = sizeof no_salt;
    }
    crypto_hmac(salt, salt_size, key, key_size, extracted);
    memcpy(text, info, info_size);
    text[info_size] = 1;
    crypto_hmac(extracted, sizeof extracted, text, info_size + 1, block);
    memcpy(out, block, size);
    crypto_wipe(extracted, sizeof extracted);
    crypto_wipe(block, sizeof block);
}

struct crypto_gcm *crypto_gcm_create(void) {
    return mem_calloc(1, sizeof(struct crypto_gcm));
}

void crypto_gcm_destroy(struct crypto_gcm *gcm) {
    for (int i = 0; gcm != NULL && i < 3; i++) {
        EVP_CIPHER_CTX_free(gcm->seal[i]);
        EVP_CIPHER_CTX_free(gcm->open[i]);
    }
    free(gcm);
}

/* Keyed for this input. */
static EVP_CIPHER_CTX *prepare(EVP_CIPHER_CTX **contexts, const struct crypto_gcm_input *input,
                               int encrypt) {
    static const EVP_CIPHER *(*const ciphers[3])(void) = {EVP_aes_128_gcm, EVP_aes_192_gcm,
                                                          EVP_aes_256_gcm};
    ASSERT(input->key_size == 16 || input->key_size == 24 || input->key_size == 32);
    size_t i = input->key_size / 8 - 2;
    uint8_t nonce[NONCE_BYTES] = {0};
    for (int b = 0; b < 8; b++) {
        nonce[NONCE_BYTES - 1 - b] = (uint8_t)(input->nonce >> 8 * b);
    }
    const EVP_CIPHER *cipher = NULL;
    if (contexts[i] == NULL) {
        contexts[i] = EVP_CIPHER_CTX_new();
        ASSERT(contexts[i] != NULL);
        cipher = ciphers[i]();
    }
    int bytes = 0;
    ASSERT(EVP_CipherInit_ex(contexts[i], cipher, NULL, input->key, nonce, encrypt) == 1);
    ASSERT(EVP_CipherUpdate(contexts[i], NULL, &bytes, input->extra, (int)input->extra_size) == 1);
    return contexts[i];
}

void crypto_gcm_seal(struct crypto_gcm *gcm, const struct crypto_gcm_input *input,
                     const uint8_t *data, size_t size, uint8_t *out,
                     uint8_t ret_tag[CRYPTO_TAG_BYTES]) {
    EVP_CIPHER_CTX *context = prepare(gcm->seal, input, 1);
    int bytes = 0, last = 0;
    ASSERT(EVP_EncryptUpdate(context, out, &bytes, data, (int)size) == 1);
    ASSERT(EVP_EncryptFinal_ex(context, out + bytes, &last) == 1);
    ASSERT((size_t)(bytes + last) == size);
    ASSERT(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, CRYPTO_TAG_BYTES, ret_tag) == 1);
}

bool crypto_gcm_open(struct crypto_gcm *gcm, const struct crypto_gcm_input *input,
                     const uint8_t *data, size_t size, const uint8_t tag[CRYPTO_TAG_BYTES],
                     uint8_t *out) {
    EVP_CIPHER_CTX *context = prepare(gcm->open, input, 0);
    uint8_t copy[CRYPTO_TAG_BYTES];
    int bytes = 0, last = 0;
    memcpy(copy, tag, sizeof copy);
    ASSERT(EVP_DecryptUpdate(context, out, &bytes, data, (int)size) == 1);
    ASSERT(EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, CRYPTO_TAG_BYTES, copy) == 1);
    return EVP_DecryptFinal_ex(context, out + bytes, &last) == 1;
}
