/* What a model keeps beside its parameters: buffers and their updates, the mode, the clock. */
#include "on_each_tape.h"

#include "nn/nn.h"
#include "nn_memory.h"

static void expect_error(ag_tape *t, ag_status status, const char *part) {
    if (ag_tape_status(t) != status || strstr(ag_tape_message(t), part) == NULL)
        fail_msg("status %d, \"%s\"; should be %d with \"%s\"", (int)ag_tape_status(t), ag_tape_message(t), (int)status,
                 part);
    ag_tape_recover(t);
}

static void buffers_are_apart_from_parameters(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    (void)state;
    ag_var w = nn_parameter(model, "w", AG_SHAPE(2), NN_ONES), mean = nn_buffer(model, "mean", AG_SHAPE(3), NN_ZEROS),
           count = nn_buffer(model, "count", (ag_shape){0, {0}}, NN_ZEROS);
    assert_int_equal(nn_parameter_count(model), 1);
    assert_int_equal(nn_buffer_count(model), 2);
    assert_int_equal(nn_model_size(model), 2);
    assert_string_equal(nn_buffer_name(model, 1), "count");
    assert_null(nn_buffer_name(model, 2));
    assert_true(nn_buffer_at(model, 0).place == mean.place && nn_buffer_find(model, "count").place == count.place);
    assert_true(nn_model_has(model, "w") && nn_model_has(model, "mean") && !nn_model_has(model, "v"));
    assert_true(nn_parameter_find(model, "w").place == w.place);
    check_fine("buffers", t);
    nn_parameter_find(model, "mean");
    expect_error(t, AG_ERR_VALUE, "parameter: there is none with the name \"mean\"");
    nn_buffer_find(model, "w");
    expect_error(t, AG_ERR_VALUE, "buffer: there is none with the name \"w\"");
    nn_buffer_at(model, 2);
    expect_error(t, AG_ERR_VALUE, "buffer: there is no number 2 of 2");
    nn_buffer(model, "w", AG_SHAPE(2), NN_ONES);
    expect_error(t, AG_ERR_VALUE, "buffer: the name \"w\" is taken");
    nn_model_free(model);
    ag_tape_free(t);
}

/* An update is not seen until the commit, except by who asks for the latest value. */
static void updates_take_effect_at_commit(ag_tape *t) {
    nn_model *model = nn_model_new(t, 1);
    ag_var mean = nn_buffer(model, "mean", AG_SHAPE(2, 2), NN_ONES),
           count = nn_buffer(model, "count", (ag_shape){0, {0}}, NN_ZEROS);
    ag_mark mark = ag_tape_mark(t);
    for (int step = 1; step <= 3; step++) {
        assert_true(ag_is_zero(nn_buffer_update_at(model, 0)));
        nn_model_update(model, count, ag_add(nn_buffer_latest(model, count), 1));
        nn_model_update(model, count, ag_add(nn_buffer_latest(model, count), 1));
        nn_model_update(model, mean, ag_transpose(ag_mul(mean, ag_arange(t, 1, 1, 2))));
        assert_true(nn_buffer_update_at(model, 1).place == nn_buffer_latest(model, count).place);
        check_number("count", ag_value(count), 2 * (step - 1));
        assert_true(ag_value(nn_model_clock(model)) == step - 1);
        nn_model_commit(model);
        check_number("count", ag_value(count), 2 * step);
        assert_true(ag_value(nn_model_clock(model)) == step);
        ag_tape_rewind(t, mark);
    }
    check_read("mean", mean, (const double[]){1, 2, 4, 8});    /* columns doubled, transposed, three times */
    double last = ag_tape_type(t) == AG_F64 ? 0x1p53 : 0x1p24; /* beyond it the clock would stand still */
    ag_set(nn_model_clock(model), &(double){last - 2});
    nn_model_commit(model);
    assert_true(ag_value(nn_model_clock(model)) == last - 1);
    nn_model_commit(model);
    assert_true(ag_value(nn_model_clock(model)) == 0);
    nn_model_update(model, count, ag_add(count, 5));
    nn_model_discard(model);
    nn_model_commit(model);
    check_number("count", ag_value(count), 6);
    nn_model_free(model);
}

static void updates_on_each_tape(void **state) {
    (void)state;
    on_each_tape(updates_take_effect_at_commit);
}

/* Recorded once, run as a program: the update is an output, the clock and the buffer are inputs. */
static void updates_can_be_frozen(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    (void)state;
    ag_var mean = nn_buffer(model, "mean", AG_SHAPE(2), NN_ONES), clock = nn_model_clock(model);
    nn_model_update(model, mean, ag_add(ag_mul(mean, 0.5), clock));
    const ag_var in[] = {mean, clock}, out[] = {nn_buffer_update_at(model, 0)};
    ag_program *p = ag_program_freeze(in, NULL, 2, out, NULL, 1);
    ag_runner *r = ag_runner_new(p);
    const double now = 3, values[] = {4, 6};
    double next[2];
    assert_int_equal(ag_run(r, (const double *const[]){values, &now}, (double *const[]){next}), AG_OK);
    assert_true(next[0] == 5 && next[1] == 6);
    nn_model_discard(model);
    assert_true(ag_is_zero(nn_buffer_update_at(model, 0)));
    ag_runner_free(r);
    ag_program_free(p);
    nn_model_free(model);
    ag_tape_free(t);
}

static void bad_updates_are_errors(void **state) {
    ag_tape *t = ag_tape_new(AG_F64), *other = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    (void)state;
    ag_var w = nn_parameter(model, "w", AG_SHAPE(2), NN_ONES), mean = nn_buffer(model, "mean", AG_SHAPE(2), NN_ONES);
    ag_mark mark = ag_tape_mark(t);
    nn_model_update(model, w, w);
    expect_error(t, AG_ERR_VALUE, "no buffer of the model");
    nn_model_update(model, mean, ag_num(1));
    expect_error(t, AG_ERR_VALUE, "update of mean: a plain number");
    nn_model_update(model, mean, ag_zeros(t, AG_SHAPE(2, 1)));
    expect_error(t, AG_ERR_SHAPE, "update of mean: its value has shape (2, 1), the buffer (2)");
    nn_model_update(model, mean, ag_zeros(other, AG_SHAPE(2)));
    expect_error(t, AG_ERR_TAPE, "update of mean");
    nn_model_update(model, mean, ag_mul(w, 2));
    ag_tape_rewind(t, mark); /* too early */
    nn_model_commit(model);
    expect_error(t, AG_ERR_STALE, "commit of mean: the tape was rewound");
    nn_model_free(model);
    ag_tape_free(t);
    ag_tape_free(other);
}

static void count_batches(void *context, const ag_var *batch, ag_var *out) {
    nn_model *model = context;
    out[0] = ag_mul(nn_parameter_at(model, 0), ag_sum(batch[0]));
    nn_model_update(model, nn_buffer_at(model, 0), ag_add(1, nn_buffer_latest(model, nn_buffer_at(model, 0))));
}

/* Whatever allocation of a step fails, the buffers stay, and the next step is as if nothing had been. */
static void every_allocation_of_a_step_may_fail(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        bool done = false;
        for (int n = 0; !done; n++) {
            ag_tape *t = ag_tape_new(AG_F64);
            nn_model *model = nn_model_new(t, 1);
            (void)nn_parameter(model, "w", (ag_shape){0}, NN_ONES);
            ag_var buffer = nn_buffer(model, "batches", (ag_shape){0}, NN_ZEROS);
            nn_step *step = nn_step_new(model, count_batches, model, (nn_step_options){.traced = kind % 2});
            nn_wanted wanted = kind / 2 ? NN_MORE_GRADIENTS : NN_GRADIENTS;
            float numbers[2] = {1, 2};
            nn_array x = {NN_F32, AG_SHAPE(2), numbers};
            allowed = n;
            (void)nn_step_run(step, &x, 1, wanted);
            allowed = -1;
            done = ag_tape_status(t) == AG_OK;
            if (!done) {
                assert_int_equal(ag_tape_status(t), AG_ERR_MEMORY);
                ag_tape_recover(t);
                assert_true(nn_step_run(step, &x, 1, wanted) == 3);
            }
            assert_true(ag_value(buffer) == 0);
            nn_model_commit(model);
            assert_true(ag_value(buffer) == 1);
            check_fine("a step", t);
            nn_step_free(step);
            nn_model_free(model);
            ag_tape_free(t);
            assert_int_equal(taken, 0);
        }
    }
}

static void mode_and_keys(void **state) {
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1), *other = nn_model_new(t, 2);
    (void)state;
    assert_true(nn_model_training(model));
    nn_model_train(model, false);
    assert_false(nn_model_training(model));
    nn_model_train(model, true);
    assert_true(nn_model_training(model));
    assert_true(nn_model_key(model, "a") == nn_model_key(model, "a"));
    assert_true(nn_model_key(model, "a") != nn_model_key(model, "b"));
    assert_true(nn_model_key(model, "a") != nn_model_key(other, "a"));
    nn_model_free(model);
    nn_model_free(other);
    ag_tape_free(t);
}

static void no_model_is_no_crash(void **state) {
    (void)state;
    nn_model_train(NULL, true);
    nn_model_update(NULL, ag_num(0), ag_num(1));
    nn_model_commit(NULL);
    nn_model_discard(NULL);
    (void)nn_buffer(NULL, "b", AG_SHAPE(2), NN_ONES);
    (void)nn_buffer_at(NULL, 0);
    (void)nn_buffer_find(NULL, "b");
    (void)nn_model_clock(NULL);
    assert_true(nn_model_key(NULL, "a") == 0 && nn_buffer_count(NULL) == 0 && nn_buffer_name(NULL, 0) == NULL);
    assert_false(nn_model_training(NULL) || nn_model_has(NULL, "b"));
    assert_true(ag_is_zero(nn_buffer_update_at(NULL, 0)) && ag_is_zero(nn_buffer_latest(NULL, ag_num(0))));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(buffers_are_apart_from_parameters),
        cmocka_unit_test(updates_on_each_tape),
        cmocka_unit_test(updates_can_be_frozen),
        cmocka_unit_test(bad_updates_are_errors),
        cmocka_unit_test(every_allocation_of_a_step_may_fail),
        cmocka_unit_test(mode_and_keys),
        cmocka_unit_test(no_model_is_no_crash),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
