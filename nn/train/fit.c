/* nn_fit: epochs of training and validation.
 *
 * What training depends on later is in `numbers`, the history, the loaders' states and the owners of arrays (model,
 * optimiser, averages): together they are the checkpoint. */
#include "nn/keep.h"
#include "nn/model_impl.h"
#include "nn/optimise/settings_impl.h"
#include "nn/train/train_impl.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

/* Where training is. All numbers are doubles, so that they are one array of a checkpoint. */
typedef struct numbers {
    double epoch;                    /* that is under way, from 1 */
    double steps;                    /* of the optimiser */
    double loss_sum, count, batches; /* of this epoch: losses times samples, samples, batches */
    double best, best_epoch, since_best;
    double seconds; /* before this call */
} numbers;

typedef struct fit {
    const nn_fit_options *o;
    nn_error *e;
    nn_model *model;
    numbers now;
    nn_history history;
    nn_meter *meters[NN_MAX_METRICS];
    nn_progress progress;
    double begun;
    int64_t saved_steps; /* at the last checkpoint */
    bool ended;
    nn_ending ending;
} fit;

static bool is_fine(fit *f) {
    ag_tape *t = nn_model_tape(f->model);
    if (ag_tape_status(t) != AG_OK) nn_fail(f->e, ag_tape_status(t), "%s", ag_tape_message(t));
    return nn_ok(f->e);
}

static void end(fit *f, nn_ending ending) {
    if (f->ended) return;
    f->ended = true;
    f->ending = ending;
}

static double seconds(const fit *f) { return f->now.seconds + nn_seconds() - f->begun; }

/* ---- checkpoints ------------------------------------------------------------------------------------------------- */

enum { COLUMNS = 8 + NN_MAX_METRICS }; /* of the history as an array */

static void pack(const nn_epoch *q, double *x) {
    const double first[] = {(double)q->epoch, (double)q->steps, q->loss,         q->validation_loss,
                            q->rate,          q->seconds,       (double)q->best, (double)q->since_best};
    memcpy(x, first, sizeof first);
    memcpy(x + 8, q->metrics, sizeof q->metrics);
}

static nn_epoch unpack(const double *x) {
    nn_epoch q = {.epoch = (int64_t)x[0],
                  .steps = (int64_t)x[1],
                  .loss = x[2],
                  .validation_loss = x[3],
                  .rate = x[4],
                  .seconds = x[5],
                  .best = x[6] != 0,
                  .since_best = (int64_t)x[7]};
    memcpy(q.metrics, x + 8, sizeof q.metrics);
    return q;
}

/* What a checkpoint holds beside the model; how many things. */
static int list_kept(fit *f, numbers *now, nn_array *history, nn_array *meters, nn_kept kept[8]) {
    const nn_fit_options *o = f->o;
    int n = 0;
    kept[n++] = (nn_kept){.name = "fit", .numbers = (double *)now, .count = (int64_t)(sizeof *now / sizeof(double))};
    kept[n++] = (nn_kept){.name = "history", .array = history};
    kept[n++] = (nn_kept){.name = "meters", .array = meters};
    kept[n++] = (nn_kept){.name = "optimiser", .optimiser = o->optimiser};
    kept[n++] = (nn_kept){.name = "train", .loader = o->train};
    if (o->validation != NULL) kept[n++] = (nn_kept){.name = "validation", .loader = o->validation};
    if (o->average != NULL) kept[n++] = (nn_kept){.name = "average", .average = o->average};
    if (o->plateau != NULL) kept[n++] = (nn_kept){.name = "plateau", .plateau = o->plateau};
    return n;
}

/* What the meters have summed in the epoch that is under way. */
static nn_array keep_meters(fit *f) {
    nn_numbers all = {0};
    for (int k = 0; k < f->o->metric_count && f->now.batches > 0; k++) nn_meter_keep(f->meters[k], &all, f->e);
    nn_array array = nn_array_new(NN_F64, AG_SHAPE(all.count), f->e);
    if (nn_ok(f->e) && all.count > 0) memcpy(array.data, all.x, (size_t)all.count * sizeof *all.x);
    nn_release(all.x);
    return array;
}

static void take_up_meters(fit *f, const nn_array *array) {
    int64_t count = nn_array_count(array), at = 0;
    if (nn_ok(f->e) && array->type != NN_F64)
        nn_fail(f->e, AG_ERR_VALUE, "%s: its metrics are none of nn_fit", f->o->checkpoint);
    for (int k = 0; k < f->o->metric_count && at < count && nn_ok(f->e); k++)
        at += nn_meter_take_up(f->meters[k], (const double *)array->data + at, count - at, f->e);
}

static void save(fit *f) {
    if (f->o->checkpoint == NULL || !is_fine(f)) return;
    numbers now = f->now;
    now.seconds = seconds(f);
    nn_array history = nn_array_new(NN_F64, AG_SHAPE(f->history.count, COLUMNS), f->e), meters = keep_meters(f);
    nn_kept kept[8];
    for (int64_t i = 0; i < f->history.count && nn_ok(f->e); i++)
        pack(&f->history.epochs[i], (double *)history.data + i * COLUMNS);
    nn_checkpoint_save(f->model, f->o->checkpoint, kept, list_kept(f, &now, &history, &meters, kept), f->e);
    nn_array_free(&history);
    nn_array_free(&meters);
    f->saved_steps = (int64_t)f->now.steps;
}

static void keep(fit *f, const nn_epoch *q) {
    nn_history *h = &f->history;
    void *items = h->epochs;
    nn_epoch *to = nn_append(&items, &h->count, &h->room, sizeof *to, "fit", f->e);
    h->epochs = items;
    if (to != NULL) *to = *q;
}

/* From the checkpoint, if there is one. */
static void resume(fit *f) {
    if (f->o->checkpoint == NULL || (access(f->o->checkpoint, F_OK) != 0 && errno == ENOENT)) return;
    nn_array history = {0}, meters = {0};
    nn_kept kept[8];
    nn_checkpoint_load(f->model, f->o->checkpoint, kept, list_kept(f, &f->now, &history, &meters, kept), f->e);
    if (nn_ok(f->e) && (history.shape.rank != 2 || history.shape.dim[1] != COLUMNS || history.type != NN_F64))
        nn_fail(f->e, AG_ERR_VALUE, "%s: its history is none of nn_fit", f->o->checkpoint);
    for (int64_t i = 0; nn_ok(f->e) && i < history.shape.dim[0]; i++) {
        nn_epoch q = unpack((double *)history.data + i * COLUMNS);
        keep(f, &q);
    }
    take_up_meters(f, &meters);
    f->saved_steps = (int64_t)f->now.steps;
    nn_array_free(&history);
    nn_array_free(&meters);
}

/* ---- one step ---------------------------------------------------------------------------------------------------- */

/* Where the data have the sample that is to blame, in words; "" for -1. */
typedef struct sample_text {
    char text[96];
} sample_text;

static sample_text say_sample(const nn_batch *b, int64_t sample) {
    sample_text s = {""};
    if (sample >= 0)
        snprintf(s.text, sizeof s.text, " (sample %" PRId64 " of the batch, row %" PRId64 " of the data)", sample,
                 b->rows[sample]);
    return s;
}

/* The tape's error is of a batch: a label that is no class, say. */
static void fail_batch(fit *f, const nn_batch *b) {
    ag_tape *t = nn_model_tape(f->model);
    ag_status status = ag_tape_status(t);
    char what[280];
    snprintf(what, sizeof what, "%s", ag_tape_message(t));
    int64_t sample = nn_step_find_sample(f->o->step, b->fields, b->field_count, b->count, status);
    nn_fail(f->e, status, "%s%s", what, say_sample(b, sample).text);
    ag_fail(t, status, "%s", what);
}

/* The loss or a gradient is no number: says why. The tape's own error, if there is one, names the parameter. */
static void fail_nan(fit *f, const nn_batch *b, const char *what) {
    char where[257];
    int64_t sample = nn_step_find_sample(f->o->step, b->fields, b->field_count, b->count, AG_OK);
    ag_tape_recover(nn_model_tape(f->model));
    bool found = nn_step_find_nan(f->o->step, b->fields, b->field_count, where, sizeof where);
    ag_tape_recover(nn_model_tape(f->model));
    nn_fail(f->e, AG_ERR_VALUE, "fit: in epoch %.0f, after %.0f steps, %.100s%s%s%s", f->now.epoch, f->now.steps, what,
            found ? ": " : "", found ? where : "", say_sample(b, sample).text);
}

/* A sum over several batches is no number: they run once more, to find the one that is to blame. */
static void fail_group(fit *f, nn_loader_state first, int64_t batches, const char *what) {
    nn_loader *train = f->o->train;
    nn_loader_state here = nn_loader_where(train);
    nn_error e = {.status = AG_OK};
    char where[8];
    nn_batch b;
    ag_tape_recover(nn_model_tape(f->model));
    nn_model_discard(f->model);
    nn_loader_seek(train, first, &e);
    for (int64_t i = 0; i < batches && nn_ok(f->e) && nn_loader_next(train, &b, &e); i++) {
        if (i > 0) nn_model_begin_more(f->model); /* the clock is what it was then */
        nn_model_end_batch(f->model);
        if (nn_step_find_nan(f->o->step, b.fields, b.field_count, where, sizeof where)) fail_nan(f, &b, what);
    }
    nn_loader_seek(train, here, &e);
    nn_fail(f->e, AG_ERR_VALUE, "fit: in epoch %.0f, after %.0f steps, %.200s", f->now.epoch, f->now.steps, what);
}

/* A sweep gives all parameters an adjoint that the loss depends on. Where there are none, nothing would ever change. */
static bool depends_on_parameters(fit *f) {
    int n = nn_parameter_count(f->model);
    for (int i = 0; i < n; i++)
        if (ag_numbers_of(nn_parameter_at(f->model, i)).grad != NULL) return true;
    if (n == 0) return true;
    nn_fail(f->e, AG_ERR_VALUE, "fit: in epoch %.0f, after %.0f steps, the loss depends on no parameter of the model",
            f->now.epoch, f->now.steps);
    return false;
}

/* `first` is where the loader was before the first of these batches, of which `b` is the last. */
static void optimise(fit *f, const nn_batch *b, nn_loader_state first, int64_t batches) {
    ag_tape *t = nn_model_tape(f->model);
    if (f->now.steps == 0 && !depends_on_parameters(f)) return;
    double scale = nn_optimiser_scale_now(f->o->optimiser);
    nn_optimiser_scale(f->o->optimiser, scale / (double)batches);
    nn_optimiser_step(f->o->optimiser);
    nn_optimiser_scale(f->o->optimiser, scale);
    if (ag_tape_status(t) == AG_ERR_VALUE) {
        char what[320];
        snprintf(what, sizeof what, "%s", ag_tape_message(t));
        if (batches > 1) fail_group(f, first, batches, what);
        else fail_nan(f, b, what);
        return;
    }
    nn_average_update(f->o->average);
    f->now.steps++;
}

/* Which sample a metric refuses; -1 if that is none alone. */
static int64_t find_unmeasured(nn_metric metric, const nn_array *output, const nn_array *field, int64_t samples) {
    nn_error e = {.status = AG_OK};
    nn_meter *m = nn_meter_new(metric, &e);
    int64_t n = 0;
    bool parted = output->shape.rank > 0 && output->shape.dim[0] == samples && field->shape.rank > 0 &&
                  field->shape.dim[0] == samples;
    for (; nn_ok(&e) && parted && n < samples; n++) {
        nn_array prediction = nn_sample_of(output, n), target = nn_sample_of(field, n);
        nn_meter_add(m, &prediction, &target, &e);
    }
    nn_meter_free(m);
    return e.status == AG_ERR_VALUE ? n - 1 : -1;
}

static void add_to_meter(fit *f, int k, const nn_array *output, const nn_array *field, const nn_batch *b) {
    nn_error e = {.status = AG_OK};
    nn_meter_add(f->meters[k], output, field, &e);
    if (nn_ok(&e)) return;
    int64_t sample = e.status == AG_ERR_VALUE ? find_unmeasured(f->o->metrics[k], output, field, b->count) : -1;
    nn_fail(f->e, e.status, "%.280s%s", e.message, say_sample(b, sample).text);
}

static void measure(fit *f, const nn_batch *b) {
    for (int k = 0; k < f->o->metric_count; k++) {
        const nn_metric *m = &f->o->metrics[k];
        int field = m->field > 0 ? m->field : 1, output = m->output > 0 ? m->output : 1;
        if (nn_step_output(f->o->step, output)->data == NULL || field >= b->field_count)
            nn_fail(f->e, AG_ERR_VALUE,
                    "fit: metric %s wants output %d of the step and field %d of a batch; the last ones are %d and %d",
                    nn_metric_name(m->kind), output, field, nn_step_output_count(f->o->step) - 1, b->field_count - 1);
        else add_to_meter(f, k, nn_step_output(f->o->step, output), &b->fields[field], b);
    }
}

static bool run_batch(fit *f, const nn_batch *b, nn_wanted wanted, double *loss) {
    *loss = nn_step_run(f->o->step, b->fields, b->field_count, wanted);
    if (ag_tape_status(nn_model_tape(f->model)) == AG_ERR_VALUE) fail_batch(f, b);
    if (!is_fine(f)) return false;
    if (isfinite(*loss)) return true;
    char what[64];
    snprintf(what, sizeof what, "the %sloss is %g", wanted == NN_VALUES ? "validation " : "",
             isnan(*loss) ? fabs(*loss) : *loss); /* no "-nan" */
    fail_nan(f, b, what);
    return false;
}

static bool is_over(const fit *f) {
    return (f->o->steps > 0 && f->now.steps >= (double)f->o->steps) ||
           (f->o->seconds > 0 && seconds(f) >= f->o->seconds);
}

/* Whether the batch that was handed out is the last one of its epoch. */
static bool is_last(const fit *f) { return nn_loader_is_at_end(f->o->train); }

/* What may come between two steps. A limit at an epoch's end lets it be closed. */
static void look_around(fit *f) {
    if (nn_signals_came()) end(f, NN_INTERRUPTED);
    if (is_over(f) && !is_last(f)) end(f, NN_ENDED_EPOCHS);
    int64_t since = (int64_t)f->now.steps - f->saved_steps;
    if (f->o->checkpoint_steps > 0 && since >= f->o->checkpoint_steps && !f->ended) save(f);
}

static void train(fit *f) {
    const nn_fit_options *o = f->o;
    int64_t group = o->accumulate > 1 ? o->accumulate : 1, in_group = 0;
    nn_loader_state here = nn_loader_where(o->train), first = here;
    nn_batch b;
    for (; !f->ended && is_fine(f) && nn_loader_next(o->train, &b, f->e); here = nn_loader_where(o->train)) {
        double loss;
        if (in_group == 0) first = here;
        if (!run_batch(f, &b, in_group == 0 ? NN_GRADIENTS : NN_MORE_GRADIENTS, &loss)) return;
        f->now.loss_sum += loss * (double)b.count;
        f->now.count += (double)b.count;
        f->now.batches++;
        if (o->validation == NULL) measure(f, &b);
        nn_progress_more(&f->progress, b.count, f->now.loss_sum / f->now.count);
        if (++in_group < group && !is_last(f)) continue;
        optimise(f, &b, first, in_group);
        in_group = 0;
        if (is_fine(f)) look_around(f);
    }
}

/* ---- one epoch --------------------------------------------------------------------------------------------------- */

/* The loss over the validation's samples, with averaged weights if there are any. */
static double validate(fit *f) {
    const nn_fit_options *o = f->o;
    double sum = 0, count = 0, loss;
    nn_batch b;
    if (o->validation == NULL) return NAN;
    nn_model_train(f->model, false);
    while (is_fine(f) && nn_loader_next(o->validation, &b, f->e)) {
        if (!run_batch(f, &b, NN_VALUES, &loss)) break;
        sum += loss * (double)b.count;
        count += (double)b.count;
        measure(f, &b);
    }
    nn_model_train(f->model, true);
    return count > 0 ? sum / count : NAN;
}

/* What tells which epoch is better: less of it. */
static double measure_of(const fit *f, const nn_epoch *q) {
    int k = f->o->measure - 1;
    if (k >= 0) return nn_metric_is_better_greater(f->o->metrics[k].kind) ? -q->metrics[k] : q->metrics[k];
    return f->o->validation != NULL ? q->validation_loss : q->loss;
}

static void judge(fit *f, nn_epoch *q) {
    double now = measure_of(f, q);
    q->best = f->now.best_epoch == 0 ? !isnan(now) : now < f->now.best - f->o->least_gain;
    if (q->best) {
        f->now.best = now;
        f->now.best_epoch = f->now.epoch;
        f->now.since_best = 0;
    } else {
        f->now.since_best++;
    }
    q->since_best = (int64_t)f->now.since_best;
}

static void end_early(fit *f) {
    if (f->o->patience > 0 && f->now.since_best >= (double)f->o->patience) end(f, NN_ENDED_EARLY);
}

static void report(fit *f, const nn_epoch *q) {
    const nn_fit_options *o = f->o;
    nn_progress_end(&f->progress, q, o);
    if (o->log != NULL) nn_history_write(&f->history, o, o->log, f->e);
    if (o->curves != NULL) nn_history_draw(&f->history, o->curves, f->e);
    if (o->after_epoch != NULL && nn_ok(f->e) && !o->after_epoch(o->context, q)) end(f, NN_ENDED_CALLER);
    end_early(f);
}

/* Otherwise it goes on from a checkpoint. */
static void begin_epoch(fit *f) {
    nn_batch none;
    for (int k = 0; k < f->o->metric_count; k++) nn_meter_reset(f->meters[k]);
    if (is_last(f))
        (void)nn_loader_next(f->o->train, &none, f->e); /* whoever used the loader before has left it there */
}

static void run_epoch(fit *f) {
    const nn_fit_options *o = f->o;
    if (f->now.batches == 0) begin_epoch(f);
    nn_progress_begin(&f->progress, (int64_t)f->now.epoch, (int64_t)f->now.batches, nn_loader_batches(o->train));
    train(f);
    if (!is_fine(f) || f->ended) return; /* in the middle of the epoch */
    nn_epoch q = {.epoch = (int64_t)f->now.epoch,
                  .steps = (int64_t)f->now.steps,
                  .loss = f->now.loss_sum / f->now.count,
                  .rate = nn_optimiser_last_rate(o->optimiser)};
    nn_average_swap(o->average);
    q.validation_loss = validate(f);
    for (int k = 0; k < o->metric_count; k++) q.metrics[k] = nn_meter_value(f->meters[k]);
    judge(f, &q);
    if (q.best && o->best != NULL && is_fine(f)) nn_model_save(f->model, o->best, f->e);
    nn_average_swap(o->average);
    if (o->plateau != NULL)
        nn_optimiser_set_rate(o->optimiser,
                              nn_plateau_rate(o->plateau, o->validation != NULL ? q.validation_loss : q.loss));
    q.seconds = seconds(f);
    if (is_fine(f)) keep(f, &q);
    f->now.epoch++;
    f->now.loss_sum = f->now.count = f->now.batches = 0;
    if (is_fine(f)) report(f, &q);
    if (is_fine(f)) save(f);
    if (nn_signals_came()) end(f, NN_INTERRUPTED); /* during the validation, say */
}

/* ---- all --------------------------------------------------------------------------------------------------------- */

static void check(const nn_fit_options *o, nn_error *e) {
    /* what could not be made has left its reason on the tape */
    ag_tape *t = nn_model_tape(o->step != NULL ? nn_step_model(o->step) : nn_optimiser_model(o->optimiser));
    if (t != NULL && ag_tape_status(t) != AG_OK) nn_fail(e, ag_tape_status(t), "%s", ag_tape_message(t));
    if (o->step == NULL || o->optimiser == NULL || o->train == NULL)
        nn_fail(e, AG_ERR_VALUE, "fit: no %s",
                o->step == NULL    ? "step"
                : o->train == NULL ? "loader to train"
                                   : "optimiser");
    if (o->epochs < 1) nn_fail(e, AG_ERR_VALUE, "fit: %" PRId64 " epochs", o->epochs);
    if (o->metric_count < 0 || o->metric_count > NN_MAX_METRICS)
        nn_fail(e, AG_ERR_VALUE, "fit: %d metrics, not 0 to %d", o->metric_count, NN_MAX_METRICS);
    else if (o->measure < 0 || o->measure > o->metric_count)
        nn_fail(e, AG_ERR_VALUE, "fit: metric %d of %d is to tell which epoch is best", o->measure, o->metric_count);
    if (o->steps < 0 || o->accumulate < 0 || o->patience < 0 || o->checkpoint_steps < 0 || !(o->least_gain >= 0))
        nn_fail(e, AG_ERR_VALUE, "fit: a number of steps, batches or epochs, or the least gain, is negative");
}

static bool goes_on(fit *f) { return is_fine(f) && !f->ended && f->now.epoch <= (double)f->o->epochs && !is_over(f); }

/* What cannot be written is better known before an epoch's work than after it. */
static void try_files(const nn_fit_options *o, nn_error *e) {
    nn_replace_try(o->checkpoint, e);
    nn_replace_try(o->best, e);
    nn_replace_try(o->log, e);
    nn_replace_try(o->curves, e);
}

nn_fitted nn_fit(const nn_fit_options *o, nn_error *e) {
    const nn_epoch none = {.loss = NAN, .validation_loss = NAN, .rate = NAN};
    nn_fitted result = {.ending = NN_FAILED, .last = none, .best = none};
    for (int k = 0; k < NN_MAX_METRICS; k++) result.last.metrics[k] = result.best.metrics[k] = NAN;
    if (nn_given(o, "fit: the pointer to options", e)) check(o, e);
    if (!nn_ok(e)) return result;
    fit f = {.o = o, .e = e, .model = nn_step_model(o->step), .now = {.epoch = 1}, .begun = nn_seconds()};
    f.progress = (nn_progress){.out = o->progress, .epochs = o->epochs};
    for (int k = 0; k < o->metric_count; k++) f.meters[k] = nn_meter_new(o->metrics[k], e);
    if (is_fine(&f)) resume(&f);
    end_early(&f); /* if it had ended */
    if (goes_on(&f)) try_files(o, e);
    nn_signals_catch();
    while (goes_on(&f)) run_epoch(&f);
    if (is_fine(&f) && f.ended && f.now.batches > 0) save(&f); /* the epoch that was cut off */
    nn_signals_release();
    if (nn_ok(e)) result.ending = f.ended ? f.ending : NN_ENDED_EPOCHS;
    else nn_model_discard(f.model); /* what the step that failed had for buffers */
    for (int64_t i = 0; i < f.history.count; i++) {
        result.last = f.history.epochs[i];
        if (result.last.best) result.best = result.last;
    }
    for (int k = 0; k < o->metric_count; k++) nn_meter_free(f.meters[k]);
    nn_release(f.history.epochs);
    return result;
}
