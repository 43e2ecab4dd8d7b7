/* nn_fit: that it trains, stops, goes on bit for bit, and says what went wrong. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>

#include <cmocka.h>
#include <math.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "folder.h"
#include "nn/nn.h"

enum { SAMPLES = 50, INPUTS = 4, BATCH = 8, EPOCHS = 5 };

/* A regression, its data and everything that trains it. */
/* What becomes of a loss. */
enum { FINE, NAN_LOSS, INFINITE_LOSS, INFINITE_GRADIENT };

typedef struct task {
    nn_error e;
    nn_array x, y;
    nn_dataset train_set, validation_set;
    nn_loader *train, *validation;
    ag_tape *tape;
    nn_model *model;
    nn_dense hidden, output;
    nn_dropout dropout;
    nn_batch_norm norm; /* of one test */
    nn_optimiser *optimiser;
    nn_average *average;
    nn_plateau plateau;
    nn_step *step;
    int batches;                   /* prepared for training */
    int raise_at, fail_at, nan_at; /* at which a signal comes, nothing goes on, or a number is NaN; 0: never */
    int spoil;
    int epochs_seen, most_epochs;
} task;

static void forward(void *context, const ag_var *batch, ag_var *out) {
    task *k = context;
    ag_var h = ag_tanh(nn_dense_apply(k->hidden, batch[0]));
    h = nn_dropout_apply(k->dropout, nn_dropout_apply(k->dropout, h)); /* other numbers each time */
    out[1] = ag_reshape(nn_dense_apply(k->output, h), AG_SHAPE(-1));
    out[0] = nn_mse(out[1], batch[1]);
    if (k->spoil == NAN_LOSS) out[0] = ag_add(out[0], ag_sum(ag_log(ag_sub(nn_model_clock(k->model), 3))));
    if (k->spoil == INFINITE_LOSS) out[0] = ag_add(out[0], ag_div(1, nn_model_clock(k->model)));
    if (k->spoil == INFINITE_GRADIENT)
        out[0] = ag_add(out[0], ag_sqrt(ag_sub(ag_sum(k->output.weight), ag_sum(k->output.weight))));
}

static void hook(void *context, nn_batch *batch, nn_error *e) {
    task *k = context;
    k->batches++;
    if (k->batches == k->nan_at) ((float *)batch->fields[0].data)[0] = NAN;
    if (k->batches == k->raise_at) raise(SIGINT);
    if (k->batches == k->fail_at) nn_fail(e, AG_ERR_FILE, "killed");
}

static void open_task(task *k, bool traced) {
    *k = (task){.most_epochs = 1000};
    k->x = nn_array_new(NN_F32, AG_SHAPE(SAMPLES, INPUTS), &k->e);
    k->y = nn_array_new(NN_F32, AG_SHAPE(SAMPLES), &k->e);
    float *x = k->x.data, *y = k->y.data;
    for (int i = 0; i < SAMPLES; i++) {
        for (int j = 0; j < INPUTS; j++) x[i * INPUTS + j] = (float)sin(1.3 * (i * INPUTS + j));
        y[i] = x[i * INPUTS] - 0.5F * x[i * INPUTS + 1] * x[i * INPUTS + 2];
    }
    nn_dataset all = nn_dataset_of((const nn_array[]){k->x, k->y}, 2, &k->e);
    nn_dataset_split(&all, 0.7, 1, &k->train_set, &k->validation_set, &k->e);
    nn_dataset_free(&all);
    nn_loader_options o = {.batch = BATCH, .shuffle = true, .seed = 3, .threads = -1, .hook = hook, .context = k};
    k->train = nn_loader_new(&k->train_set, &o, &k->e);
    k->validation = nn_loader_new(&k->validation_set, &(nn_loader_options){.batch = BATCH}, &k->e);
    k->tape = ag_tape_new(AG_F32);
    k->model = nn_model_new(k->tape, 1);
    k->hidden = nn_dense_init(k->model, "hidden", INPUTS, 8, (nn_dense_options){0});
    k->dropout = nn_dropout_init(k->model, "drop", 0.1);
    k->output = nn_dense_init(k->model, "output", 8, 1, (nn_dense_options){0});
    k->optimiser = nn_adam(k->model, (nn_adam_options){.rate = 0.01});
    k->average = nn_average_new(k->model, 0.9);
    k->plateau = (nn_plateau){.rate = 0.01, .patience = 2};
    k->step = nn_step_new(k->model, forward, k, (nn_step_options){.outputs = 2, .traced = traced});
    if (k->e.status != AG_OK) fail_msg("%s", k->e.message);
}

static void close_task(task *k) {
    nn_step_free(k->step);
    nn_average_free(k->average);
    nn_optimiser_free(k->optimiser);
    nn_model_free(k->model);
    ag_tape_free(k->tape);
    nn_loader_free(k->train);
    nn_loader_free(k->validation);
    nn_dataset_free(&k->train_set);
    nn_dataset_free(&k->validation_set);
    nn_array_free(&k->x);
    nn_array_free(&k->y);
}

static bool count_epochs(void *context, const nn_epoch *q) {
    task *k = context;
    assert_true(q->epoch > k->epochs_seen);
    k->epochs_seen = (int)q->epoch;
    return q->epoch < k->most_epochs;
}

static nn_fit_options options_of(task *k) {
    return (nn_fit_options){.step = k->step,
                            .optimiser = k->optimiser,
                            .train = k->train,
                            .validation = k->validation,
                            .epochs = EPOCHS,
                            .metrics = {{.kind = NN_R2}, {.kind = NN_MAE}},
                            .metric_count = 2,
                            .average = k->average,
                            .plateau = &k->plateau,
                            .after_epoch = count_epochs,
                            .context = k};
}

static nn_fitted fit(task *k, nn_fit_options o) {
    nn_fitted f = nn_fit(&o, &k->e);
    if (k->e.status != AG_OK) fail_msg("%s", k->e.message);
    return f;
}

static void read_weights(const task *k, float *to) {
    for (int i = 0; i < nn_parameter_count(k->model); i++) {
        ag_var p = nn_parameter_at(k->model, i);
        ag_read_f32(p, to);
        to += ag_count(p);
    }
}

static char *path_of(const char *name) {
    static char path[512];
    snprintf(path, sizeof path, "%s/%s", folder, name);
    return path;
}

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

/* ---- going on --------------------------------------------------------------------------------------------------- */

enum { MOST_WEIGHTS = 64 };

/* Weights after training in one go. */
static void train_whole(bool traced, int64_t accumulate, float *weights) {
    task k;
    open_task(&k, traced);
    nn_fit_options o = options_of(&k);
    o.accumulate = accumulate;
    fit(&k, o);
    read_weights(&k, weights);
    close_task(&k);
}

/* Training that is cut off again and again, each time later, each time gone on with from the file alone. */
static void goes_on_bit_for_bit(void **state) {
    (void)state;
    for (int kind = 0; kind < 4; kind++) {
        bool traced = kind & 1;
        int64_t accumulate = kind & 2 ? 2 : 0;
        float whole[MOST_WEIGHTS] = {0}, parts[MOST_WEIGHTS] = {0};
        char path[512];
        snprintf(path, sizeof path, "%s", path_of("training.safetensors"));
        (void)unlink(path);
        train_whole(traced, accumulate, whole);
        int runs = 0;
        for (nn_fitted f = {0}; f.ending != NN_ENDED_EPOCHS || runs == 0; runs++) {
            task k; /* as another process would */
            open_task(&k, traced);
            k.fail_at = 4 + runs % 3;
            nn_fit_options o = options_of(&k);
            o.after_epoch = NULL;
            o.accumulate = accumulate;
            o.checkpoint = path;
            o.checkpoint_steps = accumulate ? 1 : 2;
            f = nn_fit(&o, &k.e);
            if (k.e.status != AG_OK && strcmp(k.e.message, "killed") != 0) fail_msg("%s", k.e.message);
            assert_int_equal(f.ending == NN_FAILED, k.e.status != AG_OK);
            if (f.ending == NN_ENDED_EPOCHS) {
                assert_int_equal(f.last.epoch, EPOCHS);
                read_weights(&k, parts);
            }
            close_task(&k);
            assert_true(runs < 40);
        }
        assert_true(runs > 4);
        for (int i = 0; i < MOST_WEIGHTS; i++)
            if (memcmp(&whole[i], &parts[i], sizeof *whole) != 0)
                fail_msg("%s, %d batches a step: weight %d is %.9g, should be %.9g", traced ? "traced" : "eager",
                         (int)accumulate, i, (double)parts[i], (double)whole[i]);
    }
}

static void interrupted(void **state) {
    (void)state;
    float whole[MOST_WEIGHTS] = {0}, parts[MOST_WEIGHTS] = {0};
    char path[512];
    snprintf(path, sizeof path, "%s", path_of("interrupted.safetensors"));
    train_whole(true, 0, whole);
    for (int run = 0; run < 2; run++) {
        task k;
        open_task(&k, true);
        k.raise_at = run == 0 ? 8 : 0;
        nn_fit_options o = options_of(&k);
        o.checkpoint = path;
        nn_fitted f = fit(&k, o);
        assert_int_equal(f.ending, run == 0 ? NN_INTERRUPTED : NN_ENDED_EPOCHS);
        assert_int_equal(f.last.epoch, run == 0 ? 1 : EPOCHS);
        read_weights(&k, parts);
        close_task(&k);
    }
    assert_memory_equal(whole, parts, sizeof whole);
    struct sigaction now;
    assert_int_equal(sigaction(SIGINT, NULL, &now), 0);
    assert_true(now.sa_handler == SIG_DFL);
}

/* Training in which a limit on steps comes in the middle of an epoch, at its end, or inside its last group of batches. */
static void goes_on_after_a_limit(void **state) {
    (void)state;
    enum { LAST = 9, KINDS = 3 };
    for (int kind = 0; kind < 2 * KINDS * LAST; kind++) {
        bool traced = kind & 1;
        int64_t accumulate = 1 + kind / 2 % KINDS, limit = 1 + kind / 2 / KINDS;
        float whole[MOST_WEIGHTS] = {0}, parts[MOST_WEIGHTS] = {0};
        nn_fitted ends[2];
        char path[512];
        snprintf(path, sizeof path, "%s", path_of("limit.safetensors"));
        (void)unlink(path);
        for (int run = 0; run < 3; run++) { /* whole; its start; the rest */
            task k;
            open_task(&k, traced);
            nn_fit_options o = options_of(&k);
            o.accumulate = accumulate;
            o.epochs = 3;
            o.steps = run == 1 ? limit : 0;
            o.checkpoint = run > 0 ? path : NULL;
            nn_fitted f = fit(&k, o);
            int64_t each = (5 + accumulate - 1) / accumulate; /* steps of an epoch */
            bool over = run != 1 || limit > 3 * each;
            assert_int_equal(f.ending, NN_ENDED_EPOCHS);
            assert_int_equal(f.last.epoch, over ? 3 : limit / each);
            assert_int_equal(f.last.steps, f.last.epoch * each);
            assert_int_equal(nn_optimiser_steps(k.optimiser), over ? 3 * each : limit);
            if (run != 1) {
                read_weights(&k, run == 0 ? whole : parts);
                ends[run / 2] = f;
                ends[run / 2].last.seconds = 0;
            }
            close_task(&k);
        }
        assert_memory_equal(whole, parts, sizeof whole);
        assert_memory_equal(&ends[0].last.loss, &ends[1].last.loss, sizeof(double));
        assert_memory_equal(ends[0].last.metrics, ends[1].last.metrics, sizeof ends[0].last.metrics);
    }
}

/* One loader, no checkpoint: what follows a limit is a whole epoch after an epoch's end, else the rest of one. */
static void one_loader_for_two(void **state) {
    (void)state;
    for (int64_t limit = 5; limit < 8; limit += 2) {
        task k;
        open_task(&k, true);
        nn_fit_options o = options_of(&k);
        o.after_epoch = NULL;
        o.steps = limit;
        nn_fitted f = fit(&k, o);
        assert_int_equal(f.last.epoch, 1);
        o.steps = 0;
        o.epochs = 1;
        o.accumulate = 2;
        f = fit(&k, o);
        assert_int_equal(f.last.steps,
                         limit == 5 ? 3 : 2); /* of 5 batches, or of the 3 that are left of the second epoch */
        assert_true(isfinite(f.last.loss));
        assert_int_equal(nn_loader_where(k.train).position, 0);
        close_task(&k);
    }
}

/* Training that ended early has ended: run again, it says so. */
static void what_ended_early_stays_ended(void **state) {
    (void)state;
    float ended[MOST_WEIGHTS] = {0}, again[MOST_WEIGHTS] = {0};
    char path[512];
    snprintf(path, sizeof path, "%s", path_of("early.safetensors"));
    for (int run = 0; run < 4; run++) {
        task k;
        open_task(&k, true);
        nn_fit_options o = options_of(&k);
        o.epochs = 50;
        o.least_gain = 1e9;
        o.patience = run < 3 ? 2 : 4; /* more of it goes on */
        o.checkpoint = path;
        nn_fitted f = fit(&k, o);
        assert_int_equal(f.ending, NN_ENDED_EARLY);
        assert_int_equal(f.last.epoch, run < 3 ? 3 : 5);
        assert_int_equal(k.batches, run == 0 ? 3 * 5 : run < 3 ? 0 : 2 * 5);
        read_weights(&k, run == 0 ? ended : again);
        if (run == 1 || run == 2) assert_memory_equal(ended, again, sizeof ended);
        close_task(&k);
    }
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

/* Of the epoch that was cut off, too. */
static void metrics_of_training_go_on(void **state) {
    (void)state;
    double metrics[2][2];
    for (int cut = 0; cut < 2; cut++) {
        char path[512];
        snprintf(path, sizeof path, "%s", path_of("metrics.safetensors"));
        for (int run = 1 - cut; run < 2; run++) {
            task k;
            open_task(&k, true);
            k.raise_at = run == 0 ? 8 : 0; /* in the second epoch */
            nn_fit_options o = options_of(&k);
            o.validation = NULL;
            o.epochs = 2;
            o.checkpoint = cut ? path : NULL;
            nn_fitted f = fit(&k, o);
            assert_int_equal(f.ending, run == 0 ? NN_INTERRUPTED : NN_ENDED_EPOCHS);
            memcpy(metrics[cut], f.last.metrics, sizeof metrics[cut]);
            close_task(&k);
        }
    }
    assert_memory_equal(metrics[0], metrics[1], sizeof metrics[0]);
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

static void classify(void *context, const ag_var *batch, ag_var *out) {
    task *k = context;
    out[1] = nn_dense_apply(k->hidden, batch[0]);
    out[0] = nn_softmax_cross_entropy_at(out[1], batch[1], (nn_class_options){0});
}

static void regress(void *context, const ag_var *batch, ag_var *out) {
    task *k = context;
    out[1] = nn_dense_apply(k->hidden, batch[0]);
    out[0] = nn_mse(ag_sum_over(out[1], AG_AXES(-1), false), batch[1]);
}

/* What is wrong in a batch is named by its row of the data, too, which is another than its place in a shuffled batch. */
static void rows_of_the_data_are_named(void **state) {
    (void)state;
    for (int i = 0; i < 6; i++) {
        char row[64];
        task k;
        open_task(&k, false);
        int64_t at = k.train_set.rows[k.train_set.count / 2];
        for (int n = 0; n < SAMPLES; n++) ((float *)k.y.data)[n] = (float)(n % 8);
        ((float *)k.y.data)[at] = i / 2 == 1 ? NAN : 9;
        snprintf(row, sizeof row, "of the batch, row %d of the data)", (int)at);
        nn_fit_options o = options_of(&k);
        o.validation = NULL;
        o.metric_count = i / 2 == 2;
        o.metrics[0] = (nn_metric){.kind = NN_ACCURACY};
        o.step =
            nn_step_new(k.model, i / 2 == 0 ? classify : regress, &k, (nn_step_options){.outputs = 2, .traced = i % 2});
        expect_failure(&k, o, AG_ERR_VALUE, row);
        nn_step_free(o.step);
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
        cmocka_unit_test(it_ends),
        cmocka_unit_test(goes_on_bit_for_bit),
        cmocka_unit_test(interrupted),
        cmocka_unit_test(goes_on_after_a_limit),
        cmocka_unit_test(one_loader_for_two),
        cmocka_unit_test(what_ended_early_stays_ended),
        cmocka_unit_test(the_scale_is_the_callers),
        cmocka_unit_test(metrics_of_training_go_on),
        cmocka_unit_test(the_rate_is_the_last_steps),
        cmocka_unit_test(the_best_is_kept),
        cmocka_unit_test(rows_of_the_data_are_named),
        cmocka_unit_test(nan_and_infinity_stop_before_the_model_changes),
        cmocka_unit_test(nan_leaves_running_statistics),
        cmocka_unit_test(errors),
    };
    return cmocka_run_group_tests(tests, open_folder, close_folder);
}
