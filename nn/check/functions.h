/* The functions of the language: one row each. */
#ifndef NN_CHECK_FUNCTIONS_H
#define NN_CHECK_FUNCTIONS_H

#include "nn/check/syntax.h"

/* A call with its operands computed. */
typedef struct ac_call {
    ag_tape *tape;
    ac_error *error;
    const ac_node *node;
    const ag_var *x;
    int n;
    bool tracing; /* see ac_evaluator */
} ac_call;

struct ac_function {
    const char *name;
    const char *usage;               /* "softmax(z) or softmax(M, dimension)" */
    int least, most;                 /* how many operands */
    ag_var (*elementwise)(ag_var x); /* of a function of one operand, entry by entry; else NULL: */
    ag_var (*record)(const ac_call *call);
};

/* All of them, ordered as in the manual. */
const ac_function *ac_functions(int *count);
const ac_function *ac_function_find(const char *name, size_t length);

/* Records a call; a bad one sets its error. */
ag_var ac_function_apply(const ac_call *call);

/* What operators do, with the shapes of paper: a number meets anything, else shapes are equal. */
ag_var ac_binary(const ac_call *call);
ag_var ac_matmul(const ac_call *call);
ag_var ac_transpose(ag_var x);

/* The whole number that a var is; false, with an error, if it is none from lo to hi. `what` is for the message. */
bool ac_whole(const ac_call *call, int operand, const char *what, int64_t lo, int64_t hi, int64_t *number);

/* "a number", "a vector of length 3", "a 2 x 3 matrix". */
const char *ac_shape_words(ag_shape shape, char *text, size_t size);

/* The words that mean something and cannot be names. */
bool ac_is_keyword(const char *name, size_t length);
/* The name of the language or the file that is most like a word that is none; NULL if none is. */
const char *ac_similar(const char *word, size_t length, ac_symbol *const *symbols, int count);

#endif
