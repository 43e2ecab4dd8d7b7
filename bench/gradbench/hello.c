/* x^2 and its derivative. */
#include "gradbench.h"

typedef struct hello {
    double x, value, slope;
    ag_runner *runner;
} hello;

static bool parse(gb_run *run, const json_t *input) {
    hello *h = run->state;
    if (!json_is_number(input)) return gb_fail(run, "input: expected a number");
    h->x = json_number_value(input);
    return true;
}

static void square(ag_tape *tape, const ag_var *in, ag_var *out, void *context) {
    (void)tape, (void)context;
    out[0] = ag_square(in[0]);
}

static bool prepare(gb_run *run, int wrt) {
    hello *h = run->state;
    h->runner = gb_trace(run, square, NULL, (ag_port[]){ag_in("x", (ag_shape){.rank = 0})}, 1, wrt);
    return h->runner != NULL;
}
static bool prepare_square(gb_run *run) { return prepare(run, 0); }
static bool prepare_double(gb_run *run) { return prepare(run, 1); }

static void evaluate(gb_run *run) {
    hello *h = run->state;
    gb_check(run, h->runner, ag_run(h->runner, (const double *[]){&h->x}, (double *[]){&h->value, &h->slope}));
}

static json_t *print_square(gb_run *run) { return json_real(((hello *)run->state)->value); }
static json_t *print_double(gb_run *run) { return json_real(((hello *)run->state)->slope); }

const gb_function gb_hello[] = {{"hello", "square", sizeof(hello), parse, prepare_square, evaluate, print_square},
                                {"hello", "double", sizeof(hello), parse, prepare_double, evaluate, print_double},
                                {0}};
