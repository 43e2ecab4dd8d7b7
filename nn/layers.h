/* nn/layers: functions with parameters of their own, and activations. */
#ifndef NN_LAYERS_H
#define NN_LAYERS_H

#include <nn/model.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Zeros are the defaults, which are PyTorch's. */
typedef struct nn_dense_options {
    bool no_bias;
    nn_initial
        initial; /* of the weight; the bias is 0 with any but NN_DEFAULT, by which it is within +-1 / sqrt(inputs) */
    double gain;
} nn_dense_options;

/* x W' + b, for each row of x. Without bias, b is the number 0. */
typedef struct nn_dense {
    ag_var weight; /* (outputs, inputs); its name ends in ".weight" */
    ag_var bias;   /* (outputs); ".bias" */
} nn_dense;
/* Errors: as nn_parameter_with. */
NN_API nn_dense nn_dense_init(nn_model *model, const char *name, int64_t inputs, int64_t outputs,
                              nn_dense_options options);
/* x of shape (..., inputs) gives (..., outputs). */
NN_API ag_var nn_dense_apply(nn_dense layer, ag_var x);

/* Activations by name or number, for models that are put together at run time; where it is known, call ag_relu & co.
 * X(NAME, name, function of x) */
#define NN_ACTIVATIONS(X)                                                                                              \
    X(IDENTITY, identity, x)                                                                                           \
    X(SIGMOID, sigmoid, ag_sigmoid(x))                                                                                 \
    X(LOG_SIGMOID, log_sigmoid, ag_log_sigmoid(x))                                                                     \
    X(TANH, tanh, ag_tanh(x))                                                                                          \
    X(RELU, relu, ag_relu(x))                                                                                          \
    X(LEAKY_RELU, leaky_relu, ag_leaky_relu(x, 0.01))                                                                  \
    X(ELU, elu, ag_elu(x, 1))                                                                                          \
    X(SOFTPLUS, softplus, ag_softplus(x))                                                                              \
    X(SILU, silu, ag_silu(x))                                                                                          \
    X(GELU, gelu, ag_gelu(x))                                                                                          \
    X(GELU_TANH, gelu_tanh, ag_gelu_tanh(x))                                                                           \
    X(MISH, mish, ag_mish(x))
typedef enum nn_activation {
#define NN_X_(NAME, name, function) NN_##NAME,
    NN_ACTIVATIONS(NN_X_)
#undef NN_X_
} nn_activation;
NN_API ag_var nn_activate(nn_activation activation, ag_var x);   /* AG_ERR_VALUE for an unknown one */
NN_API const char *nn_activation_name(nn_activation activation); /* NULL for an unknown one */
NN_API bool nn_activation_find(const char *name, nn_activation *activation);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
