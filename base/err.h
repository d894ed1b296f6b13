/* The one error table. A function that can fail returns an enum err; where a person will read the
 * reason, it also fills a struct err_text, whose sentence grows by prefix as it rises. The numbers
 * travel between agents: append, never reorder. */
#ifndef BASE_ERR_H
#define BASE_ERR_H

#include <stddef.h>

enum err {
    ERR_OK = 0,
    ERR_INVALID,     /* the caller's or the user's input is wrong */
    ERR_REFUSED,     /* well-formed, but against a rule of the catalog */
    ERR_UNKNOWN_KEY, /* input names a field that does not exist */
    ERR_NOT_FOUND,
    ERR_EXISTS,
    ERR_TOO_LARGE,  /* a cap was reached */
    ERR_IO,         /* the operating system refused; errno is in the text */
    ERR_NO_SPACE,   /* the disk or a quota is full */
    ERR_CORRUPT,    /* stored bytes fail their checksum */
    ERR_VERSION,    /* stored bytes are of a format this program does not read */
    ERR_FOREIGN,    /* stored bytes belong to another cluster or program */
    ERR_NO_LEADER,  /* no Raft leader can take the request */
    ERR_OVERLOADED, /* a bounded queue is full: try again later */
    ERR_DENIED,     /* the token does not allow it */
    ERR_CLOSED,     /* the object is shutting down */
    ERR_TIMEOUT,
    ERR_UNSUPPORTED, /* known to the contract, not offered by this program */
    ERR_COUNT
};

/* Name of the code in lower case, for logs: "not found". Never NULL. */
const char *err_name(enum err code);

#define ERR_TEXT_BYTES 512

struct err_text {
    char s[ERR_TEXT_BYTES]; /* NUL-terminated; cut, never overrun */
};

/* Sets the sentence and returns code. text may be NULL. */
enum err err_set(struct err_text *text, enum err code, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Sets "<sentence>: <strerror(number)>"; returns ERR_NO_SPACE for ENOSPC and EDQUOT, else ERR_IO.
 */
enum err err_set_errno(struct err_text *text, int number, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* Puts "<prefix>: " before the sentence that is there. text may be NULL. */
void err_prefix(struct err_text *text, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

#endif
