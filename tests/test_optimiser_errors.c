/* Optimisers: bad options and gradients, models that change, memory that runs out. */
#include "optimisers.h"

static void bad_options_are_errors(void **state) {
    net n = net_new(AG_F64);
    nn_model *m = n.model;
    (void)state;
#define REFUSED(sentence, ...)                                                                                         \
    assert_null(__VA_ARGS__);                                                                                          \
    assert_string_equal(ag_tape_message(n.tape), sentence);                                                            \
    expect_error(n.tape, AG_ERR_VALUE, "")
    REFUSED("sgd: the rate is nan; it must be finite and at least 0", nn_sgd(m, (nn_sgd_options){.rate = NAN}));
    REFUSED("sgd: the rate is -1; it must be finite and at least 0", nn_sgd(m, (nn_sgd_options){.rate = -1}));
    REFUSED("sgd: momentum is inf; it must be finite and at least 0",
            nn_sgd(m, (nn_sgd_options){.momentum = INFINITY}));
    REFUSED("sgd: Nesterov's momentum with momentum 0 and dampening 0; it needs a momentum and no dampening",
            nn_sgd(m, (nn_sgd_options){.nesterov = true}));
    REFUSED("sgd: Nesterov's momentum with momentum 0.5 and dampening 0.1; it needs a momentum and no dampening",
            nn_sgd(m, (nn_sgd_options){.nesterov = true, .momentum = 0.5, .dampening = 0.1}));
    REFUSED("adam: beta1 is 1; it must be at least 0 and below 1", nn_adam(m, (nn_adam_options){.beta1 = 1}));
    REFUSED("adamw: beta2 is -0.1; it must be at least 0 and below 1", nn_adamw(m, (nn_adam_options){.beta2 = -0.1}));
    REFUSED("adam: beta2 is nan; it must be at least 0 and below 1", nn_adam(m, (nn_adam_options){.beta2 = NAN}));
    REFUSED("adam: epsilon is -1; it must be finite and at least 0", nn_adam(m, (nn_adam_options){.epsilon = -1}));
    REFUSED("adam: the decay is nan; it must be finite and at least 0", nn_adam(m, (nn_adam_options){.decay = NAN}));
    REFUSED("rmsprop: alpha is 1; it must be at least 0 and below 1", nn_rmsprop(m, (nn_rmsprop_options){.alpha = 1}));
    REFUSED("adagrad: what the sum starts from is -1; it must be finite and at least 0",
            nn_adagrad(m, (nn_adagrad_options){.initial = -1}));
    REFUSED("lion: beta1 is 2; it must be at least 0 and below 1", nn_lion(m, (nn_lion_options){.beta1 = 2}));
#undef REFUSED
    nn_optimiser *o = adam(m);
    nn_optimiser_set_rate(o, NAN);
    expect_error(n.tape, AG_ERR_VALUE, "adam: the rate is nan");
    nn_optimiser_decay(o, "*", -1);
    expect_error(n.tape, AG_ERR_VALUE, "adam: the decay is -1");
    nn_optimiser_rate_factor(o, NULL, 1);
    expect_error(n.tape, AG_ERR_VALUE, "matches \"\"");
    nn_optimiser_scale(o, INFINITY);
    expect_error(n.tape, AG_ERR_VALUE, "adam: the scale of gradients is inf");
    nn_optimiser_clip_norm(o, -1);
    expect_error(n.tape, AG_ERR_VALUE, "adam: the greatest norm is -1");
    assert_true(isnan(nn_clip_norm(m, NAN)));
    expect_error(n.tape, AG_ERR_VALUE, "clip_norm: the bound is nan");
    assert_true(isnan(nn_clip_value(m, -2)));
    expect_error(n.tape, AG_ERR_VALUE, "clip_value: the bound is -2");
    nn_optimiser_free(o);
    net_free(n);
    assert_int_equal(taken, 0);
}

/* Nothing changes, whichever the parameter, and the sentence names it. */
static void gradients_that_are_not_finite_are_errors(void **state) {
    static const double bad[] = {NAN, INFINITY, -INFINITY};
    (void)state;
    for (int i = 0; i < 12; i++) {
        net n = net_new((ag_type)(i % 2));
        nn_optimiser *o = adam_l2(n.model);
        double before[NUMBERS], after[NUMBERS];
        nn_state s;
        if (i >= 6) nn_optimiser_clip_norm(o, 1);
        net_read(n, before);
        net_sweep(n, 1);
        void *g = ag_grad_data(nn_parameter_at(n.model, 1));
        if (i % 2) ((float *)g)[1] = (float)bad[i / 2 % 3];
        else ((double *)g)[1] = bad[i / 2 % 3];
        nn_optimiser_step(o);
        expect_error(n.tape, AG_ERR_VALUE, "adam: element 1 of the gradient of parameter fc.bias is ");
        if (i / 2 % 3 == 0) assert_true(isnan(nn_clip_value(n.model, 1)));
        if (i / 2 % 3 == 0) expect_error(n.tape, AG_ERR_VALUE, "clip_value: element 1");
        assert_true(isnan(nn_clip_norm(n.model, 1)));
        expect_error(n.tape, AG_ERR_VALUE, "clip_norm: element 1");
        net_read(n, after);
        assert_memory_equal(before, after, sizeof before);
        assert_int_equal(nn_optimiser_steps(o), 0);
        assert_true(nn_optimiser_state(o, 0, &s));
        assert_true(s.type == AG_F64 ? *(double *)s.data == 0 : *(float *)s.data == 0);
        nn_optimiser_free(o);
        net_free(n);
    }
}

static void a_model_must_stay_as_it_was(void **state) {
    net n = net_new(AG_F64);
    nn_optimiser *o = adam(n.model);
    nn_average *a = nn_average_new(n.model, 0);
    (void)state;
    nn_parameter(n.model, "late", AG_SHAPE(2), NN_ONES);
    nn_optimiser_step(o);
    expect_error(n.tape, AG_ERR_VALUE, "adam: the model has 3 parameters, and had 2 when this was made");
    nn_average_update(a);
    expect_error(n.tape, AG_ERR_VALUE, "average: the model has 3 parameters");
    nn_optimiser_free(o);
    nn_average_free(a);

    ag_tape *t = ag_tape_new(AG_F64);
    ag_mark mark = ag_tape_mark(t);
    nn_model *model = nn_model_new(t, 1);
    nn_parameter(model, "w", AG_SHAPE(2), NN_ONES);
    o = adam(model);
    a = nn_average_new(model, 0);
    ag_tape_rewind(t, mark); /* the parameter goes, too */
    nn_optimiser_step(o);
    expect_error(t, AG_ERR_STALE, "adam: parameter w");
    nn_average_update(a);
    expect_error(t, AG_ERR_STALE, "average: parameter w");
    nn_clip_norm(model, 1);
    expect_error(t, AG_ERR_STALE, "clip_norm: parameter w");
    nn_optimiser_free(o);
    nn_average_free(a);
    nn_model_free(model);
    ag_tape_free(t);
    net_free(n);
}

static void no_optimiser_is_no_crash(void **state) {
    nn_state s;
    (void)state;
    for (int i = 0; i < CASES; i++) assert_null(cases[i].make(NULL));
    nn_optimiser_free(NULL);
    nn_optimiser_step(NULL);
    nn_optimiser_set_rate(NULL, 1);
    nn_optimiser_decay(NULL, "*", 1);
    nn_optimiser_rate_factor(NULL, "*", 1);
    nn_optimiser_scale(NULL, 1);
    nn_optimiser_clip_norm(NULL, 1);
    nn_optimiser_schedule(NULL, nn_exponential_schedule(1, 1));
    assert_true(isnan(nn_optimiser_rate(NULL)) && isnan(nn_optimiser_norm(NULL)) && nn_optimiser_steps(NULL) == 0);
    assert_false(nn_optimiser_state(NULL, 0, &s));
    assert_true(isnan(nn_clip_norm(NULL, 1)) && isnan(nn_clip_value(NULL, 1)));
    assert_null(nn_average_new(NULL, 0));
    nn_average_free(NULL);
    nn_average_update(NULL);
    nn_average_swap(NULL);
    assert_false(nn_average_state(NULL, 0, &s));
    ag_tape *t = ag_tape_new(AG_F64); /* errors stick */
    nn_model *model = nn_model_new(t, 1);
    nn_optimiser *o = sgd(model); /* of no parameters */
    nn_optimiser_step(o);
    check_fine("no parameters", t);
    ag_fail(t, AG_ERR_VALUE, "earlier");
    nn_optimiser_step(o);
    assert_null(adam(model));
    assert_null(nn_average_new(model, 0));
    assert_true(isnan(nn_clip_norm(model, 1)));
    expect_error(t, AG_ERR_VALUE, "earlier");
    assert_int_equal(nn_optimiser_steps(o), 1);
    nn_optimiser_free(o);
    nn_model_free(model);
    ag_tape_free(t);
}

static void memory_may_run_out(void **state) {
    (void)state;
    for (int i = 0; i < CASES + 3; i++) {
        net n = net_new(AG_F32);
        int before = taken;
        net_sweep(n, 1);
        for (int k = 0;; k++) {
            nn_optimiser *o = NULL;
            nn_average *a = NULL;
            allowed = k;
            if (i < CASES) o = cases[i].make(n.model);
            else if (i == CASES) a = nn_average_new(n.model, 0);
            else if (i == CASES + 1) nn_clip_norm(n.model, 1);
            else nn_clip_value(n.model, 1);
            bool ran_out = allowed == 0;
            allowed = -1;
            if (ran_out && ag_tape_status(n.tape) != AG_OK) {
                assert_true(o == NULL && a == NULL);
                expect_error(n.tape, AG_ERR_MEMORY, "out of memory");
                assert_int_equal(taken, before);
                continue;
            }
            check_fine("enough memory", n.tape);
            nn_optimiser_free(o);
            nn_average_free(a);
            assert_true(k > 0);
            break;
        }
        assert_int_equal(taken, before);
        net_free(n);
    }
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_options_are_errors),      cmocka_unit_test(gradients_that_are_not_finite_are_errors),
        cmocka_unit_test(a_model_must_stay_as_it_was), cmocka_unit_test(no_optimiser_is_no_crash),
        cmocka_unit_test(memory_may_run_out),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
