/* What a gradient costs in units of the function: known functions in plain C, with gradients by hand, recorded an
 * operation at a time, and recorded as tensors. Theory bounds the operations of a reverse sweep with its recording by
 * four to five times those of the function (Griewank and Walther, Evaluating Derivatives, 2008, section 3.4); a tape
 * adds what it costs to write down an operation. Everything is recorded and swept every time. */
#include <autograd/autograd.h>

#include "blas.h"

typedef struct problem {
    const char *name;
    int n; /* variables */
    double lo, hi;
    double (*value)(const double *x);
    void (*gradient)(const double *x, double *g);
    ag_var (*scalar)(const ag_var *x);
    void (*constants)(ag_tape *tape); /* that the tensor form uses; may be NULL */
    ag_var (*tensor)(ag_var x);
} problem;

/* ---- Rosenbrock's function --------------------------------------------------------------------------------------- */

enum { ROSENBROCK = 1000 };

static double rosenbrock(const double *x) {
    double f = 0;
    for (int i = 0; i + 1 < ROSENBROCK; i++) {
        double a = x[i + 1] - x[i] * x[i], b = 1 - x[i];
        f += 100 * (a * a) + b * b;
    }
    return f;
}
static void rosenbrock_gradient(const double *x, double *g) {
    memset(g, 0, ROSENBROCK * sizeof *g);
    for (int i = 0; i + 1 < ROSENBROCK; i++) {
        double a = x[i + 1] - x[i] * x[i], b = 1 - x[i];
        g[i + 1] += 200 * a;
        g[i] += -400 * a * x[i] - 2 * b;
    }
}
static ag_var rosenbrock_scalar(const ag_var *x) {
    ag_var f = ag_num(0);
    for (int i = 0; i + 1 < ROSENBROCK; i++) {
        ag_var a = ag_fnma(x[i], x[i], x[i + 1]), b = ag_sub(1, x[i]);
        ag_var term = ag_fma(b, b, ag_mul(100, ag_mul(a, a)));
        f = i == 0 ? term : ag_add(f, term);
    }
    return f;
}
static ag_var rosenbrock_tensor(ag_var x) {
    ag_var head = ag_slice(x, 0, 0, -1, 1), tail = ag_slice(x, 0, 1, AG_END, 1);
    ag_var a = ag_sub(tail, ag_square(head)), b = ag_sub(1, head);
    return ag_sum(ag_fma(100, ag_square(a), ag_square(b)));
}

/* ---- Helmholtz energy of a mixture: Griewank's example (On automatic differentiation, 1989) ---------------------- */

enum { HELMHOLTZ = 100 };
static double helmholtz_a[HELMHOLTZ * HELMHOLTZ], helmholtz_b[HELMHOLTZ];
static ag_var helmholtz_ta, helmholtz_tb;
#define SQRT2 1.4142135623730951

static void helmholtz_begin(void) {
    for (int i = 0; i < HELMHOLTZ; i++) {
        helmholtz_b[i] = 0.2 + 0.3 * i / HELMHOLTZ;
        for (int j = 0; j < HELMHOLTZ; j++) helmholtz_a[i * HELMHOLTZ + j] = 1.0 / (i + j + 1);
    }
}
static double helmholtz(const double *x) {
    double bx = 0, xax = 0, entropy = 0;
    for (int i = 0; i < HELMHOLTZ; i++) {
        double ax = 0;
        for (int j = 0; j < HELMHOLTZ; j++) ax += helmholtz_a[i * HELMHOLTZ + j] * x[j];
        xax += x[i] * ax;
        bx += helmholtz_b[i] * x[i];
    }
    for (int i = 0; i < HELMHOLTZ; i++) entropy += x[i] * log(x[i] / (1 - bx));
    return entropy - xax / (2 * SQRT2 * bx) * log((1 + (1 + SQRT2) * bx) / (1 + (1 - SQRT2) * bx));
}
static void helmholtz_gradient(const double *x, double *g) {
    double bx = 0, xax = 0, sum = 0, ax[HELMHOLTZ];
    for (int i = 0; i < HELMHOLTZ; i++) {
        ax[i] = 0; /* A is symmetric */
        for (int j = 0; j < HELMHOLTZ; j++) ax[i] += helmholtz_a[i * HELMHOLTZ + j] * x[j];
        xax += x[i] * ax[i];
        bx += helmholtz_b[i] * x[i];
        sum += x[i];
    }
    double up = 1 + (1 + SQRT2) * bx, down = 1 + (1 - SQRT2) * bx, l = log(up / down), scale = 1 / (2 * SQRT2 * bx);
    double by_bx = sum / (1 - bx) + xax * scale * (l / bx - (1 + SQRT2) / up + (1 - SQRT2) / down);
    for (int i = 0; i < HELMHOLTZ; i++)
        g[i] = log(x[i] / (1 - bx)) + 1 + by_bx * helmholtz_b[i] - 2 * ax[i] * scale * l;
}
static ag_var helmholtz_end(ag_var entropy, ag_var xax, ag_var bx) {
    ag_var l = ag_log(ag_div(ag_add(1, ag_mul(1 + SQRT2, bx)), ag_add(1, ag_mul(1 - SQRT2, bx))));
    return ag_sub(entropy, ag_mul(ag_div(xax, ag_mul(2 * SQRT2, bx)), l));
}
static ag_var helmholtz_scalar(const ag_var *x) {
    ag_var bx = ag_mul(helmholtz_b[0], x[0]), xax = ag_num(0), entropy = ag_num(0);
    for (int i = 1; i < HELMHOLTZ; i++) bx = ag_add(bx, ag_mul(helmholtz_b[i], x[i]));
    ag_var rest = ag_sub(1, bx);
    for (int i = 0; i < HELMHOLTZ; i++) {
        const double *a = helmholtz_a + i * HELMHOLTZ;
        ag_var ax = ag_mul(a[0], x[0]), e = ag_mul(x[i], ag_log(ag_div(x[i], rest)));
        for (int j = 1; j < HELMHOLTZ; j++) ax = ag_add(ax, ag_mul(a[j], x[j]));
        xax = i == 0 ? ag_mul(x[i], ax) : ag_fma(x[i], ax, xax);
        entropy = i == 0 ? e : ag_add(entropy, e);
    }
    return helmholtz_end(entropy, xax, bx);
}
static void helmholtz_constants(ag_tape *tape) {
    helmholtz_ta = ag_constant_tensor(tape, helmholtz_a, AG_SHAPE(HELMHOLTZ, HELMHOLTZ));
    helmholtz_tb = ag_constant_tensor(tape, helmholtz_b, AG_SHAPE(HELMHOLTZ));
}
static ag_var helmholtz_tensor(ag_var x) {
    ag_var bx = ag_vdot(helmholtz_tb, x);
    ag_var entropy = ag_vdot(x, ag_log(ag_div(x, ag_sub(1, bx))));
    return helmholtz_end(entropy, ag_vdot(x, ag_matmul(helmholtz_ta, x)), bx);
}

/* ---- logistic regression: mean of softplus(z) - y z, z = X w + b ------------------------------------------------- */

enum { CASES = 1000, FEATURES = 20 };
static double logistic_x[CASES * FEATURES], logistic_y[CASES];
static ag_var logistic_tx, logistic_ty;

static void logistic_begin(void) {
    bench_fill(logistic_x, CASES * FEATURES, -1, 1);
    for (int i = 0; i < CASES; i++) logistic_y[i] = logistic_x[i * FEATURES] + logistic_x[i * FEATURES + 1] > 0;
}
static double logistic_z(const double *w, int i) {
    double z = w[FEATURES];
    for (int j = 0; j < FEATURES; j++) z += logistic_x[i * FEATURES + j] * w[j];
    return z;
}
static double logistic(const double *w) {
    double f = 0;
    for (int i = 0; i < CASES; i++) {
        double z = logistic_z(w, i);
        f += (z > 0 ? z : 0) - z * logistic_y[i] + log1p(exp(-fabs(z)));
    }
    return f / CASES;
}
static void logistic_gradient(const double *w, double *g) {
    memset(g, 0, (FEATURES + 1) * sizeof *g);
    for (int i = 0; i < CASES; i++) {
        double r = (1 / (1 + exp(-logistic_z(w, i))) - logistic_y[i]) / CASES;
        for (int j = 0; j < FEATURES; j++) g[j] += r * logistic_x[i * FEATURES + j];
        g[FEATURES] += r;
    }
}
static ag_var logistic_scalar(const ag_var *w) {
    ag_var f = ag_num(0);
    for (int i = 0; i < CASES; i++) {
        ag_var z = w[FEATURES];
        for (int j = 0; j < FEATURES; j++) z = ag_add(z, ag_mul(logistic_x[i * FEATURES + j], w[j]));
        ag_var loss = ag_bce_logits(z, logistic_y[i]);
        f = i == 0 ? loss : ag_add(f, loss);
    }
    return ag_div(f, CASES);
}
static void logistic_constants(ag_tape *tape) {
    logistic_tx = ag_constant_tensor(tape, logistic_x, AG_SHAPE(CASES, FEATURES));
    logistic_ty = ag_constant_tensor(tape, logistic_y, AG_SHAPE(CASES));
}
static ag_var logistic_tensor(ag_var w) {
    ag_var z = ag_add(ag_matmul(logistic_tx, ag_slice(w, 0, 0, FEATURES, 1)), ag_at(w, FEATURES));
    return ag_mean(ag_bce_logits(z, logistic_ty));
}

/* ---- a small neural net 8-16-16-1 with tanh, mean squared error over 32 cases ------------------------------------ */

enum { IN = 8, HIDDEN = 16, NET_CASES = 32, W2 = (IN + 1) * HIDDEN, W3 = W2 + (HIDDEN + 1) * HIDDEN };
enum { NET = W3 + HIDDEN + 1 }; /* each layer: weights (in, out) by rows, then the bias */
static double net_x[NET_CASES * IN], net_y[NET_CASES];
static ag_var net_tx, net_ty;

static void net_begin(void) {
    bench_fill(net_x, NET_CASES * IN, -1, 1);
    for (int i = 0; i < NET_CASES; i++) net_y[i] = sin(3 * net_x[i * IN]) * net_x[i * IN + 1];
}
static void net_layer(const double *w, const double *x, int n, double *y) {
    for (int j = 0; j < HIDDEN; j++) y[j] = w[n * HIDDEN + j];
    for (int i = 0; i < n; i++)
        for (int j = 0; j < HIDDEN; j++) y[j] += x[i] * w[i * HIDDEN + j];
    for (int j = 0; j < HIDDEN; j++) y[j] = tanh(y[j]);
}
static double net_error(const double *w, int c, double *h1, double *h2) {
    net_layer(w, net_x + c * IN, IN, h1);
    net_layer(w + W2, h1, HIDDEN, h2);
    double y = w[W3 + HIDDEN];
    for (int i = 0; i < HIDDEN; i++) y += h2[i] * w[W3 + i];
    return y - net_y[c];
}
static double net(const double *w) {
    double f = 0, h1[HIDDEN], h2[HIDDEN];
    for (int c = 0; c < NET_CASES; c++) {
        double e = net_error(w, c, h1, h2);
        f += e * e;
    }
    return f / NET_CASES;
}
/* Adds to the gradient g of a layer's weights, and sets gx, for gradient gy of its results y. */
static void net_layer_adjoint(const double *w, const double *x, int n, const double *y, const double *gy, double *g,
                              double *gx) {
    double gz[HIDDEN];
    for (int j = 0; j < HIDDEN; j++) gz[j] = gy[j] * (1 - y[j] * y[j]);
    for (int j = 0; j < HIDDEN; j++) g[n * HIDDEN + j] += gz[j];
    for (int i = 0; i < n; i++) {
        double sum = 0;
        for (int j = 0; j < HIDDEN; j++) {
            g[i * HIDDEN + j] += x[i] * gz[j];
            sum += w[i * HIDDEN + j] * gz[j];
        }
        gx[i] = sum;
    }
}
static void net_gradient(const double *w, double *g) {
    double h1[HIDDEN], h2[HIDDEN], g1[HIDDEN], g2[HIDDEN], gx[IN];
    memset(g, 0, NET * sizeof *g);
    for (int c = 0; c < NET_CASES; c++) {
        double e = 2 * net_error(w, c, h1, h2) / NET_CASES;
        for (int i = 0; i < HIDDEN; i++) {
            g[W3 + i] += e * h2[i];
            g2[i] = e * w[W3 + i];
        }
        g[W3 + HIDDEN] += e;
        net_layer_adjoint(w + W2, h1, HIDDEN, h2, g2, g + W2, g1);
        net_layer_adjoint(w, net_x + c * IN, IN, h1, g1, g, gx);
    }
}
static void net_hidden(const ag_var *w, const ag_var *x, int n, ag_var *y) {
    for (int j = 0; j < HIDDEN; j++) {
        ag_var z = w[n * HIDDEN + j];
        for (int i = 0; i < n; i++) z = ag_fma(x[i], w[i * HIDDEN + j], z);
        y[j] = ag_tanh(z);
    }
}
static ag_var net_scalar(const ag_var *w) {
    ag_var f = ag_num(0), x[IN], h1[HIDDEN], h2[HIDDEN];
    for (int c = 0; c < NET_CASES; c++) {
        for (int i = 0; i < IN; i++) x[i] = ag_num(net_x[c * IN + i]);
        net_hidden(w, x, IN, h1);
        net_hidden(w + W2, h1, HIDDEN, h2);
        ag_var y = w[W3 + HIDDEN];
        for (int i = 0; i < HIDDEN; i++) y = ag_fma(h2[i], w[W3 + i], y);
        ag_var square = ag_square(ag_sub(y, net_y[c]));
        f = c == 0 ? square : ag_add(f, square);
    }
    return ag_div(f, NET_CASES);
}
static void net_constants(ag_tape *tape) {
    net_tx = ag_constant_tensor(tape, net_x, AG_SHAPE(NET_CASES, IN));
    net_ty = ag_constant_tensor(tape, net_y, AG_SHAPE(NET_CASES, 1));
}
/* Weights and bias of a layer are views of the vector of all parameters. */
static ag_var net_affine(ag_var w, ag_var x, int from, int n, int out) {
    ag_var weights = ag_reshape(ag_slice(w, 0, from, from + n * out, 1), AG_SHAPE(n, out));
    return ag_add(ag_matmul(x, weights), ag_slice(w, 0, from + n * out, from + (n + 1) * out, 1));
}
static ag_var net_tensor(ag_var w) {
    ag_var h = ag_tanh(net_affine(w, net_tx, 0, IN, HIDDEN));
    h = ag_tanh(net_affine(w, h, W2, HIDDEN, HIDDEN));
    return ag_mean(ag_square(ag_sub(net_affine(w, h, W3, HIDDEN, 1), net_ty)));
}

/* ---- measuring --------------------------------------------------------------------------------------------------- */

static const problem problems[] = {
    {"Rosenbrock, n = 1000", ROSENBROCK, -1.5, 1.5, rosenbrock, rosenbrock_gradient, rosenbrock_scalar, NULL,
     rosenbrock_tensor},
    {"Helmholtz energy, n = 100", HELMHOLTZ, 0.5 / HELMHOLTZ, 1.0 / HELMHOLTZ, helmholtz, helmholtz_gradient,
     helmholtz_scalar, helmholtz_constants, helmholtz_tensor},
    {"neural net 8-16-16-1, 32 cases, n = 433", NET, -0.5, 0.5, net, net_gradient, net_scalar, net_constants,
     net_tensor},
    {"logistic regression, 1000 cases, n = 21", FEATURES + 1, -1, 1, logistic, logistic_gradient, logistic_scalar,
     logistic_constants, logistic_tensor},
};
enum { MOST_VARIABLES = 1000 };

typedef struct measured {
    const problem *p;
    bool tensor;
    ag_tape *tape;
    ag_mark mark;
    ag_var vector, *x;
    double *point, *grad, value;
} measured;

static void run_value(void *context, double *lap) {
    measured *m = context;
    (void)lap;
    m->value = m->p->value(m->point);
}
static void run_gradient(void *context, double *lap) {
    measured *m = context;
    (void)lap;
    m->p->gradient(m->point, m->grad);
}
static ag_var record(measured *m) {
    ag_tape_rewind(m->tape, m->mark);
    return m->tensor ? m->p->tensor(m->vector) : m->p->scalar(m->x);
}
static void run_record(void *context, double *lap) {
    measured *m = context;
    (void)lap;
    m->value = ag_value(record(m));
}
static void run_sweep(void *context, double *lap) {
    measured *m = context;
    double start = bench_now();
    ag_var y = record(m);
    bench_lap(&lap[0], &start);
    ag_backward(y);
    if (m->tensor) {
        ag_read_grad(m->vector, m->grad);
    } else {
        for (int i = 0; i < m->p->n; i++) m->grad[i] = ag_grad(m->x[i]);
    }
    bench_lap(&lap[1], &start);
    m->value = ag_value(y);
}

static measured *measured_new(const problem *p, bool tensor) {
    measured *m = bench_alloc(1, sizeof *m);
    size_t n = (size_t)p->n;
    m->p = p;
    m->tensor = tensor;
    m->point = bench_alloc(n, sizeof *m->point);
    m->grad = bench_alloc(n, sizeof *m->grad);
    m->x = bench_alloc(n, sizeof *m->x);
    bench_fill(m->point, n, p->lo, p->hi);
    m->tape = ag_tape_new(AG_F64);
    if (tensor) {
        m->vector = ag_tensor(m->tape, m->point, AG_SHAPE(p->n));
        if (p->constants != NULL) p->constants(m->tape);
    } else {
        for (size_t i = 0; i < n; i++) m->x[i] = ag_input(m->tape, m->point[i]);
    }
    m->mark = ag_tape_mark(m->tape);
    return m;
}
static void measured_free(measured *m) {
    ag_tape_free(m->tape);
    free(m->point);
    free(m->grad);
    free(m->x);
    free(m);
}

/* The gradient by hand against central differences, a tape's against that by hand. */
static void check(const problem *p, measured *tapes[2]) {
    double x[MOST_VARIABLES], hand[MOST_VARIABLES], differences[MOST_VARIABLES], lap[BENCH_LAPS] = {0};
    size_t n = (size_t)p->n;
    memcpy(x, tapes[0]->point, n * sizeof *x);
    p->gradient(x, hand);
    for (size_t i = 0; i < n; i++) {
        double keep = x[i], h = 1e-5 * (p->hi - p->lo);
        x[i] = keep + h;
        double up = p->value(x);
        x[i] = keep - h;
        differences[i] = (up - p->value(x)) / (2 * h);
        x[i] = keep;
    }
    bench_check(p->name, hand, differences, n, 1e-5);
    for (int k = 0; k < 2; k++) {
        double right = p->value(x);
        run_sweep(tapes[k], lap);
        if (ag_tape_status(tapes[k]->tape) != AG_OK) bench_wrong("%s: %s", p->name, ag_tape_message(tapes[k]->tape));
        bench_check(p->name, &tapes[k]->value, &right, 1, 1e-10);
        bench_check(p->name, tapes[k]->grad, hand, n, 1e-10);
    }
}

enum { COLUMNS = 5 };
static const char *const columns[COLUMNS] = {"record us", "sweep us", "total us", "/ function", "/ recording"};

static void row(const bench_set *set, int task, int recording) {
    bool taped = recording >= 0;
    double none = (double)NAN;
    double cells[COLUMNS] = {taped ? bench_lap_time(set, task, 0) * 1e6 : none,
                             taped ? bench_lap_time(set, task, 1) * 1e6 : none, bench_time(set, task) * 1e6,
                             bench_ratio(set, task, 0), taped ? bench_ratio(set, task, recording) : none};
    bench_row(set->task[task].name, cells, COLUMNS);
}

static void measure(const problem *p) {
    measured *tapes[2] = {measured_new(p, false), measured_new(p, true)};
    check(p, tapes);
    bench_set set = {0};
    bench_add(&set, "function, plain C", run_value, tapes[0]);
    bench_add(&set, "gradient by hand", run_gradient, tapes[0]);
    bench_add(&set, "recorded as scalars", run_record, tapes[0]);
    bench_add(&set, "recorded as scalars, swept", run_sweep, tapes[0]);
    bench_add(&set, "recorded as tensors", run_record, tapes[1]);
    bench_add(&set, "recorded as tensors, swept", run_sweep, tapes[1]);
    bench_run(&set, 31, 2e-3);
    bench_heading(p->name, columns, COLUMNS);
    row(&set, 0, -1);
    row(&set, 1, -1);
    row(&set, 2, -1);
    row(&set, 3, 2);
    row(&set, 4, -1);
    row(&set, 5, 4);
    measured_free(tapes[0]);
    measured_free(tapes[1]);
}

int main(int argc, char **argv) {
    (void)argc;
    bench_one_thread(argv);
    bench_title("Gradient time / function time", "theory: under 4 to 5, counted in operations");
    bench_print_blas();
    helmholtz_begin();
    logistic_begin();
    net_begin();
    for (size_t i = 0; i < sizeof problems / sizeof *problems; i++) measure(&problems[i]);
    return 0;
}
