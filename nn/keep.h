/* nn/keep: models and training on disk, in tables, and as C.
 *
 *     nn_model_save(model, "digits.safetensors", &e);
 *     nn_model_load(model, "digits.safetensors", (nn_load_options){0}, &e);
 *
 * Files are safetensors (nn/data.h): whole, or what was there before. Loading checks everything first: after an error
 * nothing has changed. Errors stick to the nn_error; what is wrong with the model's tape is an error, too. */
#ifndef NN_KEEP_H
#define NN_KEEP_H

#include <nn/data.h>
#include <nn/model.h>
#include <nn/optimise.h>

#ifdef __cplusplus
extern "C" {
#endif

/* ---- weights ----------------------------------------------------------------------------------------------------- */

/* Parameters and buffers by their names, which are PyTorch's for the same layers, in the tape's type. A scalar buffer whose
 * name is or ends in ".num_batches_tracked" is an I64, as in PyTorch. */
NN_API void nn_model_save(const nn_model *model, const char *path, nn_error *e);

/* Tensors whose names begin with `file` are those of the model that begin with `model` instead: {"module.", ""}. */
typedef struct nn_renaming {
    const char *file, *model;
} nn_renaming;

typedef struct nn_load_options {
    bool lenient; /* the file may lack some of the model's names and have others; those stay, these are skipped */
    const nn_renaming *renamings; /* the first that applies counts */
    int renaming_count;
} nn_load_options;

/* Takes the values of all parameters and buffers from a file; returns how many were taken. Floats of any size are rounded to
 * the tape's type; one that is too large for it is an error. Every other difference (AG_ERR_VALUE) is named, up to a few:
 * names that are missing or unknown, shapes, integers where floats should be. A checkpoint is read as weights, too. */
NN_API int64_t nn_model_load(nn_model *model, const char *path, nn_load_options options, nn_error *e);

/* ---- checkpoints --------------------------------------------------------------------------------------------------- */

/* What a checkpoint holds beside the model, with a name of its own: one of these; none, if all of them are NULL. */
typedef struct nn_kept {
    const char *name;
    nn_optimiser *optimiser;
    nn_average *average;
    nn_plateau *plateau;
    nn_lbfgs *lbfgs;
    nn_loader *loader; /* where it is */
    double *numbers;   /* `count` of them */
    int64_t *integers; /* `count` of them */
    int64_t count;
    nn_array *array;                                    /* of any type and shape: loading frees it and makes it anew */
    bool (*state)(void *owner, int i, nn_state *state); /* array i of the owner; false if there is none */
    void *owner;
} nn_kept;

/* All that training needs to go on bit for bit, as one file: weights, buffers, the clock, and what is kept. The file takes
 * the place of an older one when it is complete and on the disk. */
NN_API void nn_checkpoint_save(const nn_model *model, const char *path, const nn_kept *kept, int count, nn_error *e);
/* Of the same model, with the same things kept under the same names; every difference is an error (AG_ERR_VALUE), and so is
 * a file whose bytes changed. */
NN_API void nn_checkpoint_load(nn_model *model, const char *path, const nn_kept *kept, int count, nn_error *e);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
