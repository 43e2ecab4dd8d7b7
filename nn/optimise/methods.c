/* The optimisers: their options, and the numbers of their updates. */
#include "optimise_impl.h"

#include <math.h>

#define COUNT(options) ((int)(sizeof(options) / sizeof *(options)))

/* ---- gradient descent ------------------------------------------------------------------------------------------ */

static void prepare_sgd(const nn_optimiser *o, double rate, double step, nn_update *u) {
    (void)rate;
    u->keep = u->momentum = o->momentum;
    u->add = step == 1 ? 1 : 1 - o->dampening;
}

nn_optimiser *nn_sgd(nn_model *model, nn_sgd_options o) {
    const nn_option options[] = {
        {"the rate", &o.rate, 1e-3, 0, INFINITY},
        {"momentum", &o.momentum, 0, 0, INFINITY},
        {"dampening", &o.dampening, 0, -INFINITY, INFINITY},
        {"the decay", &o.decay, 0, 0, INFINITY},
    };
    if (model == NULL || !nn_options_settle(model, "sgd", options, COUNT(options))) return NULL;
    if (o.nesterov && (o.momentum == 0 || o.dampening != 0)) {
        ag_fail(nn_model_tape(model), AG_ERR_VALUE,
                "sgd: Nesterov's momentum with momentum %g and dampening %g; it needs a momentum and no dampening",
                o.momentum, o.dampening);
        return NULL;
    }
    nn_optimiser like = {.method = {"sgd", NN_UPDATE_sgd, {NULL}, o.decoupled, prepare_sgd},
                         .momentum = o.momentum,
                         .dampening = o.dampening,
                         .decay = o.decay,
                         .now = {0, o.rate}};
    if (o.momentum > 0) {
        like.method.kind = o.nesterov ? NN_UPDATE_sgd_nesterov : NN_UPDATE_sgd_momentum;
        like.method.states[0] = "momentum_buffer";
    }
    return nn_optimiser_new(model, &like);
}

/* ---- Adam ------------------------------------------------------------------------------------------------------ */

static void prepare_adam(const nn_optimiser *o, double rate, double step, nn_update *u) {
    u->keep = o->beta1;
    u->add = 1 - o->beta1;
    u->keep2 = o->beta2;
    u->add2 = 1 - o->beta2;
    u->epsilon = o->epsilon;
    u->rate = rate / (1 - pow(o->beta1, step));
    u->correct = 1 / sqrt(1 - pow(o->beta2, step));
}

static nn_optimiser *adam(nn_model *model, const char *name, nn_adam_options o, double decay) {
    const nn_option options[] = {
        {"the rate", &o.rate, 1e-3, 0, INFINITY},
        {"beta1", &o.beta1, 0.9, 0, 1},
        {"beta2", &o.beta2, 0.999, 0, 1},
        {"epsilon", &o.epsilon, 1e-8, 0, INFINITY},
        {"the decay", &o.decay, decay, 0, INFINITY},
    };
    if (model == NULL || !nn_options_settle(model, name, options, COUNT(options))) return NULL;
    nn_optimiser like = {.method = {name, NN_UPDATE_adam, {"exp_avg", "exp_avg_sq"}, o.decoupled, prepare_adam},
                         .beta1 = o.beta1,
                         .beta2 = o.beta2,
                         .epsilon = o.epsilon,
                         .decay = o.decay,
                         .now = {0, o.rate}};
    if (o.amsgrad) {
        like.method.kind = NN_UPDATE_adam_amsgrad;
        like.method.states[2] = "max_exp_avg_sq";
    }
    return nn_optimiser_new(model, &like);
}

nn_optimiser *nn_adam(nn_model *model, nn_adam_options options) { return adam(model, "adam", options, 0); }
nn_optimiser *nn_adamw(nn_model *model, nn_adam_options options) {
    options.decoupled = true;
    return adam(model, "adamw", options, 0.01);
}

/* ---- RMSprop --------------------------------------------------------------------------------------------------- */

static void prepare_rmsprop(const nn_optimiser *o, double rate, double step, nn_update *u) {
    (void)rate, (void)step;
    u->keep2 = o->beta2;
    u->add2 = 1 - o->beta2;
    u->epsilon = o->epsilon;
    u->momentum = o->momentum;
}

nn_optimiser *nn_rmsprop(nn_model *model, nn_rmsprop_options o) {
    static const nn_update_kind kinds[2][2] = {{NN_UPDATE_rmsprop, NN_UPDATE_rmsprop_momentum},
                                               {NN_UPDATE_rmsprop_centred, NN_UPDATE_rmsprop_centred_momentum}};
    const nn_option options[] = {
        {"the rate", &o.rate, 0.01, 0, INFINITY},   {"alpha", &o.alpha, 0.99, 0, 1},
        {"epsilon", &o.epsilon, 1e-8, 0, INFINITY}, {"momentum", &o.momentum, 0, 0, INFINITY},
        {"the decay", &o.decay, 0, 0, INFINITY},
    };
    if (model == NULL || !nn_options_settle(model, "rmsprop", options, COUNT(options))) return NULL;
    bool momentum = o.momentum > 0;
    nn_optimiser like = {
        .method = {"rmsprop", kinds[o.centred][momentum], {"square_avg"}, o.decoupled, prepare_rmsprop},
        .beta2 = o.alpha,
        .epsilon = o.epsilon,
        .momentum = o.momentum,
        .decay = o.decay,
        .now = {0, o.rate}};
    if (momentum) like.method.states[1] = "momentum_buffer";
    if (o.centred) like.method.states[1 + momentum] = "grad_avg";
    return nn_optimiser_new(model, &like);
}

/* ---- Adagrad --------------------------------------------------------------------------------------------------- */

static void prepare_adagrad(const nn_optimiser *o, double rate, double step, nn_update *u) {
    u->rate = rate / (1 + (step - 1) * o->rate_decay);
    u->epsilon = o->epsilon;
}

nn_optimiser *nn_adagrad(nn_model *model, nn_adagrad_options o) {
    const nn_option options[] = {
        {"the rate", &o.rate, 0.01, 0, INFINITY},
        {"epsilon", &o.epsilon, 1e-10, 0, INFINITY},
        {"what the sum starts from", &o.initial, 0, 0, INFINITY},
        {"the decay of the rate", &o.rate_decay, 0, 0, INFINITY},
        {"the decay", &o.decay, 0, 0, INFINITY},
    };
    if (model == NULL || !nn_options_settle(model, "adagrad", options, COUNT(options))) return NULL;
    const nn_optimiser like = {.method = {"adagrad", NN_UPDATE_adagrad, {"sum"}, o.decoupled, prepare_adagrad},
                               .epsilon = o.epsilon,
                               .rate_decay = o.rate_decay,
                               .decay = o.decay,
                               .now = {0, o.rate}};
    nn_optimiser *adagrad = nn_optimiser_new(model, &like);
    for (int i = 0; o.initial > 0 && adagrad != NULL && i < nn_moments_count(&adagrad->arrays); i++) {
        nn_state sum;
        nn_moments_state(&adagrad->arrays, i, &sum);
        for (int64_t k = 0; k < sum.count; k++) {
            if (sum.type == AG_F64) ((double *)sum.data)[k] = o.initial;
            else ((float *)sum.data)[k] = (float)o.initial;
        }
    }
    return adagrad;
}

/* ---- Lion ------------------------------------------------------------------------------------------------------ */

static void prepare_lion(const nn_optimiser *o, double rate, double step, nn_update *u) {
    (void)rate, (void)step;
    u->keep = o->beta1;
    u->add = 1 - o->beta1;
    u->keep2 = o->beta2;
    u->add2 = 1 - o->beta2;
}

nn_optimiser *nn_lion(nn_model *model, nn_lion_options o) {
    const nn_option options[] = {
        {"the rate", &o.rate, 1e-4, 0, INFINITY},
        {"beta1", &o.beta1, 0.9, 0, 1},
        {"beta2", &o.beta2, 0.99, 0, 1},
        {"the decay", &o.decay, 0, 0, INFINITY},
    };
    if (model == NULL || !nn_options_settle(model, "lion", options, COUNT(options))) return NULL;
    const nn_optimiser like = {.method = {"lion", NN_UPDATE_lion, {"exp_avg"}, true, prepare_lion},
                               .beta1 = o.beta1,
                               .beta2 = o.beta2,
                               .decay = o.decay,
                               .now = {0, o.rate}};
    return nn_optimiser_new(model, &like);
}
