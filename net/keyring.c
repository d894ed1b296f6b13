#include "net/keyring.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/crypto.h"

struct keyring {
    struct keyring_key keys[LIMIT_KEYRING_KEYS]; /* the primary one first */
    size_t count;
    uint64_t version;
};

static const char alphabet[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

struct keyring *keyring_create(void) {
    struct keyring *keyring = mem_calloc(1, sizeof *keyring);
    keyring->version = 1;
    return keyring;
}

void keyring_destroy(struct keyring *keyring) {
    if (keyring != NULL) {
        crypto_wipe(keyring, sizeof *keyring);
        free(keyring);
    }
}

/* ---- texts ---- */

/* Strict: whole groups of four, padding at the end alone, no bits beyond the last byte. -1: none.
 */
static int decode(const char *text, uint8_t *out, size_t room) {
    size_t length = strlen(text), bytes = 0;
    if (length == 0 || length % 4 != 0) {
        return -1;
    }
    size_t padding = text[length - 1] != '=' ? 0 : text[length - 2] != '=' ? 1 : 2;
    uint32_t group = 0;
    for (size_t i = 0; i < length; i++) {
        const char *at = i < length - padding ? strchr(alphabet, text[i]) : alphabet;
        if (at == NULL || *at == '\0') {
            return -1;
        }
        group = group << 6 | (uint32_t)(at - alphabet);
        if (i % 4 < 3) {
            continue;
        }
        size_t here = i + 1 == length ? 3 - padding : 3;
        if (bytes + here > room || (here < 3 && (group & ((1u << 8 * (3 - here)) - 1)) != 0)) {
            return bytes + here > room ? (int)room + 1 : -1;
        }
        for (size_t b = 0; b < here; b++) {
            out[bytes++] = (uint8_t)(group >> (16 - 8 * b));
        }
        group = 0;
    }
    return (int)bytes;
}

enum err keyring_parse_key(const char *base64, struct keyring_key *ret_key, struct err_text *text) {
    static const char info[] = "cairn key id";
    struct keyring_key key = {.size = 0};
    int size = decode(base64, key.bytes, sizeof key.bytes);
    if (size < 0) {
        return err_set(text, ERR_INVALID, "illegal base64 data");
    }
    if (size != 16 && size != 24 && size != 32) {
        return err_set(text, ERR_INVALID, "key size must be 16, 24 or 32 bytes");
    }
    key.size = (size_t)size;
    crypto_hkdf(key.bytes, key.size, NULL, 0, info, sizeof info - 1, key.id, sizeof key.id);
    *ret_key = key;
    crypto_wipe(&key, sizeof key);
    return ERR_OK;
}

void keyring_format_key(const struct keyring_key *key, char out[KEYRING_TEXT_BYTES]) {
    size_t n = 0;
    for (size_t i = 0; i < key->size; i += 3) {
        size_t left = key->size - i;
        uint32_t group = (uint32_t)key->bytes[i] << 16 |
                         (left > 1 ? (uint32_t)key->bytes[i + 1] << 8 : 0) |
                         (left > 2 ? key->bytes[i + 2] : 0);
        for (size_t c = 0; c < 4; c++) {
            out[n++] = c <= left ? alphabet[group >> (18 - 6 * c) & 63] : '=';
        }
    }
    out[n] = '\0';
    ASSERT(n < KEYRING_TEXT_BYTES);
}

/* ---- changes ---- */

/* keyring->count when it is not there. */
static size_t place_of(const struct keyring *keyring, const struct keyring_key *key) {
    size_t i = 0;
    while (i < keyring->count && (keyring->keys[i].size != key->size ||
                                  memcmp(keyring->keys[i].bytes, key->bytes, key->size) != 0)) {
        i++;
    }
    return i;
}

enum err keyring_install(struct keyring *keyring, const struct keyring_key *key,
                         struct err_text *text) {
    if (place_of(keyring, key) < keyring->count) {
        return ERR_OK;
    }
    if (keyring->count == LIMIT_KEYRING_KEYS) {
        return err_set(text, ERR_TOO_LARGE, "a keyring holds at most %d keys", LIMIT_KEYRING_KEYS);
    }
    keyring->keys[keyring->count++] = *key;
    keyring->version++;
    return ERR_OK;
}

enum err keyring_use(struct keyring *keyring, const struct keyring_key *key,
                     struct err_text *text) {
    size_t i = place_of(keyring, key);
    if (i == keyring->count) {
        return err_set(text, ERR_NOT_FOUND, "Requested key is not in the keyring");
    }
    memmove(keyring->keys + 1, keyring->keys, i * sizeof *keyring->keys);
    keyring->keys[0] = *key;
    keyring->version++;
    return ERR_OK;
}

enum err keyring_remove(struct keyring *keyring, const struct keyring_key *key,
                        struct err_text *text) {
    size_t i = place_of(keyring, key);
    if (i == keyring->count) {
        return ERR_OK;
    }
    if (i == 0) {
        return err_set(text, ERR_REFUSED, "Removing the primary key is not allowed");
    }
    keyring->count--;
    memmove(keyring->keys + i, keyring->keys + i + 1, (keyring->count - i) * sizeof *keyring->keys);
    crypto_wipe(keyring->keys + keyring->count, sizeof *keyring->keys);
    keyring->version++;
    return ERR_OK;
}

size_t keyring_count(const struct keyring *keyring) {
    return keyring == NULL ? 0 : keyring->count;
}

const struct keyring_key *keyring_get(const struct keyring *keyring, size_t i) {
    ASSERT(i < keyring->count);
    return &keyring->keys[i];
}

const struct keyring_key *keyring_find_id(const struct keyring *keyring,
                                          const uint8_t id[KEYRING_ID_BYTES]) {
    for (size_t i = 0; i < keyring_count(keyring); i++) {
        if (memcmp(keyring->keys[i].id, id, KEYRING_ID_BYTES) == 0) {
            return &keyring->keys[i];
        }
    }
    return NULL;
}

uint64_t keyring_version(const struct keyring *keyring) {
    return keyring == NULL ? 0 : keyring->version;
}
