/* Hares and lynxes: the rates of a predator-prey model (Lotka, 1925; Volterra, 1926), fitted to 21 years of pelts. With u and v
 * the logarithms of hares and lynxes,
 *
 *     u' = a - b exp(v)        v' = d exp(u) - c
 *
 * is solved by Runge and Kutta's method in one scan, whose derivative L-BFGS follows; the Hessian says how sure the rates are.
 * Carpenter (2018) found a = 0.55, b = 0.028, c = 0.80, d = 0.024 from the same data, with Stan. */
#include "pelts.h"

static const char *const help =
    "FOLDER holds hudson-bay-lynx-hare.csv, to be found in the folder knitr/lotka-volterra of\n"
    "https://github.com/stan-dev/example-models, without its two lines of comments. Without it, the same numbers.\n";

enum { PARTS = 10 /* steps a year */, STEPS = (YEARS - 1) * PARTS, RATES = 4, ROUNDS = 6 };
static const char *const names[RATES] = {"a", "b", "c", "d"};
static const double expected[RATES] = {0.55, 0.028, 0.80, 0.024};

static ag_var slope(ag_var state, ag_var rates) {
    ag_var r[RATES], u = ag_at(state, 0), v = ag_at(state, 1);
    for (int i = 0; i < RATES; i++) r[i] = ag_at(rates, i);
    return ag_stack((const ag_var[]){ag_fnma(r[1], ag_exp(v), r[0]), ag_fma(r[3], ag_exp(u), ag_neg(r[2]))}, 2, 0);
}

/* One step of the scan: state and rates to the next state, which is also an output. */
static void runge_kutta(ag_tape *tape, const ag_var *x, ag_var *y, void *context) {
    (void)tape, (void)context;
    const double h = 1.0 / PARTS;
    ag_var k1 = slope(x[0], x[1]), k2 = slope(ag_fma(h / 2, k1, x[0]), x[1]);
    ag_var k3 = slope(ag_fma(h / 2, k2, x[0]), x[1]), k4 = slope(ag_fma(h, k3, x[0]), x[1]);
    ag_var sum = ag_add(ag_add(k1, k4), ag_mul(2, ag_add(k2, k3)));
    y[0] = y[1] = ag_fma(h / 6, sum, x[0]);
}

typedef struct fit {
    ag_tape *tape;
    ag_mark mark;
    ag_program *step;
    ag_var observed;   /* logarithms, (YEARS, 2) */
    ag_var parameters; /* logarithms of the rates, then of the first hares and lynxes */
} fit;

/* States at the beginning and after each step: (STEPS + 1, 2). */
static ag_var solve(const fit *f) {
    ag_var rates = ag_exp(ag_slice(f->parameters, 0, 0, RATES, 1)),
           start = ag_slice(f->parameters, 0, RATES, AG_END, 1);
    ag_var in[] = {start, rates}, out[2];
    ag_scan(f->tape, f->step, STEPS, 1, in, (const ag_along[]){AG_SHARED, AG_SHARED}, NULL, out);
    return ag_concat((const ag_var[]){ag_unsqueeze(start, 0), out[1]}, 2, 0);
}

static ag_var loss_of(const fit *f) { return nn_mse(ag_slice(solve(f), 0, 0, AG_END, PARTS), f->observed); }

static double loss(void *context) {
    const fit *f = context;
    ag_var y = loss_of(f);
    double value = ag_value(y);
    ag_backward(y);
    ag_tape_rewind(f->tape, f->mark);
    return value;
}

/* Rates with their standard errors: the inverse Hessian, times twice the variance, which is the loss, a number of data. */
static bool report(const fit *f) {
    ag_var y = loss_of(f), covariance = ag_inverse(ag_hessian(y, f->parameters)), rates = ag_exp(f->parameters);
    double variance = ag_value(y);
    bool good = true;
    for (int i = 0; i < RATES; i++) {
        double rate = ag_value(ag_at(rates, i)), n = 2 * YEARS;
        double error = rate * sqrt(2 * variance / n * ag_value(ag_at(ag_diagonal(covariance), i)));
        printf("%s = %.4f +- %.4f  (Carpenter: %.3f)\n", names[i], rate, error, expected[i]);
        good = good && fabs(rate / expected[i] - 1) < 0.1;
    }
    return good;
}

/* The curves of the model, and the pelts. */
static void draw(const fit *f, const double *logarithms, nn_error *e) {
    static double states[2][STEPS + 1], times[STEPS + 1], seen[2][YEARS], years[YEARS];
    ag_read(ag_transpose(ag_exp(solve(f))), states[0]);
    for (int i = 0; i <= STEPS; i++) times[i] = 1900 + (double)i / PARTS;
    for (int i = 0; i < 2 * YEARS; i++) years[i / 2] = 1900 + i / 2, seen[i % 2][i / 2] = exp(logarithms[i]);
    const nn_curve curves[] = {{"hares", STEPS + 1, times, states[0]},
                               {"lynxes", STEPS + 1, times, states[1]},
                               {"hares' pelts", YEARS, years, seen[0]},
                               {"lynxes' pelts", YEARS, years, seen[1]}};
    nn_curves_svg("ode.svg", curves, 4, &(nn_curves_options){.x_label = "year", .y_label = "thousands"}, e);
}

int main(int argc, char **argv) {
    double logarithms[2 * YEARS], first[RATES + 2] = {log(0.5), log(0.02), log(0.5), log(0.02)};
    nn_error e = {0};
    read_pelts(data_folder(argc, argv, help), logarithms, &e);
    if (e.status != AG_OK) return end(&e, false);
    memcpy(first + RATES, logarithms, 2 * sizeof *first); /* the first year's pelts */

    const ag_port in[] = {ag_in("state", AG_SHAPE(2)), ag_in("rates", AG_SHAPE(RATES))},
                  out[] = {ag_out("next"), ag_out("seen")};
    ag_tape *t = ag_tape_new(AG_F64);
    nn_model *model = nn_model_new(t, 1);
    fit f = {.tape = t,
             .step = ag_program_trace(AG_F64, runge_kutta, NULL, in, 2, out, 2),
             .observed = ag_constant_tensor(t, logarithms, AG_SHAPE(YEARS, 2)),
             .parameters = nn_parameter(model, "parameters", AG_SHAPE(RATES + 2), NN_ZEROS)};
    ag_set(f.parameters, first);
    f.mark = ag_tape_mark(t);
    nn_lbfgs *lbfgs = nn_lbfgs_new(model, (nn_lbfgs_options){.iterations = 5});
    for (int i = 0; i < ROUNDS && ag_tape_status(t) == AG_OK; i++)
        printf("after %2d iterations: mean squared error of the logarithms %.6f\n", 5 * i,
               nn_lbfgs_step(lbfgs, loss, &f));
    bool good = report(&f);
    draw(&f, logarithms, &e);

    if (ag_tape_status(t) != AG_OK) nn_fail(&e, ag_tape_status(t), "%s", ag_tape_message(t));
    if (e.status == AG_OK) printf("curves in ode.svg\n");
    int status = end(&e, good);
    nn_lbfgs_free(lbfgs);
    ag_program_free(f.step);
    nn_model_free(model);
    ag_tape_free(t);
    return status;
}
