// Our scalar tape beside a C++ library's, in one process and in turn: the same computations, recorded and swept every
// time. The library is a class
//     struct Library {
//         using Number = ...;
//         explicit Library(size_t operations);                  // about so many
//         template <class F> double record(const double *input, int inputs, F function);
//         void sweep(double *gradient);                         // of what was recorded last
//         double bytes();                                       // taken by it: instructions and values
//     };
// whose `record` makes inputs, calls function(const Number *) and returns the result's value.
#ifndef BENCH_SCALAR_BESIDE_H
#define BENCH_SCALAR_BESIDE_H

#include <cmath>

#include "scalar_cases.h"

namespace beside {

template <class Number> Number det(const Number *a, int n, int m, int *next) {
    const Number *row = a + (n - m) * n;
    int before = n, j = next[n];
    if (m == 1) return row[j];
    Number det = 0;
    for (int k = 0; k < m; k++) {
        next[before] = next[j];
        Number sub = beside::det(a, n, m - 1, next);
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

template <class Number> Number chain(const Number *in, int steps) {
    Number x = in[0], p = in[1], q = in[2], s = 0;
    for (int k = 0; k < steps; k++) {
        x = 1.5 - x / (exp(0.5 * sin(p * x)) + q);
        s += x;
    }
    return s;
}

// The same with a statement for each operation, which is how C has to write it: a library with expression templates
// records one instruction for each statement, whatever it holds.
template <class Number> Number chain_of_statements(const Number *in, int steps) {
    Number x = in[0], p = in[1], q = in[2], s = 0;
    for (int k = 0; k < steps; k++) {
        Number product = p * x;
        Number sine = sin(product);
        Number half = 0.5 * sine;
        Number power = exp(half);
        Number sum = power + q;
        Number quotient = x / sum;
        x = 1.5 - quotient;
        s += x;
    }
    return s;
}

enum Form { DET, CHAIN, CHAIN_OF_STATEMENTS };

template <class Library> struct Case {
    Library library;
    Form form;
    int n; // rows or steps
    const double *input;
    int inputs;
    double value, grad[DET_MAX * DET_MAX];

    typename Library::Number function(const typename Library::Number *x) const {
        int next[DET_MAX + 1];
        if (form == CHAIN) return chain(x, n);
        if (form == CHAIN_OF_STATEMENTS) return chain_of_statements(x, n);
        det_columns(next, n);
        return det(x, n, n, next);
    }
    static void run(void *context, double *lap) {
        Case *c = static_cast<Case *>(context);
        double start = bench_now();
        c->value = c->library.record(c->input, c->inputs,
                                     [c](const typename Library::Number *x) { return c->function(x); });
        bench_lap(&lap[0], &start);
        c->library.sweep(c->grad);
        bench_lap(&lap[1], &start);
    }
};

struct PlainCase {
    bool chain;
    int n;
    const double *input;
    double value;
};

inline void plain_run(void *context, double *) {
    PlainCase *c = static_cast<PlainCase *>(context);
    c->value = c->chain ? chain_plain(c->input, c->n) : det_plain(c->input, c->n);
}

// Task 0 is the plain computation, `tape` the task that a row's last number compares with; bytes < 0: no tape.
inline void print_task(const bench_set *set, int task, int tape, double operations, double bytes) {
    double ns = 1e9 / operations, none = static_cast<double>(NAN);
    bool taped = bytes >= 0;
    double cells[] = {taped ? bench_lap_time(set, task, 0) * ns : none,
                      taped ? bench_lap_time(set, task, 1) * ns : none,
                      bench_time(set, task) * ns,
                      taped ? bytes / operations : none,
                      bench_ratio(set, task, 0),
                      bench_ratio(set, task, tape)};
    bench_row(set->task[task].name, cells, 6);
}

// A form of a computation in our ways to record it and in the library's: names[i] for forms[i].
template <class Library>
void compare(const char *title, int n, const double *input, int inputs, double operations, const double *right,
             int rounds, const Form *forms, const char *const *names, int count) {
    static const char *const columns[] = {"record ns", "sweep ns", "total ns", "bytes", "x plain", "x autograd"};
    bool chain = forms[0] != DET;
    PlainCase plain = {chain, n, input, 0};
    tape_case *ours[2] = {tape_case_new(chain ? TAPE_CHAIN : TAPE_MULADD, n, false, input, inputs),
                          chain ? nullptr : tape_case_new(TAPE_FMA, n, false, input, inputs)};
    Case<Library> *theirs[2];
    static bench_set set;
    memset(&set, 0, sizeof set);
    bench_add(&set, "plain", plain_run, &plain);
    bench_add(&set, chain ? "autograd" : "autograd: ag_mul, ag_add", tape_run, ours[0]);
    if (!chain) bench_add(&set, "autograd: ag_mul, ag_fma", tape_run, ours[1]);
    int first = set.tasks;
    for (int i = 0; i < count; i++) {
        theirs[i] = new Case<Library>{Library(static_cast<size_t>(operations)), forms[i], n, input, inputs, 0, {}};
        bench_add(&set, names[i], Case<Library>::run, theirs[i]);
    }
    bench_run(&set, rounds, 2e-3);

    char heading[64];
    snprintf(heading, sizeof heading, "%s, %.0f operations", title, operations);
    bench_heading(heading, columns, 6);
    print_task(&set, 0, 1, operations, -1);
    for (int i = 1; i < first; i++) {
        bench_check(set.task[i].name, ours[i - 1]->grad, right, static_cast<size_t>(inputs), 1e-9);
        print_task(&set, i, 1, operations, ours[i - 1]->bytes);
        tape_case_free(ours[i - 1]);
    }
    for (int i = 0; i < count; i++) {
        double lap[BENCH_LAPS] = {0};
        Case<Library>::run(theirs[i], lap); // once more: `bytes` is of what was recorded last
        bench_check(names[i], theirs[i]->grad, right, static_cast<size_t>(inputs), 1e-9);
        print_task(&set, first + i, 1, operations, theirs[i]->library.bytes());
        delete theirs[i];
    }
}

template <class Library> void compare_det(int n, int rounds, const char *name) {
    double a[DET_MAX * DET_MAX], right[DET_MAX * DET_MAX];
    char title[32];
    const Form form = DET;
    bench_fill(a, static_cast<size_t>(n * n), -1, 1);
    det_formula(a, n, right);
    snprintf(title, sizeof title, "det, l = %d", n);
    compare<Library>(title, n, a, n * n, det_operations(n), right, rounds, &form, &name, 1);
}

template <class Library>
void compare_chain(int steps, int rounds, const Form *forms, const char *const *names, int count) {
    double right[CHAIN_INPUTS];
    double *store = static_cast<double *>(bench_alloc(4 * static_cast<size_t>(steps), sizeof(double)));
    chain_by_hand(chain_inputs, steps, store, right);
    free(store);
    compare<Library>("chain", steps, chain_inputs, CHAIN_INPUTS, static_cast<double>(CHAIN_OPERATIONS) * static_cast<double>(steps), right, rounds, forms,
                     names, count);
}

} // namespace beside

#endif
