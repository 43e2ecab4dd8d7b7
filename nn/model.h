/* nn/model: named parameters and buffers, what they start from, and the state that a training step shares.
 *
 *     ag_tape *t = ag_tape_new(AG_F32);
 *     nn_model *model = nn_model_new(t, 1);
 *     nn_dense hidden = nn_dense_init(model, "hidden", 784, 128, (nn_dense_options){0});
 *     nn_dense output = nn_dense_init(model, "output", 128, 10, (nn_dense_options){0});
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

/* Named parameters and buffers on a tape: inputs, made before the mark that training rewinds to. */
typedef struct nn_model nn_model;

/* `seed` is where initial values come from. Those of a parameter depend on the seed, its name and its shape alone, so a
 * new layer does not change the others. The model must be freed before the tape is; its parameters stay on the tape. */
NN_API nn_model *nn_model_new(ag_tape *tape, uint64_t seed);
NN_API void nn_model_free(nn_model *model);
NN_API ag_tape *nn_model_tape(const nn_model *model);

/* ---- parameters and buffers -------------------------------------------------------------------------------------- */

/* What a parameter starts from, all times a gain. `in` and `out` are how many numbers a result is computed from, and how
 * many results a number goes into, by PyTorch's layout (out, in, window...): the second and the first dimension, times all
 * that follow the second. A vector of length n has in = out = n. */
typedef enum nn_initial {
    NN_DEFAULT, /* what the layer says; else uniform within +-1 / sqrt(in), as PyTorch's dense and convolution have it */
    NN_ZEROS,
    NN_ONES,
    NN_UNIFORM,            /* within +-1 */
    NN_GAUSSIAN,           /* normal, standard deviation 1 */
    NN_TRUNCATED_GAUSSIAN, /* the same, drawn again where it is outside +-2 */
    NN_GLOROT_UNIFORM, /* within +-sqrt(6 / (in + out)): Glorot, Bengio, 2010; for tanh, sigmoid, softmax. "Xavier" */
    NN_GLOROT_NORMAL,  /* standard deviation sqrt(2 / (in + out)) */
    NN_HE_UNIFORM,     /* within +-sqrt(6 / in): He et al., arXiv:1502.01852; for relu and its relatives. "Kaiming" */
    NN_HE_NORMAL,      /* standard deviation sqrt(2 / in) */
    NN_ORTHOGONAL,     /* as a matrix (first dimension, all others) with orthonormal rows or columns, whichever are
                            fewer: Saxe et al., arXiv:1312.6120 */
    NN_INITIALS
} nn_initial;

/* A new parameter; a shape of rank 0 makes a scalar. A gain of 0 means 1. Errors: AG_ERR_VALUE for no name or one that is
 * taken, an unknown `initial` or a gain that is not finite; AG_ERR_SHAPE for a shape with a dimension below 1;
 * AG_ERR_MEMORY. Make parameters before the mark that you rewind to. */
NN_API ag_var nn_parameter(nn_model *model, const char *name, ag_shape shape, nn_initial initial);
NN_API ag_var nn_parameter_with(nn_model *model, const char *name, ag_shape shape, nn_initial initial, double gain);
/* New initial values for a parameter or buffer that there is. */
NN_API void nn_initialise(nn_model *model, const char *name, nn_initial initial, double gain);

/* A new buffer: state that is saved with the parameters but not trained, such as running means. */
NN_API ag_var nn_buffer(nn_model *model, const char *name, ag_shape shape, nn_initial initial);

/* The parameters in the order in which they were made: for optimisers, files, statistics. */
NN_API int nn_parameter_count(const nn_model *model);
NN_API const char *nn_parameter_name(const nn_model *model, int i); /* NULL if there is no parameter i */
/* An i that there is no parameter of, and a name that is unknown, are errors (AG_ERR_VALUE). */
NN_API ag_var nn_parameter_at(const nn_model *model, int i);
NN_API ag_var nn_parameter_find(const nn_model *model, const char *name);
NN_API int64_t nn_model_size(const nn_model *model); /* numbers in all parameters together */
/* The same for buffers. */
NN_API int nn_buffer_count(const nn_model *model);
NN_API const char *nn_buffer_name(const nn_model *model, int i);
NN_API ag_var nn_buffer_at(const nn_model *model, int i);
NN_API ag_var nn_buffer_find(const nn_model *model, const char *name);
/* Whether there is a parameter or a buffer of this name. */
NN_API bool nn_model_has(const nn_model *model, const char *name);

/* ---- the state of a step ------------------------------------------------------------------------------------------ */

/* A buffer's next value, of its shape: it is remembered, and takes effect at the next commit, which must come before the
 * tape is rewound. A later update of the same buffer takes the place of an earlier one; what it starts from is
 * nn_buffer_latest. */
NN_API void nn_model_update(nn_model *model, ag_var buffer, ag_var value);
NN_API ag_var nn_buffer_latest(const nn_model *model,
                               ag_var buffer); /* its remembered next value, or the buffer itself */
/* The remembered next value of buffer i; the number 0 (ag_is_zero) where there is none. */
NN_API ag_var nn_buffer_update_at(const nn_model *model, int i);
/* Ends a step: buffers get their next values, and the clock advances, by one for each batch of the step (nn_step_run).
 * Steps of optimisers do this. */
NN_API void nn_model_commit(nn_model *model);
/* Forgets the next values, how many batches there were, and how often random operations were applied: after a step that was recorded and will be run otherwise, or is
 * given up. */
NN_API void nn_model_discard(nn_model *model);

/* Training (at first) or not: what dropout and batch norm heed. */
NN_API void nn_model_train(nn_model *model, bool training);
NN_API bool nn_model_training(const nn_model *model);

/* The number of batches of all steps that were committed, as a scalar input: the counter of random operations. ag_set changes it. In f32
 * it starts again after 2^24 steps, and what random operations draw is repeated. */
NN_API ag_var nn_model_clock(const nn_model *model);
/* What random operations of a name draw from: depends on the model's seed and the name alone. */
NN_API uint64_t nn_model_key(const nn_model *model, const char *name);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
