/* What all optimisers share: their life, groups of parameters, state, and the step. */
#include "nn/memory.h"
#include "optimise_impl.h"

#include <math.h>

nn_optimiser *nn_optimiser_new(nn_model *model, const nn_optimiser *like) {
    ag_tape *tape = nn_model_tape(model);
    if (ag_tape_status(tape) != AG_OK) return NULL;
    size_t count = (size_t)nn_parameter_count(model);
    nn_optimiser *o = nn_allocate(1, sizeof *o);
    if (o == NULL) goto fail;
    *o = *like;
    o->model = model;
    o->scale = 1;
    o->norm = (double)NAN;
    o->groups = nn_allocate(count, sizeof *o->groups);
    o->steps = nn_allocate(count, sizeof *o->steps);
    o->rows = nn_allocate(count, sizeof *o->rows);
    o->updates = nn_allocate(count, sizeof *o->updates);
    if (!nn_moments_new(&o->arrays, model, o->method.states) || o->groups == NULL || o->steps == NULL ||
        o->rows == NULL || o->updates == NULL)
        goto fail;
    for (size_t i = 0; i < count; i++) o->groups[i] = (nn_group){1, o->decay};
    return o;
fail:
    ag_fail(tape, AG_ERR_MEMORY, "%s: out of memory for the state of %lld numbers", like->method.name,
            (long long)nn_model_size(model));
    nn_optimiser_free(o);
    return NULL;
}

nn_model *nn_optimiser_model(const nn_optimiser *o) { return o == NULL ? NULL : o->model; }

void nn_optimiser_free(nn_optimiser *o) {
    if (o == NULL) return;
    nn_moments_free(&o->arrays);
    nn_release(o->groups);
    nn_release(o->steps);
    nn_release(o->rows);
    nn_release(o->updates);
    nn_release(o);
}

bool nn_options_settle(nn_model *model, const char *what, const nn_option *options, int count) {
    ag_tape *tape = nn_model_tape(model);
    for (int i = 0; i < count; i++) {
        const nn_option *o = &options[i];
        if (*o->value == 0) *o->value = signbit(*o->value) ? 0 : o->otherwise; /* NN_ZERO is 0, 0 the default */
        if (*o->value >= o->least && *o->value < o->less_than) continue;
        if (o->less_than < INFINITY)
            ag_fail(tape, AG_ERR_VALUE, "%s: %s is %g; it must be at least %g and below %g", what, o->name, *o->value,
                    o->least, o->less_than);
        else
            ag_fail(tape, AG_ERR_VALUE, "%s: %s is %g; it must be finite and at least %g", what, o->name, *o->value,
                    o->least);
        return false;
    }
    return ag_tape_status(tape) == AG_OK;
}

/* ---- settings -------------------------------------------------------------------------------------------------- */

/* Whether a setting that must be finite and at least `least` is; if not, an error. */
static bool setting(nn_optimiser *o, const char *what, double value, double least) {
    if (value >= least && value < INFINITY) return true;
    ag_fail(nn_model_tape(o->model), AG_ERR_VALUE, "%s: the %s is %g; it must be finite and at least %g",
            o->method.name, what, value, least);
    return false;
}

double nn_optimiser_rate(const nn_optimiser *o) {
    if (o == NULL) return (double)NAN;
    return o->schedule.kind == 0 ? o->now[1] : nn_schedule_rate(o->schedule, nn_optimiser_steps(o));
}

double nn_optimiser_last_rate(const nn_optimiser *o) { return o->now[1]; }

void nn_optimiser_set_rate(nn_optimiser *o, double rate) {
    if (o == NULL || !setting(o, "rate", rate, 0)) return;
    o->now[1] = rate;
    o->schedule = (nn_schedule){0};
}

void nn_optimiser_schedule(nn_optimiser *o, nn_schedule schedule) {
    if (o == NULL) return;
    const char *fault = nn_schedule_fault(schedule);
    if (fault == NULL) o->schedule = schedule;
    else ag_fail(nn_model_tape(o->model), AG_ERR_VALUE, "%s: %s", o->method.name, fault);
}

void nn_optimiser_scale(nn_optimiser *o, double scale) {
    if (o == NULL || !setting(o, "scale of gradients", scale, 0)) return;
    o->scale = scale;
}

double nn_optimiser_scale_now(const nn_optimiser *o) { return o->scale; }

void nn_optimiser_clip_norm(nn_optimiser *o, double most) {
    if (o == NULL || (most != INFINITY && !setting(o, "greatest norm", most, 0))) return;
    o->most_norm = most;
    o->norm = (double)NAN;
}

double nn_optimiser_norm(const nn_optimiser *o) { return o == NULL ? (double)NAN : o->norm; }

int64_t nn_optimiser_steps(const nn_optimiser *o) {
    return o == NULL || !(o->now[0] >= 0 && o->now[0] < 0x1p53) ? 0 : (int64_t)o->now[0]; /* a file may have anything */
}

/* A star of the pattern takes as few characters as it can; if the rest does not match, one more. */
static bool matches(const char *pattern, const char *name) {
    const char *star = NULL, *taken = NULL;
    while (*name != '\0') {
        if (*pattern == '*') {
            star = ++pattern;
            taken = name;
        } else if (*pattern == *name) {
            pattern++;
            name++;
        } else if (star != NULL) {
            pattern = star;
            name = ++taken;
        } else {
            return false;
        }
    }
    while (*pattern == '*') pattern++;
    return *pattern == '\0';
}

typedef void set_group(nn_group *group, double value);
static void set_factor(nn_group *group, double value) { group->factor = value; }
static void set_decay(nn_group *group, double value) { group->decay = value; }

static void set_groups(nn_optimiser *o, const char *pattern, const char *what, double value, set_group *set) {
    if (o == NULL || !setting(o, what, value, 0)) return;
    bool any = false;
    for (int i = 0; pattern != NULL && i < o->arrays.parameters; i++)
        if (matches(pattern, nn_parameter_name(o->model, i))) {
            set(&o->groups[i], value);
            any = true;
        }
    if (!any)
        ag_fail(nn_model_tape(o->model), AG_ERR_VALUE, "%s: no parameter's name matches \"%.80s\"", o->method.name,
                pattern == NULL ? "" : pattern);
}

void nn_optimiser_rate_factor(nn_optimiser *o, const char *pattern, double factor) {
    set_groups(o, pattern, "factor of a rate", factor, set_factor);
}
void nn_optimiser_decay(nn_optimiser *o, const char *pattern, double decay) {
    set_groups(o, pattern, "decay", decay, set_decay);
}

bool nn_optimiser_state(nn_optimiser *o, int i, nn_state *state) {
    int arrays = o == NULL ? 0 : nn_moments_count(&o->arrays);
    if (o == NULL || state == NULL || i < 0 || i >= arrays + 2) return false;
    if (i < arrays) nn_moments_state(&o->arrays, i, state);
    else if (i == arrays) *state = nn_state_of_numbers("steps_of_parameters", o->steps, o->arrays.parameters);
    else *state = nn_state_of_numbers("steps_and_rate", o->now, 2);
    return true;
}

/* ---- the step -------------------------------------------------------------------------------------------------- */

/* The numbers of the update of each row, most of which are those of the row before. */
static void prepare(nn_optimiser *o, int rows, double scale) {
    const nn_update *last = NULL;
    nn_group group = {0, 0};
    double step = 0;
    for (int i = 0; i < rows; i++) {
        int k = o->rows[i].parameter;
        nn_update *u = &o->updates[k];
        const nn_group *g = &o->groups[k];
        double now = ++o->steps[k];
        if (last != NULL && g->factor == group.factor && g->decay == group.decay && now == step) {
            *u = *last;
        } else {
            double rate = o->now[1] * g->factor;
            bool decoupled = o->method.decoupled;
            *u = (nn_update){.scale = scale,
                             .l2 = decoupled ? 0 : g->decay,
                             .shrink = decoupled ? 1 - rate * g->decay : 1,
                             .rate = rate};
            o->method.prepare(o, rate, now, u);
        }
        last = u;
        group = *g;
        step = now;
    }
}

static void update_part(void *context, const nn_row *row, int64_t start, int64_t n) {
    const nn_optimiser *o = context;
    ag_type type = ag_tape_type(nn_model_tape(o->model));
    int each = o->arrays.each;
    void *state[NN_MOST_ARRAYS] = {NULL};
    for (int k = 0; k < each; k++) state[k] = nn_at(type, o->arrays.place[row->parameter * each + k], start);
    nn_kernels_for(type)->update[o->method.kind]((size_t)n, nn_at(type, row->x, start),
                                                 nn_at(type, row->gradient, start), state, &o->updates[row->parameter]);
}

static void take_step(nn_optimiser *o, void *const *gradients) {
    const char *what = o->method.name;
    int rows = nn_moments_fit(&o->arrays, what) ? nn_rows_find(o->model, what, gradients, o->rows) : -1;
    if (rows < 0) return;
    double scale = o->scale;
    bool finite;
    if (o->most_norm > 0) {
        o->norm = scale * nn_rows_norm(o->rows, rows, ag_tape_type(nn_model_tape(o->model)));
        finite = isfinite(o->norm) || nn_rows_finite(o->model, what, o->rows, rows);
        scale *= nn_clip_factor(o->norm, o->most_norm);
    } else {
        finite = nn_rows_finite(o->model, what, o->rows, rows);
    }
    if (!finite) return;
    o->now[1] = nn_optimiser_rate(o);
    prepare(o, rows, scale);
    nn_rows_parallel(o->rows, rows, update_part, o);
    o->now[0]++;
    nn_model_commit(o->model);
}

void nn_optimiser_step(nn_optimiser *o) {
    if (o != NULL) take_step(o, NULL);
}

void nn_optimiser_step_from(nn_optimiser *o, void *const *gradients) {
    if (o == NULL) return;
    if (gradients != NULL) take_step(o, gradients);
    else ag_fail(nn_model_tape(o->model), AG_ERR_VALUE, "%s: no gradients", o->method.name);
}

void nn_sgd_step(nn_model *model, double rate) {
    if (model == NULL) return;
    ag_tape *tape = nn_model_tape(model);
    if (!isfinite(rate)) ag_fail(tape, AG_ERR_VALUE, "sgd_step: the rate is %g", rate);
    if (ag_tape_status(tape) != AG_OK) return;
    for (int i = 0, n = nn_parameter_count(model); i < n; i++) ag_step(nn_parameter_at(model, i), -rate);
    nn_model_commit(model);
}
