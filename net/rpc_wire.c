#include "net/rpc_wire.h"

#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/mem.h"
#include "proto/rpc.pb-c.h"

_Static_assert((int)RPC_METHOD_KEYRING == PB__RPC_METHOD__RPC_METHOD_KEYRING &&
                   (int)RPC_METHOD_GOSSIP == PB__RPC_METHOD__RPC_METHOD_GOSSIP,
               "net/rpc.h names the numbers of proto/rpc.proto");

static const struct uuid no_uuid;

void wire_store_u32(uint8_t *out, uint32_t value) {
    out[0] = (uint8_t)(value >> 24);
    out[1] = (uint8_t)(value >> 16);
    out[2] = (uint8_t)(value >> 8);
    out[3] = (uint8_t)value;
}

uint32_t wire_load_u32(const uint8_t *in) {
    return (uint32_t)in[0] << 24 | (uint32_t)in[1] << 16 | (uint32_t)in[2] << 8 | in[3];
}

static uint8_t *pack(const ProtobufCMessage *message, size_t *ret_payload) {
    size_t size = protobuf_c_message_get_packed_size(message);
    uint8_t *block = mem_alloc(WIRE_LENGTH_BYTES + size + CRYPTO_TAG_BYTES);
    ASSERT(size <= UINT32_MAX);
    wire_store_u32(block, (uint32_t)size);
    protobuf_c_message_pack(message, block + WIRE_LENGTH_BYTES);
    *ret_payload = size;
    return block;
}

static ProtobufCBinaryData bytes_of(const void *data, size_t size) {
    return (ProtobufCBinaryData){size, (uint8_t *)(uintptr_t)data};
}

static ProtobufCBinaryData uuid_of(const struct uuid *uuid) {
    bool none = memcmp(uuid, &no_uuid, sizeof no_uuid) == 0;
    return bytes_of(uuid->bytes, none ? 0 : sizeof uuid->bytes);
}

/* Absent is zero. False: of another length. */
static bool take_uuid(ProtobufCBinaryData from, struct uuid *ret_uuid) {
    *ret_uuid = no_uuid;
    if (from.len == 0) {
        return true;
    }
    if (from.len != sizeof ret_uuid->bytes) {
        return false;
    }
    memcpy(ret_uuid->bytes, from.data, from.len);
    return true;
}

static bool take_bytes(ProtobufCBinaryData from, void *out, size_t size) {
    if (from.len == size) {
        memcpy(out, from.data, size);
    }
    return from.len == size;
}

static bool take_text(const char *from, char *out, size_t room) {
    size_t size = strlen(from);
    if (size >= room) {
        return false;
    }
    memcpy(out, from, size + 1);
    return true;
}

/* ---- the handshake ---- */

uint8_t *wire_encode_hello(const struct wire_hello *hello, size_t *ret_payload) {
    const struct rpc_identity *self = &hello->identity;
    Pb__RpcHello message = PB__RPC_HELLO__INIT;
    message.version_min = hello->version_min;
    message.version_max = hello->version_max;
    message.node = uuid_of(&self->node);
    message.disk = uuid_of(&self->disk);
    message.cluster = uuid_of(&self->cluster);
    message.name = (char *)(uintptr_t)self->name;
    message.datacenter = (char *)(uintptr_t)self->datacenter;
    message.server = self->server;
    message.nonce = bytes_of(hello->nonce, sizeof hello->nonce);
    message.key_id = bytes_of(hello->key_id, hello->has_key ? sizeof hello->key_id : 0);
    message.expected = hello->has_expected ? uuid_of(&hello->expected) : bytes_of(NULL, 0);
    return pack(&message.base, ret_payload);
}

bool wire_decode_hello(const uint8_t *payload, size_t size, struct wire_hello *ret_hello) {
    Pb__RpcHello *message = pb__rpc_hello__unpack(NULL, size, payload);
    if (message == NULL) {
        return false;
    }
    struct wire_hello hello = {.version_min = message->version_min,
                               .version_max = message->version_max,
                               .has_key = message->key_id.len > 0,
                               .has_expected = message->expected.len > 0};
    struct rpc_identity *who = &hello.identity;
    who->server = message->server;
    bool ok = take_uuid(message->node, &who->node) && take_uuid(message->disk, &who->disk) &&
              take_uuid(message->cluster, &who->cluster) &&
              take_text(message->name, who->name, sizeof who->name) &&
              take_text(message->datacenter, who->datacenter, sizeof who->datacenter) &&
              take_bytes(message->nonce, hello.nonce, sizeof hello.nonce) &&
              (!hello.has_key || take_bytes(message->key_id, hello.key_id, sizeof hello.key_id)) &&
              take_uuid(message->expected, &hello.expected);
    pb__rpc_hello__free_unpacked(message, NULL);
    if (ok) {
        *ret_hello = hello;
    }
    return ok;
}

uint8_t *wire_encode_welcome(const struct wire_welcome *welcome, size_t *ret_payload) {
    const struct rpc_identity *self = &welcome->identity;
    Pb__RpcWelcome message = PB__RPC_WELCOME__INIT;
    message.refusal = (char *)(uintptr_t)welcome->refusal;
    message.refusal_kind = welcome->refusal_kind;
    message.version = welcome->version;
    message.node = uuid_of(&self->node);
    message.disk = uuid_of(&self->disk);
    message.cluster = uuid_of(&self->cluster);
    message.name = (char *)(uintptr_t)self->name;
    message.datacenter = (char *)(uintptr_t)self->datacenter;
    message.server = self->server;
    message.nonce = bytes_of(welcome->nonce, sizeof welcome->nonce);
    return pack(&message.base, ret_payload);
}

bool wire_decode_welcome(const uint8_t *payload, size_t size, struct wire_welcome *ret_welcome) {
    Pb__RpcWelcome *message = pb__rpc_welcome__unpack(NULL, size, payload);
    if (message == NULL) {
        return false;
    }
    struct wire_welcome welcome = {.refusal_kind = message->refusal_kind,
                                   .version = message->version};
    struct rpc_identity *who = &welcome.identity;
    who->server = message->server;
    bool ok = take_text(message->refusal, welcome.refusal, sizeof welcome.refusal);
    if (ok && welcome.refusal[0] == '\0') {
        ok = take_uuid(message->node, &who->node) && take_uuid(message->disk, &who->disk) &&
             take_uuid(message->cluster, &who->cluster) &&
             take_text(message->name, who->name, sizeof who->name) &&
             take_text(message->datacenter, who->datacenter, sizeof who->datacenter) &&
             take_bytes(message->nonce, welcome.nonce, sizeof welcome.nonce);
    }
    pb__rpc_welcome__free_unpacked(message, NULL);
    if (ok) {
        *ret_welcome = welcome;
    }
    return ok;
}

uint8_t *wire_encode_proof(const struct wire_proof *proof, size_t *ret_payload) {
    Pb__RpcProof message = PB__RPC_PROOF__INIT;
    message.refusal = (char *)(uintptr_t)proof->refusal;
    message.refusal_kind = proof->refusal_kind;
    message.proof = bytes_of(proof->proof, proof->has_proof ? sizeof proof->proof : 0);
    return pack(&message.base, ret_payload);
}

bool wire_decode_proof(const uint8_t *payload, size_t size, struct wire_proof *ret_proof) {
    Pb__RpcProof *message = pb__rpc_proof__unpack(NULL, size, payload);
    if (message == NULL) {
        return false;
    }
    struct wire_proof proof = {.refusal_kind = message->refusal_kind,
                               .has_proof = message->proof.len > 0};
    bool ok = take_text(message->refusal, proof.refusal, sizeof proof.refusal) &&
              (!proof.has_proof || take_bytes(message->proof, proof.proof, sizeof proof.proof));
    pb__rpc_proof__free_unpacked(message, NULL);
    if (ok) {
        *ret_proof = proof;
    }
    return ok;
}

/* ---- frames ---- */

size_t wire_frame_bytes(const struct wire_frame *frame) {
    return frame->size + (frame->text != NULL ? strlen(frame->text) : 0) + 64;
}

uint8_t *wire_encode_frame(const struct wire_frame *frame, size_t *ret_payload) {
    Pb__RpcFrame message = PB__RPC_FRAME__INIT;
    message.kind = (Pb__RpcFrame__Kind)frame->kind;
    message.id = frame->id;
    message.method = frame->method;
    message.error = frame->error;
    message.text = (char *)(uintptr_t)(frame->text != NULL ? frame->text : "");
    message.body = bytes_of(frame->body, frame->size);
    return pack(&message.base, ret_payload);
}

bool wire_decode_frame(const uint8_t *payload, size_t size, struct wire_frame *ret_frame) {
    Pb__RpcFrame *message = pb__rpc_frame__unpack(NULL, size, payload);
    if (message == NULL) {
        return false;
    }
    if (message->kind > PB__RPC_FRAME__KIND__ANSWER) {
        pb__rpc_frame__free_unpacked(message, NULL);
        return false;
    }
    *ret_frame = (struct wire_frame){.kind = (enum wire_kind)message->kind,
                                     .id = message->id,
                                     .method = message->method,
                                     .error = message->error,
                                     .text = message->text,
                                     .body = message->body.data,
                                     .size = message->body.len,
                                     .owner = message};
    return true;
}

void wire_frame_clear(struct wire_frame *frame) {
    pb__rpc_frame__free_unpacked(frame->owner, NULL);
    frame->owner = NULL;
}
