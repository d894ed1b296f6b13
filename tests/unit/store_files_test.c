/* Hard state, snapshots and the data directory on a real disk, with good and with bad bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/crc32c.h"
#include "base/limits.h"
#include "base/mem.h"
#include "base/rand.h"
#include "store/format.h"
#include "store/hard_state.h"
#include "store/identity.h"
#include "store/recovery.h"
#include "store/snapshot.h"

static const struct uuid cluster = {.bytes = "cluster one"};
static const struct uuid other_cluster = {.bytes = "cluster two"};
static char directory[32];

static int set_up(void **state) {
    (void)state;
    snprintf(directory, sizeof directory, "/tmp/cairn-store-XXXXXX");
    return mkdtemp(directory) != NULL ? 0 : -1;
}

static int tear_down(void **state) {
    (void)state;
    char command[128];
    snprintf(command, sizeof command, "chmod -R u+w %s; rm -rf %s", directory, directory);
    return system(command);
}

static const char *path_to(const char *name) {
    static char path[256];
    snprintf(path, sizeof path, "%s/%s", directory, name);
    return path;
}

static void write_bytes(const char *name, const void *bytes, size_t size) {
    FILE *file = fopen(path_to(name), "w");
    assert_non_null(file);
    assert_int_equal(fwrite(bytes, 1, size, file), size);
    fclose(file);
}

static uint8_t *read_bytes(const char *name, size_t *ret_size) {
    FILE *file = fopen(path_to(name), "r");
    assert_non_null(file);
    uint8_t *bytes = mem_alloc(4 * 1024 * 1024);
    *ret_size = fread(bytes, 1, 4 * 1024 * 1024, file);
    fclose(file);
    return bytes;
}

/* Tries `open` on damaged versions of a file: cut anywhere, of a newer program, bits flipped.
 * harmless: a flipped bit may be of no account. */
static void try_damage(const char *name, enum err (*open)(void), bool harmless) {
    size_t size;
    uint8_t *good = read_bytes(name, &size);
    uint8_t *bad = mem_memdup(good, size);
    struct rand rand;
    rand_init(&rand, 7);
    for (int i = 0; i < 200; i++) {
        write_bytes(name, good, i == 0 ? 0 : (size_t)rand_below(&rand, size));
        enum err err = open();
        assert_true(err == ERR_CORRUPT || err == ERR_FOREIGN || (harmless && err == ERR_OK));
        uint64_t bit = rand_below(&rand, size * 8);
        bad[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        write_bytes(name, bad, size);
        err = open();
        bad[bit / 8] ^= (uint8_t)(1u << (bit % 8));
        assert_true(err == ERR_CORRUPT || err == ERR_FOREIGN || (harmless && err == ERR_OK));
    }
    put_u32(bad + 12, FORMAT_CURRENT + 1);
    put_u32(bad + 60, crc32c(0, bad, 60));
    write_bytes(name, bad, size);
    assert_int_equal(open(), ERR_VERSION);
    rand_bytes(&rand, bad, size);
    write_bytes(name, bad, size);
    assert_int_equal(open(), ERR_FOREIGN);
    write_bytes(name, good, size);
    assert_int_equal(open(), ERR_OK);
    free(good);
    free(bad);
}

static struct store_vote last_vote;

static enum err open_hard_state(void) {
    struct store_hard_state *state = NULL;
    enum err err = store_hard_state_open(directory, &cluster, &state, &last_vote, NULL);
    store_hard_state_close(state);
    return err;
}

static void write_vote(uint64_t term, uint8_t whom) {
    struct store_hard_state *state;
    struct store_vote vote;
    assert_int_equal(store_hard_state_open(directory, &cluster, &state, &vote, NULL), ERR_OK);
    vote = (struct store_vote){.term = term, .voted = whom != 0, .vote = {whom}};
    assert_int_equal(store_hard_state_write(state, &vote, NULL), ERR_OK);
    store_hard_state_close(state);
}

static void hard_state_is_kept(void **state) {
    (void)state;
    assert_int_equal(open_hard_state(), ERR_OK);
    assert_int_equal(last_vote.term, 0);
    assert_false(last_vote.voted);
    write_vote(7, 'x');
    write_vote(8, 0);
    assert_int_equal(open_hard_state(), ERR_OK);
    assert_int_equal(last_vote.term, 8);
    assert_false(last_vote.voted);
    write_vote(8, 'y');
    assert_int_equal(open_hard_state(), ERR_OK);
    assert_true(last_vote.voted);
    assert_int_equal(last_vote.vote[0], 'y');
}

static void hard_state_takes_the_higher_slot(void **state) {
    (void)state;
    size_t size;
    write_vote(7, 'x');
    uint8_t *old = read_bytes("hard-state", &size);
    write_vote(8, 'y');
    uint8_t *new = read_bytes("hard-state", &size);
    for (size_t slot = 4096; slot <= 8192; slot += 4096) {
        uint8_t *mixed = mem_memdup(old, size);
        memcpy(mixed + slot, new + slot, 4096); /* a crash between the two writes */
        write_bytes("hard-state", mixed, size);
        assert_int_equal(open_hard_state(), ERR_OK);
        assert_int_equal(last_vote.term, 8);
        size_t healed_size;
        uint8_t *healed = read_bytes("hard-state", &healed_size);
        assert_int_equal(healed_size, size);
        assert_memory_equal(healed, new, size); /* both slots again */
        free(healed);
        free(mixed);
    }
    free(old);
    free(new);
}

static void hard_state_survives_one_bad_slot_not_two(void **state) {
    (void)state;
    size_t size;
    write_vote(7, 'x');
    uint8_t *bytes = read_bytes("hard-state", &size);
    bytes[4096 + 9] ^= 1;
    write_bytes("hard-state", bytes, size);
    assert_int_equal(open_hard_state(), ERR_OK);
    assert_int_equal(last_vote.term, 7);
    bytes[8192 + 9] ^= 1;
    write_bytes("hard-state", bytes, size);
    assert_int_equal(open_hard_state(), ERR_CORRUPT);
    free(bytes);
}

static void hard_state_bad_input(void **state) {
    (void)state;
    write_vote(7, 'x');
    try_damage("hard-state", open_hard_state, true);
    struct store_hard_state *hard_state;
    struct store_vote vote;
    assert_int_equal(store_hard_state_open(directory, &other_cluster, &hard_state, &vote, NULL),
                     ERR_FOREIGN);
}

static enum err open_snapshot(void) {
    struct store_snapshot_reader *reader = NULL;
    enum err err = store_snapshot_reader_open(directory, &cluster, &reader, NULL);
    store_snapshot_reader_close(reader);
    return err;
}

static struct store_snapshot_writer *begin_snapshot(uint64_t index, size_t bytes) {
    struct store_snapshot_info info = {.index = index,
                                       .term = 3,
                                       .configuration_index = 1,
                                       .configuration_size = 4,
                                       .configuration = "conf"};
    struct store_snapshot_writer *writer;
    assert_int_equal(store_snapshot_writer_create(directory, &cluster, &info, &writer, NULL),
                     ERR_OK);
    uint8_t piece[1000];
    for (size_t at = 0; at < bytes; at += sizeof piece) {
        for (size_t i = 0; i < sizeof piece; i++) {
            piece[i] = (uint8_t)((at + i) % 251);
        }
        size_t n = bytes - at < sizeof piece ? bytes - at : sizeof piece;
        assert_int_equal(store_snapshot_writer_write(writer, piece, n, NULL), ERR_OK);
    }
    return writer;
}

static void take_snapshot(uint64_t index, size_t bytes) {
    struct store_snapshot_writer *writer = begin_snapshot(index, bytes);
    uint64_t size;
    assert_int_equal(store_snapshot_writer_commit(writer, &size, NULL), ERR_OK);
    assert_true(size > bytes);
    store_snapshot_writer_destroy(writer);
}

static void read_snapshot(uint64_t index, size_t bytes) {
    struct store_snapshot_reader *reader;
    assert_int_equal(store_snapshot_reader_open(directory, &cluster, &reader, NULL), ERR_OK);
    const struct store_snapshot_info *info = store_snapshot_reader_info(reader);
    assert_int_equal(info->index, index);
    assert_int_equal(info->term, 3);
    assert_int_equal(info->configuration_index, 1);
    assert_int_equal(info->configuration_size, 4);
    assert_memory_equal(info->configuration, "conf", 4);
    assert_int_equal(store_snapshot_reader_bytes(reader), bytes);
    uint8_t piece[777];
    size_t at = 0, got;
    do {
        assert_int_equal(store_snapshot_reader_read(reader, piece, sizeof piece, &got, NULL),
                         ERR_OK);
        for (size_t i = 0; i < got; i++) {
            assert_int_equal(piece[i], (at + i) % 251);
        }
        at += got;
    } while (got == sizeof piece);
    assert_int_equal(at, bytes);
    store_snapshot_reader_close(reader);
}

static void snapshots_come_back(void **state) {
    (void)state;
    static const size_t sizes[] = {0, 1, LIMIT_SNAPSHOT_PIECE_BYTES - 1, LIMIT_SNAPSHOT_PIECE_BYTES,
                                   2 * LIMIT_SNAPSHOT_PIECE_BYTES + 5};
    assert_int_equal(open_snapshot(), ERR_NOT_FOUND);
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        take_snapshot(10 + i, sizes[i]);
        read_snapshot(10 + i, sizes[i]);
    }
    assert_int_not_equal(access(path_to("snapshot-000000000000000a"), F_OK), 0); /* older: gone */
}

static void an_unfinished_snapshot_is_none(void **state) {
    (void)state;
    take_snapshot(5, 100);
    struct store_snapshot_writer *writer = begin_snapshot(9, 100);
    read_snapshot(5, 100);
    store_snapshot_writer_destroy(writer);
    assert_int_not_equal(access(path_to("snapshot.tmp"), F_OK), 0);
    read_snapshot(5, 100);
}

static void an_older_snapshot_stands_in_for_a_rotten_one(void **state) {
    (void)state;
    size_t size;
    take_snapshot(5, 100);
    uint8_t *old = read_bytes("snapshot-0000000000000005", &size);
    take_snapshot(9, 100);
    write_bytes("snapshot-0000000000000009", old, size); /* renamed: does not count */
    assert_int_equal(open_snapshot(), ERR_CORRUPT);
    write_bytes("snapshot-0000000000000005", old, size);
    read_snapshot(5, 100);
    free(old);
}

static void snapshot_bad_input(void **state) {
    (void)state;
    take_snapshot(5, 100000);
    try_damage("snapshot-0000000000000005", open_snapshot, false);
    struct store_snapshot_reader *reader;
    assert_int_equal(store_snapshot_reader_open(directory, &other_cluster, &reader, NULL),
                     ERR_FOREIGN);
}

static enum err open_recovery(void) {
    struct store_recovery recovery;
    return store_recovery_read(directory, &cluster, &recovery, NULL);
}

static void a_recovery_is_noted(void **state) {
    (void)state;
    struct store_recovery recovery = {
        .term = 1 << 20, .configuration_size = 4, .configuration = "conf"};
    struct store_recovery found;
    assert_int_equal(store_recovery_read(directory, &cluster, &found, NULL), ERR_OK);
    assert_int_equal(found.term, 0);
    assert_int_equal(store_recovery_clear(directory, NULL), ERR_OK);
    assert_int_equal(store_recovery_write(directory, &cluster, &recovery, NULL), ERR_OK);
    assert_int_equal(store_recovery_read(directory, &cluster, &found, NULL), ERR_OK);
    assert_int_equal(found.term, 1 << 20);
    assert_int_equal(found.configuration_size, 4);
    assert_memory_equal(found.configuration, "conf", 4);
    try_damage("recovery", open_recovery, false);
    assert_int_equal(store_recovery_read(directory, &other_cluster, &found, NULL), ERR_FOREIGN);
    assert_int_equal(store_recovery_clear(directory, NULL), ERR_OK);
    assert_int_equal(store_recovery_read(directory, &cluster, &found, NULL), ERR_OK);
    assert_int_equal(found.term, 0);
}

static struct err_text text;
static const struct uuid disk_id = {.bytes = "disk"};

static enum err open_identity(void) {
    struct store_identity *identity = NULL;
    enum err err = store_identity_open(directory, &disk_id, &identity, &text);
    store_identity_close(identity);
    return err;
}

static void identity_is_made_once(void **state) {
    (void)state;
    struct store_identity *identity;
    struct uuid found, second = {.bytes = "other disk"};
    assert_int_equal(open_identity(), ERR_OK);
    assert_int_equal(store_identity_open(directory, &second, &identity, &text), ERR_OK);
    found = store_identity_disk(identity);
    assert_memory_equal(&found, &disk_id, sizeof found);
    assert_false(store_identity_cluster(identity, &found));
    assert_int_equal(store_identity_set_cluster(identity, &cluster, &text), ERR_OK);
    assert_int_equal(store_identity_set_cluster(identity, &cluster, &text), ERR_OK);
    assert_int_equal(store_identity_set_cluster(identity, &other_cluster, &text), ERR_EXISTS);
    store_identity_close(identity);
    assert_int_equal(store_identity_open(directory, &second, &identity, &text), ERR_OK);
    assert_true(store_identity_cluster(identity, &found));
    assert_memory_equal(&found, &cluster, sizeof found);
    store_identity_close(identity);
}

static void missing_directories_are_made(void **state) {
    (void)state;
    struct store_identity *identity;
    struct stat stat_buf;
    assert_int_equal(store_identity_open(path_to("a/b/c/"), &disk_id, &identity, &text), ERR_OK);
    store_identity_close(identity);
    assert_int_equal(stat(path_to("a/b/c"), &stat_buf), 0);
    assert_int_equal(stat_buf.st_mode & 0777, 0700);
}

static void a_second_process_is_refused(void **state) {
    (void)state;
    struct store_identity *identity;
    char pid[32];
    assert_int_equal(store_identity_open(directory, &disk_id, &identity, &text), ERR_OK);
    snprintf(pid, sizeof pid, "(process %ld)", (long)getpid());
    pid_t child = fork();
    if (child == 0) {
        enum err err = open_identity();
        _exit(err == ERR_EXISTS && strstr(text.s, pid) != NULL ? 0 : 1);
    }
    int status;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_int_equal(status, 0);
    store_identity_close(identity);
    assert_int_equal(open_identity(), ERR_OK);
}

static void foreign_directories_are_left_alone(void **state) {
    (void)state;
    write_bytes("raft.db", "boltdb", 6);
    assert_int_equal(open_identity(), ERR_FOREIGN);
    assert_non_null(strstr(text.s, "raft.db"));
    assert_int_not_equal(access(path_to("lock"), F_OK), 0);
    unlink(path_to("raft.db"));
    assert_int_equal(open_identity(), ERR_OK);
    write_bytes("anything", "x", 1); /* ours by now */
    assert_int_equal(open_identity(), ERR_OK);
}

static void an_unusable_directory_is_explained(void **state) {
    (void)state;
    struct store_identity *identity;
    write_bytes("file", "x", 1);
    assert_int_equal(store_identity_open(path_to("file"), &disk_id, &identity, &text), ERR_IO);
    assert_non_null(strstr(text.s, "choose another directory"));
    assert_int_equal(store_identity_open("/proc/none", &disk_id, &identity, &text), ERR_IO);
    assert_non_null(strstr(text.s, "choose another directory"));
}

static void identity_bad_input(void **state) {
    (void)state;
    assert_int_equal(open_identity(), ERR_OK);
    try_damage("identity", open_identity, false);
}

#define TEST(name) cmocka_unit_test_setup_teardown(name, set_up, tear_down)

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(hard_state_is_kept),
        TEST(hard_state_takes_the_higher_slot),
        TEST(hard_state_survives_one_bad_slot_not_two),
        TEST(hard_state_bad_input),
        TEST(snapshots_come_back),
        TEST(an_unfinished_snapshot_is_none),
        TEST(an_older_snapshot_stands_in_for_a_rotten_one),
        TEST(snapshot_bad_input),
        TEST(a_recovery_is_noted),
        TEST(identity_is_made_once),
        TEST(missing_directories_are_made),
        TEST(a_second_process_is_refused),
        TEST(foreign_directories_are_left_alone),
        TEST(an_unusable_directory_is_explained),
        TEST(identity_bad_input),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
