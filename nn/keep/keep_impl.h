/* Arrays in memory and what a file calls them. */
#ifndef NN_KEEP_IMPL_H
#define NN_KEEP_IMPL_H

#include "nn/data/data_impl.h"
#include "nn/keep.h"

typedef struct nn_place {
    char *name;           /* owned */
    nn_type type, stored; /* of the data, and of the tensor in the file */
    ag_shape shape;
    void *data;
    const nn_tensor *tensor; /* that goes there */
} nn_place;

typedef struct nn_places {
    int64_t count, room;
    nn_place *items;
} nn_places;

/* An empty place with that name, or NULL. */
nn_place *nn_places_add(nn_places *places, const char *name, nn_error *e);
void nn_places_free(nn_places *places);
/* The parameters and buffers of a model. */
void nn_places_of_model(nn_places *places, const nn_model *model, nn_error *e);

/* ---- writing ---- */

/* Writes all; a checkpoint with a sum over its names and bytes. */
void nn_places_write(nn_places *places, const char *path, bool is_checkpoint, nn_error *e);

/* ---- reading: first nn_places_match, then, if that went well, nn_places_take, which cannot fail ---- */

typedef struct nn_matching {
    const char *path;   /* for messages */
    const char *what;   /* what the places are of: "the model" */
    bool exact;         /* types are equal, numbers are not converted */
    const char *ignore; /* tensors whose names begin so are not looked at; or NULL */
    nn_load_options options;
} nn_matching;

/* Puts the places in the order of their names, and finds the tensor of each. */
void nn_places_match(nn_places *places, const nn_safetensors *file, const nn_matching *m, nn_error *e);
void nn_place_take(const nn_place *place);
/* Returns the number of tensors. */
int64_t nn_places_take(const nn_places *places);

/* nn_model_load of a file that is open. */
int64_t nn_model_load_from(nn_model *model, const nn_safetensors *file, const char *path, nn_load_options options,
                           nn_error *e);

/* What names in a checkpoint begin with that are not of weights and buffers; the metadata that says it is one, which is the
 * CRC-32 of all other metadata in the order of their keys, each key and value, and of the tensors in the order of their
 * names, each its name, type, dimensions and bytes; a 0 ends each text, and dimensions are texts. */
#define NN_CHECKPOINT_PREFIX "checkpoint/"
#define NN_CHECKPOINT_KEY "checkpoint.crc32"
typedef struct nn_sum {
    char text[9];
} nn_sum;
nn_sum nn_sum_of(const nn_tensor *const *by_name, int64_t count, const nn_text_pair *metadata, int64_t metadata_count,
                 bool native);
/* An error if a file is no checkpoint, or a damaged one. */
void nn_check_sum(const nn_safetensors *file, const char *path, nn_error *e);
/* nn_checkpoint_load of a file that is open. */
void nn_checkpoint_load_from(nn_model *model, const nn_safetensors *file, const char *path, const nn_kept *kept,
                             int count, nn_error *e);

#endif
