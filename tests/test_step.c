/* Steps: traced as eagerly, in both precisions; added gradients; buffers and the clock; what goes wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <string.h>

#include "nn/nn.h"

static bool has_grad(ag_var x) { return ag_numbers_of(x).grad != NULL; }

enum { SAMPLES = 5, INPUTS = 3, HIDDEN = 4, CLASSES = 2 };

/* A net with a buffer: the running mean of the hidden layer. */
typedef struct net {
    ag_tape *tape;
    nn_model *model;
    nn_dense hidden, output, unused;
    ag_var mean;
    int recorded;
} net;

static void open_net(net *n, ag_type type) {
    n->tape = ag_tape_new(type);
    n->model = nn_model_new(n->tape, 1);
    n->hidden = nn_dense_init(n->model, "hidden", INPUTS, HIDDEN, (nn_dense_options){0});
    n->output = nn_dense_init(n->model, "output", HIDDEN, CLASSES, (nn_dense_options){0});
    n->unused = nn_dense_init(n->model, "unused", 2, 2, (nn_dense_options){0});
    n->mean = nn_buffer(n->model, "mean", AG_SHAPE(HIDDEN), NN_ZEROS);
    n->recorded = 0;
}

static void close_net(net *n) {
    nn_model_free(n->model);
    ag_tape_free(n->tape);
}

static void forward(void *context, const ag_var *batch, ag_var *out) {
    net *n = context;
    ag_var h = ag_tanh(nn_dense_apply(n->hidden, batch[0]));
    if (nn_model_training(n->model)) {
        ag_var mean = ag_mean_over(h, AG_AXES(0), false);
        nn_model_update(n->model, n->mean, ag_add(ag_mul(0.9, n->mean), ag_mul(0.1, ag_detach(mean))));
        h = ag_mul(h, ag_add(1, ag_mul(0.1, nn_model_clock(n->model))));
    } else {
        h = ag_sub(h, n->mean);
    }
    out[1] = nn_dense_apply(n->output, h);
    out[0] = ag_mean(ag_square(ag_sub(out[1], batch[1])));
    n->recorded++;
}

static nn_array numbers(nn_type type, ag_shape shape, int seed) {
    nn_error e = {0};
    nn_array a = nn_array_new(type, shape, &e);
    for (int64_t i = 0; i < nn_array_count(&a); i++) {
        double x = sin(1.7 * (double)(i + 1) + seed);
        if (type == NN_F64) ((double *)a.data)[i] = x;
        else if (type == NN_F32) ((float *)a.data)[i] = (float)x;
        else ((int32_t *)a.data)[i] = (int32_t)(i % 3);
    }
    assert_int_equal(e.status, AG_OK);
    return a;
}

typedef struct samples {
    nn_array fields[2];
} samples;

static samples batch_of(int64_t count, int seed) {
    return (samples){{numbers(NN_F32, AG_SHAPE(count, INPUTS), seed), numbers(NN_I32, AG_SHAPE(count, CLASSES), seed)}};
}
static void free_batch(samples *b) {
    nn_array_free(&b->fields[0]);
    nn_array_free(&b->fields[1]);
}

static void expect_ok(const net *n) {
    if (ag_tape_status(n->tape) != AG_OK) fail_msg("%s", ag_tape_message(n->tape));
}

static void expect_near(const char *what, double got, double want, ag_type type) {
    if (!(fabs(got - want) <= (type == AG_F64 ? 1e-13 : 1e-6) * fmax(1, fabs(want))))
        fail_msg("%s is %.17g, should be %.17g", what, got, want);
}

static void expect_same(net *a, net *b, ag_type type, bool gradients) {
    expect_ok(a);
    expect_ok(b);
    for (int i = 0; i < nn_parameter_count(a->model); i++) {
        ag_var p = nn_parameter_at(a->model, i), q = nn_parameter_at(b->model, i);
        double x[64], y[64];
        assert_int_equal(has_grad(p), has_grad(q));
        assert_int_equal(has_grad(p), strncmp(nn_parameter_name(a->model, i), "unused", 6) != 0);
        ag_read_grad(p, x);
        ag_read_grad(q, y);
        for (int64_t k = 0; gradients && k < ag_count(p); k++)
            expect_near(nn_parameter_name(a->model, i), x[k], y[k], type);
    }
    double x[HIDDEN], y[HIDDEN];
    ag_read(a->mean, x);
    ag_read(b->mean, y);
    for (int k = 0; k < HIDDEN; k++) expect_near("the mean", x[k], y[k], type);
}

static void traced_as_eager(void **state) {
    (void)state;
    for (int k = 0; k < 2; k++) {
        ag_type type = k == 0 ? AG_F64 : AG_F32;
        net a, b;
        open_net(&a, type);
        open_net(&b, type);
        nn_step *eager = nn_step_new(a.model, forward, &a, (nn_step_options){.outputs = 2});
        nn_step *traced = nn_step_new(b.model, forward, &b, (nn_step_options){.outputs = 2, .traced = true});
        for (int i = 0; i < 12; i++) {
            samples x = batch_of(i % 4 == 3 ? 2 : SAMPLES, i);
            nn_wanted wanted = i % 3 == 2 ? NN_MORE_GRADIENTS : NN_GRADIENTS;
            double u = nn_step_run(eager, x.fields, 2, wanted), v = nn_step_run(traced, x.fields, 2, wanted);
            expect_near("the loss", v, u, type);
            expect_same(&b, &a, type, true);
            const nn_array *p = nn_step_output(eager, 1), *q = nn_step_output(traced, 1);
            assert_int_equal(nn_array_count(p), x.fields[0].shape.dim[0] * CLASSES);
            assert_int_equal(nn_array_count(q), nn_array_count(p));
            for (int64_t j = 0; j < nn_array_count(p); j++)
                expect_near("an output", nn_array_at(q, j), nn_array_at(p, j), type);
            nn_sgd_step(a.model, 0.1);
            nn_sgd_step(b.model, 0.1);
            nn_model_commit(a.model);
            nn_model_commit(b.model);
            nn_model_train(a.model, false);
            nn_model_train(b.model, false);
            u = nn_step_run(eager, x.fields, 2, NN_VALUES);
            v = nn_step_run(traced, x.fields, 2, NN_VALUES);
            expect_near("the loss of validation", v, u, type);
            expect_same(&b, &a, type, false);
            nn_model_train(a.model, true);
            nn_model_train(b.model, true);
            free_batch(&x);
        }
        assert_int_equal(a.recorded, 24);
        assert_int_equal(b.recorded, 4); /* two shapes, training or not */
        assert_true(ag_value(nn_model_clock(b.model)) >= 12);
        nn_step_free(eager);
        nn_step_free(traced);
        close_net(&a);
        close_net(&b);
    }
}

/* Gradients of two batches added are those of both together. */
static void gradients_add_up(void **state) {
    (void)state;
    for (int traced = 0; traced < 2; traced++) {
        net a;
        open_net(&a, AG_F64);
        nn_model_train(a.model, false); /* no clock in the loss */
        nn_step *step = nn_step_new(a.model, forward, &a, (nn_step_options){.traced = traced});
        samples both = batch_of(4, 0), part[2];
        double want[HIDDEN * INPUTS], got[HIDDEN * INPUTS];
        for (int k = 0; k < 2; k++) {
            part[k] = batch_of(2, 0);
            memcpy(part[k].fields[0].data, (float *)both.fields[0].data + k * 2 * INPUTS, 2 * INPUTS * sizeof(float));
            memcpy(part[k].fields[1].data, (int32_t *)both.fields[1].data + k * 2 * CLASSES,
                   2 * CLASSES * sizeof(int32_t));
        }
        double whole = nn_step_run(step, both.fields, 2, NN_GRADIENTS), sum;
        ag_read_grad(a.hidden.weight, want);
        sum = nn_step_run(step, part[0].fields, 2, NN_GRADIENTS);
        sum += nn_step_run(step, part[1].fields, 2, NN_MORE_GRADIENTS);
        ag_read_grad(a.hidden.weight, got);
        expect_ok(&a);
        expect_near("the loss", sum / 2, whole, AG_F64);
        for (int i = 0; i < HIDDEN * INPUTS; i++) expect_near("a gradient", got[i] / 2, want[i], AG_F64);
        free_batch(&both);
        free_batch(&part[0]);
        free_batch(&part[1]);
        nn_step_free(step);
        close_net(&a);
    }
}

static void expect_mean(const net *n, const double *want) {
    double got[HIDDEN];
    ag_read(n->mean, got);
    assert_memory_equal(got, want, sizeof got);
}

/* Buffers get their next values at the commit, of several batches what they come to one after the other. */
static void buffers_wait_for_the_commit(void **state) {
    (void)state;
    for (int traced = 0; traced < 2; traced++) {
        net a, b;
        open_net(&a, AG_F64);
        open_net(&b, AG_F64);
        nn_step *together = nn_step_new(a.model, forward, &a, (nn_step_options){.traced = traced});
        nn_step *apart = nn_step_new(b.model, forward, &b, (nn_step_options){.traced = traced});
        double before[HIDDEN] = {0}, after[HIDDEN];
        for (int round = 0; round < 3; round++) {
            for (int k = 0; k < 3; k++) {
                samples x = batch_of(SAMPLES, 3 * round + k);
                (void)nn_step_run(together, x.fields, 2, k == 0 ? NN_GRADIENTS : NN_MORE_GRADIENTS);
                (void)nn_step_run(together, x.fields, 2, NN_VALUES);
                expect_mean(&a, before);
                (void)nn_step_run(apart, x.fields, 2, NN_GRADIENTS);
                nn_model_commit(b.model);
                free_batch(&x);
            }
            nn_model_commit(a.model);
            ag_read(b.mean, after);
            expect_mean(&a, after);
            assert_true(memcmp(before, after, sizeof before) != 0);
            assert_true(ag_value(nn_model_clock(a.model)) == ag_value(nn_model_clock(b.model)));
            memcpy(before, after, sizeof before);
        }
        samples x = batch_of(SAMPLES, 0);
        (void)nn_step_run(together, x.fields, 2, NN_GRADIENTS);
        nn_model_discard(a.model); /* a step that is given up */
        nn_model_commit(a.model);
        expect_mean(&a, before);
        ((float *)x.fields[0].data)[0] = NAN;
        (void)nn_step_run(together, x.fields, 2, NN_GRADIENTS);
        ((float *)x.fields[0].data)[0] = 1;
        (void)nn_step_run(together, x.fields, 2, NN_GRADIENTS); /* in its place */
        nn_model_commit(a.model);
        ag_read(a.mean, after);
        for (int k = 0; k < HIDDEN; k++) assert_true(isfinite(after[k]));
        expect_ok(&a);
        free_batch(&x);
        nn_step_free(together);
        nn_step_free(apart);
        close_net(&a);
        close_net(&b);
    }
}

static void expect_clock(const net *n, double want) { assert_true(ag_value(nn_model_clock(n->model)) == want); }

/* A group of batches that fails, or is given up, leaves the clock as it was; one that is committed has had a clock each. */
static void a_group_has_its_clocks_at_the_commit(void **state) {
    (void)state;
    for (int traced = 0; traced < 2; traced++) {
        net a;
        open_net(&a, AG_F32);
        nn_step *step = nn_step_new(a.model, forward, &a, (nn_step_options){.traced = traced});
        samples x = batch_of(SAMPLES, 0), bad = batch_of(SAMPLES, 1);
        ((int32_t *)bad.fields[1].data)[3] = (1 << 24) + 1;
        double first = nn_step_run(step, x.fields, 2, NN_GRADIENTS);
        double second = nn_step_run(step, x.fields, 2, NN_MORE_GRADIENTS);
        assert_true(first != second);
        expect_clock(&a, 0);
        for (int given_up = 0; given_up < 2; given_up++) {
            assert_true(nn_step_run(step, x.fields, 2, NN_GRADIENTS) == first);
            assert_true(nn_step_run(step, x.fields, 2, NN_MORE_GRADIENTS) == second);
            if (given_up) {
                nn_model_discard(a.model);
            } else {
                assert_true(isnan(nn_step_run(step, bad.fields, 2, NN_MORE_GRADIENTS)));
                ag_tape_recover(a.tape);
            }
            expect_clock(&a, 0);
        }
        (void)nn_step_run(step, x.fields, 2, NN_GRADIENTS);
        for (int i = 0; i < 2; i++) (void)nn_step_run(step, x.fields, 2, NN_MORE_GRADIENTS);
        nn_model_commit(a.model);
        expect_clock(&a, 3);
        ag_set(nn_model_clock(a.model), &(double){0x1p24 - 2});
        (void)nn_step_run(step, x.fields, 2, NN_GRADIENTS);
        for (int i = 0; i < 2; i++) (void)nn_step_run(step, x.fields, 2, NN_MORE_GRADIENTS);
        expect_clock(&a, 0x1p24 - 2);
        nn_model_commit(a.model);
        expect_clock(&a, 1); /* it began again */
        expect_ok(&a);
        free_batch(&x);
        free_batch(&bad);
        nn_step_free(step);
        close_net(&a);
    }
}

/* Batches of many lengths: the least recently used programs go, and are recorded anew when they are wanted. */
static void few_programs_are_kept(void **state) {
    (void)state;
    for (int kept = 0; kept < 4; kept += 3) { /* 0: 8 */
        int most = kept == 0 ? 8 : kept;
        net n;
        open_net(&n, AG_F64);
        nn_step *step = nn_step_new(n.model, forward, &n, (nn_step_options){.traced = true, .programs = kept});
        double losses[12];
        for (int i = 0; i < 12; i++) {
            samples x = batch_of(1 + i, i);
            losses[i] = nn_step_run(step, x.fields, 2, NN_GRADIENTS);
            assert_int_equal(n.recorded, i + 1);
            free_batch(&x);
        }
        for (int i = 12 - most; i < 12; i++) { /* those are there */
            samples x = batch_of(1 + i, i);
            assert_true(nn_step_run(step, x.fields, 2, NN_GRADIENTS) == losses[i]);
            free_batch(&x);
        }
        assert_int_equal(n.recorded, 12);
        for (int i = 0; i < 2; i++) { /* in the place of the oldest */
            samples x = batch_of(12 - most + i, 11 - most + i), old = batch_of(13 - most, 12 - most);
            (void)nn_step_run(step, old.fields, 2, NN_GRADIENTS); /* which this is not any more */
            assert_true(nn_step_run(step, x.fields, 2, NN_GRADIENTS) == losses[11 - most + i]);
            assert_int_equal(n.recorded, 13);
            free_batch(&x);
            free_batch(&old);
        }
        expect_ok(&n);
        nn_step_free(step);
        close_net(&n);
    }
}

static void sum_of_all(void *context, const ag_var *batch, ag_var *out) {
    nn_model *model = context;
    out[0] = ag_sum(batch[0]);
    for (int i = 0; i < nn_parameter_count(model); i++)
        out[0] = ag_add(out[0], ag_sum(ag_square(nn_parameter_at(model, i))));
    for (int i = 0; i < nn_buffer_count(model); i++)
        nn_model_update(model, nn_buffer_at(model, i), ag_add(1, nn_buffer_at(model, i)));
}

/* What was recorded before the model grew is recorded anew. */
static void a_model_grows(void **state) {
    (void)state;
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    (void)nn_parameter(model, "first", AG_SHAPE(2), NN_ONES);
    nn_step *step = nn_step_new(model, sum_of_all, model, (nn_step_options){.traced = true});
    double number = 3;
    nn_array x = {NN_F64, AG_SHAPE(1), &number};
    for (int i = 0; i < 40; i++) {
        char name[16];
        (void)nn_step_run(step, &x, 1, NN_GRADIENTS);
        assert_true(nn_step_run(step, &x, 1, NN_MORE_GRADIENTS) == 5 + 10 * (i / 2));
        nn_model_commit(model);
        snprintf(name, sizeof name, "more%d", i);
        if (i % 2) {
            ag_var p = nn_parameter(model, name, AG_SHAPE(10), NN_ONES);
            (void)nn_step_run(step, &x, 1, NN_GRADIENTS);
            assert_true(nn_step_run(step, &x, 1, NN_MORE_GRADIENTS) == 15 + 10 * (i / 2));
            assert_true(((double *)ag_grad_data(p))[9] == 4);
        } else {
            ag_var b = nn_buffer(model, name, AG_SHAPE(50), NN_ZEROS);
            (void)nn_step_run(step, &x, 1, NN_GRADIENTS);
            nn_model_commit(model);
            assert_true(((double *)ag_data(b))[49] == 1);
        }
        if (ag_tape_status(t) != AG_OK) fail_msg("%s", ag_tape_message(t));
    }
    nn_step_free(step);
    nn_model_free(model);
    ag_tape_free(t);
}

/* Parameters that the loss depends on, and one that it does by 0 alone; the others are to stay. */
static void one_of_two_scalars(void *context, const ag_var *batch, ag_var *out) {
    nn_model *model = context;
    bool first = ag_shape_of(batch[0]).dim[0] == 1;
    ag_var by_none = ag_mul(nn_parameter_at(model, 2), ag_sub(ag_sum(batch[0]), ag_sum(batch[0])));
    out[0] = ag_add(ag_square(nn_parameter_at(model, first ? 0 : 1)), by_none);
}

static void scalars_that_are_not_reached_stay(void **state) {
    (void)state;
    double results[2][3];
    for (int traced = 0; traced < 2; traced++) {
        ag_tape *t = ag_tape_new(AG_F64);
        nn_model *model = nn_model_new(t, 1);
        for (int i = 0; i < 3; i++) (void)nn_parameter(model, (char[]){(char)('a' + i), 0}, (ag_shape){0}, NN_ONES);
        nn_step *step = nn_step_new(model, one_of_two_scalars, model, (nn_step_options){.traced = traced});
        nn_optimiser *adam = nn_adamw(model, (nn_adam_options){.rate = 0.1, .decay = 0.5});
        double numbers[2] = {3, 4}, before[3], *after = results[traced];
        for (int i = 0; i < 8; i++) {
            nn_array x = {NN_F64, AG_SHAPE(1 + i / 2 % 2), numbers};
            for (int k = 0; k < 3; k++) before[k] = ag_value(nn_parameter_at(model, k));
            (void)nn_step_run(step, &x, 1, NN_GRADIENTS);
            if (i == 6) { /* and the other one */
                x.shape = AG_SHAPE(1);
                (void)nn_step_run(step, &x, 1, NN_MORE_GRADIENTS);
            }
            nn_optimiser_step(adam);
            for (int k = 0; k < 3; k++) {
                after[k] = ag_value(nn_parameter_at(model, k));
                bool stays = i != 6 && k < 2 && k != i / 2 % 2;
                if ((after[k] == before[k]) != stays) fail_msg("traced %d, step %d, parameter %d", traced, i, k);
            }
        }
        if (ag_tape_status(t) != AG_OK) fail_msg("%s", ag_tape_message(t));
        nn_optimiser_free(adam);
        nn_step_free(step);
        nn_model_free(model);
        ag_tape_free(t);
    }
    assert_memory_equal(results[0], results[1], sizeof results[0]);
}

/* Linear in the last layer's bias and in a scalar, whose derivatives are numbers that no input is needed for: as in a critic. */
static void critic(void *context, const ag_var *batch, ag_var *out) {
    net *n = context;
    ag_var y = nn_dense_apply(n->output, ag_tanh(nn_dense_apply(n->hidden, batch[0])));
    out[0] = ag_add(ag_mean(y), ag_mul(3, nn_parameter_find(n->model, "scalar")));
}

static void constant_gradients_count(void **state) {
    (void)state;
    for (int type = 0; type < 2; type++) {
        double biases[2][CLASSES], scalars[2];
        for (int traced = 0; traced < 2; traced++) {
            net a;
            open_net(&a, (ag_type)type);
            ag_var scalar = nn_parameter(a.model, "scalar", (ag_shape){0}, NN_ONES);
            samples x = batch_of(SAMPLES, 0);
            nn_step *step = nn_step_new(a.model, critic, &a, (nn_step_options){.traced = traced});
            nn_optimiser *adam = nn_adamw(a.model, (nn_adam_options){.rate = 0.1, .decay = 0.5});
            for (int i = 0; i < 3; i++) {
                assert_true(isfinite(nn_step_run(step, x.fields, 1, NN_GRADIENTS)));
                if (i == 1) (void)nn_step_run(step, x.fields, 1, NN_MORE_GRADIENTS);
                assert_true(has_grad(a.output.bias) && !has_grad(a.unused.bias));
                assert_true(ag_grad(scalar) == (i == 1 ? 6 : 3));
                nn_optimiser_step(adam);
            }
            ag_read(a.output.bias, biases[traced]);
            scalars[traced] = ag_value(scalar);
            expect_ok(&a);
            nn_optimiser_free(adam);
            nn_step_free(step);
            free_batch(&x);
            close_net(&a);
        }
        assert_memory_equal(biases[0], biases[1], sizeof biases[0]);
        assert_true(scalars[0] == scalars[1] && scalars[0] < 0.9);
    }
}

/* A batch of one number is the parameter's, any other depends on no parameter. */
static void one_or_none(void *context, const ag_var *batch, ag_var *out) {
    nn_model *model = context;
    bool one = ag_shape_of(batch[0]).dim[0] == 1;
    out[0] = one ? ag_square(nn_parameter_at(model, 0)) : ag_sum(batch[0]);
}

/* A loss that reaches no parameter leaves no gradient of the batch before; added to that, it changes nothing. */
static void no_gradients_are_left(void **state) {
    (void)state;
    for (int traced = 0; traced < 2; traced++) {
        ag_tape *t = ag_tape_new(AG_F64);
        nn_model *model = nn_model_new(t, 1);
        ag_var p = nn_parameter(model, "p", (ag_shape){0}, NN_ONES);
        nn_step *step = nn_step_new(model, one_or_none, model, (nn_step_options){.traced = traced});
        double x[2] = {3, 4};
        nn_array one = {NN_F64, AG_SHAPE(1), x}, two = {NN_F64, AG_SHAPE(2), x};
        for (int i = 0; i < 3; i++) {
            (void)nn_step_run(step, &one, 1, NN_GRADIENTS);
            assert_true(nn_step_run(step, &two, 1, NN_MORE_GRADIENTS) == 7);
            assert_true(has_grad(p) && ag_grad(p) == 2);
            assert_true(nn_step_run(step, &two, 1, NN_GRADIENTS) == 7);
            assert_false(has_grad(p));
            assert_true(ag_grad(p) == 0);
        }
        if (ag_tape_status(t) != AG_OK) fail_msg("%s", ag_tape_message(t));
        nn_step_free(step);
        nn_model_free(model);
        ag_tape_free(t);
    }
}

typedef struct dropping {
    nn_model *model;
    nn_dropout dropout;
} dropping;

static void drop_twice(void *context, const ag_var *batch, ag_var *out) {
    const dropping *d = context;
    ag_var ones = ag_add(ag_mul(0, batch[0]), nn_parameter_at(d->model, 0));
    out[1] = nn_dropout_apply(d->dropout, ones);
    out[2] = nn_dropout_apply(d->dropout, ones);
    out[0] = ag_sum(ag_mul(out[1], out[2]));
}

/* A layer that is applied twice drops other numbers each time, eagerly what it does traced, whatever was applied before. */
static void each_application_drops_others(void **state) {
    (void)state;
    enum { RUNS = 6, N = 50 };
    float dropped[2][RUNS][2][N], numbers[N] = {0};
    for (int traced = 0; traced < 2; traced++) {
        ag_tape *t = ag_tape_new(AG_F32);
        nn_model *model = nn_model_new(t, 1);
        (void)nn_parameter(model, "p", (ag_shape){0}, NN_ONES);
        dropping d = {model, nn_dropout_init(model, "drop", 0.5)};
        nn_step *step = nn_step_new(model, drop_twice, &d, (nn_step_options){.outputs = 3, .traced = traced});
        nn_array x = {NN_F32, AG_SHAPE(N), numbers};
        ag_mark mark = ag_tape_mark(t);
        for (int run = 0; run < RUNS; run++) {
            if (traced == run % 2) { /* one's own forward pass between steps changes nothing */
                (void)nn_dropout_apply(d.dropout, ag_ones(t, AG_SHAPE(3)));
                ag_tape_rewind(t, mark);
            }
            (void)nn_step_run(step, &x, 1, run % 3 == 1 ? NN_MORE_GRADIENTS : NN_GRADIENTS);
            for (int k = 0; k < 2; k++)
                memcpy(dropped[traced][run][k], nn_step_output(step, 1 + k)->data, sizeof numbers);
            assert_memory_not_equal(dropped[traced][run][0], dropped[traced][run][1], sizeof numbers);
            if (run % 3 != 0) nn_model_commit(model);
        }
        for (int k = 0; k < 2; k++)
            assert_memory_not_equal(dropped[traced][0][k], dropped[traced][1][k], sizeof numbers);
        if (ag_tape_status(t) != AG_OK) fail_msg("%s", ag_tape_message(t));
        nn_step_free(step);
        nn_model_free(model);
        ag_tape_free(t);
    }
    assert_memory_equal(dropped[0], dropped[1], sizeof dropped[0]);
}

/* Two models on a tape take turns. */
static void two_models(void **state) {
    (void)state;
    for (int traced = 0; traced < 2; traced++) {
        net a, b;
        open_net(&a, AG_F64);
        b.tape = a.tape;
        b.model = nn_model_new(b.tape, 2);
        b.hidden = nn_dense_init(b.model, "hidden", INPUTS, HIDDEN, (nn_dense_options){0});
        b.output = nn_dense_init(b.model, "output", HIDDEN, CLASSES, (nn_dense_options){0});
        b.mean = nn_buffer(b.model, "mean", AG_SHAPE(HIDDEN), NN_ZEROS);
        nn_step *first = nn_step_new(a.model, forward, &a, (nn_step_options){.traced = traced});
        nn_step *second = nn_step_new(b.model, forward, &b, (nn_step_options){.traced = traced});
        samples x = batch_of(SAMPLES, 0);
        double before[2] = {0}, after[2] = {0};
        for (int i = 0; i < 30; i++) {
            after[0] = nn_step_run(first, x.fields, 2, NN_GRADIENTS);
            assert_true(has_grad(a.hidden.weight) && !has_grad(b.hidden.weight));
            nn_sgd_step(a.model, 0.1);
            after[1] = nn_step_run(second, x.fields, 2, NN_GRADIENTS);
            assert_true(has_grad(b.hidden.weight) && !has_grad(a.hidden.weight));
            nn_sgd_step(b.model, 0.1);
            if (i == 0) memcpy(before, after, sizeof before);
        }
        expect_ok(&a);
        assert_true(after[0] < 0.8 * before[0] && after[1] < 0.8 * before[1]);
        nn_step_free(first);
        nn_step_free(second);
        nn_model_free(b.model);
        free_batch(&x);
        close_net(&a);
    }
}

/* ---- what goes wrong ------------------------------------------------------------------------------------------- */

static void expect_error(net *n, ag_status status, const char *message) {
    assert_int_equal(ag_tape_status(n->tape), status);
    if (strstr(ag_tape_message(n->tape), message) == NULL) fail_msg("%s", ag_tape_message(n->tape));
    ag_tape_recover(n->tape);
}

static void no_scalar(void *context, const ag_var *batch, ag_var *out) {
    (void)context;
    out[0] = batch[0];
}

static void a_number(void *context, const ag_var *batch, ag_var *out) {
    (void)context;
    (void)batch;
    out[0] = ag_num(3);
}

static void forgetful(void *context, const ag_var *batch, ag_var *out) {
    (void)context, (void)batch;
    out[0] = ag_num(1);
}

static void errors(void **state) {
    (void)state;
    for (int traced = 0; traced < 2; traced++) {
        net a;
        open_net(&a, AG_F32);
        nn_step_options options = {.traced = traced};
        assert_null(nn_step_new(NULL, forward, &a, options));
        assert_null(nn_step_new(a.model, NULL, &a, options));
        expect_error(&a, AG_ERR_VALUE, "step: no function");
        assert_null(nn_step_new(a.model, forward, &a, (nn_step_options){.outputs = 9}));
        expect_error(&a, AG_ERR_VALUE, "step: 9 outputs, not 1 to 8");
        assert_null(nn_step_new(a.model, forward, &a, (nn_step_options){.programs = -1}));
        expect_error(&a, AG_ERR_VALUE, "step: -1 programs are to be kept");
        nn_step *step = nn_step_new(a.model, no_scalar, &a, options);
        samples x = batch_of(SAMPLES, 0);
        assert_true(isnan(nn_step_run(step, x.fields, 2, NN_GRADIENTS)));
        expect_error(&a, AG_ERR_SHAPE, "step: the loss has 15 elements, rank 2; it must be a scalar");
        assert_true(isnan(nn_step_run(step, x.fields, 9, NN_GRADIENTS)));
        expect_error(&a, AG_ERR_VALUE, "step: 9 fields, not 0 to 8");
        assert_true(isnan(nn_step_run(step, &(nn_array){0}, 1, NN_VALUES)));
        expect_error(&a, AG_ERR_VALUE, "step: field 0 has no data");
        nn_step_free(step);
        step = nn_step_new(a.model, forgetful, &a, (nn_step_options){.traced = traced, .outputs = 2});
        assert_true(isnan(nn_step_run(step, x.fields, 2, NN_GRADIENTS)));
        expect_error(&a, AG_ERR_VALUE, "step: output 1 is the number nan: the function has not set it");
        nn_step_free(step);
        step = nn_step_new(a.model, a_number, &a, options);
        expect_near("a number", nn_step_run(step, NULL, 0, NN_GRADIENTS), 3, AG_F32);
        expect_ok(&a);
        nn_step_free(step);
        step = nn_step_new(a.model, forward, &a, (nn_step_options){.traced = traced, .outputs = 2});
        ((int32_t *)x.fields[1].data)[3] = (1 << 24) + 1;
        assert_true(isnan(nn_step_run(step, x.fields, 2, NN_GRADIENTS)));
        expect_error(&a, AG_ERR_VALUE, "step: element 3 of field 1, 16777217, does not fit the tape's type");
        samples narrow = {{numbers(NN_F32, AG_SHAPE(SAMPLES, 2), 0), numbers(NN_F32, AG_SHAPE(SAMPLES, 2), 0)}};
        assert_true(isnan(nn_step_run(step, narrow.fields, 2, NN_GRADIENTS)));
        expect_error(&a, AG_ERR_SHAPE, "dense: x has shape (5, 2)");
        ((int32_t *)x.fields[1].data)[3] = 0; /* and on as if nothing had been */
        assert_true(isfinite(nn_step_run(step, x.fields, 2, NN_GRADIENTS)));
        expect_ok(&a);
        assert_null(nn_step_output(step, 2)->data);
        free_batch(&narrow);
        free_batch(&x);
        nn_step_free(step);
        close_net(&a);
    }
}

static void all_fields(void *context, const ag_var *batch, ag_var *out) {
    out[0] = nn_parameter_at(context, 0);
    for (int k = 0; k < NN_MAX_FIELDS; k++) out[0] = ag_add(out[0], ag_mul(k + 1, batch[k]));
}

/* Fields that a batch does not have are NaN. */
static void fields_that_are_missing(void **state) {
    double two = 2;
    (void)state;
    for (int traced = 0; traced < 2; traced++) {
        ag_tape *t = ag_tape_new(AG_F64);
        nn_model *model = nn_model_new(t, 1);
        (void)nn_parameter(model, "p", (ag_shape){0}, NN_ONES);
        nn_step *step = nn_step_new(model, all_fields, model, (nn_step_options){.traced = traced});
        nn_array fields[NN_MAX_FIELDS];
        for (int k = 0; k < NN_MAX_FIELDS; k++) fields[k] = (nn_array){NN_F64, {0}, &two};
        assert_true(nn_step_run(step, fields, NN_MAX_FIELDS, NN_GRADIENTS) == 1 + NN_MAX_FIELDS * (NN_MAX_FIELDS + 1));
        for (int k = 0; k < NN_MAX_FIELDS; k++) assert_true(isnan(nn_step_run(step, fields, k, NN_GRADIENTS)));
        assert_int_equal(ag_tape_status(t), AG_OK);
        nn_step_free(step);
        nn_model_free(model);
        ag_tape_free(t);
    }
}

static void late(void *context, const ag_var *batch, ag_var *out) {
    (void)batch;
    out[0] = ag_add(ag_square(nn_parameter_at(context, 0)), nn_parameter(context, "late", (ag_shape){0}, NN_ONES));
}
static void late_buffer(void *context, const ag_var *batch, ag_var *out) {
    (void)batch, (void)nn_buffer(context, "late", (ag_shape){0}, NN_ONES);
    out[0] = ag_square(nn_parameter_at(context, 0));
}

/* What is made while a batch is recorded would go with it. */
static void models_are_complete_before_a_batch(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        ag_tape *t = ag_tape_new(AG_F64);
        nn_model *model = nn_model_new(t, 1);
        (void)nn_parameter(model, "p", (ag_shape){0}, NN_ONES);
        nn_step *step = nn_step_new(model, i / 2 ? late : late_buffer, model, (nn_step_options){.traced = i % 2});
        assert_true(isnan(nn_step_run(step, NULL, 0, NN_GRADIENTS)));
        assert_string_equal(ag_tape_message(t), "step: the model got parameters or buffers while a batch was recorded");
        nn_step_free(step);
        nn_model_free(model);
        ag_tape_free(t);
    }
}

static void hinge(void *context, const ag_var *batch, ag_var *out) {
    out[0] = nn_hinge(ag_mul(nn_parameter_at(context, 0), batch[0]), batch[1]);
}
static void cosine(void *context, const ag_var *batch, ag_var *out) {
    ag_var x = ag_unsqueeze(batch[0], 1);
    out[0] = nn_cosine_embedding(ag_mul(nn_parameter_at(context, 0), x), ag_add(x, 1), batch[1], 0);
}
static void contrastive(void *context, const ag_var *batch, ag_var *out) {
    ag_var x = ag_unsqueeze(batch[0], 1);
    out[0] = nn_contrastive(ag_mul(nn_parameter_at(context, 0), x), ag_add(x, 1), batch[1], 1);
}
static void cross_entropy(void *context, const ag_var *batch, ag_var *out) {
    ag_var logits = ag_outer(batch[0], ag_expand(nn_parameter_at(context, 0), AG_SHAPE(2)));
    out[0] = nn_softmax_cross_entropy_at(logits, batch[1], (nn_class_options){0});
}

/* Of the batch for which a step is traced, and of a later one. */
static void bad_targets_have_a_row(void **state) {
    (void)state;
    static const struct {
        nn_forward *forward;
        const char *message;
    } losses[] = {{hinge, "hinge: target 2 is 3, not -1 or 1"},
                  {cosine, "cosine_embedding: target 2 is 3, not -1 or 1"},
                  {contrastive, "contrastive: target 2 is 3, not 0 or 1"},
                  {cross_entropy, "cross_entropy_at: label 3 of row 2 is not one of 2 classes"}};
    for (size_t k = 0; k < sizeof losses / sizeof losses[0]; k++)
        for (int i = 0; i < 4; i++) {
            bool later = i / 2, gone_on = false;
            ag_tape *t = ag_tape_new(AG_F32);
            nn_model *model = nn_model_new(t, 1);
            (void)nn_parameter(model, "p", (ag_shape){0}, NN_ONES);
            nn_step *step = nn_step_new(model, losses[k].forward, model, (nn_step_options){.traced = i % 2});
            float x[4] = {1, 2, 3, 4}, y[4] = {1, 1, later ? 1 : 3, 1};
            nn_array fields[] = {{NN_F32, AG_SHAPE(4), x}, {NN_F32, AG_SHAPE(4), y}};
            if (later) gone_on = isfinite(nn_step_run(step, fields, 2, NN_GRADIENTS));
            assert_true(gone_on == later);
            y[2] = 3;
            assert_true(isnan(nn_step_run(step, fields, 2, NN_GRADIENTS)));
            assert_int_equal(ag_tape_status(t), AG_ERR_VALUE);
            if (strstr(ag_tape_message(t), losses[k].message) == NULL) fail_msg("%s", ag_tape_message(t));
            ag_tape_recover(t);
            y[2] = NAN;
            assert_true(isnan(nn_step_run(step, fields, 2, NN_VALUES)));
            assert_int_equal(ag_tape_status(t), AG_ERR_VALUE);
            nn_step_free(step);
            nn_model_free(model);
            ag_tape_free(t);
        }
}

static void root(void *context, const ag_var *batch, ag_var *out) {
    (void)context;
    out[0] = ag_sum(ag_sqrt(batch[0]));
}

static void root_of_parameter(void *context, const ag_var *batch, ag_var *out) {
    net *n = context;
    (void)batch;
    out[0] = ag_add(ag_sum(ag_mul(ag_sub(n->output.bias, n->output.bias), 1e300)),
                    ag_square(ag_log(ag_sum(ag_square(n->output.bias)))));
}

/* The root of a field has no derivative that matters. */
static void length_of_parameter(void *context, const ag_var *batch, ag_var *out) {
    net *n = context;
    ag_var field = ag_sum(ag_sqrt(ag_mul(batch[0], 0)));
    out[0] = ag_add(ag_add(ag_sqrt(ag_sum(ag_square(n->output.bias))), 1), field);
}

static void root_of_clock(void *context, const ag_var *batch, ag_var *out) {
    net *n = context;
    (void)batch;
    out[0] = ag_add(ag_sum(n->output.bias), ag_sqrt(ag_sub(0.5, nn_model_clock(n->model))));
}

/* What a batch of a group had for a clock is what it is looked into with. */
static void nan_of_a_later_batch_has_a_name(void **state) {
    (void)state;
    char text[200];
    net a;
    open_net(&a, AG_F64);
    nn_step *step = nn_step_new(a.model, root_of_clock, &a, (nn_step_options){.traced = true});
    assert_true(isfinite(nn_step_run(step, NULL, 0, NN_GRADIENTS)));
    assert_true(isnan(nn_step_run(step, NULL, 0, NN_MORE_GRADIENTS)));
    assert_true(nn_step_find_nan(step, NULL, 0, text, sizeof text));
    assert_string_equal(text, "sqrt is nan, of -0.5");
    expect_clock(&a, 0);
    nn_step_free(step);
    close_net(&a);
}

static void normalised(void *context, const ag_var *batch, ag_var *out) {
    net *n = context;
    ag_var none = {0};
    out[0] = ag_add(ag_sum(n->output.bias), ag_sum(ag_square(ag_batch_norm(batch[0], none, none, 1e-5))));
}

static void infinite_field_has_a_name(void **state) {
    (void)state;
    for (int traced = 0; traced < 2; traced++) {
        char text[200];
        double x[] = {1, 2, 3, INFINITY, 4, 5};
        nn_array field = {NN_F64, AG_SHAPE(3, 2), x};
        net a;
        open_net(&a, AG_F64);
        nn_step *step = nn_step_new(a.model, normalised, &a, (nn_step_options){.traced = traced});
        assert_true(isnan(nn_step_run(step, &field, 1, NN_GRADIENTS)));
        assert_true(nn_step_find_nan(step, &field, 1, text, sizeof text));
        assert_string_equal(
            text, "an input field 0 is inf at (1, 1); of that, normalise of shape (1, 2, 3) is nan at (0, 1, 0), of "
                  "operands of shapes (1, 2, 3)");
        nn_step_free(step);
        close_net(&a);
    }
}

static void nan_has_a_name(void **state) {
    (void)state;
    char text[200];
    net a;
    open_net(&a, AG_F64);
    samples x = batch_of(2, 0);
    nn_step *step = nn_step_new(a.model, root, &a, (nn_step_options){.traced = true});
    assert_true(isnan(nn_step_run(step, x.fields, 1, NN_VALUES)));
    assert_true(nn_step_find_nan(step, x.fields, 1, text, sizeof text));
    if (strncmp(text, "sqrt of shape (2, 3) is nan at (", 32) != 0) fail_msg("%s", text);
    nn_step_free(step);
    step = nn_step_new(a.model, root_of_parameter, &a, (nn_step_options){0});
    assert_false(nn_step_find_nan(step, NULL, 0, text, sizeof text));
    ag_set(a.output.bias, (double[]){0, 0}); /* the loss is infinite, and its gradient 0 times infinity */
    (void)nn_step_run(step, NULL, 0, NN_GRADIENTS);
    assert_true(nn_step_find_nan(step, NULL, 0, text, sizeof text));
    assert_string_equal(text, "log is -inf, of 0");
    nn_step_free(step);
    step = nn_step_new(a.model, length_of_parameter, &a, (nn_step_options){.traced = true});
    assert_true(nn_step_run(step, x.fields, 1, NN_GRADIENTS) > 0);
    assert_true(nn_step_find_nan(step, x.fields, 1, text, sizeof text));
    assert_string_equal(text, "the derivative of sqrt is inf, of 0");
    expect_ok(&a);
    nn_step_free(step);
    free_batch(&x);
    close_net(&a);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traced_as_eager),
        cmocka_unit_test(gradients_add_up),
        cmocka_unit_test(buffers_wait_for_the_commit),
        cmocka_unit_test(a_group_has_its_clocks_at_the_commit),
        cmocka_unit_test(few_programs_are_kept),
        cmocka_unit_test(a_model_grows),
        cmocka_unit_test(scalars_that_are_not_reached_stay),
        cmocka_unit_test(constant_gradients_count),
        cmocka_unit_test(no_gradients_are_left),
        cmocka_unit_test(each_application_drops_others),
        cmocka_unit_test(two_models),
        cmocka_unit_test(errors),
        cmocka_unit_test(bad_targets_have_a_row),
        cmocka_unit_test(fields_that_are_missing),
        cmocka_unit_test(models_are_complete_before_a_batch),
        cmocka_unit_test(infinite_field_has_a_name),
        cmocka_unit_test(nan_has_a_name),
        cmocka_unit_test(nan_of_a_later_batch_has_a_name),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
