/* Text into words. */
#ifndef NN_CHECK_LEXER_H
#define NN_CHECK_LEXER_H

#include "nn/check/syntax.h"

typedef enum ac_token_kind {
    AC_END_OF_FILE,
    AC_END_OF_LINE,
    AC_WORD,   /* a name */
    AC_DIGITS, /* a number; see value and unit */
    AC_STRING, /* between quotes */
    AC_EQUAL,  /* == */
    AC_MARK    /* a single character: see mark */
} ac_token_kind;

typedef struct ac_token {
    ac_token_kind kind;
    ac_span span;
    char mark;
    double value, unit;
} ac_token;

typedef struct ac_lexer {
    const ac_source *source;
    ac_error *error;
    uint32_t at;
    int64_t line; /* of `at` */
    int brackets; /* open ones: a line goes on */
} ac_lexer;

/* The next word. After an error: the end of the file. */
ac_token ac_next_token(ac_lexer *lexer);

#endif
