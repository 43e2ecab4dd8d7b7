/* The scalar tape: nanoseconds and bytes an operation to record and to sweep, beside the plain computation and beside a
 * gradient written by hand. An operation is one that the plain computation does; a tape may need fewer instructions.
 * Recording is timed with what begins it: clearing the tape and recording the inputs again, or rewinding to a mark. */
#include "scalar_cases.h"

/* The plain computation and the gradient by hand. */
typedef struct plain_case {
    const double *input;
    int n; /* rows or steps */
    double *store;
    double value, grad[DET_MAX * DET_MAX];
} plain_case;

static void run_det(void *context, double *lap) {
    plain_case *c = context;
    (void)lap;
    c->value = det_plain(c->input, c->n);
}
static void run_det_by_hand(void *context, double *lap) {
    plain_case *c = context;
    (void)lap;
    c->value = det_by_hand(c->input, c->n, c->store, c->grad);
}
static void run_chain(void *context, double *lap) {
    plain_case *c = context;
    (void)lap;
    c->value = chain_plain(c->input, c->n);
}
static void run_chain_by_hand(void *context, double *lap) {
    plain_case *c = context;
    (void)lap;
    c->value = chain_by_hand(c->input, c->n, c->store, c->grad);
}

enum { COLUMNS = 5 };
static const char *const columns[COLUMNS] = {"record ns", "sweep ns", "total ns", "bytes", "x plain"};

/* Numbers of an operation. Task 0 is the plain computation; bytes < 0: none. */
static void print_task(const bench_set *set, int task, double operations, double bytes) {
    double ns = 1e9 / operations;
    double record = bench_lap_time(set, task, 0), sweep = bench_lap_time(set, task, 1);
    bool taped = record > 0;
    double cells[COLUMNS] = {taped ? record * ns : (double)NAN, taped ? sweep * ns : (double)NAN,
                             bench_time(set, task) * ns, bytes < 0 ? (double)NAN : bytes / operations,
                             bench_ratio(set, task, 0)};
    bench_row(set->task[task].name, cells, COLUMNS);
}

static void det(int n, int rounds) {
    double a[DET_MAX * DET_MAX], right[DET_MAX * DET_MAX];
    size_t inputs = (size_t)(n * n);
    bench_fill(a, inputs, -1, 1);
    det_formula(a, n, right);
    plain_case plain = {.input = a, .n = n, .store = bench_alloc(det_stored(n), sizeof(double))};
    static const char *const names[4] = {"ag_mul, ag_add; clear", "ag_mul, ag_add; rewind", "ag_mul, ag_fma; clear",
                                         "ag_mul, ag_fma; rewind"};
    tape_case *tapes[4];
    bench_set set = {0};
    bench_add(&set, "plain C", run_det, &plain);
    bench_add(&set, "gradient by hand", run_det_by_hand, &plain);
    for (int i = 0; i < 4; i++) {
        tapes[i] = tape_case_new(i < 2 ? TAPE_MULADD : TAPE_FMA, n, i % 2, a, n * n);
        bench_add(&set, names[i], tape_run, tapes[i]);
    }
    bench_run(&set, rounds, 2e-3);
    bench_check("gradient by hand of det", plain.grad, right, inputs, 1e-10);
    for (int i = 0; i < 4; i++) bench_check(names[i], tapes[i]->grad, right, inputs, 1e-10);

    char title[64];
    snprintf(title, sizeof title, "det, l = %d, %.0f operations", n, det_operations(n));
    bench_heading(title, columns, COLUMNS);
    print_task(&set, 0, det_operations(n), -1);
    print_task(&set, 1, det_operations(n), 8 * (double)det_stored(n));
    for (int i = 0; i < 4; i++) {
        print_task(&set, 2 + i, det_operations(n), tapes[i]->bytes);
        tape_case_free(tapes[i]);
    }
    free(plain.store);
}

/* Central differences of the chain. */
static void chain_differences(int steps, double *grad) {
    for (int i = 0; i < CHAIN_INPUTS; i++) {
        double in[CHAIN_INPUTS], h = 1e-4;
        memcpy(in, chain_inputs, sizeof in);
        in[i] = chain_inputs[i] + h;
        double up = chain_plain(in, steps);
        in[i] = chain_inputs[i] - h;
        grad[i] = (up - chain_plain(in, steps)) / (2 * h);
    }
}

static void chain(int steps, int rounds) {
    double operations = (double)CHAIN_OPERATIONS * steps, differences[CHAIN_INPUTS];
    plain_case plain = {.input = chain_inputs, .n = steps, .store = bench_alloc(4 * (size_t)steps, sizeof(double))};
    tape_case *clear = tape_case_new(TAPE_CHAIN, steps, false, chain_inputs, CHAIN_INPUTS);
    tape_case *rewind = tape_case_new(TAPE_CHAIN, steps, true, chain_inputs, CHAIN_INPUTS);
    bench_set set = {0};
    bench_add(&set, "plain C", run_chain, &plain);
    bench_add(&set, "gradient by hand", run_chain_by_hand, &plain);
    bench_add(&set, "autograd; clear", tape_run, clear);
    bench_add(&set, "autograd; rewind", tape_run, rewind);
    bench_run(&set, rounds, 2e-3);
    chain_differences(steps, differences);
    bench_check("gradient by hand of chain", plain.grad, differences, CHAIN_INPUTS, 1e-5);
    bench_check("chain; clear", clear->grad, plain.grad, CHAIN_INPUTS, 1e-9);
    bench_check("chain; rewind", rewind->grad, plain.grad, CHAIN_INPUTS, 1e-9);

    char title[64];
    snprintf(title, sizeof title, "chain, %.0f operations", operations);
    bench_heading(title, columns, COLUMNS);
    print_task(&set, 0, operations, -1);
    print_task(&set, 1, operations, 32.0 * steps);
    print_task(&set, 2, operations, clear->bytes);
    print_task(&set, 3, operations, rewind->bytes);
    tape_case_free(clear);
    tape_case_free(rewind);
    free(plain.store);
}

int main(void) {
    bench_title("Scalar tape: recorded and swept every time",
                "an operation's ns and bytes (instructions and values, f64)");
    det(8, 21);
    det(9, 11);
    det(10, 5);
    chain(12500, 21);
    chain(125000, 11);
    return 0;
}
