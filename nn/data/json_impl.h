/* A strict reader of JSON, one token at a time: no recursion, and no memory but for texts. */
#ifndef NN_JSON_IMPL_H
#define NN_JSON_IMPL_H

#include "nn/data/data_impl.h"

typedef struct nn_json {
    const char *name;                /* of the file, for messages */
    const uint8_t *start, *at, *end; /* start: of the file */
} nn_json;

void nn_json_fail(const nn_json *j, const char *what, nn_error *e);
void nn_json_skip_blanks(nn_json *j);
bool nn_json_take(nn_json *j, char c); /* whether it is the next token */
void nn_json_expect(nn_json *j, char c, nn_error *e);
/* Between the items of a list or an object: whether another one follows. `first` is true before the first. */
bool nn_json_more(nn_json *j, char close, bool *first, nn_error *e);
int64_t nn_json_integer(nn_json *j, nn_error *e); /* 0 or more */
char *nn_json_text(nn_json *j, nn_error *e);      /* in UTF-8, without U+0000; to be released */

void nn_json_write_text(FILE *out, const char *text);

#endif
