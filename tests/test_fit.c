/* nn_fit: that it trains, stops, and says what went wrong. */
#include "comma_locale.h"
#include "fit_task.h"

#include <unistd.h>

/* ---- training -------------------------------------------------------------------------------------------------- */

static void it_trains(void **state) {
    (void)state;
    for (int traced = 0; traced < 2; traced++) {
        task k;
        open_task(&k, traced);
        nn_fit_options o = options_of(&k);
        o.epochs = 60;
        o.average = NULL;
        o.plateau = NULL;
        nn_fitted f = fit(&k, o);
        assert_int_equal(f.ending, NN_ENDED_EPOCHS);
        assert_int_equal(f.last.epoch, 60);
        assert_int_equal(f.last.steps, 60 * 5);
        assert_int_equal(k.epochs_seen, 60);
        assert_true(f.best.best && f.best.validation_loss <= f.last.validation_loss);
        assert_true(f.best.metrics[0] > 0.7 && f.best.metrics[1] < 0.3);
        assert_true(f.last.loss < 0.2);
        assert_true(nn_model_training(k.model));
        close_task(&k);
    }
}

static char *whole_file(const char *path) {
    static char text[1 << 14];
    FILE *in = fopen(path, "rb");
    assert_non_null(in);
    size_t n = fread(text, 1, sizeof text - 1, in);
    text[n] = '\0';
    fclose(in);
    return text;
}

static void logs_and_lines(void **state) {
    (void)state;
    char path[512], curves[512];
    task k;
    open_task(&k, false);
    nn_fit_options o = options_of(&k);
    strcpy(path, path_of("log.csv"));
    o.log = path;
    o.curves = strcat(strcpy(curves, folder), "/curves.svg");
    o.progress = tmpfile();
    nn_fitted f = fit(&k, o);
    char line[200] = "";
    rewind(o.progress);
    for (int i = 1; i <= EPOCHS; i++) {
        assert_non_null(fgets(line, sizeof line, o.progress));
        char start[40];
        snprintf(start, sizeof start, "epoch %d/%d  loss ", i, EPOCHS);
        if (strncmp(line, start, strlen(start)) != 0 || !strstr(line, "  validation ") || !strstr(line, "  r2 "))
            fail_msg("%s", line);
    }
    assert_null(fgets(line, sizeof line, o.progress));
    fclose(o.progress);
    nn_table table = nn_csv_read(path, NULL, &k.e);
    if (k.e.status != AG_OK) fail_msg("%s", k.e.message);
    assert_int_equal(table.values.shape.dim[0], EPOCHS);
    int64_t r2 = nn_table_find(&table, "r2"), steps = nn_table_find(&table, "steps");
    assert_true(nn_array_at(&table.values, (EPOCHS - 1) * table.values.shape.dim[1] + r2) == f.last.metrics[0]);
    assert_true(nn_array_at(&table.values, (EPOCHS - 1) * table.values.shape.dim[1] + steps) == 5 * EPOCHS);
    nn_table_free(&table);
    assert_non_null(strstr(whole_file(curves), "validation loss"));
    close_task(&k);
}

static void a_log_in_another_locale(void **state) {
    (void)state;
    choose_comma_locale();
    char path[512];
    task k;
    open_task(&k, false);
    nn_fit_options o = options_of(&k);
    o.log = strcpy(path, path_of("log.csv"));
    nn_fitted f = fit(&k, o);
    nn_table table = nn_csv_read(path, NULL, &k.e);
    (void)setlocale(LC_ALL, "C");
    if (k.e.status != AG_OK) fail_msg("%s", k.e.message);
    int64_t at = (EPOCHS - 1) * table.values.shape.dim[1] + nn_table_find(&table, "loss");
    assert_true(nn_array_at(&table.values, at) == f.last.loss);
    nn_table_free(&table);
    close_task(&k);
}

static void it_ends(void **state) {
    (void)state;
    task k;
    open_task(&k, false);
    nn_fit_options o = options_of(&k);
    o.steps = 7; /* in the second epoch of five steps */
    nn_fitted f = fit(&k, o);
    assert_int_equal(f.ending, NN_ENDED_EPOCHS);
    assert_int_equal(f.last.epoch, 1); /* the last one that is whole */
    assert_int_equal(f.last.steps, 5);
    assert_int_equal(nn_optimiser_steps(k.optimiser), 7);
    close_task(&k);
    open_task(&k, false);
    k.most_epochs = 3;
    f = fit(&k, options_of(&k));
    assert_int_equal(f.ending, NN_ENDED_CALLER);
    assert_int_equal(f.last.epoch, 3);
    close_task(&k);
    open_task(&k, false);
    o = options_of(&k);
    o.least_gain = 1e9; /* nothing is better than the first */
    o.patience = 2;
    o.plateau = NULL;
    f = fit(&k, o);
    assert_int_equal(f.ending, NN_ENDED_EARLY);
    assert_int_equal(f.last.epoch, 3);
    assert_int_equal(f.best.epoch, 1);
    close_task(&k);
    open_task(&k, false);
    o = options_of(&k);
    o.measure = 1; /* R2: greater is better */
    f = fit(&k, o);
    assert_true(f.best.metrics[0] >= f.last.metrics[0]);
    close_task(&k);
}

static void the_scale_is_the_callers(void **state) {
    (void)state;
    float all[2][MOST_WEIGHTS] = {{0}};
    for (int i = 0; i < 2; i++) { /* the second trains with groups of batches before, at no rate */
        task k;
        open_task(&k, true);
        nn_optimiser *sgd = nn_sgd(k.model, (nn_sgd_options){.rate = 0.1});
        nn_fit_options o = {.step = k.step, .optimiser = sgd, .train = k.train, .epochs = 1};
        nn_optimiser_scale(sgd, 0.5);
        if (i == 1) {
            nn_optimiser_set_rate(sgd, 0);
            o.accumulate = 4;
            fit(&k, o);
            nn_optimiser_set_rate(sgd, 0.1);
            o.accumulate = 0;
            nn_loader_seek(k.train, (nn_loader_state){.seed = 3}, &k.e);
            ag_set(nn_model_clock(k.model), &(double){0});
        }
        fit(&k, o);
        read_weights(&k, all[i]);
        nn_optimiser_free(sgd);
        close_task(&k);
    }
    assert_memory_equal(all[0], all[1], sizeof all[0]);
    for (int i = 0; i < 2; i++) { /* half the gradient is half the step, of groups, too */
        float before[MOST_WEIGHTS] = {0};
        task k;
        open_task(&k, true);
        nn_optimiser *sgd = nn_sgd(k.model, (nn_sgd_options){.rate = i == 0 ? 0.1 : 0.05});
        if (i == 0) nn_optimiser_scale(sgd, 0.5);
        read_weights(&k, before);
        fit(&k, (nn_fit_options){
                    .step = k.step, .optimiser = sgd, .train = k.train, .epochs = 1, .steps = 1, .accumulate = 4});
        read_weights(&k, all[i]);
        for (int j = 0; j < MOST_WEIGHTS; j++) all[i][j] -= before[j];
        nn_optimiser_free(sgd);
        close_task(&k);
    }
    for (int j = 0; j < MOST_WEIGHTS; j++) assert_true(fabsf(all[0][j] - all[1][j]) < 1e-6F);
}

/* The rate halves after each epoch's last step. */
static void the_rate_is_the_last_steps(void **state) {
    (void)state;
    task k;
    open_task(&k, false);
    nn_fit_options o = options_of(&k);
    o.plateau = NULL;
    nn_optimiser_schedule(k.optimiser, nn_step_schedule(0.01, 0.5, 5));
    o.epochs = 2;
    assert_true(fit(&k, o).last.rate == 0.005);
    assert_true(nn_optimiser_rate(k.optimiser) == 0.0025);
    close_task(&k);
}

static void the_best_is_kept(void **state) {
    (void)state;
    char path[512];
    float loaded[MOST_WEIGHTS] = {0};
    snprintf(path, sizeof path, "%s", path_of("best.safetensors"));
    task k;
    open_task(&k, false);
    nn_fit_options o = options_of(&k);
    o.best = path;
    o.average = NULL;
    nn_fitted f = fit(&k, o);
    assert_true(nn_model_load(k.model, path, (nn_load_options){0}, &k.e) > 0);
    read_weights(&k, loaded);
    nn_batch b;
    double sum = 0, count = 0;
    nn_model_train(k.model, false);
    while (nn_loader_next(k.validation, &b, &k.e)) {
        sum += (double)b.count * nn_step_run(k.step, b.fields, b.field_count, NN_VALUES);
        count += (double)b.count;
    }
    assert_true(fabs(sum / count - f.best.validation_loss) < 1e-6);
    close_task(&k);
}

/* ---- what goes wrong -------------------------------------------------------------------------------------------- */

static void expect_failure(task *k, nn_fit_options o, ag_status status, const char *message) {
    nn_fitted f = nn_fit(&o, &k->e);
    assert_int_equal(f.ending, NN_FAILED);
    assert_true(f.last.epoch > 0 || (isnan(f.last.loss) && isnan(f.best.metrics[0])));
    assert_int_equal(k->e.status, status);
    if (strstr(k->e.message, message) == NULL) fail_msg("%s", k->e.message);
    k->e = (nn_error){0};
}

static void nan_and_infinity_stop_before_the_model_changes(void **state) {
    static const char *const why[] = {[NAN_LOSS] = "fit: in epoch 1, after 0 steps, the loss is nan: log is nan, of -3",
                                      [INFINITE_LOSS] =
                                          "fit: in epoch 1, after 0 steps, the loss is inf: div is inf, of 1 and 0",
                                      [INFINITE_GRADIENT] = ": the derivative of sqrt is inf, of 0"};
    (void)state;
    for (int i = 0; i < 6; i++) {
        bool traced = i % 2;
        float before[MOST_WEIGHTS] = {0}, after[MOST_WEIGHTS] = {0};
        task k;
        open_task(&k, traced);
        k.spoil = NAN_LOSS + i / 2;
        read_weights(&k, before);
        expect_failure(&k, options_of(&k), AG_ERR_VALUE, why[k.spoil]);
        read_weights(&k, after);
        assert_memory_equal(before, after, sizeof before);
        close_task(&k);
    }
}

/* What is next to the model: a function whose loss is of the data alone. */
static void of_data_alone(void *context, const ag_var *batch, ag_var *out) {
    (void)context;
    out[0] = ag_mean(ag_square(batch[1]));
}

static void a_loss_of_no_parameter_is_an_error(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        task k;
        open_task(&k, false);
        nn_fit_options o = options_of(&k);
        o.metric_count = 0;
        o.accumulate = 1 + i / 2;
        o.step = nn_step_new(k.model, of_data_alone, NULL, (nn_step_options){.traced = i % 2});
        expect_failure(&k, o, AG_ERR_VALUE, "fit: in epoch 1, after 0 steps, the loss depends on no parameter");
        assert_int_equal(nn_optimiser_steps(k.optimiser), 0);
        nn_step_free(o.step);
        close_task(&k);
    }
}

/* Nothing is to be trained: its losses are still measured. */
static void a_model_without_parameters_is_no_error(void **state) {
    (void)state;
    task k;
    open_task(&k, false);
    nn_model *model = nn_model_new(k.tape, 1);
    nn_fit_options o = options_of(&k);
    o.metric_count = 0;
    o.average = NULL;
    o.plateau = NULL;
    o.step = nn_step_new(model, of_data_alone, NULL, (nn_step_options){0});
    o.optimiser = nn_adam(model, (nn_adam_options){0});
    nn_fitted f = fit(&k, o);
    assert_int_equal(f.ending, NN_ENDED_EPOCHS);
    nn_optimiser_free(o.optimiser);
    nn_step_free(o.step);
    nn_model_free(model);
    close_task(&k);
}

/* Two names of 70 letters are in the reason of a NaN, which is not cut off. */
static void quotient(void *context, const ag_var *batch, ag_var *out) {
    nn_model *model = context;
    out[0] = ag_mean(ag_mul(batch[1], ag_div(nn_parameter_at(model, 0), nn_parameter_at(model, 1))));
}

static void reasons_are_whole(void **state) {
    (void)state;
    char names[2][71] = {"", ""}, reason[400];
    task k;
    open_task(&k, false);
    nn_model *model = nn_model_new(k.tape, 1);
    for (int i = 0; i < 2; i++) {
        memset(names[i], 'a' + i, 70);
        (void)nn_parameter(model, names[i], (ag_shape){0}, NN_ZEROS);
    }
    nn_fit_options o = options_of(&k);
    o.metric_count = 0;
    o.average = NULL;
    o.step = nn_step_new(model, quotient, model, (nn_step_options){0});
    o.optimiser = nn_adam(model, (nn_adam_options){0});
    snprintf(reason, sizeof reason, ": div is nan, of %s = 0 and %s = 0", names[0], names[1]);
    expect_failure(&k, o, AG_ERR_VALUE, reason);
    nn_optimiser_free(o.optimiser);
    nn_step_free(o.step);
    nn_model_free(model);
    close_task(&k);
}

static void normalise(void *context, const ag_var *batch, ag_var *out) {
    task *k = context;
    out[0] = nn_mse(ag_sum_over(nn_batch_norm_apply(k->norm, batch[0]), AG_AXES(-1), false), batch[1]);
}

/* Running statistics are of the model, too: those of a step's batches stay as they were before its first. */
static void nan_leaves_running_statistics(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        double before[2], after[2];
        task k;
        open_task(&k, false);
        k.norm = nn_batch_norm_init(k.model, "norm", INPUTS, (nn_batch_norm_options){0});
        nn_step *step = nn_step_new(k.model, normalise, &k, (nn_step_options){.traced = i % 2});
        nn_optimiser *sgd = nn_sgd(k.model, (nn_sgd_options){0});
        nn_fit_options o = {.step = step, .optimiser = sgd, .train = k.train, .epochs = 1, .steps = 1};
        o.accumulate = i / 2 ? 2 : 0;
        fit(&k, o);
        before[0] = ag_value(k.norm.batches);
        before[1] = ag_value(ag_slice(k.norm.mean, 0, 0, 1, 1));
        k.nan_at = i / 2 ? 4 : 2; /* the second batch of a step, or its only one */
        o.steps = 0;
        expect_failure(&k, o, AG_ERR_VALUE, "the loss is nan");
        ag_tape_recover(k.tape);
        nn_model_commit(k.model);
        after[0] = ag_value(k.norm.batches);
        after[1] = ag_value(ag_slice(k.norm.mean, 0, 0, 1, 1));
        assert_true(before[0] == 1 + i / 2);
        assert_memory_equal(before, after, sizeof before);
        nn_optimiser_free(sgd);
        nn_step_free(step);
        close_task(&k);
    }
}

static bool normalised; /* which takes more than one sample in training */

static ag_var scores(task *k, ag_var x) {
    ag_var y = nn_dense_apply(k->hidden, x);
    return normalised ? nn_batch_norm_apply(k->norm, y) : y;
}

static void classify(void *context, const ag_var *batch, ag_var *out) {
    task *k = context;
    out[1] = scores(k, batch[0]);
    out[0] = nn_softmax_cross_entropy_at(out[1], batch[1], (nn_class_options){0});
}

static void regress(void *context, const ag_var *batch, ag_var *out) {
    task *k = context;
    out[1] = scores(k, batch[0]);
    out[0] = nn_mse(ag_sum_over(out[1], AG_AXES(-1), false), batch[1]);
}

/* What is wrong in a batch is named by its row of the data, too, which is another than its place in a shuffled batch. */
static void rows_of_the_data_are_named(void **state) {
    (void)state;
    for (int i = 0; i < 12; i++) {
        char row[64];
        task k;
        open_task(&k, false);
        normalised = i >= 6;
        k.norm = nn_batch_norm_init(k.model, "norm", 8, (nn_batch_norm_options){.no_affine = true});
        int64_t at = k.train_set.rows[k.train_set.count / 2];
        for (int n = 0; n < SAMPLES; n++) ((float *)k.y.data)[n] = (float)(n % 8);
        ((float *)k.y.data)[at] = i / 2 % 3 == 1 ? NAN : 9;
        snprintf(row, sizeof row, "of the batch, row %d of the data)", (int)at);
        nn_fit_options o = options_of(&k);
        o.validation = NULL;
        o.metric_count = i / 2 % 3 == 2;
        o.metrics[0] = (nn_metric){.kind = NN_ACCURACY};
        o.step = nn_step_new(k.model, i / 2 % 3 == 0 ? classify : regress, &k,
                             (nn_step_options){.outputs = 2, .traced = i % 2});
        expect_failure(&k, o, AG_ERR_VALUE, row);
        nn_step_free(o.step);
        close_task(&k);
    }
}

/* An infinite number of one row saturates a tanh, so that the loss is finite; its gradient is 0 times infinity. */
static void gradients_of_several_batches_are_explained(void **state) {
    (void)state;
    for (int i = 0; i < 8; i++) {
        char row[64];
        task k;
        open_task(&k, i % 2);
        int64_t at = k.train_set.rows[k.train_set.count / 2];
        ((float *)k.x.data)[at * INPUTS] = INFINITY;
        snprintf(row, sizeof row, "of the batch, row %d of the data)", (int)at);
        nn_fit_options o = options_of(&k);
        o.validation = NULL;
        o.accumulate = 1 + i / 2;
        nn_fitted f = nn_fit(&o, &k.e);
        assert_int_equal(f.ending, NN_FAILED);
        if (!strstr(k.e.message, "is nan: the derivative of linear") || !strstr(k.e.message, row))
            fail_msg("%s", k.e.message);
        close_task(&k);
    }
}

/* Before an epoch's work is lost for want of a folder. */
static void files_are_tried_before_training(void **state) {
    (void)state;
    for (int i = 0; i < 4; i++) {
        char path[512], left[520];
        snprintf(path, sizeof path, "%s", path_of("missing/file"));
        task k;
        open_task(&k, false);
        nn_fit_options o = options_of(&k);
        *(const char **[]){&o.log, &o.curves, &o.checkpoint, &o.best}[i] = path;
        expect_failure(&k, o, AG_ERR_FILE, "missing/file: cannot be written: No such file");
        assert_true(k.batches == 0 && nn_optimiser_steps(k.optimiser) == 0);
        snprintf(path, sizeof path, "%s", path_of("there")); /* as it was, if it can be written */
        FILE *f = fopen(path, "w");
        assert_true(f != NULL && fputs("old", f) >= 0 && fclose(f) == 0);
        o.validation = NULL; /* an error before anything is written */
        o.metrics[0].field = 5;
        o.checkpoint = NULL;
        expect_failure(&k, o, AG_ERR_VALUE, "field 5");
        assert_string_equal(whole_file(path), "old");
        assert_int_not_equal(access(strcat(strcpy(left, path), ".new"), F_OK), 0);
        close_task(&k);
    }
}

static void errors(void **state) {
    (void)state;
    task k;
    open_task(&k, false);
    nn_fit_options o = options_of(&k);
    o.step = NULL;
    expect_failure(&k, o, AG_ERR_VALUE, "fit: no step");
    (void)nn_dense_init(k.model, "hidden", 1, 1, (nn_dense_options){0});
    o.step = nn_step_new(k.model, forward, &k, (nn_step_options){.outputs = 2}); /* NULL: the name is taken */
    expect_failure(&k, o, AG_ERR_VALUE, "the name \"hidden.weight\" is taken");
    ag_tape_recover(k.tape);
    o = options_of(&k);
    o.epochs = 0;
    expect_failure(&k, o, AG_ERR_VALUE, "fit: 0 epochs");
    o = options_of(&k);
    o.metric_count = 9;
    expect_failure(&k, o, AG_ERR_VALUE, "fit: 9 metrics, not 0 to 8");
    o = options_of(&k);
    o.measure = 3;
    expect_failure(&k, o, AG_ERR_VALUE, "fit: metric 3 of 2 is to tell which epoch is best");
    o = options_of(&k);
    o.patience = -1;
    expect_failure(&k, o, AG_ERR_VALUE, "is negative");
    o = options_of(&k);
    o.metrics[0].field = 5;
    expect_failure(&k, o, AG_ERR_VALUE,
                   "fit: metric r2 wants output 1 of the step and field 5 of a batch; the last ones are 1 and 1");
    o = options_of(&k);
    o.checkpoint = "/nowhere/at/all";
    expect_failure(&k, o, AG_ERR_FILE, "/nowhere/at/all");
    FILE *damaged = fopen(path_of("damaged"), "wb");
    fputs("not a checkpoint", damaged);
    fclose(damaged);
    o = options_of(&k);
    o.checkpoint = path_of("damaged");
    expect_failure(&k, o, AG_ERR_VALUE, "damaged");
    assert_string_equal(whole_file(path_of("damaged")), "not a checkpoint"); /* it is not written over */
    close_task(&k);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_trains),
        cmocka_unit_test(logs_and_lines),
        cmocka_unit_test(a_log_in_another_locale),
        cmocka_unit_test(it_ends),
        cmocka_unit_test(the_scale_is_the_callers),
        cmocka_unit_test(the_rate_is_the_last_steps),
        cmocka_unit_test(the_best_is_kept),
        cmocka_unit_test(rows_of_the_data_are_named),
        cmocka_unit_test(nan_and_infinity_stop_before_the_model_changes),
        cmocka_unit_test(nan_leaves_running_statistics),
        cmocka_unit_test(a_loss_of_no_parameter_is_an_error),
        cmocka_unit_test(a_model_without_parameters_is_no_error),
        cmocka_unit_test(reasons_are_whole),
        cmocka_unit_test(gradients_of_several_batches_are_explained),
        cmocka_unit_test(files_are_tried_before_training),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
