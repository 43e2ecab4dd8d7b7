/* L-BFGS: Nocedal, Wright, Numerical Optimization, 2006, algorithms 7.4 and 7.5, with PyTorch's conventions on when to stop
 * and what the first step is. */
#include "line_search_impl.h"
#include "nn/memory.h"
#include "optimise_impl.h"

#include <math.h>

enum { PLACES = 4 }; /* of gradients, for the line search */

/* What goes on from call to call, and is saved: numbers in f64. */
enum { ITERATIONS, PAIRS, NEXT_PAIR, STEP, SCALE, NUMBERS };

struct nn_lbfgs {
    nn_model *model;
    nn_lbfgs_options options;
    const nn_kernels *kernels;
    ag_type type;
    int64_t n; /* numbers in all parameters */
    int parameters;
    void *memory;
    void *start;            /* the parameters where an iteration begins */
    void *direction;        /* of the last iteration */
    void *last;             /* the gradient where it began */
    void *gradient[PLACES]; /* of these, `now` has that at the parameters, between iterations */
    int now;
    void *steps, *changes; /* `history` pairs: a step, and the change of the gradient along it; the next overwritten */
    double *curvature;     /* 1 / (step . change) of each pair */
    double *weights;       /* of algorithm 7.4 */
    double numbers[NUMBERS];
    nn_loss_function loss; /* of a call */
    void *context;
};

static const char *const name = "lbfgs";

nn_lbfgs *nn_lbfgs_new(nn_model *model, nn_lbfgs_options o) {
    double iterations = o.iterations, evaluations = o.evaluations, history = o.history;
    const nn_option options[] = {
        {"the rate", &o.rate, 1, 0, INFINITY},
        {"the number of iterations", &iterations, 20, 1, 1e9},
        {"the number of evaluations", &evaluations, floor((o.iterations == 0 ? 20 : iterations) * 1.25), 1, 1.25e9},
        {"the greatest element of a gradient", &o.gradient, 1e-7, 0, INFINITY},
        {"the least change", &o.change, 1e-9, 0, INFINITY},
        {"the length of the history", &history, 100, 1, 1e6},
    };
    if (model == NULL || !nn_options_settle(model, name, options, (int)(sizeof options / sizeof *options))) return NULL;
    ag_tape *tape = nn_model_tape(model);
    o.iterations = (int)iterations;
    o.evaluations = (int)evaluations;
    o.history = (int)history;
    size_t n = (size_t)nn_model_size(model), pairs = (size_t)o.history, size = nn_size_of(ag_tape_type(tape));
    nn_lbfgs *l = nn_allocate(1, sizeof *l);
    if (l == NULL) goto fail;
    *l = (nn_lbfgs){.model = model,
                    .options = o,
                    .type = ag_tape_type(tape),
                    .kernels = nn_kernels_for(ag_tape_type(tape)),
                    .n = (int64_t)n,
                    .parameters = nn_parameter_count(model)};
    l->curvature = nn_allocate(pairs, sizeof *l->curvature);
    l->weights = nn_allocate(pairs, sizeof *l->weights);
    l->memory = n > SIZE_MAX / 8 / (2 * pairs + 3 + PLACES) ? NULL : nn_allocate(n * (2 * pairs + 3 + PLACES), size);
    if (l->curvature == NULL || l->weights == NULL || l->memory == NULL) goto fail;
    l->start = l->memory;
    l->direction = nn_at(l->type, l->start, l->n);
    l->last = nn_at(l->type, l->direction, l->n);
    for (int i = 0; i < PLACES; i++) l->gradient[i] = nn_at(l->type, l->last, l->n * (i + 1));
    l->steps = nn_at(l->type, l->last, l->n * (PLACES + 1));
    l->changes = nn_at(l->type, l->steps, l->n * o.history);
    return l;
fail:
    ag_fail(tape, AG_ERR_MEMORY, "%s: out of memory for a history of %d steps of %lld numbers", name, o.history,
            (long long)n);
    nn_lbfgs_free(l);
    return NULL;
}

void nn_lbfgs_free(nn_lbfgs *l) {
    if (l == NULL) return;
    nn_release(l->memory);
    nn_release(l->curvature);
    nn_release(l->weights);
    nn_release(l);
}

bool nn_lbfgs_state(nn_lbfgs *l, int i, nn_state *state) {
    if (l == NULL || state == NULL || i < 0 || i > 5) return false;
    ag_shape row = AG_SHAPE(l->n), rows = AG_SHAPE(l->options.history, l->n);
    const nn_state states[] = {
        {"direction", l->type, row, l->n, l->direction},
        {"gradient", l->type, row, l->n, l->last},
        {"steps", l->type, rows, l->n * l->options.history, l->steps},
        {"changes", l->type, rows, l->n * l->options.history, l->changes},
        nn_state_of_numbers("curvature", l->curvature, l->options.history),
        nn_state_of_numbers("iterations", l->numbers, NUMBERS),
    };
    *state = states[i];
    return true;
}

/* ---- rows of all parameters ------------------------------------------------------------------------------------ */

static double dot(const nn_lbfgs *l, const void *x, const void *y) { return l->kernels->dot((size_t)l->n, x, y); }
static void add(const nn_lbfgs *l, void *x, double a, const void *y) { l->kernels->add_scaled((size_t)l->n, x, a, y); }
static void copy(const nn_lbfgs *l, void *x, const void *y) { memcpy(x, y, (size_t)l->n * nn_size_of(l->type)); }
static void *pair(const nn_lbfgs *l, void *rows, int i) { return nn_at(l->type, rows, i * l->n); }

static void read_parameters(const nn_lbfgs *l, void *row) {
    for (int i = 0; i < l->parameters; i++) {
        ag_numbers x = ag_numbers_of(nn_parameter_at(l->model, i));
        memcpy(row, x.data, (size_t)x.count * nn_size_of(l->type));
        row = nn_at(l->type, row, x.count);
    }
}
/* The parameters become start + t * direction; one that the loss function rewound is gone. */
static void move_to(const nn_lbfgs *l, double t) {
    int64_t at = 0;
    for (int i = 0; i < l->parameters; i++) {
        ag_numbers x = ag_numbers_of(nn_parameter_at(l->model, i));
        size_t n = (size_t)x.count;
        if (n > 0) memcpy(x.data, nn_at(l->type, l->start, at), n * nn_size_of(l->type));
        if (n > 0 && t != 0) l->kernels->add_scaled(n, x.data, t, nn_at(l->type, l->direction, at));
        at += x.count;
    }
}
static void read_gradient(const nn_lbfgs *l, void *row) {
    for (int i = 0; i < l->parameters; i++) {
        ag_numbers x = ag_numbers_of(nn_parameter_at(l->model, i));
        size_t bytes = (size_t)x.count * nn_size_of(l->type);
        if (x.grad != NULL) memcpy(row, x.grad, bytes);
        else memset(row, 0, bytes);
        row = nn_at(l->type, row, x.count);
    }
}

/* ---- evaluations ----------------------------------------------------------------------------------------------- */

static bool is_finite(const nn_lbfgs *l, double loss, int place) {
    return isfinite(loss) && l->kernels->finite((size_t)l->n, l->gradient[place]);
}

/* Loss and gradient at the parameters; false after an error. Buffers that the loss updates take their next value at the
 * first evaluation of a call, if that is finite; the clock stands still, so that all evaluations are of the same function. */
static bool evaluate(const nn_lbfgs *l, int place, bool first, double *loss) {
    ag_tape *tape = nn_model_tape(l->model);
    ag_mark mark = ag_tape_mark(tape);
    *loss = l->loss(l->context);
    if (ag_tape_status(tape) == AG_OK) read_gradient(l, l->gradient[place]);
    if (ag_tape_status(tape) == AG_OK && first && is_finite(l, *loss, place)) {
        double now = ag_value(nn_model_clock(l->model));
        nn_model_commit(l->model);
        ag_set(nn_model_clock(l->model), &now);
    }
    nn_model_discard(l->model);
    if (ag_tape_status(tape) != AG_OK) return false;
    ag_tape_rewind(tape, mark);
    return ag_tape_status(tape) == AG_OK;
}

static bool evaluate_on_line(void *context, nn_line_point *point) {
    const nn_lbfgs *l = context;
    move_to(l, point->t);
    if (!evaluate(l, point->gradient, false, &point->f)) return false;
    if (is_finite(l, point->f, point->gradient)) point->slope = dot(l, l->gradient[point->gradient], l->direction);
    else point->f = point->slope = INFINITY;
    return true;
}

/* ---- an iteration ---------------------------------------------------------------------------------------------- */

/* Remembers the last step with the change of the gradient along it, if the curvature is positive. */
static void remember(nn_lbfgs *l) {
    double *n = l->numbers;
    int k = (int)n[NEXT_PAIR];
    void *step = pair(l, l->steps, k), *change = pair(l, l->changes, k);
    bool full = (int)n[PAIRS] == l->options.history;
    /* made in a place that is free: the oldest pair gives way only to one of positive curvature */
    void *made = l->gradient[(l->now + 1) % PLACES];
    copy(l, made, l->gradient[l->now]);
    add(l, made, -1, l->last);
    l->kernels->scale((size_t)l->n, l->direction, n[STEP]);
    double product = dot(l, made, l->direction);
    if (!(product > 1e-10)) return;
    copy(l, change, made);
    copy(l, step, l->direction);
    l->curvature[k] = 1 / product;
    n[SCALE] = product / dot(l, change, change);
    n[NEXT_PAIR] = (k + 1) % l->options.history;
    if (!full) n[PAIRS]++;
}

/* Algorithm 7.4: minus the approximated inverse Hessian times the gradient. */
static void find_direction(nn_lbfgs *l) {
    int pairs = (int)l->numbers[PAIRS], history = l->options.history;
    int newest = ((int)l->numbers[NEXT_PAIR] + history - 1) % history;
    copy(l, l->direction, l->gradient[l->now]);
    l->kernels->scale((size_t)l->n, l->direction, -1);
    for (int i = 0; i < pairs; i++) {
        int k = (newest + history - i) % history;
        l->weights[k] = dot(l, pair(l, l->steps, k), l->direction) * l->curvature[k];
        add(l, l->direction, -l->weights[k], pair(l, l->changes, k));
    }
    l->kernels->scale((size_t)l->n, l->direction, l->numbers[SCALE]);
    for (int i = pairs - 1; i >= 0; i--) {
        int k = (newest + history - i) % history;
        double back = dot(l, pair(l, l->changes, k), l->direction) * l->curvature[k];
        add(l, l->direction, l->weights[k] - back, pair(l, l->steps, k));
    }
}

static double sum_of_sizes(const nn_lbfgs *l, const void *row) {
    double sum = 0;
    for (int64_t i = 0; i < l->n; i++)
        sum += fabs(l->type == AG_F64 ? ((const double *)row)[i] : (double)((const float *)row)[i]);
    return sum;
}

/* Moves along the direction; *loss becomes that of the new place, where the gradient is known unless `last` and there is no
 * line search. False after an error, with the parameters where they were. */
static bool move(nn_lbfgs *l, double slope, bool last, double *loss, int *evaluations) {
    double longest = l->kernels->most((size_t)l->n, l->direction);
    read_parameters(l, l->start);
    nn_line line = {{0, *loss, slope, l->now}, longest, l->options.change, 0, evaluate_on_line, l};
    nn_line_point found = {.t = l->numbers[STEP], .f = *loss, .gradient = (l->now + 1) % PLACES};
    bool fine = true;
    if (!l->options.no_line_search) fine = nn_line_search(&line, l->numbers[STEP], &found);
    else if (!last) fine = evaluate_on_line(l, &found);
    *evaluations += l->options.no_line_search ? !last : line.evaluations;
    move_to(l, fine ? found.t : 0);
    l->numbers[STEP] = found.t;
    l->now = fine ? found.gradient : l->now;
    *loss = found.f;
    return fine;
}

/* Iterations after the first evaluation; false after an error. */
static bool iterate(nn_lbfgs *l, double loss) {
    const nn_lbfgs_options *o = &l->options;
    double *n = l->numbers, before;
    size_t count = (size_t)l->n;
    int evaluations = 1;
    for (int i = 1; !(l->kernels->most(count, l->gradient[l->now]) <= o->gradient); i++) {
        bool first = n[ITERATIONS]++ == 0;
        if (first) n[SCALE] = 1;
        else remember(l);
        find_direction(l);
        copy(l, l->last, l->gradient[l->now]);
        before = loss;
        n[STEP] = first ? fmin(1, 1 / sum_of_sizes(l, l->last)) * o->rate : o->rate;
        double slope = dot(l, l->last, l->direction);
        if (!(slope <= -o->change)) break;
        if (!move(l, slope, i == o->iterations, &loss, &evaluations)) return false;
        if (i == o->iterations || evaluations >= o->evaluations ||
            l->kernels->most(count, l->direction) * fabs(n[STEP]) <= o->change || fabs(loss - before) < o->change)
            break;
        if (!isfinite(loss)) break; /* without a line search nothing turns back */
    }
    return true;
}

/* State may come from a file. */
static bool has_pairs(const nn_lbfgs *l) {
    const double *n = l->numbers, most = l->options.history;
    if (n[PAIRS] >= 0 && n[PAIRS] <= most && n[NEXT_PAIR] >= 0 && n[NEXT_PAIR] < most) return true;
    ag_fail(nn_model_tape(l->model), AG_ERR_VALUE, "%s: its state has %g pairs, and %g is next, in a history of %g",
            name, n[PAIRS], n[NEXT_PAIR], most);
    return false;
}

double nn_lbfgs_step(nn_lbfgs *l, nn_loss_function loss, void *context) {
    if (l == NULL) return (double)NAN;
    ag_tape *tape = nn_model_tape(l->model);
    double first;
    if (ag_tape_status(tape) != AG_OK) return (double)NAN;
    if (nn_parameter_count(l->model) != l->parameters) {
        ag_fail(tape, AG_ERR_VALUE, "%s: the model has %d parameters, and had %d when this was made", name,
                nn_parameter_count(l->model), l->parameters);
        return (double)NAN;
    }
    for (int i = 0; i < l->parameters; i++)
        if (!nn_parameter_is_there(l->model, name, i)) return (double)NAN;
    if (loss == NULL) ag_fail(tape, AG_ERR_VALUE, "%s: no loss function", name);
    l->loss = loss;
    l->context = context;
    nn_model_discard(l->model); /* all evaluations begin alike */
    if (!has_pairs(l) || loss == NULL || !evaluate(l, l->now, true, &first)) return (double)NAN;
    if (!is_finite(l, first, l->now))
        ag_fail(tape, AG_ERR_VALUE, "%s: the loss is %g%s", name, first,
                isfinite(first) ? ", and its gradient is not finite" : "");
    if (ag_tape_status(tape) != AG_OK || !iterate(l, first)) return (double)NAN;
    nn_model_commit(l->model);
    return first;
}
