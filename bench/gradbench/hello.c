/* x^2 and its derivative. */
#include "gradbench.h"

typedef struct hello {
    double x, result;
} hello;

static bool parse(gb_run *run, const json_t *input) {
    hello *h = run->state;
    if (!json_is_number(input)) return gb_fail(run, "input: expected a number");
    h->x = json_number_value(input);
    return true;
}

static void square(gb_run *run) {
    hello *h = run->state;
    h->result = ag_value(ag_square(ag_input(run->tape, h->x)));
}

static void twice(gb_run *run) {
    hello *h = run->state;
    ag_var x = ag_input(run->tape, h->x);
    ag_backward(ag_square(x));
    h->result = ag_grad(x);
}

static json_t *print(gb_run *run) { return json_real(((hello *)run->state)->result); }

const gb_function gb_hello[] = {{"hello", "square", sizeof(hello), parse, NULL, square, print},
                                {"hello", "double", sizeof(hello), parse, NULL, twice, print},
                                {0}};
