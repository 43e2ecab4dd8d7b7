/* Optimisers: PyTorch's numbers, state, groups, clipping, averaged weights, several threads. */
#include "any_threads.h"
#include "optimisers.h"

/* ---- as PyTorch ------------------------------------------------------------------------------------------------ */

static make *find_case(const char *name) {
    for (int i = 0; i < CASES; i++)
        if (strcmp(cases[i].name, name) == 0) return cases[i].make;
    fail_msg("there is no optimiser %s here", name);
    return NULL;
}

/* Walks the file, so that nothing in it is left out. */
static void steps_are_pytorchs(void **state) {
    FILE *in = torch_open(DATA);
    torch_row row;
    net n = {0};
    nn_optimiser *optimiser = NULL;
    int done = STEPS, compared = 0;
    (void)state;
    while (torch_read(in, &row)) {
        if (strcmp(row.kind, "optimiser") != 0) continue;
        assert_int_equal(row.count, NUMBERS);
        if (done == STEPS) {
            n = net_new(row.type);
            optimiser = find_case(row.name)(n.model);
            done = 0;
        }
        while (done < row.step) {
            net_sweep(n, ++done);
            if (strcmp(row.name, "clip_value") == 0) nn_clip_value(n.model, 0.25);
            nn_optimiser_step(optimiser);
            ag_tape_rewind(n.tape, n.mark);
        }
        double got[NUMBERS];
        check_fine(row.name, n.tape);
        net_read(n, got);
        torch_compare(&row, got);
        compared++;
        if (done < STEPS) continue;
        assert_int_equal(nn_optimiser_steps(optimiser), STEPS);
        nn_optimiser_free(optimiser);
        net_free(n);
    }
    fclose(in);
    assert_int_equal(compared, 2 * 3 * CASES);
    assert_int_equal(taken, 0);
}

/* Decoupled decay of the others: x shrinks, the gradient is as it was. */
static void decoupled_decay_shrinks(void **state) {
    (void)state;
    for (int kind = 0; kind < 3; kind++) {
        double got[2][NUMBERS], start[NUMBERS];
        for (int decoupled = 0; decoupled < 2; decoupled++) {
            net n = net_new(AG_F64);
            double decay = decoupled ? 0.5 : 0;
            nn_optimiser *o =
                kind == 0   ? nn_sgd(n.model, (nn_sgd_options){.rate = 0.1, .decay = decay, .decoupled = true})
                : kind == 1 ? nn_rmsprop(n.model, (nn_rmsprop_options){.rate = 0.1, .decay = decay, .decoupled = true})
                            : nn_adagrad(n.model, (nn_adagrad_options){.rate = 0.1, .decay = decay, .decoupled = true});
            net_read(n, start);
            net_sweep(n, 1);
            nn_optimiser_step(o);
            net_read(n, got[decoupled]);
            nn_optimiser_free(o);
            net_free(n);
        }
        for (int i = 0; i < NUMBERS; i++)
            check_number("a shrunken parameter", got[1][i], got[0][i] - 0.1 * 0.5 * start[i]);
    }
}

/* ---- state ----------------------------------------------------------------------------------------------------- */

static void run_steps(net n, nn_optimiser *o, int from, int to) {
    for (int step = from; step <= to; step++) {
        net_sweep(n, step);
        nn_optimiser_step(o);
        ag_tape_rewind(n.tape, n.mark);
    }
    check_fine("steps", n.tape);
}

/* All state is moved to another optimiser, and training goes on bit for bit. */
static void state_is_all_that_there_is(void **state) {
    (void)state;
    for (int i = 0; i < 2 * CASES; i++) {
        net n[2] = {net_new((ag_type)(i % 2)), net_new((ag_type)(i % 2))};
        nn_optimiser *o[2] = {cases[i / 2].make(n[0].model), cases[i / 2].make(n[1].model)};
        double got[2][NUMBERS];
        nn_state from, to;
        int k = 0;
        nn_optimiser_set_rate(o[0], 0.07);
        run_steps(n[0], o[0], 1, 4);
        for (; nn_optimiser_state(o[0], k, &from); k++) {
            assert_true(nn_optimiser_state(o[1], k, &to));
            assert_string_equal(from.name, to.name);
            assert_int_equal(from.count, shape_count(from.shape));
            assert_true(from.count == to.count && from.type == to.type);
            memcpy(to.data, from.data, (size_t)from.count * (from.type == AG_F64 ? 8 : 4));
        }
        assert_true(k >= 2);
        assert_false(nn_optimiser_state(o[1], k, &to) || nn_optimiser_state(o[1], -1, &to));
        net_read(n[0], got[0]);
        ag_set(nn_parameter_at(n[1].model, 0), got[0]);
        ag_set(nn_parameter_at(n[1].model, 1), got[0] + 9);
        for (int j = 0; j < 2; j++) {
            run_steps(n[j], o[j], 5, STEPS);
            net_read(n[j], got[j]);
            assert_int_equal(nn_optimiser_steps(o[j]), STEPS);
            nn_optimiser_free(o[j]);
            net_free(n[j]);
        }
        assert_memory_equal(got[0], got[1], sizeof got[0]);
    }
}

static void state_has_pytorchs_names(void **state) {
    net n = net_new(AG_F32);
    nn_optimiser *o = adam_amsgrad(n.model);
    static const char *const names[] = {"fc.weight.exp_avg",   "fc.weight.exp_avg_sq", "fc.weight.max_exp_avg_sq",
                                        "fc.bias.exp_avg",     "fc.bias.exp_avg_sq",   "fc.bias.max_exp_avg_sq",
                                        "steps_of_parameters", "steps_and_rate"};
    nn_state s;
    (void)state;
    for (int i = 0; i < 8; i++) {
        assert_true(nn_optimiser_state(o, i, &s));
        assert_string_equal(s.name, names[i]);
        assert_int_equal(s.type, i < 6 ? AG_F32 : AG_F64);
        assert_int_equal(s.count, i < 3 ? 9 : 2);
        assert_int_equal(s.shape.rank, i < 3 ? 2 : 1);
    }
    assert_false(nn_optimiser_state(o, 8, &s));
    nn_optimiser_free(o);
    net_free(n);
}

/* ---- groups, rates, clipping ----------------------------------------------------------------------------------- */

static void patterns_choose_parameters(void **state) {
    static const struct {
        const char *pattern;
        bool weight, bias;
    } patterns[] = {
        {"*", true, true},        {"fc.*", true, true},       {"*bias", false, true},    {"fc.weight", true, false},
        {"*.*i*", true, true},    {"f*.*t", true, false},     {"**fc**b*", false, true}, {"*.weight*", true, false},
        {"fc.bia", false, false}, {"fc.biass", false, false}, {"", false, false},        {"*fc.b*b*", false, false},
    };
    (void)state;
    for (size_t i = 0; i < sizeof patterns / sizeof *patterns; i++) {
        net n = net_new(AG_F64);
        nn_optimiser *o = sgd(n.model);
        double before[NUMBERS], after[NUMBERS];
        net_read(n, before);
        nn_optimiser_rate_factor(o, patterns[i].pattern, 0);
        if (!patterns[i].weight && !patterns[i].bias) expect_error(n.tape, AG_ERR_VALUE, "no parameter's name matches");
        net_sweep(n, 1);
        nn_optimiser_step(o);
        net_read(n, after);
        if ((before[0] == after[0]) != patterns[i].weight || (before[9] == after[9]) != patterns[i].bias)
            fail_msg("\"%s\" matches others", patterns[i].pattern);
        nn_optimiser_free(o);
        net_free(n);
    }
}

static void rates_can_be_set(void **state) {
    net n = net_new(AG_F64);
    nn_optimiser *o = sgd(n.model);
    double before[NUMBERS], after[NUMBERS];
    torch_row g = torch_find(DATA, "gradient", "fc.weight", AG_F64, 1);
    (void)state;
    net_read(n, before);
    check_number("the rate", nn_optimiser_rate(o), 0.1);
    nn_optimiser_set_rate(o, 0.5);
    nn_optimiser_scale(o, 0.25);
    net_sweep(n, 1);
    nn_optimiser_step(o);
    net_read(n, after);
    check_number("a step with another rate", after[3], before[3] - 0.125 * g.x[3]);
    nn_optimiser_scale(o, 1);
    nn_optimiser_schedule(o, nn_step_schedule(1, 0.5, 2));
    for (int i = 0; i < 5; i++) {
        static const double rates[] = {1, 0.5, 0.5, 0.25, 0.25}; /* one step was taken */
        check_number("a scheduled rate", nn_optimiser_rate(o), rates[i]);
        net_read(n, before);
        nn_optimiser_step(o);
        net_read(n, after);
        check_number("a scheduled step", after[3], before[3] - rates[i] * g.x[3]);
    }
    nn_optimiser_schedule(o, nn_step_schedule(1, 0.5, 0));
    expect_error(n.tape, AG_ERR_VALUE, "sgd: a schedule has no steps");
    nn_optimiser_set_rate(o, 0.5); /* ends the schedule */
    check_number("the rate", nn_optimiser_rate(o), 0.5);
    nn_optimiser_free(o);
    net_free(n);
}

static void clipping_is_by_the_common_norm(void **state) {
    (void)state;
    for (int type = AG_F64; type <= AG_F32; type++) {
        net n = net_new((ag_type)type);
        ag_var w = nn_parameter_at(n.model, 0), b = nn_parameter_at(n.model, 1);
        ag_mark mark = ag_tape_mark(n.tape);
        double g[9];
        ag_backward(ag_add(ag_mul(ag_at(w, 4), 3), ag_mul(ag_at(b, 1), -4)));
        check_number("norm", nn_clip_norm(n.model, INFINITY), 5);
        check_number("norm", nn_clip_norm(n.model, 6), 5);
        ag_read_grad(w, g);
        assert_true(g[4] == 3);
        check_number("norm", nn_clip_norm(n.model, 2.5), 5);
        ag_read_grad(w, g);
        assert_true(fabs(g[4] - 1.5) < 1e-6 && g[3] == 0);
        check_number("greatest", nn_clip_value(n.model, 10),
                     (double)(type == AG_F64 ? 4 * (2.5 / (5 + 1e-6)) : ag_grad(ag_at(b, 1)) * -1));
        nn_clip_value(n.model, 1);
        check_grads("clipped", b, (const double[]){0, -1});
        ag_tape_rewind(n.tape, mark);

        double large = type == AG_F64 ? 1e300 : 1e38, small = type == AG_F64 ? 1e-300 : 1e-37;
        ag_backward(ag_add(ag_mul(ag_at(w, 4), 3 * large / 10), ag_mul(ag_at(b, 1), 4 * large / 10)));
        double norm = nn_clip_norm(n.model, INFINITY);
        assert_true(fabs(norm / (large / 2) - 1) < 1e-6); /* no overflow */
        ag_backward(ag_add(ag_mul(ag_at(w, 4), 3 * small), ag_mul(ag_at(b, 1), 4 * small)));
        norm = nn_clip_norm(n.model, INFINITY);
        assert_true(fabs(norm / (5 * small) - 1) < 1e-6); /* nor underflow */
        ag_backward(ag_num(1));                           /* nothing is reached */
        check_fine("norms", n.tape);
        net_free(n);
    }
}

static void an_optimiser_clips_by_the_scaled_norm(void **state) {
    net n = net_new(AG_F64);
    nn_optimiser *o = sgd(n.model);
    double before[NUMBERS], after[NUMBERS];
    (void)state;
    nn_optimiser_clip_norm(o, 1);
    nn_optimiser_scale(o, 0.5);
    net_read(n, before);
    assert_true(isnan(nn_optimiser_norm(o)));
    ag_backward(ag_mul(ag_at(nn_parameter_at(n.model, 0), 2), -8));
    nn_optimiser_step(o);
    net_read(n, after);
    check_number("norm", nn_optimiser_norm(o), 4);
    if (fabs(after[2] - (before[2] + 0.1)) > 1e-6) fail_msg("from %g to %g", before[2], after[2]);
    ag_backward(ag_mul(ag_at(nn_parameter_at(n.model, 0), 2), 0.5));
    nn_optimiser_step(o);
    check_number("norm", nn_optimiser_norm(o), 0.25);
    nn_optimiser_clip_norm(o, 0);
    assert_true(isnan(nn_optimiser_norm(o)));
    nn_optimiser_free(o);
    net_free(n);
}

/* Sweeps that add, and one step: as one sweep over all. */
static void accumulated_gradients_are_those_of_the_large_batch(void **state) {
    (void)state;
    for (int type = AG_F64; type <= AG_F32; type++) {
        double got[2][NUMBERS];
        for (int parts = 0; parts < 2; parts++) {
            net n = net_new((ag_type)type);
            nn_optimiser *o = adam_l2(n.model);
            for (int step = 0; step < 3; step++) {
                for (int part = 0; part < 3 && parts; part++) {
                    net_sweep_scaled(n, 1 + part, 1, part == 0 ? AG_RESET : AG_ACCUMULATE);
                    ag_tape_rewind(n.tape, n.mark);
                }
                if (!parts) {
                    ag_var y[3], one[3];
                    for (int part = 0; part < 3; part++) {
                        ag_var w = nn_parameter_at(n.model, 0), b = nn_parameter_at(n.model, 1);
                        torch_row gw = torch_find(DATA, "gradient", "fc.weight", AG_F64, 1 + part),
                                  gb = torch_find(DATA, "gradient", "fc.bias", AG_F64, 1 + part);
                        y[part] = ag_add(ag_sum(ag_mul(w, ag_constant_tensor(n.tape, gw.x, AG_SHAPE(3, 3)))),
                                         ag_sum(ag_mul(b, ag_constant_tensor(n.tape, gb.x, AG_SHAPE(2)))));
                        one[part] = ag_num(1.0 / 3);
                    }
                    ag_sweep(y, one, 3, AG_RESET);
                }
                nn_optimiser_scale(o, parts ? 1.0 / 3 : 1);
                nn_optimiser_step(o);
                ag_tape_rewind(n.tape, n.mark);
            }
            check_fine("parts", n.tape);
            net_read(n, got[parts]);
            nn_optimiser_free(o);
            net_free(n);
        }
        check_numbers("parts", "weight", got[1], got[0], NUMBERS, type == AG_F64 ? 1e-12 : 1e-6);
    }
}

/* Gradients that lie elsewhere; one is missing. */
static void gradients_may_lie_elsewhere(void **state) {
    (void)state;
    for (int type = AG_F64; type <= AG_F32; type++) {
        double got[2][NUMBERS], g[NUMBERS];
        float g32[NUMBERS];
        for (int way = 0; way < 2; way++) {
            net n = net_new((ag_type)type);
            nn_optimiser *o = adam_l2(n.model);
            for (int step = 1; step <= UNREACHED_STEP; step++) {
                net_sweep(n, step);
                ag_read_grad(nn_parameter_at(n.model, 0), g);
                ag_read_grad(nn_parameter_at(n.model, 1), g + 9);
                for (int i = 0; i < NUMBERS; i++) g32[i] = (float)g[i];
                void *elsewhere[2] = {type == AG_F64 ? (void *)g : g32, type == AG_F64 ? (void *)(g + 9) : g32 + 9};
                if (step == UNREACHED_STEP) elsewhere[1] = NULL;
                if (way == 1) ag_backward(ag_sum(nn_parameter_at(n.model, 0))); /* others are on the tape */
                if (way == 1) nn_optimiser_step_from(o, elsewhere);
                else nn_optimiser_step(o);
                ag_tape_rewind(n.tape, n.mark);
            }
            assert_true(ag_value(nn_model_clock(n.model)) == UNREACHED_STEP); /* every step commits */
            check_fine("elsewhere", n.tape);
            net_read(n, got[way]);
            nn_optimiser_step_from(o, NULL);
            expect_error(n.tape, AG_ERR_VALUE, "adam: no gradients");
            nn_optimiser_step_from(NULL, NULL);
            nn_optimiser_free(o);
            net_free(n);
        }
        assert_memory_equal(got[0], got[1], sizeof got[0]);
    }
}

/* ---- averaged weights ------------------------------------------------------------------------------------------ */

static void averages_are_pytorchs(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        net n = net_new((ag_type)(i % 2));
        nn_average *a = nn_average_new(n.model, i < 2 ? 0 : 0.8);
        ag_var w = nn_parameter_at(n.model, 0);
        nn_average_swap(a);
        expect_error(n.tape, AG_ERR_VALUE, "average: there was no update");
        for (int step = 1; step <= STEPS; step++) {
            ag_set(w, torch_find(DATA, "gradient", "fc.weight", AG_F64, step).x);
            nn_average_update(a);
        }
        double got[9], last[9], was[9];
        torch_row row = torch_find(DATA, "average", i < 2 ? "swa" : "ema", (ag_type)(i % 2), STEPS);
        ag_read(w, was);
        nn_average_swap(a);
        ag_read(w, got);
        torch_compare(&row, got);
        nn_average_update(a);
        expect_error(n.tape, AG_ERR_VALUE, "swap them back first");
        nn_average_swap(a);
        ag_read(w, last);
        assert_memory_equal(was, last, sizeof was);
        nn_state s;
        assert_true(nn_average_state(a, 1, &s));
        assert_string_equal(s.name, "fc.bias.average");
        assert_true(nn_average_state(a, 2, &s));
        assert_string_equal(s.name, "averages");
        assert_true(((double *)s.data)[0] == STEPS);
        assert_false(nn_average_state(a, 3, &s) || nn_average_state(a, -1, &s));
        check_fine("averages", n.tape);
        nn_average_free(a);
        assert_null(nn_average_new(n.model, 1));
        expect_error(n.tape, AG_ERR_VALUE, "average: the decay is 1; it must be at least 0 and below 1");
        net_free(n);
    }
}

/* ---- several threads ------------------------------------------------------------------------------------------- */

/* A hash of what some steps of a large model give, its norm included. */
static uint64_t large_hash(void) {
    enum { ROWS = 700, COLUMNS = 901 };
    uint64_t hash = 0;
    for (int type = AG_F64; type <= AG_F32; type++) {
        ag_tape *t = ag_tape_new((ag_type)type);
        nn_model *model = nn_model_new(t, 1);
        ag_var x[3] = {nn_parameter(model, "a", AG_SHAPE(ROWS, COLUMNS), NN_HE_NORMAL),
                       nn_parameter(model, "b", AG_SHAPE(COLUMNS), NN_ONES),
                       nn_parameter(model, "c", AG_SHAPE(COLUMNS, 100), NN_HE_UNIFORM)};
        nn_optimiser *o = nn_adamw(model, (nn_adam_options){.rate = 0.01});
        nn_optimiser_clip_norm(o, 3);
        ag_mark mark = ag_tape_mark(t);
        for (int step = 0; step < 3; step++) {
            ag_backward(ag_add(ag_sum(ag_square(ag_sub(x[0], x[1]))), ag_sum(ag_square(x[2]))));
            nn_optimiser_step(o);
            ag_tape_rewind(t, mark);
        }
        double norm = nn_optimiser_norm(o);
        hash = hash_bytes(hash, &norm, sizeof norm);
        for (int k = 0; k < 3; k++)
            hash = hash_bytes(hash, ag_data(x[k]), (size_t)ag_count(x[k]) * (type == AG_F64 ? 8 : 4));
        check_fine("a large model", t);
        nn_optimiser_free(o);
        nn_model_free(model);
        ag_tape_free(t);
    }
    return hash;
}

static void threads_do_not_change_a_bit(void **state) {
    (void)state;
    same_for_threads(3);
}

int main(int argc, char **argv) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(steps_are_pytorchs),
        cmocka_unit_test(decoupled_decay_shrinks),
        cmocka_unit_test(state_is_all_that_there_is),
        cmocka_unit_test(state_has_pytorchs_names),
        cmocka_unit_test(patterns_choose_parameters),
        cmocka_unit_test(rates_can_be_set),
        cmocka_unit_test(clipping_is_by_the_common_norm),
        cmocka_unit_test(an_optimiser_clips_by_the_scaled_norm),
        cmocka_unit_test(accumulated_gradients_are_those_of_the_large_batch),
        cmocka_unit_test(gradients_may_lie_elsewhere),
        cmocka_unit_test(averages_are_pytorchs),
        cmocka_unit_test(threads_do_not_change_a_bit),
    };
    if (argc > 1 && strcmp(argv[1], "bits") == 0) {
        print_hash(large_hash());
        return 0;
    }
    snprintf(program_path, sizeof program_path, "%s", argv[0]);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
