/* The bytes of net/rpc.h's frames; the one place in net that includes protobuf-c. Encoders return a
 * block from malloc: 4 bytes for the length, filled in, then the payload, then room for a tag. */
#ifndef NET_RPC_WIRE_H
#define NET_RPC_WIRE_H

#include "net/crypto.h"
#include "net/rpc.h"

#define WIRE_LENGTH_BYTES 4
#define WIRE_NONCE_BYTES 32
#define WIRE_TEXT_BYTES 256 /* of a refusal, with the NUL */

struct wire_hello {
    uint32_t version_min, version_max;
    struct rpc_identity identity;
    uint8_t nonce[WIRE_NONCE_BYTES];
    bool has_key, has_expected;
    uint8_t key_id[KEYRING_ID_BYTES];
    struct uuid expected;
};

struct wire_welcome {
    char refusal[WIRE_TEXT_BYTES]; /* "" = welcome */
    uint32_t refusal_kind;
    uint32_t version;
    struct rpc_identity identity;
    uint8_t nonce[WIRE_NONCE_BYTES];
};

struct wire_proof {
    char refusal[WIRE_TEXT_BYTES];
    uint32_t refusal_kind;
    bool has_proof;
    uint8_t proof[CRYPTO_HASH_BYTES];
};

enum wire_kind { WIRE_MESSAGE, WIRE_REQUEST, WIRE_ANSWER };

struct wire_frame {
    enum wire_kind kind;
    uint64_t id;
    uint32_t method, error;
    const char *text;
    const uint8_t *body;
    size_t size;
    void *owner; /* of what was decoded: text and body point into it */
};

uint8_t *wire_encode_hello(const struct wire_hello *hello, size_t *ret_payload);
uint8_t *wire_encode_welcome(const struct wire_welcome *welcome, size_t *ret_payload);
uint8_t *wire_encode_proof(const struct wire_proof *proof, size_t *ret_payload);
uint8_t *wire_encode_frame(const struct wire_frame *frame, size_t *ret_payload);
/* Upper bound of a frame's payload. */
size_t wire_frame_bytes(const struct wire_frame *frame);

/* False: malformed. */
bool wire_decode_hello(const uint8_t *payload, size_t size, struct wire_hello *ret_hello);
bool wire_decode_welcome(const uint8_t *payload, size_t size, struct wire_welcome *ret_welcome);
bool wire_decode_proof(const uint8_t *payload, size_t size, struct wire_proof *ret_proof);
bool wire_decode_frame(const uint8_t *payload, size_t size, struct wire_frame *ret_frame);
void wire_frame_clear(struct wire_frame *frame);

void wire_store_u32(uint8_t *out, uint32_t value);
uint32_t wire_load_u32(const uint8_t *in);

#endif
