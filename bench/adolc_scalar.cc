// The scalar tape beside ADOL-C, in one process and in turn: the same computations, recorded and swept every time.
// ADOL-C records what its reverse sweep needs while it traces (keep = 1), in buffers that hold all of it, so that
// nothing is written to disk and the function is not evaluated again.
#include <adolc/adolc.h>

#include "scalar_cases.h"

namespace {

adouble det_adolc(const adouble *a, int n, int m, int *next) {
    const adouble *row = a + (n - m) * n;
    int before = n, j = next[n];
    if (m == 1) return row[j];
    adouble det = 0;
    for (int k = 0; k < m; k++) {
        next[before] = next[j];
        adouble sub = det_adolc(a, n, m - 1, next);
        next[before] = j;
        if (k == 0) {
            det = row[j] * sub;
        } else if (k % 2) {
            det -= row[j] * sub;
        } else {
            det += row[j] * sub;
        }
        before = j;
        j = next[j];
    }
    return det;
}

adouble chain_adolc(const adouble *in, int steps) {
    adouble x = in[0], p = in[1], q = in[2], s = 0;
    for (int k = 0; k < steps; k++) {
        x = 1.5 - x / (exp(0.5 * sin(p * x)) + q);
        s += x;
    }
    return s;
}

struct AdolcCase {
    bool chain;
    int n; // rows or steps
    const double *input;
    int inputs;
    unsigned buffer; // operations that the buffers have to hold
    double value, grad[DET_MAX * DET_MAX], bytes;
};

const short TAG = 1;

void adolc_record(AdolcCase *c) {
    adouble x[DET_MAX * DET_MAX], y;
    int next[DET_MAX + 1];
    trace_on(TAG, 1, 2 * c->buffer, 4 * c->buffer, 2 * c->buffer, 2 * c->buffer, 1);
    for (int i = 0; i < c->inputs; i++) x[i] <<= c->input[i];
    if (c->chain) {
        y = chain_adolc(x, c->n);
    } else {
        det_columns(next, c->n);
        y = det_adolc(x, c->n, c->n, next);
    }
    y >>= c->value;
    trace_off();
}

void adolc_run(void *context, double *lap) {
    AdolcCase *c = static_cast<AdolcCase *>(context);
    double start = bench_now();
    adolc_record(c);
    bench_lap(&lap[0], &start);
    double one = 1;
    if (fos_reverse(TAG, 1, c->inputs, &one, c->grad) < 0) bench_wrong("ADOL-C's reverse sweep failed");
    bench_lap(&lap[1], &start);
}

// Operations (a byte each), locations and values of the trace, and one Taylor coefficient for each result.
double adolc_bytes() {
    size_t stats[STAT_SIZE];
    tapestats(TAG, stats);
    return 1.0 * static_cast<double>(stats[NUM_OPERATIONS]) +
           static_cast<double>(sizeof(locint)) * static_cast<double>(stats[NUM_LOCATIONS]) +
           8.0 * static_cast<double>(stats[NUM_VALUES] + stats[TAY_STACK_SIZE]);
}

struct PlainCase {
    bool chain;
    int n;
    const double *input;
    double value;
};

void plain_run(void *context, double *) {
    PlainCase *c = static_cast<PlainCase *>(context);
    c->value = c->chain ? chain_plain(c->input, c->n) : det_plain(c->input, c->n);
}

const int COLUMNS = 6;
const char *const columns[COLUMNS] = {"record ns", "sweep ns", "total ns", "bytes", "x plain", "ADOL-C is x"};

void print_task(const bench_set *set, int task, double operations, double bytes, int adolc) {
    double ns = 1e9 / operations;
    bool taped = task > 0;
    double none = static_cast<double>(NAN);
    double cells[COLUMNS] = {taped ? bench_lap_time(set, task, 0) * ns : none,
                             taped ? bench_lap_time(set, task, 1) * ns : none,
                             bench_time(set, task) * ns,
                             taped ? bytes / operations : none,
                             bench_ratio(set, task, 0),
                             taped ? bench_ratio(set, adolc, task) : none};
    bench_row(set->task[task].name, cells, COLUMNS);
}

void compare(const char *title, bool chain, int n, const double *input, int inputs, double operations,
             const double *right, int rounds) {
    static bench_set set;
    memset(&set, 0, sizeof set);
    PlainCase plain = {chain, n, input, 0};
    AdolcCase adolc = {};
    adolc.chain = chain;
    adolc.n = n;
    adolc.input = input;
    adolc.inputs = inputs;
    adolc.buffer = static_cast<unsigned>(operations) + 4096;
    tape_case *first = tape_case_new(chain ? TAPE_CHAIN : TAPE_MULADD, n, false, input, inputs);
    tape_case *second = chain ? nullptr : tape_case_new(TAPE_FMA, n, false, input, inputs);
    bench_add(&set, "plain", plain_run, &plain);
    bench_add(&set, chain ? "autograd" : "autograd: ag_mul, ag_add", tape_run, first);
    if (second != nullptr) bench_add(&set, "autograd: ag_mul, ag_fma", tape_run, second);
    int last = bench_add(&set, "ADOL-C", adolc_run, &adolc);
    bench_run(&set, rounds, 2e-3);
    adolc.bytes = adolc_bytes();
    bench_check("ADOL-C", adolc.grad, right, static_cast<size_t>(inputs), 1e-9);
    bench_check("autograd", first->grad, right, static_cast<size_t>(inputs), 1e-9);
    if (second != nullptr) bench_check("autograd: fma", second->grad, right, static_cast<size_t>(inputs), 1e-9);

    char heading[64];
    snprintf(heading, sizeof heading, "%s, %.0f operations", title, operations);
    bench_heading(heading, columns, COLUMNS);
    print_task(&set, 0, operations, 0, last);
    print_task(&set, 1, operations, first->bytes, last);
    if (second != nullptr) print_task(&set, 2, operations, second->bytes, last);
    print_task(&set, last, operations, adolc.bytes, last);
    tape_case_free(first);
    if (second != nullptr) tape_case_free(second);
}

void det(int n, int rounds) {
    double a[DET_MAX * DET_MAX], right[DET_MAX * DET_MAX];
    char title[32];
    bench_fill(a, static_cast<size_t>(n * n), -1, 1);
    det_formula(a, n, right);
    snprintf(title, sizeof title, "det, l = %d", n);
    compare(title, false, n, a, n * n, det_operations(n), right, rounds);
}

void chain(int steps, int rounds) {
    double right[CHAIN_INPUTS];
    double *store = static_cast<double *>(bench_alloc(4 * static_cast<size_t>(steps), sizeof(double)));
    chain_by_hand(chain_inputs, steps, store, right);
    free(store);
    compare("chain", true, steps, chain_inputs, CHAIN_INPUTS, 1.0 * (CHAIN_OPERATIONS * steps), right, rounds);
}

} // namespace

int main() {
    bench_title("Scalar tape beside ADOL-C: recorded and swept every time",
                "an operation's ns and bytes (instructions and values, f64)");
    det(8, 21);
    det(9, 7);
    det(10, 3);
    chain(12500, 21);
    chain(125000, 7);
    return 0;
}
