/* The keys of a gossip pool: raw AES keys of 16, 24 or 32 bytes. The first is the primary one,
 * which seals; all of them may open. One owner changes it; sealers and RPC ends borrow it and see
 * each change at once. Not for several threads. */
#ifndef NET_KEYRING_H
#define NET_KEYRING_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/err.h"

#define KEYRING_KEY_BYTES_MAX 32
#define KEYRING_TEXT_BYTES 45 /* base64 of the largest key, with the NUL */
#define KEYRING_ID_BYTES 8

struct keyring_key {
    uint8_t bytes[KEYRING_KEY_BYTES_MAX];
    size_t size;
    /* HKDF-SHA256 of the key: tells which key a peer uses and nothing else about it. */
    uint8_t id[KEYRING_ID_BYTES];
};

struct keyring;

struct keyring *keyring_create(void);
/* Wipes the keys. NULL is allowed. */
void keyring_destroy(struct keyring *keyring);

/* Standard base64 (RFC 4648 section 4) of 16, 24 or 32 bytes. ERR_INVALID and a sentence. */
enum err keyring_parse_key(const char *base64, struct keyring_key *ret_key, struct err_text *text);
void keyring_format_key(const struct keyring_key *key, char out[KEYRING_TEXT_BYTES]);

/* Becomes the primary key if it is the first. One that is there already stays as it is.
 * ERR_TOO_LARGE: LIMIT_KEYRING_KEYS are there. */
enum err keyring_install(struct keyring *keyring, const struct keyring_key *key,
                         struct err_text *text);
/* ERR_NOT_FOUND: it is not installed. */
enum err keyring_use(struct keyring *keyring, const struct keyring_key *key, struct err_text *text);
/* ERR_REFUSED: it is the primary one. One that is not there is removed already. */
enum err keyring_remove(struct keyring *keyring, const struct keyring_key *key,
                        struct err_text *text);

size_t keyring_count(const struct keyring *keyring); /* NULL reads as none */
/* 0 is the primary one. Borrowed until the next change. */
const struct keyring_key *keyring_get(const struct keyring *keyring, size_t i);
/* NULL: none has this id. */
const struct keyring_key *keyring_find_id(const struct keyring *keyring,
                                          const uint8_t id[KEYRING_ID_BYTES]);
/* Counts up at each change. */
uint64_t keyring_version(const struct keyring *keyring);

#endif
