/* nn/optimise: steps that make a loss smaller.
 *
 *     nn_optimiser *adam = nn_adamw(model, (nn_adam_options){.rate = 3e-4, .decay = 0.1});
 *     nn_optimiser_decay(adam, "*.bias", 0);
 *     nn_optimiser_schedule(adam, nn_with_warm_up(nn_cosine_schedule(3e-4, 3e-5, 9900), 100));
 *     nn_optimiser_clip_norm(adam, 1);
 *     for (...) {
 *         ag_backward(loss);
 *         nn_optimiser_step(adam);
 *         ag_tape_rewind(tape, mark);
 *     }
 *     nn_optimiser_free(adam);
 *
 * Zeros in a struct of options stand for the defaults, which are PyTorch's; NN_ZERO is the number 0 where a default is
 * another number. Errors stick to the model's tape. An optimiser that could not be made is NULL, its tape is in error, and
 * every function takes it and does nothing. */
#ifndef NN_OPTIMISE_H
#define NN_OPTIMISE_H

#include <nn/model.h>

#ifdef __cplusplus
extern "C" {
#endif

#define NN_ZERO (-0.0)

/* One step of gradient descent without any state: every parameter -= rate * its adjoint, left by ag_backward or ag_sweep,
 * then nn_model_commit. Parameters that the swept function does not depend on stay as they are. A rate that is not finite
 * is an error (AG_ERR_VALUE). */
NN_API void nn_sgd_step(nn_model *model, double rate);

/* ---- state ----------------------------------------------------------------------------------------------------- */

/* An array of numbers that must be saved and restored, with the weights, for training to go on bit for bit. Its name is
 * unique among those of its owner: "fc.weight.exp_avg" (PyTorch's names), or one without a dot. */
typedef struct nn_state {
    const char *name; /* valid until the next call */
    ag_type type;
    ag_shape shape;
    int64_t count; /* numbers in it */
    void *data;    /* may be written; valid as long as the owner */
} nn_state;

/* ---- optimisers ------------------------------------------------------------------------------------------------ */

/* Of the parameters that the model has when the optimiser is made; a model that has more at a step is an error. It must be
 * freed before the model is. */
typedef struct nn_optimiser nn_optimiser;

/* Below, g is a gradient with decay * x added, or, where `decoupled`, the gradient alone, and x shrinks by rate * decay
 * before the step: Loshchilov, Hutter, arXiv:1711.05101. */

/* buffer = momentum * buffer + (1 - dampening) * g, at first g; x -= rate * buffer, or, with Nesterov's momentum,
 * x -= rate * (g + momentum * buffer). */
typedef struct nn_sgd_options {
    double rate; /* 1e-3 */
    double momentum, dampening, decay;
    bool nesterov; /* needs a momentum, and no dampening */
    bool decoupled;
} nn_sgd_options;
NN_API nn_optimiser *nn_sgd(nn_model *model, nn_sgd_options options);

/* Kingma, Ba, arXiv:1412.6980; amsgrad: Reddi et al., 2018. nn_adamw is nn_adam with `decoupled`, and a decay of 0.01 if
 * it is not set. */
typedef struct nn_adam_options {
    double rate;         /* 1e-3 */
    double beta1, beta2; /* 0.9, 0.999 */
    double epsilon;      /* 1e-8 */
    double decay;
    bool amsgrad;
    bool decoupled;
} nn_adam_options;
NN_API nn_optimiser *nn_adam(nn_model *model, nn_adam_options options);
NN_API nn_optimiser *nn_adamw(nn_model *model, nn_adam_options options);

/* x -= rate * g / (sqrt(average of g^2) + epsilon): Tieleman, Hinton, lecture 6.5, 2012; centred: the variance of g
 * instead, Graves, arXiv:1308.0850, eq. 38 to 45. */
typedef struct nn_rmsprop_options {
    double rate;    /* 0.01 */
    double alpha;   /* 0.99: what the averages keep at a step */
    double epsilon; /* 1e-8 */
    double momentum, decay;
    bool centred;
    bool decoupled;
} nn_rmsprop_options;
NN_API nn_optimiser *nn_rmsprop(nn_model *model, nn_rmsprop_options options);

/* x -= rate / (1 + (step - 1) * rate_decay) * g / (sqrt(sum of g^2) + epsilon): Duchi et al., 2011. */
typedef struct nn_adagrad_options {
    double rate;    /* 0.01 */
    double epsilon; /* 1e-10 */
    double initial; /* what the sum starts from */
    double rate_decay, decay;
    bool decoupled;
} nn_adagrad_options;
NN_API nn_optimiser *nn_adagrad(nn_model *model, nn_adagrad_options options);

/* x -= rate * sign(beta1 * average + (1 - beta1) * g), then average = beta2 * average + (1 - beta2) * g; decay is
 * decoupled. Chen et al., arXiv:2302.06675. */
typedef struct nn_lion_options {
    double rate;         /* 1e-4 */
    double beta1, beta2; /* 0.9, 0.99 */
    double decay;
} nn_lion_options;
NN_API nn_optimiser *nn_lion(nn_model *model, nn_lion_options options);

NN_API void nn_optimiser_free(nn_optimiser *optimiser);
NN_API nn_model *nn_optimiser_model(const nn_optimiser *optimiser);

/* One step, from the adjoints that sweeps left in the parameters, then nn_model_commit. Parameters that the last sweep did
 * not reach stay as they are, and so does their state. If a gradient is not finite nothing changes, and the error
 * (AG_ERR_VALUE) names the parameter. Large models are updated by ag_threads() threads, with the same result. */
NN_API void nn_optimiser_step(nn_optimiser *optimiser);
/* The same from gradients that lie elsewhere, where a program wrote them: gradients[i] has as many numbers as parameter i, of
 * the tape's type, or is NULL, and the parameter stays. */
NN_API void nn_optimiser_step_from(nn_optimiser *optimiser, void *const *gradients);
NN_API int64_t nn_optimiser_steps(const nn_optimiser *optimiser); /* taken so far */

/* The rate of the next step. */
NN_API double nn_optimiser_rate(const nn_optimiser *optimiser);
NN_API void nn_optimiser_set_rate(nn_optimiser *optimiser, double rate);

/* Parameter groups: for the parameters whose names match `pattern`, where * stands for any characters, the rate is
 * multiplied by `factor` (0: they stay), or the decay is another. Of several calls the last one counts. A pattern that no
 * name matches is an error (AG_ERR_VALUE). */
NN_API void nn_optimiser_rate_factor(nn_optimiser *optimiser, const char *pattern, double factor);
NN_API void nn_optimiser_decay(nn_optimiser *optimiser, const char *pattern, double decay);

/* Gradients are multiplied by `scale` at each step: 1 / k for sums over k batches (AG_ACCUMULATE). */
NN_API void nn_optimiser_scale(nn_optimiser *optimiser, double scale);
/* At each step gradients are made shorter if their common norm, after `scale`, is over `most`, as nn_clip_norm does; it
 * costs no pass over them of its own. 0: no longer. */
NN_API void nn_optimiser_clip_norm(nn_optimiser *optimiser, double most);
/* The norm at the last step, before it was clipped; NaN where steps do not clip. */
NN_API double nn_optimiser_norm(const nn_optimiser *optimiser);

/* State i = 0, 1, ...; false if there is none. */
NN_API bool nn_optimiser_state(nn_optimiser *optimiser, int i, nn_state *state);

/* ---- gradients ------------------------------------------------------------------------------------------------- */

/* The norm of all gradients of a model together; if it is over `most`, they are multiplied by most / (norm + 1e-6). A
 * gradient that is not finite is an error (AG_ERR_VALUE), and the result is NaN. Infinity as `most` only measures. */
NN_API double nn_clip_norm(nn_model *model, double most);
/* Every element of every gradient into -most..most; returns the greatest absolute value that there was. */
NN_API double nn_clip_value(nn_model *model, double most);

/* ---- schedules ------------------------------------------------------------------------------------------------- */

/* A rate as a function of the number of steps taken before, a value that can be copied; all zeros is no schedule. Bad
 * arguments give a schedule whose rates are NaN, which optimisers refuse with a sentence. */
typedef struct nn_schedule {
    int kind;
    int64_t warm_up, steps; /* numbers of steps */
    double rate, a, b, c;
    const int64_t *milestones; /* the caller's */
} nn_schedule;

/* rate * factor for `steps` steps, then rate. */
NN_API nn_schedule nn_constant_schedule(double rate, double factor, int64_t steps);
/* rate times what goes from `first` to `last`, in a line, within `steps` steps. */
NN_API nn_schedule nn_linear_schedule(double rate, double first, double last, int64_t steps);
/* Times `factor` every `every` steps. */
NN_API nn_schedule nn_step_schedule(double rate, double factor, int64_t every);
/* Times `factor` at each of n milestones, in ascending order, which the caller keeps. */
NN_API nn_schedule nn_multi_step_schedule(double rate, double factor, const int64_t *milestones, int64_t n);
/* Times `factor` every step. */
NN_API nn_schedule nn_exponential_schedule(double rate, double factor);
/* From rate to `least` within `steps` steps, along half a wave; then `least`: Loshchilov, Hutter, arXiv:1608.03983. */
NN_API nn_schedule nn_cosine_schedule(double rate, double least, int64_t steps);
/* Up to `rate` and down again, in half waves, over `steps` steps: Smith, Topin, arXiv:1708.07120. It starts at rate / 25,
 * rises for 30 % of the steps, and ends at rate / 250000; arguments that are not 0 are others than 0.3, 25 and 1e4. */
NN_API nn_schedule nn_one_cycle_schedule(double rate, int64_t steps, double rise, double divisor, double last_divisor);
/* A schedule that starts `steps` steps later; up to there its first rate times 1 / steps, 2 / steps, ... */
NN_API nn_schedule nn_with_warm_up(nn_schedule schedule, int64_t steps);

NN_API double nn_schedule_rate(nn_schedule schedule, int64_t step);
/* The rate of each further step is the schedule's, by the number of steps taken. */
NN_API void nn_optimiser_schedule(nn_optimiser *optimiser, nn_schedule schedule);

/* A rate that falls when a measure (a validation loss) no longer gets better. */
typedef struct nn_plateau {
    double rate;       /* at first */
    double factor;     /* 0.1: what the rate is multiplied by */
    int patience;      /* 10: so many measures in a row may be no better; negative: none */
    int cooldown;      /* after the rate fell, so many measures do not count */
    double threshold;  /* 1e-4: better by this much, relatively */
    double least;      /* no rate is lower */
    bool greater;      /* greater is better */
    bool absolute;     /* the threshold is */
    double numbers[5]; /* of measures: how many, the best, how many no better, how many not to count; the rate */
} nn_plateau;
/* Takes a measure and returns the rate to go on with. A NaN is no better. */
NN_API double nn_plateau_rate(nn_plateau *plateau, double measure);
NN_API bool nn_plateau_state(nn_plateau *plateau, int i, nn_state *state);

/* ---- averaged weights ------------------------------------------------------------------------------------------ */

typedef struct nn_average nn_average;

/* Averages of all parameters of a model. With a decay, average = decay * average + (1 - decay) * x (EMA); with 0 the mean
 * of all x (Izmailov et al., arXiv:1803.05407). The first update copies. */
NN_API nn_average *nn_average_new(nn_model *model, double decay);
NN_API void nn_average_free(nn_average *average);
NN_API void nn_average_update(nn_average *average);
/* The averages become the weights and the weights are kept instead; once more: back. An update in between is an error. */
NN_API void nn_average_swap(nn_average *average);
NN_API bool nn_average_state(nn_average *average, int i, nn_state *state);

/* ---- L-BFGS ---------------------------------------------------------------------------------------------------- */

/* Nocedal, Wright, Numerical Optimization, 2006: algorithms 7.4, 7.5 (L-BFGS), 3.5, 3.6 (strong Wolfe conditions). For
 * functions without noise: all data at each step. */
typedef struct nn_lbfgs_options {
    double rate;     /* 1: of the first trial of a line search, or of the step if there is none */
    int iterations;  /* 20, of a call */
    int evaluations; /* 5/4 of that */
    double gradient; /* 1e-7: ends if no element of the gradient is greater */
    double change;   /* 1e-9: ends if no parameter, or the loss, changes by more */
    int history;     /* 100 */
    bool no_line_search;
} nn_lbfgs_options;
typedef struct nn_lbfgs nn_lbfgs;

/* Records a loss of the model's parameters, sweeps from it and returns its value; what it recorded is rewound. */
typedef double (*nn_loss_function)(void *context);

NN_API nn_lbfgs *nn_lbfgs_new(nn_model *model, nn_lbfgs_options options);
NN_API void nn_lbfgs_free(nn_lbfgs *lbfgs);
/* Up to `iterations` iterations, then nn_model_commit; returns the loss before them. Called again it goes on. At points
 * where the loss or a gradient is not finite a line search turns back; at the start that is an error (AG_ERR_VALUE), and
 * the model stays as it is, buffers included. After an error the parameters are those of the last whole iteration, and the
 * result is NaN. Holds 2 * history + 7 numbers for
 * each of the model's. */
NN_API double nn_lbfgs_step(nn_lbfgs *lbfgs, nn_loss_function loss, void *context);
NN_API bool nn_lbfgs_state(nn_lbfgs *lbfgs, int i, nn_state *state);

#ifdef __cplusplus
} /* extern "C" */
#endif

#endif
