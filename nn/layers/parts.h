/* What layers share: names of their parameters. */
#ifndef NN_LAYERS_PARTS_H
#define NN_LAYERS_PARTS_H

#include "nn/shapes.h"

/* A name of two parts, such as "fc" and ".weight"; released by nn_release. NULL, with the tape in error, where there is no
 * first part or no memory. */
char *nn_join_names(nn_model *model, const char *name, const char *suffix);

/* A dense layer's result, or an attention's, added to what it is the residual of, in one operation; the number 0: to nothing. */
ag_var nn_dense_added(nn_dense layer, ag_var x, ag_var residual);
ag_var nn_attention_added(nn_attention layer, ag_var x, ag_var keep, ag_var residual);

/* Whether a dropout drops anything now. */
static inline bool nn_drops(nn_dropout layer) { return layer.probability != 0 && nn_model_training(layer.model); }

/* A dropout whose name is that of its layer and a suffix. */
nn_dropout nn_part_dropout(nn_model *model, const char *name, const char *suffix, double probability);

/* Whether a layer that normalises can add this number, above 0 and finite, to a variance; otherwise the tape is in error.
 * Others make NaN of what is right, or nothing. */
bool nn_check_epsilon(nn_model *model, const char *what, const char *name, double epsilon);

/* A parameter or a buffer whose name is that of its layer and a suffix. */
ag_var nn_part(nn_model *model, const char *name, const char *suffix, ag_shape shape, nn_initial initial, double gain);
ag_var nn_part_buffer(nn_model *model, const char *name, const char *suffix, ag_shape shape, nn_initial initial);

#endif
