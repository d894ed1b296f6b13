/* The planted bugs, each with a seed that finds it. */
#include "tests/sim/program.h"

const struct mutant mutants[] = {
    {"ack_before_sync", "an entry is answered after its sync", 1},
    {"sync_retried", "a failed sync is never tried again", 5},
    {"sync_last_segment_only", "a batch over two segments syncs both", 1},
    {"open_trusts_cache", "open writes again what may be in the page cache alone", 18},
    {"open_trusts_names", "open makes the names it found durable", 9},
    {"rot_cut", "rot at or below the mark is reported, never cut", 1},
    {"torn_tail_refused", "a torn tail does not refuse the start", 1},
    {"cut_tail_not_zeroed", "what lies behind a cut cannot come back", 170},
    {"crc_not_seeded", "a record counts only where it belongs", 1},
    {"mark_before_sync", "the mark is written after the sync", 1},
    {"segment_directory_not_synced", "a segment's name is durable before it is used", 6},
    {"full_disk_unnoticed", "a full disk refuses work before any of it is written", 159},
    {"hard_state_one_slot", "both slots hold the answered state", 2},
    {"hard_state_no_sync", "hard state is answered after its sync", 1},
    {"hard_state_no_repair", "open makes an unfinished hard state durable", 309},
    {"hard_state_retry", "a failed hard state write is never tried again", 6},
    {"vote_not_persisted", "a vote counts once it is durable", 1},
    {"term_reused", "each candidacy has a term of its own", 1},
    {"snapshot_not_synced", "a snapshot is synced before it gets its name", 3},
    {"snapshot_directory_not_synced", "the name is durable before the log is compacted", 14},
    {"older_snapshot_removed_early", "the older snapshot is kept until the new one is durable", 7},
    {"compacted_before_snapshot", "the log is compacted after the snapshot is durable", 14},
    {"commit_unpersisted", "the own match is what is durable", 1},
    {"commit_old_term", "an entry of an older term is not committed by counting", 1},
    {"apply_from_log_start", "nothing is applied twice after a snapshot", 3},
};
const uint32_t mutant_count = sizeof mutants / sizeof mutants[0];
