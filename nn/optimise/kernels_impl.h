/* What is done with rows of numbers, compiled for several instruction sets, one table each. No result depends on the
 * instruction set, on where a row begins or on how it is cut. */
#ifndef NN_KERNELS_IMPL_H
#define NN_KERNELS_IMPL_H

#include <nn/api.h>

/* The numbers of an update. Optimisers use those that their name suggests; what remains has no effect. */
typedef struct nn_update {
    double scale;            /* of the gradient: g = scale * gradient + l2 * x */
    double l2, shrink;       /* x = shrink * x before the step: decays, added to the gradient or decoupled */
    double rate;             /* of the step, with corrections of bias */
    double keep, add;        /* of the first average: keep * average + add * g */
    double keep2, add2;      /* of the second one */
    double epsilon, correct; /* sqrt(average) * correct + epsilon */
    double momentum;
} nn_update;

/* X(name, arrays of state): updates x and the state by a gradient. */
#define NN_UPDATES(X)                                                                                                  \
    X(sgd, 0)                                                                                                          \
    X(sgd_momentum, 1)                                                                                                 \
    X(sgd_nesterov, 1)                                                                                                 \
    X(adam, 2)                                                                                                         \
    X(adam_amsgrad, 3)                                                                                                 \
    X(rmsprop, 1)                                                                                                      \
    X(rmsprop_momentum, 2)                                                                                             \
    X(rmsprop_centred, 2)                                                                                              \
    X(rmsprop_centred_momentum, 3)                                                                                     \
    X(adagrad, 1)                                                                                                      \
    X(lion, 1)
typedef enum nn_update_kind {
#define NN_X_(name, states) NN_UPDATE_##name,
    NN_UPDATES(NN_X_)
#undef NN_X_
        NN_UPDATE_KINDS
} nn_update_kind;

typedef void nn_update_kernel(size_t n, void *x, const void *gradient, void *const *state, const nn_update *update);

typedef struct nn_kernels {
    nn_update_kernel *update[NN_UPDATE_KINDS];
    bool (*finite)(size_t n, const void *x);
    double (*squares)(size_t n, const void *x, double scale); /* sum of (scale * x)^2 */
    double (*dot)(size_t n, const void *x, const void *y);
    double (*most)(size_t n, const void *x);                        /* greatest |x|; NaN if any is NaN; 0 for n = 0 */
    void (*scale)(size_t n, void *x, double a);                     /* x *= a */
    void (*clip)(size_t n, void *x, double most);                   /* x into -most..most; NaN stays */
    void (*add_scaled)(size_t n, void *x, double a, const void *y); /* x += a y */
    void (*average)(size_t n, void *x, double a, const void *y);    /* x += a (y - x) */
    /* Normal deviates, times this, by the numbers from a state of nn_random on. */
    void (*normal)(size_t n, double *x, double deviation, uint64_t state);
    /* Is each x no further from c y than `fixed` or, if that is more, `relative` |c y|? False also where a difference is
     * not finite. */
    bool (*near)(size_t n, const double *x, const double *y, double c, double fixed, double relative);
} nn_kernels;

extern const nn_kernels nn_kernels_f64_base, nn_kernels_f32_base;
extern const nn_kernels nn_kernels_f64_v3, nn_kernels_f32_v3; /* where AG_HAVE_V3 */
extern const nn_kernels nn_kernels_f64_v4, nn_kernels_f32_v4; /* where AG_HAVE_V4 */

/* Those for this machine: see ag_isa. */
const nn_kernels *nn_kernels_for(ag_type type);

#endif
