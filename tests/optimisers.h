/* A model of two parameters with PyTorch's numbers as their gradients, and one optimiser of every kind. */
#ifndef OPTIMISERS_H
#define OPTIMISERS_H

#include "nn/nn.h"
#include "nn_memory.h"
#include "on_each_tape.h"
#include "torch_numbers.h"

#define DATA "optimisers.txt"
enum { STEPS = 6, NUMBERS = 11, UNREACHED_STEP = 4 };

static void expect_error(ag_tape *t, ag_status status, const char *part) {
    if (ag_tape_status(t) != status || strstr(ag_tape_message(t), part) == NULL)
        fail_msg("status %d, \"%s\"; should be %d with \"%s\"", (int)ag_tape_status(t), ag_tape_message(t), (int)status,
                 part);
    ag_tape_recover(t);
}

/* The model of tests/torch/optimisers.py: fc.weight (3, 3), fc.bias (2). */
typedef struct net {
    ag_tape *tape;
    nn_model *model;
    ag_mark mark;
} net;

static net net_new(ag_type type) {
    net n = {.tape = ag_tape_new(type)};
    n.model = nn_model_new(n.tape, 1);
    ag_var weight = nn_parameter(n.model, "fc.weight", AG_SHAPE(3, 3), NN_ZEROS),
           bias = nn_parameter(n.model, "fc.bias", AG_SHAPE(2), NN_ZEROS);
    ag_set(weight, torch_find(DATA, "start", "fc.weight", AG_F64, 0).x);
    ag_set(bias, torch_find(DATA, "start", "fc.bias", AG_F64, 0).x);
    n.mark = ag_tape_mark(n.tape);
    return n;
}
static void net_free(net n) {
    nn_model_free(n.model);
    ag_tape_free(n.tape);
}
static void net_read(net n, double *out) {
    ag_read(nn_parameter_at(n.model, 0), out);
    ag_read(nn_parameter_at(n.model, 1), out + 9);
}

/* Leaves the gradients of that step (from 1), times a factor: those of a linear function. */
static void net_sweep_scaled(net n, int step, double factor, ag_sweep_mode mode) {
    ag_var y = ag_num(0), one = ag_num(factor);
    for (int i = 0; i < (step == UNREACHED_STEP ? 1 : 2); i++) {
        ag_var x = nn_parameter_at(n.model, i);
        torch_row g = torch_find(DATA, "gradient", nn_parameter_name(n.model, i), AG_F64, step);
        y = ag_add(y, ag_sum(ag_mul(x, ag_constant_tensor(n.tape, g.x, ag_shape_of(x)))));
    }
    ag_sweep(&y, &one, 1, mode);
}
static void net_sweep(net n, int step) { net_sweep_scaled(n, step, 1, AG_RESET); }

typedef nn_optimiser *make(nn_model *m);
#define MAKE(name, ...)                                                                                                \
    static nn_optimiser *name(nn_model *m) { return __VA_ARGS__; }
MAKE(sgd, nn_sgd(m, (nn_sgd_options){.rate = 0.1}))
MAKE(sgd_l2, nn_sgd(m, (nn_sgd_options){.rate = 0.1, .decay = 0.3}))
MAKE(sgd_momentum, nn_sgd(m, (nn_sgd_options){.rate = 0.1, .momentum = 0.9}))
MAKE(sgd_dampening, nn_sgd(m, (nn_sgd_options){.rate = 0.1, .momentum = 0.8, .dampening = 0.4, .decay = 0.1}))
MAKE(sgd_nesterov, nn_sgd(m, (nn_sgd_options){.rate = 0.1, .momentum = 0.9, .decay = 0.1, .nesterov = true}))
MAKE(adam, nn_adam(m, (nn_adam_options){0}))
MAKE(adam_l2, nn_adam(m, (nn_adam_options){.rate = 0.05, .beta1 = 0.8, .beta2 = 0.9, .epsilon = 1e-3, .decay = 0.2}))
MAKE(adam_no_beta1, nn_adam(m, (nn_adam_options){.rate = 0.05, .beta1 = NN_ZERO, .beta2 = 0.9}))
MAKE(adam_amsgrad, nn_adam(m, (nn_adam_options){.rate = 0.05, .beta1 = 0.8, .beta2 = 0.5, .amsgrad = true}))
MAKE(adamw, nn_adamw(m, (nn_adam_options){0}))
MAKE(adamw_decay, nn_adamw(m, (nn_adam_options){.rate = 0.05, .decay = 0.5, .amsgrad = true}))
MAKE(rmsprop, nn_rmsprop(m, (nn_rmsprop_options){0}))
MAKE(rmsprop_l2, nn_rmsprop(m, (nn_rmsprop_options){.rate = 0.05, .alpha = 0.8, .epsilon = 1e-4, .decay = 0.2}))
MAKE(rmsprop_momentum, nn_rmsprop(m, (nn_rmsprop_options){.rate = 0.05, .momentum = 0.9}))
MAKE(rmsprop_centred, nn_rmsprop(m, (nn_rmsprop_options){.rate = 0.05, .alpha = 0.8, .centred = true}))
MAKE(rmsprop_centred_momentum,
     nn_rmsprop(m, (nn_rmsprop_options){.rate = 0.05, .alpha = 0.8, .centred = true, .momentum = 0.5}))
MAKE(adagrad, nn_adagrad(m, (nn_adagrad_options){0}))
MAKE(adagrad_decays,
     nn_adagrad(m, (nn_adagrad_options){.rate = 0.1, .rate_decay = 0.3, .decay = 0.2, .initial = 0.5, .epsilon = 1e-3}))
MAKE(lion, nn_lion(m, (nn_lion_options){0}))
MAKE(lion_decay, nn_lion(m, (nn_lion_options){.rate = 0.05, .beta1 = 0.7, .beta2 = 0.8, .decay = 0.4}))

static nn_optimiser *adamw_groups(nn_model *m) {
    nn_optimiser *o = nn_adamw(m, (nn_adam_options){.rate = 0.05, .decay = 0.5});
    nn_optimiser_decay(o, "*.bias", 0);
    nn_optimiser_rate_factor(o, "fc.b*s", 0.4);
    return o;
}
static nn_optimiser *clip_norm(nn_model *m) {
    nn_optimiser *o = sgd_momentum(m);
    nn_optimiser_clip_norm(o, 0.7);
    return o;
}

static const struct {
    const char *name;
    make *make;
} cases[] = {
#define CASE(name)                                                                                                     \
    { #name, name }
    CASE(sgd),
    CASE(sgd_l2),
    CASE(sgd_momentum),
    CASE(sgd_dampening),
    CASE(sgd_nesterov),
    CASE(adam),
    CASE(adam_l2),
    CASE(adam_no_beta1),
    CASE(adam_amsgrad),
    CASE(adamw),
    CASE(adamw_decay),
    CASE(adamw_groups),
    CASE(rmsprop),
    CASE(rmsprop_l2),
    CASE(rmsprop_momentum),
    CASE(rmsprop_centred),
    CASE(rmsprop_centred_momentum),
    CASE(adagrad),
    CASE(adagrad_decays),
    CASE(lion),
    CASE(lion_decay),
    CASE(clip_norm),
    {"clip_value", sgd_momentum},
};
enum { CASES = sizeof cases / sizeof *cases };

#endif
