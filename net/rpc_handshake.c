/* The first frames of a connection, from either side. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/assert.h"
#include "base/limits.h"
#include "base/mem.h"
#include "net/rpc_internal.h"

static const char magic[5] = {'c', 'a', 'i', 'r', 'n'};
static const struct uuid no_uuid;

static bool same_uuid(const struct uuid *a, const struct uuid *b) {
    return memcmp(a, b, sizeof *a) == 0;
}

static const struct keyring *ring_of(const struct rpc_connection *c) {
    const struct rpc_config *config = &c->rpc->config;
    return c->far && config->kind == RPC_KIND_SERVER ? config->far_keyring : config->keyring;
}

void rpc_handshake_begin(struct rpc_connection *c, const struct uuid *expected) {
    c->handshake = mem_calloc(1, sizeof *c->handshake);
    buf_init(&c->handshake->transcript, 2 * LIMIT_RPC_HELLO_BYTES);
    c->handshake->has_expected = expected != NULL;
    if (expected != NULL) {
        c->handshake->expected = *expected;
    }
}

void rpc_handshake_free(struct rpc_connection *c) {
    if (c->handshake != NULL) {
        buf_clear(&c->handshake->transcript);
        crypto_wipe(c->handshake, sizeof *c->handshake);
        free(c->handshake);
        c->handshake = NULL;
    }
}

uint8_t *rpc_handshake_refusal(struct rpc_connection *c, enum rpc_refusal why,
                               const struct err_text *text, size_t *ret_payload) {
    if (c->caller && (c->state == RPC_WAIT_WELCOME || c->state == RPC_WAIT_PROOF)) {
        struct wire_proof proof = {.refusal_kind = why};
        snprintf(proof.refusal, sizeof proof.refusal, "%.*s", WIRE_TEXT_BYTES - 1, text->s);
        return wire_encode_proof(&proof, ret_payload);
    }
    if (!c->caller && c->state == RPC_WAIT_HELLO) {
        struct wire_welcome welcome = {.refusal_kind = why};
        snprintf(welcome.refusal, sizeof welcome.refusal, "%.*s", WIRE_TEXT_BYTES - 1, text->s);
        return wire_encode_welcome(&welcome, ret_payload);
    }
    return NULL;
}

static void send_magic(struct rpc_connection *c) {
    uint8_t *block = mem_calloc(1, RPC_MAGIC_BYTES);
    memcpy(block, magic, sizeof magic);
    block[sizeof magic] = (uint8_t)c->rpc->config.kind;
    c->rpc->counts.sent_bytes += RPC_MAGIC_BYTES;
    tcp_write(c->tcp, block, RPC_MAGIC_BYTES);
}

void rpc_handshake_take_magic(struct rpc_connection *c, const uint8_t *bytes) {
    if (memcmp(bytes, magic, sizeof magic) != 0) {
        rpc_connection_refuse(c, RPC_REFUSED_GARBAGE, "bytes that are not of this protocol");
        return;
    }
    if (bytes[sizeof magic] != (uint8_t)c->rpc->config.kind) {
        rpc_connection_refuse(c, RPC_REFUSED_GARBAGE,
                              "the protocol of another port (%s and %s are not the same)",
                              "server, serf_lan", "serf_wan");
        return;
    }
    if (c->caller) {
        c->state = RPC_WAIT_WELCOME;
    } else {
        send_magic(c);
        c->state = RPC_WAIT_HELLO;
    }
}

void rpc_handshake_greet(struct rpc_connection *c) {
    const struct rpc_config *config = &c->rpc->config;
    struct rpc_handshake *handshake = c->handshake;
    struct wire_hello hello = {.version_min = RPC_VERSION_MIN,
                               .version_max = RPC_VERSION_MAX,
                               .identity = config->self,
                               .has_expected = handshake->has_expected,
                               .expected = handshake->expected};
    if (keyring_count(ring_of(c)) > 0 && config->verify_outgoing) {
        handshake->key = *keyring_get(ring_of(c), 0);
        hello.has_key = true;
        memcpy(hello.key_id, handshake->key.id, sizeof hello.key_id);
    }
    crypto_random(hello.nonce, sizeof hello.nonce);
    memcpy(handshake->nonces, hello.nonce, sizeof hello.nonce);
    send_magic(c);
    size_t payload = 0;
    uint8_t *block = wire_encode_hello(&hello, &payload);
    buf_append(&handshake->transcript, block + WIRE_LENGTH_BYTES, payload);
    rpc_connection_write(c, block, payload);
}

/* ---- keys ---- */

static void derive(const struct rpc_connection *c, const char *use, uint8_t *out, size_t size) {
    const struct rpc_handshake *handshake = c->handshake;
    char info[32] = "cairn rpc ";
    strcat(info, use);
    size_t used = strlen(info);
    info[used++] = (char)c->rpc->config.kind;
    crypto_hkdf(handshake->key.bytes, handshake->key.size, handshake->nonces,
                sizeof handshake->nonces, info, used, out, size);
}

static void prove(const struct rpc_connection *c, bool caller, uint8_t proof[CRYPTO_HASH_BYTES]) {
    const struct buf *transcript = &c->handshake->transcript;
    uint8_t key[CRYPTO_HASH_BYTES];
    struct buf text;
    derive(c, "proof", key, sizeof key);
    buf_init(&text, transcript->max + 16);
    buf_append_str(&text, caller ? "caller" : "callee");
    buf_append(&text, transcript->data, transcript->count);
    ASSERT(!text.failed && !transcript->failed);
    crypto_hmac(key, sizeof key, text.data, text.count, proof);
    buf_clear(&text);
}

static void send_proof(struct rpc_connection *c) {
    struct wire_proof proof = {.has_proof = c->handshake->key.size > 0};
    if (proof.has_proof) {
        prove(c, c->caller, proof.proof);
    }
    size_t payload = 0;
    uint8_t *block = wire_encode_proof(&proof, &payload);
    rpc_connection_write(c, block, payload);
}

static void open_up(struct rpc_connection *c) {
    struct rpc *rpc = c->rpc;
    c->key_size = c->handshake->key.size;
    if (c->key_size > 0) {
        derive(c, c->caller ? "caller" : "callee", c->out_direction.key, c->key_size);
        derive(c, c->caller ? "callee" : "caller", c->in_direction.key, c->key_size);
    }
    rpc_handshake_free(c);
    c->state = RPC_OPEN;
    loop_timer_stop(rpc->config.loop, &c->timer);
    rpc->counts.opened++;
    if (c->events != NULL && c->events->opened != NULL) {
        c->events->opened(c->context, c);
    }
}

/* ---- what both sides judge ---- */

/* False: refused. */
static bool judge_peer(struct rpc_connection *c) {
    const struct rpc_identity *self = &c->rpc->config.self, *peer = &c->peer;
    bool same_datacenter = strcmp(self->datacenter, peer->datacenter) == 0;
    if (!same_datacenter && c->rpc->config.kind == RPC_KIND_GOSSIP_LAN) {
        rpc_connection_refuse(c, RPC_REFUSED_CLUSTER,
                              "'%.100s' of datacenter '%.60s' cannot join the LAN pool of '%.60s'",
                              peer->name, peer->datacenter, self->datacenter);
        return false;
    }
    if (same_datacenter && !same_uuid(&self->cluster, &no_uuid) &&
        !same_uuid(&peer->cluster, &no_uuid) && !same_uuid(&self->cluster, &peer->cluster)) {
        char own[UUID_TEXT_BYTES], other[UUID_TEXT_BYTES];
        uuid_format(&self->cluster, own);
        uuid_format(&peer->cluster, other);
        rpc_connection_refuse(c, RPC_REFUSED_CLUSTER,
                              "'%.100s' belongs to cluster %s, '%.100s' to cluster %s", peer->name,
                              other, self->name, own);
        return false;
    }
    return true;
}

/* ---- the callee ---- */

/* False: refused. */
static bool judge_key(struct rpc_connection *c, const struct wire_hello *hello) {
    const struct rpc_config *config = &c->rpc->config;
    bool here = keyring_count(ring_of(c)) > 0;
    if (!hello->has_key) {
        if (here && config->verify_incoming) {
            rpc_connection_refuse(c, RPC_REFUSED_KEY,
                                  "'%.100s' has no gossip key, and '%.100s' demands one (encrypt)",
                                  hello->identity.name, config->self.name);
            return false;
        }
        return true;
    }
    if (!here) {
        rpc_connection_refuse(c, RPC_REFUSED_KEY,
                              "'%.100s' has a gossip key, and '%.100s' has none (encrypt)",
                              hello->identity.name, config->self.name);
        return false;
    }
    const struct keyring_key *key = keyring_find_id(ring_of(c), hello->key_id);
    if (key == NULL) {
        rpc_connection_refuse(c, RPC_REFUSED_KEY,
                              "the gossip key of '%.100s' is not in the keyring of '%.100s'",
                              hello->identity.name, config->self.name);
        return false;
    }
    c->handshake->key = *key;
    return true;
}

static void take_hello(struct rpc_connection *c, const uint8_t *payload, size_t size) {
    const struct rpc_identity *self = &c->rpc->config.self;
    struct wire_hello hello;
    if (!wire_decode_hello(payload, size, &hello)) {
        rpc_connection_refuse(c, RPC_REFUSED_GARBAGE, "a malformed greeting");
        return;
    }
    c->peer = hello.identity;
    c->far = strcmp(self->datacenter, c->peer.datacenter) != 0;
    if (hello.version_min > RPC_VERSION_MAX || hello.version_max < RPC_VERSION_MIN) {
        rpc_connection_refuse(
            c, RPC_REFUSED_VERSION,
            "'%.100s' speaks versions %lu to %lu of the protocol, '%.100s' %d to %d",
            hello.identity.name, (unsigned long)hello.version_min, (unsigned long)hello.version_max,
            self->name, RPC_VERSION_MIN, RPC_VERSION_MAX);
        return;
    }
    if (!judge_key(c, &hello) || !judge_peer(c)) {
        return;
    }
    if (hello.has_expected && !same_uuid(&hello.expected, &self->node)) {
        char meant[UUID_TEXT_BYTES];
        uuid_format(&hello.expected, meant);
        rpc_connection_refuse(c, RPC_REFUSED_IDENTITY, "'%.100s' is not node %s", self->name,
                              meant);
        return;
    }
    struct rpc_handshake *handshake = c->handshake;
    struct wire_welcome welcome = {
        .version = hello.version_max < RPC_VERSION_MAX ? hello.version_max : RPC_VERSION_MAX,
        .identity = *self};
    crypto_random(welcome.nonce, sizeof welcome.nonce);
    memcpy(handshake->nonces, hello.nonce, WIRE_NONCE_BYTES);
    memcpy(handshake->nonces + WIRE_NONCE_BYTES, welcome.nonce, WIRE_NONCE_BYTES);
    size_t bytes = 0;
    uint8_t *block = wire_encode_welcome(&welcome, &bytes);
    buf_append(&handshake->transcript, payload, size);
    buf_append(&handshake->transcript, block + WIRE_LENGTH_BYTES, bytes);
    c->state = RPC_WAIT_PROOF;
    rpc_connection_write(c, block, bytes);
    send_proof(c);
}

/* ---- the caller ---- */

static void refused_by_peer(struct rpc_connection *c, uint32_t kind, const char *sentence) {
    struct err_text text;
    enum rpc_refusal why = kind < RPC_REFUSAL_COUNT ? (enum rpc_refusal)kind : RPC_REFUSED_GARBAGE;
    enum err err = err_set(&text, rpc_refusal_err(why), "refused by the peer: %s", sentence);
    rpc_log_refusal(c->rpc, c->caller ? "refused by" : "given up by", &c->addr, &text);
    rpc_connection_end(c, err, &text);
}

static void take_welcome(struct rpc_connection *c, const uint8_t *payload, size_t size) {
    struct rpc_handshake *handshake = c->handshake;
    struct wire_welcome welcome;
    if (!wire_decode_welcome(payload, size, &welcome)) {
        rpc_connection_refuse(c, RPC_REFUSED_GARBAGE, "a malformed greeting");
        return;
    }
    if (welcome.refusal[0] != '\0') {
        refused_by_peer(c, welcome.refusal_kind, welcome.refusal);
        return;
    }
    c->peer = welcome.identity;
    if (welcome.version < RPC_VERSION_MIN || welcome.version > RPC_VERSION_MAX) {
        rpc_connection_refuse(c, RPC_REFUSED_VERSION, "'%.100s' chose version %lu of the protocol",
                              c->peer.name, (unsigned long)welcome.version);
        return;
    }
    if (!judge_peer(c)) {
        return;
    }
    if (handshake->has_expected && !same_uuid(&handshake->expected, &c->peer.node)) {
        char meant[UUID_TEXT_BYTES];
        uuid_format(&handshake->expected, meant);
        rpc_connection_refuse(c, RPC_REFUSED_IDENTITY, "'%.100s' is not node %s", c->peer.name,
                              meant);
        return;
    }
    memcpy(handshake->nonces + WIRE_NONCE_BYTES, welcome.nonce, WIRE_NONCE_BYTES);
    buf_append(&handshake->transcript, payload, size);
    c->state = RPC_WAIT_PROOF;
}

static void take_proof(struct rpc_connection *c, const uint8_t *payload, size_t size) {
    bool keyed = c->handshake->key.size > 0;
    uint8_t wanted[CRYPTO_HASH_BYTES];
    struct wire_proof proof;
    if (!wire_decode_proof(payload, size, &proof)) {
        rpc_connection_refuse(c, RPC_REFUSED_GARBAGE, "a malformed proof");
        return;
    }
    if (proof.refusal[0] != '\0') {
        refused_by_peer(c, proof.refusal_kind, proof.refusal);
        return;
    }
    if (keyed) {
        prove(c, !c->caller, wanted);
    }
    if (proof.has_proof != keyed || (keyed && !crypto_equal(wanted, proof.proof, sizeof wanted))) {
        rpc_connection_refuse(c, RPC_REFUSED_KEY,
                              "'%.100s' cannot prove that it has the gossip key", c->peer.name);
        return;
    }
    if (c->caller) {
        send_proof(c);
    }
    open_up(c);
}

void rpc_handshake_take(struct rpc_connection *c, const uint8_t *payload, size_t size) {
    switch (c->state) {
    case RPC_WAIT_HELLO:
        take_hello(c, payload, size);
        break;
    case RPC_WAIT_WELCOME:
        take_welcome(c, payload, size);
        break;
    case RPC_WAIT_PROOF:
        take_proof(c, payload, size);
        break;
    case RPC_WAIT_MAGIC:
    case RPC_OPEN:
        ASSERT(false);
    }
}
