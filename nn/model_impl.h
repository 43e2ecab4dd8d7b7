/* What layers keep in a model. */
#ifndef NN_MODEL_IMPL_H
#define NN_MODEL_IMPL_H

#include <nn/model.h>

/* A program that was kept by this key, or NULL. It lives as long as the model. */
ag_program *nn_model_program(const nn_model *model, const char *key);
/* Takes the program over and returns it; NULL, with the tape in error and the program freed, where it is in error or there
 * is no memory. Keys have at most 63 characters. */
ag_program *nn_model_keep_program(nn_model *model, const char *key, ag_program *program);

#endif
