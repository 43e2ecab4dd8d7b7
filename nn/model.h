/* nn/model: named parameters and what they start from.
 *
 *     ag_tape *t = ag_tape_new(AG_F32);
 *     nn_model *model = nn_model_new(t, 1);
 *     nn_dense hidden = nn_dense_init(model, "hidden", 784, 128, NN_HE_NORMAL);
 *     nn_dense output = nn_dense_init(model, "output", 128, 10, NN_GLOROT_UNIFORM);
 *     ag_mark mark = ag_tape_mark(t);                       // parameters stay, each step's computation goes
 *     for (...) {
 *         ag_var logits = nn_dense_apply(output, ag_relu(nn_dense_apply(hidden, x)));
 *         ag_backward(nn_softmax_cross_entropy(logits, labels, n));
 *         nn_sgd_step(model, 0.1);
 *         ag_tape_rewind(t, mark);
 *     }
 *     nn_model_free(model);
 *     ag_tape_free(t);
 *
 * Errors stick to the model's tape, as all errors of autograd do. A model that could not be made is NULL, its tape is
 * in error, and every function takes it and does nothing. */
#ifndef NN_MODEL_H
#define NN_MODEL_H

#include <nn/api.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Named parameters on a tape: inputs, made before the mark that training rewinds to. */
typedef struct nn_model nn_model;

/* `seed` is where initial values come from. Those of a parameter depend on the seed, its name and its shape alone, so a
 * new layer does not change the others. The model must be freed before the tape is; its parameters stay on the tape. */
NN_API nn_model *nn_model_new(ag_tape *tape, uint64_t seed);
NN_API void nn_model_free(nn_model *model);
NN_API ag_tape *nn_model_tape(const nn_model *model);

/* What a parameter starts from. `in` and `out` are how many numbers a result is computed from, and how many results a
 * number goes into: the last two dimensions, times all dimensions before them (a convolution's window). A vector of
 * length n has in = out = n. */
typedef enum nn_initial {
    NN_ZEROS,
    NN_ONES,
    NN_GLOROT_UNIFORM, /* within +-sqrt(6 / (in + out)): Glorot, Bengio, 2010; for tanh, sigmoid, softmax */
    NN_GLOROT_NORMAL,  /* standard deviation sqrt(2 / (in + out)) */
    NN_HE_UNIFORM,     /* within +-sqrt(6 / in): He et al., arXiv:1502.01852; for relu and its relatives */
    NN_HE_NORMAL       /* standard deviation sqrt(2 / in) */
} nn_initial;

/* A new parameter; a shape of rank 0 makes a scalar. Errors: AG_ERR_VALUE for no name or one that is taken, or for an
 * unknown `initial`; AG_ERR_SHAPE for a shape with a dimension below 1; AG_ERR_MEMORY. Make parameters before the mark
 * that you rewind to. */
NN_API ag_var nn_parameter(nn_model *model, const char *name, ag_shape shape, nn_initial initial);

/* The parameters in the order in which they were made: for optimisers, files, statistics. */
NN_API int nn_parameter_count(const nn_model *model);
NN_API const char *nn_parameter_name(const nn_model *model, int i); /* NULL if there is no parameter i */
/* An i that there is no parameter of, and a name that is unknown, are errors (AG_ERR_VALUE). */
NN_API ag_var nn_parameter_at(const nn_model *model, int i);
NN_API ag_var nn_parameter_find(const nn_model *model, const char *name);
NN_API int64_t nn_model_size(const nn_model *model); /* numbers in all parameters together */

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
