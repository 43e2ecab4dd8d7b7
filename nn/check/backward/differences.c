/* The right derivative by central differences of `forward`, extrapolated to a step of 0 (Ridders: Accurate computation
 * of F'(x) and F'(x) F''(x), 1982), with an estimate of their error and of how far the derivatives to either side are
 * apart. */
#include "nn/check/backward/backward_impl.h"

#include <float.h>
#include <math.h>

/* Derivatives of all outputs by one element of one input; arrays of out_total numbers, in c->work. */
typedef struct column {
    double *base, *plus, *minus; /* outputs at the element, and a step to either side */
    double *d, *error;           /* the best estimate so far, and of its error */
    double *kink; /* derivative to the right minus derivative to the left, as good as d: 0 where it is smooth */
    double *row[NN_DIFFERENCE_LEVELS];      /* estimates of order 2, 4, 6, ... with the last step */
    double *kink_row[NN_DIFFERENCE_LEVELS]; /* of order 1, 3, 5, ... */
} column;

static column column_of(nn_backward_check *c) {
    column k;
    double **arrays[] = {&k.base, &k.plus, &k.minus, &k.d, &k.error, &k.kink};
    double *next = c->work;
    for (size_t a = 0; a < sizeof arrays / sizeof arrays[0]; a++, next += c->out_total) *arrays[a] = next;
    for (int l = 0; l < NN_DIFFERENCE_LEVELS; l++, next += 2 * c->out_total) {
        k.row[l] = next;
        k.kink_row[l] = next + c->out_total;
    }
    return k;
}

static void store_outputs(const nn_backward_check *c, double *to) {
    for (int o = 0; o < c->b->output_count; to += c->out_count[o++])
        nn_array_store(c->b->type, c->outputs[o], to, c->out_count[o]);
}

/* Outputs with element e of input i at another value, which is left behind. */
static bool outputs_at(nn_backward_check *c, int i, int64_t e, double value, double *to) {
    nn_array_set(c->b->type, c->inputs[i], e, value);
    if (!nn_call_forward(c)) return false;
    store_outputs(c, to);
    return true;
}

static double rounding(const nn_backward_check *c) { return c->b->type == AG_F64 ? DBL_EPSILON : (double)FLT_EPSILON; }

/* Takes an estimate, of which `change` is how much it differs from the ones that it was made of. */
static void take_estimate(column *k, int64_t o, double d, double change, double kink) {
    if (!isfinite(d) || change >= k->error[o]) return; /* not finite: a step out of the domain */
    k->error[o] = change;
    k->d[o] = d;
    k->kink[o] = kink;
}

static double noise_of(const nn_backward_check *c, const column *k, int64_t o, double width) {
    return 2 * rounding(c) * fmax(fabs(k->plus[o]), fabs(k->minus[o])) / width;
}

/* Takes in the differences of one more step for one output; the element is at x, and was moved to up and down. */
static void extrapolate_one(const nn_backward_check *c, column *k, int64_t o, int level, double x, double up,
                            double down) {
    double now = (k->plus[o] - k->minus[o]) / (up - down), noise = noise_of(c, k, o, up - down), power = 2;
    double least = (double)INFINITY;
    double kink = (k->plus[o] - k->base[o]) / (up - x) - (k->base[o] - k->minus[o]) / (x - down);
    /* errors of row[l] are as step^(2 l + 2), of kink_row[l] as step^(2 l + 1) */
    for (int l = 0; l <= level; l++, power *= 4) {
        double before = k->row[l][o], kink_before = k->kink_row[l][o];
        k->row[l][o] = now;
        k->kink_row[l][o] = kink;
        if (l == level) break;
        double next = now + (now - before) / (2 * power - 1);
        double change = fmax(fmax(fabs(next - now), fabs(next - before)), noise);
        now = next;
        kink += (kink - kink_before) / (power - 1);
        least = fmin(least, change);
        take_estimate(k, o, now, change, kink);
    }
    /* Smaller steps agree better. If these do not, others agreed by chance: there are kinks between them. */
    if (isfinite(least) && least > 8 * noise) k->error[o] = fmax(k->error[o], least);
}

/* The same for all outputs. Returns whether they were as good as they will get before, and still are. */
static bool extrapolate(const nn_backward_check *c, column *k, int level, double x, double up, double down) {
    bool done = true;
    for (int64_t o = 0; o < c->out_total; o++) {
        double noise = noise_of(c, k, o, up - down);
        bool before = k->error[o] <= 5 * noise + 1e-10 * fabs(k->d[o]);
        extrapolate_one(c, k, o, level, x, up, down);
        done = done && before && k->error[o] <= 5 * noise + 1e-10 * fabs(k->d[o]);
    }
    return done;
}

/* Steps from a tenth of `scale` down. */
static bool differentiate(nn_backward_check *c, column *k, int i, int64_t e, double scale) {
    double x = nn_array_get(c->b->type, c->inputs[i], e), step = 0.1 * scale;
    bool done = false;
    for (int level = 0; level < NN_DIFFERENCE_LEVELS && !done; level++, step /= 2) {
        double up = x + step, down = x - step;
        if (c->b->type == AG_F32) {
            up = (double)(float)up;
            down = (double)(float)down;
        }
        if (up <= x || down >= x) break; /* too small a step for this x */
        if (!outputs_at(c, i, e, up, k->plus) || !outputs_at(c, i, e, down, k->minus)) return false;
        done = extrapolate(c, k, level, x, up, down);
    }
    nn_array_set(c->b->type, c->inputs[i], e, x);
    return true;
}

static bool is_rough(const nn_backward_check *c, const column *k) {
    for (int64_t o = 0; o < c->out_total; o++)
        if (!(k->error[o] <= 1e-3 * fabs(k->d[o]) + 1e-6)) return true;
    return false;
}

/* Steps are in proportion to max(1, |x|), and, where that is too coarse, to |x|. */
static bool compute_column(nn_backward_check *c, column *k, int i, int64_t e) {
    double x = fabs(nn_array_get(c->b->type, c->inputs[i], e));
    for (int64_t o = 0; o < c->out_total; o++) {
        k->d[o] = (double)NAN;
        k->kink[o] = 0;
        k->error[o] = (double)INFINITY;
    }
    if (!differentiate(c, k, i, e, fmax(1, x))) return false;
    return x == 0 || x >= 0.1 || !is_rough(c, k) || differentiate(c, k, i, e, x);
}

/* The derivative of <g, outputs> by the element: g picks outputs, and at a kink each may be anywhere between its
 * one-sided derivatives. Errors of many outputs are independent, mostly rounding. */
static void combine(nn_backward_check *c, const column *k, int row, int i, int64_t e) {
    double d = 0, squares = 0, half = 0;
    int64_t at = 0;
    for (int o = 0; o < c->b->output_count; o++)
        for (int64_t j = 0; j < c->out_count[o]; j++, at++) {
            double g = c->g[o][row * c->out_count[o] + j];
            if (g == 0) continue;
            d += g * k->d[at];
            squares += g * k->error[at] * g * k->error[at];
            if (fabs(k->kink[at]) > 4 * k->error[at]) half += fabs(g * k->kink[at]) / 2;
        }
    int64_t place = row * c->in_count[i] + e;
    c->right[i][place] = d;
    c->slack[i][place] = 10 * sqrt(squares);
    c->low[i][place] = d - half;
    c->high[i][place] = d + half;
}

/* To the errors of the differences comes what the backward function may be off itself. */
static void allow(nn_backward_check *c, int row, int i) {
    const double *right = c->right[i] + row * c->in_count[i];
    double *slack = c->slack[i] + row * c->in_count[i], size = 0.01;
    for (int64_t e = 0; e < c->in_count[i]; e++) size = fmax(size, fabs(right[e]));
    for (int64_t e = 0; e < c->in_count[i]; e++)
        if (c->b->tolerance > 0) slack[e] = c->b->tolerance * fmax(1, fabs(right[e]));
        else slack[e] += (c->b->type == AG_F64 ? 1e-7 : 1e-4) * size;
}

bool nn_backward_by_differences(nn_backward_check *c, int draw) {
    column k = column_of(c);
    int row = draw * c->seeds;
    nn_load_inputs(c, row);
    if (!nn_call_forward(c)) return false;
    store_outputs(c, k.base);
    for (int i = 0; i < c->b->input_count; i++) {
        if (c->right[i] == NULL) continue;
        for (int64_t e = 0; e < c->in_count[i]; e++) {
            if (!compute_column(c, &k, i, e)) return false;
            for (int s = 0; s < c->seeds; s++) combine(c, &k, row + s, i, e);
        }
        for (int s = 0; s < c->seeds; s++) allow(c, row + s, i);
    }
    return true;
}
