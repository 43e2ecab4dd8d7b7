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
#include <nn/train.h>

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
 * names that are missing or unknown, shapes, integers where floats should be. A checkpoint is read as weights, too, if no byte
 * of it changed. */
NN_API int64_t nn_model_load(nn_model *model, const char *path, nn_load_options options, nn_error *e);

/* ---- checkpoints --------------------------------------------------------------------------------------------------- */

/* What a checkpoint holds beside the model, with a name of its own: one of these; none, if all of them are NULL. */
typedef struct nn_kept {
    const char *name;
    nn_optimiser *optimiser;
    nn_average *average;
    nn_plateau *plateau;
    nn_lbfgs *lbfgs;
    nn_loader *loader; /* where it is; another number of samples, batch, seed ... than was saved is an error */
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

/* ---- to look at ----------------------------------------------------------------------------------------------------- */

/* A table: of each parameter and buffer the layer, its own name, shape, numbers and bytes, and which ones are not trained;
 * then of all. */
NN_API void nn_model_summary(const nn_model *model, FILE *out);
/* The graph of what `forward` records of a batch, in Graphviz's language, with values: ag_dot. */
NN_API void nn_model_draw(nn_model *model, nn_forward *forward, void *context, const nn_array *fields, int count,
                          FILE *out, nn_error *e);

/* ---- inference as C ------------------------------------------------------------------------------------------------- */

typedef struct nn_c_options {
    const char *name;           /* of the function; NULL: "model" */
    const ag_port *inputs;      /* each field of a batch, samples first: ag_in(name, shape) */
    int input_count;            /* at least 1 */
    const char *const *outputs; /* names of what `forward` gives; NULL: y0, y1, ... */
    int output_count;           /* 0: 1 */
    bool rows;                  /* a second function for many batches: NAME_rows (ag_c_options) */
} nn_c_options;

/* The model as a C11 function of a batch, with its weights in it, that needs nothing but <math.h>, and in the evaluation
 * mode: ag_program_print_c has the details. `forward` is called once, with the ports' examples or zeros; branches on
 * values stay as they were. Returns how many numbers the function's last argument, its work array, has; 0: it has none. */
NN_API int64_t nn_model_print_c(nn_model *model, nn_forward *forward, void *context, nn_c_options options, FILE *out,
                                nn_error *e);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
