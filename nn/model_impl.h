/* What layers keep in a model. */
#ifndef NN_MODEL_IMPL_H
#define NN_MODEL_IMPL_H

#include <nn/model.h>

/* What was kept by this key, or NULL. It lives as long as the model. */
void *nn_model_kept(const nn_model *model, const char *key);
/* Takes a thing over and returns it; NULL, with the tape in error and the thing freed, where there is no memory. A key has
 * at most 63 characters; NULL: none. */
void *nn_model_keep(nn_model *model, const char *key, void *thing, void (*release)(void *thing));
/* The same for a program; NULL, with the tape in error, for one that is in error, too. */
ag_program *nn_model_keep_program(nn_model *model, const char *key, ag_program *program);

/* What the next random operation of this key (nn_model_key) draws from: one more than the last in the same forward pass,
 * which begins when what was recorded is forgotten. */
uint64_t nn_model_next_key(nn_model *model, uint64_t key);

/* ---- next values of buffers that do not lie on the tape: of a step that has run, and may be given up */

/* Forgets what was recorded, not what is staged: a forward pass begins. */
void nn_model_forget_vars(nn_model *model);
/* A copy of `value`, of the tape's type, becomes buffer i's next value; false, with the tape in error, without memory. */
bool nn_model_stage(nn_model *model, int i, const void *value);
/* A batch more for the same step: the buffers are what is staged, and the clock is one later than for the last batch. */
void nn_model_begin_more(nn_model *model);
/* The last batch once more, to see what went wrong: the clock is what it was then. */
void nn_model_begin_again(nn_model *model);
/* Ends either, or nothing. */
void nn_model_end_batch(nn_model *model);

#endif
