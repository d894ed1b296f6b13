/* Transcripts: a text file of commands, each followed by what was answered, indented. Lines that
 * start with '#' are comments. CAIRN_REWRITE=1 writes the answers anew, to be reviewed as a diff.
 */
#ifndef TESTS_UNIT_TRANSCRIPT_H
#define TESTS_UNIT_TRANSCRIPT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include <glob.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"

#define TRANSCRIPT_BYTES_MAX (1024 * 1024)
#define TRANSCRIPT_LINE_BYTES 4096

static inline char *transcript_read(const char *path) {
    FILE *file = fopen(path, "r");
    assert_non_null(file);
    char *text = calloc(1, TRANSCRIPT_BYTES_MAX);
    assert_true(fread(text, 1, TRANSCRIPT_BYTES_MAX - 1, file) < TRANSCRIPT_BYTES_MAX - 1);
    fclose(file);
    return text;
}

/* Runs one file. The command appends its answers, each line with two blanks in front, to out. */
static inline void transcript_run(const char *path, struct buf *out,
                                  void (*command)(void *context, const char *line), void *context) {
    char *text = transcript_read(path);
    buf_init(out, TRANSCRIPT_BYTES_MAX);
    for (const char *at = text; *at != '\0';) {
        size_t n = strcspn(at, "\n");
        char line[TRANSCRIPT_LINE_BYTES];
        assert_true(n < sizeof line);
        memcpy(line, at, n);
        line[n] = '\0';
        at += n + (at[n] == '\n');
        if (line[0] == ' ') {
            continue; /* an answer of an earlier run */
        }
        buf_append_str(out, line);
        buf_append_byte(out, '\n');
        if (line[0] != '#' && line[0] != '\0') {
            command(context, line);
        }
    }
    buf_append_byte(out, '\0');
    assert_false(out->failed);
    if (getenv("CAIRN_REWRITE") != NULL) {
        FILE *file = fopen(path, "w");
        assert_non_null(file);
        fputs(out->data, file);
        fclose(file);
    } else if (strcmp(out->data, text) != 0) {
        print_message("%s answers otherwise; now:\n%s", path, out->data);
        fail();
    }
    buf_clear(out);
    free(text);
}

/* Runs all files of a pattern, of which there are at least so many. */
static inline void transcript_run_all(const char *pattern, size_t least,
                                      void (*run)(const char *path)) {
    glob_t paths;
    assert_int_equal(glob(pattern, 0, NULL, &paths), 0);
    for (size_t i = 0; i < paths.gl_pathc; i++) {
        run(paths.gl_pathv[i]);
    }
    assert_true(paths.gl_pathc >= least);
    globfree(&paths);
}

#endif
